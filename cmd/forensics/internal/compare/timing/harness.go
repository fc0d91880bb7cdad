package timing

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/host/jsonspan"
)

var (
	// datetime.isoformat and logging, bare or in brackets.
	stampRe = regexp.MustCompile(`^\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?)([+-]\d\d:?\d\d|Z)?\]? `)
	// The patterns that a harness waits for from now on.
	awaitRe = regexp.MustCompile(`^(?:Awaiting patterns|Expecting): (.{1,500}) \(timeout ?=? ?\d+ ?s\)$`)
	// The pattern that came, as repr prints it.
	matchedRe = regexp.MustCompile(`^[Mm]atched(?: pattern| prompt)?:? ['"](.{1,500})['"]$`)
	// The end of a wait in vain.
	gaveUpRe = regexp.MustCompile(`^(?:pexpect reported (?:TIMEOUT|EOF)|(?:Unexpected )?(?:TIMEOUT|EOF) while|[Tt]imed out (?:after \d|waiting for|while a?waiting|awaiting))`)
	// A pattern that ends in a shell's prompt: "root@nixos:[^\\]]*\\]#", "PRE-NIXOS> ".
	promptRe = regexp.MustCompile(`[$#>][ ?$]*$`)
)

// harness takes what the first log of an observer waited for: the login prompt,
// then a shell's.
func (t *Times) harness(p *analyzers.Pass) {
	for _, tr := range console.From(p) {
		if tr.Artifact.Kind != bundle.Harness || t.mark(Harness, powerOn) != nil {
			continue
		}
		w := &waits{t: t}
		for i := range tr.Lines {
			w.line(tr, &tr.Lines[i])
		}
		w.end()
	}
}

// waits follows one log.
type waits struct {
	t     *Times
	start time.Time // of the wait for the login prompt, zero before it
	await string
	shell bool
	last  waited  // the last line with a stamp
	gave  *waited // where a wait ended in vain behind the last mark
}

// waited is a line with its time since the start.
type waited struct {
	at float64
	tr *console.Transcript
	l  *console.Line
}

func (w *waited) mark() Mark {
	return Mark{Clock: Harness, At: w.at, Evidence: []bundle.Evidence{w.tr.Evidence(w.l)}}
}

func (w *waits) line(tr *console.Transcript, l *console.Line) {
	at, body, ok := stamped(l.Text)
	if !ok || strings.HasPrefix(body, " ") {
		return // a body of several lines repeats its stamp, and may quote anything
	}
	if mayAwait(body) {
		if m := awaitRe.FindStringSubmatch(body); m != nil {
			w.await = m[1]
			if w.start.IsZero() && strings.Contains(w.await, "login:") {
				w.start = at
				w.mark(powerOn, at, tr.Evidence(l))
			}
		}
	}
	if w.start.IsZero() || !sane(at.Sub(w.start).Seconds()) {
		return
	}
	if mayMatch(body) {
		if m := matchedRe.FindStringSubmatch(body); m != nil {
			w.matched(m[1], at, tr.Evidence(l))
		}
	}
	w.last = waited{at.Sub(w.start).Seconds(), tr, l}
	if w.gave == nil && mayGiveUp(body) && gaveUpRe.MatchString(body) {
		gave := w.last
		w.gave = &gave
	}
}

// mayAwait, mayMatch and mayGiveUp report whether awaitRe, matchedRe and gaveUpRe
// may match s. Most lines are neither, and this is much cheaper to tell.
func mayAwait(s string) bool {
	return strings.HasPrefix(s, "Awaiting patterns: ") || strings.HasPrefix(s, "Expecting: ")
}

func mayMatch(s string) bool { return len(s) > 1 && s[1:min(len(s), 7)] == "atched" }

func mayGiveUp(s string) bool { return s != "" && strings.IndexByte("pUTEt", s[0]) >= 0 }

