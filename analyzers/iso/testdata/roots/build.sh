#!/usr/bin/env bash
# Builds the images of TestRoots beside itself: root file systems laid out as
# NixOS and Debian live images have them, with stand-ins for programs. Needs
# squashfs-tools, xorriso, cpio and zstd (Debian). Compressed, as they are
# mostly zeros.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"


put() { # FILE TEXT…: a file of these lines
	mkdir -p "$(dirname "$1")"
	printf '%s\n' "${@:2}" >"$1"
}
program() { # FILE: an ELF file, as far as four bytes tell
	mkdir -p "$(dirname "$1")"
	printf '\177ELF\002\001\001' >"$1"
	chmod 555 "$1"
}
bzimage() { # FILE VERSION: a kernel's header (Linux, boot.rst)
	python3 - "$1" "$2" <<'PY'
import os, struct, sys
b = bytearray(4096)
b[0x1fe:0x200] = b"\x55\xaa"
b[0x202:0x206] = b"HdrS"
struct.pack_into("<HH", b, 0x206, 0x20f, 0)
struct.pack_into("<H", b, 0x20e, 0x600)
text = sys.argv[2].encode() + b" (builder@example) #1 SMP\0"
b[0x800:0x800 + len(text)] = text
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
open(sys.argv[1], "wb").write(b)
PY
}
iso() { # NAME LABEL: from the tree iso/
	mkdir -p iso/isolinux
	{ head -c 64 /dev/zero; printf 'ISOLINUX 6.04 '; head -c 2048 /dev/zero; } | head -c 2048 >iso/isolinux/isolinux.bin
	find iso root initrd -exec touch -hd @1700000000 {} +
	xorriso -as mkisofs -quiet -r -V "$2" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
		-boot-load-size 4 -boot-info-table -no-pad -o "$1" iso
	gzip -9nc "$1" >"$here/$1.gz"
}
pack() { # SQUASHFS OPTIONS…: root/ into it, initrd/ into the initrd
	mksquashfs root "$1" -noappend -quiet -no-progress -all-root -all-time 1700000000 -mkfs-time 1700000000 "${@:2}"
}
ramdisk() { # FILE
	(cd initrd && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --reproducible --quiet | zstd -q -19) >"$1"
}
clean() { rm -rf iso root initrd; mkdir -p iso root initrd; }

