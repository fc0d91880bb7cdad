package capture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// buildGrace is how long nix may take to end after an interrupt.
const buildGrace = 10 * time.Second

// build runs nix build, keeps its log, and takes the one image in its result.
func (c *capture) build(ctx context.Context) error {
	c.progress.Stage("nix build " + c.Flake)
	log, err := c.bundle.File("build.log")
	if err != nil {
		return err
	}
	defer log.Close()
	out, err := c.nixBuild(ctx, log)
	if err != nil {
		return err
	}
	if c.built, err = outputs(out); err != nil {
		return fmt.Errorf("nix build %s: %w", c.Flake, err)
	}
	isos, err := images(c.built)
	if err != nil {
		return fmt.Errorf("nix build %s: %w", c.Flake, err)
	}
	switch len(isos) {
	case 0:
		return fmt.Errorf("nix build %s made no .iso file: there is none in %s; does the flake's output name the image?", c.Flake, strings.Join(c.built, ", "))
	case 1:
		c.ISO = isos[0]
		return nil
	}
	return fmt.Errorf("nix build %s made %d images (%s): it must make one; name the one to boot with --iso", c.Flake, len(isos), strings.Join(isos, ", "))
}

// nixBuild returns what nix build says that it made.
func (c *capture) nixBuild(ctx context.Context, log io.Writer) ([]byte, error) {
	var answer head
	var said tail
	// No --print-out-paths: it is younger than Debian's nix 2.8. Flakes are off
	// as nix comes.
	cmd := exec.CommandContext(ctx, "nix", "build", c.Flake, "--no-link", "--no-write-lock-file", "--json", "--print-build-logs",
		"--extra-experimental-features", "nix-command flakes")
	// nix ends its builders when it is asked to end itself.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = buildGrace
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&answer, log), io.MultiWriter(&said, log)
	switch err := cmd.Run(); {
	case errors.Is(err, exec.ErrWaitDelay):
		// It ended well; a connection to a builder that it left open holds its log.
	case errors.Is(err, exec.ErrNotFound):
		fmt.Fprintln(log, "nix: command not found")
		return nil, errors.New("nix is not on PATH: install it, call capture from a login shell that has it, or give an image that was built with --iso")
	case err != nil:
		return nil, fmt.Errorf("nix build %s: %w%s; its log is build.log in the bundle", c.Flake, err, said.lastError())
	}
	return answer.data, nil
}

// maxAnswer bounds nix's answer: it has some hundred bytes an output.
const maxAnswer = 1 << 20

// head keeps the first maxAnswer bytes.
type head struct{ data []byte }

func (h *head) Write(p []byte) (int, error) {
	h.data = append(h.data, p[:min(len(p), maxAnswer-len(h.data))]...)
	return len(p), nil
}

// maxTail bounds the end of nix's messages in which its error is looked for: it
// stands above the last lines of a builder's log.
const maxTail = 16 << 10

// tail keeps the last maxTail bytes.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-maxTail):]
	return len(p), nil
}

// lastError is nix's last error, ": " before it, "" where there is none. Newer
// ones stand indented below what nix was about.
func (t *tail) lastError() (text string) {
	for line := range strings.Lines(string(t.data)) {
		if m, ok := strings.CutPrefix(strings.TrimSpace(line), "error: "); ok {
			text = ": " + m
		}
	}
	return text
}

// outputs reads the answer of nix build --json: a list of what was built, each
// with its outputs by name.
func outputs(answer []byte) ([]string, error) {
	var built []struct {
		Outputs map[string]string `json:"outputs"`
	}
	if err := json.Unmarshal(answer, &built); err != nil {
		return nil, fmt.Errorf("its answer, in build.log, does not say what it made: %w", err)
	}
	var paths []string
	for _, b := range built {
		for _, name := range slices.Sorted(maps.Keys(b.Outputs)) {
			paths = append(paths, b.Outputs[name])
		}
	}
	return paths, nil
}

// maxLooked bounds the files and directories that are looked at: links in a
// result may lead anywhere.
const maxLooked = 100_000

// images lists the files that are called .iso in results, as find -L does: a
// result that joins others links to their directories.
func images(results []string) ([]string, error) {
	var f finder
	for _, r := range results {
		if err := f.look(r, nil); err != nil {
			return nil, err
		}
	}
	return f.isos, nil
}

type finder struct {
	isos   []string
	looked int
}

// look looks at a file, or at all below a directory; above are the directories
// that it lies in.
func (f *finder) look(path string, above []fs.FileInfo) error {
	if f.looked++; f.looked > maxLooked {
		return fmt.Errorf("%s: more than %d files: what is behind them was not looked at", path, maxLooked)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil // a link to nowhere, or to itself
	}
	if info.Mode().IsRegular() && strings.HasSuffix(path, ".iso") {
		f.isos = append(f.isos, path)
	}
	if !info.IsDir() || slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, info) }) {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := f.look(filepath.Join(path, e.Name()), append(slices.Clip(above), info)); err != nil {
			return err
		}
	}
	return nil
}
