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
// less typed lines and echoes of type-ahead. Where a shell does not do that,
// prompts at line starts take its place.
//
// A capture file is one answer, perhaps under one or more echoed commands; its
// name is not believed. Interpreters read answers by content and use the
// command's words only where the content is silent (an empty answer).
package commands

import (
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
	Kind bundle.Kind
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
	var ds []*Dialogue
	for _, t := range console.From(p) {
		var d *Dialogue
		switch t.Artifact.Kind {
		case bundle.Serial:
			d = fromTranscript(t)
		case bundle.Capture:
			d = fromCapture(t)
		case bundle.Journal:
			// journalctl's answer in a file of its own is a capture too: the
			// echoed command on top says which.
			d = fromCapture(t)
		default:
			continue
		}
		if d != nil && (len(d.Commands) > 0 || len(d.Typed) > 0) {
			ds = append(ds, d)
		}
	}
	return ds, nil
}

func fromTranscript(t *console.Transcript) *Dialogue {
	s := &session{t: t, d: &Dialogue{Path: t.Path, Kind: t.Artifact.Kind}, typed: map[string]bool{}, pasted: hasPaste(t)}
	for i := range t.Lines {
		s.line(&t.Lines[i])
	}
	return s.d
}

func hasPaste(t *console.Transcript) bool {
	for i := range t.Lines {
		for j := range t.Lines[i].Pieces {
			if t.Lines[i].Pieces[j].Paste == console.Off {
				return true
			}
		}
	}
	return false
}

// session walks a transcript.
type session struct {
	t      *console.Transcript
	d      *Dialogue
	typed  map[string]bool // every line that the driver sent so far
	pasted bool            // the shell marks prompts by bracketed paste

	cur     *Command // the command that runs, or nil
	pending []Line   // what stands at the prompt so far
	prompt  string   // the last prompt seen
}

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
	s.d.Typed = append(s.d.Typed, Line{Text: text, Evidence: ev})
}

