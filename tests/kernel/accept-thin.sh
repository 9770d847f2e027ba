#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The kernel's own verdict on thin-pool metadata.  Runs inside umlrun:
#
#   umlrun -d meta.img [-d data.img] -- accept-thin.sh [options]
#
#   -i IDS      device ids to activate, comma separated (default: as thin_ls
#               says; "-i ''" for none)
#   -r FILE     mapped ranges, lines "ID BEGIN LEN" in blocks: each block is
#               read (default: up to 4096 blocks from the front of each thin)
#   -b SECTORS  data block size    (default: out of the superblock)
#   -n BLOCKS   data blocks        (default: out of the superblock)
#   -D DEV      data device (default /dev/ubdb if there, else a device of zeroes
#               of the right size: contents do not matter to the metadata)
#   -x          in the end delete every thin and want 0 used data blocks: reads
#               every mapping and finds reference counts that are too low, and
#               lost mappings (not a leak that only the bitmaps know: the kernel
#               counts used blocks in the superblock).  Spends the image.
#   -R          read-only pool: activate and read, no more
# Prints one line a step, last "VERDICT: accepted" or "VERDICT: rejected (why)".
# Exit status 0 only if the kernel did all of it with no error in its log and
# the pool never left read-write mode.

. "$UML_LAB/lab-lib.sh"
ids=auto ranges= bs= n= data= spend=0 ro=0
while getopts i:r:b:n:D:xR o; do
	case $o in
	i) ids=$OPTARG ;;
	r) ranges=$OPTARG ;;
	b) bs=$OPTARG ;;
	n) n=$OPTARG ;;
	D) data=$OPTARG ;;
	x) spend=1 ;;
	R) ro=1 ;;
	*) exit 2 ;;
	esac
