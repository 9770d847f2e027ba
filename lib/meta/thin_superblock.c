// SPDX-License-Identifier: LGPL-2.1-or-later
/* The superblock: decoding, and judging every field before anything is built on it. */
#include <errno.h>
#include <stdio.h>

#include "meta/thin.h"
#include "meta/thin_disk.h"

void thin_superblock_decode(const void *block, struct thin_superblock *sb)
{
	const struct thin_superblock_disk *d = block;

	*sb = (struct thin_superblock){
		.csum = le32_get(d->csum),
		.csum_expected = pd_block_checksum(block, PD_THIN_SUPERBLOCK),
		.flags = le32_get(d->flags),
		.blocknr = le64_get(d->blocknr),
		.magic = le64_get(d->magic),
		.version = le32_get(d->version),
		.time = le32_get(d->time),
		.trans_id = le64_get(d->trans_id),
		.held_root = le64_get(d->held_root),
		.data_sm = pd_sm_root_decode((const void *)d->data_space_map_root),
		.metadata_sm = pd_sm_root_decode((const void *)d->metadata_space_map_root),
		.data_mapping_root = le64_get(d->data_mapping_root),
		.device_details_root = le64_get(d->device_details_root),
		.data_block_size = le32_get(d->data_block_size),
		.metadata_block_size = le32_get(d->metadata_block_size),
		.metadata_nr_blocks = le64_get(d->metadata_nr_blocks),
		.compat_flags = le32_get(d->compat_flags),
		.compat_ro_flags = le32_get(d->compat_ro_flags),
		.incompat_flags = le32_get(d->incompat_flags),
	};
	memcpy(sb->uuid, d->uuid, sizeof(sb->uuid));
}

bool thin_is_data_block_size(uint64_t sectors)
{
	return sectors >= THIN_BLOCK_SIZE_MIN && sectors <= THIN_BLOCK_SIZE_MAX && sectors % THIN_BLOCK_SIZE_MIN == 0;
}

static bool is_possible_metadata_size(uint64_t blocks)
{
	return blocks && blocks <= PD_MAX_METADATA_BLOCKS;
}

/* A field that has one right value, or a set of them. */
static void judge(const struct thin_pool *pool, bool is_good, enum problem_code code, uint64_t expected, uint64_t found)
{
	struct pd_context ctx = { .where = WHERE_SUPERBLOCK, .dev_id = PROBLEM_NO_DEVICE };

	if (!is_good)
		pd_report(&pool->reader, &ctx, code, 0, (struct problem){ .expected = expected, .found = found });
}

static void judge_header(const struct thin_pool *pool)
{
	const struct thin_superblock *sb = &pool->sb;

	judge(pool, sb->csum == sb->csum_expected, PROBLEM_SB_CHECKSUM, sb->csum_expected, sb->csum);
	judge(pool, sb->blocknr == 0, PROBLEM_SB_NUMBER, 0, sb->blocknr);
	judge(pool, sb->magic == THIN_MAGIC, PROBLEM_SB_MAGIC, THIN_MAGIC, sb->magic);
	judge(pool, sb->version && sb->version <= THIN_VERSION_MAX, PROBLEM_SB_VERSION, THIN_VERSION_MAX, sb->version);
	judge(pool, sb->time <= THIN_TIME_MASK, PROBLEM_SB_TIME_BEYOND, THIN_TIME_MASK, sb->time);
	judge(pool, !sb->incompat_flags, PROBLEM_SB_INCOMPAT, 0, sb->incompat_flags);
	judge(pool, !sb->compat_ro_flags, PROBLEM_SB_COMPAT_RO, 0, sb->compat_ro_flags);
	judge(pool, !sb->compat_flags, PROBLEM_SB_FLAGS, 0, sb->compat_flags);
	judge(pool, !(sb->flags & ~THIN_FLAG_NEEDS_CHECK), PROBLEM_SB_FLAGS, 0, sb->flags & ~THIN_FLAG_NEEDS_CHECK);
	judge(pool, !(sb->flags & THIN_FLAG_NEEDS_CHECK), PROBLEM_NEEDS_CHECK, 0, sb->flags);
}

static void judge_allocated(const struct thin_pool *pool, enum problem_where where, const struct pd_sm_root *root)
{
	struct pd_context ctx = { .where = where, .dev_id = PROBLEM_NO_DEVICE };

	if (root->nr_allocated > root->nr_blocks)
		pd_report(&pool->reader, &ctx, PROBLEM_SM_ALLOCATED, 0,
			  (struct problem){ .expected = root->nr_blocks, .found = root->nr_allocated });
}

static void judge_sizes(const struct thin_pool *pool, uint64_t device_blocks)
{
	const struct thin_superblock *sb = &pool->sb;
	uint64_t nr = sb->metadata_sm.nr_blocks;
	struct pd_context data = { .where = WHERE_DATA_SM, .dev_id = PROBLEM_NO_DEVICE };
	struct pd_context meta = { .where = WHERE_META_SM, .dev_id = PROBLEM_NO_DEVICE };

	judge(pool, thin_is_data_block_size(sb->data_block_size), PROBLEM_SB_DATA_BLOCK_SIZE, 0, sb->data_block_size);
	judge(pool, sb->metadata_block_size == THIN_METADATA_BLOCK_SIZE, PROBLEM_SB_META_BLOCK_SIZE,
	      THIN_METADATA_BLOCK_SIZE, sb->metadata_block_size);
	if (sb->data_sm.nr_blocks > THIN_MAX_DATA_BLOCKS)
		pd_report(&pool->reader, &data, PROBLEM_SM_ROOT_BLOCKS, 0,
			  (struct problem){ .expected = THIN_MAX_DATA_BLOCKS, .found = sb->data_sm.nr_blocks });
	judge_allocated(pool, WHERE_DATA_SM, &sb->data_sm);
	judge_allocated(pool, WHERE_META_SM, &sb->metadata_sm);
	if (!is_possible_metadata_size(nr)) {
		pd_report(&pool->reader, &meta, PROBLEM_SM_ROOT_BLOCKS, 0,
			  (struct problem){ .expected = PD_MAX_METADATA_BLOCKS, .found = nr });
		return;
	}
	judge(pool, nr <= device_blocks, PROBLEM_DEVICE_SMALL, nr, device_blocks);
	judge(pool, nr == sb->metadata_nr_blocks, PROBLEM_SB_META_BLOCKS, nr, sb->metadata_nr_blocks);
}

