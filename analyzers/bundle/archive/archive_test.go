package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

// member is a member of an archive that a test makes. A name that ends in "/"
// is a directory, a text that starts with "-> " a symbolic link, with "=> " a
// hard link.
type member struct{ name, text string }

// tree is what a run may leave behind.
var tree = []member{
	{"boot/", ""},
	{"boot/serial.log", "SeaBIOS (version 1.16)\r\r\n"},
	{"boot/logs/journal.txt", "Mar 06 07:08:35 nixos systemd[1]: Starting x...\n"},
	{"boot/logs/empty", ""},
}

func makeTar(t testing.TB, ms ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range ms {
		h := &tar.Header{Name: m.name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(m.text))}
		switch target, isLink := strings.CutPrefix(m.text, "-> "); {
		case isLink:
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, target, 0
		case strings.HasPrefix(m.text, "=> "):
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, m.text[3:], 0
		case strings.HasSuffix(m.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		must(t, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := io.WriteString(w, m.text)
			must(t, err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

func makeZip(t testing.TB, method uint16, ms ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range ms {
		h := &zip.FileHeader{Name: m.name, Method: method}
		target, isLink := strings.CutPrefix(m.text, "-> ")
		if isLink {
			h.SetMode(fs.ModeSymlink | 0o777)
			m.text = target
		}
		f, err := w.CreateHeader(h)
		must(t, err)
		_, err = io.WriteString(f, m.text)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	must(t, err)
	return w.EncodeAll(data, nil)
}

// xzed skips the test where there is no xz: no library that is used writes it.
func xzed(t testing.TB, data []byte) []byte {
	t.Helper()
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz")
	}
	c := exec.Command(xz, "-c")
	c.Stdin = bytes.NewReader(data)
	out, err := c.Output()
	must(t, err)
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, data []byte) *FS {
	t.Helper()
	f, err := Open(fstest.MapFS{"a": {Data: data}}, "a", NewBudget())
	must(t, err)
	return f
}

// read is fs.ReadFile without its trust in the size.
func read(f *FS, name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}

// list returns the files as "name=content", sorted, and the problems as
// "name: text".
func list(t testing.TB, f *FS) (files, problems []string) {
	t.Helper()
	must(t, fs.WalkDir(f, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := read(f, p)
		if err != nil {
			data = []byte(err.Error())
		}
		files = append(files, p+"="+string(data))
		return nil
	}))
	for _, p := range f.Problems() {
		problems = append(problems, p.Name+": "+p.Text)
	}
	return files, problems
}

var formats = []struct {
	name string
	make func(testing.TB, ...member) []byte
}{
	{"tar", makeTar},
	{"tar.gz", func(t testing.TB, ms ...member) []byte { return gzipped(t, makeTar(t, ms...)) }},
	{"tar.zst", func(t testing.TB, ms ...member) []byte { return zstded(t, makeTar(t, ms...)) }},
	{"tar.xz", func(t testing.TB, ms ...member) []byte { return xzed(t, makeTar(t, ms...)) }},
	{"zip", func(t testing.TB, ms ...member) []byte { return makeZip(t, zip.Deflate, ms...) }},
	{"zip stored", func(t testing.TB, ms ...member) []byte { return makeZip(t, zip.Store, ms...) }},
}

func TestFormats(t *testing.T) {
	for _, format := range formats {
		t.Run(format.name, func(t *testing.T) {
			data := format.make(t, tree...)
			if got := Sniff(data); got != Archive {
				t.Fatalf("sniffed as %d", got)
			}
			f := open(t, data)
			must(t, fstest.TestFS(f, "boot/serial.log", "boot/logs/journal.txt", "boot/logs/empty"))
			files, problems := list(t, f)
			want := []string{"boot/logs/empty=", "boot/logs/journal.txt=" + tree[2].text, "boot/serial.log=" + tree[1].text}
			if !slices.Equal(files, want) || problems != nil {
				t.Errorf("files %q\nwant %q\nproblems %q", files, want, problems)
			}
		})
	}
}

// TestMembers: what names, links and repetitions come to. Where zip files have
// no such members, want is for tar files only.
func TestMembers(t *testing.T) {
	tests := []struct {
		name     string
		members  []member
		files    []string
		problems []string // prefixes
		tarOnly  bool
	}{
		{"dots and slashes", []member{{"./", ""}, {"./a", "1"}, {"/b", "2"}, {"c/./d", "3"}, {"e//f", "4"}},
			[]string{"a=1", "b=2", "c/d=3", "e/f=4"}, nil, false},
		{"names that climb", []member{{"../a", "1"}, {"b/../../c", "2"}, {"d/..", "3"}, {"ok", "4"}, {"..ok", "5"}},
			[]string{"..ok=5", "ok=4"}, []string{"../a: a name that leads out", "b/../../c: a name that leads out", "d/..: a name that leads out"}, false},
		{"no name", []member{{"/", ""}, {"a", "1"}}, []string{"a=1"}, nil, false},
		{"no UTF-8", []member{{"a\xff", "1"}}, []string{"a\uFFFD=1"}, nil, false},
		{"a long name", []member{{strings.Repeat("x", maxName+1), "1"}, {"a", "2"}}, []string{"a=2"}, []string{strings.Repeat("x", 200) + ": a name of more"}, false},
		{"a deep name", []member{{strings.Repeat("d/", maxDepth) + "x", "1"}, {"a", "2"}}, []string{"a=2"}, []string{strings.Repeat("d/", maxDepth) + "x: deeper"}, false},
		{"a name twice", []member{{"a", "1"}, {"./a", "2"}}, []string{"a=2"}, []string{"a: there more than once"}, false},
		{"a directory twice", []member{{"d/", ""}, {"d/", ""}, {"d/a", "1"}}, []string{"d/a=1"}, nil, false},
		{"a file, then a directory", []member{{"a", "1"}, {"a/b", "2"}, {"a/", ""}}, []string{"a=1"}, []string{"a/b: a file and a directory", "a: a file and a directory"}, false},
		{"a directory, then a file", []member{{"a/b", "2"}, {"a", "1"}}, []string{"a/b=2"}, []string{"a: a file and a directory"}, false},
		{"links", []member{{"d/a", "1"}, {"b", "-> d/a"}, {"d/c", "-> ../b"}, {"e", "-> later"}, {"later", "2"}},
			[]string{"b=1", "d/a=1", "d/c=1", "e=2", "later=2"}, nil, false},
		{"links that lead out", []member{{"a", "-> ../../etc/passwd"}, {"b", "-> /etc/passwd"}, {"c", "-> nothing"}, {"d/x", "-> .."}},
			nil, []string{"a: a link that leads out", "b: a link that leads out", "c: a link to what is not"}, false},
		{"a link to a directory", []member{{"d/a", "1"}, {"l", "-> d"}}, []string{"d/a=1"}, nil, false},
		{"below a link", []member{{"d/a", "1"}, {"l", "-> d"}, {"l/b", "2"}}, []string{"d/a=1"}, []string{"l/b: a file and a directory"}, false},
		{"links in a ring", []member{{"a", "-> b"}, {"b", "-> a"}}, nil, []string{"a: a link to what is not", "b: a link to what is not"}, false},
		{"a link, then a file", []member{{"a", "-> b"}, {"a", "1"}, {"b", "2"}}, []string{"a=1", "b=2"}, []string{"a: there more than once"}, false},
		{"hard links", []member{{"d/a", "1"}, {"d/b", "=> d/a"}, {"c", "=> ../x"}, {"e", "=> /d/a"}},
			[]string{"d/a=1", "d/b=1", "e=1"}, []string{"../x: a name that leads out"}, true},
	}
	for _, tt := range tests {
		for _, format := range formats {
			if tt.tarOnly && strings.HasPrefix(format.name, "zip") || format.name == "tar.xz" {
				continue
			}
			t.Run(tt.name+"/"+format.name, func(t *testing.T) {
				files, problems := list(t, open(t, format.make(t, tt.members...)))
				match := func(got, prefix string) bool { return strings.HasPrefix(got, prefix) }
				if !slices.Equal(files, tt.files) || !slices.EqualFunc(problems, tt.problems, match) {
					t.Errorf("files %q\nwant %q\nproblems %q\nwant %q", files, tt.files, problems, tt.problems)
				}
			})
		}
	}
}

// TestCut holds that an archive that ends early has what came before, that what
// it has is right, and that something is said.
func TestCut(t *testing.T) {
	members := []member{{"a", strings.Repeat("first ", 200)}, {"b", strings.Repeat("second ", 200)}, {"c", "third"}}
	whole := map[string]string{}
	for _, m := range members {
		whole[m.name] = m.text
	}
	plain := makeTar(t, members...)
	packed := gzipped(t, plain)
	check := func(t *testing.T, data []byte) (files int) {
		f, err := Open(fstest.MapFS{"a": {Data: data}}, "a", NewBudget())
		if err != nil {
			return 0
		}
		got, problems := list(t, f)
		for _, g := range got {
			name, text, _ := strings.Cut(g, "=")
			if !strings.HasPrefix(whole[name], text) {
				t.Fatalf("cut at %d: %s is not a start of the member", len(data), g)
			}
		}
		if len(problems) == 0 {
			t.Fatalf("cut at %d: nothing is said", len(data))
		}
		return len(got)
	}
	end := len(plain) - 2*blockSize - len(members[2].text)
	for n := blockSize; n < end; n += 97 {
		if files := check(t, plain[:n]); files < 1 {
			t.Errorf("cut at %d: no file", n)
		}
	}
	for n := 1; n < len(packed); n++ {
		check(t, packed[:n])
	}
	f := open(t, plain[:2*blockSize+100])
	if _, problems := list(t, f); len(problems) != 1 || !strings.HasPrefix(problems[0], "a: cut off: 612 of 1200 bytes") {
		t.Errorf("problems %q", problems)
	}
}

// TestLimits: quoted sizes cost nothing, real ones no more than the budget.
func TestLimits(t *testing.T) {
	zeros := bytes.Repeat([]byte{0}, 1<<20)
	big := func(t testing.TB, size int64) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		must(t, w.WriteHeader(&tar.Header{Name: "big", Mode: 0o644, Size: size}))
		for n := int64(0); n < size; n += int64(len(zeros)) {
			_, err := w.Write(zeros[:min(size-n, int64(len(zeros)))])
			must(t, err)
		}
		must(t, w.WriteHeader(&tar.Header{Name: "small", Mode: 0o644, Size: 5}))
		_, err := io.WriteString(w, "hello")
		must(t, err)
		must(t, w.Close())
		return b.Bytes()
	}
	t.Run("a large member of a tar file", func(t *testing.T) {
		f := open(t, big(t, MaxMember+1))
		file, err := f.Open("big")
		must(t, err)
		defer file.Close()
		var b [4]byte
		if n, err := file.(io.ReaderAt).ReadAt(b[:], MaxMember-3); n != 4 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	})
	t.Run("a large member of a compressed one", func(t *testing.T) {
		f := open(t, gzipped(t, big(t, MaxMember+1)))
		info, err := fs.Stat(f, "big")
		must(t, err)
		data, err := fs.ReadFile(f, "big")
		if info.Size() != MaxMember+1 || len(data) != headLen || !errors.Is(err, ErrPacked) {
			t.Errorf("size %d, read %d, %v", info.Size(), len(data), err)
		}
		if data, err := fs.ReadFile(f, "small"); string(data) != "hello" || err != nil {
			t.Errorf("the member behind it: %q, %v", data, err)
		}
	})
	t.Run("no memory", func(t *testing.T) {
		f, err := Open(fstest.MapFS{"a": {Data: gzipped(t, makeTar(t, member{"a", "12345678"}, member{"b", "12"}))}}, "a", &Budget{Memory: 4, Work: 1 << 20})
		must(t, err)
		if data, err := fs.ReadFile(f, "a"); string(data) != "1234" || !errors.Is(err, ErrPacked) {
			t.Errorf("read %q, %v", data, err)
		}
	})
	t.Run("no time", func(t *testing.T) {
		b := &Budget{Memory: 1 << 20, Work: 3 * blockSize}
		f, err := Open(fstest.MapFS{"a": {Data: gzipped(t, makeTar(t, tree...))}}, "a", b)
		must(t, err)
		files, problems := list(t, f)
		if len(files) != 1 || len(problems) != 1 || !strings.Contains(problems[0], "more than there is time for") || b.Work != 0 {
			t.Errorf("files %q, problems %q, work left %d", files, problems, b.Work)
		}
	})
	t.Run("many members", func(t *testing.T) {
		var ms []member
		for i := range maxMembers + 10 {
			ms = append(ms, member{fmt.Sprintf("f%d", i), ""})
		}
		for _, format := range formats[:2] {
			files, problems := list(t, open(t, format.make(t, ms...)))
			if len(files) != maxMembers || len(problems) != 1 || !strings.Contains(problems[0], "more than 20000 members") {
				t.Errorf("%s: %d files, problems %q", format.name, len(files), problems)
			}
		}
	})
	t.Run("many problems", func(t *testing.T) {
		var ms []member
		for range 3 * maxProblems {
			ms = append(ms, member{"../x", ""})
		}
		_, problems := list(t, open(t, makeTar(t, ms...)))
		if len(problems) != maxProblems+1 || problems[maxProblems] != ": and 100 more problems" {
			t.Errorf("%d problems, the last %q", len(problems), problems[len(problems)-1])
		}
	})
	t.Run("many links to one file", func(t *testing.T) {
		ms := []member{{"a", "12345"}, {"b", "=> a"}, {"c", "=> a"}}
		f, err := Open(fstest.MapFS{"a": {Data: makeTar(t, ms...)}}, "a", &Budget{Memory: 7})
		must(t, err)
		if files, problems := list(t, f); len(files) != 2 || len(problems) != 1 || !strings.Contains(problems[0], "beyond the memory") {
			t.Errorf("files %q, problems %q", files, problems)
		}
	})
}

// patched returns data with the bytes at the last place of mark, plus off,
// replaced.
func patched(data []byte, mark string, off int, with ...byte) []byte {
	data = slices.Clone(data)
	at := bytes.LastIndex(data, []byte(mark)) + off
	copy(data[at:], with)
	return data
}

// TestZipLies: what headers say is checked.
func TestZipLies(t *testing.T) {
	const entry = "PK\x01\x02" // of the central directory
	whole := makeZip(t, zip.Deflate, member{"a", strings.Repeat("text ", 100)})
	stored := makeZip(t, zip.Store, member{"a", "text"})
	two := makeZip(t, zip.Store, member{"a", "text"}, member{"b", "text"})
	tests := []struct {
		name    string
		data    []byte
		files   []string // prefixes
		problem string
	}{
		{"encrypted", patched(whole, entry, 8, 1), nil, "a: encrypted"},
		{"another method", patched(whole, entry, 10, 12), nil, "a: compressed by method 12"},
		{"a size that is too small", patched(whole, entry, 24, 5, 0), []string{"a=zip: not a valid zip file"}, ""},
		{"a size that is too large", patched(whole, entry, 24, 255, 255, 255, 3), []string{"a=unexpected EOF"}, ""},
		{"a wrong check sum", patched(whole, entry, 16, 1, 2, 3), []string{"a=zip: checksum error"}, ""},
		{"more bytes than there are", patched(stored, entry, 20, 255, 255, 255, 1), nil, "a: damaged"},
		{"another size than bytes", patched(stored, entry, 24, 3), nil, "a: damaged: a stored member of 3 bytes in 4"},
		{"bytes of another member", patched(two, entry, 42, 0, 0, 0, 0), []string{"a=text"}, "b: damaged: its bytes lie outside"},
		{"a place outside", patched(stored, entry, 42, 255, 255, 255, 1), nil, "a: damaged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files, problems := list(t, open(t, tt.data))
			match := func(got, prefix string) bool { return strings.HasPrefix(got, prefix) }
			if !slices.EqualFunc(files, tt.files, match) || !strings.HasPrefix(strings.Join(problems, "|"), tt.problem) || (len(problems) > 0) != (tt.problem != "") {
				t.Errorf("files %q, problems %q", files, problems)
			}
		})
	}
	if _, err := Open(fstest.MapFS{"a": {Data: whole[:len(whole)-1]}}, "a", NewBudget()); err == nil {
		t.Error("a zip file without its end: no error")
	}
}

// TestInflatedLimits: a deflated member that is too large shows its start.
func TestInflatedLimits(t *testing.T) {
	data := makeZip(t, zip.Deflate, member{"a", strings.Repeat("x", 1<<20)}, member{"b", "text"})
	b := &Budget{Memory: headLen + 100, Work: 1 << 30}
	f, err := Open(fstest.MapFS{"a": {Data: data}}, "a", b)
	must(t, err)
	head, err := fs.ReadFile(f, "a")
	if len(head) != headLen || !errors.Is(err, ErrPacked) {
		t.Errorf("read %d, %v", len(head), err)
	}
	if text, err := fs.ReadFile(f, "b"); string(text) != "text" || err != nil {
		t.Errorf("b: %q, %v", text, err)
	}
	_, err = Open(fstest.MapFS{"a": {Data: data}}, "a", &Budget{Memory: 10, Work: 1 << 30})
	must(t, err)
}

// TestSparse: holes are zeros. The header is that of GNU tar's old format, as
// Go cannot write one.
func TestSparse(t *testing.T) {
	tarBin, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar")
	}
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "disk"))
	must(t, err)
	_, err = file.WriteAt([]byte("end"), 1<<20)
	must(t, err)
	must(t, file.Close())
	want, err := os.ReadFile(filepath.Join(dir, "disk"))
	must(t, err)
	for _, format := range []string{"gnu", "pax"} {
		data, err := exec.Command(tarBin, "-C", dir, "--sparse", "--format="+format, "-cf", "-", "disk").Output()
		if err != nil {
			t.Skipf("tar --sparse --format=%s: %v", format, err)
		}
		if len(data) > 1<<19 {
			t.Logf("%s: the file system keeps no holes", format)
		}
		got, err := fs.ReadFile(open(t, data), "disk")
		if !bytes.Equal(got, want) || err != nil {
			t.Errorf("%s: %d bytes, %v", format, len(got), err)
		}
	}
}

