# SPDX-License-Identifier: LGPL-2.1-or-later
# What the scripts share that ask the real kernel; sourced.  Skips everything where there is no kernel to ask.  Works in
# a private directory that is removed in the end.
#
# Environment: srcdir (top of the source), UML_KERNEL and UML_MODULES (see umlrun), KERNEL_CASES (how many of the cases;
# default all).

lab=$(cd "${srcdir:-.}/tests/kernel" && pwd) || exit 99
corpus=$lab/../corpus
PATH=$PATH:/usr/sbin:/sbin

skip_all() { echo "1..0 # SKIP $*"; exit 0; }
bail_out() { echo "Bail out! $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

have "${UML_KERNEL:-linux.uml}" || skip_all "user-mode-linux is not installed"
[ -d "${UML_MODULES:-/usr/lib/uml/modules}" ] || skip_all "user-mode-linux is not installed"
have dmsetup || skip_all "dmsetup is not installed"
have jq || skip_all "jq is not installed"

dir=$(mktemp -d "${TMPDIR:-/tmp}/bufio-kernel.XXXXXX") || bail_out "no directory to work in"
trap 'clean_up' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
cd "$dir" || bail_out "cannot work in $dir"

limit() { head -n "${KERNEL_CASES:-100000}"; } # of a list of cases, those that are asked for

# --- running guests ---

# In the background: so this shell hears of a signal at once, and can end the guest.
guest_pid=
guest() { # umlrun's arguments
	"$lab/umlrun" -t 240 "$@" &
	guest_pid=$!
	wait "$guest_pid"
	guest_status=$?
	guest_pid=
	return $guest_status
}
stop_guest() { [ -z "$guest_pid" ] || { kill "$guest_pid" && wait "$guest_pid"; } 2>/dev/null; }

lanes= # other shells with guests of their own
clean_up() {
	trap '' INT TERM HUP
	stop_guest
	# shellcheck disable=SC2086 # a list
	[ -z "$lanes" ] || { kill $lanes; wait $lanes; } 2>/dev/null
	rm -rf "$dir"
}

# --- TAP ---

number=0 failed=0

notes() { sed 's/^/# /'; } # standard input, as diagnostics
verdict() { # STATUS SENTENCE
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		failed=1
	fi
}
agree() { # WANTED-FILE FOUND-FILE SENTENCE
	diff "$1" "$2" >difference 2>&1
	verdict $? "$3"
	[ ! -s difference ] || { echo "< wanted, > found"; head -n 30 difference; } | notes
}

# The points that another script or shell came to (standard input), as our own; those that are missing have failed.
take() { # NUMBER WHOSE
	first=$number
	while IFS= read -r line; do
		case $line in
		"ok "*) verdict 0 "${line#*- }" ;;
		"not ok "*) verdict 1 "${line#*- }" ;;
		"#"*) echo "$line" ;;
		*) echo "# $line" ;;
		esac
	done
	while [ $((number - first)) -lt "$1" ]; do
		verdict 1 "$2: came to its end"
	done
}

# --- two guests at a time ---

# run_cases CASE...: "run_case CASE" for each, which comes to "points_of CASE" points, each in a directory of its own;
# what they print in the order of the cases.
run_cases() {
	lane "$@" &
	lanes=$!
	lane "$@" &
	lanes="$lanes $!"
	for case; do
		while [ ! -e "$case.said" ] && is_running; do sleep 0.2; done
		[ -e "$case.said" ] || cat "$case.begun" >"$case.said" 2>/dev/null
		take "$(points_of "$case")" "$case" <"$case.said"
	done
}
# Takes what the other lane has not begun.
lane() {
	trap - EXIT
	trap 'stop_guest; exit 143' TERM
	lanes=
	for case; do
		mkdir "$dir/$case" 2>/dev/null && cd "$dir/$case" || continue
		run_case "$case" >"$dir/$case.begun" 2>&1
		mv "$dir/$case.begun" "$dir/$case.said"
		rm -rf ./*
	done
}
is_running() {
	for pid in $lanes; do kill -0 "$pid" 2>/dev/null && return; done
	return 1
}

# --- what the kernel says ---

# Status lines of the pool and the thins, the same from all scripts: "pool FIELDS", "thin ID SECTORS HIGHEST-SECTOR".
statuses() { # WHEN: which of the pool's
	awk -v pool="pool-status$1:" '
		index($0, pool) == 1 { line = "pool" substr($0, length(pool) + 1) }
		$1 == "thin-status" { sub(":", "", $2); thins = thins "thin " $2 " " $(NF - 1) " " $NF "\n" }
		END { print line; printf "%s", thins }'
}

# Out of the files status and ids, with the sectors of a data block in $data_block.
kernel_pool() { # fields of the status line: see the kernel's thin-provisioning.rst
	awk -v bytes=$((data_block * 512)) '$1 == "pool" {
		split($6, meta, "/"); split($7, data, "/")
		print "transaction " $5
		print "metadata blocks " meta[2]
		print "data blocks " data[2] " of " bytes
		print "data blocks used " data[1]
		print "metadata snapshot " ($8 == "-" ? 0 : $8)
		print "needs_check " (/ needs_check / ? "yes" : "no")
	}' status
}
kernel_mappings() {
	awk -v bs="$data_block" '
		NR == FNR { if ($1 == "thin") { n[$2] = $3 / bs; end[$2] = $4 == "-" ? 0 : ($4 + 1) / bs }; next }
		{ print "device " $1 " lengths " n[$1] + 0 " end " end[$1] + 0 }' status ids
	# With a metadata snapshot there are blocks in use that only it has.
	awk '$1 == "pool" && $8 == "-" { sub("/.*", "", $7); print "different data blocks " $7 }' status
}

# --- the same, of mappings ---

# Of "device ID" and "mapping ID ORIGIN DATA LENGTH".
add_up() { # whether to count data blocks: 1 or 0
	awk -v count_data="$1" '
		$1 == "device" { ids[nr++] = $2; next }
		{
			n[$2] += $5
			if ($3 + $5 > end[$2]) end[$2] = $3 + $5
			for (i = 0; i < $5; i++) if (!seen[$4 + i]++) data++
		}
		END {
			for (i = 0; i < nr; i++) print "device " ids[i] " lengths " n[ids[i]] + 0 " end " end[ids[i]] + 0
			if (count_data) print "different data blocks " data + 0
		}'
}
