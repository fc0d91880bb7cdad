package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Bounds on Evaluate.
const (
	maxClauseSteps = 100_000    // leaves that one clause may evaluate
	maxTotalCost   = 50_000_000 // CEL cost units of all clauses together
	maxPerArtifact = 8          // evidence kept of one artifact for one clause
	maxEvidence    = 8          // evidence of one verdict
)

var errTooExpensive = errors.New("too expensive: it asks for too many facts")

// truth is a value of Kleene's logic.
type truth int8

const (
	no truth = iota - 1
	maybe
	yes
)

// support is what gave a part of a clause its value, in the order consulted.
type support []used

// used is the facts behind the answer to one question.
type used struct {
	fn    string
	facts []*analyzers.Fact
}

// question is one call of a function over facts.
type question struct {
	fn, name, subject, value string
	arity                    int
}

// answer is what the facts say to a question.
type answer struct {
	used     // none for guards
	value    ref.Val
	conflict *Contradiction
}

// evaluation is Evaluate at work. It is the activation of CEL's programs.
type evaluation struct {
	facts     *analyzers.Facts
	param     ref.Val
	params    ref.Val
	functions map[string]cel.LateBoundFunction
	known     map[question]*answer
	byName    map[string][]*analyzers.Fact // made when first asked for
	bound     []binding                    // variables of all and exists, innermost last

	asked          []question // of the clauses of one condition
	answers        []*answer  // since the leaf began
	steps          int        // left for the clause
	cost           int64      // left for all
	err            error      // the first one of the clause
	sentence       bool       // a because is evaluated: see last
	said           support    // what the sentence prints
	contradictions []*Contradiction
}

type binding struct {
	name  string
	value ref.Val
}

func newEvaluation(facts *analyzers.Facts, names []string, params analyzers.Params) *evaluation {
	e := &evaluation{facts: facts, known: map[question]*answer{}, cost: maxTotalCost}
	one, all := map[ref.Val]ref.Val{}, map[ref.Val]ref.Val{}
	for _, n := range names {
		first, list := ref.Val(unknown()), ref.Val(unknown())
		if v := params[n]; len(v) > 0 {
			first, list = types.String(v[0]), types.NewStringList(types.DefaultTypeAdapter, v)
		}
		for _, key := range []string{n, identifier(n)} {
			one[types.String(key)], all[types.String(key)] = first, list
		}
	}
	e.param = types.NewRefValMap(types.DefaultTypeAdapter, one)
	e.params = types.NewRefValMap(types.DefaultTypeAdapter, all)
	e.functions = map[string]cel.LateBoundFunction{}
	for _, fn := range []string{fnLast, fnFirst, fnValues, fnQuote, fnNames, fnIs, fnHas, fnHasAny, fnLacks, fnCount} {
		e.functions[fn] = func(_ string, args ...ref.Val) ref.Val { return e.ask(strings.TrimPrefix(fn, "@"), args) }
	}
	return e
}

func unknown() *types.Unknown { return types.NewUnknown(0, nil) }

// ResolveName finds a variable, for CEL.
func (e *evaluation) ResolveName(name string) (any, bool) {
	for _, b := range slices.Backward(e.bound) {
		if b.name == name {
			return b.value, true
		}
	}
	switch name {
	case "param":
		return e.param, true
	case "params":
		return e.params, true
	}
	return nil, false
}

// Parent says, for CEL, that there are no other variables.
func (e *evaluation) Parent() cel.Activation { return nil }

// ResolveFunction finds a function over facts, for CEL.
func (e *evaluation) ResolveFunction(name string) (cel.LateBoundFunction, bool) {
	f, ok := e.functions[name]
	return f, ok
}

// ask answers a call from an expression.
func (e *evaluation) ask(fn string, args []ref.Val) ref.Val {
	text := [3]string{}
	for i, a := range args {
		s, ok := a.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(a)
		}
		text[i] = string(s)
	}
	q := question{fn: fn, name: text[0], subject: text[1], value: text[2], arity: len(args)}
	a := e.known[q]
	if a == nil {
		a = e.answer(q)
		a.fn = fn
		e.known[q] = a
	}
	if e.sentence {
		v, said := e.inSentence(q, a)
		e.said = append(e.said, used{fn, said})
		return v
	}
	e.asked = append(e.asked, q)
	e.answers = append(e.answers, a)
	if a.conflict != nil {
		e.note(a.conflict)
	}
	return a.value
}

