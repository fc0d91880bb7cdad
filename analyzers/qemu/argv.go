package qemu

import (
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"forensics/analyzers/host/jsonspan"
)

// Command is a QEMU argument vector taken apart. Arg fields are indexes into
// Argv of the option's value.
type Command struct {
	Argv      []string
	Machine   string   // type, "" for the program's default
	Accel     []string // as asked for, first tried first
	CPU       string   // model without features
	MemoryMiB int
	SMP       int
	Devices   []Device
	Drives    []Drive
	Netdevs   []Netdev
	Chardevs  []Chardev
	CDROM     string // last -cdrom, or the file of the last optical drive
	Boot      string // boot order: "d", "cn"
	Kernel    string
	Initrd    string
	Append    string
	BIOS      string   // -bios, or the first pflash image
	Firmware  string   // "bios", "uefi", "" where the machine decides
	Serial    []string // targets of -serial, in order
	Display   string
	Extra     []string // options that are not taken apart, with their values

	at       map[string]int // where accel, cpu, memory and firmware stand
	blockdev []Drive
	pflash   string // node that -machine pflash0= names
}

// Device is one -device, or the card of a -nic or -net nic.
type Device struct {
	Arg        int
	Driver, ID string
	Text       string // the properties as written, without the driver
	Props      map[string]string
}

// Drive is one -drive, -blockdev, -hda, -cdrom or bare image argument.
type Drive struct {
	Arg      int
	File     string
	If       string // "virtio", "ide", …; "none" when a device attaches it
	Format   string
	Media    string // "cdrom" or "disk", "" when not said
	ReadOnly bool
	ID       string
	Props    map[string]string
}

// Netdev is one network back end: -netdev, -nic or -net.
type Netdev struct {
	Arg      int
	Type, ID string
	Hostfwd  []string
	Props    map[string]string
}

// Chardev is one character back end.
type Chardev struct {
	Arg         int
	Backend, ID string
	Props       map[string]string
}

// flags are the options that take no argument, from qemu-options.hx of QEMU
// 2.0 to 10.1, those since removed included.
var flags = words(`h help version enable-kvm no-reboot no-shutdown nographic snapshot S s
	daemonize nodefaults nodefconfig no-user-config no-acpi no-hpet no-fd-bootchk full-screen portrait
	no-quit no-frame alt-grab ctrl-grab sdl curses usb singlestep one-insn-per-tb only-migratable
	enable-fips mem-prealloc no-kvm no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection win2k-hack
	rtc-td-hack localtime show-cursor preconfig xen-attach xen-domid-restrict xen-create
	semihosting old-param async-teardown enable-sync-profile audio-help tdf`)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// implied are the keys that the first value of an option may leave out.
var implied = map[string]string{
	"device": "driver", "netdev": "type", "nic": "type", "net": "type", "chardev": "backend",
	"machine": "type", "M": "type", "accel": "accel", "m": "size", "smp": "cpus", "boot": "order",
	"blockdev": "driver", "display": "type",
}

// handlers take the options apart that say something about the machine; all
// others go to Extra.
var handlers = map[string]func(*Command, int, options){
	"machine": (*Command).machine, "M": (*Command).machine,
	"accel": (*Command).accel, "m": (*Command).memory, "smp": (*Command).smp,
	"device": (*Command).device, "drive": (*Command).drive, "blockdev": (*Command).block,
	"netdev": (*Command).netdev, "nic": (*Command).nic, "net": (*Command).net,
	"chardev": (*Command).chardev, "boot": (*Command).boot, "display": (*Command).display,
}

// ParseArgv takes an argument vector apart. It accepts anything: what it does
// not know goes to Extra.
func ParseArgv(argv []string) *Command {
	c := &Command{Argv: argv, at: map[string]int{}}
	for i := 1; i < len(argv); i++ {
		name, ok := optionName(argv[i])
		switch {
		case !ok:
			c.image(i, argv[i], "", "disk")
		case flags[name]:
			c.flag(name, i)
		case !known[name] && i+1 < len(argv) && strings.HasPrefix(argv[i+1], "-"):
			c.Extra = append(c.Extra, argv[i]) // an unknown one, it seems without argument
		case i+1 < len(argv):
			i++
			c.option(name, i, argv[i])
		default:
			c.Extra = append(c.Extra, argv[i])
		}
	}
	c.attach()
	c.firmware()
	return c
}

