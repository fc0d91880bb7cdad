package network

import (
	"testing"

	"forensics/analyzers/commands/commandstest"
)

type answer = commandstest.Answer

// TestForms: ip and networkctl show the same in their tables and in JSON.
func TestForms(t *testing.T) {
	const compact = `[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"operstate":"UNKNOWN","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host","label":"lo"},{"family":"inet6","local":"::1","prefixlen":128,"scope":"host"}]},` +
		`{"ifindex":2,"ifname":"lan","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"operstate":"UP","addr_info":[{"family":"inet","local":"10.0.2.15","prefixlen":24,"metric":1024,"broadcast":"10.0.2.255","scope":"global","dynamic":true,"label":"lan"},{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},` +
		`{"ifindex":3,"ifname":"idle","flags":["BROADCAST","MULTICAST"],"mtu":1500,"operstate":"DOWN","addr_info":[]}]` + "\n"
	const pretty = `[ {
        "ifindex": 1,
        "ifname": "lo",
        "flags": [ "LOOPBACK","UP","LOWER_UP" ],
        "addr_info": [ {
                "family": "inet",
                "local": "127.0.0.1",
                "prefixlen": 8
            } ]
    },{
        "ifindex": 2,
        "ifname": "lan",
        "flags": [ "BROADCAST","MULTICAST","UP","LOWER_UP" ],
        "addr_info": [ {
                "family": "inet",
                "local": "10.0.2.15",
                "prefixlen": 24,
                "dynamic": true
            } ]
    } ]
`
	t.Run("ip addr", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"ip addr", "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000\n    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n    inet 127.0.0.1/8 scope host lo\n       valid_lft forever preferred_lft forever\n" +
				"2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel state UP group default qlen 1000\n    inet 10.0.2.15/24 metric 1024 brd 10.0.2.255 scope global dynamic lan\n       valid_lft 86300sec preferred_lft 86300sec\n    inet6 fe80::1/64 scope link\n"},
			{"ip -j addr", compact}, {"ip -j -p addr show", pretty}, {"ip --json a", "[{},{}," + compact[1:]},
			// The kernel speaks between the lines, a harness behind them.
			{"ip -j -p addr", "[   12.345678] virtio_net virtio1 lan: renamed from eth0\n" + pretty[:4] + "[   12.345679] random: crng init done\n" + pretty[4:] + "__EXIT__=0\n"},
		}, []string{"net.address lo = 127.0.0.1/8", "net.address lan = 10.0.2.15/24", "net.lease lan = yes", "net.carrier lan = yes", "net.any-carrier = lan", "net.user-network = 10.0.2.15/24"})
	})
	t.Run("a peer", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"ip addr show dev tun0", "4: tun0: <POINTOPOINT,NOARP> mtu 1500\n    inet 192.168.7.2 peer 192.168.7.1/32 scope global tun0\n"},
			{"ip -j addr show dev tun0", `[{"ifindex":4,"ifname":"tun0","flags":["POINTOPOINT","NOARP"],"addr_info":[{"family":"inet","local":"192.168.7.2","address":"192.168.7.1","prefixlen":32}]}]` + "\n"},
		}, []string{"net.address tun0 = 192.168.7.2"})
	})
	t.Run("nobody answered", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"ip addr show dev lan", "2: lan: <BROADCAST,MULTICAST> mtu 1500\n    inet 169.254.3.4/16 brd 169.254.255.255 scope link dynamic lan\n"},
			{"ip -j addr show dev lan", `[{"ifindex":2,"ifname":"lan","flags":["BROADCAST","MULTICAST"],"addr_info":[{"family":"inet","local":"169.254.3.4","prefixlen":16,"dynamic":true}]}]` + "\n"},
		}, []string{"net.link-local lan = 169.254.3.4/16"})
	})
	t.Run("ip link", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"ip link", "2: lan: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500\n    link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff\n3: idle: <BROADCAST,MULTICAST> mtu 1500\n"},
			{"ip -j link", `[{"ifindex":2,"ifname":"lan","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"operstate":"UP"},{"ifindex":3,"ifname":"idle","flags":["BROADCAST","MULTICAST"],"operstate":"DOWN"}]` + "\n"},
		}, []string{"net.carrier lan = yes", "net.any-carrier = lan"})
	})
	t.Run("networkctl list", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"networkctl list", "IDX LINK TYPE     OPERATIONAL SETUP\n  1 lo   loopback carrier     unmanaged\n  2 lan  ether    routable    configured\n  3 idle ether    no-carrier  configuring\n\n3 links listed.\n"},
			{"networkctl --json=short list", `{"Interfaces":[{"Index":1,"Name":"lo","Type":"loopback","OperationalState":"carrier","AdministrativeState":"unmanaged"},{"Index":2,"Name":"lan","Type":"ether","OperationalState":"routable","AdministrativeState":"configured"},{"Index":3,"Name":"idle","OperationalState":"no-carrier","AdministrativeState":"configuring"}]}` + "\n"},
		}, []string{"net.networkd = yes", "net.carrier lan = yes", "net.any-carrier = lan"})
	})
	t.Run("networkctl status", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"networkctl status lan", "● 2: lan\n                     Link File: /etc/systemd/network/10-lan.link\n                         State: routable (configured)\n                       Address: 10.0.2.15 (DHCP4 via 10.0.2.2)\n                                fe80::1\n"},
			{"networkctl status --json=pretty lan", "{\n\t\"Index\" : 2,\n\t\"Name\" : \"lan\",\n\t\"OperationalState\" : \"routable\",\n\t\"Addresses\" : [\n\t\t{\n\t\t\t\"Family\" : 10,\n\t\t\t\"Address\" : [254,128,0,0,0,0,0,0,0,0,0,0,0,0,0,1]\n\t\t},\n\t\t{\n\t\t\t\"Family\" : 2,\n\t\t\t\"Address\" : [\n\t\t\t\t10,\n\t\t\t\t0,\n\t\t\t\t2,\n\t\t\t\t15\n\t\t\t],\n\t\t\t\"PrefixLength\" : 24,\n\t\t\t\"ConfigSource\" : \"DHCPv4\",\n\t\t\t\"ConfigProvider\" : [\n\t\t\t\t10,\n\t\t\t\t0,\n\t\t\t\t2,\n\t\t\t\t2\n\t\t\t]\n\t\t}\n\t]\n}\n"},
		}, []string{"net.networkd = yes", "net.carrier lan = yes", "net.any-carrier = lan", "net.address lan = 10.0.2.15", "net.lease lan = 10.0.2.2", "net.user-network = 10.0.2.15"})
	})
	t.Run("an interface that is not there", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"ip addr show dev lan", "Device \"lan\" does not exist.\n"}, {"ip -j addr show dev lan", "Device \"lan\" does not exist.\n"},
		}, []string{"net.absent lan = yes"})
	})
	t.Run("nothing", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"ip -j addr", compact[:200] + "\n"}, // cut
			{"cat addr.json", compact},           // somebody's file
			{"networkctl list", "WARNING: systemd-networkd is not running, output will be incomplete.\n\nIDX LINK TYPE     OPERATIONAL SETUP\n  1 lo   loopback n/a         n/a\n"},
			{"ip -j addr", `[{"ifindex":2,"ifname":"lan","flags":"LOWER_UP","addr_info":[{"family":"inet","local":"10.0.2.15/24"},{"family":"inet","local":7},null]}]` + "\n"},
			{"networkctl --json=short list", `{"Interfaces":{"Name":"lan"}}` + "\n"},
			{"networkctl --json=short status lan", `{"Name":"lan","Addresses":[{"Address":[10,0,2,15]}]}` + "\n"},
		}, nil)
	})
}
