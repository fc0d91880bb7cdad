//go:build e2e && linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forensics/cmd/forensics/internal/report"
)

// injected is what differs between a boot and the healthy one, as a comparison
// must say it: the first change of the cause's flip is of one of the kinds, and
// says the words.
type injected struct {
	kinds []string
	says  string
}

// injections are written by hand from boots: what is built into an image is in
// the archive that stage 2 unpacks, or in the boot menu; what QEMU is told is in
// its command.
var injections = map[string]injected{
	"healthy-uefi":      {}, // firmware and a noisy console: no condition may flip
	"unit-deadlock":     {[]string{"iso.file"}, "system-config.tar.gz"},
	"no-serial-console": {[]string{"kernel.parameter"}, "no console"},
	"disko-missing":     {[]string{"iso.file"}, "system-config.tar.gz"},
	"remain-after-exit": {[]string{"iso.file", "unit.key"}, ""},
	"sudo-missing":      {[]string{"iso.file"}, "system-config.tar.gz"},
	"disko-error":       {[]string{"qemu.option"}, "opt/testimage/fault,string=disko-error"},
	"no-nic":            {[]string{"qemu.device", "qemu.netdev"}, ""},
	"disk-sda":          {[]string{"qemu.drive"}, "scsi"},
}

// diffs compares the bundles with that of the healthy boot.
func (e *endToEnd) diffs(t *testing.T) {
	healthy := filepath.Join(e.dir, "healthy")
	if _, err := os.Stat(filepath.Join(healthy, "manifest.json")); err != nil {
		t.Skip("no healthy boot to compare with")
	}
	for _, b := range boots {
		want, ok := injections[b.name]
		if !ok {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			bundle := filepath.Join(e.dir, b.name)
			if _, err := os.Stat(filepath.Join(bundle, "manifest.json")); err != nil {
				t.Skip("it was not booted")
			}
			c := e.diff(t, healthy, bundle)
			t.Log(c.Headline)
			if b.cause == "" {
				for _, f := range c.Flips {
					if f.From != report.Unknown && f.To != report.Unknown {
						t.Errorf("%s went from %s to %s", f.Condition, f.From, f.To)
					}
				}
				return
			}
			for _, f := range c.Flips {
				if f.Condition == b.cause {
					want.check(t, &f)
					return
				}
			}
			t.Errorf("%s did not flip", b.cause)
		})
	}
}

func (want *injected) check(t *testing.T, f *report.Flip) {
	t.Helper()
	if f.From != report.Pass || f.To != report.Fail {
		t.Errorf("%s went from %s to %s", f.Condition, f.From, f.To)
	}
	if len(f.Changes) == 0 {
		t.Fatal("no change goes with it")
	}
	c := &f.Changes[0]
	for _, k := range want.kinds {
		if c.Kind == k && strings.Contains(c.Summary, want.says) {
			return
		}
	}
	t.Errorf("the first change is %s %q, want %s %q", c.Kind, c.Summary, strings.Join(want.kinds, " or "), want.says)
}

func (e *endToEnd) diff(t *testing.T, from, to string) *report.Comparison {
	t.Helper()
	cmd := e.command(e.program, "diff", "-f", "json", from, to)
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 1 {
		t.Fatal(err)
	}
	rep, err := report.ReadJSON(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	return rep.Comparison
}
