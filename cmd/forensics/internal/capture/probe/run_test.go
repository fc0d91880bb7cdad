package probe

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sh is a probe that runs a script.
func sh(script string, limit time.Duration) Spec {
	return Spec{Name: "p", Where: Host, Argv: []string{"sh", "-c", script}, Script: true, Limit: limit}
}

func needShell(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil || runtime.GOOS == "windows" {
		t.Skip("no POSIX shell here")
	}
}

func TestRun(t *testing.T) {
	needShell(t)
	t.Setenv("FORENSICS_PROBE_TEST", "kept")
	for _, tt := range []struct {
		script         string
		status         int
		stdout, stderr string
	}{
		{"echo out; echo err >&2; exit 3", 3, "out\n", "err\n"},
		{"read x; echo \"$? $x\"", 0, "1 \n", ""}, // standard input is empty
		{"echo $LC_ALL", 0, "C.UTF-8\n", ""},
		{"echo $FORENSICS_PROBE_TEST", 0, "kept\n", ""},
		{"kill -TERM $$", 143, "", ""},
		{`printf 'caf\303\251\n'`, 0, "café\n", ""},
	} {
		r := Run(context.Background(), sh(tt.script, time.Minute), "", nil)
		if r.ExitStatus != tt.status || r.Stdout != tt.stdout || r.Stderr != tt.stderr || r.TimedOut || r.Truncated {
			t.Errorf("%s: %+v", tt.script, r)
		}
		if r.StdoutBase64 != "" || r.Start.IsZero() || r.Duration <= 0 {
			t.Errorf("%s: %+v", tt.script, r)
		}
	}
}

// TestRunDirectory also shows that a program's path is meant from there.
func TestRunDirectory(t *testing.T) {
	needShell(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\npwd\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := Run(context.Background(), Spec{Argv: []string{"./tool"}, Limit: time.Minute}, dir, nil)
	if got := strings.TrimSpace(r.Stdout); filepath.Base(got) != filepath.Base(dir) {
		t.Errorf("%+v", r)
	}
}

// TestRunAbsent: a program that is not there, or is none, is an answer.
func TestRunAbsent(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		argv   string
		status int
		stderr string
	}{
		{"no-such-program-here", 127, "no-such-program-here: command not found\n"},
		{"./no/such/program", 127, "./no/such/program: No such file or directory\n"},
		{"./text", 126, "./text: Permission denied\n"},
	} {
		if runtime.GOOS == "windows" && tt.status == 126 {
			continue // no mode bits
		}
		r := Run(context.Background(), Spec{Argv: []string{tt.argv}, Limit: time.Minute}, dir, nil)
		if r.ExitStatus != tt.status || r.Stderr != tt.stderr {
			t.Errorf("%s: %+v", tt.argv, r)
		}
	}
}

// dies waits for a process to be gone.
func dies(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); alive(pid); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived its probe", pid)
		}
	}
}

// TestRunLimit: at the limit the whole group dies, also a grandchild that
// ignores signals, and another probe's group does not.
func TestRunLimit(t *testing.T) {
	needShell(t)
	t.Parallel()
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	other := make(chan Record, 1)
	go func() { other <- Run(context.Background(), sh("sleep 2; echo lived", time.Minute), "", nil) }()
	script := fmt.Sprintf("trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 60) & echo $! >%s; echo begun; wait", quote(pids))
	r := Run(context.Background(), sh(script, 700*time.Millisecond), "", nil)
	if !r.TimedOut || r.ExitStatus != 137 || r.Stdout != "begun\n" || r.Duration > 30 {
		t.Errorf("%+v", r)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	dies(t, pid)
	if r := <-other; r.Stdout != "lived\n" || r.ExitStatus != 0 {
		t.Errorf("the other probe: %+v", r)
	}
}

// TestRunOrphan: a child that a probe leaves behind does not outlive it either.
func TestRunOrphan(t *testing.T) {
	needShell(t)
	t.Parallel()
	r := Run(context.Background(), sh("sleep 60 & echo $!", time.Minute), "", nil)
	pid, err := strconv.Atoi(strings.TrimSpace(r.Stdout))
	if err != nil || r.TimedOut || r.ExitStatus != 0 || r.Duration > 30 {
		t.Fatalf("%+v", r)
	}
	dies(t, pid)
}

// TestRunLeaver: a process that left the group and keeps the pipes open holds
// nothing up. It lives on: nothing tells whose it is.
func TestRunLeaver(t *testing.T) {
	needShell(t)
	t.Parallel()
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid")
	}
	r := Run(context.Background(), sh("echo begun; exec setsid sleep 15", time.Minute), "", nil)
	if r.TimedOut || r.Stdout != "begun\n" || r.Duration > 10 {
		t.Errorf("%+v", r)
	}
}

