// Package storage interprets what happened to the disks: the status file, what
// was planned and what was done, volume groups and logical volumes, names and
// signatures of disks.
//
// A plan is not state: the name of a volume group in a plan shows only what
// was planned. The probes that tools make before they create something ("Volume
// group … not found") show nothing at all. What is there is shown by the tools
// that list it, run as root, and by the tools that made it saying so. What a
// listing leaves out is absent only if the listing was complete and root's.
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
		{Name: "storage.state", Doc: "STATE of the status file, or what the login notice says of it.", Values: nil, Transient: []string{"pending", "running"}},
		{Name: "storage.detail", Doc: "DETAIL of the status file, or what the login notice says of it.", Values: nil},
		{Name: "storage.empty-polls", Doc: "How often in a row the status file was read and had no content, until the session went on to something else.", Values: nil},
		{Name: "storage.settled", Doc: "The session saw provisioning at its end: a final STATE, or a unit no longer activating.", Values: []string{"yes"}, Repeats: true},
		{Name: "storage.detected", Doc: "The detector ran to its end: a plan was made or applied.", Values: []string{"yes"}, Repeats: true},
		{Name: "storage.nothing-applied", Doc: "The unit had a plan with volume groups and applied none of it.", Values: nil, Repeats: true},
		{Name: "storage.command-failed", Doc: "A command that makes partitions, arrays, volumes or file systems failed.", Values: nil, Repeats: true},
		{Name: "storage.planned-vg", Doc: "A printed plan names this volume group.", Subject: "volume group", Values: []string{"yes"}, Repeats: true},
		{Name: "lvm.vg", Doc: "Whether the volume group exists.", Subject: "volume group", Values: []string{"present", "absent"}},
		{Name: "lvm.lv", Doc: "Whether the logical volume exists, as VG/LV.", Subject: "logical volume", Values: []string{"present", "absent"}},
		{Name: "lvm.listed", Doc: "The volume groups that a complete listing shows.", Values: nil, Repeats: true},
		{Name: "disk.named", Doc: "A disk is there under this name.", Subject: "device", Values: []string{"yes"}, Repeats: true},
		{Name: "disk.list", Doc: "The disks that a complete listing shows, without floppy, loop and optical ones.", Values: nil, Repeats: true},
		{Name: "disk.blank", Doc: "The first listing with signatures shows none on this disk.", Subject: "device", Values: []string{"yes"}, Repeats: true},
		{Name: "disk.signature", Doc: "A signature that the unit did not make stands on a disk: device and type.", Values: nil, Repeats: true},
		{Name: "disk.prepared", Doc: "The session itself put storage on the disks before the unit was started again.", Values: nil, Repeats: true},
	},
	Run: run,
}

func run(p *analyzers.Pass) (any, error) {
	in := &interp{p: p, vg: p.Params.One("vg"), lv: p.Params.One("lv"), file: p.Params.One("status-file"), unit: units.Name(p.Params.One("unit"))}
	in.notices()
	for _, d := range commands.From(p) {
		in.dialogue(d)
	}
	for _, l := range units.From(p) {
		in.log(l)
	}
	in.signatures()
	return nil, nil
}

