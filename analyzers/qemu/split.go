package qemu

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds on a command as text.
const (
	maxCommand = 64 << 10
	maxWords   = 4096
)

// SplitCommand splits a command as harnesses log it: a shell-like line, or a
// Python list of string or bytes literals as pexpect prints it. It reports
// false for anything that is not a complete command: an open quote, a shell
// variable, a list that holds names.
func SplitCommand(s string) ([]string, bool) {
	s = strings.TrimSpace(s)
	if s == "" || len(s) > maxCommand {
		return nil, false
	}
	if s[0] == '[' {
		return splitList(s)
	}
	return splitShell(s)
}

// splitList reads a Python list of literals.
func splitList(s string) ([]string, bool) {
	s = s[1:]
	var argv []string
	for {
		s = strings.TrimLeft(s, " \t")
		if s == "]" && argv != nil {
			return argv, true
		}
		word, rest, ok := literal(s)
		if !ok || len(argv) >= maxWords {
			return nil, false
		}
		argv = append(argv, word)
		s = strings.TrimLeft(rest, " \t")
		if next, found := strings.CutPrefix(s, ","); found {
			s = next
		} else if s != "]" {
			return nil, false
		}
	}
}

// literal reads a Python string or bytes literal, and what follows it.
func literal(s string) (word, rest string, ok bool) {
	s = strings.TrimPrefix(s, "b")
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", "", false
	}
	quote := s[0]
	var b []byte
	for i := 1; i < len(s); {
		switch c := s[i]; {
		case c == quote:
			return strings.ToValidUTF8(string(b), "\uFFFD"), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			n := 0
			b, n = unescape(b, s[i:])
			i += n
		default:
			b = append(b, c)
			i++
		}
	}
	return "", "", false
}

// unescape appends what the escape at the start of s stands for to b, and
// returns its length.
func unescape(b []byte, s string) ([]byte, int) {
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[1]]
	if digits > 0 && len(s) >= 2+digits {
		if n, err := strconv.ParseUint(s[2:2+digits], 16, 32); err == nil {
			if digits == 2 {
				return append(b, byte(n)), 4
			}
			return utf8.AppendRune(b, rune(n)), 2 + digits
		}
	}
	switch s[1] {
	case 'n':
		return append(b, '\n'), 2
	case 't':
		return append(b, '\t'), 2
	case 'r':
		return append(b, '\r'), 2
	case '\\', '\'', '"':
		return append(b, s[1]), 2
	}
	return append(b, s[0], s[1]), 2 // Python keeps what it does not know
}

// splitShell splits a simple command. It ends at a control operator or
// redirection; an expansion makes it a text that was not run as it stands.
func splitShell(s string) ([]string, bool) {
	var argv []string
	var b strings.Builder
	open := false // a word has begun
	end := func() {
		if open {
			argv = append(argv, b.String())
			b.Reset()
		}
		open = false
	}
	for i := 0; i < len(s) && len(argv) < maxWords; i++ {
		switch c := s[i]; c {
		case ' ', '\t':
			end()
		case ';', '|', '&', '<', '>', '\n':
			if (c == '<' || c == '>') && strings.Trim(b.String(), "0123456789") == "" {
				open = false // the number of a file descriptor
			}
			end()
			return argv, len(argv) > 0
		case '$', '`':
			return nil, false
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
				open = true
			}
		case '\'', '"':
			n, ok := quoted(&b, s[i:])
			if !ok {
				return nil, false
			}
			open = true
			i += n - 1
		default:
			b.WriteByte(c)
			open = true
		}
	}
	end()
	return argv, len(argv) > 0
}

// quoted reads the quoted text at the start of s into b and returns its
// length.
func quoted(b *strings.Builder, s string) (int, bool) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return i + 1, true
		case s[0] == '"' && (c == '$' || c == '`'):
			return 0, false
		case s[0] == '"' && c == '\\' && i+1 < len(s) && strings.IndexByte("\\\"$`", s[i+1]) >= 0:
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return 0, false
}

// plainRe matches words that a shell takes as they are.
var plainRe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Join is the inverse of SplitCommand for shells.
func Join(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = a
		if !plainRe.MatchString(a) {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
