package rules

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers"

	"go.yaml.in/yaml/v4"
)

// maxConditions bounds a catalogue; diagnosis is quadratic in it.
const maxConditions = 1000

// idRe is an id such as vm.disk-blank: its parts name files and anchors too.
var idRe = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[a-z0-9-]+)+$`)

// loader is Load at work.
type loader struct {
	*compiler
	entries []*entry
	byID    map[string]*entry
}

// entry is a condition with the places that messages about it need.
type entry struct {
	*Condition
	doc   *document
	id    *scalar
	needs []*scalar
}

// Load reads packs. Facts and parameters that they name must be among types
// and in profile def. A condition of a later pack replaces one of the same id
// in an earlier. The error is of type Mistakes and holds all that is wrong.
func Load(types []analyzers.FactType, def Profile, packs ...Source) (*Set, error) {
	names := paramNames(def)
	c, err := newCompiler(types, names)
	if err != nil {
		return nil, fmt.Errorf("rule language: %w", err)
	}
	l := &loader{compiler: c, byID: map[string]*entry{}}
	var docs []*document
	for _, p := range packs {
		d := open(p)
		docs = append(docs, d)
		if d.root != nil {
			l.pack(d)
		}
	}
	l.resolveNeeds()
	l.findCycles()
	var all Mistakes
	for _, d := range docs {
		all = append(all, d.mistakes...)
	}
	if err := all.err(); err != nil {
		return nil, err
	}
	return l.set(names), nil
}

func (l *loader) set(params []string) *Set {
	s := &Set{byID: map[string]*Condition{}, params: params}
	for i, e := range l.entries {
		e.index = i
		s.conditions = append(s.conditions, e.Condition)
		s.byID[e.ID] = e.Condition
	}
	return s
}

func (l *loader) pack(d *document) {
	m := d.mapping(d.root, "a pack", "conditions")
	here := map[string]bool{}
	for _, n := range d.list(m["conditions"], "conditions") {
		e := l.condition(d, n)
		if e == nil {
			continue
		}
		if here[e.ID] {
			d.mistakeAt(e.id.at(0), "condition %s stands twice in this pack", e.ID)
			continue
		}
		here[e.ID] = true
		l.add(e)
	}
}

// add appends e, or puts it in the place of the one that it replaces.
func (l *loader) add(e *entry) {
	old := l.byID[e.ID]
	l.byID[e.ID] = e
	switch {
	case old != nil:
		l.entries[slices.Index(l.entries, old)] = e
	case len(l.entries) == maxConditions:
		e.doc.mistakeAt(e.id.at(0), "more than %d conditions", maxConditions)
	case len(l.entries) < maxConditions:
		l.entries = append(l.entries, e)
	}
}

func (l *loader) condition(d *document, n *yaml.Node) *entry {
	m := d.mapping(n, "a condition", "id", "phase", "title", "plan", "needs", "observer", "inputs", "pass", "fail", "decide", "remedy")
	if m == nil {
		return nil
	}
	for _, key := range []string{"id", "phase", "title", "decide"} {
		if m[key] == nil {
			d.mistake(n, "the condition has no %s", key)
		}
	}
	e := &entry{doc: d, id: d.text(m["id"], "id"), Condition: &Condition{
		Title:  prose(d, m["title"], "title"),
		Plan:   prose(d, m["plan"], "plan"),
		Remedy: prose(d, m["remedy"], "remedy"),
		Phase:  phase(d, m["phase"]),
		Pass:   l.clauses(d, m["pass"], "pass"),
		Fail:   l.clauses(d, m["fail"], "fail"),
	}}
	if m["pass"] == nil && m["fail"] == nil {
		d.mistake(n, "the condition has neither pass nor fail")
	}
	e.Observer = flag(d, m["observer"], "observer")
	for _, x := range d.list(m["needs"], "needs") {
		if s := d.text(x, "an id in needs"); s != nil {
			e.needs = append(e.needs, s)
			e.Needs = append(e.Needs, s.value)
		}
	}
	l.inputs(d, m["inputs"], e.Condition)
	l.decisions(d, m["decide"], e.Condition)
	if e.id == nil {
		return nil
	}
	if e.ID = e.id.value; !idRe.MatchString(e.ID) {
		d.mistakeAt(e.id.at(0), "%q is no id: write phase.name in lower case", e.ID)
		return nil
	}
	return e
}

// prose is text on one line, "" when there is none.
func prose(d *document, n *yaml.Node, what string) string {
	return strings.TrimSpace(oneLine(d.word(n, what)))
}

func phase(d *document, n *yaml.Node) string {
	s := d.text(n, "phase")
	if s == nil {
		return ""
	}
	if !slices.Contains(Phases(), s.value) {
		d.mistakeAt(s.at(0), "phase %q is none of %s%s", s.value, strings.Join(Phases(), ", "), didYouMean(s.value, Phases()))
	}
	return s.value
}

func flag(d *document, n *yaml.Node, what string) bool {
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.Value != "true" && n.Value != "false" {
		d.mistake(n, "%s must be true or false", what)
	}
	return n.Value == "true"
}

// inputs reads facts, each with a glob of its subject behind a space where not
// all subjects are meant.
func (l *loader) inputs(d *document, n *yaml.Node, c *Condition) {
	for _, x := range d.list(n, "inputs") {
		s := d.text(x, "a fact in inputs")
		if s == nil {
			continue
		}
		name, subject, _ := strings.Cut(s.value, " ")
		t := l.types[name]
		switch {
		case t == nil:
			d.mistakeAt(s.at(0), "no analyzer states a fact %q%s", name, didYouMean(name, l.factNames))
			continue
		case subject != "" && t.Subject == "":
			d.mistakeAt(s.at(0), "the fact %s has no subject", name)
		}
		if _, err := path.Match(subject, ""); err != nil {
			d.mistakeAt(s.at(0), "%q is no glob: %v", subject, err)
		}
		c.Inputs = append(c.Inputs, Input{Fact: name, Subject: subject})
	}
}

func (l *loader) decisions(d *document, n *yaml.Node, c *Condition) {
	for _, x := range d.list(n, "decide") {
		if s := d.text(x, "an item of decide"); s != nil {
			c.Decide = append(c.Decide, strings.TrimSpace(oneLine(s.value)))
			c.decide = append(c.decide, l.template(s))
		}
	}
}

func (l *loader) clauses(d *document, n *yaml.Node, what string) []*Clause {
	var cs []*Clause
	for _, x := range d.list(n, what) {
		m := d.mapping(x, "a clause", "when", "unless", "because", "untried")
		if m == nil {
			continue
		}
		cs = append(cs, l.clause(d, x, m))
	}
	return cs
}

func (l *loader) clause(d *document, n *yaml.Node, m map[string]*yaml.Node) *Clause {
	c := &Clause{Untried: flag(d, m["untried"], "untried")}
	when, unless, because := d.text(m["when"], "when"), d.text(m["unless"], "unless"), d.text(m["because"], "because")
	for _, key := range []string{"when", "because"} {
		if m[key] == nil {
			d.mistake(n, "the clause has no %s", key)
		}
	}
	if when != nil {
		c.When = strings.TrimSpace(when.value)
		c.when = l.prop(snippet{text: when.value, in: when})
		if c.when != nil && !c.when.carries(true) {
			d.mistakeAt(when.at(0), "the clause can be true without a fact that shows it: lacks and count only guard (use has, is, last, first or values)")
		}
	}
	if unless != nil {
		c.Unless = strings.TrimSpace(unless.value)
		c.unless = l.prop(snippet{text: unless.value, in: unless})
	}
	if because != nil {
		c.Because = strings.TrimSpace(oneLine(because.value))
		c.because = l.template(because)
	}
	return c
}

func (l *loader) resolveNeeds() {
	var ids []string
	for _, e := range l.entries {
		ids = append(ids, e.ID)
	}
	for _, e := range l.entries {
		seen := map[string]bool{}
		for _, n := range e.needs {
			switch {
			case l.byID[n.value] == nil:
				e.doc.mistakeAt(n.at(0), "%s needs %q, which does not exist%s", e.ID, n.value, didYouMean(n.value, ids))
			case seen[n.value]:
				e.doc.mistakeAt(n.at(0), "%s names its need %s twice", e.ID, n.value)
			}
			seen[n.value] = true
		}
	}
}

// findCycles reports every need that leads back to its condition.
func (l *loader) findCycles() {
	done := map[*entry]bool{}
	var path []*entry
	var visit func(*entry)
	visit = func(e *entry) {
		path = append(path, e)
		for _, n := range e.needs {
			to := l.byID[n.value]
			if to == nil || done[to] {
				continue
			}
			if i := slices.Index(path, to); i >= 0 {
				e.doc.mistakeAt(n.at(0), "needs go round in a circle: %s", circle(path[i:]))
				continue
			}
			visit(to)
		}
		path = path[:len(path)-1]
		done[e] = true
	}
	for _, e := range l.entries {
		if !done[e] {
			visit(e)
		}
	}
}

func circle(path []*entry) string {
	var ids []string
	for _, e := range path {
		ids = append(ids, e.ID)
	}
	return strings.Join(append(ids, ids[0]), " → ")
}
