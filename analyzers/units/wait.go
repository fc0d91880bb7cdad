package units

import (
	"regexp"
	"strings"
	"time"

	"forensics/analyzers/bundle"
	"forensics/analyzers/journal"
)

// wait is a blocking systemctl call that a unit's process was seen in.
type wait struct {
	unit, other string
	for_        time.Duration // how long at least; 0 when that is not known
	ev          bundle.Evidence
}

// maxWaits bounds the waits that are judged.
const maxWaits = 256

// blockingRe is a systemctl call that waits for the job it queues, in a
// process tree: "└─872 systemctl start sshd".
var blockingRe = regexp.MustCompile(`[├└|` + "`" + `][─-]+ ?(\d+) (?:/\S+/)?systemctl ((?:start|restart|reload-or-restart|try-restart|isolate) .*)$`)

// waitsFor returns the unit that a systemctl command line waits for, "" when it
// waits for none or is cut.
func waitsFor(args string) string {
	if strings.ContainsAny(args, "…>") {
		return ""
	}
	sc, _ := systemctl(append([]string{"systemctl"}, strings.Fields(args)...))
	if sc.noBlock || len(sc.units) == 0 || !blocking[sc.verb] {
		return ""
	}
	return sc.units[0]
}

// blocking are the verbs that wait for the job that they queue.
var blocking = map[string]bool{"start": true, "restart": true, "reload-or-restart": true, "try-restart": true, "isolate": true}

// blocked states start jobs that wait for what waits for them.
func (in *interp) blocked(logs []*Log) {
	seen := map[string]time.Time{}
	for i := range in.blocks {
		if in.blocks[i].active == "activating" {
			in.statusWait(&in.blocks[i], seen)
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
// it has lasted: from the unit's own word that it makes the call, or from an
// earlier answer that shows the same process in it.
func (in *interp) statusWait(b *status, seen map[string]time.Time) {
	w := wait{unit: b.unit}
	pid, args := "", ""
	for _, l := range b.lines {
		if m := blockingRe.FindStringSubmatch(strings.TrimSpace(l.Text)); m != nil {
			if o := waitsFor(m[2]); o != "" {
				w.other, w.ev, pid, args = o, l.Evidence, m[1], m[2]
			}
		}
	}
	if w.other == "" || len(in.waits) >= maxWaits {
		return
	}
	if !b.since.IsZero() {
		now := b.since.Add(b.age)
		w.for_ = now.Sub(announced(b, args, now))
		key := b.unit + " " + pid + " " + args + " " + b.since.String()
		if at, ok := seen[key]; ok {
			w.for_ = max(w.for_, now.Sub(at))
		} else {
			seen[key] = now
		}
	}
	in.waits = append(in.waits, w)
}

// announced returns when the unit's last message in the block said that it
// makes the call; now when it did not say so: then the call may have begun a
// moment ago.
func announced(b *status, args string, now time.Time) time.Time {
	at := now
	for _, l := range b.lines {
		e, ok := journal.ParseShort(strings.TrimSpace(l.Text))
		if !ok {
			continue
		}
		at = now
		t, err := time.Parse("Jan _2 15:04:05", e.Stamp)
		if err == nil && strings.Contains(unquoted.Replace(e.Message), "systemctl "+args) {
			at = time.Date(now.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location())
		}
	}
	return at
}

// unquoted turns a printed argument vector into a command line.
var unquoted = strings.NewReplacer(`", "`, " ", `', '`, " ", `","`, " ", `"`, "", `'`, "", "[", "", "]", "")

// eventWait finds a systemctl call that the unit's own log says was started
// and never ended.
func (in *interp) eventWait(l *Log) {
	if l.Scope == "" || len(l.Events) == 0 || len(in.waits) >= maxWaits {
		return
	}
	e := l.Events[len(l.Events)-1]
	last := l.Entries[len(l.Entries)-1]
	args, ok := strings.CutPrefix(e.Command, "systemctl ")
	if !ok || e.HasCode || !begins.MatchString(e.Name) || e.Entry.Evidence.Start != last.Evidence.Start {
		return
	}
	if o := waitsFor(args); o != "" {
		in.waits = append(in.waits, wait{unit: l.Scope, other: o, ev: e.Entry.Evidence})
	}
}

// judge states that a unit is blocked when the other is ordered after it, when
// its job is shown to wait beside the unit's own, or when the call has lasted
// longer than a start takes while nothing shows the other's start at work.
func (in *interp) judge(w wait) {
	ev := []bundle.Evidence{w.ev}
	shown := w.for_ >= blockedAfter && !in.starting(w.other)
	if a, ok := in.after[w.other][w.unit]; ok {
		ev, shown = append(ev, a), true
	}
	running, ok1 := in.jobs[job{w.unit, "running"}]
	waiting, ok2 := in.jobs[job{w.other, "waiting"}]
	if ok1 && ok2 {
		ev, shown = append(ev, running, waiting), true
	}
	if shown {
		in.p.State("unit.blocked", w.unit, w.other, ev...)
	}
}

// starting reports whether unit's own start was seen at work: sshd makes its
// keys in it, which takes long under software emulation.
func (in *interp) starting(unit string) bool {
	if _, ok := in.jobs[job{unit, "running"}]; ok {
		return true
	}
	for i := range in.blocks {
		if b := &in.blocks[i]; b.unit == unit && (b.active == "activating" || b.active == "active" || b.active == "reloading") {
			return true
		}
	}
	return false
}
