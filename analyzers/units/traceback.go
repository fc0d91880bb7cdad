package units

import (
	"path"
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
)

// How an exception hangs on the one printed before it.
const (
	direct = iota + 1 // raise … from …
	during            // raised while the other was handled
)

// exception is a Python traceback.
type exception struct {
	name, text string // "OSError", "OSError: [Errno 22] Invalid argument"
	frames     []frame
	link       int
	before     *exception
	at         bundle.Evidence
}

type frame struct{ file, function string }

// root is the first exception of the chain.
func (x *exception) root() *exception {
	for x.before != nil {
		x = x.before
	}
	return x
}

// spawned reports whether x was raised where Python starts a process.
func (x *exception) spawned() bool {
	if len(x.frames) == 0 {
		return false
	}
	last := x.frames[len(x.frames)-1]
	return last.function == "_execute_child" || strings.HasPrefix(last.function, "_execv") || strings.HasPrefix(last.function, "execv")
}

var (
	// Python: `  File "/x/y.py", line 47, in _run`.
	frameRe = regexp.MustCompile(`^\s*File "([^"]+)", line \d+, in (\S+)`)
	// Python prints the exception after its frames, not indented:
	// "OSError: [Errno 22] Invalid argument", "pexpect.exceptions.TIMEOUT: …".
	raisedRe = regexp.MustCompile(`^([A-Za-z_][\w.]*)(?:: .*)?$`)
	// Names of exceptions, where indentation is lost.
	namedAsRe = regexp.MustCompile(`^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Expired|Timeout)(?:: .*)?$`)
	// Exceptions that only pass a command's failure on.
	passedRe = regexp.MustCompile(`^(?:CalledProcessError|SystemExit|TimeoutExpired)$`)
	// Python's own for what a program itself did or met; RuntimeError and a
	// program's own classes often wrap something else.
	builtinRe = regexp.MustCompile(`^(?:OSError|IOError|\w*(?:NotFound|Permission|Exists|Directory|Blocking|Interrupted|BrokenPipe|Connection\w*)Error|KeyError|IndexError|LookupError|TypeError|ValueError|AttributeError|NameError|UnboundLocalError|AssertionError|ArithmeticError|ZeroDivisionError|OverflowError|UnicodeDecodeError|UnicodeEncodeError|RecursionError|MemoryError|ImportError|ModuleNotFoundError|SyntaxError|JSONDecodeError|NotImplementedError)$`)
)

func passes(name string) bool  { return passedRe.MatchString(name) }
func builtin(name string) bool { return builtinRe.MatchString(name) }

// maxFrames bounds a traceback; Python itself stops at a thousand.
const maxFrames = 1024

// maxChain bounds how many exceptions hang together.
const maxChain = 64

// tracer follows tracebacks through a log.
type tracer struct {
	open *exception // its frames are being read
	pid  int
	link int        // what the next traceback is to done
	last *exception // the one that was read last
	done *exception // set when the line just taken ended one
	deep int
}

// line takes one line of process pid and reports whether it belongs to a
// traceback. Other processes' lines may stand between.
func (t *tracer) line(raw string, pid int) bool {
	t.done = nil
	msg := strings.TrimSpace(raw)
	switch {
	case strings.HasPrefix(msg, "Traceback (most recent call last)"):
		t.open, t.pid = &exception{link: t.link}, pid
		if t.link != 0 && t.deep < maxChain {
			t.open.before = t.last
			t.deep++
		} else {
			t.open.link, t.deep = 0, 0
		}
		t.link = 0
		return true
	case strings.HasPrefix(msg, "The above exception was the direct cause of"):
		t.link = direct
		return true
	case strings.HasPrefix(msg, "During handling of the above exception"):
		t.link = during
		return true
	case t.open == nil || pid != t.pid:
		return false
	}
	return t.inside(raw, msg)
}

func (t *tracer) inside(raw, msg string) bool {
	if m := frameRe.FindStringSubmatch(msg); m != nil {
		if len(t.open.frames) < maxFrames {
			t.open.frames = append(t.open.frames, frame{m[1], m[2]})
		}
		return true
	}
	indented := raw != msg && strings.TrimLeft(raw, " \t") != raw
	m := raisedRe.FindStringSubmatch(msg)
	switch {
	case msg == "" || indented && !namedAsRe.MatchString(msg):
		return true // source text
	case m == nil || indented && len(t.open.frames) == 0:
		t.open = nil
		return false
	}
	t.open.name, t.open.text = m[1][strings.LastIndexByte(m[1], '.')+1:], msg
	t.last, t.done, t.open = t.open, t.open, nil
	return true
}

// topics are words that name a part of provisioning in modules, functions,
// events and commands; the order is that of precedence.
var topics = []struct {
	name string
	re   *regexp.Regexp
}{
	{"detect", regexp.MustCompile(`(?i)detect[-_.]?storage|storage[-_.]?detect|inventory|classif|detect_existing|probe[-_.]disk|scan[-_.]disk|wipefs|enumerate_disks`)},
	{"network", regexp.MustCompile(`(?i)(?:^|[^a-z])network|(?:^|[_. ])lan(?:$|[_. ])|dhcp|carrier|interface|systemd-networkd`)},
	{"detect", regexp.MustCompile(`(?i)(?:^|[._ ])detect(?:ion|or)?(?:$|[._ ])`)},
	{"apply", regexp.MustCompile(`(?i)(?:^|[^a-z])apply|disko|partition|provision|mkfs|(?:pv|vg|lv)create|sgdisk|format[-_]?(?:disk|part|vol|dev)`)},
}

func named(s string) string {
	for _, t := range topics {
		if t.re.MatchString(s) {
			return t.name
		}
	}
	return ""
}

// label is the frame as topics name it; "" for Python's own library.
func (f frame) label() string {
	if strings.Contains(f.file, "/lib/python3") && !strings.Contains(f.file, "site-packages") && !strings.Contains(f.file, "dist-packages") {
		return ""
	}
	return path.Base(f.file) + " " + f.function
}

// topic of an exception: the innermost frame that names one, of the first of
// the chain that has any.
func (x *exception) topic() string {
	var chain []*exception
	for ; x != nil; x = x.before {
		chain = append(chain, x)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		for j := len(chain[i].frames) - 1; j >= 0; j-- {
			if l := chain[i].frames[j].label(); l != "" {
				if t := named(l); t != "" {
					return t
				}
			}
		}
	}
	return ""
}
