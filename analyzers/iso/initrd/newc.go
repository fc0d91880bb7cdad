package initrd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf8"
)

// header is a newc header as numbers, in the order of buffer-format.rst.
type header struct {
	ino, mode, uid, gid, nlink, mtime, size  uint32
	devMajor, devMinor, rdevMajor, rdevMinor uint32
	nameSize, check                          uint32

	summed bool // 070702: check is the sum of the content's bytes
}

const (
	headerLen = 110
	trailer   = "TRAILER!!!"
	maxPath   = 4096 // PATH_MAX, with the NUL
	maxName   = 255  // NAME_MAX
)

// Content is kept as long as there is room: scripts, configuration and most
// modules are small, and looked at most.
const (
	keepFile = 256 << 10
	keepAll  = 16 << 20
)

// archive is what is known while reading the archives of one segment.
type archive struct {
	*scan
	src   source
	index int   // of the segment
	base  int64 // byte of the archive's start, from which entries are aligned
	at    int64 // byte of the entry
	links map[linkID]*inode
	ended bool // at a trailer: what follows begins anew
}

// linkID is what names of one inode have in common.
type linkID struct {
	ino, major, minor uint32
	format            fs.FileMode
}

// all reads archive after archive, until the source ends.
func (a *archive) all() error {
	for {
		if err := skipNULs(a.src); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := a.read(); err != nil {
			return err
		}
	}
}

// read reads one archive with its trailer. Numbers of inodes mean nothing
// beyond it.
func (a *archive) read() error {
	a.base, a.ended, a.links = a.src.offset(), false, map[linkID]*inode{}
	for first := true; ; first = false {
		a.at = a.src.offset()
		h, err := a.header()
		if err != nil {
			return err
		}
		if first {
			a.archives++
		}
		name, err := a.name(h)
		if err != nil {
			return err
		}
		if cut, _, _ := bytes.Cut(name, []byte{0}); string(cut) == trailer {
			a.ended = true
			if err := a.src.skip(int64(h.size)); err != nil {
				return err
			}
			return a.align()
		}
		a.Segments[a.index].Entries++
		if err := a.entry(h, name); err != nil {
			return err
		}
		if err := a.align(); err != nil {
			return err
		}
	}
}

