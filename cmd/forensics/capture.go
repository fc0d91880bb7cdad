package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"forensics/cmd/forensics/internal/capture"
	"forensics/cmd/forensics/internal/capture/forward"
	"forensics/cmd/forensics/internal/capture/probe"
	"forensics/cmd/forensics/internal/capture/vm"
	"forensics/cmd/forensics/internal/report"
	"forensics/cmd/forensics/internal/tty"
	"forensics/rules"
)

// captureFlags are the options of the command that boots.
type captureFlags struct {
	analyze analyzeFlags // how the bundle is judged in the end

	iso, flake, output           string
	only                         []string
	need                         string
	probes                       []string
	dryRun                       bool
	qemu, accel, cpu, machine    string
	memory, cpus                 int
	uefi                         bool
	diskSize, diskFormat, diskOn string
	disks                        []string
	vsock                        string
	network                      string
	noRNG                        bool
	password                     string
	login, limit                 time.Duration
}

func newCapture() *cobra.Command {
	var o captureFlags
	c := &cobra.Command{
		Use:   "capture --iso FILE [flags] [-- QEMU-ARGUMENT...]",
		Short: "Boot an image once in a virtual machine and keep everything",
		Long: `Capture probes the host, reads the image, boots it once in QEMU, logs in over
the serial port, asks the guest, and writes all of it to a bundle: a directory
that 'forensics analyze' reads on any machine. Then it says what the bundle
shows.

The guest is only asked what reads. Nothing leaves this machine. A capture that
is interrupted leaves what it has, and no virtual machine behind.`,
		Example: `  forensics capture --iso result/iso/nixos.iso
  forensics capture --flake .#bootImage --output run-1
  forensics capture --iso nixos.iso --accel tcg --memory 4096 -- -device usb-ehci
  forensics capture --iso nixos.iso --disk 1G,if=scsi --disk old.qcow2,format=qcow2
  forensics capture --only host --dry-run
  forensics capture --iso nixos.iso --need report.json`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args) },
	}
	f := c.Flags()
	f.StringVar(&o.iso, "iso", "", "boot the image `FILE`")
	f.StringVar(&o.flake, "flake", "", "build `REF` with nix and boot its image")
	f.StringVarP(&o.output, "output", "o", "", "write the bundle to `DIR` (default: forensics-TIME)")
	f.StringSliceVar(&o.only, "only", nil, "capture these `PARTS` only: host, image, vm")
	f.StringVar(&o.need, "need", "", "ask only for what the unknowns of the report `FILE` need")
	f.StringSliceVar(&o.probes, "probes", nil, "more probes, from the list `FILE`")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the probes and QEMU's command line, and do nothing")
	f.StringVar(&o.qemu, "qemu", "", "QEMU's `PROGRAM` (default: qemu-system-x86_64)")
	f.StringVar(&o.accel, "accel", "auto", "`ACCEL`: auto, kvm or tcg; auto tries whether guests run under KVM")
	f.StringVar(&o.cpu, "cpu", "", "CPU `MODEL`")
	f.StringVar(&o.machine, "machine", "", "machine `TYPE`")
	f.IntVar(&o.memory, "memory", 2048, "memory in `MIB`")
	f.IntVar(&o.cpus, "cpus", 2, "`NUMBER` of CPUs")
	f.BoolVar(&o.uefi, "uefi", false, "boot with UEFI firmware instead of a BIOS")
	f.StringVar(&o.diskSize, "disk-size", "8G", "`SIZE` of the blank disk; 0 for none")
	f.StringVar(&o.diskFormat, "disk-format", "raw", "`FORMAT` of the blank disk: raw or qcow2")
	f.StringVar(&o.diskOn, "disk-bus", "virtio", "`BUS` of the blank disk: virtio, scsi, ide, nvme or none")
	f.StringArrayVar(&o.disks, "disk", nil, "one more `DISK`: SIZE or FILE[,if=virtio|scsi|ide|nvme][,format=raw|qcow2]; what the guest writes to a file is dropped")
	f.StringVar(&o.vsock, "vsock", "auto", "`WHEN` the guest's journal is forwarded over a vsock as it is written: auto, on or off")
	f.StringVar(&o.network, "network", "user", "`NETWORK`: user (with DHCP) or none")
	f.BoolVar(&o.noRNG, "no-rng", false, "no virtio random number generator")
	f.StringVar(&o.password, "password-file", "", "the user's password is the first line of `FILE`")
	f.DurationVar(&o.login, "login-timeout", 15*time.Minute, "wait `TIME` for a shell")
	f.DurationVar(&o.limit, "timeout", 20*time.Minute, "ask the guest for at most `TIME` after that")
	o.analyze.rules.register(c)
	return c
}

