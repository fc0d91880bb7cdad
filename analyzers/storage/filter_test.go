package storage

import (
	"regexp"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzFilters(f *testing.F) {
	analyzertest.FuzzFilters(f, []analyzertest.Filter{
		{Name: "assign", May: func(s string) bool { return assign(s) != nil }, Patterns: []*regexp.Regexp{assignRe}},
		{Name: "mayBlkid", May: mayBlkid, Patterns: []*regexp.Regexp{blkidRe, devnameRe, exportedRe}},
		{Name: "mayTell", May: mayTell, Patterns: []*regexp.Regexp{
			suppressedRe, vgMadeRe, lvMadeRe, vgActiveRe, vgGoneRe, lvGoneRe, traceRe, lsblkHeadRe, emptyRe, planLVsRe, planVGRe, planDiskRe, planNameRe}},
	},
		"STATE=failed", "DETAIL=x", `/dev/vda: TYPE="ext4"`, "DEVNAME=/dev/vda", "TYPE=ext4", "PTTYPE=gpt",
		"Suppressed 7 messages from a.service", `  Volume group "main" successfully created`, `  Logical volume "a" created.`, `  1 logical volume(s) in volume group "main" now active`,
		`  Volume group "main" successfully removed`, `  Logical volume "a" successfully removed`, "++ realpath /dev/vda", "NAME FSTYPE LABEL",
		`  "disko": {}`, `  "vgs": [`, `  "vg": "main"`, `  "device": "/dev/vda"`, `  "vda": {`, "nothing of these")
}