// optionName returns the name of an option argument; QEMU takes one dash or
// two. A lone dash is a file.
func optionName(arg string) (string, bool) {
	if len(arg) < 2 || arg[0] != '-' {
		return "", false
	}
	if strings.HasPrefix(arg, "--") && len(arg) > 2 {
		return arg[2:], true
	}
	return arg[1:], true
}

// known are options whose argument may itself start with a dash ("-append
// -s", "-serial -") or whose absence would be an error anyway.
var known = words(`device drive blockdev netdev nic net chardev machine M accel m smp cpu boot display
	cdrom hda hdb hdc hdd fda fdb kernel initrd append dtb bios pflash L serial parallel monitor qmp
	qmp-pretty mon object name vga vnc pidfile D d rtc global smbios fw_cfg uuid trace sandbox k
	qtest incoming loadvm virtfs fsdev action msg overcommit icount audiodev tpmdev watchdog
	watchdog-action sd mtdblock usbdevice spice gdb runas chroot readconfig set debugcon`)

func (c *Command) flag(name string, i int) {
	switch name {
	case "enable-kvm":
		c.Accel = append(c.Accel, "kvm")
		c.at["accel"] = i
	case "no-kvm":
		c.Accel = append(c.Accel, "tcg")
		c.at["accel"] = i
	case "nographic":
		c.Display = "none"
		c.Serial = append(c.Serial, "mon:stdio")
	case "curses", "sdl":
		c.Display = name
	default:
		c.Extra = append(c.Extra, c.Argv[i])
	}
}

// option takes an option with the argument at i.
func (c *Command) option(name string, i int, v string) {
	if h := handlers[name]; h != nil {
		h(c, i, parseOptions(v, implied[name]))
		return
	}
	switch name {
	case "cpu":
		c.CPU, _, _ = strings.Cut(v, ",")
		c.at["cpu"] = i
	case "hda", "hdb", "hdc", "hdd":
		c.image(i, v, "", "disk")
	case "cdrom":
		c.CDROM = v
		c.image(i, v, "", "cdrom")
	case "fda", "fdb":
		c.image(i, v, "floppy", "disk")
	case "sd":
		c.image(i, v, "sd", "disk")
	case "mtdblock":
		c.image(i, v, "mtd", "disk")
	case "pflash":
		c.image(i, v, "pflash", "disk")
	case "kernel":
		c.Kernel = v
	case "initrd":
		c.Initrd = v
	case "append":
		c.Append = v
	case "bios":
		c.BIOS = v
		c.at["firmware"] = i
	case "serial":
		c.Serial = append(c.Serial, v)
	case "vnc":
		c.Display = "vnc"
	default:
		c.Extra = append(c.Extra, c.Argv[i-1], v)
	}
}

func (c *Command) image(i int, file, iface, media string) {
	c.Drives = append(c.Drives, Drive{Arg: i, File: file, If: iface, Media: media})
}

func (c *Command) machine(i int, o options) {
	if t := o.get("type"); t != "" {
		c.Machine = t
	}
	if a := o.get("accel"); a != "" {
		c.Accel = strings.Split(a, ":")
		c.at["accel"] = i
	}
	if n := o.get("pflash0"); n != "" {
		c.pflash = n
		c.at["firmware"] = i
	}
}

// accel adds one -accel; several are tried in order.
func (c *Command) accel(i int, o options) {
	c.Accel = append(c.Accel, strings.Split(o.get("accel"), ":")...)
	if _, ok := c.at["accel"]; !ok {
		c.at["accel"] = i
	}
}

func (c *Command) memory(i int, o options) {
	if mib := mebibytes(o.get("size")); mib > 0 {
		c.MemoryMiB = mib
		c.at["memory"] = i
	}
}

