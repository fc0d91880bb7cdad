package tree

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers/bundle"
)

// recordOf is the run of a captured bundle with the record and copies given.
func recordOf(record string, copies map[string]string) *bundle.Run {
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact(recordPath, bundle.Unknown, []byte(record))}}
	for name, text := range copies {
		run.Artifacts = append(run.Artifacts, bundle.NewArtifact(bundle.CopiesDir+"/"+name, bundle.Copy, []byte(text)))
	}
	return run
}

func recorded(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/tree.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// replaced replaces exactly one place.
func replaced(t *testing.T, s, old, new string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q is there %d times", old, strings.Count(s, old))
	}
	return strings.Replace(s, old, new, 1)
}

// blind is what a record cannot say: that of the test image has no digests of
// what lies in the squashfs.
const blind = " of equal size not compared: the record of the image has neither their bytes nor their digest"

func TestRecord(t *testing.T) {
	rec := recorded(t)
	const (
		python = "/nix-store.squashfs!/nix/store/mvh6jw0pd2g2d4965rzqn9xmz2v30ijb-pre-nixos-0.3.0/lib/pre_nixos/"
		events = python + `events.py","type":"file","mode":"0644","size":878}`
		disko  = `{"path":"/nix-store.squashfs!/nix/store/yxzmlwakl3nl8cwg217c3msv2xajzg44-system-path/bin/disko",`
		unit   = "nix-store.squashfs!/etc/systemd/system/pre-nixos.service"
	)
	squash := redone(t, rec, "/nix-store.squashfs")
	for name, c := range map[string]struct {
		to                   string
		fromCopies, toCopies map[string]string
		want, notes          []string
	}{
		"nothing": {to: rec},
		"a digest": {
			to:   redone(t, rec, "/boot/nix/store/iqh5k6v3n3dwrm3f8bb0x30wd3bf86k6-linux-6.1.0/bzImage"),
			want: []string{"boot/nix/store/iqh5k6v3n3dwrm3f8bb0x30wd3bf86k6-linux-6.1.0/bzImage changed"},
		},
		"a text with its copies": {
			to:         sized(t, redone(t, rec, "/EFI/BOOT/grub.cfg"), "/EFI/BOOT/grub.cfg", 28),
			fromCopies: map[string]string{"EFI/BOOT/grub.cfg": strings.Repeat("#", 1804) + "\n"},
			toCopies:   map[string]string{"EFI/BOOT/grub.cfg": "set timeout=5\nset default=1\n"},
			want:       []string{"EFI/BOOT/grub.cfg changed -1 +2"},
		},
		"a copy that is not what the record says": {
			to:         redone(t, rec, "/EFI/BOOT/grub.cfg"),
			fromCopies: map[string]string{"EFI/BOOT/grub.cfg": "set timeout=5\n"},
			toCopies:   map[string]string{"EFI/BOOT/grub.cfg": "set timeout=6\n"},
			want:       []string{"EFI/BOOT/grub.cfg changed"},
			notes:      []string{"iso/files/EFI/BOOT/grub.cfg: 14 bytes where the listing has 1805"},
		},
		"in a squashfs, a file of another size, and one that is gone": {
			to: without(t, replaced(t, squash, events, strings.Replace(events, "878", "879", 1)), disko),
			want: []string{
				strings.TrimPrefix(python, "/") + "events.py changed",
				"nix-store.squashfs!/nix/store/yxzmlwakl3nl8cwg217c3msv2xajzg44-system-path/bin/disko removed",
			},
			notes: []string{"23 files" + blind},
		},
		"in a squashfs, a text of the same size": {
			to:         squash,
			fromCopies: map[string]string{strings.Replace(unit, "!", ".d", 1): strings.Repeat("a", 1040) + "\n"},
			toCopies:   map[string]string{strings.Replace(unit, "!", ".d", 1): strings.Repeat("b", 1040) + "\n"},
			want:       []string{unit + " changed -1 +1"},
			notes:      []string{"23 files" + blind},
		},
		"a squashfs of which it does not say what differs": {
			to:    squash,
			want:  []string{"nix-store.squashfs changed"},
			notes: []string{"24 files" + blind},
		},
		"a boot program that knows where it lies": {
			to:   redone(t, rec, "/isolinux/isolinux.bin"),
			want: []string{"isolinux/isolinux.bin changed, as it does when other files move (harmless)"},
		},
		"archives of which only the digests are there, but for one that is laid over the root": {
			to: redone(t, redone(t, redone(t, rec, "/system-config.tar.gz"), "/faults/disko-error.tar.gz"), "/faults/slow-unit.tar.gz"),
			want: []string{
				"system-config.tar.gz changed",
				"2 archives in faults changed, or only their dates did",
			},
		},
		"one that breaks off": {
			to:    rec[:len(rec)/2],
			notes: []string{"iso/tree.jsonl of the second run: line 67: the last entry breaks off"},
		},
		"one that breaks off in the image itself": {
			to:    rec[:1000],
			notes: []string{"iso/tree.jsonl of the second run: line 11: the last entry breaks off", "25 files that one image has not reported: the other was not read in full"},
		},
		"one with other lines in it": {
			to:    "[]\n" + rec,
			notes: []string{"iso/tree.jsonl of the second run: line 1: no entry of an image"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, notes := compared(t, recordOf(rec, c.fromCopies), recordOf(c.to, c.toCopies))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("changes: -want +got\n%s", d)
			}
			if d := cmp.Diff(c.notes, notes); d != "" {
				t.Errorf("notes: -want +got\n%s", d)
			}
		})
	}
}

