package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Accel is what executes the guest's instructions.
type Accel string

// The accelerators. AccelAuto is settled by [ChooseAccel] before a start.
const (
	AccelAuto Accel = "auto"
	AccelKVM  Accel = "kvm"
	AccelTCG  Accel = "tcg"
)

// Disk is one hard disk of the machine.
type Disk struct {
	Path   string
	Size   int64  // bytes, for Create
	Format string // raw or qcow2; "" is raw
	Bus    string // virtio, scsi, ide, nvme, or none: not attached; "" is virtio
	// Snapshot: what the guest writes goes to a temporary file of QEMU's, and is
	// dropped with it.
	Snapshot bool
}

// Firmware is a UEFI firmware image. Code is what the CPU runs; Vars is the
// template of its variable store, "" where Code holds both.
type Firmware struct {
	Code, Vars string
}

// Options describe one machine. The zero value of a field is QEMU's own default
// or absence; [Default] gives the usual machine.
type Options struct {
	QEMU     string // program, found in PATH; "" is qemu-system-x86_64
	Memory   int    // MiB; 0 is 2048
	CPUs     int    // 0 is 2
	CPU      string // model; "" is host under kvm, else QEMU's default
	Machine  string // "" is QEMU's default (pc)
	Accel    Accel  // "" and auto run as tcg
	UEFI     bool   // else BIOS
	Firmware Firmware

	ISO   string // put into the optical drive and booted
	Disks []Disk // the blank one first

	RNG      bool   // a virtio-rng device
	Network  string // user (with DHCP) or none; "" is none
	SSHPort  int    // loopback port that leads to port 22 of the guest; 0: a free one, see [VM.SSHPort]; -1: no such port
	VsockCID uint32 // the guest's vsock address, 3 or more; 0 is none
	Journal  bool   // the virtio-serial port for [VM.Receive]

	Kernel, Initrd, Append string   // boot this kernel instead of the ISO's
	FWCfg                  []string // -fw_cfg arguments, such as name=opt/org.forensics/fault,string=x
	SMBIOS                 []string // values of SMBIOS type 11 strings, such as io.systemd.credential:NAME=VALUE

	Paused bool     // leave the CPUs stopped, until [VM.Cont]
	Extra  []string // the user's own arguments, last so that they win
}

// Default returns the usual machine, without an image and a disk.
func Default() Options {
	return Options{Memory: defaultMemory, CPUs: defaultCPUs, Accel: AccelAuto, RNG: true, Network: "user", Journal: true}
}

const (
	defaultProgram = "qemu-system-x86_64"
	defaultMemory  = 2048 // MiB: a NixOS installer unpacks its initrd and overlays a tmpfs
	defaultCPUs    = 2
)

// JournalPort is the name of the virtio-serial port, JournalDevice the path that
// udev gives it in the guest.
const (
	JournalPort   = "org.forensics.journal"
	JournalDevice = "/dev/virtio-ports/" + JournalPort
)

// VsockDevice is QEMU's device behind [Options].VsockCID.
const VsockDevice = "vhost-vsock-pci"

// Names of the sockets in the private directory: one letter, since a socket's
// path is limited to 104 bytes (macOS) or 108 (Linux).
const (
	serialSocket  = "s"
	journalSocket = "j"
	monitorSocket = "m"
)

// Command returns the argv of a machine whose sockets lie in dir. It is a pure
// function: nothing is looked up, created or checked.
func Command(o Options, dir string) []string {
	argv := []string{or(o.QEMU, defaultProgram), "-name", "forensics"}
	add := func(args ...string) { argv = append(argv, args...) }
	if o.Machine != "" {
		add("-machine", o.Machine)
	}
	add(accelArgs(o)...)
	add("-m", strconv.Itoa(or(o.Memory, defaultMemory)), "-smp", strconv.Itoa(or(o.CPUs, defaultCPUs)))
	// -monitor none: only QMP may steer the machine. -no-reboot: a reset ends the
	// recording of one boot.
	add("-display", "none", "-monitor", "none", "-no-reboot")
	if o.UEFI {
		add(firmwareArgs(o.Firmware)...)
	}
	add(bootArgs(o)...)
	for i, d := range o.Disks {
		add(diskArgs(i, d)...)
	}
	if o.RNG {
		add("-device", "virtio-rng-pci")
	}
	add(networkArgs(o)...)
	if o.VsockCID != 0 {
		add("-device", fmt.Sprintf("%s,guest-cid=%d", VsockDevice, o.VsockCID))
	}
	for _, v := range o.FWCfg {
		add("-fw_cfg", v)
	}
	for _, v := range o.SMBIOS {
		add("-smbios", "type=11,value="+comma(v))
	}
	add("-chardev", chardev("serial0", dir, serialSocket), "-serial", "chardev:serial0")
	if o.Journal {
		add("-device", "virtio-serial-pci,id=vserial0",
			"-chardev", chardev("journal0", dir, journalSocket),
			"-device", "virtserialport,bus=vserial0.0,chardev=journal0,name="+JournalPort)
	}
	add("-chardev", chardev("qmp0", dir, monitorSocket), "-mon", "chardev=qmp0,mode=control", "-S")
	return append(argv, o.Extra...)
}

