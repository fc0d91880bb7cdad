package corpus

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/analyzers/iso"
	"forensics/rules"
)

func load(t *testing.T) []*Case {
	t.Helper()
	cases, err := Load(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 10 {
		t.Fatalf("only %d cases", len(cases))
	}
	if underRace { // it takes ten times as long, and races are in all cases alike
		var some []*Case
		for i := 0; i < len(cases); i += 12 {
			some = append(some, cases[i])
		}
		return some
	}
	return cases
}

func rulesOf(t *testing.T, c *Case) (*rules.Set, analyzers.Params) {
	t.Helper()
	profile := c.Expect.Profile
	if profile == "" {
		profile = "pre-nixos"
	}
	set, params, err := Rules(profile)
	if err != nil {
		t.Fatal(err)
	}
	return set, params
}

func TestCorpus(t *testing.T) {
	agree, evidence, placed := 0, 0, 0
	for _, c := range load(t) {
		t.Run(c.Name, func(t *testing.T) {
			set, params := rulesOf(t, c)
			o := Check(c, set, params)
			for _, list := range [][]string{o.Wrong, o.Claimed, o.Missed, o.Stale, o.Missing} {
				for _, s := range list {
					t.Error(s)
				}
			}
			if o.Cause != "" {
				t.Error(o.Cause)
			}
			for _, p := range c.Run.Problems {
				if strings.Contains(p.Text, "internal error") || strings.Contains(p.Text, "did not run") {
					t.Errorf("%s: %s", p.Path, p.Text)
				}
			}
			agree, evidence, placed = agree+o.Agree, evidence+o.Evidence, placed+o.Placed
		})
	}
	t.Logf("%d verdicts agree; evidence at the expected line for %d of %d", agree, evidence, placed)
	if evidence*4 < placed*3 {
		t.Errorf("evidence at the expected line only for %d of %d", evidence, placed)
	}
}

// analyze runs the program on files as if they were one run.
func analyze(t *testing.T, files map[string][]byte, set *rules.Set, params analyzers.Params) *rules.Outcome {
	t.Helper()
	fsys := fstest.MapFS{}
	for p, data := range files {
		fsys[p] = &fstest.MapFile{Data: data}
	}
	runs, _ := bundle.Find(fsys, "run")
	if len(runs) == 0 {
		return nil
	}
	run := runs[0]
	facts := analyzers.Analyze(run, all.List, params)
	for _, p := range run.Problems {
		if strings.Contains(p.Text, "internal error") {
			t.Fatalf("%s: %s", p.Path, p.Text)
		}
	}
	return set.Evaluate(facts, params)
}

func contents(t *testing.T, c *Case) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, a := range c.Run.Artifacts {
		data, err := a.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		files[a.Path] = data
	}
	return files
}

