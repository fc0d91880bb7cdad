package journal

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

func TestFacts(t *testing.T) { analyzertest.Run(t, Analyzer) }

// read runs the reader on one artifact.
func read(t testing.TB, kind bundle.Kind, data string) (logs []*Log, problems []bundle.Problem) {
	t.Helper()
	a := bundle.NewArtifact("a", kind, []byte(data))
	run := &bundle.Run{Artifacts: []*bundle.Artifact{a}}
	probe := &analyzers.Analyzer{Name: "probe", Doc: "Looks.", Requires: []*analyzers.Analyzer{Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
		logs = From(p)
		return nil, nil
	}}
	analyzers.Analyze(run, []*analyzers.Analyzer{probe}, nil)
	for _, p := range run.Problems {
		if p.Path == "" {
			t.Fatalf("%s", p.Text)
		}
	}
	for _, l := range logs {
		checkEvidence(t, l, data)
	}
	return logs, run.Problems
}

func checkEvidence(t testing.TB, l *Log, data string) {
	for i, e := range l.Entries {
		ev := e.Evidence
		if ev.Start < 0 || ev.Start > ev.End || ev.End > int64(len(data)) || ev.Path != l.Path {
			t.Fatalf("entry %d: span %+v of %d bytes", i, ev, len(data))
		}
		if n := 1 + strings.Count(data[:ev.Start], "\n"); n != ev.Line {
			t.Fatalf("entry %d: line %d, is %d", i, ev.Line, n)
		}
	}
}

// list renders logs, a line an entry: "line unit|boot|priority|ident|message".
func list(logs []*Log) string {
	var b strings.Builder
	for _, l := range logs {
		fmt.Fprintf(&b, "%s %q\n", l.Form, l.Boots)
		for _, e := range l.Entries {
			mark := ""
			if e.Truncated {
				mark = "~"
			}
			fmt.Fprintf(&b, "%d %s|%.4s|%d|%s%s|%q\n", e.Evidence.Line, e.Unit, e.BootID, e.Priority, e.Ident, mark, e.Message)
		}
	}
	return b.String()
}

const bootA, bootB = "aaaabbbbccccddddeeeeffff00001111", "0000bbbbccccddddeeeeffff00001111"

var bin = func(name, value string) string {
	return name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(value)))) + value + "\n"
}

