//go:build e2e && linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"forensics/cmd/forensics/internal/report"
)

// boot is one capture of the test image, and what a report of it must say.
type boot struct {
	name   string
	image  string        // fault that is built into the image
	chosen string        // fault that QEMU tells the guest to take
	args   []string      // more arguments of capture
	login  time.Duration // how long to wait for a shell; 0 is loginTimeout

	cause    string   // condition; "" where the guest has no fault
	contains string   // what the mechanism says
	pass     []string // conditions, or all of a phase: vm.*
	fail     []string
	decided  []string // pass or fail, as the host is

	journal string // the file that the guest's journal came in; "" where it need not come
}

// boots is written by hand from what each fault does (corpus/testimage). Faults
// of the image are in the image: it is read as well, and would contradict a
// guest that lacks what it has.
var boots = []boot{
	{
		name: "healthy",
		pass: []string{
			"host.qemu", "virt.*", "iso.*", "vm.*", "harness.prompt",
		},
		decided: []string{"host.*"},
		journal: overPort,
	},
	{
		// A guest in which all that a dialogue may stumble over is at once.
		name: "healthy-uefi", chosen: "noisy-console",
		args: []string{"--uefi"},
		pass: []string{
			"host.qemu", "virt.*", "iso.*", "vm.*", "harness.prompt",
		},
		decided: []string{"host.*"},
		journal: overPort,
	},
	{
		name: "unit-deadlock", image: "unit-deadlock",
		cause: "iso.unit", contains: "sshd.service",
		pass: []string{"iso.serial-console", "vm.serial", "vm.root-shell", "vm.lan-dhcp", "harness.prompt"},
		// The status says pending, which is no end: vm.storage-status is open.
		fail: []string{"iso.unit", "vm.unit-inactive"},
	},
	{
		name: "no-serial-console", image: "no-serial-console",
		login: 2 * time.Minute, // there will be none
		cause: "iso.serial-console",
		pass:  []string{"host.qemu", "iso.boot-profile"},
		fail:  []string{"iso.serial-console", "vm.serial"},
	},
	{
		name: "disko-missing", image: "disko-missing",
		cause: "iso.boot-profile", contains: "disko",
		pass:    []string{"vm.serial", "vm.root-shell", "vm.disk-blank", "vm.lan-dhcp", "harness.prompt"},
		fail:    []string{"iso.boot-profile", "vm.lvm", "vm.storage-status", "vm.unit-inactive"},
		journal: overPort,
	},
	{
		name: "remain-after-exit", image: "remain-after-exit",
		cause: "iso.unit", contains: "RemainAfterExit=yes",
		pass:    []string{"vm.serial", "vm.root-shell", "vm.lvm", "vm.storage-status", "harness.prompt"},
		fail:    []string{"iso.unit", "vm.unit-inactive"},
		journal: overPort,
	},
	{
		// Only root may write to the port.
		name: "sudo-missing", image: "sudo-missing",
		cause: "iso.boot-profile", contains: "sudo",
		pass:    []string{"vm.serial", "vm.lan-dhcp", "harness.prompt"},
		fail:    []string{"iso.boot-profile", "vm.root-shell"},
		journal: overLine,
	},
	{
		name: "disko-error", chosen: "disko-error",
		args:  []string{"--disk-size", "4G"}, // the fault's plan wants 8 GiB
		cause: "vm.lvm", contains: "insufficient free space",
		pass:    []string{"iso.*", "vm.serial", "vm.root-shell", "vm.disk-blank", "vm.storage-detect", "harness.prompt"},
		fail:    []string{"vm.lvm", "vm.storage-status", "vm.unit-inactive"},
		journal: overPort,
	},
	{
		name:  "no-nic",
		args:  []string{"--network", "none"},
		cause: "vm.lan-dhcp", contains: "lan",
		pass:    []string{"iso.*", "vm.serial", "vm.root-shell", "harness.prompt"},
		fail:    []string{"vm.lan-dhcp"},
		journal: overPort,
	},
	{
		name:  "disk-sda",
		args:  []string{"--disk-bus", "scsi"},
		cause: "vm.disk-naming", contains: "sda",
		pass:    []string{"iso.serial-console", "iso.boot-profile", "vm.serial", "vm.root-shell", "harness.prompt"},
		fail:    []string{"vm.disk-naming", "vm.lvm", "vm.storage-status"},
		journal: overPort,
	},
}

// The channels over which a journal leaves the guest, by the file it is then in.
const (
	overPort = "journal.export"
	overLine = "serial-journal.export"
)

// How long capture waits for a shell, and asks after that. A boot takes a minute
// on an idle machine; what waits for ever in a guest is waited for so long.
const (
	loginTimeout = 6 * time.Minute
	askTimeout   = 6 * time.Minute
	grace        = 3 * time.Minute // for the host's probes before, the bundle's end after
)

// marker is an environment variable that everything below one capture inherits.
const marker = "FORENSICS_E2E"

