package squashfs

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Where the image is in the file that is benched, as in an ISO image.
const benchOffset = 32 << 20

// bench makes an image and returns a file that has it at benchOffset.
func bench(b *testing.B, dirs, files int, content func(i int) []byte, options ...string) (file string, size int64) {
	b.Helper()
	tools(b, "mksquashfs", "unsquashfs")
	dir := b.TempDir()
	image := filepath.Join(dir, "image")
	r, w := io.Pipe()
	go func() {
		bw := bufio.NewWriterSize(w, 1<<20)
		tree(b, bw, dirs, files, content)
		w.CloseWithError(bw.Flush())
	}()
	run(b, r, "mksquashfs", append([]string{"-", image, "-tar", "-quiet", "-no-progress"}, options...)...)
	data, err := os.ReadFile(image)
	if err != nil {
		b.Fatal(err)
	}
	file = filepath.Join(dir, "file")
	if err := os.WriteFile(file, append(make([]byte, benchOffset), data...), 0o600); err != nil {
		b.Fatal(err)
	}
	os.Remove(image)
	return file, int64(len(data))
}

// open opens the image in a file that bench made.
func open(b *testing.B, file string, size int64) (*FS, *os.File) {
	b.Helper()
	r, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	f, err := Open(io.NewSectionReader(r, benchOffset, size), size)
	if err != nil || len(f.Problems) > 0 {
		b.Fatal(err, f.Problems)
	}
	return f, r
}

// BenchmarkList lists 120,000 entries, with all that there is to know of them
// or as unsquashfs prints them.
func BenchmarkList(b *testing.B) {
	const dirs, files = 400, 299
	small := func(i int) []byte { return fmt.Appendf(nil, "contents of %d", i%5000) }
	for _, compression := range []string{"zstd", "xz", "gzip"} {
		file, size := bench(b, dirs, files, small, "-comp", compression)
		list := func(w io.Writer) func(b *testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f, r := open(b, file, size)
					n := 0
					for p, info := range f.All() {
						n++
						if w != nil {
							lln(w, p, info)
						}
					}
					r.Close()
					if n < dirs*files {
						b.Fatal(n)
					}
				}
			}
		}
		b.Run(compression+"/squashfs", list(nil))
		b.Run(compression+"/squashfs, printed", list(bufio.NewWriterSize(io.Discard, 1<<16)))
		b.Run(compression+"/unsquashfs", func(b *testing.B) {
			for b.Loop() {
				c := exec.Command("unsquashfs", "-o", fmt.Sprint(benchOffset), "-lln", file)
				if err := c.Run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadAll reads 50 MB of numbers. unsquashfs does it with several
// threads, and has to write them.
func BenchmarkReadAll(b *testing.B) {
	const dirs, files = 10, 50
	rnd := rand.New(rand.NewPCG(5, 6))
	var text []byte
	for len(text) < 4<<20 {
		text = fmt.Appendln(text, rnd.IntN(100_000))
	}
	content := func(i int) []byte {
		if i%10 == 0 {
			return text[i*100 : i*100+1<<20]
		}
		return text[i*100 : i*100+i%7*1000]
	}
	total := int64(0)
	for _, compression := range []string{"zstd", "gzip", "lz4", "xz"} {
		file, size := bench(b, dirs, files, content, "-comp", compression)
		b.Run(compression+"/squashfs", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, r := open(b, file, size)
				total = 0
				for p, info := range f.All() {
					if !info.Mode().IsRegular() {
						continue
					}
					c, err := f.Open(p)
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.Copy(io.Discard, c)
					if err != nil {
						b.Fatal(err)
					}
					total += n
					c.Close()
				}
				r.Close()
			}
			b.SetBytes(total)
		})
		b.Run(compression+"/unsquashfs", func(b *testing.B) {
			out := filepath.Join(b.TempDir(), "out")
			for b.Loop() {
				c := exec.Command("unsquashfs", "-o", fmt.Sprint(benchOffset), "-quiet", "-no-progress", "-no-xattrs", "-force", "-d", out, file)
				if err := c.Run(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				os.RemoveAll(out)
				b.StartTimer()
			}
			b.SetBytes(total)
		})
	}
}
