package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// TestReadme: what the README shows is what the program prints.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	t.Chdir("../..")
	if code := run(context.Background(), []string{"analyze", "docs/boot-logs"}, nil, &out, &stderr); code != statusFailed {
		t.Fatalf("status %d: %s", code, stderr.String())
	}
	overview, _, ok := strings.Cut(out.String(), "[1] ")
	if !ok || !strings.Contains(string(readme), strings.TrimRight(overview, "\n")) {
		t.Errorf("README.md does not show what `forensics analyze docs/boot-logs` prints:\n%s", overview)
	}
	out.Reset()
	if code := run(context.Background(), []string{"corpus", "corpus"}, nil, &out, &stderr); code != statusOK {
		t.Fatalf("status %d: %s%s", code, out.String(), stderr.String())
	}
	if !strings.Contains(string(readme), strings.TrimSpace(out.String())) {
		t.Errorf("README.md does not show what `forensics corpus corpus` prints:\n%s", out.String())
	}
}
