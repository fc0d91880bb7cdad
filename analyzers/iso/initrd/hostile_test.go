package initrd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// sound opens what may be anything and looks at all that an FS offers. It
// returns nil when nothing could be read.
func sound(t testing.TB, image []byte) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		if !strings.HasPrefix(err.Error(), "byte ") {
			t.Fatalf("an error that says not where: %v", err)
		}
		return nil
	}
	if len(f.Problems) > maxProblems || f.Partial && len(f.Problems) == 0 {
		t.Fatalf("partial %v, %d problems", f.Partial, len(f.Problems))
	}
	for _, p := range f.Problems {
		if !strings.HasPrefix(p, "byte ") {
			t.Fatalf("a problem that says not where: %s", p)
		}
	}
	end := int64(0)
	for _, g := range f.Segments {
		if g.Start < end || g.End <= g.Start || g.End > int64(len(image)) {
			t.Fatalf("a segment at %d to %d of %d, the one before ends at %d", g.Start, g.End, len(image), end)
		}
		end = g.End
	}
	read := 0
	for p, i := range f.Files() {
		if !fs.ValidPath(p) {
			t.Fatalf("a path that is none: %q", p)
		}
		if got, err := f.Lstat(p); err != nil || got.Mode() != i.Mode() || got.Size() != i.Size() {
			t.Fatalf("%q: %v", p, err)
		}
		f.Stat(p)
		f.ReadDir(p)
		if i.Mode().IsRegular() && i.Size() < 1<<20 && read < 20 {
			read++
			readWhole(t, f, p, i.Size())
		}
	}
	return f
}

// readWhole reads a file, which has the size that it says or was lost.
func readWhole(t testing.TB, f *FS, p string, size int64) {
	t.Helper()
	b, err := f.ReadFile(p)
	switch {
	case err == nil && int64(len(b)) != size:
		t.Fatalf("%q: %d bytes of %d", p, len(b), size)
	case err != nil && !errors.Is(err, errLost):
		t.Fatalf("%q: %v", p, err)
	case err != nil && !f.Partial:
		t.Fatalf("%q: %v, and nothing was lost", p, err)
	}
}

// TestTruncated cuts a small image of each kind at every byte, and a larger one
// at every 4 KiB. Whatever is cut off within a segment is noticed.
func TestTruncated(t *testing.T) {
	all := images(t)
	for _, name := range []string{"plain", "bzip2-then-gzip", "xz-blocks", "lzma-then-gzip", "lz4-then-gzip", "lz4frame-then-gzip", "zstd-frames", "gzip-zstd-plain"} {
		image := all[name]
		whole := open(t, image)
		for cut := range len(image) {
			if testing.Short() && cut%7 != 0 {
				continue
			}
			f := sound(t, image[:cut])
			if f != nil && !f.Partial && !inGap(whole.Segments, int64(cut)) {
				t.Errorf("%s: cut at byte %d of %d: not noticed", name, cut, len(image))
			}
		}
	}
	var c cpio
	random := rand.New(rand.NewSource(1))
	for i := range 30 {
		b := make([]byte, random.Intn(6000))
		random.Read(b[:len(b)/2])
		c.add(entry{name: fmt.Sprint(i), mode: reg, content: string(b)})
	}
	for kind, image := range compressed(t, c.end()) {
		for cut := 4096; cut < len(image); cut += 4096 {
			if testing.Short() && cut%(16*4096) != 0 {
				continue
			}
			if f := sound(t, image[:cut]); f != nil && !f.Partial {
				t.Errorf("%s: cut at byte %d of %d: not noticed", kind, cut, len(image))
			}
		}
	}
}

// inGap reports whether a cut leaves segments whole: it is between two of them,
// or in the padding that ends a plain one.
func inGap(segments []Segment, cut int64) bool {
	end := int64(0)
	for _, g := range segments {
		if cut >= end && cut <= g.Start {
			return true
		}
		if end = g.End; g.Compression == "none" {
			end -= 3
		}
	}
	return cut >= end
}

func TestFlips(t *testing.T) {
	all := images(t)
	names := slices.Sorted(maps.Keys(all))
	random := rand.New(rand.NewSource(2))
	n := 10000
	if testing.Short() {
		n = 1000
	}
	for i := range n {
		name := names[i%len(names)]
		image := bytes.Clone(all[name])
		for range 1 + random.Intn(3) {
			image[random.Intn(len(image))] ^= 1 << random.Intn(8)
		}
		sound(t, image)
	}
}

// TestHeaders sets every field of a header, and every byte of the headers of
// compressors, to what breaks arithmetic.
func TestHeaders(t *testing.T) {
	base := archiveOf(entry{name: "a", mode: reg, content: "x"}, entry{name: "b", mode: dir})
	for at := 6; at < headerLen; at += 8 {
		for _, v := range []string{"FFFFFFFF", "80000000", "7FFFFFFF", "00001001", "00000000"} {
			image := bytes.Clone(base)
			copy(image[at:], v)
			sound(t, image)
			sound(t, pack(t, "gzip", image))
		}
	}
	for _, image := range compressed(t, base) {
		for at := range min(len(image), 64) {
			for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff} {
				b := bytes.Clone(image)
				b[at] = v
				sound(t, b)
				copy(b[at:], bytes.Repeat([]byte{v}, 8))
				sound(t, b)
			}
		}
	}
}

