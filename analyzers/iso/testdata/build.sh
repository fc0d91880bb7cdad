#!/usr/bin/env bash
# Builds the small images of the tests beside itself, from nothing but this
# script, in a UTF-8 locale. Needs xorriso, genisoimage, dosfstools and mtools (Debian). The boot
# images are stubs: they hold what tells the loaders apart and start nothing. An
# image is mostly zeros, so it is kept compressed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

stub() { # FILE TEXT: 2 KiB that begin with TEXT
	mkdir -p "$(dirname "$1")"
	{ printf '%s' "$2"; head -c 2048 /dev/zero; } | head -c 2048 >"$1"
}
bios=(-b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table)
padding=(-no-pad)

# Rock Ridge: a directory of several sectors, names over one NM record, links,
# modes; ISOLINUX with a default entry that speaks.
t=rr
stub $t/isolinux/isolinux.bin "................................................................ISOLINUX 6.04 "
cat >$t/isolinux/isolinux.cfg <<'CFG'
SERIAL 0 115200
UI vesamenu.c32
DEFAULT boot
LABEL quiet
  LINUX /boot/bzImage
  APPEND root=LABEL=rr quiet
LABEL boot
  LINUX /boot/bzImage
  INITRD /boot/initrd
  APPEND root=LABEL=rr console=tty0 console=ttyS0,115200n8
CFG
mkdir -p $t/boot $t/many
echo kernel >$t/boot/bzImage
echo initrd >$t/boot/initrd
for i in $(seq 10 70); do : >"$t/many/a-name-that-no-8.3-name-holds-$i.Service"; done
long=$(printf 'n%.0s' $(seq 222))
: >"$t/many/$long"
ln -s "/$(printf 'target/%.0s' $(seq 40))end" "$t/many/link-long"
ln -s ../boot/./bzImage "$t/many/link"
ln -s / "$t/many/root"
printf '#!/bin/sh\n' >$t/many/.hidden
chmod 4755 $t/many/.hidden
xorriso -as mkisofs -quiet -r -V rr "${bios[@]}" "${padding[@]}" -o "$here/rr.iso" $t

# Joliet only: no Rock Ridge, names in UCS-2; BIOS entry that is silent.
t=joliet
stub $t/isolinux/isolinux.bin "................................................................ISOLINUX 6.04 "
printf 'DEFAULT linux\nLABEL linux\nKERNEL /Boot/Kernel-with-a-long-name\nAPPEND initrd=/Boot/none quiet\n' >$t/isolinux/isolinux.cfg
mkdir -p "$t/Boot"
echo kernel >"$t/Boot/Kernel-with-a-long-name"
echo x >"$t/Boot/Größe.txt"
genisoimage -quiet -input-charset utf-8 -J -V joliet "${bios[@]}" -no-pad -o "$here/joliet.iso" $t

# Directories deeper than ECMA-119 allows: relocated.
t=deep
mkdir -p $t/1/2/3/4/5/6/7/8/9/10/11
echo deep >$t/1/2/3/4/5/6/7/8/9/10/11/file
: >$t/1/2/3/4/5/6/7/8/file
genisoimage -quiet -R -V deep -no-pad -o "$here/deep.iso" $t 2>/dev/null

# BIOS and EFI: ISOLINUX speaks, the GRUB of the EFI boot image does not.
t=efi
stub $t/isolinux/isolinux.bin "................................................................ISOLINUX 6.04 "
printf 'DEFAULT linux\nLABEL linux\nKERNEL /bzImage\nAPPEND console=ttyS0,115200 quiet\n' >$t/isolinux/isolinux.cfg
echo kernel >$t/bzImage
cat >grub.cfg <<'CFG'
set timeout=5
if [ "$iso_path" ]; then
  set isoboot="findiso=${iso_path}"
fi
menuentry 'Installer' --class installer {
  linux /bzImage root=LABEL=efi quiet
}
submenu 'More' {
  menuentry 'Installer (serial console=ttyS0)' { linux /bzImage ${isoboot} console=ttyS0 }
}
CFG
mkdir -p $t/boot
truncate -s 40k $t/boot/efi.img
mkfs.vfat -F 12 -s 1 -r 16 -i 0 --invariant $t/boot/efi.img >/dev/null
mmd -i $t/boot/efi.img ::/EFI ::/EFI/BOOT
mcopy -i $t/boot/efi.img grub.cfg ::/EFI/BOOT/grub.cfg
xorriso -as mkisofs -quiet -r -V efi "${bios[@]}" -eltorito-alt-boot -e boot/efi.img -no-emul-boot "${padding[@]}" -o "$here/efi.iso" $t