// note records a contradiction; last and is find the same one.
func (e *evaluation) note(c *Contradiction) {
	if !slices.ContainsFunc(e.contradictions, func(o *Contradiction) bool { return o.Fact == c.Fact && o.Subject == c.Subject }) {
		e.contradictions = append(e.contradictions, c)
	}
}

// inSentence is a's value for a because:, and the facts that state it, one for
// each value: of values that stand side by side, one is better than none there.
func (e *evaluation) inSentence(q question, a *answer) (ref.Val, []*analyzers.Fact) {
	if !types.IsUnknown(a.value) || !e.repeats(q.name) {
		return a.value, stating(q, a.facts)
	}
	fs := e.of(q)
	if len(fs) == 0 {
		return a.value, nil
	}
	switch first, last := fs[0], fs[len(fs)-1]; q.fn {
	case fnFirst:
		return types.String(first.Value), []*analyzers.Fact{first}
	case fnLast:
		return types.String(last.Value), []*analyzers.Fact{last}
	case fnQuote:
		return types.String(last.Evidence[0].Quote), []*analyzers.Fact{last}
	}
	return a.value, nil
}

// stating returns the facts of fs that state the answer to q: the first one of
// each value or subject.
func stating(q question, fs []*analyzers.Fact) []*analyzers.Fact {
	part := func(f *analyzers.Fact) string { return "" }
	switch q.fn {
	case fnValues:
		part = func(f *analyzers.Fact) string { return f.Value }
	case fnNames:
		part = func(f *analyzers.Fact) string { return f.Subject }
	}
	var some []*analyzers.Fact
	seen := map[string]bool{}
	for _, f := range fs {
		if p := part(f); !seen[p] {
			seen[p] = true
			some = append(some, f)
		}
	}
	return some
}

func (e *evaluation) repeats(name string) bool {
	t := e.facts.Type(name)
	return t != nil && t.Repeats
}

// of returns the facts that q is about. Without a subject that is any one, when
// the fact has one.
func (e *evaluation) of(q question) []*analyzers.Fact {
	if t := e.facts.Type(q.name); t == nil || t.Subject == "" || q.arity > 1 && q.subject != anySubject {
		return e.facts.Of(q.name, q.subject)
	}
	if e.byName == nil {
		e.byName = map[string][]*analyzers.Fact{}
		for _, f := range e.facts.All() {
			e.byName[f.Name] = append(e.byName[f.Name], f)
		}
	}
	return e.byName[q.name]
}

func (e *evaluation) answer(q question) *answer {
	fs := e.of(q)
	switch q.fn {
	case fnLast, fnQuote, fnIs:
		return e.atEnd(q)
	case fnFirst:
		return atStart(fs)
	case fnCount:
		return &answer{value: types.Int(len(fs))}
	}
	if q.arity == 3 {
		fs = withValue(fs, q.value)
	}
	switch {
	case q.fn == fnLacks:
		return &answer{value: types.Bool(len(fs) == 0)}
	case len(fs) == 0:
		return &answer{value: unknown()}
	case q.fn == fnNames:
		return stated(texts(subjects(fs)), fs)
	case q.fn == fnValues:
		return stated(texts(distinct(fs)), fs)
	}
	return stated(types.True, fs)
}

func stated(v ref.Val, fs []*analyzers.Fact) *answer {
	return &answer{value: v, used: used{facts: fs}}
}

func texts(list []string) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, list) }

// atEnd answers last, quote and is.
func (e *evaluation) atEnd(q question) *answer {
	last, conflict := e.facts.Last(q.name, q.subject)
	switch {
	case len(last) == 0:
		return &answer{value: unknown()}
	case conflict:
		return &answer{value: unknown(), conflict: contradiction(q, last)}
	case len(distinct(last)) > 1:
		return &answer{value: unknown()}
	case q.fn == fnIs:
		return stated(types.Bool(last[0].Value == q.value), last)
	case q.fn == fnQuote:
		return stated(types.String(last[0].Evidence[0].Quote), last)
	}
	return stated(types.String(last[0].Value), last)
}

