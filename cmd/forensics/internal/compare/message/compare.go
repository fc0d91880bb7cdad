package message

import (
	"slices"
	"sort"
	"strings"

	"forensics/analyzers/bundle"
)

// The sides of a comparison.
const (
	From = "from" // only the first set has the message: it is gone
	To   = "to"   // only the second has it: it is new
)

// Difference is a message that only one side has, though the other could have
// shown it.
type Difference struct {
	Side string
	Message
	// After is where the other side says what both say last before it, in the
	// log that does not have it; nil where nothing stands there before it.
	After *bundle.Evidence
}

// Folded counts the messages of a class that only one side has and that are no
// differences, because the other side could not have shown them.
type Folded struct {
	Class Class
	Side  string
	Count int
}

// Compare returns the messages that only one of two sets has: by class, in each
// what looks like an error first, then by template and source. Folded is by
// class and side.
func Compare(from, to *Set) (diffs []Difference, folded []Folded) {
	a, b := newFinder(from), newFinder(to)
	lacks := map[Folded]int{}
	for _, side := range []struct {
		name        string
		set, others *finder
	}{{From, a, b}, {To, b, a}} {
		stated := map[*entry]int{} // where in diffs
		last := map[origins]*entry{}
		for _, e := range side.set.entries {
			if o := side.others.exactly(e); o != nil {
				last[origins{e.origin, o.origin}] = o
				continue
			}
			cover := side.others.showing(e)
			before := last[origins{e.origin, cover}]
			switch {
			case side.others.has(e):
			case cover == "" || e.open && !side.set.whole[e.origin] || !side.set.always(e) || !side.others.goesOn(cover, before):
				lacks[Folded{Class: e.Class, Side: side.name}]++
			default:
				if i, ok := side.set.saidBefore(e, stated); ok {
					diffs[i].Count += e.Count
					continue
				}
				stated[e] = len(diffs)
				d := Difference{Side: side.name, Message: e.Message}
				if before != nil && e.origin != "" {
					d.After = &before.Evidence[0]
				}
				diffs = append(diffs, d)
			}
		}
	}
	slices.SortFunc(diffs, byWeight)
	for _, c := range Classes {
		for _, side := range []string{From, To} {
			if n := lacks[Folded{Class: c, Side: side}]; n > 0 {
				folded = append(folded, Folded{c, side, n})
			}
		}
	}
	return diffs, folded
}

// origins are where the two sides say the same.
type origins struct{ here, there string }

// byWeight does not look at the side, so that the mirror image has the same
// order. No two differences are equal in all of these.
func byWeight(a, b Difference) int {
	if c := slices.Index(Classes, a.Class) - slices.Index(Classes, b.Class); c != 0 {
		return c
	}
	if a.Error != b.Error {
		if a.Error {
			return -1
		}
		return 1
	}
	if c := strings.Compare(a.Template, b.Template); c != 0 {
		return c
	}
	return strings.Compare(a.Source, b.Source)
}

// always reports whether all runs of the set that could show e have it.
func (s *Set) always(e *entry) bool {
	for _, c := range e.covers {
		if e.runs >= s.covers[c] {
			return true
		}
	}
	return false
}

// finder finds the messages of one set.
type finder struct {
	*Set
	byTemplate map[key][]*entry // without source
	short      []*entry         // with "…"
	sorted     []*entry         // by template; made when it is needed
	units      []string         // whose journals the set has, sorted
	idents     map[ident]bool   // who speaks there
	furthest   map[string]int   // of each coverage, its last new message
	squeezed   map[key]bool     // of the console, by template without blanks; made when it is needed
}

// ident is an identifier in a unit's journal.
type ident struct{ cover, source string }

const (
	// maxShort bounds how many shortened messages are tried for another.
	maxShort = 256
	// maxTried bounds the messages of the same template, or with the start of a
	// shortened one, that are tried.
	maxTried = 256
	// maxUnits bounds the units whose journals are tried.
	maxUnits = 64
)

func newFinder(s *Set) *finder {
	f := &finder{Set: s, byTemplate: make(map[key][]*entry, len(s.entries)), idents: map[ident]bool{}, furthest: map[string]int{}}
	for _, e := range s.entries {
		k := key{realm: e.realm, template: e.Template}
		f.byTemplate[k] = append(f.byTemplate[k], e)
		if strings.Contains(e.Template, "…") && len(f.short) < maxShort {
			f.short = append(f.short, e)
		}
		for _, c := range e.covers {
			if !e.open {
				f.furthest[c] = e.nth
			}
			if strings.HasPrefix(c, unitJournal) {
				f.idents[ident{c, e.Source}] = true
			}
		}
	}
	for c := range s.covers {
		if unit, ok := strings.CutPrefix(c, unitJournal); ok {
			f.units = append(f.units, unit)
		}
	}
	slices.Sort(f.units)
	f.units = f.units[:min(len(f.units), maxUnits)]
	return f
}

// saidBefore returns the difference that says the same as e, from a source that
// may be the same.
func (f *finder) saidBefore(e *entry, stated map[*entry]int) (int, bool) {
	for _, o := range f.alike(e) {
		if i, ok := stated[o]; ok && sameSource(e, o) {
			return i, true
		}
	}
	return 0, false
}

