package corpus

import (
	"regexp"
	"strings"
	"testing"

	"forensics/rules"
)

var (
	// What a sentence marks as an artifact's words.
	markedRe = regexp.MustCompile("«([^»]*)»|`([^`]*)`")
	// Time, host and process, which the evidence shows.
	stampRe = regexp.MustCompile(`[A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d \S+ \S+\[\d+\]: |^\[ *\d+\.\d{6}\] `)
)

// TestQuoted: what a sentence prints as an artifact's words stands in the
// verdict's evidence, and a sentence does not repeat what a log puts before them.
func TestQuoted(t *testing.T) {
	marked := 0
	for _, c := range load(t) {
		set, params := rulesOf(t, c)
		for _, v := range Check(c, set, params).Result.Verdicts {
			if v.Status == rules.Unknown {
				continue
			}
			if s := stampRe.FindString(v.Because); s != "" {
				t.Errorf("%s: %s repeats %q: %s", c.Name, v.Condition.ID, s, v.Because)
			}
			for _, m := range markedRe.FindAllStringSubmatch(v.Because, -1) {
				marked++
				if words := m[1] + m[2]; !shows(&v, words) {
					t.Errorf("%s: %s prints %q, which no evidence shows: %s", c.Name, v.Condition.ID, words, v.Because)
				}
			}
		}
	}
	if marked == 0 && !underRace {
		t.Error("no sentence marks an artifact's words")
	}
}

// shows reports whether words stand in a line of v's evidence; both may be cut.
func shows(v *rules.Verdict, words string) bool {
	words = strings.TrimSuffix(words, "…")
	for _, e := range v.Evidence {
		quote := strings.TrimSuffix(e.Quote, "…")
		if strings.Contains(quote, words) || quote != e.Quote && strings.HasPrefix(words, quote) {
			return true
		}
	}
	return false
}
