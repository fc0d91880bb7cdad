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
	"sort"
	"strings"
	"testing"

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

// TestXorriso: the tree is the one that xorriso finds: names, modes, sizes,
// links and the bytes of files.
func TestXorriso(t *testing.T) {
	if _, err := exec.LookPath("xorriso"); err != nil {
		t.Skip("no xorriso")
	}
	for name, data := range images(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			image := filepath.Join(dir, name)
			if err := os.WriteFile(image, data, 0o600); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(dir, "tree")
			args := []string{"-indev", image, "-osirrox", "on", "-extract", "/", out}
			if text, err := exec.Command("xorriso", args...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			m, perm := open(t, data), name != "joliet.iso"
			if d := cmp.Diff(extracted(t, out, perm), hashed(t, m, perm)); d != "" {
				t.Errorf("-xorriso +ours\n%s", d)
			}
			for _, p := range m.Problems {
				t.Error(p)
			}
		})
	}
}

// line leaves out permissions where the image has none: there they are
// xorriso's own choice.
func line(perm bool, p string, mode fs.FileMode, size int64, link string, data []byte) string {
	sum := ""
	if mode.IsRegular() {
		sum = fmt.Sprintf("%x", sha256.Sum256(data))[:12]
	} else {
		size = 0
	}
	if !perm || mode&fs.ModeSymlink != 0 {
		mode = mode.Type()
	}
	return fmt.Sprintf("%s %d %s %s%s", mode, size, p, link, sum)
}

func extracted(t *testing.T, root string, perm bool) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		link := ""
		if info.Mode().IsRegular() {
			data, err = os.ReadFile(p)
		} else if info.Mode()&fs.ModeSymlink != 0 {
			link, err = os.Readlink(p)
		}
		out = append(out, line(perm, strings.TrimPrefix(p, root), info.Mode(), info.Size(), link, data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return out
}

func hashed(t *testing.T, m *Image, perm bool) []string {
	t.Helper()
	var out []string
	for _, f := range m.Files {
		var data []byte
		if f.Mode.IsRegular() {
			var err error
			if data, err = m.ReadFile(f, 1<<20); err != nil {
				t.Error(err)
			}
		}
		out = append(out, line(perm, f.Path, f.Mode, f.Size, f.Link, data))
	}
	sort.Strings(out)
	return out
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

// TestCycles: a directory that holds itself, and two that hold one another.
func TestCycles(t *testing.T) {
	m := open(t, tiny(dirRecord("SELF", 20, sector, flagDir), dirRecord("HUGE", 21, 1<<31, flagDir), dirRecord("FAR", 1<<31, sector, flagDir)))
	if len(m.Files) != 3 || len(m.Problems) != 3 || !m.Partial {
		t.Errorf("%v %v", listing(m), m.Problems)
	}
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

// TestFlipped: damaged images end and never panic.
func TestFlipped(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	for name, data := range images(t) {
		for range 1500 {
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
	// No record is shorter than 34 bytes; directories may overlap by sectors.
	if len(m.Files) > len(data) {
		t.Errorf("%d entries in %d bytes", len(m.Files), len(data))
	}
	for _, f := range m.Files {
		if b, err := m.ReadFile(f, 1<<20); err == nil && int64(len(b)) != f.Size {
			t.Errorf("%s: %d bytes of %d", f.Path, len(b), f.Size)
		}
	}
	for _, s := range facts(data) {
		if strings.Contains(s, "internal error") {
			t.Error(s)
		}
	}
}
