package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"forensics/analyzers/commands/commandstest"
)

// logged are messages: seconds, facility and level, text.
var logged = []struct {
	us         uint64
	fac, level int
	text       string
}{
	{0, 0, 5, "Linux version 6.12.9 (b@h) (gcc (GCC) 14.3.0) #1-NixOS SMP"},
	{0, 0, 6, "Command line: console=ttyS0,115200n8 root=LABEL=demo"},
	{1411707, 0, 6, "smpboot: CPU0: QEMU Virtual CPU version 2.5+ (family: 0xf, model: 0x6b, stepping: 0x1)"},
	{12384577, 0, 6, "virtio_blk virtio2: [vda] 8388608 512-byte logical blocks (4.29 GB/4.00 GiB)"},
	{13454434, 0, 5, "random: crng init done"},
	{42541972, 3, 6, "systemd[1]: Detected virtualization qemu."},
	{103346145, 0, 3, "BUG: unable to handle page fault for address: ffff"},
}

// shown are what logged states, wherever and however dmesg prints it.
func shown() []string {
	return []string{
		"kernel.booted = yes", "kernel.version = 6.12.9", "kernel.cmdline = console=ttyS0,115200n8 root=LABEL=demo", "kernel.console = ttyS0,115200n8",
		"kernel.cpu = QEMU Virtual CPU version 2.5+", "kernel.disk vda = 4.29 GB/4.00 GiB", "kernel.hypervisor = qemu", "kernel.oops = BUG: unable to handle page fault for address: ffff",
	}
}

func render(line func(us uint64, fac, level int, text string) string) string {
	var b strings.Builder
	for _, m := range logged {
		b.WriteString(line(m.us, m.fac, m.level, m.text) + "\n")
	}
	return b.String()
}

func stamped(us uint64, text string) string {
	return fmt.Sprintf("[%5d.%06d] %s", us/1e6, us%1e6, text)
}

var (
	facilities = map[int]string{0: "kern", 3: "daemon"}
	levels     = map[int]string{3: "err", 5: "notice", 6: "info"}
)

// TestDmesg: every form of dmesg states the same; the clock's times do not tell
// when the random number generator was ready.
func TestDmesg(t *testing.T) {
	decoded := func(fac, level int) string { return fmt.Sprintf("%-6s:%-6s: ", facilities[fac], levels[level]) }
	var objects []string
	for _, m := range logged {
		text, _ := json.Marshal(m.text)
		objects = append(objects, fmt.Sprintf("{\n         \"pri\": %d,\n         \"time\": %5d.%06d,\n         \"msg\": %s\n      }", m.fac<<3|m.level, m.us/1e6, m.us%1e6, text))
	}
	document := "{\n   \"dmesg\": [\n      " + strings.Join(objects, ",") + "\n   ]\n}\n"
	commandstest.Same(t, Analyzer, nil, []commandstest.Answer{
		{"dmesg", render(func(us uint64, _, _ int, text string) string { return stamped(us, text) })},
		{"dmesg --raw", render(func(us uint64, fac, level int, text string) string {
			return fmt.Sprintf("<%d>%s", fac<<3|level, stamped(us, text))
		})},
		{"dmesg -x", render(func(us uint64, fac, level int, text string) string { return decoded(fac, level) + stamped(us, text) })},
		{"dmesg --json", document},
		{"cat /dev/kmsg", render(func(us uint64, fac, level int, text string) string {
			return fmt.Sprintf("%d,%d,%d,-;%s\n SUBSYSTEM=pci\n DEVICE=+pci:0000:00:03.0", fac<<3|level, us+7, us, text)
		})},
	}, append(shown(), "kernel.crng = 13.454434"))
	clock := func(us uint64) string { return fmt.Sprintf("Wed Mar  4 03:%02d:%02d 2026", us/60e6, us/1e6%60) }
	iso := func(us uint64) string {
		return fmt.Sprintf("2026-03-04T03:%02d:%02d,%06d+00:00 ", us/60e6, us/1e6%60, us%1e6)
	}
	// A file that begins with dates is taken for a harness's log (package bundle).
	before := strings.Repeat("\n", 8)
	commandstest.Same(t, Analyzer, nil, []commandstest.Answer{
		{"dmesg -T", render(func(us uint64, _, _ int, text string) string { return "[" + clock(us) + "] " + text })},
		{"dmesg -xT", render(func(us uint64, fac, level int, text string) string {
			return decoded(fac, level) + "[" + clock(us) + "] " + text
		})},
		{"dmesg --time-format iso", before + render(func(us uint64, _, _ int, text string) string { return iso(us) + text })},
		{"dmesg -x --time-format iso", before + render(func(us uint64, fac, level int, text string) string { return decoded(fac, level) + iso(us) + text })},
	}, shown())
	// A program's stamps are no kernel's, and half a document is none.
	commandstest.Same(t, Analyzer, nil, []commandstest.Answer{
		{"cat access.log", "[Wed Mar  4 03:00:00 2026] [error] child died\n[Wed Mar 44 03:00:00 2026] Linux version 6.1 (b@h)\n"},
		{"cat app.log", "2026-03-04T03:00:00.123456+00:00 Linux version 6.1 (b@h)\n2026-03-04T03:00:00,123+00:00 Linux version 6.1 (b@h)\n"},
		{"cat numbers", "6,1,2;Linux version 6.1 (b@h)\n6,1,2,x;Linux version 6.1 (b@h)\n"},
		{"dmesg --json", document[:200] + "\n"},
		{"dmesg --json", "{\"dmesg\": [{\"msg\": 7}, [], {\"text\": \"Linux version 6.1 (b@h)\"}]}\n"},
	}, nil)
}

// TestDmesgOracle: util-linux's dmesg prints what TestDmesg says it prints.
func TestDmesgOracle(t *testing.T) {
	if _, err := exec.LookPath("dmesg"); err != nil {
		t.Skip("dmesg is not installed")
	}
	file := filepath.Join(t.TempDir(), "kmsg")
	raw := render(func(us uint64, fac, level int, text string) string {
		return fmt.Sprintf("<%d>%s", fac<<3|level, stamped(us, text))
	})
	if err := os.WriteFile(file, []byte(raw), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, options := range [][]string{{}, {"--raw"}, {"-x"}, {"--json"}, {"-x", "--json"}} {
		out, err := exec.Command("dmesg", append([]string{"-F", file}, options...)...).Output()
		if err != nil {
			t.Skipf("dmesg %v: %v", options, err)
		}
		commandstest.Same(t, Analyzer, nil, []commandstest.Answer{{"dmesg " + strings.Join(options, " "), string(out)}}, append(shown(), "kernel.crng = 13.454434"))
	}
	for _, options := range [][]string{{"-T"}, {"-x", "-T"}, {"--time-format", "iso"}, {"-x", "--time-format", "iso"}} {
		out, err := exec.Command("dmesg", append([]string{"-F", file}, options...)...).Output()
		if err != nil {
			t.Skipf("dmesg %v: %v", options, err)
		}
		commandstest.Same(t, Analyzer, nil, []commandstest.Answer{{"dmesg " + strings.Join(options, " "), strings.Repeat("\n", 8) + string(out)}}, shown())
	}
}
