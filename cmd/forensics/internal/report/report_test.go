package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"forensics/analyzers/bundle"

	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the files that show how reports look")

func at2025(day int) *time.Time {
	t := time.Date(2025, 11, day, 8, 15, 0, 0, time.UTC)
	return &t
}

func ev(path string, line int, quote string) bundle.Evidence {
	return bundle.Evidence{Path: path, Line: line, Start: int64(line) * 40, End: int64(line)*40 + int64(len(quote)), Quote: quote}
}

func verdict(id, status, because string, evidence ...bundle.Evidence) Verdict {
	phase, _, _ := strings.Cut(id, ".")
	return Verdict{Condition: id, Phase: phase, Title: "title of " + id, Status: status, Because: because, Evidence: evidence}
}

// failed is a run with one of everything.
func failed() Run {
	broken := ev("serial.log", 199, "build-volumes[817]: error: The option `volumes.data.label' does not exist.")
	lvm := verdict("vm.lvm", Fail, "the volume tool stopped: error: The option `volumes.data.label' does not exist", broken,
		ev("serial.log", 204, "Volume group \"data\" not found"), ev("diagnostics/answers/vgs.txt", 1, "(no volume groups)"), ev("serial.log", 230, "0"))
	lvm.Remedy = "Take the option out of the volume plan, or use a version of the tool that knows it."
	status := verdict("vm.storage-status", Fail, "STATE=failed when the run gave up", ev("serial.log", 260, "STATE=failed"))
	status.BlockedBy = []string{"vm.lvm"}
	lan := verdict("vm.lan-dhcp", Unknown, "one artifact shows an address, another none",
		ev("serial.log", 240, "lan UP 10.0.2.15/24"), ev("diagnostics/ip.txt", 3, "lan UP"))
	lan.Conflict = true
	idle := verdict("vm.unit-inactive", Pass, "Active: inactive (dead)", ev("serial.log", 270, "Active: inactive (dead)"))
	idle.Despite = []string{"vm.storage-status"}
	nix := verdict("host.nix", Unknown, "")
	nix.Needed = []string{"host probe: nix flake show --json", "the build log of the image"}
	return Run{
		ID: "2025-11-02T08-15-00Z", Path: "runs/2025-11-02T08-15-00Z", Started: at2025(2), Stage: "root-shell", Profile: "example",
		Artifacts: []Artifact{
			{Path: "diagnostics/ip.txt", Kind: "capture", Size: 80, SHA256: strings.Repeat("ab", 32)},
			{Path: "image.iso", Kind: "iso", Size: 1 << 30, SHA256: strings.Repeat("cd", 32)},
			{Path: "notes.md", Kind: "report", Size: 900, SHA256: strings.Repeat("ef", 32)},
			{Path: "serial.log", Kind: "serial", Size: 8173, SHA256: strings.Repeat("01", 32)},
		},
		Verdicts: []Verdict{
			nix, verdict("host.qemu", Pass, "firmware text came out of it", ev("serial.log", 1, "SeaBIOS (version 1.16.2)")),
			lvm, lan, status, idle,
			verdict("harness.prompt", Fail, "took its own echo for the answer", ev("harness.log", 31, "matched: echo __DONE__")),
		},
		Causes: []Cause{{Condition: "vm.lvm", Because: lvm.Because, Evidence: lvm.Evidence,
			Explains: []string{"vm.storage-status"}, Unproven: []string{"host.nix", "vm.lan-dhcp"}}},
		Observer:       []Cause{{Condition: "harness.prompt", Because: "took its own echo for the answer", Evidence: []bundle.Evidence{ev("harness.log", 31, "matched: echo __DONE__")}}},
		Contradictions: []Contradiction{{Fact: "net.address", Subject: "lan", Text: "10.0.2.15/24 in one artifact, none in another", Evidence: lan.Evidence}},
		Problems:       []bundle.Problem{{Path: "core.dump", Text: "permission denied"}, {Text: "analyzer qemu failed: no argv"}},
	}
}

