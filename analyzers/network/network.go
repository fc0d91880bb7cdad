// Package network interprets the guest's interfaces: which exist, which have a
// carrier, an address, a lease, and which were looked at in vain.
//
// An interface has no address when a tool that lists addresses was asked and
// listed none; one question may have come too early, so the number of questions
// is stated too, and rules decide what counts as settled. An answer that was
// silenced (`2>/dev/null || true`) does not tell an absent interface from one
// without an address: both have no address.
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
		{Name: "net.lease", Doc: "The address came by DHCP from this server, or \"yes\" when only that is shown.", Subject: "interface", Values: nil, Repeats: true},
		{Name: "net.empty-polls", Doc: "How often in a row the interface was asked for IPv4 addresses without one, until the session went on to something else.", Subject: "interface", Values: nil},
		{Name: "net.absent", Doc: "A tool said that the interface does not exist.", Subject: "interface", Values: []string{"yes"}},
		{Name: "net.carrier", Doc: "The interface has a carrier.", Subject: "interface", Values: []string{"yes"}, Repeats: true},
		{Name: "net.any-carrier", Doc: "Some interface of the guest has a carrier.", Values: nil, Repeats: true},
		{Name: "net.user-network", Doc: "The guest has an address or lease of QEMU's user network (10.0.2.0/24).", Values: nil, Repeats: true},
		{Name: "net.failed", Doc: "The set-up of the interface failed, in networkd's or the image's words.", Subject: "interface", Values: nil, Repeats: true},
		{Name: "net.networkd", Doc: "systemd-networkd is in the image and ran.", Values: []string{"yes"}, Repeats: true},
	},
	Run: run,
}

