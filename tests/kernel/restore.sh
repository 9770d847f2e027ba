#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Does the real kernel take what bufio-restore writes?  Every healthy image of the corpus, and every metadata snapshot
# there, goes through bufio-dump, XML with shared mappings, and bufio-restore.  The kernel, booted under User-Mode
# Linux, then activates the pool, reads and writes and makes a new thin (accept-thin.sh); it has to count what the XML
# beside the image says, which is thin_dump's.  In the end it deletes every thin: what stays behind must be an empty
# pool, in data and in metadata, and that finds any reference count that is wrong.  And: a restore that was interrupted,
# a target that is larger than needed, the smallest that the kernel works with, and a block device, inside of the guest.
#
# Environment: srcdir (top of the source), BUFIO_DUMP and BUFIO_RESTORE (the programs), KERNEL_CASES (how many images of
# the corpus; default all).  Prints TAP.  Runs two guests at a time.

dump=$(realpath "${BUFIO_DUMP:-./bufio-dump}")
restore=$(realpath "${BUFIO_RESTORE:-./bufio-restore}")
. "${srcdir:-.}/tests/kernel/judge.sh"
[ -x "$dump" ] || bail_out "no bufio-dump at $dump"
[ -x "$restore" ] || bail_out "no bufio-restore at $restore"
have xz || skip_all "xz is not installed to unpack the images with"

most_blocks=4161600 # of metadata, that the kernel uses

# --- XML ---

unpack() { "$corpus/get" "$1" "$2"; } # NAME FILE
blocks_of() { echo $(($(stat -c %s "$1") / 4096)); } # FILE
attribute() { sed -n "1s/.* $1=\"\([0-9]*\)\".*/\1/p" flat.xml; } # of the superblock

# Bit 0 of the flags: then the kernel activates the pool for reading only, and is right.
has_needs_check() { [ $(($(attribute flags) & 1)) = 1 ]; }

flat_mappings() { # one by one: DEVICE VIRTUAL DATA TIME
	awk -f "$corpus/blocks.awk" -v mode=blocks flat.xml
}

# What it says, in the files pool and mappings, as the kernel's will be.
read_xml() { # NAME (of an XML in the corpus)
	xz -dc "$corpus/$1.xml.xz" >flat.xml || return 1
	sed -n 's/.*<device dev_id="\([0-9]*\)".*/\1/p' flat.xml >ids
	data_block=$(attribute data_block_size)
	data_blocks=$(attribute nr_data_blocks)
	{ sed 's/^/device /' ids; flat_mappings | awk '{ print "mapping", $1, $2, $3, 1 }'; } | add_up 1 >mappings
	# A metadata snapshot does not know: as many as the mappings need.
	[ "$data_blocks" -gt 0 ] || data_blocks=$(flat_mappings | awk '$3 >= n { n = $3 + 1 } END { print n + 0 }')
}
xml_pool() { # IMAGE
	blocks=$(blocks_of "$1")
	[ "$blocks" -le $most_blocks ] || blocks=$most_blocks
	echo "transaction $(attribute transaction)"
	echo "metadata blocks $blocks"
	echo "data blocks $data_blocks of $((data_block * 512))"
	sed -n 's/^different data blocks/data blocks used/p' mappings
	echo "metadata snapshot 0"
	echo "needs_check $(has_needs_check && echo yes || echo no)"
}

# --- asking the kernel ---

# What it says of an image is in the file said.
judge() { # IMAGE OPTION...
	image=$1; shift
	guest -d "$image" -- "$lab/accept-thin.sh" "$@" >said 2>said.err
}
accepts() { judge "$1" -x -i "$(paste -s -d , ids)" && grep -q '^VERDICT: accepted$' said; } # IMAGE
says() { grep -Eq "^VERDICT: rejected \\($1" said; } # REGEX: why it was not accepted
what_it_said() { { grep -v '^bufio ' said | tail -n 15; tail -n 15 said.err; } | notes; }

# A refusal for want of metadata blocks: the kernel's log has no other error.
says_full() {
	says "" && grep -q '^dmesg: .*No free metadata blocks' said &&
		! grep '^dmesg: ' said |
			grep -qv -e 'No free metadata blocks' -e 'unable to service pool target messages in READ_ONLY'
}

kernel_counts() { # SENTENCE
	statuses " on activation" <said >status
	kernel_pool >kernel.pool
	kernel_mappings >kernel.mappings
	cat pool mappings >wanted
	cat kernel.pool kernel.mappings >found
	agree wanted found "$1"
}

