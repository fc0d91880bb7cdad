package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"

	"forensics/analyzers/bundle"
)

// Options say what the text is written for.
type Options struct {
	Width   int  // columns; 0 means 100
	Colour  bool // the reader's terminal shows colours
	ASCII   bool // the reader's terminal shows nothing but ASCII
	Verbose bool // all evidence, what would decide unknowns, artifacts
}

const (
	maxQuotes   = 3 // quoted lines below a cause
	maxProblems = 6 // notes below a run
)

// WriteText writes r for a person at a terminal.
func WriteText(w io.Writer, r *Report, o Options) error {
	p := newPrinter(o)
	r = mapped(r, p.clean)
	if len(r.Runs) > 1 {
		p.runs(r.Runs)
		p.matrix(r.Runs)
	}
	for i := range r.Runs {
		p.run(&r.Runs[i], i+1, len(r.Runs))
	}
	for _, n := range r.Trouble {
		p.item("TROUBLE", red, problem(n))
	}
	for _, n := range r.Problems {
		p.item("note", yellow, problem(n))
	}
	if p.err != nil {
		return fmt.Errorf("report: %w", p.err)
	}
	_, err := w.Write(p.b.Bytes())
	return err
}

// style is the parameter of an SGR sequence.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "1;31"
	green  style = "32"
	yellow style = "33"
)

// printer lays text out. What it is given is clean already.
type printer struct {
	b     bytes.Buffer
	o     Options
	clean func(string) string
	err   error
}

func newPrinter(o Options) *printer {
	if o.Width <= 0 {
		o.Width = 100
	}
	o.Width = max(o.Width, 60)
	p := &printer{o: o, clean: Clean}
	if o.ASCII {
		p.clean = ascii
	}
	return p
}

