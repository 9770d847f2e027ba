#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each guard passes on the tree as it is, and fails on a copy of it with a planted fault.
. "$srcdir/tests/tap.sh"
guards=$srcdir/tests/guards

if [ "${SANITIZERS:-no}" != no ]; then
	skip "guards look at sources, which are those of the build without sanitizers"
	finish
	exit
fi

# A fresh copy of the sources to plant a fault in, without what no guard looks at, and without golden cases unless they are
# asked for: copy [golden].
copy() {
	golden=--exclude=tests/golden
	[ "${1-}" != golden ] || golden='--exclude=tests/golden/[!c]*'

	[ ! -d copy ] || chmod -R u+w copy
	rm -rf copy
	mkdir copy
	(cd "$srcdir" && tar cf - --exclude=tests/corpus "$golden" lib cmd man completions tests README.md \
		HACKING.md CHANGES configure.ac examples) | tar xf - -C copy
	chmod -R u+w copy # the sources may be read-only
}

passes() { # SENTENCE COMMAND...
	sentence=$1
	shift
	"$@" >messages 2>&1
	is $? 0 "$sentence"
}

# The fault was planted already; the guard must name it.
fails() { # SENTENCE PATTERN COMMAND...
	sentence=$1 pattern=$2
	shift 2
	"$@" >messages 2>&1
	[ $? = 1 ] && grep -q -e "$pattern" messages
	is $? 0 "planted: $sentence"
}

passes "files include only what lies to their left" "$guards/layers" "$srcdir"
copy
echo '#include "ops/op.h"' >>copy/lib/base/units.c
fails "base includes ops" "units.c includes ops/op.h" "$guards/layers" copy
copy
echo '#include "bufio.h"' >>copy/lib/io/io.h
fails "io includes bufio, by the name that is installed" "io.h includes bufio.h" "$guards/layers" copy
copy
echo '#include "bufio/bufio_int.h"' >>copy/lib/pdata/block.c
fails "an internal header leaves its room" "internal header" "$guards/layers" copy
copy
echo '#include "pdata/block.h"' >>copy/lib/text/emit.c
fails "text learns what a block is" "text sees" "$guards/layers" copy
copy
echo '#include "meta/thin.h"' >>copy/cmd/bufio-dump.c
fails "a door learns what a pool is" "cmd sees" "$guards/layers" copy
copy
mkdir copy/lib/util
fails "a room called util" "lib/util" "$guards/layers" copy
copy
echo 'int f(void) { return clock_gettime(0, NULL); }' >>copy/lib/bufio/evict.c
fails "the cache asks the time" "evict.c asks the time" "$guards/layers" copy

passes "libbufio.a shows only bufio_ symbols, never prints or exits, and asks no clock but for traces" \
	"$guards/symbols" "$builddir/libbufio.a"
mkdir -p sym && cp "$builddir/libbufio.a" sym/
echo 'int helper; int helper_call(int x) { return x + helper; }' >sym/a.c
${CC:-cc} -c sym/a.c -o sym/a.o && ar q sym/libbufio.a sym/a.o
fails "a symbol without the prefix" "helper" "$guards/symbols" sym/libbufio.a
cp "$builddir/libbufio.a" sym/
printf '#include <stdlib.h>\nvoid bufio_die(void) { exit(1); }\n' >sym/a.c
${CC:-cc} -c sym/a.c -o sym/a.o && ar q sym/libbufio.a sym/a.o
fails "the library exits" "^exit" "$guards/symbols" sym/libbufio.a
cp "$builddir/libbufio.a" sym/
printf '#include <time.h>\nlong bufio_now(void) { return time(NULL); }\n' >sym/a.c
${CC:-cc} -c sym/a.c -o sym/a.o && ar q sym/libbufio.a sym/a.o
fails "the library asks the time" "^time" "$guards/symbols" sym/libbufio.a

passes "options, views, schemas, statuses, problems, calls and README are in step" "$guards/docs" "$srcdir" "$builddir"
copy
sed 's/skip-mappings/skip-nothing/g; s/Fl -skip/Fl -slip/' "$srcdir/man/bufio-dump.8" >copy/man/bufio-dump.8
fails "an option is missing from the manual" "does not know --skip-mappings" "$guards/docs" copy "$builddir" tools
copy
sed 's/dev-id/dev-ix/g' "$srcdir/completions/fish/bufio-dump.fish" >copy/completions/fish/bufio-dump.fish
fails "an option is missing from a completion" "fish completion does not know --dev-id" "$guards/docs" copy "$builddir" tools
copy
sed 's/--json/--jsox/' "$srcdir/completions/bash/bufio-dump" >copy/completions/bash/bufio-dump
fails "a completion knows an option that is none" "knows --jsox, which is none" "$guards/docs" copy "$builddir" tools
copy
sed 's/^	{ "map", "", DUMP_MAP, .*/&\n	{ "atlas", "", DUMP_ATLAS, 0, 0, parse_nothing },/' "$srcdir/cmd/bufio-dump.c" \
	>copy/cmd/bufio-dump.c
fails "a view without a synopsis" "no synopsis of the view atlas" "$guards/docs" copy "$builddir" views
for shell in bash zsh fish; do
	fails "a view is missing from the $shell completion" "the $shell completion does not know the view atlas" \
		"$guards/docs" copy "$builddir" views
