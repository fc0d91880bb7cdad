// Package harness judges the observer: whether the program that drove the
// console read prompts and answers as the guest gave them.
//
// What a harness believes is in its log; what the guest said is in the
// transcript. The observer misread when it matched a marker in its own echo and
// the guest answered with the other one of that question, reports a user id
// that the guest did not answer, went on as root after the guest had answered
// otherwise, timed out on a prompt that was there once escapes are taken out,
// or filed one command's answer under another's name. Matching an echo of a
// prompt that comes anyway does no harm and is no misreading.
//
// A misreading needs what the guest said: silence is none, for a transcript may
// be cut. So a reported user id is compared only where the transcript has as
// many answers as the log has reports, and where it shows the sudo or su that
// the log tells of.
//
// A harness's log is a copy of what it received, cut at escapes and stamped
// when the buffer was drained; nothing about the guest is read from it. It may
// hold journals and kernel messages, so a user id is believed only in the words
// of a report, not anywhere that "uid=" stands.
//
// Left out: time-outs on a prompt that the pattern would have matched as it came
// (the guest may have shown it later), and lines that tell what the harness
// concluded.
package harness

import (
	"bytes"
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
	for _, a := range p.Run.Of(bundle.Access) {
		gaveUp(p, a)
	}
	for _, id := range shell.From(p) {
		a := p.Run.Artifact(id.Path)
		if a == nil || a.Kind != bundle.Access {
			continue
		}
		// What the capture's own dialogue read came with its checksum.
		for _, u := range id.UIDs {
			p.State("harness.read", "", "uid "+u.Value, u.Evidence)
		}
	}
	for _, d := range commands.From(p) {
		switch d.Kind {
		case bundle.Serial:
			typed(p, d)
			ahead(p, d, console.From(p))
		case bundle.Probe: // a record says itself what was asked
		default:
			filed(p, d)
		}
	}
	return nil, nil
}

// saidBy is what the guest said, from its transcripts.
type saidBy struct {
	uids     []answered            // in order
	plain    []*console.Transcript // transcripts
	commands []*commands.Command
	at       map[string][]int           // their places, by text, once asked for
	paste    bool                       // bracketed paste was switched
	digits   map[string]bundle.Evidence // lines that are a number and nothing else
}

// answered is a user id that the guest answered.
type answered struct {
	shell.UID
	after string // the sudo or su before it, "" when there is none
}

func guest(p *analyzers.Pass) *saidBy {
	g := &saidBy{}
	for _, d := range commands.From(p) {
		if d.Kind == bundle.Serial {
			g.dialogue(d)
		}
	}
	for _, t := range console.From(p) {
		if t.Artifact.Kind == bundle.Serial {
			g.plain = append(g.plain, t)
			g.paste = g.paste || bytes.Contains(t.Data, []byte("\x1b[?2004"))
		}
	}
	g.digits = digitLines(g.plain)
	return g
}

func (g *saidBy) dialogue(d *commands.Dialogue) {
	after := ""
	for _, c := range d.Commands {
		if uid, ev, ok := shell.UserID(c); ok && len(g.uids) < maxJudged {
			g.uids = append(g.uids, answered{shell.UID{Value: uid, Evidence: ev}, after})
		}
		if strings.Contains(c.Text, "su") && escalateRe.MatchString(c.Text) {
			after = c.Text
		}
	}
	g.commands = append(g.commands, d.Commands...)
}

// places returns where the guest ran a command among all those that it ran.
func (g *saidBy) places(text string) []int {
	if g.at == nil {
		g.at = map[string][]int{}
		for i, c := range g.commands {
			g.at[c.Text] = append(g.at[c.Text], i)
		}
	}
	return g.at[text]
}

// said returns the last answer with that user id.
func (g *saidBy) said(uid string, after string) (bundle.Evidence, bool) {
	for _, u := range slices.Backward(g.uids) {
		if u.Value == uid && (after == "" || u.after == after) {
			return u.Evidence, true
		}
	}
	return bundle.Evidence{}, false
}

