package probe

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/capture/record"
	"forensics/rules"
)

var loaded *rules.Set

// catalogue is the rules for the default profile. Loading them takes a second.
func catalogue(t testing.TB) *rules.Set {
	t.Helper()
	if loaded == nil {
		s, err := rules.Load(analyzers.Types(all.List), rules.Profile{Name: "pre-nixos", Params: profile(t)}, rules.Embedded()...)
		if err != nil {
			t.Fatal(err)
		}
		loaded = s
	}
	return loaded
}

// healthy are the tools of a host on which all is well: shell scripts by name.
// What they print is from real ones. A fake QEMU that would run on ends with 99,
// which the fake timeout takes for the end of the time.
var healthy = map[string]string{
	"bash":     `export USER=builder; shift; exec /bin/sh -c "$1"`,
	"printenv": `[ -n "${USER+x}" ] || exit 1; echo "$USER"`,
	"nix-store": `case " $* " in
*" --dry-run "*) exit 0 ;;
*) echo /nix/store/8xp1fk9jv6wz0yq2m4s7c3d5g1h2i3l4-nixos.iso.drv ;;
esac`,
	"nix":     `[ "$1" = path-info ] && { echo "/nix/store/8xp1fk9jv6wz0yq2m4s7c3d5g1h2i3l4-nixos.iso  1234567"; exit; }; echo "git+file:///src/image"; echo "└───packages"; echo "    └───x86_64-linux"; echo "        └───bootImage: package 'nixos.iso'"`,
	"timeout": `shift; "$@"; s=$?; [ $s = 99 ] && exit 124; exit $s`,
	"qemu-system-x86_64": `case " $* " in
*" --version "*) echo "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"; echo "Copyright (c) 2003-2022 Fabrice Bellard and the QEMU Project developers" ;;
*" -device help "*) echo "Network devices:"; echo 'name "virtio-net-pci", bus PCI, alias "virtio-net"'; echo "Misc devices:"; echo 'name "virtio-rng-pci", bus PCI, alias "virtio-rng"' ;;
*" -accel help "*) echo "Accelerators supported in QEMU binary:"; echo tcg; echo kvm ;;
*" -cpu help "*) echo "Available CPUs:"; echo "x86 qemu64                (alias configured by machine type)" ;;
*" -S "*) exit 99 ;;
*) exit 2 ;;
esac`,
	"qemu-img": `echo "image: disk.qcow2"; echo "file format: qcow2"; echo "virtual size: 4 GiB (4294967296 bytes)"`,
	"python3":  `exit 0`,
	"df": `echo "Filesystem     1024-blocks     Used Available Capacity Mounted on"
echo "/dev/vda1         41152736 10485760  20971520      34% /nix"
echo "tmpfs              8388608        0   8388608       0% /tmp"`,
	"cat": `case "$1" in
/proc/meminfo) echo "MemTotal:        8388608 kB"; echo "MemFree:          100000 kB"; echo "MemAvailable:    6291456 kB" ;;
*memory.max) echo max ;;
*) exit 1 ;;
esac`,
	"curl":       `printf 'HTTP/2 200 \r\ncontent-type: text/x-nix-cache-info\r\n\r\n'`,
	"find":       `echo "$2/iso/nixos-25.05-x86_64-linux.iso"`,
	"journalctl": `echo "-- No entries --"; exit 1`,
	"dmesg":      `echo "[    0.000000] Linux version 6.1.0"`,
}