# NixOS: the squashfs is the store; the system is a package of links, its etc
# another, its units a third.
h() { # NAME: a package's name with a hash of the right shape
	printf '%s-%s' "$(printf '%s' "$1" | sha256sum | tr 0-9a-f 0123456789abcdf | tr -d 'e' | cut -c1-32)" "$1"
}
nixos() { # NAME PART…: without the parts named
	clean
	local name=$1; shift
	local sys units etc kmod system path lack=" $* "
	sys=$(h nixos-system-nixos-25.11) units=$(h system-units) etc=$(h etc) kmod=$(h kmod-31) system=$(h systemd-258) path=$(h system-path)
	mkdir -p "root/$sys" "root/$path/bin" "root/$units" "root/$etc/etc/systemd" "root/$etc/etc/sudoers.d"
	put "root/$sys/init" '#!/bin/sh'
	ln -s "/nix/store/$path" "root/$sys/sw"
	ln -s "/nix/store/$etc/etc" "root/$sys/etc"
	ln -s "/nix/store/$system" "root/$sys/systemd"
	for p in sudo-1.9.17:sudo disko-1.12:disko lvm2-2.03.35:lvm iproute2-6.17:ip; do
		local pkg=${p%:*} cmd=${p#*:}
		case $lack in *" $cmd "*) continue ;; esac
		program "root/$(h "$pkg")/bin/$cmd"
		ln -s "/nix/store/$(h "$pkg")/bin/$cmd" "root/$path/bin/$cmd"
		[ "$cmd" != lvm ] || for c in vgs lvs pvs vgcreate; do
			ln -s lvm "root/$(h "$pkg")/bin/$c"
			ln -s "/nix/store/$(h "$pkg")/bin/$c" "root/$path/bin/$c"
		done
	done
	program "root/$kmod/bin/modprobe"
	program "root/$system/lib/systemd/systemd-networkd"
	put "root/$system/example/systemd/system/systemd-networkd.service" '[Unit]' 'Description=Network Configuration' '' '[Service]' 'Type=notify' 'ExecStart=/nix/store/x/lib/systemd/systemd-networkd'
	# The unit: a wrapper in one package, its Python in another.
	local tool=$(h pre-nixos-0.4.0) script=$(h unit-script-pre-nixos-start)
	put "root/$script/bin/pre-nixos-start" '#!/nix/store/bash/bin/bash' 'set -e' "exec /nix/store/$tool/bin/pre-nixos"
	put "root/$tool/bin/pre-nixos" '#!/nix/store/python3/bin/python3' 'from pre_nixos.main import main; main()'
	put "root/$tool/lib/python3.13/site-packages/pre_nixos/main.py" 'import subprocess' 'def main():' '    subprocess.run(["modprobe", "dm_mod"])' '    subprocess.run(["disko", "--mode", "disko"])' \
		"    subprocess.run([\"systemctl\", \"start\", \"${STARTS:-none}\"])"
	local pathline="Environment=\"PATH=/nix/store/$(h disko-1.12)/bin:/nix/store/$kmod/bin\""
	case $lack in *" kmod "*) pathline="Environment=\"PATH=/nix/store/$(h disko-1.12)/bin\"" ;; esac
	local unit=$(h unit-pre-nixos.service)
	put "root/$unit/pre-nixos.service" '[Unit]' 'After=systemd-networkd.service' 'Description=Pre-NixOS setup' '' '[Service]' "$pathline" \
		"ExecStart=/nix/store/$script/bin/pre-nixos-start" "RemainAfterExit=${REMAINS:-false}" 'Type=oneshot'
	ln -s "/nix/store/$unit/pre-nixos.service" "root/$units/pre-nixos.service"
	mkdir -p "root/$units/multi-user.target.wants"
	ln -s ../pre-nixos.service "root/$units/multi-user.target.wants/pre-nixos.service"
	case $lack in *" networkd "*) ;; *)
		ln -s "/nix/store/$system/example/systemd/system/systemd-networkd.service" "root/$units/systemd-networkd.service"
		ln -s ../systemd-networkd.service "root/$units/multi-user.target.wants/systemd-networkd.service" ;;
	esac
	local sshd=$(h unit-sshd.service)
	put "root/$sshd/sshd.service" '[Unit]' 'After=network.target pre-nixos.service' '' '[Service]' 'ExecStart=/nix/store/openssh/bin/sshd -D'
	ln -s "/nix/store/$sshd/sshd.service" "root/$units/sshd.service"
	# The getty: upstream's file and NixOS's overrides.
	put "root/$system/example/systemd/system/serial-getty@.service" '[Service]' 'ExecStart=-/sbin/agetty -o "-p -- \\u" --keep-baud 115200,57600,38400,9600 - $TERM' 'Type=idle'
	ln -s "/nix/store/$system/example/systemd/system/serial-getty@.service" "root/$units/serial-getty@.service"
	local over=$(h unit-serial-getty-.service)
	put "root/$over/overrides.conf" '[Service]' 'ExecStart=' \
		'ExecStart=@/nix/store/util-linux/sbin/agetty agetty --login-program /nix/store/shadow/bin/login --autologin nixos %I --keep-baud $TERM'
	mkdir "root/$units/serial-getty@.service.d"
	ln -s "/nix/store/$over/overrides.conf" "root/$units/serial-getty@.service.d/overrides.conf"
	ln -s "/nix/store/$units" "root/$etc/etc/systemd/system"
	local net=$(h unit-network)
	put "root/$net/10-lan.link" '[Match]' 'OriginalName=en*' '' '[Link]' 'Name=lan'
	put "root/$net/20-lan.network" '[Match]' 'Name=lan' '' '[Network]' 'DHCP=yes'
	ln -s "/nix/store/$net" "root/$etc/etc/systemd/network"
	put "root/$(h sudoers)" '# Don'"'"'t edit this file.' 'root     ALL=(ALL:ALL)    SETENV: ALL' '%wheel  ALL=(ALL:ALL)    NOPASSWD:SETENV: ALL'
	ln -s "/nix/store/$(h sudoers)" "root/$etc/etc/sudoers"
	put "root/$(h users-groups.json)" '{"groups": [{"gid": 1, "members": ["nixos"], "name": "wheel"}], "users": []}'
	put "root/$(h linux-6.12.58-modules)/lib/modules/6.12.58/modules.builtin" kernel/drivers/block/loop.ko kernel/fs/isofs/isofs.ko
	program "root/$(h linux-6.12.58-modules)/lib/modules/6.12.58/kernel/drivers/net/virtio_net.ko.xz"
	mkdir -p iso/boot
	pack iso/nix-store.squashfs -comp zstd
	local shrunk
	shrunk=$(h linux-6.12.58-modules-shrunk)
	put initrd/init '#!/bin/sh'
	program "initrd/nix/store/$shrunk/lib/modules/6.12.58/kernel/fs/squashfs/squashfs.ko.xz"
	program "initrd/nix/store/$shrunk/lib/modules/6.12.58/kernel/drivers/block/virtio_blk.ko.xz"
	ramdisk iso/boot/initrd
	bzimage iso/boot/bzImage 6.12.58
	put iso/isolinux/isolinux.cfg 'DEFAULT boot' 'LABEL boot' 'LINUX /boot/bzImage' 'INITRD /boot/initrd' \
		"APPEND init=/nix/store/$sys/init root=LABEL=nixos console=ttyS0,115200n8 loglevel=4"
	iso "$name.iso" nixos
}
nixos root-nixos
nixos root-nixos-no-disko disko
nixos root-nixos-no-networkd networkd
REMAINS=yes nixos root-nixos-remains
STARTS=sshd nixos root-nixos-waits
nixos root-nixos-no-kmod kmod

