package storage

import (
	"maps"
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
	blkidRe = regexp.MustCompile(`^(/dev/[\w/.-]+): (.*)$`)
	typeRe  = regexp.MustCompile(`(?:^| )(?:TYPE|PTTYPE)="([^"]+)"`)
	// blkid -o export: a line for each value, the device's name first.
	devnameRe  = regexp.MustCompile(`^DEVNAME=(\S+)$`)
	exportedRe = regexp.MustCompile(`^(?:TYPE|PTTYPE)=(\S+)$`)
	// wipefs: "vda  0x200  gpt  …"; its table has a DEVICE column since 2.35.
	wipefsRe = regexp.MustCompile(`^(?:/dev/)?([sv]d[a-z]+\d*|nvme\d+n\d+(?:p\d+)?)\s+0x[0-9a-f]+\s+([A-Za-z]\S*)`)
	// A partition's disk.
	partRe = regexp.MustCompile(`^(/dev/(?:[sv]d[a-z]+|nvme\d+n\d+))(?:p?\d+)?$`)
)

// medium are what boot media hold, and an image's own loop devices. A disk that
// shows iso9660 is the medium, whatever partition table it wears beside.
var medium = []string{"iso9660", "squashfs", "udf"}

// disks reads listings of signatures.
func (in *interp) disks(c *commands.Command) {
	ws := c.Words()
	exported := ""
	blkid := len(ws) == 0 || ws[0] == "blkid"
	if !blkid && (ws[0] != "wipefs" || erases(ws)) {
		return
	}
	for i := range c.Answer {
		l := &c.Answer[i]
		text := strings.TrimSpace(l.Text)
		if blkid && !mayBlkid(text) {
			continue
		}
		if blkid {
			if m := devnameRe.FindStringSubmatch(text); m != nil {
				exported = m[1]
			} else if m := exportedRe.FindStringSubmatch(text); m != nil && exported != "" {
				in.seen(exported, m[1], l.Evidence)
			}
		}
		if m := blkidRe.FindStringSubmatch(text); m != nil && blkid {
			for _, t := range typeRe.FindAllStringSubmatch(m[2], 4) {
				in.seen(m[1], t[1], l.Evidence)
			}
		} else if m := wipefsRe.FindStringSubmatch(text); m != nil && !blkid {
			in.seen("/dev/"+m[1], m[2], l.Evidence)
		}
	}
}

// mayBlkid reports whether text may be a line of blkid's, which is much cheaper
// to tell than to match its forms.
func mayBlkid(text string) bool {
	return strings.HasPrefix(text, "/dev/") || strings.HasPrefix(text, "DEVNAME=") || strings.HasPrefix(text, "TYPE=") || strings.HasPrefix(text, "PTTYPE=")
}

func (in *interp) seen(dev, kind string, ev bundle.Evidence) {
	m := partRe.FindStringSubmatch(dev)
	if m == nil {
		return
	}
	in.p.State("disk.named", m[1], "yes", ev)
	in.found = append(in.found, signature{dev: m[1], kind: kind, ev: ev, seeded: in.seed != nil && !in.restarted && in.seeded[m[1]]})
}

// makers put signatures on devices.
var makers = []string{"mdadm", "pvcreate", "vgcreate", "lvcreate", "sgdisk", "parted", "sfdisk", "mkswap"}

// seeds remembers that the session itself made storage, and forgets it when
// the session wiped something again: then what is left is not known.
func (in *interp) seeds(c *commands.Command) {
	ws := c.Words()
	switch {
	case erases(ws):
		in.seed, in.seeded = nil, map[string]bool{}
	case makes(ws):
		l := succeeded(c)
		if l == nil {
			return
		}
		if in.seed == nil {
			in.seed = l
		}
		for _, d := range devRe.FindAllString(c.Text, 32) {
			in.seeded[d] = true
		}
	}
}

