#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Traces: what was recorded is repeated block by block; those of fio and blkparse are understood; damaged ones are refused
# with the number of the line.
. "$srcdir/tests/tap.sh"

head -c 4194304 /dev/urandom >disk # 1024 blocks
cp disk old

# Nothing may hang.
bench() {
	timeout 60 bufio-bench "$@" </dev/null
}

# asked TRACE: the blocks that the cache of most operations was asked for.
asked() {
	awk '$2 == "get" || $2 == "new" || $2 == "read" { client = NF > 4 ? $5 : 1; block[client, ++n[client]] = $3 }
		END { most = 1; for (c in n) if (n[c] > n[most]) most = c
			for (i = 1; i <= n[most]; i++) print block[most, i] }' "$1"
}

replay() { # SENTENCE TRACE OPTION...: its blocks go to "blocks"
	sentence=$1 trace=$2
	shift 2
	rm -f again
	bench --csv --cached --replay="$trace" --record=again "$@" disk >output 2>messages
	is "$? $(cat messages)" "0 " "$sentence: replayed, without a word besides"
	asked again >blocks
}

# of CSV, the counts that do not depend on the clock: ops, bytes, hits and misses
counts() {
	sed 's/"[^"]*"/NAME/g' output | tail -n 1 | cut -d, -f10,11,14,15
}

# --- what was recorded ---

while read -r options; do
	is_sampled || continue
	rm -f trace
	bench --csv --cached --record=trace $options disk >output 2>messages
	is "$? $(cat messages)" "0 " "$options: recorded"
	counts >first
	asked trace >expected
	case $options in *--depth*) ;; *) is "$(wc -l <expected)" "$(cut -d, -f1 first)" "$options: each operation is there" ;; esac
	# A cache of the same size, and blocks of the same.
	limit=$(echo "$options" | grep -o -e '--memory-limit=[^ ]*')
	replay "$options" trace $limit
	counts >second
	# Looking ahead is asking too.
	case $options in *--depth*)
		ok $(($(cut -d, -f1 second) >= $(cut -d, -f1 first))) "$options: as many operations and more"
		continue
		;;
	esac
	is "$(cut -d, -f1 second)" "$(cut -d, -f1 first)" "$options: as many operations"
	same expected blocks "$options: the same blocks in the same order"
	case $options in *--write*) continue ;; esac
	same first second "$options: as many hits"
done <<-END
	-n 2000 --pattern=sequential
	-n 2000 --pattern=random --memory-limit=1MiB
	-n 2000 --pattern=zipf --memory-limit=1MiB
	-n 2000 --pattern=strided --memory-limit=1MiB
	-n 2000 --pattern=zipf-scan --memory-limit=512KiB
	-n 500 --pattern=hot-cold --block-size=16KiB
	-n 500 --pattern=normal --region=100..300
	-n 2000 --pattern=zipf --rate=100000
	-n 2000 --pattern=random --depth=8 --memory-limit=1MiB
	-n 2000 --pattern=sequential --depth=8
	-n 500 --pattern=random --write
	-n 500 --pattern=random --write --read-percent=50 --flush-every=10
END
cp old disk

# Threads meet at blocks that are being read, so here it need not be to the operation.
rm -f trace
bench -q --cached -n 2000 --pattern=zipf --threads=3 --record=trace disk
bench --csv --cached --replay=trace disk >output 2>messages
ops=$(counts | cut -d, -f1)
ok $((ops > 1960 && ops < 2040)) "three threads: about as many operations: $ops of 2000"

# What a cache of another size would have done is what it does.
rm -f trace
bench -q --cached --memory-limit=2MiB --pattern=zipf -n 3000 --record=trace disk
for limit in 256KiB 512KiB 1MiB 2MiB 8MiB; do
	is_sampled || continue
	bench --csv --cached --memory-limit=$limit --pattern=zipf -n 3000 disk >output 2>messages
	counts >first
	bench --csv --cached --memory-limit=$limit --replay=trace disk >output 2>messages
	is "$(counts)" "$(cat first)" "recorded with 2 MiB, repeated with $limit: as many hits as a run with that"