func TestRunCancelled(t *testing.T) {
	needShell(t)
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(200*time.Millisecond, cancel)
	if r := Run(ctx, sh("sleep 60", time.Minute), "", nil); r.TimedOut || r.ExitStatus != 137 {
		t.Errorf("%+v", r)
	}
	n := 0
	RunAll(ctx, []Spec{sh("echo x", time.Minute), sh("echo y", time.Minute)}, "", nil, func(Record) { n++ })
	if n != 0 {
		t.Errorf("%d records of probes that began after the end", n)
	}
}

func TestRunFlood(t *testing.T) {
	needShell(t)
	r := Run(context.Background(), sh("head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2", time.Minute), "", nil)
	if !r.Truncated || len(r.Stdout) != MaxOutput || len(r.Stderr) != MaxOutput || strings.Trim(r.Stderr, "y") != "" || r.ExitStatus != 0 {
		t.Errorf("%d and %d bytes, truncated %v, status %d", len(r.Stdout), len(r.Stderr), r.Truncated, r.ExitStatus)
	}
}

// TestRunAll: records come in the order of the list, whichever ends first.
func TestRunAll(t *testing.T) {
	needShell(t)
	t.Parallel()
	var list []Spec
	for i := range 12 {
		s := sh(fmt.Sprintf("sleep 0.%d; echo %d", (12-i)%3, i), time.Minute)
		s.Name = fmt.Sprint("p", i)
		list = append(list, s)
	}
	i := 0
	RunAll(context.Background(), list, "", nil, func(r Record) {
		if r.Name != list[i].Name || r.Stdout != fmt.Sprintln(i) {
			t.Errorf("record %d is %s: %q", i, r.Name, r.Stdout)
		}
		i++
	})
	if i != len(list) {
		t.Errorf("%d records", i)
	}
}

func TestSetOutput(t *testing.T) {
	for _, tt := range []struct {
		in, text string
		raw      bool
	}{
		{"", "", false},
		{"plain\n", "plain\n", false},
		{"caf\xc3\xa9", "café", false},
		{"\ufffd", "\ufffd", false}, // it may stand there by itself
		{"a\xff\xfeb", "a\ufffd\ufffdb", true},
		{"\x00\x1b[0m", "\x00\x1b[0m", false},
	} {
		var r Record
		r.SetOutput([]byte(tt.in), nil)
		if r.Stdout != tt.text || (r.StdoutBase64 != "") != tt.raw {
			t.Errorf("%q: %+v", tt.in, r)
		}
		if raw, err := base64.StdEncoding.DecodeString(r.StdoutBase64); tt.raw && (err != nil || string(raw) != tt.in) {
			t.Errorf("%q: %q %v", tt.in, raw, err)
		}
	}
	var r Record
	r.SetOutput([]byte(strings.Repeat("x", MaxOutput-1)+"é"), nil)
	if !r.Truncated || len(r.Stdout) != MaxOutput-1 || r.StdoutBase64 != "" {
		t.Errorf("cut in a character: %d bytes, %v", len(r.Stdout), r.Truncated)
	}
}

func FuzzSetOutput(f *testing.F) {
	for _, s := range []string{"plain\n", "caf\xc3\xa9", "a\xff\xfeb", "\xc3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Record
		r.SetOutput(data, data)
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Record
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		got := []byte(back.Stdout)
		if back.StdoutBase64 != "" {
			if got, err = base64.StdEncoding.DecodeString(back.StdoutBase64); err != nil {
				t.Fatal(err)
			}
		}
		if string(got) != string(data) {
			t.Errorf("%q came back as %q", data, got)
		}
	})
}
