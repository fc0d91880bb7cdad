package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
)

// Limits on the contents that are read.
const (
	// maxHeld is the largest file that is held in memory: one whose store hashes
	// are looked for, and whose digest is given.
	maxHeld = 8 << 20
	// maxWhole is how much is compared of a larger one: all of it, or blocks at
	// even distances from the first to the last.
	maxWhole = 128 << 20
	// block is the size of these, and of what is read at a time.
	block = 1 << 20
	// fileCost is what opening a pair costs at the least, so that a million empty
	// blocks are not free.
	fileCost = 8 << 10
	// peekCost is what the first bytes of a file may cost: the block of a
	// squashfs, decompressed.
	peekCost = 128 << 10
)

// outcome is what a comparison of contents says.
type outcome byte

const (
	same    outcome = iota
	hashes          // they differ in store hashes only
	placed          // they differ, as such files do when others move
	differs         // in anything
	unknown         // they were not compared
)

// verdict is an outcome with what was seen on the way.
type verdict struct {
	is outcome
	at int64 // first byte that differs, -1 where that is not known
}

// contents compares the contents of a pair of regular files.
func (c *comparer) contents(p *pair) verdict {
	a, b := p.file[0], p.file[1]
	sums := a.sum != "" && b.sum != ""
	switch {
	case sums && a.sum == b.sum, a.size == 0 && b.size == 0:
		return verdict{same, -1}
	case a.size != b.size:
		return verdict{differs, -1}
	}
	for i, f := range p.file {
		if p.vol[i].has(f) {
			continue
		}
		switch {
		case sums:
			return verdict{unseen(p), -1}
		case f.sum != "" && p.vol[1-i].has(p.file[1-i]):
			return c.digests(p, 1-i)
		}
		c.skipped.blind++
		return verdict{unknown, -1}
	}
	if sums && a.size > maxHeld {
		return verdict{unseen(p), -1}
	}
	d := c.bytes(p)
	if sums && d.is == unknown {
		d.is = unseen(p)
	}
	return d
}

// unseen is what other digests say of files of one size whose bytes are not at
// hand.
func unseen(p *pair) outcome {
	if p.depth == 0 && placedRe.MatchString(p.file[0].name) {
		return placed
	}
	return differs
}

// has reports whether the bytes of a file are at hand.
func (v *volume) has(f *file) bool {
	return v.rec == nil || v.rec.copies[copied(v.full(f.name))] != nil
}

// digests compares the bytes of side i with the digest of the other.
func (c *comparer) digests(p *pair, i int) verdict {
	f := p.file[i]
	if f.size > maxWhole || !p.take(f.size, &c.left) {
		c.skip(p)
		return verdict{unknown, -1}
	}
	r, err := p.vol[i].open(f)
	if err == nil {
		defer r.Close()
		h := sha256.New()
		if _, err = io.Copy(h, io.LimitReader(r, f.size)); err == nil {
			if hex.EncodeToString(h.Sum(nil)) == p.file[1-i].sum {
				return verdict{same, -1}
			}
			return verdict{unseen(p), -1}
		}
	}
	c.unread(p, i, err)
	return verdict{unknown, -1}
}

func (c *comparer) unread(p *pair, i int, err error) {
	if c.skipped.unread++; c.skipped.unread > maxUnread {
		return
	}
	c.note("%s: %v", p.vol[i].path(p.file[i].name), plain(err))
}

// take takes n bytes of a pair's files from what may yet be read, where as many
// are left.
func (p *pair) take(n int64, left *int64) bool {
	n += fileCost
	for i, v := range p.vol {
		if v.slow && p.file[i] != nil && p.file[i].size > keptFile {
			n += v.bytes()
		}
	}
	if n > *left {
		return false
	}
	*left -= n
	return true
}

// keptFile is the size of files that an initrd keeps when it is opened; those
// above it are decompressed again.
const keptFile = 256 << 10

// bytes is the size of all files.
func (v *volume) bytes() (n int64) {
	for _, f := range v.files {
		n += f.size
	}
	return n
}

// skip counts a pair that was not compared, unless its digests say enough.
func (c *comparer) skip(p *pair) {
	if p.file[0].sum != "" && p.file[1].sum != "" {
		return
	}
	c.skipped.files++
	c.skipped.bytes += p.file[0].size
}

// bytes compares two files of the same size.
func (c *comparer) bytes(p *pair) verdict {
	size := p.file[0].size
	if !p.take(2*min(size, maxWhole), &c.left) {
		c.skip(p)
		return verdict{unknown, -1}
	}
	if size <= maxHeld {
		return c.inMemory(p)
	}
	at, err := c.stream(p)
	switch {
	case err != nil:
		return verdict{unknown, -1}
	case at >= 0:
		return verdict{differs, at}
	case size > maxWhole:
		c.skipped.parts++
	}
	return verdict{same, -1}
}

// inMemory compares two files in memory.
func (c *comparer) inMemory(p *pair) verdict {
	var errs [2]error
	var both sync.WaitGroup
	for i := range errs {
		c.held[i].Reset()
		both.Go(func() { errs[i] = p.vol[i].read(p.file[i], &c.held[i]) })
	}
	both.Wait()
	for i, err := range errs {
		if err != nil {
			c.unread(p, i, err)
			return verdict{unknown, -1}
		}
	}
	a, b := c.held[0].Bytes(), c.held[1].Bytes()
	at := firstOther(a, b)
	switch {
	case at < 0:
		return verdict{same, -1}
	case p.depth == 0 && onlyPlaced(a, b):
		return verdict{same, -1}
	case bytes.Equal(maskAll(a), maskAll(b)):
		return verdict{hashes, int64(at)}
	}
	return verdict{differs, int64(at)}
}

