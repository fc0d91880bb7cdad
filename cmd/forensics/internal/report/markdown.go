package report

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
)

// WriteMarkdown writes r as people attach it to an issue: GitHub's dialect,
// which the others read as well.
func WriteMarkdown(w io.Writer, r *Report, o Options) error {
	m := &markdown{quotes: maxQuotes}
	if o.Verbose {
		m.quotes = int(^uint(0) >> 1)
	}
	m.report(mapped(r, Clean))
	_, err := w.Write(m.b.Bytes())
	return err
}

type markdown struct {
	b      bytes.Buffer
	quotes int // pieces of evidence below a cause
}

// f writes a line. Its arguments are escaped already.
func (m *markdown) f(format string, args ...any) {
	fmt.Fprintf(&m.b, format+"\n", args...)
}

func (m *markdown) report(r *Report) {
	m.f("# Boot forensics")
	m.f("")
	if len(r.Runs) > 0 {
		m.summary(r.Runs)
	}
	for i := range r.Runs {
		m.run(&r.Runs[i])
	}
	for _, n := range r.Trouble {
		m.f("- **trouble**: %s", note(n))
	}
	for _, n := range r.Problems {
		m.f("- note: %s", note(n))
	}
}

func (m *markdown) summary(rs []Run) {
	m.f("| run | | time (UTC) | reached | pass | fail | unknown | cause |")
	m.f("| --- | --- | --- | --- | ---: | ---: | ---: | --- |")
	for i := range rs {
		r := &rs[i]
		n, cause := r.count(), "no condition failed"
		switch {
		case len(r.Causes) > 0:
			cause = cellCode(r.Causes[0].Condition) + " — " + cell(r.Causes[0].Because)
		case len(r.Observer) > 0:
			cause = "observer: " + cellCode(r.Observer[0].Condition)
		case n[Fail] > 0:
			cause = "not known"
		}
		word, at := seen(r.Started, r.StartedFrom)
		m.f("| %s | %s | %s | %s | %d | %d | %d | %s |", cellCode(r.ID), word, at, cell(r.Stage), n[Pass], n[Fail], n[Unknown], cause)
	}
	m.f("")
}

func (m *markdown) run(r *Run) {
	m.f("## %s", code(r.ID))
	m.f("")
	m.f("%s, %s, reached %s. %s.", code(r.Path), r.started(), prose(r.Stage), r.summary())
	m.f("")
	for i := range r.Causes {
		m.cause(r, &r.Causes[i])
	}
	if len(r.Causes) == 0 {
		m.f("**No cause**: %s.", r.withoutCause())
		m.f("")
	}
	for i := range r.Observer {
		c := &r.Observer[i]
		m.f("**Observer: %s** — %s", code(c.Condition), prose(c.Because))
		m.f("")
		m.evidence(c.Evidence, m.quotes)
	}
	for i := range r.Contradictions {
		c := &r.Contradictions[i]
		m.f("**Conflict: %s** — %s", code(strings.TrimSpace(c.Fact+" "+c.Subject)), prose(c.Text))
		m.f("")
		m.evidence(c.Evidence, max(2, m.quotes))
	}
	m.notes(r)
	m.verdicts(r)
	m.unknowns(r)
	m.artifacts(r)
}

func (m *markdown) cause(r *Run, c *Cause) {
	m.f("**Cause: %s** — %s", code(c.Condition), prose(c.Because))
	m.f("")
	m.evidence(c.Evidence, m.quotes)
	if len(c.Explains) > 0 {
		m.f("- explains %s", codes(c.Explains))
	}
	if v := r.verdict(c.Condition); v != nil && v.Remedy != "" {
		m.f("- remedy: %s", prose(v.Remedy))
	}
	if len(c.Unproven) > 0 {
		m.f("- could lie earlier (unknown): %s", codes(c.Unproven))
	}
	m.f("")
}

// evidence writes a list of quotes; an empty line would end what follows.
func (m *markdown) evidence(ev []bundle.Evidence, n int) {
	for _, e := range ev[:min(n, len(ev))] {
		m.f("- %s: %s", code(at(e)), code(e.Quote))
	}
	if len(ev) > n {
		m.f("- and %d more", len(ev)-n)
	}
	if len(ev) > 0 {
		m.f("")
	}
}

func (m *markdown) notes(r *Run) {
	n := m.b.Len()
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Status == Pass && len(v.Despite) > 0 {
			m.f("- in spite of a failed need: %s passed although %s failed", code(v.Condition), codes(v.Despite))
		}
	}
	for _, p := range r.Problems {
		m.f("- note: %s", note(p))
	}
	if m.b.Len() > n {
		m.f("")
	}
}

func note(n bundle.Problem) string {
	if n.Path == "" {
		return prose(n.Text)
	}
	return code(n.Path) + ": " + prose(n.Text)
}

