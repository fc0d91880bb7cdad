package console

import (
	"regexp"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/ansi/parser"
)

// maxEscape ends an escape sequence that does not end itself: what follows is
// text again. The longest real ones are titles and hyperlinks.
const maxEscape = 4096

// paste is bracketed paste mode.
const paste = 2004

// readlineWidth is the width that readline takes a serial line for when nobody
// told it another: tty sizes of 0x0 count as 80 columns, and people set
// multiples of it.
const readlineWidth = 80

// scan feeds one line to the row.
type scan struct {
	*decoder
	src   []byte
	base  int64
	from  int // where the text starts: behind the rest of a cut sequence
	first Paste
	begun int // offset of the last ESC
	// Character sets: ESC (0 selected line drawing, SO switched to G1. They
	// do not outlive a line, lest noise turns a whole log into boxes.
	g0, shift bool

	single   bool // one piece only: switches part nothing
	switches int
	piece    Piece
}

// resumeRe is a mode switch or SGR that is spread over two lines: where both
// directions are recorded, what was typed stands between two reads from the
// guest, wherever those were cut.
var resumeRe = regexp.MustCompile(`^\x1b\[(?:\?(?:7|25|2004)[hl]|[0-9][0-9;]*m)`)

// resume skips the rest of the sequence that the line before began.
func (s *scan) resume() {
	cut := s.cut
	s.cut = nil
	if cut == nil {
		return
	}
	both := append(cut[:len(cut):len(cut)], s.src[:min(len(s.src), 16)]...)
	m := resumeRe.Find(both)
	if len(m) <= len(cut) {
		return
	}
	s.from = len(m) - len(cut)
	switch string(m[2:]) {
	case "?2004h":
		s.first = On
	case "?2004l":
		s.first = Off
	}
}

// pieces renders the line piece by piece.
func (s *scan) pieces() {
	s.row.earn(len(s.src))
	s.piece = Piece{Paste: s.first, start: int32(s.base) + int32(s.from)}
	s.row.begin(s.src, s.base)
	s.run()
	s.close(len(s.src))
}

// whole renders the line as one piece.
func (s *scan) whole() string {
	s.single, s.g0, s.shift = true, false, false
	s.row.earn(len(s.src))
	s.row.begin(s.src, s.base)
	s.run()
	return s.shown(s.row.finish())
}

// shown returns the text of a row. Where its bytes stand in the data as they
// are, it is a part of them.
func (d *decoder) shown(out []byte, runs []run) string {
	if len(runs) == 1 {
		rest := d.text[runs[0].raw:]
		if same := rest[:min(len(out), len(rest))]; same == string(out) {
			return same
		}
	}
	return string(out)
}

// close ends the piece at offset end.
func (s *scan) close(end int) {
	p := &s.piece
	out, runs := s.row.finish()
	p.Text, p.end = s.shown(out, runs), int32(s.base)+int32(end)
	if p.Paste == Same && p.Text == "" && s.switches > 0 {
		return // nothing stands before the first switch
	}
	if s.t.runs.keep(p, runs) {
		s.row.runs = nil
	}
	s.done = append(s.done, *p)
}

// toggle ends a piece and starts the next: the switch reaches from start to
// end.
func (s *scan) toggle(to Paste, start, end int) {
	if s.single || len(s.done) >= maxPieces {
		return
	}
	s.switches++
	s.close(start)
	s.row.begin(s.src, s.base)
	s.piece = Piece{Paste: to, start: int32(s.base) + int32(end)}
}

// run feeds the bytes.
func (s *scan) run() {
	s.parser.Reset()
	for i := s.from; i < len(s.src); {
		c := s.src[i]
		switch {
		case s.parser.State() != parser.GroundState:
			i = s.escape(i)
		case c == 0x1b:
			s.begun = i
			s.parser.Advance(c)
			i++
		case c < 0x20 || c == 0x7f:
			s.control(i)
			i++
		case c < 0x80:
			i = s.ascii(i)
		default:
			i = s.rune(i)
		}
	}
	if s.inCSI() && len(s.src)-s.begun < 16 {
		s.cut = append([]byte(nil), s.src[s.begun:]...)
	}
}