// makes reports whether a command line puts a signature on a device.
func makes(ws []string) bool {
	if len(ws) < 2 || !slices.Contains(makers, ws[0]) && !strings.HasPrefix(ws[0], "mkfs") {
		return false
	}
	switch ws[0] {
	case "mdadm":
		return slices.Contains(ws, "--create") || slices.Contains(ws, "-C")
	case "sgdisk":
		return !slices.ContainsFunc(ws, func(w string) bool {
			return w == "-p" || w == "-i" || w == "-v" || w == "--print" || w == "--verify" || strings.HasPrefix(w, "--info")
		})
	case "parted":
		return !slices.Contains(ws, "print")
	case "sfdisk":
		return !slices.ContainsFunc(ws, func(w string) bool { return w == "-l" || w == "-d" || w == "--list" || w == "--dump" })
	}
	return true
}

// erases reports whether a command line takes signatures away.
func erases(ws []string) bool {
	if len(ws) < 2 {
		return false
	}
	has := func(flags ...string) bool {
		return slices.ContainsFunc(ws, func(w string) bool { return slices.Contains(flags, w) })
	}
	switch ws[0] {
	case "wipefs":
		return has("-a", "--all", "-af", "-fa", "-o", "--offset")
	case "sgdisk":
		return has("-Z", "--zap-all", "-z", "--zap", "-o", "--clear")
	case "mdadm":
		return has("--zero-superblock")
	case "vgremove", "lvremove", "pvremove", "blkdiscard":
		return true
	case "dd":
		return slices.ContainsFunc(ws, func(w string) bool { return strings.HasPrefix(w, "of=/dev/") && devRe.MatchString(w) })
	}
	return false
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
	if len(ws) < 3 || ws[0] != "systemctl" || ws[1] != "restart" && ws[1] != "start" {
		return
	}
	if units.Name(ws[len(ws)-1]) != in.unit {
		return
	}
	in.settled = in.settled && !slices.Contains(ws, "--no-block")
	if in.seed != nil {
		in.restarted = true
		in.p.State("disk.prepared", "", bundle.Printable(in.seed.Text), in.seed.Evidence, c.Echo)
	}
}

var (
	// bash -x: "+ vgcreate main /dev/…", "++ realpath /dev/vda".
	traceRe = regexp.MustCompile(`^\++ (\S+)(?: (.*))?$`)
	// lvm2's words.
	vgMadeRe   = regexp.MustCompile(`^\s*Volume group "([^"]+)" successfully created`)
	lvMadeRe   = regexp.MustCompile(`^\s*Logical volume "([^"]+)" created`)
	vgActiveRe = regexp.MustCompile(`^\s*(\d+) logical volume\(s\) in volume group "([^"]+)" now active`)
	vgGoneRe   = regexp.MustCompile(`^\s*Volume group "([^"]+)" successfully removed`)
	lvGoneRe   = regexp.MustCompile(`^\s*Logical volume "([^"]+)" successfully removed`)
	// journald's rate limit.
	suppressedRe = regexp.MustCompile(`^Suppressed \d+ messages from `)
	devRe        = regexp.MustCompile(`/dev/(?:[sv]d[a-z]+|nvme\d+n\d+)`)
	// lsblk -f's head, in a log of a script that calls it.
	lsblkHeadRe = regexp.MustCompile(`^NAME\s+FSTYPE\b`)
	planVGRe    = regexp.MustCompile(`^\s*"vg": "([^"]+)"`)
	// A plan is made of the disks that the detector found: it names them, and
	// shows nothing else.
	planDiskRe = regexp.MustCompile(`^\s*"device": "(/dev/[\w/.-]+)"`)
	planNameRe = regexp.MustCompile(`^\s*"((?:[sv]d[a-z]+|nvme\d+n\d+))": [\[{]`)
	planLVsRe  = regexp.MustCompile(`^\s*"(?:vgs|lvs)": \[$`)
	emptyRe    = regexp.MustCompile(`^\s*"disko": \{\}`)
)

// log reads what the unit's journal says was done to the disks.
func (in *interp) log(l *units.Log) {
	if l.Scope != in.unit || in.unit == "" {
		return
	}
	w := &script{in: in, log: l, vgs: map[string]*bundle.Evidence{}, lvs: map[string]*bundle.Evidence{}}
	w.told = in.events(l)
	events := l.Events
	for i := range l.Entries {
		w.entry(i)
		if len(events) > 0 && events[0].Entry.Evidence.Start == l.Entries[i].Evidence.Start {
			w.found(&events[0])
			events = events[1:]
		}
	}
	w.end()
}

