package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"forensics/analyzers/journal/native/nativetest"
)

var update = flag.Bool("update", false, "write testdata/*.journal.zst anew with systemd-journal-remote")

// all are limits that nothing here reaches.
var all = Limits{Value: 1 << 30, Work: 1 << 40, Cache: 1 << 20}

// long has structure, so that it compresses, and no period.
func long(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d: unable to open /nix/store/%x\n", i, i*i)
	}
	return b.String()[:n]
}

// entries are of two boots, with every kind of field.
var entries = []nativetest.Entry{
	{Seqnum: 1, Realtime: 1741244955000000, Monotonic: 1000000, Boot: 0xa, Fields: []string{"MESSAGE=Linux version 6.1", "_TRANSPORT=kernel", "_SOURCE_MONOTONIC_TIMESTAMP=0", "SYSLOG_IDENTIFIER=kernel", "PRIORITY=5", "_BOOT_ID=" + strings.Repeat("0a", 16)}},
	{Seqnum: 2, Realtime: 1741244955000001, Monotonic: 1000001, Boot: 0xa, Fields: []string{"MESSAGE=Starting Demo...", "SYSLOG_IDENTIFIER=systemd", "_PID=1", "UNIT=demo.service", "_SYSTEMD_UNIT=init.scope", "PRIORITY=6"}},
	{Seqnum: 3, Realtime: 1741244956000000, Monotonic: 2000000, Boot: 0xa, Fields: []string{"MESSAGE=binary \x00\x01\xff and\nlines", "_PID=9", "_COMM=demo", "PRIORITY=6"}},
	{Seqnum: 4, Realtime: 1741244956000000, Monotonic: 2000001, Boot: 0xa, Fields: []string{"MESSAGE=", "_PID=9", "TAG=one", "TAG=two", "TAG=three", "UMLAUT=ä\u00a0€"}},
	{Seqnum: 5, Realtime: 1741244957000000, Monotonic: 3000000, Boot: 0xa, Fields: []string{"MESSAGE=" + long(700), "_PID=9", "CONTROL=a\x1b[1mb", "TAB=a\tb", "NONCHARACTER=\ufdd0"}},
	{Seqnum: 7, Realtime: 1741244958000000, Monotonic: 4000000, Boot: 0xa, Fields: []string{"_PID=9", "MESSAGE=" + long(70_000), "COREDUMP=" + long(1000)}},
	{Seqnum: 8, Realtime: 1741241000000000, Monotonic: 500000, Boot: 0xb, Fields: []string{"MESSAGE=" + long(700), "_PID=9", "_CMDLINE=" + long(600)}},
	{Seqnum: 9, Realtime: 1741241000000000, Monotonic: 500001, Boot: 0xb, Fields: []string{"COREDUMP=no message", "_CMDLINE=" + long(600)}},
	{Seqnum: 10, Realtime: 1741241000000001, Monotonic: 500002, Boot: 0xb, Fields: []string{"MESSAGE=" + long(513) + "\r"}},
	{Seqnum: 11, Realtime: 1741241000000002, Monotonic: 500003, Boot: 0xb, Fields: []string{"MESSAGE=last", "_PID=9"}},
}

// text is what journald takes for text, said otherwise than in export.go.
func text(v string) bool {
	return !strings.ContainsFunc(v, func(c rune) bool {
		return c == '\uFFFD' || c == '\ufdd0' || c < ' ' && c != '\t' || c == 0x7f
	})
}

// expected is what the export of entries is.
func expected(v nativetest.Variant, es []nativetest.Entry) string {
	s := nativetest.Export(v, es, text)
	// The entry's own boot id counts.
	return strings.ReplaceAll(s, "_BOOT_ID="+strings.Repeat("0a", 16)+"\n\n", "\n")
}

func write(t testing.TB, v nativetest.Variant, es []nativetest.Entry) []byte {
	t.Helper()
	b, err := nativetest.Write(v, es)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exported(t testing.TB, data []byte) (string, *File) {
	t.Helper()
	f, err := Open(bytes.NewReader(data), int64(len(data)), all)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := f.Export(&b); err != nil {
		t.Fatal(err)
	}
	return b.String(), f
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-80)
	return fmt.Sprintf("at byte %d: got %.200q, want %.200q", i, got[from:], want[from:])
}

