package qemu

import (
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
)

// message is one line that QEMU wrote about itself.
type message struct {
	text  string // without the program's name
	class string // of a refusal, "" for other errors
	ev    bundle.Evidence
}

// messages are those of one artifact.
type messages struct{ list []message }

// maxMessages bounds the messages kept of one artifact.
const maxMessages = 256

// refusal is a message by which QEMU ends before the guest starts.
type refusal struct {
	class string
	re    *regexp.Regexp
}

// refusalTable holds the wordings of QEMU's sources; the first that matches
// counts. Each was provoked with QEMU 7.2, or stands in the file named.
var refusalTable = []refusal{
	// net/slirp.c
	{"hostfwd", regexp.MustCompile(`[Cc]ould not set up host forwarding rule|Invalid host forwarding rule`)},
	// block/file-posix.c
	{"lock", regexp.MustCompile(`Failed to get (?:shared )?"[\w ]+" lock|Failed to lock byte \d+`)},
	// accel/kvm/kvm-all.c, system/vl.c, target/i386/cpu.c
	{"accel", regexp.MustCompile(`[Ff]ailed to initialize (?:kvm|KVM|hvf|HVF|xen|WHPX|whpx|NVMM)|Could not access KVM kernel module|invalid accelerator |requires KVM|kvm_init_vcpu|ioctl\(KVM_CREATE_VM\) failed`)},
	// softmmu/physmem.c, util/mmap-alloc.c, hw/i386/pc.c
	{"memory", regexp.MustCompile(`cannot set up guest memory|unable to map backing store for guest RAM|at most \d+ MB RAM can be simulated|ram size too large|[Ii]nvalid RAM size`)},
	// hw/i386/x86.c, hw/core/loader.c, hw/i386/pc_sysfw.c
	{"firmware", regexp.MustCompile(`could not load (?:PC )?BIOS|[Cc]ould not find ROM image|failed to find romfile|combined size of system firmware|option rom`)},
	// system/qdev-monitor.c, qom/object.c
	{"device", regexp.MustCompile(`is not a valid device model name|Parameter 'driver' expects|Property '[^']+' (?:not found|can't find value|can't take value)|[Nn]o '[^']+' bus found for device|^-device [^:]*: Device '[^']+' not found|unsupported bus type`)},
	// net/net.c, net/tap-linux.c, net/tap.c
	{"netdev", regexp.MustCompile(`^-(?:netdev|nic|net) .*(?:Parameter 'type' (?:does not accept|expects)|is not compiled into this binary)|[Cc]ould not (?:open|configure) /dev/net/tun|bridge helper failed|failed to launch bridge helper|network script \S+ failed`)},
	// hw/core/machine.c, qom, target/*/cpu.c
	{"machine", regexp.MustCompile(`unsupported machine type|unable to find CPU model|Invalid SMP CPUs|[Ii]nvalid SMP`)},
	// chardev/*.c, util/qemu-sockets.c
	{"chardev", regexp.MustCompile(`Failed to (?:bind socket|find an available port|connect to) |could not connect serial device to character backend`)},
	// ui/console.c
	{"display", regexp.MustCompile(`Display '[^']+' is not available|(?:gtk|SDL) initialization failed`)},
	// block.c, hw/core/loader.c, hw/i386/x86.c
	{"image", regexp.MustCompile(`Could not open '[^']*'|[Cc]ould not open (?:kernel|disk image|initrd)|could not load (?:kernel|initrd)|Image is not in \S+ format|driver requires '[^']*' to be|A block device must be specified|Must specify either driver or file|[Ee]rror loading .*kernel`)},
	// system/vl.c, util/qemu-option.c
	{"option", regexp.MustCompile(`: invalid option$|requires an argument$|Invalid parameter '|Parameter '[^']+' (?:expects|is missing|does not accept)|Invalid boot device`)},
}

// refusals are the classes, for the declaration.
func refusals() []string {
	var list []string
	for _, r := range refusalTable {
		list = append(list, r.class)
	}
	return list
}

func classify(text string) string {
	for _, r := range refusalTable {
		if r.re.MatchString(text) {
			return r.class
		}
	}
	return ""
}

