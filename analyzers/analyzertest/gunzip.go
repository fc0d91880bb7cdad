package analyzertest

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"
)

// Gunzip returns what the gzip file at name holds: images are mostly zeros, and
// kept compressed.
func Gunzip(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
