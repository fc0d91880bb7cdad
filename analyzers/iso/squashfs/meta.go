package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A metadata block starts with its size on disk, whose highest bit says that it
// is not compressed.
const (
	metaSize   = 8192
	metaStored = 1 << 15
	metaHeader = 2
)

// maxMeta bounds the metadata of an image, decompressed: a million inodes of
// large files and their names have less than half of it. As references may lead
// into the middle of blocks, it bounds the work on a hostile image too.
const maxMeta = 256 << 20

var errMetaLimit = fmt.Errorf("more than %d bytes of metadata: the rest is not read", maxMeta)

// metaBlock is a metadata block as it was read, or why it was not.
type metaBlock struct {
	data []byte
	next int64 // byte behind it
	err  error
}

// block returns the metadata block at a byte of the image. Each is read once.
func (f *FS) block(at int64) metaBlock {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, ok := f.meta[at]
	switch {
	case ok:
		return m
	case f.metaBytes+metaSize > maxMeta:
		return metaBlock{err: fmt.Errorf("byte %d: %w", at, errMetaLimit)}
	}
	f.metaBytes += metaSize
	m = f.readBlock(at)
	f.meta[at] = m
	return m
}

var errEmpty = errors.New("empty")

func (f *FS) readBlock(at int64) metaBlock {
	var head [metaHeader]byte
	if err := f.read(head[:], at); err != nil {
		return metaBlock{err: err}
	}
	fail := func(err error) metaBlock {
		return metaBlock{err: fmt.Errorf("byte %d: metadata block: %w", at, err)}
	}
	h := int(binary.LittleEndian.Uint16(head[:]))
	n := h &^ metaStored
	if n > metaSize {
		return fail(fmt.Errorf("%d bytes, %d are allowed", n, metaSize))
	}
	var in, out [metaSize]byte
	if err := f.read(in[:n], at+metaHeader); err != nil {
		return metaBlock{err: err}
	}
	data := in[:n]
	if h&metaStored == 0 {
		m, err := f.unpack(out[:], data)
		if err != nil {
			return fail(err)
		}
		data = out[:m]
	}
	if len(data) == 0 {
		return fail(errEmpty)
	}
	return metaBlock{data: append([]byte(nil), data...), next: at + metaHeader + int64(n)}
}

// unpack decompresses src into dst and returns how much that was.
func (f *FS) unpack(dst, src []byte) (int, error) {
	u := f.pool.Get().(unpacker)
	defer f.pool.Put(u)
	n, err := u.unpack(dst, src)
	if err != nil {
		// Not wrapped: an end of the block's data is none of the file's.
		return 0, fmt.Errorf("%s: %v", f.Compression, err)
	}
	return n, nil
}

// cursor reads on through the metadata blocks of a table.
type cursor struct {
	f    *FS
	end  int64  // of the table
	at   int64  // of the block
	next int64  // byte behind the block
	data []byte // of the block
	off  int    // what of data was read
}

// seek returns a cursor at byte off of the decompressed block that starts
// block bytes behind the start of the table.
func (f *FS) seek(t table, block int64, off int) (cursor, error) {
	c := cursor{f: f, end: t.end, next: t.start + block}
	if block < 0 || block > t.end-t.start {
		return c, fmt.Errorf("byte %d: no metadata block: the table is from byte %d to byte %d", uint64(t.start)+uint64(block), t.start, t.end)
	}
	if err := c.advance(); err != nil {
		return c, err
	}
	if off >= len(c.data) {
		return c, fmt.Errorf("byte %d: metadata block of %d bytes: offset %d", c.at, len(c.data), off)
	}
	c.off = off
	return c, nil
}

func (c *cursor) advance() error {
	if c.next >= c.end {
		return fmt.Errorf("byte %d: the table ends", c.next)
	}
	m := c.f.block(c.next)
	if m.err != nil {
		return m.err
	}
	c.at, c.next, c.data, c.off = c.next, m.next, m.data, 0
	return nil
}

// read fills b.
func (c *cursor) read(b []byte) error {
	for {
		n := copy(b, c.data[c.off:])
		c.off += n
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		if err := c.advance(); err != nil {
			return err
		}
	}
}

// errorf is an error at what the cursor read last.
func (c *cursor) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: metadata block, up to offset %d: %s", c.at, c.off, fmt.Sprintf(format, args...))
}
