package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
)

// finder collects the runs in what the command line names.
//
// Each directory is opened as an os.Root, so that no symbolic link in a bundle
// leads out of it; it stays open, for artifacts are read when they are needed.
// Named files stand for a directory that holds nothing else.
type finder struct {
	runs     []*bundle.Run
	trouble  []bundle.Problem // named and not read
	problems []bundle.Problem // notes that belong to no run
	silent   []bundle.Problem // named, read, and no run
}

// find returns what stands at the paths. Trouble is what keeps the program
// from saying something about all of them; with no run at all, everything is.
func find(paths []string) *finder {
	f := &finder{}
	files := map[string][]string{} // directory: names
	var dirs []string
	for _, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			f.fail(p, err)
		case info.IsDir():
			f.dir(p)
		case !info.Mode().IsRegular():
			f.fail(p, errors.New("neither a file nor a directory"))
		default:
			d, name := place(p)
			if files[d] == nil {
				dirs = append(dirs, d)
			}
			files[d] = append(files[d], name)
		}
	}
	for _, d := range dirs {
		slices.Sort(files[d])
		f.files(d, slices.Compact(files[d]))
	}
	f.dedupe()
	if len(f.runs) == 0 {
		f.trouble = append(f.trouble, f.silent...)
	} else {
		f.problems = append(f.problems, f.silent...)
	}
	return f
}

// place splits the path of a file. A link is followed, since it was named.
func place(p string) (dir, name string) {
	if info, err := os.Lstat(p); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			p = real
		}
	}
	return filepath.Dir(p), filepath.Base(p)
}

func (f *finder) fail(p string, err error) {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	f.trouble = append(f.trouble, bundle.Problem{Path: p, Text: err.Error()})
}

// empty notes that p was read and holds no run.
func (f *finder) empty(p, format string, args ...any) {
	f.silent = append(f.silent, bundle.Problem{Path: p, Text: fmt.Sprintf(format, args...)})
}

func (f *finder) dir(p string) {
	root, err := os.OpenRoot(p)
	if err != nil {
		f.fail(p, err)
		return
	}
	slash := filepath.ToSlash(filepath.Clean(p))
	runs, problems := bundle.Find(root.FS(), slash)
	if len(runs) == 0 {
		f.empty(p, "holds no run: %s", census(root.FS()))
		f.silent = append(f.silent, problems...)
		return
	}
	f.add(slash, runs, problems)
}

// files finds runs among the named files of one directory.
func (f *finder) files(dir string, names []string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		f.fail(filepath.Join(dir, names[0]), err)
		return
	}
	slash := filepath.ToSlash(filepath.Clean(dir))
	names = slices.DeleteFunc(names, func(n string) bool {
		packed := bundle.IsArchive(root.FS(), n)
		if packed {
			f.archive(root.FS(), slash, n)
		}
		return packed
	})
	if len(names) > 1 {
		names = f.together(root.FS(), slash, names)
	}
	for _, n := range names {
		f.file(root.FS(), slash, n)
	}
}

// archive finds runs in a named archive.
func (f *finder) archive(fsys fs.FS, dir, name string) {
	p := path.Join(dir, name)
	runs, problems, err := bundle.FindArchive(fsys, dir, name)
	switch {
	case err != nil:
		f.fail(p, err)
	case len(runs) == 0 && len(problems) > 0:
		f.empty(p, "holds no run: %s", problems[0].Text)
	case len(runs) == 0:
		f.empty(p, "holds no run: an archive without files of a kind that is known")
	default:
		f.add(dir, runs, problems)
	}
}

// together finds the runs that several named files make up, and returns the
// files that stand for themselves: those of no run, and transcripts that
// nothing but their directory would tie together.
func (f *finder) together(fsys fs.FS, dir string, names []string) (alone []string) {
	runs, _ := bundle.Find(only{fsys, names}, dir) // problems come up again below
	met := map[string]bool{}
	for _, r := range runs {
		if r.Path == dir && len(r.Of(bundle.Serial)) > 1 {
			continue
		}
		for _, a := range r.Artifacts {
			met[a.Path] = true
		}
		f.add(dir, []*bundle.Run{r}, nil)
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return met[n] })
}

