package timing

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/report"
)

// boot makes times of a recording: the seconds that the stages took, in order
// of boot, the last of them open.
func boot(seconds ...float64) *Times {
	t := &Times{}
	stages := []string{"none", "bootloader", "kernel-loaded", "stage-1", "systemd", "login-prompt", "shell"}
	at := 0.0
	for i, s := range seconds {
		t.Marks = append(t.Marks, Mark{Clock: Cast, Stage: stages[i], At: at, Evidence: said(stages[i])})
		at += s
	}
	t.Ends = []Mark{{Clock: Cast, At: at, Evidence: said("end")}}
	t.order()
	return t
}

func said(quote string) []bundle.Evidence {
	return []bundle.Evidence{{Path: "serial.log", Line: 1, End: int64(len(quote)), Quote: quote}}
}

func times(factor float64, seconds []float64) []float64 {
	var out []float64
	for _, s := range seconds {
		out = append(out, factor*s)
	}
	return out
}

func TestRule(t *testing.T) {
	good := []float64{0.2, 7, 5, 4, 12, 3, 60}
	one := []*Times{boot(good...)}
	ten := []*Times{boot(times(1.5, good)...)}
	for range 9 {
		ten = append(ten, boot(good...))
	}
	with := func(i int, s float64) []float64 {
		out := append([]float64(nil), good...)
		out[i] = s
		return out
	}
	for _, c := range []struct {
		name string
		good []*Times
		run  *Times
		want string // stages, "" for none
	}{
		{"the same", one, boot(good...), ""},
		{"no good run", nil, boot(with(3, 500)...), ""},
		{"everything ten times slower", one, boot(times(10, good)...), ""},
		{"everything three times faster", one, boot(times(1.0/3, good)...), ""},
		{"one stage at the limit of one run", one, boot(with(3, 40)...), ""},
		{"one stage over it", one, boot(with(3, 40.1)...), "stage-1"},
		{"one stage at the limit of ten", ten, boot(with(3, 39.2)...), ""},
		{"one stage over the limit of ten", ten, boot(with(3, 39.3)...), "stage-1"},
		{"stage of no length, stalled", one, boot(with(0, 21)...), ""},
		{"stage of no length, hung", one, boot(with(0, 22)...), "none"},
		{"slow machine, one stage slow in step", one, boot(with(3, 100)...), "stage-1"},
		{"slow machine, that stage in proportion", one, boot(append(times(4, good[:3]), append([]float64{95}, times(4, good[4:])...)...)...), ""},
		{"slow machine, that stage far beyond", one, boot(append(times(4, good[:3]), append([]float64{101}, times(4, good[4:])...)...)...), "stage-1"},
		{"two late stages do not hide each other", one, boot(0.2, 7, 5, 300, 300, 3, 60), "stage-1 systemd"},
		{"never left", one, boot(0.2, 7, 5, 240), "stage-1"},
		{"never left, but the record is short", one, boot(0.2, 7, 5, 30), ""},
		{"ended early", one, boot(0.2, 7), ""},
		{"a long session", one, boot(with(6, 5000)...), ""},
		{"no good run left it either", []*Times{boot(0.2, 7, 5, 4, 12, 3)}, boot(0.2, 7, 5, 4, 12, 900), ""},
	} {
		var got []string
		for _, f := range Expect(c.good).Late(c.run) {
			got = append(got, f.Subject)
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: late %q, want %q", c.name, g, c.want)
		}
	}
}

// Stages that a run does not show are skipped on both sides.
func TestSkipped(t *testing.T) {
	good := boot(0.2, 7, 5, 4, 12, 3, 60)
	quiet := &Times{
		Marks: []Mark{{Cast, "none", 0, said("none")}, {Cast, "bootloader", 0.2, said("bootloader")}, {Cast, "login-prompt", 30, said("login")}, {Cast, "shell", 33, said("shell")}},
		Ends:  []Mark{{Clock: Cast, At: 90, Evidence: said("end")}},
	}
	for _, c := range []struct{ from, to *Times }{{good, quiet}, {quiet, good}} {
		for _, f := range Compare(c.from, c.to) {
			t.Errorf("%s", f.Summary)
		}
	}
	// 28 s from the loader to the prompt are good: 5 × 28 + 20.
	for at, want := range map[float64]int{160: 0, 161: 1} {
		quiet.Marks[2].At = at + 0.2
		quiet.Marks[3].At = at + 3
		if fs := Expect([]*Times{good}).Late(quiet); len(fs) != want {
			t.Errorf("%.0f s: %d findings, want %d", at, len(fs), want)
		}
	}
}

