package qemu

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

func TestFacts(t *testing.T) { analyzertest.Run(t, Analyzer) }

// facts runs the analyzer on one artifact and writes its facts as
// "name subject=value", those named in skip left out.
func facts(t *testing.T, kind bundle.Kind, text string, skip ...string) []string {
	t.Helper()
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.log", kind, []byte(text))}}
	var got []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
		if !slices.Contains(skip, f.Name) {
			got = append(got, fmt.Sprintf("%s %s=%s", f.Name, f.Subject, f.Value))
		}
	}
	for _, p := range run.Problems {
		got = append(got, "problem: "+p.Text)
	}
	slices.Sort(got)
	return got
}

const q = "qemu-system-x86_64: "

// messageCases are lines of QEMU's standard error as they stand in a serial
// transcript, what they show, and lines that nearly say the same. Most were
// printed by QEMU 7.2.
var messageCases = []struct{ line, refused string }{
	{q + "-netdev user,id=n,hostfwd=tcp::22-:22: could not set up host forwarding rule 'tcp::22-:22'", "hostfwd"},
	{q + "-netdev user,id=n,hostfwd=tcp:127.0.0.1:22-:22: Could not set up host forwarding rule 'tcp:127.0.0.1:22-:22'", "hostfwd"},
	{q + "-netdev user,id=n,hostfwd=x: Invalid host forwarding rule 'x' (Bad protocol name)", "hostfwd"},
	{q + "-foo: invalid option", "option"},
	{q + "-smp: requires an argument", "option"},
	{q + "-m abc: Parameter 'size' expects a non-negative number below 2^64", "option"},
	{q + "Invalid boot device 'z'", "option"},
	{q + "-device nosuch: 'nosuch' is not a valid device model name", "device"},
	{q + "-device virtio-net-pci,foo=bar: Property 'virtio-net-pci.foo' not found", "device"},
	{q + "-device e1000,netdev=zz: Property 'e1000.netdev' can't find value 'zz'", "device"},
	{q + "-device nosuch: Parameter 'driver' expects pluggable device type", "device"},
	{q + "-drive file=/dev/null,if=foo: unsupported bus type 'foo'", "device"},
	{q + "-drive file=/d.img,if=virtio: Could not open '/d.img': No such file or directory", "image"},
	{q + "-drive file=/d.img,format=qcow2: Image is not in qcow2 format", "image"},
	{q + "-hda /root: 'file' driver requires '/root' to be a regular file", "image"},
	{"qemu: could not open kernel file '/k': No such file or directory", "image"},
	{"qemu: could not load PC BIOS 'nosuch.bin'", "firmware"},
	{q + "-device virtio-net-pci: failed to find romfile \"efi-virtio.rom\"", "firmware"},
	{q + "-drive file=/d.img: Failed to get \"write\" lock", "lock"},
	{q + "-drive file=/d.img: Failed to get shared \"write\" lock", "lock"},
	{q + "-accel kvm: failed to initialize kvm: Permission denied", "accel"},
	{q + "-accel foo: invalid accelerator foo", "accel"},
	{q + "CPU model 'host' requires KVM or HVF", "accel"},
	{q + "cannot set up guest memory 'pc.ram': Cannot allocate memory", "memory"},
	{q + "-netdev foo,id=n: Parameter 'type' does not accept value 'foo'", "netdev"},
	{q + "-netdev tap,id=n: could not configure /dev/net/tun: Operation not permitted", "netdev"},
	{q + "unsupported machine type", "machine"},
	{q + "unable to find CPU model 'nosuch'", "machine"},
	{q + "Invalid SMP CPUs 4000. The max CPUs supported by machine 'pc-i440fx-7.2' is 255", "machine"},
	{q + "-serial tcp:127.0.0.1:1: Failed to connect to '127.0.0.1:1': Connection refused", "chardev"},
	{q + "-qmp unix:/nonexist/s,server=on: Failed to bind socket to /nonexist/s: No such file or directory", "chardev"},
	{q + "Display 'gtk' is not available.", "display"},
	// In the middle of what the guest left on the line.
	{"(press RETURN)" + q + "-foo: invalid option", "option"},
	// Errors of another class, or of a running QEMU.
	{q + "Error loading uncompressed kernel without PVH ELF Note", "image"},
	{q + "virtio: zero sized buffers are not allowed", "-"},
	// No errors.
	{q + "warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]", ""},
	{q + "-drive foo: warning: short-form boolean option 'foo' deprecated", ""},
	{q + "-serial unix:/s,server=on: info: QEMU waiting for connection on: disconnected:unix:/s,server=on", ""},
	{q + "Slirp: Failed to send packet, ret: -1", ""},
	// Not QEMU's.
	{"bash: qemu-system-x86_64: command not found", ""},
	{"echo 'qemu-system-x86_64: odd words'", ""},
	{"libvirt: QEMU Driver error : Could not open '/d.img'", ""},
	{"the qemu: manual says little", ""},
	{"systemd[1]: Detected virtualization qemu.", ""},
	{"Could not open '/dev/sda': No such file or directory", ""},
	{"mount: Failed to get \"write\" lock", ""},
}

