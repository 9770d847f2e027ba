// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_check.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "meta/thin_disk.h"
#include "meta/thin_int.h"
#include "meta/thin_owners.h"
#include "pdata/space_map_check.h"
#include "pdata/tally.h"
#include "pdata/walk_disk.h"

/* So many damaged nodes are visited again for the devices that share them to be told. A hostile pool has more. */
#define MAX_RETOLD 10000

/* One byte a block. */
#define BLOCK_WHERE 0x0F   /* enum problem_where: the structure that it was found in first */
#define BLOCK_JUDGED 0x20  /* its shape was, where that is heard of */
#define BLOCK_COUNTED 0x40 /* its pointers are */
#define BLOCK_BAD 0x80     /* was reported as one that cannot be used */

_Static_assert(NR_WHERES <= BLOCK_WHERE + 1, "a structure fits");

struct check {
	struct pd_observer observer; /* first: what is entered finds its check by it */
	struct problem_sink sink;
	struct problem_sink *below;
	struct thin_check *c;
	struct thin_pool pool, held; /* read by way of observer and sink */
	bool has_held, in_held;      /* in_held: its trees are being walked */
	bool has_hidden_data, has_hidden_metadata; /* there may be more references, behind damage */
	bool is_used_unknown;        /* how many blocks are used: a part of the space maps could not be read */
	int error;                   /* -errno that a callback could not return */
	uint8_t *blocks;
	uint64_t nr;
	struct pd_memo memo;
	struct pd_counts pointers, data;
	struct pd_disk_walk walk;
	struct pd_tally tally;    /* what is on its way to data */
	uint64_t newest;          /* time of any mapping or device, as far as it may be news */
	_Atomic uint64_t highest; /* data block that is mapped */
	/* Neighbours whose counts differ in the same way. */
	struct problem run;
	struct problem *wrong; /* counts of blocks that are in use: first of data, then of metadata */
	size_t nr_wrong, nr_wrong_data;
	uint64_t nr_missing;  /* mappings that devices should have, by their details, where no damage explains it */
	uint64_t nr_leaked;   /* data blocks with a larger count than was found, though nothing is hidden */
	uint64_t nr_hidden;   /* counts that are larger than what was found, where there may be more */
};

static struct pd_context context(enum problem_where where, uint64_t dev_id)
{
	return (struct pd_context){ .where = where, .dev_id = dev_id };
}

/* --- what is damaged --- */

/* The block is the one that was meant, and only what was in it is lost. */
static bool is_only_contents(const struct problem *p)
{
	return p->code == PROBLEM_BLOCK_UNREADABLE || p->code == PROBLEM_BLOCK_ZEROED || p->code == PROBLEM_BLOCK_CHECKSUM;
}

/* What may have been below a block that is lost, or where a wrong pointer should have led, was not counted. */
static void note_hidden(struct check *k, const struct problem *p)
{
	bool has_mappings = p->where == WHERE_TOP || p->where == WHERE_MAPPINGS || p->where == WHERE_HELD;

	k->has_hidden_data |= has_mappings || p->where == WHERE_HELD_TREES;
	k->has_hidden_metadata |= !p->is_leaf || p->where == WHERE_TOP || !is_only_contents(p);
}

/* True if this is the first that is heard of it. */
static bool mark_bad(struct check *k, uint64_t block)
{
	bool is_new = block >= k->nr || !(k->blocks[block] & BLOCK_BAD);

	if (block < k->nr)
		k->blocks[block] |= BLOCK_BAD;
	return is_new;
}

/* Of the metadata snapshot only what is its own and cannot be used is news: the pool itself loses nothing by it. */
static void report(struct problem_sink *sink, const struct problem *p)
{
	struct check *k = (struct check *)((char *)sink - offsetof(struct check, sink));
	bool is_lost = problem_is_block_lost(p), is_new = is_lost && mark_bad(k, p->block);
	struct problem held = *p;

	if (is_lost)
		note_hidden(k, p);
	k->has_hidden_data |= p->code == PROBLEM_DATA_BEYOND;
	k->has_hidden_metadata |= p->code == PROBLEM_DEVICE_MAPPINGS;
	if (k->in_held && !is_new)
		return;
	if (k->in_held && p->where != WHERE_HELD)
		held.where = WHERE_HELD_TREES;
	k->below->report(k->below, &held);
}

/* --- references to metadata --- */

