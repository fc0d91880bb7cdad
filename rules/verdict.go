package rules

import (
	"fmt"
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Evaluate judges every condition by the facts of one run, and finds the
// causes among those that failed. Parameters that params lacks are unknown.
func (s *Set) Evaluate(facts *analyzers.Facts, params analyzers.Params) *Outcome {
	e := newEvaluation(facts, s.params, params)
	out := &Outcome{}
	for _, c := range s.conditions {
		j := &judge{evaluation: e, condition: c}
		out.Verdicts = append(out.Verdicts, j.verdict())
		out.Problems = append(out.Problems, j.problems...)
	}
	for _, c := range e.contradictions {
		out.Contradictions = append(out.Contradictions, *c)
	}
	s.diagnose(out)
	return out
}

// judge is Evaluate at work on one condition.
type judge struct {
	*evaluation
	condition *Condition
	problems  []bundle.Problem
}

// shown is a clause that is true.
type shown struct {
	because  string
	said     []bundle.Evidence // of what the sentence prints
	evidence []bundle.Evidence
	untried  bool
}

// quoted returns up to limit of the evidence: what the sentence says comes
// first, as far as half of it, then some of each artifact.
func (s *shown) quoted(limit int) []bundle.Evidence {
	return unique(append(unique(s.said, limit/2), spread(s.evidence, limit)...), limit)
}

func (j *judge) verdict() Verdict {
	c := j.condition
	j.asked = j.asked[:0]
	pass, fail := j.side(Pass, c.Pass), j.side(Fail, c.Fail)
	v := Verdict{Condition: c, Status: Unknown, Consulted: consulted(j.asked)}
	switch {
	case pass != nil && fail != nil:
		v.Conflict = true
		v.Because = "pass: " + pass.because + "; fail: " + fail.because
		v.Evidence = unique(append(pass.quoted(maxEvidence/2), fail.quoted(maxEvidence/2)...), maxEvidence)
	case pass != nil:
		v.Status, v.Because, v.Evidence = Pass, pass.because, pass.quoted(maxEvidence)
	case fail != nil:
		v.Status, v.Because, v.Evidence, v.Untried = Fail, fail.because, fail.quoted(maxEvidence), fail.untried
	default:
		if k := j.contradicted(); k != nil {
			v.Conflict, v.Because, v.Evidence = true, k.Text, k.Evidence
		}
	}
	if v.Status == Unknown {
		v.Needed = j.needed()
	}
	return v
}

// side evaluates the clauses that show one status, nil when none does. The
// first true one speaks; the evidence is that of all.
func (j *judge) side(status Status, clauses []*Clause) *shown {
	var all *shown
	for i, c := range clauses {
		shows, s, err := j.clause(c)
		if err != nil {
			j.problem("%s clause %d: %v", status, i+1, err)
		}
		if !shows {
			continue
		}
		ev := evidence(s)
		if len(ev) == 0 {
			j.problem("%s clause %d is true, but no artifact shows it", status, i+1)
			continue
		}
		if all == nil {
			all = &shown{because: j.because(c, ev), untried: c.Untried}
			all.said = said(j.said, s)
		}
		all.evidence = append(all.evidence, ev...)
	}
	return all
}

// said returns the evidence of what a sentence prints. What it prints of a value,
// and not of a line, the first of the clause's facts with that value shows.
func said(printed, clause support) []bundle.Evidence {
	var ev []bundle.Evidence
	for _, u := range printed {
		for _, f := range u.facts {
			if u.fn != fnQuote {
				f = alike(clause, f)
			}
			ev = append(ev, f.Evidence...)
		}
	}
	return ev
}

// alike returns the first fact of s that states what f does, f when none does.
func alike(s support, f *analyzers.Fact) *analyzers.Fact {
	for _, u := range s {
		for _, g := range u.facts {
			if g.Name == f.Name && g.Subject == f.Subject && g.Value == f.Value {
				return g
			}
		}
	}
	return f
}

func (j *judge) problem(format string, args ...any) {
	text := bundle.Printable(fmt.Sprintf("rule %s: ", j.condition.ID) + fmt.Sprintf(format, args...))
	j.problems = append(j.problems, bundle.Problem{Text: text})
}

// because says why clause c shows what it shows; where all of its sentence is
// unknown, the deciding line says it.
func (j *judge) because(c *Clause, ev []bundle.Evidence) string {
	if s := j.render(c.because); s != "" {
		return s
	}
	return ev[0].Quote
}

func (j *judge) needed() []string {
	var ns []string
	for _, t := range j.condition.decide {
		if s := j.render(t); s != "" {
			ns = append(ns, s)
		}
	}
	return ns
}

// contradicted returns the first contradiction among the facts that the
// condition's clauses asked for.
func (j *judge) contradicted() *Contradiction {
	for _, q := range j.asked {
		if a := j.known[q]; a.conflict != nil {
			return a.conflict
		}
	}
	return nil
}

func consulted(asked []question) []string {
	var names []string
	seen := map[string]bool{}
	for _, q := range asked {
		name := strings.TrimSpace(q.name + " " + bundle.Printable(q.subject))
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

// span identifies evidence.
type span struct {
	path       string
	start, end int64
}

// evidence returns the evidence of the facts in s, in order, each once, some
// of each artifact.
func evidence(s support) []bundle.Evidence {
	var ev []bundle.Evidence
	of, seen := map[string]int{}, map[span]bool{}
	for _, u := range s {
		for _, f := range u.facts {
			for _, x := range f.Evidence {
				k := span{x.Path, x.Start, x.End}
				if of[x.Path] < maxPerArtifact && !seen[k] {
					of[x.Path]++
					seen[k] = true
					ev = append(ev, x)
				}
			}
		}
	}
	return ev
}

// unique returns up to limit of ev, each once.
func unique(ev []bundle.Evidence, limit int) []bundle.Evidence {
	var u []bundle.Evidence
	seen := map[span]bool{}
	for _, x := range ev {
		k := span{x.Path, x.Start, x.End}
		if len(u) < limit && !seen[k] {
			seen[k] = true
			u = append(u, x)
		}
	}
	return u
}

// spread returns up to limit of ev: first the first of each artifact, then the
// second ones.
func spread(ev []bundle.Evidence, limit int) []bundle.Evidence {
	ev = unique(ev, len(ev))
	round := map[string]int{}
	rounds := make([][]bundle.Evidence, len(ev))
	for _, x := range ev {
		rounds[round[x.Path]] = append(rounds[round[x.Path]], x)
		round[x.Path]++
	}
	all := slices.Concat(rounds...)
	return all[:min(limit, len(all))]
}
