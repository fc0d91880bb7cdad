package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// volumes are the FAT volumes of testdata/build.sh, by kind.
var volumes = sync.OnceValue(func() map[string][]byte {
	all := map[string][]byte{}
	for _, bits := range []string{"12", "16", "32"} {
		all[bits] = unzip("testdata/fat" + bits + ".img.gz")
	}
	return all
})

// patched is bytes of which some are damaged.
type patched struct {
	io.ReaderAt
	bad map[int64]byte
}

func (p patched) ReadAt(b []byte, at int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, at)
	for i, c := range p.bad {
		if i >= at && i < at+int64(n) {
			b[i-at] = c
		}
	}
	return n, err
}

func openVolume(t testing.TB, data []byte) *Tree {
	t.Helper()
	v, err := OpenFAT(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFAT: what build.sh put into each of the three kinds.
func TestFAT(t *testing.T) {
	var seq strings.Builder
	for i := range 4000 {
		fmt.Fprintln(&seq, i+1)
	}
	for bits, data := range volumes() {
		v := openVolume(t, data)
		want := []string{"/EFI", "/EFI/BOOT", "/EFI/BOOT/GRUB.CFG", "/EFI/BOOT/pieces.txt", "/Größe – 100 %.txt", "/many", "/" + strings.Repeat("n", 250) + ".cfg"}
		for i := 10; i <= 40; i++ {
			p := fmt.Sprintf("/many/a name that no 8.3 name holds %d.conf", i)
			want = append(want, p)
			b, err := v.ReadFile(v.byPath[p], 1<<20)
			if err != nil || string(b) != strings.Repeat(fmt.Sprint(i), 350) {
				t.Errorf("FAT%s: %s: %v, %d bytes", bits, p, err, len(b))
			}
		}
		sort.Strings(want)
		var got []string
		for _, f := range v.Files {
			got = append(got, f.Path)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("FAT%s: -want +got\n%s", bits, d)
		}
		for _, p := range v.Problems {
			t.Errorf("FAT%s: %s", bits, p)
		}
		pieces := v.byPath["/EFI/BOOT/pieces.txt"]
		if len(pieces.Extents) < 2 {
			t.Errorf("FAT%s: the file in pieces is in one: %v", bits, pieces.Extents)
		}
		if err := iotest.TestReader(v.Reader(pieces), []byte(seq.String())); err != nil {
			t.Errorf("FAT%s: %v", bits, err)
		}
		if in, err := fs.Stat(v.FS(), "efi/boot/grub.cfg"); err != nil || in.Mode() != 0o444 {
			t.Errorf("FAT%s: %v, %v", bits, in, err)
		}
	}
}

func TestFATFS(t *testing.T) {
	for bits, data := range volumes() {
		checkFS(t, "FAT"+bits, openVolume(t, data).FS(), []string{"EFI/BOOT/GRUB.CFG", "EFI/BOOT/pieces.txt", "many"}, nil)
	}
}

// TestFATLoader: the volume as loaders ask for it.
func TestFATLoader(t *testing.T) {
	v := &fat{openVolume(t, volumes()["12"])}
	if d := cmp.Diff([]string{"GRUB.CFG", "pieces.txt"}, v.list("/efi/boot")); d != "" {
		t.Error(d)
	}
	for _, p := range []string{"/EFI/BOOT/grub.cfg", "/EFI/Boot/PIECES.TXT", "/many/ANAMET~1.CON", "/many/A NAME THAT no 8.3 name holds 40.conf"} {
		if !v.has(p) || v.files("x")(p) == nil {
			t.Errorf("%s is not there", p)
		}
	}
	for _, p := range []string{"/EFI/BOOT", "/EFI/BOOT/grub.cf", "/EFI/BOOT/GRUB.CFG/x", "/many/p10", "/"} {
		if v.has(p) || v.files("x")(p) != nil {
			t.Errorf("%s is there", p)
		}
	}
}

// TestMtools: names, sizes, times and bytes are those that mtools extracts.
func TestMtools(t *testing.T) {
	if _, err := exec.LookPath("mcopy"); err != nil {
		t.Skip("no mtools")
	}
	for bits, data := range volumes() {
		dir := t.TempDir()
		image, out := filepath.Join(dir, "x.img"), filepath.Join(dir, "out")
		if err := os.WriteFile(image, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(out, 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("mcopy", "-s", "-m", "-n", "-i", image, "::/*", out)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff(treeOf(t, os.DirFS(out)), treeOf(t, openVolume(t, data).FS())); d != "" {
			t.Errorf("FAT%s: -mtools +ours\n%s", bits, d)
		}
	}
}

// treeOf is a line a file: path, size, time and sum of the bytes.
func treeOf(t *testing.T, fsys fs.FS) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if d.IsDir() {
			out = append(out, p+"/")
			return nil
		}
		in, err := d.Info()
		if err != nil {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		out = append(out, fmt.Sprintf("%s %d %s %.12x", p, in.Size(), in.ModTime().UTC().Format(time.DateTime), sum(b)))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// The volume of tinyFAT: FAT12, sectors and clusters of 512 bytes, the table in
// sector 1, the root directory in sector 2, cluster 2 in sector 3.
const (
	tinyTable = 512
	tinyRoot  = 2 * 512
	tinyData  = 3 * 512
)

func tinyFAT(chains map[int]int, root ...[]byte) []byte {
	img := make([]byte, 64*512)
	copy(img, "\xeb\x3c\x90")
	binary.LittleEndian.PutUint16(img[11:], 512)
	img[13], img[14], img[16] = 1, 1, 1
	binary.LittleEndian.PutUint16(img[17:], 16)
	binary.LittleEndian.PutUint16(img[19:], 64)
	img[22], img[510], img[511] = 1, 0x55, 0xAA
	for c, n := range chains {
		at := tinyTable + c + c/2
		v := binary.LittleEndian.Uint16(img[at:])
		if c%2 == 1 {
			n <<= 4
		}
		binary.LittleEndian.PutUint16(img[at:], v|uint16(n))
	}
	copy(img[tinyRoot:], bytes.Join(root, nil))
	return img
}

// fatRecord is an entry with a name of eleven characters.
func fatRecord(name string, attr byte, first, size int) []byte {
	e := make([]byte, 32)
	copy(e, name)
	e[11] = attr
	binary.LittleEndian.PutUint16(e[26:], uint16(first))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}

// longRecord is a part of a long name, which goes with the short name given.
func longRecord(part byte, text, short string) []byte {
	e := bytes.Repeat([]byte{0xFF}, 32)
	e[0], e[11], e[12], e[26], e[27] = part, attrLong, 0, 0, 0
	e[13] = 0
	for _, c := range []byte(short) {
		e[13] = e[13]>>1 | e[13]<<7
		e[13] += c
	}
	u := []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}
	for i, at := range u {
		switch {
		case i < len(text):
			binary.LittleEndian.PutUint16(e[at:], uint16(text[i]))
		case i == len(text):
			binary.LittleEndian.PutUint16(e[at:], 0)
		}
	}
	return e
}

// TestFATDamaged: each damage is told with its byte, and what is sound remains.
func TestFATDamaged(t *testing.T) {
	const short = "LONGNA~1TXT"
	loop := func() []byte {
		img := tinyFAT(map[int]int{2: 0xFFF, 3: 0xFFF}, fatRecord("A          ", attrDir, 2, 0))
		copy(img[tinyData:], fatRecord("B          ", attrDir, 3, 0))
		copy(img[tinyData+512:], fatRecord("C          ", attrDir, 2, 0))
		return img
	}
	for _, c := range []struct {
		name     string
		img      []byte
		files    string // path, size in the volume, size it gives
		problems []string
	}{
		{"sound", tinyFAT(map[int]int{2: 4, 4: 0xFFF}, fatRecord("A       TXT", 0, 2, 600)), "/A.TXT 600/600", nil},
		{"a chain into itself", tinyFAT(map[int]int{2: 3, 3: 2}, fatRecord("A          ", 0, 2, 1<<32-1)), "/A 1024/4294967295",
			[]string{"/A: byte 516 leads to cluster 2, which was met before"}},
		{"a directory's chain into itself", tinyFAT(map[int]int{2: 2}, fatRecord("A          ", attrDir, 2, 0)), "/A 512/0",
			[]string{"/A: byte 515 leads to cluster 2, which was met before"}},
		{"directories that hold one another", loop(), "/A 512/0, /A/B 512/0, /A/B/C 0/0",
			[]string{"/A/B/C: its entry leads to cluster 2, which was met before"}},
		{"two files of one cluster", tinyFAT(map[int]int{2: 0xFFF}, fatRecord("A          ", 0, 2, 1), fatRecord("B          ", 0, 2, 1)), "/A 1/1, /B 0/1",
			[]string{"/B: its entry leads to cluster 2, which was met before"}},
		{"no such cluster", tinyFAT(map[int]int{2: 3000}, fatRecord("A          ", 0, 2, 513), fatRecord("B          ", 0, 1, 1)), "/A 512/513, /B 0/1",
			[]string{"/A: byte 515 leads to cluster 3000, which is none", "/B: its entry leads to cluster 1, which is none"}},
		{"a free cluster", tinyFAT(nil, fatRecord("A          ", 0, 2, 513)), "/A 512/513", []string{"/A: byte 515 leads to cluster 0, which is none"}},
		{"a chain too short", tinyFAT(map[int]int{2: 0xFF8}, fatRecord("A          ", 0, 2, 600)), "/A 512/600",
			[]string{"/A: byte 515 ends the file, of which 88 bytes are left"}},
		{"long name", tinyFAT(nil, longRecord(0x42, "t", short), longRecord(1, "long name.tx!", short), fatRecord(short, 0, 0, 0)), "/long name.tx!t 0/0", nil},
		{"long name of another", tinyFAT(nil, longRecord(0x41, "long", "OTHERN~1TXT"), fatRecord(short, 0, 0, 0)), "/LONGNA~1.TXT 0/0", nil},
		{"long name without its beginning", tinyFAT(nil, longRecord(0x42, "t", short), fatRecord(short, 0, 0, 0)), "/LONGNA~1.TXT 0/0", nil},
		{"long name out of order", tinyFAT(nil, longRecord(0x43, "c", short), longRecord(1, "a", short), longRecord(2, "b", short), fatRecord(short, 0, 0, 0)), "/LONGNA~1.TXT 0/0", nil},
		{"long name of a deleted file", tinyFAT(nil, longRecord(0x41, "gone", short), fatRecord("\xe5          ", 0, 0, 0), fatRecord(short, 0, 0, 0)), "/LONGNA~1.TXT 0/0", nil},
		{"a name with a slash", tinyFAT(nil, longRecord(0x41, "../../x", short), fatRecord(short, 0, 0, 0), fatRecord("A          ", 0, 0, 0)), "/A 0/0",
			[]string{"/: a name that no file can have"}},
		{"twice", tinyFAT(nil, fatRecord("A          ", 0, 0, 0), fatRecord("A          ", 0, 0, 0)), "/A 0/0", []string{"/A: stands there twice"}},
		{"label, dots, lower case, code page", tinyFAT(nil, fatRecord("LABEL      ", attrLabel, 0, 0), fatRecord(".          ", attrDir, 0, 0),
			func() []byte { e := fatRecord("A\x81      TXT", 0, 0, 0); e[12] = 24; return e }()), "/a\ufffd.txt 0/0", nil},
		{"cut", tinyFAT(map[int]int{2: 3, 3: 0xFFF}, fatRecord("A          ", 0, 2, 600))[:tinyData+512], "/A 600/600",
			[]string{"truncated: the volume has 32768 bytes, 30720 of them are not there"}},
	} {
		v, err := OpenFAT(bytes.NewReader(c.img), int64(len(c.img)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var files []string
		for _, f := range v.Files {
			var n int64
			for _, e := range f.Extents {
				n += e.Length
			}
			files = append(files, fmt.Sprintf("%s %d/%d", f.Path, n, f.Size))
			if _, err := v.ReadFile(f, 1<<32); (err == nil) != (v.Whole(f) && f.Mode.IsRegular()) {
				t.Errorf("%s: %s: %v", c.name, f.Path, err)
			}
		}
		if got := strings.Join(files, ", "); got != c.files {
			t.Errorf("%s: %s, want %s", c.name, got, c.files)
		}
		if d := cmp.Diff(c.problems, v.Problems); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if lost := slices.ContainsFunc(v.Files, func(f *File) bool { return f.Mode.IsDir() }) && len(c.problems) > 0; v.Partial != lost {
			t.Errorf("%s: partial %v", c.name, v.Partial)
		}
	}
}

// TestNoFAT: what is no volume is told with the byte that says so.
func TestNoFAT(t *testing.T) {
	for want, damage := range map[string]func([]byte) []byte{
		"boot sector: byte 100: ": func(b []byte) []byte { return b[:100] },
		"byte 510: ":              func(b []byte) []byte { b[510] = 0; return b },
		"byte 11: ":               func(b []byte) []byte { b[12] = 3; return b },
		"byte 13: ":               func(b []byte) []byte { b[13] = 3; return b },
		"byte 14: ":               func(b []byte) []byte { b[14] = 0; return b },
		"byte 16: ":               func(b []byte) []byte { b[22], b[23] = 255, 255; return b },
		"byte 19: ":               func(b []byte) []byte { b[19] = 3; return b },
	} {
		img := damage(tinyFAT(nil))
		_, err := OpenFAT(bytes.NewReader(img), int64(len(img)))
		if !errors.Is(err, errNoFAT) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, cut := range []int{512, 600, tinyRoot, tinyRoot + 100} {
		img := tinyFAT(nil)[:cut]
		if _, err := OpenFAT(bytes.NewReader(img), int64(cut)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("byte %d: ", cut)) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

// checkVolume holds a volume, damaged as it may be, to what is bounded.
func checkVolume(t *testing.T, r io.ReaderAt, size int64) {
	t.Helper()
	v, err := OpenFAT(r, size)
	if err != nil {
		return
	}
	var all int64
	for i, f := range v.Files {
		for _, e := range f.Extents {
			all += e.Length
		}
		if i >= 20 {
			continue
		}
		switch b, err := v.ReadFile(f, 1<<20); {
		case err == nil && int64(len(b)) != f.Size:
			t.Errorf("%s: %d bytes of %d", f.Path, len(b), f.Size)
		case err == nil && !v.Whole(f):
			t.Errorf("%s: read, but not in the volume", f.Path)
		}
	}
	if all > 1<<41 { // a FAT32 volume has 2^32 sectors of at most 4 KiB
		t.Errorf("files of %d bytes in all", all)
	}
	n := 0
	if err := fs.WalkDir(v.FS(), ".", func(_ string, _ fs.DirEntry, err error) error { n++; return nil }); err != nil || n > len(v.Files)+1 {
		t.Errorf("%d of %d files, %v", n, len(v.Files), err)
	}
}

// flips is how many damaged copies of each kind are read.
func flips() int {
	if testing.Short() {
		return 500
	}
	return 10_000
}

// TestFATFlipped: damaged volumes end, never panic, and hold to their bounds.
func TestFATFlipped(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewSource(1))
	for _, data := range volumes() {
		heads := 64 << 10 // what is damaged: boot sector, tables, directories
		for range flips() {
			bad := map[int64]byte{}
			for range 1 + rnd.Intn(10) {
				bad[int64(rnd.Intn(heads))] = byte(rnd.Intn(256))
			}
			checkVolume(t, patched{bytes.NewReader(data), bad}, int64(len(data)))
		}
	}
}

// TestFATTruncated: a volume that ends early says so, or is none.
func TestFATTruncated(t *testing.T) {
	for bits, data := range volumes() {
		for n := 0; n < min(len(data), 1<<20); n += 512 {
			v, err := OpenFAT(bytes.NewReader(data[:n]), int64(n))
			if err == nil && len(v.Problems) == 0 {
				t.Errorf("FAT%s cut at %d: nobody says so", bits, n)
			}
		}
	}
}

// FuzzFAT damages a volume: every four bytes of patch are an offset and a value.
func FuzzFAT(f *testing.F) {
	for i := range 4 {
		f.Add(byte(i), []byte{0, 0, 13, 1, 0, 2, 0, 24}, uint32(1<<31))
	}
	kinds := []string{"12", "16", "32"}
	f.Fuzz(func(t *testing.T, which byte, patch []byte, cut uint32) {
		data := tinyFAT(map[int]int{2: 3, 3: 0xFFF}, fatRecord("A          ", attrDir, 2, 0))
		if i := int(which) % 4; i < len(kinds) {
			data = volumes()[kinds[i]]
		}
		bad := map[int64]byte{}
		for ; len(patch) >= 4; patch = patch[4:] {
			bad[int64(patch[0])<<16|int64(patch[1])<<8|int64(patch[2])] = patch[3]
		}
		checkVolume(t, patched{bytes.NewReader(data), bad}, min(int64(cut), int64(len(data))))
	})
}
