package tree

import (
	"bytes"
	"path"
	"regexp"
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

var (
	// loaderRe are the configurations of isolinux, GRUB and systemd-boot, in an
	// image or in its EFI boot image.
	loaderRe = regexp.MustCompile(`(?i)(?:^|!/)(?:boot/)?(?:isolinux|syslinux|extlinux|grub2?|loader(?:/entries)?|EFI/[^/]+)/(?:[^/]+/)?[^/]+\.(?:cfg|conf)$`)
	// unitRe are the files of systemd and networkd, with drop-ins and the links
	// that pull units in.
	unitRe = regexp.MustCompile(`\.(?:service|socket|target|mount|automount|timer|path|slice|swap|scope|network|link|netdev)(?:\.d/[^/]+\.conf|\.(?:wants|requires)/[^/]+)?$`)
	// A script without an extension is known by its first line only.
	scriptRe  = regexp.MustCompile(`\.(?:sh|bash|py|pl|rb|lua|awk)$|(?:^|/)(?:init|activate)$`)
	textRe    = regexp.MustCompile(`\.(?:cfg|conf|txt|json|ya?ml|toml|ini|rules|nix|env|list|md|xml)$|(?:^|/)etc/[^/]+$`)
	programRe = regexp.MustCompile(`(?:^|/)s?bin/[^/]+$|\.(?:so(?:\.[\d.]+)?|ko(?:\.\w+)?|efi|c32|bin)$|(?:^|/)(?:bzImage|vmlinuz[^/]*)$`)
)

// rankOf ranks a file by its path in the image. What is laid over the guest's
// root is there to configure it: an archive, or what is in one.
func rankOf(name string, f *file, overlay bool) rank {
	switch {
	case loaderRe.MatchString(name):
		return loaders
	case unitRe.MatchString(name), scriptRe.MatchString(name), overlay && f.kind != directory:
		return unitsAndScripts
	case textRe.MatchString(name):
		return texts
	case programRe.MatchString(name), f.kind == regular && f.mode&f.known&execBits != 0 && strings.Contains(name, "!/"):
		// Files of an image itself may all be executable.
		return programs
	}
	return rest
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
