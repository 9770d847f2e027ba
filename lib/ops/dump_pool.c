// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which metadata a view looks at: the live pool, its metadata snapshot, or what an older root leads to. */
#include <inttypes.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "ops/dump_int.h"
#include "ops/target.h"

/* Where these look, the superblock need not be. */
static bool can_do_without_superblock(const struct dump *d)
{
	return d->args->repair || d->args->use_root || d->args->view == DUMP_ROOTS;
}

static bool take_overrides(struct dump *d, struct thin_overrides *o)
{
	const struct op_overrides *a = &d->args->overrides;

	*o = (struct thin_overrides){
		.has_transaction = a->has_transaction,
		.transaction = a->transaction,
		.data_block_size = (uint32_t)(a->data_block_bytes / 512),
		.nr_data_blocks = a->nr_data_blocks,
	};
	if (a->data_block_bytes && (a->data_block_bytes % 512 || !thin_is_data_block_size(a->data_block_bytes / 512)))
		op_fail(d->result, OP_USAGE, 0,
			"--data-block-size: %" PRIu64 " bytes are not a multiple of 64KiB up to 1GiB",
			a->data_block_bytes);
	else if (a->nr_data_blocks > THIN_MAX_DATA_BLOCKS)
		op_fail(d->result, OP_USAGE, 0, "--nr-data-blocks: %" PRIu64 " are more than the %" PRIu64
			" that there can be", a->nr_data_blocks, THIN_MAX_DATA_BLOCKS);
	else
		return true;
	return false;
}

static bool open_superblock(struct dump *d)
{
	const struct meta_format *format;
	struct thin_overrides overrides;
	char reason[OP_REASON_MAX];
	int r, error;

	if (!take_overrides(d, &overrides))
		return false;
	format = target_probe(d->args->client, d->args->image, reason, sizeof(reason), &error);
	if (format && !format->is_supported) {
		op_fail(d->result, OP_NOT_METADATA, 0,
			"%s: is %s, which this version only shows block by block: try the view 'block'", d->args->image,
			format->name);
		return false;
	}
	if (!format && (!can_do_without_superblock(d) || !target_has_metadata(d->args->client))) {
		op_fail(d->result, error ? OP_INPUT : OP_NOT_METADATA, error, "%s", reason);
		return false;
	}
	if (format)
		r = thin_pool_open_overridden(&d->pool, d->args->client, &overrides, &d->sink);
	else
		r = thin_pool_open_lost(&d->pool, d->args->client, &overrides, &d->sink);
	if (r)
		dump_fail_errno(d, r);
	return !r;
}

bool dump_use_snapshot(struct dump *d, struct thin_pool *pool)
{
	int r = thin_pool_use_snapshot(pool, d->args->snapshot);

	if (r < 0)
		dump_fail_errno(d, r);
	else if (!r && !d->args->snapshot && !pool->sb.held_root)
		op_fail(d->result, OP_USAGE, 0,
			"%s: has no metadata snapshot; for an active pool take one with: dmsetup message POOL 0 "
			"reserve_metadata_snap", d->args->image);
	else if (!r)
		op_fail(d->result, OP_INPUT, 0, "%s: the metadata snapshot at block %" PRIu64 " cannot be used",
			d->args->image, d->args->snapshot ? d->args->snapshot : pool->sb.held_root);
	return r > 0;
}

/* Every device is visited until the one that was asked for comes; *@holes are nodes in which it may have been. */
static int find_device(struct thin_pool *pool, uint64_t dev_id, struct thin_device *device, bool *found, uint64_t *holes)
{
	struct thin_devices devices;
	int r = 0;

	*found = false;
	thin_devices_open(&devices, pool);
	while (!*found && (r = thin_devices_next(&devices, device)) > 0)
		*found = device->id == dev_id;
	*holes = devices.details.holes + devices.top.holes;
	thin_devices_close(&devices);
	return *found ? 0 : r;
}

/* Before anything is written: a device that does not exist is a mistake, and no empty pool. */
bool dump_find_device(struct dump *d, struct thin_pool *pool, uint64_t dev_id, struct thin_device *device)
{
	struct thin_pool quiet = *pool;
	uint64_t holes;
	bool found;
	int r;

	quiet.reader.sink = &problem_silent;
	r = find_device(&quiet, dev_id, device, &found, &holes);
	if (!r && !found && holes) {
		r = find_device(pool, dev_id, device, &found, &holes); /* once more, with reports */
		if (!r && !found)
			op_fail(d->result, OP_LOST, 0,
				"%s: device %" PRIu64 " was not found, but the trees of devices are damaged: it may be there",
				d->args->image, dev_id);
	} else if (!r && !found) {
		op_fail(d->result, OP_USAGE, 0, "%s: has no device %" PRIu64, d->args->image, dev_id);
	}
	if (r)
		dump_fail_errno(d, r);
	return !r && found;
}

/* Of a pool without a superblock nothing tells it, and sizes in bytes would be nonsense. */
static bool has_data_block_size(struct dump *d)
{
	bool is_needed = d->pool.is_lost || d->args->repair;

	if (!is_needed || thin_is_data_block_size(d->pool.sb.data_block_size))
		return true;
	op_fail(d->result, OP_USAGE, 0,
		"%s: the superblock does not tell the size of data blocks: give it with --data-block-size, as LVM has "
		"it (lvs -o chunk_size)", d->args->image);
	return false;
}

bool dump_open_pool(struct dump *d)
{
	struct thin_device device;

	if (!open_superblock(d))
		return false;
	if (d->args->progress)
		d->pool.reader.progress = &d->args->progress->blocks;
	dump_expect(d, d->pool.live.metadata_sm.nr_allocated);
	if (d->args->view == DUMP_ROOTS)
		return d->pool.is_lost || dump_choose_lvm_pool(d);
	if (d->args->use_snapshot && !dump_use_snapshot(d, &d->pool))
		return false;
	if (d->args->use_root && !dump_use_root(d))
		return false;
	if (d->args->repair && !d->args->use_snapshot && !d->args->use_root && !dump_repair(d))
		return false;
	if (!has_data_block_size(d))
		return false;
	if (d->args->only_device && !dump_find_device(d, &d->pool, d->args->dev_id, &device))
		return false;
	return dump_choose_lvm_pool(d);
}

int dump_devices_in(const struct thin_pool *pool, uint64_t begin, uint64_t end,
		    int (*visit)(void *context, uint64_t dev_id), void *context, uint64_t *found)
{
	struct thin_pool quiet = *pool;
	struct thin_devices devices;
	struct thin_device device;
	int r;

	*found = 0;
	quiet.reader.sink = &problem_silent;
	quiet.reader.observer = NULL;
	thin_devices_open(&devices, &quiet);
	while ((r = thin_devices_next(&devices, &device)) > 0 && device.id < end) {
		r = 0;
		if (device.id < begin)
			continue;
		++*found;
		r = visit(context, device.id);
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r > 0 ? 0 : r;
}