func passed() Run {
	r := Run{ID: "2025-11-03T08-15-00Z", Path: "runs/2025-11-03T08-15-00Z", Started: at2025(3), Stage: "provisioned", Profile: "example"}
	for _, v := range failed().Verdicts {
		if v.Condition != "host.nix" {
			v = verdict(v.Condition, Pass, "shown", ev("serial.log", 12, "shown"))
		}
		r.Verdicts = append(r.Verdicts, v)
	}
	return r
}

func silent() Run {
	return Run{ID: "empty", Path: "runs/empty", Stage: "none", Verdicts: []Verdict{verdict("host.nix", Unknown, ""), verdict("vm.lvm", Unknown, "")}}
}

func reportOf(runs ...Run) *Report {
	return &Report{Schema: Schema, Tool: Tool{"forensics", "v0"}, Runs: runs}
}

func render(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// checkLooks holds that write gives what stands in a file of testdata, each time,
// and that a text keeps its width.
func checkLooks(t *testing.T, name string, o Options, write func(io.Writer) error) {
	t.Helper()
	got := render(t, write)
	if again := render(t, write); got != again {
		t.Error("the same report gave other bytes")
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("go test ./cmd/forensics/internal/report -update, after a look at\n%s", d)
	}
	if strings.HasSuffix(name, ".txt") {
		checkWidth(t, got, o)
	}
}

func TestLooks(t *testing.T) {
	many := reportOf(failed(), passed(), silent())
	many.Trouble = []bundle.Problem{{Path: "runs/secret", Text: "permission denied"}}
	many.Problems = []bundle.Problem{{Path: "runs/nothing", Text: "holds no run"}}
	for _, tt := range []struct {
		file  string
		r     *Report
		write func(io.Writer, *Report, Options) error
		o     Options
	}{
		{"one-80.txt", reportOf(failed()), WriteText, Options{Width: 80}},
		{"one-verbose.txt", reportOf(failed()), WriteText, Options{Width: 100, Verbose: true}},
		{"one-colour.txt", reportOf(failed()), WriteText, Options{Width: 100, Colour: true}},
		{"pass.txt", reportOf(passed()), WriteText, Options{Width: 100}},
		{"many-120.txt", many, WriteText, Options{Width: 120}},
		{"many-ascii.txt", many, WriteText, Options{Width: 80, ASCII: true}},
		{"one.md", reportOf(failed()), WriteMarkdown, Options{}},
		{"many.md", many, WriteMarkdown, Options{}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			checkLooks(t, tt.file, tt.o, func(w io.Writer) error { return tt.write(w, tt.r, tt.o) })
		})
	}
}

func checkWidth(t *testing.T, text string, o Options) {
	t.Helper()
	for l := range strings.Lines(text) {
		if w := ansi.StringWidth(strings.TrimSuffix(l, "\n")); w > o.Width {
			t.Errorf("%d columns wide, of %d: %q", w, o.Width, l)
		}
		if l != strings.TrimRight(l, " \n")+"\n" {
			t.Errorf("space at the end of %q", l)
		}
	}
	if o.ASCII {
		for _, r := range text {
			if r >= utf8.RuneSelf {
				t.Errorf("%q is not ASCII", r)
			}
		}
	}
}

