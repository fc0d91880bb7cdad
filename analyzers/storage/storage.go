// Package storage interprets what happened to the disks: the status file, what
// was planned and what was done, volume groups and logical volumes, names and
// signatures of disks.
//
// A plan is not state: the name of a volume group in a plan shows only what
// was planned. The probes that tools make before they create something ("Volume
// group … not found") show nothing at all. What is there is shown by the tools
// that list it, run as root, and by the tools that made it saying so. What a
// listing leaves out is absent only if the listing was root's, came after the
// unit's end, was narrowed by nothing, and every line of it is understood.
//
// The tools' JSON is read like their tables, and shows the same; a listing that
// breaks off shows nothing.
//
// A signature is the unit's own work unless it was there before: seen before
// any step of a log that begins with the unit's start, made by the session
// before it started the unit again, or beside a whole log without such a step.
// A disk that shows iso9660 is the boot medium.
//
// STATE and DETAIL of the status file come from different stages: DETAIL is
// fixed by detection, STATE by applying the plan.
package storage

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
	"forensics/analyzers/shell"
	"forensics/analyzers/units"
)

// Analyzer interprets storage.
var Analyzer = &analyzers.Analyzer{
	Name:     "storage",
	Doc:      "Interprets the status file, plans, volume groups, disk names and signatures.",
	Requires: []*analyzers.Analyzer{console.Analyzer, commands.Analyzer, journal.Analyzer, shell.Analyzer, units.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "storage.state", Doc: "STATE of the status file, or what the login notice says of it.", Values: nil, Transient: []string{"pending", "running", "starting", "detecting", "planning", "applying", "provisioning"}},
		{Name: "storage.detail", Doc: "DETAIL of the status file, or what the login notice says of it.", Values: nil},
		{Name: "storage.empty-polls", Doc: "How often in a row the status file was read and had no final STATE, until the session went on to something else.", Values: nil},
		{Name: "storage.left", Doc: "STATE said that provisioning goes on when the unit had ended.", Values: nil},
		{Name: "storage.settled", Doc: "The session saw provisioning at its end: a final STATE, or a unit no longer activating.", Values: []string{"yes"}, Repeats: true},
		{Name: "storage.detected", Doc: "The detector ran to its end: a plan was made or applied.", Values: []string{"yes"}, Repeats: true},
		{Name: "storage.nothing-applied", Doc: "The unit had a plan with volume groups and applied none of it.", Values: nil, Repeats: true},
		{Name: "storage.command-failed", Doc: "A command that makes partitions, arrays, volumes or file systems failed.", Values: nil, Repeats: true},
		{Name: "storage.planned-vg", Doc: "A printed plan names this volume group.", Subject: "volume group", Values: []string{"yes"}, Repeats: true},
		{Name: "lvm.vg", Doc: "Whether the volume group exists.", Subject: "volume group", Values: []string{"present", "absent"}},
		{Name: "lvm.lv", Doc: "Whether the logical volume exists, as VG/LV.", Subject: "logical volume", Values: []string{"present", "absent"}},
		{Name: "lvm.listed", Doc: "The volume groups that a complete listing shows.", Values: nil, Repeats: true},
		{Name: "disk.named", Doc: "A disk is there under this name.", Subject: "device", Values: []string{"yes"}, Repeats: true},
		{Name: "disk.absent", Doc: "The detector says that the disk is not there.", Subject: "device", Values: []string{"yes"}},
		{Name: "disk.list", Doc: "The disks that a complete listing shows, without floppy, loop and optical ones.", Values: nil, Repeats: true},
		{Name: "disk.blank", Doc: "The first listing with signatures shows none on this disk.", Subject: "device", Values: []string{"yes"}, Repeats: true},
		{Name: "disk.signature", Doc: "A signature that the unit did not make stands on a disk: device and type.", Values: nil, Repeats: true},
		{Name: "disk.prepared", Doc: "The session itself put storage on the disks before the unit was started again.", Values: nil, Repeats: true},
	},
	Run: run,
}

func run(p *analyzers.Pass) (any, error) {
	in := &interp{p: p, blank: map[string][]bundle.Evidence{}, asked: map[string][]bundle.Evidence{}, seeded: map[string]bool{}, lists: map[shownAt]string{}, vg: p.Params.One("vg"), lv: p.Params.One("lv"), file: p.Params.One("status-file"), unit: units.Name(p.Params.One("unit"))}
	in.ended()
	for _, d := range commands.From(p) {
		in.dialogue(d)
	}
	in.notices() // behind the file itself, which is the better witness
	in.blanks()
	for _, l := range units.From(p) {
		in.log(l)
	}
	in.signatures()
	return nil, nil
}

