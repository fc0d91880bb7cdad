#!/usr/bin/env bash
# Builds the bootable test image from Debian packages.
#
#   build.sh [--fault NAME] OUTPUT.iso
#
# The first call takes about three minutes, later ones a second: the slow
# parts are kept in $TESTIMAGE_CACHE and made again when their inputs change.
# --fault puts the tree faults/NAME into effect in the image itself, so that
# nothing in a recording names it. Every image also carries all the faults;
# `testimage.fault=NAME` on the kernel command line or
# `-fw_cfg name=opt/testimage/fault,string=NAME` chooses one at boot.
# Runs as root on Debian 12 (debootstrap, chroot, package installation).
set -euo pipefail
# Answers of apt and dpkg are read here; a plain `su` leaves /usr/sbin out.
export LC_ALL=C DEBIAN_FRONTEND=noninteractive PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TESTIMAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/forensics-testimage}
mirror=${TESTIMAGE_MIRROR:-http://deb.debian.org/debian}
suite=${TESTIMAGE_SUITE:-bookworm} # of the root: trixie has systemd 257; the kernel is the host's
release=25.11
label=nixos-minimal-$release-x86_64
fault='' out=''
while [ $# -gt 0 ]; do
    case $1 in
        --fault) fault=$2; shift 2 ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        -*) echo "build.sh: unknown option $1" >&2; exit 2 ;;
        *) out=$1; shift ;;
    esac
done
[ -n "$out" ] || { echo "usage: build.sh [--fault NAME] OUTPUT.iso" >&2; exit 2; }
if [ -n "$fault" ] && [ ! -d "$here/faults/$fault" ]; then
    echo "build.sh: no fault named $fault; there are:" "$(ls "$here/faults")" >&2
    exit 2
fi
say() { echo "testimage: $*" >&2; }

# Host packages ------------------------------------------------------------
host=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}-$(dpkg --print-architecture 2>/dev/null)") || host=
if [ "$host" != bookworm-amd64 ]; then
    echo "build.sh: the image is made with the packages of Debian 12 (bookworm) on amd64; run this in such a machine or container" >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "build.sh: must run as root: it installs packages and makes a root file system in a chroot" >&2
    exit 1
fi
mkdir -p "$cache"
missing=()
for p in debootstrap squashfs-tools xorriso isolinux syslinux-common grub-common grub-efi-amd64-bin mtools cpio kmod zstd busybox-static qemu-system-x86 qemu-utils ovmf python3 python3-pexpect; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "installing ${missing[*]}"
    { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >"$cache/apt.log" 2>&1 || {
        tail -n 20 "$cache/apt.log" >&2
        echo "build.sh: apt-get did not install what is needed; its output is in $cache/apt.log" >&2
        exit 1
    }
fi
exec 9>"$cache/lock"
flock 9

# Debian root --------------------------------------------------------------
packages=systemd,systemd-sysv,udev,dbus,libpam-systemd,libnss-systemd,lvm2,mdadm,iproute2,sudo,gdisk,parted,e2fsprogs,dosfstools,kmod,util-linux,procps,python3,openssh-server,less,zstd
pristine=$cache/rootfs-pristine
[ "$suite" = bookworm ] || pristine=$cache/rootfs-pristine-$suite
if [ ! -d "$pristine" ]; then
    say "debootstrap $suite"
    # A build that was killed may have left mounts in there.
    awk -v d="$pristine.part/" 'index($2, d) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount
    rm -rf "$pristine.part"
    debootstrap --variant=minbase --include="$packages" "$suite" "$pristine.part" "$mirror" >"$cache/debootstrap.log" 2>&1 || {
        tail -n 20 "$cache/debootstrap.log" >&2
        echo "build.sh: debootstrap from $mirror did not work (TESTIMAGE_MIRROR names another mirror); its log is $cache/debootstrap.log" >&2
        exit 1
    }
    mv "$pristine.part" "$pristine"
fi

# Kernel and its modules ---------------------------------------------------
keep='/kernel/(drivers/(block|ata|scsi|virtio|md|cdrom|firmware|char|acpi|input|i2c|hid|parport)|drivers/net/(virtio_net|net_failover|ethernet/intel/e1000/)|fs/(ext4|jbd2|isofs|squashfs|overlayfs|fat|nls|fuse|autofs|efivarfs|mbcache|configfs)|block|lib|crypto|arch|virt|net/(core|vmw_vsock))'
kernel=$cache/kernel-$(echo "$keep" | sha256sum | cut -c1-8)
if [ ! -d "$kernel" ]; then
    say "kernel package"
    rm -rf "$kernel.part" && mkdir -p "$kernel.part"
    apt-get update -qq >&2
    image=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*-amd64\)$/\1/p' | head -n 1)
    (cd "$kernel.part" && apt-get download -qq -o APT::Sandbox::User=root "$image" >&2 && dpkg -x linux-image-*.deb . && rm linux-image-*.deb)
    version=$(ls "$kernel.part/lib/modules")
    tree=$kernel.part/lib/modules/$version/kernel
    find "$tree" -name '*.ko*' | grep -Ev "$keep" | xargs rm -f
    depmod -b "$kernel.part" "$version"
    mv "$kernel.part" "$kernel"
