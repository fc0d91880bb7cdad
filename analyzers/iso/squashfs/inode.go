package squashfs

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
)

// The kinds of inodes. Those with more fields are extendedKind higher.
const (
	kindDir = 1 + iota
	kindFile
	kindLink
	kindBlockDevice
	kindCharDevice
	kindFIFO
	kindSocket

	extendedKind = 7
)

// kinds are the modes of the kinds, and what their inodes have behind the
// header, at first and when extended.
var kinds = [...]struct {
	mode        fs.FileMode
	size, large int
}{
	kindDir:         {fs.ModeDir, 16, 24},
	kindFile:        {0, 16, 40},
	kindLink:        {fs.ModeSymlink, 8, 8},
	kindBlockDevice: {fs.ModeDevice, 8, 12},
	kindCharDevice:  {fs.ModeDevice | fs.ModeCharDevice, 8, 12},
	kindFIFO:        {fs.ModeNamedPipe, 4, 8},
	kindSocket:      {fs.ModeSocket, 4, 8},
}

const (
	inodeHeader = 16
	largestBody = 40
	// noFragment stands for the fragment of a file that has none.
	noFragment = math.MaxUint32
	// emptyDir is the size of a directory without entries: its listing does not
	// have the three bytes, which stand for "." and "..".
	emptyDir = 3
	// maxTarget is the length of a symbolic link's target that Linux reads.
	maxTarget = 4096
)

// node is a file of the tree: its inode and its name.
type node struct {
	name   string
	target string // of a symbolic link
	size   int64
	ref    uint64 // of the inode
	// start is the first byte of a file's blocks, or the block of a directory's
	// listing from the start of its table.
	start int64
	// tail is where a file's block sizes are, or a directory's index: a byte of
	// the image with a metadata block, and an offset in it.
	tail     int64
	tailOff  int32
	dirOff   uint16 // of a directory's listing in its block
	indexed  uint16 // entries of the index
	fragment uint32 // of a file
	fragOff  uint32 // of the file's end in it
	rdev     uint32 // of a device, as Linux encodes it
	mode     fs.FileMode
	mtime    uint32
	number   uint32
	nlink    uint32
	uid, gid uint32
	entries  []node // of a directory, by name
}

// inode reads the inode that ref stands for into n: the block of the table in
// the upper 48 bits, the offset in it in the lower 16.
func (w *walk) inode(n *node, ref uint64) error {
	c, err := w.seek(w.super.inodes, int64(ref>>16), int(ref&0xffff))
	if err != nil {
		return err
	}
	b := make([]byte, inodeHeader, inodeHeader+largestBody)
	if err := c.read(b); err != nil {
		return err
	}
	le := binary.LittleEndian
	kind, body := int(le.Uint16(b)), 0
	extended := kind > extendedKind
	if extended {
		kind -= extendedKind
	}
	if kind < kindDir || kind > kindSocket {
		return c.errorf("inode of unknown type %d", le.Uint16(b))
	}
	if body = kinds[kind].size; extended {
		body = kinds[kind].large
	}
	*n = node{
		ref:    ref,
		mode:   kinds[kind].mode | permissions(le.Uint16(b[2:])),
		mtime:  le.Uint32(b[8:]),
		number: le.Uint32(b[12:]),
		nlink:  1,
	}
	n.uid, n.gid = w.owner(&c, le.Uint16(b[4:])), w.owner(&c, le.Uint16(b[6:]))
	b = b[:body]
	if err := c.read(b); err != nil {
		return err
	}
	if err := w.body(n, &c, kind, extended, b); err != nil {
		return err
	}
	n.tail, n.tailOff = c.at, int32(c.off)
	return nil
}

