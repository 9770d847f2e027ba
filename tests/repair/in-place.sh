#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-repair --in-place on every image of the corpus. What it mends is clean afterwards, for thin_check too, has the same
# mappings, and needs no second run; the journal brings the old bytes back, and the new ones. What it refuses is not touched.
# Of the healthy images, and of those that are refused and take long to be made, a few, or all with REPAIR_ALL set. Then
# random damage, by fuzz-mend: MEND_COUNT cases, or so many seconds ("60s"), with a fixed seed and with one of the day.
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR
corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"

# Who is mended.
mendable="bad-count-low bad-count-low-shared bad-count-meta-low bad-data-bitmap bad-data-bitmap2 bad-data-index
	bad-details-checksum bad-details-zeroed bad-details-mapped bad-held-checksum bad-held-leaf bad-leak-data bad-leak-meta
	bad-meta-bitmap bad-meta-index bad-ref-leaf bad-sb-detailsroot bad-sb-held bad-sm-all thin-metafull thin-needscheck"

mappings() { # IMAGE: without what devices say of themselves
	bufio-dump -q --format=xml --flat "$1" 2>/dev/null |
		sed -n 's/ *<device dev_id="\([0-9]*\)".*/device \1/p; /_mapping /p'
}

# Some are marked as not to be activated all the same; a peer that is not there has nothing to say.
is_clean() { # WHEN
	bufio-check --json image >got.json 2>messages
	is "$? $(grep -c needs-check got.json)" "0 0" "$name: is clean $1"
	command -v thin_check >/dev/null || return 0
	[ "$(readlink -f "$(command -v thin_check)")" != "$(readlink -f "$(command -v bufio-check)")" ] || return 0
	thin_check image >messages 2>&1
	is $? 0 "$name: thin_check finds nothing $1"
}

mend() {
	mappings image >want
	bufio-repair --in-place --dry-run image >plan 2>messages
	is $? 0 "$name: there is a plan" && cmp -s old image
	is $? 0 "$name: a plan writes nothing"
	bufio-repair --in-place --journal=journal image >said 2>messages
	is $? 0 "$name: is mended"
	is "$(sed -n 's/^\([0-9]* block\).*/\1/p' said)" "$(sed -n 's/^\([0-9]* block\).*/\1/p' plan)" \
		"$name: as many blocks change as were planned"
	is_clean "then"
	if grep -q 'space maps are built anew' said; then
		"$builddir/tests/restore/recount" image >messages 2>&1
		is $? 0 "$name: every reference count and hint is right"
	fi
	mappings image >got
	same want got "$name: has the same mappings"
	cp image new
	bufio-repair --in-place --journal=second image >said 2>messages
	is "$? $(grep -c 'Nothing has to be done' said)" "0 1" "$name: a second run has nothing to do"
	cmp -s new image && [ ! -e second ]
	is $? 0 "$name: and changes nothing"
	back_and_forth
}

back_and_forth() {
	bufio-repair -q --undo=journal image 2>messages
	cmp -s old image
	is $? 0 "$name: --undo brings the old bytes back"
	bufio-repair -q --resume=journal image 2>messages
	cmp -s new image
	is $? 0 "$name: --resume brings the new ones back"
}

# Either there is nothing to be done, or no metadata of a known kind, or it cannot be done in place, and that is said.
leave() { # STATUS
	bufio-repair --in-place --journal=journal image >said 2>messages
	is $? "$1" "$name: ends with status $1"
	cmp -s old image && [ ! -e journal ]
	is $? 0 "$name: is not touched"
	[ "$1" != 3 ] || is "$(grep -c 'bufio-repair -i image -o NEW' messages)" 1 "$name: what to do instead is said"
}

status_of() { # NAME
	case $1 in
	bad-sb-zeroed | bad-cache-* | cache-* | era-*) echo 10 ;;
	bad-sb-metanr) echo 0 ;; # matters to nobody
	bad-* | hostile-*) echo 3 ;;
	*) echo 0 ;;
	esac
}

is_asked_for() { # NAME
	[ -z "${REPAIR_ALL-}" ] || return 0
	case " $(echo $mendable) bad-leaf-checksum " in *" $1 "*) is_sampled; return ;; esac
	[ ! -f "$corpus/$1.recipe" ] || return 1
	case $1 in
	bad-* | thin-snaps | thin-msnap | thin-empty | cache-* | era-*) is_sampled ;;
	*) return 1 ;;
	esac
}

for name in $(ls "$corpus" | sed -n 's/\.img\.xz$//p; s/\.recipe$//p'); do
	is_asked_for "$name" || continue
	rm -f journal second
	"$corpus/get" "$name" image || { skip "$name: needs python3 to be made"; continue; }
	cp image old
	case " $(echo $mendable) " in
	*" $name "*) mend ;;
	*) leave "$(status_of "$name")" ;;
	esac
done

set --
for name in thin-one thin-msnap thin-snaps thin-manydev bad-details-checksum bad-held-checksum bad-sm-all; do
	"$corpus/get" $name $name || exit 99
	set -- "$@" $name
done
for seed in 1 "$(date +%Y%m%d)1"; do
	"$builddir/tests/fuzz/fuzz-mend" "$seed" "${MEND_COUNT:-100}" "$@" >log 2>messages
	is $? 0 "random damage from seed $seed: is mended, or refused and not touched" || tail -n 3 log | sed 's/^/# last: /'
	grep '^#' log
done
finish
