// Package units interprets what systemd and its tools said about named units:
// states, jobs, results, why a unit failed, and what a start job waits for.
//
// A state belongs to the unit that the answer names. Two units share a
// transcript, so "Active: inactive (dead)" means nothing without the head of
// its block, and "is-active" nothing without its argument. "inactive" alone is
// no success: a unit that never ran says it too; see unit.ran and
// unit.finished.
//
// Why a unit failed is what the innermost thing that broke said, as it said
// it: a command that the shell did not find, a unit that systemd did not find,
// an "error:" line of the tool that was called, the last line of a traceback;
// only then what merely passes the failure on (CalledProcessError, an exit
// status).
//
// A start job is blocked when the unit's own process waits in `systemctl start
// OTHER` (without --no-block) and OTHER's job waits for this unit, or the wait
// has lasted longer than a start takes. An ordering alone (After=) blocks
// nothing.
package units

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
)

// blockedAfter is how long a blocking systemctl call must have lasted before
// the wait alone shows a blocked job. Restarting a service under software
// emulation takes up to six seconds.
const blockedAfter = 10 * time.Second

// Analyzer interprets units.
var Analyzer = &analyzers.Analyzer{
	Name:     "units",
	Doc:      "Interprets states, jobs and failures of named systemd units.",
	Requires: []*analyzers.Analyzer{console.Analyzer, commands.Analyzer, journal.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "unit.active", Doc: "The unit's active state.", Subject: "unit", Values: []string{"active", "inactive", "failed", "activating", "deactivating", "reloading"}, Transient: []string{"activating", "deactivating", "reloading"}},
		{Name: "unit.waited", Doc: "How often the session asked for the unit's state and it was activating, until the session went on to something else.", Subject: "unit", Values: nil},
		{Name: "unit.ran", Doc: "The unit's process was started in this boot.", Subject: "unit", Values: []string{"yes"}},
		{Name: "unit.finished", Doc: "The unit's start ended successfully.", Subject: "unit", Values: []string{"yes"}},
		{Name: "unit.result", Doc: "systemd's result of the unit: success, exit-code, signal, timeout, …", Subject: "unit", Values: nil},
		{Name: "unit.error", Doc: "Why the unit failed, in the words of what broke.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.error-in", Doc: "Which part of the unit's work broke.", Subject: "unit", Values: []string{"network", "detect", "apply", "other"}, Repeats: true},
		{Name: "unit.lacks-command", Doc: "The unit's script called a command that its environment lacks.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.lacks-unit", Doc: "The unit's script needs a unit that systemd does not find.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.blocked", Doc: "The unit's start job waits for this other unit, which waits for it.", Subject: "unit", Values: nil},
		{Name: "unit.job", Doc: "The state of the unit's job in the queue.", Subject: "unit", Values: []string{"running", "waiting"}, Repeats: true},
		{Name: "unit.after", Doc: "The unit is ordered after this one.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.type", Doc: "Type= of the unit's service.", Subject: "unit", Values: nil},
		{Name: "unit.remains", Doc: "RemainAfterExit= of the unit's service.", Subject: "unit", Values: []string{"yes", "no"}},
	},
	Run: run,
}

// Log is the journal lines of one answer or artifact that belong together.
type Log struct {
	Path    string
	Scope   string            // the unit that was asked for, "" when it is not one unit's log
	Command *commands.Command // nil when nothing asked
	Entries []journal.Entry
	Events  []Event
}

// From returns the logs of the run.
func From(p *analyzers.Pass) []*Log {
	ls, _ := p.ResultOf[Analyzer].([]*Log)
	return ls
}

// Name completes a unit's name as systemctl does.
func Name(s string) string {
	s = strings.Trim(s, `"'`)
	if s == "" || strings.Contains(s, ".") {
		return s
	}
	return s + ".service"
}

func run(p *analyzers.Pass) (any, error) {
	in := &interp{p: p, desc: map[string]string{}, polls: map[string][]*commands.Command{}, mine: Name(p.Params.One("unit"))}
	if d := p.Params.One("unit-description"); d != "" {
		in.desc[d] = in.mine
	}
	for _, d := range commands.From(p) {
		for _, c := range d.Commands {
			in.learn(c)
		}
	}
	logs := in.logs()
	for _, l := range logs {
		in.learnLog(l)
	}
	for _, d := range commands.From(p) {
		for _, c := range d.Commands {
			in.command(c)
		}
		in.waited(d)
	}
	for _, l := range logs {
		in.log(l)
	}
	in.statusLines()
	in.blocked(logs)
	return logs, nil
}