static void add_pointers(struct check *k, const uint64_t *blocks, unsigned nr)
{
	int r = pd_counts_add(&k->pointers, blocks, nr);

	if (!k->error)
		k->error = r;
}

static void add_pointer(struct check *k, uint64_t block)
{
	add_pointers(k, &block, 1);
}

/* Once; a walk that only counts goes before the one that is heard. */
static void judge_shape(struct check *k, const struct pd_context *ctx, const struct pd_cursor *c, const struct pd_node *n)
{
	unsigned room = pd_room(n), expected = pd_max_entries(n->value_size);

	if (k->blocks[n->block] & BLOCK_JUDGED || c->reader->is_quiet)
		return;
	k->blocks[n->block] |= BLOCK_JUDGED;
	if (room != expected)
		pd_report(c->reader, ctx, PROBLEM_NODE_ROOM, n->block,
			  (struct problem){ .expected = expected, .found = room });
	if (c->depth && n->nr && pd_is_underfull(n))
		pd_report(c->reader, ctx, PROBLEM_NODE_UNDERFULL, n->block,
			  (struct problem){ .expected = expected, .found = n->nr });
}

static void note_time(struct check *k, uint64_t time)
{
	if (time > k->newest)
		k->newest = time;
}

/*
 * Of leaves that are not known from the walk on the disk to be sound. That one may not have been able to read what can be
 * read now: then its blocks were not counted.
 */
static void note_leaf(struct check *k, const struct pd_node *leaf)
{
	for (unsigned i = 0; i < leaf->nr; i++)
		note_time(k, pd_value64(leaf, i) & THIN_TIME_MASK);
	k->has_hidden_data |= !pd_disk_walk_has_leaf(&k->walk, leaf->block);
}

static void entered(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
		    const struct pd_node *n)
{
	struct check *k = (struct check *)o;
	uint64_t pointers[PD_BLOCK_SIZE / sizeof(uint64_t)];

	if (n && n->is_leaf && ctx->where == WHERE_MAPPINGS)
		note_leaf(k, n);
	if (block >= k->nr)
		return;
	if (!(k->blocks[block] & BLOCK_WHERE))
		k->blocks[block] |= (uint8_t)ctx->where;
	if (!n)
		return;
	judge_shape(k, ctx, c, n);
	if (k->blocks[block] & BLOCK_COUNTED)
		return;
	k->blocks[block] |= BLOCK_COUNTED;
	if (n->is_leaf && ctx->where != WHERE_TOP)
		return;
	for (unsigned i = 0; i < n->nr; i++)
		pointers[i] = pd_value64(n, i);
	add_pointers(k, pointers, n->nr);
}

/* Leaves that the cursor never enters are known by their memo alone. */
static enum problem_where where_of(const struct check *k, uint64_t block)
{
	enum problem_where where = k->blocks[block] & BLOCK_WHERE;

	if (!block)
		return WHERE_SUPERBLOCK;
	if (where == WHERE_NONE && k->memo.entries[block].is_seen)
		return WHERE_MAPPINGS;
	return where == WHERE_NONE ? WHERE_META_SM : where;
}

/* --- the mappings, in the order of the disk --- */

struct leaf_values {
	uint64_t data[PD_BLOCK_SIZE / sizeof(uint64_t)];
	uint64_t highest;
	bool is_good;
};

/* A leaf is good when nothing is to be said of it, wherever it may be found. */
static void decode_values(const struct pd_node *leaf, const struct thin_pool *pool, struct leaf_values *v)
{
	uint64_t newest = 0, highest = 0;

	for (unsigned i = 0; i < leaf->nr; i++) {
		uint64_t value = pd_value64(leaf, i), time = value & THIN_TIME_MASK, data = value >> THIN_TIME_BITS;

		v->data[i] = data;
		highest = data > highest ? data : highest;
		newest = time > newest ? time : newest;
	}
	v->highest = highest;
	v->is_good = highest < pool->nr_data_blocks && newest <= pool->sb.time && !pd_is_underfull(leaf) &&
		     pd_room(leaf) == pd_max_entries(leaf->value_size);
}

static void raise_to(_Atomic uint64_t *highest, uint64_t value)
{
	uint64_t before = atomic_load_explicit(highest, memory_order_relaxed);

	while (value > before && !atomic_compare_exchange_weak(highest, &before, value))
		;
}