// TestEndToEnd boots the test image as `make e2e` says, by the program FORENSICS
// and with the image TESTIMAGE. It needs what the image's build.sh needs. With
// E2E_OUTPUT the bundles are kept there.
func TestEndToEnd(t *testing.T) {
	program, image := os.Getenv("FORENSICS"), os.Getenv("TESTIMAGE")
	if program == "" || image == "" {
		t.Fatal("FORENSICS and TESTIMAGE name the program and the image: run make e2e")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	if end, ok := t.Deadline(); ok { // the test's own deadline would end it without cleaning up
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-time.Minute))
		t.Cleanup(cancel)
	}
	e := &endToEnd{ctx: ctx, program: program, image: image, dir: t.TempDir()}
	if dir := os.Getenv("E2E_OUTPUT"); dir != "" {
		e.keep(t, dir)
	}
	e.probes = filepath.Join(e.dir, "probes.yaml")
	if err := os.WriteFile(e.probes, []byte(journalProbe), 0o666); err != nil {
		t.Fatal(err)
	}
	// A group, so that its end is the end of all boots, also of parallel ones.
	t.Run("boot", func(t *testing.T) {
		for _, b := range boots {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				e.run(t, b)
			})
		}
	})
	t.Logf("\n%s", e.table())
	t.Run("diff", e.diffs)
}

// endToEnd is what all boots share.
type endToEnd struct {
	ctx     context.Context
	program string
	image   string
	dir     string // of this test: images and bundles
	probes  string // a list of probes for capture

	mu   sync.Mutex
	rows []row
}

// row is one line of the table at the end.
type row struct {
	boot     string
	want     string
	got      string
	findings int // differences from what was expected
	seconds  float64
}

// keep makes the directory of the bundles one that outlives the test.
func (e *endToEnd) keep(t *testing.T, dir string) {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if e.dir, err = os.MkdirTemp(dir, "e2e-"); err != nil {
		t.Fatal(err)
	}
	t.Logf("bundles are kept in %s", e.dir)
}

func (e *endToEnd) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "boot\texpected cause\tgot\tdifferences\tseconds")
	slices.SortFunc(e.rows, func(a, b row) int { return strings.Compare(a.boot, b.boot) })
	for _, r := range e.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%.0f\n", r.boot, r.want, r.got, r.findings, r.seconds)
	}
	w.Flush()
	return b.String()
}

// run captures one boot and compares its report, then that of the moved bundle.
func (e *endToEnd) run(t *testing.T, b boot) {
	r := row{boot: b.name, want: orNone(b.cause), got: "no report"}
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.rows = append(e.rows, r)
	}()
	differ := func(format string, args ...any) {
		t.Helper()
		r.findings++
		t.Errorf(format, args...)
	}

	if e.ctx.Err() != nil {
		t.Fatal("interrupted")
	}
	image := e.image
	if b.image != "" {
		image = filepath.Join(e.dir, b.image+".iso")
		e.build(t, b.image, image)
		defer os.Remove(image)
	}
	bundle := filepath.Join(e.dir, b.name)
	start := time.Now()
	said := e.capture(t, b, image, bundle)
	r.seconds = time.Since(start).Seconds()
	if e.ctx.Err() != nil {
		t.Fatal("interrupted")
	}

	rep, err := e.analyze(bundle)
	if err != nil {
		t.Fatalf("analyze: %v\ncapture said:\n%s", err, said)
	}
	var causes []string
	for _, c := range rep.Runs[0].Causes {
		causes = append(causes, c.Condition)
	}
	r.got = orNone(strings.Join(causes, " "))
	for _, d := range differences(b, rep.Runs[0]) {
		differ("%s", d)
	}
	if b.journal != "" {
		for _, d := range journalDifferences(t, bundle, b.journal) {
			differ("%s", d)
		}
	}
	if moved := e.moved(t, bundle); moved != same(t, rep) {
		differ("the moved bundle gives another report:\n%s", firstDifference(same(t, rep), moved))
	}
	if t.Failed() {
		t.Logf("capture said:\n%s", said)
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (e *endToEnd) build(t *testing.T, fault, image string) {
	t.Helper()
	cmd := e.command("../../corpus/testimage/build.sh", "--fault", fault, image)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("image with %s: %v\n%s", fault, err, out)
	}
}

// command is one that is asked to end, not killed, when the test is interrupted.
func (e *endToEnd) command(name string, args ...string) *exec.Cmd {
	return gentle(e.ctx, name, args...)
}

