// Package timing says how long the stages of a boot took, and which of them
// took far longer than they did in good runs.
//
// # Nouns
//
// A Clock is one way to tell time that an artifact holds: the recording of the
// console, the kernel's stamps, the journal's, the guest's own clock, the
// observer's log, durations that the observer wrote down. A Mark is a boot stage
// that was reached, at a time of one clock. A Span is something that lasted: a
// stage, the longest silence of a stage, the start of a unit. It is open when
// the record ended before it did: it lasted at least so long. Times are the
// marks and spans of one run. Expected is what several good runs show of each
// span: shortest, longest, and in how many. A Finding is a span far beyond that.
//
// # Invariants
//
//   - Times of two clocks are never subtracted from each other, and a span is
//     compared with spans of the same clock only. A clock that one side lacks
//     says nothing.
//   - A stage lasts from its own first text to that of another stage. What was
//     not shown (a console without kernel messages) is skipped on both sides: the
//     good runs are measured between the same two stages.
//   - A stage that a good run did not leave either (the shell, in most) is never
//     late, and a unit that failed, or that nobody saw the end of, is no measure
//     of how long it takes.
//   - The guest's clock may be set while it boots. A span of it that is longer than
//     an observer watched is dropped; a smaller jump stays unseen.
//   - A stamp of a harness is when it read, not when the guest wrote. So its log
//     gives only what it waited for: the first prompt of a login, of a shell. One
//     that matches its own echo gives too little for the shell.
//   - Silence on a recorded console is the absence of any byte, not of lines: a
//     start job that counts its seconds is not silent. In a log it lies between
//     entries. Behind the first command of a shell, on the kernel's clock behind
//     the start of systemd, and in a journal behind the login prompt and outside of
//     the unit's start, silence is nothing to wait for, and is not looked at.
//   - Exchanging two runs exchanges the sides of each change, and nothing else
//     but the sentences.
//
// # The rule
//
// A span is late when it lasted longer than
//
//	longest good × pace × (3 + 2/n) + 20 s
//
// where n is the number of good runs that show it.
//
// Pace is how much slower than the slowest good run the rest of this run was, on
// that clock: the median ratio of its other stages, weighted by how long they
// take, and at least 1. Software emulation on a busy machine, or another
// accelerator, makes everything slower by the same factor, and that is no news.
// A weighted median is not moved by another late stage, as a sum would be, nor
// by short stages, whose ratios are noise. Where the clock shows other stages of
// less than paceWeight seconds together, the next clock that shows more gives the
// pace, for a ratio has no clock; where none does, it is 1.
//
// The factor is for load that comes and goes within a boot: it slows one stage
// by two or three and leaves the others. The longest of n runs is itself a
// chance: where durations scatter by a factor of 1.5 (what boots under
// emulation show), 5 × one sample and 3.2 × the longest of ten are each passed
// by less than one healthy stage in 300. The 20 seconds are for stages that take
// next to nothing, where one stall of the host is a large factor; what makes
// boots hang waits for longer than that.
//
// A delay shows on several clocks and in what contains it. It is told once: the
// finest clock that both sides have of a part of the boot judges it, and a silence
// in a late stage or unit is told with that.
//
// Left out: silences in a harness's log (they are its own), stages behind the
// shell (when they show depends on what was asked), steps of a unit's work
// (their messages differ between runs), what systemd-analyze prints, a second
// boot in the same artifact, and a recording without its transcript.
package timing

import (
	"cmp"
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
	"forensics/analyzers/kernel"
	"forensics/analyzers/serial"
)

// Requires are the analyzers whose results Collect reads.
var Requires = []*analyzers.Analyzer{console.Analyzer, serial.Analyzer, commands.Analyzer, journal.Analyzer, kernel.Analyzer}

// Clock names what a time was told by.
type Clock string

// The clocks, the finest first. Each counts seconds from a start of its own.
const (
	Cast      Clock = "serial.cast" // the recording of the console
	Kernel    Clock = "kernel"      // stamps of printk
	Monotonic Clock = "journal"     // the journal's time since boot
	Harness   Clock = "harness"     // stamps of the observer's log
	Guest     Clock = "guest"       // the guest's clock, in journals and answers
	Metadata  Clock = "metadata"    // durations that the observer wrote down
)

var clocks = []Clock{Cast, Kernel, Monotonic, Harness, Guest, Metadata}

// What kind of thing lasted.
type What string

