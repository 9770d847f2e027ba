#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Does bufio-dump read what the real kernel wrote?  Boots the kernel under User-Mode Linux, lets it make the thin-pool
# metadata of cases.txt, and compares what bufio-dump shows with what the kernel's own status lines say; then runs
# bufio-dump inside, on the device of a pool in use (live.sh).
#
# Environment: srcdir (top of the source), BUFIO_DUMP (the program), KERNEL_CASES (how many of the cases; default all),
# SANITIZERS (what BUFIO_DUMP was built with, if anything).  Prints TAP.

dump=$(realpath "${BUFIO_DUMP:-./bufio-dump}")
. "${srcdir:-.}/tests/kernel/judge.sh"
[ -x "$dump" ] || bail_out "no bufio-dump at $dump"

# --- what the kernel says ---

# The devices that a list of operations leaves in the pool.
devices_of() {
	printf '%s\n' "$@" | awk -F: '
		$1 == "thin" || $1 == "snap" { there[$2] = 1 }
		$1 == "many" || $1 == "fan" { for (i = 0; i < $3; i++) there[$2 + i] = 1 }
		$1 == "delete" { delete there[$2] }
		END { for (i in there) print i }' | sort -n
}

# A run that ended with a power cut or an aborted transaction has other mappings than it last said, and one with many
# devices has not activated all of them: then the kernel looks again, reading only.
asks_again() {
	case " $* " in *" crash"* | *" fail-meta"* | *" many:"* | *" off:"*) return 0 ;; esac
	return 1
}
make_metadata() { # MIB ARGUMENT...: image, made, status, power_cut
	power_cut=no
	case " $* " in *" crash"*) power_cut=yes ;; esac
	truncate -s "${1}M" image && shift &&
		guest -d image -- "$lab/make-thin.sh" "$@" >made 2>made.err || return 1
	data_block=$(awk '$1 == "pool-table:" { n = $7 } END { print n + 0 }' made)
	devices_of "$@" >ids
	if asks_again "$@"; then
		guest -D image -- "$lab/accept-thin.sh" -R -i "$(paste -s -d , ids)" >again 2>>made.err
		statuses " on activation" <again >status
		grep -Eq '^VERDICT: (accepted|rejected .needs_check )' again || return 1
	else
		statuses "" <made >status
	fi
	[ "$data_block" -gt 0 ] && [ "$(wc -l <status)" -gt "$(wc -l <ids)" ]
}

kernel_devices() {
	awk -v bs="$data_block" '
		NR == FNR { if ($1 == "thin") mapped[$2] = $3 / bs; next }
		{ print "device " $1 " mapped " (($1 in mapped) ? mapped[$1] : "?") }' status ids
}
# A power cut between the commit of an allocation and the mapping's own leaks a block.
sure_mappings() {
	kernel_mappings | if [ $power_cut = yes ]; then grep -v '^different'; else cat; fi
}

# --- what bufio-dump says ---

dump_pool() {
	jq -r '"transaction \(.transaction)",
		"metadata blocks \(.metadata_total_blocks)",
		"data blocks \(.data_total_blocks) of \(.data_block_bytes)",
		"data blocks used \(.data_used_blocks)",
		"metadata snapshot \(.held_root)",
		"needs_check \(if .flag_names == "NEEDS_CHECK" then "yes" else "no" end)"' summary.json
}
dump_devices() { # what the details say and what was found, if that is not the same
	jq -r '.devices[] | "device \(.dev_id) mapped \(.mapped_blocks)" +
		if .found_blocks == .mapped_blocks then "" else " found \(.found_blocks)" end' summary.json
}
dump_mappings() {
	jq -r 'if .type == "device" then "device \(.dev_id)"
		elif .type == "mapping" then "mapping \(.dev_id) \(.origin) \(.data) \(.length)"
		else empty end' mappings.json | add_up "$(grep -c '^different' kernel.mappings)"
}

# No damage in what the kernel wrote, and needs_check is the one thing to be said of it.
run_dump() { # FILE ARGUMENT...
	file=$1; shift
	"$dump" "$@" image >"$file" 2>"$file.err"
	status=$?
	[ $status = 0 ] || { echo "exit status $status: bufio-dump $*"; head -n 10 "$file.err"; } >>wrong
}
check_problems() {
	jq -r '.problems[].name' summary.json >problems
	if grep -q "needs_check yes" kernel.pool; then
		grep -v -x needs-check problems && echo "problems other than needs-check"
		grep -q -x needs-check problems || echo "the problem needs-check is not reported"
	else
		sed 's/^/problem: /' problems
	fi >>wrong
	jq -e -s '.[-1].type == "end"' mappings.json >/dev/null || echo "mappings: no end" >>wrong
}

# --- the cases ---

points=5 # of a case
run_case() { # NAME MIB ARGUMENT...
	name=$1; shift
	rm -f ./* 2>/dev/null
	make_metadata "$@"
	made=$?
	verdict $made "$name: the kernel makes the metadata"
	[ $made = 0 ] || tail -n 20 made again made.err 2>&1 | notes
	kernel_pool >kernel.pool
	kernel_devices >kernel.devices
	sure_mappings >kernel.mappings
	: >wrong
	run_dump summary.json --json
	run_dump mappings.json mappings --json
	run_dump mappings.xml --format=xml
	check_problems
	verdict "$(test ! -s wrong; echo $?)" "$name: bufio-dump finds no damage"
	notes <wrong
	dump_pool >dump.pool
	agree kernel.pool dump.pool "$name: the pool's numbers are the kernel's"
	dump_devices >dump.devices
	agree kernel.devices dump.devices "$name: the devices and their mapped blocks are the kernel's"
	dump_mappings >dump.mappings
	agree kernel.mappings dump.mappings "$name: the mappings add up to the kernel's"
}

# --- a pool in use ---

live_points=7 # five of live.sh, and two
run_live() {
	rm -rf ./*
	mkdir out && cp "$dump" out/bufio-dump && truncate -s 4M image
	guest -d image -w "$dir/out" -- "$lab/live.sh" "$dir/out/bufio-dump" "$dir/out" >said 2>said.err
	take $((live_points - 2)) live <said
	notes <said.err
	same_outside out/live.xml "live: the device's XML is the same inside and outside" --format=xml
	same_outside out/held.xml "live: the metadata snapshot's XML is the same inside and outside" -m --format=xml
}
same_outside() { # FILE SENTENCE ARGUMENT...
	file=$1 sentence=$2; shift 2
	"$dump" "$@" image >outside.xml 2>outside.err && [ -s outside.xml ] && cmp "$file" outside.xml >>outside.err 2>&1
	verdict $? "$sentence"
	notes <outside.err
}
skip_live() { # WHY
	for i in $(seq $live_points); do
		number=$((number + 1))
		echo "ok $number - live $i # SKIP $1"
	done
}

cases() { grep -v '^[[:space:]]*\(#\|$\)' "$lab/cases.txt" | limit; }

nr_cases=$(cases | wc -l)
echo "1..$((nr_cases * points + live_points))"
i=0
while [ $((i += 1)) -le "$nr_cases" ]; do
	set -f
	# shellcheck disable=SC2046 # words of the table
	set -- $(cases | sed -n "${i}p")
	set +f
	run_case "$@"
done
case ${SANITIZERS:-no} in
no) run_live ;;
*) skip_live "a program with sanitizers does not run under User-Mode Linux" ;;
esac
exit $failed
