package message

import (
	"path"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
)

// transcript walks what one artifact shows of a console.
type transcript struct {
	*collector
	t       *console.Transcript
	d       *commands.Dialogue // may be nil
	taken   []span             // what the journal's and the kernel's readers took
	sources []string           // of the commands of d
	last    map[string]int     // of each source, its last command
	typed   map[string]bool
	prompts []string

	next   int    // in taken
	answer int    // in the commands of d: the one whose answer is read
	reply  int    // in that answer
	sent   int    // in d.Typed
	prompt bool   // the shell waits for a command: what comes is echo
	stage  string // how far the boot came, "" where it is no console
}

// console takes what the guest printed besides journal entries and the kernel's
// messages: on its console, and in answers that a harness saved. Of a journal's
// or dmesg's artifact nothing else is a message.
func (c *collector) console(t *console.Transcript) {
	d := c.dialogues[t.Path]
	switch t.Artifact.Kind {
	case bundle.Serial:
	case bundle.Capture, bundle.Unknown:
		if d == nil {
			return
		}
	default:
		return
	}
	w := &transcript{collector: c, t: t, d: d, taken: c.taken[t.Path], typed: map[string]bool{}, prompts: t.Prompts()}
	if t.Artifact.Kind == bundle.Serial {
		w.stage = bootLoader
		c.set.cover(emulator)
	}
	if d != nil {
		w.learn()
	}
	lines := t.Lines
	if n := len(lines); n > 0 && c.halved(t.Path, lines[n-1].End) {
		lines = lines[:n-1]
	}
	for i := range lines {
		l := &lines[i]
		if l.Typed {
			continue
		}
		for j := range l.Pieces {
			until := len(l.Pieces[j].Text)
			if l.TypedFrom >= 0 && j == len(l.Pieces)-1 {
				until = min(until, l.TypedFrom)
			}
			w.piece(&l.Pieces[j], until)
		}
	}
	c.hangUp()
}

// learn reads what was typed and what was answered. Of a command that was run
// again and again, to wait for something, the last answer counts: how often
// another came is a matter of time.
func (w *transcript) learn() {
	for _, l := range w.d.Typed {
		w.typed[l.Text] = true
	}
	w.sources, w.last = make([]string, len(w.d.Commands)), map[string]int{}
	known := map[string]string{} // sources by what they are masked to
	prompt, shown := "", false
	for i, cmd := range w.d.Commands {
		w.typed[cmd.Text] = true
		if cmd.Prompt != prompt {
			prompt, shown = cmd.Prompt, w.isPrompt(cmd.Prompt)
		}
		if !shown {
			w.typed[cmd.Prompt+cmd.Text] = true
		}
		source := w.asked(cmd, known)
		w.sources[i], w.last[source] = source, i
		if cmd.Done {
			w.set.cover(source)
			w.set.whole[source] = true
		}
	}
}

// isPrompt reports whether all that stands behind s is told by s to stand at a
// prompt.
func (w *transcript) isPrompt(s string) bool {
	_, rest, ok := w.t.CutPrompt(s)
	return ok && rest == "" && strings.HasSuffix(s, " ") && w.prompted(s)
}

// asked is the source of what a command answers. Those of the same template
// share one string, known by the template.
func (w *transcript) asked(cmd *commands.Command, known map[string]string) string {
	if cmd.Text == "" {
		return "$ " + path.Base(w.t.Path)
	}
	w.buf = w.mask.append(w.buf[:0], clip(cmd.Text, maxText), false)
	source, ok := known[string(w.buf)]
	if !ok {
		template := string(w.buf)
		source = "$ " + clip(template, maxText)
		known[template] = source
	}
	return source
}

func (w *transcript) piece(p *console.Piece, until int) {
	switch p.Paste {
	case console.On:
		w.prompt = true
		return
	case console.Off:
		w.prompt = false
	}
	text := p.Text[:until]
	if !w.free(p) {
		if stampFirst(text) && !w.answered(p.Start()) {
			w.set.cover(consoleKernel)
		}
		text = spliced(text)
	}
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || w.typed[trimmed] || w.prompt && w.echoed(trimmed, p.Start()) || w.prompted(trimmed) {
		return
	}
	w.print(p, until, text, trimmed)
}

