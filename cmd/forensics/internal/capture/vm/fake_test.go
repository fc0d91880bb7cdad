//go:build unix

package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// roleVariable makes the test binary play somebody else: a QEMU with a fault, or
// a caller that dies.
const roleVariable = "FORENSICS_VM_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "caller":
		caller()
	default:
		fakeQEMU(role)
	}
}

// fake is a machine whose QEMU is this test binary in a role.
func fake(t *testing.T, role string) Options {
	t.Setenv(roleVariable, role)
	return Options{QEMU: os.Args[0], Journal: true}
}

// fakeQEMU connects to the sockets of its command line as QEMU does. It ends
// with its parent, as a last resort.
func fakeQEMU(role string) {
	go func() {
		parent := os.Getppid()
		for os.Getppid() == parent {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(3)
	}()
	if role == "silent" {
		fmt.Fprintln(os.Stderr, "never connects")
		select {}
	}
	conns := map[string]net.Conn{}
	for i, a := range os.Args {
		if a == "-chardev" {
			path := os.Args[i+1][strings.Index(os.Args[i+1], "path=")+len("path="):]
			c, err := net.Dial("unix", path)
			if err != nil {
				panic(err)
			}
			conns[filepath.Base(path)] = c
		}
	}
	switch role {
	case "mute":
		fmt.Fprintln(os.Stderr, "never greets")
		select {}
	case "crash":
		fmt.Fprintln(os.Stderr, "connects and dies")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	case "garbage":
		fmt.Fprintf(conns[monitorSocket], "\x00\xffno JSON\n[1]\n{\"QMP\": 7}\n%s\n\n", strings.Repeat("x", 2*maxMessage))
	case "journal":
		go echoJournal(conns[serialSocket], conns[journalSocket])
	case "chatty":
		line := strings.Repeat("e", 1023) + "\n"
		for range 1024 {
			fmt.Fprint(os.Stderr, line)
		}
		fmt.Fprintln(os.Stderr, "last words")
	case "child": // that holds all it inherits
		c := exec.Command("/bin/sleep", "1000")
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintf(conns[serialSocket], "%d\n", c.Process.Pid)
	}
	serveQMP(conns[monitorSocket], role == "deaf")
}

const greeting = `{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 9}, "package": "fake"}, "capabilities": []}}`

// serveQMP answers every command, with the id it came with.
func serveQMP(c net.Conn, deaf bool) {
	fmt.Fprintln(c, greeting)
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		id := lines.Text()[strings.Index(lines.Text(), `"id":`)+len(`"id":`) : len(lines.Text())-1]
		quit := strings.Contains(lines.Text(), `"execute":"quit"`)
		if quit && deaf {
			continue
		}
		fmt.Fprintf(c, `{"return": {}, "id": 999999999}`+"\n"+`{"return": {}, "id": %s}`+"\n", id)
		if quit {
			os.Exit(0)
		}
	}
	select {} // QEMU goes on without its monitor
}

// echoJournal runs what is typed by /bin/sh, with the journal port as fd 3.
func echoJournal(serial, journal net.Conn) {
	lines := bufio.NewScanner(serial)
	for lines.Scan() {
		f, err := journal.(*net.UnixConn).File()
		if err != nil {
			panic(err)
		}
		c := exec.Command("/bin/sh", "-c", lines.Text())
		c.ExtraFiles = []*os.File{f}
		out, err := c.CombinedOutput()
		fmt.Fprintf(serial, "%s[done: %v]\n", out, err)
		f.Close()
	}
}

func TestFaultyQEMU(t *testing.T) {
	tests := []struct {
		role, want, stderr string
	}{
		{"silent", "context canceled", "never connects"},
		{"mute", "context canceled", "never greets"}, // while we accept or wait for the greeting,
		{"crash", "before the greeting", "connects and dies"},
	}
	for _, test := range tests {
		t.Run(test.role, func(t *testing.T) {
			o := fake(t, test.role)
			watchTemp(t)
			ctx, cancel := context.WithCancel(within(t))
			defer cancel()
			_, err := Start(ctx, o, Sinks{Stderr: writerFunc(func(p []byte) (int, error) {
				if test.role != "crash" { // we have waited enough once it is there
					cancel()
				}
				return len(p), nil
			})})
			var refused *StartError
			if !errors.As(err, &refused) {
				t.Fatalf("%T: %v", err, err)
			}
			if refused.Exit.Signal == "" || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v: %s", err, refused.Exit)
			}
			if !strings.Contains(err.Error(), test.stderr) {
				t.Errorf("%v, want %q", err, test.stderr)
			}
		})
	}
}

func TestGarbage(t *testing.T) {
	v := start(t, fake(t, "garbage"), Sinks{})
	if v.Version() != "9.2.1 fake" {
		t.Errorf("version %q", v.Version())
	}
	got := v.Garbage()
	if len(got) != 4 || got[0] != `"\x00\xffno JSON"` || got[1] != `"[1]"` || len(got[3]) > 300 {
		t.Errorf("garbage: %q", got)
	}
}

// TestStopEscalates: one that hears neither quit nor SIGTERM is killed.
func TestStopEscalates(t *testing.T) {
	v := start(t, fake(t, "deaf"), Sinks{})
	v.step = 200 * time.Millisecond
	if e := v.Stop(t.Context(), 0); e.Signal != "killed" || e.Code != -1 {
		t.Errorf("%s", e)
	}
}