// script follows one journal of the unit.
type script struct {
	in       *interp
	log      *units.Log
	lastVG   string
	vgs      map[string]*bundle.Evidence // present at the end, by the tools' words
	lvs      map[string]*bundle.Evidence
	started  bool
	finished bool
	planned  bool             // a plan with volume groups was printed
	nothing  *bundle.Evidence // the plan's device section is empty
	empty    string           // its words
	acted    bool             // a command that changes disks was run in this start
	ever     bool             // … in any start
	told     bool             // structured messages say that a command was run
	gaps     bool             // journald dropped messages
}

func (s *script) entry(i int) {
	e := &s.log.Entries[i]
	msg, p := e.Message, s.in.p
	switch {
	case e.Ident == "systemd" && strings.HasPrefix(msg, "Starting "):
		s.started, s.acted, s.finished, s.planned, s.nothing = true, false, false, false, nil
	case e.Ident == "systemd" && strings.HasPrefix(msg, "Finished "):
		s.finished = true
	case !mayTell(msg):
	case suppressedRe.MatchString(msg):
		s.gaps = true
	case vgMadeRe.MatchString(msg):
		s.lastVG = vgMadeRe.FindStringSubmatch(msg)[1]
		s.vgs[s.lastVG] = &e.Evidence
		s.act()
	case lvMadeRe.MatchString(msg):
		s.act()
		if vg := s.vgOfLV(i); vg != "" {
			s.lvs[vg+"/"+lvMadeRe.FindStringSubmatch(msg)[1]] = &e.Evidence
		}
	case vgActiveRe.MatchString(msg):
		if m := vgActiveRe.FindStringSubmatch(msg); m[1] != "0" {
			s.vgs[m[2]] = &e.Evidence
		}
	case vgGoneRe.MatchString(msg):
		s.removed(vgGoneRe.FindStringSubmatch(msg)[1])
	case lvGoneRe.MatchString(msg):
		maps.DeleteFunc(s.lvs, func(lv string, _ *bundle.Evidence) bool {
			return strings.HasSuffix(lv, "/"+lvGoneRe.FindStringSubmatch(msg)[1])
		})
	case traceRe.MatchString(msg):
		m := traceRe.FindStringSubmatch(msg)
		s.trace(m[1], m[2], e.Evidence)
	case lsblkHeadRe.MatchString(msg):
		s.lsblk(i)
	case emptyRe.MatchString(msg):
		s.nothing, s.empty = &e.Evidence, bundle.Printable(msg)
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

// mayTell reports whether a message may be one of those that entry knows: "Volume
// group …", "Logical volume …", "1 logical volume(s) …", "+ command", a quoted name
// in a plan. Most are not, which the first byte tells.
func mayTell(msg string) bool {
	msg = strings.TrimLeft(msg, " \t\n\f\r")
	return msg != "" && strings.IndexByte(`"+SNVL0123456789`, msg[0]) >= 0
}

// found takes the detector's word on what stands on a disk, from before
// anything was changed.
func (s *script) found(e *units.Event) {
	disk, _ := e.Fields["disk"].(string)
	signs, ok := e.Fields["signatures"].([]any)
	class, _ := e.Fields["classification"].(string)
	if class == "absent" && partRe.MatchString(disk) {
		s.in.p.State("disk.absent", disk, "yes", e.Entry.Evidence)
	}
	if !ok || class == "" || !partRe.MatchString(disk) || !s.started || s.ever || s.gaps {
		return
	}
	s.in.p.State("disk.named", disk, "yes", e.Entry.Evidence)
	if len(signs) == 0 {
		s.in.p.State("disk.blank", disk, "yes", e.Entry.Evidence)
		return
	}
	var kinds []string
	for _, v := range signs[:min(len(signs), 16)] {
		if k, ok := v.(string); ok && !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 {
		kinds = []string{class}
	}
	if !slices.ContainsFunc(kinds, func(k string) bool { return slices.Contains(medium, k) }) {
		s.in.p.State("disk.signature", "", bundle.Printable(disk+" "+strings.Join(kinds, ", ")), e.Entry.Evidence)
	}
}

func (s *script) act() { s.acted, s.ever = true, true }

// removed takes a volume group away, and what was in it.
func (s *script) removed(vg string) {
	delete(s.vgs, vg)
	maps.DeleteFunc(s.lvs, func(lv string, _ *bundle.Evidence) bool { return strings.HasPrefix(lv, vg+"/") })
}

// vgOfLV finds the volume group of an lvcreate from its trace, else the group
// made last.
func (s *script) vgOfLV(i int) string {
	for j := i - 1; j >= max(0, i-4); j-- {
		m := traceRe.FindStringSubmatch(s.log.Entries[j].Message)
		if m != nil && m[1] == "lvcreate" {
			return vgOf(strings.Fields(m[2]))
		}
	}
	return s.lastVG
}

// lvcreate's options that take no word.
var lvFlags = []string{"-y", "--yes", "-q", "--quiet", "-v", "-T", "--thin", "-s", "--snapshot", "-t", "--test", "--nosync", "--noudevsync", "--force", "-f"}

// vgOf returns the volume group in lvcreate's arguments: the first that is no
// option's value, or what stands before "/" in a name.
func vgOf(args []string) string {
	name := ""
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-n" || a == "--name":
			if i+1 < len(args) {
				name = args[i+1]
			}
			i++
		case strings.HasPrefix(a, "-"):
			if !slices.Contains(lvFlags, a) && !strings.Contains(a, "=") {
				i++
			}
		case strings.HasPrefix(a, "/dev/") && strings.Count(a, "/") > 2:
			return strings.Split(a, "/")[2]
		case lvmNameRe.MatchString(a):
			return a
		}
	}
	if vg, _, ok := strings.Cut(strings.TrimPrefix(name, "/dev/"), "/"); ok {
		return vg
	}
	return ""
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
		s.act()
	}
}

