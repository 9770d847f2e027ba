// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>

#include "base/crc32c.h"
#include "base/le.h"
#include "unit.h"

#define BLOCK 4096

static unsigned char noise[16384 + 64];

static void make_noise(void)
{
	uint32_t x = 12345;

	for (size_t i = 0; i < sizeof(noise); i++) {
		x = x * 1103515245 + 12345;
		noise[i] = (unsigned char)(x >> 16);
	}
}

/* Bit by bit from the definition, so that both versions cannot share a mistake. */
static uint32_t crc_by_bits(uint32_t crc, const unsigned char *p, size_t len)
{
	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
	}
	return crc;
}

static void check_value(void)
{
	CU_ASSERT_EQUAL(~crc32c_raw(0xFFFFFFFF, "123456789", 9), 0xE3069283);
	CU_ASSERT_EQUAL(~crc32c_raw_portable(0xFFFFFFFF, "123456789", 9), 0xE3069283);
}

/* RFC 3720, appendix B.4. */
static void iscsi_vectors(void)
{
	unsigned char b[32];

	memset(b, 0, sizeof(b));
	CU_ASSERT_EQUAL(~crc32c_raw(0xFFFFFFFF, b, sizeof(b)), 0x8A9136AA);
	memset(b, 0xff, sizeof(b));
	CU_ASSERT_EQUAL(~crc32c_raw(0xFFFFFFFF, b, sizeof(b)), 0x62A8AB43);
	for (unsigned char i = 0; i < sizeof(b); i++)
		b[i] = i;
	CU_ASSERT_EQUAL(~crc32c_raw(0xFFFFFFFF, b, sizeof(b)), 0x46DD794E);
}

static void nothing(void)
{
	CU_ASSERT_EQUAL(crc32c_raw(0x12345678, "", 0), 0x12345678);
	CU_ASSERT_EQUAL(crc32c_raw_portable(0x12345678, "", 0), 0x12345678);
}

static void raw_means_raw(void)
{
	/* With no initial value and no inversion, leading zeroes do not show. */
	CU_ASSERT_EQUAL(crc32c_raw(0, "\0\0\0\0", 4), 0);
	CU_ASSERT_EQUAL(crc32c_raw(0, "\0\0\0\001", 4), crc32c_raw(0, "\001", 1));
}

static void definition(void)
{
	make_noise();
	for (size_t len = 0; len < 600; len += 7) {
		uint32_t want = crc_by_bits(0xFFFFFFFF, noise + 3, len);

		CU_ASSERT_EQUAL(crc32c_raw(0xFFFFFFFF, noise + 3, len), want);
		CU_ASSERT_EQUAL(crc32c_raw_portable(0xFFFFFFFF, noise + 3, len), want);
	}
	CU_ASSERT_EQUAL(crc32c_raw(77, noise, 16384), crc_by_bits(77, noise, 16384));
}

static unsigned count_differences(size_t len)
{
	unsigned nr = 0;

	for (size_t at = 0; at < 16; at++)
		nr += crc32c_raw((uint32_t)len, noise + at, len) !=
		      crc32c_raw_portable((uint32_t)len, noise + at, len);
	return nr;
}

static void short_lengths(void)
{
	unsigned nr = 0;

	make_noise();
	for (size_t len = 0; len <= 300; len++)
		nr += count_differences(len);
	CU_ASSERT_EQUAL(nr, 0);
}

static void long_lengths(void)
{
	unsigned nr = 0;

	make_noise();
	for (size_t len = 4070; len <= 8200; len += len % 4080 < 30 || len % 4080 > 4060 ? 1 : 61)
		nr += count_differences(len);
	nr += count_differences(3 * 4080) + count_differences(4 * 4080 - 1);
	CU_ASSERT_EQUAL(nr, 0);
}

