package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"forensics/analyzers/bundle"
)

// maxQuiet bounds the lines about two runs between which no condition flipped.
const maxQuiet = 10

var errNothing = errors.New("report: sets no runs side by side")

// WriteComparisonText writes the comparison in r for a person at a terminal.
func WriteComparisonText(w io.Writer, r *Report, o Options) error {
	if r.Comparison == nil {
		return errNothing
	}
	p := newPrinter(o)
	r = cleanLines(r, p.clean)
	p.sides(r)
	if r.Comparison.same() && !o.Verbose {
		p.quiet(r)
	} else {
		p.comparison(r)
	}
	return p.finish(w, r)
}

// finish writes what could not be looked at, and then the page.
func (p *printer) finish(w io.Writer, r *Report) error {
	for _, n := range r.Trouble {
		p.item("TROUBLE", red, problem(n))
	}
	if p.err != nil {
		return fmt.Errorf("report: %w", p.err)
	}
	_, err := w.Write(p.b.Bytes())
	return err
}

func (p *printer) wording() wording {
	// What is cut after cleaning has an ellipsis of its own.
	show := func(s string) string { return strings.ReplaceAll(s, "…", p.or("…", "~")) }
	return wording{arrow: "->", value: show, prose: show, whole: p.o.Verbose}
}

// one writes text on a single line, cut at the width of the page.
func (p *printer) one(head string, s style, text string) {
	text = ansi.Truncate(text, max(8, p.o.Width-ansi.StringWidth(head)), p.or("…", "~"))
	p.line(head + p.paint(s, text))
}

// hang writes head and text that hangs beside it.
func (p *printer) hang(head string, s style, text string) {
	p.beside(head, s, wrap(text, p.room(head)))
}

func (p *printer) room(head string) int { return p.o.Width - ansi.StringWidth(head) - 2 }

func (p *printer) beside(head string, s style, lines []string) {
	n := ansi.StringWidth(head)
	for i, l := range lines {
		if i > 0 {
			head = strings.Repeat(" ", n+2)
		}
		p.line(head + p.paint(s, l))
	}
}

// two writes text on two lines at most.
func (p *printer) two(head string, s style, text string) {
	lines := wrap(text, p.room(head))
	if len(lines) > 2 {
		more := p.or("…", "~")
		lines = []string{lines[0], ansi.Truncate(lines[1], p.room(head)-1, "") + more}
	}
	p.beside(head, s, lines)
}

// sides writes the headline and what was compared.
func (p *printer) sides(r *Report) {
	write, c := p.hang, r.Comparison
	if c.same() && !p.o.Verbose {
		write = p.two
	}
	from, to := r.sides()
	write("", bold, c.sentence())
	write("  - A  ", plain, c.From+from.describe())
	write("  + B  ", plain, c.To+to.describe())
}

// quiet says of two runs that nothing happened, in a few lines.
func (p *printer) quiet(r *Report) {
	ks, notes := r.Comparison.kinds(), r.remarks(r.Comparison.Notes)
	room := max(2, maxQuiet-bytes.Count(p.b.Bytes(), []byte("\n")))
	forNotes := min(len(notes), max(1, room-len(ks)))
	room -= forNotes
	if len(ks) > room {
		room--
		rest := ks[room:]
		p.kinds(ks[:room])
		p.one("  ", dim, fmt.Sprintf("%s in %s more (--verbose)", count(others(rest), "difference"), count(len(rest), "kind")))
	} else {
		p.kinds(ks)
	}
	for i, n := range notes[:forNotes] {
		if i == forNotes-1 && len(notes) > forNotes {
			n = fmt.Sprintf("%d more (--verbose): %s", len(notes)-forNotes, n)
		}
		p.one("  ", yellow, "note: "+n)
	}
}

// comparison writes what flipped, and then what else differs.
func (p *printer) comparison(r *Report) {
	c := r.Comparison
	full, compact := split(c.Flips)
	if p.o.Verbose {
		full, compact = every(c.Flips), nil
	}
	told := told{}
	for _, f := range full {
		p.flip(f, f.heading("->"), f.style(), told)
	}
	p.compact(compact)
	for _, f := range every(c.Mechanisms) {
		p.flip(f, f.still(), yellow, told)
	}
	if ks := c.kinds(); len(ks) > 0 {
		p.line("")
		p.line(p.paint(bold, count(others(ks), "other difference")) + ", " + c.feeding())
		if p.o.Verbose {
			p.listed(ks)
		} else {
			p.kinds(ks)
		}
	}
	p.notes(r.remarks(c.Notes))
}

func (p *printer) notes(notes []string) {
	if len(notes) == 0 {
		return
	}
	p.line("")
	n := len(notes)
	if !p.o.Verbose {
		n = min(n, maxProblems)
	}
	for _, note := range notes[:n] {
		p.item("note", yellow, note)
	}
	if more := len(notes) - n; more > 0 {
		p.item("note", yellow, fmt.Sprintf("and %d more (--verbose)", more))
	}
}

// style is the colour of the flip's direction. What was merely reached is
// neither good nor bad, and so is what is not known any more.
func (f *Flip) style() style {
	switch {
	case f.reached() != "":
		return yellow
	case f.To == Fail:
		return red
	case f.To == Pass:
		return green
	}
	return yellow
}

// flip writes a condition, what each run shows of it, and what goes with it.
func (p *printer) flip(f *Flip, what string, s style, told told) {
	p.line("")
	for i, l := range wrap(f.Condition, p.o.Width-2-ansi.StringWidth(what)) {
		l = p.paint(bold, l)
		if i == 0 {
			l += "  " + p.paint(s, what)
		}
		p.line(l)
	}
	if f.Title != "" {
		p.para(f.Title)
	}
	p.side("  - from: ", f.FromBecause, ofSide(f.Evidence, SideFrom))
	p.side("  + to:   ", f.ToBecause, ofSide(f.Evidence, SideTo))
	p.changes(f, told)
	if f.unexplained() {
		p.para(unexplained)
	}
}

