package storage

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/units"
)

var (
	// blkid: `/dev/vdb: UUID="…" TYPE="linux_raid_member"`.
	blkidRe = regexp.MustCompile(`^(/dev/[\w/.-]+): .*\b(?:TYPE|PTTYPE)="([^"]+)"`)
	// wipefs: "vda  0x200  gpt  …"; its table has a DEVICE column since 2.35.
	wipefsRe = regexp.MustCompile(`^(?:/dev/)?([sv]d[a-z]+\d*|nvme\w+|md\d+)\s+0x[0-9a-f]+\s+(\S+)`)
	// A partition's disk.
	partRe = regexp.MustCompile(`^(/dev/(?:[sv]d[a-z]+|nvme\d+n\d+))p?\d*$`)
)

// boot media and what an image's own loop devices hold.
var harmless = []string{"iso9660", "squashfs", "udf"}

// disks reads listings of signatures.
func (in *interp) disks(c *commands.Command) {
	ws := c.Words()
	for _, l := range c.Answer {
		text := strings.TrimSpace(l.Text)
		if m := blkidRe.FindStringSubmatch(text); m != nil && (len(ws) == 0 || ws[0] == "blkid") {
			in.seen(m[1], m[2], l.Evidence)
		} else if m := wipefsRe.FindStringSubmatch(text); m != nil && len(ws) > 0 && ws[0] == "wipefs" {
			in.seen("/dev/"+m[1], m[2], l.Evidence)
		}
	}
}

func (in *interp) seen(dev, kind string, ev bundle.Evidence) {
	m := partRe.FindStringSubmatch(dev)
	if m != nil {
		in.p.State("disk.named", m[1], "yes", ev)
	}
	if m == nil || slices.Contains(harmless, kind) {
		return
	}
	in.found = append(in.found, signature{dev: m[1], kind: kind, ev: ev, seeded: in.seed != nil})
}

// makers put signatures on devices.
var makers = []string{"mdadm", "pvcreate", "vgcreate", "lvcreate", "sgdisk", "parted", "sfdisk", "mkswap"}

// seeds remembers that the session itself made storage.
func (in *interp) seeds(c *commands.Command) {
	ws := c.Words()
	if len(ws) < 2 || !slices.Contains(makers, ws[0]) && !strings.HasPrefix(ws[0], "mkfs") {
		return
	}
	if ws[0] == "mdadm" && !slices.Contains(ws, "--create") && !slices.Contains(ws, "-C") {
		return
	}
	if l := succeeded(c); l != nil && in.seed == nil {
		in.seed = l
	}
}

// exitRe is a status that the harness asked for: `printf '__EXIT__=%s' $?`.
var exitRe = regexp.MustCompile(`^\S*EXIT\S*=(\d+)$`)

// madeRe are the words of success of the tools that make storage.
var madeRe = regexp.MustCompile(`array /dev/\S+ started|successfully created|Logical volume "\S+" created|The operation has completed successfully`)

func succeeded(c *commands.Command) *commands.Line {
	for i := range c.Answer {
		text := strings.TrimSpace(c.Answer[i].Text)
		if madeRe.MatchString(text) {
			return &c.Answer[i]
		}
		if m := exitRe.FindStringSubmatch(text); m != nil && m[1] == "0" {
			return &commands.Line{Text: c.Text, Evidence: c.Echo}
		}
	}
	return nil
}

// restarts states that the unit was started on disks that the session had
// prepared.
func (in *interp) restarts(c *commands.Command) {
	ws := c.Words()
	if in.seed == nil || len(ws) < 3 || ws[0] != "systemctl" || ws[1] != "restart" && ws[1] != "start" {
		return
	}
	if units.Name(ws[len(ws)-1]) == in.unit {
		in.p.State("disk.prepared", "", in.seed.Evidence.Quote, in.seed.Evidence, c.Echo)
	}
}

