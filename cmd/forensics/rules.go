package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/corpus"
)

type rulesFlags struct {
	rules  ruleFlags
	format string
	facts  bool
}

func newRules() *cobra.Command {
	var o rulesFlags
	c := &cobra.Command{
		Use:   "rules [ID]",
		Short: "List the conditions, or explain one",
		Long: `Rules lists the conditions that a boot needs. With an ID it explains one: what
shows that it held, what shows that it did not, what it needs and what to do.
With --facts it lists what rules can ask about.`,
		Example: `  forensics rules
  forensics rules vm.lvm
  forensics rules --format dot | dot -Tsvg > conditions.svg`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef(c, "rules explains one condition at a time, got %d", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	c.Flags().StringVarP(&o.format, "format", "f", "text", "`FORMAT`: text, markdown or dot")
	c.Flags().BoolVar(&o.facts, "facts", false, "list the facts that analyzers state (text or markdown)")
	o.rules.register(c)
	return c
}

func (o *rulesFlags) run(c *cobra.Command, args []string) error {
	write, err := o.writer(c, args)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	// Packs may be foreign: nothing in them may act on the terminal.
	_, err = io.WriteString(c.OutOrStdout(), strings.Map(visible, b.String()))
	return err
}

func visible(r rune) rune {
	if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
		return -1
	}
	return r
}

// writer returns what writes the answer.
func (o *rulesFlags) writer(c *cobra.Command, args []string) (func(io.Writer) error, error) {
	what := []string{"text", "markdown", "dot"}
	switch {
	case o.facts:
		what = what[:2]
	case len(args) > 0:
		what = what[:1]
	}
	if !slices.Contains(what, o.format) {
		return nil, usagef(c, "--format %s: here there is %s", o.format, strings.Join(what, ", "))
	}
	if o.facts {
		if len(args) > 0 {
			return nil, usagef(c, "--facts takes no ID, got %q", args[0])
		}
		if o.format == "markdown" {
			return factsMarkdown, nil
		}
		return factsText, nil
	}
	cat, err := o.rules.load(c)
	if err != nil {
		return nil, err
	}
	switch {
	case len(args) > 0 && cat.set.Condition(args[0]) == nil:
		// Explain knows which one may be meant.
		return nil, usage(c, cat.set.Explain(io.Discard, args[0]).Error())
	case len(args) > 0:
		return func(w io.Writer) error { return cat.explain(w, args[0]) }, nil
	case o.format == "markdown":
		return cat.set.WriteMarkdown, nil
	case o.format == "dot":
		return cat.set.WriteDot, nil
	}
	return cat.list, nil
}

// explain explains one condition, and says which recorded runs show it.
func (cat *catalogue) explain(w io.Writer, id string) error {
	if err := cat.set.Explain(w, id); err != nil {
		return err
	}
	pass, fail, err := corpus.Covering(id)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nRecorded runs\n  - that pass: %s\n  - that fail: %s\n", corpus.Names(pass), corpus.Names(fail))
	return err
}

// list writes the conditions, one a line.
func (cat *catalogue) list(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CONDITION\tNEEDS\tTITLE")
	for _, c := range cat.set.Conditions() {
		needs := strings.Join(c.Needs, " ")
		if needs == "" {
			needs = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.ID, needs, c.Title)
	}
	return t.Flush()
}

// stated is a fact with the analyzer that states it.
type stated struct {
	analyzers.FactType
	by string
}

// facts returns the declared facts, by name.
func facts() []stated {
	var fs []stated
	seen := map[*analyzers.Analyzer]bool{}
	var visit func(*analyzers.Analyzer)
	visit = func(a *analyzers.Analyzer) {
		if seen[a] {
			return
		}
		seen[a] = true
		for _, f := range a.Facts {
			fs = append(fs, stated{f, a.Name})
		}
		for _, r := range a.Requires {
			visit(r)
		}
	}
	for _, a := range all.List {
		visit(a)
	}
	slices.SortFunc(fs, func(a, b stated) int { return strings.Compare(a.Name, b.Name) })
	return fs
}

// values says which values the fact may have.
func (f *stated) values() string {
	s := strings.Join(f.Values, ", ")
	if f.Values == nil {
		s = "free text"
	}
	if len(f.Transient) > 0 {
		s += "; for a while: " + strings.Join(f.Transient, ", ")
	}
	if f.Repeats {
		s += "; several side by side"
	}
	return s
}

func factsText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FACT\tSUBJECT\tSTATED BY\tVALUES")
	for _, f := range facts() {
		subject := f.Subject
		if subject == "" {
			subject = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Name, subject, f.by, f.values())
	}
	return t.Flush()
}

func factsMarkdown(w io.Writer) error {
	fmt.Fprint(w, `# Facts

What analyzers state and rules ask about. Printed by
`+"`forensics rules --facts --format markdown`"+`.

| fact | subject | values | meaning | stated by |
| --- | --- | --- | --- | --- |
`)
	for _, f := range facts() {
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", f.Name, cellText(f.Subject), cellText(f.values()), cellText(f.Doc), f.by); err != nil {
			return err
		}
	}
	return nil
}

// cellText makes text of ours fit into a cell.
func cellText(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`, "\n", " ").Replace(s)
}
