// Package host says what the machine that ran the virtual machine had: the
// tools that drove it, memory, disk, the user's environment.
//
// Two sources speak for the host. A harness log shows by its form that
// pexpect and pytest work, or holds the import error that shows that they do
// not. A probe is a JSON record of one command: {name, argv, exit_status,
// stdout, stderr, start, duration, where}; where is "host" or "guest", and a
// record that does not say, and does not lie under host/ or guest/, is left
// alone. Sizes and the user come from host probes only: a guest answers df and
// free with the same words.
//
// Left out: captures of df, free or id without such a record. Nothing in them
// says whose they are.
package host

import (
	"fmt"
	"regexp"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/host/hosttext"
)

// Analyzer states facts about the host.
var Analyzer = &analyzers.Analyzer{
	Name: "host",
	Doc:  "Reads what harness logs and probes show of the host: Python's tools, memory, disk, the user.",
	Run:  run,
	Facts: []analyzers.FactType{
		{Name: "host.pexpect", Doc: "pexpect drove the console, or was not there.", Values: []string{"works", "missing"}},
		{Name: "host.pytest", Doc: "pytest ran, or was not there.", Values: []string{"works", "missing"}},
		{Name: "host.disk-free", Doc: "Free disk space in GiB.", Subject: "mount point"},
		{Name: "host.memory", Doc: "The host's memory in GiB."},
		{Name: "host.memory-available", Doc: "The host's available memory in GiB."},
		{Name: "host.cgroup-memory", Doc: "The control group's memory limit in GiB, or max."},
		{Name: "host.user", Doc: "Value of USER, (unset) when it has none.", Subject: "kind of shell: login, non-login or environment"},
		{Name: "host.tool", Doc: "Whether the host has the tool on PATH (found, absent), and whether it did what it was asked.", Subject: "tool", Values: []string{"found", "absent", "works", "fails", "missing"}, Transient: []string{"found", "absent"}},
		{Name: "host.qemu-devices", Doc: "Whether QEMU lists virtio-net and virtio-rng.", Values: []string{"complete", "lacking"}},
		{Name: "host.smoke", Doc: "Whether a start of QEMU with -S works, alone and with a user network.", Subject: "start or user-network", Values: []string{"works", "fails"}},
		{Name: "host.cache", Doc: "What the binary cache answered the host.", Values: []string{"reachable", "refused", "unreachable"}},
		{Name: "host.isos", Doc: "How many .iso files the build's result holds.", Values: nil},
		{Name: "host.denied", Doc: "A denial by AppArmor or SELinux on a device that QEMU needs.", Values: nil, Repeats: true},
		{Name: "probe.exit", Doc: "Exit status of a probe.", Subject: "probe name, with guest/ before it when it ran in the guest"},
		{Name: "probe.stdout", Doc: "What a probe printed.", Subject: "probe name, with guest/ before it when it ran in the guest"},
	},
}

func run(p *analyzers.Pass) (any, error) {
	r := &reader{Teller: hosttext.NewTeller(p), problem: p.Problem}
	for _, l := range hosttext.Logs(p, bundle.Harness) {
		r.harness(l)
	}
	for _, l := range hosttext.Logs(p, bundle.Probe) {
		r.probes(l)
	}
	return nil, nil
}

type reader struct {
	*hosttext.Teller
	problem func(path, text string)
}

// tool is a Python module and what shows that it works.
type tool struct {
	name, fact string
	works      *regexp.Regexp
	missing    *regexp.Regexp
}

// missing matches Python's errors for a module that is not there, and a test
// that was skipped for it (pytest.importorskip, or a reason of its own).
func missing(module string) *regexp.Regexp {
	return regexp.MustCompile(`^(?:ModuleNotFoundError|ImportError): (?:No module named '?` + module + `\b|cannot import name .* from '` + module + `)` +
		`|^\S*python[\d.]*: No module named ` + module + `$` +
		`|^SKIPPED .*(?:could not import '` + module + `'|No module named '` + module + `'|\b` + module + `\b.*(?:not (?:found|available|installed)|missing|unavailable|required))` +
		`|(?:^|: )` + module + `: (?:command )?not found$`)
}

var tools = []tool{
	{"pexpect", "host.pexpect",
		// A harness that waits for patterns or names pexpect's version; str()
		// of a spawn; the module as pytest shows it; a frame in its files.
		regexp.MustCompile(`^(?:Awaiting patterns|Matched pattern)\b|^pexpect \d+\.\d+|^<pexpect\.\w+\.spawn object at |<module 'pexpect' from '|^\S*/site-packages/pexpect/\w+\.py:\d+: `),
		missing("pexpect")},
	{"pytest", "host.pytest",
		// pytest's first lines, and its last.
		regexp.MustCompile(`^=+ test session starts =+$|^platform \S+ -- Python [\d.]+.*, pytest-\d|^=+ .*\b\d+ (?:passed|failed|errors?|skipped)\b.* in [\d.]+s\b.*=+$`),
		missing("pytest")},
}

// harness states whether Python's tools work, where that changes.
func (r *reader) harness(l *hosttext.Log) {
	for ln := range l.Lines() {
		if ln.Relayed || !strings.ContainsAny(ln.Text, " :") {
			continue
		}
		for _, t := range tools {
			named := strings.Contains(ln.Text, t.name)
			switch {
			case (named || strings.IndexByte("AM=", ln.Text[0]) >= 0) && t.works.MatchString(ln.Text):
				r.State(t.fact, "", "works", l.Evidence(ln, ln.Text))
			case named && t.missing.MatchString(ln.Text):
				r.State(t.fact, "", "missing", l.Evidence(ln, ln.Text))
			}
		}
	}
}

// gib writes a number of bytes in GiB.
func gib(bytes float64) string { return fmt.Sprintf("%.2f", bytes/(1<<30)) }
