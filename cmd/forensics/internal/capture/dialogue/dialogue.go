// Package dialogue talks to a guest over its serial console: it logs in,
// becomes root, runs scripts and brings files out, and is never in doubt which
// bytes answer which question.
//
// # Nouns
//
// The tape is what the port delivered, with positions: byte 0 is the first byte
// read after New. A sight is what a line of the screen means to somebody who
// waits for a login. The loop is a shell in the guest that reads lines from the
// terminal and evaluates them. The agent is a script in the guest (agent.sh)
// that the loop starts for every request. A nonce is a random word that names
// one request; a token is a nonce with its answer, as the agent prints it.
//
// # Prompts
//
// A prompt proves nothing: a message of the day may imitate it, colours and
// bracketed paste hide it, a broadcast stands behind it. So no prompt is ever
// waited for once a shell is there. A shell is recognised by what only a shell
// can do: join the parts of a nonce that was typed in pieces. Then the loop is
// started in it, a shell that reads its lines without an editor: no prompt, no
// echo, no history, no PROMPT_COMMAND and no line that wraps, whatever shell the
// user has, and nothing of that user's settings was changed.
//
// Nor does a question prove anything: a message of the day may ask for a name or
// a password, and a broadcast may stand behind the getty that does. Enter tells:
// a getty asks again, a shell shows its prompt. A login counts as refused only
// when the name was asked for again after that.
//
// # Requests
//
// Every request is one line of less than 1000 bytes (a terminal in canonical
// mode loses what is beyond 4095), and asking twice does no harm: the agent runs
// a script once, and after that only says again how it ended. So a request that
// stays without an answer is sent again. Typed ahead of a script that still
// runs, it is answered when the script has ended.
//
// # Answers
//
// A script's output goes to files in a private directory of the guest, not to
// the terminal. From there it is printed as numbered lines of base64, each
// between its nonce and a semicolon. Kernel messages and broadcasts only ever
// add bytes: a line in whose middle they stand has the wrong length, is dropped
// and asked for again; text around it does no harm. The length and a checksum of
// the whole decide. Only where the guest has no program for checksums, the
// lengths alone do. All else that is said, such as an exit status, holds its
// length or itself once more, and counts when it came twice.
//
// # The transcript
//
// The port should be read through a tee that keeps the transcript. In it, a line
// "forensics: NAME" stands before each script's answer. The answers themselves
// are base64, so that no reader of transcripts takes them for output of a
// console.
//
// # What changes in the guest
//
// A directory forensics.* in a tmpfs, removed by Leave; terminal settings,
// restored by Leave; a login and perhaps a sudo in its journal. The kernel's
// console level stays as it is: what the kernel says there is evidence, and the
// dialogue does not mind it.
//
// Left out: changing passwords, guests that do not have a POSIX shell, and
// boot loaders, at which nothing is ever typed (a key stops their countdown).
package dialogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Dialogue is a conversation over one port. Its methods are called one at a
// time, except Last and Offset, which may be called at any time.
type Dialogue struct {
	tape *tape
	port *writer
	mark int64 // what stands before it was dealt with

	access Access
	shell  bool // there was one since the guest started
	levels []level
	root   bool
	runs   int // scripts so far
}

// New starts to read port, and reads it until that fails. Whoever opened the
// port closes it, which ends the dialogue.
func New(port io.ReadWriter) *Dialogue {
	d := &Dialogue{tape: newTape(), port: newWriter(port)}
	go d.tape.fill(port)
	return d
}

// Last returns the last line with text that the screen shows.
func (d *Dialogue) Last() string {
	rows := d.rows(0)
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i].text != "" {
			return rows[i].text
		}
	}
	return ""
}

// Offset returns the number of bytes that were read so far.
func (d *Dialogue) Offset() int64 { return d.tape.end() }

// State is a condition of the guest that ends a wait.
type State string

// The states.
const (
	Closed     State = "port closed"
	Panicked   State = "kernel panic"
	Rebooted   State = "rebooted"
	PoweredOff State = "powered off"
	Emergency  State = "emergency" // it asks what nobody here can answer
	Refused    State = "refused"   // the login
	Lost       State = "no answer" // the shell does not answer any more
)

// StateError says that the guest is in a state in which waiting is in vain.
type StateError struct {
	State  State
	Line   string // what showed it, "" when nothing did
	Offset int64  // where that starts, or where the transcript ended
}

func (e *StateError) Error() string {
	if e.Line == "" {
		return fmt.Sprintf("guest: %s at byte %d", e.State, e.Offset)
	}
	return fmt.Sprintf("guest: %s at byte %d: %s", e.State, e.Offset, e.Line)
}

// waited dresses the error of a wait: what was last seen says more than that
// the time is over.
func (d *Dialogue) waited(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w at byte %d of the console, last line %q", err, d.Offset(), d.Last())
	}
	if errors.Is(err, errPort) {
		return &StateError{State: Closed, Line: err.Error(), Offset: d.Offset()}
	}
	return err
}

// pause waits for bytes behind pos, at most for a moment.
func (d *Dialogue) pause(ctx context.Context, pos int64, moment time.Duration) error {
	return d.waited(d.tape.wait(ctx, pos, moment))
}
