package dialogue

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// RunOptions of a script. The zero value is good.
type RunOptions struct {
	Label     string        // names the script in the transcript
	Limit     time.Duration // how long it may run; 0 is 30 s
	MaxOutput int           // bytes of stdout and of stderr that are kept; 0 is 1 MiB
	// Progress, if set, is called as the output comes over the line.
	Progress func(done, total int64)
}

// Answer is what a script did.
type Answer struct {
	Stdout, Stderr []byte
	// ExitStatus is the shell's: 128 plus the number for a signal; -1 when the
	// guest could not tell.
	ExitStatus int
	Start      time.Time     // when the guest said that it starts
	Duration   time.Duration // until the guest said that it ended
	TimedOut   bool          // it was ended at its limit; the output is what it had printed
	Truncated  bool          // it printed more than MaxOutput
	Attempts   int           // how often something had to be sent; 1 for a line without noise
	From, To   int64         // the bytes of the transcript in which all that stands
}

const (
	defaultLimit  = 30 * time.Second
	defaultOutput = 1 << 20
	graceLimit    = 4 * time.Second  // between two ways to end a script
	statLimit     = 10 * time.Second // for the loop to speak again after that
	maxDamaged    = 4                // whole transfers with a wrong checksum
)

// labelRe is what a label may not hold: analyzers read the transcript, too.
var labelRe = regexp.MustCompile(`[^A-Za-z0-9_.@-]+`)

// Run runs a script in sh, with /dev/null as its input and no terminal, and
// waits for its end. A script that is still running at its limit is ended,
// which is no error. FORENSICS_DIR is a directory for its files.
func (d *Dialogue) Run(ctx context.Context, script string, o RunOptions) (Answer, error) {
	if len(d.levels) == 0 {
		return Answer{}, errNoShell
	}
	if o.Limit <= 0 {
		o.Limit = defaultLimit
	}
	if o.MaxOutput <= 0 {
		o.MaxOutput = defaultOutput
	}
	o.MaxOutput = min(o.MaxOutput, maxFile)
	if o.Label = strings.Trim(labelRe.ReplaceAllString(o.Label, "-"), "-"); o.Label == "" {
		o.Label = "script"
	}
	d.runs++
	r := &run{d: d, o: o, id: fmt.Sprintf("answer.%d", d.runs), script: script}
	r.a.From = d.Offset()
	r.a.Attempts = 1
	err := r.run(ctx)
	r.a.To = d.Offset()
	return r.a, d.lost(err)
}

// run is one script on its way.
type run struct {
	d      *Dialogue
	o      RunOptions
	id     string
	script string
	a      Answer
	st     stat
	none   bool // the agent knows nothing of the script
	bad    bool // the script did not arrive whole
	early  []string
	body   [2]*body
}

func (r *run) run(ctx context.Context) error {
	for try := 0; ; try++ {
		chunks, err := r.d.upload(ctx, r.script)
		if err != nil {
			return err
		}
		r.a.Start = time.Now()
		r.a.Duration = 0
		err = r.start(ctx, chunks)
		if r.a.Duration == 0 {
			r.a.Duration = time.Since(r.a.Start)
		}
		if err != nil {
			return err
		}
		if !r.bad {
			break
		}
		if try == maxTries {
			return errors.New("guest: a script does not arrive whole")
		}
	}
	if r.none {
		r.a.ExitStatus, r.a.TimedOut = -1, true
		return nil
	}
	r.a.ExitStatus, r.a.TimedOut = r.st.exit, r.st.interrupted
	r.a.Truncated = max(r.st.total[0], r.st.total[1]) > r.o.MaxOutput
	return r.fetch(ctx)
}

