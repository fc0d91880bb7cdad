package report

import (
	"slices"
	"strings"
	"time"

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
	slices.SortStableFunc(r.Runs, func(a, b Run) int { return a.Compare(&b) })
}

// Compare orders runs by their time, those without one last, else by path.
func (r *Run) Compare(o *Run) int {
	a, b := r.Started, o.Started
	switch {
	case (a == nil) != (b == nil):
		if a == nil {
			return 1
		}
		return -1
	case a != nil && !a.Equal(*b):
		return a.Compare(*b)
	}
	return strings.Compare(r.Path, o.Path)
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
	if t, from := when(run, facts); from != "" {
		r.Started, r.StartedFrom = &t, from
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

// when returns when the run started, as well as anything tells, and what does; ""
// when nothing does. The host's clock goes before the guest's, which may be off,
// and any line of the boot before a name.
func when(run *bundle.Run, facts *analyzers.Facts) (t time.Time, from string) {
	t = run.Started
	for _, f := range facts.Of("run.started", "") {
		if s := parsed(f); hosts(run.Artifact(f.Evidence[0].Path)) && !s.IsZero() && (t.IsZero() || s.Before(t)) {
			t = s
		}
	}
	if !t.IsZero() {
		return t.UTC(), FromHost
	}
	for _, f := range facts.Of("boot.dated", "") {
		if t = parsed(f); !t.IsZero() {
			return t, FromGuest
		}
	}
	if !run.Named.IsZero() {
		return run.Named.UTC(), FromName
	}
	return time.Time{}, ""
}

// hosts reports whether what stands in a was written by the host's clock.
func hosts(a *bundle.Artifact) bool {
	return a != nil && slices.Contains([]bundle.Kind{bundle.Metadata, bundle.Manifest, bundle.Harness}, a.Kind)
}

// parsed is the time that a fact's value is, zero when it is none.
func parsed(f *analyzers.Fact) time.Time {
	t, _ := time.Parse(time.RFC3339, f.Value)
	return t
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