// numbers returns the user ids that the guest answered, with their evidence.
func (g *saidBy) numbers(after string) (ids []string, evs []bundle.Evidence) {
	for _, u := range g.uids {
		if u.Value != "other" && (after == "" || u.after == after) && !slices.Contains(ids, u.Value) {
			ids, evs = append(ids, u.Value), append(evs, u.Evidence)
		}
	}
	slices.Sort(ids)
	return ids, evs
}

// digitLines returns the lines of the guest that are a number and nothing else.
func digitLines(ts []*console.Transcript) map[string]bundle.Evidence {
	m := map[string]bundle.Evidence{}
	for _, t := range ts {
		for i := range t.Lines {
			l := &t.Lines[i]
			if text := strings.TrimSpace(l.Text); !l.Typed && l.TypedFrom < 0 && isNumber(text) {
				m[text] = t.Evidence(l)
			}
		}
	}
	return m
}

// isNumber reports whether s is a number of up to ten digits and nothing else.
func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 10
}

// log reads one harness log.
type log struct {
	p *analyzers.Pass
	t *console.Transcript
	g *saidBy

	words   string           // how the last wait ended
	gaveUp  *bundle.Evidence // where it says so
	buffer  *bundle.Evidence // the last pexpect dump's buffer line
	raw     string           // that buffer
	text    string           // that buffer without escapes
	seen    map[string]bool
	await   string          // the patterns that are waited for
	awaitAt bundle.Evidence // where it says so
	asked   string          // the command whose answer is awaited
	askedAt bundle.Evidence // where it says so
	becomes bool            // the log told of sudo or su
	reports int             // user ids in this log
	nth     map[string]int  // reports so far, by the sudo or su that they name
	judged  map[string]int  // lines judged, by kind
	asks    map[string]int  // how often the log asks for each command
	last    string          // the last report, so that a repeated line counts once
}

var (
	// The stamp that starts a line, as datetime.isoformat and logging print it.
	stampRe = regexp.MustCompile(`^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[+-]\d\d:?\d\d|Z)?\]? `)
	// What the guest sent, copied: "Serial output: …".
	copiedRe = regexp.MustCompile(`^(?:Serial(?: output| \(unmatched\))?|Received|Output|<<<?|RX|recv): `)
	// "Matched pattern: '__ROOT__'" as harnesses over pexpect log it.
	matchedRe = regexp.MustCompile(`[Mm]atched(?: (?:pattern|prompt|marker))?:? '([A-Za-z0-9_]{4,80})'$`)
	// A user id that the harness reports: "id -u after sudo -i returned: '0'",
	// and among details, "attempt=2, source=serial log tail, uid=2004". In
	// messages of the kernel's audit and of D-Bus it stands among blanks.
	returnedRe = regexp.MustCompile(`^id -u(?: after (sudo[^:]*?|su[^:]*?))? returned:? '?(\d{1,10})'?$`)
	detailRe   = regexp.MustCompile(`^ *(?:[a-z_]+=[^=,]*, )*uid=(\d{1,10})(?:, [a-z_]+=[^=,]*)*$`)
	// A command that the harness runs, and what it took for the answer.
	askedRe  = regexp.MustCompile(`^(?:Running c|C)ommand(?: \d+)?: (.+)$`)
	answerRe = regexp.MustCompile(`^(?:Answer: '?|Exit \d+, 1 lines?: )(?:uid=)?(\d{1,10})(?:\(\S+ gid=.*|')?$`)
	// What the harness took for an answer, or its first line.
	saidRe = regexp.MustCompile(`^(?:Answer|Exit \d+, \d+ lines?): (\S.{5,})$`)
	// An answer that is the rest of a torn escape sequence: "[0;", "]0;", "[?2004l".
	tornRe = regexp.MustCompile(`^Answer: '?([\[\]]\??[0-9]+[0-9;]*[a-zA-Z]?)'?$`)
	// A user id is asked for.
	whoRe = regexp.MustCompile(`^id(?: -u)?$`)
	// sudo or su in a command, or in what the harness says that it does.
	escalateRe = regexp.MustCompile(`(?:^|\s)(?:sudo|su)(?:\s|$)`)
	// pexpect's str(spawn) in a TIMEOUT or EOF.
	bufferRe = regexp.MustCompile(`^(?:E +)?buffer \(last \d+ chars\): (?:b)?('.*'|".*")$`)
	searchRe = regexp.MustCompile(`^(?:E +| +)?\d+: re\.compile\((?:b|r)?('.*'|".*")(?:, .*)?\)$`)
	// Its exceptions, and how harnesses put them. In a journal that is copied
	// into the log, something else stands before such words.
	timeoutRe = regexp.MustCompile(`^(?:E +)?(?:pexpect\.exceptions\.)?(?:TIMEOUT|EOF)\b|\bTimeout exceeded\.|^(?:\w+: )?(?:pexpect reported (?:TIMEOUT|EOF)|(?:Unexpected )?(?:TIMEOUT|EOF) while|[Tt]imed out (?:after \d|waiting for|while a?waiting|awaiting))`)
	// The patterns that a harness waits for from now on.
	awaitRe = regexp.MustCompile(`^(?:Awaiting patterns|Expecting): (.{1,500}) \(timeout ?=? ?\d+ ?s\)$`)
)

