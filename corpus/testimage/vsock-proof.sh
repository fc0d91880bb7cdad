#!/usr/bin/env bash
# Proves `forensics capture --vsock` with a journald that forwards, on a host
# that has no /dev/vhost-vsock, by a machine within a machine.
#
#   vsock-proof.sh FORENSICS OUTPUT
#
# The outer machine is Debian with vhost_vsock, under software emulation of a CPU
# with SVM: so capture has KVM in it. In it capture boots the test image, made
# from trixie (systemd 257), three times:
#
#   panic     no console on the serial port, so that nobody can log in, and the
#             kernel panics after a last word
#   killed    QEMU is killed while the guest counts
#   healthy   with a shell: the forwarded journal is the one that journalctl exports
#
# FORENSICS is a static binary; OUTPUT gets a bundle of each boot, and the text
# of what was found is printed. Needs what build.sh needs, 8 GB of memory and 8
# GB below $TESTIMAGE_CACHE; about 10 minutes to build, and 15 to run.
# VSOCK_PROOF names some of the boots; the others' bundles must be there.
set -euo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -eq 2 ] || { echo "usage: vsock-proof.sh FORENSICS OUTPUT" >&2; exit 2; }
forensics=$(realpath "$1") out=$2
mirror=${TESTIMAGE_MIRROR:-http://deb.debian.org/debian}
cache=${TESTIMAGE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/forensics-testimage}/vsock
mkdir -p "$cache" "$out"
out=$(realpath "$out")
say() { echo "vsock-proof: $*" >&2; }

# Inner image: trixie ---------------------------------------------------------
export TESTIMAGE_SUITE=trixie TESTIMAGE_CACHE=$cache
"$here/build.sh" "$out/inner.iso"
# Its kernel and initrd come by fw_cfg: a boot loader reads them for minutes.
rm -rf "${out:?}/boot"
xorriso -osirrox on -indev "$out/inner.iso" -extract /isolinux/isolinux.cfg "$out/menu" -extract /boot "$out/boot" 2>/dev/null
mv "$(find "$out/boot" -name bzImage)" "$out/kernel"
mv "$(find "$out/boot" -name initrd -type f)" "$out/initrd"
sed -n '0,/^APPEND /s/^APPEND //p' "$out/menu" | tr -d '\r' >"$out/append"
rm -rf "${out:?}/boot" "$out/menu"

# Outer machine ---------------------------------------------------------------
outer=$cache/outer
if [ ! -d "$outer" ]; then
    say "debootstrap of the outer machine"
    rm -rf "$outer.part"
    debootstrap --variant=minbase --include=qemu-system-x86,seabios,kmod,iproute2,procps,linux-image-amd64,zstd \
        bookworm "$outer.part" "$mirror" >"$cache/outer.log" 2>&1 || { tail -n 20 "$cache/outer.log" >&2; exit 1; }
    rm -f "$outer.part"/var/cache/apt/archives/*.deb
    mv "$outer.part" "$outer"
fi
cat >"$outer/proof" <<'INIT'
#!/bin/bash
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for d in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$d"; done
ip link set lo up
modprobe -a 9pnet_virtio 9p kvm_amd vhost_vsock
mkdir /run/share
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /run/share && bash /run/share/job >>/run/share/job.log 2>&1
sync
echo o >/proc/sysrq-trigger
sleep 60
INIT
chmod +x "$outer/proof"
disk=$out/outer.img
truncate -s 4G "$disk"
mke2fs -q -F -t ext4 -d "$outer" "$disk"
cp "$forensics" "$out/forensics"

# What runs in it -------------------------------------------------------------
cat >"$out/job" <<'JOB'
cd /run/share || exit
# credential NAME: of the guest's systemd, from standard input
credential() { printf -- '-smbios\ntype=11,value=io.systemd.credential.binary:%s=%s\n' "$1" "$(base64 -w0)"; }
# What takes minutes on a machine in a machine is left out, or waited for.
slow() {
    for u in ldconfig systemd-journal-catalog-update systemd-hwdb-update; do
        printf '[Unit]\nConditionPathExists=/nonexistent\n' | credential "systemd.unit-dropin.$u.service"
    done
    printf '[Unit]\nJobTimeoutSec=30min\n' | credential systemd.unit-dropin.dev-ttyS0.device
}
boot() { # NAME COMMAND-LINE: capture, with arguments for QEMU from standard input
    mapfile -t args
    ./forensics capture --iso /tmp/inner.iso --accel kvm --vsock on --only vm --cpus 1 --memory 1024 \
        --login-timeout 25m --timeout 25m -o "$1" -- -kernel /tmp/kernel -initrd /tmp/initrd -append "$2 panic=5" "${args[@]}"
    echo "$1: capture ended with $?"
}
cp inner.iso kernel initrd /tmp/
append=$(cat append)

# journalctl --sync: what journald has not taken in yet dies with the guest.
panic() {
    {
        slow
        credential systemd.extra-unit.last-words.service <<'U'
[Unit]
DefaultDependencies=no
After=systemd-journald.service systemd-journal-flush.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'for i in $(seq 300); do echo "last words $i"; done; journalctl --sync; echo c >/proc/sysrq-trigger'
U
        printf '[Unit]\nWants=last-words.service\n' | credential systemd.unit-dropin.sysinit.target
    } | boot panic "$(sed 's/console=[^ ]*//g' append)"
}
killed() {
    {
        until grep -aq 'count 200' killed/serial.log 2>/dev/null; do sleep 1; done
        kill -9 "$(pidof qemu-system-x86_64)"
    } &
    {
        slow
        printf '[Unit]\nConditionPathExists=/nonexistent\n' | credential systemd.unit-dropin.serial-getty@ttyS0.service
        credential systemd.extra-unit.counter.service <<'U'
[Service]
ExecStart=/bin/sh -c 'i=0; while :; do i=$((i+1)); echo "count $i"; echo "count $i" >/dev/ttyS0; done'
U
        printf '[Unit]\nWants=counter.service\n' | credential systemd.unit-dropin.multi-user.target
    } | boot killed "$append"
    kill %1 2>/dev/null
}
healthy() { slow | boot healthy "$append"; }
"$(cat name)"
JOB

