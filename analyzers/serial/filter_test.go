package serial

import (
	"regexp"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzMarks(f *testing.F) {
	filters := []analyzertest.Filter{{
		Name:     "asides",
		May:      func(s string) bool { return containsAny(s, asides) },
		Patterns: []*regexp.Regexp{bannerRe, gettyRe, autologinRe, emergencyRe},
	}}
	for i := range marks {
		m := &marks[i]
		filters = append(filters, analyzertest.Filter{Name: m.stage, May: m.match, Patterns: []*regexp.Regexp{m.re}})
	}
	analyzertest.FuzzFilters(f, filters,
		"SeaBIOS (version 1.16.2-debian-1.16.2-1)", "iPXE 1.21.1+", "UEFI Interactive Shell v2.2", "BdsDxe: loading Boot0001", "Booting from DVD/CD...",
		"ISOLINUX 6.04 20200816", "GNU GRUB  version 2.12", "  Welcome to GRUB!", " Booting `NixOS'",
		"Loading /boot/initrd...ok", "Loading initial ramdisk ...", "[    0.000000] x", "Linux version 6.12.54",
		"<<< NixOS Stage 1 >>>", "Loading, please wait...", "dracut-cmdline[1]: x", "<<< NixOS Stage 2 >>>", "running activation script...",
		"[  OK  ] Started Serial Getty on ttyS0.", "[FAILED] Failed to start x.", "Welcome to NixOS 25.05 (Warbler)!", "x systemd[1]: systemd 257 running in system mode", "         Mounting x...",
		"nixos login: nixos (automatic login)", "<<< Welcome to NixOS 25.05 (x86_64) - hvc0 >>>", "Debian GNU/Linux 12 vm ttyS0",
		"You are in rescue mode", "Entering emergency mode.", "An error occurred in stage 1 of the boot process", "(initramfs) ", "nothing of these")
}
