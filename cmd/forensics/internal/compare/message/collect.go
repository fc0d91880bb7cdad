package message

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"path"
	"slices"
	"sort"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/host/hosttext"
	"forensics/analyzers/journal"
	"forensics/analyzers/kernel"
	"forensics/analyzers/units"
)

// Requires are the analyzers whose results Collect reads.
var Requires = []*analyzers.Analyzer{console.Analyzer, commands.Analyzer, journal.Analyzer, kernel.Analyzer, units.Analyzer}

// The coverages of a run. Besides them, the answer of each command is one, by
// its template.
const (
	ringBuffer    = "kernel"           // the kernel's messages from the first on
	consoleKernel = "kernel/console"   // those that its log level lets through
	wholeJournal  = "journal"          // of all units
	unitJournal   = "journal/"         // and the unit's name
	someJournal   = "journal:"         // and the name of the file, of unknown extent
	emulator      = "console/qemu"     // QEMU's own messages
	bootLoader    = "console/loader"   // before the kernel writes to this console
	consoleOutput = "console/output"   // what the first stages of the boot write to it
	consoleStatus = "console/status"   // what systemd does, and what stands between
	session       = "console/session"  // from the login prompt on, outside of answers
	shutdown      = "console/shutdown" // from the first target that stops
	harnessLog    = "harness:"         // and the name of the file
	buildLog      = "build"
)

// Collect reads the messages of a run. The pass's analyzer requires Requires.
func Collect(p *analyzers.Pass) *Set {
	c := &collector{
		p:         p,
		set:       newSet(),
		dialogues: map[string]*commands.Dialogue{},
		taken:     map[string][]span{},
		ends:      map[string]int64{},
		traces:    map[speaker]*traceback{},
	}
	for _, d := range commands.From(p) {
		c.dialogues[d.Path] = d
	}
	for _, t := range console.From(p) {
		if t.Artifact.Kind == bundle.Serial {
			c.ends[t.Path] = int64(bytes.LastIndexByte(t.Data, '\n') + 1)
		}
	}
	for _, l := range units.From(p) {
		c.journal(l)
	}
	for _, l := range kernel.From(p) {
		c.kernel(l)
	}
	for _, t := range console.From(p) {
		c.console(t)
	}
	for _, l := range hosttext.Logs(p, bundle.Harness) {
		c.host(l, where{class: Harness, realm: harness, cover: harnessLog + Mask(path.Base(l.Path))})
	}
	for _, l := range hosttext.Logs(p, bundle.BuildLog) {
		c.host(l, where{class: Build, realm: build, cover: buildLog})
	}
	return c.set
}

// collector reads one run.
type collector struct {
	p         *analyzers.Pass
	set       *Set
	dialogues map[string]*commands.Dialogue
	taken     map[string][]span // by path: what journals and the kernel said there
	ends      map[string]int64  // of transcripts: where the last whole line ends
	traces    map[speaker]*traceback

	mask    masker
	buf     []byte
	members []member
}

// span is raw bytes of an artifact.
type span struct{ start, end int64 }

// where says who said something.
type where struct {
	class  Class
	realm  realm
	source string
	cover  string // "" where its absence elsewhere says nothing
	urgent bool   // its priority is that of an error
}

// place is where something was said: one of evidence, a piece of a transcript,
// or a line of a log. It spares the evidence of what is known already.
type place struct {
	evidence *bundle.Evidence
	t        *console.Transcript
	piece    *console.Piece
	until    int // of the piece's text
	log      *hosttext.Log
	line     *hosttext.Line
}

func (p place) resolve() bundle.Evidence {
	switch {
	case p.evidence != nil:
		return *p.evidence
	case p.log != nil:
		return p.log.Evidence(p.line, p.line.Text)
	case p.until < len(p.piece.Text):
		return p.t.TextEvidence(p.piece, 0, p.until)
	}
	return p.t.PieceEvidence(p.piece)
}

// speaker tells whose lines belong together.
type speaker struct {
	source string
	pid    int
}

// maxTraces bounds how many programs are followed through their tracebacks at
// the same time.
const maxTraces = 64

// hear takes the next line of a speaker: of a traceback or a message.
func (c *collector) hear(by speaker, w where, text string, at place) {
	t := c.traces[by]
	if t != nil {
		switch t.line(text, at.resolve) {
		case inside:
			return
		case raised:
			delete(c.traces, by)
			c.raise(w, strings.TrimSpace(text), t, at)
			return
		}
		delete(c.traces, by)
		c.raise(t.by, beginsTraceback, t, t.at)
	}
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, beginsTraceback):
		if len(c.traces) < maxTraces {
			c.traces[by] = &traceback{by: w, at: at}
			return
		}
	case strings.HasPrefix(trimmed, directCause), strings.HasPrefix(trimmed, whileHandling):
		return
	}
	c.say(w, trimmed, at)
}

