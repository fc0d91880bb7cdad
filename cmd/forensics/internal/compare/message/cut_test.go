package message

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"forensics/analyzers/bundle"
)

// TestCut holds that half a line, where a transcript was cut, is no message that
// the whole transcript lacks, wherever the cut is.
func TestCut(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(recorded, "healthy-stdio", "artifacts", "serial.log"))
	if err != nil {
		t.Fatal(err)
	}
	set := func(data []byte) *Set {
		runs, problems := bundle.Find(fstest.MapFS{"serial.log": &fstest.MapFile{Data: data}}, "run")
		if len(runs) != 1 {
			t.Fatalf("%d runs (%v)", len(runs), problems)
		}
		return collectRun(t, runs[0])
	}
	whole := set(data)
	halves := 0
	for at := len(data) / 8; at < len(data); at += len(data)/40 + 1 {
		if bytes.HasSuffix(data[:at], []byte("\n")) {
			continue
		}
		halves++
		diffs, _ := Compare(whole, set(data[:at]))
		for _, d := range diffs {
			if d.Side == To {
				t.Errorf("cut at byte %d: new is %q", at, d.Text)
			}
		}
	}
	if halves < 20 {
		t.Errorf("%d cuts within lines", halves)
	}
}
