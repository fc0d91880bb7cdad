package initrd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpackers are programs that unpack a segment.
var unpackers = map[string][]string{
	"none":      {"cat"},
	"gzip":      {"gzip", "-dc"},
	"bzip2":     {"bzip2", "-dc"},
	"xz":        {"xz", "-dc"},
	"lzma":      {"xz", "-dc"},
	"zstd":      {"zstd", "-dcq"},
	"lz4":       {"lz4", "-dcq"},
	"lz4 frame": {"lz4", "-dcq"},
}

// largeTree is a directory with many files, and its archive by cpio.
func largeTree(t testing.TB, files, size int) (dir string, archive []byte) {
	t.Helper()
	dir = t.TempDir()
	random := rand.New(rand.NewSource(4))
	word := func() string { return fmt.Sprintf("%x", random.Intn(1<<12)) }
	for i := range files {
		sub := filepath.Join(dir, fmt.Sprint("d", i%40), word())
		check(t, os.MkdirAll(sub, 0o755))
		var b bytes.Buffer
		for n := random.Intn(2 * size); b.Len() < n; {
			b.WriteString(word() + " " + word() + " not random\n")
		}
		p := filepath.Join(sub, fmt.Sprint("file-", i))
		check(t, os.WriteFile(p, b.Bytes(), 0o600|os.FileMode(i%8)))
		switch i % 20 {
		case 0:
			check(t, os.Symlink("../"+word(), p+".link"))
		case 1:
			check(t, os.Link(p, filepath.Join(dir, fmt.Sprint("name-", i))))
		case 2:
			check(t, os.Chmod(p, 0o755|fs.ModeSetuid|fs.ModeSticky))
		}
	}
	c := exec.Command("sh", "-c", "find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc --quiet")
	c.Dir = dir
	archive, err := c.Output()
	check(t, err)
	return dir, archive
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestListing holds the segments of each image, unpacked by the program for it,
// to the listing of cpio.
func TestListing(t *testing.T) {
	need(t, "cpio")
	all := images(t)
	delete(all, "two-archives") // cpio reads the first
	_, archive := largeTree(t, 500, 1000)
	for kind, b := range compressed(t, archive) {
		all["large "+kind] = b
	}
	for name, image := range all {
		for _, g := range open(t, image).Segments {
			part := image[g.Start:g.End]
			unpack := unpackers[g.Compression]
			if _, err := exec.LookPath(unpack[0]); err != nil {
				continue
			}
			out := filter(t, filter(t, part, unpack...), "cpio", "-itvn", "--quiet")
			want := cpioLines(string(out))
			if len(want) != g.Entries {
				t.Errorf("%s: %d entries, cpio lists %d", name, g.Entries, len(want))
			}
			if d := cmp.Diff(want, ourLines(open(t, part))); d != "" {
				t.Errorf("%s: -cpio +ours\n%.3000s", name, d)
			}
		}
	}
}

// deviceRe matches the numbers of a device, which cpio aligns.
var deviceRe = regexp.MustCompile(`(\d), +(\d)`)

// cpioLines are the lines of cpio -itvn without the time, which depends on when
// it is, and without the size where only one of several names has it.
func cpioLines(out string) []string {
	var lines []string
	for l := range strings.Lines(out) {
		f := strings.Fields(deviceRe.ReplaceAllString(l, "$1,$2"))
		if f[0][0] == '-' && f[1] != "1" {
			f[4] = "-"
		}
		if f[0][0] == 'd' || f[0][0] == 'p' || f[0][0] == 'l' {
			f[4] = "0"
		}
		lines = append(lines, strings.Join(slices.Concat(f[:5], f[8:]), " "))
	}
	slices.SortFunc(lines, byPath)
	return lines
}

func ourLines(f *FS) []string {
	var lines []string
	for p, i := range f.Files() {
		s := i.Sys().(*Stat)
		if s.Nlink == 0 {
			continue // no entry of the segment
		}
		size, link := fmt.Sprint(i.Size()), ""
		switch m := i.Mode(); {
		case m&fs.ModeDevice != 0:
			size = fmt.Sprintf("%d,%d", s.Rdev>>8&0xfff, s.Rdev&0xff|s.Rdev>>12&^0xff)
		case m.IsRegular() && s.Nlink > 1:
			size = "-"
		case m.Type() == fs.ModeSymlink:
			to, _ := f.ReadLink(p)
			link = " -> " + to
		}
		lines = append(lines, fmt.Sprintf("%s %d %d %d %s %s%s", lsMode(i.Mode()), s.Nlink, s.UID, s.GID, size, p, link))
	}
	slices.SortFunc(lines, byPath)
	return lines
}

func byPath(a, b string) int { return strings.Compare(strings.Fields(a)[5], strings.Fields(b)[5]) }

// lsMode is the mode as ls prints it.
func lsMode(m fs.FileMode) string {
	b := []byte(m.Perm().String())
	for _, c := range []struct {
		flag fs.FileMode
		char byte
	}{{fs.ModeDir, 'd'}, {fs.ModeSymlink, 'l'}, {fs.ModeNamedPipe, 'p'}, {fs.ModeSocket, 's'}, {fs.ModeDevice, 'b'}, {fs.ModeCharDevice, 'c'}} {
		if m&c.flag != 0 {
			b[0] = c.char
		}
	}
	for _, c := range []struct {
		flag fs.FileMode
		at   int
		char byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if m&c.flag != 0 {
			if b[c.at] == '-' {
				c.char -= 'a' - 'A'
			}
			b[c.at] = c.char
		}
	}
	return string(b)
}

// TestExtraction holds contents to those that cpio extracts.
func TestExtraction(t *testing.T) {
	need(t, "cpio")
	_, archive := largeTree(t, 300, 60000)
	dir := t.TempDir()
	c := exec.Command("cpio", "-id", "--quiet", "--no-absolute-filenames")
	c.Dir, c.Stdin = dir, bytes.NewReader(archive)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := hashes(t, os.DirFS(dir))
	if len(want) < 300 {
		t.Fatalf("%d files", len(want))
	}
	for _, kind := range []string{"none", "zstd"} {
		image := archive
		if kind != "none" {
			image = pack(t, kind, archive)
		}
		if d := cmp.Diff(want, hashes(t, open(t, image))); d != "" {
			t.Errorf("%s: -cpio +ours\n%.3000s", kind, d)
		}
	}
}

func hashes(t testing.TB, fsys fs.FS) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, fs.WalkDir(fsys, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		all[p] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	}))
	return all
}

