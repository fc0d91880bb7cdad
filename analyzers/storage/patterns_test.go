package storage

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
		{assignRe, "STATE=applied", "STATE=applied yesterday"},
		{blkidRe, `/dev/vdb: UUID="x" TYPE="linux_raid_member"`, `blkid: error: /dev/vdb: No such file`},
		{typeRe, `UUID="x" TYPE="vfat"`, `SEC_TYPE="msdos"`},
		{wipefsRe, "vda  0x200  gpt", "vda: 8 bytes were erased at offset 0x00000200 (gpt)"},
		{partRe, "/dev/nvme0n1p2", "/dev/md127"},
		{exitRe, "__EXIT__=0", "printf '__EXIT__=%s' $?"},
		{madeRe, "mdadm: array /dev/md/md0 started.", "mdadm: /dev/md0 has been started with 2 drives."},
		{traceRe, "+ vgcreate main /dev/vda2", "1+0 records in"},
		{vgMadeRe, `  Volume group "main" successfully created`, `  Volume group "main" not found`},
		{lvMadeRe, `  Logical volume "slash" created.`, `  Failed to find logical volume "main/slash"`},
		{vgActiveRe, `  2 logical volume(s) in volume group "main" now active`, `  Found volume group "main" using metadata type lvm2`},
		{vgGoneRe, `  Volume group "main" successfully removed`, `  Volume group "main" successfully created`},
		{lvGoneRe, `  Logical volume "slash" successfully removed.`, `  Logical volume "slash" created.`},
		{suppressedRe, "Suppressed 31 messages from pre-nixos.service", "31 callbacks suppressed"},
		{devRe, "/dev/vda", "/dev/disk/by-partlabel/disk-vda-vda1"},
		{lsblkHeadRe, "NAME  FSTYPE FSVER", "NAME MAJ:MIN RM"},
		{planVGRe, `      "vg": "main",`, `      "vgs": [`},
		{planDiskRe, `        "device": "/dev/vda",`, `        "device": "vda2",`},
		{planNameRe, `      "vda": {`, `      "vda1": {`},
		{planLVsRe, `  "lvs": [`, `  "lvs": []`},
		{emptyRe, `  "disko": {}`, `  "disko": {`},
		{vgHeadRe, "  VG    #PV #LV #SN Attr", "  VGs are fine"},
		{lvHeadRe, "  LV   VG   Attr", "  LVM is fine"},
		{headRe, "  VG    PV", "  VG main is fine"},
		{lvmNameRe, "main", `"main"`},
		{lvmAttrRe, "wz--n-", "volume groups"},
		{lvmCountRe, "2", "two"},
		{lvmSizeRe, "<4.00g", "4.00 GiB of"},
		{pvRowRe, "  /dev/vdb   main lvm2 a--  <4.00g    0", "  /dev/vdb        lvm2 ---   4.00g 4.00g"},
		{devnameRe, "DEVNAME=/dev/vdb", "DEVNAME=/dev/vd b"},
		{exportedRe, "PTTYPE=gpt", "SEC_TYPE=msdos"},
		{lsblkShortRe, "-Jo", "-fo"},
		{sourceRe, "/dev/vda1[/nix]", "/dev/mapper/main-slash"},
		{mountRe, "├─/boot /dev/vda1 vfat rw,relatime", "├─/run tmpfs tmpfs rw"},
		{noVGRe, `  Volume group "main" not found`, `  Volume group "main" successfully created`},
		{noLVRe, `  Failed to find logical volume "main/slash"`, `  Logical volume "slash" created.`},
		{printkRe, "[   12.345678] virtio", "[ OK ] Started"},
		{silencedRe, "vgs 2> /dev/null", "vgs >/dev/null"},
		{markRe, "__EXIT__=0", "EXIT"},
		{lsblkNarrowing, "-J", "-f"},
		{lsblkFlags, "-dno", "-e"},
		{lsblkNameRe, "/dev/mapper/main-slash", `"vda"`},
		{majMinRe, "254:0", "254"},
		{diskNameRe, "nvme0n1", "nvme0n1p1"},
		{lsblkTypes, "raid1", "raid"},
		{toolRe, "disko --mode format x", "disko-install x"},
		{toolRe, "mdadm --create /dev/md0", "mdadm --examine /dev/vda"},
		{looking, "sgdisk -p /dev/vda", "sgdisk --clear /dev/vda"},
	})
}

