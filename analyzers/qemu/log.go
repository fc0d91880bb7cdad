package qemu

import (
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/host/hosttext"
)

var (
	// Harnesses announce the command that they are about to run under such a
	// label, xtrace with a plus sign.
	commandRe = regexp.MustCompile(`(?i)^(?:(?:qemu|vm)[ -](?:command(?: line)?|cmdline|argv|args)\s*:|(?:running|executing|launching|spawning|starting)(?: qemu| vm)?\s*:|\+)\s*(\S.*)$`)
	// pexpect's str(spawn).
	pexpectCommandRe = regexp.MustCompile(`^command: (\S+)$`)
	pexpectArgsRe    = regexp.MustCompile(`^args: (\[.*\])$`)
	// QEMU's monitor greets with its version.
	monitorRe = regexp.MustCompile(`^QEMU (\d+\.\d+(?:\.\d+)*) monitor - type 'help'`)
	// A harness that names the image it boots: "ISO: PATH", "iso=PATH", or a
	// variable as pytest shows the locals of a failed test.
	isoRe  = regexp.MustCompile(`^(?:ISO|iso)(?: image| path)?: (/\S+\.iso)$|\biso=(/\S+\.iso)(?:\s|$)|^\w*iso\w* = (?:Posix|Windows)?Path\('([^']+\.iso)'\)$`)
	pathRe = regexp.MustCompile(`^(?:Store path|Deriver): (/nix/store/\S+)$|\bstore=(/nix/store/\S+)|\bderiver=(/nix/store/\S+)`)
	hashRe = regexp.MustCompile(`^NAR hash: (sha256\S+)$|\bnarHash=(sha256\S+)`)
	// A harness that looked after the process it had started.
	goneRe = regexp.MustCompile(`^QEMU (?:process )?(?:is no longer running|exited|has exited)\b`)
	// One line for both.
	endedRe  = regexp.MustCompile(`^QEMU (?:process )?(?:ended|exited|terminated|died) with (?:exit )?(?:status |code )?(-?\d{1,3})\.?$`)
	statusRe = regexp.MustCompile(`^(Exit|Signal) status: (-?\d{1,3})$`)
	// The kernel's audit log on the host: AppArmor, SELinux, seccomp
	// (type 1326). comm is cut at 15 characters.
	auditRe = regexp.MustCompile(`(?:apparmor="DENIED"|avc:\s+denied\s|type=1326|type=SECCOMP).*comm="qemu[-\w]*"`)
)

// missingRes match a program that is not there: pexpect's message, shells',
// Python's, a test that was skipped for it.
var missingRes = []*regexp.Regexp{
	regexp.MustCompile(`The command was not found or was not executable: (?:\S*/)?` + program + `\.?$`),
	regexp.MustCompile(`(?:^|: )(?:\S*/)?` + program + `: (?:command )?not found$`),
	regexp.MustCompile(`command not found: (?:\S*/)?` + program + `$`),
	regexp.MustCompile(`^FileNotFoundError: \[Errno 2\] No such file or directory: b?'(?:[^']*/)?` + program + `'$`),
	regexp.MustCompile(`^SKIPPED .*\b(?:qemu|` + program + `)\b.*(?:not (?:found|available|installed|on PATH)|missing|unavailable|required)`),
}

// logReader reads one log of lines.
type logReader struct {
	*reader
	log      *hosttext.Log
	messages messages
	lines    int            // lines with text so far
	first    *hosttext.Line // line with the first time stamp
	last     *hosttext.Line // line with the last one
	command  *hosttext.Line // pexpect's command: line right before
	gone     *hosttext.Line // QEMU was seen gone here
}

// goneLines is how far behind "no longer running" the status may stand.
const goneLines = 8

// log reads a transcript, harness log or capture.
func (r *reader) log(l *hosttext.Log) {
	lr := &logReader{reader: r, log: l}
	for ln := range l.Lines() {
		if ln.Text == "" {
			continue
		}
		lr.lines++
		lr.message(ln)
		if l.Kind != bundle.Serial {
			lr.exit(ln)
		}
		if l.Kind == bundle.Harness {
			lr.harness(ln)
		}
	}
	lr.messages.state(r)
	lr.stamps()
}

// message reads what QEMU, or a shell that looked for it, says.
func (r *logReader) message(ln *hosttext.Line) {
	t := ln.Text
	if !strings.Contains(t, "qemu") && !strings.Contains(t, "KVM") {
		return
	}
	at := func(part string) bundle.Evidence { return r.log.Evidence(ln, part) }
	r.messages.add(t, at)
	// The guest may say so too, unless nothing else was said before.
	if r.log.Kind == bundle.Harness && !ln.Relayed || r.log.Kind == bundle.Serial && r.lines == 1 {
		if missing(t) {
			r.State("qemu.missing", "", t, at(t))
		}
		if strings.Contains(t, "comm=") && auditRe.MatchString(t) {
			r.State("qemu.denied", "", t, at(t))
		}
	}
}

