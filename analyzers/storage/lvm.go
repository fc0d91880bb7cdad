package storage

import (
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
)

// lvm2's default columns; those that may be empty stand behind the dots.
var defaults = map[string][]string{
	"vgs": {"vg_name", "pv_count", "lv_count", "snap_count", "vg_attr", "vg_size", "vg_free"},
	"lvs": {"lv_name", "vg_name", "lv_attr", "lv_size", "…"},
}

// report is a vgs or lvs command line.
type report struct {
	columns   []string
	separator string
	headless  bool
	all       bool // nothing narrows it: no name, no selection
	json      bool
}

// lvmValued are options of lvm2's reports that take the next word.
var lvmValued = []string{"-o", "--options", "-O", "--sort", "--separator", "--units", "-S", "--select", "--config", "--reportformat", "--nameprefix", "--binary", "--logonly", "--devices", "--devicesfile"}

// reportOf reads the words of vgs or lvs.
func reportOf(ws []string) report {
	r := report{columns: defaults[ws[0]], all: true}
	for i := 1; i < len(ws); i++ {
		w, v, ok := strings.Cut(ws[i], "=")
		if !ok && slices.Contains(lvmValued, w) && i+1 < len(ws) {
			i++
			v = ws[i]
		} else if !ok && len(w) > 2 && strings.HasPrefix(w, "-o") {
			w, v = "-o", w[2:]
		}
		v = strings.Trim(v, `'"`)
		switch {
		case w == "-o" || w == "--options":
			r.options(ws[0], v)
		case w == "--separator":
			r.separator = v
		case w == "--noheadings":
			r.headless = true
		case w == "--reportformat":
			r.json = strings.HasPrefix(v, "json")
		case w == "-S" || w == "--select" || !strings.HasPrefix(w, "-"):
			r.all = false
		}
	}
	return r
}

func (r *report) options(tool, v string) {
	add, plus := strings.CutPrefix(v, "+")
	if !plus {
		r.columns = nil
	}
	for _, c := range strings.Split(add, ",") {
		if c == "name" {
			c = tool[:2] + "_name"
		}
		r.columns = append(slices.Clone(r.columns), c)
	}
}

// filled are columns that no row leaves empty, so that a row without
// separators still tells which field is which.
var filled = []string{"vg_name", "lv_name", "pv_count", "lv_count", "snap_count", "vg_attr", "lv_attr", "vg_size", "vg_free", "lv_size", "vg_uuid", "lv_uuid", "pv_name"}

// fields returns a row's values by column; false when the row is none of this
// report.
func (r *report) fields(text string) (map[string]string, bool) {
	var fs []string
	if r.separator != "" {
		fs = strings.Split(strings.TrimSpace(text), r.separator)
	} else {
		fs = strings.Fields(text)
	}
	m, typed := map[string]string{}, false
	for i, c := range r.columns {
		if r.separator == "" && !slices.Contains(filled, c) {
			return m, typed // else a sentence would do
		}
		if i >= len(fs) {
			return nil, false
		}
		if !columnOK(c, strings.TrimSpace(fs[i])) {
			return nil, false
		}
		typed = typed || !strings.HasSuffix(c, "_name") || c == "pv_name"
		m[c] = strings.Trim(strings.TrimSpace(fs[i]), "[]")
	}
	return m, len(fs) == len(r.columns)
}

var (
	// lvm2: names of volume groups and volumes; hidden ones in brackets.
	lvmNameRe = regexp.MustCompile(`^\[?[A-Za-z0-9_.+][A-Za-z0-9_.+-]*\]?$`)
	// "wz--n-", "-wi-ao----".
	lvmAttrRe  = regexp.MustCompile(`^[A-Za-z-]{6,10}$`)
	lvmCountRe = regexp.MustCompile(`^\d+$`)
	// "<4.00g", "3064.00m", "0 ", "3208642560B".
	lvmSizeRe = regexp.MustCompile(`^[<>]?\d[\d.,]*[a-zA-Z]?$`)
)

