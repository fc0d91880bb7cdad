package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"unicode"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/compare/textdiff"
	"forensics/cmd/forensics/internal/report"
)

// Limits on what is shown of a change.
const (
	maxText  = 256 << 10 // bytes of a text whose diff is shown
	maxDiff  = 200       // lines of a diff
	maxDiffs = 2 << 20   // bytes of all diffs
	maxHead  = 64        // bytes that show what a file is
	shortSum = 12        // digits of a digest
)

// changes returns what was found, in order.
func (c *comparer) changes() []report.Change {
	slices.SortFunc(c.found, byRank)
	var out []report.Change
	var more, harmless int64
	for _, f := range folded(c.found) {
		switch {
		case f.harmless():
			if harmless++; harmless > maxHarmless {
				continue
			}
		case len(out) >= maxChanges:
			more++
			continue
		}
		out = append(out, c.change(f))
	}
	if more > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s between the images: the first %d are listed", count(more, "more difference"), maxChanges))
	}
	if harmless > maxHarmless {
		c.notes = append(c.notes, fmt.Sprintf("%s: the first %d are listed", count(harmless, "harmless difference"), maxHarmless))
	}
	if len(c.hashes) > 0 {
		out = append(out, c.renamed())
	}
	return out
}

// folded leaves of the sealed archives in a directory the first, which stands for
// all: an image may have dozens, and nothing tells what changed in which.
func folded(found []*finding) []*finding {
	first := map[string]*finding{}
	var out []*finding
	for _, f := range found {
		if f.sealed && f.rank == last {
			dir := path.Dir(f.subject())
			if dir == "." {
				out = append(out, f) // few lie at the top of an image
				continue
			}
			if g := first[dir]; g != nil {
				g.alike++
				continue
			}
			first[dir] = f
		}
		out = append(out, f)
	}
	return out
}

// renamed is the change that counts store paths with another hash.
func (c *comparer) renamed() report.Change {
	p := c.hashes[0]
	what := count(int64(len(c.hashes)), "store path") + " with this hash"
	return report.Change{
		Kind: Kind, Subject: "nix/store", From: what, To: what, Harmless: true,
		Summary:  count(int64(len(c.hashes)), "store path") + " with another hash",
		Evidence: slices.Concat(c.evidence(0, p, nil, -1), c.evidence(1, p, nil, -1)),
	}
}

// change makes the change of a finding.
func (c *comparer) change(f *finding) report.Change {
	ch := report.Change{Kind: Kind, Subject: bundle.Printable(f.subject()), Harmless: f.harmless()}
	data := c.data(f.pair)
	ch.From, ch.To = c.describe(0, f, data[0]), c.describe(1, f, data[1])
	ch.Summary = f.summary(ch.Subject)
	if f.alike > 0 {
		ch.Subject = path.Dir(ch.Subject)
		ch.From = fmt.Sprintf("%d archives, of which the digests are recorded", f.alike+1)
		ch.To, ch.Summary = ch.From, fmt.Sprintf("%d archives in %s changed, or only their dates did", f.alike+1, ch.Subject)
	}
	at := [2]int64{f.at, f.at}
	if c.texts(f, data) {
		a, b := shown(data[0], data[1])
		if f.is == hashes || !f.both() {
			a, b = data[0], data[1]
		}
		ch.Diff = c.diff(f, a, b)
		at = lines(a, b, data)
	}
	for i := range f.file {
		ch.Evidence = append(ch.Evidence, c.evidence(i, f.pair, data[i], at[i])...)
	}
	return ch
}

// data returns what the files of a pair hold, nil where that is much, or cannot
// be read.
func (c *comparer) data(p *pair) (data [2][]byte) {
	var size int64
	for i, x := range p.file {
		if p.vol[i].holdable(x) {
			size += x.size
		}
	}
	if !p.take(size, &c.show) {
		return data
	}
	for i, x := range p.file {
		if !p.vol[i].holdable(x) {
			continue
		}
		var b bytes.Buffer
		if err := p.vol[i].read(x, &b); err == nil {
			data[i] = b.Bytes()
		}
	}
	return data
}

// holdable reports whether the bytes of a file, which may be nil, are at hand and
// may be held.
func (v *volume) holdable(f *file) bool {
	return f != nil && f.kind == regular && f.size <= maxHeld && v.has(f)
}

// texts reports whether the sides of a finding are texts, or nothing.
func (c *comparer) texts(f *finding, data [2][]byte) bool {
	some := false
	for i, x := range f.file {
		switch {
		case x == nil:
		case x.kind != regular || x.size > maxText || x.size > 0 && !isText(data[i]):
			return false
		default:
			some = some || x.size > 0
		}
	}
	return some && f.is != same
}

// diff returns the unified diff of two texts, safe to show.
func (c *comparer) diff(f *finding, a, b []byte) string {
	if c.diffs >= maxDiffs {
		c.note("the diffs of %d bytes are shown, those of the other texts not", maxDiffs)
		return ""
	}
	var names [2]string
	for i, x := range f.file {
		names[i] = "/dev/null"
		if x != nil {
			names[i] = f.vol[i].path(x.name)
		}
	}
	d := strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, textdiff.Unified(names[0], names[1], a, b, maxDiff))
	c.diffs += len(d)
	return d
}

// lines returns where the first line that differs begins in each of the texts
// that a and b show, -1 where there is none.
func lines(a, b []byte, data [2][]byte) [2]int64 {
	line := bytes.Count(a[:max(firstOther(a, b), 0)], []byte("\n"))
	at := [2]int64{-1, -1}
	for i, d := range data {
		if len(d) > 0 {
			at[i] = int64(lineStart(d, line))
		}
	}
	return at
}

