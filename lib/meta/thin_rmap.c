// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_rmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/radix_sort.h"

/* --- opening --- */

uint64_t thin_rmap_bitmap_bytes(const struct thin_pool *pool)
{
	return pool->reader.nr_blocks / 8 + 1;
}

/* One piece: runs, as much again to sort them or the steps, and steps: twice as many of half the size. */
static int allocate(struct thin_rmap *r)
{
	unsigned nr_tables = r->args.count ? 3 : 2;
	size_t room = (size_t)(r->args.memory / nr_tables / sizeof(*r->runs.found));

	_Static_assert(sizeof(struct thin_rmap_run) == 2 * sizeof(struct thin_rmap_step), "they share the spare room");
	r->runs.found = calloc(nr_tables * room, sizeof(*r->runs.found));
	r->leaves = calloc(r->args.count ? thin_rmap_bitmap_bytes(&r->pool) : 1, 1);
	if (!r->runs.found || !r->leaves)
		return -ENOMEM;
	r->runs.room = room;
	r->spare = r->runs.found + room;
	if (r->args.count) {
		r->steps.found = (struct thin_rmap_step *)(r->runs.found + 2 * room);
		r->steps.room = 2 * room;
	}
	return 0;
}

/* A snapshot that cannot be used may have mappings as well. */
static int open_held(struct thin_rmap *r)
{
	int e;

	if (!r->args.count || !r->pool.sb.held_root)
		return 0;
	r->held = r->pool;
	e = thin_pool_use_snapshot(&r->held, 0);
	if (e < 0)
		return e;
	r->has_held = e;
	r->holes += !e;
	return 0;
}

int thin_rmap_open(struct thin_rmap *r, const struct thin_pool *pool, const struct thin_rmap_args *args)
{
	const struct range_set *wanted = args->wanted;
	int e;

	*r = (struct thin_rmap){ .args = *args, .pool = *pool };
	if (wanted->nr)
		r->hull = (struct range){ wanted->ranges[0].begin, wanted->ranges[wanted->nr - 1].end };
	r->steps.window.end = UINT64_MAX;
	e = allocate(r);
	return e ? e : open_held(r);
}

void thin_rmap_close(struct thin_rmap *r)
{
	free(r->runs.found);
	free(r->leaves);
	r->runs.found = NULL;
	r->leaves = NULL;
}

/* --- keeping runs --- */

static bool is_before(const struct thin_rmap_run *a, const struct thin_rmap_run *b)
{
	if (a->data != b->data)
		return a->data < b->data;
	if (a->dev_id != b->dev_id)
		return a->dev_id < b->dev_id;
	return a->virtual_begin < b->virtual_begin;
}

/* They come by device and virtual block, and the sort is stable. */
static void sort_runs(struct thin_rmap *r)
{
	radix_sort(r->runs.found, r->spare, r->runs.nr, sizeof(*r->runs.found));
}

/* A run is in the window that has its begin, so that none is cut. */
static void keep_run(struct thin_rmap *r)
{
	struct thin_rmap_run run = r->run;

	r->run.length = 0;
	if (!run.length || is_before(&run, &r->runs.begin))
		return;
	if (r->runs.nr == r->runs.room) {
		sort_runs(r);
		r->runs.nr /= 2;
		r->runs.end = r->runs.found[r->runs.nr];
		r->runs.has_end = true;
	}
	if (!r->runs.has_end || is_before(&run, &r->runs.end))
		r->runs.found[r->runs.nr++] = run;
}

static void add_mapping(struct thin_rmap *r, uint64_t dev_id, uint64_t virtual, uint64_t data, uint64_t time)
{
	struct thin_rmap_run *run = &r->run;

	if (run->length && virtual == run->virtual_begin + run->length && data == run->data + run->length &&
	    (time == run->time || !r->args.split_times)) {
		run->length++;
		return;
	}
	keep_run(r);
	*run = (struct thin_rmap_run){
		.data = data,
		.virtual_begin = virtual,
		.dev_id = dev_id,
		.length = 1,
		.time = time & THIN_TIME_MASK,
	};
}

/* --- keeping counts --- */

static void merge_steps(struct thin_rmap *r)
{
	struct thin_rmap_step *s = r->steps.found;
	size_t nr = 0;

	radix_sort(s, r->spare, r->steps.nr, sizeof(*s));
	for (size_t i = 0; i < r->steps.nr; i++) {
		if (nr && s[nr - 1].at == s[i].at)
			s[nr - 1].by += s[i].by;
		else
			s[nr++] = s[i];
	}
	r->steps.nr = nr;
}

/* If there are too many at different places, the window ends in the middle of them. */
static void make_room_for_steps(struct thin_rmap *r)
{
	if (r->steps.nr + 2 <= r->steps.room)
		return;
	merge_steps(r);
	if (r->steps.nr <= r->steps.room / 2)
		return;
	r->steps.nr /= 2;
	r->steps.window.end = r->steps.found[r->steps.nr].at;
}

static void keep_counted(struct thin_rmap *r)
{
	struct range run = r->counted, *window = &r->steps.window;

	r->counted = (struct range){ 0 };
	make_room_for_steps(r);
	if (run.begin < window->begin)
		run.begin = window->begin;
	if (run.end > window->end)
		run.end = window->end;
	if (run.begin >= run.end)
		return;
	r->steps.found[r->steps.nr++] = (struct thin_rmap_step){ run.begin, 1 };
	r->steps.found[r->steps.nr++] = (struct thin_rmap_step){ run.end, UINT64_MAX };
}

