// Package network interprets the guest's interfaces: which exist, which have a
// carrier, an address, a lease, and which were looked at in vain.
//
// An interface has no address when a tool that lists addresses was asked and
// listed none; one question may have come too early, so the number of questions
// is stated too, and rules decide what counts as settled. An answer that was
// silenced (`2>/dev/null || true`) does not tell an absent interface from one
// without an address: both have no address.
//
// An address that the guest gave itself (169.254.0.0/16) is none: it says that
// nobody answered. Such an answer counts as neither empty nor good.
//
// Addresses come from ip, networkctl, networkd's log, and from the sentence
// with which an image announces them on its consoles (parameter
// "address-notice").
package network

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/journal"
	"forensics/analyzers/units"
)

// Analyzer interprets the network.
var Analyzer = &analyzers.Analyzer{
	Name:     "network",
	Doc:      "Interprets interfaces, carriers, addresses and leases of the guest.",
	Requires: []*analyzers.Analyzer{console.Analyzer, commands.Analyzer, journal.Analyzer, units.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "net.address", Doc: "The interface has this IPv4 address.", Subject: "interface", Values: nil, Repeats: true},
		{Name: "net.link-local", Doc: "The interface gave itself this address: no DHCP server had answered.", Subject: "interface", Values: nil, Repeats: true},
		{Name: "net.lease", Doc: "The address came by DHCP from this server, or \"yes\" when only that is shown.", Subject: "interface", Values: nil, Repeats: true},
		{Name: "net.empty-polls", Doc: "How often in a row the interface was asked for IPv4 addresses without one, until the session went on to something else.", Subject: "interface", Values: nil},
		{Name: "net.absent", Doc: "A tool said that the interface does not exist.", Subject: "interface", Values: []string{"yes"}},
		{Name: "net.carrier", Doc: "The interface has a carrier.", Subject: "interface", Values: []string{"yes"}, Repeats: true},
		{Name: "net.any-carrier", Doc: "Some interface of the guest has a carrier.", Values: nil, Repeats: true},
		{Name: "net.user-network", Doc: "The guest has an address or lease of QEMU's user network (10.0.2.0/24).", Values: nil, Repeats: true},
		{Name: "net.failed", Doc: "The set-up of the interface failed, in networkd's or the image's words.", Subject: "interface", Values: nil, Repeats: true},
		{Name: "net.no-networkd", Doc: "networkctl says that systemd-networkd's unit is not found.", Values: nil},
		{Name: "net.networkd", Doc: "systemd-networkd is in the image and ran.", Values: []string{"yes"}, Repeats: true},
	},
	Run: run,
}

func run(p *analyzers.Pass) (any, error) {
	in := &interp{p: p, iface: p.Params.One("interface")}
	in.notices()
	in.console()
	for _, d := range commands.From(p) {
		in.dialogue(d)
	}
	for _, l := range journal.From(p) {
		in.log(l)
	}
	for _, l := range units.From(p) {
		in.events(l)
	}
	return nil, nil
}

type interp struct {
	p     *analyzers.Pass
	iface string
}

// userNetRe is QEMU's default user network (-netdev user, net=10.0.2.0/24).
var userNetRe = regexp.MustCompile(`^10\.0\.2\.\d{1,3}\b`)

// address takes an IPv4 address. One of 169.254.0.0/16 is what a host gives
// itself when nobody gave it one (RFC 3927).
func (in *interp) address(iface, addr string, ev bundle.Evidence) {
	if linkLocal(addr) {
		in.p.State("net.link-local", iface, addr, ev)
		return
	}
	in.p.State("net.address", iface, addr, ev)
	if userNetRe.MatchString(addr) {
		in.p.State("net.user-network", "", addr, ev)
	}
}

func linkLocal(addr string) bool { return strings.HasPrefix(addr, "169.254.") }

func (in *interp) lease(iface, from string, ev bundle.Evidence) {
	in.p.State("net.lease", iface, from, ev)
}

var ipv4 = `(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})`

// startedRe is systemd's word on the console that systemd-networkd.service runs;
// its description was "Network Service" before systemd 249.
var startedRe = regexp.MustCompile(`^\[ +OK +\] Started (?:Network Configuration|Network Service)\.$`)

