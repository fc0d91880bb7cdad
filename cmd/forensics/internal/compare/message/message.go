// Package message says which log messages one run has and another lacks.
//
// # Nouns
//
// A message is what a program said in one line: the kernel, a unit in the
// journal, whatever printed on the console, the harness, the build. Its template
// (see Mask) is what is left when everything that varies between two runs of the
// same thing is masked; two messages are the same when their template and their
// source are. The source is the identifier in a journal, the command whose answer
// a line stands in, or "" where nothing tells who spoke: that matches any source.
//
// A Set is the messages of one run, or of several that serve as a baseline. A
// Difference is a message that only one of two sets has. Coverage is what a run
// could have shown: the kernel's whole ring buffer or what of it goes to the
// console, one unit's journal or all of it, the console up to the stage that the
// boot came to, the last answer of a command, the harness, the build.
//
// # Invariants
//
//   - Absence is no evidence. A message is a difference only where the other run
//     has the same coverage and could have shown it: it goes on behind what both
//     say last before, or was shown to its end. The rest is counted.
//   - Compare is symmetric: the mirror image has the same differences in the
//     same order with the sides exchanged.
//   - Where a message stands does not matter: what one run shows in the journal
//     and the other on the console is the same, also where the console
//     shortened it by "…".
//   - What was typed, a prompt or an echo is no message, and a harness's copy of
//     what the guest said is none of the harness.
//   - A Python traceback is one message: the exception and the source line of
//     the innermost frame that is not Python's own. The members of a JSON message
//     are in the order of their names, without times, durations and ids.
//   - Memory is bounded: a set holds maxTemplates messages and maxStored bytes;
//     Overflow counts the lines beyond. Time is proportional to the artifacts.
//
// Left out: severities other than whether a message looks like an error, how
// often a message comes (Count is for people), the order of messages, which
// differs from boot to boot, systemd's progress lines of jobs that run for less
// than a minute, and lines without two letters that are not masked.
package message

import (
	"slices"
	"strings"

	"forensics/analyzers/bundle"
)

// Class is where a message stands.
type Class string

// The classes, in the order of Compare. A message that stands in several has
// the first.
const (
	Kernel  Class = "kernel"  // the kernel's ring buffer, on whatever way it came
	Journal Class = "journal" // an entry of a journal
	Console Class = "console" // what else the guest printed
	Harness Class = "harness" // what the harness logged of itself
	Build   Class = "build"   // output of nix build
)

// Classes are all classes in order.
var Classes = []Class{Kernel, Journal, Console, Harness, Build}

// Message is one message of a set.
type Message struct {
	Class    Class
	Source   string // identifier in the journal, "$ COMMAND", or ""
	Template string
	Text     string // the first message of this template, as bundle.Printable shows it
	Count    int    // lines in all artifacts of the run that say it
	Error    bool   // looks like an error: by its priority or its words
	// Evidence is the first message's. Of a traceback it is the exception, then
	// the frame.
	Evidence []bundle.Evidence
}

const (
	// maxTemplates is some twenty times what a boot says that shows everything.
	maxTemplates = 100_000
	// maxStored bounds the bytes of templates, texts and quotes together.
	maxStored = 48 << 20
	// maxLine bounds what is read of a line. Longer ones are data, not messages.
	maxLine = 4 << 10
	// maxText bounds what is shown of a message, and a command as a source.
	maxText = 512
)

// Set is the messages of one run, or of several.
type Set struct {
	// Overflow counts the lines that are not in the set because it was full.
	Overflow int

	entries []*entry // in the order in which they were met
	index   map[key]*entry
	covers  map[string]int  // how many runs have a coverage
	whole   map[string]bool // the coverages that were shown up to their end
	stored  int
}

// realm parts what cannot be the same message, whatever it says.
type realm uint8

const (
	guest realm = iota
	harness
	build
)

type key struct {
	realm            realm
	source, template string
}

type entry struct {
	Message
	realm  realm
	covers []string // where it stood, a few
	origin string   // the one of them that Evidence is from
	runs   int      // how many have it
	nth    int      // in the set
	open   bool     // a traceback whose end is not there
}

const (
	// maxCovers bounds the coverages that are noted for one message.
	maxCovers = 8
	// maxKnown bounds those of a run, which has one for each command that was
	// run there. What would need more is no difference.
	maxKnown = 10_000
)

func newSet() *Set {
	return &Set{index: map[key]*entry{}, covers: map[string]int{}, whole: map[string]bool{}}
}

// Len returns how many messages the set has.
func (s *Set) Len() int { return len(s.entries) }

// Begins returns the text of the error that begins with head and says more, ""
// when there is none, or several that say different things.
func (s *Set) Begins(head string) string {
	found := ""
	for _, e := range s.entries {
		if !e.Error || len(e.Text) <= len(head) || !strings.HasPrefix(e.Text, head+", at ") {
			continue
		}
		if found != "" && found != e.Text {
			return ""
		}
		found = e.Text
	}
	return found
}

