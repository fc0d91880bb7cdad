package archive

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// BenchmarkRead reads every member of a run of 50 transcripts, beside what tar
// and unzip need to write them into a pipe.
func BenchmarkRead(b *testing.B) {
	var ms []member
	line := "[   12.345678] virtio_blk virtio2: [vdb] 4194304 512-byte logical blocks\r\r\n"
	for i := range 50 {
		ms = append(ms, member{fmt.Sprintf("run%d/serial.log", i), strings.Repeat(fmt.Sprint(i)+line, 8000)})
	}
	peers := map[string][]string{
		"tar": {"tar", "-xOf"}, "tar.gz": {"tar", "-xzOf"}, "tar.zst": {"tar", "--zstd", "-xOf"}, "zip": {"unzip", "-p"},
	}
	for _, format := range formats {
		argv, ok := peers[format.name]
		if !ok {
			continue
		}
		data := format.make(b, ms...)
		size := int64(0)
		for _, m := range ms {
			size += int64(len(m.text))
		}
		b.Run(format.name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				readAll(b, data, size)
			}
		})
		b.Run(format.name+"/"+argv[0], func(b *testing.B) {
			bin, err := exec.LookPath(argv[0])
			if err != nil {
				b.Skip(err)
			}
			file := filepath.Join(b.TempDir(), "a")
			must(b, os.WriteFile(file, data, 0o666))
			b.SetBytes(size)
			for b.Loop() {
				c := exec.Command(bin, append(argv[1:], file)...)
				c.Stdout = io.Discard
				must(b, c.Run())
			}
		})
	}
}

func readAll(b *testing.B, data []byte, size int64) {
	f, err := Open(fstest.MapFS{"a": {Data: data}}, "a", NewBudget())
	must(b, err)
	must(b, fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := read(f, p)
		size -= int64(len(text))
		return err
	}))
	if size != 0 {
		b.Fatalf("%d bytes were not read", size)
	}
}
