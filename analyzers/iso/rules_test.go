package iso_test

import (
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
	"forensics/rules"
)

// TestSerialConsole: what the default entries' command lines show of the
// condition; absent means that the image has no such boot entry, unread that
// its command line is not known.
func TestSerialConsole(t *testing.T) {
	const absent, unread = "absent", "unread"
	const speaks, silent = "root=x console=ttyS0,115200n8 quiet", "root=x quiet"
	set := load(t)
	for _, c := range []struct{ bios, efi, kernel, want string }{
		{speaks, absent, "", "pass"},
		{"console=ttyS0", absent, "", "pass"},
		{absent, speaks, "", "pass"},
		{speaks, speaks, "", "pass"},
		{speaks, unread, "", "unknown"},
		{unread, speaks, "", "unknown"},
		{silent, unread, "", "fail"},
		{silent, absent, "", "fail"},
		{speaks, silent, "", "fail"},
		{"console=ttyS1,115200", absent, "", "fail"},
		{"console=ttyS01", absent, "", "fail"},
		{"console=tty0", speaks, "", "fail"},
		{"xconsole=ttyS0", absent, "", "fail"},
		{"console=ttyS0,9600", absent, "", "fail"},
		{absent, "console=ttyS0,9600n8", "", "fail"},
		{absent, "${isoboot} quiet", "", "unknown"},
		{absent, "${isoboot} console=ttyS0", "", "pass"},
		{silent, absent, speaks, "unknown"},
		{speaks, absent, silent, "unknown"},
		{speaks, absent, speaks, "pass"},
		{silent, absent, silent, "fail"},
	} {
		facts := analyzers.NewFacts(analyzers.Types(all.List))
		state := func(name, subject, value string) {
			ev := bundle.Evidence{Path: name + subject, Line: 1, End: 1, Quote: value}
			if err := facts.Add(&analyzers.Fact{Name: name, Subject: subject, Value: value, Evidence: []bundle.Evidence{ev}}); err != nil {
				t.Fatal(err)
			}
		}
		for platform, args := range map[string]string{"bios": c.bios, "efi": c.efi} {
			if args != absent {
				state("iso.boot", "", platform)
			}
			if args != absent && args != unread {
				state("iso.cmdline", platform, args)
			}
		}
		if c.kernel != "" {
			state("kernel.cmdline", "", c.kernel)
		}
		if got := verdict(t, set, facts); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func verdict(t *testing.T, set *rules.Set, facts *analyzers.Facts) string {
	t.Helper()
	for _, v := range set.Evaluate(facts, nil).Verdicts {
		if v.Condition.ID == "iso.serial-console" {
			return string(v.Status)
		}
	}
	t.Fatal("no condition iso.serial-console")
	return ""
}

func load(t *testing.T) *rules.Set {
	t.Helper()
	profiles, err := rules.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(analyzers.Types(all.List), profile(profiles, "pre-nixos"), rules.Embedded()...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func profile(ps []rules.Profile, name string) rules.Profile {
	for _, p := range ps {
		if p.Name == name {
			return p
		}
	}
	return rules.Profile{}
}

// TestBeforeBoot: what an image alone decides, by what each is built with or
// without (testdata/roots.sh, testdata/build.sh).
func TestBeforeBoot(t *testing.T) {
	profiles, err := rules.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ image, profile, console, parts, unit string }{
		{"root-nixos", "pre-nixos", "pass", "pass", "pass"},
		{"root-nixos-no-disko", "pre-nixos", "pass", "fail", "unknown"},
		{"root-nixos-no-networkd", "pre-nixos", "pass", "fail", "pass"},
		{"root-nixos-remains", "pre-nixos", "pass", "pass", "fail"},
		{"root-nixos-waits", "pre-nixos", "pass", "pass", "unknown"},
		{"root-nixos-no-kmod", "pre-nixos", "pass", "pass", "fail"},
		{"root-debian", "debian-live", "fail", "unknown", "pass"},
		{"root-debian", "pre-nixos", "fail", "fail", "fail"},
		{"../rr", "pre-nixos", "pass", "unknown", "unknown"}, // no squashfs: no root to read
	} {
		p := profile(profiles, c.profile)
		set, err := rules.Load(analyzers.Types(all.List), p, rules.Embedded()...)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"iso.serial-console": c.console, "iso.boot-profile": c.parts, "iso.unit": c.unit}
		run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.iso", bundle.ISO, analyzertest.Gunzip(t, "testdata/roots/"+c.image+".iso.gz"))}}
		for _, v := range set.Evaluate(analyzers.Analyze(run, all.List, p.Params), p.Params).Verdicts {
			w := want[v.Condition.ID]
			if w == "" {
				w = "unknown"
			}
			if string(v.Status) != w {
				t.Errorf("%s as %s: %s is %s (%s), want %s", c.image, c.profile, v.Condition.ID, v.Status, v.Because, w)
			}
		}
		for _, problem := range run.Problems {
			t.Errorf("%s: %s", c.image, problem.Text)
		}
	}
}
