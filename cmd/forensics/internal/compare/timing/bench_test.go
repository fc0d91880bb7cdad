package timing

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// chatter is a console of some size and its recording, some 40 bytes an event as
// QEMU sends them. With a shell the recording is read for its end only.
func chatter(size int, shell bool) *bundle.Run {
	var log, cast strings.Builder
	cast.WriteString(castHead)
	at := 0.5
	say := func(s string) {
		log.WriteString(s)
		text, _ := json.Marshal(s)
		fmt.Fprintf(&cast, "[%.6f, \"o\", %s]\n", at, text)
		at += 0.001
	}
	say("ISOLINUX 6.04\r\nLoading /boot/initrd...ok\r\n")
	if shell {
		say("nixos login: nixos (automatic login)\r\n[nixos@nixos:~]$ id -u\r\n1000\r\n")
	}
	for n := 0; log.Len() < size; n++ {
		say(fmt.Sprintf("\x1b[0m unit %08d: nothing to say today\r\n", n))
	}
	return castRun(log.String(), cast.String())
}

// BenchmarkCollect is Collect alone, without the analyzers before it.
func BenchmarkCollect(b *testing.B) {
	for _, c := range []struct {
		name  string
		shell bool
	}{{"boot", false}, {"session", true}} {
		b.Run(c.name, func(b *testing.B) {
			run := chatter(8<<20, c.shell)
			b.SetBytes(run.Artifact("serial.cast").Size)
			a := &analyzers.Analyzer{Name: "timing", Doc: "Collects times.", Requires: Requires, Run: func(p *analyzers.Pass) (any, error) {
				b.ReportAllocs()
				for b.Loop() {
					Collect(p)
				}
				return nil, nil
			}}
			analyzers.Analyze(run, []*analyzers.Analyzer{a}, params)
		})
	}
}