// maxRows bounds a table in a log.
const maxRows = 1024

// lsblk reads an `lsblk -f` table in the log. Before anything was changed it
// shows whether the disks were blank: a row of a name alone has no signature.
// A log that does not begin with the unit's start may have lost what changed
// them.
func (s *script) lsblk(i int) {
	head := s.log.Entries[i]
	early := s.started && !s.ever && !s.gaps
	for j, e := range s.log.Entries[i+1 : min(len(s.log.Entries), i+1+maxRows)] {
		if e.PID != head.PID || e.Ident != head.Ident || lsblkHeadRe.MatchString(e.Message) {
			return
		}
		f := strings.Fields(strings.TrimSpace(e.Message))
		if len(f) == 0 || !diskNameRe.MatchString(f[0]) {
			continue
		}
		dev := "/dev/" + strings.TrimPrefix(f[0], "/dev/")
		s.in.p.State("disk.named", dev, "yes", e.Evidence)
		below, iso := s.below(i + 1 + j + 1)
		switch {
		case !early || iso || len(f) > 1 && slices.Contains(medium, f[1]) || e.Truncated:
		case len(f) > 1:
			s.in.p.State("disk.signature", "", dev+" "+f[1], e.Evidence)
		case below:
			s.in.p.State("disk.signature", "", dev+" partitions", e.Evidence)
		default:
			s.in.p.State("disk.blank", dev, "yes", e.Evidence)
		}
	}
}

// below reports whether entry i is a row under the one before it in lsblk's
// tree, a partition or volume, and whether one of them is a boot medium's.
func (s *script) below(i int) (rows, iso bool) {
	for ; i < min(len(s.log.Entries), i+maxRows); i++ {
		m := strings.TrimSpace(s.log.Entries[i].Message)
		if !strings.HasPrefix(m, "├") && !strings.HasPrefix(m, "└") && !strings.HasPrefix(m, "|-") && !strings.HasPrefix(m, "`-") {
			return rows, iso
		}
		rows = true
		f := strings.Fields(m)
		iso = iso || len(f) > 1 && slices.Contains(medium, f[1])
	}
	return rows, iso
}

