// Package harness judges the observer: whether the program that drove the
// console read prompts and answers as the guest gave them.
//
// What a harness believes is in its log; what the guest said is in the
// transcript. The observer misread when it matched a marker that stands only
// in its own echo, reports a user id that the guest never answered, went on as
// root after the guest had answered otherwise, timed out on a prompt that was
// there once escapes are taken out, or filed one command's answer under
// another's name. Matching an echo of a prompt that comes anyway does no harm
// and is no misreading.
//
// A harness's log is a copy of what it received, cut at escapes and stamped
// when the buffer was drained; nothing about the guest is read from it.
package harness

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/shell"
)

// Analyzer judges the observer.
var Analyzer = &analyzers.Analyzer{
	Name:     "harness",
	Doc:      "Compares what the driver of the console believed with what the guest said.",
	Requires: []*analyzers.Analyzer{console.Analyzer, commands.Analyzer, shell.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "harness.misread", Doc: "What the observer took for what it was not.", Values: nil, Repeats: true},
		{Name: "harness.read", Doc: "An answer that the observer reports as the guest gave it.", Values: nil, Repeats: true},
		{Name: "harness.typed", Doc: "A program typed into the console: its lines stand in the transcript as they were sent.", Values: []string{"yes"}, Repeats: true},
		{Name: "harness.gave-up", Doc: "The observer's wait ended without what it waited for.", Values: nil, Repeats: true},
	},
	Run: run,
}

func run(p *analyzers.Pass) (any, error) {
	g := guest(p)
	for _, t := range console.From(p) {
		if t.Artifact.Kind == bundle.Harness {
			(&log{p: p, t: t, g: g}).read()
		}
	}
	for _, d := range commands.From(p) {
		if d.Kind == bundle.Serial {
			typed(p, d)
			ahead(p, d)
		} else {
			filed(p, d)
		}
	}
	return nil, nil
}

// saidBy is what the guest said, from its transcripts.
type saidBy struct {
	uids     map[string]bundle.Evidence
	answers  map[string]bundle.Evidence // whole answer lines
	sent     []commands.Line            // whole typed lines
	commands []*commands.Command
}

func guest(p *analyzers.Pass) *saidBy {
	g := &saidBy{uids: map[string]bundle.Evidence{}, answers: map[string]bundle.Evidence{}}
	for _, id := range shell.From(p) {
		for _, u := range id.UIDs {
			g.uids[u.Value] = u.Evidence
		}
	}
	for _, d := range commands.From(p) {
		if d.Kind != bundle.Serial {
			continue
		}
		g.commands = append(g.commands, d.Commands...)
		for _, c := range d.Commands {
			for _, l := range c.Answer {
				g.answers[strings.TrimSpace(l.Text)] = l.Evidence
			}
		}
		g.sent = append(g.sent, d.Typed...)
	}
	return g
}

// log reads one harness log.
type log struct {
	p *analyzers.Pass
	t *console.Transcript
	g *saidBy

	buffer *bundle.Evidence // the last pexpect dump's buffer line
	text   string           // that buffer without escapes
	seen   map[string]bool
}

var (
	// "Matched pattern: '__ROOT__'" as harnesses over pexpect log it.
	matchedRe = regexp.MustCompile(`[Mm]atched (?:pattern|prompt|marker):? '([A-Za-z0-9_]{4,80})'`)
	// A user id that the harness reports: "id -u after sudo -i returned: '0'",
	// "attempt=2, source=serial log tail, uid=2004".
	uidRe = regexp.MustCompile(`id -u(?: after [^:]+)? returned:? '?(\d{1,10})'?$|\buid=(\d{1,10})(?:$|[ ,])`)
	// pexpect's str(spawn) in a TIMEOUT or EOF.
	bufferRe  = regexp.MustCompile(`^(?:E +)?buffer \(last \d+ chars\): (?:b)?('.*'|".*")$`)
	searchRe  = regexp.MustCompile(`^(?:E +)?\d+: re\.compile\((?:b|r)?('.*'|".*")(?:, .*)?\)$`)
	timeoutRe = regexp.MustCompile(`^(?:E +)?(?:pexpect\.exceptions\.)?(?:TIMEOUT|EOF)\b|Timeout exceeded|Timed out waiting for`)
)