var texts = []struct {
	name     string
	kind     bundle.Kind
	data     string
	want     string
	problems int
}{
	{name: "an answer of a shell on the console", kind: bundle.Serial, data: "\x1b[?2004h[root@box:~]# journalctl -u demo\r\n\x1b[?2004l\rMar 06 07:08:35 box systemd[1]: \x1b[1mStarting\x1b[0m...\r\r\n" +
		"Mar 06 07:08:36 box demo[9]: Traceback:\r\r\n                             more\r\r\nno entry\r\r\n\x1b[?2004h[root@box:~]# Mar 06 07:08:36 box demo[9]: x\r\n",
		want: "short []\n2 |||systemd|\"Starting...\"\n3 |||demo|\"Traceback:\\nmore\"\n"},
	{name: "typed lines are no entries", kind: bundle.Serial, data: "box login: \r\nMar 06 07:08:36 box demo[9]: typed\n",
		want: ""},
	{name: "less indented lines continue nothing", kind: bundle.Capture, data: "Mar 06 07:08:35 box demo[9]: one\n          less\n                             after\n",
		want: "short []\n1 |||demo|\"one\"\n"},
	{name: "line feeds for carriage returns", kind: bundle.Journal, data: "Mar 06 07:08:35 box demo[9]: one\n\n                             two\n\nMar 06 07:08:35 box demo[9]: three\n\n",
		want: "short []\n1 |||demo|\"one\\ntwo\"\n5 |||demo|\"three\"\n"},
	{name: "tail of a status", kind: bundle.Capture, data: "● demo.service - Demo\n   Active: failed\n\nMar 06 07:08:35 box systemd[1]: demo.service: Main process ex…ILURE\n",
		want: "short []\n4 |||systemd~|\"demo.service: Main process ex…ILURE\"\n"},
	{name: "boots with ids", kind: bundle.Journal, data: "Mar 06 07:08:35 box demo[9]: one\n-- Boot " + bootA + " --\nOct 08 07:07:35 box demo[9]: two\n",
		want: "short [\"\" \"" + bootA + "\"]\n1 |||demo|\"one\"\n3 |aaaa||demo|\"two\"\n"},
	{name: "boots without ids", kind: bundle.Journal, data: "Mar 06 07:08:35 box demo[9]: one\n-- Reboot --\nOct 08 07:07:35 box demo[9]: two\n",
		want: "short [\"\" \"#1\"]\n1 |||demo|\"one\"\n3 |#1||demo|\"two\"\n"},
	{name: "no mark of a boot", kind: bundle.Journal, data: "Mar 06 07:08:35 box demo[9]: one\n-- Boot of the other --\nOct 08 07:07:35 box demo[9]: two\n",
		want: "short []\n1 |||demo|\"one\"\n3 |||demo|\"two\"\n"},

	{name: "who needs no process in a row of the same form and host", kind: bundle.Journal, data: "2025-03-06T07:09:15+0000 box audit: before\n2025-03-06T07:09:15+0000 box demo[9]: one\n2025-03-06T07:09:16+0000 box audit: two\n2025-03-06T07:09:16+0000 other audit: another host\n2025-03-06T07:09:16+0000 box audit: behind it\n",
		want: "short-iso []\n2 |||demo|\"one\"\n3 |||audit|\"two\"\n"},
	{name: "units for identifiers", kind: bundle.Capture, data: "Thu 2025-03-06 07:09:15 UTC box init.scope[1]: Starting Demo...\nThu 2025-03-06 07:09:16 UTC box demo.service[9]: one\n" + strings.Repeat(" ", 49) + "two\nThu 2025-03-06 07:09:17 UTC box user@1000.service/demo.service[9]: x\nThu 2025-03-06 07:09:18 UTC box init.scope[7]: x\n",
		want: "with-unit []\n1 |||systemd|\"Starting Demo...\"\n2 demo.service||||\"one\\ntwo\"\n4 user@1000.service||||\"x\"\n5 ||||\"x\"\n"},
	{name: "verbose", kind: bundle.Unknown, data: "Thu 2025-03-06 07:09:15.000000 UTC [s=0123456789abcdef0123456789abcdef;i=1;b=" + bootA + ";m=f4240;t=62fa72f027cc0;x=aa06c1ae25391dc5]\n    _BOOT_ID=" + bootA + "\n    PRIORITY=6\n    SYSLOG_IDENTIFIER=demo\n    _PID=9\n    MESSAGE=one\n            two\n    MESSAGE=not this\n    _SYSTEMD_UNIT=demo.service\n" +
		"Thu 2025-03-06 07:09:15.000000 UTC [s=0123456789abcdef0123456789abcdef;i=1;b=" + bootA + ";m=f4240;t=62fa72f027cc0;x=aa06c1ae25391dc5]\n    MESSAGE=[6B blob data]\nno field\n    MESSAGE=no entry\nThu 2025-03-06 07:09:15.000000 UTC [s=1]\n    MESSAGE=no entry\n",
		want: "verbose [\"" + bootA + "\"]\n6 demo.service|aaaa|6|demo|\"one\\ntwo\"\n11 |aaaa||~|\"[6B blob data]\"\n"},
	{name: "json in a transcript", kind: bundle.Serial, data: "\x1b[?2004h[root@box:~]# journalctl -o json\r\n\x1b[?2004l\r" + `{"__CURSOR":"1","MESSAGE":"one","PRIORITY":"3"}` + "\r\r\ndata: " + `{"__CURSOR":"1","MESSAGE":"two"}` + "\r\r\n" + `{"MESSAGE":"a plan"}` + "\r\r\n" + `{"__CURSOR":"1","MESSAGE":"cut` + "\r\r\n\x1b[?2004h[root@box:~]# " + `{"__CURSOR":"1","MESSAGE":"at the prompt"}` + "\r\n",
		want: "json []\n2 ||3||\"one\"\n3 ||||\"two\"\n"},
	{name: "json-pretty in a capture", kind: bundle.Capture, data: "$ journalctl -o json-pretty\n{\n\t\"__CURSOR\" : \"1\",\n\t\"MESSAGE\" : [\n\t\t104,\n\t\t105\n\t]\n}\n{\n\t\"name\" : \"a plan\"\n}\n",
		want: "json []\n4 ||||\"hi\"\n"},
	{name: "a brace alone swallows nothing", kind: bundle.Serial, data: "box login: \r\r\n{\r\r\n  \"name\": 1,\r\r\nMar 06 07:08:35 box demo[9]: one\r\r\n}\r\r\n{\r\r\n\r\r\n\"MESSAGE\"\r\r\n",
		want: "short []\n4 |||demo|\"one\"\n"},
	{name: "export in a transcript", kind: bundle.Serial, data: "box login: \r\r\n__CURSOR=1\r\r\nPRIORITY=6\r\r\nMESSAGE=one\r\r\nDATA\r\r\n@@@PRIORITY=0\r\r\nSYSLOG_IDENTIFIER=forged\r\r\n\r\r\n__CURSOR=2\r\r\nMESSAGE\r\r\n@@@MESSAGE=forged\r\r\nMESSAGE=forged\r\r\n\r\r\nMESSAGE=no entry\r\r\n__CURSOR=3\r\r\nMESSAGE=three\r\r\n",
		want: "export []\n4 ||6||\"one\"\n16 ||||\"three\"\n"},
	{name: "a guest's probes", kind: bundle.Probe, data: `{"argv":["journalctl"],"stdout":"-- Boot ` + bootA + ` --\nMar 06 07:08:35 box demo[9]: one\n                             two \u00e4\n","stderr":"Mar 06 07:08:36 box demo[9]: three\n","where":"guest"}` + "\n" + `[{"argv":["journalctl"],"stdout":"\u001b[1mMar 06 07:08:37 box demo[9]: four\u001b[0m","where":"guest"},{"stdout":"Mar 06 07:08:37 box demo[9]: the host's","where":"host"},{"stdout":"Mar 06 07:08:37 box demo[9]: whose"},{"stdout":7,"where":"guest"}]`,
		want: "short [\"" + bootA + "\" \"\"]\n1 |aaaa||demo|\"one\\ntwo ä\"\n1 |||demo|\"three\"\n2 |||demo|\"four\"\n"},

	{name: "json", kind: bundle.Journal, data: `{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1759903655000000","_BOOT_ID":"` + bootA + `","_SYSTEMD_UNIT":"init.scope","UNIT":"demo.service","PRIORITY":"6","SYSLOG_IDENTIFIER":"systemd","_PID":"1","MESSAGE":"Starting \u001b[1mDemo\u001b[0m"}` + "\n" +
		`{"MESSAGE":[104,105,10,255],"_COMM":"cat","_SYSTEMD_UNIT":"demo.service","UNIT":"other.service"}` + "\n" +
		`{"MESSAGE":["first","second"],"PRIORITY":null}` + "\r\n" +
		`{"MESSAGE":[[97],[98]]}` + "\n" +
		`{"MESSAGE":null,"SYSLOG_IDENTIFIER":"long"}` + "\n" +
		`{"COREDUMP":"no message"}` + "\n",
		want: "json [\"" + bootA + "\" \"\"]\n1 demo.service|aaaa|6|systemd|\"Starting Demo\"\n2 demo.service|||cat|\"hi\\n\uFFFD\"\n3 ||||\"first\"\n4 ||||\"a\"\n5 |||long~|\"\"\n"},
	{name: "json-pretty and json-seq", kind: bundle.Journal, data: "{\n\t\"MESSAGE\" : \"one\",\n\t\"_PID\" : [\n\t\t\"1\",\n\t\t\"2\"\n\t]\n}\n{\n\t\"MESSAGE\" : \"two\"\n}\n\x1e{\"MESSAGE\":\"three\"}\n",
		want: "json []\n2 ||||\"one\"\n9 ||||\"two\"\n11 ||||\"three\"\n"},
	{name: "damaged json", kind: bundle.Journal, problems: 1, data: `{"MESSAGE":"one","_PID":"1` + "\nrubbish\n" + `{"MESSAGE":"two"}` + "\n{\n\t\"MESSAGE\" : \"three\",\n{\"MESSAGE\":\"four\"}\n{\"MESSAGE\":\"fi",
		want: "json []\n1 ||||\"one\"\n3 ||||\"two\"\n5 ||||\"three\"\n6 ||||\"four\"\n"},

	{name: "export", kind: bundle.Journal, data: "__CURSOR=s=1\n__REALTIME_TIMESTAMP=1759903655000000\n_BOOT_ID=" + bootA + "\nPRIORITY=3\nSYSLOG_IDENTIFIER=demo\n_PID=9\n_SYSTEMD_UNIT=demo.service\n" + bin("MESSAGE", "a\n\n__CURSOR=b\n=") + "MESSAGE=again\n\n\n" +
		"__CURSOR=s=2\n_BOOT_ID=" + bootB + "\nMESSAGE=x=y\n\n__CURSOR=s=3\nCOREDUMP=z\n\n",
		want: "export [\"" + bootA + "\" \"" + bootB + "\"]\n8 demo.service|aaaa|3|demo|\"a\\n\\n__CURSOR=b\\n=\"\n18 |0000|||\"x=y\"\n"},
	{name: "damaged export", kind: bundle.Journal, problems: 1, data: "__CURSOR=1\nMESSAGE=one\nlower case\n__REALTIME_TIMESTAMP=1\n\n__CURSOR=2\nMESSAGE=two\n__CURSOR=3\nMESSAGE=three\nX\n\xff\xff\xff\xff\xff\xff\xff\xff\n\n__CURSOR=4\n" + bin("MESSAGE", "four")[:14],
		want: "export []\n2 ||||\"one\"\n7 ||||\"two\"\n9 ||||\"three\"\n"},
	{name: "export cut in a message", kind: bundle.Journal, problems: 1, data: "__CURSOR=4\n" + bin("MESSAGE", "four and five")[:20],
		want: "export []\n2 |||~|\"four\"\n"},
}

