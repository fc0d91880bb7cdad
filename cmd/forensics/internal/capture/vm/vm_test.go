//go:build unix

package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds what must happen: far more than it takes, so that a loaded
// machine fails no test. Nothing waits for it to pass.
const patience = 2 * time.Minute

// Guests of a few instructions. They speak over COM1 by polling, as a kernel's
// early console does, and end QEMU through isa-debug-exit.
var (
	// echoGuest returns what is typed, and ends at a q.
	echoGuest = []byte{
		0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, // until LSR says: data ready
		0xba, 0xf8, 0x03, 0xec, 0xee, // take and return it
		0x3c, 'q', 0x75, 0xef, // cmp $'q',%al; jne 7c00
		0xb0, 0x10, 0xe6, 0xf4, 0xf4, // exit
	}
	// countGuest prints countBytes bytes, 0 to 255 over and over.
	countGuest = []byte{
		0xfa, 0x66, 0x31, 0xdb, // cli; xor %ebx,%ebx
		0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xf8, // until LSR says: transmitter empty
		0xba, 0xf8, 0x03, 0x88, 0xd8, 0xee, // mov %bl,%al; out
		0x66, 0x43, 0x66, 0x81, 0xfb, 0x00, 0x00, 0x02, 0x00, 0x75, 0xe7, // inc %ebx; cmp $0x20000,%ebx; jne
		0xb0, 0x10, 0xe6, 0xf4, 0xf4, // exit
	}
	// faultGuest has no interrupt table and wants one: a triple fault.
	faultGuest = []byte{0x2e, 0x66, 0x0f, 0x01, 0x1e, 0x08, 0x7c, 0xcc, 0, 0, 0, 0, 0, 0}
	// idleGuest does nothing for ever.
	idleGuest = []byte{0xf4, 0xeb, 0xfd}
)

const countBytes = 0x20000

// guest is a machine that boots code, under TCG.
func guest(t testing.TB, code []byte) Options {
	t.Helper()
	if _, err := exec.LookPath(defaultProgram); err != nil {
		t.Skip(err)
	}
	disk := filepath.Join(t.TempDir(), "guest.img")
	if err := os.WriteFile(disk, bootDisk(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return smokeOptions(Options{Accel: AccelTCG}, disk)
}

// start starts o with a temporary directory of its own and fails where anything
// is left in that, or of QEMU.
func start(t *testing.T, o Options, sinks Sinks) *VM {
	t.Helper()
	tmp := watchTemp(t)
	v, err := Start(t.Context(), o, sinks)
	if err != nil {
		t.Fatal(err)
	}
	empty(t, tmp) // no socket outlives the start
	t.Cleanup(func() {
		v.Stop(context.Background(), 0)
		if running(v.PID()) {
			t.Errorf("process %d still runs", v.PID())
		}
	})
	return v
}

// watchTemp makes a temporary directory that must be empty at the test's end.
func watchTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fvt")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		empty(t, dir)
		os.RemoveAll(dir)
	})
	return dir
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

// buffer is a sink that a test reads while it is filled.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// expect reads until want stands in what was read.
func expect(t *testing.T, ctx context.Context, r io.ReadCloser, want string) string {
	t.Helper()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	var got []byte
	p := make([]byte, 4096)
	for !bytes.Contains(got, []byte(want)) {
		n, err := r.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			t.Fatalf("%v; no %q in %q", err, want, got[max(0, len(got)-2000):])
		}
	}
	return string(got)
}

