// Package compare sets runs side by side and says which prerequisite changed.
//
// # Nouns
//
// A Side is what is kept of one run: verdicts, items, messages, times. An item
// is one comparable thing that artifacts show: a drive of QEMU's command, a
// parameter of the kernel, a unit's state, a fact that a rule reads. Its kind
// and subject are the same in every run, its values have the parts masked that
// differ between any two runs (hashes of the store, ports, directories). A
// change is an item, message or file that two sides show differently. A flip
// is a condition with another status, a mechanism one that fails in both for
// another reason.
//
// # Which change goes with which flip
//
// A change feeds a condition when the condition's rule asks for the fact that
// the item was read from, or when the catalogue says that the condition rests
// on it (rules.Condition.Inputs). Of the changes that feed a flipped condition
// those come first that say what the run was started with (QEMU's command, the
// kernel's parameters, the image, the host): they can be the reason. Then words
// to the guest that no rule reads and that may mean anything to it, those that
// the verdict itself quotes, other facts that its rule asks for, and what feeds
// a condition that it needs. A harmless change stands there only where a failed
// verdict names its value. What feeds nothing is counted.
//
// # Invariants
//
//   - Two(b, a) is Two(a, b) with the sides exchanged, sentences apart: no
//     order and no choice depends on which run comes first.
//   - Every change has evidence on each side that shows it, and where a message
//     or file is absent, in what it is absent from. What one run's artifacts do
//     not tell is no change: absence is no evidence. What was read
//     as a whole (a command line, an image) is new or gone where the other run
//     has one, too; a fact that one run alone states stands beside a flip whose
//     verdict quotes it, and is no difference otherwise.
//   - A change is stated beside a flip, never as its proof: the rules judged
//     both runs, the comparison only says what else is different.
//   - Nothing is looked at but the bytes of the runs: no clock, and no names but
//     to order runs whose artifacts tell no time.
//
// Left out: probabilities, and similarity of whole logs.
package compare

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/compare/message"
	"forensics/cmd/forensics/internal/compare/timing"
	"forensics/cmd/forensics/internal/compare/tree"
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

// Limits of what is listed; the rest is counted.
const (
	maxOfFlip = 20
	maxOfKind = 40
	maxShown  = 2000 // bytes of a value
)

// Two compares two runs.
func Two(from, to *Side, set *rules.Set) *report.Comparison {
	return compare(&group{sides: []*Side{from}, path: from.Report.Path}, to, set)
}

// group is the one or several runs that another is compared with.
type group struct {
	sides []*Side
	path  string
}

// work is one comparison at work.
type work struct {
	set      *rules.Set
	from     *group
	to       *Side
	changes  []*change
	needs    map[string][]string // condition -> all that it needs, directly or not
	verdicts map[string][2]*report.Verdict
	asked    int // facts whose words were searched
}

// change is a change with what ranks it.
type change struct {
	report.Change
	input bool     // says what the run was started with
	fact  string   // name, or name and subject, that rules read it by
	name  string   // of that fact
	also  []string // other facts
	about string
	error bool // a message that tells of an error
	// measured: a measure, which differs between any two runs.
	measured bool
	known    bool // both runs have items of the kind
	used     bool // stands beside a flip
	whole    bool // the values are all that there is of it
	// lone: one run alone states it; nobody may have asked the other.
	lone bool
	// passing: one side saw a state that goes over into another.
	passing bool
	of      [2]*item // from and to, nil for a message or file
	nth     int      // order among its like
	// stand are the facts that stand where a message stands.
	stand []string
	// values are those that only one side has, from and to.
	values [2][]value
}

func compare(from *group, to *Side, set *rules.Set) *report.Comparison {
	w := &work{set: set, from: from, to: to, verdicts: map[string][2]*report.Verdict{}}
	w.closure()
	notes := w.collect()
	w.settle()
	w.feed()
	c := &report.Comparison{From: from.path, To: to.Report.Path, Notes: notes}
	for _, cond := range set.Conditions() {
		a, b := from.verdict(cond.ID), to.verdict(cond.ID)
		w.verdicts[cond.ID] = [2]*report.Verdict{a, b}
	}
	for _, cond := range set.Conditions() {
		v := w.verdicts[cond.ID]
		switch {
		case v[0].Status != v[1].Status:
			c.Flips = append(c.Flips, w.flip(cond, v[0], v[1]))
		case v[0].Status == report.Fail && !sameWords(v[0].Because, v[1].Because):
			m := w.flip(cond, v[0], v[1])
			m.MayBeSame = !w.otherReason(v[0], v[1])
			c.Mechanisms = append(c.Mechanisms, m)
		}
	}
	w.rest(c)
	c.Headline = w.headline(c)
	return c.Redacted()
}

