package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// stderrHead and stderrTail bound what is kept of QEMU's standard error: its
	// first complaint says why, its last what ended it. A register dump of a KVM
	// error has 4 KB.
	stderrHead = 128 << 10
	stderrTail = 128 << 10
	// connectLimit ends a start: QEMU connects before it opens its disks, within
	// a second even on a busy machine.
	connectLimit = 2 * time.Minute
	// stopStep is how long each step of Stop after the guest's own power-off may
	// take.
	stopStep = 5 * time.Second
	// drainLimit ends the wait for a pipe or socket that a child of QEMU inherited.
	drainLimit = 2 * time.Second
	// endLimit ends the wait for a process that the kernel cannot kill and for
	// sinks that do not return.
	endLimit = time.Minute
	// maxSocketPath is the shortest sun_path limit of the systems that we know
	// (macOS), with its NUL.
	maxSocketPath = 104
	// maxScreen bounds a screenshot: 8192 by 8192 pixels of 3 bytes are 200 MB,
	// what a text console or boot splash has is below 6 MB.
	maxScreen = 64 << 20
)

// Sinks are where a VM's bytes go as they come. Any may be nil. Each is used by
// one goroutine at a time; one that fails is given up, see [VM.Failures].
type Sinks struct {
	Raw    io.Writer   // what the guest printed, as it came
	Cast   io.Writer   // the same with times, and what was typed: asciicast v2
	Stderr io.Writer   // QEMU's standard output and error
	Event  func(Event) // must not call the VM
}

// Exit is how QEMU ended.
type Exit struct {
	Code   int    `json:"code"`             // -1: a signal ended it, it never ran or runs still
	Signal string `json:"signal,omitempty"` // such as "killed"
	Stderr []byte `json:"-"`                // its output, bounded: head and tail
}

func (e Exit) String() string {
	switch {
	case e.Signal != "":
		return "ended by signal: " + e.Signal
	case e.Code < 0:
		return "no exit status"
	}
	return "exit status " + strconv.Itoa(e.Code)
}

// StartError is a machine that did not come to run its first instruction.
type StartError struct {
	Argv []string
	Exit Exit
	Err  error // what we saw of it
}

func (e *StartError) Error() string {
	text := fmt.Sprintf("qemu: %v (%s)", e.Err, e.Exit)
	if msg := strings.TrimSpace(string(e.Exit.Stderr)); msg != "" {
		text += ": " + msg
	}
	return text
}

func (e *StartError) Unwrap() error { return e.Err }

// VM is a running or ended machine. Its methods may be called from several
// goroutines.
type VM struct {
	argv    []string
	started time.Time
	cmd     *exec.Cmd
	stderr  *tail
	monitor *monitor
	line    *line
	port    *port // nil without Options.Journal

	step   time.Duration // stopStep, but for tests
	exited chan struct{} // the process is reaped
	done   chan struct{} // and its channels are drained
	status Exit          // valid after exited
}