// ascii prints from i on up to the next byte that is something else.
func (s *scan) ascii(i int) int {
	boxes := s.boxes()
	for ; i < len(s.src); i++ {
		c := s.src[i]
		if c < 0x20 || c >= 0x7f {
			return i
		}
		if s.t.EscapesLost && (c == '[' || c == ']') {
			if n := leftover(s.src[i:]); n > 0 {
				s.lost(i, n)
				return i + n
			}
		}
		r := rune(c)
		if boxes {
			r = box(c)
		}
		s.row.put(r, i, 1)
	}
	return i
}

// rune prints the character at i, which is not ASCII.
func (s *scan) rune(i int) int {
	r, n := utf8.DecodeRune(s.src[i:])
	switch {
	case n == 1 && len(s.src) > maxProper:
		s.row.put('?', i, 1)
	case n == 1:
		s.row.put(utf8.RuneError, i, 1)
	case !unicode.IsControl(r):
		s.row.put(r, i, width(r))
	}
	return i + n
}

// width returns the columns that r takes. A combining mark gets one of its
// own: a row holds one character a cell.
func width(r rune) int { return min(max(ansi.StringWidth(string(r)), 1), 2) }

// lost drops the headless sequence of n bytes at i.
func (s *scan) lost(i, n int) {
	switch string(s.src[i : i+n]) {
	case "[?2004h":
		s.toggle(On, i, i+n)
	case "[?2004l":
		s.toggle(Off, i, i+n)
	}
}

// escape feeds byte i to the parser and returns the next one to look at. Bytes
// above ASCII never reach the parser: within strings they are text that nobody
// shows, elsewhere they end the sequence.
func (s *scan) escape(i int) int {
	c, state := s.src[i], s.parser.State()
	inString := isString(state)
	switch {
	case i-s.begun >= maxEscape, inString && c == '\r', !inString && c >= 0x80:
		s.parser.Reset()
		return i
	case c >= 0x80:
		return i + 1
	case c == 0x1b:
		s.begun = i
	case state == parser.OscStringState && i == s.begun+2 && (c == 'P' || c == 'R'):
		s.parser.Reset()
		return s.palette(i)
	}
	switch s.parser.Advance(c) {
	case parser.ExecuteAction:
		s.control(i)
	case parser.DispatchAction:
		switch state {
		case parser.CsiEntryState, parser.CsiParamState, parser.CsiIntermediateState:
			s.csi(i + 1)
		case parser.EscapeState, parser.EscapeIntermediateState:
			s.esc()
		}
	}
	return i + 1
}

