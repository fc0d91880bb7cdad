package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"

	"forensics/analyzers/bundle/archive"
)

// maxNested is how many archives deep a run may lie: the results that a CI
// system hands out as a zip file hold a tar file, as a rule.
const maxNested = 2

// IsArchive reports whether the file at name in fsys is an archive, by content.
func IsArchive(fsys fs.FS, name string) bool {
	f, err := fsys.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, sniffLen)
	n, _ := io.ReadFull(f, head)
	return archive.Sniff(head[:n]) == archive.Archive
}

// FindArchive returns the runs in the archive name of fsys, a file in the
// directory that the caller names dir. An error says that nothing in it can be
// read.
func FindArchive(fsys fs.FS, dir, name string) ([]*Run, []Problem, error) {
	w := &walker{fsys: fsys, root: strings.TrimSuffix(dir, "/"), budget: archive.NewBudget()}
	in, err := w.enter(name)
	if err != nil {
		return nil, nil, plain(err)
	}
	w.found, w.problems = in.found, in.problems
	runs, problems := w.finish()
	return runs, problems, nil
}

// enter finds the runs in the archive name.
func (w *walker) enter(name string) (*walker, error) {
	fsys, err := archive.Open(w.fsys, name, w.budget)
	if err != nil {
		return nil, err
	}
	p := w.path(name)
	in := &walker{fsys: fsys, root: p + "!", within: p, nested: w.nested + 1, budget: w.budget, files: w.files}
	for _, lost := range fsys.Problems() {
		at := p
		if lost.Name != "" {
			at = p + "!/" + lost.Name
		}
		in.problems = append(in.problems, Problem{Path: at, Text: lost.Text})
	}
	in.walk()
	w.files = in.files
	return in, nil
}

// archive takes over the runs in the archive name, or what belongs to the run
// around it.
func (w *walker) archive(name string) {
	if w.nested == maxNested {
		w.problem(name, "an archive in an archive in an archive: not read")
		return
	}
	in, err := w.enter(name)
	if err != nil {
		w.problem(name, "%v", plain(err))
		return
	}
	w.problems = append(w.problems, in.problems...)
	around := w.around(w.path(name))
	for _, r := range in.found {
		switch {
		case len(around) == 0, len(around) > 1 && len(r.Of(Serial)) > 0, !sameBoot(r, around):
			w.found = append(w.found, r)
		case len(around) > 1:
			w.problem(name, "belongs to none of the %d runs beside it: not read", len(around))
		default:
			around[0].join(r)
		}
	}
}

// around returns the run whose directory the file at p lies in, or several
// where nothing tells to which of a directory's runs it belongs.
func (w *walker) around(p string) []*Run {
	var rs []*Run
	for _, r := range w.found {
		if _, ok := below(p, r.Dir); !ok {
			continue
		}
		if len(rs) > 0 && len(r.Dir) > len(rs[0].Dir) {
			rs = nil
		}
		if len(rs) == 0 || len(r.Dir) == len(rs[0].Dir) {
			rs = append(rs, r)
		}
	}
	own := slices.DeleteFunc(slices.Clone(rs), func(r *Run) bool { return !strings.HasPrefix(p, r.Path) })
	if len(own) == 1 {
		return own
	}
	return rs
}

// below returns the path of p relative to dir, and whether it lies there.
func below(p, dir string) (string, bool) {
	if dir == "" {
		return p, true
	}
	return strings.CutPrefix(p, dir+"/")
}

// sameBoot reports whether r has no transcript that one of the runs does not
// have.
func sameBoot(r *Run, runs []*Run) bool {
	for _, a := range r.Artifacts {
		if a.Kind == Manifest || a.Kind == Serial && !slices.ContainsFunc(runs, func(u *Run) bool {
			return u.copyOf(a) != nil || repeats(a, mains(u.Artifacts))
		}) {
			return false
		}
	}
	return true
}

// copyOf returns the artifact of r that a repeats byte for byte under the same
// name, nil when there is none.
func (r *Run) copyOf(a *Artifact) *Artifact {
	for _, u := range r.Artifacts {
		if u != a && u.Size == a.Size && path.Base(u.Path) == path.Base(a.Path) && u.SHA256() == a.SHA256() {
			return u
		}
	}
	return nil
}

// join adds what is in an archive below r, other than what r has already.
func (r *Run) join(in *Run) {
	at, _ := below(in.Archive, r.Dir)
	dir, _ := below(in.Dir, r.Dir)
	copies := 0
	for _, a := range in.Artifacts {
		if r.copyOf(a) != nil {
			copies++
			continue
		}
		a.Path = dir + "/" + a.Path
		r.Artifacts = append(r.Artifacts, a)
	}
	sort.Slice(r.Artifacts, func(i, j int) bool { return r.Artifacts[i].Path < r.Artifacts[j].Path })
	if copies > 0 {
		r.Problems = append(r.Problems, Problem{Path: at, Text: fmt.Sprintf("repeats %d of the files beside it: they count once", copies)})
	}
}

