package host

import (
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

func TestFacts(t *testing.T) { analyzertest.Run(t, Analyzer) }

func facts(path string, kind bundle.Kind, text string) string {
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact(path, kind, []byte(text))}}
	var got []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
		if !strings.HasPrefix(f.Name, "probe.") {
			got = append(got, strings.TrimSpace(f.Name+" "+f.Subject)+"="+f.Value)
		}
	}
	for _, p := range run.Problems {
		got = append(got, "problem: "+p.Text)
	}
	return strings.Join(got, "; ")
}

var harnessCases = []struct{ in, want string }{
	{"[2026-03-01T10:00:00Z] Awaiting patterns: login: ", "host.pexpect=works"},
	{"[2026-03-01T10:00:00Z] pexpect 4.8.0, python 3.11.2", "host.pexpect=works"},
	{"[2026-03-01T10:00:00Z] pexpect reported EOF", ""},
	{"[2026-03-01T10:00:00Z] Serial output: Awaiting patterns: x", ""},
	{"E   <pexpect.pty_spawn.spawn object at 0x7f288fb312d0>", "host.pexpect=works"},
	{"self = <pexpect.expect.Expecter object at 0x7f288fac67d0>", ""},
	{"_pexpect = <module 'pexpect' from '/v/lib/python3.11/site-packages/pexpect/__init__.py'>", "host.pexpect=works"},
	{"_subprocess = <module 'subprocess' from '/usr/lib/python3.11/subprocess.py'>", ""},
	{".venv/lib/python3.11/site-packages/pexpect/expect.py:144: TIMEOUT", "host.pexpect=works"},
	{".venv/lib/python3.11/site-packages/pexpect/expect.py is listed", ""},
	{"E   ModuleNotFoundError: No module named 'pexpect'", "host.pexpect=missing"},
	{"E   ModuleNotFoundError: No module named 'pexpect_tools'", ""},
	{"ImportError: cannot import name 'spawn' from 'pexpect' (unknown location)", "host.pexpect=missing"},
	{"SKIPPED [2] tests/test_vm.py:3: could not import 'pexpect': No module named 'pexpect'", "host.pexpect=missing"},
	{"SKIPPED [2] tests/test_vm.py:3: pexpect is required for VM tests", "host.pexpect=missing"},
	{"SKIPPED [2] tests/test_pexpect.py:3: needs a network", ""},
	{"pexpect = pytest.importorskip(\"pexpect\")", ""},
	{"E   ModuleNotFoundError: No module named 'pexpect'\n<pexpect.pty_spawn.spawn object at 0x7f>", "host.pexpect=missing; host.pexpect=works"},
	{"======= test session starts =======", "host.pytest=works"},
	{"platform linux -- Python 3.11.12, pytest-8.4.2, pluggy-1.6.0", "host.pytest=works"},
	{"platform linux -- Python 3.11.12", ""},
	{"=== 2 errors in 620.66s (0:10:20) ===", "host.pytest=works"},
	{"=== 2 errors ===", ""},
	{"/usr/bin/python3: No module named pytest", "host.pytest=missing"},
	{"bash: pytest: command not found", "host.pytest=missing"},
	{"bash: pytest-xdist: command not found", ""},
}

func TestHarness(t *testing.T) {
	for _, tt := range harnessCases {
		if got := facts("h.log", bundle.Harness, tt.in+"\n"); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
		if got := facts("s.log", bundle.Serial, tt.in+"\n"); got != "" {
			t.Errorf("in a transcript: %s: %s", tt.in, got)
		}
	}
}

// record writes a probe record.
func record(where, argv, stdout string, exit int) string {
	return fmt.Sprintf(`{"name": "p", "argv": [%s], "exit_status": %d, "stdout": %q, "stderr": "", "where": %q}`, `"`+strings.ReplaceAll(argv, "|", `", "`)+`"`, exit, stdout, where)
}

const (
	dfHead  = "Filesystem     1K-blocks     Used Available Use% Mounted on\n"
	meminfo = "MemTotal:        8388608 kB\nMemFree:          100 kB\nMemAvailable:    2097152 kB\n"
)

