package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"forensics/cmd/forensics/internal/capture/dialogue"
	"forensics/cmd/forensics/internal/capture/vm"
)

// maxJournals bounds the native files that are brought out.
const maxJournals = 8

// journal brings the guest's journal out, as export and as journald's own
// files, and the kernel's ring buffer: over the virtio port, or where the guest
// has none over the serial line.
func (m *machine) journal(ctx context.Context) {
	m.progress.Stage("guest: journal")
	m.bring(ctx, "journal.export", "journalctl -b -o export --no-pager")
	m.bring(ctx, "dmesg.txt", "dmesg")
	a, err := m.talk.Run(ctx, "ls /run/log/journal/*/*.journal* /var/log/journal/*/*.journal* 2>/dev/null", dialogue.RunOptions{Label: "journal-files"})
	if err != nil {
		m.problem("system.journal", err.Error())
		return
	}
	n := 0
	for file := range strings.Lines(string(a.Stdout)) {
		if file = strings.TrimSpace(file); plainRe.MatchString(file) && n < maxJournals {
			n++
			m.bring(ctx, path.Base(file), "cat '"+file+"'")
		}
	}
}

// bring writes what a command of the guest prints to a file of the bundle.
func (m *machine) bring(ctx context.Context, name, command string) {
	ctx, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	err := m.send(ctx, name, command)
	if err == nil {
		return
	}
	m.problem(name, "over the virtio port: "+err.Error()+"; over the serial line instead")
	if err := m.fetch(ctx, name, command); err != nil {
		m.problem(name, "over the serial line: "+err.Error())
		m.why("the guest's " + name + " is not whole")
	}
}

// send takes the stream from the virtio port while the guest's shell writes it.
func (m *machine) send(ctx context.Context, name, command string) error {
	t := vm.NewTransfer()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	go func() {
		a, err := m.talk.Run(ctx, "[ -w "+vm.JournalDevice+" ] || exit 99; "+t.Script(command, vm.JournalDevice), dialogue.RunOptions{Label: "send-" + name, Limit: sendLimit})
		if err == nil && a.ExitStatus == 99 {
			err = errors.New("the guest has no such port that we may write to")
		}
		if err != nil {
			cancel() // nothing will come
		}
		ran <- err
	}()
	w := &lazy{open: func() (io.WriteCloser, error) { return m.bundle.File(name) }}
	got, err := m.vm.Receive(ctx, t, w)
	if err != nil {
		cancel()
	}
	told := <-ran
	if err == nil && got.Sent != "" && !got.Verified() {
		err = fmt.Errorf("%d bytes came, and their sum is not the guest's", got.Size)
	}
	if err != nil && told != nil && !errors.Is(told, context.Canceled) {
		err = told
	}
	return errors.Join(err, w.Close())
}

// fetch takes the output over the serial line.
func (m *machine) fetch(ctx context.Context, name, command string) error {
	const file = "/tmp/forensics.output"
	if _, err := m.talk.Run(ctx, "umask 077; { "+command+"; } >"+file, dialogue.RunOptions{Label: "store-" + name, Limit: sendLimit}); err != nil {
		return err
	}
	w, err := m.bundle.File("serial-" + name)
	if err != nil {
		return err
	}
	_, err = m.talk.Fetch(ctx, file, w, dialogue.FetchOptions{Label: name})
	_, rm := m.talk.Run(ctx, "rm -f "+file, dialogue.RunOptions{Label: "remove"})
	return errors.Join(err, rm, w.Close())
}

// lazy is a file that is made when the first byte comes: a transfer that never
// began leaves no empty file.
type lazy struct {
	open func() (io.WriteCloser, error)
	w    io.WriteCloser
}

func (l *lazy) Write(p []byte) (int, error) {
	if l.w == nil {
		w, err := l.open()
		if err != nil {
			return 0, err
		}
		l.w = w
	}
	return l.w.Write(p)
}

func (l *lazy) Close() error {
	if l.w == nil {
		return nil
	}
	return l.w.Close()
}

// plainRe is a path that means nothing to a shell.
var plainRe = regexp.MustCompile(`^[\w/.@~-]+$`)
