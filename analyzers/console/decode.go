package console

import (
	"bytes"
	"math"
	"regexp"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"forensics/analyzers/bundle"
)

const (
	maxLines  = 2 << 20 // of one transcript
	maxPieces = 4096    // of one line
	headSize  = 1 << 20 // what the properties of the whole are taken from
	maxProper = 1 << 20 // a longer line is not text: it shows ? for U+FFFD and a blank for a tab, byte for byte
)

// Decode renders data, the content of a, line by line. It reads only the path
// and kind of a.
func Decode(a *bundle.Artifact, data []byte) *Transcript {
	t := &Transcript{Artifact: a, Path: a.Path, Data: data}
	if len(data) > math.MaxInt32 { // pieces and runs hold offsets in 32 bits
		t.Unread = int64(len(data)) - math.MaxInt32
		data = data[:math.MaxInt32]
	}
	t.judge(data[:min(len(data), headSize)])
	if a.Kind == bundle.Serial {
		t.Machine = bundle.Machine(data)
	}
	t.split(data)
	d := &decoder{
		t:      t,
		text:   bundle.Text(data),
		parser: ansi.NewParser(),
		g1:     t.EscapesLost,
		row:    row{gaps: 64 << 10, edits: 1 << 20},
	}
	for i := range t.Lines {
		d.line(&t.Lines[i])
	}
	t.direct()
	return t
}

// split finds the lines.
func (t *Transcript) split(data []byte) {
	n := bytes.Count(data, []byte{'\n'})
	if len(data) > 0 && data[len(data)-1] != '\n' {
		n++
	}
	t.Lines = make([]Line, 0, min(n, maxLines))
	for start := 0; start < len(data); {
		if len(t.Lines) == maxLines {
			t.Unread += int64(len(data) - start)
			return
		}
		end := len(data)
		if i := bytes.IndexByte(data[start:], '\n'); i >= 0 {
			end = start + i + 1
		}
		t.Lines = append(t.Lines, Line{Number: len(t.Lines) + 1, Start: int64(start), End: int64(end), TypedFrom: -1})
		start = end
	}
}

// decoder renders the lines of one transcript in order.
type decoder struct {
	t      *Transcript
	text   string // the data: lines that need no rendering are parts of it
	parser *ansi.Parser
	row    row
	g1     bool    // SO switches to line drawing, because ESC )0 was seen
	cut    []byte  // a CSI sequence that the LF of the line before cut short
	done   []Piece // pieces of the line at work
	pieces slab
}

// A slab stores the pieces of lines beside each other, which takes less memory and
// time than to allocate each line's.
type slab struct{ free []Piece }

const slabSize = 1024

// keep returns a copy of ps.
func (s *slab) keep(ps ...Piece) []Piece {
	if cap(s.free)-len(s.free) < len(ps) {
		s.free = make([]Piece, 0, max(len(ps), slabSize))
	}
	n := len(s.free)
	s.free = append(s.free, ps...)
	return s.free[n:len(s.free):len(s.free)]
}

// line fills in Text, Pieces and CRs of l.
func (d *decoder) line(l *Line) {
	end := contentEnd(d.t.Data, l)
	if l.End > end && d.t.Data[l.End-1] == '\n' {
		l.CRs = int16(min(l.End-1-end, math.MaxInt16))
	}
	start := l.Start
	if d.t.Machine != "" {
		start = d.guest(l, end)
	}
	src := d.t.Data[start:end]
	if d.cut == nil && d.plain(src) {
		l.Text = d.text[start:end]
		l.Pieces = d.pieces.keep(Piece{Text: l.Text, start: int32(start), end: int32(end)})
		return
	}
	s := scan{decoder: d, src: src, base: start}
	d.done = d.done[:0]
	s.resume()
	g1 := d.g1
	s.pieces()
	l.Pieces = d.pieces.keep(d.done...)
	l.Text = l.Pieces[0].Text
	if s.switches > 0 && len(l.Pieces) > 1 {
		d.g1 = g1
		l.Text = s.whole()
	}
}

// guest returns where the guest's words start in a line of a test driver's log:
// at its end when the line is the driver's.
func (d *decoder) guest(l *Line, end int64) int64 {
	n, ok := bundle.GuestLine(d.t.Data[l.Start:end], d.t.Machine)
	if !ok {
		n = int(end - l.Start)
	}
	l.skip = int32(n)
	return l.Start + int64(n)
}