func gentle(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

// capture records the boot into bundle, holds that nothing of it is left, and
// returns the last of what it said.
func (e *endToEnd) capture(t *testing.T, b boot, image, bundle string) string {
	t.Helper()
	login := cmp.Or(b.login, loginTimeout)
	limit := login + askTimeout + grace
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	args := []string{"capture", "--iso", image, "--accel", "tcg", "--output", bundle, "--login-timeout", login.String(), "--timeout", askTimeout.String(), "--probes", e.probes}
	args = append(args, b.args...)
	if b.chosen != "" {
		args = append(args, "--", "-fw_cfg", "name=opt/testimage/fault,string="+b.chosen)
	}
	scratch := bundle + ".tmp"
	if err := os.Mkdir(scratch, 0o777); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(scratch)
	cmd := gentle(ctx, e.program, args...)
	cmd.Env = append(os.Environ(), marker+"="+bundle, "TMPDIR="+scratch)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil && e.ctx.Err() == nil {
		t.Errorf("capture did not end by itself within %v", limit)
	}
	// 1 says that a condition failed, which is so; 2 is trouble.
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 1 && e.ctx.Err() == nil {
		t.Errorf("capture: %v", err)
	}
	leftovers(t, bundle, scratch)
	return tail(out, 4096)
}

func tail(out []byte, n int) string {
	if len(out) > n {
		out = out[len(out)-n:]
	}
	return string(out)
}

// leftovers holds that no process of a capture lives on and no socket or
// temporary file stays; it ends the processes.
func leftovers(t *testing.T, bundle, scratch string) {
	t.Helper()
	want := []byte(marker + "=" + bundle)
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(environs) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, p := range environs {
		env, err := os.ReadFile(p)
		if err != nil || !slices.ContainsFunc(bytes.Split(env, []byte{0}), func(v []byte) bool { return bytes.Equal(v, want) }) {
			continue
		}
		argv, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
		t.Errorf("a process outlives capture: %s", bytes.ReplaceAll(argv, []byte{0}, []byte{' '}))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for _, dir := range []string{bundle, scratch} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != dir && (dir == scratch || d.Type()&fs.ModeSocket != 0) {
				t.Errorf("left behind: %s (%v)", path, d.Type())
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // without a bundle, analyze fails
			t.Error(err)
		}
	}
}

func (e *endToEnd) analyze(bundle string) (*report.Report, error) {
	var stderr bytes.Buffer
	cmd := e.command(e.program, "analyze", "-f", "json", bundle)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 1 {
		return nil, fmt.Errorf("%w\n%s", err, stderr.Bytes())
	}
	rep, err := report.ReadJSON(bytes.NewReader(out))
	if err != nil {
		return nil, err
	}
	if len(rep.Runs) != 1 {
		return nil, fmt.Errorf("%d runs in %s, want one", len(rep.Runs), bundle)
	}
	return rep, nil
}

// moved analyses the bundle in another directory, and puts it back.
func (e *endToEnd) moved(t *testing.T, bundle string) string {
	t.Helper()
	elsewhere := filepath.Join(e.dir, "elsewhere "+filepath.Base(bundle))
	if err := os.Mkdir(elsewhere, 0o777); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(elsewhere, filepath.Base(bundle))
	if err := os.Rename(bundle, to); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Rename(to, bundle); err != nil {
			t.Error(err)
		}
		os.Remove(elsewhere)
	}()
	rep, err := e.analyze(to)
	if err != nil {
		t.Fatalf("analyze of the moved bundle: %v", err)
	}
	return same(t, rep)
}

// same is a report as JSON without the path of its run.
func same(t *testing.T, rep *report.Report) string {
	t.Helper()
	c := *rep
	c.Runs = slices.Clone(rep.Runs)
	c.Runs[0].Path = ""
	var b strings.Builder
	if err := report.WriteJSON(&b, &c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func firstDifference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(as), len(bs)) {
		if as[i] != bs[i] {
			return fmt.Sprintf("line %d\n- %s\n+ %s", i+1, as[i], bs[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(as), len(bs))
}

// differences says what of the report is not as the table has it. Causes in the
// host may stand beside any boot: they are this host's. Of the others the first
// is the fault; more may only be failures that the table has too.
func differences(b boot, run report.Run) []string {
	var ds []string
	first := ""
	for _, c := range run.Causes {
		if strings.HasPrefix(c.Condition, "host.") {
			continue
		}
		if first == "" {
			first = c.Condition
		}
		switch {
		case c.Condition == b.cause:
			if !strings.Contains(c.Because, b.contains) {
				ds = append(ds, fmt.Sprintf("cause %s: %q does not say %q", c.Condition, c.Because, b.contains))
			}
		case !slices.Contains(b.fail, c.Condition):
			ds = append(ds, fmt.Sprintf("unexpected cause %s: %s", c.Condition, c.Because))
		}
	}
	if first != b.cause {
		ds = append(ds, fmt.Sprintf("first cause %s, want %s", orNone(first), orNone(b.cause)))
	}
	met := map[string]bool{} // of the table's patterns
	for _, v := range run.Verdicts {
		for _, want := range []struct {
			patterns []string
			status   []string
		}{{b.pass, []string{"pass"}}, {b.fail, []string{"fail"}}, {b.decided, []string{"pass", "fail"}}} {
			for _, p := range want.patterns {
				if ok, _ := filepath.Match(p, v.Condition); !ok {
					continue
				}
				met[p] = true
				if !slices.Contains(want.status, v.Status) {
					ds = append(ds, fmt.Sprintf("%s is %s, want %s: %s; needed: %v", v.Condition, v.Status, strings.Join(want.status, " or "), v.Because, v.Needed))
				}
			}
		}
	}
	for _, p := range slices.Concat(b.pass, b.fail, b.decided) {
		if !met[p] {
			ds = append(ds, fmt.Sprintf("no condition is called %s", p))
		}
	}
	return ds
}
