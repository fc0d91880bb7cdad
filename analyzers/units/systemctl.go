package units

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
)

// call is a systemctl command line.
type call struct {
	verb    string
	units   []string // completed names
	noBlock bool
	quiet   bool
	bare    bool // properties are printed without their names
}

// valued are systemctl's options that take the next word.
var valued = []string{"-n", "--lines", "-o", "--output", "-p", "--property", "-P", "-t", "--type", "-s", "--signal", "--state", "-H", "--host", "-M", "--machine", "--root", "--job-mode", "--kill-whom", "--timestamp", "--what", "--image"}

// systemctl reads the words of a systemctl call.
func systemctl(ws []string) (c call, ok bool) {
	if len(ws) == 0 || path.Base(ws[0]) != "systemctl" {
		return call{}, false
	}
	for i := 1; i < len(ws); i++ {
		w := ws[i]
		switch {
		case w == "--no-block":
			c.noBlock = true
		case w == "-q" || w == "--quiet":
			c.quiet = true
		case w == "--value":
			c.bare = true
		case slices.Contains(valued, w):
			c.bare = c.bare || w == "-P"
			i++
		case strings.HasPrefix(w, "-"):
		case c.verb == "":
			c.verb = w
		default:
			c.units = append(c.units, Name(w))
		}
	}
	return c, true
}

// only returns the one unit that c names, "" when it names several or a
// pattern.
func (c call) only() string {
	if len(c.units) != 1 || strings.ContainsAny(c.units[0], "*?[") {
		return ""
	}
	return c.units[0]
}

// named returns the units that c names, nil when one of them is a pattern.
func (c call) named() []string {
	if slices.ContainsFunc(c.units, func(u string) bool { return strings.ContainsAny(u, "*?[") }) {
		return nil
	}
	return c.units
}

// isActive takes systemctl is-active's words, one for each unit. Typed text
// may stand around them, so only a line that is nothing else counts, and of one
// unit only the first.
func (in *interp) isActive(c *commands.Command, units []string) {
	var words []commands.Line
	for _, l := range c.Answer {
		if slices.Contains(states, strings.TrimSpace(l.Text)) {
			words = append(words, l)
		}
	}
	if len(units) > 1 && len(words) != len(units) {
		return // whose word is missing is not known
	}
	for i := range units[:min(len(units), len(words))] {
		in.polled(c, units[i], strings.TrimSpace(words[i].Text), words[i].Evidence)
	}
}

func (in *interp) polled(c *commands.Command, unit, state string, ev bundle.Evidence) {
	in.active(unit, state, ev)
	if state != "activating" {
		delete(in.polls, unit)
	} else if in.polls[unit] != nil || len(in.polls) < maxPolled {
		in.polls[unit] = append(in.polls[unit], c)
	}
}

// maxPolled bounds the units whose questions are counted.
const maxPolled = 64

// systemctl show: "ActiveState=inactive".
var propRe = regexp.MustCompile(`^(After|Type|RemainAfterExit|ActiveState|Result|Id)=(.*)$`)

type property struct {
	key, value string
	ev         bundle.Evidence
}

// show reads the properties that systemctl show prints: a group for each unit,
// with a blank line between. Id= names the unit; without it, the groups are
// those of the units that were asked for, where as many groups are parted by
// blank lines.
func (in *interp) show(c *commands.Command, asked []string) {
	groups, parted := properties(c.Answer, len(asked) == 1)
	for i, group := range groups {
		unit := ""
		if len(asked) == 1 && i == 0 || parted && len(groups) == len(asked) {
			unit = asked[i]
		}
		for _, p := range group {
			if p.key == "Id" {
				unit = p.value
			}
		}
		for _, p := range group {
			in.property(unit, p)
		}
	}
}

