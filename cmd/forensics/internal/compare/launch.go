package compare

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/qemu"
)

// chosen is the command that counts where a run has several: the last one, for
// a harness that starts QEMU again does so because the first was no good; of
// metadata rather than of a log, where the words of an argument run together.
func chosen(ls []*qemu.Launch, isMetadata func(path string) bool) *qemu.Launch {
	var best *qemu.Launch
	for _, l := range ls {
		if best == nil || isMetadata(l.Evidence.Path) || !isMetadata(best.Evidence.Path) {
			best = l
		}
	}
	return best
}

// launchItems takes QEMU's command apart. Order, identifiers, host ports and the
// directories of files are not compared.
func launchItems(command *qemu.Launch) []item {
	if command == nil {
		return nil
	}
	l := launch{command, nil}
	l.set("qemu.machine", "", "qemu.argv", "", l.raw(l.Machine, "machine", "M"), l.at("machine", "M"))
	l.set("qemu.accel", "", "qemu.accel", "", or(strings.Join(l.Accel, ", "), "default"), l.at("accel", "enable-kvm", "machine", "M"))
	l.set("qemu.cpu", "", "qemu.cpu", "", l.raw(l.CPU, "cpu"), l.at("cpu"))
	if l.MemoryMiB > 0 {
		l.set("qemu.memory", "", "qemu.memory", "", fmt.Sprintf("%d MiB", l.MemoryMiB), l.at("m"))
	}
	l.set("qemu.smp", "", "qemu.argv", "", l.raw(fmt.Sprint(max(l.SMP, 1)), "smp"), l.at("smp"))
	l.set("qemu.firmware", "", "qemu.firmware", "", strings.TrimSpace(or(l.Firmware, "default")+" "+base(l.BIOS)), l.at("bios", "pflash", "drive"))
	l.set("qemu.boot", "", "qemu.argv", "", or(l.Boot, "default"), l.at("boot"))
	l.set("qemu.kernel", "", "qemu.argv", "", or(base(l.Kernel), "none"), l.at("kernel"))
	l.set("qemu.initrd", "", "qemu.argv", "", or(base(l.Initrd), "none"), l.at("initrd"))
	if l.Append != "" {
		l.set("qemu.option", "append", "qemu.argv", "", l.Append, l.at("append"))
	}
	l.set("qemu.display", "", "qemu.argv", "", or(l.Display, "default"), l.at("display", "nographic", "vnc"))
	l.drives()
	l.devices()
	l.network()
	l.terminals()
	l.options()
	for i := range l.items {
		l.items[i].sort()
	}
	return l.items
}

type launch struct {
	*qemu.Launch
	items []item
}

// implied are the keys that may be left out before an option's first value.
var implied = map[string]string{"machine": "type", "smp": "cpus", "cpu": "model"}

// raw are the values of the named options as they were written, with their
// properties; else what QEMU takes.
func (l *launch) raw(parsed string, names ...string) string {
	var all []string
	for i := 1; i+1 < len(l.Argv); i++ {
		if !strings.HasPrefix(l.Argv[i], "-") || !slices.Contains(names, strings.TrimLeft(l.Argv[i], "-")) {
			continue
		}
		all = append(all, maskPaths(strings.TrimPrefix(l.Argv[i+1], implied[names[0]]+"=")))
	}
	return or(strings.Join(all, ","), or(parsed, "default"))
}

// at is where the last of the named options stands that is there, the whole
// command where none is.
func (l *launch) at(names ...string) []bundle.Evidence {
	for _, name := range names {
		for i := len(l.Argv) - 1; i > 0; i-- {
			if !strings.HasPrefix(l.Argv[i], "-") || strings.TrimLeft(l.Argv[i], "-") != name {
				continue
			}
			if i+1 < len(l.Argv) && !strings.HasPrefix(l.Argv[i+1], "-") {
				i++
			}
			return []bundle.Evidence{l.Place(i)}
		}
	}
	return []bundle.Evidence{l.Evidence}
}

func or(s, none string) string {
	if s == "" {
		return none
	}
	return s
}