type interp struct {
	p                  *analyzers.Pass
	vg, lv, file, unit string

	found []signature
	made  map[string]bool // devices on which the unit made something
	logs  bool            // a journal shows what the unit did from start to end
	// settled: provisioning is over where the dialogue stands, so that a
	// listing is of the final state.
	settled bool
	seed    *commands.Line // the session's own command that made storage
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
	for _, t := range console.From(in.p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if l.Typed || len(l.Text) < 10 {
				continue
			}
			for _, text := range slices.Sorted(maps.Keys(texts)) {
				if strings.HasPrefix(l.Text, text) {
					in.status(texts[text], t.Evidence(l))
				}
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
		if !failedDetail(value) {
			in.p.State("storage.detected", "", "yes", ev)
		}
	}
}

// failedDetail reports whether a DETAIL says that detection itself failed.
func failedDetail(s string) bool { return strings.Contains(s, "error") || strings.Contains(s, "fail") }

var assignRe = regexp.MustCompile(`^(STATE|DETAIL)=([A-Za-z0-9_.-]+)$`)

func (in *interp) dialogue(d *commands.Dialogue) {
	root := false
	in.settled = d.Kind != bundle.Serial
	var empty []*commands.Command
	for _, c := range d.Commands {
		if uid, _, ok := shell.UserID(c); ok {
			root = uid == "0"
		}
		if in.reads(c) {
			if in.statusFile(c) {
				empty = nil
			} else if c.Done && c.Kind == bundle.Serial {
				empty = append(empty, c)
			}
		}
		in.settle(c)
		in.lvm(c, root || d.Kind != bundle.Serial)
		in.disks(c)
		in.seeds(c)
		in.restarts(c)
	}
	if d.WentOn(empty) {
		in.p.State("storage.empty-polls", "", strconv.Itoa(len(empty)), pollEvidence(empty)...)
	}
}

// settle watches for the end of provisioning: systemctl's word that the unit
// is no longer activating, or a final STATE.
func (in *interp) settle(c *commands.Command) {
	ws := c.Words()
	active := len(ws) > 2 && ws[0] == "systemctl" && ws[1] == "is-active" && units.Name(ws[len(ws)-1]) == in.unit
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		m := assignRe.FindStringSubmatch(text)
		if active && (text == "inactive" || text == "failed") || m != nil && m[1] == "STATE" && m[2] != "pending" && m[2] != "running" {
			in.settled = true
			in.p.State("storage.settled", "", "yes", l.Evidence)
		}
	}
}

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

// statusFile takes the file's lines; false when there are none.
func (in *interp) statusFile(c *commands.Command) bool {
	got := false
	for _, l := range c.Answer {
		m := assignRe.FindStringSubmatch(strings.TrimSpace(l.Text))
		if m == nil {
			continue
		}
		got = true
		in.status(m[1]+":"+m[2], l.Evidence)
	}
	return got
}

var (
	// lvm2 indents its reports by two spaces; names are [A-Za-z0-9_.+-].
	vgRowRe = regexp.MustCompile(`^ {2}([A-Za-z0-9_.+][A-Za-z0-9_.+-]*)(?:\s.*)?$`)
	lvRowRe = regexp.MustCompile(`^ {2}\[?([A-Za-z0-9_.+][A-Za-z0-9_.+-]*)\]?[|\s]+([A-Za-z0-9_.+][A-Za-z0-9_.+-]*)(?:[|\s].*)?$`)
	// lsblk: "  └─/dev/mapper/vg_residue-lv_residue lvm 1.5G", "main-slash 254:0 0 3G 0 lvm".
	lsblkLVMRe = regexp.MustCompile(`(?:/dev/mapper/|^|[\s├└─|` + "`" + `-])([A-Za-z0-9_.+]\S*)\s+(?:.*\s)?lvm(?:\s|$)`)
)

// lvm reads listings of volume groups and logical volumes.
func (in *interp) lvm(c *commands.Command, root bool) {
	ws := c.Words()
	if len(ws) == 0 || !c.Done {
		return
	}
	switch ws[0] {
	case "vgs":
		in.listing(c, root, "vg")
	case "lvs":
		in.listing(c, root, "lv")
	case "lsblk":
		in.lsblk(c)
	}
}

// errors of lvm2 when it may not look.
var lvmErrorRe = regexp.MustCompile(`WARNING: Running as a non-root user|Permission denied|/run/lock/lvm|command not found|[Uu]nrecognised`)

func (in *interp) listing(c *commands.Command, root bool, what string) {
	names := map[string]bundle.Evidence{}
	var rows []bundle.Evidence
	var order []string
	for _, l := range c.Answer {
		text := strings.TrimRight(l.Text, " ")
		if lvmErrorRe.MatchString(text) {
			return
		}
		name := ""
		if what == "vg" {
			if m := vgRowRe.FindStringSubmatch(text); m != nil && m[1] != "VG" {
				name = m[1]
			}
		} else if m := lvRowRe.FindStringSubmatch(text); m != nil && m[1] != "LV" {
			name = m[2] + "/" + m[1]
		}
		if name != "" {
			names[name] = l.Evidence
			rows = append(rows, l.Evidence)
			order = append(order, name)
		}
	}
	if what == "vg" {
		in.vgs(names, rows, order, c, root)
	} else {
		in.lvs(names, rows, order, c, root)
	}
}

