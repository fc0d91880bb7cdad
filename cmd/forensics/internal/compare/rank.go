package compare

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

// order is the natural order of kinds: from what the run was started with to
// what it printed.
var order = []string{
	"qemu.drive", "qemu.device", "qemu.netdev", "qemu.memory", "qemu.cpu", "qemu.accel", "qemu.machine", "qemu.smp", "qemu.firmware",
	"qemu.hostfwd", "qemu.kernel", "qemu.initrd", "qemu.boot", "qemu.option",
	"kernel.parameter", "iso.file", "iso.image", "unit.key", "host.probe", "qemu.serial", "qemu.chardev", "qemu.display", "qemu.version", "stage", "unit.state", "",
	"guest.probe", "kernel.message", "journal.message", "console.message", "stage.time", "harness.message", "build.message",
}

// plumbing is how the harness is attached to QEMU; it is the reason only of
// what says so.
var plumbing = []string{"qemu.serial", "qemu.chardev", "qemu.display", "qemu.version"}

func rankOf(kind string) int {
	if i := slices.Index(order, kind); i >= 0 {
		return i
	}
	return slices.Index(order, "")
}

// feed finds the conditions whose rules read each change.
func (w *work) feed() {
	w.place()
	for _, cond := range w.set.Conditions() {
		asked := map[string]bool{}
		for _, s := range append(slices.Clone(w.from.sides), w.to) {
			for _, f := range s.consulted[cond.ID] {
				asked[f] = true
			}
		}
		for _, c := range w.changes {
			if w.reads(cond, asked, c) {
				c.Feeds = append(c.Feeds, cond.ID)
			}
		}
	}
}

// reads reports whether a condition's rule reads what c is, or a fact that
// stands where the message c stands.
func (w *work) reads(cond *rules.Condition, asked map[string]bool, c *change) bool {
	if c.name != "" {
		return asksFor(asked, c.fact) || restsOn(cond, c) || slices.ContainsFunc(c.also, func(f string) bool { return asksFor(asked, f) })
	}
	return slices.ContainsFunc(c.stand, func(fact string) bool { return asksFor(asked, fact) })
}

// asksFor reports whether a rule asked for the fact, of its subject or of any.
func asksFor(asked map[string]bool, fact string) bool {
	name, _, _ := strings.Cut(fact, " ")
	return asked[fact] || asked[name] || asked[name+" *"]
}

func restsOn(cond *rules.Condition, c *change) bool {
	return slices.ContainsFunc(cond.Inputs, func(in rules.Input) bool {
		if in.Fact != c.name {
			return slices.Contains(c.also, in.Fact)
		}
		ok, _ := path.Match(in.Subject, c.about)
		return in.Subject == "" || ok
	})
}

// place finds the facts that stand where each message stands.
func (w *work) place() {
	sides := map[string]places{}
	var facts []span
	for _, s := range w.from.sides {
		facts = append(facts, s.facts...)
	}
	sides[report.SideFrom], sides[report.SideTo] = placesOf(facts), placesOf(w.to.facts)
	for _, c := range w.changes {
		if c.name != "" {
			continue
		}
		for _, e := range c.Evidence {
			if e.Absent == "" {
				c.stand = append(c.stand, sides[e.Side].at(&e.Evidence)...)
			}
		}
	}
	// A command line that was logged is compared option by option.
	w.changes = slices.DeleteFunc(w.changes, func(c *change) bool {
		return c.name == "" && (slices.Contains(c.stand, "qemu.argv") || slices.Contains(c.stand, "kernel.cmdline") ||
			strings.HasPrefix(c.From+c.To, "Kernel command line: "))
	})
}

// places are the spans of facts by artifact, sorted by where they start.
type places map[string][]span

func placesOf(facts []span) places {
	ps := places{}
	for _, f := range facts {
		ps[f.path] = append(ps[f.path], f)
	}
	for _, spans := range ps {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.fact, b.fact)) })
		far := int64(0)
		for i := range spans {
			far = max(far, spans[i].end)
			spans[i].far = far
		}
	}
	return ps
}

