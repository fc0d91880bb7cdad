package boot

import (
	"testing"
	"time"

	"forensics/analyzers/analyzertest"
	"forensics/analyzers/journal"
)

// Each expression with a line that matches and one that nearly does.
func TestDatePatterns(t *testing.T) {
	analyzertest.Pairs(t, []analyzertest.Pair{
		{rtcRe, "rtc_cmos 00:05: setting system clock to 2025-10-08T06:07:35 UTC (1759903655)", "rtc_cmos 00:05: setting system clock to 06:07:35 UTC"},
		{rtcRe, "rtc_cmos 00:00: setting system clock to 1970-01-01 00:00:00 UTC (0)", "demo: would set the clock to 1970-01-01 00:00:00 UTC"},
		{sinceRe, "     Active: inactive (dead) since Sun 2025-10-19 00:28:58 UTC; 1min ago", "[root@nixos:~]# echo Active: inactive (dead) since Sun 2025-10-19 00:28:58 UTC"},
		{sinceRe, "   Active: active (exited) since Sun 2025-10-19 00:28:58 CEST; 1min ago", "   Active: active (exited) since yesterday"},
		{sinceRe, "   Active: active (exited) since Sun 2025-10-19 00:28:58 -03; 1min ago", "   Active: inactive (dead)"},
	})
}

// FuzzYearless: whatever a stamp says, the time is the one that it shows, and no
// other year has it nearer.
func FuzzYearless(f *testing.F) {
	for _, s := range []string{"Oct 08 06:07:35", "Oct  8 06:07:35", "Feb 29 00:27:39", "Dec 31 23:59:60", "Mar 04 03:05:09.123456", "2025-10-08T06:07:35+0000", "[    1.234567]", "Jan"} {
		f.Add(s, int64(1759903655))
		f.Add(s, int64(-62135596800))
	}
	f.Fuzz(func(t *testing.T, stamp string, near int64) {
		n := time.Unix(near%(1<<38), 0).UTC() // the years that a name can hold, and more
		at := yearless(n)(&journal.Entry{Stamp: stamp})
		if at.IsZero() {
			return
		}
		want, err := time.Parse(time.Stamp, stamp[:len(time.Stamp)])
		if at.Format("01-02 15:04:05") != want.Format("01-02 15:04:05") && err == nil {
			t.Errorf("%q near %s is %s", stamp, n, at)
		}
		if far := at.Sub(n).Abs(); want.Format("01-02") != "02-29" && far > 184*24*time.Hour {
			t.Errorf("%q near %s is %s, %s away", stamp, n, at, far)
		}
	})
}