// body decodes what is behind an inode's header.
func (w *walk) body(n *node, c *cursor, kind int, extended bool, b []byte) error {
	le := binary.LittleEndian
	switch {
	case kind == kindDir && extended:
		n.largeDir(b)
	case kind == kindDir:
		n.dir(b)
	case kind == kindFile && extended:
		if err := n.largeFile(b); err != nil {
			return c.errorf("inode: %v", err)
		}
	case kind == kindFile:
		n.file(b)
	case kind == kindLink:
		n.nlink = le.Uint32(b)
		return w.link(n, c, le.Uint32(b[4:]))
	case kind == kindBlockDevice, kind == kindCharDevice:
		n.nlink, n.rdev = le.Uint32(b), le.Uint32(b[4:])
	default:
		n.nlink = le.Uint32(b)
	}
	return nil
}

// behindInode returns a cursor at what follows n's inode.
func (f *FS) behindInode(n *node) (cursor, error) {
	// The last byte of the inode is in that block, even where the next is not.
	c, err := f.seek(table{n.tail, f.super.inodes.end}, 0, int(n.tailOff)-1)
	c.off++
	return c, err
}

func (n *node) dir(b []byte) {
	le := binary.LittleEndian
	n.start = int64(le.Uint32(b))
	n.nlink = le.Uint32(b[4:])
	n.size = int64(le.Uint16(b[8:]))
	n.dirOff = le.Uint16(b[10:])
}

func (n *node) largeDir(b []byte) {
	le := binary.LittleEndian
	n.nlink = le.Uint32(b)
	n.size = int64(le.Uint32(b[4:]))
	n.start = int64(le.Uint32(b[8:]))
	n.indexed = le.Uint16(b[16:])
	n.dirOff = le.Uint16(b[18:])
}

func (n *node) file(b []byte) {
	le := binary.LittleEndian
	n.start = int64(le.Uint32(b))
	n.fragment = le.Uint32(b[4:])
	n.fragOff = le.Uint32(b[8:])
	n.size = int64(le.Uint32(b[12:]))
}

func (n *node) largeFile(b []byte) error {
	le := binary.LittleEndian
	start, size := le.Uint64(b), le.Uint64(b[8:])
	if start > math.MaxInt64 || size > math.MaxInt64 {
		return fmt.Errorf("a file of %d bytes from byte %d", size, start)
	}
	n.start, n.size = int64(start), int64(size)
	n.nlink = le.Uint32(b[24:])
	n.fragment = le.Uint32(b[28:])
	n.fragOff = le.Uint32(b[32:])
	return nil
}

// link reads the target, which follows the inode.
func (w *walk) link(n *node, c *cursor, size uint32) error {
	if size > maxTarget {
		return c.errorf("inode: a link to a target of %d bytes", size)
	}
	b := make([]byte, size)
	if err := c.read(b); err != nil {
		return err
	}
	n.target, n.size = string(b), int64(size)
	return nil
}

// owner is the user or group at an index of the table.
func (w *walk) owner(c *cursor, index uint16) uint32 {
	if int(index) < len(w.ids) {
		return w.ids[index]
	}
	if int(index) >= w.super.ids && !w.unowned {
		w.unowned = true
		w.problem("byte %d: an inode has owner %d, of %d in the table", c.at, index, w.super.ids)
	}
	return NoID
}

// owners reads the table of users and groups.
func (w *walk) owners() error {
	const size, inBlock = 4, metaSize / 4
	le := binary.LittleEndian
	for len(w.ids) < w.super.ids {
		var p [8]byte
		if err := w.read(p[:], w.super.idTable+int64(len(w.ids)/inBlock*len(p))); err != nil {
			return err
		}
		c, err := w.seek(table{0, w.Size}, int64(le.Uint64(p[:])), 0)
		if err != nil {
			return err
		}
		b := make([]byte, min(inBlock, w.super.ids-len(w.ids))*size)
		if err := c.read(b); err != nil {
			return err
		}
		for ; len(b) > 0; b = b[size:] {
			w.ids = append(w.ids, le.Uint32(b))
		}
	}
	return nil
}

// permissions are the lower twelve bits of a mode.
func permissions(m uint16) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	if m&0o4000 != 0 {
		mode |= fs.ModeSetuid
	}
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	if m&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}
