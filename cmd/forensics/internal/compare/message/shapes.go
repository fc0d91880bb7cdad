package message

import "strings"

// addresses are what begins with hexadecimal digits and is told by its shape.
// match gets how many there are and returns the length, 0 when s is none.
var addresses = []struct {
	placeholder string
	match       func(s string, hex int) int
}{
	{"<uuid>", uuid},
	{"<mac>", mac},
	{"<pci>", pci},
	{"<ip>", func(s string, hex int) int {
		if hex > 4 {
			return 0
		}
		return ipv6(s)
	}},
}

// ends returns n when the word of s ends there, else 0. A placeholder there may
// stand for more of the word.
func ends(s string, n int) int {
	if wordAt(s, n) || n < len(s) && s[n] == '<' {
		return 0
	}
	return n
}

// uuid matches 8-4-4-4-12 digits, also as systemd escapes them in unit names.
func uuid(s string, hex int) int {
	if hex != 8 {
		return 0
	}
	n := 8
	for _, group := range []int{4, 4, 4, 12} {
		switch {
		case n < len(s) && s[n] == '-':
			n++
		case strings.HasPrefix(s[n:], `\x2d`):
			n += 4
		default:
			return 0
		}
		if n+group > len(s) {
			return 0
		}
		for range group {
			if !isHex(s[n]) {
				return 0
			}
			n++
		}
	}
	return ends(s, n)
}

// mac matches six pairs with ":" or "-" between.
func mac(s string, hex int) int {
	if hex != 2 || len(s) < 17 || s[2] != ':' && s[2] != '-' {
		return 0
	}
	for i := range 17 {
		if i%3 == 2 && s[i] != s[2] || i%3 != 2 && !isHex(s[i]) {
			return 0
		}
	}
	if len(s) > 17 && s[17] == s[2] {
		return 0
	}
	return ends(s, 17)
}

// pci matches "0000:00:1f.2".
func pci(s string, hex int) int {
	if hex != 4 || len(s) < 12 || s[4] != ':' || s[7] != ':' || s[10] != '.' ||
		!isHex(s[5]) || !isHex(s[6]) || !isHex(s[8]) || !isHex(s[9]) || s[11] < '0' || s[11] > '7' {
		return 0
	}
	return ends(s, 12)
}

// maxIPv6 is the length of the longest IPv6 address, with an IPv4 tail.
const maxIPv6 = 45

// ipv6 matches an address in full or with "::". One of two groups without "::"
// is a time or a device, and one without a digit are words ("add::bad").
func ipv6(s string) int {
	n, colons, group, figures, short := 0, 0, 0, 0, false
	for ; n < len(s) && n <= maxIPv6; n++ {
		switch c := s[n]; {
		case c == '.' && short:
			tail := ipv4(s[n-group:])
			if tail == 0 {
				return 0
			}
			return ends(s, n-group+tail)
		case c == ':':
			if group > 4 {
				return 0
			}
			if n > 0 && s[n-1] == ':' {
				if short {
					return 0
				}
				short = true
			}
			colons++
			group = 0
			continue
		case isHex(c):
			group++
			if kinds[c] == isDigit {
				figures++
			}
			continue
		}
		break
	}
	if n > maxIPv6 || group > 4 || figures == 0 || n == 0 || colons > 7 || !short && colons != 7 {
		return 0
	}
	if s[n-1] == ':' {
		if n < 2 || s[n-2] != ':' {
			return 0
		}
	}
	return ends(s, n)
}

// ipv4 matches four numbers up to 255.
func ipv4(s string) int {
	n := 0
	for i := range 4 {
		if i > 0 {
			if n >= len(s) || s[n] != '.' {
				return 0
			}
			n++
		}
		d := digits(s[n:])
		if d == 0 || d > 3 || d == 3 && s[n:n+3] > "255" {
			return 0
		}
		n += d
	}
	if n+1 < len(s) && s[n] == '.' && isAlnum(s[n+1]) {
		return 0
	}
	return ends(s, n)
}

// storeHash reports whether s is the hash of a store path: 32 digits of nix's
// base 32, which has no e, o, t, u.
func storeHash(s string) bool {
	letters, figures := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			figures++
		case c >= 'a' && c <= 'z' && c != 'e' && c != 'o' && c != 't' && c != 'u':
			letters++
		default:
			return false
		}
	}
	return letters > 0 && figures > 0
}

