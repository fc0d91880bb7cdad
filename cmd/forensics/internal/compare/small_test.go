package compare

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"forensics/cmd/forensics/internal/report"
)

// expectation is what a comparison of two small runs must say, written by hand.
type expectation struct {
	Headline string   // regular expression
	Flips    []string // "vm.lvm pass fail", with "newly" or "no longer" behind it; all that are decided on both sides
	Same     []string // conditions that fail in both for another reason
	Maybe    []string // and those that may fail for the same one
	// First is "condition kind text": the first change of that flip.
	First []string
	// Never are texts that no part of the comparison may hold.
	Never []string
	// Kinds are all kinds of change that may be stated, harmless ones apart.
	Kinds []string
}

// TestSmall compares the runs from/ and to/ of each file of testdata/small.
func TestSmall(t *testing.T) {
	cases(t, "testdata/small", func(t *testing.T, want *expectation, dir string) {
		set, _ := catalogue(t)
		a, b := read(t, filepath.Join(dir, "from")), read(t, filepath.Join(dir, "to"))
		c := Two(a, b, set)
		want.check(t, c)
		got, mirror := Two(b, a, set), mirrored(c)
		unworded(got)
		unworded(mirror)
		if d := cmp.Diff(mirror, got); d != "" {
			t.Errorf("not the mirror image (-mirror +got):\n%s", d)
		}
	})
}

func (want *expectation) check(t *testing.T, c *report.Comparison) {
	if !regexp.MustCompile(want.Headline).MatchString(c.Headline) {
		t.Errorf("headline %q, want %q", c.Headline, want.Headline)
	}
	var flips, same []string
	first := map[string]string{}
	for i := range c.Flips {
		f := &c.Flips[i]
		if len(f.Changes) > 0 {
			first[f.Condition] = f.Changes[0].Kind + " " + f.Changes[0].Summary
		}
		if !decided(f) && !f.NewlyReached && !f.NoLongerReached {
			continue
		}
		s := fmt.Sprintf("%s %s %s", f.Condition, f.From, f.To)
		if f.NewlyReached {
			s += " newly"
		}
		if f.NoLongerReached {
			s += " no longer"
		}
		flips = append(flips, s)
	}
	var maybe []string
	for _, f := range c.Mechanisms {
		if f.MayBeSame {
			maybe = append(maybe, f.Condition)
		} else {
			same = append(same, f.Condition)
		}
	}
	if d := cmp.Diff(want.Maybe, maybe, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("perhaps for one reason (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want.Flips, flips); d != "" {
		t.Errorf("flips (-want +got):\n%s", d)
	}
	if d := cmp.Diff(want.Same, same, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("other reasons (-want +got):\n%s", d)
	}
	for _, f := range want.First {
		id, text, _ := strings.Cut(f, " ")
		if !strings.HasPrefix(first[id], text) {
			t.Errorf("the first change of %s is %q, want %q", id, first[id], text)
		}
	}
	all := fmt.Sprintf("%+v", *c)
	for _, n := range want.Never {
		if strings.Contains(all, n) {
			t.Errorf("%q stands in the comparison", n)
		}
	}
	if want.Kinds == nil {
		return
	}
	changes := slices.Clone(c.Changes)
	for _, f := range slices.Concat(c.Flips, c.Mechanisms) {
		changes = append(changes, f.Changes...)
	}
	for _, x := range changes {
		if !x.Harmless && !slices.Contains(want.Kinds, x.Kind) {
			t.Errorf("stated: %s %s: %s", x.Kind, x.Subject, x.Summary)
		}
	}
}