func TestUnpack(t *testing.T) {
	text := strings.Repeat("text ", 1000)
	whole := gzipped(t, []byte(text))
	tests := []struct {
		name string
		data []byte
		want string
		err  string
	}{
		{"gzip", whole, text, ""},
		{"zstd", zstded(t, []byte(text)), text, ""},
		{"two streams", append(slices.Clone(whole), whole...), text + text, ""},
		{"no check sum", whole[:len(whole)-8], text, "cut off at byte 5000"},
		{"a wrong check sum", patched(whole, "", -8, 0, 0), text, "damaged or cut off at byte 5000"},
		{"no gzip", []byte("\x1f\x8b\x08\xff"), "", "EOF"},
	}
	for _, tt := range tests {
		if got := Sniff(tt.data); got != Packed {
			t.Errorf("%s: sniffed as %d", tt.name, got)
		}
		data, err := Unpack(fstest.MapFS{"a": {Data: tt.data}}, "a", NewBudget())
		if string(data) != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d bytes, %v", tt.name, len(data), err)
		}
	}
	if got := Peek(whole); string(got) != text {
		t.Errorf("peeked %d bytes", len(got))
	}
	bomb := gzipped(t, make([]byte, MaxMember+1))
	b := NewBudget()
	if data, err := Unpack(fstest.MapFS{"a": {Data: bomb}}, "a", b); data != nil || !errors.Is(err, ErrPacked) || b.Memory != NewBudget().Memory {
		t.Errorf("a bomb: %d bytes, %v, memory left %d", len(data), err, b.Memory)
	}
}