// start runs the script to its end, or ends it.
func (r *run) start(ctx context.Context, chunks int) error {
	args := fmt.Sprintf("run %s %d %d %d %d '%s'", r.id, chunks, len(r.script), r.o.MaxOutput, int(r.o.Limit/time.Second)+1, r.o.Label)
	r.bad, r.none = false, false
	seen, started := 0, false
	_, err := r.d.call(ctx, r.o.Limit, true, func() string { return args }, func(t string) (bool, bool) {
		switch t {
		case ":bad":
			r.bad = true
			return true, false
		case ":none":
			r.none = true
			return true, false
		case ":end":
			return seen > 0, false
		case ":go":
			if !started {
				started, r.a.Start = true, time.Now()
			}
			return false, true
		case ":done":
			if r.a.Duration == 0 {
				r.a.Duration = time.Since(r.a.Start)
			}
			return false, true
		}
		if st, ok := parseStat(strings.TrimPrefix(t, ":")); ok {
			// A short output follows at once, but only the first time: when this is
			// said again, the end of that was lost. The first time, it counts no
			// more than twice.
			seen++
			again := seen > 2 || len(r.early) > 0
			r.st = st
			most := r.level().block()
			return again || st.total[0]+st.total[1] == 0 || max(st.total[0], st.total[1]) > most, true
		}
		r.early = append(r.early, t)
		return false, seen > 0
	})
	if seen > 0 && errors.Is(err, errSilent) {
		return nil
	}
	if errors.Is(err, errSilent) {
		return r.interrupt(ctx)
	}
	return err
}

func (r *run) level() *level { return &r.d.levels[len(r.d.levels)-1] }

// block is how many bytes are asked for at once.
func (l *level) block() int { return encodings[l.enc].line * linesPerBlock }

// interrupt ends a script: Ctrl-C twice (the agent sends SIGTERM, then SIGKILL
// to all that the script started), then Ctrl-\, at which the agent leaves it
// alone.
func (r *run) interrupt(ctx context.Context) error {
	for _, key := range []string{"\x03", "\x03", "\x1c", "\x1c"} {
		if err := r.d.port.send(ctx, key); err != nil {
			return r.d.waited(err)
		}
		err := r.stat(ctx, graceLimit)
		if !errors.Is(err, errSilent) {
			return err
		}
	}
	err := r.stat(ctx, statLimit)
	if errors.Is(err, errSilent) {
		return r.d.recover(ctx, r)
	}
	return err
}

// stat asks how the script ended.
func (r *run) stat(ctx context.Context, quiet time.Duration) error {
	_, err := r.d.call(ctx, quiet, true, func() string { return "stat " + r.id }, func(t string) (bool, bool) {
		if t == ":none" {
			r.none = true
			return true, false
		}
		st, ok := parseStat(strings.TrimPrefix(t, ":"))
		if ok {
			r.st = st
		}
		return ok, false
	})
	return err
}

// recover finds a shell again after a script that took the loop with it.
func (d *Dialogue) recover(ctx context.Context, r *run) error {
	root, how := d.root, d.access
	r.none = true
	d.mark = d.Offset()
	if err := d.port.send(ctx, "\r"); err != nil {
		return d.waited(err)
	}
	l, cancel := context.WithTimeout(ctx, lostAsk)
	defer cancel()
	if _, err := d.Login(l, Options{User: how.User}); err != nil {
		return err
	}
	if err := d.Quiet(ctx); err != nil {
		return err
	}
	if root {
		_, err := d.Root(ctx)
		return err
	}
	return nil
}

// fetch brings the output out.
func (r *run) fetch(ctx context.Context) error {
	enc := encodings[r.level().enc]
	var out [2][]byte
	for i, name := range []string{"o", "e"} {
		b := newBody(name, enc, min(r.st.total[i], r.o.MaxOutput))
		r.body[i] = b
		for _, t := range r.early {
			b.take(t)
		}
		if err := r.collect(ctx, b, i); err != nil {
			return err
		}
		out[i] = b.data
	}
	r.a.Stdout, r.a.Stderr = out[0], out[1]
	return nil
}

// collect asks for what is missing of b until its checksum is right.
func (r *run) collect(ctx context.Context, b *body, i int) error {
	check := sums[r.level().sum]
	for try := 0; ; try++ {
		for k := range b.block {
			if err := r.blocks(ctx, b, k); err != nil {
				return err
			}
		}
		if check(b.data) == r.st.sum[i] {
			return nil
		}
		if try == maxDamaged {
			return fmt.Errorf("guest: output of %s: checksum is not %s after %d transfers, byte %d of the console", r.o.Label, r.st.sum[i], try+1, r.d.Offset())
		}
		r.a.Attempts++
		b.forget()
		// It may be the checksum that was damaged.
		if err := r.stat(ctx, lostAsk); err != nil {
			return err
		}
	}
}

