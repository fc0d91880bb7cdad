package analyzers

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"forensics/analyzers/bundle"
)

// TestAnalyze holds that each analyzer runs once, behind those that it requires
// and with their results, no more at a time than there are processors, and that
// facts and problems stand in the order of the list.
func TestAnalyze(t *testing.T) {
	var running, most, runs atomic.Int32
	made := map[string]*Analyzer{}
	analyzer := func(name, requires string) *Analyzer {
		a := &Analyzer{Name: name, Doc: "Tests.", Facts: []FactType{{Name: name, Doc: "It ran."}}}
		for _, r := range strings.Fields(requires) {
			a.Requires = append(a.Requires, made[r])
		}
		a.Run = func(p *Pass) (any, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
			}
			runs.Add(1)
			runtime.Gosched()
			if name == "broken" {
				return nil, errors.New("torn")
			}
			below := 0
			for _, r := range a.Requires {
				n, ok := p.ResultOf[r].(int)
				if !ok {
					return nil, fmt.Errorf("no result of %s", r.Name)
				}
				below += n
			}
			p.State(name, "", fmt.Sprint(below), bundle.Evidence{Path: "x"})
			return below + 1, nil
		}
		made[name] = a
		return a
	}
	analyzer("root", "")
	analyzer("left", "root")
	analyzer("right", "root")
	list := []*Analyzer{
		analyzer("alone", ""), analyzer("top", "left right"), analyzer("broken", "root"), analyzer("above", "broken left"), analyzer("far", "top root"),
	}
	for range 20 {
		runs.Store(0)
		run := &bundle.Run{}
		var got []string
		for _, f := range Analyze(run, list, nil).All() {
			got = append(got, f.Name+"="+f.Value)
		}
		if want := []string{"alone=0", "root=0", "left=1", "right=1", "top=4", "far=6"}; !slices.Equal(got, want) {
			t.Errorf("facts are %v, not %v", got, want)
		}
		want := []string{"analyzer broken failed: torn; what it would show stays unknown", "analyzer above did not run: needs broken"}
		got = nil
		for _, p := range run.Problems {
			got = append(got, p.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("problems are %q, not %q", got, want)
		}
		if n := runs.Load(); n != 7 {
			t.Errorf("%d runs of 7 analyzers that can run", n)
		}
	}
	if n := int(most.Load()); n > runtime.GOMAXPROCS(0) {
		t.Errorf("%d at a time", n)
	}
}
