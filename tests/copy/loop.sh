#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Block devices, as far as loop devices can be had: scripts and copies to them, and what is refused while they are in use.
. "$srcdir/tests/tap.sh"

loop= mounted=
free() {
	[ ! "$mounted" ] || umount "$tap_dir/mount"
	[ ! "$loop" ] || losetup -d "$loop"
	loop= mounted=
}
trap 'cd /; free; rm -rf "$tap_dir"' EXIT

loop_of() { # FILE OPTION...
	file=$1
	shift
	loop=$(losetup --show "$@" -f "$file" 2>messages) && [ -b "$loop" ]
}

copies() { # STATUS SENTENCE OPTION...
	wanted=$1 sentence=$2
	shift 2
	bufio-copy "$@" >output 2>messages
	is $? "$wanted" "$sentence"
}

says() { # PATTERN SENTENCE
	grep -q -e "$1" messages
	is $? 0 "$2"
}

"$srcdir/tests/corpus/get" thin-needscheck old && cp old image
is $? 0 "the image can be made"
printf 'bpatch 1\nblock-size 4KiB\ntarget T\nset sb.flags = 0\nfill T[500..600] byte 1\nfill T[520..530] discard override\n' >script
copies 0 "a plan of the image" --script=script T=image
digest=$(sed -n 's/.*--apply=//p' output)
if ! loop_of "$PWD/image"; then
	skip "loop devices: $(head -n 1 messages)"
	finish
	exit
fi

# The file behind it, and the device.
copies 3 "a file that a loop device shows is not patched" --script=script T=image --apply="$digest" --journal=journal
says "loop" "and the message says why"
copies 3 "nor copied to" old image
copies 3 "nor to itself by way of the device" image "$loop"
copies 1 "the plan of the device is the same" --exit-code --script=script T="$loop"
is "$(sed -n 's/.*--apply=//p' output)" "$digest" "its digest too"
copies 0 "the device can be patched" --script=script T="$loop" --apply="$digest" --journal=journal
copies 0 "its journal is done" --json --status=journal
is "$(sed -n 's/.*"state": *"\([a-z]*\)".*/\1/p' output)" "done" "as the journal says"
bufio-dump --json "$loop" | grep -q '"flags":"0x0"'
is $? 0 "the flag is clear"
copies 0 "undone" --undo=journal
cmp -s "$loop" old
is $? 0 "the device is as it was"
copies 0 "resumed" --resume=journal "$loop"
copies 0 "undone again" --undo=journal "$loop"
cmp -s "$loop" old
is $? 0 "the device is as it was again"
free
if loop_of "$PWD/image" -r; then
	copies 0 "of a device that is read-only there is a plan" --script=script T="$loop"
	copies 3 "but it is not patched" --script=script T="$loop" --apply="$digest" --journal=journal2
	copies 3 "nor undone" --undo=journal "$loop"
	[ ! -e journal2 ]
	is $? 0 "and no journal is left"
	cmp -s image old
	is $? 0 "it is as it was"
else
	skip "a loop device that is read-only: $(head -n 1 messages)"
fi
free

# Mounted.
truncate -s 8M fs && mke2fs -q -t ext4 -F fs >messages 2>&1 && mkdir "$tap_dir/mount"
is $? 0 "a file system can be made"
if loop_of "$PWD/fs" && mount "$loop" "$tap_dir/mount" 2>messages; then
	mounted=1
	printf 'bpatch 1\nblock-size 4KiB\ntarget T\npatch T[2000] u8 1\n' >patch
	for target in "$loop" "$PWD/fs"; do
		copies 3 "mounted, the ${target##*/} is not patched" --force-signature=ext4 --script=patch T="$target" \
			--apply=0123456789abcdef --journal="$tap_dir/mount/journal"
		copies 3 "nor copied to" --force-signature=ext4 old "$target"
		copies 3 "nor undone" --undo=journal "$target"
	done
	[ ! -e "$tap_dir/mount/journal" ]
	is $? 0 "no journal is left on it"
else
	skip "mounting: $(head -n 1 messages)"
fi
finish