// TestCopiedArchive: an archive that a bundle keeps is looked into.
func TestCopiedArchive(t *testing.T) {
	tarball := func(text string) string {
		dir := t.TempDir()
		files{"x.tar.gz!/etc/config.json": text}.write(t, dir)
		data, err := os.ReadFile(dir + "/x.tar.gz")
		must(t, err)
		return string(data)
	}
	a, b, c := tarball("{}\n"), tarball("{}\n"), tarball("[]\n")
	run := func(data string) *bundle.Run {
		return recordOf(fmt.Sprintf(`{"path":"/x.tar.gz","type":"file","mode":"0444","size":%d,"sha256":"%x"}`+"\n", len(data), sha256.Sum256([]byte(data))),
			map[string]string{"x.tar.gz": data})
	}
	for to, want := range map[string][]string{b: nil, c: {"x.tar.gz!/etc/config.json changed -1 +1"}} {
		cs, notes := Compare(run(a), run(to), nil)
		var got []string
		for _, c := range cs {
			got = append(got, brief(c))
			for _, e := range c.Evidence {
				if e.Path != "iso/files/x.tar.gz!/etc/config.json" {
					t.Errorf("evidence in %s", e.Path)
				}
			}
		}
		if d := cmp.Diff(want, got); d != "" || len(notes) > 0 {
			t.Errorf("-want +got\n%s%q", d, notes)
		}
	}
}

// redone gives a file of the record another digest.
func redone(t *testing.T, rec, name string) string {
	t.Helper()
	return line(t, rec, name, func(l string) string {
		i := strings.Index(l, `"sha256":"`) + len(`"sha256":"`)
		return l[:i] + strings.Repeat("0", 64) + l[i+64:]
	})
}

// sized gives a file of the record another size.
func sized(t *testing.T, rec, name string, size int) string {
	t.Helper()
	return line(t, rec, name, func(l string) string {
		return regexp.MustCompile(`"size":\d+`).ReplaceAllString(l, fmt.Sprintf(`"size":%d`, size))
	})
}

// line changes the entry of a file.
func line(t *testing.T, rec, name string, f func(string) string) string {
	t.Helper()
	for l := range strings.Lines(rec) {
		if strings.HasPrefix(l, `{"path":"`+name+`",`) {
			return replaced(t, rec, l, f(l))
		}
	}
	t.Fatalf("no %s in the record", name)
	return ""
}

// without leaves out the line that begins so.
func without(t *testing.T, rec, start string) string {
	t.Helper()
	for l := range strings.Lines(rec) {
		if strings.HasPrefix(l, start) {
			return replaced(t, rec, l, "")
		}
	}
	t.Fatalf("no %s in the record", start)
	return ""
}

