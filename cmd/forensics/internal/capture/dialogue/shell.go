package dialogue

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed agent.sh
var agent string

// loop reads lines and evaluates them, until exit. Ctrl-C and Ctrl-\ end what
// runs, not the loop; break does. "command" keeps it alive when a line arrived
// damaged: eval by itself ends its shell at an error of syntax. It holds no
// single quote.
const loop = `o=$(stty -g) c=$(stty size);stty -echo cols 240;trap t=1 INT QUIT;` +
	`while t=;IFS= read -r l||[ "$t" ];do [ "$t" ]||command eval "$l";done;stty "$o";stty cols "${c#* }"`

// environment of all scripts: no colours, no pager, wide tables, the C locale
// (in UTF-8 where the guest has that).
const environment = `export TERM=dumb NO_COLOR=1 SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat PAGER=cat SYSTEMD_URLIFY=0 COLUMNS=240 LC_ALL=C.UTF-8;` +
	`unset LANGUAGE PROMPT_COMMAND BASH_ENV ENV HISTFILE;` +
	`case $(sh -c : 2>&1) in ?*)LC_ALL=C;;esac`

// level is one loop, in another's if it is not the first.
type level struct {
	loop   ended
	dir    string
	enc    string
	sum    string
	pack   string // the guest's best compressor, "" for none
	uid    int
	how    string
	number int
}

// ended is how one sees that a loop has ended.
type ended struct {
	mark string // a variable that only it and what it starts have
	left nonce  // said by the shell below when it reads the terminal again
}

// Times of a request. A guest under software emulation on a busy host may
// stall for many seconds.
const (
	firstAsk = 1500 * time.Millisecond // silence until a request is sent again; doubled each time
	lastAsk  = 15 * time.Second
	lostAsk  = 90 * time.Second // silence until the shell counts as lost
	deadAsk  = 6 * time.Second  // the same, when the screen shows another reason

	// Leaving decides nothing: a guest that is that slow to let us go is shut
	// down all the same.
	leaveAsk   = 20 * time.Second
	leaveEvery = 5 * time.Second
)

// errSilent says that a request had no answer for as long as it may take.
var errSilent = errors.New("no answer")

// request is a line for the loop, with what its answer is.
type request struct {
	nonce nonce
	line  func() string
	// take gets each token of the answer. It reports whether the answer is
	// complete, and whether the token was of use.
	take func(token string) (done, use bool)
	// quiet is the silence after which the wait ends, counted from the last
	// token of use.
	quiet time.Duration
	// every is the silence after which it is sent again; 0 is firstAsk.
	every time.Duration
	// busy: the shell may run something long, so that only a panic or a reboot
	// shows that it is gone.
	busy bool
}

// ask sends a request, again and again, until its answer is complete. It
// returns how often it sent it.
func (d *Dialogue) ask(ctx context.Context, q request) (int, error) {
	pos := d.Offset()
	start := pos
	scan := newScanner(q.nonce)
	said := map[string]int{}
	patient := firstAsk
	if q.every > 0 {
		patient = q.every
	}
	every, sent := patient, 0
	var useful, due time.Time
	useful = time.Now()
	for {
		if now := time.Now(); !now.Before(due) {
			if err := d.given(q, start, now.Sub(useful)); err != nil {
				return sent, err
			}
			if err := d.port.send(ctx, q.line()+"\n"); err != nil {
				return sent, d.waited(err)
			}
			if sent++; sent > 1 {
				every = min(2*every, lastAsk)
			}
			due = time.Now().Add(every)
		}
		if err := d.pause(ctx, pos, min(time.Until(due), q.quiet)); err != nil {
			return sent, err
		}
		data, at := d.tape.since(pos)
		pos = at + int64(len(data))
		for _, token := range scan.scan(data) {
			// A line of a file has its length and the file's checksum; all else
			// counts when it was said twice.
			if said[token]++; said[token] < 2 && !lineRe.MatchString(token) {
				continue
			}
			done, use := q.take(token)
			if done {
				return sent, nil
			}
			if use {
				useful, every = time.Now(), patient
				due = useful.Add(every)
			}
		}
	}
}

// lineRe is the token of a line of a file.
var lineRe = regexp.MustCompile(`^[oe]\d+\.\d+:`)

// given returns why a request is given up after so much silence, or nil.
func (d *Dialogue) given(q request, start int64, silent time.Duration) error {
	if silent >= q.quiet {
		return errSilent
	}
	if silent < deadAsk {
		return nil
	}
	rows := d.rows(start)
	for i := len(rows) - 1; i >= 0; i-- {
		r := &rows[i]
		switch s := r.sight(); {
		case s == panicked:
			return &StateError{Panicked, r.text, r.pos}
		case s == rebooting, s == loader:
			return &StateError{Rebooted, r.text, r.pos}
		case s == down:
			return &StateError{PoweredOff, r.text, r.pos}
		case q.busy:
		case s == automatic, s == locked:
			return &StateError{Lost, r.text, r.pos}
		case r.ended || i < len(rows)-1:
			// Broadcasts say so, too: only who waits for a name has the cursor.
		case s == question, s == password:
			return &StateError{Lost, r.text, r.pos}
		}
	}
	return nil
}