func TestStopEndedContext(t *testing.T) {
	v := start(t, fake(t, "plain"), Sinks{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if e := v.Stop(ctx, time.Hour); e.Code != 0 || e.Signal != "" {
		t.Errorf("%s", e)
	}
}

func TestBoundedOutput(t *testing.T) {
	var all buffer
	v := start(t, fake(t, "chatty"), Sinks{Stderr: &all})
	e := v.Stop(t.Context(), 0)
	got := string(e.Stderr)
	if len(got) > stderrHead+stderrTail+100 || !strings.Contains(got, "bytes left out") || !strings.HasSuffix(got, "e\nlast words\n") {
		t.Errorf("%d bytes, end %q", len(got), got[max(0, len(got)-100):])
	}
	if n := len(all.String()); n != 1<<20+len("last words\n") {
		t.Errorf("streamed %d bytes", n)
	}
}

// TestChild: what QEMU started ends with it.
func TestChild(t *testing.T) {
	v := start(t, fake(t, "child"), Sinks{})
	text, err := bufio.NewReader(v.Serial()).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	if !running(pid) {
		t.Fatal("the child does not run")
	}
	v.Stop(t.Context(), 0)
	gone(t, pid)
}

// script is the line that a guest would run, with the port as fd 3 of the fake.
func script(tr Transfer, command string) string {
	return strings.ReplaceAll(tr.Script(command, JournalDevice), "[ -c "+JournalDevice+" ]", "[ -e /dev/fd/3 ]")
}

func TestReceive(t *testing.T) {
	v := start(t, fake(t, "journal"), Sinks{})
	ctx := within(t)
	scratch := t.TempDir() // the guest's
	send := func(tr Transfer, command string) {
		t.Helper()
		line := strings.ReplaceAll(script(tr, command), "3>"+JournalDevice, "")
		if _, err := io.WriteString(v.Serial(), "TMPDIR="+scratch+"; "+line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	done := func(scripts int) {
		t.Helper()
		want := strings.Repeat("[done: <nil>]\n", scripts)
		if got := expect(t, ctx, v.Serial(), want); got != want {
			t.Errorf("the guest's shell printed %q", got)
		}
	}
	tests := []struct {
		name, command, want string
		status              int
	}{
		{"empty", "true", "", 0},
		{"text", "echo hello", "hello\n", 0},
		{"no newline", "printf x", "x", 0},
		{"newlines", `printf "\n\n"`, "\n\n", 0},
		{"failing", "echo half; exit 7", "half\n", 7},
		{"absent", "no-such-command 2>/dev/null", "", 127},
		{"marks", `printf "\nFORENSICS-END 00 0 \nFORENSICS-BEGIN x\n"`, "\nFORENSICS-END 00 0 \nFORENSICS-BEGIN x\n", 0},
		{"large", "yes | head -c 3000001", strings.Repeat("y\n", 1500000) + "y", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := NewTransfer()
			send(tr, test.command)
			var b bytes.Buffer
			got, err := v.Receive(ctx, tr, &b)
			if err != nil || got.Status != test.status || got.Size != int64(len(test.want)) || !got.Verified() {
				t.Errorf("%+v, %v", got, err)
			}
			if b.String() != test.want {
				t.Errorf("%d bytes %.100q, want %d bytes %.100q", b.Len(), b.String(), len(test.want), test.want)
			}
			done(1)
		})
	}

	t.Run("own command logged", func(t *testing.T) {
		tr := NewTransfer()
		line := script(tr, "X")
		if strings.Contains(line, tr.token) {
			t.Errorf("the token stands in %q", line)
		}
	})
	t.Run("full disk, then the next", func(t *testing.T) {
		tr := NewTransfer()
		send(tr, "yes | head -c 3000000")
		if got, err := v.Receive(ctx, tr, full{}); !errors.Is(err, errFull) || got.Size != 0 || got.Status != -1 {
			t.Errorf("%+v, %v", got, err)
		}
		next := NewTransfer()
		send(next, "echo next")
		var b bytes.Buffer
		if got, err := v.Receive(ctx, next, &b); err != nil || b.String() != "next\n" {
			t.Errorf("%+v, %v, %q", got, err, b.String())
		}
		done(2)
	})
	t.Run("cancelled, then the next", func(t *testing.T) {
		short, cancel := context.WithCancel(ctx)
		tr := NewTransfer()
		send(tr, "echo part; sleep 1")
		w := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
		if got, err := v.Receive(short, tr, w); !errors.Is(err, context.Canceled) || got.Size != int64(len("part\n")) {
			t.Errorf("%+v, %v", got, err)
		}
		next := NewTransfer()
		send(next, "echo next")
		var b bytes.Buffer
		if got, err := v.Receive(ctx, next, &b); err != nil || b.String() != "next\n" {
			t.Errorf("%+v, %v, %q", got, err, b.String())
		}
		done(2)
	})
	t.Run("end of the machine", func(t *testing.T) {
		tr := NewTransfer()
		send(tr, "echo part; sleep 1000")
		var b bytes.Buffer
		got, err := v.Receive(ctx, tr, writerFunc(func(p []byte) (int, error) {
			v.signal(true)
			return b.Write(p)
		}))
		if !errors.Is(err, io.ErrUnexpectedEOF) || b.String() != "part\n" || got.Size != 5 {
			t.Errorf("%+v, %v, %q", got, err, b.String())
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// caller starts the VM that its arguments name and waits to be killed.
func caller() {
	os.Unsetenv(roleVariable)
	o := smokeOptions(Options{Accel: AccelTCG}, os.Args[1])
	v, err := Start(context.Background(), o, Sinks{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(v.PID())
	select {}
}

// running reports whether a process does anything still: one that nobody has
// reaped does not.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !exists("/proc/self/stat")
	}
	_, state, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	return !strings.HasPrefix(state, "Z")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func gone(t *testing.T, pid int) {
	t.Helper()
	for ctx := within(t); running(pid); {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("process %d still runs", pid)
		}
	}
}