func (f *finder) file(fsys fs.FS, dir, name string) {
	r, problems := bundle.FindFile(fsys, dir, name)
	p := path.Join(dir, name)
	if r == nil {
		f.trouble = append(f.trouble, problems...)
		return
	}
	switch kind := r.Artifacts[0].Kind; kind {
	case bundle.Empty:
		f.empty(p, "an empty file: nothing to analyse")
	case bundle.Binary:
		f.empty(p, "a binary file of no kind that is known")
	case bundle.Unknown:
		f.empty(p, "text of no kind that is known")
	case bundle.Driver:
		f.silent = append(f.silent, problems...)
	case bundle.Report:
		f.empty(p, "written by a person: not an artifact of a run")
	default:
		f.add(dir, []*bundle.Run{r}, problems)
	}
}

// add takes over runs below dir, with the problems that came up beside them.
func (f *finder) add(dir string, runs []*bundle.Run, problems []bundle.Problem) {
	for _, r := range runs {
		// "." names no run: its directory's own name does.
		if base := path.Base(r.Path); base == "." || base == ".." {
			if abs, err := filepath.Abs(r.Path); err == nil {
				r.ID = filepath.Base(abs)
			}
		}
		r.Path, r.Dir = path.Clean(r.Path), path.Clean(r.Dir)
		if r.Archive != "" {
			r.Archive = path.Clean(r.Archive)
		}
	}
	f.runs = append(f.runs, runs...)
	for _, p := range problems {
		p.Path = path.Clean(p.Path)
		if r := owner(runs, p.Path); r != nil {
			p.Path = strings.TrimLeft(strings.TrimPrefix(p.Path, r.Path), "!/")
			r.Problems = append(r.Problems, p)
		} else {
			f.problems = append(f.problems, p)
		}
	}
}

// owner returns the run that the file at p lies in, nil when it lies in none.
func owner(runs []*bundle.Run, p string) (best *bundle.Run) {
	for _, r := range runs {
		in := strings.HasPrefix(p, r.Path+"/") || r.Path == r.Archive && (p == r.Path || strings.HasPrefix(p, r.Path+"!/"))
		if in && (best == nil || len(r.Path) > len(best.Path)) {
			best = r
		}
	}
	return best
}

// dedupe drops runs whose files all belong to another run: the command line
// named something twice, or an archive and what it was made of.
func (f *finder) dedupe() {
	slices.SortStableFunc(f.runs, func(a, b *bundle.Run) int { return len(b.Artifacts) - len(a.Artifacts) })
	met := map[string]bool{}
	f.runs = slices.DeleteFunc(f.runs, func(r *bundle.Run) bool {
		again := true
		for _, p := range realPaths(r) {
			again = again && met[p]
			met[p] = true
		}
		return again
	})
	runs, notes := bundle.Distinct(f.runs)
	f.runs, f.problems = runs, append(f.problems, notes...)
}

// realPaths returns where the run's files are, whatever way led to them.
func realPaths(r *bundle.Run) []string {
	dir, packed := filepath.FromSlash(r.Dir), ""
	if r.Archive != "" {
		dir = filepath.FromSlash(path.Dir(r.Archive))
		packed = path.Base(r.Archive) + r.Dir[len(r.Archive):]
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	var ps []string
	for _, a := range r.Artifacts {
		ps = append(ps, filepath.Join(dir, filepath.FromSlash(packed), filepath.FromSlash(a.Path)))
	}
	return ps
}

// census says what stands in a directory without a run.
func census(fsys fs.FS) string {
	const enough = 1000
	files, empty, shut := 0, 0, 0
	err := fs.WalkDir(fsys, ".", func(_ string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			shut++
		case d.Type().IsRegular():
			files++
			if info, err := d.Info(); err == nil && info.Size() == 0 {
				empty++
			}
		}
		if files > enough {
			return fs.SkipAll
		}
		return nil
	})
	switch {
	case shut > 0 && files == 0 || err != nil:
		return "it cannot be read"
	case files == 0:
		return "there are no files in it"
	case files == empty:
		return fmt.Sprintf("files in it: %d, all empty", files)
	case files > enough:
		return fmt.Sprintf("files in it: more than %d, none of a kind that is known", enough)
	}
	return fmt.Sprintf("files in it: %d, none of a kind that is known", files)
}

// only is a directory of which nothing but some files shows.
type only struct {
	fs.FS
	names []string
}

func (o only) Open(name string) (fs.File, error) {
	if name != "." && !slices.Contains(o.names, name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return o.FS.Open(name)
}

func (o only) Stat(name string) (fs.FileInfo, error) {
	if name != "." && !slices.Contains(o.names, name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return fs.Stat(o.FS, name)
}

func (o only) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !slices.Contains(o.names, e.Name()) }), err
}
