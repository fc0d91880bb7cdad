package capture

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"forensics/cmd/forensics/internal/capture/forward"
	"forensics/cmd/forensics/internal/capture/record"
	"forensics/cmd/forensics/internal/capture/vm"
)

// told is a progress that remembers what it was told.
type told struct {
	silent
	said []string
}

func (t *told) Say(text string) { t.said = append(t.said, text) }

// host is a machine that is about to start.
func host(t *testing.T, s Switch) (*machine, *told) {
	t.Helper()
	cfg := config(t)
	cfg.Vsock = s
	b, err := record.Create(cfg.Output, "forensics", "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &told{}
	return &machine{capture: &capture{Config: cfg, bundle: b, progress: p}}, p
}

// TestForwardImpossible: a host without a vsock is told of, and keeps a capture
// from going on only where the vsock was asked for.
func TestForwardImpossible(t *testing.T) {
	why := forward.Available()
	if why == nil {
		t.Skip("this host has a vsock for guests")
	}
	for _, c := range []struct {
		s     Switch
		error bool
		said  int
		field bool
	}{{Off, false, 0, false}, {"", false, 0, false}, {Auto, false, 1, true}, {On, true, 0, true}} {
		m, p := host(t, c.s)
		o := vm.Default()
		err := m.forward(context.Background(), &o)
		if (err != nil) != c.error || c.error && !strings.Contains(err.Error(), "--vsock off") {
			t.Errorf("%s: %v", c.s, err)
		}
		if len(p.said) != c.said || (m.process.Vsock != nil) != c.field {
			t.Errorf("%s: said %q, in qemu.json %+v", c.s, p.said, m.process.Vsock)
		}
		if c.field && m.process.Vsock.Why != why.Error() {
			t.Errorf("%s: %q, want %q", c.s, m.process.Vsock.Why, why)
		}
		if o.VsockCID != 0 || len(o.SMBIOS) != 0 {
			t.Errorf("%s: the machine has %+v", c.s, o)
		}
		m.unforward() // does nothing
	}
}

func TestHasVsock(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the fake QEMU is a script for /bin/sh")
	}
	for _, c := range []struct{ script, says string }{
		{`[ "$*" = "-device vhost-vsock-pci,help" ]`, ""},
		{"echo \"qemu: -device: Device 'vhost-vsock-pci' not found\" >&2; exit 1", "not found"},
	} {
		qemu := filepath.Join(t.TempDir(), "qemu")
		if err := os.WriteFile(qemu, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		err := hasVsock(context.Background(), vm.Options{QEMU: qemu})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", c.script, err)
		}
	}
	if err := hasVsock(context.Background(), vm.Options{QEMU: "/no/such/qemu"}); err == nil {
		t.Error("no QEMU, no error")
	}
}

type socket struct{ *net.UnixListener }

func (s socket) Accept() (forward.Conn, error) { return s.AcceptUnix() }

// TestUnforward: what a guest forwarded before it died is in the bundle, as a
// journal.
func TestUnforward(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the fake guest sends to a Unix socket")
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := host(t, Auto)
	m.process.Vsock = &forwarded{CID: 7, Port: 9}
	m.journald = forward.Start(socket{l}, func() (io.WriteCloser, error) { return m.bundle.File(forwardedName) })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	const entry = "MESSAGE=last words\nPRIORITY=2\n__REALTIME_TIMESTAMP=1795439560871439\n\nMESSAGE=half"
	if _, err := io.WriteString(c, entry); err != nil {
		t.Fatal(err)
	}
	m.unforward()
	c.Close()
	m.unforward() // a second time it does nothing
	if got := *m.process.Vsock; got != (forwarded{CID: 7, Port: 9, Connections: 1, Bytes: int64(len(entry))}) {
		t.Errorf("%+v", got)
	}
	if err := errors.Join(m.write(), m.bundle.Finish(true, "")); err != nil {
		t.Fatal(err)
	}
	got := manifest(t, m.Output)
	i := slices.IndexFunc(got.Files, func(f record.File) bool { return f.Path == forwardedName })
	if i < 0 || got.Files[i].Kind != "journal" || !got.Complete {
		t.Errorf("%+v", got)
	}
	data, err := os.ReadFile(filepath.Join(m.Output, forwardedName))
	if err != nil || !strings.HasSuffix(string(data), entry) {
		t.Errorf("%q, %v", data, err)
	}
}
