// Package capture boots an image once and keeps everything that says why the
// boot went as it did.
//
// # Nouns
//
// A Config says what is captured and how. A capture has parts: the host (its
// probes), the image (its tree and promises), the machine (one boot, the
// dialogue with the guest, the guest's probes, its journal). What they find goes
// to a bundle, a directory that the record package writes as it happens. The
// parts' mechanisms stand in packages of their own: vm, dialogue, probe, record.
//
// # Invariants
//
//   - A part that fails does not take the others with it: what is wrong stands
//     in the manifest, and in the error of Run where nothing else tells.
//   - The guest is asked only what reads; but for the automatic login, sudo and
//     a directory in a tmpfs it is as it would be without us.
//   - QEMU never outlives Run. However Run ends, the bundle is finished, and its
//     manifest says whether it is complete, and why not.
//   - Nothing leaves the machine, and nothing but the bundle is written: blank
//     disks are files without a name where the system has such (Linux), so that
//     even a killed capture leaves none; elsewhere they are removed in the end.
//
// Left out: judging. The bundle is analysed like any other run.
package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/cmd/forensics/internal/capture/probe"
	"forensics/cmd/forensics/internal/capture/record"
	"forensics/cmd/forensics/internal/capture/vm"
	"forensics/rules"
)

// Config says what is captured.
type Config struct {
	ISO    string // the image; "" with Flake, or without image and machine
	Flake  string // built with nix build, its result is the image
	Output string // directory of the bundle; must not exist or be empty
	Params analyzers.Params
	VM     vm.Options
	Disk   vm.Disk // the blank one; its path is the capture's business
	// Disks are more of them: blank ones have no path; of files that are there
	// the guest sees a copy that is dropped in the end.
	Disks []vm.Disk
	Vsock Switch // whether the guest forwards its journal over a vsock
	// Login bounds the wait for a shell, from the guest's first instruction on;
	// Limit bounds all that is asked after that.
	Login, Limit         time.Duration
	User, Password       string
	Host, Image, Machine bool           // the parts to capture
	Lists                []rules.Source // probes, beside the built-in ones
	Need                 []string       // conditions: only the probes that inform them; nil: all
	Version              string
	Progress             Progress

	built []string // paths that the flake's build made
}

// Switch says whether a thing is done.
type Switch string

// The switches. Auto is on where the host has what it takes.
const (
	Auto Switch = "auto"
	On   Switch = "on"
	Off  Switch = "off"
)

// Progress is told how far the capture is.
type Progress interface {
	Stage(name string)
	Say(text string) // what the user must know at once
	Console(last string)
}

// capture is one Run.
type capture struct {
	Config
	bundle   *record.Bundle
	progress Progress
	blanks   []*vm.Blank
	specs    []probe.Spec
	whys     []string // the bundle is not complete
}

// Specs returns the probes that a capture runs, filled with parameters; disk is
// the blank disk's file, "" where there is none yet.
func (cfg *Config) Specs(disk string) ([]probe.Spec, error) {
	specs, err := probe.Load(cfg.values(disk), append([]rules.Source{probe.Builtin()}, cfg.Lists...)...)
	if err != nil {
		return nil, err
	}
	if cfg.Need != nil {
		specs = probe.Select(specs, cfg.Need)
	}
	filled, _ := probe.Fill(specs, cfg.values(disk))
	return filled, nil
}

// values are the parameters of probes: the host's, the profile's, the
// capture's own.
func (cfg *Config) values(disk string) analyzers.Params {
	values := analyzers.Params(probe.HostParams("."))
	maps.Copy(values, cfg.Params)
	values["commands"] = probe.Commands(cfg.Params["parts"])
	// Of a flake as a whole is asked: nix refuses to show a part of one.
	flake, _, _ := strings.Cut(cfg.Flake, "#")
	for name, value := range map[string]string{"qemu": cfg.VM.QEMU, "flake": flake, "image": disk, "store-path": storePath(cfg.ISO), "result": storePath(cfg.ISO)} {
		if value != "" {
			values[name] = []string{value}
		}
	}
	if len(cfg.built) > 0 {
		values["store-path"], values["result"] = cfg.built, cfg.built
	}
	return values
}

// storeRe is a path in nix's store: 32 letters of its base 32, then a name.
var storeRe = regexp.MustCompile(`^/nix/store/[0-9a-z]{32}-[^/]+`)

// storePath returns the path in nix's store that holds the image, "" where it
// lies elsewhere. result/iso/x.iso leads there by a link.
func storePath(iso string) string {
	at, err := filepath.EvalSymlinks(iso)
	if err == nil {
		at, err = filepath.Abs(at)
	}
	if err != nil {
		return ""
	}
	return storeRe.FindString(at)
}

// ErrNoBundle is wrapped by what keeps Run from making a bundle at all.
var ErrNoBundle = errors.New("nothing was captured")

