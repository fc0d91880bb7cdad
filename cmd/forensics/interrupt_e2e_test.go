//go:build e2e && linux

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCaptureInterrupted ends captures at 20 random moments, by Ctrl-C, by the
// word to end, and without a word. Each time no process lives on and no socket
// or temporary file stays, what is there is analysed, and the manifest tells the
// truth.
func TestCaptureInterrupted(t *testing.T) {
	program, image := os.Getenv("FORENSICS"), os.Getenv("TESTIMAGE")
	if program == "" || image == "" {
		t.Fatal("FORENSICS and TESTIMAGE name the program and the image: run make e2e")
	}
	const seed = 20
	random := rand.New(rand.NewPCG(seed, seed))
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL}
	for i := range 20 {
		moment := time.Duration(random.Int64N(int64(12 * time.Second)))
		t.Run(moment.Round(time.Millisecond).String()+" "+signals[i%3].String(), func(t *testing.T) {
			interrupt(t, program, image, moment, signals[i%3])
		})
	}
}

func interrupt(t *testing.T, forensics, image string, moment time.Duration, sig syscall.Signal) {
	bundle := filepath.Join(t.TempDir(), "bundle")
	scratch := bundle + ".tmp"
	if err := os.Mkdir(scratch, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := gentle(t.Context(), forensics, "capture", "--iso", image, "--accel", "tcg", "--output", bundle)
	cmd.Env = append(os.Environ(), marker+"="+bundle, "TMPDIR="+scratch, "HOME="+t.TempDir()) // no login shell does more than it must
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(moment)
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	begun := time.Now()
	_ = cmd.Wait() // the status is that of an interrupted program
	if took := time.Since(begun); took > 30*time.Second {
		t.Errorf("it took %v to end", took)
	}
	settle(bundle, sig)
	if sig == syscall.SIGKILL {
		settle(bundle, sig) // what a killed shell had started
		removeScratch(t, scratch)
	}
	leftovers(t, bundle, scratch)
	data, err := os.ReadFile(filepath.Join(bundle, "manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return // it was ended before there was a bundle, and says nothing
	}
	var m struct {
		Complete bool   `json:"complete"`
		Why      string `json:"why"`
	}
	if err := json.Unmarshal(data, &m); err != nil || m.Complete || m.Why == "" {
		t.Errorf("the manifest says complete %v, %q (%v)", m.Complete, m.Why, err)
	}
	if sig != syscall.SIGKILL && !strings.Contains(m.Why, "interrupted") {
		t.Errorf("the manifest does not say that it was interrupted: %q", m.Why)
	}
	if stderr, code, _ := program(t, "analyze", "-f", "json", bundle); code > 1 {
		t.Errorf("analyze: status %d: %s", code, stderr)
	}
}

// settle gives the kernel time to end the machine that died with the capture,
// and after a kill ends what a probe of the host still does: it has a limit of
// its own.
func settle(bundle string, sig syscall.Signal) {
	for range 50 {
		machine := false
		for pid, argv := range processes(bundle) {
			if strings.Contains(argv, "qemu-system") {
				machine = true
			} else if sig == syscall.SIGKILL {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if !machine {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// processes are those of the capture, by their environment.
func processes(bundle string) map[int]string {
	found := map[int]string{}
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, p := range environs {
		if env, err := os.ReadFile(p); err == nil && strings.Contains(string(env), marker+"="+bundle) {
			argv, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "cmdline"))
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p))); err == nil {
				found[pid] = string(argv)
			}
		}
	}
	return found
}

// removeScratch takes away what a capture that was killed before QEMU's start
// could not: empty directories, and the smoke boot's sector. Disks have no name.
func removeScratch(t *testing.T, scratch string) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(scratch, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if strings.HasPrefix(filepath.Base(d), "forensics-disk-") {
			t.Errorf("a disk is left: %s", d)
		}
		sockets, _ := filepath.Glob(filepath.Join(d, "?"))
		if len(sockets) > 0 {
			t.Errorf("sockets are left: %v", sockets)
		}
		_ = os.RemoveAll(d)
	}
}
