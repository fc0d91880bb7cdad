package dialogue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is far more than any case needs: a busy machine is no failure.
const patience = 2 * time.Minute

// booted is what the console shows before a getty.
const booted = `printf 'ISOLINUX 6.04\r\nLoading /boot/bzImage... ok\r\n[    0.000000] Linux version 6.1.0\r\n\r\n<<< Welcome to NixOS 23.11 (x86_64) - ttyS0 >>>\r\n\r\n'
`

// motd imitates all that anybody waits for.
const motd = `printf 'root@nixos:~# \r\nnixos login: \r\nPassword: \r\n[nixos@nixos:~]$ id -u\r\n0\r\n$ \r\n'
`

// shells are what a user may have. The terminal asks for the password with its
// echo off, as login does.
const (
	bash    = "exec bash --noprofile --norc -i\n"
	dash    = "exec dash -i\n"
	ash     = "exec busybox sh\n"
	askName = `printf 'nixos login: '; read u; `
	askPass = `stty -echo; printf 'Password: '; read p; stty echo; echo; `
	colours = "echo 'bind \"set enable-bracketed-paste on\"; PS1=\"\\[\\e]0;title\\a\\e[1;32m\\][\\u@\\h:\\w]\\$\\[\\e[0m\\] \"; PS0=running; PROMPT_COMMAND=\"echo prompted\"; HISTFILE=/nowhere' >rc; exec bash --rcfile rc -i\n"
)

// guestCase is a guest that a dialogue gets on with, and what must come out of
// it.
type guestCase struct {
	name  string
	guest string // a script: what shows before a shell, then that shell
	env   string // the tools of the guest, "" for those of this machine
	noise noise
	o     Options
	how   string // of the login
	user  string
}

var cases = []guestCase{
	{name: "bash at once", guest: bash, how: "shell"},
	{name: "dash at once", guest: booted + dash, how: "shell"},
	{name: "busybox at once", guest: booted + ash, how: "shell"},
	{name: "zsh", guest: booted + "exec zsh -f -i\n", how: "shell"},
	{name: "automatic", guest: booted + "echo 'nixos login: nixos (automatic login)'\n" + bash, how: "automatic login", user: "nixos"},
	{name: "automatic, motd", guest: booted + "echo 'nixos login: nixos (automatic login)'\n" + motd + bash, how: "automatic login", user: "nixos"},
	{name: "automatic, strange prompt", guest: booted + "echo 'nixos login: nixos (automatic login)'\nexport PS1='what now: '; " + dash, how: "automatic login", user: "nixos"},
	{name: "login", guest: booted + askName + `[ "$u" = nixos ] || exit; ` + bash, o: Options{User: "nixos"}, how: "login", user: "nixos"},
	{name: "login, motd", guest: booted + motd + askName + `[ "$u" = nixos ] || exit; ` + motd + bash, o: Options{User: "nixos"}, how: "login", user: "nixos"},
	{name: "login, broadcast over it", guest: booted + `printf 'nixos login: \r\nLAN IPv4 address: 10.0.2.15\r\n'; read u; ` + askName + `[ "$u" = nixos ] || exit; ` + bash, o: Options{User: "nixos"}, how: "login", user: "nixos"},
	{name: "password", guest: booted + askName + askPass + `[ "$u$p" = nixossecret ] || exit; ` + bash, o: Options{User: "nixos", Password: "secret"}, how: "login with password", user: "nixos"},
	{name: "colours", guest: booted + colours, how: "shell"},
	{name: "colours, chatter", guest: booted + colours, noise: noise{chatter: 50 * time.Millisecond}, how: "shell"},
	{name: "type-ahead lost", guest: booted + "printf 'root@nixos:~# '; read x; " + dash, how: "shell"},
	{name: "no echo", guest: booted + "stty -echo; " + dash, how: "shell"},
	{name: "no CR", guest: booted + "stty -onlcr; " + dash, how: "shell"},
	{name: "doubled CR", guest: booted + bash, noise: noise{crs: true}, how: "shell"},
	{name: "slow", guest: booted + "stty cols 80;" + bash, noise: noise{dribble: 8}, how: "shell"},
	{name: "slow, chatter", guest: booted + motd + bash, noise: noise{dribble: 8, chatter: 50 * time.Millisecond}, how: "shell"},
	{name: "spliced", guest: booted + bash, noise: noise{every: 150, seed: 7}, how: "shell"},
	{name: "bytes lost", guest: booted + bash, noise: noise{drop: 2000, seed: 7}, how: "shell"},
	{name: "emergency", guest: booted + "echo 'You are in emergency mode. After logging in, type \"journalctl -xb\"'; printf 'Press Enter for maintenance\n(or press Control-D to continue): '; read x; " + dash, how: "emergency shell"},
	{name: "initramfs", guest: booted + "export PS1='(initramfs) '; " + ash, how: "emergency shell"},
	{name: "busybox's tools", env: "sh busybox", guest: booted + "for a in awk base64 cat dd env id mkdir mv rm sha256sum sleep stty wc seq setsid tr; do busybox ln -s $(command -v busybox) $HOME/$a; done; PATH=$PATH:$HOME; " + ash, how: "shell"},
	{name: "od and a loop", env: "sh dash cat dd env id mkdir mv rm od tr sleep stty wc seq cksum", guest: booted + dash, how: "shell"},
	{name: "openssl, md5sum, no setsid", env: "sh dash cat dd env id mkdir mv rm openssl awk sleep stty wc seq md5sum", guest: booted + dash, how: "shell"},
}