// The kinds of span.
const (
	Stage   What = "stage"   // a boot stage; the subject is one of serial.Stages, or "ssh"
	Silence What = "silence" // the longest within a stage or a unit's start, which is the subject
	Unit    What = "unit"    // a unit's start; the subject is its name
)

var whats = []What{Stage, Unit, Silence}

// powerOn is the stage before any text.
const powerOn = "none"

// Mark is a boot stage that was reached.
type Mark struct {
	Clock    Clock
	Stage    string  // powerOn is the start of the machine, or of the wait for it
	At       float64 // seconds
	Evidence []bundle.Evidence
}

// Span is something that lasted.
type Span struct {
	Clock   Clock
	What    What
	Subject string
	Until   string  // the stage that ended a stage, or that of a silence; else ""
	Seconds float64 // at least so many when open
	Open    bool    // the record ended first
	Failed  bool    // the unit's start failed
	// Evidence shows the start and, behind it, the end. Of a silence the first is
	// the line before it.
	Evidence []bundle.Evidence
}

// Times are what one run shows of its time.
type Times struct {
	Marks []Mark // by clock, then in order of time; a stage stands once a clock
	Spans []Span // silences and units, by clock, kind and subject
	// Ends are how long the record went on, for clocks that tell.
	Ends []Mark
	// Stage is the last that the console shows, Last its last line; "" and without
	// a path where there was no console.
	Stage string
	Last  bundle.Evidence
}

// Collect takes the times from what the analyzers of Requires read, and from the
// recordings and metadata among the artifacts.
func Collect(p *analyzers.Pass) *Times {
	t := &Times{}
	t.last(p)
	t.casts(p)
	t.kernel(p)
	t.journals(p)
	t.answers(p)
	t.harness(p)
	t.metadata(p)
	t.order()
	t.detach()
	return t
}

// detach gives t strings of its own: times outlive the artifacts.
func (t *Times) detach() {
	all := func(evs []bundle.Evidence) {
		for i := range evs {
			evs[i] = evs[i].Detached()
		}
	}
	for _, ms := range [][]Mark{t.Marks, t.Ends} {
		for i := range ms {
			ms[i].Stage = strings.Clone(ms[i].Stage)
			all(ms[i].Evidence)
		}
	}
	for i := range t.Spans {
		s := &t.Spans[i]
		s.Subject, s.Until = strings.Clone(s.Subject), strings.Clone(s.Until)
		all(s.Evidence)
	}
	t.Last = t.Last.Detached()
}

// last takes the console's last line.
func (t *Times) last(p *analyzers.Pass) {
	for _, b := range serial.From(p) {
		for _, s := range serial.Stages {
			if _, ok := b.Reached[s]; ok && stageIndex(s) >= stageIndex(t.Stage) {
				t.Stage, t.Last = s, b.Last
			}
		}
	}
}

// stageIndex orders stages; those of no boot ("ssh") come last, none at all
// first.
func stageIndex(s string) int {
	if s == "" {
		return -1
	}
	if i := slices.Index(serial.Stages, s); i >= 0 {
		return i
	}
	return len(serial.Stages)
}

// order sorts, and drops marks that stand against the order of boot: the kernel
// may print its first line when systemd runs, and did not start then.
func (t *Times) order() {
	t.Marks = slices.DeleteFunc(t.Marks, func(m Mark) bool { return !sane(m.At) })
	t.Ends = slices.DeleteFunc(t.Ends, func(m Mark) bool { return !sane(m.At) })
	t.Spans = slices.DeleteFunc(t.Spans, t.jumped)
	slices.SortStableFunc(t.Marks, func(a, b Mark) int {
		return cmp.Or(clockOrder(a.Clock, b.Clock), cmp.Compare(stageIndex(a.Stage), stageIndex(b.Stage)))
	})
	kept := t.Marks[:0:0]
	for _, m := range slices.Backward(t.Marks) {
		if n := len(kept); n == 0 || kept[n-1].Clock != m.Clock || m.At <= kept[n-1].At && m.Stage != kept[n-1].Stage {
			kept = append(kept, m)
		}
	}
	slices.Reverse(kept)
	t.Marks = kept
	t.silences()
	slices.SortStableFunc(t.Spans, func(a, b Span) int { return spanOrder(&a, &b) })
	slices.SortStableFunc(t.Ends, func(a, b Mark) int { return clockOrder(a.Clock, b.Clock) })
}

// jumped reports whether s lasted longer than the observer watched: the guest's
// clock was set meanwhile.
func (t *Times) jumped(s Span) bool {
	watched := 0.0
	for _, e := range t.Ends {
		watched = max(watched, e.At)
	}
	return s.Clock == Guest && watched > 0 && s.Seconds > watched*maxDrift+grain
}