func columnOK(column, v string) bool {
	switch {
	case column == "pv_name":
		return strings.HasPrefix(v, "/dev/") || v == "[unknown]"
	case strings.HasSuffix(column, "_name"):
		return lvmNameRe.MatchString(v)
	case strings.HasSuffix(column, "_attr"):
		return lvmAttrRe.MatchString(v)
	case strings.HasSuffix(column, "_count"):
		return lvmCountRe.MatchString(v)
	case strings.HasSuffix(column, "_size"), strings.HasSuffix(column, "_free"):
		return lvmSizeRe.MatchString(v)
	}
	return true
}

var (
	// The heads that vgs and lvs print.
	vgHeadRe = regexp.MustCompile(`^\s*VG\s+#PV\s+#LV\b|^\s*VG$`)
	lvHeadRe = regexp.MustCompile(`^\s*LV\s+VG\b|^\s*LV$|^\s*VG\s+LV\b`)
	// Any head: "VG    PV", "LV   VG   LSize".
	headRe = regexp.MustCompile(`^\s*(?:VG|LV|PV)(?:\s+[#%A-Z][\w#%/]*)*$`)
	// A row of pvs that names a group: "/dev/vdb   main lvm2 a--  <4.00g 0".
	pvRowRe = regexp.MustCompile(`^\s*/dev/\S+\s+(\S+)\s+lvm[12]\s+[a-z-]{3}\s`)
	// lvm2 when it was asked for one by name.
	noVGRe = regexp.MustCompile(`^\s*Volume group "([^"]+)" not found`)
	noLVRe = regexp.MustCompile(`^\s*Failed to find logical volume "([^"]+)"`)
	// printk lines that the console shows between others.
	printkRe = regexp.MustCompile(`^\[ *\d+\.\d{6}\] `)
)

// list is what a listing shows.
type list struct {
	names    []string
	rows     []bundle.Evidence
	complete bool // every line is understood, and nothing narrowed it
}

// lvm reads listings of volume groups and logical volumes.
func (in *interp) lvm(c *commands.Command, root bool) {
	ws := c.Words()
	if len(ws) == 0 && c.JSON != nil {
		ws = toolOf(c.JSON)
	} else if len(ws) == 0 && len(c.Answer) > 0 && c.Text == "" {
		switch head := strings.TrimRight(c.Answer[0].Text, " "); {
		case vgHeadRe.MatchString(head):
			ws = []string{"vgs"}
		case lvHeadRe.MatchString(head):
			ws = []string{"lvs"}
		}
	}
	if len(ws) == 0 || !c.Done {
		return
	}
	switch ws[0] {
	case "vgs", "lvs":
		in.listing(ws, c, root)
	case "pvs":
		in.volumes(c)
	case "vgdisplay", "lvdisplay":
		in.unfound(c, root)
	case "lsblk":
		if c.JSON != nil {
			in.lsblkJSON(ws, c)
		} else {
			in.lsblk(c)
		}
	}
}

// shownAt is what a listing is about, and where it stands.
type shownAt struct{ path, fact, name string }

// listed states what a tool that lists groups or volumes shows.
func (in *interp) listed(fact, name, value string, ev ...bundle.Evidence) {
	in.lists[shownAt{ev[0].Path, fact, name}] = value
	in.p.State(fact, name, value, ev...)
}

func (in *interp) listing(ws []string, c *commands.Command, root bool) {
	r := reportOf(ws)
	l := in.rowsOf(r, c)
	if c.JSON != nil {
		l = in.reported(r, c)
	}
	what, want := "lvm.lv", in.vg+"/"+in.lv
	if ws[0] == "vgs" {
		what, want = "lvm.vg", in.vg
	}
	for i, n := range l.names {
		in.listed(what, n, "present", l.rows[i])
	}
	in.unfound(c, root)
	if !l.complete {
		return
	}
	if what == "lvm.vg" && len(l.names) > 0 {
		in.p.State("lvm.listed", "", strings.Join(l.names, " "), l.rows...)
	}
	if c.Kind == bundle.Probe && len(l.rows) == 0 && r.all && whole(c) && !c.Failed && c.Text != "" && !silencedRe.MatchString(c.Text) && len(c.Answer) == 0 {
		in.asked[what] = append(in.asked[what], c.Echo)
	}
	if len(l.rows) == 0 && r.all && whole(c) && c.Kind != bundle.Serial && c.Kind != bundle.Probe && c.Text != "" && !silencedRe.MatchString(c.Text) && (len(c.Answer) == 0 || c.JSON != nil) {
		in.blank[what] = append(in.blank[what], c.Echo)
	}
	if !slices.Contains(l.names, want) && root && in.settled && in.vg != "" && in.lv != "" && (len(l.rows) > 0 || empty(c)) {
		in.listed(what, want, "absent", orEcho(l.rows, c)...)
	}
}