func (w *waits) matched(pattern string, at time.Time, ev bundle.Evidence) {
	switch {
	case strings.Contains(pattern, "login:"):
		w.mark("login-prompt", at, ev)
	case promptRe.MatchString(strings.ReplaceAll(pattern, `\`, "")):
		w.mark("shell", at, ev)
	}
}

// mark notes the first time that a stage was seen. A log whose clock went back
// tells nothing from there on.
func (w *waits) mark(stage string, at time.Time, ev bundle.Evidence) {
	seconds := at.Sub(w.start).Seconds()
	if w.t.mark(Harness, stage) != nil || w.shell || seconds < w.last.at {
		return
	}
	w.shell = stage == "shell"
	w.gave = nil
	w.t.Marks = append(w.t.Marks, Mark{Clock: Harness, Stage: stage, At: seconds, Evidence: []bundle.Evidence{ev}})
}

func (w *waits) end() {
	switch {
	case w.start.IsZero():
	case w.gave != nil:
		w.t.Ends = append(w.t.Ends, w.gave.mark())
	default:
		w.t.Ends = append(w.t.Ends, w.last.mark())
	}
}

// stamped reads the stamp that starts a line of a harness.
func stamped(text string) (time.Time, string, bool) {
	m := stampRe.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, "", false
	}
	s := strings.ReplaceAll(strings.Replace(m[1], " ", "T", 1), ",", ".")
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700"} {
		zone := m[2]
		if zone == "" {
			zone = "Z"
		}
		if at, err := time.Parse(layout, s+zone); err == nil {
			return at, text[len(m[0]):], true
		}
	}
	return time.Time{}, "", false
}

// maxDocument bounds a JSON artifact that may hold times: they hold one object,
// of some kilobytes.
const maxDocument = 1 << 20

// document is a JSON artifact.
type document struct {
	path   string
	data   []byte
	values []*jsonspan.Value
}

func (d *document) at(v *jsonspan.Value) bundle.Evidence {
	return bundle.Span(d.path, d.data, bundle.NewLineIndex(d.data), v.Start, v.End)
}

// documents reads the run's metadata. What breaks off, package qemu tells.
func documents(p *analyzers.Pass) []document {
	var ds []document
	for _, a := range p.Run.Of(bundle.Metadata) {
		if a.Size > maxDocument {
			continue
		}
		data, err := a.Bytes()
		if err != nil {
			continue
		}
		values, _ := jsonspan.Parse(data)
		ds = append(ds, document{a.Path, data, values})
	}
	return ds
}

// bootToRe is a duration that an observer wrote down: from the start of QEMU
// until a login prompt, or until ssh answered.
var bootToRe = regexp.MustCompile(`^boot_to_(login|ssh)_seconds$`)

func (t *Times) metadata(p *analyzers.Pass) {
	for _, d := range documents(p) {
		for _, v := range d.values {
			if ts := v.Get("timings"); ts != nil && t.mark(Metadata, powerOn) == nil {
				t.timings(&d, ts)
			}
		}
	}
}

func (t *Times) timings(d *document, ts *jsonspan.Value) {
	for _, m := range ts.Members {
		name := bootToRe.FindStringSubmatch(m.Name)
		seconds, err := strconv.ParseFloat(m.Value.Text, 64)
		if name == nil || err != nil || m.Value.Kind != jsonspan.Number || !sane(seconds) {
			continue
		}
		stage := name[1]
		if stage == "login" {
			stage = "login-prompt"
		}
		if t.mark(Metadata, powerOn) == nil {
			t.Marks = append(t.Marks, Mark{Clock: Metadata, Stage: powerOn, Evidence: []bundle.Evidence{d.at(ts)}})
		}
		if t.mark(Metadata, stage) == nil {
			t.Marks = append(t.Marks, Mark{Clock: Metadata, Stage: stage, At: seconds, Evidence: []bundle.Evidence{d.at(m.Value)}})
		}
	}
}