type interp struct {
	p                  *analyzers.Pass
	vg, lv, file, unit string

	blank map[string][]bundle.Evidence // captures of listings without an answer
	asked map[string][]bundle.Evidence // probes of listings with status 0 and no answer
	final bool                         // some answer said that provisioning is over
	found []signature
	made  bool // a journal shows that the unit made something
	logs  bool // a journal shows what the unit did from start to end
	// settled: provisioning is over where the dialogue stands, so that a
	// listing is of the final state.
	settled   bool
	over      bool            // the unit itself had ended
	ran       bool            // the dialogue shows that the unit was started
	end       bundle.Evidence // the first artifact's word that it ended
	seeded    map[string]bool // the disks it named
	restarted bool            // the unit was started again after that
	seed      *commands.Line  // the session's own command that made storage

	lists map[shownAt]string // what listings showed last
}

type signature struct {
	dev, kind string
	ev        bundle.Evidence
	seeded    bool
}

// notices takes the sentences that an image's login shell prints about the
// status file: parameter "notices", items "sentence=STATE:x" or
// "sentence=DETAIL:x".
func (in *interp) notices() {
	texts := in.p.Params.Map("notices")
	if len(texts) == 0 {
		return
	}
	sentences := slices.Sorted(maps.Keys(texts))
	for _, t := range console.From(in.p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if l.Typed || len(l.Text) < 10 {
				continue
			}
			for _, text := range sentences {
				if strings.HasPrefix(l.Text, text) {
					in.status(texts[text], t.Evidence(l))
				}
			}
		}
	}
}

// ended finds the journal's word that the unit ended, and the shell's notice
// of how.
func (in *interp) ended() {
	for _, l := range units.From(in.p) {
		for i := range l.Entries {
			e := &l.Entries[i]
			if in.end.Path == "" && in.unit != "" && e.Ident == "systemd" && (e.Message == in.unit+": Deactivated successfully." || strings.HasPrefix(e.Message, in.unit+": Failed with result")) {
				in.end = e.Evidence
			}
		}
	}
}

func (in *interp) status(means string, ev bundle.Evidence) {
	key, value, _ := strings.Cut(means, ":")
	switch key {
	case "STATE":
		in.p.State("storage.state", "", value, ev)
	case "DETAIL":
		in.p.State("storage.detail", "", value, ev)
		if !failedDetail(value) && !underway(value) {
			in.p.State("storage.detected", "", "yes", ev)
		}
	}
}

// failedDetail reports whether a DETAIL says that detection itself failed, or
// found no disk to plan for.
func failedDetail(s string) bool {
	return strings.Contains(s, "error") || strings.Contains(s, "fail") || strings.Contains(s, "absent") || strings.Contains(s, "missing")
}

var assignRe = regexp.MustCompile(`^(STATE|DETAIL)=([A-Za-z0-9_.-]+)$`)

// assign matches a line of the status file that counts.
func assign(text string) []string {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "STATE=") && !strings.HasPrefix(text, "DETAIL=") {
		return nil
	}
	return assignRe.FindStringSubmatch(text)
}

func (in *interp) dialogue(d *commands.Dialogue) {
	root := false
	// Captures are made at the end; when a probe ran, its record does not say.
	in.settled, in.ran, in.over = d.Kind != bundle.Serial && d.Kind != bundle.Probe, false, false
	var empty []*commands.Command
	for _, c := range d.Commands {
		if uid, _, ok := shell.UserID(c); ok {
			root = uid == "0"
		} else if ws := c.Words(); len(ws) > 0 && (ws[0] == "exit" || ws[0] == "logout") {
			root = false
		}
		if in.reads(c) {
			if in.statusFile(c) {
				empty = nil
			} else if c.Done && c.Kind == bundle.Serial {
				empty = append(empty, c)
				if in.garbled(c) {
					empty = nil
				}
			}
			in.leftover(c)
		}
		in.settle(c)
		in.lvm(c, root || d.Kind != bundle.Serial)
		in.disks(c)
		in.mounts(c)
		in.seeds(c)
		in.restarts(c)
	}
	if d.WentOn(empty) {
		in.p.State("storage.empty-polls", "", strconv.Itoa(len(empty)), pollEvidence(empty)...)
	}
}