func TestMessages(t *testing.T) {
	for _, tt := range messageCases {
		var refused, failed string
		for _, f := range facts(t, bundle.Serial, "SeaBIOS\r\n"+tt.line+"\r\n") {
			switch name, value, _ := strings.Cut(f, " ="); name {
			case "qemu.refused":
				refused = value
			case "qemu.error":
				failed = value
			}
		}
		want := strings.TrimPrefix(tt.refused, "-")
		if refused != want || (failed != "") != (tt.refused != "") {
			t.Errorf("%s\n got %q, error %q; want %q", tt.line, refused, failed, tt.refused)
		}
		if failed != "" && !strings.HasSuffix(tt.line, failed) {
			t.Errorf("%s: error %q", tt.line, failed)
		}
	}
}

// TestLines: what else single lines show, by the kind of artifact.
func TestLines(t *testing.T) {
	argv := "qemu-system-x86_64 -m 64"
	for _, tt := range []struct {
		kind bundle.Kind
		in   string
		want string // facts, joined with "; "; firmware and accel left out
	}{
		{bundle.Serial, q + "terminating on signal 15 from pid 104 (/bin/bash)\n", "qemu.terminated =signal 15 from pid 104 (/bin/bash)"},
		{bundle.Serial, "(press RETURN)" + q + "terminating on signal 2\n", "qemu.terminated =signal 2"},
		{bundle.Serial, "systemd: terminating on signal 15\n", ""},
		// KVM.
		{bundle.Serial, "Could not access KVM kernel module: Permission denied\n", "qemu.denied =Could not access KVM kernel module: Permission denied; qemu.error =Could not access KVM kernel module: Permission denied; qemu.kvm-failed =Could not access KVM kernel module: Permission denied; qemu.refused =accel"},
		{bundle.Serial, "Could not access KVM kernel module: No such file or directory\n", "qemu.error =Could not access KVM kernel module: No such file or directory; qemu.kvm-failed =Could not access KVM kernel module: No such file or directory; qemu.refused =accel"},
		{bundle.Serial, "KVM internal error. Suberror: 1\n", "qemu.error =KVM internal error. Suberror: 1; qemu.kvm-failed =KVM internal error. Suberror: 1"},
		{bundle.Serial, q + "error: failed to set MSR 0x38f to 0x7000000ff\n", "qemu.error =error: failed to set MSR 0x38f to 0x7000000ff; qemu.kvm-failed =error: failed to set MSR 0x38f to 0x7000000ff"},
		{bundle.Serial, q + "-accel kvm: failed to initialize kvm: No such device\n" + q + "falling back to tcg\n", ""},
		{bundle.Serial, "[    0.1] kvm-clock: using sched offset\n", ""},
		// Denied.
		{bundle.Serial, q + "-netdev tap,id=n: could not open /dev/net/tun: Permission denied\n", "qemu.denied =-netdev tap,id=n: could not open /dev/net/tun: Permission denied; qemu.error =-netdev tap,id=n: could not open /dev/net/tun: Permission denied; qemu.refused =netdev"},
		{bundle.Serial, q + "-drive file=/d: Could not open '/d': Permission denied\n", "qemu.error =-drive file=/d: Could not open '/d': Permission denied; qemu.refused =image"},
		{bundle.Harness, "audit: apparmor=\"DENIED\" operation=\"open\" name=\"/dev/kvm\" comm=\"qemu-system-x86\"\n", "qemu.denied =audit: apparmor=\"DENIED\" operation=\"open\" name=\"/dev/kvm\" comm=\"qemu-system-x86\""},
		{bundle.Harness, "audit: apparmor=\"DENIED\" operation=\"open\" name=\"/etc/qemu\" comm=\"cat\"\n", ""},
		// Missing.
		{bundle.Harness, "E   pexpect.exceptions.ExceptionPexpect: The command was not found or was not executable: qemu-system-x86_64.\n", "qemu.missing =pexpect.exceptions.ExceptionPexpect: The command was not found or was not executable: qemu-system-x86_64."},
		{bundle.Harness, "pexpect.exceptions.ExceptionPexpect: The command was not found or was not executable: ssh.\n", ""},
		{bundle.Serial, "bash: line 1: qemu-system-x86_64: command not found\n", "qemu.missing =bash: line 1: qemu-system-x86_64: command not found"},
		{bundle.Serial, "sh: 1: qemu-system-x86_64: not found\n", "qemu.missing =sh: 1: qemu-system-x86_64: not found"},
		{bundle.Serial, "nixos login: root\nbash: qemu-system-x86_64: command not found\n", ""},
		{bundle.Harness, "[2026-03-01T10:00:00Z] Serial output: bash: qemu-system-x86_64: command not found\n", "run.ended =2026-03-01T10:00:00Z; run.started =2026-03-01T10:00:00Z"},
		{bundle.Harness, "FileNotFoundError: [Errno 2] No such file or directory: '/usr/bin/qemu-system-x86_64'\n", "qemu.missing =FileNotFoundError: [Errno 2] No such file or directory: '/usr/bin/qemu-system-x86_64'"},
		{bundle.Harness, "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/qemu-system-x86_64.log'\n", ""},
		{bundle.Harness, "SKIPPED [2] tests/test_vm.py:9: qemu-system-x86_64 is not available\n", "qemu.missing =SKIPPED [2] tests/test_vm.py:9: qemu-system-x86_64 is not available"},
		{bundle.Harness, "    pytest.skip(\"qemu-system-x86_64 is not available\")\n", ""},
		{bundle.Harness, "zsh: command not found: qemu-system-x86_64\n", "qemu.missing =zsh: command not found: qemu-system-x86_64"},
		{bundle.Harness, "zsh: command not found: qemu-img\n", ""},
		// The end of the process.
		{bundle.Capture, "QEMU process is no longer running.\nPID: 7\nExit status: 1\nSignal status: unknown\n", "qemu.exit =1"},
		{bundle.Capture, "QEMU process is no longer running.\nExit status: None\nSignal status: 9\n", "qemu.exit =signal 9"},
		{bundle.Capture, "QEMU process is still running.\nExit status: 1\n", ""},
		{bundle.Capture, "Exit status: 1\n", ""},
		{bundle.Harness, "QEMU ended with 1\n", "qemu.exit =1"},
		{bundle.Harness, "QEMU exited with status -15\n", "qemu.exit =signal 15"},
		{bundle.Harness, "QEMU ended with a bang\n", ""},
		// Commands.
		{bundle.Harness, "QEMU command: " + argv + "\n", "qemu.argv =" + argv + "; qemu.memory =64"},
		{bundle.Harness, "+ " + argv + " 2>log\n", "qemu.argv =" + argv + "; qemu.memory =64"},
		{bundle.Harness, "+ qemu-img create d.img 1G\n", ""},
		{bundle.Harness, "QEMU command: not recorded\n", ""},
		{bundle.Harness, "command: /usr/bin/qemu-system-x86_64\nargs: [b'/usr/bin/qemu-system-x86_64', b'-m', b'64']\n", "qemu.argv =/usr/bin/" + argv + "; qemu.memory =64"},
		{bundle.Harness, "args: ['ssh', 'qemu-system-x86_64']\n", ""},
		{bundle.Harness, "    cmd = [\n        qemu_executable,\n        \"-m\",\n        \"64\",\n    ]\n", ""},
		{bundle.Harness, "Serial output: QEMU command: " + argv + "\n", ""},
		{bundle.Serial, "QEMU command: " + argv + "\n", ""},
		// Version.
		{bundle.Harness, "pexpect 4.8.0, QEMU emulator version 7.2.22 (Debian 1:7.2)\n", "qemu.version =7.2.22"},
		{bundle.Harness, "QEMU Virtual CPU version 2.5+\n", ""},
		{bundle.Harness, "Serial output: QEMU 9.1.0 monitor - type 'help' for more information\n", "qemu.version =9.1.0"},
		// The image.
		{bundle.Harness, "ISO: /tmp/a.iso\n", "iso.image =/tmp/a.iso"},
		{bundle.Harness, "ISO: none\n", ""},
		{bundle.Harness, "boot_image_iso = PosixPath('/tmp/a.iso')\n", "iso.image =/tmp/a.iso"},
		{bundle.Harness, "disk = PosixPath('/tmp/a.iso')\n", ""},
		{bundle.Harness, "Boot image details: iso=/tmp/a.iso store=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a.iso deriver=unknown-deriver narHash=sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
			"iso.image =/tmp/a.iso; nix.nar-hash =sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; nix.store-path =/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a.iso"},
		{bundle.Harness, "Store path: /nix/store/short-a.iso\nNAR hash: sha256-short\n", ""},
		// Times.
		{bundle.Harness, "[2026-03-01T10:00:00.25+02:00] one\n[2026-03-01T10:00:09+02:00] two\n", "run.ended =2026-03-01T08:00:09Z; run.started =2026-03-01T08:00:00Z"},
		{bundle.Harness, "2026-03-01T10:00:00 one\n", ""},
	} {
		if got := strings.Join(facts(t, tt.kind, tt.in, "qemu.firmware", "qemu.accel"), "; "); got != tt.want {
			t.Errorf("%s: %s\n got %s\nwant %s", tt.kind, tt.in, got, tt.want)
		}
	}
}

