package forward

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal"
)

// first and second are what journald 257 sent for two messages, one of them of
// two lines; huge is longer than any buffer here.
const (
	first = "MESSAGE=first entry\nPRIORITY=6\nSYSLOG_IDENTIFIER=tester\n_TRANSPORT=journal\n_PID=1119\n_UID=0\n_COMM=python3\n" +
		"_SOURCE_REALTIME_TIMESTAMP=1795439560871359\n_BOOT_ID=d986b2c1b38446b78675128b9e4ed7b3\n_HOSTNAME=vm\n_RUNTIME_SCOPE=system\n" +
		"__REALTIME_TIMESTAMP=1795439560871439\n__MONOTONIC_TIMESTAMP=23845884534\n\n"
	second = "MESSAGE\n\x0e\x00\x00\x00\x00\x00\x00\x00two\nlines\x1b[31m\nPRIORITY=3\nSYSLOG_IDENTIFIER=tester\n_PID=1119\n" +
		"_BOOT_ID=d986b2c1b38446b78675128b9e4ed7b3\n__REALTIME_TIMESTAMP=1795439560872300\n__MONOTONIC_TIMESTAMP=23845885394\n\n"
)

func binaryField(name string, size int) string {
	return name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(size))) + strings.Repeat("h", size) + "\n"
}

// fakeListener is a Unix socket in place of a vsock.
type fakeListener struct{ *net.UnixListener }

func (l fakeListener) Accept() (Conn, error) { return l.AcceptUnix() }

// stream is what was recorded.
type stream struct {
	mu     sync.Mutex
	b      bytes.Buffer
	opened int
	err    error         // of each write
	block  chan struct{} // writes wait for it, nil for none
}

func (s *stream) open() (io.WriteCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return s, nil
}