// Says reports whether any message of the run holds these words, variable parts
// apart.
func (s *Set) Says(words string) bool {
	words = Mask(words)
	return words != "" && slices.ContainsFunc(s.entries, func(e *entry) bool { return strings.Contains(e.Template, words) })
}

// cover notes that a run has that coverage.
func (s *Set) cover(name string) {
	if s.covers[name] == 0 && len(s.covers) < maxKnown {
		s.covers[name] = 1
	}
}

func (e *entry) coverBy(name string) {
	if len(e.covers) < maxCovers && !slices.Contains(e.covers, name) {
		e.covers = append(e.covers, name)
	}
}

func (e *entry) size() int {
	n := len(e.Template) + len(e.Text)
	for i := range e.Evidence {
		n += len(e.Evidence[i].Quote)
	}
	return n
}

// full reports whether there is no room for another message.
func (s *Set) full() bool { return len(s.entries) >= maxTemplates || s.stored >= maxStored }

// add puts e into the set.
func (s *Set) add(e *entry) {
	e.nth = len(s.entries)
	s.entries = append(s.entries, e)
	s.index[key{e.realm, e.Source, e.Template}] = e
	s.stored += e.size()
}

// earlier returns the class that comes first.
func earlier(a, b Class) Class {
	for _, c := range Classes {
		if c == a || c == b {
			return c
		}
	}
	return a
}

// Union returns the messages of all sets, as a baseline of good runs: a message
// that any of them has is known, one is missed only where all of them have it.
func Union(sets ...*Set) *Set {
	u := newSet()
	for _, s := range sets {
		u.Overflow += s.Overflow
		for c, n := range s.covers {
			u.covers[c] += n
		}
		for c := range s.whole {
			u.whole[c] = true
		}
		for _, e := range s.entries {
			u.merge(e)
		}
	}
	return u
}

func (s *Set) merge(e *entry) {
	have := s.index[key{e.realm, e.Source, e.Template}]
	if have == nil {
		if s.full() {
			s.Overflow += e.Count
			return
		}
		have = new(entry)
		*have = *e
		have.covers = slices.Clone(e.covers)
		s.add(have)
		return
	}
	have.Class = earlier(have.Class, e.Class)
	have.Count += e.Count
	have.runs += e.runs
	have.Error = have.Error || e.Error
	for _, c := range e.covers {
		have.coverBy(c)
	}
}

// errorWords make a message look like an error, where they begin a word.
var errorWords = []string{
	"error", "errno", "fail", "denied", "traceback", "timed out", "timeout", "panic", "oops", "not found", "no such", "not permitted", "cannot", "can't", "could not", "couldn't",
	"unable", "refused", "fatal", "critical", "segfault", "killed", "abort", "unreachable", "exception", "non-zero", "corrupt", "missing", "invalid", "bug:", "no space left", "dependency failed", "hung", "lockup", "call trace",
}

// benignWords take an error word back.
var benignWords = []string{"no error", "0 errors", "errors=remount", "without error", "not a bug", "fail-safe", "failover", "shell_on_fail", "ignore_missing", "timeout=", "(timeout"}

// onlyNamed begins lines that name what may go wrong: commands that a shell
// traces, and the patterns that a harness waits for.
var onlyNamed = []string{"+", "expecting", "awaiting", "matched"}

// soundsLikeError reports whether text has such a word. Clocks that cannot be
// calibrated are a matter of how busy the host is.
func soundsLikeError(text string) bool {
	text = strings.ToLower(text)
	if strings.Contains(text, "calibrat") {
		return false
	}
	for _, p := range onlyNamed {
		if strings.HasPrefix(text, p) {
			return false
		}
	}
	for _, w := range benignWords {
		if strings.Contains(text, w) {
			text = strings.ReplaceAll(text, w, "")
		}
	}
	for _, w := range errorWords {
		for at := 0; ; {
			i := strings.Index(text[at:], w)
			if i < 0 {
				break
			}
			if at += i; at == 0 || !isLower(text[at-1]) || w == "error" || w == "exception" {
				return true
			}
			at += len(w)
		}
	}
	return failedStatus(text)
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

// failedStatus reports whether a status other than 0 stands in text.
func failedStatus(text string) bool {
	for at := 0; ; {
		i := strings.Index(text[at:], "status=")
		if i < 0 {
			return false
		}
		at += i + len("status=")
		if at < len(text) && text[at] >= '1' && text[at] <= '9' {
			return true
		}
	}
}

// Under returns the set with its evidence below a directory, to tell the runs
// of a union apart.
func (s *Set) Under(dir string) *Set {
	u := *s
	u.entries = make([]*entry, len(s.entries))
	for i, e := range s.entries {
		c := *e
		c.Evidence = bundle.Under(dir, e.Evidence)
		u.entries[i] = &c
	}
	return &u
}
