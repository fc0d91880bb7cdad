package journal

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// shortLines are lines beside what they mean: "form|when|mono|host|ident|pid|
// truncated|message", or "" for a line that is no entry.
var shortLines = []struct{ line, want string }{
	{"Mar 06 07:08:35 box systemd[1]: Starting Demo...", "short||-1|box|systemd|1|false|Starting Demo..."},
	{"Oct  8 06:07:35 box systemd[1]: Starting Demo...", "short||-1|box|systemd|1|false|Starting Demo..."},
	{"Feb 29 23:59:60 box.example.org kernel: x: y", "short||-1|box.example.org|kernel|0|false|x: y"},
	{"Mar 06 07:08:35.123456 box cron[77]: ran", "short-precise||-1|box|cron|77|false|ran"},
	{"Mar 06 07:08:35 box (udev-worker)[812]: ok", "short||-1|box|(udev-worker)|812|false|ok"},
	{"Mar 06 07:08:35 box .demo-wrapped[9]:", "short||-1|box|.demo-wrapped|9|false|"},
	{"Mar 06 07:08:35 box demo[9]:     indented", "short||-1|box|demo|9|false|    indented"},
	{"Mar 06 07:08:35 systemd[1]: no host", "short||-1||systemd|1|false|no host"},
	{"Mar 06 07:08:35 box demo[9]: [82B blob data]", "short||-1|box|demo|9|true|[82B blob data]"},
	{`Mar 06 07:08:35 box demo[9]: {"command": ["ip", "lin…0"}`, `short||-1|box|demo|9|true|{"command": ["ip", "lin…0"}`},
	{"Mar 06 07:08:35 box demo[9]: a line that the pager cut in the eightieth column>", "short||-1|box|demo|9|true|a line that the pager cut in the eightieth column>"},
	{"Mar 06 07:08:35 box demo[9]: closes <a bracket of its own in the eightieth col>", "short||-1|box|demo|9|false|closes <a bracket of its own in the eightieth col>"},
	{"Mar 06 07:08:35 box demo[9]: ->", "short||-1|box|demo|9|false|->"},
	{"2025-10-08T06:07:35+0000 box demo[9]: x", "short-iso|2025-10-08T06:07:35Z|-1|box|demo|9|false|x"},
	{"2025-10-08T06:07:35+02:00 box demo[9]: x", "short-iso|2025-10-08T04:07:35Z|-1|box|demo|9|false|x"},
	{"2025-10-08T06:07:35.250000+0000 box demo[9]: x", "short-iso-precise|2025-10-08T06:07:35.25Z|-1|box|demo|9|false|x"},
	{"Wed 2025-10-08 06:07:35 UTC box demo[9]: x", "short-full|2025-10-08T06:07:35Z|-1|box|demo|9|false|x"},
	{"Wed 2025-10-08 06:07:35 CEST box demo[9]: x", "short-full||-1|box|demo|9|false|x"},
	{"1759903655.500000 box demo[9]: x", "short-unix|2025-10-08T06:07:35.5Z|-1|box|demo|9|false|x"},
	{"[   12.345678] box demo[9]: x", "short-monotonic||12.345678|box|demo|9|false|x"},
	{"[    0.000000] box kernel: Linux version 6.1", "short-monotonic||0|box|kernel|0|false|Linux version 6.1"},
	{"[   12.345678 <    1.000000 >] box demo[9]: x", "short-delta||12.345678|box|demo|9|false|x"},
	{"[   12.345678 <    1.000000*>] box demo[9]: x", "short-delta||12.345678|box|demo|9|false|x"},
	{"[   12.345678                ] box kernel: x", "short-delta||12.345678|box|kernel|0|false|x"},
	{"[   12.345678 <    1.000000 >] box audit: x", ""},
	{"[   12.345678 <    1.0000 >] box demo[9]: x", ""},
	{"[   12.345678         ] box demo[9]: x", ""},

	// The kernel's own lines on a console.
	{"[    2.345678] virtio_blk virtio2: [vda] 64 512-byte logical blocks", ""},
	{"[    2.345678] systemd[1]: Hostname set to <box>.", ""},
	{"[    2.345678] EXT4-fs (vda1): mounted", ""},
	// Half of a stamp, or none.
	{"Mar 06 07:08 box systemd[1]: x", ""},
	{"Okt 08 06:07:35 box systemd[1]: x", ""},
	{"Oct 32 06:07:35 box systemd[1]: x", ""},
	{"Oct 08 24:07:35 box systemd[1]: x", ""},
	{"Wed Oct  8 06:07:35 UTC 2025", ""},
	{"Wed Oct  8 06:07:35 2025 box systemd[1]: x", ""},
	{"-rw-r--r-- 1 root root 12 Mar 06 07:08 box: x", ""},
	{"[2025-10-12T01:13:59.576780+00:00] Serial output: Mar 06 07:08:35 box systemd[1]: x", ""},
	{"2025-10-08T06:07:35.576780+00:00 Serial output: x", ""},
	{"2025-10-08T06:07:35.576780+00:00 box kernel: x", "short-iso-precise|2025-10-08T06:07:35.57678Z|-1|box|kernel|0|false|x"},
	{"2025-10-08T06:07:35.576780Z Serial: x", ""},
	{"2025-10-08 06:07:35 box demo[9]: x", ""},
	{"2025-10-08T06:07:35 box demo[9]: x", ""},
	{"12.345678 box demo[9]: x", ""},
	// No identifier, or not one alone.
	{"Mar 06 07:08:35 box", ""},
	{"Mar 06 07:08:35 box ", ""},
	{"Mar 06 07:08:35 box said: x y", "short||-1|box|said|0|false|x y"},
	{"Mar 06 07:08:35 nohost: x", ""},
	{"Mar 06 07:08:35 box demo-st  -o -4 addr show dev lan 2>/dert[817]: File", ""},
	{"Mar 06 07:08:35 box demo-st'ls'art[817]: File", ""},
	{"Mar 06 07:08:35 box demo[x]: y", ""},
	{"Mar 06 07:08:35 box demo[9] y", ""},
	{"Mar 06 07:08:35 box demo[9]:y", ""},
	{"$ echo Mar 06 07:08:35 box demo[9]: y", ""},
	{" Mar 06 07:08:35 box demo[9]: y", ""},
	{"", ""},
}

