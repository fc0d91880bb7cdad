package bundle

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strings"
	"time"

	"forensics/analyzers/bundle/archive"
)

// Limits on a tree, so that a mistaken or hostile argument ends.
const (
	maxFiles = 20000
	maxDepth = 24
)

// Find returns the runs below fsys, which the caller names root.
//
// A directory that itself holds a serial transcript, harness log or manifest
// is a run, with all that lies below it, unless a directory below holds a
// transcript of its own. Files of one directory that share a leading UTC time
// stamp are one run, and several transcripts side by side group by their
// common prefix. A directory with recognised artifacts that belongs to no run
// is one, without a transcript; several images and nothing else are a run each.
// Archives count as directories.
func Find(fsys fs.FS, root string) ([]*Run, []Problem) {
	w := &walker{fsys: fsys, root: strings.TrimSuffix(root, "/"), budget: archive.NewBudget()}
	w.walk()
	return w.finish()
}

// walk finds the runs in fsys and in its archives.
func (w *walker) walk() {
	d := w.read(".", 0)
	if d == nil {
		return
	}
	w.runs(d)
	for _, name := range w.archives {
		w.archive(name)
	}
}

// finish returns the runs in order, each once.
func (w *walker) finish() ([]*Run, []Problem) {
	for _, r := range w.found {
		r.finish()
	}
	sort.SliceStable(w.found, func(i, j int) bool { return w.found[i].Path < w.found[j].Path })
	runs, notes := Distinct(w.found)
	return runs, append(w.problems, notes...)
}

// FindFile returns the file name of fsys as a run of one artifact.
func FindFile(fsys fs.FS, dir, name string) (*Run, []Problem) {
	w := &walker{fsys: fsys, root: strings.TrimSuffix(dir, "/"), budget: archive.NewBudget()}
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, []Problem{{Path: path.Join(dir, name), Text: plain(err).Error()}}
	}
	a := w.file(name, info)
	if a == nil {
		return nil, w.problems
	}
	a.Path = path.Base(name)
	r := &Run{ID: cleanID(name), Path: path.Join(w.root, name), Dir: w.root, Artifacts: []*Artifact{a}}
	r.finish()
	return r, w.problems
}

type walker struct {
	fsys     fs.FS
	root     string
	files    int
	found    []*Run
	problems []Problem

	within   string // the archive that is walked, "" for a directory; root is it and "!"
	nested   int    // how many archives deep
	budget   *archive.Budget
	archives []string // met on the way
}

// dir is one directory of the tree with its files sniffed.
type dir struct {
	name string // within fsys
	own  []*Artifact
	subs []*dir
}

func (w *walker) problem(name, format string, args ...any) {
	w.problems = append(w.problems, Problem{Path: w.path(name), Text: fmt.Sprintf(format, args...)})
}

func (w *walker) path(name string) string {
	if name == "." {
		if w.within != "" {
			return w.within
		}
		return w.root
	}
	if w.root == "" {
		return name
	}
	return w.root + "/" + name
}

func (w *walker) read(name string, depth int) *dir {
	if depth > maxDepth {
		w.problem(name, "deeper than %d directories: not looked into", maxDepth)
		return nil
	}
	entries, err := fs.ReadDir(w.fsys, name)
	if err != nil {
		w.problem(name, "%v", plain(err))
		if len(entries) == 0 {
			return nil
		}
	}
	d := &dir{name: name}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		p := path.Join(name, e.Name())
		if e.IsDir() {
			if s := w.read(p, depth+1); s != nil {
				d.subs = append(d.subs, s)
			}
			continue
		}
		if w.files++; w.files > maxFiles {
			w.problem(name, "more than %d files: the rest is not looked at", maxFiles)
			return d
		}
		info, err := fs.Stat(w.fsys, p)
		if err != nil {
			w.problem(p, "%v", plain(err))
			continue
		}
		if info.IsDir() {
			continue // a link to a directory: its target is met where it stands, or lies outside
		}
		if a := w.file(p, info); a != nil {
			d.own = append(d.own, a)
		}
	}
	return d
}

// file sniffs one file; nil when it cannot be read.
func (w *walker) file(name string, info fs.FileInfo) *Artifact {
	if !info.Mode().IsRegular() {
		w.problem(name, "not a regular file: not read")
		return nil
	}
	f, err := w.fsys.Open(name)
	if err != nil {
		w.problem(name, "%v", plain(err))
		return nil
	}
	defer f.Close()
	head := make([]byte, min(sniffLen, max(info.Size(), 0)))
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		w.problem(name, "%v", plain(err))
		return nil
	}
	a := &Artifact{Path: name, Size: info.Size(), fsys: w.fsys, name: name}
	switch archive.Sniff(head[:n]) {
	case archive.Archive:
		a.Kind = Archive
		w.archives = append(w.archives, name)
	case archive.Packed:
		a.Kind = Binary
		w.unpack(a, head[:n])
	default:
		a.Kind = sniff(path.Base(name), head[:n], info.Size())
		w.several(a, head[:n])
	}
	return a
}

