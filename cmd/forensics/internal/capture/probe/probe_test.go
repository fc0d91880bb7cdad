package probe

import (
	"slices"
	"strings"
	"testing"

	"forensics/rules"
)

// profile is the parameters of the default profile, and those that a capture
// adds.
func profile(t testing.TB) map[string][]string {
	t.Helper()
	all, err := rules.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Name == "pre-nixos" {
			p.Params["commands"] = Commands(p.Params["parts"])
			return p.Params
		}
	}
	t.Fatal("no default profile")
	return nil
}

func builtin(t testing.TB) []Spec {
	t.Helper()
	list, err := Load(profile(t), Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestBuiltin holds the built-in list against the catalogue: each condition that
// it names exists, and each of the host's and the guest's has a probe.
func TestBuiltin(t *testing.T) {
	list := builtin(t)
	informed := map[string]bool{}
	for _, s := range list {
		if len(s.Conditions) == 0 {
			t.Errorf("%s informs no condition", s.Name)
		}
		for _, id := range s.Conditions {
			informed[id] = true
		}
	}
	known := map[string]bool{}
	for _, c := range catalogue(t).Conditions() {
		known[c.ID] = true
		if !informed[c.ID] && c.ID != "harness.prompt" { // the harness's own log decides it
			t.Errorf("no probe informs %s", c.ID)
		}
	}
	for id := range informed {
		if !known[id] {
			t.Errorf("a probe informs %s, which does not exist", id)
		}
	}
}

// TestBuiltinReads holds the list against words by which tools change something.
func TestBuiltinReads(t *testing.T) {
	for _, s := range builtin(t) {
		line := " " + strings.Join(s.Argv, " ") + " "
		for _, word := range []string{" -a ", " --all ", "mkfs", "create", "remove", " -w ", " start ", " stop ", " restart ", " rm ", " set", "--systohc", " env "} {
			empty := s.Argv[0] == "env" && s.Argv[1] == "-i" // none to print
			if strings.Contains(line, word) && !(word == " -a " && s.Argv[0] == "uname") && !(word == " env " && empty) {
				t.Errorf("%s: %s", s.Name, line)
			}
		}
		if slices.Contains(s.Argv, "wipefs") && !slices.Contains(s.Argv, "-n") {
			t.Errorf("%s: %s", s.Name, line)
		}
		if s.Argv[0] == "printenv" && !slices.Equal(s.Argv, []string{"printenv", "USER"}) {
			t.Errorf("%s: %s", s.Name, line)
		}
	}
}