// Start runs the machine and lets its CPUs go. ctx bounds the start only; the
// machine runs until it ends itself or [VM.Stop] ends it. A QEMU that refuses is
// a [*StartError].
func Start(ctx context.Context, o Options, sinks Sinks) (*VM, error) {
	if !supported {
		return nil, fmt.Errorf("running a virtual machine on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	if err := check(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	s, err := listen(o.Journal)
	if err != nil {
		return nil, err
	}
	defer s.remove()
	v := &VM{argv: Command(o, s.dir), stderr: &tail{also: sinks.Stderr}, step: stopStep, exited: make(chan struct{}), done: make(chan struct{})}
	if err := v.run(); err != nil {
		return nil, v.refusal(err)
	}
	if err := v.join(ctx, s, sinks); err != nil {
		v.kill()
		return nil, v.refusal(err)
	}
	if !o.Paused {
		if err := v.Cont(ctx); err != nil {
			v.kill()
			return nil, v.refusal(err)
		}
	}
	return v, nil
}

// check refuses what would break an invariant of the package.
func check(o Options) error {
	for _, a := range o.Extra {
		if a == "-daemonize" || a == "--daemonize" {
			return errors.New("qemu: -daemonize would let QEMU outlive the capture: leave it out")
		}
	}
	if o.UEFI && o.Firmware.Code == "" {
		return errors.New("qemu: UEFI without a firmware: see FindFirmware")
	}
	return nil
}

func lookProgram(qemu string) (string, error) { return exec.LookPath(or(qemu, defaultProgram)) }

// run starts the process. The thread that forks it must live as long as the
// process does, since Pdeathsig follows the thread: the goroutine that waits
// for QEMU keeps its thread to itself.
func (v *VM) run() error {
	v.cmd = exec.Command(v.argv[0], v.argv[1:]...)
	v.cmd.Stdout, v.cmd.Stderr = v.stderr, v.stderr
	v.cmd.SysProcAttr = attributes()
	v.cmd.WaitDelay = drainLimit
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := v.cmd.Start()
		if err != nil {
			v.status.Code = -1
			close(v.exited)
		}
		begun <- err
		if err == nil {
			v.reap()
		}
	}()
	return <-begun
}

// reap waits for the process and ends what it left of its group.
func (v *VM) reap() {
	_ = v.cmd.Wait() // the state says the same, and more
	signalGroup(v.cmd.Process.Pid, true)
	v.status = Exit{Code: v.cmd.ProcessState.ExitCode(), Signal: signalOf(v.cmd.ProcessState.Sys())}
	close(v.exited)
}

// refusal ends the process and tells what it said.
func (v *VM) refusal(err error) error {
	<-v.exited
	return &StartError{Argv: v.argv, Exit: v.Exit(), Err: err}
}

// kill ends the process group and waits for it.
func (v *VM) kill() {
	v.signal(true)
	<-v.exited
}

// signal signals the group, unless it is gone and its id may be another's.
func (v *VM) signal(kill bool) {
	select {
	case <-v.exited:
	default:
		signalGroup(v.cmd.Process.Pid, kill)
	}
}

// join takes QEMU's connections and negotiates QMP.
func (v *VM) join(ctx context.Context, s *sockets, sinks Sinks) error {
	conns, err := s.accept(ctx, v.exited)
	if err != nil {
		return err
	}
	v.started = time.Now()
	v.line = newLine(conns[serialSocket], sinks.Raw, sinks.Cast, v.started)
	if c := conns[journalSocket]; c != nil {
		v.port = newPort(c)
	}
	v.monitor = newMonitor(conns[monitorSocket], sinks.Event)
	go v.drain(conns)
	if err := v.monitor.negotiate(ctx); err != nil {
		v.letDie(ctx)
		return err
	}
	return nil
}

// letDie gives a QEMU that closed its monitor the time to say why.
func (v *VM) letDie(ctx context.Context) {
	select {
	case <-v.exited:
	case <-ctx.Done():
	case <-time.After(stopStep):
	}
}

// drain closes done when QEMU has ended and all that it sent is recorded.
func (v *VM) drain(conns map[string]net.Conn) {
	<-v.exited
	// QEMU's end closed its sockets, unless a child of it has them.
	for _, name := range []string{serialSocket, monitorSocket} {
		_ = conns[name].SetReadDeadline(time.Now().Add(drainLimit))
	}
	<-v.line.done
	<-v.monitor.done
	_ = conns[serialSocket].Close()
	_ = conns[monitorSocket].Close()
	close(v.done)
}

// Argv returns the command line that was run.
func (v *VM) Argv() []string { return append([]string(nil), v.argv...) }

// PID returns the process id of QEMU.
func (v *VM) PID() int { return v.cmd.Process.Pid }

// Started returns when QEMU had connected and its CPUs could start: time 0 of
// the cast.
func (v *VM) Started() time.Time { return v.started }

// Version returns QEMU's version as its monitor states it, such as
// "7.2.22 Debian 1:7.2+dfsg-7".
func (v *VM) Version() string {
	v.monitor.mu.Lock()
	defer v.monitor.mu.Unlock()
	return v.monitor.version
}

// Done is closed when QEMU has ended and all that it sent is recorded.
func (v *VM) Done() <-chan struct{} { return v.done }

// Exit returns how QEMU ended; before its end only its output so far.
func (v *VM) Exit() Exit {
	e := Exit{Code: -1}
	select {
	case <-v.exited:
		e = v.status
	default:
	}
	e.Stderr = v.stderr.bytes()
	return e
}

// Serial returns the guest's serial port: reads give what it printed since the
// last read, and io.EOF after QEMU's end; writes type. Reads return an
// [*OverrunError] where the reader was too slow. There is one stream: two
// readers share its bytes. Close ends reading, not the recording.
func (v *VM) Serial() io.ReadWriteCloser { return v.line }

// Events returns the events so far.
func (v *VM) Events() []Event { return v.monitor.recorded() }

// Failures returns what could not be recorded: the first error of each sink.
func (v *VM) Failures() error {
	return errors.Join(v.line.failures(), v.stderr.failure())
}

// Garbage returns lines of the monitor that are no QMP, quoted.
func (v *VM) Garbage() []string {
	v.monitor.mu.Lock()
	defer v.monitor.mu.Unlock()
	return append([]string(nil), v.monitor.garbage...)
}

// Receive takes the stream t from the journal port, to its end mark. The error
// says how many bytes came before it; w holds them.
func (v *VM) Receive(ctx context.Context, t Transfer, w io.Writer) (Received, error) {
	if v.port == nil {
		return Received{Status: -1}, errors.New("journal port: the machine has none")
	}
	return v.port.receive(ctx, t, w)
}

// Stop ends the machine: by its power button with grace to shut down (0: at
// once), then QMP quit, SIGTERM and SIGKILL, some seconds apart. It returns when
// [VM.Done] is closed. A ctx that is done shortens grace to nothing, but still
// lets QEMU quit by itself. Stopping again is harmless. A process that even
// SIGKILL does not end, since it waits for the host's disk, is left to the kernel
// after [VM.Done] was waited for in vain: its exit has the code -1 and no signal.
func (v *VM) Stop(ctx context.Context, grace time.Duration) Exit {
	if grace > 0 && ctx.Err() == nil && v.Powerdown(ctx) == nil {
		v.wait(ctx, grace)
	}
	ctx = context.WithoutCancel(ctx)
	for _, step := range []func(){
		func() { v.quit(ctx) },
		func() { v.signal(false) },
		func() { v.signal(true) },
	} {
		if v.ended() {
			break
		}
		step()
		v.wait(ctx, v.step)
	}
	select {
	case <-v.done:
	case <-time.After(endLimit):
	}
	return v.Exit()
}

func (v *VM) ended() bool {
	select {
	case <-v.exited:
		return true
	default:
		return false
	}
}

func (v *VM) wait(ctx context.Context, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-v.exited:
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (v *VM) quit(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, v.step)
	defer cancel()
	_, _ = v.monitor.run(ctx, "quit", nil) // the next step of Stop ends one that does not listen
}

// sockets are the listeners in a private directory.
type sockets struct {
	dir string
	all map[string]*net.UnixListener
}

func listen(journal bool) (*sockets, error) {
	dir, err := privateDir()
	if err != nil {
		return nil, err
	}
	s := &sockets{dir: dir, all: map[string]*net.UnixListener{}}
	names := []string{serialSocket, monitorSocket}
	if journal {
		names = append(names, journalSocket)
	}
	for _, name := range names {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			s.remove()
			return nil, err
		}
		s.all[name] = l
	}
	return s, nil
}

