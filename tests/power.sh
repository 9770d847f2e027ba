# SPDX-License-Identifier: LGPL-2.1-or-later
# A tool that writes through a journal loses power at each write and each flush; sourced behind tap.sh, with $tool set to
# the command, which has --undo and --resume. It works on T.img with the journal "journal", and what is right is old.img
# or new.img. copy/crash_shim.c is what loses power.
#
# CRASH_SEEDS: how many things may have become of what was not flushed, for each of them; 1 unless set.

seeds=${CRASH_SEEDS:-1}
shim=$tap_dir/shim.so
nr_states=0 nr_bad=0

if [ "${SANITIZERS:-no}" != no ]; then
	skip "a preloaded library and sanitizers do not go together"
	finish
	exit
fi
${CC:-cc} -shared -fPIC -pthread -o "$shim" "$srcdir/tests/copy/crash_shim.c" >messages 2>&1
is $? 0 "a library that loses power can be built" || { finish; exit; }

# All I/O is system calls then, which the library sees.
BUFIO_IO_ENGINE=threads
export BUFIO_IO_ENGINE

run() { # OPTION...
	$tool --direct=off "$@" >messages 2>&1
}

dying() { # NUMBER SEED OPTION...
	at=$1 seed=$2
	shift 2
	{ CRASH_AT=$at CRASH_SEED=$seed LD_PRELOAD=$shim $tool --direct=off "$@" >messages 2>&1; } 2>/dev/null
}

# --- what a state is worth ---

bad() { # SENTENCE
	nr_bad=$((nr_bad + 1))
	[ $nr_bad -gt 20 ] || echo "# $what dies at $at, seed $seed: $1: $(head -n 1 messages)"
}

is_image() { # IMAGE SENTENCE
	cmp -s T.img "$1" || bad "$2"
}

# Begun, committed, done, undone; "damaged" when it cannot be read; "missing".
state() {
	[ -e journal ] || { echo missing; return; }
	bufio-copy --json --status=journal 2>messages | sed -n 's/.*"state": *"\([a-z]*\)".*/\1/p' | grep . || echo damaged
}

goes() { # DIRECTION
	case $1 in undo) to=old ;; *) to=new ;; esac
	run --$1=journal T.img || bad "--$1 fails"
	is_image $to.img "not $to after --$1"
	[ "$(state)" = $(case $1 in undo) echo undone ;; *) echo "done" ;; esac) ] || bad "what --status says after --$1"
}

refuses() { # DIRECTION
	run --$1=journal T.img && bad "--$1 has something to do"
	is_image old.img "a refused --$1 wrote"
}

other() { # DIRECTION
	case $1 in undo) echo resume ;; *) echo undo ;; esac
}

# What a loss left: what is said of it is true, and there is a way out to either side.
judge() { # DIRECTION
	nr_states=$((nr_states + 1))
	found=$(state)
	eval "nr_$found=\$((nr_$found + 1))"
	case $found in
	missing) is_image old.img "there is no journal, and it is not old" ;;
	begun | damaged)
		is_image old.img "the journal is $found, and it is not old"
		refuses "$1" ;;
	*)
		[ $found != "done" ] || is_image new.img "it is said to be done, and is not new"
		[ $found != undone ] || is_image old.img "it is said to be undone, and is not old"
		goes "$1"
		[ $((nr_states % 4)) != 0 ] || goes "$(other "$1")" ;;
	esac
}

nr_missing=0 nr_begun=0 nr_damaged=0 nr_committed=0 nr_done=0 nr_undone=0

# One seed: nothing, all, or some of it got there, in turns.
seeds_of() { # NUMBER
	[ "$seeds" -gt 1 ] || { echo $(($1 % 4 < 2 ? $1 % 4 : $1)); return; }
	seq 0 $((seeds - 1))
}

direction_of() { # NUMBER SEED
	[ $((($1 / 4 + $2) % 2)) = 0 ] && echo undo || echo resume
}

report() { # SENTENCE
	is "$nr_bad" 0 "$1"
	echo "# $nr_states states, $nr_bad bad: journal missing $nr_missing, begun $nr_begun, unreadable $nr_damaged," \
		"committed $nr_committed, done $nr_done, undone $nr_undone"
	nr_states=0 nr_bad=0 nr_missing=0 nr_begun=0 nr_damaged=0 nr_committed=0 nr_done=0 nr_undone=0
}

# --- ways to die ---

# Every write and flush of a command, from the same files each time, until it survives.
each() { # FILES COMMAND...
	from=$1 n=0 survived=
	shift
	while [ ! "$survived" ]; do
		n=$((n + 1))
		for s in $(seeds_of $n); do
			cp "$from.img" T.img
			rm -f journal
			[ ! -e "$from.journal" ] || cp "$from.journal" journal
			dying $n "$s" "$@"
			died=$?
			[ $died = 137 ] || { survived=$died; break; }
			judge "$(direction_of $n "$s")"
		done
	done
	is "$survived" 0 "$what: lives where there is no write $n"
}
