package dialogue

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// The CRC of POSIX's cksum(1), as coreutils prints it.
func TestCksum(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uint32
	}{{"", 4294967295}, {"123456789", 930766865}} {
		if got := cksum([]byte(c.in)); got != c.want {
			t.Errorf("%q: %d, want %d", c.in, got, c.want)
		}
	}
}

func TestScanner(t *testing.T) {
	n := nonce{"f0123", "4567"}
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"f01234567:end:3;\r\n", []string{":end"}},
		{"[ 1.000000] x f01234567o0.1:QUJD:1;[ 2.000000] y\r\n", []string{"o0.1:QUJD"}},
		{"f0123-12-12-4567\r\r\n", []string{"12"}},
		{"f01234567:37,0,4,0,a,b:12;", []string{":37,0,4,0,a,b"}},
		{`printf '%s-%s-%s-%s\n' f0123 "$?" "$?" 4567`, nil}, // the echo
		{`sh "$D/h" f01234567 "$D" stat answer.1;`, nil},     // the echo
		{"f01234\r\n567:end:3;", nil},
		{"f01234567:e\r\nnd:3;", nil},
		// One byte more or less.
		{"f01234567:37,0,4,0,a,b:11;", nil},
		{"f01234567:3,0,4,0,a,b:171;", nil},
		{"f01234567:3,0,4,0,a,b:1;\r\n1;", nil},
		{"f01234567:3,0,4,0,a;\r\n,b:11;", nil},
		{"f01234567o0.71:QUJD:1;", nil},
		{"f01234567o0.1:QUJD:71;", nil},
		{"f01234567o0.1:QUJD;", nil},
		{"f01234567o:QUJD:1;", nil},
		{"f01234567o0:QUJD:0;", nil},
		{"f01234567:3;", nil},
		{"f01234567:;", nil},
		{"f0123-172-12-4567\r\n", nil},
		{"f0123-12-4567\r\n", nil},
	} {
		whole := newScanner(n).scan([]byte(c.in))
		var bytewise []string
		s := newScanner(n)
		for i := range len(c.in) {
			bytewise = append(bytewise, s.scan([]byte{c.in[i]})...)
		}
		if !slices.Equal(whole, c.want) || !slices.Equal(bytewise, c.want) {
			t.Errorf("%q: %q, byte by byte %q, want %q", c.in, whole, bytewise, c.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	for _, c := range []struct {
		in string
		ok bool
	}{
		{"3,0,4,4,ab,cd", true}, {"none", false}, {"", false}, {"3,0,4,4,ab", false},
		{"3,0,4,4,ab,", false}, {"3,0,-4,4,ab,cd", false}, {"3,0,99999999999999999999,4,ab,cd", false},
	} {
		if _, ok := parseStat(c.in); ok != c.ok {
			t.Errorf("%q: %v, want %v", c.in, ok, c.ok)
		}
	}
}

// Whatever a guest sends, a body takes only lines of the right length in their
// places.
func FuzzBody(f *testing.F) {
	f.Add([]byte("fc0071ccc14b64958o0.1:b3V0Cg==:1;\r\nfc0071ccc14b64958e0.1:ZXJyCg==:1;\r\nfc0071ccc14b64958:end:3;\r\n"), 4)
	f.Add([]byte("fc0071ccc14b64958o0.2:b3V0Cg==:2;fc0071ccc14b64958o1.1:b3V0Cg==:1;fc0071ccc14b64958o-1.-1:AA==:-1;"), 61)
	f.Add([]byte("forensics: first\r\nfc0071ccc14b64958:3,0,4,4,54034ac5,2ccde487:25;\r\n"), 0)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size < 0 || size > 1<<20 {
			return
		}
		b := newBody("o", encodings["base64"], size)
		for _, token := range newScanner(nonce{"fc0071ccc", "14b64958"}).scan(in) {
			parseStat(strings.TrimPrefix(token, ":"))
			left := b.left
			if b.take(token) && b.left != left-1 {
				t.Fatalf("%q: %d left after %d", token, b.left, left)
			}
		}
		if b.left < 0 || len(b.data) != size {
			t.Fatal(b.left, len(b.data))
		}
	})
}

// A file comes out whole from its lines in any order, and damaged ones are
// asked for.
func TestBody(t *testing.T) {
	data := []byte(strings.Repeat("0123456789", 20))
	b := newBody("o", encodings["base64"], len(data))
	line := func(n int) string {
		return base64.StdEncoding.EncodeToString(data[n*57 : min(len(data), (n+1)*57)])
	}
	for _, token := range []string{"o0.4:" + line(3), "o0.1:" + line(0) + "QUJD", "o0.2:" + line(1), "e0.3:" + line(2), "o0.9:" + line(0)} {
		b.take(token)
	}
	if got := b.wanted(0); got != ",1,3," {
		t.Errorf("wanted %q", got)
	}
	b.take("o0.1:" + line(0))
	b.take("o0.3:" + line(2))
	if b.left != 0 || string(b.data) != string(data) {
		t.Errorf("%d left, %q", b.left, b.data)
	}
}
