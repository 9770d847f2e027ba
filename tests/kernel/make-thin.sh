#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes thin-pool metadata with the real kernel.  Runs inside umlrun:
#
#   umlrun -d meta.img [-d data.img] -- make-thin.sh -b SECTORS -n BLOCKS [-z] OP...
#
#   -b SECTORS   data block size in 512-byte sectors (multiple of 128)
#   -n BLOCKS    data blocks
#   -z           zero new blocks (default: skip_block_zeroing)
#   -D DEV       data device; default /dev/ubdb if there, else a device of
#                zeroes that swallows what is written
#   -F FEATURES  further pool features, space separated
#
# OPs, done in order (ID: device id; blocks are data blocks of the thin):
#   thin:ID:BLOCKS           create and activate a thin
#   snap:ID:ORIGIN           snapshot it, activate the snapshot
#   write:ID:SPEC            write one page per block; SPEC as in dmio.pl, with
#                            rand:SEED:COUNT (range: the thin's size)
#   discard:ID:SPEC          discard
#   delete:ID                delete the thin
#   off:ID                   deactivate it
#   many:FIRST:COUNT         create COUNT thins of 64 blocks with ids from FIRST on,
#                            a block written in every tenth; not activated but
#                            for the last 20
#   fan:FIRST:COUNT:ORIGIN   COUNT snapshots of ORIGIN, 20 blocks written in each:
#                            data blocks shared many times over
#   tid:NEW                  set the transaction id
#   commit                   make the pool commit (flush)
#   save:FILE                commit, and copy the metadata as it is then to FILE, in a
#                            directory that the guest may write to (umlrun -w)
#   msnap | msnap-release    reserve / release the metadata snapshot
#   grow-data:BLOCKS         reload the pool with a larger data device
#   fail-meta:ID:SPEC        writes to the metadata device start to fail, write
#                            to the thin, let them work again (-> needs_check)
#   fail-meta-read:ID:SPEC   the same with reads and writes failing
#   status:LABEL             print a status in between
#   crash:ID:SPEC            write, then cut the power without a commit
#   crash                    cut the power
# Afterwards prints the state as "key: value" lines and shuts down cleanly.

. "$UML_LAB/lab-lib.sh"
bs=128 n=1024 feat=skip_block_zeroing data= meta=/dev/ubda
while getopts b:n:zD:F: o; do
	case $o in
	b) bs=$OPTARG ;;
	n) n=$OPTARG ;;
	z) feat= ;;
	D) data=$OPTARG ;;
	F) feat="$feat $OPTARG" ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ -n "$data" ] || { [ -b /dev/ubdb ] && data=/dev/ubdb || data=zero:$((bs * n * 4)); }
bufio before
ms=$(sectors $meta)
dm create lab-meta --table "0 $ms linear $meta 0" || exit 1
data=$(data_device "$data") || exit 1

