package analyzertest

import (
	"regexp"
	"testing"
)

// Filter is a cheap test that spares most lines a look at patterns: it must let
// through all that one of them matches.
type Filter struct {
	Name     string
	May      func(text string) bool
	Patterns []*regexp.Regexp
}

// FuzzFilters fails where a pattern matches what its filter keeps out, and where
// the seeds leave a pattern unmatched or a filter without work.
func FuzzFilters(f *testing.F, filters []Filter, seeds ...string) {
	for _, fl := range filters {
		kept := false
		for _, re := range fl.Patterns {
			matched := false
			for _, s := range seeds {
				matched = matched || re.MatchString(s)
				kept = kept || !fl.May(s)
			}
			if !matched {
				f.Errorf("%s: no seed matches %s", fl.Name, re)
			}
		}
		if !kept {
			f.Errorf("%s keeps no seed out", fl.Name)
		}
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, fl := range filters {
			for _, re := range fl.Patterns {
				if re.MatchString(text) && !fl.May(text) {
					t.Errorf("%s keeps out %q, which %s matches", fl.Name, text, re)
				}
			}
		}
	})
}
