package boot

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

// TestImage: the image of testdata beside what the boot left behind. Its menu
// has two entries, the second one starts by itself.
func TestImage(t *testing.T) {
	data := analyzertest.Gunzip(t, "../iso/testdata/rr.iso.gz")
	digest := fmt.Sprintf("%x", sha256.Sum256(data))
	kernel := func(line string) string {
		return "[    0.000000] Linux version 6.12.58 (builder@host) #1 SMP\n[    0.000000] Command line: " + line + "\n"
	}
	for _, c := range []struct {
		name, serial, metadata string
		want                   []string
		problems               int
	}{
		{"default entry", kernel("BOOT_IMAGE=/boot/bzImage root=LABEL=rr console=tty0 console=ttyS0,115200n8 initrd=/boot/initrd"), "", []string{"boot.entry=default"}, 0},
		{"other entry", kernel("BOOT_IMAGE=/boot/bzImage root=LABEL=rr quiet"), "", []string{"boot.entry=other"}, 0},
		{"none of them", kernel("root=/dev/vda1 ro"), "", []string{"boot.entry=foreign"}, 1},
		{"an argument more", kernel("root=LABEL=rr quiet splash"), "", []string{"boot.entry=foreign"}, 1},
		{"cut off", kernel("root=LABEL=rr console=tty0"), "", nil, 0},
		{"kernel silent", "[    0.000000] Linux version 6.12.58 (builder@host) #1 SMP\n", "", nil, 0},
		{"booted by digest", "", `{"iso_path": "/x.iso", "iso_sha256": "` + digest + `"}`, []string{"boot.image=inspected"}, 0},
		{"another by digest", "", `{"iso_path": "/x.iso", "iso_sha256": "` + digest[1:] + `0"}`, []string{"boot.image=another"}, 1},
		{"no digest", "", `{"iso_path": "/x.iso", "nar_hash": "` + digest + `"}`, nil, 0},
	} {
		run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.iso", bundle.ISO, data)}}
		if c.serial != "" {
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact("serial.log", bundle.Serial, []byte(c.serial)))
		}
		if c.metadata != "" {
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact("metadata.json", bundle.Metadata, []byte(c.metadata)))
		}
		var got []string
		for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
			if f.Name == "boot.image" || f.Name == "boot.entry" {
				got = append(got, f.Name+"="+f.Value)
				if len(f.Evidence) != 2 || f.Evidence[0].Path == f.Evidence[1].Path {
					t.Errorf("%s: evidence of one side only: %+v", c.name, f.Evidence)
				}
			}
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", c.name, d)
		}
		if len(run.Problems) != c.problems {
			t.Errorf("%s: problems %+v, want %d", c.name, run.Problems, c.problems)
		}
	}
}
