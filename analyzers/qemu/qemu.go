// Package qemu says what was run as the virtual machine, and what QEMU itself
// said about it.
//
// A Command is an argument vector taken apart: machine, devices, drives,
// network back ends. It is what was asked for, never what the guest found. A
// Launch is a Command with the place that shows it: an array in metadata, a
// line "QEMU command: …" of a harness log, or the arguments in a pexpect dump.
// A message is a line that QEMU wrote to its standard error; QEMU puts its
// name before each. Warnings are no errors, being told to end is no error, and
// an accelerator that is passed over for the next one was not refused.
//
// Commands come from the host's text only; a Python listing that builds an
// argument vector from variables is not one. Messages are taken from serial
// transcripts too, since a harness that owns QEMU's terminal records both
// there.
//
// Left out: files named by -readconfig, environment variables, the effect of
// -set and -global, QMP events, and everything that QEMU's version decides
// (defaults that differ between releases stay empty).
package qemu

import (
	"regexp"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/host/hosttext"
)

// Launch is one command and where it stands.
type Launch struct {
	*Command
	Evidence bundle.Evidence
	// arg returns the place of argument i.
	arg func(i int) bundle.Evidence
}

// Place returns where argument i stands.
func (l *Launch) Place(i int) bundle.Evidence { return l.arg(i) }

// NewLaunch takes the command apart that fact qemu.argv holds, nil when it is
// none; ev is where it stands as a whole.
func NewLaunch(command string, ev bundle.Evidence) *Launch {
	argv, ok := SplitCommand(command)
	if !ok || !isQEMU(argv) {
		return nil
	}
	return &Launch{Command: ParseArgv(argv), Evidence: ev, arg: func(int) bundle.Evidence { return ev }}
}

// From returns the commands that were run, metadata's first, then those of
// logs, each in the order of artifacts.
func From(p *analyzers.Pass) []*Launch {
	ls, _ := p.ResultOf[Analyzer].([]*Launch)
	return ls
}

// Analyzer states what was run as the virtual machine.
var Analyzer = &analyzers.Analyzer{
	Name: "qemu",
	Doc:  "Reads QEMU's command line, version, messages and exit from metadata, harness logs and transcripts.",
	Run:  run,
	Facts: []analyzers.FactType{
		{Name: "qemu.argv", Doc: "The command that was run as the virtual machine, quoted as for a shell."},
		{Name: "qemu.version", Doc: "QEMU's version number, as QEMU or the metadata says."},
		{Name: "qemu.error", Doc: "An error that QEMU reported, without the program's name.", Repeats: true},
		{Name: "qemu.refused", Doc: "The class of an error by which QEMU refuses to start.", Repeats: true, Values: refusals()},
		{Name: "qemu.terminated", Doc: "QEMU was told to end, and by what.", Repeats: true},
		{Name: "qemu.exit", Doc: "How QEMU's process ended: its exit status, or \"signal N\"."},
		{Name: "qemu.missing", Doc: "QEMU's program was not found; the message."},
		{Name: "qemu.kvm-failed", Doc: "KVM was asked for and refused or aborted; the message.", Repeats: true},
		{Name: "qemu.accel", Doc: "The accelerator asked for; kvm-or-tcg where the second may stand in, default where none is named.", Values: []string{"kvm", "tcg", "kvm-or-tcg", "default", "other"}},
		{Name: "qemu.cpu", Doc: "The CPU model asked for."},
		{Name: "qemu.memory", Doc: "The guest's memory in MiB, as asked for."},
		{Name: "qemu.firmware", Doc: "The firmware that starts the guest.", Values: []string{"bios", "uefi"}},
		{Name: "qemu.drive", Doc: "A drive and the interface it is attached to; cdrom for an optical disc.", Subject: "drive id, else the file's base name", Repeats: true, Values: interfaces},
		{Name: "qemu.netdev", Doc: "A network back end and its type.", Subject: "back end id", Repeats: true},
		{Name: "qemu.device", Doc: "A device and its properties.", Subject: "driver", Repeats: true},
		{Name: "qemu.denied", Doc: "The host denied QEMU access to KVM or a network device; the message.", Repeats: true},
		{Name: "iso.image", Doc: "Path of the boot image, as metadata, harness or command line says.", Repeats: true},
		{Name: "nix.store-path", Doc: "A store path of the boot image or its derivation, as nix wrote it.", Repeats: true},
		{Name: "nix.nar-hash", Doc: "The boot image's NAR hash, as nix wrote it."},
		{Name: "run.started", Doc: "When the run started, by metadata or by a harness's first time stamp.", Repeats: true},
		{Name: "run.ended", Doc: "When the run ended, by metadata or by a harness's last time stamp.", Repeats: true},
	},
}