// at returns the facts that stand within e, or around it.
func (ps places) at(e *bundle.Evidence) []string {
	spans := ps[e.Path]
	i, _ := slices.BinarySearchFunc(spans, e.End, func(s span, end int64) int { return cmp.Compare(s.start, end) })
	var facts []string
	for i--; i >= 0 && spans[i].far > e.Start; i-- {
		if spans[i].end > e.Start {
			facts = append(facts, spans[i].fact)
		}
	}
	return facts
}

func (w *work) side(name string) *Side {
	if name == report.SideTo {
		return w.to
	}
	return w.from.sides[0]
}

// flip states that a condition has another status, or another reason, with the
// changes that go with it.
func (w *work) flip(cond *rules.Condition, a, b *report.Verdict) report.Flip {
	f := report.Flip{
		Condition: cond.ID, Title: cond.Title, From: a.Status, To: b.Status,
		FromBecause: a.Because, ToBecause: b.Because,
		NewlyReached:    w.uncovered(cond.ID, 0),
		NoLongerReached: w.uncovered(cond.ID, 1),
	}
	f.Evidence = append(sided(report.SideFrom, a.Evidence[:min(len(a.Evidence), maxEvidence)]), sided(report.SideTo, b.Evidence[:min(len(b.Evidence), maxEvidence)])...)
	var at []ranked
	for _, c := range w.changes {
		if tier := w.tier(cond, c, a, b); tier >= 0 {
			at = append(at, ranked{c, tier, !c.saidBy(a, b), !c.input, !c.input && (c.From == "") != (c.To == "")})
		}
	}
	slices.SortFunc(at, func(x, y ranked) int {
		return cmp.Or(cmp.Compare(x.tier, y.tier), bools(x.unnamed, y.unnamed), bools(x.outcome, y.outcome), bools(x.Alone, y.Alone), bools(x.single, y.single), cmp.Compare(rankOf(x.Kind), rankOf(y.Kind)), cmp.Compare(x.nth, y.nth))
	})
	at = said(at)
	for _, r := range at[:min(len(at), maxOfFlip)] {
		r.used = true
		f.Changes = append(f.Changes, r.Change)
	}
	return f
}

// said leaves out messages that a fact before them was read from: it says the
// same. A traceback says more, where it happened.
func said(at []ranked) []ranked {
	all := slices.Clone(at)
	return slices.DeleteFunc(at, func(m ranked) bool {
		shows := slices.DeleteFunc(slices.Clone(m.Evidence), func(e report.SideEvidence) bool { return e.Absent != "" })
		again := m.name == "" && len(shows) == 1 && slices.ContainsFunc(all, func(o ranked) bool {
			return o.name != "" && o.tier <= m.tier && overlaps(o.change, shows[0].Side, []bundle.Evidence{shows[0].Evidence})
		})
		m.used = m.used || again
		return again
	})
}

type ranked struct {
	*change
	tier    int
	unnamed bool // no verdict's sentence names the value
	outcome bool // what became of the run, not what it was started with
	single  bool // one side alone has a value
}

func bools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// saidBy reports whether a failed verdict's sentence holds a value of its side.
func (c *change) saidBy(a, b *report.Verdict) bool {
	says := func(v *report.Verdict, values []value) bool {
		return v.Status == report.Fail && !c.measured && slices.ContainsFunc(values, func(x value) bool { return named(v.Because, x.shown) })
	}
	return says(a, c.values[0]) || says(b, c.values[1])
}

// deeds are the facts that say what the session did to the guest: where a
// verdict names one, that is the reason.
var deeds = []string{"disk.prepared"}