func (m *markdown) verdicts(r *Run) {
	m.open(fmt.Sprintf("All %d conditions", len(r.Verdicts)))
	m.f("| status | condition | because | evidence |")
	m.f("| --- | --- | --- | --- |")
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		where, status := "", v.word()
		if len(v.Evidence) > 0 {
			where = cellCode(at(v.Evidence[0]))
		}
		switch {
		case v.Conflict:
			status = "unknown (conflict)"
		case v.Status == Fail:
			status = "**fail**"
		}
		m.f("| %s | %s | %s | %s |", status, cellCode(v.Condition), cell(v.Because), where)
	}
	m.shut()
}

func (m *markdown) unknowns(r *Run) {
	if r.count()[Unknown] == 0 {
		return
	}
	m.open("What would decide the unknowns")
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Status != Unknown {
			continue
		}
		m.f("- %s: %s", code(v.Condition), prose(v.Title))
		for _, n := range v.Needed {
			m.f("  - %s", prose(n))
		}
	}
	m.shut()
}

func (m *markdown) artifacts(r *Run) {
	if len(r.Artifacts) == 0 {
		return
	}
	m.open("Artifacts")
	m.f("| artifact | kind | bytes | SHA-256 | not read because |")
	m.f("| --- | --- | ---: | --- | --- |")
	for i := range r.Artifacts {
		a := &r.Artifacts[i]
		m.f("| %s | %s | %s | %s | %s |", cellCode(a.Path), cell(a.Kind), strconv.FormatInt(a.Size, 10), cellCode(a.SHA256), a.unread())
	}
	m.shut()
}

func (m *markdown) open(summary string) {
	m.f("<details><summary>%s</summary>", summary)
	m.f("")
}

func (m *markdown) shut() {
	m.f("")
	m.f("</details>")
	m.f("")
}

// code returns s as a code span: nothing in it has a meaning, no name is
// notified and no issue closed.
func code(s string) string {
	if s == "" {
		return ""
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

func codes(ss []string) string {
	cs := make([]string, len(ss))
	for i, s := range ss {
		cs[i] = code(s)
	}
	return strings.Join(cs, ", ")
}

// cellCode is code within a table, where a pipe ends even a code span. Numeric
// references do not work in code spans, so such text goes into an element.
func cellCode(s string) string {
	if !strings.ContainsAny(s, "|\\") {
		return code(s)
	}
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 && strings.ContainsRune("|\\`*_<>&[]#~!$@{}()+-.:\"'", r) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return "<code>" + b.String() + "</code>"
}

// loudRe finds what a forge acts on in prose, even behind a backslash:
// @mentions, references to issues and other things (#1, !1, GH-1, owner/repo#1,
// owner/repo@sha), addresses.
var loudRe = regexp.MustCompile(`(?i)[@#!$%~^&][\w"({]|\bGH-\d|://|\bwww\.|^:\w+:$`)

// prose escapes s for running text. Words that a forge acts on become code
// spans, and with them a reference that "fixes" or "closes" speaks of.
func prose(s string) string {
	return words(s, code)
}

// cell is prose within a table.
func cell(s string) string {
	return words(s, cellCode)
}

func words(s string, code func(string) string) string {
	var b strings.Builder
	at := 0
	for _, q := range quotedRe.FindAllStringIndex(s, -1) {
		b.WriteString(loud(s[at:q[0]], code))
		b.WriteString(code(s[q[0]+1 : q[1]-1]))
		at = q[1]
	}
	b.WriteString(loud(s[at:], code))
	s = strings.TrimSpace(b.String())
	// A list item, a quote or a heading begins at the start of a line.
	return startRe.ReplaceAllString(s, `$1\$2`)
}

// quotedRe is text in backquotes: a code span already.
var quotedRe = regexp.MustCompile("`[^`]+`")

// loud escapes words and makes those that a forge acts on code spans; space
// at the ends of s is kept.
func loud(s string, code func(string) string) string {
	ws := strings.Fields(s)
	if len(ws) == 0 {
		return strings.Repeat(" ", min(len(s), 1))
	}
	before, after := "", ""
	if s[0] == ' ' {
		before = " "
	}
	if s[len(s)-1] == ' ' {
		after = " "
	}
	for i, w := range ws {
		if loudRe.MatchString(w) {
			ws[i] = code(w)
		} else {
			ws[i] = escape(w)
		}
	}
	return before + strings.Join(ws, " ") + after
}

// startRe finds what opens a list or underlines a heading at the start of a
// line: "- ", "+ ", "===", "1. ".
var startRe = regexp.MustCompile(`^(\d{0,9})([-+=]|[.)](?: |$))`)

var escapes = strings.NewReplacer(
	`\`, `\\`, "|", "&#124;", "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "~", `\~`, "$", `\$`,
)

func escape(s string) string { return escapes.Replace(s) }
