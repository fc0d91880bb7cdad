// Package report is what the program has to say about runs, as one value, and
// the texts that are written from it.
//
// # Nouns
//
// A Report holds Runs. A Run holds a Verdict for each condition, the Causes
// that no other failed condition explains, and what else a reader must know:
// contradictions, problems with the input. It may hold a Comparison of two runs,
// or a History of many, made by package compare. Its JSON form is the contract
// "forensics.report/1": a field keeps its name and meaning, new ones may come,
// null and empty lists are written out.
//
// # Invariants
//
//   - A Report is complete: every format is a pure function of it and Options.
//     No clock, no map order, no terminal is looked at. The same report gives
//     the same bytes, and Status gives the same exit status, in every format.
//   - Secrets end in Build, and for what a comparison quotes in Redacted: no
//     string of a report holds one that Redact knows, so no format has to think
//     of them.
//   - Every string may be hostile. A renderer first makes a clean copy of the
//     whole report (see Clean), and works on that alone: nothing of an
//     artifact can reach a terminal or a page by another way. JSON keeps each
//     string as it is, but writes what a terminal could act on as \u escapes.
//
// Left out: judging. A renderer shows verdicts and never makes one.
package report

import (
	"fmt"
	"time"

	"forensics/analyzers/bundle"
)

// Schema names the JSON form.
const Schema = "forensics.report/1"

// The statuses of a verdict.
const (
	Pass    = "pass"
	Fail    = "fail"
	Unknown = "unknown"
)

// Report is everything there is to say about some runs.
type Report struct {
	Schema     string           `json:"schema"`
	Tool       Tool             `json:"tool"`
	Runs       []Run            `json:"runs"`       // oldest first, runs without a time last
	Trouble    []bundle.Problem `json:"trouble"`    // what was to be analysed and could not be
	Problems   []bundle.Problem `json:"problems"`   // notes that belong to no run
	Comparison *Comparison      `json:"comparison"` // null but for diff
	History    *History         `json:"history"`    // null but for diff --all
}

// Tool is the program that made the report.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Run is one boot.
type Run struct {
	ID             string          `json:"id"`
	Path           string          `json:"path"`
	Started        *time.Time      `json:"started"`      // null when nothing tells
	StartedFrom    string          `json:"started_from"` // what tells: see FromHost
	Stage          string          `json:"stage"`        // the latest that was reached
	Profile        string          `json:"profile"`      // the parameters that the rules were asked with
	Artifacts      []Artifact      `json:"artifacts"`
	Verdicts       []Verdict       `json:"verdicts"` // in catalogue order
	Causes         []Cause         `json:"causes"`   // the earliest first
	Observer       []Cause         `json:"observer"` // what was wrong with the one who looked
	Contradictions []Contradiction `json:"contradictions"`
	// Facts are those that the rules read, or that conditions rest on: what a
	// saved report can be compared by. Of each value the last place in each
	// artifact is kept.
	Facts    []Fact           `json:"facts"`
	Problems []bundle.Problem `json:"problems"`
}

// What tells when a run started, the best first; "" when nothing does, and in
// reports of older versions.
const (
	FromHost  = "host"  // the host's clock: metadata, a manifest, a harness's first words
	FromGuest = "guest" // the guest's clock, in the first line that it dates: a little later
	FromName  = "name"  // the name, which may be the time of a copy
)

// Artifact is a file of the run.
type Artifact struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
	Size int64  `json:"size"`
	// SHA256 is empty when the file could not be read, or is larger than
	// bundle.MaxText and its digest was not asked for.
	SHA256 string `json:"sha256"`
}

// Fact is a statement about the run, as an analyzer made it.
type Fact struct {
	Name     string            `json:"name"`
	Subject  string            `json:"subject"`
	Value    string            `json:"value"`
	Evidence []bundle.Evidence `json:"evidence"` // the deciding one
}

