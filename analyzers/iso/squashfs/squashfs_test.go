package squashfs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
)

// image returns an image of testdata; build.sh makes them.
func image(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".squashfs.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mount opens an image that has no problems.
func mount(t testing.TB, b []byte) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Problems) > 0 || f.Partial {
		t.Fatalf("partial %v, problems %q", f.Partial, f.Problems)
	}
	return f
}

// images of one tree, and the compression each is expected to have.
var images = map[string]string{
	"gzip": "gzip", "gzip-1m": "gzip", "gzip-no-fragments": "gzip", "gzip-all-fragments": "gzip",
	"xz": "xz", "xz-x86": "xz", "lz4": "lz4", "zstd": "zstd", "zstd-4k": "zstd", "stored": "gzip",
}

// expected is what tree.pseudo says of a path, in mksquashfs's words: kind,
// time, mode, owner, and a device's numbers or a link's target.
type expected struct {
	kind, time, mode, uid, gid string
	rest                       []string
}

// expectedTree reads tree.pseudo, and adds what build.sh adds.
func expectedTree(t *testing.T) map[string]expected {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "tree.pseudo"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]expected{
		".":                      {"M", "1700000000", "0755", "0", "0", nil},
		strings.Repeat("n", 255): {"M", "1700000030", "0644", "0", "0", nil},
		"many":                   {"M", "1700000031", "0755", "0", "0", nil},
	}
	for i := range 500 {
		want[fmt.Sprintf("many/an-entry-of-a-directory-that-has-an-index-%03d", i+1)] = expected{"M", "1700000032", "0644", "7", "8", nil}
	}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(strings.ReplaceAll(line, `\ `, "\x00"))
		want[strings.ReplaceAll(w[0], "\x00", " ")] = expected{w[1], w[2], w[3], w[4], w[5], w[6:]}
	}
	return want
}

// sums reads tree.sha256, and adds the files of many/: each holds its number.
func sums(t *testing.T) map[string]string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "tree.sha256"))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for line := range strings.Lines(string(b)) {
		sum, name, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "  ")
		m[name] = sum
	}
	for i := range 500 {
		m[fmt.Sprintf("many/an-entry-of-a-directory-that-has-an-index-%03d", i+1)] = fmt.Sprintf("%x", sha256.Sum256(fmt.Appendln(nil, i+1)))
	}
	return m
}

// TestImages: every image has the tree that it was made from, and no more.
func TestImages(t *testing.T) {
	want, sums := expectedTree(t), sums(t)
	for name, compression := range images {
		t.Run(name, func(t *testing.T) {
			b := image(t, name)
			f := mount(t, b)
			if f.Compression != compression || f.Size != int64(len(b)) || f.ModTime.Unix() != 1700000099 {
				t.Errorf("%s, %d bytes, of %v", f.Compression, f.Size, f.ModTime)
			}
			seen, last := 0, ""
			for p, info := range f.All() {
				seen++
				if p != "." && strings.ReplaceAll(p, "/", "\x00") <= strings.ReplaceAll(last, "/", "\x00") {
					t.Errorf("%s after %s", p, last)
				}
				last = p
				e, ok := want[p]
				if !ok {
					t.Errorf("%s: not in the tree", p)
					continue
				}
				if got := describe(info, e.kind); got != fmt.Sprint(e) || info.Name() != path.Base(p) {
					t.Errorf("%s: %s, want %v", p, got, e)
				}
				if sum, ok := sums[p]; ok != info.Mode().IsRegular() {
					t.Errorf("%s: %v", p, info.Mode())
				} else if ok {
					checkSum(t, f, p, info.Size(), sum)
				}
			}
			if seen != len(want) {
				t.Errorf("%d files, want %d", seen, len(want))
			}
		})
	}
}

// describe puts what is in the image into mksquashfs's words. Of files that
// were there before, mksquashfs was not told the kind.
func describe(info fs.FileInfo, kind string) string {
	s := info.Sys().(*Stat)
	bits := info.Mode().Perm()
	for bit, m := range map[fs.FileMode]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if info.Mode()&m != 0 {
			bits |= bit
		}
	}
	e := expected{"M", strconv.FormatInt(info.ModTime().Unix(), 10), fmt.Sprintf("%04o", uint32(bits)), fmt.Sprint(s.UID), fmt.Sprint(s.GID), nil}
	device := []string{fmt.Sprint(s.Major), fmt.Sprint(s.Minor)}
	switch info.Mode().Type() {
	case fs.ModeDir:
		if kind == "D" {
			e.kind = "D"
		}
	case fs.ModeSymlink:
		e.kind, e.rest = "S", []string{s.Target}
	case fs.ModeDevice:
		e.kind, e.rest = "B", device
	case fs.ModeDevice | fs.ModeCharDevice:
		e.kind, e.rest = "C", device
	case fs.ModeNamedPipe:
		e.kind, e.rest = "I", []string{"f"}
	case fs.ModeSocket:
		e.kind, e.rest = "I", []string{"s"}
	}
	return fmt.Sprint(e)
}

