// Package shell interprets the dialogue with the guest's shell: who the session
// is, over time, and which commands the image has.
//
// A user id is an answer, never an echo: `…then echo ROOT; else echo USER; fi`
// is a question, and only a bare ROOT or USER is its answer. What sudo, su or
// ssh answer about themselves ("sudo id -u") is not who the session is. Where
// an answer can be read in two ways, nothing is stated. A command is shown
// to be in the image by an answer that only it can give, or by `command -v`;
// it is shown to be missing by `command -v` saying so, or by the shell's
// "command not found". An empty answer shows neither.
//
// A capture file may come from the host as well as from the guest. It counts
// where the console shows the same line.
//
// The parts that an image must have are the profile's parameter "parts":
// NAME=COMMAND|COMMAND…, any of which shows the part. It is shown to be missing
// when the first of them is and none of the others was seen.
package shell

import (
	"regexp"
	"slices"
	"sort"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
)

// Analyzer interprets the dialogue.
var Analyzer = &analyzers.Analyzer{
	Name:     "shell",
	Doc:      "Interprets who the shell session is and which commands the image has.",
	Requires: []*analyzers.Analyzer{console.Analyzer, commands.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "shell.uid", Doc: "The guest answered that the session has this numeric user id.", Values: nil},
		{Name: "shell.user", Doc: "Whether the session is root, by the guest's answer to the question.", Values: []string{"root", "other"}},
		{Name: "shell.root", Doc: "The session was root at some time, and how it got there.", Values: []string{"yes"}, Repeats: true},
		{Name: "shell.escalated", Doc: "This command turned the session into root's.", Subject: "command", Values: []string{"yes"}, Repeats: true},
		{Name: "shell.refused", Doc: "The attempt to become root was refused, in the guest's words.", Subject: "command", Values: nil, Repeats: true},
		{Name: "shell.worked", Doc: "The session ran commands after it was asked who it is.", Values: []string{"yes"}},
		{Name: "shell.prompt", Doc: "A shell prompt was shown.", Values: []string{"yes"}},
		{Name: "shell.command", Doc: "Whether the image has this command, as the session's shell shows.", Subject: "command", Values: []string{"present", "missing"}},
		{Name: "shell.missing", Doc: "A command that shows a part of the image is missing.", Values: nil, Repeats: true},
		{Name: "shell.part", Doc: "Whether the image has this part (the profile's parts), as the session's shell shows.", Subject: "part", Values: []string{"present", "missing"}},
	},
	Run: run,
}

// Identity is who the session was over time.
type Identity struct {
	Path string
	UIDs []UID
}

// UID is one answer.
type UID struct {
	Value    string // decimal, or "other" where only root was excluded
	Evidence bundle.Evidence
}

// From returns the identities of the run's dialogues.
func From(p *analyzers.Pass) []*Identity {
	ids, _ := p.ResultOf[Analyzer].([]*Identity)
	return ids
}

