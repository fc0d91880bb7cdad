// Package kernel reads the kernel's messages and states what they say of the
// machine: that it booted and with which command line, its processor, disks
// and network interfaces, and how the kernel died.
//
// # Nouns
//
// A Message is one line of the kernel's ring buffer with its stamp: printed on
// the console as it happened, answered by dmesg, saved in a file of its own, or
// kept by the journal under the identifier "kernel". A Log is the messages of
// one artifact. Programs may write to the ring buffer too (systemd, the first
// stage of NixOS); their messages start with their name, and patterns that
// speak of the kernel match at the start only.
//
// # Invariants
//
//   - A message is known by its stamp, "[   12.345678] ", by dmesg's clock times
//     (--ctime, --time-format iso), by the head of a record of /dev/kmsg, or by
//     its place in dmesg --json. One with the kernel's stamp may stand within a
//     line, spliced into a program's output, but not in what somebody typed,
//     behind a prompt, in quotes, or in a line of a journal or a harness.
//   - Only what a message says outright is stated. Complaints that healthy
//     boots show too (an empty floppy drive, /dev/root that is no block device
//     yet, a start job that is still running) state nothing.
//   - What ended the boot (panic, oops, lockup, a missing device) never
//     contradicts anything: these facts stand side by side. The first clock
//     fact of an artifact that says "bad" decides, whatever came after.
//   - Time and memory are proportional to the artifacts.
//
// A few lines come without a stamp: what the kernel prints before it has a
// clock (the processor is too old), and what programs say of the clock, the
// processor and devices on the console. They count from the line's start only.
//
// Left out: messages without stamps (printk.time=0), drivers' errors about
// single requests, and everything in terms of units, which package units reads.
package kernel

import (
	"sort"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
)

// Message is one message of the kernel.
type Message struct {
	Seconds  float64 // since boot; -1 where the artifact has no stamp
	Text     string
	Evidence bundle.Evidence
}

// Log is the messages of one artifact, in order.
type Log struct {
	Path     string
	Kind     bundle.Kind
	Messages []Message

	told []said // messages, and what programs say of the same things
}

// source tells who said something.
type source uint8

const (
	ring    source         = 1 << iota // the kernel's ring buffer, which programs may write to
	entry                              // a journal entry of a program, as "ident: message"
	bare                               // a line on the console without stamp
	program = entry | bare             // whoever it was, not the kernel
)

// said is a message with its source.
type said struct {
	Message
	by  source
	cut bool
	// dated: its stamp is a clock's, such as other programs write, too: it alone
	// is no sign of a kernel.
	dated bool
}

// From returns the logs that the pass's analyzer required: one per artifact
// that holds messages of the kernel, in path order.
func From(p *analyzers.Pass) []*Log {
	logs, _ := p.ResultOf[Analyzer].([]*Log)
	return logs
}

// Analyzer reads the kernel's messages.
var Analyzer = &analyzers.Analyzer{
	Name:     "kernel",
	Doc:      "States what the kernel's messages say of the machine and of how the kernel died.",
	Requires: []*analyzers.Analyzer{console.Analyzer, commands.Analyzer, journal.Analyzer},
	Facts:    facts,
	Run:      run,
}

func run(p *analyzers.Pass) (any, error) {
	byPath := map[string]*Log{}
	for _, t := range console.From(p) {
		if l := readConsole(t); len(l.told) > 0 {
			byPath[t.Path] = l
		}
	}
	for _, d := range commands.From(p) {
		if l := readAnswers(d); len(l.told) > 0 {
			if have := byPath[d.Path]; have != nil {
				l.told = append(l.told, have.told...)
			}
			byPath[d.Path] = l
		}
	}
	for _, j := range journal.From(p) {
		l := byPath[j.Path]
		if l == nil {
			l = &Log{Path: j.Path, Kind: j.Kind}
			byPath[j.Path] = l
		}
		l.told = readJournal(l.told, j)
	}
	var logs []*Log
	for _, a := range p.Run.Artifacts {
		l := byPath[a.Path]
		if l == nil {
			continue
		}
		l.order()
		state(p, l)
		l.told = nil // nobody asks again
		if len(l.Messages) > 0 {
			logs = append(logs, l)
		}
	}
	return logs, nil
}

// order puts what the two readers found into the artifact's order. Native files
// come in order from one reader, merged: their offsets do not compare.
func (l *Log) order() {
	if l.Kind != bundle.NativeJ {
		sort.SliceStable(l.told, func(i, j int) bool { return l.told[i].Evidence.Start < l.told[j].Evidence.Start })
	}
	shown := false // that dated messages are the kernel's
	for i := range l.told {
		shown = shown || strings.HasPrefix(l.told[i].Text, "Linux version ")
	}
	ours := func(m *said) bool { return m.by == ring && (shown || !m.dated) }
	n := 0
	for i := range l.told {
		if ours(&l.told[i]) {
			n++
		}
	}
	l.Messages = make([]Message, 0, n)
	for i := range l.told {
		if m := &l.told[i]; ours(m) {
			l.Messages = append(l.Messages, m.Message)
		}
	}
}

// readJournal appends what a journal's entries say.
func readJournal(out []said, j *journal.Log) []said {
	for i := range j.Entries {
		e := &j.Entries[i]
		s := said{Message: Message{Seconds: e.Monotonic, Text: e.Message, Evidence: e.Evidence}, by: ring, cut: e.Truncated}
		switch {
		case e.Ident == "kernel" && e.PID == 0:
		case e.Ident == "systemd" && e.PID == 1:
			s.by, s.Text = entry, "systemd[1]: "+e.Message
		default:
			s.by, s.Text = entry, e.Ident+": "+e.Message
		}
		// Interpreters look at the whole of program messages only where they
		// could matter; most are neither.
		if s.by == ring || mayMatter(s.Text) {
			out = append(out, s)
		}
	}
	return out
}

// mayMatter reports whether a pattern for programs may match text.
func mayMatter(text string) bool {
	for _, has := range programsSay {
		if strings.Contains(text, has) {
			return true
		}
	}
	return false
}

// programsSay is what the patterns for programs look for first.
var programsSay = func() (has []string) {
	for i := range patterns {
		if q := &patterns[i]; q.by&program != 0 {
			has = append(has, q.has)
		}
	}
	return has
}()
