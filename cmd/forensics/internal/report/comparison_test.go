package report

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

const unitDiff = `@@ -3,5 +3,6 @@
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
	unit := change("iso.file", "/etc/systemd/system/provision.service", "41 lines", "42 lines", "provision.service differs",
		on(SideFrom, "image.iso!/etc/systemd/system/provision.service", 5, "ExecStart=/usr/bin/provision --plan plan.nix"),
		on(SideTo, "image.iso!/etc/systemd/system/provision.service", 5, "ExecStart=/usr/bin/provision --plan plan.nix --apply"))
	unit.Diff = unitDiff
	lvm.Changes = []Change{
		added, unit,
		change("journal.message", "provision: VG data no longer planned", "", "provision: VG data no longer planned", "", on(SideTo, "serial.log", 270, "provision: VG data no longer planned")),
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
	for i := range 9 {
		f := flip(fmt.Sprintf("vm.condition-%d", i), Pass, Unknown, "shown", "")
		f.NoLongerReached = i%2 == 0
		f.Changes = []Change{change("stage", "stage", "login-prompt", "none", "")}
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
			got := render(t, func(w io.Writer) error { return tt.write(w, tt.r, tt.o) })
			if again := render(t, func(w io.Writer) error { return tt.write(w, tt.r, tt.o) }); got != again {
				t.Error("the same report gave other bytes")
			}
			file := filepath.Join("testdata", tt.file)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("go test ./cmd/forensics/internal/report -update, after a look at\n%s", d)
			}
			if strings.HasSuffix(tt.file, ".txt") {
				checkWidth(t, got, tt.o)
			}
		})
	}
}