// console takes systemd's status output.
func (in *interp) console() {
	for _, t := range console.From(in.p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if !l.Typed && strings.HasPrefix(l.Text, "[") && startedRe.MatchString(strings.TrimRight(l.Text, " ")) {
				in.p.State("net.networkd", "", "yes", t.Evidence(l))
				break
			}
		}
	}
}

// notices takes the image's own announcements.
func (in *interp) notices() {
	text := in.p.Params.One("address-notice")
	if text == "" || in.iface == "" {
		return
	}
	re := regexp.MustCompile(regexp.QuoteMeta(text) + ` ?` + ipv4 + `\b`)
	for _, t := range console.From(in.p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if l.Typed || !strings.Contains(l.Text, text) {
				continue
			}
			if m := re.FindStringSubmatch(l.Text); m != nil {
				in.address(in.iface, m[1], t.Evidence(l))
			}
		}
	}
}

var (
	// ip -o -4 addr: "2: lan    inet 10.0.2.15/24 metric 1024 brd … scope global dynamic lan".
	ipOneRe = regexp.MustCompile(`^\d+: (\S+?)(?:@\S+)?\s+inet ` + ipv4 + `(/\d+)?(.*)$`)
	// ip addr: head and indented address lines.
	ipHeadRe = regexp.MustCompile(`^\d+: ([^:@\s]+)(?:@\S+)?: <([A-Z0-9_,-]+)>`)
	ipAddrRe = regexp.MustCompile(`^\s+inet ` + ipv4 + `(/\d+)?(.*)$`)
	// iproute2's words for an interface that is not there.
	// networkctl's.
	absentRe = regexp.MustCompile(`^Device "([^"]+)" does not exist|^Cannot find device "([^"]+)"|^Interface "?([^"\s]+)"? not found|^Failed to (?:find link|resolve interface) "?([^"\s:]+)"?`)
	// ip -br addr: "lan   UP   10.0.2.15/24 fe80::5054:ff:fe12:3456/64".
	ipBriefRe = regexp.MustCompile(`^(\S+?)(?:@\S+)? +(?:UP|DOWN|UNKNOWN|LOWERLAYERDOWN|DORMANT|NOTPRESENT)((?: +[0-9a-f.:]+/\d+)*)(?: +metric \d+)?$`)
	// What is left of ip's answer behind awk, cut or grep.
	bareRe = regexp.MustCompile(`^\s*(?:inet )?` + ipv4 + `(?:/\d+)?(?: |$)`)
	// networkctl status.
	linkRe    = regexp.MustCompile(`^\s*[●○] \d+: (\S+)\s*$`)
	ctlAddrRe = regexp.MustCompile(`^\s*Address: ` + ipv4 + `(?: \(DHCP(?:v?4) via ` + ipv4 + `\))?`)
	ctlMoreRe = regexp.MustCompile(`^ {10,}` + ipv4 + `(?: \(DHCP(?:v?4) via ` + ipv4 + `\))?`)
	// networkctl list: index, link, type, operational state, set-up. Without the
	// daemon the last two are "n/a".
	ctlRowRe = regexp.MustCompile(`^ *\d+ (\S+) +[a-z]+ +(missing|off|no-carrier|dormant|degraded-carrier|carrier|degraded|enslaved|routable) +(?:pending|initialized|configuring|configured|unmanaged|failed|linger)$`)
	// networkctl without the daemon still lists the links.
	ctlDownRe = regexp.MustCompile(`^(?:WARNING: )?systemd-networkd is not running`)
	// Its D-Bus name is an alias that the unit brings with it.
	noDaemonRe = regexp.MustCompile(`^Failed to .*: Unit (?:dbus-org\.freedesktop\.network1|systemd-networkd)\.service not found\.$`)
	ctlUpRe    = regexp.MustCompile(`^\s*State: (?:routable|degraded|carrier) `)
)

func (in *interp) dialogue(d *commands.Dialogue) {
	empty := map[string][]*commands.Command{}
	for _, c := range d.Commands {
		in.networkctl(c)
		asked, got := in.ip(c)
		switch {
		case asked == "":
		case got:
			delete(empty, asked)
		case c.Done && c.Kind == bundle.Serial:
			if empty[asked] != nil || len(empty) < maxAsked {
				empty[asked] = append(empty[asked], c)
			}
		}
	}
	for _, iface := range slices.Sorted(maps.Keys(empty)) {
		cs := empty[iface]
		if !d.WentOn(cs) {
			continue
		}
		ev := []bundle.Evidence{cs[len(cs)-1].Echo}
		if len(cs) > 1 {
			ev = append(ev, cs[0].Echo)
		}
		in.p.State("net.empty-polls", iface, strconv.Itoa(len(cs)), ev...)
	}
}

