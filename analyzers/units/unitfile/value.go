package unitfile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Words splits a value into words as options with quoting do: at blanks
// outside of quotes, the quotes removed, C escapes replaced ("QUOTING" of
// systemd.syntax(7)). At an unknown escape or an open quote it returns the
// words before and an error with the byte of value where that word starts.
func Words(value string) ([]string, error) {
	w := words{value: value}
	return w.all()
}

// words is extract_first_word of systemd with EXTRACT_UNQUOTE and
// EXTRACT_CUNESCAPE.
type words struct {
	value string
	at    int
	// relaxed keeps unknown escapes as they are.
	relaxed bool
}

func (w *words) all() ([]string, error) {
	var all []string
	for w.more() {
		word, err := w.next()
		if err != nil {
			return all, err
		}
		all = append(all, word)
	}
	return all, nil
}

// more passes over blanks, and reports whether a word follows.
func (w *words) more() bool {
	for w.at < len(w.value) && isBlank(w.value[w.at]) {
		w.at++
	}
	return w.at < len(w.value)
}

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

func (w *words) next() (string, error) {
	start := w.at
	var word []byte
	quote := byte(0)
	for ; w.at < len(w.value); w.at++ {
		switch c := w.value[w.at]; {
		case c == '\\':
			n, ok := 0, false
			if word, n, ok = unescape(word, w.value[w.at+1:], w.relaxed, quote != 0); !ok {
				return "", fmt.Errorf("byte %d of %.100q: unknown escape in the word that starts here", start, w.value)
			}
			w.at += n
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && isBlank(c):
			return string(word), nil
		default:
			word = append(word, c)
		}
	}
	if quote != 0 {
		return "", fmt.Errorf("byte %d of %.100q: quote without its end in the word that starts here", start, w.value)
	}
	return string(word), nil
}

// unescape appends what the escape stands for, and returns how many bytes it
// has after its backslash. Relaxed, an unknown one stands for itself, and so
// does a backslash at the end outside of quotes.
func unescape(word []byte, s string, relaxed, quoted bool) ([]byte, int, bool) {
	if s == "" {
		return append(word, '\\'), 0, relaxed && !quoted
	}
	if word, n, ok := knownEscape(word, s); ok {
		return word, n, true
	}
	return append(word, '\\', s[0]), 1, relaxed
}

const escapes, escaped = `abfnrtv\"'s`, "\a\b\f\n\r\t\v\\\"' "

// knownEscape is cunescape_one of systemd.
func knownEscape(word []byte, s string) ([]byte, int, bool) {
	if i := strings.IndexByte(escapes, s[0]); i >= 0 {
		return append(word, escaped[i]), 1, true
	}
	start, digits, base, limit := 1, 0, 16, uint64(0xff)
	switch s[0] {
	case 'x':
		digits = 2
	case 'u':
		digits, limit = 4, 0xffff
	case 'U':
		digits, limit = 8, utf8.MaxRune
	default:
		start, digits, base = 0, 3, 8
	}
	if len(s) < start+digits {
		return word, 0, false
	}
	c, err := strconv.ParseUint(s[start:start+digits], base, 32)
	if err != nil || c == 0 || c > limit {
		return word, 0, false
	}
	if limit == 0xff {
		return append(word, byte(c)), start + digits, true
	}
	if !utf8.ValidRune(rune(c)) {
		return word, 0, false
	}
	return utf8.AppendRune(word, rune(c)), start + digits, true
}

// A Command is one command line of ExecStart= and its relatives.
type Command struct {
	Prefixes string   // of "-@:+!|", as written
	Path     string   // the program: a path, or a name to be looked for
	Argv     []string // argv[0] is Path, or with the prefix @ the word after it
}

// Commands splits the value of one ExecStart= assignment: its command lines
// are separated by a word ";". Variables and specifiers stay as written. At
// an error it returns the commands before.
func Commands(value string) ([]Command, error) {
	w := words{value: value, relaxed: true}
	var all []Command
	for w.more() {
		if w.semicolon() {
			continue
		}
		c, err := w.command()
		if err != nil {
			return all, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (w *words) command() (Command, error) {
	start := w.at
	first, err := w.next()
	if err != nil {
		return Command{}, err
	}
	n := prefixes(first)
	c := Command{Prefixes: first[:n], Path: first[n:]}
	if c.Path == "" {
		return c, fmt.Errorf("byte %d of %.100q: no program", start, w.value)
	}
	if !strings.Contains(c.Prefixes, "@") {
		c.Argv = append(c.Argv, c.Path)
	}
	for w.more() && !w.semicolon() {
		if w.escapedSemicolon() {
			c.Argv = append(c.Argv, ";")
			continue
		}
		word, err := w.next()
		if err != nil {
			return c, err
		}
		c.Argv = append(c.Argv, word)
	}
	if len(c.Argv) == 0 {
		return c, fmt.Errorf("byte %d of %.100q: no argv[0] after the prefix '@'", start, w.value)
	}
	return c, nil
}

// semicolon takes a word that is an unquoted ";".
func (w *words) semicolon() bool { return w.literal(";") }

func (w *words) escapedSemicolon() bool { return w.literal(`\;`) }

func (w *words) literal(word string) bool {
	rest, ok := strings.CutPrefix(w.value[w.at:], word)
	if !ok || rest != "" && !isBlank(rest[0]) {
		return false
	}
	w.at += len(word)
	return true
}

// prefixes returns how many bytes of a command line's first word are
// prefixes: each once, but "!!" is one of its own, and "+" excludes both.
func prefixes(word string) int {
	seen := ""
	for i := 0; i < len(word); i++ {
		c := word[i]
		privileges := strings.Count(seen, "!")
		switch {
		case strings.IndexByte("-@:|", c) >= 0 && strings.IndexByte(seen, c) < 0:
		case c == '+' && privileges == 0 && !strings.Contains(seen, "+"):
		case c == '!' && privileges < 2 && !strings.Contains(seen, "+"):
		default:
			return i
		}
		seen += string(c)
	}
	return len(word)
}