// A clock that only one side has says nothing; of two that both have, the finer
// one judges.
func TestClocks(t *testing.T) {
	with := func(t *Times, c Clock, login float64) *Times {
		t.Marks = append(t.Marks, Mark{c, "none", 0, said("wait")}, Mark{c, "login-prompt", login, said("login")}, Mark{c, "shell", login + 1, said("shell")})
		t.order()
		return t
	}
	good := []*Times{with(boot(0.2, 7, 5, 4, 12, 3, 60), Harness, 28)}
	for _, c := range []struct {
		name string
		run  *Times
		want string
	}{
		{"another clock", with(&Times{}, Metadata, 5000), ""},
		{"the coarse one alone", with(&Times{}, Harness, 5000), "harness none"},
		{"the fine one knows better", with(boot(0.2, 7, 5, 4, 12, 3, 60), Harness, 5000), ""},
		{"both", with(boot(0.2, 7, 5, 4000, 12, 3, 60), Harness, 5000), "serial.cast stage-1"},
	} {
		var got []string
		for _, f := range Expect(good).Late(c.run) {
			got = append(got, fmt.Sprintf("%s %s", f.Clock, f.Subject))
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%s: late %q, want %q", c.name, g, c.want)
		}
	}
}

// A unit's start that failed, or whose end nobody saw, is no measure.
func TestNoMeasure(t *testing.T) {
	unit := func(seconds float64, change func(*Span)) *Times {
		s := Span{Clock: Guest, What: Unit, Subject: "a.service", Seconds: seconds, Evidence: said("a")}
		change(&s)
		q := Span{Clock: Guest, What: Silence, Subject: "a.service", Seconds: seconds, Evidence: said("b")}
		return &Times{Spans: []Span{s, q}}
	}
	whole, failed, open := func(*Span) {}, func(s *Span) { s.Failed = true }, func(s *Span) { s.Open = true }
	late := unit(100, whole)
	for i, c := range []struct {
		good *Times
		want string
	}{
		{unit(2, whole), "start of a.service took 100 s (2.0 s before)"},
		{unit(2, failed), ""},
		{unit(2, open), ""},
		{unit(15, whole), ""},
	} {
		got := ""
		for _, f := range Expect([]*Times{c.good}).Late(late) {
			got += f.Change().Summary
		}
		if got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
	for _, change := range []func(*Span){whole, failed, open} {
		if fs := Expect([]*Times{unit(2, whole)}).Late(unit(100, change)); len(fs) != 1 || fs[0].What != Unit {
			t.Errorf("late: %+v", fs)
		}
	}
}

// mirror exchanges the sides of changes, but for the sentences.
func mirror(cs []report.Change) []report.Change {
	other := map[string]string{report.SideFrom: report.SideTo, report.SideTo: report.SideFrom}
	var out []report.Change
	for _, c := range cs {
		c.From, c.To = c.To, c.From
		var ev []report.SideEvidence
		for _, side := range []string{report.SideTo, report.SideFrom} {
			for _, e := range c.Evidence {
				if e.Side == side {
					ev = append(ev, report.SideEvidence{Side: other[side], Evidence: e.Evidence})
				}
			}
		}
		c.Evidence, c.Summary = ev, ""
		out = append(out, c)
	}
	return out
}

// sides holds that a run does not differ from itself, and that exchanging two
// exchanges the sides of what differs. It returns how much does.
func sides(t *testing.T, a, b *Times) int {
	t.Helper()
	if cs := Compare(b, b); len(cs) > 0 {
		t.Errorf("differs from itself: %+v", cs)
	}
	there, back := Compare(a, b), Compare(b, a)
	for k := range there {
		there[k].Summary = ""
	}
	if d := cmp.Diff(there, mirror(back)); d != "" {
		t.Errorf("-there +mirrored\n%s", d)
	}
	return len(there)
}

func TestMirror(t *testing.T) {
	var runs []*Times
	for _, n := range []string{"healthy-stdio", "healthy-slow", "stage1-hang", "unit-deadlock", "observer-missed", "no-nic", "clock-off"} {
		runs = append(runs, recording(t, n))
	}
	runs = append(runs, load(t, "testdata/healthy"), load(t, "testdata/silent"))
	seen := 0
	for _, a := range runs {
		for _, b := range runs {
			seen += sides(t, a, b)
		}
	}
	if seen == 0 {
		t.Error("nothing differs")
	}
}

func TestChange(t *testing.T) {
	good, hung := recording(t, "healthy-stdio"), recording(t, "stage1-hang")
	cs := Compare(good, hung)
	if len(cs) != 1 {
		t.Fatalf("%d changes: %+v", len(cs), cs)
	}
	c := cs[0]
	var ev []string
	for _, e := range c.Evidence {
		ev = append(ev, fmt.Sprintf("%s %s:%d", e.Side, e.Path, e.Line))
	}
	got := []string{c.Kind, c.Subject, c.From, c.To, c.Summary, strings.Join(ev, ", ")}
	want := []string{
		"stage.time", "boot until the first prompt", "39 s", "at least 240 s",
		"boot until the first prompt took at least 240 s (39 s before), standing in stage-1, after: starting device mapper and LVM...",
		"from harness.log:6, from harness.log:138, to harness.log:6, to harness.log:7, to serial.log:19",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	back := Compare(hung, good)[0]
	if want := "boot until the first prompt took 39 s (at least 240 s before, standing in stage-1, after: starting device mapper and LVM...)"; back.Summary != want {
		t.Errorf("mirrored: %s", back.Summary)
	}
}
