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

// packers write what each kind of segment holds, with small windows.
var packers = map[string]func(io.Writer) (io.WriteCloser, error){
	"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriterLevel(w, 6) },
	"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithWindowSize(64<<10)) },
	"xz": func(w io.Writer) (io.WriteCloser, error) {
		return xz.WriterConfig{DictCap: 64 << 10, CheckSum: xz.CRC32}.NewWriter(w)
	},
	"lzma":      func(w io.Writer) (io.WriteCloser, error) { return lzma.WriterConfig{DictCap: 64 << 10}.NewWriter(w) },
	"lz4 frame": func(w io.Writer) (io.WriteCloser, error) { return newLZ4(w, lz4.BlockSizeOption(lz4.Block64Kb)) },
	"lz4":       func(w io.Writer) (io.WriteCloser, error) { return newLZ4(w, lz4.LegacyOption(true)) },
}

func newLZ4(w io.Writer, o lz4.Option) (io.WriteCloser, error) {
	z := lz4.NewWriter(w)
	return z, z.Apply(o)
}

func pack(t testing.TB, kind string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := packers[kind](&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// compressed packs b in each way that there is a packer for.
func compressed(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"none": b}
	for kind := range packers {
		all[kind] = pack(t, kind, b)
	}
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
