package compare

import (
	"forensics/cmd/forensics/internal/report"
	"forensics/rules"
)

// Baseline compares a run with several good ones. What any of them shows is no
// news; a condition that they judge differently is unknown among them.
func Baseline(path string, good []*Side, to *Side, set *rules.Set) *report.Comparison {
	return compare(&group{sides: good, path: path}, to, set)
}
