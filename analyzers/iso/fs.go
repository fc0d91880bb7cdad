package iso

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"
)

// Tree is the files of a volume, ISO 9660 or FAT, without their bytes: those
// are read from the volume when they are asked for. Once it is read it does not
// change, so that several may use it at once.
type Tree struct {
	Size  int64   // bytes of the volume
	Files []*File // all but the root, sorted by path
	// Problems are what could not be read; the tree lacks it.
	Problems []string
	Partial  bool // a directory could not be read: the tree lacks entries

	r      io.ReaderAt
	root   *File
	byPath map[string]*File
	folded map[string]*File // by lower-case path
	names  int              // bytes of the paths so far
	noCase bool             // the format ignores case
}

// File is a file, directory or link of the tree.
type File struct {
	Path    string // from the root, "/" first
	Mode    fs.FileMode
	Size    int64  // bytes, 0 for what is no regular file
	Link    string // target of a symbolic link
	UID     uint32 // of Rock Ridge, else 0
	GID     uint32
	ModTime time.Time // zero where the volume has none
	Extents []Extent

	children []*File // of a directory, sorted by name
}

// Extent is a run of bytes of the volume.
type Extent struct{ Start, Length int64 }

// Bounds on a tree: images of distributions have some ten thousand entries.
const (
	maxEntries  = 1 << 18
	maxDepth    = 128
	maxPath     = 4096
	maxDirBytes = 64 << 20
	maxNames    = 32 << 20 // paths of all entries together
)

func newTree(r io.ReaderAt, size int64) Tree {
	return Tree{Size: size, r: r, byPath: map[string]*File{}, folded: map[string]*File{}}
}

// maxProblems bounds what is said about one volume.
const maxProblems = 20

func (t *Tree) problem(format string, args ...any) {
	if len(t.Problems) < maxProblems {
		t.Problems = append(t.Problems, fmt.Sprintf(format, args...))
	}
}

// lost is a problem that leaves entries out of the tree.
func (t *Tree) lost(format string, args ...any) {
	t.Partial = true
	t.problem(format, args...)
}

// add puts f into the tree and reports whether it may stand there: as an entry
// of the directory whose path is dir, "" for the root.
func (t *Tree) add(f *File, dir string) bool {
	base := f.Path[len(dir)+1:]
	if base == "" || base == "." || base == ".." || strings.ContainsAny(base, "/\x00") || len(f.Path) > maxPath {
		t.problem("%s/: a name that no file can have", dir)
		return false
	}
	if t.byPath[f.Path] != nil {
		t.problem("%s: stands there twice", f.Path)
		return false
	}
	if t.names += len(f.Path); t.names > maxNames {
		t.lost("%s/: names of more than %d bytes: the rest is not read", dir, maxNames)
		return false
	}
	t.byPath[f.Path] = f
	t.Files = append(t.Files, f)
	return true
}

// full reports whether no more entries are taken, and says so.
func (t *Tree) full() bool {
	if len(t.Files) < maxEntries {
		return false
	}
	t.lost("more than %d entries: the rest is not read", maxEntries)
	return true
}

// index sorts the files and hangs each into its directory.
func (t *Tree) index() {
	sort.Slice(t.Files, func(i, j int) bool { return t.Files[i].Path < t.Files[j].Path })
	for _, f := range t.Files {
		if low := strings.ToLower(f.Path); t.folded[low] == nil {
			t.folded[low] = f
		}
		if d := t.exact(path.Dir(f.Path)); d != nil {
			d.children = append(d.children, f)
		}
	}
}

// read fills buf from the byte at.
func (t *Tree) read(buf []byte, at int64) error {
	_, err := t.readAt(buf, at)
	return err
}

// readAt reads as io.ReaderAt does, but that the volume's end is an error.
func (t *Tree) readAt(b []byte, at int64) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n := 0
	if at >= 0 && at < t.Size {
		var err error
		if n, err = t.r.ReadAt(b[:min(int64(len(b)), t.Size-at)], at); n == len(b) {
			return n, nil
		} else if err != nil && err != io.EOF {
			return n, fmt.Errorf("byte %d: %w", at+int64(n), err)
		}
	}
	return n, beyond(at + int64(n))
}

func beyond(at int64) error {
	return fmt.Errorf("byte %d: beyond the end of the image: %w", at, io.ErrUnexpectedEOF)
}

// Lookup returns the file at p, nil when there is none. Boot loaders differ in
// whether case matters; an exact match goes first.
func (t *Tree) Lookup(p string) *File {
	p = path.Clean("/" + p)
	if f := t.byPath[p]; f != nil {
		return f
	}
	return t.folded[strings.ToLower(p)]
}

// exact returns the file whose path is p and no other, "/" for the root.
func (t *Tree) exact(p string) *File {
	if p == "/" {
		return t.root
	}
	return t.byPath[p]
}

// maxLinks bounds how many symbolic links one look-up follows.
const maxLinks = 16

// Resolve is Lookup that follows symbolic links wherever they stand in the
// path.
func (t *Tree) Resolve(p string) *File {
	if f, err := t.follow(path.Clean("/"+p), t.Lookup, true); err == nil && f != t.root {
		return f
	}
	return nil
}

var (
	errNoDir = errors.New("not a directory")
	errIsDir = errors.New("is a directory")
	errLinks = errors.New("too many symbolic links")
)

