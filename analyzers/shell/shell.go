// Package shell interprets the dialogue with the guest's shell: who the session
// is, over time, and which commands the image has.
//
// A user id is an answer, never an echo: `…then echo ROOT; else echo USER; fi`
// is a question, and only a bare ROOT or USER is its answer. A command is shown
// to be in the image by an answer that only it can give, or by `command -v`;
// it is shown to be missing by `command -v` saying so, or by the shell's
// "command not found". An empty answer shows neither.
//
// The parts that an image must have are the profile's parameter "parts":
// NAME=COMMAND|COMMAND…, any of which shows the part.
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
	for _, d := range commands.From(p) {
		w := &walk{p: p, id: &Identity{Path: d.Path}, parts: partsOf(p.Params)}
		for i, c := range d.Commands {
			var next *commands.Command
			if i+1 < len(d.Commands) {
				next = d.Commands[i+1]
			}
			w.command(c, next)
		}
		ids = append(ids, w.id)
	}
	return ids, nil
}

// prompts states that a shell's prompt was there.
func prompts(p *analyzers.Pass, t *console.Transcript) {
	if t.Artifact.Kind != bundle.Serial {
		return
	}
	for i := range t.Lines {
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
}

func (w *walk) command(c, next *commands.Command) {
	w.promptUser(c)
	if uid, ev, ok := UserID(c); ok {
		w.uid(uid, ev)
		return
	}
	if w.asked && !w.worked && work(c) {
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
	return len(ws) > 0 && !slices.Contains([]string{":", "export", "stty", "poweroff", "exit", "sudo", "su", "printf", "echo"}, ws[0])
}

// promptUser learns root from a prompt that names it, which bash's \u does.
func (w *walk) promptUser(c *commands.Command) {
	if w.pending != nil && rootPromptRe.MatchString(c.Prompt) {
		w.p.State("shell.escalated", w.pending.Words()[0], "yes", w.pending.Echo, c.Echo)
		w.commandFact(w.pending.Words()[0], "present", w.pending.Echo)
		w.pending = nil
	}
}

var rootPromptRe = regexp.MustCompile(`^\[?root@[^\s:]+[:~ ].*# ?$`)

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
		w.p.State("shell.escalated", w.pending.Words()[0], "yes", w.pending.Echo, ev)
		w.commandFact(w.pending.Words()[0], "present", w.pending.Echo)
		w.pending = nil
	}
}

var (
	// Questions: a test on id -u with an echo in each branch; a printf of it.
	testRe   = regexp.MustCompile(`id -u.*-eq 0.*then echo (\S+?);? *else echo (\S+?);? *fi`)
	printfRe = regexp.MustCompile(`printf '([^'%]*)%s([^'%]*?)(?:\\n)?' +"?\$\(id -u\)"?`)
	uidRe    = regexp.MustCompile(`^uid=(\d+)\(`)
	digitsRe = regexp.MustCompile(`^\d{1,10}$`)
)

// UserID returns the user id that c's answer gives; "other" when the answer
// only says that it is not root's.
func UserID(c *commands.Command) (string, bundle.Evidence, bool) {
	if m := testRe.FindStringSubmatch(c.Text); m != nil {
		for _, l := range c.Answer {
			switch strings.TrimSpace(l.Text) {
			case m[1]:
				return "0", l.Evidence, true
			case m[2]:
				return "other", l.Evidence, true
			}
		}
		return "", bundle.Evidence{}, false
	}
	if m := printfRe.FindStringSubmatch(c.Text); m != nil {
		return between(c, strings.ReplaceAll(m[1], `\n`, ""), strings.ReplaceAll(m[2], `\n`, ""))
	}
	ws := c.Words()
	if len(ws) == 0 || ws[0] != "id" {
		return "", bundle.Evidence{}, false
	}
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		if len(ws) == 2 && ws[1] == "-u" && digitsRe.MatchString(text) {
			return text, l.Evidence, true
		}
		if m := uidRe.FindStringSubmatch(text); m != nil && len(ws) == 1 {
			return m[1], l.Evidence, true
		}
	}
	return "", bundle.Evidence{}, false
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
	// bash, dash and busybox ash.
	notFoundRe = regexp.MustCompile(`^(?:-?bash: |-?sh: (?:\d+: )?|ash: |zsh: )(?:line \d+: )?(?:command not found: )?(\S+?):? (?:command )?not found$`)
)

// presence states what c shows about commands of the image.
func (w *walk) presence(c *commands.Command) {
	if m := haveRe.FindStringSubmatch(c.Text); m != nil {
		for _, l := range c.Answer {
			switch strings.TrimSpace(l.Text) {
			case m[2]:
				w.commandFact(m[1], "present", l.Evidence)
			case m[3]:
				w.commandFact(m[1], "missing", l.Evidence)
			}
		}
		return
	}
	if m := whichRe.FindStringSubmatch(c.Text); m != nil {
		for _, l := range c.Answer {
			if t := strings.TrimSpace(l.Text); strings.HasPrefix(t, "/") && strings.HasSuffix(t, "/"+m[1]) {
				w.commandFact(m[1], "present", l.Evidence)
			}
		}
		return
	}
	for _, l := range c.Answer {
		if m := notFoundRe.FindStringSubmatch(strings.TrimSpace(l.Text)); m != nil && slices.Contains(c.Words(), m[1]) {
			w.commandFact(m[1], "missing", l.Evidence)
			return
		}
	}
	w.own(c)
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
// shows. A part is missing only when all commands that show it are.
func (w *walk) commandFact(name, value string, ev bundle.Evidence) {
	w.p.State("shell.command", name, value, ev)
	var parts []string
	for part := range w.parts {
		parts = append(parts, part)
	}
	sort.Strings(parts)
	for _, part := range parts {
		cmds := w.parts[part]
		if slices.Contains(cmds, name) && (value == "present" || cmds[0] == name) {
			w.p.State("shell.part", part, value, ev)
			if value == "missing" {
				w.p.State("shell.missing", "", part, ev)
			}
		}
	}
}

// refusals of sudo and su.
var refusedRe = regexp.MustCompile(`^(?:sudo: (?:a password is required|a terminal is required|\S+ is not in the sudoers file|.*effective uid is not 0.*|.*must be owned by uid 0.*)|\S+ is not in the sudoers file.*|Sorry, (?:try again|user \S+ (?:is not allowed|may not)).*|su: (?:Authentication failure|must be run from a terminal|Permission denied).*|.*sudo: command not found|.*sudo: not found)$`)

// escalation watches for sudo and su that start a shell.
func (w *walk) escalation(c *commands.Command) {
	ws := c.Words()
	if len(ws) == 0 || ws[0] != "sudo" && ws[0] != "su" {
		return
	}
	for _, l := range c.Answer {
		if text := strings.TrimSpace(l.Text); refusedRe.MatchString(text) {
			w.p.State("shell.refused", ws[0], l.Evidence.Quote, l.Evidence)
			return
		}
	}
	w.pending = c
}
