package shell

import (
	"regexp"
	"strings"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzFilters(f *testing.F) {
	has := func(part string) func(string) bool {
		return func(s string) bool { return strings.Contains(s, part) }
	}
	analyzertest.FuzzFilters(f, []analyzertest.Filter{
		{Name: "asksFor", May: asksFor, Patterns: []*regexp.Regexp{haveRe, whichRe, loopRe}},
		{Name: "question", May: has("id -u"), Patterns: []*regexp.Regexp{testRe}},
		{Name: "not found", May: has("not found"), Patterns: []*regexp.Regexp{notFoundRe}},
	},
		"command -v ip >/dev/null && echo YES || echo NO", "type -p ip && echo Y || echo N", "which ip", "command -v ip", "for c in ip vgs; do command -v $c; done",
		`if [ "$(id -u)" = "0" ]; then echo A; else echo B; fi`, "bash: vgs: command not found", "zsh: command not found: vgs", "nothing of these")
}
