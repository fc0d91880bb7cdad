package host

import (
	"errors"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/host/hosttext"
	"forensics/analyzers/host/jsonspan"
)

// probe is one record.
type probe struct {
	name   string
	guest  bool
	argv   []string
	exit   int
	exited bool
	stdout *jsonspan.Value
	record *jsonspan.Value
	data   []byte
	at     func(start, end int64) bundle.Evidence
}

// probes reads the records of one artifact.
func (r *reader) probes(l *hosttext.Log) {
	values, err := jsonspan.Parse(l.Data)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		r.problem(l.Path, "the last probe record breaks off; those before were read")
	} else if err != nil {
		r.problem(l.Path, err.Error())
	}
	index := bundle.NewLineIndex(l.Data)
	at := func(start, end int64) bundle.Evidence {
		e := bundle.Evidence{Path: l.Path, Line: index.Line(start), Start: start, End: end}
		e.Quote = bundle.Printable(string(l.Data[start:min(end, start+16*bundle.MaxQuote)]))
		return e
	}
	for _, v := range values {
		records := []*jsonspan.Value{v}
		if v.Kind == jsonspan.Array {
			records = v.Elems
		}
		for _, rec := range records {
			if p, ok := newProbe(l.Path, rec); ok {
				p.data, p.at = l.Data, at
				r.probe(p)
			}
		}
	}
}

// newProbe reads a record, and reports whether it is one that says where its
// command ran.
func newProbe(file string, v *jsonspan.Value) (*probe, bool) {
	p := &probe{name: v.Get("name").String(), record: v, stdout: v.Get("stdout")}
	where := v.Get("where").String()
	if where == "" {
		where, _, _ = strings.Cut(file, "/")
	}
	p.guest = where == "guest"
	if p.name == "" {
		p.name = strings.TrimSuffix(path.Base(file), path.Ext(file))
	}
	p.argv, _ = v.Get("argv").Strings()
	if x := v.Get("exit_status"); x != nil && x.Kind == jsonspan.Number {
		n, err := strconv.Atoi(x.Text)
		p.exit, p.exited = n, err == nil
	}
	return p, len(p.argv) > 0 && (where == "host" || where == "guest")
}

// maxStdout bounds the output that becomes a value, in bytes.
const maxStdout = 4 << 10

func (r *reader) probe(p *probe) {
	subject := p.name
	if p.guest {
		subject = "guest/" + p.name
	}
	if x := p.record.Get("exit_status"); p.exited {
		r.State("probe.exit", subject, strconv.Itoa(p.exit), p.at(x.Start, x.End))
	}
	if out := p.stdout.String(); out != "" {
		out = strings.ToValidUTF8(out[:min(len(out), maxStdout)], "")
		r.State("probe.stdout", subject, out, p.at(p.stdout.Start, p.stdout.End))
	}
	if p.guest || !p.exited {
		return
	}
	r.user(p)
	r.tools(p)
	if p.exit == 0 && p.stdout.String() != "" {
		r.sizes(p)
	}
}

// sizes reads the answers that tell memory and disk. What was asked, argv
// says; of a shell, its script.
func (r *reader) sizes(p *probe) {
	command := strings.Join(p.argv, " ")
	if n := len(p.argv); n >= 3 && shellRe.MatchString(p.argv[0]) && shellKind(p.argv[1:n-1]) != "" {
		command = p.argv[n-1]
	}
	if strings.ContainsAny(command, ";|&`\n") {
		return // more than one command answered
	}
	p.stdout.Lines(p.data, func(text string, start, end int64) bool {
		at := p.at(start, end)
		switch {
		case dfRe.MatchString(command):
			r.disk(command, text, at)
		case command == "cat /proc/meminfo":
			r.meminfo(text, at)
		case limitFileRe.MatchString(command):
			r.cgroup(text, at)
		}
		return true
	})
}

var (
	dfRe = regexp.MustCompile(`^(?:/\S*/)?df(?:\s|$)`)
	// df's row: device, size, used, free, percentage, mount point.
	dfRowRe = regexp.MustCompile(`^\S+ +([\d.]+[KMGTPE]?) +([\d.]+[KMGTPE]?) +(-?[\d.]+[KMGTPE]?) +(?:\d+%|-) +(/.*)$`)
	// /proc/meminfo.
	meminfoRe = regexp.MustCompile(`^(MemTotal|MemAvailable): +(\d+) kB$`)
	// memory.max of cgroup v2, memory.limit_in_bytes of v1.
	limitFileRe = regexp.MustCompile(`^cat /sys/fs/cgroup/(?:\S+/)?memory\.(?:max|limit_in_bytes)$`)
	limitRe     = regexp.MustCompile(`^(?:max|\d{1,20})$`)
)

