package host

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/host/jsonspan"
)

// tools states what probes of the host's tools show. What was asked is argv, or
// the script of a shell; the probe's name is for people.
func (r *reader) tools(p *probe) {
	words := p.words()
	if len(words) == 0 || p.ended() {
		return
	}
	if missing, ev := p.notFound(words[0]); missing != "" {
		r.State("host.tool", missing, "missing", ev)
		return
	}
	switch base := path.Base(words[0]); {
	case base == "command" && len(words) == 3 && words[1] == "-v":
		r.lookedUp(p, words[2])
	case base == "nix" && len(words) > 2 && words[1] == "flake" && (words[2] == "show" || words[2] == "metadata" || words[2] == "check"):
		r.nix(p)
	case strings.HasPrefix(base, "qemu-system-"):
		r.qemu(p, words)
	case strings.HasPrefix(base, "python") && importRe.MatchString(words[len(words)-1]):
		r.imports(p, words[len(words)-1])
	case base == "curl" || base == "wget":
		r.cache(p, words)
	case base == "find" && slices.Contains(words, "*.iso"):
		r.isos(p)
	case base == "journalctl" || base == "dmesg":
		r.denials(p)
	}
}

// Statuses by which timeout says that it ended the command, and that it did not
// run it; shells' statuses for commands that a signal ended from outside.
const (
	timeoutEnded, timeoutFailed     = 124, 125
	notExecutable, notThere         = 126, 127
	interrupted, killed, terminated = 130, 137, 143
)

// ended reports whether the command was ended from outside, at its limit or with
// the whole capture: then it shows nothing of the tool.
func (p *probe) ended() bool {
	late := p.record.Get("timed_out")
	return late != nil && late.Text == "true" || p.exit == interrupted || p.exit == killed || p.exit == terminated
}

// timeout reports whether a time limit was put before the command.
func (p *probe) timeout() bool { return path.Base(p.argv[0]) == "timeout" }

// words are the command's words, without a time limit, and those of a shell's
// script when it is one simple command.
func (p *probe) words() []string {
	words := p.argv
	if len(words) > 2 && p.timeout() {
		words = words[2:]
	}
	if n := len(words); n >= 3 && shellRe.MatchString(words[0]) && shellKind(words[1:n-1]) != "" {
		if strings.ContainsAny(words[n-1], ";|&`$\n") {
			return nil
		}
		words = strings.Fields(words[n-1])
	}
	return words
}

// notFoundRe is a shell's word, and that of execvp's callers, that there is no
// such command.
var notFoundRe = regexp.MustCompile(`(?:^|: )([\w.+-]+): (?:command )?not found|(?:executable|command) file not found|No such file or directory`)

// notFound returns the tool that the host does not have.
func (p *probe) notFound(name string) (string, bundle.Evidence) {
	if p.exit != notThere {
		return "", bundle.Evidence{}
	}
	name = path.Base(name)
	ev, ok := p.said(func(line string) bool { return strings.Contains(line, name) && notFoundRe.MatchString(line) })
	if !ok {
		return "", bundle.Evidence{}
	}
	return toolName(name), ev
}

// said returns the last line on stderr that is wanted.
func (p *probe) said(wanted func(line string) bool) (ev bundle.Evidence, ok bool) {
	p.record.Get("stderr").Lines(p.data, func(text string, start, end int64) bool {
		if wanted(text) {
			ev, ok = p.at(start, end), true
		}
		return true
	})
	return ev, ok
}

// text tells a line that says something.
func text(line string) bool { return strings.TrimSpace(line) != "" }

// toolName is the subject of host.tool.
func toolName(base string) string {
	if strings.HasPrefix(base, "qemu-system-") {
		return "qemu"
	}
	return base
}

var (
	nixErrorRe = regexp.MustCompile(`^\s*error: `)
	// What nix says where it was not nix that failed: the network, or a Ctrl-C.
	notNixRe = regexp.MustCompile(`^\s*error: (?:.*: )?(?:unable to download '|interrupted by the user)`)
)

// nix reads an evaluation of a flake. nix puts what went wrong behind "error: ",
// last where it says in steps how it came there.
func (r *reader) nix(p *probe) {
	if p.exit == 0 {
		r.State("host.tool", "nix", "works", p.status())
		return
	}
	if _, other := p.said(notNixRe.MatchString); other || p.timeout() && p.exit >= timeoutEnded {
		return
	}
	ev, ok := p.said(nixErrorRe.MatchString)
	if !ok {
		ev, ok = p.said(text)
	}
	if !ok {
		ev = p.status()
	}
	r.State("host.tool", "nix", "fails", ev)
}

// status is the place of the exit status.
func (p *probe) status() bundle.Evidence {
	x := p.record.Get("exit_status")
	return p.at(x.Start, x.End)
}

// lookedUp reads `command -v TOOL`: silence and status 1 mean that it is not on
// PATH.
func (r *reader) lookedUp(p *probe, tool string) {
	out := p.stdout.String()
	switch {
	case p.exit == 0 && strings.HasSuffix(strings.TrimSpace(out), "/"+tool):
		r.State("host.tool", toolName(tool), "found", p.at(p.stdout.Start, p.stdout.End))
	case (p.exit == 1 || p.exit == 127) && strings.TrimSpace(out) == "":
		r.State("host.tool", toolName(tool), "absent", p.at(p.record.Start, p.record.End))
	}
}

