package bundle

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	bootText    = "ISOLINUX 6.04\r\r\nLoading /boot/initrd...ok\r\r\nnixos login: nixos (automatic login)\r\r\n"
	otherBoot   = "SeaBIOS (version 1.16)\r\r\nnixos login: \r\r\nanother boot with other text\r\r\n"
	harnessText = "[2025-10-12T01:13:59.576780+00:00] Starting login sequence\n[2025-10-12T01:14:00.000000+00:00] Awaiting patterns: login: \n"
	journalText = "Mar 06 07:08:35 nixos systemd[1]: Starting Set up...\nMar 06 07:08:36 nixos set-up[9]: done\n"
	nixText     = "these 2 derivations will be built:\n  /nix/store/abc-x.drv\nbuilding '/nix/store/abc-x.drv'...\n"
	statusText  = "STATE=applied\nDETAIL=auto-applied\n"
	manifest    = `{"schema": "forensics.bundle/1"}`
	metaText    = `{"iso_path": "/x.iso", "nar_hash": "sha256-x"}`
)

// isoText begins as an image does.
var isoText = strings.Repeat("\x00", isoMarkAt) + isoMark

// What other harnesses leave behind, in small.
const (
	driverText  = "start all VLans\nmachine: starting vm\nmachine: QEMU running (pid 8)\nmachine # SeaBIOS (version 1.16)\nmachine # [    0.000000] Linux version 6.12.30\nmachine: must succeed: true\n(finished: must succeed: true, in 0.05 seconds)\n"
	twoMachines = "server: starting vm\nclient: starting vm\nserver # [    0.000000] Linux version 6.12.30\nclient # [    0.000000] Linux version 6.12.30\n"
	kolaJournal = "Nov 23 07:00:01.000000 kernel: Linux version 6.17.1\nNov 23 07:00:01.123456 systemd[1]: Starting Ignition...\n"
	fcosConsole = "GNU GRUB  version 2.12\r\n[    0.000000] Linux version 6.17.1\r\n[  OK  ] Reached target Basic System.\r\ncosa-devsh login: \r\n"
	pexpectDump = "Traceback (most recent call last):\n  File \"drive.py\", line 3, in <module>\npexpect.exceptions.TIMEOUT: Timeout exceeded.\n<pexpect.pty_spawn.spawn object at 0x7f0000000000>\ncommand: /usr/bin/qemu-system-x86_64\nbuffer (last 100 chars): b'[  OK  ] Started x.\\r\\nnixos login: '\nbefore (last 100 chars): b''\nsearcher: searcher_re:\n    0: re.compile(b'# ')\n"
)

