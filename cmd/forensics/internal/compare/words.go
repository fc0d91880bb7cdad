package compare

import (
	"fmt"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
)

// summary says the change of an item as one clause.
func summary(k key, c *change) string {
	from, to := c.From, c.To
	switch k.kind {
	case "qemu.drive":
		if k.subject == "disks" {
			return drives(len(valuesOf(c.of[0])), len(valuesOf(c.of[1])), from, to)
		}
	case "qemu.hostfwd":
		return "QEMU forwards " + change2(from, to, "nothing")
	case "qemu.device":
		return "QEMU has " + change2(from, to, "no "+k.subject)
	case "stage":
		return "the boot is seen up to " + change2(from, to, "nothing")
	case "serial.reached":
		return one(c, "the console of "+mark+" shows the stage "+k.subject)
	case "kernel.parameter":
		name, where, _ := strings.Cut(k.subject, " ")
		if where != "" {
			return strings.Trim(where, "()") + " gives the kernel " + change2(from, to, "no "+name)
		}
		return "the kernel gets " + change2(from, to, "no "+name)
	case "iso.image":
		return "another boot image: its " + k.subject + " is " + change2(from, to, "not known")
	}
	if option, ok := strings.CutPrefix(k.kind, "qemu."); ok && isInput(c.name) {
		what := "QEMU's " + option
		if k.subject != "" && k.subject != from && k.subject != to {
			what += " " + k.subject
		}
		return what + " is " + change2(from, to, "absent")
	}
	what, whole := phrase(k, c.name, c.about)
	if k.kind == "unit.state" {
		what = k.subject
	}
	if from != "" && to != "" {
		return what + " is " + change2(from, to, "none")
	}
	if v := quote(from+to, ""); !whole || !slices.Contains(bare, v) {
		what += ": " + v
	}
	return one(c, mark+" shows "+what)
}

// mark stands for a run in a clause.
const mark = "\x00"

// one says that one run shows something: that the other does not, where that is
// known.
func one(c *change, clause string) string {
	run, other := "A", "B"
	if c.From == "" {
		run, other = "B", "A"
	}
	clause = strings.Replace(clause, mark, run, 1)
	if c.Alone {
		return "only " + clause
	}
	return clause + ", " + other + " does not"
}

// change2 says what is there, and what was before.
func change2(from, to, none string) string {
	return quote(to, none) + " (" + quote(from, "none") + " before)"
}

// maxQuoted bounds a value within a sentence, in runes.
const maxQuoted = 160

func quote(s, none string) string {
	if s == "" {
		return none
	}
	r := []rune(bundle.Printable(s))
	if len(r) > maxQuoted {
		return strings.TrimRight(string(r[:maxQuoted]), " ") + "…"
	}
	return string(r)
}

