// SPDX-License-Identifier: LGPL-2.1-or-later
/* Exclusive and shared blocks: the tables that counting takes out of the memory limit. */
#include <errno.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "ops/dump_int.h"

/* Fewer counts than this are not worth a walk: 64 KiB. */
#define MIN_COUNTS (UINT64_C(1) << 18)

static int count_devices(struct dump *d, uint64_t *nr)
{
	struct thin_pool quiet = d->pool;
	struct thin_devices devices;
	struct thin_device device;
	int r;

	*nr = 0;
	quiet.reader.sink = &problem_silent;
	thin_devices_open(&devices, &quiet);
	while ((r = thin_devices_next(&devices, &device)) > 0)
		++*nr;
	thin_devices_close(&devices);
	return r;
}

/*
 * One piece of memory for all tables. There are as many counts as data blocks, or as fit: for the others there will be
 * further walks.
 */
static bool take_tables(struct dump *d, struct thin_share *s)
{
	uint64_t nodes = THIN_SHARE_BYTES(d->pool.reader.nr_blocks);
	uint64_t fixed = (s->nr_devices + 1) * sizeof(*s->exclusive) + nodes;

	s->nr_counts = d->pool.nr_data_blocks < THIN_MAX_DATA_BLOCKS ? d->pool.nr_data_blocks : THIN_MAX_DATA_BLOCKS;
	while (!dump_take_memory(d, fixed + THIN_SHARE_BYTES(s->nr_counts))) {
		if (s->nr_counts <= MIN_COUNTS) {
			dump_refuse_memory(d, "to count exclusive blocks", fixed + THIN_SHARE_BYTES(s->nr_counts));
			return false;
		}
		s->nr_counts /= 2;
	}
	s->exclusive = calloc(1, fixed + THIN_SHARE_BYTES(s->nr_counts));
	if (!s->exclusive)
		return false;
	s->nodes = (uint8_t *)(s->exclusive + s->nr_devices + 1);
	s->counts = s->nodes + nodes;
	return true;
}

static int count(struct dump *d, struct thin_share *s)
{
	int r = thin_share_count(&d->pool, s);

	if (r == -E2BIG) {
		dump_refuse_memory(d, "to count exclusive blocks", THIN_SHARE_BYTES(s->nr_data / THIN_SHARE_MAX_WALKS));
		return 0;
	}
	if (!r && s->walks > 1)
		text_printf(&d->messages, "%s: counting within the memory limit took %u walks over all mappings\n",
			    d->args->program, s->walks);
	return r;
}

int dump_count_shares(struct dump *d, struct thin_share *s)
{
	int r;

	*s = (struct thin_share){ 0 };
	r = count_devices(d, &s->nr_devices);
	if (r)
		return r;
	if (!take_tables(d, s))
		return d->result->outcome == OP_DONE ? -ENOMEM : 0;
	return count(d, s);
}

void dump_share_free(struct thin_share *s)
{
	free(s->exclusive);
}
