// Package build says how the boot image was built, as nix tells it.
//
// The text is nix's own: a build log, or the part of a harness log before a
// guest was started. The same lines in a transcript or a guest's journal are
// about the guest and state nothing here. nix prints what it does at line
// start and the output of builders behind a margin or a name, so a line of a
// builder is not taken for one of nix; the few messages that only a builder
// can give (xorriso's, a full disk, a killed compiler) are looked for behind
// such a margin too.
//
// What is scheduled is not built: a derivation in a list, or a line
// "building …", proves nothing about its output, but that nix could evaluate. A
// download that failed and then worked did not fail. A package whose name holds
// the word error is no error.
//
// Left out: nix's JSON log (--log-format internal-json), and which builder
// printed which line when several run at once.
package build

import (
	"regexp"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/host/hosttext"
)

// Analyzer states how the boot image was built.
var Analyzer = &analyzers.Analyzer{
	Name: "build",
	Doc:  "Reads nix's own messages from build logs and from harness logs before the boot.",
	Run:  run,
	Facts: []analyzers.FactType{
		{Name: "build.evaluated", Doc: "nix evaluated the expression: it knows what to build or fetch.", Values: []string{"yes"}},
		{Name: "build.fetched", Doc: "A path was copied from a binary cache: the host reached it.", Values: []string{"yes"}},
		{Name: "build.network", Doc: "A download failed on the host and did not work later; the message.", Repeats: true},
		{Name: "build.builder-failed", Doc: "A builder failed; the message and the last line of its log.", Repeats: true},
		{Name: "build.command-failed", Doc: "A nix command that a harness ran ended with this exit status."},
		{Name: "build.eval-error", Doc: "nix could not evaluate the expression; the message.", Repeats: true},
		{Name: "build.permission", Doc: "nix was denied its store or daemon; the message.", Repeats: true},
		{Name: "build.iso", Doc: "Path of an image that was produced.", Repeats: true},
		{Name: "build.iso-scheduled", Doc: "Derivation of an image that is to be built or being built; no proof that it was.", Repeats: true},
		{Name: "build.nospace", Doc: "The disk was full; the message.", Repeats: true},
		{Name: "build.oom", Doc: "The build was killed for want of memory, or by signal 9; the message.", Repeats: true},
		{Name: "nix.missing", Doc: "nix's program was not found; the message."},
	},
}

func run(p *analyzers.Pass) (any, error) {
	t := hosttext.NewTeller(p)
	for _, l := range hosttext.Logs(p, bundle.BuildLog, bundle.Harness) {
		r := &reader{Teller: t, log: l, down: map[string]*download{}}
		r.read()
	}
	return nil, nil
}

// A path of nix's store: 32 digits of its base 32, a dash, a name.
const storePath = `/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+`

// severity is what nix (2.0 to 2.31) puts before a message; "warning: error:"
// where it goes on.
const severity = `^(?:warning: )?(?:error|warning): `