// garbled reports whether an answer holds something that is neither the file's
// nor what the kernel and broadcasts splice in: then it shows nothing, not even
// that the file was empty.
func (in *interp) garbled(c *commands.Command) bool {
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		notice := in.p.Params.One("address-notice")
		switch {
		case l.Evidence.Start == l.Evidence.End || fileRe.MatchString(text) || splicedRe.MatchString(text):
		case notice != "" && strings.HasPrefix(text, notice):
		case strings.HasPrefix(text, "cat: "):
		default:
			return true
		}
	}
	return false
}

var (
	// A line of the status file: KEY=VALUE.
	fileRe = regexp.MustCompile(`^[A-Z][A-Z_]*=\S*$`)
	// printk; wall's head and what systemd writes with it.
	splicedRe = regexp.MustCompile(`^\[ *\d+\.\d+\] |^Broadcast message from |^The system will (?:power off|reboot)`)
)

// cut reports whether a value that the artifact's last byte ends may go on: it
// is none of the words that are known.
func (in *interp) cut(l commands.Line, value string) bool {
	a := in.p.Run.Artifact(l.Evidence.Path)
	if a == nil || l.Evidence.End < a.Size {
		return false
	}
	return value != "failed" && value != "pending" && !slices.Contains(in.p.Params["state"], value) && !slices.Contains(in.p.Params["detail"], value)
}

// leftover states a STATE that is still underway after the unit has ended.
func (in *interp) leftover(c *commands.Command) {
	if !in.over || c.Kind != bundle.Serial {
		return
	}
	for _, l := range c.Answer {
		if m := assign(l.Text); m != nil && m[1] == "STATE" && underway(m[2]) {
			in.p.State("storage.left", "", m[2], l.Evidence)
		}
	}
}

// settle watches for the end of provisioning: systemctl's word that the unit
// is no longer activating, or a final STATE. "inactive" is also what a unit
// says that was not started yet, so it counts only after the unit was seen to
// have run.
func (in *interp) settle(c *commands.Command) {
	ws := c.Words()
	active := len(ws) > 2 && ws[0] == "systemctl" && ws[1] == "is-active" && units.Name(ws[len(ws)-1]) == in.unit
	if active && slices.Contains(ws, "-q") || slices.Contains(ws, "--quiet") {
		active = false
	}
	for i := range c.Answer {
		l := &c.Answer[i]
		text := strings.TrimSpace(l.Text)
		m := assign(text)
		state := m != nil && m[1] == "STATE" && in.reads(c)
		in.ran = in.ran || state || active && (text == "activating" || text == "deactivating")
		final := state && !underway(m[2]) || active && (text == "failed" || text == "inactive" && in.ranBefore(l.Evidence))
		if final {
			in.settled, in.over, in.final = c.Kind != bundle.Probe, in.over || active, true
			in.p.State("storage.settled", "", "yes", l.Evidence)
		}
	}
}

// ranBefore reports whether the unit was seen to run: by an answer that came
// before, by its journal, or by the status that the login shell told of.
func (in *interp) ranBefore(ev bundle.Evidence) bool {
	return in.ran || in.end.Path != "" && (in.end.Path != ev.Path || in.end.Start < ev.Start)
}

// underway reports whether a STATE says that provisioning goes on.
func underway(state string) bool { return state == "pending" || strings.HasSuffix(state, "ing") }

// pollEvidence is the last poll and the first.
func pollEvidence(cs []*commands.Command) []bundle.Evidence {
	ev := []bundle.Evidence{cs[len(cs)-1].Echo}
	if len(cs) > 1 {
		ev = append(ev, cs[0].Echo)
	}
	return ev
}

// reads reports whether c prints the status file.
func (in *interp) reads(c *commands.Command) bool {
	ws := c.Words()
	return c.Text == "" && c.Kind != bundle.Serial || len(ws) > 1 && ws[0] == "cat" && slices.Contains(ws, in.file)
}

// statusFile takes the file's lines; false when none of them is a final STATE.
func (in *interp) statusFile(c *commands.Command) bool {
	got := false
	for _, l := range c.Answer {
		m := assign(l.Text)
		if m == nil || in.cut(l, m[2]) {
			continue
		}
		got = got || m[1] == "STATE" && !underway(m[2])
		in.status(m[1]+":"+m[2], l.Evidence)
	}
	return got
}