// read reads a file of at most maxHeld bytes.
func (v *volume) read(f *file, into *bytes.Buffer) error {
	if f.size > maxHeld {
		return fmt.Errorf("%d bytes: larger than the %d that are held", f.size, maxHeld)
	}
	r, err := v.open(f)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := into.ReadFrom(io.LimitReader(r, f.size+1))
	if err == nil && n != f.size {
		err = fmt.Errorf("%d bytes where the listing has %d", n, f.size)
	}
	return err
}

// firstOther returns the first place where two texts differ, -1 when they do
// not.
func firstOther(a, b []byte) int {
	n := min(len(a), len(b))
	if bytes.Equal(a[:n], b[:n]) {
		if len(a) == len(b) {
			return -1
		}
		return n
	}
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// stream compares two files block by block and returns the first byte that
// differs, -1 when none does.
func (c *comparer) stream(p *pair) (int64, error) {
	var rs [2]io.Reader
	for i := range rs {
		f, err := p.vol[i].open(p.file[i])
		if err != nil {
			c.unread(p, i, err)
			return -1, err
		}
		defer f.Close()
		rs[i] = f
	}
	ats := [2]io.ReaderAt{}
	ats[0], _ = rs[0].(io.ReaderAt)
	ats[1], _ = rs[1].(io.ReaderAt)
	if ats[0] == nil || ats[1] == nil {
		ats = [2]io.ReaderAt{&forward{r: rs[0]}, &forward{r: rs[1]}}
	}
	var bufs [2][]byte
	bufs[0], bufs[1] = make([]byte, block), make([]byte, block)
	for _, at := range blocks(p.file[0].size) {
		n := min(block, p.file[0].size-at)
		for i := range ats {
			if _, err := ats[i].ReadAt(bufs[i][:n], at); err != nil && !errors.Is(err, io.EOF) {
				c.unread(p, i, err)
				return -1, err
			}
		}
		if i := firstOther(bufs[0][:n], bufs[1][:n]); i >= 0 {
			return at + int64(i), nil
		}
	}
	return -1, nil
}

// blocks returns where the blocks begin that are compared of a file: all, or as
// many as maxWhole has.
func blocks(size int64) []int64 {
	var ats []int64
	n := (size + block - 1) / block
	most := min(n, maxWhole/block)
	for i := range most {
		at := i
		if most < n {
			at = i * (n - 1) / (most - 1)
		}
		ats = append(ats, at*block)
	}
	return ats
}

// forward reads at rising offsets only.
type forward struct {
	r  io.Reader
	at int64
}

func (f *forward) ReadAt(b []byte, at int64) (int, error) {
	n, err := io.CopyN(io.Discard, f.r, at-f.at)
	f.at += n
	if err != nil {
		return 0, err
	}
	k, err := io.ReadFull(f.r, b)
	f.at += int64(k)
	return k, err
}

// onlyPlaced reports whether two files of an image differ only in the sectors at
// which something lies: a boot catalogue (El Torito 1.0, figures 2 to 5), or the
// table that mkisofs -boot-info-table and xorriso's --grub2-boot-info write into
// a boot program. Those change with any other file of the image.
func onlyPlaced(a, b []byte) bool {
	if len(a) != len(b) || len(a) < 64 {
		return false
	}
	const firstDescriptor = 16
	catalog := a[0] == 1 && b[0] == 1 && a[30] == 0x55 && a[31] == 0xAA
	table := binary.LittleEndian.Uint32(a[8:]) == firstDescriptor && binary.LittleEndian.Uint32(b[8:]) == firstDescriptor
	for i := range a {
		switch {
		case a[i] == b[i]:
		case catalog && i < 2048 && i%32 >= 6 && i%32 < 12:
		case table && i >= 8 && i < 64:
		case table && i >= 2548 && i < 2556:
		default:
			return false
		}
	}
	return true
}

// placedRe are the files for which onlyPlaced is, where their bytes are not at
// hand: a boot catalogue, and the programs of isolinux and GRUB.
var placedRe = regexp.MustCompile(`(?i)(?:^|/)(?:boot\.cat(?:alog)?|isolinux\.bin|eltorito\.img)$`)

// storeMark stands before a hash in what refers to a store path.
var storeMark = []byte("nix/store/")

// eachHash calls f for each store hash in data, with the place where it begins.
func eachHash(data []byte, f func(at int)) {
	for at := 0; ; {
		i := bytes.Index(data[at:], storeMark)
		if i < 0 {
			return
		}
		at += i + len(storeMark)
		if isHash(data[at:]) {
			f(at)
		}
	}
}

// maskAll returns data with its store hashes blanked.
func maskAll(data []byte) []byte {
	out := bytes.Clone(data)
	eachHash(data, func(at int) { copy(out[at:], blank) })
	return out
}

var blank = bytes.Repeat([]byte("-"), hashLen)

// shown returns two texts with a mark in place of the store hashes that only one
// of them has.
func shown(a, b []byte) ([]byte, []byte) {
	var has [2]map[string]bool
	for i, data := range [][]byte{a, b} {
		has[i] = map[string]bool{}
		eachHash(data, func(at int) { has[i][string(data[at:at+hashLen])] = true })
	}
	mark := func(data []byte, others map[string]bool) []byte {
		var out bytes.Buffer
		done := 0
		eachHash(data, func(at int) {
			if !others[string(data[at:at+hashLen])] {
				out.Write(data[done:at])
				out.WriteString("…")
				done = at + hashLen
			}
		})
		out.Write(data[done:])
		return out.Bytes()
	}
	return mark(a, has[1]), mark(b, has[0])
}
