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
// it: what systemd gives for ending it (a time-out, no memory); the last word of
// a program that it ran (a command that the shell did not find, a unit that
// systemd did not find, an "error:" line, a storage tool's reason); an exception
// of its own; only then what merely passes the failure on (CalledProcessError,
// an event with a return code, an exit status), behind the failed command's last
// words where the log shows which those are. An exception that no failed
// command leads to outweighs what was said before it. What a program went past
// (a further step of its trace, a further event) is not why it failed. The
// whole log of a start explains before a part of it does.
//
// A start job is blocked when the unit's own process waits in `systemctl start
// OTHER` (without --no-block) and OTHER is ordered after this unit, or OTHER's
// job is shown to wait beside this one's, or the wait is known to have lasted
// longer than a start takes: from the unit's word that it makes the call, or
// between two answers that show the same process in it. An ordering alone
// (After=) blocks nothing, and neither does a job that waits.
//
// Left out: states of a user's manager, and of a journal of several units what
// processes with other names than the unit's said.
package units

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
		{Name: "unit.survived", Doc: "The last exception that the unit logged although it ended successfully.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.error-in", Doc: "Which part of the unit's work broke.", Subject: "unit", Values: []string{"network", "detect", "apply", "other"}, Repeats: true},
		{Name: "unit.lacks-command", Doc: "The unit's script called a command that its environment lacks.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.lacks-unit", Doc: "The unit's script needs a unit that systemd does not find.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.blocked", Doc: "The unit's start job waits for this other unit, which waits for it.", Subject: "unit", Values: nil},
		{Name: "unit.job", Doc: "The state of the unit's job in the queue.", Subject: "unit", Values: []string{"running", "waiting"}, Repeats: true},
		{Name: "unit.after", Doc: "The unit is ordered after this one.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "unit.type", Doc: "Type= of the unit's service.", Subject: "unit", Values: nil},
		{Name: "unit.start-time", Doc: "How long the unit took to start, in seconds, as systemd-analyze says.", Subject: "unit", Values: nil, Repeats: true},
		{Name: "boot.startup", Doc: "How long the boot took until systemd had nothing left to start, in seconds.", Values: nil, Repeats: true},
		{Name: "boot.starting", Doc: "systemd-analyze says that the boot is not finished: jobs are left in the queue.", Values: []string{"yes"}, Repeats: true},
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
	in := &interp{p: p, desc: map[string]string{}, polls: map[string][]*commands.Command{}, jobs: map[job]bundle.Evidence{}, explained: map[string]bool{}, told: map[where]word{}, after: map[string]map[string]bundle.Evidence{}, mine: Name(p.Params.One("unit"))}
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
	for _, whole := range []bool{true, false} {
		for _, l := range logs {
			if in.whole(l) == whole {
				in.log(l, whole)
			}
		}
	}
	in.statusLines()
	in.settle()
	in.startups(logs)
	in.blocked(logs)
	return logs, nil
}

type interp struct {
	p     *analyzers.Pass
	desc  map[string]string              // description -> unit
	polls map[string][]*commands.Command // questions answered with "activating"
	mine  string

	jobs      map[job]bundle.Evidence               // the first row of each
	after     map[string]map[string]bundle.Evidence // unit -> units it is ordered after
	waits     []wait
	explained map[string]bool // units whose failure a log explained
	blocks    []status
	told      map[where]word // the state that systemctl or the console told last
	states    []logged       // those that logs led to
}

// where is whose state, and the artifact that tells it.
type where struct{ path, unit string }

// word is a state and the offset at which it is told.
type word struct {
	state string
	at    int64
}

// active states what systemctl or the console tells of a unit.
func (in *interp) active(unit, state string, ev bundle.Evidence) {
	at := where{ev.Path, unit}
	if w, ok := in.told[at]; !ok || ev.Start >= w.at {
		in.told[at] = word{state, ev.Start}
	}
	in.p.State("unit.active", unit, state, ev)
}