func TestVariants(t *testing.T) {
	for _, v := range nativetest.Variants() {
		t.Run(v.String(), func(t *testing.T) {
			got, f := exported(t, write(t, v, entries))
			if want := expected(v, entries); got != want {
				t.Error(firstDifference(got, want))
			}
			if f.Skipped.Any() || f.Short != 0 || f.Header.State != State(v.State) {
				t.Errorf("%s, %d short, state %d", &f.Skipped, f.Short, f.Header.State)
			}
		})
	}
}

// recorded are the files that systemd-journal-remote wrote: what its variants
// are called, and the environment that makes it write them.
var recorded = []struct {
	name string
	args []string
	env  string
}{
	{"compact-zstd", nil, "SYSTEMD_JOURNAL_COMPACT=1"},
	{"regular-zstd", nil, "SYSTEMD_JOURNAL_COMPACT=0"},
	{"regular-unkeyed", []string{"--compress=no"}, "SYSTEMD_JOURNAL_COMPACT=0 SYSTEMD_JOURNAL_KEYED_HASH=0"},
}

const remote = "/lib/systemd/systemd-journal-remote"

// load reads testdata/NAME.journal.zst.
func load(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", name+".journal.zst"))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	defer d.Close()
	data, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRecorded: what journald's own code wrote reads as what it was given. It
// orders fields in its own way, and gives numbers of its own.
func TestRecorded(t *testing.T) {
	for _, r := range recorded {
		t.Run(r.name, func(t *testing.T) {
			if *update {
				record(t, r.name, r.args, r.env)
			}
			data := load(t, r.name)
			f, err := Open(bytes.NewReader(data), int64(len(data)), all)
			if err != nil {
				t.Fatal(err)
			}
			var e Entry
			for i, want := range entries {
				if err := f.Next(&e); err != nil {
					t.Fatalf("entry %d: %v", i, err)
				}
				if e.Realtime != want.Realtime || e.Monotonic != want.Monotonic || e.Boot[3] != want.Boot {
					t.Errorf("entry %d: %+v", i, e)
				}
				checkFields(t, f, &e, want.Fields)
			}
			if err := f.Next(&e); err != io.EOF || f.Skipped.Any() {
				t.Errorf("%v at the end, %s", err, &f.Skipped)
			}
		})
	}
}

func checkFields(t *testing.T, f *File, e *Entry, want []string) {
	t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	f.Fields(e, func([]byte) bool { return true }, func(fd *Field) {
		s := string(fd.Name) + "=" + string(fd.Value)
		if string(fd.Name) != "_BOOT_ID" && left[s] == 0 {
			t.Errorf("entry %d has %.60q", e.Seqnum, s)
		}
		delete(left, s)
	})
	for w := range left {
		if !strings.HasPrefix(w, "_BOOT_ID=") {
			t.Errorf("entry %d lacks %.60q", e.Seqnum, w)
		}
	}
}

func record(t *testing.T, name string, args []string, env string) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.export"), filepath.Join(dir, "out.journal")
	if err := os.WriteFile(in, []byte(expected(nativetest.Variant{}, entries)), 0o644); err != nil {
		t.Fatal(err)
	}
	remoteWrite(t, in, out, args, env)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	enc, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err := os.WriteFile(filepath.Join("testdata", name+".journal.zst"), enc.EncodeAll(data, nil), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remoteWrite(t testing.TB, in, out string, args []string, env string) {
	t.Helper()
	if _, err := os.Stat(remote); err != nil {
		t.Skip("systemd-journal-remote is not installed")
	}
	c := exec.Command(remote, append(args, "-o", out, in)...)
	c.Env = append(os.Environ(), strings.Fields(env)...)
	if msg, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
}

// journalctl exports a file; it skips the test where there is no journalctl.
func journalctl(t testing.TB, data []byte) string {
	t.Helper()
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("journalctl is not installed")
	}
	name := filepath.Join(t.TempDir(), "a.journal")
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	c := exec.Command("journalctl", "--file", name, "-o", "export")
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("journalctl: %v: %s", err, &stderr)
	}
	return withoutNewer(string(out))
}