func (p *printer) paint(s style, text string) string {
	if !p.o.Colour || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[m"
}

// or returns the sign for terminals that show it, else its ASCII stand-in.
func (p *printer) or(sign, plain string) string {
	if p.o.ASCII {
		return plain
	}
	return sign
}

func (p *printer) dash() string { return p.or("—", "-") }

// mark returns the sign of a verdict and its style.
func (p *printer) mark(v *Verdict) (string, style) {
	switch {
	case v == nil:
		return "", plain
	case v.Conflict:
		return "!", yellow
	case v.Status == Pass:
		return p.or("✓", "+"), green
	case v.Status == Fail:
		return p.or("✗", "x"), red
	}
	return p.or("·", "."), dim
}

func (p *printer) line(s string) {
	p.b.WriteString(strings.TrimRight(s, " "))
	p.b.WriteByte('\n')
}

// labelWidth is where the text of an item starts.
const labelWidth = 11

// item writes a label and text that hangs beside it.
func (p *printer) item(label string, s style, text string) {
	lines := wrap(text, p.o.Width-2-labelWidth)
	for i, l := range lines {
		head := strings.Repeat(" ", labelWidth)
		if i == 0 {
			head = p.paint(s, label) + strings.Repeat(" ", max(1, labelWidth-ansi.StringWidth(label)))
		}
		p.line("  " + head + l)
	}
}

// para writes text across the page.
func (p *printer) para(text string) {
	for i, l := range wrap(text, p.o.Width-4) {
		p.line(strings.Repeat(" ", 2+2*min(i, 1)) + l)
	}
}

// quotes writes the first n pieces of evidence, below an item.
func (p *printer) quotes(ev []bundle.Evidence, n int) {
	const indent = labelWidth + 4
	for _, e := range ev[:min(n, len(ev))] {
		for i, l := range wrap(at(e)+": "+e.Quote, p.o.Width-indent-2) {
			head := strings.Repeat(" ", indent)
			if i > 0 {
				head += "  "
			}
			p.line(head + p.paint(dim, l))
		}
	}
	if len(ev) > n {
		p.line(strings.Repeat(" ", labelWidth+4) + fmt.Sprintf("and %d more (--verbose)", len(ev)-n))
	}
}

func (p *printer) maxQuotes() int {
	if p.o.Verbose {
		return int(^uint(0) >> 1)
	}
	return maxQuotes
}

// run writes all about one run.
func (p *printer) run(r *Run, n, of int) {
	p.heading(r, n, of)
	for i := range r.Causes {
		p.cause(r, &r.Causes[i])
	}
	if len(r.Causes) == 0 {
		p.item("no cause", bold, r.withoutCause())
	}
	for i := range r.Observer {
		c := &r.Observer[i]
		p.item("OBSERVER", yellow, c.Condition+" "+p.dash()+" "+c.Because)
		p.quotes(c.Evidence, p.maxQuotes())
	}
	for i := range r.Contradictions {
		c := &r.Contradictions[i]
		p.item("CONFLICT", yellow, c.text())
		p.quotes(c.Evidence, max(2, p.maxQuotes()))
	}
	p.despite(r)
	p.problems(r.Problems)
	p.line("")
	p.verdicts(r)
	if p.o.Verbose {
		p.details(r)
	}
	p.line("")
}

func (p *printer) heading(r *Run, n, of int) {
	number := ""
	if of > 1 {
		number = fmt.Sprintf("[%d] ", n)
	}
	name := r.Path
	if name == "" {
		name = r.ID
	}
	for i, l := range wrap(number+name, p.o.Width-2) {
		if i > 0 {
			l = "  " + l
		}
		p.line(p.paint(bold, l))
	}
	facts := []string{r.started(), "reached " + r.Stage}
	if r.Profile != "" {
		facts = append(facts, "profile "+r.Profile)
	}
	p.para(strings.Join(facts, ", "))
	p.para(r.summary())
	p.line("")
}

// withoutCause says what it means that no cause is named.
func (r *Run) withoutCause() string {
	n := r.count()
	switch {
	case n[Fail] > len(r.Observer):
		return "conditions failed, and none is known to come first"
	case n[Fail] > 0:
		return fmt.Sprintf("no condition of the guest failed; %d unknown", n[Unknown])
	case n[Pass] == 0:
		return fmt.Sprintf("no condition failed; all %d are unknown: nothing here decides any", n[Unknown])
	}
	return fmt.Sprintf("no condition failed; %d unknown", n[Unknown])
}

func (p *printer) cause(r *Run, c *Cause) {
	p.item("CAUSE", red, c.Condition+" "+p.dash()+" "+c.Because)
	p.quotes(c.Evidence, p.maxQuotes())
	if len(c.Explains) > 0 {
		p.item("", plain, "explains: "+strings.Join(c.Explains, ", "))
	}
	if v := r.verdict(c.Condition); v != nil && v.Remedy != "" {
		p.item("", plain, "remedy: "+v.Remedy)
	}
	if len(c.Unproven) > 0 {
		p.item("", plain, "could lie earlier (unknown): "+strings.Join(c.Unproven, ", "))
	}
}

func (c *Contradiction) text() string {
	s := strings.TrimSpace(c.Fact + " " + c.Subject)
	if c.Text == "" {
		return s
	}
	if s == "" {
		return c.Text
	}
	return s + ": " + c.Text
}

// despite writes passes in spite of failed needs: a false success looks so.
func (p *printer) despite(r *Run) {
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Status == Pass && len(v.Despite) > 0 {
			p.item("DESPITE", yellow, v.despite())
		}
	}
}

func (v *Verdict) despite() string {
	return v.Condition + " passed although " + strings.Join(v.Despite, ", ") + " failed: is the success real?"
}

func problem(n bundle.Problem) string {
	if n.Path == "" {
		return n.Text
	}
	return n.Path + ": " + n.Text
}

func (p *printer) problems(ps []bundle.Problem) {
	for i, n := range ps {
		if i == maxProblems && !p.o.Verbose {
			p.item("note", yellow, fmt.Sprintf("and %d more (--verbose)", len(ps)-i))
			return
		}
		p.item("note", yellow, problem(n))
	}
}

