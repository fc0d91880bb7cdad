package commands

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"sort"
	"strings"

	"forensics/analyzers/bundle"
)

// fromProbes makes the commands of the guest's probes: records {argv,
// exit_status, stdout, stderr, where}, several one after the other or in an
// array. One that does not say where it ran, and does not lie under guest/, is
// left out: what the host's probes answer is not the guest's. Package host
// tells of damage to the records.
func fromProbes(a *bundle.Artifact) *Dialogue {
	data, err := a.Bytes()
	if err != nil {
		return nil
	}
	p := &probes{path: a.Path, data: data, index: bundle.NewLineIndex(data), d: &Dialogue{Path: a.Path, Kind: bundle.Probe}}
	for start, dec := int64(0), json.NewDecoder(bytes.NewReader(data)); ; start = dec.InputOffset() {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			break
		}
		values, err := parse(string(data[start:dec.InputOffset()]))
		if err != nil {
			continue
		}
		p.start = start
		for _, v := range values {
			p.record(v)
			for _, e := range v.Elems() {
				p.record(e)
			}
		}
	}
	return p.d
}

type probes struct {
	path  string
	data  []byte
	index *bundle.LineIndex
	start int64 // of the values that are being read
	d     *Dialogue
}

func (p *probes) record(v *Value) {
	var argv []string
	for _, w := range v.Get("argv").Elems() {
		argv = append(argv, w.String())
	}
	where := v.Get("where").String()
	if where == "" {
		where, _, _ = strings.Cut(p.path, "/")
	}
	if len(argv) == 0 || argv[0] == "" || where != "guest" {
		return
	}
	status := v.Get("exit_status").Number()
	c := &Command{Text: commandLine(argv), Kind: bundle.Probe, Done: status != "", Failed: status != "0", Echo: p.evidence(v.Get("argv"))}
	streams := slices.DeleteFunc([]*Value{v.Get("stdout"), v.Get("stderr")}, func(s *Value) bool { return s.String() == "" })
	// Evidence in an answer goes forward.
	sort.Slice(streams, func(i, j int) bool { return streams[i].start < streams[j].start })
	for _, s := range streams {
		p.lines(c, s)
	}
	p.d.Commands = append(p.d.Commands, c)
}

func (p *probes) evidence(v *Value) bundle.Evidence {
	return bundle.Span(p.path, p.data, p.index, p.start+int64(v.start), p.start+int64(v.end))
}

// lines adds the lines of a string, each with the raw bytes between the quotes
// and the line feeds, which a JSON string writes as \n.
func (p *probes) lines(c *Command, s *Value) {
	at, end := p.start+int64(s.start)+1, p.start+int64(s.end)-1
	for at < end {
		n := lineLength(p.data[at:end])
		raw := p.data[at : at+int64(n)]
		var text string
		if json.Unmarshal(slices.Concat([]byte{'"'}, raw, []byte{'"'}), &text) != nil {
			return
		}
		c.Answer = append(c.Answer, Line{strings.TrimRight(text, "\r"), bundle.Span(p.path, p.data, p.index, at, at+int64(n))})
		at += int64(n + len(`\n`))
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

// commandLine writes argv as a shell line; of "sh -c SCRIPT" it is the script.
func commandLine(argv []string) string {
	if len(argv) == 3 && slices.Contains(shells, path.Base(argv[0])) && strings.HasPrefix(argv[1], "-") && strings.HasSuffix(argv[1], "c") {
		return argv[2]
	}
	words := slices.Clone(argv)
	words[0] = path.Base(words[0])
	for i, w := range words {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`|&;<>(){}*?") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

var shells = []string{"sh", "bash", "dash", "zsh", "ash"}
