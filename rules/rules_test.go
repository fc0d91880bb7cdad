package rules

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// factTypes are the facts that the tests' packs and cases speak of.
func factTypes() []analyzers.FactType {
	return []analyzers.FactType{
		{Name: "boot.stage", Doc: "d", Values: []string{"bootloader", "kernel"}, Repeats: true},
		{Name: "harness.echo", Doc: "d", Values: []string{"yes", "no"}},
		{Name: "lvm.lv", Doc: "d", Subject: "volume", Repeats: true},
		{Name: "lvm.vg", Doc: "d", Subject: "volume group", Repeats: true},
		{Name: "lvm.vgs", Doc: "d", Repeats: true},
		{Name: "mem.gb", Doc: "d"},
		{Name: "qemu.error", Doc: "d", Repeats: true},
		{Name: "tool", Doc: "d", Subject: "command", Values: []string{"present", "missing"}},
		{Name: "tool.error", Doc: "d", Repeats: true},
		{Name: "uid", Doc: "d"},
		{Name: "unit.active", Doc: "d", Subject: "unit name", Values: []string{"active", "inactive", "failed", "activating"}, Transient: []string{"activating"}},
		{Name: "unit.failure", Doc: "d", Subject: "unit name", Repeats: true},
	}
}

func read(t testing.TB, name string) Source {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return Source{Name: name, Data: data}
}