// sameWords reports whether two sentences tell of the same mechanism: variable
// parts apart, and how many of them are listed; one may say more than the other.
func sameWords(a, b string) bool {
	a, b = mechanism(a), mechanism(b)
	return a == b || len(b) >= minSaid && names(a, b) || len(a) >= minSaid && names(b, a)
}

var listRe = regexp.MustCompile(`<n>(?:, <n>)+`)

func mechanism(s string) string { return listRe.ReplaceAllString(message.Mask(s), "<n>") }

// closure finds what each condition needs, directly or not.
func (w *work) closure() {
	w.needs = map[string][]string{}
	var all func(id string) []string
	all = func(id string) []string {
		if n, ok := w.needs[id]; ok {
			return n
		}
		w.needs[id] = nil
		var n []string
		if c := w.set.Condition(id); c != nil {
			for _, d := range c.Needs {
				n = append(append(n, d), all(d)...)
			}
		}
		slices.Sort(n)
		w.needs[id] = slices.Compact(n)
		return w.needs[id]
	}
	for _, c := range w.set.Conditions() {
		all(c.ID)
	}
}

// verdict is what the runs of a group have in common: they all decide it so, or
// those that do not leave it unknown.
func (g *group) verdict(id string) *report.Verdict {
	best := g.sides[0].verdict(id)
	for _, s := range g.sides[1:] {
		v := s.verdict(id)
		switch {
		case v.Status == report.Unknown || v.Status == best.Status:
		case best.Status == report.Unknown:
			best = v
		default:
			return &report.Verdict{Condition: id, Title: v.Title, Status: report.Unknown, Because: "the runs of the baseline differ"}
		}
	}
	return best
}

// read reports whether the artifacts of all runs were read.
func (g *group) read() bool {
	return !slices.ContainsFunc(g.sides, func(s *Side) bool { return !s.read })
}

// collect finds all changes, and what must be said about them.
func (w *work) collect() (notes []string) {
	w.items()
	notes = w.missing()
	if !w.from.read() || !w.to.read {
		return append(notes, "compared by saved reports: messages, times and the image's files are not compared, nor what they tell of how far a run came")
	}
	notes = append(notes, w.messages()...)
	if len(w.from.sides) == 1 {
		files, more := tree.Compare(w.from.sides[0].bundle, w.to.bundle, w.to.params)
		for _, f := range files {
			facts := fileFacts(f.Subject)
			w.add(&change{Change: f, input: !f.Harmless, name: facts[0], also: facts[1:], known: true})
		}
		notes = append(notes, more...)
	}
	for _, c := range w.late() {
		w.add(&change{Change: c, known: true, error: true})
	}
	return notes
}

// missing names what says what a run was started with and is not compared, since
// one run or both did not keep it.
func (w *work) missing() []string {
	kept := func(s *Side, facts ...string) bool {
		return slices.ContainsFunc(s.items, func(it item) bool { return slices.Contains(facts, it.fact) })
	}
	var neither, onlyA, onlyB []string
	for _, x := range []struct {
		name string
		kept func(*Side) bool
	}{
		{"QEMU's command", func(s *Side) bool { return kept(s, "qemu.argv", "qemu.drive", "qemu.accel") }},
		{"the kernel's command line", func(s *Side) bool { return kept(s, "kernel.cmdline") }},
		{"the boot image", func(s *Side) bool {
			return !s.read || s.bundle != nil && len(s.bundle.Artifacts) > 0 || kept(s, "iso.image", "nix.nar-hash")
		}},
	} {
		a, b := !slices.ContainsFunc(w.from.sides, func(s *Side) bool { return !x.kept(s) }), x.kept(w.to)
		switch {
		case !a && !b:
			neither = append(neither, x.name)
		case !b:
			onlyA = append(onlyA, x.name)
		case !a:
			onlyB = append(onlyB, x.name)
		}
	}
	var parts []string
	for _, p := range []struct {
		names []string
		who   string
	}{{neither, "neither run kept"}, {onlyA, "only A kept"}, {onlyB, "only B kept"}} {
		if len(p.names) > 0 {
			parts = append(parts, list(p.names)+", which "+p.who)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"not compared: " + strings.Join(parts, "; ")}
}

// fileFacts are the facts that a file of the image speaks for: a boot loader's
// configuration for the command line, all else for what the root holds and what
// its units do.
func fileFacts(p string) []string {
	if ext := path.Ext(p); ext == ".cfg" || ext == ".conf" && strings.Contains(p, "loader/") {
		return []string{"iso.cmdline"}
	}
	return []string{"iso.part", "iso.unit-setting"}
}

func (w *work) late() []report.Change {
	if len(w.from.sides) == 1 {
		return timing.Compare(w.from.sides[0].times, w.to.times)
	}
	var good []*timing.Times
	for _, s := range w.from.sides {
		good = append(good, s.times)
	}
	var cs []report.Change
	for _, f := range timing.Expect(good).Late(w.to.times) {
		cs = append(cs, f.Change())
	}
	return cs
}

func (w *work) add(c *change) {
	c.nth = len(w.changes)
	if c.fact == "" {
		c.fact = c.name
	}
	w.changes = append(w.changes, c)
}

// items compares the items.
func (w *work) items() {
	before := make([]map[key]*item, len(w.from.sides))
	var keys []key
	met := map[key]bool{}
	index := func(items []item) map[key]*item {
		m := map[key]*item{}
		for i := range items {
			m[items[i].key] = &items[i]
			if !met[items[i].key] {
				met[items[i].key] = true
				keys = append(keys, items[i].key)
			}
		}
		return m
	}
	for i, s := range w.from.sides {
		before[i] = index(s.items)
	}
	after := index(w.to.items)
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(rankOf(a.kind), rankOf(b.kind)), cmp.Compare(a.kind, b.kind), cmp.Compare(a.subject, b.subject))
	})
	covered := [2]map[string]bool{{}, {}}
	for _, m := range before {
		for _, it := range m {
			covered[0][it.fact] = true
		}
	}
	for _, it := range after {
		covered[1][it.fact] = true
	}
	for _, k := range keys {
		w.item(k, before, after, covered)
	}
}

