/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Damage for fuzzing: raw, or with the checksum and block number made right again, so that what is behind them is met. */
#ifndef MUTATE_H
#define MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* xorshift64*: the same numbers everywhere for the same seed (not 0). */
struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t limit);

/* Changes one thing in the metadata image of @size bytes. */
void mutate(uint8_t *image, size_t size, struct rng *r);

/*
 * Changes one thing in a text of @len bytes, which has room for @max: a byte, some that go, one of the @nr pieces that comes
 * in, or the end is cut off. Returns how long it is then.
 */
size_t mutate_text(uint8_t *text, size_t len, size_t max, const char *const *pieces, size_t nr, struct rng *r);

#endif