// withoutNewer drops the fields that journalctl adds since systemd 254.
func withoutNewer(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		if !strings.HasPrefix(l, "__SEQNUM=") && !strings.HasPrefix(l, "__SEQNUM_ID=") {
			b.WriteString(l)
		}
	}
	return b.String()
}

// TestOracle: journalctl says the same, field for field.
func TestOracle(t *testing.T) {
	check := func(name string, data []byte) {
		t.Run(name, func(t *testing.T) {
			got, _ := exported(t, data)
			if want := journalctl(t, data); got != want {
				t.Error(firstDifference(got, want))
			}
		})
	}
	for _, v := range nativetest.Variants() {
		check(v.String(), write(t, v, entries))
	}
	for _, r := range recorded {
		data := load(t, r.name)
		check(r.name, data)
		data[16] = byte(Online)
		check(r.name+" online", data)
	}
	check("no entries", write(t, nativetest.Variants()[0], nil))
}

func TestRefused(t *testing.T) {
	good := write(t, nativetest.Variants()[4], entries)
	for _, c := range []struct {
		name string
		do   func([]byte) []byte
		want string
	}{
		{"a flag of the future", func(b []byte) []byte { b[12] |= 0x40; return b }, "needs a reader that knows more: incompatible flags KEYED-HASH COMPRESSED-ZSTD COMPACT unknown 0x40"},
		{"a flag far off", func(b []byte) []byte { b[15] = 0x80; return b }, "unknown 0x80000000"},
		{"no state", func(b []byte) []byte { b[16] = 3; return b }, "offset 16: state 3 is none of a journal file"},
		{"short header", func(b []byte) []byte { b[88] = 0xc8; b[89] = 0; return b }, "offset 88: a header of 200 bytes"},
		{"long header", func(b []byte) []byte { b[95] = 0x80; return b }, "offset 88: a header of"},
		{"another file", func(b []byte) []byte { b[0] = 'l'; return b }, "does not start with LPKSHHRH"},
		{"cut in the header", func(b []byte) []byte { return b[:207] }, "207 bytes: shorter than the header"},
		{"nothing", func(b []byte) []byte { return nil }, "0 bytes: shorter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.do(bytes.Clone(good))
			if _, err := Open(bytes.NewReader(b), int64(len(b)), all); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
	// Flags that concern writers alone are no reason to refuse.
	good[8] = 0xff
	if _, err := Open(bytes.NewReader(good), int64(len(good)), all); err != nil {
		t.Errorf("compatible flags: %v", err)
	}
}

// seqnums lists what a damaged file gives, and checks that it gives entries in
// order, within the file, and counts what is missing.
func seqnums(t testing.TB, data []byte, lim Limits) (seen []uint64, f *File) {
	t.Helper()
	f, err := Open(bytes.NewReader(data), int64(len(data)), lim)
	if err != nil {
		return nil, nil
	}
	var e Entry
	end := int64(0)
	for {
		err := f.Next(&e)
		if err == io.EOF {
			return seen, f
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Offset < end || e.Size < entryHead || e.Offset+e.Size > int64(len(data)) {
			t.Fatalf("entry at %d of %d bytes, behind %d, file of %d", e.Offset, e.Size, end, len(data))
		}
		end = e.Offset + e.Size
		seen = append(seen, e.Seqnum)
		f.Fields(&e, func([]byte) bool { return true }, func(fd *Field) {
			if len(fd.Value) > lim.Value || len(fd.Name) == 0 || len(fd.Name) > maxName {
				t.Fatalf("field %q of %d bytes", fd.Name, len(fd.Value))
			}
		})
	}
}

// many are enough entries for several arrays.
func many(n int) []nativetest.Entry {
	var es []nativetest.Entry
	for i := range uint64(n) {
		es = append(es, nativetest.Entry{Seqnum: i + 1, Realtime: 1741244955000000 + i, Monotonic: i, Boot: 1,
			Fields: []string{fmt.Sprintf("MESSAGE=entry %d", i+1), "_PID=9", "LONG=" + long(520+int(i)%7)}})
	}
	return es
}

// offsets returns where the objects of a type stand.
func offsets(data []byte, typ byte) []uint64 {
	f, _ := Open(bytes.NewReader(data), int64(len(data)), all)
	var at []uint64
	for o := f.Header.Size; o < f.size; {
		typ2, size := f.object(o)
		if size == 0 {
			break
		}
		if typ2 == typ {
			at = append(at, o)
		}
		o += pad(size)
	}
	return at
}

// TestDamage: a broken place costs what stands there and no more, and is
// counted.
func TestDamage(t *testing.T) {
	const n = 100
	le := binary.LittleEndian
	for _, c := range []struct {
		name string
		do   func(data []byte) []byte
		want int // entries
		skip string
	}{
		{"whole", func(b []byte) []byte { return b }, n, ""},
		{"an entry's head", func(b []byte) []byte { b[offsets(b, 3)[50]] = 9; return b }, n - 1, "1 entries lost"},
		{"an entry's size", func(b []byte) []byte { le.PutUint64(b[offsets(b, 3)[50]+8:], 1<<63); return b }, n - 1, "1 entries lost"},
		{"a listed offset", func(b []byte) []byte { le.PutUint32(b[offsets(b, 6)[1]+24+4:], 0xfffffff8); return b }, n, ""},
		{"a listed offset that is no entry", func(b []byte) []byte { le.PutUint32(b[offsets(b, 6)[1]+24+4:], uint32(offsets(b, 1)[0])); return b }, n, ""},
		{"an array", func(b []byte) []byte { b[offsets(b, 6)[1]] = 1; return b }, n, "1 lists of entries broken"},
		{"a cycle of arrays", func(b []byte) []byte { le.PutUint64(b[offsets(b, 6)[2]+16:], offsets(b, 6)[0]); return b }, n, "1 lists of entries broken"},
		{"the end of the list", func(b []byte) []byte { le.PutUint64(b[offsets(b, 6)[2]+16:], 0); return b }, n, ""},
		{"the first array's offset", func(b []byte) []byte { le.PutUint64(b[176:], 1<<40); return b }, n, "1 lists of entries broken"},
		{"a page of zeros in an array", func(b []byte) []byte { at := offsets(b, 6)[2] + 24; clear(b[at : at+16]); return b }, n, ""},
		{"the number of entries", func(b []byte) []byte { b[159] = 0x40; return b }, n, "1 lists of entries broken"},
		{"the number of entries, a little", func(b []byte) []byte { b[152] += 2; return b }, n, "2 entries lost"},
		{"a field's head", func(b []byte) []byte { b[offsets(b, 1)[3]] = 3; return b }, n, "1 fields lost"},
		{"a field's size", func(b []byte) []byte { le.PutUint64(b[offsets(b, 1)[3]+8:], 72); return b }, n, "1 fields lost"},
		{"cut behind an entry", func(b []byte) []byte { return b[:offsets(b, 1)[len(offsets(b, 1))/2]] }, 46, "54 entries lost, 1 lists of entries broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, f := seqnums(t, c.do(write(t, nativetest.Variants()[6], many(n))), all)
			if len(got) != c.want {
				t.Errorf("%d entries, want %d: %s", len(got), c.want, &f.Skipped)
			}
			if c.skip == "" && f.Skipped.Any() || !strings.Contains(f.Skipped.String(), c.skip) {
				t.Errorf("%s, want %q", &f.Skipped, c.skip)
			}
		})
	}
}

// TestTruncated: a file cut anywhere gives the entries before the cut.
func TestTruncated(t *testing.T) {
	for _, v := range nativetest.Variants() {
		data := write(t, v, many(200))
		for cut := 0; cut < len(data); cut += 4096 / 8 {
			got, f := seqnums(t, data[:cut], all)
			if f == nil {
				continue
			}
			if len(got)+f.Skipped.Entries < 200 || f.Short != uint64(len(data)-cut) {
				t.Fatalf("%s cut at %d: %d entries, %s, %d short", v, cut, len(got), &f.Skipped, f.Short)
			}
			if ends := offsets(data[:cut], 3); len(got) < len(ends) {
				t.Fatalf("%s cut at %d: %d entries of %d", v, cut, len(got), len(ends))
			}
		}
	}
}

// TestFlips: one flipped bit costs one entry at most, and what is missing is
// counted.
func TestFlips(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range nativetest.Variants() {
		data := write(t, v, many(60))
		for range 1500 {
			at, bit := r.IntN(len(data)), byte(1)<<r.IntN(8)
			data[at] ^= bit
			if got, f := seqnums(t, data, all); f != nil {
				if len(got) < 59 || len(got) < 60 && !f.Skipped.Any() {
					t.Fatalf("%s: bit %#x at %d: %d entries, %s", v, bit, at, len(got), &f.Skipped)
				}
			}
			data[at] ^= bit
		}
	}
}

// TestLimits: values are cut, and what is beyond the work is not decompressed.
func TestLimits(t *testing.T) {
	v := nativetest.Variants()[5]
	data := write(t, v, entries)
	lim := all
	lim.Value = 100
	if got, f := seqnums(t, data, lim); len(got) != len(entries) || f.Skipped.Any() {
		t.Errorf("%d entries, %s", len(got), &f.Skipped)
	}
	lim.Work = 1
	got, f := seqnums(t, data, lim)
	if len(got) != len(entries) || f.Skipped.Costly == 0 || f.Skipped.Any() {
		t.Errorf("%d entries, %s", len(got), &f.Skipped)
	}
}

// TestHostile: what repeats the costly part of a small file stays within Limits.Work.
func TestHostile(t *testing.T) {
	fields := []string{"MESSAGE=" + strings.Repeat("x", 1<<20)}
	var es []nativetest.Entry
	for i := range uint64(2000) {
		es = append(es, nativetest.Entry{Seqnum: i + 1, Realtime: 1 + i, Boot: 1, Fields: fields})
	}
	for _, i := range []int{2, 3, 6} {
		data := write(t, nativetest.Variants()[i], es)
		got, f := seqnums(t, data, Limits{Value: 1 << 20, Work: 64 << 20, Cache: 1 << 20})
		if len(got) != len(es) {
			t.Errorf("%d entries, %s", len(got), &f.Skipped)
		}
		// 2 GB of compressed values, 64 MiB of work: all but 64 are left alone.
		want := len(es) - 64
		if i == 6 {
			want = 0 // not compressed
		}
		if f.Skipped.Costly != want {
			t.Errorf("%s: %d values not decompressed, want %d", nativetest.Variants()[i], f.Skipped.Costly, want)
		}
	}
}

// broken fails to read behind its first bytes.
type broken struct{ io.ReaderAt }

var errBroken = errors.New("input/output error")

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off >= page {
		return 0, errBroken
	}
	return b.ReaderAt.ReadAt(p, off)
}

func TestUnreadable(t *testing.T) {
	data := write(t, nativetest.Variants()[4], many(500))
	f, err := Open(broken{bytes.NewReader(data)}, int64(len(data)), all)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Export(io.Discard); err != errBroken || f.seq == 0 {
		t.Errorf("%v after entry %d", err, f.seq)
	}
}

// FuzzFile: any bytes give entries in order and within the file, and the same
// ones again; seqnums holds the rest of the property.
func FuzzFile(f *testing.F) {
	for _, v := range nativetest.Variants() {
		small := append([]nativetest.Entry{}, entries[:5]...)
		b, err := nativetest.Write(v, append(small, entries[6:]...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lim := Limits{Value: 1 << 16, Work: 1 << 20, Cache: 1 << 16}
		got, _ := seqnums(t, data, lim)
		if again, _ := seqnums(t, data, lim); fmt.Sprint(got) != fmt.Sprint(again) {
			t.Fatalf("%v, again %v", got, again)
		}
		if len(got) > len(data)/entryHead {
			t.Fatalf("%d entries in %d bytes", len(got), len(data))
		}
	})
}
