package probe

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/analyzers/bundle"
	"forensics/cmd/forensics/internal/capture/record"
	"forensics/rules"
)

// answers are what a healthy guest's tools print, by probe; from real ones. What
// is not here has no answer.
var answers = map[string]string{
	"id":          "0\n",
	"unit-active": "inactive\n",
	"status-file": "STATE=applied\nDETAIL=auto-applied\n",
	"address":     "2: lan    inet 10.0.2.15/24 metric 1024 brd 10.0.2.255 scope global dynamic lan\\       valid_lft 86360sec preferred_lft 86360sec\n",
	"vgs":         "  main\n",
	"lvs":         "  slash main\n",
	"vgs-json":    `  {"report": [{"vg": [{"vg_name":"main", "pv_count":"1", "lv_count":"1", "snap_count":"0", "vg_attr":"wz--n-", "vg_size":"<4.00g", "vg_free":"1020.00m"}]}]}` + "\n",
	"lvs-json":    `  {"report": [{"lv": [{"lv_name":"slash", "vg_name":"main", "lv_attr":"-wi-a-----", "lv_size":"3.00g", "pool_lv":"", "origin":"", "data_percent":"", "metadata_percent":"", "move_pv":"", "mirror_log":"", "copy_percent":"", "convert_lv":""}]}]}` + "\n",
	"lsblk":       "NAME         MAJ:MIN RM  SIZE RO TYPE MOUNTPOINTS\nloop0          7:0    0  400M  1 loop /nix/.ro-store\nsr0           11:0    1  500M  0 rom  /iso\nvda          253:0    0    4G  0 disk \n└─vda1       253:1    0    4G  0 part \n  └─main-slash 254:0  0    3G  0 lvm  \n",
	"unit-show":   "Type=oneshot\nId=pre-nixos.service\nAfter=basic.target system.slice\nRemainAfterExit=no\nActiveState=inactive\nSubState=dead\nResult=success\nExecMainStatus=0\n",
	"unit-status": "○ pre-nixos.service - Pre-NixOS setup\n     Loaded: loaded (/etc/systemd/system/pre-nixos.service; enabled; preset: enabled)\n     Active: inactive (dead) since Sun 2026-03-01 10:01:05 UTC; 20s ago\n    Process: 700 ExecStart=/bin/pre-nixos (code=exited, status=0/SUCCESS)\n   Main PID: 700 (code=exited, status=0/SUCCESS)\n",
	"jobs":        "No jobs running.\n",
	"dmesg": "[    0.000000] Linux version 6.6.94 (nixbld@localhost) (gcc) #1-NixOS SMP\n[    0.000000] Command line: BOOT_IMAGE=/boot/bzImage console=ttyS0,115200n8 root=fstab\n" +
		"[    0.400000] smpboot: CPU0: QEMU Virtual CPU version 2.5+ (family: 0xf, model: 0x6b, stepping: 0x1)\n[    0.900000] random: crng init done\n" +
		"[    1.200000] rtc_cmos 00:05: setting system clock to 2026-03-01T10:00:00 UTC (1772359200)\n[    1.500000] virtio_blk virtio1: [vda] 8388608 512-byte logical blocks (4.29 GB/4.00 GiB)\n[    3.000000] systemd[1]: Detected virtualization kvm.\n",
	"rng": "virtio_rng.0\n",
}

// judge judges the records of a guest, without any transcript.
func judge(t *testing.T, answers map[string]string) map[string]rules.Verdict {
	t.Helper()
	params := profile(t)
	list, left := Fill(At(builtin(t), Guest), params)
	if len(left) > 0 {
		t.Errorf("left out: %v", left)
	}
	b, err := record.Create(filepath.Join(t.TempDir(), "run"), "forensics", "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	asked := map[string]bool{}
	for _, s := range list {
		asked[s.Name] = true
		if text, ok := answers[s.Name]; ok {
			r := Record{Name: s.Name, Where: s.Where, Argv: s.Argv, Start: time.Now(), Duration: 0.1}
			if s.Name == "unit-active" {
				r.ExitStatus = 3
			}
			r.SetOutput([]byte(text), nil)
			if err := b.Append("guest/"+s.Name+".json", r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name := range answers {
		if !asked[name] {
			t.Errorf("no probe asks %s", name)
		}
	}
	if err := b.Finish(true, ""); err != nil {
		t.Fatal(err)
	}
	runs, problems := bundle.Find(os.DirFS(b.Dir()), "run")
	if len(runs) != 1 || len(problems) > 0 {
		t.Fatalf("%d runs, problems %v", len(runs), problems)
	}
	out := catalogue(t).Evaluate(analyzers.Analyze(runs[0], all.List, params), params)
	got := map[string]rules.Verdict{}
	for _, v := range out.Verdicts {
		got[v.Condition.ID] = v
	}
	return got
}

func TestHealthyGuest(t *testing.T) {
	got := judge(t, answers)
	// Who the session is, and what is on its PATH, the transcript says.
	for _, id := range strings.Fields("vm.cpu-model vm.entropy vm.clock vm.disk-naming vm.storage-detect vm.lvm vm.lan-dhcp vm.storage-status vm.unit-inactive iso.unit iso.serial-console virt.accel virt.confinement") {
		if v := got[id]; v.Status != rules.Pass {
			t.Errorf("%s: %s, want pass: %s", id, v.Status, v.Because)
		}
	}
	for id, v := range got {
		if v.Status == rules.Fail {
			t.Errorf("%s: fail: %s", id, v.Because)
		}
	}
}

// TestBrokenGuests: what differs from the healthy guest's answers, and the
// condition that fails for it.
func TestBrokenGuests(t *testing.T) {
	for _, tt := range []struct {
		name, fails string
		differ      map[string]string
	}{
		{"provisioning failed", "vm.storage-status", map[string]string{"status-file": "STATE=failed\nDETAIL=auto-applied\n"}},
		{"another disk", "vm.disk-naming", map[string]string{
			"dmesg": strings.Replace(answers["dmesg"], "virtio_blk virtio1: [vda]", "sd 0:0:0:0: [sda]", 1),
			"lsblk": strings.ReplaceAll(answers["lsblk"], "vda", "sda"),
		}},
		{"no randomness", "vm.entropy", map[string]string{"dmesg": strings.Replace(answers["dmesg"], "[    0.900000] random", "[  190.900000] random", 1), "rng": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			given := maps.Clone(answers)
			maps.Copy(given, tt.differ)
			for id, v := range judge(t, given) {
				if (v.Status == rules.Fail) != (id == tt.fails) {
					t.Errorf("%s: %s: %s", id, v.Status, v.Because)
				}
			}
		})
	}
}
