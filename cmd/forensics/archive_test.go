package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"forensics/cmd/forensics/internal/report"
)

// packers write what is in a directory as an archive.
var packers = []struct {
	suffix string
	pack   func(io.Writer, fs.FS) error
}{
	{".tar", packTar},
	{".tar.gz", func(w io.Writer, dir fs.FS) error {
		z := gzip.NewWriter(w)
		if err := packTar(z, dir); err != nil {
			return err
		}
		return z.Close()
	}},
	{".tar.zst", func(w io.Writer, dir fs.FS) error {
		z, err := zstd.NewWriter(w)
		if err != nil {
			return err
		}
		if err := packTar(z, dir); err != nil {
			return err
		}
		return z.Close()
	}},
	{".zip", func(w io.Writer, dir fs.FS) error {
		z := zip.NewWriter(w)
		if err := z.AddFS(dir); err != nil {
			return err
		}
		return z.Close()
	}},
}

func packTar(w io.Writer, dir fs.FS) error {
	t := tar.NewWriter(w)
	if err := t.AddFS(dir); err != nil {
		return err
	}
	return t.Close()
}

// TestArchives holds that the report on an archive is that on the directory
// that it was made of, but for the path, and that both together are the
// directory alone.
func TestArchives(t *testing.T) {
	dirs, err := filepath.Glob("../../corpus/testimage-runs/*/artifacts")
	if err != nil || len(dirs) < 10 {
		t.Fatalf("%d recorded runs, %v", len(dirs), err)
	}
	for i, dir := range dirs {
		// Each of them in one format; in all of them the directory with many.
		checkArchive(t, dir, i%len(packers))
	}
	for i := range packers {
		checkArchive(t, "../../docs/boot-logs", i)
	}
}

func checkArchive(t *testing.T, from string, how int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := packers[how].pack(&b, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	packed := dir + packers[how].suffix
	if err := os.WriteFile(packed, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	want, got, both := analyzed(t, dir), analyzed(t, packed), analyzed(t, packed, dir)
	if len(want.Runs) == 0 || len(want.Runs) != len(got.Runs) {
		t.Fatalf("%s: %d runs, packed %d", from, len(want.Runs), len(got.Runs))
	}
	if len(both.Problems) != 1 || !strings.Contains(both.Problems[0].Text, "not counted again") {
		t.Errorf("%s: problems %v do not say what was left out", from, both.Problems)
	}
	both.Problems = want.Problems
	if d := cmp.Diff(want, both); d != "" {
		t.Errorf("%s as %s beside the directory:\n%s", from, packers[how].suffix, d)
	}
	for i := range want.Runs {
		if !strings.HasPrefix(got.Runs[i].Path, filepath.ToSlash(packed)) {
			t.Errorf("path %s", got.Runs[i].Path)
		}
		got.Runs[i].Path, got.Runs[i].ID = want.Runs[i].Path, want.Runs[i].ID
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s as %s:\n%s", from, packers[how].suffix, d)
	}
}

func analyzed(t *testing.T, paths ...string) *report.Report {
	t.Helper()
	stderr, status, text := program(t, append([]string{"analyze", "-f", "json"}, paths...)...)
	r, err := report.ReadJSON(strings.NewReader(text))
	if err != nil || status == statusTrouble || stderr != "" {
		t.Fatalf("%v: status %d, %v %s", paths, status, err, stderr)
	}
	return r
}
