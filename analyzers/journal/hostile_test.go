package journal

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// samples returns the beginnings of what journalctl wrote in each form, ended
// behind an entry.
func samples(t testing.TB) map[string][]byte {
	t.Helper()
	names, _ := filepath.Glob("testdata/forms/*.zst")
	if len(names) == 0 {
		t.Fatal("no recorded forms")
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out := map[string][]byte{}
	for _, name := range names {
		packed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := d.DecodeAll(packed, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The others differ from one of these in a stamp or a prefix.
		switch form := strings.TrimSuffix(filepath.Base(name), ".zst"); form {
		case "short", "short-full", "short-delta", "with-unit", "verbose", "json", "json-pretty", "export":
			out[form] = data[:bytes.LastIndexByte(data[:min(len(data), 2<<10)], '\n')+1]
		}
	}
	return out
}

// readAll reads data with the reader that its form has.
func readAll(data []byte) *Log {
	p := &analyzers.Pass{Problem: func(string, string) {}}
	switch head := data[:min(len(data), 64<<10)]; {
	case looksJSON(head):
		return readJSON(p, "a", data)
	case looksExport(head):
		return readExport(p, "a", data)
	}
	return readLines(data)
}

// readLines reads lines as they stand there: what terminals do to them is
// package console's, and would take most of the time here.
func readLines(data []byte) *Log {
	r := &textReader{path: "a", data: data, log: &Log{Path: "a"}}
	at := int64(0)
	for i, l := range bytes.SplitAfter(data, []byte("\n")) {
		text := plain(strings.TrimRight(string(l), "\r\n"))
		r.line(line{text: strings.TrimRight(text, " \t"), number: i + 1, start: at, end: at + int64(len(l))})
		at += int64(len(l))
	}
	r.close()
	return r.log
}

// TestCut: of a file that was cut anywhere, the entries before the last one are
// those of the whole.
func TestCut(t *testing.T) {
	for form, data := range samples(t) {
		whole := readAll(data).Entries
		for n := range data {
			l := readAll(data[:n])
			checkEvidence(t, l, string(data[:n]))
			for i := range l.Entries[:max(0, len(l.Entries)-1)] {
				if i >= len(whole) || l.Entries[i].Message != whole[i].Message || l.Entries[i].Ident != whole[i].Ident {
					t.Fatalf("%s cut at %d: entry %d is %+v", form, n, i, l.Entries[i])
				}
			}
		}
	}
}

// TestFlipped: a changed byte makes no more entries than lines, and evidence stays
// in the file.
func TestFlipped(t *testing.T) {
	flips := 10_000
	if testing.Short() {
		flips = 500
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, data := range samples(t) {
		for range flips {
			at := r.IntN(len(data))
			was := data[at]
			data[at] = byte(r.IntN(256))
			l := readAll(data)
			checkEvidence(t, l, string(data))
			if lines := bytes.Count(data, []byte("\n")); len(l.Entries) > lines+1 {
				t.Fatalf("%d entries of %d lines", len(l.Entries), lines)
			}
			data[at] = was
		}
	}
}

// FuzzText: any text gives entries in order whose spans lie in it, and the same
// ones again.
func FuzzText(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data)
	}
	for _, c := range texts {
		f.Add([]byte(c.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read := func(data []byte) *Log {
			l := readText(console.Decode(bundle.NewArtifact("a", bundle.Serial, data), data), bundle.Serial)
			checkEvidence(t, l, string(data))
			return l
		}
		l := read(data)
		for i := range l.Entries[min(1, len(l.Entries)):] {
			if l.Entries[i].Evidence.Start > l.Entries[i+1].Evidence.Start {
				t.Fatalf("entry %d stands before entry %d", i+1, i)
			}
		}
		if again := read(bytes.Clone(data)); len(again.Entries) != len(l.Entries) {
			t.Fatalf("%d entries, then %d", len(l.Entries), len(again.Entries))
		}
	})
}

// FuzzProbes: whatever a probe's record holds, entries stand in it.
func FuzzProbes(f *testing.F) {
	f.Add([]byte(`{"argv":["journalctl"],"exit_status":0,"stdout":"Mar 06 07:08:35 box demo[9]: one\n                              two\nMar 06 07:08:36 box demo[9]: \u00e4\n","stderr":"","where":"guest"}`))
	f.Add([]byte(`[{"argv":["journalctl"],"stdout":"{\"__CURSOR\":\"x\",\"MESSAGE\":\"y\"}\n"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := readProbes(bundle.NewArtifact("guest/a.json", bundle.Probe, data))
		checkEvidence(t, l, string(data))
	})
}
