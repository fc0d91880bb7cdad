package capture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"forensics/analyzers/analyzertest"
	"forensics/cmd/forensics/internal/capture/probe"
	"forensics/cmd/forensics/internal/capture/record"
	"forensics/rules"
)

// silent is a progress that nobody sees.
type silent struct{}

func (silent) Stage(string)   {}
func (silent) Say(string)     {}
func (silent) Console(string) {}

// list is a list of probes for tests: two of the host, one of them of a
// condition that the other does not inform.
const list = `probes:
  - {name: one, where: host, argv: [echo, one], limit: 5s, conditions: [host.user-env]}
  - {name: two, where: host, argv: [echo, "${unit}"], limit: 5s, conditions: [host.nix]}
`

// config is one that captures into a directory that is yet to be made.
func config(t *testing.T) Config {
	t.Helper()
	profiles, err := rules.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Output: filepath.Join(t.TempDir(), "bundle"), Version: "test", Progress: silent{}}
	for _, p := range profiles {
		if p.Name == "pre-nixos" {
			cfg.Params = p.Params
		}
	}
	return cfg
}

// manifest reads the bundle's.
func manifest(t *testing.T, dir string) record.Manifest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m record.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func paths(m record.Manifest) []string {
	var ps []string
	for _, f := range m.Files {
		ps = append(ps, f.Path)
	}
	return ps
}

// image writes an image of package iso's tests.
func image(t *testing.T) string {
	t.Helper()
	data := analyzertest.Gunzip(t, "../../../../analyzers/iso/testdata/roots/root-debian.iso.gz")
	name := filepath.Join(t.TempDir(), "debian.iso")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestImage(t *testing.T) {
	cfg := config(t)
	cfg.Image, cfg.ISO = true, image(t)
	if err := Run(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, cfg.Output)
	if !m.Complete || len(m.Problems) > 0 {
		t.Errorf("complete %v (%s), problems %q", m.Complete, m.Why, m.Problems)
	}
	want := []string{
		"iso/files/isolinux/isolinux.cfg",
		"iso/files/live/filesystem.squashfs.d/etc/systemd/system/provision.service",
		"iso/files/live/filesystem.squashfs.d/etc/systemd/system/provision.service.d/10-time.conf",
		"iso/image.json", "iso/promises.jsonl", "iso/tree.jsonl",
	}
	if got := paths(m); !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
	lines := tree(t, cfg.Output)
	for path, e := range map[string]treeEntry{
		"/isolinux":              {Type: "directory", Mode: "0555"},
		"/live/initrd.img!/init": {Type: "file", Mode: "0644", Size: 10},
		"/live/filesystem.squashfs!/usr/sbin/lvs":   {Type: "link", Mode: "0777", Size: 3, Link: "lvm"},
		"/live/filesystem.squashfs!/etc/sudoers.d/": {},
	} {
		got, ok := lines[path]
		e.Path = path
		if strings.HasSuffix(path, "/") {
			if ok {
				t.Errorf("%s is listed", path)
			}
		} else if got != e {
			t.Errorf("%s: %+v, want %+v", path, got, e)
		}
	}
	if lines["/live/vmlinuz"].SHA256 == "" || lines["/live/filesystem.squashfs!/usr/bin/ip"].SHA256 != "" {
		t.Error("files of the image have digests, nested ones do not")
	}
}

// tree reads iso/tree.jsonl.
func tree(t *testing.T, dir string) map[string]treeEntry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "iso/tree.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]treeEntry{}
	for line := range bytes.Lines(data) {
		var e treeEntry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines[e.Path] = e
	}
	return lines
}

func TestHost(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("echo is no program there")
	}
	for _, c := range []struct {
		need []string
		want []string
	}{
		{nil, []string{"host/one.json", "host/two.json"}},
		{[]string{"host.nix"}, []string{"host/two.json"}},
		{[]string{}, nil},
	} {
		cfg := config(t)
		cfg.Host, cfg.Need = true, c.need
		cfg.Lists = []rules.Source{{Name: "list.yaml", Data: []byte(list)}}
		specs, err := cfg.Specs("")
		if err != nil {
			t.Fatal(err)
		}
		// The built-in list asks this machine: not here.
		own := slices.DeleteFunc(probe.At(specs, probe.Host), func(s probe.Spec) bool { return s.Name != "one" && s.Name != "two" })
		b, err := record.Create(cfg.Output, "forensics", "test", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		(&capture{Config: cfg, bundle: b, progress: silent{}, specs: own}).host(context.Background(), own)
		if err := b.Finish(true, ""); err != nil {
			t.Fatal(err)
		}
		if got := paths(manifest(t, cfg.Output)); !slices.Equal(got, c.want) {
			t.Errorf("need %q: %q, want %q", c.need, got, c.want)
		}
		if data, err := os.ReadFile(filepath.Join(cfg.Output, "host/two.json")); err == nil && !strings.Contains(string(data), `"pre-nixos.service\n"`) {
			t.Errorf("the parameter is not filled in: %s", data)
		}
	}
}