// item compares one item with what the group has of it: it differs when it is
// as in none of the group's runs.
func (w *work) item(k key, before []map[key]*item, after map[key]*item, covered [2]map[string]bool) {
	var a *item
	b := after[k]
	for i := range before {
		x := before[i][k]
		if same(x, b) {
			literally := func(m map[key]*item) bool { return m[k] != nil && shown(m[k].values) == shown(b.values) }
			if x != nil && !slices.ContainsFunc(before, literally) {
				w.change(k, x, b, true, true)
			}
			return
		}
		if a == nil {
			a = x
		}
	}
	of := a
	if of == nil {
		of = b
	}
	if strings.HasSuffix(k.kind, ".probe") && (a == nil || b == nil) {
		exit := key{k.kind, strings.TrimSuffix(k.subject, " answer")}
		if exit == k || after[exit] == nil || before[0][exit] == nil {
			return // nobody asked: that is no answer
		}
	}
	known := covered[0][of.fact] && covered[1][of.fact]
	if known || of.told {
		w.change(k, a, b, false, known)
	}
}

func same(a, b *item) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.masked() == b.masked()
}

// change adds the change from a to b, of which one may be nil.
func (w *work) change(k key, a, b *item, harmless, known bool) {
	c := &change{known: known}
	c.Kind, c.Subject, c.Harmless = k.kind, k.subject, harmless
	c.measured = slices.Contains(measured, c.Kind)
	of := a
	if of == nil {
		of = b
	}
	c.name, c.about, c.fact = of.fact, of.about, factName(of.fact, of.about)
	c.input = !harmless && isInput(of.fact)
	if of.fact == "probe.exit" || of.fact == "probe.stdout" {
		c.input = !harmless && k.kind == "host.probe"
	}
	av, bv := valuesOf(a), valuesOf(b)
	if !of.one && !harmless {
		if x, y := apart(av, bv); len(x)+len(y) > 0 {
			av, bv = x, y // else their order changed
		}
	}
	c.values = [2][]value{av, bv}
	c.whole, c.lone = of.one, a == nil || b == nil
	if k.kind == "stage" {
		c.also = []string{"serial.ends"} // whose rules ask for it by what the console shows
	}
	c.of = [2]*item{a, b}
	c.passing = slices.ContainsFunc(slices.Concat(valuesOf(a), valuesOf(b)), func(v value) bool { return v.passing })
	if a != nil && b != nil && (len(av) == 0 || len(bv) == 0) {
		// One has more of it than the other: that is not "none".
		av, bv = a.values, b.values
	}
	c.From, c.To = cut(shown(av)), cut(shown(bv))
	if of.fact == "probe.stdout" {
		x, y := firstDifference(shown(av), shown(bv), message.Mask)
		c.From, c.To = cut(x), cut(y)
	}
	if x, y := apart(av, bv); of.one && len(x)+len(y) > 0 {
		av, bv = telling(av, x), telling(bv, y)
	}
	c.Evidence = append(w.sided(report.SideFrom, of.fact, av), w.sided(report.SideTo, of.fact, bv)...)
	w.add(c)
}

