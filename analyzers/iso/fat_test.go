package iso

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFAT: volumes of all three kinds that mkfs.vfat and mtools write.
func TestFAT(t *testing.T) {
	for _, tool := range []string{"mkfs.vfat", "mcopy", "mmd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	for bits, size := range map[string]int64{"12": 1 << 20, "16": 16 << 20, "32": 64 << 20} {
		t.Run(bits, func(t *testing.T) {
			dir := t.TempDir()
			image, text := filepath.Join(dir, "efi.img"), filepath.Join(dir, "text")
			long := strings.Repeat("menuentry x { linux /k }\n", 2000)
			if err := os.WriteFile(image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, size); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(text, []byte(long), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{
				{"mkfs.vfat", "-F", bits, "-s", "1", image},
				{"mmd", "-i", image, "::/EFI", "::/EFI/BOOT"},
				{"mcopy", "-i", image, text, "::/EFI/BOOT/a long name of a configuration.cfg"},
				{"mcopy", "-i", image, text, "::/EFI/BOOT/GRUB.CFG"},
			} {
				if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %v\n%s", args, err, out)
				}
			}
			data, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			m := &Image{r: bytes.NewReader(data), Size: size}
			v := m.fat(BootEntry{})
			if v == nil {
				t.Fatal("not a FAT volume")
			}
			if d := cmp.Diff([]string{"a long name of a configuration.cfg", "GRUB.CFG"}, v.list("/efi/boot")); d != "" {
				t.Error(d)
			}
			for _, p := range []string{"/EFI/BOOT/grub.cfg", "/EFI/Boot/A long name of a configuration.cfg"} {
				c := v.files("x")(p)
				if c == nil || string(c.data) != long {
					t.Errorf("%s is not what was written", p)
				}
			}
			if v.has("/EFI/BOOT") || v.has("/EFI/BOOT/grub.cf") || v.has("/EFI/BOOT/GRUB.CFG/x") {
				t.Error("has what is not there")
			}
		})
	}
}
