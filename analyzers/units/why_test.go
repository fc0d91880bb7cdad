package units

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

const stamp = "Mar 04 03:06:35 nixos "

// facts runs the analyzer on files and returns its facts as "name subject =
// value".
func facts(t testing.TB, files map[string]string) []string {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	runs, _ := bundle.Find(fsys, "run")
	var out []string
	for _, r := range runs {
		fs := analyzers.Analyze(r, []*analyzers.Analyzer{Analyzer}, analyzers.Params{"unit": {"pre-nixos.service"}})
		for _, p := range r.Problems {
			if strings.HasPrefix(p.Text, "analyzer ") {
				t.Error(p.Text)
			}
		}
		for _, f := range fs.All() {
			out = append(out, f.Name+" "+f.Subject+" = "+f.Value)
		}
	}
	return out
}

// failing wraps a unit's messages into the journal of a failed start. Lines
// without a process of their own are of pre-nixos-start[797].
func failing(body, end string) string {
	var b strings.Builder
	b.WriteString(stamp + "systemd[1]: Starting Pre-NixOS setup...\n")
	for l := range strings.Lines(body) {
		if !strings.HasPrefix(l, "@") {
			l = "@pre-nixos-start[797]: " + l
		}
		b.WriteString(stamp + l[1:])
	}
	if end == "" {
		end = "Main process exited, code=exited, status=1/FAILURE|Failed with result 'exit-code'."
	}
	for _, l := range strings.Split(end, "|") {
		b.WriteString(stamp + "systemd[1]: pre-nixos.service: " + l + "\n")
	}
	b.WriteString(stamp + "systemd[1]: Failed to start Pre-NixOS setup.\n")
	return b.String()
}

const passedOn = `Traceback (most recent call last):
  File "/nix/store/x-pre-nixos/lib/python3.11/site-packages/pre_nixos/apply.py", line 85, in apply_plan
    _run(cmd)
  File "/nix/store/y-python3/lib/python3.11/subprocess.py", line 571, in run
    raise CalledProcessError(retcode, process.args,
subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.
`