var (
	// bash -x: "+ vgcreate main /dev/…", "++ realpath /dev/vda".
	traceRe = regexp.MustCompile(`^\++ (\S+)(?: (.*))?$`)
	// lvm2's words.
	vgMadeRe   = regexp.MustCompile(`^\s*Volume group "([^"]+)" successfully created`)
	lvMadeRe   = regexp.MustCompile(`^\s*Logical volume "([^"]+)" created`)
	vgActiveRe = regexp.MustCompile(`^\s*(\d+) logical volume\(s\) in volume group "([^"]+)" now active`)
	devRe      = regexp.MustCompile(`/dev/(?:[sv]d[a-z]+|nvme\d+n\d+)`)
	// lsblk -f's head, in a log of a script that calls it.
	lsblkHeadRe = regexp.MustCompile(`^NAME\s+FSTYPE\b`)
	planVGRe    = regexp.MustCompile(`^\s*"vg": "([^"]+)"`)
	planDiskRe  = regexp.MustCompile(`^\s*"device": "(/dev/[\w/.-]+)"`)
	planNameRe  = regexp.MustCompile(`^\s*"((?:[sv]d[a-z]+|nvme\d+n\d+))": [\[{]`)
	planLVsRe   = regexp.MustCompile(`^\s*"(?:vgs|lvs)": \[$`)
	emptyRe     = regexp.MustCompile(`^\s*"disko": \{\}`)
)

// log reads what the unit's journal says was done to the disks.
func (in *interp) log(l *units.Log) {
	if l.Scope != in.unit || in.unit == "" {
		return
	}
	in.events(l)
	w := &script{in: in, log: l}
	for i := range l.Entries {
		w.entry(i)
	}
	w.end()
}

// script follows one journal of the unit.
type script struct {
	in       *interp
	log      *units.Log
	lastVG   string
	started  bool
	finished bool
	planned  bool             // a plan with volume groups was printed
	nothing  *bundle.Evidence // the plan's device section is empty
	acted    bool             // a command that changes disks was run
}

func (s *script) entry(i int) {
	e := &s.log.Entries[i]
	msg, p := e.Message, s.in.p
	switch {
	case e.Ident == "systemd" && strings.HasPrefix(msg, "Starting "):
		s.started, s.acted, s.finished = true, false, false
	case e.Ident == "systemd" && strings.HasPrefix(msg, "Finished "):
		s.finished = true
	case vgMadeRe.MatchString(msg):
		s.lastVG = vgMadeRe.FindStringSubmatch(msg)[1]
		p.State("lvm.vg", s.lastVG, "present", e.Evidence)
		s.acted = true
	case lvMadeRe.MatchString(msg):
		s.acted = true
		if vg := s.vgOfLV(i); vg != "" {
			p.State("lvm.lv", vg+"/"+lvMadeRe.FindStringSubmatch(msg)[1], "present", e.Evidence)
		}
	case vgActiveRe.MatchString(msg):
		if m := vgActiveRe.FindStringSubmatch(msg); m[1] != "0" {
			p.State("lvm.vg", m[2], "present", e.Evidence)
		}
	case traceRe.MatchString(msg):
		m := traceRe.FindStringSubmatch(msg)
		s.trace(m[1], m[2], e.Evidence)
	case lsblkHeadRe.MatchString(msg):
		s.lsblk(i)
	case emptyRe.MatchString(msg):
		s.nothing = &e.Evidence
	case planLVsRe.MatchString(msg):
		s.planned = true
		p.State("storage.detected", "", "yes", e.Evidence)
	case planVGRe.MatchString(msg):
		p.State("storage.planned-vg", planVGRe.FindStringSubmatch(msg)[1], "yes", e.Evidence)
	case planDiskRe.MatchString(msg):
		p.State("disk.named", planDiskRe.FindStringSubmatch(msg)[1], "yes", e.Evidence)
	case planNameRe.MatchString(msg):
		p.State("disk.named", "/dev/"+planNameRe.FindStringSubmatch(msg)[1], "yes", e.Evidence)
	}
}

// vgOfLV finds the volume group of an lvcreate from its trace, else the group
// made last.
func (s *script) vgOfLV(i int) string {
	for j := i - 1; j >= max(0, i-4); j-- {
		m := traceRe.FindStringSubmatch(s.log.Entries[j].Message)
		if m != nil && m[1] == "lvcreate" {
			f := strings.Fields(m[2])
			return f[len(f)-1]
		}
	}
	return s.lastVG
}