func exampleProfile(t testing.TB) Profile {
	t.Helper()
	p, err := ParseProfile(read(t, "profile.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func load(t testing.TB, packs ...Source) *Set {
	t.Helper()
	s, err := Load(factTypes(), exampleProfile(t), packs...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parseFacts reads lines of NAME | SUBJECT | VALUE | PATH:LINE…; what stands at
// line n is given the bytes 10n to 10n+9.
func parseFacts(t testing.TB, text string) *analyzers.Facts {
	t.Helper()
	facts := analyzers.NewFacts(factTypes())
	for line := range strings.Lines(text) {
		fields := strings.Split(line, "|")
		if len(fields) != 4 {
			t.Fatalf("fact %q does not have four fields", line)
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		f := &analyzers.Fact{Name: fields[0], Subject: fields[1], Value: fields[2]}
		for at := range strings.FieldsSeq(fields[3]) {
			path, number, _ := strings.Cut(at, ":")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			f.Evidence = append(f.Evidence, bundle.Evidence{Path: path, Line: n, Start: int64(10 * n), End: int64(10*n + 9), Quote: "line " + number})
		}
		if err := facts.Add(f); err != nil {
			t.Fatal(err)
		}
	}
	return facts
}

func places(ev []bundle.Evidence) string {
	var ps []string
	for _, x := range ev {
		ps = append(ps, fmt.Sprintf("%s:%d", x.Path, x.Line))
	}
	return strings.Join(ps, " ")
}

// show prints an outcome, one line for each thing that is there.
func show(out *Outcome) string {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %s %s\n", label, text)
		}
	}
	for _, v := range out.Verdicts {
		fmt.Fprintf(&b, "%s %s: %s\n", v.Status, v.Condition.ID, v.Because)
		if v.Conflict {
			line("conflict", "yes")
		}
		line("evidence", places(v.Evidence))
		line("blocked by", strings.Join(v.BlockedBy, " "))
		line("despite", strings.Join(v.Despite, " "))
		line("needed", strings.Join(v.Needed, "; "))
		line("consulted", strings.Join(v.Consulted, ", "))
	}
	causes := func(what string, cs []Cause) {
		for _, c := range cs {
			fmt.Fprintf(&b, "%s %s: %s\n", what, c.Condition.ID, c.Because)
			line("evidence", places(c.Evidence))
			line("explains", strings.Join(c.Explains, " "))
			line("unproven", strings.Join(c.Unproven, " "))
		}
	}
	causes("cause", out.Causes)
	causes("observer", out.Observer)
	for _, c := range out.Contradictions {
		fmt.Fprintf(&b, "contradiction %s (%s)\n", c.Text, places(c.Evidence))
	}
	for _, p := range out.Problems {
		fmt.Fprintf(&b, "problem %s\n", p.Text)
	}
	return b.String()
}

func file(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

// TestEvaluate runs testdata/eval: each case has facts, the outcome wanted, and
// a pack unless it is about the example.
func TestEvaluate(t *testing.T) {
	cases, _ := filepath.Glob("testdata/eval/*.txtar")
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			pack := read(t, "example.yaml")
			if p := file(a, "pack.yaml"); p != "" {
				pack = Source{Name: "pack.yaml", Data: []byte(p)}
			}
			s, facts := load(t, pack), parseFacts(t, file(a, "facts"))
			params := exampleProfile(t).Params
			if p := file(a, "profile.yaml"); p != "" {
				profile, err := ParseProfile(Source{Name: "profile.yaml", Data: []byte(p)})
				if err != nil {
					t.Fatal(err)
				}
				params = profile.Params
			}
			out := s.Evaluate(facts, params)
			if diff := cmp.Diff(file(a, "want"), show(out)); diff != "" {
				t.Errorf("outcome (-want +got):\n%s\ngot:\n%s", diff, show(out))
			}
			holds(t, out)
		})
	}
}

// holds checks what is true of every outcome.
func holds(t testing.TB, out *Outcome) {
	t.Helper()
	for _, v := range out.Verdicts {
		switch {
		case v.Status != Unknown && (len(v.Evidence) == 0 || v.Because == "" || v.Conflict):
			t.Errorf("%s: %s without evidence or reason, or in conflict", v.Condition.ID, v.Status)
		case len(v.Evidence) > maxEvidence:
			t.Errorf("%s: %d pieces of evidence", v.Condition.ID, len(v.Evidence))
		case v.Status == Unknown && !v.Conflict && v.Because != "":
			t.Errorf("%s: unknown because %q", v.Condition.ID, v.Because)
		}
	}
}

// TestTruth is the truth table of the language: + is true, - false, ? unknown.
func TestTruth(t *testing.T) {
	facts := parseFacts(t, `unit.active | a | activating | serial.log:1
unit.active | a | inactive | serial.log:5
unit.active | b | activating | serial.log:2
unit.active | b | failed | status.txt:1
unit.active | c | failed | serial.log:7
unit.active | c | inactive | status.txt:2
lvm.vg | main | 1 | serial.log:8
lvm.vgs | | main | serial.log:8
lvm.vgs | | swap | serial.log:9
lvm.vgs | | data | status.txt:9
mem.gb | | 4 | host.txt:1
mem.gb | | 4 | serial.log:1
uid | | 1000 | serial.log:3
uid | | 0 | serial.log:4
qemu.error | | one | serial.log:20
qemu.error | | two | serial.log:21
`)
	for _, c := range []struct{ expr, want string }{
		// last: the end of each artifact, transient values give way.
		{`last("unit.active", "a") == "inactive"`, "+ serial.log:5"},
		{`last("unit.active", "a") == "activating"`, "- serial.log:5"},
		{`last("unit.active", "b") == "failed"`, "+ status.txt:1"},
		{`last("unit.active", "c") == "failed"`, "?"}, // artifacts disagree
		{`last("unit.active", "d") == "failed"`, "?"},
		{`last("unit.active", "d") != "failed"`, "?"},
		{`last("mem.gb") == "4"`, "+ host.txt:1 serial.log:1"},
		{`int(last("mem.gb")) >= 2`, "+ host.txt:1 serial.log:1"},
		{`int(last("qemu.error")) >= 2`, "?"}, // not a number
		{`last("qemu.error") == "two"`, "+ serial.log:21"},
		{`last("lvm.vgs") == "swap"`, "?"}, // side by side, two artifacts
		{`is("unit.active", "a", "inactive")`, "+ serial.log:5"},
		{`is("unit.active", "a", "failed")`, "- serial.log:5"},
		{`is("unit.active", "c", "active")`, "?"},
		{`is("uid", "", "0")`, "+ serial.log:4"},
		{`first("uid") == "1000"`, "+ serial.log:3"},
		{`first("unit.active", "b") == "failed"`, "?"}, // which began first?
		// has: true or unknown.
		{`has("lvm.vg", "main")`, "+ serial.log:8"},
		{`has("lvm.vg")`, "+ serial.log:8"},
		{`has("lvm.vg", "swap")`, "?"},
		{`has("unit.active", "a", "activating")`, "+ serial.log:1"},
		{`has("unit.active", "a", "failed")`, "?"},
		{`has("uid", "", "1000")`, "+ serial.log:3"},
		// values, and its evidence: only what was looked for.
		{`values("lvm.vgs").exists(v, v == "swap")`, "+ serial.log:9"},
		{`values("lvm.vgs").exists(v, v == "none")`, "- serial.log:8 serial.log:9 status.txt:9"},
		{`values("lvm.vgs").all(v, v != "main")`, "- serial.log:8"},
		{`values("tool.error").exists(v, v == "x")`, "?"},
		{`values("tool.error").all(v, v == "x")`, "?"},
		{`"data" in values("lvm.vgs")`, "+ serial.log:8 serial.log:9 status.txt:9"},
		{`values("lvm.vgs").filter(v, v.startsWith("s")).size() == 1`, "+ serial.log:8 serial.log:9 status.txt:9"},
		// subjects and "*": whatever it was stated of.
		{`subjects("unit.active").exists(u, u == "b")`, "+ serial.log:2 status.txt:1"},
		{`!subjects("lvm.vg").exists(g, g == "data")`, "+ serial.log:8"},
		{`subjects("tool").exists(u, u == "b")`, "?"},
		{`values("unit.active", "*").exists(v, v == "failed")`, "+ status.txt:1 serial.log:7"},
		{`has("unit.active", "*", "failed")`, "+ status.txt:1 serial.log:7"},
		{`has("unit.active", "*", "active")`, "?"},
		// quote: the line, as last.
		{`quote("unit.active", "a") == "line 5"`, "+ serial.log:5"},
		{`quote("unit.active", "c") == "line 7"`, "?"},
		{`quote("tool.error") == ""`, "?"},
		// guards are definite, and show nothing.
		{`lacks("lvm.vg", "swap")`, "+"},
		{`lacks("lvm.vg", "main")`, "-"},
		{`lacks("lvm.vg")`, "-"},
		{`lacks("unit.active", "a", "failed")`, "+"},
		{`count("lvm.vgs") == 3`, "+"},
		{`count("lvm.lv") == 0`, "+"},
		{`count("lvm.lv", "x") > 0`, "-"},
		// Kleene's and, or, not.
		{`has("lvm.vg", "main") && has("uid")`, "+ serial.log:8 serial.log:3 serial.log:4"},
		{`has("lvm.vg", "main") && has("lvm.lv", "x")`, "?"},
		{`has("lvm.lv", "x") && is("uid", "", "1")`, "- serial.log:4"},
		{`has("lvm.lv", "x") || has("lvm.vg", "main")`, "+ serial.log:8"},
		{`has("lvm.lv", "x") || is("uid", "", "1")`, "?"},
		{`is("uid", "", "1") || has("lvm.vg", "main")`, "+ serial.log:8"},
		{`is("uid", "", "0") || has("lvm.vg", "main")`, "+ serial.log:4 serial.log:8"},
		{`is("uid", "", "1") || is("uid", "", "2")`, "- serial.log:4"},
		{`!is("uid", "", "1")`, "+ serial.log:4"},
		{`!is("unit.active", "d", "failed")`, "?"},
		{`!(has("lvm.lv", "x") || is("uid", "", "0"))`, "- serial.log:4"},
		{`lacks("lvm.lv") && has("lvm.vg")`, "+ serial.log:8"},
		// an error is unknown, and gives way to what decides.
		{`int("x") > 1 && has("uid")`, "?"},
		{`int("x") > 1 || has("lvm.vg")`, "+ serial.log:8"},
		// ?:
		{`is("uid", "", "0") ? has("lvm.vg", "main") : has("lvm.lv", "x")`, "+ serial.log:4 serial.log:8"},
		{`is("uid", "", "1") ? has("lvm.vg", "main") : has("lvm.lv", "x")`, "?"},
		{`has("lvm.lv", "x") ? has("lvm.vg", "main") : has("lvm.vg", "main")`, "?"},
		// parameters
		{`has("lvm.vg", param.vg)`, "+ serial.log:8"},
		{`has("lvm.vg", param.lv)`, "?"},
		{`has("lvm.vg", param.nothing)`, "?"},
		{`param.status_file == "/run/status"`, "+"},
		{`param["status-file"] == "/run/status"`, "+"},
		{`param.nothing == ""`, "?"},
		{`params.nothing.all(x, has("lvm.vg", x))`, "?"},
		{`params.nothing.size() == 0`, "?"},
		{`params.vg.all(x, has("lvm.vg", x))`, "+ serial.log:8"},
		{`(params.vg + params.lv).all(x, has("lvm.vg", x))`, "?"},
		{`(params.vg + params.lv).exists(x, has("lvm.vg", x))`, "+ serial.log:8"},
		{`[].all(x, has("lvm.vg", "main"))`, "+"},
		{`[["a"], ["b"]].exists(l, l.exists(u, is("unit.active", u, "failed")))`, "+ status.txt:1"},
		{`["a"].exists(param, is("unit.active", param, "inactive"))`, "+ serial.log:5"},
		// strings
		{`last("uid").matches("^[0-9]+$")`, "+ serial.log:4"},
		{`last("uid").matches("^[1-9]+$")`, "- serial.log:4"},
		{`last("unit.active", "a") in ["inactive", "failed"]`, "+ serial.log:5"},
	} {
		got := truthOf(t, facts, c.expr)
		if got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.expr, got, c.want)
		}
	}
}

