package compare

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"forensics/cmd/forensics/internal/report"
)

// told is a side of which only verdicts are known.
func told(t *testing.T, id string, day int, status, because string) *Side {
	r := report.Run{ID: id, Path: "runs/" + id, Stage: "shell"}
	if day > 0 {
		start := time.Date(2026, 3, day, 10, 0, 0, 0, time.UTC)
		r.Started = &start
	}
	r.Verdicts = []report.Verdict{{Condition: "vm.lvm", Status: status, Because: because}}
	if status == report.Fail {
		r.Causes = []report.Cause{{Condition: "vm.lvm", Because: because}}
	}
	set, profile := catalogue(t)
	return Saved(r, set, profile)
}

func TestHistory(t *testing.T) {
	set, _ := catalogue(t)
	h := All("runs", []*Side{
		told(t, "undated", 0, report.Fail, "Volume group main has insufficient free space (1023 extents): 2048 required."),
		told(t, "d", 4, report.Fail, "Volume group main has insufficient free space (1500 extents): 3000 required."),
		told(t, "a", 1, report.Pass, ""),
		told(t, "c", 3, report.Unknown, ""),
		told(t, "e", 5, report.Fail, "disko: command not found"),
		told(t, "b", 2, report.Pass, ""),
	}, set)
	var order []string
	for _, r := range h.Runs {
		order = append(order, r.ID)
	}
	if d := cmp.Diff([]string{"a", "b", "c", "d", "e", "undated"}, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	for _, r := range h.Rows {
		if r.Condition != "vm.lvm" {
			if r.LastGood != -1 || r.FirstBad != -1 {
				t.Errorf("%s: last good %d, first bad %d", r.Condition, r.LastGood, r.FirstBad)
			}
			continue
		}
		want := report.HistoryRow{Condition: "vm.lvm", Title: r.Title, LastGood: 1, FirstBad: 3,
			Cells: []string{report.Pass, report.Pass, report.Unknown, report.Fail, report.Fail, report.Fail}}
		if d := cmp.Diff(want, r); d != "" {
			t.Errorf("row (-want +got):\n%s", d)
		}
	}
	// The run between leaves it open: the turn is from b to d.
	if len(h.Turns) != 1 || h.Turns[0].Before != 1 || h.Turns[0].Run != 3 || h.Turns[0].From != report.Pass || h.Turns[0].To != report.Fail {
		t.Errorf("turns: %+v", h.Turns)
	}
	if len(h.Groups) != 2 {
		t.Fatalf("groups: %+v", h.Groups)
	}
	// Other numbers, the same failure; the larger group first.
	if d := cmp.Diff([]int{3, 5}, h.Groups[0].Runs); d != "" {
		t.Errorf("first group (-want +got):\n%s", d)
	}
	if g := h.Groups[1]; g.Signature != "vm.lvm: disko: command not found" || !cmp.Equal(g.Runs, []int{4}) {
		t.Errorf("second group: %+v", g)
	}
}

// TestBaseline: what any good run shows is no news, and what the run shows
// alone is.
func TestBaseline(t *testing.T) {
	set, _ := catalogue(t)
	dir := func(name string) *Side { return read(t, filepath.Join(runs, name, "artifacts")) }
	good := []*Side{dir("healthy-stdio"), dir("healthy-socket")}
	c := Baseline("good", good, dir("healthy-slow"), set)
	if len(c.Flips)+len(c.Mechanisms) > 0 {
		t.Errorf("a healthy run flipped: %s", c.Headline)
	}
	alone := Two(good[0], dir("healthy-slow"), set)
	if c.Differences > alone.Differences {
		t.Errorf("%d differences from two good runs, %d from one", c.Differences, alone.Differences)
	}
	c = Baseline("good", good, dir("disko-missing"), set)
	if len(c.Flips) == 0 || c.Flips[0].Condition != "iso.boot-profile" || len(c.Flips[0].Changes) == 0 || c.Flips[0].Changes[0].To != "disko" {
		t.Errorf("headline %q, first flip %+v", c.Headline, c.Flips)
	}
	// Evidence tells which good run shows it, and what the reports say stays.
	for _, f := range c.Flips {
		for _, e := range f.Evidence {
			if e.Side == report.SideFrom && !strings.Contains(e.Path, "/healthy-") {
				t.Errorf("%s: evidence at %s", f.Condition, e.Path)
			}
		}
	}
	for _, v := range good[0].Report.Verdicts {
		for _, e := range v.Evidence {
			if strings.Contains(e.Path, "/healthy-") {
				t.Fatalf("the report's own evidence moved to %s", e.Path)
			}
		}
	}
	// A port differs always; the one that a verdict names matters.
	taken := Baseline("good", good, dir("port-taken"), set)
	if len(taken.Flips) == 0 || len(taken.Flips[0].Changes) == 0 || taken.Flips[0].Changes[0].Kind != "qemu.hostfwd" {
		t.Errorf("the port: headline %q, first flip %+v", taken.Headline, taken.Flips)
	}
	// A QEMU with another serial port than one good run, but as the other's, is
	// no change.
	for _, x := range c.Changes {
		if x.Kind == "qemu.serial" {
			t.Errorf("stated: %s", x.Summary)
		}
	}
}