// verdicts writes the table of conditions. Unknowns about which nothing is to
// be said share a line below it.
func (p *printer) verdicts(r *Run) {
	var rows [][]string
	var silent []string
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Status == Unknown && !v.Conflict && len(v.Evidence) == 0 {
			silent = append(silent, v.Condition)
			continue
		}
		sign, s := p.mark(v)
		where := ""
		if len(v.Evidence) > 0 {
			where = at(v.Evidence[0])
		}
		rows = append(rows, []string{p.paint(s, sign+" "+v.word()), v.Condition, v.Because, where})
	}
	p.table([]string{"status", "condition", "because", "evidence"}, rows, 2, 3)
	if len(silent) > 0 {
		sign, s := p.mark(&Verdict{Status: Unknown})
		p.item(sign+" unknown", s, strings.Join(silent, ", "))
	}
}

// details writes what --verbose adds.
func (p *printer) details(r *Run) {
	p.line("")
	p.line("  " + p.paint(bold, "what would decide the unknowns"))
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Status != Unknown {
			continue
		}
		p.entry(v.Condition + " " + p.dash() + " " + v.Title)
		for _, n := range v.Needed {
			p.sub(n)
		}
	}
	p.line("")
	p.line("  " + p.paint(bold, "evidence"))
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; len(v.Evidence) > 0 {
			p.entry(v.Condition + " " + v.word())
			for _, e := range v.Evidence {
				p.sub(at(e) + ": " + e.Quote)
			}
		}
	}
	p.artifacts(r)
}

func (p *printer) entry(s string) {
	for _, l := range wrap(s, p.o.Width-4) {
		p.line("    " + l)
	}
}

func (p *printer) sub(s string) {
	for i, l := range wrap(s, p.o.Width-8) {
		p.line("      " + strings.Repeat(" ", min(i, 1)*2) + p.paint(dim, l))
	}
}

func (p *printer) artifacts(r *Run) {
	var rows [][]string
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		rows = append(rows, []string{a.Kind, strconv.FormatInt(a.Size, 10), a.Path, a.unread()})
	}
	p.line("")
	p.table([]string{"kind", "bytes", "artifact", "not read because"}, rows, 2, 3)
}

// runs writes the list that gives the matrix its numbers.
func (p *printer) runs(rs []Run) {
	var rows [][]string
	same := map[string]int{}
	for i := range rs {
		same[rs[i].ID]++
	}
	for i := range rs {
		r := &rs[i]
		id := r.ID
		if same[id] > 1 {
			id = r.Path
		}
		rows = append(rows, []string{strconv.Itoa(i + 1), id, r.Stage, p.oneLine(r)})
	}
	p.table([]string{"#", "run", "reached", "cause"}, rows, 3, 1)
	p.line("")
}

// oneLine is the run's outcome in a few words.
func (p *printer) oneLine(r *Run) string {
	if len(r.Causes) > 0 {
		s := r.Causes[0].Condition + " " + p.dash() + " " + longPathRe.ReplaceAllString(r.Causes[0].Because, p.or("…", "~")+"/$1")
		return ansi.Truncate(s, p.o.Width*3/4, p.or("…", "~")) // the whole stands below
	}
	if len(r.Observer) > 0 {
		return "observer: " + r.Observer[0].Condition
	}
	if r.count()[Pass] == 0 {
		return "nothing decided"
	}
	return "none failed"
}

// longPathRe is a path whose directories would push what went wrong out of a
// summary.
var longPathRe = regexp.MustCompile(`/(?:[\w.+-]+/){2,}([\w.+-]+)`)