func (l *log) read() {
	l.seen = map[string]bool{}
	for i := range l.t.Lines {
		ln := &l.t.Lines[i]
		text := strings.TrimRight(ln.Text, " ")
		if text == "" || strings.Contains(text, "Serial output: ") {
			continue
		}
		l.line(text, ln)
	}
}

func (l *log) line(text string, ln *console.Line) {
	if m := matchedRe.FindStringSubmatch(text); m != nil {
		l.matched(m[1], l.t.Evidence(ln))
	}
	if m := uidRe.FindStringSubmatch(text); m != nil {
		l.uid(m[1]+m[2], l.t.Evidence(ln))
	}
	// A dump spells escapes out, so it is read as it stands, not as a terminal
	// would show it.
	raw := strings.TrimRight(string(l.t.Data[ln.Start:ln.End]), "\r\n ")
	if m := bufferRe.FindStringSubmatch(raw); m != nil {
		ev := l.t.Evidence(ln)
		l.buffer, l.text = &ev, plain(pyString(m[1]))
	}
	if m := searchRe.FindStringSubmatch(raw); m != nil && l.buffer != nil {
		l.missed(pyString(m[1]))
	}
	if timeoutRe.MatchString(text) && !l.seen["gave-up"] {
		l.seen["gave-up"] = true
		ev := l.t.Evidence(ln)
		l.p.State("harness.gave-up", "", ev.Quote, ev)
	}
}

// matched judges the match of a marker word: it must stand in an answer. In
// typed lines alone it is the harness's own echo.
func (l *log) matched(marker string, ev bundle.Evidence) {
	if len(l.g.commands) == 0 {
		return
	}
	for a := range l.g.answers {
		if strings.Contains(a, marker) {
			return
		}
	}
	for _, typed := range l.g.sent {
		if !strings.Contains(typed.Text, marker) {
			continue
		}
		why := "matched " + marker + " in its own echoed command: the guest never answered it"
		evs := []bundle.Evidence{ev, typed.Evidence}
		if u, ok := l.g.uids["other"]; ok {
			why = "matched " + marker + " in its own echoed command: the guest answered " + u.Quote
			evs = append(evs, u)
		}
		l.p.State("harness.misread", "", why, evs...)
		return
	}
}

// uid judges a user id that the harness reports.
func (l *log) uid(uid string, ev bundle.Evidence) {
	if said, ok := l.g.uids[uid]; ok {
		l.p.State("harness.read", "", "uid "+uid, ev, said)
		return
	}
	var ids []string
	evs := []bundle.Evidence{ev}
	for u, said := range l.g.uids {
		if u != "other" {
			ids = append(ids, u)
			evs = append(evs, said)
		}
	}
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	slices.SortFunc(evs[1:], func(a, b bundle.Evidence) int { return int(a.Start - b.Start) })
	why := "took " + uid + " for the user id: the guest answered " + strings.Join(ids, ", ")
	if digits(uid) {
		why += " (digits of the escape sequence ESC[?2004h or l)"
	}
	l.p.State("harness.misread", "", why, evs...)
}

// digits reports whether s could be torn from ESC[?2004h and what follows it.
func digits(s string) bool { return strings.HasPrefix(s, "200") || s == "20" || s == "04" || s == "4" }

// missed judges a pattern that the harness waited for in vain: when it matches
// what stood in the buffer without escapes, the prompt was there.
func (l *log) missed(pattern string) {
	re, err := regexp.Compile(pattern)
	if err != nil || len(pattern) > 200 || re.MatchString("") {
		return
	}
	if !re.MatchString(l.text) || !promptRe.MatchString(l.text) {
		return
	}
	key := "missed " + pattern
	if l.seen[key] {
		return
	}
	l.seen[key] = true
	l.p.State("harness.misread", "", "timed out on a prompt that is there: "+bundle.Printable(pattern)+" does not match it only because of escape sequences", *l.buffer)
}

// promptRe is a text that ends in a shell's prompt or getty's question.
var promptRe = regexp.MustCompile(`(?:[$#>]|login:|[Pp]assword:) ?$`)

