package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/compare"
	"forensics/cmd/forensics/internal/report"
	"forensics/cmd/forensics/internal/tty"
)

// diffFlags are the options of forensics diff.
type diffFlags struct {
	outputFlags
	rules    ruleFlags
	all      bool
	baseline []string
}

const diffStatus = `
EXIT STATUS
  0  no condition flipped, and none is shown to fail for another reason; with --all: none turned
  1  one did
  2  trouble: usage, files that cannot be read, bad rules, nothing to compare
`

func newDiff() *cobra.Command {
	var o diffFlags
	c := &cobra.Command{
		Use:   "diff A B | --baseline GOOD... RUN | --all DIR...",
		Short: "Say which prerequisite changed between runs",
		Long: `Diff compares two runs: which conditions passed in one and failed in the
other, and what in the artifacts changed with each: an argument of QEMU, a file
of the image, a parameter of the kernel, a message. A and B are directories,
files or archives that hold one run each, a run's path as analyze prints it
(boot-logs/2025-10-08T13-56-18Z), or reports that analyze saved as JSON. Where
one holds several runs, name one of them behind a #: report.json#2025-10-08.

With --baseline a run is compared with several good ones: what any of them
shows is no news. With --all many runs are set in the order of time: a matrix
of the conditions, where each turned, and which runs failed the same way.`,
		Example: `  forensics diff runs/good runs/bad
  forensics diff yesterday.json today.json
  forensics diff --baseline runs/good-1 --baseline runs/good-2 runs/bad
  forensics diff --all boot-logs`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	c.SetHelpTemplate(c.HelpTemplate() + diffStatus)
	o.register(c, "show all changes")
	f := c.Flags()
	f.BoolVar(&o.all, "all", false, "compare all runs that the arguments hold, in the order of time")
	f.StringArrayVar(&o.baseline, "baseline", nil, "compare with the good runs in `PATH`; may be given several times")
	o.rules.register(c)
	return c
}

func (o *diffFlags) run(c *cobra.Command, args []string) error {
	if err := o.check(c, args); err != nil {
		return err
	}
	cat, err := o.rules.load(c)
	if err != nil {
		return err
	}
	r, err := showing(c.Context(), c.ErrOrStderr(), func(p *tty.Progress) (*report.Report, error) {
		return o.work(c.Context(), cat, args, p)
	})
	if err != nil {
		return err
	}
	for _, t := range r.Trouble {
		complain(c.ErrOrStderr(), t.Path+": "+t.Text)
	}
	opts := o.looks(c.OutOrStdout())
	if err := o.write(c.OutOrStdout(), func(w io.Writer) error { return o.render(w, r, opts) }); err != nil {
		return err
	}
	if s := r.ComparisonStatus(); s != statusOK {
		return exit(s)
	}
	return nil
}

func (o *diffFlags) check(c *cobra.Command, args []string) error {
	if err := o.outputFlags.check(c); err != nil {
		return err
	}
	switch {
	case o.all && len(o.baseline) > 0:
		return usage(c, "--all and --baseline exclude each other")
	case o.all && len(args) == 0:
		return usage(c, "which runs? Name a directory that holds them")
	case o.all:
	case len(o.baseline) > 0 && len(args) != 1:
		return usagef(c, "--baseline compares one run with good ones; %d are named", len(args))
	case len(o.baseline) == 0 && len(args) != 2:
		return usagef(c, "diff compares two runs, %d named; to compare all runs of a directory: --all", len(args))
	}
	return nil
}

// render writes r in the format that was asked for.
func (o *diffFlags) render(w io.Writer, r *report.Report, opts report.Options) error {
	switch {
	case o.format == "json":
		return report.WriteJSON(w, r)
	case o.format == "markdown" && o.all:
		return report.WriteHistoryMarkdown(w, r, opts)
	case o.format == "markdown":
		return report.WriteComparisonMarkdown(w, r, opts)
	case o.all:
		return report.WriteHistoryText(w, r, opts)
	}
	return report.WriteComparisonText(w, r, opts)
}

func (o *diffFlags) work(ctx context.Context, cat *catalogue, args []string, progress *tty.Progress) (*report.Report, error) {
	r := report.New(version())
	d := &differ{cat: cat, progress: progress, ctx: ctx}
	if o.all {
		sides, err := d.many(args)
		if err != nil {
			return nil, err
		}
		r.History = compare.All(strings.Join(args, " "), sides, cat.set)
		d.put(r, sides...)
		return r, nil
	}
	if len(o.baseline) > 0 {
		good, err := d.many(o.baseline)
		if err != nil {
			return nil, err
		}
		to, err := d.one(args[0])
		if err != nil {
			return nil, err
		}
		r.Comparison = compare.Baseline(strings.Join(o.baseline, " "), good, to, cat.set)
		d.put(r, append(good, to)...)
		return r, nil
	}
	from, err := d.one(args[0])
	if err != nil {
		return nil, err
	}
	to, err := d.one(args[1])
	if err != nil {
		return nil, err
	}
	r.Comparison = compare.Two(from, to, cat.set)
	d.put(r, from, to)
	return r, nil
}

// maxHistory bounds the runs of a history, which all are held in memory.
const maxHistory = 2000

// differ reads what is compared. One run is read after the other: what is
// kept of each is small, what is needed to read it is not.
type differ struct {
	ctx      context.Context
	cat      *catalogue
	progress *tty.Progress
	notes    []bundle.Problem
	trouble  []bundle.Problem
	n        int
}

func (d *differ) put(r *report.Report, sides ...*compare.Side) {
	for _, s := range sides {
		r.Runs = append(r.Runs, s.Report)
	}
	r.Problems, r.Trouble = d.notes, d.trouble
}

// one returns the run that arg names.
func (d *differ) one(arg string) (*compare.Side, error) {
	name, id := arg, ""
	if _, err := os.Stat(arg); err != nil {
		if i := strings.LastIndexByte(arg, '#'); i > 0 {
			name, id = arg[:i], arg[i+1:]
		}
	}
	if saved, err := savedReport(name); err != nil {
		return nil, err
	} else if saved != nil {
		return chosen(saved, func(r *report.Run) (string, string) { return r.ID, r.Path }, name, id,
			func(r *report.Run) (*compare.Side, error) { return compare.Saved(*r, d.cat.set, d.cat.profile), nil })
	}
	runs, err := d.find([]string{name})
	if err != nil {
		return nil, err
	}
	return chosen(runs, func(r **bundle.Run) (string, string) { return (*r).ID, (*r).Path }, name, id,
		func(r **bundle.Run) (*compare.Side, error) { return d.read(*r, 0) })
}

// many returns all runs in what the arguments name.
func (d *differ) many(args []string) ([]*compare.Side, error) {
	var sides []*compare.Side
	var paths []string
	for _, a := range args {
		saved, err := savedReport(a)
		if err != nil {
			return nil, err
		}
		if len(saved) > maxHistory {
			return nil, fmt.Errorf("%s: %d runs: more than %d are not compared", a, len(saved), maxHistory)
		}
		for i := range saved {
			sides = append(sides, compare.Saved(saved[i], d.cat.set, d.cat.profile))
		}
		if saved == nil {
			paths = append(paths, a)
		}
	}
	if len(paths) == 0 {
		return sides, nil
	}
	runs, err := d.find(paths)
	if err != nil {
		return nil, err
	}
	if len(runs)+len(sides) > maxHistory {
		return nil, fmt.Errorf("%d runs: more than %d are not compared; name fewer", len(runs)+len(sides), maxHistory)
	}
	for i, r := range runs {
		s, err := d.read(r, len(runs))
		if err != nil {
			return nil, err
		}
		runs[i] = nil // it holds all that was read
		sides = append(sides, s)
	}
	return sides, nil
}

// find returns the runs at paths. A path that is no file may be that of a run
// in its directory, as analyze prints it.
func (d *differ) find(paths []string) ([]*bundle.Run, error) {
	f := find(paths)
	if len(f.runs) == 0 && len(paths) == 1 {
		if _, err := os.Stat(paths[0]); err != nil {
			if r := within(paths[0]); r != nil {
				return []*bundle.Run{r}, nil
			}
		}
	}
	if len(f.runs) == 0 {
		for _, t := range f.trouble {
			return nil, fmt.Errorf("%s: %s", t.Path, t.Text)
		}
		return nil, fmt.Errorf("%s: holds no run", strings.Join(paths, " "))
	}
	d.trouble = append(d.trouble, f.trouble...)
	d.notes = append(d.notes, f.problems...)
	return f.runs, nil
}

// within returns the run with path p among those of its directory.
func within(p string) *bundle.Run {
	dir := filepath.Dir(p)
	entries, err := os.ReadDir(dir)
	named := func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), filepath.Base(p)) }
	if err != nil || !slices.ContainsFunc(entries, named) {
		return nil // reading all of a directory to find a mistyped name takes long
	}
	for _, r := range find([]string{dir}).runs {
		if r.Path == path.Clean(filepath.ToSlash(p)) {
			return r
		}
	}
	return nil
}

