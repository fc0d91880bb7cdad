package all_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
)

// benched is the size of a bundle in the benchmarks: what a run that hung for
// hours with everything logged leaves behind.
const benched = 50 << 20

// BenchmarkBundle analyzes bundles of 50 MB: a console with its sessions, the log
// of a harness, journals, and lines as short and as long as they come.
func BenchmarkBundle(b *testing.B) {
	const recorded = "../../corpus/testimage-runs/healthy-stdio/artifacts/"
	read := func(name string) []byte {
		data, err := os.ReadFile(recorded + name)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	boot, session, _ := bytes.Cut(read("serial.log"), []byte("login:"))
	harness := read("harness.log")
	for _, bb := range []struct {
		name string
		kind bundle.Kind
		data []byte
	}{
		{"serial", bundle.Serial, fill(append(boot, "login:"...), func(i int) string { return string(session) + dump(i) })},
		{"harness", bundle.Harness, fill(harness, func(i int) string { return fmt.Sprintf("[2026-11-23T07:02:59.%06d+00:00] Serial: line %d\n", i%1e6, i) })},
		{"short", bundle.Journal, fill(nil, dump)},
		{"export", bundle.Journal, fill(nil, export)},
		{"one-byte-lines", bundle.Serial, fill(boot, func(int) string { return "x\n" })},
		{"one-line", bundle.Serial, fill(boot, func(int) string { return "abcdefgh \x1b[1mfoo\x1b[0m \r" })},
		{"distinct-lines", bundle.Serial, fill(boot, func(i int) string { return fmt.Sprintf("[%5d.%06d] bus %d: %x\r\r\n", i/1000, i%1e6, i, i*i) })},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(bb.data)))
			b.ReportAllocs()
			for b.Loop() {
				run := &bundle.Run{ID: "run", Artifacts: []*bundle.Artifact{bundle.NewArtifact(string(bb.kind)+".log", bb.kind, bb.data)}}
				analyzers.Analyze(run, all.List, analyzers.Params{"unit": {"pre-nixos.service"}, "interface": {"lan"}})
			}
		})
	}
}

// fill returns head with parts behind it until benched bytes are there.
func fill(head []byte, part func(i int) string) []byte {
	data := append(make([]byte, 0, benched+1<<20), head...)
	for i := 0; len(data) < benched; i++ {
		data = append(data, part(i)...)
	}
	return data[:benched]
}

// dump is a piece of what journalctl prints.
func dump(i int) string {
	var s strings.Builder
	for j := range 1000 {
		n := i*1000 + j
		fmt.Fprintf(&s, "Nov 23 %02d:%02d:%02d nixos systemd-networkd[%d]: lan: unable to open /nix/store/%032x-source\r\r\n", n/3600%24, n/60%60, n%60, n%4096, n)
		fmt.Fprintf(&s, "Nov 23 %02d:%02d:%02d nixos systemd[1]: Starting unit %d...\r\r\n", n/3600%24, n/60%60, n%60, n)
	}
	return s.String()
}

func export(i int) string {
	return fmt.Sprintf("__CURSOR=s=%032x;i=%x\n__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%032x\nPRIORITY=6\nSYSLOG_IDENTIFIER=demo\n_PID=%d\n_SYSTEMD_UNIT=demo.service\n_TRANSPORT=stdout\nMESSAGE=unable to open /nix/store/%032x-source\n\n",
		7, i, 1795417349000000+i, i, 8, i%4096, i)
}
