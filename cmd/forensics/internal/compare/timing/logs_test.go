package timing

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers/analyzertest"
)

// What single artifacts show of time, and what they do not.
func TestLogs(t *testing.T) {
	for name, c := range map[string]struct{ files, want string }{
		"kernel from the console, until systemd": {`-- serial.log --
[    0.000000] Linux version 6.1
[    2.500000] Run /init as init process
[   11.250000] loop0: detected capacity change
[   12.000000] systemd[1]: systemd 257.9 running in system mode (+PAM)
[  300.000000] EXT4-fs: mounted
`, `
kernel stage kernel until stage-1 2.500
kernel stage stage-1 until systemd 9.500
kernel silence kernel 2.500
kernel silence stage-1 8.750`},
		"another boot follows": {`-- dmesg.txt --
[    0.000000] Linux version 6.1
[    2.500000] Run /init as init process
[    4.000000] reboot: Restarting system
[    0.000000] Linux version 6.1
[    9.500000] Run /init as init process
[   99.000000] systemd[1]: systemd 257.9 running in system mode (+PAM)
`, "\nkernel stage kernel until stage-1 2.500\nkernel silence kernel 2.500"},
		"a kernel that only started": {"-- serial.log --\n[    0.000000] Linux version 6.1\n[   90.000000] still here\n", ""},
		"no number of a boot":        {"-- dmesg.txt --\n[    0.000000] Linux version 6.1\n[99999999.000000] Run /init as init process\n[99999999.000000] y\n", ""},
		"journal of one unit, over midnight of a month": {`-- journal.txt --
Oct 31 23:59:50 nixos systemd[1]: Starting Pre-NixOS provisioning...
Nov 01 00:00:02 nixos pre-nixos[229]: hello
Nov 01 00:00:05 nixos systemd[1]: Finished Pre-NixOS provisioning.
Nov 01 00:09:00 nixos systemd[1]: pre-nixos.service: Consumed 8.131s CPU time.
`, "\nguest unit pre-nixos.service 15.000\nguest silence pre-nixos.service 12.000"},
		"over the end of a year, which the form does not write": {`-- journal.txt --
Dec 31 23:59:50 nixos systemd[1]: Starting Pre-NixOS provisioning...
Jan 01 00:00:02 nixos pre-nixos[229]: hello
Jan 01 00:00:05 nixos systemd[1]: Finished Pre-NixOS provisioning.
`, "\nguest unit pre-nixos.service 15.000\nguest silence pre-nixos.service 12.000"},
		"a clock that was set back": {`-- journal.txt --
Nov 23 07:02:53 nixos systemd[1]: Starting Pre-NixOS setup...
Nov 23 06:03:05 nixos systemd[1]: Finished Pre-NixOS setup.
`, ""},
		"journal of another unit": {`-- journal.txt --
Nov 23 07:02:53 nixos systemd[1]: Starting OpenSSH Daemon...
Nov 23 07:03:02 nixos sshd[229]: hello
Nov 23 07:03:05 nixos systemd[1]: Started OpenSSH Daemon.
`, ""},
		"journal of all units": {`-- journal.txt --
Nov 23 07:02:50 nixos systemd[1]: Starting OpenSSH Daemon...
Nov 23 07:02:53 nixos systemd[1]: Starting Pre-NixOS setup...
Nov 23 07:03:02 nixos pre-nixos-start[229]: hello
Nov 23 07:03:04 nixos systemd[1]: Started OpenSSH Daemon.
Nov 23 07:03:05 nixos systemd[1]: Finished Pre-NixOS setup.
`, "\nguest unit pre-nixos.service 12.000\nguest silence pre-nixos.service 9.000"},
		"two boots: the last one counts": {`-- journal.txt --
Nov 23 07:02:53 nixos systemd[1]: Starting Pre-NixOS provisioning...
Nov 23 07:03:53 nixos systemd[1]: Finished Pre-NixOS provisioning.
-- Reboot --
Nov 23 08:02:53 nixos systemd[1]: Starting Pre-NixOS provisioning...
Nov 23 08:02:55 nixos pre-nixos[229]: hello
Nov 23 08:02:57 nixos systemd[1]: Finished Pre-NixOS provisioning.
`, "\nguest unit pre-nixos.service 4.000\nguest silence pre-nixos.service 2.000"},
		"tries that fail, and one that does not": {`-- journal.txt --
Nov 23 07:00:00 nixos systemd[1]: Starting Pre-NixOS provisioning...
Nov 23 07:00:09 nixos systemd[1]: pre-nixos.service: Failed with result 'exit-code'.
Nov 23 07:00:09 nixos systemd[1]: Failed to start Pre-NixOS provisioning.
Nov 23 07:00:10 nixos systemd[1]: Starting Pre-NixOS provisioning...
Nov 23 07:00:12 nixos systemd[1]: Finished Pre-NixOS provisioning.
`, "\nguest unit pre-nixos.service 9.000 failed\nguest silence pre-nixos.service 9.000"},
		"time since boot": {`-- journal.txt --
[    1.000000] nixos kernel[0]: Linux version 6.1
[    5.500000] nixos systemd-journald[183]: Journal started
[    6.000000] nixos systemd[1]: Starting Pre-NixOS setup...
[    9.000000] nixos systemd[1]: Started Serial Getty on ttyS0.
[   16.000000] nixos pre-nixos[229]: hello
[   16.500000] nixos systemd[1]: Finished Pre-NixOS setup.
`, "\njournal stage systemd until login-prompt 3.500\njournal unit pre-nixos.service 10.500\njournal silence systemd 3.000\njournal silence pre-nixos.service 10.000"},
		"a status that waits": {`-- status.txt --
● sshd.service - OpenSSH
     Active: activating (start-pre) since Mon 2026-11-23 07:07:36 UTC; 1h 4min ago
● pre-nixos.service - Pre-NixOS provisioning
     Active: activating (start) since Mon 2026-11-23 07:07:36 UTC; 2min 21s ago
`, "\nguest unit pre-nixos.service 141.000 open"},
		"a status that waits no longer": {`-- status.txt --
○ pre-nixos.service - Pre-NixOS provisioning
     Active: inactive (dead) since Mon 2026-11-23 07:07:36 UTC; 2min 21s ago
`, ""},
		"durations": {`-- metadata.json --
{"qemu": {"command": ["qemu-system-x86_64"]}, "timings": {"boot_to_login_seconds": 38.688, "boot_to_ssh_seconds": 50, "build_seconds": 507.1, "total_seconds": 60}}
`, "\nmetadata stage none until login-prompt 38.688\nmetadata stage login-prompt until ssh 11.312"},
		"durations of nothing": {`-- metadata.json --
{"qemu": {"command": ["qemu-system-x86_64"]}, "timings": {"boot_to_login_seconds": null, "boot_to_ssh_seconds": "50", "total_seconds": 60}}
`, ""},
		"durations that cannot be": {`-- metadata.json --
{"qemu": {"command": ["qemu-system-x86_64"]}, "timings": {"boot_to_login_seconds": -1, "boot_to_ssh_seconds": 1e99}}
`, ""},
	} {
		ts, problems := collect(t, archive(t, c.files))
		if d := cmp.Diff(strings.TrimPrefix(c.want, "\n"), strings.Join(all(ts), "\n")); d != "" || len(problems) > 0 {
			t.Errorf("%s: -want +got\n%s%v", name, d, problems)
		}
	}
}

