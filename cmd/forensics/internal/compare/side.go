package compare

import (
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/iso"
	"forensics/analyzers/qemu"
	"forensics/cmd/forensics/internal/compare/message"
	"forensics/cmd/forensics/internal/compare/timing"
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

// Side is what is kept of one run to compare it: its report, what its rules
// asked for, and its items, messages and times. Of the artifacts only an image,
// or what was recorded of one, can be read again.
type Side struct {
	Report report.Run
	// read is false for a saved report: its verdicts and facts can be
	// compared, but no message, time or file.
	read      bool
	bundle    *bundle.Run
	params    analyzers.Params
	consulted map[string][]string // condition -> facts: name, or name and subject
	untried   map[string]bool     // conditions that fail since their step was not tried
	items     []item
	whole     map[string]bundle.Evidence // fact -> the command line that was taken apart
	facts     []span                     // where facts stand, for what else stands there
	messages  *message.Set
	times     *timing.Times
}

// span is where a fact stands.
type span struct {
	path       string
	start, end int64
	far        int64  // the furthest end of this span and those before it
	fact       string // name, or name and subject
}

// Read analyzes a run, judges it and keeps what a comparison needs.
func Read(run *bundle.Run, set *rules.Set, profile rules.Profile) *Side {
	s := &Side{read: true, bundle: images(run), params: profile.Params, consulted: map[string][]string{}, untried: map[string]bool{}}
	var launches []*qemu.Launch
	s.messages, s.times = &message.Set{}, &timing.Times{}
	reader := func(name string, requires []*analyzers.Analyzer, read func(*analyzers.Pass)) *analyzers.Analyzer {
		return &analyzers.Analyzer{Name: name, Doc: "Keeps what a comparison needs.", Requires: requires,
			Run: func(p *analyzers.Pass) (any, error) {
				read(p)
				return nil, nil
			}}
	}
	list := append(slices.Clip(all.List),
		reader("launches", []*analyzers.Analyzer{qemu.Analyzer}, func(p *analyzers.Pass) { launches = qemu.From(p) }),
		reader("messages", message.Requires, func(p *analyzers.Pass) { s.messages = message.Collect(p) }),
		reader("times", timing.Requires, func(p *analyzers.Pass) { s.times = timing.Collect(p) }))
	// The report tells the digests, which are taken while a processor is free.
	list = append(list, reader("digests", []*analyzers.Analyzer{console.Analyzer}, func(p *analyzers.Pass) {
		for _, t := range console.From(p) {
			t.Artifact.SHA256()
		}
	}))
	facts := analyzers.Analyze(run, list, profile.Params)
	outcome := set.Evaluate(facts, profile.Params)
	s.Report = report.Build(run, facts, outcome, profile.Name, false)
	s.keep(facts, outcome, chosen(launches, func(p string) bool {
		a := run.Artifact(p)
		return a != nil && a.Kind == bundle.Metadata
	}))
	if digest, ev := iso.Booted(run); digest != "" {
		s.items = append(s.items, item{key: key{"iso.image", "sha256"}, fact: "iso.image", values: []value{{masked: digest, shown: digest, ev: []bundle.Evidence{ev}}}})
	}
	return s
}

// keep keeps what rules asked for and what the facts say.
func (s *Side) keep(facts *analyzers.Facts, outcome *rules.Outcome, launch *qemu.Launch) {
	for i := range outcome.Verdicts {
		v := &outcome.Verdicts[i]
		s.consulted[v.Condition.ID] = v.Consulted
		s.untried[v.Condition.ID] = v.Untried
	}
	s.whole = map[string]bundle.Evidence{}
	for _, f := range inputs {
		if strings.HasPrefix(f, "qemu.") && launch != nil {
			s.whole[f] = launch.Evidence
		}
	}
	if held, _ := facts.Last("kernel.cmdline", ""); len(held) > 0 {
		s.whole["kernel.cmdline"] = held[0].Evidence[0]
	}
	s.items = append(launchItems(launch), parameterItems(facts)...)
	if held, conflict := facts.Last("nix.nar-hash", ""); len(held) > 0 && !conflict {
		s.items = append(s.items, item{key: key{"iso.image", "NAR hash"}, fact: "nix.nar-hash", values: []value{{masked: held[0].Value, shown: held[0].Value, ev: held[0].Evidence[:1]}}})
	}
	s.items = append(s.items, stageItem(facts, s.Report.Stage)...)
	s.items = append(s.items, probeItems(facts, message.Mask)...)
	s.items = append(s.items, factItems(facts, message.Mask)...)
	s.facts = spans(facts.All())
}

// spans are where facts stand.
func spans(facts []*analyzers.Fact) []span {
	n := 0
	for _, f := range facts {
		n += len(f.Evidence)
	}
	all := make([]span, 0, n)
	type name struct{ name, subject string }
	names := map[name]string{} // a run of many answers states the same fact again and again
	for _, f := range facts {
		fact, ok := names[name{f.Name, f.Subject}]
		if !ok {
			fact = factName(f.Name, f.Subject)
			names[name{f.Name, f.Subject}] = fact
		}
		for _, ev := range f.Evidence {
			all = append(all, span{path: ev.Path, start: ev.Start, end: ev.End, fact: fact})
		}
	}
	return all
}

// images is the run with nothing but its image, or what was recorded of one:
// all else was read, and takes memory.
func images(run *bundle.Run) *bundle.Run {
	kept := *run
	kept.Artifacts = nil
	for _, a := range run.Artifacts {
		if a.Kind == bundle.ISO || strings.HasPrefix(a.Path, "iso/") {
			kept.Artifacts = append(kept.Artifacts, a)
		}
	}
	return &kept
}

func factName(name, subject string) string {
	if subject == "" {
		return name
	}
	return name + " " + subject
}

// Saved is the side of a run that only a saved report tells of: its verdicts as
// they are, and the facts that the report kept.
func Saved(r report.Run, set *rules.Set, profile rules.Profile) *Side {
	s := &Side{Report: r, params: profile.Params, consulted: map[string][]string{}, untried: map[string]bool{}, messages: &message.Set{}, times: &timing.Times{}}
	facts := analyzers.NewFacts(analyzers.Types(all.List))
	var launches []*qemu.Launch
	metadata := map[string]bool{}
	for _, a := range r.Artifacts {
		metadata[a.Path] = a.Kind == string(bundle.Metadata)
	}
	for _, f := range r.Facts {
		fact := &analyzers.Fact{Name: f.Name, Subject: f.Subject, Value: f.Value, Evidence: f.Evidence}
		if facts.Add(fact) != nil {
			continue // of another version
		}
		if f.Name == "qemu.argv" {
			if l := qemu.NewLaunch(f.Value, f.Evidence[0]); l != nil {
				launches = append(launches, l)
			}
		}
	}
	isMetadata := func(p string) bool { return metadata[p] }
	s.keep(facts, set.Evaluate(facts, profile.Params), chosen(launches, isMetadata))
	return s
}

// verdict returns the run's verdict about a condition, unknown where its
// report, of another version, has none.
func (s *Side) verdict(id string) *report.Verdict {
	for i := range s.Report.Verdicts {
		if v := &s.Report.Verdicts[i]; v.Condition == id {
			return v
		}
	}
	return &report.Verdict{Condition: id, Status: report.Unknown}
}
