package rules

import (
	"maps"
	"regexp"
	"slices"

	"forensics/analyzers"

	"go.yaml.in/yaml/v4"
)

// nameRe is the name of a profile or parameter: --set writes it on the command
// line, and expressions write it with underscores.
var nameRe = regexp.MustCompile(`^[a-z][a-z0-9]*([-_][a-z0-9]+)*$`)

// ParseProfile reads a profile. The error is of type Mistakes.
func ParseProfile(src Source) (Profile, error) {
	d := open(src)
	p := Profile{Params: analyzers.Params{}}
	if d.root != nil {
		d.profile(&p)
	}
	return p, d.mistakes.err()
}

func (d *document) profile(p *Profile) {
	m := d.mapping(d.root, "a profile", "name", "doc", "params")
	if m == nil {
		return
	}
	name := d.text(m["name"], "name")
	switch {
	case m["name"] == nil:
		d.mistake(d.root, "the profile has no name")
	case name != nil && !nameRe.MatchString(name.value):
		d.mistakeAt(name.at(0), "%q is no name: write it in lower case, with hyphens", name.value)
	case name != nil:
		p.Name = name.value
	}
	p.Doc = prose(d, m["doc"], "doc")
	if m["params"] != nil {
		d.params(m["params"], p)
	}
}

func (d *document) params(n *yaml.Node, p *Profile) {
	if d.mapping(n, "params") == nil {
		return
	}
	taken := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		id := identifier(key.Value)
		switch {
		case !nameRe.MatchString(key.Value) || reserved(id):
			d.mistake(key, "%q cannot name a parameter", key.Value)
		case taken[id] != "" && taken[id] != key.Value:
			d.mistake(key, "parameters %q and %q are one name in expressions", taken[id], key.Value)
		default:
			taken[id] = key.Value
			p.Params[key.Value] = d.paramValue(value, key.Value)
		}
	}
}

func (d *document) paramValue(n *yaml.Node, name string) []string {
	if n.Kind != yaml.SequenceNode {
		return d.items([]*yaml.Node{n}, name)
	}
	return d.items(n.Content, name)
}

func (d *document) items(nodes []*yaml.Node, name string) []string {
	values := []string{}
	for _, n := range nodes {
		if s := d.text(n, "parameter "+name); s != nil {
			values = append(values, s.value)
		}
	}
	return values
}

// reserved reports whether CEL does not take id as the name of a field.
func reserved(id string) bool {
	switch id {
	case "true", "false", "null", "in":
		return true
	}
	return false
}

// paramNames returns the names of a profile's parameters, sorted.
func paramNames(p Profile) []string { return slices.Sorted(maps.Keys(p.Params)) }