// TestMixed: an image and the record of one.
func TestMixed(t *testing.T) {
	tree := files{"version.txt": "1\n", "isolinux/isolinux.cfg": menu, "same": "text\n", "x/y": "gone\n"}
	image := tree.image(t, "from.iso")
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	rec := `{"path":"/","type":"directory","mode":"0555","size":0}
{"path":"/isolinux","type":"directory","mode":"0555","size":0}
{"path":"/isolinux/isolinux.cfg","type":"file","mode":"0444","size":117,"sha256":"` + sum(strings.Replace(menu, "50", "70", 1)) + `"}
{"path":"/same","type":"file","mode":"0444","size":5,"sha256":"` + sum("text\n") + `"}
{"path":"/version.txt","type":"file","mode":"0444","size":2,"sha256":"` + sum("2\n") + `"}
`
	got, notes := compared(t, image, recordOf(rec, map[string]string{"isolinux/isolinux.cfg": strings.Replace(menu, "50", "70", 1)}))
	want := []string{"isolinux/isolinux.cfg changed -1 +1", "version.txt changed", "x/y removed -1 +0"}
	if d := cmp.Diff(want, got); d != "" || len(notes) > 0 {
		t.Errorf("-want +got\n%s%q", d, notes)
	}
}

// TestRecordBounds: what is no entry is not taken for one.
func TestRecordBounds(t *testing.T) {
	for _, entry := range []string{
		`{"path":"etc","type":"file","mode":"0444","size":0}`,
		`{"path":"/a/../b","type":"file","mode":"0444","size":0}`,
		`{"path":"/a/","type":"directory","mode":"0444","size":0}`,
		`{"path":"/a\u0000b","type":"file","mode":"0444","size":0}`,
		`{"path":"/a","type":"file","mode":"0444","size":-1}`,
		`{"path":"/a","type":"pipe","mode":"0444","size":1}`,
		`{"path":"/a","type":"file","mode":"0444","size":1,"sha256":"abc"}`,
		`{"path":"/","type":"file","mode":"0444","size":1}`,
		`{}`, `null`, `7`, `{"path":`,
	} {
		r, problem := parseRecord([]byte(entry + "\n"))
		if problem == "" {
			t.Errorf("%s: no problem", entry)
		}
		for name, v := range r.volumes {
			if len(v.files) > 0 || !v.partial {
				t.Errorf("%s: %d files in %q, partial %v", entry, len(v.files), name, v.partial)
			}
		}
	}
	long := strings.Repeat(`{"path":"/a","type":"file","mode":"0444","size":1}`+"\n", maxRecord+1)
	if r, problem := parseRecord([]byte(long)); problem == "" || len(r.volumes[""].files) != maxRecord || !r.volumes[""].partial {
		t.Errorf("%d lines: %d files, problem %q", maxRecord+1, len(r.volumes[""].files), problem)
	}
}

func FuzzRecord(f *testing.F) {
	rec := recorded(f)
	f.Add(rec, rec)
	f.Add(rec, strings.ReplaceAll(rec, "878", "879"))
	f.Add(rec, rec[:len(rec)/3])
	f.Add(rec, strings.ReplaceAll(rec, "mvh6jw0pd2g2d4965rzqn9xmz2v30ijb", "00000000000000000000000000000000"))
	f.Add(`{"path":"/a!/b!/c","type":"file","mode":"0755","size":1}`, `{"path":"/a!/b!/c","type":"link","mode":"0777","size":0,"link":"x"}`)
	f.Fuzz(func(t *testing.T, from, to string) {
		a, b := recordOf(from, nil), recordOf(to, nil)
		cs, notes := Compare(a, b, params)
		if again, _ := Compare(a, b, params); !cmp.Equal(cs, again) {
			t.Error("twice is not the same")
		}
		if len(cs) > maxChanges+maxHarmless+1 || len(notes) > maxNotes+8 {
			t.Errorf("%d changes, %d notes", len(cs), len(notes))
		}
		mirror, _ := Compare(b, a, params)
		if len(mirror) != len(cs) {
			t.Fatalf("%d changes, and back %d", len(cs), len(mirror))
		}
		for i, c := range cs {
			if back := mirror[i]; c.Subject != back.Subject || c.From != back.To || c.To != back.From || c.Harmless != back.Harmless {
				t.Errorf("no mirror image: %+v\n%+v", c, back)
			}
			sound(t, c, a, b)
		}
		if same, _ := Compare(a, a, params); len(same) > 0 {
			t.Errorf("a run differs from itself: %+v", same[0])
		}
	})
}
