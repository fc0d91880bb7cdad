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
	// maxFile is four times the longest line that systemd reads.
	maxFile = 4 << 20
	// maxDropIns and maxUnit hold a unit, that is all its files, to a size
	// in memory, with maxOptions. No unit of a distribution has a dozen drop-ins.
	maxDropIns = 1024
	// maxNames is how many names a unit may have; real ones have a handful.
	maxNames = 256
	maxUnit  = 16 << 20
)

// A Unit is what a tree holds under a name.
type Unit struct {
	Name string // as asked for: getty@ttyS0.service

	// Names starts with the name of the fragment, by which systemd knows the
	// unit; the others follow, sorted. Specifiers of drop-ins are of the first
	// name, those of the fragment of the name that it was loaded by: Name.
	Names []string

	// Path is the fragment's name in the fs.FS: a directory of the search
	// path and a file in it. It is empty where there are drop-ins only: then
	// systemd loads units of kinds that need no file, such as slices.
	Path string

	// Masked: the fragment is empty or a link to /dev/null, and the unit has
	// neither options nor drop-ins.
	Masked bool

	Sources  []Source // the fragment, then the drop-ins as they apply
	Options  []Option // of all sources, in order, resets not applied
	Problems []Problem

	// WantedBy and RequiredBy are the units that pull this one in by a link
	// in their .wants or .requires directory, UpheldBy those with .upholds.
	WantedBy, RequiredBy, UpheldBy []string
}

// A Source is a file of a unit.
type Source struct {
	// Path is its name in the fs.FS: as found in the search path, but a
	// drop-in's directory with its links followed, as systemd names it.
	Path string
	Data []byte
}

// Load reads a unit, network, link or netdev with its drop-ins. It is Open and
// Tree.Load.
func Load(fsys fs.FS, dirs []string, name string) (*Unit, error) {
	t, err := Open(fsys, dirs, nil)
	if err != nil {
		return nil, err
	}
	return t.Load(name)
}

