//go:build e2e && linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// prompted is what the console shows when the guest has come up to its login.
var prompted = []byte("login: nixos (automatic login)")

// TestOverhead boots the image by turns with capture, and by the same QEMU
// command without us: its serial port goes to a file, nobody types. It prints
// the times to the login prompt and their ratio, and judges nothing: OVERHEAD=N
// says how many pairs.
func TestOverhead(t *testing.T) {
	pairs, err := strconv.Atoi(os.Getenv("OVERHEAD"))
	if err != nil || pairs < 1 {
		t.Skip("OVERHEAD=N boots N pairs")
	}
	program, image := os.Getenv("FORENSICS"), os.Getenv("TESTIMAGE")
	if program == "" || image == "" {
		t.Fatal("FORENSICS and TESTIMAGE name the program and the image")
	}
	var with, without []float64
	var cpu float64
	for i := range pairs {
		// Neither is always the first: the host's caches and load change.
		boots := []func(){
			func() {
				var seconds float64
				seconds, cpu = captured(t, program, image)
				with = append(with, seconds)
			},
			func() { without = append(without, plain(t, program, image)) },
		}
		if i%2 == 1 {
			slices.Reverse(boots)
		}
		boots[0]()
		boots[1]()
		load, _ := os.ReadFile("/proc/loadavg")
		t.Logf("pair %d: %.1f s with capture, %.1f s without, ratio %.3f; capture itself took %.2f s of CPU time; load %s", i+1, with[i], without[i], with[i]/without[i], cpu, bytes.TrimSpace(load))
	}
	t.Logf("medians of %d: %.1f s with capture, %.1f s without, ratio %.3f", pairs, median(with), median(without), median(with)/median(without))
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// captured returns the seconds from QEMU's start to the prompt, and those of CPU
// time that capture, without QEMU, had by then. It ends the capture there.
func captured(t *testing.T, program, image string) (seconds, cpu float64) {
	dir := filepath.Join(t.TempDir(), "bundle")
	cmd := gentle(t.Context(), program, "capture", "--only", "vm", "--iso", image, "--accel", "tcg", "--output", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // the status is that of an interrupted program
	}()
	at := waitFor(t, filepath.Join(dir, "serial.log"))
	cpu = cpuTime(t, cmd.Process.Pid)
	var q struct{ Started time.Time }
	data, err := os.ReadFile(filepath.Join(dir, "qemu.json"))
	if err = errors.Join(err, json.Unmarshal(data, &q)); err != nil {
		t.Fatal(err)
	}
	return at.Sub(q.Started).Seconds(), cpu
}

// cpuTime is what a process had so far, without its children; see proc(5),
// /proc/PID/stat. On Linux its ticks are of 10 ms.
func cpuTime(t *testing.T, pid int) float64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // from field 3 on
	user, err := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return float64(user+system) / 100
}

// plain boots by the same command, and returns the same.
func plain(t *testing.T, program, image string) float64 {
	dir := t.TempDir()
	serial, disk := filepath.Join(dir, "serial.log"), filepath.Join(dir, "disk.img")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 8<<30)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	argv := without(t, program, image, serial, disk)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	at := waitFor(t, serial)
	cancel()
	_ = cmd.Wait() // it was killed
	return at.Sub(start).Seconds()
}

// without is capture's own command line, with files in place of our sockets.
func without(t *testing.T, program, image, serial, disk string) []string {
	out, err := exec.CommandContext(t.Context(), program, "capture", "--only", "vm", "--iso", image, "--accel", "tcg", "--dry-run").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(out), "qemu: ")
	if !ok {
		t.Fatalf("no command in %q", out)
	}
	argv := strings.Fields(line)
	var ours []string
	for i, a := range argv {
		id, _, socket := strings.Cut(a, ",path=")
		switch {
		case a == "-S":
			continue
		case socket && strings.HasSuffix(id, "id=serial0"):
			a = "file,id=serial0,path=" + serial
		case socket:
			a = strings.Replace(id, "socket,", "null,", 1)
		case i > 0 && argv[i-1] == "-drive":
			a = strings.Replace(a, "file=disk0.img", "file="+disk, 1)
		}
		ours = append(ours, a)
	}
	return ours
}

// waitFor returns when the file holds the prompt.
func waitFor(t *testing.T, file string) time.Time {
	t.Helper()
	for end := time.Now().Add(loginTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if data, err := os.ReadFile(file); err == nil && bytes.Contains(data, prompted) {
			return time.Now()
		}
	}
	t.Fatalf("no prompt in %s within %v", file, loginTimeout)
	return time.Time{}
}