type reader struct {
	*hosttext.Teller
	launches []*Launch
	problem  func(path, text string)
}

func run(p *analyzers.Pass) (any, error) {
	r := &reader{Teller: hosttext.NewTeller(p), problem: p.Problem}
	for _, l := range hosttext.Logs(p, bundle.Metadata, bundle.Manifest) {
		r.metadata(l)
	}
	for _, l := range hosttext.Logs(p, bundle.Serial, bundle.Harness, bundle.Capture) {
		r.log(l)
	}
	return r.launches, nil
}

// program matches the names of QEMU's programs: qemu-system-ARCH, Red Hat's
// qemu-kvm.
const program = `qemu-(?:system-[a-z0-9_]+|kvm)`

var programRe = regexp.MustCompile(`^(?:.*/)?` + program + `(?:\.exe)?$`)

// isQEMU reports whether argv starts a virtual machine.
func isQEMU(argv []string) bool { return len(argv) > 0 && programRe.MatchString(argv[0]) }

// maxLaunches bounds how many commands of one artifact are taken apart.
const maxLaunches = 64

// launch records argv and states what it asks for.
func (r *reader) launch(argv []string, whole []bundle.Evidence, arg func(i int) bundle.Evidence) {
	if !isQEMU(argv) || len(r.launches) >= maxLaunches {
		return
	}
	l := &Launch{Command: ParseArgv(argv), Evidence: whole[0], arg: arg}
	r.launches = append(r.launches, l)
	r.State("qemu.argv", "", Join(argv), whole...)
	r.machine(l)
	for _, d := range l.Drives {
		if file := d.File; strings.HasSuffix(file, ".iso") {
			r.State("iso.image", "", file, arg(d.Arg))
		}
		r.State("qemu.drive", d.name(), d.Interface(), arg(d.Arg))
	}
	for _, n := range l.Netdevs {
		r.State("qemu.netdev", n.ID, n.Type, arg(n.Arg))
	}
	for _, d := range l.Devices {
		r.State("qemu.device", d.Driver, d.Text, arg(d.Arg))
	}
}

// machine states what the command asks of the machine as a whole.
func (r *reader) machine(l *Launch) {
	at := func(option string) bundle.Evidence {
		if i, ok := l.at[option]; ok {
			return l.arg(i)
		}
		return l.Evidence
	}
	r.State("qemu.accel", "", l.accelerator(), at("accel"))
	if l.CPU != "" {
		r.State("qemu.cpu", "", l.CPU, at("cpu"))
	}
	if l.MemoryMiB > 0 {
		r.State("qemu.memory", "", itoa(l.MemoryMiB), at("memory"))
	}
	if l.Firmware != "" {
		r.State("qemu.firmware", "", l.Firmware, at("firmware"))
	}
}

// stamp returns a time stamp in RFC 3339, UTC, to the second; "" when it is
// none.
func stamp(s string) string {
	s = strings.Replace(strings.Replace(s, " ", "T", 1), ",", ".", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 1970 {
			return t.UTC().Format(time.RFC3339)
		}
	}
	return ""
}
