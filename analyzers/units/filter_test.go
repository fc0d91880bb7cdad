package units

import (
	"regexp"
	"strings"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzFilters(f *testing.F) {
	found := func(find func(string) []string) func(string) bool {
		return func(s string) bool { return find(s) != nil }
	}
	block := func(s string) bool {
		return strings.Contains(s, "Active: ") || strings.Contains(s, "code=") || strings.Contains(s, "Main PID: ")
	}
	analyzertest.FuzzFilters(f, []analyzertest.Filter{
		{Name: "starting", May: found(starting), Patterns: []*regexp.Regexp{startingRe}},
		{Name: "finished", May: found(finished), Patterns: []*regexp.Regexp{finishedRe}},
		{Name: "unitMsg", May: found(unitMsg), Patterns: []*regexp.Regexp{unitMsgRe}},
		{Name: "numbered", May: numbered, Patterns: []*regexp.Regexp{jobRe}},
		{Name: "mayTime", May: mayTime, Patterns: []*regexp.Regexp{startupRe, startingUpRe, blameRe, chainRe}},
		{Name: "mayStatus", May: mayStatus, Patterns: []*regexp.Regexp{consoleRe}},
		{Name: "head", May: func(s string) bool { return head(s) != nil || s != strings.TrimRight(s, " ") }, Patterns: []*regexp.Regexp{headRe}},
		{Name: "block", May: block, Patterns: []*regexp.Regexp{activeRe, processRe, mainPIDRe}},
		{Name: "loaded", May: func(s string) bool { return strings.Contains(s, " loaded ") }, Patterns: []*regexp.Regexp{unitRowRe}},
		{Name: "property", May: func(s string) bool { return s != "" && strings.IndexByte("ATRI", s[0]) >= 0 }, Patterns: []*regexp.Regexp{propRe}},
	},
		"Starting Pre-NixOS setup...", "Finished Pre-NixOS setup.", "Started OpenSSH.", "a.service: Failed with result 'exit-code'.", "x: y",
		"500 sshd.service start waiting", "  7 a.target verify-active running ",
		"Startup finished in 2.503s (kernel) + 9.127s (userspace) = 11.630s.", "Startup finished in 9.127s (userspace).", "Bootup is not yet finished (x)",
		"    1min 2.345s demo.service", "  └─demo.service @2.503s +9.127s", "basic.target +1ms",
		"[  OK  ] Finished x.", "[FAILED] Failed to start x.", "         Starting x...",
		"● a.service - A", "    * a.socket", "     Active: failed (Result: x) since Wed 2026-03-04 01:16:00 UTC; 39s ago", "   Active: active",
		"    Process: 755 ExecStart=x (code=exited, status=0/SUCCESS)", "   Main PID: 755 (code=killed, status=9/KILL)", "   Main PID: 755 (sshd)",
		"● a.service loaded failed failed A", "a.mount loaded active mounted /", "ActiveState=active", "Id=a.service", "nothing of these")
}
