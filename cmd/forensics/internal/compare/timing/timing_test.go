package timing

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

const (
	recordings = "../../../../../corpus/testimage-runs"
	bootLogs   = "../../../../../docs/boot-logs"
)

var params = analyzers.Params{"unit": {"pre-nixos.service"}, "unit-description": {"Pre-NixOS setup"}}

// collect reads a run. Problems that it tells itself come second.
func collect(t testing.TB, run *bundle.Run) (*Times, []bundle.Problem) {
	t.Helper()
	var ts *Times
	before := 0
	a := &analyzers.Analyzer{
		Name: "timing", Doc: "Collects times.", Requires: Requires,
		Run: func(p *analyzers.Pass) (any, error) {
			before = len(run.Problems)
			ts = Collect(p)
			return nil, nil
		},
	}
	analyzers.Analyze(run, []*analyzers.Analyzer{a}, params)
	if ts == nil {
		t.Fatalf("%s: %v", run.Path, run.Problems)
	}
	check(t, run, ts)
	return ts, run.Problems[before:]
}

// check holds what is true of any times.
func check(t testing.TB, run *bundle.Run, ts *Times) {
	t.Helper()
	for _, s := range slices.Concat(ts.Stages(), ts.Spans) {
		if !(s.Seconds >= 0 && s.Seconds <= maxSeconds) || len(s.Evidence) == 0 || s.Subject == "" || s.Open && s.Until != "" {
			t.Errorf("%s: %+v", run.Path, s)
		}
		for _, e := range s.Evidence {
			a := run.Artifact(e.Path)
			if a == nil || e.Start < 0 || e.End < e.Start || e.End > a.Size || e.Line < 1 {
				t.Errorf("%s: evidence %+v", run.Path, e)
			}
		}
	}
}

// load reads the one run in dir.
func load(t testing.TB, dir string) *Times {
	t.Helper()
	runs, _ := bundle.Find(os.DirFS(dir), path.Base(dir))
	if len(runs) != 1 {
		t.Fatalf("%s: %d runs", dir, len(runs))
	}
	ts, problems := collect(t, runs[0])
	if len(problems) > 0 {
		t.Errorf("%s: %v", dir, problems)
	}
	return ts
}

// recorded are the recordings that were read: many tests compare them, and
// nothing changes Times.
var recorded = map[string]*Times{}

func recording(t testing.TB, name string) *Times {
	if recorded[name] == nil {
		recorded[name] = load(t, path.Join(recordings, name, "artifacts"))
	}
	return recorded[name]
}

// show writes a span as the expectations do.
func show(s *Span) string {
	how := ""
	switch {
	case s.Open:
		how = " open"
	case s.Failed:
		how = " failed"
	}
	until := ""
	if s.What == Stage && s.Until != "" {
		until = " until " + s.Until
	}
	return fmt.Sprintf("%s %s %s%s %.3f%s", s.Clock, s.What, s.Subject, until, s.Seconds, how)
}

func all(ts *Times) []string {
	var ls []string
	for _, s := range slices.Concat(ts.Stages(), ts.Spans) {
		ls = append(ls, show(&s))
	}
	return ls
}

