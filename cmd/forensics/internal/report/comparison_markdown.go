package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
)

// maxRows bounds a table of differences: a forge refuses long comments.
const maxRows = 50

// WriteComparisonMarkdown writes the comparison in r as people attach it to an
// issue.
func WriteComparisonMarkdown(w io.Writer, r *Report, o Options) error {
	if r.Comparison == nil {
		return errNothing
	}
	m := &markdown{}
	r = cleanLines(r, Clean)
	m.comparison(r, o.Verbose)
	m.trouble(r)
	_, err := w.Write(m.b.Bytes())
	return err
}

func (m *markdown) trouble(r *Report) {
	for _, n := range r.Trouble {
		m.f("- **trouble**: %s", note(n))
	}
	for _, n := range r.Problems {
		m.f("- note: %s", note(n))
	}
}

func wordingOf(value, prose func(string) string, verbose bool) wording {
	return wording{arrow: "→", value: value, prose: prose, whole: verbose}
}

func (m *markdown) comparison(r *Report, verbose bool) {
	c := r.Comparison
	m.f("# %s", prose(c.sentence()))
	m.f("")
	from, to := r.sides()
	m.f("- A: %s%s", code(c.From), prose(from.describe()))
	m.f("- B: %s%s", code(c.To), prose(to.describe()))
	m.f("")
	m.flips(c, verbose)
	full, _ := split(c.Flips)
	if verbose {
		full = every(c.Flips)
	}
	told := told{}
	for _, f := range full {
		m.flip(f, f.heading("→"), verbose, told)
	}
	for _, f := range every(c.Mechanisms) {
		m.flip(f, f.still(), verbose, told)
	}
	m.others(c, verbose)
	for _, n := range c.Notes {
		m.f("- note: %s", prose(n))
	}
}

// flips is the table of all conditions that the runs show differently.
func (m *markdown) flips(c *Comparison, verbose bool) {
	if c.same() {
		return
	}
	w := wordingOf(cellCode, cell, verbose)
	m.f("| condition | A | B | what changed |")
	m.f("| --- | --- | --- | --- |")
	for _, f := range every(c.Flips) {
		m.f("| %s | %s | %s | %s |", cellCode(f.Condition), status(f.From), status(f.To), f.row(w))
	}
	for _, f := range every(c.Mechanisms) {
		m.f("| %s | %s | %s | %s: %s |", cellCode(f.Condition), status(f.From), status(f.To), f.still(), f.row(w))
	}
	m.f("")
}

// row says what changed, for a table.
func (f *Flip) row(w wording) string {
	if len(f.Changes) > 0 && f.reached() == "" {
		return f.Changes[0].clause(w)
	}
	return f.short(w)
}

func status(s string) string {
	if s == Fail {
		return "**fail**"
	}
	return known(s)
}

func (m *markdown) flip(f *Flip, what string, verbose bool, told told) {
	m.f("## %s: %s", code(f.Condition), what)
	m.f("")
	if f.Title != "" {
		m.f("%s", prose(f.Title))
		m.f("")
	}
	m.side("A", f.FromBecause)
	m.side("B", f.ToBecause)
	m.f("")
	m.fenced(quoted(f.Evidence, verbose))
	cs := f.Changes
	if !verbose {
		cs = cs[:min(len(cs), maxChanges)]
	}
	if other := told.elsewhere(cs, f.Condition); other != "" {
		m.f("%s%s.", sentence(sameAs), code(other))
		m.f("")
	} else {
		m.ranked(cs, f.Condition, told, verbose)
	}
	if len(f.Changes) > len(cs) {
		m.table(fmt.Sprintf("%d more", len(f.Changes)-len(cs)), pointers(f.Changes[len(cs):]), maxRows)
	}
	if f.unexplained() {
		m.f("%s.", sentence(unexplained))
		m.f("")
	}
}

func (m *markdown) ranked(cs []Change, condition string, told told, verbose bool) {
	for i := range cs {
		m.change(i+1, &cs[i], told.before(&cs[i], condition), verbose)
	}
}

// sentence is a clause of ours as the start of a sentence.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (m *markdown) side(name, because string) {
	if because != "" {
		m.f("- %s: %s", name, prose(because))
	}
}

