package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/bundle/archive"
	"forensics/analyzers/console"
	"forensics/analyzers/iso"
	"forensics/analyzers/journal"
	"forensics/analyzers/journal/native"
	"forensics/analyzers/qemu"
	"forensics/analyzers/units/unitfile"
	"forensics/cmd/forensics/internal/show"
	"forensics/cmd/forensics/internal/tty"
)

// showFlags are the options of the command that shows one artifact.
type showFlags struct {
	rules  ruleFlags
	format string
	output string
	unit   string
}

// The forms in which artifacts are shown. Each kind of artifact has its own;
// the first is taken when none is asked for.
const (
	formLines = "lines" // decoded text, a line each
	formParts = "parts" // a command line, option by option
	formUnit  = "unit"  // a unit file with its drop-ins
	formRaw   = "raw"   // the bytes as they are
)

func newShow() *cobra.Command {
	var o showFlags
	c := &cobra.Command{
		Use:   "show ARTIFACT",
		Short: "Show an artifact as the analyzers see it",
		Long: `Show writes the decoded view of one artifact, the one that the analyzers work
from:

  a transcript, capture or log   numbered lines, > before what was typed
  a journal, native or as text   its entries: --format short, export or json
  an ISO image, squashfs, initrd, EFI boot image or archive
                                 its files: --format find or long
  a file inside of one           image.iso!/isolinux/isolinux.cfg, and so on
                                 inwards: image.iso!/nix-store.squashfs!/etc/fstab
  metadata with a QEMU command   that command, option by option
  a unit file                    the unit as it is after its drop-ins

--unit NAME shows a unit of the guest that an ISO image starts. What could act
on a terminal is written as an escape; --format raw gives the bytes as they are,
and --format export those of a journal: into a file or a pipe.`,
		Example: `  forensics show serial.log
  forensics show system.journal --format export > journal.export
  forensics show image.iso --format long
  forensics show 'image.iso!/isolinux/isolinux.cfg'
  forensics show image.iso --unit pre-nixos.service`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef(c, "show takes one artifact, got %d", len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return o.run(c, args[0]) },
	}
	f := c.Flags()
	f.StringVarP(&o.format, "format", "f", "", "`FORMAT`: find, long, short, export, json, lines, parts, unit or raw, as the artifact has it")
	f.StringVarP(&o.output, "output", "o", "", "write to `FILE` instead of standard output")
	f.StringVar(&o.unit, "unit", "", "show the unit `NAME` of the image's guest")
	o.rules.register(c)
	return c
}

// artifact is what the argument names: a file or directory of a file system,
// perhaps within others.
type artifact struct {
	fs.FS
	name  string // within FS
	shown string // as the user wrote it
}

func (o *showFlags) run(c *cobra.Command, arg string) (err error) {
	a, err := locate(arg)
	if err != nil {
		return err
	}
	v := &viewer{showFlags: o, artifact: a, w: c.OutOrStdout(), note: func(at, text string) {
		complain(c.ErrOrStderr(), at+": "+text)
	}}
	v.terminal = tty.Of(v.w, os.Getenv).IsTerminal
	if o.output != "" && o.output != "-" {
		f, err := os.Create(o.output)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		v.w, v.terminal = f, false
	}
	if o.unit != "" {
		cat, err := o.rules.load(c)
		if err != nil {
			return err
		}
		return v.guestUnit(cat.profile.Params)
	}
	return v.show()
}

// locate opens what stands before each ! as a file system.
func locate(arg string) (artifact, error) {
	outer, inner, nested := arg, "", false
	for i := range len(arg) {
		// The longest name that exists goes first: a ! may be part of it.
		if arg[i] == '!' {
			if info, err := os.Stat(arg[:i]); err == nil && info.Mode().IsRegular() {
				if _, err := os.Stat(arg); err != nil {
					outer, inner, nested = arg[:i], arg[i+1:], true
					break
				}
			}
		}
	}
	info, err := os.Stat(outer)
	if err != nil {
		return artifact{}, plainly(outer, err)
	}
	if info.IsDir() {
		return artifact{}, fmt.Errorf("%s: a directory; name one artifact in it, or run 'forensics analyze --verbose %s' for what there is", outer, outer)
	}
	dir, name := place(outer)
	r, err := os.OpenRoot(dir)
	if err != nil {
		return artifact{}, plainly(outer, err)
	}
	a := artifact{r.FS(), filepath.ToSlash(name), outer}
	for nested {
		vol, _, err := a.volume()
		if err != nil {
			return artifact{}, err
		}
		var part string
		part, inner, nested = strings.Cut(inner, "!")
		name := strings.TrimPrefix(path.Clean("/"+part), "/")
		if name == "" {
			name = "."
		}
		shown := a.shown + "!/" + strings.TrimPrefix(name, ".")
		if _, err := fs.Stat(vol, name); err != nil {
			return artifact{}, plainly(shown, err)
		}
		a = artifact{vol, name, shown}
	}
	return a, nil
}