func (o *captureFlags) run(c *cobra.Command, args []string) error {
	cat, err := o.analyze.rules.load(c)
	if err != nil {
		return err
	}
	cfg, err := o.config(c, cat, args)
	if err != nil {
		return err
	}
	if o.dryRun {
		return plan(c.OutOrStdout(), cfg)
	}
	ctx := c.Context()
	p := newTeller(c.ErrOrStderr())
	cfg.Progress = p
	err = capture.Run(ctx, *cfg)
	p.done()
	if err != nil {
		complain(c.ErrOrStderr(), err.Error())
	}
	if errors.Is(err, capture.ErrNoBundle) {
		return exit(statusTrouble)
	}
	fmt.Fprintf(c.ErrOrStderr(), "forensics: the bundle is %s\n", report.Clean(cfg.Output))
	verdict := o.judge(context.WithoutCancel(ctx), c, cat, cfg.Output)
	if err != nil {
		return exit(statusTrouble)
	}
	return verdict
}

// judge analyses the bundle and prints the verdict.
func (o *captureFlags) judge(ctx context.Context, c *cobra.Command, cat *catalogue, dir string) error {
	r, err := o.analyze.analyze(ctx, c.ErrOrStderr(), cat, []string{dir})
	if err != nil {
		return err
	}
	for _, t := range r.Trouble {
		complain(c.ErrOrStderr(), t.Path+": "+t.Text)
	}
	if err := renderer("text", o.analyze.looks(c.OutOrStdout()))(c.OutOrStdout(), r); err != nil {
		return err
	}
	if s := r.Status(false); s != statusOK {
		return exit(s)
	}
	return nil
}

// config turns the flags into what is captured.
func (o *captureFlags) config(c *cobra.Command, cat *catalogue, args []string) (*capture.Config, error) {
	cfg := &capture.Config{
		ISO: o.iso, Flake: o.flake, Output: o.output, Params: cat.profile.Params, Version: version(),
		Login: o.login, Limit: o.limit, User: cat.profile.Params.One("user"), VM: vm.Default(),
	}
	if cfg.Output == "" {
		cfg.Output = "forensics-" + time.Now().UTC().Format("2006-01-02T15-04-05Z")
	}
	if dash := c.ArgsLenAtDash(); len(args) > 0 && dash != 0 {
		return nil, usagef(c, "capture takes no arguments but those for QEMU behind --, got %q", args[0])
	}
	cfg.VM.Extra = args
	if err := o.parts(c, cfg); err != nil {
		return nil, err
	}
	if err := o.hardware(c, cfg); err != nil {
		return nil, err
	}
	for _, file := range o.probes {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		cfg.Lists = append(cfg.Lists, rules.Source{Name: file, Data: data})
	}
	if o.password != "" {
		data, err := os.ReadFile(o.password)
		if err != nil {
			return nil, err
		}
		cfg.Password, _, _ = strings.Cut(string(data), "\n")
	}
	return cfg, o.needed(cfg)
}

// parts says which parts are captured, and that they can be.
func (o *captureFlags) parts(c *cobra.Command, cfg *capture.Config) error {
	parts := o.only
	if len(parts) == 0 {
		parts = []string{"host", "image", "vm"}
	}
	for _, p := range parts {
		switch p {
		case "host":
			cfg.Host = true
		case "image":
			cfg.Image = true
		case "vm":
			cfg.Machine = true
		default:
			return usagef(c, "--only %s: there are host, image and vm", p)
		}
	}
	switch {
	case o.iso != "" && o.flake != "":
		return usage(c, "--iso and --flake: one image is booted, name one")
	case (cfg.Image || cfg.Machine) && o.iso == "" && o.flake == "":
		return usage(c, "which image? Name it with --iso FILE or --flake REF, or capture the host alone with --only host")
	}
	return nil
}

