package main

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"forensics/cmd/forensics/internal/report"
)

// The exit statuses, the same in every format.
const (
	statusOK      = 0
	statusFailed  = 1
	statusTrouble = 2
)

const exitStatus = `
EXIT STATUS
  0  no condition failed
  1  a condition failed (with --strict: or is unknown); the corpus disagrees
  2  trouble: usage, files that cannot be read, bad rules, nothing to analyse
`

// exit ends a command with a status when there is nothing more to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a mistake on the command line; Hint says what to do next.
type usageError struct {
	text, hint string
}

func (e *usageError) Error() string { return e.text }

// status writes what err says and returns the exit status for it.
func status(err error, stderr io.Writer) int {
	var (
		code  exit
		usage *usageError
	)
	switch {
	case err == nil:
		return statusOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		complain(stderr, usage.text)
		fmt.Fprintln(stderr, usage.hint)
	default:
		complain(stderr, err.Error())
	}
	return statusTrouble
}

// complain writes a message, each line safe to show: it may name files.
func complain(w io.Writer, text string) {
	for i, l := range strings.Split(strings.TrimSpace(text), "\n") {
		indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
		if l = indent + report.Clean(l); i == 0 {
			l = "forensics: " + l
		}
		fmt.Fprintln(w, l)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "forensics COMMAND",
		Short: "Says why a virtual machine's boot failed",
		Long: `Forensics reads what a boot of a virtual machine left behind (serial
transcripts, journals, harness logs, captures, build logs) and says which
prerequisite was broken, with the line that shows it.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage(c, "which command?")
			}
			text := fmt.Sprintf("there is no command %q", args[0])
			if s := c.SuggestionsFor(args[0]); len(s) > 0 {
				text += fmt.Sprintf("; did you mean %s?", strings.Join(s, " or "))
			}
			return usage(c, text)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("forensics {{.Version}}\n")
	root.SetHelpTemplate(root.HelpTemplate() + exitStatus)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err.Error()) })
	root.AddCommand(newCapture(), newAnalyze(), newDiff(), newShow(), newRules(), newCorpus(), newVersion())
	return root
}

// usage returns a usage error of command c.
func usage(c *cobra.Command, text string) error {
	return &usageError{text: text, hint: fmt.Sprintf("Run '%s --help' for what there is.", c.CommandPath())}
}

func usagef(c *cobra.Command, format string, args ...any) error {
	return usage(c, fmt.Sprintf(format, args...))
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "forensics", version())
			return err
		},
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef(c, "%s takes no arguments, got %q", c.CommandPath(), args[0])
	}
	return nil
}

// version is what the Go tool wrote into the binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, rev := info.Main.Version, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(12, len(s.Value))] + rev
		case s.Key == "vcs.modified" && s.Value == "true":
			rev += "+changes"
		}
	}
	if v == "" {
		v = "(devel)"
	}
	// A pseudo-version names the revision itself.
	if rev != "" && v == "(devel)" {
		v += " " + rev
	}
	return v
}
