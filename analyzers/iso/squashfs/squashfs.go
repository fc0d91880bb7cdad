// Package squashfs reads squashfs 4.0 images, as live media carry them inside
// an ISO image. The format is what Linux reads and mksquashfs writes
// (https://www.kernel.org/doc/html/latest/filesystems/squashfs.html, and
// fs/squashfs/squashfs_fs.h for the structures).
//
// # Nouns
//
// An FS is one image behind an io.ReaderAt, as an [io/fs.FS]. Its tree is read
// when it is opened: All lists it, the names of io/fs look it up. Contents are
// read from the image when a file is. A metadata block is 8 KiB of a table,
// compressed: the tables of inodes, directories, fragments and owners consist
// of them. A fragment is a block that holds the ends of several files.
//
// # Invariants
//
//   - The compressions are gzip, xz (with its filters for machine code), lz4
//     and zstd. Any other is refused by its name, as is any other version.
//   - Nothing is allocated because an image claims it: memory follows what was
//     read. A block has 1 MiB at the most, and the metadata, entries and names
//     of an image are bounded together.
//   - What is damaged is left out, named in Problems with its byte in the
//     image, and the rest is kept. An inode that cannot be read loses its entry;
//     a metadata block loses what lies in it, where the index of a directory
//     tells how to go on behind it.
//   - A directory is read where it is met first, so that no tree is endless.
//   - Two readings of the same bytes give the same tree. An FS and its files may
//     be used by several goroutines.
//
// Names are bytes in squashfs and stay so: one that is not UTF-8 is listed and
// can be opened as it is listed, although [io/fs.ValidPath] has it otherwise.
// Symbolic links are not followed, for only the caller knows where the tree is
// mounted.
//
// Left out: extended attributes; the export table, which serves NFS; lzma, which
// Linux does not read, and lzo, both rare; and the search for metadata in an
// image that was cut: its tables are at the end, and it is refused.
package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"
	"strings"
	"sync"
	"time"
)

// FS is a squashfs image.
type FS struct {
	Size        int64 // bytes that the image uses, as its superblock says
	ModTime     time.Time
	Compression string // "gzip", "xz", "lz4" or "zstd"
	// Problems are what could not be read, at most 20 of them; the tree lacks
	// it. A file's contents have no say here: an error of reading is theirs.
	Problems []string
	Partial  bool // the tree lacks entries

	r     io.ReaderAt
	super superblock
	root  node
	pool  sync.Pool
	bufs  sync.Pool // *[]byte of a block each

	mu        sync.Mutex // guards the rest
	meta      map[int64]metaBlock
	metaBytes int
	fragments cache
}

// The superblock (struct squashfs_super_block), little-endian.
const (
	magic     = "hsqs"
	magicBig  = "sqsh" // big-endian, before 4.0
	superSize = 96
)

// Blocks are of 4 KiB to 1 MiB.
const (
	minBlockLog  = 12
	maxBlockLog  = 20
	maxBlockSize = 1 << maxBlockLog
)

type superblock struct {
	blockLog  uint16
	fragments uint32
	ids       int
	root      uint64
	idTable   int64
	inodes    table
	dirs      table
	fragTable int64
}

// table is where the metadata blocks of inodes or directories lie.
type table struct{ start, end int64 }

// Open reads the superblock and the tree of the image that r starts with; size
// is how much there is of it, padding included. It fails when there is no root;
// anything less is a problem of the FS returned.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	f := &FS{r: r, Size: size, meta: map[int64]metaBlock{}}
	if err := f.readSuper(size); err != nil {
		return nil, fmt.Errorf("squashfs: %w", err)
	}
	if err := f.readTree(); err != nil {
		return nil, fmt.Errorf("squashfs: root: %w", err)
	}
	return f, nil
}

// compressions are the names of squashfs's ids; "" is none.
var compressions = [...]string{1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}

func (f *FS) readSuper(size int64) error {
	if size < superSize {
		return fmt.Errorf("truncated: image has %d bytes, a superblock %d", size, superSize)
	}
	b := make([]byte, superSize)
	if err := f.read(b, 0); err != nil {
		return err
	}
	le := binary.LittleEndian
	major, minor := le.Uint16(b[28:]), le.Uint16(b[30:])
	switch {
	case string(b[:4]) == magicBig:
		return errors.New("byte 0: big-endian, a version before 4.0: not supported")
	case string(b[:4]) != magic:
		return errors.New("byte 0: no squashfs superblock")
	case major != 4 || minor != 0:
		return fmt.Errorf("byte 28: version %d.%d: not supported", major, minor)
	}
	if err := f.setCompression(le.Uint16(b[20:])); err != nil {
		return err
	}
	s := &f.super
	s.blockLog = le.Uint16(b[22:])
	if n := le.Uint32(b[12:]); s.blockLog < minBlockLog || s.blockLog > maxBlockLog || n != 1<<s.blockLog {
		return fmt.Errorf("byte 12: blocks of %d bytes, 2 to the power of %d", n, s.blockLog)
	}
	used := le.Uint64(b[40:])
	if used > uint64(size) {
		return fmt.Errorf("truncated: superblock says %d bytes, image has %d", used, size)
	}
	f.Size = int64(used)
	f.ModTime = unixTime(le.Uint32(b[8:]))
	s.fragments = le.Uint32(b[16:])
	s.ids = int(le.Uint16(b[26:]))
	s.root = le.Uint64(b[32:])
	s.idTable = int64(le.Uint64(b[48:]))
	s.inodes = table{int64(le.Uint64(b[64:])), int64(le.Uint64(b[72:]))}
	s.dirs = table{s.inodes.end, f.Size}
	s.fragTable = int64(le.Uint64(b[80:]))
	if s.inodes.start < superSize || s.inodes.end <= s.inodes.start || s.inodes.end > f.Size {
		return fmt.Errorf("byte 64: inodes at byte %d and directories at byte %d of %d", uint64(s.inodes.start), uint64(s.inodes.end), f.Size)
	}
	return nil
}