func TestGuests(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if shell := strings.Fields(c.guest[strings.LastIndex(c.guest, "exec "):])[1]; !has(shell) {
				t.Skip("no", shell)
			}
			c.talk(t)
		})
	}
}

func (c *guestCase) talk(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var env []string
	if c.env != "" {
		env = []string{only(t, c.env)}
	}
	f := newFake(t, c.noise, env, "sh", "-c", "cd $HOME;"+c.guest)
	d := New(f.conn)
	defer f.record(t)
	a, err := d.Login(ctx, c.o)
	if err != nil {
		t.Fatal(err)
	}
	if a.How != c.how || a.User != c.user {
		t.Errorf("how %q, user %q, want %q, %q", a.How, a.User, c.how, c.user)
	}
	if err := d.Quiet(ctx); err != nil {
		t.Fatal(err)
	}
	scripts(ctx, t, d)
	if err := d.Leave(ctx); err != nil {
		t.Error(err)
	}
}

func has(shell string) bool {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := os.Stat(filepath.Join(dir, shell)); err == nil {
			return true
		}
	}
	return false
}

// scripts run whatever the guest.
func scripts(ctx context.Context, t *testing.T, d *Dialogue) {
	t.Helper()
	long := strings.Repeat("# it's 100% \\ !! \"$x\" \t\n", 100) + "echo end\n"
	for _, s := range []struct {
		script, out, err string
		exit             int
	}{
		{"echo out; echo err >&2; exit 3", "out\n", "err\n", 3},
		{"true", "", "", 0},
		{"printf 'no line end'", "no line end", "", 0},
		{"cat", "", "", 0}, // its input is empty
		{long, "end\n", "", 0},
		{"seq 1 3000", seq(3000), "", 0},
		{"echo $TERM$PAGER $NO_COLOR; kill -9 $$", "dumbcat 1\n", "", 137},
		{"printf '\\000\\r\\n\\377\\033[31m'", "\x00\r\n\xff\x1b[31m", "", 0},
	} {
		a, err := d.Run(ctx, s.script, RunOptions{Label: "test"})
		if err != nil {
			t.Fatalf("%.40q: %v", s.script, err)
		}
		if string(a.Stdout) != s.out || string(a.Stderr) != s.err || a.ExitStatus != s.exit || a.TimedOut || a.Truncated {
			t.Errorf("%.40q: exit %d, timed out %v, truncated %v, %.80q, %.80q; want %d, %.80q, %.80q", s.script, a.ExitStatus, a.TimedOut, a.Truncated, a.Stdout, a.Stderr, s.exit, s.out, s.err)
		}
		if a.Attempts < 1 || a.To <= a.From {
			t.Errorf("%.40q: %d attempts, bytes %d-%d", s.script, a.Attempts, a.From, a.To)
		}
	}
}

func seq(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

// quietShell is a shell to run scripts in.
func quietShell(ctx context.Context, t *testing.T, n noise, env []string, guest string) (*Dialogue, *fake) {
	t.Helper()
	f := newFake(t, n, env, "sh", "-c", "cd $HOME;"+guest)
	d := New(f.conn)
	if _, err := d.Login(ctx, Options{}); err != nil {
		t.Fatal(err, d.Last())
	}
	if err := d.Quiet(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.record(t) })
	return d, f
}

