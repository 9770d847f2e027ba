#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Random damage, several blocks at a time, and what bufio-repair makes of it; see random_damage.py. REPAIR_COUNT cases of
# each of REPAIR_IMAGES, REPAIR_SEED to begin with.
[ -w /dev/shm ] && TMPDIR=${TMPDIR:-/dev/shm} && export TMPDIR
. "$srcdir/tests/tap.sh"
images=${REPAIR_IMAGES:-thin-snaps:20 thin-manydev:20 thin-frag:10}
seed=${REPAIR_SEED:-1}
damage=$srcdir/tests/repair/random_damage.py

if ! command -v python3 >/dev/null; then
	skip "python3 is not installed to damage and judge with"
	finish
	exit
fi

for image in $images; do
	name=${image%%:*}
	count=${REPAIR_COUNT:-${image#*:}}
	"$srcdir/tests/corpus/get" "$name" "$name" || exit 99
	python3 "$damage" --seed="$seed" --count="$count" "$name" >log 2>messages
	is $? 0 "$name: of $count damaged copies all is kept that can be, nothing is invented, and losses are said" ||
		grep -v "^$name: " log | head -n 40 | cut -c1-600 | sed 's/^/# /'
	sed -n "s/^$name: /# $name: /p" log
done

# A repair that keeps silent about losses is noticed.
printf '#!/bin/sh\nbufio-repair "$@" | sed '"'s/\"verdict\": *\"lost\"/\"verdict\":\"complete\"/'"'\nexit 0\n' >silent
chmod +x silent
"$srcdir/tests/corpus/get" thin-snaps thin-snaps || exit 99 # which need not be among the images
python3 "$damage" --seed="$seed" --count=10 --tool=./silent thin-snaps >log 2>messages
is $? 1 "a repair that keeps silent is noticed"
ok "$(grep -c '^	status: status 0, but' log)" "for what it is"
finish