// raise takes an exception with the line that raised it.
func (c *collector) raise(w where, text string, t *traceback, at place) {
	frame := t.where()
	if frame == nil {
		c.say(w, text, at)
		return
	}
	if e := c.say(w, clip(text, maxLine/2)+", at "+clip(frame.text, maxLine/2), at); e != nil {
		if ev := frame.evidence(); ev != e.Evidence[0] {
			e.Evidence = append(e.Evidence, ev.Detached())
			c.set.stored += len(ev.Quote)
		}
		e.Error = true
	}
}

// say takes a message and returns it when it is a new one.
func (c *collector) say(w where, text string, at place) *entry {
	text = clip(text, maxLine)
	c.buf = c.template(c.buf[:0], text)
	if !telling(c.buf) {
		return nil
	}
	e := c.set.index[key{w.realm, w.source, string(c.buf)}]
	if e != nil {
		e.Count++
		e.Class = earlier(e.Class, w.class)
		e.Error = e.Error || w.urgent
	} else {
		if c.set.full() {
			c.set.Overflow++
			return nil
		}
		e = &entry{
			Message: Message{
				Class: w.class, Source: strings.Clone(w.source), Template: string(c.buf), Text: strings.Clone(bundle.Printable(clip(text, maxText))), Count: 1,
				Error: w.urgent || soundsLikeError(text), Evidence: []bundle.Evidence{at.resolve().Detached()},
			},
			realm:  w.realm,
			origin: w.cover,
			runs:   1,
		}
		c.set.add(e)
	}
	if w.cover != "" {
		e.coverBy(w.cover)
	}
	if e.Count > 1 {
		return nil
	}
	return e
}

// errorPriority is syslog's for errors; what is worse has a lower number.
const errorPriority = 3

// template writes the template of a line behind dst.
func (c *collector) template(dst []byte, text string) []byte {
	if n := len(text); n > 2 && text[0] == '{' && text[n-1] == '}' {
		if t, ok := c.appendJSON(dst, text); ok {
			return t
		}
	}
	return c.mask.append(dst, text, false)
}

// telling reports whether a template says anything in words.
func telling(template []byte) bool {
	letters := 0
	for i := 0; i < len(template); i++ {
		b := template[i]
		if n := placeholder(template[i:]); n > 0 {
			i += n - 1
		} else if isAlnum(b) && kinds[b] == isLetter || b >= 0xc3 && b != 0xe2 {
			if letters++; letters == 2 {
				return true
			}
		}
	}
	return false
}

// placeholder returns the length of the placeholder at the start of b, 0 when
// there is none.
func placeholder(b []byte) int {
	if b[0] != '<' {
		return 0
	}
	for _, p := range placeholders {
		if len(b) >= len(p) && string(b[:len(p)]) == p {
			return len(p)
		}
	}
	return 0
}

// clip cuts s before byte n, not within a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// halved reports whether what ends there may be half a message: a transcript
// that was cut ends within a line.
func (c *collector) halved(path string, end int64) bool {
	whole, ok := c.ends[path]
	return ok && end > whole
}

// journal takes the entries of one answer or artifact.
func (c *collector) journal(l *units.Log) {
	cover, ring := c.journalCover(l), false
	raw, shared := c.transcript(l.Path)
	if cover != "" {
		c.set.cover(cover)
		if l.Command != nil && l.Command.Done || l.Command == nil && !shared {
			c.set.whole[cover] = true
		}
	}
	for i := range l.Entries {
		ring = ring || l.Entries[i].Ident == "kernel" && strings.HasPrefix(l.Entries[i].Message, firstMessage)
	}
	if ring {
		c.set.cover(ringBuffer)
	}
	taken := c.taken[l.Path]
	for i := range l.Entries {
		e := &l.Entries[i]
		if shared {
			taken = take(taken, raw, e.Evidence)
		}
		if c.halved(l.Path, e.Evidence.End) {
			continue
		}
		w := where{class: Journal, source: e.Ident, cover: cover, urgent: e.Priority >= 0 && e.Priority <= errorPriority}
		if e.Ident == "kernel" && e.PID == 0 {
			w.class, w.source, w.cover = Kernel, "", ""
			if ring {
				w.cover = ringBuffer
			}
		}
		for line := range strings.Lines(e.Message) {
			c.hear(speaker{e.Ident, e.PID}, w, strings.TrimRight(line, "\r\n"), place{evidence: &e.Evidence})
		}
	}
	if shared {
		c.taken[l.Path] = taken
	}
	c.hangUp()
}

