#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What is said of scripts: nothing of all.bp and of the examples in the manual; of those in errors.txt what is there, with
# its place, the line, and the mark under it.
. "$srcdir/tests/tap.sh"
here=$srcdir/tests/script
says=$builddir/tests/script/says

# Cases to NR.bp and NR.want, and what NR is about to NR.about.
awk '
	function finish_case(    i) {
		if (!nr_lines)
			return
		nr++
		before = whole ? "" : is_early ? early : early "let three = 3\n"
		shift = whole ? 0 : is_early ? 4 : 5
		printf "%s", before > (nr ".bp")
		for (i = 1; i <= nr_lines; i++)
			print lines[i] > (nr ".bp")
		printf "%d.bp:%d:%d: %s\n", nr, bad + shift, column, message > (nr ".want")
		printf "    %s\n    %s\nstatus 1\n", lines[bad], mark > (nr ".want")
		about = lines[bad] ": " message
		gsub(/[\\#]/, "", about)
		print about > (nr ".about")
		close(nr ".bp"); close(nr ".want"); close(nr ".about")
		nr_lines = whole = bad = 0
	}
	BEGIN { early = "bpatch 1\nblock-size 4KiB\ntarget T\nsource S\n" }
	/^# ----/ { is_early = /declarations/ }
	/^$/ { finish_case(); next }
	/^#/ && !whole { next }
	/^-- whole$/ { whole = 1; next }
	/^ *\^~*( |$)/ && nr_lines && !bad {
		bad = nr_lines
		match($0, /\^~*/)
		column = RSTART
		mark = substr($0, 1, RSTART + RLENGTH - 1)
		message = substr($0, RSTART + RLENGTH + 1)
		next
	}
	{ lines[++nr_lines] = $0 }
	END { finish_case(); print nr > "count" }' "$here/errors.txt"

nr=1
while [ -f $nr.bp ]; do
	"$says" $nr.bp >$nr.found 2>messages
	echo "status $?" >>$nr.found
	same $nr.want $nr.found "$(cat $nr.about)"
	nr=$((nr + 1))
done
ok $((nr > 200)) "errors.txt has $((nr - 1)) cases"

"$says" "$here/all.bp" >found
is "$? $(cat found)" "0 " "every statement in every form: nothing is wrong"
sed 's/$/\r/' "$here/all.bp" >crlf.bp
"$says" crlf.bp >found
is "$? $(cat found)" "0 " "the same with CR LF"

# Those of the manual.
sed -n '/^\.\\" example-begin/,/^\.\\" example-end/p' "$srcdir/man/bufio-script.5" |
	awk '/example-begin/ { nr++ } !/^\./ { gsub(/\\e/, "\\"); print > ("example-" nr ".bp") }'
for example in example-*.bp; do
	"$says" "$example" >found
	is "$? $(cat found)" "0 " "the manual, $example: nothing is wrong"
done
ok "$([ -s example-2.bp ] && echo 1)" "the manual has examples"

# Bounds. A tree of 65 fields takes a hundred times the text that it is.
if [ "$SANITIZERS" = no ]; then
	head='bpatch 1\nblock-size 4KiB\ntarget T\n'
	{ printf "$head" && yes 'checksum auto' | head -n 1000000; } >many.bp
	"$says" many.bp >found
	is "$? $(cat found)" "0 " "a million operations: nothing is wrong"
	echo 'checksum auto' >>many.bp
	"$says" many.bp >found
	is "$? $(head -n 1 found)" "1 many.bp:1000004:1: more than 1000000 operations" "and one more: that is too many"
	sum=$(yes +a | head -n 64 | tr -d '\n')
	{ printf "$head" && yes "set b.c = a$sum" | head -n 100000; } >large.bp
	(ulimit -v 800000 && "$says" large.bp >found)
	is "$? $(sed -n '1s/:[0-9]*:1:/:N:1:/p' found)" "1 large.bp:N:1: too large: so far it takes more than 512 MiB of memory" \
		"what takes much memory is refused, and took no more"
else
	skip "bounds: they are those of a build without sanitizers"
fi
finish
