package kernel

import (
	"regexp"

	"forensics/analyzers"
)

var facts = []analyzers.FactType{
	{Name: "kernel.booted", Doc: "The kernel printed messages.", Values: []string{"yes"}},
	{Name: "kernel.version", Doc: "The kernel's release, as in its first line."},
	{Name: "kernel.cmdline", Doc: "The whole command line that the kernel was started with."},
	{Name: "kernel.console", Doc: "A console= of the kernel's command line (ttyS0,115200n8), in their order; the last one is /dev/console.", Repeats: true},
	{Name: "kernel.cpu", Doc: "The processor's model, as the kernel sees it."},
	{Name: "kernel.hypervisor", Doc: "What the guest found itself running under. kvm: a KVM signature; qemu: systemd saw QEMU and no KVM; none: the kernel found no hypervisor that it knows, which is also so under QEMU's software emulation.",
		Values: []string{"kvm", "qemu", "xen", "vmware", "microsoft", "oracle", "amazon", "google", "bochs", "parallels", "bhyve", "none"}, Transient: []string{"none"}},
	{Name: "kernel.panic", Doc: "The kernel panicked; the value is the reason it gave.", Repeats: true},
	{Name: "kernel.oops", Doc: "A fault within the kernel; the value is its first line.", Repeats: true},
	{Name: "kernel.lockup", Doc: "The kernel saw a processor or task that makes no progress: soft or hard lockup, an RCU stall, a hung task, a stuck work queue.", Values: []string{"soft", "hard", "rcu", "task", "workqueue"}, Repeats: true},
	{Name: "kernel.oom", Doc: "The kernel killed a process because memory ran out; the value is the process's name.", Repeats: true},
	{Name: "kernel.nodevice", Doc: "A device that the boot needs did not appear; the value is the line that says so.", Subject: "device", Repeats: true},
	{Name: "kernel.clock", Doc: "The system clock at boot. set: from a hardware clock with a plausible date; bad: that date is before 2015, the hardware clock could not be read, or systemd found the time before its own build.",
		Values: []string{"set", "bad"}, Transient: []string{"set"}},
	{Name: "kernel.crng", Doc: "The random number generator was ready; the value is the time since boot in seconds."},
	{Name: "kernel.virtio-rng", Doc: "The guest saw a virtio random number generator.", Values: []string{"seen"}},
	{Name: "kernel.disk", Doc: "The kernel attached a disk; the value is its size, or \"attached\" where no line gives one.", Subject: "disk", Repeats: true},
	{Name: "kernel.cdrom", Doc: "The kernel attached an optical drive.", Subject: "drive", Values: []string{"attached"}, Repeats: true},
	{Name: "kernel.nic", Doc: "A network interface of that name came up or was renamed to it; the value is its driver.", Subject: "interface", Repeats: true},
	{Name: "kernel.badcpu", Doc: "The processor lacks what the kernel or a program needs; the value is the line that says so.", Repeats: true},
}

// pattern is something that a message may say.
type pattern struct {
	name string // for the tests
	by   source // who must say it
	has  string // text that every match has: looked for first
	re   *regexp.Regexp
	say  func(s *stater, m *said, sub []string)
}

// A prefix that programs put before their words: the first stage of NixOS
// ("stage-1-init: [Thu Dec 25 23:42:03 UTC 2025] "), a shell's or program's
// name in the journal or ring buffer.
const speaker = `^(?:[\w.@-]+(?:\[\d+\])?: )?(?:\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \w+ \d{4}\] )?`

