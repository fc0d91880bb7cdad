package dialogue

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxToken bounds what is searched for a token: the agent's longest line is
// 76 characters of base64 with their number.
const maxToken = 1 << 10

// scanner finds the tokens of one request in a stream: "NONCE", anything
// without blanks, ";". It does not depend on where lines begin. A token that
// is not what it says it is has been damaged, and is none.
type scanner struct {
	re   *regexp.Regexp
	rest []byte // an unfinished line
}

func newScanner(n nonce) *scanner {
	return &scanner{re: regexp.MustCompile(n.String() + `([\w.]*:[^\s;]*);|` + n.a + `-([0-9]+)-([0-9]+)-` + n.b)}
}

// scan returns the tokens that p completes.
func (s *scanner) scan(p []byte) []string {
	var tokens []string
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		s.rest = append(s.rest, line...)
		last := 0
		for _, m := range s.re.FindAllSubmatchIndex(s.rest, -1) {
			if last = m[1]; m[2] >= 0 {
				if token, ok := sealed(string(s.rest[m[2]:m[3]])); ok {
					tokens = append(tokens, token)
				}
			} else if status := s.rest[m[4]:m[5]]; bytes.Equal(status, s.rest[m[6]:m[7]]) {
				tokens = append(tokens, string(status))
			}
		}
		s.rest = append(s.rest[:0], s.rest[max(last, len(s.rest)-maxToken):]...)
		if ended {
			s.rest = s.rest[:0]
		}
		p = rest
	}
	return tokens
}

// sealed checks and removes the end of a token: the length of what was said,
// or the number of a line once more. A message in it that changes either number
// does not change both.
func sealed(s string) (token string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	token, seal := s[:i], s[i+1:]
	name, value, ok := strings.Cut(token, ":")
	if !ok {
		return "", false
	}
	if name == "" {
		return token, seal == strconv.Itoa(len(value))
	}
	_, line, ok := strings.Cut(name, ".")
	return token, ok && seal == line
}

// encoding is how the agent prints bytes.
type encoding struct {
	line   int // bytes on each line
	decode func(string) ([]byte, error)
}

// linesPerBlock is how many lines are asked for at once: enough that the round
// trip does not count, few enough to see progress.
const linesPerBlock = 1024

var encodings = map[string]encoding{
	"base64":  {57, base64.StdEncoding.Strict().DecodeString},
	"openssl": {48, base64.StdEncoding.Strict().DecodeString},
	"od":      {16, hex.DecodeString},
}

// body collects the lines of one file.
type body struct {
	name  string // the file's name in tokens
	enc   encoding
	data  []byte
	have  []bool // by line
	left  int    // lines that are missing
	block []int  // the same by block
}

func newBody(name string, enc encoding, size int) *body {
	lines := (size + enc.line - 1) / enc.line
	b := &body{name: name, enc: enc, data: make([]byte, size), have: make([]bool, lines), left: lines}
	for ; lines > 0; lines -= linesPerBlock {
		b.block = append(b.block, min(lines, linesPerBlock))
	}
	return b
}

// take stores the line that a token holds and reports whether it was missing.
// A line that is not as long as it has to be was damaged.
func (b *body) take(token string) bool {
	at, text, _ := strings.Cut(token, ":")
	blk, num, ok := strings.Cut(strings.TrimPrefix(at, b.name), ".")
	if !ok || !strings.HasPrefix(at, b.name) {
		return false
	}
	k, err := strconv.Atoi(blk)
	n, err2 := strconv.Atoi(num)
	if err != nil || err2 != nil || k < 0 || k >= len(b.block) || n < 1 || n > linesPerBlock {
		return false
	}
	line := k*linesPerBlock + n - 1
	if line >= len(b.have) || b.have[line] {
		return false
	}
	p, err := b.enc.decode(text)
	want := b.data[line*b.enc.line : min(len(b.data), (line+1)*b.enc.line)]
	if err != nil || len(p) != len(want) {
		return false
	}
	copy(want, p)
	b.have[line] = true
	b.left--
	b.block[k]--
	return true
}

// maxWanted is how long a list of lines may be, so that the request stays
// short; beyond it the rest of the block is asked for.
const maxWanted = 500

// wanted lists the missing lines of block k as the agent takes them: ",3,17,",
// or "" for all.
func (b *body) wanted(k int) string {
	first := k * linesPerBlock
	n := min(linesPerBlock, len(b.have)-first)
	if b.block[k] == n {
		return ""
	}
	list := []byte{','}
	for i := range n {
		if b.have[first+i] {
			continue
		}
		list = append(strconv.AppendInt(list, int64(i+1), 10), ',')
		if len(list) > maxWanted {
			break
		}
	}
	return string(list)
}

// forget drops all lines: together they are not what the guest has.
func (b *body) forget() {
	*b = *newBody(b.name, b.enc, len(b.data))
}

// sums are the checksums by the name of the guest's program.
var sums = map[string]func([]byte) string{
	"sha256sum": func(p []byte) string { return fmt.Sprintf("%x", sha256.Sum256(p)) },
	"md5sum":    func(p []byte) string { return fmt.Sprintf("%x", md5.Sum(p)) },
	"cksum":     func(p []byte) string { return strconv.FormatUint(uint64(cksum(p)), 10) },
	"-":         func([]byte) string { return "-" },
}

// cksum is the CRC of POSIX's cksum utility: the polynomial of Ethernet, most
// significant bit first, over the bytes and then their number.
func cksum(p []byte) uint32 {
	var crc uint32
	feed := func(c byte) {
		crc ^= uint32(c) << 24
		for range 8 {
			top := crc >> 31
			crc <<= 1
			crc ^= 0x04C11DB7 * top
		}
	}
	for _, c := range p {
		feed(c)
	}
	for n := len(p); n > 0; n >>= 8 {
		feed(byte(n))
	}
	return ^crc
}

// stat is what the agent says of a script that ended.
type stat struct {
	exit        int
	interrupted bool
	total       [2]int    // bytes of stdout and stderr
	sum         [2]string // of as much of them as was asked for
}

// maxFile bounds what is brought out of a guest, and a file of it when it was
// packed.
const maxFile = 256 << 20

// parseStat reads "exit,interrupted,stdout's bytes,stderr's,stdout's sum,stderr's".
func parseStat(s string) (stat, bool) {
	f := strings.Split(s, ",")
	if len(f) != 6 || slices.Contains(f, "") {
		return stat{}, false
	}
	var n [4]int
	for i := range n {
		v, err := strconv.Atoi(f[i])
		if err != nil || v < 0 {
			return stat{}, false
		}
		n[i] = v
	}
	return stat{n[0], n[1] != 0, [2]int{n[2], n[3]}, [2]string{f[4], f[5]}}, true
}
