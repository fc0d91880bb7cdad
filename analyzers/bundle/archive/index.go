package archive

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// index is an FS that is being filled.
type index struct {
	src    *source
	budget *Budget
	seen   int // members, whatever became of them
	nodes  map[string]*node
	links  []link
	to     map[string]string // link: target
	told   []Problem
	untold int
}

// link is a member that stands for another.
type link struct{ name, target string }

func newIndex(src *source, b *Budget) *index {
	return &index{
		src: src, budget: b,
		nodes: map[string]*node{".": {name: ".", dir: true}},
		to:    map[string]string{},
	}
}

func (x *index) problem(name, format string, args ...any) {
	if len(x.told) == maxProblems {
		x.untold++
		return
	}
	x.told = append(x.told, Problem{Name: name, Text: fmt.Sprintf(format, args...)})
}

// more counts a member, and reports whether it is to be looked at.
func (x *index) more() bool {
	if x.seen++; x.seen <= maxMembers && len(x.nodes) <= maxMembers {
		return true
	}
	x.problem("", "more than %d members and directories: the rest is not looked at", maxMembers)
	return false
}

// clean returns the path in the archive that a member's name stands for, and
// reports whether it may stand there. A refusal is told.
func (x *index) clean(name string) (string, bool) {
	shown := strings.ToValidUTF8(name[:min(len(name), 200)], "\uFFFD")
	clean := path.Clean(strings.TrimLeft(strings.ToValidUTF8(name, "\uFFFD"), "/"))
	switch {
	case slices.Contains(strings.Split(name, "/"), ".."):
		x.problem(shown, "a name that leads out of the archive: not read")
		return "", false
	case len(clean) > maxName:
		x.problem(shown, "a name of more than %d bytes: not read", maxName)
		return "", false
	case strings.Count(clean, "/") >= maxDepth:
		x.problem(shown, "deeper than %d directories: not read", maxDepth)
		return "", false
	case strings.IndexByte(clean, 0) >= 0:
		x.problem(shown, "a name with a NUL in it: not read")
		return "", false
	}
	return clean, true
}

// dir adds a directory with those above it, and reports whether no file stands
// in the way.
func (x *index) dir(name string) bool {
	if n := x.nodes[name]; n != nil {
		return n.dir
	}
	if _, ok := x.to[name]; ok || !x.dir(path.Dir(name)) {
		return false
	}
	x.nodes[name] = &node{name: path.Base(name), dir: true}
	return true
}

// place makes room for a file or link, and reports whether it may stand there.
func (x *index) place(name string) bool {
	n := x.nodes[name]
	if name == "." || n != nil && n.dir || !x.dir(path.Dir(name)) {
		x.problem(name, "a file and a directory of one name: the second is not read")
		return false
	}
	if _, ok := x.to[name]; ok || n != nil {
		x.problem(name, "there more than once: the last counts")
		delete(x.to, name)
		delete(x.nodes, name)
	}
	return true
}

func (x *index) file(name string, size int64, c content) {
	if x.place(name) {
		x.nodes[name] = &node{name: path.Base(name), size: size, content: c}
	}
}

// link adds a link; from is the directory that a relative target starts at.
func (x *index) link(name, target, from string) {
	if !x.place(name) {
		return
	}
	t := path.Join(from, target)
	if target == "" || path.IsAbs(target) || t == ".." || strings.HasPrefix(t, "../") || len(t) > maxName {
		x.problem(name, "a link that leads out of the archive: not read")
		return
	}
	x.to[name] = t
	x.links = append(x.links, link{name, t})
}

// resolve makes links the files that they lead to.
func (x *index) resolve() {
	const most = 40 // hops, as Linux follows
	for _, l := range x.links {
		if x.to[l.name] != l.target || x.nodes[l.name] != nil {
			continue // another member took its name
		}
		t := l.target
		for range most {
			next, ok := x.to[t]
			if !ok {
				break
			}
			t = next
		}
		n := x.nodes[t]
		switch {
		case n == nil:
			x.problem(l.name, "a link to what is not in the archive: not read")
		case n.dir:
		case !x.budget.take(n.size): // read once more, it is held once more
			x.problem(l.name, "a link beyond the memory for archives: not read")
		default:
			x.nodes[l.name] = &node{name: path.Base(l.name), size: n.size, content: n.content}
		}
	}
}

// finish returns what was indexed.
func (x *index) finish() *FS {
	x.resolve()
	for name, n := range x.nodes {
		if name != "." {
			dir := x.nodes[path.Dir(name)]
			dir.kids = append(dir.kids, n)
		}
	}
	for _, n := range x.nodes {
		slices.SortFunc(n.kids, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	}
	if x.untold > 0 {
		x.told = append(x.told, Problem{Text: fmt.Sprintf("and %d more problems", x.untold)})
	}
	return &FS{nodes: x.nodes, problems: x.told}
}