// plainly is an error about a file, without the file's name in it twice.
func plainly(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// maxNested is the largest file that is taken into memory where its file system
// only reads from the start.
const maxNested = 256 << 20

// volume opens the artifact as a file system: that of an image, or an archive.
func (a artifact) volume() (fsys fs.FS, problems []string, err error) {
	r, size, err := a.reader()
	if err != nil {
		return nil, nil, err
	}
	if v, err := iso.OpenVolume(r, size); err == nil {
		return iso.Rooted(v.FS), v.Problems, nil
	}
	f, err := archive.Open(a.FS, a.name, archive.NewBudget())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: holds no files: no image, and %w", a.shown, err)
	}
	for _, p := range f.Problems() {
		problems = append(problems, strings.TrimPrefix(p.Name+": "+p.Text, ": "))
	}
	return f, problems, nil
}

// reader opens the artifact for reading at any offset. It stays open until the
// program ends.
func (a artifact) reader() (io.ReaderAt, int64, error) {
	f, err := a.Open(a.name)
	if err != nil {
		return nil, 0, plainly(a.shown, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, plainly(a.shown, err)
	}
	if r, ok := f.(io.ReaderAt); ok {
		return r, info.Size(), nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNested+1))
	if err == nil && len(data) > maxNested {
		err = fmt.Errorf("larger than the %d bytes that are read of a compressed file", maxNested)
	}
	if err != nil {
		return nil, 0, plainly(a.shown, err)
	}
	return strings.NewReader(string(data)), int64(len(data)), nil
}

// viewer shows one artifact.
type viewer struct {
	*showFlags
	artifact
	w        io.Writer
	terminal bool
	note     func(at, text string)
}

// form returns the format that was asked for, or the first of those that the
// artifact has.
func (v *viewer) form(has ...string) (string, error) {
	has = append(has, formRaw)
	if v.format == "" {
		return has[0], nil
	}
	if !slices.Contains(has, v.format) {
		return "", fmt.Errorf("%s: no --format %s for this; there are %s", v.shown, v.format, oneOf(has))
	}
	if (v.format == formRaw || v.format == show.Export) && v.terminal {
		return "", fmt.Errorf("--format %s is not for a terminal: its bytes could act on it; write to a file with -o, or to a pipe", v.format)
	}
	return v.format, nil
}

func (v *viewer) show() error {
	info, err := fs.Stat(v.FS, v.name)
	if err != nil {
		return plainly(v.shown, err)
	}
	if info.IsDir() {
		return v.tree(v.FS, v.name)
	}
	r, size, err := v.reader()
	if err != nil {
		return err
	}
	if vol, problems, err := v.volume(); err == nil {
		for _, text := range problems {
			v.note(v.shown, text)
		}
		return v.tree(vol, ".")
	}
	if isUnit(v.name) {
		return v.unitFile()
	}
	run, problems := bundle.FindFile(v.FS, "", v.name)
	for _, p := range problems {
		v.note(v.shown, p.Text)
	}
	if run == nil {
		return fmt.Errorf("%s: cannot be read", v.shown)
	}
	switch a := run.Artifacts[0]; a.Kind {
	case bundle.NativeJ:
		return v.native(run, r, size)
	case bundle.Journal:
		return v.journal(run)
	case bundle.Metadata, bundle.Manifest:
		return v.metadata(run)
	case bundle.Binary:
		return v.binary(r, size)
	default:
		return v.lines(run, a)
	}
}

func (v *viewer) raw() error {
	r, size, err := v.reader()
	if err != nil {
		return err
	}
	_, err = io.Copy(v.w, io.NewSectionReader(r, 0, size))
	return err
}

func (v *viewer) tree(fsys fs.FS, dir string) error {
	form, err := v.form(show.Find, show.Long)
	if err != nil {
		return err
	}
	if form == formRaw {
		return v.raw()
	}
	return show.Tree(v.w, fsys, dir, form, func(p string, err error) { v.note(v.shown+"!/"+p, plainly(p, err).Error()) })
}

// result runs an analyzer on the run and returns what it hands to others.
func result[T any](run *bundle.Run, of *analyzers.Analyzer, from func(*analyzers.Pass) T) (res T) {
	analyzers.Analyze(run, []*analyzers.Analyzer{{
		Name: "show", Doc: "Takes a result.", Requires: []*analyzers.Analyzer{of},
		Run: func(p *analyzers.Pass) (any, error) { res = from(p); return nil, nil },
	}}, nil)
	return res
}

func (v *viewer) problems(run *bundle.Run) {
	for _, p := range run.Problems {
		v.note(v.shown, p.Text)
	}
}