// BenchmarkList lists an archive of some 60 MB, unpacked, beside the programs
// that do the same.
func BenchmarkList(b *testing.B) {
	need(b, "cpio")
	_, archive := largeTree(b, 4000, 15000)
	for _, c := range []struct{ kind, peer string }{
		{"none", "cpio -it"},
		{"zstd", "zstd -dcq | cpio -it"},
		{"gzip", "gzip -dc | cpio -it"},
		{"xz", "xz -dc | cpio -it"},
		{"lz4", "lz4 -dcq | cpio -it"},
		{"lzma", "xz -dc | cpio -it"},
		{"bzip2", "bzip2 -dc | cpio -it"},
	} {
		program := strings.Fields(c.peer)[0]
		if _, err := exec.LookPath(program); err != nil {
			b.Log("no ", program)
			continue
		}
		image := packWith(b, c.kind, archive)
		b.Run(c.kind+"/ours", func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			b.ReportAllocs()
			for b.Loop() {
				if f := open(b, image); f.Partial {
					b.Fatal(f.Problems)
				}
			}
		})
		p := filepath.Join(b.TempDir(), "image")
		check(b, os.WriteFile(p, image, 0o600))
		b.Run(c.kind+"/peer", func(b *testing.B) {
			b.SetBytes(int64(len(archive)))
			for b.Loop() {
				c := exec.Command("sh", "-c", c.peer+" --quiet >/dev/null")
				in, err := os.Open(p)
				check(b, err)
				c.Stdin = in
				check(b, c.Run())
				in.Close()
			}
		})
	}
}

// packWith packs with the programs that make initrds.
func packWith(t testing.TB, kind string, b []byte) []byte {
	t.Helper()
	args := map[string]string{"zstd": "zstd -qc -T0", "gzip": "gzip -c", "xz": "xz -1 -C crc32 -c", "lz4": "lz4 -qlc", "lzma": "lzma -1 -c", "bzip2": "bzip2 -c"}[kind]
	if args == "" {
		return b
	}
	return filter(t, b, strings.Fields(args)...)
}
