package message

import "strings"

// Mask returns the template of a message: what varies between two runs of the
// same thing is replaced by a placeholder, runs of blanks become one, and escape
// sequences and control characters go.
//
//	<n>     a number, with its unit, decimals, hexadecimal digits; a version;
//	        an id of eight or more hexadecimal digits; a PID; a port
//	<time>  a date, a time of day, the kernel's stamp
//	<ip>    an IPv4 or IPv6 address
//	<mac>   a hardware address
//	<pci>   the address of a PCI device
//	<uuid>  a UUID
//	<hash>  the hash of a store path, a digest behind its algorithm's name
//	<tmp>   what lies below /tmp, but for the last of several elements
//	<blob>  base64 and the like
//
// What names something keeps its digits: a word that begins with a letter (vda,
// ttyS0, x86_64, sha256), python3.11, ata2.00, dm-0, units (user@1000.service),
// the vendor and device of [1af4:1000]; and so does the number that says what
// went wrong: status=127/n/a, [Errno 22], exit code 2, error -110, signal 9.
// Five digits in a row name nothing.
//
// Mask is idempotent, and the template is at most three times as long as the
// message and eight bytes. It takes time proportional to the message.
func Mask(s string) string {
	var m masker
	return string(m.append(nil, s, false))
}

// placeholders are what a template holds in place of what varies.
var placeholders = []string{"<n>", "<time>", "<ip>", "<mac>", "<pci>", "<uuid>", "<hash>", "<tmp>", "<blob>"}

// ending is what the last thing that was written ends in.
type ending uint8

const (
	other  ending = iota // a placeholder, a number, punctuation
	letter               // a name that ends in a letter
	digit                // a name that ends in a digit
)

// masker writes the template of one message. Every decision rests on what
// stands in the template before and on what follows in the message, so that the
// template of a template is itself.
type masker struct {
	dst   []byte
	base  int // where the template begins in dst
	s     string
	end   ending
	at    int  // in s, where end is
	code  bool // a word such as "status" stands before, with no more than a sign between
	signs int  // how many signs since
	hexTo int  // up to here, s is hexadecimal digits
	word  int  // up to here, s is one word
}

// maxSigns is how much may stand between "status" and its number: `": -`.
const maxSigns = 4

// append writes the template of s behind dst; code says that its first number
// tells what went wrong.
func (m *masker) append(dst []byte, s string, code bool) []byte {
	if unclean(s) {
		s = clean(s)
	}
	*m = masker{dst: dst, base: len(dst), s: s, code: code}
	m.scan()
	for len(m.dst) > m.base && m.dst[len(m.dst)-1] == ' ' {
		m.dst = m.dst[:len(m.dst)-1]
	}
	return m.dst
}

func (m *masker) scan() {
	for i := 0; i < len(m.s); {
		switch kinds[m.s[i]] {
		case isBlank:
			i = m.blank(i)
		case isDigit:
			i = m.number(i)
		case isLetter:
			i = m.name(i)
		default:
			i = m.sign(i)
		}
	}
}

// The kinds of bytes.
const (
	isSign = iota
	isBlank
	isDigit
	isLetter // and the underscore
)

var kinds = func() (k [256]uint8) {
	for c := range k {
		switch b := byte(c); {
		case b == ' ':
			k[c] = isBlank
		case b >= '0' && b <= '9':
			k[c] = isDigit
		case b|0x20 >= 'a' && b|0x20 <= 'z', b == '_':
			k[c] = isLetter
		}
	}
	return k
}()

func isWord(c byte) bool { return kinds[c] >= isDigit }

func isAlnum(c byte) bool { return kinds[c] >= isDigit && c != '_' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// unclean reports whether s holds control characters.
func unclean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == 0x7f {
			return true
		}
	}
	return false
}

// clean drops escape sequences; other control characters become blanks.
func clean(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == 0x1b:
			i += escape(s[i:])
		case c < 0x20 || c == 0x7f:
			b.WriteByte(' ')
			i++
		default:
			b.WriteByte(c)
			i++
		}
	}
	return b.String()
}

