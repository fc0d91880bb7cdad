package journal

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"forensics/analyzers/bundle"
)

// record collects the fields of one entry in json or export form. Of a field
// that repeats, the first value counts.
type record struct {
	fields     map[string]string
	start, end int64 // of the MESSAGE field
	message    bool  // there is one
	cut        bool  // it is not whole
}

// wanted reports whether an Entry is made from that field.
func wanted(name string) bool {
	switch name {
	case "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "SYSLOG_PID", "UNIT", "_COMM", "_PID", "_HOSTNAME",
		"_SYSTEMD_UNIT", "_BOOT_ID", "_SOURCE_MONOTONIC_TIMESTAMP", "__REALTIME_TIMESTAMP", "__MONOTONIC_TIMESTAMP":
		return true
	}
	return false
}

// set stores a field whose value is value, and which stands at start to end.
func (r *record) set(name string, value []byte, whole bool, start, end int64) {
	if _, again := r.fields[name]; again || !wanted(name) {
		return
	}
	if name == "MESSAGE" {
		r.message, r.start, r.end = true, start, end
		r.cut = !whole || len(value) > maxMessage
	}
	if r.fields == nil {
		r.fields = map[string]string{}
	}
	r.fields[name] = string(value[:min(len(value), maxMessage)])
}

// entry makes the Entry; it reports false for a record without a message, such
// as a core dump's.
func (r *record) entry(path string, data []byte, x *bundle.LineIndex) (Entry, bool) {
	if !r.message {
		return Entry{}, false
	}
	f := r.fields
	e := Entry{
		Stamp:     f["__REALTIME_TIMESTAMP"],
		When:      micro(f["__REALTIME_TIMESTAMP"]),
		Monotonic: seconds(first(f["_SOURCE_MONOTONIC_TIMESTAMP"], f["__MONOTONIC_TIMESTAMP"])),
		Host:      f["_HOSTNAME"],
		Ident:     first(f["SYSLOG_IDENTIFIER"], f["_COMM"]),
		Unit:      unit(f["_SYSTEMD_UNIT"], f["UNIT"]),
		Priority:  -1,
		Message:   plain(f["MESSAGE"]),
		Truncated: r.cut,
		Evidence:  bundle.Span(path, data, x, r.start, r.end),
	}
	if pid, err := strconv.ParseUint(first(f["_PID"], f["SYSLOG_PID"]), 10, 31); err == nil {
		e.PID = int(pid)
	}
	if p, err := strconv.ParseUint(f["PRIORITY"], 10, 3); err == nil {
		e.Priority = int(p)
	}
	if isBootID(f["_BOOT_ID"]) {
		e.BootID = f["_BOOT_ID"]
	}
	return e, true
}

// unit returns the unit an entry is about. UNIT is a claim that any program can
// make, so it counts only from the manager itself, which runs in init.scope,
// or where nothing else is known.
func unit(from, about string) string {
	if about != "" && (from == "init.scope" || from == "") {
		return about
	}
	return from
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func micro(s string) time.Time {
	us, err := strconv.ParseInt(s, 10, 64)
	if err != nil || us <= 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func seconds(s string) float64 {
	us, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return -1
	}
	return float64(us) / 1e6
}

// plain drops escape sequences and control characters, which short forms have
// lost already, so that a coloured message reads the same in every form.
func plain(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			i += escape(s[i:])
			continue
		}
		c, n := utf8.DecodeRuneInString(s[i:])
		if c >= 0x20 && c != 0x7f || c == '\n' || c == '\t' {
			b.WriteRune(c)
		}
		i += n
	}
	return b.String()
}

func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 && c != '\n' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}

// escape returns the length of the escape sequence that s starts with; one
// that does not end, ends with its line.
func escape(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	end := func(c byte) bool { return c >= 0x40 && c <= 0x7e }
	switch s[1] {
	case '[':
	case ']':
		end = func(c byte) bool { return c == 7 || c == '\\' }
	case '\n':
		return 1
	default:
		return 2
	}
	for i := 2; i < len(s); i++ {
		if s[i] == '\n' {
			return i
		}
		if end(s[i]) {
			return i + 1
		}
	}
	return len(s)
}