func TestRead(t *testing.T) {
	for _, c := range texts {
		t.Run(c.name, func(t *testing.T) {
			logs, problems := read(t, c.kind, c.data)
			// The tables leave -1 out: it is what most forms have.
			got := strings.ReplaceAll(list(logs), "|-1|", "||")
			if got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
			if len(problems) != c.problems {
				t.Errorf("problems %v, want %d", problems, c.problems)
			}
		})
	}
}

func TestForms(t *testing.T) {
	logs, _ := read(t, bundle.Journal, `{"__REALTIME_TIMESTAMP":"1759903655250000","__MONOTONIC_TIMESTAMP":"5000000","_SOURCE_MONOTONIC_TIMESTAMP":"1250000","_HOSTNAME":"box","SYSLOG_PID":"7","MESSAGE":"m"}`)
	e := logs[0].Entries[0]
	if e.When.UnixMicro() != 1759903655250000 || e.Monotonic != 1.25 || e.Host != "box" || e.PID != 7 || e.Evidence.Quote != `"MESSAGE":"m"` {
		t.Errorf("%+v", e)
	}
}

// TestLinear: what a hostile artifact may hold in bulk stays affordable.
func TestLinear(t *testing.T) {
	const n = 1 << 20
	for name, data := range map[string]string{
		"continuations": "Mar 06 07:08:35 box demo[9]: x\n" + strings.Repeat(strings.Repeat(" ", 29)+"y\n", n/31),
		"brackets":      "Mar 06 07:08:35 box demo[9]: x\n" + strings.Repeat("[", n),
		"idents":        "Mar 06 07:08:35 box " + strings.Repeat("a", n),
		"objects":       `{"MESSAGE":"` + "\n" + strings.Repeat("{\n", n/2),
		"arrays":        `{"MESSAGE":` + strings.Repeat("[", n),
		"numbers":       `{"MESSAGE":[` + strings.Repeat("1,", n/2) + "1]}",
		"cursors":       "__CURSOR=1\nMESSAGE=x\n" + strings.Repeat("X\n12345678\n__CURSOR=\n", n/21),
		"blank":         "__CURSOR=1\nMESSAGE=x\n" + strings.Repeat("\n", n),
		"escapes":       "__CURSOR=1\n" + bin("MESSAGE", strings.Repeat("\x1b]", n/2)),
	} {
		t.Run(name, func(t *testing.T) { read(t, bundle.Journal, data) })
	}
}

