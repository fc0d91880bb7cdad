package message

import (
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"forensics/analyzers/bundle"
)

// fuzzed are the kinds of artifact that messages are read from.
var fuzzed = []bundle.Kind{bundle.Serial, bundle.Journal, bundle.Dmesg, bundle.Capture, bundle.Harness, bundle.BuildLog, bundle.Unknown, bundle.Probe}

// maxSeed keeps the seeds short enough for many of them a second.
const maxSeed = 6 << 10

// FuzzCollect: whatever the bytes, messages have evidence within them, are
// bounded, and are the same each time.
func FuzzCollect(f *testing.F) {
	for _, run := range []string{"healthy-stdio", "healthy-socket", "panic-stage2", "detector-crash", "sudo-missing"} {
		files, err := filepath.Glob(filepath.Join(recorded, run, "artifacts", "*.*"))
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: no artifacts: %v", run, err)
		}
		for i, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), data[:min(len(data), maxSeed)])
			f.Add(uint8(i), data[max(0, len(data)-maxSeed):])
		}
	}
	f.Add(uint8(1), []byte("Oct 08 13:58:01 nixos d[8]: Traceback (most recent call last):\nOct 08 13:58:01 nixos d[8]:   File \"x\", line 9, in f\nOct 08 13:58:01 nixos d[8]:     f()\nOct 08 13:58:01 nixos d[8]: OSError: [Errno 22] no\n"))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		run := func() *bundle.Run {
			return &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("a", fuzzed[int(kind)%len(fuzzed)], data)}}
		}
		set := collectBeside(t, run(), nil)
		for _, e := range set.entries {
			if len(e.Template) > 4*maxLine || len(e.Text) > 4*maxText || len(e.Evidence) == 0 || len(e.Evidence) > 2 || e.Count < 1 {
				t.Errorf("%+v", e.Message)
			}
			for _, ev := range e.Evidence {
				if ev.Path != "a" || ev.Start < 0 || ev.End < ev.Start || ev.End > int64(len(data)) || ev.Line < 1 {
					t.Errorf("%q: evidence %+v of %d bytes", e.Template, ev, len(data))
				}
			}
		}
		again := collectBeside(t, run(), nil)
		if d := gocmp.Diff(messages(set), messages(again)); d != "" {
			t.Errorf("differs the second time: %s", d)
		}
		if diffs, folded := Compare(set, again); len(diffs) > 0 || len(folded) > 0 {
			t.Errorf("differs from itself: %q", stated(diffs, folded))
		}
		mirrored(t, set, newSet())
	})
}

func messages(s *Set) []Message {
	var ms []Message
	for _, e := range s.entries {
		ms = append(ms, e.Message)
	}
	return ms
}
