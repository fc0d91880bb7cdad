package timing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/serial"
	"forensics/cmd/forensics/internal/report"
)

// The rule's numbers: see the package comment.
const (
	slack      = 20.0 // seconds
	loadFactor = 3.0
	fewRuns    = 2.0
	paceWeight = 5.0 // seconds
	grain      = 1.0 // seconds, of the guest's clock in the short form of journals
)

// Range is what good runs show of one span.
type Range struct {
	Clock   Clock
	What    What
	Subject string
	Until   string // the stage that ended a stage; "" for whatever came first
	// Min and Max are seconds, N in how many runs the clock showed it.
	Min, Max float64
	N        int
	Slowest  []bundle.Evidence // of the run that took Max
}

// Expected is what good runs show. The zero value expects nothing.
type Expected struct {
	Runs int
	// Ranges are sorted by kind, clock and subject. Of the stages they hold every
	// pair that a run reached one after the other.
	Ranges []Range
	// kept are stages, by clock, that a run was in when its record ended.
	kept []Mark
}

// Expect takes from good runs how long each span may last.
func Expect(good []*Times) *Expected {
	e := &Expected{Runs: len(good)}
	for _, t := range good {
		for i, from := range t.Marks {
			for _, to := range t.Marks[i+1:] {
				if to.Clock == from.Clock {
					e.add(between(from, to))
				}
			}
		}
		for _, s := range t.Stages() {
			if s.Open {
				e.kept = append(e.kept, Mark{Clock: s.Clock, Stage: s.Subject})
				continue
			}
			s.Until = ""
			e.add(s)
		}
		for _, s := range t.Spans {
			e.addSpan(t, s)
		}
	}
	slices.SortStableFunc(e.Ranges, func(a, b Range) int { return spanOrder(a.key(), b.key()) })
	return e
}

func (r Range) key() *Span {
	return &Span{Clock: r.Clock, What: r.What, Subject: r.Subject, Until: r.Until}
}

// addSpan adds a silence or a unit. How long a good start of a unit takes, one
// that failed or that nobody saw the end of does not tell. A stage that a run
// never left was silent as far as it goes, so a silence in it is compared with
// any of that stage.
func (e *Expected) addSpan(t *Times, s Span) {
	if u := t.span(s.Clock, Unit, s.Subject); u != nil && (u.Failed || u.Open) {
		return
	}
	e.add(s)
	if s.Until != "" {
		s.Until = ""
		e.add(s)
	}
}

func (e *Expected) add(s Span) {
	r := e.Range(&s)
	if r == nil {
		e.Ranges = append(e.Ranges, Range{Clock: s.Clock, What: s.What, Subject: s.Subject, Until: s.Until, Min: s.Seconds, Max: s.Seconds, N: 1, Slowest: s.Evidence})
		return
	}
	r.N++
	r.Min = min(r.Min, s.Seconds)
	if s.Seconds > r.Max {
		r.Max, r.Slowest = s.Seconds, s.Evidence
	}
}

// Range returns what the good runs show of the same thing as s, nil when they
// show nothing of it.
func (e *Expected) Range(s *Span) *Range {
	for i := range e.Ranges {
		if r := &e.Ranges[i]; r.Clock == s.Clock && r.What == s.What && r.Subject == s.Subject && r.Until == s.Until {
			return r
		}
	}
	return nil
}

// usual reports whether a good run, too, was in the stage when its record ended.
func (e *Expected) usual(s *Span) bool {
	return slices.ContainsFunc(e.kept, func(m Mark) bool { return m.Clock == s.Clock && m.Stage == s.Subject })
}

// Finding is a span that lasted far longer than in any good run.
type Finding struct {
	Span
	Expected Range
	Pace     float64 // of the rest of the run, at least 1; see the package comment
	// Stood is the boot stage that an open stage stood in, by the console: the
	// observer's clock tells only that no login prompt came.
	Stood string
	// After is the last line before the silence that is in it, without a path
	// where none is known.
	After bundle.Evidence
}

