package report

import (
	"io"
	"strconv"
	"strings"
)

// WriteHistoryMarkdown writes the history in r as people attach it to an issue.
func WriteHistoryMarkdown(w io.Writer, r *Report, o Options) error {
	if r.History == nil {
		return errNothing
	}
	m := &markdown{}
	r = cleanLines(r, Clean)
	m.history(r.History, o.Verbose)
	m.trouble(r)
	_, err := w.Write(m.b.Bytes())
	return err
}

func (m *markdown) history(h *History, verbose bool) {
	m.f("# %s", prose(h.sentence()))
	m.f("")
	m.matrix(h)
	m.open(count(len(h.Runs), "run"))
	m.f("| # | | time (UTC) | run | reached |")
	m.f("| ---: | --- | --- | --- | --- |")
	for i := range h.Runs {
		r := &h.Runs[i]
		word, at := seen(r.Started, r.StartedFrom)
		m.f("| %d | %s | %s | %s | %s |", i+1, word, at, cellCode(r.name()), cell(r.Stage))
	}
	m.shut()
	m.turns(h, verbose)
	m.groups(h)
}

func (m *markdown) matrix(h *History) {
	rows, dull := h.shown()
	if len(rows) > 0 {
		head, line := "| condition |", "| --- |"
		for i := range h.Runs {
			head += " " + strconv.Itoa(i+1) + " |"
			line += " :-: |"
		}
		m.f("%s", head)
		m.f("%s", line)
		for _, r := range rows {
			var b strings.Builder
			for i := range h.Runs {
				b.WriteString(" " + sign(r.cell(i)) + " |")
			}
			m.f("| %s |%s", cellCode(r.Condition), b.String())
		}
		m.f("")
		m.f("✓ pass, **✗** fail, · unknown")
		m.f("")
	}
	if len(dull) > 0 {
		m.f("Never decided: %s", codes(dull))
		m.f("")
	}
}

func sign(status string) string {
	switch status {
	case Pass:
		return "✓"
	case Fail:
		return "**✗**"
	}
	return "·"
}

func (m *markdown) turns(h *History, verbose bool) {
	if len(h.Turns) == 0 {
		return
	}
	m.f("## Where conditions turned")
	m.f("")
	m.f("%s.", turnsSides)
	m.f("")
	for _, f := range h.folded(wordingOf(code, prose, verbose)) {
		m.f("- %s: %s: %s", codes(f.conditions), f.text, f.why)
	}
	m.f("")
	if !verbose {
		return
	}
	for i := range h.Turns {
		m.flip(&h.Turns[i].Flip, h.Turns[i].text(h), true, told{})
	}
}

func (m *markdown) groups(h *History) {
	if len(h.Groups) == 0 {
		return
	}
	m.f("## Failures")
	m.f("")
	for i := range h.Groups {
		g := &h.Groups[i]
		m.f("- %s: %s: %s", g.label(), code(g.Condition), prose(g.Because))
	}
	m.f("")
}
