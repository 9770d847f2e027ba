// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_used.h"

#include <errno.h>
#include <stdlib.h>

#include "meta/thin_survey.h"

#define WORD_BITS 64

struct finder {
	struct problem_sink sink; /* first: a report finds its finder by it */
	const struct thin_used_args *args;
	struct thin_used *used;
	struct thin_pool pool;
	struct thin_survey survey;
	struct pd_memo memo;
};

static void set(struct thin_used *u, uint64_t block)
{
	u->bits[block / WORD_BITS] |= UINT64_C(1) << block % WORD_BITS;
}

static bool is_set(const struct thin_used *u, uint64_t block)
{
	return u->bits[block / WORD_BITS] >> block % WORD_BITS & 1;
}

static void distrust(struct thin_used *u, const struct problem *p)
{
	if (!u->by_contents)
		u->why = *p;
	u->by_contents = true;
}

/* A leak is damage, but whoever has one can believe the counts: none of them is too low. */
static void report(struct problem_sink *sink, const struct problem *p)
{
	struct thin_used *u = ((struct finder *)sink)->used;
	enum problem_severity severity = problem_severity(p);

	if (severity > SEVERITY_COSMETIC)
		u->is_damaged = true;
	if (severity > SEVERITY_LEAK)
		distrust(u, p);
}

/* --- what is reached, and what is counted --- */

/* The memo is left out where it has no room: shared subtrees are walked again then. */
static void make_memo(struct finder *f)
{
	uint64_t nr = f->pool.reader.nr_blocks;

	if (nr > f->args->memory / sizeof(*f->memo.entries))
		return;
	f->memo.entries = calloc(nr, sizeof(*f->memo.entries));
	if (!f->memo.entries)
		return;
	f->memo.nr = nr;
	f->survey.memo = &f->memo;
}

static bool is_reached(const struct finder *f, uint64_t block)
{
	return (f->survey.blocks[block] & SURVEY_ROLE) != ROLE_FREE;
}

static int survey(struct finder *f)
{
	f->survey.nr = thin_survey_size(&f->pool);
	f->survey.blocks = calloc(f->survey.nr, 1);
	if (!f->survey.blocks)
		return -ENOMEM;
	make_memo(f);
	return thin_survey(&f->pool, &f->survey, false);
}

static void take_reached(struct finder *f)
{
	for (uint64_t block = 0; block < f->survey.nr; block++)
		if (is_reached(f, block))
			set(f->used, block);
}

/* Counts that are too low may be so of other blocks as well, which nothing leads to that can be read. */
static void judge_free(struct finder *f, uint64_t begin, uint64_t end)
{
	struct problem low = {
		.code = PROBLEM_META_COUNT_LOW, .where = WHERE_META_SM, .dev_id = PROBLEM_NO_DEVICE, .expected = 1,
	};

	for (low.block = begin; low.block < end; low.block++) {
		if (!is_reached(f, low.block))
			continue;
		f->used->is_damaged = true;
		distrust(f->used, &low);
		return;
	}
}

static int take_counted(struct finder *f)
{
	uint64_t nr = f->survey.nr, end, count;
	struct pd_sm_lookup lookup;
	int r = 0;

	pd_sm_lookup_open(&lookup, &f->pool.reader, &f->pool.live.metadata_sm, true, nr);
	for (uint64_t block = 0; block < nr; block = end) {
		r = pd_sm_lookup(&lookup, block, nr, &count, &end);
		if (r < 0)
			break;
		if (r && !count)
			judge_free(f, block, end);
		for (; r && count && block < end; block++)
			set(f->used, block);
	}
	pd_sm_lookup_close(&lookup);
	return r < 0 ? r : 0;
}

static int walk(struct finder *f)
{
	int r = survey(f);

	if (!r)
		take_reached(f);
	if (!r && !f->used->by_contents)
		r = take_counted(f);
	free(f->survey.blocks);
	free(f->memo.entries);
	return r;
}

/* --- what there is --- */

static int take_contents(void *context, uint64_t block, const void *data, int error)
{
	struct finder *f = context;

	pd_advance(&f->pool.reader);
	if (error == -ENOMEM || error == -EDEADLK)
		return error;
	if (error || pd_block_kind(data) != PD_ZEROES)
		set(f->used, block);
	return 0;
}

static int scan(struct finder *f)
{
	struct bufio_scan scan = {
		.block = take_contents, .context = f, .nr_blocks = f->used->nr, .in_order = true,
	};

	return bufio_scan(f->args->client, &scan);
}

/* --- all --- */

static uint64_t device_blocks(struct bufio_client *client)
{
	uint64_t nr = bufio_get_device_size(client);

	return nr < PD_MAX_METADATA_BLOCKS ? nr : PD_MAX_METADATA_BLOCKS;
}

static uint64_t words(uint64_t nr)
{
	return nr / WORD_BITS + 1;
}

uint64_t thin_used_bytes(struct bufio_client *client)
{
	uint64_t nr = device_blocks(client);

	return words(nr) * sizeof(uint64_t) + nr; /* the second is the survey's */
}

static int open_pool(struct finder *f)
{
	struct bufio_client *client = f->args->client;
	struct thin_overrides none = { 0 };
	int r = f->args->is_lost ? thin_pool_open_lost(&f->pool, client, &none, &f->sink) :
				   thin_pool_open(&f->pool, client, &f->sink);

	f->pool.reader.progress = f->args->progress;
	f->used->transaction = f->pool.live.trans_id;
	return r;
}

static void add_up(struct thin_used *u)
{
	set(u, 0);
	for (uint64_t i = 0; i < words(u->nr); i++)
		u->count += (uint64_t)__builtin_popcountll(u->bits[i]);
	for (u->end = u->nr; !is_set(u, u->end - 1); u->end--)
		;
}

int thin_used_find(const struct thin_used_args *args, struct thin_used *used)
{
	struct finder f = { .sink = { report }, .args = args, .used = used };
	int r;

	*used = (struct thin_used){ .nr = device_blocks(args->client) };
	used->bits = calloc(words(used->nr), sizeof(*used->bits));
	if (!used->bits)
		return -ENOMEM;
	r = open_pool(&f);
	if (!r && !args->is_lost)
		r = walk(&f);
	if (!r && used->by_contents)
		r = scan(&f);
	if (r)
		return r;
	add_up(used);
	return 0;
}

void thin_used_destroy(struct thin_used *used)
{
	free(used->bits);
	*used = (struct thin_used){ 0 };
}

uint64_t thin_used_run(const struct thin_used *used, uint64_t from, uint64_t *begin)
{
	uint64_t end;

	while (from < used->nr && !is_set(used, from))
		from++;
	for (end = from; end < used->nr && is_set(used, end); end++)
		;
	*begin = from;
	return end - from;
}