func TestHarness(t *testing.T) {
	for name, c := range map[string]struct{ log, want string }{
		"brackets, patterns": {`[2025-10-12T17:23:20.489719+00:00] Awaiting patterns: login: , root@.*# ? (timeout=600s)
[2025-10-12T17:25:23.985017+00:00] Matched pattern: 'login: '
[2025-10-12T17:25:24.037684+00:00] Awaiting patterns: __ROOT__, __USER__ (timeout=60s)
[2025-10-12T17:25:24.043605+00:00] Matched pattern: '__ROOT__'
[2025-10-12T17:25:34.056650+00:00] Matched pattern: 'nixos@.*\\$ ?'
[2025-10-12T17:25:34.109582+00:00] Matched pattern: 'PRE-NIXOS> '
[2025-10-12T17:25:35.172525+00:00] Running command: true
`, `
harness stage none until login-prompt 123.495
harness stage login-prompt until shell 10.072
harness stage shell 1.116 open`},
		"logging's stamps": {`2026-11-23 07:05:02,849 Expecting: login:  | root@x# (timeout 240 s)
2026-11-23 07:05:42,267 Matched: 'login: '
2026-11-23 07:05:46,037 Matched: '[$#] ?$'
`, `
harness stage none until login-prompt 39.418
harness stage login-prompt until shell 3.770
harness stage shell 0.000 open`},
		"other zones": {`2026-11-23T07:59:50+01:00 Expecting: login:  | root@x# (timeout 240 s)
2026-11-23T07:00:20Z Timed out after 240 s
2026-11-23T08:01:00+0100 Result: timed out
`, "\nharness stage none 30.000 open"},
		"gave up on something small, went on": {`2026-11-23T07:05:00Z Expecting: login:  (timeout 240 s)
2026-11-23T07:05:40Z Matched: 'login: '
2026-11-23T07:05:40Z Expecting: \(automatic login\) (timeout 1 s)
2026-11-23T07:05:41Z Timed out after 1 s
2026-11-23T07:05:43Z Matched: 'nixos@nixos:[^\\]]*\\]\\$'
2026-11-23T07:06:00Z Result: done
`, `
harness stage none until login-prompt 40.000
harness stage login-prompt until shell 3.000
harness stage shell 17.000 open`},
		"what the guest printed is not what came": {`2026-11-23T07:05:00Z Expecting: login:  (timeout 240 s)
2026-11-23T07:05:10Z Serial: Matched: 'login: '
2026-11-23T07:05:20Z   Matched: 'login: '
2026-11-23T07:05:30Z Killed
`, "\nharness stage none 30.000 open"},
		"a clock that goes back": {`2026-11-23T07:05:00Z Expecting: login:  (timeout 240 s)
2026-11-23T07:05:30Z Waiting
2026-11-23T07:04:00Z Matched: 'login: '
`, "\nharness stage none 30.000 open"},
		"a clock that was set": {`2026-11-23T07:05:00Z Expecting: login:  (timeout 240 s)
2036-11-23T07:05:30Z Matched: 'login: '
`, "\nharness stage none 0.000 open"},
		"no wait for a login": {`2026-11-23T07:05:00Z Expecting: root@x# (timeout 240 s)
2026-11-23T07:05:30Z Matched: 'root@x#'
2026-11-23T07:05:31Z Done
`, ""},
	} {
		ts, problems := collect(t, archive(t, "-- harness.log --\n"+c.log))
		if d := cmp.Diff(strings.TrimPrefix(c.want, "\n"), strings.Join(all(ts), "\n")); d != "" || len(problems) > 0 {
			t.Errorf("%s: -want +got\n%s%v", name, d, problems)
		}
	}
}

