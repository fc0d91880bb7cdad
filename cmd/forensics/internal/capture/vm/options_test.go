package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommand(t *testing.T) {
	const channels = " -chardev socket,id=serial0,path=/run/v/s -serial chardev:serial0"
	const monitorArgs = " -chardev socket,id=qmp0,path=/run/v/m -mon chardev=qmp0,mode=control -S"
	const journal = " -device virtio-serial-pci,id=vserial0 -chardev socket,id=journal0,path=/run/v/j -device virtserialport,bus=vserial0.0,chardev=journal0,name=org.forensics.journal"
	const tcg = "qemu-system-x86_64 -name forensics -accel tcg,thread=multi -m 2048 -smp 2 -display none -monitor none -no-reboot"
	const kvm = "qemu-system-x86_64 -name forensics -accel kvm -cpu host -m 2048 -smp 2 -display none -monitor none -no-reboot"
	usual := Default()
	usual.ISO = "/a/b.iso"
	usual.Disks = []Disk{{Path: "/a/disk.img"}}
	tests := []struct {
		name string
		o    Options
		want string
	}{
		{"zero", Options{}, tcg + " -boot c -nic none" + channels + monitorArgs},
		{"usual", usual, tcg + " -boot d -cdrom /a/b.iso -drive file=/a/disk.img,format=raw,if=virtio -device virtio-rng-pci" +
			" -netdev user,id=net0,hostfwd=tcp:127.0.0.1:0-:22 -device virtio-net-pci,netdev=net0" + channels + journal + monitorArgs},
		{"kvm", Options{Accel: AccelKVM}, kvm + " -boot c -nic none" + channels + monitorArgs},
		{"kvm with a model", Options{Accel: AccelKVM, CPU: "qemu64"}, strings.Replace(kvm, "host", "qemu64", 1) + " -boot c -nic none" + channels + monitorArgs},
		{"sizes", Options{QEMU: "/opt/q", Machine: "q35", Memory: 96, CPUs: 1, CPU: "pentium3", Network: "user", SSHPort: -1},
			"/opt/q -name forensics -machine q35 -accel tcg,thread=multi -cpu pentium3 -m 96 -smp 1 -display none -monitor none -no-reboot" +
				" -boot c -netdev user,id=net0 -device virtio-net-pci,netdev=net0" + channels + monitorArgs},
		{"disks", Options{Disks: []Disk{
			{Path: "a", Bus: "scsi", Format: "qcow2"}, {Path: "b", Bus: "ide"}, {Path: "c", Bus: "nvme"}, {Path: "d", Bus: "none"}, {Path: "e", Bus: "scsi"}, {Path: "f", Snapshot: true}}},
			tcg + " -boot c -drive file=a,format=qcow2,if=none,id=disk0 -device virtio-scsi-pci,id=scsi0 -device scsi-hd,bus=scsi0.0,drive=disk0" +
				" -drive file=b,format=raw,if=ide -drive file=c,format=raw,if=none,id=disk2 -device nvme,drive=disk2,serial=disk2" +
				" -drive file=e,format=raw,if=none,id=disk4 -device virtio-scsi-pci,id=scsi4 -device scsi-hd,bus=scsi4.0,drive=disk4" +
				" -drive file=f,format=raw,snapshot=on,if=virtio -nic none" + channels + monitorArgs},
		{"kernel", Options{Kernel: "k", Initrd: "i", Append: "console=ttyS0", FWCfg: []string{"name=opt/x,string=y"}, SMBIOS: []string{"io.systemd.credential:a=b,c"}, VsockCID: 7},
			tcg + " -kernel k -initrd i -append console=ttyS0 -nic none -device vhost-vsock-pci,guest-cid=7 -fw_cfg name=opt/x,string=y" +
				" -smbios type=11,value=io.systemd.credential:a=b,,c" + channels + monitorArgs},
		{"split firmware", Options{UEFI: true, Firmware: Firmware{"/c", "/v"}},
			tcg + " -drive if=pflash,unit=0,format=raw,readonly=on,file=/c -drive if=pflash,unit=1,format=raw,snapshot=on,file=/v -boot c -nic none" + channels + monitorArgs},
		{"whole firmware", Options{UEFI: true, Firmware: Firmware{Code: "/c"}}, tcg + " -bios /c -boot c -nic none" + channels + monitorArgs},
		{"firmware unused", Options{Firmware: Firmware{Code: "/c"}}, tcg + " -boot c -nic none" + channels + monitorArgs},
		{"odd names", Options{ISO: "2025-10-08T13:56,1.iso", Disks: []Disk{{Path: "x,y:1"}}},
			tcg + " -boot d -cdrom ./2025-10-08T13:56,1.iso -drive file=./x,,y:1,format=raw,if=virtio -nic none" + channels + monitorArgs},
		{"extra is last", Options{Extra: []string{"-cpu", "max"}}, tcg + " -boot c -nic none" + channels + monitorArgs + " -cpu max"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.Fields(test.want), Command(test.o, "/run/v")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindFirmware(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"lonely-code", "code", "vars", "whole"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	split, whole := Firmware{at("code"), at("vars")}, Firmware{Code: at("whole")}
	lonely, absent := Firmware{at("lonely-code"), at("no-vars")}, Firmware{Code: at("absent")}
	tests := []struct {
		places []Firmware
		want   Firmware
	}{
		{[]Firmware{absent, lonely, split, whole}, split},
		{[]Firmware{whole, split}, whole},
		{[]Firmware{{Code: dir}, absent, lonely}, Firmware{}},
	}
	for _, test := range tests {
		got, err := findFirmware(test.places)
		if got != test.want || (err != nil) != (test.want == Firmware{}) {
			t.Errorf("%v: %v, %v", test.places, got, err)
		}
		if err != nil && !strings.Contains(err.Error(), absent.Code) {
			t.Errorf("%v names no path", err)
		}
	}
}

func TestFirmwareBesideProgram(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"bin/qemu", "share/qemu/edk2-x86_64-code.fd", "share/qemu/edk2-i386-vars.fd"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FindFirmware(filepath.Join(dir, "bin/qemu"))
	if err != nil || got.Code != filepath.Join(dir, "share/qemu/edk2-x86_64-code.fd") {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDiskCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "2025-01-01T00:00,disk")
	d := Disk{Path: path, Size: 1 << 40}
	if err := d.Create(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != d.Size {
		t.Errorf("%v, %v", info, err)
	}
	if err := d.Create(t.Context(), ""); !errors.Is(err, os.ErrExist) {
		t.Errorf("over somebody's disk: %v", err)
	}
	for _, bad := range []Disk{{Path: path + "1"}, {Path: path + "2", Size: -1}, {Path: path + "3", Size: 1, Format: "vmdk"}, {Path: path + "4", Size: 512, Format: "qcow2"}} {
		if err := bad.Create(t.Context(), "/no/such/qemu-img"); err == nil {
			t.Errorf("%v: no error", bad)
		}
		if _, err := os.Stat(bad.Path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v is left: %v", bad, err)
		}
	}
}

func TestDiskQcow2(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip(err)
	}
	t.Chdir(t.TempDir())
	d := Disk{Path: "a:b,c.qcow2", Size: 1 << 30, Format: "qcow2"}
	if err := d.Create(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(d.Path)
	if err != nil || !strings.HasPrefix(string(b), "QFI\xfb") {
		t.Errorf("%.8q, %v", b, err)
	}
}
