// Package commands finds the shell dialogue in a transcript: which commands a
// shell ran and what each of them answered.
//
// What a person or harness typed is not what a shell ran, and neither is an
// answer. On a serial line each command stands two or three times (sent, echoed
// by the terminal, echoed by readline), and with type-ahead the answer to one
// command comes after the echo of the next. The shell itself marks the truth:
// readline turns bracketed paste on when it prints a prompt and off when it
// runs a command. So the command is the text that stood at the prompt when
// paste went off, and its answer is what was printed until paste went on again,
// less typed lines and echoes of type-ahead. Where a shell does not do that
// (yet, or no more), prompts at line starts take its place, and where the
// prompt is not known either, a line that was sent at something like a prompt
// and came back as an echo.
//
// The walk goes forward only: what a transcript has not shown yet changes
// nothing before it, so a cut one has the commands that the whole one has, less
// those behind the cut; only the command at the cut may be another.
//
// A capture file is one answer, perhaps under one or more echoed commands, or
// several under prompts of their own ("$ COMMAND"); its name is not believed.
// Interpreters read answers by content and use the command's words only where
// the content is silent (an empty answer).
//
// A guest's probes are one dialogue for each artifact: argv as a shell line, and
// the lines of stdout and stderr in the order in which the record has them. They
// are no session: nothing was typed, and the order of the records proves nothing.
package commands

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// Dialogue is the commands of one artifact, in order.
type Dialogue struct {
	Path     string
	Kind     bundle.Kind
	Commands []*Command
	// Typed are the lines that the driver sent, in order, with their place.
	Typed []Line
}

// Command is one command that a shell ran.
type Command struct {
	Text   string // what the shell ran; "" when a capture does not say
	Prompt string // the prompt it was typed at, "" when unknown
	Echo   bundle.Evidence
	Answer []Line
	// Done: the prompt came back. The last command of a cut transcript, or one
	// that never ended, is not done.
	Done bool
	// Failed: a probe's record does not say that it ended with status 0.
	Failed bool
	Kind   bundle.Kind
	// JSON is the JSON in the answer, nil when there is none.
	JSON *Document

	words []string
	split bool // words are those of Text
}

// Line is one line of text with its place.
type Line struct {
	Text     string
	Evidence bundle.Evidence
}

// Analyzer finds the dialogues.
var Analyzer = &analyzers.Analyzer{
	Name:     "commands",
	Doc:      "Finds the commands that shells ran in transcripts and captures, with their answers.",
	Requires: []*analyzers.Analyzer{console.Analyzer},
	Run:      run,
}

// From returns the dialogues of the run, one per artifact that has any.
func From(p *analyzers.Pass) []*Dialogue {
	ds, _ := p.ResultOf[Analyzer].([]*Dialogue)
	return ds
}

func run(p *analyzers.Pass) (any, error) {
	texts := map[string]*console.Transcript{}
	for _, t := range console.From(p) {
		texts[t.Path] = t
	}
	var ds []*Dialogue
	for _, a := range p.Run.Artifacts {
		var d *Dialogue
		if t := texts[a.Path]; t != nil {
			d = fromText(t)
		} else if a.Kind == bundle.Probe {
			d = fromProbes(a)
		}
		if d == nil || len(d.Commands) == 0 && len(d.Typed) == 0 {
			continue
		}
		for _, c := range d.Commands {
			c.JSON = document(c.Answer)
			c.words, c.split = slices.Clip(Words(c.Text)), true
		}
		ds = append(ds, d)
	}
	return ds, nil
}

func fromText(t *console.Transcript) *Dialogue {
	switch t.Artifact.Kind {
	case bundle.Serial:
		if isAnswer(t) || startsPrompted(t) && !bytes.ContainsAny(t.Data[:min(len(t.Data), maxHead)], "\r\x1b") {
			break // the kernel's messages in it were taken for a console's
		}
		return fromTranscript(t)
	case bundle.Capture, bundle.Journal:
		// journalctl's answer in a file of its own is a capture too: the
		// echoed command on top says which.
	case bundle.Unknown:
		// A file that starts with a prompt and a command is a capture, too.
		if !startsPrompted(t) && !isAnswer(t) {
			return nil
		}
	default:
		return nil
	}
	return fromCapture(t)
}