func (l *log) read() {
	l.seen, l.nth, l.judged, l.asks = map[string]bool{}, map[string]int{}, map[string]int{}, map[string]int{}
	for i := range l.t.Lines {
		text := strings.TrimRight(l.t.Lines[i].Text, " ")
		if _, uid, ok := l.report(text); ok && uid != "" {
			l.reports++
		}
		if m := askedRe.FindStringSubmatch(strings.TrimPrefix(text, stampRe.FindString(text))); m != nil {
			l.asks[m[1]]++
		}
	}
	l.asked, l.last = "", ""
	for i := range l.t.Lines {
		ln := &l.t.Lines[i]
		if text := strings.TrimRight(ln.Text, " "); text != "" {
			l.line(text, ln)
		}
	}
}

const (
	// maxJudged bounds how many lines of each kind are judged in one log: each
	// may need a look at the whole transcript.
	maxJudged = 100
	// maxBuffer is far more than the 100 characters that pexpect prints.
	maxBuffer = 4 << 10
)

// may reports whether another line of that kind is to be judged.
func (l *log) may(kind string) bool {
	l.judged[kind]++
	return l.judged[kind] <= maxJudged
}

// report returns the user id that a line reports, and the sudo or su after
// which it was asked for, as far as the line says.
func (l *log) report(text string) (after, uid string, ok bool) {
	body := strings.TrimPrefix(text, stampRe.FindString(text))
	if copiedRe.MatchString(body) {
		return "", "", false
	}
	if m := askedRe.FindStringSubmatch(body); m != nil {
		l.asked = m[1]
		return "", "", false
	}
	if m := returnedRe.FindStringSubmatch(body); m != nil {
		return m[1], m[2], l.fresh(text)
	}
	if m := detailRe.FindStringSubmatch(body); m != nil {
		return "", m[1], l.fresh(text)
	}
	if m := answerRe.FindStringSubmatch(body); m != nil && whoRe.MatchString(l.asked) {
		l.asked = ""
		return "", m[1], l.fresh(text)
	}
	return "", "", false
}

// fresh reports whether a report is not the one before, printed again.
func (l *log) fresh(text string) bool {
	old := l.last
	l.last = text
	return old != text
}

func (l *log) line(text string, ln *console.Line) {
	body := strings.TrimPrefix(text, stampRe.FindString(text))
	if copiedRe.MatchString(body) {
		return
	}
	if askedRe.MatchString(body) {
		l.askedAt = l.t.Evidence(ln)
	}
	if m := matchedRe.FindStringSubmatch(body); m != nil {
		l.matched(m[1], l.t.Evidence(ln))
	}
	if after, uid, ok := l.report(text); ok {
		l.uid(after, uid, l.t.Evidence(ln))
	}
	if m := saidRe.FindStringSubmatch(body); m != nil && l.asked != "" {
		l.behind(m[1], l.t.Evidence(ln))
	}
	if m := tornRe.FindStringSubmatch(body); m != nil && l.asked != "" {
		l.torn(m[1], l.t.Evidence(ln))
	}
	l.becomes = l.becomes || escalateRe.MatchString(body)
	l.dump(ln)
	l.wait(body, l.t.Evidence(ln))
}

