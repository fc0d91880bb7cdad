package kernel

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
)

// readAnswers reads what only commands show: dmesg --json wherever it stands,
// and dmesg in any form in a guest's probes, of which there is no transcript.
func readAnswers(d *commands.Dialogue) *Log {
	l := &Log{Path: d.Path, Kind: d.Kind}
	for _, c := range d.Commands {
		if c.JSON != nil {
			l.document(c.JSON)
			continue
		}
		ws := c.Words()
		if d.Kind != bundle.Probe || len(ws) == 0 || ws[0] != "dmesg" && !strings.Contains(c.Text, "/dev/kmsg") {
			continue
		}
		for _, line := range c.Answer {
			l.line(line.Text, func(int, int) bundle.Evidence { return line.Evidence })
		}
	}
	return l
}

// document reads {"dmesg": [{"pri": 6, "time": 1.25, "msg": "…"}, …]}, as
// util-linux prints it since 2.37.
func (l *Log) document(d *commands.Document) {
	for _, v := range d.Values[0].Get("dmesg").Elems() {
		msg := v.Get("msg")
		if msg.String() == "" {
			continue
		}
		seconds, err := strconv.ParseFloat(v.Get("time").Number(), 64)
		if err != nil || seconds < 0 {
			seconds = -1
		}
		// dmesg of a file (-F) prints the rest of the file with each message.
		text, _, _ := strings.Cut(msg.String(), "\n")
		l.say(seconds, strings.TrimRight(text, " \t"), d.Evidence(msg))
	}
}

func (l *Log) say(seconds float64, text string, ev bundle.Evidence) {
	l.told = append(l.told, said{Message: Message{Seconds: seconds, Text: text, Evidence: ev}, by: ring})
}

var (
	// dmesg --ctime: "[Wed Mar  4 03:06:18 2026] ", perhaps behind --decode's
	// facility and level.
	ctimeRe = regexp.MustCompile(`^((?:[a-z0-9]+ *:[a-z]+ *: )?\[)([A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4})\] `)
	// dmesg --time-format iso: "2026-03-04T03:06:18,123456+00:00 ": only dmesg
	// writes a comma and six digits.
	isoRe = regexp.MustCompile(`^(?:[a-z0-9]+ *:[a-z]+ *: )?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{6}[+-]\d\d:\d\d `)
	// /dev/kmsg: "6,339,5140900,-;NET: …", with a caller perhaps before ";"
	// (Documentation/ABI/testing/dev-kmsg). The level and facility are a byte.
	kmsgRe = regexp.MustCompile(`^\d{1,4},\d+,(\d{1,15}),[-c+](?:,[^;]*)?;`)
)

// mayAnswer reports whether ctimeRe, isoRe or kmsgRe may match text, which is
// much cheaper to tell: a bracket closes behind the time, a comma stands behind
// the seconds, or a number and a comma come first.
func mayAnswer(text string) bool {
	const ctime, iso = len("[Wed Mar  4 03:06:18 2026"), len("T03:06:18")
	if i := strings.IndexByte(text, '['); i >= 0 && i+ctime < len(text) && text[i+ctime] == ']' {
		return true
	}
	i := strings.IndexByte(text, ',')
	return i >= iso && text[i-iso] == 'T' || i > 0 && text[0] >= '0' && text[0] <= '9'
}

// answered reads the forms of dmesg that have no stamp of the kernel's in
// brackets, and reports whether text is one. Clock times do not tell when
// since boot.
func (l *Log) answered(text string, at func(start, end int) bundle.Evidence) bool {
	seconds, from := -1.0, 0
	switch {
	case len(text) < 12 || !mayAnswer(text):
		return false
	case ctimeRe.MatchString(text):
		m := ctimeRe.FindStringSubmatchIndex(text)
		if _, err := time.Parse("Mon Jan _2 15:04:05 2006", text[m[4]:m[5]]); err != nil {
			return false
		}
		from = m[1]
	case isoRe.MatchString(text):
		from = len(isoRe.FindString(text))
	case kmsgRe.MatchString(text):
		m := kmsgRe.FindStringSubmatchIndex(text)
		us, _ := strconv.ParseUint(text[m[2]:m[3]], 10, 63)
		seconds, from = float64(us)/1e6, m[1]
	default:
		return false
	}
	body := strings.TrimRight(text[from:], " \t")
	l.say(seconds, body, at(0, from+len(body)))
	l.told[len(l.told)-1].dated = seconds < 0
	return true
}
