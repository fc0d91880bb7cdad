package squashfs

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// tools skips where squashfs-tools are absent.
func tools(t testing.TB, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := exec.LookPath(n); err != nil {
			t.Skipf("%s is not installed", n)
		}
	}
}

// run runs a program in UTC and returns what it printed.
func run(t testing.TB, in io.Reader, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(name, args...)
	var stderr bytes.Buffer
	c.Env, c.Stdin, c.Stderr = append(os.Environ(), "TZ=UTC"), in, &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", c, err, stderr.Bytes())
	}
	return out
}

// listedRe is a line of "unsquashfs -lln": mode, owners, size or device, time,
// name.
var listedRe = regexp.MustCompile(`^(\S{10}) (\d+/\d+) +(\d+|\d+, *\d+) (\d{4}-\d\d-\d\d \d\d:\d\d) squashfs-root(?s:(.*))$`)

// listed is what unsquashfs lists, without its padding.
func listed(t *testing.T, file string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(string(run(t, nil, "unsquashfs", "-lln", file))) {
		m := listedRe.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Fatalf("unsquashfs: %q", line)
		}
		lines = append(lines, strings.Join([]string{m[1], m[2], strings.ReplaceAll(m[3], " ", ""), m[4], m[5]}, " "))
	}
	return lines
}

// lln is the line for one file.
func lln(w io.Writer, p string, info fs.FileInfo) {
	s := info.Sys().(*Stat)
	size := fmt.Sprint(info.Size())
	if info.Mode()&fs.ModeDevice != 0 {
		// unsquashfs 4.5 prints numbers beyond 255 wrong, as they are encoded.
		raw := s.Major<<8 | s.Minor&0xff | s.Minor&^0xff<<12
		size = fmt.Sprintf("%d,%d", raw>>8, raw&0xff)
	} else if info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		size = "0"
	}
	p = strings.TrimPrefix("/"+p, "/.")
	if info.Mode()&fs.ModeSymlink != 0 {
		p += " -> " + s.Target
	}
	fmt.Fprintf(w, "%s %d/%d %s %s %s\n", modeLine(info.Mode()), s.UID, s.GID, size, info.ModTime().Format("2006-01-02 15:04"), p)
}

// modeLine is a mode as ls prints it.
func modeLine(m fs.FileMode) string {
	line := []byte("-" + m.Perm().String()[1:])
	switch m.Type() {
	case fs.ModeDir:
		line[0] = 'd'
	case fs.ModeSymlink:
		line[0] = 'l'
	case fs.ModeDevice:
		line[0] = 'b'
	case fs.ModeDevice | fs.ModeCharDevice:
		line[0] = 'c'
	case fs.ModeNamedPipe:
		line[0] = 'p'
	case fs.ModeSocket:
		line[0] = 's'
	}
	for _, c := range []struct {
		bit    fs.FileMode
		at     int
		letter byte
	}{{fs.ModeSetuid, 3, 's'}, {fs.ModeSetgid, 6, 's'}, {fs.ModeSticky, 9, 't'}} {
		if m&c.bit == 0 {
			continue
		}
		if line[c.at] == '-' {
			c.letter -= 'a' - 'A'
		}
		line[c.at] = c.letter
	}
	return string(line)
}

// compareListing holds the tree to unsquashfs's.
func compareListing(t *testing.T, f *FS, file string) {
	t.Helper()
	var b bytes.Buffer
	for p, info := range f.All() {
		lln(&b, p, info)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.TrimSuffix(line, "\n"))
	}
	want := listed(t, file)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%d lines, unsquashfs has %d; line %d:\n%q\n%q", len(got), len(want), i, got[min(i, len(got)-1)], want[min(i, len(want)-1)])
		}
	}
}

// compareContents holds all contents to what unsquashfs extracts.
func compareContents(t *testing.T, f *FS, file string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	run(t, nil, "unsquashfs", "-quiet", "-no-progress", "-no-xattrs", "-d", dir, file)
	files := 0
	for p, info := range f.All() {
		if !info.Mode().IsRegular() {
			continue
		}
		files++
		out, err := os.Open(filepath.Join(dir, p))
		if errors.Is(err, fs.ErrPermission) {
			continue // only root may read what has no permissions
		}
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		want := hash(t, out)
		r, err := f.Open(p)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if got := hash(t, r); got != want {
			t.Errorf("%s: contents differ", p)
		}
	}
	if files == 0 {
		t.Error("no file")
	}
}