// follow walks the elements of p with the given look-up; last says whether a
// link at the end is followed too.
func (t *Tree) follow(p string, look func(string) *File, last bool) (*File, error) {
	at, links := t.root, 0
	for rest := p; ; {
		var name string
		if rest = strings.TrimLeft(rest, "/"); rest == "" {
			return at, nil
		}
		name, rest, _ = strings.Cut(rest, "/")
		switch {
		case !at.Mode.IsDir():
			return nil, errNoDir
		case name == ".":
			continue
		case name == "..":
			if at = t.exact(path.Dir(at.Path)); at == nil {
				return nil, fs.ErrNotExist
			}
			continue
		}
		f := look(path.Join(at.Path, name))
		if f == nil {
			return nil, fs.ErrNotExist
		}
		if f.Mode&fs.ModeSymlink == 0 || rest == "" && !last {
			at = f
			continue
		}
		if links++; links > maxLinks {
			return nil, errLinks
		}
		if rest = f.Link + "/" + rest; strings.HasPrefix(f.Link, "/") {
			at = t.root
		}
	}
}

// Whole reports whether all bytes of f are in the volume.
func (t *Tree) Whole(f *File) bool { return t.whole(f) == nil }

func (t *Tree) whole(f *File) error {
	left := f.Size
	for _, e := range f.Extents {
		if left -= e.Length; e.Length == 0 {
			continue
		}
		if e.Start < 0 || e.Length < 0 || e.Start > t.Size || e.Length > t.Size-e.Start {
			return beyond(max(e.Start, t.Size))
		}
	}
	if left > 0 && f.Mode.IsRegular() {
		return fmt.Errorf("%d of %d bytes lie nowhere: %w", left, f.Size, io.ErrUnexpectedEOF)
	}
	return nil
}

// ReadFile returns the bytes of f; it fails when there are more than limit, or
// when not all are in the volume.
func (t *Tree) ReadFile(f *File, limit int64) ([]byte, error) {
	if f.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes: larger than the %d that are read", f.Path, f.Size, limit)
	}
	if !f.Mode.IsRegular() {
		return nil, fmt.Errorf("%s: no regular file", f.Path)
	}
	if err := t.whole(f); err != nil { // before the size becomes memory
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	data := make([]byte, f.Size)
	if _, err := io.ReadFull(t.Reader(f), data); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return data, nil
}

// Reader returns the bytes of f in the volume; those of a file that is not
// regular are none. A read beyond the volume's end gives what is before, and an
// error that names the byte of the volume.
func (t *Tree) Reader(f *File) *io.SectionReader {
	if !f.Mode.IsRegular() {
		return io.NewSectionReader(strings.NewReader(""), 0, 0)
	}
	x := extents{t: t, of: f.Extents, ends: make([]int64, len(f.Extents)), size: f.Size}
	var end int64
	for i, e := range f.Extents {
		end += e.Length
		x.ends[i] = end
	}
	return io.NewSectionReader(x, 0, f.Size)
}

// extents reads a file that lies in several places of the volume.
type extents struct {
	t    *Tree
	of   []Extent
	ends []int64 // where each ends, in bytes of the file
	size int64
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
		got, err := x.t.readAt(part, x.of[i].Start+in)
		if n += got; err != nil {
			return n, err
		}
	}
	switch end := off + int64(n); {
	case n == len(b):
		return n, nil
	case end < x.size:
		return n, fmt.Errorf("bytes %d to %d of the file lie nowhere: %w", end, x.size, io.ErrUnexpectedEOF)
	}
	return n, io.EOF
}

// FS returns the tree as a file system, for one who walks it or reads what is
// nested in it. It is also an fs.ReadDirFS, fs.StatFS, fs.ReadFileFS and
// fs.ReadLinkFS. Links are followed within the volume, an absolute one from its
// root. Files that are opened are io.ReaderAt and io.Seeker too; FileInfo.Sys
// is the *File. A name that is not UTF-8 is listed but cannot be opened, as
// io/fs has it: Lookup finds it.
func (t *Tree) FS() fs.FS { return treeFS{t} }

type treeFS struct{ t *Tree }

var (
	_ fs.ReadDirFS  = treeFS{}
	_ fs.StatFS     = treeFS{}
	_ fs.ReadFileFS = treeFS{}
	_ fs.ReadLinkFS = treeFS{}
)

// file returns what name stands for: by the exact name unless the format
// ignores case, since what a loader takes for the same is not what a file
// system does.
func (s treeFS) file(op, name string, follow bool) (*File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	look := s.t.exact
	if s.t.noCase {
		look = s.t.Lookup
	}
	f, err := s.t.follow(name, look, follow)
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return f, nil
}

func (s treeFS) Open(name string) (fs.File, error) {
	f, err := s.file("open", name, true)
	if err != nil {
		return nil, err
	}
	in := fileInfo(path.Base(name), f)
	if f.Mode.IsDir() {
		return &openDir{info: in, entries: entries(f)}, nil
	}
	return &openFile{in, s.t.Reader(f)}, nil
}

func (s treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := s.file("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !f.Mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoDir}
	}
	return entries(f), nil
}

func (s treeFS) Stat(name string) (fs.FileInfo, error) {
	f, err := s.file("stat", name, true)
	if err != nil {
		return nil, err
	}
	return fileInfo(path.Base(name), f), nil
}

func (s treeFS) Lstat(name string) (fs.FileInfo, error) {
	f, err := s.file("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return fileInfo(path.Base(name), f), nil
}

func (s treeFS) ReadLink(name string) (string, error) {
	f, err := s.file("readlink", name, false)
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
func (s treeFS) ReadFile(name string) ([]byte, error) {
	f, err := s.file("read", name, true)
	if err != nil {
		return nil, err
	}
	data, err := s.t.ReadFile(f, s.t.Size)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
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

// info is the fs.FileInfo of a file.
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
