package storage

import (
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/commands/commandstest"
)

type answer = commandstest.Answer

// settled is what a listing shows of what is not there, which a probe cannot
// say: when it ran is not known.
var settled = analyzers.Params{"unit": {"demo.service"}, "vg": {"main"}, "lv": {"slash"}}

const (
	lsblkHead = "NAME           MAJ:MIN RM  SIZE RO TYPE MOUNTPOINTS\n"
	lsblkRows = "vda            254:0    0    4G  0 disk \n├─vda1         254:1    0    1G  0 part /boot\n└─vda2         254:2    0    3G  0 part \n  └─main-sla--sh 252:0    0    2G  0 lvm  /\nvdb            254:16   0    2G  0 disk \nsr0             11:0    1    1G  0 rom  /iso\n"
	lsblkJSON = `{
   "blockdevices": [
      {
         "name": "vda",
         "maj:min": "254:0",
         "type": "disk",
         "mountpoints": [
             null
         ],
         "children": [
            {
               "name": "vda1",
               "type": "part"
            },{
               "name": "vda2",
               "type": "part",
               "children": [
                  {
                     "name": "main-sla--sh",
                     "type": "lvm",
                     "mountpoints": [
                         "/"
                     ]
                  }
               ]
            }
         ]
      },{
         "name": "vdb",
         "type": "disk"
      },{
         "name": "sr0",
         "type": "rom"
      }
   ]
}
`
)