func run(p *analyzers.Pass) (any, error) {
	var ids []*Identity
	for _, t := range console.From(p) {
		prompts(p, t)
	}
	said := consoles(p, answered(p))
	for _, d := range commands.From(p) {
		if d.Kind == bundle.Probe {
			continue // whoever ran it is not the session
		}
		if d.Kind != bundle.Serial {
			d = confirmed(d, said)
		}
		w := &walk{p: p, id: &Identity{Path: d.Path}, parts: partsOf(p.Params), present: map[string]bool{}}
		for _, c := range d.Commands {
			w.command(c)
		}
		ids = append(ids, w.id)
	}
	for _, a := range p.Run.Of(bundle.Access) {
		if id := access(p, a); id != nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// answered returns the lines of answers in captures, for which a console is
// asked, none of them confirmed yet. What no command is known for shows nothing.
func answered(p *analyzers.Pass) map[string]bool {
	lines := map[string]bool{}
	for _, d := range commands.From(p) {
		if d.Kind == bundle.Probe || d.Kind == bundle.Serial {
			continue
		}
		for _, c := range d.Commands {
			if c.Text == "" {
				continue
			}
			for i := range c.Answer {
				lines[strings.TrimSpace(c.Answer[i].Text)] = false
			}
		}
	}
	return lines
}

// consoles confirms the lines that the guest printed on a console.
func consoles(p *analyzers.Pass, said map[string]bool) map[string]bool {
	if len(said) == 0 {
		return said
	}
	for _, t := range console.From(p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if l.Typed || l.TypedFrom >= 0 {
				continue
			}
			for j := range l.Pieces {
				text := strings.TrimSpace(l.Pieces[j].Text)
				if confirmed, asked := said[text]; asked && !confirmed {
					said[text] = true
				}
			}
		}
	}
	return said
}

// confirmed returns d less the answers that no console shows.
func confirmed(d *commands.Dialogue, said map[string]bool) *commands.Dialogue {
	kept := &commands.Dialogue{Path: d.Path, Kind: d.Kind, Typed: d.Typed}
	for _, c := range d.Commands {
		same := *c
		same.Answer = nil
		for _, l := range c.Answer {
			if said[strings.TrimSpace(l.Text)] {
				same.Answer = append(same.Answer, l)
			}
		}
		kept.Commands = append(kept.Commands, &same)
	}
	return kept
}

// prompts states that a shell's prompt was there.
func prompts(p *analyzers.Pass, t *console.Transcript) {
	if t.Artifact.Kind != bundle.Serial {
		return
	}
	for i := range t.Lines {
		if t.Lines[i].Typed {
			continue
		}
		for j := range t.Lines[i].Pieces {
			pc := &t.Lines[i].Pieces[j]
			if prompt, _, ok := t.CutPrompt(pc.Text); ok && strings.TrimSpace(prompt) != "" {
				p.State("shell.prompt", "", "yes", t.PieceEvidence(pc))
				return
			}
		}
	}
}

// partsOf reads the parameter "parts": part -> commands that show it.
func partsOf(params analyzers.Params) map[string][]string {
	m := map[string][]string{}
	for part, cmds := range params.Map("parts") {
		m[part] = strings.Split(cmds, "|")
	}
	return m
}

type walk struct {
	p       *analyzers.Pass
	id      *Identity
	parts   map[string][]string
	asked   bool
	worked  bool
	pending *commands.Command // an escalation whose effect is not seen yet
	present map[string]bool   // commands that were seen
}

func (w *walk) command(c *commands.Command) {
	w.promptUser(c)
	if uid, ev, ok := UserID(c); ok {
		w.uid(uid, ev)
		return
	}
	if w.asked && !w.worked && w.pending == nil && work(c) {
		w.worked = true
		w.p.State("shell.worked", "", "yes", c.Echo)
	}
	w.presence(c)
	w.escalation(c)
}

// work reports whether c does something for the harness, rather than setting
// the session up or ending it.
func work(c *commands.Command) bool {
	ws := c.Words()
	return len(ws) > 0 && !slices.Contains([]string{":", "export", "stty", "poweroff", "reboot", "exit", "sudo", "su", "printf", "echo"}, ws[0])
}

// promptUser learns root from a prompt that names it, which bash's \u does. A
// prompt that names another user says that sudo or su started no shell.
func (w *walk) promptUser(c *commands.Command) {
	switch {
	case w.pending == nil:
	case rootPromptRe.MatchString(c.Prompt):
		w.escalated(c.Echo)
	case userPromptRe.MatchString(c.Prompt):
		w.pending = nil
	}
}

var (
	// "[root@host:~]# " (NixOS), "root@host:/tmp# " (Debian), "[root@host ~]# "
	// (Fedora).
	rootPromptRe = regexp.MustCompile(`^\[?root@[^\s:]+[:~ ].*# ?$`)
	// The same of a user that is not root: \$ shows as "$".
	userPromptRe = regexp.MustCompile(`^\[?[a-z_][\w.-]*@[^\s:]+[:~ ].*\$ ?$`)
)

// escalated states that the pending command made the session root's.
func (w *walk) escalated(shows bundle.Evidence) {
	name := w.pending.Words()[0]
	w.p.State("shell.escalated", name, "yes", w.pending.Echo, shows)
	w.commandFact(name, "present", w.pending.Echo)
	w.pending, w.asked = nil, false
}

func (w *walk) uid(uid string, ev bundle.Evidence) {
	w.asked, w.worked = true, false
	w.id.UIDs = append(w.id.UIDs, UID{uid, ev})
	if uid != "other" {
		w.p.State("shell.uid", "", uid, ev)
	}
	if uid != "0" {
		w.p.State("shell.user", "", "other", ev)
		w.pending = nil
		return
	}
	w.p.State("shell.user", "", "root", ev)
	w.p.State("shell.root", "", "yes", ev)
	if w.pending != nil {
		w.escalated(ev)
		w.asked = true
	}
}

var (
	// Questions: a test on id -u with an echo in each branch; a printf of it.
	testRe   = regexp.MustCompile(`id -u\)?"? *(?:-eq|==?) *"?0"? *\]{1,2} *(?:; *then|&&) +echo (\S+?)(?: *; *else| *\|\|) +echo (\S+?)(?:;? *fi)?$`)
	printfRe = regexp.MustCompile(`^printf '([^'%]*)%s([^'%]*?)(?:\\n)?' +"?\$\(id -u\)"?$`)
	uidRe    = regexp.MustCompile(`^uid=(\d+)\(`)
	digitsRe = regexp.MustCompile(`^(?:0|[1-9]\d{0,9})$`)
	// A user's name, as whoami prints it (shadow's NAME_REGEX).
	nameRe = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	// A kernel message that cut an answer in two: the rest of its digits stand
	// on the next line.
	splicedRe = regexp.MustCompile(`^\d+\[ *\d+\.\d{6}\]`)
)

// Question returns the markers that c prints for root and for another user,
// when c is a test on id -u with one for each.
func Question(text string) (root, other string, ok bool) {
	if !strings.Contains(text, "id -u") {
		return "", "", false
	}
	m := testRe.FindStringSubmatch(text)
	if m == nil || m[1] == m[2] {
		return "", "", false
	}
	return strings.Trim(m[1], `'"`), strings.Trim(m[2], `'"`), true
}

// UserID returns the user id that c's answer gives; "other" when the answer
// only says that it is not root's.
func UserID(c *commands.Command) (string, bundle.Evidence, bool) {
	if root, other, ok := Question(c.Text); ok {
		return one(c, func(text string) string {
			switch text {
			case root:
				return "0"
			case other:
				return "other"
			}
			return ""
		})
	}
	if m := printfRe.FindStringSubmatch(c.Text); m != nil {
		return between(c, strings.ReplaceAll(m[1], `\n`, ""), strings.ReplaceAll(m[2], `\n`, ""))
	}
	ws := c.Words()
	if len(ws) == 0 || strings.HasPrefix(c.Text, "sudo ") {
		return "", bundle.Evidence{}, false
	}
	switch strings.Join(ws[:min(4, len(ws))], " ") {
	case "id -u":
		return one(c, digitsRe.FindString)
	case "id":
		return one(c, func(text string) string {
			if m := uidRe.FindStringSubmatch(text); m != nil {
				return m[1]
			}
			return ""
		})
	case "whoami", "id -un", "id -u -n", "id -nu":
		return one(c, func(text string) string {
			switch {
			case text == "root":
				return "0"
			case nameRe.MatchString(text):
				return "other"
			}
			return ""
		})
	}
	return "", bundle.Evidence{}, false
}

// one returns the only value that read finds in the lines of c's answer.
func one(c *commands.Command, read func(string) string) (value string, ev bundle.Evidence, ok bool) {
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		if splicedRe.MatchString(text) {
			return "", bundle.Evidence{}, false
		}
		v := read(text)
		switch {
		case v == "":
		case !ok:
			value, ev, ok = v, l.Evidence, true
		case v != value:
			return "", bundle.Evidence{}, false
		}
	}
	return value, ev, ok
}

