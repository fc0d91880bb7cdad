package archive

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"sync"
	"time"
)

// node is a file or directory.
type node struct {
	name string // last element
	size int64
	dir  bool
	kids []*node // of a directory, sorted by name
	content
}

// content is where a file's bytes are.
type content interface {
	open() (reader io.Reader, done func() error, err error)
}

// Open opens the file or directory at name.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name)
	switch {
	case err != nil:
		return nil, err
	case n.dir:
		return &dirFile{node: n}, nil
	}
	r, done, err := n.open()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if s, ok := r.(*io.SectionReader); ok {
		return &spanFile{SectionReader: s, node: n, done: done}, nil
	}
	return &streamFile{Reader: r, node: n, done: done}, nil
}

// Stat describes the file or directory at name.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// ReadDir lists the directory at name, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	return (&dirFile{node: n}).ReadDir(-1)
}

var (
	errNotDir = errors.New("not a directory")
	errIsDir  = errors.New("a directory")
)

func (f *FS) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := f.nodes[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

// info describes a node.
type info struct{ *node }

func (i info) Name() string { return i.name }
func (i info) Size() int64  { return i.size }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

// spanFile can be read at any offset.
type spanFile struct {
	*io.SectionReader
	node *node
	done func() error
}

func (f *spanFile) Stat() (fs.FileInfo, error) { return info{f.node}, nil }
func (f *spanFile) Close() error               { return once(&f.done) }

// streamFile can be read from the start.
type streamFile struct {
	io.Reader
	node *node
	done func() error
}

func (f *streamFile) Stat() (fs.FileInfo, error) { return info{f.node}, nil }
func (f *streamFile) Close() error               { return once(&f.done) }

// once calls done the first time.
func once(done *func() error) error {
	f := *done
	*done = nil
	if f == nil {
		return fs.ErrClosed
	}
	return f()
}

type dirFile struct {
	node *node
	at   int
}

func (d *dirFile) Stat() (fs.FileInfo, error) { return info{d.node}, nil }
func (d *dirFile) Close() error               { return nil }
func (d *dirFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.name, Err: errIsDir}
}

func (d *dirFile) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.node.kids[d.at:]
	if n > 0 {
		if len(rest) == 0 {
			return nil, io.EOF
		}
		rest = rest[:min(n, len(rest))]
	}
	d.at += len(rest)
	es := make([]fs.DirEntry, len(rest))
	for i, k := range rest {
		es[i] = fs.FileInfoToDirEntry(info{k})
	}
	return es, nil
}

// held is content in memory.
type held []byte

func (h held) open() (io.Reader, func() error, error) {
	return io.NewSectionReader(bytes.NewReader(h), 0, int64(len(h))), func() error { return nil }, nil
}

// part is the start of content that was not unpacked.
type part []byte

func (p part) open() (io.Reader, func() error, error) {
	return io.MultiReader(bytes.NewReader(p), packed{}), func() error { return nil }, nil
}

// packed is where the unpacked bytes end.
type packed struct{}

func (packed) Read([]byte) (int, error) { return 0, ErrPacked }

// span is content that stands in the archive as it is.
type span struct {
	src     *source
	at, len int64
}

func (s span) open() (io.Reader, func() error, error) {
	if err := s.src.acquire(nil); err != nil {
		return nil, nil, err
	}
	return io.NewSectionReader(s.src, s.at, s.len), s.src.release, nil
}

// source is the archive's file, open while somebody uses it: a tree may hold
// more archives than a process may have open.
type source struct {
	fsys fs.FS
	name string
	size int64

	mu    sync.Mutex
	users int
	file  fs.File
	at    io.ReaderAt
	whole *bytes.Reader // of a file that can only be read from the start
}

// acquire opens the file; each call needs a release. The budget is for the
// first.
func (s *source) acquire(b *Budget) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users > 0 || s.whole != nil {
		s.users++
		return nil
	}
	f, err := s.fsys.Open(s.name)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	s.size = fi.Size()
	if at, ok := f.(io.ReaderAt); ok {
		s.file, s.at, s.users = f, at, 1
		return nil
	}
	defer f.Close()
	if s.size > MaxMember || b == nil || !b.take(s.size) {
		return ErrPacked
	}
	data, err := io.ReadAll(io.LimitReader(f, s.size))
	if err != nil {
		return err
	}
	s.whole, s.size, s.users = bytes.NewReader(data), int64(len(data)), 1
	s.at = s.whole
	return nil
}

func (s *source) release() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users > 0 || s.whole != nil {
		return nil
	}
	f := s.file
	s.file, s.at = nil, nil
	return f.Close()
}

// ReadAt is for those who acquired the source.
func (s *source) ReadAt(p []byte, off int64) (int, error) { return s.at.ReadAt(p, off) }