fi
version=$(ls "$kernel/lib/modules")

# Store paths: 32 letters of the nix alphabet from what goes in -------------
name_hash() {
    python3 -c 'import hashlib,sys
n=int.from_bytes(hashlib.sha256(sys.stdin.buffer.read()).digest()[:20],"big")
print("".join("0123456789abcdfghijklmnpqrsvwxyz"[n>>5*i&31] for i in range(32)))'
}
sources_hash() { # of files below the given directories
    (cd "$here" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | name_hash
}
deb_version() { dpkg-query --admindir="$pristine/var/lib/dpkg" -W -f '${Version}' "$1" | sed 's/^[0-9]*://; s/[-+].*//'; }

declare -A path
store_debs=(bash coreutils util-linux lvm2 kmod iproute2 systemd gdisk e2fsprogs openssh-server sudo udev procps)
for p in "${store_debs[@]}"; do
    v=$(deb_version "$p")
    path[$p]=/nix/store/$(echo "$p $v $suite" | name_hash)-$p-$v
done
v=$(deb_version python3)
path[python3]=/nix/store/$(echo "python3 $v $suite" | name_hash)-python3-$v
path[pre-nixos]=/nix/store/$(sources_hash store/pre-nixos)-pre-nixos-0.3.0
path[disko]=/nix/store/$(sources_hash store/disko)-disko-1.11.0
content=$( { sources_hash rootfs store stage1; cat "$here/build.sh"; echo "$version $suite"; } | name_hash)
nixos_version=$release.$(date -u -d "@$(stat -c %Y "$pristine")" +%Y%m%d).$(echo "$content" | name_hash | tr -dc 0-9a-f | cut -c1-7)
path[system-path]=/nix/store/$(echo "path $content" | name_hash)-system-path
path[system]=/nix/store/$(echo "system $content" | name_hash)-nixos-system-nixos-$nixos_version
kernel_name=nix/store/$(echo "linux $version" | name_hash)-linux-${version%%-*}
initrd_name=nix/store/$(echo "initrd $content" | name_hash)-initrd-linux-${version%%-*}
unit_path=
for p in python3 disko bash coreutils util-linux lvm2 kmod iproute2 systemd udev gdisk e2fsprogs; do unit_path+=${unit_path:+:}${path[$p]}/bin; done

fill() { # FILE...: the placeholders
    local script=() p
    for p in "${!path[@]}"; do script+=(-e "s|@$p@|${path[$p]}|g"); done
    script+=(-e "s|@SYSTEM@|${path[system]}|g" -e "s|@VERSION@|$nixos_version|g" -e "s|@RELEASE@|$release|g" -e "s|@LABEL@|$label|g"
        -e "s|@KERNEL@|/$kernel_name|g" -e "s|@INITRD@|/$initrd_name|g"
        -e "s|@unit-path@|$unit_path|g" -e "s|@unit-path-without-kmod@|${unit_path/"${path[kmod]}/bin:"/}|g")
    sed -i "${script[@]}" "$@"
}
copy_tree() { # FROM TO: a tree of ours, placeholders in names and texts filled
    local f to p
    while IFS= read -r -d '' f; do
        to=${f#./}
        for p in "${!path[@]}"; do to=${to//"@$p@"/${path[$p]#/}}; done
        mkdir -p "$2/$(dirname "$to")"
        cp "$1/$f" "$2/$to"
        fill "$2/$to"
    done < <(cd "$1" && find . -type f -print0)
}

# Root in a squashfs -------------------------------------------------------
squash=$cache/nix-store-$content.squashfs
if [ ! -e "$squash" ]; then
    say "root file system $nixos_version"
    root=$cache/rootfs
    rm -rf "$root" && cp -a "$pristine" "$root"
    rm -rf "$root"/usr/share/{doc,man,info,locale,lintian,bug,perl,perl5} "$root"/usr/lib/x86_64-linux-gnu/perl* "$root"/var/{lib/apt,cache/apt,log}/* \
        "$root"/etc/ssh/ssh_host_* "$root"/etc/motd "$root"/etc/update-motd.d "$root"/etc/profile.d "$root"/etc/cron* "${root:?}"/boot/* "$root"/etc/os-release "$root"/etc/systemd/system/sshd.service "$root"/usr/lib/systemd/system/ssh{.service,.socket,@.service} "$root"/etc/systemd/system/multi-user.target.wants/ssh.service "$root"/etc/init.d/ssh "$root"/etc/rc?.d/*ssh
    mkdir -p "$root/lib/modules"
    cp -a "$kernel/lib/modules/$version" "$root/lib/modules/"
    copy_tree "$here/rootfs" "$root"
    chmod 440 "$root/etc/sudoers.d/wheel"
    for p in "${store_debs[@]}"; do # links to the commands of each package
        mkdir -p "$root${path[$p]}/bin"
        while read -r f; do
            ln -sf "$f" "$root${path[$p]}/bin/"
        done < <(sed -nE 's,^((/usr)?/s?bin/[^/]+)$,\1,p' "$root"/var/lib/dpkg/info/"$p".list "$root"/var/lib/dpkg/info/"$p":amd64.list 2>/dev/null)
    done
    mkdir -p "$root${path[python3]}/bin"
    ln -s /usr/bin/python3 "$root${path[python3]}/bin/python3"
    copy_tree "$here/store/pre-nixos" "$root${path[pre-nixos]}"
    copy_tree "$here/store/disko" "$root${path[disko]}"
    chmod +x "$root${path[pre-nixos]}"/bin/* "$root${path[disko]}"/bin/*
    sw=$root${path[system-path]}/bin
    mkdir -p "$sw"
    for f in "$root"/usr/bin/* "$root"/usr/sbin/*; do ln -sf "/${f#"$root"/}" "$sw/"; done
    for p in "${store_debs[@]}" pre-nixos disko; do
        for f in "$root${path[$p]}"/bin/*; do ln -sf "${f#"$root"}" "$sw/"; done
    done
    copy_tree "$here/store/system" "$root${path[system]}"
    chmod +x "$root${path[system]}/init"
    ln -s "${path[system-path]}" "$root${path[system]}/sw"
    echo "$nixos_version" >"$root${path[system]}/nixos-version"
    echo nixos >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 nixos\n' >"$root/etc/hosts"
    : >"$root/etc/machine-id"
    : >"$root/etc/fstab"
    echo UTC >"$root/etc/timezone"
    chroot "$root" groupadd -f wheel
    chroot "$root" useradd -m -u 1000 -G wheel,systemd-journal -s /bin/bash nixos
    chroot "$root" passwd -d nixos >/dev/null
    rm -f "$root"/home/nixos/.bashrc "$root"/home/nixos/.profile "$root"/home/nixos/.bash_logout "$root"/root/.bashrc "$root"/root/.profile
    sed -i '/pam_motd\|pam_lastlog\|pam_mail/d' "$root/etc/pam.d/login" "$root/etc/pam.d/sshd"
    SYSTEMD_OFFLINE=1 chroot "$root" systemctl -q enable systemd-networkd.service pre-nixos.service pre-nixos-lan-ip.service
    SYSTEMD_OFFLINE=1 chroot "$root" systemctl -q disable ssh.service systemd-networkd-wait-online.service 2>/dev/null || true
    SYSTEMD_OFFLINE=1 chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer mdcheck_start.timer mdcheck_continue.timer mdmonitor-oneshot.timer systemd-firstboot.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount 2>/dev/null
    rm -f "$cache"/nix-store-*.squashfs
    mksquashfs "$root" "$squash.part" -comp zstd -Xcompression-level 6 -noappend -quiet -no-progress >&2
    mv "$squash.part" "$squash"
fi

# Initrd: busybox, udev, lvm, a few modules --------------------------------
initrd=$cache/initrd-$content
if [ ! -e "$initrd" ]; then
    say "initrd"
    tree=$cache/initrd-tree
    rm -rf "$tree" && mkdir -p "$tree"/{bin,etc,lib/udev/rules.d,lib64,usr/lib}
    cp /bin/busybox "$tree/bin/"
    for a in sh mount umount mkdir cat echo sleep ls switch_root printf mountpoint dmesg; do ln -s busybox "$tree/bin/$a"; done
    cp "$here/stage1/init" "$tree/init"
    cp "$here/stage1/modules" "$tree/etc/modules"
    add() { # BINARY NAME, with its libraries
        cp -L "$pristine/$1" "$tree/bin/$2"
        # shellcheck disable=SC2013
        for l in $(chroot "$pristine" ldd "/$1" | grep -o '/[^ ]*\.so[^ ]*'); do cp -nL "$pristine/$l" "$tree/lib/"; done
    }
    add usr/bin/udevadm udevadm
    add usr/bin/kmod kmod
    add usr/sbin/blkid blkid
    add usr/sbin/lvm lvm
    ln -s udevadm "$tree/bin/udevd"
    ln -s kmod "$tree/bin/modprobe"
    ln -s kmod "$tree/bin/insmod"
    cp -L "$pristine/lib64/ld-linux-x86-64.so.2" "$tree/lib64/"
    ln -s ../lib "$tree/usr/lib/x86_64-linux-gnu" && ln -s ../../lib/udev "$tree/usr/lib/udev"
    cp "$pristine"/lib/udev/{ata_id,scsi_id,cdrom_id} "$tree/lib/udev/"
    for r in 50-udev-default 60-cdrom_id 60-persistent-storage 80-drivers; do cp "$pristine/lib/udev/rules.d/$r.rules" "$tree/lib/udev/rules.d/"; done
    printf 'root:x:0:0::/:/bin/sh\n' >"$tree/etc/passwd"
    (cd "$pristine" && cat etc/group) >"$tree/etc/group"
    while read -r m; do
        modprobe -d "$kernel" -S "$version" --show-depends "$m" | sed -n 's/^insmod //p'
    done <"$here/stage1/modules" | sort -u | while read -r m; do
        m=${m#"$kernel"}
        mkdir -p "$tree/$(dirname "$m")"
        cp "$kernel/$m" "$tree/$m"
    done
    cp "$kernel/lib/modules/$version"/modules.{order,builtin,builtin.modinfo,softdep} "$tree/lib/modules/$version/"
    depmod -b "$tree" "$version"
    find "$cache" -maxdepth 1 -type f -name 'initrd-*' -delete
    (cd "$tree" && find . -print0 | cpio --null -o -H newc -R 0:0 --quiet | zstd -q -10 -T0) >"$initrd.part"
    mv "$initrd.part" "$initrd"
fi

# Medium -------------------------------------------------------------------
work=$(mktemp -d "$cache/iso.XXXXXX")
trap 'rm -rf "$work" "$out.part"' EXIT
mkdir -p "$work/iso/isolinux" "$work/iso/EFI/BOOT" "$work/iso/boot/$kernel_name" "$work/iso/boot/$initrd_name" "$work/iso/faults"
cp /usr/lib/ISOLINUX/isolinux.bin "$work/iso/isolinux/"
cp /usr/lib/syslinux/modules/bios/{ldlinux,libcom32,libutil,vesamenu}.c32 "$work/iso/isolinux/"
cp "$here/isolinux/isolinux.cfg" "$work/iso/isolinux/isolinux.cfg"
cp "$here/grub/grub.cfg" "$work/iso/EFI/BOOT/grub.cfg"
fill "$work/iso/isolinux/isolinux.cfg" "$work/iso/EFI/BOOT/grub.cfg"
cp "$here/grub/early.cfg" "$work/early.cfg"
fill "$work/early.cfg"
grub-mkimage -O x86_64-efi -o "$work/bootx64.efi" -p /EFI/BOOT -c "$work/early.cfg" \
    normal configfile search search_label iso9660 fat part_gpt part_msdos linux efifwsetup echo
cp "$work/bootx64.efi" "$work/iso/EFI/BOOT/bootx64.efi"
esp=$work/iso/boot/efi.img
truncate -s 2880K "$esp"
mformat -i "$esp" -f 2880 -N 0 ::
mmd -i "$esp" ::/EFI ::/EFI/BOOT
mcopy -i "$esp" "$work/bootx64.efi" ::/EFI/BOOT/BOOTX64.EFI
ln "$kernel/boot/vmlinuz-$version" "$work/iso/boot/$kernel_name/bzImage" 2>/dev/null || cp "$kernel/boot/vmlinuz-$version" "$work/iso/boot/$kernel_name/bzImage"
ln "$initrd" "$work/iso/boot/$initrd_name/initrd" 2>/dev/null || cp "$initrd" "$work/iso/boot/$initrd_name/initrd"
ln "$squash" "$work/iso/nix-store.squashfs" 2>/dev/null || cp "$squash" "$work/iso/nix-store.squashfs"
echo "$nixos_version" >"$work/iso/version.txt"
pack() { # FAULT FILE: its tree and its list of removals; FAULT may be empty
    rm -rf "$work/pack" && mkdir -p "$work/pack/etc"
    if [ -n "$1" ]; then
        copy_tree "$here/faults/$1" "$work/pack"
        rm -f "$work/pack/menu.sed"
        [ ! -e "$work/pack/remove" ] || mv "$work/pack/remove" "$work/pack/etc/system-config.remove"
    fi
    tar -czf "$2" --owner=0 --group=0 -C "$work/pack" .
}
for f in "$here"/faults/*/; do pack "$(basename "$f")" "$work/iso/faults/$(basename "$f").tar.gz"; done
pack "$fault" "$work/iso/system-config.tar.gz"
if [ -n "$fault" ] && [ -e "$here/faults/$fault/menu.sed" ]; then
    sed -i -f "$here/faults/$fault/menu.sed" "$work/iso/isolinux/isolinux.cfg" "$work/iso/EFI/BOOT/grub.cfg"
fi
mkdir -p "$(dirname "$out")"
xorriso -as mkisofs -quiet -iso-level 3 -r -J -joliet-long -V "$label" \
    -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \
    -eltorito-alt-boot -e boot/efi.img -no-emul-boot \
    -o "$out.part" "$work/iso" 2>"$work/xorriso.log" || { cat "$work/xorriso.log" >&2; exit 1; }
mv "$out.part" "$out"
say "wrote $out ($(stat -c %s "$out" | numfmt --to=iec), $nixos_version${fault:+, with fault $fault})"
