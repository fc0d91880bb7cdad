// Package textdiff compares two texts line by line and shows what differs as a
// unified diff, which people read and patch(1) applies.
//
// # Nouns
//
// A line ends behind its LF; the end of the text ends the last one. A pair is a
// line of each text that stand for each other, and are equal. A gap is what lies
// between two pairs. An anchor is a pair of lines that stand only
// once on either side of a gap.
//
// # Invariants
//
//   - The pairs rise in both texts, so that applying the diff to the first text
//     gives the second.
//   - Exchanging the texts exchanges - and +, and nothing else.
//   - Small gaps have a shortest diff. Larger ones are split at anchors
//     (patience diff) until they are small; one that has none is replaced as a
//     whole. Lines without an equal in the other gap's side are set aside first,
//     so that a text in which each line has another time stamp costs nothing.
//   - Time is bounded by the texts' length times maxSide, without a clock.
//
// Left out: words within lines, moved blocks, choosing the prettiest of the
// shortest diffs.
package textdiff

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sergi/go-diff/diffmatchpatch"
)

const (
	// context is how many equal lines stand around a change.
	context = 3
	// maxSide is the side of the largest gap, taken as a square, that a shortest
	// diff is sought in: the search may visit each pair of its lines.
	maxSide = 4000
	// maxDepth bounds how often a gap is split at anchors: each time costs a look
	// at all lines.
	maxDepth = 32
	// maxLine is how much of a line a bounded diff shows, in bytes.
	maxLine = 2000
)

// Unified returns the unified diff that makes to of from, "" where they are
// equal. The names stand in its first two lines. A diff of more than max lines
// is cut there, with a last line "… N more lines", and its lines are cut at 2000
// bytes; with a max of 0 it is whole.
func Unified(fromName, toName string, from, to []byte, max int) string {
	if bytes.Equal(from, to) {
		return ""
	}
	a, b := split(from), split(to)
	p := printer{max: max}
	p.line("--- ", []byte(plain(fromName)))
	p.line("+++ ", []byte(plain(toName)))
	p.hunks(a, b, changes(pairs(a, b), len(a), len(b)))
	return p.finish()
}

// plain keeps a name from making lines of its own.
func plain(name string) string {
	if q := strconv.Quote(name); q[1:len(q)-1] != name {
		return q
	}
	return name
}

// split returns the lines of a text with their ends.
func split(text []byte) [][]byte {
	lines := make([][]byte, 0, bytes.Count(text, []byte("\n"))+1)
	for l := range bytes.Lines(text) {
		lines = append(lines, l)
	}
	return lines
}

// pair is a line of each text, counted from 0.
type pair struct{ a, b int32 }

// pairs returns the lines that stand for each other.
func pairs(a, b [][]byte) []pair {
	// Among diffs of one length the search prefers one side. So that it is the
	// same one whichever text comes first, it always starts with the lesser.
	swapped := slices.CompareFunc(a, b, bytes.Compare) > 0
	if swapped {
		a, b = b, a
	}
	m := matcher{ids: map[string]int32{}}
	m.a, m.b = m.number(a), m.number(b)
	m.inA, m.inB = make([]count, len(m.ids)), make([]count, len(m.ids))
	m.ids = nil
	m.match(indexes(len(a)), indexes(len(b)), 0)
	if swapped {
		for i, p := range m.pairs {
			m.pairs[i] = pair{p.b, p.a}
		}
	}
	return m.pairs
}

func indexes(n int) []int32 {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(i)
	}
	return x
}

// matcher finds pairs. Equal lines have one number.
type matcher struct {
	ids      map[string]int32
	a, b     []int32 // the number of each line
	inA, inB []count // by number, of the gap at hand
	pairs    []pair
}

// count says how often a line stands in a gap, and where it does first.
type count struct{ n, at int32 }

