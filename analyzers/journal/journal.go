// Package journal reads the entries of journals: what journalctl printed, into
// a file of its own, into a shell session on the console or into a guest's
// probe, and the binary files that journald itself writes.
//
// # Nouns
//
// An Entry is one line of a journal: when, who, what. In the short forms a
// message of several lines is several entries when each has its own prefix;
// lines that journalctl indents under a prefix belong to the entry before. A
// Log is the entries of one artifact in file order. Its Form is how they are
// written: short and its relatives, verbose, json, export, or native. One
// journal gives the same entries in every form, less what the form lacks.
//
// A machine's native files (system, system@…, user-1000, …~) are one Log: their
// entries are merged as journalctl does, and one that stands in two of them
// comes once.
//
// # Invariants
//
//   - A line of a short form is recognised by its shape alone (stamp, host,
//     identifier, colon), whatever command printed it. What somebody typed, or
//     what stands at a prompt, is never an entry; a line whose prefix holds
//     foreign text is none either: no entry is better than one that names the
//     wrong program. Where other logs look alike, a process must be named, or
//     the entry follow one of the same form and host.
//   - json and export forms are read from the raw bytes of Journal artifacts. A
//     damaged stream keeps what was read, goes on at the next entry, and the
//     report says so. Elsewhere their lines are read as a terminal shows them:
//     what stands behind a field in binary form is lost with it.
//   - Every Entry has the bytes that show it. In json and export forms these
//     are the bytes of its MESSAGE field. In a native file they are the entry
//     object's, which refers to its fields elsewhere: the quote is the decoded
//     "identifier[pid]: message", not what stands in the span.
//   - Reading takes time and memory proportional to the artifact; a message is
//     cut at maxMessage bytes, and says so. Of native files, which may be
//     larger than memory, the newest entries are kept.
//   - Entries that stand in several artifacts stay in each.
//   - A journal in files of its own whose kernels the run's serial console
//     contradicts (another release, another command line) is of another boot or
//     machine, say the host's: it does not count, and the report says so.
//
// An Entry tells what was logged, never what is true: a plan, a shell trace and
// an existence probe are logged too.
//
// Left out: the form cat, in which nothing tells where an entry begins or who
// wrote it; identifiers with blanks in the short forms; month names in other
// languages; and the years that the short form does not write. The form
// with-unit has units in place of identifiers: of these only the manager's is
// known.
package journal

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// Entry is one entry of a journal.
type Entry struct {
	Stamp string    // as written; native files write none
	When  time.Time // zero when the form has no absolute time
	// Monotonic is the time since boot in seconds, -1 where the form has none.
	// For kernel messages it is the kernel's own stamp where the form has it.
	Monotonic float64
	Host      string
	Ident     string
	PID       int    // 0 when none is written
	Unit      string // the unit it is about, or comes from; "" in short forms
	BootID    string // see Log.Boots
	Priority  int    // 0 emergency … 7 debug, -1 unknown
	Message   string
	// Truncated: the message was shortened: by systemctl (…), by the pager
	// (> in the last column), or because it was no text ("[82B blob data]").
	Truncated bool
	Evidence  bundle.Evidence
}

// Log is the entries of one artifact, or of one machine's native files.
type Log struct {
	Path    string      // of native files the first; Entry.Evidence tells which
	Kind    bundle.Kind // of the artifact
	Entries []Entry     // in file order, those of several files merged
	// Form of the first entry: short, short-precise, short-iso,
	// short-iso-precise, short-full, short-unix, short-monotonic, short-delta,
	// with-unit, verbose, json, export, native.
	Form string
	// Boots are the distinct Entry.BootIDs in order of appearance; empty when
	// nothing in the artifact names a boot. In short forms only a line such as
	// "-- Boot 0123… --" names one: entries before the first such line have
	// the BootID "", and "-- Reboot --", which has no id, is "#1", "#2", ….
	Boots []string
}