// piece follows a shell that marks its prompts.
func (s *session) piece(p *console.Piece, endsTyped bool) {
	switch p.Paste {
	case console.Off:
		s.start()
		if p.Text != "" && !endsTyped {
			s.answer(p)
		}
	case console.On:
		if s.continues(p) {
			return
		}
		s.finish()
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
	if !ok || s.cur == nil || len(s.cur.Answer) > 0 {
		return false
	}
	s.pending = append(s.pending[:0], Line{s.cur.Text + "\n" + rest, s.cur.Echo})
	s.d.Commands = s.d.Commands[:len(s.d.Commands)-1]
	s.cur = nil
	return true
}

func (s *session) start() {
	s.finish()
	text, ev := s.accepted()
	s.cur = &Command{Text: text, Prompt: s.prompt, Echo: ev, Kind: s.d.Kind}
	s.d.Commands = append(s.d.Commands, s.cur)
	s.pending = s.pending[:0]
}

func (s *session) finish() {
	if s.cur != nil {
		s.cur.Done = true
		s.cur = nil
	}
}

// accepted returns the command that stands at the prompt. Readline wraps long
// ones over several lines; a join that was typed is the whole, otherwise the
// last line is.
func (s *session) accepted() (string, bundle.Evidence) {
	if len(s.pending) == 0 {
		return "", bundle.Evidence{Path: s.t.Path, Line: 1}
	}
	last := s.pending[len(s.pending)-1]
	for n := 1; n <= min(8, len(s.pending)); n++ {
		joined := ""
		for _, l := range s.pending[len(s.pending)-n:] {
			joined += l.Text
		}
		text := strings.TrimSpace(s.cut(joined))
		if s.typed[text] {
			return text, last.Evidence
		}
	}
	return strings.TrimSpace(s.cut(last.Text)), last.Evidence
}

// cut takes the prompt off and remembers it.
func (s *session) cut(text string) string {
	prompt, rest, ok := s.t.CutPrompt(text)
	if !ok {
		return text
	}
	s.prompt = prompt
	return rest
}

// answer adds what a command printed, unless it is an echo of type-ahead.
func (s *session) answer(p *console.Piece) {
	if s.cur == nil || s.typed[strings.TrimSpace(p.Text)] {
		return
	}
	s.cur.Answer = append(s.cur.Answer, Line{p.Text, s.t.PieceEvidence(p)})
}

// plain follows a shell that does not mark its prompts.
func (s *session) plain(p *console.Piece, endsTyped bool) {
	prompt, rest, ok := s.t.CutPrompt(p.Text)
	if !ok {
		if !endsTyped {
			s.answer(p)
		}
		return
	}
	s.finish()
	s.prompt = prompt
	if rest = strings.TrimSpace(rest); rest == "" {
		return
	}
	s.cur = &Command{Text: rest, Prompt: prompt, Echo: s.t.PieceEvidence(p), Kind: s.d.Kind}
	s.d.Commands = append(s.d.Commands, s.cur)
}

// commandRe matches a line that can only be a command: it starts with the name
// of a tool that harnesses run and goes on like a shell line. It marks echoes
// at the top of captures.
var commandRe = regexp.MustCompile(`^(?:[A-Z_]+=\S* )*(?:sudo |\{ )?(?:systemctl|journalctl|networkctl|cat|ip|vgs|lvs|pvs|lsblk|blkid|dmesg|id|command -v|printf|export|mdadm|wipefs|if \[|timedatectl|findmnt|ls) ?[^:=●]*$|^:$`)

func fromCapture(t *console.Transcript) *Dialogue {
	d := &Dialogue{Path: t.Path, Kind: t.Artifact.Kind}
	c := &Command{Done: true, Kind: d.Kind}
	top := true
	for i := range t.Lines {
		l := &t.Lines[i]
		text := strings.TrimSpace(l.Text)
		if text == "" {
			continue
		}
		if top && isEcho(text) {
			c.Text, c.Echo = text, t.Evidence(l)
			d.Typed = append(d.Typed, Line{text, c.Echo})
			continue
		}
		top = false
		c.Answer = append(c.Answer, Line{l.Text, t.Evidence(l)})
	}
	if c.Text == "" && len(c.Answer) == 0 {
		return nil
	}
	if c.Text == "" {
		c.Echo = c.Answer[0].Evidence
	}
	d.Commands = []*Command{c}
	return d
}

// isEcho reports whether a capture's line is a command and not its answer.
func isEcho(text string) bool {
	return commandRe.MatchString(text) || strings.Contains(text, " 2>/dev/null") || strings.Contains(text, " || true")
}

// Words returns the simple command that decides what c answers: without
// variable assignments, sudo, grouping, redirections and what follows the
// first operator.
func (c *Command) Words() []string { return Words(c.Text) }

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

// Words splits a shell line as Command.Words says.
func Words(line string) []string {
	fields := strings.Fields(line)
	i := 0
	for i < len(fields) && (fields[i] == "{" || fields[i] == "sudo" || fields[i] == "-n" && i > 0 && fields[i-1] == "sudo" || fields[i] == "env" || assignRe.MatchString(fields[i])) {
		i++
	}
	if i == len(fields) {
		// Nothing but prefixes: "sudo -i" is a command of its own.
		return fields
	}
	if i > 0 && fields[i-1] == "sudo" && strings.HasPrefix(fields[i], "-") {
		return fields[i-1:]
	}
	var words []string
	for ; i < len(fields); i++ {
		f := fields[i]
		if operatorRe.MatchString(f) {
			break
		}
		if w, ok := strings.CutSuffix(f, ";"); ok {
			words = append(words, strings.Trim(w, `'"`))
			break
		}
		words = append(words, strings.Trim(f, `'"`))
	}
	return words
}

var assignRe = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=\S*$`)