func has(events []Event, name string) bool {
	return slices.ContainsFunc(events, func(e Event) bool { return e.Name == name })
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func waitDone(t *testing.T, v *VM) {
	t.Helper()
	select {
	case <-v.Done():
	case <-within(t).Done():
		t.Fatal("the machine did not end")
	}
}

func TestTyping(t *testing.T) {
	var raw, timed buffer
	v := start(t, guest(t, echoGuest), Sinks{Raw: &raw, Cast: &timed})
	s := v.Serial()
	for _, word := range []string{"hello ", "\x00\xff\x1b[0m", "q"} {
		if _, err := io.WriteString(s, word); err != nil {
			t.Fatal(err)
		}
		expect(t, within(t), s, word)
	}
	waitDone(t, v)
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read at the end: %d, %v", n, err)
	}
	const want = "hello \x00\xff\x1b[0mq"
	if got := raw.String(); got != want {
		t.Errorf("raw: %q, want %q", got, want)
	}
	out, in := replay(t, timed.String())
	if out != "hello \x00\ufffd\x1b[0mq" || in != "hello \x00\ufffd\x1b[0mq" {
		t.Errorf("cast: out %q, in %q", out, in)
	}
	if e := v.Exit(); e.Code != smokeExit {
		t.Errorf("%s: %s", e, e.Stderr)
	}
}

// TestNothingLost: nobody reads the dialogue's side, and the disk is slow.
func TestNothingLost(t *testing.T) {
	var raw buffer
	v := start(t, guest(t, countGuest), Sinks{Raw: slow{&raw}})
	waitDone(t, v)
	got := raw.String()
	if len(got) != countBytes {
		t.Fatalf("%d bytes, want %d", len(got), countBytes)
	}
	for i := range got {
		if got[i] != byte(i) {
			t.Fatalf("byte %d is %#x", i, got[i])
		}
	}
	dialogue, err := io.ReadAll(v.Serial())
	if err != nil || string(dialogue) != got {
		t.Errorf("the dialogue read %d bytes, %v", len(dialogue), err)
	}
}

// slow is a disk that takes its time.
type slow struct{ w io.Writer }

func (s slow) Write(p []byte) (int, error) {
	time.Sleep(200 * time.Microsecond)
	return s.w.Write(p)
}

// TestFullDisk: a sink that fails is told once, and stops neither the guest nor
// the other sinks.
func TestFullDisk(t *testing.T) {
	var timed, stderr buffer
	v := start(t, guest(t, countGuest), Sinks{Raw: full{}, Cast: &timed, Stderr: &stderr})
	waitDone(t, v)
	if e := v.Exit(); e.Code != smokeExit {
		t.Errorf("%s", e)
	}
	if err := v.Failures(); !errors.Is(err, errFull) || !strings.Contains(err.Error(), "serial log") {
		t.Errorf("failures: %v", err)
	}
	out, _ := replay(t, timed.String())
	if len(out) < countBytes {
		t.Errorf("cast has %d bytes", len(out))
	}
}

var errFull = errors.New("no space left on device")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestEvents(t *testing.T) {
	var mu sync.Mutex
	var live []string
	v := start(t, guest(t, faultGuest), Sinks{Event: func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		live = append(live, e.Name)
	}})
	waitDone(t, v)
	i := slices.IndexFunc(v.Events(), func(e Event) bool { return e.Name == "SHUTDOWN" })
	if i < 0 {
		t.Fatalf("no SHUTDOWN in %v", v.Events())
	}
	if e := v.Events()[i]; !strings.Contains(string(e.Data), `"guest-reset"`) || e.Time.Before(v.Started().Add(-time.Minute)) {
		t.Errorf("%s at %s: %s", e.Name, e.Time, e.Data)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Contains(live, "SHUTDOWN") || !slices.Contains(live, "RESUME") {
		t.Errorf("told as they came: %v", live)
	}
}

