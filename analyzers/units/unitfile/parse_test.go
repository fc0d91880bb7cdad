package unitfile

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"
)

// parseCases hold a file and what Parse makes of it: options as
// "line start-end [section@line] name=value", problems as
// "line start-end ! text" or, where fatal, "!!".
var parseCases = []struct{ name, in, want string }{
	{"empty", "", ""},
	{"comments only", "# a\n; b\n\n  \t# c\n", ""},
	{"one option", "[Unit]\nDescription=A b\n", `
		2 7-22 [Unit@1] Description="A b"`},
	{"no line end", "[Unit]\nA=b", `
		2 7-10 [Unit@1] A="b"`},
	{"space around", " [Unit] \n\t A  =\t b c \t\n", `
		2 9-22 [Unit@1] A="b c"`},
	{"equals sign in the value", "[Service]\nEnvironment=A=b\n", `
		2 10-25 [Service@1] Environment="A=b"`},
	{"hash is no comment in a value", "[Unit]\nA=b # c\n", `
		2 7-14 [Unit@1] A="b # c"`},
	{"continued", "[Unit]\nA=b \\\n  c\\\nd\nE=f\n", `
		2 7-19 [Unit@1] A="b    c d"
		5 20-23 [Unit@1] E="f"`},
	{"comments in a continuation", "[S]\nA=b\\\n# no\n  ; nor\\\n c\nD=e\n", `
		2 4-25 [S@1] A="b  c"
		6 26-29 [S@1] D="e"`},
	{"comment ends in a backslash", "[S]\n# a\\\nB=c\n", `
		3 9-12 [S@1] B="c"`},
	{"empty line ends a continuation", "[S]\nA=b\\\n\nC=d\n", `
		2 4-9 [S@1] A="b"
		4 10-13 [S@1] C="d"`},
	{"escaped backslash continues nothing", "[S]\nA=b\\\\\nC=d\n", `
		2 4-9 [S@1] A="b\\\\"
		3 10-13 [S@1] C="d"`},
	{"third backslash continues", "[S]\nA=b\\\\\\\nC\n", `
		2 4-12 [S@1] A="b\\\\ C"`},
	{"backslash before a blank continues nothing", "[S]\nA=b\\ \nC=d\n", `
		2 4-9 [S@1] A="b\\"
		3 10-13 [S@1] C="d"`},
	{"continued to the end of the file", "[S]\nA=b\\\n", `
		2 4-8 [S@1] A="b"`},
	{"continuation takes in a header", "[S]\nA=b\\\n[T]\nC=d\n", `
		2 4-12 [S@1] A="b [T]"
		4 13-16 [S@1] C="d"`},
	{"continued header", "[Se\\\nrvice]\nA=b\n", `
		3 12-15 [Se rvice@1] A="b"`},
	{"CRLF", "[S]\r\nA=b\\\r\n c\r\n\r\nD=e\r\n", `
		2 5-13 [S@1] A="b  c"
		5 17-20 [S@1] D="e"`},
	{"CR alone ends lines", "[S]\rA=b\rC=d", `
		1 4-7 [S@1] A="b"
		1 8-11 [S@1] C="d"`},
	{"LF CR is one end, LF LF two", "[S]\n\rA=b\\\n\nC=d", `
		2 5-10 [S@1] A="b"
		4 11-14 [S@1] C="d"`},
	{"NUL ends a line", "[S]\nA=b\x00C=d\x00\nE=f", `
		2 4-7 [S@1] A="b"
		2 8-11 [S@1] C="d"
		3 13-16 [S@1] E="f"`},
	{"NUL LF is two ends", "[S]\nA=b\\\x00\nC=d", `
		2 4-9 [S@1] A="b"
		3 10-13 [S@1] C="d"`},
	{"byte order mark", "\ufeff[S]\nA=b\n", `
		2 7-10 [S@1] A="b"`},
	{"second byte order mark", "\ufeff[S]\n\ufeffA=b\n", `
		2 7-13 [S@1] ` + "\ufeff" + `A="b"`},
	{"hash behind a byte order mark is a name", "[S]\n\ufeff#A=b\n", `
		2 4-11 [S@1] #A="b"`},
	{"garbage between options", "[S]\nA=b\ngarbage\nC=d\n", `
		2 4-7 [S@1] A="b"
		4 16-19 [S@1] C="d"
		3 8-15 ! no '=' in the line`},
	{"garbage in a continuation", "[S]\ngarb\\\nage\nC=d\n", `
		4 14-17 [S@1] C="d"
		2 4-13 ! no '=' in the line`},
	{"no name", "[S]\n = b\nC=d\n", `
		3 9-12 [S@1] C="d"
		2 4-8 ! no name before '='`},
	{"outside of a section", "A=b\n[S]\nC=d\n", `
		3 8-11 [S@2] C="d"
		1 0-3 ! assignment outside of a section`},
	{"comment behind a header", "[S]\nA=b\n[Unit] # x\nC=d\n", `
		2 4-7 [S@1] A="b"
		3 8-18 !! invalid section header "[Unit] # x"`},
	{"header of one bracket", "[\nA=b\n", `
		1 0-1 !! invalid section header "["`},
	{"header without a name", "[]\nA=b\n", `
		2 3-6 [@1] A="b"`},
	{"bracket in a header", "[a]b]\nA=b\n", `
		2 6-9 [a]b@1] A="b"`},
	{"quote in a header", "[a\"b]\nA=b\n", `
		1 0-5 !! bad characters in section header "[a\"b]"`},
	{"not UTF-8", "[S]\nA=b\nC=\xff\nD=e\n", `
		2 4-7 [S@1] A="b"
		3 8-11 !! not UTF-8`},
	{"not UTF-8 in a comment", "[S]\n# \xff\nD=e\n", `
		3 8-11 [S@1] D="e"`},
	{"noncharacter", "[S]\nC=\ufffe\n", `
		2 4-9 !! not UTF-8`},
	{"vertical tab is no space", "[S]\nA=\vb\u00a0\n", `
		2 4-10 [S@1] A="\vb` + `\u00a0"`},
	{"empty value", "[S]\nA=\nB= \\\n \n", `
		2 4-6 [S@1] A=""
		3 7-13 [S@1] B=""`},
	{"sections of one name", "[Route]\nA=1\n[Route]\nA=2\n", `
		2 8-11 [Route@1] A="1"
		4 20-23 [Route@3] A="2"`},
}

