package dialogue

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a guest whose every byte is written down. It lives in a bubble
// of testing/synctest, so that waits take no time and each run is the same.
type scripted struct {
	conn  net.Conn
	in    chan byte // what was typed
	mu    sync.Mutex
	typed strings.Builder
	all   sync.WaitGroup
}

// errHung is panicked in a script whose other end hung up.
var errHung = errors.New("hung up")

func play(t *testing.T, script func(*scripted), talk func(context.Context, *Dialogue), limit time.Duration) *scripted {
	t.Helper()
	host, guest := net.Pipe()
	g := &scripted{conn: guest, in: make(chan byte, 1<<16)}
	g.all.Go(func() {
		defer close(g.in)
		p := make([]byte, 4096)
		for {
			n, err := guest.Read(p)
			g.mu.Lock()
			g.typed.Write(p[:n])
			g.mu.Unlock()
			for _, c := range p[:n] {
				g.in <- c
			}
			if err != nil {
				return
			}
		}
	})
	g.all.Go(func() {
		defer func() {
			if r := recover(); r != nil && r != errHung {
				panic(r)
			}
		}()
		script(g)
		for {
			g.key()
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	d := New(host)
	talk(ctx, d)
	if t.Failed() {
		data, _ := d.tape.since(0)
		t.Logf("console: %q", data[max(0, len(data)-4000):])
		t.Logf("typed: %q", g.got())
	}
	host.Close()
	guest.Close()
	g.all.Wait()
	return g
}

func (g *scripted) got() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.typed.String()
}

func (g *scripted) say(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := io.WriteString(g.conn, text); err != nil {
		panic(errHung)
	}
}

// every says a broadcast again and again.
func (g *scripted) every(d time.Duration, text string) {
	g.all.Go(func() {
		for {
			time.Sleep(d)
			g.mu.Lock()
			_, err := io.WriteString(g.conn, text)
			g.mu.Unlock()
			if err != nil {
				return
			}
		}
	})
}

func (g *scripted) key() byte {
	c, ok := <-g.in
	if !ok {
		panic(errHung)
	}
	return c
}

// line reads what is typed until Enter.
func (g *scripted) line() string {
	var b bytes.Buffer
	for {
		switch c := g.key(); c {
		case '\r', '\n':
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
}

// flush forgets what was typed, as a getty that starts does.
func (g *scripted) flush() {
	for {
		select {
		case <-g.in:
		default:
			return
		}
	}
}

// getty asks for a name until it gets one; banner is what it says first.
func (g *scripted) getty(banner string) string {
	for {
		g.say(banner + "nixos login: ")
		name := g.line()
		g.say(name + "\r\n")
		if name != "" {
			return name
		}
		banner = "\r\n"
	}
}

var (
	printfRe = regexp.MustCompile(`printf '(\S+)\\n' ((?:\S+ ?)+)$`)
	agentRe  = regexp.MustCompile(`^sh "\$D/h" (\w+) "\$D" (.*)$`)
)

// printed is what a shell prints for a line that ends in joined.
func printed(line, status string) (string, bool) {
	m := printfRe.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	words := strings.Fields(strings.ReplaceAll(m[2], `"$?"`, status))
	per := strings.Count(m[1], "%s")
	var b strings.Builder
	for ; len(words) >= per; words = words[per:] {
		b.WriteString(strings.Join(words[:per], "-") + "\r\n")
	}
	return b.String(), true
}

// shell shows a prompt and answers probes; n of them it answers, or all that
// come.
func (g *scripted) shell(prompt string, n int) {
	for ; n != 0; n-- {
		g.say(prompt)
		line := g.line()
		g.say(line + "\r\n")
		if answer, ok := printed(line, "0"); ok {
			g.say(answer)
		} else if line != "" {
			g.say("sh: " + line + ": not found\r\n")
		}
	}
}

// linuxUp is what proves that Linux runs.
const linuxUp = "[    0.000000] Linux version 6.1.0\r\n"

// broadcast is what the installer image tells everybody.
const broadcast = "\r\nLAN IPv4 address: 10.0.2.15\r\n"

// Logins that were seen to go wrong, and their like, byte by byte.
func TestLoginScripts(t *testing.T) {
	const name = "nixos"
	bash := "bash-5.2# "
	for _, c := range []struct {
		name  string
		guest func(*scripted)
		o     Options
		how   string
		user  string
		not   string // what must not have been typed
	}{
		{name: "motd asks, then a broadcast splits the prompt", how: "shell", guest: func(g *scripted) {
			g.every(50*time.Millisecond, broadcast)
			g.say(linuxUp + "root@nixos:~# \r\nnixos login: \r\nPassword: \r\n[nixos@nixos:~]$ id -u\r\n0\r\n$ \r\n")
			g.say("\x1b[?2004hbash-5.2" + broadcast + "# ")
			g.say(g.line() + "\r\n")
			g.shell(bash, -1)
		}},
		{name: "motd asks, and the shell is slow", o: Options{User: name}, how: "login", user: name, guest: func(g *scripted) {
			g.say(linuxUp)
			g.getty("")
			g.say("Password: \r\n")
			time.Sleep(20 * time.Second)
			g.shell(bash, -1)
		}},
		{name: "motd asks without a line end, and the shell is slow", o: Options{User: name, Password: "secret"}, how: "login", user: name, guest: func(g *scripted) {
			g.say(linuxUp)
			g.getty("")
			g.say("Login incorrect\r\nnixos login: ")
			time.Sleep(20 * time.Second)
			g.say("\r\n")
			g.shell(bash, -1)
		}, not: "secret"},
		{name: "banner asks for a password", o: Options{User: name, Password: "secret"}, how: "login", user: name, guest: func(g *scripted) {
			g.say(linuxUp + "Password: ")
			time.Sleep(20 * time.Second)
			g.flush()
			g.say("\r\n")
			g.getty("")
			g.shell(bash, -1)
		}, not: "secret"},
		{name: "motd names a way in", o: Options{User: name}, how: "login", user: name, guest: func(g *scripted) {
			g.say(linuxUp)
			g.getty("")
			g.say("box login: root (automatic login)\r\n")
			g.shell(bash, -1)
		}},
		{name: "motd asks for root's password", how: "automatic login", user: name, guest: func(g *scripted) {
			g.say(linuxUp + "nixos login: nixos (automatic login)\r\nGive root password for maintenance\r\n(or press Control-D to continue): \r\n")
			time.Sleep(20 * time.Second)
			g.shell(bash, -1)
		}},
		{name: "motd asks after an automatic login", o: Options{User: name}, how: "automatic login", user: name, guest: func(g *scripted) {
			g.say(linuxUp + "nixos login: nixos (automatic login)\r\nnixos login: ")
			time.Sleep(20 * time.Second)
			g.shell(bash, -1)
		}, not: name},
		{name: "broadcasts split the prompt, and never end", how: "shell", guest: func(g *scripted) {
			g.say(linuxUp + "bash-5" + broadcast + ".2# ")
			g.every(50*time.Millisecond, broadcast)
			g.say(g.line() + "\r\n")
			g.shell(bash, -1)
		}},
		{name: "printk splits the prompt, and never ends", how: "shell", guest: func(g *scripted) {
			g.say(linuxUp + "bash-5\r\n[   61.402133] virtio_net virtio1 lan: renamed from eth0\r\n.2# ")
			g.every(time.Second, "[   62.000000] audit: type=1130\r\n")
			g.say(g.line() + "\r\n")
			g.shell(bash, -1)
		}},
		{name: "broadcasts break the first answer, and the prompt", how: "shell", guest: func(g *scripted) {
			g.say(linuxUp + "\x1b[?2004h" + bash)
			answer, _ := printed(g.line(), "0")
			g.every(50*time.Millisecond, broadcast)
			for _, l := range strings.SplitAfter(answer, "\r\n") {
				if l != "" {
					g.say(l[:5] + broadcast + l[5:])
				}
			}
			g.say("\x1b[?2004" + broadcast + "hbash-5" + broadcast + ".2# ")
			for {
				answer, _ := printed(g.line(), "0")
				g.say(answer)
			}
		}},
		{name: "broadcast over the question, every second", o: Options{User: name}, how: "login", user: name, guest: func(g *scripted) {
			g.every(time.Second, broadcast)
			g.say(linuxUp + "nixos login: " + broadcast)
			g.line()
			g.getty("\r\n")
			g.shell(bash, -1)
		}},
		{name: "broadcast over the password's question", o: Options{User: name, Password: "secret"}, how: "login with password", user: name, guest: func(g *scripted) {
			g.say(linuxUp)
			g.getty("")
			g.say("Password: " + broadcast)
			g.line()
			g.say("\r\nLogin incorrect\r\n")
			g.getty("")
			g.say("Password: ")
			if g.line() == "secret" {
				g.shell("\r\n"+bash, -1)
			}
		}},
		{name: "printk in the question", o: Options{User: name}, how: "login", user: name, guest: func(g *scripted) {
			g.say(linuxUp + "nixos lo[   61.500001] EXT4-fs (dm-0): mounted\r\ngin: ")
			g.line()
			g.getty("\r\n")
			g.shell(bash, -1)
		}},
		{name: "login times out", o: Options{User: name, Password: "secret"}, how: "login with password", user: name, guest: func(g *scripted) {
			g.say(linuxUp)
			g.getty("")
			g.say("Password: ")
			g.line()
			time.Sleep(50 * time.Second)
			g.say("\r\nLogin timed out after 60 seconds.\r\n")
			g.flush()
			g.getty("\r\n<<< Welcome to NixOS 23.11 (x86_64) - ttyS0 >>>\r\n\r\n")
			g.say("Password: ")
			if g.line() == "secret" {
				g.shell("\r\n"+bash, -1)
			}
		}},
		{name: "probe taken for a name", o: Options{User: name, Password: "secret"}, how: "login with password", user: name, guest: func(g *scripted) {
			g.say(linuxUp)
			g.getty("")
			g.say("root@nixos:~# \r\n")
			time.Sleep(4 * time.Second)
			g.say("Login timed out after 60 seconds.\r\n")
			for {
				n := g.getty("")
				g.say("Password: ")
				if p := g.line(); n == name && p == "secret" {
					g.shell("\r\n"+bash, -1)
				} else if p == "secret" {
					g.say("\r\nthe password for a name that is none\r\n")
					return
				}
				g.say("\r\nLogin incorrect\r\n")
			}
		}},
		{name: "zsh for new users", how: "automatic login", user: name, guest: func(g *scripted) {
			g.say(linuxUp + "nixos login: nixos (automatic login)\r\nThis is the Z Shell configuration function for new users,\r\nzsh-newuser-install.\r\n\r\n(q)  Quit and do nothing.  The function will be run again next time.\r\n\r\n(0)  Exit, creating the file ~/.zshrc containing just a comment.\r\n\r\n--- Type one of the keys in parentheses --- ")
			if k := g.key(); strings.ContainsRune("012", rune(k)) {
				g.say("\r\nThe settings are written.\r\n")
				return
			}
			g.say("\r\nAborting.\r\nThe function will be run again next time.  To prevent this, execute:\r\n  touch ~/.zshrc\r\n")
			g.shell("\r\n\x1b[1m\x1b[7m%\x1b[27m\x1b[1m\x1b[0m   \r \r\r\x1b[0m\x1b[27m\x1b[24m\x1b[Jnixos% \x1b[K\x1b[?2004h", -1)
		}},
		{name: "titles, one of them cut", how: "shell", guest: func(g *scripted) {
			g.say(linuxUp + "\x1b]0;root@nixos: ~\r\n[   61.402133] virtio_net virtio1 lan: renamed from eth0\r\n")
			g.shell("\x1b]0;root@nixos: ~\a\x1b[01;32mroot@nixos\x1b[00m:\x1b[01;34m~\x1b[00m# ", -1)
		}},
		{name: "CRs doubled", o: Options{User: name}, how: "login", user: name, guest: func(g *scripted) {
			g.say("[    0.000000] Linux version 6.1.0\r\r\n\r\r\n")
			g.getty("")
			g.shell("\r\r\n"+bash, -1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := play(t, c.guest, func(ctx context.Context, d *Dialogue) {
					a, err := d.Login(ctx, c.o)
					if err != nil || a.How != c.how || a.User != c.user {
						t.Errorf("%q by %q, %v; want %q by %q", a.User, a.How, err, c.user, c.how)
					}
				}, 2*time.Minute)
				if c.not != "" && strings.Contains(g.got(), c.not) {
					t.Errorf("typed %q", c.not)
				}
			})
		})
	}
}

// agentOf answers requests as the loop and its agent do. run answers those for
// a script, which it numbers.
func agentOf(g *scripted, run func(n nonce, ask int)) {
	asks := map[string]int{}
	for {
		line := g.line()
		if answer, ok := printed(line, "0"); ok {
			g.say(answer)
		} else if m := agentRe.FindStringSubmatch(line); m != nil {
			asks[m[1]]++
			n := nonce{m[1][:9], m[1][9:]}
			if f := strings.Fields(m[2]); f[0] == "get" {
				g.lines(n)
				g.said(n, "end", 3)
			} else {
				run(n, asks[m[1]])
			}
		}
	}
}

// outOnce is what the script printed.
const outOnce = "out\n"

func (g *scripted) said(n nonce, value string, times int) {
	for range times {
		g.say(token(n, value))
	}
}

func token(n nonce, value string) string { return fmt.Sprintf("%s:%s:%d;\r\n", n, value, len(value)) }

func (g *scripted) lines(n nonce) {
	g.say(n.String() + "o0.1:" + base64.StdEncoding.EncodeToString([]byte(outOnce)) + ":1;\r\n")
}

// Answers of which a part is lost, or is not what it seems.
func TestRunScripts(t *testing.T) {
	sum := sums["sha256sum"]
	stat := fmt.Sprintf("3,0,%d,0,%s,%s", len(outOnce), sum([]byte(outOnce)), sum(nil))
	// As a message that is a digit makes it.
	damaged := func(n nonce) string { return strings.Replace(token(n, stat), ":3,0", ":37,0", 1) }
	whole := func(g *scripted, n nonce) {
		g.said(n, stat, 3)
		g.lines(n)
		g.said(n, "end", 3)
	}
	for _, c := range []struct {
		name string
		run  func(g *scripted, n nonce, ask int)
	}{
		{"whole", func(g *scripted, n nonce, ask int) { whole(g, n) }},
		// Seen: the only line and the end were broken, and the same was asked
		// for ever.
		{"broadcasts break the only line and all ends", func(g *scripted, n nonce, ask int) {
			g.said(n, stat, 3)
			if ask == 1 {
				g.say(n.String() + "o0.1:b3V" + broadcast + "0Cg==:1;\r\n")
				for range 3 {
					g.say(n.String() + ":e" + broadcast + "nd:3;\r\n")
				}
			}
		}},
		{"the same, and two of three first answers", func(g *scripted, n nonce, ask int) {
			if ask > 1 {
				g.said(n, stat, 3)
				return
			}
			g.said(n, stat, 1)
		}},
		{"nothing comes but the last line, at first", func(g *scripted, n nonce, ask int) {
			if ask > 1 {
				g.said(n, stat, 3)
				return
			}
			g.lines(n)
			g.said(n, "end", 1)
		}},
		{"two of three answers damaged alike", func(g *scripted, n nonce, ask int) {
			if ask == 1 {
				g.say(damaged(n) + damaged(n) + token(n, stat))
				return
			}
			g.said(n, stat, 3)
		}},
		{"a line with another's number", func(g *scripted, n nonce, ask int) {
			g.said(n, stat, 3)
			g.say(n.String() + "o0.1:d3JvbmcK:71;\r\n" + n.String() + "o0.71:" + "d3JvbmcK:1;\r\n")
			g.said(n, "end", 3)
		}},
		{"answers to others", func(g *scripted, n nonce, ask int) {
			other := newNonce()
			g.said(other, "7,1,0,0,-,-", 3)
			g.say(other.token("7") + "\r\n forensics: script\r\n")
			whole(g, n)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play(t, func(g *scripted) {
					agentOf(g, func(n nonce, ask int) { c.run(g, n, ask) })
				}, func(ctx context.Context, d *Dialogue) {
					d.levels = []level{{enc: "base64", sum: "sha256sum"}}
					a, err := d.Run(ctx, "echo out; exit 3", RunOptions{})
					if err != nil || string(a.Stdout) != outOnce || a.ExitStatus != 3 || a.TimedOut {
						t.Errorf("%+v, %v", a, err)
					}
				}, 2*time.Minute)
			})
		})
	}
}

// What the loop's terminal may show instead of an answer.
func TestEvalScripts(t *testing.T) {
	for _, c := range []struct {
		name  string
		guest func(*scripted)
		state State // "" for an answer
	}{
		{"slow, among broadcasts that ask", func(g *scripted) {
			g.every(time.Second, "\r\nnixos login: \r\nPassword: \r\n")
			for range 4 {
				g.line()
			}
			answer, _ := printed(g.line(), "0")
			g.say(answer)
		}, ""},
		{"broadcasts break two of three, again and again", func(g *scripted) {
			for i := 0; ; i++ {
				answer, _ := printed(g.line(), "0")
				lines := strings.SplitAfter(answer, "\r\n")
				for k := range 3 {
					if k != i%3 {
						lines[k] = lines[k][:12] + broadcast + lines[k][12:]
					}
				}
				g.say(strings.Join(lines, ""))
			}
		}, ""},
		{"two of three damaged alike", func(g *scripted) {
			answer, _ := printed(g.line(), "0")
			lines := strings.SplitAfter(answer, "\r\n")
			wrong := strings.Replace(lines[0], "-0-0-", "-70-0-", 1)
			g.say(wrong + wrong + lines[2])
			answer, _ = printed(g.line(), "0")
			g.say(answer)
		}, ""},
		{"echo only", func(g *scripted) {
			for {
				g.say(g.line() + "\r\n")
			}
		}, Lost},
		{"getty started again", func(g *scripted) {
			g.line()
			g.say("\r\nLogin timed out after 60 seconds.\r\n")
			for {
				g.getty("\r\n<<< Welcome to NixOS 23.11 (x86_64) - ttyS0 >>>\r\n\r\n")
				g.say("Password: ")
				g.line()
				g.say("\r\nLogin incorrect\r\n")
			}
		}, Lost},
		{"reboot", func(g *scripted) {
			g.line()
			g.say("[   90.100000] reboot: Restarting system\r\nSeaBIOS (version 1.16)\r\n")
		}, Rebooted},
		{"reboot, and nobody said so", func(g *scripted) {
			g.line()
			g.say("SeaBIOS (version 1.16)\r\nISOLINUX 6.04\r\n" + linuxUp)
			g.getty("")
		}, Rebooted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				play(t, c.guest, func(ctx context.Context, d *Dialogue) {
					status, err := d.eval(ctx, "true", lostAsk)
					err = d.lost(err)
					var s *StateError
					switch {
					case c.state == "" && (err != nil || status != 0):
						t.Errorf("%d, %v", status, err)
					case c.state != "" && (!errors.As(err, &s) || s.State != c.state):
						t.Errorf("%d, %v; want %s", status, err, c.state)
					}
				}, 2*time.Minute)
			})
		})
	}
}
