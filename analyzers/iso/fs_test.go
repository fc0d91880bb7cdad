package iso

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dangling are the links of the test images that lead nowhere: opening one
// fails, to which fstest objects.
var dangling = map[string][]string{"rr.iso": {"many/link-long"}}

func TestFS(t *testing.T) {
	for name, data := range images(t) {
		m := open(t, data)
		var paths []string
		for _, f := range m.Files {
			paths = append(paths, f.Path[1:])
		}
		checkFS(t, name, m.FS(), paths, dangling[name])
	}
}

// checkFS holds a file system to fstest's rules, but for links to nowhere,
// each of which must fail.
func checkFS(t *testing.T, name string, fsys fs.FS, paths, dangling []string) {
	t.Helper()
	err := fstest.TestFS(fsys, paths...)
	if err == nil && len(dangling) > 0 {
		t.Errorf("%s: %v lead nowhere, and nothing objects", name, dangling)
	}
	if err == nil {
		return
	}
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) {
		t.Fatalf("%s: %v", name, err)
	}
	for _, e := range all.Unwrap() {
		known := false
		for _, d := range dangling {
			known = known || strings.HasPrefix(e.Error(), d+": ") && errors.Is(e, fs.ErrNotExist)
		}
		if !known {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// TestFSFile: a file that was opened reads at any place, as bytes of the image.
func TestFSFile(t *testing.T) {
	for name, data := range images(t) {
		m := open(t, data)
		for _, f := range m.Files {
			if !f.Mode.IsRegular() {
				continue
			}
			want, err := m.ReadFile(f, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			o, err := m.FS().Open(f.Path[1:])
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(o, want); err != nil {
				t.Errorf("%s: %s: %v", name, f.Path, err)
			}
			in, err := o.Stat()
			if err != nil || in.Sys() != f || in.Size() != int64(len(want)) {
				t.Errorf("%s: %s: %v, %v", name, f.Path, in, err)
			}
		}
	}
}

// TestFSLinks: links lead through the image, at the end of a path and within.
func TestFSLinks(t *testing.T) {
	fsys := open(t, images(t)["rr.iso"]).FS()
	for p, want := range map[string]string{
		"many/link":               "kernel\n",
		"many/root/boot/initrd":   "initrd\n",
		"many/root/many/link":     "kernel\n",
		"many/link-long":          "open many/link-long: file does not exist",
		"many/link/x":             "open many/link/x: not a directory",
		"boot/BZIMAGE":            "open boot/BZIMAGE: file does not exist",
		"/boot/bzImage":           "open /boot/bzImage: invalid argument",
		"many/../boot/bzImage":    "open many/../boot/bzImage: invalid argument",
		"many/root/many/root":     "read root: is a directory",
		"boot/bzImage/../bzImage": "open boot/bzImage/../bzImage: invalid argument",
	} {
		got := ""
		if f, err := fsys.Open(p); err != nil {
			got = err.Error()
		} else if b, err := io.ReadAll(f); err != nil {
			got = err.Error()
		} else {
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", p, got, want)
		}
	}
	links := fsys.(fs.ReadLinkFS)
	if to, err := links.ReadLink("many/link"); err != nil || to != "../boot/./bzImage" {
		t.Error(to, err)
	}
	if to, err := links.ReadLink("boot/bzImage"); !errors.Is(err, fs.ErrInvalid) {
		t.Error(to, err)
	}
	if in, err := links.Lstat("many/link"); err != nil || in.Mode().Type() != fs.ModeSymlink {
		t.Error(in, err)
	}
}

// TestFSLoop: links that lead to one another end.
func TestFSLoop(t *testing.T) {
	a, b := &File{Path: "/a", Mode: fs.ModeSymlink, Link: "b/x"}, &File{Path: "/b", Mode: fs.ModeSymlink, Link: "/./a"}
	m := &Tree{root: &File{Path: "/", Mode: fs.ModeDir}, byPath: map[string]*File{"/a": a, "/b": b}}
	for _, p := range []string{"a", "b", "b/y"} {
		if _, err := m.FS().Open(p); !errors.Is(err, errLinks) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestReaderExtents: a file in three places, one of them cut off by the end.
func TestReaderExtents(t *testing.T) {
	img := []byte("..cc....aaa....bb")
	m := newTree(bytes.NewReader(img), int64(len(img)))
	f := &File{Size: 7, Extents: []Extent{{8, 3}, {15, 2}, {0, 0}, {2, 2}}}
	if err := iotest.TestReader(m.Reader(f), []byte("aaabbcc")); err != nil {
		t.Error(err)
	}
	f = &File{Size: 9, Extents: []Extent{{8, 3}, {15, 4}, {2, 2}}}
	b, err := io.ReadAll(m.Reader(f))
	if string(b) != "aaabb" || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "byte 17: ") {
		t.Errorf("%q, %v", b, err)
	}
	got := make([]byte, 4)
	if n, err := m.Reader(f).ReadAt(got, 7); n != 2 || err != io.EOF || string(got[:n]) != "cc" {
		t.Errorf("%q, %v", got[:n], err)
	}
	f = &File{Size: 1, Extents: []Extent{{1 << 40, 1}}}
	if b, err := io.ReadAll(m.Reader(f)); len(b) > 0 || err == nil || !strings.HasPrefix(err.Error(), "byte 1099511627776: ") {
		t.Errorf("%q, %v", b, err)
	}
}

// TestFSHuge: a size that the image cannot hold reserves no memory.
func TestFSHuge(t *testing.T) {
	img := tiny(dirRecord("A.;1", 25, 1<<32-1, flagMultiPart), dirRecord("A.;1", 25, 1<<32-1, 0))
	fsys := open(t, img).FS()
	if b, err := fs.ReadFile(fsys, "A"); err == nil {
		t.Errorf("%d bytes", len(b))
	}
	if in, err := fs.Stat(fsys, "A"); err != nil || in.Size() != 2*(1<<32-1) {
		t.Error(in, err)
	}
}

func TestDates(t *testing.T) {
	at := func(s string) time.Time { d, _ := time.Parse(time.RFC3339Nano, s); return d.UTC() }
	short := func(b ...byte) string { return string(b) }
	for _, c := range []struct {
		name, tf string
		want     time.Time
	}{
		{"modified alone", "\x02" + short(126, 11, 23, 10, 0, 1, 0), at("2026-11-23T10:00:01Z")},
		{"created first", "\x03" + short(100, 1, 1, 0, 0, 0, 0) + short(126, 11, 23, 10, 0, 1, 4), at("2026-11-23T09:00:01Z")},
		{"west of Greenwich", "\x0e" + short(126, 11, 23, 23, 30, 0, 0xEC) + "rest is not asked for", at("2026-11-24T04:30:00Z")},
		{"long form", "\x822026112310000125\x00", at("2026-11-23T10:00:01.25Z")},
		{"not modified", "\x01" + short(126, 11, 23, 10, 0, 1, 0), time.Time{}},
		{"cut", "\x02" + short(126, 11, 23, 10, 0, 1), time.Time{}},
		{"cut within creation", "\x83202611", time.Time{}},
		{"empty", "", time.Time{}},
		{"no such day", "\x02" + short(126, 2, 31, 0, 0, 0, 0), time.Time{}},
		{"zeros", "\x02" + short(0, 0, 0, 0, 0, 0, 0), time.Time{}},
		{"no digits", "\x82202611231000x125\x00", time.Time{}},
	} {
		if d := cmp.Diff(c.want, modified([]byte(c.tf))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}