run() {
    rm -rf "${out:?}/$1"
    echo "$1" >"$out/name"
    timeout 45m qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -cpu qemu64,+svm,+npt -m 6144 -smp 2 -display none -monitor none \
        -serial "file:$out/outer.log" -no-reboot -kernel "$outer"/vmlinuz -initrd "$outer"/initrd.img \
        -append "root=/dev/vda rw console=ttyS0 init=/proof mitigations=off panic=-1" \
        -drive "file=$disk,if=virtio,format=raw,snapshot=on" -nic none -device virtio-rng-pci \
        -fsdev "local,id=share,path=$out,security_model=none" -device virtio-9p-pci,fsdev=share,mount_tag=share || true
}
: >"$out/job.log"
for name in ${VSOCK_PROOF:-panic killed healthy}; do
    for try in 1 2 3; do # KVM on an emulated CPU hangs now and then
        say "$name, try $try; $out/job.log says what it does"
        run "$name"
        ! grep -q "^$name: capture ended" "$out/job.log" || break
    done
done
rm -f "$disk" "$out"/{inner.iso,kernel,initrd,append,name}

# What was found --------------------------------------------------------------
cat "$out/job.log" >&2
python3 - "$out" <<'PY'
import re, sys

def entries(path):
    """The entries of an export stream, less what only a journal file has."""
    data, at, entry = open(path, "rb").read(), 0, {}
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        line, at = data[at:end], end + 1
        name, equals, value = line.partition(b"=")
        if not line:
            if entry:
                yield entry
            entry = {}
            continue
        if not equals:
            size = int.from_bytes(data[at:at + 8], "little")
            value, at = data[at + 8:at + 8 + size], at + 9 + size
        entry.setdefault(name, []).append(value)
    if entry:
        yield entry

def key(entry):
    return tuple(sorted((k, tuple(v)) for k, v in entry.items() if k not in (b"__CURSOR", b"__SEQNUM", b"__SEQNUM_ID")))

def forwarded(name):
    path = f"{sys.argv[1]}/{name}/journal.forwarded.export"
    return [e for e in entries(path) if not e.get(b"__CURSOR", [b""])[0].startswith(b"forensics;")]

def last(pattern, name):
    found = [m for e in forwarded(name) for m in re.findall(pattern, b" ".join(e.get(b"MESSAGE", [])))]
    return found[-1] if found else None

failed = []
def hold(what, ok):
    print(("ok    " if ok else "FAILS ") + what)
    ok or failed.append(what)

got, want = [key(e) for e in forwarded("healthy")], [key(e) for e in entries(f"{sys.argv[1]}/healthy/journal.export")]
hold(f"healthy: the first {len(want)} of {len(got)} forwarded entries are those of journalctl, field by field", len(want) > 500 and got[:len(want)] == want)
hold("panic: nobody could log in, and the last word before the panic is there", last(rb"^last words 300$", "panic") is not None)
said = int(re.findall(rb"count (\d+)", open(f"{sys.argv[1]}/killed/serial.log", "rb").read())[-1])
kept = int(last(rb"^count (\d+)$", "killed") or 0)
hold(f"killed: counted to {said} on the serial port, to {kept} in the journal", kept > 0)
sys.exit(1 if failed else 0)
PY