func TestSniff(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want Format
	}{
		{"nothing", nil, Plain},
		{"text", []byte(strings.Repeat("SeaBIOS\r\n", 100)), Plain},
		{"zeros", make([]byte, 1024), Plain},
		{"the word ustar", append(append(bytes.Repeat([]byte("x"), 257), "ustar"...), make([]byte, 300)...), Plain},
		{"an empty zip file", makeZip(t, zip.Store), Archive},
		{"an empty tar file", makeTar(t), Plain},
		{"the first block of a tar file", makeTar(t, member{"a", "1"})[:blockSize], Archive},
		{"less than a block", makeTar(t, member{"a", "1"})[:blockSize-1], Plain},
		{"a compressed file", gzipped(t, []byte("text")), Packed},
		{"the mark of gzip", []byte("\x1f\x8b\x08"), Packed},
	}
	for _, tt := range tests {
		if got := Sniff(tt.data); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

// streamed hides that its files can be read at any offset.
type streamed struct{ fs.FS }

func (s streamed) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return struct{ fs.File }{f}, err
}

// TestNested: an archive in an archive is one, also where its file can only be
// read from the start.
func TestNested(t *testing.T) {
	inner := makeTar(t, tree...)
	for _, outer := range [][]byte{makeTar(t, member{"a", string(inner)}), makeZip(t, zip.Deflate, member{"a", string(inner)})} {
		f, err := Open(streamed{open(t, outer)}, "a", NewBudget())
		must(t, err)
		must(t, fstest.TestFS(f, "boot/serial.log"))
	}
}

