package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// The bounds of journald: DATA_SIZE_MAX of journal-importer.h for a field, and
// 64 characters for its name.
const (
	maxField = 768 << 20
	maxName  = 64
)

var cursor = []byte("__CURSOR=")

// looksExport reports whether head starts an export stream, perhaps in the
// middle of an entry.
func looksExport(head []byte) bool {
	t := bytes.TrimLeft(head, "\r\n")
	return bytes.HasPrefix(t, cursor) || bytes.HasPrefix(t, []byte("__REALTIME_TIMESTAMP=")) || bytes.Contains(head, []byte("\n__CURSOR="))
}

// exportReader reads the journal export format: NAME=value lines, or NAME, a
// little-endian 64-bit length, and that many bytes; a blank line after each
// entry. https://systemd.io/JOURNAL_EXPORT_FORMATS
type exportReader struct {
	path    string
	data    []byte
	index   *bundle.LineIndex
	pos     int
	rec     record
	log     *Log
	damaged int // places
	where   int // the first one's offset
}

func readExport(p *analyzers.Pass, path string, data []byte) *Log {
	r := &exportReader{path: path, data: data, index: bundle.NewLineIndex(data), log: &Log{Path: path, Kind: bundle.Journal, Form: formExport}}
	r.log.Entries = make([]Entry, 0, room(bytes.Count(data, cursor), len(data)))
	for r.pos < len(data) {
		if !r.field() {
			r.damage()
		}
	}
	r.flush()
	if r.damaged > 0 {
		p.Problem(path, fmt.Sprintf("journal export stream damaged in %d places, first at line %d: entries there are lost or cut", r.damaged, r.index.Line(int64(r.where))))
	}
	return r.log
}

// field reads one line or binary field; it reports whether the stream makes
// sense there.
func (r *exportReader) field() bool {
	start := r.pos
	line, next := r.line()
	if len(line) == 0 {
		r.pos = next
		r.flush()
		return true
	}
	name, value, text := bytes.Cut(line, []byte("="))
	if !isField(name) {
		return false
	}
	if !text {
		return r.binary(string(name), start, next)
	}
	if bytes.HasPrefix(line, cursor) {
		// Also where the blank line before it was lost.
		r.flush()
	}
	r.pos = next
	r.rec.set(string(name), value, next > start+len(line), int64(start), int64(start+len(line)))
	return true
}

// line returns the line at pos without its end, and where the next one starts.
func (r *exportReader) line() (line []byte, next int) {
	rest := r.data[r.pos:]
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		return rest, len(r.data)
	}
	return bytes.TrimRight(rest[:i], "\r"), r.pos + i + 1
}

// binary reads a field in binary form whose length stands at pos at. What a cut
// stream still has of it is kept.
func (r *exportReader) binary(name string, start, at int) bool {
	if len(r.data)-at < 8 {
		return false
	}
	size := binary.LittleEndian.Uint64(r.data[at:])
	body := r.data[at+8:]
	if size > maxField {
		return false
	}
	if size >= uint64(len(body)) {
		if !bytes.Contains(body, []byte("\n__CURSOR=")) {
			r.rec.set(name, body, size == uint64(len(body)), int64(start), int64(len(r.data)))
		}
		return false
	}
	n := int(size)
	if body[n] != '\n' {
		return false
	}
	r.rec.set(name, body[:n], true, int64(start), int64(at+8+n))
	r.pos = at + 8 + n + 1
	return true
}

// damage goes on at the next entry.
func (r *exportReader) damage() {
	if r.damaged == 0 {
		r.where = r.pos
	}
	r.damaged++
	r.flush()
	i := bytes.Index(r.data[r.pos:], []byte("\n__CURSOR="))
	if i < 0 {
		r.pos = len(r.data)
		return
	}
	r.pos += i + 1
}

func (r *exportReader) flush() {
	if e, ok := r.rec.entry(r.path, r.data, r.index); ok {
		r.log.Entries = append(r.log.Entries, e)
	}
	r.rec = record{}
}

// isField reports whether name may name a journal field.
func isField(name []byte) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	for _, c := range name {
		if c != '_' && !isDigit(c) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