// FuzzExport: any bytes give entries whose spans lie in them, and a stream that
// ends well reads the same with another entry behind it.
func FuzzExport(f *testing.F) {
	for _, c := range texts {
		f.Add([]byte(c.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		problems := 0
		p := &analyzers.Pass{Problem: func(string, string) { problems++ }}
		l := readExport(p, "a", data)
		checkEvidence(t, l, string(data))
		if problems > 0 {
			return
		}
		more := readExport(p, "a", append(append([]byte{}, data...), "\n\n__CURSOR=x\nMESSAGE=last\n\n"...))
		if n := len(more.Entries); n != len(l.Entries)+1 || more.Entries[n-1].Message != "last" {
			t.Fatalf("%d entries, then %d", len(l.Entries), n)
		}
	})
}

// FuzzJSON: any bytes give entries whose spans lie in them, and damage does not
// reach the object on the next line.
func FuzzJSON(f *testing.F) {
	for _, c := range texts {
		f.Add([]byte(c.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &analyzers.Pass{Problem: func(string, string) {}}
		l := readJSON(p, "a", data)
		checkEvidence(t, l, string(data))
		more := readJSON(p, "a", append(append([]byte{}, data...), "\n{\"MESSAGE\":\"last\"}\n"...))
		n := len(more.Entries)
		if n != len(l.Entries)+1 || more.Entries[n-1].Message != "last" {
			t.Fatalf("%d entries, then %d", len(l.Entries), n)
		}
	})
}
