package storage

import (
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
)

// toolOf returns the tool that prints such a document, nil when it is none of
// lvm2's or lsblk's. What narrowed the listing, nothing says.
func toolOf(d *commands.Document) []string {
	root := d.Values[0]
	if root.Get("blockdevices") != nil {
		return []string{"lsblk", "?"}
	}
	for _, kind := range []string{"vg", "lv", "pv"} {
		if _, ok := rowsIn(root, kind); ok {
			return []string{kind + "s", "?"}
		}
	}
	return nil
}

// rowsIn returns the rows of a report of lvm2 (--reportformat json, json_std):
// {"report": [{"vg": [{"vg_name": "main"}]}], "log": []}. It reports false when
// the document is not one report of that kind.
func rowsIn(root *commands.Value, kind string) ([]*commands.Value, bool) {
	reports := root.Get("report").Elems()
	if len(reports) != 1 {
		return nil, false
	}
	rows := reports[0].Get(kind)
	return rows.Elems(), rows.IsArray()
}

// reported reads the rows of a report in JSON as rowsOf does those of a table.
func (in *interp) reported(r report, c *commands.Command) list {
	kind := "vg"
	if slices.Contains(r.columns, "lv_name") {
		kind = "lv"
	}
	rows, ok := rowsIn(c.JSON.Values[0], kind)
	l := list{complete: ok && r.all && len(c.JSON.Values) == 1 && whole(c) && in.marksOnly(c.JSON.Rest)}
	for _, row := range rows {
		f := map[string]string{}
		for _, column := range []string{"vg_name", "lv_name"} {
			if v := strings.Trim(row.Get(column).String(), "[]"); lvmNameRe.MatchString(v) {
				f[column] = v
			}
		}
		name := r.named(f)
		if name == "" {
			l.complete = false
			continue
		}
		l.names, l.rows = append(l.names, name), append(l.rows, c.JSON.Evidence(row))
	}
	return l
}

// marksOnly reports whether lines beside a document take nothing away from it.
func (in *interp) marksOnly(ls []commands.Line) bool {
	return !slices.ContainsFunc(ls, func(l commands.Line) bool {
		text := strings.TrimSpace(l.Text)
		return !markRe.MatchString(text) && !printkRe.MatchString(text) && !in.notice(text)
	})
}

// volumes takes the groups that pvs names. One without physical volumes left
// is in no row, so that what is not there is not absent.
func (in *interp) volumes(c *commands.Command) {
	if c.JSON == nil {
		for _, l := range c.Answer {
			if m := pvRowRe.FindStringSubmatch(l.Text); m != nil && lvmNameRe.MatchString(m[1]) {
				in.listed("lvm.vg", m[1], "present", l.Evidence)
			}
		}
		return
	}
	rows, _ := rowsIn(c.JSON.Values[0], "pv")
	for _, row := range rows {
		if vg := row.Get("vg_name").String(); lvmNameRe.MatchString(vg) {
			in.listed("lvm.vg", vg, "present", c.JSON.Evidence(row))
		}
	}
}

// lsblkJSON reads lsblk --json: {"blockdevices": [{"name": "vda", "type":
// "disk", "children": […]}]}, with the keys that -o asked for.
func (in *interp) lsblkJSON(ws []string, c *commands.Command) {
	devices := c.JSON.Values[0].Get("blockdevices")
	if !devices.IsArray() {
		return
	}
	t := tableOf(withoutJSON(ws))
	s := blocks{d: c.JSON, whole: t.all && whole(c) && in.marksOnly(c.JSON.Rest)}
	s.walk(devices.Elems())
	in.blocks(&s, t)
}

// withoutJSON drops the words that ask for JSON, and those for sizes in bytes.
func withoutJSON(ws []string) []string {
	out := ws[:1:1]
	for _, w := range ws[1:] {
		if m := lsblkShortRe.FindStringSubmatch(w); m != nil {
			// A digit or name may follow -o directly: "-Jo NAME,TYPE".
			if w = strings.Replace(m[1], "J", "", 1) + m[2]; w == "-" {
				continue
			}
		}
		if w != "--json" {
			out = append(out, w)
		}
	}
	return out
}

// blocks collects what an lsblk shows.
type blocks struct {
	d     *commands.Document
	disks []string
	rows  []bundle.Evidence
	lvs   []volume
	whole bool
}

type volume struct {
	vg, lv string
	ev     bundle.Evidence
}

func (s *blocks) walk(devices []*commands.Value) {
	for _, v := range devices {
		s.device(v)
		s.walk(v.Get("children").Elems()) // a document bounds the depth
	}
}

func (s *blocks) device(v *commands.Value) {
	name, kind := v.Get("name"), v.Get("type").String()
	dev := name.String()
	if !lsblkNameRe.MatchString(dev) || !lsblkTypes.MatchString(kind) {
		s.whole = false
		return
	}
	switch {
	case kind == "lvm":
		if vg, lv, ok := dmName(strings.TrimPrefix(strings.TrimPrefix(dev, "/dev/"), "mapper/")); ok {
			s.lvs = append(s.lvs, volume{vg, lv, s.d.Evidence(name)})
		}
	case kind == "disk" && diskNameRe.MatchString(dev):
		s.disks, s.rows = append(s.disks, strings.TrimPrefix(dev, "/dev/")), append(s.rows, s.d.Evidence(name))
	}
}

// mounts takes the disks that findmnt shows mounted. What a table of mounts to
// be (--fstab, a file) names need not be there, so the command must be known.
func (in *interp) mounts(c *commands.Command) {
	ws := c.Words()
	if len(ws) == 0 || ws[0] != "findmnt" || slices.ContainsFunc(ws[1:], notMounted) {
		return
	}
	if c.JSON == nil {
		for _, l := range c.Answer {
			if m := mountRe.FindStringSubmatch(l.Text); m != nil {
				in.p.State("disk.named", m[1], "yes", l.Evidence)
			}
		}
		return
	}
	in.mounted(c.JSON, c.JSON.Values[0].Get("filesystems"))
}

func (in *interp) mounted(d *commands.Document, list *commands.Value) {
	for _, v := range list.Elems() {
		source := v.Get("source")
		if m := sourceRe.FindStringSubmatch(source.String()); m != nil {
			in.p.State("disk.named", m[1], "yes", d.Evidence(source))
		}
		in.mounted(d, v.Get("children"))
	}
}

// notMounted reports whether a word makes findmnt print something else than
// what is mounted.
func notMounted(w string) bool {
	short := strings.HasPrefix(w, "-") && !strings.HasPrefix(w, "--")
	return short && strings.ContainsAny(w, "sFNxp") || slices.Contains([]string{"--fstab", "--tab-file", "--task", "--verify", "--poll"}, strings.SplitN(w, "=", 2)[0])
}