func truthOf(t *testing.T, facts *analyzers.Facts, expr string) string {
	t.Helper()
	profile := exampleProfile(t)
	c, err := newCompiler(factTypes(), paramNames(profile))
	if err != nil {
		t.Fatal(err)
	}
	p, d := parseExpr(c, expr)
	if p == nil {
		t.Errorf("%s: %v", expr, d.mistakes)
		return ""
	}
	e := newEvaluation(facts, paramNames(profile), profile.Params)
	e.steps = maxClauseSteps
	v, s := e.prove(p)
	return strings.TrimSpace(map[truth]string{yes: "+", no: "-", maybe: "?"}[v] + " " + places(evidence(s)))
}

func parseExpr(c *compiler, expr string) (*prop, *document) {
	d := open(Source{Name: "expr", Data: []byte(strconv.Quote(expr))})
	if d.root == nil {
		return nil, d
	}
	s := &scalar{doc: d, node: d.root, value: expr}
	return c.prop(snippet{text: expr, in: s}), d
}

// TestCost: what a foreign pack may cost is bounded.
func TestCost(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "lvm.vgs | | vg%d | serial.log:%d\n", i, i+1)
	}
	facts := parseFacts(t, b.String())
	for _, when := range []string{
		`values("lvm.vgs").all(a, values("lvm.vgs").all(b, a != b))`,
		`values("lvm.vgs").map(a, values("lvm.vgs").map(b, a + b)).size() > 0`,
	} {
		pack := fmt.Sprintf("conditions:\n- {id: a.b, phase: vm, title: t, decide: [d], fail: [{when: %q, because: b}]}\n", when)
		out := load(t, Source{Name: "p", Data: []byte(pack)}).Evaluate(facts, nil)
		if v := out.Verdicts[0]; v.Status != Unknown || len(out.Problems) != 1 {
			t.Errorf("%s: %s, problems %v", when, v.Status, out.Problems)
		}
	}
}

