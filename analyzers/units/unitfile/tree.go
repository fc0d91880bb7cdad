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
	// maxAliases is FILENAME's limit of hops from alias to alias in systemd.
	maxAliases = 32
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
	pulls   []pull              // .wants, .requires and .upholds directories
	ids     map[string]id       // of every unit's name
	aliases map[string][]string // of every file, the other names that lead to it
}

// A searchDir is a directory as the caller named it, and where it is.
type searchDir struct{ name, real string }

// An id is what a name stands for: a file, or another name.
type id struct{ file, alias string }

// A pull is a directory of links to units that a unit pulls in.
type pull struct {
	dir  string // its path as listed
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
	t := &Tree{fsys: fsys, resolve: resolve, entries: map[string]bool{}, ids: map[string]id{}, aliases: map[string][]string{}}
	for _, dir := range dirs {
		real, info, err := t.chase(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		if info.IsDir() && !slices.ContainsFunc(t.dirs, func(d searchDir) bool { return d.real == real }) {
			t.dirs = append(t.dirs, searchDir{rooted(dir), real})
		}
	}
	left := maxEntries
	for _, d := range t.dirs {
		if err := t.index(d, &left); err != nil {
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

// index takes in the entries of a directory: the first directory that has a
// name decides what it is.
func (t *Tree) index(d searchDir, left *int) error {
	list, err := t.list(d.real, left)
	if err != nil {
		return err
	}
	for _, e := range list {
		file := path.Join(d.name, e.Name())
		t.entries[file] = true
		if stem, kind, _ := cutLast(e.Name(), "."); kind == "wants" || kind == "requires" || kind == "upholds" {
			t.pulls = append(t.pulls, pull{file, stem, kind})
			continue
		}
		name, ok := splitName(e.Name())
		if _, known := t.ids[e.Name()]; known || !ok || e.IsDir() {
			continue
		}
		if e.Type()&fs.ModeSymlink == 0 {
			t.ids[e.Name()] = id{file: file}
		} else if to := t.follow(d, name); to != (id{}) {
			t.ids[e.Name()] = to
		}
	}
	return nil
}

// follow returns what the link of a unit's name stands for: a name, where it
// leads to a file of the search path, itself, where it leads elsewhere, and
// nothing where it is a link to its own name or one that systemd refuses.
func (t *Tree) follow(d searchDir, name unitName) id {
	file := path.Join(d.name, name.String())
	link := path.Join(d.real, name.String())
	text, err := fs.ReadLink(t.fsys, link)
	if err != nil {
		return id{}
	}
	target, ok := t.parent(d.real, text)
	if !ok || !t.searched(target) {
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
func (t *Tree) parent(dir, target string) (string, bool) {
	base := path.Base(target)
	if base == "." || base == ".." || base == "/" {
		return "", false
	}
	at, rest := t.start(dir, target)
	real, _, err := t.walk(at, strings.TrimSuffix(strings.TrimRight(rest, "/"), base))
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
	for hop := 0; hop < maxAliases; hop++ {
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

// list returns a directory's entries sorted by name, and takes their number
// off left.
func (t *Tree) list(dir string, left *int) ([]fs.DirEntry, error) {
	f, err := t.fsys.Open(dir)
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
func (t *Tree) chase(name string) (string, fs.FileInfo, error) {
	return t.walk(".", name)
}

var (
	errLinks = errors.New("too many links")
	errPath  = errors.New("path too long")
	errNull  = errors.New("link to /dev/null")
)

// walk goes from at, which has no links in it, along the components of rest.
// It stays in the file system: ".." at the root is the root. What it returns
// has no link in it, so that the file system follows none when it is opened.
func (t *Tree) walk(at, rest string) (string, fs.FileInfo, error) {
	info, err := fs.Lstat(t.fsys, at)
	for links := 0; err == nil; {
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
			info, err = fs.Lstat(t.fsys, at)
			continue
		}
		child := path.Join(at, next)
		if info, err = fs.Lstat(t.fsys, child); err != nil {
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
		if target, err = fs.ReadLink(t.fsys, child); err != nil {
			break
		}
		// An image has no /dev; whether it does, this is systemd's mask.
		if path.Clean(target) == "/dev/null" {
			return "", nil, errNull
		}
		at, target = t.start(at, target)
		rest = target + "/" + rest
		info, err = fs.Lstat(t.fsys, at)
	}
	return "", nil, err
}

// start returns where a link's target is looked for, and the path from there.
func (t *Tree) start(dir, target string) (at, rest string) {
	if !path.IsAbs(target) {
		return dir, target
	}
	if t.resolve != nil {
		if name, ok := t.resolve(target); ok {
			return ".", name
		}
	}
	return ".", target
}
