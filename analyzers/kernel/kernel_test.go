package kernel

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native/nativetest"
)

func TestFacts(t *testing.T) { analyzertest.Run(t, Analyzer) }

// patternLines are messages that a pattern matches, and that it nearly does,
// with what the match states.
var patternLines = map[string]struct{ match, near []string }{
	"version":        {[]string{"Linux version 6.12.54 (b@h) (gcc) #1-NixOS SMP"}, []string{"Linux version unknown", "x: Linux version 6.1 (b@h)"}},
	"cmdline":        {[]string{"Command line: quiet console=ttyS0", "Kernel command line: quiet"}, []string{"Unknown kernel command line parameters \"boot.shell\", will be passed to user space.", "stage-1-init: Command line: x"}},
	"cpu":            {[]string{"smpboot: CPU0: AMD QEMU Virtual CPU version 2.5+ (family: 0xf, model: 0x6b, stepping: 0x1)"}, []string{"smpboot: CPU0 attaching", "smpboot: CPU0: unknown"}},
	"hypervisor":     {[]string{"Hypervisor detected: KVM", "Hypervisor detected: Xen HVM"}, []string{"Hypervisor detected: KVM?", "No Hypervisor detected: KVM"}},
	"paravirt":       {[]string{"Booting paravirtualized kernel on KVM", "Booting paravirtualized kernel on bare hardware"}, []string{"Booting paravirtualized kernel with PVH extensions"}},
	"virtualization": {[]string{"systemd[1]: Detected virtualization qemu."}, []string{"systemd[1]: Detected virtualization docker.", "demo: Detected virtualization kvm."}},
	"panic":          {[]string{"Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b"}, []string{"---[ end Kernel panic - not syncing: x ]---", "demo: Kernel panic - not syncing: x", "Kernel panic - not syncing"}},
	"oops": {[]string{"BUG: unable to handle page fault for address: ffff", "BUG: kernel NULL pointer dereference, address: 0", "kernel BUG at fs/inode.c:12!", "Oops: 0002 [#1] PREEMPT SMP NOPTI",
		"general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP", "invalid opcode: 0000 [#1] SMP"},
		[]string{"watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", "traps: demo[81] general protection fault ip:0 sp:0 error:0", "demo[9]: BUG: unable to handle it", "Debug: x", "WARNING: CPU: 0 PID: 1 at kernel/x.c:1"}},
	"soft":      {[]string{"watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [nix:81]", "BUG: soft lockup - CPU#1 stuck for 23s! [x:1]"}, []string{"watchdog: soft lockup detector is off"}},
	"hard":      {[]string{"NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"}, []string{"NMI watchdog: Enabled. LOCKUP is watched"}},
	"rcu":       {[]string{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "rcu: INFO: rcu_sched self-detected stall on CPU"}, []string{"rcu: RCU event tracing is enabled, stall", "rcu: INFO: stalls are looked for"}},
	"task":      {[]string{"INFO: task lvm:712 blocked for more than 122 seconds."}, []string{"task lvm:712 blocked for more than 122 seconds."}},
	"workqueue": {[]string{"BUG: workqueue lockup - pool cpus=0 node=0"}, []string{"workqueue lockup watchdog is on"}},
	"oom":       {[]string{"Out of memory: Killed process 812 (nix) total-vm:1kB", "Memory cgroup out of memory: Killed process 8 (a b) anon", "Out of memory: Kill process 1 (x) score 9"}, []string{"oom_reaper: reaped process 812 (nix)", "demo: Out of memory: Killed process 812 (nix) x"}},
	"rootfs": {[]string{"VFS: Unable to mount root fs on unknown-block(0,0)", "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(253,1)", `VFS: Cannot open root device "vda9" or unknown-block(0,0): error -6`},
		[]string{"/dev/root: Can't open blockdev", "VFS: Mounted root (ext4 filesystem) on device 253:1.", "VFS: Disk quotas dquot_6.6.0"}},
	"timeout": {[]string{"[ TIME ] Timed out waiting for device /dev/disk/by-label/x.", "systemd[1]: Timed out waiting for device dev-vda1.device - /dev/vda1."},
		[]string{"A start job is running for /dev/ttyS0 (37s / 1min 30s)", "demo: Timed out waiting for device x", "Timed out waiting for device x."}},
	"stage1": {[]string{"Timed out waiting for device /dev/root, trying to mount anyway.", "stage-1-init: [Wed Oct  8 06:07:35 UTC 2025] Timed out waiting for device /dev/root, trying to mount anyway."},
		[]string{"waiting for device /dev/root to appear...", "echo Timed out waiting for device $device, trying to mount anyway."}},
	"alert":   {[]string{"ALERT!  /dev/vda1 does not exist.  Dropping to a shell!"}, []string{"ALERT! is what /dev/vda1 does not exist.  Dropping to a shell! means"}},
	"clock":   {[]string{"rtc_cmos 00:05: setting system clock to 2025-10-08T06:07:35 UTC (1759903655)", "rtc_cmos 00:00: setting system clock to 1970-01-01 00:00:00 UTC (0)"}, []string{"rtc_cmos 00:05: registered as rtc0", "demo: setting system clock to 1970"}},
	"hctosys": {[]string{"rtc_cmos 00:05: hctosys: unable to read the hardware clock"}, []string{"rtc_cmos 00:05: hctosys: reads the hardware clock"}},
	"hwclock": {[]string{"hwclock: Cannot access the Hardware Clock via any known method.", "demo[9]: hwclock: ioctl(RTC_RD_TIME) to /dev/rtc0 to read the time failed: Invalid argument", "stage-1-init: [Wed Oct  8 06:07:35 UTC 2025] hwclock: select() to /dev/rtc0 to wait for clock tick timed out"},
		[]string{"building save-hwclock.service", "hwclock: Use the --verbose option to see the details", "save-hwclock: Starting"}},
	"epoch":       {[]string{"systemd[1]: System time before build time, advancing clock.", "systemd[1]: System time advanced to built-in epoch: Wed 2025-10-08 06:07:35 UTC"}, []string{"systemd[1]: System time is fine", "demo: System time before build time, advancing clock."}},
	"crng":        {[]string{"random: crng init done", "random: crng init done (trusting CPU's manufacturer)", "random: crng done (trusting CPU's manufacturer)"}, []string{"random: fast init done", "random: crng init done later", "random: crng reseeded on system resumption"}},
	"rng-pci":     {[]string{"pci 0000:00:03.0: [1af4:1005] type 00 class 0x00ff00 conventional PCI endpoint", "pci 0000:00:03.0: [1af4:1044] type 00 class 0x00ff00"}, []string{"pci 0000:00:04.0: [1af4:1000] type 00 class 0x020000", "pci 0000:00:04.0: [1af4:1001] type 00"}},
	"rng-module":  {[]string{"systemd[1]: Inserted module 'virtio_rng'"}, []string{"systemd[1]: Inserted module 'autofs4'", "systemd[1]: Failed to insert module 'virtio_rng'"}},
	"rng-current": {[]string{"virtio_rng.0", "virtio_rng.0 tpm-rng-0"}, []string{"virtio_rng.ko", "cat: virtio_rng.0: No such file", "virtio_rng.0: x"}},
	"disk":        {[]string{"virtio_blk virtio2: [vda] 8388608 512-byte logical blocks (4.29 GB/4.00 GiB)", "sd 0:0:0:0: [sda] 64 512-byte logical blocks: (33 kB/32 KiB)"}, []string{"virtio_blk virtio2: 2/0/0 default/read/poll queues", "loop0: 64 512-byte logical blocks (33 kB/32 KiB)"}},
	"attached":    {[]string{"sd 0:0:0:0: [sdb] Attached SCSI disk"}, []string{"sd 0:0:0:0: Attached scsi generic sg0 type 0", "ses 0:0:0:0: [sdb] Attached SCSI Enclosure device"}},
	"cdrom":       {[]string{"sr 1:0:0:0: Attached scsi CD-ROM sr0"}, []string{"sr 1:0:0:0: [sr0] scsi3-mmc drive: 4x/4x cd/rw xa/form2 tray", "sr 1:0:0:0: Attached scsi generic sg1 type 5"}},
	"renamed":     {[]string{"virtio_net virtio1 ens4: renamed from eth0", "e1000 0000:00:03.0 lan: renamed from ens3"}, []string{"systemd-udevd[81]: ens4: Failed to rename", "demo: ens4: renamed from eth0 again"}},
	"registered":  {[]string{"e1000 0000:00:03.0 eth0: (PCI:33MHz:32-bit) 52:54:00:12:34:56", "8139cp 0000:00:03.0 eth0: RTL-8139C+ at 0x0, 52:54:00:12:34:56, IRQ 11"}, []string{"e1000 0000:00:03.0 eth0: Reset adapter", "e1000 0000:00:03.0 ens3: NIC Link is Up"}},
	"cpu-level":   {[]string{"This kernel requires an x86-64 CPU, but only detected an i686 CPU.", "This kernel requires the following features not present on the CPU:"}, []string{"This kernel requires patience", "demo: This kernel requires an x86-64 CPU"}},
	"trap":        {[]string{"traps: init[1] trap invalid opcode ip:7f00 sp:7ffc error:0 in ld.so[7f00+1]"}, []string{"traps: demo[81] trap int3 ip:0", "demo: trap invalid opcode ip:0"}},
	"sigill":      {[]string{"systemd[1]: Caught <ILL>, dumped core as pid 81.", "systemd[1]: demo.service: Main process exited, code=dumped, status=4/ILL"}, []string{"systemd[1]: demo.service: Main process exited, code=exited, status=4/NOPERMISSION", "systemd[1]: Caught <SEGV>, not ILL"}},
	"illegal":     {[]string{"Illegal instruction", "Illegal instruction     (core dumped) demo", "bash: line 3:   812 Illegal instruction     (core dumped) demo"}, []string{"Illegal instruction set", "no Illegal instruction here"}},
	"glibc":       {[]string{"Fatal glibc error: CPU does not support x86-64-v2", "demo[9]: Fatal glibc error: CPU does not support x86-64-v3"}, []string{"Fatal glibc error: CPU is fine", "grep 'Fatal glibc error: CPU does not support x86-64-v2'"}},
}