var (
	// error_report puts the program's name before a message; "qemu:" is what
	// the loaders of BIOS and kernel write.
	nameRe = regexp.MustCompile(`(?:\S*/)?(?:` + program + `(?:\.exe)?|qemu): `)
	// Written without the program's name by kvm-all.c: before 4.x, and on an
	// abort.
	bareRe = regexp.MustCompile(`^(?:Could not access KVM kernel module: .+|failed to initialize KVM: .+|KVM internal error\. Suberror: \d+.*|ioctl\(KVM_CREATE_VM\) failed: .+)$`)
	// os_setup_signal_handling, qemu_kill_report.
	terminatedRe = regexp.MustCompile(`^terminating on signal (\d+)(?: from pid \d+(?: \([^)]*\))?)?`)
	// warn_report and info_report put the severity behind the location.
	mildRe = regexp.MustCompile(`^(?:-.*: )?(?:warning|info): `)
	// Not severe although error_report wrote them: libslirp's log, a tap
	// feature that the host's kernel lacks.
	noiseRe = regexp.MustCompile(`^Slirp: |TUNSETSTEERINGEBPF`)
	// KVM gave up after it was asked for: refused, or aborted on an MSR that
	// a nested hypervisor does not let it set.
	kvmRe = regexp.MustCompile(`Could not access KVM kernel module|[Ff]ailed to initialize (?:kvm|KVM)|KVM internal error|kvm_init_vcpu|ioctl\(KVM_CREATE_VM\) failed|failed to [gs]et MSR 0x|kvm_buf_[gs]et_msrs|kvm_[gp]ut_msrs: Assertion`)
	// An error number's text, on the device files of KVM and tun.
	deniedRe = regexp.MustCompile(`(?:/dev/net/tun|/dev/kvm|KVM kernel module|initialize (?:kvm|KVM)).*(?:Permission denied|Operation not permitted)`)
)

// add takes one line. Behind other text in a line only a message whose wording
// is known counts.
func (ms *messages) add(line string, at func(part string) bundle.Evidence) {
	if len(ms.list) >= maxMessages {
		return
	}
	if bareRe.MatchString(line) {
		ms.list = append(ms.list, message{line, classify(line), at(line)})
		return
	}
	loc := nameRe.FindStringIndex(line)
	if loc == nil || loc[1] == len(line) {
		return
	}
	if strings.HasSuffix(line[:loc[0]], ": ") || strings.HasSuffix(line, ": command not found") || strings.HasSuffix(line, ": not found") {
		return // a shell's message about QEMU
	}
	text := line[loc[1]:]
	inside := loc[0] > 0
	if inside { // a repr of the text: what follows is not the message
		text, _, _ = strings.Cut(text, `\r`)
		text, _, _ = strings.Cut(text, `\n`)
	}
	class := classify(text)
	bare := strings.HasSuffix(line[:loc[1]], "qemu: ") && !strings.Contains(line[loc[0]:loc[1]], "-")
	if (inside || bare) && class == "" && !terminatedRe.MatchString(text) {
		return
	}
	ms.list = append(ms.list, message{text, class, at(line[loc[0] : loc[1]+len(text)])})
}

// state states the messages. What an accelerator said that QEMU then passed
// over for the next one is no error.
func (ms *messages) state(r *reader) {
	fell := -1
	for i, m := range ms.list {
		if strings.HasPrefix(m.text, "falling back to ") {
			fell = i
		}
	}
	for i, m := range ms.list {
		switch t := terminatedRe.FindStringSubmatch(m.text); {
		case t != nil:
			r.State("qemu.terminated", "", strings.TrimPrefix(t[0], "terminating on "), m.ev)
		case mildRe.MatchString(m.text) || noiseRe.MatchString(m.text) || i == fell || i < fell && m.class == "accel":
		default:
			r.failure(m)
		}
	}
}

func (r *reader) failure(m message) {
	r.State("qemu.error", "", m.text, m.ev)
	if m.class != "" {
		r.State("qemu.refused", "", m.class, m.ev)
	}
	if kvmRe.MatchString(m.text) {
		r.State("qemu.kvm-failed", "", m.text, m.ev)
	}
	if deniedRe.MatchString(m.text) {
		r.State("qemu.denied", "", m.text, m.ev)
	}
}