// telling leaves of a side's values those that the other has not, unless it has
// them all.
func telling(all, apart []value) []value {
	if len(apart) == 0 {
		return all
	}
	return apart
}

// settle finds which of the facts that one run alone states the other is shown
// not to have, and says each change in words.
func (w *work) settle() {
	said := w.messagesOf()
	for _, c := range w.changes {
		if c.of[0] == nil && c.of[1] == nil {
			continue
		}
		side, it := report.SideFrom, c.of[0]
		if it == nil {
			side, it = report.SideTo, c.of[1]
		}
		asked := c.known && c.complete() && !strings.HasPrefix(c.name, "host.")
		c.Alone = c.lone && !c.whole && !asked && (w.saysAny(other(side), it) || !said[side].tell(it))
		c.Summary = summary(it.key, c)
	}
}

// maxAsked bounds the facts whose words are searched in all messages of a run.
const maxAsked = 200

// saysAny reports whether a side says the words of a fact that it does not state,
// or may do so.
func (w *work) saysAny(side string, it *item) bool {
	if !worded(it.fact) {
		return false
	}
	if w.asked++; w.asked > maxAsked {
		return true
	}
	return slices.ContainsFunc(it.values, func(v value) bool { return w.heard(side, v.shown) })
}

// heard reports whether a side logged these words.
func (w *work) heard(side, words string) bool {
	return len(words) >= minSaid && slices.ContainsFunc(w.sides(side), func(s *Side) bool { return s.messages.Says(words) })
}

// spoken are the messages that one side has, and the other could have shown.
type spoken struct {
	at    places
	texts []string
}

// maxTexts bounds the messages that are searched for a fact's words; errors are
// among the first.
const maxTexts = 2000

func (w *work) messagesOf() map[string]*spoken {
	spans, said := map[string][]span{}, map[string]*spoken{report.SideFrom: {}, report.SideTo: {}}
	for _, m := range w.changes {
		if m.name != "" || !strings.HasSuffix(m.Kind, ".message") {
			continue
		}
		for _, e := range m.Evidence {
			if e.Absent == "" {
				spans[e.Side] = append(spans[e.Side], span{path: e.Path, start: e.Start, end: e.End})
			}
		}
		side, text := report.SideFrom, m.From
		if text == "" {
			side, text = report.SideTo, m.To
		}
		if t := said[side]; len(t.texts) < maxTexts {
			t.texts = append(t.texts, text)
		}
	}
	for side, t := range said {
		t.at = placesOf(spans[side])
	}
	return said
}

// tell reports whether a fact stands in one of the messages.
func (t *spoken) tell(it *item) bool {
	for _, v := range it.values {
		for i := range v.ev {
			if len(t.at.at(&v.ev[i])) > 0 {
				return true
			}
		}
		if worded(it.fact) && slices.ContainsFunc(t.texts, func(text string) bool { return names(text, v.shown) }) {
			return true
		}
	}
	return false
}

// otherReason reports whether two runs are shown to fail for different reasons:
// one of them could have shown the other's and does not. A run that was not
// asked the same, or has both reasons, shows nothing.
func (w *work) otherReason(a, b *report.Verdict) bool {
	if w.says(a, report.SideTo) || w.says(b, report.SideFrom) {
		return false
	}
	return w.refuted(a, report.SideFrom) || w.refuted(b, report.SideTo)
}

// refuted reports whether the reason that one side gives is not the other's: a
// message or value that it rests on is gone there.
func (w *work) refuted(v *report.Verdict, side string) bool {
	if w.heard(other(side), v.Because) {
		return false
	}
	return slices.ContainsFunc(w.changes, func(c *change) bool {
		if c.Harmless || c.Alone || c.passing || !overlaps(c, side, v.Evidence) {
			return false
		}
		vs := c.values[0]
		if side == report.SideTo {
			vs = c.values[1]
		}
		switch {
		case c.name == "":
			return len(vs) > 0 && vs[0].shown != "" && w.speaks(vs[0].shown, v, side)
		case !worded(c.name):
			return len(vs) > 0 && vs[0].shown != ""
		}
		return slices.ContainsFunc(vs, func(x value) bool { return names(v.Because, x.shown) })
	})
}

// speaks reports whether a message of a side says what its verdict says, or holds
// the words of a fact that the verdict names.
func (w *work) speaks(text string, v *report.Verdict, side string) bool {
	return strings.Contains(v.Because, text) || strings.Contains(text, v.Because) || slices.ContainsFunc(w.side(side).items, func(it item) bool {
		return worded(it.fact) && slices.ContainsFunc(it.values, func(x value) bool {
			return len(x.shown) >= minSaid && names(v.Because, x.shown) && strings.Contains(text, x.shown)
		})
	})
}

