package iso

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"forensics/analyzers/bundle"
)

// A layer is a file system that is a part of the root.
type layer struct {
	fs.FS
	at   string          // where it is mounted: "." or a valid path
	path string          // as evidence names it: image.iso!/nix-store.squashfs
	gone map[string]bool // paths that it takes out of the layers below and of itself

	partial bool // entries could not be read
}

// inner returns the layer's name of a path of the root.
func (l *layer) inner(name string) (string, bool) {
	switch {
	case l.at == ".":
		return name, true
	case name == l.at:
		return ".", true
	}
	return strings.CutPrefix(name, l.at+"/")
}

// hides reports whether the layer takes name away.
func (l *layer) hides(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if l.gone[name] {
			return true
		}
	}
	return false
}

// root is the guest's file system as the image shows it, before anything ran
// in it: layers, the uppermost first, and links that stage 2 makes. It follows
// links within itself, on the way too, as the guest would.
type root struct {
	layers []*layer
	links  map[string]string // path: target
}

// Rooted returns fsys with its links followed as a guest would whose root it
// is: on the way to a file too, an absolute one from the root, none out of it.
func Rooted(fsys fs.FS) fs.FS { return &root{layers: []*layer{{FS: fsys, at: "."}}} }

// maxHops bounds the links of one look-up, as Linux does (path_resolution(7)).
const maxHops = 40

var errLoop = errors.New("too many levels of symbolic links")

func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// resolve returns name without links in it; the last one stays unless follow.
func (r *root) resolve(op, name string, follow bool) (string, error) {
	if !fs.ValidPath(name) {
		return "", failed(op, name, fs.ErrInvalid)
	}
	todo, cur := strings.Split(name, "/"), "."
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			cur = path.Dir(cur)
			continue
		}
		next := path.Join(cur, part)
		if len(next) > maxPath {
			return "", failed(op, name, errors.New("file name too long"))
		}
		target, is := r.target(next)
		if !is || len(todo) == 0 && !follow {
			cur = next
			continue
		}
		if hops++; hops > maxHops {
			return "", failed(op, name, errLoop)
		}
		if path.IsAbs(target) {
			cur = "."
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return cur, nil
}

// target returns where the link at a path without links before it leads.
func (r *root) target(name string) (string, bool) {
	l, inner := r.holder(name)
	if l == nil {
		t, ok := r.links[name]
		return t, ok
	}
	rl, ok := l.FS.(fs.ReadLinkFS)
	if !ok {
		return "", false
	}
	if info, err := rl.Lstat(inner); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", false
	}
	t, err := rl.ReadLink(inner)
	return t, err == nil && t != ""
}

// holder returns the uppermost layer that has the file at a path without
// links, and the layer's name of it.
func (r *root) holder(name string) (*layer, string) {
	for _, l := range r.layers {
		if l.hides(name) {
			return nil, ""
		}
		if inner, ok := l.inner(name); ok {
			if _, err := lstat(l.FS, inner); err == nil {
				return l, inner
			}
		}
	}
	return nil, ""
}

func lstat(fsys fs.FS, name string) (fs.FileInfo, error) {
	if rl, ok := fsys.(fs.ReadLinkFS); ok {
		return rl.Lstat(name)
	}
	return fs.Stat(fsys, name)
}

// place returns how evidence names the file that stands at name, links
// followed; "" when there is none.
func (r *root) place(name string) string {
	real, err := r.resolve("stat", name, true)
	if err != nil {
		return ""
	}
	l, inner := r.holder(real)
	if l == nil {
		return ""
	}
	return l.path + "!/" + inner
}

// stat is Stat and Lstat.
func (r *root) stat(op, name string, follow bool) (fs.FileInfo, error) {
	real, err := r.resolve(op, name, follow)
	if err != nil {
		return nil, err
	}
	if l, inner := r.holder(real); l != nil {
		return lstat(l.FS, inner)
	}
	if _, ok := r.links[real]; ok {
		return virtual{path.Base(real), fs.ModeSymlink | 0o777}, nil
	}
	if r.leads(real) {
		return virtual{path.Base(real), fs.ModeDir | 0o755}, nil
	}
	return nil, failed(op, name, fs.ErrNotExist)
}

// leads reports whether a directory stands at name only because something is
// mounted or linked below it.
func (r *root) leads(name string) bool {
	below := func(p string) bool { return name == "." || strings.HasPrefix(p, name+"/") }
	for _, l := range r.layers {
		if below(l.at) {
			return true
		}
	}
	for p := range r.links {
		if below(p) {
			return true
		}
	}
	return false
}

func (r *root) Stat(name string) (fs.FileInfo, error)  { return r.stat("stat", name, true) }
func (r *root) Lstat(name string) (fs.FileInfo, error) { return r.stat("lstat", name, false) }

func (r *root) ReadLink(name string) (string, error) {
	real, err := r.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if t, ok := r.target(real); ok {
		return t, nil
	}
	return "", failed("readlink", name, fs.ErrInvalid)
}

