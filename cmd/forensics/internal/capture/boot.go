package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"forensics/cmd/forensics/internal/capture/dialogue"
	"forensics/cmd/forensics/internal/capture/forward"
	"forensics/cmd/forensics/internal/capture/probe"
	"forensics/cmd/forensics/internal/capture/vm"
)

// How long we wait for what has no limit of its own.
const (
	smokeLimit = 20 * time.Second // a boot sector under an accelerator
	startLimit = 30 * time.Second // QEMU to its first instruction
	stopGrace  = 60 * time.Second // a guest to shut down
	sendLimit  = 5 * time.Minute  // the journal to come through
)

// process is qemu.json.
type process struct {
	Argv       []string         `json:"argv"`
	Version    string           `json:"version,omitempty"`
	PID        int              `json:"pid"`
	Started    *time.Time       `json:"started,omitempty"`
	Ended      *time.Time       `json:"ended,omitempty"`
	ExitStatus *int             `json:"exit_status"` // null while it runs
	Signal     string           `json:"signal,omitempty"`
	Stderr     string           `json:"stderr"`
	Events     []vm.Event       `json:"events"`
	Accel      []vm.SmokeResult `json:"smoke"` // trials of accelerators, the chosen one last
	ISO        string           `json:"iso_path,omitempty"`
	Vsock      *forwarded       `json:"vsock,omitempty"` // absent where it was not wanted
}

// machine is one boot.
type machine struct {
	*capture
	vm       *vm.VM
	talk     *dialogue.Dialogue
	process  process
	journald *forward.Recording // what the guest forwards, nil where it cannot
	up       bool               // a shell answered
	mu       sync.Mutex         // of talk
}

// boot runs the machine once and asks the guest.
func (c *capture) boot(ctx context.Context) error {
	m := &machine{capture: c}
	o, err := m.prepare(ctx)
	if err != nil {
		return err
	}
	c.progress.Stage("boot")
	if err := m.start(ctx, o); err != nil {
		m.unforward()
		return err
	}
	defer m.stop(ctx)
	defer m.unforward()
	watch, end := context.WithCancel(ctx)
	defer end()
	go m.watch(watch)
	return m.ask(ctx)
}

// prepare settles the accelerator.
func (m *machine) prepare(ctx context.Context) (vm.Options, error) {
	o := m.VM
	o.ISO = m.ISO
	m.progress.Stage("accelerator")
	o, trials, err := vm.ChooseAccel(ctx, o, smokeLimit)
	if err != nil {
		return o, err
	}
	m.process.Accel = trials
	if m.VM.Accel == vm.AccelAuto && o.Accel == vm.AccelTCG {
		m.progress.Say("guests do not run under KVM here: software emulation, several times slower")
		m.problem("qemu.json", "KVM was tried first and no guest ran under it")
	}
	for _, d := range m.every() {
		if d.Path != "" {
			o.Disks = append(o.Disks, *d)
		}
	}
	return o, m.forward(ctx, &o)
}

// start runs QEMU with all that it says going to the bundle.
func (m *machine) start(ctx context.Context, o vm.Options) error {
	var sinks vm.Sinks
	for name, to := range map[string]*io.Writer{"serial.log": &sinks.Raw, "serial.cast": &sinks.Cast} {
		w, err := m.bundle.File(name)
		if err != nil {
			return err
		}
		*to = w
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	v, err := vm.Start(ctx, o, sinks)
	m.process.ISO = o.ISO
	var refused *vm.StartError
	if errors.As(err, &refused) {
		m.process.Argv = refused.Argv
		m.ended(refused.Exit)
	}
	if err != nil {
		return errors.Join(err, m.write())
	}
	m.vm = v
	m.process.Argv, m.process.PID, m.process.Version = v.Argv(), v.PID(), v.Version()
	at := v.Started().UTC()
	m.process.Started = &at
	return m.write()
}

// ended takes over how QEMU ended.
func (m *machine) ended(e vm.Exit) {
	at := time.Now().UTC()
	m.process.Ended, m.process.ExitStatus = &at, &e.Code
	m.process.Signal, m.process.Stderr = e.Signal, string(e.Stderr)
}

// write writes qemu.json as it is known now.
func (m *machine) write() error {
	if m.vm != nil {
		m.process.Events = m.vm.Events()
	}
	return m.json("qemu.json", m.process)
}

// stop ends QEMU, with time to shut down unless we were interrupted.
func (m *machine) stop(ctx context.Context) {
	m.progress.Stage("shutdown")
	grace := stopGrace
	if !m.up {
		grace = 0 // nobody is there to heed the power button
	}
	m.ended(m.vm.Stop(ctx, grace))
	if err := m.vm.Failures(); err != nil {
		m.problem("serial.log", err.Error())
	}
	if err := m.write(); err != nil {
		m.problem("qemu.json", err.Error())
	}
}

// silenceHint is when a guest that prints nothing is worth a word: menus count
// down for seconds, kernels unpack for tens of seconds under emulation.
const silenceHint = 90 * time.Second

// watch shows the last line of the console. Once the guest was silent for long
// before there was a shell, it says so and takes a picture of the screen: what a
// silent guest says stands on VGA alone.
func (m *machine) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	since, at, told := time.Now(), int64(-1), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.mu.Lock()
		talk, up := m.talk, m.up
		m.mu.Unlock()
		if talk == nil {
			continue
		}
		m.progress.Console(talk.Last())
		if n := talk.Offset(); n != at {
			since, at = time.Now(), n
		} else if !up && !told && time.Since(since) > silenceHint {
			told = true
			m.progress.Say(fmt.Sprintf("the serial port has been silent for %d s; does the image's default entry have console=ttyS0?", int(silenceHint.Seconds())))
			m.picture(ctx)
		}
	}
}