// take adds what ev shows of raw to the spans. Where nothing but a line's end
// stands between it and the last one, that grows: most entries follow each other.
func take(spans []span, raw []byte, ev bundle.Evidence) []span {
	if n := len(spans); n > 0 {
		last := &spans[n-1]
		if last.end <= ev.Start && ev.Start <= int64(len(raw)) && onlyEnds(raw[last.end:ev.Start]) {
			last.end = ev.End
			return spans
		}
	}
	return append(spans, span{ev.Start, ev.End})
}

// onlyEnds reports whether b holds nothing but ends of lines.
func onlyEnds(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// hangUp ends the tracebacks that show no exception.
func (c *collector) hangUp() {
	speakers := slices.SortedFunc(maps.Keys(c.traces), func(a, b speaker) int {
		return cmp.Or(strings.Compare(a.source, b.source), a.pid-b.pid)
	})
	for _, by := range speakers {
		t := c.traces[by]
		before := len(c.set.entries)
		c.raise(t.by, beginsTraceback, t, t.at)
		for _, e := range c.set.entries[before:] {
			e.open = true
		}
	}
	clear(c.traces)
}

// firstMessage begins the kernel's first message.
const firstMessage = "Linux version "

// journalCover says what a journal would have shown; "" when it is a part of
// one: the last lines in the answer of systemctl status, a search.
func (c *collector) journalCover(l *units.Log) string {
	whole := wholeJournal
	if l.Scope != "" {
		whole = unitJournal + l.Scope
	}
	if l.Command == nil || l.Command.Text == "" {
		switch {
		case l.Command != nil && !opens(l):
			return ""
		case l.Scope == "" && !c.isWhole(l):
			return c.savedJournal(l.Path)
		}
		return whole
	}
	words := l.Command.Words()
	if len(words) == 0 || path.Base(words[0]) != "journalctl" {
		return ""
	}
	for _, w := range words[1:] {
		name, _, _ := strings.Cut(w, "=")
		switch name {
		case "-u", "--unit", "-b", "-b0", "--boot", "0", "-o", "--output", "--no-pager", "-a", "--all", "-l", "--full", "-q", "--quiet", "-x", "--no-hostname", "--utc", "-m", "--merge":
		default:
			if strings.HasPrefix(w, "-") || strings.Contains(w, "=") {
				return ""
			}
		}
	}
	return whole
}

// savedJournal is the coverage of a journal of which nothing tells whose it is:
// one that is saved under the same name in another run is of the same extent. On
// a console that is no coverage.
func (c *collector) savedJournal(name string) string {
	if a := c.p.Run.Artifact(name); a == nil || a.Kind == bundle.Serial {
		return ""
	}
	return someJournal + Mask(path.Base(name))
}

// opens reports whether an answer begins with l's first entry.
func opens(l *units.Log) bool {
	return len(l.Command.Answer) == 0 || l.Entries[0].Evidence.Start <= l.Command.Answer[0].Evidence.End
}

// isWhole reports whether a journal of which nobody says what was asked for is
// that of all units: the kernel speaks there, or the manager of several units.
func (c *collector) isWhole(l *units.Log) bool {
	if a := c.p.Run.Artifact(l.Path); a != nil && a.Kind == bundle.NativeJ {
		return true
	}
	started := ""
	for i := range l.Entries {
		e := &l.Entries[i]
		if e.Ident == "kernel" {
			return true
		}
		if what, ok := strings.CutPrefix(e.Message, "Starting "); ok && e.Ident == "systemd" {
			if started != "" && started != what {
				return true
			}
			started = what
		}
	}
	return false
}

// kernel takes the kernel's messages of one artifact, but for those in journals.
func (c *collector) kernel(l *kernel.Log) {
	if l.Kind == bundle.NativeJ || l.Kind == bundle.Journal {
		return
	}
	raw, onConsole := c.transcript(l.Path)
	entries := c.taken[l.Path]
	sort.Slice(entries, func(i, j int) bool { return entries[i].start < entries[j].start })
	end := c.shutdownAt(l.Path)
	full := map[*commands.Command]bool{}
	for i := range l.Messages {
		if m := &l.Messages[i]; strings.HasPrefix(m.Text, firstMessage) {
			full[c.asked(l.Path, m.Evidence.Start)] = true
		}
	}
	if len(full) > 0 {
		c.set.cover(ringBuffer)
	}
	var own []span
	for i, next := 0, 0; i < len(l.Messages); i++ {
		m := &l.Messages[i]
		for next < len(entries) && entries[next].end <= m.Evidence.Start {
			next++
		}
		if next < len(entries) && entries[next].start <= m.Evidence.Start {
			continue
		}
		if c.halved(l.Path, m.Evidence.End) {
			continue
		}
		if onConsole {
			own = take(own, raw, m.Evidence)
		}
		w := where{class: Kernel}
		switch by := c.asked(l.Path, m.Evidence.Start); {
		case full[by]:
			w.cover = ringBuffer
		case by == nil && m.Evidence.Start > end:
			w.cover = shutdown
		case by == nil && l.Kind == bundle.Serial:
			w.cover = consoleKernel
		}
		text := strings.TrimSpace(m.Text)
		var pid int
		if w.source, pid, text = program(text); w.source != "" && w.cover == ringBuffer {
			// Programs write there until the journal takes over, sooner or later.
			w.cover = wholeJournal
		}
		c.hear(speaker{w.source, pid}, w, text, place{evidence: &m.Evidence})
	}
	c.taken[l.Path] = merge(entries, own)
	c.hangUp()
}

// transcript reports whether what stands at path besides journals and the
// kernel's messages is read, too, and returns its bytes.
func (c *collector) transcript(path string) ([]byte, bool) {
	a := c.p.Run.Artifact(path)
	if a == nil {
		return nil, false
	}
	switch a.Kind {
	case bundle.Serial, bundle.Capture, bundle.Unknown, bundle.Probe:
		raw, err := a.Bytes()
		return raw, err == nil
	}
	return nil, false
}

// shutdownAt returns the offset in a transcript from which on the machine shuts
// down.
func (c *collector) shutdownAt(path string) int64 {
	for _, t := range console.From(c.p) {
		if t.Path != path || t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			if l := &t.Lines[i]; strings.HasPrefix(l.Text, "[") && strings.Contains(l.Text, "] "+stoppedTarget) {
				return l.Start
			}
		}
	}
	return math.MaxInt64
}

