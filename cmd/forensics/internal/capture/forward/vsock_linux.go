package forward

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// device is what QEMU opens to give a guest a vsock.
const device = "/dev/vhost-vsock"

// backlog is more than one journald ever has waiting.
const backlog = 8

// Available returns why a guest can have no vsock on this host, nil where it
// can.
func Available() error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is absent: load the kernel module vhost_vsock", device)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be opened: take the group that owns it (kvm)", device)
	case err != nil:
		return err
	}
	return f.Close()
}

// vsock listens for one guest. Package net knows no vsock, but the runtime's
// poller serves any socket.
type vsock struct {
	file *os.File
	cid  uint32 // of the guest
}

// Listen returns the host's end for the guest with the address cid, and its
// port, which the kernel chooses.
func Listen(cid uint32) (Listener, uint32, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("vsock: %w", err)
	}
	port, err := bind(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, 0, fmt.Errorf("vsock: %w", err)
	}
	return &vsock{file: os.NewFile(uintptr(fd), "vsock"), cid: cid}, port, nil
}

func bind(fd int) (uint32, error) {
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: unix.VMADDR_PORT_ANY}); err != nil {
		return 0, err
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return 0, err
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	vm, ok := at.(*unix.SockaddrVM)
	if !ok {
		return 0, fmt.Errorf("bound to %T", at)
	}
	return vm.Port, nil
}

// conn is a connection of the guest's. A guest that loses its power, or resets,
// resets the connection: that is an end, and no sign that bytes are missing.
type conn struct{ *os.File }

func (c conn) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	if errors.Is(err, unix.ECONNRESET) {
		err = io.EOF
	}
	return n, err
}

func (v *vsock) Accept() (Conn, error) {
	for {
		fd, from, err := v.accept()
		if err != nil {
			return nil, err
		}
		if vm, ok := from.(*unix.SockaddrVM); ok && vm.CID == v.cid {
			return conn{os.NewFile(uintptr(fd), "vsock connection")}, nil
		}
		_ = unix.Close(fd)
	}
}

func (v *vsock) accept() (fd int, from unix.Sockaddr, err error) {
	raw, err := v.file.SyscallConn()
	if err != nil {
		return -1, nil, err
	}
	waited := raw.Read(func(listener uintptr) bool {
		fd, from, err = unix.Accept4(int(listener), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED)
	})
	if waited != nil {
		return -1, nil, waited
	}
	return fd, from, err
}

func (v *vsock) SetDeadline(t time.Time) error { return v.file.SetReadDeadline(t) }

func (v *vsock) Close() error { return v.file.Close() }
