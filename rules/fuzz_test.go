package rules

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

func packSeeds(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "testdata/bad/*.yaml"} {
		names, _ := filepath.Glob(pattern)
		for _, n := range names {
			data, err := os.ReadFile(n)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	cases, _ := filepath.Glob("testdata/eval/*.txtar")
	for _, n := range cases {
		a, err := txtar.ParseFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(file(a, "pack.yaml")))
	}
}

const fuzzFacts = `unit.active | setup.service | failed | serial.log:5
unit.active | setup.service | inactive | status.txt:5
unit.failure | setup.service | no disk | serial.log:4
lvm.vg | main | 1 | serial.log:7
lvm.vgs | | main | serial.log:7
lvm.vgs | | swap | serial.log:8
uid | | 0 | serial.log:9
`

// FuzzLoad: any bytes are a Set whose outcomes hold, or Mistakes within the
// file.
func FuzzLoad(f *testing.F) {
	packSeeds(f)
	profile := exampleProfile(f)
	facts := parseFacts(f, fuzzFacts)
	f.Fuzz(func(t *testing.T, data []byte) {
		src := Source{Name: "pack", Data: data}
		_, _ = ParseProfile(src)
		s, err := Load(factTypes(), profile, src)
		if err != nil {
			checkMistakes(t, data, err)
		} else {
			out := s.Evaluate(facts, profile.Params)
			holds(t, out)
			if again := show(s.Evaluate(facts, profile.Params)); again != show(out) {
				t.Errorf("two outcomes:\n%s\n%s", show(out), again)
			}
		}
	})
}

func checkMistakes(t *testing.T, data []byte, err error) {
	t.Helper()
	var ms Mistakes
	if !errors.As(err, &ms) || len(ms) == 0 || len(ms) > maxMistakes+1 {
		t.Fatalf("not mistakes: %v", err)
	}
	for _, m := range ms {
		if m.Line < 0 || m.Line > len(data)+2 || m.Line > 0 && m.Column < 1 || m.Text == "" {
			t.Errorf("mistake outside of the file: %v", m)
		}
	}
}

// FuzzExpr: any expression is refused, or has a value; what it shows has
// evidence, and its text can be printed.
func FuzzExpr(f *testing.F) {
	for _, e := range []string{
		`has("lvm.vg", param.vg) && last("uid") == "0"`,
		`values("lvm.vgs").exists(v, v == "main" || v.matches("^s"))`,
		`params.commands.all(c, lacks("tool", c)) || !is("uid", "", "0")`,
		`is("unit.active", param.unit, "failed") ? has("uid") : count("uid") > 2`,
		`"aaaaaaaaaa".replace("a", "b").split("").map(x, x + x).join(",").size() > 3`,
		`((((((((((((((((((has("uid"))))))))))))))))))`, `[[[[[[`, `1 + -9223372036854775808 > 2`,
		`int(last("uid")) / int("0") > 1`, `last("uid").substring(3) == "" || has("uid")`,
	} {
		f.Add(e)
	}
	profile := exampleProfile(f)
	facts := parseFacts(f, fuzzFacts)
	f.Fuzz(func(t *testing.T, expr string) {
		q := strconv.QuoteToASCII(expr)
		pack := "conditions:\n- id: a.b\n  phase: vm\n  title: t\n  decide: [d]\n  pass:\n  - when: " + q + "\n    because: " + q + "\n"
		s, err := Load(factTypes(), profile, Source{Name: "pack", Data: []byte(pack)})
		if err != nil {
			checkMistakes(t, []byte(pack), err)
		} else {
			holds(t, s.Evaluate(facts, profile.Params))
		}
	})
}
