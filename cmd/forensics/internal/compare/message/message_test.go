package message

import (
	"os"
	"path/filepath"
	"sync"
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

// params are those of the program's first profile.
var params = sync.OnceValues(func() (analyzers.Params, error) {
	profiles, err := rules.Profiles()
	if err != nil {
		return nil, err
	}
	return profiles[0].Params, nil
})

// collectRun runs Collect beside all analyzers, as the program does.
func collectRun(t testing.TB, run *bundle.Run) *Set {
	t.Helper()
	return collectBeside(t, run, all.List)
}

func collectBeside(t testing.TB, run *bundle.Run, list []*analyzers.Analyzer) *Set {
	t.Helper()
	params, err := params()
	if err != nil {
		t.Fatal(err)
	}
	var set *Set
	a := &analyzers.Analyzer{Name: "message", Doc: "Collects.", Requires: Requires, Run: func(p *analyzers.Pass) (any, error) {
		set = Collect(p)
		return nil, nil
	}}
	analyzers.Analyze(run, append(append([]*analyzers.Analyzer(nil), list...), a), params)
	if set == nil {
		t.Fatal(run.Problems)
	}
	return set
}