type interp struct {
	p     *analyzers.Pass
	desc  map[string]string              // description -> unit
	polls map[string][]*commands.Command // questions answered with "activating"
	mine  string

	jobs   []job
	after  map[string]map[string]bundle.Evidence // unit -> units it is ordered after
	waits  []wait
	blocks []status
}

type job struct {
	unit, state string
	ev          bundle.Evidence
}

// wait is a blocking systemctl call that a unit's process was seen in.
type wait struct {
	unit, other string
	for_        time.Duration
	ev          bundle.Evidence
	path        string
}

// status is one block of systemctl status.
type status struct {
	unit   string
	active string
	since  time.Time
	age    time.Duration
	lines  []commands.Line
}

var (
	// systemctl status: "● name.service - Description", since systemd 248
	// also ○ ↻ ×.
	headRe = regexp.MustCompile(`^\s*[●○×↻*] (\S+\.(?:service|socket|target|mount|device|timer|path|slice|scope))(?: - (.+))?$`)
	// "Active: activating (start) since Sun 2025-10-12 01:16:00 UTC; 39s ago"
	activeRe = regexp.MustCompile(`^\s*Active: (active|inactive|failed|activating|deactivating|reloading)\b(?: \([^)]*\))?(?: since (\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+); (.+) ago)?`)
	// "Process: 755 ExecStart=… (code=exited, status=0/SUCCESS)"
	processRe = regexp.MustCompile(`^\s*(?:Process: \d+ ExecStart=.*|Main PID: \d+ )\(code=(?:exited|killed|dumped), status=\S+\)`)
	// "JOB UNIT TYPE STATE" rows: "500 sshd.service start waiting"
	jobRe  = regexp.MustCompile(`^\s*\d+ +(\S+\.\w+) +(?:start|restart|verify-active|reload|stop) +(running|waiting)\s*$`)
	propRe = regexp.MustCompile(`^(After|Type|RemainAfterExit|ActiveState|Result|Id)=(.*)$`)
)

var states = []string{"active", "inactive", "failed", "activating", "deactivating", "reloading"}

// learn takes unit descriptions from heads of status blocks.
func (in *interp) learn(c *commands.Command) {
	for _, l := range c.Answer {
		if m := headRe.FindStringSubmatch(l.Text); m != nil && m[2] != "" {
			in.desc[strings.TrimSpace(m[2])] = m[1]
		}
	}
}

var (
	finishedRe    = regexp.MustCompile(`^(?:Finished|Started) (.+)\.$`)
	failedStartRe = regexp.MustCompile(`^Failed to start (.+)\.$`)
	startingRe    = regexp.MustCompile(`^Starting (.+)\.\.\.$`)
	stoppedRe     = regexp.MustCompile(`^Stopped (.+)\.$`)
	// systemd's "UNIT: message".
	unitMsgRe = regexp.MustCompile(`^(\S+\.(?:service|socket|target|mount|device|timer|path|slice|scope)): (.+)$`)
)

// learnLog takes descriptions from a log that names its unit: in a journal
// that was asked for one unit, systemd starts, finishes and fails only that.
func (in *interp) learnLog(l *Log) {
	if l.Scope == "" {
		return
	}
	for _, e := range l.Entries {
		if e.Ident != "systemd" {
			continue
		}
		for _, re := range []*regexp.Regexp{startingRe, finishedRe, failedStartRe} {
			if m := re.FindStringSubmatch(e.Message); m != nil && in.desc[m[1]] == "" {
				in.desc[m[1]] = l.Scope
			}
		}
	}
}

// unitOf returns the unit that a description names.
func (in *interp) unitOf(desc string) string {
	if u := in.desc[desc]; u != "" {
		return u
	}
	if strings.Contains(desc, ".") && !strings.Contains(desc, " ") {
		return desc
	}
	return ""
}

