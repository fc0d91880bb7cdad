package units

import (
	"regexp"
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/journal"
)

// cause is one candidate for why a unit failed.
type cause struct {
	text    string
	ev      bundle.Evidence
	at      int    // index of its line
	command string // the command that was not found
	unit    string // the unit that was not found
}

// found is what a failing unit's log holds, the last of each kind: a failure is
// noticed where it stands last.
type found struct {
	ended  cause // systemd's word for why it ended the unit
	said   cause // a program's own word for what broke
	tool   cause // a storage tool's word; void once the script went on
	weak   bool  // tool only says that it gave up
	pid    int   // who said tool
	raised cause // an exception of the unit's own code
	own    bool  // raised is one that no failed command leads to
	usage  cause // a tool rejected its command line
	passed cause // an exception or event that passes a command's failure on
	exit   cause // how the main process ended

	spoke   cause // another process's last line since the event that has begun
	speaker int
	child   cause // the last words of the command whose failure passed passes on

	doing    string // the event that has begun and not ended
	failing  string // the event that told of a failure
	passedOn bool   // passed comes from an event
	pending  bool   // "error:" stood alone, its text follows
	trace    tracer
}

var (
	// bash: "script: line 143: modprobe: command not found"; dash: "sh: 1:
	// modprobe: not found"; busybox: "/bin/sh: modprobe: not found"; sudo, env.
	notFoundRe = regexp.MustCompile(`(?:line \d+|: \d+): (?:exec: )?(\S+): (?:command )?not found$|^(?:\S+: )?([^\s:]+): command not found$|^-?(?:/\S*/)?(?:ba|da|a)?sh: (?:exec: )?([^\s:]+): not found$|^env: [‘']?([^\s’']+?)[’']?: No such file or directory$`)
	// systemd: "Failed at step EXEC spawning /x/y: No such file or directory",
	// since 254 "Unable to locate executable '/x/y': No such file or directory".
	noExecRe = regexp.MustCompile(`(?:Failed at step EXEC spawning|Failed to execute|Unable to locate executable|Failed to locate executable) '?(/[^\s']+?)'?: No such file or directory$`)
	// Python: the file that subprocess could not execute.
	noFileRe = regexp.MustCompile(`^FileNotFoundError: \[Errno 2\] No such file or directory: '([^'/]+|/\S*bin/[^'/]+)'$`)
	// systemctl: "Failed to restart X: Unit X not found."
	noUnitRe = regexp.MustCompile(`^(?:Failed to \S+ \S+: )?Unit (\S+\.\w+) (?:not found|could not be found|does not exist)`)
	// nix, disko, util-linux, argparse, parted; git's fatal. A warning about an
	// error is not one.
	errorRe = regexp.MustCompile(`^(?:[\w./@+-]+: )*(?:[Ee]rror|ERROR|fatal): (\S.*)$`)
	// nix puts the place before the text: "error:", "… while …", then again
	// "error: …".
	aloneRe = regexp.MustCompile(`^(?:[\w./@+-]+: )*error:$`)
	placeRe = regexp.MustCompile(`^(?:…|\.\.\. |at |\(stack trace|\d*\||while )`)
	usageRe = regexp.MustCompile(`^[Uu]sage: (\S+)`)
	// bash -x. The trap that cleans up runs after what broke.
	stepRe  = regexp.MustCompile(`^\++ (\S+)`)
	cleanRe = regexp.MustCompile(`^\++ (?:rm|rmdir|trap|umount|exit) `)
	// systemd's word for why it ended the unit itself.
	endedRe = regexp.MustCompile(`^(?:\S+ operation timed out\. \S+\.|A process of this unit has been killed by the OOM killer\.|Watchdog timeout \(limit \S+\)!)$`)
	// The tools that make storage, when they give a reason: an errno, or what
	// stands in the way.
	toolRe = regexp.MustCompile(`^(?:` +
		`(?:mdadm|wipefs|sgdisk|sfdisk|parted|partprobe|mkfs[.\w]*|mke2fs|mkswap|mount|swapon|cryptsetup|blkdiscard|dd): .*(?:No space left on device|Device or resource busy|Input/output error|Read-only file system|Permission denied|Operation not permitted|No such device(?: or address)?|No such file or directory|Invalid argument|Cannot allocate memory)\.?$` +
		`|mdadm: (?:RUN_ARRAY failed|Cannot get exclusive access|cannot open|failed to) .*` +
		`|mount: \S+: (?:wrong fs type|special device \S+ does not exist|unknown filesystem type|can't find).*` +
		`|(?:Can't open|Cannot use|Can't initialize) \S+.*|Cannot use device .*|Device /dev/\S+ (?:not found|excluded by a filter).*` +
		`|A volume group called \S+ already exists\.|Logical [Vv]olume "\S+" already exists in volume group "\S+"` +
		`|Volume group "\S+" has insufficient free space .*|Insufficient (?:suitable allocatable extents|free space).*` +
		`|Problem opening \S+ for \w+! Error is \d+\..*|Could not create partition \d+ from .*` +
		`|/dev/\S+ is (?:apparently in use by the system|mounted); will not make a file ?system here!` +
		`)$`)
	// What they say when they give up without a reason.
	weakRe = regexp.MustCompile(`^(?:mdadm: (?:create aborted|/dev/\S+ is not suitable for this array\.?)|Error encountered; not saving changes\.)$`)
)