// bounded returns at most n offsets of data: line ends first, then in between.
func bounded(data []byte, n int) []int {
	var cuts []int
	for i, c := range data {
		if c == '\n' {
			cuts = append(cuts, i+1)
		}
	}
	for i := 0; i < n/4; i++ {
		cuts = append(cuts, (i*len(data)/(n/4+1))*7%max(1, len(data)))
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	for len(cuts) > n {
		var half []int
		for i := 0; i < len(cuts); i += 2 {
			half = append(half, cuts[i])
		}
		cuts = half
	}
	return cuts
}

// TestCut: a transcript that ends early says less, never something else. A
// condition that passes in the whole does not fail in a part, but where the
// part really shows less: what a value was before it changed.
func TestCut(t *testing.T) {
	for _, c := range load(t) {
		if c.Expect.Cause != nil || strings.HasPrefix(c.Name, "synthetic/") {
			continue
		}
		set, params := rulesOf(t, c)
		files := contents(t, c)
		whole := statuses(analyze(t, files, set, params))
		for p, data := range files {
			if !strings.HasSuffix(p, ".log") || len(data) > 200<<10 {
				continue
			}
			for _, n := range bounded(data, 60) {
				part := clone(files)
				part[p] = data[:n]
				for id, s := range statuses(analyze(t, part, set, params)) {
					if s == "fail" && whole[id] == "pass" && !silence(id, data[:n]) {
						t.Errorf("%s: %s cut at %d: %s fails, in the whole it passes", c.Name, p, n, id)
					}
				}
			}
		}
	}
}

// silence: a transcript cut right after the boot loader's last word is, byte
// for byte, that of a kernel that never speaks on this port.
func silence(id string, data []byte) bool {
	return (id == "iso.serial-console" || id == "vm.serial") && bytes.HasSuffix(bytes.TrimSpace(data), []byte("ok"))
}

func clone(files map[string][]byte) map[string][]byte {
	m := map[string][]byte{}
	for p, d := range files {
		m[p] = d
	}
	return m
}

func statuses(o *rules.Outcome) map[string]string {
	m := map[string]string{}
	if o != nil {
		for _, v := range o.Verdicts {
			m[v.Condition.ID] = string(v.Status)
		}
	}
	return m
}

// TestEvidence: every pass and fail has evidence, and the evidence is where it
// says, byte for byte.
func TestEvidence(t *testing.T) {
	for _, c := range load(t) {
		set, params := rulesOf(t, c)
		o := Check(c, set, params)
		for _, v := range o.Result.Verdicts {
			if v.Status != "unknown" && (len(v.Evidence) == 0 || v.Because == "") {
				t.Errorf("%s: %s is %s without evidence or sentence", c.Name, v.Condition.ID, v.Status)
			}
			for _, e := range v.Evidence {
				data, err := evidenceBytes(c.Run, e.Path)
				if err != nil || e.Start < 0 || e.End > int64(len(data)) || e.Start >= e.End {
					t.Errorf("%s: %s: bad span %+v", c.Name, v.Condition.ID, e)
					continue
				}
				if line := 1 + bytes.Count(data[:e.Start], []byte("\n")); line != e.Line {
					t.Errorf("%s: %s: %s:%d is on line %d", c.Name, v.Condition.ID, e.Path, e.Line, line)
				}
			}
		}
	}
}

// evidenceBytes returns what evidence at p is a span of: an artifact, or a file
// within one.
func evidenceBytes(run *bundle.Run, p string) ([]byte, error) {
	outer, inner, nested := strings.Cut(p, "!")
	a := run.Artifact(outer)
	if a == nil {
		return nil, fmt.Errorf("no artifact %s", outer)
	}
	data, err := a.Bytes()
	if err != nil || !nested {
		return data, err
	}
	m, err := iso.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	return m.ReadNested(inner)
}

// erase blanks evidence in the artifact that holds it: of a file within an
// image, the bytes where they stand in the image.
func erase(part, whole map[string][]byte, e bundle.Evidence) error {
	outer, inner, nested := strings.Cut(e.Path, "!")
	if !nested {
		part[e.Path] = blank(part[e.Path], e)
		return nil
	}
	data := whole[outer]
	m, err := iso.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	file, err := m.ReadNested(inner)
	if err != nil {
		return err
	}
	// Configurations are small and stand in one piece. What is compressed goes
	// with the superblock of the volume that it is in.
	start, end := e.Start, e.End
	if volume, _, deep := strings.Cut(inner, "!"); deep && !bytes.Contains(data, file) {
		if file, err = m.ReadNested(volume); err != nil {
			return err
		}
		start, end = 0, 96
	}
	at := int64(bytes.Index(data, file))
	if at < 0 {
		return fmt.Errorf("%s is not in one piece", e.Path)
	}
	part[outer] = blank(part[outer], bundle.Evidence{Start: at + start, End: at + end})
	return nil
}

// twoGrounds are conditions whose pass and fail rest on different things that
// may both be there: a boot log that complains of nothing else, a unit file
// beside what the unit did.
var twoGrounds = map[string]bool{"vm.clock": true, "iso.unit": true}

// TestErased: a verdict rests on its evidence. Without the lines that show it,
// a pass does not become a fail nor a fail a pass.
func TestErased(t *testing.T) {
	for _, c := range load(t) {
		if strings.HasPrefix(c.Name, "synthetic/") {
			continue
		}
		set, params := rulesOf(t, c)
		files := contents(t, c)
		o := analyze(t, files, set, params)
		if o == nil {
			continue
		}
		for _, v := range o.Verdicts {
			if v.Status == "unknown" || twoGrounds[v.Condition.ID] {
				continue
			}
			part := clone(files)
			for _, e := range v.Evidence {
				if err := erase(part, files, e); err != nil {
					t.Errorf("%s: %s: %v", c.Name, v.Condition.ID, err)
				}
			}
			got := statuses(analyze(t, part, set, params))[v.Condition.ID]
			if got != "unknown" && got != "" && got != string(v.Status) {
				t.Errorf("%s: %s is %s, and %s without its evidence", c.Name, v.Condition.ID, v.Status, got)
			}
		}
	}
}

// blank writes spaces over a span, line ends kept.
func blank(data []byte, e bundle.Evidence) []byte {
	out := bytes.Clone(data)
	for i := e.Start; i < e.End && i < int64(len(out)); i++ {
		if out[i] != '\n' && out[i] != '\r' {
			out[i] = ' '
		}
	}
	return out
}

// TestDeterministic: the same bytes out every time.
func TestDeterministic(t *testing.T) {
	for _, c := range load(t) {
		set, params := rulesOf(t, c)
		files := contents(t, c)
		first := fmt.Sprintf("%+v", plain(analyze(t, files, set, params)))
		for range 3 {
			if again := fmt.Sprintf("%+v", plain(analyze(t, files, set, params))); again != first {
				t.Errorf("%s: two analyses differ:\n%s\n%s", c.Name, first, again)
				break
			}
		}
	}
}

func plain(o *rules.Outcome) []string {
	var out []string
	if o == nil {
		return nil
	}
	for _, v := range o.Verdicts {
		out = append(out, fmt.Sprint(v.Condition.ID, v.Status, v.Because, v.Evidence, v.BlockedBy, v.Despite, v.Needed))
	}
	for _, c := range append(o.Causes, o.Observer...) {
		out = append(out, fmt.Sprint(c.Condition.ID, c.Because, c.Evidence, c.Explains, c.Unproven))
	}
	return out
}

// TestListed: every analyzer's folder stands in the one list.
func TestListed(t *testing.T) {
	if err := analyzers.Validate(all.List); err != nil {
		t.Error(err)
	}
	listed := map[string]bool{}
	for _, a := range all.List {
		listed[a.Name] = true
	}
	dirs, err := filepath.Glob("../analyzers/*/")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		name := filepath.Base(d)
		if name != "all" && name != "bundle" && name != "analyzertest" && !listed[name] {
			t.Errorf("analyzers/%s is not in all.List", name)
		}
	}
}