static int count_leaf(void *context, const struct pd_node *leaf)
{
	struct check *k = context;
	struct leaf_values v;
	int r;

	decode_values(leaf, &k->pool, &v);
	raise_to(&k->highest, v.highest);
	r = pd_tally_add(&k->tally, v.data, leaf->nr);
	return r ? r : v.is_good;
}

static void add_listed_roots(struct check *k, const struct thin_pool *pool)
{
	for (size_t i = 0; i < pool->nr_list; i++)
		if (pool->list[i].has_root)
			pd_disk_walk_add(&k->walk, pool->list[i].root);
}

/* The roots of all devices, without a word about what is wrong with the tree that has them. */
static int add_roots(struct check *k, const struct thin_pool *pool)
{
	struct pd_context ctx = context(WHERE_TOP, PROBLEM_NO_DEVICE);
	struct pd_reader quiet = pool->reader;
	struct pd_cursor top;
	const uint8_t *value;
	uint64_t id;
	int r;

	if (pool->list) {
		add_listed_roots(k, pool);
		return 0;
	}
	quiet.sink = &problem_silent;
	quiet.observer = NULL;
	pd_cursor_open(&top, &quiet, &ctx, pool->sb.data_mapping_root, sizeof(le64));
	while ((r = pd_cursor_next_entry(&top, &id, &value)) > 0)
		pd_disk_walk_add(&k->walk, le_load(value, sizeof(le64)));
	pd_cursor_close(&top);
	return r;
}

static int walk_disk(struct check *k)
{
	int r;

	k->walk = (struct pd_disk_walk){
		.reader = &k->pool.reader, .memo = &k->memo, .value_size = sizeof(le64), .leaf = count_leaf, .context = k,
	};
	r = pd_disk_walk_open(&k->walk);
	if (!r)
		r = add_roots(k, &k->pool);
	if (!r && k->has_held)
		r = add_roots(k, &k->held);
	if (!r)
		r = pd_disk_walk_run(&k->walk);
	if (!r)
		r = pd_tally_settle(&k->tally);
	k->c->passes = 1;
	return r;
}

/* --- the devices, in the order of their keys --- */

static void judge_details(struct check *k, const struct thin_device *d)
{
	const struct thin_superblock *sb = &k->pool.sb;
	struct pd_context ctx = context(WHERE_DETAILS, d->id);

	if (!d->has_details || k->in_held)
		return;
	if (d->creation_time > d->snapshotted_time)
		pd_report(&k->pool.reader, &ctx, PROBLEM_DEVICE_TIMES, PROBLEM_NO_BLOCK,
			  (struct problem){ .expected = d->creation_time, .found = d->snapshotted_time });
	if (d->transaction_id > sb->trans_id)
		pd_report(&k->pool.reader, &ctx, PROBLEM_DEVICE_TRANSACTION, PROBLEM_NO_BLOCK,
			  (struct problem){ .expected = sb->trans_id, .found = d->transaction_id });
	note_time(k, d->snapshotted_time);
}

static int check_device(struct check *k, struct thin_pool *pool, const struct thin_device *d)
{
	struct thin_count count = { 0 };
	int r = 0;

	judge_details(k, d);
	if (d->has_root && !k->c->skip_mappings)
		r = thin_walk_mappings(pool, d, &k->memo, NULL, &count);
	if (k->in_held)
		return r;
	if (!r && d->has_root && k->c->device)
		k->c->device(k->c->context, d, &count);
	k->c->nr_devices++;
	k->c->nr_mappings += count.mappings;
	if (d->has_details && d->mapped_blocks > count.mappings && !count.holes && !k->c->skip_mappings)
		k->nr_missing += d->mapped_blocks - count.mappings;
	k->has_hidden_data |= d->has_details && !d->has_root;
	return r;
}

