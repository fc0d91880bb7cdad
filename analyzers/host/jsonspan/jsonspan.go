// Package jsonspan reads JSON and keeps where every value stood.
//
// A Value is a JSON value with the raw bytes it was read from, so that a fact
// read from metadata can point at its line. Values are bounded in depth and
// number: an artifact is hostile until read. A text that breaks off gives the
// values that were complete, and an error: a bundle may have been cut short.
//
// Left out: decoding into Go types, which loses positions.
package jsonspan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds on what is read.
const (
	MaxDepth  = 64
	MaxValues = 1 << 18
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of value.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

// Value is a JSON value.
type Value struct {
	Kind       Kind
	Text       string // a string decoded, a number or bool as written
	Members    []Member
	Elems      []*Value
	Start, End int64 // raw bytes, quotes included
}

// Member is one name of an object, in the order written.
type Member struct {
	Name  string
	Value *Value
}

// Get follows names through objects. It returns nil when one is absent; of
// repeated names the last counts, as in encoding/json.
func (v *Value) Get(names ...string) *Value {
	for _, n := range names {
		if v == nil {
			return nil
		}
		var next *Value
		for _, m := range v.Members {
			if m.Name == n {
				next = m.Value
			}
		}
		v = next
	}
	return v
}

// String returns the text of a string value, "" for any other.
func (v *Value) String() string {
	if v == nil || v.Kind != String {
		return ""
	}
	return v.Text
}

// Strings returns the elements of an array of strings, and whether v is one.
func (v *Value) Strings() ([]string, bool) {
	if v == nil || v.Kind != Array || len(v.Elems) == 0 {
		return nil, false
	}
	list := make([]string, len(v.Elems))
	for i, e := range v.Elems {
		if e.Kind != String {
			return nil, false
		}
		list[i] = e.Text
	}
	return list, true
}

type parser struct {
	data []byte
	dec  *json.Decoder
	n    int
}

// Parse reads the values in data, one after the other (JSON or JSON lines).
func Parse(data []byte) ([]*Value, error) {
	p := &parser{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	var values []*Value
	for {
		v, err := p.value(0)
		if v != nil {
			values = append(values, v)
		}
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return values, fmt.Errorf("not JSON: %w", err)
		}
	}
}

// value reads one value. What was complete when the text broke off is
// returned beside the error.
func (p *parser) value(depth int) (*Value, error) {
	before := p.dec.InputOffset()
	next := p.inside
	if depth == 0 {
		next = p.dec.Token
	}
	tok, err := next()
	if err != nil {
		return nil, err
	}
	if p.n++; p.n > MaxValues {
		return nil, fmt.Errorf("byte %d: more than %d values", before, MaxValues)
	}
	v := &Value{Start: p.skip(before), End: p.dec.InputOffset()}
	switch t := tok.(type) {
	case json.Delim:
		if depth >= MaxDepth {
			return nil, fmt.Errorf("byte %d: nested deeper than %d", v.Start, MaxDepth)
		}
		err = p.inner(v, t, depth)
		v.End = p.dec.InputOffset()
		return v, err
	case string:
		v.Kind, v.Text = String, t
	case json.Number:
		v.Kind, v.Text = Number, string(t)
	case bool:
		v.Kind, v.Text = Bool, fmt.Sprint(t)
	}
	return v, nil
}

// inner reads the members or elements of v and its closing delimiter.
func (p *parser) inner(v *Value, open json.Delim, depth int) error {
	v.Kind = Array
	if open == '{' {
		v.Kind = Object
	}
	for p.dec.More() {
		name := ""
		if v.Kind == Object {
			tok, err := p.inside()
			if err != nil {
				return err
			}
			name, _ = tok.(string)
		}
		e, err := p.value(depth + 1)
		if e != nil && v.Kind == Object {
			v.Members = append(v.Members, Member{name, e})
		} else if e != nil {
			v.Elems = append(v.Elems, e)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.inside()
	return err
}

// inside returns the next token within an object or array, where the end of
// the text is an error.
func (p *parser) inside() (json.Token, error) {
	tok, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("byte %d: %w", p.dec.InputOffset(), err)
	}
	return tok, nil
}

// skip returns the offset of the token that starts at or behind off.
func (p *parser) skip(off int64) int64 {
	for off < int64(len(p.data)) && strings.IndexByte(" \t\r\n,:", p.data[off]) >= 0 {
		off++
	}
	return off
}

// Lines yields the lines of a string value, each with the raw bytes that it
// was written with. data is what was parsed.
func (v *Value) Lines(data []byte, yield func(text string, start, end int64) bool) {
	if v == nil || v.Kind != String || v.End-v.Start < 2 {
		return
	}
	raw := data[v.Start+1 : v.End-1]
	var b strings.Builder
	from := 0
	for i := 0; i < len(raw); {
		r, n := char(raw[i:])
		if r == '\n' {
			if !yield(b.String(), v.Start+1+int64(from), v.Start+1+int64(i)) {
				return
			}
			b.Reset()
			from = i + n
		} else {
			b.WriteRune(r)
		}
		i += n
	}
	if from < len(raw) {
		yield(b.String(), v.Start+1+int64(from), v.End-1)
	}
}

// char decodes the first character of a JSON string's raw text, and its length.
func char(raw []byte) (rune, int) {
	if raw[0] != '\\' || len(raw) < 2 {
		return utf8.DecodeRune(raw)
	}
	switch raw[1] {
	case 'n':
		return '\n', 2
	case 't':
		return '\t', 2
	case 'r':
		return '\r', 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'u':
		r := hex4(raw[2:])
		if !utf16.IsSurrogate(r) {
			return r, min(6, len(raw))
		}
		if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' {
			if d := utf16.DecodeRune(r, hex4(raw[8:])); d != utf8.RuneError {
				return d, 12
			}
		}
		return utf8.RuneError, min(6, len(raw))
	}
	return rune(raw[1]), 2
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:min(4, len(b))] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}
