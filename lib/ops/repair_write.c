// SPDX-License-Identifier: LGPL-2.1-or-later
/* Writing what was put together as new metadata, checking that, and what became of the data blocks. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "meta/thin_build.h"
#include "meta/thin_disk.h"
#include "meta/thin_plan.h"
#include "meta/thin_sharing.h"
#include "meta/thin_size.h"
#include "ops/repair_int.h"
#include "ops/target.h"

#define MIB(bytes) (((bytes) >> 20) + 1)
#define BUILD_SHARE 4 /* of the limit: counts and tables of the builder */
#define STREAM_BYTES (UINT64_C(16) << 20)
#define DIRTY_PERCENT 30

/* --- walking --- */

static int walk(struct op_repair *r, struct meta_visitor *v)
{
	struct thin_walk walk = { .only_device = PROBLEM_NO_DEVICE };
	uint64_t bytes = thin_sharing_bytes(&r->pool), taken = r->taken;
	int e;

	if (!repair_take_memory(r, bytes))
		return -ENOMEM;
	e = thin_sharing_create(&r->pool, &walk.sharing);
	if (!e)
		e = thin_walk(&r->pool, &walk, v);
	thin_sharing_destroy(walk.sharing);
	repair_give_memory(r, taken);
	return e;
}

/* --- mappings that cannot be kept --- */

/* Passes everything on but what lies beyond the data device. */
struct clip {
	struct meta_visitor visitor; /* first */
	struct meta_visitor *next;
	uint64_t nr_data_blocks;
};

static int clip_begin(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct clip *c = (struct clip *)v;

	return c->next->begin(c->next, kind, record);
}

static int clip_record(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct clip *c = (struct clip *)v;
	struct record_mapping m;

	if (kind == RECORD_REF)
		return c->next->record(c->next, kind, record);
	m = *(const struct record_mapping *)record;
	if (m.data_begin >= c->nr_data_blocks)
		return 0;
	if (m.data_begin + m.length > c->nr_data_blocks) {
		m.length = c->nr_data_blocks - m.data_begin;
		m.origin_last = m.origin_begin + m.length - 1;
		m.data_last = m.data_begin + m.length - 1;
	}
	return c->next->record(c->next, m.length == 1 ? RECORD_SINGLE : RECORD_RANGE, &m);
}

static int clip_end(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	struct clip *c = (struct clip *)v;

	return c->next->end(c->next, kind, record);
}

static bool has_beyond(const struct op_repair *r)
{
	for (size_t i = 0; i < r->nr_devices; i++)
		if (r->reports[i].beyond)
			return true;
	return false;
}

static struct clip clip_to(const struct op_repair *r, struct meta_visitor *next)
{
	return (struct clip){
		.visitor = { clip_begin, clip_record, clip_end, NULL }, .next = next, .nr_data_blocks = r->pool.nr_data_blocks,
	};
}

/* --- the plan --- */

static bool plan(struct op_repair *r)
{
	struct thin_plan_totals totals;
	struct thin_plan *p;
	struct clip clip;
	int e = thin_plan_create(repair_share(r, BUILD_SHARE), &p);

	if (e)
		return repair_fail(r, e);
	clip = clip_to(r, thin_plan_visitor(p));
	do {
		e = walk(r, &clip.visitor);
		if (!e)
			e = thin_plan_again(p);
	} while (e > 0);
	thin_plan_get_totals(p, &totals);
	thin_plan_destroy(p);
	if (e)
		return e == -ENOMEM || e == -E2BIG ? repair_fail_memory(r, "to plan the new metadata", 2 * r->limit) : repair_fail(r, e);
	r->needed_blocks = thin_blocks_with_bitmaps(totals.blocks);
	r->advised_blocks = thin_blocks_advised(r->needed_blocks, r->pool.nr_data_blocks, totals.devices);
	return true;
}

bool op_repair_new_size(struct op_repair *r, uint64_t *bytes, struct op_result *result)
{
	r->result = result;
	if (!plan(r))
		return false;
	*bytes = r->advised_blocks * PD_BLOCK_SIZE;
	return true;
}

/* --- writing --- */

/* New trees are packed, so they do not take more than the old ones did; a smaller target may be enough all the same. */
static bool may_be_too_small(const struct op_repair *r, struct bufio_client *target)
{
	uint64_t blocks = bufio_get_device_size(target), used = r->pool.live.metadata_sm.nr_allocated;

	return blocks < bufio_get_device_size(r->args->client) && (r->pool.is_lost || blocks < used + pd_bitmaps(blocks));
}

