package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// maxBlocks bounds the blocks of a file: 16 GiB of small blocks, 512 GiB of
// usual ones. Their places take 64 MiB.
const maxBlocks = 1 << 22

// maxReadFile bounds what ReadFile returns: kernels and their initial file
// systems are smaller, and no text is larger.
const maxReadFile = 256 << 20

// The size of a data block or fragment: one bit says that it is not compressed.
const (
	dataStored = 1 << 24
	sizeMask   = dataStored - 1
)

// block is a data block in the image. One of size 0 is sparse: it reads as
// zeros.
type block struct {
	at   int64
	size uint32
}

// file is an open regular file. A damaged block fails what is read of it, and
// nothing else; but behind a block whose size is damaged, no block's place is
// known.
type file struct {
	f    *FS
	node *node
	name string
	n    int64 // full blocks, and the last one where it is in no fragment
	// blocks are the first of the n; err is why there are no more.
	blocks []block
	err    error

	mu     sync.Mutex // guards the rest
	pos    int64
	buf    *[]byte
	inBuf  int64 // the block that is in buf, -1 for none
	closed bool
}

// Open returns the regular file or directory at name. Of a regular file the
// result has io.ReaderAt and io.Seeker too. Other files have nothing to open.
func (f *FS) Open(name string) (fs.File, error) {
	n, err := f.lookup("open", name)
	if err != nil {
		return nil, err
	}
	switch {
	case n.IsDir():
		return &dir{node: n, name: name}, nil
	case n.mode.IsRegular():
		return f.open(n, name), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errNoFile}
}

var errNoFile = errors.New("no regular file")

// ReadFile returns the bytes of a regular file; it fails when there are more
// than 256 MiB. With an error come the bytes before it.
func (f *FS) ReadFile(name string) ([]byte, error) {
	fail := func(b []byte, err error) ([]byte, error) {
		return b, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	n, err := f.lookup("read", name)
	switch {
	case err != nil:
		return nil, err
	case !n.mode.IsRegular():
		return fail(nil, errNoFile)
	case n.size > maxReadFile:
		return fail(nil, fmt.Errorf("%d bytes: larger than the %d that are read", n.size, maxReadFile))
	}
	r := f.open(n, name)
	defer r.Close()
	var b []byte
	for int64(len(b)) < n.size {
		at := len(b)
		part := int(min(n.size-int64(at), r.blockSize()))
		b = slices.Grow(b, part)[:at+part]
		if m, err := r.readAt(b[at:], int64(at)); err != nil {
			return fail(b[:at+m], err)
		}
	}
	return b, nil
}

func (f *FS) open(n *node, name string) *file {
	r := &file{f: f, node: n, name: name, inBuf: -1}
	r.n = n.size >> f.super.blockLog
	if n.fragment == noFragment && n.size%r.blockSize() > 0 {
		r.n++
	}
	r.readBlocks()
	return r
}

func (r *file) blockSize() int64 { return 1 << r.f.super.blockLog }

// readBlocks reads the sizes of the blocks, which follow the inode.
func (r *file) readBlocks() {
	if r.n == 0 {
		return
	}
	if r.n > maxBlocks {
		r.err = fmt.Errorf("a file of %d blocks, %d are allowed", r.n, maxBlocks)
		return
	}
	c, err := r.f.behindInode(r.node)
	at := r.node.start
	for err == nil && int64(len(r.blocks)) < r.n {
		var b [4]byte
		if err = c.read(b[:]); err != nil {
			break
		}
		bl := block{at, binary.LittleEndian.Uint32(b[:])}
		if at, err = r.f.behind(bl); err == nil {
			r.blocks = append(r.blocks, bl)
		}
	}
	if err != nil {
		r.err = fmt.Errorf("block %d: %w", len(r.blocks), err)
	}
}

// behind is the byte behind a block, which has to lie in the image and to be no
// larger than a block.
func (f *FS) behind(b block) (int64, error) {
	n := int64(b.size & sizeMask)
	switch {
	case n > 1<<f.super.blockLog || b.size > dataStored|sizeMask:
		return 0, fmt.Errorf("byte %d: a data block of size %#x", uint64(b.at), b.size)
	case b.at < 0 || b.at > f.Size || n > f.Size-b.at:
		return 0, fmt.Errorf("byte %d: a data block beyond the end of the image", uint64(b.at))
	}
	return b.at + n, nil
}

// load decompresses a block into dst and returns how much that was.
func (f *FS) load(dst []byte, b block) (int, error) {
	n := int(b.size & sizeMask)
	if b.size&dataStored != 0 {
		if n > len(dst) {
			return 0, fmt.Errorf("byte %d: data block: %w", b.at, errLarger)
		}
		return n, f.read(dst[:n], b.at)
	}
	in := f.buffer()
	defer f.bufs.Put(in)
	if err := f.read((*in)[:n], b.at); err != nil {
		return 0, err
	}
	n, err := f.unpack(dst, (*in)[:n])
	if err != nil {
		return 0, fmt.Errorf("byte %d: data block: %w", b.at, err)
	}
	return n, nil
}

// buffer returns memory for a block.
func (f *FS) buffer() *[]byte {
	if b, ok := f.bufs.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 1<<f.super.blockLog)
	return &b
}

// readAt is ReadAt without its error at the end of the file.
func (r *file) readAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) && off < r.node.size {
		i := off >> r.f.super.blockLog
		n, err := 0, error(nil)
		if i < r.n {
			n, err = r.readBlock(p[done:], i, off-i<<r.f.super.blockLog)
		} else {
			n, err = r.readEnd(p[done:], off-i<<r.f.super.blockLog)
		}
		if err != nil {
			return done, err
		}
		done += n
		off += int64(n)
	}
	return done, nil
}

