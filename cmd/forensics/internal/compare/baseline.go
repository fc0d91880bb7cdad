package compare

import (
	"slices"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

// Baseline compares a run with several good ones. What any of them shows is no
// news; a condition that they judge differently is unknown among them. Where
// there are several, evidence of a good run has the run's path before its own.
func Baseline(path string, good []*Side, to *Side, set *rules.Set) *report.Comparison {
	if len(good) > 1 {
		good = slices.Clone(good)
		for i, s := range good {
			good[i] = s.under(s.Report.Path)
		}
	}
	return compare(&group{sides: good, path: path}, to, set)
}

// under returns s with its evidence below a directory.
func (s *Side) under(dir string) *Side {
	u := *s
	u.Report.Verdicts = slices.Clone(s.Report.Verdicts)
	for i := range u.Report.Verdicts {
		u.Report.Verdicts[i].Evidence = bundle.Under(dir, u.Report.Verdicts[i].Evidence)
	}
	u.items = slices.Clone(s.items)
	for i := range u.items {
		u.items[i].values = slices.Clone(u.items[i].values)
		for j := range u.items[i].values {
			u.items[i].values[j].ev = bundle.Under(dir, u.items[i].values[j].ev)
		}
	}
	u.whole = map[string]bundle.Evidence{}
	for fact, ev := range s.whole {
		u.whole[fact] = bundle.Under(dir, []bundle.Evidence{ev})[0]
	}
	u.facts = slices.Clone(s.facts)
	for i := range u.facts {
		u.facts[i].path = dir + "/" + u.facts[i].path
	}
	u.messages = s.messages.Under(dir)
	u.times = s.times.Under(dir)
	return &u
}
