package report

import (
	"slices"
	"sort"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/rules"
)

// StageFact holds how far the boot came.
const StageFact = "boot.stage"

// New returns a report without runs.
func New(version string) *Report {
	return &Report{Schema: Schema, Tool: Tool{Name: "forensics", Version: version}}
}

// Sort orders the runs: oldest first, those without a time last.
func (r *Report) Sort() {
	sort.SliceStable(r.Runs, func(i, j int) bool { return before(&r.Runs[i], &r.Runs[j]) })
}

func before(a, b *Run) bool {
	switch {
	case a.Started == nil || b.Started == nil:
		if (a.Started == nil) != (b.Started == nil) {
			return b.Started == nil
		}
	case !a.Started.Equal(*b.Started):
		return a.Started.Before(*b.Started)
	}
	return a.Path < b.Path
}

// Build makes the report on one run, without the secrets that were in it. The
// digest of an artifact too large to be read as text, an image, takes longer
// than all else, and is computed only when digest says so.
func Build(run *bundle.Run, facts *analyzers.Facts, out *rules.Outcome, profile string, digest bool) Run {
	r := Run{
		ID: run.ID, Path: run.Path, Stage: stage(facts), Profile: profile,
		Causes: causes(out.Causes), Observer: causes(out.Observer),
		Problems: slices.Concat(run.Problems, out.Problems),
	}
	if !run.Started.IsZero() {
		t := run.Started.UTC()
		r.Started = &t
	}
	for _, a := range run.Artifacts {
		f := Artifact{Path: a.Path, Kind: string(a.Kind), Size: a.Size}
		if digest || a.Size <= bundle.MaxText {
			f.SHA256 = a.SHA256()
		}
		r.Artifacts = append(r.Artifacts, f)
	}
	for i := range out.Verdicts {
		r.Verdicts = append(r.Verdicts, verdictOf(&out.Verdicts[i]))
	}
	r.Facts = read(facts, out)
	for _, c := range out.Contradictions {
		r.Contradictions = append(r.Contradictions, Contradiction{Fact: c.Fact, Subject: c.Subject, Text: c.Text, Evidence: c.Evidence})
	}
	return mapped(&Report{Runs: []Run{r}}, Redact).Runs[0]
}

// maxFacts bounds the facts of a report; a boot states some hundred that count.
const maxFacts = 2000

// read are the facts that rules asked for, that conditions rest on or verdicts
// quote, each value once an artifact, where it stands last.
func read(facts *analyzers.Facts, out *rules.Outcome) []Fact {
	asked := map[string]bool{}
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		for _, f := range v.Consulted {
			asked[f] = true
		}
		for _, in := range v.Condition.Inputs {
			asked[in.Fact] = true
		}
	}
	type place struct{ name, subject, value, artifact string }
	last := map[place]int{}
	var kept []*analyzers.Fact
	quoted := map[bundle.Evidence]bool{}
	for i := range out.Verdicts {
		for _, ev := range out.Verdicts[i].Evidence {
			quoted[ev] = true
		}
	}
	for _, f := range facts.All() {
		if quoted[f.Evidence[0]] || asked[f.Name] || asked[f.Name+" *"] || asked[strings.TrimSpace(f.Name+" "+bundle.Printable(f.Subject))] {
			last[place{f.Name, f.Subject, f.Value, f.Artifact()}] = len(kept)
			kept = append(kept, f)
		}
	}
	var list []Fact
	for i, f := range kept {
		if last[place{f.Name, f.Subject, f.Value, f.Artifact()}] == i && len(list) < maxFacts {
			list = append(list, Fact{Name: f.Name, Subject: f.Subject, Value: f.Value, Evidence: f.Evidence[:1]})
		}
	}
	return list
}

func verdictOf(v *rules.Verdict) Verdict {
	c := v.Condition
	return Verdict{
		Condition: c.ID, Phase: c.Phase, Title: c.Title, Remedy: c.Remedy,
		Status: string(v.Status), Because: v.Because, Conflict: v.Conflict,
		Evidence: v.Evidence, BlockedBy: v.BlockedBy, Despite: v.Despite, Needed: v.Needed,
	}
}

func causes(cs []rules.Cause) []Cause {
	var out []Cause
	for _, c := range cs {
		out = append(out, Cause{Condition: c.Condition.ID, Because: c.Because, Evidence: c.Evidence, Explains: c.Explains, Unproven: c.Unproven})
	}
	return out
}

// stage returns the latest stage that the transcript shows. Where artifacts
// differ it is the one furthest on: each shows what it shows.
func stage(facts *analyzers.Facts) string {
	last, _ := facts.Last(StageFact, "")
	t := facts.Type(StageFact)
	best, at := "none", -1
	for _, f := range last {
		i := 0
		if t != nil {
			i = slices.Index(t.Values, f.Value)
		}
		if i > at {
			best, at = f.Value, i
		}
	}
	return best
}
