package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers/bundle"
)

func on(side, path string, line int, quote string) SideEvidence {
	return SideEvidence{Side: side, Evidence: ev(path, line, quote)}
}

func change(kind, subject, from, to, summary string, evidence ...SideEvidence) Change {
	return Change{Kind: kind, Subject: subject, From: from, To: to, Summary: summary, Evidence: evidence}
}

func flip(id, from, to, fromBecause, toBecause string, evidence ...SideEvidence) Flip {
	return Flip{Condition: id, Title: "title of " + id, From: from, To: to, FromBecause: fromBecause, ToBecause: toBecause, Evidence: evidence}
}

const unitDiff = `--- image.iso!/etc/systemd/system/provision.service
+++ image.iso!/etc/systemd/system/provision.service
@@ -3,5 +3,6 @@
 [Service]
 Type=oneshot
-ExecStart=/usr/bin/provision --plan plan.nix
+ExecStart=/usr/bin/provision --plan plan.nix --apply
+RemainAfterExit=yes
 	StandardOutput=journal+console
`

func sides() []Run {
	from, to := passed(), failed()
	from.Path, to.Path = "runs/2025-11-03T08-15-00Z", "runs/2025-11-02T08-15-00Z"
	return []Run{from, to}
}

// drives is two runs between which a disk was added, with one of everything.
func drives() *Report {
	lvm := flip("vm.lvm", Pass, Fail, "vgs lists volume group data", "vgs ran as root and lists no volume group",
		on(SideFrom, "serial.log", 301, "data   1   1   0 wz--n- 9.99g"), on(SideFrom, "serial.log", 305, "root data -wi-a----- 9.00g"),
		on(SideTo, "serial.log", 288, "(no volume groups)"))
	added := change("qemu.drive", "drives", "1", "3", "QEMU has three drives (1 before)",
		on(SideFrom, "qemu.json", 1, "-drive file=disk.img,if=virtio"), on(SideTo, "qemu.json", 1, "-drive file=disk.img,if=virtio -drive file=a.img,if=virtio -drive file=b.img,if=virtio"))
	added.Feeds = []string{"vm.disk-naming", "vm.lvm"}
	unit := change("iso.file", "/etc/systemd/system/provision.service", "3021 bytes", "3050 bytes", "provision.service differs",
		on(SideFrom, "image.iso!/etc/systemd/system/provision.service", 5, "ExecStart=/usr/bin/provision --plan plan.nix"),
		on(SideTo, "image.iso!/etc/systemd/system/provision.service", 5, "ExecStart=/usr/bin/provision --plan plan.nix --apply"))
	unit.Diff = unitDiff
	lvm.Changes = []Change{
		added, unit,
		change("journal.message", "provision: VG data is not planned", "", "provision: VG data is not planned", "", on(SideTo, "serial.log", 270, "provision: VG data is not planned")),
		change("kernel.parameter", "quiet", "", "quiet", ""),
		change("host.probe", "memory", "8 GB", "", "the host's memory was not asked for"),
	}
	status := flip("vm.storage-status", Pass, Unknown, "STATE=applied", "nothing tells", on(SideFrom, "serial.log", 310, "STATE=applied"))
	status.NoLongerReached = true
	entropy := flip("vm.entropy", Unknown, Pass, "", "crng init done", on(SideTo, "serial.log", 44, "random: crng init done"))
	lan := flip("vm.lan-dhcp", Fail, Fail, "no lease after 60 s", "the interface lan does not exist",
		on(SideFrom, "serial.log", 240, "lan: no carrier"), on(SideTo, "serial.log", 251, "Device \"lan\" does not exist."))
	lan.Changes = []Change{change("journal.message", "lan: renamed from eth0", "lan: renamed from eth0", "", "")}
	r := reportOf(sides()...)
	r.Comparison = &Comparison{
		From: "runs/2025-11-03T08-15-00Z", To: "runs/2025-11-02T08-15-00Z",
		Headline:   "vm.lvm went from pass to fail; QEMU has three drives (1 before): VG data no longer planned",
		Flips:      []Flip{entropy, lvm, status},
		Mechanisms: []Flip{lan},
		Changes: []Change{
			change("journal.message", "EXT4-fs (vda1): mounted filesystem", "", "EXT4-fs (vda1): mounted filesystem", ""),
			change("journal.message", "audit: type=1334", "audit: type=1334", "", ""),
			{Kind: "qemu.netdev", Subject: "hostfwd", From: "tcp::2222-:22", To: "tcp::2301-:22", Harmless: true, Feeds: []string{}},
			{Kind: "host.probe", Subject: "qemu version", From: "9.0.1", To: "9.1.0", Feeds: []string{"host.qemu"}},
		},
		Folded:      []Fold{{"journal.message", 214}, {"console.message", 31}},
		Differences: 256,
		Notes:       []string{"only B has host probes", "only A has a journal"},
	}
	return r
}

