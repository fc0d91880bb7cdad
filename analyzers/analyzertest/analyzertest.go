// Package analyzertest runs one analyzer on small artifacts and compares the
// facts that it states with those written beside the artifacts.
//
// A case is a txtar archive. Its comment holds the expectation, a line each:
//
//	# free text
//	param unit=pre-nixos.service            a profile parameter
//	want unit.active pre-nixos.service = failed @ serial.log:12
//	want storage.state = applied            fact without subject, place not checked
//	problem serial.log                      a problem about that path is expected
//
// and its files are the artifacts. Every fact of the analyzer that is not
// wanted fails the case, and so does every want that is not met: a case
// without wants says that nothing must be stated. Because txtar holds neither
// carriage returns nor escapes, a file named NAME.esc stands for NAME with \e,
// \r, \b, \a, \t, \x1b and \\ decoded; each line of it ends in one LF.
//
// Lines and Pairs hold an analyzer's patterns to lines that match and nearly do;
// Seed and Sound are what fuzz targets share.
package analyzertest

import (
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Run runs a on every testdata/*.txtar below the test's directory.
func Run(t *testing.T, a *analyzers.Analyzer) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.txtar: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			check(t, a, ar)
		})
	}
}

// Bundle makes the run that the archive's files are.
func Bundle(ar *txtar.Archive) (*bundle.Run, error) {
	fsys := fstest.MapFS{}
	for _, f := range ar.Files {
		name, data := f.Name, f.Data
		if n, ok := strings.CutSuffix(name, ".esc"); ok {
			s, err := Unescape(string(data))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			name, data = n, []byte(s)
		}
		fsys[name] = &fstest.MapFile{Data: data}
	}
	runs, problems := bundle.Find(fsys, "case")
	if len(runs) != 1 {
		return nil, fmt.Errorf("%d runs in the case, want 1 (%v)", len(runs), problems)
	}
	return runs[0], nil
}

// Unescape decodes \e, \r, \b, \a, \t, \n, \xHH and \\ in s.
func Unescape(s string) (string, error) {
	s = strings.ReplaceAll(s, `\e`, `\x1b`)
	var b strings.Builder
	for l := range strings.Lines(s) {
		body, lf := strings.CutSuffix(l, "\n")
		u, err := strconv.Unquote(`"` + strings.ReplaceAll(body, `"`, `\"`) + `"`)
		if err != nil {
			return "", fmt.Errorf("%q: %w", body, err)
		}
		b.WriteString(u)
		if lf {
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}

type want struct {
	fact, place string
	met         bool
}

func check(t *testing.T, a *analyzers.Analyzer, ar *txtar.Archive) {
	t.Helper()
	params, wants, problems, err := parse(string(ar.Comment))
	if err != nil {
		t.Fatal(err)
	}
	run, err := Bundle(ar)
	if err != nil {
		t.Fatal(err)
	}
	facts := analyzers.Analyze(run, []*analyzers.Analyzer{a}, params)
	for _, f := range facts.All() {
		if f.By == a.Name && !meet(wants, f) {
			t.Errorf("unexpected: want %s", render(f))
		}
	}
	for _, w := range wants {
		if !w.met {
			t.Errorf("unmet: want %s @ %s", w.fact, w.place)
		}
	}
	for _, p := range run.Problems {
		if i := indexOf(problems, p.Path); i >= 0 {
			problems = append(problems[:i], problems[i+1:]...)
		} else if p.Text != "empty: shows nothing" {
			t.Errorf("unexpected problem %s: %s", p.Path, p.Text)
		}
	}
	for _, p := range problems {
		t.Errorf("no problem about %s", p)
	}
}

func indexOf(ss []string, s string) int {
	for i := range ss {
		if ss[i] == s {
			return i
		}
	}
	return -1
}

func key(f *analyzers.Fact) string {
	if f.Subject == "" {
		return f.Name + " = " + f.Value
	}
	return f.Name + " " + f.Subject + " = " + f.Value
}

func render(f *analyzers.Fact) string {
	return fmt.Sprintf("%s @ %s:%d", key(f), f.Evidence[0].Path, f.Evidence[0].Line)
}

func meet(wants []*want, f *analyzers.Fact) bool {
	place := fmt.Sprintf("%s:%d", f.Evidence[0].Path, f.Evidence[0].Line)
	for _, w := range wants {
		if !w.met && w.fact == key(f) && (w.place == "" || w.place == place) {
			w.met = true
			return true
		}
	}
	return false
}

func parse(comment string) (params analyzers.Params, wants []*want, problems []string, err error) {
	params = analyzers.Params{}
	for i, l := range strings.Split(comment, "\n") {
		l = strings.TrimSpace(l)
		word, rest, _ := strings.Cut(l, " ")
		switch {
		case l == "" || strings.HasPrefix(l, "#"):
		case word == "param":
			k, v, _ := strings.Cut(rest, "=")
			params[k] = append(params[k], v)
		case word == "want":
			fact, place, _ := strings.Cut(rest, " @ ")
			wants = append(wants, &want{fact: strings.TrimSpace(fact), place: strings.TrimSpace(place)})
		case word == "problem":
			problems = append(problems, rest)
		default:
			return nil, nil, nil, fmt.Errorf("line %d: %q is neither param, want nor problem", i+1, l)
		}
	}
	sort.SliceStable(wants, func(i, j int) bool { return wants[i].place != "" && wants[j].place == "" })
	return params, wants, problems, nil
}
