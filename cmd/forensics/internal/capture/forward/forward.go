// Package forward records the journal that a guest's journald sends us as it
// writes it: what a guest said of itself that no one could log in to.
//
// # Nouns
//
// journald of systemd 256 and newer forwards its entries to a socket where the
// credential journal.forward_to_socket names one (systemd.journald-forward).
// The credential comes over SMBIOS, the socket is a vsock, of which the host's
// end is ours. A Listener is that end. A Recording takes what comes to it and
// writes it to one stream.
//
// # Form
//
// journald sends the journal export format, less __CURSOR and with the time
// stamps last in each entry. Before the bytes of each connection stands an entry
// of our own, without a message, with __CURSOR and __REALTIME_TIMESTAMP: by
// those a reader tells what the file is, and finds its way again where a
// connection ended within an entry.
//
// # Invariants
//
//   - What the guest sends is written as it comes, and never changed.
//   - Whatever the guest does, or leaves undone, Stop returns within a moment:
//     nothing that it sends late or for ever delays the end of a capture.
//   - Only the guest is heard: other machines on the host are refused by their
//     address.
//   - At most maxBytes are written.
//
// Left out: forwarding over a network, which changes what the guest's network
// looks like; guests that are told by other means to forward.
package forward

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// maxBytes bounds the recording. A boot that logs all it does at debug level
	// has some 100 MB.
	maxBytes = 1 << 30
	// settle is how long Stop waits for what is on its way: the guest's kernel
	// has handed over all but the last moment.
	settle = 300 * time.Millisecond
	// endLimit ends the wait for a disk that takes no bytes.
	endLimit = 2 * time.Second
)

// Conn is a connection of the guest's.
type Conn interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
}

// Listener is where the guest connects to. From its deadline on, Accept fails.
type Listener interface {
	Accept() (Conn, error)
	SetDeadline(time.Time) error
	Close() error
}

// Credential returns the SMBIOS string that makes journald forward to a port
// of the host.
func Credential(port uint32) string {
	const host = 2 // VMADDR_CID_HOST
	return fmt.Sprintf("io.systemd.credential:journal.forward_to_socket=vsock-stream:%d:%d", host, port)
}

// Result is what a recording has.
type Result struct {
	Connections int
	Bytes       int64 // of the guest's
	Err         error // why bytes are missing, nil where none are known to
}

// Recording takes the connections of a guest, one after the other.
type Recording struct {
	listener Listener
	open     func() (io.WriteCloser, error)
	limit    int64 // maxBytes, but for tests
	done     chan struct{}

	written int64 // ours and the guest's; run's alone

	mu     sync.Mutex
	conn   Conn      // that is being read, nil for none
	until  time.Time // Stop's deadline, zero before it
	result Result
}

// Start records what comes to l. The stream is made by open when the first
// byte is there.
func Start(l Listener, open func() (io.WriteCloser, error)) *Recording {
	return start(l, open, maxBytes)
}

func start(l Listener, open func() (io.WriteCloser, error), limit int64) *Recording {
	r := &Recording{listener: l, open: open, limit: limit, done: make(chan struct{})}
	go r.run()
	return r
}

// run takes connections until the listener's deadline.
func (r *Recording) run() {
	defer close(r.done)
	var w io.WriteCloser
	for {
		c, err := r.listener.Accept()
		if err != nil {
			r.failed(err)
			break
		}
		r.begin(c)
		w, err = r.copy(w, c)
		_ = c.Close()
		r.failed(err)
	}
	if w != nil {
		r.failed(w.Close())
	}
}

// begin makes c the connection that is read.
func (r *Recording) begin(c Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.until.IsZero() {
		_ = c.SetReadDeadline(r.until)
	}
	r.conn = c
	r.result.Connections++
}

// failed keeps the first error, but for the deadline, which only Stop sets.
func (r *Recording) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conn = nil
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && r.result.Err == nil {
		r.result.Err = err
	}
}

var errLimit = errors.New("the guest sends more than is kept: the rest is left out")

// copy writes what c brings to w, which it opens first where it must.
func (r *Recording) copy(w io.WriteCloser, c Conn) (io.WriteCloser, error) {
	p := make([]byte, 64<<10)
	for begun := false; ; {
		n, err := c.Read(p)
		if n > 0 && !begun {
			var opened error
			if w, opened = r.head(w); opened != nil {
				return w, opened
			}
			begun = true
		}
		if n > 0 {
			wrote, err := r.write(w, p[:n])
			r.mu.Lock()
			r.result.Bytes += int64(wrote)
			r.mu.Unlock()
			if err != nil {
				return w, err
			}
		}
		if errors.Is(err, io.EOF) {
			return w, nil
		}
		if err != nil {
			return w, err
		}
	}
}

// head opens the stream and writes our entry before the bytes of a connection.
// The blank lines end what the connection before left unfinished.
func (r *Recording) head(w io.WriteCloser) (io.WriteCloser, error) {
	r.mu.Lock()
	n := r.result.Connections
	r.mu.Unlock()
	end := "\n\n"
	if w == nil {
		var err error
		if w, err = r.open(); err != nil {
			return nil, err
		}
		end = ""
	}
	_, err := r.write(w, fmt.Appendf(nil, "%s__CURSOR=forensics;connection=%d\n__REALTIME_TIMESTAMP=%d\n\n", end, n, time.Now().UnixMicro()))
	return w, err
}

// write writes p, or nothing where that is too much.
func (r *Recording) write(w io.Writer, p []byte) (int, error) {
	if r.written+int64(len(p)) > r.limit {
		return 0, errLimit
	}
	n, err := w.Write(p)
	r.written += int64(n)
	return n, err
}

// Stop ends the recording. What is on its way is written, also of a connection
// that waits to be taken.
func (r *Recording) Stop() Result {
	r.mu.Lock()
	if r.until.IsZero() {
		r.until = time.Now().Add(settle)
		_ = r.listener.SetDeadline(r.until)
		if r.conn != nil {
			_ = r.conn.SetReadDeadline(r.until)
		}
	}
	r.mu.Unlock()
	stuck := false
	select {
	case <-r.done:
	case <-time.After(endLimit):
		stuck = true
	}
	_ = r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if stuck && r.result.Err == nil {
		r.result.Err = errors.New("the last bytes could not be written in time")
	}
	return r.result
}