// Verdict is what the run's artifacts show about one condition.
type Verdict struct {
	Condition string            `json:"condition"`
	Phase     string            `json:"phase"`
	Title     string            `json:"title"`
	Status    string            `json:"status"`
	Because   string            `json:"because"`    // one sentence
	Conflict  bool              `json:"conflict"`   // unknown because artifacts disagree
	Evidence  []bundle.Evidence `json:"evidence"`   // the deciding one first
	BlockedBy []string          `json:"blocked_by"` // failed conditions that explain this failure
	Despite   []string          `json:"despite"`    // failed needs of a condition that passed
	Needed    []string          `json:"needed"`     // what would decide an unknown
	Remedy    string            `json:"remedy"`     // what to do about a failure
}

// Cause is a failed condition that no other failed one explains.
type Cause struct {
	Condition string            `json:"condition"`
	Because   string            `json:"because"` // the mechanism
	Evidence  []bundle.Evidence `json:"evidence"`
	Explains  []string          `json:"explains"` // failures that follow from it
	Unproven  []string          `json:"unproven"` // what could lie earlier and is unknown
}

// Contradiction is a fact that two artifacts state differently.
type Contradiction struct {
	Fact     string            `json:"fact"`
	Subject  string            `json:"subject"`
	Text     string            `json:"text"`
	Evidence []bundle.Evidence `json:"evidence"`
}

// Status returns the exit status that the report stands for: 1 when a
// condition failed, or, when strict, is unknown; 2 when it holds no run or not
// all that was asked for; else 0.
func (r *Report) Status(strict bool) int {
	if len(r.Runs) == 0 || len(r.Trouble) > 0 {
		return 2
	}
	for i := range r.Runs {
		n := r.Runs[i].count()
		if n[Fail] > 0 || strict && n[Unknown] > 0 {
			return 1
		}
	}
	return 0
}

// seen says in a word and a time when a run was, by what is known of it: a name
// is no start.
func seen(started *time.Time, from string) (word, at string) {
	if started == nil {
		return "", "unknown"
	}
	switch at = started.UTC().Format(time.DateTime); from {
	case FromGuest:
		return "running", at
	case FromName:
		return "named", at
	}
	return "started", at
}

// started is what seen says, in a sentence.
func (r *Run) started() string {
	switch word, at := seen(r.Started, r.StartedFrom); word {
	case "":
		return "start time unknown"
	case "running":
		return "running at " + at + " UTC"
	default:
		return word + " " + at + " UTC"
	}
}

// count returns how many verdicts have each status.
func (r *Run) count() map[string]int {
	n := map[string]int{}
	for i := range r.Verdicts {
		n[r.Verdicts[i].word()]++
	}
	return n
}

// verdict returns the verdict on a condition, nil when there is none.
func (r *Run) verdict(condition string) *Verdict {
	for i := range r.Verdicts {
		if r.Verdicts[i].Condition == condition {
			return &r.Verdicts[i]
		}
	}
	return nil
}

// word is the verdict's status; what is neither pass nor fail is unknown.
func (v *Verdict) word() string {
	if v.Status == Pass || v.Status == Fail {
		return v.Status
	}
	return Unknown
}

// summary says in words how the verdicts are spread.
func (r *Run) summary() string {
	n := r.count()
	return fmt.Sprintf("%d pass, %d fail, %d unknown", n[Pass], n[Fail], n[Unknown])
}

// unread says why no analyzer reads the artifact, "" when one does.
func (a *Artifact) unread() string {
	switch bundle.Kind(a.Kind) {
	case bundle.Copy:
		return "kept for people: repeats what is read elsewhere"
	case bundle.Report:
		return "written by a person: decides nothing"
	case bundle.Excerpt:
		return "repeats a part of another artifact"
	case bundle.Empty:
		return "holds no bytes"
	case bundle.Binary:
		return "not read by any analyzer"
	}
	if a.SHA256 == "" && a.Size <= bundle.MaxText {
		return "could not be read"
	}
	return ""
}

// at writes where evidence is, as editors and grep -n do.
func at(e bundle.Evidence) string {
	if e.Line <= 0 {
		return e.Path
	}
	return fmt.Sprintf("%s:%d", e.Path, e.Line)
}
