package commands

import (
	"encoding/json"
	"errors"
	"regexp"
	"sort"
	"strings"

	"forensics/analyzers/bundle"
)

// Document is JSON that a command printed.
type Document struct {
	Values []*Value // each complete; of a text that breaks off, those before
	Rest   []Line   // what stands before and behind them, without blank lines

	text   string
	starts []int // of the lines in text
	lines  []Line
}

// Evidence returns the place of v, the first line of it where it has several.
func (d *Document) Evidence(v *Value) bundle.Evidence {
	i := sort.SearchInts(d.starts, v.start+1) - 1
	l := d.lines[i]
	ev := l.Evidence
	if ev.End-ev.Start != int64(len(l.Text)) {
		return ev // what the terminal shows is not byte by byte what stands there
	}
	from := v.start - d.starts[i]
	to := min(v.end-d.starts[i], len(l.Text))
	ev.Start, ev.End = ev.Start+int64(from), ev.Start+int64(to)
	ev.Quote = bundle.Printable(l.Text[from:min(to, from+maxQuoted)])
	return ev
}

// maxQuoted bounds the text that a quote is made from; maxTries bounds how many
// lines are tried as the first one of JSON.
const maxQuoted, maxTries = 16 << 10, 4

// splicedRe is printk's stamp: the kernel writes such lines between a program's.
var splicedRe = regexp.MustCompile(`^\[ *\d+\.\d{6}\]`)

// document finds the JSON in an answer, nil when there is none. Messages of the
// kernel between its lines are left out.
func document(answer []Line) *Document {
	tries := 0
	for i := range answer {
		text := strings.TrimSpace(answer[i].Text)
		if text == "" || text[0] != '{' && text[0] != '[' || splicedRe.MatchString(text) {
			continue
		}
		if d := documentAt(answer, i); d != nil {
			return d
		}
		if tries++; tries == maxTries {
			return nil
		}
	}
	return nil
}

func documentAt(answer []Line, first int) *Document {
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if err := json.NewDecoder(strings.NewReader(answer[first].Text)).Decode(&raw); errors.As(err, &syntax) {
		return nil // the lines behind it change nothing
	}
	d := &Document{}
	var b strings.Builder
	for _, l := range answer[first:] {
		if splicedRe.MatchString(l.Text) {
			continue
		}
		d.starts, d.lines = append(d.starts, b.Len()), append(d.lines, l)
		b.WriteString(l.Text)
		b.WriteByte('\n')
	}
	d.text = b.String()
	// Only whole values count: half a listing is none.
	end, dec := int64(0), json.NewDecoder(strings.NewReader(d.text))
	for dec.Decode(&raw) == nil && (raw[0] == '{' || raw[0] == '[') {
		end = dec.InputOffset()
	}
	if end == 0 {
		return nil
	}
	values, err := parse(d.text[:end])
	if err != nil {
		return nil
	}
	d.Values = values
	behind := sort.SearchInts(d.starts, int(end))
	for _, ls := range [][]Line{answer[:first], d.lines[behind:]} {
		for _, l := range ls {
			if strings.TrimSpace(l.Text) != "" {
				d.Rest = append(d.Rest, l)
			}
		}
	}
	return d
}
