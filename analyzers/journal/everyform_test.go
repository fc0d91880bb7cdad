package journal_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands/commandstest"
	"forensics/analyzers/journal"
	"forensics/analyzers/journal/native/nativetest"
	"forensics/analyzers/network"
	"forensics/analyzers/units"
)

var update = flag.Bool("update", false, "write testdata/forms anew with systemd-journal-remote and journalctl")

// carries says what a form has of an entry.
type carries uint

const (
	ident carries = 1 << iota
	unit          // also of systemd's own messages, whom they are about
	from          // the unit of the process alone
	bootID
	priority
	whole   // bytes that are no text, and blank lines
	clock   // to the second
	since   // time since boot
	lengthy // messages over 4096 bytes

	short = ident | lengthy
	full  = ident | unit | bootID | priority | whole | clock | since | lengthy
)

// forms are all that journalctl writes and what of an entry stands there.
var forms = []struct {
	name string
	has  carries
}{
	{"short", short}, {"short-precise", short}, {"short-iso", short | clock}, {"short-iso-precise", short | clock}, {"short-full", short | clock},
	{"short-unix", short | clock}, {"short-monotonic", short | since}, {"short-delta", short | since}, {"with-unit", from | clock | lengthy},
	{"verbose", full &^ whole}, {"json", full &^ lengthy}, {"json-pretty", full &^ lengthy}, {"json-seq", full &^ lengthy}, {"json-sse", full &^ lengthy}, {"json --all", full}, {"export", full}, {"native", full},
	// Nothing tells where an entry ends.
	{"cat", 0},
}

// everything is a boot with entries of every kind.
func everything() []nativetest.Entry {
	es := entries()
	for _, fields := range [][]string{
		append([]string{"MESSAGE=first line\nsecond line\n\n  an indented one after a blank one"}, demo...),
		append([]string{"MESSAGE=tagged", "TAG=one", "TAG=two"}, demo...),
		append([]string{"MESSAGE=bytes \x00\x01\xff"}, demo...),
		append([]string{"MESSAGE=caf\xe9"}, demo...),
		append([]string{"MESSAGE=" + long(5_000)}, demo...),
		append([]string{"MESSAGE=" + long(70_000)}, demo...),
		append([]string{"DATA=\x00" + long(5_000), "MESSAGE=after data"}, demo...),
		{"MESSAGE=syslog's own", "SYSLOG_IDENTIFIER=logger", "SYSLOG_PID=91", "PRIORITY=3", "_HOSTNAME=box"},
		{"MESSAGE=SERVICE_START pid=1 uid=0 msg='unit=demo'", "SYSLOG_IDENTIFIER=audit", "_TRANSPORT=audit", "_AUDIT_TYPE_NAME=SERVICE_START", "_HOSTNAME=box"},
		{"MESSAGE=tool: a: b", "_COMM=other", "_PID=92", "_SYSTEMD_UNIT=demo.service", "PRIORITY=4", "_HOSTNAME=box"},
		append([]string{"COREDUMP=no message"}, demo...),
	} {
		n := uint64(len(es) + 1)
		es = append(es, nativetest.Entry{Seqnum: n, Realtime: 1741244915000000 + n*1000, Monotonic: n * 1000, Boot: 0xa, Fields: fields})
	}
	return es
}

func long(n int) string { return strings.Repeat("The disk was checked once more. ", n/32+1)[:n] }

// rendered returns a form's bytes as recorded.
func rendered(t *testing.T, form string) []byte {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", "forms", strings.ReplaceAll(form, " --", "-")+".zst"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	data, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// render has journald's code write a file of entries, and journalctl print it
// in every form.
func render(t *testing.T) map[string][]byte {
	t.Helper()
	const remote = "/lib/systemd/systemd-journal-remote"
	if _, err := os.Stat(remote); err != nil {
		t.Skip("systemd-journal-remote is not installed")
	}
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Skip("journalctl is not installed")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.export"), filepath.Join(dir, "out.journal")
	text := nativetest.Export(nativetest.Variants()[0], everything(), func(v string) bool { return utf8.ValidString(v) && !strings.ContainsAny(v, "\n\x00\x01") })
	if err := os.WriteFile(in, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(remote, "-o", out, in).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	made := map[string][]byte{}
	for _, f := range forms {
		var data []byte
		var err error
		if f.name == "native" {
			data, err = os.ReadFile(out)
		} else {
			c := exec.Command("journalctl", append([]string{"--file", out, "-o"}, strings.Fields(f.name)...)...)
			c.Env = append(os.Environ(), "TZ=UTC")
			data, err = c.Output()
		}
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		made[f.name] = data
	}
	return made
}

// TestEveryForm: the same entries come from every form that one journal may
// have, as far as the form carries them, and no form shows a fact that the
// others do not.
func TestEveryForm(t *testing.T) {
	if *update {
		enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		if err != nil {
			t.Fatal(err)
		}
		for form, data := range render(t) {
			name := filepath.Join("testdata", "forms", strings.ReplaceAll(form, " --", "-")+".zst")
			if err := os.WriteFile(name, enc.EncodeAll(data, nil), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkForms(t, func(form string) []byte { return rendered(t, form) })
}

// TestEveryFormOracle is TestEveryForm on what today's tools write.
func TestEveryFormOracle(t *testing.T) {
	made := render(t)
	checkForms(t, func(form string) []byte { return made[form] })
}

func checkForms(t *testing.T, data func(form string) []byte) {
	want, facts := read(t, "export", data("export"))
	if n := len(everything()) - 1; len(want) != n {
		t.Fatalf("%d entries in the export, want %d", len(want), n)
	}
	for _, fact := range []string{"unit.active demo.service = failed", "unit.lacks-command demo.service = modprobe", "kernel.version  = 6.12.1", "net.lease lan = 10.0.2.2"} {
		if !slices.Contains(facts, fact) {
			t.Errorf("the export does not show %s: %q", fact, facts)
		}
	}
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			es, said := read(t, f.name, data(f.name))
			if f.has != 0 {
				checkEntries(t, f.has, es, want)
			}
			for _, fact := range said {
				if !slices.Contains(facts, fact) {
					t.Errorf("another fact: %s", fact)
				}
			}
			if f.has&(ident|lengthy) == ident|lengthy && len(said) < len(facts)-lost(f.has) {
				t.Errorf("%q of %q", said, facts)
			}
		})
	}
}

// lost is how many facts a form may lack: without the time since boot, that of
// the random number generator.
func lost(has carries) int {
	if has&since == 0 {
		return 1
	}
	return 0
}

func checkEntries(t *testing.T, has carries, got, want []journal.Entry) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := carried(has, got[i]), carried(has, want[i])
		if got[i].Truncated && !want[i].Truncated && (has&whole == 0 || has&lengthy == 0) {
			cut, _, _ := strings.Cut(g.Message, "[")
			if !strings.HasPrefix(w.Message, cut) {
				t.Errorf("entry %d: %.80q of %.80q", i, g.Message, w.Message)
			}
			g.Message, w.Message = "", ""
		}
		if g != w {
			t.Errorf("entry %d:\n got %.400s\nwant %.400s", i, fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w))
		}
	}
}

