package kernel

import (
	"regexp"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzMayAnswer(f *testing.F) {
	analyzertest.FuzzFilters(f, []analyzertest.Filter{{Name: "mayAnswer", May: mayAnswer, Patterns: []*regexp.Regexp{ctimeRe, isoRe, kmsgRe}}},
		"[Wed Mar  4 03:06:18 2026] Linux version 6", "kern  :info  : [Wed Mar  4 03:06:18 2026] x",
		"2026-03-04T03:06:18,123456+00:00 Linux", "kern  :info  : 2026-03-04T03:06:18,123456+00:00 x",
		"6,339,5140900,-;NET: x", "6,339,5140900,-,caller=T1;x", "Starting a unit, that is all", "[    0.1] x")
}
