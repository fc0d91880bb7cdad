package iso

import (
	"path"
	"slices"
	"sort"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/iso/squashfs"
)

// promiser states what the default entries start.
type promiser struct {
	*system
	state func(name, subject, value string, ev ...bundle.Evidence)
	dirs  []binDir
}

func (s *promiser) all() {
	s.kernels()
	if len(s.root.layers) == 0 {
		return
	}
	s.parts()
	if s.plain {
		s.units()
	}
}

// binDirs are where commands are, beside the packages of nix's store.
var binDirs = []string{"run/wrappers/bin", "run/current-system/sw/bin", "usr/bin", "usr/sbin", "bin", "sbin", "usr/local/bin", "usr/local/sbin"}

// parts states which of the profile's parts the root holds: a part is there
// when one of its commands is.
func (s *promiser) parts() {
	parts := s.params.Map("parts")
	var names []string
	for part := range parts {
		names = append(names, part)
	}
	sort.Strings(names)
	for _, part := range names {
		if ev, ok := s.command(strings.Split(parts[part], "|")...); ok {
			s.state("iso.part", part, "present", ev)
		} else if s.whole {
			s.state("iso.part", part, "missing", s.magic()...)
			s.state("iso.lacks", "", part, s.magic()...)
		}
	}
}

// command finds the first of the commands that is there and leads to a file.
func (s *promiser) command(commands ...string) (bundle.Evidence, bool) {
	for _, c := range commands {
		for _, d := range s.bins() {
			if !d.names[c] {
				continue
			}
			if info, err := s.root.Stat(path.Join(d.name, c)); err != nil || !info.Mode().IsRegular() {
				continue
			}
			if ev, ok := s.root.head(path.Join(d.name, c)); ok {
				return ev, true
			}
		}
	}
	return bundle.Evidence{}, false
}

// binDir is a directory of commands.
type binDir struct {
	name  string
	names map[string]bool
}

// bins returns the root's directories of commands, read once.
func (s *promiser) bins() []binDir {
	if s.dirs != nil {
		return s.dirs
	}
	names := slices.Clone(binDirs)
	for _, p := range s.root.store() {
		names = append(names, path.Join(storeDir, p, "bin"), path.Join(storeDir, p, "sbin"))
	}
	for _, n := range names {
		d := binDir{n, map[string]bool{}}
		es, _ := s.root.ReadDir(n)
		for _, e := range es {
			d.names[e.Name()] = true
		}
		s.dirs = append(s.dirs, d)
	}
	return s.dirs
}

// magic is the evidence that something is not in the root: the file systems
// that were listed to their end.
func (s *promiser) magic() []bundle.Evidence {
	var evs []bundle.Evidence
	for _, l := range s.root.layers {
		if _, ok := l.FS.(*squashfs.FS); ok {
			evs = append(evs, bundle.Evidence{Path: l.path, Line: 1, End: int64(len(squashMagic)), Quote: squashMagic})
		}
	}
	return evs
}