func TestPatterns(t *testing.T) {
	for _, q := range patterns {
		c, ok := patternLines[q.name]
		if !ok || len(c.match) == 0 || len(c.near) == 0 {
			t.Errorf("pattern %s: no line that matches, or none that nearly does", q.name)
		}
		for _, s := range c.match {
			if !strings.Contains(s, q.has) || !q.re.MatchString(s) {
				t.Errorf("pattern %s does not match %q", q.name, s)
			}
		}
		for _, s := range c.near {
			if q.re.MatchString(s) {
				t.Errorf("pattern %s matches %q", q.name, s)
			}
		}
	}
	if len(patternLines) != len(patterns) {
		t.Errorf("%d cases, %d patterns", len(patternLines), len(patterns))
	}
}

// read runs the analyzer on one artifact; it returns "fact subject=value" lines.
func read(t testing.TB, kind bundle.Kind, data string) (logs []*Log, stated string) {
	t.Helper()
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("a", kind, []byte(data))}}
	probe := &analyzers.Analyzer{Name: "probe", Doc: "Looks.", Requires: []*analyzers.Analyzer{Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
		logs = From(p)
		return nil, nil
	}}
	var b strings.Builder
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{probe}, nil).All() {
		if f.By == "kernel" {
			fmt.Fprintf(&b, "%s %s=%s\n", strings.TrimPrefix(f.Name, "kernel."), f.Subject, f.Value)
		}
		ev := f.Evidence[0]
		if ev.Start > ev.End || ev.End > int64(len(data)) {
			t.Fatalf("%s: span %+v", f.Name, ev)
		}
	}
	for _, p := range run.Problems {
		if p.Path == "" {
			t.Fatal(p.Text)
		}
	}
	return logs, b.String()
}

