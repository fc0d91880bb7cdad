package timing

import (
	"regexp"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzStatus(f *testing.F) {
	analyzertest.FuzzFilters(f, []analyzertest.Filter{
		{Name: "head", May: mayHead, Patterns: []*regexp.Regexp{headRe}},
		{Name: "activating", May: mayActivate, Patterns: []*regexp.Regexp{activatingRe}},
	},
		"● demo.service - Demo", "  * demo.service", "× demo.service - Demo",
		"   Active: activating (start) since Wed 2026-03-04 01:16:00 UTC; 2min 21s ago", "\tActive: active (running)", "demo.service - Demo")
}
