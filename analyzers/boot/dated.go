package boot

import (
	"regexp"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
	"forensics/analyzers/kernel"
)

// maxOff is how far a guest's clock may be from the time in the run's name and
// still be believed: a copy is made on the day of the run, and a clock that was
// never set is wrong by years.
const maxOff = 24 * time.Hour

// unset is later than the times at which clocks that nobody set begin: those of
// 1970, 1980 and 2000, with some days to run.
var unset = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

var (
	// rtcRe is the kernel's word on what it read from the hardware's clock.
	rtcRe = regexp.MustCompile(`setting system clock to (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d) UTC`)
	// sinceRe is systemctl's.
	sinceRe = regexp.MustCompile(`^\s*Active: [a-z].* since [A-Z][a-z]{2} (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) ([A-Z][A-Z]+|[+-]\d\d)\b`)
)

// clock looks for the earliest time of the boot by the guest's clock.
type clock struct {
	named time.Time // the time in the run's name, zero when it has none
	first time.Time
	ev    bundle.Evidence
	local bool // the guest's local time is not UTC
}

// dated states that time. A line without a year is of the one that brings it
// nearest to the name's time, or to a line that has one.
func dated(p *analyzers.Pass) {
	c := &clock{named: p.Run.Named}
	for _, l := range kernel.From(p) {
		for i := range l.Messages {
			if m := &l.Messages[i]; strings.Contains(m.Text, "system clock to ") {
				c.day(rtcRe.FindStringSubmatch(m.Text), m.Evidence)
			}
		}
	}
	for _, t := range console.From(p) {
		for i := range t.Lines {
			l := &t.Lines[i]
			if l.Typed || !strings.Contains(l.Text, " since ") {
				continue
			}
			if m := sinceRe.FindStringSubmatch(l.Text); m != nil && m[3] != "UTC" && m[3] != "GMT" {
				c.local = true
			} else {
				c.day(m, t.Evidence(l))
			}
		}
	}
	c.entries(journal.From(p), func(e *journal.Entry) time.Time { return e.When })
	near := c.named
	if near.IsZero() {
		near = c.first
	}
	if !near.IsZero() && !c.local {
		c.entries(journal.From(p), yearless(near))
	}
	if !c.first.IsZero() {
		p.State("boot.dated", "", c.first.Format(time.RFC3339), c.ev)
	}
}

// take keeps t when it is the earliest that can be believed.
func (c *clock) take(t time.Time, ev bundle.Evidence) {
	switch {
	case t.IsZero() || !c.first.IsZero() && !t.Before(c.first):
	case c.named.IsZero() && t.Before(unset), !c.named.IsZero() && t.Sub(c.named).Abs() > maxOff:
	default:
		c.first, c.ev = t.UTC(), ev
	}
}

// day takes a match of which the first two groups are date and time.
func (c *clock) day(m []string, ev bundle.Evidence) {
	if m != nil {
		t, _ := time.Parse(time.DateTime, m[1]+" "+m[2])
		c.take(t, ev)
	}
}

// entries takes the times of the last boot in each log: entries before it are
// of another run.
func (c *clock) entries(logs []*journal.Log, when func(*journal.Entry) time.Time) {
	for _, l := range logs {
		for i := range l.Entries {
			e := &l.Entries[i]
			if n := len(l.Boots); n == 0 || e.BootID == l.Boots[n-1] {
				c.take(when(e), e.Evidence)
			}
		}
	}
}

// yearless reads a stamp such as "Oct  8 06:07:35", with or without fraction,
// and sets it in the year that brings it nearest to a time.
func yearless(near time.Time) func(*journal.Entry) time.Time {
	stamp, at := "", time.Time{} // of the entry before: most have the same
	return func(e *journal.Entry) time.Time {
		if !e.When.IsZero() || len(e.Stamp) < len(time.Stamp) || e.Stamp[0] < 'A' || e.Stamp[3] != ' ' {
			return time.Time{}
		}
		if s := e.Stamp[:len(time.Stamp)]; s != stamp {
			stamp, at = s, inYear(s, near)
		}
		return at
	}
}

func inYear(stamp string, near time.Time) time.Time {
	var best time.Time
	for y := near.Year() - 1; y <= near.Year()+1; y++ {
		// The year stands in front, as the 29th of February needs it.
		t, err := time.Parse("2006 "+time.Stamp, time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006 ")+stamp)
		if err == nil && (best.IsZero() || t.Sub(near).Abs() < best.Sub(near).Abs()) {
			best = t
		}
	}
	return best
}
