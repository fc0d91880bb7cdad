package boot

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/network"
	"forensics/analyzers/storage"
	"forensics/analyzers/units"
)

// everyLine cuts long recordings at each line; it takes minutes.
var everyLine = flag.Bool("every-line", false, "cut long recordings at every line")

// recordings are the project's own runs.
const recordings = "../../corpus/testimage-runs"

var params = analyzers.Params{
	"unit": {"pre-nixos.service"}, "interface": {"lan"}, "vg": {"main"}, "lv": {"slash"}, "disk": {"/dev/vda"},
	"status-file": {"/run/pre-nixos/storage-status"}, "address-notice": {"LAN IPv4 address:"},
}

// patience is from how many vain questions on rules say that a wait was given
// up.
const patience = 4

// bad reports whether a fact says that something failed, is absent or blocked.
func bad(f *analyzers.Fact) bool {
	switch f.Name {
	case "unit.active":
		return f.Value == "failed"
	case "unit.result":
		return f.Value != "success"
	case "lvm.vg", "lvm.lv":
		return f.Value == "absent"
	case "unit.waited", "net.empty-polls", "storage.empty-polls":
		n, _ := strconv.Atoi(f.Value)
		return n >= patience
	}
	return slices.Contains([]string{"unit.error", "unit.error-in", "unit.lacks-command", "unit.lacks-unit", "unit.blocked", "storage.nothing-applied", "storage.command-failed", "disk.signature", "disk.prepared", "net.absent", "net.failed", "disk.list"}, f.Name)
}

func statements(t *testing.T, fsys fs.FS) map[string]bool {
	t.Helper()
	runs, _ := bundle.Find(fsys, "run")
	said := map[string]bool{}
	for _, r := range runs {
		facts := analyzers.Analyze(r, []*analyzers.Analyzer{Analyzer, units.Analyzer, storage.Analyzer, network.Analyzer}, params)
		for _, p := range r.Problems {
			if strings.HasPrefix(p.Text, "analyzer ") {
				t.Error(p.Text)
			}
		}
		for _, f := range facts.All() {
			if bad(f) {
				said[f.Name+" "+f.Subject+" = "+f.Value] = true
			}
		}
	}
	return said
}

// A recording that ends early shows less, but never a failure that the whole
// does not show.
func TestTruncated(t *testing.T) {
	runs, err := fs.Glob(os.DirFS(recordings), "healthy-*/artifacts")
	if err != nil || len(runs) == 0 {
		t.Skip("no recordings")
	}
	for _, dir := range runs {
		fsys := os.DirFS(path.Join(recordings, dir))
		whole := statements(t, fsys)
		err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), "harness") {
				return err
			}
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			t.Run(path.Join(dir, name), func(t *testing.T) { truncate(t, d.Name(), data, whole) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func truncate(t *testing.T, name string, data []byte, whole map[string]bool) {
	lines := bytes.SplitAfter(data, []byte("\n"))
	end := 0
	for i, l := range lines {
		end += len(l)
		if !*everyLine && len(lines) > 100 && i%11 != 0 {
			continue
		}
		for said := range statements(t, fstest.MapFS{name: {Data: data[:end]}}) {
			if !whole[said] {
				t.Errorf("cut behind line %d: %s", i+1, said)
			}
		}
	}
}
