package commands

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// TestDialogue: testdata/*.txtar hold an artifact and "want", what was run
// ("$ COMMAND", "? COMMAND" when its prompt did not come back; ⏎ stands for a
// line feed) and what each line of the answer says, without blank lines.
func TestDialogue(t *testing.T) {
	for _, f := range cases(t) {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want := string(ar.Files[len(ar.Files)-1].Data)
			ar.Files = ar.Files[:len(ar.Files)-1]
			run, err := analyzertest.Bundle(ar)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(dialogues(run)); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func cases(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.txtar: %v", err)
	}
	return files
}

func dialogues(run *bundle.Run) (ds []*Dialogue) {
	reads := &analyzers.Analyzer{Name: "test", Doc: "test", Requires: []*analyzers.Analyzer{Analyzer}}
	reads.Run = func(p *analyzers.Pass) (any, error) {
		ds = From(p)
		return nil, nil
	}
	analyzers.Analyze(run, []*analyzers.Analyzer{reads}, nil)
	return ds
}

func show(ds []*Dialogue) string {
	var b strings.Builder
	for _, d := range ds {
		for _, c := range d.Commands {
			mark := "$"
			if !c.Done {
				mark = "?"
			}
			fmt.Fprintf(&b, "%s %s\n", mark, strings.ReplaceAll(c.Text, "\n", "⏎"))
			for _, l := range c.Answer {
				if text := strings.TrimSpace(l.Text); text != "" {
					fmt.Fprintf(&b, "> %s\n", text)
				}
			}
		}
	}
	return b.String()
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"systemctl is-active pre-nixos 2>/dev/null || true", "systemctl is-active pre-nixos"},
		{"SYSTEMD_COLORS=0 PAGER=cat systemctl list-jobs", "systemctl list-jobs"},
		{"sudo systemctl status x", "systemctl status x"},
		{"sudo -n true", "true"},
		{"sudo -i", "sudo -i"},
		{"sudo -n -i", "sudo -n -i"},
		{"sudo -n", "sudo -n"},
		{"exec sudo -n env A=b bash --norc", "bash --norc"},
		{"sudo su -", "su -"},
		{"su -", "su -"},
		{"{ mdadm --create /dev/md0; printf x; }", "mdadm --create /dev/md0"},
		{"vgs --separator '|' -o vg_name", "vgs --separator | -o vg_name"},
		{"id -u; hostname", "id -u"},
		{"cat a | wc -l", "cat a"},
		{"cat <a", "cat"},
		{"A=1", "A=1"},
		{"", ""},
	} {
		if got := strings.Join(Words(c.line), " "); got != c.want {
			t.Errorf("Words(%q) = %q, want %q", c.line, got, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		re    string
		line  string
		match bool
	}{
		{"command", "SYSTEMD_COLORS=0 systemctl list-jobs", true},
		{"command", "id", true},
		{"command", "ip -o -4 addr show dev lan", true},
		{"command", ":", true},
		{"command", "idle", false},
		{"command", "lsof is missing", false},
		{"command", "systemctl: command not found", false},
		{"command", "cat: /run/x: No such file or directory", false},
		{"command", "● systemctl - x", false},
		{"stamped", "Mar 08 03:12:26 nixos sh[1]: cat /x 2>/dev/null || true", true},
		{"stamped", "October 17 is no stamp 2>/dev/null", false},
		{"some", "# id -u", true},
		{"some", "vm# id -u", true},
		{"some", "$ ls", true},
		{"some", "#id", false},
		{"some", "cat a b > c", false},
		{"unmarked", "bind 'set enable-bracketed-paste off'", true},
		{"unmarked", "bind 'set enable-bracketed-paste on'", false},
		{"operator", "||", true},
		{"operator", "2>/dev/null", true},
		{"operator", "<a", true},
		{"operator", "a>b", false},
		{"assign", "PAGER=cat", true},
		{"assign", "--property=x", false},
	} {
		re := map[string]interface{ MatchString(string) bool }{
			"command": commandRe, "stamped": stampedRe, "some": someRe, "unmarked": unmarkedRe, "operator": operatorRe, "assign": assignRe,
		}[c.re]
		if re.MatchString(c.line) != c.match {
			t.Errorf("%s on %q: want %v", c.re, c.line, c.match)
		}
	}
}

func TestWentOn(t *testing.T) {
	ask := func(text string) *Command { return &Command{Text: text} }
	poll := ask("cat status")
	for _, c := range []struct {
		after []string
		want  bool
	}{
		{nil, false},
		{[]string{"id -u", ":", "printf x"}, false},
		{[]string{"cat status"}, false},
		{[]string{"poweroff"}, true},
		{[]string{":", "vgs"}, true},
	} {
		d := &Dialogue{Commands: []*Command{ask("vgs"), poll}}
		for _, a := range c.after {
			d.Commands = append(d.Commands, ask(a))
		}
		if got := d.WentOn([]*Command{poll}); got != c.want {
			t.Errorf("after %q: %v", c.after, got)
		}
	}
}

// FuzzDialogue: evidence lies within the artifact and in order, nothing typed
// is an answer, and a cut transcript has no command that the whole lacks.
func FuzzDialogue(f *testing.F) {
	for _, file := range cases(f) {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		s, err := analyzertest.Unescape(string(ar.Files[0].Data))
		if err != nil {
			s = string(ar.Files[0].Data)
		}
		f.Add([]byte(s), uint16(len(s)/2))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		whole, d := decode(data)
		checkDialogue(t, whole, d)
		part, cutD := decode(data[:min(int(cut), len(data))])
		checkDialogue(t, part, cutD)
		if sameLines(whole, part) {
			checkCut(t, d, cutD)
		}
		fromCapture(whole)
	})
}