func TestConcurrent(t *testing.T) {
	s, params := load(t, read(t, "example.yaml")), exampleProfile(t).Params
	facts := []string{
		"unit.active | setup.service | failed | serial.log:5\nunit.failure | setup.service | no disk | serial.log:4\n",
		"lvm.vg | main | 1 | serial.log:1\nlvm.lv | main/slash | 1 | serial.log:2\n",
	}
	var want []string
	for _, f := range facts {
		want = append(want, show(s.Evaluate(parseFacts(t, f), params)))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				if got := show(s.Evaluate(parseFacts(t, facts[i%2]), params)); got != want[i%2] {
					t.Errorf("got %s, want %s", got, want[i%2])
				}
			}
		})
	}
	wg.Wait()
}

// TestReplace: a later pack replaces a condition whole, in its place.
func TestReplace(t *testing.T) {
	extra := Source{Name: "extra.yaml", Data: []byte("conditions:\n" +
		"- {id: vm.lvm, phase: vm, title: ours, decide: [d], pass: [{when: 'has(\"lvm.vg\")', because: b}]}\n" +
		"- {id: vm.more, phase: vm, title: more, needs: [vm.lvm], decide: [d], pass: [{when: 'has(\"lvm.vg\")', because: b}]}\n")}
	s := load(t, read(t, "example.yaml"), extra)
	var ids []string
	for _, c := range s.Conditions() {
		ids = append(ids, c.ID)
	}
	want := "host.qemu harness.prompt vm.tools vm.lvm vm.unit vm.more"
	if got := strings.Join(ids, " "); got != want {
		t.Errorf("catalogue %s, want %s", got, want)
	}
	if c := s.Condition("vm.lvm"); c.Title != "ours" || c.Needs != nil || c.Fail != nil {
		t.Errorf("vm.lvm was not replaced whole: %+v", c)
	}
	if s.Condition("vm.none") != nil {
		t.Error("a condition that does not exist")
	}
}