func fromTranscript(t *console.Transcript) *Dialogue {
	s := &session{t: t, d: &Dialogue{Path: t.Path, Kind: t.Artifact.Kind}, typed: map[string]bool{}, ps2: !slices.Contains(t.Prompts(), "> ")}
	for i := range t.Lines {
		s.line(&t.Lines[i])
	}
	s.shelve()
	return s.d
}

// session walks a transcript.
type session struct {
	t      *console.Transcript
	d      *Dialogue
	typed  map[string]bool // every line that the driver sent so far
	pasted bool            // the shell at work marks prompts by bracketed paste
	ps2    bool            // "> " is the secondary prompt, nobody's first

	cur     *Command // the command that runs, or nil
	head    *Command // its first lines, when a secondary prompt asks for more
	pending []Line   // what stands at the prompt so far
	prompt  string   // the last prompt seen
	bare    bool     // it stood alone
	at      sentAt   // the last line sent at what may be a prompt
	lines   []Line   // the answer of the command that runs
	shelf   []Line   // room for the next short answers, behind those before
}

const (
	// shelfSize is for how many lines of short answers room is made at once.
	shelfSize = 1024
	// longAnswer is how many lines an answer has that is stored by itself.
	longAnswer = shelfSize / 16
	// vastAnswer is how many lines an answer has that is not stored twice, not
	// even for a moment.
	vastAnswer = 64 << 10
)

// begin begins a command. The answer of the one before it is stored already.
func (s *session) begin(c *Command) {
	s.cur = c
	s.d.Commands = append(s.d.Commands, c)
}

// shelve ends the answer of the command that runs, if any, and stores it in as
// much memory as it needs: nearly all of a transcript may be answers.
func (s *session) shelve() {
	if s.cur == nil {
		return
	}
	switch n := len(s.lines); {
	case n == 0:
	case n >= vastAnswer:
		s.cur.Answer, s.lines = slices.Clip(s.lines), nil
	case n >= longAnswer:
		s.cur.Answer = make([]Line, n)
		copy(s.cur.Answer, s.lines)
	default:
		if cap(s.shelf)-len(s.shelf) < n {
			s.shelf = make([]Line, 0, shelfSize)
		}
		at := len(s.shelf)
		s.shelf = append(s.shelf, s.lines...)
		s.cur.Answer = s.shelf[at:len(s.shelf):len(s.shelf)]
	}
	s.lines = s.lines[:0]
}

// sentAt is a typed line that stands behind something like a prompt.
type sentAt struct{ prompt, text string }

// someRe is a prompt that nobody announced, with what was sent at it: "# " and
// "$ " of dash, "host# " of others. An echo must confirm it.
var someRe = regexp.MustCompile(`^(\S{0,60} ?[#$%>] )(\S.*)$`)

func (s *session) line(l *console.Line) {
	if l.Typed {
		s.sent(l.Text, s.t.Evidence(l))
		return
	}
	if l.TypedFrom >= 0 && len(l.Pieces) > 0 {
		last := &l.Pieces[len(l.Pieces)-1]
		if from := min(l.TypedFrom, len(last.Text)); strings.TrimSpace(last.Text[from:]) != "" {
			s.sent(last.Text[from:], s.t.TextEvidence(last, from, len(last.Text)))
		}
	}
	for i := range l.Pieces {
		if l.Pieces[i].Paste != console.Same {
			s.pasted = true
		}
		if s.pasted {
			s.piece(&l.Pieces[i], l.TypedFrom >= 0 && i == len(l.Pieces)-1)
		} else {
			s.plain(&l.Pieces[i], l.TypedFrom >= 0 && i == len(l.Pieces)-1)
		}
	}
}

func (s *session) sent(text string, ev bundle.Evidence) {
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	s.typed[text] = true
	if rest, ok := strings.CutPrefix(text, "> "); ok && s.ps2 && s.cur != nil {
		s.typed[rest] = true
		s.cur.Text = join(s.cur.Text, rest)
	} else if m := someRe.FindStringSubmatch(text[:min(len(text), maxCommand)]); m != nil {
		if s.at.prompt == m[1] && s.at.text == "" {
			s.finish()
		}
		s.at = sentAt{m[1], strings.TrimSpace(m[2])}
		s.typed[s.at.text] = true
	}
	s.d.Typed = append(s.d.Typed, Line{Text: text, Evidence: ev})
}

