// Package probe says which commands are asked of the host and of the guest, and
// runs those of the host.
//
// # Nouns
//
// A Spec is one command with the conditions that its answer informs. A list of
// them is data: probes.yaml is built in, and a user adds lists of the same form
// for another project. Fill puts the parameters of a profile into the commands.
// A Record is a command with its answer, in the form that the analyzers read.
//
// # Invariants
//
//   - A list is checked when it is read: all mistakes at once, each with its
//     file, line and column. A later list's probe replaces one of the same name
//     and place.
//   - A parameter's value is never more than data: in a script it is quoted for
//     the shell, in an argument list it is one argument, and one that could be
//     taken for an option or break a line is refused.
//   - A probe ends. At its limit its whole process group is killed, and the
//     record says so. What it prints is kept up to MaxOutput a stream.
//   - Every probe that is run gives a record. A program that is not there is an
//     answer too: status 127, and the error as the shell puts it.
//   - Records are in the order of the list, however many ran at once.
//
// Probes only read. The guest's run over the dialogue with its console, which is
// another package's: here they are data, with the rule for when to ask again.
//
// Left out: the environment. It holds secrets; USER is all that is asked for.
//
// # Form of a list
//
//	probes:
//	  - name: unit-active              # letters, digits, hyphens
//	    where: guest                   # or host
//	    argv: [systemctl, is-active, "${unit}"]
//	    limit: 10s
//	    conditions: [vm.unit-inactive]
//	    poll: {until: settled, every: 5s, limit: 10m}
//
// Instead of argv there may be shell, a script for sh -c, or with login: true
// for bash -lc. root: true asks as root (guest only). output: json says what a
// good answer is (else text). when: {tool: getenforce} leaves the probe out
// where the tool is absent; one whose parameters have no value is left out too.
package probe

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Where a probe runs.
type Where string

// The places.
const (
	Host  Where = "host"
	Guest Where = "guest"
)

// Spec is a probe.
type Spec struct {
	Name       string
	Where      Where
	Argv       []string // with ${parameters} until Fill has replaced them
	Script     bool     // the last of Argv is a script for a shell
	Limit      time.Duration
	Conditions []string // ids of the conditions that the answer informs
	Root       bool     // ask as root; guest only
	Poll       *Poll    // nil: ask once; guest only
	JSON       bool     // a good answer is JSON
	Tool       string   // leave out where this program is not on PATH; "" to run always
}

// Poll says when to ask again. Every answer is kept.
type Poll struct {
	Every time.Duration // between the end of one answer and the next question
	Limit time.Duration // from the first question on
	until *regexp.Regexp
}

// unsettled are the words by which systemd's units and links, and the status
// files of provisioning units, say that they are at work.
var unsettled = regexp.MustCompile(`(?i)\b(?:activating|deactivating|reloading|pending|running|starting|detecting|configuring|maintenance)\b`)

// settledAfter is how many equal answers in a row have settled.
const settledAfter = 2

// Done reports whether the last of the answers (what was printed, oldest first)
// needs no further question. Until "settled" that is when it is not empty, does
// not say that something is at work, and is the one before it again; until a
// regular expression, when that matches it.
func (p *Poll) Done(answers []string) bool {
	if len(answers) == 0 {
		return false
	}
	last := strings.TrimSpace(answers[len(answers)-1])
	if p.until != nil {
		return p.until.MatchString(last)
	}
	if last == "" || unsettled.MatchString(last) || len(answers) < settledAfter {
		return false
	}
	return !slices.ContainsFunc(answers[len(answers)-settledAfter:], func(a string) bool { return strings.TrimSpace(a) != last })
}

// Select returns the probes that inform one of the conditions with the ids.
func Select(list []Spec, need []string) []Spec {
	var chosen []Spec
	for _, s := range list {
		if slices.ContainsFunc(s.Conditions, func(id string) bool { return slices.Contains(need, id) }) {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// At returns the probes that run at a place.
func At(list []Spec, where Where) []Spec {
	return slices.DeleteFunc(slices.Clone(list), func(s Spec) bool { return s.Where != where })
}