// pyString decodes a Python string literal as repr prints it.
func pyString(s string) string {
	q := s[0]
	body := s[1 : len(s)-1]
	if q == '\'' {
		body = strings.ReplaceAll(strings.ReplaceAll(body, `\'`, `'`), `"`, `\"`)
	}
	u, err := strconv.Unquote(`"` + body + `"`)
	if err != nil {
		return ""
	}
	return u
}

var escapeRe = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])`)

// plain drops escape sequences and carriage returns, and keeps outer space.
func plain(s string) string {
	return strings.ReplaceAll(escapeRe.ReplaceAllString(s, ""), "\r", "")
}

// typed states that a program types here: a prompt or a marker is set, which
// people do not do.
func typed(p *analyzers.Pass, d *commands.Dialogue) {
	for _, l := range d.Typed {
		if strings.HasPrefix(l.Text, "export PS1=") || markerRe.MatchString(l.Text) {
			p.State("harness.typed", "", "yes", l.Evidence)
			if strings.HasPrefix(l.Text, "export PS1=") {
				return
			}
		}
	}
}

var markerRe = regexp.MustCompile(`\becho _{2}[A-Z]|printf '_{2}[A-Z]`)

// questionRe asks whether the session is root, with a marker for each answer.
var questionRe = regexp.MustCompile(`id -u.*then echo (\S+?);? *else echo (\S+?);? *fi`)

// ahead finds a harness that goes on before the guest has answered whether it
// is root, and never becomes root after an answer that says it is not: it took
// its own echo for the answer.
func ahead(p *analyzers.Pass, d *commands.Dialogue) {
	for _, c := range d.Commands {
		if !questionRe.MatchString(c.Text) {
			continue
		}
		uid, answer, ok := shell.UserID(c)
		if !ok || uid == "0" || escalates(d) {
			return
		}
		asked := -1
		for i, l := range d.Typed {
			if l.Text == c.Text && l.Evidence.Start < answer.Start && asked < 0 {
				asked = i
			}
		}
		if asked < 0 {
			return
		}
		for _, l := range d.Typed[asked+1:] {
			if l.Text != c.Text && l.Evidence.Start < answer.Start {
				p.State("harness.misread", "", "sent "+quoted(l.Text)+" before the guest had answered "+answer.Quote+", and went on as if it were root: it matched its own echo", l.Evidence, d.Typed[asked].Evidence, answer)
				return
			}
		}
		return
	}
}

func quoted(s string) string { return "`" + bundle.Printable(s) + "`" }

// escalates reports whether the session ever tried to become root.
func escalates(d *commands.Dialogue) bool {
	for _, l := range d.Typed {
		if w := strings.Fields(l.Text); len(w) > 0 && (w[0] == "sudo" || w[0] == "su") {
			return true
		}
	}
	return false
}

// kinds of answers, by what only they hold, and the words in a capture's name
// that promise them.
var kinds = []struct {
	name, promise string
	re            *regexp.Regexp
}{
	{"systemctl status", "systemctl_status", regexp.MustCompile(`^\s*[●○×↻*] \S+\.service - `)},
	{"networkctl status", "networkctl", regexp.MustCompile(`^\s*[●○] \d+: \S+$`)},
	{"systemctl list-jobs", "list_jobs", regexp.MustCompile(`^JOB +UNIT +TYPE`)},
	{"the status file", "storage_status", regexp.MustCompile(`^STATE=\w+`)},
	{"systemctl show", "systemctl_show", regexp.MustCompile(`^After=`)},
	{"journalctl", "journalctl", regexp.MustCompile(`^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ systemd\[1\]: Starting `)},
}

// filed finds a capture whose name promises another command's answer than it
// holds.
func filed(p *analyzers.Pass, d *commands.Dialogue) {
	promised := ""
	base := strings.ReplaceAll(strings.ToLower(path.Base(d.Path)), "-", "_")
	for _, k := range kinds {
		if strings.Contains(base, k.promise) {
			promised = k.name
			break
		}
	}
	if promised == "" || len(d.Commands) != 1 {
		return
	}
	for _, l := range d.Commands[0].Answer {
		for _, k := range kinds {
			if !k.re.MatchString(strings.TrimRight(l.Text, " ")) {
				continue
			}
			if k.name != promised {
				p.State("harness.misread", "", "filed the answer of "+k.name+" as "+path.Base(d.Path)+": it reads one answer behind", l.Evidence)
			}
			return
		}
	}
}
