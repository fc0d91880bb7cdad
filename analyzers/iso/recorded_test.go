package iso

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// all are the facts of one artifact without their places, and its problems.
func all(a *bundle.Artifact, p analyzers.Params) []string {
	run := &bundle.Run{Artifacts: []*bundle.Artifact{a}}
	var out []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, p).All() {
		out = append(out, fmt.Sprintf("%s %s = %s", f.Name, f.Subject, f.Value))
	}
	for _, p := range run.Problems {
		out = append(out, "problem "+p.Text)
	}
	return out
}

// TestRecord: the record of an image promises what the image does, and what
// shows a promise is the line that has it.
func TestRecord(t *testing.T) {
	p := params("pre-nixos.service", "nixos", "lan")
	image := bundle.NewArtifact("x.iso", bundle.ISO, rootImage(t, "root-nixos"))
	data, problems, err := Record(image, p)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	record := bundle.NewArtifact("iso/promises.jsonl", bundle.Promises, data)
	if d := cmp.Diff(all(image, p), all(record, p)); d != "" {
		t.Errorf("-image +record\n%s", d)
	}
	lines := bytes.Split(data, []byte("\n"))
	for _, f := range analyzers.Analyze(&bundle.Run{Artifacts: []*bundle.Artifact{record}}, []*analyzers.Analyzer{Analyzer}, p).All() {
		e := f.Evidence[0]
		if line := string(lines[e.Line-1]); !strings.Contains(line, `"quote":"`+string(data[e.Start:e.End])+`"`) || !strings.Contains(line, `"fact":"`+f.Name+`"`) {
			t.Errorf("%s: line %d is %s", f.Name, e.Line, line)
		}
	}
	for _, c := range []struct {
		name, data string
		want       []string
	}{
		{"cut", string(data[:len(data)-20]), append(all(image, p)[:len(all(image, p))-1], "problem line "+fmt.Sprint(len(lines)-1)+": the last record breaks off")},
		{"no head", `{"fact":"iso.label","value":"x"}` + "\n", []string{"problem line 1: no record of schema " + promisesSchema}},
		{"empty", "", []string{"problem no record of schema " + promisesSchema}},
		{"foreign facts", `{"schema":"` + promisesSchema + `"}` + "\n" + `{"fact":"vm.lvm","value":"x"}` + "\n" + `{"fact":"iso.part","subject":"sudo","value":"perhaps"}` + "\n\nnonsense\n",
			[]string{"problem line 5: no record"}},
	} {
		if d := cmp.Diff(c.want, all(bundle.NewArtifact("p.jsonl", bundle.Promises, []byte(c.data)), p)); d != "" {
			t.Errorf("%s: -want +got\n%s", c.name, d)
		}
	}
}

func FuzzPromised(f *testing.F) {
	data, _, err := Record(bundle.NewArtifact("x.iso", bundle.ISO, rootImage(f, "root-debian")), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, l := range all(bundle.NewArtifact("p.jsonl", bundle.Promises, data), nil) {
			if strings.Contains(l, "internal error") {
				t.Error(l)
			}
		}
	})
}