// alike returns messages of the same template.
func (f *finder) alike(e *entry) []*entry {
	es := f.byTemplate[key{realm: e.realm, template: e.Template}]
	return es[:min(len(es), maxTried)]
}

// goesOn reports whether the set shows anything of a coverage behind what both
// sides say last: a recording that ends there does not lack what comes after.
func (f *finder) goesOn(cover string, before *entry) bool {
	return before == nil || f.whole[cover] || f.furthest[cover] > before.nth
}

// exactly returns the set's message of e's template, nil where it has none.
func (f *finder) exactly(e *entry) *entry {
	if o := f.index[key{e.realm, e.Source, e.Template}]; o != nil {
		return o
	}
	es := f.alike(e)
	if i := slices.IndexFunc(es, func(o *entry) bool { return sameSource(e, o) }); i >= 0 {
		return es[i]
	}
	return nil
}

// has reports whether the set has the message e, which it has not exactly.
func (f *finder) has(e *entry) bool {
	if strings.Contains(e.Template, "…") && f.hasWhole(e) || e.Class == Console && f.hasSqueezed(e) {
		return true
	}
	for _, o := range f.short {
		if o.realm == e.realm && sameSource(e, o) && sameShortened(e.Template, o.Template) {
			return true
		}
	}
	return false
}

// hasSqueezed reports whether the console shows e with other blanks: menus are
// drawn by moving the cursor.
func (f *finder) hasSqueezed(e *entry) bool {
	squeeze := func(e *entry) key {
		return key{realm: e.realm, source: e.Source, template: strings.ReplaceAll(e.Template, " ", "")}
	}
	if f.squeezed == nil {
		f.squeezed = map[key]bool{}
		for _, o := range f.entries {
			if o.Class == Console {
				f.squeezed[squeeze(o)] = true
			}
		}
	}
	return f.squeezed[squeeze(e)]
}

// sameSource reports whether two messages of the same template are the same.
// What a command answered is, when it is long enough to be a message and no mere
// "OK"; who spoke on the console is not known.
func sameSource(a, b *entry) bool {
	switch {
	case a.Source == b.Source:
		return true
	case answers(a) || answers(b):
		return strings.Count(a.Template, " ") >= 2
	}
	return a.Source == "" || b.Source == ""
}

func answers(e *entry) bool { return strings.HasPrefix(e.Source, "$ ") }

// hasWhole reports whether the set has what e, a shortened message, may be.
func (f *finder) hasWhole(e *entry) bool {
	if f.sorted == nil {
		f.sorted = slices.Clone(f.entries)
		sort.SliceStable(f.sorted, func(i, j int) bool { return f.sorted[i].Template < f.sorted[j].Template })
	}
	head, _, _ := strings.Cut(e.Template, "…")
	from := sort.Search(len(f.sorted), func(i int) bool { return f.sorted[i].Template >= head })
	for _, o := range f.sorted[from:min(len(f.sorted), from+maxTried)] {
		if !strings.HasPrefix(o.Template, head) {
			break
		}
		if o.realm == e.realm && sameSource(e, o) && sameShortened(e.Template, o.Template) {
			return true
		}
	}
	return false
}

// minHead is how much of the start a shortened message must share with another.
const minHead = 8

// sameShortened reports whether a and b, at least one of which has a "…" for
// what is left out, may be the same.
func sameShortened(a, b string) bool {
	ah, at, as := strings.Cut(a, "…")
	bh, bt, bs := strings.Cut(b, "…")
	switch {
	case as && bs:
		n, t := min(len(ah), len(bh)), min(len(at), len(bt))
		return n >= minHead && ah[:n] == bh[:n] && at[len(at)-t:] == bt[len(bt)-t:]
	case as:
		return len(ah) >= minHead && len(ah)+len(at) <= len(b) && strings.HasPrefix(b, ah) && strings.HasSuffix(b, at)
	case bs:
		return sameShortened(b, a)
	}
	return false
}

// showing returns the coverage of the set that would have e, had the run said
// it; "" when there is none. It is one that e has elsewhere, too.
func (f *finder) showing(e *entry) string {
	if f.Overflow > 0 {
		return ""
	}
	for _, c := range e.covers {
		if f.covers[c] > 0 {
			return c
		}
		switch {
		case c == consoleKernel && f.covers[ringBuffer] > 0:
			return ringBuffer
		case (strings.HasPrefix(c, unitJournal) || strings.HasPrefix(c, someJournal)) && f.covers[wholeJournal] > 0:
			return wholeJournal
		case c == wholeJournal:
			if unit := f.unitWould(e); unit != "" {
				return unit
			}
		}
	}
	return ""
}

// unitWould returns the journal of a unit in which e, which stands in a whole
// journal, would stand: somebody else than the manager speaks there under that
// name, or the manager names the unit.
func (f *finder) unitWould(e *entry) string {
	for _, unit := range f.units {
		if e.Source == "systemd" {
			if strings.HasPrefix(e.Text, unit+": ") {
				return unitJournal + unit
			}
		} else if f.idents[ident{unitJournal + unit, e.Source}] {
			return unitJournal + unit
		}
	}
	return ""
}