func (m *matcher) number(lines [][]byte) []int32 {
	ns := make([]int32, len(lines))
	for i, l := range lines {
		n, ok := m.ids[string(l)]
		if !ok {
			n = int32(len(m.ids))
			m.ids[string(l)] = n
		}
		ns[i] = n
	}
	return ns
}

// match adds the pairs of a gap, given as the lines of each side.
func (m *matcher) match(a, b []int32, depth int) {
	for len(a) > 0 && len(b) > 0 && m.a[a[0]] == m.b[b[0]] {
		m.pairs = append(m.pairs, pair{a[0], b[0]})
		a, b = a[1:], b[1:]
	}
	same := 0
	for same < min(len(a), len(b)) && m.a[a[len(a)-1-same]] == m.b[b[len(b)-1-same]] {
		same++
	}
	m.inner(a[:len(a)-same], b[:len(b)-same], depth)
	for i := same; i > 0; i-- {
		m.pairs = append(m.pairs, pair{a[len(a)-i], b[len(b)-i]})
	}
}

// inner is match for a gap that neither begins nor ends with a pair.
func (m *matcher) inner(a, b []int32, depth int) {
	if len(a) == 0 || len(b) == 0 {
		return
	}
	a, b, anchors := m.sift(a, b)
	switch {
	case len(a) == 0:
	case len(a)*len(b) <= maxSide*maxSide:
		m.shortest(a, b)
	case depth < maxDepth && len(anchors) > 0:
		i, j := 0, 0
		for _, x := range rising(anchors) {
			m.match(a[i:x.a], b[j:x.b], depth+1)
			m.pairs = append(m.pairs, pair{a[x.a], b[x.b]})
			i, j = int(x.a)+1, int(x.b)+1
		}
		m.match(a[i:], b[j:], depth+1)
	}
}

// sift returns the lines of a gap that stand on both sides, and the anchors
// among them, as places in what it returns, in the order of b.
func (m *matcher) sift(a, b []int32) (commonA, commonB []int32, anchors []pair) {
	for _, i := range a {
		m.inA[m.a[i]].n++
	}
	for _, j := range b {
		m.inB[m.b[j]].n++
	}
	for _, i := range a {
		if n := m.a[i]; m.inB[n].n > 0 {
			m.inA[n].at = int32(len(commonA))
			commonA = append(commonA, i)
		}
	}
	for _, j := range b {
		n := m.b[j]
		if m.inA[n].n == 0 {
			continue
		}
		if m.inA[n].n == 1 && m.inB[n].n == 1 {
			anchors = append(anchors, pair{m.inA[n].at, int32(len(commonB))})
		}
		commonB = append(commonB, j)
	}
	for _, i := range a {
		m.inA[m.a[i]] = count{}
	}
	for _, j := range b {
		m.inB[m.b[j]] = count{}
	}
	return commonA, commonB, anchors
}

// rising returns the longest of the sequences of pairs that rise in a too
// (patience sorting).
func rising(ps []pair) []pair {
	tops := make([]int32, 0, len(ps)) // the last pair of the best sequence of each length
	before := make([]int32, len(ps))
	for i, p := range ps {
		k, _ := slices.BinarySearchFunc(tops, p.a, func(top, a int32) int { return int(ps[top].a - a) })
		before[i] = -1
		if k > 0 {
			before[i] = tops[k-1]
		}
		if k == len(tops) {
			tops = append(tops, 0)
		}
		tops[k] = int32(i)
	}
	out := make([]pair, len(tops))
	at := tops[len(tops)-1]
	for k := len(out) - 1; k >= 0; k-- {
		out[k] = ps[at]
		at = before[at]
	}
	return out
}

