package journal

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native/nativetest"
)

// said makes an entry whose fields are few.
func said(seq, mono uint64, boot byte, message string, more ...string) nativetest.Entry {
	return nativetest.Entry{Seqnum: seq, Realtime: 1741244915000000 + mono, Monotonic: mono, Boot: boot, Fields: append([]string{"MESSAGE=" + message}, more...)}
}

// natives are the files of one run, and what their logs hold.
var natives = []struct {
	name     string
	files    map[string]written // by path
	want     string
	problems []string // what they contain, in path order
}{
	{name: "one file", files: map[string]written{"system.journal": {v: 4, es: []nativetest.Entry{
		said(1, 1000, 0xa, "Starting Demo...", "SYSLOG_IDENTIFIER=systemd", "_PID=1", "_SYSTEMD_UNIT=init.scope", "UNIT=demo.service", "PRIORITY=6"),
		said(2, 2000, 0xa, "\x1b[1mcoloured\x1b[0m", "_COMM=demo", "_PID=9", "_SYSTEMD_UNIT=demo.service", "UNIT=other.service"),
		said(3, 3000, 0xa, "first", "MESSAGE=second", "PRIORITY=x"),
		{Seqnum: 4, Realtime: 1, Boot: 0xa, Fields: []string{"COREDUMP=no message"}},
		said(5, 5000, 0xa, strings.Repeat("long ", 200), "SYSLOG_PID=7"),
	}}}, want: "system.journal native [0a]\n" +
		"system.journal systemd[1] demo.service 6 \"Starting Demo...\"\n" +
		"system.journal demo[9] demo.service -1 \"coloured\"\n" +
		"system.journal [0]  -1 \"first\"\n" +
		"system.journal [7]  -1 \"long long long long lo\"\n"},
	{name: "what one entry repeats another says alone", files: map[string]written{"system.journal": {v: 4, es: []nativetest.Entry{
		said(1, 1000, 0xa, "first", "MESSAGE="+strings.Repeat("second ", 100)),
		said(2, 2000, 0xa, strings.Repeat("second ", 100)),
	}}}, want: "system.journal native [0a]\nsystem.journal [0]  -1 \"first\"\nsystem.journal [0]  -1 \"second second second s\"\n"},
	{name: "rotated, by number though the clock was set back", files: map[string]written{
		"journal/system.journal":           {v: 4, es: []nativetest.Entry{said(3, 10, 0xb, "three"), said(5, 30, 0xb, "five")}},
		"journal/system@01.journal":        {v: 3, es: []nativetest.Entry{said(1, 9000, 0xa, "one"), said(2, 9001, 0xa, "two")}},
		"journal/user-1000.journal":        {v: 0, es: []nativetest.Entry{said(4, 20, 0xb, "four")}},
		"journal/system@02-crash.journal~": {v: 5, es: []nativetest.Entry{said(6, 40, 0xb, "six")}},
	}, want: "journal/system.journal native [0a 0b]\n" +
		"journal/system@01.journal [0]  -1 \"one\"\njournal/system@01.journal [0]  -1 \"two\"\njournal/system.journal [0]  -1 \"three\"\n" +
		"journal/user-1000.journal [0]  -1 \"four\"\njournal/system.journal [0]  -1 \"five\"\njournal/system@02-crash.journal~ [0]  -1 \"six\"\n"},
	{name: "other numbers: by the time since boot", files: map[string]written{
		"a.journal": {v: 4, seqnums: 1, es: []nativetest.Entry{said(9, 10, 0xb, "first"), said(10, 30, 0xb, "third")}},
		"b.journal": {v: 4, seqnums: 3, es: []nativetest.Entry{said(1, 20, 0xb, "second")}},
	}, want: "a.journal native [0b]\na.journal [0]  -1 \"first\"\nb.journal [0]  -1 \"second\"\na.journal [0]  -1 \"third\"\n"},
	{name: "other numbers and boots: by the clock", files: map[string]written{
		"a.journal": {v: 4, seqnums: 1, es: []nativetest.Entry{said(9, 30, 0xb, "second")}},
		"b.journal": {v: 4, seqnums: 3, es: []nativetest.Entry{said(1, 20, 0xa, "first")}},
	}, want: "a.journal native [0a 0b]\nb.journal [0]  -1 \"first\"\na.journal [0]  -1 \"second\"\n"},
	{name: "a copy says nothing twice", files: map[string]written{
		"a.journal": {v: 4, es: []nativetest.Entry{said(1, 10, 0xb, "one"), said(2, 20, 0xb, "two")}},
		"b.journal": {v: 1, es: []nativetest.Entry{said(1, 10, 0xb, "one"), said(2, 20, 0xb, "two"), said(3, 30, 0xb, "three")}},
	}, want: "a.journal native [0b]\na.journal [0]  -1 \"one\"\na.journal [0]  -1 \"two\"\nb.journal [0]  -1 \"three\"\n"},
	{name: "two machines", files: map[string]written{
		"guest.journal": {v: 4, es: []nativetest.Entry{said(1, 10, 0xb, "guest")}},
		"host.journal":  {v: 4, machine: 9, es: []nativetest.Entry{said(1, 10, 0xc, "host")}},
	}, problems: []string{
		"guest.journal: native journals of 2 machines: which is the guest's is not shown",
		"host.journal: native journals of 2 machines: which is the guest's is not shown",
	}},
	{name: "two machine ids in one boot", files: map[string]written{
		"a.journal": {v: 4, es: []nativetest.Entry{said(1, 10, 0xb, "before /etc")}},
		"b.journal": {v: 4, machine: 9, es: []nativetest.Entry{said(2, 20, 0xb, "after")}},
	}, want: "a.journal native [0b]\na.journal [0]  -1 \"before /etc\"\nb.journal native [0b]\nb.journal [0]  -1 \"after\"\n"},
	{name: "damaged and refused", files: map[string]written{
		"a.journal": {v: 5, es: []nativetest.Entry{said(1, 10, 0xb, "one"), said(2, 20, 0xb, "two")}, do: func(b []byte) []byte { return b[:len(b)-8] }},
		"b.journal": {v: 4, es: []nativetest.Entry{said(1, 10, 0xb, "one")}, do: func(b []byte) []byte { b[12] |= 0x20; return b }},
		"c.journal": {v: 4, es: nil},
	}, want: "a.journal native [0b]\na.journal [0]  -1 \"one\"\n", problems: []string{
		"b.journal: native journal not read: needs a reader that knows more: incompatible flags KEYED-HASH COMPRESSED-ZSTD COMPACT unknown 0x20",
		"a.journal: native journal 8 bytes shorter than its header says",
		"a.journal: native journal damaged (journald had not closed it): 1 entries lost; the first at offset ",
	}},
}

