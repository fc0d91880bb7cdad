package timing

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/journal"
	"forensics/analyzers/kernel"
)

// kernel takes the kernel's clock from the log that shows the most stages.
func (t *Times) kernel(p *analyzers.Pass) {
	var best *ring
	for _, l := range kernel.From(p) {
		if r := readRing(l); len(r.marks) > 1 && (best == nil || len(r.marks) > len(best.marks)) {
			best = r
		}
	}
	if best == nil {
		return
	}
	t.Marks = append(t.Marks, best.marks...)
	for _, s := range best.silences {
		t.keep(s)
	}
}

// kernelMarks are the kernel's messages, and those that others write to its ring
// buffer, at which a stage begins.
var kernelMarks = []struct {
	stage string
	re    *regexp.Regexp
}{
	{"kernel", regexp.MustCompile(`^Linux version \d`)},
	{"stage-1", regexp.MustCompile(`^Run /init as init process`)}, // the initrd's
	{"stage-2", regexp.MustCompile(`^stage-2-init: `)},
	{"systemd", regexp.MustCompile(`^systemd\[1\]: systemd \d+\S* running in system mode`)},
}

// ring is what a log of the kernel shows, until systemd runs: from then on the
// kernel has little to say, and its silence means nothing.
type ring struct {
	marks    []Mark
	silences []Span
}

func readRing(l *kernel.Log) *ring {
	r := &ring{}
	var last *kernel.Message
	for i := range l.Messages {
		m := &l.Messages[i]
		if !sane(m.Seconds) {
			continue
		}
		if last != nil && m.Seconds < last.Seconds-backwards {
			break // another boot, or the same log shown again
		}
		if last != nil && len(r.marks) > 0 {
			r.silence(m.Seconds-last.Seconds, last, m)
		}
		last = m
		if r.mark(m); len(r.marks) > 0 && r.marks[len(r.marks)-1].Stage == "systemd" {
			break
		}
	}
	return r
}

// backwards is by how many seconds stamps of one boot may go back: messages of
// two processors, and lines of journald's that came through the ring buffer.
const backwards = 1

func (r *ring) mark(m *kernel.Message) {
	for _, k := range kernelMarks {
		if k.re.MatchString(m.Text) && (len(r.marks) == 0 || stageIndex(k.stage) > stageIndex(r.marks[len(r.marks)-1].Stage)) {
			r.marks = append(r.marks, Mark{Clock: Kernel, Stage: k.stage, At: m.Seconds, Evidence: []bundle.Evidence{m.Evidence}})
		}
	}
}

func (r *ring) silence(seconds float64, from, to *kernel.Message) {
	s := Span{Clock: Kernel, What: Silence, Subject: r.marks[len(r.marks)-1].Stage, Seconds: seconds, Evidence: []bundle.Evidence{from.Evidence, to.Evidence}}
	for i := range r.silences {
		if r.silences[i].Subject == s.Subject {
			if r.silences[i].Seconds < seconds {
				r.silences[i] = s
			}
			return
		}
	}
	r.silences = append(r.silences, s)
}

// journals takes the start of the unit and, where entries tell the time since
// boot, when systemd ran and the login prompt was offered.
func (t *Times) journals(p *analyzers.Pass) {
	unit := unitName(p)
	for _, l := range journal.From(p) {
		t.boot(l)
	}
	if unit == "" {
		return
	}
	desc := description(p, unit)
	for _, l := range journal.From(p) {
		(&starts{t: t, unit: unit, desc: cmp.Or(desc, only(l, unit), p.Params.One("unit-description")), log: l}).read()
	}
}

// description returns the unit's description: systemd writes that, not the
// name. A journal in fields says which unit a message is about, the status has
// both. It is "" where neither is there.
func description(p *analyzers.Pass, unit string) string {
	for _, l := range journal.From(p) {
		for i := range l.Entries {
			if e := &l.Entries[i]; e.Unit == unit && manager(e) {
				if m := startingRe.FindStringSubmatch(e.Message); m != nil {
					return m[1]
				}
			}
		}
	}
	for _, d := range commands.From(p) {
		for _, c := range d.Commands {
			for i := range c.Answer {
				if m := headOf(c.Answer[i].Text); m != nil && m[1] == unit && m[2] != "" {
					return m[2]
				}
			}
		}
	}
	return ""
}

// only returns what a log that speaks of the unit says was started, when that is
// one thing: a journal that was asked for this unit.
func only(l *journal.Log, unit string) string {
	desc, speaks := "", false
	for i := range l.Entries {
		e := &l.Entries[i]
		speaks = speaks || isProgram(e, unit) || manager(e) && strings.HasPrefix(e.Message, unit+": ")
		if !manager(e) {
			continue
		}
		m := startingRe.FindStringSubmatch(e.Message)
		switch {
		case m == nil || m[1] == desc:
		case desc != "":
			return ""
		default:
			desc = m[1]
		}
	}
	if !speaks {
		return ""
	}
	return desc
}