// TestTrouble: what keeps a capture from going on is told, and the bundle says
// that it is not complete.
func TestTrouble(t *testing.T) {
	notImage := filepath.Join(t.TempDir(), "x.iso")
	if err := os.WriteFile(notImage, []byte(strings.Repeat("no image ", 9000)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir()) // neither nix nor QEMU
	for _, c := range []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"no image", func(cfg *Config) { cfg.Image, cfg.Machine, cfg.ISO = true, true, notImage }, "no ISO 9660 image"},
		{"no file", func(cfg *Config) { cfg.Image, cfg.ISO = true, notImage+"x" }, "--iso names the image"},
		{"no nix", func(cfg *Config) { cfg.Image, cfg.Flake = true, ".#x" }, "nix is not on PATH"},
		{"no QEMU", func(cfg *Config) { cfg.Machine, cfg.ISO = true, image(t) }, "qemu-system-x86_64"},
	} {
		cfg := config(t)
		c.change(&cfg)
		err := Run(context.Background(), cfg)
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, ErrNoBundle) {
			t.Errorf("%s: %v", c.name, err)
		}
		if m := manifest(t, cfg.Output); m.Complete || !strings.Contains(m.Why, c.says) {
			t.Errorf("%s: the manifest says complete %v: %s", c.name, m.Complete, m.Why)
		}
	}
	cfg := config(t)
	cfg.Host = true
	cfg.Lists = []rules.Source{{Name: "list.yaml", Data: []byte("probes: [{name: x, where: nowhere}]")}}
	if err := Run(context.Background(), cfg); !errors.Is(err, ErrNoBundle) || !strings.Contains(err.Error(), "list.yaml") {
		t.Errorf("a bad list: %v", err)
	}
	if _, err := os.Stat(cfg.Output); err == nil {
		t.Error("a bad list left a bundle")
	}
	// A canceled capture is finished all the same.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	cfg = config(t)
	cfg.Image, cfg.ISO = true, image(t)
	if err := Run(ctx, cfg); !errors.Is(err, errInterrupted) {
		t.Errorf("interrupted: %v", err)
	}
	if m := manifest(t, cfg.Output); m.Complete || m.Why != "interrupted" {
		t.Errorf("interrupted: complete %v: %s", m.Complete, m.Why)
	}
}

// TestLate: what asks for the image's path in nix's store is asked when there is
// one.
func TestLate(t *testing.T) {
	cfg := config(t)
	cfg.Lists = []rules.Source{{Name: "list.yaml", Data: []byte("probes:\n  - {name: there, where: host, argv: [echo, '${store-path}'], limit: 5s}\n")}}
	specs, err := cfg.Specs("")
	if err != nil {
		t.Fatal(err)
	}
	c := &capture{Config: cfg, specs: specs}
	if got := c.late(); len(got) != 0 {
		t.Errorf("without an image: %v", got)
	}
	c.specs = slices.DeleteFunc(slices.Clone(specs), func(s probe.Spec) bool { return s.Name == "kernel" })
	if got := c.late(); len(got) != 1 || got[0].Name != "kernel" || got[0].Where != probe.Host {
		t.Errorf("what was not asked before: %v", got)
	}
	const in = "/nix/store/8xp1fk9jv6wz0yq2m4s7c3d5g1h2i3l4-nixos.iso"
	for at, want := range map[string]string{
		in + "/iso/nixos.iso":             in,
		in:                                in,
		"/nix/store/.links/x":             "",
		"/mnt" + in + "/iso/nixos.iso":    "",
		"/nix/store/8xp1fk9jv6wz-x/y.iso": "",
	} {
		if got := storeRe.FindString(at); got != want {
			t.Errorf("%s is in %q, want %q", at, got, want)
		}
	}
	if got := storePath(filepath.Join(t.TempDir(), "absent.iso")); got != "" {
		t.Errorf("an absent image is in %s", got)
	}
}

func TestQuoted(t *testing.T) {
	if got, want := quoted([]string{"sh", "-c", "echo 'a b'; $x"}), `'sh' '-c' 'echo '\''a b'\''; $x'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPatience(t *testing.T) {
	s := probe.Spec{Poll: &probe.Poll{Limit: time.Hour}}
	if got := patience(context.Background(), s); got != time.Hour {
		t.Errorf("without a deadline: %v", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if got := patience(ctx, s); got > 30*time.Second || got < 25*time.Second {
		t.Errorf("with a minute left: %v", got)
	}
	if got := patience(ctx, probe.Spec{}); got != 0 {
		t.Errorf("asked once: %v", got)
	}
}