// Guests at which no shell can be had: what the wait ends with, and that
// nothing was typed that might do harm.
func TestNoShell(t *testing.T) {
	for _, c := range []struct {
		name, guest string
		o           Options
		state       State // "" for the deadline
		typed       string
	}{
		{"boot menu", "printf 'ISOLINUX 6.04\r\nAutomatic boot in 10 seconds\r\nboot: '; sleep 1000", Options{User: "nixos"}, "", ""},
		{"grub", "printf 'GNU GRUB  version 2.06\r\ngrub> '; sleep 1000", Options{User: "nixos"}, "", ""},
		{"uefi", "printf 'UEFI Interactive Shell v2.2\r\nShell> '; sleep 1000", Options{User: "nixos"}, "", ""},
		{"silence", "sleep 1000", Options{User: "nixos"}, "", ""},
		{"kernel only", booted + "sleep 1000", Options{User: "nixos"}, "", ""},
		{"root's password", booted + "printf 'You are in emergency mode.\r\nGive root password for maintenance\r\n(or press Control-D to continue): '; sleep 1000", Options{User: "nixos", Password: "x"}, Emergency, ""},
		{"stage 1", booted + "printf '\r\nAn error occurred in stage 1 of the boot process, which must mount the\r\nroot filesystem on /mnt-root\r\n  r) to reboot immediately\r\n  *) to ignore the error and continue\r\n'; sleep 1000", Options{}, Emergency, ""},
		{"panic", booted + "printf '[    3.100000] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n'; sleep 1000", Options{}, Panicked, ""},
		{"reboot", booted + "printf 'SeaBIOS (version 1.16)\r\n'; sleep 1000", Options{}, Rebooted, ""},
		{"power off", booted + "printf '[   30.100000] reboot: Power down\r\n'; sleep 1000", Options{}, PoweredOff, ""},
		{"end", booted, Options{}, Closed, ""},
		{"no user", booted + askName + askName + "sleep 1000", Options{}, Refused, "\r"},
		{"no password", booted + askName + askPass + "echo Login incorrect; " + askName + askName + "sleep 1000", Options{User: "nixos"}, Refused, "nixos\r\r\r"},
		{"wrong password", booted + askName + askPass + "echo Login incorrect; " + askName + askName + "sleep 1000", Options{User: "nixos", Password: "x"}, Refused, "nixos\rx\r\r"},
		{"unknown user", booted + strings.Repeat(askName, 7) + "sleep 1000", Options{User: "nixos"}, Refused, "nixos\r\rnixos\r\rnixos\r\r"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			limit := patience
			if c.state == "" {
				limit = 4 * time.Second // the wait that has to be in vain
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			f := newFake(t, noise{}, nil, "sh", "-c", c.guest)
			d := New(f.conn)
			defer f.record(t)
			_, err := d.Login(ctx, c.o)
			var s *StateError
			switch {
			case c.state == "" && !errors.Is(err, context.DeadlineExceeded):
				t.Errorf("%v, want the deadline", err)
			case c.state != "" && (!errors.As(err, &s) || s.State != c.state):
				t.Errorf("%v, want %s", err, c.state)
			}
			if f.got() != c.typed {
				t.Errorf("typed %q, want %q", f.got(), c.typed)
			}
		})
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	const (
		id   = `echo ${FAKE:-1000}`
		sudo = `[ "$1" = -n ] && shift; FAKE=0 exec env "$@"`
		// As sudo 1.9.13 with use_pty: it may hang for ever where something was
		// typed while its command ended.
		ptys = `[ "$1" = -n ] && shift; FAKE=0 env "$@"; r=$?; sleep 0.5; [ -t 0 ] && bash -c 'read -t 0' && exec sleep 1000; exit $r`
		no   = `echo "sudo: a password is required" >&2; exit 1`
		su   = `if [ "$1" = -c ]; then FAKE=0 exec sh -c "$2"; fi; FAKE=0 exec dash -i`
		// It delays, and what was typed meanwhile is gone.
		late = `sleep 1; if [ "$1" = -c ]; then FAKE=0 exec sh -c "$2"; fi; bash -c 'while read -t 0.5 x; do :; done'; FAKE=0 exec dash -i`
		nosu = `echo "su: Authentication failure" >&2; exit 1`
		asks = `printf 'Password: '; exec sleep 1000`
	)
	for _, c := range []struct {
		name  string
		tools map[string]string
		how   string
		uid   string
	}{
		{"root", map[string]string{"id": "echo 0"}, "already root", "0\n"},
		{"sudo", map[string]string{"id": id, "sudo": sudo, "su": nosu}, "sudo -n", "0\n"},
		{"sudo's terminal", map[string]string{"id": id, "sudo": ptys, "su": nosu}, "sudo -n", "0\n"},
		{"su", map[string]string{"id": id, "sudo": no, "su": su}, "su", "0\n"},
		{"su delays", map[string]string{"id": id, "sudo": no, "su": late}, "su", "0\n"},
		{"neither", map[string]string{"id": id, "sudo": no, "su": nosu}, "refused: sudo -n: sudo: a password is required; su: su: Authentication failure", "1000\n"},
		{"su asks", map[string]string{"id": id, "sudo": "exit 127", "su": asks}, "refused: sudo -n: exit status 127; su: no answer within 20s", "1000\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d, _ := quietShell(ctx, t, noise{}, []string{tools(t, c.tools)}, booted+dash)
			how, err := d.Root(ctx)
			if err != nil || how != c.how {
				t.Fatalf("%q, %v, want %q", how, err, c.how)
			}
			a, err := d.Run(ctx, "id -u", RunOptions{})
			if err != nil || string(a.Stdout) != c.uid {
				t.Errorf("id -u: %q, %v, want %q", a.Stdout, err, c.uid)
			}
			if err := d.Leave(ctx); err != nil {
				t.Error(err)
			}
			// Now the user's own shell reads the terminal again.
			if _, err := d.Login(ctx, Options{}); err != nil {
				t.Error("after Leave:", err)
			}
		})
	}
}

