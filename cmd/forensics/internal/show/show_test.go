package show

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
)

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"plain text\twith a tab": "plain text\twith a tab",
		"Größe 名前":               "Größe 名前",
		"\x1b[31mred":            `\x1b[31mred`,
		"a\rb\x07\x7f":           `a\x0db\x07\x7f`,
		"\u0085\u009b":           `\xc2\x85\xc2\x9b`,
		"bad \xff byte":          `bad \xff byte`,
		"\u202eturned\u200b":     `\u202eturned\u200b`,
		"\U000e0041":             `\U000e0041`,
		"e\u0301\u0301\u0301":    "e\u0301\u0301" + `\u0301`,
	} {
		if got := visible(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	f.Add("\x1b]0;title\x07 \u202e \xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range visible(s) {
			if r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e {
				t.Fatalf("%q shows %q", s, r)
			}
		}
	})
}

func TestLines(t *testing.T) {
	data := []byte("\x1b[?2004h$ \x1b[?2004lid -u\r\r\nboot \x1b[1mtext\x1b[0m\r\r\nid -u\n1000\r\r\n")
	var b strings.Builder
	if err := Lines(&b, console.Decode(bundle.NewArtifact("serial.log", bundle.Serial, data), data)); err != nil {
		t.Fatal(err)
	}
	const want = "     1   $ id -u\n     2   boot text\n     3 > id -u\n     4   1000\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

func TestEntries(t *testing.T) {
	entries := []journal.Entry{
		{When: time.Date(2025, 11, 2, 9, 15, 0, 250_000, time.UTC), Monotonic: 1.5, Host: "nixos", Ident: "systemd", PID: 1, Unit: "x.service", BootID: "0a0b", Priority: 6, Message: "first\nsecond"},
		{Stamp: "[    1.000000]", Monotonic: -1, Priority: -1, BootID: "#1", Message: "\x1b[31mü"},
	}
	for form, want := range map[string]string{
		Short: "2025-11-02T09:15:00.000250Z nixos systemd[1]: first\n" + strings.Repeat(" ", 46) + "second\n[    1.000000] unknown: " + `\x1b[31mü` + "\n",
		Export: "__REALTIME_TIMESTAMP=1762074900000250\n__MONOTONIC_TIMESTAMP=1500000\n_BOOT_ID=0a0b\nPRIORITY=6\n_HOSTNAME=nixos\nSYSLOG_IDENTIFIER=systemd\n_PID=1\n_SYSTEMD_UNIT=x.service\n" +
			"MESSAGE\n\x0c\x00\x00\x00\x00\x00\x00\x00first\nsecond\n\nMESSAGE\n\x07\x00\x00\x00\x00\x00\x00\x00\x1b[31mü\n\n",
		JSON: `{"__REALTIME_TIMESTAMP":"1762074900000250","__MONOTONIC_TIMESTAMP":"1500000","_BOOT_ID":"0a0b","PRIORITY":"6","_HOSTNAME":"nixos","SYSLOG_IDENTIFIER":"systemd","_PID":"1","_SYSTEMD_UNIT":"x.service","MESSAGE":"first\nsecond"}` + "\n" +
			`{"MESSAGE":"\u001b[31m\u00fc"}` + "\n",
	} {
		var b strings.Builder
		if err := Entries(&b, entries, form); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s:\n%q\nwant\n%q", form, b.String(), want)
		}
	}
}

func TestTree(t *testing.T) {
	fsys := fstest.MapFS{
		"a":      {Data: []byte("12345"), Mode: 0o640},
		"dir/su": {Data: []byte("x"), Mode: 0o755 | fs.ModeSetuid},
		"dir/\n": {Mode: 0o600},
		"link":   {Data: []byte("dir/su"), Mode: fs.ModeSymlink | 0o777},
		"sticky": {Mode: fs.ModeDir | fs.ModeSticky | 0o1776&0o777},
		"null":   {Mode: fs.ModeDevice | fs.ModeCharDevice | 0o666},
	}
	for form, want := range map[string]string{
		Find: "/\n/a\n/dir\n/dir/\\x0a\n/dir/su\n/link\n/null\n/sticky\n",
		Long: "dr-xr-xr-x            0 /\n-rw-r-----            5 /a\ndr-xr-xr-x            0 /dir\n-rw-------            0 /dir/\\x0a\n-rwsr-xr-x            1 /dir/su\n" +
			"lrwxrwxrwx            6 /link -> dir/su\ncrw-rw-rw-            0 /null\ndrwxrwxrwT            0 /sticky\n",
	} {
		var b strings.Builder
		if err := Tree(&b, fsys, ".", form, func(p string, err error) { t.Errorf("%s: %v", p, err) }); err != nil {
			t.Fatal(err)
		}
		if b.String() != want {
			t.Errorf("%s:\n%s\nwant\n%s", form, b.String(), want)
		}
	}
}

func TestCommand(t *testing.T) {
	var b strings.Builder
	if err := Command(&b, []string{"qemu-system-x86_64", "-m", "2048", "-no-reboot", "-drive", "file=a,,b.img,if=virtio", "disk\x1b.img"}); err != nil {
		t.Fatal(err)
	}
	const want = "qemu-system-x86_64\n  -m\n      2048\n  -no-reboot\n  -drive\n      file=a,b.img\n      if=virtio\ndisk\\x1b.img\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}