static int check_devices(struct check *k, struct thin_pool *pool)
{
	struct thin_devices devices;
	struct thin_device d;
	int r;

	add_pointer(k, pool->sb.data_mapping_root);
	if (!pool->has_no_details)
		add_pointer(k, pool->sb.device_details_root);
	thin_devices_open(&devices, pool);
	while ((r = thin_devices_next(&devices, &d)) > 0) {
		r = check_device(k, pool, &d);
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

static void judge_time(struct check *k)
{
	struct pd_context ctx = context(WHERE_SUPERBLOCK, PROBLEM_NO_DEVICE);

	if (k->newest > k->pool.sb.time)
		pd_report(&k->pool.reader, &ctx, PROBLEM_SB_TIME, 0,
			  (struct problem){ .expected = k->newest, .found = k->pool.sb.time });
}

/* The metadata snapshot is looked at before the walk, which includes it. */
static int open_held(struct check *k)
{
	int r;

	k->held = k->pool;
	k->held.list = NULL;
	if (!k->pool.live.held_root || k->c->skip_space_maps)
		return 0;
	add_pointer(k, k->pool.live.held_root);
	k->in_held = true;
	r = thin_pool_use_snapshot(&k->held, 0);
	k->in_held = false;
	k->has_held = r > 0;
	if (r > 0 && k->pool.live.held_root < k->nr)
		k->blocks[k->pool.live.held_root] |= WHERE_HELD;
	return r < 0 ? r : 0;
}

static int uncount_leaf(void *context, const struct pd_node *leaf)
{
	struct check *k = context;

	for (unsigned i = 0; i < leaf->nr; i++)
		pd_counts_sub(&k->data, pd_value64(leaf, i) >> THIN_TIME_BITS);
	return 0;
}

/* Leaves that are good, but have no place where they were found: what a wrong pointer leads to does not map anything. */
static int drop_misplaced(struct check *k)
{
	return k->c->skip_mappings ? 0 : pd_disk_walk_drop(&k->walk, k->memo.accepted, uncount_leaf);
}

static int check_held(struct check *k)
{
	int r;

	if (!k->has_held)
		return 0;
	k->in_held = true;
	k->memo.retell = 0;
	r = check_devices(k, &k->held);
	k->in_held = false;
	return r;
}

/* --- the space maps --- */

/* So many can be looked up for who stands on them. */
#define MAX_WRONG 1024

static void keep_wrong(struct check *k, const struct problem *p)
{
	if (p->code != PROBLEM_DATA_LEAKED && p->code != PROBLEM_META_LEAKED && k->nr_wrong < MAX_WRONG)
		k->wrong[k->nr_wrong++] = *p;
}

static void flush_run(struct check *k)
{
	struct problem *p = &k->run;

	if (p->count) {
		keep_wrong(k, p);
		k->pool.reader.sink->report(k->pool.reader.sink, p);
	}
	p->count = 0;
}

static void add_to_run(struct check *k, const struct problem *p)
{
	struct problem *run = &k->run;
	bool goes_on = run->count && run->code == p->code && run->where == p->where && run->end == p->begin &&
		       run->expected == p->expected && run->found == p->found && run->block == PROBLEM_NO_BLOCK;

	if (!goes_on) {
		flush_run(k);
		*run = *p;
		run->count = 0;
	}
	run->end = p->end;
	run->count++;
}

static enum problem_code code_of(bool is_metadata, uint64_t expected, uint64_t stored)
{
	if (!expected)
		return is_metadata ? PROBLEM_META_LEAKED : PROBLEM_DATA_LEAKED;
	if (stored < expected)
		return is_metadata ? PROBLEM_META_COUNT_LOW : PROBLEM_DATA_COUNT_LOW;
	return is_metadata ? PROBLEM_META_COUNT_HIGH : PROBLEM_DATA_COUNT_HIGH;
}

static bool differs(struct pd_sm_check *c, uint64_t block, uint64_t expected, uint64_t stored)
{
	struct check *k = c->context;
	struct problem p = {
		.code = code_of(c->is_metadata, expected, stored),
		.where = c->is_metadata ? WHERE_META_SM : WHERE_DATA_SM,
		.block = PROBLEM_NO_BLOCK, .dev_id = PROBLEM_NO_DEVICE,
		.begin = block, .end = block + 1,
	};

	if (stored > expected && (c->is_metadata ? k->has_hidden_metadata : k->has_hidden_data)) {
		k->nr_hidden++;
		return false;
	}
	k->nr_leaked += stored > expected && !c->is_metadata;
	if (expected) { /* leaks are all alike */
		p.expected = expected;
		p.found = stored;
	}
	if (expected && c->is_metadata) {
		p.block = block;
		p.where = where_of(k, block);
		p.begin = p.end = 0;
	}
	add_to_run(k, &p);
	return c->is_fixing && !expected;
}

static void judge_used(struct check *k, const struct pd_sm_check *c, enum problem_where where)
{
	struct pd_context ctx = context(where, PROBLEM_NO_DEVICE);
	uint64_t said = c->root.nr_allocated;

	if (c->nr_stranded)
		pd_report(&k->pool.reader, &ctx, PROBLEM_SM_STRANDED, PROBLEM_NO_BLOCK,
			  (struct problem){ .found = c->nr_stranded });
	if (!c->nr_unknown && (said > c->nr_used + 1 || said + 1 < c->nr_used) && said <= c->root.nr_blocks)
		pd_report(&k->pool.reader, &ctx, PROBLEM_SM_USED, 0,
			  (struct problem){ .expected = c->nr_used, .found = said });
}

/* Devices have fewer mappings than they should, and data blocks fewer than their counts: so it is no wrong number. */
static void judge_missing(struct check *k)
{
	struct pd_context ctx = context(WHERE_MAPPINGS, PROBLEM_NO_DEVICE);

	if (k->nr_missing && k->nr_leaked)
		pd_report(&k->pool.reader, &ctx, PROBLEM_MAPPINGS_GONE, PROBLEM_NO_BLOCK,
			  (struct problem){ .expected = k->nr_missing, .found = k->nr_leaked });
}

/* What is counted too high because something may be hidden is one problem, and is none when nothing else is wrong. */
static void report_hidden(struct check *k, enum problem_where where)
{
	struct pd_context ctx = context(where, PROBLEM_NO_DEVICE);

	if (k->nr_hidden)
		pd_report(&k->pool.reader, &ctx, PROBLEM_COUNTS_UNKNOWN, PROBLEM_NO_BLOCK,
			  (struct problem){ .count = k->nr_hidden });
	k->nr_hidden = 0;
}

/* Behind the last block that is mapped there is nothing to count. */
static int count_window(void *context)
{
	struct check *k = context;
	int r;

	if (k->data.begin > k->highest)
		return 0;
	k->c->passes++;
	r = pd_disk_walk_leaves(&k->walk);
	return r ? r : pd_tally_settle(&k->tally);
}

static int next_window(struct check *k, bool *is_there)
{
	*is_there = pd_counts_next(&k->data);
	return *is_there ? count_window(k) : 0;
}

static int check_data_map(struct check *k)
{
	struct pd_sm_check c = {
		.reader = &k->pool.reader, .root = k->pool.live.data_sm, .expected = &k->data, .pointers = &k->pointers,
		.differs = differs, .context = k, .is_fixing = k->c->is_fixing,
	};
	bool more = true;
	int r = 0;

	add_pointer(k, c.root.bitmap_root);
	add_pointer(k, c.root.ref_count_root);
	if (k->pool.nr_data_blocks == THIN_UNKNOWN_SIZE) {
		k->has_hidden_metadata = k->is_used_unknown = true; /* what it consists of is not looked at */
		return 0;
	}
	while (more && !r) {
		r = pd_sm_check_window(&c);
		if (!r && (more = !c.is_at_end))
			r = next_window(k, &more);
	}
	flush_run(k); /* runs go on from window to window */
	k->is_used_unknown |= c.nr_unknown != 0;
	judge_used(k, &c, WHERE_DATA_SM);
	report_hidden(k, WHERE_DATA_SM);
	judge_missing(k);
	k->c->data_used = c.nr_used;
	k->nr_wrong_data = k->nr_wrong;
	return r;
}

/* Last, as everything points at metadata. */
static int check_metadata_map(struct check *k)
{
	struct pd_sm_check c = {
		.reader = &k->pool.reader, .root = k->pool.live.metadata_sm, .is_metadata = true,
		.expected = &k->pointers, .differs = differs, .context = k, .is_fixing = k->c->is_fixing,
	};
	int r;

	add_pointer(k, 0);
	add_pointer(k, c.root.bitmap_root);
	add_pointer(k, c.root.ref_count_root);
	k->is_used_unknown |= c.root.nr_blocks > k->pointers.nr_blocks;
	if (c.root.nr_blocks > k->pointers.nr_blocks)
		return 0; /* the device is too small, or the size impossible: both were said */
	r = pd_sm_count_metadata(&k->pool.reader, &c.root, &k->pointers);
	k->has_hidden_metadata |= r > 0;
	if (r >= 0)
		r = k->error;
	if (!r)
		r = pd_sm_check_window(&c);
	flush_run(k);
	k->is_used_unknown |= c.nr_unknown != 0;
	judge_used(k, &c, WHERE_META_SM);
	report_hidden(k, WHERE_META_SM);
	k->c->metadata_used = c.nr_used;
	return r;
}

/* nr_allocated of both maps, as it was found. */
static int fix_superblock(struct check *k)
{
	struct thin_superblock_disk *d;
	struct bufio_buffer *b;
	struct pd_sm_root_disk *data, *metadata;
	bool is_right;
	int r;

	if (k->is_used_unknown)
		return 0;
	d = bufio_read(k->pool.reader.client, 0, &b);
	if (!d)
		return -errno;
	data = (struct pd_sm_root_disk *)d->data_space_map_root;
	metadata = (struct pd_sm_root_disk *)d->metadata_space_map_root;
	is_right = le64_get(data->nr_allocated) == k->c->data_used && le64_get(metadata->nr_allocated) == k->c->metadata_used;
	data->nr_allocated = le64_put(k->c->data_used);
	metadata->nr_allocated = le64_put(k->c->metadata_used);
	pd_block_seal(d, PD_THIN_SUPERBLOCK, 0);
	r = is_right ? 0 : bufio_mark_buffer_dirty(b);
	bufio_release(b);
	return r;
}

static int tell_owners(struct check *k)
{
	struct thin_owners owners = {
		.pool = &k->pool, .walk = &k->walk, .data = k->wrong, .nr_data = k->nr_wrong_data,
		.metadata = k->wrong + k->nr_wrong_data, .nr_metadata = k->nr_wrong - k->nr_wrong_data,
		.mapped = k->c->mapped, .context = k->c->context,
	};

	return k->nr_wrong ? thin_tell_owners(&owners) : 0;
}

static int check_space_maps(struct check *k)
{
	int r;

	if (k->c->skip_space_maps || k->c->skip_mappings)
		return 0;
	r = check_data_map(k);
	if (!r && !k->c->skip_metadata_map)
		r = check_metadata_map(k);
	if (!r)
		r = tell_owners(k);
	return r || !k->c->is_fixing ? r : fix_superblock(k);
}

/* --- somebody else's use of the counts --- */

static int hand_over(struct check *k)
{
	struct thin_pool quiet = k->pool;
	struct thin_counted n = {
		.pool = &quiet, .memo = &k->memo, .pointers = &k->pointers, .data = &k->data, .recount = count_window,
		.context = k, .newest = k->newest,
	};

	quiet.reader.sink = &problem_silent;
	quiet.reader.observer = NULL;
	add_pointer(k, 0);
	return k->error ? k->error : k->c->counted(k->c, &n);
}

/* --- all --- */

static uint64_t nr_blocks(const struct thin_pool *pool)
{
	uint64_t nr = pool->reader.nr_blocks;

	return nr < PD_MAX_METADATA_BLOCKS ? nr : PD_MAX_METADATA_BLOCKS;
}

/* About as many as are used, as far as the superblock can be believed. */
static uint64_t expected_blocks(const struct thin_pool *pool)
{
	uint64_t nr = pool->live.metadata_sm.nr_allocated, all = nr_blocks(pool);

	nr = nr < all ? nr + nr / 8 + PD_MEMO_PAGE : all;
	return nr < all ? nr : all;
}

static uint64_t memo_pages(const struct thin_pool *pool)
{
	return expected_blocks(pool) / PD_MEMO_PAGE + 1;
}

/* Counts of metadata are wanted all at once; counts above 3 may be wherever blocks are used. */
static uint64_t pointers_bytes(const struct thin_pool *pool)
{
	return pd_counts_enough(nr_blocks(pool)) + (pd_bitmaps(expected_blocks(pool)) + 1) * pd_counts_least();
}

static uint64_t nr_data(const struct thin_pool *pool)
{
	return pool->nr_data_blocks == THIN_UNKNOWN_SIZE ? 0 : pool->nr_data_blocks;
}

uint64_t thin_check_bytes(const struct thin_pool *pool)
{
	uint64_t nr = nr_blocks(pool);

	return memo_pages(pool) * PD_MEMO_PAGE * sizeof(struct pd_memo_entry) + nr + nr / 8 + pd_disk_walk_bytes(nr) +
	       pointers_bytes(pool) + MAX_WRONG * sizeof(struct problem);
}

uint64_t thin_check_least_memory(void)
{
	return pd_tally_memory(pd_counts_least());
}

uint64_t thin_check_enough_memory(const struct thin_pool *pool)
{
	return pd_tally_memory(pd_counts_enough(nr_data(pool)));
}

/* Most of it is never touched, and then costs nothing. */
static int create_memo(struct pd_memo *memo, uint64_t nr, uint64_t max_pages)
{
	*memo = (struct pd_memo){ .retell = MAX_RETOLD, .max_pages = max_pages };
	memo->entries = mmap(NULL, (nr + 1) * sizeof(*memo->entries), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memo->entries == MAP_FAILED)
		memo->entries = NULL;
	memo->pages = calloc(nr / PD_MEMO_PAGE / 64 + 1, sizeof(*memo->pages));
	memo->accepted = calloc(nr / 64 + 1, sizeof(*memo->accepted));
	if (!memo->entries || !memo->pages || !memo->accepted)
		return -ENOMEM;
	madvise(memo->entries, (nr + 1) * sizeof(*memo->entries), MADV_NOHUGEPAGE);
	memo->nr = nr;
	return 0;
}

static void destroy_memo(struct pd_memo *memo, uint64_t nr)
{
	if (memo->entries)
		munmap(memo->entries, (nr + 1) * sizeof(*memo->entries));
	free(memo->pages);
	free(memo->accepted);
}

static int create(struct check *k)
{
	int r = create_memo(&k->memo, k->nr, memo_pages(&k->pool));

	k->blocks = calloc(k->nr, 1);
	k->wrong = malloc(MAX_WRONG * sizeof(*k->wrong));
	if (!r && (!k->blocks || !k->wrong))
		r = -ENOMEM;
	if (!r)
		r = pd_counts_create(&k->pointers, k->nr, UINT64_MAX / 2); /* see thin_check_bytes() */
	if (!r)
		r = pd_counts_create(&k->data, nr_data(&k->pool), pd_tally_memory_for_counts(k->c->memory));
	return r ? r : pd_tally_create(&k->tally, &k->data);
}

static void destroy(struct check *k)
{
	pd_disk_walk_close(&k->walk);
	pd_tally_destroy(&k->tally);
	pd_counts_destroy(&k->data);
	pd_counts_destroy(&k->pointers);
	free(k->wrong);
	free(k->blocks);
	destroy_memo(&k->memo, k->nr);
}

/* Counts of data are in bitmaps, each of which is a block of metadata: a larger size would cost passes without end. */
static void judge_data_size(struct check *k)
{
	struct pd_context ctx = context(WHERE_DATA_SM, PROBLEM_NO_DEVICE);
	uint64_t metadata = k->pool.live.metadata_sm.nr_blocks, found = k->pool.nr_data_blocks;
	uint64_t most = (metadata < PD_MAX_METADATA_BLOCKS ? metadata : PD_MAX_METADATA_BLOCKS) * PD_BITMAP_ENTRIES;

	if (found == THIN_UNKNOWN_SIZE || found <= most || !metadata)
		return;
	pd_report(&k->pool.reader, &ctx, PROBLEM_SM_ROOT_BLOCKS, 0, (struct problem){ .expected = most, .found = found });
	k->pool.nr_data_blocks = THIN_UNKNOWN_SIZE;
}

static int run(struct check *k)
{
	int r = open_held(k);

	if (!r && !k->c->skip_mappings)
		r = walk_disk(k);
	if (!r)
		r = check_devices(k, &k->pool);
	if (!r)
		r = check_held(k);
	if (!r)
		judge_time(k);
	if (!r)
		r = drop_misplaced(k);
	if (!r)
		r = k->c->counted ? hand_over(k) : check_space_maps(k);
	return r ? r : k->error;
}

int thin_check(struct thin_pool *pool, struct thin_check *c)
{
	struct check k = {
		.observer = { .entered = entered }, .sink = { report }, .below = pool->reader.sink, .c = c, .pool = *pool,
		.nr = nr_blocks(pool),
	};
	int r;

	c->nr_devices = c->nr_mappings = c->metadata_used = c->data_used = c->passes = 0;
	k.pool.reader.nr_blocks = k.nr;
	k.pool.reader.observer = &k.observer;
	k.pool.reader.sink = &k.sink;
	judge_data_size(&k);
	r = create(&k);
	if (!r)
		r = run(&k);
	c->highest_data = k.highest;
	c->newest = k.newest;
	destroy(&k);
	return r;
}