// readBlock copies from byte off of block i.
func (r *file) readBlock(p []byte, i, off int64) (int, error) {
	if i >= int64(len(r.blocks)) {
		return 0, r.err
	}
	b := r.blocks[i]
	whole := int(min(r.blockSize(), r.node.size-i<<r.f.super.blockLog))
	if b.size == 0 {
		n := min(len(p), whole-int(off))
		clear(p[:n])
		return n, nil
	}
	if off == 0 && len(p) >= whole {
		return whole, r.loadWhole(p[:whole], b)
	}
	if r.inBuf != i {
		if r.buf == nil {
			r.buf = r.f.buffer()
		}
		r.inBuf = -1
		if err := r.loadWhole((*r.buf)[:whole], b); err != nil {
			return 0, err
		}
		r.inBuf = i
	}
	return copy(p, (*r.buf)[off:whole]), nil
}

func (r *file) loadWhole(dst []byte, b block) error {
	n, err := r.f.load(dst, b)
	if err == nil && n < len(dst) {
		err = fmt.Errorf("byte %d: a data block of %d bytes, not %d", b.at, n, len(dst))
	}
	return err
}

// readEnd copies from byte off of the file's end in a fragment.
func (r *file) readEnd(p []byte, off int64) (int, error) {
	data, err := r.f.readFragment(r.node.fragment)
	if err != nil {
		return 0, fmt.Errorf("fragment %d: %w", r.node.fragment, err)
	}
	end := int64(r.node.fragOff) + r.node.size%r.blockSize()
	if end > int64(len(data)) {
		return 0, fmt.Errorf("fragment %d has %d bytes, the file's end is at %d", r.node.fragment, len(data), end)
	}
	return copy(p, data[int64(r.node.fragOff)+off:end]), nil
}

// readFragment returns a fragment. The table has a pointer to each of its
// metadata blocks.
func (f *FS) readFragment(i uint32) ([]byte, error) {
	const size, inBlock = 16, metaSize / 16
	if i >= f.super.fragments {
		return nil, fmt.Errorf("there are %d", f.super.fragments)
	}
	f.mu.Lock()
	data := f.fragments.get(i)
	f.mu.Unlock()
	if data != nil {
		return data, nil
	}
	var b [size]byte
	if f.super.fragTable < 0 || f.super.fragTable > f.Size {
		return nil, fmt.Errorf("byte %d: no table of fragments", uint64(f.super.fragTable))
	}
	if err := f.read(b[:8], f.super.fragTable+int64(i/inBlock)*8); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	c, err := f.seek(table{0, f.Size}, int64(le.Uint64(b[:])), int(i%inBlock*size))
	if err != nil {
		return nil, err
	}
	if err := c.read(b[:]); err != nil {
		return nil, err
	}
	bl := block{int64(le.Uint64(b[:])), le.Uint32(b[8:])}
	if _, err := f.behind(bl); err != nil {
		return nil, err
	}
	data = make([]byte, 1<<f.super.blockLog)
	n, err := f.load(data, bl)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.fragments.put(i, data[:n])
	f.mu.Unlock()
	return data[:n], nil
}

// cache keeps the fragments that were read last. Files that share one are near
// each other in the tree.
type cache struct {
	list []fragment // the last one first
}

type fragment struct {
	i    uint32
	data []byte
}

// maxFragments of up to 1 MiB each.
const maxFragments = 8

func (c *cache) get(i uint32) []byte {
	for at, fr := range c.list {
		if fr.i == i {
			copy(c.list[1:at+1], c.list[:at])
			c.list[0] = fr
			return fr.data
		}
	}
	return nil
}

func (c *cache) put(i uint32, data []byte) {
	if len(c.list) >= maxFragments {
		c.list = c.list[:maxFragments-1]
	}
	c.list = slices.Insert(c.list, 0, fragment{i, data})
}

func (r *file) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: r.name, Err: err}
}

func (r *file) Stat() (fs.FileInfo, error) { return r.node, nil }

func (r *file) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, r.fail("read", fs.ErrClosed)
	case len(p) == 0:
		return 0, nil
	case r.pos >= r.node.size:
		return 0, io.EOF
	}
	n, err := r.readAt(p, r.pos)
	r.pos += int64(n)
	if err != nil {
		err = r.fail("read", err)
	}
	return n, err
}

func (r *file) ReadAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return 0, r.fail("read", fs.ErrClosed)
	case off < 0:
		return 0, r.fail("read", fs.ErrInvalid)
	}
	n, err := r.readAt(p, off)
	switch {
	case err != nil:
		err = r.fail("read", err)
	case n < len(p):
		err = io.EOF
	}
	return n, err
}

func (r *file) Seek(off int64, whence int) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		off += r.pos
	case io.SeekEnd:
		off += r.node.size
	}
	if r.closed {
		return 0, r.fail("seek", fs.ErrClosed)
	}
	if off < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, r.fail("seek", fs.ErrInvalid)
	}
	r.pos = off
	return off, nil
}

func (r *file) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return r.fail("close", fs.ErrClosed)
	}
	r.closed = true
	if r.buf != nil {
		r.f.bufs.Put(r.buf)
	}
	return nil
}

// dir is an open directory.
type dir struct {
	node *node
	name string
	done int
}

func (d *dir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *dir) Close() error               { return nil }

func (d *dir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	list := d.node.entries[d.done:]
	if n > 0 {
		if len(list) == 0 {
			return nil, io.EOF
		}
		list = list[:min(n, len(list))]
	}
	d.done += len(list)
	return dirEntries(list), nil
}
