//go:build unix

package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(defaultProgram); err != nil {
		t.Skip(err)
	}
}

func TestSmokeTCG(t *testing.T) {
	needQEMU(t)
	for _, o := range []Options{{}, {Machine: "q35"}, {CPU: "max"}, {CPU: "pentium3"}} {
		watchTemp(t)
		o.Accel = AccelTCG
		r, err := Smoke(t.Context(), o, patience)
		if err != nil || r.Verdict != Works || r.Console != smokeAnswer || r.Exit.Code != smokeExit || r.Duration <= 0 {
			t.Errorf("machine %q, cpu %q: %+v, %v", o.Machine, o.CPU, r, err)
		}
	}
}

// TestSmokeKVM: whatever this host's KVM does, a verdict comes, with its reason.
func TestSmokeKVM(t *testing.T) {
	needQEMU(t)
	watchTemp(t)
	r, err := Smoke(t.Context(), Options{Accel: AccelKVM}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s after %s: %s, state %q, %s, stderr %q", r.Verdict, r.Duration, r.Because, r.Status, r.Exit, r.Stderr)
	_, kerr := os.Stat("/dev/kvm")
	switch {
	case kerr != nil && (r.Verdict != Fails || !strings.Contains(r.Stderr, "/dev/kvm")):
		t.Errorf("without /dev/kvm: %+v", r)
	case r.Verdict == Works && (r.Console != smokeAnswer || r.Exit.Code != smokeExit):
		t.Errorf("works, but %+v", r)
	case r.Verdict == Fails && r.Stderr == "" && r.Status == "":
		t.Errorf("fails, and nothing says why: %+v", r)
	}
}

func TestSmokeVerdicts(t *testing.T) {
	tests := []struct {
		name     string
		code     []byte
		deadline time.Duration
		want     string
		because  string
	}{
		{"idle", idleGuest, 2 * time.Second, Hangs, "at the deadline"},
		{"fault", faultGuest, patience, Fails, "QEMU ended before the guest did"},
		{"wrong answer", countGuest, patience, Fails, "printed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := guest(t, test.code)
			watchTemp(t)
			r, err := smoke(t.Context(), o, test.deadline)
			if err != nil || r.Verdict != test.want || !strings.Contains(r.Because, test.because) {
				t.Errorf("%s, %s, %v; want %s", r.Verdict, r.Because, err, test.want)
			}
			if len(r.Console) > maxConsole || len(r.Argv) == 0 {
				t.Errorf("%d bytes of console, argv %q", len(r.Console), r.Argv)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		hung bool
		r    SmokeResult
		want string
	}{
		{true, SmokeResult{Status: "internal-error"}, Fails},
		{true, SmokeResult{Status: "running"}, Hangs},
		{true, SmokeResult{}, Hangs}, // QEMU's own main loop hangs
		{false, SmokeResult{Exit: Exit{Code: smokeExit}, Console: smokeAnswer}, Works},
		{false, SmokeResult{Exit: Exit{Code: smokeExit}}, Fails},
		{false, SmokeResult{Exit: Exit{Code: 0}, Console: smokeAnswer}, Fails},
		{false, SmokeResult{Exit: Exit{Code: -1, Signal: "aborted"}}, Fails},
	}
	for _, test := range tests {
		if got, because := judge(test.hung, test.r); got != test.want || because == "" {
			t.Errorf("%v %+v: %s, %s", test.hung, test.r, got, because)
		}
	}
}

func TestSmokeCancelled(t *testing.T) {
	o := guest(t, idleGuest)
	watchTemp(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := smoke(ctx, o, patience); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestChooseAccel: a QEMU that refuses KVM, as one without /dev/kvm does.
func TestChooseAccel(t *testing.T) {
	needQEMU(t)
	wrapper := filepath.Join(t.TempDir(), "qemu")
	const script = `#!/bin/sh
case "$*" in *"-accel kvm"*) echo "Could not access KVM kernel module" >&2; exit 1;; esac
exec qemu-system-x86_64 "$@"
`
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		asked, want Accel
		verdicts    string
	}{
		{AccelAuto, AccelTCG, "kvm fails, tcg works"},
		{"", AccelTCG, "kvm fails, tcg works"},
		{AccelKVM, AccelKVM, "kvm fails"},
		{AccelTCG, AccelTCG, "tcg works"},
	}
	for _, test := range tests {
		o, results, err := ChooseAccel(t.Context(), Options{QEMU: wrapper, Accel: test.asked, Memory: 77}, patience)
		var verdicts []string
		for _, r := range results {
			verdicts = append(verdicts, string(r.Accel)+" "+r.Verdict)
		}
		if err != nil || o.Accel != test.want || o.Memory != 77 || strings.Join(verdicts, ", ") != test.verdicts {
			t.Errorf("%q: %q, %q, %v", test.asked, o.Accel, verdicts, err)
		}
		if test.asked == AccelAuto && !strings.Contains(results[0].Stderr, "Could not access KVM") {
			t.Errorf("%+v", results[0])
		}
	}
}