func checkSum(t *testing.T, f *FS, p string, size int64, sum string) {
	t.Helper()
	b, err := f.ReadFile(p)
	if err != nil || int64(len(b)) != size || fmt.Sprintf("%x", sha256.Sum256(b)) != sum {
		t.Errorf("%s: %d of %d bytes, %v", p, len(b), size, err)
		return
	}
	r, err := f.Open(p)
	if err != nil {
		t.Errorf("%s: %v", p, err)
		return
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil || fmt.Sprintf("%x", h.Sum(nil)) != sum {
		t.Errorf("%s: %v", p, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("%s: %v", p, err)
	}
}

// TestCoverage: the images have what they are there for.
func TestCoverage(t *testing.T) {
	get := func(name, p string) *file {
		f := mount(t, image(t, name))
		n, err := f.lookup("stat", p)
		if err != nil {
			t.Fatal(err)
		}
		return f.open(n, p)
	}
	if n := get("gzip", "many").node; n.indexed == 0 || n.size < 3*metaSize {
		t.Errorf("many: index of %d, %d bytes", n.indexed, n.size)
	}
	if r := get("gzip", "blocks"); len(r.blocks) != 3 || r.node.fragment != noFragment {
		t.Errorf("gzip: %d blocks, fragment %d", len(r.blocks), r.node.fragment)
	}
	if r := get("gzip-all-fragments", "blocks"); len(r.blocks) != 2 || r.node.fragment == noFragment {
		t.Errorf("gzip-all-fragments: %d blocks, fragment %d", len(r.blocks), r.node.fragment)
	}
	if r := get("gzip-1m", "blocks"); len(r.blocks) != 0 || r.node.fragment == noFragment {
		t.Errorf("gzip-1m: %d blocks, fragment %d", len(r.blocks), r.node.fragment)
	}
	if r := get("gzip-no-fragments", "noise"); len(r.blocks) != 1 || r.node.fragment != noFragment || r.blocks[0].size&dataStored == 0 {
		t.Errorf("gzip-no-fragments: noise: %+v", r.blocks)
	}
	if r := get("gzip", "hole"); len(r.blocks) != 6 || r.blocks[0].size != 0 || r.blocks[3].size == 0 || r.blocks[5].size != 0 {
		t.Errorf("gzip: hole: %+v", r.blocks)
	}
	if r := get("stored", "blocks"); r.blocks[0].size != dataStored|128<<10 {
		t.Errorf("stored: %#x", r.blocks[0].size)
	}
	if r := get("zstd-4k", "blocks"); len(r.blocks) != 73 {
		t.Errorf("zstd-4k: %d blocks", len(r.blocks))
	}
	filtered := 0
	b := image(t, "xz-x86")
	for i := range b {
		if x86Filtered(b[i:]) {
			filtered++
		}
	}
	if filtered == 0 {
		t.Error("xz-x86: no block is filtered")
	}
}

// x86Filtered reports whether an xz stream that starts b has the filter for x86
// first. Its header has 12 bytes, then come the length of the block's header,
// flags, two sizes that the flags announce, and the filters
// (https://tukaani.org/xz/xz-file-format.txt, 3.1 and 5.3.2).
func x86Filtered(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("\xfd7zXZ\x00")) || len(b) < 40 || b[13]&3 == 0 {
		return false
	}
	flags, b := b[13], b[14:]
	for _, announced := range []byte{0x40, 0x80} {
		if flags&announced != 0 {
			_, n := binary.Uvarint(b)
			b = b[n:]
		}
	}
	return b[0] == 4
}

// TestHardLinks: two names of one inode.
func TestHardLinks(t *testing.T) {
	f := mount(t, image(t, "gzip"))
	var s [2]*Stat
	for i, name := range []string{"hard1", "hard2"} {
		info, err := f.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		s[i] = info.Sys().(*Stat)
	}
	if s[0].Inode != s[1].Inode || s[0].Nlink != 2 || s[1].Nlink != 2 {
		t.Errorf("%+v, %+v", s[0], s[1])
	}
}

// TestFS holds the FS to what io/fs says, but for what cannot be opened.
func TestFS(t *testing.T) {
	for _, name := range []string{"gzip", "zstd-4k"} {
		f := mount(t, image(t, name))
		sub, err := fs.Sub(f, "many")
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(sub, "an-entry-of-a-directory-that-has-an-index-007"); err != nil {
			t.Error(err)
		}
		sub, err = fs.Sub(f, "dir")
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(sub, "deep/deeper/file"); err != nil {
			t.Error(err)
		}
		for _, p := range []string{"blocks", "hole", "noise", "empty", "code"} {
			want, err := f.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			r, err := f.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(r, want); err != nil {
				t.Errorf("%s: %v", p, err)
			}
			r.Close()
		}
	}
}

// TestErrors: what cannot be looked up, opened or read.
func TestErrors(t *testing.T) {
	f := mount(t, image(t, "gzip"))
	open := func(p string) error { _, err := f.Open(p); return err }
	stat := func(p string) error { _, err := f.Stat(p); return err }
	read := func(p string) error { _, err := f.ReadFile(p); return err }
	list := func(p string) error { _, err := f.ReadDir(p); return err }
	link := func(p string) error { _, err := f.ReadLink(p); return err }
	for _, c := range []struct {
		name string
		err  error
		is   error
	}{
		{"open nothing", open("nothing"), fs.ErrNotExist},
		{"open below a file", open("empty/x"), fs.ErrNotExist},
		{"open below a link", open("link-relative/deeper"), fs.ErrNotExist},
		{"open from the root", open("/empty"), fs.ErrInvalid},
		{"open with ..", open("dir/../empty"), fs.ErrInvalid},
		{"open a slash behind", open("dir/"), fs.ErrInvalid},
		{"open no name", open(""), fs.ErrInvalid},
		{"open a link", open("link-relative"), errNoFile},
		{"open a pipe", open("devices/pipe"), errNoFile},
		{"stat nothing", stat("dir/nothing"), fs.ErrNotExist},
		{"read a directory", read("dir"), errNoFile},
		{"read nothing", read("zzz"), fs.ErrNotExist},
		{"list a file", list("empty"), errNoDir},
		{"list nothing", list("0"), fs.ErrNotExist},
		{"link of a file", link("empty"), fs.ErrInvalid},
		{"link of nothing", link("nothing"), fs.ErrNotExist},
	} {
		var p *fs.PathError
		if !errors.Is(c.err, c.is) || !errors.As(c.err, &p) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.is)
		}
	}
	if s, err := f.ReadLink("link-absolute"); s != "/nix/store/none/such" || err != nil {
		t.Errorf("ReadLink: %q, %v", s, err)
	}
	if info, err := f.Lstat("link-up"); err != nil || info.Mode() != fs.ModeSymlink|0o777 || info.Size() != int64(len("../../outside")) {
		t.Errorf("Lstat: %v, %v", info, err)
	}
}

