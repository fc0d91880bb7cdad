package iso

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/iso/squashfs"
)

// started is what one kind of firmware starts: a default entry, and its whole
// command line.
type started struct {
	l    *loader
	e    *entry
	args string
}

// system is what the default entries start: kernel, initrd, and the root with
// the programs and units of the guest.
type system struct {
	*Image
	path     string // as evidence names the image
	params   analyzers.Params
	problem  func(path, text string)
	defaults []started

	root *root
	// toplevel is the system of a NixOS image: the store path that init= names;
	// "" for another image.
	toplevel string
	// whole: all of the root was read and it is the guest's, so that a file
	// that is not in it is not in the image.
	whole bool
	// plain: no file has another version that the guest may see instead.
	plain bool
}

// newSystem composes the root. Problems go to problem.
func newSystem(m *Image, at string, params analyzers.Params, ls []*loader, problem func(path, text string)) *system {
	s := &system{Image: m, path: at, params: params, problem: problem, root: &root{links: map[string]string{}}}
	for _, l := range ls {
		for _, n := range l.menus {
			if e := n.chosen; e != nil && !e.open && e.kernel != "" {
				s.defaults = append(s.defaults, started{l, e, join(e.args, n.extra)})
			}
		}
	}
	s.compose()
	return s
}

// Root returns the guest's file system as the image shows it before anything
// ran: its squashfs, what the profile's parameters say that stage 2 unpacks
// over it, and the links of a NixOS system. It is an fs.ReadDirFS, fs.StatFS
// and fs.ReadLinkFS; links are followed within it. An image without a squashfs
// that can be read has an empty one.
func (m *Image) Root(at string, params analyzers.Params, problem func(path, text string)) fs.FS {
	return newSystem(m, at, params, m.loaders(at), problem).root
}

// compose makes the root of the image's squashfs file systems and of the
// archives that the profile says stage 2 unpacks.
func (s *system) compose() {
	var lower []*layer
	whole := !s.Partial
	for _, f := range s.squashfs() {
		l := s.squash(f)
		if l == nil {
			whole = false
			continue
		}
		whole = whole && !l.partial
		lower = append(lower, l)
	}
	if len(lower) == 0 {
		return
	}
	upper, ok := s.overlays()
	s.root.layers = append(upper, lower...)
	s.plain = ok && len(lower) == 1
	s.nixos()
	s.settle()
	s.whole = whole && ok && s.complete()
}

// settle gives the files that an archive takes away the names that they have
// without links on the way.
func (s *system) settle() {
	for _, l := range s.root.layers {
		gone := l.gone
		l.gone = nil
		real := map[string]bool{}
		for name := range gone {
			real[name] = true
			if dir, err := s.root.resolve("stat", path.Dir(name), true); err == nil {
				real[path.Join(dir, path.Base(name))] = true
			}
		}
		l.gone = real
	}
}

// squash opens one squashfs as a layer. A store, whose top level holds nothing
// but packages, is mounted at nix/store.
func (s *system) squash(f *File) *layer {
	at := s.path + "!" + f.Path
	fsys, err := squashfs.Open(s.Reader(f), f.Size)
	if err != nil {
		s.problem(at, err.Error())
		return nil
	}
	l := &layer{FS: fsys, at: ".", path: at, partial: len(fsys.Problems) > 0}
	for _, text := range fsys.Problems {
		s.problem(at, text)
	}
	es, err := fs.ReadDir(fsys, ".")
	if err != nil {
		l.partial = true
		return l
	}
	packages := 0
	for _, e := range es {
		if storeName.MatchString(e.Name()) {
			packages++
		}
	}
	if packages > 0 && packages*10 >= len(es)*9 {
		l.at = storeDir
	}
	return l
}

// Bounds on archives that stage 2 unpacks: they hold configuration.
const (
	maxOverlays = 8
	maxOverlay  = 16 << 20
)

