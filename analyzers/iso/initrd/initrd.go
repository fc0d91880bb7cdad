// Package initrd reads the initial RAM file system that a boot loader hands to
// Linux, as it lies in an image: which files the kernel will find, what they
// hold, and what of them is lost.
//
// The formats are those of the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst, with the details
// as init/initramfs.c has them. Where this package reads what the kernel does
// not, a problem says so.
//
// # Nouns
//
// An image is a sequence of segments with NULs between them. A segment is
// either a plain newc archive (early microcode stands in such), or compressed. A
// stream is the unit of a compressor: a gzip member, a zstd or lz4 frame, an xz
// stream. Mostly a segment is one stream; an archive that goes on in the next
// stream of the same kind makes them one segment. An entry is what an archive
// says about one path. The tree is what comes of unpacking all entries in order.
//
// # Invariants
//
//   - The next segment begins at the very byte behind the one before, so none is
//     lost behind a compressed one. Streams made of blocks (zstd, xz, lz4) are
//     measured by their block headers before they are decompressed; gzip, bzip2
//     and lzma are decompressed byte by byte. Damage inside a measured stream
//     costs no more than that stream.
//   - The tree is the kernel's: a later entry replaces an earlier one of the same
//     path, a directory that holds something stays, a name leads through the
//     links that are there when it comes, names of one inode share content.
//   - Opening is one pass. Memory grows with the number of entries, up to a
//     limit, and with the window of the compressor, not with the content. Small
//     files are kept; a larger one is decompressed again when it is read.
//   - Whatever is lost sets Partial and is a problem that names the byte.
//
// # Left out
//
// lzo is recognised and not read. Old cpio formats (binary, 070707) are read by
// neither the kernel nor this package. A damaged gzip, bzip2 or lzma stream and
// a damaged plain archive end the reading: nothing tells where they end, and a
// guess would find archives inside of files. Boot configuration appended to an
// image is reported as no archive.
package initrd

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Segment is a part of the image that the kernel unpacks at one go.
type Segment struct {
	// Start and End are bytes of the image. Where the end could not be found,
	// End is the end of the image.
	Start, End int64
	// Compression is none, gzip, bzip2, lzma, xz, lzo, lz4, lz4 frame or zstd.
	// The kernel knows no lz4 frame.
	Compression string
	// Entries counts what the archives of the segment list, the skipped too.
	Entries int
}

// FS is the tree that an image unpacks to. Names lead through symbolic links,
// the absolute ones from the root of the tree; Lstat and ReadLink do not follow
// the last. Its methods may be called at the same time.
//
// A byte of a name that is not UTF-8 is written \xHH.
type FS struct {
	Segments []Segment
	// Problems are what is wrong with the image, each with the byte where it
	// is; at most maxProblems.
	Problems []string
	// Partial says that something was lost: the tree lacks an entry, or the
	// content of one, or what it has is not what was packed.
	Partial bool

	tree  tree
	image io.ReaderAt
	size  int64

	mu   sync.Mutex
	idle *unpacked // what was read from last; the next file may follow there
}

const (
	// maxSegments bounds segments and streams. An image has two to five
	// segments; a parallel compressor makes streams of some megabytes.
	maxSegments = 1 << 10
	// maxProblems bounds what is said about one image.
	maxProblems = 20
)

// The bytes that an image may unpack to. Images shrink to a half or a tenth; the
// largest hold a live system of some gigabytes.
const (
	maxUnpacked = 4 << 30
	minUnpacked = 64 << 20 // allowed whatever the ratio
	maxRatio    = 256
)

var errNothing = errors.New("byte 0: no cpio archive and nothing that holds one")

// Open reads the image of the given size. It fails when there is no archive of
// which anything could be read; less is a problem of the FS returned.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	f := &FS{image: r, size: max(size, 0), tree: newTree()}
	s := &scan{FS: f, in: newInput(r, f.size, bufSize), decoders: &decoders{}}
	s.left = min(max(f.size, minUnpacked/maxRatio), maxUnpacked/maxRatio) * maxRatio
	s.segments()
	if s.archives > 0 {
		return f, nil
	}
	if len(f.Problems) > 0 {
		return nil, errors.New(f.Problems[0])
	}
	return nil, errNothing
}

// scan is the one pass over an image.
type scan struct {
	*FS
	in       *input
	decoders *decoders
	left     int64 // bytes that may yet be unpacked
	kept     int64 // bytes of content in memory
	archives int   // whose first header was read
	streams  int
}

// segments reads all segments, up to the first whose end cannot be found.
func (s *scan) segments() {
	for {
		err := skipNULs(s.in)
		at := s.in.offset()
		switch {
		case err == io.EOF:
			return
		case err != nil:
			s.lose("byte %d: %v", at, err)
			return
		case len(s.Segments) == maxSegments || s.streams >= maxSegments:
			s.lose("byte %d: more than %d segments or streams: the rest is not read", at, maxSegments)
			return
		}
		if !s.segment(at) {
			return
		}
	}
}

// segment reads the segment at byte at and reports whether reading goes on
// behind it.
func (s *scan) segment(at int64) bool {
	head, _ := s.in.Peek(magicLen)
	kind := sniff(head)
	if kind == unknown {
		s.lose("byte %d: neither a cpio archive nor a known compression: %q", at, head[:min(len(head), 6)])
		return false
	}
	s.Segments = append(s.Segments, Segment{Start: at, End: s.size, Compression: kind.String()})
	a := &archive{scan: s, index: len(s.Segments) - 1}
	if kind == none {
		return s.plain(a)
	}
	return s.compressed(a, kind)
}

// plain reads an archive that lies in the image as it is.
func (s *scan) plain(a *archive) bool {
	g := &s.Segments[a.index]
	if g.Start%4 != 0 {
		s.problem("byte %d: a plain archive begins at no multiple of 4: the kernel does not read it", g.Start)
	}
	a.src = s.in
	if err := a.read(); err != nil {
		s.lose("%s: %v", a.src.where(s.in.offset()), err)
		return false
	}
	g.End = s.in.offset()
	return true
}

// compressed reads the archives that the streams of a segment hold.
func (s *scan) compressed(a *archive, kind compression) bool {
	g := &s.Segments[a.index]
	u := newUnpacked(s.FS, a.index, kind, s.decoders, &s.left)
	u.more = func() bool {
		s.streams++
		return u.next == g.Start || !a.ended && s.streams < maxSegments && sniffAt(s.image, u.next) == kind
	}
	a.src = u
	err := a.all()
	if err != nil {
		s.lose("%s: %v", u.where(u.offset()), err)
		a.ended = true // the next stream is a segment of its own
		if u.err == nil && u.next < 0 {
			u.drain() // the end is yet to be found
		}
	}
	if u.next < 0 || errors.Is(u.err, errBudget) {
		return false
	}
	g.End = u.next
	s.in.seek(g.End)
	return true
}

// lose records a problem by which something is lost.
func (f *FS) lose(format string, args ...any) {
	f.Partial = true
	f.problem(format, args...)
}

func (f *FS) problem(format string, args ...any) {
	if len(f.Problems) < maxProblems {
		f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
	}
}
