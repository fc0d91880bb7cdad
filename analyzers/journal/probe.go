package journal

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
)

// readProbes reads what the guest's probes answered, in whatever form:
// journalctl's answers and the tails of systemctl status. The host's probes
// speak of another machine's journal.
func readProbes(a *bundle.Artifact) *Log {
	r := &textReader{path: a.Path, log: &Log{Path: a.Path, Kind: a.Kind}}
	data, err := a.Bytes()
	if err != nil {
		return r.log
	}
	r.data = data
	index := bundle.NewLineIndex(data)
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return r.log
		}
		at := d.InputOffset() - int64(len(raw))
		for _, s := range streams(a.Path, raw) {
			r.another()
			r.stream(at+s.start, at+s.end, index)
		}
		r.close()
	}
}

// span is a JSON string's raw text, without its quotes.
type span struct{ start, end int64 }

// streams finds what guests' records printed, in the order of the bytes.
func streams(file string, raw []byte) []span {
	d := json.NewDecoder(bytes.NewReader(raw))
	tok, err := d.Token()
	if err != nil {
		return nil
	}
	if tok == json.Delim('{') {
		return members(d, file)
	}
	var all []span
	for tok == json.Delim('[') && d.More() {
		var e json.RawMessage
		if d.Decode(&e) != nil {
			break
		}
		at := d.InputOffset() - int64(len(e))
		if e[0] != '{' {
			continue
		}
		for _, s := range streams(file, e) {
			all = append(all, span{at + s.start, at + s.end})
		}
	}
	return all
}

// members reads the members of one record, whose brace is read already.
func members(d *json.Decoder, file string) (found []span) {
	where, _, _ := strings.Cut(file, "/")
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil
		}
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil
		}
		switch end := d.InputOffset(); name {
		case "where":
			json.Unmarshal(raw, &where)
		case "stdout", "stderr":
			if raw[0] == '"' {
				found = append(found, span{end - int64(len(raw)) + 1, end - 1})
			}
		}
	}
	if where != "guest" {
		return nil
	}
	return found
}

// stream reads the lines of a JSON string, which writes a line feed as \n.
func (r *textReader) stream(at, end int64, index *bundle.LineIndex) {
	for at < end {
		n := int64(lineLength(r.data[at:end]))
		var text string
		if json.Unmarshal(slices.Concat([]byte{'"'}, r.data[at:at+n], []byte{'"'}), &text) != nil {
			return
		}
		r.line(line{text: strings.TrimRight(plain(text), " \t"), number: index.Line(at), start: at, end: at + n})
		at += n + int64(len(`\n`))
	}
}

// lineLength returns the length of the line that a string's raw text starts
// with.
func lineLength(raw []byte) int {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] == 'n' {
			return i
		}
		i++
	}
	return len(raw)
}
