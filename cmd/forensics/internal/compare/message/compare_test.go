package message

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"forensics/analyzers/analyzertest"
)

// TestCompare compares the runs a and b of each testdata/*.txtar. Its comment
// says what differs:
//
//	want SIDE CLASS error|other COUNT [SOURCE] TEMPLATE @ PATH:LINE LINE... after PATH:LINE
//
// where the last is in the run that does not have the message,
//
//	folded CLASS SIDE COUNT
//
// Anything else fails the case, and so does the other order of the runs when it
// is not the mirror image.
func TestCompare(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.txtar: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(ar.Comment)) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
					want = append(want, line)
				}
			}
			a, b := side(t, ar, "a/"), side(t, ar, "b/")
			diffs, folded := Compare(a, b)
			got := stated(diffs, folded)
			slices.Sort(want)
			slices.Sort(got)
			if d := gocmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			mirrored(t, a, b)
		})
	}
}

// side returns the messages of the run that the archive's files below dir are.
func side(t *testing.T, ar *txtar.Archive, dir string) *Set {
	t.Helper()
	var own txtar.Archive
	for _, f := range ar.Files {
		if name, ok := strings.CutPrefix(f.Name, dir); ok {
			own.Files = append(own.Files, txtar.File{Name: name, Data: f.Data})
		}
	}
	run, err := analyzertest.Bundle(&own)
	if err != nil {
		t.Fatal(err)
	}
	return collectRun(t, run)
}

func stated(diffs []Difference, folded []Folded) []string {
	var out []string
	for _, d := range diffs {
		kind := "other"
		if d.Error {
			kind = "error"
		}
		line := fmt.Sprintf("want %s %s %s %d [%s] %s @ %s:%d", d.Side, d.Class, kind, d.Count, d.Source, d.Template, d.Evidence[0].Path, d.Evidence[0].Line)
		for _, ev := range d.Evidence[1:] {
			line += fmt.Sprintf(" %d", ev.Line)
		}
		if d.After != nil {
			line += fmt.Sprintf(" after %s:%d", d.After.Path, d.After.Line)
		}
		out = append(out, line)
	}
	for _, f := range folded {
		out = append(out, fmt.Sprintf("folded %s %s %d", f.Class, f.Side, f.Count))
	}
	return out
}

// mirrored checks that the comparison of b with a is the mirror image of that of
// a with b, and that a set does not differ from itself.
func mirrored(t *testing.T, a, b *Set) {
	t.Helper()
	there, foldedThere := Compare(a, b)
	back, foldedBack := Compare(b, a)
	turned := map[string]string{From: To, To: From}
	for i := range back {
		back[i].Side = turned[back[i].Side]
	}
	for i := range foldedBack {
		foldedBack[i].Side = turned[foldedBack[i].Side]
	}
	slices.SortStableFunc(foldedBack, func(a, b Folded) int {
		return cmp.Or(slices.Index(Classes, a.Class)-slices.Index(Classes, b.Class), strings.Compare(a.Side, b.Side))
	})
	if d := gocmp.Diff(there, back); d != "" {
		t.Errorf("not the mirror image: %s", d)
	}
	if d := gocmp.Diff(foldedThere, foldedBack); d != "" {
		t.Errorf("folded is not the mirror image: %s", d)
	}
	for _, s := range []*Set{a, b} {
		if diffs, folded := Compare(s, s); len(diffs) > 0 || len(folded) > 0 {
			t.Errorf("differs from itself: %q", stated(diffs, folded))
		}
	}
}

