#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Each text of malformed.txt is refused with its own message and nothing beside it. From a file the target is as it was.
# A pipe is read once only: where the target was begun it is marked, so that nobody takes it for metadata. A target that
# was made for this is not left behind.

here=$srcdir/tests/restore
. "$srcdir/tests/tap.sh"
SAMPLE=${MALFORMED_SAMPLE:-1} # sanitizers see all of it
good=$here/good.xml
unfinished="; the target is marked as not finished: mend the XML and run this again"
export good

# The status, what was printed to the standard output, and what to the standard error.
run() { # FILE TARGET
	bufio-restore -i "$1" -o "$2" >out 2>messages
	echo "$? $(cat out)$(cat messages)"
}

from_file() { # NAME MESSAGE
	cp old.img target.img
	is "$(run pool.xml target.img)" "4 bufio-restore: pool.xml$2" "$1: a file"
	is "$(cmp old.img target.img 2>&1)" "" "$1: a file: the target is as it was"
	is "$(run pool.xml new.img)" "4 bufio-restore: pool.xml$2" "$1: a file, to a new one"
	is "$(echo *)" "$files" "$1: a file, to a new one: which is not there"
}

from_pipe() { # NAME STATUS MESSAGE
	addition=
	[ "$2" = 4 ] || addition=$unfinished
	cp old.img target.img
	is "$(cat pool.xml | run - target.img)" "$2 bufio-restore: standard input$3$addition" "$1: a pipe"
	if [ "$2" = 4 ]; then
		is "$(cmp old.img target.img 2>&1)" "" "$1: a pipe: the target is as it was"
	else
		bufio-dump target.img >out 2>messages
		is "$? $(cat out)$(grep -o 'was not finished' messages)" "10 was not finished" "$1: a pipe: the target is marked"
	fi
	is "$(cat pool.xml | run - new.img)" "4 bufio-restore: standard input$3" "$1: a pipe, to a new file"
	is "$(echo *)" "$files" "$1: a pipe, to a new file: which is not there"
}

# What this needs is in the files kind, text and says.
check() { # NAME
	case $(cat kind) in
	sed) sed -f text "$good" >pool.xml ;;
	xml) cp text pool.xml ;;
	run) sh ./text <"$good" >pool.xml ;;
	esac
	cmp -s pool.xml "$good"
	is $? 1 "$1: it is damaged"
	from_file "$1" "$(cat says)"
	rm -f new.img
	from_pipe "$1" "$(cat pipe)" "$(cat says)"
	rm -f new.img
}

touch kind text says pipe out messages found pool.xml target.img
"$srcdir/tests/corpus/get" thin-one old.img || exit 99
files=$(echo *)

bufio-restore -i "$good" -o new.img >out 2>messages
is $? 0 "good.xml as it is: restored"
is "$(sed -n 's/^mappings *//p' out) $(cat messages)" "56 " "good.xml as it is: all of it"
rm -f new.img

name=
nr=0
while IFS= read -r line || [ "$line" ]; do
	word=${line%% *} rest=${line#* }
	case $word in
	'#' | '') ;;
	==)
		[ -z "$name" ] || { ok 0 "$name: has a message"; }
		name=$rest
		: >text
		echo 5 >pipe
		;;
	sed | xml | run) echo "$word" >kind && printf '%s\n' "$rest" >>text ;;
	pipe) echo "$rest" >pipe ;;
	says)
		printf '%s\n' "$rest" >says
		is_sampled && check "$name"
		name=
		nr=$((nr + 1))
		;;
	*) ok 0 "malformed.txt: not understood: $line" ;;
	esac
done <"$here/malformed.txt"
ok $((nr >= 50)) "malformed.txt has $nr cases"

# A message is one line, and cannot steer a terminal: line feed, tab, and U+009B, which some take for an escape.
sed '10s/dev_id="1"/dev_id="1\&#10;2\&#9;3\&#155;31m4"/' "$good" >pool.xml
run pool.xml new.img >found
is "$(wc -l <messages)" 1 "control characters in a value: a message of one line"
tr -d '\n' <messages | LC_ALL=C tr -d '\040-\176' | od -An -tx1 >found
is "$(cat found)" "" "control characters in a value: not in the message"

# What is shown of a long value ends behind a letter, not inside of one.
if command -v iconv >/dev/null; then
	sed '22s/dev_id="7"/dev_id="x\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"/
22s/\(\xc3\xb6\)\1\1/&&&&/g' "$good" >pool.xml
	run pool.xml new.img >found
	iconv -f UTF-8 -t UTF-8 messages >found 2>&1
	is $? 0 "a long value of other letters: the message has whole ones"
else
	skip "a long value of other letters: iconv is not installed"
fi
finish