// TestLoadMistakes runs testdata/bad: beside each NAME.yaml stands NAME.err
// with all that is wrong with it. Names that begin with profile are profiles.
func TestLoadMistakes(t *testing.T) {
	names, _ := filepath.Glob("testdata/bad/*.yaml")
	if len(names) == 0 {
		t.Fatal("no cases")
	}
	for _, name := range names {
		name := strings.TrimSuffix(filepath.Base(name), ".yaml")
		t.Run(name, func(t *testing.T) {
			src := read(t, "bad/"+name+".yaml")
			src.Name = name + ".yaml"
			var err error
			if strings.HasPrefix(name, "profile") {
				_, err = ParseProfile(src)
			} else {
				_, err = Load(factTypes(), exampleProfile(t), src)
			}
			if err == nil {
				t.Fatal("no mistakes found")
			}
			want := string(read(t, "bad/"+name+".err").Data)
			if diff := cmp.Diff(want, err.Error()+"\n"); diff != "" {
				t.Errorf("mistakes (-want +got):\n%s\ngot:\n%s", diff, err)
			}
		})
	}
}

// TestSize: files beyond the bounds are refused.
func TestSize(t *testing.T) {
	many := "conditions:\n"
	for i := range maxConditions + 1 {
		many += fmt.Sprintf("- {id: a.b%d, phase: vm, title: t, decide: [d], pass: [{when: 'has(\"uid\")', because: b}]}\n", i)
	}
	for _, c := range []struct{ name, data, want string }{
		{"large", strings.Repeat("#", maxSource+1), "large: 1048577 bytes: larger than the 1048576 allowed"},
		{"latin", "conditions: [\xff]", "latin: not UTF-8 text"},
		{"many", many, "many:1002:8: more than 1000 conditions"},
	} {
		_, err := Load(factTypes(), Profile{}, Source{Name: c.name, Data: []byte(c.data)})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error %v, want %s", c.name, err, c.want)
		}
	}
}

// TestSentence: what stands around an unknown part is tidied.
func TestSentence(t *testing.T) {
	for _, c := range []struct{ texts, want string }{
		{"the unit is |failed|.", "the unit is failed."},
		{"the unit| is failed", "the unit is failed"},
		{"unit ||is failed", "unit is failed"},
		{"unit || is failed", "unit is failed"},
		{"unit ||, then", "unit, then"},
		{"unit (||) failed", "unit failed"},
		{"unit '||' failed", "unit failed"},
		{"run `command -v |`", "run `command -v `"},
		{"run `command -v ||`", "run `command -v`"},
		{"see ||`x`", "see `x`"},
		{"unit: |", "unit"},
		{"|: failed", ": failed"},
		{"|", ""},
		{"a  b", "a  b"}, // an artifact's own words stay as they are
	} {
		texts := strings.Split(c.texts, "|")
		if got := sentence(texts); got != c.want {
			t.Errorf("%q: got %q, want %q", c.texts, got, c.want)
		}
	}
}

// TestUnstamped: what a log puts before a message goes, and nothing else.
func TestUnstamped(t *testing.T) {
	for line, want := range map[string]string{
		`Oct 13 00:07:25 nixos pre-nixos-start[836]: "disko": {}`:                   `"disko": {}`,
		`Nov  3 09:10:04 builder kernel: audit: type=1400`:                          `audit: type=1400`,
		`2025-10-13T00:07:25+0000 nixos systemd[1]: Reached target X.`:              `Reached target X.`,
		`[ 6.401745] systemd[1]: System time is ahead`:                              `System time is ahead`,
		`[2025-12-23T00:46:02.417190+00:00] id -u returned: '20'`:                   `id -u returned: '20'`,
		`2025-12-23 00:46:02,417 ERROR gone`:                                        `ERROR gone`,
		`[ 12.345678]`:                                                              `[ 12.345678]`,
		`[ 2.101007] Nov 23 07:37:30 nixos a[1]: said by another log, word by word`: `Nov 23 07:37:30 nixos a[1]: said by another log, word by word`,
		`Timed out waiting for device [1]: x`:                                       `Timed out waiting for device [1]: x`,
		`[FAILED] Failed to start X.`:                                               `[FAILED] Failed to start X.`,
		`May 14 boots failed: no`:                                                   `May 14 boots failed: no`,
		``:                                                                          ``,
	} {
		if got := unstamped(line); got != want {
			t.Errorf("unstamped(%q) = %q, want %q", line, got, want)
		}
	}
}

