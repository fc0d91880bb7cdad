package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forensics/analyzers/analyzertest"
)

// TestShowImage: an image and what lies in it.
func TestShowImage(t *testing.T) {
	data := analyzertest.Gunzip(t, "../../analyzers/iso/testdata/roots/root-nixos-remains.iso.gz")
	image := filepath.Join(t.TempDir(), "x.iso")
	if err := os.WriteFile(image, data, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string // a line
	}{
		{[]string{image}, "/isolinux/isolinux.cfg"},
		{[]string{image, "-f", "long"}, "-r--r--r--         4096 /boot/bzImage"},
		{[]string{image + "!/isolinux/isolinux.cfg"}, "     1   DEFAULT boot"},
		{[]string{image + "!/boot/initrd"}, "/init"},
		{[]string{image + "!/nix-store.squashfs", "-f", "long"}, " /f5ba91605c1884f01ff414ac946652df-sudoers"},
		{[]string{image + "!/nix-store.squashfs!/f5ba91605c1884f01ff414ac946652df-sudoers", "-f", "raw"}, "%wheel  ALL=(ALL:ALL)    NOPASSWD:SETENV: ALL"},
		{[]string{image, "--unit", "pre-nixos.service"}, "RemainAfterExit=yes"},
		{[]string{image, "--unit", "serial-getty@ttyS0.service"}, "--autologin nixos %I"},
		{[]string{image, "--unit", "20-lan.network"}, "DHCP=yes"},
	} {
		stderr, code, out := program(t, append([]string{"show"}, c.args...)...)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v: status %d, %s, no %q in\n%s", c.args, code, stderr, c.want, out)
		}
	}
	if _, code, _ := program(t, "show", image+"!/nosuch"); code != statusTrouble {
		t.Errorf("status %d for a path that is not there", code)
	}
	if _, code, _ := program(t, "show", image, "--unit", "nosuch.service"); code != statusTrouble {
		t.Errorf("status %d for a unit that is not there", code)
	}
}
