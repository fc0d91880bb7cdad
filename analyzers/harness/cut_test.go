package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/shell"
)

// TestCutRecordings: a transcript that ends too early never makes shell or
// harness state what the whole one does not, whatever the log beside it says.
func TestCutRecordings(t *testing.T) {
	dirs, _ := filepath.Glob("../../corpus/testimage-runs/*/artifacts")
	if len(dirs) == 0 {
		t.Skip("no recordings")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) { cutRecording(t, dir) })
	}
}

func cutRecording(t *testing.T, dir string) {
	runs, _ := bundle.Find(os.DirFS(dir), "run")
	if len(runs) != 1 || runs[0].Artifact("serial.log") == nil {
		t.Skip("no transcript")
	}
	data, err := runs[0].Artifact("serial.log").Bytes()
	if err != nil {
		t.Fatal(err)
	}
	whole := stated(runs[0], data)
	for _, n := range cuts(data) {
		for f, last := range stated(runs[0], data[:n]) {
			if _, ok := whole[f]; !ok && !last {
				t.Errorf("cut at %d of %d: %s", n, len(data), f)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// cuts are the ends of the lines around each switch of bracketed paste, where
// dialogue happens, and 40 other places; one of three of them, fewer when tests
// must be quick.
func cuts(data []byte) (ns []int) {
	near, at := 0, 0
	for line := range bytes.Lines(data) {
		at += len(line)
		if near--; bytes.Contains(line, []byte("\x1b[?2004")) {
			near = 2
		}
		if near >= 0 {
			ns = append(ns, at)
		}
	}
	for i := range 40 {
		ns = append(ns, min(len(data), len(data)*i/40+i%7))
	}
	step := 3
	if testing.Short() {
		step = 20
	}
	var some []int
	for i := 0; i < len(ns); i += step {
		some = append(some, ns[i])
	}
	return some
}

// stated returns the facts about the run with data for its transcript, and
// whether each stands on the last line of that.
func stated(run *bundle.Run, data []byte) map[string]bool {
	cut := *run
	cut.Problems = nil
	cut.Artifacts = slices.Clone(run.Artifacts)
	for i, a := range cut.Artifacts {
		if a.Path == "serial.log" {
			cut.Artifacts[i] = bundle.NewArtifact(a.Path, bundle.Serial, data)
		}
	}
	end := int64(bytes.LastIndexByte(bytes.TrimRight(data, "\r\n"), '\n'))
	params := analyzers.Params{"parts": {"sudo=sudo", "disko=disko", "lvm2=vgs|lvs|pvs", "iproute2=ip"}}
	facts := map[string]bool{}
	for _, f := range analyzers.Analyze(&cut, []*analyzers.Analyzer{shell.Analyzer, Analyzer}, params).All() {
		last := slices.ContainsFunc(f.Evidence, func(e bundle.Evidence) bool { return e.Path == "serial.log" && e.Start > end })
		facts[strings.Join([]string{f.Name, f.Subject, f.Value}, " ")] = last
	}
	return facts
}