// align goes on to a multiple of 4. If that is missing at the end, so is what
// follows, and will be missed.
func (a *archive) align() error {
	err := a.src.skip(-(a.src.offset() - a.base) & 3)
	if err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

var errNoTrailer = errors.New("no " + trailer + " ends the archive")

func (a *archive) header() (h header, err error) {
	var b [headerLen]byte
	if n, err := io.ReadFull(a.src, b[:]); err != nil {
		if n == 0 && err == io.EOF {
			return h, errNoTrailer
		}
		return h, err
	}
	h.summed = string(b[:6]) == "070702"
	if !h.summed && string(b[:6]) != "070701" {
		return h, fmt.Errorf("no header of a cpio entry: %q", b[:6])
	}
	var raw [52]byte
	if _, err := hex.Decode(raw[:], b[6:]); err != nil {
		return h, errors.New("the header of a cpio entry holds a number that is none")
	}
	for i, p := range []*uint32{
		&h.ino, &h.mode, &h.uid, &h.gid, &h.nlink, &h.mtime, &h.size,
		&h.devMajor, &h.devMinor, &h.rdevMajor, &h.rdevMinor,
		&h.nameSize, &h.check,
	} {
		*p = binary.BigEndian.Uint32(raw[4*i:])
	}
	return h, nil
}

// name reads the name and what aligns it; nil when it is too long.
func (a *archive) name(h header) ([]byte, error) {
	if h.nameSize > maxPath {
		if err := a.src.skip(int64(h.nameSize)); err != nil {
			return nil, err
		}
		return nil, a.align()
	}
	b := make([]byte, h.nameSize)
	if _, err := io.ReadFull(a.src, b); err != nil {
		return nil, truncated(err)
	}
	return b, a.align()
}

// cleanName returns the path that the name of an entry stands for, "." for the
// root.
func cleanName(raw []byte) (string, error) {
	b, rest, ended := bytes.Cut(raw, []byte{0})
	switch {
	case raw == nil:
		return "", fmt.Errorf("a name of more than %d bytes", maxPath)
	case !ended:
		return "", fmt.Errorf("%q: no NUL ends the name", clip(raw))
	case len(b) == 0:
		return "", errors.New("an empty name")
	case !allNUL(rest): // more than one NUL aligns the content
		return "", fmt.Errorf("%q: a NUL in the name", clip(raw))
	}
	var parts []string
	for part := range strings.SplitSeq(escape(string(b)), "/") {
		switch {
		case part == "..":
			return "", fmt.Errorf("%q: .. in the name", clip(b))
		case len(part) > maxName:
			return "", fmt.Errorf("%q: a part of more than %d bytes in the name", clip(b), maxName)
		case part != "" && part != ".":
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ".", nil
	}
	return strings.Join(parts, "/"), nil
}

// clip keeps a problem short.
func clip(b []byte) []byte { return b[:min(len(b), 80)] }

// escape writes bytes that are not UTF-8 as \xHH, since package fs wants UTF-8.
func escape(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// entry reads the content of an entry and puts it into the tree.
func (a *archive) entry(h header, raw []byte) error {
	name, err := cleanName(raw)
	if err != nil {
		a.lose("%s: %v: the entry is skipped", a.src.where(a.at), err)
		return a.src.skip(int64(h.size))
	}
	e := h.inode()
	var readErr error
	switch e.mode.Type() {
	case 0:
		readErr = a.content(h, &e)
	case fs.ModeSymlink:
		if h.size == 0 || h.size >= maxPath {
			a.problem("%s: %s: a link to %d bytes: the kernel skips it", a.src.where(a.at), name, h.size)
			return a.src.skip(int64(h.size))
		}
		if e.link, err = a.target(h); err != nil {
			return err
		}
	case fs.ModeIrregular:
		a.problem("%s: %s: mode %o: the kernel skips it", a.src.where(a.at), name, h.mode)
		return a.src.skip(int64(h.size))
	default:
		if h.size > 0 {
			a.problem("%s: %s: content where there can be none: the kernel skips it", a.src.where(a.at), name)
			return a.src.skip(int64(h.size))
		}
	}
	if err := a.put(h, name, &e); err != nil {
		return err
	}
	return readErr
}

// put puts e into the tree; an error ends the archive.
func (a *archive) put(h header, name string, e *inode) error {
	id := linkID{h.ino, h.devMajor, h.devMinor, e.mode.Type()}
	linked := h.nlink > 1 && e.mode.Type() != fs.ModeDir && e.mode.Type() != fs.ModeSymlink
	var old *inode
	if linked {
		old = a.links[id]
	}
	i, implied, err := a.tree.put(name, e, old)
	if implied {
		a.problem("%s: %s: no entry before it makes its directory: the kernel skips it", a.src.where(a.at), name)
	}
	switch {
	case errors.Is(err, errLimit):
		return err
	case err != nil:
		a.problem("%s: %s: %v: the kernel skips it", a.src.where(a.at), name, err)
	case linked:
		a.links[id] = i
	}
	return nil
}

func (a *archive) target(h header) (string, error) {
	b := make([]byte, h.size)
	if _, err := io.ReadFull(a.src, b); err != nil {
		return "", truncated(err)
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b), nil
}

// content reads, or passes over, the content of e.
func (a *archive) content(h header, e *inode) (err error) {
	e.size = int64(h.size)
	e.content = content{segment: a.index, at: a.src.offset()}
	compressed := a.Segments[a.index].Compression != none.String()
	var sum byteSum
	switch {
	case compressed && e.size <= keepFile && a.kept+e.size <= keepAll:
		a.kept += e.size
		b := make([]byte, e.size)
		if _, err = io.ReadFull(a.src, b); err == nil {
			e.kept = b
			sum.Write(b)
		}
	case h.summed:
		_, err = io.CopyN(&sum, a.src, e.size)
	default:
		err = a.src.skip(e.size)
	}
	if err != nil {
		e.lost = true
		return truncated(err)
	}
	if h.summed && uint32(sum) != h.check {
		a.lose("%s: the checksum of the content is %#x, not %#x", a.src.where(a.at), uint32(sum), h.check)
	}
	return nil
}

// byteSum is the checksum of 070702.
type byteSum uint32

func (s *byteSum) Write(p []byte) (int, error) {
	for _, c := range p {
		*s += byteSum(c)
	}
	return len(p), nil
}

// inode returns what the header says about the inode.
func (h header) inode() inode {
	return inode{
		mode:  fileMode(h.mode),
		mtime: h.mtime,
		stat:  Stat{UID: h.uid, GID: h.gid, Nlink: h.nlink, Ino: h.ino, Rdev: makedev(h.rdevMajor, h.rdevMinor)},
	}
}

// formats are the values of S_IFMT (inode(7)).
var formats = map[uint32]fs.FileMode{
	0o010000: fs.ModeNamedPipe,
	0o020000: fs.ModeDevice | fs.ModeCharDevice,
	0o040000: fs.ModeDir,
	0o060000: fs.ModeDevice,
	0o100000: 0,
	0o120000: fs.ModeSymlink,
	0o140000: fs.ModeSocket,
}

// modeBits are those that package fs has elsewhere.
var modeBits = []struct {
	bit  uint32
	flag fs.FileMode
}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}}

func fileMode(m uint32) fs.FileMode {
	mode, ok := formats[m&0o170000]
	if !ok {
		mode = fs.ModeIrregular
	}
	mode |= fs.FileMode(m & 0o777)
	for _, b := range modeBits {
		if m&b.bit != 0 {
			mode |= b.flag
		}
	}
	return mode
}

// makedev is makedev(3).
func makedev(major, minor uint32) uint64 {
	ma, mi := uint64(major), uint64(minor)
	return ma&0xfff<<8 | mi&0xff | mi&^0xff<<12 | ma&^0xfff<<32
}
