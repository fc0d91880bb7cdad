package forward

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestListen: where the kernel has vsock, a port can be had, and Stop ends the
// wait for a guest that never comes.
func TestListen(t *testing.T) {
	l, port, err := Listen(7)
	if err != nil {
		t.Skip(err)
	}
	if port == 0 || port == ^uint32(0) {
		t.Errorf("port %d", port)
	}
	r := Start(l, nil)
	time.Sleep(20 * time.Millisecond) // it waits
	if got := r.Stop(); got != (Result{}) {
		t.Errorf("%+v", got)
	}
}

// TestStranger: who is not the guest is refused, and does not end the wait. A
// Unix socket stands for the vsock: nobody who comes over it is the guest.
func TestStranger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, backlog)); err != nil {
		t.Fatal(err)
	}
	r := Start(&vsock{file: os.NewFile(uintptr(fd), "fake"), cid: 7}, nil)
	for range 2 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a stranger is not turned away: %v", err)
		}
		c.Close()
	}
	if got := r.Stop(); got != (Result{}) {
		t.Errorf("%+v", got)
	}
}

// TestReset: a guest that dies resets its connection, which is an end like any
// other. A Unix socket resets where its peer leaves bytes unread.
func TestReset(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	guest := os.NewFile(uintptr(fds[1]), "guest")
	c := conn{os.NewFile(uintptr(fds[0]), "host")}
	defer c.Close()
	if _, err := c.WriteString("unread"); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.WriteString(first); err != nil {
		t.Fatal(err)
	}
	if err := guest.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != first || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