// lines are console lines and what is read of them: "seconds text" for each
// message.
var lines = []struct{ line, want string }{
	{"[    0.000000] Linux version 6", "0 Linux version 6"},
	{"[   12.377330][    T1] x: y", "12.37733 x: y"},
	{"<6>[   12.377330] x: y", "12.37733 x: y"},
	{"kern  :info  : [   12.377330] x: y", "12.37733 x: y"},
	{"[123456.377330] x", "123456.37733 x"},
	{"[   12.377330]", "12.37733 "},
	// Spliced: into a program's output, behind the login prompt, two together.
	{`/dev/vda: UUID="x" TYPE="ext4"[   12.377330] md0: x`, "12.37733 md0: x"},
	{"box login: [   12.377330] random: x", "12.37733 random: x"},
	{"[   12.377330] a[   12.377331] b", "12.37733 a|12.377331 b"},
	// Not the kernel speaking, or not now.
	{"[2025-10-12T01:13:59.576780+00:00] Serial output: [   12.377330] x", ""},
	{"2025-10-12T01:13:59.576780Z Exit 0, 517 lines: [   12.377330] x", ""},
	{"Mar 06 07:08:35 box demo[9]: [   12.377330] x", ""},
	{"[root@box:~]# echo [   12.377330] x", ""},
	{"$ [   12.377330] x", ""},
	{"echo '[   12.377330] x'", ""},
	{`grep "[   12.377330] x"`, ""},
	{"[  OK  ] Started x", ""},
	{"[12.377330] x", ""},
	{"[   12.37733] x", ""},
	{"[   12.377330]x", ""},
	{"[   1a.377330] x", ""},
	{"[   12.377330] box kernel: x", ""},
}