// blocks asks for block k until nothing of it is missing.
func (r *run) blocks(ctx context.Context, b *body, k int) error {
	for pass := 0; b.block[k] > 0; pass++ {
		if pass > 0 || len(r.early) > 0 && k == 0 {
			r.a.Attempts++
		}
		sent, err := r.d.call(ctx, lostAsk, false,
			func() string { return fmt.Sprintf("get %s %s %d '%s'", r.id, b.name, k, b.wanted(k)) },
			func(t string) (bool, bool) { return r.line(b, k, t) })
		r.a.Attempts += max(0, sent-1)
		if err != nil {
			return err
		}
	}
	return nil
}

// line takes one line of block k.
func (r *run) line(b *body, k int, token string) (done, use bool) {
	if token == ":end" {
		return true, false
	}
	use = b.take(token)
	if use && r.o.Progress != nil && b.name == "o" {
		r.o.Progress(int64(len(b.have)-b.left)*int64(b.enc.line), int64(len(b.data)))
	}
	return b.block[k] == 0, use
}

// FetchOptions of a file. The zero value is good.
type FetchOptions struct {
	Label    string                  // names the file in the transcript
	Max      int64                   // bytes; 0 is 256 MiB, which is the most
	Limit    time.Duration           // for packing; 0 is 5 minutes
	Progress func(done, total int64) // bytes on their way, packed
}

// Fetched is how a file came.
type Fetched struct {
	Size     int64 // bytes of the file
	Packed   int64 // bytes that came over the line, before base64
	Packing  string
	Duration time.Duration // of the transfer alone
	Answer   Answer        // without Stdout
}

// packers are the guest's compressors in the order of preference (of speed,
// under software emulation), with how to read what they write.
var packers = map[string]struct {
	command string
	open    func(io.Reader) (io.Reader, error)
}{
	"zstd": {"zstd -q -c", func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r, zstd.WithDecoderMaxMemory(maxFile)) }},
	"gzip": {"gzip -c", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	"xz":   {"xz -c -1", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xz.DefaultDictMax) }},
	"":     {"cat", func(r io.Reader) (io.Reader, error) { return r, nil }},
}

// Fetch brings a file of the guest out and writes it to w. The bytes are those
// of one moment, also of a file that grows.
func (d *Dialogue) Fetch(ctx context.Context, path string, w io.Writer, o FetchOptions) (Fetched, error) {
	if len(d.levels) == 0 {
		return Fetched{}, errNoShell
	}
	if o.Max <= 0 || o.Max > maxFile {
		o.Max = maxFile
	}
	if o.Limit <= 0 {
		o.Limit = 5 * time.Minute
	}
	if o.Label == "" {
		o.Label = "file"
	}
	f := Fetched{Packing: d.levels[len(d.levels)-1].pack}
	p := packers[f.Packing]
	start := time.Now()
	a, err := d.Run(ctx, "exec "+p.command+" <"+quote(path), RunOptions{Label: o.Label, Limit: o.Limit, MaxOutput: int(o.Max), Progress: o.Progress})
	packed := a.Stdout
	a.Stdout = nil
	f.Answer, f.Packed, f.Duration = a, int64(len(packed)), time.Since(start)-a.Duration
	switch {
	case err != nil:
		return f, err
	case a.TimedOut:
		return f, fmt.Errorf("guest: %s: not read within %v", path, o.Limit)
	case a.ExitStatus != 0:
		return f, fmt.Errorf("guest: %s: exit status %d: %s", path, a.ExitStatus, bytes.TrimSpace(a.Stderr))
	case a.Truncated:
		return f, fmt.Errorf("guest: %s: more than %d bytes", path, o.Max)
	}
	f.Size, err = unpack(w, packed, p.open, o.Max)
	if err != nil {
		return f, fmt.Errorf("guest: %s: %s: %w", path, f.Packing, err)
	}
	return f, nil
}

// unpack writes what packed holds, at most limit bytes of it: the guest may
// have sent a bomb.
func unpack(w io.Writer, packed []byte, open func(io.Reader) (io.Reader, error), limit int64) (int64, error) {
	r, err := open(bytes.NewReader(packed))
	if err != nil {
		return 0, err
	}
	if z, ok := r.(*zstd.Decoder); ok {
		defer z.Close()
	}
	n, err := io.Copy(w, io.LimitReader(r, limit))
	if err != nil {
		return n, err
	}
	if m, _ := r.Read(make([]byte, 1)); m > 0 {
		return n, fmt.Errorf("more than %d bytes", limit)
	}
	return n, nil
}

// quote makes one word of s for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
