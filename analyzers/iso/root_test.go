package iso

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// tarball makes an archive of "path content" lines; a path that ends in / is a
// directory, "path -> target" a link, "path => target" a hard link.
func tarball(t testing.TB, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, l := range lines {
		h := &tar.Header{Mode: 0o644, Typeflag: tar.TypeReg}
		data := ""
		if name, target, ok := strings.Cut(l, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if name, target, ok := strings.Cut(l, " => "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeLink
		} else if h.Name, data, _ = strings.Cut(l, " "); strings.HasSuffix(h.Name, "/") {
			h.Typeflag = tar.TypeDir
		}
		h.Size = int64(len(data))
		if err := errors.Join(w.WriteHeader(h), func() error { _, err := w.Write([]byte(data)); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	o, err := unpack(bytes.NewReader(tarball(t, "./", "./etc/a one", "etc/dir/", "etc/dir/b two", "/abs three", "../../up four",
		"etc/link -> /elsewhere/x", "etc/hard => etc/a", "etc/a again", "etc/gone => none")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"etc/a": "again", "etc/dir/b": "two", "abs": "three", "up": "four", "etc/hard": "one"} {
		if got, err := fs.ReadFile(o, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if target, err := o.ReadLink("etc/link"); target != "/elsewhere/x" {
		t.Errorf("etc/link: %q, %v", target, err)
	}
	if _, err := o.Lstat("etc/gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a hard link to nothing: %v", err)
	}
	if _, err := o.ReadLink("etc/a"); err == nil {
		t.Error("a file is no link")
	}
	if _, err := unpack(bytes.NewReader(tarball(t, "a x", "a/b y"))); err == nil {
		t.Error("a file below a file was taken")
	}
}

// TestUnpackHostile: what is no archive, is cut, or is larger than a
// configuration, is an error.
func TestUnpackHostile(t *testing.T) {
	whole := tarball(t, "etc/a "+strings.Repeat("x", 5000), "etc/b y")
	for n := range len(whole) {
		if _, err := unpack(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("cut to %d of %d bytes: no error", n, len(whole))
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "a", Size: 2 * maxUnpacked, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 2 * maxUnpacked >> 20 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(&bomb); err == nil {
		t.Error("a bomb was unpacked")
	}
	var many []string
	for range maxMembers + 1 {
		many = append(many, "a x")
	}
	if _, err := unpack(bytes.NewReader(tarball(t, many...))); err == nil {
		t.Error("more members than are read")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(tarball(f, "etc/", "etc/a one", "etc/link -> a", "etc/hard => etc/a"))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := unpack(bytes.NewReader(data))
		if err != nil {
			return
		}
		if err := fs.WalkDir(o, ".", func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Error(err)
		}
	})
}

// TestRoot: layers lie over each other, links lead through all of them and
// never out.
func TestRoot(t *testing.T) {
	upper, err := unpack(bytes.NewReader(tarball(t, "etc/a upper", "etc/new -> /usr/share/lower", "data/x into", "loop -> loop", "out -> ../../../../etc/a")))
	if err != nil {
		t.Fatal(err)
	}
	lower, err := unpack(bytes.NewReader(tarball(t, "etc/a lower", "etc/b lower", "usr/share/lower text", "usr/bin/sudo x", "bin -> usr/bin", "data -> usr/share", "etc/dead -> /nowhere")))
	if err != nil {
		t.Fatal(err)
	}
	store := fstest.MapFS{"pkg/file": {Data: []byte("stored")}}
	r := &root{links: map[string]string{"run/current-system": "/nix/store/pkg"}, layers: []*layer{
		{FS: upper, at: ".", path: "u", gone: map[string]bool{"etc/b": true, "usr/bin/sudo": true}},
		{FS: lower, at: ".", path: "l"}, {FS: store, at: storeDir, path: "s"},
	}}
	for name, want := range map[string]string{
		"etc/a": "upper", "etc/new": "text", "out": "upper", "run/current-system/file": "stored", "nix/store/pkg/file": "stored", "data/x": "into",
	} {
		if got, err := fs.ReadFile(r, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"etc/b", "bin/sudo", "usr/bin/sudo", "etc/dead", "loop", "loop/x", "run/x", "nix/x", "etc/a/b"} {
		if _, err := r.Stat(name); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	if _, err := r.Stat("loop"); !errors.Is(err, errLoop) {
		t.Errorf("loop: %v", err)
	}
	for name, want := range map[string]string{"etc/a": "u!/etc/a", "etc/new": "l!/usr/share/lower", "run/current-system/file": "s!/pkg/file", "etc/b": "", "loop": ""} {
		if got := r.place(name); got != want {
			t.Errorf("place of %s: %q, want %q", name, got, want)
		}
	}
	var names []string
	es, err := r.ReadDir("etc")
	for _, e := range es {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "a dead new" || err != nil {
		t.Errorf("etc holds %q, %v", got, err)
	}
	f, err := r.Open("etc")
	if err != nil {
		t.Fatal(err)
	}
	part, err := f.(fs.ReadDirFile).ReadDir(2)
	if len(part) != 2 || err != nil {
		t.Errorf("two of etc: %v, %v", part, err)
	}
	if ev, ok := r.head("etc/dead"); ok {
		t.Errorf("a link to nowhere shows %+v", ev)
	}
}

// TestOverlay: what stage 2 unpacks over the root counts, its list of removals
// too; an archive that nobody speaks of leaves open what the root becomes.
func TestOverlay(t *testing.T) {
	base, err := unpack(bytes.NewReader(tarball(t, "usr/lib/systemd/systemd x", "usr/bin/sudo x", "usr/bin/disko x", "usr/bin/ip x", "usr/sbin/vgs x",
		"etc/systemd/system/pre-nixos.service [Service]\nType=oneshot\n", "run/ ", "sbin -> usr/sbin")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		lines       []string
		part, value string
	}{
		{"nothing", nil, "sudo", "present"},
		{"another", []string{"etc/x y"}, "sudo", "present"},
		{"removed", []string{"etc/removals /usr/bin/sudo\n"}, "sudo", "missing"},
		{"removed by a link", []string{"etc/removals /sbin/vgs\n"}, "lvm2", "missing"},
		{"removed and brought", []string{"etc/removals /usr/bin/sudo\n", "usr/bin/sudo y"}, "sudo", "missing"},
		{"not all of it", []string{"etc/removals usr/bin\n\n/\n"}, "sudo", "missing"},
		{"only the root", []string{"etc/removals /\n"}, "sudo", "present"},
	} {
		s := &system{params: params("pre-nixos.service", "nixos", "lan"), root: &root{}, whole: true}
		if c.lines != nil {
			o, err := unpack(bytes.NewReader(tarball(t, c.lines...)))
			if err != nil {
				t.Fatal(err)
			}
			l := &layer{FS: o, at: ".", path: "o", gone: map[string]bool{}}
			s.removals(l)
			s.root.layers = append(s.root.layers, l)
		}
		s.root.layers = append(s.root.layers, &layer{FS: base, at: ".", path: "b"})
		s.settle()
		got := map[string]string{}
		(&promiser{system: s, state: func(name, subject, value string, _ ...bundle.Evidence) {
			if name == "iso.part" {
				got[subject] = value
			}
		}}).parts()
		if got[c.part] != c.value {
			t.Errorf("%s: %s is %q, want %q", c.name, c.part, got[c.part], c.value)
		}
	}
}

// TestOtherArchive: an archive at the image's top that the profile does not
// name may change anything.
func TestOtherArchive(t *testing.T) {
	m := &Image{Tree: Tree{Files: []*File{{Path: "/more.tar.gz"}, {Path: "/boot/fine.tar.gz"}}}}
	s := &system{Image: m, params: analyzers.Params{}}
	if _, ok := s.overlays(); ok {
		t.Error("/more.tar.gz was overlooked")
	}
	m.Files = m.Files[1:]
	if _, ok := s.overlays(); !ok {
		t.Error("/boot/fine.tar.gz is not at the top")
	}
}

// TestMentions: a name counts as a word, and calls something outside comments.
func TestMentions(t *testing.T) {
	data := []byte("#!/bin/sh\n# modprobe dm_mod\n  # needs sshd\n/bin/disko --mode x\nlvcreate-wrapper\nsystemctl start sshd.service\n")
	p := &program{texts: []*text{{path: "x", data: data, lines: bundle.NewLineIndex(data)}}}
	for _, c := range []struct {
		name     string
		comments bool
		line     int // 0: not mentioned
	}{
		{"modprobe", false, 0}, {"modprobe", true, 2}, {"disko", false, 4}, {"lvcreate", false, 0},
		{"sshd", false, 6}, {"sshd", true, 3}, {"ssh", true, 0}, {"", true, 0},
	} {
		if ev, ok := p.mentions(c.name, c.comments); ok != (c.line > 0) || ok && ev.Line != c.line {
			t.Errorf("%q, comments %v: %v at line %d, want %d", c.name, c.comments, ok, ev.Line, c.line)
		}
	}
}