// picture keeps what the screen shows: what a silent guest says on VGA alone.
func (m *machine) picture(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	png, err := m.vm.Screendump(ctx)
	if err == nil {
		err = m.bundle.WriteFile("screen.png", png)
	}
	if err != nil {
		m.problem("screen.png", err.Error())
	}
}

// ask talks to the guest. A guest that does not come up is a finding, not an
// error: what it showed is in the bundle.
func (m *machine) ask(ctx context.Context) error {
	m.mu.Lock()
	m.talk = dialogue.New(m.vm.Serial())
	m.mu.Unlock()
	m.progress.Stage("boot: waiting for a shell")
	if err := m.login(ctx); err != nil {
		m.picture(ctx)
		if ctx.Err() != nil {
			return nil // we were told to stop
		}
		m.why("no shell: " + err.Error())
		if m.process.Vsock != nil && m.process.Vsock.Why != "" {
			m.problem("qemu.json", "the guest could not forward its journal: "+m.process.Vsock.Why)
		}
		return m.json("guest/access.json", access{Schema: accessSchema, GaveUp: oneLine(err.Error())})
	}
	m.mu.Lock()
	m.up = true
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, m.Limit)
	defer cancel()
	m.probes(ctx)
	m.journal(ctx)
	if err := m.talk.Leave(ctx); err != nil {
		m.problem("serial.log", "leaving the shell: "+err.Error())
	}
	return nil
}

// accessSchema names the form of guest/access.json.
const accessSchema = "forensics.access/1"

// access is guest/access.json: how we came to the shell.
type access struct {
	Schema    string    `json:"schema"`
	Login     string    `json:"login"`
	User      string    `json:"user"`
	Prompt    string    `json:"prompt"`
	Emergency string    `json:"emergency,omitempty"` // the boot's own word that it failed
	Start     time.Time `json:"start"`
	Duration  float64   `json:"duration"`          // seconds from the first instruction to the shell
	Root      string    `json:"root"`              // how the session became root's, or "refused: " and the guest's words
	UID       string    `json:"uid"`               // what the session answered to id -u after that
	GaveUp    string    `json:"gave_up,omitempty"` // why we stopped waiting for a shell
	Error     string    `json:"error,omitempty"`
}

func (m *machine) login(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.Login)
	defer cancel()
	in, err := m.talk.Login(ctx, dialogue.Options{User: m.User, Password: m.Password})
	if err != nil {
		return err
	}
	a := access{Schema: accessSchema, Login: in.How, User: in.User, Prompt: in.Prompt, Emergency: in.Emergency, Start: in.Start.UTC(), Duration: in.Duration.Seconds()}
	if err := m.talk.Quiet(ctx); err != nil {
		return err
	}
	m.progress.Stage("root")
	a.Root, err = m.talk.Root(ctx)
	if err == nil {
		var id dialogue.Answer
		if id, err = m.talk.Run(ctx, "id -u", dialogue.RunOptions{Label: "id"}); err == nil && id.ExitStatus == 0 {
			a.UID = strings.TrimSpace(string(id.Stdout))
		}
	}
	if err != nil {
		a.Error = err.Error()
		m.why("not root in the guest: " + err.Error())
	}
	return m.json("guest/access.json", a)
}

// probes asks the guest: first what settles, until it has, then all else once.
func (m *machine) probes(ctx context.Context) {
	specs := probe.At(m.specs, probe.Guest)
	m.progress.Stage(fmt.Sprintf("guest: %d probes", len(specs)))
	for _, polled := range []bool{true, false} {
		for _, s := range specs {
			if (s.Poll != nil) == polled && ctx.Err() == nil {
				m.poll(ctx, s)
			}
		}
	}
	if ctx.Err() != nil {
		m.why("the guest was not asked everything: " + ctx.Err().Error())
	}
}

// poll asks until the answer settles, and keeps every answer.
func (m *machine) poll(ctx context.Context, s probe.Spec) {
	var answers []string
	for end := time.Now().Add(patience(ctx, s)); ; {
		r, err := m.question(ctx, s)
		if err != nil {
			m.problem("guest/"+s.Name+".json", err.Error())
			return
		}
		m.keep(r)
		answers = append(answers, r.Stdout)
		if s.Poll == nil || s.Poll.Done(answers) || time.Now().Add(s.Poll.Every).After(end) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-m.vm.Done():
			return
		case <-time.After(s.Poll.Every):
		}
	}
}

// patience is how long a probe is asked again: its limit, and at most half of
// the time that is left, so that the others are asked too.
func patience(ctx context.Context, s probe.Spec) time.Duration {
	if s.Poll == nil {
		return 0
	}
	if end, ok := ctx.Deadline(); ok {
		return min(s.Poll.Limit, time.Until(end)/2)
	}
	return s.Poll.Limit
}

// question asks one probe once.
func (m *machine) question(ctx context.Context, s probe.Spec) (probe.Record, error) {
	r := probe.Record{Name: s.Name, Where: probe.Guest, Argv: s.Argv, Conditions: s.Conditions, Start: time.Now().UTC()}
	a, err := m.talk.Run(ctx, quoted(s.Argv), dialogue.RunOptions{Label: s.Name, Limit: s.Limit, MaxOutput: probe.MaxOutput})
	if err != nil {
		return r, err
	}
	r.Duration, r.ExitStatus = a.Duration.Seconds(), a.ExitStatus
	r.TimedOut, r.Truncated = a.TimedOut, a.Truncated
	r.SetOutput(a.Stdout, a.Stderr)
	return r, nil
}

// quoted writes a command for a shell.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}
