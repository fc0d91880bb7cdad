package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"forensics/analyzers/bundle"
)

// What text and Markdown say about differences, and in which order. All of it
// is symmetric: what exchanging the runs exchanges has a word for either way.

const (
	maxChanges   = 3    // changes below a flip
	maxDiff      = 20   // lines of a unified diff
	maxDiffLines = 2000 // the same when all is asked for: a hostile diff ends somewhere
	maxValue     = 160  // runes of a value
	maxOpen      = 3    // conditions that only one run decides and that are shown in full
)

// mappedLines is mapped, but for the unified diffs, the only strings of a
// report that are more than one line: there, line is applied to each line
// behind its first byte, which says what the line is.
func mappedLines(r *Report, f, line func(string) string) *Report {
	c := mapped(r, f)
	into := c.changes()
	for i, from := range r.changes() {
		into[i].Diff = mapDiff(from.Diff, line)
	}
	return c
}

// cleanLines makes the copy that a renderer of differences works on.
func cleanLines(r *Report, clean func(string) string) *Report {
	return mappedLines(r, clean, func(s string) string { return cleanCode(s, clean) })
}

// mapDiff returns a unified diff with line applied to its lines behind their marks.
func mapDiff(diff string, line func(string) string) string {
	var b strings.Builder
	n := 0
	for l := range strings.Lines(diff) {
		if n++; n > maxDiffLines {
			b.WriteString("@ the rest is cut\n")
			break
		}
		l = strings.TrimSuffix(l, "\n")
		mark, rest := " ", l
		if l != "" && strings.Contains(" +-@\\", l[:1]) {
			mark, rest = l[:1], l[1:]
		}
		b.WriteString(mark + line(rest) + "\n")
	}
	return b.String()
}

// cleanCode is clean for a line whose white space has a meaning.
func cleanCode(s string, clean func(string) string) string {
	s = s[:min(len(s), 4*maxText)] // Clean shows no more
	if cr := strings.TrimSuffix(s, "\r"); cr != s {
		s = cr + "^M" // else a line that only changed its end looks the same
	}
	s = strings.ReplaceAll(s, "\t", "    ")
	// Clean folds spaces; it keeps each of the wider ones, as a space.
	return clean(strings.ReplaceAll(s, " ", "\u2007"))
}

// changes returns every change in r, in a fixed order.
func (r *Report) changes() []*Change {
	var all []*Change
	add := func(cs []Change) {
		for i := range cs {
			all = append(all, &cs[i])
		}
	}
	if c := r.Comparison; c != nil {
		for i := range c.Flips {
			add(c.Flips[i].Changes)
		}
		for i := range c.Mechanisms {
			add(c.Mechanisms[i].Changes)
		}
		add(c.Changes)
	}
	if h := r.History; h != nil {
		for i := range h.Turns {
			add(h.Turns[i].Changes)
		}
	}
	return all
}

// same reports whether both runs show the same of every condition.
func (c *Comparison) same() bool { return len(c.Flips)+len(c.Mechanisms) == 0 }

// mayBeSame reports whether they do, or may do so.
func (c *Comparison) mayBeSame() bool {
	return len(c.Flips) == 0 && !slices.ContainsFunc(c.Mechanisms, func(f Flip) bool { return !f.MayBeSame })
}

// still says of a condition that fails in both runs whether it does so for
// another reason.
func (f *Flip) still() string {
	if f.MayBeSame {
		return "fails in both, perhaps for one reason"
	}
	return "still fails, for another reason"
}

// sentence is the headline, or, where there is none, what the lists show.
func (c *Comparison) sentence() string {
	if strings.TrimSpace(c.Headline) != "" {
		return c.Headline
	}
	switch {
	case len(c.Flips) == 1:
		return c.Flips[0].Condition + " went from " + known(c.Flips[0].From) + " to " + known(c.Flips[0].To)
	case len(c.Flips) > 1:
		return fmt.Sprintf("%d conditions flipped, %s first", len(c.Flips), c.Flips[0].Condition)
	case len(c.Mechanisms) > 0:
		return "no condition flipped; " + c.Mechanisms[0].Condition + " " + c.Mechanisms[0].still()
	case c.Differences == 0:
		return "no condition flipped; no difference"
	}
	return fmt.Sprintf("no condition flipped; %s, %s", count(c.Differences, "difference"), c.feeding())
}

