#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Golden cases: each folder beside this file is one. Dropping a folder in adds it. In a folder:
#
#   cmd      what is run, by sh, in an empty directory with the tools in PATH
#   image    (optional) images that are unpacked there first, a name of the corpus a line, as NAME.img
#   damage   (optional) images that are made there first, from one of the corpus and with operations of
#            tests/corpus/damage.py: lines NAME BASE OPERATION..., as NAME.img; "#" begins a comment. Without python3
#            the case is skipped
#   expect   what it prints, both outputs together
#   status   (optional) its exit status, 0 if there is no such file
#
# GOLDEN_UPDATE=1 writes expect and status as they are found: read the difference before you keep it.

golden=$srcdir/tests/golden
. "$srcdir/tests/tap.sh"

get() { # IMAGE NAME OPERATION... in the case's directory
	image=$1 as=$2
	shift 2
	"$srcdir/tests/corpus/get" "$image" "$tap_dir/case/$as.img" "$@"
}

get_images() { # FOLDER
	[ ! -f "$1/image" ] || while read -r image; do
		get "$image" "$image" || return
	done <"$1/image"
	[ ! -f "$1/damage" ] || while read -r as base operations; do
		case $as in '#'* | '') continue ;; esac
		get "$base" "$as" ${operations%%#*} || return
	done <"$1/damage"
}

run_case() { # FOLDER
	name=$(basename "$1")
	status=0
	[ -f "$1/status" ] && status=$(cat "$1/status")
	rm -rf "$tap_dir/case" && mkdir "$tap_dir/case"
	get_images "$1"
	case $? in
	0) ;;
	77) skip "$name: needs python3 to make its image"; return ;;
	*) ok 0 "$name: its image can be made"; return ;;
	esac
	(cd "$tap_dir/case" && exec timeout 120 sh "$1/cmd") >found 2>&1 </dev/null
	found=$?
	if [ -n "$GOLDEN_UPDATE" ]; then
		cp found "$1/expect"
		rm -f "$1/status"
		[ $found = 0 ] || echo $found >"$1/status"
	fi
	is $found "$status" "$name: exit status $status"
	same "$1/expect" found "$name: output"
}

for folder in "$golden"/*/; do
	is_sampled || continue
	run_case "${folder%/}"
done
finish
