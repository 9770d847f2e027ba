#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What is in use of every image of the corpus, healthy and damaged, through --used and through --pack and --unpack: both
# give the same, bufio-check says of it what it says of the original, and bufio-dump shows the same roots of a damaged
# one. Then one device out of the data of each healthy pool, byte for byte.

corpus=$srcdir/tests/corpus
. "$srcdir/tests/tap.sh"

judge() { # FOLDER: what is said of NAME.img in there
	(cd "$1" && timeout 120 bufio-check --json "$name.img"; echo $?) 2>&1
}

# Older generations are among what is free: they come along where something is damaged.
judge_roots() { # FOLDER
	(cd "$1" && timeout 120 bufio-dump roots --json "$name.img"; echo $?) 2>&1
}

check_copy() { # FOLDER WAY
	judge . >want
	judge "$1" >got
	same want got "$name: bufio-check says the same of what was $2"
	is "$(stat -c %s "$1/$name.img")" "$(stat -c %s "$name.img")" "$name: what was $2 has its size"
}

check_roots() { # FOLDER WAY
	case $name in bad-*) ;; *) return ;; esac
	grep -q 'all that are not zeroes' said || return 0
	judge_roots . >want
	judge_roots "$1" >got
	same want got "$name: what was $2 has the same older generations"
}

check_image() {
	mkdir -p used packed
	bufio-copy --used "$name.img" "used/$name.img" >said 2>messages
	status=$?
	bufio-copy --pack "$name.img" pool.pack >out 2>>messages
	is $? $status "$name: can be packed if it can be copied"
	if [ $status = 10 ]; then
		ok "$(grep -c "$name.img: " messages)" "$name: says why it cannot"
		return
	fi
	is $status 0 "$name: can be copied"
	bufio-copy --unpack pool.pack "packed/$name.img" >out 2>messages
	is $? 0 "$name: can be unpacked"
	cmp -s "used/$name.img" "packed/$name.img"
	is $? 0 "$name: what was unpacked is what was copied"
	check_copy used copied
	check_copy packed unpacked
	check_roots packed unpacked
	ok "$((4 * $(stat -c %s pool.pack) < $(stat -c %b "used/$name.img") * 512))" "$name: packed it is less than a quarter"
	rm -rf used packed pool.pack
}

# --- one device out of the data ---

# Data in which each block of 64 KiB begins with its number; the rest is a hole.
make_data() { # BYTES
	truncate -s "$1" data
	perl -e 'open F, "+<", "data" or die; for ($n = 0; $n < $ARGV[0] / 65536; $n++) {
		seek F, $n * 65536, 0; print F sprintf("%-512d", $n) }' "$1"
}

# What it should be, by the simplest way there is.
expect_volume() {
	perl -ne 'BEGIN { open D, "<", "data" or die; open V, ">", "want.volume" or die }
		next if /^#/; my ($to, $from, $length) = split; $end = $to + $length;
		for ($at = 0; $at < $length; $at += 65536) {
			seek D, $from + $at, 0; read D, $b, 512; seek V, $to + $at, 0; print V $b }
		END { truncate V, $end }' list
}

check_device() { # DEVICE
	bufio-dump mappings --bytes --dev-id="$1" "$name.img" >list 2>messages
	expect_volume
	rm -f volume
	bufio-copy --extents=list data volume >out 2>messages
	is $? 0 "$name: device $1 comes out of the data"
	cmp -s volume want.volume
	is $? 0 "$name: device $1 has its bytes, and zeroes between them"
}

check_devices() {
	bytes=$(bufio-dump --json "$name.img" | jq '.data_total_blocks * .data_block_bytes')
	make_data "$bytes"
	for device in $(bufio-dump ls --json "$name.img" | jq '.devices[].dev'); do
		check_device "$device"
	done
	rm -f data volume want.volume list
}

for file in "$corpus"/*.img.xz "$corpus"/*.recipe; do
	name=$(basename "$file")
	name=${name%.img.xz}
	name=${name%.recipe}
	is_sampled || continue
	"$corpus/get" "$name" "$name.img"
	case $? in
	0) check_image ;;
	77) skip "$name: needs python3 to be made" ;;
	*) ok 0 "$name: cannot be unpacked" ;;
	esac
	rm -f "$name.img"
done

if command -v jq >/dev/null && command -v perl >/dev/null; then
	for name in thin-one thin-lvm thin-datafull; do
		"$corpus/get" "$name" "$name.img" && check_devices
		rm -f "$name.img"
	done
else
	skip "jq and perl are not installed to make a volume in another way"
fi
finish
