// Package analyzers is the contract between analyzers and the driver that runs
// them, and that driver.
//
// # Nouns
//
// An Analyzer reads the artifacts of one run, or the results of other
// analyzers, and states facts. A Fact is a predicate about the run ("the unit
// pre-nixos.service was last seen failed"), with the raw bytes that show it.
// A Fact never judges: which condition it speaks for is the business of rules.
//
// There are two layers. Readers (console, serial, commands, journal, harness,
// qemu, build, …) turn bytes into records: lines, commands with their answers,
// journal entries, argument vectors. Interpreters (units, storage, network,
// kernel, …) need readers, read no file, and so understand a systemctl answer
// the same way whether it stood in a transcript, a capture or a probe.
//
// # Invariants
//
//   - Everything an analyzer may read or write is in its Pass: no clock, no
//     environment, no network, no process, no file system. The same bytes give
//     the same facts.
//   - A Fact has at least one Evidence, its name and value are declared in
//     Analyzer.Facts; anything else is a bug of ours and panics in tests, and
//     is dropped with a problem in the report otherwise.
//   - Facts of one artifact are ordered by where they stand in it; "last" means
//     last in that artifact. Values are judged per artifact: where the last
//     values of two artifacts differ, the value is in conflict.
//   - A result does not change once its analyzer has returned: those that
//     require it may run at the same time.
//   - An analyzer that fails or panics makes nothing fail: its facts are
//     missing, those who require it do not run, and the report says why.
//
// Left out on purpose: severities, scores and messages for people. They belong
// to rules.
package analyzers

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sort"
	"strings"

	"forensics/analyzers/bundle"
)

// An Analyzer turns artifacts into facts. It is a logically constant variable.
type Analyzer struct {
	Name     string      // the package's name; unique
	Doc      string      // one sentence, then details
	Requires []*Analyzer // their results are in Pass.ResultOf
	Facts    []FactType  // every fact it may state
	// Run does the work. Its result is for the analyzers that require this
	// one; each package that has one exports a function From(*Pass) that
	// returns it typed.
	Run func(*Pass) (any, error)
}

// FactType declares a fact.
type FactType struct {
	Name    string   // "unit.active"
	Doc     string   // what it means, one sentence
	Subject string   // what the subject is ("unit name"); "" when it has none
	Values  []string // the values it may have; nil for free text
	// Transient lists values that any other value supersedes, also across
	// artifacts: "activating" in an early capture does not contradict
	// "inactive" in a later one.
	Transient []string
	// Repeats says that several values stand side by side (volume groups,
	// signatures): they never contradict each other.
	Repeats bool
}

// A Fact is one statement about the run.
type Fact struct {
	Name     string
	Subject  string
	Value    string
	Evidence []bundle.Evidence // the deciding one first
	By       string            // the analyzer; filled by the driver
}

// Artifact returns the path of the artifact that the fact was read from.
func (f *Fact) Artifact() string {
	if len(f.Evidence) == 0 {
		return ""
	}
	return f.Evidence[0].Path
}

// detach gives f strings of its own: facts outlive the artifacts.
func (f *Fact) detach() {
	f.Subject, f.Value = strings.Clone(f.Subject), strings.Clone(f.Value)
	f.Evidence = slices.Clone(f.Evidence)
	for i := range f.Evidence {
		f.Evidence[i] = f.Evidence[i].Detached()
	}
}

// Params are the names that belong to one image: a profile's parameters after
// --set. A parameter is a list of strings; most hold one.
type Params map[string][]string

