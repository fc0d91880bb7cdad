package network

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

// Each expression with a line that matches and one that nearly does.
func TestPatterns(t *testing.T) {
	analyzertest.Pairs(t, []analyzertest.Pair{
		{userNetRe, "10.0.2.15/24", "10.0.25.1"},
		{ipOneRe, "2: lan    inet 10.0.2.15/24 brd 10.0.2.255", "2: lan    inet6 fe80::1/64"},
		{ipHeadRe, "2: lan: <BROADCAST,UP> mtu 1500", "2: lan    inet 10.0.2.15/24"},
		{ipAddrRe, "    inet 10.0.2.15/24 scope global", "inet 10.0.2.15/24"},
		{absentRe, `Device "lan" does not exist.`, `Device "lan" is down`},
		{ipBriefRe, "lan   UP   10.0.2.15/24 fe80::1/64", "lan   UP   10.0.2.15/24 and more"},
		{bareRe, "10.0.2.15/24", "address 10.0.2.15"},
		{linkRe, "● 2: lan", "● lan.device"},
		{ctlAddrRe, "  Address: 10.0.2.15 (DHCP4 via 10.0.2.2)", "  Address: fe80::1"},
		{ctlMoreRe, "                 192.168.1.4", "  192.168.1.4"},
		{ctlRowRe, "  2 lan  ether    routable    configured", "  2 lan  ether    n/a         n/a"},
		{ctlDownRe, "WARNING: systemd-networkd is not running, output will be incomplete.", "systemd-networkd is running"},
		{noDaemonRe, "Failed to query link DHCP leases: Unit dbus-org.freedesktop.network1.service not found.", "Failed to query x: Unit foo.service not found."},
		{ctlUpRe, "  State: routable (configured)", "  State: no-carrier (configuring)"},
		{gainedRe, "lan: Gained carrier", "lan: Gained IPv6LL"},
		{dhcpRe, "lan: DHCPv4 address 10.0.2.15/24 via 10.0.2.2", "lan: DHCPv4 lease lost"},
		{failRe, "lan: DHCPv4 client: timed out", "lan: Failed to set something"},
		{benignRe, "lan: Failed to configure IPv6LL", "lan: Failed"},
		{dhcpcdRe, "ens3: leased 10.0.9.8 for 86400 seconds", "ens3: offered 10.0.9.8 from 10.0.9.1"},
		{askRe, "DHCPREQUEST for 10.0.9.9 on eth1 to 255.255.255.255 port 67", "DHCPACK of 10.0.9.9 from 10.0.9.1"},
		{boundRe, "bound to 10.0.9.9 -- renewal", "unbound to 10.0.9.9"},
		{addrRe, "10.0.2.15", "10.0.2.15/24"},
		{vainRe, "pre_nixos.lan.no_lease", "pre_nixos.lan.lease"},
		{activeRe, "configure_lan: detected active interface 'ens4'", "no active interface"},
	})
}

func TestAskedFor(t *testing.T) {
	for line, want := range map[string]string{
		"ip -o -4 addr show dev lan": "lan", "ip a s lan": "lan", "ip addr show lan up": "lan", "ip -4 address lan": "lan", "ip addr show scope global dev lan": "lan",
		"ip -6 addr show lan": "", "ip addr": "", "ip addr show up": "", "ip link show lan": "", "ip route": "", "ip": "", "ping lan": "",
	} {
		if got := askedFor(strings.Fields(line)); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// FuzzAnswers holds that any text is read without a failure of the analyzer,
// twice with the same facts, and that no address is one the guest gave itself.
func FuzzAnswers(f *testing.F) {
	analyzertest.Seed(f)
	f.Add(`[{},{"ifname":"lan","flags":["LOWER_UP"],"addr_info":[{"family":"inet","local":"169.254.3.4","prefixlen":16,"dynamic":true}]}]`)
	f.Add(`{"Interfaces":[{"Index":2,"Name":"lan","OperationalState":"routable","Addresses":[{"Address":[10,0,2,15],"ConfigSource":"DHCPv4","ConfigProvider":[10,0,2,2]}]}]}`)
	params := analyzers.Params{"interface": {"lan"}, "address-notice": {"LAN IPv4 address:"}}
	f.Fuzz(func(t *testing.T, text string) {
		said := func() (out []string) {
			runs, _ := bundle.Find(fstest.MapFS{
				"serial.log": {Data: []byte("ISOLINUX 6.04\r\r\n" + text)}, "ip.txt": {Data: []byte("$ ip -j addr show lan\n" + text)},
				"networkctl.txt": {Data: []byte("$ networkctl --json=short list\n" + text)},
				"journal.log":    {Data: []byte("Mar 04 03:06:18 nixos systemd-networkd[1]: " + text)},
			}, "run")
			for _, r := range runs {
				for _, fact := range analyzers.Analyze(r, []*analyzers.Analyzer{Analyzer}, params).All() {
					if fact.Name == "net.address" && linkLocal(fact.Value) {
						t.Errorf("address %s", fact.Value)
					}
					out = append(out, fact.Name+" "+fact.Subject+" = "+fact.Value)
				}
				for _, p := range r.Problems {
					if strings.HasPrefix(p.Text, "analyzer ") {
						t.Error(p.Text)
					}
				}
			}
			return out
		}
		if !slices.Equal(said(), said()) {
			t.Error("the same bytes give different facts")
		}
	})
}