static void add_counted(struct thin_rmap *r, uint64_t data)
{
	if (r->counted.end == r->counted.begin || data != r->counted.end) {
		keep_counted(r);
		r->counted.begin = data;
	}
	r->counted.end = data + 1;
}

/* Whether this is the first time in this walk. */
static bool counts_leaf(struct thin_rmap *r, uint64_t block)
{
	uint8_t bit = (uint8_t)(1u << block % 8);

	if (!r->steps.is_wanted || r->leaves[block / 8] & bit)
		return false;
	r->leaves[block / 8] |= bit;
	return true;
}

/* --- walking --- */

static bool is_wanted(const struct thin_rmap *r, uint64_t data)
{
	return data >= r->hull.begin && data < r->hull.end &&
	       (r->args.wanted->nr == 1 || range_set_has(r->args.wanted, data));
}

static void look_at_leaf(struct thin_rmap *r, struct pd_cursor *c, const struct pd_node *leaf, bool find_runs)
{
	bool counts = counts_leaf(r, leaf->block), has_some = false;

	for (unsigned i = 0; i < leaf->nr; i++) {
		uint64_t value = pd_value64(leaf, i), data = value >> THIN_TIME_BITS;

		if (!is_wanted(r, data))
			continue;
		has_some = true;
		if (find_runs)
			add_mapping(r, c->ctx.dev_id, pd_key(leaf, i), data, value & THIN_TIME_MASK);
		if (counts)
			add_counted(r, data);
	}
	if (has_some)
		pd_cursor_revisit(c, leaf);
}

static int walk_device(struct thin_rmap *r, const struct thin_pool *pool, const struct thin_device *device,
		       bool find_runs)
{
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = device->id };
	const struct pd_node *leaf;
	struct pd_cursor c;
	int e;

	pd_cursor_open(&c, &pool->reader, &ctx, device->root, sizeof(le64));
	c.memo = r->args.memo;
	while ((e = pd_cursor_next(&c, &leaf)) > 0)
		look_at_leaf(r, &c, leaf, find_runs);
	pd_cursor_close(&c);
	keep_run(r);
	if (!r->was_walked)
		r->holes += c.holes;
	return e;
}

static int walk_devices(struct thin_rmap *r, struct thin_pool *pool, bool find_runs)
{
	struct thin_devices devices;
	struct thin_device device;
	int e;

	thin_devices_open(&devices, pool);
	while ((e = thin_devices_next(&devices, &device)) > 0) {
		if (!device.has_root || (r->args.only_device != PROBLEM_NO_DEVICE && r->args.only_device != device.id))
			continue;
		e = walk_device(r, pool, &device, find_runs);
		if (e)
			break;
	}
	if (!r->was_walked)
		r->holes += devices.top.holes;
	thin_devices_close(&devices);
	return e;
}

/* Fills the windows of what is wanted just now. */
static int walk(struct thin_rmap *r)
{
	int e;

	if (r->steps.is_wanted)
		memset(r->leaves, 0, thin_rmap_bitmap_bytes(&r->pool));
	e = walk_devices(r, &r->pool, r->runs.is_wanted);
	if (!e && r->steps.is_wanted && r->has_held)
		e = walk_devices(r, &r->held, false);
	if (r->steps.is_wanted)
		keep_counted(r);
	r->was_walked = true;
	r->pool.reader.sink = r->held.reader.sink = &problem_silent;
	sort_runs(r);
	merge_steps(r);
	return e;
}

int thin_rmap_next_runs(struct thin_rmap *r, const struct thin_rmap_run **runs, size_t *nr)
{
	int e;

	if (r->was_walked && !r->runs.has_end)
		return 0;
	r->runs.begin = r->runs.end;
	r->runs.has_end = false;
	r->runs.nr = 0;
	r->runs.is_wanted = true;
	r->steps.is_wanted = r->args.count && !r->was_walked;
	e = walk(r);
	if (e)
		return e;
	*runs = r->runs.found;
	*nr = r->runs.nr;
	return 1;
}

static int walk_next_counts(struct thin_rmap *r)
{
	r->runs.nr = 0;
	r->runs.is_wanted = false;
	r->steps.is_wanted = true;
	r->steps.window = (struct range){ r->steps.window.end, UINT64_MAX };
	r->steps.nr = r->steps.next = 0;
	r->nr_mapped = 0;
	return walk(r);
}

int thin_rmap_next_count(struct thin_rmap *r, struct thin_rmap_count *count)
{
	const struct range *range = &r->args.wanted->ranges[r->next_range];
	uint64_t begin = r->next_block, end;
	int e;

	if (r->next_range == r->args.wanted->nr)
		return 0;
	if (begin < range->begin)
		begin = range->begin;
	e = begin >= r->steps.window.end ? walk_next_counts(r) : 0;
	if (e)
		return e;
	while (r->steps.next < r->steps.nr && r->steps.found[r->steps.next].at <= begin)
		r->nr_mapped += r->steps.found[r->steps.next++].by;
	end = r->steps.next < r->steps.nr ? r->steps.found[r->steps.next].at : r->steps.window.end;
	if (end >= range->end) {
		end = range->end;
		r->next_range++;
	}
	r->next_block = end;
	*count = (struct thin_rmap_count){ begin, end, r->nr_mapped };
	return 1;
}