// TestSays states what must be in the text, whatever it looks like.
func TestSays(t *testing.T) {
	one := render(t, func(w io.Writer) error { return WriteText(w, reportOf(failed()), Options{Width: 200}) })
	verbose := render(t, func(w io.Writer) error { return WriteText(w, reportOf(failed()), Options{Width: 200, Verbose: true}) })
	md := render(t, func(w io.Writer) error { return WriteMarkdown(w, reportOf(failed()), Options{}) })
	pass := render(t, func(w io.Writer) error { return WriteText(w, reportOf(passed()), Options{Width: 200}) })
	for _, tt := range []struct {
		name, text, want string
		not              bool
	}{
		{"cause with mechanism", one, "CAUSE      vm.lvm — the volume tool stopped: error:", false},
		{"quote with place", one, "serial.log:204: Volume group \"data\" not found", false},
		{"what it explains", one, "explains: vm.storage-status", false},
		{"what could lie earlier", one, "could lie earlier (unknown): host.nix, vm.lan-dhcp", false},
		{"remedy", one, "remedy: Take the option out", false},
		{"observer apart", one, "OBSERVER   harness.prompt — took", false},
		{"contradiction", one, "CONFLICT   net.address lan: 10.0.2.15/24", false},
		{"despite", one, "vm.unit-inactive passed although vm.storage-status failed", false},
		{"problem", one, "core.dump: permission denied", false},
		{"stage", one, "reached root-shell", false},
		{"no fourth quote", one, "serial.log:230", true},
		{"fourth quote", verbose, "serial.log:230: 0", false},
		{"what would decide", verbose, "host probe: nix flake show --json", false},
		{"unread", verbose, "written by a person: decides nothing", false},
		{"no matrix for one run", one, "artifacts disagree", true},
		{"pass", pass, "no condition failed; 1 unknown", false},
		{"pass has no cause", pass, "CAUSE", true},
		{"markdown cause", md, "**Cause: `vm.lvm`** — the volume tool stopped", false},
		{"markdown quote", md, "- `serial.log:199`: ``build-volumes[817]: error: The option `volumes.data.label'", false},
	} {
		if strings.Contains(tt.text, tt.want) == tt.not {
			t.Errorf("%s: want %q (not: %v) in\n%s", tt.name, tt.want, tt.not, tt.text)
		}
	}
}

func TestStatus(t *testing.T) {
	allPass := Run{Verdicts: []Verdict{verdict("vm.lvm", Pass, "")}}
	for _, tt := range []struct {
		name   string
		runs   []Run
		strict bool
		want   int
	}{
		{"no run", nil, false, 2},
		{"pass", []Run{allPass}, false, 0},
		{"pass, strict", []Run{allPass}, true, 0},
		{"unknown", []Run{passed()}, false, 0},
		{"unknown, strict", []Run{passed()}, true, 1},
		{"failed", []Run{allPass, failed()}, false, 1},
		{"one unreadable", []Run{allPass}, false, 2},
	} {
		r := reportOf(tt.runs...)
		if tt.name == "one unreadable" {
			r.Trouble = []bundle.Problem{{Path: "x", Text: "permission denied"}}
		}
		if got := r.Status(tt.strict); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	want := reportOf(failed(), passed(), silent())
	want.Runs[0].Path = "odd\x1b[31m\u202e\u009b\U000e0041 \"name\""
	text := render(t, func(w io.Writer) error { return WriteJSON(w, want) })
	got, err := ReadJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(withLists(want), got); d != "" {
		t.Error(d)
	}
	if again := render(t, func(w io.Writer) error { return WriteJSON(w, got) }); again != text {
		t.Error("what was read is written as other bytes")
	}
	if _, err := ReadJSON(strings.NewReader(`{"schema": "other/1"}`)); err == nil {
		t.Error("another schema is read as ours")
	}
}

// TestContract holds the names of the JSON report's fields.
func TestContract(t *testing.T) {
	for _, r := range []*Report{reportOf(failed()), reportOf(Run{Verdicts: []Verdict{{}}, Causes: []Cause{{}}, Observer: []Cause{{}}, Contradictions: []Contradiction{{}}}), reportOf()} {
		var top map[string]any
		text := render(t, func(w io.Writer) error { return WriteJSON(w, r) })
		if err := json.Unmarshal([]byte(text), &top); err != nil {
			t.Fatal(err)
		}
		has(t, top, "schema", "tool", "runs", "comparison")
		if top["comparison"] != nil {
			t.Error("comparison is not null")
		}
		for _, x := range lists(t, top, "runs", "problems", "trouble")[0] {
			run := x.(map[string]any)
			has(t, run, "id", "path", "started", "stage", "contradictions", "profile")
			ls := lists(t, run, "artifacts", "verdicts", "causes", "observer", "problems", "contradictions")
			for _, v := range ls[1] {
				has(t, v.(map[string]any), "condition", "phase", "title", "status", "because", "conflict", "remedy")
				lists(t, v.(map[string]any), "evidence", "blocked_by", "despite", "needed")
			}
			for _, c := range append(ls[2], ls[3]...) {
				has(t, c.(map[string]any), "condition", "because")
				lists(t, c.(map[string]any), "evidence", "explains", "unproven")
			}
		}
	}
}

func has(t *testing.T, m map[string]any, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, ok := m[n]; !ok {
			t.Errorf("no field %q", n)
		}
	}
}