func accelArgs(o Options) []string {
	args := []string{"-accel", "tcg,thread=multi"}
	cpu := o.CPU
	if o.Accel == AccelKVM {
		args = []string{"-accel", "kvm"}
		// QEMU's default model lacks what x86-64-v2 systems need to boot, and
		// hides from the run what the host's CPU has.
		cpu = or(cpu, "host")
	}
	if cpu != "" {
		args = append(args, "-cpu", cpu)
	}
	return args
}

// firmwareArgs maps the firmware as flash. The variables are a snapshot, so that
// one boot leaves nothing for the next and needs no copy of the template.
func firmwareArgs(f Firmware) []string {
	if f.Vars == "" {
		return []string{"-bios", f.Code}
	}
	return []string{
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + file(f.Code),
		"-drive", "if=pflash,unit=1,format=raw,snapshot=on,file=" + file(f.Vars),
	}
}

func bootArgs(o Options) []string {
	var args []string
	switch {
	case o.ISO != "":
		args = append(args, "-boot", "d", "-cdrom", protocol(o.ISO))
	case o.Kernel == "":
		args = append(args, "-boot", "c")
	}
	for _, kv := range [][2]string{{"-kernel", o.Kernel}, {"-initrd", o.Initrd}, {"-append", o.Append}} {
		if kv[1] != "" {
			args = append(args, kv[0], kv[1])
		}
	}
	return args
}

func diskArgs(i int, d Disk) []string {
	drive := "file=" + file(d.Path) + ",format=" + or(d.Format, "raw")
	if d.Snapshot {
		drive += ",snapshot=on"
	}
	id := fmt.Sprintf("disk%d", i)
	apart := []string{"-drive", drive + ",if=none,id=" + id, "-device"}
	switch d.Bus {
	case "none":
		return nil
	case "scsi":
		controller := fmt.Sprintf("scsi%d", i)
		return append(apart, "virtio-scsi-pci,id="+controller, "-device", "scsi-hd,bus="+controller+".0,drive="+id)
	case "nvme":
		return append(apart, "nvme,drive="+id+",serial="+id)
	}
	return []string{"-drive", drive + ",if=" + or(d.Bus, "virtio")}
}

func networkArgs(o Options) []string {
	if o.Network != "user" {
		return []string{"-nic", "none"}
	}
	net := "user,id=net0"
	if o.SSHPort >= 0 {
		net += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:22", o.SSHPort)
	}
	return []string{"-netdev", net, "-device", "virtio-net-pci,netdev=net0"}
}

// chardev makes QEMU the client of our socket. Without reconnect= it connects
// once, at its start, and fails where nobody listens.
func chardev(id, dir, name string) string {
	return "socket,id=" + id + ",path=" + comma(filepath.Join(dir, name))
}

func file(path string) string { return comma(protocol(path)) }

// comma doubles commas, QEMU's way to quote them in an option's value.
func comma(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// protocol keeps QEMU from reading the start of a relative path as a protocol
// ("2025-01-01T10:00.iso").
func protocol(path string) string {
	if c := strings.IndexByte(path, ':'); c > 0 && !strings.ContainsRune(path[:c], '/') && !filepath.IsAbs(path) {
		return "./" + path
	}
	return path
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// firmwares are the usual places of OVMF, split images first: a file that holds
// code and variables in one cannot be mapped as flash beside read-only code.
var firmwares = []Firmware{
	{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},         // Debian 12, Ubuntu
	{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},               // Debian 11, Fedora's link
	{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},     // Fedora
	{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"}, // Arch
	{"/run/libvirt/nix-ovmf/OVMF_CODE.fd", "/run/libvirt/nix-ovmf/OVMF_VARS.fd"},   // NixOS with libvirt
	{"/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"},   // QEMU's own, as built from source
	{"/usr/share/ovmf/OVMF.fd", ""},                                                // Debian, in one
	{"/usr/share/qemu/OVMF.fd", ""},                                                // Debian's link
	{"/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"},
}

// FindFirmware returns the first UEFI firmware found: beside the QEMU program,
// as Nix installs it, then in the places of distributions. The error names
// every path tried and the packages that have one.
func FindFirmware(qemu string) (Firmware, error) {
	places := firmwares
	if p, err := lookProgram(qemu); err == nil {
		share := filepath.Join(filepath.Dir(filepath.Dir(p)), "share", "qemu")
		places = append([]Firmware{{filepath.Join(share, "edk2-x86_64-code.fd"), filepath.Join(share, "edk2-i386-vars.fd")}}, places...)
	}
	return findFirmware(places)
}

func findFirmware(places []Firmware) (Firmware, error) {
	var tried []string
	for _, f := range places {
		if regular(f.Code) && (f.Vars == "" || regular(f.Vars)) {
			return f, nil
		}
		tried = append(tried, f.Code)
	}
	return Firmware{}, fmt.Errorf("no UEFI firmware: install ovmf (Debian), edk2-ovmf (Fedora, Arch) or OVMF.fd (Nix); looked for %s", strings.Join(tried, ", "))
}

func regular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
