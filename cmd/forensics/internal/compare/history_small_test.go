package compare

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"golang.org/x/tools/txtar"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
)

// pastExpectation is what a history of small runs must say, written by hand.
// Runs are named by their directories.
type pastExpectation struct {
	// Order is not looked at when empty; Turns and Groups are where they stand.
	Order  []string // "started boots/a", "running boots/b", "named boots/c"
	Turns  []string // all of them: "vm.lvm a fail b: " and the start of the first change
	Groups []string // all of them: "vm.lvm a b: " and the start of the reason
	// Evidence is "vm.lvm b: from a/qemu.log": a place of the first change.
	Evidence []string
}

// TestSmallHistory reads the runs below boots/ in each file of testdata/history.
func TestSmallHistory(t *testing.T) {
	cases(t, "testdata/history", func(t *testing.T, want *pastExpectation, dir string) {
		set, profile := catalogue(t)
		found, _ := bundle.Find(os.DirFS(dir), "")
		var sides []*Side
		for _, r := range found {
			sides = append(sides, Read(r, set, profile))
		}
		want.check(t, All("", sides, set))
	})
}

// cases tests each file of a directory, with what it wants and where its files
// were written to.
func cases[W any](t *testing.T, from string, test func(t *testing.T, want *W, dir string)) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(from, "*.txtar"))
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			var want W
			dir := unpack(t, f, &want)
			test(t, &want, dir)
		})
	}
}

// unpack writes the files of a case to a directory, and decodes what it wants.
func unpack(t *testing.T, file string, want any) (dir string) {
	t.Helper()
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, f := range ar.Files {
		if f.Name == "want.yaml" {
			d := yaml.NewDecoder(bytes.NewReader(f.Data))
			d.KnownFields(true)
			if err := d.Decode(want); err != nil {
				t.Fatal(err)
			}
			continue
		}
		name := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		data := strings.NewReplacer(`\e`, "\x1b", `\r`, "\r").Replace(string(f.Data))
		if err := os.WriteFile(name, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (want *pastExpectation) check(t *testing.T, h *report.History) {
	t.Helper()
	names := func(runs []int) string {
		var ids []string
		for _, i := range runs {
			ids = append(ids, h.Runs[i].ID)
		}
		return strings.Join(ids, " ")
	}
	words := map[string]string{report.FromHost: "started", report.FromGuest: "running", report.FromName: "named"}
	var order, turns, groups []string
	for i := range h.Runs {
		order = append(order, strings.TrimSpace(words[h.Runs[i].StartedFrom]+" "+h.Runs[i].ID))
	}
	at := map[string]bool{}
	for i := range h.Turns {
		x := &h.Turns[i]
		s := fmt.Sprintf("%s %s %s %s: ", x.Condition, h.Runs[x.Before].ID, x.To, h.Runs[x.Run].ID)
		if len(x.Changes) > 0 {
			s += x.Changes[0].Summary
			for _, e := range x.Changes[0].Evidence {
				at[fmt.Sprintf("%s %s: %s %s", x.Condition, h.Runs[x.Run].ID, e.Side, e.Path)] = true
			}
		}
		turns = append(turns, s)
	}
	for i := range h.Groups {
		g := &h.Groups[i]
		groups = append(groups, fmt.Sprintf("%s %s: %s", g.Condition, names(g.Runs), g.Because))
	}
	if d := cmp.Diff(want.Order, order); len(want.Order) > 0 && d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	begin(t, "turns", want.Turns, turns)
	begin(t, "groups", want.Groups, groups)
	for _, e := range want.Evidence {
		if !at[e] {
			t.Errorf("no evidence %q: %v", e, at)
		}
	}
}

// begin holds that got are the wanted ones, each as it begins.
func begin(t *testing.T, what string, want, got []string) {
	t.Helper()
	ok := len(want) == len(got)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok && want != nil {
		t.Errorf("%s: want\n%s\ngot\n%s", what, strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}