// hardware fills in the machine.
func (o *captureFlags) hardware(c *cobra.Command, cfg *capture.Config) error {
	m := &cfg.VM
	m.QEMU, m.CPU, m.Machine, m.Memory, m.CPUs, m.UEFI, m.RNG, m.Network = o.qemu, o.cpu, o.machine, o.memory, o.cpus, o.uefi, !o.noRNG, o.network
	m.Accel = vm.Accel(o.accel)
	if !slices.Contains([]vm.Accel{vm.AccelAuto, vm.AccelKVM, vm.AccelTCG}, m.Accel) {
		return usagef(c, "--accel %s: there are auto, kvm and tcg", o.accel)
	}
	if o.network != "user" && o.network != "none" {
		return usagef(c, "--network %s: there are user and none", o.network)
	}
	cfg.Vsock = capture.Switch(o.vsock)
	if !slices.Contains([]capture.Switch{capture.Auto, capture.On, capture.Off}, cfg.Vsock) {
		return usagef(c, "--vsock %s: there are auto, on and off", o.vsock)
	}
	size, err := bytesOf(o.diskSize)
	if err != nil {
		return usagef(c, "--disk-size %s: %v", o.diskSize, err)
	}
	cfg.Disk = vm.Disk{Size: size, Format: o.diskFormat, Bus: o.diskOn}
	if !slices.Contains(append(diskBuses, "none"), o.diskOn) {
		return usagef(c, "--disk-bus %s: there are virtio, scsi, ide, nvme and none", o.diskOn)
	}
	if !slices.Contains(diskFormats, o.diskFormat) {
		return usagef(c, "--disk-format %s: there are raw and qcow2", o.diskFormat)
	}
	for _, text := range o.disks {
		d, err := diskOf(text)
		if err != nil {
			return usagef(c, "--disk %s: %v", text, err)
		}
		cfg.Disks = append(cfg.Disks, d)
	}
	if o.uefi {
		if m.Firmware, err = vm.FindFirmware(o.qemu); err != nil {
			return err
		}
	}
	return nil
}

// bytesOf reads a size with K, M, G or T as QEMU does.
func bytesOf(s string) (int64, error) {
	var n int64
	var unit string
	if _, err := fmt.Sscanf(s+" ", "%d%s", &n, &unit); err != nil && !errors.Is(err, io.EOF) && unit == "" {
		if _, err := fmt.Sscanf(s, "%d", &n); err != nil {
			return 0, errors.New("no size; write 8G or 512M")
		}
	}
	shift, ok := map[string]int{"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[strings.ToUpper(strings.TrimSuffix(unit, "iB"))]
	if !ok || n < 0 || n > 1<<(62-shift) {
		return 0, errors.New("no size; write 8G or 512M")
	}
	return n << shift, nil
}

var (
	diskBuses   = []string{"virtio", "scsi", "ide", "nvme"}
	diskFormats = []string{"raw", "qcow2"}
)

// diskOf reads SIZE or FILE, and what is said of it.
func diskOf(text string) (vm.Disk, error) {
	what, options, _ := strings.Cut(text, ",")
	d := vm.Disk{}
	for o := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch {
		case o == "":
		case key == "if" && slices.Contains(diskBuses, value):
			d.Bus = value
		case key == "format" && slices.Contains(diskFormats, value):
			d.Format = value
		case key == "if", key == "format":
			return d, fmt.Errorf("there is no %s=%s; write if=virtio, scsi, ide or nvme, format=raw or qcow2", key, value)
		default:
			return d, fmt.Errorf("%q is not understood; write if=BUS or format=FORMAT, and for a name with a comma -- -drive", o)
		}
	}
	if size, err := bytesOf(what); err == nil {
		if d.Size = size; size == 0 {
			return d, errors.New("a disk has some bytes; write 1G")
		}
		return d, nil
	}
	d.Path, d.Snapshot = what, true
	return d, readableDisk(&d)
}

