package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"forensics/analyzers/bundle"
)

// WriteJSON writes r as the contract has it. Strings keep their value; runes
// that a terminal could act on are written as escapes.
func WriteJSON(w io.Writer, r *Report) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(withLists(r)); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := w.Write(escapeUnsafe(b.Bytes()))
	return err
}

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(rd io.Reader) (*Report, error) {
	var r Report
	if err := json.NewDecoder(rd).Decode(&r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if r.Schema != Schema {
		return nil, fmt.Errorf("report: schema is %q, want %q", r.Schema, Schema)
	}
	return &r, nil
}

// escapeUnsafe writes control and format runes of JSON text, which stand in
// strings only, as \u escapes.
func escapeUnsafe(data []byte) []byte {
	out := make([]byte, 0, len(data)+len(data)/16)
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == '\n' || r < utf8.RuneSelf && r != 0x7f || !unsafe(r):
			out = append(out, data[i:i+n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

func unsafe(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp)
}

// withLists returns a copy of r in which no list is nil: null would break
// readers that count on a list.
func withLists(r *Report) *Report {
	c := *r
	c.Problems, c.Trouble = list(r.Problems), list(r.Trouble)
	c.Runs = make([]Run, len(r.Runs))
	for i := range r.Runs {
		c.Runs[i] = r.Runs[i].withLists()
	}
	c.Comparison, c.History = r.Comparison.withLists(), r.History.withLists()
	return &c
}

func (c *Comparison) withLists() *Comparison {
	if c == nil {
		return nil
	}
	l := *c
	l.Flips, l.Mechanisms = listsIn(c.Flips, Flip.withLists), listsIn(c.Mechanisms, Flip.withLists)
	l.Changes = listsIn(c.Changes, Change.withLists)
	l.Folded, l.Notes = list(c.Folded), list(c.Notes)
	return &l
}

func (f Flip) withLists() Flip {
	f.Evidence, f.Changes = list(f.Evidence), listsIn(f.Changes, Change.withLists)
	return f
}

func (c Change) withLists() Change {
	c.Feeds, c.Evidence = list(c.Feeds), list(c.Evidence)
	return c
}

func (h *History) withLists() *History {
	if h == nil {
		return nil
	}
	l := *h
	l.Runs = list(h.Runs)
	l.Rows = listsIn(h.Rows, func(r HistoryRow) HistoryRow {
		r.Cells = list(r.Cells)
		return r
	})
	l.Turns = listsIn(h.Turns, func(t Turn) Turn {
		t.Flip = t.Flip.withLists()
		return t
	})
	l.Groups = listsIn(h.Groups, func(g Group) Group {
		g.Runs = list(g.Runs)
		return g
	})
	return &l
}

func (r Run) withLists() Run {
	r.Artifacts, r.Problems = list(r.Artifacts), list(r.Problems)
	r.Causes, r.Observer = causeLists(r.Causes), causeLists(r.Observer)
	r.Verdicts = append([]Verdict{}, r.Verdicts...)
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		v.Evidence, v.BlockedBy = list(v.Evidence), list(v.BlockedBy)
		v.Despite, v.Needed = list(v.Despite), list(v.Needed)
	}
	r.Facts = listsIn(r.Facts, func(f Fact) Fact {
		f.Evidence = list(f.Evidence)
		return f
	})
	r.Contradictions = append([]Contradiction{}, r.Contradictions...)
	for i := range r.Contradictions {
		r.Contradictions[i].Evidence = list(r.Contradictions[i].Evidence)
	}
	return r
}

func causeLists(cs []Cause) []Cause {
	cs = append([]Cause{}, cs...)
	for i := range cs {
		c := &cs[i]
		c.Evidence, c.Explains, c.Unproven = list[bundle.Evidence](c.Evidence), list(c.Explains), list(c.Unproven)
	}
	return cs
}

// listsIn returns a copy of s, never nil, with f applied to each element.
func listsIn[T any](s []T, f func(T) T) []T {
	c := make([]T, len(s))
	for i := range s {
		c[i] = f(s[i])
	}
	return c
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