// quietly is two runs between which nothing happened.
func quietly(kinds, notes int) *Report {
	r := reportOf(sides()...)
	c := &Comparison{From: r.Runs[0].Path, To: r.Runs[1].Path}
	for i := range kinds {
		c.Changes = append(c.Changes, change(fmt.Sprintf("kind.%d", i), "subject", "1", "2", ""))
		c.Folded = append(c.Folded, Fold{fmt.Sprintf("kind.%d", i), i})
		c.Differences += 1 + i
	}
	for i := range notes {
		c.Notes = append(c.Notes, fmt.Sprintf("note %d", i))
	}
	r.Comparison = c
	return r
}

// one is a single flip that nothing explains.
func one() *Report {
	r := reportOf(sides()...)
	r.Comparison = &Comparison{
		From: "healthy runs", To: r.Runs[1].Path,
		Flips: []Flip{flip("vm.serial", Fail, Pass, "", "text up to the login prompt", on(SideFrom, "serial.log", 9, "Loading kernel"), on(SideTo, "serial.log", 400, "login:"))},
	}
	return r
}

// many is a run that broke at the start, where all else follows.
func many() *Report {
	r := reportOf(sides()...)
	c := &Comparison{From: r.Runs[0].Path, To: r.Runs[1].Path, Differences: 1}
	first := flip("host.qemu", Pass, Fail, "firmware text came out of it", "qemu: could not set up host forwarding rule")
	first.Changes = []Change{change("qemu.netdev", "hostfwd", "tcp::0-:22", "tcp::22-:22", "host forwarding asks for port 22 (any port before)")}
	c.Flips = append(c.Flips, first)
	serial := flip("vm.serial", Pass, Fail, "text up to the login prompt", "silent from the start")
	serial.Changes = append(slices.Clone(first.Changes), change("stage", "stage", "login-prompt", "none", ""))
	c.Flips = append(c.Flips, serial)
	accel := flip("virt.accel", Pass, Fail, "the guest reached user land under KVM", "")
	accel.Changes = first.Changes
	c.Flips = append(c.Flips, accel)
	for i := range 14 {
		f := flip(fmt.Sprintf("vm.condition-%d", i), Pass, Unknown, "shown", "")
		f.NoLongerReached = i%2 == 0
		f.Changes = []Change{change("stage", "stage", "login-prompt", "none", "")}
		if i > 3 {
			f.Changes = []Change{change("journal.message", fmt.Sprintf("message %d", i), "here", "", "")}
		}
		c.Flips = append(c.Flips, f)
	}
	r.Comparison = c
	return r
}

// history is n runs: storage breaks in run 4, and the network now and then.
func history(n int) *Report {
	r := reportOf(passed())
	h := &History{Path: "runs"}
	rows := []HistoryRow{
		{Condition: "host.nix", LastGood: -1, FirstBad: -1}, {Condition: "host.qemu", LastGood: n - 1, FirstBad: -1},
		{Condition: "vm.lvm", LastGood: 2, FirstBad: 4}, {Condition: "vm.lan-dhcp", LastGood: -1, FirstBad: -1},
		{Condition: "vm.clock", LastGood: -1, FirstBad: -1},
	}
	var lost []int
	for i := range n {
		t := time.Date(2025, 11, 1+i/4, i%4*6, 30, 0, 0, time.UTC)
		run := HistoryRun{ID: fmt.Sprintf("run-%d", i), Path: fmt.Sprintf("runs/%s", t.Format("2006-01-02T15-04Z")), Started: &t, Stage: "root-shell"}
		if i == n-1 {
			run.Started = nil
		}
		h.Runs = append(h.Runs, run)
		lvm, lan := Pass, Unknown
		switch {
		case i == 3:
			lvm = Unknown
		case i > 3:
			lvm = Fail
		}
		if i%3 == 2 {
			lan = Fail
			lost = append(lost, i)
		}
		for j, s := range []string{Unknown, Pass, lvm, lan, Unknown} {
			rows[j].Cells = append(rows[j].Cells, s)
		}
	}
	h.Rows = rows
	broke := drives().Comparison.Flips[1]
	back := flip("vm.lan-dhcp", Pass, Fail, "leased", "no carrier")
	back.NewlyReached = true
	h.Turns = []Turn{{Before: 2, Run: 4, Flip: broke}, {Before: 4, Run: 5, Flip: back}}
	h.Groups = []Group{
		{Signature: "vm.lan-dhcp: no carrier on <interface>", Condition: "vm.lan-dhcp", Because: "no carrier on lan", Runs: lost},
		{Signature: "vm.lvm: no volume group", Condition: "vm.lvm", Because: "no volume group", Runs: []int{4, 6, 7, 9}},
		{Signature: "vm.lvm: crash", Condition: "vm.lvm", Because: "Traceback: KeyError", Runs: []int{10}},
	}
	r.History = h
	return r
}