func hash(t *testing.T, r io.ReadCloser) [32]byte {
	t.Helper()
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		t.Error(err)
	}
	return [32]byte(h.Sum(nil))
}

// TestOracle: the images of testdata are listed as unsquashfs lists them.
func TestOracle(t *testing.T) {
	tools(t, "unsquashfs")
	names := []string{"huge", "small-gzip", "small-xz", "small-lz4", "small-zstd", "small-stored"}
	for n := range images {
		names = append(names, n)
	}
	for _, n := range names {
		t.Run(n, func(t *testing.T) {
			b := image(t, n)
			file := filepath.Join(t.TempDir(), "image")
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			f := mount(t, b)
			compareListing(t, f, file)
			if strings.HasPrefix(n, "small") { // others have devices, which only root may make
				compareContents(t, f, file)
			}
		})
	}
}

// tree writes an archive of dirs directories with files files each: text,
// noise, holes and links, of sizes around those of blocks. It returns the hashes
// of the files.
func tree(t testing.TB, w io.Writer, dirs, files int, content func(i int) []byte) map[string][32]byte {
	t.Helper()
	tw := tar.NewWriter(w)
	sums := map[string][32]byte{}
	i := 0
	add := func(h *tar.Header, b []byte) {
		i++
		h.Uid, h.Gid, h.ModTime, h.Size = i%5*1000, i%3, time.Unix(1_600_000_000+int64(i)*61, 0), int64(len(b))
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for d := range dirs {
		dir := fmt.Sprintf("store-%04d", d)
		if d%7 == 3 {
			dir = fmt.Sprintf("store-%04d/lib/deep-%d", d-1, d)
			add(&tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("store-%04d/lib", d-1), Mode: 0o755}, nil)
		}
		add(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o1755}, nil)
		for n := range files {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%s/file-%d-of-many.%03d", dir, d%11, n), Mode: int64(0o644 + n%2*0o111)}
			switch n % 17 {
			case 5:
				h.Typeflag, h.Linkname = tar.TypeSymlink, fmt.Sprintf("../store-%04d/file-%d", n, d)
				add(h, nil)
			default:
				b := content(i)
				sums[h.Name] = sha256.Sum256(b)
				add(h, b)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return sums
}

// TestFresh: images that mksquashfs makes now, of a few thousand files.
func TestFresh(t *testing.T) {
	tools(t, "mksquashfs", "unsquashfs")
	rnd := rand.New(rand.NewPCG(1, 2))
	text := bytes.Repeat([]byte("what is in a file, and what is not; "), 10_000)
	content := func(i int) []byte {
		switch i % 50 {
		case 10: // around a block of 4 KiB
			return text[i%1000 : i%1000+4095+i%3]
		case 20: // around a block of 128 KiB
			return text[i%1000 : i%1000+128<<10-1+i%3]
		case 30: // does not compress
			b := make([]byte, 3000+i%9000)
			for j := range b {
				b[j] = byte(rnd.Uint32())
			}
			return b
		case 40: // hole in the middle
			b := make([]byte, 200_000)
			copy(b[90_000:], text[:i%5000])
			return b
		}
		return text[i%5000 : i%5000+i%300]
	}
	var archive bytes.Buffer
	sums := tree(t, &archive, 40, 80, content)
	for i, options := range []string{
		"-comp gzip",
		"-comp gzip -b 1M -no-fragments",
		"-comp xz -Xbcj x86,arm -b 256k",
		"-comp lz4 -b 4k",
		"-comp lz4 -Xhc",
		"-comp zstd -b 1M -Xcompression-level 6",
		"-comp zstd -always-use-fragments -noI",
		"-comp gzip -noD -noF -noId",
	} {
		t.Run(options, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image")
			args := append([]string{"-", file, "-tar", "-quiet", "-no-progress"}, strings.Fields(options)...)
			run(t, bytes.NewReader(archive.Bytes()), "mksquashfs", args...)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			f := mount(t, b)
			compareListing(t, f, file)
			if i == 0 { // once: it takes longer than all the rest
				compareContents(t, f, file)
			}
			files := 0
			for p, info := range f.All() {
				want, ok := sums[p]
				if ok != info.Mode().IsRegular() {
					t.Errorf("%s: %v", p, info.Mode())
				}
				if !ok {
					continue
				}
				files++
				if r, err := f.Open(p); err != nil || hash(t, r) != want {
					t.Errorf("%s: contents differ, %v", p, err)
				}
			}
			if files != len(sums) {
				t.Errorf("%d files, want %d", files, len(sums))
			}
		})
	}
}