// between finds digits between two markers in the answer.
func between(c *commands.Command, before, after string) (string, bundle.Evidence, bool) {
	if before == "" || after == "" {
		return "", bundle.Evidence{}, false
	}
	for _, l := range c.Answer {
		_, rest, ok := strings.Cut(l.Text, before)
		if !ok {
			continue
		}
		if v, _, ok := strings.Cut(rest, after); ok && digitsRe.MatchString(v) {
			return v, l.Evidence, true
		}
	}
	return "", bundle.Evidence{}, false
}

var (
	// Questions whether a command is there, with a word for each answer.
	haveRe  = regexp.MustCompile(`^(?:command -v|which|type -p|type) (\S+)(?: [0-9&>/a-z ]*)?&& *echo (\S+) *\|\| *echo (\S+)$`)
	whichRe = regexp.MustCompile(`^(?:command -v|which) (\S+)$`)
	// The same question in a loop over names.
	loopRe = regexp.MustCompile(`^for (\w+) in ([^;]+); *do (?:command -v|which) "?\$(\w+)"?(?: [0-9&>/a-z ]*)?(?: *\|\| *echo "?\$(\w+) (\w+)"?)?; *done$`)
	// GNU which, and the one of Debian's debianutils says nothing.
	whichNoRe = regexp.MustCompile(`^(?:\S*which: )no (\S+) in \(.*\)$`)
	// bash, dash and busybox ash; zsh.
	notFoundRe = regexp.MustCompile(`^(?:-?bash: |-?sh: (?:\d+: )?|ash: )(?:line \d+: )?(\S+?): (?:command )?not found$|^zsh: command not found: (\S+)$`)
)