// TestForms: the tools show the same in their tables and in JSON.
func TestForms(t *testing.T) {
	t.Run("lsblk", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"lsblk", lsblkHead + lsblkRows}, {"lsblk --json", lsblkJSON}, {"lsblk -J", lsblkJSON}, {"lsblk -bJ", lsblkJSON},
			{"lsblk -Jo NAME,TYPE,MOUNTPOINTS", lsblkJSON}, {"lsblk -J -o NAME,TYPE", lsblkJSON}, {"lsblk --json --output=NAME,TYPE", lsblkJSON},
		}, []string{"lvm.vg main = present", "lvm.lv main/sla-sh = present", "disk.list = vda vdb"})
	})
	t.Run("narrowed lsblk", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"lsblk /dev/vda", lsblkHead + lsblkRows}, {"lsblk -J /dev/vda", lsblkJSON}, {"lsblk -J -e 7", lsblkJSON}, {"lsblk -J | head -40", lsblkJSON}, {"lsblk -Js", lsblkJSON},
		}, []string{"lvm.vg main = present", "lvm.lv main/sla-sh = present"})
	})
	t.Run("vgs", func(t *testing.T) {
		const text = "  VG    #PV #LV #SN Attr   VSize  VFree \n  large   1   1   0 wz--n- <4.00g 820.00m\n  swap    1   1   0 wz--n- <2.00g      0 \n"
		const json = "  {\n      \"report\": [\n          {\n              \"vg\": [\n                  {\"vg_name\":\"large\", \"pv_count\":\"1\", \"lv_count\":\"1\", \"snap_count\":\"0\", \"vg_attr\":\"wz--n-\", \"vg_size\":\"<4.00g\", \"vg_free\":\"820.00m\"},\n                  {\"vg_name\":\"swap\", \"pv_count\":\"1\"}\n              ]\n          }\n      ]\n  }\n"
		commandstest.Same(t, Analyzer, nil, []answer{
			{"vgs", text}, {"vgs --reportformat json", json}, {"vgs --reportformat=json_std", `{"report":[{"vg":[{"vg_name":"large"},{"vg_name":"swap"}]}],"log":[]}` + "\n"},
		}, []string{"lvm.vg large = present", "lvm.vg swap = present", "lvm.listed = large swap"})
		commandstest.Same(t, Analyzer, nil, []answer{
			{"vgs large", "  VG    #PV #LV #SN Attr   VSize  VFree \n  large   1   1   0 wz--n- <4.00g 820.00m\n"}, {"vgs --reportformat json large", `{"report":[{"vg":[{"vg_name":"large"}]}]}` + "\n"},
			// A device that is not there may hold the rest of another group.
			{"vgs --reportformat json", "  WARNING: Couldn't find device with uuid 6QsZlv.\n" + `{"report":[{"vg":[{"vg_name":"large"}]}]}` + "\n"},
		}, []string{"lvm.vg large = present"})
	})
	t.Run("lvs", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"lvs", "  LV    VG   Attr       LSize Pool Origin Data%\n  slash main -wi-ao---- 2.00g\n"},
			{"lvs --reportformat json", `{"report":[{"lv":[{"lv_name":"slash", "vg_name":"main", "lv_attr":"-wi-ao----", "lv_size":"2.00g", "pool_lv":""}]}]}` + "\n"},
		}, []string{"lvm.lv main/slash = present"})
	})
	t.Run("pvs", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"pvs", "  PV         VG   Fmt  Attr PSize  PFree\n  /dev/vda2  main lvm2 a--  <3.00g    0 \n  /dev/vdb        lvm2 ---   2.00g 2.00g\n"},
			{"pvs --reportformat json", `{"report":[{"pv":[{"pv_name":"/dev/vda2", "vg_name":"main", "pv_fmt":"lvm2"},{"pv_name":"/dev/vdb", "vg_name":""}]}]}` + "\n"},
		}, []string{"lvm.vg main = present"})
	})
	t.Run("blkid", func(t *testing.T) {
		commandstest.Same(t, Analyzer, nil, []answer{
			{"blkid", "/dev/vda1: UUID=\"1234-ABCD\" BLOCK_SIZE=\"512\" TYPE=\"vfat\"\n/dev/vdb: PTTYPE=\"gpt\"\n"},
			{"blkid -o export", "DEVNAME=/dev/vda1\nUUID=1234-ABCD\nBLOCK_SIZE=512\nTYPE=vfat\n\nDEVNAME=/dev/vdb\nPTTYPE=gpt\n"},
		}, []string{"disk.named /dev/vda = yes", "disk.named /dev/vdb = yes"})
	})
	t.Run("findmnt", func(t *testing.T) {
		const json = `{"filesystems": [{"target":"/", "source":"/dev/mapper/main-slash", "fstype":"ext4", "options":"rw", "children": [{"target":"/boot", "source":"/dev/vda1", "fstype":"vfat", "options":"rw"},{"target":"/nix", "source":"/dev/nvme0n1p3[/nix]", "fstype":"btrfs", "options":"rw"},{"target":"/run", "source":"tmpfs", "fstype":"tmpfs", "options":"rw"}]}]}` + "\n"
		commandstest.Same(t, Analyzer, nil, []answer{
			{"findmnt", "TARGET SOURCE FSTYPE OPTIONS\n/ /dev/mapper/main-slash ext4 rw\n├─/boot /dev/vda1 vfat rw\n├─/nix  /dev/nvme0n1p3[/nix] btrfs rw\n└─/run  tmpfs tmpfs rw\n"},
			{"findmnt --json", json}, {"findmnt -J", json},
		}, []string{"disk.named /dev/vda = yes", "disk.named /dev/nvme0n1 = yes"})
		commandstest.Same(t, Analyzer, nil, []answer{{"findmnt --fstab --json", json}, {"findmnt -s -J", json}, {"cat mounts.json", json}}, nil)
	})
	t.Run("nothing", func(t *testing.T) {
		commandstest.Same(t, Analyzer, settled, []answer{
			{"lsblk -J", lsblkJSON[:300] + "\n"}, // cut
			{"cat disks.json", lsblkJSON},
			{"vgs --reportformat json", `{"report":[{"vg":[{"vg_name":"large"}` + "\n"},
			{"vgs --reportformat json", `{"report":[{"lv":[{"lv_name":"slash"}]}]}` + "\n"},
			{"vgs --reportformat json", `{"report":{"vg":[{"vg_name":"large"}]}}` + "\n"},
			{"pvs --reportformat json", `{"report":[{"pv":[{"pv_name":"/dev/vdb", "vg_name":7}]}]}` + "\n"},
			{"findmnt -J", `{"filesystems":"/dev/vda"}` + "\n"},
			{"blkid -o export", "TYPE=vfat\n\nDEVNAME=vda\nTYPE=vfat\n"},
		}, nil)
	})
}
