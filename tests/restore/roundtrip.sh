#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Every healthy image of the corpus, from dump to restore to dump, in both forms of the XML; every counter of what was
# restored; and beside thin-provisioning-tools 0.9, where they are installed, what they make of the same XML.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"
recount=$builddir/tests/restore/recount
export LC_ALL=C

case $(thin_check -V 2>/dev/null) in
0.9*) peers=yes ;;
*) peers=no ;;
esac
# The name of the peer that is compared with is not ours here.
peer() { # COMMAND...
	"$@" >peer.out 2>&1
}

# restore XML IMAGE WORDS...: into a new image of the size of name.img.
restore() {
	xml=$1 to=$2
	shift 2
	rm -f "$to" && truncate -s "$(stat -c %s name.img)" "$to" && bufio-restore -q -i "$xml" -o "$to" "$@" 2>messages
}

dump() { # IMAGE OUT WORDS...
	image=$1 out=$2
	shift 2
	bufio-dump --format=xml -q "$@" "$image" >"$out"
}

counters() { # IMAGE SENTENCE
	"$recount" "$1" >found 2>&1
	is $? 0 "$2: every reference count and hint is right" || head -n 5 found | sed 's/^/# /'
}

both_ways() { # NAME WORDS...: the form of the XML
	name=$1
	shift
	form="$name${1:+ $1}"
	dump name.img one.xml "$@"
	restore one.xml two.img
	is $? 0 "$form: restored"
	dump two.img two.xml "$@"
	same one.xml two.xml "$form: the same XML comes out again"
	counters two.img "$form"
	[ $peers = yes ] || return
	peer thin_check two.img
	is $? 0 "$form: thin_check passes it" || sed 's/^/# /' peer.out
}

# The peer reads the flat form only, and leaves half of a leaf empty.
beside_peer() { # NAME
	dump name.img one.xml --flat
	rm -f theirs.img && truncate -s $((2 * $(stat -c %s name.img))) theirs.img && peer thin_restore -i one.xml -o theirs.img
	is $? 0 "$1: thin_restore reads our XML"
	dump theirs.img theirs.xml --flat
	same one.xml theirs.xml "$1: its image dumps as ours does"
	peer thin_dump two.img -o theirs.xml
	same one.xml theirs.xml "$1: thin_dump writes the same of our image"
}

# A metadata snapshot does not know how large the data device is: its XML says 0, and restore finds out.
snapshot() { # NAME
	dump name.img one.xml -m
	restore one.xml two.img
	is $? 0 "$1: the metadata snapshot is restored"
	dump two.img two.xml
	sed '1s/ nr_data_blocks="[0-9]*"//' one.xml >one.rest
	sed '1s/ nr_data_blocks="[0-9]*"//' two.xml >two.rest
	same one.rest two.rest "$1: the same XML comes out again, but for the size of the data device"
	counters two.img "$1, the metadata snapshot"
}

for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	case $name in *.*) continue ;; esac
	is_sampled || continue
	"$corpus/get" "$name" name.img || exit 99
	both_ways "$name"
	both_ways "$name" --flat
	[ $peers = no ] || beside_peer "$name"
	[ ! -f "$corpus/$name.msnap.xml.xz" ] || snapshot "$name"
done
[ $peers = yes ] || skip "thin-provisioning-tools 0.9 are not installed to compare with"
finish
