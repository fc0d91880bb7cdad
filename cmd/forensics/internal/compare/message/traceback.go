package message

import (
	"strings"

	"forensics/analyzers/bundle"
)

// traceback is a Python traceback that is being read.
type traceback struct {
	by          where   // who printed it
	at          place   // where it begins
	source, own *spoken // the line of the innermost frame, and of the innermost that is not Python's own
	inOwn       bool    // the frame being read is not Python's own
	code        bool    // the next line is a frame's source
}

// spoken is a line with its place.
type spoken struct {
	text     string
	evidence func() bundle.Evidence
}

const (
	beginsTraceback = "Traceback (most recent call last)"
	directCause     = "The above exception was the direct cause of"
	whileHandling   = "During handling of the above exception"
)

// reading says what a line is to a traceback.
type reading uint8

const (
	foreign reading = iota // none of its lines: it ends without an exception
	inside
	raised // the exception
)

// line takes the next line of whoever printed the traceback.
func (t *traceback) line(text string, evidence func() bundle.Evidence) reading {
	trimmed := strings.TrimSpace(text)
	indented := text != "" && (text[0] == ' ' || text[0] == '\t')
	switch {
	case trimmed == "" || strings.Trim(trimmed, "^~ ") == "":
		return inside
	case strings.HasPrefix(trimmed, `File "`) && strings.Contains(trimmed, `", line `):
		t.inOwn, t.code = !pythons(trimmed), true
		return inside
	case !indented && isException(trimmed):
		return raised
	case t.code:
		t.code = false
		t.source = &spoken{trimmed, evidence}
		if t.inOwn {
			t.own = t.source
		}
		return inside
	case indented || strings.HasPrefix(trimmed, "[Previous line repeated"):
		return inside
	}
	return foreign
}

// where returns the source line that the traceback is named by.
func (t *traceback) where() *spoken {
	if t.own != nil {
		return t.own
	}
	return t.source
}

// pythons reports whether a frame is of Python's own library.
func pythons(frame string) bool {
	return strings.HasPrefix(frame, `File "<frozen `) ||
		strings.Contains(frame, "/lib/python3") && !strings.Contains(frame, "/site-packages/") && !strings.Contains(frame, "/dist-packages/")
}

// isException reports whether s is how Python ends a traceback:
// "OSError: [Errno 22] Invalid argument", "pexpect.exceptions.TIMEOUT: …",
// "KeyboardInterrupt".
func isException(s string) bool {
	n, dot := 0, true // at the start of a name
	for n < len(s) && (isWord(s[n]) || s[n] == '.') {
		if dot && (kinds[s[n]] != isLetter) {
			return false
		}
		dot = s[n] == '.'
		n++
	}
	return n > 0 && !dot && (n == len(s) || strings.HasPrefix(s[n:], ": ") || s[n:] == ":")
}
