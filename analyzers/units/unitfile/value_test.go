package unitfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wordCases hold a value and its words; an error's text follows the words
// before it.
var wordCases = []struct {
	in   string
	want []string
	err  string
}{
	{in: ""},
	{in: " \t"},
	{in: "a b\tc ", want: []string{"a", "b", "c"}},
	{in: `"a b" 'c d'`, want: []string{"a b", "c d"}},
	{in: `A="b c"d`, want: []string{"A=b cd"}},
	{in: `"it's" 'a "b"'`, want: []string{"it's", `a "b"`}},
	{in: `"" ''`, want: []string{"", ""}},
	{in: `a\tb\sc`, want: []string{"a\tb c"}},
	{in: `\x41\102\u00e4\U0001F600`, want: []string{"ABä😀"}},
	{in: `\xff`, want: []string{"\xff"}},
	{in: `"a\"b" 'c\'d'`, want: []string{`a"b`, "c'd"}},
	{in: `\\`, want: []string{`\`}},
	{in: "a\vb", want: []string{"a\vb"}},
	{in: `a \q`, want: []string{"a"}, err: "byte 2 of"},
	{in: `a "b`, want: []string{"a"}, err: "byte 2 of"},
	{in: `a b\`, want: []string{"a"}, err: "byte 2 of"},
	{in: `\x0`, err: "byte 0 of"},
	{in: `\x00`, err: "byte 0 of"},
	{in: `\400`, err: "byte 0 of"},
	{in: `\18`, err: "byte 0 of"},
	{in: `\U00110000`, err: "byte 0 of"},
}

func TestWords(t *testing.T) {
	for _, c := range wordCases {
		got, err := Words(c.in)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", c.in, diff)
		}
		checkError(t, c.in, c.err, err)
	}
}

func checkError(t *testing.T, in, want string, err error) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%q: error %v, want %q", in, err, want)
	}
}

// commandCases hold a value and its commands as "prefixes path [argv]".
var commandCases = []struct{ in, want, err string }{
	{in: ""},
	{in: "/bin/a b", want: `"" /bin/a ["/bin/a" "b"]`},
	{in: "-@/bin/a zero 'one two'", want: `"-@" /bin/a ["zero" "one two"]`},
	{in: "!!/bin/a", want: `"!!" /bin/a ["/bin/a"]`},
	{in: "!!!/bin/a", want: `"!!" !/bin/a ["!/bin/a"]`},
	{in: "+!/bin/a", want: `"+" !/bin/a ["!/bin/a"]`},
	{in: ":|-/bin/a", want: `":|-" /bin/a ["/bin/a"]`},
	{in: "--/bin/a", want: `"-" -/bin/a ["-/bin/a"]`},
	{in: "sh -c 'a; b'", want: `"" sh ["sh" "-c" "a; b"]`},
	{in: "a b ; c ;d", want: `"" a ["a" "b"]` + "\n" + `"" c ["c" ";d"]`},
	{in: "; a ;", want: `"" a ["a"]`},
	{in: `a \; "\\;" b`, want: `"" a ["a" ";" "\\;" "b"]`},
	{in: `a ";" b`, want: `"" a ["a" ";" "b"]`},
	{in: `a \q$X ${Y} %i`, want: `"" a ["a" "\\q$X" "${Y}" "%i"]`},
	{in: `"a b" c`, want: `"" a b ["a b" "c"]`},
	{in: "a ; - b", want: `"" a ["a"]`, err: "byte 4 of"},
	{in: "@/bin/a", err: "byte 0 of"},
	{in: "a 'b", err: "byte 2 of"},
}

func TestCommands(t *testing.T) {
	for _, c := range commandCases {
		commands, err := Commands(c.in)
		var got []string
		for _, c := range commands {
			got = append(got, fmt.Sprintf("%q %s %q", c.Prefixes, c.Path, c.Argv))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", c.in, diff)
		}
		checkError(t, c.in, c.err, err)
	}
}

func TestSpecifiers(t *testing.T) {
	for _, c := range []struct{ in, unit, want string }{
		{"%n %N %p %i %j", "getty@tty1.service", "getty@tty1.service getty@tty1 getty tty1 getty"},
		{"%i|%I", `mount@data-x\x2dy.service`, `data-x\x2dy|data/x-y`},
		{"%p %P %j %J", `a-b-c\x20d.service`, `a-b-c\x20d a/b/c d c\x20d c d`},
		{"%I", `x@\xc3\xa4.service`, "ä"},
		{"%I", `x@a\q.service`, "%I"},
		{"[%i]", "foo.service", "[]"},
		{"100%% %%n %H %", "a.service", "100% %n %H %"},
		{"%", "a.service", "%"},
		{"%N", "a@b.c.service", "a@b.c"},
	} {
		if got := Specifiers(c.in, c.unit); got != c.want {
			t.Errorf("%q of %s: %q, want %q", c.in, c.unit, got, c.want)
		}
	}
}

// spanCases are spans and their microseconds, as systemd-analyze timespan of
// systemd 252 has them; none where it refuses the span.
var spanCases = []struct {
	in   string
	usec uint64
	bad  bool
}{
	{in: "0", usec: 0},
	{in: "5", usec: 5_000_000},
	{in: "1min 30s", usec: 90_000_000},
	{in: "1min30s", usec: 90_000_000},
	{in: " 2 h ", usec: 7_200_000_000},
	{in: "1.5min", usec: 90_000_000},
	{in: ".5s", usec: 500_000},
	{in: "+5s", usec: 5_000_000},
	{in: "1month 1M 1m", usec: 2*2629800_000_000 + 60_000_000},
	{in: "1y2w3d4h5min6s7ms8us", usec: 31557600_000_000 + 2*604800_000_000 + 3*86400_000_000 + 4*3600_000_000 + 306_007_008},
	{in: "3\u00b5s 4\u03bcs", usec: 7},
	{in: "0.0000001s", usec: 0},
	{in: "12 34", usec: 46_000_000},
	{in: "12.34 .56", usec: 12_900_000},
	{in: "12.34s.56", usec: 12_900_000},
	{in: "1s1", usec: 2_000_000},
	{in: "infinity", usec: Infinity},
	{in: " infinity ", usec: Infinity},
	{in: "9223372036854775807us", usec: 9223372036854775807},
	{in: "18446744073708s", usec: 18446744073708_000_000},
	{in: "", bad: true},
	{in: "x", bad: true},
	{in: "-1", bad: true},
	{in: "-0", bad: true},
	{in: "+", bad: true},
	{in: "+.5", bad: true},
	{in: "+-5", bad: true},
	{in: "3.", bad: true},
	{in: "3.s", bad: true},
	{in: "3. 1", bad: true},
	{in: "3.+1", bad: true},
	{in: "1 2x", bad: true},
	{in: "12.34.56", bad: true},
	{in: "infinitys", bad: true},
	{in: "1min infinity", bad: true},
	{in: "9223372036854775808us", bad: true},
	{in: "9223372036854775808", bad: true},
	{in: "18446744073709s", bad: true},
	{in: "9223372036854775807us 9223372036854775807us 5us", bad: true},
	{in: "1sek", bad: true},
	{in: "5 S", bad: true},
}

func TestTimeSpan(t *testing.T) {
	for _, c := range spanCases {
		got, err := TimeSpan(c.in)
		if got != c.usec || (err != nil) != c.bad {
			t.Errorf("%q: %d, %v, want %d, error %v", c.in, got, err, c.usec, c.bad)
		}
	}
}