// atStart answers first. Artifacts may begin at different times, so that they
// differ is no contradiction, but which one was first is not known then.
func atStart(fs []*analyzers.Fact) *answer {
	at := map[string]int{}
	var first []*analyzers.Fact
	for _, f := range fs {
		i, ok := at[f.Artifact()]
		if !ok {
			at[f.Artifact()] = len(first)
			first = append(first, f)
		} else if f.Evidence[0].Start < first[i].Evidence[0].Start {
			first[i] = f
		}
	}
	if len(distinct(first)) != 1 {
		return &answer{value: unknown()}
	}
	return stated(types.String(first[0].Value), first)
}

func withValue(fs []*analyzers.Fact, value string) []*analyzers.Fact {
	return with(fs, value, func(f *analyzers.Fact) string { return f.Value })
}

// with returns the facts of which part is text.
func with(fs []*analyzers.Fact, text string, part func(*analyzers.Fact) string) []*analyzers.Fact {
	var some []*analyzers.Fact
	for _, f := range fs {
		if part(f) == text {
			some = append(some, f)
		}
	}
	return some
}

// distinct returns the values of fs, each once.
func distinct(fs []*analyzers.Fact) []string {
	return each(fs, func(f *analyzers.Fact) string { return f.Value })
}

// subjects returns the subjects of fs, each once.
func subjects(fs []*analyzers.Fact) []string {
	return each(fs, func(f *analyzers.Fact) string { return f.Subject })
}

func each(fs []*analyzers.Fact, part func(*analyzers.Fact) string) []string {
	var parts []string
	seen := map[string]bool{}
	for _, f := range fs {
		if p := part(f); !seen[p] {
			seen[p] = true
			parts = append(parts, p)
		}
	}
	return parts
}

// contradiction describes facts whose values differ, one of each value first.
func contradiction(q question, last []*analyzers.Fact) *Contradiction {
	c := &Contradiction{Fact: q.name, Subject: q.subject}
	seen := map[string]bool{}
	var sides []string
	var heads, rest []bundle.Evidence
	for _, f := range last {
		if seen[f.Value] {
			rest = append(rest, f.Evidence[0])
			continue
		}
		seen[f.Value] = true
		heads = append(heads, f.Evidence[0])
		if len(sides) < maxEvidence {
			sides = append(sides, fmt.Sprintf("%q in %s", bundle.Printable(f.Value), bundle.Printable(f.Artifact())))
		}
	}
	c.Evidence = unique(append(heads, rest...), maxEvidence)
	c.Text = strings.TrimSpace(q.name+" "+bundle.Printable(q.subject)) + ": " + strings.Join(sides, ", ")
	return c
}

// prove evaluates p. All parts are evaluated, also those that can no longer
// change the value: what was asked and what disagrees should not depend on the
// order in which a rule is written.
func (e *evaluation) prove(p *prop) (truth, support) {
	switch p.op {
	case opNot:
		t, s := e.prove(p.kids[0])
		return -t, s
	case opAnd:
		return e.combine(p, no)
	case opOr:
		return e.combine(p, yes)
	case opCond:
		return e.choose(p)
	case opAll:
		return e.quantify(p, no)
	case opExists:
		return e.quantify(p, yes)
	}
	v, s := e.run(p.leaf)
	switch v {
	case types.True:
		return yes, s
	case types.False:
		return no, s
	}
	return maybe, nil
}

// fold collects the values of parts of which a single one decides when it has
// the strong value: false for and, true for or.
type fold struct {
	strong  truth
	decided bool
	open    bool // a part is unknown
	strongs support
	weaks   support
}

func (f *fold) add(t truth, s support) {
	switch t {
	case f.strong:
		f.decided = true
		f.strongs = append(f.strongs, s...)
	case maybe:
		f.open = true
	default:
		f.weaks = append(f.weaks, s...)
	}
}