// lineStart returns where the nth line of data begins, from 0, or its last one.
func lineStart(data []byte, n int) int {
	start := 0
	for ; n > 0; n-- {
		i := bytes.IndexByte(data[start:], '\n')
		if i < 0 || start+i+1 == len(data) {
			return start
		}
		start += i + 1
	}
	return start
}

// summary says what happened, in one clause.
func (f *finding) summary(subject string) string {
	a, b := f.file[0], f.file[1]
	switch {
	case a == nil || b == nil:
		verb, x := "added", b
		if x == nil {
			verb, x = "removed", a
		}
		if x.kind == directory {
			return fmt.Sprintf("%s %s, with %s", subject, verb, count(f.files, "file"))
		}
		return subject + " " + verb
	case a.kind != b.kind:
		return fmt.Sprintf("%s is %s now (%s before)", subject, b.kind, a.kind)
	case a.kind == link:
		return fmt.Sprintf("%s leads to %s now (%s before)", subject, bundle.Printable(b.link), bundle.Printable(a.link))
	case f.is == hashes:
		return subject + " changed in store hashes only"
	case f.is == placed:
		return subject + " changed, as it does when other files move"
	case f.is == same || f.is == unknown:
		return subject + " changed its permissions"
	}
	return subject + " changed"
}

func (k kind) String() string {
	return [...]string{"a device, pipe or socket", "a file", "a directory", "a link"}[k]
}

// describe says what one side has, "" for nothing.
func (c *comparer) describe(i int, f *finding, data []byte) string {
	x := f.file[i]
	if x == nil {
		return ""
	}
	switch x.kind {
	case link:
		return "link to " + bundle.Printable(x.link)
	case directory:
		if f.both() {
			return "directory"
		}
		return fmt.Sprintf("directory with %s, %s", count(f.files, "file"), count(f.bytes, "byte"))
	case other:
		return "device, pipe or socket"
	}
	text := "file " + count(x.size, "byte")
	sum := x.sum
	if sum == "" && (data != nil || x.size == 0) {
		h := sha256.Sum256(data)
		sum = hex.EncodeToString(h[:])
	}
	if sum != "" {
		text += " sha256:" + sum[:shortSum] + "…"
	}
	if f.modes {
		text += fmt.Sprintf(" mode %v", x.mode)
	}
	return text
}

// evidence shows the file of side i, by the byte at when that is known.
func (c *comparer) evidence(i int, p *pair, data []byte, at int64) []report.SideEvidence {
	f, v := p.file[i], p.vol[i]
	if f == nil {
		return []report.SideEvidence{{Side: c.sides[i].name, Absent: report.AbsentFrom, Evidence: v.mark}}
	}
	var ev bundle.Evidence
	ok := true
	switch {
	case v.rec != nil:
		ev = v.rec.evidence(v, f, data, at)
	case f.kind == directory:
		ev, ok = p.inside(i)
	default:
		ev, ok = v.shows(f, data, at)
	}
	if !ok {
		ev = v.mark // of what is empty, only the listing shows that it is there
	}
	return []report.SideEvidence{{Side: c.sides[i].name, Evidence: ev}}
}

// shows is evidence in a file or link of an image: the line or bytes at, or the
// start.
func (v *volume) shows(f *file, data []byte, at int64) (ev bundle.Evidence, ok bool) {
	name := v.path(f.name)
	if f.kind == link {
		data, at = []byte(f.link), 0
	}
	if data == nil && f.kind == regular {
		data, at = v.head(f), 0
	}
	if len(data) == 0 {
		return ev, false
	}
	return cut(name, data, at), true
}

// cut is evidence for the line of a text, or the bytes of anything else, at a
// place.
func cut(name string, data []byte, at int64) bundle.Evidence {
	at = min(max(at, 0), int64(len(data)-1))
	end := min(at+maxHead, int64(len(data)))
	if isText(data) {
		end = int64(len(data))
		if i := bytes.IndexByte(data[at:], '\n'); i > 0 {
			end = at + int64(i)
		}
	}
	return bundle.Span(name, data, bundle.NewLineIndex(data), at, end)
}

// evidence is that of a record: the text that it keeps, or the entry.
func (r *record) evidence(v *volume, f *file, data []byte, at int64) bundle.Evidence {
	if len(data) > 0 {
		return cut(bundle.CopiesDir+"/"+copied(v.full(f.name)), data, at)
	}
	return bundle.Span(recordPath, r.data, r.lines, f.line.start, f.line.end)
}

// inside is evidence that a directory of an image is there: what lies in it.
func (p *pair) inside(i int) (bundle.Evidence, bool) {
	dir := p.file[i].name + "/"
	for _, f := range p.vol[i].files {
		if strings.HasPrefix(f.name, dir) && (f.kind == link || f.kind == regular && f.size > 0) {
			return p.vol[i].shows(f, nil, 0)
		}
	}
	return bundle.Evidence{}, false
}

// head returns the first bytes of a file, nil where they cannot be read.
func (v *volume) head(f *file) []byte {
	if !v.has(f) {
		return nil
	}
	r, err := v.open(f)
	if err != nil {
		return nil
	}
	defer r.Close()
	data := make([]byte, min(maxHead, f.size))
	n, _ := io.ReadFull(r, data)
	return data[:n]
}