// escape returns the length of the escape sequence at the start of s; one that
// is cut off ends before the control character that cuts it.
func escape(s string) int {
	if len(s) < 2 || s[1] < 0x20 {
		return 1
	}
	n := 2
	switch s[1] {
	case '[':
		for ; n < len(s) && s[n] >= 0x20; n++ {
			if s[n] >= 0x40 {
				return n + 1
			}
		}
	case ']':
		for ; n < len(s) && s[n] >= 0x20; n++ {
		}
		if n < len(s) && s[n] == 7 {
			n++
		}
	}
	return n
}

// put writes a placeholder for s[i:j].
func (m *masker) put(placeholder string, j int) int {
	m.dst = append(m.dst, placeholder...)
	m.end, m.code = other, false
	return j
}

// keep writes s[i:j] as it is.
func (m *masker) keep(i, j int, end ending) int {
	m.dst = append(m.dst, m.s[i:j]...)
	m.end, m.at = end, j
	return j
}

// behind reports whether a name with that ending stands right before i.
func (m *masker) behind(i int, end ending) bool { return m.end == end && m.at == i }

func (m *masker) blank(i int) int {
	for i < len(m.s) && m.s[i] == ' ' {
		i++
	}
	if len(m.dst) > m.base && m.dst[len(m.dst)-1] != ' ' {
		m.dst = append(m.dst, ' ')
		m.spend()
	}
	m.end = other
	return i
}

// spend counts a sign between a word such as "status" and its number.
func (m *masker) spend() {
	if m.signs++; m.signs > maxSigns {
		m.code = false
	}
}

// sign writes what is neither blank nor word.
func (m *masker) sign(i int) int {
	rest := m.s[i:]
	switch m.s[i] {
	case '<':
		for _, p := range placeholders {
			if strings.HasPrefix(rest, p) {
				return m.put(p, i+len(p))
			}
		}
	case '[':
		if n := kernelStamp(rest); n > 0 {
			m.put("[<time>]", 0)
			return i + n
		}
		if n := deviceID(rest); n > 0 {
			m.code = false
			return m.keep(i, i+n, other)
		}
	case '/':
		if n := temporary(rest); n > 0 {
			m.put("/tmp/<tmp>", 0)
			return i + n
		}
	case ':':
		if n := ipv6(rest); n > 0 && m.end == other {
			return m.put("<ip>", i+n)
		}
	case '-':
		if m.behind(i, letter) {
			if n := ordinal(rest); n > 0 {
				return m.keep(i, i+n, other)
			}
		}
	case '.':
		if m.behind(i, digit) {
			if n := 1 + digits(rest[1:]); n > 1 && n <= 3 && !wordAt(rest, n) {
				return m.keep(i, i+n, other)
			}
		}
	case '@':
		if n := instance(rest); n > 0 {
			return m.keep(i, i+n, other)
		}
	case '\\':
		if strings.HasPrefix(rest, `\x2d`) { // systemd's escape of "-"
			return m.keep(i, i+4, other)
		}
	}
	if strings.IndexByte(`=:'"([-#`, m.s[i]) < 0 {
		m.code = false
	}
	m.spend()
	return m.keep(i, i+1, other)
}

func wordAt(s string, i int) bool { return i < len(s) && isWord(s[i]) }

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// ordinal returns the length of "-0" at the start of s where it ends a name
// ("dm-0"), also that of a unit ("user-1000.slice").
func ordinal(s string) int {
	n := 1 + digits(s[1:])
	switch {
	case n == 1 || wordAt(s, n):
		return 0
	case unitSuffix(s[n:]):
		return n
	case n > 3 || strings.HasPrefix(s[n:], ".scope") || n+1 < len(s) && strings.IndexByte(".:-", s[n]) >= 0 && kinds[s[n+1]] == isDigit:
		return 0
	}
	return n
}

// instance returns the length of "@1000" at the start of s, of a unit.
func instance(s string) int {
	n := 1 + digits(s[1:])
	if n > 1 && unitSuffix(s[n:]) {
		return n
	}
	return 0
}

// unitSuffix reports whether s goes on like the name of a unit. Scopes are
// sessions: their numbers name nothing.
func unitSuffix(s string) bool {
	if s == "" || s[0] != '.' {
		return false
	}
	n := 1
	for n < len(s) && n < 12 && s[n] >= 'a' && s[n] <= 'z' {
		n++
	}
	switch s[1:n] {
	case "service", "socket", "target", "mount", "automount", "device", "timer", "slice", "swap", "path":
		return !wordAt(s, n)
	}
	return false
}

