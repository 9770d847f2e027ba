#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Golden cases: each folder beside this file is one. Dropping a folder in adds it. In a folder:
#
#   cmd      what is run, by sh, in an empty directory with the tools in PATH
#   image    (optional) images that are unpacked there first, a name of the corpus a line, as NAME.img
#   expect   what it prints, both outputs together
#   status   (optional) its exit status, 0 if there is no such file
#
# GOLDEN_UPDATE=1 writes expect and status as they are found: read the difference before you keep it.

golden=$srcdir/tests/golden
. "$srcdir/tests/tap.sh"

run_case() { # FOLDER
	name=$(basename "$1")
	status=0
	[ -f "$1/status" ] && status=$(cat "$1/status")
	rm -rf "$tap_dir/case" && mkdir "$tap_dir/case"
	if [ -f "$1/image" ]; then
		while read -r image; do
			"$srcdir/tests/corpus/get" "$image" "$tap_dir/case/$image.img" || { skip "$name: no image"; return; }
		done <"$1/image"
	fi
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
	run_case "${folder%/}"
done
finish