// wait follows what the harness waits for.
func (l *log) wait(body string, ev bundle.Evidence) {
	if m := awaitRe.FindStringSubmatch(body); m != nil {
		l.await, l.awaitAt = m[1], ev
		return
	}
	if strings.HasPrefix(body, "Matched") {
		l.await = ""
	}
	if !timeoutRe.MatchString(body) || strings.Contains(body, "waiting for device") {
		return
	}
	l.words, l.gaveUp = bundle.Printable(body), &ev
	if !l.seen["gave-up"] {
		l.seen["gave-up"] = true
		l.p.State("harness.gave-up", "", ev.Quote, ev)
	}
	l.waitedFor(ev)
	l.await = ""
}

// waitedFor judges the patterns of a wait that ended in vain: the guest sits at
// a prompt that one of them matches once escape sequences are taken out.
func (l *log) waitedFor(ev bundle.Evidence) {
	if l.await == "" || l.seen["waited"] || !l.may("waited") {
		return
	}
	for _, t := range l.g.plain {
		p, raw := lastPrompt(t)
		if p == nil {
			continue
		}
		for _, pattern := range strings.Split(strings.ReplaceAll(l.await, " | ", ", "), ", ") {
			if hides(pattern, raw, p.Text) {
				l.seen["waited"] = true
				l.p.State("harness.misread", "", l.missedWhy(pattern), ev, t.PieceEvidence(p), l.awaitAt)
				return
			}
		}
	}
}

// lastPrompt returns the prompt that a transcript ends with, and the raw line
// that shows it; nil when something was run or typed after it.
func lastPrompt(t *console.Transcript) (*console.Piece, string) {
	for i := len(t.Lines) - 1; i >= 0; i-- {
		l := &t.Lines[i]
		if l.Typed || l.TypedFrom >= 0 {
			return nil, ""
		}
		for j := len(l.Pieces) - 1; j >= 0; j-- {
			p := &l.Pieces[j]
			_, rest, ok := t.CutPrompt(p.Text)
			switch {
			case ok && strings.TrimSpace(rest) == "":
				return p, strings.TrimRight(string(t.Data[l.Start:l.End]), "\r\n")
			case ok || p.Paste != console.Same:
				return nil, ""
			}
		}
	}
	return nil, ""
}

// hides reports whether pattern matches the prompt that text ends with, and
// does not match it as it came.
func hides(pattern, raw, text string) bool {
	re, err := regexp.Compile(pattern)
	return err == nil && len(pattern) <= 200 && !re.MatchString("") &&
		!re.MatchString(raw) && re.MatchString(text) && promptRe.MatchString(text)
}

func (l *log) missedWhy(pattern string) string {
	why := "timed out on a prompt that is there: " + bundle.Printable(pattern) + " does not match it only because of escape sequences"
	if l.words != "" {
		why += " (" + l.words + ")"
	}
	return why
}

// dump reads a line of str(spawn). It spells escapes out, so it is read as it
// stands, not as a terminal would show it.
func (l *log) dump(ln *console.Line) {
	raw := strings.TrimRight(string(l.t.Data[ln.Start:ln.End]), "\r\n ")
	if m := bufferRe.FindStringSubmatch(raw); m != nil {
		ev := l.t.Evidence(ln)
		l.buffer, l.raw = &ev, pyString(m[1])
		l.raw = l.raw[max(0, len(l.raw)-maxBuffer):]
		l.text = plain(l.raw)
	}
	if m := searchRe.FindStringSubmatch(raw); m != nil && l.buffer != nil {
		l.missed(pyString(m[1]), l.t.Evidence(ln))
	}
}

