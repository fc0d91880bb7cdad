package analyzertest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Line is a line that the pattern named Re matches, or that it nearly does.
type Line = struct {
	Re    string
	Match bool
	Line  string
}

// Lines holds that every pattern has a line that it matches and one that it
// nearly does, and that it tells them apart.
func Lines(t *testing.T, patterns map[string]*regexp.Regexp, lines []Line) {
	t.Helper()
	tried := map[string][2]bool{}
	for _, l := range lines {
		if patterns[l.Re].MatchString(l.Line) != l.Match {
			t.Errorf("%s on %q: want %v", l.Re, l.Line, l.Match)
		}
		was := tried[l.Re]
		tried[l.Re] = [2]bool{was[0] || l.Match, was[1] || !l.Match}
	}
	for name := range patterns {
		if tried[name] != [2]bool{true, true} {
			t.Errorf("%s lacks a line that matches or one that nearly does", name)
		}
	}
}

// Pair is a pattern with a line that matches and one that nearly does.
type Pair = struct {
	Re      interface{ MatchString(string) bool }
	Yes, No string
}

// Pairs holds that each pattern tells its two lines apart.
func Pairs(t *testing.T, pairs []Pair) {
	t.Helper()
	for _, p := range pairs {
		if !p.Re.MatchString(p.Yes) {
			t.Errorf("%v does not match %q", p.Re, p.Yes)
		}
		if p.Re.MatchString(p.No) {
			t.Errorf("%v matches %q", p.Re, p.No)
		}
	}
}

// Seed adds the files of every testdata/*.txtar to a fuzz target that takes
// one text.
func Seed(f *testing.F) {
	f.Helper()
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			f.Add(string(file.Data))
		}
	}
}

// Sound runs a on one artifact and holds that it does not fail inside, and
// that all evidence lies in the artifact. It returns what was told of it.
func Sound(t *testing.T, a *analyzers.Analyzer, kind bundle.Kind, data []byte) []bundle.Problem {
	t.Helper()
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x", kind, data)}}
	facts := analyzers.Analyze(run, []*analyzers.Analyzer{a}, nil)
	for _, p := range run.Problems {
		if strings.Contains(p.Text, "internal error:") {
			t.Fatal(p.Text)
		}
	}
	for _, f := range facts.All() {
		for _, e := range f.Evidence {
			if e.Start < 0 || e.End < e.Start || e.End > int64(len(data)) || e.Line < 1 {
				t.Fatalf("%s: evidence %+v of %d bytes", f.Name, e, len(data))
			}
		}
	}
	return run.Problems
}
