package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hello = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}` + "\n"

// dial returns a monitor and the server's end of it.
func dial(t testing.TB, onEvent func(Event)) (*monitor, net.Conn) {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	return newMonitor(client, onEvent), server
}

func TestNegotiate(t *testing.T) {
	m, server := dial(t, nil)
	go func() {
		io.WriteString(server, hello)
		bufio.NewReader(server).ReadString('\n')
		io.WriteString(server, `{"return": {}, "id": 1}`+"\n")
	}()
	if err := m.negotiate(t.Context()); err != nil || m.version != "7.2.22 Debian" {
		t.Errorf("%v, version %q", err, m.version)
	}
}

func TestNoGreeting(t *testing.T) {
	m, server := dial(t, nil)
	go func() {
		io.WriteString(server, "SSH-2.0-dropbear\r\n")
		server.Close()
	}()
	if err := m.negotiate(t.Context()); err == nil || !strings.Contains(err.Error(), `it sent "SSH-2.0-dropbear"`) {
		t.Errorf("%v", err)
	}
}

// TestAnswers: a command among events, garbage and answers of others.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name, sent, want, wantErr string
	}{
		{"answer", `{"return": {"a": 1}, "id": 1}`, `{"a": 1}`, ""},
		{"of others first", `{"return": 1, "id": 7}` + "\n" + `{"return": 2}` + "\n" + `{"return": 3, "id": 1}`, "3", ""},
		{"after an event", `{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}` + "\n" + `{"return": {}, "id": 1}`, "{}", ""},
		{"after garbage", "\x00\xff}{\n\n\r\n[]\n" + `{"return": {}, "id": 1}`, "{}", ""},
		{"after a flood", strings.Repeat("[", 3*maxMessage) + "\n" + `{"return": {}, "id": 1}`, "{}", ""},
		{"error", `{"error": {"class": "GenericError", "desc": "no"}, "id": 1}`, "", "qmp x: GenericError: no"},
		{"end", ``, "", "qmp x: unexpected EOF"},
		{"cut", `{"return": {}, "id": 1`, "", "qmp x: unexpected EOF"},
		{"wrong types", `{"return": {}, "id": "1"}` + "\n" + `{"event": 3}`, "", "qmp x: unexpected EOF"},
		{"twice", `{"return": 1, "id": 1}` + "\n" + `{"return": 2, "id": 1}`, "1", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m, server := dial(t, nil)
			go func() {
				bufio.NewReader(server).ReadString('\n')
				io.WriteString(server, test.sent+"\n")
				server.Close()
			}()
			got, err := m.run(t.Context(), "x", nil)
			if string(got) != test.want || fmt.Sprint(err) != test.wantErr && (err != nil || test.wantErr != "") {
				t.Errorf("%s, %v; want %s, %s", got, err, test.want, test.wantErr)
			}
			<-m.done
			if len(m.pending) > 0 {
				t.Errorf("%d commands still wait", len(m.pending))
			}
		})
	}
}

func TestRunCancelled(t *testing.T) {
	m, server := dial(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		bufio.NewReader(server).ReadString('\n')
		cancel()
	}()
	if _, err := m.run(ctx, "x", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("unanswered: %v", err)
	}
	// The server reads nothing now: a pipe has no buffer, so writing waits.
	if _, err := m.run(ctx, "x", nil); err == nil {
		t.Error("unread: no error")
	}
}

func TestEventsBounded(t *testing.T) {
	told := 0
	m, server := dial(t, func(Event) { told++ })
	w := bufio.NewWriter(server)
	for i := range maxEvents + 5 {
		fmt.Fprintf(w, `{"timestamp": {"seconds": %d, "microseconds": 250000}, "event": "RTC_CHANGE", "data": {"offset": %d}}`+"\n", i, i)
	}
	w.Flush()
	server.Close()
	<-m.done
	got := m.recorded()
	if len(got) != maxEvents+1 || got[maxEvents].Name != "FORENSICS_EVENTS_DROPPED" || told != maxEvents+1 {
		t.Errorf("%d events, %d told, last %v", len(got), told, got[len(got)-1])
	}
	if e := got[3]; e.Name != "RTC_CHANGE" || !e.Time.Equal(time.Unix(3, 250000000)) || string(e.Data) != `{"offset": 3}` {
		t.Errorf("%v", e)
	}
}

func TestGarbageBounded(t *testing.T) {
	m, server := dial(t, nil)
	io.WriteString(server, strings.Repeat(strings.Repeat("\x1b", 5000)+"\n", 3*maxGarbage))
	server.Close()
	<-m.done
	if len(m.garbage) != maxGarbage || len(m.garbage[0]) > 1000 {
		t.Errorf("%d lines of %d bytes", len(m.garbage), len(m.garbage[0]))
	}
}

// FuzzMonitor: whatever a monitor sends, it is bounded and a command ends.
func FuzzMonitor(f *testing.F) {
	f.Add([]byte(hello + `{"return": {}, "id": 1}` + "\r\n"))
	f.Add([]byte(`{"timestamp": {"seconds": 1795430380, "microseconds": 868464}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}` + "\r\n"))
	f.Add([]byte(`{"id": 1, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}` + "\n"))
	f.Add([]byte(hello + hello + "\n{\"QMP\":null}\n{\"error\":null,\"id\":1}\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		m, server := dial(t, nil)
		go func() {
			bufio.NewReader(server).ReadString('\n')
			server.Write(sent)
			server.Close()
		}()
		_, err := m.run(t.Context(), "x", nil)
		<-m.done
		if err == nil && !bytes.Contains(sent, []byte("1")) {
			t.Error("an answer that nobody sent")
		}
		if len(m.garbage) > maxGarbage || len(m.events) > maxEvents+1 {
			t.Errorf("%d garbage, %d events", len(m.garbage), len(m.events))
		}
	})
}

func TestScreen(t *testing.T) {
	pixels := "\x01\x02\x03\xff\x00\x80"
	tests := []struct {
		name, file string
		ok         bool
	}{
		{"ppm", "P6\n2 1\n255\n" + pixels, true},
		{"newline as pixel", "P6\n2 1\n255\n\n\n\n \t\r", true},
		{"png", "\x89PNG\r\n\x1a\n", true},
		{"empty", "", false},
		{"cut", "P6\n2 1\n255\n" + pixels[:5], false},
		{"long", "P6\n2 1\n255\n" + pixels + "x", false},
		{"depth", "P6\n2 1\n65535\n" + pixels, false},
		{"negative", "P6\n-2 -1\n255\n" + pixels, false},
		{"zero", "P6\n0 0\n255\n", false},
		{"huge", "P6\n99999999999 99999999999\n255\n" + pixels, false},
		{"overflow", "P6\n4294967296 1431655766\n255\n" + pixels, false},
		{"text", "P3\n2 1\n255\n1 2 3 4 5 6", false},
	}
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), "screen")
		if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := readScreen(path)
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.name == "ppm" {
			img, err := png.Decode(bytes.NewReader(b))
			if err != nil || img.Bounds().Dx() != 2 || img.At(1, 0) != (color.RGBA{0xff, 0, 0x80, 0xff}) && img.At(1, 0) != (color.NRGBA{0xff, 0, 0x80, 0xff}) {
				t.Errorf("%v, %v", img, err)
			}
		}
	}
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte("P6\n2 1\n255\n\x01\x02\x03\xff\x00\x80"))
	f.Add([]byte("P6\n720 400\n255\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if b, err := ppmToPNG(p); err == nil {
			if _, err := png.Decode(bytes.NewReader(b)); err != nil {
				t.Errorf("%q: %v", p, err)
			}
		}
	})
}
