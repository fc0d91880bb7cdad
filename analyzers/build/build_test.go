package build

import (
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

func TestFacts(t *testing.T) { analyzertest.Run(t, Analyzer) }

// facts runs the analyzer on one artifact and writes its facts as
// "name=value".
func facts(kind bundle.Kind, text string) string {
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.log", kind, []byte(text))}}
	var got []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
		got = append(got, f.Name+"="+f.Value)
	}
	for _, p := range run.Problems {
		got = append(got, "problem: "+p.Text)
	}
	return strings.Join(got, "; ")
}

// h is a hash in nix's base 32.
const h = "0123456789abcdfghijklmnpqrsvwxyz"

var cases = []struct{ in, want string }{
	// Evaluated, fetched.
	{"this derivation will be built:\n  /nix/store/" + h + "-a.drv", "build.evaluated=yes"},
	{"building '/nix/store/" + h + "-a.drv' on 'ssh://builder'...", "build.evaluated=yes"},
	{"  building '/nix/store/" + h + "-a.drv'...", ""},
	{"a> building '/nix/store/" + h + "-a.drv'...", ""},
	{"building '/nix/store'...", ""},
	{`[{"drvPath":"/nix/store/` + h + `-a.drv","outputs":{"out":"/nix/store/` + h + `-a"}}]`, "build.evaluated=yes"},
	{`[{"drvPath":"a.drv","outputs":{"out":"/nix/store/` + h + `-a"}}]`, ""},
	{"these 239 derivations will be built:", "build.evaluated=yes"},
	{"these 457 paths will be fetched (958.12 MiB download, 2024.06 MiB unpacked):", "build.evaluated=yes"},
	{"these derivations will never be built:", ""},
	{"copying path '/nix/store/" + h + "-a' from 'https://cache.nixos.org'...", "build.fetched=yes"},
	{"copying path '/nix/store/" + h + "-a' from 'http://localhost:5000'...", ""},
	{"copying path '/nix/store/" + h + "-a' from 'ssh://builder'...", ""},
	{"copying path '/nix/store/" + h + "-a' to 'https://cache.example.org'...", ""},
	{"would be copying path '/nix/store/" + h + "-a' from 'https://cache.nixos.org'...", ""},
	// The network.
	{"error: unable to download 'https://cache.nixos.org/x.narinfo': Couldn't resolve host name (6)", "build.network=unable to download 'https://cache.nixos.org/x.narinfo': Couldn't resolve host name (6)"},
	{"warning: error: unable to download 'https://cache.nixos.org/x.narinfo': HTTP error 403", "build.network=unable to download 'https://cache.nixos.org/x.narinfo': HTTP error 403"},
	{"error: unable to download 'https://cache.nixos.org/x': HTTP error 407 (Proxy Authentication Required)", "build.network=unable to download 'https://cache.nixos.org/x': HTTP error 407 (Proxy Authentication Required)"},
	{"error: unable to download 'https://cache.nixos.org/x': HTTP error 404", ""},
	{"warning: error: unable to download 'https://cache.nixos.org/x': Couldn't resolve host name (6); retrying in 300 ms", ""},
	{"warning: error: unable to download 'https://c.org/x': Timeout was reached (28)\ncopying path '/nix/store/" + h + "-a' from 'https://c.org'...", "build.fetched=yes"},
	{"error: unable to download 'https://c.org/x': Timeout was reached (28)\ncopying path '/nix/store/" + h + "-a' from 'https://d.org'...", "build.fetched=yes; build.network=unable to download 'https://c.org/x': Timeout was reached (28)"},
	{"copying path '/nix/store/" + h + "-a' from 'https://c.org'...\nerror: unable to download 'https://c.org/x': Failed to connect to c.org port 443 (7)", "build.fetched=yes; build.network=unable to download 'https://c.org/x': Failed to connect to c.org port 443 (7)"},
	{"a> error: unable to download 'https://cache.nixos.org/x': Couldn't resolve host name (6)", ""},
	{"machine # warning: error: unable to download 'https://cache.nixos.org/x': Couldn't resolve host name (6)", ""},
	// Builders.
	{"error: builder for '/nix/store/" + h + "-a.drv' failed with exit code 1", "build.builder-failed=builder for '/nix/store/" + h + "-a.drv' failed with exit code 1"},
	{"error: builder for '/nix/store/" + h + "-a.drv' failed with exit code 1;\n       last 2 log lines:\n       > one\n       > two\n       For full logs, run 'nix log'.", "build.builder-failed=builder for '/nix/store/" + h + "-a.drv' failed with exit code 1: two"},
	{"error: Cannot build '/nix/store/" + h + "-a.drv'.\n       Reason: builder failed with exit code 2.\n       Output paths:", "build.builder-failed=Cannot build '/nix/store/" + h + "-a.drv': builder failed with exit code 2"},
	{"error: builder for '/nix/store/" + h + "-a.drv' failed due to signal 9 (Killed)", "build.oom=builder for '/nix/store/" + h + "-a.drv' failed due to signal 9 (Killed); build.builder-failed=builder for '/nix/store/" + h + "-a.drv' failed due to signal 9 (Killed)"},
	{"error: 1 dependencies of derivation '/nix/store/" + h + "-a.drv' failed to build", ""},
	{"building '/nix/store/" + h + "-libgpg-error-1.48.drv'...", "build.evaluated=yes"},
	{"  /nix/store/" + h + "-libgpg-error-1.48.drv", ""},
	{"expected: error: builder for '/nix/store/" + h + "-a.drv' failed with exit code 1", ""},
	{"subprocess.CalledProcessError: Command '['nix', 'build', '.#iso']' returned non-zero exit status 1.", "build.command-failed=1"},
	{"subprocess.CalledProcessError: Command '['ssh', 'nix']' returned non-zero exit status 255.", ""},
	// Evaluation.
	{"error: attribute 'bootImage' missing", "build.eval-error=attribute 'bootImage' missing"},
	{"error:\n       … while evaluating\n       error: undefined variable 'lvm3'\n       at /x/flake.nix:3:5:", "build.eval-error=undefined variable 'lvm3'"},
	{"error: flake 'path:/x' does not provide attribute 'packages.x86_64-linux.iso'", "build.eval-error=flake 'path:/x' does not provide attribute 'packages.x86_64-linux.iso'"},
	{"error: infinite recursion encountered", "build.eval-error=infinite recursion encountered"},
	{"error: syntax error, unexpected '}', expecting ';'", "build.eval-error=syntax error, unexpected '}', expecting ';'"},
	{"error: The option `services.foo' does not exist. Definition values:", "build.eval-error=The option `services.foo' does not exist. Definition values:"},
	{"error: expected a string but found a set: { }", "build.eval-error=expected a string but found a set: { }"},
	{"error: value is a list while a set was expected", "build.eval-error=value is a list while a set was expected"},
	{"error: Package 'x' in /x.nix is marked as broken, refusing to evaluate.", "build.eval-error=Package 'x' in /x.nix is marked as broken, refusing to evaluate."},
	{"error: experimental Nix feature 'nix-command' is disabled; add '--extra-experimental-features nix-command'", "build.eval-error=experimental Nix feature 'nix-command' is disabled; add '--extra-experimental-features nix-command'"},
	{"error:\n       Failed assertions:\n       - The root file system is not set.\n", "build.eval-error=Failed assertions: The root file system is not set."},
	{"main.c:3: error: undefined variable 'x'", ""},
	{"warning: attribute 'x' missing from the cache", ""},
	{"error: interrupted by the user", ""},
	// The store and the daemon.
	{"error: opening lock file '/nix/var/nix/db/big-lock': Permission denied", "build.permission=opening lock file '/nix/var/nix/db/big-lock': Permission denied"},
	{"error: cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused", "build.permission=cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused"},
	{"error: opening file '/etc/shadow': Permission denied", ""},
	{"cp: cannot open '/nix/store/x': Permission denied", ""},
	// The image.
	{"/nix/store/" + h + "-nixos.iso", "build.iso=/nix/store/" + h + "-nixos.iso"},
	{"/nix/store/" + h + "-nixos.iso/iso/nixos.iso", "build.iso=/nix/store/" + h + "-nixos.iso/iso/nixos.iso"},
	{"  /nix/store/" + h + "-nixos.iso", ""}, // in a list of what will be fetched
	{"  /nix/store/" + h + "-nixos.iso.drv", "build.iso-scheduled=/nix/store/" + h + "-nixos.iso.drv"},
	{"building '/nix/store/" + h + "-nixos.iso.drv'...", "build.evaluated=yes; build.iso-scheduled=/nix/store/" + h + "-nixos.iso.drv"},
	{"building '/nix/store/" + h + "-isolinux.cfg.drv'...", "build.evaluated=yes"},
	{"nixos.iso> Writing to 'stdio:/nix/store/" + h + "-nixos.iso/iso/nixos.iso' completed successfully.", "build.iso=/nix/store/" + h + "-nixos.iso/iso/nixos.iso"},
	{"nixos.iso> Writing to 'stdio:/build/efi.img' completed successfully.", ""},
	{"nixos.iso> xorriso : UPDATE : Writing to 'stdio:/x.iso' 40% done", ""},
	// Room.
	{"error: writing to file: No space left on device", "build.nospace=writing to file: No space left on device"},
	{"a> cp: error writing 'x': No space left on device", "build.nospace=cp: error writing 'x': No space left on device"},
	{"checking that 'No space left on device' is handled", ""},
	{"a> c++: fatal error: Killed signal terminated program cc1plus", "build.oom=c++: fatal error: Killed signal terminated program cc1plus"},
	{"a> killed by the test", ""},
	// nix itself.
	{"bash: line 1: nix: command not found", "nix.missing=bash: line 1: nix: command not found"},
	{"sh: 1: nix-build: not found", "nix.missing=sh: 1: nix-build: not found"},
	{"E   FileNotFoundError: [Errno 2] No such file or directory: 'nix'", "nix.missing=FileNotFoundError: [Errno 2] No such file or directory: 'nix'"},
	{"SKIPPED [1] tests/test_vm.py:4: nix executable is required", "nix.missing=SKIPPED [1] tests/test_vm.py:4: nix executable is required"},
	{"FileNotFoundError: [Errno 2] No such file or directory: '/nix/store/x'", ""},
	{"bash: nixos-rebuild: command not found", ""},
	{"    pytest.skip(\"nix executable is required\")", ""},
}