func TestProbes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{record("host", "df|-kP|/nix/store", dfHead+"/dev/vda1       41152736 10485760  20971520  34% /nix\n", 0), "host.disk-free /nix=20.00"},
		{record("host", "df|-h|/tmp", "Filesystem Size Used Avail Use% Mounted on\ntmpfs  7.8G  1.2M  7.5G   1% /tmp\n", 0), "host.disk-free /tmp=7.50"},
		{record("host", "df|-B1|/tmp", "tmpfs  8589934592  0  5368709120   1% /tmp\n", 0), "host.disk-free /tmp=5.00"},
		{record("host", "df|-i|/tmp", "tmpfs  1000000 10 999990 1% /tmp\n", 0), ""},
		{record("host", "df|-m|/tmp", "tmpfs  1000 10 990 1% /tmp\n", 0), ""},
		{record("host", "df|-k|/tmp", "tmpfs  1000000 10 999990 1% /tmp\n", 1), ""},
		{record("guest", "df|-k|/", dfHead+"/dev/vda1 41152736 10485760  20971520  34% /\n", 0), ""},
		{record("", "df|-k|/", dfHead+"/dev/vda1 41152736 10485760  20971520  34% /\n", 0), ""},
		{record("host", "ls|df", "tmpfs  1000000 10 999990 1% /tmp\n", 0), ""},
		{record("host", "cat|/proc/meminfo", meminfo, 0), "host.memory=8.00; host.memory-available=2.00"},
		{record("host", "cat|/proc/cpuinfo", meminfo, 0), ""},
		{record("guest", "cat|/proc/meminfo", meminfo, 0), ""},
		{record("host", "cat|/sys/fs/cgroup/memory.max", "max\n", 0), "host.cgroup-memory=max"},
		{record("host", "cat|/sys/fs/cgroup/memory.max", "4294967296\n", 0), "host.cgroup-memory=4.00"},
		{record("host", "cat|/sys/fs/cgroup/memory.limit_in_bytes", "9223372036854771712\n", 0), "host.cgroup-memory=max"},
		{record("host", "cat|/sys/fs/cgroup/memory.high", "4294967296\n", 0), ""},
		{record("host", "bash|-lc|printenv USER", "root\n", 0), "host.user login=root"},
		{record("host", "bash|-c|printenv USER", "", 1), "host.user non-login=(unset)"},
		{record("host", "sh|-c|echo $USER", "\n", 0), "host.user non-login=(unset)"},
		{record("host", "bash|--login|-c|echo ${USER:-}", "me\n", 0), "host.user login=me"},
		{record("host", "printenv|USER", "me\n", 0), "host.user environment=me"},
		{record("host", "sh|-c|echo USER", "USER\n", 0), ""},
		{record("host", "sh|-c|echo $USERNAME", "me\n", 0), ""},
		{record("host", "sh|-c|echo $USER", "", 127), ""},
		{record("host", "sh|script|echo $USER", "me", 0), ""},
		{record("guest", "sh|-c|echo $USER", "me\n", 0), ""},
		{"[" + record("host", "printenv|USER", "me\n", 0) + "]", "host.user environment=me"},
		{record("host", "printenv|USER", "me\n", 0) + "\n{\"name\": \"q\", ", "host.user environment=me; problem: the last probe record breaks off; those before were read"},
	} {
		if got := facts("probes.jsonl", bundle.Probe, tt.in+"\n"); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
	// The folder may say where, when the record does not.
	rec := strings.Replace(record("", "printenv|USER", "me\n", 0), `, "where": ""`, "", 1)
	for path, want := range map[string]string{"host/user.json": "host.user environment=me", "guest/user.json": "", "user.json": ""} {
		if got := facts(path, bundle.Probe, rec); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	// A capture of the same words says nothing of whose they are.
	if got := facts("meminfo.txt", bundle.Capture, meminfo); got != "" {
		t.Errorf("capture: %s", got)
	}
}

// complaint writes a record of a host probe that printed stderr; more are
// further fields.
func complaint(argv, stderr string, exit int, more string) string {
	return fmt.Sprintf(`{"name": "p", "argv": [%s], "exit_status": %d, "stdout": "", "stderr": %q, "where": "host"%s}`, `"`+strings.ReplaceAll(argv, "|", `", "`)+`"`, exit, stderr, more)
}

// TestComplaints: what a tool says of itself is evidence, line by line; what was
// ended from outside, or wanted another tool, shows nothing of it.
func TestComplaints(t *testing.T) {
	const (
		show  = "bash|-lc|nix flake show ."
		start = "timeout|3|qemu-system-x86_64|-S|-display|none"
		late  = `, "timed_out": true`
	)
	for _, tt := range []struct{ in, want, quote string }{
		{complaint(show, "warning: Git tree '/x' is dirty\nerror:\n       … while calling\n\n       error: attribute 'a' missing\n", 1, ""), "host.tool nix=fails", "error: attribute 'a' missing"},
		{complaint(show, "error: experimental Nix feature 'nix-command' is disabled; use it\n", 1, ""), "host.tool nix=fails", "error: experimental Nix feature 'nix-command' is disabled; use it"},
		{complaint(show, "error: could not set permissions on '/nix/var'\n(use '--show-trace')\n", 1, ""), "host.tool nix=fails", "error: could not set permissions on '/nix/var'"},
		{complaint(show, "warning: Git tree '/x' is dirty\n", 137, late), "", ""},
		{complaint(show, "warning: Git tree '/x' is dirty\n", 137, ""), "", ""}, // the capture was interrupted
		{complaint(show, "error: interrupted by the user\n", 1, ""), "", ""},
		{complaint("timeout|60|nix|flake|show", "warning: Git tree '/x' is dirty\n", 124, ""), "", ""},
		{complaint("timeout|60|nix|flake|show", "timeout: failed to run command 'nix': No such file or directory\n", 127, ""), "host.tool nix=missing", "timeout: failed to run command 'nix': No such file or directory"},
		{complaint("timeout|60|nix|flake|show", "timeout: command not found\n", 127, ""), "", ""},
		// The network's fault, which another probe shows.
		{complaint(show, "error: unable to download 'https://api.github.com/repos/a/b/commits/HEAD': Couldn't resolve host name (6)\n", 1, ""), "", ""},
		{complaint(start, "qemu-system-x86_64: terminating on signal 15 from pid 7 (timeout)\n", 124, ""), "host.smoke start=works", "124"},
		{complaint(start, "qemu-system-x86_64: warning: old\nqemu-system-x86_64: failed to find romfile\n", 1, ""), "host.smoke start=fails", "qemu-system-x86_64: failed to find romfile"},
		{complaint(start, "timeout: command not found\n", 127, ""), "", ""}, // macOS has none
		{complaint(start, "timeout: failed to run command 'qemu-system-x86_64': No such file or directory\n", 127, ""), "host.tool qemu=missing", "timeout: failed to run command 'qemu-system-x86_64': No such file or directory"},
		{complaint(start, "timeout: invalid time interval '3'\n", 125, ""), "", ""},
		{complaint(start, "qemu-system-x86_64: warning: slow\n", 137, late), "", ""},
		{complaint("python3|-c|import pexpect; import pytest", "Traceback (most recent call last):\n  File \"<string>\", line 1\nModuleNotFoundError: No module named 'pexpect'\n", 1, ""), "host.pexpect=missing", "ModuleNotFoundError: No module named 'pexpect'"},
		{complaint("python3|-c|import pexpect; import pytest", "ModuleNotFoundError: No module named 'pexpect'\n", 137, late), "", ""},
		{complaint("curl|-sSI|https://cache.nixos.org/nix-cache-info", "curl: (6) Could not resolve host: cache.nixos.org\n", 6, ""), "host.cache=unreachable", "curl: (6) Could not resolve host: cache.nixos.org"},
		{complaint("curl|-sSI|https://cache.nixos.org/nix-cache-info", "curl: warning\n", 137, late), "", ""},
	} {
		if got := facts("probes.jsonl", bundle.Probe, tt.in); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
		run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("probes.jsonl", bundle.Probe, []byte(tt.in))}}
		for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
			if !strings.HasPrefix(f.Name, "probe.") && f.Evidence[0].Quote != tt.quote {
				t.Errorf("%s\n quotes %s\n want   %s", tt.in, f.Evidence[0].Quote, tt.quote)
			}
		}
	}
}

// FuzzProbes: no panic, and evidence lies in the artifact.
func FuzzProbes(f *testing.F) {
	f.Add([]byte(record("host", "df|-h|/tmp", "tmpfs  7.8G  1.2M  7.5G   1% /tmp\n", 0)))
	f.Add([]byte(record("host", "cat|/proc/meminfo", meminfo, 0)))
	f.Add([]byte(record("guest", "sh|-c|echo $USER", "me\n", 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		analyzertest.Sound(t, Analyzer, bundle.Probe, data)
	})
}