var (
	versionRe = regexp.MustCompile(`(?m)^QEMU emulator version \d`)
	// `-device help` rows: name "virtio-net-pci", bus PCI, alias "virtio-net".
	virtioNetRe = regexp.MustCompile(`name "virtio-net-pci"`)
	virtioRngRe = regexp.MustCompile(`name "virtio-rng-pci"`)
)

// qemu reads probes of QEMU. A start with -S runs until it is ended: by its
// time limit, and then it did start.
func (r *reader) qemu(p *probe, words []string) {
	out := p.stdout.String()
	switch {
	case slices.Contains(words, "--version") || slices.Contains(words, "-version"):
		if versionRe.MatchString(out) {
			r.State("host.tool", "qemu", "found", p.at(p.stdout.Start, p.stdout.End))
		}
	case slices.Contains(words, "help"):
		if i := slices.Index(words, "-device"); i >= 0 && i+1 < len(words) && words[i+1] == "help" && p.exit == 0 && out != "" {
			value := "lacking"
			if virtioNetRe.MatchString(out) && virtioRngRe.MatchString(out) {
				value = "complete"
			}
			r.State("host.qemu-devices", "", value, p.at(p.stdout.Start, p.stdout.End))
		}
	case slices.Contains(words, "-S"):
		r.smoke(p, words)
	}
}

func (r *reader) smoke(p *probe, words []string) {
	what := "start"
	if i := slices.Index(words, "-netdev"); i >= 0 && i+1 < len(words) && strings.HasPrefix(words[i+1], "user") {
		what = "user-network"
	}
	switch {
	case p.exit == 0 || p.timeout() && p.exit == timeoutEnded:
		r.State("host.smoke", what, "works", p.status())
	case p.exit == timeoutFailed || p.exit == notExecutable || p.exit == notThere:
		// QEMU was not run.
	default:
		if ev, ok := p.said(text); ok {
			r.State("host.smoke", what, "fails", ev)
		}
	}
}

var importRe = regexp.MustCompile(`^import (?:pexpect|pytest)\b|; ?import (?:pexpect|pytest)\b`)

// imports reads a Python that imports the test tools.
func (r *reader) imports(p *probe, script string) {
	if p.exit != 0 {
		for _, t := range tools {
			if ev, ok := p.said(regexp.MustCompile(`No module named '?` + t.name + `'?\b`).MatchString); ok {
				r.State(t.fact, "", "missing", ev)
			}
		}
		return
	}
	for _, t := range tools {
		if regexp.MustCompile(`\b` + t.name + `\b`).MatchString(script) {
			r.State(t.fact, "", "works", p.status())
		}
	}
}

var (
	httpRe  = regexp.MustCompile(`(?m)^HTTP/[\d.]+ (\d{3})\b`)
	cacheRe = regexp.MustCompile(`^https?://[^/]*\bcache\b|nix-cache-info$|^https?://cache\.nixos\.org`)
)

// cache reads a request to the binary cache.
func (r *reader) cache(p *probe, words []string) {
	if !slices.ContainsFunc(words, cacheRe.MatchString) {
		return
	}
	all := httpRe.FindAllStringSubmatch(p.stdout.String(), -1)
	switch {
	case p.exit == 0 && len(all) > 0 && all[len(all)-1][1] == "200":
		r.State("host.cache", "", "reachable", p.at(p.stdout.Start, p.stdout.End))
	case len(all) > 0 && all[len(all)-1][1] >= "400":
		r.State("host.cache", "", "refused", p.at(p.stdout.Start, p.stdout.End))
	case p.exit != 0:
		// curl's own words: could not resolve, refused, timed out.
		if ev, ok := p.said(text); ok {
			r.State("host.cache", "", "unreachable", ev)
		}
	}
}

// isos counts what a search for images lists.
func (r *reader) isos(p *probe) {
	if p.exit != 0 || p.stdout == nil || p.stdout.Kind != jsonspan.String {
		return
	}
	n := 0
	for _, l := range strings.Split(p.stdout.Text, "\n") {
		if strings.HasSuffix(strings.TrimSpace(l), ".iso") {
			n++
		}
	}
	r.State("host.isos", "", strconv.Itoa(n), p.at(p.stdout.Start, p.stdout.End))
}

// denialRe is the audit record of AppArmor, or SELinux's AVC, about the devices
// that QEMU needs.
var denialRe = regexp.MustCompile(`(?:apparmor="DENIED"|avc: +denied).*(?:/dev/kvm|/dev/net/tun|name="(?:kvm|tun)").*`)

func (r *reader) denials(p *probe) {
	if p.stdout == nil {
		return
	}
	p.stdout.Lines(p.data, func(text string, start, end int64) bool {
		if denialRe.MatchString(text) && strings.Contains(text, "qemu") {
			ev := p.at(start, end)
			r.State("host.denied", "", ev.Quote, ev)
		}
		return true
	})
}