type job struct{ unit, state string }

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
	// Deeper ones are further lines of TriggeredBy:.
	headRe = regexp.MustCompile(`^ {0,4}[●○×↻*] (\w\S*\.(?:service|socket|target|mount|device|timer|path|slice|scope))(?: - (.+))?$`)
	// "Active: activating (start) since Wed 2026-03-04 01:16:00 UTC; 39s ago"
	activeRe = regexp.MustCompile(`^\s*Active: (active|inactive|failed|activating|deactivating|reloading)\b(?: \(([^)]*)\))?(?: since (\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+); (.+) ago)?`)
	// "Process: 755 ExecStart=… (code=exited, status=0/SUCCESS)"
	processRe = regexp.MustCompile(`^\s*(?:Process: \d+ ExecStart=.*|Main PID: \d+ )\(code=(?:exited|killed|dumped), status=\S+\)`)
	// "JOB UNIT TYPE STATE" rows: "500 sshd.service start waiting"
	jobRe = regexp.MustCompile(`^\s*\d+ +(\S+\.\w+) +(?:start|restart|verify-active|reload|stop) +(running|waiting)\s*$`)
)

var states = []string{"active", "inactive", "failed", "activating", "deactivating", "reloading"}

// head matches the head of a status block. Its mark is looked for first: most
// lines of a long answer have none.
func head(text string) []string {
	if t := strings.TrimLeft(text, " "); t == "" || t[0] != '*' && t[0] < utf8.RuneSelf {
		return nil
	}
	return headRe.FindStringSubmatch(strings.TrimRight(text, " "))
}

// learn takes unit descriptions from heads of status blocks.
func (in *interp) learn(c *commands.Command) {
	for i := range c.Answer {
		if m := head(c.Answer[i].Text); m != nil && m[2] != "" {
			in.describe(strings.TrimSpace(m[2]), m[1])
		}
	}
}

// describe notes a unit's description. One that two units share names none.
func (in *interp) describe(desc, unit string) {
	if u, ok := in.desc[desc]; ok && u != unit {
		unit = ""
	}
	in.desc[desc] = unit
}

var (
	// systemd's words around a unit's description, in its journal.
	finishedRe    = regexp.MustCompile(`^(?:Finished|Started) (.+)\.$`)
	failedStartRe = regexp.MustCompile(`^Failed to start (.+)\.$`)
	startingRe    = regexp.MustCompile(`^Starting (.+)\.\.\.$`)
	// systemd's "UNIT: message".
	unitMsgRe = regexp.MustCompile(`^(\S+\.(?:service|socket|target|mount|device|timer|path|slice|scope)): (.+)$`)
	// StatusUnitFormat=name and =combined write the unit's name, the latter
	// "pre-nixos.service - Pre-NixOS setup".
	namedRe = regexp.MustCompile(`^(\S+\.(?:service|socket|target|mount|device|timer|path|slice|scope))(?: - .+)?$`)
)

// manager reports whether the system's manager wrote e: a user's is systemd
// too, with another PID.
func manager(e *journal.Entry) bool {
	return (e.Ident == "systemd" || e.Ident == "init") && e.PID <= 1
}

// described returns the description or name that systemd's message is about.
func described(message string) string {
	m := starting(message)
	if m == nil {
		m = finished(message)
	}
	if m == nil && strings.HasPrefix(message, "Failed to start ") {
		m = failedStartRe.FindStringSubmatch(message)
	}
	if m == nil {
		return ""
	}
	return m[1]
}

// starting, finished and unitMsg match what the manager says most. They look at
// the start first, which tells most messages apart.
func starting(message string) []string {
	if !strings.HasPrefix(message, "Starting ") {
		return nil
	}
	return startingRe.FindStringSubmatch(message)
}

func finished(message string) []string {
	if !strings.HasPrefix(message, "Finished ") && !strings.HasPrefix(message, "Started ") {
		return nil
	}
	return finishedRe.FindStringSubmatch(message)
}

func unitMsg(message string) []string {
	if unit, _, ok := strings.Cut(message, ": "); !ok || strings.IndexByte(unit, ' ') >= 0 {
		return nil
	}
	return unitMsgRe.FindStringSubmatch(message)
}

// learnLog takes descriptions from a log that names its unit: in a journal
// that was asked for one unit, systemd starts, finishes and fails only that.
func (in *interp) learnLog(l *Log) {
	if l.Scope == "" {
		return
	}
	for i := range l.Entries {
		if !manager(&l.Entries[i]) {
			continue
		}
		if d := described(l.Entries[i].Message); d != "" && !namedRe.MatchString(d) {
			if _, ok := in.desc[d]; !ok {
				in.desc[d] = l.Scope
			}
		}
	}
}

