package journal

import (
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native/nativetest"
)

// booted is what a kernel says first, as it stands in a journal or on a console.
func booted(release, line string) []string {
	return []string{"Linux version " + release + " (builder@build) (gcc 14.2.0) #1-NixOS SMP", "Command line: " + line}
}

// TestForeign: a journal counts unless the console shows that it is of another
// boot.
func TestForeign(t *testing.T) {
	const guest, other = "console=ttyS0,115200n8 root=LABEL=demo", "root=UUID=1234 quiet"
	console := func(lines ...string) string {
		s := "SeaBIOS (version 1.16)\r\r\n"
		for i, l := range lines {
			s += fmt.Sprintf("[    0.%06d] %s\r\r\n", i, l)
		}
		return s
	}
	for _, c := range []struct {
		name    string
		console string
		boots   [][]string // of the journal
		machine byte       // of a second journal, whose kernel is the console's
		counts  bool
		why     string
	}{
		{"the same boot", console(booted("6.12.1", guest)...), [][]string{booted("6.12.1", guest)}, 0, true, ""},
		{"a console without a kernel", console(), [][]string{booted("6.1.0", other)}, 0, true, ""},
		{"a console without a command line", console(booted("6.12.1", guest)[0]), [][]string{booted("6.12.1", other)}, 0, true, ""},
		{"a journal without a kernel", console(booted("6.12.1", guest)...), [][]string{{"usb 1-1: new device"}}, 0, true, ""},
		{"a command line that was cut", console(booted("6.12.1", guest[:30])...), [][]string{booted("6.12.1", guest)}, 0, true, ""},
		{"white space", console(booted("6.12.1", guest)...), [][]string{booted("6.12.1", strings.ReplaceAll(guest, " ", "  ")+" ")}, 0, true, ""},
		{"one of two boots", console(booted("6.12.1", guest)...), [][]string{booted("6.1.0", other), booted("6.12.1", guest)}, 0, true, ""},
		{"two boots on the console", console(append(booted("6.1.0", other), booted("6.12.1", guest)...)...), [][]string{booted("6.12.1", guest)}, 0, true, ""},
		{"what somebody typed is no kernel", "box login: \r\r\n[root@box:~]# echo '[    0.000000] Linux version 6.1.0 (x)'\n", [][]string{booted("6.12.1", guest)}, 0, true, ""},
		{"another kernel", console(booted("6.12.1", guest)...), [][]string{booted("6.1.0", guest)}, 0, false, "its kernel is 6.1.0, the console's 6.12.1"},
		{"the same kernel, started otherwise", console(booted("6.12.1", guest)...), [][]string{booted("6.12.1", other)}, 0, false, "another command line"},
		{"two machines, one is the console's", console(booted("6.12.1", guest)...), [][]string{booted("6.1.0", other)}, 9, false, "its kernel is 6.1.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := nativetest.Variants()[4]
			run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("serial.log", bundle.Serial, []byte(c.console))}}
			var es []nativetest.Entry
			for i, b := range c.boots {
				for _, m := range b {
					n := uint64(len(es) + 1)
					es = append(es, said(n, n*10, byte(i+1), m, "SYSLOG_IDENTIFIER=kernel"))
				}
			}
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact("a.journal", bundle.NativeJ, written{v: 4, es: es}.bytes(t)))
			if c.machine != 0 {
				own := []nativetest.Entry{said(1, 10, 7, booted("6.12.1", guest)[0], "SYSLOG_IDENTIFIER=kernel")}
				run.Artifacts = append(run.Artifacts, bundle.NewArtifact("b.journal", bundle.NativeJ, written{v: 4, machine: c.machine, es: own}.bytes(t)))
			}
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact("c.export", bundle.Journal, []byte(nativetest.Export(v, es, func(string) bool { return true }))))
			var short strings.Builder
			for _, e := range es {
				short.WriteString("Mar 06 07:08:35 box kernel: " + strings.TrimPrefix(e.Fields[0], "MESSAGE=") + "\n")
			}
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact("d.log", bundle.Journal, []byte(short.String())))
			var paths []string
			look := &analyzers.Analyzer{Name: "look", Doc: "Looks.", Requires: []*analyzers.Analyzer{Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
				for _, l := range From(p) {
					paths = append(paths, l.Path)
				}
				return nil, nil
			}}
			analyzers.Analyze(run, []*analyzers.Analyzer{look}, nil)
			want := ""
			if c.counts {
				want = "a.journal c.export d.log"
			} else if c.machine != 0 {
				want = "b.journal"
			}
			if got := strings.Join(paths, " "); got != want {
				t.Errorf("%s count, want %s (%v)", got, want, run.Problems)
			}
			told := 0
			for _, p := range run.Problems {
				if c.why == "" || !strings.Contains(p.Text, c.why) {
					t.Errorf("problem %v", p)
				}
				told++
			}
			if !c.counts && told != 3 {
				t.Errorf("%d problems, want one for each journal", told)
			}
		})
	}
}