// blanks takes captures that hold a listing's command and no answer. One alone
// may have been cut, or never filled; where the listings of groups and of
// volumes are both empty, there are none.
func (in *interp) blanks() {
	vgs, lvs := in.blank["lvm.vg"], in.blank["lvm.lv"]
	// A capture asks what settles first, and the rest after that; its probes
	// are whole, and a user who may not look gets words on stderr.
	if len(in.p.Run.Of(bundle.Access)) > 0 && in.final {
		vgs, lvs = append(vgs, in.asked["lvm.vg"]...), append(lvs, in.asked["lvm.lv"]...)
	}
	if len(vgs) > 0 && len(lvs) > 0 && in.vg != "" && in.lv != "" {
		in.p.State("lvm.vg", in.vg, "absent", vgs[0], lvs[0])
		in.p.State("lvm.lv", in.vg+"/"+in.lv, "absent", lvs[0], vgs[0])
	}
}

// rowsOf reads the rows of a report.
func (in *interp) rowsOf(r report, c *commands.Command) list {
	l := list{complete: r.all && !r.json && whole(c)}
	headed := false
	for i, line := range c.Answer {
		text := strings.TrimRight(line.Text, " ")
		switch {
		case text == "" || printkRe.MatchString(text) || in.notice(text):
			continue
		case i == 0 && !r.headless && (headRe.MatchString(text) || r.separator != "" && strings.Contains(text, "VG"+r.separator)):
			headed = true
			continue
		case markRe.MatchString(text):
			continue
		}
		name := ""
		if f, ok := r.fields(text); ok {
			name = r.named(f)
		}
		if name == "" {
			l.complete = false
			continue
		}
		l.names, l.rows = append(l.names, name), append(l.rows, line.Evidence)
	}
	// lvm2 prints no head above nothing.
	l.complete = l.complete && !(headed && len(l.rows) == 0)
	return l
}

// notice reports whether text is the image's announcement on its consoles.
func (in *interp) notice(text string) bool {
	n := in.p.Params.One("address-notice")
	return n != "" && strings.HasPrefix(text, n)
}

// named returns the name that a row has: VG, or VG/LV where the report is of
// logical volumes.
func (r *report) named(f map[string]string) string {
	if slices.Contains(r.columns, "lv_name") {
		if f["vg_name"] == "" || f["lv_name"] == "" {
			return ""
		}
		return f["vg_name"] + "/" + f["lv_name"]
	}
	return f["vg_name"]
}

// unfound takes the answer to a question for one name.
func (in *interp) unfound(c *commands.Command, root bool) {
	if !root || !in.settled {
		return
	}
	for _, l := range c.Answer {
		if m := noVGRe.FindStringSubmatch(l.Text); m != nil {
			in.listed("lvm.vg", m[1], "absent", l.Evidence)
		} else if m := noLVRe.FindStringSubmatch(l.Text); m != nil {
			in.listed("lvm.lv", m[1], "absent", l.Evidence)
		}
	}
}

var (
	// What does not take anything from an answer.
	harmlessRe = regexp.MustCompile(`2> ?/dev/null|2>&1|\|\| *(?:true|:)|; *printf '[^']*' *"?\$\?"?;? *\}?|^\s*\{|'[^']*'|"[^"$]*"`)
	silencedRe = regexp.MustCompile(`(?:2|&)> ?/dev/null|2>&-`)
	// A status that the harness asked for: `printf '__EXIT__=%s' $?`.
	markRe = regexp.MustCompile(`^\S*EXIT\S*=\d+$`)
)

