package iso

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"
)

// FS returns the tree as a file system, for one who walks it or reads what is
// nested in it. It is also an fs.ReadDirFS, fs.StatFS, fs.ReadFileFS and
// fs.ReadLinkFS; it may be used by several at once. Links are followed within
// the image, an absolute one from its root. Files that are opened are
// io.ReaderAt and io.Seeker too; FileInfo.Sys is the *File. A name that is not
// UTF-8 is listed but cannot be opened, as io/fs has it: Lookup finds it.
func (m *Image) FS() fs.FS { return tree{m} }

type tree struct{ m *Image }

var (
	_ fs.ReadDirFS  = tree{}
	_ fs.StatFS     = tree{}
	_ fs.ReadFileFS = tree{}
	_ fs.ReadLinkFS = tree{}
)

// file returns what name stands for. Exact names only: what a loader takes for
// the same is not what a file system does.
func (t tree) file(op, name string, follow bool) (*File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	f, err := t.m.follow(name, t.m.exact, follow)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return f, nil
}

func (t tree) Open(name string) (fs.File, error) {
	f, err := t.file("open", name, true)
	if err != nil {
		return nil, err
	}
	in := fileInfo(path.Base(name), f)
	if f.Mode.IsDir() {
		return &openDir{info: in, entries: entries(f)}, nil
	}
	return &openFile{in, t.m.Reader(f)}, nil
}

func (t tree) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := t.file("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !f.Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoDir}
	}
	return entries(f), nil
}

func (t tree) Stat(name string) (fs.FileInfo, error) {
	f, err := t.file("stat", name, true)
	if err != nil {
		return nil, err
	}
	return fileInfo(path.Base(name), f), nil
}

func (t tree) Lstat(name string) (fs.FileInfo, error) {
	f, err := t.file("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return fileInfo(path.Base(name), f), nil
}

func (t tree) ReadLink(name string) (string, error) {
	f, err := t.file("readlink", name, false)
	if err != nil {
		return "", err
	}
	if f.Mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return f.Link, nil
}

// ReadFile is there since fs.ReadFile would reserve whatever size a record
// gives.
func (t tree) ReadFile(name string) ([]byte, error) {
	f, err := t.file("read", name, true)
	if err != nil {
		return nil, err
	}
	data, err := t.m.ReadFile(f, t.m.Size)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

// Reader returns the bytes of f in the image; those of a file that is not
// regular are none. A read beyond the image's end gives what is before, and an
// error that names the byte of the image.
func (m *Image) Reader(f *File) *io.SectionReader {
	if !f.Mode.IsRegular() {
		return io.NewSectionReader(strings.NewReader(""), 0, 0)
	}
	x := extents{m: m, of: f.Extents, ends: make([]int64, len(f.Extents))}
	var size int64
	for i, e := range f.Extents {
		size += e.Length
		x.ends[i] = size
	}
	return io.NewSectionReader(x, 0, size)
}

// extents reads a file that lies in several places of the image.
type extents struct {
	m    *Image
	of   []Extent
	ends []int64 // where each ends, in bytes of the file
}

func (x extents) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	i := sort.Search(len(x.ends), func(i int) bool { return x.ends[i] > off })
	for ; n < len(b) && i < len(x.of); i++ {
		in := off + int64(n) - (x.ends[i] - x.of[i].Length)
		part := b[n:]
		if left := x.of[i].Length - in; int64(len(part)) > left {
			part = part[:left]
		}
		got, err := x.m.readAt(part, x.of[i].Start+in)
		if n += got; err != nil {
			return n, err
		}
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// readAt reads as io.ReaderAt does, but that the image's end is an error.
func (m *Image) readAt(b []byte, at int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n := 0
	if at >= 0 && at < m.Size {
		var err error
		if n, err = m.r.ReadAt(b[:min(int64(len(b)), m.Size-at)], at); n == len(b) {
			return n, nil
		} else if err != nil && err != io.EOF {
			return n, fmt.Errorf("byte %d: %w", at+int64(n), err)
		}
	}
	return n, fmt.Errorf("byte %d: beyond the end of the image: %w", at+int64(n), io.ErrUnexpectedEOF)
}

// entries returns the files of a directory, sorted by name.
func entries(d *File) []fs.DirEntry {
	es := make([]fs.DirEntry, len(d.children))
	for i, f := range d.children {
		es[i] = fs.FileInfoToDirEntry(fileInfo(path.Base(f.Path), f))
	}
	return es
}

func fileInfo(name string, f *File) info {
	return info{name: name, size: f.Size, mode: f.Mode, time: f.ModTime, sys: f}
}

// info is the fs.FileInfo of a file in an image.
type info struct {
	name string
	size int64
	mode fs.FileMode
	time time.Time
	sys  any
}

func (i info) Name() string               { return i.name }
func (i info) Size() int64                { return i.size }
func (i info) Mode() fs.FileMode          { return i.mode }
func (i info) ModTime() time.Time         { return i.time }
func (i info) IsDir() bool                { return i.mode.IsDir() }
func (i info) Sys() any                   { return i.sys }
func (i info) Stat() (fs.FileInfo, error) { return i, nil }

// openFile is a file that was opened.
type openFile struct {
	info
	*io.SectionReader
}

func (f *openFile) Size() int64  { return f.SectionReader.Size() }
func (f *openFile) Close() error { return nil }

// openDir is a directory that was opened.
type openDir struct {
	info
	entries []fs.DirEntry
	at      int // entries that were returned
}

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errIsDir}
}

func (d *openDir) Close() error { return nil }

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.entries[d.at:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.at += len(rest)
	return append([]fs.DirEntry(nil), rest...), nil
}
