package capture

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"forensics/cmd/forensics/internal/capture/record"
)

// fakeNix is a nix that says and does what the script says, in a store of its
// own: $out is its result.
func fakeNix(t *testing.T, script string) (out string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake nix is a script for /bin/sh")
	}
	bin, out := t.TempDir(), filepath.Join(t.TempDir(), "8xp1fk9jv6wz0yq2m4s7c3d5g1h2i3l4-image")
	text := "#!/bin/sh\nout='" + out + "'\necho \"building $*\" >&2\nmkdir -p \"$out/iso\"\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(bin, "nix"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return out
}

// built builds the image into a bundle, and returns it.
func built(t *testing.T, cfg Config) (iso string, err error) {
	t.Helper()
	b, err := record.Create(cfg.Output, "forensics", "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &capture{Config: cfg, bundle: b, progress: silent{}}
	err = c.build(context.Background())
	if err := b.Finish(err == nil, ""); err != nil {
		t.Fatal(err)
	}
	return c.ISO, err
}

// TestFlake: what nix build leaves, and what is said of it. Its log is kept.
func TestFlake(t *testing.T) {
	const done = "\necho \"$out\"\n"
	for _, c := range []struct {
		name, script string
		iso          string // below the result, "" for an error
		says         string
		log          string
	}{
		{"one image", ": >$out/iso/nixos.iso; : >$out/iso/nixos.iso.sha256; echo 'image> done' >&2" + done, "iso/nixos.iso", "", "image> done"},
		{"a linked image", ": >$out/x; ln -s ../x $out/iso/nixos.iso" + done, "iso/nixos.iso", "", ""},
		{"several", ": >$out/iso/a.iso; : >$out/iso/b.iso" + done, "", "/iso/b.iso): it must make one", ""},
		{"several outputs", ": >$out/iso/a.iso; mkdir $out-2; : >$out-2/b.iso; echo $out-2" + done, "", "made 2 images", ""},
		{"none", ": >$out/iso/readme" + done, "", "made 0 images", ""},
		{"nothing printed", ":", "", "made 0 images", ""},
		{"a directory called so", "mkdir $out/iso/x.iso" + done, "", "made 0 images", ""},
		{"a failure", "echo \"error: attribute 'bootImage' missing\" >&2; exit 1", "", "build.log", "attribute 'bootImage' missing"},
		{"a failure behind an image", ": >$out/iso/a.iso" + done + "exit 100", "", "exit status 100", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := fakeNix(t, c.script)
			cfg := config(t)
			cfg.Flake = ".#bootImage"
			iso, err := built(t, cfg)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if want := filepath.Join(out, c.iso); c.iso != "" && iso != want {
				t.Errorf("image %s, want %s", iso, want)
			}
			log, err := os.ReadFile(filepath.Join(cfg.Output, "build.log"))
			if err != nil || !strings.Contains(string(log), "building build .#bootImage --no-link") || !strings.Contains(string(log), c.log) {
				t.Errorf("the log %q, %v, does not have %q", log, err, c.log)
			}
		})
	}
}

// TestFlakeInterrupted: nix is asked to end, and its log is kept.
func TestFlakeInterrupted(t *testing.T) {
	fakeNix(t, "trap 'echo interrupted >&2; exit 1' INT\nwhile :; do sleep 0.1; done")
	cfg := config(t)
	cfg.Flake = ".#bootImage"
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := Run(ctx, cfg); err == nil {
		t.Error("no error")
	}
	if log, err := os.ReadFile(filepath.Join(cfg.Output, "build.log")); err != nil || !strings.Contains(string(log), "interrupted") {
		t.Errorf("%q, %v", log, err)
	}
	if m := manifest(t, cfg.Output); m.Complete || !strings.HasPrefix(m.Why, "interrupted") {
		t.Errorf("the manifest says %v, %s", m.Complete, m.Why)
	}
}