var (
	// libstore/build and main: what will be done, before it is.
	plannedRe = regexp.MustCompile(`^(?:this derivation|these \d+ derivations) will be built:$|^(?:this path|these \d+ paths) will be fetched(?: \([^)]*\))?:$`)
	// The same list, and the line when a builder starts.
	isoDrvRe = regexp.MustCompile(`^(?:building ')?(` + storePath + `\.iso\.drv)(?:'(?: on '[^']*')?\.\.\.)?$`)
	// A builder starts, and the answer of nix build --json: both come after
	// evaluation.
	buildingRe = regexp.MustCompile(`^building '` + storePath + `\.drv'(?: on '[^']*')?\.\.\.$|^\[\{"drvPath":"` + storePath + `\.drv"`)
	// copyStorePath, from a binary cache over HTTP.
	copiedRe = regexp.MustCompile(`^copying path '` + storePath + `' from 'https?://([^/'\s]+)[^']*'(?:\.\.\.)?$`)
	// filetransfer.cc: curl's reason, or the server's status, behind the URL.
	downloadRe = regexp.MustCompile(severity + `(?:.*: )?unable to download 'https?://([^/'\s]+)[^']*': (.+)$`)
	// Reasons that are the network's: curl's texts for its codes 5, 6, 7, 28,
	// 35, 52, 56 and 60, and what proxies answer. A path that a cache does not
	// have (404) is none.
	networkRe = regexp.MustCompile(`(?i)(?:could not|couldn't) (?:resolve (?:host|proxy)|connect)|failed to connect|timed? ?out|timeout was reached|connection (?:refused|reset)|network is unreachable|ssl (?:connect error|peer certificate)|problem with the ssl ca cert|empty reply|server returned nothing|failure when receiving|HTTP error (?:403|407|50[234])\b`)
	// libstore/build/derivation-goal.cc: exit code or signal of a builder;
	// since 2.30 the reason stands on the next line.
	builderRe = regexp.MustCompile(severity + `(builder for '` + storePath + `\.drv' failed.*|build of '` + storePath + `\.drv'.* failed.*|[Cc]annot build '` + storePath + `\.drv'.*)$`)
	reasonRe  = regexp.MustCompile(`^Reason: (builder failed.*)$`)
	// The last lines of the builder's log, set behind ">".
	logLineRe = regexp.MustCompile(`^> (.*\S)`)
	// Evaluation errors of libexpr and of nixpkgs' module system.
	evalRe = regexp.MustCompile(`^error: (?:.*(?:attribute '[^']+' (?:missing|not found)|undefined variable|infinite recursion encountered|syntax error, unexpected|does not provide attribute|attempt to call something which is not a function|called (?:without required|with unexpected) argument|cannot coerce|(?:is|expected) an? [\w ]+ (?:while|but found) an? |stack overflow|max-call-depth exceeded|cannot find flake|does not contain a '?/?flake\.nix|is not tracked by Git|is forbidden in (?:pure|restricted)|refusing to evaluate|assertion '.*' failed|experimental (?:Nix )?feature '[^']+' is disabled)|The option .* (?:does not exist|has conflicting definition|is used but not defined|was accessed but has no value)|A definition for option .* is not of type|evaluation aborted)`)
	// The module system lists failed assertions below a line of its own.
	assertionsRe = regexp.MustCompile(`^(?:error: )?Failed assertions:$`)
	// The store, its database, or the daemon's socket.
	permissionRe = regexp.MustCompile(severity + `.*'/nix/(?:store|var)\b[^']*'.*: (?:Permission denied|Read-only file system)$|` + severity + `cannot (?:connect to socket at|open connection to remote store) '[^']*'`)
	// nix build --print-out-paths and nix-build print the output alone.
	resultRe = regexp.MustCompile(`^` + storePath + `(?:/\S*)?\.iso$|^` + storePath + `\.iso(?:/\S+)?$`)
	// xorriso, when the image is complete.
	writtenRe = regexp.MustCompile(`Writing to 'stdio:([^']+\.iso)' completed successfully\.`)
	// ENOSPC's text, as the last words of a message.
	spaceRe = regexp.MustCompile(`: No space left on device\b`)
	// A builder ended by signal 9, gcc's word for a killed child.
	killedRe = regexp.MustCompile(`failed due to signal 9\b|builder failed due to signal 9\b|fatal error: Killed signal terminated program`)
	// Python's subprocess, for a nix command.
	commandRe = regexp.MustCompile(`^subprocess\.CalledProcessError: Command '\[?'?(?:/\S*/)?nix(?:-build)?\b.*' returned non-zero exit status (\d{1,3})\.?$`)
	// The program itself: shells, Python, a skipped test.
	missingRe = regexp.MustCompile(`(?:^|: )(?:/\S*/)?nix(?:-build|-shell)?: (?:command )?not found$|command not found: nix(?:-build)?$|^FileNotFoundError: \[Errno 2\] No such file or directory: b?'(?:/[^']*/)?nix(?:-build)?'$|^(?:/usr/bin/)?env: .nix(?:-build)?.: No such file or directory$|^SKIPPED .*\bnix\b.*(?:not (?:found|available|installed|on PATH)|missing|unavailable|required)`)
	// nix build -L puts the derivation's name before a builder's line.
	marginRe = regexp.MustCompile(`^(?:[A-Za-z0-9+._?=-]+)?> ?`)
)