func (c *Command) smp(_ int, o options) {
	if n, err := strconv.Atoi(o.get("cpus")); err == nil && n > 0 {
		c.SMP = n
	}
}

func (c *Command) boot(_ int, o options)    { c.Boot = o.get("order") }
func (c *Command) display(_ int, o options) { c.Display = o.get("type") }

func (c *Command) device(i int, o options) {
	c.Devices = append(c.Devices, Device{Arg: i, Driver: o.get("driver"), ID: o.get("id"), Text: o.text("driver"), Props: o.props("driver")})
}

func (c *Command) drive(i int, o options) {
	ro := o.get("readonly")
	if ro == "" {
		ro = o.get("read-only")
	}
	file := o.get("file")
	if file == "" {
		file = o.get("file.filename")
	}
	format := o.get("format")
	if format == "" {
		format = o.get("driver")
	}
	c.Drives = append(c.Drives, Drive{Arg: i, File: strings.TrimPrefix(file, "file:"), If: o.get("if"), Format: format,
		Media: o.get("media"), ReadOnly: ro == "on" || ro == "true" || ro == "yes", ID: o.get("id"), Props: o.props()})
}

// block takes one node of a -blockdev graph.
func (c *Command) block(i int, o options) {
	d := Drive{Arg: i, File: o.get("filename"), If: "none", Format: o.get("driver"), ID: o.get("node-name"),
		ReadOnly: o.get("read-only") == "on" || o.get("read-only") == "true", Props: o.props()}
	if d.File == "" {
		d.File = o.get("file.filename")
	}
	c.blockdev = append(c.blockdev, d)
}

func (c *Command) netdev(i int, o options) {
	var fwd []string
	for _, p := range o {
		if p.key == "hostfwd" || strings.HasPrefix(p.key, "hostfwd.") {
			fwd = append(fwd, p.value)
		}
	}
	c.Netdevs = append(c.Netdevs, Netdev{Arg: i, Type: o.get("type"), ID: o.get("id"), Hostfwd: fwd, Props: o.props("type")})
}

// nic takes -nic: a back end and a card in one.
func (c *Command) nic(i int, o options) {
	c.netdev(i, o)
	c.card(i, o)
}

// net takes the older -net, where card and back end are options apart.
func (c *Command) net(i int, o options) {
	if o.get("type") == "nic" {
		c.card(i, o)
		return
	}
	c.netdev(i, o)
}

// card adds the device of a -nic or -net nic that names its model.
func (c *Command) card(i int, o options) {
	model := o.get("model")
	if model == "virtio" { // qemu_find_nic_model's alias
		model = "virtio-net-pci"
	}
	if model != "" {
		c.Devices = append(c.Devices, Device{Arg: i, Driver: model, Text: o.text("type", "model"), Props: o.props("type", "model")})
	}
}

func (c *Command) chardev(i int, o options) {
	c.Chardevs = append(c.Chardevs, Chardev{Arg: i, Backend: o.get("backend"), ID: o.get("id"), Props: o.props("backend")})
}

// maxChain bounds how far a -blockdev's file= is followed.
const maxChain = 8

// attach turns the top nodes of -blockdev graphs into drives, and gives every
// drive its interface.
func (c *Command) attach() {
	nodes, inner := map[string]Drive{}, map[string]bool{}
	for _, d := range c.blockdev {
		nodes[d.ID] = d
		inner[d.Props["file"]] = true
		inner[d.Props["backing"]] = true
	}
	for _, d := range c.blockdev {
		if d.ID != "" && inner[d.ID] {
			continue
		}
		for n, next := 0, d.Props["file"]; d.File == "" && n < maxChain && next != ""; n++ {
			d.File, next = nodes[next].File, nodes[next].Props["file"]
		}
		c.Drives = append(c.Drives, d)
	}
	by := map[string]string{}
	for _, d := range c.Devices {
		if id := d.Props["drive"]; id != "" {
			by[id] = d.Driver
		}
	}
	for i := range c.Drives {
		d := &c.Drives[i]
		if driver := by[d.ID]; d.ID != "" && driver != "" {
			d.If = busOf(driver)
			if strings.HasSuffix(driver, "-cd") {
				d.Media = "cdrom"
			}
		} else if d.If == "" {
			d.If = c.defaultInterface()
		}
		if d.Media == "cdrom" && d.File != "" {
			c.CDROM = d.File
		}
	}
}

