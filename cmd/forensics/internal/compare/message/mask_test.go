package message

import (
	"strings"
	"testing"
)

// masked are messages as programs write them, with their template.
var masked = []struct{ message, template string }{
	// Times.
	{"[   12.345678] random: crng init done", "[<time>] random: crng init done"},
	{"[12345.345678] random: crng init done", "[<time>] random: crng init done"},
	{"rtc_cmos 00:05: setting system clock to 2026-11-23T07:02:31 UTC (1795417351)", "rtc_cmos <n>:<n>: setting system clock to <time> (<n>)"},
	{"Nov 23 07:02:53 nixos systemd[1]: Starting X...", "<time> nixos systemd[<n>]: Starting X..."},
	{"Oct  8 06:07:35.123456 nixos x", "<time> nixos x"},
	{"#1-NixOS SMP PREEMPT_DYNAMIC Sun Oct 19 14:34:07 UTC 2025", "#<n>-NixOS SMP PREEMPT_DYNAMIC <time>"},
	{"Active: inactive (dead) since Mon 2026-11-23 07:03:08 UTC; 4s ago", "Active: inactive (dead) since <time>; <n> ago"},
	{"at 2026-11-23T07:02:56.126741+00:00, done", "at <time>, done"},
	{"10.0.2.2 - - [23/Nov/2026:07:02:31 +0000] x", "<ip> - - [<time>] x"},
	{"Date: Mon, 23 Nov 2026 07:02:31 +0000", "Date: <time>"},
	{"run 2025-12-25T234140Z-vm-run", "run <time>-vm-run"},
	{"took 0:00:31.25, at 07:02:31", "took <time>, at <time>"},
	{"May fail Monday", "May fail Monday"},

	// Numbers with units.
	{"Consumed 6.127s CPU time, no IP traffic.", "Consumed <n> CPU time, no IP traffic."},
	{"(44s / no limit)", "(<n> / no limit)"},
	{"(1min 4s / no limit)", "(<n> / no limit)"},
	{"Memory: 260860K/2096620K available", "Memory: <n>/<n> available"},
	{"[vda] 8388608 512-byte logical blocks (4.29 GB/4.00 GiB)", "[vda] <n> <n>-byte logical blocks (<n> GB/<n> GiB)"},
	{"loss 1e-07, 12µs, 100%, 1,234", "loss <n>, <n>, <n>%, <n>"},
	{"NixOS 24.05.20241230.b134951 Installer", "NixOS <n> Installer"},
	{"systemd 252.39-1~deb12u2 running", "systemd <n>-<n>~deb12u2 running"},
	{"line 25: modprobe: command not found", "line <n>: modprobe: command not found"},

	// Addresses.
	{"lan: DHCPv4 address 10.0.2.15/24, gateway 10.0.2.2", "lan: DHCPv4 address <ip>/<n>, gateway <ip>"},
	{"hostfwd=tcp:127.0.0.1:53645-:22", "hostfwd=tcp:<ip>:<n>-:<n>"},
	{"inet6 fe80::5054:ff:fe12:3456/64", "inet6 <ip>/<n>"},
	{"listen on ::1 port 22, [::ffff:10.0.2.2]:80, std::string", "listen on <ip> port <n>, [<ip>]:<n>, std::string"},
	{"Hardware Address: 52:54:00:12:34:56", "Hardware Address: <mac>"},
	{"pci 0000:00:1f.2: [1af4:1000] type 00", "pci <pci>: [1af4:1000] type <n>"},
	{"[mem 0x7ffe19df-0x7ffe1a52], RIP: 0010:ffffffffa1b2c3d4 foo+0x12/0x340", "[mem <n>-<n>], RIP: <n>:<n> foo+<n>/<n>"},
	{"add::bad and a:b", "add::bad and a:b"},

	// Ids.
	{"UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427 mounted", "UUID=<uuid> mounted"},
	{`dev-disk-by\x2duuid-1b4e28ba\x2d2fa1\x2d11d2\x2d883f\x2d0016d3cca427.device`, `dev-disk-by\x2duuid-<uuid>.device`},
	{"machine id b134951ab134951ab134951ab134951a", "machine id <n>"},
	{"foo[1234]: bar", "foo[<n>]: bar"},
	{"__PROMPT_READY__1766706242317__", "__PROMPT_READY__<n>__"},
	{"key: SHA256:ceyq3bd4qB+ORMkHF660CDcGt1X1IUPoC5MgrmMZ7Co x", "key: SHA256:<hash> x"},
	{"NAR hash: sha256-O2NeiHSAYJ112/RRRJYNTnBL9jz2m+0AmKDOqaaTDLY=", "NAR hash: sha256-<hash>"},
	{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPd9x7Yq2W8vK3mT5bN1cR4hJ6gL0pQ2sU8wX5zA9eF", "ssh-ed<n> <blob>"},
	{"facade decade deadbeef effaced", "facade decade deadbeef effaced"},

	// Paths.
	{`File "/nix/store/p3xcnxdcakib435q7ci3fx2pn32ap7zx-pre-nixos-0.1.0/lib/python3.11/x.py"`, `File "/nix/store/<hash>-pre-nixos-<n>/lib/python3.11/x.py"`},
	{"disk /tmp/pytest-of-root/pytest-0/disk0/disk.img, /tmp/tmpab12 '/tmp/x/'", "disk /tmp/<tmp>/disk.img, /tmp/<tmp> '/tmp/<tmp>/'"},
	{"/etc/systemd/network/20-lan.network", "/etc/systemd/network/<n>-lan.network"},

	// Names keep their digits.
	{"vda vda1 ttyS0 ens4 eth0 md127 nvme0n1p2 sha256 x86_64 virtio0 i440FX e1000", "vda vda1 ttyS0 ens4 eth0 md127 nvme0n1p2 sha256 x86_64 virtio0 i440FX e1000"},
	{"python3.11 dm-0 ata2.00 ISO-9660 UTF-8 linux-6.1.0", "python3.11 dm-0 ata2.00 ISO-<n> UTF-8 linux-<n>"},
	{"getty@tty1.service user@1000.service user-1000.slice session-12.scope run-u34.service", "getty@tty1.service user@1000.service user-1000.slice session-<n>.scope run-u34.service"},
	{"percpu: s217088 r8192", "percpu: s<n> r8192"},

	{"RAX: ffffffffffffffda ffffffff", "RAX: <n> ffffffff"},
	{"input: PC Speaker as /devices/platform/pcspkr/input/input3", "input: PC Speaker as /devices/platform/pcspkr/input/input<n>"},

	// What went wrong keeps its digits.
	{"Main process exited, code=exited, status=127/n/a", "Main process exited, code=exited, status=127/n/a"},
	{"code=killed, status=9/KILL", "code=killed, status=9/KILL"},
	{"OSError: [Errno 22] Invalid argument", "OSError: [Errno 22] Invalid argument"},
	{"Command returned non-zero exit status 5.", "Command returned non-zero exit status 5."},
	{"probe of 0000:00:04.0 failed with error -110", "probe of <pci> failed with error -110"},
	{"__EXIT__=1 exit code 2 rc=3 signal 11", "__EXIT__=1 exit code 2 rc=3 signal 11"},
	{"Attempted to kill init! exitcode=0x00007f00", "Attempted to kill init! exitcode=0x00007f00"},
	{"#PF: error_code(0x0002) - not-present page, error 0x1234567890", "#PF: error_code(0x0002) - not-present page, error <n>"},
	{"errors 12 status 1234", "errors <n> status <n>"},

	// Terminals.
	{"\x1b[0;1;31mFailed\x1b[0m to \x1b]8;;file://x\x07start\x1b]8;;\x07\tX ", "Failed to start X"},
	{"inet \x1b[35m10.0.2.15\x1b[0m/24", "inet <ip>/<n>"},
	{"", ""},
}

func TestMask(t *testing.T) {
	for _, c := range masked {
		if got := Mask(c.message); got != c.template {
			t.Errorf("Mask(%q)\n got %q\nwant %q", c.message, got, c.template)
		} else if again := Mask(got); again != got {
			t.Errorf("Mask(%q)\n got %q\nwant it unchanged", got, again)
		}
	}
}

// apart are messages that say different things.
var apart = [][2]string{
	{"Main process exited, code=exited, status=1/FAILURE", "Main process exited, code=exited, status=127/n/a"},
	{"OSError: [Errno 22] Invalid argument", "OSError: [Errno 2] No such file or directory"},
	{"virtio_blk virtio2: [vda] x", "virtio_blk virtio2: [vdb] x"},
	{"Command 'a' returned non-zero exit status 5.", "Command 'a' returned non-zero exit status 1."},
	{"pci 0000:00:04.0: [1af4:1000]", "pci 0000:00:04.0: [1af4:1001]"},
	{"failed with error -22", "failed with error -110"},
	{"ens4: Gained carrier", "ens3: Gained carrier"},
	{"getty@tty1.service: Failed", "getty@tty2.service: Failed"},
	{`{"event": "x", "exit": 0}`, `{"event": "x", "exit": 1}`},
}

func TestMaskKeepsApart(t *testing.T) {
	for _, p := range apart {
		if a, b := Mask(p[0]), Mask(p[1]); a == b {
			t.Errorf("%q and %q are both %q", p[0], p[1], a)
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, c := range masked {
		f.Add(c.message)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m := Mask(s)
		if len(m) > 3*len(s)+8 {
			t.Errorf("%d bytes of %d", len(m), len(s))
		}
		if strings.ContainsAny(m, "\x1b\n\r\t") || strings.Contains(m, "  ") {
			t.Errorf("control characters or blanks in %q", m)
		}
		if again := Mask(m); again != m {
			t.Errorf("Mask(%q)\n is %q\nand again %q", s, m, again)
		}
	})
}