// patterns are tried in order on every message.
var patterns = []pattern{
	// init/version-timestamp.c, linux_banner.
	{"version", ring, "Linux version ", regexp.MustCompile(`^Linux version (\d+\.\d+\S*) \(`), func(s *stater, m *said, sub []string) {
		s.state("kernel.version", "", sub[1], m)
	}},
	// arch/x86/kernel/setup.c, and init/main.c for every architecture.
	{"cmdline", ring, "ommand line: ", regexp.MustCompile(`^(?:Kernel c|C)ommand line: (.+)$`), (*stater).cmdline},
	// arch/x86/kernel/smpboot.c.
	{"cpu", ring, "smpboot: CPU0: ", regexp.MustCompile(`^smpboot: CPU0: (.+?) \(family: `), func(s *stater, m *said, sub []string) {
		s.state("kernel.cpu", "", sub[1], m)
	}},
	// arch/x86/kernel/cpu/hypervisor.c, with the names of the x86_hyper_* there.
	{"hypervisor", ring, "Hypervisor detected: ", regexp.MustCompile(`^Hypervisor detected: (KVM|VMware|Microsoft Hyper-V|Xen \w+)$`), (*stater).hypervisor},
	// arch/x86/kernel/paravirt.c; pv_info.name.
	{"paravirt", ring, "Booting paravirtualized kernel ", regexp.MustCompile(`^Booting paravirtualized kernel on (KVM|Hyper-V|VMware hypervisor|Xen\b.*|bare hardware)$`), (*stater).hypervisor},
	// systemd, src/core/main.c; the names are those of systemd-detect-virt.
	{"virtualization", ring | entry, "Detected virtualization ", regexp.MustCompile(`^systemd\[1\]: Detected virtualization (kvm|qemu|xen|vmware|microsoft|oracle|amazon|google|bochs|parallels|bhyve)\.$`), (*stater).hypervisor},

	// kernel/panic.c.
	{"panic", ring | bare, "Kernel panic - not syncing: ", regexp.MustCompile(`^Kernel panic - not syncing: (.+)$`), (*stater).panic},
	// arch/x86/mm/fault.c, lib/bug.c ("kernel BUG at"), mm/page_alloc.c ("BUG: Bad
	// page state"), arch/arm64/mm/fault.c. What "BUG:" says of lockups is not a
	// fault, see below; "traps: x[1] general protection" is a program's.
	{"oops", ring, "", regexp.MustCompile(`^(?:BUG: (?:unable to handle|kernel NULL|Bad page|KASAN|scheduling while atomic|stack guard|sleeping function).*|kernel BUG at \S+:\d+!|Unable to handle kernel .+|Oops: .+|(?:general protection fault|invalid opcode|stack segment|double fault|int3|divide error)\b.*: [0-9a-f]{4} \[#\d+\].*)$`), (*stater).oops},
	// kernel/watchdog.c.
	{"soft", ring, "soft lockup", regexp.MustCompile(`^(?:(?:NMI )?watchdog: )?BUG: soft lockup - CPU#\d+ stuck for `), lockup("soft")},
	// kernel/watchdog.c; watchdog_hardlockup_check.
	{"hard", ring, "LOCKUP", regexp.MustCompile(`^(?:(?:NMI )?watchdog: )?(?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu \d+`), lockup("hard")},
	// kernel/rcu/tree_stall.h.
	{"rcu", ring, "stall", regexp.MustCompile(`^(?:rcu: )?INFO: rcu_\w+ (?:self-detected stall on CPU|detected (?:expedited )?stalls on CPUs/tasks)`), lockup("rcu")},
	// kernel/hung_task.c.
	{"task", ring, "blocked for more than ", regexp.MustCompile(`^INFO: task \S+:\d+ blocked for more than \d+ seconds`), lockup("task")},
	// kernel/workqueue.c.
	{"workqueue", ring, "workqueue lockup", regexp.MustCompile(`^BUG: workqueue lockup - pool`), lockup("workqueue")},
	// mm/oom_kill.c, __oom_kill_process; before 5.3 "Kill process … score".
	{"oom", ring, "ut of memory: Kill", regexp.MustCompile(`^(?:Memory cgroup o|O)ut of memory: Kill(?:ed)? process \d+ \((.+?)\) `), func(s *stater, m *said, sub []string) {
		s.state("kernel.oom", "", sub[1], m)
	}},

	// init/do_mounts.c. The panic that follows says the same of unknown-block.
	{"rootfs", ring, "VFS: ", regexp.MustCompile(`^(?:Kernel panic - not syncing: )?VFS: (?:Unable to mount root fs (?:on|via \w+ on) (\S+)|Cannot open root device "([^"]+)")`), (*stater).nodevice},
	// systemd, src/core/device.c: status line on the console, or a log message.
	{"timeout", ring | program, "imed out waiting for device ", regexp.MustCompile(`^(?:\[ ?TIME ?\] |systemd\[1\]: )Timed out waiting for device (\S.*?)\.?$`), (*stater).nodevice},
	// NixOS, stage-1-init.sh, waitDevice.
	{"stage1", ring | program, "trying to mount anyway", regexp.MustCompile(speaker + `Timed out waiting for device (\S+), trying to mount anyway\.$`), (*stater).nodevice},
	// initramfs-tools, scripts/local.
	{"alert", ring | program, "does not exist.  Dropping to a shell!", regexp.MustCompile(`^ALERT!  (\S+) does not exist\.  Dropping to a shell!$`), (*stater).nodevice},

	// drivers/rtc/class.c, rtc_hctosys; before 5.0 without the T.
	{"clock", ring, "setting system clock to ", regexp.MustCompile(`^\S+ \S+ setting system clock to (\d{4})-\d\d-\d\d[T ]\d\d:\d\d:\d\d`), func(s *stater, m *said, sub []string) {
		s.clock(m, sub[1] < "2015")
	}},
	{"hctosys", ring, "hctosys: ", regexp.MustCompile(`^\S+ \S+ hctosys: unable to read the hardware clock`), badClock},
	// util-linux, sys-utils/hwclock.c and hwclock-rtc.c.
	{"hwclock", ring | program, "hwclock: ", regexp.MustCompile(speaker + `\S*hwclock: (?:Cannot access the Hardware Clock via any known method|[Cc]annot open /dev/rtc\S*|ioctl\(\S+\) to \S+.* failed|select\(\) to \S+.*timed out|settimeofday\(\) failed)`), badClock},
	// systemd, src/core/main.c and src/shared/clock-util.c: the clock stood
	// before the day systemd was built.
	{"epoch", ring | entry, "ystem time ", regexp.MustCompile(`^systemd\[1\]: System time (?:before build time, advancing clock|advanced to built-in epoch: |is further ahead than \S+ after build time)`), badClock},

	// drivers/char/random.c; "crng done (trusting…)" from 4.19 to 5.17. A journal
	// without times since boot cannot say when.
	{"crng", ring, "random: crng ", regexp.MustCompile(`^random: crng (?:init )?done(?: \(trusting .+\))?$`), (*stater).crng},
	// drivers/pci/probe.c; 1af4:1005 and 1af4:1044 are the entropy source, virtio
	// specification 5.4 and 4.1.2.
	{"rng-pci", ring, ": [1af4:10", regexp.MustCompile(`^pci \S+: \[1af4:10(?:05|44)\] type `), virtioRNG},
	// systemd, src/core/kmod-setup.c: loads it where the device is there.
	{"rng-module", ring | entry, "'virtio_rng'", regexp.MustCompile(`^systemd\[1\]: Inserted module 'virtio_rng'`), virtioRNG},
	// The name that drivers/char/hw_random/virtio-rng.c registers, as
	// /sys/class/misc/hw_random/rng_current and rng_available show it.
	{"rng-current", bare, "virtio_rng.", regexp.MustCompile(`^virtio_rng\.\d+(?: [\w.-]+)*$`), virtioRNG},

	// drivers/block/virtio_blk.c and drivers/scsi/sd.c; string_get_size.
	{"disk", ring, " logical blocks", regexp.MustCompile(`^(?:virtio_blk virtio\d+|sd [\d:]+): \[(vd[a-z]+|sd[a-z]+)\] \d+ \d+-byte logical blocks:? \(([^()]+)\)$`), func(s *stater, m *said, sub []string) {
		s.sized[sub[1]] = true
		s.state("kernel.disk", sub[1], sub[2], m)
	}},
	// drivers/scsi/sd.c.
	{"attached", ring, "] Attached SCSI ", regexp.MustCompile(`^sd [\d:]+: \[(sd[a-z]+)\] Attached SCSI (?:removable )?disk$`), func(s *stater, m *said, sub []string) {
		if !s.sized[sub[1]] {
			s.state("kernel.disk", sub[1], "attached", m)
		}
	}},
	// drivers/scsi/sr.c.
	{"cdrom", ring, "Attached scsi CD-ROM ", regexp.MustCompile(`^sr [\d:]+: Attached scsi CD-ROM (sr\d+)$`), func(s *stater, m *said, sub []string) {
		s.state("kernel.cdrom", sub[1], "attached", m)
	}},
	// net/core/dev.c, dev_change_name, through netdev_printk: driver, bus name,
	// new name.
	{"renamed", ring, ": renamed from ", regexp.MustCompile(`^(\S+) \S+ ([^\s:]+): renamed from [^\s:]+$`), (*stater).nic},
	// drivers/net/ethernet/intel/e1000*/ and realtek/8139*: the registered
	// interface with its bus or card.
	{"registered", ring, " eth", regexp.MustCompile(`^(e1000e?|8139cp|8139too|igb|pcnet32) \S+ (eth\d+): (?:\(PCI|Intel\(R\) PRO/1000|RTL-?\d+|RealTek RTL)`), (*stater).nic},

	// arch/x86/boot/cpu.c: before there is a console driver, hence no stamp.
	{"cpu-level", bare, "This kernel requires ", regexp.MustCompile(`^This kernel requires (?:an? \S+ CPU, but only detected an? \S+ CPU|the following features not present on the CPU)`), (*stater).badCPU},
	// arch/x86/kernel/traps.c, do_trap: a program met an instruction that the
	// processor does not have.
	{"trap", ring, "trap invalid opcode", regexp.MustCompile(`^traps: .+\[\d+\] trap invalid opcode ip:`), (*stater).badCPU},
	// systemd, src/core/crash-handler.c, and the exit of a service.
	{"sigill", ring | program, "ILL", regexp.MustCompile(`^systemd\[1\]: (?:Caught <ILL>|\S+: (?:Main|Control) process exited, code=(?:dumped|killed), status=4/ILL)`), (*stater).badCPU},
	// bash, for a command that SIGILL ended; interactive and in a script.
	{"illegal", ring | program, "Illegal instruction", regexp.MustCompile(`^(?:\S+: line \d+: +\d+ )?Illegal instruction +\(core dumped\)|^Illegal instruction$`), (*stater).badCPU},
	// glibc, sysdeps/x86/dl-get-cpu-features.c.
	{"glibc", ring | program, "Fatal glibc error: CPU ", regexp.MustCompile(speaker + `Fatal glibc error: CPU does not support x86-64-v\d`), (*stater).badCPU},
}
