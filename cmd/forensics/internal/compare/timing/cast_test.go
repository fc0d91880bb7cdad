package timing

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers/bundle"
)

// A boot of the project's own image, captured until behind the login, and one
// whose image has no console on the serial port.
func TestCaptured(t *testing.T) {
	for name, want := range map[string]string{
		"healthy": `
serial.cast stage none until bootloader 0.202
serial.cast stage bootloader until kernel-loaded 6.687
serial.cast stage kernel-loaded until stage-1 11.581
serial.cast stage stage-1 until stage-2 6.028
serial.cast stage stage-2 until systemd 2.521
serial.cast stage systemd until login-prompt 27.750
serial.cast stage login-prompt until shell 8.970
serial.cast stage shell 1.788 open
serial.cast silence none 0.202
serial.cast silence bootloader 1.210
serial.cast silence kernel-loaded 11.539
serial.cast silence stage-1 1.807
serial.cast silence stage-2 1.260
serial.cast silence systemd 5.378
serial.cast silence login-prompt 3.774`,
		// The last byte came after 53.3 s; qemu.json tells that the machine ran for
		// 100.06 s.
		"silent": `
serial.cast stage none until bootloader 0.120
serial.cast stage bootloader until kernel-loaded 6.527
serial.cast stage kernel-loaded 93.415 open
serial.cast silence none 0.120
serial.cast silence bootloader 1.043
serial.cast silence kernel-loaded 46.736 open`,
	} {
		ts := load(t, path.Join("testdata", name))
		if d := cmp.Diff(strings.TrimPrefix(want, "\n"), strings.Join(all(ts), "\n")); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}

func TestSilent(t *testing.T) {
	healthy, silent := load(t, "testdata/healthy"), load(t, "testdata/silent")
	cs := Compare(healthy, silent)
	var got []string
	for _, c := range cs {
		got = append(got, c.Summary)
		for _, e := range c.Evidence {
			got = append(got, fmt.Sprintf("%s %s:%d", e.Side, e.Path, e.Line))
		}
	}
	want := []string{
		"kernel-loaded took at least 93 s (12 s before), after: LAN IPv4 address: 10.0.2.15",
		"from serial.log:4", "from serial.cast:180", "from serial.log:6", "from serial.cast:184",
		"to serial.log:4", "to serial.cast:139", "to qemu.json:12", "to serial.log:6",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

const castHead = `{"version": 2, "width": 80, "height": 25, "timestamp": 1795440076}` + "\n"

// castRun is a run of a console's bytes and their recording.
func castRun(log, cast string) *bundle.Run {
	return &bundle.Run{Path: "run", Artifacts: []*bundle.Artifact{
		bundle.NewArtifact("serial.cast", bundle.Copy, []byte(cast)),
		bundle.NewArtifact("serial.log", bundle.Serial, []byte(log)),
	}}
}

func TestCast(t *testing.T) {
	const log = "ISOLINUX 6.04\r\nLoading /boot/initrd...ok\r\n<<< NixOS Stage 1 >>>\r\n"
	const first = `[0.5, "o", "ISOLINUX 6.04\r\nLoading /boot/"]` + "\n" + `[3, "o", "initrd...ok\r\n"]` + "\n"
	const both = first + `[7.25, "o", "<<< NixOS Stage 1 >>>\r\n"]` + "\n"
	long := `[8, "o", "` + strings.Repeat("x", maxEvent) + `"]` + "\n"
	for _, c := range []struct {
		name, log, cast string
		stages, problem string
	}{
		{"whole", log, castHead + both, "none 0.500, bootloader 2.500, kernel-loaded 4.250, stage-1 0.000 open", ""},
		{"typed later", log, castHead + both + `[9, "i", "x"]` + "\n", "none 0.500, bootloader 2.500, kernel-loaded 4.250, stage-1 1.750 open", ""},
		{"a resize and a marker", log, castHead + both + `[8, "r", "80x24"]` + "\n" + `[9, "m", ""]` + "\n", "none 0.500, bootloader 2.500, kernel-loaded 4.250, stage-1 1.750 open", ""},
		{"event cut off", log, castHead + first + `[7.25, "o", "<<< Nix`, "none 0.500, bootloader 2.500", ""},
		{"CR LF", log, strings.ReplaceAll(castHead+both, "\n", "\r\n"), "none 0.500, bootloader 2.500, kernel-loaded 4.250, stage-1 0.000 open", ""},
		{"empty lines", log, castHead + strings.ReplaceAll(both, "\n", "\n\n"), "none 0.500, bootloader 2.500, kernel-loaded 4.250, stage-1 0.000 open", ""},
		{"header alone", log, castHead, "", ""},
		{"header cut off", log, strings.TrimSuffix(castHead, "\n"), "", ""},
		{"transcript cut off", log[:20], castHead + both, "none 0.500", ""},
		{"recording broke off", log, castHead + first, "none 0.500, bootloader 2.500", ""},
		{"version 1", log, `{"version": 1, "width": 80, "height": 24}` + "\n" + both, "", "line 1: not the header"},
		{"no header", log, both, "", "line 1: not the header"},
		{"no time", log, castHead + first + `["8", "o", "x"]` + "\n", "none 0.500, bootloader 2.500", "line 4: not an event"},
		{"no number", log, castHead + first + `[NaN, "o", "x"]` + "\n", "none 0.500, bootloader 2.500", "line 4: not an event"},
		{"negative", log, castHead + `[-1, "o", "x"]` + "\n", "", "line 2: not an event"},
		{"no day lasts so long", log, castHead + `[1e300, "o", "x"]` + "\n", "", "line 2: not an event"},
		{"more than a number is", log, castHead + `[1e999, "o", "x"]` + "\n", "", "line 2: not an event"},
		{"four of three", log, castHead + `[1, "o", "x", 1]` + "\n", "", "line 2: not an event"},
		{"text no text", log, castHead + `[1, "o", {}]` + "\n", "", "line 2: not an event"},
		{"deep", log, castHead + strings.Repeat("[", 100_000) + "\n", "", "line 2: not an event"},
		{"goes back", log, castHead + first + `[2.5, "o", "<<< NixOS Stage 1 >>>\r\n"]` + "\n", "none 0.500, bootloader 2.500", "line 4: time goes back from 3.000000 to 2.500000"},
		{"another console's", log, castHead + `[1, "o", "ISOLINUX 6.03\r\n"]` + "\n", "", "line 2: it prints something else than serial.log does at byte 12"},
		{"too long", log, castHead + first + long, "none 0.500, bootloader 2.500", "line 4: longer than"},
	} {
		run := castRun(c.log, c.cast)
		ts, problems := collect(t, run)
		var got []string
		for _, s := range ts.Stages() {
			_, rest, _ := strings.Cut(show(&s), " stage ")
			stage, _, _ := strings.Cut(rest, " ")
			if _, behind, ok := strings.Cut(rest, "until "); ok {
				_, rest, _ = strings.Cut(behind, " ")
				rest = stage + " " + rest
			}
			got = append(got, rest)
		}
		if g := strings.Join(got, ", "); g != c.stages {
			t.Errorf("%s: stages %q, want %q", c.name, g, c.stages)
		}
		told := fmt.Sprint(problems)
		if (len(problems) > 0) != (c.problem != "") || !strings.Contains(told, c.problem) || len(told) > 300 {
			t.Errorf("%s: problems %.300s, want %q", c.name, told, c.problem)
		}
	}
}

// A recording holds text: what is no UTF-8 stands as U+FFFD in it, a byte each.
func TestAligned(t *testing.T) {
	for _, c := range []struct {
		data, text string
		n          int
		same       bool
	}{
		{"abc", "ab", 2, true},
		{"abc", "abcd", 3, true},
		{"abc", "abd", 2, false},
		{"", "x", 0, true},
		{"a\xffb", "a\ufffdb", 3, true},
		{"a\xe2\x94b", "a\ufffd\ufffdb", 4, true},
		{"a\ufffdb", "a\ufffdb", 5, true},
		{"axb", "a\ufffdb", 1, false},
		{"─x", "─x", 4, true},
		{"a\xffb", "a\ufffd\ufffd", 2, false},
		{"a\xe2\x94", "a─x", 3, true},
	} {
		if n, same := aligned([]byte(c.data), c.text); n != c.n || same != c.same {
			t.Errorf("%q in %q: %d %v, want %d %v", c.text, c.data, n, same, c.n, c.same)
		}
	}
}

// Behind the shell the recording is read only for its end.
func TestSession(t *testing.T) {
	log := "[    0.000000] Linux version 6.1\r\nnixos login: nixos (automatic login)\r\n[nixos@nixos:~]$ id -u\r\n1000\r\n[nixos@nixos:~]$ "
	cast := castHead + `[2, "o", "[    0.000000] Linux version 6.1\r\n"]` + "\n" +
		`[30, "o", "nixos login: nixos (automatic login)\r\n"]` + "\n" +
		`[31, "o", "[nixos@nixos:~]$ id -u\r\n"]` + "\n" + `anything` + "\n" + `[99, "o", "1000\r\n"]` + "\n"
	ts, problems := collect(t, castRun(log, cast))
	want := `serial.cast stage none until kernel 2.000
serial.cast stage kernel until login-prompt 28.000
serial.cast stage login-prompt until shell 1.000
serial.cast stage shell 68.000 open
serial.cast silence none 2.000
serial.cast silence kernel 28.000
serial.cast silence login-prompt 1.000`
	if d := cmp.Diff(want, strings.Join(all(ts), "\n")); d != "" || len(problems) > 0 {
		t.Errorf("-want +got\n%s%v", d, problems)
	}
	ts, problems = collect(t, castRun(log, strings.TrimSuffix(cast, `[99, "o", "1000\r\n"]`+"\n")))
	if len(problems) != 1 || !strings.Contains(problems[0].Text, "line 5: not an event") || ts.mark(Cast, "shell") == nil {
		t.Errorf("%+v", problems)
	}
}

// fuzzed are the artifacts of a run that Collect reads.
var fuzzed = []struct {
	name string
	kind bundle.Kind
	seed string // in a recording
}{
	{"serial.cast", bundle.Copy, ""},
	{"serial.log", bundle.Serial, "serial.log"},
	{"harness.log", bundle.Harness, "harness.log"},
	{"journal.txt", bundle.Journal, "journalctl_pre_nixos.txt"},
	{"metadata.json", bundle.Metadata, "metadata.json"},
	{"status.txt", bundle.Capture, "systemctl_status_pre_nixos.txt"},
	{"dmesg.txt", bundle.Dmesg, "dmesg.txt"},
}

func FuzzCollect(f *testing.F) {
	for _, name := range []string{"healthy-slow", "unit-deadlock", "stage1-hang"} {
		var seeds [7][]byte
		for i, a := range fuzzed {
			if a.seed != "" {
				seeds[i], _ = os.ReadFile(path.Join(recordings, name, "artifacts", a.seed))
			}
		}
		f.Add(seeds[0], seeds[1], seeds[2], seeds[3], seeds[4], seeds[5], seeds[6])
	}
	good := load(f, "testdata/healthy")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h []byte) {
		run := &bundle.Run{Path: "run"}
		for i, data := range [][]byte{a, b, c, d, e, g, h} {
			run.Artifacts = append(run.Artifacts, bundle.NewArtifact(fuzzed[i].name, fuzzed[i].kind, data))
		}
		ts, _ := collect(t, run)
		sides(t, good, ts)
	})
}

func FuzzCast(f *testing.F) {
	for _, dir := range []string{"healthy", "silent"} {
		cast, err := os.ReadFile(path.Join("testdata", dir, "serial.cast"))
		if err != nil {
			f.Fatal(err)
		}
		log, err := os.ReadFile(path.Join("testdata", dir, "serial.log"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(log), string(cast))
	}
	good := load(f, "testdata/healthy")
	f.Fuzz(func(t *testing.T, log, cast string) {
		ts, _ := collect(t, castRun(log, cast))
		sides(t, good, ts)
	})
}