// tree makes a file system of "path=content" items.
func tree(files ...string) fs.FS {
	m := fstest.MapFS{}
	for _, f := range files {
		p, text, _ := strings.Cut(f, "=")
		m[p] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

func TestFind(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  []string // "path: artifact kind, …" per run
	}{
		{"a transcript alone", []string{"serial.log=" + bootText}, []string{"root: serial.log serial"}},
		{"images alone are a run each", []string{"a.iso=" + isoText, "b.iso=" + isoText, "notes.md=two images"},
			[]string{"root/a.iso: a.iso iso", "root/b.iso: b.iso iso"}},
		{"dmesg with ISO stamps", []string{"dmesg.txt=2026-11-23T07:01:29,123456+00:00 Linux version 6.12.30 (b@h)\n2026-11-23T07:01:29,223456+00:00 Command line: root=x\n", "serial.log=" + bootText},
			[]string{"root: dmesg.txt dmesg, serial.log serial"}},
		{"images of a run", []string{"a.iso=" + isoText, "b.iso=" + isoText, "build.log=" + nixText}, []string{"root: a.iso iso, b.iso iso, build.log build-log"}},
		{"what lies below belongs to the run", []string{"r/serial.log=" + bootText, "r/diagnostics/journal.txt=" + journalText},
			[]string{"root/r: diagnostics/journal.txt journal, serial.log serial"}},
		{"a transcript of its own below", []string{"r/serial.log=" + bootText, "r/again/serial.log=" + otherBoot},
			[]string{"root/r: serial.log serial", "root/r/again: serial.log serial"}},
		{"a copy below is no run", []string{"r/serial.log=" + bootText + "and more\r\r\n", "r/diagnostics/serial-tail.log=" + bootText},
			[]string{"root/r: diagnostics/serial-tail.log excerpt, serial.log serial"}},
		{"leading stamps", []string{"2025-10-08T13-56-18Z-serial.log=" + bootText, "2025-10-08T13-56-18Z-unit-journal.log=" + journalText, "2025-10-09T01-32-01Z-serial.log=" + otherBoot},
			[]string{"root/2025-10-08T13-56-18Z: 2025-10-08T13-56-18Z-serial.log serial, 2025-10-08T13-56-18Z-unit-journal.log journal", "root/2025-10-09T01-32-01Z: 2025-10-09T01-32-01Z-serial.log serial"}},
		{"one stamp is the directory's run", []string{"2025-10-08T13-56-18Z-serial.log=" + bootText, "notes.md=the disk was full"},
			[]string{"root: 2025-10-08T13-56-18Z-serial.log serial, notes.md report"}},
		{"stamps without seconds", []string{"2025-10-06T0641Z-a.txt=" + bootText, "2025-10-06T0742Z-a.txt=" + otherBoot},
			[]string{"root/2025-10-06T0641Z: 2025-10-06T0641Z-a.txt serial", "root/2025-10-06T0742Z: 2025-10-06T0742Z-a.txt serial"}},
		{"transcripts side by side", []string{"pytest-serial.log=" + bootText, "pytest-harness.log=" + harnessText, "manual-serial.log=" + otherBoot},
			[]string{"root/manual: manual-serial.log serial", "root/pytest: pytest-harness.log harness, pytest-serial.log serial"}},
		{"a build log alone", []string{"build.log=" + nixText}, []string{"root: build.log build-log"}},
		{"captures alone", []string{"a/status.txt=" + statusText, "a/metadata.json=" + metaText}, []string{"root/a: metadata.json metadata, status.txt capture"}},
		{"a manifest", []string{"b/manifest.json=" + manifest, "b/guest/status.txt=" + statusText}, []string{"root/b: guest/status.txt capture, manifest.json manifest"}},
		{"nothing", nil, nil},
		{"a log with probes below", []string{"build.log=" + nixText, "host/id.json=" + `{"name": "a", "argv": ["id"], "exit_status": 0, "stdout": ""}`},
			[]string{"root: build.log build-log, host/id.json probe"}},
		{"a log above runs", []string{"build.log=" + nixText, "r/serial.log=" + bootText},
			[]string{"root/r: serial.log serial"}},
		{"text of no kind", []string{"x.txt=hello"}, nil},
		{"prose only", []string{"README.md=hello", "x.bin=\x00\x01\x02\x03"}, nil},
		{"kola", []string{"kola-1/reports/report.json={}", "kola-1/test.tap=ok - basic\n", "kola-1/basic/11-22/console.txt=" + fcosConsole, "kola-1/basic/11-22/journal.txt=" + kolaJournal,
			"kola-1/basic/11-22/ignition.json={}", "kola-1/cluster/33/console.txt=" + fcosConsole, "kola-1/cluster/44/console.txt=" + fcosConsole + "x\r\n"},
			[]string{"root/kola-1/basic/11-22: console.txt serial, ignition.json unknown, journal.txt journal",
				"root/kola-1/cluster/33: console.txt serial", "root/kola-1/cluster/44: console.txt serial"}},
		{"a test driver's log", []string{"result/log=" + driverText}, []string{"root/result: log serial"}},
		{"the consoles of several machines", []string{"result/log=" + twoMachines}, nil},
		{"hidden files", []string{".git/serial.log=" + bootText}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runs, problems := Find(tree(tt.files...), "root")
			var got []string
			for _, r := range runs {
				var as []string
				for _, a := range r.Artifacts {
					as = append(as, fmt.Sprintf("%s %s", a.Path, a.Kind))
				}
				got = append(got, r.Path+": "+strings.Join(as, ", "))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n  %s\nwant\n  %s\nproblems %v", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "), problems)
			}
		})
	}
}

