package compare

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// large writes a run of some 50 MB: the healthy recording, its journal and what
// its shell said over and over, with times, PIDs and numbers of their own.
func large(b *testing.B, salt int) string {
	from := filepath.Join(runs, "healthy-stdio", "artifacts")
	dir := b.TempDir()
	for _, name := range []string{"metadata.json", "harness.log"} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for name, size := range map[string]int{"serial.log": 20 << 20, "journalctl_pre_nixos.txt": 30 << 20} {
		data, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			b.Fatal(err)
		}
		if name == "journalctl_pre_nixos.txt" {
			name = "journal.txt"
		}
		out := bytes.NewBuffer(data)
		for i := 0; out.Len() < size; i++ {
			fmt.Fprintf(out, "Nov 23 07:%02d:%02d nixos worker[%d]: request %d of client 10.0.2.%d took %d ms, queue %x\r\n", i/60%60, i%60, 900+i%5000, i*7+salt, i%250, i%9973, i*2654435761)
			if i%50 == 0 {
				fmt.Fprintf(out, "Nov 23 07:%02d:%02d nixos worker-%d[%d]: error: unit %d-%c failed\r\n", i/60%60, i%60, salt, i, i, 'a'+i/50%26)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// BenchmarkTwo reads and compares two runs of 50 MB each.
func BenchmarkTwo(b *testing.B) {
	set, _ := catalogue(b)
	from, to := large(b, 1), large(b, 2)
	b.ResetTimer()
	b.SetBytes(100 << 20)
	for range b.N {
		c := Two(read(b, from), read(b, to), set)
		if len(c.Flips) > 0 {
			b.Fatal(c.Headline)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys>>20), "MB-from-OS")
}