// temporary returns the length of a path below /tmp at the start of s, but for
// the last of several elements when it has a name.
func temporary(s string) int {
	if !strings.HasPrefix(s, "/tmp/") || len(s) == 5 || !inPath(s[5]) {
		return 0
	}
	last := 5 // where the last element begins
	for i := 5; ; i++ {
		switch {
		case i == len(s) || s[i] != '/' && !inPath(s[i]):
			if last == 5 || last < i && kinds[s[last]] != isLetter && s[last] != '<' {
				return i
			}
			return last - 1
		case s[i] == '/':
			if i+1 < len(s) && s[i+1] == '/' {
				return i
			}
			last = i + 1
		}
	}
}

func inPath(c byte) bool { return c > ' ' && strings.IndexByte("/'\"`,;:)]}|", c) < 0 }

// name writes the word at i, which begins with a letter.
func (m *masker) name(i int) int {
	s := m.s
	if n := dated(s[i:]); n > 0 {
		return m.put("<time>", i+n)
	}
	end := m.wordEnd(i)
	if p, n := m.id(i, end); n > 0 {
		return m.put(p, i+n)
	}
	// Five digits in a row are no name's, and each part of the word is a word
	// of its own.
	for j, row := i, 0; j < end; j++ {
		if kinds[s[j]] != isDigit {
			row = 0
		} else if row++; row == 5 {
			j -= row - 1
			m.part(i, j)
			m.put("<n>", 0)
			return j + digits(s[j:end])
		}
	}
	return m.named(i, end)
}

// part writes s[i:j], of which a placeholder follows.
func (m *masker) part(i, j int) {
	whole := *m
	m.s, m.hexTo, m.word = m.s[:j], min(m.hexTo, j), j
	if n := dated(m.s[i:]); n > 0 {
		m.put("<time>", 0)
	} else if p, n := m.id(i, j); n > 0 {
		m.put(p, 0)
	} else {
		m.named(i, j)
	}
	m.s, m.hexTo, m.word = whole.s, whole.hexTo, whole.word
}

// named writes the name s[i:j].
func (m *masker) named(i, j int) int {
	name := m.s[i:j]
	if numberedByRace(name) {
		m.keep(i, i+len(inputDevice), letter)
		m.put("<n>", 0)
		return j
	}
	m.code, m.signs = tellsWhat(name), 0
	end := letter
	if kinds[name[len(name)-1]] == isDigit {
		end = digit
	}
	m.keep(i, j, end)
	if n := digest(name, m.s[j:]); n > 0 {
		m.keep(j, j+1, other)
		return m.put("<hash>", j+n)
	}
	return j
}

// inputDevice is what names input devices. Drivers that are probed at the same
// time get their numbers in any order.
const inputDevice = "input"

func numberedByRace(name string) bool {
	rest, ok := strings.CutPrefix(name, inputDevice)
	return ok && rest != "" && digits(rest) == len(rest)
}

// wordEnd returns the end of the word at i.
func (m *masker) wordEnd(i int) int {
	for m.word = max(m.word, i); m.word < len(m.s) && isWord(m.s[m.word]); m.word++ {
	}
	return m.word
}

// hexEnd returns the end of the hexadecimal digits at i.
func (m *masker) hexEnd(i int) int {
	for m.hexTo = max(m.hexTo, i); m.hexTo < len(m.s) && isHex(m.s[m.hexTo]); m.hexTo++ {
	}
	return m.hexTo
}

// id returns the placeholder for what begins at i, where the word ends at end,
// and its length, 0 when it is none that is told by its shape.
func (m *masker) id(i, end int) (string, int) {
	rest := m.s[i:]
	if hex := m.hexEnd(i) - i; hex > 0 {
		for _, f := range addresses {
			if n := f.match(rest, hex); n > 0 {
				return f.placeholder, n
			}
		}
		if i+hex == end && (hex >= 16 || hex >= 8 && strings.ContainsAny(rest[:hex], "0123456789")) {
			return "<n>", hex
		}
	}
	if end-i == 32 && storeHash(rest[:32]) {
		return "<hash>", 32
	}
	if n := blob(rest, end-i); n > 0 {
		return "<blob>", n
	}
	return "", 0
}

