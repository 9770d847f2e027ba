#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Read number n fails, for every n; see fault.c.
. "$srcdir/tests/tap.sh"
"$srcdir/tests/corpus/get" thin-snaps image && "$builddir/tests/fault/fault" image