// why states why unit failed.
func (in *interp) why(unit string, es []journal.Entry, failed journal.Entry) {
	f := read(es, unit)
	c, text := f.choose()
	if c == nil {
		c = &cause{text: failed.Message, ev: failed.Evidence}
	}
	if text == "" {
		text = c.text
	}
	ev := []bundle.Evidence{c.ev}
	if f.passed.text != "" && f.passed.ev != c.ev {
		ev = append(ev, f.passed.ev)
	}
	ev = append(ev, failed.Evidence)
	in.p.State("unit.error", unit, bundle.Printable(text), ev...)
	in.p.State("unit.error-in", unit, f.topic(text), ev...)
	if c.command != "" {
		in.p.State("unit.lacks-command", unit, c.command, c.ev)
	}
	if c.unit != "" {
		in.p.State("unit.lacks-unit", unit, c.unit, c.ev)
	}
}

// survived states the last exception that a unit logged and went on after: what
// made it do less than it should, though it ended well.
func (in *interp) survived(unit string, es []journal.Entry) {
	f := read(es, unit)
	if f.trace.last == nil {
		return
	}
	if c, text := f.choose(); c != nil {
		if text == "" {
			text = c.text
		}
		in.p.State("unit.survived", unit, bundle.Printable(text), c.ev)
	}
}

// choose returns the candidate nearest to what broke, and the text where it is
// not the candidate's own.
func (f *found) choose() (c *cause, text string) {
	said := &f.said
	if f.tool.text != "" && (said.text == "" || f.tool.at > said.at) {
		said = &f.tool
	}
	switch {
	case f.ended.text != "":
		return &f.ended, ""
	case f.raised.text != "" && (said.text == "" || f.own && f.raised.at > said.at):
		return &f.raised, ""
	case said.text != "":
		return said, ""
	case f.usage.text != "" && f.passed.text != "":
		return &f.usage, f.usage.text + "; " + f.passed.text
	case f.usage.text != "":
		return &f.usage, ""
	case f.child.text != "" && f.passed.text != "":
		return &f.child, f.child.text + "; " + f.passed.text
	case f.passed.text != "":
		return &f.passed, ""
	case f.exit.text != "":
		return &f.exit, ""
	}
	return nil, ""
}

// read walks the log of a failed attempt.
func read(es []journal.Entry, unit string) *found {
	f := &found{}
	n := 0
	for i := range es {
		for msg := range strings.SplitSeq(es[i].Message, "\n") {
			n++
			if !f.trace.line(msg, es[i].PID) {
				f.line(strings.TrimSpace(msg), unit, &es[i], n)
			} else if x := f.trace.done; x != nil {
				x.at = es[i].Evidence
				f.exception(x, cause{ev: es[i].Evidence, at: n})
			}
		}
	}
	return f
}

func (f *found) line(msg, unit string, e *journal.Entry, n int) {
	c := cause{text: msg, ev: e.Evidence, at: n}
	if manager(e) || strings.HasPrefix(msg, unit+": ") {
		f.manager(strings.TrimPrefix(msg, unit+": "), c)
		return
	}
	if f.pending && msg != "" {
		f.pending = false
		if !placeRe.MatchString(msg) && !errorRe.MatchString(msg) {
			c.text = "error: " + msg
			f.said = c
			return
		}
	}
	switch {
	case strings.HasPrefix(msg, "warning:"):
	case strings.HasPrefix(msg, "{"):
		f.event(c, e)
	case notFoundRe.MatchString(msg):
		c.command = strings.Join(notFoundRe.FindStringSubmatch(msg)[1:], "")
		f.said = c
	case noUnitRe.MatchString(msg):
		c.unit = noUnitRe.FindStringSubmatch(msg)[1]
		f.said = c
	case errorRe.MatchString(msg):
		f.said = c
	case aloneRe.MatchString(msg):
		f.pending = true
	case usageRe.MatchString(msg):
		f.usage = c
	case stepRe.MatchString(msg):
		if !cleanRe.MatchString(msg) {
			f.tool, f.spoke = cause{}, cause{}
		}
	default:
		if msg != "" && f.doing != "" {
			f.spoke, f.speaker = c, e.PID
		}
		f.storage(msg, c, e.PID)
	}
}

