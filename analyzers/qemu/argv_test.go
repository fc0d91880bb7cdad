package qemu

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// describe writes a command the way the cases below expect it.
func describe(c *Command) string {
	var b strings.Builder
	field := func(name string, v any) {
		if s := fmt.Sprint(v); s != "" && s != "0" && s != "[]" {
			fmt.Fprintf(&b, "%s=%s ", name, s)
		}
	}
	field("machine", c.Machine)
	field("accel", c.accelerator())
	field("cpu", c.CPU)
	field("mem", c.MemoryMiB)
	field("smp", c.SMP)
	for _, d := range c.Drives {
		fmt.Fprintf(&b, "drive(%s %s %s ro=%t) ", d.name(), d.Interface(), d.File, d.ReadOnly)
	}
	for _, n := range c.Netdevs {
		fmt.Fprintf(&b, "net(%s %s %v) ", n.ID, n.Type, n.Hostfwd)
	}
	for _, d := range c.Devices {
		fmt.Fprintf(&b, "dev(%s %s) ", d.Driver, d.Text)
	}
	for _, ch := range c.Chardevs {
		fmt.Fprintf(&b, "chardev(%s %s) ", ch.ID, ch.Backend)
	}
	field("cdrom", c.CDROM)
	field("boot", c.Boot)
	field("kernel", c.Kernel)
	field("initrd", c.Initrd)
	field("append", c.Append)
	field("bios", c.BIOS)
	field("fw", c.Firmware)
	field("serial", c.Serial)
	field("display", c.Display)
	field("extra", c.Extra)
	return strings.TrimSpace(b.String())
}

var argvCases = []struct{ name, in, want string }{
	{"nothing", "qemu-system-x86_64", "accel=default fw=bios"},
	{"plain", "qemu-system-x86_64 -M q35,accel=kvm -cpu host,-svm -m 2G -smp 4,cores=2 -cdrom /a/b.iso -boot order=d,menu=off",
		"machine=q35 accel=kvm cpu=host mem=2048 smp=4 drive(b.iso cdrom /a/b.iso ro=false) cdrom=/a/b.iso boot=d fw=bios"},
	{"two dashes, implied keys", "qemu-system-x86_64 --machine pc --accel tcg,thread=multi --m 512 --boot d",
		"machine=pc accel=tcg mem=512 boot=d fw=bios"},
	{"kvm, then tcg", "qemu-system-x86_64 -accel kvm -accel tcg", "accel=kvm-or-tcg fw=bios"},
	{"kvm, then tcg, old", "qemu-system-x86_64 -machine accel=kvm:tcg -m size=1048576k", "accel=kvm-or-tcg mem=1024 fw=bios"},
	{"enable-kvm", "qemu-system-x86_64 -enable-kvm -no-reboot -nographic", "accel=kvm fw=bios serial=[mon:stdio] display=none extra=[-no-reboot]"},
	{"xen is another", "qemu-system-x86_64 -accel xen", "accel=other fw=bios"},
	{"escaped commas", "qemu-system-x86_64 -drive file=/a,,b,if=virtio,readonly -device x,v=1,,2,w=3",
		"accel=default drive(a,b virtio /a,b ro=true) dev(x v=1,,2,w=3) fw=bios"},
	{"drives and their buses", "qemu-system-x86_64 -hda a.img -drive if=none,id=d1,file=b.img -device virtio-blk-pci,drive=d1 -drive if=none,id=d2,file=c.iso -device scsi-cd,drive=d2 -drive file=d.img -fda f.img e.img",
		"accel=default drive(a.img ide a.img ro=false) drive(d1 virtio b.img ro=false) drive(d2 cdrom c.iso ro=false) drive(d.img ide d.img ro=false) drive(f.img floppy f.img ro=false) drive(e.img ide e.img ro=false) dev(virtio-blk-pci drive=d1) dev(scsi-cd drive=d2) cdrom=c.iso fw=bios"},
	{"no device takes it", "qemu-system-x86_64 -drive if=none,id=d1,file=b.img", "accel=default drive(d1 none b.img ro=false) fw=bios"},
	{"another machine's default bus", "qemu-system-aarch64 -M virt -drive file=d.img -bios QEMU_EFI.fd",
		"machine=virt accel=default drive(d.img virtio d.img ro=false) bios=QEMU_EFI.fd fw=uefi"},
	{"blockdev chain", "qemu-system-x86_64 -blockdev driver=file,filename=/d.qcow2,node-name=f -blockdev qcow2,file=f,node-name=n -device nvme,drive=n,serial=1",
		"accel=default drive(n nvme /d.qcow2 ro=false) dev(nvme drive=n,serial=1) fw=bios"},
	{"json", `qemu-system-x86_64 -blockdev '{"driver":"raw","node-name":"n","read-only":true,"file":{"driver":"file","filename":"/d"}}' -device '{"driver":"virtio-blk-pci","drive":"n"}'`,
		"accel=default drive(n virtio /d ro=true) dev(virtio-blk-pci drive=n) fw=bios"},
	{"a blockdev that refers to itself", "qemu-system-x86_64 -blockdev driver=raw,file=b,node-name=a -blockdev driver=raw,file=a,node-name=b", "accel=default fw=bios"},
	{"netdevs", "qemu-system-x86_64 -netdev user,id=n0,hostfwd=tcp::1-:22,hostfwd=tcp::2-:80 -netdev tap,id=n1,ifname=t0 -device e1000,netdev=n0",
		"accel=default net(n0 user [tcp::1-:22 tcp::2-:80]) net(n1 tap []) dev(e1000 netdev=n0) fw=bios"},
	{"nic and net", "qemu-system-x86_64 -nic user,model=virtio-net-pci,hostfwd=tcp::1-:22 -net nic,model=virtio -net user -nic none",
		"accel=default net( user [tcp::1-:22]) net( user []) net( none []) dev(virtio-net-pci hostfwd=tcp::1-:22) dev(virtio-net-pci ) fw=bios"},
	{"serial, chardev, kernel", "qemu-system-x86_64 -serial stdio -serial - -chardev socket,id=c0,path=/s,server=on -kernel /k -initrd /i -append 'console=ttyS0 -s' -display gtk,gl=on",
		"accel=default chardev(c0 socket) kernel=/k initrd=/i append=console=ttyS0 -s fw=bios serial=[stdio -] display=gtk"},
	{"uefi by pflash", "qemu-system-x86_64 -drive if=pflash,format=raw,readonly=on,file=/x/OVMF_CODE.fd -drive if=pflash,file=/x/vars.fd",
		"accel=default drive(OVMF_CODE.fd pflash /x/OVMF_CODE.fd ro=true) drive(vars.fd pflash /x/vars.fd ro=false) bios=/x/OVMF_CODE.fd fw=uefi"},
	{"pflash that does not say", "qemu-system-x86_64 -pflash /x/code.fd", "accel=default drive(code.fd pflash /x/code.fd ro=false) bios=/x/code.fd"},
	{"pflash by node", "qemu-system-x86_64 -machine q35,pflash0=p -blockdev driver=file,node-name=p,filename=/x/edk2-x86_64-code.fd",
		"machine=q35 accel=default drive(p none /x/edk2-x86_64-code.fd ro=false) bios=/x/edk2-x86_64-code.fd fw=uefi"},
	{"options that are not taken apart", "qemu-system-x86_64 -S -qmp unix:/q,server -uuid 1 -newflag -newopt v -m",
		"accel=default fw=bios extra=[-S -qmp unix:/q,server -uuid 1 -newflag -newopt v -m]"},
	{"bad numbers", "qemu-system-x86_64 -m lots -smp many", "accel=default fw=bios"},
}

