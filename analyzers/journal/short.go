package journal

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The names of the forms, as journalctl -o calls them.
const (
	formShort     = "short"
	formPrecise   = "short-precise"
	formISO       = "short-iso"
	formISOUsec   = "short-iso-precise"
	formFull      = "short-full"
	formUnix      = "short-unix"
	formMonotonic = "short-monotonic"
	formDelta     = "short-delta"
	formUnit      = "with-unit"
	formVerbose   = "verbose"
	formJSON      = "json"
	formExport    = "export"
	formNative    = "native"
)

// ParseShort reads one line of a short form, such as
//
//	Oct 08 06:07:35 nixos systemd[1]: Starting Pre-NixOS setup...
//
// It reports false for anything else. The monotonic form looks much like the
// kernel's own lines on a console ("[    1.2] virtio_blk virtio2: …"), and those
// with ISO dates like what other programs log ("2026-03-04T… Serial output: …"),
// so there a host must be named, and an identifier without PID be "kernel".
func ParseShort(s string) (Entry, bool) {
	e, _, ok := parseShort(s)
	return e, ok
}

func parseShort(s string) (e Entry, form string, ok bool) {
	if e, form = parseAny(s); form == "" || !sure(&e, form) {
		return Entry{}, "", false
	}
	return e, form, true
}

// sure reports whether the shape alone makes e an entry.
func sure(e *Entry, form string) bool {
	return form == formShort || form == formPrecise || e.Host != "" && (e.PID != 0 || e.Ident == "kernel")
}

// parseAny reads a line that may be none of a journal; the form is "" when it
// has not even the shape.
func parseAny(s string) (e Entry, form string) {
	e = Entry{Monotonic: -1, Priority: -1}
	rest, form := e.stamp(s)
	if form == "" || !e.origin(rest) {
		return Entry{}, ""
	}
	e.Truncated = cut(s, e.Message)
	return e, form
}

// stamp reads the time at the start of s and returns what follows the space
// after it, and the form, "" when there is no stamp.
func (e *Entry) stamp(s string) (rest, form string) {
	if len(s) < 12 {
		return "", ""
	}
	var n int
	switch c := s[0]; {
	case c == '[':
		n, form = e.monotonic(s)
	case c >= '0' && c <= '9':
		if n, form = e.iso(s); form == "" {
			n, form = e.unix(s)
		}
	case s[3] == ' ' && isDigit(s[4]) && isDigit(s[5]) && isDigit(s[6]):
		n, form = e.full(s)
	default:
		n, form = short(s)
	}
	if form == "" || n >= len(s) || s[n] != ' ' {
		return "", ""
	}
	e.Stamp = s[:n]
	return s[n+1:], form
}

// short reads "Oct 08 06:07:35", "Oct  8 06:07:35" or with microseconds.
func short(s string) (int, string) {
	if len(s) < 15 || s[3] != ' ' || s[6] != ' ' || !isMonth(s[:3]) {
		return 0, ""
	}
	day := strings.TrimPrefix(s[4:6], " ")
	if d, err := strconv.Atoi(day); err != nil || d < 1 || d > 31 || !isClock(s[7:15]) {
		return 0, ""
	}
	if n := micros(s[15:]); n > 0 {
		return 15 + n, formPrecise
	}
	return 15, formShort
}

// full reads "Wed 2026-03-04 06:07:35 UTC". Go would invent an offset for a
// zone name that it does not know, so only UTC makes an absolute time.
func (e *Entry) full(s string) (int, string) {
	if len(s) < 24 || !isWeekday(s[:3]) || s[23] != ' ' {
		return 0, ""
	}
	t, err := time.Parse("2006-01-02 15:04:05", s[4:23])
	if err != nil {
		return 0, ""
	}
	n := 24
	for n < len(s) && n < 32 && s[n] != ' ' {
		if c := s[n]; c != '+' && c != '-' && !isAlnum(c) {
			return 0, ""
		}
		n++
	}
	switch s[24:n] {
	case "":
		return 0, ""
	case "UTC", "GMT":
		e.When = t
	}
	return n, formFull
}

// iso reads "2026-03-04T06:07:35+0000", newer "+00:00", both also with
// microseconds.
func (e *Entry) iso(s string) (int, string) {
	if len(s) < 24 || s[4] != '-' || s[10] != 'T' {
		return 0, ""
	}
	form, n := formISO, 19
	if m := micros(s[n:]); m > 0 {
		form, n = formISOUsec, n+m
	}
	zone := "-0700"
	if len(s) >= n+6 && s[n+3] == ':' {
		zone = "-07:00"
	}
	if len(s) < n+len(zone) {
		return 0, ""
	}
	n += len(zone)
	// Parse accepts a fraction that the layout does not have.
	t, err := time.Parse("2006-01-02T15:04:05"+zone, s[:n])
	if err != nil {
		return 0, ""
	}
	e.When = t.UTC()
	return n, form
}