func drives(a, b int, from, to string) string {
	if a == b {
		return "QEMU's drives are " + change2(from, to, "none")
	}
	return fmt.Sprintf("QEMU has %s (%d before)", count(b, "drive"), a)
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// headline says in one sentence what changed: the earliest condition that went
// from pass to fail or back and was not merely reached or missed, with the
// change that ranks first; else which other failure took the place of the one
// before; else what could not be told any more.
func (w *work) headline(c *report.Comparison) string {
	if len(c.Flips) == 0 && len(c.Mechanisms) == 0 {
		return "no condition flipped; " + w.nothing(c)
	}
	if f := w.root(c); f != nil {
		if w.observes(f.Condition) {
			// Who watched matters less than what failed in the guest.
			if s := w.shown(c, false); s != "" {
				return s
			}
		}
		return w.turned(c, f)
	}
	if s := w.noBoot(); s != "" {
		return s
	}
	if s := w.replaced(c); s != "" {
		return s + w.reached(c)
	}
	for _, observer := range []bool{false, true} {
		for i := range c.Mechanisms {
			if m := &c.Mechanisms[i]; w.observes(m.Condition) == observer && !m.MayBeSame {
				return fmt.Sprintf("%s still fails, for another reason: %s (%s before)", m.Condition, w.told(m.ToBecause, report.SideTo), w.told(m.FromBecause, report.SideFrom)) + w.reached(c)
			}
		}
		if s := w.shown(c, observer); s != "" {
			return s
		}
	}
	if len(c.Mechanisms) > 0 {
		m := &c.Mechanisms[0]
		return fmt.Sprintf("%s fails in both, perhaps for one reason: in A %s; in B %s", m.Condition, w.told(m.FromBecause, report.SideFrom), w.told(m.ToBecause, report.SideTo)) + w.reached(c)
	}
	return w.open(c)
}

// noBoot is the headline where one run alone records a boot.
func (w *work) noBoot() string {
	if len(w.from.sides) > 1 {
		return ""
	}
	a, b := w.from.sides[0], w.to
	switch {
	case a.boots() == b.boots():
		return ""
	case a.boots():
		return "B records no boot, A one that " + a.end()
	}
	return "A records no boot, B one that " + b.end()
}

// boots reports whether a run records an attempt to boot.
func (s *Side) boots() bool {
	return s.Report.Stage != "none" || s.Report.StartedFrom == report.FromGuest || slices.ContainsFunc(s.items, func(it item) bool {
		area, _, _ := strings.Cut(it.fact, ".")
		return slices.Contains([]string{"qemu", "kernel", "serial", "shell", "unit", "net", "disk", "lvm", "storage"}, area)
	})
}

// end says how far a run came, and of what it failed.
func (s *Side) end() string {
	end := "reached " + s.Report.Stage
	if s.Report.Stage == "none" {
		end = "shows no stage"
	}
	if len(s.Report.Causes) > 0 {
		c := &s.Report.Causes[0]
		end += "; " + c.Condition + " fails: " + quote(c.Because, "?")
	}
	return end
}

// reached names what a broken run could not show and the other does.
func (w *work) reached(c *report.Comparison) string {
	var newly, less []string
	for i := range c.Flips {
		switch f := &c.Flips[i]; {
		case f.NewlyReached && f.To == report.Fail:
			newly = append(newly, f.Condition)
		case f.NoLongerReached && f.From == report.Fail:
			less = append(less, f.Condition)
		}
	}
	s := ""
	if len(newly) > 0 {
		s += "; newly reached: " + list(newly)
	}
	if len(less) > 0 {
		s += "; no longer reached: " + list(less)
	}
	return s
}

// shown is the headline where one run shows a failure that the other does not
// decide.
func (w *work) shown(c *report.Comparison, observer bool) string {
	cause := func(s *Side, id string) bool {
		return slices.ContainsFunc(slices.Concat(s.Report.Causes, s.Report.Observer), func(x report.Cause) bool { return x.Condition == id })
	}
	for i := range c.Flips {
		f := &c.Flips[i]
		switch {
		case w.observes(f.Condition) != observer:
		case f.From == report.Unknown && !cause(w.to, f.Condition), f.To == report.Unknown && !cause(w.from.sides[0], f.Condition):
			// It follows from another one.
		case f.From == report.Unknown && f.To == report.Fail:
			return fmt.Sprintf("%s fails, which A left open: %s%s", f.Condition, w.told(f.ToBecause, report.SideTo), withInput(f))
		case f.To == report.Unknown && f.From == report.Fail:
			return fmt.Sprintf("%s is left open, which failed in A: %s%s", f.Condition, w.told(f.FromBecause, report.SideFrom), withInput(f))
		}
	}
	return ""
}

// withInput adds what the run was started with, where that goes with a flip.
func withInput(f *report.Flip) string {
	if len(f.Changes) == 0 {
		return ""
	}
	c := &f.Changes[0]
	if strings.HasPrefix(c.Kind, "qemu.") && isInput(c.Kind) || c.Kind == "kernel.parameter" || c.Kind == "iso.file" {
		return "; " + c.Summary
	}
	return ""
}

func (w *work) observes(id string) bool {
	c := w.set.Condition(id)
	return c != nil && c.Observer
}

// open is the headline where no condition is decided differently.
func (w *work) open(c *report.Comparison) string {
	var gained, lost []string
	for i := range c.Flips {
		if f := &c.Flips[i]; f.From == report.Unknown {
			gained = append(gained, f.Condition)
		} else {
			lost = append(lost, f.Condition)
		}
	}
	s := "no condition was decided otherwise"
	if a, b := w.from.sides[0].Report.Causes, w.to.Report.Causes; len(w.from.sides) == 1 && len(a) > 0 && len(b) > 0 && a[0].Condition == b[0].Condition && sameWords(a[0].Because, b[0].Because) {
		s = fmt.Sprintf("the same failure: %s fails in both: %s", a[0].Condition, w.told(b[0].Because, report.SideTo))
		i := slices.IndexFunc(w.changes, func(x *change) bool {
			return x.input && x.known && !x.Harmless && x.counts() && slices.Contains(x.Feeds, a[0].Condition)
		})
		if i >= 0 {
			s = fmt.Sprintf("%s fails in both with the same words: %s; %s", a[0].Condition, w.told(b[0].Because, report.SideTo), w.changes[i].Summary)
		}
	}
	if len(gained) > 0 {
		s += "; only B decides " + list(gained)
	}
	if len(lost) > 0 {
		s += "; only A decides " + list(lost)
	}
	return s
}

func (w *work) nothing(c *report.Comparison) string {
	feeding := 0
	for _, x := range c.Changes {
		if len(x.Feeds) > 0 && !x.Harmless {
			feeding++
		}
	}
	s := count(c.Differences, "difference")
	switch {
	case c.Differences == 0 && w.identical():
		return "both runs hold the same bytes"
	case c.Differences == 0:
		return "no difference found that could matter"
	case feeding == 0:
		return s + ", none feeds a rule"
	}
	return fmt.Sprintf("%s, %d read by rules that judge the same", s, feeding)
}

// identical reports whether two runs have the same artifacts, by digest.
func (w *work) identical() bool {
	if len(w.from.sides) > 1 || !w.from.read() || !w.to.read {
		return false
	}
	sums := func(r *report.Run) []string {
		var all []string
		for _, a := range r.Artifacts {
			if a.SHA256 == "" {
				return nil
			}
			all = append(all, a.SHA256)
		}
		slices.Sort(all)
		return all
	}
	a := sums(&w.from.sides[0].Report)
	return a != nil && slices.Equal(a, sums(&w.to.Report))
}

// root is the flip that the others may follow from: the first in the catalogue
// that was decided both times, was not merely reached or missed, and needs none
// that turned the same way.
func (w *work) root(c *report.Comparison) *report.Flip {
	turned := map[string]string{}
	for i := range c.Flips {
		if f := &c.Flips[i]; decided(f) && !f.NewlyReached && !f.NoLongerReached {
			turned[f.Condition] = f.To
		}
	}
	for i := range c.Flips {
		f := &c.Flips[i]
		follows := slices.ContainsFunc(w.needs[f.Condition], func(n string) bool { return turned[n] == f.To })
		if turned[f.Condition] != "" && !follows {
			return f
		}
	}
	return nil
}

func decided(f *report.Flip) bool { return f.From != report.Unknown && f.To != report.Unknown }

// turned is the headline of a flip, with the others that turned the same way,
// those to which the same change belongs first.
func (w *work) turned(c *report.Comparison, f *report.Flip) string {
	ids, more := []string{f.Condition}, []string(nil)
	for i := range c.Flips {
		o := &c.Flips[i]
		if o.Condition == f.Condition || o.From != f.From || o.To != f.To || o.NewlyReached != f.NewlyReached || o.NoLongerReached != f.NoLongerReached {
			continue
		}
		if len(f.Changes) == 0 || slices.ContainsFunc(o.Changes, func(x report.Change) bool { return x.Kind == f.Changes[0].Kind && x.Subject == f.Changes[0].Subject }) {
			ids = append(ids, o.Condition)
		} else {
			more = append(more, o.Condition)
		}
	}
	s := fmt.Sprintf("%s went from %s to %s", list(ids), f.From, f.To)
	if len(more) > 0 {
		s += " (so did " + list(more) + ")"
	}
	reason := ""
	switch {
	case len(f.Changes) == 0:
		s += "; nothing that was captured changed with it"
	case f.To == report.Fail && f.Changes[0].From == "" && names(f.ToBecause, f.Changes[0].To):
		// The verdict says it.
	default:
		reason = strings.TrimSuffix(f.Changes[0].Summary, ".")
		s += "; " + reason
	}
	switch {
	case f.To == report.Fail && !strings.Contains(reason, quote(f.ToBecause, "?")):
		s += ": " + w.told(f.ToBecause, report.SideTo)
	case f.From == report.Fail && !strings.Contains(reason, quote(f.FromBecause, "?")):
		s += "; in A: " + w.told(f.FromBecause, report.SideFrom)
	}
	return s + w.next(f) + w.mended(c, f)
}

// mended names what had been a cause in A and passes now, where something else
// fails instead.
func (w *work) mended(c *report.Comparison, f *report.Flip) string {
	if f.To != report.Fail {
		return ""
	}
	var ids []string
	for i := range c.Flips {
		o := &c.Flips[i]
		was := slices.ContainsFunc(w.from.sides[0].Report.Causes, func(x report.Cause) bool { return x.Condition == o.Condition })
		if o.From == report.Fail && o.To == report.Pass && was {
			ids = append(ids, o.Condition)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return "; mended: " + list(ids)
}

// next is what fails in B where f passes, and did not fail that way before.
func (w *work) next(f *report.Flip) string {
	causes := w.to.Report.Causes
	if f.To != report.Pass || len(causes) == 0 {
		return ""
	}
	c := &causes[0]
	says := "B shows that " + c.Condition + " fails"
	for _, s := range w.from.sides {
		switch v := s.verdict(c.Condition); {
		case v.Status == report.Pass:
			says = "now " + c.Condition + " fails"
		case v.Status != report.Fail:
		case sameWords(v.Because, c.Because) || !w.otherReason(v, w.to.verdict(c.Condition)):
			return ""
		default:
			return "; " + c.Condition + " still fails, for another reason: " + w.told(c.Because, report.SideTo)
		}
	}
	return "; " + says + ": " + w.told(c.Because, report.SideTo)
}

// maxNamed bounds how many conditions a headline names.
const maxNamed = 4

func list(ids []string) string {
	switch n := len(ids); {
	case n == 1:
		return ids[0]
	case n > maxNamed:
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:maxNamed], ", "), n-maxNamed)
	default:
		return strings.Join(ids[:n-1], ", ") + " and " + ids[n-1]
	}
}

