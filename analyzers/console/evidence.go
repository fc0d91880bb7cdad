package console

import (
	"math"
	"sort"
	"strings"

	"forensics/analyzers/bundle"
)

// maxQuoted bounds the raw bytes that are looked at for a quote. It is far
// more than bundle.MaxQuote runes need with their escape sequences.
const maxQuoted = 16 << 10

// A run says where bytes of a piece's text stand in the raw bytes. It reaches
// to the next run. step is the number of text bytes that one raw byte became:
// 1 for what is shown as it is, 2 or 3 for a replaced byte (line drawing,
// invalid UTF-8), 0 for blanks that no byte printed.
type run struct {
	text, raw int32
	step      uint8
}

// at returns the raw span of text byte i, which the run covers.
func (r run) at(i int) (start, end int64) {
	if r.step == 0 {
		return int64(r.raw), int64(r.raw)
	}
	start = int64(r.raw) + int64(i-int(r.text))/int64(r.step)
	return start, start + 1
}

const (
	blockSize = 1024           // runs of a block; a long list has one of its own
	manyRuns  = math.MaxUint16 // more than a line of text has
)

// runTable stores the runs of all pieces, in blocks that are on average at least
// half full: a piece says in 48 bits where its own are, as there are no more than
// two for a byte of the artifact, and nothing of them is looked at to collect garbage.
type runTable struct{ blocks [][]run }

// keep stores the runs of p. It reports whether it keeps that memory and not a
// copy, as there are too many to hold them twice.
func (x *runTable) keep(p *Piece, runs []run) bool {
	if len(runs) == 0 {
		return false
	}
	n := len(x.blocks) - 1
	if len(runs) >= manyRuns {
		x.blocks = append(x.blocks, runs)
		p.runs, p.count = int32((n+1)*blockSize), manyRuns
		return true
	}
	if n < 0 || cap(x.blocks[n])-len(x.blocks[n]) < len(runs) || len(x.blocks[n]) >= blockSize {
		x.blocks = append(x.blocks, make([]run, 0, max(len(runs), blockSize)))
		n++
	}
	p.runs, p.count = int32(n*blockSize+len(x.blocks[n])), uint16(len(runs))
	x.blocks[n] = append(x.blocks[n], runs...)
	return false
}

// of returns the runs of p, nil where its text stands as it is.
func (x *runTable) of(p *Piece) []run {
	if p.count == 0 {
		return nil
	}
	block, at := x.blocks[p.runs/blockSize], int(p.runs)%blockSize
	if p.count == manyRuns {
		return block
	}
	return block[at : at+int(p.count)]
}

// Line returns the line with number n, nil when there is none.
func (t *Transcript) Line(n int) *Line {
	if n < 1 || n > len(t.Lines) {
		return nil
	}
	return &t.Lines[n-1]
}

// Evidence returns the span of the line without its terminator, and without
// what a test driver put before it.
func (t *Transcript) Evidence(l *Line) bundle.Evidence {
	return t.span(l.Number, l.Start+int64(l.skip), contentEnd(t.Data, l), l.Text)
}

// PieceEvidence returns the span of the piece.
func (t *Transcript) PieceEvidence(p *Piece) bundle.Evidence {
	return t.span(t.lineOf(p.Start()), p.Start(), p.End(), p.Text)
}

// TextEvidence returns the raw span that p.Text[i:j] shows. Where the cursor
// moved back, that is the span from the first to the last of its bytes.
func (t *Transcript) TextEvidence(p *Piece, i, j int) bundle.Evidence {
	i, j = p.within(i, j)
	start, end := t.rawSpan(p, i, j)
	return t.span(t.lineOf(p.Start()), start, end, p.Text[i:j])
}

// within returns i and j as offsets in p.Text, in order.
func (p *Piece) within(i, j int) (int, int) {
	i = min(max(i, 0), len(p.Text))
	return i, min(max(j, i), len(p.Text))
}

// rawSpan returns the raw bytes from the first to the last that p.Text[i:j]
// shows.
func (t *Transcript) rawSpan(p *Piece, i, j int) (start, end int64) {
	i, j = p.within(i, j)
	runs := t.runs.of(p)
	if runs == nil {
		return p.Start() + int64(i), p.Start() + int64(j)
	}
	if i == j {
		return emptySpan(p, runs, i)
	}
	k := runAt(runs, i)
	start, end = runs[k].at(i)
	for ; k < len(runs) && int(runs[k].text) < j; k++ {
		r, last := runs[k], j-1
		if k+1 < len(runs) {
			last = min(last, int(runs[k+1].text)-1)
		}
		lo, _ := r.at(max(i, int(r.text)))
		_, hi := r.at(last)
		start, end = min(start, lo), max(end, hi)
	}
	return start, end
}

// emptySpan returns the place of text offset i as a span of no bytes.
func emptySpan(p *Piece, runs []run, i int) (start, end int64) {
	switch {
	case len(p.Text) == 0:
		return p.Start(), p.Start()
	case i == len(p.Text):
		_, e := runs[runAt(runs, i-1)].at(i - 1)
		return e, e
	}
	s, _ := runs[runAt(runs, i)].at(i)
	return s, s
}

// runAt returns the index of the run that covers text byte i.
func runAt(runs []run, i int) int {
	return sort.Search(len(runs), func(k int) bool { return int(runs[k].text) > i }) - 1
}

// lineOf returns the number of the line that holds raw byte off.
func (t *Transcript) lineOf(off int64) int {
	return max(1, sort.Search(len(t.Lines), func(k int) bool { return t.Lines[k].Start > off }))
}

// span returns evidence for raw bytes that are shown as text.
func (t *Transcript) span(line int, start, end int64, text string) bundle.Evidence {
	quoted := t.Data[start:min(end, start+maxQuoted)]
	return bundle.Evidence{Path: t.Path, Line: line, Start: start, End: end, Quote: bundle.PrintableAs(bundle.Text(quoted), strings.Trim(text, " "))}
}

// contentEnd returns the offset behind the line's content: its LF and the CRs
// before that are left out.
func contentEnd(data []byte, l *Line) int64 {
	end := l.End
	if end > l.Start && data[end-1] == '\n' {
		end--
	}
	for end > l.Start && data[end-1] == '\r' {
		end--
	}
	return end
}
