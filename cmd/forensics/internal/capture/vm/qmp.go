package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// maxMessage bounds one QMP message. The longest that we ask for is the text
	// of an HMP command, some kilobytes; the protocol's own schema, the longest
	// of all, has 300 KB.
	maxMessage = 1 << 20
	// maxEvents bounds the recorded events: a guest that writes its clock sends
	// one RTC_CHANGE each time.
	maxEvents = 10_000
	// maxEventData bounds what these carry, together.
	maxEventData = 16 << 20
	// maxGarbage bounds the messages kept of a monitor that does not speak QMP.
	maxGarbage = 20
	// commandLimit ends a command whose context has no nearer deadline. QEMU
	// answers in milliseconds, unless its main loop hangs in the host's I/O.
	commandLimit = 30 * time.Second
)

// Event is an asynchronous message of QMP, with QEMU's own time. [VM] adds one
// of its own, named FORENSICS_EVENTS_DROPPED, where it stopped recording.
type Event struct {
	Name string          `json:"event"`
	Time time.Time       `json:"time"`
	Data json.RawMessage `json:"data,omitempty"`
}

const eventsDropped = "FORENSICS_EVENTS_DROPPED"

// QMPError is QEMU's answer to a command that it refuses.
type QMPError struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *QMPError) Error() string {
	return fmt.Sprintf("qmp %s: %s: %s", e.Command, e.Class, e.Desc)
}

// message is any line that QEMU sends.
type message struct {
	QMP *struct {
		Version struct {
			QEMU struct{ Major, Minor, Micro int }
			Text string `json:"package"`
		}
	}
	ID        *uint64
	Return    json.RawMessage
	Error     *QMPError
	Event     string
	Data      json.RawMessage
	Timestamp struct{ Seconds, Microseconds int64 }
}

// monitor is the client's side of one QMP connection.
type monitor struct {
	conn    net.Conn
	onEvent func(Event)
	hello   chan struct{} // closed at the greeting
	done    chan struct{} // closed when nothing more comes

	write sync.Mutex // one command at a time on the wire

	mu      sync.Mutex
	version string
	last    uint64
	pending map[uint64]chan message
	events  []Event
	data    int // bytes of the events' data
	garbage []string
	dropped bool
}

// newMonitor reads conn until its end. onEvent, if not nil, is called for every
// event in turn; it must not wait for an answer of the same monitor.
func newMonitor(conn net.Conn, onEvent func(Event)) *monitor {
	m := &monitor{conn: conn, onEvent: onEvent, hello: make(chan struct{}), done: make(chan struct{}), pending: map[uint64]chan message{}}
	go m.read()
	return m
}

// negotiate waits for the greeting and enters command mode.
func (m *monitor) negotiate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	select {
	case <-m.hello:
	case <-m.done:
		return fmt.Errorf("qmp: closed before the greeting%s", m.garbageNote())
	case <-ctx.Done():
		return fmt.Errorf("qmp: no greeting: %w%s", ctx.Err(), m.garbageNote())
	}
	_, err := m.run(ctx, "qmp_capabilities", nil)
	return err
}

// run sends a command and waits for its answer.
func (m *monitor) run(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	id, answer := m.expect()
	defer m.forget(id)
	if err := m.send(ctx, id, command, arguments); err != nil {
		return nil, fmt.Errorf("qmp %s: %w", command, err)
	}
	select {
	case a := <-answer:
		if a.Error != nil {
			a.Error.Command = command
			return nil, a.Error
		}
		return a.Return, nil
	case <-m.done:
		select { // the answer may have come just before the end, as that of quit
		case a := <-answer:
			if a.Error == nil {
				return a.Return, nil
			}
		default:
		}
		return nil, fmt.Errorf("qmp %s: %w", command, io.ErrUnexpectedEOF)
	case <-ctx.Done():
		return nil, fmt.Errorf("qmp %s: no answer: %w", command, ctx.Err())
	}
}

func (m *monitor) expect() (uint64, chan message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	answer := make(chan message, 1)
	m.pending[m.last] = answer
	return m.last, answer
}

func (m *monitor) forget(id uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.pending, id)
}

func (m *monitor) send(ctx context.Context, id uint64, command string, arguments any) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, arguments, id})
	if err != nil {
		return err
	}
	m.write.Lock()
	defer m.write.Unlock()
	if at, ok := ctx.Deadline(); ok {
		_ = m.conn.SetWriteDeadline(at)
	}
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = m.conn.Write(append(line, '\n'))
	return err
}

// read takes messages, one a line, until the connection ends.
func (m *monitor) read() {
	defer close(m.done)
	r := bufio.NewReaderSize(m.conn, 64<<10)
	for {
		line, err := readLine(r, maxMessage)
		if len(line) > 0 {
			m.take(line)
		}
		if err != nil {
			return
		}
	}
}

// readLine returns the next line without its end, and only its first limit
// bytes where it is longer.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part[:min(len(part), limit-len(line))]...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return []byte(strings.TrimRight(string(line), "\r\n")), err
		}
	}
}

func (m *monitor) take(line []byte) {
	var msg message
	if err := json.Unmarshal(line, &msg); err != nil {
		m.reject(line)
		return
	}
	switch {
	case msg.QMP != nil:
		m.greet(msg)
	case msg.Event != "":
		m.event(Event{msg.Event, time.Unix(msg.Timestamp.Seconds, msg.Timestamp.Microseconds*1000).UTC(), msg.Data})
	case msg.ID != nil:
		m.answer(msg)
	default: // also an error without an id: QEMU could not parse what we sent
		m.reject(line)
	}
}

func (m *monitor) greet(msg message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.version != "" {
		return
	}
	v := msg.QMP.Version
	m.version = strings.TrimSpace(fmt.Sprintf("%d.%d.%d %s", v.QEMU.Major, v.QEMU.Minor, v.QEMU.Micro, v.Text))
	close(m.hello)
}

func (m *monitor) answer(msg message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.pending[*msg.ID]; ok {
		delete(m.pending, *msg.ID) // a second answer with this id has no taker
		c <- msg
	}
}

func (m *monitor) event(e Event) {
	m.mu.Lock()
	if m.data += len(e.Data); len(m.events) >= maxEvents || m.data > maxEventData {
		e = Event{Name: eventsDropped, Time: e.Time}
	}
	kept := !m.dropped
	if kept {
		m.events = append(m.events, e)
		m.dropped = e.Name == eventsDropped
	}
	m.mu.Unlock()
	if kept && m.onEvent != nil {
		m.onEvent(e)
	}
}

func (m *monitor) reject(line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.garbage) < maxGarbage {
		m.garbage = append(m.garbage, fmt.Sprintf("%.200q", line))
	}
}

func (m *monitor) garbageNote() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.garbage) == 0 {
		return ""
	}
	return "; it sent " + m.garbage[0]
}

func (m *monitor) recorded() []Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Event(nil), m.events...)
}
