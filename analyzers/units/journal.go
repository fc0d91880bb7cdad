package units

import (
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
)

// Event is a JSON message with an "event" name, as structured loggers write
// one a line.
type Event struct {
	Name    string
	Command string // "command" joined, "" when it has none
	Code    int    // "returncode"; 0 when absent
	HasCode bool
	Fields  map[string]any
	Entry   journal.Entry
}

func events(es []journal.Entry) []Event {
	var evs []Event
	for _, e := range es {
		if len(e.Message) < 2 || e.Message[0] != '{' || e.Message[len(e.Message)-1] != '}' {
			continue
		}
		var f map[string]any
		if json.Unmarshal([]byte(e.Message), &f) != nil {
			continue
		}
		name, _ := f["event"].(string)
		if name == "" {
			continue
		}
		ev := Event{Name: name, Fields: f, Entry: e, Command: joined(f["command"])}
		if c, ok := f["returncode"].(float64); ok {
			ev.Code, ev.HasCode = int(c), true
		}
		evs = append(evs, ev)
	}
	return evs
}

func joined(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var ws []string
		for _, w := range v {
			if s, ok := w.(string); ok {
				ws = append(ws, s)
			}
		}
		return strings.Join(ws, " ")
	}
	return ""
}

var (
	resultRe = regexp.MustCompile(`^Failed with result '([a-z-]+)'\.$`)
	exitRe   = regexp.MustCompile(`^Main process exited, code=(\w+), status=(\S+)$`)
)

// log states what a journal says about units.
func (in *interp) log(l *Log) {
	var attempt []journal.Entry // entries since the unit was last started
	for _, e := range l.Entries {
		attempt = append(attempt, e)
		if e.Ident != "systemd" && e.Ident != "init" {
			continue
		}
		if m := startingRe.FindStringSubmatch(e.Message); m != nil {
			if u := in.unitOf(m[1]); u != "" {
				in.p.State("unit.ran", u, "yes", e.Evidence)
				in.p.State("unit.active", u, "activating", e.Evidence)
				attempt = attempt[:0]
			}
		} else if m := finishedRe.FindStringSubmatch(e.Message); m != nil {
			if u := in.unitOf(m[1]); u != "" && strings.HasPrefix(e.Message, "Finished") {
				in.p.State("unit.finished", u, "yes", e.Evidence)
			}
		} else if m := unitMsgRe.FindStringSubmatch(e.Message); m != nil {
			in.message(l, m[1], m[2], e, attempt)
		}
	}
}

// message takes systemd's "UNIT: text".
func (in *interp) message(l *Log, unit, text string, e journal.Entry, attempt []journal.Entry) {
	switch {
	case text == "Deactivated successfully.":
		in.p.State("unit.active", unit, "inactive", e.Evidence)
		in.p.State("unit.result", unit, "success", e.Evidence)
	case strings.HasPrefix(text, "Failed with result "):
		if m := resultRe.FindStringSubmatch(text); m != nil {
			in.p.State("unit.result", unit, m[1], e.Evidence)
		}
		in.p.State("unit.active", unit, "failed", e.Evidence)
		if m := lastExit(attempt); m != "status=15/TERM" && (l.Scope == unit || l.Scope == "") {
			in.why(unit, mine(l, unit, attempt), e)
		}
	}
}

// lastExit returns how the main process ended.
func lastExit(es []journal.Entry) string {
	for i := len(es) - 1; i >= 0; i-- {
		if m := unitMsgRe.FindStringSubmatch(es[i].Message); m != nil {
			if x := exitRe.FindStringSubmatch(m[2]); x != nil {
				return "status=" + x[2]
			}
		}
	}
	return ""
}

// mine keeps the entries of unit: all of a journal that was asked for it, else
// those whose process carries its name.
func mine(l *Log, unit string, es []journal.Entry) []journal.Entry {
	if l.Scope == unit {
		return es
	}
	stem, _, _ := strings.Cut(unit, ".")
	var own []journal.Entry
	for _, e := range es {
		if e.Unit == unit || e.Unit == "" && strings.HasPrefix(e.Ident, stem) {
			own = append(own, e)
		}
	}
	return own
}

// statusLines takes systemd's status output on the console, for units whose
// description is known.
func (in *interp) statusLines() {
	for _, t := range console.From(in.p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if len(l.Text) < 10 || l.Text[0] != '[' && l.Text[0] != ' ' || l.Typed {
				continue
			}
			if m := consoleRe.FindStringSubmatch(strings.TrimRight(l.Text, " ")); m != nil {
				in.onConsole(m[1], in.desc[m[2]], t.Evidence(l))
			}
		}
	}
}