// Load reads a unit with its drop-ins. A name is given in full
// (getty@ttyS0.service). Files that cannot be read are problems. The error is
// fs.ErrNotExist where the search path has neither a file of that name nor a
// drop-in.
func (t *Tree) Load(name string) (*Unit, error) {
	l := &loader{tree: t, walker: t.walker(), Unit: &Unit{Name: name, Names: []string{name}}, entries: maxEntries, bytes: maxUnit}
	var dirs []string
	if n, ok := splitName(name); ok {
		l.fragment(n)
		dirs = l.dropInDirs(n)
	} else if isConfig(name) {
		l.config()
		dirs = l.perDir(name + ".d")
	} else {
		return nil, fmt.Errorf("%.300q: %w", name, errName)
	}
	if l.Path != "" {
		l.Masked = l.masked(l.Path)
	}
	if l.Masked {
		l.pulledBy()
		return l.Unit, nil
	}
	if l.Path != "" {
		l.add(l.Path)
	}
	for _, file := range l.dropIns(dirs) {
		l.add(file)
	}
	if len(l.Sources) == 0 && len(l.Problems) == 0 {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	l.pulledBy()
	return l.Unit, nil
}

// A loader fills one unit.
type loader struct {
	*Unit
	*walker
	tree           *Tree
	entries, bytes int // how many names and bytes more it may take
}

// fragment finds the unit's file and its names.
func (l *loader) fragment(n unitName) {
	file, ok := l.tree.file(l.Name)
	if !ok && n.isInstance() {
		file, ok = l.tree.file(n.template().String())
	}
	if !ok {
		return
	}
	l.Path = file
	l.Names = nil
	id, _ := splitName(path.Base(file))
	if id.isTemplate() {
		id = id.with(n.instance)
	}
	names := map[string]bool{l.Name: true}
	for _, alias := range l.tree.aliases[file] {
		if alias = l.instantiate(alias, n, file); alias != "" {
			names[alias] = true
		}
	}
	delete(names, id.String())
	l.Names = append([]string{id.String()}, slices.Sorted(maps.Keys(names))...)
	if len(l.Names) > maxNames {
		l.problem(file, fmt.Sprintf("more than %d names", maxNames))
		l.Names = l.Names[:maxNames]
	}
}

// instantiate returns the alias as a name of this unit: a template's, filled
// in; nothing where it is no name of this unit.
func (l *loader) instantiate(alias string, n unitName, file string) string {
	a, _ := splitName(alias)
	if !n.isInstance() {
		if n.isTemplate() && a.isInstance() {
			return ""
		}
		return alias
	}
	if !a.isTemplate() {
		if a.instance != n.instance {
			return ""
		}
		return alias
	}
	name := a.with(n.instance).String()
	// The filled-in name may have a file of its own, and so be another unit.
	if other, ok := l.tree.file(name); ok && other != file {
		return ""
	}
	return name
}

// config finds the file of a network, link or netdev: there are no aliases.
func (l *loader) config() {
	for _, d := range l.tree.dirs {
		if file := path.Join(d.name, l.Name); l.tree.entries[file] {
			l.Path = file
			return
		}
	}
}

// masked reports whether the file is empty or no file: a link to /dev/null,
// or a device.
func (l *loader) masked(file string) bool {
	_, info, err := l.chase(file)
	if err != nil {
		return errors.Is(err, errNull)
	}
	return info.Mode()&fs.ModeDevice != 0 || info.Mode().IsRegular() && info.Size() == 0
}

// dropInDirs returns the directories of a unit's drop-ins, the one that
// decides first. The place in the search path goes before how well the name
// fits; those of the kind (service.d) come last. Between aliases with drop-ins
// of one base name systemd's choice is that of a hash; here it is the order of
// Names.
func (l *loader) dropInDirs(n unitName) []string {
	var dirs []string
	names := l.Names
	if id, _ := splitName(path.Base(l.Path)); n.isInstance() && id.isTemplate() {
		// The template is a name of its instances, of which the cut ones have
		// no '@': foo-bar@x.service has foo-@x.service.d and foo-.service.d.
		names = append(slices.Clone(names), id.String())
	}
	for _, name := range names {
		n, _ := splitName(name)
		for _, d := range l.tree.dirs {
			for _, base := range dropInNames(n) {
				dirs = l.appendDir(dirs, path.Join(d.name, base+".d"))
			}
		}
	}
	return append(dirs, l.perDir(n.kind+".d")...)
}

func (l *loader) perDir(base string) []string {
	var dirs []string
	for _, d := range l.tree.dirs {
		dirs = l.appendDir(dirs, path.Join(d.name, base))
	}
	return dirs
}

func (l *loader) appendDir(dirs []string, dir string) []string {
	if l.tree.entries[dir] {
		return append(dirs, dir)
	}
	return dirs
}

// dropInNames returns the names whose drop-ins apply to a unit: its own, its
// template's, then those of its name cut after each dash.
func dropInNames(n unitName) []string {
	var names []string
	for {
		names = append(names, n.String())
		if n.isInstance() {
			names = append(names, n.template().String())
		}
		dash := strings.LastIndexByte(strings.TrimRight(n.prefix, "-"), '-')
		if dash < 0 {
			return names
		}
		n.prefix, n.at = n.prefix[:dash+1], n.isInstance()
	}
}

// dropIns returns the files that apply, sorted by base name: of one base name
// the first directory's.
func (l *loader) dropIns(dirs []string) []string {
	first := map[string]string{}
	for _, dir := range dirs {
		real, info, err := l.chase(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		list, err := l.list(real, &l.entries)
		if err != nil {
			l.problem(dir, err.Error())
			continue
		}
		for _, e := range list {
			name := e.Name()
			if strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".conf") || first[name] != "" {
				continue
			}
			first[name] = path.Join(real, name)
		}
	}
	var files []string
	for _, base := range slices.Sorted(maps.Keys(first)) {
		files = append(files, first[base])
	}
	if len(files) > maxDropIns {
		l.problem(files[maxDropIns], fmt.Sprintf("more than %d drop-ins", maxDropIns))
		files = files[:maxDropIns]
	}
	return files
}

// add reads a file into the unit. A masked drop-in is a source without text.
func (l *loader) add(file string) {
	data, err := l.read(file)
	if err != nil {
		l.problem(file, err.Error())
		return
	}
	l.bytes -= len(data)
	l.Sources = append(l.Sources, Source{file, data})
	f := Parse(data)
	if len(l.Options)+len(f.Options) > maxOptions {
		l.problem(file, fmt.Sprintf("more than %d options with the unit's other files: none of these is read", maxOptions))
		f.Options = nil
	}
	for _, o := range f.Options {
		o.Path = file
		l.Options = append(l.Options, o)
	}
	for _, p := range f.Problems {
		p.Path = file
		if p.Fatal || len(l.Problems) < maxProblems {
			l.Problems = append(l.Problems, p)
		}
	}
}

func (l *loader) read(file string) ([]byte, error) {
	real, info, err := l.chase(file)
	if errors.Is(err, errNull) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	f, err := l.fsys.Open(real)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	limit := min(maxFile, l.bytes)
	data, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(data) > limit {
		err = fmt.Errorf("more than %d bytes, or %d with the unit's other files", maxFile, maxUnit)
	}
	return data, err
}

func (l *loader) problem(file, text string) {
	if len(l.Problems) < maxProblems {
		l.Problems = append(l.Problems, Problem{Path: file, Text: text})
	}
}

// pulledBy finds who pulls the unit in. Of one directory's name the first of
// the search path that has the link decides, so that a link to /dev/null masks.
func (l *loader) pulledBy() {
	by := map[string]*[]string{"wants": &l.WantedBy, "requires": &l.RequiredBy, "upholds": &l.UpheldBy}
	for _, name := range l.Names {
		seen := map[pull]bool{}
		for _, p := range l.tree.pulls[name] {
			which := pull{unit: p.unit, kind: p.kind}
			if !seen[which] && !l.masked(p.file) {
				*by[p.kind] = append(*by[p.kind], p.unit)
			}
			seen[which] = true
		}
	}
	for _, list := range by {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if l.steps < 0 {
		l.problem("", errSteps.Error())
	}
}

// Print writes the unit as systemctl cat does: each source under a comment
// with its path, an empty line between two of them.
func (u *Unit) Print(w io.Writer) error {
	if u.Masked {
		_, err := fmt.Fprintf(w, "# Unit %s is masked.\n", u.Name)
		return err
	}
	for i, s := range u.Sources {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := s.print(w); err != nil {
			return err
		}
	}
	return nil
}

func (s Source) print(w io.Writer) error {
	text := []byte("# /" + s.Path + "\n")
	for at := 0; at < len(s.Data); {
		end, next := cutLine(s.Data, at)
		text = append(append(text, s.Data[at:end]...), '\n')
		at = next
	}
	_, err := w.Write(text)
	return err
}