func (r *reader) disk(command, row string, at bundle.Evidence) {
	unit, ok := blockSize(command)
	m := dfRowRe.FindStringSubmatch(row)
	if m == nil || !ok {
		return
	}
	if n, ok := size(m[3], unit); ok {
		r.State("host.disk-free", m[4], gib(n), at)
	}
}

// blockSize returns what a number without suffix counts in df's answer: KiB,
// or bytes with -B1 and -h. It reports false for options that make the columns
// mean something else.
func blockSize(command string) (float64, bool) {
	unit := 1024.0
	_, options, _ := strings.Cut(command, "df ")
	for _, o := range strings.Fields(options) {
		switch {
		case o == "-B1" || o == "--block-size=1":
			unit = 1
		case o == "--portability" || !strings.HasPrefix(o, "-"):
		case strings.Trim(o[1:], "hkPal") != "":
			return 0, false
		case strings.Contains(o, "h"):
			unit = 1
		}
	}
	return unit, true
}

// size reads a number with df's suffix, or in the unit given.
func size(s string, unit float64) (float64, bool) {
	if i := strings.IndexByte("KMGTPE", s[len(s)-1]); i >= 0 {
		unit = 1
		for range i + 1 {
			unit *= 1024
		}
		s = s[:len(s)-1]
	}
	n, err := strconv.ParseFloat(s, 64)
	return n * unit, err == nil && n >= 0
}

func (r *reader) meminfo(line string, at bundle.Evidence) {
	m := meminfoRe.FindStringSubmatch(line)
	if m == nil {
		return
	}
	n, err := strconv.ParseFloat(m[2], 64)
	if err != nil {
		return
	}
	name := map[string]string{"MemTotal": "host.memory", "MemAvailable": "host.memory-available"}[m[1]]
	r.State(name, "", gib(n*1024), at)
}

// unlimited is where cgroup v1 has no limit: the largest page-aligned int64.
const unlimited = 1 << 62

func (r *reader) cgroup(line string, at bundle.Evidence) {
	line = strings.TrimSpace(line)
	if !limitRe.MatchString(line) {
		return
	}
	n, err := strconv.ParseFloat(line, 64)
	if line == "max" || err == nil && n >= unlimited {
		r.State("host.cgroup-memory", "", "max", at)
	} else if err == nil {
		r.State("host.cgroup-memory", "", gib(n), at)
	}
}

var (
	// A script that prints USER and nothing else.
	userScriptRe = regexp.MustCompile(`^(?:printenv USER|(?:echo|printf ["']?%s(?:\\n)?["']?) +(?:"\$(?:USER|\{USER(?::?-)?\})"|\$(?:USER|\{USER(?::?-)?\})))$`)
	shellRe      = regexp.MustCompile(`^(?:.*/)?(?:ba|da|z|k)?sh$`)
)

// user states the value of USER that a shell, or printenv, shows.
func (r *reader) user(p *probe) {
	kind := ""
	switch n := len(p.argv); {
	case n == 2 && path.Base(p.argv[0]) == "printenv" && p.argv[1] == "USER":
		kind = "environment"
	case n >= 3 && shellRe.MatchString(p.argv[0]) && userScriptRe.MatchString(p.argv[n-1]):
		kind = shellKind(p.argv[1 : n-1])
	}
	unset := p.exit == 1 && strings.HasSuffix(p.argv[len(p.argv)-1], "USER") // printenv's status
	if kind == "" || p.exit != 0 && !unset || p.stdout == nil || p.stdout.Kind != jsonspan.String {
		return
	}
	value := strings.TrimSpace(p.stdout.Text)
	if value == "" {
		value = "(unset)"
	}
	if !strings.ContainsAny(value, "\n\r") {
		r.State("host.user", kind, value, p.at(p.stdout.Start, p.stdout.End))
	}
}

// shellKind reads a shell's options: it must have -c; with -l it is a login
// shell.
func shellKind(options []string) string {
	command, kind := false, "non-login"
	for _, o := range options {
		if o == "--login" {
			kind = "login"
		} else if strings.HasPrefix(o, "-") && !strings.HasPrefix(o, "--") {
			command = command || strings.Contains(o, "c")
			if strings.Contains(o, "l") {
				kind = "login"
			}
		}
	}
	if !command {
		return ""
	}
	return kind
}