// run runs the built-in host list with the tools, and judges what it recorded.
func run(t *testing.T, tools map[string]string) map[string]rules.Verdict {
	t.Helper()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("the fake tools are scripts for /bin/sh")
	}
	bin := t.TempDir()
	for name, script := range tools {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/bin/sh", filepath.Join(bin, "sh")); err != nil {
		t.Fatal(err)
	}
	params := profile(t)
	maps.Copy(params, map[string][]string{
		"qemu": {"qemu-system-x86_64"}, "python": {"python3"}, "home": {"/home/builder"}, "store": {"/nix/store"},
		"tmpdir": {"/tmp"}, "cgroup-limit": {"/sys/fs/cgroup/memory.max"}, "flake": {"."}, "image": {"disk.qcow2"}, "result": {"result"},
		"store-path": {"/nix/store/8xp1fk9jv6wz0yq2m4s7c3d5g1h2i3l4-nixos.iso"},
	})
	t.Setenv("PATH", bin) // where programs are looked up
	list, left := Fill(At(builtin(t), Host), params)
	for _, s := range left {
		switch _, wanted := tools[s.Spec.Tool]; {
		case wanted || s.Spec.Tool == "", !strings.HasSuffix(s.Why, " is not on PATH"):
			t.Errorf("%s was left out: %s", s.Spec.Name, s.Why)
		}
	}
	b, err := record.Create(filepath.Join(t.TempDir(), "run"), "forensics", "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	RunAll(context.Background(), list, "", []string{"PATH=" + bin}, func(r Record) {
		if err := b.Append("host/"+r.Name+".json", r); err != nil {
			t.Error(err)
		}
	})
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	runs, problems := bundle.Find(os.DirFS(b.Dir()), "run")
	if len(runs) != 1 || len(problems) > 0 {
		t.Fatalf("%d runs, problems %v", len(runs), problems)
	}
	out := catalogue(t).Evaluate(analyzers.Analyze(runs[0], all.List, params), params)
	for _, p := range slices.Concat(runs[0].Problems, out.Problems) {
		// The rules compare the limit as a number also where it is "max".
		if !strings.Contains(p.Text, "host.resources") || !strings.Contains(p.Text, "conversion") {
			t.Errorf("problem: %s", p.Text)
		}
	}
	got := map[string]rules.Verdict{}
	for _, v := range out.Verdicts {
		got[v.Condition.ID] = v
	}
	return got
}

// decided is what host probes alone decide on a healthy host.
var decided = []string{"host.user-env", "host.nix", "host.qemu", "host.python", "host.resources", "host.network", "virt.confinement", "iso.build"}

func TestHealthyHost(t *testing.T) {
	got := run(t, healthy)
	for _, id := range decided {
		if v := got[id]; v.Status != rules.Pass {
			t.Errorf("%s: %s, want pass: %s", id, v.Status, v.Because)
		}
	}
	for id, v := range got {
		if v.Status == rules.Fail {
			t.Errorf("%s: fail: %s", id, v.Because)
		}
	}
}

// broken are hosts with one thing wrong: the tool that differs (without a script
// it is absent), and the condition that fails for it.
var broken = []struct {
	name, tool, script, fails, because string
}{
	{"nix missing", "nix", "", "host.nix", "nix"},
	{"nix on no login shell's PATH", "bash", `export USER=builder; [ "$1" = -lc ] && PATH=/nowhere:${0%/*}/none; shift; exec /bin/sh -c "$1"`, "host.nix", "nix"},
	{"nix refuses the flake", "nix", `echo "error: attribute 'bootImage' missing" >&2; exit 1`, "host.nix", "attribute 'bootImage' missing"},
	{"USER unset in the login shell", "bash", `[ "$1" = -lc ] && unset USER || export USER=builder; shift; exec /bin/sh -c "$1"`, "host.user-env", "in a login shell"},
	{"USER unset in the other shell", "bash", `[ "$1" = -c ] && unset USER || export USER=builder; shift; exec /bin/sh -c "$1"`, "host.user-env", "in a non-login shell"},
	{"QEMU missing", "qemu-system-x86_64", "", "host.qemu", "qemu-system-x86_64"},
	{"QEMU without virtio-rng", "qemu-system-x86_64", strings.Replace(healthy["qemu-system-x86_64"], `name "virtio-rng-pci"`, `name "usb-mouse"`, 1), "host.qemu", "virtio-rng"},
	{"QEMU does not start", "qemu-system-x86_64", strings.Replace(healthy["qemu-system-x86_64"], "exit 99", `echo "qemu-system-x86_64: failed to find romfile \"efi-virtio.rom\"" >&2; exit 1`, 1), "host.qemu", "romfile"},
	{"pexpect missing", "python3", `echo 'Traceback (most recent call last):
  File "<string>", line 1, in <module>
ModuleNotFoundError: No module named '"'pexpect'" >&2; exit 1`, "host.python", "pexpect"},
	{"3 GB of disk", "df", strings.Replace(healthy["df"], "20971520", "3145728", 1), "host.resources", "3.00"},
	{"1 GB of memory", "cat", strings.Replace(healthy["cat"], "8388608", "1048576", 1), "host.resources", "1.00"},
	{"a control group with 2 GB", "cat", strings.Replace(healthy["cat"], "echo max", "echo 2147483648", 1), "host.resources", "2.00"},
	{"a proxy refuses the cache", "curl", `printf 'HTTP/1.1 403 Forbidden\r\n\r\n'; echo "curl: (56) CONNECT tunnel failed, response 403" >&2; exit 56`, "host.network", "403"},
	{"the cache is unresolvable", "curl", `echo "curl: (6) Could not resolve host: cache.nixos.org" >&2; exit 6`, "host.network", "resolve"},
	{"AppArmor denies KVM", "journalctl", `echo 'Nov 23 10:00:00 h kernel: audit: type=1400 audit(1.1:1): apparmor="DENIED" operation="open" profile="libvirt-1" name="/dev/kvm" pid=1 comm="qemu-system-x86"'`, "virt.confinement", "DENIED"},
	{"two images", "find", `echo "$2/iso/a.iso"; echo "$2/iso/b.iso"`, "iso.build", "2 .iso"},
}

