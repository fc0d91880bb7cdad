// Package iso reads ISO 9660 images, and what lies in them, without unpacking
// them, and says what an image promises.
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
// A Volume is a file system in a file: image, squashfs, initrd, FAT volume. The
// root is the guest's file system before anything ran in it, made of layers: the
// image's squashfs, above it archives that the profile says stage 2 unpacks, and
// the links that a NixOS system makes. A promise is what its files say: parts,
// units, drivers, logins.
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
//     image image.iso!/boot/efi.img!/EFI/BOOT/grub.cfg. Of a link it is the
//     target, of a program its first bytes; that something is missing is shown
//     by the superblock of the squashfs that was listed. ReadNested reads such
//     paths.
//   - A configuration is data, not a program: a GRUB variable that is not set
//     to literal text stays as written, a default that depends on a condition
//     is none, and an entry that starts no kernel, or one without arguments,
//     states no command line. Where the loader cannot be told, every
//     configuration speaks, and differences are a conflict.
//   - Something is missing from the root only where all of the root was read,
//     it is one that a guest could run from, and nothing else could be unpacked
//     over it. A promise is what the files say; what a program makes of them at
//     boot (a generator, live-config) is not known: a getty that asks for a name
//     says nothing.
//
// The directory records are decoded by kdomanski/iso9660; its own walk loses
// Rock Ridge names in directories of more than one sector.
//
// Left out: UDF, zisofs, path tables, interleaved files, code pages of FAT names,
// logical partitions, Apple's partition map; unified kernel images, rEFInd, the
// menu of an EFI partition that the boot catalogue does not name; roots that are
// no squashfs; generators, sysusers and what NixOS activates at boot.
package iso

