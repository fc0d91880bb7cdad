package dialogue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestVM drives a real guest. FORENSICS_VM_SOCKET names the socket of its
// serial port; FORENSICS_VM_TRANSCRIPT, if set, the file to keep its bytes in.
func TestVM(t *testing.T) {
	path := os.Getenv("FORENSICS_VM_SOCKET")
	if path == "" {
		t.Skip("FORENSICS_VM_SOCKET is not set")
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var port io.ReadWriter = c
	if name := os.Getenv("FORENSICS_VM_TRANSCRIPT"); name != "" {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		port = struct {
			io.Reader
			io.Writer
		}{io.TeeReader(c, f), c}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	d := New(port)
	a, err := d.Login(ctx, Options{User: "nixos"})
	t.Logf("login: %+v, %v", a, err)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := d.Quiet(ctx); err != nil {
		t.Fatal(err, d.Last())
	}
	t.Logf("quiet after %v: %+v", time.Since(start), d.levels)
	start = time.Now()
	how, err := d.Root(ctx)
	t.Logf("root: %s after %v, %v", how, time.Since(start), err)
	for _, s := range []string{
		"id -u", "sudo -l", "systemctl status --no-pager pre-nixos.service", "systemctl is-active pre-nixos.service",
		"systemctl list-jobs", "journalctl -b | tail -n 40", "ip addr", "vgs; lvs; pvs", "lsblk", "dmesg | tail -n 20",
		"cat /run/pre-nixos/status /run/pre-nixos/storage-status", "command -v disko wipefs ip; echo $PATH; locale", "echo a; exit 7",
	} {
		r, err := d.Run(ctx, s, RunOptions{Label: strings.Fields(s)[0]})
		if err != nil {
			t.Fatal(s, err)
		}
		t.Logf("%s: exit %d after %v, %d attempts, bytes %d-%d\n%s%s", s, r.ExitStatus, r.Duration, r.Attempts, r.From, r.To, r.Stdout, r.Stderr)
	}
	for _, s := range []string{"echo before; sleep 600", "trap '' INT TERM; echo stubborn; while :; do sleep 1; done"} {
		r, err := d.Run(ctx, s, RunOptions{Label: "hang", Limit: 5 * time.Second})
		if err != nil || !r.TimedOut || len(r.Stdout) == 0 {
			t.Errorf("%s: %+v, %v", s, r, err)
		}
		t.Logf("%s: ended after %v, exit %d, %q", s, r.Duration, r.ExitStatus, r.Stdout)
	}
	r, err := d.Run(ctx, `head -c 1000000 /dev/urandom >"$FORENSICS_DIR/r"; sha256sum <"$FORENSICS_DIR/r"; readlink -f "$FORENSICS_DIR/r"; journalctl -b -o export >"$FORENSICS_DIR/j"; sha256sum <"$FORENSICS_DIR/j"; readlink -f "$FORENSICS_DIR/j"`, RunOptions{Label: "make"})
	lines := strings.Fields(string(r.Stdout))
	if err != nil || len(lines) != 6 {
		t.Fatalf("%+v %v", r, err)
	}
	for i := 0; i < 6; i += 3 {
		var b bytes.Buffer
		f, err := d.Fetch(ctx, lines[i+2], &b, FetchOptions{Label: "fetch"})
		if err != nil {
			t.Fatal(err)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(b.Bytes())); sum != lines[i] {
			t.Errorf("%s: %s, want %s", lines[i+2], sum, lines[i])
		}
		t.Logf("%s: %d bytes, %s %d, packed in %v, transferred in %v: %.0f KB/s on the line's payload, %d attempts", lines[i+2], f.Size, f.Packing, f.Packed,
			f.Answer.Duration, f.Duration, float64(f.Packed)/1000/f.Duration.Seconds(), f.Answer.Attempts)
	}
	if err := d.Leave(ctx); err != nil {
		t.Error(err)
	}
}
