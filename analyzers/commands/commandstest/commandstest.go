// Package commandstest holds interpreters to saying the same of a command's
// answer wherever it stands: in a transcript, in a capture, or in a probe.
package commandstest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Answer is a command and what it prints.
type Answer [2]string

// places are where an answer may stand: names and contents of artifacts.
var places = []struct {
	name, file string
	render     func(Answer) string
}{
	{"transcript", "serial.log", transcript},
	{"capture", "captures/answer.txt", func(a Answer) string { return "$ " + a[0] + "\n" + a[1] }},
	{"probe", "guest/probes.jsonl", probe},
}

func transcript(a Answer) string {
	const prompt = "\x1b[?2004h[root@box:~]# "
	text := strings.ReplaceAll(a[1], "\n", "\r\r\n")
	return "box login: root (automatic login)\r\r\n" + prompt + a[0] + "\r\r\n\x1b[?2004l\r" + text + prompt + "true\r\r\n\x1b[?2004l\r" + prompt
}

func probe(a Answer) string {
	b, err := json.Marshal(map[string]any{"name": "p", "argv": []string{"sh", "-c", a[0]}, "exit_status": 0, "stdout": a[1], "stderr": "", "where": "guest"})
	if err != nil {
		panic(err) // strings do
	}
	return string(b) + "\n"
}

// Same fails t where one of answers, in any place, does not make a state
// exactly want: "fact subject = value", sorted, each once. Facts whose names
// are in leave are not looked at.
func Same(t *testing.T, a *analyzers.Analyzer, params analyzers.Params, answers []Answer, want []string, leave ...string) {
	t.Helper()
	slices.Sort(want)
	for _, ans := range answers {
		for _, p := range places {
			got := stated(t, a, params, p.file, p.render(ans), leave)
			if !slices.Equal(got, want) {
				t.Errorf("%s in a %s: got\n  %s\nwant\n  %s", ans[0], p.name, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
	}
}

// stated returns what a states of one artifact, and checks that its evidence
// lies in the artifact's bytes.
func stated(t *testing.T, a *analyzers.Analyzer, params analyzers.Params, file, data string, leave []string) []string {
	t.Helper()
	runs, _ := bundle.Find(fstest.MapFS{file: {Data: []byte(data)}}, "run")
	if len(runs) != 1 {
		t.Fatalf("%d runs", len(runs))
	}
	var said []string
	for _, f := range analyzers.Analyze(runs[0], []*analyzers.Analyzer{a}, params).All() {
		for _, ev := range f.Evidence {
			if ev.Start < 0 || ev.Start > ev.End || ev.End > int64(len(data)) || ev.Line != 1+strings.Count(data[:ev.Start], "\n") {
				t.Errorf("%s = %s: evidence %+v of %d bytes", f.Name, f.Value, ev, len(data))
			}
		}
		if f.By == a.Name && !slices.Contains(leave, f.Name) {
			said = append(said, strings.ReplaceAll(f.Name+" "+f.Subject+" = "+f.Value, "  ", " "))
		}
	}
	for _, p := range runs[0].Problems {
		if strings.HasPrefix(p.Text, "analyzer ") {
			t.Error(p.Text)
		}
	}
	slices.Sort(said)
	return slices.Compact(said)
}
