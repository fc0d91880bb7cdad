package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"forensics/cmd/forensics/internal/report"
	"forensics/cmd/forensics/internal/tty"
)

// outputFlags say in what form, and where to, a report goes.
type outputFlags struct {
	format  string
	output  string
	verbose bool
}

func (o *outputFlags) register(c *cobra.Command, verbose string) {
	f := c.Flags()
	f.StringVarP(&o.format, "format", "f", "text", "`FORMAT`: "+oneOf(formats()))
	f.StringVarP(&o.output, "output", "o", "", "write to `FILE`, as a whole or not at all, instead of standard output")
	f.BoolVar(&o.verbose, "verbose", false, verbose)
}

// check returns a usage error for a format that there is not.
func (o *outputFlags) check(c *cobra.Command) error {
	if !slices.Contains(formats(), o.format) {
		return usagef(c, "--format %s: there are %s", o.format, oneOf(formats()))
	}
	return nil
}

// looks are the options for a text on w, or in a file.
func (o *outputFlags) looks(w io.Writer) report.Options {
	if o.output != "" {
		w = io.Discard
	}
	t := tty.Of(w, os.Getenv)
	return report.Options{Width: t.Width, Colour: t.Colour, ASCII: t.ASCII, Verbose: o.verbose}
}

// write renders in memory first: half a report is none.
func (o *outputFlags) write(stdout io.Writer, render func(io.Writer) error) error {
	var b bytes.Buffer
	if err := render(&b); err != nil {
		return err
	}
	if o.output != "" && o.output != "-" {
		return writeFile(o.output, b.Bytes())
	}
	_, err := stdout.Write(b.Bytes())
	return err
}

// showing does work that shows its progress on stderr. When ctx ends it returns
// at once and leaves the work where it is: the program is about to end.
func showing(ctx context.Context, stderr io.Writer, work func(*tty.Progress) (*report.Report, error)) (*report.Report, error) {
	progress := tty.NewProgress(stderr, tty.Of(stderr, os.Getenv))
	defer progress.Done()
	type outcome struct {
		r   *report.Report
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := work(progress)
		done <- outcome{r, err}
	}()
	select {
	case d := <-done:
		return d.r, d.err
	case <-ctx.Done():
		return nil, errors.New("interrupted: nothing was written")
	}
}

// writeFile writes data to the file name, as a whole or not at all. A link is
// followed; what is no regular file (a pipe, /dev/null) is written to as it is.
func writeFile(name string, data []byte) (err error) {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(name); err == nil {
		if !info.Mode().IsRegular() {
			return os.WriteFile(name, data, mode)
		}
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".forensics-*")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
