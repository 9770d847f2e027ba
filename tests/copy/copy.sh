#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-copy: COPY_COUNT random copies against the simple way; a file that is read and written directly; loop devices, and
# a disk that is bad behind nbdkit, where these can be had.
. "$srcdir/tests/tap.sh"
count=${COPY_COUNT:-60}
day=$(date +%Y%m%d)

# --- random copies ---

if command -v python3 >/dev/null; then
	for seed in 1 "${day}1"; do
		python3 "$srcdir/tests/copy/model.py" $seed "$count" >messages 2>&1
		is $? 0 "$count random copies from seed $seed are as made the simple way"
	done
else
	skip "random copies need python3"
fi

# --- a large file ---

# 70 MiB and a bit, in which no two megabytes are alike.
i=0
while [ $i -lt 70 ]; do
	yes $i | head -c 1048576
	i=$((i + 1))
done >large
printf 'the end' >>large
bufio-copy -q --memory-limit=8MiB --verify=readback large copy >messages 2>&1
is $? 0 "a large file is copied and read back"
same large copy "to the byte"
bufio-copy -q --memory-limit=8MiB --to=4KiB --verify=hash large copy >messages 2>&1
is $? 0 "and over an older copy, to another place"
tail -c +4097 copy >moved
same large moved "to the byte"
rm -f copy moved

# --- loop devices ---

loop=
new_loop() { # FILE [OPTION]
	loop=$(losetup --find --show "$@" 2>/dev/null)
}

# refused WORD SENTENCE COMMAND...: status 3, a message with the word, and the file "old" is as "disk".
refused() {
	word=$1 sentence=$2
	shift 2
	cp disk old
	"$@" >messages 2>&1
	is $? 3 "refused: $sentence"
	ok "$(grep -c -e "$word" messages)" "the message says $word"
	same old disk "and nothing was written"
}

head -c 4194304 large >disk
if new_loop disk; then
	trap 'umount mnt 2>/dev/null; losetup -d $loop 2>/dev/null; cd /; rm -rf "$tap_dir"' EXIT
	refused "in use, shown by /dev/loop" "a file that a loop device shows" bufio-copy large disk
	refused "shows the same" "a loop device onto its file" bufio-copy "$loop" disk
	refused "shows the same" "a file onto a loop device that shows it" bufio-copy disk "$loop"
	refused "too small" "a device that is too small" bufio-copy large "$loop"
	refused "too small" "a copy that begins too late in the device" bufio-copy --range=0..1MiB --to=3145729B large "$loop"
	bufio-copy -q --range=1MiB..4MiB --to=0 --verify=readback large "$loop" >messages 2>&1
	is $? 0 "a device is written"
	bufio-copy -q "$loop" copy >messages 2>&1
	is $? 0 "and read"
	same disk copy "it has what it should"
	mkdir mnt
	if mke2fs -q -t ext4 "$loop" >/dev/null 2>&1 && mount "$loop" mnt 2>/dev/null; then
		refused "mounted on" "a device that is mounted" bufio-copy --force-signature=ext4 --range=0..1MiB large "$loop"
		refused "in use" "a source that is mounted" bufio-copy "$loop" copy
		bufio-copy -q --force-in-use "$loop" copy >messages 2>&1
		is $? 0 "a source that is mounted is read with --force-in-use"
		umount mnt
		refused "ext4" "a device that holds a file system" bufio-copy --range=0..1MiB large "$loop"
	else
		skip "mounting is not possible here"
	fi
	truncate -s 4M zeroes
	bufio-copy -q --force-signature=ext4 --discard zeroes "$loop" >messages 2>&1
	is $? 0 "zeroes are taken from a device with --discard"
	same zeroes "$loop" "it reads as zeroes"
	ok "$([ "$(stat -c %b disk)" -lt 1000 ] && echo 1)" "and its file has a hole there"
	losetup -d "$loop"
	if new_loop disk --read-only; then
		refused "read-only" "a read-only device" bufio-copy --range=0..1MiB large "$loop"
		losetup -d "$loop"
	fi
else
	skip "loop devices cannot be had here"
fi
rm -f disk old copy zeroes

# --- a bad disk ---

bad_disk() { # MAP: of disk, as the file bad/nbd
	mkdir -p bad
	: >bad/nbd
	nbdfuse bad/nbd [ nbdkit --exit-with-parent --filter=ddrescue file disk ddrescue-mapfile="$1" ] 2>/dev/null &
	nbdfuse=$!
	for i in 1 2 3 4 5 6 7 8 9 10; do
		[ -s bad/nbd ] && return
		kill -0 $nbdfuse 2>/dev/null || return
		sleep 0.3
	done
}

good_disk() {
	umount bad/nbd 2>/dev/null || fusermount3 -u bad/nbd 2>/dev/null
	wait $nbdfuse
}

if command -v nbdfuse >/dev/null && command -v nbdkit >/dev/null && [ -w /dev/fuse ]; then
	head -c 2097152 large >disk
	printf '0 +\n0 0x100000 +\n0x100000 0x1600 -\n0x101600 0x2ea00 +\n0x130000 0x200 -\n0x130200 0xcfe00 +\n' >bad.map
	bad_disk bad.map
	if [ -s bad/nbd ]; then
		bufio-copy -q bad/nbd stopped >messages 2>&1
		is $? 5 "a bad disk: without a map the copy ends there"
		bufio-copy --map=map --verify=readback bad/nbd copy >messages 2>&1
		is $? 5 "a bad disk: with one it goes on to the end"
		ok "$(grep -c 'not verified: 1048576..1056768, 1245184..1249280' messages)" "what was not read is named as not verified"
		# The page cache reads whole pages, so each bad place has cost these.
		head -c 1048576 disk >want
		head -c 1048576 copy >got
		same want got "what comes before the first bad place is there"
		tail -c +1249281 disk >want
		tail -c +1249281 copy >got
		same want got "what comes behind the last is there"
		if command -v ddrescuelog >/dev/null; then
			ddrescuelog -t map >messages 2>&1
			is $? 0 "ddrescuelog accepts the map"
			ok "$(grep -c 'bad-sector: *12288 B, *in *2 area' messages)" "and counts what is bad"
		else
			skip "ddrescuelog is not installed"
		fi
		bufio-copy --stats --map=map bad/nbd copy >/dev/null 2>messages
		ok "$(grep -c 'read 0 blocks' messages)" "the next run reads nothing that is there"
	else
		skip "nbdfuse does not work here"
	fi
	good_disk
else
	skip "nbdkit and nbdfuse are not installed"
fi
finish