// stampFirst reports whether text begins with the kernel's stamp.
func stampFirst(text string) bool {
	text = strings.TrimSpace(text)
	return text != "" && text[0] == '[' && kernelStamp(text) > 0
}

// free reports whether no other reader took the piece.
func (w *transcript) free(p *console.Piece) bool {
	for w.next < len(w.taken) && w.taken[w.next].end <= p.Start() {
		w.next++
	}
	return w.next == len(w.taken) || w.taken[w.next].start >= p.End()
}

// spliced returns what stands before the kernel's message in a line.
func spliced(text string) string {
	for i := range len(text) {
		if text[i] == '[' && kernelStamp(text[i:]) > 0 {
			return text[:i]
		}
	}
	return ""
}

// maxEchoed is how many lines before the echo a command may have been sent.
const maxEchoed = 16

// echoed reports whether text, at a prompt, is a part of a command that was
// sent: a shell wraps long ones.
func (w *transcript) echoed(text string, at int64) bool {
	if w.d == nil {
		return false
	}
	for w.sent < len(w.d.Typed) && w.d.Typed[w.sent].Evidence.Start <= at {
		w.sent++
	}
	for i := max(0, w.sent-maxEchoed); i < w.sent; i++ {
		if strings.Contains(w.d.Typed[i].Text, text) {
			return true
		}
	}
	return false
}

// prompted reports whether text is a prompt, with what was typed at it.
func (w *transcript) prompted(text string) bool {
	found := strings.ContainsAny(text[:min(len(text), maxText)], "$#")
	for _, p := range w.prompts {
		found = found || strings.HasPrefix(text, strings.TrimRight(p, " "))
	}
	if !found {
		return false
	}
	if _, _, ok := w.t.CutPrompt(text); ok || !w.prompt {
		return ok
	}
	// What was typed early may have run into the escapes behind a prompt.
	i := strings.IndexAny(text, "$#")
	if i < 0 {
		return false
	}
	_, _, ok := w.t.CutPrompt(text[:i+1])
	return ok
}

// stages are in the order in which a boot goes through them.
var stages = []string{bootLoader, consoleOutput, consoleStatus, session, shutdown}

// begun notes how far the boot came on this console: a run that did not come so
// far could not show what others say there.
func (w *transcript) begun(stage string) {
	if w.stage == "" {
		return
	}
	if slices.Index(stages, stage) > slices.Index(stages, w.stage) {
		w.stage = stage
	}
	w.set.cover(stage)
	if stage == consoleOutput || stage == consoleStatus {
		w.set.cover(consoleOutput)
		w.set.cover(consoleKernel)
	}
}

// print takes a line that the guest printed.
func (w *transcript) print(p *console.Piece, until int, text, trimmed string) {
	by := where{class: Console, cover: w.stage}
	body, status := afterStatus(trimmed)
	status = status || isBeside(text)
	switch {
	case w.stage == "":
		by.source, by.cover = w.source(p)
	case isQEMUs(trimmed):
		by.cover = emulator
	case strings.HasPrefix(trimmed, "<<< NixOS Stage"):
		w.begun(consoleOutput)
		by.cover = consoleOutput
	case status:
		w.begun(consoleStatus)
		if strings.HasPrefix(body, stoppedTarget) {
			w.begun(shutdown)
		}
		if by.cover = consoleStatus; w.stage == shutdown {
			by.cover = shutdown
		}
	case strings.Contains(trimmed, " login: ") || strings.HasSuffix(trimmed, " login:"):
		w.begun(session)
	case w.stage == session && len(w.p.Run.Of(bundle.Access)) > 0:
		// The dialogue of a capture: frames that are never the same twice. What
		// they carried is in the guest's probes.
		return
	default:
		w.set.cover(w.stage)
		by.source, by.cover = w.source(p)
	}
	at := place{t: w.t, piece: p, until: until}
	if painted(text) {
		for _, s := range segments(text) {
			w.say(by, s, at)
		}
		return
	}
	if status {
		w.say(by, body, at)
		return
	}
	w.hear(speaker{source: by.source}, by, text, at)
}