// systemd's status output: "[  OK  ] Finished DESC.", "[FAILED] Failed to
// start DESC.", "         Starting DESC...".
var consoleRe = regexp.MustCompile(`^(?:\[ +OK +\]|\[FAILED\]| {9}) (Finished|Failed to start|Starting) (.+?)\.+$`)

func (in *interp) onConsole(verb, unit string, ev bundle.Evidence) {
	if unit == "" {
		return
	}
	switch verb {
	case "Starting":
		in.p.State("unit.ran", unit, "yes", ev)
		in.p.State("unit.active", unit, "activating", ev)
	case "Finished":
		in.p.State("unit.finished", unit, "yes", ev)
	default:
		in.p.State("unit.active", unit, "failed", ev)
	}
}

// blockingRe is a systemctl call that waits for the job it queues, in a
// process list.
var blockingRe = regexp.MustCompile(`(?:^|[─-] ?\d+ |/)systemctl ((?:start|restart|reload-or-restart|try-restart|isolate) .*)$`)

// waitsFor returns the unit that a systemctl command line waits for.
func waitsFor(args string) string {
	unit := ""
	for _, w := range strings.Fields(args)[1:] {
		switch {
		case w == "--no-block" || strings.ContainsAny(w, "…>"):
			return ""
		case strings.HasPrefix(w, "-"):
		case unit == "":
			unit = Name(w)
		}
	}
	return unit
}

// blocked states start jobs that wait for what waits for them.
func (in *interp) blocked(logs []*Log) {
	for _, b := range in.blocks {
		if b.active == "activating" {
			in.statusWait(&b)
		}
	}
	for _, l := range logs {
		in.eventWait(l)
	}
	for _, w := range in.waits {
		in.judge(w)
	}
}

// statusWait finds a blocking call in the block's process tree, and how long
// it has lasted: from the unit's last own message to the moment of the answer.
func (in *interp) statusWait(b *status) {
	var last time.Time
	w := wait{unit: b.unit}
	for _, l := range b.lines {
		if m := blockingRe.FindStringSubmatch(strings.TrimSpace(l.Text)); m != nil && treeRe.MatchString(l.Text) {
			if o := waitsFor(m[1]); o != "" {
				w.other, w.ev, w.path = o, l.Evidence, l.Evidence.Path
			}
		}
		if e, ok := journal.ParseShort(strings.TrimSpace(l.Text)); ok {
			if t, err := time.Parse("Jan _2 15:04:05", e.Stamp); err == nil {
				last = t
			}
		}
	}
	if w.other == "" {
		return
	}
	if !b.since.IsZero() && !last.IsZero() {
		now := b.since.Add(b.age)
		last = time.Date(now.Year(), last.Month(), last.Day(), last.Hour(), last.Minute(), last.Second(), 0, now.Location())
		w.for_ = now.Sub(last)
	}
	in.waits = append(in.waits, w)
}

// treeRe is a line of a control group's process tree.
var treeRe = regexp.MustCompile(`^\s*(?:CGroup: |[│ ]*[├└|` + "`" + `][─-]+ ?\d+ )`)

// eventWait finds a systemctl call that the unit's own log says was started
// and never ended.
func (in *interp) eventWait(l *Log) {
	if l.Scope == "" || len(l.Events) == 0 {
		return
	}
	e := l.Events[len(l.Events)-1]
	last := l.Entries[len(l.Entries)-1]
	args, ok := strings.CutPrefix(e.Command, "systemctl ")
	if !ok || e.HasCode || !strings.HasSuffix(e.Name, ".start") || e.Entry.Evidence.Start != last.Evidence.Start || len(strings.Fields(args)) < 2 {
		return
	}
	if o := waitsFor(args); o != "" {
		in.waits = append(in.waits, wait{unit: l.Scope, other: o, ev: e.Entry.Evidence, path: l.Path})
	}
}

func (in *interp) judge(w wait) {
	ev := []bundle.Evidence{w.ev}
	shown := w.for_ >= blockedAfter
	if a, ok := in.after[w.other][w.unit]; ok {
		ev, shown = append(ev, a), true
	}
	running, waiting := false, false
	var jobs []bundle.Evidence
	for _, j := range in.jobs {
		if j.unit == w.unit && j.state == "running" {
			running, jobs = true, append(jobs, j.ev)
		}
		if j.unit == w.other && j.state == "waiting" {
			waiting, jobs = true, append(jobs, j.ev)
		}
	}
	if running && waiting {
		ev, shown = append(ev, jobs...), true
	}
	if shown {
		in.p.State("unit.blocked", w.unit, w.other, ev...)
	}
}
