package commands

import (
	"encoding/json"
	"errors"
	"strings"
)

// Value is a JSON value. The methods of a nil Value find nothing, so that paths
// into a document need no checks on their way.
type Value struct {
	kind       json.Token // json.Delim of objects and arrays, else the value itself
	members    []member
	elems      []*Value
	start, end int // in the document's text
}

type member struct {
	name  string
	value *Value
}

// Get returns the member of that name, nil where there is none; of a name that
// repeats the last counts, as in encoding/json.
func (v *Value) Get(name string) *Value {
	if v == nil {
		return nil
	}
	for i := len(v.members) - 1; i >= 0; i-- {
		if v.members[i].name == name {
			return v.members[i].value
		}
	}
	return nil
}

// Elems returns the elements of an array.
func (v *Value) Elems() []*Value {
	if v == nil {
		return nil
	}
	return v.elems
}

// IsArray reports whether v is an array, perhaps an empty one.
func (v *Value) IsArray() bool { return v != nil && v.kind == json.Delim('[') }

// IsEmpty reports whether v is an object without members.
func (v *Value) IsEmpty() bool {
	return v != nil && v.kind == json.Delim('{') && len(v.members) == 0
}

// String returns a string's text, "" for anything else.
func (v *Value) String() string {
	if v == nil {
		return ""
	}
	s, _ := v.kind.(string)
	return s
}

// Number returns a number as it is written, "" for anything else.
func (v *Value) Number() string {
	if v == nil {
		return ""
	}
	n, _ := v.kind.(json.Number)
	return n.String()
}

// IsTrue reports whether v is true.
func (v *Value) IsTrue() bool { return v != nil && v.kind == json.Token(true) }

// The bounds of a document. Tools nest a dozen deep, and an answer with more
// values than this is no answer to read.
const maxDepth, maxValues = 64, 1 << 18

var errBounds = errors.New("too deep or too many values")

// parse reads the values in text, one behind the other.
func parse(text string) ([]*Value, error) {
	p := &parser{text: text, dec: json.NewDecoder(strings.NewReader(text)), left: maxValues}
	p.dec.UseNumber()
	var values []*Value
	for p.dec.More() {
		v, err := p.value(maxDepth)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

type parser struct {
	text string
	dec  *json.Decoder
	left int
}

func (p *parser) value(depth int) (*Value, error) {
	if p.left--; p.left < 0 || depth == 0 {
		return nil, errBounds
	}
	start := int(p.dec.InputOffset())
	for start < len(p.text) && strings.IndexByte(" \t\r\n,:", p.text[start]) >= 0 {
		start++
	}
	tok, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	v := &Value{kind: tok, start: start}
	if open, ok := tok.(json.Delim); ok {
		for p.dec.More() {
			if err := p.inner(v, open, depth); err != nil {
				return nil, err
			}
		}
		if _, err := p.dec.Token(); err != nil {
			return nil, err
		}
	}
	v.end = int(p.dec.InputOffset())
	return v, nil
}

// inner reads a member of an object or an element of an array.
func (p *parser) inner(v *Value, open json.Delim, depth int) error {
	name := ""
	if open == '{' {
		tok, err := p.dec.Token()
		if err != nil {
			return err
		}
		name, _ = tok.(string)
	}
	e, err := p.value(depth - 1)
	if err != nil {
		return err
	}
	if open == '{' {
		v.members = append(v.members, member{name, e})
	} else {
		v.elems = append(v.elems, e)
	}
	return nil
}