func show(e Entry, form string) string {
	when := ""
	if !e.When.IsZero() {
		when = e.When.Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s|%s|%v|%s|%s|%d|%v|%s", form, when, e.Monotonic, e.Host, e.Ident, e.PID, e.Truncated, e.Message)
}

func TestParseShort(t *testing.T) {
	for _, c := range shortLines {
		e, form, ok := parseShort(c.line)
		got := ""
		if ok {
			got = show(e, form)
		}
		if got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.line, got, c.want)
		}
	}
}

// FuzzParseShort: an entry is its line, taken apart: put together it gives the
// line's bytes, and the entry, again.
func FuzzParseShort(f *testing.F) {
	for _, c := range shortLines {
		f.Add(c.line)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, ok := ParseShort(s)
		if !ok {
			return
		}
		parts := []string{e.Stamp}
		if e.Host != "" {
			parts = append(parts, e.Host)
		}
		head := strings.Join(append(parts, e.Ident), " ")
		if !strings.HasPrefix(s, head) || !strings.HasSuffix(s, e.Message) || strings.ContainsAny(e.Ident, " :[]\"'") {
			t.Fatalf("%q does not start with %q and end with %q", s, head, e.Message)
		}
		if e.PID != 0 {
			head += fmt.Sprintf("[%d]", e.PID)
		} else {
			return // "[0]" and nothing read the same
		}
		if again, ok := ParseShort(head + ": " + e.Message); !ok || again.Message != e.Message || again.PID != e.PID || again.Ident != e.Ident || again.Host != e.Host {
			t.Fatalf("%q: %+v, again %+v", s, e, again)
		}
	})
}
