package journal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native/nativetest"
)

// manager and demo are who speaks in the journal of a boot.
var (
	manager  = []string{"SYSLOG_IDENTIFIER=systemd", "_PID=1", "_COMM=systemd", "_SYSTEMD_UNIT=init.scope", "PRIORITY=6", "_HOSTNAME=box"}
	demo     = []string{"SYSLOG_IDENTIFIER=demo", "_PID=77", "_COMM=demo", "_SYSTEMD_UNIT=demo.service", "PRIORITY=6", "_HOSTNAME=box"}
	kernel   = []string{"SYSLOG_IDENTIFIER=kernel", "_TRANSPORT=kernel", "PRIORITY=6", "_HOSTNAME=box"}
	networkd = []string{"SYSLOG_IDENTIFIER=systemd-networkd", "_PID=60", "_SYSTEMD_UNIT=systemd-networkd.service", "PRIORITY=6", "_HOSTNAME=box"}
)

// boot is a boot in which one unit works, and one fails for want of a program.
var boot = []struct {
	who     []string
	message string
}{
	{kernel, "Linux version 6.12.1 (builder@build) (gcc 14.2.0) #1-NixOS SMP"},
	{kernel, "Command line: console=ttyS0,115200n8 root=LABEL=demo"},
	{kernel, "random: crng init done"},
	{networkd, "lan: Gained carrier"},
	{networkd, "lan: DHCPv4 address 10.0.2.15/24, gateway 10.0.2.2 acquired from 10.0.2.2"},
	{append([]string{"UNIT=early.service"}, manager...), "Starting Early work..."},
	{append([]string{"UNIT=early.service"}, manager...), "early.service: Deactivated successfully."},
	{append([]string{"UNIT=early.service"}, manager...), "Finished Early work."},
	{append([]string{"UNIT=demo.service"}, manager...), "Starting Demo set-up..."},
	{demo, strings.Repeat("checking the disk once more; ", 40)},
	{demo, "/nix/store/0123-unit-script-demo-start/bin/demo-start: line 7: modprobe: command not found"},
	{append([]string{"UNIT=demo.service"}, manager...), "demo.service: Main process exited, code=exited, status=127/n/a"},
	{append([]string{"UNIT=demo.service"}, manager...), "demo.service: Failed with result 'exit-code'."},
	{append([]string{"UNIT=demo.service"}, manager...), "Failed to start Demo set-up."},
}

func entries() []nativetest.Entry {
	var es []nativetest.Entry
	for i, b := range boot {
		n := uint64(i + 1)
		es = append(es, nativetest.Entry{Seqnum: n, Realtime: 1741244915000000 + n*1000, Monotonic: n * 1000, Boot: 0xa, Fields: append([]string{"MESSAGE=" + b.message}, b.who...)})
	}
	return es
}

// facts returns what all analyzers state of the files, without where.
func facts(t *testing.T, files map[bundle.Kind][][]byte) []string {
	t.Helper()
	run := &bundle.Run{}
	for kind, datas := range files {
		for i, d := range datas {
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact(fmt.Sprintf("%d.journal", i), kind, d))
		}
	}
	params := analyzers.Params{"unit": {"demo.service"}, "unit-description": {"Demo set-up"}, "interface": {"lan"}}
	var said []string
	stated := analyzers.Analyze(run, all.List, params)
	for _, f := range stated.All() {
		said = append(said, f.Name+" "+f.Subject+" = "+f.Value)
	}
	if len(run.Problems) > 0 {
		t.Errorf("problems %v", run.Problems)
	}
	last, conflict := stated.Last("unit.active", "demo.service")
	said = append(said, fmt.Sprintf("at last %s, conflict %v", last[0].Value, conflict))
	slices.Sort(said)
	return slices.Compact(said)
}

// TestForms: what a journal shows does not depend on the form it came in.
func TestForms(t *testing.T) {
	v := nativetest.Variants()[4]
	write := func(es []nativetest.Entry) []byte {
		b, err := nativetest.Write(v, es)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	es := entries()
	export := []byte(nativetest.Export(v, es, func(string) bool { return true }))
	want := facts(t, map[bundle.Kind][][]byte{bundle.Journal: {export}})
	for _, fact := range []string{
		"unit.active demo.service = failed", "unit.result demo.service = exit-code", "unit.active early.service = inactive",
		"unit.ran demo.service = yes", "unit.lacks-command demo.service = modprobe",
		"at last failed, conflict false",
	} {
		if !slices.Contains(want, fact) {
			t.Errorf("the export does not show %s: %s", fact, strings.Join(want, "\n"))
		}
	}
	for name, files := range map[string][][]byte{
		"one file": {write(es)},
		// The newer file is the first by name, as system.journal is.
		"rotated early":              {write(es[2:]), write(es[:2])},
		"rotated while the unit ran": {write(es[10:]), write(es[:10])},
	} {
		got := facts(t, map[bundle.Kind][][]byte{bundle.NativeJ: files})
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