type written struct {
	v                int // of nativetest.Variants
	seqnums, machine byte
	es               []nativetest.Entry
	do               func([]byte) []byte
}

func (n written) bytes(t testing.TB) []byte {
	t.Helper()
	v := nativetest.Variants()[n.v]
	if n.seqnums != 0 {
		v.Seqnums = n.seqnums
	}
	if n.machine != 0 {
		v.Machine = n.machine
	}
	b, err := nativetest.Write(v, n.es)
	if err != nil {
		t.Fatal(err)
	}
	if n.do != nil {
		b = n.do(b)
	}
	return b
}

// readFiles runs the analyzer on artifacts of these bytes, in path order.
func readFiles(t testing.TB, kind bundle.Kind, files map[string][]byte) ([]*Log, []bundle.Problem) {
	t.Helper()
	run := &bundle.Run{}
	for _, p := range sortedKeys(files) {
		run.Artifacts = append(run.Artifacts, bundle.NewArtifact(p, kind, files[p]))
	}
	var logs []*Log
	probe := &analyzers.Analyzer{Name: "probe", Doc: "Looks.", Requires: []*analyzers.Analyzer{Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
		logs = From(p)
		return nil, nil
	}}
	analyzers.Analyze(run, []*analyzers.Analyzer{probe}, nil)
	for _, p := range run.Problems {
		if p.Path == "" {
			t.Fatal(p.Text)
		}
	}
	return logs, run.Problems
}

