package units

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"forensics/analyzers/commands"
)

// unitRowRe is a row of systemctl list-units: unit, load state, active state,
// sub state, description. A mark stands before those that failed, and in
// colours.
var unitRowRe = regexp.MustCompile(`^[●○×↻*]? *(\w\S*\.(?:service|socket|target|mount|automount|swap|device|timer|path|slice|scope)) +loaded +(active|inactive|failed|activating|deactivating|reloading) +[a-z-]+(?: |$)`)

// listing reads systemctl list-units, and the JSON of it and of list-jobs. A
// unit that is not loaded is inactive for want of a file: that is no state.
func (in *interp) listing(c *commands.Command) {
	if c.JSON != nil {
		for _, list := range c.JSON.Values {
			for _, v := range list.Elems() {
				in.row(c.JSON, v)
			}
		}
		return
	}
	for i := range c.Answer {
		l := &c.Answer[i]
		if !strings.Contains(l.Text, " loaded ") {
			continue
		}
		if m := unitRowRe.FindStringSubmatch(l.Text); m != nil {
			in.active(m[1], m[2], l.Evidence)
		}
	}
}

// row reads {"unit": "a.service", "load": "loaded", "active": "active", "sub":
// "running", …} or {"job": 7, "unit": "a.service", "type": "start", "state":
// "waiting"}.
func (in *interp) row(d *commands.Document, v *commands.Value) {
	unit := v.Get("unit").String()
	if !unitNameRe.MatchString(unit) {
		return
	}
	active, state := v.Get("active"), v.Get("state").String()
	switch {
	case slices.Contains(states, active.String()) && v.Get("load").String() == "loaded":
		in.active(unit, active.String(), d.Evidence(active))
	case v.Get("job") != nil && (state == "running" || state == "waiting") && slices.Contains(jobTypes, v.Get("type").String()):
		in.queued(unit, state, d.Evidence(v.Get("state")))
	}
}

// jobTypes are those of jobRe.
var jobTypes = []string{"start", "restart", "verify-active", "reload", "stop"}

var (
	unitNameRe = regexp.MustCompile(`^\w[^\s/]*\.[a-z]+$`)
	// systemd-analyze time, and the manager's own word when a boot is finished:
	// "Startup finished in 2.503s (kernel) + 9.127s (userspace) = 11.630s.";
	// a container has no kernel, and then no sum.
	startupRe = regexp.MustCompile(`^Startup finished in (?:.* = (` + timespan + `)|(` + timespan + `) \(userspace\))\.? *$`)
	// Its error before that.
	startingUpRe = regexp.MustCompile(`^Bootup is not yet finished`)
	// systemd-analyze blame: "    1min 2.345s demo.service".
	blameRe = regexp.MustCompile(`^ *(` + timespan + `) (\w[^\s/]*\.(?:service|socket|target|mount|automount|swap|device|timer|path|slice|scope))$`)
	// systemd-analyze critical-chain: "  └─demo.service @2.503s +9.127s"; those
	// that take no time have no "+".
	chainRe = regexp.MustCompile(`^[ │├└─|` + "`" + `-]*(\w[^\s/]*\.(?:service|socket|target|mount|automount|swap|device|timer|path|slice|scope))(?: @` + timespan + `)? \+(` + timespan + `)$`)
)

// timespan is how systemd writes one (format_timespan): "1min 2.345s", "835ms".
const timespan = `(?:\d+(?:\.\d+)?(?:y|month|w|d|h|min|s|ms|us) ?)*\d+(?:\.\d+)?(?:y|month|w|d|h|min|s|ms|us)`

// timing reads systemd-analyze's answers.
func (in *interp) timing(c *commands.Command) {
	for i := range c.Answer {
		l := &c.Answer[i]
		text := strings.TrimRight(l.Text, " ")
		if !mayTime(text) {
			continue
		}
		if m := startupRe.FindStringSubmatch(text); m != nil {
			in.p.State("boot.startup", "", seconds(m[1]+m[2]), l.Evidence)
		} else if startingUpRe.MatchString(text) {
			in.p.State("boot.starting", "", "yes", l.Evidence)
		} else if m := blameRe.FindStringSubmatch(text); m != nil {
			in.p.State("unit.start-time", m[2], seconds(m[1]), l.Evidence)
		} else if m := chainRe.FindStringSubmatch(text); m != nil {
			in.p.State("unit.start-time", m[1], seconds(m[2]), l.Evidence)
		}
	}
}

// mayTime reports whether systemd-analyze may have written text, which is much
// cheaper to tell than to match its forms.
func mayTime(text string) bool {
	i := strings.LastIndex(text, " +") + len(" +")
	return numbered(text) || i >= len(" +") && numbered(text[i:]) || strings.HasPrefix(text, "Startup finished") || strings.HasPrefix(text, "Bootup is not yet")
}

// startups takes the manager's word in journals that a boot is finished.
func (in *interp) startups(logs []*Log) {
	for _, l := range logs {
		for i := range l.Entries {
			e := &l.Entries[i]
			if !manager(e) || !strings.HasPrefix(e.Message, "Startup finished in ") {
				continue
			}
			if m := startupRe.FindStringSubmatch(e.Message); m != nil {
				in.p.State("boot.startup", "", seconds(m[1]+m[2]), e.Evidence)
			}
		}
	}
}

var (
	spanRe = regexp.MustCompile(`(\d+(?:\.\d+)?)(month|min|ms|us|y|w|d|h|s)`)
	// The units of a timespan; months and years as in systemd's time-util.h.
	spans = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "min": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "month": 2629800 * time.Second, "y": 31557600 * time.Second}
)

// seconds writes a timespan as a number of seconds.
func seconds(span string) string {
	var sum float64
	for _, m := range spanRe.FindAllStringSubmatch(span, 9) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return ""
		}
		sum += n * spans[m[2]].Seconds()
	}
	return strconv.FormatFloat(sum, 'f', 3, 64)
}