// counted counts the files of an FS that are open.
type counted struct {
	fs.FS
	open *int
}

type countedFile struct {
	fs.File
	io.ReaderAt
	open *int
}

func (c counted) Open(name string) (fs.File, error) {
	f, err := c.FS.Open(name)
	if err != nil {
		return nil, err
	}
	*c.open++
	return countedFile{f, f.(io.ReaderAt), c.open}, nil
}

func (f countedFile) Close() error { *f.open--; return f.File.Close() }

// TestClosed: the archive's file is open while a member is, and not longer.
func TestClosed(t *testing.T) {
	for _, format := range formats {
		if format.name == "tar.xz" {
			continue
		}
		n := 0
		f, err := Open(counted{fstest.MapFS{"a": {Data: format.make(t, tree...)}}, &n}, "a", NewBudget())
		must(t, err)
		if n != 0 {
			t.Errorf("%s: open after indexing", format.name)
		}
		a, err := f.Open("boot/serial.log")
		must(t, err)
		b, err := f.Open("boot/serial.log")
		must(t, err)
		if n > 1 {
			t.Errorf("%s: open %d times", format.name, n)
		}
		must(t, a.Close())
		if err := a.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: closed twice: %v", format.name, err)
		}
		if data, err := io.ReadAll(b); string(data) != tree[1].text || err != nil {
			t.Errorf("%s: %q, %v", format.name, data, err)
		}
		must(t, b.Close())
		if n != 0 {
			t.Errorf("%s: still open", format.name)
		}
	}
}

