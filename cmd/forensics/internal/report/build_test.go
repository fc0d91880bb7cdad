package report

import (
	"strings"
	"testing"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/rules"
)

func TestSort(t *testing.T) {
	r := reportOf(Run{Path: "z"}, Run{Path: "y", Started: at2025(3)}, Run{Path: "a"}, Run{Path: "x", Started: at2025(3)}, Run{Path: "w", Started: at2025(2)})
	r.Sort()
	var got []string
	for _, run := range r.Runs {
		got = append(got, run.Path)
	}
	if s := strings.Join(got, " "); s != "w x y a z" {
		t.Errorf("order %s", s)
	}
}

func TestStage(t *testing.T) {
	types := []analyzers.FactType{{Name: StageFact, Doc: "d", Values: []string{"none", "firmware", "kernel", "shell"}}}
	at := func(path string) bundle.Evidence { return bundle.Evidence{Path: path, Line: 1, End: 1, Quote: "x"} }
	for _, tt := range []struct {
		name   string
		stated [][2]string // path, value
		want   string
	}{
		{"nothing", nil, "none"},
		{"one", [][2]string{{"a", "kernel"}}, "kernel"},
		{"furthest of two files", [][2]string{{"a", "kernel"}, {"b", "firmware"}}, "kernel"},
		{"furthest, the other way", [][2]string{{"a", "firmware"}, {"b", "shell"}}, "shell"},
	} {
		facts := analyzers.NewFacts(types)
		for _, s := range tt.stated {
			if err := facts.Add(&analyzers.Fact{Name: StageFact, Value: s[1], Evidence: []bundle.Evidence{at(s[0])}}); err != nil {
				t.Fatal(err)
			}
		}
		if got := stage(facts); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestBuild holds that a report takes over what the rules say, and no secret.
func TestBuild(t *testing.T) {
	c := &rules.Condition{ID: "vm.lvm", Phase: "vm", Title: "T", Remedy: "R"}
	secret := bundle.Evidence{Path: "serial.log", Line: 3, Start: 5, End: 20, Quote: "export API_TOKEN=hunter2hunter2"}
	out := &rules.Outcome{
		Verdicts: []rules.Verdict{{Condition: c, Status: rules.Fail, Because: "password=hunter2 was refused", Evidence: []bundle.Evidence{secret},
			BlockedBy: []string{"a"}, Despite: []string{"b"}, Needed: []string{"c"}, Conflict: true}},
		Causes:         []rules.Cause{{Condition: c, Because: "password=hunter2", Evidence: []bundle.Evidence{secret}, Explains: []string{"d"}, Unproven: []string{"e"}}},
		Observer:       []rules.Cause{{Condition: c, Because: "password=hunter2"}},
		Contradictions: []rules.Contradiction{{Fact: "f", Subject: "s", Text: "password=hunter2", Evidence: []bundle.Evidence{secret}}},
		Problems:       []bundle.Problem{{Text: "password=hunter2"}},
	}
	run := &bundle.Run{ID: "id", Path: "p/id", Started: time.Date(2025, 11, 2, 9, 15, 0, 0, time.FixedZone("", 3600)),
		Artifacts: []*bundle.Artifact{bundle.NewArtifact("serial.log", bundle.Serial, []byte("abc"))},
		Problems:  []bundle.Problem{{Path: "x", Text: "token: hunter2hunter2"}}}
	r := Build(run, analyzers.NewFacts(nil), out, "example", false)

	r2 := New("v1")
	r2.Runs = []Run{r}
	var b strings.Builder
	if err := WriteJSON(&b, r2); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("a secret came through:\n%s", b.String())
	}
	for _, want := range []string{
		`"started": "2025-11-02T08:15:00Z"`, `"stage": "none"`, `"profile": "example"`, `"kind": "serial"`,
		`"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"`,
		`"condition": "vm.lvm"`, `"phase": "vm"`, `"title": "T"`, `"status": "fail"`, `"because": "password=[redacted] was refused"`,
		`"conflict": true`, `"remedy": "R"`, `"quote": "export API_TOKEN=[redacted]"`, `"line": 3`, `"start": 5`, `"end": 20`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
	// The outcome is not ours to change.
	if out.Verdicts[0].Evidence[0].Quote != secret.Quote {
		t.Error("the quote of the outcome was changed")
	}
}

// TestDigest: an artifact too large to be read as text has a digest when that
// is asked for, and is not called unreadable without it.
func TestDigest(t *testing.T) {
	large := bundle.NewArtifact("image.iso", bundle.ISO, make([]byte, bundle.MaxText+1))
	small := bundle.NewArtifact("serial.log", bundle.Serial, []byte("abc"))
	run := &bundle.Run{ID: "id", Artifacts: []*bundle.Artifact{large, small}}
	for _, asked := range []bool{false, true} {
		r := Build(run, analyzers.NewFacts(nil), &rules.Outcome{}, "example", asked)
		if got := r.Artifacts[0].SHA256 != ""; got != asked {
			t.Errorf("asked %v: the large artifact has digest %q", asked, r.Artifacts[0].SHA256)
		}
		if r.Artifacts[1].SHA256 == "" {
			t.Errorf("asked %v: the small artifact has no digest", asked)
		}
		if why := r.Artifacts[0].unread(); why != "" {
			t.Errorf("asked %v: the large artifact %s", asked, why)
		}
	}
}