func TestLines(t *testing.T) {
	for _, c := range lines {
		logs, _ := read(t, bundle.Capture, c.line+"\n")
		var got []string
		for _, l := range logs {
			for _, m := range l.Messages {
				if m.Evidence.Quote == "" {
					t.Errorf("%q: no quote", c.line)
				}
				got = append(got, fmt.Sprintf("%v %s", m.Seconds, m.Text))
			}
		}
		want := c.want
		if strings.HasPrefix(c.line, "[   12.377330] box kernel:") {
			want = "12.37733 x" // the journal's own entry, once
		}
		if g := strings.Join(got, "|"); g != want {
			t.Errorf("%q: got %q, want %q", c.line, g, want)
		}
	}
}

func TestArgs(t *testing.T) {
	for line, want := range map[string]string{
		"":                      "",
		"a  b=c":                "a|b=c",
		`a "b=c d" e="f g" h`:   `a|b=c d|e="f g|h`,
		"console=tty0 -- a":     "console=tty0",
		"console=tty0 --x quot": "console=tty0|--x|quot",
	} {
		if got := strings.Join(args(line), "|"); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// TestMerged: what several native files hold stays in the order of the entries,
// whatever offsets they stand at.
func TestMerged(t *testing.T) {
	entry := func(seq uint64, message string) nativetest.Entry {
		return nativetest.Entry{Seqnum: seq, Realtime: 1741244915000000 + seq, Monotonic: seq * 1e6, Boot: 1,
			Fields: []string{"MESSAGE=" + message, "SYSLOG_IDENTIFIER=kernel", "_TRANSPORT=kernel"}}
	}
	run := &bundle.Run{}
	for path, es := range map[string][]nativetest.Entry{
		"system@1.journal": {entry(1, "one"), entry(2, "two"), entry(3, "three")},
		"system.journal":   {entry(4, "four"), entry(5, "five")},
	} {
		b, err := nativetest.Write(nativetest.Variants()[4], es)
		if err != nil {
			t.Fatal(err)
		}
		run.Artifacts = append(run.Artifacts, bundle.NewArtifact(path, bundle.NativeJ, b))
	}
	slices.SortFunc(run.Artifacts, func(a, b *bundle.Artifact) int { return strings.Compare(a.Path, b.Path) })
	var got []string
	probe := &analyzers.Analyzer{Name: "probe", Doc: "Looks.", Requires: []*analyzers.Analyzer{Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
		for _, l := range From(p) {
			for _, m := range l.Messages {
				got = append(got, m.Text)
			}
		}
		return nil, nil
	}}
	analyzers.Analyze(run, []*analyzers.Analyzer{probe}, nil)
	if g := strings.Join(got, " "); g != "one two three four five" {
		t.Errorf("got %s", g)
	}
}

// FuzzMessage: whatever a line says, the spans lie within it, messages keep
// their order, and the same line typed behind a prompt states nothing.
func FuzzMessage(f *testing.F) {
	for _, c := range lines {
		f.Add(c.line)
	}
	for _, c := range patternLines {
		for _, s := range append(c.match, c.near...) {
			f.Add("[    1.000000] " + s)
		}
	}
	f.Add("kern  :notice: [Wed Mar  4 03:06:18 2026] Linux version 6.12.9 (b@h)")
	f.Add("2026-03-04T03:06:18,123456+00:00 Linux version 6.12.9 (b@h)")
	f.Add("6,339,5140900,-,caller=T1;Linux version 6.12.9 (b@h)")
	f.Add("{\"dmesg\": [{\"pri\": 5, \"time\": 1.25, \"msg\": \"Linux version 6.12.9 (b@h)\"}]}")
	f.Fuzz(func(t *testing.T, s string) {
		read(t, bundle.Capture, "$ dmesg --json\n"+s)
		logs, _ := read(t, bundle.Serial, s)
		for _, l := range logs {
			for i, m := range l.Messages {
				if i > 0 && m.Evidence.Start < l.Messages[i-1].Evidence.Start {
					t.Fatalf("%q: out of order", s)
				}
			}
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
			return
		}
		if _, stated := read(t, bundle.Serial, "\x1b[?2004h[root@box:~]# "+s+"\r\n\x1b[?2004l\r"); stated != "" {
			t.Fatalf("typed %q states %s", s, stated)
		}
	})
}

// TestLinear: what a hostile artifact may hold in bulk stays affordable.
func TestLinear(t *testing.T) {
	const n = 1 << 20
	for name, data := range map[string]string{
		"stamps":   strings.Repeat("[    1.000000] ", n/15),
		"brackets": strings.Repeat("[", n),
		"oopses":   strings.Repeat("[    1.000000] Oops: x\n", n/23),
		"quotes":   "[    1.000000] Command line: " + strings.Repeat(`" `, n/2),
		"consoles": "[    1.000000] Command line: " + strings.Repeat("console=a ", n/10),
	} {
		t.Run(name, func(t *testing.T) { read(t, bundle.Dmesg, data) })
	}
}
