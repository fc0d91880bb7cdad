package initrd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"time"
)

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// Stat is what FileInfo.Sys points to: the numbers of the entry.
type Stat struct {
	UID, GID uint32
	// Nlink is how many names the archive says the inode has. It is 0 for a
	// directory that no entry makes: other entries lie in it.
	Nlink uint32
	Ino   uint32
	Rdev  uint64 // of a device, as makedev(3) makes it
}

// info is a node as fs.FileInfo.
type info struct{ *node }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Unix(int64(i.mtime), 0).UTC() }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any {
	s := i.stat
	return &s
}

// find returns the node at a path, through all links.
func (f *FS) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, _, err := f.tree.walk(name, func(*node, string) (*node, error) { return nil, fs.ErrNotExist })
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// findLink is find that does not follow a link at the end.
func (f *FS) findLink(op, name string) (*node, error) {
	if !fs.ValidPath(name) || name == "." {
		return f.find(op, name)
	}
	dirName, base := split(name)
	if dirName == "" {
		dirName = "."
	}
	dir, err := f.find(op, dirName)
	if err != nil {
		err.(*fs.PathError).Path = name
		return nil, err
	}
	if n := dir.children[base]; n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// Stat describes what is at a path, through links.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.find("stat", name)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// Lstat describes what is at a path, the link if it is one.
func (f *FS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.findLink("lstat", name)
	if err != nil {
		return nil, err
	}
	return info{n}, nil
}

// ReadLink returns where the link at a path leads, in the bytes of the image.
func (f *FS) ReadLink(name string) (string, error) {
	n, err := f.findLink("readlink", name)
	if err == nil && n.mode.Type() != fs.ModeSymlink {
		err = &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	if err != nil {
		return "", err
	}
	return n.link, nil
}

// ReadDir lists a directory by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.find("readdir", name)
	if err == nil && !n.mode.IsDir() {
		err = &fs.PathError{Op: "readdir", Path: name, Err: errNoDir}
	}
	if err != nil {
		return nil, err
	}
	return n.list(), nil
}

func (n *node) list() []fs.DirEntry {
	list := make([]fs.DirEntry, 0, len(n.children))
	for _, c := range n.sorted() {
		list = append(list, fs.FileInfoToDirEntry(info{c}))
	}
	return list
}

// ReadFile returns the content of a regular file. What it needs in memory is
// what Stat gives as the size: at most 4 GiB.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, ok := file.(*regular)
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errNotRegular}
	}
	if r.node.lost || r.node.size > math.MaxInt {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errLost}
	}
	b := make([]byte, r.node.size)
	_, err = io.ReadFull(file, b)
	return b, err
}

var (
	errNotRegular = errors.New("not a regular file")
	errLost       = errors.New("the image does not hold all of it")
)

// Open opens what is at a path, through links. Only regular files and
// directories can be read. Reading in the order of the archive is fastest.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.find("open", name)
	if err != nil {
		return nil, err
	}
	switch n.mode.Type() {
	case fs.ModeDir:
		return &directory{special: special{node: n, path: name}}, nil
	case 0:
		return &regular{fs: f, special: special{node: n, path: name}}, nil
	}
	return &special{node: n, path: name}, nil
}

// special is an open file that is not read: a device, a pipe, a socket.
type special struct {
	node *node
	path string
}

func (s *special) Stat() (fs.FileInfo, error) { return info{s.node}, nil }
func (s *special) Close() error               { return nil }
func (s *special) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: s.path, Err: errNotRegular}
}

// directory is an open directory.
type directory struct {
	special
	rest   []fs.DirEntry
	listed bool
}

func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.listed {
		d.rest, d.listed = d.node.list(), true
	}
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	list := d.rest[:n]
	d.rest = d.rest[n:]
	return list, nil
}

// regular is an open regular file.
type regular struct {
	special
	fs *FS
	r  io.Reader // nil before the first read
	u  *unpacked // to be given back
}

func (r *regular) Read(p []byte) (int, error) {
	if r.r == nil {
		if err := r.start(); err != nil {
			return 0, &fs.PathError{Op: "read", Path: r.path, Err: err}
		}
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = &fs.PathError{Op: "read", Path: r.path, Err: err}
	}
	return n, err
}

func (r *regular) start() error {
	n := r.node
	switch {
	case n.lost:
		return errLost
	case n.kept != nil || n.size == 0:
		r.r = bytes.NewReader(n.kept)
	case r.fs.Segments[n.segment].Compression == none.String():
		r.r = io.NewSectionReader(r.fs.image, n.at, n.size)
	default:
		u, err := r.fs.take(n.content)
		if err != nil {
			return err
		}
		r.u, r.r = u, io.LimitReader(u, n.size)
	}
	return nil
}

func (r *regular) Close() error {
	if r.u != nil {
		r.fs.give(r.u)
	}
	r.r, r.u = closed{}, nil
	return nil
}

type closed struct{}

func (closed) Read([]byte) (int, error) { return 0, fs.ErrClosed }

// take returns the segment of c at its byte. It goes on from where a file was
// read last, or begins the segment again.
func (f *FS) take(c content) (*unpacked, error) {
	f.mu.Lock()
	u := f.idle
	f.idle = nil
	f.mu.Unlock()
	if u == nil || u.err != nil || u.segment != c.segment || u.offset() > c.at {
		u = f.again(c.segment, u)
	}
	return u, u.skip(c.at - u.offset())
}

func (f *FS) give(u *unpacked) {
	f.mu.Lock()
	f.idle = u
	f.mu.Unlock()
}

// again begins segment i again, with the decoders of old.
func (f *FS) again(i int, old *unpacked) *unpacked {
	d := &decoders{}
	if old != nil {
		d = old.decoders
		d.dict = 0
	}
	g := f.Segments[i]
	left := int64(maxUnpacked) // it was within bounds before
	u := newUnpacked(f, i, kindOf(g.Compression), d, &left)
	u.more = func() bool { return u.next < g.End }
	return u
}
