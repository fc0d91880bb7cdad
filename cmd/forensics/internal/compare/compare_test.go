package compare

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

const runs = "../../../../corpus/testimage-runs"

// catalogue loads the rules and the profile that are built in.
func catalogue(t testing.TB) (*rules.Set, rules.Profile) {
	t.Helper()
	profiles, err := rules.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range profiles {
		if p.Name == "pre-nixos" {
			set, err := rules.Load(analyzers.Types(all.List), p, rules.Embedded()...)
			if err != nil {
				t.Fatal(err)
			}
			return set, p
		}
	}
	t.Fatal("no profile")
	return nil, rules.Profile{}
}

// read analyzes the run in a directory.
func read(t testing.TB, dir string) *Side {
	t.Helper()
	set, profile := catalogue(t)
	found, _ := bundle.Find(os.DirFS(dir), filepath.ToSlash(dir))
	if len(found) != 1 {
		t.Fatalf("%s: %d runs", dir, len(found))
	}
	return Read(found[0], set, profile)
}

type pair struct {
	To, Condition, Kind, Says string
	Open                      bool
}

func pairs(t *testing.T) (from string, ps []pair) {
	data, err := os.ReadFile("testdata/pairs.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		From  string
		Pairs []pair
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(runs)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{file.From: true}
	for _, p := range file.Pairs {
		named[p.To] = true
	}
	for _, e := range entries {
		if !named[e.Name()] {
			t.Errorf("no pair has the run %s", e.Name())
		}
		delete(named, e.Name())
	}
	for name := range named {
		t.Errorf("there is no run %s", name)
	}
	return file.From, file.Pairs
}

// TestPairs holds that the injected change comes first, that healthy runs do
// not differ in any condition, and that the mirror image is the mirror image.
func TestPairs(t *testing.T) {
	from, ps := pairs(t)
	set, _ := catalogue(t)
	a := read(t, filepath.Join(runs, from, "artifacts"))
	for i, p := range ps {
		if testing.Short() && i%5 != 0 {
			continue
		}
		t.Run(p.To, func(t *testing.T) {
			b := read(t, filepath.Join(runs, p.To, "artifacts"))
			c := Two(a, b, set)
			checkPair(t, &p, c)
			if d := cmp.Diff(c, Two(a, b, set)); d != "" {
				t.Errorf("again, it is another: %s", d)
			}
			got, want := Two(b, a, set), mirrored(c)
			unworded(got)
			unworded(want)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("not the mirror image (-mirror +got):\n%s", d)
			}
		})
	}
}

func checkPair(t *testing.T, p *pair, c *report.Comparison) {
	if p.Condition == "" {
		for _, f := range c.Flips {
			if !p.Open || f.From != report.Unknown && f.To != report.Unknown {
				t.Errorf("%s went from %s to %s", f.Condition, f.From, f.To)
			}
		}
		if len(c.Mechanisms) > 0 {
			t.Errorf("%s fails for another reason", c.Mechanisms[0].Condition)
		}
		return
	}
	if !strings.HasPrefix(c.Headline, p.Condition) {
		t.Errorf("the headline is %q, want it to begin with %s", c.Headline, p.Condition)
	}
	for _, f := range c.Flips {
		if f.Condition != p.Condition {
			continue
		}
		if len(f.Changes) == 0 {
			t.Fatal("no change goes with it")
		}
		x := &f.Changes[0]
		if x.Kind != p.Kind || !strings.Contains(x.Summary, p.Says) {
			t.Errorf("the first change is %s %q, want %s %q", x.Kind, x.Summary, p.Kind, p.Says)
		}
		if len(x.Evidence) == 0 {
			t.Error("the first change has no evidence")
		}
		// What is gone from a command line is shown by that line.
		if strings.HasPrefix(x.Kind, "qemu.") && x.Kind != "qemu.error" && (x.Evidence[0].Side != report.SideFrom || x.Evidence[len(x.Evidence)-1].Side != report.SideTo) {
			t.Errorf("the first change lacks evidence of a side: %+v", x.Evidence)
		}
		// The sentence of the verdict may name what only the second run has.
		if !strings.Contains(c.Headline, strings.TrimSuffix(x.Summary, ".")) && (x.From != "" || !strings.Contains(c.Headline, strings.TrimSuffix(f.ToBecause[:min(len(f.ToBecause), 100)], "."))) {
			t.Errorf("the headline %q lacks %q", c.Headline, x.Summary)
		}
		return
	}
	t.Errorf("%s did not flip; headline %q", p.Condition, c.Headline)
}

// mirrored exchanges the sides of c.
func mirrored(c *report.Comparison) *report.Comparison {
	m := *c
	m.From, m.To = c.To, c.From
	m.Flips, m.Mechanisms = mirrorFlips(c.Flips), mirrorFlips(c.Mechanisms)
	m.Changes = mirrorChanges(c.Changes)
	return &m
}

func mirrorFlips(fs []report.Flip) []report.Flip {
	var out []report.Flip
	for _, f := range fs {
		f.From, f.To = f.To, f.From
		f.FromBecause, f.ToBecause = f.ToBecause, f.FromBecause
		f.NewlyReached, f.NoLongerReached = f.NoLongerReached, f.NewlyReached
		f.Evidence, f.Changes = mirrorEvidence(f.Evidence), mirrorChanges(f.Changes)
		out = append(out, f)
	}
	return out
}

func mirrorChanges(cs []report.Change) []report.Change {
	var out []report.Change
	for _, c := range cs {
		c.From, c.To = c.To, c.From
		c.Evidence = mirrorEvidence(c.Evidence)
		out = append(out, c)
	}
	return out
}

// mirrorEvidence keeps the first run's evidence first.
func mirrorEvidence(ev []report.SideEvidence) []report.SideEvidence {
	var from, to []report.SideEvidence
	for _, e := range ev {
		if e.Side == report.SideTo {
			e.Side = report.SideFrom
			from = append(from, e)
		} else {
			e.Side = report.SideTo
			to = append(to, e)
		}
	}
	return append(from, to...)
}

// unworded takes the sentences out, which have a direction.
func unworded(c *report.Comparison) {
	c.Headline, c.Notes = "", nil
	clear := func(cs []report.Change) {
		for i := range cs {
			cs[i].Summary, cs[i].Diff = "", ""
		}
	}
	clear(c.Changes)
	for _, fs := range [][]report.Flip{c.Flips, c.Mechanisms} {
		for i := range fs {
			clear(fs[i].Changes)
		}
	}
}

// TestRegressed holds that a failure of what passed before, with its work done,
// is no progress, also where another condition was mended.
func TestRegressed(t *testing.T) {
	set, _ := catalogue(t)
	for _, p := range []struct{ from, to, condition string }{
		// A had sudo missing and its volumes made; B has no disk that it knows.
		{"sudo-missing", "disk-driver-missing", "vm.lvm"},
		{"sudo-missing", "disk-driver-missing", "vm.unit-inactive"},
		{"no-dhcp", "disko-error", "vm.lvm"},
	} {
		c := Two(read(t, filepath.Join(runs, p.from, "artifacts")), read(t, filepath.Join(runs, p.to, "artifacts")), set)
		met := false
		for _, f := range c.Flips {
			if f.Condition == p.condition {
				met = true
				if f.From != report.Pass || f.To != report.Fail || f.NewlyReached {
					t.Errorf("%s to %s: %+v", p.from, p.to, f)
				}
			}
		}
		if !met {
			t.Errorf("%s to %s: %s did not flip", p.from, p.to, p.condition)
		}
	}
}
