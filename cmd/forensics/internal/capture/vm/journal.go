package vm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Transfer is one stream that the guest sends over the journal port. Its bytes
// stand between two lines that hold a random token:
//
//	FORENSICS-BEGIN TOKEN
//	…any bytes…
//	FORENSICS-END TOKEN STATUS SHA256
//
// The length need not be known before, so that nothing is stored in a guest
// whose disks are memory. The guest's shell computes the sum of the same bytes
// as they pass. Closing the port would be no end mark: QEMU reports it over
// another channel (VSERPORT_CHANGE), which may overtake the data.
type Transfer struct {
	token string
}

const (
	beginMark = "FORENSICS-BEGIN "
	endMark   = "\nFORENSICS-END "
	// maxTrailer bounds what follows the end mark: a token, a status, a sum.
	maxTrailer = 256
)

// NewTransfer returns a transfer with a token of its own.
func NewTransfer() Transfer {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return Transfer{hex.EncodeToString(b[:])}
}

// Script returns one line of POSIX shell that sends the output of command, and
// prints nothing itself but what command writes to standard error. It needs
// mktemp, mkfifo and tee; without sha256sum the sum stays empty. device is
// [JournalDevice], unless the guest has no udev. Its own status is 0 when the
// stream was sent, whatever command's was, and 1 where device does not exist.
//
// The token is split: the guest logs what it runs (sudo, audit), and a journal
// that held the token in one piece would end its own transfer.
func (t Transfer) Script(command, device string) string {
	halves := t.token[:len(t.token)/2] + " " + t.token[len(t.token)/2:]
	return "[ -c " + device + " ] && ( d=$(mktemp -d) && mkfifo $d/f || exit 2; " +
		"{ sha256sum 2>/dev/null || cat >/dev/null; } <$d/f >$d/s 3>&- & " +
		"printf 'FORENSICS-%s %s%s\\n' BEGIN " + halves + " >&3; " +
		"{ ( " + command + " ) </dev/null; echo $? >$d/r; } 3>&- | tee $d/f >&3; wait; " +
		"printf '\\nFORENSICS-%s %s%s %s %.64s\\n' END " + halves + ` "$(cat $d/r)" "$(cat $d/s)" >&3; ` +
		"rm -r $d ) 3>" + device
}

// Received says what one transfer carried.
type Received struct {
	Size   int64
	SHA256 string // of the bytes received, hexadecimal
	Sent   string // the guest's own sum, "" where it has no sha256sum
	Status int    // exit status of the command, -1 where the guest did not say
}

// Verified reports whether the guest's sum is that of the bytes received.
func (r Received) Verified() bool { return r.Sent != "" && r.Sent == r.SHA256 }

// port is our side of the journal port. Nothing is read between transfers: the
// guest's writer waits, and no memory is needed.
type port struct {
	mu   sync.Mutex // one transfer at a time
	conn net.Conn
	r    *bufio.Reader
}

func newPort(conn net.Conn) *port {
	return &port{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// receive writes the bytes of t to w. After an error w holds what came, and the
// next transfer finds its own start.
func (p *port) receive(ctx context.Context, t Transfer, w io.Writer) (Received, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer cancelReads(ctx, p.conn)()
	sum := sha256.New()
	got := &counter{w: io.MultiWriter(w, sum)}
	status, sent, err := t.copy(got, p.r)
	r := Received{Size: got.n, SHA256: hex.EncodeToString(sum.Sum(nil)), Sent: sent, Status: status}
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	if err != nil {
		return r, fmt.Errorf("journal port: after %d bytes: %w", got.n, err)
	}
	if sent != "" && !r.Verified() {
		return r, fmt.Errorf("journal port: %d bytes have the sum %s, the guest sent %s", r.Size, r.SHA256, sent)
	}
	return r, nil
}

// cancelReads ends conn's reads when ctx is done. The function that it returns
// makes conn usable again.
func cancelReads(ctx context.Context, conn net.Conn) func() {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		close(ended)
	})
	return func() {
		if !stop() {
			<-ended
		}
		_ = conn.SetReadDeadline(time.Time{})
	}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// copy finds t's frame in r and writes its payload to w.
func (t Transfer) copy(w io.Writer, r *bufio.Reader) (status int, sent string, err error) {
	if err := copyUntil(io.Discard, r, []byte(beginMark+t.token+"\n")); err != nil {
		return -1, "", fmt.Errorf("no start: %w", err)
	}
	if err := copyUntil(w, r, []byte(endMark+t.token+" ")); err != nil {
		return -1, "", err
	}
	trailer, err := readLine(r, maxTrailer)
	if err != nil {
		return -1, "", fmt.Errorf("in the end mark: %w", noEOF(err))
	}
	return t.trailer(string(trailer))
}

// trailer takes the status and the sum apart; either may be missing.
func (t Transfer) trailer(s string) (status int, sent string, err error) {
	code, sent, _ := strings.Cut(s, " ")
	status, err = strconv.Atoi(code)
	if err != nil {
		status = -1
	}
	if sent != "" {
		if b, err := hex.DecodeString(sent); err != nil || len(b) != sha256.Size {
			return status, "", fmt.Errorf("the end mark has no SHA-256 but %.80q", sent)
		}
	}
	return status, sent, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// copyUntil copies r to w up to mark and drops the mark. It keeps in r what
// could be the mark's start, so a mark may lie across any number of reads.
func copyUntil(w io.Writer, r *bufio.Reader, mark []byte) error {
	need := 1
	for {
		if _, err := r.Peek(need); err != nil {
			rest, _ := r.Peek(r.Buffered())
			if _, werr := w.Write(rest); werr != nil {
				return werr
			}
			_, _ = r.Discard(len(rest))
			return noEOF(err)
		}
		window, _ := r.Peek(r.Buffered())
		take, found := bytes.Index(window, mark), true
		if take < 0 {
			take, found = len(window)-overlap(window, mark), false
		}
		if _, err := w.Write(window[:take]); err != nil {
			return err
		}
		if found {
			_, _ = r.Discard(take + len(mark))
			return nil
		}
		_, _ = r.Discard(take)
		need = r.Buffered() + 1
	}
}

// overlap returns the length of the longest start of mark that s ends with.
func overlap(s, mark []byte) int {
	for n := min(len(s), len(mark)-1); n > 0; n-- {
		if bytes.HasSuffix(s, mark[:n]) {
			return n
		}
	}
	return 0
}
