package journal

import (
	"regexp"
	"strings"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzMayBegin(f *testing.F) {
	may := func(s string) bool { return s != "" && mayBegin(s) }
	starts := regexp.MustCompile(`^(?:__CURSOR=|\{$|(?:data: )?\{.*\}$)`)
	analyzertest.FuzzFilters(f, []analyzertest.Filter{{Name: "mayBegin", May: may, Patterns: []*regexp.Regexp{verboseRe, starts}}},
		"Wed 2026-03-04 06:07:35.123456 UTC [s="+strings.Repeat("a", 32)+";i=1;b="+strings.Repeat("b", 32)+";m=1;t=2;x=3]",
		"__CURSOR=s=1", "{", `{"MESSAGE":"x"}`, `data: {"MESSAGE":"x"}`, "Oct 08 06:07:35 nixos systemd[1]: Starting x...", "")
}
