package iso

import (
	"bytes"
	"path"
	"sort"
	"strings"
)

// loader is what one kind of firmware starts from the image, and the menus of
// which it shows one.
type loader struct {
	platform string // bios or efi
	menus    []*menu
	files    files // its configurations
	esp      *fat  // the EFI boot image
	espAt    string
}

// Where ISOLINUX looks for its configuration, in this order (core/fs/iso9660
// of Syslinux).
var (
	isolinuxDirs  = []string{"/boot/isolinux", "/isolinux", "/boot/syslinux", "/syslinux", "/"}
	isolinuxNames = []string{"isolinux.cfg", "syslinux.cfg"}
)

// Where GRUB's images for removable media look for theirs: grub-mkrescue, and
// the images of Debian, NixOS and Fedora.
var (
	grubBIOS = []string{"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"}
	grubEFI  = []string{"/EFI/BOOT/grub.cfg", "/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"}
)

// loaders reads what the firmware's boot entries start. The image is named as
// evidence shall name it.
func (m *Image) loaders(image string) []*loader {
	var ls []*loader
	seen := map[string]bool{}
	for _, b := range m.Boot {
		platform := map[byte]string{0: "bios", 0xEF: "efi"}[b.Platform]
		if platform == "" || seen[platform] {
			continue
		}
		seen[platform] = true
		l := &loader{platform: platform, files: m.files(image)}
		if platform == "bios" {
			l.menus = m.biosMenus(b, l.files)
		} else {
			l.menus = m.efiMenus(b, image, l)
		}
		ls = append(ls, l)
	}
	return ls
}

// files opens configurations in the image's tree.
func (m *Image) files(image string) files {
	return func(name string) *config {
		f := m.Resolve(name)
		if f == nil {
			return nil
		}
		data, err := m.ReadFile(f, maxConfig)
		if err != nil {
			m.problem("%v", err)
			return nil
		}
		return newConfig(image, f.Path, data)
	}
}

// biosMenus tells the loader by its boot image: ISOLINUX has its name in its
// first sectors; GRUB's El Torito image stands in a folder of GRUB's.
func (m *Image) biosMenus(b BootEntry, fs files) []*menu {
	head := make([]byte, min(32<<10, max(0, m.Size-b.Start)))
	if m.read(head, b.Start) != nil {
		return nil
	}
	name := ""
	for _, f := range m.Files {
		if len(f.Extents) > 0 && f.Size > 0 && f.Extents[0].Start == b.Start {
			name = strings.ToLower(f.Path)
		}
	}
	switch {
	case bytes.Contains(head, []byte("ISOLINUX ")):
		return m.isolinuxMenus(fs)
	case strings.Contains(name, "/grub"):
		return m.grubMenus(fs, grubBIOS)
	}
	return append(m.isolinuxMenus(fs), m.grubMenus(fs, grubBIOS)...)
}

func (m *Image) isolinuxMenus(fs files) []*menu {
	for _, d := range isolinuxDirs {
		for _, n := range isolinuxNames {
			if m.Lookup(path.Join(d, n)) == nil {
				continue
			}
			if c := fs(path.Join(d, n)); c != nil {
				return []*menu{parseIsolinux(c, fs)}
			}
			return nil
		}
	}
	return nil
}

// grubMenus reads those of the configurations that offer anything: others only
// lead to one.
func (m *Image) grubMenus(fs files, names []string) []*menu {
	var ms []*menu
	seen := map[string]bool{}
	for _, n := range names {
		c := fs(n)
		if c == nil || seen[c.path] {
			continue
		}
		seen[c.path] = true
		if g := parseGrub(c, fs); len(g.entries) > 0 {
			ms = append(ms, g)
		}
	}
	return ms
}

// efiMenus reads the menu inside the EFI system partition, else those in the
// tree, to which its loader leads.
func (m *Image) efiMenus(b BootEntry, image string, l *loader) []*menu {
	tree := l.files
	if v := m.fat(b); v != nil {
		l.esp, l.espAt = v, m.bootName(b, image)
		esp := v.files(l.espAt)
		l.files = func(name string) *config {
			if c := esp(name); c != nil {
				return c
			}
			return tree(name)
		}
		var own []string
		for _, n := range grubEFI {
			if esp(n) != nil {
				own = append(own, n)
			}
		}
		if ms := m.grubMenus(l.files, own); len(ms) > 0 {
			return ms
		}
		if names := v.list("/loader/entries"); len(names) > 0 {
			return []*menu{parseLoader(esp("/loader/loader.conf"), confs("/loader/entries", names), esp)}
		}
	}
	if ms := m.grubMenus(tree, grubEFI); len(ms) > 0 {
		return ms
	}
	if names := m.list("/loader/entries"); len(names) > 0 {
		return []*menu{parseLoader(tree("/loader/loader.conf"), confs("/loader/entries", names), tree)}
	}
	return nil
}

// bootName names a boot image as a part of the ISO image.
func (m *Image) bootName(b BootEntry, image string) string {
	for _, f := range m.Files {
		if f.Mode.IsRegular() && f.Size > 0 && f.Extents[0].Start == b.Start {
			return image + "!" + f.Path
		}
	}
	return image + "!" + bootImage
}

// bootImage names the EFI boot image where no file of the tree holds it.
const bootImage = "/[efi-boot-image]"

// confs returns the paths of the configurations among names.
func confs(dir string, names []string) []string {
	var cs []string
	for _, n := range names {
		if strings.EqualFold(path.Ext(n), ".conf") {
			cs = append(cs, path.Join(dir, n))
		}
	}
	sort.Strings(cs)
	return cs
}

// list returns the names in a directory of the tree.
func (m *Image) list(dir string) []string {
	d := m.Lookup(dir)
	if d == nil || !d.Mode.IsDir() {
		return nil
	}
	var names []string
	for _, f := range m.Files {
		if path.Dir(f.Path) == d.Path {
			names = append(names, path.Base(f.Path))
		}
	}
	return names
}

// presence says whether a file that an entry names is in the image: present,
// missing, truncated; "" where the name is not literal.
func (m *Image) presence(v *fat, dir, name string) string {
	name = local(name)
	if name == "" || strings.ContainsAny(name, "$(") || m.Partial {
		return ""
	}
	if !strings.HasPrefix(name, "/") {
		name = path.Join(dir, name)
	}
	f, tree := m.Resolve(name), &m.Tree
	if f == nil && v != nil {
		f, tree = v.Resolve(name), v.Tree
	}
	switch {
	case f == nil || !f.Mode.IsRegular():
		return "missing"
	case !tree.Whole(f):
		return "truncated"
	}
	return "present"
}

// named is a file that an entry names, with the tree that holds it and how
// evidence names it.
type named struct {
	*Tree
	*File
	at string
}

// named returns the file that an entry names; ok is false where there is none.
func (m *Image) named(l *loader, image, dir, name string) (n named, ok bool) {
	name = local(name)
	if name == "" || strings.ContainsAny(name, "$(") {
		return n, false
	}
	if !strings.HasPrefix(name, "/") {
		name = path.Join(dir, name)
	}
	n = named{&m.Tree, m.Resolve(name), image}
	if n.File == nil && l.esp != nil {
		n = named{l.esp.Tree, l.esp.Resolve(name), l.espAt}
	}
	if n.File == nil || !n.Mode.IsRegular() || !n.Whole(n.File) {
		return n, false
	}
	n.at += "!" + n.Path
	return n, true
}
