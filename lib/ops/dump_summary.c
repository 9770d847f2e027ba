// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The summary: everything is looked at first, because the verdict stands above the devices in a document; then the
 * devices are walked once more to be shown. The second time costs little, as the memo knows every root.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "meta/thin_disk.h"
#include "ops/dump_int.h"

/* What is known before the devices are shown. */
struct look {
	struct pd_memo memo;
	struct thin_share share; /* of --shared */
	uint64_t nr_devices;     /* that are shown */
};

/* Two columns more. Mappings that were not reached are neither exclusive nor shared. */
static void fill_shares(const struct look *look, uint64_t index, struct record_device_row *row, char text[64])
{
	uint64_t exclusive;

	row->exclusive_blocks = row->shared_blocks = RECORD_UNKNOWN;
	if (!look->share.exclusive)
		return; /* not asked for */
	exclusive = look->share.exclusive[index];
	row->exclusive_blocks = exclusive;
	row->shared_blocks = row->found_blocks > exclusive ? row->found_blocks - exclusive : 0;
	snprintf(text, 64, " %17" PRIu64 " %14" PRIu64, row->exclusive_blocks, row->shared_blocks);
	row->shares = text;
}

static int fill_row(struct dump *d, const struct thin_device *device, struct pd_memo *memo,
		    struct record_device_row *row)
{
	struct thin_count count = { 0 };
	uint64_t mapped;
	int r = 0;

	if (device->has_root && !d->args->skip_mappings)
		r = thin_walk_mappings(&d->pool, device, memo->nr ? memo : NULL, NULL, &count);
	mapped = device->has_details ? device->mapped_blocks : count.mappings;
	*row = (struct record_device_row){
		.dev_id = device->id,
		.mapped_blocks = mapped,
		.mapped_bytes = saturating_mul(mapped, (uint64_t)d->pool.sb.data_block_size * 512),
		.found_blocks = d->args->skip_mappings ? RECORD_UNKNOWN : count.mappings,
		.transaction = device->has_details ? device->transaction_id : RECORD_UNKNOWN,
		.creation_time = device->has_details ? device->creation_time : RECORD_UNKNOWN,
		.snap_time = device->has_details ? device->snapshotted_time : RECORD_UNKNOWN,
		.state = !device->has_root	    ? "MAPPINGS LOST" :
			 count.holes || count.flaws ? "DAMAGED" :
			 d->pool.is_single	    ? "no details" :
			 !device->has_details	    ? "DETAILS LOST" :
			 d->args->skip_mappings	    ? "not read" : "ok",
	};
	return r;
}