// asked returns the command that printed the kernel's messages at that offset,
// nil when the kernel did it itself.
func (c *collector) asked(path string, offset int64) *commands.Command {
	d := c.dialogues[path]
	if d == nil {
		return nil
	}
	i := sort.Search(len(d.Commands), func(i int) bool { return d.Commands[i].Echo.Start > offset }) - 1
	if i < 0 {
		return nil
	}
	if by := d.Commands[i]; showsLog(by.Text) {
		return by
	}
	return nil
}

// showsLog reports whether a command prints the kernel's or the journal's
// messages.
func showsLog(command string) bool {
	return strings.Contains(command, "dmesg") || strings.Contains(command, "kmsg") || strings.Contains(command, "journalctl")
}

// program returns who wrote a message into the ring buffer, "" when it was the
// kernel: "systemd[1]: Starting …".
func program(s string) (ident string, pid int, text string) {
	n := 0
	for n < len(s) && n < 64 && (isWord(s[n]) || s[n] == '-' || s[n] == '.' || s[n] == '@') {
		n++
	}
	if n == 0 || n == len(s) || s[n] != '[' || kinds[s[0]] != isLetter {
		return "", 0, s
	}
	d := digits(s[n+1:])
	if d == 0 || d > 9 || !strings.HasPrefix(s[n+1+d:], "]: ") {
		return "", 0, s
	}
	for _, f := range s[n+1 : n+1+d] {
		pid = pid*10 + int(f-'0')
	}
	return s[:n], pid, s[n+1+d+3:]
}

// merge merges two lists of spans in order.
func merge(a, b []span) []span {
	if len(a) == 0 {
		return b
	}
	all := append(a, b...)
	sort.Slice(all, func(i, j int) bool { return all[i].start < all[j].start })
	return all
}

// host takes the lines of a log of the host that are about the host.
func (c *collector) host(l *hosttext.Log, w where) {
	c.set.cover(w.cover)
	if w.realm == harness {
		c.set.whole[w.cover] = true // who drives the guest writes to the end
	}
	for line := range l.Lines() {
		if line.Text == "" || line.Relayed || w.realm == harness && isDialogue(line.Text) {
			continue
		}
		text := line.Text
		if line.Indented {
			text = " " + text // tracebacks go by it
		}
		c.hear(speaker{source: l.Path}, w, text, place{log: l, line: line})
	}
	c.hangUp()
}

// dialogue begins the lines in which harnesses repeat what they typed and what
// the guest printed: "Running command: id -u", "Command 12: …", "Exit 0, 3 lines:
// …", "Serial (unmatched): …".
var dialogue = []string{"Command", "Running command", "Answer", "Exit", "Sending", "Serial", "Received", "Output"}

// isDialogue reports whether a line of a harness repeats the dialogue with the
// guest, or a line of the guest's logs.
func isDialogue(text string) bool {
	if text[0] == '[' {
		return kernelStamp(text) > 0
	}
	for _, d := range dialogue {
		rest, ok := strings.CutPrefix(text, d)
		if !ok {
			continue
		}
		label, _, ok := strings.Cut(rest[:min(len(rest), 24)], ":")
		if ok && (strings.Trim(label, " ,0123456789lines") == "" || label == " (unmatched)") {
			return true
		}
	}
	_, entry := journal.ParseShort(text)
	return entry
}
