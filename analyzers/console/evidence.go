package console

import (
	"sort"

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
	return t.span(l.Number, l.Start+int64(l.skip), contentEnd(t.Data, l))
}

// PieceEvidence returns the span of the piece.
func (t *Transcript) PieceEvidence(p *Piece) bundle.Evidence {
	return t.span(t.lineOf(p.Start()), p.Start(), p.End())
}

// TextEvidence returns the raw span that p.Text[i:j] shows. Where the cursor
// moved back, that is the span from the first to the last of its bytes.
func (t *Transcript) TextEvidence(p *Piece, i, j int) bundle.Evidence {
	start, end := p.rawSpan(i, j)
	return t.span(t.lineOf(p.Start()), start, end)
}

// rawSpan returns the raw bytes from the first to the last that p.Text[i:j]
// shows.
func (p *Piece) rawSpan(i, j int) (start, end int64) {
	i = min(max(i, 0), len(p.Text))
	j = min(max(j, i), len(p.Text))
	if p.runs == nil {
		return p.Start() + int64(i), p.Start() + int64(j)
	}
	if i == j {
		return p.emptySpan(i)
	}
	k, runs := p.runAt(i), *p.runs
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
func (p *Piece) emptySpan(i int) (start, end int64) {
	switch {
	case len(p.Text) == 0:
		return p.Start(), p.Start()
	case i == len(p.Text):
		_, e := (*p.runs)[p.runAt(i-1)].at(i - 1)
		return e, e
	}
	s, _ := (*p.runs)[p.runAt(i)].at(i)
	return s, s
}

// runAt returns the index of the run that covers text byte i.
func (p *Piece) runAt(i int) int {
	runs := *p.runs
	return sort.Search(len(runs), func(k int) bool { return int(runs[k].text) > i }) - 1
}

// lineOf returns the number of the line that holds raw byte off.
func (t *Transcript) lineOf(off int64) int {
	return max(1, sort.Search(len(t.Lines), func(k int) bool { return t.Lines[k].Start > off }))
}

func (t *Transcript) span(line int, start, end int64) bundle.Evidence {
	quoted := t.Data[start:min(end, start+maxQuoted)]
	return bundle.Evidence{Path: t.Path, Line: line, Start: start, End: end, Quote: bundle.Printable(bundle.Text(quoted))}
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