// overlays opens the archives that the profile names (parameter "overlays"), a
// later one above those before. An archive may hold a list of files that stage
// 2 deletes after unpacking: one absolute path a line, in a file whose name the
// profile gives (parameter "overlay-removals"). ok is false where one could not
// be read, and where the image has other archives at its top: what they change
// is not known.
func (s *system) overlays() (upper []*layer, ok bool) {
	ok = true
	names := s.params["overlays"]
	for _, f := range s.Files {
		if path.Dir(f.Path) == "/" && isArchive(f.Path) && !slices.Contains(names, f.Path) {
			ok = false
		}
	}
	for _, name := range names[:min(len(names), maxOverlays)] {
		f := s.Lookup(name)
		if f == nil {
			continue
		}
		at := s.path + "!" + f.Path
		if f.Size > maxOverlay || !s.Whole(f) {
			s.problem(at, "not read: too large, or cut off")
			return nil, false
		}
		fsys, err := unpack(s.Reader(f))
		if err != nil {
			s.problem(at, err.Error())
			return nil, false
		}
		l := &layer{FS: fsys, at: ".", path: at, gone: map[string]bool{}}
		s.removals(l)
		upper = append([]*layer{l}, upper...)
	}
	return upper, ok
}

func isArchive(name string) bool {
	for _, ext := range []string{".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst", ".cpio", ".cpio.gz", ".zip"} {
		if strings.HasSuffix(strings.ToLower(name), ext) {
			return true
		}
	}
	return false
}

func (s *system) removals(l *layer) {
	for _, name := range s.params["overlay-removals"] {
		data, err := fs.ReadFile(l.FS, strings.TrimPrefix(name, "/"))
		if err != nil || len(data) > maxList {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if p := path.Clean("/" + strings.TrimSpace(line))[1:]; p != "" {
				l.gone[p] = true
			}
		}
	}
}

// nixos finds the system that the default entries name with init=, and makes
// the links that its stage 2 makes (NixOS, stage-2-init.sh and the activation
// script of etc). Entries that name different systems name none.
func (s *system) nixos() {
	for _, d := range s.defaults {
		init := ""
		for _, word := range strings.Fields(d.args) {
			if v, ok := strings.CutPrefix(word, "init="); ok {
				init = v
			}
		}
		top := strings.TrimPrefix(path.Dir(path.Clean("/"+init)), "/")
		if s.toplevel != "" && top != s.toplevel {
			s.toplevel = ""
			return
		}
		if strings.HasPrefix(top, storeDir+"/") && s.is(top+"/init") {
			s.toplevel = top
		}
	}
	if s.toplevel == "" {
		return
	}
	s.root.links["run/current-system"] = "/" + s.toplevel
	s.root.links["run/booted-system"] = "/" + s.toplevel
	if _, err := s.root.Lstat("etc"); err != nil {
		s.root.links["etc"] = "/" + s.toplevel + "/etc"
	}
}

// is reports whether a file stands at name, links followed.
func (s *system) is(name string) bool {
	_, err := s.root.Stat(name)
	return err == nil
}

// complete reports whether the root is one that a guest could run from: it has
// systemd, where a NixOS system or any other has it.
func (s *system) complete() bool {
	if s.toplevel != "" && s.is(s.toplevel+"/sw") && s.is(s.toplevel+"/etc") {
		return true
	}
	return s.is("usr/lib/systemd/systemd") || s.is("lib/systemd/systemd")
}

// maxSquashfs bounds how many are read.
const maxSquashfs = 16

// minSquashfs is the size of the smallest: mksquashfs pads to 4 KiB.
const minSquashfs = 4096

// squashfs returns the files that begin with the superblock's magic.
func (m *Image) squashfs() []*File {
	var fs []*File
	for _, f := range m.Files {
		if !f.Mode.IsRegular() || f.Size < minSquashfs || len(fs) >= maxSquashfs {
			continue
		}
		magic := make([]byte, len(squashMagic))
		if m.read(magic, f.Extents[0].Start) == nil && string(magic) == squashMagic {
			fs = append(fs, f)
		}
	}
	return fs
}

// squashMagic is how a superblock begins (Linux, fs/squashfs/squashfs_fs.h).
const squashMagic = "hsqs"