// replaced is the headline where the runs fail of something else: the first
// cause of each that the other does not have. At least one of them is shown to
// be gone or new; else the runs may tell of one failure in other words.
func (w *work) replaced(c *report.Comparison) string {
	if len(w.from.sides) > 1 {
		return ""
	}
	a, b := w.from.sides[0], w.to
	x, y := own(a, b), own(b, a)
	gone, isNew := x != nil && w.lost(x, b, report.SideFrom), y != nil && w.lost(y, a, report.SideTo)
	switch {
	case x != nil && y != nil && (gone || isNew):
		return fmt.Sprintf("another failure: %s: %s (%s); %s: %s (%s)",
			choose(gone, "gone", "no longer shown"), w.told(x.Because, report.SideFrom), x.Condition,
			choose(isNew, "new", "now shown"), w.told(y.Because, report.SideTo), y.Condition)
	case gone && y == nil && len(b.Report.Causes) > 0:
		if m := w.differs(c); m != nil {
			return fmt.Sprintf("another failure: gone: %s (%s); now shown: %s (%s)", w.told(x.Because, report.SideFrom), x.Condition, w.told(m.ToBecause, report.SideTo), m.Condition)
		}
		return fmt.Sprintf("one failure less, gone: %s (%s); %s fails in both", w.told(x.Because, report.SideFrom), x.Condition, b.Report.Causes[0].Condition)
	case isNew && x == nil && len(a.Report.Causes) > 0:
		if m := w.differs(c); m != nil {
			return fmt.Sprintf("another failure: no longer shown: %s (%s); new: %s (%s)", w.told(m.FromBecause, report.SideFrom), m.Condition, w.told(y.Because, report.SideTo), y.Condition)
		}
		return fmt.Sprintf("one failure more, new: %s (%s); %s fails in both", w.told(y.Because, report.SideTo), y.Condition, a.Report.Causes[0].Condition)
	}
	return ""
}

