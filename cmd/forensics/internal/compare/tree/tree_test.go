package tree

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
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
	"forensics/analyzers/iso"
	"forensics/cmd/forensics/internal/report"
)

var params = analyzers.Params{"overlays": {"/config.tar.gz", "/system-config.tar.gz"}}

// files is a tree to be made: a text that begins with "-> " is a link, one that
// begins with "#!" may be executed, a name that ends in a slash is a directory.
// A name with "!/" in it lies in a volume, whose kind its own name says:
// .squashfs, .tar.gz, or initrd.
type files map[string]string

// with returns a copy with some files changed; "" deletes one.
func (f files) with(more files) files {
	out := files{}
	for name, text := range f {
		out[name] = text
	}
	for name, text := range more {
		if out[name] = text; text == "" {
			delete(out, name)
		}
	}
	return out
}

// write makes the tree below dir, volumes and all.
func (f files) write(t *testing.T, dir string) {
	t.Helper()
	inner := map[string]files{}
	for name, text := range f {
		if outer, in, ok := strings.Cut(name, "!/"); ok {
			if inner[outer] == nil {
				inner[outer] = files{}
			}
			inner[outer][in] = text
			continue
		}
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(p, 0o755))
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") || strings.HasPrefix(text, "\x7fELF") {
			mode = 0o755
		}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			must(t, os.Symlink(target, p))
		} else {
			must(t, os.WriteFile(p, []byte(text), mode))
		}
	}
	for name, in := range inner {
		sub := t.TempDir()
		in.write(t, sub)
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		switch {
		case strings.HasSuffix(name, ".squashfs"):
			tool(t, sub, "mksquashfs", ".", p, "-quiet", "-no-progress", "-all-root")
		case strings.HasSuffix(name, ".tar.gz"):
			tool(t, sub, "tar", "czf", p, ".")
		default:
			tool(t, sub, "sh", "-c", `find . | cpio --quiet -o -H newc | gzip > "$1"`, "sh", p)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func tool(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("no %s here", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// image makes an ISO image of the tree, and a run of it.
func (f files) image(t *testing.T, name string) *bundle.Run {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(t.TempDir(), name)
	f.write(t, dir)
	tool(t, dir, "xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", strings.ToUpper(strings.TrimSuffix(name, ".iso")), "-o", out, ".")
	return load(t, out)
}

func load(t *testing.T, name string) *bundle.Run {
	t.Helper()
	run, problems := bundle.FindFile(os.DirFS(filepath.Dir(name)), "", filepath.Base(name))
	if run == nil || run.Artifacts[0].Kind != bundle.ISO {
		t.Fatalf("%s: no image: %v", name, problems)
	}
	return run
}

// brief is a change in one line.
func brief(c report.Change) string {
	s := c.Summary
	if c.Harmless {
		s += " (harmless)"
	}
	if c.Diff != "" {
		var plus, minus int
		for i, l := range strings.Split(c.Diff, "\n") {
			if i > 1 && strings.HasPrefix(l, "+") {
				plus++
			} else if i > 1 && strings.HasPrefix(l, "-") {
				minus++
			}
		}
		s += fmt.Sprintf(" -%d +%d", minus, plus)
	}
	return s
}

// compared compares two runs, and holds what every comparison must: exchanged
// runs give the mirror image, evidence says what is there.
func compared(t *testing.T, from, to *bundle.Run) (briefs, notes []string) {
	t.Helper()
	cs, notes := Compare(from, to, params)
	mirror, back := Compare(to, from, params)
	if d := cmp.Diff(cs, mirrored(mirror)); d != "" {
		t.Errorf("no mirror image: -there +back\n%s", d)
	}
	if len(notes) != len(back) {
		t.Errorf("notes\n%q\nand back\n%q", notes, back)
	}
	for _, c := range cs {
		briefs = append(briefs, brief(c))
		sound(t, c, from, to)
	}
	return briefs, notes
}

// mirrored exchanges the sides of changes, but for the sentences, which it
// takes from nowhere.
func mirrored(cs []report.Change) []report.Change {
	for i, c := range cs {
		c.From, c.To = c.To, c.From
		c.Summary = turn(c.Summary)
		var from, to []report.SideEvidence
		for _, e := range c.Evidence {
			if e.Side == report.SideFrom {
				e.Side = report.SideTo
				to = append(to, e)
			} else {
				e.Side = report.SideFrom
				from = append(from, e)
			}
		}
		c.Evidence = slices.Concat(from, to)
		c.Diff = turnDiff(c.Diff)
		cs[i] = c
	}
	return cs
}

// turn makes the sentence of a change that of its mirror image.
func turn(s string) string {
	if a, rest, ok := strings.Cut(s, " is "); ok {
		now, before, _ := strings.Cut(strings.TrimSuffix(rest, " before)"), " now (")
		return a + " is " + before + " now (" + now + " before)"
	}
	if a, rest, ok := strings.Cut(s, " leads to "); ok {
		now, before, _ := strings.Cut(strings.TrimSuffix(rest, " before)"), " now (")
		return a + " leads to " + before + " now (" + now + " before)"
	}
	return strings.NewReplacer(" added", " removed", " removed", " added").Replace(s)
}

// turnDiff exchanges the sides of a diff.
func turnDiff(d string) string {
	lines := strings.SplitAfter(d, "\n")
	if len(lines) < 3 {
		return d
	}
	out := []string{"--- " + lines[1][4:], "+++ " + lines[0][4:]}
	var minus, plus []string
	end := &out
	for _, l := range lines[2:] {
		var a, n, b, m int
		switch {
		case strings.HasPrefix(l, "\\"):
			*end = append(*end, l)
			continue
		case strings.HasPrefix(l, "-"):
			plus, end = append(plus, "+"+l[1:]), &plus
			continue
		case strings.HasPrefix(l, "+"):
			minus, end = append(minus, "-"+l[1:]), &minus
			continue
		}
		out = append(append(out, minus...), plus...)
		minus, plus, end = nil, nil, &out
		if k, err := fmt.Sscanf(l, "@@ -%d,%d +%d,%d @@\n", &a, &n, &b, &m); k == 4 && err == nil {
			l = fmt.Sprintf("@@ -%d,%d +%d,%d @@\n", b, m, a, n)
		}
		out = append(out, l)
	}
	return strings.Join(append(append(out, minus...), plus...), "")
}

// sound holds a change's evidence to the bytes that it names.
func sound(t *testing.T, c report.Change, from, to *bundle.Run) {
	t.Helper()
	absent := map[string]string{}
	for _, e := range c.Evidence {
		absent[e.Side] = e.Absent
		run := from
		if e.Side == report.SideTo {
			run = to
		}
		data := bytesOf(t, run, e.Path)
		if e.Start < 0 || e.End <= e.Start || e.End > int64(len(data)) {
			t.Errorf("%s: evidence in %s: bytes %d to %d of %d", c.Summary, e.Path, e.Start, e.End, len(data))
			continue
		}
		if want := bundle.Span(e.Path, data, bundle.NewLineIndex(data), e.Start, e.End); want != e.Evidence {
			t.Errorf("%s: evidence in %s: line %d says %q, not %q", c.Summary, e.Path, want.Line, want.Quote, e.Quote)
		}
	}
	want := map[string]string{report.SideFrom: "", report.SideTo: ""}
	if c.From == "" {
		want[report.SideFrom] = report.AbsentFrom
	}
	if c.To == "" {
		want[report.SideTo] = report.AbsentFrom
	}
	if !maps.Equal(want, absent) {
		t.Errorf("%s: from %q to %q with evidence of %v", c.Summary, c.From, c.To, absent)
	}
}

// bytesOf returns what evidence points into: an artifact, or a file in an image.
func bytesOf(t *testing.T, run *bundle.Run, p string) []byte {
	t.Helper()
	outer, inner, nested := strings.Cut(p, "!/")
	a := run.Artifact(outer)
	if a == nil {
		t.Fatalf("evidence names %s, which is no artifact", outer)
	}
	if !nested {
		data, err := a.Bytes()
		must(t, err)
		return data
	}
	r, size, done, err := a.ReaderAt()
	must(t, err)
	defer done()
	m, err := iso.Open(r, size)
	must(t, err)
	data, err := m.ReadNested(inner)
	must(t, err)
	return data
}

const (
	hashA = "0a1b2c3d4f5g6h7i8j9k0l1m2n3p4q5r"
	hashB = "zyxwvsrqpnmlkjihgfdcba9876543210"
	hashC = "11112222333344445555666677778888"
)

// store writes the hash into names and texts.
func (f files) store(hash string) files {
	out := files{}
	for name, text := range f {
		out[strings.ReplaceAll(name, "@", hash+"-")] = strings.ReplaceAll(text, "@", "/nix/store/"+hash+"-")
	}
	return out
}

var (
	menu = "DEFAULT boot\nTIMEOUT 50\n\nLABEL boot\nLINUX /boot/bzImage\nAPPEND console=ttyS0,115200n8 loglevel=4\nINITRD /boot/initrd\n"
	base = files{
		"isolinux/isolinux.cfg": menu,
		"boot/bzImage":          "MZ" + strings.Repeat("kernel\x00", 500),
		"version.txt":           "1\n",
		"root.squashfs!/etc/systemd/system/a.service":         "[Unit]\nDescription=A\n\n[Service]\nType=oneshot\nExecStart=/bin/a\n",
		"root.squashfs!/etc/fstab":                            "tmpfs / tmpfs defaults 0 0\n",
		"root.squashfs!/bin/a":                                "#!/bin/sh\nset -e\necho a\n",
		"root.squashfs!/bin/b":                                "\x7fELF" + strings.Repeat("\x01program", 300),
		"root.squashfs!/usr/share/data":                       "\x00\x01\x02\x03",
		"root.squashfs!/etc/systemd/system/x.wants/a.service": "-> ../a.service",
		"boot/initrd!/init":                                   "#!/bin/sh\nmount /dev/sr0 /iso\n",
		"boot/initrd!/lib/modules/virtio_blk.ko":              "\x7fELF" + strings.Repeat("\x02module", 100),
		"config.tar.gz!/etc/config.json":                      "{\"interface\": \"lan\"}\n",
		"faults/one.tar.gz!/etc/other.json":                   "{}\n",
	}
	packages = files{
		"root.squashfs!/@tool-1.0/bin/tool":  "#!@bash-5/bin/sh\nexec @tool-1.0/lib/tool\n",
		"root.squashfs!/@tool-1.0/lib/tool":  "\x7fELF\x00@libc\x00" + strings.Repeat("\x00", 99),
		"root.squashfs!/@tool-1.0/lib/text":  "no reference\n",
		"root.squashfs!/@bash-5/bin/sh":      "\x7fELF\x00sh",
		"root.squashfs!/@system-1/etc/units": "-> @units",
	}
)

func TestImages(t *testing.T) {
	for name, c := range map[string]struct {
		from, to files
		want     []string
		notes    []string
	}{
		"nothing but label, dates and packing": {from: base, to: base},
		"a menu": {
			from: base, to: base.with(files{"isolinux/isolinux.cfg": strings.Replace(menu, "console=ttyS0,115200n8 ", "", 1)}),
			want: []string{"isolinux/isolinux.cfg changed -1 +1"},
		},
		"in a squashfs: a unit, a script, a text, a program, data, in this order": {
			from: base, to: base.with(files{
				"root.squashfs!/etc/systemd/system/a.service": "[Unit]\nDescription=A\nBefore=sshd.service\n\n[Service]\nType=oneshot\nExecStart=/bin/a\n",
				"root.squashfs!/etc/fstab":                    "tmpfs / tmpfs size=1G 0 0\n",
				"root.squashfs!/bin/a":                        "#!/bin/sh\nset -e\necho b\n",
				"root.squashfs!/bin/b":                        "\x7fELF" + strings.Repeat("\x03program", 300),
				"root.squashfs!/usr/share/data":               "\x00\x01\x02\x04",
			}),
			want: []string{
				"root.squashfs!/bin/a changed -1 +1",
				"root.squashfs!/etc/systemd/system/a.service changed -0 +1",
				"root.squashfs!/etc/fstab changed -1 +1",
				"root.squashfs!/bin/b changed",
				"root.squashfs!/usr/share/data changed",
			},
		},
		"links": {
			from: base, to: base.with(files{
				"root.squashfs!/etc/systemd/system/x.wants/a.service": "-> /dev/null",
				"root.squashfs!/etc/fstab":                            "-> fstab.real",
			}),
			want: []string{
				"root.squashfs!/etc/systemd/system/x.wants/a.service leads to /dev/null now (../a.service before)",
				"root.squashfs!/etc/fstab is a link now (a file before)",
			},
		},
		"permissions": {
			from: base, to: base.with(files{"root.squashfs!/etc/fstab": "#! / tmpfs defaults 0 0\n"}).with(files{"root.squashfs!/bin/a": "#!/bin/sh\nset -e\necho a\n"}),
			want: []string{"root.squashfs!/etc/fstab changed -1 +1"},
		},
		"a directory that is gone, one with one file, an empty one": {
			from: base, to: base.with(files{
				"root.squashfs!/etc/systemd/system/a.service":             "",
				"root.squashfs!/etc/systemd/system/x.wants/a.service":     "",
				"root.squashfs!/etc/systemd/system/b.service.d/more.conf": "[Service]\nRemainAfterExit=yes\n",
			}),
			want: []string{
				"root.squashfs!/etc/systemd/system/a.service removed -6 +0",
				"root.squashfs!/etc/systemd/system/b.service.d/more.conf added -0 +2",
				"root.squashfs!/etc/systemd/system/x.wants/a.service removed",
			},
		},
		"a small text and empty directories": {
			from: base, to: base.with(files{"root.squashfs!/mnt/": ".", "root.squashfs!/etc/none": "#", "x/": "."}),
			want: []string{"root.squashfs!/etc/none added -0 +1", "root.squashfs!/mnt added, with 0 files", "x added, with 0 files"},
		},
		"a directory of several": {
			from: base, to: base.with(files{"root.squashfs!/srv/x/1": "1", "root.squashfs!/srv/x/2": "22", "root.squashfs!/srv/y": "-> x"}),
			want: []string{"root.squashfs!/srv added, with 3 files"},
		},
		"a directory that became a file": {
			from: base, to: base.with(files{"root.squashfs!/usr/share/data": "", "root.squashfs!/usr/share": "text\n"}),
			want: []string{"root.squashfs!/usr/share is a file now (a directory before)"},
		},
		"an initrd": {
			from: base, to: base.with(files{"boot/initrd!/init": "#!/bin/sh\nmount /dev/sda /iso\n", "boot/initrd!/lib/modules/virtio_blk.ko": ""}),
			want: []string{"boot/initrd!/init changed -1 +1", "boot/initrd!/lib/modules/virtio_blk.ko removed"},
		},
		"an archive that is laid over the root goes before one that is not": {
			from: base, to: base.with(files{"config.tar.gz!/etc/config.json": "{\"interface\": \"wan\"}\n", "faults/one.tar.gz!/etc/other.json": "[]\n"}),
			want: []string{"config.tar.gz!/etc/config.json changed -1 +1", "faults/one.tar.gz!/etc/other.json changed -1 +1"},
		},
		"a link in an archive that leads out of it": {
			from: base, to: base.with(files{"config.tar.gz!/etc/mtab": "-> /proc/mounts"}),
			want:  []string{"config.tar.gz changed"},
			notes: []string{"to.iso!/config.tar.gz!/etc/mtab: a link that leads out of the archive: not read"},
		},
		"a volume that one side has": {
			from: base, to: base.with(files{"more.squashfs!/etc/x.service": "[Unit]\n"}),
			want: []string{"more.squashfs added"},
		},
		"a volume that is none": {
			from: base.with(files{"x.squashfs": "hsqs, it says"}), to: base.with(files{"x.squashfs": "hsqs, it said"}),
			want: []string{"x.squashfs changed -1 +1"},
		},
		"a kernel": {
			from: base, to: base.with(files{"boot/bzImage": "MZ" + strings.Repeat("KERNEL\x00", 500)}),
			want: []string{"boot/bzImage changed"},
		},
		"store hashes": {
			from: base.with(packages.store(hashA)), to: base.with(packages.store(hashB)),
			want: []string{
				"root.squashfs!/…-tool-1.0/bin/tool changed in store hashes only (harmless) -2 +2",
				"root.squashfs!/…-system-1/etc/units leads to /nix/store/" + hashB + "-units now (/nix/store/" + hashA + "-units before) (harmless)",
				"root.squashfs!/…-tool-1.0/lib/tool changed in store hashes only (harmless)",
				"3 store paths with another hash (harmless)",
			},
		},
		"a text in a store path with another hash": {
			from: base.with(packages.store(hashA)),
			to: base.with(packages.store(hashB)).with(files{
				"root.squashfs!/" + hashB + "-tool-1.0/bin/tool": "#!/nix/store/" + hashB + "-bash-5/bin/sh\nset -x\nexec /nix/store/" + hashB + "-tool-1.0/lib/tool\n",
				"root.squashfs!/" + hashB + "-tool-1.0/lib/tool": "\x7fELF\x00/nix/store/" + hashB + "-libc\x00" + strings.Repeat("\x01", 99),
			}),
			want: []string{
				"root.squashfs!/…-tool-1.0/bin/tool changed -0 +1",
				"root.squashfs!/…-tool-1.0/lib/tool changed",
				"root.squashfs!/…-system-1/etc/units leads to /nix/store/" + hashB + "-units now (/nix/store/" + hashA + "-units before) (harmless)",
				"3 store paths with another hash (harmless)",
			},
		},
		"a package of another version": {
			from: base.with(files{"root.squashfs!/" + hashA + "-tool-1.0/bin/tool": "#!/bin/sh\necho 1\n", "root.squashfs!/" + hashA + "-tool-1.0/share/text": "text\n"}),
			to:   base.with(files{"root.squashfs!/" + hashB + "-tool-1.1/bin/tool": "#!/bin/sh\necho 2\n", "root.squashfs!/" + hashB + "-tool-1.1/share/text": "text\n"}),
			want: []string{"root.squashfs!/…-tool-…/bin/tool changed -1 +1", "1 store path with another hash (harmless)"},
		},
		"packages of which it is not said which is which": {
			from: base.with(files{"root.squashfs!/" + hashA + "-tool-1.0/a": "a\n", "root.squashfs!/" + hashA + "-tool-1.0/b": "b\n"}),
			to: base.with(files{
				"root.squashfs!/" + hashB + "-tool-1.1/a": "a\n", "root.squashfs!/" + hashB + "-tool-1.1/b": "b\n",
				"root.squashfs!/" + hashC + "-tool-2.0/a": "a\n", "root.squashfs!/" + hashC + "-tool-2.0/b": "b\n",
			}),
			want: []string{
				"root.squashfs!/" + hashA + "-tool-1.0 removed, with 2 files",
				"root.squashfs!/" + hashC + "-tool-2.0 added, with 2 files",
				"root.squashfs!/" + hashB + "-tool-1.1 added, with 2 files",
			},
		},
		"namesakes in the store": {
			from: base.with(files{
				"root.squashfs!/" + hashA + "-source/a": "a\n", "root.squashfs!/" + hashB + "-source/b": "b\n", "root.squashfs!/" + hashB + "-source/c": "c\n",
			}),
			to: base.with(files{
				"root.squashfs!/" + hashC + "-source/a": "A\n", "root.squashfs!/" + hashB + "-source/b": "b\n", "root.squashfs!/" + hashB + "-source/c": "c\n",
			}),
			want: []string{"root.squashfs!/…-source/a changed -1 +1", "1 store path with another hash (harmless)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, notes := compared(t, c.from.image(t, "from.iso"), c.to.image(t, "to.iso"))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("changes: -want +got\n%s", d)
			}
			if d := cmp.Diff(c.notes, notes); d != "" {
				t.Errorf("notes: -want +got\n%s", d)
			}
		})
	}
}

// TestChange: all of a change.
func TestChange(t *testing.T) {
	from := files{"isolinux/isolinux.cfg": menu, "x/a": "1", "x/b": "-> a"}
	to := files{"isolinux/isolinux.cfg": strings.Replace(menu, " loglevel=4", "", 1)}
	got, notes := Compare(from.image(t, "from.iso"), to.image(t, "to.iso"), nil)
	evidence := func(side, p string, line int, start, end int64, quote string) report.SideEvidence {
		return report.SideEvidence{Side: side, Evidence: bundle.Evidence{Path: p, Line: line, Start: start, End: end, Quote: quote}}
	}
	want := []report.Change{{
		Kind: "iso.file", Subject: "isolinux/isolinux.cfg", Summary: "isolinux/isolinux.cfg changed",
		From: "file 117 bytes sha256:d851a9756c45…", To: "file 106 bytes sha256:32d85a834bae…",
		Diff: "--- from.iso!/isolinux/isolinux.cfg\n+++ to.iso!/isolinux/isolinux.cfg\n@@ -3,5 +3,5 @@\n \n LABEL boot\n LINUX /boot/bzImage\n" +
			"-APPEND console=ttyS0,115200n8 loglevel=4\n+APPEND console=ttyS0,115200n8\n INITRD /boot/initrd\n",
		Evidence: []report.SideEvidence{
			evidence("from", "from.iso!/isolinux/isolinux.cfg", 6, 56, 96, "APPEND console=ttyS0,115200n8 loglevel=4"),
			evidence("to", "to.iso!/isolinux/isolinux.cfg", 6, 56, 85, "APPEND console=ttyS0,115200n8"),
		},
	}, {
		Kind: "iso.file", Subject: "x", Summary: "x removed, with 2 files", From: "directory with 2 files, 1 byte",
		Evidence: []report.SideEvidence{
			evidence("from", "from.iso!/x/a", 1, 0, 1, "1"),
			{Side: "to", Absent: "from", Evidence: bundle.Evidence{Path: "to.iso", Line: 1, Start: 0x8001, End: 0x8006, Quote: "CD001"}},
		},
	}}
	if d := cmp.Diff(want, got); d != "" || len(notes) > 0 {
		t.Errorf("-want +got\n%s%q", d, notes)
	}
}

// TestNoImage: what there is nothing to compare of.
func TestNoImage(t *testing.T) {
	none := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("serial.log", bundle.Serial, []byte("login: "))}}
	broken := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.iso", bundle.ISO, []byte("CD001"))}}
	some := recordOf(`{"path":"/","type":"directory","mode":"0555","size":0}`, nil)
	for name, c := range map[string]struct {
		from, to *bundle.Run
		notes    []string
	}{
		"neither": {none, none, nil},
		"one":     {none, some, []string{"the first run has neither a boot image nor the record of one that can be read: their files are not compared"}},
		"the other": {some, broken, []string{
			"x.iso: byte 32768: no ISO 9660 volume descriptor",
			"the second run has neither a boot image nor the record of one that can be read: their files are not compared",
		}},
		"both the same": {some, some, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cs, notes := Compare(c.from, c.to, params)
			if d := cmp.Diff(c.notes, notes); d != "" || len(cs) > 0 {
				t.Errorf("notes: -want +got\n%s%v", d, cs)
			}
		})
	}
}