// The guest's clock was set while the unit ran: the observer did not watch it for
// so long.
func TestJumped(t *testing.T) {
	journal := `-- journal.txt --
Nov 23 07:02:53 nixos systemd[1]: Starting Pre-NixOS setup...
Nov 23 08:02:55 nixos systemd[1]: Finished Pre-NixOS setup.
`
	harness := "-- harness.log --\n2026-11-23T07:02:30Z Expecting: login:  (timeout 240 s)\n2026-11-23T07:05:30Z Result: done\n"
	for files, want := range map[string]int{journal: 1, journal + harness: 0} {
		ts, _ := collect(t, archive(t, files))
		n := 0
		for _, s := range ts.Spans {
			if s.What == Unit {
				n++
			}
		}
		if n != want {
			t.Errorf("%s%d units, want %d", files, n, want)
		}
	}
}

func TestTimespan(t *testing.T) {
	for s, want := range map[string]float64{
		"8s": 8, "2min 21s": 141, "1h 4min": 3840, "1h 1min 1s": 3661, "835ms": 0.835, "1min 2.345s": 62.345, "500us": 0.0005,
		"": -1, "ago": -1, "1 day 3h": -1, "2 months": -1, "8": -1, "s": -1, "-1s": -1, "1e9s": -1, "9999999999s": -1,
	} {
		got, ok := timespan(s)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	analyzertest.Pairs(t, []analyzertest.Pair{
		{Re: gettyRe, Yes: "Started Serial Getty on ttyS0.", No: "Started Getty on tty1."},
		{Re: gettyRe, Yes: "Started serial-getty@ttyS0.service - Serial Getty on ttyS0.", No: "Stopped Serial Getty on ttyS0."},
		{Re: startingRe, Yes: "Starting Pre-NixOS provisioning...", No: "Starting Pre-NixOS provisioning"},
		{Re: headRe, Yes: "● pre-nixos.service - Pre-NixOS", No: "     Loaded: loaded (/etc/x.service; enabled)"},
		{Re: activatingRe, Yes: "     Active: activating (start) since Mon 2026-11-23 07:07:36 UTC; 8s ago", No: "     Active: active (exited) since Mon 2026-11-23 07:07:36 UTC; 8s ago"},
		{Re: timespanRe, Yes: "21s", No: "21 s"},
		{Re: stampRe, Yes: "[2026-11-23T07:05:02.832553+00:00] x", No: "2026-11-23 x"},
		{Re: awaitRe, Yes: "Expecting: login:  (timeout 240 s)", No: "Expecting device /dev/ttyS0..."},
		{Re: matchedRe, Yes: "Matched: 'login: '", No: "Serial: Matched: 'login: '"},
		{Re: gaveUpRe, Yes: "Timed out after 240 s", No: "[ TIME ] Timed out waiting for device /dev/x."},
		{Re: promptRe, Yes: "root@nixos:[^]]*]#", No: "__ROOT__"},
		{Re: promptRe, Yes: "PRE-NIXOS> ", No: "(automatic login)"},
		{Re: bootToRe, Yes: "boot_to_ssh_seconds", No: "build_seconds"},
		{Re: kernelMarks[0].re, Yes: "Linux version 6.1.0", No: "linux: Linux version 6.1.0"},
		{Re: kernelMarks[1].re, Yes: "Run /init as init process", No: "Run /sbin/init as init process"},
		{Re: kernelMarks[2].re, Yes: "stage-2-init: running activation script...", No: "stage-1-init: loading module loop..."},
		{Re: kernelMarks[3].re, Yes: "systemd[1]: systemd 257.9 running in system mode (+PAM)", No: "systemd[600]: systemd 257.9 running in user mode"},
	})
}