func TestComparisonLooks(t *testing.T) {
	trouble := one()
	trouble.Trouble = []bundle.Problem{{Path: "runs/other", Text: "permission denied"}}
	trouble.Problems = []bundle.Problem{{Path: "runs/nothing", Text: "holds no run"}}
	calm := history(3)
	calm.History.Turns, calm.History.Groups = nil, nil
	for _, tt := range []struct {
		file  string
		r     *Report
		write func(io.Writer, *Report, Options) error
		o     Options
	}{
		{"diff-100.txt", drives(), WriteComparisonText, Options{Width: 100}},
		{"diff-72-ascii.txt", drives(), WriteComparisonText, Options{Width: 72, ASCII: true}},
		{"diff-colour.txt", drives(), WriteComparisonText, Options{Width: 100, Colour: true}},
		{"diff-verbose.txt", drives(), WriteComparisonText, Options{Width: 100, Verbose: true}},
		{"diff-one.txt", trouble, WriteComparisonText, Options{Width: 100}},
		{"diff-many.txt", many(), WriteComparisonText, Options{Width: 100}},
		{"diff-quiet.txt", quietly(3, 1), WriteComparisonText, Options{Width: 100}},
		{"diff-quiet-much.txt", quietly(12, 3), WriteComparisonText, Options{Width: 100}},
		{"diff-empty.txt", quietly(0, 0), WriteComparisonText, Options{Width: 100}},
		{"diff.md", drives(), WriteComparisonMarkdown, Options{}},
		{"diff-verbose.md", drives(), WriteComparisonMarkdown, Options{Verbose: true}},
		{"diff-many.md", many(), WriteComparisonMarkdown, Options{}},
		{"diff-quiet.md", quietly(3, 1), WriteComparisonMarkdown, Options{}},
		{"history.txt", history(12), WriteHistoryText, Options{Width: 100}},
		{"history-ascii.txt", history(12), WriteHistoryText, Options{Width: 80, ASCII: true}},
		{"history-colour.txt", history(12), WriteHistoryText, Options{Width: 100, Colour: true}},
		{"history-verbose.txt", history(12), WriteHistoryText, Options{Width: 100, Verbose: true}},
		{"history-40.txt", history(40), WriteHistoryText, Options{Width: 80}},
		{"history-calm.txt", calm, WriteHistoryText, Options{Width: 80}},
		{"history.md", history(12), WriteHistoryMarkdown, Options{}},
		{"history-verbose.md", history(12), WriteHistoryMarkdown, Options{Verbose: true}},
	} {
		t.Run(tt.file, func(t *testing.T) {
			checkLooks(t, tt.file, tt.o, func(w io.Writer) error { return tt.write(w, tt.r, tt.o) })
		})
	}
}

