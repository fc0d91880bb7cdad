package compare

import (
	"cmp"
	"slices"
	"strings"

	"forensics/cmd/forensics/internal/compare/message"
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
					f.Changes = f.Changes[:min(len(f.Changes), maxOfTurn)]
					ts = append(ts, report.Turn{Before: last, Run: i, Flip: f})
				}
			}
		}
		last = i
	}
	return ts
}

func (b *historian) pair(i, j int) *report.Comparison {
	k := [2]int{i, j}
	if b.pairs[k] == nil {
		b.pairs[k] = Two(b.sides[i], b.sides[j], b.set)
	}
	return b.pairs[k]
}

// groups are the runs with the same signature of their earliest cause.
func (b *historian) groups() []report.Group {
	var gs []report.Group
	for i, s := range b.sides {
		if len(s.Report.Causes) == 0 {
			continue
		}
		c := &s.Report.Causes[0]
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
// way: the condition, and the mechanism with its variable parts masked.
func Signature(c *report.Cause) string {
	return c.Condition + ": " + strings.Join(strings.Fields(message.Mask(c.Because)), " ")
}