func TestParseArgv(t *testing.T) {
	for _, tt := range argvCases {
		argv, ok := SplitCommand(tt.in)
		if !ok {
			t.Errorf("%s: not a command", tt.name)
			continue
		}
		if got := describe(ParseArgv(argv)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if c := ParseArgv(nil); c == nil || describe(c) != "accel=default" {
		t.Errorf("empty: %+v", c)
	}
}

var splitCases = []struct {
	in   string
	want []string // nil: no command
}{
	{`a -b "c d" 'e f' g\ h i"j"`, []string{"a", "-b", "c d", "e f", "g h", "ij"}},
	{`a "x\"y\\z\n"`, []string{"a", `x"y\z\n`}},
	{`a '' b`, []string{"a", "", "b"}},
	{`a b 2>&1`, []string{"a", "b"}},
	{`a b2>log`, []string{"a", "b2"}},
	{`a b | tee log`, []string{"a", "b"}},
	{`a "open`, nil},
	{`a $HOME`, nil},
	{`a "$(id)"`, nil},
	{`a '$HOME'`, []string{"a", "$HOME"}},
	{``, nil},
	{`[b'a', b"it's", 'x\ty', b'\xc3\xa9\'']`, []string{"a", "it's", "x\ty", "é'"}},
	{`['a',]`, []string{"a"}},
	{`[]`, nil},
	{`['a', b]`, nil},
	{`[qemu_executable, "-m"]`, nil},
	{`['a', f"file={x}"]`, nil},
	{`['a'`, nil},
	{`['a'] and more`, nil},
}

func TestSplitCommand(t *testing.T) {
	for _, tt := range splitCases {
		got, ok := SplitCommand(tt.in)
		if ok != (tt.want != nil) || ok && !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q %t, want %q", tt.in, got, ok, tt.want)
		}
	}
}

// FuzzArgv: nothing panics, positions lie in the vector, joining and splitting
// are inverse, options survive being written back.
func FuzzArgv(f *testing.F) {
	for _, tt := range argvCases {
		f.Add(tt.in)
	}
	for _, tt := range splitCases {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		argv, ok := SplitCommand(s)
		if !ok {
			return
		}
		if len(argv) < maxWords && len(s) < maxCommand/8 {
			if back, ok := SplitCommand(Join(argv)); !ok || !slices.Equal(back, argv) {
				if !slices.ContainsFunc(argv, func(a string) bool { return strings.ContainsRune(a, '\n') }) && !strings.HasPrefix(Join(argv), "[") {
					t.Fatalf("%q joined is %q, split %q", argv, Join(argv), back)
				}
			}
		}
		c := ParseArgv(argv)
		var at []int
		for _, d := range c.Drives {
			at = append(at, d.Arg)
			if !slices.Contains(interfaces, d.Interface()) {
				t.Fatalf("interface %q", d.Interface())
			}
		}
		for _, d := range c.Devices {
			at = append(at, d.Arg)
		}
		for _, n := range c.Netdevs {
			at = append(at, n.Arg)
		}
		for _, i := range c.at {
			at = append(at, i)
		}
		for _, i := range at {
			if i < 1 || i >= len(argv) {
				t.Fatalf("position %d of %d", i, len(argv))
			}
		}
		for _, a := range argv {
			o := parseOptions(a, "")
			if !slices.ContainsFunc(o, func(p option) bool { return p.key == "" || strings.ContainsAny(p.key, ",={") }) {
				if back := parseOptions(o.text(), ""); !slices.Equal(back, o) {
					t.Fatalf("%q: %q written back is %q", a, o, back)
				}
			}
		}
	})
}
