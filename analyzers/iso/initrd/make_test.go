package initrd

import (
	"bytes"
	"io"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// compressed packs b in each way that there is a packer for.
func compressed(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"none": b}
	pack := func(kind string, open func(io.Writer) (io.WriteCloser, error)) {
		var out bytes.Buffer
		w, err := open(&out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		all[kind] = out.Bytes()
	}
	pack("gzip", func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, 6) })
	pack("zstd", func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	pack("xz", func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	pack("lzma", func(w io.Writer) (io.WriteCloser, error) { return lzma.NewWriter(w) })
	pack("lz4 frame", func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
	pack("lz4", func(w io.Writer) (io.WriteCloser, error) {
		z := lz4.NewWriter(w)
		return z, z.Apply(lz4.LegacyOption(true))
	})
	if _, err := exec.LookPath("bzip2"); err == nil {
		all["bzip2"] = filter(t, b, "bzip2", "-c")
	}
	return all
}

// filter sends b through a program.
func filter(t testing.TB, b []byte, args ...string) []byte {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Stdin = bytes.NewReader(b)
	out, err := c.Output()
	if err != nil {
		t.Fatal(args, err)
	}
	return out
}

// need skips a test without the programs.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip("no ", p)
		}
	}
}
