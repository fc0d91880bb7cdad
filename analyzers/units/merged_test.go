package units

import (
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native/nativetest"
)

// TestRotated: what a unit is at last stands in the newest entry, whichever
// native file holds it and wherever; the files do not contradict each other.
func TestRotated(t *testing.T) {
	entry := func(seq uint64, message string) nativetest.Entry {
		return nativetest.Entry{Seqnum: seq, Realtime: 1741244915000000 + seq, Monotonic: seq * 1e6, Boot: 1,
			Fields: []string{"MESSAGE=" + message, "SYSLOG_IDENTIFIER=systemd", "_PID=1", "UNIT=pre-nixos.service"}}
	}
	run := &bundle.Run{}
	for _, f := range []struct {
		path string
		es   []nativetest.Entry
	}{
		{"system.journal", []nativetest.Entry{entry(5, "Starting Pre-NixOS setup..."), entry(6, "pre-nixos.service: Deactivated successfully.")}},
		{"system@1.journal", []nativetest.Entry{entry(1, "x"), entry(2, "Starting Pre-NixOS setup..."),
			entry(3, "pre-nixos.service: Main process exited, code=exited, status=1/FAILURE"), entry(4, "pre-nixos.service: Failed with result 'exit-code'.")}},
	} {
		b, err := nativetest.Write(nativetest.Variants()[4], f.es)
		if err != nil {
			t.Fatal(err)
		}
		run.Artifacts = append(run.Artifacts, bundle.NewArtifact(f.path, bundle.NativeJ, b))
	}
	facts := analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, analyzers.Params{"unit": {"pre-nixos.service"}})
	last, conflict := facts.Last("unit.active", "pre-nixos.service")
	if len(last) != 1 || conflict || last[0].Value != "inactive" || last[0].Artifact() != "system.journal" {
		t.Errorf("conflict %v", conflict)
		for _, f := range last {
			t.Errorf("%s at %+v", f.Value, f.Evidence[0])
		}
	}
}