// TestTools: archives as the usual programs make them.
func TestTools(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "boot", "logs"), 0o777))
	for _, m := range tree[1:] {
		must(t, os.WriteFile(filepath.Join(dir, m.name), []byte(m.text), 0o666))
	}
	for _, argv := range [][]string{
		{"tar", "-cf", "-", "boot"}, {"tar", "--format=v7", "-cf", "-", "boot"}, {"tar", "--format=gnu", "-czf", "-", "boot"},
		{"tar", "--format=pax", "-cJf", "-", "boot"}, {"tar", "--zstd", "-cf", "-", "boot"},
		{"zip", "-qr", "-", "boot"}, {"zip", "-q0r", "-", "boot"},
	} {
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			bin, err := exec.LookPath(argv[0])
			if err != nil {
				t.Skip(err)
			}
			c := exec.Command(bin, argv[1:]...)
			c.Dir = dir
			data, err := c.Output()
			if err != nil {
				t.Skip(err)
			}
			files, problems := list(t, open(t, data))
			if want := []string{"boot/logs/empty=", "boot/logs/journal.txt=" + tree[2].text, "boot/serial.log=" + tree[1].text}; !slices.Equal(files, want) || problems != nil {
				t.Errorf("files %q, problems %q", files, problems)
			}
		})
	}
}