static void set_bounds(struct thin_pool *pool, uint64_t device_blocks)
{
	const struct thin_superblock *sb = &pool->sb;
	uint64_t nr = sb->metadata_sm.nr_blocks;

	pool->reader.nr_blocks = device_blocks;
	if (sb->csum == sb->csum_expected && is_possible_metadata_size(nr) && nr < device_blocks)
		pool->reader.nr_blocks = nr;
	pool->nr_data_blocks = THIN_UNKNOWN_SIZE;
	if (sb->csum == sb->csum_expected && sb->data_sm.nr_blocks <= THIN_MAX_DATA_BLOCKS)
		pool->nr_data_blocks = sb->data_sm.nr_blocks;
}

static void override(struct thin_pool *pool)
{
	const struct thin_overrides *o = &pool->overrides;

	if (o->has_transaction)
		pool->sb.trans_id = o->transaction;
	if (o->data_block_size)
		pool->sb.data_block_size = o->data_block_size;
	if (o->nr_data_blocks)
		pool->sb.data_sm.nr_blocks = pool->nr_data_blocks = o->nr_data_blocks;
}

int thin_pool_open_overridden(struct thin_pool *pool, struct bufio_client *client,
			      const struct thin_overrides *overrides, struct problem_sink *sink)
{
	uint64_t device_blocks = bufio_get_device_size(client);
	struct bufio_buffer *b;
	const void *data;

	*pool = (struct thin_pool){ .reader = { .client = client, .sink = sink }, .overrides = *overrides };
	data = bufio_read(client, 0, &b);
	if (!data)
		return -errno;
	thin_superblock_decode(data, &pool->sb);
	bufio_release(b);
	set_bounds(pool, device_blocks);
	override(pool);
	pool->live = pool->sb;
	judge_header(pool);
	judge_sizes(pool, device_blocks);
	return 0;
}

int thin_pool_open(struct thin_pool *pool, struct bufio_client *client, struct problem_sink *sink)
{
	return thin_pool_open_overridden(pool, client, &(struct thin_overrides){ 0 }, sink);
}

int thin_pool_open_lost(struct thin_pool *pool, struct bufio_client *client, const struct thin_overrides *overrides,
			struct problem_sink *sink)
{
	struct pd_context ctx = { .where = WHERE_SUPERBLOCK, .dev_id = PROBLEM_NO_DEVICE };
	struct bufio_buffer *b;
	const void *data;
	int r;

	*pool = (struct thin_pool){
		.reader = { .client = client, .nr_blocks = bufio_get_device_size(client), .sink = sink },
		.nr_data_blocks = THIN_UNKNOWN_SIZE,
		.overrides = *overrides,
		.is_lost = true,
		.has_no_details = true,
		.has_no_top = true,
	};
	r = pd_read(&pool->reader, &ctx, 0, PD_THIN_SUPERBLOCK, &data, &b);
	if (r > 0)
		bufio_release(b);
	pool->sb.version = THIN_VERSION_MAX;
	override(pool);
	pool->live = pool->sb;
	return r < 0 ? r : 0;
}

void thin_pool_set_roots(struct thin_pool *pool, uint64_t top, uint64_t details)
{
	pool->is_single = false;
	pool->has_no_top = top == PROBLEM_NO_BLOCK;
	pool->has_no_details = details == PROBLEM_NO_BLOCK;
	pool->sb.data_mapping_root = pool->has_no_top ? 0 : top;
	pool->sb.device_details_root = pool->has_no_details ? 0 : details;
}

int thin_pool_use_snapshot(struct thin_pool *pool, uint64_t block)
{
	struct pd_context ctx = { .where = WHERE_HELD, .dev_id = PROBLEM_NO_DEVICE };
	struct bufio_buffer *b;
	const void *data;
	int r;

	if (!block)
		block = pool->sb.held_root;
	if (!block)
		return 0;
	r = pd_read(&pool->reader, &ctx, block, PD_THIN_SUPERBLOCK, &data, &b);
	if (r <= 0)
		return r;
	thin_superblock_decode(data, &pool->sb);
	bufio_release(b);
	if (pool->sb.magic != THIN_MAGIC)
		pd_report(&pool->reader, &ctx, PROBLEM_SB_MAGIC, block,
			  (struct problem){ .expected = THIN_MAGIC, .found = pool->sb.magic });
	pool->has_no_top = pool->has_no_details = pool->is_single = false;
	override(pool);
	return 1;
}

const char *thin_uuid_text(const struct thin_superblock *sb, char text[THIN_UUID_MAX])
{
	static const uint8_t none[sizeof(sb->uuid)];

	text[0] = '\0';
	if (memcmp(sb->uuid, none, sizeof(none)))
		for (unsigned i = 0; i < sizeof(sb->uuid); i++)
			snprintf(text + 2 * (size_t)i, 3, "%02x", sb->uuid[i]);
	return text;
}