// matched judges the match of a marker word that the guest did not answer: in
// the command that holds it, the guest chose another word.
func (l *log) matched(marker string, ev bundle.Evidence) {
	if !l.may("matched") {
		return
	}
	var other *bundle.Evidence
	var asked bundle.Evidence
	for _, c := range l.g.commands {
		if !strings.Contains(c.Text, marker) {
			continue
		}
		chosen, ev := choice(c, marker)
		switch {
		case chosen == marker:
			return
		case chosen != "":
			other, asked = &ev, c.Echo
		}
	}
	if other != nil {
		l.p.State("harness.misread", "", "matched "+marker+" in its own echoed command: the guest answered "+other.Quote, ev, asked, *other)
	}
}

// torn judges an answer that is a piece of an escape sequence: the guest
// answered the command with something else.
func (l *log) torn(answer string, ev bundle.Evidence) {
	if l.seen["torn"] || !l.may("torn") {
		return
	}
	for _, c := range l.g.commands {
		if c.Text != l.asked || !c.Done || len(c.Answer) == 0 {
			continue
		}
		if slices.ContainsFunc(c.Answer, func(a commands.Line) bool { return strings.Contains(a.Text, answer) }) {
			return
		}
		l.seen["torn"] = true
		said := c.Answer[0].Evidence
		l.p.State("harness.misread", "", "took "+answer+" of an escape sequence for the answer of "+quoted(c.Text)+": the guest answered "+said.Quote, ev, said, l.askedAt)
		return
	}
}

// behind judges an answer that the guest did not give to that command, but to
// the one before it. The transcript must show the command as often as the log.
func (l *log) behind(answer string, ev bundle.Evidence) {
	if l.seen["behind"] {
		return
	}
	at := l.g.places(l.asked)
	if len(at) == 0 || len(at) < l.asks[l.asked] || !l.may("behind") {
		return
	}
	var before, said *commands.Line
	for _, i := range at {
		c := l.g.commands[i]
		if !c.Done || len(c.Answer) == 0 || gave(c, answer) != nil {
			return
		}
		if i > 0 && l.g.commands[i-1].Text != c.Text && before == nil {
			before, said = gave(l.g.commands[i-1], answer), &c.Answer[0]
		}
	}
	if before != nil {
		l.seen["behind"] = true
		l.p.State("harness.misread", "", "took "+quoted(answer)+" for the answer of "+quoted(l.asked)+": it reads one answer behind, the guest answered "+said.Evidence.Quote, ev, before.Evidence, said.Evidence, l.askedAt)
	}
}

// gave returns the line of c's answer that holds text, nil when none does.
func gave(c *commands.Command, text string) *commands.Line {
	for i := range c.Answer {
		if strings.Contains(bundle.Printable(c.Answer[i].Text), bundle.Printable(text)) {
			return &c.Answer[i]
		}
	}
	return nil
}

// choiceRe is a command with a word for each outcome, "… then echo A; else
// echo B; fi" or "… && echo A || echo B".
var choiceRe = regexp.MustCompile(`\becho +(\S+?)(?: *; *else| *\|\|) +echo +(\S+?)(?:;? *fi)?$`)

// choice returns which of its words c answered, "" when neither or both, or
// when marker is not one of them.
func choice(c *commands.Command, marker string) (word string, ev bundle.Evidence) {
	m := choiceRe.FindStringSubmatch(c.Text)
	if m == nil || m[1] == m[2] || m[1] != marker && m[2] != marker {
		return "", ev
	}
	for _, l := range c.Answer {
		switch text := strings.TrimSpace(l.Text); text {
		case m[1], m[2]:
			if word != "" && word != text {
				return "", ev
			}
			word, ev = text, l.Evidence
		}
	}
	return word, ev
}