// errInterrupted says that a capture ended early, as it was asked to.
var errInterrupted = errors.New("interrupted: the bundle holds what was captured until then")

// Run captures. The error says what the user must mend; but for ErrNoBundle
// there is a bundle, and it has it too.
func Run(ctx context.Context, cfg Config) error {
	if _, err := cfg.Specs(""); err != nil {
		return errors.Join(err, ErrNoBundle)
	}
	b, err := record.Create(cfg.Output, "forensics", cfg.Version, time.Now().UTC())
	if err != nil {
		return errors.Join(err, ErrNoBundle)
	}
	c := &capture{Config: cfg, bundle: b, progress: cfg.Progress}
	err = c.parts(ctx)
	if ctx.Err() != nil {
		c.whys = append([]string{"interrupted"}, c.whys...)
		err = errors.Join(errInterrupted, err)
	}
	return errors.Join(err, b.Finish(len(c.whys) == 0, strings.Join(c.whys, "; ")))
}

// parts captures one part after the other. The guest is slowed down by nothing
// of ours: the host's probes come first.
func (c *capture) parts(ctx context.Context) error {
	if err := c.blank(ctx); err != nil {
		c.why(err.Error())
		return err
	}
	defer func() {
		if err := c.unblank(); err != nil {
			c.problem("blank disk", err.Error())
		}
	}()
	c.specs, _ = c.Specs(c.Disk.Path) // they were loaded before
	var failed []error
	if c.Host {
		c.host(ctx, probe.At(c.specs, probe.Host))
	}
	if c.Flake != "" && ctx.Err() == nil {
		err := c.build(ctx)
		// Also where it made no image, or two, and where the host is no part: the
		// answers say how many there are.
		c.host(ctx, c.late())
		if err != nil {
			c.why(err.Error())
			return err
		}
	}
	if c.Image && c.ISO != "" && ctx.Err() == nil {
		if err := c.image(c.ISO); err != nil {
			c.why(err.Error())
			failed = append(failed, err)
		}
	}
	// A file that is no image boots nothing; one that is absent is QEMU's to
	// say, and its words are evidence.
	if errors.Is(errors.Join(failed...), errNoImage) {
		return errors.Join(failed...)
	}
	if c.Machine && ctx.Err() == nil {
		if err := c.boot(ctx); err != nil {
			c.why(err.Error())
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// blank makes the blank disks.
func (c *capture) blank(ctx context.Context) error {
	if !c.Machine {
		return nil
	}
	c.Disks = slices.Clone(c.Disks) // the caller's stay as they are
	for _, d := range c.every() {
		if d.Path != "" || d.Size <= 0 || d.Bus == "none" {
			continue
		}
		b, err := vm.NewBlank(ctx, *d, "")
		if err != nil {
			return errors.Join(err, c.unblank())
		}
		c.blanks = append(c.blanks, b)
		d.Path = b.Path
	}
	return nil
}

// every returns the machine's disks.
func (c *capture) every() []*vm.Disk {
	disks := []*vm.Disk{&c.Disk}
	for i := range c.Disks {
		disks = append(disks, &c.Disks[i])
	}
	return disks
}

func (c *capture) unblank() error {
	var errs []error
	for _, b := range c.blanks {
		errs = append(errs, b.Close())
	}
	c.blanks = nil
	return errors.Join(errs...)
}

// why notes that the bundle is not complete.
func (c *capture) why(text string) { c.whys = append(c.whys, oneLine(text)) }

// problem notes what a reader of the bundle must know.
func (c *capture) problem(at, text string) { c.bundle.Note(at + ": " + oneLine(text)) }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// json writes one value as a file, indented for people.
func (c *capture) json(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return c.bundle.WriteFile(name, append(data, '\n'))
}

// late returns the host's probes that there are only now that the image is
// built: they ask for its path.
func (c *capture) late() []probe.Spec {
	specs, _ := c.Specs(c.Disk.Path)
	return slices.DeleteFunc(probe.At(specs, probe.Host), func(s probe.Spec) bool {
		return slices.ContainsFunc(c.specs, func(old probe.Spec) bool { return old.Where == s.Where && old.Name == s.Name })
	})
}

// host runs probes of the host.
func (c *capture) host(ctx context.Context, specs []probe.Spec) {
	if len(specs) == 0 {
		return
	}
	c.progress.Stage(fmt.Sprintf("host: %d probes", len(specs)))
	probe.RunAll(ctx, specs, "", nil, func(r probe.Record) { c.keep(r) })
}

// keep writes a probe's record. Several of one name, as polls give them, stand
// in one file, a line each.
func (c *capture) keep(r probe.Record) {
	name := fmt.Sprintf("%s/%s.json", r.Where, r.Name)
	if err := c.bundle.Append(name, r); err != nil {
		c.problem(name, err.Error())
	}
}
