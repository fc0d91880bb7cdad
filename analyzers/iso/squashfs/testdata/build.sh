#!/bin/sh
# Makes the images here anew, with squashfs-tools 4.5 or later, perl and python3.
# tree.pseudo says what is in them: it is what mksquashfs is told, and what the
# tests expect. The directories belong to who runs this: it is to be root, or
# root of "unshare -r".
set -eu
export LC_ALL=C
cd "$(dirname "$0")"
out=$PWD
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
t=$tmp/tree
mkdir -p "$t/dir/deep/deeper" "$t/emptydir" "$t/many" "$t/sticky"
long=$(printf 'n%.0s' $(seq 255))

perl -e 'for (1..5000) { printf "line %d of a file of several blocks, %d\n", $_ / 40, $_ % 7 }
	print "x" x 100000; print "the end\n"' >"$t/blocks"
# Calls of one function from many places: the filter for x86 makes them alike.
perl -e 'for (0..1999) { print pack("CVC", 0xe8, 0x100000 - $_ * 6, 0x90) }' >"$t/code"
# Bytes that do not compress.
perl -e '$x = 1; for (1..6000) { $x = ($x * 1103515245 + 12345) % 2147483648; print chr($x >> 16 & 255) }' >"$t/noise"
echo deep >"$t/dir/deep/deeper/file"
: >"$t/empty"
echo linked >"$t/hard1"
ln "$t/hard1" "$t/hard2"
# A hole, text, a hole.
perl -e 'truncate STDOUT, 700000; seek STDOUT, 400000, 0; print "amid holes\n"' >"$t/hole"
for f in group sealed suid upper xattr ümläut 'name with spaces' "$long"; do echo "$f" >"$t/$f"; done
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.note", b"not read")' "$t/xattr"
# Over 256 entries, and several metadata blocks of names, so that there is an
# index.
n=1
while [ $n -le 500 ]; do
	echo $n >"$t/many/$(printf 'an-entry-of-a-directory-that-has-an-index-%03d' $n)"
	n=$((n + 1))
done

{
	cat tree.pseudo
	echo "$long M 1700000030 0644 0 0"
	echo "many M 1700000031 0755 0 0"
	(cd "$t" && find many -type f | sort | sed 's/$/ M 1700000032 0644 7 8/')
} >"$tmp/all"
# mksquashfs cannot be told about directories that have entries.
while read -r name kind time mode rest; do
	if [ "$kind" = M ] && [ -d "$t/$name" ]; then
		chmod "$mode" "$t/$name"
		touch -d "@$time" "$t/$name"
	else
		echo "$name $kind $time $mode $rest"
	fi
done <"$tmp/all" >"$tmp/pseudo"
(cd "$t" && find . -path ./many -prune -o -type f -printf '%P\0' | sort -z | xargs -0 sha256sum) >tree.sha256

# make NAME OPTION...: of the tree.
make() {
	name=$1
	shift
	image "$name" "$t" -pf "$tmp/pseudo" -root-mode 755 -root-uid 0 -root-gid 0 -root-time 1700000000 "$@"
}

# image NAME DIRECTORY OPTION...
image() {
	name=$1 dir=$2
	shift 2
	mksquashfs "$dir" "$tmp/image" -noappend -no-progress -quiet -processors 1 -mkfs-time 1700000099 -nopad "$@"
	gzip -9nc "$tmp/image" >"$out/$name.squashfs.gz"
}

make gzip -comp gzip
make gzip-1m -comp gzip -b 1M
make gzip-no-fragments -comp gzip -no-fragments
make gzip-all-fragments -comp gzip -always-use-fragments -no-exports
make xz -comp xz
make xz-x86 -comp xz -Xbcj x86 -b 1M
make lz4 -comp lz4 -Xhc
make zstd -comp zstd
make zstd-4k -comp zstd -b 4k
make stored -comp gzip -noI -noD -noF -noX

# A small tree for damage: all of it is read many times over.
s=$tmp/small
mkdir -p "$s/dir/sub" "$s/empty"
head -c 9000 "$t/blocks" >"$s/blocks"
head -c 5000 "$t/code" >"$s/code"
head -c 4500 "$t/noise" >"$s/noise"
perl -e 'truncate STDOUT, 12288; seek STDOUT, 4096, 0; print "amid holes\n"' >"$s/hole"
echo one >"$s/dir/one"
echo two >"$s/dir/sub/two"
ln -s ../dir "$s/dir/link"
for n in 1 2 3 4 5 6; do echo $n >"$s/dir/sub/$n"; done
small() {
	name=$1
	shift
	image "small-$name" "$s" -b 4k -all-root -all-time 1700000000 -p 'pipe I 1700000000 0644 0 0 f' "$@"
}
small gzip -comp gzip
small xz -comp xz -Xbcj x86
small lz4 -comp lz4
small zstd -comp zstd
small stored -comp gzip -noI -noD -noF

# Over 4 GiB, nearly all of it a hole.
mkdir "$tmp/huge"
perl -e 'truncate STDOUT, 5 << 30; seek STDOUT, (5 << 30) - 4, 0; print "end\n"' >"$tmp/huge/huge"
image huge "$tmp/huge" -comp gzip -b 1M -all-root -all-time 1700000000

# Compressions that are refused.
mkdir "$tmp/none"
for c in lzo lzma; do image $c "$tmp/none" -comp $c -all-root -all-time 1700000000; done