// plain reports whether a terminal shows src as it is.
func (d *decoder) plain(src []byte) bool {
	for i := 0; i < len(src); {
		c := src[i]
		switch {
		case c < 0x20 || c == 0x7f:
			return false
		case c == '[' || c == ']':
			if d.t.EscapesLost {
				return false
			}
			i++
		case c < 0x80:
			i++
		default:
			r, n := utf8.DecodeRune(src[i:])
			if n == 1 || unicode.IsControl(r) {
				return false
			}
			i += n
		}
	}
	return true
}

// judge finds out what happened to the bytes before we saw them.
func (t *Transcript) judge(head []byte) {
	lfs := bytes.Count(head, []byte{'\n'})
	crlfs := bytes.Count(head, []byte("\r\n"))
	t.crlf = crlfs > 0 && crlfs*4 >= lfs
	t.EscapesLost = escapesLost(head)
	t.CRsLost = bytes.IndexByte(head, '\r') < 0 && doubled(head)
}

// leftoverRe is an SGR or a mode switch that lost its ESC, as logs have them
// that dropped control characters one by one. A bare "[m" is too often the
// start of a word in brackets, so it counts only before a blank, a bracket or
// the end.
var leftoverRe = regexp.MustCompile(`^(?:\[[0-9]{1,3}(?:[;:][0-9]{1,3})*m|\[\?[0-9]{1,4}[hl])|^\[m(?:[ \[]|$)`)

// leftover returns the length of the headless escape sequence that s starts
// with, 0 when there is none.
func leftover(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	if s[0] == ']' {
		return leftoverTitle(s)
	}
	if s[1] != '?' && s[1] != 'm' && (s[1] < '0' || s[1] > '9') {
		return 0
	}
	m := leftoverRe.Find(s[:min(len(s), 64)])
	if len(m) > 1 && m[1] == 'm' {
		return 2
	}
	return len(m)
}

// leftoverTitle returns the length of a window title ("]0;…BEL") that lost its
// ESC. Without its BEL nothing tells where it ends.
func leftoverTitle(s []byte) int {
	if len(s) < 3 || s[1] < '0' || s[1] > '2' || s[2] != ';' {
		return 0
	}
	for i, c := range s[:min(len(s), 256)] {
		if c == 7 {
			return i + 1
		}
		if c < 0x20 {
			return 0
		}
	}
	return 0
}

// lostRe is a leftover that no other text looks like.
var lostRe = regexp.MustCompile(`\[\?(?:2004|25)[hl]|\[[01](?:;[0-9]{1,3})*m|\]0;[^\x00-\x1f]{0,256}\x07`)

// escapesLost reports whether escape sequences were stripped: leftovers stand
// there without any ESC [, or line drawing is switched on in a text that has no
// cursor addresses (nothing draws boxes without them).
func escapesLost(head []byte) bool {
	if bytes.Contains(head, []byte("\x1b[")) {
		return false
	}
	return lostRe.Match(head) || bytes.Contains(head, []byte("\x1b)0")) && bytes.IndexByte(head, 0x0e) >= 0
}

// doubled reports whether lines without any CR show that each CR became a LF.
// Readline writes a CR right behind ESC[?2004l, so that a LF stands there
// always; guest lines are followed by an empty line, and those that are not are
// typed, and come back as echo.
func doubled(head []byte) bool {
	lines := bytes.Split(head, []byte{'\n'})
	var full, followed, echoed int
	for i, l := range lines[:len(lines)-1] {
		next := lines[i+1]
		switch {
		case len(l) == 0:
			continue
		case len(next) == 0 && i+2 < len(lines):
			followed++
		case len(next) > 0 && bytes.Contains(next, l):
			echoed++
		}
		full++
	}
	if accepted := bytes.Count(head, []byte("[?2004l")); accepted > 0 {
		bare := bytes.Count(head, []byte("[?2004l\n"))
		if bytes.HasSuffix(head, []byte("[?2004l")) {
			accepted--
		}
		return bare > 0 && (accepted-bare)*10 <= bare && followed*4 >= full
	}
	return followed >= 3 && followed*5 >= full*2 && (followed+echoed)*10 >= full*9
}