func TestBrokenHosts(t *testing.T) {
	for _, tt := range broken {
		t.Run(tt.name, func(t *testing.T) {
			tools := maps.Clone(healthy)
			if tools[tt.tool] = tt.script; tt.script == "" {
				delete(tools, tt.tool)
			}
			for id, v := range run(t, tools) {
				switch {
				case id == tt.fails && v.Status != rules.Fail:
					t.Errorf("%s: %s, want fail: %s", id, v.Status, v.Because)
				case id == tt.fails && !strings.Contains(v.Because, tt.because):
					t.Errorf("%s fails because %q, want %q", id, v.Because, tt.because)
				case id != tt.fails && v.Status == rules.Fail:
					t.Errorf("%s: fails too: %s", id, v.Because)
				}
			}
		})
	}
}

// TestUndecidedHosts: what a host's own tools keep from being known is no failure
// of what they were to show.
func TestUndecidedHosts(t *testing.T) {
	for _, tt := range []struct{ name, tool, script, id string }{
		{"no timeout", "timeout", "", "host.qemu"},
		{"a QEMU that is killed from outside", "qemu-system-x86_64", strings.Replace(healthy["qemu-system-x86_64"], "exit 99", "echo slow >&2; kill -9 $$", 1), "host.qemu"},
		{"no curl", "curl", "", "host.network"},
		{"no df", "df", "", "host.resources"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tools := maps.Clone(healthy)
			if tools[tt.tool] = tt.script; tt.script == "" {
				delete(tools, tt.tool)
			}
			for id, v := range run(t, tools) {
				if id == tt.id && v.Status == rules.Pass || v.Status == rules.Fail {
					t.Errorf("%s: %s: %s", id, v.Status, v.Because)
				}
			}
		})
	}
}

// TestRealHost runs the list on this machine, less the network: each probe gives a
// record, and none reaches its limit.
func TestRealHost(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash: not a host for these probes")
	}
	list, left := Fill(At(builtin(t), Host), HostParams("."))
	list = slices.DeleteFunc(list, func(s Spec) bool { return s.Name == "cache" || s.Name == "nix-cache" })
	for _, s := range left {
		if !strings.HasSuffix(s.Why, " has no value") && !strings.HasSuffix(s.Why, " is not on PATH") {
			t.Errorf("%s: %s", s.Spec.Name, s.Why)
		}
	}
	i := 0
	// A home of its own: what a login shell runs there is not ours to wait for.
	env := append(os.Environ(), "HOME="+t.TempDir())
	RunAll(context.Background(), list, "", env, func(r Record) {
		if r.Name != list[i].Name || r.TimedOut {
			t.Errorf("record %d: %s %v, want %s", i, r.Name, r.TimedOut, list[i].Name)
		}
		i++
	})
	if i != len(list) {
		t.Errorf("%d records of %d probes", i, len(list))
	}
}
