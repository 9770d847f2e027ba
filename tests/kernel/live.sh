#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-dump on a metadata device that the kernel has in use.  Runs inside umlrun:
#
#   umlrun -d meta.img -w DIR -- live.sh BUFIO-DUMP DIR
#
# Prints "ok - ..." and "not ok - ..." lines for kernel.sh to number, and "# ..." lines.  Leaves in DIR
# live.xml (the device after the pool was removed) and held.xml (the metadata snapshot of the active pool).

. "$UML_LAB/lab-lib.sh"
dump=$1 dir=$2
meta=/dev/ubda pool=/dev/mapper/lab-pool thin=/dev/mapper/lab-thin-1
bs=128 blocks=20000
bad=

# expect STATUS ARGUMENT...: bufio-dump, its output in /run/out, its messages in /run/err
expect() {
	want=$1; shift
	"$dump" "$@" >/run/out 2>/run/err
	status=$?
	[ $status = "$want" ] || bad="${bad}exit status $status, not $want: bufio-dump $*
"
}
says() { # REGEX: what the one line of messages says
	[ "$(wc -l </run/err)" = 1 ] && grep -Eq -- "$1" /run/err ||
		bad="${bad}not one line with '$1': $(cat /run/err)
"
}
advises() { # REGEX: what the first line says; then how to take a snapshot, with this pool's name
	head -n 1 /run/err | grep -Eq -- "$1" && tail -n +2 /run/err >/run/advice
	cat >/run/expected <<-EOF
		bufio-dump: if lab-pool is an active pool, look at a metadata snapshot of it:
		    dmsetup message lab-pool 0 reserve_metadata_snap
		    bufio-dump --metadata-snap $meta
		    dmsetup message lab-pool 0 release_metadata_snap
	EOF
	cmp /run/expected /run/advice >/run/cmp 2>&1 || bad="${bad}'$1' and the advice expected: $(cat /run/err)
"
}
silent() { # FILE: nothing in it
	[ ! -s "$1" ] || bad="${bad}not empty: $(head -n 3 "$1")
"
}
same() { # WHAT A B
	[ "$2" = "$3" ] || bad="${bad}$1: '$2' and '$3' differ
"
}
done_with() { # SENTENCE
	if [ -z "$bad" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		printf '%s' "$bad" | sed 's/^/# /'
	fi
	bad=
}

write() { "$DMIO" w $thin $((bs * 512)) "$1" >/run/write 2>&1 || bad="${bad}$(cat /run/write)
"; }
mapped() { # blocks, as the kernel counts them
	dm status lab-thin-1 | awk -v bs=$bs '{ print $4 / bs }'
}
activate() {
	data=$(data_device zero:$((bs * blocks))) &&
		dm create lab-pool --table "0 $((bs * blocks)) thin-pool $meta $data $bs 0 1 skip_block_zeroing" &&
		dm message $pool 0 "create_thin 1" &&
		dm create lab-thin-1 --table "0 $((bs * 30000)) thin $pool 1"
}

refused_when_active() {
	node=dm-$(dm info -c --noheadings -o minor lab-pool)
	expect 3 $meta
	advises "$meta: in use, held by $node .lab-pool."
	silent /run/out
	expect 3 --format=xml $meta
	advises "lab-pool"
	silent /run/out
	expect 3 block $meta 0
	says "lab-pool"
	done_with "live: an active pool is refused, with its holder and the way to look at a metadata snapshot of it"
}
no_snapshot() {
	expect 2 -m --format=xml $meta
	says "reserve_metadata_snap"
	silent /run/out
	done_with "live: --metadata-snap without a metadata snapshot says how to take one"
}
snapshot_when_active() {
	dm message $pool 0 reserve_metadata_snap || bad="no metadata snapshot
"
	count=$(mapped)
	"$DMIO" w $thin $((bs * 512)) rand:2:9000:30000 >/run/writer 2>&1 &
	expect 0 -m --format=xml $meta
	silent /run/err
	wait $! || bad="${bad}$(cat /run/writer)
"
	cp /run/out "$dir/held.xml"
	same "mapped_blocks" "$(sed -n 's/^ *<device dev_id="1" mapped_blocks="\([0-9]*\)".*/\1/p' /run/out)" "$count"
	expect 0 -m --format=xml $meta
	cmp /run/out "$dir/held.xml" >/run/cmp 2>&1 || bad="${bad}after more writes: $(cat /run/cmp)
"
	done_with "live: the metadata snapshot of an active pool is read while the pool is written to"
}
no_output_to_device() {
	before=$(cksum <$meta)
	expect 3 -o $meta $meta
	says "$meta"
	expect 3 -o $meta "$dir/some.img"
	says "$meta: is a block device"
	same "contents of $meta" "$(cksum <$meta)" "$before"
	done_with "live: output to a block device is refused, and the device is as it was"
}
when_inactive() {
	after=$(mapped)
	dm remove lab-thin-1 && dm remove lab-pool || bad="pool not removed
"
	expect 0 --format=xml $meta
	silent /run/err
	cp /run/out "$dir/live.xml"
	same "mapped_blocks" "$(sed -n 's/^ *<device dev_id="1" mapped_blocks="\([0-9]*\)".*/\1/p' /run/out)" "$after"
	expect 0 --direct=off --format=xml $meta
	cmp /run/out "$dir/live.xml" >/run/cmp 2>&1 || bad="${bad}--direct=off: $(cat /run/cmp)
"
	done_with "live: after deactivation the device is read, directly or not, with what the kernel counted"
}

activate || { echo "# the pool was not activated"; exit 1; }
write rand:1:700:30000
refused_when_active
no_snapshot
snapshot_when_active
when_inactive
dd if=$meta of="$dir/some.img" bs=1M status=none
no_output_to_device
