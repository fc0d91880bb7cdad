package iso

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// promisesSchema names the form in which an image's promises are recorded: JSON
// records, a line each. The first is what the boot menus offer, the others are
// facts with the evidence in the image.
const promisesSchema = "forensics.promises/1"

// recordedImage is the first record.
type recordedImage struct {
	Schema string          `json:"schema"`
	Path   string          `json:"path"` // of the image when it was read
	Size   int64           `json:"size"`
	Open   bool            `json:"open"` // Promise.Open
	Offers []recordedOffer `json:"offers"`
}

type recordedOffer struct {
	Args    string `json:"args"`
	Default bool   `json:"default"`
}

// recordedFact is any other record.
type recordedFact struct {
	Fact     string            `json:"fact"`
	Subject  string            `json:"subject"`
	Value    string            `json:"value"`
	Evidence []bundle.Evidence `json:"evidence"`
}

// Record reads an image and returns its promises as an artifact to keep in its
// place: an image is gigabytes. Problems are those of reading it.
func Record(a *bundle.Artifact, params analyzers.Params) ([]byte, []bundle.Problem, error) {
	run := &bundle.Run{Artifacts: []*bundle.Artifact{a}}
	var ps []*Promise
	facts := analyzers.Analyze(run, []*analyzers.Analyzer{{
		Name: "record", Doc: "Takes the promises.", Requires: []*analyzers.Analyzer{Analyzer},
		Run: func(p *analyzers.Pass) (any, error) { ps = From(p); return nil, nil },
	}}, params)
	if len(ps) == 0 {
		return nil, run.Problems, fmt.Errorf("%s: no image that can be read", a.Path)
	}
	head := recordedImage{Schema: promisesSchema, Path: a.Path, Size: a.Size, Open: ps[0].Open, Offers: []recordedOffer{}}
	for _, o := range ps[0].Offers {
		head.Offers = append(head.Offers, recordedOffer{o.Args, o.Default})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(head); err != nil {
		return nil, run.Problems, err
	}
	for _, f := range facts.All() {
		if err := e.Encode(recordedFact{f.Name, f.Subject, f.Value, f.Evidence}); err != nil {
			return nil, run.Problems, err
		}
	}
	return b.Bytes(), run.Problems, nil
}

// promised states the promises of a record. A fact that this package does not
// declare, or with another value, is left out.
func promised(p *analyzers.Pass, a *bundle.Artifact) (*Promise, error) {
	data, err := a.Bytes()
	if err != nil {
		return nil, err
	}
	lines := bundle.NewLineIndex(data)
	var o *Promise
	for at := 0; at < len(data); {
		line, _, whole := bytes.Cut(data[at:], []byte("\n"))
		ev := bundle.Span(a.Path, data, lines, int64(at), int64(at+len(line)))
		at += len(line) + 1
		switch {
		case len(bytes.TrimSpace(line)) == 0:
		case o == nil:
			var h recordedImage
			if err := json.Unmarshal(line, &h); err != nil || h.Schema != promisesSchema {
				return nil, fmt.Errorf("line 1: no record of schema %s", promisesSchema)
			}
			o = &Promise{Path: a.Path, Open: h.Open}
			for _, f := range h.Offers {
				o.Offers = append(o.Offers, Offer{Args: f.Args, Default: f.Default, Evidence: ev})
			}
		default:
			var f recordedFact
			if err := json.Unmarshal(line, &f); err != nil {
				text := "no record"
				if !whole {
					text = "the last record breaks off"
				}
				p.Problem(a.Path, fmt.Sprintf("line %d: %s", ev.Line, text))
				continue
			}
			if declared(p.Analyzer, f.Fact, f.Value) {
				p.State(f.Fact, f.Subject, f.Value, within(a.Path, data, lines, ev, &f))
			}
		}
	}
	if o == nil {
		return nil, fmt.Errorf("no record of schema %s", promisesSchema)
	}
	return o, nil
}

// within narrows the evidence to the words of the image that the record quotes.
func within(name string, data []byte, lines *bundle.LineIndex, line bundle.Evidence, f *recordedFact) bundle.Evidence {
	if len(f.Evidence) == 0 || f.Evidence[0].Quote == "" {
		return line
	}
	var quote bytes.Buffer
	e := json.NewEncoder(&quote)
	e.SetEscapeHTML(false)
	if e.Encode(f.Evidence[0].Quote) != nil {
		return line
	}
	words := bytes.TrimSpace(quote.Bytes())
	at := bytes.Index(data[line.Start:line.End], append([]byte(`"quote":`), words...))
	if at < 0 {
		return line
	}
	start := line.Start + int64(at+len(`"quote":"`))
	return bundle.Span(name, data, lines, start, start+int64(len(words)-2))
}

func declared(a *analyzers.Analyzer, name, value string) bool {
	for _, t := range a.Facts {
		if t.Name == name {
			return t.Values == nil || slices.Contains(t.Values, value)
		}
	}
	return false
}
