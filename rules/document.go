package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// maxSource bounds a pack or profile, in bytes.
const maxSource = 1 << 20

// document reads one YAML file strictly and keeps what is wrong with it.
type document struct {
	name     string
	lines    []string
	root     *yaml.Node
	mistakes Mistakes
}

// open parses src. The root is nil when that is impossible.
func open(src Source) *document {
	d := &document{name: src.Name}
	if len(src.Data) > maxSource {
		d.mistakes = append(d.mistakes, &Mistake{File: src.Name, Text: fmt.Sprintf("%d bytes: larger than the %d allowed", len(src.Data), maxSource)})
		return d
	}
	if !utf8.Valid(src.Data) {
		d.mistakes = append(d.mistakes, &Mistake{File: src.Name, Text: "not UTF-8 text"})
		return d
	}
	d.lines = strings.Split(strings.ReplaceAll(string(src.Data), "\r\n", "\n"), "\n")
	loader, err := yaml.NewLoader(bytes.NewReader(src.Data))
	if err != nil {
		d.syntax(err)
		return d
	}
	var n, second yaml.Node
	if err := loader.Load(&n); err != nil && !errors.Is(err, io.EOF) {
		d.syntax(err)
		return d
	}
	if err := loader.Load(&second); err == nil {
		d.mistake(&second, "a second document: only one is read")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return d
	}
	if len(n.Content) == 0 {
		d.mistakes = append(d.mistakes, &Mistake{File: src.Name, Text: "empty"})
		return d
	}
	d.root = n.Content[0]
	return d
}

func (d *document) syntax(err error) {
	m := &Mistake{File: d.name, Text: err.Error()}
	var le *yaml.LoadError
	if errors.As(err, &le) {
		m.Line, m.Column, m.Text = le.Mark.Line, max(1, le.Mark.Column), le.Message
		if le.ContextMsg != "" {
			m.Text = le.ContextMsg + ": " + le.Message
		}
	}
	d.mistakes = append(d.mistakes, m)
}

func (d *document) mistake(n *yaml.Node, format string, args ...any) {
	d.mistakeAt(place{n.Line, n.Column}, format, args...)
}

func (d *document) mistakeAt(p place, format string, args ...any) {
	if len(d.mistakes) <= maxMistakes {
		d.mistakes = append(d.mistakes, &Mistake{File: d.name, Line: p.line, Column: p.column, Text: fmt.Sprintf(format, args...)})
	}
}

// mapping returns the values of a mapping by key. Keys other than the known
// ones, and those that stand twice, are mistakes.
func (d *document) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		with := ""
		if known != nil {
			with = " with the keys " + strings.Join(known, ", ")
		}
		d.mistake(n, "%s must be a mapping%s", what, with)
		return nil
	}
	m := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case known != nil && !slices.Contains(known, k.Value):
			d.mistake(k, "unknown key %q in %s%s", k.Value, what, didYouMean(k.Value, known))
		case m[k.Value] != nil:
			d.mistake(k, "key %q stands twice in %s", k.Value, what)
		default:
			m[k.Value] = n.Content[i+1]
		}
	}
	return m
}

// list returns the items of a sequence.
func (d *document) list(n *yaml.Node, what string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.mistake(n, "%s must be a list", what)
		return nil
	}
	return n.Content
}

// text returns a scalar that is not empty; nil, and a mistake, for anything
// else. A missing one is only nil.
func (d *document) text(n *yaml.Node, what string) *scalar {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.AliasNode:
		d.mistake(n, "%s must be text: aliases are not read here", what)
	case n.Kind != yaml.ScalarNode:
		d.mistake(n, "%s must be text", what)
	case n.Tag == "!!null" || strings.TrimSpace(n.Value) == "":
		d.mistake(n, "%s is empty", what)
	default:
		return &scalar{doc: d, node: n, value: n.Value}
	}
	return nil
}

// word is text without its place, "" when there is none.
func (d *document) word(n *yaml.Node, what string) string {
	if s := d.text(n, what); s != nil {
		return s.value
	}
	return ""
}