// destructive commands of a shell trace.
var destructive = []string{"wipefs", "sgdisk", "parted", "sfdisk", "mdadm", "pvcreate", "vgcreate", "lvcreate", "mkswap", "dd", "blkdiscard"}

func (s *script) trace(cmd, args string, ev bundle.Evidence) {
	if cmd == "realpath" || slices.Contains(destructive, cmd) || strings.HasPrefix(cmd, "mkfs") {
		if d := devRe.FindString(args); d != "" {
			s.in.p.State("disk.named", d, "yes", ev)
		}
	}
	if slices.Contains(destructive, cmd) || strings.HasPrefix(cmd, "mkfs") {
		s.acted = true
	}
}

// lsblk reads an `lsblk -f` table in the log. Before anything was changed it
// shows whether the disks were blank: a row of a name alone has no signature.
func (s *script) lsblk(i int) {
	head := s.log.Entries[i]
	for j, e := range s.log.Entries[i+1:] {
		if e.PID != head.PID || e.Ident != head.Ident {
			return
		}
		f := strings.Fields(strings.TrimSpace(e.Message))
		if len(f) == 0 || !diskNameRe.MatchString(f[0]) {
			continue
		}
		dev := "/dev/" + strings.TrimPrefix(f[0], "/dev/")
		s.in.p.State("disk.named", dev, "yes", e.Evidence)
		switch {
		case s.acted:
		case len(f) > 1:
			s.in.p.State("disk.signature", "", dev+" "+f[1], e.Evidence)
		case s.child(i + 1 + j + 1):
			s.in.p.State("disk.signature", "", dev+" partitions", e.Evidence)
		default:
			s.in.p.State("disk.blank", dev, "yes", e.Evidence)
		}
	}
}

// child reports whether entry i is a row below the one before it in lsblk's
// tree: a partition or volume.
func (s *script) child(i int) bool {
	if i >= len(s.log.Entries) {
		return false
	}
	m := strings.TrimSpace(s.log.Entries[i].Message)
	return strings.HasPrefix(m, "├") || strings.HasPrefix(m, "└") || strings.HasPrefix(m, "|-") || strings.HasPrefix(m, "`-")
}

func (s *script) end() {
	if s.started && s.finished {
		s.in.logs = true
	}
	if s.acted {
		s.in.made = map[string]bool{"": true}
	}
	if s.started && s.finished && s.planned && !s.acted && s.nothing != nil {
		s.in.p.State("storage.nothing-applied", "", s.nothing.Quote, *s.nothing)
	}
}

// tools that make storage, as the first word of a command in an event.
var toolRe = regexp.MustCompile(`^(?:\S*/)?(?:disko|sgdisk|parted|sfdisk|mdadm|pvcreate|vgcreate|lvcreate|wipefs|mkfs\S*|mkswap|mount)\b`)

// events reads structured events of provisioning.
func (in *interp) events(l *units.Log) {
	for _, e := range l.Events {
		if !strings.Contains(e.Name, "apply") && !strings.Contains(e.Name, "storage") {
			continue
		}
		ev := e.Entry.Evidence
		switch {
		case strings.HasSuffix(e.Name, "apply_plan.start") || strings.HasSuffix(e.Name, "config_written") || strings.HasSuffix(e.Name, ".classified"):
			in.p.State("storage.detected", "", "yes", ev)
		case strings.HasSuffix(e.Name, "no_devices"):
			in.p.State("storage.detected", "", "yes", ev)
			in.p.State("storage.nothing-applied", "", e.Name, ev)
		case e.HasCode && e.Code != 0 && toolRe.MatchString(e.Command):
			in.p.State("storage.command-failed", "", bundle.Printable(e.Command+" exited "+strconv.Itoa(e.Code)), ev)
		}
	}
}

// signatures states what stands on disks and was not made by the unit: it was
// seen before the unit could make anything, the session made it before it
// started the unit again, or the unit's whole journal shows no command that
// could have.
func (in *interp) signatures() {
	for _, s := range in.found {
		if s.seeded || in.logs && len(in.made) == 0 {
			in.p.State("disk.signature", "", s.dev+" "+s.kind, s.ev)
		}
	}
}