// feeding says how many of the changes that go with no flip a rule reads.
func (c *Comparison) feeding() string {
	n := 0
	for i := range c.Changes {
		if len(c.Changes[i].Feeds) > 0 && !c.Changes[i].Harmless {
			n++
		}
	}
	switch n {
	case 0:
		return "none feeds a rule"
	case 1:
		return "1 feeds a rule"
	}
	return fmt.Sprintf("%d feed a rule", n)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// sides returns the two runs, nil for what the report does not hold: a
// baseline of several runs.
func (r *Report) sides() (from, to *Run) {
	c := r.Comparison
	if c.From == c.To && len(r.Runs) == 2 {
		return &r.Runs[0], &r.Runs[1] // two reports on runs of one path
	}
	return r.run(c.From), r.run(c.To)
}

func (r *Report) run(path string) *Run {
	for i := range r.Runs {
		if r.Runs[i].Path == path {
			return &r.Runs[i]
		}
	}
	return nil
}

// describe says when a run started and how far it came.
func (r *Run) describe() string {
	if r == nil {
		return ""
	}
	return ", " + r.started() + ", reached " + r.Stage
}

// reached says in words that a flip is neither a regression nor a repair.
func (f *Flip) reached() string {
	switch {
	case f.NewlyReached:
		return "newly reached"
	case f.NoLongerReached:
		return "no longer reached"
	}
	return ""
}

// turn is the two statuses.
func (f *Flip) turn(arrow string) string { return known(f.From) + " " + arrow + " " + known(f.To) }

// heading is the two statuses, and whether they merely were reached.
func (f *Flip) heading(arrow string) string {
	if f.reached() == "" {
		return f.turn(arrow)
	}
	return f.turn(arrow) + ", " + f.reached()
}

// known is a status; what is neither pass nor fail is unknown.
func known(status string) string {
	if decided(status) {
		return status
	}
	return Unknown
}

// oneSided reports whether only one of the runs decides the condition.
func (f *Flip) oneSided() bool { return decided(f.From) != decided(f.To) }

func decided(status string) bool { return status == Pass || status == Fail }

// short says in a line what there is to say about a flip.
func (f *Flip) short(w wording) string {
	because, why := f.ToBecause, f.reached()
	switch {
	case f.NewlyReached:
	case f.NoLongerReached:
		because = f.FromBecause
	case !f.oneSided():
		return f.changed(w)
	case decided(f.To):
		why = "decided in B only"
	default:
		why, because = "decided in A only", f.FromBecause
	}
	if because == "" {
		return why
	}
	return why + ": " + w.prose(because)
}

// changed is the likeliest reason in a line.
func (f *Flip) changed(w wording) string {
	if len(f.Changes) == 0 {
		return unexplained
	}
	return f.Changes[0].clause(w)
}

// unexplained reports whether both runs decide the condition, differently, and
// nothing tells why.
func (f *Flip) unexplained() bool {
	return len(f.Changes) == 0 && f.reached() == "" && !f.oneSided()
}

// sameAs says that another condition has the changes as well.
const sameAs = "the same differences as "

// unexplained is said of a flip that no change goes with.
const unexplained = "no difference in what was captured goes with it"

// split sets the flips that are worth a section apart from those that follow
// from another one, or were merely seen by one of the runs: these get one only
// where no condition was decided otherwise.
func split(flips []Flip) (full, compact []*Flip) {
	told, open := told{}, 0
	for i := range flips {
		if f := &flips[i]; f.reached() == "" && !f.oneSided() {
			told.all(f)
			open = maxOpen
		}
	}
	// Where one run leaves open what failed in the other, that is worth more than
	// where it leaves open what passed.
	failed := slices.ContainsFunc(flips, func(f Flip) bool { return f.reached() == "" && f.oneSided() && (f.From == Fail || f.To == Fail) })
	for i := range flips {
		f := &flips[i]
		switch {
		case f.reached() != "" && f.oneSided(), failed && f.oneSided() && f.From != Fail && f.To != Fail:
			compact = append(compact, f)
		case !f.oneSided():
			full = append(full, f)
		case open == maxOpen || len(f.Changes) == 0 || told[f.Changes[0].key()] != "":
			compact = append(compact, f)
		default:
			full = append(full, f)
			told.all(f)
			open++
		}
	}
	return full, compact
}

// told holds, of the changes that were shown, below which condition they were.
type told map[changeKey]string

type changeKey struct{ kind, subject, from, to string }

func (c *Change) key() changeKey { return changeKey{c.Kind, c.Subject, c.From, c.To} }

func (t told) all(f *Flip) {
	for i := range f.Changes[:min(maxChanges, len(f.Changes))] {
		t.before(&f.Changes[i], f.Condition)
	}
}

// elsewhere returns the one other condition below which all these changes were
// shown, "" when there is none.
func (t told) elsewhere(cs []Change, condition string) string {
	other := ""
	for i := range cs {
		switch at := t[cs[i].key()]; {
		case at == "" || at == condition || other != "" && at != other:
			return ""
		default:
			other = at
		}
	}
	return other
}

// before returns the other condition below which the change was shown, "" when
// it was not, and notes that it now is below this one.
func (t told) before(c *Change, condition string) string {
	if other, ok := t[c.key()]; ok && other != condition {
		return other
	}
	t[c.key()] = condition
	return ""
}

// ofSide returns the evidence of one run.
func ofSide(ev []SideEvidence, side string) []bundle.Evidence {
	var out []bundle.Evidence
	for _, e := range ev {
		if e.Side == side {
			out = append(out, e.Evidence)
		}
	}
	return out
}

// line is a line of evidence behind the mark of its run.
type line struct{ mark, text string }

// marked returns what the runs show, of each the first piece or all.
func marked(ev []SideEvidence, whole bool) []line {
	var lines []line
	for _, s := range []struct{ mark, side string }{{"- ", SideFrom}, {"+ ", SideTo}} {
		for _, e := range ev {
			if e.Side != s.side {
				continue
			}
			lines = append(lines, line{s.mark, e.text()})
			if !whole {
				break
			}
		}
	}
	return lines
}

// text is the place, and what stands there or, of what is absent, before it.
func (e *SideEvidence) text() string {
	switch e.Absent {
	case "":
		return place(e.Evidence)
	case AbsentAfter:
		return "absent after " + place(e.Evidence)
	}
	return "absent from " + e.Path
}

// wording is how a format writes what differs.
type wording struct {
	arrow string
	value func(string) string // something of an artifact
	prose func(string) string // a sentence about it
	whole bool                // values are not cut
}

// text is the change without its kind: "drives: 1 -> 3".
func (c *Change) text(w wording) string {
	from, to := c.From, c.To
	if !w.whole {
		from, to = excerpts(from, to)
	}
	word, value := "", ""
	switch {
	case c.From == c.To:
		value = w.prose(c.Summary)
	case c.From == "":
		word, value = "new ", w.value(to)
		if c.Alone {
			word = "only B: "
		}
	case c.To == "":
		word, value = "gone ", w.value(from)
		if c.Alone {
			word = "only A: "
		}
	default:
		value = w.value(from) + " " + w.arrow + " " + w.value(to)
	}
	switch {
	case c.Subject == "":
		return word + value
	case value == "" || word != "" && c.Subject == c.From+c.To:
		return word + w.value(c.Subject)
	case word != "" && !w.whole && strings.HasSuffix(c.Kind, ".message") && fills(c.Subject, c.From+c.To):
		return word + value
	}
	return word + w.value(c.Subject) + ": " + value
}

// maskRe is what stands in a template for a part that varies: "<n>".
var maskRe = regexp.MustCompile(`<[a-z]+>`)

// fills reports whether a message is one of the template, going by the start of
// the template's longest part: its end may be cut.
func fills(template, message string) bool {
	longest := ""
	for _, part := range maskRe.Split(template, -1) {
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest != "" && strings.Contains(message, longest[:min(24, len(longest))])
}

// explained reports whether the summary says more than the values do.
func (c *Change) explained() bool {
	return c.Summary != "" && c.From != c.To && (c.From != "" && c.To != "" || c.Diff != "")
}

// clause is the change in one clause.
func (c *Change) clause(w wording) string {
	if c.Summary != "" {
		return w.prose(c.Summary)
	}
	return w.value(c.Kind) + " " + c.text(w)
}

// shows returns the evidence that stands below the change: a unified diff says
// enough by itself, and of a value that was told the place is enough.
func (c *Change) shows(whole bool) []SideEvidence {
	if whole {
		return c.Evidence
	}
	if c.Diff != "" {
		return nil
	}
	ev := slices.Clone(c.Evidence)
	for i := range ev {
		value := c.To
		if ev[i].Side == SideFrom {
			value = c.From
		}
		// Short values, and more so numbers, stand in any quote.
		if head := value[:min(len(value), maxValue/2)]; len(head) >= 16 && strings.Contains(ev[i].Quote, head) {
			ev[i].Quote = ""
		}
	}
	return ev
}

// place is where evidence is, and what stands there if that is to be quoted.
func place(e bundle.Evidence) string {
	if e.Quote == "" {
		return at(e)
	}
	return at(e) + ": " + e.Quote
}

// excerpts cuts long values. What they have in common at the start goes first:
// two command lines may differ at the end alone.
func excerpts(a, b string) (string, string) {
	if len(a) <= maxValue && len(b) <= maxValue {
		return a, b
	}
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	const kept = 24 // runes before the difference, to find the place by
	for range kept {
		_, n := utf8.DecodeLastRuneInString(a[:same])
		same -= n
	}
	if same < kept || a == b {
		return cut(a), cut(b)
	}
	return cut("…" + a[same:]), cut("…" + b[same:])
}

func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxValue {
			return s[:i] + "…"
		}
		n++
	}
	return s
}

