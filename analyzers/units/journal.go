package units

import (
	"encoding/json"
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
)

// Event is a JSON message with an "event" name, as structured loggers write
// one a line.
type Event struct {
	Name    string
	Command string // the command's words joined, "" when it has none
	Code    int    // the command's exit status; 0 when absent
	HasCode bool
	Fields  map[string]any
	Entry   journal.Entry
}

func events(es []journal.Entry) []Event {
	var evs []Event
	for i := range es {
		e := &es[i]
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
		evs = append(evs, event(name, f, *e))
	}
	return evs
}

// event reads the fields of one message. Loggers differ in what they call the
// command and its status; Python's subprocess has args and returncode.
func event(name string, f map[string]any, e journal.Entry) Event {
	ev := Event{Name: name, Fields: f, Entry: e}
	for _, k := range []string{"command", "cmd", "argv", "args"} {
		if ev.Command == "" {
			ev.Command = joined(f[k])
		}
	}
	for _, k := range []string{"returncode", "exit_status", "exit_code", "exit"} {
		if c, ok := f[k].(float64); ok && !ev.HasCode && c == float64(int(c)) {
			ev.Code, ev.HasCode = int(c), true
		}
	}
	return ev
}

// begins and ends are how structured loggers close the name of an event that
// announces a command and of the one that reports its end.
var (
	begins = regexp.MustCompile(`\.(?:start|started|begin|exec|run)$`)
	ends   = regexp.MustCompile(`\.(?:finish|finished|end|ended|exit|done|success|succeeded|written|detected|completed)$`)
)

// failure reports whether the program itself calls the event an error.
func (e *Event) failure() bool {
	level, _ := e.Fields["level"].(string)
	status, _ := e.Fields["status"].(string)
	return level == "error" || level == "critical" || status == "error" || status == "failed" || failedRe.MatchString(e.Name)
}

// failedRe: events named for a failure, "….apply_failed", "….detect.error".
var failedRe = regexp.MustCompile(`(?:[._]failed|[._]failure|[._]error|\.exception)$`)

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
	// systemd: "UNIT: Failed with result 'exit-code'.", "UNIT: Main process
	// exited, code=exited, status=1/FAILURE".
	resultRe = regexp.MustCompile(`^Failed with result '([a-z-]+)'\.$`)
	exitRe   = regexp.MustCompile(`^Main process exited, code=(\w+), status=(\S+)$`)
)

// maxExplained and maxAttempt bound the work on a journal full of failures.
const (
	maxExplained = 64
	maxAttempt   = 20000
)

// whole reports whether l begins with its unit's start: status shows the last
// lines only, and cut.
func (in *interp) whole(l *Log) bool {
	for i := range l.Entries {
		if m := starting(l.Entries[i].Message); m != nil && manager(&l.Entries[i]) && in.unitOf(m[1]) == l.Scope {
			return true
		}
	}
	return false
}

// log states what a journal says about units. A part of a log explains no
// failure that a whole one explained.
func (in *interp) log(l *Log, whole bool) {
	from := map[string]int{} // unit -> where its present attempt begins
	first, boot, explained := 0, "", 0
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.BootID != boot {
			first, boot = i, e.BootID
			clear(from)
		}
		if !manager(e) {
			continue
		}
		if m := starting(e.Message); m != nil {
			if u := in.unitOf(m[1]); u != "" {
				in.p.State("unit.ran", u, "yes", e.Evidence)
				in.logged(u, "activating", e.Evidence)
				from[u] = i + 1
			}
		} else if m := finished(e.Message); m != nil {
			if u := in.unitOf(m[1]); u != "" && strings.HasPrefix(e.Message, "Finished") {
				in.p.State("unit.finished", u, "yes", e.Evidence)
			}
		} else if m := unitMsg(e.Message); m != nil {
			begin := max(first, from[m[1]], i-maxAttempt)
			if in.message(l, m[1], m[2], *e, l.Entries[begin:i], explained < maxExplained, whole) {
				explained++
				from[m[1]] = i + 1
			}
		}
	}
}

// logged is a state that a log leads to.
type logged struct {
	unit, state string
	ev          bundle.Evidence
}

func (in *interp) logged(unit, state string, ev bundle.Evidence) {
	in.states = append(in.states, logged{unit, state, ev})
}