table() { # BLOCKS
	set -- "$1" $feat
	nb=$1; shift
	echo "0 $((nb * bs)) thin-pool /dev/mapper/lab-meta $data $bs 0 $# $*"
}
dm create lab-pool --table "$(table $n)" || { errors_in_dmesg; exit 1; }
pool=/dev/mapper/lab-pool
msg() { dm message $pool 0 "$@" || { echo "message failed: $*"; exit 1; }; }
size_of() { cat "/run/thin-$1"; }
on() { # ID BLOCKS
	dm create "lab-thin-$1" --table "0 $(($2 * bs)) thin $pool $1" || exit 1
	echo "$2" >"/run/thin-$1"
}
spec() { # ID SPEC -> a range for dmio
	case $2 in
	rand:*:*:*) echo "$2" ;;
	rand:*) echo "$2:$(size_of "$1")" ;;
	all) echo "seq:0:$(size_of "$1")" ;;
	*) echo "$2" ;;
	esac
}
write() { # ID SPEC
	"$DMIO" $3 -t "d$1" w "/dev/mapper/lab-thin-$1" $((bs * 512)) "$(spec "$1" "$2")"
}
state() {
	echo "pool-status: $(dm status lab-pool)"
	echo "pool-table: $(dm table lab-pool)"
	for f in /run/thin-*; do
		[ -e "$f" ] || continue
		t=${f#/run/thin-}
		dm status "lab-thin-$t" >/run/st 2>/dev/null && echo "thin-status $t: $(cat /run/st)"
		echo "thin-size $t: $(($(cat "$f") * bs))"
	done
}
meta_table() {
	dm suspend --noflush --nolockfs lab-meta && dm load lab-meta --table "$1" && dm resume lab-meta
}
bufio open

for op; do
	verb=${op%%:*} rest=
	case $op in *:*) rest=${op#*:} ;; esac
	id=${rest%%:*} arg=
	case $rest in *:*) arg=${rest#*:} ;; esac
	case $verb in
	thin) msg "create_thin $id"; on "$id" "$arg" ;;
	snap)
		dm suspend "lab-thin-$arg"
		msg "create_snap $id $arg"
		dm resume "lab-thin-$arg"
		on "$id" "$(size_of "$arg")" ;;
	write) echo "write $id $arg: $(write "$id" "$arg")" ;;
	discard) echo "discard $id $arg: $("$DMIO" d "/dev/mapper/lab-thin-$id" $((bs * 512)) "$(spec "$id" "$arg")")" ;;
	delete)
		dm remove "lab-thin-$id" 2>/dev/null
		msg "delete $id"; rm -f "/run/thin-$id" ;;
	many)
		for i in $(seq "$id" $((id + arg - 1))); do
			msg "create_thin $i"
			case $i in *0) ;; *) [ $i -ge $((id + arg - 20)) ] || continue ;; esac
			on "$i" 64; write "$i" rand:$i:3 >/dev/null
			[ $i -ge $((id + arg - 20)) ] || { dm remove "lab-thin-$i"; rm "/run/thin-$i"; }
		done ;;
	fan)
		cnt=${arg%%:*} arg=${arg#*:}; org=${arg%%:*}
		for i in $(seq "$id" $((id + cnt - 1))); do
			dm suspend "lab-thin-$org"; msg "create_snap $i $org"; dm resume "lab-thin-$org"
			on "$i" "$(size_of "$org")"
			write "$i" "stride:$((i - id)):97:20" >/dev/null
		done ;;
	off) dm remove "lab-thin-$id" ;;
	tid)
		set -- "$(dm status lab-pool | cut -d' ' -f4)" "$id"
		msg "set_transaction_id $1 $2" ;;
	commit) dm suspend lab-pool && dm resume lab-pool ;;
	save)
		dm suspend lab-pool && dm resume lab-pool &&
			dd if="$meta" of="$rest" bs=1M iflag=direct status=none || exit 1 ;;
	msnap) msg reserve_metadata_snap ;;
	msnap-release) msg release_metadata_snap ;;
	grow-data)
		dm suspend lab-pool && dm load lab-pool --table "$(table "$id")" && dm resume lab-pool
		n=$id ;;
	fail-meta)
		# flakey, down all the time, failing writes only
		meta_table "0 $ms flakey $meta 0 0 3600 1 error_writes"
		echo "write $id $arg (metadata failing): $(write "$id" "$arg" -k)"
		sleep 3
		echo "pool-status while failing: $(dm status lab-pool)"
		meta_table "0 $ms linear $meta 0" ;;
	fail-meta-read)
		meta_table "0 $ms error"
		echo "write $id $arg (metadata failing): $(write "$id" "$arg" -k)"
		sleep 3
		echo "pool-status while failing: $(dm status lab-pool)"
		meta_table "0 $ms linear $meta 0" ;;
	status) echo "pool-status at $id: $(dm status lab-pool)"; bufio "$id" ;;
	crash)
		state; bufio peak
		[ -n "$rest" ] && write "$id" "$arg" "-h 0"
		"$UML_HALT" 0 ;;
	*) echo "make-thin: unknown operation $op" >&2; exit 2 ;;
	esac
done

state
bufio peak
dm ls --target thin | while read -r d _; do [ "$d" = No ] || dm remove "$d"; done
dm remove lab-pool || exit 1
bufio after
dm remove lab-meta
print_klog
exit 0
