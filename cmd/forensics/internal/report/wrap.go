package report

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// wrap breaks clean text into lines of at most width columns: between words,
// and inside a longer word behind the last slash that fits, else anywhere.
func wrap(s string, width int) []string {
	width = max(width, 8)
	var lines []string
	line, used := "", 0
	flush := func() {
		lines = append(lines, line)
		line, used = "", 0
	}
	for _, word := range strings.Fields(s) {
		w := ansi.StringWidth(word)
		if used > 0 && used+1+w > width {
			flush()
		}
		for w > width {
			head := hardCut(word, width)
			lines = append(lines, word[:head])
			word = word[head:]
			w = ansi.StringWidth(word)
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+w
	}
	if used > 0 || len(lines) == 0 {
		flush()
	}
	return lines
}

// hardCut returns how many bytes of word to put on a line of that width.
func hardCut(word string, width int) int {
	head := ansi.Truncate(word, width, "")
	if len(head) == 0 {
		return len(word) // a single cluster wider than the line
	}
	if i := strings.LastIndexByte(head, '/'); i > len(head)/3 {
		return i + 1
	}
	return len(head)
}