func decode(data []byte) (*console.Transcript, *Dialogue) {
	t := console.Decode(bundle.NewArtifact("serial.log", bundle.Serial, data), data)
	return t, fromTranscript(t)
}

// checkDialogue: see FuzzDialogue.
func checkDialogue(t *testing.T, tr *console.Transcript, d *Dialogue) {
	typed := map[string]bool{}
	at, next := int64(0), 0
	for _, c := range d.Commands {
		for _, l := range c.Answer {
			ev := l.Evidence
			if ev.Start < at || ev.End < ev.Start || ev.End > int64(len(tr.Data)) || ev.Line < 1 || ev.Line > len(tr.Lines) {
				t.Fatalf("answer %q of %q: %+v behind %d", l.Text, c.Text, ev, at)
			}
			at = ev.Start
			for ; next < len(d.Typed) && d.Typed[next].Evidence.Start < ev.Start; next++ {
				typed[d.Typed[next].Text] = true
			}
			if text := strings.TrimSpace(l.Text); text != "" && typed[text] {
				t.Fatalf("typed line %q is an answer of %q", text, c.Text)
			}
		}
	}
}

// sameLines reports whether the console reads the beginning of the whole as it
// reads the part; what it takes from the whole file may differ.
func sameLines(whole, part *console.Transcript) bool {
	if !reflect.DeepEqual(whole.Prompts(), part.Prompts()) || whole.CRsLost != part.CRsLost || whole.EscapesLost != part.EscapesLost {
		return false
	}
	for i := range part.Lines[:max(0, len(part.Lines)-1)] {
		if a, b := whole.Lines[i], part.Lines[i]; a.Typed != b.Typed || a.TypedFrom != b.TypedFrom || a.Text != b.Text {
			return false
		}
	}
	return true
}

// checkCut: all commands of the part but those of its last line are the
// whole's.
func checkCut(t *testing.T, whole, part *Dialogue) {
	have := map[string]bool{}
	for _, c := range whole.Commands {
		have[fmt.Sprint(c.Echo.Start, c.Text)] = true
	}
	for _, c := range part.Commands[:max(0, len(part.Commands)-1)] {
		if !have[fmt.Sprint(c.Echo.Start, c.Text)] {
			t.Fatalf("the part has %q at %d, the whole has not:\n%s", c.Text, c.Echo.Start, show([]*Dialogue{whole}))
		}
	}
}

// TestCutRecordings: the property of the fuzz target on recorded boots.
func TestCutRecordings(t *testing.T) {
	files, _ := filepath.Glob("../../corpus/testimage-runs/*/artifacts/serial.log")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		whole, d := decode(data)
		checkDialogue(t, whole, d)
		for i := 0; i < len(whole.Lines); i += 1 + len(whole.Lines)/50 {
			part, cut := decode(data[:whole.Lines[i].End])
			if sameLines(whole, part) {
				checkCut(t, d, cut)
			}
		}
	}
}