// command interprets one answer.
func (in *interp) command(c *commands.Command) {
	ws := c.Words()
	if len(ws) > 2 && ws[0] == "systemctl" && ws[1] == "is-active" {
		in.isActive(c, Name(ws[len(ws)-1]))
		return
	}
	in.statusBlocks(c)
	show := ""
	if len(ws) > 2 && ws[0] == "systemctl" && ws[1] == "show" {
		show = Name(ws[len(ws)-1])
	}
	for _, l := range c.Answer {
		if m := jobRe.FindStringSubmatch(l.Text); m != nil {
			in.jobs = append(in.jobs, job{m[1], m[2], l.Evidence})
			in.p.State("unit.job", m[1], m[2], l.Evidence)
		}
		if m := propRe.FindStringSubmatch(strings.TrimSpace(l.Text)); m != nil {
			if m[1] == "Id" {
				show = m[2]
			}
			in.property(show, m[1], m[2], l.Evidence)
		}
	}
}

// isActive takes systemctl is-active's one word. Typed text may stand around
// it, so only a line that is nothing else counts, and only the first.
func (in *interp) isActive(c *commands.Command, unit string) {
	for _, l := range c.Answer {
		if s := strings.TrimSpace(l.Text); slices.Contains(states, s) {
			in.p.State("unit.active", unit, s, l.Evidence)
			if s == "activating" {
				in.polls[unit] = append(in.polls[unit], c)
			} else {
				delete(in.polls, unit)
			}
			return
		}
	}
}

// waited states the questions that ended in "activating" before the session
// went on.
func (in *interp) waited(d *commands.Dialogue) {
	for _, unit := range slices.Sorted(maps.Keys(in.polls)) {
		cs := in.polls[unit]
		if d.WentOn(cs) {
			in.p.State("unit.waited", unit, strconv.Itoa(len(cs)), cs[len(cs)-1].Echo, cs[0].Echo)
		}
	}
	clear(in.polls)
}

func (in *interp) property(unit, key, value string, ev bundle.Evidence) {
	if unit == "" {
		return
	}
	switch key {
	case "After":
		for _, o := range strings.Fields(value) {
			in.orderedAfter(unit, o, ev)
		}
	case "Type":
		in.p.State("unit.type", unit, value, ev)
	case "RemainAfterExit":
		if value == "yes" || value == "no" {
			in.p.State("unit.remains", unit, value, ev)
		}
	case "ActiveState":
		if slices.Contains(states, value) {
			in.p.State("unit.active", unit, value, ev)
		}
	case "Result":
		in.p.State("unit.result", unit, value, ev)
	}
}

func (in *interp) orderedAfter(unit, other string, ev bundle.Evidence) {
	if in.after == nil {
		in.after = map[string]map[string]bundle.Evidence{}
	}
	if in.after[unit] == nil {
		in.after[unit] = map[string]bundle.Evidence{}
	}
	if _, ok := in.after[unit][other]; !ok {
		in.after[unit][other] = ev
	}
	in.p.State("unit.after", unit, other, ev)
}

// statusBlocks reads the blocks of systemctl status in an answer.
func (in *interp) statusBlocks(c *commands.Command) {
	var b *status
	for _, l := range c.Answer {
		if m := headRe.FindStringSubmatch(strings.TrimRight(l.Text, " ")); m != nil {
			in.blocks = append(in.blocks, status{unit: m[1]})
			b = &in.blocks[len(in.blocks)-1]
		}
		if b == nil {
			continue
		}
		b.lines = append(b.lines, l)
		if m := activeRe.FindStringSubmatch(l.Text); m != nil && b.active == "" {
			b.active = m[1]
			b.since, _ = time.Parse("Mon 2006-01-02 15:04:05 MST", m[2])
			b.age = ago(m[3])
			in.p.State("unit.active", b.unit, m[1], l.Evidence)
		}
		if processRe.MatchString(l.Text) || (b.active == "activating" || b.active == "active") && mainPIDRe.MatchString(l.Text) {
			in.p.State("unit.ran", b.unit, "yes", l.Evidence)
			if strings.HasSuffix(strings.TrimSpace(l.Text), "status=0/SUCCESS)") && b.active == "inactive" {
				in.p.State("unit.finished", b.unit, "yes", l.Evidence)
			}
		}
	}
}