// ReadDir returns the names of all layers. Those that only a link or mount
// makes are left out: nobody lists the directories they stand in.
func (r *root) ReadDir(name string) ([]fs.DirEntry, error) {
	real, err := r.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	var all []fs.DirEntry
	met := map[string]bool{}
	found := r.leads(real)
	for i, l := range r.layers {
		inner, ok := l.inner(real)
		if l.hides(real) {
			break
		}
		if !ok {
			continue
		}
		es, err := fs.ReadDir(l.FS, inner)
		if err != nil && len(es) == 0 {
			continue
		}
		found = true
		for _, e := range es {
			p := path.Join(real, e.Name())
			if !met[e.Name()] && !slices.ContainsFunc(r.layers[:i+1], func(u *layer) bool { return u.hides(p) }) {
				met[e.Name()] = true
				all = append(all, e)
			}
		}
	}
	if !found {
		return nil, failed("open", name, fs.ErrNotExist)
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

func (r *root) Open(name string) (fs.File, error) {
	real, err := r.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	info, err := r.stat("open", real, false)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		es, err := r.ReadDir(real)
		return &mergedDir{virtual{path.Base(real), info.Mode()}, es}, err
	}
	if l, inner := r.holder(real); l != nil {
		return l.FS.Open(inner)
	}
	return nil, failed("open", name, fs.ErrNotExist)
}

// mergedDir is an open directory whose entries are known.
type mergedDir struct {
	virtual
	rest []fs.DirEntry
}

func (d *mergedDir) Stat() (fs.FileInfo, error) { return d.virtual, nil }
func (d *mergedDir) Close() error               { return nil }
func (d *mergedDir) Read([]byte) (int, error)   { return 0, failed("read", d.name, errIsDir) }

func (d *mergedDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	es := d.rest[:n]
	d.rest = d.rest[n:]
	return es, nil
}

// text is a small file, with its place in the image.
type text struct {
	name  string // in the root, as it was asked for
	path  string // as evidence names it
	data  []byte
	lines *bundle.LineIndex
}

// span is evidence in the file.
func (t *text) span(start, end int) bundle.Evidence {
	return bundle.Span(t.path, t.data, t.lines, int64(start), int64(end))
}

// open returns the file at name, links followed, when it is at most limit bytes
// long.
func (r *root) open(name string, limit int64) (*text, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = failed("read", name, errors.New("larger than what is read"))
	}
	return &text{name, r.place(name), data, bundle.NewLineIndex(data)}, err
}

// head is the evidence that a file is there: its first bytes, or where it leads
// when it is a link.
func (r *root) head(name string) (bundle.Evidence, bool) {
	if target, err := r.ReadLink(name); err == nil {
		if r.place(name) == "" {
			return bundle.Evidence{}, false // it leads nowhere
		}
		data := []byte(target)
		real, _ := r.resolve("lstat", name, false)
		l, inner := r.holder(real)
		if l == nil {
			return bundle.Evidence{}, false
		}
		return bundle.Span(l.path+"!/"+inner, data, bundle.NewLineIndex(data), 0, int64(len(data))), true
	}
	f, err := r.Open(name)
	if err != nil {
		return bundle.Evidence{}, false
	}
	defer f.Close()
	data := make([]byte, 64)
	n, err := io.ReadFull(f, data)
	if n == 0 || err != nil && err != io.ErrUnexpectedEOF {
		return bundle.Evidence{}, false
	}
	end := n
	if i := bytes.IndexAny(data[:n], "\n\x00"); i > 0 {
		end = i
	}
	return bundle.Span(r.place(name), data[:n], bundle.NewLineIndex(data[:n]), 0, int64(end)), true
}

// storeDir is where nix keeps packages.
const storeDir = "nix/store"

// store returns the names of the packages in nix's store.
func (r *root) store() []string {
	es, err := r.ReadDir(storeDir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range es {
		if storeName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// storeName is the name of a package in nix's store: 32 digits of its base 32,
// a dash, a name.
var storeName = regexp.MustCompile(`^[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+$`)

// virtual is a file that no layer holds.
type virtual struct {
	name string
	mode fs.FileMode
}

func (v virtual) Name() string       { return v.name }
func (v virtual) Size() int64        { return 0 }
func (v virtual) Mode() fs.FileMode  { return v.mode }
func (v virtual) ModTime() time.Time { return time.Time{} }
func (v virtual) IsDir() bool        { return v.mode.IsDir() }
func (v virtual) Sys() any           { return nil }

// each calls f for each line that is neither blank nor a comment, without outer
// space, and the byte where it begins.
func (t *text) each(f func(line string, at int)) {
	for at := 0; at < len(t.data); {
		line, _, _ := bytes.Cut(t.data[at:], []byte("\n"))
		if trimmed := bytes.TrimSpace(line); len(trimmed) > 0 && trimmed[0] != '#' {
			f(string(trimmed), at+bytes.Index(line, trimmed))
		}
		at += len(line) + 1
	}
}