// isProgram reports whether the entry's writer has the unit's name.
func isProgram(e *journal.Entry, unit string) bool {
	stem := strings.TrimSuffix(unit, ".service")
	return e.Ident == stem || strings.HasPrefix(e.Ident, stem+"-")
}

// startingRe is systemd's word that it starts a unit, by description.
var startingRe = regexp.MustCompile(`^Starting (?:\S+\.service - )?(.+?)\.{3}$`)

// unitName returns the provisioning unit's name, "" when none is known.
func unitName(p *analyzers.Pass) string {
	u := p.Params.One("unit")
	if u != "" && !strings.Contains(u, ".") {
		u += ".service"
	}
	return u
}

// gettyRe is systemd's word that the console's login is offered.
var gettyRe = regexp.MustCompile(`^Started (?:serial-getty@\S+ - )?Serial Getty on `)

// boot takes stages from entries that tell the time since boot. Those of the
// kernel carry its own stamp, which is another clock; systemd's from before the
// journal was up came through the kernel, so journald's first word stands for
// systemd.
func (t *Times) boot(l *journal.Log) {
	if t.mark(Monotonic, "systemd") != nil {
		return
	}
	var systemd, last *journal.Entry
	var quiet Span
	for i := range l.Entries {
		e := &l.Entries[i]
		switch {
		case e.Monotonic < 0 || e.Ident == "kernel" || !ofRun(l, e):
			continue
		case systemd == nil && e.Ident == "systemd-journald":
			systemd = e
		case systemd == nil:
			continue
		default:
			if s, ok := lasted(last, e); ok && s.Seconds > quiet.Seconds {
				quiet = s
			}
		}
		if last = e; manager(e) && gettyRe.MatchString(e.Message) {
			t.booted(systemd, e, quiet)
			return
		}
	}
}

// booted takes the time from systemd to the login prompt, with the longest
// silence in it.
func (t *Times) booted(systemd, login *journal.Entry, quiet Span) {
	t.Marks = append(t.Marks,
		Mark{Clock: Monotonic, Stage: "systemd", At: systemd.Monotonic, Evidence: []bundle.Evidence{systemd.Evidence}},
		Mark{Clock: Monotonic, Stage: "login-prompt", At: login.Monotonic, Evidence: []bundle.Evidence{login.Evidence}})
	if quiet.Clock == Monotonic {
		quiet.What, quiet.Subject = Silence, "systemd"
		t.keep(quiet)
	}
}

// ofRun reports whether e is of the last boot in the log: that is the one which
// the run is about.
func ofRun(l *journal.Log, e *journal.Entry) bool {
	return e.BootID == l.Entries[len(l.Entries)-1].BootID
}

// manager reports whether the system's manager wrote e.
func manager(e *journal.Entry) bool { return e.Ident == "systemd" && e.PID <= 1 }

// starts follows one unit through a log.
type starts struct {
	t    *Times
	unit string
	desc string
	log  *journal.Log

	from, last *journal.Entry // the start at hand, and the unit's last word in it
	quiet      Span           // its longest silence
}

func (s *starts) read() {
	es := s.log.Entries
	for i := range es {
		e := &es[i]
		switch {
		case !ofRun(s.log, e) || !s.about(e):
		case manager(e) && strings.HasPrefix(e.Message, "Starting "):
			s.from, s.last, s.quiet = e, e, Span{}
		case s.from != nil:
			s.silence(e)
			s.last = e
			if ends, failed := s.ends(e.Message); ends && manager(e) {
				s.done(e, false, failed)
				s.from = nil
			}
		}
	}
	if s.from != nil {
		s.done(&es[len(es)-1], true, false)
	}
}

// about reports whether e is the unit's: journald says so, or the log holds no
// units and it is the manager's word or comes from a program of that name.
func (s *starts) about(e *journal.Entry) bool {
	if e.Unit != "" {
		return e.Unit == s.unit
	}
	return isProgram(e, s.unit) || manager(e) && s.names(e.Message)
}

// names reports whether systemd's message is about the unit.
func (s *starts) names(message string) bool {
	return strings.Contains(message, s.unit) || s.desc != "" && strings.Contains(message, s.desc)
}

