#!/usr/bin/env bash
# Builds the small images of the tests beside itself, and what is in them as
# find, stat and sha256sum say it of the trees that were packed. Needs root for
# the device nodes, cpio, gzip, bzip2, xz, lz4 and zstd (Debian).
#
# A line of NAME.want is one of
#
#	segment START END COMPRESSION ENTRIES
#	entry MODE UID GID MTIME RDEV SIZE PATH [-> LINK | SHA256]
#
# with the mode and the numbers of a device in hexadecimal, and the first 16
# digits of the hash.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 022

pack() { # TREE [FORMAT]: its archive
	(cd "$1" && find . -mindepth 1 | sort | cpio -o -H "${2-newc}" --reproducible --quiet)
}

pad() { # FILE SIZE: NULs up to a multiple of SIZE
	truncate -s %"$2" "$1"
}

list() { # TREE
	(cd "$1" && find . -mindepth 1 -printf '%P\n' | sort | while read -r p; do
		size=$(stat -c %s "$p") more=
		if [ -L "$p" ]; then more=" -> $(readlink "$p")" size=0
		elif [ -d "$p" ]; then size=0
		elif [ -f "$p" ]; then more=" $(sha256sum <"$p" | head -c 16)"; fi
		echo "entry $(stat -c '%f %u %g %Y %t:%T' "$p") $size $p$more"
	done)
}

start() { # NAME: a new image
	name=$1
	: >"$here/$name.img"
	: >"$here/$name.want"
}

add() { # FILE COMPRESSION ENTRIES: a segment
	local at
	at=$(stat -c %s "$here/$name.img")
	cat "$1" >>"$here/$name.img"
	echo "segment $at $(stat -c %s "$here/$name.img") $2 $3" >>"$here/$name.want"
}

nuls() { # COUNT
	head -c "$1" /dev/zero >>"$here/$name.img"
}

holds() { # TREE
	list "$1" >>"$here/$name.want"
}

# What an initrd has: directories, scripts, links, devices, names of one inode.
mkdir -p base/bin base/dev base/etc/conf.d base/usr/lib
seq 1 400 >base/bin/busybox
chmod 4755 base/bin/busybox
ln base/bin/busybox base/bin/sh
ln base/bin/busybox base/zz-last-name
printf '#!/bin/sh\nexec /bin/sh\n' >base/init
chmod 755 base/init
: >base/etc/empty
printf 'a=1\n' >base/etc/conf.d/odd
chown 1000:100 base/etc/conf.d/odd
ln -s usr/lib base/lib
ln -s /bin/sh base/usr/lib/absolute
ln -s nowhere base/dangling
mknod base/dev/console c 5 1
mknod base/dev/big b 259 70000
mkfifo base/dev/pipe
mkdir base/tmp
chmod 1777 base/tmp
find base -exec touch -h -d @1700000000 {} +
pack base >base.cpio
n=$(find base -mindepth 1 | wc -l)

# Early microcode.
mkdir -p early/kernel/x86/microcode
head -c 3000 /dev/zero | tr '\0' 'u' >early/kernel/x86/microcode/GenuineIntel.bin
find early -exec touch -h -d @0 {} +
pack early >early.cpio
cp -a early both
cp -a base/. both/

# Levels are those with small windows, which tests that read an image a thousand
# times would have to clear each time.
gzip -9n <base.cpio >base.gzip
bzip2 -9 <base.cpio >base.bzip2
xz -0 -C crc32 <base.cpio >base.xz
xz -C sha256 --x86 --lzma2=dict=64KiB --block-size=1000 <base.cpio >base.xz-blocks
lzma -0 <base.cpio >base.lzma
lz4 -q -l <base.cpio >base.lz4
lz4 -q -9 -BX -BD -B4 <base.cpio >base.lz4frame
zstd -q -19 -c base.cpio >base.zstd

start plain
cp base.cpio base.plain
add <(head -c $((124 + $(grep -abo TRAILER base.cpio | cut -d: -f1) - 110)) base.cpio) none "$n"
nuls $(($(stat -c %s base.cpio) - $(stat -c %s "$here/plain.img")))
holds base

one() { # NAME FILE COMPRESSION: alone, and behind early microcode
	start "$1"
	add "$2" "$3" "$n"
	holds base
	start "early-$1"
	add <(head -c $((124 + $(grep -abo TRAILER early.cpio | cut -d: -f1) - 110)) early.cpio) none 4
	nuls $((4096 - $(stat -c %s "$here/$name.img")))
	add "$2" "$3" "$n"
	nuls 7
	holds both
}
one gzip base.gzip gzip
one bzip2 base.bzip2 bzip2
one xz base.xz xz
one xz-blocks base.xz-blocks xz
one lzma base.lzma lzma
one lz4 base.lz4 lz4
one lz4-frame base.lz4frame lz4-frame
one zstd base.zstd zstd

# Trees that overlay each other: one replaces a file by a file, a file by a
# directory, a link by a file, a file by a link, an empty directory by a file;
# modes of a directory change, what it holds stays; a name leads through a link.
mkdir -p over/etc/empty over/usr/lib
printf '#!/bin/sh\nnew\n' >over/init
printf 'x\n' >over/etc/empty/inside
printf 'was a link\n' >over/dangling
ln -s /init over/zz-last-name
printf 'was a directory\n' >over/tmp
chmod 700 over/usr
find over -exec touch -h -d @1800000000 {} +
pack over >over.cpio
mkdir -p through/lib
printf 'by a link\n' >through/lib/module
find through -exec touch -h -d @1800000001 {} +
(cd through && echo lib/module | cpio -o -H newc --reproducible --quiet) >through.cpio

cp -a base all
for p in etc/empty dangling zz-last-name tmp; do rm -rf all/$p; done
# init keeps its inode, as it would in the kernel; so it is written anew.
cp -a over/. all/
cp -a through/lib/module all/usr/lib/module
touch -d @1800000000 all/usr/lib
m=$(find over -mindepth 1 | wc -l)

gzip -9n <over.cpio >over.gzip
zstd -q <over.cpio >over.zstd
start gzip-zstd-plain
add base.gzip gzip "$n"
nuls $((4 - $(stat -c %s base.gzip) % 4))
add over.zstd zstd "$m"
nuls $((4 - $(stat -c %s "$here/$name.img") % 4))
add <(head -c $((124 + $(grep -abo TRAILER through.cpio | cut -d: -f1) - 110)) through.cpio) none 1
holds all

# Each kind directly before gzip: no NUL tells where it ends.
for kind in gzip bzip2 xz lzma lz4 lz4frame zstd; do
	start "$kind-then-gzip"
	add "base.$kind" "${kind/lz4f/lz4-f}" "$n"
	add over.gzip gzip "$m"
	rm -rf two
	cp -a all two
	rm two/usr/lib/module
	touch -d @1800000000 two/usr/lib
	holds two
done

# An archive over two frames; two archives in one stream.
start zstd-frames
{ head -c 1001 base.cpio | zstd -q; tail -c +1002 base.cpio | zstd -q --no-check; } >frames
add frames zstd "$n"
holds base
start two-archives
cat base.cpio over.cpio | gzip -9n >both.gzip
add both.gzip gzip $((n + m))
holds two

# The format with checksums.
start checksums
pack base crc | gzip -9n >base.crc
add base.crc gzip "$n"
holds base

# A directory of more than 1000 entries.
mkdir -p many/d
for i in $(seq 1001 2100); do : >many/d/$i; done
find many -exec touch -h -d @0 {} +
start many
pack many | xz -C crc32 >many.xz
add many.xz xz 1101
holds many