// TestBomb: zeros beyond what an image of its size may unpack to are not
// unpacked, those below are.
func TestBomb(t *testing.T) {
	const mib = 1 << 20
	chunks := compressed(t, make([]byte, mib))
	ends := compressed(t, new(cpio).end())
	for _, c := range []struct {
		mib   int
		whole bool
	}{{minUnpacked/mib - 1, true}, {minUnpacked/mib + 1, false}} {
		// The archive goes on from stream to stream.
		heads := compressed(t, new(cpio).add(entry{name: "bomb", mode: reg, size: uint32(c.mib * mib)}).Bytes())
		for kind, head := range heads {
			if kind == "none" {
				continue
			}
			image := slices.Concat(head, bytes.Repeat(chunks[kind], c.mib), ends[kind])
			// A block of lz4 expands to less than an image may.
			whole := c.whole || strings.HasPrefix(kind, "lz4")
			if f := sound(t, image); f == nil || f.Partial == whole {
				t.Errorf("%s: %d MiB: %+v", kind, c.mib, f)
			}
		}
	}
	f := sound(t, bomb(t, 300*mib))
	if f == nil || !f.Partial || !strings.HasPrefix(f.Problems[0], "byte 0: zstd: unpacked byte 6") || !strings.HasSuffix(f.Problems[0], errBudget.Error()) {
		t.Fatalf("%+v", f)
	}
	if _, err := f.ReadFile("bomb"); !errors.Is(err, errLost) {
		t.Errorf("%v", err)
	}
}

// bomb is a zstd frame of an archive with n zeros, 128 KiB a block.
func bomb(t testing.TB, n int) []byte {
	t.Helper()
	var c cpio
	head := c.add(entry{name: "bomb", mode: reg, size: uint32(n)}).Bytes()
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 10 << 3} // window of 1 MiB
	block := func(last, kind, size int) {
		frame = append(frame, byte(size<<3|kind<<1|last), byte(size>>5), byte(size>>13))
	}
	block(0, 0, len(head))
	frame = append(frame, head...)
	for range n / (128 << 10) {
		block(0, 1, 128<<10)
		frame = append(frame, 0)
	}
	end := new(cpio).end()
	block(1, 0, len(end))
	return append(frame, end...)
}

// TestBounds: what an image may have many of.
func TestBounds(t *testing.T) {
	end := new(cpio).end()
	f := sound(t, bytes.Repeat(end, maxSegments+1))
	if len(f.Segments) != maxSegments || !f.Partial {
		t.Errorf("%d segments, partial %v", len(f.Segments), f.Partial)
	}
	member := pack(t, "gzip", nil)
	if f := sound(t, append(bytes.Repeat(member, maxSegments+1), end...)); f != nil {
		t.Errorf("%d segments of nothing, then one", len(f.Segments))
	}
	// Links that lengthen each name that leads through them.
	var c cpio
	c.add(entry{name: "l", mode: lnk, content: strings.Repeat("./", 2000)})
	name := strings.Repeat("l/", maxLinks)
	for range 2 * maxSteps / (2000 * maxLinks) {
		c.add(entry{name: name + "x", mode: reg})
	}
	if f := sound(t, c.end()); !f.Partial || !strings.Contains(f.Problems[0], errLimit.Error()) {
		t.Errorf("long links: partial %v, %.100q", f.Partial, f.Problems)
	}
	c.Reset()
	long := strings.Repeat(strings.Repeat("d", 250)+"/", 16)
	for i := range maxNames/len(long) + 1 {
		c.add(entry{name: long + fmt.Sprint(i), mode: reg})
	}
	if f := sound(t, c.end()); !f.Partial || !strings.Contains(f.Problems[len(f.Problems)-1], errLimit.Error()) {
		t.Errorf("long names: partial %v, %.100q", f.Partial, f.Problems)
	}
}

// TestDictionaries: streams of a few bytes that ask for large windows.
func TestDictionaries(t *testing.T) {
	base := archiveOf(entry{name: "a", mode: reg, content: "x"})
	lzma := pack(t, "lzma", base)
	binary.LittleEndian.PutUint32(lzma[1:], maxDict)
	zstd := bomb(t, 0)
	zstd[5] = 17 << 3
	for kind, packed := range map[string][]byte{"lzma": lzma, "zstd": zstd} {
		image := bytes.Repeat(packed, 200)
		if spent := allocated(func() { sound(t, image) }); spent > maxDictAll+maxDict+64<<20 {
			t.Errorf("%s: %d MiB were allocated", kind, spent>>20)
		}
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestMemory: what is allocated to list an image, all together, is less than
// what it holds.
func TestMemory(t *testing.T) {
	const files, size = 60, 1 << 20
	b := make([]byte, size)
	rand.New(rand.NewSource(3)).Read(b[:size/4])
	var c cpio
	for i := range files {
		c.add(entry{name: fmt.Sprint(i), mode: reg, content: string(b)})
	}
	plain := c.end()
	for _, kind := range []string{"gzip", "zstd", "lz4", "lz4 frame"} {
		image := pack(t, kind, plain)
		spent := allocated(func() {
			if f := open(t, image); f.Partial {
				t.Errorf("%s: %q", kind, f.Problems)
			}
		})
		if spent > 32<<20 {
			t.Errorf("%s: %d MiB for %d", kind, spent>>20, len(plain)>>20)
		}
	}
}

func FuzzInitrd(f *testing.F) {
	for name, image := range images(f) {
		if len(image) < 8000 && name != "many" {
			f.Add(image)
		}
	}
	f.Add(bomb(f, 1<<20))
	f.Fuzz(func(t *testing.T, image []byte) { sound(t, image) })
}
