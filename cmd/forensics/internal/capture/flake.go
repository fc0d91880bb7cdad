package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "nix", "build", c.Flake, "--no-link", "--print-out-paths", "--print-build-logs",
		"--extra-experimental-features", "nix-command flakes") // off as nix comes
	// nix ends its builders when it is asked to end itself.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = buildGrace
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, log), log
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Fprintln(log, "nix: command not found")
			return errors.New("nix is not on PATH: install it, or give an image that was built with --iso")
		}
		return fmt.Errorf("nix build %s: %w; its log is build.log in the bundle", c.Flake, err)
	}
	var isos []string
	for dir := range strings.Lines(out.String()) {
		_ = filepath.WalkDir(strings.TrimSpace(dir), func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(p, ".iso") {
				isos = append(isos, p)
			}
			return nil
		})
	}
	if len(isos) != 1 {
		return fmt.Errorf("nix build %s made %d images (%s): it must make one; name the one to boot with --iso", c.Flake, len(isos), strings.Join(isos, ", "))
	}
	c.ISO = isos[0]
	return nil
}