import (
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// Analyzer states what boot images promise.
var Analyzer = &analyzers.Analyzer{
	Name: "iso",
	Doc:  "Reads ISO images: boot entries, the command line of the default entry, and what the root file system that it starts holds.",
	Run:  run,
	Facts: []analyzers.FactType{
		{Name: "iso.label", Doc: "The image's volume label.", Repeats: true},
		{Name: "iso.boot", Doc: "A kind of firmware that the image has a boot entry for.", Repeats: true, Values: []string{"bios", "efi"}},
		{Name: "iso.entry", Doc: "The name of an entry of the boot menu.", Subject: "bios or efi", Repeats: true},
		{Name: "iso.cmdline", Doc: "The kernel command line of the entry that starts by itself; variables that are not set to literal text stay as written.", Subject: "bios or efi"},
		{Name: "iso.console", Doc: "A console= of that command line (ttyS0,115200n8), in their order; the last one is /dev/console.", Subject: "bios or efi", Repeats: true},
		{Name: "iso.kernel", Doc: "Whether the kernel and the initrds that the default entry names are in the image, in full.", Subject: "bios or efi", Values: []string{"present", "missing", "truncated"}},
		{Name: "iso.squashfs", Doc: "A squashfs is in the image.", Subject: "path", Values: []string{"present"}},
		{Name: "iso.kernel-version", Doc: "The release of the kernel that a default entry starts, as the kernel's own header gives it.", Repeats: true},
		{Name: "iso.module", Doc: "Where the kernel of the default entry has a driver: in an initrd of the entry, in the root's modules, built in, or nowhere.", Subject: "module", Values: []string{"initrd", "root", "builtin", "missing"}},
		{Name: "iso.part", Doc: "Whether the image's root has this part (the profile's parts): one of its commands, in a directory of commands or a package.", Subject: "part", Values: []string{"present", "missing"}},
		{Name: "iso.lacks", Doc: "A part, unit or service of the profile's that the image's root does not have.", Repeats: true},
		{Name: "iso.unit-file", Doc: "Whether the image's root has a file of this unit.", Subject: "unit name", Values: []string{"present", "missing", "masked"}},
		{Name: "iso.unit-wanted", Doc: "What pulls the unit in at boot, by a link in the image's root.", Subject: "unit name", Repeats: true},
		{Name: "iso.unit-setting", Doc: "An assignment that holds after the unit's drop-ins.", Subject: "unit name and option", Repeats: true},
		{Name: "iso.unit-type", Doc: "The service's Type= after its drop-ins, simple where none is set.", Subject: "unit name"},
		{Name: "iso.unit-remains", Doc: "The service's RemainAfterExit= after its drop-ins.", Subject: "unit name", Values: []string{"yes", "no"}},
		{Name: "iso.unit-path", Doc: "The unit's PATH leads to all of the profile's commands that the unit's program mentions.", Subject: "unit name", Values: []string{"complete"}},
		{Name: "iso.unit-lacks", Doc: "A command that the profile names and the unit's program mentions, and to which the unit's PATH does not lead.", Subject: "unit name", Repeats: true},
		{Name: "iso.unit-before", Doc: "A service or socket that starts only after the unit has ended, and that the unit's program mentions, or may mention where its text was not read: if the unit waits for it, it waits for ever.", Subject: "unit name", Repeats: true},
		{Name: "iso.autologin", Doc: "The user that the image's getty logs in by itself.", Subject: "terminal"},
		{Name: "iso.sudo", Doc: "Whether sudo asks this user for a password, by the rules in the image's root.", Subject: "user", Values: []string{"no-password", "password"}},
		{Name: "iso.interface", Doc: "A .link file gives an interface this name.", Subject: "interface", Values: []string{"named"}, Repeats: true},
		{Name: "iso.dhcp", Doc: "Whether a .network file for this interface asks for an address by DHCP.", Subject: "interface", Values: []string{"yes", "no"}, Repeats: true},
	},
}

// Promise is what one image offers.
type Promise struct {
	Path   string
	Offers []Offer
	// Open: the menus may offer more than Offers has: command lines that
	// depend on what is not known here, or a menu that was not understood.
	Open bool
	// Digest compares the image with the digest that metadata gives of the one
	// that was booted: same, other, or "" where there is none. Both are in
	// Digests.
	Digest  string
	Digests []bundle.Evidence
}

// Offer is an entry of a boot menu that starts a kernel.
type Offer struct {
	Args     string // the whole command line
	Default  bool   // it starts by itself
	Evidence bundle.Evidence
}

// From returns what the images of the run offer.
func From(p *analyzers.Pass) []*Promise {
	ps, _ := p.ResultOf[Analyzer].([]*Promise)
	return ps
}

func run(p *analyzers.Pass) (any, error) {
	var ps []*Promise
	for _, a := range p.Run.Of(bundle.ISO) {
		o, err := read(p, a)
		if err != nil {
			p.Problem(a.Path, err.Error())
			continue
		}
		ps = append(ps, o)
	}
	for _, a := range p.Run.Of(bundle.Promises) {
		o, err := promised(p, a)
		if err != nil {
			p.Problem(a.Path, err.Error())
			continue
		}
		ps = append(ps, o)
	}
	return ps, nil
}

func read(p *analyzers.Pass, a *bundle.Artifact) (*Promise, error) {
	r, size, closer, err := a.ReaderAt()
	if err != nil {
		return nil, err
	}
	defer closer()
	m, err := Open(r, size)
	if err != nil {
		return nil, err
	}
	s := &stater{Pass: p, Image: m, path: a.Path}
	s.volume()
	s.squashes()
	o := &Promise{Path: a.Path, Open: m.Partial}
	if m.Partial {
		m.problem("directories could not be read: what its boot loaders start is not known")
	} else {
		ls := m.loaders(a.Path)
		for _, l := range ls {
			s.loader(l)
			o.take(l)
		}
		(&promiser{system: newSystem(m, a.Path, p.Params, ls, p.Problem), state: p.State}).all()
	}
	for _, text := range m.Problems {
		p.Problem(a.Path, text)
	}
	return o, s.digest(o, a)
}

// take adds what one loader offers.
func (o *Promise) take(l *loader) {
	o.Open = o.Open || len(l.menus) == 0
	for _, m := range l.menus {
		for _, e := range m.entries {
			if e.kernel == "" {
				o.Open = o.Open || e.open
				continue
			}
			args := join(e.args, m.extra)
			if e.open || strings.Contains(args, "$") {
				o.Open = true
				continue
			}
			at := e.kernAt
			if e.args != "" {
				at = e.argsAt
			}
			o.Offers = append(o.Offers, Offer{Args: args, Default: e == m.chosen, Evidence: at.evidence()})
		}
	}
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

// squashes states the squashfs file systems.
func (s *stater) squashes() {
	for _, f := range s.squashfs() {
		s.State("iso.squashfs", f.Path, "present", bundle.Evidence{Path: s.path + "!" + f.Path, Line: 1, End: int64(len(squashMagic)), Quote: squashMagic})
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
		for _, word := range strings.Fields(line) {
			if v, ok := strings.CutPrefix(word, "console="); ok && v != "" {
				s.State("iso.console", l.platform, v, ev...)
			}
		}
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
