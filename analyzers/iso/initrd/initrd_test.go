package initrd

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// images are the images of testdata/build.sh by name.
func images(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.img")
	if err != nil || len(names) < 25 {
		t.Fatalf("testdata: %v, %v", names, err)
	}
	all := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(n), ".img")] = b
	}
	return all
}

func open(t testing.TB, image []byte) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// list says what f is in the lines of testdata/*.want.
func list(f *FS) []string {
	var lines []string
	for _, g := range f.Segments {
		lines = append(lines, fmt.Sprintf("segment %d %d %s %d", g.Start, g.End, strings.ReplaceAll(g.Compression, " ", "-"), g.Entries))
	}
	var entries []string
	for p, i := range f.Files() {
		entries = append(entries, entryLine(f, p, i))
	}
	return append(lines, entries...)
}

func entryLine(f *FS, p string, i fs.FileInfo) string {
	s := i.Sys().(*Stat)
	line := fmt.Sprintf("entry %x %d %d %d %x:%x %d %s", unixMode(i.Mode()), s.UID, s.GID, i.ModTime().Unix(), s.Rdev>>8&0xfff, s.Rdev&0xff|s.Rdev>>12&^0xff, i.Size(), p)
	switch i.Mode().Type() {
	case fs.ModeSymlink:
		to, err := f.ReadLink(p)
		line += fmt.Sprintf(" -> %s", to)
		if err != nil {
			line += " " + err.Error()
		}
	case 0:
		b, err := f.ReadFile(p)
		if err != nil {
			return line + " " + err.Error()
		}
		line += fmt.Sprintf(" %x", sha256.Sum256(b))[:17]
	}
	return line
}

func unixMode(m fs.FileMode) uint32 {
	for format, typ := range formats {
		if m.Type() == typ {
			u := format | uint32(m.Perm())
			for _, b := range modeBits {
				if m&b.flag != 0 {
					u |= b.bit
				}
			}
			return u
		}
	}
	return 0
}

// sortWant puts the lines of a want file, which are in the order of bytes of the
// path, in that of fs.WalkDir.
func sortWant(s string) []string {
	tree := newTree()
	var segments []string
	lines := map[string]string{}
	for l := range strings.Lines(s) {
		l = strings.TrimSuffix(l, "\n")
		f := strings.Fields(l)
		if f[0] == "segment" {
			segments = append(segments, l)
			continue
		}
		lines[f[7]] = l
	}
	for p := range lines {
		tree.put(p, &inode{mode: fs.ModeDir}, nil)
	}
	tree.root.each("", func(p string, _ fs.FileInfo) bool {
		segments = append(segments, lines[p])
		return true
	})
	return segments
}

func TestImages(t *testing.T) {
	for name, image := range images(t) {
		want, err := os.ReadFile(filepath.Join("testdata", name+".want"))
		if err != nil {
			t.Error(err)
			continue
		}
		f := open(t, image)
		if d := cmp.Diff(sortWant(string(want)), list(f)); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
		if len(f.Problems) > 0 || f.Partial {
			t.Errorf("%s: partial %v, problems %q", name, f.Partial, f.Problems)
		}
	}
}