// piece follows a shell that marks its prompts.
func (s *session) piece(p *console.Piece, endsTyped bool) {
	switch p.Paste {
	case console.Off:
		s.start()
		if !s.pasted {
			s.plain(p, endsTyped)
			return
		}
		if p.Text != "" && !endsTyped {
			s.answer(p)
		}
	case console.On:
		if s.continues(p) {
			return
		}
		s.finish()
		s.head = nil
		s.pending = append(s.pending[:0], Line{p.Text, s.t.PieceEvidence(p)})
	default:
		if s.cur != nil {
			if !endsTyped {
				s.answer(p)
			}
		} else if strings.TrimSpace(p.Text) != "" {
			s.pending = append(s.pending, Line{p.Text, s.t.PieceEvidence(p)})
		}
	}
}

// continues takes a secondary prompt: the command goes on, nothing ran yet.
func (s *session) continues(p *console.Piece) bool {
	rest, ok := strings.CutPrefix(p.Text, "> ")
	if !ok || !s.ps2 || s.cur == nil || len(s.lines) > 0 {
		return false
	}
	s.head = s.cur
	s.typed[strings.TrimSpace(rest)] = true
	s.pending = append(s.pending[:0], Line{rest, s.t.PieceEvidence(p)})
	s.d.Commands = s.d.Commands[:len(s.d.Commands)-1]
	s.shelve()
	s.cur = nil
	return true
}

func (s *session) start() {
	s.finish()
	text, ev := s.accepted()
	if s.head != nil {
		text, ev = join(s.head.Text, text), s.head.Echo
		s.head = nil
	}
	s.begin(&Command{Text: text, Prompt: s.prompt, Echo: ev, Kind: s.d.Kind})
	s.pending = s.pending[:0]
	if unmarkedRe.MatchString(text) {
		s.pasted = false
	}
}

// unmarkedRe is readline's variable that stops the marks, set by bind or
// INPUTRC's syntax.
var unmarkedRe = regexp.MustCompile(`\bset enable-bracketed-paste (?:off|Off|0)\b`)

// join puts the lines of a command together, up to maxCommand.
func join(head, line string) string {
	if len(head)+len(line) > maxCommand {
		return head
	}
	return head + "\n" + line
}

func (s *session) finish() {
	s.shelve()
	if s.cur != nil {
		s.cur.Done = true
		s.cur = nil
	}
}

// accepted returns the command that stands at the prompt: a line that was
// typed, or a join of lines (readline wraps long ones), the last of those.
// Behind it the kernel or a broadcast may have written. Where nothing that was
// typed is known, it is what stands behind the last prompt.
func (s *session) accepted() (string, bundle.Evidence) {
	if len(s.pending) == 0 {
		return "", bundle.Evidence{Path: s.t.Path, Line: 1}
	}
	low := max(0, len(s.pending)-maxPending)
	s.prompt = s.shown(low)
	for end := len(s.pending); end > low; end-- {
		joined := ""
		for n := end - 1; n >= max(low, end-8); n-- {
			joined = s.pending[n].Text + joined
			_, text, _ := s.t.CutPrompt(joined)
			if text = strings.TrimSpace(text); s.typed[text] {
				return text, s.pending[n].Evidence
			}
		}
	}
	for n := len(s.pending) - 1; n >= low; n-- {
		if _, rest, ok := s.t.CutPrompt(s.pending[n].Text); ok && strings.TrimSpace(rest) != "" {
			return strings.TrimSpace(rest), s.pending[n].Evidence
		}
	}
	last := s.pending[len(s.pending)-1]
	_, rest, _ := s.t.CutPrompt(last.Text)
	return strings.TrimSpace(rest), last.Evidence
}

// shown returns the last prompt that stands there.
func (s *session) shown(low int) string {
	for n := len(s.pending) - 1; n >= low; n-- {
		if prompt, _, ok := s.t.CutPrompt(s.pending[n].Text); ok {
			return prompt
		}
	}
	return ""
}

// maxPending bounds how far back a command is looked for at a prompt.
const maxPending = 32

// answer adds what a command printed, unless it is an echo of type-ahead.
func (s *session) answer(p *console.Piece) {
	if s.cur == nil || s.typed[strings.TrimSpace(p.Text)] {
		return
	}
	s.lines = append(s.lines, Line{p.Text, s.t.PieceEvidence(p)})
}

