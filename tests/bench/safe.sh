#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-bench does no harm: a run without --write, of whatever, writes nothing, and ends; with --write nothing that is known
# is lost without its name. The first look, which takes ten seconds, is at all files at a time, and meanwhile
# at what is no disk; with SAMPLE at one of several files.
. "$srcdir/tests/tap.sh"

# ends STATUS WORD SENTENCE OPTION...: in time, with one line that has the word, and nothing else; no word: it is measured.
ends() {
	wanted=$1 word=$2 sentence=$3
	shift 3
	timeout 30 bufio-bench "$@" >output 2>messages </dev/null
	is $? "$wanted" "$sentence: exit status $wanted"
	if [ "$word" ]; then
		[ "$(grep -v '^Try ' messages | wc -l)" = 1 ] && grep -q -e "$word" messages && [ ! -s output ]
		is $? 0 "$sentence: one line tells, with $word"
	else
		is "$(cat messages)" "" "$sentence: not a word besides"
	fi
}

state() { # FILE...: what may not change
	stat -c '%n %y %z %b %s %a %i' "$@"
	sha256sum "$@"
}

loop= mounted=
free() {
	[ ! "$mounted" ] || umount "$tap_dir/work/mount"
	[ ! "$loop" ] || losetup -d "$loop"
	loop= mounted=
}
trap 'cd /; free; rm -rf "$tap_dir"' EXIT

# --- the first look ---

head -c 6291456 /dev/urandom >file
truncate -s 64M sparse
head -c 300000 /dev/urandom >below-1MiB
head -c 4096 /dev/urandom >block
yes 'all the same' | head -c 2000000 >text
cp file behind-loop
cp file held
files="file sparse below-1MiB block text held"
has_strace= # which does not go with looking for leaks
if [ "${SANITIZERS:-no}" = no ] && strace -o /dev/null true 2>/dev/null; then
	has_strace=yes
fi
loop=$(losetup --show -f "$PWD/behind-loop" 2>/dev/null) && [ -b "$loop" ] || loop=
sync $files behind-loop # until then it is not settled what is allocated
state $files behind-loop >before

sleep 60 >>held & # has it open, and will not write
holder=$!
looks= looked=
for name in $files ${loop:+loop}; do
	is_sampled || continue
	looked="$looked $name"
	path=$name
	[ "$name" != loop ] || path=$loop
	(
		trace=
		[ ! "$has_strace" ] || trace="strace -f -qq -o trace-$name -e trace=file,pwrite64,pwritev,pwritev2,fallocate,ftruncate"
		timeout 60 $trace bufio-bench "$path" >said-$name 2>messages-$name </dev/null
		echo $? >status-$name
	) &
	looks="$looks $!"
done
# --- what is no disk, meanwhile ---

: >empty
head -c 100 /dev/urandom >tiny
mkdir folder
mkfifo fifo
ln -s missing dangling
ln -s circle circle
ends 4 empty "an empty file" empty
ends 4 "less than one block" "a file smaller than a block" tiny
ends 0 "" "unless blocks are smaller" -n 10 --block-size=512B block
ends 4 directory "a directory" folder
ends 4 "neither a block device nor" "/dev/null" /dev/null
ends 4 "neither a block device nor" "/dev/zero" /dev/zero
ends 4 "neither a block device nor" "a FIFO that nobody writes to" fifo
ends 4 missing "a file that is not there" missing
ends 4 dangling "a link to nothing" dangling
ends 4 circle "a link to itself" circle
ends 4 file "something below a file" file/below
ends 2 empty "a name without letters" ""
ends 2 PATH "no name"
ends 2 "too many" "two names" file text
for path in empty tiny folder /dev/null fifo missing; do
	for form in --json --csv --markdown --cached --write; do
		is_sampled || continue
		timeout 30 bufio-bench $form $path >output 2>messages </dev/null
		is "$? $(wc -l <messages) $(wc -l <output)" "4 1 0" "$path $form: the same with other options"
	done
	timeout 30 bufio-bench -q $path >output 2>&1 </dev/null
	is "$? $(wc -l <output)" "4 0" "$path: --quiet says nothing"
done
is "$(ls missing 2>/dev/null; stat -c %s empty)" 0 "and none of them is made or grows"

cp file secret
chmod 0 secret
if [ "$(id -u)" != 0 ]; then
	ends 4 secret "a file that may not be read" secret
else
	skip "root may read everything"
fi

# --- what the first looks came to ---

[ ! "$looks" ] || wait $looks
kill $holder
for name in $looked; do
	cp messages-$name messages
	is "$(cat status-$name messages-$name)" 0 "first look at $name: measured, without a word besides"
	is "$(grep -cE '^(sequential|random|zipf, cached) +[0-9.]+ [KM]iB +[0-9]+ +[0-9]' said-$name)" 3 "first look at $name: three parts"
	ok $(($(wc -l <said-$name) <= 40)) "first look at $name: one screen"
done
state $files behind-loop >after
same before after "contents, times and what is allocated are as before"
for name in $looked; do
	[ "$name" != loop ] || continue
	if [ ! "$has_strace" ]; then
		skip "first look at $name: needs strace, and no sanitizers"
		continue
	fi
	grep -qE 'open.*"'$name'", O_RDONLY' trace-$name
	is $? 0 "first look at $name: opened for reading"
	is "$(grep -E 'open.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)' trace-$name | grep -v '"/dev/null"')" "" \
		"first look at $name: nothing is opened for writing"
	is "$(grep -E '(pwrite|truncate|fallocate|unlink|rename|link|mkdir|chmod|chown|utime)[a-z0-9]*\(' trace-$name)" "" \
		"first look at $name: nothing is changed"
