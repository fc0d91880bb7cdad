package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"forensics/cmd/forensics/internal/report"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"forensics": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": scriptStatus,
		},
		Condition: func(cond string) (bool, error) { return cond == "root" && os.Getuid() == 0, nil },
	})
}

// scriptStatus is "status N forensics ARG...": it runs the program and
// compares the exit status.
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N forensics ARG...")
	}
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("status %s, want %s", got, want)
	}
}

// transcript is the least that is taken for a serial transcript.
const transcript = "SeaBIOS (version 1.16.2-debian-1.16.2-1)\r\n" +
	"Booting from DVD/CD...\r\n" +
	"ISOLINUX 6.04  Copyright (C) 1994-2015 H. Peter Anvin et al\r\n"

// TestStatusAgrees holds that a run has the same exit status in every format,
// with and without -o, and that it is the one that the JSON report stands for.
func TestStatusAgrees(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("a-serial.log", transcript)
	write("b-serial.log", transcript+strings.Repeat("\x1b[31mhostile\x9b\x00\r\n", 100)+"nixos login: ")
	for _, flags := range [][]string{nil, {"--strict"}, {"--verbose"}} {
		_, code, text := program(t, append([]string{"analyze", "-f", "json", dir}, flags...)...)
		r, err := report.ReadJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if want := r.Status(len(flags) > 0 && flags[0] == "--strict"); code != want {
			t.Errorf("%v: status %d, the report stands for %d", flags, code, want)
		}
		for _, format := range formats() {
			out := filepath.Join(t.TempDir(), "report")
			_, direct, text := program(t, append([]string{"analyze", "-f", format, dir}, flags...)...)
			_, file, none := program(t, append([]string{"analyze", "-f", format, "-o", out, dir}, flags...)...)
			if direct != code || file != code {
				t.Errorf("%s %v: status %d, with -o %d, as json %d", format, flags, direct, file, code)
			}
			written, err := os.ReadFile(out)
			if err != nil || none != "" || string(written) != text {
				t.Errorf("%s: -o wrote something else than standard output has: %v", format, err)
			}
		}
	}
}

func program(t *testing.T, args ...string) (stderr string, status int, stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, nil, &out, &errs)
	return errs.String(), status, out.String()
}

// TestInterrupted holds that an interrupt ends the work with a word and
// leaves no half-written file.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "serial.log"), []byte(transcript), 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	file := filepath.Join(t.TempDir(), "report")
	code := run(ctx, []string{"analyze", "-o", file, dir}, nil, &out, &errs)
	// The work may be done before the interrupt is looked at.
	if _, err := os.Stat(file); code == statusTrouble && err == nil {
		t.Error("interrupted, and a report was written")
	}
	if code == statusTrouble && !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("stderr %q", errs.String())
	}
}

// TestHelp holds that every command says what its exit status means.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"analyze", "--help"}, {"rules", "-h"}, {"help", "version"}} {
		stderr, code, text := program(t, args...)
		if code != 0 || stderr != "" || !strings.Contains(text, "EXIT STATUS\n  0  ") {
			t.Errorf("%v: status %d, %s%s", args, code, stderr, text)
		}
	}
}
