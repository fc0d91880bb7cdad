package native

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var blocks = []string{"", "a", strings.Repeat("a", 15), strings.Repeat("a", 300), strings.Repeat("abc", 1000), long(5000), "abcdefghijklmnopqrstuvwxyz" + strings.Repeat("abcdefghijklmnopqrstuvwxyz", 40)}

// pack compresses s as journald does; it reports false for what does not
// compress, which journald stores.
func pack(s []byte) ([]byte, bool) {
	out := make([]byte, lz4.CompressBlockBound(len(s)))
	n, err := lz4.CompressBlock(s, out, nil)
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), out[:n]...), n > 0 && err == nil
}

// FuzzLZ4: what was packed unpacks to the same, also to any part of it; and
// bytes that nobody packed give no more than their limit.
func FuzzLZ4(f *testing.F) {
	for _, s := range blocks {
		f.Add([]byte(s), 100)
	}
	f.Fuzz(func(t *testing.T, s []byte, limit int) {
		limit &= 0xfff
		var u unpacker
		if out, _, err := u.fromLZ4(s, limit); err == nil && len(out) > limit {
			t.Fatalf("%d bytes of %d", len(out), limit)
		}
		b, ok := pack(s)
		if !ok {
			return
		}
		for _, n := range []int{limit, len(s), len(s) + 1} {
			out, whole, err := u.fromLZ4(b, n)
			if err != nil || !bytes.Equal(out, s[:min(n, len(s))]) || whole != (n >= len(s)) {
				t.Fatalf("%d bytes to %d: %d, %v, %v", len(s), n, len(out), whole, err)
			}
		}
	})
}

// TestXZ: real streams, where there is a program that makes them.
func TestXZ(t *testing.T) {
	for _, s := range blocks[1:] {
		c := exec.Command("xz", "--format=xz", "--check=none", "--lzma2=preset=6,dict=1MiB", "-c")
		c.Stdin = strings.NewReader(s)
		b, err := c.Output()
		if err != nil {
			t.Skipf("xz: %v", err)
		}
		var u unpacker
		for _, n := range []int{0, 10, len(s), len(s) + 1} {
			out, whole, err := u.unpack(objXZ, b, n)
			if err != nil || string(out) != s[:min(n, len(s))] || whole != (n >= len(s)) {
				t.Errorf("%d bytes to %d: %d, %v, %v", len(s), n, len(out), whole, err)
			}
		}
	}
}

// TestBombs: of a value that is much larger than its object only the part
// within the limits is made.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	packed, ok := pack(zeros)
	if !ok {
		t.Fatal("does not compress")
	}
	huge := binary.LittleEndian.AppendUint64(nil, 1<<63)
	for _, c := range []struct {
		name string
		how  byte
		b    []byte
		ok   bool
	}{
		{"zstd", objZSTD, enc.EncodeAll(zeros, nil), true},
		{"lz4", objLZ4, packed, true},
		{"lz4 that claims to be huge", objLZ4, append(huge, packed[8:100]...), false},
		{"lz4 that claims to be larger", objLZ4, append(binary.LittleEndian.AppendUint64(nil, 2000), packed[8:20]...), false},
	} {
		var u unpacker
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out, whole, err := u.unpack(c.how, c.b, 1<<20)
		runtime.ReadMemStats(&after)
		if (err == nil) != c.ok || c.ok && (len(out) != 1<<20 || whole) {
			t.Errorf("%s: %d bytes, %v, %v", c.name, len(out), whole, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 40<<20 {
			t.Errorf("%s: took %d bytes", c.name, n)
		}
	}
}
