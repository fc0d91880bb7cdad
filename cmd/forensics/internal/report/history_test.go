package report

import (
	"io"
	"strings"
	"testing"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/rules"
)

// TestWhen holds which of the times that tell of a run is its own.
func TestWhen(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 3, 4, hour, 0, 0, 0, time.UTC) }
	types := []analyzers.FactType{{Name: "run.started", Repeats: true}, {Name: "boot.dated"}}
	for _, tt := range []struct {
		name           string
		started, named int    // hours, 0 for none
		facts          string // "fact path hour", with commas between
		want           string
	}{
		{"nothing", 0, 0, "", " unknown"},
		{"a name is no start", 0, 3, "", "named 03"},
		{"the guest before the name", 0, 3, "boot.dated journal.log 5", "running 05"},
		{"the host before the guest", 4, 3, "boot.dated journal.log 2", "started 04"},
		{"the host's first", 4, 3, "run.started harness.log 6, run.started metadata.json 2", "started 02"},
		{"a log that the bundle cannot date", 0, 3, "run.started harness.log 6", "started 06"},
		{"what the guest printed is not the host's", 0, 3, "run.started serial.log 2", "named 03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := &bundle.Run{ID: "id"}
			for name, kind := range map[string]bundle.Kind{"harness.log": bundle.Harness, "metadata.json": bundle.Metadata, "serial.log": bundle.Serial, "journal.log": bundle.Journal} {
				run.Artifacts = append(run.Artifacts, bundle.NewArtifact(name, kind, nil))
			}
			if tt.started > 0 {
				run.Started = at(tt.started)
			}
			if tt.named > 0 {
				run.Named = at(tt.named)
			}
			facts := analyzers.NewFacts(types)
			for f := range strings.SplitSeq(tt.facts, ", ") {
				if w := strings.Fields(f); len(w) == 3 {
					value := "2026-03-04T0" + w[2] + ":00:00Z"
					if err := facts.Add(&analyzers.Fact{Name: w[0], Value: value, Evidence: []bundle.Evidence{{Path: w[1], Quote: value}}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			r := Build(run, facts, &rules.Outcome{}, "example", false)
			word, got := seen(r.Started, r.StartedFrom)
			if r.Started != nil {
				got = r.Started.Format("15")
			}
			if word+" "+got != tt.want {
				t.Errorf("%s %s, want %s", word, got, tt.want)
			}
		})
	}
}

// TestTimesOfRuns: every format says what a run's time is worth.
func TestTimesOfRuns(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, tt := range []struct{ from, table, sentence string }{
		{FromHost, "started 2026-03-04 05:06:07", "started 2026-03-04 05:06:07 UTC"},
		{"", "started 2026-03-04 05:06:07", "started 2026-03-04 05:06:07 UTC"}, // of an older version
		{FromGuest, "running 2026-03-04 05:06:07", "running at 2026-03-04 05:06:07 UTC"},
		{FromName, "named 2026-03-04 05:06:07", "named 2026-03-04 05:06:07 UTC"},
		{"\x1b[2J", "started 2026-03-04 05:06:07", "started 2026-03-04 05:06:07 UTC"},
	} {
		run := Run{ID: "a", Path: "boots/a", Started: &at, StartedFrom: tt.from, Stage: "shell"}
		r := reportOf(run, run)
		r.History = &History{Runs: []HistoryRun{{ID: "a", Path: "boots/a", Started: &at, StartedFrom: tt.from, Stage: "shell"}}}
		text := func(write func(io.Writer, *Report, Options) error) string {
			s := render(t, func(w io.Writer) error { return write(w, r, Options{Width: 100}) })
			return strings.Join(strings.Fields(strings.ReplaceAll(s, "|", " ")), " ")
		}
		for name, c := range map[string]struct{ text, want string }{
			"history":           {text(WriteHistoryText), tt.table},
			"history, Markdown": {text(WriteHistoryMarkdown), tt.table},
			"runs":              {text(WriteText), tt.sentence},
			"runs, Markdown":    {text(WriteMarkdown), tt.sentence},
			"table, Markdown":   {text(WriteMarkdown), tt.table},
		} {
			if !strings.Contains(c.text, c.want) {
				t.Errorf("%s, from %q: no %q in\n%s", name, tt.from, c.want, c.text)
			}
		}
		json := render(t, func(w io.Writer) error { return WriteJSON(w, r) })
		if n := strings.Count(json, `"started_from": "`+strings.TrimPrefix(tt.from, "\x1b[2J")); n != 3 {
			t.Errorf("JSON has started_from %q %d times, want 3", tt.from, n)
		}
	}
}

// TestFolded: turns between the same runs with the same first change stand in
// one line, others do not, and verbose ones each for itself.
func TestFolded(t *testing.T) {
	turn := func(id string, before, run int, from, to, change string) Turn {
		f := flip(id, from, to, "was so", "is so")
		if change != "" {
			f.Changes = []Change{{Kind: "unit.error", Summary: change}}
		}
		return Turn{Before: before, Run: run, Flip: f}
	}
	r := reportOf(passed())
	r.History = &History{Runs: make([]HistoryRun, 3), Turns: []Turn{
		turn("iso.unit", 0, 1, Pass, Fail, "the error is x"),
		turn("vm.root-shell", 0, 1, Fail, Pass, "the error is x"),
		turn("vm.lan-dhcp", 0, 1, Pass, Fail, "the error is y"),
		turn("vm.lvm", 0, 1, Pass, Fail, "the error is x"),
		turn("vm.clock", 1, 2, Pass, Fail, "the error is x"),
		turn("vm.serial", 1, 2, Pass, Fail, ""),
		turn("vm.entropy", 1, 2, Pass, Fail, ""),
	}}
	text := func(write func(io.Writer, *Report, Options) error, verbose bool) string {
		return render(t, func(w io.Writer) error { return write(w, r, Options{Width: 200, Verbose: verbose}) })
	}
	want := `  iso.unit, vm.lvm: pass in 1, fail in 2: the error is x
  vm.root-shell: fail in 1, pass in 2: the error is x
  vm.lan-dhcp: pass in 1, fail in 2: the error is y
  vm.clock: pass in 2, fail in 3: the error is x
  vm.serial, vm.entropy: pass in 2, fail in 3: ` + unexplained + "\n"
	if got := text(WriteHistoryText, false); !strings.HasSuffix(got, want) {
		t.Errorf("want at the end\n%s\ngot\n%s", want, got)
	}
	if got := text(WriteHistoryMarkdown, false); !strings.Contains(got, "\n- `iso.unit`, `vm.lvm`: pass in 1, fail in 2: the error is x\n- `vm.root-shell`: fail") {
		t.Errorf("Markdown:\n%s", got)
	}
	if got := text(WriteHistoryText, true); !strings.Contains(got, "\n  vm.lvm: pass in 1, fail in 2\n") {
		t.Errorf("verbose:\n%s", got)
	}
}
