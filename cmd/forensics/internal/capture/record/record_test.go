package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"forensics/analyzers/bundle"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func create(t testing.TB) *Bundle {
	t.Helper()
	b, err := Create(filepath.Join(t.TempDir(), "run"), "forensics", "v1.2.3", start)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// manifest reads the manifest of a bundle.
func manifest(t testing.TB, dir string) Manifest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		t.Fatal(err)
	}
	var m Manifest
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return m
}

// check holds the manifest's files against the directory: no more, no fewer.
func check(t testing.TB, dir string, m Manifest) {
	t.Helper()
	listed := map[string]bool{}
	for _, f := range m.Files {
		listed[f.Path] = true
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Error(err)
		}
		if sum := sha256.Sum256(data); int64(len(data)) != f.Size || hex.EncodeToString(sum[:]) != f.SHA256 {
			t.Errorf("%s: %d bytes, sha256 %x; listed are %d, %s", f.Path, len(data), sum, f.Size, f.SHA256)
		}
	}
	filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			t.Error(err)
			return nil
		}
		name, _ := filepath.Rel(dir, p)
		if name = filepath.ToSlash(name); !e.IsDir() && name != manifestName && !listed[name] {
			t.Errorf("%s is there and not listed", name)
		}
		return nil
	})
}

func write(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if n, err := io.WriteString(w, s); n != len(s) || err != nil {
		t.Errorf("%d bytes written: %v", n, err)
	}
}

