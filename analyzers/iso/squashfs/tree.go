package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds on a tree. Linux has paths of 4096 bytes at the most; the image of a
// desktop has a few hundred thousand files, with less than 100 bytes each.
const (
	maxEntries = 1 << 20
	maxDepth   = 256
	maxPath    = 4096
	maxPaths   = 256 << 20 // paths and targets of all entries together
)

// The records of a directory: runs, each of a header and its entries.
const (
	runHeader  = 12
	maxRun     = 256
	entrySize  = 8
	maxName    = 256
	indexEntry = 12
)

// walk reads the tree once, breadth first.
type walk struct {
	*FS
	entries []node // of the directory that is being read
	ids     []uint32
	unowned bool            // an owner was met that is not in ids
	seen    map[uint64]bool // directories, by the reference of their inode
	queue   []dirAt
	records int // what was read so far: entries, and what leads to them
	paths   int // bytes of paths and targets so far
}

// dirAt is a directory to be read.
type dirAt struct {
	node  *node
	path  string // "" for the root, else with a slash behind
	depth int
}

var (
	errNoDir   = errors.New("not a directory")
	errEntries = fmt.Errorf("more than %d entries: the rest is not read", maxEntries)
	errPaths   = fmt.Errorf("paths of more than %d bytes: the rest is not read", maxPaths)
)

// readTree fails when there is no root directory.
func (f *FS) readTree() error {
	w := &walk{FS: f, seen: map[uint64]bool{}}
	if err := w.owners(); err != nil {
		w.ids = nil // all or nothing: an owner by half the table would be chance
		w.problem("owners are not known: %v", err)
	}
	if err := w.inode(&f.root, f.super.root); err != nil {
		return err
	}
	if !f.root.IsDir() {
		return errNoDir
	}
	f.root.name = "."
	w.push(dirAt{node: &f.root})
	for len(w.queue) > 0 {
		d := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.dir(d); err != nil {
			w.lost("%s: %v", d, err)
			break
		}
	}
	return nil
}

func (d dirAt) String() string { return quote("/" + d.path) }

// quote makes a path of an image fit for a problem.
func quote(p string) string {
	const most = 200
	if len(p) > most {
		p = p[:most] + "..."
	}
	return fmt.Sprintf("%q", p)
}

// lost is a problem that leaves entries out of the tree.
func (w *walk) lost(format string, args ...any) {
	w.Partial = true
	w.problem(format, args...)
}

// push takes up a directory, once each: one that holds itself, or that hangs in
// two places, is read where it is met first.
func (w *walk) push(d dirAt) {
	switch {
	case w.seen[d.node.ref]:
		w.problem("%s: the directory was met before: not read again", d)
	case d.depth > maxDepth:
		w.lost("%s: more than %d directories deep: not read", d, maxDepth)
	default:
		w.seen[d.node.ref] = true
		w.queue = append(w.queue, d)
	}
}

// spend counts one record.
func (w *walk) spend() error {
	if w.records++; w.records > maxEntries {
		return errEntries
	}
	return nil
}

// dir reads the entries of a directory. What fails it ends the walk.
func (w *walk) dir(d dirAt) error {
	w.entries = w.entries[:0]
	err := w.listing(d)
	list := slices.Clone(w.settle(d, w.entries))
	d.node.entries = list
	for i := range list {
		if list[i].IsDir() {
			w.push(dirAt{&list[i], d.path + list[i].name + "/", d.depth + 1})
		}
	}
	return err
}