// TestDamaged: what a cut-off image no longer shows is not said to be missing.
func TestDamaged(t *testing.T) {
	run := base.image(t, "from.iso")
	r, size, done, err := run.Artifacts[0].ReaderAt()
	must(t, err)
	defer done()
	data := make([]byte, size)
	_, err = r.ReadAt(data, 0)
	must(t, err)
	for _, part := range []int64{0, 17 * 2048, size / 4, size / 2, size - 200_000, size - 5000} {
		cut := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("to.iso", bundle.ISO, data[:part])}}
		cs, notes := Compare(run, cut, params)
		for _, c := range cs {
			if c.To == "" {
				t.Errorf("cut at byte %d of %d: %s", part, size, c.Summary)
			}
		}
		if len(notes) == 0 {
			t.Errorf("cut at byte %d of %d: no note", part, size)
		}
	}
}

// TestLimits: what is beyond a limit is counted.
func TestLimits(t *testing.T) {
	from, to := files{}, files{}
	for i := range maxChanges + 20 {
		from[fmt.Sprintf("%03d.txt", i)] = "a\n"
		to[fmt.Sprintf("%03d.txt", i)] = "b\n"
	}
	a, b := from.image(t, "from.iso"), to.image(t, "to.iso")
	cs, notes := Compare(a, b, nil)
	if d := cmp.Diff([]string{"20 more differences between the images: the first 300 are listed"}, notes); d != "" || len(cs) != maxChanges {
		t.Errorf("%d changes; notes: -want +got\n%s", len(cs), d)
	}
	for _, left := range []int64{0, fileCost + 4, 9*(fileCost+4) + 99} {
		c, back := newComparer(nil), newComparer(nil)
		c.left, back.left = left, left
		cs, notes := c.compare(a, b)
		mirror, _ := back.compare(b, a)
		if d := cmp.Diff(cs, mirrored(mirror)); d != "" {
			t.Errorf("%d bytes left: no mirror image: -there +back\n%s", left, d)
		}
		n := len(from) - int(left/(fileCost+4))
		if want := fmt.Sprintf("%d files of equal size (%d bytes) not compared: only %d bytes of the images are read", n, 2*n, maxRead); !slices.Contains(notes, want) {
			t.Errorf("%d bytes left: %q", left, notes)
		}
	}
}