func TestParse(t *testing.T) {
	for _, c := range parseCases {
		t.Run(c.name, func(t *testing.T) {
			got := dumpFile(Parse([]byte(c.in)))
			if diff := cmp.Diff(undent(c.want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// undent removes the indentation of an expectation, as one string with a line
// end after each line.
func undent(s string) string {
	if s == "" {
		return ""
	}
	return strings.ReplaceAll(strings.TrimPrefix(s, "\n"), "\t", "") + "\n"
}

func dumpFile(f *File) string {
	var b strings.Builder
	for _, o := range f.Options {
		fmt.Fprintf(&b, "%d %d-%d [%s@%d] %s=%q\n", o.Line, o.Start, o.End, o.Section, o.SectionLine, o.Name, o.Value)
	}
	for _, p := range f.Problems {
		mark := "!"
		if p.Fatal {
			mark = "!!"
		}
		fmt.Fprintf(&b, "%d %d-%d %s %s\n", p.Line, p.Start, p.End, mark, p.Text)
	}
	return b.String()
}

func TestParseLongLines(t *testing.T) {
	long := func(n int) string { return "PATH=" + strings.Repeat("/", n-len("PATH=")) }
	for _, c := range []struct {
		name   string
		in     string
		length int // of the value; -1 where the file is refused
	}{
		{"3000 bytes, which go-systemd refuses", "[S]\n" + long(3000) + "\n", 2995},
		{"a byte under the limit", "[S]\n" + long(maxLine-1) + "\n", maxLine - 6},
		{"at the limit", "[S]\n" + long(maxLine) + "\n", -1},
		{"at the limit without its end", "[S]\n" + long(maxLine), -1},
		{"comment at the limit", "[S]\n#" + long(maxLine-1) + "\n", -1},
		{"continued to the limit", "[S]\n" + long(maxLine-2) + "\\\nx\n", maxLine - 5},
		{"continued over the limit", "[S]\n" + long(maxLine-2) + "\\\nxy\n", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Parse([]byte(c.in + "\nB=c\n"))
			if c.length < 0 {
				if len(f.Options) != 0 || len(f.Problems) != 1 || !f.Problems[0].Fatal || f.Problems[0].Start != 4 {
					t.Fatalf("%d options, problems %v", len(f.Options), f.Problems)
				}
				return
			}
			if len(f.Options) != 2 || len(f.Problems) != 0 || len(f.Options[0].Value) != c.length {
				t.Fatalf("%d options, problems %v, want a value of %d bytes", len(f.Options), f.Problems, c.length)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	f := Parse([]byte("[S]\n" + strings.Repeat("a=\n", maxOptions+1)))
	if len(f.Options) != maxOptions || len(f.Problems) != 1 || !f.Problems[0].Fatal {
		t.Errorf("%d options, problems %v", len(f.Options), f.Problems)
	}
	f = Parse([]byte("[S]\n" + strings.Repeat("x\n", 2*maxProblems)))
	if len(f.Problems) != maxProblems {
		t.Errorf("%d problems", len(f.Problems))
	}
}

// Where go-systemd takes a whole file and its known differences are not in
// it, it says the same as Parse, which gives it no more than lines.
func TestParseAgainstGoSystemd(t *testing.T) {
	compared := 0
	for name, data := range wholeFiles(t) {
		if n, ok := sameAsGoSystemd(data); !ok {
			t.Errorf("%s: go-systemd says otherwise", name)
		} else if n > 0 {
			compared++
		}
	}
	if compared < 20 {
		t.Errorf("only %d files could be compared", compared)
	}
}

// sameAsGoSystemd returns how many options were compared: none where the file
// is not for go-systemd.
func sameAsGoSystemd(data []byte) (int, bool) {
	f := Parse(data)
	// Continuations stay raw there, lone CRs and NULs are text, comments and
	// backslashes at the end continue, and its spaces are Unicode's.
	if bytes.ContainsAny(data, "\r\x00\\\v\f\u0085\u00a0\u2028\u2029\u3000\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f") ||
		bytes.Contains(data, []byte(bom)) || len(f.Problems) > 0 {
		return 0, true
	}
	options, err := unit.DeserializeOptions(bytes.NewReader(data))
	if err != nil {
		return 0, true
	}
	if len(options) != len(f.Options) {
		return 0, false
	}
	for i, o := range f.Options {
		if *options[i] != (unit.UnitOption{Section: o.Section, Name: o.Name, Value: o.Value}) {
			return 0, false
		}
	}
	return len(options), true
}

// The library's split and our own are the same, whichever takes the line: a
// section whose name has a bracket is not for the library.
func TestSplitWithoutLibrary(t *testing.T) {
	for name, data := range wholeFiles(t) {
		if !bytes.HasPrefix(data, []byte("[")) || bytes.Contains(data, []byte("\\\n[")) {
			continue
		}
		twin := append([]byte("[x]y"), bytes.ReplaceAll(data[1:], []byte("\n["), []byte("\n[x]y"))...)
		a, b := Parse(data), Parse(twin)
		if len(a.Options) != len(b.Options) {
			t.Errorf("%s: %d options, %d without the library", name, len(a.Options), len(b.Options))
			continue
		}
		for i := range a.Options {
			if a.Options[i].Name != b.Options[i].Name || a.Options[i].Value != b.Options[i].Value {
				t.Errorf("%s: %v, without the library %v", name, a.Options[i], b.Options[i])
			}
		}
	}
}