static void pieces(void)
{
	uint32_t whole, crc;

	make_noise();
	whole = crc32c_raw(0xFFFFFFFF, noise, 9000);
	for (size_t cut = 0; cut <= 9000; cut += 113) {
		crc = crc32c_raw(0xFFFFFFFF, noise, cut);
		CU_ASSERT_EQUAL(crc32c_raw(crc, noise + cut, 9000 - cut), whole);
	}
	crc = 0xFFFFFFFF;
	for (size_t i = 0; i < 9000; i++)
		crc = crc32c_raw(crc, noise + i, 1);
	CU_ASSERT_EQUAL(crc, whole);
}

static void one_bit(void)
{
	uint32_t before, after;

	make_noise();
	before = crc32c_raw(0xFFFFFFFF, noise, BLOCK);
	for (size_t i = 0; i < BLOCK; i += 31) {
		noise[i] ^= 0x10;
		after = crc32c_raw(0xFFFFFFFF, noise, BLOCK);
		noise[i] ^= 0x10;
		CU_ASSERT_NOT_EQUAL(after, before);
	}
}

struct byte {
	unsigned at;
	unsigned char value;
};

static uint32_t stored_checksum(const struct byte *bytes, unsigned nr, uint32_t salt, uint32_t *computed)
{
	static unsigned char block[BLOCK];
	le32 stored;

	memset(block, 0, sizeof(block));
	for (unsigned i = 0; i < nr; i++)
		block[bytes[i].at] = bytes[i].value;
	memcpy(&stored, block, sizeof(stored));
	*computed = crc32c_raw(0xFFFFFFFF, block + 4, BLOCK - 4) ^ salt;
	return le32_get(stored);
}

/* What thin_restore 0.9.0 wrote for an empty pool; all other bytes are 0. */
static void thin_superblock(void)
{
	static const struct byte bytes[] = {
		{ 0, 0xf9 }, { 1, 0x90 }, { 2, 0x76 }, { 3, 0x64 }, { 32, 0xba }, { 33, 0x52 }, { 34, 0x9c },
		{ 35, 0x01 }, { 40, 0x02 }, { 48, 0x01 }, { 80, 0x04 }, { 88, 0x05 }, { 193, 0x01 }, { 200, 0x09 },
		{ 208, 0x01 }, { 216, 0x02 }, { 320, 0x07 }, { 328, 0x06 }, { 336, 0x80 }, { 340, 0x08 },
		{ 345, 0x01 },
	};
	uint32_t computed, stored = stored_checksum(bytes, sizeof(bytes) / sizeof(*bytes), 160774, &computed);

	CU_ASSERT_EQUAL(stored, 0x647690f9);
	CU_ASSERT_EQUAL(computed, stored);
}

static void btree_node(void)
{
	static const struct byte bytes[] = {
		{ 0, 0x42 }, { 1, 0x46 }, { 2, 0xc5 }, { 3, 0x49 }, { 4, 0x02 }, { 8, 0x07 }, { 20, 0xfc },
		{ 24, 0x08 },
	};
	uint32_t computed, stored = stored_checksum(bytes, sizeof(bytes) / sizeof(*bytes), 121107, &computed);

	CU_ASSERT_EQUAL(stored, 0x49c54642);
	CU_ASSERT_EQUAL(computed, stored);
}

static const struct unit_case cases[] = {
	{ "the check value of CRC-32C comes out", check_value },
	{ "the vectors of RFC 3720 come out", iscsi_vectors },
	{ "no bytes change nothing", nothing },
	{ "raw has no initial value and no inversion of its own", raw_means_raw },
	{ "both versions agree with the definition", definition },
	{ "both versions agree for short lengths at every alignment", short_lengths },
	{ "both versions agree around the interleaved length", long_lengths },
	{ "a buffer may be summed in pieces", pieces },
	{ "one flipped bit always shows", one_bit },
	{ "the checksum of a real dm-thin superblock comes out", thin_superblock },
	{ "the checksum of a real btree node comes out", btree_node },
	{ NULL, NULL },
};

const struct unit_suite crc32c_suite = { "crc32c", cases };
