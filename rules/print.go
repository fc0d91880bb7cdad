package rules

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown prints the catalogue, ${} as written.
func (s *Set) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("# Conditions\n\nWhat must hold for a boot to succeed, what shows that it held or did not, and what it needs.\n")
	for _, phase := range Phases() {
		conditions := s.ofPhase(phase)
		if len(conditions) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n", phase)
		for _, c := range conditions {
			c.markdown(&b)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (s *Set) ofPhase(phase string) []*Condition {
	var cs []*Condition
	for _, c := range s.conditions {
		if c.Phase == phase {
			cs = append(cs, c)
		}
	}
	return cs
}

func (c *Condition) markdown(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", c.ID, escape(c.Title))
	if c.Observer {
		b.WriteString("Judges the observer, not the guest.\n\n")
	}
	if c.Plan != "" {
		fmt.Fprintf(b, "- Plan: %s\n", escape(c.Plan))
	}
	if len(c.Needs) > 0 {
		var links []string
		for _, n := range c.Needs {
			links = append(links, fmt.Sprintf("[%s](#%s)", n, strings.ReplaceAll(n, ".", "")))
		}
		fmt.Fprintf(b, "- Needs: %s\n", strings.Join(links, ", "))
	}
	markdownClauses(b, "Pass is shown by", c.Pass)
	markdownClauses(b, "Fail is shown by", c.Fail)
	if len(c.Decide) > 0 {
		fmt.Fprintf(b, "- An unknown is decided by:\n")
		for _, d := range c.Decide {
			fmt.Fprintf(b, "  - %s\n", escape(d))
		}
	}
	if len(c.Inputs) > 0 {
		var facts []string
		for _, f := range c.inputNames() {
			facts = append(facts, code(f))
		}
		fmt.Fprintf(b, "- Rests on: %s\n", strings.Join(facts, ", "))
	}
	if c.Remedy != "" {
		fmt.Fprintf(b, "- Remedy: %s\n", escape(c.Remedy))
	}
}

func (c *Condition) inputNames() []string {
	var names []string
	for _, in := range c.Inputs {
		names = append(names, strings.TrimSpace(in.Fact+" "+in.Subject))
	}
	return names
}

func markdownClauses(b *bytes.Buffer, what string, clauses []*Clause) {
	if len(clauses) == 0 {
		return
	}
	fmt.Fprintf(b, "- %s:\n", what)
	for _, c := range clauses {
		fmt.Fprintf(b, "  - %s\n    when %s\n", code(c.Because), code(oneLine(c.When)))
		if c.Unless != "" {
			fmt.Fprintf(b, "    unless %s\n", code(oneLine(c.Unless)))
		}
		if c.Untried {
			fmt.Fprintf(b, "    (the step was not tried)\n")
		}
	}
}

// code quotes s as Markdown code, whatever backquotes it holds.
func code(s string) string {
	longest, run := 0, 0
	for _, r := range s {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	if longest == 0 {
		return "`" + s + "`"
	}
	fence := strings.Repeat("`", longest+1)
	return fence + " " + s + " " + fence
}

// escape keeps prose from being read as HTML; code spans in it stay.
func escape(s string) string {
	parts := strings.Split(s, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(parts[i])
	}
	return strings.Join(parts, "`")
}

// WriteDot prints the needs as a graph for dot: an arrow leads from a need to
// what needs it.
func (s *Set) WriteDot(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("digraph conditions {\n  rankdir=LR;\n  node [shape=box, fontname=sans];\n")
	for _, phase := range Phases() {
		conditions := s.ofPhase(phase)
		if len(conditions) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  subgraph cluster_%s {\n    label=%s;\n", phase, phase)
		for _, c := range conditions {
			style := ""
			if c.Observer {
				style = ", style=dashed"
			}
			fmt.Fprintf(&b, "    %s [tooltip=%s%s];\n", dotQuote(c.ID), dotQuote(c.Title), style)
		}
		b.WriteString("  }\n")
	}
	for _, c := range s.conditions {
		for _, n := range c.Needs {
			fmt.Fprintf(&b, "  %s -> %s;\n", dotQuote(n), dotQuote(c.ID))
		}
	}
	b.WriteString("}\n")
	_, err := w.Write(b.Bytes())
	return err
}

// dotQuote quotes s for dot, where a backslash starts an escape of its own.
func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}

// Explain prints one condition as plain text.
func (s *Set) Explain(w io.Writer, id string) error {
	c := s.byID[id]
	if c == nil {
		var ids []string
		for _, c := range s.conditions {
			ids = append(ids, c.ID)
		}
		return fmt.Errorf("no condition %q%s", id, didYouMean(id, ids))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n\n", c.ID, c.Title)
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-8s %s\n", label, text)
		}
	}
	line("Phase", c.Phase)
	line("Plan", c.Plan)
	line("Needs", strings.Join(c.Needs, ", "))
	line("Needed", strings.Join(s.neededBy(id), ", "))
	line("Rests on", strings.Join(c.inputNames(), ", "))
	if c.Observer {
		line("Observer", "judges who watched the guest, not the guest")
	}
	explainClauses(&b, "Shown to pass by", c.Pass)
	explainClauses(&b, "Shown to fail by", c.Fail)
	explainList(&b, "What decides an unknown", c.Decide)
	if c.Remedy != "" {
		explainList(&b, "Remedy", []string{c.Remedy})
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (s *Set) neededBy(id string) []string {
	var ids []string
	for _, c := range s.conditions {
		for _, n := range c.Needs {
			if n == id {
				ids = append(ids, c.ID)
			}
		}
	}
	return ids
}

func explainClauses(b *bytes.Buffer, what string, clauses []*Clause) {
	if len(clauses) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", what)
	for _, c := range clauses {
		fmt.Fprintf(b, "  - %s\n      when %s\n", c.Because, oneLine(c.When))
		if c.Unless != "" {
			fmt.Fprintf(b, "      unless %s\n", oneLine(c.Unless))
		}
		if c.Untried {
			fmt.Fprintf(b, "      the step was not tried\n")
		}
	}
}

func explainList(b *bytes.Buffer, what string, items []string) {
	if len(items) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", what)
	for _, x := range items {
		fmt.Fprintf(b, "  - %s\n", x)
	}
}