// settle states what the logs led to. Where that is in the end what systemctl or
// the console tells in the same artifact, theirs is the word to quote.
func (in *interp) settle() {
	last := map[where]word{}
	for _, s := range in.states {
		at := where{s.ev.Path, s.unit}
		if w, ok := last[at]; !ok || s.ev.Start >= w.at {
			last[at] = word{s.state, s.ev.Start}
		}
	}
	for _, s := range in.states {
		at := where{s.ev.Path, s.unit}
		if in.told[at].state != last[at].state {
			in.p.State("unit.active", s.unit, s.state, s.ev)
		}
	}
}

// dependencyRe: systemd gave a start job up because of another unit.
var dependencyRe = regexp.MustCompile(`^Job \S+/start failed with result 'dependency'\.$`)

// message takes systemd's "UNIT: text" and reports whether it is the unit's
// failure.
func (in *interp) message(l *Log, unit, text string, e journal.Entry, attempt []journal.Entry, explain, whole bool) bool {
	switch {
	case text == "Deactivated successfully.":
		in.logged(unit, "inactive", e.Evidence)
		in.p.State("unit.result", unit, "success", e.Evidence)
		if l.Scope == unit && whole {
			in.survived(unit, mine(l, unit, attempt))
		}
	case dependencyRe.MatchString(text):
		in.p.State("unit.result", unit, "dependency", e.Evidence)
	case strings.HasPrefix(text, "Failed with result "):
		result := ""
		if m := resultRe.FindStringSubmatch(text); m != nil {
			result = m[1]
			in.p.State("unit.result", unit, result, e.Evidence)
		}
		in.logged(unit, "failed", e.Evidence)
		if explain && in.broke(result, lastExit(attempt, unit)) && (l.Scope == unit || l.Scope == "") && (whole || !in.explained[unit]) {
			in.explained[unit] = true
			in.why(unit, mine(l, unit, attempt), e)
		}
		return true
	}
	return false
}

// broke reports whether a failure is the unit's own: who stops or restarts a
// unit ends it by SIGTERM, and a start limit only repeats what failed before.
func (in *interp) broke(result, exit string) bool {
	return result != "start-limit-hit" && !(result == "signal" && exit == "15/TERM")
}

// lastExit returns how the main process of unit ended.
func lastExit(es []journal.Entry, unit string) string {
	for i := len(es) - 1; i >= 0; i-- {
		if m := unitMsg(es[i].Message); m != nil && m[1] == unit {
			if x := exitRe.FindStringSubmatch(m[2]); x != nil {
				return x[2]
			}
		}
	}
	return ""
}

// mine keeps the entries of unit: all of a journal that was asked for it, else
// those of its processes and systemd's about it.
func mine(l *Log, unit string, es []journal.Entry) []journal.Entry {
	if l.Scope == unit {
		return es
	}
	var own []journal.Entry
	for i := range es {
		e := &es[i]
		if e.Unit == unit || e.Unit == "" && ofUnit(e.Ident, unit) || strings.HasPrefix(e.Message, unit+": ") {
			own = append(own, *e)
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
			if len(l.Text) < 10 || l.Text[0] != '[' && l.Text[0] != ' ' || l.Typed || !mayStatus(l.Text) {
				continue
			}
			if m := consoleRe.FindStringSubmatch(strings.TrimRight(l.Text, " ")); m != nil {
				in.onConsole(m[1], in.unitOf(m[2]), t.Evidence(l))
			}
		}
	}
}

// mayStatus reports whether consoleRe may match text, which is much cheaper to
// tell.
func mayStatus(text string) bool {
	text = strings.TrimLeft(text, "[ ")
	return strings.HasPrefix(text, "OK") || strings.HasPrefix(text, "FAILED] ") || strings.HasPrefix(text, "Finished ") || strings.HasPrefix(text, "Failed to ") || strings.HasPrefix(text, "Starting ")
}

// systemd's status output: "[  OK  ] Finished DESC.", "[FAILED] Failed to
// start DESC.", "         Starting DESC...".
var consoleRe = regexp.MustCompile(`^(?:\[ +OK +\]|\[FAILED\]| {8}) (Finished|Failed to start|Starting) (.+?)\.+$`)

func (in *interp) onConsole(verb, unit string, ev bundle.Evidence) {
	if unit == "" {
		return
	}
	switch verb {
	case "Starting":
		in.p.State("unit.ran", unit, "yes", ev)
		in.active(unit, "activating", ev)
	case "Finished":
		in.p.State("unit.finished", unit, "yes", ev)
	default:
		in.active(unit, "failed", ev)
	}
}
