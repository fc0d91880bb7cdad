// Package rules turns facts into verdicts, and verdicts into causes.
//
// # Nouns
//
// A Condition is something that must hold for a boot to succeed. It has
// clauses: CEL expressions over facts that show that it held (pass) or did not
// (fail), each with a sentence that says why. A pack is a YAML file of
// conditions; a Profile gives the names that belong to one image, so that the
// same packs serve another image. A Set is the packs, loaded and checked. Its
// only work is Evaluate: facts and parameters in, an Outcome out.
//
// # Three values
//
// An expression is true, false or unknown, by Kleene's logic: a fact that no
// artifact states is unknown, and so is one about which artifacts disagree.
// Only true shows a clause. The functions are
//
//	last(name[, subject])         the value that holds at the end
//	first(name[, subject])        the value that was stated first
//	values(name[, subject])       the distinct values, in the order stated
//	quote(name[, subject])        the line that shows the value that holds at the end
//	subjects(name)                the distinct subjects that it was stated of
//	is(name, subject, value)      last(name, subject) == value
//	has(name[, subject[, value]]) true when stated at any time, else unknown:
//	                              absence is not evidence
//	lacks(name[, subject[, value]])  no artifact states it; a guard
//	count(name[, subject])        how often it was stated; a guard
//
// and param.NAME (the first value of a parameter) and params.NAME (all of
// them), where a hyphen in the name is written as an underscore; a parameter
// without values is unknown. The subject of a fact that has none is "". Left
// out, or written "*", the subject of a fact that has one means any subject,
// except for last, first, quote and is, which are about one. Values that stand side
// by side (FactType.Repeats) have no single last or first one: where artifacts
// end with different ones, a clause sees unknown, a sentence the latest stated.
//
// # Invariants
//
//   - A pass or fail has evidence: the raw bytes behind the facts that made its
//     clause true, of an alternative (||, exists) only those of the branches
//     that are true. Guards carry none, so Load refuses a clause that a guard
//     alone can make true; what slips through (all over an empty list) is
//     reported as a problem and shows nothing.
//   - What a sentence prints of facts is shown: their lines come first among the
//     evidence. Time, host and process in front of a log's line are left to it.
//   - Clauses on both sides are evaluated always: a pass and a fail together are
//     a conflict, and unknown.
//   - Conditions refer to each other only by needs, which have no cycle. No
//     clause reads a verdict, so one pass over the catalogue is enough.
//   - A mistake in a pack is found by Load: names of facts, their values,
//     parameters and needs are checked, all mistakes are reported at once, each
//     with its place.
//   - A Set does not change after Load; Evaluate may be called concurrently and
//     gives the same Outcome for the same facts. Packs may be foreign: what an
//     expression may cost is bounded, and there are no clocks, files or zones
//     in the language.
//
// # Diagnosis
//
// A failed condition is explained when one that it needs failed, where the path
// leads only through conditions that did not pass: a pass in between shows that
// the trouble did not come that way. A cause is a failed condition that nothing
// explains; where two rest on the same line with the same words, one thing broke
// and the first is the cause of both. Observer conditions judge who watched, not the guest, and are
// reported apart.
//
// Left out on purpose: weights, scores, severities, and rules that overrule
// other rules. A clause that must yield says so itself (unless).
package rules

import (
	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Source is a file, named as messages shall name it.
type Source struct {
	Name string
	Data []byte
}

// A Condition is one entry of the catalogue.
type Condition struct {
	ID       string
	Phase    string // one of Phases
	Title    string
	Plan     string   // section of the audit plan it comes from
	Needs    []string // ids
	Observer bool     // judges who watched the guest, not the guest
	Pass     []*Clause
	Fail     []*Clause
	Decide   []string // what would decide an unknown, ${} as written
	Inputs   []Input  // what from outside the guest it rests on, beyond the facts of its clauses
	Remedy   string

	decide []*template
	index  int // in the catalogue
}

// A Clause is one way to show a condition.
type Clause struct {
	When    string // CEL
	Unless  string // CEL: when definitely true, the clause shows nothing
	Because string // ${} as written
	// Untried: a fail clause that shows that the step was not tried, so that
	// what comes after it passed, or failed, without it.
	Untried bool

	when, unless *prop
	because      *template
}

// Phases returns the phases of a boot, in their order.
func Phases() []string { return []string{"host", "virt", "image", "vm", "harness"} }

// Set is a catalogue of conditions, checked and ready to evaluate. It does not
// change.
type Set struct {
	conditions []*Condition
	byID       map[string]*Condition
	params     []string // names that expressions may use, as in the profile
}

// Conditions returns the catalogue, in the order of the packs.
func (s *Set) Conditions() []*Condition { return s.conditions }

// Condition returns the condition with that id, nil when there is none.
func (s *Set) Condition(id string) *Condition { return s.byID[id] }

// Status is what a verdict says.
type Status string

// The statuses.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Unknown Status = "unknown"
)

// Outcome is what the rules make of one run.
type Outcome struct {
	Verdicts       []Verdict // catalogue order
	Causes         []Cause   // catalogue order
	Observer       []Cause   // failed observer conditions
	Contradictions []Contradiction
	Problems       []bundle.Problem // mistakes in rules that came to light
}

// Verdict is the judgement of one condition.
type Verdict struct {
	Condition *Condition
	Status    Status
	Because   string
	Conflict  bool // artifacts or clauses contradict each other
	Evidence  []bundle.Evidence
	BlockedBy []string // failed needs that explain a fail or unknown
	Despite   []string // nearest failed needs of a pass
	Needed    []string // what would decide an unknown
	Untried   bool     // a failure in that the step was not tried
	Consulted []string // facts asked for: name, or name and subject
}

// Cause is a failed condition that no other explains.
type Cause struct {
	Condition *Condition
	Because   string
	Evidence  []bundle.Evidence
	Explains  []string // failed conditions that it explains
	Unproven  []string // unknown needs of which it could be the consequence
}

// Input is facts that a condition rests on though no clause reads them: its
// clauses read what became of them. No verdict depends on an input; it tells
// which change between two runs may be behind a change of the verdict.
type Input struct {
	Fact    string
	Subject string // glob of path.Match, "" for any
}

// Contradiction is a fact about which artifacts disagree.
type Contradiction struct {
	Fact, Subject string
	Evidence      []bundle.Evidence // every value first, then the rest
	Text          string
}

// Profile gives the names that belong to one image.
type Profile struct {
	Name, Doc string
	Params    analyzers.Params
}
