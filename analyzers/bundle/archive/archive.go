// Package archive shows what is in a tar or zip file as a file system, without
// unpacking it to disk.
//
// # Nouns
//
// An archive is a file that holds others, its members: a tar file (POSIX pax
// and ustar, GNU and V7 headers), plain or compressed with gzip, zstd or xz, or
// a zip file. A packed file is a single file that is compressed. What a file is
// is said by its first bytes, never by its name. A Budget is what archives may
// cost.
//
// # Invariants
//
//   - An archive is indexed once. Members of a plain tar file and stored members
//     of a zip file are read where they stand, at any offset, so that images
//     need no memory. Members of a compressed tar file are held in memory,
//     deflated ones are inflated when they are read.
//   - A compressed member of more than MaxMember, or beyond the Budget, is
//     listed, its first 256 KiB can be read to tell what it is, and a read
//     behind them says ErrPacked.
//   - Names are slash paths below the archive. A leading "/" or "./" is dropped,
//     a name that climbs ("..") is refused. A link is the file that it leads to,
//     when that is in the archive, and is refused otherwise; a link to a
//     directory is left out, as in a directory that is walked. Of members with
//     one name the last counts, as it does when tar unpacks them; of a file and
//     a directory with one name the first does.
//   - What a damaged archive held before the damage is there, a member that is
//     cut off up to the cut. Whatever was refused or lost is in Problems, with
//     the name or the offset in the (unpacked) tar file.
//   - Time and memory are bounded by the Budget and the limits below, and linear
//     in the archive's size; nothing that a header says is allocated unread.
//
// The archive's own file is open only while a member is.
//
// Left out: modes, owners and times; encrypted members; zip methods other than
// store and deflate; zip files whose directory, which stands at the end, is
// lost; check sums of stored members; bzip2 and lzma.
//
// Sources: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, "Basic
// Tar Format"; PKWARE APPNOTE 6.3.10; RFC 1952; RFC 8878; the .xz file format
// 1.2.1.
package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
)

const (
	// MaxMember is the largest member that is unpacked, in bytes: what is read
	// as text at most.
	MaxMember = 64 << 20
	// headLen of a larger one is unpacked: enough to tell what it is.
	headLen = 256 << 10
	// maxMembers is far more than a run leaves behind: a tree of 20000 files
	// is not looked at either.
	maxMembers = 20000
	// maxName and maxDepth bound the directories that names bring along.
	maxName  = 1024
	maxDepth = 32
	// maxProblems are told one by one, the others counted.
	maxProblems = 50
)

// Budget is what archives may cost. The archives that are opened with one
// share it.
type Budget struct {
	Memory int64 // bytes of unpacked members
	Work   int64 // bytes that are unpacked to get at them
}

// NewBudget returns a budget for one tree of archives: memory that a laptop
// has, and the work of some 20 seconds.
func NewBudget() *Budget { return &Budget{Memory: 256 << 20, Work: 4 << 30} }

// take takes n bytes of memory, when there are as many.
func (b *Budget) take(n int64) bool {
	if n < 0 || n > b.Memory {
		return false
	}
	b.Memory -= n
	return true
}

// ErrPacked is the error of a read in a member that was not unpacked.
var ErrPacked = errors.New("too large to be read in an archive: unpack it to have it read")

// Problem is something that was lost or refused.
type Problem struct {
	Name string // of a member, "" for the archive as a whole
	Text string
}

// FS is what is in an archive. Its files are io.ReaderAt where that needs no
// unpacking. It may be used by several goroutines.
type FS struct {
	nodes    map[string]*node
	problems []Problem
}

// Problems returns what was lost or refused, in the archive's order.
func (f *FS) Problems() []Problem { return f.problems }

// Open indexes the archive at name in fsys, which is read again, from there,
// when members are. An error says that nothing in it could be read.
func Open(fsys fs.FS, name string, b *Budget) (*FS, error) {
	src := &source{fsys: fsys, name: name}
	if err := src.acquire(b); err != nil {
		return nil, err
	}
	defer src.release()
	x := newIndex(src, b)
	head := make([]byte, min(headLen, src.size))
	if _, err := src.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	if Sniff(head) != Archive {
		return nil, errors.New("no archive of a kind that is known")
	}
	var err error
	switch magic(head) {
	case zipMagic:
		err = x.zip()
	case noMagic:
		x.plainTar()
	default:
		err = x.packedTar(magic(head))
	}
	if err != nil {
		return nil, err
	}
	return x.finish(), nil
}

// Unpack returns the content of the packed file at name in fsys. With an error
// it returns what stood before the damage.
func Unpack(fsys fs.FS, name string, b *Budget) ([]byte, error) {
	src := &source{fsys: fsys, name: name}
	if err := src.acquire(b); err != nil {
		return nil, err
	}
	defer src.release()
	head := make([]byte, min(headLen, src.size))
	if _, err := src.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, err
	}
	r, err := unpacked(magic(head), io.NewSectionReader(src, 0, src.size))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	most := min(MaxMember, b.Memory, b.Work)
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	b.Work -= min(int64(len(data)), b.Work)
	switch {
	case int64(len(data)) > most:
		return nil, ErrPacked
	case err != nil:
		err = fmt.Errorf("damaged or cut off at byte %d of what it holds: %w", len(data), err)
	}
	b.take(int64(len(data)))
	return data, err
}

// clip is n as a size, where headers can say anything.
func clip(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