func TestNative(t *testing.T) {
	for _, c := range natives {
		t.Run(c.name, func(t *testing.T) {
			files := map[string][]byte{}
			for p, n := range c.files {
				files[p] = n.bytes(t)
			}
			logs, problems := readFiles(t, bundle.NativeJ, files)
			if got := listNative(t, logs, files); got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if len(problems) != len(c.problems) {
				t.Fatalf("problems %v, want %d", problems, len(c.problems))
			}
			for i, want := range c.problems {
				if got := problems[i].Path + ": " + problems[i].Text; !strings.Contains(got, want) {
					t.Errorf("problem %q, want %q", got, want)
				}
			}
		})
	}
}

// listNative renders logs, and checks that evidence is the entry's object.
func listNative(t *testing.T, logs []*Log, files map[string][]byte) string {
	t.Helper()
	var b strings.Builder
	for _, l := range logs {
		var ids []string
		for _, id := range l.Boots {
			ids = append(ids, id[:2])
		}
		fmt.Fprintf(&b, "%s %s %v\n", l.Path, l.Form, ids)
		for _, e := range l.Entries {
			fmt.Fprintf(&b, "%s %s[%d] %s %d %.22q\n", e.Evidence.Path, e.Ident, e.PID, e.Unit, e.Priority, e.Message)
			data, ev := files[e.Evidence.Path], e.Evidence
			if ev.Start < 208 || ev.End > int64(len(data)) || data[ev.Start] != 3 || int64(data[ev.Start+8]) != (ev.End-ev.Start)&0xff {
				t.Errorf("evidence %+v is no entry", ev)
			}
			if n := 1 + bytes.Count(data[:ev.Start], []byte("\n")); n != ev.Line {
				t.Errorf("line %d, is %d", ev.Line, n)
			}
		}
	}
	return b.String()
}

func TestNativeEntry(t *testing.T) {
	files := map[string][]byte{"a": written{v: 4, es: []nativetest.Entry{
		said(1, 1500000, 0xa, "Set \x1b[1mup\x1b[0m\nlan", "SYSLOG_IDENTIFIER=demo", "_PID=9", "_HOSTNAME=box"),
		said(2, 1600000, 0xa, "kernel's", "SYSLOG_IDENTIFIER=kernel", "_SOURCE_MONOTONIC_TIMESTAMP=1250000", "_BOOT_ID=claims"),
	}}.bytes(t)}
	logs, _ := readFiles(t, bundle.NativeJ, files)
	e, k := logs[0].Entries[0], logs[0].Entries[1]
	if e.Stamp != "" || e.When.UnixMicro() != 1741244916500000 || e.Monotonic != 1.5 || e.Host != "box" ||
		e.BootID != strings.Repeat("0a", 16) || e.Message != "Set up\nlan" || e.Evidence.Quote != "demo[9]: Set up lan" || e.Truncated {
		t.Errorf("%+v", e)
	}
	if k.Monotonic != 1.25 || k.BootID != e.BootID || k.Evidence.Quote != "kernel: kernel's" {
		t.Errorf("%+v", k)
	}
}

