package compare

import (
	"fmt"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
)

// summary says a change as one clause.
func summary(k key, a, b *item, from, to string) string {
	switch k.kind {
	case "qemu.drive":
		if k.subject == "disks" {
			return drives(len(valuesOf(a)), len(valuesOf(b)), from, to)
		}
	case "qemu.hostfwd":
		return "QEMU forwards " + change2(from, to, "nothing")
	case "qemu.device":
		return "QEMU has " + change2(from, to, "no "+k.subject)
	case "stage":
		return "the boot reached " + change2(from, to, "nothing")
	case "serial.reached":
		if b == nil {
			return "the console shows nothing of stage " + k.subject + " any more"
		}
		return "the console shows stage " + k.subject + " now"
	case "kernel.parameter":
		name, where, _ := strings.Cut(k.subject, " ")
		if where != "" {
			return strings.Trim(where, "()") + " gives the kernel " + change2(from, to, "no "+name)
		}
		return "the kernel gets " + change2(from, to, "no "+name)
	case "iso.image":
		return "another boot image: its " + k.subject + " is " + change2(from, to, "not known")
	case "unit.state":
		return k.subject + " is " + change2(from, to, "not seen")
	}
	if option, ok := strings.CutPrefix(k.kind, "qemu."); ok && (a == nil || isInput(a.fact)) && (b == nil || isInput(b.fact)) {
		what := "QEMU's " + option
		if k.subject != "" {
			what += " " + k.subject
		}
		return what + " is " + change2(from, to, "absent")
	}
	what := strings.TrimSpace(k.kind + " " + k.subject)
	switch {
	case a == nil:
		return "new " + what + ": " + quote(to, "")
	case b == nil:
		return "gone " + what + ": " + quote(from, "")
	}
	return what + " is " + change2(from, to, "none")
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
	if s := w.replaced(c); s != "" {
		return s + w.reached(c)
	}
	for _, observer := range []bool{false, true} {
		for i := range c.Mechanisms {
			if m := &c.Mechanisms[i]; w.observes(m.Condition) == observer {
				return fmt.Sprintf("%s still fails, for another reason: %s (%s before)", m.Condition, quote(m.ToBecause, "?"), quote(m.FromBecause, "?")) + w.reached(c)
			}
		}
		if s := w.shown(c, observer); s != "" {
			return s
		}
	}
	return w.open(c)
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
		if len(x.Feeds) > 0 {
			feeding++
		}
	}
	s := count(c.Differences, "difference")
	switch {
	case c.Differences == 0 && len(c.Folded)+len(c.Notes) == 0:
		return "nothing differs"
	case c.Differences == 0:
		return "nothing differs that could matter"
	case feeding == 0:
		return s + ", none feeds a rule"
	}
	return fmt.Sprintf("%s, %d of them read by rules that judge the same", s, feeding)
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

// turned is the headline of a flip, with the others that turned the same way.
func (w *work) turned(c *report.Comparison, f *report.Flip) string {
	ids := []string{f.Condition}
	for i := range c.Flips {
		o := &c.Flips[i]
		if o.Condition != f.Condition && o.From == f.From && o.To == f.To && o.NewlyReached == f.NewlyReached && o.NoLongerReached == f.NoLongerReached {
			ids = append(ids, o.Condition)
		}
	}
	s := fmt.Sprintf("%s went from %s to %s", list(ids), f.From, f.To)
	reason := ""
	if len(f.Changes) > 0 {
		reason = f.Changes[0].Summary
		s += "; " + reason
	} else {
		s += "; nothing that was captured changed with it"
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

// next is what fails now that f passes, and did not fail that way before.
func (w *work) next(f *report.Flip) string {
	causes := w.to.Report.Causes
	if f.To != report.Pass || len(causes) == 0 {
		return ""
	}
	c := &causes[0]
	for _, s := range w.from.sides {
		switch v := s.verdict(c.Condition); {
		case v.Status != report.Fail:
		case sameWords(v.Because, c.Because):
			return ""
		default:
			return "; " + c.Condition + " still fails, for another reason: " + w.told(c.Because, report.SideTo)
		}
	}
	return "; now " + c.Condition + " fails: " + w.told(c.Because, report.SideTo)
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
// cause of each that the other does not have.
func (w *work) replaced(c *report.Comparison) string {
	if len(w.from.sides) > 1 {
		return ""
	}
	x, y := own(w.from.sides[0], w.to), own(w.to, w.from.sides[0])
	if x == nil || y == nil {
		return ""
	}
	return fmt.Sprintf("another failure: %s %s (%s), %s %s (%s)",
		w.absent("gone is", "no longer shown is", x, w.to, report.SideFrom), w.told(x.Because, report.SideFrom), x.Condition,
		w.absent("new is", "now shown is", y, w.from.sides[0], report.SideTo), w.told(y.Because, report.SideTo), y.Condition)
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

// absent says that the other run does not have the cause: for sure where the
// condition passed, or it could have shown the words and does not.
func (w *work) absent(sure, open string, c *report.Cause, other *Side, side string) string {
	if other.verdict(c.Condition).Status == report.Pass {
		return sure
	}
	for _, x := range w.changes {
		text := x.From
		if side == report.SideTo {
			text = x.To
		}
		if strings.HasSuffix(x.Kind, ".message") && c.Because != "" && strings.Contains(text, c.Because) {
			return sure
		}
	}
	return open
}

// told is a verdict's sentence, with where it happened when a message says so.
func (w *work) told(because, side string) string {
	for _, c := range w.changes {
		text := c.From
		if side == report.SideTo {
			text = c.To
		}
		if strings.HasSuffix(c.Kind, ".message") && because != "" && strings.HasPrefix(text, because) {
			return quote(text, "?")
		}
	}
	return quote(because, "?")
}
