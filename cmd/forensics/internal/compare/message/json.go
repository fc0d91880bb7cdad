package message

import (
	"slices"
	"strings"
)

// maxMembers bounds the members of a JSON message; loggers write a dozen.
const maxMembers = 64

// member is a member of a JSON object, as it stands there.
type member struct{ name, value string }

// object reads the members of the JSON object that s is. It does not check more
// than it needs to part them: what is no JSON is masked as the text it is.
func object(ms []member, s string) ([]member, bool) {
	i := 1 // behind the "{"
	for {
		i += blanks(s[i:])
		if i < len(s) && s[i] == '}' && len(ms) == 0 {
			break
		}
		n := quoted(s[i:])
		if n == 0 || len(ms) == maxMembers {
			return ms, false
		}
		name := s[i+1 : i+n-1]
		i += n
		i += blanks(s[i:])
		if i >= len(s) || s[i] != ':' {
			return ms, false
		}
		i++
		i += blanks(s[i:])
		n = value(s[i:])
		if n == 0 {
			return ms, false
		}
		ms = append(ms, member{name, strings.TrimRight(s[i:i+n], " \t")})
		i += n
		i += blanks(s[i:])
		if i >= len(s) || s[i] != ',' {
			break
		}
		i++
	}
	return ms, i+1 == len(s) && s[i] == '}' && len(ms) > 0
}

func blanks(s string) int {
	n := 0
	for n < len(s) && (s[n] == ' ' || s[n] == '\t') {
		n++
	}
	return n
}

// quoted returns the length of the string at the start of s, 0 when there is
// none.
func quoted(s string) int {
	if s == "" || s[0] != '"' {
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return 0
}

// value returns the length of the value at the start of s, 0 when it does not
// end.
func value(s string) int {
	depth := 0
	for i := 0; i < len(s); {
		switch s[i] {
		case '"':
			n := quoted(s[i:])
			if n == 0 {
				return 0
			}
			i += n
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return 0
}

// appendJSON writes the template of a JSON object behind dst, and reports false
// when s is none.
func (c *collector) appendJSON(dst []byte, s string) ([]byte, bool) {
	ms, ok := object(c.members[:0], s)
	c.members = ms
	if !ok {
		return dst, false
	}
	slices.SortFunc(ms, func(a, b member) int { return strings.Compare(a.name, b.name) })
	base := len(dst)
	dst = append(dst, '{')
	for _, m := range ms {
		start := len(dst)
		if start > base+1 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, '"')
		dst = append(dst, m.name...)
		dst = append(dst, `": `...)
		at := len(dst)
		dst = c.mask.append(dst, m.value, tellsWhat(m.name))
		if varies(m.name) && string(dst[at:]) != m.value {
			dst = dst[:start]
		}
	}
	return append(dst, '}'), true
}

// varies reports whether a member of that name tells a time, a duration or an
// id, if its value can vary at all.
func varies(name string) bool {
	last := name[strings.LastIndexAny(name, "_-.@")+1:]
	switch strings.ToLower(last) {
	case "time", "timestamp", "ts", "date", "datetime", "asctime", "created", "when", "at", "now",
		"duration", "elapsed", "took", "seconds", "secs", "sec", "ms", "us", "ns", "msecs", "millis", "uptime",
		"id", "uuid", "pid", "tid", "thread", "seq", "cursor":
		return true
	}
	return strings.HasPrefix(name, "elapsed") || strings.HasPrefix(name, "duration")
}
