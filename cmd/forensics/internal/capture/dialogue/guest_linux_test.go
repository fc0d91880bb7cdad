package dialogue

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// noise is what others do to a serial line.
type noise struct {
	every   int           // about so many bytes of the guest between two messages spliced in; 0 for none
	chatter time.Duration // a broadcast so often, whatever the guest says; 0 for none
	dribble int           // bytes at a time, with a millisecond between; 0 for no such slowness
	crs     bool          // another tty adds a CR to every line
	drop    int           // about so many bytes between two that get lost; 0 for none
	seed    uint64
}

// messages are of the kinds that were seen inside of lines.
var messages = []string{
	"\r\n[   61.402133] virtio_net virtio1 lan: renamed from eth0\r\n",
	"[   61.500001] EXT4-fs (dm-0): mounted filesystem with ordered data mode\r\n",
	"\r\nLAN IPv4 address: 10.0.2.15\r\n",
	"\r\n\r\nBroadcast message from root@nixos (Mon 2025-10-06 10:00:00 UTC):\r\n\r\nnixos login: \r\n",
	"\x1b[0;32m  OK  \x1b[0m",
	"7",
	";\r\n",
	"QUJD",
}

// fake is a guest: a terminal of its own with a command on it, behind a noisy
// line. typed is what it was sent.
type fake struct {
	conn  net.Conn // the host's end
	guest net.Conn
	mu    sync.Mutex
	typed bytes.Buffer
	start time.Time
	tape  []passage
}

// passage is what passed at a time.
type passage struct {
	after time.Duration
	where byte // '>' typed, '}' taken by the terminal, '{' shown there, '<' after the noise
	bytes string
}

func (f *fake) note(where byte, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tape = append(f.tape, passage{time.Since(f.start), where, string(p)})
}

// maxRecord is how many passages of a failure are shown: a few seconds of a slow
// line.
const maxRecord = 1000

// record shows what passed, and when, in a test that failed.
func (f *fake) record(t *testing.T) {
	if !t.Failed() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, p := range f.tape[max(0, len(f.tape)-maxRecord):] {
		fmt.Fprintf(&b, "\n%9.3f %c %q", p.after.Seconds(), p.where, p.bytes)
	}
	t.Log("the line:", b.String())
}

func (f *fake) got() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.typed.String()
}

// newFake starts argv as a guest.
func newFake(t *testing.T, n noise, env []string, argv ...string) *fake {
	t.Helper()
	m := terminal(t, env, argv...)
	f := &fake{start: time.Now()}
	f.conn, f.guest = net.Pipe()
	t.Cleanup(func() { f.conn.Close(); f.guest.Close() })
	go func() {
		p := make([]byte, 4096)
		for {
			k, err := f.guest.Read(p)
			f.mu.Lock()
			f.typed.Write(p[:k])
			f.mu.Unlock()
			f.note('>', p[:k])
			if werr := f.feed(m, p[:k]); err != nil || werr != nil {
				return
			}
		}
	}()
	go f.speak(m, n)
	return f
}

// feed types at the pace of a serial port: a pseudo-terminal that gets far more
// than it takes at once has been seen to take nothing any more.
func (f *fake) feed(m io.Writer, p []byte) error {
	const some = 256 // bytes a millisecond: ten times as fast as 230400 baud
	for len(p) > 0 {
		k, err := m.Write(p[:min(some, len(p))])
		if err != nil {
			return err
		}
		f.note('}', p[:k])
		if p = p[k:]; len(p) > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// speak brings the guest's bytes to the host, with what the line adds.
func (f *fake) speak(m io.Reader, n noise) {
	defer f.guest.Close()
	var mu sync.Mutex
	say := func(p []byte) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := f.guest.Write(p)
		f.note('<', p)
		return err
	}
	rnd := rand.New(rand.NewPCG(n.seed, 1))
	if n.chatter > 0 {
		go func() {
			for say([]byte("\r\nLAN IPv4 address: 10.0.2.15\r\n")) == nil {
				time.Sleep(n.chatter)
			}
		}()
	}
	p := make([]byte, 4096)
	for {
		k, err := m.Read(p)
		f.note('{', p[:k])
		for _, part := range n.spoil(p[:k], rnd) {
			if say(part) != nil {
				return
			}
			if n.dribble > 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if err != nil {
			return
		}
	}
}

// spoil cuts p into what is sent at a time.
func (n noise) spoil(p []byte, rnd *rand.Rand) [][]byte {
	var out []byte
	for _, c := range p {
		if n.every > 0 && rnd.IntN(n.every) == 0 {
			out = append(out, messages[rnd.IntN(len(messages))]...)
		}
		if n.crs && c == '\n' {
			out = append(out, '\r')
		}
		if n.drop == 0 || rnd.IntN(n.drop) != 0 {
			out = append(out, c)
		}
	}
	if n.dribble == 0 {
		return [][]byte{out}
	}
	var parts [][]byte
	for len(out) > 0 {
		k := min(n.dribble, len(out))
		parts, out = append(parts, out[:k]), out[k:]
	}
	return parts
}

// tools makes a directory with scripts of these names in front of the path.
func tools(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return "PATH=" + dir + ":" + os.Getenv("PATH")
}

// only makes a directory that is the whole path of a guest.
func only(t *testing.T, names string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range strings.Fields(names) {
		for _, from := range []string{"/usr/bin", "/bin", "/usr/sbin", "/sbin"} {
			if _, err := os.Stat(filepath.Join(from, name)); err == nil {
				if err := os.Symlink(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				break
			}
		}
	}
	return "PATH=" + dir
}
