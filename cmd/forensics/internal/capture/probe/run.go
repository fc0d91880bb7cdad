package probe

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// killWait is how long a probe's pipes are waited for when its group was
// killed: a process that left the group may hold them open.
const killWait = 2 * time.Second

// Run runs a filled host probe in directory dir ("" is the current one) with
// the environment env, to which LC_ALL=C.UTF-8 is added; nil is this process's
// own, whose PATH also says where programs are. It returns within the probe's
// limit, give or take killWait, or when ctx ends.
func Run(ctx context.Context, s Spec, dir string, env []string) Record {
	r := Record{Name: s.Name, Where: s.Where, Argv: s.Argv, Conditions: s.Conditions, Start: time.Now().UTC()}
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	c := exec.CommandContext(ctx, s.Argv[0], s.Argv[1:]...)
	c.Dir, c.Env = dir, append(slices.Clip(environ(env, c)), "LC_ALL=C.UTF-8")
	var out, errs bounded
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = killWait
	ownGroup(c)
	kill := c.Cancel
	c.Cancel = func() error {
		err := kill()
		r.TimedOut = err == nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
		return err
	}
	err := c.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		kill() // it left children behind, which hold its pipes
	}
	r.Duration = time.Since(r.Start).Seconds()
	r.SetOutput(out.data.Bytes(), errs.data.Bytes())
	r.Truncated = r.Truncated || out.more || errs.more
	r.ExitStatus = status(c, err)
	if c.ProcessState == nil {
		r.Stderr += explain(s.Argv[0], err)
	}
	return r
}

func environ(env []string, c *exec.Cmd) []string {
	if env == nil {
		return c.Environ()
	}
	return env
}

// status is a shell's exit status for how c ended.
func status(c *exec.Cmd, err error) int {
	switch {
	case c.ProcessState != nil:
		if n := signalled(c.ProcessState); n > 0 {
			return 128 + n
		}
		return c.ProcessState.ExitCode()
	case errors.Is(err, fs.ErrPermission):
		return 126
	}
	return 127
}

// explain says why a program was not started, as shells do.
func explain(program string, err error) string {
	program = filepath.ToSlash(program)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return program + ": command not found\n"
	case errors.Is(err, fs.ErrNotExist):
		return program + ": No such file or directory\n"
	case errors.Is(err, fs.ErrPermission):
		return program + ": Permission denied\n"
	}
	return program + ": " + strings.TrimPrefix(err.Error(), "exec: ") + "\n"
}

// bounded keeps the first MaxOutput bytes.
type bounded struct {
	data bytes.Buffer
	more bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := MaxOutput - b.data.Len(); len(p) > room {
		b.data.Write(p[:room])
		b.more = true
	} else {
		b.data.Write(p)
	}
	return len(p), nil
}

// RunAll runs filled host probes, as many at once as there are CPUs, and yields
// their records in the order of the list, each as soon as those before it are
// there. When ctx ends, probes that have not begun give no record.
func RunAll(ctx context.Context, list []Spec, dir string, env []string, yield func(Record)) {
	type slot struct {
		r   Record
		ran bool
	}
	slots := make([]chan slot, len(list))
	for i := range slots {
		slots[i] = make(chan slot, 1)
	}
	free := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	defer wg.Wait()
	go func() {
		for i, s := range list {
			free <- struct{}{}
			wg.Go(func() {
				defer func() { <-free }()
				if ctx.Err() != nil {
					slots[i] <- slot{}
					return
				}
				slots[i] <- slot{Run(ctx, s, dir, env), true}
			})
		}
	}()
	for i := range slots {
		if got := <-slots[i]; got.ran {
			yield(got.r)
		}
	}
}