// tier ranks a change beside a flip, -1 when it does not belong there.
func (w *work) tier(cond *rules.Condition, c *change, a, b *report.Verdict) int {
	quoted := overlaps(c, report.SideFrom, a.Evidence) || overlaps(c, report.SideTo, b.Evidence)
	if c.Harmless {
		// A port differs always; the one that a verdict names matters.
		switch {
		case c.saidBy(a, b):
			return 0
		case c.measured && quoted && slices.Contains(c.Feeds, cond.ID):
			return 3 // a threshold of the rule lies between
		}
		return -1
	}
	if c.Kind == "guest.probe" {
		return -1 // the facts that were read from it say it
	}
	feeds := slices.Contains(c.Feeds, cond.ID)
	switch {
	case slices.Contains(deeds, c.name) && c.saidBy(a, b):
		return 1
	case c.input && c.known && (feeds && !slices.Contains(plumbing, c.Kind) || c.saidBy(a, b)):
		return 1
	case c.free() && imageOrGuest(cond):
		return 2
	case quoted && (feeds || c.name == "" || c.saidBy(a, b)):
		return 3
	case feeds && c.name != "" && c.known && (c.complete() || !c.lone):
		return 4
	case feeds && c.name == "":
		return 5
	case c.Kind == "iso.image" && c.known && imageOrGuest(cond):
		return 6
	case c.input && c.known && slices.ContainsFunc(c.Feeds, func(id string) bool { return slices.Contains(w.needs[cond.ID], id) }):
		return 6
	}
	return -1
}

// imageOrGuest reports whether a condition is about the image, or what ran in
// the guest.
func imageOrGuest(cond *rules.Condition) bool { return cond.Phase == "image" || cond.Phase == "vm" }

// tame are the kernel's parameters that name the image, and those that say only
// how much of the boot is shown, and where.
var tame = []string{
	"BOOT_IMAGE", "init", "initrd", "root",
	"console", "earlyprintk", "ignore_loglevel", "loglevel", "quiet", "splash", "systemd.show_status", "udev.log_level", "rd.udev.log_level", "vga",
}

// free reports whether c is a word to the guest that may mean anything to it: a
// parameter of the kernel, or a string that QEMU hands over.
func (c *change) free() bool {
	switch {
	case c.Harmless || !c.known:
		return false
	case c.Kind == "kernel.parameter":
		return !slices.Contains(tame, c.Subject) && c.name == "kernel.cmdline"
	case c.Kind == "qemu.option":
		return c.Subject == "fw_cfg" || c.Subject == "smbios" || c.Subject == "append"
	}
	return false
}

// named is names, but for values that stand anywhere: of these it takes a setting.
func named(sentence, v string) bool {
	if slices.Contains(bare, v) {
		return strings.Contains(sentence, "="+v)
	}
	return names(sentence, v)
}

// names reports whether a sentence holds a value as words of its own.
func names(sentence, v string) bool {
	for at := 0; v != ""; {
		i := strings.Index(sentence[at:], v)
		if i < 0 {
			return false
		}
		at += i
		if !wordAt(sentence, at-1) && !wordAt(sentence, at+len(v)) {
			return true
		}
		at += len(v)
	}
	return false
}

