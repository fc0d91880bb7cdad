package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers/bundle/archive"
)

// packed returns "path=content" items as an archive or compressed file, of the
// format that name's end says.
func packed(t testing.TB, name string, files ...string) string {
	t.Helper()
	dir := tree(files...).(fstest.MapFS)
	var b bytes.Buffer
	var err error
	switch path.Ext(name) {
	case ".tar":
		w := tar.NewWriter(&b)
		err = w.AddFS(dir)
		w.Close()
	case ".zip":
		w := zip.NewWriter(&b)
		err = w.AddFS(dir)
		w.Close()
	case ".gz":
		text := files[0]
		if strings.HasSuffix(name, ".tar.gz") {
			text = packed(t, "x.tar", files...)
		}
		w := gzip.NewWriter(&b)
		_, err = w.Write([]byte(text))
		w.Close()
	default:
		t.Fatalf("no format %s", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// climbing returns an archive with a member that would leave it.
func climbing(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range []string{"../passwd", "serial.log"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(bootText))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(bootText)); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	return b.String()
}

// TestFindPacked: an archive is a directory, but for what stands unpacked too.
func TestFindPacked(t *testing.T) {
	const qemu = "qemu-system-x86_64: Could not set up host forwarding rule\r\n" // the same in many runs
	pack := func(name string, files ...string) string {                          // "path=content" of an archive
		return name + "=" + packed(t, name, files...)
	}
	boot, journal := "serial.log="+bootText, "journal.txt="+journalText
	tests := []struct {
		name  string
		files []string
		want  []string // as in TestFind
		notes []string // "path: text", the starts
	}{
		{"one run", []string{pack("a.tar", boot, journal)},
			[]string{"root/a.tar: journal.txt journal, serial.log serial"}, nil},
		{"with its directory", []string{pack("a.tar.gz", "a/"+boot, "a/"+journal)},
			[]string{"root/a.tar.gz!/a: journal.txt journal, serial.log serial"}, nil},
		{"several", []string{pack("a.zip", "2025-10-08T13-56-18Z-serial.log="+bootText, "2025-10-09T01-32-01Z-serial.log="+otherBoot)},
			[]string{"root/a.zip!/2025-10-08T13-56-18Z: 2025-10-08T13-56-18Z-serial.log serial", "root/a.zip!/2025-10-09T01-32-01Z: 2025-10-09T01-32-01Z-serial.log serial"}, nil},
		{"beside the directory that it was made of", []string{"a/" + boot, "a/" + journal, pack("a.tar.gz", "a/"+boot, "a/"+journal)},
			[]string{"root/a: journal.txt journal, serial.log serial"}, []string{"root/a.tar.gz: repeats root/a: not counted again"}},
		{"made in that directory", []string{"a/" + boot, "a/" + journal, pack("a.tar.gz", boot, journal)},
			[]string{"root/a: journal.txt journal, serial.log serial"}, []string{"root/a.tar.gz: repeats root/a: not counted again"}},
		{"with more than the directory has", []string{"a/" + boot, pack("a.tar.gz", "a/"+boot, "a/"+journal)},
			[]string{"root/a: serial.log serial"}, []string{"root/a.tar.gz: repeats root/a: not counted again; files that stand nowhere else: 1, unpack it"}},
		{"another boot of that name", []string{"a/" + boot, pack("a.tar.gz", "a/serial.log="+otherBoot)},
			[]string{"root/a: serial.log serial", "root/a.tar.gz!/a: serial.log serial"}, nil},
		{"in two formats", []string{pack("a.tar", boot), pack("a.zip", boot)},
			[]string{"root/a.tar: serial.log serial"}, []string{"root/a.zip: repeats root/a.tar: not counted again"}},
		{"the same bytes under two names", []string{pack("a.tar", "serial.log="+qemu), pack("b.tar", "serial.log="+qemu), "c/serial.log=" + qemu},
			[]string{"root/a.tar: serial.log serial", "root/b.tar: serial.log serial", "root/c: serial.log serial"}, nil},
		{"the same runs below two names", []string{pack("a.tar", "run/serial.log="+qemu), pack("b.tar", "run/serial.log="+qemu), "c/run/serial.log=" + qemu},
			[]string{"root/a.tar!/run: serial.log serial", "root/b.tar!/run: serial.log serial", "root/c/run: serial.log serial"}, nil},
		{"what belongs to a run", []string{"a/" + boot, "a/" + pack("logs.tar.gz", "logs/"+journal)},
			[]string{"root/a: logs.tar.gz archive, logs.tar.gz!/logs/journal.txt journal, serial.log serial"}, nil},
		{"a copy within the run", []string{"a/" + boot, "a/" + journal, "a/" + pack("all.tar.gz", boot, journal, "more.txt="+statusText)},
			[]string{"root/a: all.tar.gz archive, all.tar.gz!/more.txt capture, journal.txt journal, serial.log serial"}, []string{"all.tar.gz: repeats 2 of the files beside it"}},
		{"the tail of the run's transcript", []string{"a/serial.log=" + bootText + "and more\r\r\n", "a/" + pack("tail.zip", boot)},
			[]string{"root/a: serial.log serial, tail.zip archive, tail.zip!/serial.log excerpt"}, nil},
		{"another boot within the run", []string{"a/" + boot, "a/" + pack("old.zip", "serial.log="+otherBoot)},
			[]string{"root/a: old.zip archive, serial.log serial", "root/a/old.zip: serial.log serial"}, nil},
		{"beside several runs", []string{"2025-10-08T13-56-18Z-serial.log=" + bootText, "2025-10-09T01-32-01Z-serial.log=" + otherBoot, pack("logs.zip", journal)},
			[]string{"root/2025-10-08T13-56-18Z: 2025-10-08T13-56-18Z-serial.log serial", "root/2025-10-09T01-32-01Z: 2025-10-09T01-32-01Z-serial.log serial"},
			[]string{"root/logs.zip: belongs to none of the 2 runs beside it"}},
		{"beside several runs, named as one", []string{"2025-10-08T13-56-18Z-serial.log=" + bootText, "2025-10-09T01-32-01Z-serial.log=" + otherBoot, "2025-10-09T01-32-01Z-logs.zip=" + packed(t, "x.zip", journal)},
			[]string{"root/2025-10-08T13-56-18Z: 2025-10-08T13-56-18Z-serial.log serial", "root/2025-10-09T01-32-01Z: 2025-10-09T01-32-01Z-logs.zip archive, 2025-10-09T01-32-01Z-logs.zip!/journal.txt journal, 2025-10-09T01-32-01Z-serial.log serial"}, nil},
		{"nothing of a run", []string{pack("a.tar", "README.md=hello"), "b.zip=PK\x03\x04"}, nil, []string{"root/b.zip: its directory"}},
		{"an archive in an archive", []string{pack("ci.zip", pack("a.tar.gz", boot))}, []string{"root/ci.zip!/a.tar.gz: serial.log serial"}, nil},
		{"beside its directory in an archive", []string{pack("ci.zip", "a/"+boot, pack("a.tar.gz", "a/"+boot))},
			[]string{"root/ci.zip!/a: serial.log serial"}, []string{"root/ci.zip!/a.tar.gz: repeats root/ci.zip!/a: not"}},
		{"and beside it unpacked", []string{"a/" + boot, pack("ci.zip", "a/"+boot, pack("a.tar.gz", "a/"+boot))},
			[]string{"root/a: serial.log serial"}, []string{"root/ci.zip: repeats root/a: not", "root/ci.zip!/a.tar.gz: repeats root/a: not"}},
		{"in three formats", []string{pack("a.tar", "a/"+boot), pack("a.tar.gz", "a/"+boot), pack("a.zip", "a/"+boot)},
			[]string{"root/a.tar!/a: serial.log serial"}, []string{"root/a.tar.gz: repeats root/a.tar!/a: not", "root/a.zip: repeats root/a.tar!/a: not"}},
		{"too deep", []string{pack("x.zip", pack("y.zip", pack("a.tar.gz", boot)))}, nil, []string{"root/x.zip!/y.zip!/a.tar.gz: an archive in"}},
		{"a refused member", []string{"a.tar=" + climbing(t)},
			[]string{"root/a.tar: serial.log serial"}, []string{"root/a.tar!/../passwd: a name that leads out of the archive"}},
		{"compressed files", []string{"serial.log.gz=" + packed(t, "x.gz", bootText), "journal.txt.gz=" + packed(t, "x.gz", journalText), "initrd.gz=" + packed(t, "x.gz", "\x00\x01\x02\x03")},
			[]string{"root: initrd.gz binary, journal.txt.gz journal, serial.log.gz serial"}, nil},
		{"a rotated copy", []string{boot, journal, "journal.txt.gz=" + packed(t, "x.gz", journalText), "old.log.gz=" + packed(t, "x.gz", bootText)},
			[]string{"root: journal.txt journal, journal.txt.gz excerpt, old.log.gz excerpt, serial.log serial"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runs, problems := Find(tree(tt.files...), "root")
			var got, notes []string
			for _, r := range runs {
				var as []string
				for _, a := range r.Artifacts {
					as = append(as, fmt.Sprintf("%s %s", a.Path, a.Kind))
				}
				got = append(got, r.Path+": "+strings.Join(as, ", "))
				problems = append(problems, r.Problems...)
			}
			for _, p := range problems {
				notes = append(notes, p.Path+": "+p.Text)
			}
			if !slices.Equal(got, tt.want) || !slices.EqualFunc(notes, tt.notes, strings.HasPrefix) {
				t.Errorf("got\n  %s\nwant\n  %s\nnotes\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "), strings.Join(notes, "\n  "), strings.Join(tt.notes, "\n  "))
			}
		})
	}
}

// TestUnpacked: content, size and digest of a compressed file are those of what
// it holds; what is damaged says so and has what came before.
func TestUnpacked(t *testing.T) {
	whole := packed(t, "x.gz", bootText)
	for name, tt := range map[string]struct {
		data, want, problem string
	}{
		"whole":        {whole, bootText, ""},
		"no check sum": {whole[:len(whole)-8], bootText, fmt.Sprintf("damaged or cut off at byte %d", len(bootText))},
	} {
		r, problems := FindFile(fstest.MapFS{"serial.log.gz": {Data: []byte(tt.data)}}, "d", "serial.log.gz")
		a := r.Artifacts[0]
		data, err := a.Bytes()
		if string(data) != tt.want || err != nil || a.Kind != Serial || a.Size != int64(len(tt.want)) || a.SHA256() != NewArtifact("", Serial, []byte(tt.want)).SHA256() {
			t.Errorf("%s: %s of %d bytes %q, %v", name, a.Kind, a.Size, data, err)
		}
		if (len(problems) > 0) != (tt.problem != "") || len(problems) > 0 && !strings.HasPrefix(problems[0].Text, tt.problem) {
			t.Errorf("%s: problems %v", name, problems)
		}
	}
}

// TestTooLarge: what is too large to be unpacked is listed as what it is, and
// says so when it is read.
func TestTooLarge(t *testing.T) {
	text := bootText + strings.Repeat("and so on\n", MaxText/10)
	for name, files := range map[string]fstest.MapFS{
		"a compressed file":  {"serial.log.gz": {Data: []byte(packed(t, "x.gz", text))}},
		"in an archive":      {"a.tar.gz": {Data: []byte(packed(t, "a.tar.gz", "serial.log="+text))}},
		"in a deflated file": {"a.zip": {Data: []byte(packed(t, "a.zip", "serial.log="+text))}},
	} {
		runs, problems := Find(files, "root")
		if len(runs) != 1 || len(problems) > 0 {
			t.Fatalf("%s: %d runs, %v", name, len(runs), problems)
		}
		a := runs[0].Of(Serial)[0]
		if _, err := a.Bytes(); err == nil {
			t.Errorf("%s: no error of Bytes", name)
		}
		if _, _, _, err := a.ReaderAt(); err == nil {
			t.Errorf("%s: no error of ReaderAt", name)
		}
		if got := a.SHA256(); got != "" {
			t.Errorf("%s: digest %s", name, got)
		}
	}
}

func TestFindArchive(t *testing.T) {
	files := fstest.MapFS{
		"a.bin": {Data: []byte(packed(t, "a.tar", "serial.log="+bootText))},
		"b.log": {Data: []byte(bootText)},
		"c.zip": {Data: []byte("PK\x03\x04")},
	}
	for name, want := range map[string]bool{"a.bin": true, "b.log": false, "c.zip": true, "none": false} {
		if got := IsArchive(files, name); got != want {
			t.Errorf("%s is an archive: %t", name, got)
		}
	}
	runs, problems, err := FindArchive(files, "dir", "a.bin")
	if err != nil || problems != nil || len(runs) != 1 || runs[0].Path != "dir/a.bin" || runs[0].Archive != "dir/a.bin" || runs[0].Dir != "dir/a.bin!" {
		t.Errorf("%+v, %v, %v", runs, problems, err)
	}
	if _, _, err := FindArchive(files, "dir", "c.zip"); err == nil {
		t.Error("c.zip: no error")
	}
}

// TestMaxMember: what is read as text is unpacked.
func TestMaxMember(t *testing.T) {
	if archive.MaxMember != MaxText {
		t.Errorf("members of %d bytes are unpacked, texts of %d read", archive.MaxMember, MaxText)
	}
}

// FuzzFindArchive holds that the tree within an archive is walked without a
// panic and twice the same.
func FuzzFindArchive(f *testing.F) {
	for _, name := range []string{"a.tar", "a.tar.gz", "a.zip"} {
		f.Add([]byte(packed(f, name, "boot/serial.log="+bootText, "boot/logs.tar="+packed(f, "x.tar", "journal.txt="+journalText))))
		f.Add([]byte(packed(f, name, "serial.log.gz="+packed(f, "x.gz", bootText), "log="+driverText)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		show := func() string {
			var b strings.Builder
			runs, problems := Find(fstest.MapFS{"a": {Data: data}}, "root")
			for _, r := range runs {
				fmt.Fprintln(&b, r.Path, r.Dir, r.Archive, r.Problems)
				for _, a := range r.Artifacts {
					fmt.Fprintln(&b, a.Path, a.Kind, a.Size, a.SHA256())
					if a.Kind != Archive && !fs.ValidPath(strings.ReplaceAll(a.Path, "!/", "/")) {
						t.Fatalf("path %q", a.Path)
					}
				}
			}
			fmt.Fprintln(&b, problems)
			return b.String()
		}
		if a, b := show(), show(); a != b {
			t.Fatalf("found %s\nthen %s", a, b)
		}
	})
}