// all returns the artifacts of d and of the directories below that are no runs
// of their own.
func (d *dir) all(own []*Artifact) []*Artifact {
	as := append([]*Artifact(nil), own...)
	for _, s := range d.subs {
		as = append(as, s.all(s.own)...)
	}
	return as
}

// anchors reports whether the artifacts make their directory a run.
func anchors(as []*Artifact) bool {
	for _, a := range as {
		if a.Kind == Serial || a.Kind == Harness || a.Kind == Manifest {
			return true
		}
	}
	return false
}

// recognised reports whether any reader knows one of the artifacts.
func recognised(as []*Artifact) bool {
	for _, a := range as {
		switch a.Kind {
		case Report, Binary, Empty, Unknown, Copy, Archive, Driver:
		default:
			return true
		}
	}
	return false
}

// runs appends the runs at and below d.
func (w *walker) runs(d *dir) {
	groups := grouped(d.own)
	anchored := anchors(d.own) || len(groups) == 1 && recognised(d.own) && !d.anchorsBelow()
	var below []*dir // directories whose files belong to d's run
	for _, s := range d.subs {
		if anchored && !w.ownRun(d, s) {
			below = append(below, s)
		} else {
			w.runs(s)
		}
	}
	if !anchored && len(groups) < 2 && !recognised(d.own) {
		return
	}
	if len(groups) == 1 && !anchored {
		w.problem(d.name, "%d artifacts beside the runs below belong to none of them: not read", len(d.own))
		return
	}
	if len(groups) == 1 {
		as := (&dir{subs: below}).all(d.own)
		w.add(w.path(d.name), d.name, as)
		return
	}
	for _, g := range groups {
		if recognised(g.as) || anchors(g.as) {
			w.add(w.path(path.Join(d.name, g.prefix)), d.name, g.as)
		}
	}
	for _, s := range below {
		if recognised(s.all(s.own)) {
			w.problem(s.name, "belongs to none of the %d runs beside it: not read", len(groups))
		}
	}
}

// anchorsBelow reports whether a directory below d is a run of its own.
func (d *dir) anchorsBelow() bool {
	for _, s := range d.subs {
		if anchors(s.own) || s.anchorsBelow() {
			return true
		}
	}
	return false
}

// ownRun reports whether directory s below run d holds a boot of its own: a
// transcript that does not repeat one of d's.
func (w *walker) ownRun(d, s *dir) bool {
	for _, a := range s.own {
		if a.Kind == Manifest {
			return true
		}
		if a.Kind == Serial && !repeats(a, mains(d.own)) && !strings.EqualFold(path.Base(s.name), "diagnostics") {
			return true
		}
	}
	for _, sub := range s.subs {
		if w.ownRun(d, sub) {
			return true
		}
	}
	return false
}

func mains(as []*Artifact) []*Artifact {
	var ms []*Artifact
	for _, a := range as {
		if a.Kind == Serial || a.Kind == Harness {
			ms = append(ms, a)
		}
	}
	return ms
}

func (w *walker) add(p, dirName string, as []*Artifact) {
	r := &Run{ID: cleanID(p), Path: p, Dir: w.root, Archive: w.within}
	if dirName != "." {
		r.Dir = w.path(dirName)
	}
	for _, a := range as {
		a.Path = a.name
		if dirName != "." {
			a.Path = strings.TrimPrefix(a.name, dirName+"/")
		}
		r.Artifacts = append(r.Artifacts, a)
	}
	sort.Slice(r.Artifacts, func(i, j int) bool { return r.Artifacts[i].Path < r.Artifacts[j].Path })
	w.found = append(w.found, r)
}

type group struct {
	prefix string
	as     []*Artifact
}

