#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Do bufio-check and the real kernel agree?  What bufio-check mended, leaks and the flag needs_check, the kernel takes for
# writing (accept-thin.sh); and what the kernel wrote while it did so, with every thin deleted in the end, bufio-check
# calls clean.  And LVM, with bufio-check as its thin_check: it refuses a damaged pool, and takes a sound one.
#
# Environment: srcdir (top of the source), BUFIO_CHECK (the program), KERNEL_CASES (how many healthy images of the corpus;
# default all), KERNEL_LVM=no (without LVM, which takes a minute).  Prints TAP.

check=$(realpath "${BUFIO_CHECK:-./bufio-check}")
. "${srcdir:-.}/tests/kernel/judge.sh"
[ -x "$check" ] || bail_out "no bufio-check at $check"
have xz || skip_all "xz is not installed to unpack the images with"

unpack() { "$corpus/get" "$1" image; } # NAME
devices() { xz -dc "$corpus/$1.xml.xz" | sed -n 's/.*<device dev_id="\([0-9]*\)".*/\1/p' | paste -s -d , -; } # ORIGINAL

ends_with() { # STATUS SENTENCE OPTION...
	want=$1 sentence=$2
	shift 2
	"$check" "$@" image >report 2>&1
	[ $? = "$want" ]
	ended=$?
	verdict $ended "$sentence"
	[ $ended = 0 ] || notes <report
}

# With -x every thin is deleted in the end.
kernel_takes() { # ORIGINAL SENTENCE
	guest -d image -- "$lab/accept-thin.sh" -x -i "$(devices "$1")" >said 2>said.err && grep -q '^VERDICT: accepted$' said
	took=$?
	verdict $took "$2"
	[ $took = 0 ] || { tail -n 15 said; tail -n 15 said.err; } | notes
}

mended() { # NAME ORIGINAL OPTION
	unpack "$1" || return
	ends_with 0 "$1: bufio-check $3 mends it" "$3" --journal="$dir/$1.journal"
	ends_with 0 "$1: and finds nothing more"
	kernel_takes "$2" "$1: the kernel takes it then"
	ends_with 0 "$1: without its thins it is clean too"
}

healthy() { # NAME
	unpack "$1" || return
	kernel_takes "$1" "$1: the kernel takes it"
	ends_with 0 "$1: bufio-check calls clean what the kernel wrote"
}

lvm() {
	mkdir wrap && cp "$check" wrap/thin_check && truncate -s 1200M disk || return
	guest -d disk -w "$dir/wrap" -- "$lab/lvm-thin.sh" -c "$dir/wrap/thin_check" >said 2>said.err
	worked=$?
	verdict $worked "LVM, with bufio-check as thin_check: a pool's life, damage and repair are as they should be"
	[ $worked = 0 ] || tail -n 40 said | notes
	grep -q 'thin_check -q --clear-needs-check-flag /dev/mapper/vg-pool_tmeta -> 9$' said
	verdict $? "LVM, with bufio-check as thin_check: is told that mappings are lost"
	grep -q 'thin_check -q --clear-needs-check-flag /dev/mapper/vg-pool_tmeta -> 0$' said
	verdict $? "LVM, with bufio-check as thin_check: is told that the repaired pool is clean"
}

mended bad-leak-data thin-snaps --auto-repair
mended bad-leak-meta thin-snaps --auto-repair
mended thin-needscheck thin-needscheck --clear-needs-check-flag
for xml in $(ls "$corpus"/*.xml.xz | limit); do
	name=$(basename "$xml" .xml.xz)
	case $name in *.* | thin-needscheck | thin-metafull) continue ;; esac # the kernel does not write to these
	healthy "$name"
done
if [ "${KERNEL_LVM:-yes}" = no ] || ! have lvm || ! have mkfs.ext4 || ! have thin_repair || [ "${SANITIZERS:-no}" != no ]; then
	number=$((number + 1))
	echo "ok $number - LVM with bufio-check as thin_check # SKIP not asked for, or not installed"
else
	lvm
fi
echo "1..$number"
exit $failed
