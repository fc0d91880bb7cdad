package rules

import (
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// place is a line and column of a file, from 1, in characters.
type place struct{ line, column int }

// scalar is a YAML scalar that knows where each of its characters stands in
// the file, whatever its style.
type scalar struct {
	doc   *document
	node  *yaml.Node
	value string

	places []place // of each rune, and the end; made when first asked for
}

// at returns the place of the rune with that index.
func (s *scalar) at(rune int) place {
	if s.places == nil {
		s.places = s.locate()
	}
	return s.places[min(max(rune, 0), len(s.places)-1)]
}

// cursor walks over the source of a scalar.
type cursor struct {
	lines        []string
	line, offset int // of the next rune; line from 0, offset in bytes
	column       int // in runes
}

func (c *cursor) place() place { return place{c.line + 1, c.column + 1} }

func (c *cursor) rest() string {
	if c.line >= len(c.lines) {
		return ""
	}
	return c.lines[c.line][c.offset:]
}

func (c *cursor) peek() (rune, int) {
	r := c.rest()
	if r == "" {
		return '\n', 0
	}
	return utf8.DecodeRuneInString(r)
}

func (c *cursor) next() {
	if _, w := c.peek(); w > 0 {
		c.offset += w
		c.column++
	} else {
		c.newline()
	}
}

func (c *cursor) newline() { c.line, c.offset, c.column = c.line+1, 0, 0 }

// skip skips up to n blanks.
func (c *cursor) skip(n int) {
	for ; n > 0; n-- {
		if r, w := c.peek(); w == 0 || r != ' ' && r != '\t' {
			return
		}
		c.next()
	}
}

// skipBlank skips blanks and line ends.
func (c *cursor) skipBlank(indent int) {
	for !c.done() {
		switch r, w := c.peek(); {
		case w == 0:
			c.newline()
			c.skip(indent)
		case r == ' ' || r == '\t':
			c.next()
		default:
			return
		}
	}
}

// done reports whether the file is at its end.
func (c *cursor) done() bool { return c.line >= len(c.lines) }

// locate aligns the value with the source. Where they do not agree, which only
// an unforeseen form of YAML brings about, the places stay at the last one
// that did.
func (s *scalar) locate() []place {
	c := &cursor{lines: s.doc.lines, line: s.node.Line - 1}
	for range s.node.Column - 1 {
		c.next()
	}
	switch {
	case s.node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return s.locateBlock(c)
	case s.node.Style&yaml.DoubleQuotedStyle != 0:
		c.next()
		return s.align(c, 1<<30, doubleQuoted)
	case s.node.Style&yaml.SingleQuotedStyle != 0:
		c.next()
		return s.align(c, 1<<30, singleQuoted)
	}
	return s.align(c, 1<<30, plain)
}

func (s *scalar) locateBlock(c *cursor) []place {
	c.newline()
	indent := 0
	for _, l := range c.lines[min(c.line, len(c.lines)):] {
		n := 0
		for n < len(l) && l[n] == ' ' {
			n++
		}
		if n < len(l) {
			indent = n
			break
		}
	}
	c.skip(indent)
	return s.align(c, indent, plain)
}

// align gives each rune of the value its place. At a line end, what the value
// shows as one space or some newlines is skipped in the source together with
// the indentation that follows.
func (s *scalar) align(c *cursor, indent int, step func(c *cursor, want rune)) []place {
	places := make([]place, 0, len(s.value)+1)
	for _, want := range s.value {
		if want != '\n' && want != ' ' {
			c.skipBlank(indent)
		}
		places = append(places, c.place())
		if _, w := c.peek(); w == 0 && (want == '\n' || want == ' ') {
			c.newline()
			c.skip(indent)
			continue
		}
		step(c, want)
	}
	return append(places, c.place())
}

func plain(c *cursor, want rune) {
	if r, _ := c.peek(); r == want {
		c.next()
	}
}

// singleQuoted reads a doubled quote as one.
func singleQuoted(c *cursor, want rune) {
	if r, _ := c.peek(); r == '\'' {
		c.next()
	}
	plain(c, want)
}

// doubleQuoted reads an escape sequence as one rune.
func doubleQuoted(c *cursor, want rune) {
	if r, _ := c.peek(); r != '\\' {
		plain(c, want)
		return
	}
	c.next()
	r, w := c.peek()
	if w == 0 { // an escaped line end stands for nothing
		c.newline()
		c.skip(1 << 30)
		doubleQuoted(c, want)
		return
	}
	c.next()
	for range map[rune]int{'x': 2, 'u': 4, 'U': 8}[r] {
		c.next()
	}
}
