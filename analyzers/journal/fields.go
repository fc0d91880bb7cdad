package journal

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"forensics/analyzers/bundle"
)

// field is one that an Entry is made from.
type field int

const (
	fMessage field = iota
	fPriority
	fIdentifier
	fSyslogPID
	fAbout
	fComm
	fPID
	fHost
	fUnit
	fBoot
	fSource
	fRealtime
	fMonotonic
	fields
)

// wanted returns the field of that name, and false for one that no Entry is
// made from.
func wanted(name []byte) (field, bool) {
	switch string(name) {
	case "MESSAGE":
		return fMessage, true
	case "PRIORITY":
		return fPriority, true
	case "SYSLOG_IDENTIFIER":
		return fIdentifier, true
	case "SYSLOG_PID":
		return fSyslogPID, true
	case "UNIT":
		return fAbout, true
	case "_COMM":
		return fComm, true
	case "_PID":
		return fPID, true
	case "_HOSTNAME":
		return fHost, true
	case "_SYSTEMD_UNIT":
		return fUnit, true
	case "_BOOT_ID":
		return fBoot, true
	case "_SOURCE_MONOTONIC_TIMESTAMP":
		return fSource, true
	case "__REALTIME_TIMESTAMP":
		return fRealtime, true
	case "__MONOTONIC_TIMESTAMP":
		return fMonotonic, true
	}
	return 0, false
}

// record collects the fields of one entry in json, export or native form. Of a
// field that repeats, the first value counts.
type record struct {
	values     [fields]string
	seen       [fields]bool
	start, end int64 // of the MESSAGE field
	cut        bool  // it is not whole
}

// set stores a field whose value is value, and which stands at start to end.
func (r *record) set(name string, value []byte, whole bool, start, end int64) {
	f, ok := wanted([]byte(name))
	if !ok || r.seen[f] {
		return
	}
	if f == fMessage {
		r.start, r.end = start, end
		r.cut = !whole || len(value) > maxMessage
	}
	r.put(f, string(value[:min(len(value), maxMessage)]))
}

func (r *record) put(f field, value string) { r.values[f], r.seen[f] = value, true }

// entry makes the Entry; it reports false for a record without a message, such
// as a core dump's.
func (r *record) entry(path string, data []byte, x *bundle.LineIndex) (Entry, bool) {
	if !r.seen[fMessage] {
		return Entry{}, false
	}
	e := r.bare()
	e.Evidence = bundle.Span(path, data, x, r.start, r.end)
	return e, true
}

// bare makes the Entry without evidence.
func (r *record) bare() Entry {
	v := &r.values
	e := Entry{
		Stamp:     v[fRealtime],
		When:      micro(v[fRealtime]),
		Monotonic: seconds(first(v[fSource], v[fMonotonic])),
		Host:      v[fHost],
		Ident:     first(v[fIdentifier], v[fComm]),
		Unit:      unit(v[fUnit], v[fAbout]),
		Priority:  -1,
		Message:   plain(v[fMessage]),
		Truncated: r.cut,
	}
	if pid, err := strconv.ParseUint(first(v[fPID], v[fSyslogPID]), 10, 31); err == nil {
		e.PID = int(pid)
	}
	if p, err := strconv.ParseUint(v[fPriority], 10, 3); err == nil {
		e.Priority = int(p)
	}
	if isBootID(v[fBoot]) {
		e.BootID = v[fBoot]
	}
	return e
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