// carried returns what of an entry a form has.
func carried(has carries, e journal.Entry) journal.Entry {
	c := journal.Entry{Message: e.Message, PID: e.PID, Host: e.Host}
	if has&whole == 0 {
		c.Message = strings.ReplaceAll(strings.TrimRight(e.Message, "\n "), "\n\n", "\n")
	}
	if has&ident != 0 {
		c.Ident = e.Ident
	}
	if has&unit != 0 {
		c.Unit = e.Unit
	}
	if has&from != 0 && e.Ident != "systemd" {
		c.Unit = e.Unit
	}
	if has&bootID != 0 {
		c.BootID = e.BootID
	}
	if has&priority != 0 {
		c.Priority = e.Priority
	}
	if has&clock != 0 {
		c.When = e.When.Truncate(time.Second)
	}
	if has&since != 0 {
		c.Monotonic = e.Monotonic
	}
	return c
}

// read returns a form's entries, and what its interpreters say of units, the
// kernel, the network and disks.
func read(t *testing.T, form string, data []byte) (es []journal.Entry, said []string) {
	t.Helper()
	kind := bundle.Journal
	if form == "native" {
		kind = bundle.NativeJ
	}
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("a", kind, data)}}
	look := &analyzers.Analyzer{Name: "look", Doc: "Looks.", Requires: []*analyzers.Analyzer{journal.Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
		for _, l := range journal.From(p) {
			if l.Form != strings.Fields(strings.NewReplacer("-pretty", "", "-seq", "", "-sse", "").Replace(form))[0] {
				t.Errorf("form %s", l.Form)
			}
			es = append(es, l.Entries...)
		}
		return nil, nil
	}}
	params := analyzers.Params{"unit": {"demo.service"}, "unit-description": {"Demo set-up"}, "interface": {"lan"}}
	for _, f := range analyzers.Analyze(run, append(slices.Clone(all.List), look), params).All() {
		if slices.ContainsFunc([]string{"unit.", "kernel.", "net.", "disk.", "lvm.", "storage."}, func(p string) bool { return strings.HasPrefix(f.Name, p) }) {
			said = append(said, fmt.Sprintf("%s %s = %s", f.Name, f.Subject, f.Value))
		}
	}
	if len(run.Problems) > 0 {
		t.Errorf("problems %v", run.Problems)
	}
	slices.Sort(said)
	return es, slices.Compact(said)
}

// TestAnsweredForms: in a transcript, a capture and a probe, a journal shows the
// same as in a file of its own. What stands behind a field in binary form is
// lost there; no such entry states anything.
func TestAnsweredForms(t *testing.T) {
	params := analyzers.Params{"unit": {"demo.service"}, "unit-description": {"Demo set-up"}, "interface": {"lan"}}
	for _, f := range forms {
		if f.name == "native" || f.has&(ident|from) == 0 {
			continue
		}
		answer := commandstest.Answer{"journalctl --no-pager -o " + f.name, string(rendered(t, f.name))}
		_, facts := read(t, f.name, rendered(t, f.name))
		for _, a := range []*analyzers.Analyzer{units.Analyzer, network.Analyzer} {
			var want []string
			for _, fact := range facts {
				for _, own := range a.Facts {
					if strings.HasPrefix(fact, own.Name+" ") {
						want = append(want, strings.ReplaceAll(fact, "  ", " "))
					}
				}
			}
			commandstest.Same(t, a, params, []commandstest.Answer{answer}, want)
		}
	}
}
