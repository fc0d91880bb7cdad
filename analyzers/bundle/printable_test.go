package bundle

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
	"unsafe"
)

// shown is Printable for any string, rune by rune.
func shown(s string) string {
	var b strings.Builder
	b.Grow(min(len(s), MaxQuote) + len("…"))
	n, space := 0, false
	for i := 0; i < len(s); {
		r, w := utf8.DecodeRuneInString(s[i:])
		if r == 0x1b {
			i += escapeLen(s[i:])
			continue
		}
		i += w
		switch {
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == 0xa0:
			space = b.Len() > 0
			continue
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			continue
		case r == utf8.RuneError && w == 1:
			r = '\uFFFD'
		case invisible(r):
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
			space = false
		}
		if n >= MaxQuote {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// FuzzShownAsIs holds Printable to what is rewritten rune by rune.
func FuzzShownAsIs(f *testing.F) {
	for _, s := range []string{
		"", " ", "Started OpenSSH.", "  padded \t\r\n", "two  blanks", "a\tb", "\x1b[1mbold\x1b[0m text", "└─237 systemctl start sshd", "● a.service",
		"nbsp\u00a0here", "\u202eevil", "zero\u200bwidth", "bad \xff byte", "\ufffd", "del\x7f", "c1\u0085x",
		strings.Repeat("a", MaxQuote), strings.Repeat("a", MaxQuote+1), strings.Repeat("a ", MaxQuote), strings.Repeat("é", MaxQuote), strings.Repeat("é", MaxQuote+1),
		strings.Repeat("a", MaxQuote) + " b", strings.Repeat("\U0001f600", MaxQuote), strings.Repeat("\U0001f600 ", MaxQuote),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := Printable(s), shown(s); got != want {
			t.Errorf("Printable(%q)\n is %q\nnot %q", s, got, want)
		}
		for _, as := range []string{shown(s), s, ""} {
			if got, want := PrintableAs(s, as), shown(s); got != want {
				t.Errorf("PrintableAs(%q, %q)\n is %q\nnot %q", s, as, got, want)
			}
		}
	})
}

func TestPrintableAllocatesNothing(t *testing.T) {
	line := "Nov 23 07:07:40 nixos systemd[1]: └─ Started Pre-NixOS setup."
	if n := testing.AllocsPerRun(10, func() { Printable(line) }); n != 0 {
		t.Errorf("%v allocations for a line that is printable", n)
	}
	coloured, text := "\x1b[1mroot@nixos\x1b[0m: ~", "root@nixos: ~"
	if n := testing.AllocsPerRun(10, func() { PrintableAs(coloured, text) }); n != 0 {
		t.Errorf("%v allocations for a line whose text is known", n)
	}
}

func TestRecords(t *testing.T) {
	for _, tt := range []struct {
		data string
		want bool
	}{
		{"__CURSOR=s=1\nMESSAGE=x\n", true},
		{"\n\n__REALTIME_TIMESTAMP=1\n", true},
		{`{"MESSAGE":"x"}`, true},
		{"\x1e{\n", true},
		{"", false},
		{"-- Journal begins at Wed 2026-03-04 --\n", false},
		{"Nov 23 07:07:40 nixos a[1]: {\n", false},
		{"$ journalctl -o json\n{\"MESSAGE\":\"x\"}\n", false},
		{"$ journalctl -o export\n__CURSOR=s=1\n", false},
	} {
		if got := Records([]byte(tt.data)); got != tt.want {
			t.Errorf("Records(%q) is %v", tt.data, got)
		}
	}
}

func TestReadAllKeepsNoRoom(t *testing.T) {
	for _, size := range []int64{-1, 0, 3, 1 << 40} {
		data, err := readAll(strings.NewReader("abc"), size)
		if err != nil || string(data) != "abc" {
			t.Fatalf("size %d: %q, %v", size, data, err)
		}
		if cap(data) > 2*bytes.MinRead {
			t.Errorf("size %d: room for %d bytes is kept", size, cap(data))
		}
	}
}

func TestDetached(t *testing.T) {
	whole := strings.Repeat("x", 64)
	ev := Evidence{Path: "a", Line: 1, End: 3, Quote: whole[:3]}
	got := ev.Detached()
	if got != ev {
		t.Errorf("%+v is not %+v", got, ev)
	}
	if unsafe.StringData(got.Quote) == unsafe.StringData(whole) {
		t.Error("the quote still holds the whole text")
	}
}