// TestLarge: large files are compared without being held, larger ones in parts.
func TestLarge(t *testing.T) {
	v := func(data []byte) *volume {
		return &volume{fsys: fstest.MapFS{"f": {Data: data}}, image: "x.iso"}
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), (maxHeld+3*block)/16)
	other := bytes.Clone(data)
	other[maxHeld+5] ^= 1
	f := func() *file { return &file{name: "f", kind: regular, size: int64(len(data))} }
	for name, c := range map[string]struct {
		b    []byte
		want verdict
	}{
		"equal":  {bytes.Clone(data), verdict{same, -1}},
		"differ": {other, verdict{differs, maxHeld + 5}},
	} {
		got := newComparer(nil).contents(&pair{file: [2]*file{f(), f()}, vol: [2]*volume{v(data), v(c.b)}})
		if got != c.want {
			t.Errorf("%s: %v, not %v", name, got, c.want)
		}
	}
	for _, size := range []int64{1, block, block + 1, maxWhole, maxWhole + 1, 1600 << 20} {
		ats := blocks(size)
		end := ats[len(ats)-1] + block
		if ats[0] != 0 || end < size || int64(len(ats))*block > maxWhole || !slices.IsSorted(ats) || len(slices.Compact(slices.Clone(ats))) != len(ats) {
			t.Errorf("of %d bytes, %d blocks from %d to %d", size, len(ats), ats[0], end)
		}
		if size <= maxWhole && int64(len(ats)) != (size+block-1)/block {
			t.Errorf("of %d bytes, only %d blocks", size, len(ats))
		}
	}
}