// busOf names the interface that a storage device offers to the guest.
func busOf(driver string) string {
	for _, b := range []struct{ prefix, bus string }{
		{"virtio-blk", "virtio"}, {"vhost-user-blk", "virtio"}, {"scsi-", "scsi"}, {"ide-", "ide"},
		{"nvme", "nvme"}, {"usb-", "usb"}, {"floppy", "floppy"}, {"sd-card", "sd"}, {"xen-", "xen"},
	} {
		if strings.HasPrefix(driver, b.prefix) {
			return b.bus
		}
	}
	return "other"
}

// defaultInterface is what a drive without if= is attached to: QEMU's
// block_default_type of the machine, where it is the same in all releases.
func (c *Command) defaultInterface() string {
	arch := c.arch()
	switch m := c.Machine; {
	case arch == "x86_64" || arch == "i386":
		if m == "" || m == "pc" || m == "q35" || strings.HasPrefix(m, "pc-") {
			return "ide"
		}
	case m == "virt" || strings.HasPrefix(m, "virt-") || strings.HasPrefix(m, "s390-ccw"):
		return "virtio"
	}
	return "other"
}

// arch is what the program's name says, "" for qemu-kvm.
func (c *Command) arch() string {
	if len(c.Argv) == 0 {
		return ""
	}
	_, a, _ := strings.Cut(path.Base(c.Argv[0]), "qemu-system-")
	return strings.TrimSuffix(a, ".exe")
}

// interfaces are the values of Drive.Interface.
var interfaces = []string{"virtio", "ide", "scsi", "nvme", "usb", "floppy", "pflash", "sd", "mtd", "xen", "none", "cdrom", "other"}

// Interface is what the drive is attached to; an optical disc is "cdrom"
// wherever it is.
func (d *Drive) Interface() string {
	if d.Media == "cdrom" {
		return "cdrom"
	}
	if slices.Contains(interfaces, d.If) {
		return d.If
	}
	return "other"
}

// name is the drive's id, or the last element of its file's path.
func (d *Drive) name() string {
	if d.ID != "" || d.File == "" {
		return d.ID
	}
	return path.Base(d.File)
}

// uefiRe matches the names under which distributions ship UEFI firmware:
// OVMF_CODE.fd, edk2-x86_64-code.fd, AAVMF_CODE.fd, QEMU_EFI.fd.
var uefiRe = regexp.MustCompile(`(?i)(?:ovmf|aavmf|edk2|uefi|qemu[_-]efi)`)

// firmware decides what starts the guest. On a PC everything but UEFI images
// is a BIOS; elsewhere only a named image tells.
func (c *Command) firmware() {
	for _, d := range c.Drives {
		if d.If == "pflash" || c.pflash != "" && d.ID == c.pflash {
			if c.BIOS == "" {
				c.BIOS = d.File
			}
			if _, ok := c.at["firmware"]; !ok {
				c.at["firmware"] = d.Arg
			}
		}
	}
	pc := c.arch() == "x86_64" || c.arch() == "i386"
	switch {
	case uefiRe.MatchString(path.Base(c.BIOS)):
		c.Firmware = "uefi"
	case pc && c.BIOS == "" && c.pflash == "" && !strings.HasPrefix(c.Machine, "microvm"):
		c.Firmware = "bios"
	case strings.Contains(strings.ToLower(path.Base(c.BIOS)), "bios"): // bios-256k.bin, SeaBIOS builds
		c.Firmware = "bios"
	}
}

