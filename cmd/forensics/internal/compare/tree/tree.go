// Package tree says what differs between the boot images of two runs, file by
// file.
//
// # Nouns
//
// A volume is a listing of files: that of an image, or of what lies in one of
// its files (squashfs, initrd, FAT, archive). It comes from the image itself, or
// from the record that a captured bundle keeps of it: iso/tree.jsonl, with the
// texts under iso/files. A file is an entry of it. Its key is its path with the
// hashes of nix's store masked, since the same package has another hash as soon
// as anything that it was built with differs. A pair is what two volumes have
// under one key. A finding is a pair that differs, and becomes a change.
//
// # Invariants
//
//   - Exchanging the runs exchanges the sides of all changes, and nothing else
//     but the sentences.
//   - What is no difference: dates, order, owners, volume labels, compression,
//     the sectors at which files lie. What differs in store hashes only is
//     harmless.
//   - A file that holds files is reported by those that differ in it; where they
//     cannot be told, as itself. A directory that one side lacks is one change.
//   - An image of gigabytes is not read in full: files of another size differ,
//     those of the same size are compared within the limits of this package, and
//     a note counts what was not compared. Nothing is said to be missing from a
//     volume that could not be read in full.
//   - Memory follows the number of files; contents are held one pair at a time.
//
// Left out: files renamed, and large packages of another version, are removed and
// added; owners; the boot image of an EFI partition that is no
// file of the image.
package tree

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/bundle/archive"
	"forensics/cmd/forensics/internal/report"
)

// Kind is that of all changes that Compare returns.
const Kind = "iso.file"

// Limits on one comparison.
const (
	// maxChanges are listed, the most telling first; a reader looks at ten.
	maxChanges = 300
	// maxHarmless of them differ in store hashes only.
	maxHarmless = 20
	// maxRead is how many bytes of both images together are compared: some
	// seconds, where they must be decompressed.
	maxRead = 512 << 20
	// maxPeek is how many are read to see what a file is that differs, and maxShow
	// to show how.
	maxPeek = 128 << 20
	maxShow = 128 << 20
	// maxVolumes is how many files of a side are tried for files in them, and
	// maxInitrds how many of them may be decompressed for it in full.
	maxVolumes = 64
	maxInitrds = 4
	// maxNesting: image, squashfs, initrd in it.
	maxNesting = 3
	// maxNotes bounds what is said about what could not be read, and maxUnread how
	// many files are named for it.
	maxNotes  = 20
	maxUnread = 3
)

// Compare returns what differs between the boot images of two runs, what may
// matter first: configurations of boot loaders, unit files and scripts, other
// texts, programs, the rest, each by path; what is harmless comes last. Feeds
// is left empty. The notes say what was not compared. Of the parameters,
// "overlays" names archives of the image whose files are laid over the root.
//
// A change's Subject is the path within the image, "isolinux/isolinux.cfg" or
// "nix-store.squashfs!/etc/fstab"; its From and To describe the file, as in
// "file 120 bytes sha256:0123456789ab…", "link to ../fstab", or "directory with
// 3 files, 120 bytes".
func Compare(from, to *bundle.Run, params analyzers.Params) ([]report.Change, []string) {
	return newComparer(params).compare(from, to)
}

func newComparer(params analyzers.Params) *comparer {
	c := &comparer{overlays: params["overlays"], left: maxRead, peek: maxPeek, show: maxShow}
	c.sides[0] = side{name: report.SideFrom, run: "the first run", budget: newBudget(), volumes: maxVolumes, initrds: maxInitrds}
	c.sides[1] = side{name: report.SideTo, run: "the second run", budget: newBudget(), volumes: maxVolumes, initrds: maxInitrds}
	return c
}

func (c *comparer) compare(from, to *bundle.Run) ([]report.Change, []string) {
	var tops [2]*volume
	for i, run := range []*bundle.Run{from, to} {
		var done func()
		tops[i], done = c.open(&c.sides[i], run)
		defer done()
	}
	switch {
	case tops[0] == nil && tops[1] == nil:
		return nil, c.notes
	case tops[0] == nil || tops[1] == nil:
		i := 0
		if tops[0] != nil {
			i = 1
		}
		c.note("%s has neither a boot image nor the record of one that can be read: their files are not compared", c.sides[i].run)
		return nil, c.notes
	}
	c.volumes(tops, "", 0)
	return c.changes(), c.told()
}