// eval has the loop evaluate a command and returns its exit status. It must do
// no harm when it is done twice.
func (d *Dialogue) eval(ctx context.Context, command string, quiet time.Duration) (status int, err error) {
	n := newNonce()
	line := command + ";" + n.joined(`"$?"`)
	_, err = d.ask(ctx, request{nonce: n, quiet: quiet,
		line: func() string { return line },
		take: func(t string) (bool, bool) {
			var err error
			status, err = strconv.Atoi(t)
			return err == nil, false
		}})
	return status, err
}

// enter starts the loop in the shell that reads the terminal now, behind words
// like "sudo -n". Typed twice, the line only answers again.
func (d *Dialogue) enter(ctx context.Context, words string, quiet time.Duration) (ended, error) {
	n := newNonce()
	ready := n.joined("7")
	e := ended{mark: "f" + n.b, left: newNonce()}
	line := fmt.Sprintf(` [ "$%s" ] && %s || { %s env %s=1 sh -c '%s';%s; }`, e.mark, ready, words, e.mark, loop, e.left.joined("7"))
	_, err := d.ask(ctx, request{nonce: n, quiet: quiet,
		line: func() string { return line },
		take: func(t string) (bool, bool) { return t == "7", false }})
	return e, err
}

// leave ends the loop and waits until the shell below it reads the terminal.
// Nothing may be typed before that: sudo with a terminal of its own (use_pty,
// the default of 1.9.14) loses what comes while its command ends, and 1.9.13
// may hang for ever over it. Typed twice, the line only answers again.
func (d *Dialogue) leave(ctx context.Context, e ended) error {
	line := fmt.Sprintf(`[ "$%s" ] && break;%s`, e.mark, e.left.joined("7"))
	_, err := d.ask(ctx, request{nonce: e.left, quiet: leaveAsk, every: leaveEvery,
		line: func() string { return line },
		take: func(t string) (bool, bool) { return t == "7", false }})
	return err
}

// Quiet starts the loop in the shell that Login found. The user's own shell
// waits below it until Leave.
func (d *Dialogue) Quiet(ctx context.Context) error {
	e, err := d.enter(ctx, "", lostAsk)
	if err != nil {
		return d.lost(err)
	}
	return d.lost(d.settle(ctx, "login", e))
}

// lost says that of a shell.
func (d *Dialogue) lost(err error) error {
	if errors.Is(err, errSilent) {
		return &StateError{State: Lost, Line: d.Last(), Offset: d.Offset()}
	}
	return err
}

// settle makes a fresh loop ready for scripts.
func (d *Dialogue) settle(ctx context.Context, how string, e ended) error {
	if _, err := d.eval(ctx, environment, lostAsk); err != nil {
		return err
	}
	l := level{loop: e, how: how, number: len(d.levels)}
	for _, dir := range []string{"/run", "/dev/shm", "${XDG_RUNTIME_DIR:-/tmp}", "/tmp", "/"} {
		l.dir = dir + "/forensics." + newNonce().String()
		st, err := d.eval(ctx, `D="`+l.dir+`";umask 077;mkdir "$D" "$D/files" 2>/dev/null||[ -d "$D/files" ]`, lostAsk)
		if err != nil {
			return err
		}
		if st == 0 {
			l.dir = `"$D"`
			d.levels = append(d.levels, l)
			return d.install(ctx, &d.levels[len(d.levels)-1])
		}
	}
	return errors.New("guest: no directory to write to: /run, /dev/shm and /tmp are read-only or full")
}

// install brings the agent into the guest and asks it what the guest has.
func (d *Dialogue) install(ctx context.Context, l *level) error {
	for try := 0; ; try++ {
		n, err := d.upload(ctx, agent)
		if err != nil {
			return err
		}
		st, err := d.eval(ctx, fmt.Sprintf(`i=0;while [ $i -lt %d ];do cat "$D/u$i";i=$((i+1));done >"$D/h";[ $(wc -c <"$D/h") = %d ]`, n, len(agent)), lostAsk)
		if err != nil {
			return err
		}
		if st == 0 {
			return d.hello(ctx, l)
		}
		if try == maxTries {
			return errors.New("guest: what is typed does not arrive whole")
		}
	}
}

// maxTyped is how much of a script goes into one line.
const maxTyped = 700

// upload writes text to numbered files in the guest and returns their count.
func (d *Dialogue) upload(ctx context.Context, text string) (int, error) {
	parts := split(text)
	for i, p := range parts {
		st, err := d.eval(ctx, fmt.Sprintf(`printf %%b '%s' >"$D/u%d"`, p, i), lostAsk)
		if err != nil {
			return 0, err
		}
		if st != 0 {
			return 0, fmt.Errorf("guest: cannot write a script: printf's exit status is %d", st)
		}
	}
	return len(parts), nil
}