# The last two are of leaks that only the bitmaps know: the superblock counts too.
used_of() { # IMAGE
	"$dump" --json "$1" 2>&1 | jq -r '"metadata blocks \(.metadata_used_blocks) of \(.metadata_total_blocks)",
		"data blocks \(.data_used_blocks) of \(.data_total_blocks)"' 2>&1
	"$dump" map --json "$1" 2>&1 | jq -r '"metadata blocks counted and not found \(.unreached)"' 2>&1
	"$dump" owner --data "$1" "0..$data_blocks" 2>&1 | grep '^count'
}
# The kernel deleted every thin: what is left should be what a pool takes that never had one.
is_empty() { # IMAGE SENTENCE
	{ sed -n 1p flat.xml; echo "</superblock>"; } >empty.xml
	truncate -s "$(stat -c %s "$1")" empty &&
		write empty.xml empty --nr-data-blocks="$data_blocks"
	{
		used_of empty | grep '^metadata blocks [0-9]* of '
		echo "data blocks 0 of $data_blocks"
		echo "metadata blocks counted and not found 0"
		echo "count 0..$data_blocks: free"
	} >wanted
	used_of "$1" >found
	agree wanted found "$2"
}

# --- restored images ---

full_points=3
check_accepted() { # IMAGE WHAT
	xml_pool "$1" >pool
	accepts "$1"
	accepted=$?
	verdict $accepted "$2: the kernel accepts it"
	[ $accepted = 0 ] || what_it_said
	kernel_counts "$2: the kernel counts what the XML says"
	is_empty "$1" "$2: without its thins it is an empty pool"
}

# The pool is as unsafe as it was.
check_needs_check() { # IMAGE WHAT ORIGINAL
	xml_pool "$1" >pool
	accepts "$1"
	says 'needs_check on activation'
	refused=$?
	verdict $refused "$2: the kernel only reads it, as needs_check is set"
	[ $refused = 0 ] || what_it_said
	grep '^VERDICT:' said >restored.verdict
	statuses " on activation" <said >status
	kernel_pool >kernel.pool
	accepts "$3"
	grep '^VERDICT:' said >verdict
	agree verdict restored.verdict "$2: and says the same of the original"
	agree pool kernel.pool "$2: the kernel counts what the XML says"
}

to_xml() { # FILE IMAGE OPTION...
	file=$1; shift
	"$dump" --format=xml "$@" >"$file" 2>dump.err
	case $? in
	0 | 11) [ -s "$file" ] ;; # 11: needs_check is set
	*) notes <dump.err; return 1 ;;
	esac
}
write() { # XML TARGET OPTION...
	xml=$1 target=$2; shift 2
	"$restore" -i "$xml" -o "$target" "$@" >restore.out 2>restore.err
	status=$?
	[ $status = 0 ] || { echo "exit status $status: bufio-restore"; cat restore.err; } | notes
	return $status
}

run_image() { # NAME
	unpack "$1" original && read_xml "$1" && to_xml xml original && truncate -s "$(stat -c %s original)" image &&
		write xml image || return
	if has_needs_check; then
		check_needs_check image "$1" original
	else
		check_accepted image "$1"
	fi
}
run_snapshot() { # NAME: restore chooses the size of the target, and that of the data device
	unpack "$1" original && read_xml "$1.msnap" && to_xml xml original -m && write xml image || return
	check_accepted image "$1's metadata snapshot"
}

# --- other targets ---

# 17 GiB, more than the kernel uses: 255 bitmaps, and an end that is nobody's.
run_larger() {
	what="thin-snaps in 17 GiB"
	unpack thin-snaps original && read_xml thin-snaps && to_xml xml original && truncate -s 17G image &&
		write xml image || return
	check_accepted image "$what"
}

needed_blocks() { # XML: as the refusal of a target of 64 KiB names them
	truncate -s 64K small
	"$restore" -i "$1" -o small 2>&1 | sed -n 's/.* and \([0-9]*\) ([0-9.]* MiB) are needed.*/\1/p'
}

# A target of just the size that is named as needed.
write_exactly() { # NAME IMAGE
	unpack "$1" original && read_xml "$1" && to_xml xml original && needed=$(needed_blocks xml) &&
		[ -n "$needed" ] && truncate -s $((needed * 4096)) "$2" && write xml "$2"
}

