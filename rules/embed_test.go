package rules

import (
	"io/fs"
	"slices"
	"testing"
)

// TestEmbedded checks what can be checked of the packs without analyzers: they
// are all there, and no id stands in two of them.
func TestEmbedded(t *testing.T) {
	names, _ := fs.Glob(embedded, "*.yaml")
	if len(names) != len(Embedded()) {
		t.Errorf("%d packs are embedded, %d are read: %v", len(names), len(Embedded()), names)
	}
	in := map[string]string{}
	for _, src := range Embedded() {
		d := open(src)
		if d.root == nil {
			t.Errorf("%v", d.mistakes)
			continue
		}
		for _, n := range d.mapping(d.root, "a pack", "conditions")["conditions"].Content {
			id := d.word(d.mapping(n, "a condition")["id"], "id")
			if in[id] != "" {
				t.Errorf("condition %s stands in %s and %s", id, in[id], src.Name)
			}
			in[id] = src.Name
		}
	}
	profiles, err := Profiles()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(profiles, func(p Profile) bool { return p.Name == "pre-nixos" }) {
		t.Error("there is no profile pre-nixos")
	}
}