// isQEMUs reports whether QEMU itself printed s: then no guest may have run.
func isQEMUs(s string) bool {
	program, _, _ := strings.Cut(s, " ")
	return strings.HasPrefix(path.Base(program), "qemu-system-") || strings.HasPrefix(s, "Is another process using the image [")
}

// source returns the command that printed p and the coverage that this is: none
// where the answer is not the last, or a part of a log.
func (w *transcript) source(p *console.Piece) (source, cover string) {
	if !w.answered(p.Start()) {
		return "", w.stage
	}
	source = w.sources[w.answer]
	if w.last[source] == w.answer && !showsLog(w.d.Commands[w.answer].Text) {
		cover = source
	}
	return source, cover
}

// answered reports whether the piece at start is of a command's answer, which is
// at hand then.
func (w *transcript) answered(start int64) bool {
	if w.d == nil {
		return false
	}
	for ; w.answer < len(w.d.Commands); w.answer, w.reply = w.answer+1, 0 {
		lines := w.d.Commands[w.answer].Answer
		for w.reply < len(lines) && lines[w.reply].Evidence.Start < start {
			w.reply++
		}
		if w.reply < len(lines) {
			return lines[w.reply].Evidence.Start == start
		}
	}
	return false
}

// statusMarks are what systemd prints before a message on the console; in the
// journal the message stands alone.
var statusMarks = []string{"[  OK  ] ", "[FAILED] ", "[DEPEND] ", "[ WARN ] ", "[ INFO ] ", "[ TIME ] ", "[ SKIP ] "}

// stoppedTarget begins systemd's first messages of a shutdown.
const stoppedTarget = "Stopped target "

// isBeside reports whether s is a message of systemd that has no mark:
// "         Starting Demo...".
func isBeside(s string) bool {
	body, ok := strings.CutPrefix(s, "         ")
	verb, what, _ := strings.Cut(strings.TrimSpace(body), " ")
	return ok && strings.HasSuffix(verb, "ing") && strings.HasSuffix(what, "...")
}

// afterStatus drops systemd's mark before s, also the one that moves while a job
// runs: "[ ***  ] (1 of 2) A start job is running for … (31s / 1min 30s)". Such a
// line is a message once the job runs for minutes; before, it tells how fast the
// machine is.
func afterStatus(s string) (string, bool) {
	if len(s) < 10 || s[0] != '[' || s[7] != ']' {
		return s, false
	}
	for _, m := range statusMarks {
		if body, ok := strings.CutPrefix(s, m); ok {
			return body, true
		}
	}
	if strings.Trim(s[1:7], "* ") != "" {
		return s, false
	}
	body := strings.TrimSpace(s[8:])
	elapsed, _, _ := strings.Cut(body[strings.LastIndexByte(body, '(')+1:], " / ")
	if !strings.Contains(elapsed, "min") {
		return "", true
	}
	if of, job, ok := strings.Cut(body, ") "); ok && strings.HasPrefix(of, "(") && strings.Contains(of, " of ") {
		body = job
	}
	return body, true
}

// painted reports whether s has lines drawn around it, as boot menus, tables and
// trees do.
func painted(s string) bool {
	return strings.Contains(s, "\u2500") || strings.Contains(s, "\u2502")
}

// segments parts a painted line at its lines, and where a countdown was painted
// again.
func segments(s string) []string {
	var parts []string
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return r >= '\u2500' && r <= '\u257f' }) {
		for _, f := range strings.Split(f, "...") {
			if f = strings.TrimSpace(f); f != "" {
				parts = append(parts, f)
			}
		}
	}
	return parts
}