// whole reports whether the answer is all that the command printed: nothing
// filters it, and no other command stands beside it.
func whole(c *commands.Command) bool {
	return !strings.ContainsAny(harmlessRe.ReplaceAllString(c.Text, ""), "|;&<>$`()\n")
}

// empty reports whether an empty answer means that there is nothing: the
// command did not hide its errors, and the prompt is seen to come back. A
// capture without rows may have been cut, or never filled.
func empty(c *commands.Command) bool {
	return c.Kind == bundle.Serial && c.Done && !silencedRe.MatchString(c.Text)
}

func orEcho(ev []bundle.Evidence, c *commands.Command) []bundle.Evidence {
	if len(ev) > 0 {
		return ev
	}
	return []bundle.Evidence{c.Echo}
}

// lsblkValued are lsblk's options that take the next word; narrowing ones hide
// devices or turn the tree around.
var (
	lsblkValued    = []string{"-o", "--output", "-x", "--sort", "-w", "--width", "-M", "-T", "--sysroot"}
	lsblkNarrowing = regexp.MustCompile(`^(?:-[a-zA-Z]*[eIsSNJPy][a-zA-Z]*|--exclude.*|--include.*|--inverse|--scsi|--nvme|--virtio|--json|--pairs|--filter.*)$`)
)

// table is an lsblk command line.
type table struct {
	all      bool     // it asks for every disk
	flat     bool     // without what is on the disks
	headless bool     // without a head
	columns  []string // as asked; nil for the default
}

// tableOf reads the words of lsblk.
func tableOf(ws []string) table {
	t := table{all: true}
	for i := 1; i < len(ws); i++ {
		w, v, _ := strings.Cut(ws[i], "=")
		if m := lsblkFlags.FindStringSubmatch(ws[i]); m != nil {
			t.flat = t.flat || strings.Contains(m[1], "d")
			t.headless = t.headless || strings.Contains(m[1], "n")
			w, v = "-o", m[2]
			if m[2] == "" && !strings.HasSuffix(m[1], "o") {
				continue
			}
		}
		if v == "" && slices.Contains(lsblkValued, w) && i+1 < len(ws) {
			i++
			v = ws[i]
		}
		switch {
		case w == "-o" || w == "--output":
			t.columns = strings.Split(strings.ToUpper(v), ",")
		case w == "--nodeps":
			t.flat = true
		case w == "--noheadings":
			t.headless = true
		case slices.Contains(lsblkValued, w):
		case !strings.HasPrefix(w, "-") || lsblkNarrowing.MatchString(ws[i]):
			t.all = false
		}
	}
	return t
}

// lsblkFlags are short options in one word, "-dno NAME,TYPE", "-nd".
var lsblkFlags = regexp.MustCompile(`^-([abdflmnprt]*o|[abdflmnprt]+)([A-Za-z:,-]*)$`)

var (
	// Short options in one word, with what -o takes.
	lsblkShortRe = regexp.MustCompile(`^(-[a-zA-Z]*J[a-np-zA-Z]*o?)([A-Z][A-Z:,-]*)?$`)
	// A disk's partition or file system as findmnt's source: "/dev/vda1",
	// "/dev/vda1[/subvolume]".
	sourceRe = regexp.MustCompile(`^(/dev/(?:[sv]d[a-z]+|nvme\d+n\d+))(?:p?\d+)?(?:\[/\S*\])?$`)
	// findmnt's row: target, source, type, options.
	mountRe = regexp.MustCompile(`^\S*?/\S*\s+(/dev/(?:[sv]d[a-z]+|nvme\d+n\d+))(?:p?\d+)?(?:\[/\S*\])?\s+\w+\s+\S+$`)
	// lsblk's tree.
	treeRe = regexp.MustCompile(`^[\s├└│|─` + "`" + `-]*`)
	// A device, and MAJ:MIN, which lsblk prints unless other columns are asked.
	lsblkNameRe = regexp.MustCompile(`^(?:/dev/(?:mapper/)?)?[\w.+:@-]+$`)
	majMinRe    = regexp.MustCompile(`^\d+:\d+$`)
	diskNameRe  = regexp.MustCompile(`^(?:/dev/)?(?:[sv]d[a-z]+|nvme\d+n\d+|xvd[a-z]+|mmcblk\d+)$`)
)

