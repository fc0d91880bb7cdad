package vm

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRing(t *testing.T) {
	r := newRing(8)
	read := func(n int, want string, wantLost int64) {
		t.Helper()
		p := make([]byte, n)
		got, err := r.Read(p)
		var over *OverrunError
		if errors.As(err, &over) && over.Lost != wantLost || (over == nil) != (wantLost == 0) {
			t.Errorf("Read: %v, want %d lost", err, wantLost)
		}
		if string(p[:got]) != want {
			t.Errorf("Read: %q, want %q", p[:got], want)
		}
	}
	r.Write([]byte("abcdef"))
	read(4, "abcd", 0)
	r.Write([]byte("ghij"))
	read(8, "efghij", 0)
	r.Write([]byte("12345678"))
	r.Write([]byte("9"))
	read(8, "", 1)
	read(8, "23456789", 0)
	r.Write([]byte("xy"))
	r.Write([]byte("0123456789"))
	read(8, "", 4)
	read(3, "234", 0)
	r.end()
	read(9, "56789", 0)
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	r.Close()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if n, err := r.Write([]byte("x")); n != 1 || err != nil {
		t.Errorf("a closed reader stops the writer: %d, %v", n, err)
	}
}

// TestRingModel compares with a plain queue.
func TestRingModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		limit := 1 + rnd.IntN(20<<10)
		r := newRing(limit)
		var queue []byte
		var lost int64
		for range 100 {
			p := make([]byte, rnd.IntN(8<<10))
			for i := range p {
				p[i] = byte(rnd.Uint32())
			}
			r.Write(p)
			queue = append(queue, p...)
			if over := len(queue) - limit; over > 0 {
				lost += int64(over)
				queue = queue[over:]
			}
			if len(r.buf) > limit {
				t.Fatalf("%d bytes of memory, limit %d", len(r.buf), limit)
			}
			if lost > 0 && rnd.IntN(2) == 0 {
				var over *OverrunError
				if _, err := r.Read(p); !errors.As(err, &over) || over.Lost != lost {
					t.Fatalf("lost: %v, want %d", err, lost)
				}
				lost = 0
			}
			if lost == 0 && len(queue) > 0 {
				got := make([]byte, 1+rnd.IntN(8<<10))
				n, err := r.Read(got)
				if err != nil || n != min(len(got), len(queue)) || !bytes.Equal(got[:n], queue[:n]) {
					t.Fatalf("Read: %d of %d, %v", n, len(queue), err)
				}
				queue = queue[n:]
			}
		}
	}
}

// TestRingWakes: a reader that waits is woken by bytes, by the end, by Close.
func TestRingWakes(t *testing.T) {
	for name, wake := range map[string]func(*ring){
		"bytes": func(r *ring) { r.Write([]byte("x")) },
		"end":   (*ring).end,
		"close": func(r *ring) { r.Close() },
	} {
		r := newRing(8)
		got := make(chan error, 1)
		go func() {
			_, err := r.Read(make([]byte, 1))
			got <- err
		}()
		wake(r)
		want := map[string]error{"bytes": nil, "end": io.EOF, "close": os.ErrClosed}[name]
		if err := <-got; err != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// replay returns what a cast prints and what was typed, and fails where it is no
// asciicast version 2.
func replay(t testing.TB, text string) (out, in string) {
	t.Helper()
	head, events, _ := strings.Cut(text, "\n")
	var h struct {
		Version, Width, Height int
		Timestamp              int64
	}
	if err := json.Unmarshal([]byte(head), &h); err != nil || h.Version != 2 || h.Width != 80 || h.Height != 25 || h.Timestamp <= 0 {
		t.Fatalf("header %q: %v", head, err)
	}
	last := 0.0
	for line := range strings.Lines(events) {
		var e [3]any
		d := json.NewDecoder(strings.NewReader(line))
		if err := d.Decode(&e); err != nil || !strings.HasSuffix(line, "]\n") {
			t.Fatalf("event %q: %v", line, err)
		}
		at, ok := e[0].(float64)
		if !ok || at < last {
			t.Fatalf("time of %q, after %f", line, last)
		}
		last = at
		switch e[1] {
		case "o":
			out += e[2].(string)
		case "i":
			in += e[2].(string)
		default:
			t.Fatalf("event %q", line)
		}
	}
	return out, in
}

func TestCast(t *testing.T) {
	tests := []struct {
		reads []string
		want  string // without the header
	}{
		{[]string{"a\r\n"}, `[0.000000, "o", "a\r\n"]` + "\n"},
		{[]string{"\xe2", "\x82", "\xac!"}, `[2.000000, "o", "€!"]` + "\n"},
		{[]string{"a\xe2\x82", "b"}, `[0.000000, "o", "a"]` + "\n" + `[1.000000, "o", "\ufffd\ufffdb"]` + "\n"},
		{[]string{"\xff"}, `[0.000000, "o", "\ufffd"]` + "\n"},
		{[]string{"x\xf0\x9f"}, `[0.000000, "o", "x"]` + "\n" + `[9.000000, "o", "\ufffd\ufffd"]` + "\n"},
		{[]string{"\x80\x80\x80\x80"}, `[0.000000, "o", "\ufffd\ufffd\ufffd\ufffd"]` + "\n"},
		{[]string{"\x1b[1m\x00\x07"}, `[0.000000, "o", "\u001b[1m\u0000\u0007"]` + "\n"},
		{[]string{"", ""}, ""},
	}
	for _, test := range tests {
		var b bytes.Buffer
		c, err := newCast(&b, time.Unix(1700000000, 0))
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		for i, p := range test.reads {
			if err := c.output(time.Duration(i)*time.Second, []byte(p)); err != nil {
				t.Error(err)
			}
		}
		if err := c.flush(9 * time.Second); err != nil {
			t.Error(err)
		}
		if canon(t, b.String()) != canon(t, test.want) {
			t.Errorf("%q: %q, want %q", test.reads, b.String(), test.want)
		}
	}
}

// canon writes each event's text in one form of JSON.
func canon(t *testing.T, lines string) string {
	var out strings.Builder
	for line := range strings.Lines(lines) {
		var e [3]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		b, _ := json.Marshal(e)
		out.Write(b)
		out.WriteByte('\n')
	}
	return out.String()
}

// FuzzCast: however the bytes are cut, a cast replays them, with U+FFFD for what
// is no UTF-8, and no character is lost or broken by the cut.
func FuzzCast(f *testing.F) {
	f.Add([]byte("Loading /boot/bzImage... ok\r\n\x1b[0;32m  OK  \x1b[0m€"), uint8(3))
	f.Add([]byte("\xe2\x82\xac\xf0\x9f\x98\x80\xff\xc0\x80\xed\xa0\x80"), uint8(1))
	f.Fuzz(func(t *testing.T, p []byte, step uint8) {
		var b bytes.Buffer
		c, err := newCast(&b, time.Unix(1700000000, 0))
		if err != nil {
			t.Fatal(err)
		}
		n := int(step)%7 + 1
		for i := 0; i < len(p); i += n {
			if err := c.output(time.Duration(i), p[i:min(i+n, len(p))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.flush(time.Duration(len(p))); err != nil {
			t.Fatal(err)
		}
		out, in := replay(t, b.String())
		if in != "" || utf8.Valid(p) && out != string(p) || out != string([]rune(string(p))) {
			t.Errorf("%q replays as %q", p, out)
		}
	})
}
