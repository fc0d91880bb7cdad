package rules

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// template is a sentence with ${} expressions.
type template struct{ parts []part }

// part is text, or an expression when its leaf is set.
type part struct {
	text string
	leaf *leaf
}

// template compiles a sentence, nil when there are mistakes.
func (c *compiler) template(s *scalar) *template {
	t := &template{}
	ok := true
	for rest := s.value; rest != ""; {
		text, after, found := strings.Cut(rest, "${")
		if text != "" {
			t.parts = append(t.parts, part{text: oneLine(text)})
		}
		if !found {
			break
		}
		start := len(s.value) - len(after)
		end := closing(after)
		if end < 0 {
			s.doc.mistakeAt(s.at(utf8.RuneCountInString(s.value[:start-2])), "${ without }")
			return nil
		}
		l := c.sentence(snippet{text: after[:end], in: s, offset: utf8.RuneCountInString(s.value[:start])})
		ok = ok && l != nil
		t.parts = append(t.parts, part{leaf: l})
		rest = after[end+1:]
	}
	if !ok {
		return nil
	}
	return t
}

func (c *compiler) sentence(s snippet) *leaf {
	tree := c.compile(s, cel.StringType)
	if tree == nil {
		return nil
	}
	l, err := c.leaf(tree, tree.Expr())
	if err != nil {
		s.mistake(1, 0, "%v", err)
		return nil
	}
	return l
}

// closing returns the index of the brace that ends an expression, -1 when
// there is none. Braces in string literals do not count.
func closing(s string) int {
	var quote byte
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == '}':
			return i
		}
	}
	return -1
}

// oneLine makes every run of white space one space and drops what is not
// printable.
func oneLine(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = true
			continue
		case !unicode.IsPrint(r):
			continue
		case space:
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	if space {
		b.WriteByte(' ')
	}
	return b.String()
}

// stampRe is what logs put before a message: time, host and process, as journald's
// short formats and syslog write them; printk's time, and the process that wrote
// through it; a date and time as ISO 8601 has them.
var stampRe = regexp.MustCompile(`^(?:` +
	`(?:[A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)) [\w.-]+ [^\s\[\]:]+(?:\[\d+\])?: ` +
	`|\[ *\d+\.\d{6}\] (?:[\w.@-]+\[\d+\]: )?` +
	`|\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]? ` +
	`)`)

// unstamped returns the message of a log's line. Time, host and process are the
// evidence's, a sentence says what was said. A stamp alone stays.
func unstamped(s string) string {
	if m := strings.TrimLeft(s[len(stampRe.FindString(s)):], " "); m != "" {
		return m
	}
	return s
}

// sentence joins texts; an empty one is a gap, and what stood around it is
// tidied: spaces, empty brackets and quotes, a colon with nothing behind it.
func sentence(texts []string) string {
	out, gap := "", false
	for _, t := range texts {
		if t == "" {
			gap = true
			continue
		}
		if gap {
			out, t = mend(out, t)
		}
		out, gap = out+t, false
	}
	if gap {
		out = strings.TrimRight(out, " :;,([–-")
	}
	return strings.TrimSpace(out)
}

// mend tidies the two sides of a gap.
func mend(before, after string) (string, string) {
	for before != "" && after != "" && strings.Contains("() [] \"\" '' ``", before[len(before)-1:]+after[:1]) && before[len(before)-1] != ' ' {
		before, after = before[:len(before)-1], after[1:]
	}
	if before == "" || strings.HasSuffix(before, " ") {
		after = strings.TrimLeft(after, " ")
	}
	if after == "" || strings.ContainsAny(after[:1], ",.;:)") || closes(before, after[0]) {
		before = strings.TrimRight(before, " ")
	}
	return before, after
}

// closes reports whether c is the closing one of a pair of quotes. Single ones
// cannot be told from apostrophes.
func closes(before string, c byte) bool {
	return (c == '`' || c == '"') && strings.Count(before, string(c))%2 == 1
}
