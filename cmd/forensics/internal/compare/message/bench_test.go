package message

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// benched is the size of the artifact that is collected.
const benched = 50 << 20

// long returns at least benched bytes of a recorded artifact again and again,
// with the numbers of each round their own.
func long(b *testing.B, name string) []byte {
	b.Helper()
	data, err := os.ReadFile(filepath.Join(recorded, name))
	if err != nil {
		b.Fatal(err)
	}
	var buf bytes.Buffer
	for round := 0; buf.Len() < benched; round++ {
		buf.Write(bytes.ReplaceAll(data, []byte("vda"), fmt.Appendf(nil, "vd%c", 'a'+round%26)))
	}
	return buf.Bytes()
}

func BenchmarkMask(b *testing.B) {
	for _, name := range []string{"dmesg.txt", "serial.log", "journalctl_pre_nixos.txt"} {
		data, err := os.ReadFile(filepath.Join(recorded, "healthy-stdio/artifacts", name))
		if err != nil {
			b.Fatal(err)
		}
		var lines []string
		for l := range bytes.Lines(data) {
			lines = append(lines, string(bytes.TrimSpace(l)))
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				for _, l := range lines {
					Mask(l)
				}
			}
		})
	}
}

// BenchmarkCollect shows what a set costs on top of the readers, for each kind
// of artifact; memory is what stays.
func BenchmarkCollect(b *testing.B) {
	for _, c := range []struct {
		name, file string
		kind       bundle.Kind
	}{
		{"serial", "serial.log", bundle.Serial},
		{"dmesg", "dmesg.txt", bundle.Dmesg},
		{"journal", "journalctl_pre_nixos.txt", bundle.Journal},
		{"harness", "harness.log", bundle.Harness},
	} {
		b.Run(c.name, func(b *testing.B) {
			data := long(b, "healthy-stdio/artifacts/"+c.file)
			run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact(c.file, c.kind, data)}}
			var pass *analyzers.Pass
			analyzers.Analyze(run, []*analyzers.Analyzer{{Name: "message", Doc: "Keeps the pass.", Requires: Requires, Run: func(p *analyzers.Pass) (any, error) {
				pass = p
				return nil, nil
			}}}, nil)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			var set *Set
			for b.Loop() {
				set = Collect(pass)
			}
			b.StopTimer()
			runtime.GC()
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(pass)
			b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "stays-B")
			b.ReportMetric(float64(set.Len()), "messages")
		})
	}
}
