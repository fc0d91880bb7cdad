package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestLimitFile builds the control groups of a machine: path and content of
// files, and the file that binds.
func TestLimitFile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"v2, the parent binds", map[string]string{
			"proc/self/cgroup": "0::/user.slice/app\n", "sys/fs/cgroup/user.slice/app/memory.max": "max\n", "sys/fs/cgroup/user.slice/memory.max": "4294967296\n",
		}, "/sys/fs/cgroup/user.slice/memory.max"},
		{"v2, the group itself binds", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/memory.max": "2000\n",
		}, "/sys/fs/cgroup/a/b/memory.max"},
		{"v2, no limit", map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, "/sys/fs/cgroup/a/memory.max"},
		{"v2, a container that sees its group as the root", map[string]string{"proc/self/cgroup": "0::/docker/0123\n", "sys/fs/cgroup/memory.max": "5\n"}, "/sys/fs/cgroup/memory.max"},
		{"v1", map[string]string{
			"proc/self/cgroup": "4:cpu:/\n3:memory:/a\n0::/a\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   "3221225472\n",
		}, "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		{"a path that leads up", map[string]string{"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/x/memory.max": "5\n"}, "/sys/fs/cgroup/x/memory.max"},
		{"nothing", map[string]string{"proc/self/cgroup": "garbage\n"}, "/sys/fs/cgroup/memory.max"},
	} {
		root := t.TempDir()
		for name, text := range tt.files {
			p := filepath.Join(root, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := limitFile(root); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestHostParams(t *testing.T) {
	dir := t.TempDir()
	if got := HostParams(dir)["python"]; fmt.Sprint(got) != "[python3]" {
		t.Errorf("no virtual environment: %v", got)
	}
	if err := os.MkdirAll(filepath.Join(dir, ".venv", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".venv", "bin", "python"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	got := HostParams(dir)
	if fmt.Sprint(got["python"]) != "[./.venv/bin/python]" {
		t.Errorf("%v", got)
	}
	for name := range got {
		if !slices.Contains(hostParams, name) {
			t.Errorf("%s is not declared", name)
		}
	}
	// The host's own interpreter says nothing of an environment that is broken.
	broken := t.TempDir()
	if err := os.MkdirAll(filepath.Join(broken, ".venv", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere/python3", filepath.Join(broken, ".venv", "bin", "python")); err != nil {
		t.Skip(err)
	}
	if got := HostParams(broken)["python"]; fmt.Sprint(got) != "[./.venv/bin/python]" {
		t.Errorf("an environment whose interpreter is gone: %v", got)
	}
}

func TestCommands(t *testing.T) {
	got := Commands([]string{"sudo=sudo", "lvm2=vgs|lvs", "nothing", "x="})
	if fmt.Sprint(got) != "[sudo vgs lvs]" {
		t.Error(got)
	}
}
