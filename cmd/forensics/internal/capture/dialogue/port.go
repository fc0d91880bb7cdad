package dialogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// errPort is wrapped by every error of the port itself.
var errPort = errors.New("serial port")

// keepTape is how many bytes stay readable behind the last one: several blocks
// of an answer (about 80 KB each on the line), and far more than a screen.
const keepTape = 1 << 20

// tape is the bounded log of what the port delivered.
type tape struct {
	mu      sync.Mutex
	base    int64 // position of buf[0]
	buf     []byte
	err     error
	at      time.Time     // of the last byte
	changed chan struct{} // closed at the next change
}

func newTape() *tape { return &tape{changed: make(chan struct{}), at: time.Now()} }

// fill reads r until that fails. It never waits for whoever reads the tape: a
// guest must not stop because we think.
func (t *tape) fill(r io.Reader) {
	p := make([]byte, 64<<10)
	for {
		n, err := r.Read(p)
		t.add(p[:n], err)
		if err != nil {
			return
		}
	}
}

func (t *tape) add(p []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) > 0 {
		t.at = time.Now()
		if len(t.buf)+len(p) > 2*keepTape {
			cut := len(t.buf) - keepTape
			t.base += int64(cut)
			t.buf = append(t.buf[:0], t.buf[cut:]...)
		}
		t.buf = append(t.buf, p...)
	}
	if err != nil {
		t.err = fmt.Errorf("%w: %v", errPort, err)
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// since returns a copy of what stands behind pos, as far as it is kept, and
// the position of its first byte.
func (t *tape) since(pos int64) ([]byte, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := t.base + int64(len(t.buf))
	pos = min(max(pos, t.base), end)
	return append([]byte(nil), t.buf[pos-t.base:]...), pos
}

func (t *tape) end() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base + int64(len(t.buf))
}

// silence is how long nothing came.
func (t *tape) silence() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.at)
}

// wait returns when there are bytes behind pos or the moment is over, and the
// error of the port when no byte can come any more.
func (t *tape) wait(ctx context.Context, pos int64, moment time.Duration) error {
	timer := time.NewTimer(moment)
	defer timer.Stop()
	for {
		t.mu.Lock()
		more, err, changed := t.base+int64(len(t.buf)) > pos, t.err, t.changed
		t.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case more:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
			return nil
		}
	}
}

// writer sends to the port in order. A guest that does not read blocks only
// what is sent after that, never the one who waits with a deadline.
type writer struct {
	port io.Writer
	busy chan struct{} // holds one value while a write runs
	mu   sync.Mutex
	err  error
}

func newWriter(p io.Writer) *writer { return &writer{port: p, busy: make(chan struct{}, 1)} }

// send writes p to the port, all of it or an error.
func (w *writer) send(ctx context.Context, p string) error {
	select {
	case w.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan struct{})
	go func() {
		if _, err := io.WriteString(w.port, p); err != nil {
			w.fail(fmt.Errorf("%w: %v", errPort, err))
		}
		close(done)
		<-w.busy
	}()
	select {
	case <-done:
		return w.failed()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *writer) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}