// Late returns what of t lasted far longer than expected: stages, then units,
// then silences, by clock and in order of boot.
func (e *Expected) Late(t *Times) []Finding {
	var fs []Finding
	all := slices.Concat(t.Stages(), t.Spans)
	slices.SortStableFunc(all, func(a, b Span) int { return spanOrder(&a, &b) })
	for i := range all {
		s := &all[i]
		r := e.Range(s)
		if r == nil || e.judged(t, s) || s.What == Stage && s.Open && e.usual(s) {
			continue
		}
		pace := e.pace(t, s)
		if s.Seconds <= limit(r, pace) || slices.ContainsFunc(fs, func(f Finding) bool { return f.tells(s) }) {
			continue
		}
		f := Finding{Span: *s, Expected: *r, Pace: pace}
		f.explain(t)
		fs = append(fs, f)
	}
	return fs
}

// limit is the longest that is no news, in seconds.
func limit(r *Range, pace float64) float64 {
	longest := r.Max
	if r.Clock == Guest {
		longest += grain
	}
	return longest*pace*(loadFactor+fewRuns/float64(r.N)) + slack
}

// pace is how much slower than the slowest good run the rest of t was: by the
// clock of s, or where that shows too little by the finest that shows enough.
func (e *Expected) pace(t *Times, s *Span) float64 {
	for _, c := range append([]Clock{s.Clock}, clocks...) {
		if p, ok := e.paceOn(c, t, s); ok {
			return p
		}
	}
	return 1
}

// paceOn is the pace on clock c, without the stages that s is or is in.
func (e *Expected) paceOn(c Clock, t *Times, s *Span) (float64, bool) {
	type ratio struct{ value, weight float64 }
	var ratios []ratio
	sum := 0.0
	for _, o := range t.Stages() {
		r := e.Range(&o)
		if r == nil || o.Clock != c || o.Open || r.Max <= 0 || s.What != Unit && s.overlaps(&o) {
			continue
		}
		ratios = append(ratios, ratio{o.Seconds / r.Max, r.Max})
		sum += r.Max
	}
	if sum < paceWeight {
		return 1, false
	}
	slices.SortFunc(ratios, func(a, b ratio) int { return cmp.Compare(a.value, b.value) })
	below := 0.0
	for _, r := range ratios {
		if below += r.weight; below >= sum/2 {
			return max(1, r.value), true
		}
	}
	return 1, false
}

// judged reports whether a finer clock than that of s shows the whole of the same
// on both sides: then that one judges.
func (e *Expected) judged(t *Times, s *Span) bool {
	for _, c := range clocks[:slices.Index(clocks, s.Clock)] {
		if s.What != Stage {
			o := t.span(c, s.What, s.Subject)
			if o != nil && !o.Open && e.Range(o) != nil {
				return true
			}
			continue
		}
		from, to := s.stages()
		for _, o := range t.Stages() {
			first, behind := o.stages()
			if o.Clock == c && !o.Open && e.Range(&o) != nil && first <= from && from < behind {
				from = behind
			}
		}
		if from >= to {
			return true
		}
	}
	return false
}

// tells reports whether f tells of s already: a part of the boot that is late by
// a finer clock, too, or a silence in what is late.
func (f *Finding) tells(s *Span) bool {
	switch {
	case f.What == Stage && s.What != Unit:
		return (s.What == Silence || s.Clock != f.Clock) && s.overlaps(&f.Span)
	case f.What == Stage:
		return false
	}
	return f.Subject == s.Subject
}

// overlaps reports whether two stages, or a stage and a silence, are of the same
// part of the boot.
func (s *Span) overlaps(o *Span) bool {
	first, behind := s.stages()
	from, to := o.stages()
	return first < to && from < behind
}

// stages returns the indexes of the stage and of the one behind it. An open one
// reaches to the end; a silence takes a part of its stage, a unit of no stage.
func (s *Span) stages() (from, to int) {
	from, to = stageIndex(s.Subject), stageIndex(s.Until)
	switch {
	case s.What == Silence:
		to = from + 1
	case s.What == Unit:
		return 0, 0
	case s.Open:
		to = len(serial.Stages) + 1
	}
	return from, to
}

// explain finds the last line before the longest silence in a late stage, and
// where the boot stood.
func (f *Finding) explain(t *Times) {
	if f.What == Silence {
		f.After = f.Evidence[0]
		return
	}
	if q := t.span(f.Clock, Silence, f.Subject); q != nil && len(q.Evidence) > 1 && q.Seconds > f.Seconds/2 {
		f.After = q.Evidence[0]
	} else if f.What == Stage && f.Open && t.Last.Path != "" {
		f.After = t.Last
	}
	if f.What == Stage && f.Open && f.Subject == powerOn {
		f.Stood = t.Stage
	}
	if f.After.Path != "" && !slices.Contains(f.Evidence, f.After) {
		f.Evidence = append(slices.Clip(f.Evidence), f.After)
	}
}

