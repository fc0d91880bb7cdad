package main

import (
	"bytes"
	"context"
	"os"
	"testing"
)

// TestDocs: the pages that the program prints are as it prints them.
func TestDocs(t *testing.T) {
	for page, args := range map[string][]string{
		"conditions.md":  {"rules", "--format", "markdown"},
		"conditions.dot": {"rules", "--format", "dot"},
		"facts.md":       {"rules", "--facts", "--format", "markdown"},
	} {
		var out, stderr bytes.Buffer
		if code := run(context.Background(), args, nil, &out, &stderr); code != 0 {
			t.Fatalf("%v: status %d: %s", args, code, stderr.String())
		}
		want, err := os.ReadFile("../../docs/" + page)
		if err != nil || !bytes.Equal(want, out.Bytes()) {
			t.Errorf("docs/%s is not what the program prints: run `make docs` (%v)", page, err)
		}
	}
}