// split cuts text into arguments for printf %b, within single quotes.
func split(text string) []string {
	var parts []string
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\n':
			b.WriteString(`\n`)
		case c < ' ' || c > '~' || c == '\'' || c == '\\' || c == '!':
			fmt.Fprintf(&b, `\0%03o`, c)
		default:
			b.WriteByte(c)
		}
		if b.Len() >= maxTyped {
			parts = append(parts, b.String())
			b.Reset()
		}
	}
	if b.Len() > 0 {
		parts = append(parts, b.String())
	}
	return parts
}

// call asks the agent.
func (d *Dialogue) call(ctx context.Context, quiet time.Duration, busy bool, args func() string, take func(string) (bool, bool)) (int, error) {
	n := newNonce()
	return d.ask(ctx, request{nonce: n, quiet: quiet, busy: busy, take: take,
		line: func() string { return `sh "$D/h" ` + n.String() + ` "$D" ` + args() }})
}

func (d *Dialogue) hello(ctx context.Context, l *level) error {
	var f []string
	_, err := d.call(ctx, lostAsk, false, func() string { return "hello" }, func(t string) (bool, bool) {
		f = strings.Split(strings.TrimPrefix(t, ":"), ",")
		return len(f) == 7, false
	})
	if err != nil {
		return err
	}
	l.enc, l.sum, l.pack = f[0], f[1], f[5]
	if l.uid, err = strconv.Atoi(f[6]); err != nil {
		l.uid = -1 // no id(1): an initrd's shell
	}
	if encodings[l.enc].line == 0 || sums[l.sum] == nil {
		return errors.New("guest: it has none of base64, openssl and od, so nothing can be brought out")
	}
	return nil
}

// Root becomes root and returns how: "already root", "sudo -n", "su", or
// "refused: " with what the guest said. Refusal is no error: scripts go on as
// the user.
func (d *Dialogue) Root(ctx context.Context) (string, error) {
	if len(d.levels) == 0 {
		return "", errNoShell
	}
	if d.uid() == 0 {
		return "already root", nil
	}
	var words []string
	for _, w := range []struct{ how, test string }{{"sudo -n", "sudo -n id -u"}, {"su", "su -c 'id -u'"}} {
		a, err := d.Run(ctx, w.test, RunOptions{Label: "root", Limit: rootLimit})
		if err != nil {
			return "", err
		}
		if a.ExitStatus != 0 || strings.TrimSpace(string(a.Stdout)) != "0" {
			words = append(words, w.how+": "+refusal(a))
			continue
		}
		if err := d.become(ctx, w.how); err != nil {
			return "", err
		}
		if d.uid() == 0 {
			d.root = true
			return w.how, nil
		}
		words = append(words, w.how+": no root after all")
	}
	return "refused: " + strings.Join(words, "; "), nil
}

// rootLimit is for a sudo that asks for something, or PAM's delay after a
// refusal.
const rootLimit = 20 * time.Second

// refusal is the guest's word for no.
func refusal(a Answer) string {
	said := strings.Join(strings.Fields(string(a.Stderr)), " ")
	switch {
	case a.TimedOut:
		return "no answer within " + rootLimit.String()
	case said == "":
		return "exit status " + strconv.Itoa(a.ExitStatus)
	}
	return said[:min(len(said), 300)]
}

func (d *Dialogue) become(ctx context.Context, how string) error {
	words := how
	if how == "su" {
		// su -c starts a session that Ctrl-C does not reach.
		if err := d.port.send(ctx, "su\n"); err != nil {
			return d.waited(err)
		}
		words = ""
	}
	e, err := d.enter(ctx, words, lostAsk)
	if err != nil {
		return d.lost(err)
	}
	return d.lost(d.settle(ctx, how, e))
}

var errNoShell = errors.New("dialogue: no quiet shell yet")

func (d *Dialogue) uid() int { return d.levels[len(d.levels)-1].uid }

// Leave removes what the dialogue made in the guest and gives the terminal back
// to the user's shell. It waits no longer than leaveAsk for each answer.
func (d *Dialogue) Leave(ctx context.Context) error {
	for len(d.levels) > 0 {
		if _, err := d.eval(ctx, `rm -rf "$D"`, leaveAsk); err != nil {
			return d.lost(err)
		}
		d.mark = d.Offset()
		last := d.levels[len(d.levels)-1]
		if err := d.leave(ctx, last.loop); err != nil {
			return d.lost(err)
		}
		d.levels = d.levels[:len(d.levels)-1]
		if last.how == "su" {
			if err := d.port.send(ctx, "exit\n"); err != nil {
				return d.waited(err)
			}
		}
	}
	return nil
}