func TestKind(t *testing.T) {
	tests := []struct {
		name, text string
		want       Kind
	}{
		{"storage_status.txt", journalText, Journal}, // the name lies
		{"journal.txt", statusText, Capture},
		{"x.log", bootText, Serial},
		{"serial.log", "qemu-system-x86_64: -netdev user: Could not set up host forwarding rule\r\n", Serial},
		{"serial.log", "", Empty},
		{"x", harnessText, Harness},
		{"x", "=== test session starts ===\nplatform linux\n", Harness},
		{"x", "[    0.000000] Linux version 6.1\n[    0.100000] Command line: quiet\n", Dmesg},
		{"x", "[    0.000000] Linux version 6.1\r\r\n[    0.100000] Command line: quiet\r\r\n", Serial},
		{"x", nixText, BuildLog},
		{"x", "Mar 06 07:08:35 nixos nix[1]: building '/nix/store/abc-x.drv'...\n", Journal},
		{"x.json", metaText, Metadata},
		{"x.json", `{"artifact": {"iso_path": "/x.iso"}, "qemu": {"command": []}}`, Metadata},
		{"x.json", `{"MESSAGE":"a","__REALTIME_TIMESTAMP":"1"}`, Journal},
		{"x.json", `{"name": "a", "argv": ["id"], "exit_status": 0, "stdout": ""}`, Probe},
		{"x.json", `{"deep": {"iso_path": 1}}`, Unknown},
		{"x", "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1\n", Journal},
		{"x", "LPKSHHRH\x00\x00", NativeJ},
		{"x.txt", "● a.service - A\n   Active: active (running)\nMar 06 07:08:35 nixos a[1]: one\nMar 06 07:08:35 nixos a[1]: two\nMar 06 07:08:35 nixos a[1]: three\n", Capture},
		{"x", "\x00\x01\x02\x03\x04", Binary},
		{"notes.md", bootText, Report},
		{"harness.log", "2026-11-23T07:05:02.832553Z pexpect 4.8.0\n2026-11-23T07:05:02.9Z Serial: [  OK  ] Started x.\n", Harness},
		{"x.log", "2025-10-08T06:07:35+0000 nixos systemd[1]: Starting Set up...\n2025-10-08T06:07:36+0000 nixos kernel: x\n", Journal},
		{"x.log", "[    5.123456] nixos systemd[1]: Starting Set up...\n", Journal},
		{"x", `[{"drvPath":"/nix/store/abc-x.drv","outputs":{"out":"/nix/store/abc-x"}}]`, BuildLog}, // nix build --json, nothing left to do
		{"nix-build.log", "error: attribute 'bootImage' missing\n", BuildLog},
		{"x.log", "error:\n       … while evaluating the attribute 'x'\n\n       error: undefined variable 'y'\n", BuildLog},
		{"answer.log", "error: attribute 'bootImage' missing\n", Unknown},
		{"x.txt", "0\n", Unknown},
		{"x.txt", "$ id -u\n0\n", Capture},
		{"x.txt", "#!/bin/sh\nid -u\n", Unknown},
		{"x", "some prose about login and boot\n", Unknown},
		{"journal.txt", kolaJournal, Journal},
		{"journal.txt", "Mar 06 07:08:35 nixos kernel: Linux version 6.1\n" + journalText, Journal},
		{"x.log", "Linux version 6.1\n" + journalText, Serial},
		{"console.txt", fcosConsole, Serial},
		{"serial0.txt", "\r\n[    0.000000] Linux version 6.4.0\r\n[  OK  ] Started D-Bus.\r\nsusetest login: root\r\n", Serial},
		{"serial0.txt", "xYz12-0-\n", Serial}, // openQA's word for "exit status 0": the name breaks the tie
		{"autoinst-log.txt", "[2026-11-23T07:00:00.123456+01:00] [debug] [pid:12] Current version is 5.1\n", Harness},
		{"out.txt", pexpectDump, Harness},
		{"typescript", "nixos login: root\r\r\nid -u\nid -u\r\r\n0\r\r\n", Serial},
		{"report.json", `{"tests": [{"name": "basic", "result": "PASS", "output": "Linux version 6"}]}`, Unknown},
		{"test.tap", "1..1\nok - basic\n", Unknown},
		{"ignition.json", `{"ignition": {"version": "3.4.0"}, "systemd": {"units": []}}`, Unknown},
		{"log", driverText, Serial},
		{"log", twoMachines, Driver},
		{"log", "server # [    0.000000] Linux version 6.12.30\nserver # [  OK  ] Started x.\n", Serial}, // as grep takes them out
		{"log", "vm-test-run-x> machine: starting vm\nvm-test-run-x> machine # [    0.000000] Linux version 6.12.30\n" + strings.Repeat("linux> CC a.o\n", 20), Serial},
		{"log", "machine: starting vm\nmachine # [    0.000000] Linux version 6.12.30\n" + strings.Repeat("CC a.o\n", 20), Unknown}, // mixed into what?
		{"log", "machine: starting vm\nmachine # \n", Unknown},
		{"log", "machine # [  OK  ] Started x.\n(finished: must succeed: true, in 0.05 seconds)\n", Serial}, // the end of one
		{"log", "machine # ok\nother # [  OK  ] Started x.\nother: starting vm\n", Serial},
		{"log", "guest # [  OK  ] Started x.\nvm login: \n", Serial}, // nothing of a driver: as it stands
		{"log", "root # Linux version 6\nid\n", Serial},              // a prompt, perhaps: not that of a driver
		{"x.iso", strings.Repeat("\x00", isoMarkAt) + isoMark, ISO},
	}
	for _, tt := range tests {
		if got := sniff(tt.name, []byte(tt.text), int64(len(tt.text))); got != tt.want {
			t.Errorf("%s %.60q: %s, want %s", tt.name, tt.text, got, tt.want)
		}
	}
}

