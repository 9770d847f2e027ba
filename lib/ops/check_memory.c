// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/check_memory.h"

#include <inttypes.h>

#define MIB(bytes) (((bytes) >> 20) + 1)
#define LEAST_CACHE (UINT64_C(3) << 19)
#define STREAM_BYTES (UINT64_C(16) << 20)
#define STREAM_SHARE 64
#define SPARE_SHARE 32 /* of what is needed, that is advised on top of it */

/*
 * Counts of data come first, as what does not fit costs a pass over all leaves; but the cache has to read ahead. It has
 * enough when it keeps the nodes above the leaves, too; counts above 3 take what there is.
 */
static uint64_t share(const struct thin_pool *pool, struct bufio_client *c, uint64_t rest, uint64_t least_cache)
{
	uint64_t enough = thin_check_enough_memory(pool), spare = rest - least_cache - thin_check_least_memory();
	uint64_t wanted = STREAM_BYTES + pool->reader.nr_blocks * PD_BLOCK_SIZE / STREAM_SHARE, cache = rest / 2;

	if (rest - cache < enough) /* not with half of it */
		cache = rest > enough ? rest - enough : 0;
	if (cache < least_cache + spare / 8)
		cache = least_cache + spare / 8;
	if (cache > wanted && wanted > least_cache)
		cache = wanted;
	bufio_set_memory_limit(c, cache); /* cannot fail: it is neither below the floor nor above what it was */
	return rest - cache;
}

uint64_t check_share_memory(const struct check_memory *m, struct bufio_client *c, uint64_t limit,
			    struct op_result *result)
{
	uint64_t floor = bufio_get_memory_floor(c);
	uint64_t least_cache = floor < LEAST_CACHE && limit > 2 * LEAST_CACHE ? LEAST_CACHE : floor;
	uint64_t tables = thin_check_bytes(m->pool) + m->tables;
	uint64_t need = tables + least_cache + thin_check_least_memory();

	if (limit < need && m->may_raise)
		limit = need + thin_check_least_memory() + STREAM_BYTES;
	if (limit >= need)
		return share(m->pool, c, limit - tables, least_cache);
	op_fail(result, OP_USAGE, 0,
		"%s: to %s %" PRIu64 " blocks of metadata takes more memory than the limit leaves: give "
		"--memory-limit=%" PRIu64 "MiB", m->image, m->purpose, m->pool->reader.nr_blocks,
		MIB(need + need / SPARE_SHARE + m->beside));
	return 0;
}