// differs is the first condition that is shown to fail for another reason.
func (w *work) differs(c *report.Comparison) *report.Flip {
	for i := range c.Mechanisms {
		if m := &c.Mechanisms[i]; !m.MayBeSame && !w.observes(m.Condition) {
			return m
		}
	}
	return nil
}

func choose(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// own is the first cause of a run that is no failure of the other, with the
// same words.
func own(s, other *Side) *report.Cause {
	for i := range s.Report.Causes {
		c := &s.Report.Causes[i]
		if v := other.verdict(c.Condition); v.Status != report.Fail || !sameWords(v.Because, c.Because) {
			return c
		}
	}
	return nil
}

// lost reports whether the other run is shown not to have a side's cause: its
// condition passed there, or the words of the failure could stand there and do
// not.
func (w *work) lost(c *report.Cause, other *Side, side string) bool {
	o := other.verdict(c.Condition)
	v := w.side(side).verdict(c.Condition)
	switch {
	case o.Status == report.Pass:
		return true
	case o.Status == report.Fail:
		a, b := v, o
		if side == report.SideTo {
			a, b = o, v
		}
		return w.otherReason(a, b) && w.refuted(v, side)
	}
	return w.refuted(v, side)
}

// told is a verdict's sentence, with where it happened when a message says so.
func (w *work) told(because, side string) string {
	if because != "" {
		if text := w.side(side).messages.Begins(because); text != "" {
			because = text
		}
	}
	return strings.TrimSuffix(quote(because, "?"), ".")
}
