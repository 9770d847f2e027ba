/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Little-endian integers as they lie on disk.
 *
 * le16, le32 and le64 are byte arrays in a struct: they have no alignment, so a packed layout may put them
 * anywhere, and they cannot be mixed up with numbers by mistake.
 */
#ifndef BASE_LE_H
#define BASE_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint8_t b[2]; } le16;
typedef struct { uint8_t b[4]; } le32;
typedef struct { uint8_t b[8]; } le64;

/* @bytes is 1 to 8. A constant 4 or 8, which is nearly every call, becomes one load. */
static inline uint64_t le_load(const uint8_t *b, unsigned bytes)
{
	uint64_t v = 0;

	memcpy(&v, b, bytes);
	#if __BYTE_ORDER == __BIG_ENDIAN
	for (v = 0; bytes--;)
		v = v << 8 | b[bytes];
#endif
	return v;
}

static inline void le_store(uint8_t *b, unsigned bytes, uint64_t v)
{
	for (unsigned i = 0; i < bytes; i++)
		b[i] = (uint8_t)(v >> (8 * i));
}

static inline uint16_t le16_get(le16 v) { return (uint16_t)le_load(v.b, 2); }
static inline uint32_t le32_get(le32 v) { return (uint32_t)le_load(v.b, 4); }
static inline uint64_t le64_get(le64 v) { return le_load(v.b, 8); }

static inline le32 le32_put(uint32_t v)
{
	le32 r = { { 0 } };

	le_store(r.b, 4, v);
	return r;
}

static inline le64 le64_put(uint64_t v)
{
	le64 r = { { 0 } };

	le_store(r.b, 8, v);
	return r;
}

#endif