func TestMakesAndErases(t *testing.T) {
	for line, want := range map[string]string{
		"mdadm --create /dev/md0 --level=1": "makes", "mdadm --detail /dev/md0": "", "sgdisk -n 1:0:0 /dev/vda": "makes", "sgdisk -p /dev/vda": "",
		"mkfs.ext4 /dev/vda": "makes", "parted /dev/vda print": "", "parted /dev/vda mklabel gpt": "makes", "pvcreate /dev/vda": "makes",
		"wipefs -n /dev/vda": "", "wipefs -a /dev/vda": "erases", "sgdisk --zap-all /dev/vda": "erases", "mdadm --zero-superblock /dev/vdb": "erases",
		"dd if=/dev/zero of=/dev/vda": "erases", "dd if=/dev/vda of=/tmp/x": "", "dd of=/dev/vg_x/lv bs=1": "", "vgremove -y old": "erases",
	} {
		ws := strings.Fields(line)
		got := ""
		if makes(ws) {
			got = "makes"
		}
		if erases(ws) {
			got = "erases"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestVGOf(t *testing.T) {
	for args, want := range map[string]string{
		"--yes -L 3064M -n slash main": "main", "-n slash -l 100%FREE main /dev/vda2": "main", "--yes main -L 3G -n slash": "main",
		"-y -n main/slash -L 3G": "main", "--yes --wipesignatures y --name slash --extents 80%FREE main": "main", "-L 3G": "", "--name=slash --size=3G /dev/main": "",
	} {
		if got := vgOf(strings.Fields(args)); got != want {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
}

func TestLsblkWords(t *testing.T) {
	for line, want := range map[string]string{
		"lsblk": "all", "lsblk -a -f": "all", "lsblk --output NAME,TYPE,SIZE --paths": "all NAME,TYPE,SIZE", "lsblk -o NAME,TYPE": "all NAME,TYPE",
		"lsblk -d": "all flat", "lsblk -dno NAME,TYPE,SIZE": "all flat headless NAME,TYPE,SIZE", "lsblk -no NAME": "all headless NAME", "lsblk --output=NAME,TYPE": "all NAME,TYPE",
		"lsblk /dev/vda -l -p -o type,name": "TYPE,NAME", "lsblk -e 7": "", "lsblk -J": "", "lsblk -S": "",
	} {
		x := tableOf(strings.Fields(line))
		var got []string
		for _, s := range []struct {
			word string
			is   bool
		}{{"all", x.all}, {"flat", x.flat}, {"headless", x.headless}} {
			if s.is {
				got = append(got, s.word)
			}
		}
		if x.columns != nil {
			got = append(got, strings.Join(x.columns, ","))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

// FuzzAnswers holds that any text is read without a failure of the analyzer,
// twice with the same facts, and that a listing's group is a name.
func FuzzAnswers(f *testing.F) {
	analyzertest.Seed(f)
	f.Add(lsblkJSON)
	f.Add(`{"report":[{"lv":[{"lv_name":"slash","vg_name":"main"}],"vg":[{"vg_name":"main"}],"pv":[{"vg_name":"main"}]}]}`)
	params := analyzers.Params{"unit": {"pre-nixos.service"}, "unit-description": {"Pre-NixOS setup"}, "vg": {"main"}, "lv": {"slash"}, "status-file": {"/run/s"}}
	f.Fuzz(func(t *testing.T, text string) {
		said := func() (out []string) {
			runs, _ := bundle.Find(fstest.MapFS{
				"serial.log": {Data: []byte("ISOLINUX 6.04\r\r\n" + text)}, "vgs.txt": {Data: []byte("$ vgs\n" + text)},
				"lsblk.txt": {Data: []byte("$ lsblk -J\n" + text)}, "lvs.txt": {Data: []byte("$ lvs --reportformat json\n" + text)},
				"journal.log": {Data: []byte("Mar 04 03:06:18 nixos systemd[1]: Starting Pre-NixOS setup...\nMar 04 03:06:18 nixos pre-nixos-start[1]: " + text)},
			}, "run")
			for _, r := range runs {
				for _, fact := range analyzers.Analyze(r, []*analyzers.Analyzer{Analyzer}, params).All() {
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
