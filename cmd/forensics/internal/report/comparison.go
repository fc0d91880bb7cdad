package report

import (
	"time"

	"forensics/analyzers/bundle"
)

// Comparison sets two runs side by side: which conditions changed, and what
// changed in the artifacts that goes with it. Exchanging the runs exchanges
// every From with its To, and NewlyReached with NoLongerReached, and nothing
// else but the sentences.
type Comparison struct {
	From     string `json:"from"` // path of the run as in Report.Runs, or of the baseline
	To       string `json:"to"`
	Headline string `json:"headline"` // one sentence
	// Flips are the conditions whose status differs, in catalogue order.
	Flips []Flip `json:"flips"`
	// Mechanisms are the conditions that failed in both runs and give another
	// reason, in catalogue order.
	Mechanisms []Flip `json:"mechanisms"`
	// Changes are what else differs, what may matter first, the harmless last.
	Changes []Change `json:"changes"`
	// Folded counts, kind by kind, the differences that are not listed.
	Folded []Fold `json:"folded"`
	// Differences counts all that differs and is not harmless, listed or not.
	Differences int `json:"differences"`
	// Notes are what a reader must know to weigh the comparison: artifacts
	// that only one run has, limits that were met.
	Notes []string `json:"notes"`
}

// Flip is a condition that the two runs show differently.
type Flip struct {
	Condition string `json:"condition"`
	Title     string `json:"title"`
	From      string `json:"from"` // status
	To        string `json:"to"`
	// NewlyReached: the failure could not show in the first run, where an
	// earlier condition failed that this run passed. It is no regression.
	NewlyReached bool `json:"newly_reached"`
	// NoLongerReached is the mirror image: the run broke earlier.
	NoLongerReached bool `json:"no_longer_reached"`
	// MayBeSame, of Mechanisms: neither run could have shown the other's reason,
	// or one shows both.
	MayBeSame   bool   `json:"may_be_same"`
	FromBecause string `json:"from_because"`
	ToBecause   string `json:"to_because"`
	// Evidence is what the two verdicts rest on.
	Evidence []SideEvidence `json:"evidence"`
	// Changes go with the flip, the likeliest reason first.
	Changes []Change `json:"changes"`
}

// Change is one difference between the artifacts of two runs.
type Change struct {
	Kind    string `json:"kind"`    // qemu.drive, iso.file, journal.message, …
	Subject string `json:"subject"` // what changed: a device, a path, a message
	From    string `json:"from"`    // its value, "" where the run has none
	To      string `json:"to"`
	// Summary is the change as one clause: "QEMU has 3 drives (1 before)".
	Summary string `json:"summary"`
	// Feeds are the conditions whose rules read it.
	Feeds []string `json:"feeds"`
	// Alone: only one run's artifacts tell of it. The other may have it, too:
	// it was not asked, or its answer not kept.
	Alone bool `json:"alone"`
	// Harmless: temporary paths, ports and the like, which differ always.
	Harmless bool           `json:"harmless"`
	Evidence []SideEvidence `json:"evidence"`
	// Diff is a unified diff of a text, "" for anything else.
	Diff string `json:"diff"`
}

// The sides of a comparison.
const (
	SideFrom = "from"
	SideTo   = "to"
)

// What is quoted where a run does not show a change.
const (
	AbsentAfter = "after" // the last line before it that both runs have
	AbsentFrom  = "from"  // the listing, where it begins
)

// SideEvidence is evidence of one of two runs.
type SideEvidence struct {
	Side string `json:"side"` // from or to
	// Absent says that this run could have shown the change and does not:
	// AbsentAfter what is quoted, or AbsentFrom a listing.
	Absent string `json:"absent,omitempty"`
	bundle.Evidence
}

// Fold counts changes that are not listed.
type Fold struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
}

// History is many runs of the same thing in the order of time.
type History struct {
	Path string       `json:"path"`
	Runs []HistoryRun `json:"runs"`
	Rows []HistoryRow `json:"rows"` // conditions, in catalogue order
	// Turns are the places where a decided condition changed: between a run
	// and the last one before it that decided the condition.
	Turns []Turn `json:"turns"`
	// Groups are runs that failed the same way, the largest group first.
	Groups []Group `json:"groups"`
}

// HistoryRun is a column of the matrix.
type HistoryRun struct {
	ID          string     `json:"id"`
	Path        string     `json:"path"`
	Started     *time.Time `json:"started"`      // null when nothing tells; such runs come last
	StartedFrom string     `json:"started_from"` // as in Run
	Stage       string     `json:"stage"`
}

// HistoryRow is one condition over all runs.
type HistoryRow struct {
	Condition string   `json:"condition"`
	Title     string   `json:"title"`
	Cells     []string `json:"cells"` // status in each run
	// LastGood and FirstBad are indexes into History.Runs: the last run that
	// passed and the first failure after it; -1 where there is none.
	LastGood int `json:"last_good"`
	FirstBad int `json:"first_bad"`
}

// Turn is one change of one condition.
type Turn struct {
	Before int `json:"before"` // index into History.Runs
	Run    int `json:"run"`
	Flip
}

// Group is runs whose earliest cause has the same signature.
type Group struct {
	// Signature is stable between versions and machines: the condition and
	// the mechanism with its variable parts masked.
	Signature string `json:"signature"`
	Condition string `json:"condition"`
	Because   string `json:"because"` // of the first run
	Runs      []int  `json:"runs"`    // indexes into History.Runs
}

// ComparisonStatus returns the exit status that the comparison or the history
// stands for, as diff(1) has it: 0 when no condition flipped and none fails for
// another reason, 1 when one does, 2 when there is trouble, or nothing was set
// side by side. Of a history, 1 says that a condition turned.
func (r *Report) ComparisonStatus() int {
	c, h := r.Comparison, r.History
	switch {
	case len(r.Trouble) > 0 || c == nil && h == nil || h != nil && len(h.Runs) == 0:
		return 2
	case c != nil && !c.mayBeSame(), h != nil && len(h.Turns) > 0:
		return 1
	}
	return 0
}

// Redacted returns a copy of c without the secrets that Redact knows. What is
// quoted beside a verdict went through Build; what a comparison quotes did not.
// Unified diffs are looked at line by line: the body of a key is told by lines
// that hold nothing else.
func (c *Comparison) Redacted() *Comparison {
	return mappedLines(&Report{Comparison: c}, Redact, Redact).Comparison
}
