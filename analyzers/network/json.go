package network

import (
	"net/netip"
	"slices"
	"strconv"

	"forensics/analyzers/commands"
)

// json reads ip -j: an array of links, with -j addr of links and addresses;
// what the command's words left out is an empty object.
func (w *walk) json(d *commands.Document) {
	for _, list := range d.Values {
		if !list.IsArray() {
			w.got = true // what is not understood is not empty
			return
		}
		for _, l := range list.Elems() {
			w.link(d, l)
		}
	}
}

func (w *walk) link(d *commands.Document, l *commands.Value) {
	name := l.Get("ifname").String()
	if name == "" {
		w.got = w.got || !l.IsEmpty()
		return
	}
	if slices.ContainsFunc(l.Get("flags").Elems(), func(f *commands.Value) bool { return f.String() == "LOWER_UP" }) {
		w.in.carrier(name, d.Evidence(l.Get("ifname")))
	}
	for _, a := range l.Get("addr_info").Elems() {
		local := a.Get("local")
		addr := local.String()
		if a.Get("family").String() != "inet" || !addrRe.MatchString(addr) {
			continue
		}
		ev := d.Evidence(local)
		if n := a.Get("prefixlen").Number(); n != "" && a.Get("address") == nil {
			addr += "/" + n // of one with a peer, the prefix is the peer's
		}
		rest := ""
		if a.Get("dynamic").IsTrue() {
			rest = " dynamic"
		}
		w.in.listed(name, addr, rest, ev)
		w.got = w.got || name == w.asked
	}
}

// carriers are the operational states of a link that has a carrier: those that
// networkctl's table shows as such (networkd-link.c).
var carriers = []string{"routable", "degraded", "carrier"}

// networkctlJSON reads networkctl --json: {"Interfaces": [LINK, …]} of list,
// LINK of status (systemd 250 and later). networkd itself answers: without it
// there is no JSON.
func (in *interp) networkctlJSON(d *commands.Document) {
	for _, v := range d.Values {
		if list := v.Get("Interfaces"); list != nil {
			for _, l := range list.Elems() {
				in.ctlLink(d, l)
			}
		} else {
			in.ctlLink(d, v)
		}
	}
}

func (in *interp) ctlLink(d *commands.Document, l *commands.Value) {
	name := l.Get("Name")
	if name.String() == "" || l.Get("Index") == nil {
		return
	}
	in.p.State("net.networkd", "", "yes", d.Evidence(name))
	if state := l.Get("OperationalState"); slices.Contains(carriers, state.String()) {
		in.carrier(name.String(), d.Evidence(state))
	}
	for _, a := range l.Get("Addresses").Elems() {
		addr, ok := octets(a.Get("Address"))
		if !ok {
			continue
		}
		ev := d.Evidence(a.Get("Address"))
		in.address(name.String(), addr, ev)
		if from, ok := octets(a.Get("ConfigProvider")); ok && a.Get("ConfigSource").String() == "DHCPv4" {
			in.lease(name.String(), from, ev)
		}
	}
}

// octets reads an IPv4 address as networkd writes it, [10, 0, 2, 15].
func octets(v *commands.Value) (string, bool) {
	if len(v.Elems()) != 4 {
		return "", false
	}
	var b [4]byte
	for i, e := range v.Elems() {
		n, err := strconv.ParseUint(e.Number(), 10, 8)
		if err != nil {
			return "", false
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b).String(), true
}