done
# tells STATUS NAME WARNINGS SENTENCE
tells() {
	[ -f "said-$2" ] || return
	grep -q "$3" "said-$2"
	is $? "$1" "$4"
}
tells 0 sparse '\[holes\]' "holes are told"
tells 0 text '\[compressible\]\|\[constant\]' "so is data that is easy to compress"
tells 1 file '\[holes\]\|\[compressible\]\|\[constant\]' "and neither where there is none of it"

# --- what shrinks ---

cp file shrinks
(sleep 0.3; : >shrinks) &
timeout 30 bufio-bench --json -t 1s shrinks >output 2>messages
status=$?
ok $((status == 0 || status == 4)) "a file that becomes empty meanwhile ends it as errors do"
grep -q '"name":"errors"' output
is $? 0 "which are told"

# --- what else is read only ---

if [ "$has_strace" ]; then
	for options in "--raw --io-engine=threads" "--cached --io-engine=threads --pattern=zipf-scan" "--sweep=depth --direct=off" \
		"--rate=1000 --threads=2 --warm-up=50ms"; do
		timeout 60 strace -f -qq -o trace -e trace=file,pwrite64,pwritev,pwritev2,fallocate,ftruncate \
			bufio-bench -n 100 $options file >output 2>messages
		is $? 0 "$options: measured"
		is "$(grep -E 'open.*(O_WRONLY|O_RDWR|O_CREAT|O_TRUNC)' trace | grep -v '"/dev/null"';
			grep -E '(pwrite|truncate|fallocate)[a-z0-9]*\(' trace)" "" "$options: nothing is written"
	done
else
	skip "what is opened needs strace, and no sanitizers"
fi
printf '%s\n' 'fio version 2 iolog' '/x add' '/x open' '/x write 0 65536' '/x trim 65536 65536' '/x sync' '/x close' >writes
for how in --raw --cached; do
	ends 0 "" "a trace of writes, $how" $how --replay=writes file
done
state $files behind-loop >after
same before after "nothing of that has written"

# --- writing ---

# keeps STATUS WORD SENTENCE FILE OPTION...: and the file is as before, to the byte.
keeps() {
	kept=$4
	cp "$4" "$4.kept"
	wanted=$1 word=$2 sentence=$3
	shift 4
	ends "$wanted" "$word" "$sentence" -n 20 "$@" "$kept"
	same "$kept.kept" "$kept" "$sentence: nothing is written"
	rm "$kept.kept"
}

keeps 2 write "a mix of reads and writes without --write" file --read-percent=50
keeps 2 write "flushes without --write" file --flush-every=2
keeps 3 input "a picture over what is measured" file --svg=file
keeps 2 file "a trace over what is measured" file --cached --record=file
cp text notes
ends 2 notes "a trace over something else" -n 5 --cached --record=notes file
same text notes "which stays"
cp file w
ends 0 "" "what holds nothing is written with --write" --write -n 100 w
cmp -s file w
is $? 1 "and differs then"

# signed NAME FILE: of the type of this name
signed() {
	for options in "" --cached "--region=1MiB..2MiB" "--read-percent=90" "--replay=writes"; do
		is_sampled || continue
		count="-n 20"
		[ "$options" != --replay=writes ] || count=
		cp "$2" "$2.kept"
		ends 3 "force-signature=$1" "$1 --write $options" --write $count $options "$2"
		same "$2.kept" "$2" "$1 --write $options: nothing is written"
	done
	keeps 3 "force-signature=$1" "$1: another name does not help" "$2" --write --force-signature=xfs
	cp "$2" "$2.kept"
	ends 0 "" "$1: its own does" --write --force-signature="$1" -n 20 "$2"
	cmp -s "$2.kept" "$2"
	is $? 1 "$1: and it is written"
}
truncate -s 8M ext4.img
if mkfs.ext4 -q ext4.img >/dev/null 2>&1; then
	signed ext4 ext4.img
else
	skip "needs mkfs.ext4"
fi
truncate -s 8M swap.img
if mkswap swap.img >/dev/null 2>&1; then
	signed swap swap.img
else
	skip "needs mkswap"
fi
"$srcdir/tests/corpus/get" thin-snaps thin.img
case $? in
0)
	timeout 30 bufio-bench --write -n 5 thin.img >output 2>messages
	name=$(sed -n 's/.*--force-signature=\([a-zA-Z0-9_-]*\).*/\1/p' messages)
	ok "$(echo "$name" | grep -c thin)" "the metadata of a pool has a name: $name"
	signed "$name" thin.img
	;;
77) skip "a pool needs python3" ;;
*) ok 0 "the image of a pool can be made" ;;
esac

# --- block devices ---

if [ ! "$loop" ]; then
	skip "needs loop devices"
	finish
	exit
fi
ends 0 "" "the file behind a device is read" -n 50 behind-loop
ends 0 "" "the device is read" -n 50 "$loop"
keeps 3 loop "the file behind a device is not written" behind-loop --write
ends 0 "" "the device is" --write -n 50 "$loop"
cmp -s file behind-loop
is $? 1 "and differs then"
mkdir mount
if mkfs.ext4 -q "$loop" >/dev/null 2>&1 && mount "$loop" mount 2>/dev/null; then
	mounted=yes
	ends 0 "" "what is mounted is read" -n 50 "$loop"
	ends 3 "mount" "what is mounted is not written" -n 50 --write "$loop"
	ends 3 "mount" "whatever signature is named" -n 50 --write --force-signature=ext4 "$loop"
	umount mount && mounted=
	fsck.ext4 -fn "$loop" >messages 2>&1
	is $? 0 "the file system is whole"
else
	skip "mounting is not possible here"
fi
finish
