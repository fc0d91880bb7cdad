package iso

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// images are the small images of testdata/build.sh.
func images(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.iso.gz")
	if err != nil || len(names) < 5 {
		t.Fatalf("testdata: %v, %v", names, err)
	}
	all := map[string][]byte{}
	for _, n := range names {
		all[strings.TrimSuffix(filepath.Base(n), ".gz")] = unzip(n)
	}
	return all
}

// unzip returns what is in a file of testdata; without it there is no test.
func unzip(name string) []byte {
	f, err := os.Open(name)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		panic(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return data
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

// facts are what the analyzer states, and its problems, a line each.
func facts(data []byte) []string {
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.iso", bundle.ISO, data)}}
	var out []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
		e := f.Evidence[0]
		out = append(out, fmt.Sprintf("%s %s = %s @ %s:%d", f.Name, f.Subject, f.Value, strings.TrimPrefix(e.Path, "x.iso"), e.Line))
	}
	for _, p := range run.Problems {
		out = append(out, "problem "+p.Text)
	}
	return out
}

var wantFacts = map[string][]string{
	"rr.iso": {
		"iso.label  = rr @ :1",
		"iso.boot  = bios @ :1",
		"iso.entry bios = quiet @ !/isolinux/isolinux.cfg:4",
		"iso.entry bios = boot @ !/isolinux/isolinux.cfg:7",
		"iso.cmdline bios = root=LABEL=rr console=tty0 console=ttyS0,115200n8 @ !/isolinux/isolinux.cfg:10",
		"iso.console bios = tty0 @ !/isolinux/isolinux.cfg:10",
		"iso.console bios = ttyS0,115200n8 @ !/isolinux/isolinux.cfg:10",
		"iso.kernel bios = present @ !/isolinux/isolinux.cfg:8",
	},
	"joliet.iso": {
		"iso.label  = joliet @ :1",
		"iso.boot  = bios @ :1",
		"iso.entry bios = linux @ !/isolinux/isolinux.cfg:2",
		"iso.cmdline bios = initrd=/Boot/none quiet @ !/isolinux/isolinux.cfg:4",
		"iso.kernel bios = missing @ !/isolinux/isolinux.cfg:3",
	},
	"deep.iso": {"iso.label  = deep @ :1"},
	"efi.iso": {
		"iso.label  = efi @ :1",
		"iso.boot  = bios @ :1",
		"iso.boot  = efi @ :1",
		"iso.entry bios = linux @ !/isolinux/isolinux.cfg:2",
		"iso.cmdline bios = console=ttyS0,115200 quiet @ !/isolinux/isolinux.cfg:4",
		"iso.console bios = ttyS0,115200 @ !/isolinux/isolinux.cfg:4",
		"iso.kernel bios = present @ !/isolinux/isolinux.cfg:3",
		"iso.entry efi = Installer @ !/boot/efi.img!/EFI/BOOT/grub.cfg:5",
		"iso.entry efi = Installer (serial console=ttyS0) @ !/boot/efi.img!/EFI/BOOT/grub.cfg:9",
		"iso.cmdline efi = root=LABEL=efi quiet @ !/boot/efi.img!/EFI/BOOT/grub.cfg:6",
		"iso.kernel efi = present @ !/boot/efi.img!/EFI/BOOT/grub.cfg:6",
	},
	"sdboot.iso": {
		"iso.label  = sdboot @ :1",
		"iso.boot  = efi @ :3", // the primary descriptor holds bytes of value 10
		"iso.entry efi = installer-1 @ !/efi.img!/loader/entries/installer-1.conf:1",
		"iso.entry efi = memtest @ !/efi.img!/loader/entries/memtest.conf:1",
		"iso.cmdline efi = root=LABEL=x console=ttyS0,9600 @ !/efi.img!/loader/entries/installer-1.conf:4",
		"iso.console efi = ttyS0,9600 @ !/efi.img!/loader/entries/installer-1.conf:4",
		"iso.kernel efi = missing @ !/efi.img!/loader/entries/installer-1.conf:2",
	},
	"hybrid.iso": {
		"iso.label  = hybrid @ :1",
		"iso.boot  = bios @ :1",
		"iso.boot  = efi @ :1",
		"iso.entry bios = linux @ !/isolinux/isolinux.cfg:2",
		"iso.cmdline bios = quiet @ !/isolinux/isolinux.cfg:4",
		"iso.kernel bios = present @ !/isolinux/isolinux.cfg:3",
		"iso.entry efi = Disk @ !/boot/efi.img!/EFI/BOOT/grub.cfg:1",
		"iso.cmdline efi = console=ttyS0 @ !/boot/efi.img!/EFI/BOOT/grub.cfg:1",
		"iso.console efi = ttyS0 @ !/boot/efi.img!/EFI/BOOT/grub.cfg:1",
		"iso.kernel efi = present @ !/boot/efi.img!/EFI/BOOT/grub.cfg:1",
	},
	"usb.iso": {
		"iso.label  = usb @ :1",
		"iso.boot  = bios @ :1",
		"iso.entry bios = linux @ !/isolinux/isolinux.cfg:2",
		"iso.cmdline bios = quiet @ !/isolinux/isolinux.cfg:4",
		"iso.kernel bios = present @ !/isolinux/isolinux.cfg:3",
	},
	"gpt.iso": {
		"iso.label  = gpt @ :1",
		"iso.boot  = bios @ :1",
		"iso.entry bios = linux @ !/isolinux/isolinux.cfg:2",
		"iso.cmdline bios = quiet @ !/isolinux/isolinux.cfg:4",
		"iso.kernel bios = present @ !/isolinux/isolinux.cfg:3",
	},
}

func TestFacts(t *testing.T) {
	for name, data := range images(t) {
		want, ok := wantFacts[name]
		if !ok {
			t.Errorf("%s: no expectation", name)
		}
		if d := cmp.Diff(want, facts(data)); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

// TestNested: evidence leads to the bytes that it quotes.
func TestNested(t *testing.T) {
	for name, data := range images(t) {
		m := open(t, data)
		run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.iso", bundle.ISO, data)}}
		for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, nil).All() {
			for _, e := range f.Evidence {
				raw := data
				if inner, ok := strings.CutPrefix(e.Path, "x.iso!"); ok {
					var err error
					if raw, err = m.ReadNested(inner); err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
				}
				if got := bundle.Printable(string(raw[e.Start:e.End])); got != e.Quote || 1+bytes.Count(raw[:e.Start], []byte("\n")) != e.Line {
					t.Errorf("%s: %+v: the bytes are %q", name, e, got)
				}
			}
		}
	}
}

func open(t testing.TB, data []byte) *Image {
	t.Helper()
	m, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// listing is the tree, a line a file: type, mode, size, path, target.
func listing(m *Image) []string {
	var out []string
	for _, f := range m.Files {
		size := f.Size
		if !f.Mode.IsRegular() {
			size = 0
		}
		out = append(out, fmt.Sprintf("%s %d %s %s", f.Mode.Perm(), size, f.Path, f.Link))
	}
	sort.Strings(out)
	return out
}

// TestXorriso: the tree is the one that xorriso finds.
func TestXorriso(t *testing.T) {
	for name, file := range writeImages(t, "xorriso") {
		t.Run(name, func(t *testing.T) {
			m := open(t, images(t)[name])
			compare(t, m, file, name != "joliet.iso")
			for _, p := range m.Problems {
				t.Error(p)
			}
		})
	}
}

// compare holds a tree to what xorriso says of the image in a file: names,
// types, sizes, links; modes and owners where the image has them; the bytes
// and times of files.
func compare(t *testing.T, m *Image, file string, rock bool) {
	t.Helper()
	out, err := exec.Command("xorriso", "-indev", file, "-find", "/", "-exec", "lsdl", "--").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range append([]*File{m.root}, m.Files...) {
		got = append(got, long(rock, f.Mode, fmt.Sprint(f.UID), fmt.Sprint(f.GID), fmt.Sprint(f.Size), f.Path, f.Link))
	}
	sort.Strings(got)
	if d := cmp.Diff(listed(t, string(out), rock), got); d != "" {
		t.Errorf("-xorriso +ours\n%s", d)
	}
	dir := filepath.Join(t.TempDir(), "tree")
	if text, err := exec.Command("xorriso", "-indev", file, "-osirrox", "on", "-extract", "/", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(contents(t, os.DirFS(dir)), contents(t, m.FS())); d != "" {
		t.Errorf("-xorriso +ours\n%s", d)
	}
}

// lsdlRe is a line of xorriso's lsdl; "e" is the boot catalogue, a size is that
// of a file, or the numbers of a device.
var lsdlRe = regexp.MustCompile(`^([-elspbcd])([-rwxsStT]{9})[+ ] +\d+ (\d+) +(\d+) +([\d,]+) \w{3} [ \d]\d [ :\d]{5} '(.*?)'(?: -> '(.*)')?$`)

func listed(t *testing.T, text string, rock bool) []string {
	t.Helper()
	var out []string
	for l := range strings.Lines(text) {
		x := lsdlRe.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if x == nil {
			t.Fatalf("xorriso says %q", l)
		}
		for i := 6; i <= 7; i++ {
			x[i] = strings.ReplaceAll(x[i], `'"'"'`, `'`)
		}
		out = append(out, long(rock, lsMode(x[1], x[2]), x[3], x[4], x[5], x[6], x[7]))
	}
	sort.Strings(out)
	return out
}

// lsMode reads a mode as ls writes it.
func lsMode(kind, perm string) fs.FileMode {
	m := map[string]fs.FileMode{"d": fs.ModeDir, "l": fs.ModeSymlink, "p": fs.ModeNamedPipe, "s": fs.ModeSocket,
		"b": fs.ModeDevice, "c": fs.ModeDevice | fs.ModeCharDevice}[kind]
	for i, c := range perm {
		if strings.ContainsRune("rwxst", c) {
			m |= 1 << (8 - i)
		}
		if strings.ContainsRune("sStT", c) {
			m |= []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}[i/3]
		}
	}
	return m
}

// long is a line of a listing, without mode and owner where the image has
// none: there they are xorriso's own choice.
func long(rock bool, mode fs.FileMode, uid, gid, size, p, link string) string {
	if !mode.IsRegular() {
		size = "-"
	}
	if !rock {
		mode, uid, gid = mode.Type(), "-", "-"
	}
	return fmt.Sprintf("%s %s %s:%s %s -> %s", p, mode, uid, gid, size, link)
}

// contents is a line a regular file: path, time, sum of the bytes.
func contents(t *testing.T, fsys fs.FS) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		in, err := d.Info()
		if err != nil {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		out = append(out, fmt.Sprintf("%s %s %.12x", p, in.ModTime().UTC().Format(time.DateTime), sum(b)))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// made are images that are built for the occasion, each from a folder of
// files, by a command that ends with the image and the folder.
var made = []struct {
	name string
	rock bool
	fill func(t testing.TB, dir string)
	argv []string
}{
	{"many entries", true, many(1000), argv("xorriso -as mkisofs -quiet -R -o")},
	{"many entries, genisoimage", true, many(1000), argv("genisoimage -quiet -R -o")},
	{"long names and links", true, longLinks, argv("xorriso -as mkisofs -quiet -R -o")},
	{"long names and links, genisoimage", true, longNames, argv("genisoimage -quiet -input-charset utf-8 -R -o")},
	{"IEEE_1282", true, longLinks, argv("xorriso -compliance new_rr -as mkisofs -quiet -R -o")},
	{"owners", true, modes, argv("xorriso -as mkisofs -quiet -R -uid 1000 -gid 100 -o")},
	{"modes", true, modes, argv("genisoimage -quiet -R -o")},
	{"hard links", true, modes, argv("xorriso -as mkisofs -quiet -R --hardlinks -o")},
	{"deep", true, deep, argv("xorriso -as mkisofs -quiet -R -o")},
	{"relocated", true, deep, argv("genisoimage -quiet -R -o")},
	{"relocated, Joliet too", true, deep, argv("genisoimage -quiet -R -J -o")},
	{"UDF bridge", true, longNames, argv("genisoimage -quiet -input-charset utf-8 -udf -R -o")},
	{"UDF bridge, no extension", false, shortNames, argv("genisoimage -quiet -udf -o")},
	{"Joliet", false, shortNames, argv("genisoimage -quiet -J -o")},
	{"Joliet, long names", false, joliet, argv("genisoimage -quiet -input-charset utf-8 -J -joliet-long -o")},
	{"no extension", false, shortNames, argv("genisoimage -quiet -o")},
	{"no extension, level 4", false, shortNames, argv("genisoimage -quiet -iso-level 4 -o")},
	{"HFS hybrid", true, modes, argv("genisoimage -quiet -hfs -R -o")},
	{"transparent tables", true, modes, argv("genisoimage -quiet -R -T -o")},
}

func argv(line string) []string { return strings.Fields(line) }

// TestXorrisoMade: trees larger and stranger than those of testdata.
func TestXorrisoMade(t *testing.T) {
	for _, c := range made {
		t.Run(c.name, func(t *testing.T) {
			m, file := makeImage(t, c.fill, c.argv)
			compare(t, m, file, c.rock)
			for _, p := range m.Problems {
				t.Error(p)
			}
		})
	}
}

func makeImage(t testing.TB, fill func(testing.TB, string), argv []string) (*Image, string) {
	t.Helper()
	for _, tool := range []string{"xorriso", argv[0]} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	dir := t.TempDir()
	tree, file := filepath.Join(dir, "tree"), filepath.Join(dir, "x.iso")
	must(t, os.Mkdir(tree, 0o755))
	fill(t, tree)
	cmd := exec.Command(argv[0], append(argv[1:len(argv):len(argv)], file, tree)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	f, err := os.Open(file)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	in, err := f.Stat()
	must(t, err)
	m, err := Open(f, in.Size())
	must(t, err)
	return m, file
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file, its folder too.
func put(t testing.TB, dir, name, text string) {
	p := filepath.Join(dir, filepath.FromSlash(name))
	must(t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(t, os.WriteFile(p, []byte(text), 0o644))
}

func many(n int) func(t testing.TB, dir string) {
	return func(t testing.TB, dir string) {
		for i := range n {
			put(t, dir, fmt.Sprintf("store/%032d-package-%d.service", i, i), "")
		}
	}
}

func longNames(t testing.TB, dir string) {
	put(t, dir, strings.Repeat("n", 200)+"/"+strings.Repeat("ü", 100), "x")
	put(t, dir, "it's", "quoted")
	put(t, dir, "trailing dot.", "")
	put(t, dir, "semi;colon;1", "")
	put(t, dir, ".hidden", "")
	for name, target := range map[string]string{"dots": "./../.././x/..", "root": "/", "one": "a", "some": strings.Repeat("some-part/", 15) + "end"} {
		must(t, os.Symlink(target, filepath.Join(dir, "link-"+name)))
	}
}

// longLinks has links for which genisoimage never ends, or of which it loses
// parts.
func longLinks(t testing.TB, dir string) {
	longNames(t, dir)
	part := strings.Repeat("p", 240)
	for name, target := range map[string]string{
		"chain": strings.Repeat(part+"/", 4) + "end", "abs": "/" + part + "/" + part, "parts": strings.Repeat("../a/", 200) + "z",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, "long-"+name)))
	}
}

func modes(t testing.TB, dir string) {
	for i, m := range []fs.FileMode{0, 0o7, 0o70, 0o700, 0o644, fs.ModeSetuid | 0o755, fs.ModeSetgid | 0o710, fs.ModeSetuid | 0o600} {
		p := filepath.Join(dir, fmt.Sprint("f", i))
		must(t, os.WriteFile(p, []byte("same"), 0o600))
		must(t, os.Chmod(p, m))
		must(t, os.Chtimes(p, time.Time{}, time.Date(1999+3*i, 12, 31, 23, 59, 58, 0, time.UTC)))
	}
	d := filepath.Join(dir, "sticky")
	must(t, os.Mkdir(d, 0o700))
	must(t, os.Chmod(d, fs.ModeSticky|0o777))
	must(t, os.Link(filepath.Join(dir, "f4"), filepath.Join(d, "link")))
	if text, err := exec.Command("mkfifo", filepath.Join(dir, "fifo")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func deep(t testing.TB, dir string) {
	put(t, dir, strings.Repeat("d/", 20)+"file", "deep")
	put(t, dir, strings.Repeat("d/", 9)+"other/"+strings.Repeat("e/", 10)+"file", "deeper")
	put(t, dir, "a/b/c/d/e/f/g/h", "just so")
}

func shortNames(t testing.TB, dir string) {
	for i := range 100 {
		put(t, dir, fmt.Sprintf("SUB%d/FILE%d.TXT", i%7, i), strings.Repeat("x", i*50))
	}
	put(t, dir, "NOEXT", "")
}

func joliet(t testing.TB, dir string) {
	put(t, dir, "Größe – 100 €.text", "x")
	put(t, dir, "ключ/"+strings.Repeat("n", 99), "y")
	put(t, dir, "a.b.c.", "z")
}

func TestUnixMode(t *testing.T) {
	for m, want := range map[uint32]fs.FileMode{
		0o104755: fs.ModeSetuid | 0o755, 0o040700: fs.ModeDir | 0o700, 0o120777: fs.ModeSymlink | 0o777,
		0o020600: fs.ModeDevice | fs.ModeCharDevice | 0o600, 0o041777: fs.ModeDir | fs.ModeSticky | 0o777,
	} {
		if got := unixMode(m); got != want {
			t.Errorf("%o: %v, want %v", m, got, want)
		}
	}
}

// TestResolve: links are followed, and case does not matter where nothing has
// the exact name.
func TestResolve(t *testing.T) {
	m := open(t, images(t)["rr.iso"])
	if f := m.Resolve("/many/link"); f == nil || f.Path != "/boot/bzImage" {
		t.Errorf("%+v", f)
	}
	if f := m.Resolve("/BOOT/BZIMAGE"); f == nil || f.Path != "/boot/bzImage" {
		t.Errorf("%+v", f)
	}
	if f := m.Resolve("/boot/bzImage2"); f != nil {
		t.Errorf("%+v", f)
	}
}

// tiny builds an image of one directory from records in order.
func tiny(records ...[]byte) []byte {
	img := make([]byte, 30*sector)
	pvd := img[16*sector:]
	copy(pvd, "\x01CD001\x01")
	copy(pvd[40:], "TINY"+strings.Repeat(" ", 28))
	binary.LittleEndian.PutUint32(pvd[80:], 30)
	copy(pvd[156:], dirRecord("\x00", 20, sector, flagDir))
	copy(img[17*sector:], "\xffCD001\x01")
	at := 20 * sector
	for _, r := range append([][]byte{dirRecord("\x00", 20, sector, flagDir), dirRecord("\x01", 20, sector, flagDir)}, records...) {
		at += copy(img[at:], r)
	}
	return img
}

func dirRecord(name string, at, size uint32, flags byte) []byte {
	n := 33 + len(name)
	n += n % 2
	r := make([]byte, n)
	r[0], r[25], r[32] = byte(n), flags, byte(len(name))
	binary.LittleEndian.PutUint32(r[2:], at)
	binary.LittleEndian.PutUint32(r[10:], size)
	copy(r[33:], name)
	return r
}

func TestMultiExtent(t *testing.T) {
	img := tiny(dirRecord("BIG.BIN;1", 25, sector, flagMultiPart), dirRecord("BIG.BIN;1", 27, sector, flagMultiPart), dirRecord("BIG.BIN;1", 26, 7, 0), dirRecord("END.;1", 28, 1, 0))
	for i, c := range []int{25, 26, 27} {
		copy(img[c*sector:], strings.Repeat(string(rune('a'+i)), sector))
	}
	m := open(t, img)
	if d := cmp.Diff([]string{"-r--r--r-- 1 /END ", "-r--r--r-- 4103 /BIG.BIN "}, listing(m)); d != "" {
		t.Error(d)
	}
	data, err := m.ReadFile(m.Lookup("/BIG.BIN"), 1<<20)
	if want := strings.Repeat("a", sector) + strings.Repeat("c", sector) + "bbbbbbb"; err != nil || string(data) != want {
		t.Errorf("%v, %d bytes", err, len(data))
	}
}

// TestHostile: what cannot be is told with its byte, and costs nothing.
func TestHostile(t *testing.T) {
	sp := susp("SP", 0xBE, 0xEF, 0)
	for _, c := range []struct {
		name     string
		img      []byte
		files    string
		problems []string
	}{
		{"a directory that holds itself", tiny(dirRecord("SELF", 20, sector, flagDir)), "/SELF",
			[]string{"/SELF/: the directory at byte 40960 was met before: not read again"}},
		{"two that hold one another", func() []byte {
			img := tiny(dirRecord("A", 21, sector, flagDir))
			copy(img[21*sector:], dirRecord("B", 22, sector, flagDir))
			copy(img[22*sector:], dirRecord("C", 21, sector, flagDir))
			return img
		}(), "/A /A/B /A/B/C", []string{"/A/B/C/: the directory at byte 43008 was met before: not read again"}},
		{"2 GiB", tiny(dirRecord("HUGE", 21, 1<<31, flagDir)), "/HUGE", []string{"/HUGE/: the directory at byte 43008 has 2147483648 bytes, more than are read"}},
		{"beyond the end", tiny(dirRecord("FAR", 1<<31, sector, flagDir)), "/FAR", []string{"/FAR/: byte 4398046511104: beyond the end of the image: unexpected EOF"}},
		{"a record too short", tiny([]byte{20}), "", []string{"/: byte 41028: a directory record is damaged"}},
		{"a name too long", tiny(func() []byte { r := dirRecord("A", 25, 0, 0); r[32] = 200; return r }()), "", []string{"/: byte 41028: a directory record is damaged"}},
		{"a name with a slash", tiny(dirRecord("../X", 25, 0, 0)), "", []string{"/: a name that no file can have"}},
		{"twice", tiny(dirRecord("A", 25, 0, 0), dirRecord("A", 26, 0, 0)), "/A", []string{"/A: stands there twice"}},
		{"an extent of another file", tiny(dirRecord("A", 25, 5, flagMultiPart), dirRecord("B", 26, 5, flagMultiPart)), "/A /B",
			[]string{"/A: behind byte 5 of the file: no record of the next extent", "/B: behind byte 5 of the file: no record of the next extent"}},
		{"a continuation that goes on in itself", rocky(sp, susp("CE", both(25)+both(0)+both(28)), func(img []byte) {
			copy(img[25*sector:], susp("CE", both(25)+both(0)+both(28)))
		}), "/A", []string{"record at byte 41036: more than 32 continuation areas"}},
		{"a continuation of 4 GiB", rocky(sp, susp("CE", both(25)+both(0)+both(1<<32-1)), nil), "/A",
			[]string{"record at byte 41036: its continuation: byte 51200: an area of 4294967295 bytes is beyond what is read"}},
		{"a continuation beyond the end", rocky(sp, susp("CE", both(1<<31)+both(0)+both(28)), nil), "/A",
			[]string{"record at byte 41036: its continuation: byte 4398046511104: beyond the end of the image: unexpected EOF"}},
		{"an entry of no length", rocky(sp, "NM\x00\x01\x00", nil), "/A", nil},
		{"an entry longer than the record", rocky(sp, "NM\xff\x01\x00x", nil), "/A", nil},
		{"relocated to what holds it", rocky(sp, susp("CL", both(20)), nil), "/A", []string{"/A/: the directory at byte 40960 was met before: not read again"}},
		{"relocated to zeros", rocky(sp, susp("CL", both(25)), nil), "/A", []string{"/A/: relocated to byte 51200: a directory record is damaged"}},
		{"relocated beyond the end", rocky(sp, susp("CL", both(1<<32-1)), nil), "/A",
			[]string{"/A/: relocated to byte 8796093020160: byte 8796093020160: beyond the end of the image: unexpected EOF"}},
		{"names without end", rocky(sp, susp("CE", both(25)+both(0)+both(4*sector)), func(img []byte) {
			copy(img[25*sector:], strings.Repeat(susp("NM", "\x01"+strings.Repeat("n", 250)), 32))
		}), "", []string{"/: a name that no file can have"}},
	} {
		m := open(t, c.img)
		var files []string
		for _, f := range m.Files {
			files = append(files, f.Path)
		}
		if got := strings.Join(files, " "); got != c.files {
			t.Errorf("%s: %s, want %s", c.name, got, c.files)
		}
		if d := cmp.Diff(c.problems, m.Problems); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		checkTree(t, &m.Tree)
	}
}

// susp is a system use entry.
func susp(kind string, data ...any) string {
	var b strings.Builder
	for _, d := range data {
		if n, ok := d.(int); ok {
			b.WriteByte(byte(n))
		} else {
			b.WriteString(d.(string)) // the only other type that is passed
		}
	}
	return kind + string([]byte{byte(4 + b.Len()), 1}) + b.String()
}

// both is a number in both byte orders.
func both(n uint32) string {
	b := binary.LittleEndian.AppendUint32(nil, n)
	return string(binary.BigEndian.AppendUint32(b, n))
}

// rocky is a tiny image with Rock Ridge, of one file with the entries given.
func rocky(root, entries string, edit func([]byte)) []byte {
	with := func(r []byte, use string) []byte {
		r = append(r, use...)
		if len(r)%2 == 1 {
			r = append(r, 0)
		}
		r[0] = byte(len(r))
		return r
	}
	img := tiny()
	self := with(dirRecord("\x00", 20, sector, flagDir), root)
	at := 20 * sector
	for _, r := range [][]byte{self, dirRecord("\x01", 20, sector, flagDir), with(dirRecord("A", 26, 1, 0), entries)} {
		at += copy(img[at:], r)
	}
	if edit != nil {
		edit(img)
	}
	return img
}

// TestTruncated: an image cut at any sector says so, and states nothing that
// the whole one does not, but that a kernel is cut off.
func TestTruncated(t *testing.T) {
	for name, data := range images(t) {
		whole := map[string]bool{}
		for _, f := range facts(data) {
			whole[f] = true
		}
		for n := 0; n < len(data); n += sector {
			said := false
			for _, f := range facts(data[:n]) {
				said = said || strings.HasPrefix(f, "problem ")
				if !whole[f] && !strings.HasPrefix(f, "problem ") && !strings.Contains(f, "= truncated") {
					t.Errorf("%s cut at %d: %s", name, n, f)
				}
			}
			if !said {
				t.Errorf("%s cut at %d: nobody says so", name, n)
			}
		}
	}
}

// TestFlipped: damaged images end, never panic, and hold to their bounds.
func TestFlipped(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewSource(1))
	for _, data := range images(t) {
		// What is damaged: system area, descriptors, directories.
		heads := int64(min(len(data), 64<<10))
		for range flips() {
			bad := map[int64]byte{}
			for range 1 + rnd.Intn(20) {
				bad[rnd.Int63n(heads)] = byte(rnd.Intn(256))
			}
			if m, err := Open(patched{bytes.NewReader(data), bad}, int64(len(data))); err == nil {
				checkTree(t, &m.Tree)
				checkPartitions(t, m)
			}
		}
	}
}

// TestFlippedFacts: neither do the loaders.
func TestFlippedFacts(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for name, data := range images(t) {
		for range flips() / 20 {
			bad := bytes.Clone(data)
			for range 1 + rnd.Intn(20) {
				bad[16*sector+rnd.Intn(len(bad)-16*sector)] = byte(rnd.Intn(256))
			}
			for _, f := range facts(bad) {
				if strings.Contains(f, "internal error") {
					t.Fatalf("%s: %s", name, f)
				}
			}
		}
	}
}

// checkTree holds a tree, damaged as it may be, to what is bounded: no record
// is shorter than 34 bytes, though directories may overlap by sectors; the view
// as a file system ends; what is read is what was said.
func checkTree(t *testing.T, v *Tree) {
	t.Helper()
	if int64(len(v.Files)) > v.Size {
		t.Errorf("%d entries in %d bytes", len(v.Files), v.Size)
	}
	for _, f := range v.Files {
		if f.Size > 1<<20 {
			continue
		}
		switch b, err := v.ReadFile(f, 1<<20); {
		case err == nil && int64(len(b)) != f.Size:
			t.Errorf("%s: %d bytes of %d", f.Path, len(b), f.Size)
		case err == nil && !v.Whole(f):
			t.Errorf("%s: read, but not in the volume", f.Path)
		case err != nil && v.Whole(f) && f.Mode.IsRegular():
			t.Errorf("%s: %v", f.Path, err)
		}
	}
	n := 0
	err := fs.WalkDir(v.FS(), ".", func(p string, _ fs.DirEntry, err error) error {
		switch {
		case err == nil:
			n++
		case utf8.ValidString(p): // else it is listed, but cannot be opened
			return err
		}
		return nil
	})
	if err != nil || n > len(v.Files)+1 {
		t.Errorf("%d of %d files, %v", n, len(v.Files), err)
	}
}

// FuzzISO damages an image: every four bytes of patch are an offset behind the
// system area and a value.
func FuzzISO(f *testing.F) {
	all := images(f)
	all["tiny"] = tiny(dirRecord("SELF", 20, sector, flagDir), dirRecord("A.;1", 25, sector, flagMultiPart), dirRecord("A.;1", 26, 9, 0))
	names := make([]string, 0, len(all))
	for n := range all {
		names = append(names, n)
	}
	sort.Strings(names)
	for i := range names {
		f.Add(byte(i), []byte{0, 0, 80, 1, 0, 32, 158, 24})
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		data := bytes.Clone(all[names[int(which)%len(names)]])
		body := data[16*sector:]
		for ; len(patch) >= 4; patch = patch[4:] {
			at := int(patch[0])<<16 | int(patch[1])<<8 | int(patch[2])
			body[at%len(body)] = patch[3]
		}
		checkImage(t, data)
	})
}

func checkImage(t *testing.T, data []byte) {
	m, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return
	}
	checkTree(t, &m.Tree)
	checkPartitions(t, m)
	for _, s := range facts(data) {
		if strings.Contains(s, "internal error") {
			t.Error(s)
		}
	}
}
