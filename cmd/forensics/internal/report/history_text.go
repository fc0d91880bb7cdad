package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// WriteHistoryText writes the history in r for a person at a terminal.
func WriteHistoryText(w io.Writer, r *Report, o Options) error {
	if r.History == nil {
		return errNothing
	}
	p := newPrinter(o)
	r = cleanLines(r, p.clean)
	h := r.History
	p.hang("", bold, h.sentence())
	p.cells(h)
	p.legend(h.Runs)
	p.turns(h)
	p.groups(h)
	for _, n := range r.Problems {
		p.item("note", yellow, problem(n))
	}
	return p.finish(w, r)
}

// sentence is the headline of a history.
func (h *History) sentence() string {
	s := count(len(h.Runs), "run")
	if h.Path != "" {
		s += " in " + h.Path
	}
	turned := map[string]bool{}
	for i := range h.Turns {
		turned[h.Turns[i].Condition] = true
	}
	if len(turned) == 0 {
		return s + ": no condition turned"
	}
	return s + ": " + count(len(turned), "condition") + " turned, " + count(len(h.Turns), "time")
}

// cell is the status of the row's condition in run i.
func (r *HistoryRow) cell(i int) string {
	if i >= len(r.Cells) {
		return Unknown
	}
	return known(r.Cells[i])
}

// shown sets the rows that some run decides apart from the names of the others.
func (h *History) shown() (rows []*HistoryRow, dull []string) {
	for i := range h.Rows {
		r := &h.Rows[i]
		any := false
		for j := range h.Runs {
			any = any || decided(r.cell(j))
		}
		if any {
			rows = append(rows, r)
		} else {
			dull = append(dull, r.Condition)
		}
	}
	return rows, dull
}

// sign is a status as a cell shows it.
func (p *printer) sign(status string) string {
	switch status {
	case Pass:
		return p.paint(green, p.or("✓", "P"))
	case Fail:
		return p.paint(red, p.or("✗", "F"))
	}
	return p.paint(dim, p.or("·", "."))
}

// cells writes the matrix, in as many pages of columns as the width asks for.
func (p *printer) cells(h *History) {
	rows, dull := h.shown()
	p.line("")
	wide := ansi.StringWidth("condition")
	for _, r := range rows {
		wide = max(wide, ansi.StringWidth(p.short(r.Condition)))
	}
	per := max(1, (p.o.Width-4-wide)/(1+len(strconv.Itoa(len(h.Runs)))))
	for from := 0; from < len(h.Runs) && len(rows) > 0; from += per {
		if from > 0 {
			p.line("")
		}
		p.page(h, rows, wide, from, min(from+per, len(h.Runs)))
	}
	if len(rows) > 0 {
		p.line("  " + p.sign(Pass) + " pass  " + p.sign(Fail) + " fail  " + p.sign(Unknown) + " unknown")
	}
	if len(dull) > 0 {
		p.para("never decided: " + strings.Join(dull, ", "))
	}
}

// page writes the columns of some runs.
func (p *printer) page(h *History, rows []*HistoryRow, wide, from, to int) {
	head := []string{pad("condition", wide) + " "}
	for i := from; i < to; i++ {
		head = append(head, strconv.Itoa(i+1))
	}
	var cells [][]string
	for _, r := range rows {
		row := []string{p.short(r.Condition) + " "}
		for i := from; i < to; i++ {
			row = append(row, p.sign(r.cell(i)))
		}
		cells = append(cells, row)
	}
	p.grid(head, cells, " ")
}

// legend says which runs the numbers stand for.
func (p *printer) legend(runs []HistoryRun) {
	var rows [][]string
	for i := range runs {
		r := &runs[i]
		word, at := seen(r.Started, r.StartedFrom)
		rows = append(rows, []string{strconv.Itoa(i + 1), word, at, r.name(), r.Stage})
	}
	p.line("")
	p.table([]string{"#", "", "time (UTC)", "run", "reached"}, rows, 3, 4)
}

func (r *HistoryRun) name() string {
	if r.Path == "" {
		return r.ID
	}
	return r.Path
}