// properties returns the groups of an answer, and whether all are parted by
// blank lines. Captures have lost those, but the numbers of the others tell
// where they were. A name that comes again begins a group, too, and alone does
// where there should be only one: there a blank line is foreign.
func properties(answer []commands.Line, one bool) (groups [][]property, parted bool) {
	var group []property
	parted = true
	step, last := lineStep(answer), 0
	for i := range answer {
		l := &answer[i]
		n := l.Evidence.Line
		blank := strings.TrimSpace(l.Text) == "" || last > 0 && n-last > step
		last = n
		if blank && !one && len(group) > 0 {
			groups, group = append(groups, group), nil
		}
		text := strings.TrimSpace(l.Text)
		if text == "" || strings.IndexByte("ATRI", text[0]) < 0 {
			continue // no name of a property
		}
		m := propRe.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		if slices.ContainsFunc(group, func(p property) bool { return p.key == m[1] }) {
			groups, group, parted = append(groups, group), nil, false
		}
		group = append(group, property{m[1], m[2], l.Evidence})
	}
	if len(group) > 0 {
		groups = append(groups, group)
	}
	return groups, parted
}

// lineStep returns by how much the numbers of neighbouring lines differ: 2
// where carriage returns became line feeds.
func lineStep(answer []commands.Line) int {
	step := 0
	for i := 1; i < len(answer); i++ {
		if n := answer[i].Evidence.Line - answer[i-1].Evidence.Line; n > 0 && (step == 0 || n < step) {
			step = n
		}
	}
	return step
}

func (in *interp) property(unit string, p property) {
	if unit == "" {
		return
	}
	switch p.key {
	case "After":
		for i, o := range strings.Fields(p.value) {
			if i < maxAfter {
				in.orderedAfter(unit, o, p.ev)
			}
		}
	case "Type":
		in.p.State("unit.type", unit, p.value, p.ev)
	case "RemainAfterExit":
		if p.value == "yes" || p.value == "no" {
			in.p.State("unit.remains", unit, p.value, p.ev)
		}
	case "ActiveState":
		if slices.Contains(states, p.value) {
			in.active(unit, p.value, p.ev)
		}
	case "Result":
		in.p.State("unit.result", unit, p.value, p.ev)
	}
}

// maxAfter bounds the orderings of one unit; real ones have a few dozen.
const maxAfter = 512

func (in *interp) orderedAfter(unit, other string, ev bundle.Evidence) {
	if in.after[unit] == nil {
		in.after[unit] = map[string]bundle.Evidence{}
	}
	if _, ok := in.after[unit][other]; !ok {
		in.after[unit][other] = ev
	}
	in.p.State("unit.after", unit, other, ev)
}

var (
	// systemctl cat puts each file's path above it.
	fileRe = regexp.MustCompile(`^# (/\S+/([\w@.:\\-]+\.service))(?:\.d/\S+\.conf)?$`)
	// systemd.syntax: "Type=oneshot".
	settingRe = regexp.MustCompile(`^(Type|RemainAfterExit|After)= ?(.*)$`)
)

// unitFile reads a unit's file: systemctl cat, or cat of its path. A whole
// file without RemainAfterExit= leaves it off, which is systemd's default.
func (in *interp) unitFile(c *commands.Command, unit string) {
	var kind *bundle.Evidence
	remains := false
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		if m := fileRe.FindStringSubmatch(text); m != nil && m[2] != unit {
			return // another unit's, or an alias
		}
		m := settingRe.FindStringSubmatch(text)
		switch {
		case m == nil:
		case m[1] == "RemainAfterExit":
			remains = true
			in.property(unit, property{m[1], truth(m[2]), l.Evidence})
		default:
			if m[1] == "Type" {
				kind = &l.Evidence
			}
			in.property(unit, property{m[1], m[2], l.Evidence})
		}
	}
	if c.Done && kind != nil && !remains {
		in.property(unit, property{"RemainAfterExit", "no", *kind})
	}
}

// truth reads systemd's booleans.
func truth(s string) string {
	switch s {
	case "yes", "true", "on", "1":
		return "yes"
	case "no", "false", "off", "0":
		return "no"
	}
	return ""
}