// maxAsked bounds the interfaces whose questions are counted.
const maxAsked = 64

// ipFlags are ip's options that take the next word.
var ipFlags = []string{"-f", "-family", "-l", "-loops", "-rc", "-rcvbuf", "-n", "-netns", "-b", "-batch"}

// selectors are words of `ip addr show` that are no interface.
var selectors = []string{"show", "list", "lst", "sh", "ls", "s", "up", "primary", "permanent", "dynamic", "secondary", "deprecated", "tentative", "temporary"}

// askedFor returns the interface whose IPv4 addresses a command asks for.
func askedFor(ws []string) string {
	if len(ws) < 2 || ws[0] != "ip" {
		return ""
	}
	i := 1
	for ; i < len(ws) && strings.HasPrefix(ws[i], "-"); i++ {
		if ws[i] == "-6" || ws[i] == "-M" || ws[i] == "-0" {
			return ""
		}
		if slices.Contains(ipFlags, ws[i]) {
			i++
		}
	}
	if i >= len(ws) || ws[i] == "" || !strings.HasPrefix("address", ws[i]) {
		return ""
	}
	for i++; i < len(ws); i++ {
		switch w := ws[i]; {
		case w == "dev":
		case w == "scope" || w == "to" || w == "label" || w == "type" || w == "master" || w == "vrf":
			i++
		case !slices.Contains(selectors, w):
			return w
		}
	}
	return ""
}

// ip reads answers of ip addr. asked is the interface that the command named;
// got says that the answer holds an address of it, or something that is not
// understood: either way it is no empty answer.
func (in *interp) ip(c *commands.Command) (asked string, got bool) {
	ws := c.Words()
	asked = askedFor(ws)
	w := &walk{in: in, asked: asked, brief: len(ws) > 1 && ws[0] == "ip" && slices.ContainsFunc(ws, func(w string) bool { return strings.HasPrefix("-brief", w) && len(w) > 2 })}
	lines := c.Answer
	if c.JSON != nil && (len(ws) == 0 || ws[0] == "ip") {
		w.json(c.JSON)
		lines = c.JSON.Rest
	}
	for _, l := range lines {
		w.line(strings.TrimRight(l.Text, " "), l.Evidence)
	}
	return asked, w.got
}

// walk goes through one answer of ip.
type walk struct {
	in           *interp
	asked, iface string
	brief        bool
	got          bool
}

func (w *walk) line(text string, ev bundle.Evidence) {
	if text == "" {
		return
	}
	// The first byte is looked at first: most lines of a long answer are not ip's.
	row := text[0] >= '0' && text[0] <= '9'
	switch {
	case row && ipOneRe.MatchString(text):
		m := ipOneRe.FindStringSubmatch(text)
		w.in.listed(m[1], m[2]+m[3], m[4], ev)
		w.got = w.got || m[1] == w.asked
	case row && ipHeadRe.MatchString(text):
		m := ipHeadRe.FindStringSubmatch(text)
		w.iface = m[1]
		if up := strings.Split(m[2], ","); slices.Contains(up, "LOWER_UP") {
			w.in.carrier(w.iface, ev)
		}
	case w.iface != "" && ipAddrRe.MatchString(text):
		m := ipAddrRe.FindStringSubmatch(text)
		w.in.listed(w.iface, m[1]+m[2], m[3], ev)
		w.got = w.got || w.iface == w.asked
	case strings.IndexByte("DCIF", text[0]) >= 0 && absentRe.MatchString(text):
		m := absentRe.FindStringSubmatch(text)
		w.in.p.State("net.absent", strings.Join(m[1:], ""), "yes", ev)
	case w.brief && ipBriefRe.MatchString(text):
		m := ipBriefRe.FindStringSubmatch(text)
		for _, a := range strings.Fields(m[2]) {
			if strings.Contains(a, ".") {
				w.in.address(m[1], a, ev)
				w.got = w.got || m[1] == w.asked
			}
		}
	case w.asked != "" && strings.HasPrefix(text, "["):
		w.got = true // JSON that cannot be read is not empty
	case w.asked != "" && bareRe.MatchString(text):
		w.in.address(w.asked, bareRe.FindStringSubmatch(text)[1], ev)
		w.got = true
	}
}

