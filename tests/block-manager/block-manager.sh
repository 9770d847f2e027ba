#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Code in the kernel's style runs on dm-bufio.h: a block manager commits a transaction to real thin-pool metadata.
. "$srcdir/tests/tap.sh"
programs=$builddir/tests/block-manager

# What bufio-dump says, without what a transaction changes.
summary() { # IMAGE
	bufio-dump "$1" | sed -e "s/^$1//" -e 's/checksum 0x[0-9a-f]*/checksum/' -e 's/^transaction  *[0-9]*/transaction/'
}

transaction() { # IMAGE
	bufio-dump "$1" | sed -n 's/^transaction  *\([0-9]*\),.*/\1/p'
}

commits() { # PROGRAM IMAGE
	"$srcdir/tests/corpus/get" "$2" before && cp before after
	"$programs/$1" after >output 2>messages
	is $? 0 "$1: a transaction on $2"
	used=$(bufio-dump before | sed -n 's/^metadata  *\([0-9]*\) of .*/\1/p')
	is "$(cat output)" "checked $used blocks
checked $used blocks" "$1: it reaches every block that is in use, before and after"
	is "$(transaction after)" $(($(transaction before) + 1)) "$1: bufio-dump sees the next transaction"
	is "$(summary after)" "$(summary before)" "$1: and nothing else that changed"
	bufio-dump after | grep -q '^No damage found'
	is $? 0 "$1: and no damage"
	is "$(cmp -l before after | awk '$1 > 4096' | wc -l)" 0 "$1: outside of the superblock no byte differs"
}

refuses() { # PROGRAM IMAGE PATTERN
	"$srcdir/tests/corpus/get" "$2" before && cp before after
	"$programs/$1" after >output 2>messages
	is "$?" 1 "$1: no transaction on $2"
	grep -q -e "$3" messages
	is $? 0 "$1: its validator says why"
	cmp -s before after
	is $? 0 "$1: nothing was written"
}

for program in commit commit-60000; do
	commits $program thin-snaps
	commits $program thin-sharedmany
	refuses $program bad-sb-checksum "block 0 is no valid superblock"
	refuses $program bad-leaf-blocknr "is no valid btree node"
	refuses $program bad-meta-bitmap "is no valid bitmap"
	"$programs/$program" missing >output 2>messages
	is "$?" 1 "$program: no device, no transaction"
done
finish