// matrix writes conditions down and runs across, in as many blocks as the
// width asks for.
func (p *printer) matrix(rs []Run) {
	conditions, dull := matrixRows(rs)
	w := 0
	for _, c := range conditions {
		w = max(w, ansi.StringWidth(p.short(c)))
	}
	per := max(1, (p.o.Width-4-w)/(1+len(strconv.Itoa(len(rs)))))
	for from := 0; from < len(rs) && len(conditions) > 0; from += per {
		p.block(rs, conditions, from, min(from+per, len(rs)))
	}
	if len(conditions) > 0 {
		p.line(fmt.Sprintf("  %s pass  %s fail  %s unknown  ! artifacts disagree", p.or("✓", "+"), p.or("✗", "x"), p.or("·", ".")))
	}
	if len(dull) > 0 {
		p.para("unknown in every run: " + strings.Join(dull, ", "))
	}
	p.line("")
}

func (p *printer) block(rs []Run, conditions []string, from, to int) {
	head := []string{"condition "}
	for i := from; i < to; i++ {
		head = append(head, strconv.Itoa(i+1))
	}
	var rows [][]string
	for _, c := range conditions {
		row := []string{p.short(c) + " "}
		for i := from; i < to; i++ {
			sign, s := p.mark(rs[i].verdict(c))
			row = append(row, p.paint(s, sign))
		}
		rows = append(rows, row)
	}
	p.grid(head, rows, " ")
}

// short bounds the name of a condition, so that the matrix has room for runs.
func (p *printer) short(condition string) string {
	return ansi.Truncate(condition, p.o.Width/3, p.or("…", "~"))
}

// matrixRows returns the conditions in catalogue order, apart from those that
// are unknown everywhere.
func matrixRows(rs []Run) (decided, dull []string) {
	var all []string
	known := map[string]bool{}
	for i := range rs {
		for j := range rs[i].Verdicts {
			v := &rs[i].Verdicts[j]
			if _, ok := known[v.Condition]; !ok {
				all = append(all, v.Condition)
			}
			known[v.Condition] = known[v.Condition] || v.Status != Unknown || v.Conflict
		}
	}
	for _, c := range all {
		if known[c] {
			decided = append(decided, c)
		} else {
			dull = append(dull, c)
		}
	}
	return decided, dull
}

// table writes rows below a header, as wide as the page at most. Column wide
// takes the width that the others leave; column long may be long as well.
func (p *printer) table(header []string, rows [][]string, wide, long int) {
	if len(rows) == 0 {
		return
	}
	p.fit(header, rows, wide, long)
	p.grid(header, rows, "  ")
}

// grid writes cells of any width, gap apart.
func (p *printer) grid(header []string, rows [][]string, gap string) {
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{Global: tw.AlignLeft},
		Padding:    tw.CellPadding{Global: tw.Padding{Left: tw.Empty, Right: gap, Overwrite: true}},
	}
	var b bytes.Buffer
	t := tablewriter.NewTable(&b,
		tablewriter.WithRendition(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.LinesNone},
		}),
		tablewriter.WithHeaderConfig(cells), tablewriter.WithRowConfig(cells),
		tablewriter.WithTrimSpace(tw.Off),
	)
	for i := range header {
		header[i] = p.paint(bold, header[i])
	}
	t.Header(header)
	p.err = errors.Join(p.err, t.Bulk(rows), t.Render())
	for l := range strings.Lines(b.String()) {
		p.line("  " + strings.TrimRight(l, " \n"))
	}
}

// fit wraps the cells so that the table is as wide as the page at most.
func (p *printer) fit(header []string, rows [][]string, wide, long int) {
	w := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, c := range row {
			w[i] = max(w[i], ansi.StringWidth(c))
		}
	}
	room := p.o.Width - 2 - 2*len(header)
	for i := range w {
		if i != wide && i != long {
			w[i] = min(w[i], p.o.Width/4)
			room -= w[i]
		}
	}
	w[long] = min(w[long], max(8, room/2, room-w[wide]))
	w[wide] = min(w[wide], max(8, room-w[long]))
	for _, row := range rows {
		for i, c := range row {
			if ansi.StringWidth(c) > w[i] {
				row[i] = strings.Join(wrap(c, w[i]), "\n")
			}
		}
	}
}