// What stands in the artifacts, subtracted by hand.
func TestRecordings(t *testing.T) {
	for name, want := range map[string]string{
		"healthy-stdio": `
kernel stage kernel until stage-1 2.547
kernel stage stage-1 until systemd 7.533
harness stage none until login-prompt 38.687
harness stage login-prompt until shell 4.859
harness stage shell 17.160 open
metadata stage none until login-prompt 38.688
guest unit pre-nixos.service 15.000
kernel silence kernel 0.632
kernel silence stage-1 2.609
guest silence pre-nixos.service 3.000`,
		// The harness drained the console when it gave up: its log tells of no
		// stage, only that nothing came for 240 s.
		"stage1-hang":     `harness stage none 240.100 open`,
		"panic-stage2":    `harness stage none 60.043 open`,
		"panic-memory":    `harness stage none 60.050 open`,
		"disk-locked":     `harness stage none 0.131 open`,
		"iso-absent":      ``,
		"observer-missed": "harness stage none until login-prompt 26.521\nharness stage login-prompt 60.055 open\nmetadata stage none until login-prompt 26.524",
		"unit-deadlock": `
kernel stage kernel until stage-1 3.613
kernel stage stage-1 until systemd 8.766
harness stage none until login-prompt 41.076
harness stage login-prompt until shell 4.713
harness stage shell 145.377 open
metadata stage none until login-prompt 41.078
guest unit pre-nixos.service 141.000 open
kernel silence kernel 0.813
kernel silence stage-1 3.206
guest silence pre-nixos.service 3.000`,
		"disk-sda": `
kernel stage kernel until stage-1 1.932
kernel stage stage-1 until systemd 5.173
harness stage none until login-prompt 25.484
harness stage login-prompt until shell 1.782
harness stage shell 5.530 open
metadata stage none until login-prompt 25.487
guest unit pre-nixos.service 2.000 failed
kernel silence kernel 0.294
kernel silence stage-1 1.912
guest silence pre-nixos.service 1.000`,
	} {
		got := strings.Join(all(recording(t, name)), "\n")
		if d := cmp.Diff(strings.TrimPrefix(want, "\n"), got); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

// healthy are the recordings in which nothing was broken.
var healthy = []string{"healthy-slow", "healthy-stdio", "healthy-socket", "healthy-tty0-console", "observer-echo", "observer-behind"}

// Good runs are no news to each other, one by one and against all others.
func TestHealthy(t *testing.T) {
	var runs []*Times
	for _, name := range healthy {
		runs = append(runs, recording(t, name))
	}
	for i, a := range runs {
		for j, b := range runs {
			for _, c := range Compare(a, b) {
				t.Errorf("%s against %s: %s", healthy[i], healthy[j], c.Summary)
			}
		}
		others := slices.Delete(slices.Clone(runs), i, i+1)
		for _, f := range Expect(others).Late(a) {
			t.Errorf("%s against the others: %s", healthy[i], f.Change().Summary)
		}
	}
}

// What is late in faulty runs, against all healthy ones together.
func TestFaulty(t *testing.T) {
	var good []*Times
	for _, name := range healthy {
		good = append(good, recording(t, name))
	}
	e := Expect(good)
	dirs, err := fs.ReadDir(os.DirFS(recordings), ".")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"stage1-hang":     {"boot until the first prompt took at least 240 s (27 to 39 s in 6 runs), standing in stage-1, after: starting device mapper and LVM..."},
		"observer-missed": {"login-prompt took at least 60 s (1.6 to 4.9 s in 6 runs), after: LAN IPv4 address: 10.0.2.15"},
		"unit-deadlock":   {"start of pre-nixos.service took at least 141 s (7.0 to 31 s in 6 runs)"},
	}
	for _, d := range dirs {
		if !d.IsDir() {
			continue
		}
		var got []string
		for _, f := range e.Late(recording(t, d.Name())) {
			got = append(got, f.Change().Summary)
		}
		if d := cmp.Diff(want[d.Name()], got); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	}
}

// The runs of a flat directory. The two healthy ones are the same boot as
// healthy-stdio, and one whose artifacts lack the harness's log.
func TestBootLogs(t *testing.T) {
	runs, _ := bundle.Find(os.DirFS(bootLogs), "boot-logs")
	want := map[string]string{
		"2026-11-23T07-01-29Z": "harness stage none 0.122 open",
		"2026-11-23T07-07-01Z": "kernel stage kernel until stage-1 3.613\nkernel stage stage-1 until systemd 8.766\nmetadata stage none until login-prompt 41.078\nguest unit pre-nixos.service 141.000 open\nkernel silence kernel 0.813\nkernel silence stage-1 3.206\nguest silence pre-nixos.service 3.000",
		"2026-11-23T07-23-37Z": "",
	}
	for _, r := range runs {
		ts, problems := collect(t, r)
		if len(problems) > 0 {
			t.Error(problems)
		}
		if w, ok := want[r.ID]; ok {
			delete(want, r.ID)
			if d := cmp.Diff(w, strings.Join(all(ts), "\n")); d != "" {
				t.Errorf("%s: -want +got\n%s", r.ID, d)
			}
		}
	}
	for id := range want {
		t.Errorf("no run %s", id)
	}
}

// archive makes a run of a txtar archive.
func archive(t testing.TB, text string) *bundle.Run {
	t.Helper()
	run, err := analyzertest.Bundle(txtar.Parse([]byte(text)))
	if err != nil {
		t.Fatal(err)
	}
	return run
}
