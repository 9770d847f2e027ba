#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What bufio-dump diff --as-script writes, turns one image into the other, byte for byte, and back, and forth again.
. "$srcdir/tests/tap.sh"

status_is() { # STATE SENTENCE
	bufio-copy --json --status=journal >status 2>messages
	is "$(sed -n 's/.*"state": *"\([a-z]*\)".*/\1/p' status)" "$1" "$pair: $2"
}

copies() { # STATUS SENTENCE OPTION...
	wanted=$1 sentence=$2
	shift 2
	bufio-copy "$@" >output 2>messages
	is $? "$wanted" "$pair: $sentence"
}

# Patches of our own see the signature of others, and say which.
pair() { # A B OPTION...
	pair="$1 to $2"
	rm -f journal
	"$srcdir/tests/corpus/get" "$1" A && "$srcdir/tests/corpus/get" "$2" B
	case $? in
	0) ;;
	77) skip "$pair: needs python3"; return ;;
	*) ok 0 "$pair: the images can be made"; return ;;
	esac
	shift 2
	cp A T
	bufio-dump diff --as-script -o script A B 2>messages
	is $? 1 "$pair: a script can be written"
	copies 1 "the plan changes something" --exit-code --script=script T=T
	digest=$(sed -n 's/.*--apply=//p' output)
	same A T "$pair: and has written nothing"
	copies 0 "applied" "$@" --script=script --apply="$digest" --journal=journal T=T
	same B T "$pair: it is the other one"
	status_is "done" "the journal is done"
	copies 6 "what was expected before is not so any more" --script=script T=T
	copies 3 "no second journal of that name" "$@" --script=script --apply="$digest" --journal=journal T=A
	copies 0 "undone" --undo=journal T
	same A T "$pair: it is as it was"
	status_is undone "the journal is undone"
	copies 1 "the plan is the same again" --exit-code --script=script T=T
	is "$(sed -n 's/.*--apply=//p' output)" "$digest" "$pair: and so is its digest"
	copies 0 "resumed" --resume=journal
	same B T "$pair: it is the other one again"
	status_is "done" "the journal is done again"
	copies 0 "undone, twice" --undo=journal
	copies 0 "undone, twice" --undo=journal T
	same A T "$pair: it is as it was again"
}

pair thin-snaps thin-msnap
pair thin-needscheck thin-snaps
pair thin-snaps bad-sb-zeroed
pair bad-sb-zeroed thin-snaps
pair bad-sb-checksum bad-sb-magic
pair bad-sb-magic bad-sb-checksum
pair bad-leaf-blocknr thin-manydev
pair thin-manydev bad-top-node
pair bad-sm-all bad-both-trees
pair bad-details-and-leaf hostile-many-pointers
pair hostile-many-pointers thin-1m
pair thin-128k cache-v2-dirty
pair cache-v2-dirty thin-128k --force-signature=dm-cache
pair era-few thin-one --force-signature=dm-era
pair thin-metafull thin-empty
pair thin-frag bad-70-leaves
pair bad-node-firstkey bad-data-bitmap2
pair thin-sharedmany bad-shared-checksum

# Nothing to do is nothing done.
pair="thin-one to itself"
rm -f journal
"$srcdir/tests/corpus/get" thin-one A && cp A B && cp A T
bufio-dump diff --as-script -o script A B 2>messages
is $? 0 "$pair: a script can be written"
copies 0 "the plan changes nothing" --exit-code --script=script T=T
grep -q '^Nothing would change' output
is $? 0 "$pair: and says so"
digest=$(bufio-copy --json --script=script T=T | sed -n 's/.*"digest": *"\([0-9a-f]*\)".*/\1/p')
copies 0 "applied" --script=script --apply="$digest" --journal=journal T=T
grep -q '^Nothing changed' output
is $? 0 "$pair: and says that nothing changed"
same A T "$pair: which is so"
[ ! -e journal ]
is $? 0 "$pair: no journal is left"

# Images of two sizes have none.
"$srcdir/tests/corpus/get" thin-snaps B
bufio-dump diff --as-script A B >output 2>messages
is $? 2 "two sizes: no script"
same /dev/null output "two sizes: nothing is written"
finish