// listed takes one address of ip's; "dynamic" is one with a lifetime, which a
// DHCP client set.
func (in *interp) listed(iface, addr, rest string, ev bundle.Evidence) {
	in.address(iface, addr, ev)
	if strings.Contains(rest, " dynamic") && !linkLocal(addr) {
		in.lease(iface, "yes", ev)
	}
}

// carrier takes a link with a carrier; the loopback's tells nothing.
func (in *interp) carrier(iface string, ev bundle.Evidence) {
	if iface == "lo" {
		return
	}
	in.p.State("net.carrier", iface, "yes", ev)
	in.p.State("net.any-carrier", "", iface, ev)
}

// networkctl reads networkctl's answers.
func (in *interp) networkctl(c *commands.Command) {
	if ws := c.Words(); c.JSON != nil && (len(ws) == 0 || ws[0] == "networkctl") {
		in.networkctlJSON(c.JSON)
	}
	iface, listing, down := "", false, false
	for _, l := range c.Answer {
		text := strings.TrimRight(l.Text, " ")
		down = down || strings.Contains(text, "networkd is not") && ctlDownRe.MatchString(strings.TrimSpace(text))
		if strings.Contains(text, ".service not found.") && noDaemonRe.MatchString(strings.TrimSpace(text)) {
			in.p.State("net.no-networkd", "", l.Evidence.Quote, l.Evidence)
		}
		if m := ctlRow(text); m != nil && !down {
			in.p.State("net.networkd", "", "yes", l.Evidence)
			if slices.Contains(carriers, m[2]) {
				in.carrier(m[1], l.Evidence)
			}
		}
		if m := ctlLink(text); m != nil {
			iface = m[1]
			if !down {
				in.p.State("net.networkd", "", "yes", l.Evidence)
			}
		}
		if iface == "" {
			continue
		}
		if strings.Contains(text, "State: ") && ctlUpRe.MatchString(text) {
			in.carrier(iface, l.Evidence)
		}
		var m []string
		if strings.Contains(text, "Address: ") {
			m = ctlAddrRe.FindStringSubmatch(text)
		}
		if m == nil && listing {
			m = ctlMoreRe.FindStringSubmatch(text)
		}
		listing = strings.HasPrefix(strings.TrimSpace(text), "Address: ") || listing && !strings.Contains(text, ": ")
		if m != nil {
			in.address(iface, m[1], l.Evidence)
			if m[2] != "" {
				in.lease(iface, m[2], l.Evidence)
			}
		}
	}
}

// ctlRow matches a row of networkctl list, which starts with a number.
func ctlRow(text string) []string {
	if row := strings.TrimLeft(text, " "); row == "" || row[0] < '0' || row[0] > '9' {
		return nil
	}
	return ctlRowRe.FindStringSubmatch(text)
}

// ctlLink matches the head of networkctl status, which starts with a mark.
func ctlLink(text string) []string {
	if !strings.Contains(text, "●") && !strings.Contains(text, "○") {
		return nil
	}
	return linkRe.FindStringSubmatch(text)
}

var (
	// systemd-networkd: "lan: Gained carrier", "lan: DHCPv4 address 10.0.2.15/24,
	// gateway 10.0.2.2 acquired from 10.0.2.2".
	gainedRe = regexp.MustCompile(`^(\S+): Gained carrier$`)
	dhcpRe   = regexp.MustCompile(`^(\S+): DHCPv4 address ` + ipv4 + `/\d+(?:.* (?:acquired from|via) ` + ipv4 + `)?`)
	// The link's failed state, and its address or DHCP refused. What networkd
	// says it ignores, and IPv6, is not it.
	failRe   = regexp.MustCompile(`^(\S+): (?:Failed$|Could not (?:set|bring|join|up|configure) .*|Failed to (?:configure|bring up|set up|start|acquire) .*|DHCPv4 client: (?:timed out|[Ff]ailed).*)$`)
	benignRe = regexp.MustCompile(`ignoring|IPv6|DHCPv6|NDisc|[Hh]ostname|LLDP|[Rr]oute`)
	// dhcpcd names the interface; dhclient and udhcpc only in the question
	// before: "DHCPDISCOVER on lan to 255.255.255.255 port 67".
	dhcpcdRe = regexp.MustCompile(`^(\S+): leased ` + ipv4 + ` for `)
	askRe    = regexp.MustCompile(`^DHCP(?:DISCOVER|REQUEST)(?: for \S+)? on (\S+) to `)
	boundRe  = regexp.MustCompile(`^bound to ` + ipv4 + `\b`)
)