// download is a server that did not answer so far.
type download struct {
	host, text string
	ev         bundle.Evidence
}

// failure is a builder that failed, until its last log lines were read.
type failure struct {
	text string
	last string
	ev   []bundle.Evidence
}

type reader struct {
	*hosttext.Teller
	log        *hosttext.Log
	down       map[string]*download
	order      []string // hosts in down, as first seen
	failed     *failure
	assertions *bundle.Evidence // the heading of a list of failed assertions
}

func (r *reader) read() {
	for ln := range r.log.Lines() {
		if ln.Boot {
			break
		}
		if ln.Text != "" {
			r.line(ln)
		}
	}
	r.flush()
	for _, host := range r.order {
		if d := r.down[host]; d != nil {
			r.State("build.network", "", d.text, d.ev)
		}
	}
}

func (r *reader) line(ln *hosttext.Line) {
	if r.continues(ln) {
		return
	}
	at := func(part string) bundle.Evidence { return r.log.Evidence(ln, part) }
	if t := ln.Text; !ln.Indented && (strings.HasPrefix(t, "building '") || strings.HasPrefix(t, "[{")) && buildingRe.MatchString(t) {
		r.State("build.evaluated", "", "yes", at(t))
	}
	switch t := ln.Text; {
	case !ln.Indented && strings.Contains(t, " will be ") && plannedRe.MatchString(t):
		r.State("build.evaluated", "", "yes", at(t))
	case strings.HasPrefix(t, "copying path "):
		if m := copiedRe.FindStringSubmatch(t); m != nil && !local(m[1]) {
			r.State("build.fetched", "", "yes", at(t))
			if _, failed := r.down[m[1]]; failed {
				r.down[m[1]] = nil
			}
		}
	case strings.Contains(t, ".iso.drv") && isoDrvRe.MatchString(t):
		drv := isoDrvRe.FindStringSubmatch(t)[1]
		r.State("build.iso-scheduled", "", drv, at(drv))
	case !ln.Indented && strings.HasPrefix(t, "/nix/store/") && resultRe.MatchString(t):
		r.State("build.iso", "", t, at(t))
	case strings.HasPrefix(t, "subprocess.") && commandRe.MatchString(t):
		r.State("build.command-failed", "", commandRe.FindStringSubmatch(t)[1], at(t))
	case missing(t):
		r.State("nix.missing", "", t, at(t))
	case strings.HasSuffix(t, "Failed assertions:") && assertionsRe.MatchString(t):
		e := at(t)
		r.assertions = &e
	default:
		r.trouble(ln, t)
		r.builder(ln, t)
	}
}

// missing reports whether a line says that nix's program is not there.
func missing(t string) bool {
	return strings.Contains(t, "nix") &&
		(strings.Contains(t, "not found") || strings.Contains(t, "No such file") || strings.HasPrefix(t, "SKIPPED")) &&
		missingRe.MatchString(t)
}

// trouble reads nix's errors and warnings.
func (r *reader) trouble(ln *hosttext.Line, t string) {
	if !strings.HasPrefix(t, "error: ") && !strings.HasPrefix(t, "warning: ") {
		return
	}
	e := r.log.Evidence(ln, t)
	text := strings.TrimPrefix(strings.TrimPrefix(t, "warning: "), "error: ")
	if m := downloadRe.FindStringSubmatch(t); m != nil {
		r.unreachable(m[1], m[2], text, e)
	} else if m := builderRe.FindStringSubmatch(t); m != nil {
		r.flush()
		r.failed = &failure{text: strings.TrimRight(m[1], ";."), ev: []bundle.Evidence{e}}
	} else if permissionRe.MatchString(t) {
		r.State("build.permission", "", text, e)
	} else if evalRe.MatchString(t) {
		r.State("build.eval-error", "", text, e)
	}
	if killedRe.MatchString(t) {
		r.State("build.oom", "", text, e)
	}
	if spaceRe.MatchString(t) {
		r.State("build.nospace", "", text, e)
	}
}