bool op_repair_may_write(struct op_repair *r, struct bufio_client *target, struct op_result *result)
{
	const struct op_repair_args *a = r->args;
	struct target_contents c;

	r->result = result;
	target_look(target, a->target, &c);
	if (!target_may_be_lost(&c, c.foreign, a->target, a->signature, result))
		return false;
	if (!r->needed_blocks && may_be_too_small(r, target) && !plan(r))
		return false;
	if (r->needed_blocks > bufio_get_device_size(target)) {
		op_fail(result, OP_REFUSED, 0,
			"%s: is too small: it has %" PRIu64 " blocks of 4 KiB, and %" PRIu64 " are needed; with room to go on "
			"in, make it %" PRIu64 " (%" PRIu64 " MiB)", a->target, bufio_get_device_size(target),
			r->needed_blocks, r->advised_blocks, r->advised_blocks * PD_BLOCK_SIZE >> 20);
		return false;
	}
	snprintf(r->replaced, sizeof(r->replaced), "%s", c.what);
	return true;
}

static bool fail_target(struct op_repair *r, int e, const char *what)
{
	enum op_outcome outcome = r->args->is_new ? OP_OUTPUT : OP_PARTLY;

	op_fail(r->result, outcome, e, "%s: %s: %s%s", r->args->target, what, strerror(-e),
		r->args->is_new ? "" : "; it is marked as not finished");
	return false;
}

static bool build(struct op_repair *r, struct bufio_client *target)
{
	struct thin_build_args args = { .client = target, .memory = repair_share(r, BUILD_SHARE) };
	struct thin_build_result built;
	struct thin_build *b = NULL;
	uint64_t taken = r->taken, least = thin_build_least_memory(target), cache = r->limit / 8;
	struct clip clip;
	int e;

	args.memory = args.memory > least ? args.memory : least;
	cache = cache < STREAM_BYTES ? cache : STREAM_BYTES;
	if (bufio_get_memory_floor(target) > cache)
		cache = bufio_get_memory_floor(target);
	bufio_set_dirty_percent(target, DIRTY_PERCENT);
	if (!repair_take_memory(r, args.memory + cache) || bufio_set_memory_limit(target, cache) || thin_build_create(&args, &b))
		return repair_fail_memory(r, "to write the new metadata", 2 * r->limit + args.memory + cache);
	clip = clip_to(r, thin_build_visitor(b));
	e = walk(r, has_beyond(r) ? &clip.visitor : clip.next);
	thin_build_get_result(b, &built);
	thin_build_destroy(b);
	repair_give_memory(r, taken);
	if (e == -ENOMEM || e == -E2BIG)
		return repair_fail_memory(r, "to write the new metadata", 2 * r->limit);
	if (e)
		return fail_target(r, e, "cannot be written");
	r->result->blocks = built.nr_blocks;
	r->metadata_used = built.used_blocks;
	r->nr_built = built.mappings;
	r->metadata_total = built.nr_blocks;
	return true;
}

/* Anything worse than what needs nothing. */
struct verdict {
	struct problem_sink sink;
	uint64_t nr;
	struct problem first;
};

static void count_problem(struct problem_sink *sink, const struct problem *p)
{
	struct verdict *v = (struct verdict *)sink;

	if (problem_severity(p) == SEVERITY_COSMETIC)
		return;
	if (!v->nr++)
		v->first = *p;
}

static bool check_result(struct op_repair *r, struct bufio_client *target)
{
	struct verdict verdict = { .sink = { count_problem } };
	struct thin_check check = { .skip_mappings = false };
	struct thin_pool pool;
	int e = bufio_client_reset(target);

	if (!e)
		e = thin_pool_open(&pool, target, &verdict.sink);
	if (e)
		return fail_target(r, e, "cannot be read back");
	bufio_set_memory_limit(r->source, bufio_get_memory_floor(r->source));
	bufio_set_memory_limit(target, r->limit > r->taken ? r->limit - r->taken : r->limit);
	check.memory = repair_share_memory(r, &pool, target);
	if (!check.memory)
		return false;
	e = thin_check(&pool, &check);
	if (e)
		return fail_target(r, e, "cannot be read back");
	if (!verdict.nr)
		return true;
	thin_build_mark_unfinished(target);
	r->result->blocks = 0;
	op_fail(r->result, OP_DIFFERS, 0, "%s: what was written is not clean (%" PRIu64 " problems, the first: %s); it is marked "
		"as not finished", r->args->target, verdict.nr, problem_table[verdict.first.code].name);
	return false;
}

