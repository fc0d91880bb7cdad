package kernel

import (
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
)

// readConsole finds the messages among an artifact's lines. Harness logs and
// the like repeat what the artifact they were drained from says better.
func readConsole(t *console.Transcript) *Log {
	l := &Log{Path: t.Path, Kind: t.Artifact.Kind}
	switch l.Kind {
	case bundle.Serial, bundle.Capture, bundle.Unknown, bundle.Journal, bundle.Dmesg:
	default:
		return l
	}
	for i := range t.Lines {
		line := &t.Lines[i]
		if line.Typed {
			continue
		}
		for j := range line.Pieces {
			p := &line.Pieces[j]
			text := p.Text
			if line.TypedFrom >= 0 && j == len(line.Pieces)-1 {
				text = text[:min(line.TypedFrom, len(text))]
			}
			if p.Paste != console.On {
				l.line(text, func(start, end int) bundle.Evidence {
					if start == 0 && end == len(text) && end == len(p.Text) {
						return t.PieceEvidence(p)
					}
					return t.TextEvidence(p, start, end)
				})
			}
		}
	}
	return l
}

// line reads one piece of a line: a message, several spliced together, or a
// program's line. at gives the evidence of text's bytes from start to end.
func (l *Log) line(text string, at func(start, end int) bundle.Evidence) {
	first, start := nextStamp(text, 0)
	if first.end == 0 {
		if !l.answered(text, at) && mayMatter(text) && !isEntry(text) {
			l.told = append(l.told, said{Message: Message{Seconds: -1, Text: strings.TrimSpace(text), Evidence: at(0, len(text))}, by: bare})
		}
		return
	}
	if isEntry(text) || !mayPrecede(text[:start]) {
		return
	}
	for stamp := first; stamp.end > 0; {
		next, end := nextStamp(text, stamp.end)
		if next.end == 0 {
			end = len(text)
		}
		body := strings.TrimRight(text[stamp.end:end], " \t")
		l.say(stamp.seconds, body, at(start, stamp.end+len(body)))
		stamp, start = next, end
	}
}

func isEntry(text string) bool {
	_, ok := journal.ParseShort(text)
	return ok
}

// mayPrecede reports whether a message can stand behind prefix in a line: after
// nothing, or spliced into a program's output. A prompt, a quotation or a
// harness's stamp before it means that somebody else repeats the message.
func mayPrecede(prefix string) bool {
	prefix = strings.TrimSpace(levelled(prefix))
	if prefix == "" {
		return true
	}
	if len(prefix) > 400 || strings.ContainsAny(prefix, "'`|") || strings.Contains(prefix, "utput:") {
		return false
	}
	if strings.Count(prefix, `"`)%2 != 0 || dated(prefix) {
		return false
	}
	for _, prompt := range []string{"$", "#", ">", "echo", "printf", "grep"} {
		if strings.HasPrefix(prefix, prompt+" ") || strings.HasSuffix(prefix, prompt) || strings.Contains(prefix, prompt+" ") {
			return false
		}
	}
	return true
}

// dated reports whether s starts with an ISO date, as the lines of a log do:
// "2026-03-04T06:07:35" or in brackets. The kernel and what runs on a console
// write none.
func dated(s string) bool {
	s = strings.TrimPrefix(s, "[")
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	_, err := strconv.Atoi(s[:4] + s[5:7] + s[8:10])
	return err == nil
}

// levelled drops what dmesg --raw ("<6>") and dmesg --decode ("kern  :info  : ")
// put before the stamp.
func levelled(s string) string {
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") && len(s) <= 5 {
		return ""
	}
	// The facility is padded to 6 columns, the level to 6: sys-utils/dmesg.c.
	if len(s) <= 18 && strings.Count(s, ":") == 2 && strings.HasSuffix(strings.TrimRight(s, " "), ":") {
		return ""
	}
	return s
}

// stamp is the time that printk puts before a message.
type stamp struct {
	seconds float64
	end     int // of the stamp and the blank behind it; 0: there is none
}

// nextStamp finds the first stamp in s at or after from, and where it starts.
func nextStamp(s string, from int) (stamp, int) {
	for i := from; i < len(s); i++ {
		j := strings.IndexByte(s[i:], '[')
		if j < 0 {
			return stamp{}, 0
		}
		i += j
		if st := stampAt(s, i); st.end > 0 {
			return st, i
		}
	}
	return stamp{}, 0
}

// stampAt reads "[%5lu.%06lu] " (print_time in kernel/printk/printk.c), perhaps
// with the caller behind it ("[    T1] ", CONFIG_PRINTK_CALLER).
func stampAt(s string, i int) stamp {
	end := min(len(s), i+24)
	j := i + 1
	for j < end && s[j] == ' ' {
		j++
	}
	digits := j
	for j < end && s[j] >= '0' && s[j] <= '9' {
		j++
	}
	// The width is at least five: anything narrower is not printk's.
	if j == digits || j-i-1 < 5 || j+8 > len(s) || s[j] != '.' || s[j+7] != ']' {
		return stamp{}
	}
	if strings.Trim(s[j+1:j+7], "0123456789") != "" {
		return stamp{}
	}
	seconds, err := strconv.ParseFloat(s[digits:j+7], 64)
	if err != nil {
		return stamp{}
	}
	j += 8
	j += caller(s[j:])
	if j < len(s) {
		if s[j] != ' ' {
			return stamp{}
		}
		j++
	}
	return stamp{seconds: seconds, end: j}
}

// caller returns the length of "[    T1]" or "[    C0]" at the start of s.
func caller(s string) int {
	n := strings.IndexByte(s[:min(len(s), 12)], ']')
	if n < 3 || s[0] != '[' {
		return 0
	}
	id := strings.TrimLeft(s[1:n], " ")
	if len(id) < 2 || id[0] != 'T' && id[0] != 'C' || strings.Trim(id[1:], "0123456789") != "" {
		return 0
	}
	return n + 1
}
