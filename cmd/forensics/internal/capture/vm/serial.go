package vm

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"encoding/json"
)

// SerialBuffer is how many bytes wait for the reader of [VM.Serial]. A boot
// prints some 100 KB; a guest that loops prints this much in minutes, and what
// the dialogue then loses is still in the files.
const SerialBuffer = 64 << 20

// OverrunError says that the reader was so slow that its buffer lost bytes. The
// next read goes on behind them.
type OverrunError struct{ Lost int64 }

func (e *OverrunError) Error() string {
	return fmt.Sprintf("serial: %d bytes were overwritten before they were read", e.Lost)
}

// ring is a byte queue whose writer never waits: full, it forgets the oldest
// bytes. It grows as needed up to limit.
type ring struct {
	mu     sync.Mutex
	change *sync.Cond
	buf    []byte
	start  int // of the oldest byte
	n      int
	lost   int64
	limit  int
	ended  bool // the writer is done
	closed bool // the reader is done
}

func newRing(limit int) *ring {
	r := &ring{limit: limit}
	r.change = sync.NewCond(&r.mu)
	return r
}

func (r *ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	total := len(p)
	if r.closed {
		return total, nil
	}
	if over := len(p) - r.limit; over > 0 {
		r.lost += int64(over)
		p = p[over:]
	}
	if need := r.n + len(p); need > len(r.buf) {
		r.grow(need)
	}
	if over := r.n + len(p) - len(r.buf); over > 0 {
		r.skip(over)
		r.lost += int64(over)
	}
	end := (r.start + r.n) % max(len(r.buf), 1)
	copied := copy(r.buf[end:], p)
	copy(r.buf, p[copied:])
	r.n += len(p)
	r.change.Broadcast()
	return total, nil
}

// grow doubles the buffer until need bytes fit, or to the limit.
func (r *ring) grow(need int) {
	size := max(len(r.buf), 4<<10)
	for size < need {
		size *= 2
	}
	size = min(size, r.limit)
	if size <= len(r.buf) {
		return
	}
	bigger := make([]byte, size)
	r.peek(bigger)
	r.buf, r.start = bigger, 0
}

func (r *ring) peek(p []byte) int {
	p = p[:min(len(p), r.n)]
	copied := copy(p, r.buf[r.start:])
	copy(p[copied:], r.buf)
	return len(p)
}

func (r *ring) skip(n int) {
	r.n -= n
	r.start = (r.start + n) % len(r.buf)
}

func (r *ring) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.n == 0 && !r.ended && !r.closed {
		r.change.Wait()
	}
	switch {
	case r.closed:
		return 0, os.ErrClosed
	case r.lost > 0:
		err := &OverrunError{r.lost}
		r.lost = 0
		return 0, err
	case r.n == 0:
		return 0, io.EOF
	}
	n := r.peek(p)
	if n > 0 {
		r.skip(n)
	}
	return n, nil
}

// end tells the reader that nothing more comes.
func (r *ring) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.change.Broadcast()
}

func (r *ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.buf, r.n, r.start = nil, 0, 0
	r.change.Broadcast()
	return nil
}

// cast writes an asciicast, version 2: a header and one JSON array an event,
// each in one write, so that a file cut anywhere lacks only its last line.
//
// https://docs.asciinema.org/manual/asciicast/v2/
type cast struct {
	w    io.Writer
	held []byte // the start of a character whose rest has not come
}

// castWidth and castHeight are the terminal that serial software assumes.
const castWidth, castHeight = 80, 25

func newCast(w io.Writer, start time.Time) (*cast, error) {
	_, err := fmt.Fprintf(w, "{\"version\": 2, \"width\": %d, \"height\": %d, \"timestamp\": %d}\n", castWidth, castHeight, start.Unix())
	return &cast{w: w}, err
}