// What a failed unit logged, and which line names what broke.
var reasons = []struct {
	name, body, end string
	want            string
	topic           string
	command, unit   string // what is lacking
}{
	{name: "nothing", body: "hello\n", want: "pre-nixos.service: Main process exited, code=exited, status=1/FAILURE", topic: "other"},
	{name: "bash", body: "@pre-nixos-start[9]: /nix/store/z/bin/format: line 143: modprobe: command not found\n" + passedOn,
		want: "/nix/store/z/bin/format: line 143: modprobe: command not found", topic: "apply", command: "modprobe"},
	{name: "dash", body: "sh: 1: sgdisk: not found\n", want: "sh: 1: sgdisk: not found", topic: "apply", command: "sgdisk"},
	{name: "busybox", body: "/bin/sh: mkfs.ext4: not found\n", want: "/bin/sh: mkfs.ext4: not found", topic: "apply", command: "mkfs.ext4"},
	{name: "exec", body: "/bin/x: line 3: exec: disko: not found\n", want: "/bin/x: line 3: exec: disko: not found", topic: "apply", command: "disko"},
	{name: "env", body: "env: ‘python3’: No such file or directory\n", want: "env: ‘python3’: No such file or directory", topic: "other", command: "python3"},
	{name: "not a command", body: "lvm: device not found\n  Volume group \"main\" not found\nUUID not found\n",
		want: "pre-nixos.service: Main process exited, code=exited, status=1/FAILURE", topic: "other"},
	{name: "unit", body: "@systemctl[953]: Failed to restart systemd-networkd.service: Unit systemd-networkd.service not found.\n" + strings.ReplaceAll(strings.ReplaceAll(passedOn, "apply.py", "network.py"), "apply_plan", "configure_lan"),
		want: "Failed to restart systemd-networkd.service: Unit systemd-networkd.service not found.", topic: "network", unit: "systemd-networkd.service"},
	{name: "an ignored command, then an exception", body: "bash: line 2: zdb: command not found\nscanning\n" + `Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/inventory.py", line 20, in enumerate_disks
    size = int(f.read())
ValueError: invalid literal for int() with base 10: ''
`, want: "ValueError: invalid literal for int() with base 10: ''", topic: "detect"},
	{name: "exec step", body: "", end: "Failed at step EXEC spawning /run/sw/bin/pre-nixos: No such file or directory|Main process exited, code=exited, status=203/EXEC|Failed with result 'exit-code'.",
		want: "pre-nixos.service: Failed at step EXEC spawning /run/sw/bin/pre-nixos: No such file or directory", topic: "other", command: "/run/sw/bin/pre-nixos"},
	{name: "another step", body: "", end: "Failed at step CHDIR spawning /run/sw/bin/pre-nixos: No such file or directory|Main process exited, code=exited, status=200/CHDIR|Failed with result 'exit-code'.",
		want: "pre-nixos.service: Main process exited, code=exited, status=200/CHDIR", topic: "other"},
	{name: "timeout", body: "waiting\n", end: "start operation timed out. Terminating.|Main process exited, code=killed, status=15/TERM|Failed with result 'timeout'.",
		want: "pre-nixos.service: start operation timed out. Terminating.", topic: "other"},
	{name: "oom", body: "waiting\n", end: "A process of this unit has been killed by the OOM killer.|Main process exited, code=killed, status=9/KILL|Failed with result 'oom-kill'.",
		want: "pre-nixos.service: A process of this unit has been killed by the OOM killer.", topic: "other"},
	{name: "nix, nested", body: "@pre-nixos-start[868]: error:\n@pre-nixos-start[868]:        … while calling the 'head' builtin\n@pre-nixos-start[868]:          at /nix/store/a/lib/attrsets.nix:1575:11:\n@pre-nixos-start[868]:          1574|         || pred here\n@pre-nixos-start[868]:        (stack trace truncated; use '--show-trace' to show the full trace)\n@pre-nixos-start[868]:        error: The option `disko.devices.disk.vda.content.label' does not exist. Definition values:\n@pre-nixos-start[868]:        - In `/var/log/pre-nixos/disko-config.nix': \"EFI\"\n" + passedOn,
		want: "error: The option `disko.devices.disk.vda.content.label' does not exist. Definition values:", topic: "apply"},
	{name: "error alone", body: "error:\nFailed assertions:\n- no disk\n", want: "error: Failed assertions:", topic: "other"},
	{name: "a warning about an error", body: "warning: error: unable to download 'https://cache.nixos.org/nix-cache-info'; retrying in 300 ms\n" + passedOn,
		want: "subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "usage", body: "@pre-nixos-start[868]: Usage: disko [options] disk-config.nix\n@pre-nixos-start[868]:   --debug run with set -x\n" + passedOn,
		want: "Usage: disko [options] disk-config.nix; subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "a child's last words", body: "{\"event\": \"pre_nixos.apply.command.start\", \"command\": \"disko plan.nix\"}\n@pre-nixos-start[868]: reading plan.nix\n@pre-nixos-start[868]: plan.nix: no disk in it\n" + passedOn,
		want: "plan.nix: no disk in it; subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "a child's last words, and its event", body: "{\"event\": \"pre_nixos.apply.command.start\", \"command\": \"disko plan.nix\"}\n@pre-nixos-start[868]: plan.nix: no disk in it\n{\"event\": \"pre_nixos.apply.command.finished\", \"command\": \"disko plan.nix\", \"returncode\": 1}\n" + passedOn,
		want: "plan.nix: no disk in it; subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "standard error that the program kept", body: "{\"event\": \"pre_nixos.apply.exit\", \"argv\": [\"disko\", \"x\"], \"exit\": 3, \"stderr\": \"reading\\nno disk in x\\n\"}\n",
		want: "no disk in x; disko x exited 3", topic: "apply"},
	{name: "words of a command that ended well", body: "{\"event\": \"pre_nixos.apply.command.start\", \"command\": \"sync\"}\n@pre-nixos-start[868]: synced\n{\"event\": \"pre_nixos.apply.command.finished\", \"command\": \"sync\", \"returncode\": 0}\n@pre-nixos-start[869]: bye\n" + passedOn,
		want: "subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "words of the program itself", body: "{\"event\": \"pre_nixos.apply.command.start\", \"command\": \"disko plan.nix\"}\nrunning disko\n" + passedOn,
		want: "subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "argparse", body: "usage: pre-nixos [-h]\npre-nixos: error: unrecognized arguments: --fast\n", want: "pre-nixos: error: unrecognized arguments: --fast", topic: "other"},
	{name: "python could not spawn", body: `Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/apply.py", line 9, in apply_plan
    subprocess.run(["disko"])
  File "/y/lib/python3.11/subprocess.py", line 1955, in _execute_child
    raise child_exception_type(errno_num, err_msg, err_filename)
FileNotFoundError: [Errno 2] No such file or directory: 'disko'
`, want: "FileNotFoundError: [Errno 2] No such file or directory: 'disko'", topic: "apply", command: "disko"},
	{name: "python could not open", body: `Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/planner.py", line 9, in load
    open("plan.json")
FileNotFoundError: [Errno 2] No such file or directory: 'plan.json'
`, want: "FileNotFoundError: [Errno 2] No such file or directory: 'plan.json'", topic: "other"},
	{name: "chained on purpose", body: `Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/network.py", line 53, in identify_lan
    carrier = read()
OSError: [Errno 22] Invalid argument

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/pre_nixos.py", line 84, in main
    raise SetupError("lan") from e
pre_nixos.SetupError: lan
`, want: "OSError: [Errno 22] Invalid argument", topic: "network"},
	{name: "raised in a handler", body: `Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/state.py", line 53, in get
    return cache[key]
KeyError: 'vda'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/x/site-packages/pre_nixos/state.py", line 55, in get
    return probe(key)
PermissionError: [Errno 13] Permission denied: '/dev/vda'
`, want: "PermissionError: [Errno 13] Permission denied: '/dev/vda'; while handling KeyError: 'vda'", topic: "other"},
	{name: "a class of its own", body: `Traceback (most recent call last):
  File "/x/site-packages/pexpect/expect.py", line 144, in timeout
    raise exc
pexpect.exceptions.TIMEOUT: Timeout exceeded.
`, want: "pexpect.exceptions.TIMEOUT: Timeout exceeded.", topic: "other"},
	{name: "after a part that ended", body: `{"event": "pre_nixos.network.configure_lan.start"}
{"event": "pre_nixos.network.configure_lan.finished", "status": "success", "returncode": 0}
bye
`, want: "pre-nixos.service: Main process exited, code=exited, status=1/FAILURE", topic: "other"},
	{name: "in a part that began", body: `{"event": "pre_nixos.network.configure_lan.start"}
bye
`, want: "pre-nixos.service: Main process exited, code=exited, status=1/FAILURE", topic: "network"},
	{name: "event with other names", body: `{"exit_status": 5, "argv": ["disko", "x"], "event": "pre_nixos.apply.command.done"}
`, want: "disko x exited 5", topic: "apply"},
	{name: "a failure that did not matter", body: `{"event": "pre_nixos.network.command.finished", "command": ["ip", "link"], "returncode": 2}
{"event": "pre_nixos.network.command.start", "command": ["ip", "addr"]}
{"event": "pre_nixos.network.command.finished", "command": ["ip", "addr"], "returncode": 0}
`, want: "pre-nixos.service: Main process exited, code=exited, status=1/FAILURE", topic: "other"},
	{name: "told", body: `{"event": "pre_nixos.detect.error", "level": "error", "message": "cannot classify /dev/vda"}
{"event": "pre_nixos.finish", "exit": 1}
`, want: "cannot classify /dev/vda", topic: "detect"},
	{name: "existence probes, then lvcreate", body: "@pre-nixos-start[5]: + vgdisplay main\n@pre-nixos-start[6]:   Volume group \"main\" not found\n@pre-nixos-start[6]:   Cannot process volume group main\n@pre-nixos-start[5]: + lvcreate -L 9G -n slash main\n@pre-nixos-start[7]:   Volume group \"main\" has insufficient free space (1 extents): 9 required.\n@pre-nixos-start[5]: + rm -rf /tmp/x\n" + passedOn,
		want: `Volume group "main" has insufficient free space (1 extents): 9 required.`, topic: "apply"},
	{name: "a complaint that the script went past", body: "@pre-nixos-start[5]: + mdadm --stop /dev/md0\n@pre-nixos-start[6]: mdadm: cannot open /dev/md0: No such file or directory\n@pre-nixos-start[5]: + sgdisk --clear /dev/vda\n" + passedOn,
		want: "subprocess.CalledProcessError: Command 'disko plan.nix' returned non-zero exit status 1.", topic: "apply"},
	{name: "mdadm", body: "@pre-nixos-start[6]: mdadm: super1.x cannot open /dev/vdb: Device or resource busy\n@pre-nixos-start[6]: mdadm: /dev/vdb is not suitable for this array.\n@pre-nixos-start[6]: mdadm: create aborted\n" + passedOn,
		want: "mdadm: super1.x cannot open /dev/vdb: Device or resource busy", topic: "apply"},
	{name: "a dead dependency", body: "", end: "Job pre-nixos.service/start failed with result 'dependency'.", want: ""},
	{name: "stopped by somebody", body: "waiting\n", end: "Main process exited, code=killed, status=15/TERM|Failed with result 'signal'.", want: ""},
	{name: "start limit", body: "", end: "Start request repeated too quickly.|Failed with result 'start-limit-hit'.", want: ""},
}

func TestReasons(t *testing.T) {
	for _, c := range reasons {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, f := range facts(t, map[string]string{"journal.log": failing(c.body, c.end)}) {
				if strings.HasPrefix(f, "unit.error") || strings.HasPrefix(f, "unit.lacks") {
					got = append(got, f)
				}
			}
			var want []string
			add := func(name, value string) {
				if value != "" {
					want = append(want, name+" pre-nixos.service = "+value)
				}
			}
			add("unit.error", c.want)
			add("unit.error-in", c.topic)
			add("unit.lacks-command", c.command)
			add("unit.lacks-unit", c.unit)
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// Words of storage tools: the first of each pair names what broke, the second
// is one that passing runs print too.
func TestToolWords(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"wipefs: error: /dev/vda: probing initialization failed: Device or resource busy", true},
		{"umount: /mnt: not mounted", false},
		{"mdadm: RUN_ARRAY failed: Invalid argument", true},
		{"mdadm: array /dev/md/md0 started.", false},
		{"Can't open /dev/vda2 exclusively.  Mounted filesystem?", true},
		{`Physical volume "/dev/vda2" successfully created.`, false},
		{"Cannot use /dev/vda: device is partitioned", true},
		{"Cannot process volume group main", false},
		{"A volume group called main already exists.", true},
		{`Volume group "main" not found`, false},
		{`Logical Volume "slash" already exists in volume group "main"`, true},
		{`Failed to find logical volume "main/slash"`, false},
		{"Problem opening /dev/vda for reading! Error is 2.", true},
		{"GPT data structures destroyed! You may now partition the disk using fdisk or", false},
		{"Could not create partition 1 from 2048 to 2099199", true},
		{"Creating new GPT entries in memory.", false},
		{"/dev/vda1 is mounted; will not make a filesystem here!", true},
		{"/dev/vda1 contains a ext4 file system", false},
		{"mkfs.ext4: No space left on device while writing out", false},
		{"mkfs.vfat: unable to open /dev/vda1: No such file or directory", true},
		{"mount: /mnt: wrong fs type, bad option, bad superblock on /dev/vda1.", true},
		{"mount: /mnt: WARNING: source write-protected, mounted read-only.", false},
		{"dd: error writing '/dev/vda': No space left on device", true},
		{"440 bytes copied, 0.00589148 s, 74.7 kB/s", false},
		{"Insufficient suitable allocatable extents for logical volume slash: 512 more required", true},
		{"Device /dev/vdb excluded by a filter.", true},
	} {
		if got := toolRe.MatchString(c.text); got != c.want {
			t.Errorf("%q: %v, want %v", c.text, got, c.want)
		}
	}
}

// Each expression with a line that matches and one that nearly does.
func TestPatterns(t *testing.T) {
	analyzertest.Pairs(t, []analyzertest.Pair{
		{headRe, "● pre-nixos.service - Pre-NixOS setup", "             ● systemd-journald-audit.socket"},
		{headRe, "× pre-nixos.service - Pre-NixOS provisioning", "● pre-nixos.service loaded failed failed Pre-NixOS provisioning"},
		{activeRe, "     Active: inactive (dead) since Mon 2026-11-23 07:03:08 UTC; 4s ago", "     Active: maintenance"},
		{processRe, "    Process: 229 ExecStart=/x/bin/y (code=exited, status=0/SUCCESS)", "    Process: 229 ExecStartPre=/x/bin/y (code=exited, status=0/SUCCESS)"},
		{mainPIDRe, "   Main PID: 676 (pre-nixos-start)", "   Main PID: 229 (code=exited, status=0/SUCCESS)"},
		{jobRe, "500 sshd.service                         start waiting", "6 jobs listed."},
		{propRe, "ActiveState=inactive", "ActiveEnterTimestamp=n/a"},
		{fileRe, "# /etc/systemd/system/pre-nixos.service", "# a comment about pre-nixos.service"},
		{fileRe, "# /etc/systemd/system/pre-nixos.service.d/override.conf", "# /etc/systemd/system/pre-nixos.timer"},
		{settingRe, "Type=oneshot", "TypeX=oneshot"},
		{finishedRe, "Finished Pre-NixOS setup.", "Finished Pre-NixOS setup"},
		{failedStartRe, "Failed to start Pre-NixOS setup.", "Failed to start sshd.service: Unit sshd.service not found"},
		{startingRe, "Starting Pre-NixOS setup...", "Starting version 257.2"},
		{unitMsgRe, "pre-nixos.service: Deactivated successfully.", "pre-nixos: Provisioning failed."},
		{namedRe, "pre-nixos.service - Pre-NixOS setup", "Pre-NixOS setup"},
		{resultRe, "Failed with result 'exit-code'.", "Failed with result of 3"},
		{exitRe, "Main process exited, code=killed, status=15/TERM", "Control process exited, code=exited, status=1/FAILURE"},
		{dependencyRe, "Job pre-nixos.service/start failed with result 'dependency'.", "Job pre-nixos.service/start failed with result 'canceled'."},
		{consoleRe, "[FAILED] Failed to start Pre-NixOS setup.", "[FAILED] Failed unmounting /iso."},
		{consoleRe, "         Starting Pre-NixOS setup...", "Starting Pre-NixOS setup..."},
		{blockingRe, "└─872 systemctl start sshd", "└─872 systemctl daemon-reload"},
		{blockingRe, "|-872 /run/current-system/sw/bin/systemctl restart sshd", "└─872 bash -c systemctl start sshd"},
		{begins, "pre_nixos.network.systemctl.start", "pre_nixos.network.restart"},
		{ends, "pre_nixos.network.command.finished", "pre_nixos.network.unfinished"},
		{failedRe, "pre_nixos.storage.apply_failed", "pre_nixos.storage.failed_before"},
		{notFoundRe, "x: line 143: modprobe: command not found", "x: line 143: modprobe: Permission denied"},
		{noExecRe, "Failed at step EXEC spawning /x/y: No such file or directory", "Failed to execute command: No such file or directory"},
		{noExecRe, "Unable to locate executable '/x/y': No such file or directory", "Unable to locate executable 'y': Permission denied"},
		{noFileRe, "FileNotFoundError: [Errno 2] No such file or directory: 'disko'", "FileNotFoundError: [Errno 2] No such file or directory: '/etc/plan.json'"},
		{noUnitRe, "Failed to start x.service: Unit x.service not found.", "Failed to stop x.service: Unit x.service not loaded."},
		{errorRe, "error: attribute 'x' missing", "no error: all is well"},
		{aloneRe, "error:", "error: x"},
		{placeRe, "… while evaluating", "Failed assertions:"},
		{usageRe, "Usage: disko [options]", "Usage of disko"},
		{stepRe, "+ sgdisk --clear /dev/vda", "+sgdisk"},
		{cleanRe, "+ rm -rf /tmp/x", "+ mdadm --create"},
		{endedRe, "start operation timed out. Terminating.", "Consumed 1s CPU time."},
		{weakRe, "mdadm: create aborted", "mdadm: array /dev/md0 started."},
		{frameRe, `  File "/x/y.py", line 47, in _run`, `  File "/x/y.py" is missing`},
		{raisedRe, "pexpect.exceptions.TIMEOUT: Timeout", "two words: no"},
		{namedAsRe, "ValueError: x", "value: x"},
		{passedRe, "CalledProcessError", "ProcessLookupError"},
		{builtinRe, "FileNotFoundError", "SetupError"},
		{unitFlagRe, "journalctl -xeu pre-nixos", "journalctl --user -b"},
		{agoRe, "1min 4s", "just now"},
	})
}

func TestTopics(t *testing.T) {
	for s, want := range map[string]string{
		"storage_detection.py scan_disks": "detect", "inventory.py enumerate": "detect", "detect.py signatures": "detect",
		"network.py identify_lan": "network", "network.py detect_interface": "network", "pre_nixos.lan.wait.start": "network",
		"apply.py _run": "apply", "pre_nixos.storage.apply_failed": "apply",
		"pre_nixos.py main": "", "planner.py plan_storage": "", "status.py format_status": "", "plan.py balance": "", "x.py undetected": "",
	} {
		if got := named(s); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
}