// builder reads what only a builder says.
func (r *reader) builder(ln *hosttext.Line, t string) {
	if strings.HasPrefix(ln.Text, "error: ") || strings.HasPrefix(ln.Text, "warning: ") {
		return // nix's own
	}
	if !strings.Contains(t, "Writing to") && !strings.Contains(t, "No space left") && !strings.Contains(t, "signal") {
		return
	}
	t = t[len(marginRe.FindString(t)):]
	if m := writtenRe.FindStringSubmatch(t); m != nil {
		r.State("build.iso", "", m[1], r.log.Evidence(ln, m[0]))
	}
	if spaceRe.MatchString(t) {
		r.State("build.nospace", "", t, r.log.Evidence(ln, t))
	}
	if killedRe.MatchString(t) {
		r.State("build.oom", "", t, r.log.Evidence(ln, t))
	}
}

// maxHosts bounds the servers that are kept in mind.
const maxHosts = 64

// unreachable notes a download that nix gave up; one that it tries again may
// yet work without a word.
func (r *reader) unreachable(host, reason, text string, e bundle.Evidence) {
	if !networkRe.MatchString(reason) || strings.Contains(reason, "retrying in") || local(host) {
		return
	}
	if _, known := r.down[host]; !known {
		if len(r.order) >= maxHosts {
			return
		}
		r.order = append(r.order, host)
	}
	r.down[host] = &download{host, text, e}
}

// local reports whether a cache is the host itself: it says nothing about the
// network.
func local(host string) bool {
	name, _, _ := strings.Cut(host, ":")
	return name == "localhost" || strings.HasPrefix(name, "127.") || strings.HasPrefix(host, "[::1]")
}

// continues reads the lines that belong to the message before, and reports
// whether ln is one of them.
func (r *reader) continues(ln *hosttext.Line) bool {
	if r.assertions != nil {
		text := strings.TrimSpace(strings.TrimPrefix(ln.Text, "- "))
		r.State("build.eval-error", "", "Failed assertions: "+text, r.log.Evidence(ln, text), *r.assertions)
		r.assertions = nil
		return true
	}
	if r.failed == nil {
		return false
	}
	if m := reasonRe.FindStringSubmatch(ln.Text); m != nil {
		r.failed.text += ": " + strings.TrimRight(m[1], ".")
		r.failed.ev = append(r.failed.ev, r.log.Evidence(ln, ln.Text))
		if killedRe.MatchString(m[1]) {
			r.State("build.oom", "", m[1], r.log.Evidence(ln, ln.Text))
		}
		return true
	}
	if m := logLineRe.FindStringSubmatch(ln.Text); m != nil && ln.Indented {
		r.failed.add(m[1], r.log.Evidence(ln, m[1]))
		r.builder(ln, m[1])
		return true
	}
	if !ln.Indented {
		r.flush()
	}
	return false
}

// keptLines is how many lines of a builder's log are evidence of its failure.
const keptLines = 3

// add keeps the last lines of the builder's log.
func (f *failure) add(line string, e bundle.Evidence) {
	f.last = line
	f.ev = append(f.ev, e)
	if len(f.ev) > 1+keptLines {
		f.ev = append(f.ev[:1], f.ev[2:]...)
	}
}

// flush states the builder that failed.
func (r *reader) flush() {
	f := r.failed
	r.failed = nil
	if f == nil {
		return
	}
	text := f.text
	if f.last != "" {
		text += ": " + f.last
	}
	r.State("build.builder-failed", "", text, f.ev...)
}
