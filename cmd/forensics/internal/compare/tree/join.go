package tree

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// joined is two volumes, file by file.
type joined struct {
	vol     [2]*volume
	in      string
	depth   int
	files   [2]map[string]*file // by key
	pairs   []*pair             // what both have
	only    [2][]*file          // what one has, by key
	renamed []*pair             // store paths with another hash
}

// join sets the files of two volumes side by side, by their keys.
func join(vs [2]*volume, in string, depth int) *joined {
	j := &joined{vol: vs, in: in, depth: depth}
	var roots [2]map[string][]*storePath
	for i, v := range vs {
		roots[i] = storePaths(v.files)
	}
	ordinals, versions := pairRoots(roots), pairVersions(roots)
	for i, v := range vs {
		j.files[i] = make(map[string]*file, len(v.files))
		for _, f := range v.files {
			root := storeRoot(f.name)
			f.key = masked(f.name)
			if pkg := versions[i][root]; pkg != "" {
				f.key = pkg + anyVersion + f.key[len(masked(root)):]
			} else if n := ordinals[i][root]; n > 0 {
				f.key = fmt.Sprintf("%s\x00%d\x00%s", masked(root), n, f.key[len(masked(root)):])
			}
			if j.files[i][f.key] == nil {
				j.files[i][f.key] = f
			}
		}
	}
	for key, f := range j.files[0] {
		if g := j.files[1][key]; g != nil {
			p := &pair{key: key, in: in, file: [2]*file{f, g}, vol: vs, depth: depth}
			j.pairs = append(j.pairs, p)
			if f.name != g.name && storeRoot(f.name) == f.name {
				j.renamed = append(j.renamed, p)
			}
		} else {
			j.only[0] = append(j.only[0], f)
		}
	}
	for key, g := range j.files[1] {
		if j.files[0][key] == nil {
			j.only[1] = append(j.only[1], g)
		}
	}
	byKey := func(a, b *pair) int { return strings.Compare(a.key, b.key) }
	slices.SortFunc(j.pairs, byKey)
	slices.SortFunc(j.renamed, byKey)
	for _, fs := range j.only {
		slices.SortFunc(fs, func(a, b *file) int { return strings.Compare(a.key, b.key) })
	}
	return j
}

// Marks in keys: no name can have a NUL in it. An ordinal between two keeps apart
// store paths that only their hash tells apart.
const anyVersion = "\x00v\x00"

// shownKey is a key as people see it.
func shownKey(key string) string {
	key = strings.Replace(key, anyVersion, "-…", 1)
	if start, end := strings.IndexByte(key, 0), strings.LastIndexByte(key, 0); start >= 0 {
		key = key[:start] + key[end+1:]
	}
	return key
}

// top returns the uppermost directory on the way to key that side i lacks, key
// itself where it has them all; ok is false where it has a file in the way.
func (j *joined) top(key string, i int) (top string, ok bool) {
	for at := 0; ; {
		n := strings.IndexByte(key[at:], '/')
		if n < 0 {
			return key, true
		}
		dir := key[:at+n]
		at += n + 1
		if f := j.files[i][dir]; f != nil && f.kind != directory {
			return "", false
		} else if f == nil && j.files[1-i][dir] != nil {
			return dir, true
		}
	}
}

// hashLen is the length of the hash in the name of a store path.
const hashLen = 32

// isHash reports whether s starts with a hash of nix's store and a dash: digits
// of its base 32, which has no e, o, t, u.
func isHash[T string | []byte](s T) bool {
	if len(s) <= hashLen || s[hashLen] != '-' {
		return false
	}
	for i := range hashLen {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
		case c >= 'a' && c <= 'z' && c != 'e' && c != 'o' && c != 't' && c != 'u':
		default:
			return false
		}
	}
	return true
}

// masked returns a path without the hashes in it.
func masked(name string) string {
	for at := 0; ; {
		if isHash(name[at:]) {
			name = name[:at] + "…" + name[at+hashLen:]
		}
		n := strings.IndexByte(name[at:], '/')
		if n < 0 {
			return name
		}
		at += n + 1
	}
}

// storeRoot returns the path up to its first element with a hash, "" where it
// has none.
func storeRoot(name string) string {
	for at := 0; ; {
		n := strings.IndexByte(name[at:], '/')
		switch hash := isHash(name[at:]); {
		case hash && n < 0:
			return name
		case hash:
			return name[:at+n]
		case n < 0:
			return ""
		}
		at += n + 1
	}
}

// storePath is a package in nix's store, or what stands for one.
type storePath struct {
	name         string
	files, bytes int64
}

// like orders store paths by what is in them.
func (s *storePath) like(t *storePath) int {
	return cmp.Or(cmp.Compare(s.files, t.files), cmp.Compare(s.bytes, t.bytes))
}

