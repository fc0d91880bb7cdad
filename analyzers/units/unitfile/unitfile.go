// Package unitfile reads systemd's unit files and their relatives for
// networks, links and virtual devices, as systemd reads them.
//
// # Nouns
//
// A File is the parse of one file's bytes: options in order, each with the
// bytes that state it, and problems. A Tree is a search path over a file
// system: directories in order of priority. A Unit is what a tree holds under
// one name: its main file, called fragment, its drop-ins in the order in which
// they apply, and the options of all of them. A value stays text; Words,
// Commands, Specifiers and TimeSpan say what it means to an option that is a
// list of words, a command line, a template or a time span.
//
// # Invariants
//
//   - Parse and Load never fail for what a file says: a line that systemd
//     ignores is a problem, and reading goes on after it. A line at which
//     systemd gives the file up is a fatal problem, the last one of its file:
//     a fragment that has one is not loaded by systemd, of a drop-in the
//     options before it count.
//   - A position is the logical line in the file, from the first byte of its
//     first line to the end of its last, without the line end. Line counts
//     LFs, from 1, as grep -n does.
//   - A tree is read through its fs.FS only. Links are followed by hand, an
//     absolute one from the root of the fs.FS, so nothing leads out of it.
//   - All and Last apply resets: the empty assignment that starts a list anew,
//     where the option has one. Options has every assignment.
//
// The format is that of systemd.syntax(7), systemd.unit(5),
// systemd.service(5), systemd.network(5), systemd.link(5) and systemd.time(7);
// where these are silent, that of systemd 252 (src/shared/conf-parser.c,
// src/basic/unit-file.c, src/shared/dropin.c). Where go-systemd's parser
// agrees with that, it splits the options; it knows no positions, and takes
// neither comments between continued lines, nor lines of 2048 bytes, nor
// garbage.
//
// Left out: whether a section or an option exists; legacy names of options;
// generators, transient and control directories unless the caller lists them;
// user units' own search path; the machine's specifiers (%H, %m, %v and the
// like); what an option's value does.
package unitfile

import "fmt"

const (
	// maxLine is LONG_LINE_MAX: at a longer line systemd gives the file up.
	maxLine = 1 << 20
	// maxOptions keeps a file of "a=" lines from costing forty times its
	// size in memory; the longest unit files have some hundred options.
	maxOptions = 1 << 16
	// maxProblems is how many bad lines of a file are told.
	maxProblems = 1000
)

// A File is what the bytes of one file say.
type File struct {
	Options  []Option
	Problems []Problem
}

// An Option is one assignment.
type Option struct {
	Section string // without its brackets
	Name    string
	Value   string // continued lines joined, white space around it trimmed
	Path    string // the file's name in the fs.FS; empty from Parse
	Line    int    // its first line, from 1

	// SectionLine is the line of the section's header. It tells sections of
	// one name apart, as [Route] or [Address] of a network.
	SectionLine int

	Start, End int64 // the bytes of the logical line in the file
}

// A Problem is something that systemd ignores, refuses or warns of.
type Problem struct {
	Path       string // the file's name in the fs.FS; empty from Parse
	Line       int    // from 1; 0 where the problem is no line's
	Start, End int64  // the bytes of the logical line in the file
	Text       string
	Fatal      bool // nothing after it is read
}

func (p Problem) String() string {
	where := p.Path
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d (byte %d)", where, p.Line, p.Start)
	}
	return where + ": " + p.Text
}