func TestLines(t *testing.T) {
	for _, tt := range cases {
		if got := facts(bundle.BuildLog, tt.in+"\n"); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
		if got := facts(bundle.Harness, tt.in+"\n"); got != tt.want {
			t.Errorf("in a harness log: %s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// TestGuest: the guest's nix is not the host's.
func TestGuest(t *testing.T) {
	for _, tt := range cases {
		for _, in := range []struct {
			kind bundle.Kind
			text string
		}{
			{bundle.Serial, tt.in},
			{bundle.Journal, tt.in},
			{bundle.Capture, tt.in},
			{bundle.Harness, "[2026-03-01T10:00:00Z] Serial output: " + strings.ReplaceAll(tt.in, "\n", "\n[2026-03-01T10:00:00Z] Serial output: ")},
			{bundle.Harness, "[2026-03-01T10:00:00Z] Awaiting patterns: login: \n" + tt.in},
		} {
			if got := facts(in.kind, in.text+"\n"); got != "" {
				t.Errorf("%s: %s: %s", in.kind, in.text, got)
			}
		}
	}
}

// TestBounds: a hostile log is read in time that grows with its size.
func TestBounds(t *testing.T) {
	var b strings.Builder
	for i := range 50000 {
		fmt.Fprintf(&b, "error: builder for '/nix/store/%s-%d.drv' failed with exit code 1;\n   > x\n", h, i)
		fmt.Fprintf(&b, "error: unable to download 'https://h%d/': Couldn't resolve host name (6)\n", i)
	}
	if n := strings.Count(facts(bundle.BuildLog, b.String()), ";"); n > 1000 {
		t.Errorf("%d facts", n)
	}
	facts(bundle.BuildLog, strings.Repeat("error: '\x1b]", 1<<18))
}

// FuzzBuildLog: no panic, and evidence lies in the log.
func FuzzBuildLog(f *testing.F) {
	for _, tt := range cases {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, p := range analyzertest.Sound(t, Analyzer, bundle.BuildLog, data) {
			t.Fatal(p.Text)
		}
	})
}
