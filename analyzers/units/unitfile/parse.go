package unitfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/unit"
)

const (
	blanks = " \t\n\r" // WHITESPACE of systemd: no \v, no \f
	bom    = "\uFEFF"
)

// Parse reads a file as systemd does. It never fails: what is wrong with the
// file is in its Problems.
func Parse(data []byte) *File {
	p := &parser{scanner: scanner{data: data, line: 1}}
	for p.step() {
	}
	p.split()
	return &p.file
}

// A parser turns logical lines into options. The assignments wait until all
// are known, so that go-systemd is called once.
type parser struct {
	scanner
	file        File
	section     string
	sectionLine int // 0 before the first header
	pending     []assignment
}

// An assignment is a logical line with an equals sign; Name and Value are
// still empty.
type assignment struct {
	Option
	text string
}

// step reads a logical line, and reports whether there may be another.
func (p *parser) step() bool {
	l, err := p.logical()
	if err != "" {
		return p.refuse(l, err)
	}
	if l == nil {
		return false
	}
	text := strings.Trim(l.text, blanks)
	switch {
	case text == "":
		return true
	case !isPlain(text) && !cleanUTF8(text):
		return p.refuse(l, "not UTF-8")
	case text[0] == '[':
		return p.header(l, text)
	}
	return p.assignment(l, text)
}

func (p *parser) header(l *logicalLine, text string) bool {
	if len(text) < 2 || text[len(text)-1] != ']' {
		return p.refuse(l, fmt.Sprintf("invalid section header %.100q", text))
	}
	name := text[1 : len(text)-1]
	if strings.ContainsFunc(name, unsafeInHeader) {
		return p.refuse(l, fmt.Sprintf("bad characters in section header %.100q", text))
	}
	p.section, p.sectionLine = name, l.line
	return true
}

func unsafeInHeader(r rune) bool {
	return r < ' ' || r == 0x7f || r == '"' || r == '\'' || r == '\\'
}

func (p *parser) assignment(l *logicalLine, text string) bool {
	switch eq := strings.IndexByte(text, '='); {
	case p.sectionLine == 0:
		return p.ignore(l, "assignment outside of a section")
	case eq < 0:
		return p.ignore(l, "no '=' in the line")
	case eq == 0:
		return p.ignore(l, "no name before '='")
	case len(p.pending) == maxOptions:
		return p.refuse(l, fmt.Sprintf("more than %d options", maxOptions))
	}
	p.pending = append(p.pending, assignment{
		Option: Option{Section: p.section, Line: l.line, SectionLine: p.sectionLine, Start: l.start, End: l.end},
		text:   text,
	})
	return true
}

func (p *parser) ignore(l *logicalLine, text string) bool {
	if len(p.file.Problems) < maxProblems {
		p.file.Problems = append(p.file.Problems, Problem{Line: l.line, Start: l.start, End: l.end, Text: text})
	}
	return true
}

func (p *parser) refuse(l *logicalLine, text string) bool {
	p.file.Problems = append(p.file.Problems, Problem{Line: l.line, Start: l.start, End: l.end, Text: text, Fatal: true})
	return false
}

// split has go-systemd split the assignments that it can, in one call, and
// does the others itself.
func (p *parser) split() {
	if len(p.pending) == 0 {
		return
	}
	var text bytes.Buffer
	header := 0
	var fit []int
	for i, a := range p.pending {
		if !fitsLibrary(a) {
			continue
		}
		if header != a.SectionLine {
			header = a.SectionLine
			fmt.Fprintf(&text, "[%s]\n", a.Section)
		}
		text.WriteString(a.text)
		text.WriteByte('\n')
		fit = append(fit, i)
	}
	options, err := unit.DeserializeOptions(&text)
	if err != nil || len(options) != len(fit) {
		options, fit = nil, nil
	}
	p.file.Options = make([]Option, len(p.pending))
	next := 0
	for i, a := range p.pending {
		if next < len(fit) && fit[next] == i {
			a.Name, a.Value = options[next].Name, options[next].Value
			next++
		} else {
			name, value, _ := strings.Cut(a.text, "=")
			a.Name, a.Value = strings.Trim(name, blanks), strings.Trim(value, blanks)
		}
		p.file.Options[i] = a.Option
	}
}