// TestTrim: the newest entries are kept.
func TestTrim(t *testing.T) {
	m := &machine{max: 4, maxText: 100, log: &Log{}}
	for i := range 11 {
		m.log.Entries = append(m.log.Entries, Entry{PID: i, Message: "1234567890"})
		m.text += 10
		m.trim(1)
		if len(m.log.Entries) > 5 {
			t.Fatalf("%d entries", len(m.log.Entries))
		}
	}
	m.trim(0)
	if es := m.log.Entries; len(es) != 4 || es[0].PID != 7 || m.dropped != 7 || m.text != 40 {
		t.Errorf("%v, %d dropped, %d bytes", es, m.dropped, m.text)
	}
	m.maxText = 25
	m.trim(0)
	if es := m.log.Entries; len(es) != 2 || es[1].PID != 10 {
		t.Errorf("%v", es)
	}
}

// TestNativeAsExport: the entries of native files and those of what journalctl
// exports from them are the same, but for where they stand.
func TestNativeAsExport(t *testing.T) {
	for _, c := range natives {
		files := map[string][]byte{}
		for p, n := range c.files {
			if n.do == nil && n.machine == 0 && n.es != nil {
				files[p] = n.bytes(t)
			}
		}
		t.Run(c.name, func(t *testing.T) { asExport(t, files) })
	}
	names, _ := filepath.Glob("native/testdata/*.journal.zst")
	if len(names) == 0 {
		t.Fatal("no recorded files")
	}
	for _, name := range names {
		packed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := zstd.NewReader(nil)
		data, err := d.DecodeAll(packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(name), func(t *testing.T) { asExport(t, map[string][]byte{"a": data}) })
	}
}

func asExport(t *testing.T, files map[string][]byte) {
	if _, err := exec.LookPath("journalctl"); err != nil || len(files) == 0 {
		t.Skip("journalctl is not installed")
	}
	got, problems := readFiles(t, bundle.NativeJ, files)
	if len(problems) > 0 || len(got) != 1 {
		t.Fatalf("%v, %d logs", problems, len(got))
	}
	dir := t.TempDir()
	for i, p := range sortedKeys(files) {
		if err := os.WriteFile(filepath.Join(dir, inDirectory(i, p)), files[p], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := exec.Command("journalctl", "-D", dir, "-o", "export").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := readFiles(t, bundle.Journal, map[string][]byte{"a": text})
	if len(got[0].Entries) != len(want[0].Entries) {
		t.Fatalf("%d entries, %d in the export", len(got[0].Entries), len(want[0].Entries))
	}
	for i := range got[0].Entries {
		g, w := got[0].Entries[i], want[0].Entries[i]
		g.Evidence, g.Stamp, w.Evidence, w.Stamp = bundle.Evidence{}, "", bundle.Evidence{}, ""
		if g != w {
			t.Errorf("entry %d: %+.200v, in the export %+.200v", i, g, w)
		}
	}
}

// inDirectory names the i-th file as journald does, so that journalctl takes it
// from a directory: the one in use, one that was rotated, one that was not
// closed.
func inDirectory(i int, path string) string {
	switch {
	case strings.HasSuffix(path, "~"):
		return fmt.Sprintf("system@%016x-%016x.journal~", i+1, i+1)
	case i == 0:
		return "system.journal"
	}
	return fmt.Sprintf("system@%032x-%016x-%016x.journal", i, i, i)
}

// FuzzNative: whatever two files hold, entries stand in them.
func FuzzNative(f *testing.F) {
	for _, c := range natives {
		var two [2][]byte
		for i, p := range sortedKeys(c.files) {
			if i < 2 {
				two[i] = c.files[p].bytes(f)
			}
		}
		f.Add(two[0], two[1])
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		files := map[string][]byte{"a": a, "b": b}
		logs, _ := readFiles(t, bundle.NativeJ, files)
		for _, l := range logs {
			for _, e := range l.Entries {
				if ev := e.Evidence; ev.Start < 208 || ev.Start >= ev.End || ev.End > int64(len(files[ev.Path])) || ev.Line < 1 {
					t.Fatalf("%+v", ev)
				}
			}
		}
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