// BenchmarkRecord compares the records of two images of many files, of which one
// in a hundred has another size.
func BenchmarkRecord(b *testing.B) {
	var from, to strings.Builder
	for i := range 100_000 {
		const entry = `{"path":"/root.squashfs!/nix/store/%s-package-%d/share/%d","type":"file","mode":"0444","size":%d}` + "\n"
		fmt.Fprintf(&from, entry, hashA, i/50, i, i)
		fmt.Fprintf(&to, entry, hashB, i/50, i, i+i%100/99)
	}
	volume := func(sum string) string {
		return `{"path":"/root.squashfs","type":"file","mode":"0444","size":1000000000,"sha256":"` + strings.Repeat(sum, 64) + "\"}\n"
	}
	a, c := recordOf(volume("1")+from.String(), nil), recordOf(volume("2")+to.String(), nil)
	b.ReportAllocs()
	for b.Loop() {
		Compare(a, c, nil)
	}
}

// FuzzImage compares an image with itself, a few bytes of it changed.
func FuzzImage(f *testing.F) {
	var images [][]byte
	for _, name := range []string{"rr", "deep", "joliet", "efi", "hybrid"} {
		images = append(images, analyzertest.Gunzip(f, "../../../../../analyzers/iso/testdata/"+name+".iso.gz"))
	}
	for i := range images {
		f.Add(uint8(i), uint32(0), []byte{})
		f.Add(uint8(i), uint32(17*2048), []byte("\xff\xff"))
		f.Add(uint8(i), uint32(19*2048+33), []byte("other"))
		f.Add(uint8(i), uint32(len(images[i])-4096), []byte("x"))
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint32, patch []byte) {
		data := images[int(which)%len(images)]
		other := bytes.Clone(data)
		copy(other[int(at)%len(other):], patch)
		a := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("a.iso", bundle.ISO, data)}}
		b := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("b.iso", bundle.ISO, other)}}
		cs, _ := Compare(a, b, nil)
		mirror, _ := Compare(b, a, nil)
		if d := cmp.Diff(cs, mirrored(mirror)); d != "" {
			t.Errorf("no mirror image: -there +back\n%s", d)
		}
		if bytes.Equal(data, other) && len(cs) > 0 {
			t.Errorf("an image differs from itself: %s", cs[0].Summary)
		}
		for _, c := range cs {
			if len(c.Evidence) == 0 {
				t.Errorf("%s: no evidence", c.Summary)
			}
		}
	})
}
