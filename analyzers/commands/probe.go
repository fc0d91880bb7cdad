package commands

import (
	"path"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/host/jsonspan"
	"forensics/analyzers/host/record"
)

// fromProbes makes the commands of the guest's probes. What the host's probes
// answer is not the guest's. Damage to the records is for package host to tell.
func fromProbes(a *bundle.Artifact) *Dialogue {
	data, err := a.Bytes()
	if err != nil {
		return nil
	}
	records, _ := record.Read(a.Path, data)
	d := &Dialogue{Path: a.Path, Kind: bundle.Probe}
	p := &probes{path: a.Path, data: data, index: bundle.NewLineIndex(data)}
	for _, r := range records {
		if r.Guest {
			d.Commands = append(d.Commands, p.command(r))
		}
	}
	if len(d.Commands) == 0 {
		return nil
	}
	return d
}

type probes struct {
	path  string
	data  []byte
	index *bundle.LineIndex
}

func (p *probes) command(r *record.Record) *Command {
	argv := r.Value.Get("argv")
	c := &Command{Text: commandLine(r.Argv), Kind: bundle.Probe, Done: r.Exited, Failed: r.Exited && r.Exit != 0}
	c.Echo = bundle.Span(p.path, p.data, p.index, argv.Start, argv.End)
	streams := []*jsonspan.Value{r.Stdout, r.Stderr}
	// Evidence in an answer goes forward.
	slices.SortStableFunc(streams, func(a, b *jsonspan.Value) int {
		if a == nil || b == nil {
			return 0
		}
		return int(a.Start - b.Start)
	})
	for _, s := range streams {
		s.Lines(p.data, func(text string, start, end int64) bool {
			c.Answer = append(c.Answer, Line{strings.TrimRight(text, "\r"), bundle.Span(p.path, p.data, p.index, start, end)})
			return true
		})
	}
	return c
}

// commandLine writes argv as a shell line; of "sh -c SCRIPT" it is the script.
func commandLine(argv []string) string {
	if n := len(argv); n == 3 && slices.Contains(shells, path.Base(argv[0])) && strings.HasPrefix(argv[1], "-") && strings.HasSuffix(argv[1], "c") {
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
