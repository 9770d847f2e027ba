/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arithmetic on numbers that come from outside: true on success, false when the result does not fit. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* The product, or the largest number there is: for figures that are only shown. */
static inline uint64_t saturating_mul(uint64_t a, uint64_t b)
{
	uint64_t product;

	return checked_mul(a, b, &product) ? product : UINT64_MAX;
}

#endif