// shortest adds the pairs of a shortest diff of a gap. Its lines become runes,
// numbered within the gap: the library knows texts only, and a gap of maxSide
// keeps clear of what is no rune.
func (m *matcher) shortest(a, b []int32) {
	number := map[int32]rune{}
	runes := func(lines, ids []int32) []rune {
		rs := make([]rune, len(lines))
		for i, l := range lines {
			n, ok := number[ids[l]]
			if !ok {
				n = rune(len(number) + 1)
				number[ids[l]] = n
			}
			rs[i] = n
		}
		return rs
	}
	ra, rb := runes(a, m.a), runes(b, m.b)
	d := diffmatchpatch.New()
	d.DiffTimeout = 0 // no clock: maxSide bounds the work
	i, j := 0, 0
	for _, e := range d.DiffMainRunes(ra, rb, false) {
		n := utf8.RuneCountInString(e.Text)
		switch e.Type {
		case diffmatchpatch.DiffDelete:
			i += n
		case diffmatchpatch.DiffInsert:
			j += n
		case diffmatchpatch.DiffEqual:
			for range n {
				m.pairs = append(m.pairs, pair{a[i], b[j]})
				i, j = i+1, j+1
			}
		}
	}
}

// change is what one gap replaces: lines [a, aEnd) by lines [b, bEnd).
type change struct{ a, aEnd, b, bEnd int }

// changes returns the gaps between the pairs of texts of n and m lines.
func changes(ps []pair, n, m int) []change {
	var cs []change
	i, j := 0, 0
	for _, p := range append(ps, pair{int32(n), int32(m)}) {
		if i < int(p.a) || j < int(p.b) {
			cs = append(cs, change{i, int(p.a), j, int(p.b)})
		}
		i, j = int(p.a)+1, int(p.b)+1
	}
	return cs
}

// printer writes the lines of a diff.
type printer struct {
	b   strings.Builder
	max int
	n   int // lines, written or not
}

// line writes one line; text has its LF, or is the last of its text.
func (p *printer) line(mark string, text []byte) {
	if p.n++; p.max > 0 && p.n > p.max {
		return
	}
	text = bytes.TrimSuffix(text, []byte("\n"))
	p.b.WriteString(mark)
	if p.max > 0 && len(text) > maxLine {
		cut := maxLine
		for cut > maxLine-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		p.b.Write(text[:cut])
		p.b.WriteString("…\n")
		return
	}
	p.b.Write(text)
	p.b.WriteByte('\n')
}

// text writes lines of one of the texts.
func (p *printer) text(mark string, lines [][]byte) {
	for _, l := range lines {
		p.line(mark, l)
		if l[len(l)-1] != '\n' {
			p.line("", []byte(`\ No newline at end of file`))
		}
	}
}

// hunks writes the changes with the lines around them; those with no more
// between them than is shown of both stand together.
func (p *printer) hunks(a, b [][]byte, cs []change) {
	for len(cs) > 0 {
		n := 1
		for n < len(cs) && cs[n].a-cs[n-1].aEnd <= 2*context {
			n++
		}
		p.hunk(a, b, cs[:n])
		cs = cs[n:]
	}
}

func (p *printer) hunk(a, b [][]byte, cs []change) {
	first, last := cs[0], cs[len(cs)-1]
	lead := min(first.a, context)
	trail := min(len(a)-last.aEnd, context)
	p.line("@@ ", fmt.Appendf(nil, "-%s +%s @@", span(first.a-lead, last.aEnd+trail), span(first.b-lead, last.bEnd+trail)))
	at := first.a - lead
	for _, c := range cs {
		p.text(" ", a[at:c.a])
		p.text("-", a[c.a:c.aEnd])
		p.text("+", b[c.b:c.bEnd])
		at = c.aEnd
	}
	p.text(" ", a[at:at+trail])
}

// span is the first line and the number of lines, as a hunk's head has them: of
// no lines, the line before.
func span(start, end int) string {
	if start == end {
		return fmt.Sprintf("%d,0", start)
	}
	return fmt.Sprintf("%d,%d", start+1, end-start)
}

func (p *printer) finish() string {
	if more := p.n - p.max; p.max > 0 && more > 0 {
		fmt.Fprintf(&p.b, "… %d more lines\n", more)
	}
	return p.b.String()
}