// palette skips the Linux console's ESC ] P nrrggbb and ESC ] R, which look
// like a title that never ends (console_codes(4)).
func (s *scan) palette(i int) int {
	if s.src[i] == 'R' {
		return i + 1
	}
	end := min(i+8, len(s.src))
	for i++; i < end && isHex(s.src[i]); i++ {
	}
	return i
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isString(state byte) bool {
	switch state {
	case parser.OscStringState, parser.DcsEntryState, parser.DcsIntermediateState, parser.DcsParamState, parser.DcsStringState,
		parser.SosStringState, parser.PmStringState, parser.ApcStringState:
		return true
	}
	return false
}

func (s *scan) inCSI() bool {
	st := s.parser.State()
	return st == parser.CsiEntryState || st == parser.CsiParamState
}

// control obeys the control character at i.
func (s *scan) control(i int) {
	r := &s.row
	switch s.src[i] {
	case '\r':
		if s.wrapped(i) {
			r.col--
			r.cutAt(r.col)
			return
		}
		r.col = 0
	case '\b':
		r.move(r.col - 1)
	case '\t':
		if len(s.src) > maxProper {
			r.put(' ', i, 1)
			return
		}
		r.tab()
	case '\v', '\f':
		r.segment()
	case 0x0e:
		s.shift = true
	case 0x0f:
		s.shift = false
	}
}

// wrapped reports whether the CR at i belongs to a blank that readline prints
// to make the terminal wrap: the blank stands in the first column of the next
// row, the CR returns to that column, and the command line goes on there.
func (s *scan) wrapped(i int) bool {
	r := &s.row
	at := r.col - 1
	return at > 0 && at%readlineWidth == 0 && r.col == len(r.cells) &&
		s.src[i-1] == ' ' && r.cells[at] == cell{' ', int32(i - 1)} &&
		i+1 < len(s.src) && s.src[i+1] >= 0x20 && s.src[i+1] != 0x7f
}

// csi obeys the control sequence that ends before end.
func (s *scan) csi(end int) {
	cmd := ansi.Cmd(s.parser.Command())
	switch {
	case cmd.Prefix() == '?' && cmd.Intermediate() == 0:
		s.mode(cmd.Final(), end)
	case cmd.Prefix() == 0 && cmd.Intermediate() == 0:
		s.edit(cmd.Final())
	case cmd.Final() == 'p' && cmd.Intermediate() == '!': // soft reset
		s.g0, s.shift, s.g1 = false, false, s.t.EscapesLost
	}
}

// edit obeys a sequence that moves the cursor or changes the row.
func (s *scan) edit(final byte) {
	r, n := &s.row, s.count()
	switch final {
	case 'C', 'a':
		r.move(r.col + n)
	case 'D':
		r.move(r.col - n)
	case 'G', '`':
		r.move(n - 1)
	case 'K', 'J':
		s.erase(final)
	case 'X':
		r.erase(r.col, r.col+n)
	case '@':
		r.insert(n)
	case 'P':
		r.remove(n)
	case 'A', 'B', 'E', 'F', 'H', 'f', 'd', 'e', 'L', 'M', 'u':
		r.segment()
	}
}

// erase obeys EL and ED. Clearing the whole screen takes no text away: it was
// shown, and nothing else would tell of it.
func (s *scan) erase(final byte) {
	r := &s.row
	how, _ := s.parser.Param(0, 0)
	switch {
	case how == 0:
		r.cutAt(r.col)
	case how == 1:
		r.erase(0, r.col+1)
	case final == 'K':
		r.cells = r.cells[:0]
	default:
		r.segment()
	}
}

// count returns the first parameter as a count of columns.
func (s *scan) count() int {
	n, _ := s.parser.Param(0, 1)
	return min(max(n, 1), maxColumns)
}

// mode obeys a private mode switch.
func (s *scan) mode(final byte, end int) {
	if final != 'h' && final != 'l' {
		return
	}
	for i := range s.parser.Params() {
		switch n, _ := s.parser.Param(i, 0); n {
		case paste:
			to := On
			if final == 'l' {
				to = Off
			}
			s.toggle(to, s.begun, end)
		case 47, 1047, 1049: // the other screen
			s.row.segment()
		}
	}
}

// esc obeys a sequence without CSI.
func (s *scan) esc() {
	cmd := ansi.Cmd(s.parser.Command())
	switch cmd.Intermediate() {
	case '(':
		s.g0 = cmd.Final() == '0'
	case ')':
		s.g1 = cmd.Final() == '0'
	case 0:
		switch cmd.Final() {
		case 'D', 'E', 'M', '8':
			s.row.segment()
		case 'c':
			s.g0, s.shift, s.g1 = false, false, s.t.EscapesLost
			s.row.segment()
		}
	}
}

// boxes reports whether letters stand for line drawing.
func (s *scan) boxes() bool {
	if s.shift {
		return s.g1
	}
	return s.g0
}

// drawing is the DEC special graphics set, from 0x60 to 0x7e.
var drawing = [...]rune{
	'◆', '▒', '␉', '␌', '␍', '␊', '°', '±', '␤', '␋', '┘', '┐', '┌', '└', '┼', '⎺',
	'⎻', '─', '⎼', '⎽', '├', '┤', '┴', '┬', '│', '≤', '≥', 'π', '≠', '£', '·',
}

// box returns what c, which is printable, stands for in line drawing.
func box(c byte) rune {
	if c < 0x60 {
		return rune(c)
	}
	return drawing[c-0x60]
}