// missing reports whether a line says that QEMU's program is not there.
func missing(t string) bool {
	if !strings.Contains(t, "not found") && !strings.Contains(t, "No such file") && !strings.HasPrefix(t, "SKIPPED") {
		return false
	}
	return slices.ContainsFunc(missingRes, func(re *regexp.Regexp) bool { return re.MatchString(t) })
}

// exit reads what a harness saw of QEMU's process.
func (r *logReader) exit(ln *hosttext.Line) {
	if ln.Relayed || !strings.HasPrefix(ln.Text, "QEMU ") && r.gone == nil {
		return
	}
	if m := endedRe.FindStringSubmatch(ln.Text); m != nil {
		r.State("qemu.exit", "", exitText(m[1]), r.log.Evidence(ln, ln.Text))
		return
	}
	if goneRe.MatchString(ln.Text) {
		r.gone = ln
		return
	}
	m := statusRe.FindStringSubmatch(ln.Text)
	if m == nil || r.gone == nil || ln.Number > r.gone.Number+goneLines {
		return
	}
	value := exitText(m[2])
	if m[1] == "Signal" {
		value = "signal " + strings.TrimPrefix(m[2], "-")
	}
	r.State("qemu.exit", "", value, r.log.Evidence(ln, ln.Text), r.log.Evidence(r.gone, r.gone.Text))
}

// harness reads a line of a harness's own.
func (r *logReader) harness(ln *hosttext.Line) {
	if ln.Stamp != "" {
		if r.first == nil {
			r.first = ln
		}
		r.last = ln
	}
	if ln.Relayed {
		if m := monitorRe.FindStringSubmatch(ln.Text); m != nil {
			r.State("qemu.version", "", m[1], r.log.Evidence(ln, m[0]))
		}
		return
	}
	r.commandLine(ln)
	if m := versionRe.FindStringSubmatch(ln.Text); m != nil {
		r.State("qemu.version", "", m[1], r.log.Evidence(ln, m[0]))
	}
	if !strings.Contains(ln.Text, ".iso") && !strings.Contains(ln.Text, "sha256") && !strings.Contains(ln.Text, "/nix/store/") {
		return
	}
	if s := submatch(isoRe, ln.Text); s != "" {
		r.path(s, true, r.log.Evidence(ln, s))
	}
	for _, s := range submatches(pathRe, ln.Text) {
		r.path(s, false, r.log.Evidence(ln, s))
	}
	if s := submatch(hashRe, ln.Text); narRe.MatchString(s) {
		r.State("nix.nar-hash", "", s, r.log.Evidence(ln, s))
	}
}

// commandLine reads a command: one line of a harness, or pexpect's two.
func (r *logReader) commandLine(ln *hosttext.Line) {
	command := r.command
	r.command = nil
	if !strings.Contains(ln.Text, "qemu-") {
		return
	}
	if pexpectCommandRe.MatchString(ln.Text) {
		r.command = ln
		return
	}
	whole := []bundle.Evidence{r.log.Evidence(ln, ln.Text)}
	text := submatch(commandRe, ln.Text)
	if text == "" {
		text = submatch(pexpectArgsRe, ln.Text)
		if command != nil {
			whole = append(whole, r.log.Evidence(command, command.Text))
		}
	}
	if argv, ok := SplitCommand(text); ok {
		at := r.places(ln, argv)
		r.launch(argv, whole, func(i int) bundle.Evidence { return at[i] })
	}
}

// places finds the arguments in their line, one behind the other; an argument
// that is quoted or escaped there has the whole line.
func (r *logReader) places(ln *hosttext.Line, argv []string) []bundle.Evidence {
	at := make([]bundle.Evidence, len(argv))
	rest := *ln
	for i, a := range argv {
		e := r.log.Evidence(&rest, a)
		if e.End-e.Start == int64(len(a)) {
			rest.Start = e.End
		} else {
			e = r.log.Evidence(ln, "")
		}
		at[i] = e
	}
	return at
}

// stamps states when the harness began and ended to write.
func (r *logReader) stamps() {
	if r.first == nil {
		return
	}
	if t := stamp(r.first.Stamp); t != "" {
		r.State("run.started", "", t, r.log.Evidence(r.first, r.first.Stamp))
	}
	if t := stamp(r.last.Stamp); t != "" {
		r.State("run.ended", "", t, r.log.Evidence(r.last, r.last.Stamp))
	}
}

// submatch returns the first group of re that matches in s.
func submatch(re *regexp.Regexp, s string) string {
	for _, m := range submatches(re, s) {
		return m
	}
	return ""
}

// submatches returns every group that matches, of every match.
func submatches(re *regexp.Regexp, s string) []string {
	var list []string
	for _, m := range re.FindAllStringSubmatch(s, maxLaunches) {
		for _, g := range m[1:] {
			if g != "" {
				list = append(list, g)
			}
		}
	}
	return list
}
