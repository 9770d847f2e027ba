#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Does the real kernel take what bufio-repair writes?  Every damaged thin image of the corpus, and two that the kernel
# itself left unsafe, is repaired into a new file of its size.  The kernel, booted under User-Mode Linux, then activates
# the pool, reads and writes, makes a new thin and deletes every one (accept-thin.sh -x), which finds any reference count
# that is too low; and it counts the mappings that the report says are there.  And LVM, with our tools for all of its own:
# it refuses a damaged pool, repairs it, and the files on both of its volumes are as they were.
#
# Environment: srcdir (top of the source), BUFIO_REPAIR, BUFIO_CHECK and BUFIO_DUMP (the programs), KERNEL_REPAIR_CASES
# (how many of the images; default KERNEL_CASES, or all), KERNEL_LVM=no (without LVM, which takes a minute).  Prints TAP.
# Runs two guests at a time.

check=$(realpath "${BUFIO_CHECK:-./bufio-check}")
dump=$(realpath "${BUFIO_DUMP:-./bufio-dump}")
repair=$(realpath "${BUFIO_REPAIR:-./bufio-repair}")
. "${srcdir:-.}/tests/kernel/judge.sh"
for program in "$check" "$dump" "$repair"; do
	[ -x "$program" ] || bail_out "no program at $program"
done
have xz || skip_all "xz is not installed to unpack the images with"

KERNEL_CASES=${KERNEL_REPAIR_CASES:-${KERNEL_CASES:-100000}}

# --- images ---

# What is lost with some superblocks, and has to be said.
options_of() { # NAME
	case $1 in
	bad-sb-zeroed | bad-sb-blocksize) echo --data-block-size=128KiB --nr-data-blocks=20000 ;;
	esac
}
# As large as the image; but for one that was cut off, and has no room for all that is left.
size_of() { # NAME
	case $1 in
	bad-truncated) echo 16M ;;
	*) stat -c %s image ;;
	esac
}

image_points=3
run_image() { # NAME
	"$corpus/get" "$1" image || { skip_points "python3 is not installed to make the image with"; return; }
	truncate -s "$(size_of "$1")" target
	# shellcheck disable=SC2046 # options
	"$repair" -i image -o target --json $(options_of "$1") >report 2>messages
	status=$?
	case $status in 0 | 9) repaired=0 ;; *) repaired=1 ;; esac # 9: something is lost
	verdict $repaired "$1: is repaired"
	[ $repaired = 0 ] || { echo "exit status $status"; head -n 10 messages; } | notes

	jq -r '.device_list[] | select(.source != "lost") | .dev_id' report >ids 2>>messages
	guest -d target -- "$lab/accept-thin.sh" -x -i "$(paste -s -d , ids)" >said 2>said.err &&
		grep -q '^VERDICT: accepted$' said
	accepted=$?
	verdict $accepted "$1: the kernel accepts it"
	[ $accepted = 0 ] || { grep -v '^bufio ' said | tail -n 15; tail -n 15 said.err; } | notes

	data_block=$(sed -n 's/^superblock: block size \([0-9]*\) sectors.*/\1/p' said)
	statuses " on activation" <said >status
	kernel_mappings | sed -n 's/^\(device [0-9]* lengths [0-9]*\) .*/\1/p' >found
	jq -r '.device_list[] | select(.source != "lost") | "device \(.dev_id) lengths \(.mappings)"' report >wanted 2>&1
	agree wanted found "$1: the kernel counts what the report says"
}
skip_points() { # WHY
	for i in $(seq $image_points); do
		number=$((number + 1))
		echo "ok $number - $case $i # SKIP $1"
	done
}

# --- LVM ---

lvm_points=4
run_lvm() {
	mkdir wrap && cp "$check" "$dump" "$repair" wrap/ && truncate -s 1200M disk || return
	for verb in check dump repair; do
		ln -s "bufio-$verb" wrap/thin_$verb
	done
	guest -d disk -w "$PWD/wrap" -- "$lab/lvm-thin.sh" -s -c "$PWD/wrap/thin_check" -r "$PWD/wrap/thin_repair" \
		-d "$PWD/wrap/thin_dump" >said 2>said.err
	worked=$?
	verdict $worked "LVM, with our tools: a pool's life, damage and repair are as they should be"
	[ $worked = 0 ] || { grep -B 12 -A 3 -e UNEXPECTED -e 'NOT as before' -e 'cannot be mounted' said; tail -n 20 said; } | notes
	is_said 'tool: thin_check -q --clear-needs-check-flag /dev/mapper/vg-pool_tmeta -> 9$' 1 \
		"LVM, with our tools: is told that mappings are lost"
	is_said 'tool: thin_repair .*-i /dev/mapper/vg-[^ ]* -o /dev/mapper/vg-[^ ]* -> 0$' 2 \
		"LVM, with our tools: both pools are repaired, and nothing is lost"
	is_said 'files in t1\(snap\)\{0,1\}: as before$' 3 "LVM, with our tools: the files on all volumes are as before"
}
is_said() { # REGEX TIMES SENTENCE: so often, or more often
	[ "$(grep -c "$1" said)" -ge "$2" ]
	verdict $? "$3"
}

# --- the cases ---

# Those of most interest, of which the first takes longest; then the others, by wildcard.
telling="bad-top-node bad-leaf-blocknr bad-top-checksum bad-leaf-doublemap thin-needscheck bad-node-checksum
	bad-details-checksum bad-sb-zeroed bad-sm-all bad-leaf-beyond bad-root-checksum bad-many-leaves thin-failmode"
images() {
	for name in $telling; do echo "$name"; done
	for file in "$corpus"/bad-*.img.xz "$corpus"/bad-*.recipe; do
		name=$(basename "${file%.*}" .img)
		case " $(echo $telling) bad-cache-escape " in *" $name "*) ;; *) echo "$name" ;; esac
	done
}

points_of() { # CASE
	case $1 in
	lvm) echo $lvm_points ;;
	*) echo $image_points ;;
	esac
}
run_case() { # CASE
	case $1 in
	lvm) run_lvm ;;
	*) run_image "$1" ;;
	esac
}

case ${SANITIZERS:-no} in
no) ;;
*) KERNEL_LVM=no ;; # what has sanitizers does not run under User-Mode Linux
esac
cases=$(images | limit)
if [ "${KERNEL_LVM:-yes}" = no ] || ! have lvm || ! have mkfs.ext4; then
	with_lvm=no
else
	with_lvm=yes cases="lvm $cases" # takes longest
fi
plan=0
for case in $cases; do plan=$((plan + $(points_of "$case"))); done
[ $with_lvm = yes ] || plan=$((plan + 1))
echo "1..$plan"

# shellcheck disable=SC2086 # a list
run_cases $cases
if [ $with_lvm = no ]; then
	number=$((number + 1))
	echo "ok $number - LVM with our tools # SKIP not asked for, or not installed"
fi
exit $failed