// newBudget is what the archives in one image may cost: they hold configuration.
func newBudget() *archive.Budget { return &archive.Budget{Memory: 64 << 20, Work: 512 << 20} }

// comparer compares two images.
type comparer struct {
	sides    [2]side
	overlays []string
	held     [2]bytes.Buffer

	// Bytes that may yet be read.
	left, peek, show int64

	found   []*finding
	hashes  []*pair // store paths that only have another hash
	skipped skipped
	notes   []string
	diffs   int // bytes of all diffs
}

// side is one of the two runs.
type side struct {
	name    string // as report.SideEvidence has it
	run     string // as notes have it
	budget  *archive.Budget
	volumes int // that may yet be opened
	initrds int
}

// skipped counts what was not compared.
type skipped struct {
	files, bytes int64 // of equal size, beyond the limit
	blind        int64 // of equal size, of which a record has neither bytes nor digest
	lost         int64 // that one side may have where its listing has gaps
	parts        int64 // of equal size, compared in parts
	unread       int64 // of equal size, that could not be read
}

func (c *comparer) note(format string, args ...any) {
	if text := bundle.Printable(fmt.Sprintf(format, args...)); len(c.notes) < maxNotes && !slices.Contains(c.notes, text) {
		c.notes = append(c.notes, text)
	}
}

// told returns all notes.
func (c *comparer) told() []string {
	s := c.skipped
	if s.files > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s of equal size (%d bytes) not compared: only %d bytes of the images are read", count(s.files, "file"), s.bytes, int64(maxRead)))
	}
	if s.blind > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s of equal size not compared: the record of the image has neither their bytes nor their digest", count(s.blind, "file")))
	}
	if s.parts > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s of equal size compared in parts: of each, %d bytes are read", count(s.parts, "file"), int64(maxWhole)))
	}
	if s.unread > maxUnread {
		c.notes = append(c.notes, fmt.Sprintf("%s could not be read, those named here among them", count(s.unread, "file")))
	}
	if s.lost > 0 {
		c.notes = append(c.notes, fmt.Sprintf("%s that one image has not reported: the other was not read in full", count(s.lost, "file")))
	}
	return c.notes
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// pair is what two volumes have under one key; a side that has nothing is nil.
type pair struct {
	key   string
	in    string // the volume's path in the image, "" for the image
	file  [2]*file
	vol   [2]*volume
	depth int
}

// both reports whether both sides have the file.
func (p *pair) both() bool { return p.file[0] != nil && p.file[1] != nil }

// subject is the pair's path in the image: the same for both sides.
func (p *pair) subject() string { return p.in + p.name() }

func (p *pair) name() string {
	switch a, b := p.file[0], p.file[1]; {
	case a == nil:
		return b.name
	case b == nil || a.name == b.name:
		return a.name
	default:
		return shownKey(p.key)
	}
}

// volumes compares two volumes, whose files' paths in the image begin with in,
// and reports whether all that they hold was compared.
func (c *comparer) volumes(vs [2]*volume, in string, depth int) (whole bool) {
	j := join(vs, in, depth)
	c.hashes = append(c.hashes, j.renamed...)
	whole = !vs[0].partial && !vs[1].partial
	c.absent(j)
	for _, p := range c.order(j.pairs) {
		whole = c.pair(p) && whole
	}
	return whole
}

// pair compares what both sides have, and reports whether that could be done.
func (c *comparer) pair(p *pair) bool {
	a, b := p.file[0], p.file[1]
	switch {
	case a.kind != b.kind:
		c.find(p, finding{is: differs})
	case a.kind == link && a.link != b.link:
		is := differs
		if masked(a.link) == masked(b.link) {
			is = hashes
		}
		c.find(p, finding{is: is})
	case a.kind == regular:
		return c.regular(p)
	}
	return true
}

// regular compares two regular files.
func (c *comparer) regular(p *pair) bool {
	known := p.file[0].known & p.file[1].known
	modes := p.file[0].mode&known != p.file[1].mode&known
	d := c.contents(p)
	// What is too large to be compared as it is may hold files that are not.
	if (d.is == differs || d.is == unknown && p.file[0].size > maxWhole) && c.within(p) {
		d.is = same
	}
	switch {
	case d.is != same && d.is != unknown || modes:
		c.find(p, finding{is: d.is, modes: modes, at: d.at, sealed: d.is == differs && sealed(p)})
	case d.is == unknown:
		return false
	}
	return true
}