// storePaths returns the store paths among the files, by their masked names.
func storePaths(files []*file) map[string][]*storePath {
	all := map[string]*storePath{}
	by := map[string][]*storePath{}
	for _, f := range files {
		root := storeRoot(f.name)
		if root == "" {
			continue
		}
		s := all[root]
		if s == nil {
			s = &storePath{name: root}
			all[root] = s
			by[masked(root)] = append(by[masked(root)], s)
		}
		s.files++
		s.bytes += f.size
	}
	return by
}

// pairRoots numbers the store paths of each side that share a masked name, such
// that equal numbers stand for each other: those of one hash, then those that
// hold as many files and bytes, then the others by their size. The first number
// is 0, so that what has no namesake is not in the result.
func pairRoots(roots [2]map[string][]*storePath) (ordinals [2]map[string]int) {
	ordinals = [2]map[string]int{{}, {}}
	for name, as := range roots[0] {
		bs := roots[1][name]
		if len(as) < 2 && len(bs) < 2 {
			continue
		}
		for _, s := range [][]*storePath{as, bs} {
			slices.SortFunc(s, func(a, b *storePath) int { return cmp.Or(a.like(b), strings.Compare(a.name, b.name)) })
		}
		n := 0
		match := func(same func(a, b *storePath) bool) {
			for _, a := range as {
				if _, ok := ordinals[0][a.name]; ok {
					continue
				}
				i := slices.IndexFunc(bs, func(b *storePath) bool {
					_, taken := ordinals[1][b.name]
					return !taken && same(a, b)
				})
				if i >= 0 {
					ordinals[0][a.name], ordinals[1][bs[i].name] = n, n
					n++
				}
			}
		}
		if len(as)*len(bs) <= maxNamesakes*maxNamesakes {
			match(func(a, b *storePath) bool { return path.Base(a.name) == path.Base(b.name) })
			match(func(a, b *storePath) bool { return a.like(b) == 0 })
			match(func(a, b *storePath) bool { return true })
		}
		for i, s := range [][]*storePath{as, bs} {
			for _, x := range s {
				if _, ok := ordinals[i][x.name]; !ok {
					ordinals[i][x.name] = n
					n++
				}
			}
		}
	}
	for name, bs := range roots[1] {
		if len(roots[0][name]) == 0 {
			for n, b := range bs {
				ordinals[1][b.name] = n
			}
		}
	}
	return ordinals
}

// maxInside is the largest package, in files, that is compared file by file with
// another version of it: of a larger one, all files differ.
const maxInside = 64

// pairVersions returns the name without version of the store paths that only one
// side has under their name, where each side has one of them.
func pairVersions(roots [2]map[string][]*storePath) (names [2]map[string]string) {
	var by [2]map[string][]*storePath
	for i := range roots {
		by[i] = map[string][]*storePath{}
		for name, s := range roots[i] {
			if pkg, ok := versionless(name); ok && len(roots[1-i][name]) == 0 {
				by[i][pkg] = append(by[i][pkg], s...)
			}
		}
	}
	names = [2]map[string]string{{}, {}}
	for pkg, as := range by[0] {
		bs := by[1][pkg]
		if len(as) == 1 && len(bs) == 1 && max(as[0].files, bs[0].files) <= maxInside {
			names[0][as[0].name], names[1][bs[0].name] = pkg, pkg
		}
	}
	return names
}

// versionless returns a masked store path without the version in its name, as
// nix splits names: at the first dash that no letter follows.
func versionless(name string) (string, bool) {
	at := strings.LastIndexByte(name, '/') + 1 + len("…-")
	for i := at; i+1 < len(name); i++ {
		if c := name[i+1]; name[i] == '-' && c >= '0' && c <= '9' {
			return name[:i], true
		}
	}
	return "", false
}

// maxNamesakes bounds the search among store paths that only their hash tells
// apart: nixpkgs calls some hundred of them "source".
const maxNamesakes = 500

// order returns the pairs in the order in which they are compared, for the limit
// on what is read: what matters goes first, large files last, and what has the
// same hash behind what has another. Within, it is by path, as the bytes lie.
func (c *comparer) order(ps []*pair) []*pair {
	type place struct {
		*pair
		large bool
		rank  rank
		same  bool
	}
	places := make([]place, len(ps))
	for i, p := range ps {
		x := place{pair: p, rank: last, same: p.file[0].name == p.file[1].name && storeRoot(p.file[0].name) != ""}
		for _, f := range p.file {
			x.large = x.large || f.size > maxHeld
			x.rank = min(x.rank, rankOf(p.in+f.name, f, c.overlay(p.in+f.name)))
		}
		places[i] = x
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(order(a.large, b.large), cmp.Compare(a.rank, b.rank), order(a.same, b.same))
	})
	out := make([]*pair, len(ps))
	for i, x := range places {
		out[i] = x.pair
	}
	return out
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