func (in *interp) vgs(names map[string]bundle.Evidence, rows []bundle.Evidence, order []string, c *commands.Command, root bool) {
	for _, n := range order {
		in.p.State("lvm.vg", n, "present", names[n])
	}
	if len(rows) > 0 {
		in.p.State("lvm.listed", "", strings.Join(order, " "), rows...)
	}
	if _, ok := names[in.vg]; !ok && root && in.settled && in.vg != "" && (len(rows) > 0 || !silenced(c)) {
		in.p.State("lvm.vg", in.vg, "absent", orEcho(rows, c)...)
	}
}

func (in *interp) lvs(names map[string]bundle.Evidence, rows []bundle.Evidence, order []string, c *commands.Command, root bool) {
	for _, n := range order {
		in.p.State("lvm.lv", n, "present", names[n])
	}
	want := in.vg + "/" + in.lv
	if _, ok := names[want]; !ok && root && in.settled && in.lv != "" && (len(rows) > 0 || !silenced(c)) {
		in.p.State("lvm.lv", want, "absent", orEcho(rows, c)...)
	}
}

// silenced reports whether the command hides why its answer is empty.
func silenced(c *commands.Command) bool { return strings.Contains(c.Text, "2>/dev/null") }

func orEcho(ev []bundle.Evidence, c *commands.Command) []bundle.Evidence {
	if len(ev) > 0 {
		return ev
	}
	return []bundle.Evidence{c.Echo}
}

// lsblk lists every active logical volume, as dm names VG-LV with "-" doubled
// inside names.
func (in *interp) lsblk(c *commands.Command) {
	if len(c.Answer) == 0 || !strings.HasPrefix(strings.TrimSpace(c.Answer[0].Text), "NAME") || !strings.Contains(c.Answer[0].Text, "TYPE") && !strings.Contains(c.Answer[0].Text, "FSTYPE") {
		return
	}
	var disks []string
	var rows []bundle.Evidence
	have := map[string]bool{}
	typed := slices.Contains(strings.Fields(c.Answer[0].Text), "TYPE")
	for _, l := range c.Answer[1:] {
		if m := lsblkLVMRe.FindStringSubmatch(l.Text); m != nil {
			if vg, lv, ok := dmName(m[1]); ok {
				have[vg] = true
				in.p.State("lvm.vg", vg, "present", l.Evidence)
				in.p.State("lvm.lv", vg+"/"+lv, "present", l.Evidence)
			}
		}
		f := strings.Fields(l.Text)
		if len(f) > 1 && slices.Contains(f, "disk") && diskNameRe.MatchString(f[0]) {
			disks = append(disks, strings.TrimPrefix(f[0], "/dev/"))
			rows = append(rows, l.Evidence)
		}
	}
	if len(rows) > 0 {
		in.p.State("disk.list", "", strings.Join(disks, " "), rows...)
	}
	if typed && in.settled && len(rows) > 0 && in.vg != "" && !have[in.vg] && !slices.Contains(c.Words(), "-d") {
		in.p.State("lvm.lv", in.vg+"/"+in.lv, "absent", rows...)
	}
}

// dmName splits a device-mapper name into volume group and logical volume.
func dmName(s string) (vg, lv string, ok bool) {
	s = strings.ReplaceAll(s, "--", "\x00")
	vg, lv, ok = strings.Cut(s, "-")
	return strings.ReplaceAll(vg, "\x00", "-"), strings.ReplaceAll(lv, "\x00", "-"), ok && vg != "" && lv != ""
}

var diskNameRe = regexp.MustCompile(`^(?:/dev/)?(?:[sv]d[a-z]+|nvme\d+n\d+|xvd[a-z]+|mmcblk\d+)$`)