// unitOf returns the unit that a description names.
func (in *interp) unitOf(desc string) string {
	if u := in.desc[desc]; u != "" {
		return u
	}
	if m := namedRe.FindStringSubmatch(desc); m != nil {
		return m[1]
	}
	return ""
}

// command interprets one answer.
func (in *interp) command(c *commands.Command) {
	ws := c.Words()
	sc, ok := systemctl(ws)
	switch {
	case ok && sc.verb == "is-active":
		if !sc.quiet {
			in.isActive(c, sc.units)
		}
		return
	case ok && sc.verb == "show":
		if !sc.bare {
			in.show(c, sc.named())
		}
		return
	case ok && sc.verb == "cat" && sc.only() != "":
		in.unitFile(c, sc.only())
		return
	case len(ws) == 2 && ws[0] == "cat" && strings.HasSuffix(ws[1], ".service"):
		in.unitFile(c, path.Base(ws[1]))
		return
	}
	in.statusBlocks(c)
	if len(ws) == 0 || ok {
		in.listing(c)
	}
	if len(ws) == 0 || path.Base(ws[0]) == "systemd-analyze" {
		in.timing(c)
	}
	if c.Text == "" {
		in.show(c, nil)
	}
	in.queue(c)
}

// queue reads the rows of systemctl list-jobs.
func (in *interp) queue(c *commands.Command) {
	for i := range c.Answer {
		l := &c.Answer[i]
		if !numbered(l.Text) {
			continue
		}
		if m := jobRe.FindStringSubmatch(l.Text); m != nil {
			in.queued(m[1], m[2], l.Evidence)
		}
	}
}

// numbered reports whether a digit comes first in text.
func numbered(text string) bool {
	t := strings.TrimLeft(text, " \t\n\f\r")
	return t != "" && t[0] >= '0' && t[0] <= '9'
}

func (in *interp) queued(unit, state string, ev bundle.Evidence) {
	if _, ok := in.jobs[job{unit, state}]; !ok {
		in.jobs[job{unit, state}] = ev
	}
	in.p.State("unit.job", unit, state, ev)
}

// waited states the questions that ended in "activating" before the session
// went on.
func (in *interp) waited(d *commands.Dialogue) {
	for _, unit := range slices.Sorted(maps.Keys(in.polls)) {
		cs := in.polls[unit]
		if d.Kind != bundle.Probe && d.WentOn(cs) {
			in.p.State("unit.waited", unit, strconv.Itoa(len(cs)), cs[len(cs)-1].Echo, cs[0].Echo)
		}
	}
	clear(in.polls)
}