// TestClosed: a closed file gives nothing, least of all another's block.
func TestClosed(t *testing.T) {
	f := mount(t, image(t, "gzip"))
	file, err := f.Open("blocks")
	if err != nil {
		t.Fatal(err)
	}
	r := file.(interface {
		io.ReadSeekCloser
		io.ReaderAt
	})
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	_, read := r.Read(make([]byte, 10))
	_, readAt := r.ReadAt(make([]byte, 10), 0)
	_, seek := r.Seek(0, io.SeekStart)
	for i, err := range []error{read, readAt, seek, r.Close()} {
		if !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestHuge: a file of over 4 GiB, of which only the end is in the image.
func TestHuge(t *testing.T) {
	f := mount(t, image(t, "huge"))
	const size = 5 << 30
	file, err := f.Open("huge")
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := file.Stat(); info.Size() != size {
		t.Fatalf("%d bytes", info.Size())
	}
	b := make([]byte, 8)
	for _, c := range []struct {
		at   int64
		want string
	}{
		{0, "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{1<<32 - 4, "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{size - 8, "\x00\x00\x00\x00end\n"},
		{size - 4, "end\n"},
		{size, ""},
	} {
		n, err := file.(io.ReaderAt).ReadAt(b, c.at)
		if string(b[:n]) != c.want || (err == io.EOF) != (n < len(b)) {
			t.Errorf("at %d: %q, %v", c.at, b[:n], err)
		}
	}
	if b, err := f.ReadFile("huge"); b != nil || err == nil || !strings.Contains(err.Error(), "larger than the 268435456 that are read") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestStop: the listing ends when its reader has enough.
func TestStop(t *testing.T) {
	f := mount(t, image(t, "gzip"))
	for stop := range 532 {
		n := 0
		for range f.All() {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Fatalf("%d of %d", n, stop)
		}
	}
}

// TestConcurrent: many readers of one FS.
func TestConcurrent(t *testing.T) {
	f := mount(t, image(t, "xz"))
	sums := sums(t)
	t.Run("group", func(t *testing.T) {
		for i := range 4 {
			t.Run(strconv.Itoa(i), func(t *testing.T) {
				t.Parallel()
				for p, info := range f.All() {
					if info.Mode().IsRegular() {
						checkSum(t, f, p, info.Size(), sums[p])
					}
				}
			})
		}
	})
}