func TestStarted(t *testing.T) {
	runs, _ := Find(tree("2025-10-08T13-56-18Z/serial.log="+bootText, "2025-10-08T13-56-18Z/harness.log="+harnessText), "")
	if got := runs[0].Started.Format("2006-01-02T15:04:05Z"); got != "2025-10-12T01:13:59Z" {
		t.Errorf("started %s, want the harness's first time", got)
	}
	runs, _ = Find(tree("2025-10-08T13-56-18Z/serial.log="+bootText), "")
	if got := runs[0].Named.Format("2006-01-02T15:04:05Z"); got != "2025-10-08T13:56:18Z" || !runs[0].Started.IsZero() {
		t.Errorf("named %s, started %s: want the name's time, and that no artifact tells a start", got, runs[0].Started)
	}
}

// unreadable fails to open one file.
type unreadable struct {
	fs.FS
	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, &fs.PathError{Op: "open", Path: "/secret/" + name, Err: fs.ErrPermission}
	}
	return u.FS.Open(name)
}

func TestUnreadable(t *testing.T) {
	_, problems := Find(unreadable{tree("r/serial.log=" + bootText), "r/serial.log"}, "root")
	if len(problems) != 1 || problems[0].Path != "root/r/serial.log" || problems[0].Text != "permission denied" {
		t.Errorf("problems %v", problems)
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ in, want string }{
		{"\x1b[1;31mred\x1b[0m \x1b]0;title\x07text", "red text"},
		{"a\x1b]0;never closed\nb", "a b"},
		{"tab\tand\r\nline", "tab and line"},
		{"nul\x00bel\x07del\x7fc1\u009b", "nulbeldelc1"},
		{"left\u202eright\u200b", "leftright"},
		{"bad\xffbyte", "bad\uFFFDbyte"},
		{"[?2004h is plain here", "[?2004h is plain here"},
		{"\x1b[?2004", ""},
		{strings.Repeat("x", 500), strings.Repeat("x", MaxQuote) + "…"},
	}
	for _, tt := range tests {
		if got := Printable(tt.in); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"\x1b[1;31mred\x1b[0m", "a\x1b]0;t\x07", "\xff\xfe", "\x1b", "\u202e", bootText} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range Printable(s) {
			if r < 0x20 || r >= 0x7f && r < 0xa0 || invisible(r) {
				t.Fatalf("%q holds %U", s, r)
			}
		}
	})
}

func FuzzSniff(f *testing.F) {
	for _, s := range []string{bootText, harnessText, journalText, nixText, statusText, manifest, metaText, driverText, twoMachines, kolaJournal, pexpectDump, "{", `{"a":[[[{`} {
		f.Add("x.log", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if k := sniff(name, data, int64(len(data))); k == "" || (k == Empty) != (len(data) == 0) {
			t.Fatalf("%q: kind %q", data, k)
		}
	})
}

func TestLineIndex(t *testing.T) {
	data := []byte("a\nbc\r\n\nd")
	x := NewLineIndex(data)
	for offset, line := range map[int64]int{0: 1, 1: 1, 2: 2, 5: 2, 6: 3, 7: 4, 8: 4} {
		if got := x.Line(offset); got != line {
			t.Errorf("offset %d: line %d, want %d", offset, got, line)
		}
	}
}
