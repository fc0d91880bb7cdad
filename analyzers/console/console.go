// Package console turns the bytes of a serial console into lines of text that
// keep the raw bytes they came from.
//
// # Nouns
//
// A Transcript is one artifact. A Line is the bytes up to and with one LF, and
// the text that a terminal shows of them in the end. A Piece is a part of a
// line between two switches of bracketed paste mode, rendered on its own: a
// shell turns that mode on when it prints a prompt and off when it runs the
// command, so the switches part prompt, answer and next prompt even where no
// line end does.
//
// # Invariants
//
//   - Lines are split on LF only, so that numbers agree with grep -n. What a
//     terminal does with a CR happens within a line.
//   - Text holds no control characters and no part of an escape sequence, also
//     where one is cut off by the end of the line or of the file.
//   - Every byte of Text maps to the raw byte that it shows; blanks that come
//     from a movement of the cursor map to what was printed behind them.
//   - A line depends on what stands before it, and its direction at most on
//     the line after it: what is known of a growing file stays so. Properties
//     of the whole (CRsLost, EscapesLost, whether guest lines end in CR LF) are
//     taken from its first MiB.
//   - Time and memory are linear in the size: a row has at most 16384 columns
//     (longer text goes on in the next, without a gap), blanks and edits are
//     paid from a budget that grows with the bytes read, an escape sequence
//     ends after 4096 bytes, a transcript holds 2 million lines. In a line of
//     more than 1 MiB, invalid bytes show as ? and tabs as one blank.
//
// # The screen
//
// A line is one terminal row of unlimited width: CR, backspace, tabs, erasing,
// inserting and deleting work as on a terminal. There is no second dimension.
// What leaves the row (cursor addresses, as boot menus use them, reverse
// scroll, clearing the screen) starts a new segment, and a blank parts the
// segments: text is not lost when a screen is painted again, and words do not
// run together. Colours, modes, titles and hyperlinks leave no trace. Lower
// case letters that stand for box drawing (ESC )0 and SO, ESC (0) become it.
//
// # Direction
//
// A recording made with pexpect holds both directions. The guest's lines end
// in CR LF (the tty of the guest and that of QEMU each add a CR), what the
// harness sent ends in a bare LF. A bare LF may also end a line that the guest
// began: Line.TypedFrom is for those.
//
// The log of a NixOS test driver holds the guest's lines behind the machine's
// name. They are read as the console that they were, without what the driver
// says between them.
//
// A journal in json or export form is no transcript: nothing of it was shown on
// a terminal, and what its entries quote is nobody's answer. Package journal
// reads it.
//
// Left out: colours as information, the cursor's row, scroll regions, wrapping
// at the width of a screen except where readline does it itself, and what a
// command answered (package commands).
package console

import (
	"fmt"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Transcript is one artifact as a terminal would have shown it, line by line.
type Transcript struct {
	Artifact *bundle.Artifact
	Path     string
	Data     []byte
	Lines    []Line // Lines[i].Number == i+1, as grep -n counts
	// CRsLost: carriage returns were turned into line feeds (every guest line
	// is followed by an empty one).
	CRsLost bool
	// EscapesLost: the escape sequences, or their first byte, were stripped
	// before we saw the bytes.
	EscapesLost bool
	// Machine is the guest's name in the log of a NixOS test driver, where its
	// lines stand behind the name and " # ". Text, pieces and evidence leave that
	// out, and what the driver itself says is no text. It is "" elsewhere.
	Machine string
	// Unread counts the bytes at the end that were not decoded, because the
	// artifact has more lines than a transcript holds.
	Unread int64

	runs    runTable
	prompts []string
	crlf    bool // guest lines end in CR LF
}

// Line is the bytes up to and with one LF.
type Line struct {
	Number     int
	Start, End int64 // raw bytes, terminator included
	// CRs counts the carriage returns right before the LF, up to 32767. Where
	// QEMU's terminal was recorded, its own stderr has one, guest text two, boot
	// messages three and typed text none; a recorded socket or file lacks the
	// CR that QEMU's terminal adds, and holds nothing typed.
	CRs int16
	// Typed: the driver of the console sent this line; it ended in a bare LF
	// where the guest ends its lines in CR LF.
	Typed bool
	skip  int32 // bytes before the guest's, in the log of a test driver
	// TypedFrom is for a line that the guest began and the driver ended: the
	// byte in the last piece's text from which on it is not the guest's output
	// (it may begin with the echo of text that was typed ahead). It is -1 when
	// the line is not of that kind, or where it changes hands is not known.
	TypedFrom int
	// Text is what the terminal shows of the line in the end: repaints,
	// backspaces and erasures applied, no control characters.
	Text string
	// Pieces are the parts of the line between switches of bracketed paste
	// mode: a shell turns it on when it prints a prompt and off when it runs
	// the command. A line without switches has one piece. A line that starts
	// with a switch has no piece before it.
	Pieces []Piece
}

// Paste says what happened to bracketed paste mode right before a piece.
type Paste uint8

// The values of Paste.
const (
	Same Paste = iota // no switch: the line's first piece
	On                // ESC[?2004h: the shell shows its prompt
	Off               // ESC[?2004l: the command line was accepted, output follows
)

func (p Paste) String() string {
	switch p {
	case On:
		return "On"
	case Off:
		return "Off"
	}
	return "Same"
}

// Piece is a run of text within a line.
type Piece struct {
	Text string // rendered like Line.Text
	// Offsets fit into 32 bits: see Decode.
	start, end int32
	// Where Text stands in the raw bytes is in the transcript's table, in count
	// runs. With none it stands from start on, byte by byte.
	runs  int32
	count uint16
	Paste Paste
}

// Start is the first raw byte of the piece, behind the switch that began it.
func (p *Piece) Start() int64 { return int64(p.start) }

// End is the first raw byte after the piece: the next switch or the line's
// terminator.
func (p *Piece) End() int64 { return int64(p.end) }

// Analyzer decodes every text artifact that may hold console output.
var Analyzer = &analyzers.Analyzer{
	Name: "console",
	Doc:  "Decodes serial transcripts, captures and text journals to lines with raw spans.",
	Run:  decodeAll,
}

// From returns the transcripts of the run, in the order of its artifacts.
func From(p *analyzers.Pass) []*Transcript {
	ts, _ := p.ResultOf[Analyzer].([]*Transcript)
	return ts
}

func decodeAll(p *analyzers.Pass) (any, error) {
	var ts []*Transcript
	for _, a := range p.Run.Of(bundle.Serial, bundle.Capture, bundle.Journal, bundle.Dmesg, bundle.Harness, bundle.BuildLog, bundle.Excerpt, bundle.Unknown) {
		data, err := a.Bytes()
		if err != nil {
			p.Problem(a.Path, err.Error())
			continue
		}
		if a.Kind == bundle.Journal && bundle.Records(data) {
			continue
		}
		t := Decode(a, data)
		if t.Unread > 0 {
			p.Problem(a.Path, fmt.Sprintf("more than %d lines: the last %d bytes were not read", len(t.Lines), t.Unread))
		}
		ts = append(ts, t)
	}
	return ts, nil
}