// One returns the first value of parameter name, "" when it has none.
func (p Params) One(name string) string {
	if v := p[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Map reads parameter name as KEY=VALUE items.
func (p Params) Map(name string) map[string]string {
	m := map[string]string{}
	for _, s := range p[name] {
		if k, v, ok := strings.Cut(s, "="); ok {
			m[k] = v
		}
	}
	return m
}

// A Pass is one analyzer at work on one run.
type Pass struct {
	Analyzer *Analyzer
	Run      *bundle.Run
	Params   Params
	ResultOf map[*Analyzer]any // results of Analyzer.Requires
	// State states a fact. Evidence is required.
	State func(name, subject, value string, ev ...bundle.Evidence)
	// Problem tells the reader of the report about an artifact that could not
	// be read, or was read in part.
	Problem func(path, text string)
}

// Facts are all facts about one run.
type Facts struct {
	types map[string]*FactType
	by    map[string][]*Fact // name + "\x00" + subject
	all   []*Fact
	// merged are the paths of native journal files: one reader puts the entries
	// of them all in order, so they count as one artifact in Last.
	merged map[string]bool
}

// NewFacts returns an empty set that knows the given types.
func NewFacts(types []FactType) *Facts {
	fs := &Facts{types: map[string]*FactType{}, by: map[string][]*Fact{}, merged: map[string]bool{}}
	for i := range types {
		fs.types[types[i].Name] = &types[i]
	}
	return fs
}

// Type returns the declaration of fact name, nil when there is none.
func (fs *Facts) Type(name string) *FactType { return fs.types[name] }

// All returns every fact, in the order stated.
func (fs *Facts) All() []*Fact { return fs.all }

// Of returns the facts of that name and subject, in the order stated.
func (fs *Facts) Of(name, subject string) []*Fact { return fs.by[name+"\x00"+subject] }

// Add adds f. It fails when the name or value is not declared or evidence is
// missing.
func (fs *Facts) Add(f *Fact) error {
	if err := f.check(fs.types[f.Name]); err != nil {
		return err
	}
	fs.put(f)
	return nil
}

func (fs *Facts) put(f *Fact) {
	key := f.Name + "\x00" + f.Subject
	fs.by[key] = append(fs.by[key], f)
	fs.all = append(fs.all, f)
}

// check holds f to its declaration.
func (f *Fact) check(t *FactType) error {
	switch {
	case t == nil:
		return fmt.Errorf("fact %q is not declared", f.Name)
	case t.Values != nil && !slices.Contains(t.Values, f.Value):
		return fmt.Errorf("fact %s: value %q is not declared", f.Name, f.Value)
	case len(f.Evidence) == 0:
		return fmt.Errorf("fact %s %s=%s has no evidence", f.Name, f.Subject, f.Value)
	}
	return nil
}

// Last returns the facts that hold at the end: the last one of each artifact,
// and whether they contradict each other. Transient values give way to others.
func (fs *Facts) Last(name, subject string) (last []*Fact, conflict bool) {
	t := fs.types[name]
	at := map[string]int{}
	for _, f := range fs.Of(name, subject) {
		a := f.Artifact()
		merged := fs.merged[a]
		if merged {
			a = ""
		}
		if i, ok := at[a]; !ok {
			at[a] = len(last)
			last = append(last, f)
		} else if merged || after(f, last[i]) {
			last[i] = f
		}
	}
	if t != nil && len(t.Transient) > 0 {
		lasting := slices.DeleteFunc(slices.Clone(last), func(f *Fact) bool { return slices.Contains(t.Transient, f.Value) })
		if len(lasting) > 0 {
			last = lasting
		}
	}
	for _, f := range last[min(1, len(last)):] {
		if f.Value != last[0].Value && (t == nil || !t.Repeats) {
			return last, true
		}
	}
	return last, false
}

// after reports whether f stands at or behind g in their artifact.
func after(f, g *Fact) bool { return f.Evidence[0].Start >= g.Evidence[0].Start }

// Analyze runs the analyzers on run, each once, those that others require
// first, and returns the facts they state. Problems go to run.Problems. What
// does not require each other may run at the same time; facts and problems stand
// in the order of the list all the same.
func Analyze(run *bundle.Run, list []*Analyzer, params Params) *Facts {
	facts := NewFacts(Types(list))
	for _, a := range run.Of(bundle.NativeJ) {
		facts.merged[a.Path] = true
	}
	tasks := map[*Analyzer]*task{}
	var order []*task
	var visit func(*Analyzer)
	visit = func(a *Analyzer) {
		if tasks[a] != nil {
			return
		}
		t := &task{Analyzer: a}
		tasks[a] = t
		for _, r := range a.Requires {
			visit(r)
			t.needs = append(t.needs, tasks[r])
		}
		order = append(order, t)
	}
	for _, a := range list {
		visit(a)
	}
	work(order, func(t *task) { t.run(run, params, facts.types) })
	for _, t := range order {
		run.Problems = append(run.Problems, t.problems...)
		for _, f := range t.stated {
			facts.put(f)
		}
	}
	return facts
}

// work does all tasks, of which each stands behind those that it needs: as many
// at a time as there are processors, for what is half done takes memory, and
// first those that the longest row of others waits for. A result is let go of
// when the last that needs it is done.
func work(tasks []*task, do func(*task)) {
	var ready []*task
	for _, t := range slices.Backward(tasks) {
		for _, n := range t.needs {
			n.usedBy = append(n.usedBy, t)
			n.users++
			n.row = max(n.row, t.row+1)
		}
		if t.missing = len(t.needs); t.missing == 0 {
			ready = append(ready, t)
		}
	}
	slices.Reverse(ready)
	done := make(chan *task)
	for left, free := len(tasks), runtime.GOMAXPROCS(0); left > 0; left-- {
		// Of those alike, what needs most is likely to have most to read.
		slices.SortStableFunc(ready, func(a, b *task) int {
			return cmp.Or(cmp.Compare(b.row, a.row), cmp.Compare(len(b.needs), len(a.needs)))
		})
		n := min(free, len(ready))
		for _, t := range ready[:n] {
			go func() {
				do(t)
				done <- t
			}()
		}
		ready, free = ready[n:], free-n
		t := <-done
		free++
		for _, u := range t.usedBy {
			if u.missing--; u.missing == 0 {
				ready = append(ready, u)
			}
		}
		for _, n := range t.needs {
			if n.users--; n.users == 0 {
				n.result = nil
			}
		}
	}
}

// task is one analyzer at work.
type task struct {
	*Analyzer
	needs   []*task
	usedBy  []*task
	row     int // how many wait for it in a row
	missing int // of needs, how many are not done
	users   int // of usedBy, how many are not done

	result   any
	failed   string // why there is no result, "" when there is one
	stated   []*Fact
	problems []bundle.Problem
}

func (t *task) run(run *bundle.Run, params Params, types map[string]*FactType) {
	var missing []string
	results := map[*Analyzer]any{}
	for _, n := range t.needs {
		if n.failed != "" {
			missing = append(missing, n.Name)
		}
		results[n.Analyzer] = n.result
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		t.failed = "needs " + strings.Join(missing, ", ")
		t.problem("", fmt.Sprintf("analyzer %s did not run: %s", t.Name, t.failed))
		return
	}
	if err := t.apply(run, params, results, types); err != nil {
		t.failed, t.result, t.stated = err.Error(), nil, nil
		t.problem("", fmt.Sprintf("analyzer %s failed: %v; what it would show stays unknown", t.Name, err))
	}
}

func (t *task) problem(p, text string) {
	t.problems = append(t.problems, bundle.Problem{Path: p, Text: text})
}

func (t *task) apply(run *bundle.Run, params Params, results map[*Analyzer]any, types map[string]*FactType) (err error) {
	pass := &Pass{Analyzer: t.Analyzer, Run: run, Params: params, ResultOf: results, Problem: t.problem}
	pass.State = func(name, subject, value string, ev ...bundle.Evidence) {
		t.stated = append(t.stated, &Fact{Name: name, Subject: subject, Value: value, Evidence: ev, By: t.Name})
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("internal error: %v", v)
		}
	}()
	if t.result, err = t.Run(pass); err != nil {
		return err
	}
	for _, f := range t.stated {
		f.detach()
		if !declares(t.Analyzer, f.Name) {
			return fmt.Errorf("internal error: states undeclared fact %q", f.Name)
		}
		if err := f.check(types[f.Name]); err != nil {
			return fmt.Errorf("internal error: %w", err)
		}
	}
	return nil
}

func declares(a *Analyzer, name string) bool {
	return slices.ContainsFunc(a.Facts, func(t FactType) bool { return t.Name == name })
}

// Types returns the declarations of all facts that the analyzers and those
// they require may state, sorted by name.
func Types(list []*Analyzer) []FactType {
	var types []FactType
	seen := map[*Analyzer]bool{}
	var visit func(*Analyzer)
	visit = func(a *Analyzer) {
		if seen[a] {
			return
		}
		seen[a] = true
		types = append(types, a.Facts...)
		for _, r := range a.Requires {
			visit(r)
		}
	}
	for _, a := range list {
		visit(a)
	}
	sort.Slice(types, func(i, j int) bool { return types[i].Name < types[j].Name })
	return types
}

// Validate reports what is wrong with a list of analyzers: names and facts
// must be unique and documented, Requires must have no cycle.
func Validate(list []*Analyzer) error {
	names := map[string]*Analyzer{}
	facts := map[string]string{}
	const visiting, visited = 1, 2
	state := map[*Analyzer]int{}
	var visit func(*Analyzer) error
	visit = func(a *Analyzer) error {
		switch state[a] {
		case visiting:
			return fmt.Errorf("analyzer %s requires itself", a.Name)
		case visited:
			return nil
		}
		state[a] = visiting
		if a.Name == "" || a.Doc == "" || a.Run == nil {
			return fmt.Errorf("analyzer %q lacks a name, doc or run", a.Name)
		}
		if o := names[a.Name]; o != nil {
			return fmt.Errorf("two analyzers are named %s", a.Name)
		}
		names[a.Name] = a
		for _, t := range a.Facts {
			if o := facts[t.Name]; o != "" {
				return fmt.Errorf("fact %s is declared by %s and %s", t.Name, o, a.Name)
			}
			if t.Doc == "" || t.Name == "" {
				return fmt.Errorf("analyzer %s: fact %q has no name or doc", a.Name, t.Name)
			}
			facts[t.Name] = a.Name
		}
		for _, r := range a.Requires {
			if err := visit(r); err != nil {
				return err
			}
		}
		state[a] = visited
		return nil
	}
	for _, a := range list {
		if err := visit(a); err != nil {
			return err
		}
	}
	return nil
}