// Change gives the finding as a change from the good runs to the run.
func (f *Finding) Change() report.Change {
	c := f.change(report.SideFrom, report.SideTo)
	c.From, c.To = f.Expected.String(), f.lasted()
	c.Summary = fmt.Sprintf("%s %s (%s)%s", f.subject(), f.verb(f.lasted()), f.Expected.before(), f.where())
	return c
}

// mirrored gives the finding as a change from the run to a good one.
func (f *Finding) mirrored() report.Change {
	c := f.change(report.SideTo, report.SideFrom)
	c.From, c.To = f.lasted(), f.Expected.String()
	c.Summary = fmt.Sprintf("%s %s (%s before%s)", f.subject(), f.verb(seconds(f.Expected.Max)), f.lasted(), f.where())
	return c
}

func (f *Finding) change(good, late string) report.Change {
	c := report.Change{Kind: "stage.time", Subject: f.subject()}
	for _, ev := range f.Expected.Slowest {
		c.Evidence = append(c.Evidence, report.SideEvidence{Side: good, Evidence: ev})
	}
	for _, ev := range f.Evidence {
		c.Evidence = append(c.Evidence, report.SideEvidence{Side: late, Evidence: ev})
	}
	slices.SortStableFunc(c.Evidence, func(a, b report.SideEvidence) int { return cmp.Compare(a.Side, b.Side) })
	return c
}

// subject names the span. Stages have names of their own; the time before the
// first is that to the stage that ended it.
func (f *Finding) subject() string {
	switch {
	case f.What == Silence:
		return "silence in " + f.Subject
	case f.What == Unit:
		return "start of " + f.Subject
	case f.Subject == powerOn && f.Expected.Until != "":
		return "boot until " + f.Expected.Until
	case f.Subject == powerOn:
		return "boot until the first prompt"
	}
	return f.Subject
}

func (f *Finding) verb(lasted string) string {
	if f.What == Silence {
		return "lasted " + lasted
	}
	return "took " + lasted
}

func (f *Finding) lasted() string {
	if f.Open {
		return "at least " + seconds(f.Seconds)
	}
	return seconds(f.Seconds)
}

// where says where the boot stood, and what the last line was.
func (f *Finding) where() string {
	s := ""
	if f.Stood != "" {
		s += ", standing in " + f.Stood
	}
	if f.After.Quote != "" {
		s += ", after: " + clause(strings.TrimPrefix(f.After.Quote, "MESSAGE="))
	}
	return s
}

// maxClause is how many characters of a quote a sentence holds.
const maxClause = 100

func clause(s string) string {
	if rs := []rune(s); len(rs) > maxClause {
		return string(rs[:maxClause-1]) + "…"
	}
	return s
}

// String is the range in words.
func (r *Range) String() string {
	if r.N == 1 {
		return seconds(r.Max)
	}
	return fmt.Sprintf("%s to %s in %d runs", strings.TrimSuffix(seconds(r.Min), " s"), seconds(r.Max), r.N)
}

func (r *Range) before() string {
	if r.N == 1 {
		return r.String() + " before"
	}
	return r.String()
}

// seconds prints a duration as exactly as it can matter.
func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}

// Compare compares two runs by the same rule, each with the other as the one
// good run. Compare(b, a) is the mirror image of Compare(a, b), in the same
// order.
func Compare(from, to *Times) []report.Change {
	type change struct {
		span Span
		report.Change
	}
	var cs []change
	for _, f := range Expect([]*Times{from}).Late(to) {
		cs = append(cs, change{f.Span, f.Change()})
	}
	for _, f := range Expect([]*Times{to}).Late(from) {
		cs = append(cs, change{f.Span, f.mirrored()})
	}
	slices.SortStableFunc(cs, func(a, b change) int { return spanOrder(&a.span, &b.span) })
	var out []report.Change
	for _, c := range cs {
		out = append(out, c.Change)
	}
	return out
}