done
copy
sed 's,bufio.map/1,bufio.map/2,' "$srcdir/lib/ops/dump.c" >copy/lib/ops/dump.c
fails "a schema without a manual entry" "does not explain the schema bufio.map/2" "$guards/docs" copy "$builddir" all_schemas
copy
sed 's,bufio.restore/1,bufio.restore/2,' "$srcdir/lib/ops/restore.c" >copy/lib/ops/restore.c
fails "a schema of another tool without a manual entry" "bufio-restore.8 does not explain the schema bufio.restore/2" \
	"$guards/docs" copy "$builddir" all_schemas
copy
sed 's,bufio.repair-in-place/1,bufio.repair-in-place/2,' "$srcdir/lib/ops/repair_in_place.c" >copy/lib/ops/repair_in_place.c
fails "a schema of a tool's other file without a manual entry" \
	"bufio-repair.8 does not explain the schema bufio.repair-in-place/2" "$guards/docs" copy "$builddir" all_schemas
copy
sed 's/^TOOLS = .*/& bufio-new/' "$srcdir/cmd/Makemodule.am" >copy/cmd/Makemodule.am
fails "a tool without a page" "bufio-new has no page" "$guards/docs" copy "$builddir" pages
copy
echo 'PROBLEM(NEW_ONE, "brand-new", COSMETIC, "is new", "nothing", "wait")' >>copy/lib/pdata/problem.def
for tool in bufio-dump bufio-check; do
	fails "a problem without an entry in $tool(8)" "$tool.8 does not explain the problem brand-new" \
		"$guards/docs" copy "$builddir" all_problems
done
copy
sed 's/"as", "auto"/"as", "atop", "auto"/; s/^	{ "fence", PART_OPS/	{ "hedge", PART_OPS/' "$srcdir/lib/text/script_parse.c" \
	>copy/lib/text/script_parse.c
for word in atop hedge; do
	fails "a word of scripts without a manual entry: $word" "bufio-script.5 does not know $word" \
		"$guards/docs" copy "$builddir" script
done
copy
echo 'int bufio_brand_new(struct bufio_client *c);' >>copy/lib/bufio/bufio.h
echo '.Fn dm_bufio_brand_new' >>copy/man/bufio.3
fails "a call without a manual entry" "bufio_brand_new" "$guards/docs" copy "$builddir" calls
copy
sed 's/^	CLI_REPAIRABLE = 11/	CLI_REPAIRABLE = 12/' "$srcdir/cmd/cli.h" >copy/cmd/cli.h
fails "an exit status without a manual entry" "exit status 12" "$guards/docs" copy "$builddir" all_statuses
copy
sed 's/^superblock  /superblok   /' "$srcdir/README.md" >copy/README.md
fails "README shows what is not printed" "not what this prints now" "$guards/docs" copy "$builddir" readme

unit=$builddir/tests/unit/unit
passes "every row of what the kernel does has its tests" "$guards/rows" "$srcdir" "$unit"
copy
sed '0,/^	hold: a move/s//	hold: no move/' "$srcdir/tests/kernel-rows.txt" >copy/tests/kernel-rows.txt
fails "a row names a test that there is not" "no such test: hold: no move" "$guards/rows" copy "$unit"
copy
sed -n '1,/^	hold/p' "$srcdir/tests/kernel-rows.txt" | grep '^[8	]' >>copy/tests/kernel-rows.txt
fails "a row is there twice" "^twice: 8" "$guards/rows" copy "$unit"
copy
sed -n '/^	hold/{p;q;}' "$srcdir/tests/kernel-rows.txt" >line
sed '/^	hold/r line' "$srcdir/tests/kernel-rows.txt" >copy/tests/kernel-rows.txt
fails "a row names a test twice" "^twice in one row: hold" "$guards/rows" copy "$unit"
copy
echo '15 a row that nobody tests' >>copy/tests/kernel-rows.txt
fails "a row without a test or a reason" "neither a test nor a reason: 15 a row" "$guards/rows" copy "$unit"
copy
echo 'passes "files include only what lies to their left" true' >>copy/tests/guards/guards.sh
fails "two tests have one name" "two tests of one name: guards" "$guards/rows" copy "$unit"

passes "every kind of damage has a case in which it is found" "$guards/cases" "$srcdir"
copy golden
echo 'PROBLEM(NEW_ONE, "brand-new", COSMETIC, "is new", "it is", "wait")' >>copy/lib/pdata/problem.def
fails "a kind of damage without a case" "no case for brand-new" "$guards/cases" copy
copy golden
sed 's/node-loop/node-lop/g' "$srcdir/tests/golden/check-node-loop/expect" >copy/tests/golden/check-node-loop/expect
fails "a case that finds something else" "check-node-loop does not find node-loop" "$guards/cases" copy

passes "every file has its licence, none speaks of a place outside" "$guards/tree" "$srcdir"
copy
sed 1d "$srcdir/lib/base/le.h" >copy/lib/base/le.h
fails "a file without a licence" "le.h: no SPDX line" "$guards/tree" copy

if command -v mandoc >/dev/null; then
	for page in "$srcdir"/man/*.[0-9]; do
		passes "$(basename "$page"): mandoc finds nothing to complain about" mandoc -T lint -W warning "$page"
	done
else
	skip "mandoc is not installed to look at the manual pages"
fi
finish