func (f *FS) setCompression(id uint16) error {
	if int(id) >= len(compressions) || compressions[id] == "" {
		return fmt.Errorf("byte 20: compression %d: unknown", id)
	}
	f.Compression = compressions[id]
	how := decompressors[f.Compression]
	if how == nil {
		return fmt.Errorf("byte 20: %s compression: not supported", f.Compression)
	}
	f.pool.New = func() any { return how() }
	return nil
}

// read fills b from the byte at of the image.
func (f *FS) read(b []byte, at int64) error {
	if at < 0 || at > f.Size || int64(len(b)) > f.Size-at {
		return fmt.Errorf("byte %d: beyond the end of the image", uint64(at))
	}
	if n, err := f.r.ReadAt(b, at); n < len(b) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("byte %d: %w", at, err)
	}
	return nil
}

// maxProblems bounds what is said about one image.
const maxProblems = 20

func (f *FS) problem(format string, args ...any) {
	if len(f.Problems) < maxProblems {
		f.Problems = append(f.Problems, fmt.Sprintf(format, args...))
	}
}

// All lists the tree, "." first: a directory before its entries, these by name.
func (f *FS) All() iter.Seq2[string, fs.FileInfo] {
	return func(yield func(string, fs.FileInfo) bool) {
		if yield(".", &f.root) {
			f.root.list("", yield)
		}
	}
}

func (n *node) list(prefix string, yield func(string, fs.FileInfo) bool) bool {
	for i := range n.entries {
		e := &n.entries[i]
		p := prefix + e.name
		if !yield(p, e) || len(e.entries) > 0 && !e.list(p+"/", yield) {
			return false
		}
	}
	return true
}

// lookup finds what an operation of io/fs names.
func (f *FS) lookup(op, name string) (*node, error) {
	fail := func(err error) (*node, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(strings.ToValidUTF8(name, "\uFFFD")) {
		return fail(fs.ErrInvalid)
	}
	n := &f.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		list := n.entries
		i := sort.Search(len(list), func(i int) bool { return list[i].name >= part })
		if i == len(list) || list[i].name != part {
			return fail(fs.ErrNotExist)
		}
		n = &list[i]
	}
	return n, nil
}

// Stat describes the file at name. It does not follow a symbolic link.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name) }

// Lstat is Stat.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name) }

func (f *FS) stat(op, name string) (fs.FileInfo, error) {
	n, err := f.lookup(op, name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink returns the target of a symbolic link, as the image has it.
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.lookup("readlink", name)
	if err != nil {
		return "", err
	}
	if n.mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

// ReadDir returns the entries of a directory, by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoDir}
	}
	return dirEntries(n.entries), nil
}

func dirEntries(list []node) []fs.DirEntry {
	out := make([]fs.DirEntry, len(list))
	for i := range list {
		out[i] = &list[i]
	}
	return out
}

// Stat is what Sys of a FileInfo returns, as *Stat.
type Stat struct {
	Inode    uint32
	Nlink    uint32
	UID, GID uint32 // NoID where the image does not say
	Major    uint32 // of a device
	Minor    uint32
	Target   string // of a symbolic link, as the image has it
}

// NoID is the owner that no file can have: -1 of uid_t.
const NoID = 1<<32 - 1

// The methods of fs.FileInfo and fs.DirEntry. The size is that of the contents,
// of a link its target's, and of a directory that of its listing.

func (n *node) Name() string               { return n.name }
func (n *node) Size() int64                { return n.size }
func (n *node) Mode() fs.FileMode          { return n.mode }
func (n *node) Type() fs.FileMode          { return n.mode.Type() }
func (n *node) IsDir() bool                { return n.mode.IsDir() }
func (n *node) ModTime() time.Time         { return unixTime(n.mtime) }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) String() string             { return fs.FormatFileInfo(n) }

func (n *node) Sys() any {
	return &Stat{
		Inode: n.number, Nlink: n.nlink, UID: n.uid, GID: n.gid, Target: n.target,
		// new_encode_dev of Linux: 12 bits of the major number amid the minor's.
		Major: n.rdev >> 8 & 0xfff, Minor: n.rdev&0xff | n.rdev>>12&0xfff00,
	}
}

func unixTime(sec uint32) time.Time { return time.Unix(int64(sec), 0).UTC() }

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
)
