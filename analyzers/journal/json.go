package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// looksJSON reports whether head starts with a journal entry as an object.
func looksJSON(head []byte) bool {
	t := bytes.TrimLeft(head, " \t\r\n\x1e")
	if len(t) == 0 || t[0] != '{' {
		return false
	}
	for _, key := range []string{`"__CURSOR"`, `"__REALTIME_TIMESTAMP"`, `"MESSAGE"`} {
		if bytes.Contains(t, []byte(key)) {
			return true
		}
	}
	return false
}

// jsonReader reads journalctl -o json (an object a line), json-seq (each after
// a record separator) and json-pretty (braces on lines of their own).
type jsonReader struct {
	path    string
	data    []byte
	index   *bundle.LineIndex
	log     *Log
	damaged int
	where   int
}

func readJSON(p *analyzers.Pass, path string, data []byte) *Log {
	r := &jsonReader{path: path, data: data, index: bundle.NewLineIndex(data), log: &Log{Path: path, Kind: bundle.Journal, Form: formJSON}}
	r.objects()
	if r.damaged > 0 {
		p.Problem(path, fmt.Sprintf("journal in JSON damaged in %d places, first at line %d: entries there are lost or cut", r.damaged, r.index.Line(int64(r.where))))
	}
	return r.log
}

// objects finds the objects by their lines: a string in JSON holds no line end,
// so that damage to one object does not reach the next.
func (r *jsonReader) objects() {
	open := -1 // where a pretty object started
	for pos := 0; pos < len(r.data); {
		start := pos
		line := r.data[pos:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
		}
		pos += len(line) + 1
		line = bytes.Trim(line, " \t\r\x1e")
		if len(line) == 0 {
			continue
		}
		switch {
		case open >= 0 && line[0] != '{':
			if line[0] == '}' {
				r.object(open, min(pos, len(r.data)))
				open = -1
			}
		case line[0] == '{':
			if open >= 0 {
				r.object(open, start)
			}
			open = -1
			if len(line) == 1 {
				open = start
			} else {
				r.object(start, min(pos, len(r.data)))
			}
		default:
			r.damage(start)
		}
	}
	if open >= 0 {
		r.object(open, len(r.data))
	}
}

// object reads the object at start to end. What a damaged one showed before
// the damage is kept.
func (r *jsonReader) object(start, end int) {
	if body := bytes.Trim(r.data[start:end], " \t\r\n\x1e"); !bytes.Contains(body, []byte(`"MESSAGE"`)) {
		// No entry; this is much cheaper than decoding.
		if !json.Valid(body) {
			r.damage(start)
		}
		return
	}
	var rec record
	if err := r.fields(&rec, start, end); err != nil {
		r.damage(start)
	}
	if e, ok := rec.entry(r.path, r.data, r.index); ok {
		r.log.Entries = append(r.log.Entries, e)
	}
}

func (r *jsonReader) fields(rec *record, start, end int) error {
	for start < end && r.data[start] != '{' {
		start++
	}
	d := json.NewDecoder(bytes.NewReader(r.data[start:end]))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := tok.(string)
		keyEnd := start + int(d.InputOffset())
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if _, ok := wanted([]byte(name)); !ok {
			continue
		}
		value, whole := bytesOf(raw)
		// The key as journalctl writes it: no escapes, in quotes.
		rec.set(name, value, whole, int64(max(start, keyEnd-len(name)-2)), int64(start)+d.InputOffset())
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("text after the object")
	}
	return nil
}

func (r *jsonReader) damage(at int) {
	if r.damaged == 0 {
		r.where = at
	}
	r.damaged++
}

// bytesOf returns a field's value: a string, an array of numbers where it is
// not text, an array of those where the field repeats (the first counts), and
// null where it was too long for journalctl to print.
func bytesOf(raw json.RawMessage) (value []byte, whole bool) {
	switch raw[0] {
	case '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return nil, false
		}
		return []byte(s), true
	case '[':
		inner := bytes.TrimLeft(raw[1:], " \t\r\n")
		if isDigit(inner[0]) {
			return numbers(inner)
		}
		if inner[0] == '[' {
			if in := bytes.TrimLeft(inner[1:], " \t\r\n"); isDigit(in[0]) {
				return numbers(in)
			}
			return nil, false
		}
		var s *string
		if json.NewDecoder(bytes.NewReader(inner)).Decode(&s) != nil || s == nil {
			return nil, false
		}
		return []byte(*s), true
	}
	return nil, false
}

// numbers reads "72, 101, 108]" as bytes.
func numbers(s []byte) (value []byte, whole bool) {
	for n, have := 0, false; len(s) > 0; s = s[1:] {
		switch c := s[0]; {
		case isDigit(c):
			n, have = n*10+int(c-'0'), true
			if n > 255 {
				return value, false
			}
		case c == ',' || c == ']':
			if have {
				value = append(value, byte(n))
			}
			if c == ']' {
				return value, true
			}
			n, have = 0, false
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			return value, false
		}
	}
	return value, false
}