const (
	// minBlob is how long base64 must be to be told from words: 18 bytes.
	minBlob = 24
	// maxBlobSeen bounds how much of it is looked at to tell.
	maxBlobSeen = 64
)

// blob matches base64 that begins with a word of the given length: in words and
// paths capitals, small letters and digits change less often.
func blob(s string, word int) int {
	if word < minBlob && (word == len(s) || s[word] != '+' && s[word] != '/') {
		return 0
	}
	n, changes, seen := 0, 0, uint8(0)
	last := uint8(0)
	for n < len(s) && n < maxBlobSeen && isBase64(s[n]) {
		kind := uint8(upperCase)
		switch c := s[n]; {
		case kinds[c] == isDigit:
			kind = figure
		case c >= 'a' && c <= 'z':
			kind = lowerCase
		case c == '+' || c == '/':
			kind = 0
		}
		if kind != last {
			changes++
			seen |= kind
			last = kind
		}
		n++
	}
	if n < minBlob || seen != upperCase|lowerCase|figure || changes*4 < n {
		return 0
	}
	if n = base64(s); n < len(s) && s[n] == '<' {
		return 0 // as in ends
	}
	return n
}

const (
	upperCase = 1 << iota
	lowerCase
	figure
)

func isBase64(c byte) bool { return isAlnum(c) || c == '+' || c == '/' }

// base64 returns how much of s is base64.
func base64(s string) int {
	n := 0
	for n < len(s) && isBase64(s[n]) {
		n++
	}
	for n < len(s) && s[n] == '=' {
		n++
	}
	return n
}

// minDigest is the shortest digest in base64 or hexadecimal: 15 bytes.
const minDigest = 20

// digest returns the length of the sign and the digest behind the name of an
// algorithm: "SHA256:…", "sha256-…=".
func digest(name, rest string) int {
	if len(name) < 3 || len(name) > 6 || len(rest) <= minDigest || rest[0] != ':' && rest[0] != '-' {
		return 0
	}
	switch strings.ToLower(name) {
	case "sha1", "sha256", "sha384", "sha512", "md5":
	default:
		return 0
	}
	if n := base64(rest[1:]); n >= minDigest {
		return 1 + n
	}
	return 0
}

// kernelStamp matches "[   12.345678]".
func kernelStamp(s string) int {
	n := 1
	for n < len(s) && s[n] == ' ' {
		n++
	}
	d := digits(s[n:])
	if n += d; d == 0 || n >= len(s) || s[n] != '.' {
		return 0
	}
	if d = digits(s[n+1:]); d != 6 || n+8 > len(s) || s[n+7] != ']' {
		return 0
	}
	return n + 8
}

// deviceID matches "[1af4:1000]", the vendor and device of PCI and USB.
func deviceID(s string) int {
	if len(s) < 11 || s[5] != ':' || s[10] != ']' {
		return 0
	}
	for _, i := range []int{1, 2, 3, 4, 6, 7, 8, 9} {
		if !isHex(s[i]) {
			return 0
		}
	}
	return 11
}

// dated matches a date that begins with the name of a weekday or month.
func dated(s string) int {
	if len(s) < 6 || s[3] != ' ' && s[3] != ',' || kinds[s[0]] != isLetter {
		return 0
	}
	switch {
	case isWeekday(s[:3]):
		n := 3
		if s[n] == ',' {
			n++
		}
		if s[n] != ' ' {
			return 0
		}
		if d := date(s[n+1:]); d > 0 {
			return n + 1 + d
		}
		if d := monthDay(s[n+1:]); d > 0 {
			return n + 1 + d
		}
	case isMonth(s[:3]):
		return monthDay(s)
	}
	return 0
}

