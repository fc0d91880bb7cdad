package units

import (
	"path"
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/journal"
)

// cause is one candidate for why a unit failed.
type cause struct {
	rank int // lower is nearer to what broke
	text string
	ev   bundle.Evidence
}

// Ranks of what a failing unit logs.
const (
	rankCommand = iota // the shell did not find a command
	rankUnit           // systemd did not find a unit
	rankError          // a tool's "error:" line
	rankRaised         // an exception of its own
	rankUsage          // a tool rejected its command line
	rankPassed         // an exception or event that passes a command's failure on
	rankStatus         // the exit status
	ranks
)

var (
	// bash: "script: line 143: modprobe: command not found"; dash: "sh: 1: modprobe: not found".
	notFoundRe = regexp.MustCompile(`(?:line \d+|: \d+): (\S+): (?:command )?not found$|^(?:\S+: )?(\S+): command not found$`)
	// systemd's exec_spawn and Python's subprocess.
	noExecRe = regexp.MustCompile(`FileNotFoundError: \[Errno 2\] No such file or directory: '([^'/]+)'$|Failed (?:to execute|at step EXEC spawning) (\S+?): No such file or directory`)
	// systemctl: "Failed to restart X: Unit X not found."
	noUnitRe = regexp.MustCompile(`Unit (\S+\.\w+) (?:not found|could not be found|not loaded|does not exist)`)
	// nix, disko, util-linux, git, … A warning about an error is not one.
	errorRe = regexp.MustCompile(`^(?:[\w./@+-]+: )*[Ee]rror: (\S.*)$`)
	// Python: "OSError: [Errno 22] Invalid argument", "subprocess.CalledProcessError: Command …".
	raisedRe = regexp.MustCompile(`^(?:[A-Za-z_]\w*\.)*([A-Z]\w*(?:Error|Exception|Interrupt|Exit|Expired|Timeout|Warning))(?:: (.*))?$`)
	usageRe  = regexp.MustCompile(`^[Uu]sage: (\S+)`)
	// Passing a failure on.
	passedRe = regexp.MustCompile(`CalledProcessError|SystemExit|TimeoutExpired`)
	frameRe  = regexp.MustCompile(`^\s*File "([^"]+)", line \d+, in (\S+)`)
)

// why states why unit failed: the last candidate of the best rank, because a
// failure is noticed where it stands last.
func (in *interp) why(unit string, es []journal.Entry, failed journal.Entry) {
	best := candidates(es)
	var c *cause
	for i := range best {
		if best[i].text != "" {
			c = &best[i]
			break
		}
	}
	if c == nil {
		for i := len(es) - 1; i >= 0; i-- {
			if m := unitMsgRe.FindStringSubmatch(es[i].Message); m != nil && exitRe.MatchString(m[2]) {
				c = &cause{rank: rankStatus, text: es[i].Message, ev: es[i].Evidence}
				break
			}
		}
	}
	if c == nil {
		c = &cause{rank: rankStatus, text: failed.Message, ev: failed.Evidence}
	}
	text := bundle.Printable(c.text)
	ev := []bundle.Evidence{c.ev}
	if p := best[rankPassed]; p.text != "" && c.rank < rankPassed {
		ev = append(ev, p.ev)
		if c.rank == rankUsage {
			text = bundle.Printable(p.text) + "; it printed its usage: " + text
		}
	}
	ev = append(ev, failed.Evidence)
	in.p.State("unit.error", unit, text, ev...)
	in.p.State("unit.error-in", unit, topic(es), ev...)
	in.lacks(unit, es)
}

// candidates returns the last candidate of each rank.
func candidates(es []journal.Entry) [ranks]cause {
	var best [ranks]cause
	keep := func(rank int, text string, e journal.Entry) {
		best[rank] = cause{rank, text, e.Evidence}
	}
	traceback := false
	for _, e := range es {
		msg := strings.TrimSpace(e.Message)
		if strings.HasPrefix(msg, "Traceback (most recent call last)") {
			traceback = true
			continue
		}
		m := raisedRe.FindStringSubmatch(msg)
		switch {
		case strings.HasPrefix(msg, "warning:") || strings.HasPrefix(msg, "{"):
		case notFoundRe.MatchString(msg) || noExecRe.MatchString(msg):
			keep(rankCommand, msg, e)
		case noUnitRe.MatchString(msg):
			keep(rankUnit, msg, e)
		case traceback && m != nil && passedRe.MatchString(m[1]):
			keep(rankPassed, msg, e)
		case traceback && m != nil:
			keep(rankRaised, msg, e)
		case errorRe.MatchString(msg):
			keep(rankError, msg, e)
		case usageRe.MatchString(msg):
			keep(rankUsage, msg, e)
		}
	}
	return best
}

// lacks states commands and units that the unit's script did not find.
func (in *interp) lacks(unit string, es []journal.Entry) {
	for _, e := range es {
		msg := strings.TrimSpace(e.Message)
		if m := notFoundRe.FindStringSubmatch(msg); m != nil {
			in.p.State("unit.lacks-command", unit, m[1]+m[2], e.Evidence)
		} else if m := noExecRe.FindStringSubmatch(msg); m != nil {
			in.p.State("unit.lacks-command", unit, m[1]+m[2], e.Evidence)
		}
		if m := noUnitRe.FindStringSubmatch(msg); m != nil {
			in.p.State("unit.lacks-unit", unit, m[1], e.Evidence)
		}
	}
}

// topics are words that name a part of provisioning in modules, functions,
// events and commands; the order is that of precedence.
var topics = []struct {
	name string
	re   *regexp.Regexp
}{
	{"detect", regexp.MustCompile(`(?i)detect[-_.]?storage|storage[-_.]?detect|inventory|classif|detect_existing|probe[-_.]disk|scan[-_.]disk|wipefs|enumerate_disks`)},
	{"network", regexp.MustCompile(`(?i)(?:^|[^a-z])network|(?:^|_)lan(?:$|_)|dhcp|carrier|interface|systemd-networkd`)},
	{"apply", regexp.MustCompile(`(?i)(?:^|[^a-z])apply|disko|partition|provision|mkfs|(?:pv|vg|lv)create|sgdisk|format`)},
}

// topic says which part of the work broke: the innermost frame of the last
// traceback that names one, else the last event or command that does.
func topic(es []journal.Entry) string {
	var frames, events []string
	for _, e := range es {
		msg := strings.TrimSpace(e.Message)
		switch {
		case strings.HasPrefix(msg, "Traceback"):
			frames = frames[:0]
		case frameRe.MatchString(msg):
			m := frameRe.FindStringSubmatch(msg)
			if !strings.Contains(m[1], "/lib/python3") || strings.Contains(m[1], "site-packages") || strings.Contains(m[1], "dist-packages") {
				frames = append(frames, path.Base(m[1])+" "+m[2])
			}
		case strings.HasPrefix(msg, "{"):
			events = append(events, eventName(msg))
		}
	}
	for i := len(frames) - 1; i >= 0; i-- {
		if t := named(frames[i]); t != "" {
			return t
		}
	}
	for i := len(events) - 1; i >= 0; i-- {
		if t := named(events[i]); t != "" {
			return t
		}
	}
	return "other"
}

func named(s string) string {
	for _, t := range topics {
		if t.re.MatchString(s) {
			return t.name
		}
	}
	return ""
}

var eventRe = regexp.MustCompile(`"event": ?"([^"]+)"`)

func eventName(msg string) string {
	if m := eventRe.FindStringSubmatch(msg); m != nil {
		return m[1]
	}
	return ""
}
