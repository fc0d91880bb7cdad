package iso

import (
	"bytes"
	"encoding/binary"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/iso/initrd"
)

// Offsets of the setup header of a bzImage (Linux,
// Documentation/arch/x86/boot.rst).
const (
	setupMagic   = 0x202 // "HdrS"
	setupVersion = 0x20E // where the version's text is, less 0x200
	maxSetup     = 64 << 10
	maxRelease   = 256
)

// kernelVersion returns the release in a bzImage's version string, with its
// span in the file; ok is false for what is no bzImage.
func kernelVersion(r io.ReaderAt, name string) (release string, ev bundle.Evidence, ok bool) {
	head := make([]byte, maxSetup)
	n, _ := r.ReadAt(head, 0)
	head = head[:n]
	if n < setupVersion+2 || string(head[setupMagic:setupMagic+4]) != "HdrS" {
		return "", ev, false
	}
	at := int(binary.LittleEndian.Uint16(head[setupVersion:])) + 0x200
	if at == 0x200 || at >= n {
		return "", ev, false
	}
	text, _, _ := bytes.Cut(head[at:min(n, at+maxRelease)], []byte{0})
	release, _, _ = strings.Cut(string(text), " ")
	if !releaseRe.MatchString(release) {
		return "", ev, false
	}
	return release, bundle.Span(name, head, bundle.NewLineIndex(head), int64(at), int64(at+len(text))), true
}

// A kernel's release, as uname -r prints it.
var releaseRe = regexp.MustCompile(`^\d+\.\d+[-+.~\w]*$`)

// drivers are the modules without which a guest does not come up, or sees no
// disk, network or randomness of QEMU's.
var drivers = []string{"virtio_blk", "virtio_net", "virtio_rng", "virtio_pci", "squashfs", "isofs", "overlay", "loop", "sr_mod"}

// moduleRe is the name of a module's file.
var moduleRe = regexp.MustCompile(`^([^/]+)\.ko(?:\.gz|\.xz|\.zst)?$`)

// underscored writes a module's name as the kernel knows it: file names may
// have dashes for underscores (modprobe(8)).
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// kernels states what the default entries' kernels and initrds hold.
func (s *promiser) kernels() {
	met := map[string]bool{}
	for _, d := range s.defaults {
		f, ok := s.named(d.l, s.path, d.e.kernAt.file.dir, d.e.kernel)
		if !ok {
			continue
		}
		release, ev, ok := kernelVersion(f.Reader(f.File), f.at)
		if !ok || met[release] {
			continue
		}
		met[release] = true
		s.state("iso.kernel-version", "", release, ev)
		s.modules(release, d)
	}
}

// found is where a module was met.
type found struct {
	value string
	ev    bundle.Evidence
}

// modules are the drivers met, and the lists of what a kernel has built in.
type modules struct {
	release string
	met     map[string]found
	lists   []bundle.Evidence
}

// modules states where each driver is for one kernel. It is said to be missing
// only where the kernel's list of what it has built in was read, and neither
// initrd nor root lost an entry.
func (s *promiser) modules(release string, d started) {
	m := &modules{release: release, met: map[string]found{}}
	whole := s.whole
	for _, name := range d.e.initrds[:min(len(d.e.initrds), maxInitrds)] {
		rd := s.initrd(d, name)
		if rd == nil {
			whole = false
			continue
		}
		whole = whole && !rd.partial
		m.scan(&root{layers: []*layer{rd}}, "initrd")
	}
	m.scan(s.root, "root")
	for _, name := range drivers {
		if f, ok := m.met[name]; ok {
			s.state("iso.module", name, f.value, f.ev)
		} else if whole && len(m.lists) > 0 {
			s.state("iso.module", name, "missing", m.lists...)
		}
	}
}

// initrd opens an initrd that an entry names; nil when it cannot be read.
func (s *system) initrd(d started, name string) *layer {
	f, ok := s.named(d.l, s.path, d.e.kernAt.file.dir, name)
	if !ok {
		return nil
	}
	rd, err := initrd.Open(f.Reader(f.File), f.File.Size)
	if err != nil {
		s.problem(f.at, err.Error())
		return nil
	}
	for _, text := range rd.Problems {
		s.problem(f.at, text)
	}
	return &layer{FS: rd, at: ".", path: f.at, partial: rd.Partial}
}

// scan looks for the drivers in one tree.
func (m *modules) scan(r *root, where string) {
	for _, dir := range m.dirs(r) {
		if t, err := r.open(path.Join(dir, "modules.builtin"), maxList); err == nil {
			m.lists = append(m.lists, t.span(0, min(len(t.data), 80)))
			m.builtin(t)
		}
		// The walk ends by itself: a directory that cannot be read has no
		// entries.
		_ = fs.WalkDir(r, dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			match := moduleRe.FindStringSubmatch(d.Name())
			if match == nil {
				return nil
			}
			name := underscored(match[1])
			if _, ok := m.met[name]; !ok && slices.Contains(drivers, name) {
				if ev, ok := r.head(p); ok {
					m.met[name] = found{where, ev}
				}
			}
			return nil
		})
	}
}

// dirs returns where the kernel's modules stand in a tree.
func (m *modules) dirs(r *root) []string {
	bases := []string{".", "usr"}
	for _, e := range r.store() {
		bases = append(bases, path.Join(storeDir, e))
	}
	var dirs []string
	met := map[string]bool{}
	for _, b := range bases {
		real, err := r.resolve("stat", path.Join(b, "lib/modules", m.release), true)
		if err != nil || met[real] {
			continue
		}
		if info, err := r.Stat(real); err == nil && info.IsDir() {
			met[real] = true
			dirs = append(dirs, real)
		}
	}
	return dirs
}

// maxList bounds modules.builtin: a distribution's has some ten kilobytes.
const maxList = 1 << 20

// builtin takes the drivers that the list names.
func (m *modules) builtin(t *text) {
	for at := 0; at < len(t.data); {
		line, _, _ := bytes.Cut(t.data[at:], []byte("\n"))
		base := path.Base(string(bytes.TrimSpace(line)))
		name := underscored(strings.TrimSuffix(base, ".ko"))
		if _, ok := m.met[name]; !ok && slices.Contains(drivers, name) {
			m.met[name] = found{"builtin", t.span(at, at+len(line))}
		}
		at += len(line) + 1
	}
}