// plain follows a shell that does not mark its prompts.
func (s *session) plain(p *console.Piece, endsTyped bool) {
	prompt, rest, ok := s.t.CutPrompt(p.Text)
	if !ok {
		if !s.unannounced(p) && !s.goesOn(p) && !endsTyped {
			s.anonymous(p)
			s.answer(p)
		}
		return
	}
	s.finish()
	s.prompt, s.bare = prompt, true
	if rest = strings.TrimSpace(rest); rest != "" {
		s.ran(prompt, rest, p)
	}
}

func (s *session) ran(prompt, text string, p *console.Piece) {
	s.finish()
	s.begin(&Command{Text: text, Prompt: prompt, Echo: s.t.PieceEvidence(p), Kind: s.d.Kind})
	s.bare = false
}

// anonymous begins a command that was not echoed: output follows an empty
// prompt.
func (s *session) anonymous(p *console.Piece) {
	text := strings.TrimSpace(p.Text)
	if s.cur != nil || !s.bare || text == "" || s.typed[text] {
		return
	}
	s.ran(s.prompt, "", p)
}

// unannounced takes the echo of what was sent at a prompt that nobody set.
func (s *session) unannounced(p *console.Piece) bool {
	if s.at.text == "" || strings.TrimSpace(p.Text) != s.at.text {
		return false
	}
	s.ran(s.at.prompt, s.at.text, p)
	s.at.text = ""
	return true
}

// goesOn takes a secondary prompt with what was typed at it.
func (s *session) goesOn(p *console.Piece) bool {
	rest, ok := strings.CutPrefix(p.Text, "> ")
	rest = strings.TrimSpace(rest)
	if !ok || !s.ps2 || s.cur == nil || !s.typed[rest] {
		return false
	}
	s.cur.Text = join(s.cur.Text, rest)
	return true
}

// maxCommand bounds a command of many lines.
const maxCommand = 64 << 10

// commandRe matches a line that can only be a command: it starts with the name
// of a tool that harnesses run and goes on like a shell line. It marks echoes
// at the top of captures.
var commandRe = regexp.MustCompile(`^(?:[A-Z_]+=\S* )*(?:sudo |\{ )?(?:systemctl|systemd-analyze|journalctl|networkctl|cat|ip|vgs|lvs|pvs|lsblk|blkid|dmesg|id|command -v|printf|export|mdadm|wipefs|if \[|timedatectl|findmnt|ls)(?: (?:--?[a-z-]+=[\w,/+-]*|[^:=●])*)?$|^:$`)

// stampedRe is journalctl's short form: such a line quotes a command at most.
var stampedRe = regexp.MustCompile(`^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d `)

func fromCapture(t *console.Transcript) *Dialogue {
	k := &capture{t: t, d: &Dialogue{Path: t.Path, Kind: t.Artifact.Kind}, top: true}
	if k.d.Kind == bundle.Serial {
		k.d.Kind = bundle.Capture
	}
	for i := range t.Lines {
		if strings.TrimSpace(t.Lines[i].Text) != "" {
			k.line(&t.Lines[i])
		}
	}
	k.end()
	if len(k.d.Commands) == 0 {
		return nil
	}
	return k.d
}

func startsPrompted(t *console.Transcript) bool {
	for i := range t.Lines {
		if text := strings.TrimSpace(t.Lines[i].Text); text != "" {
			return strings.HasPrefix(text, "$ ")
		}
	}
	return false
}

// answerRe is how answers begin that a harness keeps in files of their own:
// blkid -o export, systemd-analyze, systemctl list-units.
var answerRe = regexp.MustCompile(`^(?:DEVNAME=/dev/|Startup finished in \d|Bootup is not yet finished|The time when unit became active or started is printed|\s*UNIT +LOAD +ACTIVE +SUB\b)`)

// documentRe is the first member that tells what printed a JSON answer: lsblk,
// findmnt, lvm2, networkctl, dmesg, ip, systemctl.
var documentRe = regexp.MustCompile(`^\s*(?:\{\s*"(?:blockdevices|filesystems|report|Interfaces|dmesg|Index)"\s*:|\[\s*(?:\{\s*\},?\s*)*\{\s*"(?:ifindex|unit|job)"\s*:)`)

// isAnswer reports whether a file is the answer of one command, without it.
func isAnswer(t *console.Transcript) bool {
	if documentRe.Match(t.Data[:min(len(t.Data), maxHead)]) {
		return true
	}
	for i := range t.Lines {
		if text := t.Lines[i].Text; strings.TrimSpace(text) != "" {
			return answerRe.MatchString(text)
		}
	}
	return false
}