// maxDrift is how much faster than the host's a guest's clock may run: one that
// lost ticks under load catches up.
const maxDrift = 1.5

// silences says of each in a stage what ended the stage: where the next one is
// not shown, as with another boot loader, a silence of that is in this one.
func (t *Times) silences() {
	stages := t.Stages()
	t.Spans = slices.DeleteFunc(t.Spans, func(s Span) bool {
		return s.What == Silence && slices.Contains(serial.Stages, s.Subject) &&
			!slices.ContainsFunc(stages, func(o Span) bool { return o.Clock == s.Clock && o.Subject == s.Subject })
	})
	for i := range t.Spans {
		s := &t.Spans[i]
		for _, o := range stages {
			if s.What == Silence && o.Clock == s.Clock && o.Subject == s.Subject {
				s.Until = o.Until
			}
		}
	}
}

func clockOrder(a, b Clock) int {
	return cmp.Compare(slices.Index(clocks, a), slices.Index(clocks, b))
}

func spanOrder(a, b *Span) int {
	return cmp.Or(
		cmp.Compare(slices.Index(whats, a.What), slices.Index(whats, b.What)),
		clockOrder(a.Clock, b.Clock),
		cmp.Compare(stageIndex(a.Subject), stageIndex(b.Subject)),
		cmp.Compare(a.Subject, b.Subject),
		cmp.Compare(stageIndex(a.Until), stageIndex(b.Until)),
	)
}

// Stages are the boot stages as spans, each until the next that was reached on
// that clock. The last is open, where the clock tells how long the record went
// on.
func (t *Times) Stages() []Span {
	var spans []Span
	for i, m := range t.Marks {
		if i+1 < len(t.Marks) && t.Marks[i+1].Clock == m.Clock {
			spans = append(spans, between(m, t.Marks[i+1]))
		} else if end := t.end(m.Clock); end != nil && end.At >= m.At {
			s := between(m, *end)
			s.Until, s.Open = "", true
			spans = append(spans, s)
		}
	}
	return spans
}

func between(from, to Mark) Span {
	return Span{
		Clock: from.Clock, What: Stage, Subject: from.Stage, Until: to.Stage, Seconds: to.At - from.At,
		Evidence: slices.Concat(from.Evidence, to.Evidence),
	}
}

func (t *Times) end(c Clock) *Mark {
	for i := range t.Ends {
		if t.Ends[i].Clock == c {
			return &t.Ends[i]
		}
	}
	return nil
}

// mark returns when stage was reached, nil when the clock does not show it.
func (t *Times) mark(c Clock, stage string) *Mark {
	for i := range t.Marks {
		if t.Marks[i].Clock == c && t.Marks[i].Stage == stage {
			return &t.Marks[i]
		}
	}
	return nil
}

// span returns the silence or unit, nil when the clock does not show it.
func (t *Times) span(c Clock, w What, subject string) *Span {
	for i := range t.Spans {
		if s := &t.Spans[i]; s.Clock == c && s.What == w && s.Subject == subject {
			return s
		}
	}
	return nil
}

// keep adds s, or puts it in the place of what is known of the same thing: what
// ended says more than what did not, then the longer one does.
func (t *Times) keep(s Span) {
	old := t.span(s.Clock, s.What, s.Subject)
	switch {
	case !sane(s.Seconds):
	case old == nil:
		t.Spans = append(t.Spans, s)
	case old.Open && !s.Open || old.Open == s.Open && s.Seconds > old.Seconds:
		*old = s
	}
}

func sane(seconds float64) bool { return seconds >= 0 && seconds <= maxSeconds }

// maxSeconds bounds a time: no boot lasts a day, a clock that was set may jump
// by years.
const maxSeconds = 24 * 60 * 60

// Under returns t with its evidence below a directory, to tell good runs apart.
func (t *Times) Under(dir string) *Times {
	u := *t
	u.Marks, u.Spans, u.Ends = slices.Clone(t.Marks), slices.Clone(t.Spans), slices.Clone(t.Ends)
	for i := range u.Marks {
		u.Marks[i].Evidence = bundle.Under(dir, u.Marks[i].Evidence)
	}
	for i := range u.Spans {
		u.Spans[i].Evidence = bundle.Under(dir, u.Spans[i].Evidence)
	}
	for i := range u.Ends {
		u.Ends[i].Evidence = bundle.Under(dir, u.Ends[i].Evidence)
	}
	return &u
}