func TestControl(t *testing.T) {
	o := guest(t, idleGuest)
	o.Paused, o.Network = true, "user"
	v := start(t, o, Sinks{})
	ctx := within(t)
	status := func(want string) {
		t.Helper()
		if got, err := v.Status(ctx); got != want || err != nil {
			t.Errorf("Status: %q, %v, want %q", got, err, want)
		}
	}
	status("prelaunch")
	if err := v.Cont(ctx); err != nil {
		t.Error(err)
	}
	status("running")
	if !strings.Contains(v.Version(), ".") {
		t.Errorf("version %q", v.Version())
	}
	if b, err := v.Screendump(ctx); err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
		t.Errorf("Screendump: %d bytes, %v", len(b), err)
	}
	port, err := v.SSHPort(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
		t.Errorf("port %d is free, so nothing forwards it", port)
	}
	if e := v.Stop(ctx, 0); e.Code != 0 || e.Signal != "" || !has(v.Events(), "SHUTDOWN") {
		t.Errorf("%s, %v", e, v.Events())
	}
	if e := v.Stop(ctx, time.Hour); e.Code != 0 { // again, and at once
		t.Errorf("second stop: %s", e)
	}
	if _, err := v.Status(ctx); err == nil {
		t.Error("Status of an ended machine has no error")
	}
}

// TestGrace: the guest has no ACPI, so the button does nothing, and a context
// that ends cuts the wait short.
func TestGrace(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v := start(t, guest(t, idleGuest), Sinks{Event: func(e Event) {
		if e.Name == "POWERDOWN" {
			cancel()
		}
	}})
	if e := v.Stop(ctx, 24*time.Hour); e.Code != 0 {
		t.Errorf("%s", e)
	}
	if !has(v.Events(), "POWERDOWN") {
		t.Errorf("events: %v", v.Events())
	}
}

func TestRefusals(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := busy.Addr().(*net.TCPAddr).Port
	tests := []struct {
		name   string
		change func(*Options)
		want   string // in QEMU's own words
	}{
		{"option", func(o *Options) { o.Extra = append(o.Extra, "-no-such-option") }, "invalid option"},
		{"device", func(o *Options) { o.Extra = append(o.Extra, "-device", "no-such") }, "'no-such' is not a valid device"},
		{"machine", func(o *Options) { o.Machine = "no-such" }, "unsupported machine type"},
		{"iso", func(o *Options) { o.ISO = "/no/such.iso" }, "/no/such.iso"},
		{"port", func(o *Options) { o.Network, o.SSHPort = "user", taken }, "Could not set up host forwarding rule"},
		{"lock", func(o *Options) { o.Disks = append(o.Disks, o.Disks[0]) }, `Failed to get "write" lock`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			watchTemp(t)
			o := guest(t, idleGuest)
			test.change(&o)
			var stderr buffer
			v, err := Start(within(t), o, Sinks{Stderr: &stderr})
			if err == nil {
				v.Stop(context.Background(), 0)
				t.Fatal("it started")
			}
			var refused *StartError
			if !errors.As(err, &refused) {
				t.Fatalf("%T: %v", err, err)
			}
			if refused.Exit.Code != 1 || !strings.Contains(string(refused.Exit.Stderr), test.want) || stderr.String() != string(refused.Exit.Stderr) {
				t.Errorf("%s, stderr %q, want %q", refused.Exit, refused.Exit.Stderr, test.want)
			}
			if !strings.Contains(err.Error(), test.want) || !slices.Equal(refused.Argv[len(refused.Argv)-len(o.Extra):], o.Extra) {
				t.Errorf("%v, argv %q", err, refused.Argv)
			}
		})
	}
}

func TestNoProgram(t *testing.T) {
	watchTemp(t)
	_, err := Start(t.Context(), Options{QEMU: "/no/such/qemu"}, Sinks{})
	var refused *StartError
	if !errors.As(err, &refused) || refused.Exit.Code != -1 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestUnsafe(t *testing.T) {
	for name, o := range map[string]Options{
		"daemonize": {Extra: []string{"-m", "1", "-daemonize"}},
		"firmware":  {UEFI: true},
	} {
		watchTemp(t)
		if _, err := Start(t.Context(), o, Sinks{}); err == nil || !strings.Contains(strings.ToLower(err.Error()), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLongTemp: a socket's path has 104 bytes at most.
func TestLongTemp(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	s, err := listen(true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	s.remove()
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", s.dir, err)
	}
	empty(t, long)
}
