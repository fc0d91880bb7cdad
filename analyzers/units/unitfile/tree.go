package unitfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	// maxLinks is how many links one path may lead through: that of Linux.
	maxLinks = 40
	// maxPath is PATH_MAX of Linux: a longer path cannot be opened there.
	maxPath = 4096
	// maxHops is how many aliases systemd follows from one to the next.
	maxHops = 32
	// maxSteps is how many components of paths Open or a Load looks up: links
	// of links multiply, and real search paths need some ten for a name.
	maxSteps = 1 << 20
	// maxEntries is how many names a tree lists in all its directories, and a
	// unit in all its drop-in directories. A distribution's search path has
	// some hundred, a NixOS system's some thousand.
	maxEntries = 1 << 16
	// listed is how many names are asked for at once, so that a directory
	// without end is left early.
	listed = 1024
)

// SystemDirs and NetworkDirs are the directories of a running system's units
// and of networkd's and udevd's files, the highest priority first.
var (
	SystemDirs  = []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}
	NetworkDirs = []string{"etc/systemd/network", "run/systemd/network", "usr/local/lib/systemd/network", "usr/lib/systemd/network", "lib/systemd/network"}
)

// A Tree is a search path: directories of a file system, in order of
// priority. It does not change after Open, and may be used by several
// goroutines if its file system may.
type Tree struct {
	fsys    fs.FS
	resolve func(target string) (name string, ok bool)
	dirs    []searchDir
	entries map[string]bool     // every name in the directories, with that
	pulls   map[string][]pull   // of every name in .wants, .requires and .upholds directories
	ids     map[string]id       // of every unit's name
	aliases map[string][]string // of every file, the other names that lead to it
}

// A searchDir is a directory as the caller named it, and where it is.
type searchDir struct{ name, real string }

// An id is what a name stands for: a file, or another name.
type id struct{ file, alias string }

// A pull is an entry of a directory that makes a unit pull others in.
type pull struct {
	file string // where it is
	unit string // which unit pulls
	kind string // wants, requires or upholds
}

// Open reads the directories of a search path, the highest priority first. A
// directory that is absent is left out; so is one that is another by a link.
//
// Links are followed with fs.ReadLink; in an fs.FS without links there are
// none. An absolute target starts at the root of fsys. Where resolve is not
// nil, it may name a target elsewhere first: for a squashfs of a Nix store,
// whose root is /nix/store, it cuts that prefix.
//
// An error names a directory that cannot be read, or says that the directories
// have too many entries.
func Open(fsys fs.FS, dirs []string, resolve func(target string) (name string, ok bool)) (*Tree, error) {
	t := &Tree{fsys: fsys, resolve: resolve, entries: map[string]bool{}, pulls: map[string][]pull{}, ids: map[string]id{}, aliases: map[string][]string{}}
	x := &indexer{Tree: t, walker: t.walker(), left: maxEntries}
	for _, dir := range dirs {
		real, info, err := x.chase(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNull) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if info.IsDir() && !slices.ContainsFunc(t.dirs, func(d searchDir) bool { return d.real == real }) {
			t.dirs = append(t.dirs, searchDir{rooted(dir), real})
		}
	}
	for _, d := range t.dirs {
		if err := x.index(d); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
	}
	t.invert()
	return t, nil
}

// rooted returns a directory's name as io/fs has it, whether it is written
// from the root or not.
func rooted(dir string) string {
	if dir = strings.TrimPrefix(path.Clean("/"+dir), "/"); dir != "" {
		return dir
	}
	return "."
}

// An indexer fills a tree.
type indexer struct {
	*Tree
	*walker
	left int // how many entries more it may list
}

// index takes in the entries of a directory: the first directory that has a
// name decides what it is.
func (x *indexer) index(d searchDir) error {
	list, err := x.list(d.real, &x.left)
	if err != nil {
		return err
	}
	for _, e := range list {
		file := path.Join(d.name, e.Name())
		x.entries[file] = true
		if unit, kind, _ := cutLast(e.Name(), "."); kind == "wants" || kind == "requires" || kind == "upholds" {
			if err := x.pulled(file, unit, kind); err != nil {
				return err
			}
			continue
		}
		name, ok := splitName(e.Name())
		if _, known := x.ids[e.Name()]; known || !ok || e.IsDir() {
			continue
		}
		if e.Type()&fs.ModeSymlink == 0 {
			x.ids[e.Name()] = id{file: file}
		} else if to := x.follow(d, name); to != (id{}) {
			x.ids[e.Name()] = to
		}
		if x.steps <= 0 {
			return errSteps
		}
	}
	return nil
}

// pulled takes in whom a directory pulls in; what is no directory pulls none.
func (x *indexer) pulled(dir, unit, kind string) error {
	real, info, err := x.chase(dir)
	if err != nil || !info.IsDir() {
		return nil
	}
	list, err := x.list(real, &x.left)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, e := range list {
		x.pulls[e.Name()] = append(x.pulls[e.Name()], pull{path.Join(real, e.Name()), unit, kind})
	}
	return nil
}

// follow returns what the link of a unit's name stands for: a name, where it
// leads to a file of the search path, itself, where it leads elsewhere, and
// nothing where it is a link to its own name or one that systemd refuses.
func (x *indexer) follow(d searchDir, name unitName) id {
	file := path.Join(d.name, name.String())
	link := path.Join(d.real, name.String())
	text, err := fs.ReadLink(x.Tree.fsys, link)
	if err != nil {
		return id{}
	}
	target, ok := x.parent(d.real, text)
	if !ok || !x.searched(target) {
		return id{file: file}
	}
	other, ok := splitName(path.Base(target))
	if !ok || other == name || !aliasOK(name, other) {
		return id{}
	}
	return id{alias: other.String()}
}

