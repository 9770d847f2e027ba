#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The views that answer what thin_ls, thin_rmap, thin_delta and thin_metadata_size answer, against those of 0.9.0, on
# every healthy image of the corpus: as a view, and called by the peer's own name with the peer's own options.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"

MAX_PAIRS=${MAX_PAIRS:-30}
# Tables of views are a share of this: filling them, as MALLOC_PERTURB_ does, would take longer than all the rest.
export BUFIO_MEMORY_LIMIT=16MiB

case $(thin_ls -V 2>/dev/null) in
0.9*) ;;
*)
	skip "thin-provisioning-tools 0.9 are not installed to compare with"
	finish
	exit
	;;
esac

# Peers are found before their names mean bufio-dump.
mkdir names
for peer in thin_ls thin_rmap thin_delta thin_metadata_size; do
	ln -s "$(command -v bufio-dump)" "names/$peer"
done
names=$PWD/names

# How the peer's output, in the file want, is compared with ours, in got.
compare=same

view_gives() { # SENTENCE WORDS...
	sentence=$1
	shift
	bufio-dump "$@" >got 2>messages
	$compare want got "$sentence: bufio-dump $*"
}

name_gives() { # SENTENCE PEER WORDS...
	sentence=$1 peer=$2
	shift 2
	"$names/$peer" "$@" >got 2>messages
	status=$?
	is $status 0 "$sentence: called $peer $*: status"
	$compare want got "$sentence: called $peer $*"
}

COLUMNS_OF_LS=DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS,MAPPED_SECTORS,EXCLUSIVE_SECTORS,SHARED_SECTORS,\
MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES,MAPPED,EXCLUSIVE,SHARED,TRANSACTION,CREATE_TIME,SNAP_TIME

compare_ls() { # NAME
	thin_ls "$1.img" >want
	view_gives "$1" ls "$1.img"
	name_gives "$1" thin_ls "$1.img"
	thin_ls --no-headers -o DEV,TRANSACTION "$1.img" >want
	view_gives "$1" ls --no-headers --columns=DEV,TRANSACTION "$1.img"
	name_gives "$1" thin_ls --no-headers -o DEV,TRANSACTION "$1.img"
	thin_ls -o $COLUMNS_OF_LS "$1.img" >want
	view_gives "$1" ls --columns=$COLUMNS_OF_LS "$1.img"
	name_gives "$1" thin_ls --format $COLUMNS_OF_LS "$1.img"
	[ -f "$corpus/$1.msnap.xml.xz" ] || return
	thin_ls -m -o DEV,MAPPED_BLOCKS,EXCLUSIVE,CREATE_TIME "$1.img" >want
	view_gives "$1" ls --metadata-snap --columns=DEV,MAPPED_BLOCKS,EXCLUSIVE,CREATE_TIME "$1.img"
	name_gives "$1" thin_ls -m -o DEV,MAPPED_BLOCKS,EXCLUSIVE,CREATE_TIME "$1.img"
}

# The peer leaves out some mappings that devices share, and gives those of one data block in any order. So all that it
# gives must be there, block by block; corpus.sh sees to it that there is all, and no more.
by_block() {
	awk '/^data / {
		split($2, data, /\.\./); split($5, virtual, /\.\./)
		for (i = 0; i < data[2] - data[1]; i++)
			print data[1] + i, $4, virtual[1] + i
	}' "$1" | sort
}

holds() { # WANT GOT SENTENCE
	by_block "$1" >want.blocks
	by_block "$2" >got.blocks
	comm -23 want.blocks got.blocks >missing
	same /dev/null missing "$3"
}

compare_regions() { # NAME REGION...
	name=$1
	shift
	options=
	for region; do
		options="$options --region $region"
	done
	thin_rmap $options "$name.img" >want || ok 0 "$name: thin_rmap$options"
	compare=holds
	view_gives "$name" owner --data "$name.img" "$@"
	name_gives "$name" thin_rmap $options "$name.img"
	compare=same
}

# A block, all blocks, the last ones, nothing that is mapped, two that touch, two that overlap, and not in order.
compare_rmap() { # NAME NR-DATA-BLOCKS
	compare_regions "$1" 0..1
	compare_regions "$1" "0..$2"
	compare_regions "$1" "$(($2 - 100))..$2"
	compare_regions "$1" 50..100 100..130
	compare_regions "$1" 50..100 70..130
	compare_regions "$1" 300..310 20..25
}

compare_pair() { # NAME A B
	thin_delta --thin1 "$2" --thin2 "$3" "$1.img" >want
	view_gives "$1" delta --format=xml "$1.img" "$2" "$3"
	name_gives "$1" thin_delta --thin1 "$2" --thin2 "$3" "$1.img"
	thin_delta --verbose --thin1 "$2" --thin2 "$3" "$1.img" >want
	view_gives "$1" delta --format=xml --verbose "$1.img" "$2" "$3"
	name_gives "$1" thin_delta --verbose --snap1 "$2" --snap2 "$3" "$1.img"
}

compare_delta() { # NAME
	awk -v max="$MAX_PAIRS" '
		{ id[n++] = $1 }
		END {
			for (i = 0; i < n; i++)
				for (j = i; j < n; j++)
					if (pairs++ < max)
						print id[i], id[j]
		}' devices >pairs
	while read -r a b; do
		compare_pair "$1" "$a" "$b"
	done <pairs
}

for xml in "$corpus"/*.xml.xz; do
	name=$(basename "$xml" .xml.xz)
	case $name in *.*) continue ;; esac
	is_sampled || continue
	"$corpus/get" "$name" "$name.img"
	xz -dc "$xml" | sed -n 's/.*<device dev_id="\([0-9]*\)".*/\1/p' >devices
	nr=$(xz -dc "$xml" | sed -n '1s/.* nr_data_blocks="\([0-9]*\)".*/\1/p')
	compare_ls "$name"
	compare_rmap "$name" "$nr"
	compare_delta "$name"
	rm -f "$name.img"
done

compare_size() { # BLOCK-SIZE POOL-SIZE MAX-THINS, as both understand them
	thin_metadata_size -b "$1" -s "$2" -m "$3" -u s -n | sed 's/s$//' >want
	bufio-dump size --json --data-block-size="$1" --data-size="$2" --max-thins="$3" >size.json 2>messages
	sed -n 's/.*"metadata_sectors":\([0-9]*\).*/\1/p' size.json >got
	same want got "size of a pool of $2 in blocks of $1, $3 devices"
	for unit in s k m; do
		thin_metadata_size -b "$1" -s "$2" -m "$3" -u $unit -n >want
		name_gives "size" thin_metadata_size -b "$1" -s "$2" -m "$3" -u $unit -n
	done
}

for sizes in "64k 1t 1000" "64k 1g 1" "64k 128k 1" "128k 1t 10" "1m 16t 100" "1g 1t 1" "64k 100m 100000" "256k 15t 7" \
	"64k 10t 1"; do
	compare_size $sizes
done
finish