// number writes what begins with the digit at i.
func (m *masker) number(i int) int {
	rest := m.s[i:]
	if n := date(rest); n > 0 {
		return m.put("<time>", i+n)
	}
	if n := clock(rest); n > 0 {
		return m.put("<time>", i+n)
	}
	end := m.wordEnd(i)
	if p, n := m.id(i, end); n > 0 {
		return m.put(p, i+n)
	}
	if m.code {
		if n := codeLen(rest); n > 0 {
			m.code = false
			return m.keep(i, i+n, other)
		}
	}
	if n := ipv4(rest); n > 0 {
		return m.put("<ip>", i+n)
	}
	n := quantity(rest)
	for n > 0 && n < len(rest) && rest[n] == ' ' { // "1min 4s"
		more := duration(rest[n+1:])
		if more == 0 {
			break
		}
		n += 1 + more
	}
	return m.put("<n>", i+n)
}

// codeLen returns the length of the number at the start of s when it may be a
// status: of at most three digits, or hexadecimal as the kernel writes them
// ("exitcode=0x00007f00").
func codeLen(s string) int {
	n := digits(s)
	if n == 1 && strings.HasPrefix(s, "0x") {
		for n = 2; n < len(s) && n <= 10 && isHex(s[n]); n++ {
		}
		if n == 2 || n > 10 || wordAt(s, n) {
			return 0
		}
		return n
	}
	if n > 3 || wordAt(s, n) || goesOn(s[n:]) {
		return 0
	}
	return n
}

// goesOn reports whether a number goes on behind its first digits.
func goesOn(s string) bool {
	return len(s) > 1 && (s[0] == '.' || s[0] == ':') && kinds[s[1]] == isDigit
}

// quantity returns the length of the number at the start of s with its decimals
// and unit. Versions end in a commit: "25.11.20261123.d074ffc". When a duration
// stands there, more of it may follow.
func quantity(s string) int {
	n := alnum(s)
	for n+1 < len(s) {
		switch next := s[n+1]; {
		case (s[n] == '.' || s[n] == ',') && kinds[next] == isDigit:
			n += 1 + alnum(s[n+1:])
		case s[n] == '.' && isHex(next) && commit(s[n+1:]):
			n += 1 + alnum(s[n+1:])
		case s[n-1]|0x20 == 'e' && (s[n] == '-' || s[n] == '+') && kinds[next] == isDigit:
			n += 1 + alnum(s[n+1:])
		case strings.HasPrefix(s[n:], "µs"):
			return n + len("µs")
		default:
			return n
		}
	}
	return n
}

func alnum(s string) int {
	n := 0
	for n < len(s) && isAlnum(s[n]) {
		n++
	}
	return n
}

// commit reports whether s begins with an abbreviated commit.
func commit(s string) bool {
	n, figures := 0, 0
	for n < len(s) && n < 41 && isHex(s[n]) {
		if kinds[s[n]] == isDigit {
			figures++
		}
		n++
	}
	return n >= 6 && n <= 40 && figures > 0 && !wordAt(s, n)
}

// duration returns the length of "4s", "1.5min" and the like at the start of s.
func duration(s string) int {
	n := digits(s)
	if n == 0 {
		return 0
	}
	if n+1 < len(s) && s[n] == '.' && kinds[s[n+1]] == isDigit {
		n += 1 + digits(s[n+1:])
	}
	unit := alnum(s[n:])
	switch s[n : n+unit] {
	case "us", "ms", "s", "sec", "min", "h", "d", "day", "days", "w", "month", "y":
		if !wordAt(s, n+unit) {
			return n + unit
		}
	}
	return 0
}

// tellsWhat reports whether the number behind name says what went wrong. Of a
// name of several words the last counts: "exit_status", "__EXIT__".
func tellsWhat(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = strings.Trim(name, "_")
		name = name[strings.LastIndexByte(name, '_')+1:]
	}
	if len(name) > 10 || len(name) < 2 {
		return false
	}
	switch name[0] | 0x20 {
	case 'c', 'e', 'r', 's':
	default:
		return false // as most names
	}
	var b [10]byte
	for i := range len(name) {
		b[i] = name[i] | 0x20
	}
	switch string(b[:len(name)]) {
	case "status", "code", "exitcode", "returncode", "errno", "exit", "error", "err", "rc", "ret", "retval", "returned", "signal", "sig":
		return true
	}
	return false
}