func TestMetadata(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"qemu": {"command": ["qemu-system-x86_64", "-m", "64"], "version": "QEMU emulator version 8.2.2 (x)", "exit_status": 1}}`,
			"qemu.argv =qemu-system-x86_64 -m 64; qemu.exit =1; qemu.memory =64; qemu.version =8.2.2"},
		{`{"qemu": {"command": "qemu-system-x86_64 -m 64"}}`, "qemu.argv =qemu-system-x86_64 -m 64; qemu.memory =64"},
		{`{"argv": ["qemu-system-x86_64"], "version": "9.1.0", "pid": 4, "exit_status": -9, "stderr": "qemu-system-x86_64: -x: invalid option\n", "start": "2026-03-01T10:00:00Z"}`,
			"qemu.argv =qemu-system-x86_64; qemu.error =-x: invalid option; qemu.exit =signal 9; qemu.refused =option; qemu.version =9.1.0; run.started =2026-03-01T10:00:00Z"},
		{`{"argv": ["qemu-system-x86_64"], "pid": 4, "exit_status": null, "stderr": ""}`, "qemu.argv =qemu-system-x86_64"},
		{`{"argv": ["make"], "version": "4.3.1", "exit_status": 2, "stderr": "qemu-system-x86_64: -x: invalid option"}`, ""},
		{`{"iso_path": null, "store_path": 3, "deriver": "unknown-deriver", "nar_hash": "sha256-x", "failure": null}`, ""},
		{`{"artifact": {"iso_path": "/a/b.iso"}, "generated_at": "2026-03-01T10:00:00+00:00", "timings": {"start": "noon"}}`, "iso.image =/a/b.iso; run.started =2026-03-01T10:00:00Z"},
		{`{"iso_path": "/a/b.iso", "qemu`, "iso.image =/a/b.iso; problem: the JSON text breaks off; what stands before was read"},
		{`[]`, ""},
	} {
		if got := strings.Join(facts(t, bundle.Metadata, tt.in, "qemu.firmware", "qemu.accel"), "; "); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// FuzzMetadata: facts are declared, their evidence lies in the artifact, and
// nothing panics (Analyze turns a panic into a problem).
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"qemu": {"command": ["qemu-system-x86_64", "-device", "a,b=c"], "version": "QEMU emulator version 8.2.2"}, "timings": {"end": "2026-03-01T10:00:00Z"}}`), true)
	f.Add([]byte(`{"argv": ["qemu-kvm"], "stderr": "qemu-kvm: \u00e9\nKVM internal error. Suberror: 1"}`), true)
	for _, tt := range messageCases {
		f.Add([]byte("[2026-03-01T10:00:00Z] "+tt.line), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, metadata bool) {
		kind := bundle.Harness
		if metadata {
			kind = bundle.Metadata
		}
		analyzertest.Sound(t, Analyzer, kind, data)
	})
}