// unix reads "1759903655.123456".
func (e *Entry) unix(s string) (int, string) {
	n := digits(s)
	if n < 9 || n > 11 {
		return 0, ""
	}
	m := micros(s[n:])
	if m == 0 {
		return 0, ""
	}
	sec, _ := strconv.ParseInt(s[:n], 10, 64)
	usec, _ := strconv.ParseInt(s[n+1:n+m], 10, 64)
	e.When = time.Unix(sec, usec*1000).UTC()
	return n + m, formUnix
}

// monotonic reads "[   12.345678]", and of the delta form, which says how long
// after the entry before, "[   12.345678 <    0.001234 >]"; "*" marks one after
// another boot's, blanks stand where nothing was before.
func (e *Entry) monotonic(s string) (int, string) {
	i := 1
	for i < len(s) && i < 12 && s[i] == ' ' {
		i++
	}
	n := digits(s[i:])
	if n == 0 || n > 11 {
		return 0, ""
	}
	m := micros(s[i+n:])
	if m == 0 {
		return 0, ""
	}
	e.Monotonic, _ = strconv.ParseFloat(s[i:i+n+m], 64)
	end, form := i+n+m, formMonotonic
	if d := deltaRe.FindString(s[end:min(len(s), end+40)]); d != "" {
		end, form = end+len(d), formDelta
	}
	if len(s) <= end || s[end] != ']' {
		return 0, ""
	}
	return end + 1, form
}

var deltaRe = regexp.MustCompile(`^ (?:< *\d+\.\d{6}[ *]>| {15})`)

// origin reads "host ident[pid]: message"; journalctl --no-hostname leaves the
// host out, which is believed only with a PID.
func (e *Entry) origin(s string) bool {
	if e.ident(s) {
		return e.PID != 0
	}
	host, _, ok := strings.Cut(s[:min(len(s), 66)], " ")
	if !ok || !isHost(host) || !e.ident(s[len(host)+1:]) {
		return false
	}
	e.Host = host
	return true
}

// maxIdent bounds an identifier; the longest in use are a third of it.
const maxIdent = 96

// ident reads "ident[pid]: message" or "ident: message".
func (e *Entry) ident(s string) bool {
	n := 0
	for n < len(s) && n < maxIdent && isIdent(s[n]) {
		n++
	}
	if n == 0 || n == len(s) {
		return false
	}
	pid, rest := 0, s[n:]
	if rest[0] == '[' {
		d := digits(rest[1:])
		if d == 0 || d > 10 || len(rest) < d+2 || rest[d+1] != ']' {
			return false
		}
		pid, _ = strconv.Atoi(rest[1 : d+1])
		rest = rest[d+2:]
	}
	message, ok := strings.CutPrefix(rest, ":")
	if !ok || message != "" && message[0] != ' ' {
		return false
	}
	e.Ident, e.PID, e.Message = s[:n], pid, strings.TrimPrefix(message, " ")
	return true
}

// pagerWidth is the narrowest terminal on which a pager's mark is believed.
const pagerWidth = 79

// cut reports whether message, of the given line, was shortened.
func cut(line, message string) bool {
	switch {
	case strings.Contains(message, "…"):
		return true
	case strings.HasPrefix(message, "[") && strings.HasSuffix(message, "B blob data]"):
		return true
	case strings.HasSuffix(message, ">"):
		// Pagers mark a chopped line in the last column. Text that closes a
		// bracket of its own is whole.
		return utf8.RuneCountInString(line) >= pagerWidth && strings.Count(message, ">") > strings.Count(message, "<")
	}
	return false
}

// micros returns the length of ".123456" at the start of s, 0 when it is not
// there.
func micros(s string) int {
	if len(s) < 7 || s[0] != '.' || digits(s[1:7]) != 6 {
		return 0
	}
	return 7
}

func digits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'z' }

// isIdent reports whether c may stand in an identifier. Quotes, redirections
// and the like may not: there a typed command was echoed into the line.
func isIdent(c byte) bool { return isAlnum(c) || strings.IndexByte("-_.+@()/\\#~=,", c) >= 0 }

func isHost(s string) bool {
	if s == "" || len(s) > 64 || !isAlnum(s[0]) {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

func isMonth(s string) bool {
	const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
	return strings.IndexByte(s, ' ') < 0 && strings.Index(months, s)%4 == 0
}

func isWeekday(s string) bool {
	const days = "Mon Tue Wed Thu Fri Sat Sun"
	return strings.IndexByte(s, ' ') < 0 && strings.Index(days, s)%4 == 0
}

// isClock reports whether s is "06:07:35"; 60 is a leap second.
func isClock(s string) bool {
	if len(s) != 8 || s[2] != ':' || s[5] != ':' {
		return false
	}
	return below(s[:2], "23") && below(s[3:5], "59") && below(s[6:], "60")
}

func below(s, limit string) bool { return digits(s) == len(s) && s <= limit }
