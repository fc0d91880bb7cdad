package dialogue

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"
)

// Options say who logs in where the guest asks.
type Options struct {
	User     string // "" where only an automatic login will do
	Password string // "" for a user without one
}

// Access is how the shell was reached.
type Access struct {
	How    string // "automatic login", "login", "login with password", "shell", "emergency shell"
	User   string // who logged in, "" where the screen does not say
	Prompt string // the row at which the shell was recognised
	// Emergency is the line by which the boot said that it failed, "" when it
	// did not.
	Emergency string
	Start     time.Time
	Duration  time.Duration
	Offset    int64 // where the shell's first answer starts
}

// Times of the login. All are only about when to try: no try does harm, and
// the deadline is the context's.
const (
	settled     = 150 * time.Millisecond // a row that stands so long is all there
	standing    = 1500 * time.Millisecond
	unclear     = 3 * time.Second // a row is looked at so long before Enter is tried
	silentShell = 3 * time.Second // after a login, without a prompt that we know
	silentGuest = 15 * time.Second
	firstProbe  = 4 * time.Second // until the next; doubled each time
	lastProbe   = 30 * time.Second
	maxTries    = 3 // of a login
)

// login is one wait for a shell.
type login struct {
	d       *Dialogue
	o       Options
	a       Access
	linux   int64     // where the kernel or what it started was seen first, or -1
	boot    int64     // where it was seen last
	booted  time.Time // and when
	asked   int       // logins tried
	named   bool      // the name is what was typed last
	doubted bool      // Enter was, to see whether the name is asked for again
	closed  bool      // a password was asked for, and what we have was typed once
	no      row       // what speaks for a refusal
	probes  []nonce
	probed  time.Time // when the last was sent
	next    time.Duration
	nudged  time.Time
	patient time.Duration // stillness before the next Enter
	seen    row           // the row that decides, and since when it does
	since   time.Time
}

// Login waits for a login or a shell, logs in where that is asked, and returns
// when a shell has answered. It types nothing before Linux has been seen.
func (d *Dialogue) Login(ctx context.Context, o Options) (Access, error) {
	l := &login{d: d, o: o, next: firstProbe, patient: silentGuest, since: time.Now(), linux: -1, boot: -1}
	l.a.Start = time.Now()
	d.levels, d.root = nil, false
	if d.shell {
		l.linux = 0 // it was there before
	}
	for {
		end := d.Offset()
		done, err := l.step(ctx)
		if err != nil {
			return l.a, d.waited(err)
		}
		if done {
			l.a.Duration = time.Since(l.a.Start)
			d.access, d.shell = l.a, true
			return l.a, nil
		}
		if err := d.pause(ctx, end, settled); err != nil {
			return l.a, err
		}
	}
}

// step looks at the screen and does what is to do.
func (l *login) step(ctx context.Context) (bool, error) {
	rows := l.d.rows(l.d.mark)
	if l.answered(rows) {
		return true, nil
	}
	see, r, err := l.look(rows)
	if err != nil {
		return false, err
	}
	if r.pos != l.seen.pos || r.text != l.seen.text {
		l.seen, l.since = r, time.Now()
	}
	last := len(rows) > 0 && rows[len(rows)-1].pos == r.pos && !r.ended
	age := time.Since(l.since)
	if age < settled || !last && age < standing {
		return false, nil
	}
	return false, l.act(ctx, see, r, last, age)
}

// look returns the last sight that asks for something, with its row.
func (l *login) look(rows []row) (sight, row, error) {
	see, at := plain, row{pos: -1}
	for i := range rows {
		r := &rows[i]
		s := r.sight()
		if emergencyRe.MatchString(r.text) {
			l.a.Emergency = r.text
		}
		switch s {
		case panicked:
			return s, *r, &StateError{Panicked, r.text, r.pos}
		case rebooting:
			return s, *r, l.leave(r, Rebooted)
		case down:
			return s, *r, &StateError{PoweredOff, r.text, r.pos}
		case loader:
			if l.linux >= 0 && l.linux < r.pos {
				return s, *r, l.leave(r, Rebooted)
			}
			see, at = plain, row{pos: -1}
		case linux:
			l.saw(r)
			if r.pos > l.boot {
				l.boot, l.booted = r.pos, time.Now()
			}
		case incorrect:
			// What was asked before has its answer.
			see, at, l.no = plain, row{pos: -1}, *r
		case timedOut:
			see, at, l.closed = plain, row{pos: -1}, false
		case plain:
		default:
			if s == automatic {
				l.automatic(r.text)
			}
			if s != prompt || r.paste || cut(r.text) {
				l.saw(r)
			}
			see, at = s, *r
		}
	}
	return see, at, nil
}

// saw notes that r is Linux speaking.
func (l *login) saw(r *row) {
	if l.linux < 0 {
		l.linux = r.pos
	}
}

func cut(text string) bool {
	_, _, ok := cutPrompt(text)
	return ok
}

// leave ends the wait, and the next begins behind the row that ended it.
func (l *login) leave(r *row, s State) error {
	l.d.mark, l.d.shell = r.pos+1, false
	return &StateError{s, r.text, r.pos}
}

// automatic notes who was logged in. Whoever typed a name needs no such login:
// then somebody else says it.
func (l *login) automatic(text string) {
	if l.asked > 0 {
		return
	}
	_, rest, _ := strings.Cut(text, "login: ")
	l.a.How = "automatic login"
	l.a.User, _, _ = strings.Cut(rest, " ")
}