// read analyzes a run. A mistake of ours in it ends the comparison, not the
// program.
func (d *differ) read(r *bundle.Run, of int) (s *compare.Side, err error) {
	if err := d.ctx.Err(); err != nil {
		return nil, err
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%s: internal error: %v", r.Path, v)
		}
	}()
	s = compare.Read(r, d.cat.set, d.cat.profile)
	d.n++
	d.progress.Step("analyzed", d.n, max(of, 2))
	return s, nil
}

// chosen returns the one run of several that id names, or the only one.
func chosen[T any](runs []T, names func(*T) (id, path string), arg, id string, read func(*T) (*compare.Side, error)) (*compare.Side, error) {
	var found []int
	ids := map[string]int{}
	for i := range runs {
		rid, rpath := names(&runs[i])
		ids[rid]++
		if id == "" || id == rid || id == rpath {
			found = append(found, i)
		}
	}
	if len(found) == 1 {
		return read(&runs[found[0]])
	}
	var all []string
	for i := range runs {
		rid, rpath := names(&runs[i])
		if ids[rid] > 1 {
			rid = rpath
		}
		all = append(all, rid)
	}
	example := all[0]
	const shown = 10
	more := ""
	if len(all) > shown {
		more = fmt.Sprintf(" and %d more", len(all)-shown)
		all = all[:shown]
	}
	switch {
	case id != "" && len(found) > 1:
		return nil, fmt.Errorf("%s holds %d runs %q: name one by its path (there are %s%s)", arg, len(found), id, strings.Join(all, ", "), more)
	case id != "":
		return nil, fmt.Errorf("%s holds no run %q: there are %s%s", arg, id, strings.Join(all, ", "), more)
	}
	return nil, fmt.Errorf("%s holds %d runs: name one, as in %s#%s (there are %s%s), or compare them all with --all", arg, len(runs), arg, example, strings.Join(all, ", "), more)
}

// savedReport reads a report that was written as JSON, nil when the file is
// none.
func savedReport(name string) ([]report.Run, error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > bundle.MaxText {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 200)
	n, _ := io.ReadFull(f, head)
	if !bytes.Contains(head[:n], []byte(report.Schema)) || !bytes.HasPrefix(bytes.TrimSpace(head[:n]), []byte("{")) {
		return nil, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := report.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := r.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r.Runs, nil
}
