package capture

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"forensics/cmd/forensics/internal/capture/forward"
	"forensics/cmd/forensics/internal/capture/vm"
)

// forwardedName is the journal that came while it was written. journal.export
// has the same entries where it could be asked for; this one has them also
// where nobody could log in.
const forwardedName = "journal.forwarded.export"

// forwarded is how the guest forwarded its journal, in qemu.json.
type forwarded struct {
	CID         uint32 `json:"cid,omitempty"`
	Port        uint32 `json:"port,omitempty"`
	Connections int    `json:"connections"` // 0: no systemd 256 or newer, or no driver
	Bytes       int64  `json:"bytes"`
	Why         string `json:"why,omitempty"` // it was not possible
}

// forward gives the machine a vsock, and its journald the word to forward to
// us. Where that is impossible, only a capture that asked for it fails.
func (m *machine) forward(ctx context.Context, o *vm.Options) error {
	if m.Vsock == "" || m.Vsock == Off {
		return nil
	}
	m.process.Vsock = &forwarded{}
	l, err := m.listen(ctx, o)
	if err != nil {
		m.process.Vsock.Why = oneLine(err.Error())
		if m.Vsock == On {
			return fmt.Errorf("%w; --vsock off boots without", err)
		}
		m.progress.Say("the guest cannot forward its journal: " + m.process.Vsock.Why)
		return nil
	}
	m.journald = forward.Start(l, func() (io.WriteCloser, error) { return m.bundle.File(forwardedName) })
	return nil
}

// listen finds out whether the guest can have a vsock, and adds it.
func (m *machine) listen(ctx context.Context, o *vm.Options) (forward.Listener, error) {
	if err := forward.Available(); err != nil {
		return nil, err
	}
	if err := hasVsock(ctx, *o); err != nil {
		return nil, err
	}
	// Any address but the reserved ones, which are below 3; a random one is
	// nobody else's.
	cid := 3 + rand.Uint32N(1<<31-3)
	l, port, err := forward.Listen(cid)
	if err != nil {
		return nil, err
	}
	o.VsockCID = cid
	o.SMBIOS = append(o.SMBIOS, forward.Credential(port))
	m.process.Vsock.CID, m.process.Vsock.Port = cid, port
	return l, nil
}

// helpLimit ends a QEMU that is asked for help.
const helpLimit = 20 * time.Second

// hasVsock returns an error where QEMU was built without the device.
func hasVsock(ctx context.Context, o vm.Options) error {
	ctx, cancel := context.WithTimeout(ctx, helpLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, vm.Command(o, "")[0], "-device", vm.VsockDevice+",help").CombinedOutput()
	if err != nil {
		return fmt.Errorf("this QEMU has no %s: %w: %s", vm.VsockDevice, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// unforward ends the recording before the guest is shut down: what a journal
// says of that is in no other channel either.
func (m *machine) unforward() {
	if m.journald == nil {
		return
	}
	got := m.journald.Stop()
	m.journald = nil
	m.process.Vsock.Connections, m.process.Vsock.Bytes = got.Connections, got.Bytes
	if got.Err != nil {
		m.problem(forwardedName, got.Err.Error())
	}
}
