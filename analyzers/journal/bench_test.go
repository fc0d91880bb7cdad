package journal

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native/nativetest"
)

const benched = 300_000

// BenchmarkEntries sets native files read to entries, as interpreters get them,
// beside journalctl's export of the same file: a message in eight is long
// enough to be compressed.
func BenchmarkEntries(b *testing.B) {
	es := make([]nativetest.Entry, benched)
	for i := range es {
		n := uint64(i + 1)
		message := fmt.Sprintf("MESSAGE=%d: opened /dev/vda%d and found nothing there", i, i%9)
		if i%8 == 0 {
			message = fmt.Sprintf("MESSAGE=%d: %s", i, strings.Repeat(fmt.Sprintf("unable to open /nix/store/%x; ", i*i), 20))
		}
		es[i] = nativetest.Entry{Seqnum: n, Realtime: 1741244915000000 + n*1000, Monotonic: n * 1000, Boot: 0xa, Fields: []string{
			message, "_HOSTNAME=box", "_TRANSPORT=stdout", fmt.Sprintf("PRIORITY=%d", i%8), "SYSLOG_FACILITY=3", "_UID=0", "_GID=0", "_CAP_EFFECTIVE=1ffffffffff",
			fmt.Sprintf("_PID=%d", i%4096), fmt.Sprintf("_COMM=demo%d", i%16), fmt.Sprintf("_SYSTEMD_UNIT=demo-%d.service", i%64), fmt.Sprintf("_SYSTEMD_CGROUP=/system.slice/demo-%d.service", i%64), "SYSLOG_IDENTIFIER=demo",
		}}
	}
	data, err := nativetest.Write(nativetest.Variants()[4], es)
	if err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(b.TempDir(), "a.journal")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		b.Fatal(err)
	}
	rate := func(b *testing.B) { b.ReportMetric(benched*float64(b.N)/b.Elapsed().Seconds(), "entries/s") }
	b.Run("native", func(b *testing.B) {
		for b.Loop() {
			logs, problems := readFiles(b, bundle.NativeJ, map[string][]byte{"a": data})
			if len(problems) > 0 || len(logs) != 1 || len(logs[0].Entries) != benched {
				b.Fatal(problems)
			}
		}
		rate(b)
	})
	b.Run("journalctl", func(b *testing.B) {
		if _, err := exec.LookPath("journalctl"); err != nil {
			b.Skip("journalctl is not installed")
		}
		for b.Loop() {
			if err := exec.Command("journalctl", "-o", "export", "--file", name).Run(); err != nil {
				b.Fatal(err)
			}
		}
		rate(b)
	})
}
