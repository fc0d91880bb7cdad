package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Verdicts of a smoke boot.
const (
	Works = "works" // the guest ran to its end and its answer is right
	Fails = "fails" // QEMU refused or ended, or the guest stopped or answered wrong
	Hangs = "hangs" // nothing at the deadline
)

// SmokeDeadline is enough for a boot sector on a busy machine: emulated in
// software on a free one it takes 0.3 s.
const SmokeDeadline = 30 * time.Second

// SmokeResult is what became of one smoke boot.
type SmokeResult struct {
	Accel    Accel         `json:"accel"`
	Verdict  string        `json:"verdict"`
	Because  string        `json:"because"`
	Argv     []string      `json:"argv"`
	Exit     Exit          `json:"exit"`
	Stderr   string        `json:"stderr"`
	Status   string        `json:"status,omitempty"` // QMP's run state, where QEMU did not end by itself
	Console  string        `json:"console"`          // what the guest printed, its first bytes
	Events   []Event       `json:"events,omitempty"`
	Started  time.Time     `json:"started"`
	Duration time.Duration `json:"duration"`
}

const (
	smokeAnswer = "OK\n"
	// smokeExit is the status with which isa-debug-exit ends QEMU for the value
	// 0x10: 2*0x10+1.
	smokeExit = 0x21
	// maxConsole bounds what is kept of the smoke guest's console.
	maxConsole = 64 << 10
)

// Smoke boots [smokeSector] with o's program, machine, accelerator and CPU
// model and says whether it ran to its end before the deadline. The machine
// needs an IDE or AHCI disk and an ISA bus, as pc and q35 have. The error says
// that we could not try; a QEMU that refuses is a result.
func Smoke(ctx context.Context, o Options, deadline time.Duration) (SmokeResult, error) {
	dir, err := os.MkdirTemp("", "forensics-smoke-")
	if err != nil {
		return SmokeResult{}, err
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "boot.img")
	if err := os.WriteFile(disk, bootDisk(smokeSector), 0o600); err != nil {
		return SmokeResult{}, err
	}
	return smoke(ctx, smokeOptions(o, disk), deadline)
}

func smokeOptions(o Options, disk string) Options {
	return Options{
		QEMU: o.QEMU, Machine: o.Machine, Accel: o.Accel, CPU: o.CPU,
		Memory: 64, CPUs: 1,
		Disks: []Disk{{Path: disk, Bus: "ide"}},
		Extra: []string{"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"},
	}
}

func smoke(ctx context.Context, o Options, deadline time.Duration) (r SmokeResult, err error) {
	r = SmokeResult{Accel: o.Accel, Started: time.Now()}
	defer func() { r.Duration = time.Since(r.Started) }()
	bounded, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	console := &firstBytes{}
	stopped, stop := context.WithCancel(bounded)
	defer stop()
	v, err := Start(bounded, o, Sinks{Raw: console, Event: func(e Event) {
		if e.Name == "STOP" { // an internal error of KVM, which QEMU survives
			stop()
		}
	}})
	var refused *StartError
	if errors.As(err, &refused) {
		r.Argv, r.Exit, r.Stderr = refused.Argv, refused.Exit, string(refused.Exit.Stderr)
		r.Verdict, r.Because = Fails, refused.Err.Error()
		if bounded.Err() != nil {
			r.Verdict, r.Because = Hangs, "QEMU was not up at the deadline: "+r.Because
		}
		return r, ctx.Err()
	}
	if err != nil {
		return r, err
	}
	v.wait(stopped, deadline)
	hung := !v.ended()
	if hung {
		r.Status, _ = v.Status(context.WithoutCancel(ctx))
	}
	r.Exit = v.Stop(ctx, 0)
	r.Argv, r.Stderr, r.Console, r.Events = v.Argv(), string(r.Exit.Stderr), console.String(), v.Events()
	r.Verdict, r.Because = judge(hung, r)
	return r, ctx.Err()
}

func judge(hung bool, r SmokeResult) (verdict, because string) {
	switch {
	case hung && r.Status != "" && r.Status != "running":
		return Fails, "the guest stopped, QEMU's state is " + r.Status
	case hung:
		return Hangs, "the guest still ran at the deadline"
	case r.Exit.Code != smokeExit:
		return Fails, "QEMU ended before the guest did: " + r.Exit.String()
	case r.Console != smokeAnswer:
		return Fails, fmt.Sprintf("the guest ended but printed %.80q, not %q", r.Console, smokeAnswer)
	}
	return Works, "the guest ran to its end"
}

// firstBytes keeps the first bytes of a console.
type firstBytes struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *firstBytes) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p[:min(len(p), maxConsole-b.b.Len())])
	return len(p), nil
}

func (b *firstBytes) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// ChooseAccel settles AccelAuto: kvm where a guest really runs under it, else
// tcg. An accelerator that was asked for is kept, and tried as well. The results
// of all trials come with it, in their order; the last is that of the accelerator
// chosen, unless even it did not work.
func ChooseAccel(ctx context.Context, o Options, deadline time.Duration) (Options, []SmokeResult, error) {
	accels := []Accel{o.Accel}
	if or(o.Accel, AccelAuto) == AccelAuto {
		accels = []Accel{AccelKVM, AccelTCG}
	}
	var results []SmokeResult
	for _, o.Accel = range accels {
		r, err := Smoke(ctx, o, deadline)
		if err != nil {
			return o, results, err
		}
		results = append(results, r)
		if r.Verdict == Works {
			break
		}
	}
	return o, results, nil
}
