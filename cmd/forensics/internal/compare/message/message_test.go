package message

import (
	"os"
	"path/filepath"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/rules"
)

const recorded = "../../../../../corpus/testimage-runs"

// collect returns the messages of the one run in dir.
func collect(t testing.TB, dir string) *Set {
	t.Helper()
	runs, problems := bundle.Find(os.DirFS(dir), filepath.Base(dir))
	if len(runs) != 1 {
		t.Fatalf("%s: %d runs, want 1 (%v)", dir, len(runs), problems)
	}
	return collectRun(t, runs[0])
}

func collectRun(t testing.TB, run *bundle.Run) *Set {
	t.Helper()
	var set *Set
	a := &analyzers.Analyzer{Name: "message", Doc: "Collects.", Requires: Requires, Run: func(p *analyzers.Pass) (any, error) {
		set = Collect(p)
		return nil, nil
	}}
	profiles, err := rules.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	analyzers.Analyze(run, append(append([]*analyzers.Analyzer(nil), all.List...), a), profiles[0].Params)
	if set == nil {
		t.Fatal(run.Problems)
	}
	return set
}