func (in *interp) log(l *journal.Log) {
	on := map[int]string{} // dhclient's PID -> interface
	for i := range l.Entries {
		e := &l.Entries[i]
		switch e.Ident {
		case "systemd-networkd":
			in.networkd(e)
			continue
		case "dhcpcd":
			if m := dhcpcdRe.FindStringSubmatch(e.Message); m != nil {
				in.address(m[1], m[2], e.Evidence)
				in.lease(m[1], "yes", e.Evidence)
			}
		case "dhclient":
			if m := askRe.FindStringSubmatch(e.Message); m != nil && len(on) < 64 {
				on[e.PID] = m[1]
			} else if m := boundRe.FindStringSubmatch(e.Message); m != nil && on[e.PID] != "" {
				in.address(on[e.PID], m[1], e.Evidence)
				in.lease(on[e.PID], "yes", e.Evidence)
			}
		}
		in.announced(e)
	}
}

func (in *interp) networkd(e *journal.Entry) {
	in.p.State("net.networkd", "", "yes", e.Evidence)
	if m := gainedRe.FindStringSubmatch(e.Message); m != nil {
		in.carrier(m[1], e.Evidence)
	}
	if m := dhcpRe.FindStringSubmatch(e.Message); m != nil {
		in.address(m[1], m[2], e.Evidence)
		from := "yes"
		if m[3] != "" {
			from = m[3]
		}
		in.lease(m[1], from, e.Evidence)
	}
	if strings.Contains(e.Message, "ailed") || strings.Contains(e.Message, "ould not ") || strings.Contains(e.Message, "timed out") {
		in.refused(e)
	}
}

// refused takes networkd's word that it could not set a link up.
func (in *interp) refused(e *journal.Entry) {
	if failRe.MatchString(e.Message) && !benignRe.MatchString(e.Message) {
		m := failRe.FindStringSubmatch(e.Message)
		in.p.State("net.failed", m[1], e.Evidence.Quote, e.Evidence)
	}
}

// announced takes the image's announcement from a journal.
func (in *interp) announced(e *journal.Entry) {
	text := in.p.Params.One("address-notice")
	if text == "" || in.iface == "" {
		return
	}
	if rest, ok := strings.CutPrefix(e.Message, text); ok {
		if addr := strings.TrimSpace(rest); addrRe.MatchString(addr) {
			in.address(in.iface, addr, e.Evidence)
		}
	}
}

var addrRe = regexp.MustCompile(`^` + ipv4 + `$`)

// activeRe: a program says that it found an interface that is up.
var activeRe = regexp.MustCompile(`detected active interface '(\S+)'`)

// vainRe: events named for an address that did not come.
var vainRe = regexp.MustCompile(`[._](?:no_lease|no_address|no_carrier|(?:dhcp|lease)[._](?:timeout|failed))$`)

// vain takes an event that says that no address came: for the interface that
// it names, in a field or in its sentence.
func (in *interp) vain(e *units.Event, iface string) {
	words := e.Name
	for _, k := range []string{"message", "error"} {
		if m, ok := e.Fields[k].(string); ok && m != "" {
			words = bundle.Printable(m)
			break
		}
	}
	if iface == "" && in.iface != "" && slices.Contains(strings.Fields(words), in.iface) {
		iface = in.iface
	}
	if iface != "" {
		in.p.State("net.failed", iface, words, e.Entry.Evidence)
	}
}

// events reads what the unit's structured log says of interfaces.
func (in *interp) events(l *units.Log) {
	for _, e := range l.Events {
		iface, _ := e.Fields["interface"].(string)
		signal, _ := e.Fields["signal"].(string)
		if iface != "" && signal == "carrier" {
			in.carrier(iface, e.Entry.Evidence)
		}
		if vainRe.MatchString(e.Name) {
			in.vain(&e, iface)
		}
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		if !strings.Contains(e.Message, "detected active interface") {
			continue
		}
		if m := activeRe.FindStringSubmatch(e.Message); m != nil {
			in.carrier(m[1], e.Evidence)
		}
	}
}