// Distinct returns the runs without those in an archive that repeat another of
// them: what an archive was made of often stands beside it. The other run is
// where the archive unpacks to, there or into a directory of its name, or in an
// archive of another format with that name; and it has the same transcripts
// byte for byte, or, where there are none, all that is recognised. The notes
// say what was left out. Two runs in directories are never taken for one.
func Distinct(runs []*Run) (kept []*Run, notes []Problem) {
	at := map[string][]*Run{}
	for _, u := range runs {
		for _, p := range u.places() {
			at[p] = append(at[p], u)
		}
	}
	gone := map[*Run]*Run{} // run: the one that it repeats, which stays
	left := map[string]*leftOut{}
	for _, r := range runs {
		u, more := r.original(at, gone)
		if u == nil {
			continue
		}
		gone[r] = u
		if left[r.Archive] == nil {
			left[r.Archive] = &leftOut{of: u}
		}
		left[r.Archive].runs++
		left[r.Archive].more += more
	}
	for _, p := range slices.Sorted(maps.Keys(left)) {
		notes = append(notes, Problem{Path: p, Text: left[p].String()})
	}
	return slices.DeleteFunc(slices.Clone(runs), func(r *Run) bool { return gone[r] != nil }), notes
}

// leftOut is what was left out of an archive.
type leftOut struct {
	of   *Run // the first run that is repeated
	runs int
	more int // files that stand nowhere else
}

func (l *leftOut) String() string {
	s := "repeats " + path.Clean(l.of.Path)
	if l.runs > 1 {
		s += fmt.Sprintf(" and %d other runs", l.runs-1)
	}
	s += ": not counted again"
	if l.more > 0 {
		s += fmt.Sprintf("; files that stand nowhere else: %d, unpack it to have them read", l.more)
	}
	return s
}

// places returns what other runs may look for r under: its path, and for one in
// an archive also what archives of that name and other formats share.
func (r *Run) places() []string {
	ps := []string{path.Clean(r.Path)}
	if r.Archive != "" {
		if r.inner() == "" {
			ps = append(ps, r.Archive+"!") // what lies in it names its directory so
		}
		ps = append(ps, r.unformatted())
	}
	return ps
}

// unformatted is the run's path without what says how it is packed. No path of a
// file is like it.
func (r *Run) unformatted() string {
	return path.Join(path.Dir(r.Archive), stem(r.Archive)) + "!!/" + r.inner()
}

// original returns the run that r, in an archive, repeats, and how much else r
// has; nil when there is none. It is none of those that are gone.
func (r *Run) original(at map[string][]*Run, gone map[*Run]*Run) (u *Run, more int) {
	if r.Archive == "" {
		return nil, 0
	}
	dir := path.Dir(r.Archive)
	for _, p := range []string{path.Join(dir, r.inner()), path.Join(dir, stem(r.Archive), r.inner()), path.Join(path.Dir(dir), r.inner()), r.unformatted()} {
		for _, u := range at[p] {
			if u.Archive == r.Archive || p == r.unformatted() && u.Archive > r.Archive {
				continue
			}
			for gone[u] != nil {
				u = gone[u]
			}
			if more, ok := r.repeats(u); ok && u != r {
				return u, more
			}
		}
	}
	return nil, 0
}

// inner returns the run's path within its archive.
func (r *Run) inner() string { return strings.TrimPrefix(r.Path[len(r.Archive):], "!/") }

// repeats reports whether u shows the boot of r, and how much else r has.
func (r *Run) repeats(u *Run) (more int, ok bool) {
	same := false
	for _, a := range r.Artifacts {
		switch copied := u.copyOf(a) != nil; {
		case copied:
			same = same || a.Kind == Serial || a.Kind == Harness
		case a.Kind == Serial || a.Kind == Manifest:
			return 0, false
		case recognised([]*Artifact{a}):
			more++
		}
	}
	return more, same || more == 0
}

// suffixes of archives' names, longest first where one ends in another.
var suffixes = []string{".tar.gz", ".tar.zst", ".tar.xz", ".tgz", ".tzst", ".txz", ".tar", ".zip"}

// stem returns the name of an archive without what says that it is one.
func stem(p string) string {
	b := path.Base(p)
	for _, s := range suffixes {
		if t, ok := strings.CutSuffix(b, s); ok {
			return t
		}
	}
	return b
}

// unpack makes a compressed file the artifact that it holds, if that is of a
// kind that is read.
func (w *walker) unpack(a *Artifact, head []byte) {
	start := archive.Peek(head)
	name := strings.TrimSuffix(path.Base(a.name), path.Ext(a.name))
	kind := sniff(name, start, int64(len(start)))
	if kind == Binary || kind == Empty {
		return
	}
	data, err := archive.Unpack(w.fsys, a.name, w.budget)
	if errors.Is(err, archive.ErrPacked) {
		a.Kind, a.fsys, a.err = kind, nil, err
		a.once.Do(func() {})
		return
	}
	if err != nil {
		w.problem(a.name, "%v", plain(err))
	}
	if len(data) == 0 {
		return
	}
	a.Kind, a.Size, a.fsys, a.data, a.packed = sniff(name, data[:min(len(data), sniffLen)], int64(len(data))), int64(len(data)), nil, data, true
	a.once.Do(func() {})
	w.several(a, data[:min(len(data), sniffLen)])
}

// packedCopies marks compressed files that stand beside what they hold: logs
// are rotated that way.
func (r *Run) packedCopies() {
	for _, a := range r.Artifacts {
		if !a.packed {
			continue
		}
		for _, u := range r.Artifacts {
			if !u.packed && u.Size == a.Size && u.SHA256() == a.SHA256() {
				a.Kind = Excerpt
				break
			}
		}
	}
}
