/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every fuzz target is run by: cases from seeds, each of which can be repeated alone. */
#ifndef TESTS_FUZZ_FUZZ_LOOP_H
#define TESTS_FUZZ_FUZZ_LOOP_H

#include <stdbool.h>

#include "mutate.h"

/*
 * Calls @one for the seeds from the number @seed on: @limit is how many, or for how long ("600s"). The seed of a case is
 * printed before it runs, where there is no end to them each thousandth, so that a crash can be repeated with that seed and
 * a limit of 1. False: the words cannot be understood, and nothing was done.
 */
bool fuzz_loop(const char *seed, const char *limit, void (*one)(struct rng *r, void *context), void *context);

#endif
