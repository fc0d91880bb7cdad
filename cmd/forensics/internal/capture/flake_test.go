package capture

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"forensics/cmd/forensics/internal/capture/probe"
	"forensics/cmd/forensics/internal/capture/record"
)

// fakeNix is a nix that says and does what the script says, in a store of its
// own: $out is its result. It knows the flags that Debian's nix 2.8 knows.
func fakeNix(t *testing.T, script string) (out string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake nix is a script for /bin/sh")
	}
	bin, out := t.TempDir(), filepath.Join(t.TempDir(), "8xp1fk9jv6wz0yq2m4s7c3d5g1h2i3l4-image")
	text := "#!/bin/sh\nout='" + out + "'\necho \"building $*\" >&2\nmkdir -p \"$out/iso\"\n" +
		"case \" $* \" in *' --print-out-paths '*) echo \"error: unrecognised flag '--print-out-paths'\" >&2; exit 1 ;; esac\n" + script + "\n"
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
	const done = "\nprintf '[{\"drvPath\":\"%s.drv\",\"outputs\":{\"out\":\"%s\"}}]\\n' \"$out\" \"$out\"\n"
	for _, c := range []struct {
		name, script string
		iso          string // behind the path of the result, "" for an error
		says         string
		log          string
	}{
		{"one image", ": >$out/iso/nixos.iso; : >$out/iso/nixos.iso.sha256; echo 'image> done' >&2" + done, "/iso/nixos.iso", "", "image> done"},
		{"a linked image", ": >$out/x; ln -s ../x $out/iso/nixos.iso" + done, "/iso/nixos.iso", "", ""},
		{"several", ": >$out/iso/a.iso; : >$out/iso/b.iso" + done, "", "/iso/b.iso): it must make one", ""},
		{"several outputs", ": >$out/iso/a.iso; mkdir $out-2; : >$out-2/b.iso; printf '[{\"outputs\":{\"out\":\"%s\",\"more\":\"%s\"}}]' $out $out-2", "", "made 2 images", ""},
		{"several installables", ": >$out/iso/a.iso; mkdir $out-2; : >$out-2/b.iso; printf '[{\"outputs\":{\"out\":\"%s\"}},{\"outputs\":{\"out\":\"%s\"}}]' $out $out-2", "", "made 2 images", ""},
		{"the result is the image", "rm -r $out; : >$out.iso; printf '[{\"outputs\":{\"out\":\"%s.iso\"}}]' $out", ".iso", "", ""},
		{"a linked directory", "mkdir $out-2; : >$out-2/a.iso; rmdir $out/iso; ln -s $out-2 $out/iso" + done, "/iso/a.iso", "", ""},
		{"a linked result", "mkdir $out-2; : >$out-2/a.iso; rm -r $out; ln -s $out-2 $out" + done, "/a.iso", "", ""},
		{"loops, and links to nowhere", ": >$out/iso/a.iso; ln -s .. $out/iso/up; ln -s nowhere $out/iso/b.iso; ln -s self.iso $out/self.iso" + done, "/iso/a.iso", "", ""},
		{"none", ": >$out/iso/readme" + done, "", "made no .iso file", ""},
		{"nothing built", "echo '[]'", "", "made no .iso file", ""},
		{"no answer", ":", "", "does not say what it made", ""},
		{"another answer", "echo $out", "", "does not say what it made", ""},
		{"a directory called so", "mkdir $out/iso/x.iso" + done, "", "made no .iso file", ""},
		{"a failure", "echo \"error: attribute 'bootImage' missing\" >&2; exit 1", "", "attribute 'bootImage' missing; its log is build.log", "attribute 'bootImage' missing"},
		{"a failure below what it was about", "printf 'error:\\n       … while calling\\n\\n       error: The option does not exist\\n' >&2; exit 1", "", "exit status 1: The option does not exist; its log", "while calling"},
		{"a failure without a word", "exit 1", "", "exit status 1; its log", ""},
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
			if want := out + c.iso; c.iso != "" && iso != want {
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

// TestFlakeResult: how many images there are stands in the bundle, whichever
// parts are captured, and of the flake as a whole is asked.
func TestFlakeResult(t *testing.T) {
	for _, tool := range []string{"find", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	for _, c := range []struct {
		name, script string
		images       int
	}{
		{"none", "", 0},
		{"several", ": >$out/iso/a.iso; : >$out/iso/b.iso; mkdir $out/dir.iso", 2},
	} {
		t.Setenv("HOME", t.TempDir()) // login shells read it
		out := fakeNix(t, c.script+"\nprintf '[{\"outputs\":{\"out\":\"%s\"}}]' $out")
		cfg := config(t)
		cfg.Flake, cfg.Host, cfg.Image, cfg.Machine = ".#bootImage", false, true, false
		if err := Run(context.Background(), cfg); err == nil {
			t.Errorf("%s: no error", c.name)
		}
		var r probe.Record
		data, err := os.ReadFile(filepath.Join(cfg.Output, "host", "result.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &r); err != nil || r.ExitStatus != 0 || !slices.Contains(r.Argv, out) || strings.Count(r.Stdout, "\n") != c.images {
			t.Errorf("%s: %v, %s", c.name, err, data)
		}
		specs, err := cfg.Specs("")
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(specs, func(s probe.Spec) bool { return s.Name == "nix-flake" })
		if i < 0 || !strings.HasSuffix(specs[i].Argv[2], " .") {
			t.Errorf("%s: the flake is not asked as a whole: %d", c.name, i)
		}
	}
}