# Debian live: a whole root; the live system arranges the login at boot.
clean
program root/usr/bin/sudo
program root/usr/sbin/lvm
for c in vgs lvs pvs vgcreate; do ln -s lvm root/usr/sbin/$c; done
program root/usr/bin/ip
program root/usr/lib/systemd/systemd
ln -s usr/bin root/bin
ln -s usr/sbin root/sbin
ln -s usr/lib root/lib
put root/usr/lib/systemd/system/serial-getty@.service '[Service]' "ExecStart=-/sbin/agetty -o '-p -- \\\\u' --keep-baud 115200,57600,38400,9600 - \$TERM"
put root/etc/systemd/system/provision.service '[Unit]' 'Description=Provision this machine' '' '[Service]' 'Type=oneshot' 'ExecStart=/usr/sbin/provision \' '# where to' '  --disk /dev/sda' '' '[Install]' 'WantedBy=multi-user.target'
mkdir -p root/etc/systemd/system/provision.service.d root/etc/systemd/system/multi-user.target.wants
put root/etc/systemd/system/provision.service.d/10-time.conf '[Service]' 'TimeoutStartSec=10min' 'Environment=MODE=auto "PATH=/usr/sbin:/usr/bin"'
ln -s /etc/systemd/system/provision.service root/etc/systemd/system/multi-user.target.wants/provision.service
put root/usr/sbin/provision '#!/bin/sh' 'vgs' 'vgcreate vg0 /dev/sda'
put root/etc/sudoers 'Defaults env_reset' '%sudo ALL=(ALL:ALL) ALL' '@includedir /etc/sudoers.d'
put root/etc/sudoers.d/live 'live ALL=(ALL) NOPASSWD: ALL'
put root/etc/group 'root:x:0:' 'sudo:x:27:live'
put root/usr/lib/modules/6.12.57+deb13-amd64/modules.builtin kernel/fs/isofs/isofs.ko
program root/usr/lib/modules/6.12.57+deb13-amd64/kernel/drivers/net/virtio_net.ko.xz
mkdir -p iso/live
pack iso/live/filesystem.squashfs -comp xz
put initrd/init '#!/bin/sh'
program initrd/usr/lib/modules/6.12.57+deb13-amd64/kernel/fs/squashfs/squashfs.ko.xz
ramdisk iso/live/initrd.img
bzimage iso/live/vmlinuz 6.12.57+deb13-amd64
put iso/isolinux/isolinux.cfg 'default live' 'label live' '  linux /live/vmlinuz' '  initrd /live/initrd.img' '  append boot=live components quiet'
iso root-debian.iso debian