func lists(t *testing.T, m map[string]any, names ...string) [][]any {
	t.Helper()
	var ls [][]any
	for _, n := range names {
		l, ok := m[n].([]any)
		if !ok {
			t.Errorf("field %q is %T, want a list", n, m[n])
		}
		ls = append(ls, l)
	}
	return ls
}

// hostile strings try to reach the terminal, the page, or the forge.
var hostile = []string{
	"\x1b[2J\x1b[31mred\x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1bPq#0\x1b\\",
	"\x00\x01\x07\b\b\b\x7f NUL and\rreturn\x0bvt",
	"\u202eevil\u202c \u2066x\u2069 \u061c\u200f \u00ad\ufeff\U000e0041",
	"c1 \u009b31m \u0085 \u2028line\u2029para \xff\xfe\x9b31m",
	"unterminated \x1b]0;never ends",
	"שלום עולם مرحبا 日本語 e\u0301\u0301\u0301\u0301\u0301\u0301",
	strings.Repeat("long ", 2000) + strings.Repeat("x", 5000),
	strings.Repeat("\x1b[", 1000) + strings.Repeat("界", 1500),
	"a | b || c \\| d \\",
	"`tick` ``two`` ```\n# heading\n- item\n| a | b |\n|---|---|",
	"<script>alert(1)</script><img src=x onerror=y>&lt;b&gt; </details>",
	"fixes #12 @octocat Closes org/repo#3 GH-7 https://example.org/x !5 *b* _i_ [l](u) ![i](u) ~s~ $m$",
	"# heading", "- item", "1. one", "> quote", "=====", "", " ",
}

// hostileReport is a report with s in every string.
func hostileReport(s string) *Report {
	r := reportOf(failed(), passed())
	r.Problems = []bundle.Problem{{Path: "p", Text: "t"}}
	h := mapped(r, func(old string) string {
		switch old {
		case Pass, Fail, Unknown, Schema:
			return old
		}
		return s
	})
	return h
}

func TestHostile(t *testing.T) {
	for _, s := range hostile {
		r := hostileReport(s)
		for _, o := range []Options{{Width: 80}, {Width: 120, Verbose: true}, {Width: 80, ASCII: true, Verbose: true}} {
			text := render(t, func(w io.Writer) error { return WriteText(w, r, o) })
			checkSafe(t, text)
			checkWidth(t, text, o)
		}
		checkSafe(t, render(t, func(w io.Writer) error { return WriteMarkdown(w, r, Options{Verbose: true}) }))
		text := render(t, func(w io.Writer) error { return WriteJSON(w, r) })
		checkSafe(t, text)
		if _, err := ReadJSON(strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	}
}

func checkSafe(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("not UTF-8")
	}
	for i, r := range text {
		if r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
			t.Fatalf("%U at byte %d: %q", r, i, text[max(0, i-20):min(len(text), i+20)])
		}
	}
}

