//go:build unix

package vm

import (
	"os"
	"testing"
)

// TestUEFI: the firmware runs and says so on the serial port. FORENSICS_TEST_OVMF
// names a directory with OVMF_CODE_4M.fd, where the host's own has none.
func TestUEFI(t *testing.T) {
	o := guest(t, idleGuest)
	firmware, err := FindFirmware("")
	if dir := os.Getenv("FORENSICS_TEST_OVMF"); dir != "" {
		firmware, err = Firmware{dir + "/OVMF_CODE_4M.fd", dir + "/OVMF_VARS_4M.fd"}, nil
	}
	if err != nil {
		t.Skip(err)
	}
	o.UEFI, o.Firmware = true, firmware
	before := contents(t, firmware.Vars)
	v := start(t, o, Sinks{})
	expect(t, within(t), v.Serial(), "BdsDxe")
	v.Stop(t.Context(), 0)
	if contents(t, firmware.Vars) != before {
		t.Errorf("%s was written to", firmware.Vars)
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	if path == "" {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
