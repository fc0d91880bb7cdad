package boot

import (
	"strings"
	"testing"
	"testing/fstest"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/network"
	"forensics/analyzers/storage"
	"forensics/analyzers/units"
)

// hostile are texts whose repetition tempts to quadratic walks.
var hostile = map[string]string{
	"failures":  "Mar 04 03:06:18 nixos systemd[1]: a.service: Failed with result 'exit-code'.\n",
	"starts":    "Mar 04 03:06:18 nixos systemd[1]: Starting Pre-NixOS setup...\nMar 04 03:06:18 nixos systemd[1]: pre-nixos.service: Failed with result 'x'.\n",
	"tables":    "Mar 04 03:06:18 nixos pre-nixos-start[7]: NAME FSTYPE FSVER\n",
	"rows":      "Mar 04 03:06:18 nixos pre-nixos-start[7]: └─vda1\n",
	"traces":    "Mar 04 03:06:18 nixos pre-nixos-start[7]: Traceback (most recent call last):\nMar 04 03:06:18 nixos pre-nixos-start[7]: During handling of the above exception\nMar 04 03:06:18 nixos pre-nixos-start[7]: E: x\n",
	"events":    `Mar 04 03:06:18 nixos pre-nixos-start[7]: {"event": "x.start", "command": "systemctl start sshd"}` + "\n",
	"blocks":    "● a.service - A\n     Active: activating (start) since Sun 2025-10-12 01:16:00 UTC; 39s ago\n             └─872 systemctl start sshd\n",
	"jobs":      "93  sshd.service         start waiting\n76  a.service start running\n",
	"questions": "[root@nixos:~]# systemctl is-active a\r\r\nactivating\r\r\n[root@nixos:~]# ip addr show lan\r\r\n[root@nixos:~]# cat /run/pre-nixos/storage-status\r\r\n",
	"listings":  "[root@nixos:~]# vgs\r\r\n  main\r\r\n[root@nixos:~]# lsblk\r\r\nNAME TYPE\r\r\nvda disk\r\r\n",
	"links":     "● 2: lan\n   Address: 10.0.2.15\n",
}

// Repetition breaks no analyzer, and ends: a quadratic walk would run into the
// test's own limit.
func TestHostile(t *testing.T) {
	for name, text := range hostile {
		for _, head := range []string{"", "ISOLINUX 6.04\r\r\n"} {
			data := []byte(head + strings.Repeat(text, (1<<20)/len(text)))
			runs, _ := bundle.Find(fstest.MapFS{"serial.log": {Data: data}}, "run")
			for _, r := range runs {
				analyzers.Analyze(r, []*analyzers.Analyzer{Analyzer, units.Analyzer, storage.Analyzer, network.Analyzer}, params)
				for _, p := range r.Problems {
					if strings.HasPrefix(p.Text, "analyzer ") {
						t.Errorf("%s: %s", name, p.Text)
					}
				}
			}
		}
	}
}