func (s *script) end() {
	for _, vg := range slices.Sorted(maps.Keys(s.vgs)) {
		s.made("lvm.vg", vg, *s.vgs[vg])
	}
	for _, lv := range slices.Sorted(maps.Keys(s.lvs)) {
		s.made("lvm.lv", lv, *s.lvs[lv])
	}
	if s.started && s.finished && !s.gaps {
		s.in.logs = true
	}
	if s.ever || s.told {
		s.in.made = true
	}
	if s.started && s.finished && s.planned && !s.acted && !s.told && !s.gaps && s.nothing != nil {
		s.in.p.State("storage.nothing-applied", "", s.empty, *s.nothing)
	}
}

// made states what the tools' words in the log leave at its end. Where a listing
// in the same artifact shows the same, that is what is there, and is quoted.
func (s *script) made(fact, name string, ev bundle.Evidence) {
	if s.in.lists[shownAt{ev.Path, fact, name}] != "present" {
		s.in.p.State(fact, name, "present", ev)
	}
}

// toolRe is a command that makes storage, in an event. Those that also look
// need the words that change something.
var toolRe = regexp.MustCompile(`^(?:\S*/)?(?:disko(?: |$)|(?:pv|vg|lv)create\b|mkfs\S*|mkswap\b|sfdisk\b|parted\b|sgdisk\b|wipefs\b.* (?:-a|--all)|mdadm\b.* (?:-C|--create))`)

// looking are words of such commands that only look.
var looking = regexp.MustCompile(` (?:--dry-run|--no-act|-n|--print|-p|print|--list|-l|--version|--help|--json|-J)(?: |$)`)

func making(command string) bool {
	return toolRe.MatchString(command) && !(looking.MatchString(command) && !strings.Contains(command, "mkfs") && !strings.Contains(command, "create"))
}

// events reads structured events of provisioning and reports whether one of
// them ran a command that makes storage. A failure that a later run of the same
// tool made good is none.
func (in *interp) events(l *units.Log) (acted bool) {
	failed := map[string]units.Event{}
	for _, e := range l.Events {
		ev := e.Entry.Evidence
		makes := making(e.Command)
		execute, said := e.Fields["execute"].(bool)
		acted = acted || makes && !strings.HasSuffix(e.Name, "scheduled") && (execute || !said)
		if class, ok := e.Fields["classification"].(string); ok && class != "" && class != "absent" && !failedDetail(class) {
			in.p.State("storage.detected", "", "yes", ev)
		}
		tool, _, _ := strings.Cut(e.Command, " ")
		switch {
		case strings.HasSuffix(e.Name, "apply_plan.start") || strings.HasSuffix(e.Name, "config_written"):
			in.p.State("storage.detected", "", "yes", ev)
		case strings.HasSuffix(e.Name, "apply_plan.no_devices"):
			in.p.State("storage.detected", "", "yes", ev)
			in.p.State("storage.nothing-applied", "", e.Name, ev)
		case !makes || !e.HasCode:
		case e.Code == 0:
			delete(failed, tool)
		case len(failed) < maxRows:
			failed[tool] = e
		}
	}
	for _, tool := range slices.Sorted(maps.Keys(failed)) {
		e := failed[tool]
		in.p.State("storage.command-failed", "", bundle.Printable(e.Command+" exited "+strconv.Itoa(e.Code)), e.Entry.Evidence)
	}
	return acted
}

// signatures states what stands on disks and was not made by the unit: the
// session made it before it started the unit again, or the unit's whole
// journal shows no command that could have.
func (in *interp) signatures() {
	media := map[string]bool{}
	for _, s := range in.found {
		if slices.Contains(medium, s.kind) {
			media[s.dev] = true
		}
	}
	for _, s := range in.found {
		if !media[s.dev] && (s.seeded && in.restarted || in.logs && !in.made) {
			in.p.State("disk.signature", "", s.dev+" "+s.kind, s.ev)
		}
	}
}
