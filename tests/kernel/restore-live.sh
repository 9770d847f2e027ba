#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# bufio-restore on a block device that holds a pool, in use and not.  Runs inside umlrun:
#
#   umlrun -d meta.img -w DIR -- restore-live.sh BUFIO-RESTORE XML
#
# Prints "ok - ..." and "not ok - ..." lines for restore.sh to number, and "# ..." lines.

. "$UML_LAB/lab-lib.sh"
restore=$1 xml=$2
meta=/dev/ubda pool=/dev/mapper/lab-pool
bs=256 blocks=20000 # as in the XML

ok() { # STATUS SENTENCE
	if [ "$1" = 0 ]; then echo "ok - $2"; else
		echo "not ok - $2"
		sed 's/^/# /' /run/out /run/err
	fi
}
run() { "$restore" -i "$xml" -o $meta "$@" >/run/out 2>/run/err; } # OPTION...
activate() { dm create lab-pool --table "0 $((bs * blocks)) thin-pool $meta $data $bs 0 1 skip_block_zeroing"; }
transaction() { dm status lab-pool | awk '{ print $4 }'; }

data=$(data_device zero:$((bs * blocks))) && activate && dm message $pool 0 "set_transaction_id 0 3" || exit 1
run
test $? = 3 && grep -q "$meta: in use, held by .*lab-pool" /run/err && [ "$(transaction)" = 3 ]
ok $? "a device: the metadata of an active pool is refused, with its holder, and nothing happens to the pool"
dm remove lab-pool
run && grep -q "replaced  thin-pool metadata, transaction 3" /run/out
ok $? "a device: when the pool is not active it is replaced, and what it was is said"
activate 2>/run/err && [ "$(transaction)" = "$(sed -n '1s/.* transaction="\([0-9]*\)".*/\1/p' "$xml")" ]
ok $? "a device: the kernel activates what was written"
dm remove_all