// ends reports whether systemd's message ends the start, and whether in failure.
func (s *starts) ends(message string) (ends, failed bool) {
	rest, _ := strings.CutPrefix(message, s.unit+": ")
	failed = strings.HasPrefix(message, "Failed to start ") || strings.HasPrefix(rest, "Failed with result ")
	ends = failed || strings.HasPrefix(message, "Finished ") || strings.HasPrefix(message, "Started ") || strings.HasPrefix(message, "Stopped ") || rest == "Deactivated successfully."
	return ends, failed
}

func (s *starts) silence(e *journal.Entry) {
	if sp, ok := lasted(s.last, e); ok && sp.Seconds > s.quiet.Seconds {
		sp.What, sp.Subject = Silence, s.unit
		s.quiet = sp
	}
}

func (s *starts) done(e *journal.Entry, open, failed bool) {
	sp, ok := lasted(s.from, e)
	if !ok {
		return
	}
	sp.What, sp.Subject, sp.Open, sp.Failed = Unit, s.unit, open, failed
	s.t.keep(sp)
	if s.quiet.What != "" {
		s.t.keep(s.quiet)
	}
}

// lasted returns the time between two entries, by the best clock that both have.
func lasted(a, b *journal.Entry) (Span, bool) {
	s := Span{Clock: Guest, Evidence: []bundle.Evidence{a.Evidence, b.Evidence}}
	switch {
	case a.Monotonic >= 0 && b.Monotonic >= 0 && a.Ident != "kernel" && b.Ident != "kernel":
		s.Clock, s.Seconds = Monotonic, b.Monotonic-a.Monotonic
	case !a.When.IsZero() && !b.When.IsZero():
		s.Seconds = b.When.Sub(a.When).Seconds()
	default:
		from, err := time.Parse(time.Stamp, a.Stamp)
		to, err2 := time.Parse(time.Stamp, b.Stamp)
		if err != nil || err2 != nil {
			return s, false
		}
		if to.Before(from) {
			to = to.AddDate(1, 0, 0) // the form writes no year
		}
		s.Seconds = to.Sub(from).Seconds()
	}
	return s, sane(s.Seconds)
}

var (
	// systemctl status: "● name.service - Description".
	headRe = regexp.MustCompile(`^ {0,4}[●○×↻*] (\w\S*\.\w+)(?: - (.+))?$`)
	// "Active: activating (start) since Wed 2026-03-04 01:16:00 UTC; 2min 21s ago"
	activatingRe = regexp.MustCompile(`^\s*Active: activating \([\w-]+\) since .+; (.+) ago$`)
)

// headOf takes a head of systemctl status apart as headRe does, nil for what is none.
func headOf(s string) []string {
	if !mayHead(s) {
		return nil
	}
	return headRe.FindStringSubmatch(strings.TrimRight(s, " "))
}

// mayHead reports whether headRe may match s. Most lines of answers are no heads,
// and this is much cheaper to tell.
func mayHead(s string) bool {
	s = strings.TrimLeft(s, " ")
	return s != "" && (s[0] == '*' || s[0] >= utf8.RuneSelf)
}

// mayActivate reports whether activatingRe may match s.
func mayActivate(s string) bool {
	return strings.HasPrefix(strings.TrimLeft(s, "\t\n\f\r "), "Active: activating ")
}

// answers takes from systemctl status for how long the unit has been starting.
func (t *Times) answers(p *analyzers.Pass) {
	unit := unitName(p)
	for _, d := range commands.From(p) {
		for _, c := range d.Commands {
			t.status(c, unit)
		}
	}
}

func (t *Times) status(c *commands.Command, unit string) {
	var head *commands.Line
	for i := range c.Answer {
		l := &c.Answer[i]
		if m := headOf(l.Text); m != nil {
			if head = nil; m[1] == unit {
				head = l
			}
		}
		if head == nil || !mayActivate(l.Text) {
			continue
		}
		m := activatingRe.FindStringSubmatch(strings.TrimRight(l.Text, " "))
		if m == nil {
			continue
		}
		if age, ok := timespan(m[1]); ok {
			t.keep(Span{Clock: Guest, What: Unit, Subject: unit, Seconds: age, Open: true, Evidence: []bundle.Evidence{l.Evidence, head.Evidence}})
		}
	}
}

// units of systemd's timespans (format_timespan) up to maxSeconds.
var timeUnits = map[string]float64{"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 60 * 60}

var timespanRe = regexp.MustCompile(`^(\d{1,6}(?:\.\d{1,9})?)(us|ms|s|min|h)$`)

// timespan reads "2min 21s".
func timespan(s string) (float64, bool) {
	sum := 0.0
	for _, w := range strings.Fields(s) {
		m := timespanRe.FindStringSubmatch(w)
		if m == nil {
			return 0, false
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, false
		}
		sum += v * timeUnits[m[2]]
	}
	return sum, s != ""
}