// text says between which runs the condition turned.
func (t *Turn) text(h *History) string {
	s := fmt.Sprintf("%s in %d, %s in %d", known(t.From), t.Before+1, known(t.To), t.Run+1)
	switch {
	case h.firstBad(t):
		s += " (first bad after last good)"
	case t.reached() != "":
		s += " (" + t.reached() + ")"
	}
	return s
}

// why is what changed, or, of a condition that was merely reached, what was
// seen there.
func (t *Turn) why(w wording) string {
	switch {
	case len(t.Changes) == 0 && t.NewlyReached && t.ToBecause != "":
		return w.prose(t.ToBecause)
	case len(t.Changes) == 0 && t.NoLongerReached && t.FromBecause != "":
		return w.prose(t.FromBecause)
	}
	return t.changed(w)
}

// firstBad reports whether the turn is from the condition's last good run to
// the first bad one after it.
func (h *History) firstBad(t *Turn) bool {
	for i := range h.Rows {
		if r := &h.Rows[i]; r.Condition == t.Condition {
			return r.LastGood == t.Before && r.FirstBad == t.Run && t.To == Fail && t.reached() == ""
		}
	}
	return false
}

func (p *printer) turns(h *History) {
	if len(h.Turns) == 0 {
		return
	}
	p.line("")
	p.line(p.paint(bold, "where conditions turned"))
	p.para("(" + turnsSides + ")")
	if !p.o.Verbose {
		for _, f := range h.folded(p.wording()) {
			var names []string
			for _, c := range f.conditions {
				names = append(names, p.short(c))
			}
			p.turn(f.style, strings.Join(names, ", "), f.text+": "+f.why)
		}
		return
	}
	for i := range h.Turns {
		t := &h.Turns[i]
		p.turn(t.style(), p.short(t.Condition), t.text(h))
		p.side("  - from: ", t.FromBecause, ofSide(t.Evidence, SideFrom))
		p.side("  + to:   ", t.ToBecause, ofSide(t.Evidence, SideTo))
		p.changes(&t.Flip, told{})
	}
}

func (p *printer) turn(s style, names, text string) {
	lines := wrap(names+": "+text, p.room("  "))
	if rest, ok := strings.CutPrefix(lines[0], names+":"); ok {
		lines[0] = p.paint(s, names) + ":" + rest
	}
	p.beside("  ", plain, lines)
}

// turnsSides says what changes mean by A and B.
const turnsSides = "A: the run before, B: the one with the turn"

// folding is turns between the same runs that the same change goes with.
type folding struct {
	conditions []string
	text, why  string
	style      style
}

// folded are the turns, in order, those that would say the same in one.
func (h *History) folded(w wording) []folding {
	var fs []folding
	type said struct{ text, why string }
	at := map[said]int{}
	for i := range h.Turns {
		t := &h.Turns[i]
		s := said{t.text(h), t.why(w)}
		k, ok := at[s]
		if !ok {
			k = len(fs)
			at[s] = k
			fs = append(fs, folding{text: s.text, why: s.why, style: t.style()})
		}
		fs[k].conditions = append(fs[k].conditions, t.Condition)
	}
	return fs
}

// groups writes which runs failed alike.
func (p *printer) groups(h *History) {
	if len(h.Groups) == 0 {
		return
	}
	p.line("")
	p.line(p.paint(bold, "failures"))
	for i := range h.Groups {
		g := &h.Groups[i]
		p.hang("  ", plain, g.label()+": "+g.Condition+": "+g.Because)
		if p.o.Verbose && g.Signature != "" {
			p.hang("    ", dim, "signature: "+g.Signature)
		}
	}
}

// label names the runs of the group.
func (g *Group) label() string {
	if len(g.Runs) == 1 {
		return "once: " + numbers(g.Runs)
	}
	return "same failure: " + numbers(g.Runs)
}

// numbers writes indexes as the numbers of their columns: "1, 4-7".
func numbers(runs []int) string {
	var parts []string
	for i := 0; i < len(runs); {
		j := i
		for j+1 < len(runs) && runs[j+1] == runs[j]+1 {
			j++
		}
		switch {
		case j-i > 1:
			parts = append(parts, fmt.Sprintf("%d-%d", runs[i]+1, runs[j]+1))
			i = j + 1
		default:
			parts = append(parts, strconv.Itoa(runs[i]+1))
			i++
		}
	}
	return strings.Join(parts, ", ")
}