done
meta=/dev/ubda
healthy() { # WHEN
	local s f
	s=$(dm status lab-pool) || { fail "no pool status $1"; return 1; }
	echo "pool-status $1: $s"
	f=($s)	# start length target transaction meta data held mode ...
	used=${f[5]%/*} free=$((${f[5]#*/} - ${f[5]%/*})) held=${f[6]} metaused=${f[4]}
	if [[ ${f[3]} == Fail || ${f[3]} == Error ]]; then fail "pool is in mode ${f[3]} $1"; return 1; fi
	[[ " $s " == *" needs_check "* ]] && fail "needs_check $1"
	[[ ${f[7]} == rw || ($ro = 1 && ${f[7]} == ro) ]] || { fail "pool is in mode ${f[7]} $1"; return 1; }
}

numbers $meta 4:4 48:8 56:8 64:8 336:4 32:8
set -- $NUMBERS
[ "$6" = 0 ] && echo "note: no magic number; a superblock of zeroes makes the kernel format a new, empty pool"
echo "superblock: block size $5 sectors, $4 data blocks, transaction $2, held root $3, flags $1"
bs=${bs:-$5} n=${n:-$4}
[[ $bs =~ ^[1-9][0-9]{0,6}$ ]] || bs=128
[[ $n =~ ^[1-9][0-9]{0,11}$ ]] || n=1024

if [ "$ids" = auto ]; then
	ids=$(timeout 60 thin_ls --no-headers -o DEV $meta 2>/dev/null) || ids=
fi
ids=$(echo ${ids//,/ })
[ -n "$data" ] || { [ -b /dev/ubdb ] && data=/dev/ubdb || data=zero:$((bs * n)); }
data=$(data_device "$data") || { fail "no data device"; verdict; }
pt="0 $((bs * n)) thin-pool $meta $data $bs 0"
[ $ro = 1 ] && pt="$pt 2 skip_block_zeroing read_only" || pt="$pt 1 skip_block_zeroing"
bufio before

# 1. activate
dm create lab-pool --table "$pt" 2>/run/err || { fail "pool not activated: $(oneline /run/err)"; verdict; }
pool=/dev/mapper/lab-pool
healthy "on activation" || verdict

# 2. every thin: activate (all in one go if that works), read.  Their size here
#    is a large one: that of a table, nothing the metadata knows.
size=$((1 << 36)); size=$((size - size % bs))
all= up=
for id in $ids; do all="$all;lab-thin-$id,,,rw,0 $size thin $pool $id"; done
if [ -n "$all" ] && dm create --concise "${all#;}" 2>/run/err; then
	up=$ids
else
	for id in $ids; do
		[ -b "/dev/mapper/lab-thin-$id" ] ||
			dm create "lab-thin-$id" --table "0 $size thin $pool $id" 2>/run/err ||
			{ fail "thin $id not activated"; continue; }
		up="$up $id"
	done
fi
reads=()
if [ -n "$up" ]; then
	dm status --target thin >/run/thins
	while read -r name _ _ _ mapped hi; do
		[[ $name == lab-thin-* ]] || continue
		id=${name#lab-thin-} id=${id%:}
		echo "thin-status $id: $mapped ${hi:--}"
		[[ $mapped =~ ^[0-9]+$ ]] || { fail "thin $id: status $mapped"; continue; }
		[[ $hi =~ ^[0-9]+$ ]] || hi=0
		blocks=$((hi / bs + 1))
		reads+=("/dev/mapper/lab-thin-$id@")
		if [ -n "$ranges" ]; then reads+=("file:$ranges:$id")
		else reads+=("seq:0:$((blocks < 4096 ? blocks : 4096))"); fi
	done </run/thins
	if [ ${#reads[@]} -gt 0 ]; then
		out=$("$DMIO" -k -z 512 r - $((bs * 512)) "${reads[@]}" 2>&1) || fail "reading the thins failed"
		sed 's/^/thin-read /' <<<"$out"
	fi
fi
healthy "after reading" || verdict
[ $ro = 1 ] && verdict

# 3. a new thin: create, write, read back, delete
new=0
while [[ " $ids " == *" $new "* ]]; do new=$((new + 1)); done
if dm message $pool 0 "create_thin $new" 2>/run/err; then
	dm create lab-new --table "0 $((bs * 64)) thin $pool $new" || fail "new thin not activated"
	w=$((free < 40 ? free : 40))
	if [ $w -gt 0 ]; then
		out=$("$DMIO" -k -t new w /dev/mapper/lab-new $((bs * 512)) rand:7:$w:64 2>&1) || fail "new thin: write: $out"
		echo "new-thin $new: $out"
		out=$("$DMIO" -k r /dev/mapper/lab-new $((bs * 512)) rand:7:$w:64 2>&1) || fail "new thin: read: $out"
	else
		echo "new-thin $new: pool is full, nothing written"
	fi
	healthy "after writing a new thin"
	dm remove lab-new
	dm message $pool 0 "delete $new" 2>/run/err || fail "new thin not deleted: $(oneline /run/err)"
else
	fail "no new thin: $(oneline /run/err)"
fi
# 4. a commit through suspend and resume, then a second activation
dm suspend lab-pool && dm resume lab-pool || fail "suspend/resume"
healthy "after suspend and resume"
bufio used
names=
for id in $up; do names="$names lab-thin-$id"; done
dm remove $names lab-pool || fail "pool not removed"
dm create lab-pool --table "$pt" 2>/run/err || { fail "pool not activated the second time: $(oneline /run/err)"; verdict; }
healthy "on the second activation"

# 5. give everything back
if [ $spend = 1 ]; then
	[ "$held" = - ] || dm message $pool 0 release_metadata_snap 2>/run/err || fail "metadata snapshot not released"
	for id in $ids; do
		dm message $pool 0 "delete $id" 2>/run/err || fail "thin $id not deleted: $(oneline /run/err)"
	done
	dm suspend lab-pool && dm resume lab-pool
	if healthy "after deleting every thin"; then
		[ "$used" = 0 ] || fail "$used data blocks in use after deleting every thin"
		echo "metadata-blocks-left: $metaused"
	fi
fi
dm remove lab-pool || fail "pool not removed"
verdict