func wordAt(s string, i int) bool {
	return i >= 0 && i < len(s) && (s[i] == '_' || s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z')
}

func overlaps(c *change, side string, evidence []bundle.Evidence) bool {
	for _, e := range c.Evidence {
		if e.Side != side || e.Absent != "" {
			continue
		}
		for _, v := range evidence {
			if v.Path == e.Path && v.Start < e.End && e.Start < v.End {
				return true
			}
		}
	}
	return false
}

// uncovered reports whether the condition's verdict in one run (0: from, 1: to)
// does not compare with the other's, since that run broke before: it left the
// condition open where one that it needs failed, and passed in the other; or it
// passed the condition though the step before was not even tried, and was in the
// other; or its QEMU did not start; or its log ends before the line that decides.
func (w *work) uncovered(id string, broken int) bool {
	v := w.verdicts[id]
	if v[broken].Status == report.Fail || v[1-broken].Status == report.Unknown {
		return false
	}
	if v[broken].Status == report.Unknown && (w.refused(id, broken) || w.goesOn(id, broken)) {
		return true
	}
	return slices.ContainsFunc(w.needs[id], func(n string) bool {
		x := w.verdicts[n]
		if x[broken] == nil || x[broken].Status != report.Fail {
			return false
		}
		if w.untried(n, broken) {
			return x[1-broken].Status == report.Pass || x[1-broken].Status == report.Fail && !w.untried(n, 1-broken)
		}
		if c := w.set.Condition(n); c == nil || c.Phase == "vm" || c.Observer {
			return false // in the guest, one thing may be asked where another failed
		}
		return v[broken].Status == report.Unknown && x[1-broken].Status == report.Pass
	}) || w.onlyTried(id, broken)
}

// refused reports whether QEMU did not start in one run and did in the other:
// nothing that a boot shows was reached.
func (w *work) refused(id string, broken int) bool {
	cond, x := w.set.Condition(id), w.verdicts["host.qemu"]
	if cond == nil || cond.Phase == "host" || x[broken] == nil || x[broken].Status != report.Fail || x[1-broken].Status != report.Pass {
		return false
	}
	side := w.to
	if broken == 0 {
		side = w.from.sides[0]
	}
	return side.Report.Stage == "none"
}

// goesOn reports whether the other run's verdict rests on a line that the broken
// run's log of the same thing does not have, and an earlier condition failed
// there that passed in the other: that log ends before.
func (w *work) goesOn(id string, broken int) bool {
	side := report.SideTo
	if broken == 1 {
		side = report.SideFrom
	}
	earlier := w.set.Conditions()
	earlier = earlier[:slices.IndexFunc(earlier, func(n *rules.Condition) bool { return n.ID == id })]
	passed := slices.ContainsFunc(earlier, func(n *rules.Condition) bool {
		x := w.verdicts[n.ID]
		return !n.Observer && x[broken].Status == report.Fail && x[1-broken].Status == report.Pass
	})
	return passed && slices.ContainsFunc(w.changes, func(c *change) bool {
		return c.name == "" && c.Kind == "journal.message" && overlaps(c, side, w.verdicts[id][1-broken].Evidence)
	})
}

// onlyTried reports whether a condition fails in one run with the very words of
// a step that the other, in which it passed, had not tried.
func (w *work) onlyTried(id string, broken int) bool {
	v := w.verdicts[id]
	if v[broken].Status != report.Pass || v[1-broken].Status != report.Fail {
		return false
	}
	return slices.ContainsFunc(w.set.Conditions(), func(n *rules.Condition) bool {
		x := w.verdicts[n.ID]
		return w.untried(n.ID, broken) && x[1-broken].Status == report.Fail && sameWords(x[1-broken].Because, v[1-broken].Because)
	})
}

func (w *work) untried(id string, side int) bool {
	if side == 1 {
		return w.to.untried[id]
	}
	return slices.ContainsFunc(w.from.sides, func(s *Side) bool { return s.untried[id] })
}

// rest lists what stands beside no flip, ranked, and counts the others.
func (w *work) rest(c *report.Comparison) {
	left := slices.Clone(w.changes)
	left = slices.DeleteFunc(left, func(x *change) bool { return x.used || !x.Harmless && !x.counts() })
	weight := func(x *change) int {
		switch {
		case x.Harmless:
			return 5
		case x.input && len(x.Feeds) > 0:
			return 0
		case x.input:
			return 1
		case len(x.Feeds) > 0:
			return 2
		case x.error:
			return 3
		}
		return 4
	}
	slices.SortFunc(left, func(x, y *change) int {
		return cmp.Or(cmp.Compare(weight(x), weight(y)), cmp.Compare(rankOf(x.Kind), rankOf(y.Kind)), cmp.Compare(x.nth, y.nth))
	})
	listed, folded := map[string]int{}, map[string]int{}
	var kinds []string
	for _, x := range left {
		if listed[x.Kind] >= maxOfKind {
			if folded[x.Kind] == 0 {
				kinds = append(kinds, x.Kind)
			}
			folded[x.Kind]++
			continue
		}
		listed[x.Kind]++
		c.Changes = append(c.Changes, x.Change)
	}
	for _, k := range kinds {
		c.Folded = append(c.Folded, report.Fold{Kind: k, Count: folded[k]})
	}
	for _, x := range w.changes {
		if x.used || !x.Harmless && x.counts() {
			c.Differences++
		}
	}
}

// complete reports whether the change is of something that was read as a whole,
// so that what is not in it is not there: QEMU's command, the kernel's, an image.
func (c *change) complete() bool { return c.input && !strings.HasPrefix(c.name, "unit.") }

// counts reports whether a change that goes with no flip is a difference. A
// fact that one run alone states is none: nobody may have asked the other.
func (c *change) counts() bool {
	return c.known && (c.name == "" || c.complete() || c.whole || !c.lone)
}