// readableDisk finds out that the guest can have the disk image.
func readableDisk(d *vm.Disk) error {
	info, err := os.Stat(d.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("neither a size (8G) nor a file that is there")
	case err != nil:
		return err
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeDevice == 0:
		return errors.New("a directory is no disk image, nor a pipe")
	}
	f, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	var head [4]byte
	_, err = io.ReadFull(f, head[:])
	qcow2 := err == nil && string(head[:]) == "QFI\xfb"
	switch {
	// The guest chooses the bytes of a raw image: we guess no format from them
	// that makes QEMU open other files.
	case qcow2 && d.Format == "":
		return errors.New("it looks like qcow2: write format=qcow2, or format=raw for its bytes as they are")
	case !qcow2 && d.Format == "qcow2":
		return errors.New("it is not qcow2: write format=raw")
	}
	return nil
}

// needed takes the conditions that an earlier report could not decide.
func (o *captureFlags) needed(cfg *capture.Config) error {
	if o.need == "" {
		return nil
	}
	f, err := os.Open(o.need)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := report.ReadJSON(f)
	if err != nil {
		return fmt.Errorf("%s: %w; --need takes what 'forensics analyze -f json' wrote", o.need, err)
	}
	cfg.Need = []string{}
	for _, run := range r.Runs {
		for _, v := range run.Verdicts {
			if v.Status == report.Unknown && !slices.Contains(cfg.Need, v.Condition) {
				cfg.Need = append(cfg.Need, v.Condition)
			}
		}
	}
	return nil
}

// plan prints what a capture would do.
func plan(w io.Writer, cfg *capture.Config) error {
	specs, err := cfg.Specs("disk0.img")
	if err != nil {
		return err
	}
	for _, where := range []probe.Where{probe.Host, probe.Guest} {
		if where == probe.Host && !cfg.Host || where == probe.Guest && !cfg.Machine {
			continue
		}
		for _, s := range probe.At(specs, where) {
			fmt.Fprintf(w, "%s %s: %s\n", where, s.Name, report.Clean(strings.Join(s.Argv, " ")))
		}
	}
	if cfg.Machine {
		o := cfg.VM
		o.ISO = cfg.ISO
		for i, d := range append([]vm.Disk{cfg.Disk}, cfg.Disks...) {
			switch {
			case d.Path == "" && d.Size > 0 && d.Bus != "none":
				d.Path = fmt.Sprintf("disk%d.img", i)
				o.Disks = append(o.Disks, d)
			case d.Path != "":
				o.Disks = append(o.Disks, d)
			}
		}
		if cfg.Vsock != capture.Off && forward.Available() == nil {
			fmt.Fprintf(w, "vsock: the guest gets a %s of a random address, to forward its journal over it\n", vm.VsockDevice)
		}
		fmt.Fprintf(w, "qemu: %s\n", report.Clean(strings.Join(vm.Command(o, "DIR"), " ")))
	}
	return nil
}

// teller shows how far a capture is: a line that changes on a terminal, a line
// a stage elsewhere.
type teller struct {
	w     io.Writer
	p     *tty.Progress
	stage string
	since time.Time
}

func newTeller(w io.Writer) *teller {
	return &teller{w: w, p: tty.NewProgress(w, tty.Of(w, os.Getenv)), since: time.Now()}
}

func (t *teller) Stage(name string) {
	t.p.Clear()
	t.stage, t.since = name, time.Now()
	fmt.Fprintf(t.w, "forensics: %s\n", report.Clean(name))
}

func (t *teller) Say(text string) {
	t.p.Clear()
	fmt.Fprintf(t.w, "forensics: %s\n", report.Clean(text))
}

func (t *teller) Console(last string) {
	t.p.Line(fmt.Sprintf("%s, %d s: %s", t.stage, int(time.Since(t.since).Seconds()), report.Clean(last)))
}

func (t *teller) done() { t.p.Done() }