/* Data blocks that were in use, and that nobody has now. */
static bool find_unowned(struct op_repair *r, struct bufio_client *target);

bool op_repair_write(struct op_repair *r, struct bufio_client *target, struct op_result *result)
{
	r->result = result;
	*result = (struct op_result){ .outcome = OP_DONE };
	if (!build(r, target) || !check_result(r, target) || !find_unowned(r, target))
		return false;
	if (r->is_unchecked && (r->has_more_mappings || r->nr_built != r->totals.mappings) && !repair_look_again(r))
		return false;
	r->is_written = true;
	return true;
}

/* --- data blocks without an owner --- */

static void add_unowned(struct op_repair *r, uint64_t begin, uint64_t end)
{
	r->totals.unowned += end - begin;
	if (r->nr_unowned && r->unowned[r->nr_unowned - 1].end == begin) {
		r->unowned[r->nr_unowned - 1].end = end;
		return;
	}
	if (table_grow(&r->unowned, sizeof(*r->unowned), r->nr_unowned, &r->max_unowned, &r->report_memory))
		return; /* they are counted */
	r->unowned[r->nr_unowned].begin = begin;
	r->unowned[r->nr_unowned++].end = end;
}

/* More mappings of a data block than were counted: one of them is not where it was. */
static int compare_count(struct op_repair *r, struct pd_sm_lookup *old, struct pd_sm_lookup *new, uint64_t block)
{
	uint64_t was = 0, is = 0, end;
	int e = pd_sm_lookup(old, block, block + 1, &was, &end);

	if (e > 0)
		e = pd_sm_lookup(new, block, block + 1, &is, &end);
	r->has_more_mappings |= e > 0 && is > was;
	return e;
}

static int compare_words(struct op_repair *r, struct pd_sm_lookup *old, struct pd_sm_lookup *new, uint64_t begin)
{
	uint64_t was = 0, is = 0;
	uint32_t gone, differ;
	int e = pd_sm_lookup_word(old, begin, &was);

	r->totals.is_unowned_known &= e != 0;
	if (e > 0)
		e = pd_sm_lookup_word(new, begin, &is);
	if (e <= 0)
		return e;
	gone = pd_sm_word_used(was) & ~pd_sm_word_used(is);
	differ = pd_sm_word_used(was ^ is) | (pd_sm_word_large(was) & pd_sm_word_large(is));
	for (uint32_t bits = gone; bits; bits &= bits - 1)
		add_unowned(r, begin + (unsigned)__builtin_ctz(bits), begin + (unsigned)__builtin_ctz(bits) + 1);
	for (uint32_t bits = differ & ~gone; bits && e >= 0 && !r->has_more_mappings; bits &= bits - 1)
		e = compare_count(r, old, new, begin + (unsigned)__builtin_ctz(bits));
	return e;
}

static int compare_counts(struct op_repair *r, struct pd_sm_lookup *old, struct pd_sm_lookup *new, uint64_t nr)
{
	int e = 1;

	r->totals.is_unowned_known = true;
	for (uint64_t b = 0; b < nr && e >= 0; b += PD_SM_WORD_BLOCKS)
		e = compare_words(r, old, new, b);
	return e < 0 ? e : 0;
}

static bool find_unowned(struct op_repair *r, struct bufio_client *target)
{
	struct pd_reader quiet = r->pool.reader;
	struct pd_sm_lookup old, new;
	struct thin_pool result;
	uint64_t nr = r->pool.live.data_sm.nr_blocks;
	int e;

	if (r->pool.is_lost || nr > THIN_MAX_DATA_BLOCKS)
		return true;
	e = thin_pool_open(&result, target, &problem_silent);
	if (e)
		return fail_target(r, e, "cannot be read back");
	nr = nr < result.live.data_sm.nr_blocks ? nr : result.live.data_sm.nr_blocks;
	quiet.client = r->source;
	quiet.sink = &problem_silent;
	pd_sm_lookup_open(&old, &quiet, &r->pool.live.data_sm, false, nr);
	pd_sm_lookup_open(&new, &result.reader, &result.live.data_sm, false, nr);
	e = compare_counts(r, &old, &new, nr);
	pd_sm_lookup_close(&old);
	pd_sm_lookup_close(&new);
	return e ? repair_fail(r, e) : true;
}