// presence states what c shows about commands of the image.
func (w *walk) presence(c *commands.Command) {
	if !asksFor(c.Text) {
		w.unfound(c)
		return
	}
	if m := haveRe.FindStringSubmatch(c.Text); m != nil {
		v, ev, ok := one(c, func(text string) string {
			switch text {
			case m[2]:
				return "present"
			case m[3]:
				return "missing"
			}
			return ""
		})
		if ok {
			w.commandFact(m[1], v, ev)
		}
		return
	}
	if m := loopRe.FindStringSubmatch(c.Text); m != nil && m[1] == m[3] && (m[4] == "" || m[4] == m[1]) {
		w.listed(c, strings.Fields(m[2]), m[5])
		return
	}
	if m := whichRe.FindStringSubmatch(c.Text); m != nil {
		w.listed(c, m[1:2], "")
		return
	}
	w.unfound(c)
}

// asksFor reports whether a command may be a question for a command, which is
// much cheaper to tell than to match its forms.
func asksFor(text string) bool {
	for _, word := range []string{"command -v ", "which ", "type ", "for "} {
		if strings.HasPrefix(text, word) {
			return true
		}
	}
	return false
}

// unfound states that the shell did not find a command of c, or that c itself
// is there.
func (w *walk) unfound(c *commands.Command) {
	for i := range c.Answer {
		l := &c.Answer[i]
		if !strings.Contains(l.Text, "not found") {
			continue
		}
		if m := notFoundRe.FindStringSubmatch(strings.TrimSpace(l.Text)); m != nil && slices.Contains(strings.Fields(c.Text), m[1]+m[2]) {
			w.commandFact(m[1]+m[2], "missing", l.Evidence)
			return
		}
	}
	w.own(c)
}

// listed reads paths that command -v or which print for names, and "NAME WORD"
// for those that are not there.
func (w *walk) listed(c *commands.Command, names []string, word string) {
	names = names[:min(len(names), 256)] // a question, not a flood
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		base := text[strings.LastIndex(text, "/")+1:]
		no := whichNoRe.FindStringSubmatch(text)
		name, is := strings.CutSuffix(text, " "+word)
		switch {
		case strings.HasPrefix(text, "/") && slices.Contains(names, base):
			w.commandFact(base, "present", l.Evidence)
		case no != nil && slices.Contains(names, no[1]):
			w.commandFact(no[1], "missing", l.Evidence)
		case is && word != "" && slices.Contains(names, name):
			w.commandFact(name, "missing", l.Evidence)
		}
	}
}

