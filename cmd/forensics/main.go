// Forensics says why a virtual machine's boot failed: it reads what the boot
// left behind and names the prerequisite that was broken, with the line that
// shows it.
//
// The commands are thin: they find files, call analyzers and rules, and hand
// one report value to a renderer. All that touches the world is in this package
// (files, environment, signals), in internal/tty, and in internal/capture, which
// alone starts programs and boots machines.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// memory is how much the program takes before it rather spends time on collecting
// garbage. The artifacts of a run and what is read of them are live at once: about
// 350 MB for a run of 50 MB, and a comparison of two such runs is to fit in 512.
const memory = 440 << 20

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memory)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return status(root.ExecuteContext(ctx), stderr)
}
