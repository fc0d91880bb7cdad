package iso

import (
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/units/unitfile"
)

// program is the text of what a unit runs: its scripts, the package that they
// are in, and the configuration in /etc that bears the unit's name.
type program struct {
	// known: all of it is text and was read, so that what it does not mention
	// it does not call by name.
	known bool
	texts []*text
	bytes int
	met   map[string]bool
}

// Bounds on a program: it is a set of scripts.
const (
	maxPrograms    = 8 // packages
	maxProgramFile = 1 << 20
	maxProgramAll  = 16 << 20
	maxProgramWalk = 4000 // files
)

// program reads what the unit runs. A script leads to other packages when it
// names them and they bear the unit's name, as wrappers do.
func (s *promiser) program(u *unitfile.Unit) *program {
	p := &program{known: s.whole, met: map[string]bool{}}
	stem := strings.TrimSuffix(u.Name, path.Ext(u.Name))
	var queue []string
	for _, o := range []string{"ExecStartPre", "ExecStart", "ExecStartPost", "ExecStopPost"} {
		for _, a := range u.All("Service", o) {
			cs, err := unitfile.Commands(a.Value)
			p.known = p.known && err == nil
			for _, c := range cs {
				queue = append(queue, strings.TrimPrefix(path.Clean("/"+c.Path), "/"))
			}
		}
	}
	p.known = p.known && len(queue) > 0
	p.walk(s.root, path.Join("etc", stem))
	for n := 0; n < len(queue) && n < maxPrograms; n++ {
		at := len(p.texts)
		p.take(s.root, queue[n])
		for _, t := range p.texts[at:] {
			for _, m := range storeRef.FindAllSubmatch(t.data, -1) {
				if pkg := string(m[1]); strings.Contains(pkg[33:], stem) && !slices.ContainsFunc(queue, func(q string) bool { return strings.HasPrefix(q, storeDir+"/"+pkg) }) {
					queue = append(queue, storeDir+"/"+pkg)
				}
			}
		}
	}
	p.known = p.known && len(queue) <= maxPrograms
	return p
}

// storeRef is a package of nix's store, named in a text.
var storeRef = regexp.MustCompile(`/nix/store/([0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+)`)

// take reads a program: the package it is in, or the file alone.
func (p *program) take(r *root, name string) {
	if rest, ok := strings.CutPrefix(name, storeDir+"/"); ok {
		pkg, _, _ := strings.Cut(rest, "/")
		name = path.Join(storeDir, pkg)
	}
	real, err := r.resolve("stat", name, true)
	if err != nil {
		p.known = false
		return
	}
	if info, err := r.Stat(real); err != nil {
		p.known = false
	} else if info.IsDir() {
		p.walk(r, real)
	} else {
		p.add(r, real)
	}
}

// walk reads all files of a directory.
func (p *program) walk(r *root, dir string) {
	if _, err := r.Stat(dir); err != nil {
		return
	}
	n := 0
	err := fs.WalkDir(r, dir, func(name string, d fs.DirEntry, err error) error {
		if n++; err != nil || n > maxProgramWalk {
			p.known = false
			return fs.SkipAll
		}
		if d.Type().IsRegular() {
			p.add(r, name)
		}
		return nil
	})
	p.known = p.known && err == nil
}

// add reads one file. Compiled Python stands beside its source and says the
// same; any other binary makes the program unknown.
func (p *program) add(r *root, name string) {
	if p.met[name] || path.Ext(name) == ".pyc" {
		return
	}
	p.met[name] = true
	t, err := r.open(name, maxProgramFile)
	if err != nil || bytes.IndexByte(t.data, 0) >= 0 || p.bytes+len(t.data) > maxProgramAll {
		p.known = false
		return
	}
	p.bytes += len(t.data)
	p.texts = append(p.texts, t)
}

// mentions returns the first line that has the name as a word; a comment of a
// script calls nothing.
func (p *program) mentions(name string, comments bool) (bundle.Evidence, bool) {
	re, err := regexp.Compile(`(?m)^.*(?:^|[^\w.@-])` + regexp.QuoteMeta(name) + `(?:\.(?:service|socket))?(?:[^\w@-]|$).*$`)
	if err != nil || name == "" {
		return bundle.Evidence{}, false
	}
	for _, t := range p.texts {
		for _, loc := range re.FindAllIndex(t.data, maxMentions) {
			if comments || !bytes.HasPrefix(bytes.TrimSpace(t.data[loc[0]:loc[1]]), []byte("#")) {
				return t.span(loc[0], loc[1]), true
			}
		}
	}
	return bundle.Evidence{}, false
}

// maxMentions bounds the lines of a text that are looked at.
const maxMentions = 100
