package native

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const benched = 300_000

// large writes a journal of 300,000 entries with journald's own code: what a
// boot logs, a message in eight over the size from which on it is compressed.
// The writer rotates, so that these are several files.
func large(b *testing.B) []string {
	b.Helper()
	dir := b.TempDir()
	in, out := filepath.Join(dir, "in.export"), filepath.Join(dir, "out.journal")
	f, err := os.Create(in)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	for i := range benched {
		fmt.Fprintf(w, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=0123456789abcdef0123456789abcdef\n", 1741244915000000+i*1000, i*1000)
		fmt.Fprintf(w, "_HOSTNAME=box\n_MACHINE_ID=fedcba9876543210fedcba9876543210\n_TRANSPORT=stdout\nPRIORITY=%d\nSYSLOG_FACILITY=3\n_UID=0\n_GID=0\n_CAP_EFFECTIVE=1ffffffffff\n", i%8)
		fmt.Fprintf(w, "_PID=%d\n_COMM=demo%d\n_SYSTEMD_UNIT=demo-%d.service\n_SYSTEMD_CGROUP=/system.slice/demo-%d.service\nSYSLOG_IDENTIFIER=demo\n", i%4096, i%16, i%64, i%64)
		if i%8 == 0 {
			fmt.Fprintf(w, "MESSAGE=%d: %q\n\n", i, long(600+i%50))
		} else {
			fmt.Fprintf(w, "MESSAGE=%d: opened /dev/vda%d and found nothing there\n\n", i, i%9)
		}
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	f.Close()
	remoteWrite(b, in, out, nil, "")
	names, _ := filepath.Glob(filepath.Join(dir, "*.journal"))
	return names
}

// BenchmarkExport sets this package beside journalctl, on the same files.
func BenchmarkExport(b *testing.B) {
	names := large(b)
	rate := func(b *testing.B) { b.ReportMetric(benched*float64(b.N)/b.Elapsed().Seconds(), "entries/s") }
	b.Run("native", func(b *testing.B) {
		for b.Loop() {
			open(b, names, func(f *File) error { return f.Export(io.Discard) })
		}
		rate(b)
	})
	b.Run("journalctl", func(b *testing.B) {
		if _, err := exec.LookPath("journalctl"); err != nil {
			b.Skip("journalctl is not installed")
		}
		for b.Loop() {
			c := exec.Command("journalctl", "-o", "export")
			for _, n := range names {
				c.Args = append(c.Args, "--file", n)
			}
			if err := c.Run(); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
	b.Run("messages", func(b *testing.B) {
		for b.Loop() {
			n := 0
			open(b, names, func(f *File) error {
				var e Entry
				for {
					if err := f.Next(&e); err == io.EOF {
						return nil
					} else if err != nil {
						return err
					}
					f.Fields(&e, func(name []byte) bool { return bytes.Equal(name, []byte("MESSAGE")) }, func(*Field) { n++ })
				}
			})
			if n != benched {
				b.Fatalf("%d messages", n)
			}
		}
		rate(b)
	})
}

func open(b *testing.B, names []string, read func(*File) error) {
	b.Helper()
	for _, name := range names {
		r, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		info, _ := r.Stat()
		f, err := Open(r, info.Size(), Limits{Value: 1 << 30, Work: 1 << 40, Cache: 32 << 20})
		if err != nil {
			b.Fatal(err)
		}
		if err := read(f); err != nil || f.Skipped.Any() {
			b.Fatal(err, f.Skipped)
		}
		r.Close()
	}
}