// parent returns where a link's target lies once the links on the way there,
// but not the last one, are followed.
func (w *walker) parent(dir, target string) (string, bool) {
	base := path.Base(target)
	if base == "." || base == ".." || base == "/" {
		return "", false
	}
	at, rest := w.start(dir, target)
	real, _, err := w.walk(at, strings.TrimSuffix(strings.TrimRight(rest, "/"), base))
	if err != nil {
		return "", false
	}
	return path.Join(real, base), true
}

func (t *Tree) searched(file string) bool {
	return slices.ContainsFunc(t.dirs, func(d searchDir) bool {
		return within(file, d.real) || within(file, d.name)
	})
}

func within(file, dir string) bool { return dir == "." || strings.HasPrefix(file, dir+"/") }

// invert fills aliases: which names lead to a file.
func (t *Tree) invert() {
	for name := range t.ids {
		if file, ok := t.file(name); ok && path.Base(file) != name {
			t.aliases[file] = append(t.aliases[file], name)
		}
	}
	for _, names := range t.aliases {
		slices.Sort(names)
	}
}

// file returns the file that a name leads to through its aliases. An alias of
// an instance that has no file of its own leads to the template's.
func (t *Tree) file(name string) (string, bool) {
	for hop := 0; hop < maxHops; hop++ {
		to, ok := t.ids[name]
		if n, _ := splitName(name); !ok && hop > 0 && n.isInstance() {
			to, ok = t.ids[n.template().String()]
		}
		if !ok {
			return "", false
		}
		if to.file != "" {
			return to.file, true
		}
		name = to.alias
	}
	return "", false
}

// Names returns the names of units, networks, links and netdevs in the tree,
// sorted: templates, aliases and masked ones too.
func (t *Tree) Names() []string {
	seen := map[string]bool{}
	for file := range t.entries {
		if base := path.Base(file); t.ids[base] != (id{}) || isConfig(base) {
			seen[base] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// A walker finds its way in the file system, for one Open or one Load.
type walker struct {
	fsys    fs.FS
	resolve func(target string) (name string, ok bool)
	steps   int // how many components more it may look up
}

func (t *Tree) walker() *walker {
	return &walker{fsys: t.fsys, resolve: t.resolve, steps: maxSteps}
}

// list returns a directory's entries sorted by name, and takes their number
// off left.
func (w *walker) list(dir string, left *int) ([]fs.DirEntry, error) {
	f, err := w.fsys.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, errors.New("not a directory that can be listed")
	}
	var all []fs.DirEntry
	for {
		some, err := d.ReadDir(listed)
		all = append(all, some...)
		if *left -= len(some); *left < 0 {
			return nil, fmt.Errorf("more than %d entries in the search path", maxEntries)
		}
		if errors.Is(err, io.EOF) || err == nil && len(some) == 0 {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

// chase follows every link on the way to a name, and returns the name without
// any of them.
func (w *walker) chase(name string) (string, fs.FileInfo, error) {
	return w.walk(".", name)
}

var (
	errLinks = errors.New("too many links")
	errPath  = errors.New("path too long")
	errNull  = errors.New("link to /dev/null")
	errSteps = fmt.Errorf("links lead through more than %d directories", maxSteps)
)

// walk goes from at, which has no links in it, along the components of rest.
// It stays in the file system: ".." at the root is the root. What it returns
// has no link in it, so that the file system follows none when it is opened.
func (w *walker) walk(at, rest string) (string, fs.FileInfo, error) {
	info, err := fs.Lstat(w.fsys, at)
	for links := 0; err == nil; {
		if w.steps--; w.steps < 0 {
			return "", nil, errSteps
		}
		if len(at)+len(rest) > maxPath {
			return "", nil, errPath
		}
		var next string
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return at, info, nil
		}
		if next, rest, _ = strings.Cut(rest, "/"); next == "." {
			continue
		}
		if !info.IsDir() {
			return "", nil, fmt.Errorf("%s: %w", at, fs.ErrNotExist)
		}
		if next == ".." {
			at = path.Dir(at)
			info, err = fs.Lstat(w.fsys, at)
			continue
		}
		child := path.Join(at, next)
		if info, err = fs.Lstat(w.fsys, child); err != nil {
			break
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = child
			continue
		}
		if links++; links > maxLinks {
			return "", nil, fmt.Errorf("%s: %w", child, errLinks)
		}
		var target string
		if target, err = fs.ReadLink(w.fsys, child); err != nil {
			break
		}
		// An image has no /dev; whether it does, this is systemd's mask.
		if path.Clean(target) == "/dev/null" && strings.Trim(rest, "/") == "" {
			return "", nil, errNull
		}
		at, target = w.start(at, target)
		rest = target + "/" + rest
		info, err = fs.Lstat(w.fsys, at)
	}
	return "", nil, err
}

// start returns where a link's target is looked for, and the path from there.
func (w *walker) start(dir, target string) (at, rest string) {
	if !path.IsAbs(target) {
		return dir, target
	}
	if w.resolve != nil {
		if name, ok := w.resolve(target); ok {
			return ".", name
		}
	}
	return ".", target
}
