package journal

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// maxMessage bounds a message; journald itself splits lines at 48 KiB.
const maxMessage = 1 << 20

// maxQuoted bounds the raw bytes that a quote is made from.
const maxQuoted = 16 << 10

// textReader collects the entries of one decoded artifact.
type textReader struct {
	t       *console.Transcript
	log     *Log
	boot    string
	reboots int
	last    open
}

// open is an entry that lines may still be added to.
type open struct {
	entry Entry
	ok    bool
	width int // of its prefix, in runes: continuation lines are indented so far
	more  []string
	size  int
}

func readText(t *console.Transcript, kind bundle.Kind) *Log {
	r := &textReader{t: t, log: &Log{Path: t.Path, Kind: kind}}
	for i := range t.Lines {
		l := &t.Lines[i]
		if l.Typed {
			r.close()
			continue
		}
		for j := range l.Pieces {
			r.piece(l, &l.Pieces[j])
		}
	}
	r.close()
	return r.log
}

func (r *textReader) piece(l *console.Line, p *console.Piece) {
	if p.Paste != console.Same {
		// Another command prints: its entries belong to no boot named before.
		r.close()
		r.boot, r.reboots = "", 0
	}
	printed := p.Text
	if l.TypedFrom >= 0 && p == &l.Pieces[len(l.Pieces)-1] {
		// The driver ended the line: what it typed is not the journal's.
		printed = printed[:min(l.TypedFrom, len(printed))]
	}
	text := strings.TrimRight(printed, " \t")
	if p.Paste == console.On || text == "" {
		return
	}
	if id, ok := r.mark(text); ok {
		r.close()
		r.boot = id
		return
	}
	e, form, ok := parseShort(text)
	switch {
	case ok:
		r.close()
		e.Truncated = e.Truncated || len(printed) < len(p.Text)
		r.open(e, form, text, l, p)
	case r.continues(text):
		r.add(text, p)
	default:
		r.close()
	}
}

func (r *textReader) open(e Entry, form, text string, l *console.Line, p *console.Piece) {
	if r.log.Form == "" {
		r.log.Form = form
	}
	e.BootID = r.boot
	e.Evidence = bundle.Evidence{Path: r.t.Path, Line: l.Number, Start: p.Start(), End: p.End()}
	r.last = open{entry: e, ok: true, width: utf8.RuneCountInString(text[:len(text)-len(e.Message)])}
}

// continues reports whether text is a further line of the open entry:
// journalctl indents it by the width of the prefix.
func (r *textReader) continues(text string) bool {
	w := r.last.width
	return r.last.ok && len(text) > w && strings.TrimLeft(text[:w], " ") == ""
}

func (r *textReader) add(text string, p *console.Piece) {
	o := &r.last
	o.entry.Evidence.End = p.End()
	text = text[o.width:]
	if o.size += len(text); o.size > maxMessage {
		o.entry.Truncated = true
		return
	}
	o.more = append(o.more, text)
}

func (r *textReader) close() {
	o := &r.last
	if !o.ok {
		return
	}
	if len(o.more) > 0 {
		o.entry.Message += "\n" + strings.Join(o.more, "\n")
	}
	ev := &o.entry.Evidence
	ev.Quote = bundle.Printable(string(r.t.Data[ev.Start:min(ev.End, ev.Start+maxQuoted)]))
	r.log.Entries = append(r.log.Entries, o.entry)
	r.last = open{}
}

// mark reads the lines that journalctl prints between the entries of two
// boots: "-- Boot 6c5f… --", before systemd 247 "-- Reboot --". The header of
// another answer ("-- Logs begin at …", "-- Journal begins at …") starts anew.
func (r *textReader) mark(text string) (id string, ok bool) {
	body, ok := strings.CutPrefix(text, "-- ")
	if !ok {
		return "", false
	}
	if strings.HasPrefix(body, "Logs begin at ") || strings.HasPrefix(body, "Journal begins at ") {
		r.reboots = 0
		return "", true
	}
	body, ok = strings.CutSuffix(body, " --")
	if !ok {
		return "", false
	}
	if body == "Reboot" {
		r.reboots++
		return fmt.Sprintf("#%d", r.reboots), true
	}
	id, ok = strings.CutPrefix(body, "Boot ")
	return id, ok && isBootID(id)
}

// isBootID reports whether s is a 128-bit id as systemd prints it.
func isBootID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}