// lsblk reads a table with types: it lists every disk and every active logical
// volume, as device-mapper names VG-LV with "-" doubled inside names.
func (in *interp) lsblk(c *commands.Command) {
	if len(c.Answer) == 0 {
		return
	}
	t := tableOf(append([]string{"lsblk"}, c.Words()[min(1, len(c.Words())):]...))
	head, rest := strings.Fields(c.Answer[0].Text), c.Answer[1:]
	if t.headless && len(t.columns) > 1 {
		head, rest = t.columns, c.Answer
	}
	if len(head) == 0 || head[0] != "NAME" || !slices.Contains(head, "TYPE") {
		return
	}
	s := blocks{whole: t.all && whole(c)}
	for _, l := range rest {
		dev, kind, ok := lsblkRow(head, l.Text)
		switch {
		case !ok:
			s.whole = s.whole && (benignRow(l.Text) || in.notice(l.Text))
		case kind == "lvm":
			if vg, lv, ok := dmName(strings.TrimPrefix(strings.TrimPrefix(dev, "/dev/"), "mapper/")); ok {
				s.lvs = append(s.lvs, volume{vg, lv, l.Evidence})
			}
		case kind == "disk" && diskNameRe.MatchString(dev):
			s.disks, s.rows = append(s.disks, strings.TrimPrefix(dev, "/dev/")), append(s.rows, l.Evidence)
		}
	}
	in.blocks(&s, t)
}

// blocks states what an lsblk shows.
func (in *interp) blocks(s *blocks, t table) {
	have := false
	for _, v := range s.lvs {
		have = have || v.vg == in.vg
		in.listed("lvm.vg", v.vg, "present", v.ev)
		in.listed("lvm.lv", v.vg+"/"+v.lv, "present", v.ev)
	}
	if !s.whole || len(s.rows) == 0 {
		return
	}
	in.p.State("disk.list", "", strings.Join(s.disks, " "), s.rows...)
	if in.settled && !t.flat && in.vg != "" && in.lv != "" && !have {
		in.listed("lvm.lv", in.vg+"/"+in.lv, "absent", s.rows...)
	}
}

// lsblkTypes are the words of lsblk's TYPE column.
var lsblkTypes = regexp.MustCompile(`^(?:disk|part|rom|loop|lvm|crypt|dm|mpath|raid\d+|linear|md|zram|tape)$`)

// lsblkRow returns a row's device and type.
func lsblkRow(head []string, text string) (dev, kind string, ok bool) {
	f := strings.Fields(text[len(treeRe.FindString(text)):])
	if len(f) < 2 || !lsblkNameRe.MatchString(f[0]) {
		return "", "", false
	}
	if len(head) > 1 && head[1] == "MAJ:MIN" && !majMinRe.MatchString(f[1]) {
		return "", "", false
	}
	for _, w := range f[1:] {
		if lsblkTypes.MatchString(w) {
			return f[0], w, true
		}
	}
	return "", "", false
}

// benignRow reports whether a line that is no row takes none away: further
// mount points of the row above, or a line of the kernel's.
func benignRow(text string) bool {
	t := strings.TrimSpace(text)
	return t == "" || printkRe.MatchString(text) || markRe.MatchString(t) || len(text) > 20 && strings.HasPrefix(text, "      ") && (t[0] == '/' || t == "[SWAP]")
}

// dmName splits a device-mapper name into volume group and logical volume.
func dmName(s string) (vg, lv string, ok bool) {
	s = strings.ReplaceAll(s, "--", "\x00")
	vg, lv, ok = strings.Cut(s, "-")
	return strings.ReplaceAll(vg, "\x00", "-"), strings.ReplaceAll(lv, "\x00", "-"), ok && vg != "" && lv != ""
}