// perSide is how many pieces of evidence stand for one run.
func (p *printer) perSide(ev []bundle.Evidence) []bundle.Evidence {
	if p.o.Verbose {
		return ev
	}
	return ev[:min(1, len(ev))]
}

// side writes what the verdict of one run says.
func (p *printer) side(head, because string, ev []bundle.Evidence) {
	if because != "" {
		p.hang(head, plain, because)
		head = strings.Repeat(" ", len(head)+2)
	}
	for _, e := range p.perSide(ev) {
		p.hang(head, dim, place(e))
		head = strings.Repeat(" ", len(head))
	}
}

// changes writes the changes of a flip, ranked. What was told before is not
// told again.
func (p *printer) changes(f *Flip, told told) {
	cs := f.Changes
	if !p.o.Verbose {
		cs = cs[:min(len(cs), maxChanges)]
	}
	if other := told.elsewhere(cs, f.Condition); other != "" {
		p.para(sameAs + other)
	} else {
		p.ranked(cs, f.Condition, told)
	}
	if more := len(f.Changes) - len(cs); more > 0 {
		p.para(fmt.Sprintf("%s %d more: --verbose", p.or("…", "..."), more))
	}
}

func (p *printer) ranked(cs []Change, condition string, told told) {
	w := p.wording()
	for i := range cs {
		head, c := fmt.Sprintf("  %d. ", i+1), &cs[i]
		if other := told.before(c, condition); other != "" {
			p.one(head, plain, "(see "+other+") "+w.value(c.Kind)+" "+c.text(w))
			continue
		}
		p.change(head, c)
	}
}

func (p *printer) change(head string, c *Change) {
	w := p.wording()
	p.hang(head, plain, w.value(c.Kind)+" "+c.text(w))
	indent := strings.Repeat(" ", len(head))
	if p.o.Verbose {
		if c.explained() {
			p.hang(indent, plain, c.Summary)
		}
		if len(c.Feeds) > 0 {
			p.hang(indent, plain, "feeds "+strings.Join(c.Feeds, ", "))
		}
		if c.Harmless {
			p.hang(indent, plain, "harmless")
		}
	}
	for _, l := range marked(c.shows(p.o.Verbose), p.o.Verbose) {
		p.hang(indent+l.mark, dim, l.text)
	}
	p.diff(indent, c.Diff)
}

// diff writes a unified diff; a line wider than the page is cut, or, when all
// is asked for, broken.
func (p *printer) diff(indent, text string) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		return
	}
	width := p.o.Width - len(indent)
	for i, l := range lines {
		if i == maxDiff && !p.o.Verbose {
			p.line(indent + fmt.Sprintf("%s %s more: --verbose", p.or("…", "..."), count(len(lines)-i, "line")))
			return
		}
		s := diffStyle(i, l)
		if !p.o.Verbose {
			p.line(indent + p.paint(s, strings.TrimRight(ansi.Truncate(l, width, p.or("…", "~")), " ")))
			continue
		}
		for part := range strings.SplitSeq(ansi.Hardwrap(l, width, true), "\n") {
			p.line(indent + p.paint(s, strings.TrimRight(part, " ")))
		}
	}
}

// diffStyle is the colour of line i of a unified diff; the first two name files.
func diffStyle(i int, line string) style {
	switch {
	case i < 2 && (strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "+++ ")):
		return bold
	case line[0] == '+':
		return green
	case line[0] == '-':
		return red
	case line[0] == '@':
		return dim
	}
	return plain
}

// compact writes flips that need no section, one line each.
func (p *printer) compact(flips []*Flip) {
	if len(flips) == 0 {
		return
	}
	p.line("")
	p.line(p.paint(bold, "also flipped") + " (--verbose for the reasons)")
	wide := 0
	for _, f := range flips {
		wide = max(wide, ansi.StringWidth(p.short(f.Condition)))
	}
	for _, f := range flips {
		p.one("  "+pad(p.short(f.Condition), wide)+"  "+p.paint(f.style(), pad(f.turn("->"), len("unknown -> pass")))+"  ", plain, f.short(p.wording()))
	}
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-ansi.StringWidth(s)))
}

// kinds writes the other differences, one line a kind.
func (p *printer) kinds(ks []kind) {
	wide, digits := 0, 1
	for i := range ks {
		wide = max(wide, ansi.StringWidth(p.short(ks[i].name)))
		digits = max(digits, len(fmt.Sprint(ks[i].count())))
	}
	for i := range ks {
		k := &ks[i]
		text, s := k.first(p.wording()), plain
		if text == "" {
			text, s = "not listed", dim
		}
		p.one(fmt.Sprintf("  %s  %*d  ", pad(p.short(k.name), wide), digits, k.count()), s, text)
	}
}

// listed writes the other differences in full.
func (p *printer) listed(ks []kind) {
	for i := range ks {
		k := &ks[i]
		p.hang("  ", bold, fmt.Sprintf("%s, %d", k.name, k.count()))
		for _, c := range k.changes {
			p.change("    ", c)
		}
		if k.folded > 0 {
			p.hang("    ", dim, fmt.Sprintf("%d not listed", k.folded))
		}
	}
}

func every(flips []Flip) []*Flip {
	all := make([]*Flip, len(flips))
	for i := range flips {
		all[i] = &flips[i]
	}
	return all
}
