package textdiff

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const noEnd = "\\ No newline at end of file\n"

func TestUnified(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		max      int
		want     string // without the names
	}{
		"equal":        {"a\nb\n", "a\nb\n", 0, ""},
		"both empty":   {"", "", 0, ""},
		"from nothing": {"", "a\nb\n", 0, "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		"to nothing":   {"a\n", "", 0, "@@ -1,1 +0,0 @@\n-a\n"},
		"end of line":  {"a", "a\n", 0, "@@ -1,1 +1,1 @@\n-a\n" + noEnd + "+a\n"},
		"no end on either side": {"a\nb", "c\nb", 0,
			"@@ -1,2 +1,2 @@\n-a\n+c\n b\n" + noEnd},
		"CR is text": {"a\r\n", "a\n", 0, "@@ -1,1 +1,1 @@\n-a\r\n+a\n"},
		"context": {"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nV\n6\n7\n8\n9\n", 0,
			"@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+V\n 6\n 7\n 8\n"},
		"six lines between: one hunk": {"x\n1\n2\n3\n4\n5\n6\nx\n", "1\n2\n3\n4\n5\n6\n", 0,
			"@@ -1,8 +1,6 @@\n-x\n 1\n 2\n 3\n 4\n 5\n 6\n-x\n"},
		"seven lines between: two hunks": {"x\n1\n2\n3\n4\n5\n6\n7\nx\n", "1\n2\n3\n4\n5\n6\n7\n", 0,
			"@@ -1,4 +1,3 @@\n-x\n 1\n 2\n 3\n@@ -6,4 +5,3 @@\n 5\n 6\n 7\n-x\n"},
		"an insertion behind the first line": {"a\nb\n", "a\nx\nb\n", 0, "@@ -1,2 +1,3 @@\n a\n+x\n b\n"},
		"cut":                                {"a\nb\nc\n", "", 4, "@@ -1,3 +0,0 @@\n-a\n… 2 more lines\n"},
		"not cut":                            {"a\nb\n", "", 5, "@@ -1,2 +0,0 @@\n-a\n-b\n"},
		"cut at the names":                   {"a\n", "", 2, "… 2 more lines\n"},
		"a long line, cut":                   {strings.Repeat("ä", 3000) + "\n", "", 9, "@@ -1,1 +0,0 @@\n-" + strings.Repeat("ä", 1000) + "…\n"},
		"no text, not a line":                {"\x00\xff", "\x00\xfe", 0, "@@ -1,1 +1,1 @@\n-\x00\xff\n" + noEnd + "+\x00\xfe\n" + noEnd},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.want
			if want != "" {
				want = "--- old\n+++ new\n" + want
			}
			if d := cmp.Diff(want, Unified("old", "new", []byte(c.from), []byte(c.to), c.max)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// TestNames: a name makes no line of its own.
func TestNames(t *testing.T) {
	got := Unified("a\n+++ x", "b\x1b[2J", []byte("1\n"), nil, 0)
	want := "--- \"a\\n+++ x\"\n+++ \"b\\x1b[2J\"\n@@ -1,1 +0,0 @@\n-1\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

// check holds a diff to what every diff must do.
func check(t *testing.T, from, to []byte) string {
	t.Helper()
	d := Unified("old", "new", from, to, 0)
	got, err := apply(from, d)
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, d)
	}
	if !bytes.Equal(got, to) {
		t.Fatalf("applied, it gives\n%.2000q\nnot\n%.2000q\n%.2000s", got, to, d)
	}
	if (d == "") != bytes.Equal(from, to) {
		t.Errorf("a diff of %d bytes of texts of which it is not true", len(d))
	}
	if d := cmp.Diff(mirrored(d), Unified("new", "old", to, from, 0)); d != "" {
		t.Errorf("exchanged, it is no mirror image: -want +got\n%.2000s", d)
	}
	return d
}

// apply applies a diff to a text as patch(1) does, without looking for other
// places. The text of each line is all there: a LF ends it, but for those that
// are marked.
func apply(text []byte, diff string) ([]byte, error) {
	if diff == "" {
		return text, nil
	}
	lines, ends := split(text), strings.SplitAfter(diff, "\n")
	var out bytes.Buffer
	at := 0
	for i := 2; i < len(ends); i++ {
		l := ends[i]
		var a, n, b, m int
		if c, err := fmt.Sscanf(l, "@@ -%d,%d +%d,%d @@\n", &a, &n, &b, &m); c == 4 && err == nil {
			if n > 0 {
				a--
			}
			if a < at || a > len(lines) {
				return nil, fmt.Errorf("%q: at line %d of %d", l, at, len(lines))
			}
			for ; at < a; at++ {
				out.Write(lines[at])
			}
			continue
		}
		if l == "" {
			continue
		}
		mark, body := l[0], l[1:]
		if i+1 < len(ends) && ends[i+1] == noEnd {
			body = strings.TrimSuffix(body, "\n")
		}
		switch mark {
		case ' ', '-':
			if at >= len(lines) || string(lines[at]) != body {
				return nil, fmt.Errorf("%q is not line %d", l, at+1)
			}
			at++
			if mark == ' ' {
				out.WriteString(body)
			}
		case '+':
			out.WriteString(body)
		case '\\':
		default:
			return nil, fmt.Errorf("%q is no line of a diff", l)
		}
	}
	for ; at < len(lines); at++ {
		out.Write(lines[at])
	}
	return out.Bytes(), nil
}

// mirrored exchanges the sides of a diff.
func mirrored(diff string) string {
	if diff == "" {
		return ""
	}
	var b, minus, plus strings.Builder
	flush := func() {
		b.WriteString(plus.String())
		b.WriteString(minus.String())
		plus.Reset()
		minus.Reset()
	}
	last := &b
	for i, l := range strings.SplitAfter(diff, "\n") {
		switch {
		case i == 0:
			b.WriteString("--- new\n")
		case i == 1:
			b.WriteString("+++ old\n")
		case l == noEnd:
			last.WriteString(l)
		case strings.HasPrefix(l, "@@ "):
			flush()
			var a, n, c, m int
			_, _ = fmt.Sscanf(l, "@@ -%d,%d +%d,%d @@\n", &a, &n, &c, &m)
			fmt.Fprintf(&b, "@@ -%d,%d +%d,%d @@\n", c, m, a, n)
		case strings.HasPrefix(l, "-"):
			minus.WriteString("+" + l[1:])
			last = &minus
		case strings.HasPrefix(l, "+"):
			plus.WriteString("-" + l[1:])
			last = &plus
		default:
			flush()
			b.WriteString(l)
			last = &b
		}
	}
	flush()
	return b.String()
}

// recordings are real texts.
func recordings(t testing.TB) map[string][]byte {
	t.Helper()
	texts := map[string][]byte{}
	for _, pattern := range []string{"serial.log", "pre-nixos-journal.log", "harness.log"} {
		names, err := filepath.Glob("../../../../../corpus/testimage-runs/*/artifacts/" + pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("no recordings: %v", err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = data
		}
	}
	return texts
}

// changed returns n lines of a log, and them with one in so many changed:
// replaced, deleted, doubled, or swapped with the next.
func changed(n int, percent float64) (from, to []byte) {
	r := rand.New(rand.NewPCG(1, 2))
	var a, b bytes.Buffer
	var held string
	for i := range n {
		l := fmt.Sprintf("[%5d.%06d] systemd[1]: unit-%d.service: state %d, waiting for the job of another unit\n", i/7, i%1000000, r.IntN(500), r.IntN(4))
		if i%9 == 0 {
			l = "-- the same line again --\n"
		}
		a.WriteString(l)
		if r.Float64()*100 >= percent {
			b.WriteString(l + held)
			held = ""
			continue
		}
		switch r.IntN(4) {
		case 0:
			b.WriteString("changed " + l)
		case 1:
		case 2:
			b.WriteString(l + l)
		case 3:
			held = l
		}
	}
	return a.Bytes(), b.Bytes()
}

// TestApply: the diffs of texts of all sorts give the other text.
func TestApply(t *testing.T) {
	for _, percent := range []float64{0, 0.1, 4, 30, 100} {
		from, to := changed(20000, percent)
		check(t, from, to)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{5, 50, 9000} {
		for _, letters := range []int{1, 2, 7, 1000} {
			text := func() []byte {
				var b bytes.Buffer
				for range r.IntN(n) + 1 {
					fmt.Fprintln(&b, r.IntN(letters))
				}
				return b.Bytes()
			}
			check(t, text(), text())
		}
	}
}

// size counts the lines that a diff takes away or adds.
func size(diff string) int {
	n := 0
	for i, l := range strings.Split(diff, "\n") {
		if i > 1 && l != "" && (l[0] == '-' || l[0] == '+') {
			n++
		}
	}
	return n
}

// TestMinimal: diffs are nearly as small as those of GNU diff.
func TestMinimal(t *testing.T) {
	if _, err := exec.LookPath("diff"); err != nil {
		t.Skip("no diff(1) here")
	}
	type texts struct{ from, to []byte }
	all := map[string]texts{}
	for _, percent := range []float64{0.1, 4, 30, 90} {
		from, to := changed(30000, percent)
		all[fmt.Sprintf("%v%%", percent)] = texts{from, to}
	}
	rec := recordings(t)
	var serials []string
	for name := range rec {
		if filepath.Base(name) == "serial.log" {
			serials = append(serials, name)
		}
	}
	const healthy = "../../../../../corpus/testimage-runs/healthy-slow/artifacts/serial.log"
	for _, name := range serials {
		all[name] = texts{rec[healthy], rec[name]}
	}
	for name, c := range all {
		ours, gnu := size(check(t, c.from, c.to)), size(gnuDiff(t, c.from, c.to))
		t.Logf("%s: %d lines, GNU %d", name, ours, gnu)
		if ours*100 > gnu*103 {
			t.Errorf("%s: %d lines, where GNU diff has %d", name, ours, gnu)
		}
	}
}

// files writes the texts.
func files(t testing.TB, from, to []byte) (old, new string) {
	t.Helper()
	dir := t.TempDir()
	old, new = filepath.Join(dir, "old"), filepath.Join(dir, "new")
	for name, text := range map[string][]byte{old: from, new: to} {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return old, new
}

func gnuDiff(t testing.TB, from, to []byte) string {
	t.Helper()
	a, b := files(t, from, to)
	out, err := exec.Command("diff", "-a", "-u", a, b).Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatal(err)
	}
	return string(out)
}

// TestPatch: patch(1) understands them.
func TestPatch(t *testing.T) {
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("no patch(1) here")
	}
	from, to := changed(5000, 10)
	for name, c := range map[string][2]string{
		"log":        {string(from), string(to)},
		"no end":     {"a\nb\nc", "a\nb\nd"},
		"new end":    {"a\nb\nc", "a\nb\nc\n"},
		"to nothing": {"a\nb\n", ""},
		"CR":         {"a\r\nb\r\n", "a\r\nc\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			old, _ := files(t, []byte(c[0]), nil)
			cmd := exec.Command("patch", "--binary", "--quiet", "--fuzz=0", old)
			cmd.Stdin = strings.NewReader(Unified("old", "new", []byte(c[0]), []byte(c[1]), 0))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := os.ReadFile(old)
			if err != nil && !(c[1] == "" && os.IsNotExist(err)) {
				t.Fatal(err)
			}
			if d := cmp.Diff(c[1], string(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func FuzzUnified(f *testing.F) {
	n := 0
	for _, text := range recordings(f) {
		if n++; n > 6 {
			break
		}
		head := text[:min(len(text), 3000)]
		f.Add(head, bytes.Replace(head, []byte("systemd"), []byte("x\n"), 3))
	}
	f.Add([]byte("a\nb\na\nb"), []byte("b\na\nb\na\n"))
	f.Fuzz(func(t *testing.T, from, to []byte) { check(t, from, to) })
}

// BenchmarkUnified is set beside GNU diff, on logs of some 5 MB.
func BenchmarkUnified(b *testing.B) {
	for _, percent := range []float64{4, 30, 100} {
		from, to := changed(58000, percent)
		b.Run(fmt.Sprintf("%v%%/ours", percent), func(b *testing.B) {
			b.SetBytes(int64(len(from) + len(to)))
			b.ReportAllocs()
			for b.Loop() {
				Unified("old", "new", from, to, 0)
			}
		})
		b.Run(fmt.Sprintf("%v%%/gnu", percent), func(b *testing.B) {
			if _, err := exec.LookPath("diff"); err != nil {
				b.Skip("no diff(1) here")
			}
			b.SetBytes(int64(len(from) + len(to)))
			old, new := files(b, from, to)
			for b.Loop() {
				_ = exec.Command("diff", "-a", "-u", old, new).Run() // status 1: they differ
			}
		})
	}
	from, to := changed(58000, 100)
	stamped := bytes.ReplaceAll(from, []byte("."), []byte(".1"))
	for name, c := range map[string][]byte{"each line another": stamped, "unrelated": to} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Unified("old", "new", from, c, 0)
			}
		})
	}
	few := bytes.Repeat([]byte("a\nb\nb\na\na\n"), 1200)
	other := bytes.Repeat([]byte("b\nb\na\nb\n"), 1000)
	b.Run("the worst gap", func(b *testing.B) {
		for b.Loop() {
			Unified("old", "new", few[:2*2*maxSide/2], other[:2*maxSide], 0)
		}
	})
}