// TestMarkdownEscapes states how single texts are written.
func TestMarkdownEscapes(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    func(string) string
		in   string
		want string
	}{
		{"plain", prose, "plain text, done.", "plain text, done."},
		{"marks", prose, "*b* _i_ <u> [l] a|b `c` \\", "\\*b\\* \\_i\\_ &lt;u&gt; \\[l\\] a&#124;b `c` \\\\"},
		{"mention", prose, "by @octocat now", "by `@octocat` now"},
		{"address of a unit", prose, "serial-getty@ttyS0.service failed", "`serial-getty@ttyS0.service` failed"},
		{"lone at", prose, "a @ b", "a @ b"},
		{"closing word", prose, "fixes #12", "fixes `#12`"},
		{"other repository", prose, "closes a/b#3, GH-9", "closes `a/b#3,` `GH-9`"},
		{"number sign", prose, "# 1", "\\# 1"},
		{"address", prose, "see https://example.org/#1", "see `https://example.org/#1`"},
		{"entity", prose, "&#64;x &amp;", "`&#64;x` `&amp;`"},
		{"lone ampersand", prose, "a & b", "a &amp; b"},
		{"list", prose, "- a", "\\- a"},
		{"number", prose, "1. a", "1\\. a"},
		{"no number", prose, "one. a", "one. a"},
		{"address of an interface", prose, "10.0.2.15/24 a", "10.0.2.15/24 a"},
		{"span", code, "a", "`a`"},
		{"span with ticks", code, "a`b``c", "```a`b``c```"},
		{"span at a tick", code, "`a`", "`` `a` ``"},
		{"cell", cellCode, "a b", "`a b`"},
		{"cell with pipe", cellCode, "a|b", "<code>a&#124;b</code>"},
		{"cell with backslash", cellCode, `a\`, "<code>a&#92;</code>"},
	} {
		if got := tt.f(tt.in); got != tt.want {
			t.Errorf("%s: %q\n got %s\nwant %s", tt.name, tt.in, got, tt.want)
		}
	}
}

// TestMarkdownTables counts the pipes that end cells: hostile text must not
// add one.
func TestMarkdownTables(t *testing.T) {
	for _, s := range hostile {
		text := render(t, func(w io.Writer) error { return WriteMarkdown(w, hostileReport(s), Options{}) })
		want := 0
		for l := range strings.Lines(text) {
			l = strings.TrimSuffix(l, "\n")
			switch {
			case strings.HasPrefix(l, "| ") && want == 0:
				want = strings.Count(l, "|")
			case strings.HasPrefix(l, "| "):
				if n := strings.Count(l, "|"); n != want {
					t.Errorf("%d pipes, want %d: %.200q", n, want, l)
				}
			case strings.HasPrefix(l, "#"):
				if l != "# Boot forensics" && !strings.HasPrefix(l, "## ") {
					t.Errorf("stray heading %.100q", l)
				}
				want = 0
			default:
				want = 0
			}
		}
		if o, c := strings.Count(text, "\n<details>"), strings.Count(text, "\n</details>\n"); o != c || o == 0 {
			t.Errorf("%d opened, %d closed for %.100q", o, c, s)
		}
	}
}

// TestMapped holds that every string is met and the original stays.
func TestMapped(t *testing.T) {
	r, before := reportOf(failed()), reportOf(failed())
	r.Comparison = &Comparison{From: "a", Flips: []Flip{{Condition: "b", Evidence: []SideEvidence{{Side: SideTo}}}}}
	before.Comparison = &Comparison{From: "a", Flips: []Flip{{Condition: "b", Evidence: []SideEvidence{{Side: SideTo}}}}}
	m := mapped(r, func(string) string { return "X" })
	if d := cmp.Diff(before, r); d != "" {
		t.Errorf("the original changed: %s", d)
	}
	mapped(m, func(s string) string {
		if s != "X" {
			t.Errorf("%q was not met", s)
		}
		return s
	})
	if !reflect.DeepEqual(m.Runs[0].Started, r.Runs[0].Started) {
		t.Error("the start time changed")
	}
}

func FuzzHostile(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := hostileReport(s)
		o := Options{Width: 72}
		text := render(t, func(w io.Writer) error { return WriteText(w, r, o) })
		checkSafe(t, text)
		checkWidth(t, text, o)
		checkSafe(t, render(t, func(w io.Writer) error { return WriteMarkdown(w, r, o) }))
		checkSafe(t, render(t, func(w io.Writer) error { return WriteJSON(w, r) }))
	})
}
