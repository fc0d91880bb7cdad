package serial

import (
	"forensics/analyzers/analyzertest"
	"regexp"
	"testing"
)

func TestPatterns(t *testing.T) {
	res := map[string]*regexp.Regexp{"banner": bannerRe, "getty": gettyRe, "autologin": autologinRe, "emergency": emergencyRe, "loaded": loaded}
	for _, m := range marks {
		res[m.stage] = m.re
	}
	analyzertest.Lines(t, res, []analyzertest.Line{
		{"firmware", true, "SeaBIOS (version 1.16.2-debian-1.16.2-1)"},
		{"firmware", true, "Booting from DVD/CD..."},
		{"firmware", true, `BdsDxe: loading Boot0001 "UEFI QEMU DVD-ROM"`},
		{"firmware", true, "iPXE 1.21.1+ -- Open Source Network Boot Firmware"},
		{"firmware", false, "DMI: QEMU Standard PC, BIOS 1.16.2 (SeaBIOS)"},
		{"bootloader", true, "ISOLINUX 6.04 20200816  Copyright (C) 1994-2015 H. Peter Anvin et al"},
		{"bootloader", true, "GNU GRUB  version 2.12"},
		{"bootloader", true, "Welcome to GRUB!"},
		{"bootloader", true, "  Booting `NixOS - Default'"},
		{"bootloader", false, "Booting from Hard Disk..."},
		{"bootloader", false, "isolinux.cfg"},
		{"kernel-loaded", true, "Loading /boot/initrd...ok"},
		{"kernel-loaded", true, "Loading /boot/bzImage... ok"},
		{"kernel-loaded", true, "Loading Linux 6.1.0-13-amd64 ..."},
		{"kernel-loaded", false, "Loading /boot/initrd..."},
		{"kernel-loaded", false, "loading module virtio_blk..."},
		{"kernel", true, "[    0.000000] Linux version 6.12.54"},
		{"kernel", true, "Linux version 6.12.54 (nixbld@localhost)"},
		{"kernel", false, "[  OK  ] Started x."},
		{"kernel", false, "Debian GNU/Linux 12 vm ttyS0"},
		{"stage-1", true, "<<< NixOS Stage 1 >>>"},
		{"stage-1", true, "Loading, please wait..."},
		{"stage-1", false, "<<< NixOS Stage 2 >>>"},
		{"stage-2", true, "<<< NixOS Stage 2 >>>"},
		{"stage-2", true, "running activation script..."},
		{"stage-2", false, "An error occurred in stage 2 of the boot process"},
		{"systemd", true, "Welcome to NixOS 25.05 (Warbler)!"},
		{"systemd", true, "[  OK  ] Reached target Network."},
		{"systemd", true, "[    9.1] systemd[1]: systemd 257 running in system mode"},
		{"systemd", true, "         Starting Permit User Sessions..."},
		{"systemd", false, "Welcome to GRUB!"},
		{"systemd", false, "<<< Welcome to NixOS 25.05 (x86_64) - ttyS0 >>>"},
		{"systemd", false, "         Press a key..."},
		{"login-prompt", true, "nixos login: "},
		{"login-prompt", true, "nixos login: nixos (automatic login)"},
		{"login-prompt", false, "nixos login failed"},
		{"login-prompt", false, "user logged in (automatic login)"},
		{"banner", true, "<<< Welcome to NixOS 25.05 (x86_64) - ttyS0 >>>"},
		{"banner", true, "Debian GNU/Linux 12 vm ttyS0"},
		{"banner", false, "Debian GNU/Linux 12 vm"},
		{"banner", false, "[    0.1] Linux console on ttyS0"},
		{"getty", true, "[  OK  ] Started Serial Getty on ttyS0."},
		{"getty", false, "[  OK  ] Started Getty on tty1."},
		{"autologin", true, "nixos login: nixos (automatic login)"},
		{"autologin", false, "nixos login: nixos"},
		{"emergency", true, "You are in emergency mode. After logging in, type \"journalctl -xb\""},
		{"emergency", true, "(initramfs) "},
		{"emergency", true, "An error occurred in stage 1 of the boot process, which must mount the"},
		{"emergency", false, "BusyBox v1.36.1 () built-in shell (ash)"},
		{"emergency", false, "initramfs unpacked"},
		{"loaded", true, "Loading /boot/initrd...ok"},
		{"loaded", true, "Loading initial ramdisk ..."},
		{"loaded", false, "Loading /boot/bzImage... ok"},
	})
}