done

rm -f trace again
BUFIO_TRACE=trace timeout 60 bufio-bench -q --cached -n 300 disk
is "$(head -n 1 trace)" "bufio trace 1" "BUFIO_TRACE does as --record"
asked trace >expected
replay "BUFIO_TRACE" trace
same expected blocks "BUFIO_TRACE: the same blocks"
replay "three times" trace --repeat=3
cat expected expected expected | cmp -s - blocks
is $? 0 "three times: once in each repeat"
bench --csv --raw --replay=trace disk >output 2>messages
is "$? $(counts | cut -d, -f1)" "0 $(sort -u expected | wc -l)" "without a cache: what was not in that of then"
rm -f trace
bench -q --cached -n 300 --curve --record=trace disk
is "$(asked trace | wc -l)" 300 "a curve leaves nothing in a trace"
rm -f none
bench -q --raw -n 10 --record=none disk
is "$? $(grep -c ' get ' none)" "0 0" "without a cache nothing is recorded"

# Any tool of the suite: what it read through its cache is what is asked for.
"$srcdir/tests/corpus/get" thin-snaps pool.img
if [ $? = 0 ]; then
	rm -f trace
	BUFIO_TRACE=trace bufio-check -q pool.img
	is $? 0 "bufio-check leaves a trace"
	cp pool.img pool.old
	bench --csv --cached --replay=trace pool.img >output 2>messages
	is $? 0 "which is repeated"
	ok "$(counts | cut -d, -f1)" "and has operations"
	same pool.old pool.img "which write nothing"
else
	skip "a trace of bufio-check needs the image of a pool"
fi

# --- what is in a trace ---

if command -v jq >/dev/null; then
	rm -f trace
	bench --csv --cached --memory-limit=8MiB --pattern=zipf -n 3000 --record=trace disk >output 2>messages
	counts >first
	bench --trace-stats --json trace >stats 2>messages
	is "$? $(cat messages)" "0 " "what is in a trace is told"
	is "$(jq -c '[.accesses, .different_blocks]' stats)" "[$(cut -d, -f1 first),$(cut -d, -f4 first)]" \
		"accesses are the operations, and different blocks what was missed when all had room"
	cat >small <<-END
		bufio trace 1
		client 1 block-size 4096 device-size 4194304 offset 0
		1 read 1 1
		2 read 2 1
		3 read 1 1
		4 read 2 1
		5 read 3 1
		6 read 3 1
	END
	bench --trace-stats --json small >stats 2>messages
	is "$(jq -c '[.accesses, .different_blocks]' stats)" "[6,3]" "by hand: six accesses to three blocks"
	is "$(jq -c '.sizes[] | select(.hit_ratio == 0.5).bytes' stats)" 8192 "by hand: half are hits when two blocks have room"
else
	skip "what is in a trace needs jq"
fi
for bad in missing disk; do
	bench --trace-stats $bad >output 2>messages
	is "$? $(wc -l <messages) $(wc -l <output)" "4 1 0" "what is in $bad: refused in one line"
done

# --- times ---

cat >slow <<-END
	bufio trace 1
	client 1 block-size 4096 device-size 4194304 offset 0
	1000000 read 5 1
	200000000 read 6 1
	400000000 read 7 2
	600000000 read 9 1