// settle brings entries into order, as they are in a sound image, and leaves
// out those whose names stand there twice.
func (w *walk) settle(d dirAt, list []node) []node {
	inOrder := true
	for i := 1; i < len(list) && inOrder; i++ {
		inOrder = list[i-1].name < list[i].name
	}
	if inOrder {
		return list
	}
	slices.SortStableFunc(list, func(a, b node) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(list, func(a, b node) bool {
		if a.name == b.name {
			w.lost("%s: stands there twice", quote("/"+d.path+a.name))
		}
		return a.name == b.name
	})
}

// listing reads a directory's runs. Behind one that cannot be read it goes on
// where the index has the next.
func (w *walk) listing(d dirAt) error {
	n := d.node
	if err := w.spend(); err != nil || n.size <= emptyDir {
		return err
	}
	l := listing{walk: w, dirAt: d, size: n.size - emptyDir}
	l.cursor, l.err = w.seek(w.super.dirs, n.start, int(n.dirOff))
	for l.done < l.size {
		if l.err == nil {
			if err := l.run(); err != nil {
				return err
			}
		}
		if l.err == nil {
			continue
		}
		w.lost("%s: %v", d, l.err)
		if more, err := l.resume(n); !more || err != nil {
			return err
		}
	}
	return nil
}

// listing is a directory that is being read.
type listing struct {
	*walk
	dirAt
	cursor cursor
	size   int64
	done   int64 // bytes of size that were read
	err    error // why the next cannot be read
	index  []indexed
	loaded bool
}

// indexed is a run that a directory's index names.
type indexed struct {
	done  int64 // bytes of the listing before it
	block int64 // from the start of the table
}

func (l *listing) read(b []byte) bool {
	if l.done += int64(len(b)); l.done > l.size {
		l.err = l.cursor.errorf("the records of a directory are longer than its %d bytes", l.size)
		return false
	}
	l.err = l.cursor.read(b)
	return l.err == nil
}

// run reads a header and its entries.
func (l *listing) run() error {
	var head [runHeader]byte
	if !l.read(head[:]) {
		return nil
	}
	le := binary.LittleEndian
	count, block := le.Uint32(head[:]), uint64(le.Uint32(head[4:]))
	if count >= maxRun {
		l.err = l.cursor.errorf("a directory's run of %d entries", uint64(count)+1)
		return nil
	}
	for range count + 1 {
		var e [entrySize + maxName]byte
		if !l.read(e[:entrySize]) {
			return nil
		}
		size := int(le.Uint16(e[6:])) + 1
		if size > maxName {
			l.err = l.cursor.errorf("a name of %d bytes", size)
			return nil
		}
		if !l.read(e[entrySize : entrySize+size]) {
			return nil
		}
		ref := block<<16 | uint64(le.Uint16(e[:]))
		if err := l.entry(string(e[entrySize:entrySize+size]), ref, le.Uint16(e[4:])); err != nil {
			return err
		}
	}
	return nil
}

// entry takes up one entry: a reference of an inode and its basic kind.
func (l *listing) entry(name string, ref uint64, kind uint16) error {
	if err := l.spend(); err != nil {
		return err
	}
	size := len(l.path) + len(name)
	if name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || size > maxPath {
		l.lost("%s: %v", quote("/"+l.path+name), l.cursor.errorf("a name that no file can have"))
		return nil
	}
	var n node
	if err := l.inode(&n, ref); err != nil {
		l.lost("%s: %v", quote("/"+l.path+name), err)
		return nil
	}
	if int(kind) >= len(kinds) || kind == 0 || kinds[kind].mode != n.mode.Type() {
		l.lost("%s: %v", quote("/"+l.path+name), l.cursor.errorf("type %d in the directory, %v in the inode", kind, n.mode))
		return nil
	}
	if l.paths += size + len(n.target); l.paths > maxPaths {
		return errPaths
	}
	n.name = name
	l.entries = append(l.entries, n)
	return nil
}

// resume goes to the next run that the index has behind what was read.
func (l *listing) resume(n *node) (bool, error) {
	if !l.loaded {
		l.loaded = true
		if err := l.readIndex(n); err != nil {
			return false, err
		}
	}
	for ; len(l.index) > 0; l.index = l.index[1:] {
		next := l.index[0]
		if next.done < l.done || next.done >= l.size {
			continue
		}
		off := (next.done + int64(n.dirOff)) % metaSize
		if c, err := l.seek(l.super.dirs, next.block, int(off)); err == nil {
			l.cursor, l.done, l.err = c, next.done, nil
			return true, nil
		}
	}
	return false, nil
}

// readIndex reads as much of a directory's index as can be read. It follows the
// inode.
func (l *listing) readIndex(n *node) error {
	c, err := l.behindInode(n)
	if err != nil {
		return nil
	}
	le := binary.LittleEndian
	var b [indexEntry + maxName]byte
	for range n.indexed {
		if err := l.spend(); err != nil {
			return err
		}
		if c.read(b[:indexEntry]) != nil {
			return nil
		}
		l.index = append(l.index, indexed{int64(le.Uint32(b[:])), int64(le.Uint32(b[4:]))})
		size := uint64(le.Uint32(b[8:])) + 1
		if size > maxName || c.read(b[:size]) != nil {
			return nil
		}
	}
	return nil
}
