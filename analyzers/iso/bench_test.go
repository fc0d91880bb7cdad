package iso

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// BenchmarkList lists an image of 20,000 entries, with Rock Ridge, from a file:
// ours and the tools that do the same, in one run.
func BenchmarkList(b *testing.B) {
	const entries = 20_000
	m, file := makeImage(b, many(entries), argv("xorriso -as mkisofs -quiet -R -o"))
	if len(m.Files) != entries+1 || len(m.Problems) > 0 {
		b.Fatalf("%d entries, %v", len(m.Files), m.Problems)
	}
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			f, err := os.Open(file)
			if err != nil {
				b.Fatal(err)
			}
			if m, err := Open(f, m.Size); err != nil || len(m.Files) != entries+1 {
				b.Fatal(err)
			}
			f.Close()
		}
	})
	for _, line := range []string{"isoinfo -l -R -i", "isoinfo -f -R -i", "xorriso -indev"} {
		b.Run(strings.ReplaceAll(line, " ", "_"), func(b *testing.B) {
			args := append(argv(line), file)
			if args[0] == "xorriso" {
				args = append(args, "-find", "/")
			}
			if _, err := exec.LookPath(args[0]); err != nil {
				b.Skip("no " + args[0])
			}
			for b.Loop() {
				out, err := exec.Command(args[0], args[1:]...).Output()
				if err != nil || strings.Count(string(out), ".service") != entries {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFAT opens a FAT32 volume and reads what is in it.
func BenchmarkFAT(b *testing.B) {
	data := volumes()["32"]
	for b.Loop() {
		v := openVolume(b, data)
		for _, f := range v.Files {
			if f.Mode.IsRegular() {
				if _, err := v.ReadFile(f, f.Size); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