/* Every device, or the one that was asked for; shown or only looked at. */
static int walk_devices(struct dump *d, struct look *look, bool show)
{
	struct meta_visitor *v = &d->emitter->visitor;
	struct record_device_row row;
	struct thin_devices devices;
	struct thin_device device;
	char shares[64];
	int r;

	look->nr_devices = 0;
	thin_devices_open(&devices, &d->pool);
	for (uint64_t i = 0; (r = thin_devices_next(&devices, &device)) > 0; i++) {
		if (d->args->only_device && device.id != d->args->dev_id)
			continue;
		look->nr_devices++;
		r = fill_row(d, &device, &look->memo, &row);
		fill_shares(look, i, &row, shares);
		if (!r && show)
			r = v->record(v, RECORD_DEVICE_ROW, &row);
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

/* The metadata snapshot's trees are looked at with --metadata-snap; here only whether it can be used at all. */
static int verify_rest(struct dump *d)
{
	struct thin_pool held = d->pool;
	int r;

	if (d->args->use_snapshot)
		return 0; /* its space maps are zero */
	r = held.sb.held_root ? thin_pool_use_snapshot(&held, 0) : 0;
	return r < 0 ? r : thin_verify_space_maps(&d->pool);
}

static uint64_t percent(uint64_t part, uint64_t whole)
{
	if (part >= whole)
		return whole ? 100 : 0;
	return part <= UINT64_MAX / 100 ? part * 100 / whole : part / (whole / 100);
}

static const char *state_text(const struct dump *d)
{
	const uint64_t *problems = d->result->problems;

	if (problems[SEVERITY_FATAL])
		return "DATA AT RISK: do not activate this pool; copy the metadata first, then repair the copy.";
	if (problems[SEVERITY_LOSSY])
		return "MAPPINGS LOST: some cannot be reached; copy the metadata first, then repair the copy.";
	if (problems[SEVERITY_REPAIRABLE])
		return "REPAIR NEEDED: no mapping is lost, but the pool is not safe to activate.";
	if (d->pool.live.flags & THIN_FLAG_NEEDS_CHECK)
		return "No damage found, but the kernel will not write to the pool until needs_check is cleared.";
	if (d->args->skip_mappings)
		return "No damage found (mappings and space maps were not looked at).";
	return "No damage found (reference counts were not compared).";
}

static const char *flag_names(uint32_t flags)
{
	if (!flags)
		return "none";
	if (!(flags & THIN_FLAG_NEEDS_CHECK))
		return "unknown";
	return flags == THIN_FLAG_NEEDS_CHECK ? "NEEDS_CHECK" : "NEEDS_CHECK and unknown";
}

/* A line about what the screen does not show. */
static void fill_more(const struct dump *d, uint64_t nr_devices, char *more, size_t size)
{
	uint64_t nr = dump_nr_problems(d->result);

	if (nr > d->nr_kept)
		snprintf(more, size, "\n... and %" PRIu64 " problems more\n", nr - d->nr_kept);
	else if (!nr_devices && d->result->problems[SEVERITY_LOSSY])
		snprintf(more, size, "\nNo device could be reached.\n");
	else
		*more = '\0';
}

static void fill_sizes(const struct dump *d, struct record_summary *s)
{
	/* A metadata snapshot has no space maps of its own. */
	const struct pd_sm_root *meta = &d->pool.live.metadata_sm, *data = &d->pool.live.data_sm;

	s->data_block_bytes = (uint64_t)d->pool.sb.data_block_size * 512;
	s->metadata_used = meta->nr_allocated;
	s->metadata_total = meta->nr_blocks;
	s->metadata_percent = percent(meta->nr_allocated, meta->nr_blocks);
	s->metadata_bytes = saturating_mul(meta->nr_blocks, PD_BLOCK_SIZE);
	s->data_used = data->nr_allocated;
	s->data_total = data->nr_blocks;
	s->data_percent = percent(data->nr_allocated, data->nr_blocks);
	s->data_used_bytes = saturating_mul(data->nr_allocated, s->data_block_bytes);
	s->data_bytes = saturating_mul(data->nr_blocks, s->data_block_bytes);
}

static void fill_superblock(const struct dump *d, struct record_summary *s)
{
	const struct thin_superblock *sb = &d->pool.sb;

	s->flags = sb->flags;
	s->flag_names = flag_names(sb->flags);
	s->version = sb->version;
	s->time = sb->time;
	s->checksum = sb->csum;
	s->checksum_expected = sb->csum_expected;
	s->checksum_state = sb->csum == sb->csum_expected ? "good" : "BAD";
	s->transaction = sb->trans_id;
	s->held_root = sb->held_root;
	s->compat_flags = sb->compat_flags;
	s->compat_ro_flags = sb->compat_ro_flags;
	s->incompat_flags = sb->incompat_flags;
	s->data_mapping_root = sb->data_mapping_root;
	s->device_details_root = sb->device_details_root;
}

static int emit(struct dump *d, struct look *look)
{
	const uint64_t *problems = d->result->problems;
	struct meta_visitor *v = &d->emitter->visitor;
	char uuid[THIN_UUID_MAX], more[64];
	struct dump_lvm_texts lvm;
	struct record_summary s = {
		.image = d->args->image,
		.what = d->args->use_snapshot ? "thin-pool metadata snapshot" :
			d->args->use_root     ? "thin-pool metadata, through an older root" : "thin-pool metadata",
		.state = state_text(d),
		.uuid = thin_uuid_text(&d->pool.sb, uuid),
		.bytes = bufio_device_describe(bufio_get_device(d->args->client))->size,
		.fatal = problems[SEVERITY_FATAL],
		.lossy = problems[SEVERITY_LOSSY],
		.repairable = problems[SEVERITY_REPAIRABLE],
		.cosmetic = problems[SEVERITY_COSMETIC],
		.more = more,
		.shares = look->share.exclusive ? "  exclusive blocks  shared blocks" : NULL,
	};
	int r;

	fill_superblock(d, &s);
	fill_sizes(d, &s);
	fill_more(d, look->nr_devices, more, sizeof(more));
	dump_fill_lvm(d, &lvm, &s);
	d->pool.reader.sink = &problem_silent;
	look->memo.retell = 0;
	r = v->begin(v, RECORD_SUMMARY, &s);
	if (!r)
		r = walk_devices(d, look, true);
	if (!r)
		r = dump_emit_strays(d);
	if (!r)
		r = dump_emit_kept(d);
	return r ? r : v->end(v, RECORD_SUMMARY, &s);
}

int dump_summary(struct dump *d)
{
	struct look look = { 0 };
	int r = 0;

	d->sink.report = dump_report_later;
	if (!dump_open_pool(d))
		return 0;
	dump_make_memo(d, &look.memo);
	if (d->args->count_shared && !d->args->skip_mappings)
		r = dump_count_shares(d, &look.share);
	dump_stream(d);
	if (!r && d->result->outcome == OP_DONE)
		r = walk_devices(d, &look, false);
	if (!r && d->result->outcome == OP_DONE && !d->args->skip_mappings)
		r = verify_rest(d);
	if (!r && d->result->outcome == OP_DONE)
		r = emit(d, &look);
	dump_share_free(&look.share);
	free(look.memo.entries);
	return r;
}
