package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
	"forensics/cmd/forensics/internal/tty"
)

// analyzeFlags are the options of the main command.
type analyzeFlags struct {
	outputFlags
	rules  ruleFlags
	strict bool
	digest bool
}

func newAnalyze() *cobra.Command {
	var o analyzeFlags
	c := &cobra.Command{
		Use:   "analyze PATH...",
		Short: "Say which prerequisite was broken in each boot",
		Long: `Analyze finds the boots (runs) in what the PATHs name: directories of any
depth, or single files. For each run it says which conditions held, which did
not and which nothing decides, and names the cause: the earliest failed
condition that no other failed one explains, with the lines that show it.`,
		Example: `  forensics analyze boot-logs
  forensics analyze -f json -o report.json runs/*
  forensics analyze --set unit=setup.service --set interface=eth0 serial.log`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(c, "analyze what? Name a directory with boot logs, or a file")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	o.register(c, "show all evidence, what would decide unknowns, and the artifacts")
	f := c.Flags()
	f.BoolVar(&o.strict, "strict", false, "count unknown conditions as failed in the exit status")
	f.BoolVar(&o.digest, "digest", false, "give the SHA-256 of artifacts over 64 MiB too (images): reads all of them")
	o.rules.register(c)
	return c
}

func formats() []string { return []string{"text", "json", "markdown"} }

// oneOf joins names as a sentence does.
func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// renderer returns what writes the report in one of the formats.
func renderer(format string, o report.Options) func(io.Writer, *report.Report) error {
	switch format {
	case "text":
		return func(w io.Writer, r *report.Report) error { return report.WriteText(w, r, o) }
	case "markdown":
		return func(w io.Writer, r *report.Report) error { return report.WriteMarkdown(w, r, o) }
	case "json":
		return report.WriteJSON
	}
	return nil
}

func (o *analyzeFlags) run(c *cobra.Command, paths []string) error {
	if err := o.check(c); err != nil {
		return err
	}
	render := renderer(o.format, o.looks(c.OutOrStdout()))
	cat, err := o.rules.load(c)
	if err != nil {
		return err
	}
	r, err := o.analyze(c.Context(), c.ErrOrStderr(), cat, paths)
	if err != nil {
		return err
	}
	for _, t := range r.Trouble {
		complain(c.ErrOrStderr(), t.Path+": "+t.Text)
	}
	if len(r.Runs) > 0 || o.format == "json" {
		if err := o.write(c.OutOrStdout(), func(w io.Writer) error { return render(w, r) }); err != nil {
			return err
		}
	}
	if s := r.Status(o.strict); s != statusOK {
		return exit(s)
	}
	return nil
}

// analyze finds the runs and judges them.
func (o *analyzeFlags) analyze(ctx context.Context, stderr io.Writer, cat *catalogue, paths []string) (*report.Report, error) {
	return showing(ctx, stderr, func(p *tty.Progress) (*report.Report, error) {
		return cat.report(ctx, paths, o.digest, p), nil
	})
}

func (cat *catalogue) report(ctx context.Context, paths []string, digest bool, progress *tty.Progress) *report.Report {
	found := find(paths)
	runs := cat.judgeAll(ctx, found.runs, digest, progress)
	r := report.New(version())
	r.Trouble, r.Problems = found.trouble, found.problems
	for i := range runs {
		if runs[i].err != nil {
			r.Trouble = append(r.Trouble, bundle.Problem{Path: found.runs[i].Path, Text: runs[i].err.Error()})
			continue
		}
		r.Runs = append(r.Runs, runs[i].Run)
	}
	r.Sort()
	return r
}

// judged is the report on one run, or why there is none.
type judged struct {
	report.Run
	err error
}

// judgeAll judges runs, as many at a time as there are processors.
func (cat *catalogue) judgeAll(ctx context.Context, runs []*bundle.Run, digest bool, progress *tty.Progress) []judged {
	out := make([]judged, len(runs))
	var (
		wg         sync.WaitGroup
		next, done atomic.Int64
	)
	for range min(runtime.GOMAXPROCS(0), len(runs)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(runs) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				out[i] = cat.judge(runs[i], digest)
				progress.Step("analyzed", int(done.Add(1)), len(runs))
			}
		})
	}
	wg.Wait()
	return out
}

// judge analyzes one run. A mistake of ours in it must not take the reports on
// the others away.
func (cat *catalogue) judge(run *bundle.Run, digest bool) (j judged) {
	defer func() {
		if v := recover(); v != nil {
			j = judged{err: fmt.Errorf("internal error: %v", v)}
		}
	}()
	facts := analyzers.Analyze(run, all.List, cat.profile.Params)
	outcome := cat.set.Evaluate(facts, cat.profile.Params)
	return judged{Run: report.Build(run, facts, outcome, cat.profile.Name, digest)}
}
