package rules

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDiagnose: each case is a catalogue, "id status needs…" and so on, where +
// is pass, - fail, ? unknown and an id in capitals an observer.
func TestDiagnose(t *testing.T) {
	for _, c := range []struct{ name, catalogue, want string }{
		{"all is well", "a +; b + a", ""},
		{"nothing is known", "a ?; b ? a", ""},
		{"one failed", "a +; b - a", "cause b"},
		{"a chain: the first", "a -; b - a; c - b", "b blocked by a; c blocked by a b; cause a explains b c"},
		{"through an unknown", "a -; b ? a; c - b", "b blocked by a; c blocked by a; cause a explains c"},
		{"a pass in between breaks the path", "a -; b + a; c - b", "b despite a; cause a; cause c"},
		{"a pass in between, and another path", "a -; b + a; c - b a", "b despite a; c blocked by a; cause a explains c"},
		{"two causes", "a -; b -; c - a b", "c blocked by a b; cause a explains c; cause b explains c"},
		{"unrelated", "a -; b -", "cause a; cause b"},
		{"catalogue order is not need order", "b - a; a -", "b blocked by a; cause a explains b"},
		{"unknown needs are unproven", "a ?; b ? a; c - b", "cause c unproven a b"},
		{"unknown behind a pass is not", "a ?; b + a; c - b", "cause c"},
		{"unknown earlier but not needed is not", "a ?; b -", "cause b"},
		{"an explained failure is no cause", "a ?; b - a; c - b", "c blocked by b; cause b explains c unproven a"},
		{"a pass names the nearest failed need", "a -; b - a; c + b", "b blocked by a; c despite b; cause a explains b"},
		{"a pass names a failed need behind an unknown", "a -; b ? a; c + b", "b blocked by a; c despite a; cause a"},
		{"a diamond", "a -; b - a; c - a; d - b c", "b blocked by a; c blocked by a; d blocked by a b c; cause a explains b c d"},
		{"the observer alone", "O -; b +", "observer O"},
		{"the observer explains", "O -; b - O", "b blocked by O; observer O explains b"},
		{"the observer and a cause", "O -; a -; b - O a", "b blocked by O a; cause a explains b; observer O explains b"},
		{"the observer's own cause", "a -; O - a; b - O", "O blocked by a; b blocked by a O; cause a explains O b; observer O explains b"},
		{"the observer passes", "a -; O + a; b - O", "O despite a; cause a; cause b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, diagnosis(catalogue(c.catalogue))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func catalogue(text string) *Outcome {
	s, out := &Set{byID: map[string]*Condition{}}, &Outcome{}
	for i, line := range strings.Split(text, "; ") {
		f := strings.Fields(line)
		c := &Condition{ID: f[0], Needs: f[2:], Observer: f[0] == strings.ToUpper(f[0]), index: i}
		s.conditions, s.byID[c.ID] = append(s.conditions, c), c
		status := map[string]Status{"+": Pass, "-": Fail, "?": Unknown}[f[1]]
		out.Verdicts = append(out.Verdicts, Verdict{Condition: c, Status: status})
	}
	s.diagnose(out)
	return out
}

func diagnosis(out *Outcome) string {
	var lines []string
	line := func(head string, lists ...[]string) {
		said := head
		for i := 0; i < len(lists); i += 2 {
			if len(lists[i+1]) > 0 {
				said += " " + lists[i][0] + " " + strings.Join(lists[i+1], " ")
			}
		}
		if said != head || strings.Contains(head, " ") {
			lines = append(lines, said)
		}
	}
	for _, v := range out.Verdicts {
		line(v.Condition.ID, []string{"blocked by"}, v.BlockedBy, []string{"despite"}, v.Despite)
	}
	for _, c := range out.Causes {
		line("cause "+c.Condition.ID, []string{"explains"}, c.Explains, []string{"unproven"}, c.Unproven)
	}
	for _, c := range out.Observer {
		line("observer "+c.Condition.ID, []string{"explains"}, c.Explains, []string{"unproven"}, c.Unproven)
	}
	return strings.Join(lines, "; ")
}