// output records bytes of the guest. A character split between two calls
// belongs to the second; bytes that are no UTF-8 become U+FFFD, since the
// format holds text only.
func (c *cast) output(at time.Duration, p []byte) error {
	p = append(c.held, p...)
	whole := len(p) - incomplete(p)
	c.held = append([]byte(nil), p[whole:]...)
	return c.event(at, "o", p[:whole])
}

// flush records what is held of a character that will never be whole.
func (c *cast) flush(at time.Duration) error {
	held := c.held
	c.held = nil
	return c.event(at, "o", held)
}

func (c *cast) event(at time.Duration, code string, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	text, err := json.Marshal(string(p))
	if err != nil {
		return err
	}
	line := append([]byte("["), strconv.FormatFloat(at.Seconds(), 'f', 6, 64)...)
	line = append(append(line, `, "`+code+`", `...), text...)
	_, err = c.w.Write(append(line, "]\n"...))
	return err
}

// incomplete returns the length of a UTF-8 sequence that p ends within.
func incomplete(p []byte) int {
	for n := 1; n <= min(len(p), utf8.UTFMax-1); n++ {
		if b := p[len(p)-n]; utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// gather is how long the next bytes may collect in the socket. QEMU sends one
// byte at a time, and a write to two files for each would slow the guest; the
// socket takes some 280 such before QEMU would have to wait.
const gather = 200 * time.Microsecond

// line is the serial line: one connection, its two records and its reader.
type line struct {
	conn  net.Conn
	raw   io.Writer
	start time.Time
	ring  *ring
	done  chan struct{} // closed when the guest's side has ended and all is recorded

	mu   sync.Mutex // cast and errs
	cast *cast
	errs []error // the first failure of each sink
}

func newLine(conn net.Conn, raw, timed io.Writer, start time.Time) *line {
	l := &line{conn: conn, raw: raw, start: start, ring: newRing(SerialBuffer), done: make(chan struct{})}
	if timed != nil {
		c, err := newCast(timed, start)
		if err != nil {
			l.errs = append(l.errs, fmt.Errorf("serial cast: %w", err))
		} else {
			l.cast = c
		}
	}
	go l.pump()
	return l
}

// pump records all that the guest prints. A sink that fails (a full disk) is
// given up; reading goes on, or the guest would stop at its next character.
func (l *line) pump() {
	defer close(l.done)
	defer l.ring.end()
	buf := make([]byte, 64<<10)
	for again := true; ; {
		n, err := l.conn.Read(buf)
		if n > 0 {
			l.record(buf[:n])
			again = true
			time.Sleep(gather)
		}
		if again && errors.Is(err, os.ErrDeadlineExceeded) {
			// QEMU has ended, see VM.drain, but a slow disk may have kept us from
			// what it left in the socket.
			again = l.conn.SetReadDeadline(time.Now().Add(drainLimit)) != nil
			continue
		}
		if err != nil {
			l.timed(func(c *cast, at time.Duration) error { return c.flush(at) })
			return
		}
	}
}

func (l *line) record(p []byte) {
	if l.raw != nil {
		if _, err := l.raw.Write(p); err != nil {
			l.raw = nil
			l.fail(fmt.Errorf("serial log: %w", err))
		}
	}
	l.timed(func(c *cast, at time.Duration) error { return c.output(at, p) })
	_, _ = l.ring.Write(p)
}

func (l *line) timed(write func(*cast, time.Duration) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cast == nil {
		return
	}
	if err := write(l.cast, time.Since(l.start)); err != nil {
		l.cast = nil
		l.errs = append(l.errs, fmt.Errorf("serial cast: %w", err))
	}
}

func (l *line) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *line) failures() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}

// Read returns what the guest printed and no reader took yet.
func (l *line) Read(p []byte) (int, error) { return l.ring.Read(p) }

// Write types p. It waits while the guest's port takes nothing.
func (l *line) Write(p []byte) (int, error) {
	l.timed(func(c *cast, at time.Duration) error { return c.event(at, "i", p) })
	return l.conn.Write(p)
}

// Close ends reading; the recording goes on.
func (l *line) Close() error { return l.ring.Close() }