func (f *fold) result() (truth, support) {
	switch {
	case f.decided:
		return f.strong, f.strongs
	case f.open:
		return maybe, nil
	}
	return -f.strong, f.weaks
}

func (e *evaluation) combine(p *prop, strong truth) (truth, support) {
	f := &fold{strong: strong}
	for _, k := range p.kids {
		f.add(e.prove(k))
	}
	return f.result()
}

func (e *evaluation) choose(p *prop) (truth, support) {
	c, s := e.prove(p.kids[0])
	t1, s1 := e.prove(p.kids[1])
	t2, s2 := e.prove(p.kids[2])
	t, branch := t2, s2
	if c == yes {
		t, branch = t1, s1
	}
	if c == maybe || t == maybe {
		return maybe, nil
	}
	return t, append(slices.Clip(s), branch...)
}

// quantify evaluates all and exists: an and, or an or, over a list.
func (e *evaluation) quantify(p *prop, strong truth) (truth, support) {
	v, s := e.run(p.leaf)
	list, ok := v.(traits.Lister)
	if !ok {
		return maybe, nil
	}
	f := &fold{strong: strong}
	for it := list.Iterator(); it.HasNext() == types.True && e.err != errTooExpensive; {
		x := it.Next()
		e.bound = append(e.bound, binding{p.name, x})
		t, body := e.prove(p.kids[0])
		e.bound = e.bound[:len(e.bound)-1]
		f.add(t, append(behind(s, x), body...))
	}
	if e.err == errTooExpensive {
		return maybe, nil
	}
	return f.result()
}

// behind returns the part of s that states x: one element of a list of values
// or subjects.
func behind(s support, x ref.Val) support {
	text, ok := x.(types.String)
	if !ok {
		return slices.Clip(s)
	}
	var some support
	for _, u := range s {
		part := func(f *analyzers.Fact) string { return f.Value }
		if u.fn == fnNames {
			part = func(f *analyzers.Fact) string { return f.Subject }
		}
		if fs := with(u.facts, string(text), part); len(fs) > 0 {
			some = append(some, used{u.fn, fs})
		}
	}
	if some == nil {
		return slices.Clip(s)
	}
	return some
}

// run evaluates a leaf; the result is unknown after an error too.
func (e *evaluation) run(l *leaf) (ref.Val, support) {
	if e.steps--; e.steps < 0 || e.cost < 0 {
		e.err = errTooExpensive
		return unknown(), nil
	}
	e.answers = e.answers[:0]
	v, details, err := l.program.Eval(e)
	if details != nil && details.ActualCost() != nil {
		e.cost -= int64(*details.ActualCost())
	}
	if err != nil || v == nil {
		if e.err == nil {
			e.err = err
		}
		return unknown(), nil
	}
	var s support
	for _, a := range e.answers {
		if len(a.facts) > 0 {
			s = append(s, a.used)
		}
	}
	return v, s
}

// clause evaluates a clause's expressions; the error says why it could not.
func (e *evaluation) clause(c *Clause) (shows bool, s support, err error) {
	e.steps, e.err = maxClauseSteps, nil
	t, s := e.prove(c.when)
	if t == no && e.err != errTooExpensive {
		return false, nil, nil // whatever was wrong in a part, the others decided
	}
	if t != yes {
		return false, nil, e.err
	}
	if c.unless != nil {
		e.err = nil
		if t, _ := e.prove(c.unless); t != maybe {
			return t == no, s, nil
		}
		return true, s, e.err
	}
	return true, s, nil
}

// render evaluates a sentence, and leaves in said what it rests on. Unknown parts
// render as nothing.
func (e *evaluation) render(t *template) string {
	e.steps, e.err, e.sentence, e.said = maxClauseSteps, nil, true, nil
	defer func() { e.sentence = false }()
	texts := make([]string, len(t.parts))
	for i, p := range t.parts {
		if p.leaf == nil {
			texts[i] = p.text
			continue
		}
		v, _ := e.run(p.leaf)
		if s, ok := v.(types.String); ok {
			texts[i] = unstamped(bundle.Printable(string(s)))
		}
	}
	return sentence(texts)
}
