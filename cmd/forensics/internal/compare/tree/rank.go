package tree

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// rank orders changes: what a boot depends on first.
type rank byte

const (
	loaders rank = iota // configurations of boot loaders
	unitsAndScripts
	texts
	programs
	rest
	last = rest
)

// What names say. A script without an extension is known by its first line only.
var (
	loaderDirs = words("isolinux syslinux extlinux grub grub2 loader entries boot")
	unitExts   = words(".service .socket .target .mount .automount .timer .path .slice .swap .scope .network .link .netdev")
	scriptExts = words(".sh .bash .py .pl .rb .lua .awk")
	scripts    = words("init activate")
	textExts   = words(".cfg .conf .txt .json .yaml .yml .toml .ini .rules .nix .env .list .md .xml")
	binDirs    = words("bin sbin")
	binExts    = words(".so .ko .efi .c32 .bin .exe")
	packedExts = words(".gz .xz .zst")
	kernels    = words("bzimage vmlinuz vmlinux")
)

func words(s string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(s) {
		set[w] = true
	}
	return set
}

// rankOf ranks a file by its path in the image. What is laid over the guest's
// root is there to configure it: an archive, or what is in one.
func rankOf(name string, f *file, overlay bool) rank {
	dir, base := path.Split(strings.ToLower(name))
	dir = path.Base(dir)
	ext := path.Ext(base)
	switch {
	case isLoader(strings.ToLower(name), dir, ext):
		return loaders
	case isUnit(dir, ext), scriptExts[ext], scripts[base], overlay && f.kind != directory:
		return unitsAndScripts
	case textExts[ext], dir == "etc":
		return texts
	case binDirs[dir], binExts[ext], packedExts[ext] && binExts[path.Ext(strings.TrimSuffix(base, ext))],
		strings.Contains(base, ".so."), kernels[strings.SplitN(base, "-", 2)[0]]:
		return programs
	case f.kind == regular && f.mode&execBits != 0 && f.known != 0:
		return programs
	}
	return rest
}

// isLoader reports whether a file is the configuration of isolinux, GRUB or
// systemd-boot, in an image or in a volume of it.
func isLoader(name, dir, ext string) bool {
	if ext != ".cfg" && ext != ".conf" {
		return false
	}
	if i := strings.LastIndex(name, "!/"); i >= 0 {
		name = name[i+2:]
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(name, "boot/"), "/")
	return loaderDirs[top] && (loaderDirs[dir] || top == "grub" || top == "grub2") || top == "efi"
}

// isUnit reports whether a file is one of systemd's or networkd's, a drop-in of
// one, or a link that pulls one in.
func isUnit(dir, ext string) bool {
	switch path.Ext(dir) {
	case ".wants", ".requires":
		return true
	case ".d":
		return ext == ".conf" && unitExts[path.Ext(strings.TrimSuffix(dir, ".d"))]
	}
	return unitExts[ext]
}

// rankBy ranks a file by how its content starts.
func rankBy(head []byte) rank {
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return unitsAndScripts
	case bytes.HasPrefix(head, []byte("\x7fELF")), bytes.HasPrefix(head, []byte("MZ")):
		return programs
	case isText(head):
		return texts
	}
	return rest
}

// isText reports whether data, or the start of it, is text that people read.
func isText(data []byte) bool {
	if len(data) == 0 || bytes.ContainsFunc(data, func(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\n\r\f\x1b", r) || r == 0x7f }) {
		return false
	}
	for range utf8.UTFMax - 1 { // a head may end within a character
		if len(data) == 0 || utf8.Valid(data) {
			break
		}
		data = data[:len(data)-1]
	}
	return len(data) > 0 && utf8.Valid(data)
}

// byRank orders findings as they are reported.
func byRank(a, b *finding) int {
	if d := order(a.harmless(), b.harmless()); d != 0 {
		return d
	}
	return slices.Compare([]string{string(rune('0' + a.rank)), path.Clean(a.subject()), a.key}, []string{string(rune('0' + b.rank)), path.Clean(b.subject()), b.key})
}