# The kernel keeps a tenth of the metadata in reserve, and 4096 blocks at the most: here it is the tenth.  What is free
# beyond that is what it works with.
with_free() { # BLOCKS-USED FREE: the fewest blocks of metadata that leave so many
	all=$1
	while [ $((all - all / 10 - $1)) -lt "$2" ]; do all=$((all + 1)); done
	echo "$all"
}
write_with() { # BLOCKS
	rm -f image && truncate -s $(($1 * 4096)) image && write xml image
}

exact_points=5
run_exact() {
	write_exactly thin-snaps image
	verdict $? "thin-snaps in the $needed blocks that are needed: there is room for it"
	rm -f image
	write_exactly thin-128k image
	written=$? what="thin-128k in the $needed blocks that are needed"
	verdict $written "$what: there is room for it"
	used=$("$dump" --json image 2>/dev/null | jq '.metadata_used_blocks // 0')
	[ "${used:-0}" -gt 0 ] || return
	accepts image
	says "pool is in mode ro on activation" && says_full
	full=$?
	verdict $full "$what: the kernel only reads it, as no block of metadata is free"
	[ $full = 0 ] || what_it_said
	blocks=$(with_free "$used" 1)
	write_with "$blocks" && ! accepts image && says_full
	full=$?
	verdict $full "thin-128k in $blocks blocks, one free beyond the kernel's reserve: too few for it, and that is all"
	[ $full = 0 ] || what_it_said
	blocks=$(with_free "$used" 2)
	write_with "$blocks" && accepts image
	accepted=$?
	verdict $accepted "thin-128k in $blocks blocks, two free beyond the kernel's reserve: the kernel accepts it"
	[ $accepted = 0 ] || what_it_said
}

# --- interrupted ---

interrupted_points=$((3 + full_points))
run_interrupted() {
	what="thin-snaps, from a pipe that ends early"
	unpack thin-snaps image && read_xml thin-snaps && to_xml xml image || return
	half=$(($(stat -c %s xml) / 2))
	head -c $half xml | write - image >begun
	status=$?
	verdict "$(test $status = 5; echo $?)" "$what: exit status 5"
	[ $status = 5 ] || { echo "exit status $status"; cat begun; } | notes
	cp image before
	judge image -x -i '' -b "$data_block" -n "$data_blocks"
	says "pool not activated"
	refused=$?
	verdict $refused "$what: the kernel does not activate it"
	[ $refused = 0 ] || what_it_said
	cmp before image >difference 2>&1
	verdict $? "$what: nor does it make a new pool of it; every byte is as before"
	notes <difference
	# shellcheck disable=SC2002 # a pipe is what it is about
	cat xml | write - image
	check_accepted image "the whole of it over that"
}

# --- a device ---

device_points=3
run_device() {
	unpack thin-snaps original && to_xml xml original && truncate -s 4M image && mkdir out &&
		cp "$restore" out/bufio-restore && cp xml out/xml || return
	guest -d image -w "$PWD/out" -- "$lab/restore-live.sh" "$PWD/out/bufio-restore" "$PWD/out/xml" 2>guest.err
	notes <guest.err
}

# --- the cases ---

# Quick and telling ones; then the others, by wildcard.
telling="thin-snaps thin-sharedmany thin-needscheck thin-1m thin-failmode thin-empty thin-msnap"
images() {
	for name in $telling; do echo "$name"; done
	for xml in "$corpus"/*.xml.xz; do
		name=$(basename "$xml" .xml.xz)
		case " $telling " in *" ${name%.msnap} "*) continue ;; esac
		case $name in *.*) ;; *) echo "$name" ;; esac
	done
}
snapshots() {
	for xml in "$corpus"/*.msnap.xml.xz; do basename "$xml" .xml.xz; done
}

points_of() { # CASE
	case $1 in
	device) echo $device_points ;;
	exact) echo $exact_points ;;
	interrupted) echo $interrupted_points ;;
	*) echo $full_points ;;
	esac
}
run_case() { # CASE
	case $1 in
	device) run_device ;;
	exact) run_exact ;;
	interrupted) run_interrupted ;;
	larger) run_larger ;;
	*.msnap) run_snapshot "${1%.msnap}" ;;
	*) run_image "$1" ;;
	esac
}

cases="exact interrupted larger $(images | limit) $(snapshots)"
case ${SANITIZERS:-no} in no) cases="device $cases" ;; esac # what has sanitizers does not run under User-Mode Linux
plan=0
for case in $cases; do plan=$((plan + $(points_of "$case"))); done
echo "1..$plan"

# shellcheck disable=SC2086 # a list
run_cases $cases
exit $failed