// Analyzer reads journals.
var Analyzer = &analyzers.Analyzer{
	Name:     "journal",
	Doc:      "Reads journal entries in every form of journalctl from journals, captures, transcripts and probes, and from native journal files.",
	Requires: []*analyzers.Analyzer{console.Analyzer},
	Facts: []analyzers.FactType{{
		Name:    "journal.boots",
		Doc:     "The artifact holds journal entries of several boots; the value is how many. Not stated for a single boot.",
		Repeats: true,
	}},
	Run: run,
}

// From returns the logs that the pass's analyzer required: one per artifact
// that holds entries, or per machine for native files, in path order.
func From(p *analyzers.Pass) []*Log {
	logs, _ := p.ResultOf[Analyzer].([]*Log)
	return logs
}

func run(p *analyzers.Pass) (any, error) {
	var logs []*Log
	add := func(l *Log) {
		if len(l.Entries) == 0 {
			return
		}
		l.Boots = boots(l.Entries)
		stateBoots(p, l)
		logs = append(logs, l)
	}
	transcripts := map[string]*console.Transcript{}
	for _, t := range console.From(p) {
		transcripts[t.Path] = t
	}
	shown := onConsole(console.From(p))
	for _, a := range p.Run.Of(bundle.Journal, bundle.Capture, bundle.Serial, bundle.Dmesg, bundle.Unknown, bundle.Probe) {
		if a.Kind == bundle.Probe {
			add(readProbes(a))
		} else if read := structured(a); read != nil {
			if l := read(p, a); ofThisBoot(p, l, shown) {
				add(l)
			}
		} else if t := transcripts[a.Path]; t != nil {
			if l := readText(t, a.Kind); a.Kind != bundle.Journal || ofThisBoot(p, l, shown) {
				add(l)
			}
		}
	}
	for _, l := range readNative(p, shown) {
		add(l)
	}
	slices.SortStableFunc(logs, func(a, b *Log) int { return strings.Compare(a.Path, b.Path) })
	return logs, nil
}

// ofThisBoot reports whether nothing says that l is of another boot than the
// console's, and tells of one that is.
func ofThisBoot(p *analyzers.Pass, l *Log, shown *kernels) bool {
	why := foreign(l, shown)
	if why != "" {
		p.Problem(l.Path, "journal of another boot than the serial console shows, it does not count: "+why)
	}
	return why == ""
}

// structured returns the reader for a journal in json or export form, nil when
// a is something else.
func structured(a *bundle.Artifact) func(*analyzers.Pass, *bundle.Artifact) *Log {
	if a.Kind != bundle.Journal {
		return nil
	}
	data, err := a.Bytes()
	if err != nil {
		return nil
	}
	head := data[:min(len(data), 64<<10)]
	switch {
	case looksJSON(head):
		return func(p *analyzers.Pass, a *bundle.Artifact) *Log { return readJSON(p, a.Path, data) }
	case looksExport(head):
		return func(p *analyzers.Pass, a *bundle.Artifact) *Log { return readExport(p, a.Path, data) }
	}
	return nil
}

// boots returns the distinct boot ids of entries, nil when none is named.
func boots(entries []Entry) []string {
	var ids []string
	seen := map[string]bool{}
	for i := range entries {
		if id := entries[i].BootID; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) == 1 && ids[0] == "" {
		return nil
	}
	return ids
}

// maxBootEvidence bounds how many boots are shown: the count is the statement.
const maxBootEvidence = 8

func stateBoots(p *analyzers.Pass, l *Log) {
	if len(l.Boots) < 2 {
		return
	}
	var ev []bundle.Evidence
	seen := map[string]bool{}
	for i := range l.Entries {
		if e := &l.Entries[i]; !seen[e.BootID] && len(ev) < maxBootEvidence {
			seen[e.BootID] = true
			ev = append(ev, e.Evidence)
		}
	}
	// The first entry of the second boot is what decides.
	ev[0], ev[1] = ev[1], ev[0]
	p.State("journal.boots", "", strconv.Itoa(len(l.Boots)), ev...)
}