// change writes one change; other is the condition below which it was shown.
func (m *markdown) change(n int, c *Change, other string, verbose bool) {
	line := fmt.Sprintf("**%d.** %s: %s", n, code(c.Kind), c.text(wordingOf(code, prose, verbose)))
	if other != "" {
		m.f("%s (see %s)", line, code(other))
		m.f("")
		return
	}
	m.f("%s", line)
	m.f("")
	if verbose && c.explained() {
		m.f("%s", prose(c.Summary))
		m.f("")
	}
	m.fenced(quoted(c.shows(verbose), verbose))
	m.fenced(excerpt(c.Diff, verbose))
}

// quoted returns what the runs show as a diff, which a forge colours.
func quoted(ev []SideEvidence, verbose bool) []string {
	var lines []string
	for _, l := range marked(ev, verbose) {
		lines = append(lines, l.mark+l.text)
	}
	return lines
}

// excerpt returns the first lines of a unified diff.
func excerpt(diff string, verbose bool) []string {
	if diff == "" {
		return nil
	}
	lines := strings.Split(strings.TrimSuffix(diff, "\n"), "\n")
	if len(lines) > maxDiff && !verbose {
		lines = append(lines[:maxDiff:maxDiff], fmt.Sprintf("@@ %s more @@", count(len(lines)-maxDiff, "line")))
	}
	return lines
}

// fenced writes lines as they are, behind a fence that none of them can close.
func (m *markdown) fenced(lines []string) {
	if len(lines) == 0 {
		return
	}
	fence := "```"
	for _, l := range lines {
		for strings.Contains(l, fence) {
			fence += "`"
		}
	}
	m.f("%sdiff", fence)
	for _, l := range lines {
		m.f("%s", l)
	}
	m.f("%s", fence)
	m.f("")
}

// others writes the differences that go with no flip, folded.
func (m *markdown) others(c *Comparison, verbose bool) {
	ks := c.kinds()
	if len(ks) == 0 {
		return
	}
	m.open(count(others(ks), "other difference") + ", " + c.feeding())
	w := wordingOf(cellCode, cell, false)
	m.f("| kind | differences | the first |")
	m.f("| --- | ---: | --- |")
	for i := range ks {
		m.f("| %s | %d | %s |", cellCode(ks[i].name), ks[i].count(), ks[i].first(w))
	}
	m.shut()
	if len(c.Changes) > 0 {
		most := maxRows
		if verbose {
			most = len(c.Changes)
		}
		m.table("What differs", pointers(c.Changes), most)
	}
}

// table lists changes, the first most of them.
func (m *markdown) table(summary string, cs []*Change, most int) {
	m.open(summary)
	w := wordingOf(cellCode, cell, false)
	m.f("| kind | difference | feeds | where |")
	m.f("| --- | --- | --- | --- |")
	for _, c := range cs[:min(most, len(cs))] {
		m.f("| %s | %s | %s | %s |", cellCode(c.Kind), c.text(w), cellCodes(c.Feeds), where(c))
	}
	if len(cs) > most {
		m.f("")
		m.f("and %d more", len(cs)-most)
	}
	m.shut()
}

// where names the first piece of evidence of each run.
func where(c *Change) string {
	var places []string
	shown := slices.DeleteFunc(slices.Clone(c.Evidence), func(e SideEvidence) bool { return e.Absent != "" })
	for _, ev := range [][]bundle.Evidence{ofSide(shown, SideFrom), ofSide(shown, SideTo)} {
		if len(ev) > 0 {
			places = append(places, cellCode(at(ev[0])))
		}
	}
	if len(places) == 2 && places[0] == places[1] {
		places = places[:1]
	}
	return strings.Join(places, ", ")
}

func cellCodes(ss []string) string {
	cs := make([]string, len(ss))
	for i, s := range ss {
		cs[i] = cellCode(s)
	}
	return strings.Join(cs, ", ")
}

func pointers(cs []Change) []*Change {
	ps := make([]*Change, len(cs))
	for i := range cs {
		ps[i] = &cs[i]
	}
	return ps
}