var mainPIDRe = regexp.MustCompile(`^\s*Main PID: \d+ \(\S+\)$`)

var agoRe = regexp.MustCompile(`(\d+)(ms|us|s|min|h|days?)`)

// ago reads systemd's relative time, "1min 4s".
func ago(s string) time.Duration {
	var d time.Duration
	for _, m := range agoRe.FindAllStringSubmatch(s, 8) {
		n, _ := strconv.Atoi(m[1])
		switch m[2] {
		case "s":
			d += time.Duration(n) * time.Second
		case "min":
			d += time.Duration(n) * time.Minute
		case "h":
			d += time.Duration(n) * time.Hour
		case "day", "days":
			d += time.Duration(n) * 24 * time.Hour
		}
	}
	return d
}

// logs groups the journal entries by the answer that holds them.
func (in *interp) logs() []*Log {
	var logs []*Log
	byPath := map[string]*commands.Dialogue{}
	for _, d := range commands.From(in.p) {
		byPath[d.Path] = d
	}
	for _, j := range journal.From(in.p) {
		logs = append(logs, split(j, byPath[j.Path])...)
	}
	for _, l := range logs {
		l.Scope = in.scope(l)
		l.Events = events(l.Entries)
	}
	return logs
}

func split(j *journal.Log, d *commands.Dialogue) []*Log {
	if d == nil || len(d.Commands) == 0 {
		return []*Log{{Path: j.Path, Entries: j.Entries}}
	}
	var logs []*Log
	var cur *Log
	for _, e := range j.Entries {
		c := commandAt(d, e.Evidence.Start)
		if cur == nil || cur.Command != c {
			cur = &Log{Path: j.Path, Command: c}
			logs = append(logs, cur)
		}
		cur.Entries = append(cur.Entries, e)
	}
	return logs
}

// commandAt returns the command whose answer holds offset.
func commandAt(d *commands.Dialogue, offset int64) *commands.Command {
	for _, c := range d.Commands {
		if n := len(c.Answer); n > 0 && c.Answer[0].Evidence.Start <= offset && offset <= c.Answer[n-1].Evidence.End {
			return c
		}
	}
	return nil
}

// scope returns the unit whose journal l is.
func (in *interp) scope(l *Log) string {
	if l.Command != nil {
		if u := asked(l.Command); u != "" {
			return u
		}
	}
	// A capture without its command: systemd speaks of one unit only.
	unit := ""
	for _, e := range l.Entries {
		if e.Ident != "systemd" {
			continue
		}
		m := unitMsgRe.FindStringSubmatch(e.Message)
		switch {
		case m == nil:
		case unit == "":
			unit = m[1]
		case unit != m[1]:
			return ""
		}
	}
	if unit == "" && in.mine != "" && mentions(l, in.mine) {
		return in.mine
	}
	if unit != "" && mentions(l, unit) {
		return unit
	}
	return ""
}

// mentions reports whether the first lines of l are the unit's: its start, or
// its process.
func mentions(l *Log, unit string) bool {
	stem, _, _ := strings.Cut(unit, ".")
	n := 0
	for _, e := range l.Entries[:min(len(l.Entries), 50)] {
		if e.Ident == "systemd" || strings.HasPrefix(e.Ident, stem) || e.Unit == unit {
			n++
		}
	}
	return n*10 >= min(len(l.Entries), 50)*6
}

var unitFlagRe = regexp.MustCompile(`(?:^| )(?:-u|--unit)[ =]?([^\s-]\S*)`)

// asked returns the unit that a command asked about.
func asked(c *commands.Command) string {
	ws := c.Words()
	if len(ws) < 2 {
		return ""
	}
	switch ws[0] {
	case "journalctl":
		if m := unitFlagRe.FindStringSubmatch(strings.Join(ws, " ")); m != nil {
			return Name(m[1])
		}
	case "systemctl":
		if ws[1] == "status" {
			for _, w := range ws[2:] {
				if !strings.HasPrefix(w, "-") {
					return Name(w)
				}
			}
		}
	case "networkctl":
		return "systemd-networkd.service"
	}
	return ""
}