func FuzzArchive(f *testing.F) {
	for _, format := range formats {
		if format.name != "tar.xz" {
			f.Add(format.make(f, tree...))
			f.Add(format.make(f, member{"a", "-> b"}, member{"b", "1"}, member{"../c", "2"}, member{"b/c", "3"}))
		}
	}
	if xz, err := exec.LookPath("xz"); err == nil {
		c := exec.Command(xz, "-c")
		c.Stdin = bytes.NewReader(makeTar(f, tree...))
		if out, err := c.Output(); err == nil {
			f.Add(out)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{"a": {Data: data}}
		budget := func() *Budget { return &Budget{Memory: 1 << 20, Work: 4 << 20} }
		if Sniff(data) == Packed {
			if got, _ := Unpack(fsys, "a", budget()); len(got) > 1<<20 {
				t.Fatalf("%d bytes are beyond the memory", len(got))
			}
			Peek(data)
		}
		a, err := Open(fsys, "a", budget())
		if err != nil {
			return
		}
		files, problems := list(t, a)
		b, err := Open(fsys, "a", budget())
		if err != nil {
			t.Fatal("opened once, then:", err)
		}
		again, problemsAgain := list(t, b)
		if !slices.Equal(files, again) || !slices.Equal(problems, problemsAgain) {
			t.Fatal("read twice, it differs")
		}
		kept := 0
		for _, n := range a.nodes {
			switch c := n.content.(type) {
			case held:
				kept += len(c)
			case part:
				kept += len(c)
			}
		}
		if kept > 1<<20 {
			t.Fatalf("%d bytes held", kept)
		}
	})
}
