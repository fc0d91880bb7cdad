//go:build unix

package vm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestImage boots the ISO that FORENSICS_TEST_ISO names (the one that
// corpus/testimage/build.sh makes), which takes a minute or two, and takes its
// journal over the port. The records are kept where FORENSICS_TEST_KEEP says.
func TestImage(t *testing.T) {
	iso := os.Getenv("FORENSICS_TEST_ISO")
	if iso == "" {
		t.Skip("FORENSICS_TEST_ISO names no image")
	}
	dir := t.TempDir()
	if keep := os.Getenv("FORENSICS_TEST_KEEP"); keep != "" {
		dir = keep
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()

	o := Default()
	o.Accel, o.ISO = AccelTCG, iso
	o.Disks = []Disk{{Path: filepath.Join(t.TempDir(), "disk.img"), Size: 1 << 30}}
	if err := o.Disks[0].Create(ctx, ""); err != nil {
		t.Fatal(err)
	}
	v := start(t, o, Sinks{Raw: create(t, dir, "serial.log"), Cast: create(t, dir, "serial.cast"),
		Event: func(e Event) { t.Logf("%s %s", e.Name, e.Data) }})
	if port, err := v.SSHPort(ctx); err != nil || port == 0 {
		t.Errorf("SSHPort: %d, %v", port, err)
	}

	s := v.Serial()
	expect(t, ctx, s, "nixos@nixos")
	t.Logf("prompt after %s", time.Since(v.Started()))
	if png, err := v.Screendump(ctx); err != nil || len(png) < 100 {
		t.Errorf("Screendump: %d bytes, %v", len(png), err)
	} else if err := os.WriteFile(filepath.Join(dir, "screen.png"), png, 0o600); err != nil {
		t.Error(err)
	}
	// The file stays in the guest, so that its own sum and count are of the same
	// moment.
	tr := NewTransfer()
	typed := "sudo sh -c 'journalctl -b -o export > /run/j; " + strings.ReplaceAll(tr.Script("cat /run/j", JournalDevice), "'", `'\''`) +
		"; echo SENT $? $(sha256sum < /run/j) $(grep -c ^__CURSOR= /run/j)'\n"
	if _, err := io.WriteString(s, typed); err != nil {
		t.Fatal(err)
	}
	var journal bytes.Buffer
	got, err := v.Receive(ctx, tr, &journal)
	if err != nil || got.Status != 0 || !got.Verified() {
		t.Fatalf("Receive: %+v, %v", got, err)
	}
	entries := bytes.Count(journal.Bytes(), []byte("\n__CURSOR=")) + 1
	answer := expect(t, ctx, s, fmt.Sprintf("SENT 0 %s - %d", got.SHA256, entries))
	t.Logf("%d bytes, %d entries after %s; %q", got.Size, entries, time.Since(v.Started()), answer[max(0, len(answer)-120):])
	if err := os.WriteFile(filepath.Join(dir, "journal.export"), journal.Bytes(), 0o600); err != nil {
		t.Error(err)
	}

	if exit := v.Stop(ctx, 2*time.Minute); exit.Code != 0 || exit.Signal != "" {
		t.Errorf("exit: %s, %s", exit, exit.Stderr)
	}
	if !has(v.Events(), "POWERDOWN") || !has(v.Events(), "SHUTDOWN") {
		t.Errorf("events: %v", v.Events())
	}
	if err := v.Failures(); err != nil {
		t.Error(err)
	}
}

func create(t *testing.T, dir, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
