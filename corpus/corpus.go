// Package corpus compares what the program says of recorded runs with what a
// person read in their artifacts.
//
// A case is a run with its truth: a directory PROJECT/RUN with the recorded
// bytes in artifacts/ and the expectation in expect.yaml, or one txtar file
// PROJECT/RUN.txtar that holds both (its bytes may be escaped, see package
// analyzertest). The expectation is written by hand, from the artifacts, and
// never by the program:
//
//	injected: "no network device"       what was done to the run, in words
//	cause: vm.lan-dhcp                  or null; cause_alt: [other, defensible, ones]
//	cause_contains: "text of the artifact that the mechanism must quote"
//	observer: true                      the observer is at fault
//	profile: NAME                       the profile, pre-nixos when absent
//	verdicts:
//	  vm.lvm: {accept: [fail], at: {path: serial.log, line: 199}}
//	open:
//	  vm.clock: "why the program does not reach this yet"
//
// Per verdict the program agrees, or it is wrong (the opposite definite
// verdict), claimed (definite where only unknown is accepted) or missed
// (unknown where it is not). What stands under open is a known gap and is not
// held against the program; when it starts to agree, the entry must go, and
// until then it is an error too.
package corpus

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/tools/txtar"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
	"forensics/rules"
)

// Expectation is expect.yaml.
type Expectation struct {
	Injected      string            `yaml:"injected"`
	Stage         string            `yaml:"stage"`
	Cause         *string           `yaml:"cause"`
	CauseAlt      []string          `yaml:"cause_alt"`
	CauseContains string            `yaml:"cause_contains"`
	Also          []string          `yaml:"also"`
	Observer      bool              `yaml:"observer"`
	Note          string            `yaml:"note"`
	Profile       string            `yaml:"profile"`
	Verdicts      map[string]Accept `yaml:"verdicts"`
	Open          map[string]string `yaml:"open"`
}

// Accept is what a reader of the artifacts accepts for one condition.
type Accept struct {
	Accept []string `yaml:"accept"`
	At     *Place   `yaml:"at"`
}

// Place is a line that decides.
type Place struct {
	Path string `yaml:"path"`
	Line int    `yaml:"line"`
}

// Case is a run with its truth.
type Case struct {
	Name   string // PROJECT/RUN
	Run    *bundle.Run
	Expect Expectation
}

// Outcome is how the program did on one case.
type Outcome struct {
	Case     *Case
	Result   *rules.Outcome
	Agree    int
	Evidence int // agreeing definite verdicts whose evidence is at the place
	Placed   int // agreeing definite verdicts that have a place
	Wrong    []string
	Claimed  []string
	Missed   []string
	Cause    string   // what is not right about the cause, "" when it is
	Stale    []string // open entries that agree
	Missing  []string // conditions without an expectation, and the other way round
}

// Load reads the cases below fsys, sorted by name.
func Load(fsys fs.FS) ([]*Case, error) {
	var cases []*Case
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var c *Case
		switch {
		case !d.IsDir() && path.Base(p) == "expect.yaml":
			c, err = fromDir(fsys, path.Dir(p))
		case !d.IsDir() && strings.HasSuffix(p, ".txtar"):
			c, err = fromArchive(fsys, p)
		default:
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		cases = append(cases, c)
		return nil
	})
	sort.Slice(cases, func(i, j int) bool { return cases[i].Name < cases[j].Name })
	return cases, err
}

func fromDir(fsys fs.FS, dir string) (*Case, error) {
	data, err := fs.ReadFile(fsys, path.Join(dir, "expect.yaml"))
	if err != nil {
		return nil, err
	}
	c := &Case{Name: dir}
	if c.Expect, err = parse(data); err != nil {
		return nil, err
	}
	sub, err := fs.Sub(fsys, path.Join(dir, "artifacts"))
	if err != nil {
		return nil, err
	}
	runs, problems := bundle.Find(sub, path.Base(dir))
	if len(runs) != 1 {
		return nil, fmt.Errorf("%d runs in artifacts, want 1 %v", len(runs), problems)
	}
	c.Run = runs[0]
	return c, nil
}

func fromArchive(fsys fs.FS, p string) (*Case, error) {
	data, err := fs.ReadFile(fsys, p)
	if err != nil {
		return nil, err
	}
	ar := txtar.Parse(data)
	c := &Case{Name: strings.TrimSuffix(p, ".txtar")}
	i := slices.IndexFunc(ar.Files, func(f txtar.File) bool { return f.Name == "expect.yaml" })
	if i < 0 {
		return nil, fmt.Errorf("no expect.yaml in it")
	}
	if c.Expect, err = parse(ar.Files[i].Data); err != nil {
		return nil, err
	}
	ar.Files = slices.Delete(ar.Files, i, i+1)
	c.Run, err = analyzertest.Bundle(ar)
	return c, err
}