var (
	stampRe = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d[-:]?\d\d(?:[-:]?\d\d)?Z`)
	// roleRe is the part of a file's name that says what the file is; what
	// stands before it is what files of one run share.
	roleRe = regexp.MustCompile(`(?i)[-_.]?(?:serial|harness|console|transcript)`)
)

// grouped splits the files of one directory into runs.
func grouped(as []*Artifact) []group {
	if gs := images(as); len(gs) > 1 {
		return gs
	}
	stamps := map[string][]*Artifact{}
	var plainNames []*Artifact
	for _, a := range as {
		if s := stampRe.FindString(path.Base(a.name)); s != "" {
			stamps[s] = append(stamps[s], a)
		} else {
			plainNames = append(plainNames, a)
		}
	}
	if len(stamps) == 1 && !anchors(plainNames) {
		return []group{{as: as}}
	}
	var gs []group
	for s, g := range stamps {
		gs = append(gs, group{prefix: s, as: g})
	}
	if len(stamps) == 0 || anchors(plainNames) {
		gs = append(gs, byPrefix(plainNames)...)
	}
	sort.Slice(gs, func(i, j int) bool { return gs[i].prefix < gs[j].prefix })
	return gs
}

// images returns a group for each image where nothing else is recognised: a
// folder of images is no boot of all of them.
func images(as []*Artifact) []group {
	var gs []group
	for _, a := range as {
		switch {
		case a.Kind == ISO:
			gs = append(gs, group{prefix: path.Base(a.name), as: []*Artifact{a}})
		case recognised([]*Artifact{a}):
			return nil
		}
	}
	return gs
}

// byPrefix groups files by the transcript whose prefix they share. One
// transcript takes all of them.
func byPrefix(as []*Artifact) []group {
	prefixes := map[string]bool{}
	for _, a := range as {
		if a.Kind != Serial || repeats(a, others(as, a)) {
			continue
		}
		base := path.Base(a.name)
		loc := roleRe.FindStringIndex(base)
		if loc == nil || loc[0] == 0 {
			prefixes[""] = true
		} else {
			prefixes[base[:loc[0]]] = true
		}
	}
	if len(prefixes) < 2 {
		return []group{{as: as}}
	}
	by := map[string][]*Artifact{}
	for _, a := range as {
		p := longest(prefixes, path.Base(a.name))
		by[p] = append(by[p], a)
	}
	var gs []group
	for p, g := range by {
		gs = append(gs, group{prefix: p, as: g})
	}
	return gs
}

func longest(prefixes map[string]bool, base string) string {
	best := ""
	for p := range prefixes {
		if strings.HasPrefix(base, p) && len(p) > len(best) {
			best = p
		}
	}
	return best
}

func others(as []*Artifact, not *Artifact) []*Artifact {
	var os []*Artifact
	for _, a := range as {
		if a != not && a.Kind == Serial && a.Size > not.Size {
			os = append(os, a)
		}
	}
	return os
}

// repeats reports whether nearly every line of a also stands in one of the
// larger artifacts: a tail or a copy shows nothing of its own, and as a second
// witness it would only repeat the first.
func repeats(a *Artifact, in []*Artifact) bool {
	for _, m := range in {
		if m == a || m.Size < a.Size || m.Size == a.Size && m.name >= a.name {
			continue
		}
		// Without another one, the content is not needed yet.
		data, err := a.Bytes()
		if err != nil {
			return false
		}
		whole, err := m.Bytes()
		if err == nil && contained(data, whole) {
			return true
		}
	}
	return false
}

// contained reports whether nearly every line of data stands in whole, too.
func contained(data, whole []byte) bool {
	out, all := map[string]int{}, 0 // lines that whole does not have
	for l := range bytes.Lines(data) {
		if s := bare(l); len(s) >= 3 {
			out[s]++
			all++
		}
	}
	in := 0
	for l := range bytes.Lines(whole) {
		if len(out) == 0 {
			break
		}
		s := bare(l)
		if n := out[s]; n > 0 {
			in += n
			delete(out, s)
		}
	}
	return in > 0 && (all-in)*5 <= in
}

// bare is a line without escapes, controls and outer space.
func bare(l []byte) string { return Printable(Text(l)) }

// finish marks excerpts and finds out when the run started.
func (r *Run) finish() {
	r.packedCopies()
	ms := mains(r.Artifacts)
	for _, a := range ms {
		var larger []*Artifact
		for _, m := range ms {
			if m.Kind == a.Kind {
				larger = append(larger, m)
			}
		}
		if repeats(a, larger) {
			a.Kind = Excerpt
		}
	}
	captured := len(r.Of(Manifest)) > 0
	for _, a := range r.Artifacts {
		if captured && strings.HasPrefix(a.Path, CopiesDir+"/") {
			a.Kind = Copy
		}
		if a.Kind == Empty {
			r.Problems = append(r.Problems, Problem{Path: a.Path, Text: "empty: shows nothing"})
		}
	}
	r.Started, r.Named = r.started(), r.namedTime()
}

var (
	metaStartRe = regexp.MustCompile(`"(?:start|generated_at|started)"\s*:\s*"([^"]{10,40})"`)
	bracketRe   = regexp.MustCompile(`(?m)^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d|Z))\] `)
)

// started returns the earliest time that the host's clock gave.
func (r *Run) started() time.Time {
	var best time.Time
	take := func(s string) {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil && (best.IsZero() || t.Before(best)) {
			best = t.UTC()
		}
	}
	for _, a := range r.Of(Metadata, Manifest, Harness) {
		data, err := a.Bytes()
		if err != nil {
			continue
		}
		re := metaStartRe
		if a.Kind == Harness {
			re = bracketRe
		}
		for _, m := range re.FindAllSubmatch(data[:min(len(data), sniffLen)], 4) {
			take(string(m[1]))
		}
	}
	return best
}

// namedTime returns the time in the name of the run, its archive or its files.
func (r *Run) namedTime() time.Time {
	names := []string{r.ID, path.Base(r.Archive)}
	for _, a := range r.Artifacts {
		names = append(names, path.Base(a.Path))
	}
	for _, n := range names {
		s := strings.NewReplacer("-", "", ":", "").Replace(stampRe.FindString(n))
		for _, layout := range []string{"20060102T150405Z", "20060102T1504Z"} {
			if t, err := time.Parse(layout, s); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}