// imports is which of our packages each may import; a package below counts as
// its parent.
var imports = map[string][]string{
	"analyzers":              {"analyzers/bundle"},
	"analyzers/bundle":       {},
	"analyzers/analyzertest": {"analyzers", "analyzers/bundle"},
	"analyzers/console":      {"analyzers", "analyzers/bundle"},
	"analyzers/serial":       {"analyzers", "analyzers/bundle", "analyzers/console"},
	"analyzers/commands":     {"analyzers", "analyzers/bundle", "analyzers/console"},
	"analyzers/journal":      {"analyzers", "analyzers/bundle", "analyzers/console"},
	"analyzers/qemu":         {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/host"},
	"analyzers/build":        {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/host"},
	"analyzers/host":         {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/host"},
	"analyzers/iso":          {"analyzers", "analyzers/bundle", "analyzers/units"},
	"analyzers/kernel":       {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/commands", "analyzers/journal"},
	"analyzers/shell":        {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/commands"},
	"analyzers/units":        {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/commands", "analyzers/journal"},
	"analyzers/storage":      {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/commands", "analyzers/journal", "analyzers/shell", "analyzers/units"},
	"analyzers/network":      {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/commands", "analyzers/journal", "analyzers/units"},
	"analyzers/harness":      {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/commands", "analyzers/shell"},
	"analyzers/boot":         {"analyzers", "analyzers/bundle", "analyzers/console", "analyzers/serial", "analyzers/commands", "analyzers/iso", "analyzers/journal", "analyzers/kernel", "analyzers/shell", "analyzers/units"},
	"analyzers/all":          {"analyzers*"},
	"rules":                  {"analyzers", "analyzers/bundle"},
	"corpus":                 {"analyzers", "analyzers/all", "analyzers/analyzertest", "analyzers/bundle", "rules"},
	"cmd/forensics":          {"analyzers", "analyzers/all", "analyzers/bundle", "rules", "corpus", "cmd/forensics", "analyzers/console", "analyzers/iso", "analyzers/journal", "analyzers/qemu", "analyzers/units"},
}

// worldly packages are for capture and the commands only: analysis is a pure
// function of bytes.
var worldly = []string{"os", "net", "net/http", "os/exec", "time/tzdata", "syscall", "math/rand", "math/rand/v2", "log"}

func TestImports(t *testing.T) {
	files, _ := filepath.Glob("../analyzers/*.go")
	for _, pattern := range []string{"../analyzers/*/*.go", "../analyzers/*/*/*.go", "../rules/*.go", "*.go", "../cmd/forensics/*.go", "../cmd/forensics/internal/*/*.go"} {
		more, _ := filepath.Glob(pattern)
		files = append(files, more...)
	}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		pkg := owner(f)
		may, ok := imports[pkg]
		if !ok {
			t.Errorf("%s: package %s is not in the table", f, pkg)
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			p := strings.Trim(i.Path.Value, `"`)
			if ours, ok := strings.CutPrefix(p, "forensics/"); ok {
				if o := owner("../" + ours + "/x.go"); o != pkg && !slices.Contains(may, o) && !slices.Contains(may, "analyzers*") {
					t.Errorf("%s imports %s", f, p)
				}
			} else if slices.Contains(worldly, p) && !strings.HasPrefix(pkg, "cmd/") && pkg != "analyzers/analyzertest" {
				t.Errorf("%s imports %s: analysis is a pure function of bytes", f, p)
			}
		}
	}
}

// owner is the package in the table that a file belongs to.
func owner(file string) string {
	dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(file)), "../")
	switch {
	case dir == ".":
		return "corpus"
	case strings.HasPrefix(dir, "cmd/forensics"):
		return "cmd/forensics"
	case strings.Count(dir, "/") > 1:
		parts := strings.Split(dir, "/")
		return parts[0] + "/" + parts[1]
	}
	return dir
}
