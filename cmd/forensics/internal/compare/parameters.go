package compare

import (
	"cmp"
	"slices"
	"strings"

	"forensics/analyzers"
)

// parameterItems are the kernel's parameters, one item a name: those that the
// guest's kernel was started with, and those of the image's default entries.
func parameterItems(facts *analyzers.Facts) []item {
	items := parameters(facts, "kernel.cmdline", "", "")
	for _, firmware := range []string{"bios", "efi"} {
		items = append(items, parameters(facts, "iso.cmdline", firmware, " (the image's default entry for "+firmware+")")...)
	}
	return items
}

func parameters(facts *analyzers.Facts, fact, subject, where string) []item {
	held, conflict := facts.Last(fact, subject)
	if len(held) == 0 || conflict {
		return nil
	}
	var items []item
	for _, p := range strings.Fields(held[0].Value) {
		name, _, _ := strings.Cut(p, "=")
		k := key{"kernel.parameter", name + where}
		i := slices.IndexFunc(items, func(it item) bool { return it.key == k })
		if i < 0 {
			items = append(items, item{key: k, fact: fact, about: subject})
			i = len(items) - 1
		}
		// Order counts within a name: the last console is /dev/console.
		items[i].values = append(items[i].values, value{masked: maskStore(p), shown: p, ev: held[0].Evidence})
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.subject, b.subject) })
	return items
}