// kind is the differences of one kind that go with no flip.
type kind struct {
	name    string
	changes []*Change
	folded  int // that are not listed
}

func (k *kind) count() int { return len(k.changes) + k.folded }

// kinds returns the other differences in the order in which the kinds appear.
func (c *Comparison) kinds() []kind {
	var ks []kind
	at := map[string]int{}
	of := func(name string) *kind {
		i, ok := at[name]
		if !ok {
			i = len(ks)
			at[name] = i
			ks = append(ks, kind{name: name})
		}
		return &ks[i]
	}
	for i := range c.Changes {
		k := of(c.Changes[i].Kind)
		k.changes = append(k.changes, &c.Changes[i])
	}
	for _, f := range c.Folded {
		if f.Count > 0 {
			of(f.Kind).folded += f.Count
		}
	}
	return ks
}

// others counts the differences of all kinds.
func others(ks []kind) int {
	n := 0
	for i := range ks {
		n += ks[i].count()
	}
	return n
}

// harmless reports whether the differences of the kind differ always.
func (k *kind) harmless() bool {
	for _, c := range k.changes {
		if !c.Harmless {
			return false
		}
	}
	return len(k.changes) > 0
}

// first is the kind's likeliest change, "" when none is listed.
func (k *kind) first(w wording) string {
	if len(k.changes) == 0 {
		return ""
	}
	if k.harmless() {
		return "harmless: " + k.changes[0].text(w)
	}
	return k.changes[0].text(w)
}

// remarks are the notes on the comparison and those that belong to no run.
func (r *Report) remarks(notes []string) []string {
	out := append([]string{}, notes...)
	for _, n := range r.Problems {
		out = append(out, problem(n))
	}
	return out
}