// privateDir makes a directory of mode 0700 whose path leaves room for a socket.
func privateDir() (string, error) {
	dir, err := os.MkdirTemp("", "forensics-vm-")
	if err == nil && len(filepath.Join(dir, serialSocket))+1 <= maxSocketPath {
		return dir, nil
	}
	if err == nil {
		_ = os.Remove(dir)
	}
	return os.MkdirTemp("/tmp", "forensics-vm-")
}

// remove ends listening and removes the directory. Connections stay.
func (s *sockets) remove() {
	for _, l := range s.all {
		_ = l.Close() // and unlinks its path
	}
	_ = os.RemoveAll(s.dir)
}

// accept takes one connection of each socket, or says why QEMU made none.
func (s *sockets) accept(ctx context.Context, exited <-chan struct{}) (map[string]net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-exited:
			cancel(errors.New("it ended before it connected to its serial port and monitor"))
		case <-ended:
		}
	}()
	defer context.AfterFunc(ctx, func() {
		for _, l := range s.all {
			_ = l.SetDeadline(time.Unix(1, 0))
		}
	})()
	conns := map[string]net.Conn{}
	for name, l := range s.all {
		c, err := l.Accept()
		if err != nil {
			for _, c := range conns {
				_ = c.Close()
			}
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return nil, err
		}
		conns[name] = c
	}
	return conns, nil
}

// tail keeps the first and the last bytes written to it.
type tail struct {
	also io.Writer

	mu      sync.Mutex
	head    []byte
	last    []byte
	dropped int64
	err     error
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.also != nil && t.err == nil {
		_, t.err = t.also.Write(p)
	}
	n := min(len(p), stderrHead-len(t.head))
	t.head = append(t.head, p[:n]...)
	t.last = append(t.last, p[n:]...)
	if over := len(t.last) - stderrTail; over > 0 {
		t.dropped += int64(over)
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := append([]byte(nil), t.head...)
	if t.dropped > 0 {
		out = fmt.Appendf(out, "\n[forensics: %d bytes left out]\n", t.dropped)
	}
	return append(out, t.last...)
}

func (t *tail) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return fmt.Errorf("qemu output: %w", t.err)
	}
	return nil
}