func (s *stream) Write(p []byte) (int, error) {
	if s.block != nil {
		<-s.block
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	return s.b.Write(p)
}

func (s *stream) Close() error { return nil }

func (s *stream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// record starts a recording, and returns a way to connect to it.
func record(t *testing.T, s *stream) (*Recording, func() net.Conn) {
	t.Helper()
	return limited(t, s, maxBytes)
}

func limited(t *testing.T, s *stream, limit int64) (*Recording, func() net.Conn) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake listener is a Unix socket")
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	r := start(fakeListener{l}, s.open, limit)
	t.Cleanup(func() { r.Stop() })
	return r, func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// ours are the entries that we write ourselves.
var ours = regexp.MustCompile(`(?:^|\n\n)__CURSOR=forensics;connection=(\d+)\n__REALTIME_TIMESTAMP=\d+\n\n`)

// entries reads a recording as analysis does.
func entries(t *testing.T, recorded string) (messages []string, kind bundle.Kind, problems []string) {
	t.Helper()
	fsys := fstest.MapFS{"journal.forwarded.export": &fstest.MapFile{Data: []byte(recorded)}}
	runs, _ := bundle.Find(fsys, "case")
	if len(runs) != 1 || len(runs[0].Artifacts) != 1 {
		t.Fatalf("%d runs", len(runs))
	}
	analyzers.Analyze(runs[0], []*analyzers.Analyzer{{
		Name: "test", Doc: "Takes the entries.", Requires: []*analyzers.Analyzer{journal.Analyzer},
		Run: func(p *analyzers.Pass) (any, error) {
			for _, l := range journal.From(p) {
				for i := range l.Entries {
					m := l.Entries[i].Message
					messages = append(messages, fmt.Sprintf("%.20s %d", m, len(m)))
				}
			}
			return nil, nil
		},
	}}, nil)
	for _, p := range runs[0].Problems {
		problems = append(problems, p.Text)
	}
	return messages, runs[0].Artifacts[0].Kind, problems
}

// TestRecording: guests by what they send over each connection, and what is
// read of it.
func TestRecording(t *testing.T) {
	huge := binaryField("MESSAGE", 3<<20) + "PRIORITY=6\n__REALTIME_TIMESTAMP=1795439560872301\n\n"
	for _, c := range []struct {
		name     string
		conns    []string
		messages []string
		damaged  bool
	}{
		{"two entries", []string{first + second}, []string{"first entry 11", "two\nlines 9"}, false},
		{"two connections", []string{first, second}, []string{"first entry 11", "two\nlines 9"}, false},
		{"dies within a line", []string{first + "MESSAGE=the las"}, []string{"first entry 11", "the las 7"}, false},
		{"dies within a field", []string{first + second[:20]}, []string{"first entry 11", "two\n 4"}, true},
		{"dies within a length", []string{first + second[:10]}, []string{"first entry 11"}, true},
		{"dies within a field, comes again", []string{second[:20], first}, []string{"first entry 11"}, true},
		{"dies within an entry, comes again", []string{"MESSAGE=half an ent", first}, []string{"half an ent 11", "first entry 11"}, false},
		{"huge", []string{huge + first}, []string{"hhhhhhhhhhhhhhhhhhhh 1048576", "first entry 11"}, false},
		{"garbage, comes again", []string{"\x00\xff\x16\x03\x01GET / HTTP/1.1\r\n\r\n", first}, []string{"first entry 11"}, true},
		{"nothing", []string{""}, nil, false},
		{"nothing, then an entry", []string{"", first}, []string{"first entry 11"}, false},
		{"nobody", nil, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := &stream{}
			r, dial := record(t, s)
			want := ""
			for _, text := range c.conns {
				conn := dial()
				send(t, conn, text)
				conn.Close()
				want += text
			}
			got := r.Stop()
			if got.Err != nil || got.Bytes != int64(len(want)) {
				t.Errorf("%+v, want %d bytes", got, len(want))
			}
			if all := s.String(); ours.ReplaceAllString(all, "") != want || len(ours.FindAllString(all, -1)) != len(slices.DeleteFunc(slices.Clone(c.conns), func(s string) bool { return s == "" })) {
				t.Fatalf("recorded %.300q, want %.300q", all, want)
			}
			if want == "" {
				if s.opened != 0 {
					t.Error("there is a file although nothing came")
				}
				return
			}
			messages, kind, problems := entries(t, s.String())
			if kind != bundle.Journal || !slices.Equal(messages, c.messages) || (len(problems) > 0) != c.damaged {
				t.Errorf("%s with %q, want %q; problems %q", kind, messages, c.messages, problems)
			}
		})
	}
}

// TestCut: where the bytes of a live journald end, the entries before that are
// read, and all of the next connection's.
func TestCut(t *testing.T) {
	file, err := os.ReadFile(filepath.Join("testdata", "journald-257.export"))
	if err != nil {
		t.Fatal(err)
	}
	recorded := string(file)
	head := ours.FindString(recorded)
	sent := recorded[len(head):]
	whole, kind, problems := entries(t, recorded)
	want := []string{"Linux version 6.1.0- 196", "Unstable clock detec 170", "Collecting audit mes 38", "systemd-timedated.se 52"}
	if head == "" || kind != bundle.Journal || !slices.Equal(whole, want) || len(problems) > 0 {
		t.Fatalf("%s with %q, want %q; problems %q", kind, whole, want, problems)
	}
	ends := regexp.MustCompile(`\n__MONOTONIC_TIMESTAMP=\d+\n\n`).FindAllStringIndex(sent, -1)
	step, swallowed := 1, 0
	if testing.Short() {
		step = 31
	}
	for cut := 0; cut <= len(sent); cut += step {
		got, _, _ := entries(t, head+sent[:cut]+"\n\n"+head+sent)
		complete := 0
		for complete < len(ends) && ends[complete][1] <= cut {
			complete++
		}
		next := want
		if len(got) < len(want) || !slices.Equal(got[len(got)-len(want):], want) {
			// The length of the field that was cut happens to end at a line's end of
			// what came next.
			swallowed++
			next = want[1:]
		}
		if n := len(got); n < complete+len(next) || n > complete+1+len(next) || !slices.Equal(got[:complete], want[:complete]) || !slices.Equal(got[n-len(next):], next) {
			t.Fatalf("cut at %d, after %d entries: %q", cut, complete, got)
		}
	}
	if swallowed > 10 {
		t.Errorf("%d cuts cost an entry of the next connection", swallowed)
	}
}

// soon is far less than a capture's end may be delayed.
const soon = 30 * time.Second

// stops holds that Stop returns.
func stops(t *testing.T, r *Recording) Result {
	t.Helper()
	got := make(chan Result, 1)
	go func() { got <- r.Stop() }()
	select {
	case res := <-got:
		return res
	case <-time.After(soon):
		t.Fatal("Stop does not return")
		return Result{}
	}
}

// TestStop: whatever the guest does meanwhile, the recording ends, with what
// was sent.
func TestStop(t *testing.T) {
	t.Run("a connection that stays", func(t *testing.T) {
		s := &stream{}
		r, dial := record(t, s)
		c := dial()
		send(t, c, first)
		if got := stops(t, r); got.Err != nil || got.Bytes != int64(len(first)) || got.Connections != 1 {
			t.Errorf("%+v", got)
		}
		if again := stops(t, r); again.Bytes != int64(len(first)) {
			t.Errorf("stopped again: %+v", again)
		}
	})
	t.Run("a guest that never ends", func(t *testing.T) {
		s := &stream{}
		r, dial := record(t, s)
		c := dial()
		begun := make(chan struct{})
		go func() {
			for i := 0; ; i++ {
				if _, err := io.WriteString(c, first); err != nil {
					return
				}
				if i == 10 {
					close(begun)
				}
			}
		}()
		<-begun
		if got := stops(t, r); got.Err != nil || got.Bytes < int64(len(first)) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a disk that takes nothing", func(t *testing.T) {
		s := &stream{block: make(chan struct{})}
		r, dial := record(t, s)
		defer close(s.block)
		send(t, dial(), first)
		for r.connections() == 0 {
			time.Sleep(time.Millisecond)
		}
		if got := stops(t, r); got.Err == nil {
			t.Errorf("%+v, want an error", got)
		}
	})
	t.Run("more than is kept", func(t *testing.T) {
		s := &stream{}
		r, dial := limited(t, s, 1000)
		for range 50 { // our own entries count, too
			c := dial()
			send(t, c, "MESSAGE=x\n\n")
			c.Close()
		}
		for r.failure() == nil {
			time.Sleep(time.Millisecond)
		}
		if got := stops(t, r); !errors.Is(got.Err, errLimit) || len(s.String()) > 1000 || len(s.String()) < 900 {
			t.Errorf("%+v, %d bytes in the file", got, len(s.String()))
		}
	})
	t.Run("a full disk", func(t *testing.T) {
		s := &stream{err: errors.New("no space")}
		r, dial := record(t, s)
		send(t, dial(), first)
		for r.failure() == nil {
			time.Sleep(time.Millisecond)
		}
		if got := stops(t, r); !errors.Is(got.Err, s.err) || got.Bytes != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func (r *Recording) connections() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result.Connections
}

func (r *Recording) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.result.Err
}

func TestCredential(t *testing.T) {
	if got, want := Credential(1234), "io.systemd.credential:journal.forward_to_socket=vsock-stream:2:1234"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