// sealed reports whether a pair are archives that a record has no bytes of.
func sealed(p *pair) bool {
	for i, v := range p.vol {
		if !v.has(p.file[i]) && archiveName.MatchString(p.file[i].name) {
			return true
		}
	}
	return false
}

// within compares what two files of different content hold, and reports whether
// that says all about them.
func (c *comparer) within(p *pair) bool {
	if p.depth >= maxNesting {
		return false
	}
	var vs [2]*volume
	for i := range vs {
		vs[i] = c.volume(&c.sides[i], p.vol[i], p.file[i], p.depth)
	}
	if vs[0] == nil || vs[1] == nil {
		return false
	}
	before := len(c.found) + len(c.hashes)
	whole := c.volumes(vs, p.subject()+"!/", p.depth+1)
	return whole || len(c.found)+len(c.hashes) > before
}

// absent finds what only one side has: each directory once.
func (c *comparer) absent(j *joined) {
	groups := map[string]*finding{}
	var keys []string
	for i := range 2 {
		for _, f := range j.only[i] {
			if j.vol[1-i].partial {
				if f.kind == regular {
					c.skipped.lost++
				}
				continue
			}
			top, ok := j.top(f.key, 1-i)
			if !ok {
				continue // the change of a kind says it
			}
			g := groups[top]
			if g == nil {
				p := &pair{key: top, in: j.in, depth: j.depth, vol: j.vol}
				p.file[i] = j.files[i][top]
				g = &finding{pair: p, rank: last, is: differs}
				groups[top] = g
				keys = append(keys, top)
			}
			g.add(f, c.overlay(j.in+f.name))
		}
	}
	slices.Sort(keys) // what is read must not depend on the order of the sides
	for _, key := range keys {
		c.add(groups[key])
	}
}

// add takes up what one side lacks.
func (c *comparer) add(g *finding) {
	i := 0
	if g.file[0] == nil {
		i = 1
	}
	if g.file[i].kind == directory && g.files != 1 {
		c.found = append(c.found, g)
		return
	}
	if g.first != nil {
		g.file[i], g.key = g.first, g.first.key
	}
	c.find(g.pair, *g)
}

// add counts a file of what one side lacks.
func (g *finding) add(f *file, overlay bool) {
	if f.kind == directory {
		return
	}
	if g.files++; g.first == nil {
		g.first = f
	}
	g.bytes += f.size
	g.rank = min(g.rank, rankOf(g.in+f.name, f, overlay))
}

// finding is a pair that differs.
type finding struct {
	*pair
	rank  rank
	is    outcome // of the contents, or of the targets of links
	modes bool    // permissions differ
	at    int64   // first byte that differs, -1 where that is not known
	// An archive of which a record has the digest only: perhaps its dates differ.
	sealed bool
	alike  int // other sealed ones that it stands for

	// Of a directory that one side lacks: the files in it, and one of them.
	files, bytes int64
	first        *file
}

// harmless reports whether the difference says nothing about the guest.
func (f *finding) harmless() bool { return !f.modes && (f.is == hashes || f.is == placed) }

func (c *comparer) find(p *pair, f finding) {
	f.pair = p
	f.rank = c.rank(p)
	c.found = append(c.found, &f)
}

// rank ranks a pair by its names, and where these do not say what it is, by the
// first bytes.
func (c *comparer) rank(p *pair) rank {
	r := last
	peek := false
	for _, f := range p.file {
		if f != nil {
			r = min(r, rankOf(p.in+f.name, f, c.overlay(p.in+f.name)))
			peek = peek || f.kind == regular && f.size > 0
		}
	}
	if r <= unitsAndScripts || !peek || !p.take(2*peekCost, &c.peek) {
		return r
	}
	seen := last
	for i, f := range p.file {
		if f != nil && f.kind == regular && f.size > 0 {
			head := p.vol[i].head(f)
			if len(head) == 0 {
				return r
			}
			seen = min(seen, rankBy(head))
		}
	}
	return seen
}

// overlay reports whether the file at a path of the image is, or lies in, an
// archive that is laid over the guest's root.
func (c *comparer) overlay(name string) bool {
	name, _, _ = strings.Cut(name, "!/")
	return slices.ContainsFunc(c.overlays, func(o string) bool { return path.Clean("/"+o) == "/"+name })
}
