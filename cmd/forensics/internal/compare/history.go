package compare

import (
	"cmp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

// maxOfTurn bounds the changes that a turn in a history lists.
const maxOfTurn = 3

// All sets many runs in the order of time.
func All(path string, sides []*Side, set *rules.Set) *report.History {
	sides = slices.Clone(sides)
	slices.SortStableFunc(sides, func(a, b *Side) int { return a.Report.Compare(&b.Report) })
	h := &report.History{Path: path}
	for _, s := range sides {
		r := &s.Report
		h.Runs = append(h.Runs, report.HistoryRun{ID: r.ID, Path: r.Path, Started: r.Started, StartedFrom: r.StartedFrom, Stage: r.Stage})
	}
	b := &historian{set: set, sides: sides, pairs: map[[2]int]*report.Comparison{}}
	for _, c := range set.Conditions() {
		h.Rows = append(h.Rows, b.row(c))
		h.Turns = append(h.Turns, b.turns(c)...)
	}
	slices.SortStableFunc(h.Turns, func(a, b report.Turn) int { return cmp.Compare(a.Run, b.Run) })
	h.Groups = b.groups()
	return h
}

type historian struct {
	set   *rules.Set
	sides []*Side
	pairs map[[2]int]*report.Comparison
}

func (b *historian) row(c *rules.Condition) report.HistoryRow {
	r := report.HistoryRow{Condition: c.ID, Title: c.Title, LastGood: -1, FirstBad: -1}
	for i, s := range b.sides {
		status := s.verdict(c.ID).Status
		r.Cells = append(r.Cells, status)
		switch {
		case status == report.Pass:
			r.LastGood, r.FirstBad = i, -1
		case status == report.Fail && r.FirstBad < 0:
			r.FirstBad = i
		}
	}
	return r
}

// turns are where a condition changed between two runs that decide it; runs
// between them that leave it unknown are no witnesses.
func (b *historian) turns(c *rules.Condition) []report.Turn {
	var ts []report.Turn
	last := -1
	for i, s := range b.sides {
		status := s.verdict(c.ID).Status
		if status == report.Unknown {
			continue
		}
		if last >= 0 && b.sides[last].verdict(c.ID).Status != status {
			for _, f := range b.pair(last, i).Flips {
				if f.Condition == c.ID {
					f.Changes = append(b.elsewhere(c, last, i), f.Changes...)
					f.Changes = f.Changes[:min(len(f.Changes), maxOfTurn)]
					ts = append(ts, report.Turn{Before: last, Run: i, Flip: f})
				}
			}
		}
		last = i
	}
	return ts
}

// origin is an artifact that says what a run was started with.
type origin struct {
	name  string
	kinds []string // of the changes that are read from it
	kept  func(*Side) bool
}

var origins = []origin{
	{"QEMU's command", []string{"qemu.drive", "qemu.device", "qemu.netdev", "qemu.memory", "qemu.cpu", "qemu.accel", "qemu.machine", "qemu.smp", "qemu.firmware", "qemu.kernel", "qemu.initrd", "qemu.boot", "qemu.option"},
		holding("qemu.drive")},
	{"the kernel's command line", []string{"kernel.parameter"}, holding("kernel.cmdline")},
	{"the boot image's digest", []string{"iso.image"}, holding("iso.image", "nix.nar-hash")},
	{"the boot image", []string{"iso.file"}, func(s *Side) bool { return s.bundle != nil && len(s.bundle.Artifacts) > 0 }},
}

// holding tells the sides that have an item of one of the facts.
func holding(facts ...string) func(*Side) bool {
	return func(s *Side) bool {
		return slices.ContainsFunc(s.items, func(it item) bool { return slices.Contains(facts, it.fact) })
	}
}

// elsewhere are changes that the last run to decide a condition cannot show, since
// it did not keep what run i was started with: since the nearest run before i
// that kept it. Evidence of that run has the run's path before its own.
func (b *historian) elsewhere(c *rules.Condition, last, i int) []report.Change {
	var found []report.Change
	for _, o := range origins {
		if !o.kept(b.sides[i]) || o.kept(b.sides[last]) {
			continue
		}
		j := i - 1
		for j >= 0 && !o.kept(b.sides[j]) {
			j--
		}
		if j < 0 {
			continue
		}
		before := &b.sides[j].Report
		for _, x := range changesIn(b.pair(j, i)) {
			if x.Harmless || !slices.Contains(o.kinds, x.Kind) || !slices.Contains(x.Feeds, c.ID) {
				continue
			}
			x.Summary += " since " + before.ID + ", the nearest run before that kept " + o.name
			x.Evidence = slices.Clone(x.Evidence)
			for k := range x.Evidence {
				if e := &x.Evidence[k]; e.Side == report.SideFrom {
					e.Evidence = bundle.Under(before.Path, []bundle.Evidence{e.Evidence})[0]
				}
			}
			found = append(found, x)
		}
	}
	return found
}

// changesIn are all changes that a comparison lists, each once.
func changesIn(c *report.Comparison) []report.Change {
	all := slices.Clone(c.Changes)
	for _, f := range slices.Concat(c.Flips, c.Mechanisms) {
		all = append(all, f.Changes...)
	}
	slices.SortStableFunc(all, func(x, y report.Change) int {
		return cmp.Or(cmp.Compare(rankOf(x.Kind), rankOf(y.Kind)), cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Subject, y.Subject))
	})
	return slices.CompactFunc(all, func(x, y report.Change) bool { return x.Kind == y.Kind && x.Subject == y.Subject })
}

func (b *historian) pair(i, j int) *report.Comparison {
	k := [2]int{i, j}
	if b.pairs[k] == nil {
		b.pairs[k] = Two(b.sides[i], b.sides[j], b.set)
	}
	return b.pairs[k]
}

// groups are the runs with the same signature of their earliest cause, an
// observer's where there is no other.
func (b *historian) groups() []report.Group {
	var gs []report.Group
	for i, s := range b.sides {
		// Where all is well but for who watched, that is the failure.
		causes := slices.Concat(s.Report.Causes, s.Report.Observer)
		if len(causes) == 0 {
			continue
		}
		c := &causes[0]
		sig := Signature(c)
		k := slices.IndexFunc(gs, func(g report.Group) bool { return g.Signature == sig })
		if k < 0 {
			gs = append(gs, report.Group{Signature: sig, Condition: c.Condition, Because: c.Because})
			k = len(gs) - 1
		}
		gs[k].Runs = append(gs[k].Runs, i)
	}
	slices.SortStableFunc(gs, func(a, b report.Group) int { return cmp.Compare(len(b.Runs), len(a.Runs)) })
	return gs
}

// Signature names a failure so that it is the same in every run that fails that
// way: the condition, and the mechanism with its variable parts masked, and how
// many of them are listed.
func Signature(c *report.Cause) string {
	return c.Condition + ": " + strings.Join(strings.Fields(mechanism(c.Because)), " ")
}