// TestPlaces: a rune of a scalar is found in the file, whatever the style.
func TestPlaces(t *testing.T) {
	for _, c := range []struct{ doc, value string }{
		{"k: one # TWO\n", "one"},
		{"k: 'it''s # THREE'\n", "it's # THREE"},
		{"é: \"a\\\"b\\x41\\tc\\u00e9 d\"\n", "a\"bA\tcé d"},
		{"k: |\n    one\n\n      two é\n    three\n", "one\n\n  two é\nthree\n"},
		{"k: >\n  one\n  two\n\n  three\n", "one two\n\nthree\n"},
		{"k: >-\n\n  one   \n  two\n", "\none    two"},
		{"k: one\n  two\n\n  three\n", "one two\nthree"},
		{"k: \"one \\\n   two\n   three\"\n", "one two three"},
		{"k: 'one\n\n  two'\n", "one\ntwo"},
		{"- - k: \"é\"\n", "é"},
	} {
		d := open(Source{Name: "doc", Data: []byte(c.doc)})
		if d.root == nil {
			t.Fatal(d.mistakes)
		}
		n := d.root
		for len(n.Content) > 0 {
			n = n.Content[len(n.Content)-1]
		}
		s := &scalar{doc: d, node: n, value: n.Value}
		i := -1
		for _, r := range n.Value {
			i++
			if r <= ' ' || r == '"' || r == '\t' {
				continue
			}
			p := s.at(i)
			line := []rune(strings.Split(c.doc, "\n")[p.line-1])
			if p.column > len(line) || line[p.column-1] != r && line[p.column-1] != '\\' && line[p.column-1] != '\'' {
				t.Errorf("%q: rune %d %q of %q is placed at %d:%d", c.doc, i, r, n.Value, p.line, p.column)
			}
		}
	}
}

func TestPrint(t *testing.T) {
	s := load(t, read(t, "example.yaml"))
	for name, write := range map[string]func(*bytes.Buffer) error{
		"example.md":      func(b *bytes.Buffer) error { return s.WriteMarkdown(b) },
		"example.dot":     func(b *bytes.Buffer) error { return s.WriteDot(b) },
		"example.explain": func(b *bytes.Buffer) error { return s.Explain(b, "vm.lvm") },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(read(t, name).Data), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s\ngot:\n%s", name, diff, b.String())
		}
	}
	if err := s.Explain(&bytes.Buffer{}, "vm.lmv"); err == nil || err.Error() != `no condition "vm.lmv" (did you mean "vm.lvm"?)` {
		t.Errorf("Explain of a condition that does not exist: %v", err)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	s, params := load(b, read(b, "example.yaml")), exampleProfile(b).Params
	facts := parseFacts(b, "boot.stage | | kernel | serial.log:1\nunit.active | setup.service | failed | serial.log:5\nunit.failure | setup.service | no disk | serial.log:4\nlvm.vg | main | 1 | serial.log:7\n")
	clauses := 0
	for _, c := range s.Conditions() {
		clauses += len(c.Pass) + len(c.Fail)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Evaluate(facts, params)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*clauses), "ns/clause")
}

// TestClauseError: an error in a part of a clause that the other part decides
// is nobody's business; else it is told.
func TestClauseError(t *testing.T) {
	facts := parseFacts(t, `uid | | 0 | serial.log:4
qemu.error | | one | serial.log:20
`)
	profile := exampleProfile(t)
	c, err := newCompiler(factTypes(), paramNames(profile))
	if err != nil {
		t.Fatal(err)
	}
	for expr, fails := range map[string]bool{
		`is("uid", "", "7") && int(last("qemu.error")) >= 2`: false,
		`is("uid", "", "0") && int(last("qemu.error")) >= 2`: true,
		`is("uid", "", "0") || int(last("qemu.error")) >= 2`: false,
	} {
		p, d := parseExpr(c, expr)
		if p == nil {
			t.Fatalf("%s: %v", expr, d.mistakes)
		}
		e := newEvaluation(facts, paramNames(profile), profile.Params)
		if _, _, err := e.clause(&Clause{when: p}); (err != nil) != fails {
			t.Errorf("%s: %v", expr, err)
		}
	}
}