END
for speed in timed:599 x2:299 x4:149; do
	is_sampled || continue
	bench --csv --cached --replay=slow --speed=${speed%:*} disk >output 2>messages
	is $? 0 "${speed%:*}: replayed"
	ns=$(tail -n 1 output | sed 's/"[^"]*"/NAME/g' | cut -d, -f9)
	ok $((ns / 1000000 >= ${speed#*:})) "${speed%:*}: not before it was due"
done
bench --cached --replay=slow --speed=timed disk >output 2>messages
ok "$(grep -c '^  response' output)" "timed: there are response times"
replay "many at once" slow
is "$(echo $(cat blocks))" "5 6 7 8 9" "a line may be of more than one block"

# --- other formats ---

cat >fio2 <<-END
	fio version 2 iolog
	/dev/x add
	/dev/x open
	/dev/x read 0 8192
	/dev/x wait 1000 0
	/dev/x write 16384 512
	/dev/x read 4608 4096
	/dev/x datasync 0 0
	/dev/x sync 0 0
	/dev/x trim 0 4096
	/dev/x close
END
cat >fio3 <<-END
	fio version 3 iolog
	10 /dev/x add
	11 /dev/x open
	120 /dev/x read 0 8192
	300 /dev/x write 16384 512
	400 /dev/x read 4608 4096
	500 /dev/x datasync 0 0
	600 /dev/x close
END
cat >blkparse <<-END
	  8,0    3        1     0.000000000   697  Q   R 0 + 16 [fio]
	  8,0    3        2     0.000001829   697  G   R 0 + 16 [fio]
	  8,0    3        3     0.000002000   697  P   N [fio]
	  8,0    3        4     0.000003000   697  I   R 0 + 16 [fio]
	  8,0    3        5     0.000004000   697  U   N [fio] 1
	  8,0    3        6     0.000005000   697  D   R 0 + 16 [fio]
	  8,0    0        7     0.000100000     0  C   R 0 + 16 [0]
	  8,0    1        1     0.000200000   701  Q  WS 32 + 1 [a name with blanks]
	  8,0    1        2     0.000300000   701  Q RAM 9 + 8 [a name with blanks]
	  8,0    1        3     0.000400000   701  D RAM 9 + 8 [a name with blanks]
	CPU0 (8,0):
	 Reads Queued:           2,       12KiB	 Writes Queued:           1,        1KiB
	 Read Dispatches:        2,       12KiB	 Write Dispatches:        0,        0KiB

	Total (8,0):
	 Reads Queued:           2,       12KiB	 Writes Queued:           1,        1KiB
	Throughput (R/W): 0KiB/s / 0KiB/s
	Events (8,0): 10 entries
	Skips: 0 forward (0 -   0.0%)
END
grep -v ' Q ' blkparse >blkparse-issued
grep -E ' C |CPU0|Reads' blkparse >blkparse-done
for format in fio2 fio3 blkparse; do
	is_sampled || continue
	replay $format $format
	is "$(echo $(cat blocks))" "0 1 4 1 2" "$format: each block that a line touches, in order"
	bench --csv --raw --replay=$format disk >output 2>messages
	is "$? $(counts | cut -d, -f1)" "0 3" "$format: without a cache a line is a request"
	same old disk "$format: writes are read without --write"
	bench --json --replay=$format disk >output 2>messages
	is "$(grep -c '"trace-reads"' output)" 1 "$format: and that is told"
done
replay "blkparse, without what was queued" blkparse-issued
is "$(echo $(cat blocks))" "0 1 1 2" "what was issued counts"
replay "blkparse, of what was completed alone" blkparse-done
is "$(echo $(cat blocks))" "0 1" "that counts"
for how in --raw --cached; do
	bench -q $how --write --replay=fio3 disk
	is $? 0 "with --write, $how: replayed"
	cmp -s -n 16384 disk old && cmp -s -i 20480 disk old
	is $? 0 "with --write, $how: nothing else is written"
	cmp -s disk old
	is $? 1 "with --write, $how: but that is"
	cp old disk
done

if command -v fio >/dev/null; then
	fio --name=x --filename=made --size=1m --io_size=400k --rw=randread --bs=4k --ioengine=psync --write_iolog=iolog >messages 2>&1
	if [ -s iolog ]; then
		awk '{ for (i = 1; i < NF - 1; i++) if ($i == "read") print $(i + 1) / 4096 }' iolog >expected
		replay "a trace of fio itself" iolog
		same expected blocks "a trace of fio itself: the same blocks"
		is "$(wc -l <blocks)" 100 "a trace of fio itself: all of them"
	else
		skip "this fio writes no iolog"
	fi
else
	skip "a trace of fio itself needs fio"
fi

# --- what cannot all be repeated ---

printf '%s\n' 'fio version 2 iolog' '/x add' '/x read 4190208 4096' '/x read 4194304 4096' '/x read 1099511627776 4096' '/y read 0 4096' \
	'/x read 0 4096' >iolog
replay "beyond the end" iolog
is "$(echo $(cat blocks))" "1023 0" "what is beyond the end, or of another file, is left out"
bench --json --replay=iolog disk >output 2>messages
ok "$(grep -c '"name":"trace-' output)" "with a warning"

# --- damage ---

# damaged LINE SENTENCE FILE
damaged() {
	bench --replay="$3" disk >output 2>messages
	is "$? $(wc -l <messages) $(wc -l <output)" "4 1 0" "$2: refused in one line"
	ok "$(grep -cE "(:|line )$1(:|,| |\$)" messages)" "$2: with line $1"
}

# broken FORMAT LINE TEXT: one good trace with this in place of a line
broken() {
	is_sampled || return
	awk -v line="$2" -v text="$3" 'NR == line { print text; next } { print }' "$1" >bad
	damaged "$2" "$1, line $2: '$3'" bad
}
while read -r line; do
	broken slow 4 "$line"
done <<-END
	200000000 burn 6 1
	200000000 read
	200000000 read 6
	200000000 read 6 1 7
	200000000 read six 1
	200000000 read -6 1
	200000000 read 6 0
	200000000 read 6 1 1 1
	200000000 read 99999999999999999999999 1
	abc read 6 1
	read 6 1
	client 1
	client 2 block-size 0 device-size 4194304 offset 0
END
broken slow 1 "bufio trace 2"
broken slow 2 "client 1 block-size x device-size 4194304 offset 0"
broken slow 3 "1000000 read 5 1 2"
for text in "/dev/x burn 16384 512" "/dev/x read 16384" "/dev/x read -1 512" "/dev/x read 0x 512" "read" \
	"/dev/x write 99999999999999999999999 512"; do
	broken fio2 6 "$text"
	broken fio3 5 "300 $text"
done
broken fio3 5 "/dev/x write 16384 512"
broken fio3 5 "x /dev/x write 16384 512"
broken fio2 1 "fio version 9 iolog"
broken blkparse 8 "  8,0    1        1     0.000200000   701  Q  WS many + 1 [x]"
broken blkparse 8 "  8,0    1        1     0.000200000   701  Q  WS 32 + [x]"
broken blkparse 8 "  8,0    1        1     soon   701  Q  WS 32 + 1 [x]"

head -c 5000 /dev/urandom >bad
damaged 1 "noise" bad
(cat slow; head -c 200 /dev/urandom | tr '\n\0' 'xx'; echo) >bad
damaged 7 "noise at the end" bad
(cat slow; printf '700000000 rea') >bad
damaged 7 "a line that was cut" bad
(cat slow; head -c 10000000 /dev/zero | tr '\0' 7) >bad
damaged 7 "a line without end" bad
(head -n 3 slow; printf '200000000 read\0006 1\n') >bad
damaged 4 "a line with a zero byte" bad
for bad in "empty " "missing " "folder " "/dev/null "; do
	bad=${bad% }
	[ "$bad" != empty ] || : >empty
	[ "$bad" != folder ] || mkdir folder
	bench --replay=$bad disk >output 2>messages
	is "$? $(wc -l <messages) $(wc -l <output)" "4 1 0" "$bad is no trace"
done
# One that asks for nothing: only a client, only a flush, only a look at what is not there.
for line in "" "1000000 flush 0 0" "1000000 prefetch 5 1" "1000000 forget 5 1" "1000000 get 5 1"; do
	(head -n 2 slow; echo "$line") | grep . >bad
	for how in --raw --cached; do
		timeout 2 bufio-bench $how --replay=bad disk >output 2>messages
		status=$?
		ok $((status == 0 || status == 4)) "'$line', $how: ends: $status"
	done
done
same old disk "nothing of all that has written"
finish
