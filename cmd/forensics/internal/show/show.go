// Package show writes the decoded view of an artifact: what the analyzers work
// from, for people and for tests.
//
// A text is shown line by line with its number (as grep -n counts) and who
// wrote it: a line that was typed into the console has a > before it. A journal
// is shown entry by entry, a tree file by file, a command line option by option,
// a unit file as it is after its drop-ins.
//
// Everything but Raw and Export is safe for a terminal: a byte that could act
// on one is written as an escape (\x1b, \u202e). Nothing is cut or folded, so
// that what is shown can be searched and compared.
//
// Left out: judging. What a line means is for the analyzers.
package show

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"forensics/analyzers/console"
	"forensics/analyzers/units/unitfile"
)

// maxMarks bounds the combining marks on one letter: a tower of them paints
// over the lines around it.
const maxMarks = 2

// visible writes what a terminal could act on as escapes.
func visible(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	marks := 0
	for i, w := 0, 0; i < len(s); i += w {
		var r rune
		r, w = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && w == 1, r < 0x20 && r != '\t', r >= 0x7f && r < 0xa0:
			for _, c := range []byte(s[i : i+w]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
			continue
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; marks <= maxMarks {
				b.WriteRune(r)
				continue
			}
		case r == '\t' || r == ' ' || unicode.IsPrint(r):
			marks = 0
			b.WriteRune(r)
			continue
		}
		if r > 0xffff {
			fmt.Fprintf(&b, `\U%08x`, r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x7f || c < 0x20 && c != '\t' {
			return false
		}
	}
	return true
}

// Lines writes a transcript: number, > for what was typed, text. A line that
// the guest began and somebody ended has the typed part behind a ›.
func Lines(w io.Writer, t *console.Transcript) error {
	b := bufio.NewWriter(w)
	for i := range t.Lines {
		l := &t.Lines[i]
		mark, text := " ", visible(l.Text)
		if l.Typed {
			mark = ">"
		}
		if from := l.TypedFrom; from >= 0 && len(l.Pieces) > 0 {
			if last := l.Pieces[len(l.Pieces)-1].Text; from < len(last) && strings.HasSuffix(l.Text, last) {
				cut := len(l.Text) - len(last) + from
				text = visible(l.Text[:cut]) + "›" + visible(l.Text[cut:])
			}
		}
		fmt.Fprintf(b, "%6d %s %s\n", l.Number, mark, text)
	}
	return b.Flush()
}

// Text writes a file of text with line numbers.
func Text(w io.Writer, data []byte) error {
	b := bufio.NewWriter(w)
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		fmt.Fprintf(b, "%6d   %s\n", n, visible(strings.TrimRight(line, "\r\n")))
	}
	return b.Flush()
}

// Unit writes a unit as systemctl cat does: each file under a comment with its
// path.
func Unit(w io.Writer, u *unitfile.Unit) error {
	var text strings.Builder
	if err := u.Print(&text); err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(b, visible(strings.TrimRight(line, "\n")))
	}
	return b.Flush()
}
