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

func FuzzHarness(f *testing.F) {
	analyzertest.FuzzFilters(f, []analyzertest.Filter{
		{Name: "await", May: mayAwait, Patterns: []*regexp.Regexp{awaitRe}},
		{Name: "match", May: mayMatch, Patterns: []*regexp.Regexp{matchedRe}},
		{Name: "give up", May: mayGiveUp, Patterns: []*regexp.Regexp{gaveUpRe}},
	},
		"Awaiting patterns: ['login:'] (timeout=300 s)", "Expecting: login: (timeout 300s)", "Matched pattern: 'login:'", "matched 'x'",
		"pexpect reported TIMEOUT", "Unexpected EOF while waiting", "Timed out after 3 s", "timed out waiting for x", "EOF while reading", "Running command: id -u")
}
