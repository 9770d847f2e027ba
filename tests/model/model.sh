#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cache against a model of it (model.h): MODEL_OPS random operations for each of MODEL_SEEDS, where "any" is a new
# one, and a script in which operation n of the device fails, for every n, for each of MODEL_SCRIPTS.
. "$srcdir/tests/tap.sh"
ops=${MODEL_OPS:-100000}
model=$builddir/tests/model/model
# The files are small, and flushing them to a disk takes longer than all the rest.
[ ! -w /dev/shm ] || { TMPDIR=/dev/shm && export TMPDIR; }

# Status 77: an engine that cannot be had here. The log has the command that does it again.
model() { # SENTENCE ARGUMENT...
	sentence=$1
	shift
	"$model" "$@" >log 2>messages
	status=$?
	cat log
	if [ $status = 77 ]; then
		skip "$sentence: no such engine here"
	else
		is $status 0 "$sentence" || sed -n 's/^/# /; 6,80p' messages
	fi
}

part() { # PERCENT
	echo $((ops * $1 / 100))
}

random() { # SEED
	seed="--seed $1"
	[ "$1" != any ] || seed=
	model "memory, 4 threads: $(part 40) operations, seed $1" $seed --ops $(part 40)
	model "memory, 4 threads, write callback: $(part 20) operations, seed $1" $seed --ops $(part 20) --callback
	model "memory, 16 threads: $(part 10) operations, seed $1" $seed --ops $(part 10) --threads 16
	model "memory, 1 thread: $(part 10) operations, seed $1" $seed --ops $(part 10) --threads 1
	model "io_uring, 4 threads: $(part 10) operations, seed $1" $seed --ops $(part 10) --engine uring
	model "threads, 4 threads, write callback: $(part 10) operations, seed $1" $seed --ops $(part 10) \
		--engine threads --callback
}

faults() { # SEED ENGINE [--callback]
	name="script $1, $2${3:+, write callback}"
	for kind in reads writes flushes discards; do
		model "$name: each of the $kind fails" --seed $1 --engine $2 $3 --faults $kind
		model "$name: each of the $kind fails, and all later ones" --seed $1 --engine $2 $3 --faults $kind \
			--sticky
	done
}

for seed in ${MODEL_SEEDS:-1 any}; do
	random $seed
done
# One thread only, so of no interest to that sanitizer, which makes it slow.
[ "${SANITIZERS:-no}" != thread ] || MODEL_SCRIPTS=
for script in ${MODEL_SCRIPTS-1}; do
	faults $script memory
	faults $script memory --callback
	faults $script uring
	faults $script threads
done
finish
