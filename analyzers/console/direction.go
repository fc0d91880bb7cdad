package console

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

const (
	maxPrompts = 32
	maxPrompt  = 512 // bytes looked at for a prompt
)

// promptRe is a prompt that shells show when nobody set another:
// "[nixos@nixos:~]$ " (NixOS), "[root@host ~]# " (Fedora), "root@host:/tmp# "
// (Debian; the host of a kernel without a name is "(none)"), "sh-5.2$ " (bash
// without a start-up file), "~ # " (busybox).
var promptRe = regexp.MustCompile(`^(?:` +
	`\[[a-z_][\w.-]*@[\w.()-]+(?::| )[/~][^\]]*\]` +
	`|[a-z_][\w.-]*@[\w.()-]+:[/~][^\s#$]*` +
	`|(?:ba)?sh-\d+\.\d+` +
	`|[~/] )[#$](?: |$)`)

// exportRe is the command that sets a prompt of its own, as drivers of a
// console send it to have something sure to wait for.
var exportRe = regexp.MustCompile(`(?:^|[\s;&])(?:export\s+)?PS1=(?:'([^']*)'|"([^"]*)")`)

// loginRe is what getty and login print before they wait for an answer; agetty
// adds "(automatic login)" when it does not wait, and what is typed early is
// glued to that.
var loginRe = regexp.MustCompile(`^(?:[\w.()-]+ login: (?:[\w.-]+ \(automatic login\))?|Password: |\[sudo\] password for [\w.-]+: )`)

// Prompts returns the prompts that were set in the transcript, in that order.
func (t *Transcript) Prompts() []string { return slices.Clone(t.prompts) }

// CutPrompt splits s behind the shell prompt that it starts with: one that was
// set in the transcript, or one that shells have by themselves.
func (t *Transcript) CutPrompt(s string) (prompt, rest string, ok bool) {
	for _, p := range t.prompts {
		if strings.HasPrefix(s, p) || s == strings.TrimRight(p, " ") {
			n := min(len(p), len(s))
			return s[:n], s[n:], true
		}
	}
	head := s[:min(len(s), maxPrompt)]
	if !mayPrompt(head) {
		return "", s, false
	}
	if n := len(promptRe.FindString(head)); n > 0 {
		return s[:n], s[n:], true
	}
	return "", s, false
}

// mayPrompt reports whether promptRe may match s. Most lines are no prompts, and
// this is much cheaper to tell.
func mayPrompt(s string) bool {
	s = strings.TrimPrefix(s, "[")
	if s == "" || s[0] != '_' && s[0] != '~' && s[0] != '/' && (s[0] < 'a' || s[0] > 'z') {
		return false
	}
	return strings.IndexByte(s, '$') >= 0 || strings.IndexByte(s, '#') >= 0
}

// direct tells the typed lines from those of the guest.
func (t *Transcript) direct() {
	for i := range t.Lines {
		l := &t.Lines[i]
		if t.sent(i) {
			t.typed(l)
		}
		t.learn(l.Text)
	}
}

// learn takes note of the prompt that a line sets. One with escapes or
// variables in it looks different when it is shown, so it says nothing.
func (t *Transcript) learn(text string) {
	if !strings.Contains(text, "PS1=") {
		return
	}
	for _, m := range exportRe.FindAllStringSubmatch(text, maxPrompts) {
		p := m[1] + m[2]
		if strings.TrimSpace(p) == "" || len(p) > 64 || strings.ContainsAny(p, "\\$`") || slices.Contains(t.prompts, p) || len(t.prompts) == maxPrompts {
			continue
		}
		t.prompts = append(t.prompts, p)
	}
}

// sent reports whether the LF of line i came from the driver of the console.
func (t *Transcript) sent(i int) bool {
	l := &t.Lines[i]
	switch {
	case t.Data[l.End-1] != '\n':
		return false
	case t.crlf:
		return l.CRs == 0
	case t.CRsLost:
		return i+1 < len(t.Lines) && t.unfollowed(l, &t.Lines[i+1])
	}
	return false
}

// unfollowed reports whether the LF of l was one, in a transcript whose CRs
// became LFs: no empty line follows, and it did not stand for the CR behind
// ESC[?2004l or before ESC[K.
func (t *Transcript) unfollowed(l, next *Line) bool {
	raw := t.Data[l.Start : l.End-1]
	after := t.Data[next.Start:next.End]
	return len(raw) > 0 && after[0] != '\n' &&
		!bytes.HasSuffix(raw, []byte("[?2004l")) &&
		!bytes.HasPrefix(after, []byte("\x1b[K"))
}

// typed marks l, whose LF was sent, as typed as a whole or from somewhere on.
func (t *Transcript) typed(l *Line) {
	last := &l.Pieces[len(l.Pieces)-1]
	if n := t.promptLen(last.Text); n > 0 {
		l.TypedFrom = n
		return
	}
	raw := t.Data[l.Start:l.End]
	switch {
	case last.Paste == Off && last.Text != "":
		// A command of the guest ends its output with CR LF: what stands here
		// was sent while it ran.
		l.TypedFrom = 0
	case bytes.IndexByte(raw, 0x1b) < 0 && bytes.IndexByte(raw, '\r') < 0:
		l.Typed = true
	}
}

// promptLen returns the length of the prompts that s starts with: shells show
// them again after an empty command, a login shows one at most.
func (t *Transcript) promptLen(s string) int {
	if m := loginRe.FindString(s[:min(len(s), maxPrompt)]); m != "" {
		return len(m)
	}
	n := 0
	for n < len(s) {
		p, _, ok := t.CutPrompt(s[n:])
		if !ok {
			break
		}
		n += len(p)
	}
	return n
}