// inShells runs a test in each shell that is here, quiet; first is done before
// the shell starts.
func inShells(t *testing.T, first string, test func(context.Context, *testing.T, *Dialogue)) {
	t.Helper()
	for _, shell := range []string{bash, dash, ash} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if name := strings.Fields(shell)[1]; !has(name) {
				t.Skip("no", name)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d, _ := quietShell(ctx, t, noise{}, nil, booted+first+shell)
			test(ctx, t, d)
		})
	}
}

// TestLeave: the terminal is as it was before.
func TestLeave(t *testing.T) {
	t.Parallel()
	inShells(t, "stty cols 77; ", func(ctx context.Context, t *testing.T, d *Dialogue) {
		if err := d.Leave(ctx); err != nil {
			t.Fatal(err)
		}
		mark := d.Offset()
		if err := d.port.send(ctx, "sh -c 'stty -a; echo al''l'\n"); err != nil {
			t.Fatal(err)
		}
		var said string
		for !strings.Contains(said, "\nall\r\n") {
			if err := d.pause(ctx, d.Offset(), settled); err != nil {
				t.Fatal(err)
			}
			data, _ := d.tape.since(mark)
			said = string(data)
		}
		if !strings.Contains(said, "columns 77") || strings.Contains(said, " -echo ") || !strings.Contains(said, " echo ") {
			t.Errorf("the terminal is left as %q", said)
		}
	})
}

// Scripts that do not end by themselves, and what comes after them.
func TestLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, guest, script, out string
	}{
		{"sleep", bash, "echo before; sleep 1000", "before\n"},
		{"sleep in dash", dash, "echo before; sleep 1000", "before\n"},
		{"sleep in busybox", ash, "echo before; sleep 1000", "before\n"},
		{"children", bash, "echo before; (sleep 1000 | sleep 1000) & wait", "before\n"},
		{"deaf", bash, "trap '' INT QUIT TERM; echo before; while :; do sleep 1; done", "before\n"},
		{"its loop dies", bash, "echo before; kill -9 $(ps -o ppid= -p $PPID); sleep 1000", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d, _ := quietShell(ctx, t, noise{}, nil, booted+c.guest)
			a, err := d.Run(ctx, c.script, RunOptions{Limit: 2 * time.Second})
			if err != nil || !a.TimedOut || c.out != "" && string(a.Stdout) != c.out {
				t.Fatalf("%+v, %v", a, err)
			}
			scripts(ctx, t, d)
		})
	}
}