// minSaid is the least of a message that makes it the same: "yes" stands anywhere.
const minSaid = 12

// says reports whether a side has the words of a reason, too.
func (w *work) says(v *report.Verdict, side string) bool {
	reason := message.Mask(v.Because)
	return slices.ContainsFunc(w.sides(side), func(s *Side) bool {
		return slices.ContainsFunc(s.items, func(it item) bool {
			return worded(it.fact) && slices.ContainsFunc(it.values, func(x value) bool { return len(x.masked) >= minSaid && names(reason, x.masked) })
		})
	})
}

// sided is the evidence of one side's values; of none, the command line that
// was taken apart and does not have it.
func (w *work) sided(side, fact string, vs []value) []report.SideEvidence {
	ev := evidenceOf(vs)
	if whole, ok := w.side(side).whole[fact]; ok && len(ev) == 0 {
		ev = []bundle.Evidence{whole}
	}
	return sided(side, ev)
}

func valuesOf(it *item) []value {
	if it == nil {
		return nil
	}
	return it.values
}

// apart leaves the values that only one side has.
func apart(a, b []value) ([]value, []value) {
	without := func(vs, others []value) []value {
		left := slices.Clone(others)
		var only []value
		for _, v := range vs {
			i := slices.IndexFunc(left, func(o value) bool { return o.masked == v.masked })
			if i < 0 {
				only = append(only, v)
				continue
			}
			left = slices.Delete(left, i, i+1)
		}
		return only
	}
	return without(a, b), without(b, a)
}

func cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + " …"
}

func sided(side string, ev []bundle.Evidence) []report.SideEvidence {
	var out []report.SideEvidence
	for _, e := range ev {
		out = append(out, report.SideEvidence{Side: side, Evidence: e})
	}
	return out
}

// sides are the runs of a side.
func (w *work) sides(side string) []*Side {
	if side == report.SideFrom {
		return w.from.sides
	}
	return []*Side{w.to}
}

func other(side string) string {
	if side == report.SideFrom {
		return report.SideTo
	}
	return report.SideFrom
}

// spoke says that one run says something and the other does not.
func spoke(run, other string, d *message.Difference) string {
	return fmt.Sprintf("%s says in %s: %s; %s does not", run, path.Base(bundle.Printable(d.Evidence[0].Path)), quote(d.Text, ""), other)
}

// source says where the messages of a class stand.
var source = map[message.Class]string{
	message.Kernel: "the kernel's log", message.Journal: "the journal", message.Console: "the console",
	message.Harness: "the harness's log", message.Build: "the build log",
}

// messages compares what was logged.
func (w *work) messages() (notes []string) {
	from := w.from.sides[0].messages
	if len(w.from.sides) > 1 {
		var sets []*message.Set
		for _, s := range w.from.sides {
			sets = append(sets, s.messages)
		}
		from = message.Union(sets...)
	}
	diffs, folded := message.Compare(from, w.to.messages)
	for _, d := range diffs {
		c := &change{known: true, error: d.Error}
		c.Kind, c.Subject = string(d.Class)+".message", d.Source
		c.From, c.Summary = d.Text, spoke("A", "B", &d)
		side := report.SideFrom
		if d.Side == message.To {
			side = report.SideTo
			c.From, c.To, c.Summary = "", d.Text, spoke("B", "A", &d)
		}
		c.Evidence = sided(side, d.Evidence)
		if d.After != nil {
			c.Evidence = append(c.Evidence, report.SideEvidence{Side: other(side), Absent: report.AbsentAfter, Evidence: *d.After})
			slices.SortStableFunc(c.Evidence, func(a, b report.SideEvidence) int { return cmp.Compare(a.Side, b.Side) })
		}
		c.values = [2][]value{{{shown: c.From}}, {{shown: c.To}}}
		w.add(c)
	}
	for _, f := range folded {
		run := "A"
		if f.Side == message.To {
			run = "B"
		}
		notes = append(notes, fmt.Sprintf("not compared: %s of %s that %s alone could show", count(f.Count, "message"), source[f.Class], run))
	}
	for i, s := range []*message.Set{from, w.to.messages} {
		if s.Overflow > 0 {
			notes = append(notes, fmt.Sprintf("not compared: %s of %s, which has too many different ones", count(s.Overflow, "line"), []string{"A", "B"}[i]))
		}
	}
	return notes
}
