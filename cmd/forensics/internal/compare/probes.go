package compare

import (
	"strings"

	"forensics/analyzers"
)

// maxAnswer bounds how much of a probe's answer is kept for comparison.
const maxAnswer = 16 << 10

// probeItems are the probes, each with its exit status and what it printed
// last.
func probeItems(facts *analyzers.Facts, mask func(string) string) []item {
	var items []item
	at := map[key]int{}
	for _, f := range facts.All() {
		if f.Name != "probe.exit" && f.Name != "probe.stdout" {
			continue
		}
		kind, name := "host.probe", f.Subject
		if guest, ok := strings.CutPrefix(name, "guest/"); ok {
			kind, name = "guest.probe", guest
		}
		v := value{masked: "exit status " + f.Value, shown: "exit status " + f.Value, ev: f.Evidence[:1]}
		if f.Name == "probe.stdout" {
			name += " answer"
			text := f.Value[:min(len(f.Value), maxAnswer)]
			v.masked, v.shown = maskLines(text, mask), text
		}
		k := key{kind, name}
		i, ok := at[k]
		if !ok {
			i = len(items)
			at[k] = i
			items = append(items, item{key: k, fact: f.Name, about: f.Subject})
		}
		items[i].values = []value{v} // a probe that is asked again settles: its last answer counts
	}
	return items
}

func maskLines(s string, mask func(string) string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = mask(lines[i])
	}
	return strings.Join(lines, "\n")
}

// firstDifference returns the first lines in which two answers differ.
func firstDifference(a, b string, mask func(string) string) (string, string) {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(as), len(bs)) {
		var x, y string
		if i < len(as) {
			x = strings.TrimSpace(as[i])
		}
		if i < len(bs) {
			y = strings.TrimSpace(bs[i])
		}
		if mask(x) != mask(y) {
			return x, y
		}
	}
	return strings.TrimSpace(a), strings.TrimSpace(b)
}
