// Package hosttext reads what programs of the host wrote: harness logs, build
// logs, QEMU's own messages.
//
// A Line is one line of such a log without its time stamp, pytest's margin
// and colours. Each says whether the guest may have written it: Relayed lines
// carry what a harness read from the serial port, and once a Boot began, any
// later line of the log may repeat the guest. A statement about the host that
// the guest could also print (nix's messages) may be taken from lines before
// the boot only; one that only QEMU or pexpect print may be taken from all.
//
// Host programs do not paint screens, so this needs no terminal: escapes are
// dropped, and of a progress line only the text behind the last carriage
// return counts. A Teller states facts once each, bounded in number and
// length: the text is hostile.
package hosttext

import (
	"bytes"
	"iter"
	"regexp"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// MaxLine is how much of a line is looked at, in bytes.
const MaxLine = 64 << 10

// Log is one artifact as lines.
type Log struct {
	Path string
	Kind bundle.Kind
	Data []byte
}

// Line is one line, without its terminator.
type Line struct {
	Number     int
	Start, End int64  // raw bytes
	Text       string // what is left of it, trimmed
	Stamp      string // time stamp as written, "" when there is none
	Indented   bool   // white space stood before Text
	Relayed    bool   // the harness says that it read this from the port
	Boot       bool   // a guest was running by then
}

// Logs returns the run's artifacts of the given kinds. Those that cannot be
// read are left to whoever reports on unread artifacts.
func Logs(p *analyzers.Pass, kinds ...bundle.Kind) []*Log {
	var logs []*Log
	for _, a := range p.Run.Of(kinds...) {
		if data, err := a.Bytes(); err == nil {
			logs = append(logs, &Log{Path: a.Path, Kind: a.Kind, Data: data})
		}
	}
	return logs
}

var (
	// Python's datetime.isoformat, in brackets or bare, at line start: what
	// harnesses put before each message. A zone is required.
	stampRe = regexp.MustCompile(`^\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d))\]?`)
	// pytest sets lines of an error behind "E" and spaces.
	marginRe = regexp.MustCompile(`^E(?: {2,}|$)`)
	// What shows that a guest was started: a harness that waits for or relays
	// its text, a pexpect dump, firmware, boot loaders, the kernel, a login.
	bootRe  = regexp.MustCompile(`^(?:Awaiting|Expecting|Waiting for (?:the )?login)\b|^<pexpect\.\w+\.spawn object|^(?:SeaBIOS|ISOLINUX|SYSLINUX|GNU GRUB|BdsDxe|iPXE)\b|^\[ *\d+\.\d{6}\] |^QEMU command:`)
	loginRe = regexp.MustCompile(`\blogin:(?: |$)`)
)

// boots reports whether a line shows that a guest was started.
func boots(text string) bool {
	return bootRe.MatchString(text) || strings.Contains(text, "<<< NixOS Stage") || strings.Contains(text, "login:") && loginRe.MatchString(text)
}

// relayRe is the label under which a harness repeats what it read.
var relayRe = regexp.MustCompile(`^(?:Serial|Console|Guest)(?: output)?: ?`)

// Lines yields the log's lines in order.
func (l *Log) Lines() iter.Seq[*Line] {
	return func(yield func(*Line) bool) {
		boot := false
		for n, at := 1, 0; at < len(l.Data); n++ {
			end := len(l.Data)
			if i := bytes.IndexByte(l.Data[at:], '\n'); i >= 0 {
				end = at + i
			}
			ln := l.line(n, at, end)
			boot = boot || l.Kind == bundle.Harness && ln.Text != "" && (ln.Relayed || boots(ln.Text))
			ln.Boot = boot
			if !yield(ln) {
				return
			}
			at = end + 1
		}
	}
}

func (l *Log) line(n, start, end int) *Line {
	raw := bytes.TrimRight(l.Data[start:end], "\r")
	ln := &Line{Number: n, Start: int64(start), End: int64(start + len(raw))}
	if len(raw) == 0 {
		return ln
	}
	text := plain(raw[:min(len(raw), MaxLine)])
	if m := stamp(text); m != nil {
		ln.Stamp = text[m[2]:m[3]]
		text = strings.TrimPrefix(text[m[1]:], " ")
	} else if strings.HasPrefix(text, "E") && marginRe.MatchString(text) {
		text = strings.TrimPrefix(text[1:], "   ")
	}
	ln.Text = strings.TrimSpace(text)
	ln.Indented = ln.Text != "" && (text[0] == ' ' || text[0] == '\t')
	if ln.Text == "" || strings.IndexByte("SCG", ln.Text[0]) < 0 {
		return ln
	}
	if label := relayRe.FindString(ln.Text); label != "" {
		ln.Relayed = true
		ln.Text = strings.TrimSpace(ln.Text[len(label):])
	}
	return ln
}

// stamp matches the time stamp at the start of text. Most lines of a console
// have none, which the first byte tells.
func stamp(text string) []int {
	if t := strings.TrimPrefix(text, "["); t == "" || t[0] < '0' || t[0] > '9' {
		return nil
	}
	return stampRe.FindStringSubmatchIndex(text)
}

// Evidence returns the place of part in the line, or the whole line where
// part does not stand there literally.
func (l *Log) Evidence(ln *Line, part string) bundle.Evidence {
	start, end := ln.Start, ln.End
	if i := bytes.Index(l.Data[start:end], []byte(part)); part != "" && i >= 0 {
		start += int64(i)
		end = start + int64(len(part))
	}
	return bundle.Evidence{Path: l.Path, Line: ln.Number, Start: start, End: end, Quote: quote(l.Data[start:end])}
}

// quote makes a printable quote without reading more than one can show.
func quote(raw []byte) string {
	return bundle.Printable(string(raw[:min(len(raw), 16*bundle.MaxQuote)]))
}

// plain drops escape sequences, and what a carriage return overwrote.
func plain(raw []byte) string {
	if bytes.IndexByte(raw, 0x1b) < 0 && bytes.IndexByte(raw, '\r') < 0 {
		return strings.ToValidUTF8(bundle.Text(raw), "\uFFFD")
	}
	if i := bytes.LastIndexByte(raw, '\r'); i >= 0 && i+1 < len(raw) {
		raw = raw[i+1:]
	}
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); {
		if raw[i] == 0x1b {
			i += escape(raw[i:])
			continue
		}
		if raw[i] >= 0x20 || raw[i] == '\t' {
			b = append(b, raw[i])
		}
		i++
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// maxEscape bounds the search for the end of an escape sequence.
const maxEscape = 1 << 10

// escape returns the length of the escape sequence at the start of s.
func escape(s []byte) int {
	if len(s) < 2 {
		return len(s)
	}
	final := func(from int, is func(byte) bool) int {
		for i := from; i < min(len(s), maxEscape); i++ {
			if is(s[i]) {
				return i + 1
			}
		}
		return 2 // never ends: take it for two characters, not for the line
	}
	switch s[1] {
	case '[':
		return final(2, func(c byte) bool { return c >= 0x40 && c <= 0x7e })
	case ']':
		return final(2, func(c byte) bool { return c == 7 || c == '\\' })
	case '(', ')', '%', '#':
		return min(3, len(s))
	}
	return 2
}

// MaxFacts bounds how many values of one fact are stated per artifact.
const MaxFacts = 256

// maxValue bounds a value, in bytes.
const maxValue = 8 << 10

// Teller states facts of one analyzer.
type Teller struct {
	pass    *analyzers.Pass
	repeats map[string]bool
	seen    map[string]bool   // facts that repeat: every value
	last    map[string]string // facts that do not: the last value
	count   map[string]int
}

// NewTeller returns a Teller for p.
func NewTeller(p *analyzers.Pass) *Teller {
	t := &Teller{pass: p, repeats: map[string]bool{}, seen: map[string]bool{}, last: map[string]string{}, count: map[string]int{}}
	for _, f := range p.Analyzer.Facts {
		t.repeats[f.Name] = f.Repeats
	}
	return t
}

// State states a fact, unless the same artifact said just that before: the
// first place stands for all.
func (t *Teller) State(name, subject, value string, ev ...bundle.Evidence) {
	subject, value = Clean(subject), Clean(value)
	key := ev[0].Path + "\x00" + name + "\x00" + subject
	if old, ok := t.last[key]; ok && !t.repeats[name] && old == value {
		return
	}
	if t.repeats[name] && t.seen[key+"\x00"+value] {
		return
	}
	if t.count[ev[0].Path+"\x00"+name]++; t.count[ev[0].Path+"\x00"+name] > MaxFacts {
		return
	}
	t.last[key] = value
	t.seen[key+"\x00"+value] = true
	t.pass.State(name, subject, value, ev...)
}

// Clean makes a value safe to print: no control or invisible characters, one
// space between words, lines kept, bounded length.
func Clean(s string) string {
	if len(s) > maxValue {
		s = strings.ToValidUTF8(s[:maxValue], "")
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		words := strings.Fields(l)
		for j, w := range words {
			words[j] = bundle.Printable(w)
		}
		lines[i] = strings.Join(words, " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
