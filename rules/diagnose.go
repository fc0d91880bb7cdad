package rules

import "slices"

// diagnose fills in how the verdicts explain each other.
func (s *Set) diagnose(out *Outcome) {
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		if v.Status == Pass {
			v.Despite = slices.DeleteFunc(s.upstream(out, i, true, Fail), func(id string) bool { return s.byID[id].Observer })
		} else {
			v.BlockedBy = s.upstream(out, i, false, Fail)
		}
	}
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		if v.Status != Fail {
			continue
		}
		c := Cause{Condition: v.Condition, Because: v.Because, Evidence: v.Evidence,
			Explains: explained(out, v.Condition.ID), Unproven: s.upstream(out, i, false, Unknown)}
		switch {
		case v.Condition.Observer:
			out.Observer = append(out.Observer, c)
		case len(v.BlockedBy) == 0:
			if same := sameFailure(out.Causes, &c); same != nil {
				same.Explains = append(same.Explains, c.Condition.ID)
				slices.SortFunc(same.Explains, func(a, b string) int { return s.byID[a].index - s.byID[b].index })
				continue
			}
			out.Causes = append(out.Causes, c)
		}
	}
}

// sameFailure returns the earlier cause that rests on the same line as c, nil
// when there is none: one thing broke, and two conditions show it.
func sameFailure(causes []Cause, c *Cause) *Cause {
	for i := range causes {
		e := &causes[i]
		if e.Because == c.Because && len(e.Evidence) > 0 && len(c.Evidence) > 0 && e.Evidence[0] == c.Evidence[0] {
			return e
		}
	}
	return nil
}

// upstream returns what condition i needs, at any remove, that has the wanted
// status, in catalogue order. The way leads only through conditions that did
// not pass, and when only the nearest are wanted, not on from those.
func (s *Set) upstream(out *Outcome, i int, nearest bool, want Status) []string {
	seen := map[int]bool{}
	var found []int
	var visit func(int)
	visit = func(i int) {
		for _, id := range s.conditions[i].Needs {
			n := s.byID[id].index
			if seen[n] || out.Verdicts[n].Status == Pass {
				continue
			}
			seen[n] = true
			wanted := out.Verdicts[n].Status == want
			if wanted {
				found = append(found, n)
			}
			if !wanted || !nearest {
				visit(n)
			}
		}
	}
	visit(i)
	slices.Sort(found)
	var ids []string
	for _, n := range found {
		ids = append(ids, s.conditions[n].ID)
	}
	return ids
}

// explained returns the failed conditions that id explains.
func explained(out *Outcome, id string) []string {
	var ids []string
	for _, v := range out.Verdicts {
		if v.Status == Fail && slices.Contains(v.BlockedBy, id) {
			ids = append(ids, v.Condition.ID)
		}
	}
	return ids
}
