package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"forensics/cmd/forensics/internal/report"
	"forensics/corpus"
)

func newCorpus() *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:   "corpus DIR",
		Short: "Compare what the program says of recorded runs with their truth",
		Long: `Corpus reads the cases below DIR (a run's artifacts/ beside an expect.yaml
that a person wrote, or a txtar file with both) and says where the program
agrees, is wrong, claims what nothing decides, or misses what is shown.`,
		Example: `  forensics corpus corpus`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(c, "corpus takes one directory with cases")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return checkCorpus(c, args[0], verbose) },
	}
	c.Flags().BoolVar(&verbose, "verbose", false, "list the cases that agree as well")
	return c
}

func checkCorpus(c *cobra.Command, dir string, verbose bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	cases, err := corpus.Load(root.FS())
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if len(cases) == 0 {
		return fmt.Errorf("%s: no cases in it: a case is a run's artifacts/ beside expect.yaml", dir)
	}
	var sum tally
	for _, x := range cases {
		if err := sum.check(c.OutOrStdout(), x, verbose); err != nil {
			return err
		}
	}
	if err := sum.write(c.OutOrStdout()); err != nil {
		return err
	}
	if sum.bad() {
		return exit(statusFailed)
	}
	return nil
}

// tally sums outcomes.
type tally struct {
	cases, agree, wrong, claimed, missed, causes, placed, evidence, other int
}

func (t *tally) bad() bool {
	return t.wrong+t.claimed+t.missed+t.other > 0 || t.causes < t.cases
}

func (t *tally) check(w io.Writer, c *corpus.Case, verbose bool) error {
	profile := c.Expect.Profile
	if profile == "" {
		profile = defaultProfile
	}
	set, params, err := corpus.Rules(profile)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	o := corpus.Check(c, set, params)
	t.cases++
	t.agree, t.wrong, t.claimed, t.missed = t.agree+o.Agree, t.wrong+len(o.Wrong), t.claimed+len(o.Claimed), t.missed+len(o.Missed)
	t.placed, t.evidence, t.other = t.placed+o.Placed, t.evidence+o.Evidence, t.other+len(o.Stale)+len(o.Missing)
	if o.Cause == "" {
		t.causes++
	}
	return printOutcome(w, o, verbose)
}

func printOutcome(w io.Writer, o *corpus.Outcome, verbose bool) error {
	lines := 0
	say := func(kind, text string) {
		fmt.Fprintf(w, "%-8s %s %s\n", kind, o.Case.Name, report.Clean(text))
		lines++
	}
	for _, s := range o.Wrong {
		say("wrong", s)
	}
	for _, s := range o.Claimed {
		say("claimed", s)
	}
	for _, s := range o.Missed {
		say("missed", s)
	}
	for _, s := range append(o.Stale, o.Missing...) {
		say("expect", s)
	}
	if o.Cause != "" {
		say("cause", o.Cause)
	}
	if lines == 0 && verbose {
		say("agrees", fmt.Sprintf("in %d verdicts", o.Agree))
	}
	return nil
}

func (t *tally) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%d cases: agree %d, wrong %d, claimed %d, missed %d; cause right in %d; evidence at the expected line %d of %d\n",
		t.cases, t.agree, t.wrong, t.claimed, t.missed, t.causes, t.evidence, t.placed)
	return err
}