func run(p *analyzers.Pass) (any, error) {
	in := &interp{p: p, iface: p.Params.One("interface")}
	in.notices()
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

func (in *interp) address(iface, addr string, ev bundle.Evidence) {
	in.p.State("net.address", iface, addr, ev)
	if userNetRe.MatchString(addr) {
		in.p.State("net.user-network", "", addr, ev)
	}
}

func (in *interp) lease(iface, from string, ev bundle.Evidence) {
	in.p.State("net.lease", iface, from, ev)
}

var ipv4 = `(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})`

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
			if l.Typed {
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
	absentRe = regexp.MustCompile(`^Device "([^"]+)" does not exist|^Interface "?([^"\s]+)"? not found|^Failed to find link "?([^"\s:]+)"?`)
	// networkctl status.
	linkRe    = regexp.MustCompile(`^\s*[●○] \d+: (\S+)\s*$`)
	ctlAddrRe = regexp.MustCompile(`^\s*Address: ` + ipv4 + `(?: \(DHCP4 via ` + ipv4 + `\))?`)
	ctlUpRe   = regexp.MustCompile(`^\s*State: (?:routable|degraded|carrier) `)
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
			empty[asked] = append(empty[asked], c)
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

// ip reads answers of ip addr. asked is the interface that the command named.
func (in *interp) ip(c *commands.Command) (asked string, got bool) {
	ws := c.Words()
	if len(ws) > 1 && ws[0] == "ip" && slices.ContainsFunc(ws, func(w string) bool { return strings.HasPrefix("address", w) && len(w) > 0 }) {
		asked = ws[len(ws)-1]
		if asked == "show" || strings.HasPrefix("address", asked) || strings.HasPrefix(asked, "-") {
			asked = ""
		}
	}
	iface := ""
	for _, l := range c.Answer {
		text := strings.TrimRight(l.Text, " ")
		switch {
		case ipOneRe.MatchString(text):
			m := ipOneRe.FindStringSubmatch(text)
			in.listed(m[1], m[2]+m[3], m[4], l.Evidence)
			got = got || m[1] == asked
		case ipHeadRe.MatchString(text):
			m := ipHeadRe.FindStringSubmatch(text)
			iface = m[1]
			if up := strings.Split(m[2], ","); slices.Contains(up, "LOWER_UP") && !slices.Contains(up, "LOOPBACK") {
				in.carrier(iface, l.Evidence)
			}
		case iface != "" && ipAddrRe.MatchString(text):
			m := ipAddrRe.FindStringSubmatch(text)
			in.listed(iface, m[1]+m[2], m[3], l.Evidence)
			got = got || iface == asked
		case absentRe.MatchString(text):
			m := absentRe.FindStringSubmatch(text)
			in.p.State("net.absent", m[1]+m[2]+m[3], "yes", l.Evidence)
		}
	}
	return asked, got
}

// listed takes one address of ip's; "dynamic" is one with a lifetime, which a
// DHCP client set.
func (in *interp) listed(iface, addr, rest string, ev bundle.Evidence) {
	in.address(iface, addr, ev)
	if strings.Contains(rest, " dynamic") {
		in.lease(iface, "yes", ev)
	}
}

func (in *interp) carrier(iface string, ev bundle.Evidence) {
	in.p.State("net.carrier", iface, "yes", ev)
	in.p.State("net.any-carrier", "", iface, ev)
}

// networkctl reads networkctl status blocks.
func (in *interp) networkctl(c *commands.Command) {
	iface := ""
	for _, l := range c.Answer {
		text := strings.TrimRight(l.Text, " ")
		if m := linkRe.FindStringSubmatch(text); m != nil {
			iface = m[1]
			in.p.State("net.networkd", "", "yes", l.Evidence)
		}
		if iface == "" {
			continue
		}
		if ctlUpRe.MatchString(text) {
			in.carrier(iface, l.Evidence)
		}
		if m := ctlAddrRe.FindStringSubmatch(text); m != nil {
			in.address(iface, m[1], l.Evidence)
			if m[2] != "" {
				in.lease(iface, m[2], l.Evidence)
			}
		}
	}
}

var (
	// systemd-networkd: "lan: Gained carrier", "lan: DHCPv4 address 10.0.2.15/24,
	// gateway 10.0.2.2 acquired from 10.0.2.2".
	gainedRe = regexp.MustCompile(`^(\S+): Gained carrier$`)
	dhcpRe   = regexp.MustCompile(`^(\S+): DHCPv4 address ` + ipv4 + `/\d+(?:.* acquired from ` + ipv4 + `)?`)
	failRe   = regexp.MustCompile(`^(\S+): (?:Failed|Could not (?:set|bring|join|up|configure)|DHCPv4 client: (?:timed out|failed)).*$`)
	// dhclient, dhcpcd, udhcpc.
	boundRe = regexp.MustCompile(`^(?:bound to ` + ipv4 + `|(\S+): leased ` + ipv4 + ` for|lease of ` + ipv4 + ` obtained)`)
)

func (in *interp) log(l *journal.Log) {
	for _, e := range l.Entries {
		if e.Ident == "systemd-networkd" {
			in.networkd(e)
			continue
		}
		if m := boundRe.FindStringSubmatch(e.Message); m != nil && (e.Ident == "dhclient" || e.Ident == "dhcpcd" || e.Ident == "udhcpc") {
			in.address(in.iface, m[1]+m[3]+m[4], e.Evidence)
		}
		in.announced(e)
	}
}

func (in *interp) networkd(e journal.Entry) {
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
	if failRe.MatchString(e.Message) {
		m := failRe.FindStringSubmatch(e.Message)
		in.p.State("net.failed", m[1], e.Evidence.Quote, e.Evidence)
	}
}

// announced takes the image's announcement from a journal.
func (in *interp) announced(e journal.Entry) {
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

// events reads what the unit's structured log says of interfaces.
func (in *interp) events(l *units.Log) {
	for _, e := range l.Events {
		iface, _ := e.Fields["interface"].(string)
		signal, _ := e.Fields["signal"].(string)
		if iface != "" && signal == "carrier" {
			in.carrier(iface, e.Entry.Evidence)
		}
	}
	for _, e := range l.Entries {
		if m := activeRe.FindStringSubmatch(e.Message); m != nil {
			in.carrier(m[1], e.Evidence)
		}
	}
}
