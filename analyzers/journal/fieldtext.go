package journal

import (
	"regexp"
	"sort"
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
)

// fieldReader collects the lines of one entry of a form that names its fields,
// where it stands among other text: verbose, json, json-pretty or export.
type fieldReader struct {
	form   string
	rec    record
	msg    line // of MESSAGE
	name   string
	value  []string // of the field name so far
	size   int
	lines  []line // of an object
	broken bool   // what follows cannot be told apart
}

// verboseRe heads an entry of the verbose form: its time, then its cursor.
var verboseRe = regexp.MustCompile(`^[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})? \S+ \[s=[0-9a-f]{32};i=[0-9a-f]+;b=([0-9a-f]{32});m=([0-9a-f]{1,15});t=([0-9a-f]{1,15});x=[0-9a-f]+\]$`)

// begin takes the first line of an entry that names its fields; it reports
// false for any other line.
func (r *textReader) begin(l line) bool {
	if !mayBegin(l.text) {
		return false
	}
	f := &fieldReader{}
	object := strings.TrimPrefix(l.text, "data: ") // json-sse
	switch {
	case verboseRe.MatchString(l.text):
		f.form = formVerbose
		f.cursor(verboseRe.FindStringSubmatch(l.text))
	case strings.HasPrefix(l.text, string(cursor)):
		f.form = formExport
	case l.text == "{":
		f.form, f.lines = formJSON, []line{l}
	case strings.HasPrefix(object, "{") && strings.HasSuffix(object, "}") && looksEntry(object):
		r.close()
		l.text = object
		f.form, f.lines = formJSON, []line{l}
		r.take(f)
		return true
	default:
		return false
	}
	r.close()
	r.fields = f
	return true
}

// mayBegin reports whether an entry that names its fields may begin with text.
// Few lines may, and this is much cheaper than to look closely.
func mayBegin(text string) bool {
	switch text[0] {
	case '{', '_':
		return true
	case 'd':
		return strings.HasPrefix(text, "data: ")
	}
	return strings.HasSuffix(text, "]") && strings.Contains(text, " [s=")
}

// looksEntry reports whether a JSON object is journalctl's, which always names
// the place or time of an entry.
func looksEntry(object string) bool {
	return strings.Contains(object, `"__CURSOR"`) || strings.Contains(object, `"__REALTIME_TIMESTAMP"`)
}

// cursor takes boot, time since boot and time from a cursor's hexadecimals.
func (f *fieldReader) cursor(m []string) {
	f.rec.put(fBoot, m[1])
	for i, at := range []field{fMonotonic, fRealtime} {
		if n, err := strconv.ParseUint(m[2+i], 16, 63); err == nil {
			f.rec.put(at, strconv.FormatUint(n, 10))
		}
	}
}

// line takes a further line; it reports false when the entry is over.
func (f *fieldReader) line(l line) bool {
	switch f.form {
	case formVerbose:
		return f.verbose(l)
	case formExport:
		return f.export(l)
	}
	return f.object(l)
}

// verbose takes "    NAME=value", and further lines of the value, which are
// indented by twelve.
func (f *fieldReader) verbose(l line) bool {
	text, ok := strings.CutPrefix(l.text, "    ")
	if !ok {
		// Blank lines within a value have lost their indentation.
		return l.text == "" && f.more("", l)
	}
	if more, ok := strings.CutPrefix(text, "        "); ok {
		return f.more(more, l)
	}
	name, value, ok := strings.Cut(text, "=")
	if !ok || !isField([]byte(name)) {
		return false
	}
	f.end()
	f.start(name, value, l)
	return true
}

// export takes "NAME=value". A field in binary form may hold anything, also
// what looks like the next field, and a terminal shows it changed: the rest of
// that entry is left out.
func (f *fieldReader) export(l line) bool {
	f.end()
	if l.text == "" || strings.HasPrefix(l.text, string(cursor)) {
		return false
	}
	name, value, ok := strings.Cut(l.text, "=")
	f.broken = f.broken || !ok || !isField([]byte(name))
	if !f.broken {
		f.start(name, value, l)
	}
	return true
}

// object takes a line of json-pretty, which indents what stands between the
// braces.
func (f *fieldReader) object(l line) bool {
	if f.broken || f.size > 2*maxMessage || l.text == "" || strings.IndexByte(" \t}", l.text[0]) < 0 {
		return false
	}
	f.size += len(l.text)
	f.lines = append(f.lines, l)
	f.broken = l.text == "}" // the last line
	return true
}

func (f *fieldReader) start(name, value string, l line) {
	f.name, f.value, f.size = name, append(f.value[:0], value), len(value)
	if name == "MESSAGE" && !f.rec.seen[fMessage] {
		f.msg = l
	}
}

func (f *fieldReader) more(text string, l line) bool {
	if f.name == "" {
		return false
	}
	if f.size += len(text); f.size <= maxMessage {
		f.value = append(f.value, text)
	}
	if f.name == "MESSAGE" && !f.rec.seen[fMessage] && text != "" {
		f.msg.end = l.end
	}
	return true
}

// end takes the field that was read.
func (f *fieldReader) end() {
	if f.name == "" {
		return
	}
	value := strings.TrimRight(strings.Join(f.value, "\n"), "\n")
	if f.form == formVerbose && (blobRe.MatchString(value) || strings.Contains(value, "…")) {
		f.rec.set(f.name, []byte(value), false, 0, 0)
	} else {
		f.rec.set(f.name, []byte(value), f.size <= maxMessage && !f.msg.cut, 0, 0)
	}
	f.name = ""
}

// blobRe is what journalctl prints for what is no text.
var blobRe = regexp.MustCompile(`^\[[\d.]+[BKMGT] blob data\]$`)

// take makes the entry of what was read.
func (r *textReader) take(f *fieldReader) {
	f.end()
	if len(f.lines) > 0 && !f.decode() || !f.rec.seen[fMessage] {
		return
	}
	e := f.rec.bare()
	if e.BootID == "" {
		e.BootID = r.boot
	}
	e.Evidence = bundle.Evidence{Path: r.path, Line: f.msg.number, Start: f.msg.start, End: f.msg.end}
	e.Evidence.Quote = r.quote(e.Evidence)
	if r.log.Form == "" {
		r.log.Form = f.form
	}
	r.log.Entries = append(r.log.Entries, e)
}

// decode reads an object's fields; it reports false for one that is none of
// journalctl's, or that is damaged.
func (f *fieldReader) decode() bool {
	var b strings.Builder
	var starts []int
	for _, l := range f.lines {
		starts = append(starts, b.Len())
		b.WriteString(l.text + "\n")
	}
	if !looksEntry(b.String()) {
		return false
	}
	o := &jsonReader{data: []byte(b.String())}
	if o.fields(&f.rec, 0, len(o.data)) != nil || !f.rec.seen[fMessage] {
		return false
	}
	// MESSAGE alone where that is known byte by byte, else its line.
	i := sort.SearchInts(starts, int(f.rec.start)+1) - 1
	f.msg = f.lines[i]
	if l := &f.msg; l.end-l.start == int64(len(l.text)) && int(f.rec.end) <= starts[i]+len(l.text) {
		l.start, l.end = l.start+f.rec.start-int64(starts[i]), l.start+f.rec.end-int64(starts[i])
	}
	return true
}
