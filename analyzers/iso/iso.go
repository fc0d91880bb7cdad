// Package iso reads ISO 9660 images without unpacking them, and says what an
// image promises about the serial console.
//
// # Nouns
//
// An Image is the tree of a volume: names, modes and links by Rock Ridge, by
// Joliet where there is no Rock Ridge, else as ECMA-119 has them. Its boot
// entries are those of the El Torito catalogue, one for a BIOS, one for EFI,
// whose boot image is a FAT volume. A menu is what a boot loader's
// configuration offers; its chosen entry is the one that starts when nobody
// touches a key. Only that entry promises anything: a menu entry named
// "serial console" does not make the image speak.
//
// # Invariants
//
//   - The image is read through io.ReaderAt, directories and configurations
//     only; a size of any number is no size of memory. A directory is read
//     once, however it hangs in the tree.
//   - A file of the tree has all its extents, of one or of many; whether their
//     bytes are in the image is another question (Whole), since a truncated
//     image still lists everything.
//   - Where a directory could not be read (Partial), nothing is said of the
//     loaders: what is missing could be what they read.
//   - Evidence is a span of the file that says it, and its path shows where
//     that is: image.iso!/isolinux/isolinux.cfg, or for a file of the EFI boot
//     image image.iso!/boot/efi.img!/EFI/BOOT/grub.cfg. Open reads such paths.
//   - A configuration is data, not a program: a GRUB variable that is not set
//     to literal text stays as written, a default that depends on a condition
//     is none, and an entry that starts no kernel, or one without arguments,
//     states no command line. Where the loader cannot be told, every
//     configuration speaks, and differences are a conflict.
//
// The directory records are decoded by kdomanski/iso9660; its own walk loses
// Rock Ridge names in directories of more than one sector.
//
// Left out: UDF, zisofs, the partition tables of hybrid images, squashfs and
// initrd, unified kernel images, rEFInd, path tables and time stamps.
package iso

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Analyzer states what boot images promise.
var Analyzer = &analyzers.Analyzer{
	Name: "iso",
	Doc:  "Reads ISO images: boot entries, boot-loader configurations and the command line of their default entry.",
	Run:  run,
	Facts: []analyzers.FactType{
		{Name: "iso.label", Doc: "The image's volume label.", Repeats: true},
		{Name: "iso.boot", Doc: "A kind of firmware that the image has a boot entry for.", Repeats: true, Values: []string{"bios", "efi"}},
		{Name: "iso.entry", Doc: "The name of an entry of the boot menu.", Subject: "bios or efi", Repeats: true},
		{Name: "iso.cmdline", Doc: "The kernel command line of the entry that starts by itself; variables that are not set to literal text stay as written.", Subject: "bios or efi"},
		{Name: "iso.kernel", Doc: "Whether the kernel and the initrds that the default entry names are in the image, in full.", Subject: "bios or efi", Values: []string{"present", "missing", "truncated"}},
		{Name: "iso.squashfs", Doc: "A squashfs is in the image.", Subject: "path", Values: []string{"present"}},
	},
}

func run(p *analyzers.Pass) (any, error) {
	for _, a := range p.Run.Of(bundle.ISO) {
		if err := read(p, a); err != nil {
			p.Problem(a.Path, err.Error())
		}
	}
	return nil, nil
}

func read(p *analyzers.Pass, a *bundle.Artifact) error {
	r, size, closer, err := a.ReaderAt()
	if err != nil {
		return err
	}
	defer closer()
	m, err := Open(r, size)
	if err != nil {
		return err
	}
	s := &stater{Pass: p, Image: m, path: a.Path}
	s.volume()
	s.squashfs()
	if m.Partial {
		m.problem("directories could not be read: what its boot loaders start is not known")
	} else {
		for _, l := range m.loaders(a.Path) {
			s.loader(l)
		}
	}
	for _, text := range m.Problems {
		p.Problem(a.Path, text)
	}
	return nil
}

