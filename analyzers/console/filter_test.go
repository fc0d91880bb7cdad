package console

import (
	"regexp"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzMayPrompt(f *testing.F) {
	analyzertest.FuzzFilters(f, []analyzertest.Filter{{Name: "mayPrompt", May: mayPrompt, Patterns: []*regexp.Regexp{promptRe}}},
		"[nixos@nixos:~]$ id", "[root@host ~]# ", "root@host:/tmp# ls", "root@(none):/#", "sh-5.2$ ", "bash-5.2# ", "~ # ", "/ $", "[    0.1] x # y", "Starting x...")
}