func TestBundle(t *testing.T) {
	b := create(t)
	if m := manifest(t, b.Dir()); m.Complete || m.Why != unfinished || m.Schema != Schema || m.Tool != (Tool{"forensics", "v1.2.3"}) || !m.Start.Equal(start) || m.End != nil {
		t.Errorf("at the start: %+v", m)
	}
	serial, err := b.File("serial.log")
	if err != nil {
		t.Fatal(err)
	}
	write(t, serial, "SeaBIOS (version 1.16.2)\r\n")
	// The bytes are there before anything is closed.
	if data, err := os.ReadFile(filepath.Join(b.Dir(), "serial.log")); string(data) != "SeaBIOS (version 1.16.2)\r\n" || err != nil {
		t.Errorf("%q %v", data, err)
	}
	write(t, serial, "Linux version 6.1\r\n")
	for i := range 3 {
		if err := b.Append("host/probes.jsonl", map[string]any{"name": fmt.Sprint(i), "where": "host", "argv": []string{"x"}, "exit_status": 0}); err != nil {
			t.Error(err)
		}
	}
	for _, text := range []string{"first", `{"argv": ["qemu-system-x86_64"], "pid": 7}`} {
		if err := b.WriteFile("qemu.json", []byte(text)); err != nil {
			t.Error(err)
		}
	}
	if err := b.WriteFile("iso/a/b/grub.cfg", nil); err != nil {
		t.Error(err)
	}
	// QEMU writes its screenshot itself.
	if err := os.WriteFile(filepath.Join(b.Dir(), "screen.png"), []byte("\x89PNG\r\n\x1a\n\x00\x00\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Note("the guest has no virtio-serial port")
	if err := b.Finish(true, "not told when all is well"); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, b.Dir())
	if !m.Complete || m.Why != "" || m.End == nil || !slices.Equal(m.Problems, []string{"the guest has no virtio-serial port"}) {
		t.Errorf("%+v", m)
	}
	check(t, b.Dir(), m)
	var got []string
	for _, f := range m.Files {
		got = append(got, fmt.Sprint(f.Path, "=", f.Kind))
	}
	want := "host/probes.jsonl=probe iso/a/b/grub.cfg=empty qemu.json=metadata screen.png=binary serial.log=serial"
	if strings.Join(got, " ") != want {
		t.Errorf("files %v, want %s", got, want)
	}
	runs, problems := bundle.Find(os.DirFS(b.Dir()), "run")
	if len(runs) != 1 || len(problems) > 0 || !runs[0].Started.Equal(start) {
		t.Errorf("analysis: %d runs, %v", len(runs), problems)
	}
}

func TestFinishTwice(t *testing.T) {
	b := create(t)
	w, err := b.File("serial.log")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(false, "interrupted"); err != nil {
		t.Fatal(err)
	}
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	if m := manifest(t, b.Dir()); m.Complete || m.Why != "interrupted" {
		t.Errorf("%+v", m)
	}
	if _, err := w.Write([]byte("late")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("writing after the end: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	_, err = b.File("late.log")
	for _, err := range []error{err, b.WriteFile("late", nil), b.Append("late.jsonl", 1)} {
		if !errors.Is(err, ErrFinished) {
			t.Errorf("after the end: %v", err)
		}
	}
}

func TestIncompleteSaysWhy(t *testing.T) {
	b := create(t)
	if err := b.Finish(false, ""); err != nil {
		t.Fatal(err)
	}
	if m := manifest(t, b.Dir()); m.Complete || m.Why != "capture did not say why" {
		t.Errorf("%+v", m)
	}
	for _, tt := range []struct {
		complete bool
		why      string
		hurt     []string
		want     string
	}{
		{true, "", nil, ""},
		{false, "SIGINT", nil, "SIGINT"},
		{false, "SIGINT", []string{"b", "a", "b"}, "SIGINT; not all that was written is there: a, b"},
		{true, "well", []string{"a"}, "not all that was written is there: a"},
	} {
		if complete, why := verdict(tt.complete, tt.why, tt.hurt); why != tt.want || complete != (tt.want == "") {
			t.Errorf("%+v: %v %s", tt, complete, why)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, tt := range []struct{ dir, want string }{
		{filepath.Dir(put("full/notes.txt", "mine")), "holds notes.txt already: choose a new or empty directory"},
		{filepath.Dir(put("hidden/.git", "")), "holds .git already"},
		{filepath.Dir(put("old/manifest.json", "{}")), "holds a bundle already: choose a new directory"},
		{put("file", ""), "choose a new directory"},
		{filepath.Join(put("file", ""), "below"), "choose a"},
	} {
		_, err := Create(tt.dir, "forensics", "", start)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), tt.dir) {
			t.Errorf("%s: %v, want %s", tt.dir, err, tt.want)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "full/notes.txt")); string(data) != "mine" || err != nil {
		t.Errorf("%q %v", data, err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	b, err := Create(empty, "forensics", "", start)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(empty, "forensics", "", start); err == nil {
		t.Error("a bundle that is being written was taken")
	}
	b.Finish(true, "")
}

func TestRights(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no mode bits")
	}
	b := create(t)
	if err := b.WriteFile("a/b", nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{".": 0o700, "a": 0o700, "a/b": 0o600, manifestName: 0o600} {
		info, err := os.Stat(filepath.Join(b.Dir(), name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	b.Finish(true, "")
}

var names = []struct {
	name string
	good bool
}{
	{"serial.log", true}, {"host/probes.jsonl", true}, {"a/b/c/d", true}, {"with space", true}, {"ünï", true},
	{"", false}, {".", false}, {"..", false}, {"../x", false}, {"a/../../x", false}, {"a/../b", false}, {"/etc/x", false}, {"a//b", false}, {"a/", false},
	{`a\b`, false}, {`..\x`, false}, {"C:x", false}, {"a:stream", false}, {"a\x00b", false}, {"a\nb", false}, {"a\xff", false},
	{".hidden", false}, {"a/.hidden/b", false}, {"manifest.json", false}, {"Manifest.JSON", false}, {"a/manifest.json", true},
	{".manifest.json.reserve", false}, {strings.Repeat("x", 256), false}, {"a*", false},
}

func TestNames(t *testing.T) {
	b := create(t)
	for _, tt := range names {
		_, err := b.File(tt.name)
		for _, err := range []error{err, b.WriteFile(tt.name+"2", nil)} {
			if (err == nil) != tt.good && tt.name != "" && !strings.HasPrefix(tt.name, "Manifest") && tt.name != "manifest.json" && tt.name != "." && tt.name != ".." && tt.name != "a/" {
				t.Errorf("%q: %v", tt.name, err)
			}
		}
		if (err == nil) != tt.good {
			t.Errorf("%q: %v", tt.name, err)
		}
	}
	b.Finish(true, "")
}

// TestSymlink: a link in the bundle leads no file out of it.
func TestSymlink(t *testing.T) {
	b := create(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(b.Dir(), "host")); err != nil {
		t.Skip(err)
	}
	_, err := b.File("host/a")
	for _, err := range []error{err, b.WriteFile("host/b", nil), b.Append("host/c", 1)} {
		if err == nil {
			t.Error("written through the link")
		}
	}
	if entries, err := os.ReadDir(outside); len(entries) > 0 || err != nil {
		t.Error(entries, err)
	}
	b.Finish(true, "")
}

func TestSameNameTwice(t *testing.T) {
	b := create(t)
	if _, err := b.File("a"); err != nil {
		t.Fatal(err)
	}
	if err := b.Append("b", 1); err != nil {
		t.Fatal(err)
	}
	if err := b.WriteFile("c", nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if _, err := b.File(name); err == nil {
			t.Errorf("%s: a second stream", name)
		}
	}
	for _, err := range []error{b.WriteFile("a", nil), b.WriteFile("b", nil), b.Append("a", 1), b.Append("c", 1)} {
		if err == nil {
			t.Error("written over")
		}
	}
	if err := b.Append("b", func() {}); err == nil {
		t.Error("a value that is no JSON")
	}
	b.Finish(true, "")
}

// faulty is a disk with room for so many bytes more, and files that fail.
type faulty struct {
	disk
	mu       sync.Mutex
	room     int
	broken   map[string]error // by name: what writing gives
	stuck    bool             // Truncate does not work
	reserved bool             // overwriting needs no room, as on most file systems
}

func (d *faulty) create(name string) (file, error) {
	f, err := d.disk.create(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, name, d}, nil
}

func (d *faulty) overwrite(name string, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.reserved && d.room < len(data) {
		return syscall.ENOSPC
	}
	return d.disk.overwrite(name, data)
}

func (d *faulty) remove(name string) error {
	err := d.disk.remove(name)
	if name == reserveName && err == nil {
		d.mu.Lock()
		d.room += reserveSize
		d.mu.Unlock()
	}
	return err
}

type faultyFile struct {
	file
	name string
	d    *faulty
}

func (f *faultyFile) Write(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.broken[f.name]; err != nil {
		return 0, err
	}
	n := min(len(p), f.d.room)
	f.d.room -= n
	if _, err := f.file.Write(p[:n]); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f *faultyFile) Truncate(size int64) error {
	if f.d.stuck {
		return syscall.EIO
	}
	return f.file.Truncate(size)
}

// failing makes a bundle on a faulty disk.
func failing(t *testing.T, d *faulty) (*Bundle, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	folder, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.disk = folder
	b := newBundle(dir, d)
	b.manifest.Start = start
	return b, b.begin()
}

func TestFullDisk(t *testing.T) {
	for _, reserved := range []bool{true, false} {
		d := &faulty{room: reserveSize + 1<<10, reserved: reserved}
		b, err := failing(t, d)
		if err != nil {
			t.Fatal(err)
		}
		serial, err := b.File("serial.log")
		if err != nil {
			t.Fatal(err)
		}
		d.room = 100
		write(t, serial, strings.Repeat("a", 90))
		n, err := serial.Write([]byte(strings.Repeat("b", 20)))
		if n != 10 || !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "serial.log: ") {
			t.Errorf("%d %v", n, err)
		}
		// Told once; whoever drains the port goes on, and the file stays a prefix.
		d.room = 50
		write(t, serial, strings.Repeat("c", 30))
		if err := b.WriteFile("small", []byte("fits")); err != nil {
			t.Error(err)
		}
		if err := b.WriteFile("big", make([]byte, 1000)); !errors.Is(err, syscall.ENOSPC) || !strings.HasPrefix(err.Error(), "big: ") {
			t.Error(err)
		}
		d.room = 20
		if err := b.Append("list", "one"); err != nil {
			t.Error(err)
		}
		if err := b.Append("list", strings.Repeat("x", 40)); !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
		d.room = 20
		if err := b.Append("list", "two"); err != nil {
			t.Error(err)
		}
		d.room = 0
		if err := b.Finish(true, ""); err != nil {
			t.Fatal(err)
		}
		m := manifest(t, b.Dir())
		if m.Complete || m.Why != "not all that was written is there: big, list, serial.log" {
			t.Errorf("%v %q", m.Complete, m.Why)
		}
		all := strings.Join(m.Problems, "\n")
		for _, want := range []string{"serial.log: no space left on device after 100 bytes", "serial.log: 100 bytes were written and 40 lost", "big: no space left on device", "list: no space left on device"} {
			if strings.Count(all, want) != 1 && runtime.GOOS == "linux" {
				t.Errorf("problems lack %q: %s", want, all)
			}
		}
		check(t, b.Dir(), m)
		for name, want := range map[string]string{"serial.log": strings.Repeat("a", 90) + strings.Repeat("b", 10), "small": "fits", "list": "\"one\"\n\"two\"\n"} {
			if data, err := os.ReadFile(filepath.Join(b.Dir(), name)); string(data) != want || err != nil {
				t.Errorf("%s: %q %v", name, data, err)
			}
		}
	}
}

// TestBrokenLine: where a half line cannot be taken back, the list takes no more,
// so that no later line is glued to it.
func TestBrokenLine(t *testing.T) {
	d := &faulty{room: 4 << 20, stuck: true}
	b, err := failing(t, d)
	if err != nil {
		t.Fatal(err)
	}
	d.room = 8
	b.Append("list", "one")
	if err := b.Append("list", "two"); err == nil {
		t.Error("no error")
	}
	d.room = 4 << 20
	if err := b.Append("list", "three"); err == nil {
		t.Error("glued")
	}
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, b.Dir())
	if data, _ := os.ReadFile(filepath.Join(b.Dir(), "list")); string(data) != "\"one\"\n\"t" || m.Complete {
		t.Errorf("%q %+v", data, m)
	}
	check(t, b.Dir(), m)
}

// TestBadFile: one file on a bad place hurts no other.
func TestBadFile(t *testing.T) {
	d := &faulty{room: 4 << 20, reserved: true, broken: map[string]error{"serial.log": syscall.EIO, ".dmesg.txt.part": syscall.EIO}}
	b, err := failing(t, d)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := b.File("serial.log")
	if err != nil {
		t.Fatal(err)
	}
	cast, err := b.File("serial.cast")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := serial.Write([]byte("x")); n != 0 || !errors.Is(err, syscall.EIO) {
		t.Error(n, err)
	}
	write(t, cast, "x")
	if err := b.WriteFile("dmesg.txt", []byte("x")); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	// A try that succeeds makes good for it.
	delete(d.broken, ".dmesg.txt.part")
	if err := b.WriteFile("dmesg.txt", []byte("x")); err != nil {
		t.Error(err)
	}
	// One that fails leaves what was there before, which is not the last word.
	if err := b.WriteFile("qemu.json", []byte("first")); err != nil {
		t.Error(err)
	}
	d.broken[".qemu.json.part"] = syscall.EIO
	if err := b.WriteFile("qemu.json", []byte("second")); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, b.Dir())
	if m.Complete || m.Why != "not all that was written is there: qemu.json, serial.log" {
		t.Errorf("%+v", m)
	}
	if data, err := os.ReadFile(filepath.Join(b.Dir(), "qemu.json")); string(data) != "first" || err != nil {
		t.Errorf("%q %v", data, err)
	}
	check(t, b.Dir(), m)
}

func TestNoRoomAtStart(t *testing.T) {
	b, err := failing(t, &faulty{room: 1000})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "keeping space for the manifest") {
		t.Error(err)
	}
	if entries, err := os.ReadDir(b.Dir()); len(entries) > 0 || err != nil {
		t.Errorf("left behind: %v %v", entries, err)
	}
}

// TestRemoved: a directory that went away is told by Finish, by its name.
func TestRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files cannot be removed")
	}
	b := create(t)
	w, err := b.File("serial.log")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(b.Dir()); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	if err := b.WriteFile("a", nil); err == nil || !strings.HasPrefix(err.Error(), "a: ") {
		t.Error(err)
	}
	err = b.Finish(true, "")
	if err == nil || !strings.HasPrefix(err.Error(), b.Dir()) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if again := b.Finish(true, ""); again != err {
		t.Error(again)
	}
}

// TestGone: one file that went away, or was changed by others, is told.
func TestGone(t *testing.T) {
	b := create(t)
	for _, name := range []string{"gone", "changed"} {
		if err := b.WriteFile(name, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	os.Remove(filepath.Join(b.Dir(), "gone"))
	os.WriteFile(filepath.Join(b.Dir(), "changed"), []byte("longer"), 0o600)
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, b.Dir())
	if len(m.Files) != 1 || len(m.Problems) != 2 || m.Complete {
		t.Errorf("%+v", m)
	}
	check(t, b.Dir(), m)
}

func TestManyProblems(t *testing.T) {
	b := create(t)
	for i := range maxProblems + 7 {
		b.Note(fmt.Sprint("problem ", i, "\x1b[31m\n"))
	}
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, b.Dir())
	if len(m.Problems) != maxProblems+1 || m.Problems[0] != "problem 0" || m.Problems[maxProblems] != "7 more problems" {
		t.Errorf("%d: %q", len(m.Problems), m.Problems[0])
	}
}

func TestConcurrent(t *testing.T) {
	b := create(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			w, err := b.File(fmt.Sprintf("streams/%d.log", i))
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 50 {
				write(t, w, fmt.Sprintln("line", j))
				if err := b.Append("list.jsonl", j); err != nil {
					t.Error(err)
				}
				if err := b.WriteFile(fmt.Sprintf("whole/%d", i%3), []byte(fmt.Sprint(j))); j%10 == 0 && err != nil {
					t.Error(err)
				}
				b.Note("noted")
			}
		})
	}
	wg.Wait()
	done := make(chan error)
	go func() { done <- b.Finish(true, "") }()
	err := b.Finish(true, "")
	if other := <-done; err != nil || other != nil {
		t.Fatal(err, other)
	}
	m := manifest(t, b.Dir())
	if !m.Complete {
		t.Errorf("%+v", m)
	}
	check(t, b.Dir(), m)
	if data, err := os.ReadFile(filepath.Join(b.Dir(), "list.jsonl")); bytes.Count(data, []byte("\n")) != 400 || err != nil {
		t.Error(err)
	}
}

