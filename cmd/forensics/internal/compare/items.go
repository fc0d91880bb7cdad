package compare

import (
	"cmp"
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// key names what an item is about, the same in every run.
type key struct{ kind, subject string }

// item is one comparable thing that a run's artifacts show.
type item struct {
	key
	// fact and about are the fact that rules read it by.
	fact, about string
	// values are what is compared: sorted, with variable parts masked.
	values []value
	// one: the values make one thing, shown as a whole ("3 drives").
	one bool
	// told: that a run alone has it may be its trouble; a command line that
	// one run alone kept is none.
	told bool
}

// value is one value of an item.
type value struct {
	masked string // compared
	shown  string // as it stands in the artifact
	ev     []bundle.Evidence
	// passing: a state that any other supersedes ("activating").
	passing bool
}

// maxEvidence bounds what one side of a change quotes.
const maxEvidence = 3

// inputs are the facts that say what a run was started with, in contrast to
// what became of it: a change of one may be the reason of a flip.
var inputs = []string{
	"qemu.argv", "qemu.accel", "qemu.cpu", "qemu.memory", "qemu.firmware", "qemu.drive", "qemu.netdev", "qemu.device", "qemu.version",
	"kernel.cmdline", "unit.type", "unit.remains", "unit.after",
}

func isInput(fact string) bool {
	return strings.HasPrefix(fact, "iso.") || fact == "nix.nar-hash" || strings.HasPrefix(fact, "host.") || slices.Contains(inputs, fact)
}

// structured are the facts that other items take apart, and those that only
// say where or when a run was made.
var structured = []string{
	"qemu.argv", "qemu.drive", "qemu.device", "qemu.netdev", "qemu.memory", "qemu.cpu", "qemu.accel", "qemu.firmware",
	"kernel.cmdline", "kernel.console", "iso.cmdline", "iso.image", "iso.console",
	"nix.store-path", "nix.nar-hash", "run.started", "run.ended", "boot.dated", "journal.boots",
	"boot.stage", "boot.userland", "probe.exit", "probe.stdout",
	// What the observer typed is no property of the run.
	"harness.typed",
}

// measured are the facts that are a measure: it differs between any two runs,
// and says something only where a rule's threshold lies between.
var measured = []string{
	"boot.startup", "kernel.crng", "unit.start-time", "unit.waited", "host.disk-free", "host.memory-available",
	"net.empty-polls", "storage.empty-polls",
}

// messages are the facts whose value is a message, as it was printed; of the
// others every letter counts.
var messages = []string{
	"build.builder-failed", "build.eval-error", "build.network", "build.nospace", "build.oom", "build.permission",
	"disk.prepared", "harness.gave-up", "harness.misread", "harness.read", "host.denied",
	"kernel.badcpu", "kernel.nodevice", "kernel.oops", "kernel.panic", "net.failed", "net.lease", "net.no-networkd", "nix.missing",
	"qemu.denied", "qemu.error", "qemu.kvm-failed", "qemu.missing", "qemu.terminated", "serial.emergency",
	"shell.missing", "shell.refused", "storage.command-failed", "storage.nothing-applied", "unit.error", "unit.survived",
}

func worded(fact string) bool { return slices.Contains(messages, fact) }

// stageItem is how far the boot came.
func stageItem(facts *analyzers.Facts, stage string) []item {
	for _, f := range facts.Of("boot.stage", "") {
		if f.Value == stage {
			return []item{{key: key{"stage", ""}, fact: "boot.stage", one: true, values: []value{{masked: stage, shown: stage, ev: f.Evidence[:1]}}}}
		}
	}
	return nil
}

// kinds are the names under which facts come that have a name in the field.
var kinds = map[string]string{
	"unit.active": "unit.state", "unit.result": "unit.state",
	"unit.type": "unit.key", "unit.remains": "unit.key", "unit.after": "unit.key",
	"iso.unit-setting": "unit.key", "iso.unit-type": "unit.key", "iso.unit-remains": "unit.key",
}

// factItems makes an item of each fact and subject that no other item takes
// apart.
func factItems(facts *analyzers.Facts, mask func(string) string) []item {
	met := map[key]bool{}
	var items []item
	for _, f := range facts.All() {
		k := key{f.Name, f.Subject}
		if met[k] || slices.Contains(structured, f.Name) {
			continue
		}
		met[k] = true
		items = append(items, factItem(facts, f, mask))
	}
	return items
}

func factItem(facts *analyzers.Facts, f *analyzers.Fact, mask func(string) string) item {
	t := facts.Type(f.Name)
	it := item{key: key{f.Name, f.Subject}, fact: f.Name, about: f.Subject, told: true}
	if k, ok := kinds[f.Name]; ok {
		it.kind = k
		if k != "unit.state" {
			it.subject = strings.TrimSpace(f.Subject + " " + shortName(f.Name))
		}
		if f.Name == "unit.result" {
			it.subject += " result"
		}
	}
	held := facts.Of(f.Name, f.Subject)
	if t != nil && !t.Repeats {
		held, _ = facts.Last(f.Name, f.Subject)
	}
	for _, h := range held {
		v := value{masked: h.Value, shown: h.Value, ev: h.Evidence, passing: t != nil && slices.Contains(t.Transient, h.Value)}
		switch {
		case slices.Contains(measured, f.Name):
			v.masked = "(measured)"
		case f.Name == "net.address", f.Name == "net.user-network":
			v.masked, _, _ = strings.Cut(h.Value, "/") // tools differ in giving the length of the prefix
		case f.Name == "net.lease":
			v.masked = "yes" // not every tool names the server
		case worded(f.Name):
			v.masked = mask(h.Value)
		default:
			v.masked = maskStore(h.Value)
		}
		it.add(v)
	}
	it.sort()
	return it
}

func shortName(fact string) string {
	_, name, _ := strings.Cut(fact, ".")
	return strings.TrimPrefix(strings.TrimPrefix(name, "unit-"), "setting")
}

// add adds v unless it is there; one value may be shown by several artifacts.
func (it *item) add(v value) {
	for i := range it.values {
		if it.values[i].masked == v.masked {
			if len(it.values[i].ev) < maxEvidence {
				it.values[i].ev = append(slices.Clip(it.values[i].ev), v.ev...)
			}
			return
		}
	}
	v.ev = v.ev[:min(len(v.ev), maxEvidence)]
	it.values = append(it.values, v)
}

func (it *item) sort() {
	slices.SortFunc(it.values, func(a, b value) int { return cmp.Compare(a.masked, b.masked) })
}

// masked is all that is compared of an item.
func (it *item) masked() string {
	var b strings.Builder
	for _, v := range it.values {
		b.WriteString(v.masked)
		b.WriteByte(0)
	}
	return b.String()
}

// shown are the values as they stand in the artifacts.
func shown(vs []value) string {
	var s []string
	for _, v := range vs {
		s = append(s, v.shown)
	}
	return strings.Join(s, ", ")
}

func evidenceOf(vs []value) []bundle.Evidence {
	var ev []bundle.Evidence
	for _, v := range vs {
		ev = append(ev, v.ev...)
	}
	return ev[:min(len(ev), maxEvidence)]
}