// accelerator is the value of fact qemu.accel.
func (c *Command) accelerator() string {
	var names []string
	for _, a := range c.Accel {
		if len(names) == 0 || names[len(names)-1] != a {
			names = append(names, a)
		}
	}
	switch {
	case len(names) == 0:
		return "default"
	case len(names) == 1 && (names[0] == "kvm" || names[0] == "tcg"):
		return names[0]
	case len(names) > 1 && names[0] == "kvm" && names[1] == "tcg":
		return "kvm-or-tcg"
	case names[0] == "tcg":
		return "tcg"
	}
	return "other"
}

// mebibytes reads QEMU's sizes: MiB when no suffix is given.
func mebibytes(s string) int {
	if s == "" {
		return 0
	}
	unit := 1.0
	switch s[len(s)-1] | 0x20 {
	case 'b':
		unit = 1.0 / (1 << 20)
	case 'k':
		unit = 1.0 / (1 << 10)
	case 'm':
	case 'g':
		unit = 1 << 10
	case 't':
		unit = 1 << 20
	default:
		s += "m"
	}
	f, err := strconv.ParseFloat(s[:len(s)-1], 64)
	if err != nil || !(f > 0) || f*unit > math.MaxInt32 {
		return 0
	}
	return int(f * unit)
}

// options are the key=value pairs of one argument, in order.
type options []option

type option struct{ key, value string }

// parseOptions splits QEMU's option syntax: key=value,…, where ",," is a comma
// within a value, a key alone means on (with "no" before it, off), and the
// first value may leave out its key where there is an implied one. An argument
// that starts with a brace is JSON.
func parseOptions(s, impliedKey string) options {
	if strings.HasPrefix(s, "{") {
		if vs, err := jsonspan.Parse([]byte(s)); err == nil && len(vs) == 1 {
			return flatten(nil, "", vs[0])
		}
	}
	var opts options
	for first := true; s != ""; first = false {
		eq := strings.IndexAny(s, "=,")
		key := ""
		if eq >= 0 && s[eq] == '=' {
			key, s = s[:eq], s[eq+1:]
		}
		var v string
		v, s = cutValue(s)
		switch {
		case key != "":
		case first && impliedKey != "":
			key = impliedKey
		case strings.HasPrefix(v, "no") && len(v) > 2:
			key, v = v[2:], "off"
		default:
			key, v = v, "on"
		}
		opts = append(opts, option{key, v})
	}
	return opts
}

// cutValue returns the value at the start of s, unescaped, and what follows
// its comma.
func cutValue(s string) (value, rest string) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, ',')
		if i < 0 {
			return b.String() + s, ""
		}
		b.WriteString(s[:i])
		if !strings.HasPrefix(s[i:], ",,") {
			return b.String(), s[i+1:]
		}
		b.WriteByte(',')
		s = s[i+2:]
	}
}

// flatten gives the dotted keys that QEMU's keyval syntax would use.
func flatten(opts options, prefix string, v *jsonspan.Value) options {
	for _, m := range v.Members {
		opts = flatten(opts, strings.TrimPrefix(prefix+"."+m.Name, "."), m.Value)
	}
	for i, e := range v.Elems {
		opts = flatten(opts, strings.TrimPrefix(prefix+"."+strconv.Itoa(i), "."), e)
	}
	if v.Kind != jsonspan.Object && v.Kind != jsonspan.Array {
		opts = append(opts, option{prefix, v.Text})
	}
	return opts
}

// get returns the last value of key, as QEMU takes it.
func (o options) get(key string) string {
	for _, p := range slices.Backward(o) {
		if p.key == key {
			return p.value
		}
	}
	return ""
}

func (o options) props(without ...string) map[string]string {
	m := map[string]string{}
	for _, p := range o {
		if !slices.Contains(without, p.key) {
			m[p.key] = p.value
		}
	}
	return m
}

// text writes the options back, escaped, without the keys named.
func (o options) text(without ...string) string {
	var parts []string
	for _, p := range o {
		if !slices.Contains(without, p.key) {
			parts = append(parts, p.key+"="+strings.ReplaceAll(p.value, ",", ",,"))
		}
	}
	return strings.Join(parts, ",")
}

func itoa(n int) string { return strconv.Itoa(n) }