// TestFS holds the tree to what package fs asks.
func TestFS(t *testing.T) {
	for name, image := range images(t) {
		f := open(t, image)
		if strings.Contains(name, "zstd") { // one of each is enough of this slow test
			if err := fstest.TestFS(regularOnly{f}, "etc/conf.d/odd", "usr/lib"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		var walked []string
		err := fs.WalkDir(f, ".", func(p string, _ fs.DirEntry, err error) error {
			if p != "." {
				walked = append(walked, p)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var files []string
		for p := range f.Files() {
			files = append(files, p)
		}
		if d := cmp.Diff(walked, files); d != "" {
			t.Errorf("%s: -walked +files\n%s", name, d)
		}
	}
}

// regularOnly hides devices, which fstest would read.
type regularOnly struct{ *FS }

func (r regularOnly) ReadDir(name string) ([]fs.DirEntry, error) {
	l, err := r.FS.ReadDir(name)
	return readable(l), err
}

func (r regularOnly) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if d, ok := f.(*directory); ok {
		d.rest, d.listed = readable(d.node.list()), true
	}
	return f, err
}

func readable(l []fs.DirEntry) []fs.DirEntry {
	out := l[:0]
	for _, e := range l {
		if e.IsDir() || e.Type().IsRegular() || e.Type() == fs.ModeSymlink && e.Name() == "lib" {
			out = append(out, e)
		}
	}
	return out
}

func TestLinks(t *testing.T) {
	f := open(t, images(t)["zstd"])
	for _, c := range []struct{ name, stat, lstat string }{
		{"bin/sh", "busybox", "busybox"},
		{"lib", "directory", "link"},
		{"lib/absolute", "busybox", "link"}, // /bin/sh, from the root of the tree
		{"usr/lib/absolute", "busybox", "link"},
		{"dangling", "file does not exist", "link"},
		{"dangling/x", "file does not exist", "file does not exist"},
		{"init/x", "the name leads through what is no directory", "file does not exist"},
		{"none", "file does not exist", "file does not exist"},
		{"/init", "invalid argument", "invalid argument"},
		{"dev/../init", "invalid argument", "invalid argument"},
		{".", "directory", "directory"},
	} {
		if got := kindOfFile(f.Stat(c.name)); got != c.stat {
			t.Errorf("stat %s: %s, want %s", c.name, got, c.stat)
		}
		if got := kindOfFile(f.Lstat(c.name)); got != c.lstat {
			t.Errorf("lstat %s: %s, want %s", c.name, got, c.lstat)
		}
	}
	if to, err := f.ReadLink("lib/absolute"); to != "/bin/sh" || err != nil {
		t.Errorf("readlink lib/absolute: %q, %v", to, err)
	}
	for _, name := range []string{"init", "none", "/"} {
		if to, err := f.ReadLink(name); err == nil {
			t.Errorf("readlink %s: %q, want an error", name, to)
		}
	}
	for _, name := range []string{"dev/console", "dev", "dev/pipe"} {
		if b, err := f.ReadFile(name); !errors.Is(err, errNotRegular) {
			t.Errorf("read %s: %d bytes, %v", name, len(b), err)
		}
	}
}

func kindOfFile(i fs.FileInfo, err error) string {
	var p *fs.PathError
	switch {
	case errors.As(err, &p):
		return p.Err.Error()
	case i.IsDir():
		return "directory"
	case i.Mode().Type() == fs.ModeSymlink:
		return "link"
	case i.Size() == 1492:
		return "busybox"
	}
	return "file"
}

// cpio makes newc archives with what no cpio writes.
type cpio struct{ bytes.Buffer }

type entry struct {
	name                        string
	mode, size, ino, nlink, sum uint32
	content                     string
	magic                       string
}

func (c *cpio) add(e entry) *cpio {
	if e.magic == "" {
		e.magic = "070701"
	}
	if e.size == 0 {
		e.size = uint32(len(e.content))
	}
	if e.nlink == 0 {
		e.nlink = 1
	}
	name := e.name + "\x00"
	fmt.Fprintf(c, "%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s", e.magic, e.ino, e.mode, 0, 0, e.nlink, 0, e.size, 0, 0, 0, 0, len(name), e.sum, name)
	c.align()
	c.WriteString(e.content)
	c.align()
	return c
}

func (c *cpio) align() {
	for c.Len()%4 != 0 {
		c.WriteByte(0)
	}
}

func (c *cpio) end() []byte { return c.add(entry{name: trailer}).Bytes() }

const (
	reg = 0o100644
	dir = 0o040755
	lnk = 0o120777
)

func archiveOf(entries ...entry) []byte {
	var c cpio
	for _, e := range entries {
		c.add(e)
	}
	return c.end()
}

// TestEntries: what the kernel, or this package, takes or leaves.
func TestEntries(t *testing.T) {
	long := strings.Repeat("d/", 2000)
	for _, c := range []struct {
		name    string
		image   []byte
		want    string // paths, with content or link
		problem string // none if empty
		partial bool
	}{
		{"names", archiveOf(entry{name: "/a", mode: reg, content: "1"}, entry{name: "./b", mode: reg}, entry{name: ".//./c", mode: dir}, entry{name: "c/.//d/", mode: reg}, entry{name: ".", mode: dir}), "a=1 b= c c/d=", "", false},
		{"dots", archiveOf(entry{name: "../a", mode: reg}, entry{name: "b", mode: reg}), "b=", `byte 0: "../a": .. in the name: the entry is skipped`, true},
		{"dots within", archiveOf(entry{name: "b/..", mode: reg}, entry{name: "..b", mode: reg}), "..b=", `byte 0: "b/..": .. in the name: the entry is skipped`, true},
		{"NUL", archiveOf(entry{name: "a\x00b", mode: reg, content: "12345"}, entry{name: "c\x00\x00\x00", mode: reg}), "c=", `byte 0: "a\x00b\x00": a NUL in the name: the entry is skipped`, true},
		{"empty name", archiveOf(entry{name: "", mode: reg}, entry{name: "b", mode: reg}), "b=", "byte 0: an empty name: the entry is skipped", true},
		{"long", archiveOf(entry{name: strings.Repeat("a/", 2048), mode: dir, content: "x"}, entry{name: "b", mode: reg}), "b=", "byte 0: a name of more than 4096 bytes: the entry is skipped", true},
		{"long part", archiveOf(entry{name: "x" + strings.Repeat("a", 255), mode: reg}, entry{name: strings.Repeat("b", 255), mode: reg}), strings.Repeat("b", 255) + "=", `byte 0: "x` + strings.Repeat("a", 79) + `": a part of more than 255 bytes in the name: the entry is skipped`, true},
		{"longer by a link", archiveOf(entry{name: "l", mode: lnk, content: long}, entry{name: long, mode: dir}, entry{name: "l/" + strings.Repeat("e", 200), mode: reg}), "", "byte 8224: l/" + strings.Repeat("e", 200) + ": its path becomes too long: the kernel skips it", false},
		{"not UTF-8", archiveOf(entry{name: "gr\xfc\xdf", mode: reg, content: "x"}), `gr\xfc\xdf=x`, "", false},
		{"UTF-8", archiveOf(entry{name: "grüß", mode: reg, content: "x"}), "grüß=x", "", false},
		{"no directory", archiveOf(entry{name: "a/b", mode: reg, content: "x"}, entry{name: "a/c", mode: reg}), "a a/b=x a/c=", "byte 0: a/b: no entry before it makes its directory: the kernel skips it", false},
		{"below a file", archiveOf(entry{name: "a", mode: reg}, entry{name: "a/b", mode: reg}), "a=", "byte 112: a/b: the name leads through what is no directory: the kernel skips it", false},
		{"in place of a directory", archiveOf(entry{name: "a", mode: dir}, entry{name: "a/b", mode: reg}, entry{name: "a", mode: reg}), "a a/b=", "byte 228: a: a directory that holds something is in its place: the kernel skips it", false},
		{"root", archiveOf(entry{name: "./", mode: reg}, entry{name: "b", mode: reg}), "b=", "byte 0: .: the root is a directory: the kernel skips it", false},
		{"mode", archiveOf(entry{name: "a", mode: 0o644, content: "x"}, entry{name: "b", mode: reg}), "b=", "byte 0: a: mode 644: the kernel skips it", false},
		{"directory with content", archiveOf(entry{name: "a", mode: dir, content: "x"}, entry{name: "b", mode: reg}), "b=", "byte 0: a: content where there can be none: the kernel skips it", false},
		{"empty link", archiveOf(entry{name: "a", mode: lnk}, entry{name: "b", mode: reg}), "b=", "byte 0: a: a link to 0 bytes: the kernel skips it", false},
		{"link with NUL", archiveOf(entry{name: "a", mode: lnk, content: "x\x00y"}), "a->x", "", false},
		{"loop", archiveOf(entry{name: "a", mode: lnk, content: "b"}, entry{name: "b", mode: lnk, content: "a"}, entry{name: "a/c", mode: reg}), "a->b b->a", "byte 232: a/c: the name leads through more than 40 links: the kernel skips it", false},
		{"up a link", archiveOf(entry{name: "a", mode: dir}, entry{name: "a/b", mode: lnk, content: "../../../c/"}, entry{name: "c", mode: dir}, entry{name: "a/b/d", mode: reg, content: "1"}), "a a/b->../../../c/ c c/d=1", "", false},
		{"linked, content last", archiveOf(entry{name: "a", mode: reg, ino: 1, nlink: 2}, entry{name: "b", mode: reg, ino: 1, nlink: 2, content: "x"}), "a=x b=x", "", false},
		{"linked, content in each", archiveOf(entry{name: "a", mode: reg, ino: 1, nlink: 2, content: "x"}, entry{name: "b", mode: reg, ino: 1, nlink: 2, content: "x"}), "a=x b=x", "", false},
		{"linked, content first", archiveOf(entry{name: "a", mode: reg, ino: 1, nlink: 2, content: "x"}, entry{name: "b", mode: reg, ino: 1, nlink: 2}), "a=x b=x", "", false},
		{"one inode, not linked", archiveOf(entry{name: "a", mode: reg, ino: 1}, entry{name: "b", mode: reg, ino: 1, content: "x"}), "a= b=x", "", false},
		{"one inode, other type", archiveOf(entry{name: "a", mode: reg, ino: 1, nlink: 2}, entry{name: "b", mode: 0o010644, ino: 1, nlink: 2}), "a= b", "", false},
		{"not linked over a trailer", append(archiveOf(entry{name: "a", mode: reg, ino: 1, nlink: 2, content: "1"}), archiveOf(entry{name: "b", mode: reg, ino: 1, nlink: 2, content: "2"})...), "a=1 b=2", "", false},
		{"last wins", archiveOf(entry{name: "a", mode: reg, content: "1"}, entry{name: "a", mode: reg, content: "22"}), "a=22", "", false},
		{"emptied", archiveOf(entry{name: "a", mode: reg, content: "1"}, entry{name: "a", mode: reg}), "a=", "", false},
		{"both names change", append(archiveOf(entry{name: "a", mode: reg, ino: 1, nlink: 2}, entry{name: "b", mode: reg, ino: 1, nlink: 2, content: "1"}), archiveOf(entry{name: "a", mode: reg, content: "2"})...), "a=2 b=2", "", false},
		{"checksum", archiveOf(entry{name: "a", mode: reg, magic: "070702", content: "ab", sum: 'a' + 'b'}), "a=ab", "", false},
		{"wrong checksum", archiveOf(entry{name: "a", mode: reg, magic: "070702", content: "ab", sum: 1}), "a=ab", "byte 0: the checksum of the content is 0xc3, not 0x1", true},
		{"no trailer", new(cpio).add(entry{name: "a", mode: reg}).Bytes(), "a=", "byte 112: no TRAILER!!! ends the archive", true},
		{"NULs for a trailer", append(new(cpio).add(entry{name: "a", mode: reg}).Bytes(), make([]byte, 512)...), "a=", `byte 222: no header of a cpio entry: "\x00\x00\x00\x00\x00\x00"`, true},
		{"no number", append(new(cpio).add(entry{name: "a", mode: reg}).Bytes(), bytes.Replace(archiveOf(entry{name: "b"}), []byte("0000"), []byte("-001"), 1)...), "a=", "byte 222: the header of a cpio entry holds a number that is none", true},
		{"cut content", new(cpio).add(entry{name: "a", mode: reg, size: 100, content: "x"}).Bytes(), "a: the image does not hold all of it", "byte 116: unexpected EOF", true},
		{"largest size", archiveOf(entry{name: "a", mode: reg, size: 1<<32 - 1}), "a: the image does not hold all of it", "byte 236: unexpected EOF", true},
		{"odd start", append([]byte{0, 0}, archiveOf(entry{name: "a", mode: reg})...), "a=", "byte 2: a plain archive begins at no multiple of 4: the kernel does not read it", false},
		{"something behind", append(archiveOf(entry{name: "a", mode: reg}), "\x00\x00bootconfig"...), "a=", `byte 238: neither a cpio archive nor a known compression: "bootco"`, true},
		{"old cpio behind", append(archiveOf(entry{name: "a", mode: reg}), "070707000000"...), "a=", `byte 236: neither a cpio archive nor a known compression: "070707"`, true},
		{"lzo behind", append(archiveOf(entry{name: "a", mode: reg}), "\x89LZO\x00\r\n\x1a\n\x10\x20"...), "a=", "byte 236: lzo: unpacked byte 0: lzo is not read", true},
		{"unaligned end", bytes.TrimRight(archiveOf(entry{name: "a", mode: reg}), "\x00"), "a=", "byte 232: unexpected EOF", true},
	} {
		f, err := Open(bytes.NewReader(c.image), int64(len(c.image)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.name != "longer by a link" { // its directories are many
			if got := brief(f); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
			}
		}
		var want []string
		if c.problem != "" {
			want = []string{c.problem}
		}
		if c.name == "longer by a link" && len(f.Problems) > 0 {
			f.Problems = f.Problems[1:] // directories that no entry makes
		}
		if d := cmp.Diff(want, f.Problems); d != "" || f.Partial != c.partial {
			t.Errorf("%s: partial %v, problems -want +got\n%s", c.name, f.Partial, d)
		}
	}
}

func brief(f *FS) string {
	var out []string
	for p, i := range f.Files() {
		switch i.Mode().Type() {
		case 0:
			b, err := f.ReadFile(p)
			if err != nil {
				p += ": " + err.(*fs.PathError).Err.Error()
			} else {
				p += "=" + string(b)
			}
		case fs.ModeSymlink:
			to, _ := f.ReadLink(p)
			p += "->" + to
		}
		out = append(out, p)
	}
	return strings.Join(out, " ")
}

// TestNothing: an error, and one that says where, only if there is nothing.
func TestNothing(t *testing.T) {
	for _, c := range []struct{ image, want string }{
		{"", errNothing.Error()},
		{strings.Repeat("\x00", 5000), errNothing.Error()},
		{"\x00\x00hello", `byte 2: neither a cpio archive nor a known compression: "hello"`},
		{"070701", "byte 6: unexpected EOF"},
		{"070707" + strings.Repeat("0", 200), `byte 0: neither a cpio archive nor a known compression: "070707"`},
		{"\x89LZO\x00\r\n\x1a\n", "byte 0: lzo: unpacked byte 0: lzo is not read"},
		{"\x28\xb5\x2f\xfd", "byte 0: zstd: unpacked byte 0: unexpected EOF"},
	} {
		f, err := Open(strings.NewReader(c.image), int64(len(c.image)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.20q: %v, %v, want %s", c.image, f, err, c.want)
		}
	}
	if f, err := Open(strings.NewReader(""), -1); err == nil {
		t.Errorf("a negative size: %v", f)
	}
	if f, err := Open(failing{}, 1<<62); err == nil || !strings.HasPrefix(err.Error(), "byte 0: disk") {
		t.Errorf("a disk that fails: %v, %v", f, err)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk") }

// TestDamage: damage in a stream that can be measured leaves the next.
func TestDamage(t *testing.T) {
	all := images(t)
	for name, reads := range map[string]bool{"zstd": true, "xz": true, "lz4": true, "lz4frame": true, "gzip": false, "bzip2": false, "lzma": false} {
		image := bytes.Clone(all[name+"-then-gzip"])
		whole := open(t, image)
		at := whole.Segments[0].End / 2
		copy(image[at:], bytes.Repeat([]byte{0xff}, 40))
		f, err := Open(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			if reads {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !f.Partial || len(f.Problems) == 0 || !strings.HasPrefix(f.Problems[0], "byte 0: ") {
			t.Errorf("%s: partial %v, problems %q", name, f.Partial, f.Problems)
		}
		if _, err := f.Stat("etc/empty/inside"); (err == nil) != reads {
			t.Errorf("%s: the segment behind: %v", name, err)
		}
	}
}

// TestLarge reads files that are not kept, in any order and two at a time.
func TestLarge(t *testing.T) {
	var c cpio
	want := map[string][]byte{}
	for i := range 5 {
		name := fmt.Sprint("f", i)
		want[name] = bytes.Repeat([]byte{byte(i), 'x', '\n'}, keepFile/2+i)
		c.add(entry{name: name, mode: reg, content: string(want[name])})
	}
	plain := c.end()
	for kind, image := range compressed(t, plain) {
		f := open(t, image)
		for _, i := range []int{0, 1, 3, 2, 2, 4, 0} {
			name := fmt.Sprint("f", i)
			if got, err := fs.ReadFile(f, name); err != nil || !bytes.Equal(got, want[name]) {
				t.Fatalf("%s: %s: %d bytes, %v", kind, name, len(got), err)
			}
		}
		a, _ := f.Open("f1")
		b, _ := f.Open("f3")
		for name, file := range map[string]fs.File{"f1": a, "f3": b} {
			head := make([]byte, 1000)
			if _, err := io.ReadFull(file, head); err != nil {
				t.Fatal(err)
			}
			defer func() {
				rest, err := io.ReadAll(file)
				if err != nil || !bytes.Equal(append(head, rest...), want[name]) {
					t.Errorf("%s: %s: %d bytes, %v", kind, name, len(rest), err)
				}
				file.Close()
				if _, err := file.Read(head); !errors.Is(err, fs.ErrClosed) {
					t.Errorf("%s: read after close: %v", kind, err)
				}
			}()
		}
	}
}