// uid judges a user id that the harness reports.
func (l *log) uid(after, uid string, ev bundle.Evidence) {
	if l.nth[after]++; !l.may("uid") {
		return
	}
	covered := l.covered(after)
	if l.answers(after) < l.nth[after] {
		after = ""
	}
	if said, ok := l.g.said(uid, after); ok {
		l.p.State("harness.read", "", "uid "+uid, ev, said)
		return
	}
	ids, evs := l.g.numbers(after)
	torn := l.g.paste && tornOff(uid)
	switch {
	case len(ids) == 0:
		// A session that echoes nothing shows no question, only the answer.
		if said, ok := l.g.digits[uid]; ok && len(l.g.uids) == 0 {
			l.p.State("harness.read", "", "uid "+uid, ev, said)
		}
		return
	case !torn && !covered:
		return
	}
	why := "took " + uid + " for the user id: the guest answered " + strings.Join(ids, ", ")
	if torn {
		why += " (digits of the escape sequence ESC[?2004h or l)"
	}
	l.p.State("harness.misread", "", why, append([]bundle.Evidence{ev}, evs...)...)
}

// covered reports whether the transcript reaches as far as the report at hand:
// it has as many answers, and one behind the sudo or su that the log told of.
func (l *log) covered(after string) bool {
	if after != "" {
		return l.answers(after) >= l.nth[after]
	}
	became := slices.ContainsFunc(l.g.uids, func(u answered) bool { return u.after != "" })
	return len(l.g.uids) >= l.reports && (became || !l.becomes)
}

// answers counts the user ids that the guest answered after that sudo or su.
func (l *log) answers(after string) int {
	n := 0
	for _, u := range l.g.uids {
		if u.after == after {
			n++
		}
	}
	return n
}

// tornOff reports whether s is digits torn from ESC[?2004h or l.
func tornOff(s string) bool { return s != "0" && s != "00" && strings.Contains("2004", s) }