// TestTinyDisk fills a real file system of 3 MiB.
func TestTinyDisk(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("mounting needs root on Linux")
	}
	mnt := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mnt).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", mnt).Run() })
	b, err := Create(filepath.Join(mnt, "run"), "forensics", "", start)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := b.File("serial.log")
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	for range 100 {
		if _, err := serial.Write(bytes.Repeat([]byte("0123456789abcdef"), 4096)); err != nil {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d errors for the full disk, want 1", failed)
	}
	b.WriteFile("late.txt", make([]byte, 8192))
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, b.Dir())
	if m.Complete || !strings.Contains(m.Why, "serial.log") || len(m.Problems) == 0 {
		t.Errorf("%+v", m)
	}
	check(t, b.Dir(), m)
	if len(m.Files) == 0 || m.Files[0].Path != "serial.log" || m.Files[0].Size < 1<<20 {
		t.Errorf("%+v", m.Files)
	}
	// No room at all at the start.
	if _, err := Create(filepath.Join(mnt, "second"), "forensics", "", start); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "choose a directory on a disk with space") {
		t.Error(err)
	}
}

func FuzzNames(f *testing.F) {
	for _, tt := range names {
		f.Add(tt.name)
	}
	dir := f.TempDir()
	b, err := Create(filepath.Join(dir, "run"), "forensics", "", start)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if b.WriteFile(name, []byte("x")) == nil {
			if _, err := os.Stat(filepath.Join(b.Dir(), filepath.FromSlash(name))); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
		if entries, err := os.ReadDir(dir); len(entries) != 1 || err != nil {
			t.Fatalf("%q: beside the bundle: %v %v", name, entries, err)
		}
	})
}

func BenchmarkStream(bm *testing.B) {
	chunk := bytes.Repeat([]byte("[    1.234567] pci 0000:00:01.0: reg 0x10\r\n"), 4)
	bm.Run("bundle", func(bm *testing.B) {
		b := create(bm)
		w, err := b.File("serial.log")
		if err != nil {
			bm.Fatal(err)
		}
		pump(bm, w, chunk)
		b.Finish(true, "")
	})
	bm.Run("file", func(bm *testing.B) {
		f, err := os.Create(filepath.Join(bm.TempDir(), "serial.log"))
		if err != nil {
			bm.Fatal(err)
		}
		pump(bm, f, chunk)
		f.Close()
	})
}

func pump(bm *testing.B, w io.Writer, chunk []byte) {
	bm.SetBytes(int64(len(chunk)))
	for bm.Loop() {
		if _, err := w.Write(chunk); err != nil {
			bm.Fatal(err)
		}
	}
}
