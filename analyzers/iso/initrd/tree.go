package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Bounds on a tree. A whole distribution in an initrd has some 100,000 entries
// of some 60 bytes of name.
const (
	maxEntries = 1 << 19
	maxNames   = 64 << 20 // bytes of paths and links
	maxSteps   = 1 << 24  // parts of names that are looked up while reading
	maxLinks   = 40       // links that one name leads through (MAXSYMLINKS)
)

var (
	errLimit = errors.New("more entries, or longer names, than are read")
	errLoop  = fmt.Errorf("the name leads through more than %d links", maxLinks)
	errNoDir = errors.New("the name leads through what is no directory")
	errHolds = errors.New("a directory that holds something is in its place")
	errRoot  = errors.New("the root is a directory")
	errLong  = errors.New("its path becomes too long")
)

// tree is the file system as far as it was unpacked.
type tree struct {
	root                  *node
	entries, names, steps int // so far, replaced ones too
}

// node is a name in a directory.
type node struct {
	*inode
	name     string
	length   int // of the path
	parent   *node
	children map[string]*node // of a directory
}

// inode is what the names of one file share.
type inode struct {
	mode  fs.FileMode
	stat  Stat
	mtime uint32 // seconds since 1970
	size  int64
	link  string
	content
}

// content is where the bytes of a regular file are.
type content struct {
	segment int
	at      int64  // byte of what the segment unpacks to; of the image if it is plain
	kept    []byte // all of it, if in memory
	lost    bool
}

func newTree() tree {
	root := &node{name: ".", inode: &inode{mode: fs.ModeDir | 0o755}, children: map[string]*node{}}
	root.parent = root
	return tree{root: root}
}

// walk goes from the root along a path, through all links; missing makes what
// is not there, or says why not. It returns the steps it took.
func (t *tree) walk(name string, missing func(dir *node, name string) (*node, error)) (at *node, steps int, err error) {
	at = t.root
	for rest, links := name, 0; rest != ""; steps++ {
		part, tail, _ := strings.Cut(rest, "/")
		rest = tail
		if at.mode.Type() != fs.ModeDir {
			return nil, steps, errNoDir
		}
		switch part {
		case "", ".":
			continue
		case "..":
			at = at.parent
			continue
		}
		next := at.children[part]
		if next == nil {
			if next, err = missing(at, part); err != nil {
				return nil, steps, err
			}
		}
		if next.mode.Type() != fs.ModeSymlink {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, steps, errLoop
		}
		if strings.HasPrefix(next.link, "/") {
			at = t.root
		}
		rest = escape(next.link) + "/" + rest
	}
	return at, steps, nil
}

// put puts an entry at a path as the kernel does, with the inode old if it is
// another name of that. It returns the inode that it has then, and whether a
// directory had to be made for it.
func (t *tree) put(name string, e, old *inode) (i *inode, implied bool, err error) {
	dirName, base := split(name)
	dir, steps, err := t.walk(dirName, func(dir *node, name string) (*node, error) {
		implied = true
		t.entries++
		return t.add(dir, name, &inode{mode: fs.ModeDir | 0o755})
	})
	t.entries++
	t.steps += steps
	if t.entries > maxEntries || t.steps > maxSteps {
		err = errLimit
	}
	if err != nil {
		return nil, implied, err
	}
	if dir.mode.Type() != fs.ModeDir {
		return nil, implied, errNoDir
	}
	if base == "." {
		if e.mode.Type() != fs.ModeDir {
			return nil, implied, errRoot
		}
		*dir.inode = *e
		return dir.inode, implied, nil
	}
	n := dir.children[base]
	if n != nil && !stays(n.inode, e, old) {
		if len(n.children) > 0 {
			return nil, implied, errHolds
		}
		t.remove(n)
		n = nil
	}
	switch {
	case old != nil:
		old.update(e)
		e = old
	case n != nil:
		if e.mode.Type()&fs.ModeDevice != 0 {
			e.stat.Rdev = n.stat.Rdev // mknod fails, the rest is done
		}
		*n.inode = *e
		return n.inode, implied, nil
	}
	if n == nil {
		n, err = t.add(dir, base, e)
	}
	if err != nil {
		return nil, implied, err
	}
	return n.inode, implied, nil
}

// stays reports whether what is at a path is not removed for an entry: a link
// is, and whatever is of another type.
func stays(have, e, old *inode) bool {
	if old != nil {
		return have == old
	}
	return e.mode.Type() != fs.ModeSymlink && have.mode.Type() == e.mode.Type()
}

// update makes of i what another entry of it says. Only one of them has the
// content.
func (i *inode) update(e *inode) {
	e.stat.Rdev = i.stat.Rdev
	if e.size == 0 {
		e.size, e.content = i.size, i.content
	}
	*i = *e
}

func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

func (t *tree) add(dir *node, name string, i *inode) (*node, error) {
	n := &node{inode: i, name: name, parent: dir, length: dir.length + 1 + len(name)}
	if n.length > maxPath {
		return nil, errLong
	}
	t.names += n.length + len(i.link)
	if t.names > maxNames {
		return nil, errLimit
	}
	if i.mode.Type() == fs.ModeDir {
		n.children = map[string]*node{}
	}
	if dir.children == nil {
		dir.children = map[string]*node{}
	}
	dir.children[name] = n
	return n, nil
}

// remove takes n out. What counts against the bounds stays counted: work was
// done for it.
func (t *tree) remove(n *node) { delete(n.parent.children, n.name) }

// sorted returns the nodes of a directory by name.
func (n *node) sorted() []*node {
	return slices.SortedFunc(maps.Values(n.children), func(a, b *node) int { return strings.Compare(a.name, b.name) })
}

// Files gives all paths but the root's with what Lstat would say, in the order
// of fs.WalkDir: by name, a directory before what it holds.
func (f *FS) Files() iter.Seq2[string, fs.FileInfo] {
	return func(yield func(string, fs.FileInfo) bool) {
		f.tree.root.each("", yield)
	}
}

func (n *node) each(prefix string, yield func(string, fs.FileInfo) bool) bool {
	for _, c := range n.sorted() {
		p := prefix + c.name
		if !yield(p, info{c}) || len(c.children) > 0 && !c.each(p+"/", yield) {
			return false
		}
	}
	return true
}