// maxHead is how far a file is looked at to know what it is.
const maxHead = 4 << 10

// capture walks a capture file.
type capture struct {
	t      *console.Transcript
	d      *Dialogue
	c      *Command
	top    bool // no answer yet
	prompt bool // commands stand behind "$ "
}

func (k *capture) line(l *console.Line) {
	ev := k.t.Evidence(l)
	text, prompted := strings.CutPrefix(strings.TrimSpace(l.Text), "$ ")
	first := k.c == nil
	if prompted && (first || k.prompt) {
		k.end()
		k.prompt, k.top = true, true
		k.begin(text, "$ ", ev)
		return
	}
	if first {
		k.begin("", "", ev)
	}
	if k.top && !k.prompt && isEcho(text) {
		k.c.Text, k.c.Echo = text, ev
		k.d.Typed = append(k.d.Typed, Line{text, ev})
		return
	}
	k.top = false
	k.c.Answer = append(k.c.Answer, Line{l.Text, ev})
}

func (k *capture) begin(text, prompt string, ev bundle.Evidence) {
	k.c = &Command{Text: text, Prompt: prompt, Echo: ev, Done: true, Kind: k.d.Kind}
	if text != "" {
		k.d.Typed = append(k.d.Typed, Line{text, ev})
	}
}

// end takes the command that was read.
func (k *capture) end() {
	if k.c == nil {
		return
	}
	if k.c.Text == "" && len(k.c.Answer) > 0 {
		k.c.Echo = k.c.Answer[0].Evidence
	}
	k.d.Commands = append(k.d.Commands, k.c)
}

// isEcho reports whether a capture's line is a command and not its answer.
func isEcho(text string) bool {
	if stampedRe.MatchString(text) {
		return false
	}
	return commandRe.MatchString(text) || strings.Contains(text, " 2>/dev/null") || strings.Contains(text, " || true")
}

// Words returns the simple command that decides what c answers: without
// variable assignments, sudo, grouping, redirections and what follows the
// first operator. Callers must not change them: every interpreter asks, so that
// they are split once, when the dialogue is read.
func (c *Command) Words() []string {
	if !c.split {
		return Words(c.Text)
	}
	return c.words
}

// WentOn reports whether d's shell ran another command than cs after the last
// of them: whoever asked the same thing again and again had given up waiting.
// In a transcript that ends with the question, that is not shown.
func (d *Dialogue) WentOn(cs []*Command) bool {
	if len(cs) == 0 {
		return false
	}
	last := cs[len(cs)-1]
	after := false
	for _, c := range d.Commands {
		if c == last {
			after = true
			continue
		}
		if ws := c.Words(); after && len(ws) > 0 && c.Text != last.Text && !slices.Contains(idle, ws[0]) {
			return true
		}
	}
	return false
}

// idle commands are a harness's own bookkeeping between questions.
var idle = []string{":", "printf", "echo", "id", "export", "true"}

var operatorRe = regexp.MustCompile(`^(?:\|\|?|&&|;|\d*[<>].*|\)|\})$`)

// Words splits a shell line as Command.Words says. A sudo that starts a shell
// ("sudo -i", "sudo -n -s") is a command of its own.
func Words(line string) []string {
	fields := strings.Fields(line)
	i, sudo := 0, -1
	for i < len(fields) {
		switch f := fields[i]; {
		case f == "sudo":
			sudo = i
		case f == "{", f == "env", f == "exec", f == "-n" && sudo == i-1 && sudo >= 0, strings.Contains(f, "=") && assignRe.MatchString(f):
		default:
			return simple(fields, i, sudo)
		}
		i++
	}
	if sudo > 0 {
		return fields[sudo:]
	}
	return fields
}

// simple returns the words from i on, or from the sudo before it when its
// options say more than whom to be.
func simple(fields []string, i, sudo int) []string {
	if sudo >= 0 && strings.HasPrefix(fields[i], "-") {
		i = sudo
	}
	var words []string
	for _, f := range fields[i:] {
		if strings.IndexByte("|&;<>)}0123456789", f[0]) >= 0 && operatorRe.MatchString(f) {
			break
		}
		w, ends := strings.CutSuffix(f, ";")
		words = append(words, strings.Trim(w, `'"`))
		if ends {
			break
		}
	}
	return words
}

var assignRe = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=\S*$`)