func (v *viewer) lines(run *bundle.Run, a *bundle.Artifact) error {
	form, err := v.form(formLines)
	if err != nil {
		return err
	}
	if form == formRaw {
		return v.raw()
	}
	ts := result(run, console.Analyzer, console.From)
	v.problems(run)
	if len(ts) > 0 {
		return show.Lines(v.w, ts[0])
	}
	data, err := a.Bytes()
	if err != nil {
		return plainly(v.shown, err)
	}
	return show.Text(v.w, data)
}

func (v *viewer) journal(run *bundle.Run) error {
	form, err := v.form(show.Short, show.Export, show.JSON, formLines)
	switch {
	case err != nil:
		return err
	case form == formRaw:
		return v.raw()
	case form == formLines:
		return v.lines(run, run.Artifacts[0])
	}
	return v.entries(run, form)
}

func (v *viewer) entries(run *bundle.Run, form string) error {
	logs := result(run, journal.Analyzer, journal.From)
	v.problems(run)
	for _, l := range logs {
		if err := show.Entries(v.w, l.Entries, form); err != nil {
			return err
		}
	}
	return nil
}

// native shows a binary journal; its export has all the fields that it holds.
func (v *viewer) native(run *bundle.Run, r io.ReaderAt, size int64) error {
	form, err := v.form(show.Short, show.Export, show.JSON)
	switch {
	case err != nil:
		return err
	case form == formRaw:
		return v.raw()
	case form != show.Export:
		return v.entries(run, form)
	}
	f, err := native.Open(r, size, native.Limits{})
	if err != nil {
		return fmt.Errorf("%s: %w", v.shown, err)
	}
	err = f.Export(v.w)
	if f.Skipped.Any() {
		v.note(v.shown, f.Skipped.String())
	}
	return err
}

func (v *viewer) metadata(run *bundle.Run) error {
	var argv []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{qemu.Analyzer}, nil).Of("qemu.argv", "") {
		if words, ok := qemu.SplitCommand(f.Value); ok && argv == nil {
			argv = words
		}
	}
	if argv == nil {
		return v.lines(run, run.Artifacts[0])
	}
	form, err := v.form(formParts, formLines)
	switch {
	case err != nil:
		return err
	case form == formRaw:
		return v.raw()
	case form == formLines:
		return v.lines(run, run.Artifacts[0])
	}
	v.problems(run)
	return show.Command(v.w, argv)
}

func (v *viewer) binary(r io.ReaderAt, size int64) error {
	if v.format == "" {
		return fmt.Errorf("%s: %d bytes of no kind that is known; --format raw gives them as they are", v.shown, size)
	}
	if _, err := v.form(); err != nil {
		return err
	}
	return v.raw()
}

// unitKinds are the kinds of files that systemd and networkd load with
// drop-ins.
var unitKinds = []string{".service", ".socket", ".target", ".mount", ".automount", ".timer", ".path", ".slice", ".swap", ".device", ".scope", ".network", ".link", ".netdev"}

func isUnit(name string) bool { return slices.Contains(unitKinds, path.Ext(name)) }

// unitFile shows a unit file with the drop-ins that stand beside it; of a file
// in a file system with directories of systemd's, those of all of them.
func (v *viewer) unitFile() error {
	form, err := v.form(formUnit)
	if err != nil {
		return err
	}
	if form == formRaw {
		return v.raw()
	}
	dirs := []string{path.Dir(v.name)}
	for _, known := range [][]string{unitfile.SystemDirs, unitfile.NetworkDirs} {
		if slices.Contains(known, dirs[0]) {
			dirs = known
		}
	}
	return v.unitOf(v.FS, dirs, path.Base(v.name))
}

// guestUnit shows a unit of the guest that an ISO image starts.
func (v *viewer) guestUnit(params analyzers.Params) error {
	if _, err := v.form(formUnit); err != nil {
		return err
	}
	r, size, err := v.reader()
	if err != nil {
		return err
	}
	m, err := iso.Open(r, size)
	if err != nil {
		return fmt.Errorf("%s: %w; --unit needs an ISO image", v.shown, err)
	}
	dirs := unitfile.SystemDirs
	if slices.Contains([]string{".network", ".link", ".netdev"}, path.Ext(v.unit)) {
		dirs = unitfile.NetworkDirs
	}
	return v.unitOf(m.Root(v.shown, params, v.note), dirs, v.unit)
}

func (v *viewer) unitOf(fsys fs.FS, dirs []string, name string) error {
	u, err := unitfile.Load(fsys, dirs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: has no unit %s", v.shown, name)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", v.shown, err)
	}
	for _, p := range u.Problems {
		v.note(v.shown, p.String())
	}
	return show.Unit(v.w, u)
}