// stater states what one image promises.
type stater struct {
	*analyzers.Pass
	*Image
	path string
}

// volume states what the descriptors say.
func (s *stater) volume() {
	const label, length = firstDescriptor*sector + 40, 32
	if s.Label != "" {
		s.span("iso.label", bundle.Printable(s.Label), label, label+length)
	}
	seen := map[byte]bool{}
	for _, b := range s.Boot {
		name := map[byte]string{0: "bios", 0xEF: "efi"}[b.Platform]
		if name != "" && !seen[b.Platform] {
			seen[b.Platform] = true
			s.span("iso.boot", name, s.bootAt, s.bootAt+int64(len(elToritoID)))
		}
	}
}

// span states a fact that bytes of the image's first sectors show.
func (s *stater) span(fact, value string, start, end int64) {
	head := make([]byte, end)
	if s.read(head, 0) == nil {
		s.State(fact, "", value, bundle.Span(s.path, head, bundle.NewLineIndex(head), start, end))
	}
}

// maxSquashfs bounds how many are stated.
const maxSquashfs = 16

// squashfs states the files that begin with the superblock's magic.
func (s *stater) squashfs() {
	n := 0
	for _, f := range s.Files {
		if !f.Mode.IsRegular() || f.Size < 96 || n >= maxSquashfs || !strings.Contains(f.Path, "squash") {
			continue
		}
		magic := make([]byte, 4)
		if s.read(magic, f.Extents[0].Start) != nil || string(magic) != "hsqs" {
			continue
		}
		n++
		s.State("iso.squashfs", f.Path, "present", bundle.Evidence{Path: s.path + "!" + f.Path, Line: 1, End: 4, Quote: "hsqs"})
	}
}

// loader states what one kind of firmware starts.
func (s *stater) loader(l *loader) {
	for _, m := range l.menus {
		for _, e := range m.entries {
			if name := bundle.Printable(e.name); name != "" {
				s.State("iso.entry", l.platform, name, e.at.evidence())
			}
		}
		if e := m.chosen; e != nil && !e.open && e.kernel != "" {
			s.chosen(l, m, e)
		}
	}
}

// chosen states what the default entry starts.
func (s *stater) chosen(l *loader, m *menu, e *entry) {
	if line := join(e.args, m.extra); e.args != "" && len(line) <= maxArgs {
		ev := []bundle.Evidence{e.argsAt.evidence()}
		if m.by != nil {
			ev = append(ev, m.by.evidence())
		}
		s.State("iso.cmdline", l.platform, line, ev...)
	}
	worst := ""
	for _, name := range append([]string{e.kernel}, e.initrds[:min(len(e.initrds), maxInitrds)]...) {
		switch is := s.presence(l.esp, e.kernAt.file.dir, name); {
		case is == "":
			return
		case worst == "" || is != "present":
			worst = is
		}
	}
	s.State("iso.kernel", l.platform, worst, e.kernAt.evidence())
}

// maxNestedFile bounds a file that ReadNested returns.
const maxNestedFile = 64 << 20

// ReadNested returns the bytes of the file that evidence in an image names,
// for those who want to see or check them: p is the path behind "image.iso!".
func (m *Image) ReadNested(p string) ([]byte, error) {
	outer, inner, nested := strings.Cut(p, "!")
	if !nested {
		f := m.Lookup(outer)
		if f == nil {
			return nil, fmt.Errorf("%s: %w", outer, fs.ErrNotExist)
		}
		return m.ReadFile(f, maxNestedFile)
	}
	for _, b := range m.Boot {
		if m.bootName(b, "") != "!"+outer {
			continue
		}
		if v := m.fat(b); v != nil {
			if c := v.files("")(inner); c != nil {
				return bytes.Clone(c.data), nil
			}
		}
	}
	return nil, fmt.Errorf("%s: %w", p, errors.ErrUnsupported)
}
