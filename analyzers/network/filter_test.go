package network

import (
	"regexp"
	"strings"
	"testing"

	"forensics/analyzers/analyzertest"
)

func FuzzFilters(f *testing.F) {
	first := func(set string) func(string) bool {
		return func(s string) bool { return s != "" && strings.IndexByte(set, s[0]) >= 0 }
	}
	has := func(parts ...string) func(string) bool {
		return func(s string) bool {
			for _, p := range parts {
				if strings.Contains(s, p) {
					return true
				}
			}
			return false
		}
	}
	found := func(find func(string) []string) func(string) bool {
		return func(s string) bool { return find(s) != nil }
	}
	analyzertest.FuzzFilters(f, []analyzertest.Filter{
		{Name: "digit", May: first("0123456789"), Patterns: []*regexp.Regexp{ipOneRe, ipHeadRe}},
		{Name: "absent", May: first("DCIF"), Patterns: []*regexp.Regexp{absentRe}},
		{Name: "started", May: first("["), Patterns: []*regexp.Regexp{startedRe}},
		{Name: "down", May: has("networkd is not"), Patterns: []*regexp.Regexp{ctlDownRe}},
		{Name: "no daemon", May: has(".service not found."), Patterns: []*regexp.Regexp{noDaemonRe}},
		{Name: "row", May: found(ctlRow), Patterns: []*regexp.Regexp{ctlRowRe}},
		{Name: "link", May: found(ctlLink), Patterns: []*regexp.Regexp{linkRe}},
		{Name: "up", May: has("State: "), Patterns: []*regexp.Regexp{ctlUpRe}},
		{Name: "address", May: has("Address: "), Patterns: []*regexp.Regexp{ctlAddrRe}},
		{Name: "failed", May: has("ailed", "ould not ", "timed out"), Patterns: []*regexp.Regexp{failRe}},
		{Name: "active", May: has("detected active interface"), Patterns: []*regexp.Regexp{activeRe}},
	},
		"2: lan    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic lan", "2: lan: <BROADCAST,UP,LOWER_UP> mtu 1500",
		`Device "lan" does not exist.`, `Cannot find device "lan"`, "Interface lan not found", "Failed to find link \"lan\"",
		"[  OK  ] Started Network Configuration.", "WARNING: systemd-networkd is not running, output will be incomplete.",
		"Failed to query: Unit dbus-org.freedesktop.network1.service not found.", "  2 lan ether routable configured", "● 2: lan",
		"       State: routable (configured)", "     Address: 10.0.2.15 (DHCPv4 via 10.0.2.2)", "lan: Failed", "lan: Could not set route: x", "lan: DHCPv4 client: timed out",
		"detected active interface 'lan'", "nothing of these")
}
