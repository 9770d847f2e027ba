/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "meta/thin_claims.h"
#include "meta/thin_disk.h"
#include "tests/unit/unit.h"

static struct thin_claims claims;

static uint64_t value(uint64_t data, uint32_t time)
{
	return data << THIN_TIME_BITS | time;
}

static void start(void)
{
	claims = (struct thin_claims){ .memory = 1 << 20 };
}

/* The claim of an owner on a key. */
static const struct thin_claim *claim(uint32_t owner, uint64_t key)
{
	for (uint64_t i = 0; i < claims.nr; i++)
		if (claims.table[i].owner == owner && claims.table[i].key == key)
			return &claims.table[i];
	return NULL;
}

static void free_blocks(void)
{
	start();
	CU_ASSERT_EQUAL(thin_claims_add(&claims, 1, 10, value(100, 2)), 0);
	CU_ASSERT_EQUAL(thin_claims_sort(&claims), 0);
	thin_claims_judge(&claims, 10, value(101, 2)); /* of another block */
	thin_claims_finish(&claims);
	CU_ASSERT_FALSE(claim(1, 10)->is_rejected);
	CU_ASSERT_FALSE(claim(1, 10)->is_shared);
	thin_claims_free(&claims);
}

static void used_again(void)
{
	start();
	for (uint64_t key = 10; key < 14; key++)
		thin_claims_add(&claims, 1, key, value(90 + key, 2));
	thin_claims_sort(&claims);
	thin_claims_judge(&claims, 10, value(100, 2)); /* the same */
	thin_claims_judge(&claims, 50, value(101, 2)); /* elsewhere */
	thin_claims_judge(&claims, 12, value(102, 3)); /* later */
	thin_claims_finish(&claims);
	CU_ASSERT_FALSE(claim(1, 10)->is_rejected);
	CU_ASSERT_TRUE(claim(1, 10)->is_shared);
	CU_ASSERT_TRUE(claim(1, 11)->is_rejected);
	CU_ASSERT_TRUE(claim(1, 12)->is_rejected);
	CU_ASSERT_FALSE(claim(1, 13)->is_rejected);
	thin_claims_free(&claims);
}

static void rivals(void)
{
	start();
	thin_claims_add(&claims, 1, 10, value(100, 2));
	thin_claims_add(&claims, 2, 10, value(100, 2)); /* they shared it */
	thin_claims_add(&claims, 1, 20, value(200, 2));
	thin_claims_add(&claims, 2, 21, value(200, 2)); /* one of them had it later */
	thin_claims_sort(&claims);
	thin_claims_finish(&claims);
	CU_ASSERT_FALSE(claim(1, 10)->is_rejected);
	CU_ASSERT_FALSE(claim(2, 10)->is_rejected);
	CU_ASSERT_TRUE(claim(1, 20)->is_rejected);
	CU_ASSERT_TRUE(claim(2, 21)->is_rejected);
	thin_claims_free(&claims);
}

static void order(void)
{
	start();
	thin_claims_add(&claims, 2, 5, value(1, 0));
	thin_claims_add(&claims, 1, 9, value(2, 0));
	thin_claims_add(&claims, 1, 4, value(3, 0));
	thin_claims_sort(&claims);
	thin_claims_finish(&claims);
	CU_ASSERT_EQUAL(claims.table[0].key, 4);
	CU_ASSERT_EQUAL(claims.table[1].key, 9);
	CU_ASSERT_EQUAL(claims.table[2].key, 5);
	thin_claims_free(&claims);
}

static void memory(void)
{
	int r = 0;

	start();
	claims.memory = 4096;
	for (uint64_t i = 0; i < 1000 && !r; i++)
		r = thin_claims_add(&claims, 1, i, value(i, 0));
	CU_ASSERT_EQUAL(r, -E2BIG);
	thin_claims_free(&claims);
}

static const struct unit_case cases[] = {
	{ "a data block that nobody has is free to be claimed", free_blocks },
	{ "one that a living device has at another place, or since a later time, is not; at the same it is shared", used_again },
	{ "two that claim the same block for different places both go without; for the same place both have it", rivals },
	{ "in the end claims are in the order of owners and keys", order },
	{ "memory for claims is bounded", memory },
	{ NULL, NULL },
};

const struct unit_suite thin_claims_suite = { "thin_claims", cases };