// storage takes a storage tool's word. Of one process the first reason counts:
// what follows it says the same of other devices, or that it gave up.
func (f *found) storage(msg string, c cause, pid int) {
	strong, weak := toolRe.MatchString(msg), weakRe.MatchString(msg)
	if !strong && !weak || f.tool.text != "" && f.pid == pid && (weak || !f.weak) {
		return
	}
	f.tool, f.weak, f.pid = c, !strong, pid
}

// manager takes systemd's word about the unit.
func (f *found) manager(text string, c cause) {
	switch {
	case noExecRe.MatchString(text):
		c.command = noExecRe.FindStringSubmatch(text)[1]
		f.said = c
	case endedRe.MatchString(text):
		f.ended = c
	case exitRe.MatchString(text):
		f.exit = c
	}
}

// event takes a structured message. One that reports a command's failure
// passes it on; one that begins another, or reports success, shows that the
// work went on. One of level error tells of a failure in the program's words.
func (f *found) event(c cause, e *journal.Entry) {
	if e.Truncated {
		return
	}
	for _, ev := range events([]journal.Entry{*e}) {
		switch {
		case ev.HasCode && ev.Code != 0 && ev.Command != "":
			c.text = ev.Command + " exited " + strconv.Itoa(ev.Code)
			f.passed, f.passedOn, f.failing = c, true, ev.Name
			f.lastWords(&ev, e)
		case ev.failure():
			f.failing = ev.Name
			if m, ok := ev.Fields["message"].(string); ok && m != "" && f.passed.text == "" {
				c.text = m
				f.passed = c
			}
		case begins.MatchString(ev.Name) || ends.MatchString(ev.Name) && ev.HasCode && ev.Code == 0:
			f.wentOn(ev.Name)
		}
	}
}

// lastWords takes what the command that ev reports failed said last: its line in
// the log, or what the program kept of its standard error.
func (f *found) lastWords(ev *Event, e *journal.Entry) {
	f.child = cause{}
	if stderr, _ := ev.Fields["stderr"].(string); strings.TrimSpace(stderr) != "" {
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		f.child = cause{text: strings.TrimSpace(lines[len(lines)-1]), ev: e.Evidence}
	} else if f.spoke.text != "" && f.speaker != e.PID {
		f.child = f.spoke
	}
}

// wentOn voids what a failure before left: the program did not mind it.
func (f *found) wentOn(name string) {
	f.tool, f.spoke, f.child, f.failing, f.doing = cause{}, cause{}, cause{}, "", name
	if f.passedOn {
		f.passed, f.passedOn = cause{}, false
	}
	if ends.MatchString(name) {
		f.doing = ""
	}
}

// exception takes the end of a traceback, or of a chain of them.
func (f *found) exception(x *exception, c cause) {
	c.text = x.text
	root := x.root()
	switch {
	case x.link == direct:
		c.text, c.ev = root.text, root.at
	case x.link == during:
		c.text += "; while handling " + root.text
	}
	if m := noFileRe.FindStringSubmatch(root.text); m != nil && root.spawned() {
		c.command = m[1]
		f.said = c
		return
	}
	if passes(root.name) || x.link == 0 && passes(x.name) {
		if !f.passedOn && f.spoke.text != "" && f.speaker != f.trace.pid {
			f.child = f.spoke
		}
		f.passed, f.passedOn = c, false
		return
	}
	f.raised, f.own = c, builtin(root.name) && f.passed.at <= f.said.at
}

// topic says which part of the work broke: what the last traceback names, else
// the last structured message, if it begins something or reports a failure.
// After the end of one part, what broke is another, unnamed one.
// What neither names, the words of the failure itself may.
func (f *found) topic(text string) string {
	names := []string{f.failing, f.doing, text}
	if x := f.trace.last; x != nil {
		if t := x.topic(); t != "" {
			return t
		}
		names = names[2:]
	}
	for _, name := range names {
		if t := named(name); t != "" {
			return t
		}
	}
	return "other"
}