// missed judges a pattern that the harness waited for in vain: when it matches
// what stood in the buffer without escapes, the prompt was there.
func (l *log) missed(pattern string, at bundle.Evidence) {
	if !l.may("missed") || !hides(pattern, l.raw, l.text) {
		return
	}
	key := "missed " + pattern
	if l.seen[key] {
		return
	}
	l.seen[key] = true
	evs := []bundle.Evidence{*l.buffer}
	if l.gaveUp != nil {
		evs = append(evs, *l.gaveUp)
	}
	l.p.State("harness.misread", "", l.missedWhy(pattern), append(evs, at)...)
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

// ahead finds a harness that goes on before the guest has answered whether it
// is root, and never becomes root after an answer that says it is not: it took
// its own echo for the answer. One that sends everything at once reads nothing
// and so misreads nothing: it must have waited for the guest once, and have put it to
// work.
func ahead(p *analyzers.Pass, d *commands.Dialogue, ts []*console.Transcript) {
	for _, c := range d.Commands {
		if _, _, ok := shell.Question(c.Text); !ok {
			continue
		}
		uid, answer, ok := shell.UserID(c)
		if !ok || uid == "0" || escalates(d) {
			return
		}
		if asked, early := sentEarly(d, c, answer); early != nil && works(d, asked) && waits(d, asked, ts) {
			p.State("harness.misread", "", "sent "+quoted(early.Text)+" before the guest had answered "+answer.Quote+", and went on as if it were root: it matched its own echo", early.Evidence, asked.Evidence, answer)
		}
		return
	}
}

// sentEarly returns where c was sent, and the first other line that was sent
// behind it and before its answer.
func sentEarly(d *commands.Dialogue, c *commands.Command, answer bundle.Evidence) (asked, early *commands.Line) {
	for i := range d.Typed {
		l := &d.Typed[i]
		switch {
		case l.Evidence.Start >= answer.Start:
			return asked, nil
		case l.Text == c.Text && asked == nil:
			asked = l
		case l.Text != c.Text && asked != nil:
			return asked, l
		}
	}
	return asked, nil
}

// works reports whether something was asked of the guest after asked.
func works(d *commands.Dialogue, asked *commands.Line) bool {
	return slices.ContainsFunc(d.Typed, func(l commands.Line) bool {
		ws := commands.Words(l.Text)
		return l.Evidence.Start > asked.Evidence.Start && l.Text != asked.Text && len(ws) > 0 &&
			!slices.Contains([]string{":", "export", "stty", "id", "exit", "poweroff"}, ws[0])
	})
}

// waits reports whether the guest printed something, other than echoes, between
// asked and a line that was sent later.
func waits(d *commands.Dialogue, asked *commands.Line, ts []*console.Transcript) bool {
	i := slices.IndexFunc(ts, func(t *console.Transcript) bool { return t.Path == d.Path })
	if i < 0 {
		return false
	}
	echo, last := map[string]bool{}, 0
	for _, l := range d.Typed {
		echo[l.Text] = true
		last = max(last, l.Evidence.Line)
	}
	for n := asked.Evidence.Line + 1; n <= last; n++ {
		l := ts[i].Line(n)
		text := strings.TrimSpace(l.Text)
		if l.TypedFrom == 0 {
			text = ""
		}
		if l.TypedFrom > 0 || !l.Typed && text != "" && !echo[text] {
			return true
		}
	}
	return false
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
	{"systemctl status", "systemctl_status", regexp.MustCompile(`^\s*[●○×↻*] \S+\.\w+ - |^Unit \S+ could not be found\.`)},
	{"networkctl status", "networkctl", regexp.MustCompile(`^\s*[●○] +(?:\d+: \S+ *$|Interfaces?: )|^IDX LINK |^Interface "\S+" not found\.`)},
	{"systemctl list-jobs", "list_jobs", regexp.MustCompile(`^JOB +UNIT +TYPE|^No jobs (?:running|listed)\.`)},
	{"the status file", "storage_status", regexp.MustCompile(`^STATE=\w+`)},
	{"systemctl show", "systemctl_show", regexp.MustCompile(`^(?:After|Before|Requires|Wants)=\S+\.(?:target|service|socket)`)},
	{"journalctl", "journalctl", regexp.MustCompile(`^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ systemd\[1\]: Starting |^-- No entries --`)},
}

// filed finds a capture whose name promises another command's answer than it
// holds. A name that promises two, and a file that holds what it promises among
// other things, is as it should be; so is a unit file under any name.
func filed(p *analyzers.Pass, d *commands.Dialogue) {
	promised := ""
	base := strings.ReplaceAll(strings.ToLower(path.Base(d.Path)), "-", "_")
	for _, k := range kinds {
		if strings.Contains(base, k.promise) {
			if promised != "" {
				return
			}
			promised = k.name
		}
	}
	if promised == "" {
		return
	}
	held, ev := "", bundle.Evidence{}
	for _, c := range d.Commands {
		for _, l := range c.Answer {
			switch k := kindOf(strings.TrimRight(l.Text, " ")); k {
			case "":
			case promised, "unit file":
				return
			default:
				if held == "" {
					held, ev = k, l.Evidence
				}
			}
		}
	}
	if held != "" {
		p.State("harness.misread", "", "filed the answer of "+held+" as "+path.Base(d.Path)+": it reads one answer behind", ev)
	}
}

// kindOf returns whose answer text shows, "" when it shows nobody's.
func kindOf(text string) string {
	if text == "[Unit]" {
		return "unit file"
	}
	for _, k := range kinds {
		if k.re.MatchString(text) {
			return k.name
		}
	}
	return ""
}

// gaveUpRe is the word of a capture that no shell came before its limit.
var gaveUpRe = regexp.MustCompile(`"gave_up": "([^"\\]*context deadline exceeded[^\n]*)"`)

// gaveUp states that a capture stopped to wait for a shell.
func gaveUp(p *analyzers.Pass, a *bundle.Artifact) {
	data, err := a.Bytes()
	if err != nil {
		return // package shell says so
	}
	if loc := gaveUpRe.FindSubmatchIndex(data); loc != nil {
		ev := bundle.Span(a.Path, data, bundle.NewLineIndex(data), int64(loc[2]), int64(loc[3]))
		p.State("harness.gave-up", "", ev.Quote, ev)
	}
}