// act does what a row asks for that stood there for a while; last says that
// the cursor still stands behind it.
func (l *login) act(ctx context.Context, see sight, r row, last bool, age time.Duration) error {
	switch see {
	case question:
		return l.name(ctx, r, last, age)
	case password:
		return l.password(ctx, r, last, age)
	case locked:
		// Where somebody has logged in, a message may say so.
		if l.a.User == "" {
			return &StateError{Emergency, r.text, r.pos}
		}
	case enter:
		l.a.How = "emergency shell"
		l.a.Emergency = r.text
		return l.type_(ctx, "\r")
	case prompt:
		if l.linux < 0 {
			return nil
		}
		l.a.Prompt = r.text
		return l.probe(ctx)
	}
	// Nothing on the screen tells. Whoever logged in has a shell, whatever its
	// prompt looks like, and who was seen at a prompt may have one.
	still := l.still(age)
	if (l.a.How != "" || len(l.probes) > 0) && still > silentShell {
		return l.probe(ctx)
	}
	if l.linux >= 0 && still > l.patient && time.Since(l.nudged) > l.patient {
		l.nudged, l.patient = time.Now(), 2*l.patient
		return l.type_(ctx, "\r")
	}
	return nil
}

// still is how long nothing came that matters, where the row that decides
// stands for age. Broadcasts do not, and may never end. What the kernel and
// systemd say does: a boot goes on. But it may not end either.
func (l *login) still(age time.Duration) time.Duration {
	return max(l.d.tape.silence(), min(age, time.Since(l.booted)), age/4)
}

// name answers getty. A question at which the cursor does not stand any more
// may be none, or a broadcast came. One that comes when it should not may be
// none either. Enter has it asked again, and does no harm elsewhere.
func (l *login) name(ctx context.Context, r row, last bool, age time.Duration) error {
	inVain := l.o.User == "" || l.closed || l.asked >= maxTries
	switch {
	case !last && age < unclear:
		return nil
	case inVain && l.doubted && last:
		return l.refused(r)
	case inVain, !l.doubted && (!last || l.a.How != ""):
		err := l.type_(ctx, "\r")
		l.doubted = true
		return err
	}
	l.asked++
	l.a.How, l.a.User = "login", l.o.User
	err := l.type_(ctx, l.o.User+"\r")
	l.named = true
	return err
}

// refused says what told that no login is to be had.
func (l *login) refused(r row) error {
	if l.no.text != "" {
		r = l.no
	}
	return &StateError{Refused, r.text, r.pos}
}

// password answers login, where the name stands before the question, and
// nowhere else: what reads the terminal may be a shell that shows it. Enter is
// an answer, too, after which the name is asked for again.
func (l *login) password(ctx context.Context, r row, last bool, age time.Duration) error {
	switch {
	case !last && age < unclear:
		return nil
	case !last, !l.named:
		return l.type_(ctx, "\r")
	}
	l.closed, l.no = true, r
	if l.o.Password != "" {
		l.a.How = "login with password"
	}
	return l.type_(ctx, l.o.Password+"\r")
}

// type_ sends keys; what stood there before is dealt with.
func (l *login) type_(ctx context.Context, keys string) error {
	l.d.mark = l.d.Offset()
	l.named, l.doubted = false, false
	return l.d.port.send(ctx, keys)
}

// probe types a line that only a shell can answer, if the last one had its
// time.
func (l *login) probe(ctx context.Context) error {
	if len(l.probes) > 0 && time.Since(l.probed) < l.next {
		return nil
	}
	if len(l.probes) > 0 {
		l.next = min(2*l.next, lastProbe)
	}
	n := newNonce()
	l.probes = append(l.probes, n)
	l.probed = time.Now()
	// The blank keeps it out of histories, and ends zsh-newuser-install, which
	// takes digits for an order to write settings.
	return l.type_(ctx, " "+n.joined("7")+"\n")
}

// answered reports whether a shell answered one of the probes.
func (l *login) answered(rows []row) bool {
	for i := range rows {
		for _, n := range l.probes {
			if !strings.Contains(rows[i].text, n.token("7")) {
				continue
			}
			l.a.Offset = rows[i].pos
			if l.a.How == "" {
				l.a.How = "shell"
			}
			if l.a.Emergency != "" {
				l.a.How = "emergency shell"
			}
			l.d.mark = rows[i].pos + 1
			return true
		}
	}
	return false
}

// nonce is a random word in two halves.
type nonce struct{ a, b string }

func newNonce() nonce {
	var p [8]byte
	rand.Read(p[:]) // never fails
	s := hex.EncodeToString(p[:])
	return nonce{"f" + s[:8], s[8:]}
}

func (n nonce) String() string { return n.a + n.b }

// joined is the shell command that prints token(value), three times: what
// others write breaks one of them at most. Its echo holds blanks where the
// token has dashes, wherever a screen may wrap or shorten it.
func (n nonce) joined(value string) string {
	return `printf '%s-%s-%s-%s\n'` + strings.Repeat(" "+n.a+" "+value+" "+value+" "+n.b, 3)
}

// token holds its value twice, so that a digit more or less in it shows.
func (n nonce) token(value string) string { return n.a + "-" + value + "-" + value + "-" + n.b }