// TestComparisonSays states what must be in the texts, whatever they look like.
func TestComparisonSays(t *testing.T) {
	wide := Options{Width: 200}
	text := func(write func(io.Writer, *Report, Options) error, r *Report, o Options) string {
		return render(t, func(w io.Writer) error { return write(w, r, o) })
	}
	diff, verbose := text(WriteComparisonText, drives(), wide), text(WriteComparisonText, drives(), Options{Width: 200, Verbose: true})
	lone, crowd, calm := text(WriteComparisonText, one(), wide), text(WriteComparisonText, many(), wide), text(WriteComparisonText, quietly(3, 0), wide)
	md, runs := text(WriteComparisonMarkdown, drives(), Options{}), text(WriteHistoryText, history(12), wide)
	for _, tt := range []struct {
		name, text, want string
		not              bool
	}{
		{"headline first", diff[:20], "vm.lvm went from pas", false},
		{"the runs", diff, "  - A  runs/2025-11-03T08-15-00Z, started 2025-11-03 08:15:00 UTC, reached provisioned\n  + B  runs/2025-11-02T08", false},
		{"flip", diff, "\nvm.lvm  pass -> fail\n", false},
		{"what either run shows", diff, "- from: vgs lists volume group data\n", false},
		{"quote of a side", diff, "serial.log:288: (no volume groups)", false},
		{"one quote a side", diff, "serial.log:305", true},
		{"all quotes", verbose, "serial.log:305", false},
		{"likeliest change", diff, "  1. qemu.drive drives: 1 -> 3\n     - qemu.json:1: -drive file=disk.img,if=virtio\n     + qemu.json:1:", false},
		{"unified diff, indented", diff, "\n     -ExecStart=/usr/bin/provision --plan plan.nix\n     +ExecStart=", false},
		{"indent in a diff", diff, "\n          StandardOutput=journal+console\n", false},
		{"no fourth change", diff, "kernel.parameter", true},
		{"fourth change", verbose, "4. kernel.parameter new quiet", false},
		{"how many more", diff, "… 2 more: --verbose", false},
		{"consequence in a line", diff, "  vm.storage-status  pass -> unknown  no longer reached: STATE=applied\n", false},
		{"no section for it", diff, "\nvm.storage-status", true},
		{"a section when asked", verbose, "\nvm.storage-status  pass -> unknown, no longer reached\n", false},
		{"another reason", diff, "\nvm.lan-dhcp  still fails, for another reason\n", false},
		{"other differences by kind", diff, "\n  journal.message  216  new EXT4-fs", false},
		{"folded", diff, "audit: type=1334", true},
		{"unfolded", verbose, "journal.message gone audit: type=1334", false},
		{"harmless", diff, "harmless: hostfwd", false},
		{"note", diff, "only A has a journal", false},
		{"unexplained flip", lone, "no difference in what was captured goes with it", false},
		{"a run that decides nothing needs no reason", verbose, "no difference in what was captured", true},
		{"explained flip", diff, "no difference in what was captured", true},
		{"a baseline has no start", lone, "  - A  healthy runs\n", false},
		{"a change that was told", crowd, "1. (see host.qemu) qemu.netdev", false},
		{"nothing but what was told", crowd, "the same differences as host.qemu\n", false},
		{"a message that stands above", diff, "+ serial.log:270\n", false},
		{"a message in full", verbose, "+ serial.log:270: provision: VG", false},
		{"one-sided flips that an earlier one explains", crowd, "\nvm.condition-1  ", true},
		{"nothing flipped", calm, "no condition flipped; 6 differences, none feeds a rule\n", false},
		{"markdown heading", md[:24], "# vm.lvm went from pass ", false},
		{"markdown table", md, "| `vm.lvm` | pass | **fail** | QEMU has three drives (1 before) |", false},
		{"markdown diff", md, "\n```diff\n--- image.iso!", false},
		{"markdown folds", md, "<details><summary>249 other differences, 1 feeds a rule</summary>", false},
		{"turn", runs, "vm.lvm: pass in 3, fail in 5 (first bad after last good): QEMU has three drives", false},
		{"newly reached turn", runs, "vm.lan-dhcp: pass in 5, fail in 6 (newly reached): no carrier", false},
		{"group", runs, "same failure: 3, 6, 9, 12: vm.lan-dhcp: no carrier on lan", false},
		{"never decided", runs, "never decided: host.nix, vm.clock\n", false},
	} {
		if strings.Contains(tt.text, tt.want) == tt.not {
			t.Errorf("%s: want %q (not: %v) in\n%s", tt.name, tt.want, tt.not, tt.text)
		}
	}
}