// A line that arrives damaged is an error of syntax to the loop, not its end.
func TestDamagedLine(t *testing.T) {
	t.Parallel()
	inShells(t, "", func(ctx context.Context, t *testing.T, d *Dialogue) {
		if err := d.port.send(ctx, "echo 'unbalanced\nif\n)\n"); err != nil {
			t.Fatal(err)
		}
		a, err := d.Run(ctx, "echo out", RunOptions{})
		if err != nil || string(a.Stdout) != "out\n" {
			t.Errorf("%q, %v", a.Stdout, err)
		}
		if err := d.Leave(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestMaxOutput(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, _ := quietShell(ctx, t, noise{}, nil, booted+bash)
	a, err := d.Run(ctx, "seq 1 100000", RunOptions{MaxOutput: 70000})
	if want := seq(100000)[:70000]; err != nil || string(a.Stdout) != want || !a.Truncated || a.ExitStatus != 0 {
		t.Errorf("%d bytes, truncated %v, exit %d, %v", len(a.Stdout), a.Truncated, a.ExitStatus, err)
	}
}

// A guest that goes away while a script runs.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, script string
		state        State
	}{
		{"reboot", "printf '\n[   90.100000] reboot: Restarting system\nSeaBIOS (version 1.16)\n' >%s; kill -STOP %s", Rebooted},
		{"panic", "printf '\n[   90.100000] Kernel panic - not syncing: Fatal exception\n' >%s; kill -STOP %s", Panicked},
		{"end", ": %s; kill -9 %s", Closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d, _ := quietShell(ctx, t, noise{}, nil, booted+"export TTY=$(tty) TOP=$$; "+bash)
			_, err := d.Run(ctx, fmt.Sprintf(c.script, "$TTY", "$TOP $PPID"), RunOptions{Limit: 2 * time.Minute})
			var s *StateError
			if !errors.As(err, &s) || s.State != c.state {
				t.Errorf("%v, want %s", err, c.state)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		noise noise
		env   string
		pack  string
	}{
		{"plain", noise{}, "sh bash cat dd env id mkdir mv rm base64 awk sleep stty wc sha256sum setsid", ""},
		{"gzip", noise{}, "sh bash cat dd env id mkdir mv rm base64 awk sleep stty wc sha256sum setsid gzip", "gzip"},
		{"zstd", noise{}, "sh bash cat dd env id mkdir mv rm base64 awk sleep stty wc sha256sum setsid zstd gzip xz", "zstd"},
		{"xz", noise{}, "sh bash cat dd env id mkdir mv rm base64 awk sleep stty wc sha256sum setsid xz", "xz"},
		{"spliced", noise{every: 500, seed: 3}, "sh bash cat dd env id mkdir mv rm base64 awk sleep stty wc sha256sum setsid", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.pack != "" && !has(c.pack) {
				t.Skip("no", c.pack)
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			d, _ := quietShell(ctx, t, c.noise, []string{only(t, c.env)}, booted+bash)
			want := make([]byte, 300000)
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range want {
				want[i] = byte(rnd.IntN(256))
			}
			path := filepath.Join(t.TempDir(), "it's a file")
			if err := os.WriteFile(path, want, 0o600); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			last := int64(-1)
			f, err := d.Fetch(ctx, path, &got, FetchOptions{Progress: func(done, total int64) {
				// It goes back only where the whole is brought again: a message can
				// change a line's number.
				if done < last && c.noise.every == 0 || total < int64(len(want)/2) {
					t.Errorf("progress %d of %d after %d", done, total, last)
				}
				last = done
			}})
			if err != nil || !bytes.Equal(got.Bytes(), want) || f.Size != int64(len(want)) || f.Packing != c.pack || last < 0 {
				t.Errorf("%d bytes, %+v, progress %d, %v", got.Len(), f, last, err)
			}
			if _, err := d.Fetch(ctx, path+"x", &got, FetchOptions{}); err == nil || !strings.Contains(err.Error(), path+"x") {
				t.Errorf("a file that is not there: %v", err)
			}
			if _, err := d.Fetch(ctx, path, &got, FetchOptions{Max: 1000}); err == nil {
				t.Error("a file that is too big: no error")
			}
		})
	}
}

// Two hundred answers over a line into which others write.
func TestSplicing(t *testing.T) {
	t.Parallel()
	const guests, rounds = 8, 25
	for g := range guests {
		t.Run(fmt.Sprint(g), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			d, _ := quietShell(ctx, t, noise{every: 400 + 100*g, seed: uint64(g)}, nil, booted+bash)
			rnd := rand.New(rand.NewPCG(uint64(g), 5))
			for i := range rounds {
				n, exit := rnd.IntN(400), rnd.IntN(100)
				a, err := d.Run(ctx, fmt.Sprintf("seq 1 %d; echo %d.%d >&2; exit %d", n, g, i, exit), RunOptions{})
				if err != nil {
					t.Fatal(i, err)
				}
				if string(a.Stdout) != seq(n) || string(a.Stderr) != fmt.Sprintf("%d.%d\n", g, i) || a.ExitStatus != exit {
					t.Errorf("round %d: %d, %.80q, %q", i, a.ExitStatus, a.Stdout, a.Stderr)
				}
			}
		})
	}
}