# EFI only, systemd-boot.
t=sdboot
mkdir -p $t
truncate -s 40k $t/efi.img
mkfs.vfat -F 12 -s 1 -r 32 -i 0 --invariant $t/efi.img >/dev/null
mmd -i $t/efi.img ::/loader ::/loader/entries ::/EFI
printf 'timeout 5\ndefault installer-*.conf\n' >loader.conf
printf 'title Installer\nlinux /EFI/kernel\ninitrd /EFI/initrd\noptions root=LABEL=x\noptions console=ttyS0,9600\n' >installer-1.conf
printf 'title Memory test\nefi /EFI/memtest\n' >memtest.conf
echo kernel >kernel
mcopy -i $t/efi.img loader.conf ::/loader/
mcopy -i $t/efi.img installer-1.conf memtest.conf ::/loader/entries/
mcopy -i $t/efi.img kernel ::/EFI/
xorriso -as mkisofs -quiet -r -V sdboot -e efi.img -no-emul-boot "${padding[@]}" -o "$here/sdboot.iso" $t

# Hybrid images, by the ways of their makers. The code of the MBR is a stub.
head -c 432 /dev/zero >mbr
t=hybrid
stub $t/isolinux/isolinux.bin "$(printf '.%.0s' $(seq 64))"$'\xfb\xc0\x78\x70'"ISOLINUX 6.04 "
printf 'DEFAULT linux\nLABEL linux\nKERNEL /bzImage\nAPPEND quiet\n' >$t/isolinux/isolinux.cfg
echo kernel >$t/bzImage
mkdir -p $t/boot
truncate -s 40k esp.img
mkfs.vfat -F 12 -s 1 -r 16 -i 0 --invariant esp.img >/dev/null
mmd -i esp.img ::/EFI ::/EFI/BOOT
printf 'menuentry Disk { linux /bzImage console=ttyS0 }\n' >grub.cfg
mcopy -i esp.img grub.cfg ::/EFI/BOOT/grub.cfg

# MBR and GPT both describe the image and its EFI boot image (Debian, NixOS).
cp esp.img $t/boot/efi.img
xorriso -as mkisofs -quiet -r -V hybrid -isohybrid-mbr mbr -partition_offset 0 "${bios[@]}" \
	-eltorito-alt-boot -e boot/efi.img -no-emul-boot -isohybrid-gpt-basdat "${padding[@]}" -o "$here/hybrid.iso" $t
rm $t/boot/efi.img

# The EFI system partition follows the volume, El Torito knows nothing of it.
xorriso -as mkisofs -quiet -r -V usb -isohybrid-mbr mbr "${bios[@]}" -append_partition 2 0xef esp.img \
	"${padding[@]}" -o "$here/usb.iso" $t
# The same with a GPT behind a protective MBR (grub-mkrescue, Fedora).
xorriso -as mkisofs -quiet -r -V gpt --grub2-mbr mbr -partition_offset 16 --protective-msdos-label \
	-append_partition 2 0xef esp.img -appended_part_as_gpt "${bios[@]}" "${padding[@]}" -o "$here/gpt.iso" $t

# FAT volumes of the three kinds: a directory of several clusters, long names,
# names of lower case only, files in pieces, deleted entries, an empty file.
for kind in "12 400" "16 2200" "32 34000"; do
	set -- $kind
	v=fat$1.img
	truncate -s "$2k" $v
	mkfs.vfat -F "$1" -s 1 -i 0 --invariant $v >/dev/null
	mmd -i $v ::/EFI ::/EFI/BOOT ::/many
	for i in $(seq 10 40); do
		printf "$i%.0s" $(seq 350) >part
		mcopy -i $v part "::/many/a name that no 8.3 name holds $i.conf"
		mcopy -i $v part ::/MANY/p$i
	done
	mdel -i $v "::/many/p*"
	if [ "$1" = 32 ]; then # forget where free clusters begin, else there are no pieces
		printf '\xff\xff\xff\xff' | dd of=$v bs=1 seek=1004 conv=notrunc status=none
	fi
	seq 1 4000 >pieces
	mcopy -i $v pieces ::/EFI/BOOT/pieces.txt
	mcopy -i $v grub.cfg ::/EFI/BOOT/GRUB.CFG
	: >empty
	mcopy -i $v empty "::/Größe – 100 %.txt"
	mcopy -i $v grub.cfg "::/$(printf 'n%.0s' $(seq 250)).cfg"
	mattrib -i $v +r ::/EFI/BOOT/GRUB.CFG
	gzip -9n <$v >"$here/$v.gz"
done

gzip -9nf "$here"/*.iso