// pairs are recorded runs of the same image. few bounds the differences of two
// good runs; says are templates that must be among them, per side.
var pairs = []struct {
	a, b string
	few  int
	says []string
}{
	{"healthy-stdio", "healthy-socket", 20, nil},
	{"healthy-stdio", "healthy-slow", 20, nil},
	{"healthy-socket", "healthy-slow", 20, nil},
	{"healthy-stdio", "healthy-tty0-console", 20, nil},
	{"healthy-stdio", "modprobe-missing", 60, []string{"to /nix/store/<hash>-disko-<n>/bin/disko: line <n>: modprobe: command not found", "from disko: main is ready on /dev/vda"}},
	{"healthy-stdio", "unit-deadlock", 80, []string{`to {"argv": ["systemctl", "start", "sshd.service"], "event": "pre_nixos.units.exec"}`}},
	{"healthy-stdio", "disk-locked", 60, []string{`to qemu-system-x86_64: -drive file=/tmp/<tmp>/disk.img,if=virtio,format=raw: Failed to get "write" lock`}},
	{"healthy-stdio", "panic-stage2", 60, []string{"to Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"}},
	{"healthy-stdio", "no-dhcp", 40, []string{`to {"event": "pre_nixos.lan.no_lease", "interface": "lan", "level": "warning", "message": "no IPv4 address on lan after <n> s"}`}},
}

func TestRecorded(t *testing.T) {
	sets := map[string]*Set{}
	for _, p := range pairs {
		for _, name := range []string{p.a, p.b} {
			if sets[name] == nil {
				sets[name] = collect(t, filepath.Join(recorded, name, "artifacts"))
			}
		}
		diffs, _ := Compare(sets[p.a], sets[p.b])
		if len(diffs) > p.few {
			t.Errorf("%s, %s: %d differences, want at most %d", p.a, p.b, len(diffs), p.few)
		}
		for _, s := range p.says {
			if !slices.ContainsFunc(diffs, func(d Difference) bool { return d.Side+" "+d.Template == s }) {
				t.Errorf("%s, %s: does not say %s", p.a, p.b, s)
			}
		}
		mirrored(t, sets[p.a], sets[p.b])
	}
}

// TestUnion: a message that any of the good runs has is no news; one that not
// all of them have is not missed.
func TestUnion(t *testing.T) {
	run := func(lines ...string) *Set {
		t.Helper()
		text := "Oct 08 06:07:34 nixos systemd[1]: Starting Demo...\n"
		for _, l := range lines {
			text += "Oct 08 06:07:35 nixos demo[5]: " + l + "\n"
		}
		return side(t, &txtar.Archive{Files: []txtar.File{{Name: "a/journal.log", Data: []byte(text)}}}, "a/")
	}
	base := Union(run("always here", "sometimes here"), run("always here", "at times here"))
	diffs, folded := Compare(base, run("sometimes here", "never before"))
	want := []string{
		"want from journal other 2 [demo] always here @ journal.log:2 after journal.log:1",
		"want to journal other 1 [demo] never before @ journal.log:3 after journal.log:3",
		"folded journal from 1",
	}
	if d := gocmp.Diff(want, stated(diffs, folded)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	mirrored(t, base, run("sometimes here", "never before"))
}

// TestOverflow: a full set counts what it has no room for, and nothing is
// missing from it.
func TestOverflow(t *testing.T) {
	c := &collector{set: newSet(), traces: map[speaker]*traceback{}}
	c.set.cover(wholeJournal)
	at := place{evidence: &collect(t, filepath.Join(recorded, "port-taken/artifacts")).entries[0].Evidence[0]}
	letters := func(n int) string {
		return strings.Map(func(r rune) rune { return r - '0' + 'p' }, fmt.Sprintf("x%07d", n)[1:])
	}
	for i := range maxTemplates + 5 {
		c.say(where{class: Journal, cover: wholeJournal}, "said "+letters(i), at)
	}
	if c.set.Len() != maxTemplates || c.set.Overflow != 5 {
		t.Errorf("%d messages, %d beyond; want %d and 5", c.set.Len(), c.set.Overflow, maxTemplates)
	}
	other := newSet()
	other.cover(wholeJournal)
	(&collector{set: other}).say(where{class: Journal, cover: wholeJournal}, "said what it did", at)
	if diffs, _ := Compare(other, c.set); slices.ContainsFunc(diffs, func(d Difference) bool { return d.Side == From }) {
		t.Error("a full set lacks nothing for sure")
	}
}
