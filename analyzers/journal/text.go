package journal

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// maxMessage bounds a message; journald itself splits lines at 48 KiB.
const maxMessage = 1 << 20

// maxQuoted bounds the raw bytes that a quote is made from.
const maxQuoted = 16 << 10

// textReader collects the entries of one artifact's lines.
type textReader struct {
	path    string
	data    []byte // that lines are spans of
	log     *Log
	boot    string
	reboots int
	last    open
	// form and host are those of the entry on the line before, "" when there
	// was none there.
	form, host string
	fields     *fieldReader // of an entry of many lines, nil outside of one
}

// line is one line of text with the raw bytes that show it.
type line struct {
	text       string
	number     int
	start, end int64
	cut        bool // something foreign followed
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
	r := &textReader{path: t.Path, data: t.Data, log: &Log{Path: t.Path, Kind: kind}}
	r.log.Entries = make([]Entry, 0, room(stamps(t), len(t.Data)))
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

// shortest is how many bytes most entries have at least, in any form.
const shortest = 64

// room returns for how many entries to make room where n are seen coming in size
// bytes: all at once takes half the memory that growing to them does. Who
// promises more than real journals hold gets room as they come.
func room(n, size int) int { return min(n, size/shortest) }

// stamps counts the lines that look like entries of the forms with a date.
func stamps(t *console.Transcript) int {
	n := 0
	for i := range t.Lines {
		if s := t.Lines[i].Text; len(s) > 15 && s[3] == ' ' && s[6] == ' ' && s[9] == ':' {
			n++
		}
	}
	return n
}

func (r *textReader) piece(l *console.Line, p *console.Piece) {
	if p.Paste != console.Same {
		r.another()
	}
	printed := p.Text
	if l.TypedFrom >= 0 && p == &l.Pieces[len(l.Pieces)-1] {
		// The driver ended the line: what it typed is not the journal's.
		printed = printed[:min(l.TypedFrom, len(printed))]
	}
	if p.Paste != console.On {
		r.line(line{text: strings.TrimRight(printed, " \t"), number: l.Number, start: p.Start(), end: p.End(), cut: len(printed) < len(p.Text)})
	}
}

// another begins the answer of another command: its entries belong to no boot
// named before.
func (r *textReader) another() {
	r.close()
	r.boot, r.reboots = "", 0
}

func (r *textReader) line(l line) {
	if r.fields != nil {
		if r.fields.line(l) {
			return
		}
		r.close()
	}
	if l.text == "" {
		return
	}
	if id, ok := r.mark(l.text); ok {
		r.close()
		r.boot = id
		return
	}
	if r.begin(l) {
		return
	}
	e, form := parseAny(l.text)
	switch {
	case form != "" && (sure(&e, form) || r.form == form && r.host == e.Host && e.Host != ""):
		r.close()
		e.Truncated = e.Truncated || l.cut
		r.open(e, form, l)
	case r.continues(l.text):
		r.add(l)
	default:
		r.close()
	}
}

func (r *textReader) open(e Entry, form string, l line) {
	r.form, r.host = form, e.Host
	width := utf8.RuneCountInString(l.text[:len(l.text)-len(e.Message)])
	if form == formFull && unitRe.MatchString(e.Ident) {
		form = formUnit
		e.inUnit()
	}
	if r.log.Form == "" || form == formUnit && r.log.Form == formFull {
		r.log.Form = form // the two differ only where there is a unit
	}
	e.BootID = r.boot
	e.Evidence = bundle.Evidence{Path: r.path, Line: l.number, Start: l.start, End: l.end}
	r.last = open{entry: e, ok: true, width: width}
}

// unitRe is a unit where an identifier should be, with a user's unit behind it:
// the form with-unit writes them so.
var unitRe = regexp.MustCompile(`^([^/]+\.(?:service|scope|socket|mount|swap|slice))(?:/[^/]+)?$`)

// inUnit takes a unit for what it is. Who spoke is then known of the manager
// alone, and what about is not.
func (e *Entry) inUnit() {
	e.Unit, e.Ident = unitRe.FindStringSubmatch(e.Ident)[1], ""
	if e.Unit == "init.scope" {
		e.Unit = ""
		if e.PID == 1 {
			e.Ident = "systemd"
		}
	}
}

// continues reports whether text is a further line of the open entry:
// journalctl indents it by the width of the prefix.
func (r *textReader) continues(text string) bool {
	w := r.last.width
	return r.last.ok && len(text) > w && strings.TrimLeft(text[:w], " ") == ""
}

func (r *textReader) add(l line) {
	o := &r.last
	o.entry.Evidence.End = l.end
	text := l.text[o.width:]
	if o.size += len(text); o.size > maxMessage {
		o.entry.Truncated = true
		return
	}
	o.more = append(o.more, text)
}

// close ends what was begun.
func (r *textReader) close() {
	r.form, r.host = "", ""
	if f := r.fields; f != nil {
		r.fields = nil
		r.take(f)
	}
	o := &r.last
	if !o.ok {
		return
	}
	if len(o.more) > 0 {
		o.entry.Message += "\n" + strings.Join(o.more, "\n")
	}
	o.entry.Evidence.Quote = r.quote(o.entry.Evidence)
	r.log.Entries = append(r.log.Entries, o.entry)
	r.last = open{}
}

func (r *textReader) quote(ev bundle.Evidence) string {
	return bundle.Printable(bundle.Text(r.data[ev.Start:min(ev.End, ev.Start+maxQuoted)]))
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
