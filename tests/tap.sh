# SPDX-License-Identifier: LGPL-2.1-or-later
# TAP for shell tests; sourced. Works in a private directory that is removed in the end, with the tools in PATH.

tap_nr=0
tap_dir=$(mktemp -d "${TMPDIR:-/tmp}/bufio-test.XXXXXX") || exit 99
trap 'cd /; rm -rf "$tap_dir"' EXIT
trap 'exit 130' INT TERM HUP
mkdir "$tap_dir/bin" "$tap_dir/work" || exit 99
for tool in "$builddir"/bufio-*; do
	[ -x "$tool" ] && [ -f "$tool" ] && ln -s "$tool" "$tap_dir/bin/"
done
PATH=$tap_dir/bin:$PATH:/usr/sbin:/sbin
cd "$tap_dir/work" || exit 99

# True for one of $SAMPLE cases that are asked for one after the other; for all without it. Builds that only want to see
# that the tests work set it.
tap_case=0
is_sampled() {
	tap_case=$((tap_case + 1))
	[ $((tap_case % ${SAMPLE:-1})) = 0 ]
}

# ok VALUE SENTENCE: passed unless VALUE is empty or 0
ok() {
	tap_nr=$((tap_nr + 1))
	if [ -n "$1" ] && [ "$1" != 0 ]; then
		echo "ok $tap_nr - $2"
		return 0
	fi
	echo "not ok $tap_nr - $2"
	return 1
}

# is FOUND EXPECTED SENTENCE
is() {
	if [ "$1" = "$2" ]; then ok 1 "$3"; return; fi
	ok 0 "$3"
	echo "# expected: $2"
	echo "# found:    $1"
	[ -s messages ] && head -n 5 messages | sed 's/^/# /'
	return 1
}

# same EXPECTED-FILE FOUND-FILE SENTENCE
same() {
	if cmp -s "$1" "$2"; then ok 1 "$3"; return; fi
	ok 0 "$3"
	diff "$1" "$2" 2>&1 | head -n 20 | sed 's/^/# /'
	return 1
}

skip() {
	tap_nr=$((tap_nr + 1))
	echo "ok $tap_nr - # SKIP $1"
}

finish() {
	echo "1..$tap_nr"
}