// base is the name of a file, without what nix puts before it.
func base(file string) string {
	if file == "" {
		return ""
	}
	return maskStore(path.Base(strings.ReplaceAll(file, `\`, "/")))
}

// set adds a value to the item of that kind and subject.
func (l *launch) set(kind, subject, fact, about, v string, ev []bundle.Evidence) *item {
	return l.put(kind, subject, fact, about, value{masked: maskStore(v), shown: v, ev: ev})
}

func (l *launch) put(kind, subject, fact, about string, v value) *item {
	k := key{kind, subject}
	i := slices.IndexFunc(l.items, func(it item) bool { return it.key == k })
	if i < 0 {
		l.items = append(l.items, item{key: k, fact: fact, about: about})
		i = len(l.items) - 1
	}
	l.items[i].values = append(l.items[i].values, v)
	return &l.items[i]
}

// drives are one item: what changes is how many there are and of what kind.
func (l *launch) drives() {
	for i := range l.Drives {
		d := &l.Drives[i]
		bus := d.Interface()
		if bus == "none" {
			bus = or(l.attached(d.ID), "unattached")
		}
		if bus == "pflash" {
			continue // the firmware
		}
		kind := []string{or(bus, "ide")}
		if d.Format != "" {
			kind = append(kind, d.Format)
		}
		if d.ReadOnly && bus != "cdrom" {
			kind = append(kind, "read-only")
		}
		for _, k := range []string{"snapshot", "cache", "index", "unit", "werror", "rerror", "throttling.iops-total"} {
			if v := d.Props[k]; v != "" {
				kind = append(kind, k+"="+v)
			}
		}
		text := strings.Join(kind, " ")
		name := "qemu.drive"
		subject := "disks"
		if bus == "cdrom" {
			subject = "cdrom"
		}
		l.put(name, subject, "qemu.drive", "", value{
			masked: text, shown: fileName(d.File) + " (" + text + ")", ev: []bundle.Evidence{l.Place(d.Arg)},
		}).one = true
	}
	if !slices.ContainsFunc(l.items, func(it item) bool { return it.key == key{"qemu.drive", "disks"} }) {
		l.items = append(l.items, item{key: key{"qemu.drive", "disks"}, fact: "qemu.drive", one: true})
	}
}

// fileName is the name of a drive's file; one that was opened by its descriptor
// has none.
func fileName(file string) string {
	if file == "" || strings.HasPrefix(file, "/proc/") || strings.HasPrefix(file, "/dev/fd") {
		return "a file without a name"
	}
	return path.Base(file)
}

// attached is the driver of the device that a drive belongs to.
func (l *launch) attached(id string) string {
	for _, d := range l.Devices {
		if id != "" && d.Props["drive"] == id {
			if strings.HasPrefix(d.Driver, "virtio-blk") {
				return "virtio" // what if=virtio makes
			}
			return d.Driver
		}
	}
	return ""
}

// private are the properties of devices and back ends that name other options
// of the same command, or differ from run to run.
var private = []string{"id", "netdev", "drive", "chardev", "hostfwd", "bus", "mac", "path", "port", "host", "guest-cid", "fd", "ifname", "name", "logfile"}

// traits are the properties that are compared, in a fixed order.
func traits(props map[string]string) string {
	var ps []string
	for k, v := range props {
		if !slices.Contains(private, k) && !strings.HasPrefix(k, "hostfwd.") {
			ps = append(ps, k+"="+v)
		}
	}
	slices.Sort(ps)
	return strings.Join(ps, ",")
}

func (l *launch) devices() {
	for _, d := range l.Devices {
		if d.Props["drive"] != "" && strings.HasPrefix(d.Driver, "virtio-blk") {
			continue // the drive tells
		}
		text := d.Driver
		if t := traits(d.Props); t != "" {
			text += "," + t
		}
		l.set("qemu.device", d.Driver, "qemu.device", d.Driver, text, []bundle.Evidence{l.Place(d.Arg)})
	}
}

func (l *launch) network() {
	for _, n := range l.Netdevs {
		at := []bundle.Evidence{l.Place(n.Arg)}
		text := n.Type
		if t := traits(n.Props); t != "" {
			text += "," + t
		}
		l.set("qemu.netdev", n.Type, "qemu.netdev", n.ID, text, at)
		for _, f := range n.Hostfwd {
			l.put("qemu.hostfwd", guestPort(f), "qemu.netdev", n.ID, value{masked: guestPort(f), shown: f, ev: at})
		}
	}
}

// guestPort is the guest's end of a forwarding rule, such as
// "tcp:127.0.0.1:2222-:22": protocol and port.
func guestPort(rule string) string {
	proto, rest, _ := strings.Cut(rule, ":")
	i := strings.LastIndexByte(rest, '-')
	to := rest[i+1:]
	return or(proto, "tcp") + " to the guest's port " + to[strings.LastIndexByte(to, ':')+1:]
}

func (l *launch) terminals() {
	for _, s := range l.Serial {
		kind, _, _ := strings.Cut(s, ":")
		l.put("qemu.serial", "", "qemu.argv", "", value{masked: kind, shown: s, ev: l.at("serial")})
	}
	for _, c := range l.Chardevs {
		l.put("qemu.chardev", c.Backend, "qemu.argv", "", value{masked: c.Backend + "," + traits(c.Props), shown: c.Backend + "," + traits(c.Props), ev: []bundle.Evidence{l.Place(c.Arg)}})
	}
}

// options are those that are not taken apart; a value that is a path or socket
// is named by its last part.
func (l *launch) options() {
	for i := 0; i < len(l.Extra); i++ {
		name := strings.TrimLeft(l.Extra[i], "-")
		v := ""
		if i+1 < len(l.Extra) && !strings.HasPrefix(l.Extra[i+1], "-") {
			i++
			v = l.Extra[i]
		}
		if slices.Contains([]string{"name", "pidfile", "qmp", "monitor", "mon", "D", "uuid", "daemonize", "run-with"}, name) {
			continue // where and how QEMU is watched
		}
		l.put("qemu.option", name, "qemu.argv", "", value{masked: maskPaths(v), shown: or(v, "given"), ev: l.at(name)})
	}
}

// maskPaths leaves the last part of absolute paths.
func maskPaths(s string) string {
	fields := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '=' })
	for _, f := range fields {
		if strings.HasPrefix(f, "/") {
			s = strings.ReplaceAll(s, f, "…/"+path.Base(f))
		}
	}
	return maskStore(s)
}

// maskStore takes the hash out of store paths: the same file built again.
func maskStore(s string) string {
	const store, hash = "/nix/store/", 32
	var b strings.Builder
	for {
		i := strings.Index(s, store)
		if i < 0 || len(s) < i+len(store)+hash {
			break
		}
		b.WriteString(s[:i+len(store)] + "…")
		s = s[i+len(store)+hash:]
	}
	b.WriteString(s)
	return b.String()
}
