// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

#include "base/le.h"

#define POLYNOMIAL 0x82F63B78u

/*
 * Bytes in one stream of the interleaved loop. Three of them and 12 bytes over are the 4092 checksummed bytes of a
 * metadata block: the crc32 instruction has a latency of three cycles and a throughput of one, so three streams
 * keep it busy.
 */
#define STREAM 1360

static uint32_t slice[8][256]; /* slice[k][b]: byte b followed by k zero bytes */
static uint32_t skip[4][256];  /* skip[k][b]: byte k of a crc, followed by STREAM zero bytes */
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static uint32_t shift_zeroes(uint32_t crc, unsigned n)
{
	while (n--)
		crc = crc >> 8 ^ slice[0][crc & 0xFF];
	return crc;
}

/* A crc is linear: only single bits are sent through the zeroes, which takes long. */
static uint32_t fill_skip(unsigned k, uint32_t b)
{
	uint32_t lowest = b & -b;

	return b == lowest ? shift_zeroes(b << (8 * k), STREAM) : skip[k][lowest] ^ skip[k][b ^ lowest];
}

static void fill_tables(void)
{
	for (uint32_t b = 0; b < 256; b++) {
		uint32_t crc = b;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
		slice[0][b] = crc;
	}
	for (uint32_t b = 0; b < 256; b++) {
		for (unsigned k = 1; k < 8; k++)
			slice[k][b] = shift_zeroes(slice[k - 1][b], 1);
		for (unsigned k = 0; k < 4; k++)
			skip[k][b] = fill_skip(k, b);
	}
}

uint32_t crc32c_raw_portable(uint32_t crc, const void *buf, size_t len)
{
	const uint8_t *p = buf;

	pthread_once(&tables_once, fill_tables);
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = le_load(p, 8) ^ crc;

		crc = 0;
		for (unsigned k = 0; k < 8; k++)
			crc ^= slice[7 - k][v >> (8 * k) & 0xFF];
	}
	while (len--)
		crc = crc >> 8 ^ slice[0][(crc ^ *p++) & 0xFF];
	return crc;
}

#ifdef __x86_64__
#include <nmmintrin.h>

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t skip_stream(uint64_t crc)
{
	return skip[0][crc & 0xFF] ^ skip[1][crc >> 8 & 0xFF] ^ skip[2][crc >> 16 & 0xFF] ^ skip[3][crc >> 24 & 0xFF];
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_raw_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t a = crc;

	for (; len >= 3 * STREAM; p += 3 * STREAM, len -= 3 * STREAM) {
		uint64_t b = 0, c = 0;

		for (unsigned i = 0; i < STREAM; i += 8) {
			a = _mm_crc32_u64(a, load64(p + i));
			b = _mm_crc32_u64(b, load64(p + STREAM + i));
			c = _mm_crc32_u64(c, load64(p + 2 * STREAM + i));
		}
		a = skip_stream(skip_stream(a) ^ b) ^ c;
	}
	for (; len >= 8; p += 8, len -= 8)
		a = _mm_crc32_u64(a, load64(p));
	while (len--)
		a = _mm_crc32_u8((uint32_t)a, *p++);
	return (uint32_t)a;
}
#endif

uint32_t crc32c_raw(uint32_t crc, const void *buf, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2")) {
		pthread_once(&tables_once, fill_tables);
		return crc32c_raw_sse42(crc, buf, len);
	}
#endif
	return crc32c_raw_portable(crc, buf, len);
}