func parse(data []byte) (Expectation, error) {
	var e Expectation
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	if err := d.Decode(&e); err != nil {
		return e, err
	}
	for id, a := range e.Verdicts {
		if len(a.Accept) == 0 {
			return e, fmt.Errorf("%s accepts nothing", id)
		}
		for _, s := range a.Accept {
			if s != "pass" && s != "fail" && s != "unknown" {
				return e, fmt.Errorf("%s accepts %q: pass, fail and unknown are verdicts", id, s)
			}
		}
	}
	return e, nil
}

// Rules returns the built-in rules and the profile of that name.
func Rules(profile string) (*rules.Set, analyzers.Params, error) {
	profiles, err := rules.Profiles()
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(profiles, func(p rules.Profile) bool { return p.Name == profile })
	if i < 0 {
		return nil, nil, fmt.Errorf("no profile %q", profile)
	}
	set, err := rules.Load(analyzers.Types(all.List), profiles[i], rules.Embedded()...)
	return set, profiles[i].Params, err
}

// Check runs the program on c and compares.
func Check(c *Case, set *rules.Set, params analyzers.Params) *Outcome {
	o := &Outcome{Case: c}
	facts := analyzers.Analyze(c.Run, all.List, params)
	o.Result = set.Evaluate(facts, params)
	known := map[string]bool{}
	for i := range o.Result.Verdicts {
		o.verdict(&o.Result.Verdicts[i])
		known[o.Result.Verdicts[i].Condition.ID] = true
	}
	for id := range c.Expect.Verdicts {
		if !known[id] {
			o.Missing = append(o.Missing, id+" is expected and no condition")
		}
	}
	sort.Strings(o.Missing)
	o.cause()
	return o
}

func (o *Outcome) verdict(v *rules.Verdict) {
	id, got := v.Condition.ID, string(v.Status)
	want, ok := o.Case.Expect.Verdicts[id]
	if !ok {
		o.Missing = append(o.Missing, id+" has no expectation")
		return
	}
	agrees := slices.Contains(want.Accept, got)
	if reason, open := o.Case.Expect.Open[id]; open {
		if agrees {
			o.Stale = append(o.Stale, id+" agrees now: take it from open ("+reason+")")
		}
		return
	}
	text := fmt.Sprintf("%s: want %s, got %s because %q", id, strings.Join(want.Accept, "/"), got, v.Because)
	switch {
	case agrees:
		o.Agree++
		o.place(v, want.At)
	case got == "unknown":
		o.Missed = append(o.Missed, text)
	case len(want.Accept) == 1 && want.Accept[0] == "unknown":
		o.Claimed = append(o.Claimed, text)
	default:
		o.Wrong = append(o.Wrong, text)
	}
}

// place counts evidence at the place, give or take three lines.
func (o *Outcome) place(v *rules.Verdict, at *Place) {
	if at == nil || v.Status == "unknown" {
		return
	}
	o.Placed++
	for _, e := range v.Evidence {
		if path.Base(e.Path) == path.Base(at.Path) && max(e.Line-at.Line, at.Line-e.Line) <= 3 {
			o.Evidence++
			return
		}
	}
}

func (o *Outcome) cause() {
	if _, open := o.Case.Expect.Open["cause"]; open {
		return
	}
	e, causes := &o.Case.Expect, o.Result.Causes
	first, because := "", ""
	if len(causes) > 0 {
		first, because = causes[0].Condition.ID, causes[0].Because
	}
	switch {
	case e.Cause == nil && first != "":
		o.Cause = fmt.Sprintf("want no cause, got %s — %s", first, because)
	case e.Cause == nil:
	case *e.Cause == "harness.prompt":
		if len(o.Result.Observer) == 0 || first != "" && !slices.Contains(e.Also, first) {
			o.Cause = fmt.Sprintf("want the observer at fault and at most %v, got %q", e.Also, first)
		} else {
			because = o.Result.Observer[0].Because
		}
	case first != *e.Cause && !slices.Contains(e.CauseAlt, first):
		o.Cause = fmt.Sprintf("want %s, got %q — %s", *e.Cause, first, because)
	}
	if o.Cause == "" && e.Cause != nil && !strings.Contains(because, e.CauseContains) {
		o.Cause = fmt.Sprintf("the mechanism of %s must quote %q: %q", *e.Cause, e.CauseContains, because)
	}
	if o.Cause == "" && e.Observer && len(o.Result.Observer) == 0 {
		o.Cause = "want the observer at fault"
	}
}
