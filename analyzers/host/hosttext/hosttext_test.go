package hosttext

import (
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers/bundle"
)

func TestLines(t *testing.T) {
	data := "[2026-03-01T10:00:00.5+00:00] Starting build\n" +
		"[2026-03-01T10:00:00.5+00:00]   ISO: /a.iso\n" +
		"E   pexpect.exceptions.EOF: End\n" +
		"\x1b[31;1merror:\x1b[0m builder\r\n" +
		"[1/2] 10%\r[2/2] done\n" +
		"2026-03-01 10:00 no stamp: seconds and zone are missing\n" +
		"[2026-03-01T10:00:01Z] Serial output: login-less text\n" +
		"after"
	l := &Log{Path: "harness.log", Kind: bundle.Harness, Data: []byte(data)}
	var got []string
	for ln := range l.Lines() {
		got = append(got, fmt.Sprintf("%d %q stamp=%t indented=%t relayed=%t boot=%t", ln.Number, ln.Text, ln.Stamp != "", ln.Indented, ln.Relayed, ln.Boot))
	}
	want := []string{
		`1 "Starting build" stamp=true indented=false relayed=false boot=false`,
		`2 "ISO: /a.iso" stamp=true indented=true relayed=false boot=false`,
		`3 "pexpect.exceptions.EOF: End" stamp=false indented=false relayed=false boot=false`,
		`4 "error: builder" stamp=false indented=false relayed=false boot=false`,
		`5 "[2/2] done" stamp=false indented=false relayed=false boot=false`,
		`6 "2026-03-01 10:00 no stamp: seconds and zone are missing" stamp=false indented=false relayed=false boot=false`,
		`7 "login-less text" stamp=true indented=false relayed=true boot=true`,
		`8 "after" stamp=false indented=false relayed=false boot=true`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestBoot: each mark of a running guest, and a line that nearly is one.
func TestBoot(t *testing.T) {
	for text, want := range map[string]bool{
		"Awaiting patterns: login: (timeout=3s)":                true,
		"Expecting: login: (timeout 240 s)":                     true,
		"Waiting for the login":                                 true,
		"Waiting for the lock on the store":                     false,
		"Serial: qemu-system-x86_64: x":                         true,
		"Serial number: 17":                                     false,
		"No longer awaiting patterns":                           false,
		"<pexpect.pty_spawn.spawn object at 0x7f>":              true,
		"<pexpect.expect.Expecter object at 0x7f>":              false,
		"SeaBIOS (version 1.16.2)":                              true,
		"copying SeaBIOS":                                       false,
		"[    0.000000] Linux version 6.1":                      true,
		"[1/2] Linux version 6.1":                               false,
		"<<< NixOS Stage 1 >>>":                                 true,
		"nixos login: ":                                         true,
		"login:x":                                               false,
		"nixos login: root":                                     true,
		"QEMU command: qemu-system-x86_64":                      true,
		"building '/nix/store/x-qemu-command.drv'":              false,
		"these 2 derivations will be built: (see login manual)": false,
	} {
		l := &Log{Kind: bundle.Harness, Data: []byte(text)}
		for ln := range l.Lines() {
			if ln.Boot != want {
				t.Errorf("%q: boot %t, want %t", text, ln.Boot, want)
			}
		}
	}
}

func TestEvidence(t *testing.T) {
	l := &Log{Path: "p", Data: []byte("one\ntwo three\n")}
	for ln := range l.Lines() {
		if ln.Number != 2 {
			continue
		}
		if e := l.Evidence(ln, "three"); e.Quote != "three" || e.Line != 2 || e.Start != 8 {
			t.Errorf("part: %+v", e)
		}
		if e := l.Evidence(ln, "absent"); e.Quote != "two three" {
			t.Errorf("line: %+v", e)
		}
	}
}

func TestClean(t *testing.T) {
	if got := Clean("  a \x1b[31mb\x1b[0m\x00\u202e\nc  d\n"); got != "a b\nc d" {
		t.Errorf("%q", got)
	}
	if got := Clean(strings.Repeat("é ", maxValue)); len(got) > maxValue {
		t.Errorf("%d bytes", len(got))
	}
}

// FuzzLines: lines cover the data in order, in one pass, and their evidence
// lies within it.
func FuzzLines(f *testing.F) {
	f.Add([]byte("[2026-03-01T10:00:01Z] Serial output: x\r\nE   y\n\x1b[3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &Log{Kind: bundle.Harness, Data: data}
		last := int64(0)
		for ln := range l.Lines() {
			if ln.Start < last || ln.End < ln.Start || ln.End > int64(len(data)) {
				t.Fatalf("line %d: %d-%d after %d", ln.Number, ln.Start, ln.End, last)
			}
			last = ln.End
			if e := l.Evidence(ln, ln.Text); e.End > int64(len(data)) {
				t.Fatalf("evidence %+v", e)
			}
			Clean(ln.Text)
		}
	})
}