// answers are lines that only the command itself prints.
var answers = map[string]*regexp.Regexp{
	"ip":         regexp.MustCompile(`^\d+: \S+\s+inet6? [0-9a-f.:]+|^\d+: \S+: <[A-Z_,-]+> mtu \d+|^Device "\S+" does not exist`),
	"vgs":        regexp.MustCompile(`^ {2}\S`),
	"lvs":        regexp.MustCompile(`^ {2}\S`),
	"pvs":        regexp.MustCompile(`^ {2}\S`),
	"lvcreate":   regexp.MustCompile(`^ {2}Logical volume "\S+" created`),
	"vgcreate":   regexp.MustCompile(`^ {2}Volume group "\S+" successfully created`),
	"pvcreate":   regexp.MustCompile(`^ {2}Physical volume "\S+" successfully created`),
	"lsblk":      regexp.MustCompile(`^NAME\s+[A-Z:]+`),
	"networkctl": regexp.MustCompile(`^[●○] \d+: \S+|^IDX LINK`),
	"disko":      regexp.MustCompile(`^disko version |^Usage: \S*disko`),
}

// own states that a command is there because it gave an answer of its own.
func (w *walk) own(c *commands.Command) {
	ws := c.Words()
	if len(ws) == 0 || answers[ws[0]] == nil {
		return
	}
	for _, l := range c.Answer {
		if answers[ws[0]].MatchString(strings.TrimRight(l.Text, " ")) {
			w.commandFact(ws[0], "present", l.Evidence)
			return
		}
	}
}

// commandFact states that a command is there or not, and the parts that it
// shows.
func (w *walk) commandFact(name, value string, ev bundle.Evidence) {
	w.p.State("shell.command", name, value, ev)
	w.present[name] = value == "present"
	var parts []string
	for part := range w.parts {
		parts = append(parts, part)
	}
	sort.Strings(parts)
	for _, part := range parts {
		cmds := w.parts[part]
		seen := slices.ContainsFunc(cmds, func(c string) bool { return w.present[c] })
		if slices.Contains(cmds, name) && (value == "present" || cmds[0] == name && !seen) {
			w.p.State("shell.part", part, value, ev)
			if value == "missing" {
				w.p.State("shell.missing", "", part, ev)
			}
		}
	}
}

// refusedRe is a refusal of sudo (plugins/sudoers, sudo.c), of su (util-linux,
// shadow and busybox) or of the shell that finds neither.
var refusedRe = regexp.MustCompile(`^(?:` +
	`sudo: (?:a password is required|a terminal is required.*|no tty present.*|\d+ incorrect password attempts?|sorry, you must have a tty.*|.*effective uid is not 0.*|.*must be owned by uid 0.*|.*"no new privileges" flag is set.*)` +
	`|(?:sudo: )?\S+ is not in the sudoers file.*` +
	`|Sorry, (?:try again|user \S+ (?:is not allowed|may not)).*` +
	`|su: (?:Authentication failure|must be (?:run|suid).*|[Pp]ermission denied.*|incorrect password|cannot set groups.*)` +
	`|(?:-?bash|-?sh|ash|zsh): (?:line \d+: |\d+: )?(?:sudo|su): (?:command )?not found` +
	`)$`)

// escalation watches for sudo and su that start a shell.
func (w *walk) escalation(c *commands.Command) {
	ws := c.Words()
	if strings.HasPrefix(c.Text, "sudo ") && len(ws) > 0 && ws[0] != "su" {
		ws = []string{"sudo"}
	}
	if len(ws) == 0 || ws[0] != "sudo" && ws[0] != "su" {
		return
	}
	for _, l := range c.Answer {
		if text := strings.TrimSpace(l.Text); refusedRe.MatchString(text) {
			w.p.State("shell.refused", ws[0], l.Evidence.Quote, l.Evidence)
			return
		}
	}
	if c.Words()[0] == ws[0] {
		w.pending = c
	}
}
