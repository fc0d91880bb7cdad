package vm

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestBlank: a blank disk can be opened by its path, by us and by others, and
// nothing is left of it. On Linux nothing can be: it has no name.
func TestBlank(t *testing.T) {
	for _, format := range []string{"raw", "qcow2"} {
		t.Run(format, func(t *testing.T) {
			if _, err := exec.LookPath("qemu-img"); err != nil {
				t.Skip(err)
			}
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			t.Setenv("TMP", dir)
			b, err := NewBlank(t.Context(), Disk{Size: 1 << 30, Format: format}, "")
			if err != nil {
				t.Fatal(err)
			}
			left, err := os.ReadDir(dir)
			if err != nil || runtime.GOOS == "linux" && len(left) > 0 {
				t.Errorf("it has a name: %v, %v", left, err)
			}
			out, err := exec.CommandContext(t.Context(), "qemu-img", "info", b.Path).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "file format: "+format) || !strings.Contains(string(out), "(1073741824 bytes)") {
				t.Errorf("qemu-img: %s, %v", out, err)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(b.Path); err == nil {
				t.Errorf("%s is there still", b.Path)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		t.Setenv("TMP", dir)
		for _, d := range []Disk{{Size: -1}, {Size: 1, Format: "vmdk"}, {Size: 512, Format: "qcow2"}} {
			if b, err := NewBlank(t.Context(), d, "/no/such/qemu-img"); err == nil {
				t.Errorf("%v: no error, %s", d, b.Path)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}