func TestComparisonStatus(t *testing.T) {
	trouble := quietly(0, 0)
	trouble.Trouble = []bundle.Problem{{Path: "x", Text: "permission denied"}}
	mechanism := quietly(2, 0)
	mechanism.Comparison.Mechanisms = drives().Comparison.Mechanisms
	calm, none := history(3), history(3)
	calm.History.Turns, none.History.Runs = nil, nil
	for _, tt := range []struct {
		name string
		r    *Report
		want int
	}{
		{"nothing differs", quietly(0, 0), 0},
		{"only differences", quietly(5, 1), 0},
		{"flip", one(), 1},
		{"mechanism", mechanism, 1},
		{"trouble", trouble, 2},
		{"nothing compared", reportOf(passed()), 2},
		{"turns", history(12), 1},
		{"no turn", calm, 0},
		{"no run", none, 2},
	} {
		if got := tt.r.ComparisonStatus(); got != tt.want {
			t.Errorf("%s: status %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestNothingCompared(t *testing.T) {
	for _, write := range []func(io.Writer, *Report, Options) error{WriteComparisonText, WriteComparisonMarkdown, WriteHistoryText, WriteHistoryMarkdown} {
		if err := write(io.Discard, reportOf(passed()), Options{}); err == nil {
			t.Error("a report without a comparison was written as one")
		}
	}
}

// TestQuiet holds that runs between which nothing flipped take ten lines.
func TestQuiet(t *testing.T) {
	for _, width := range []int{60, 80, 200} {
		for kinds := range 15 {
			for notes := range 10 {
				r := quietly(kinds, notes)
				if notes%2 == 1 {
					long := strings.Repeat("/long/path", 40)
					r.Comparison.Headline, r.Comparison.From = strings.Repeat("words of a headline ", 30), long
					r.Runs[0].Path = long
				}
				o := Options{Width: width, ASCII: kinds%2 == 1}
				text := render(t, func(w io.Writer) error { return WriteComparisonText(w, r, o) })
				if n := strings.Count(text, "\n"); n > maxQuiet {
					t.Errorf("%d kinds, %d notes: %d lines\n%s", kinds, notes, n, text)
				}
				if notes > 0 && !strings.Contains(text, "note 0") {
					t.Errorf("%d kinds, %d notes: no note\n%s", kinds, notes, text)
				}
				checkWidth(t, text, o)
			}
		}
	}
}

// mirror exchanges the runs of a comparison.
func mirror(r *Report) *Report {
	m := mapped(r, func(s string) string { return s })
	c := m.Comparison
	c.From, c.To, c.Headline = c.To, c.From, ""
	slices.Reverse(m.Runs)
	exchange := func(ev []SideEvidence) {
		for i := range ev {
			ev[i].Side = map[string]string{SideFrom: SideTo, SideTo: SideFrom}[ev[i].Side]
		}
	}
	for _, fs := range [][]Flip{c.Flips, c.Mechanisms} {
		for i := range fs {
			f := &fs[i]
			f.From, f.To, f.FromBecause, f.ToBecause = f.To, f.From, f.ToBecause, f.FromBecause
			f.NewlyReached, f.NoLongerReached = f.NoLongerReached, f.NewlyReached
			exchange(f.Evidence)
		}
	}
	for _, ch := range m.changes() {
		ch.From, ch.To, ch.Summary, ch.Diff = ch.To, ch.From, "", ""
		exchange(ch.Evidence)
	}
	return m
}

// TestMirror holds that the text of B A is that of A B with its words
// exchanged, line by line.
func TestMirror(t *testing.T) {
	words := regexp.MustCompile(`  [-+] (?:A|B|from:|to:  ) | [-+] (?:\S)|\bnewly\b|\bno longer\b|\bin [AB] only|\bnew\b|\bgone\b`)
	turned := regexp.MustCompile(`([^\s,]+(?: bytes)?) -> ([^\s,]+(?: bytes)?)`)
	went := regexp.MustCompile(`(?m)from (\S+) to (\S+)$`)
	swap := map[string]string{
		"  - A ": "  + B ", "  + B ": "  - A ", "  - from: ": "  + to:   ", "  + to:   ": "  - from: ",
		"newly": "no longer", "no longer": "newly", "in A only": "in B only", "in B only": "in A only", "new": "gone", "gone": "new",
	}
	lines := func(r *Report, o Options, exchanged bool) []string {
		text := render(t, func(w io.Writer) error { return WriteComparisonText(w, r, o) })
		var out []string
		for l := range strings.Lines(text) {
			if exchanged {
				l = turned.ReplaceAllString(went.ReplaceAllString(l, "from $2 to $1"), "$2 -> $1")
				l = words.ReplaceAllStringFunc(l, func(w string) string {
					if s, ok := swap[w]; ok {
						return s
					}
					return strings.NewReplacer("-", "+", "+", "-").Replace(w)
				})
			}
			out = append(out, strings.Join(strings.Fields(l), " "))
		}
		slices.Sort(out) // the lines of one run stand before those of the other
		return out
	}
	for name, r := range map[string]*Report{"drives": drives(), "one": one(), "many": many(), "quiet": quietly(12, 2)} {
		for _, o := range []Options{{Width: 4000}, {Width: 4000, Verbose: true}} {
			r = mirror(mirror(r)) // without the sentences
			if d := cmp.Diff(lines(r, o, true), lines(mirror(r), o, false)); d != "" {
				t.Errorf("%s, verbose %v: %s", name, o.Verbose, d)
			}
		}
	}
}

// hostileComparison is a comparison and a history with s in every string, also
// in each line of a diff.
func hostileComparison(s string) *Report {
	r := drives()
	r.History = history(6).History
	r.Problems, r.Trouble = []bundle.Problem{{Path: "p", Text: "t"}}, []bundle.Problem{{Path: "p", Text: "t"}}
	for i, c := range r.changes() {
		c.Harmless = i%3 == 0
		c.Diff = unitDiff // all of them, to have the lines met everywhere
		c.Feeds = []string{"vm.lvm"}
	}
	h := mapped(r, func(old string) string {
		switch old {
		case Pass, Fail, Unknown, Schema, SideFrom, SideTo, unitDiff, "":
			return old
		}
		return s
	})
	for _, c := range h.changes() {
		c.Diff = "@@ -1 +1 @@\n-" + s + "\n+" + s + "\n " + s + "\n" + s
	}
	return h
}

// formats are all that shows differences.
var formats = []struct {
	name  string
	write func(io.Writer, *Report, Options) error
	text  bool // as wide as the page at most
}{
	{"comparison", WriteComparisonText, true}, {"history", WriteHistoryText, true},
	{"comparison.md", WriteComparisonMarkdown, false}, {"history.md", WriteHistoryMarkdown, false},
}

func checkFormats(t *testing.T, r *Report, o Options) {
	t.Helper()
	for _, f := range formats {
		text := render(t, func(w io.Writer) error { return f.write(w, r, o) })
		checkSafe(t, text)
		if f.text {
			checkWidth(t, text, o)
		}
	}
}

func TestHostileComparison(t *testing.T) {
	for _, s := range hostile {
		r := hostileComparison(s)
		for _, o := range []Options{{Width: 120, Verbose: true}, {Width: 60, ASCII: true}} {
			checkFormats(t, r, o)
		}
		r.Comparison.Flips, r.Comparison.Mechanisms = nil, nil
		checkFormats(t, r, Options{Width: 80})
		text := render(t, func(w io.Writer) error { return WriteJSON(w, r) })
		checkSafe(t, text)
		back, err := ReadJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if again := render(t, func(w io.Writer) error { return WriteJSON(w, back) }); again != text && utf8.ValidString(s) {
			t.Errorf("%.60q: what was read is written as other bytes", s)
		}
	}
}

// TestOddNumbers holds that a saved report with other numbers than ours is
// shown as well.
func TestOddNumbers(t *testing.T) {
	r := hostileComparison("x")
	h := r.History
	for _, n := range []int{-1 << 63, -1, 0, 1<<63 - 1} {
		h.Turns[0].Before, h.Turns[0].Run = n, n
		h.Rows[0].LastGood, h.Rows[0].FirstBad = n, n
		h.Groups[0].Runs = []int{n, n, 3}
		r.Comparison.Folded = []Fold{{"x", n}}
		r.Comparison.Differences = n
		h.Rows[1].Cells = []string{"other"}
		checkFormats(t, r, Options{Width: 80})
	}
	h.Runs = nil
	r.Comparison.Flips[0].From, r.Comparison.Flips[0].Evidence[0].Side = "\x1b[31mother", "\x1b[31m"
	checkFormats(t, r, Options{Width: 80})
}

func FuzzHostileComparison(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = s[:min(len(s), 600)] // TestHostileComparison has the long ones
		r := hostileComparison(s)
		checkFormats(t, r, Options{Width: 72})
		checkFormats(t, r, Options{Width: 72, ASCII: true, Verbose: true})
		checkSafe(t, render(t, func(w io.Writer) error { return WriteJSON(w, r) }))
	})
}

// TestComparisonMarkdownAsGitHub compares the elements that GitHub's renderer
// makes of hostile text with those that it makes of a harmless word.
func TestComparisonMarkdownAsGitHub(t *testing.T) {
	renderer, err := exec.LookPath("cmark-gfm")
	if err != nil {
		t.Skip("no cmark-gfm")
	}
	elements := func(write func(io.Writer, *Report, Options) error, s string, o Options) map[string]int {
		md := render(t, func(w io.Writer) error { return write(w, hostileComparison(s), o) })
		c := exec.Command(renderer, "--unsafe", "-e", "table", "-e", "autolink", "-e", "strikethrough", "-e", "tasklist")
		c.Stdin = strings.NewReader(md)
		html, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		n := map[string]int{}
		for _, m := range regexp.MustCompile(`<(/?[a-z]+\d?)`).FindAllStringSubmatch(string(html), -1) {
			if m[1] != "code" && m[1] != "/code" { // what a forge acts on becomes code
				n[m[1]]++
			}
		}
		return n
	}
	for _, f := range formats[2:] {
		for _, o := range []Options{{}, {Verbose: true}} {
			want := elements(f.write, "word", o)
			if want["table"] == 0 || want["details"] == 0 || want["details"] != want["/details"] || want["script"] != 0 {
				t.Fatalf("%s: %v of a harmless word", f.name, want)
			}
			for _, s := range append([]string{"```", "~~~~", "````\n</details>", "</code></pre><h1>x</h1>", "&lt;/summary&gt;", "--- |\n| --- |", "[x] y", "    code"}, hostile...) {
				if strings.TrimSpace(Clean(s)) == "" {
					continue // leaves out what would hold it
				}
				if d := cmp.Diff(want, elements(f.write, s, o)); d != "" {
					t.Errorf("%s, verbose %v, %.60q: %s", f.name, o.Verbose, s, d)
				}
			}
		}
	}
}

// TestComparisonContract holds the names of the fields, and that no list is null.
func TestComparisonContract(t *testing.T) {
	bare := &Report{Schema: Schema, Comparison: &Comparison{}, History: &History{}}
	some := &Report{Schema: Schema, Runs: sides(),
		Comparison: &Comparison{Flips: []Flip{{Changes: []Change{{}}}}, Mechanisms: []Flip{{Changes: []Change{{}}}}, Changes: []Change{{}}, Folded: []Fold{{}}},
		History:    &History{Runs: []HistoryRun{{}}, Rows: []HistoryRow{{}}, Turns: []Turn{{Flip: Flip{Changes: []Change{{}}}}}, Groups: []Group{{}}}}
	flips := func(fs []any) {
		for _, f := range fs {
			has(t, f.(map[string]any), "condition", "title", "from", "to", "newly_reached", "no_longer_reached", "from_because", "to_because")
			for _, c := range lists(t, f.(map[string]any), "evidence", "changes")[1] {
				has(t, c.(map[string]any), "kind", "subject", "from", "to", "summary", "harmless", "diff")
				lists(t, c.(map[string]any), "feeds", "evidence")
			}
		}
	}
	for _, r := range []*Report{bare, some} {
		before := mapped(r, func(s string) string { return s })
		var top map[string]any
		text := render(t, func(w io.Writer) error { return WriteJSON(w, r) })
		if err := json.Unmarshal([]byte(text), &top); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(before, r); d != "" {
			t.Errorf("the original changed: %s", d)
		}
		c, h := top["comparison"].(map[string]any), top["history"].(map[string]any)
		has(t, c, "from", "to", "headline", "differences")
		ls := lists(t, c, "flips", "mechanisms", "changes", "folded", "notes")
		flips(ls[0])
		flips(ls[1])
		flips([]any{map[string]any{"condition": 0, "title": 0, "from": 0, "to": 0, "newly_reached": 0, "no_longer_reached": 0, "from_because": 0, "to_because": 0, "evidence": []any{}, "changes": ls[2]}})
		has(t, h, "path")
		ls = lists(t, h, "runs", "rows", "turns", "groups")
		for _, row := range ls[1] {
			lists(t, row.(map[string]any), "cells")
		}
		flips(ls[2])
		for _, g := range ls[3] {
			lists(t, g.(map[string]any), "runs")
		}
		if null := strings.Count(text, "null"); null != strings.Count(text, `"started": null`) {
			t.Errorf("%d nulls in\n%s", null, text)
		}
	}
}

func TestRedactedComparison(t *testing.T) {
	const token = "ghp_0123456789abcdefghijABCDEFGHIJ012345"
	body := strings.Repeat("Zm9v/2Jh", 8) // a line of a key, as PEM breaks it
	r := drives()
	r.Comparison.Flips[1].Evidence[0].Quote = "TOKEN " + token
	for _, tt := range []struct{ diff, want string }{
		{"--- a\n+++ b\n@@ -1 +1 @@\n-password=hunter22\n+TOKEN " + token + "\n \tindented\n",
			"--- a\n+++ b\n@@ -1 +1 @@\n-password=" + redacted + "\n+TOKEN " + redacted + "\n \tindented\n"},
		{"+" + body + "\n " + body + "\n+" + body + "x\n", "+" + redacted + "\n " + redacted + "\n+" + body + "x\n"},
	} {
		r.Comparison.Flips[1].Changes[1].Diff = tt.diff
		c := r.Comparison.Redacted()
		if got := c.Flips[1].Changes[1].Diff; got != tt.want {
			t.Errorf("diff %q, want %q", got, tt.want)
		}
		if got, want := c.Flips[1].Evidence[0].Quote, "TOKEN "+redacted; got != want {
			t.Errorf("quote %q, want %q", got, want)
		}
	}
}

// TestDiffLines states what a renderer makes of the lines of a unified diff.
func TestDiffLines(t *testing.T) {
	r := one()
	c := &r.Comparison.Flips[0].Changes
	*c = []Change{{}}
	for _, tt := range []struct{ name, diff, clean, ascii string }{
		{"none", "", "", ""},
		{"indent stays", "-a:\n+  a:  b\n", "-a:\n+  a:  b\n", "-a:\n+  a:  b\n"},
		{"tab", " \ta\tb\n", "     a    b\n", "     a    b\n"},
		{"line end that changed", "-a\r\n+a\n", "-a^M\n+a\n", "-a^M\n+a\n"},
		{"escape", "+\x1b[31mred \x1b]0;t t\x07x\n", "+red x\n", "+red x\n"},
		{"mark behind an escape", "\x1b[2J+a\n", " +a\n", " +a\n"},
		{"letters", "+ä — “x”\n", "+ä — “x”\n", "+? - 'x'\n"},
		{"no mark", "… 2 more lines\n", " … 2 more lines\n", " ~ 2 more lines\n"},
		{"empty line", "-a\n\n+b", "-a\n \n+b\n", "-a\n \n+b\n"},
		{"no line of its own", "+a\u2028-b\n", "+a-b\n", "+a-b\n"},
	} {
		(*c)[0].Diff = tt.diff
		for clean, want := range map[*func(string) string]string{ptr(Clean): tt.clean, ptr(ascii): tt.ascii} {
			if got := cleanLines(r, *clean).Comparison.Flips[0].Changes[0].Diff; got != want {
				t.Errorf("%s: %q, want %q", tt.name, got, want)
			}
		}
	}
	(*c)[0].Diff = strings.Repeat("+a\n", 3*maxDiffLines)
	got := cleanLines(r, Clean).Comparison.Flips[0].Changes[0].Diff
	if n := strings.Count(got, "\n"); n != maxDiffLines+1 || !strings.HasSuffix(got, "\n@ the rest is cut\n") {
		t.Errorf("%d lines of a long diff, the last %q", n, got[len(got)-20:])
	}
	text := render(t, func(w io.Writer) error { return WriteComparisonText(w, r, Options{Width: 80}) })
	if n := strings.Count(text, "     +a\n"); n != maxDiff || !strings.Contains(text, "… 1981 lines more: --verbose\n") {
		t.Errorf("%d lines of a long diff:\n%.2000s", n, text)
	}
}

func ptr[T any](v T) *T { return &v }

// TestChangeText states how single changes are written.
func TestChangeText(t *testing.T) {
	w := wording{arrow: "->", value: func(s string) string { return s }, prose: func(s string) string { return s }}
	long := strings.Repeat("console=ttyS0 ", 20)
	for _, tt := range []struct {
		name string
		c    Change
		want string
	}{
		{"values", change("k", "drives", "1", "3", "s"), "drives: 1 -> 3"},
		{"new", change("k", "quiet", "", "1", "s"), "new quiet: 1"},
		{"gone", change("k", "quiet", "1", "", "s"), "gone quiet: 1"},
		{"new message", change("k", "m", "", "m", ""), "new m"},
		{"gone message", change("k", "m", "m", "", ""), "gone m"},
		{"a message, not its template", change("journal.message", "took <n> s", "", "took 3 s", ""), "new took 3 s"},
		{"a message that goes on", change("journal.message", "{\"command\": [\"systemctl\", \"start\"]}", "", "{\"command\": [\"systemctl\", \"start\"], \"at\": 3}", ""), "new {\"command\": [\"systemctl\", \"start\"], \"at\": 3}"},
		{"a message and how often", change("journal.message", "took <n> s", "", "3 times", ""), "new took <n> s: 3 times"},
		{"a subject in the value", change("qemu.device", "net", "", "virtio-net-pci", ""), "new net: virtio-net-pci"},
		{"a message in other words", change("journal.message", "took <n> s", "3 times", "4 times", ""), "took <n> s: 3 times -> 4 times"},
		{"only a sentence", change("k", "file", "", "", "differs"), "file: differs"},
		{"same values", change("k", "file", "1", "1", "differs"), "file: differs"},
		{"only a subject", change("k", "file", "", "", ""), "file"},
		{"no subject", change("k", "", "1", "2", ""), "1 -> 2"},
		{"nothing", Change{}, ""},
		{"subject is one of two values", change("k", "a", "a", "b", ""), "a: a -> b"},
		{"long, differs at the end", change("k", "cmdline", long+"quiet", long+"debug", ""), "cmdline: …ole=ttyS0 console=ttyS0 quiet -> …ole=ttyS0 console=ttyS0 debug"},
		{"long, differs at the start", change("k", "c", "a"+long, "b", ""), "c: a" + long[:maxValue-1] + "… -> b"},
		{"long, one is the other's start", change("k", "c", long, long+"x", ""), "c: …ole=ttyS0 console=ttyS0 -> …ole=ttyS0 console=ttyS0 x"},
		{"wide letters", change("k", "c", strings.Repeat("ä", 200)+"x", strings.Repeat("ä", 200)+"y", ""), "c: …" + strings.Repeat("ä", 24) + "x -> …" + strings.Repeat("ä", 24) + "y"},
	} {
		if got := strings.ReplaceAll(tt.c.text(w), "  ", " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, tt := range []struct {
		runs []int
		want string
	}{
		{nil, ""}, {[]int{0}, "1"}, {[]int{0, 1}, "1, 2"}, {[]int{0, 1, 2}, "1-3"}, {[]int{3, 4, 6, 7, 8, 11}, "4, 5, 7-9, 12"}, {[]int{5, 4}, "6, 5"},
	} {
		if got := numbers(tt.runs); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.runs, got, tt.want)
		}
	}
}

// BenchmarkWriteComparison writes all of a comparison with 1000 changes, each
// of them with evidence and every tenth with a unified diff of 200 lines.
func BenchmarkWriteComparison(b *testing.B) {
	r := drives()
	flip := r.Comparison.Flips[1]
	for i := range 1000 {
		c := flip.Changes[0]
		c.Subject = fmt.Sprintf("drive %d", i)
		if i%10 == 0 {
			c.Diff = strings.Repeat(unitDiff, 25)
		}
		r.Comparison.Changes = append(r.Comparison.Changes, c)
	}
	for _, f := range formats {
		if !strings.HasPrefix(f.name, "comparison") {
			continue
		}
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f.write(io.Discard, r, Options{Width: 100, Verbose: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