// fitsLibrary reports whether go-systemd reads the line as systemd does: it
// has a line limit of its own, takes every backslash at the end for a
// continuation, trims what Unicode calls space, and ends a header at its
// first bracket.
func fitsLibrary(a assignment) bool {
	return len(a.text) < unit.SYSTEMD_LINE_MAX &&
		a.text[len(a.text)-1] != '\\' &&
		a.text[0] != '#' && a.text[0] != ';' &&
		!strings.Contains(a.Section, "]") &&
		(isPlain(a.text) || !strings.ContainsFunc(a.text, oddSpace))
}

// isPlain reports whether text is printable ASCII and tabs, as nearly all is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

func oddSpace(r rune) bool { return unicode.IsSpace(r) && r != ' ' && r != '\t' }

// cleanUTF8 is utf8_is_valid of systemd, which refuses noncharacters too.
func cleanUTF8(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe
	})
}

// A scanner yields logical lines.
type scanner struct {
	data    []byte
	at      int
	line    int // of data[at]
	bomSeen bool
}

type logicalLine struct {
	text       string
	line       int
	start, end int64
}

// logical returns the next logical line, nil at the end of the file. With a
// problem it returns the line that has it.
func (s *scanner) logical() (*logicalLine, string) {
	var l *logicalLine
	var joined []byte
	for s.at < len(s.data) {
		line, start := s.line, s.at
		end := s.physical()
		text := s.data[start:end]
		if end-start >= maxLine {
			return &logicalLine{line: line, start: int64(start), end: int64(end)}, fmt.Sprintf("line of more than %d bytes", maxLine)
		}
		if isComment(text) {
			continue
		}
		text = s.withoutBOM(text)
		if l == nil {
			l = &logicalLine{line: line, start: int64(start)}
		}
		l.end = int64(end)
		if len(joined)+len(text) > maxLine {
			return l, fmt.Sprintf("continued lines of more than %d bytes", maxLine)
		}
		if !continues(text) {
			if joined != nil {
				text = append(joined, text...)
			}
			l.text = string(text)
			return l, ""
		}
		joined = append(joined, text...)
		joined[len(joined)-1] = ' '
	}
	if l != nil {
		l.text = string(joined)
	}
	return l, ""
}

// physical passes over a line and its end, and returns where its text ends.
func (s *scanner) physical() int {
	end, next := cutLine(s.data, s.at)
	s.line += bytes.Count(s.data[end:next], []byte{'\n'})
	s.at = next
	return end
}

func (s *scanner) withoutBOM(text []byte) []byte {
	if s.bomSeen || !bytes.HasPrefix(text, []byte(bom)) {
		return text
	}
	s.bomSeen = true
	return text[len(bom):]
}

// cutLine returns where the line at data[at:] ends and where the next one
// starts. LF, CR and NUL end a line; different ones in a row are one end, as
// in read_line_full of systemd, but nothing joins a NUL that came first.
func cutLine(data []byte, at int) (end, next int) {
	end = at
	for end < len(data) && !isEOL(data[end]) {
		end++
	}
	next = end
	for next < len(data) && isEOL(data[next]) &&
		bytes.IndexByte(data[end:next], data[next]) < 0 &&
		bytes.IndexByte(data[end:next], 0) < 0 {
		next++
	}
	return end, next
}

func isEOL(c byte) bool { return c == '\n' || c == '\r' || c == 0 }

func isComment(text []byte) bool {
	text = bytes.TrimLeft(text, blanks)
	return len(text) > 0 && (text[0] == '#' || text[0] == ';')
}

// continues reports whether the line ends in a backslash that no other
// escapes.
func continues(text []byte) bool {
	n := len(text) - len(bytes.TrimRight(text, `\`))
	return n%2 == 1
}