func isWeekday(s string) bool {
	switch s {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}

func isMonth(s string) bool {
	switch s {
	case "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec":
		return true
	}
	return false
}

// monthDay matches "Nov 23 07:02:53", also with zone and year behind it, and
// "Nov 23 2026" or "Nov 23, 2026".
func monthDay(s string) int {
	if len(s) < 8 || !isMonth(s[:3]) || s[3] != ' ' {
		return 0
	}
	n := 4
	if s[n] == ' ' {
		n++
	}
	d := digits(s[n:])
	if n += d; d == 0 || d > 2 || n >= len(s) {
		return 0
	}
	if y := year(s[n:]); y > 0 {
		n += y
		if t := timeOfDay(s[n:]); t > 0 {
			n += t
		}
		return n
	}
	t := timeOfDay(s[n:])
	if t == 0 {
		return 0
	}
	n += t
	return n + year(s[n:])
}

// year matches " 2026" or ", 2026".
func year(s string) int {
	n := 0
	if n < len(s) && s[n] == ',' {
		n++
	}
	if n >= len(s) || s[n] != ' ' || digits(s[n+1:]) != 4 {
		return 0
	}
	return ends(s, n+5)
}

// date matches "2026-11-23", "2026/11/23", "23/Nov/2026" or "23 Nov 2026", also
// with a time behind it.
func date(s string) int {
	n := 0
	switch d := digits(s[:min(len(s), 5)]); {
	case d == 4 && len(s) >= 10 && (s[4] == '-' || s[4] == '/') && s[7] == s[4] && digits(s[5:]) == 2 && digits(s[8:10]) == 2:
		n = 10
	case d > 0 && d <= 2 && len(s) >= d+9 && (s[d] == '-' || s[d] == '/' || s[d] == ' ') && s[d+4] == s[d] && isMonth(s[d+1:d+4]) && digits(s[d+5:]) == 4:
		n = d + 9
	default:
		return 0
	}
	if t := timeOfDay(s[n:]); t > 0 {
		return n + t
	}
	return ends(s, n)
}

// timeOfDay matches the time behind a date, with its zone: "T07:02:31.5+00:00",
// " 07:02:31 UTC", "T07-02-21Z", "T234140Z".
func timeOfDay(s string) int {
	if len(s) < 7 || strings.IndexByte("T _:-", s[0]) < 0 {
		return 0
	}
	n := 0
	switch {
	case len(s) >= 9 && digits(s[1:]) == 2 && (s[3] == ':' || s[3] == '-') && digits(s[4:]) == 2 && s[6] == s[3] && digits(s[7:9]) == 2:
		n = 9
	case digits(s[1:]) == 6 && s[0] == 'T':
		n = 7
	default:
		return 0
	}
	n += fraction(s[n:])
	n += zone(s[n:])
	return ends(s, n)
}

// fraction matches ".123456" or ",123".
func fraction(s string) int {
	if len(s) > 1 && (s[0] == '.' || s[0] == ',') {
		if d := digits(s[1:]); d > 0 {
			return 1 + d
		}
	}
	return 0
}

// zone matches "Z", "+00:00", "+0000", " UTC", " CEST".
func zone(s string) int {
	n := 0
	if len(s) > 1 && s[0] == ' ' && (s[1] == '+' || s[1] == '-') {
		n = 1
	}
	switch {
	case n >= len(s):
	case s[n] == 'Z':
		return n + 1
	case s[n] == '+' || s[n] == '-':
		rest := s[n+1:]
		if d := digits(rest); d == 4 {
			return ends(s, n+5)
		} else if d == 2 && len(rest) >= 5 && rest[2] == ':' && digits(rest[3:5]) == 2 {
			return ends(s, n+6)
		}
	case s[n] == ' ':
		l := 0
		for n+1+l < len(s) && l < 5 && s[n+1+l] >= 'A' && s[n+1+l] <= 'Z' {
			l++
		}
		if name := s[n+1 : n+1+l]; name == "UTC" || name == "GMT" || l >= 3 && name[l-1] == 'T' {
			return ends(s, n+1+l)
		}
	}
	return 0
}

// clock matches a time of day or a span of time, "07:02:31" or "0:00:31.25".
func clock(s string) int {
	d := digits(s[:min(len(s), 4)])
	if d == 0 || d > 3 || len(s) < d+6 || s[d] != ':' || s[d+3] != ':' || digits(s[d+1:]) != 2 || digits(s[d+4:]) != 2 {
		return 0
	}
	n := d + 6
	n += fraction(s[n:])
	if n < len(s) && s[n] == ':' {
		return 0
	}
	return ends(s, n)
}