// statusBlocks reads the blocks of systemctl status in an answer.
func (in *interp) statusBlocks(c *commands.Command) {
	var b *status
	for _, l := range c.Answer {
		if m := head(l.Text); m != nil {
			in.blocks = append(in.blocks, status{unit: m[1]})
			b = &in.blocks[len(in.blocks)-1]
		}
		if b == nil {
			continue
		}
		b.lines = append(b.lines, l)
		if !strings.Contains(l.Text, "Active: ") && !strings.Contains(l.Text, "code=") && !strings.Contains(l.Text, "Main PID: ") {
			continue // none of what follows matches
		}
		if m := activeRe.FindStringSubmatch(l.Text); m != nil && b.active == "" {
			b.active = m[1]
			b.since, _ = time.Parse("Mon 2006-01-02 15:04:05 MST", m[3])
			b.age = ago(m[4])
			in.active(b.unit, m[1], l.Evidence)
			if m[1] == "active" && m[2] == "exited" {
				// A service without processes is active only by RemainAfterExit=yes.
				in.p.State("unit.remains", b.unit, "yes", l.Evidence)
			}
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
	answered := slices.DeleteFunc(slices.Clone(d.Commands), func(c *commands.Command) bool { return len(c.Answer) == 0 })
	var logs []*Log
	var cur *Log
	from := 0
	for i := range j.Entries {
		c := commandAt(answered, j.Entries[i].Evidence.Start)
		if cur == nil || cur.Command != c {
			cur, from = &Log{Path: j.Path, Command: c}, i
			logs = append(logs, cur)
		}
		cur.Entries = j.Entries[from : i+1 : i+1]
	}
	return logs
}

// commandAt returns the command whose answer holds offset. Commands stand in
// file order.
func commandAt(cs []*commands.Command, offset int64) *commands.Command {
	i := sort.Search(len(cs), func(i int) bool { return cs[i].Answer[0].Evidence.Start > offset }) - 1
	if i < 0 || offset > cs[i].Answer[len(cs[i].Answer)-1].Evidence.End {
		return nil
	}
	return cs[i]
}

// scope returns the unit whose journal l is, "" when it is not one unit's.
func (in *interp) scope(l *Log) string {
	if l.Command != nil && l.Command.Text != "" {
		if u, sure := asked(l.Command); sure {
			return u
		}
	}
	return in.guess(l)
}

// guess finds the unit of a log that does not tell what it was asked for:
// systemd speaks of one unit only, and most of what else stands there comes
// from that unit's processes.
func (in *interp) guess(l *Log) string {
	unit, desc, beside, said := "", "", false, false
	for i := range l.Entries {
		e := &l.Entries[i]
		if !manager(e) {
			continue
		}
		if d := described(e.Message); d != "" {
			if desc != "" && d != desc {
				return ""
			}
			desc = d
			beside = beside || said && !strings.HasPrefix(e.Message, "Starting")
		}
		said = false
		if m := unitMsg(e.Message); m != nil {
			if unit != "" && m[1] != unit {
				return ""
			}
			unit, said = m[1], closingRe.MatchString(m[2])
		}
	}
	known, named := in.unitOf(desc), unit != ""
	if unit == "" {
		unit = known
	}
	if unit == "" {
		unit = in.mine
	}
	sure := desc == "" || known == unit || beside || !named && !in.isDescribed(unit)
	if unit == "" || !sure || !fromUnit(l, unit) {
		return ""
	}
	return unit
}

// closingRe is what systemd says of a unit right before it says how the start
// of its description ended.
var closingRe = regexp.MustCompile(`^(?:Deactivated successfully\.|Failed with result .*)$`)

// isDescribed reports whether a description of unit is known.
func (in *interp) isDescribed(unit string) bool {
	for _, u := range in.desc {
		if u == unit {
			return true
		}
	}
	return false
}

// fromUnit reports whether the first lines of l that systemd did not write come
// from the unit's processes, most of them and at least one.
func fromUnit(l *Log, unit string) bool {
	own, other := 0, 0
	for i := range l.Entries[:min(len(l.Entries), 50)] {
		switch e := &l.Entries[i]; {
		case e.Unit == unit || ofUnit(e.Ident, unit):
			own++
		case !manager(e):
			other++
		}
	}
	return own > 0 && own*10 >= (own+other)*6
}

// ofUnit reports whether ident is a process that unit starts: named as the
// unit, or as NixOS names its scripts.
func ofUnit(ident, unit string) bool {
	stem, _, _ := strings.Cut(unit, ".")
	rest, ok := strings.CutPrefix(ident, stem)
	if !ok || stem == "" {
		return false
	}
	switch rest {
	case "", "-start", "-pre-start", "-post-start", "-reload", "-pre-stop", "-post-stop":
		return true
	}
	return false
}

var unitFlagRe = regexp.MustCompile(`(?:^| )(?:-[a-zA-Z]*u|--unit)[ =]?([^\s-]\S*)`)

// asked returns the unit that a command asked about. It is sure when the
// command says what its answer is about, also that it is not one unit.
func asked(c *commands.Command) (unit string, sure bool) {
	ws := c.Words()
	if len(ws) == 0 {
		return "", false
	}
	switch ws[0] {
	case "journalctl":
		ms := unitFlagRe.FindAllStringSubmatch(strings.Join(ws, " "), 2)
		if len(ms) == 1 && !strings.ContainsAny(ms[0][1], "*?[") {
			return Name(ms[0][1]), true
		}
		return "", true
	case "systemctl":
		sc, _ := systemctl(ws)
		return sc.only(), sc.verb == "status"
	case "networkctl":
		return "systemd-networkd.service", true
	}
	return "", false
}
