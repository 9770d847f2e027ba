// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Random corruptions: a check of a healthy pool in which one thing was changed says what has to be said, and no more.
 *
 *	corrupt [--seed S] [--count N] [--blind] IMAGE...
 *
 * Half of them are raw, of any bytes of a block; the other half change one field, and make the block's checksum right
 * again. What must be said is in the table of rows.c. Each case is printed before it is run, and can be repeated with
 * its seed and a count of 1. --blind: the undamaged image is checked, so that nothing is found, which must be noticed.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "corrupt.h"
#include "io/io.h"
#include "meta/thin_check.h"
#include "ops/check.h"

#define MEMORY_LIMIT (4 << 20)
#define SECONDS_A_CHECK 20

/* Until something is really another. */
#define MAX_TRIES 1000

/* --- what a check says --- */

#define MAX_PROBLEMS 4096

struct findings {
	struct problem_sink sink; /* first: a report finds its findings by it */
	const struct findings *known; /* or NULL: what is there as well is no news */
	struct problem problems[MAX_PROBLEMS];
	size_t nr;                /* of them; of what was more only the severity counts */
	uint64_t reported[NR_SEVERITIES], by_verb[NR_SEVERITIES];
	uint64_t all, news;
	bool is_refused;          /* as no metadata */
	const char *failure;      /* of the checker itself */
};

static bool is_same(const struct problem *a, const struct problem *b)
{
	return a->code == b->code && a->where == b->where && a->block == b->block && a->dev_id == b->dev_id &&
	       a->begin == b->begin && a->end == b->end && a->expected == b->expected && a->found == b->found &&
	       a->count == b->count;
}

static bool is_known(const struct findings *known, const struct problem *p)
{
	for (size_t i = 0; known && i < known->nr; i++)
		if (is_same(&known->problems[i], p))
			return true;
	return false;
}

static void take(struct problem_sink *sink, const struct problem *p)
{
	struct findings *f = (struct findings *)sink;

	if (p->is_touch)
		return;
	f->all++;
	f->reported[problem_severity(p)]++;
	if (is_known(f->known, p))
		return;
	f->news++;
	if (f->nr < MAX_PROBLEMS)
		f->problems[f->nr++] = *p;
}

static enum problem_severity worst(const struct findings *f)
{
	enum problem_severity s = SEVERITY_COSMETIC;

	for (size_t i = 0; i < f->nr; i++)
		if (problem_severity(&f->problems[i]) > s)
			s = problem_severity(&f->problems[i]);
	return s;
}

static struct bufio_client *create_client(struct bufio_device *dev)
{
	struct bufio_client *client = bufio_client_create(dev, PD_BLOCK_SIZE, CHECK_HELD_BUFFERS, 0, NULL, NULL);

	if (!client || bufio_set_memory_limit(client, MEMORY_LIMIT))
		abort();
	return client;
}

/* A hold that was not given up is a leak. */
static void destroy_client(struct bufio_client *client)
{
	if (bufio_client_destroy(client))
		abort();
}

/* As the verb does it. */
static struct op_result check_op(struct bufio_device *dev, bool use_snapshot)
{
	struct op_check_args args = {
		.client = create_client(dev), .image = "corrupt", .program = "corrupt", .may_raise_memory = true,
		.out_fd = -1, .info_fd = -1, .message_fd = -1, .use_snapshot = use_snapshot,
	};
	struct op_result result;

	alarm(SECONDS_A_CHECK);
	op_check(&args, &result);
	alarm(0);
	destroy_client(args.client);
	return result;
}

/* Below the verb, where every problem is at hand. With the least memory: what is found does not depend on it. */
static int check_sink(struct bufio_device *dev, bool use_snapshot, struct findings *f)
{
	struct thin_check c = { .memory = thin_check_least_memory(), .skip_space_maps = use_snapshot };
	struct bufio_client *client = create_client(dev);
	struct thin_pool pool;
	int r, there = 1;

	alarm(SECONDS_A_CHECK);
	f->sink.report = take;
	r = thin_pool_open(&pool, client, &f->sink);
	if (!r && use_snapshot)
		there = thin_pool_use_snapshot(&pool, 0);
	if (!r && there > 0)
		r = thin_check(&pool, &c);
	alarm(0);
	destroy_client(client);
	return there < 0 ? there : r;
}

/* Both ways, which have to say the same. */
static void check(struct bufio_device *dev, bool use_snapshot, const struct findings *known, struct findings *f)
{
	struct op_result result = check_op(dev, use_snapshot);

	memset(f, 0, sizeof(*f));
	f->known = known;
	f->is_refused = result.outcome == OP_NOT_METADATA;
	memcpy(f->by_verb, result.problems, sizeof(f->by_verb));
	if (f->is_refused)
		return;
	if (result.outcome != OP_DONE)
		f->failure = "the check fails";
	else if (check_sink(dev, use_snapshot, f))
		f->failure = "the check fails below the verb";
	else if (memcmp(f->reported, f->by_verb, sizeof(f->reported)))
		f->failure = "the verb has other counts than what is below it";
}

/* --- the run --- */

struct tally {
	uint64_t of[NR_EXPECTATIONS];
};

struct run {
	struct world world;
	struct bufio_device *dev;
	struct findings known[NR_POOLS]; /* what is said of the healthy image, and of its metadata snapshot */
	struct findings found[NR_POOLS];
	unsigned *buckets;               /* for each kind of block that there is: see bucket_of() */
	unsigned nr_buckets;
	bool is_blind;
	uint64_t unexplained;
	struct tally *tallies;           /* raw and resealed, of each role */
};

/* Blocks are chosen by kind first: else nearly all were leaves, or free. */
static unsigned bucket_of(const struct world *w, uint64_t block)
{
	return w->roles[block] & (SURVEY_ROLE | SURVEY_INTERNAL);
}

static bool has_bucket(const struct run *r, unsigned bucket)
{
	for (unsigned i = 0; i < r->nr_buckets; i++)
		if (r->buckets[i] == bucket)
			return true;
	return false;
}

static void find_buckets(struct run *r)
{
	const struct world *w = &r->world;

	r->nr_buckets = 0;
	for (uint64_t b = 0; b < w->nr_blocks; b++)
		if (!has_bucket(r, bucket_of(w, b)))
			r->buckets[r->nr_buckets++] = bucket_of(w, b);
}

static uint64_t pick_block(const struct run *r, struct rng *rng)
{
	const struct world *w = &r->world;
	unsigned bucket = r->buckets[rng_below(rng, r->nr_buckets)];
	uint64_t block = rng_below(rng, w->nr_blocks);

	while (bucket_of(w, block) != bucket)
		block = (block + 1) % w->nr_blocks;
	return block;
}

static bool is_live(const struct world *w, uint64_t block)
{
	return thin_role_is_live(role_of(w, block));
}

/* --- raw --- */

static uint8_t *target(const struct run *r, uint64_t block)
{
	return (uint8_t *)io_mem_data(r->dev) + block * PD_BLOCK_SIZE;
}

static void flip_bit(uint8_t *b, struct rng *rng)
{
	b[rng_below(rng, PD_BLOCK_SIZE)] ^= (uint8_t)(1 << rng_below(rng, 8));
}

static void set_byte(uint8_t *b, struct rng *rng)
{
	b[rng_below(rng, PD_BLOCK_SIZE)] = (uint8_t)rng_next(rng);
}

static void fill_sector(uint8_t *b, struct rng *rng, int c)
{
	memset(b + 512 * rng_below(rng, 8), c, 512);
}

static void zero_sector(uint8_t *b, struct rng *rng)
{
	fill_sector(b, rng, 0);
}

static void one_sector(uint8_t *b, struct rng *rng)
{
	fill_sector(b, rng, 0xFF);
}

static void random_sector(uint8_t *b, struct rng *rng)
{
	uint8_t *sector = b + 512 * rng_below(rng, 8);

	for (unsigned i = 0; i < 512; i++)
		sector[i] = (uint8_t)(rng_next(rng) >> 32);
}

static const struct {
	const char *name;
	void (*damage)(uint8_t *b, struct rng *rng); /* NULL: the block is swapped with another */
} raws[] = {
	{ "a bit", flip_bit },
	{ "a byte", set_byte },
	{ "a sector of zeroes", zero_sector },
	{ "a sector of ones", one_sector },
	{ "a sector of anything", random_sector },
	{ "swapped", NULL },
	{ "swapped", NULL },
};

#define NR_RAWS (sizeof(raws) / sizeof(*raws))

/* What is live comes first: then both are damaged at the most. */
static void swap_blocks(const struct run *r, struct change *c, struct rng *rng)
{
	const struct world *w = &r->world;

	c->other = pick_block(r, rng);
	if (!is_live(w, c->block)) {
		uint64_t block = c->block;

		c->block = c->other;
		c->other = block;
	}
	memcpy(target(r, c->block), block_at(w, c->other), PD_BLOCK_SIZE);
	memcpy(target(r, c->other), block_at(w, c->block), PD_BLOCK_SIZE);
}

static bool is_changed(const struct run *r, uint64_t block)
{
	return memcmp(target(r, block), block_at(&r->world, block), PD_BLOCK_SIZE);
}

static const struct rule *find_rule(const struct world *w, uint64_t block, enum place place)
{
	for (unsigned i = 0; i < nr_rules; i++)
		if (rules[i].place == place && rules[i].roles >> role_of(w, block) & 1)
			return &rules[i];
	abort();
}

static void damage_raw(const struct run *r, struct change *c, struct rng *rng)
{
	unsigned raw = 0;

	for (unsigned i = 0; i < MAX_TRIES && !is_changed(r, c->block); i++) {
		raw = (unsigned)rng_below(rng, NR_RAWS);
		c->block = pick_block(r, rng);
		c->other = NO_OTHER;
		if (raws[raw].damage)
			raws[raw].damage(target(r, c->block), rng);
		else
			swap_blocks(r, c, rng);
	}
	c->rule = find_rule(&r->world, c->block, RAW);
	printf("block %" PRIu64 " (%s): %s", c->block, thin_role_name(role_of(&r->world, c->block)), raws[raw].name);
	if (c->other != NO_OTHER)
		printf(" with block %" PRIu64 " (%s)", c->other, thin_role_name(role_of(&r->world, c->other)));
}

/* --- resealed: where --- */

static bool is_node(enum thin_role role)
{
	return role == ROLE_DETAILS || role == ROLE_TOP || role == ROLE_MAPPINGS || role == ROLE_DATA_INDEX ||
	       role == ROLE_DATA_COUNTS || role == ROLE_META_COUNTS;
}

static bool pick_entry(unsigned begin, unsigned end, struct change *c, struct rng *rng)
{
	if (begin < end)
		c->entry = begin + (unsigned)rng_below(rng, end - begin);
	return begin < end;
}

static bool place_key(const struct world *w, struct change *c, struct rng *rng)
{
	struct node n = node_at(w, c->block);
	bool is_spare = c->rule->place == SPARE_KEY;

	if (!pick_entry(is_spare ? n.nr : 0, is_spare ? n.max : n.nr, c, rng))
		return false;
	c->offset = (unsigned)sizeof(struct pd_node_disk) + 8 * c->entry;
	return true;
}

static bool place_value(const struct world *w, struct change *c, struct rng *rng)
{
	struct node n = node_at(w, c->block);
	bool is_spare = c->rule->place == SPARE_VALUE;

	if (!pick_entry(is_spare ? n.nr : 0, is_spare ? n.max : n.nr, c, rng))
		return false;
	c->offset = (unsigned)sizeof(struct pd_node_disk) + 8 * n.max + n.value_size * c->entry + c->rule->offset;
	return true;
}

static bool place_count(const struct world *w, struct change *c, struct rng *rng)
{
	const struct space *s = role_of(w, c->block) == ROLE_META_BITMAP ? &w->metadata : &w->data;
	unsigned length = bitmap_length(w, s, c->block);
	bool is_tail = c->rule->place == TAIL_COUNT, is_used = c->rule->place == USED_COUNT;
	unsigned tries = 0;

	do {
		if (!pick_entry(is_tail ? length : 0, is_tail ? PD_BITMAP_ENTRIES : length, c, rng))
			return false;
	} while (!is_tail && !!bitmap_count(block_at(w, c->block), c->entry) != is_used && ++tries < MAX_TRIES);
	c->offset = 16 + c->entry / 4;
	return tries < MAX_TRIES;
}

static bool place_index(const struct world *w, struct change *c, struct rng *rng)
{
	unsigned nr = (unsigned)pd_bitmaps(w->metadata.nr);
	bool is_spare = c->rule->place == INDEX_SPARE;

	if (!pick_entry(is_spare ? nr : 0, is_spare ? PD_INDEX_ENTRIES : nr, c, rng))
		return false;
	c->offset = 16 + (unsigned)sizeof(struct pd_index_entry_disk) * c->entry + c->rule->offset;
	return true;
}

static bool place_at(const struct world *w, struct change *c, struct rng *rng)
{
	const struct rule *rule = c->rule;

	(void)w;
	c->offset = rule->offset + (rule->span ? (unsigned)rng_below(rng, rule->span - rule->bytes + 1) : 0);
	return true;
}

static bool place(const struct world *w, struct change *c, struct rng *rng)
{
	static bool (*const of[])(const struct world *w, struct change *c, struct rng *rng) = {
		[AT] = place_at, [SPAN] = place_at, [KEY] = place_key, [VALUE] = place_value, [SPARE_KEY] = place_key,
		[SPARE_VALUE] = place_value, [USED_COUNT] = place_count, [FREE_COUNT] = place_count,
		[TAIL_COUNT] = place_count, [INDEX_ENTRY] = place_index, [INDEX_SPARE] = place_index,
	};

	return of[c->rule->place](w, c, rng);
}

static bool has_rule(const struct world *w, uint64_t block, const struct rule *rule)
{
	if (!(rule->roles >> role_of(w, block) & 1) || rule->place == RAW)
		return false;
	return rule->shape == ANY || node_at(w, block).is_leaf == (rule->shape == LEAF);
}

/* Most of what there is to know is in keys and values. */
static unsigned weight_of(const struct rule *rule)
{
	return rule->place == KEY || rule->place == VALUE ? 3 : 1;
}

static const struct rule *pick_rule(const struct world *w, uint64_t block, struct rng *rng)
{
	const struct rule *picked = NULL;
	unsigned all = 0;

	for (unsigned i = 0; i < nr_rules; i++) {
		if (!has_rule(w, block, &rules[i]))
			continue;
		all += weight_of(&rules[i]);
		if (rng_below(rng, all) < weight_of(&rules[i]))
			picked = &rules[i];
	}
	return picked;
}

/* --- resealed: what --- */

static uint64_t any_number(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	(void)c;
	return rng_next(rng) >> rng_below(rng, 64);
}

static uint64_t one_more(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	(void)rng;
	return c->old + 1;
}

static uint64_t one_less(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	(void)rng;
	return c->old - 1;
}

static uint64_t nearby(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	return c->old + rng_below(rng, 64) - 32;
}

static uint64_t something_less(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	return c->old ? rng_below(rng, c->old) : 0;
}

/* As data blocks have. */
static uint64_t some_size(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	(void)c;
	return THIN_BLOCK_SIZE_MIN * (1 + rng_below(rng, 64));
}

static uint64_t zero(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)r;
	(void)c;
	(void)rng;
	return 0;
}

static uint64_t some_block(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)c;
	return pick_block(r, rng);
}

static uint64_t some_data_block(const struct run *r, const struct change *c, struct rng *rng)
{
	(void)c;
	return rng_below(rng, r->world.data.nr);
}

static uint64_t (*const choices[])(const struct run *r, const struct change *c, struct rng *rng) = {
	any_number, one_more, one_less, nearby, something_less, some_size, zero, some_block, some_data_block,
};

#define NR_CHOICES (sizeof(choices) / sizeof(*choices))

static unsigned shift_of(const struct change *c)
{
	return c->rule->bits == 2 ? c->entry % 4 * 2 : c->rule->shift;
}

static uint64_t mask_of(const struct change *c)
{
	unsigned bits = c->rule->bits ? c->rule->bits : 8 * c->rule->bytes;

	return UINT64_MAX >> (64 - bits);
}

/* Two bits are a count of a bitmap, whose high bit comes first. */
static uint64_t as_stored(const struct change *c, uint64_t value)
{
	return c->rule->bits == 2 ? value >> 1 | (value & 1) << 1 : value;
}

static uint64_t load_field(const uint8_t *b, const struct change *c)
{
	return as_stored(c, le_load(b + c->offset, c->rule->bytes) >> shift_of(c) & mask_of(c));
}

static void store_field(uint8_t *b, const struct change *c)
{
	uint64_t all = le_load(b + c->offset, c->rule->bytes);

	all &= ~(mask_of(c) << shift_of(c));
	le_store(b + c->offset, c->rule->bytes, all | as_stored(c, c->new) << shift_of(c));
}

/* What nothing leads to becomes a good block, which it is not allowed to be taken for. */
static enum pd_kind kind_of(const struct world *w, uint64_t block)
{
	static const enum pd_kind of[NR_THIN_ROLES] = {
		[ROLE_SUPERBLOCK] = PD_THIN_SUPERBLOCK, [ROLE_HELD] = PD_THIN_SUPERBLOCK,
		[ROLE_DATA_BITMAP] = PD_BITMAP, [ROLE_META_BITMAP] = PD_BITMAP, [ROLE_META_INDEX] = PD_INDEX,
	};
	enum pd_kind stored = pd_block_kind(block_at(w, block)), kind = of[role_of(w, block)];

	if (!is_live(w, block))
		return stored < PD_NODE ? PD_NODE : stored;
	return kind == PD_UNKNOWN ? PD_NODE : kind;
}

static void reseal(const struct run *r, const struct change *c)
{
	bool is_number = c->rule->seal == SEAL_CHECKSUM;

	if (c->rule->seal != SEAL_NOTHING)
		pd_block_seal(target(r, c->block), kind_of(&r->world, c->block), is_number ? c->new : c->block);
}

static const char *shape_name(const struct world *w, uint64_t block)
{
	if (!is_node(role_of(w, block)))
		return "";
	return node_at(w, block).is_leaf ? ", leaf" : ", internal";
}

static void damage_field(const struct run *r, struct change *c, struct rng *rng)
{
	const struct world *w = &r->world;

	do {
		c->block = pick_block(r, rng);
		c->rule = pick_rule(w, c->block, rng);
	} while (!place(w, c, rng));
	c->old = load_field(block_at(w, c->block), c);
	do
		c->new = choices[rng_below(rng, NR_CHOICES)](r, c, rng) & mask_of(c);
	while (c->new == c->old);
	store_field(target(r, c->block), c);
	reseal(r, c);
	printf("block %" PRIu64 " (%s%s): %s", c->block, thin_role_name(role_of(w, c->block)), shape_name(w, c->block),
	       c->rule->name);
	if (c->rule->place != AT)
		printf(" %u (at %u)", c->entry, c->offset);
	printf(": %" PRIu64 " -> %" PRIu64, c->old, c->new);
}

/* --- the judge --- */

/* What only the metadata snapshot loses is no loss of the pool. */
static enum problem_severity least_of(const struct world *w, const struct change *c, const struct row *row)
{
	return !w->facts[c->block].is_live && row->severity > SEVERITY_REPAIRABLE ? SEVERITY_REPAIRABLE : row->severity;
}

static bool has_name(const struct row *row, const struct problem *p)
{
	if (!row->names[0])
		return true;
	for (unsigned i = 0; i < MAX_NAMES && row->names[i]; i++)
		if (!strcmp(row->names[i], problem_table[p->code].name))
			return true;
	return false;
}

static bool is_wanted(const struct change *c, const struct row *row, const struct problem *p)
{
	return has_name(row, p) && (!row->names_block || p->block == c->block || p->block == c->other);
}

static bool is_said(const struct change *c, const struct row *row, const struct findings *f)
{
	for (size_t i = 0; i < f->nr; i++)
		if (is_wanted(c, row, &f->problems[i]))
			return true;
	return false;
}

/* NULL, or what is wrong. */
static const char *judge_found(const struct run *r, const struct change *c, const struct row *row)
{
	const struct findings *f = r->found;
	enum problem_severity least = least_of(&r->world, c, row);

	if (f[POOL].is_refused)
		return c->block && c->other ? "the pool is refused" : NULL;
	if (!f[POOL].news && !f[HELD].news)
		return "nothing is found";
	if (worst(&f[POOL]) < least && worst(&f[HELD]) < least)
		return "it is taken too lightly";
	if (!is_said(c, row, &f[POOL]) && !is_said(c, row, &f[HELD]))
		return row->names_block ? "the block is not named, or another problem is" : "another problem is named";
	return NULL;
}

static const char *judge_unknown(const struct run *r, const struct change *c, const struct row *row)
{
	(void)c;
	if (r->found[POOL].is_refused)
		return "the pool is refused";
	if (worst(&r->found[POOL]) > row->severity || worst(&r->found[HELD]) > row->severity)
		return "a false alarm";
	return NULL;
}

static const char *judge_free(const struct run *r, const struct change *c, const struct row *row)
{
	const struct findings *f = &r->found[POOL];

	(void)c;
	(void)row;
	if (f->is_refused || f->news || f->all != r->known[POOL].all)
		return "something is said, though nothing leads to the block";
	return NULL;
}

static const char *judge(const struct run *r, const struct change *c, const struct row *row)
{
	static const char *(*const judges[])(const struct run *r, const struct change *c, const struct row *row) = {
		[MUST_BE_FOUND] = judge_found, [CANNOT_BE_KNOWN] = judge_unknown, [FREE_BLOCK] = judge_free,
	};

	for (unsigned pool = 0; pool < NR_POOLS; pool++)
		if (r->found[pool].failure)
			return r->found[pool].failure;
	return judges[row->expect](r, c, row);
}

static void print_news(const struct findings *f)
{
	for (size_t i = 0; i < f->nr && i < 10; i++) {
		const struct problem *p = &f->problems[i];

		printf("\tsaid: %s %s, %s", problem_severity_name(problem_severity(p)), problem_table[p->code].name,
		       problem_where_name(p->where));
		if (p->block != PROBLEM_NO_BLOCK)
			printf(", block %" PRIu64, p->block);
		printf(": found %" PRIu64 ", expected %" PRIu64 "\n", p->found, p->expected);
	}
}

static void print_findings(const struct findings *f)
{
	print_news(f);
	for (unsigned s = 0; s < NR_SEVERITIES; s++)
		if (f->by_verb[s] != f->reported[s])
			printf("\t%s: %" PRIu64 " by the verb, %" PRIu64 " below it\n", problem_severity_name(s),
			       f->by_verb[s], f->reported[s]);
}

static void print_unexplained(const struct run *r, uint64_t seed, const struct row *row, const char *what)
{
	printf("\tUNEXPLAINED: %s\n", what);
	if (row->expect == MUST_BE_FOUND) {
		printf("\twanted: %s or worse", problem_severity_name(row->severity));
		for (unsigned i = 0; i < MAX_NAMES && row->names[i]; i++)
			printf("%s %s", i ? " or" : ":", row->names[i]);
		printf("\n");
	}
	for (unsigned pool = 0; pool < NR_POOLS; pool++)
		print_findings(&r->found[pool]);
	printf("\tto repeat it: corrupt --seed %" PRIu64 " --count 1 %s\n", seed, r->world.name);
}

/* --- all --- */

static const char *const verdicts[] = {
	[MUST_BE_FOUND] = "found", [CANNOT_BE_KNOWN] = "cannot be known", [FREE_BLOCK] = "free",
};

/* Then a check of the pool says only what cannot be used, and one of the metadata snapshot says the rest. */
static bool is_of_snapshot(const struct run *r, const struct change *c)
{
	bool has_superblock = c->block && c->other && !r->found[POOL].is_refused;

	return has_superblock && is_live(&r->world, c->block) && !r->world.facts[c->block].is_live;
}

static void check_all(struct run *r, const struct change *c)
{
	if (r->is_blind)
		memcpy(io_mem_data(r->dev), r->world.image, r->world.size);
	check(r->dev, false, &r->known[POOL], &r->found[POOL]);
	memset(&r->found[HELD], 0, sizeof(r->found[HELD]));
	if (is_of_snapshot(r, c))
		check(r->dev, true, &r->known[HELD], &r->found[HELD]);
}

/* Neighbouring seeds begin far from each other. */
static struct rng seeded(uint64_t seed)
{
	struct rng rng = { (seed + 1) * UINT64_C(0x9E3779B97F4A7C15) | 1 };

	for (unsigned i = 0; i < 8; i++)
		rng_next(&rng);
	return rng;
}

static void run_case(struct run *r, uint64_t seed)
{
	struct change c = { .other = NO_OTHER };
	struct rng rng = seeded(seed);
	bool is_raw = rng_below(&rng, 2);
	const struct row *row;
	const char *wrong;

	memcpy(io_mem_data(r->dev), r->world.image, r->world.size);
	printf("%s seed %" PRIu64 ": ", r->world.name, seed);
	(is_raw ? damage_raw : damage_field)(r, &c, &rng);
	row = row_of(&r->world, &c);
	printf(": %s\n", row->why ? row->why : verdicts[row->expect]);
	fflush(stdout);
	check_all(r, &c);
	wrong = judge(r, &c, row);
	r->unexplained += !!wrong;
	if (wrong)
		print_unexplained(r, seed, row, wrong);
	r->tallies[2 * role_of(&r->world, c.block) + is_raw].of[row->expect]++;
}

static void open_image(struct run *r, const char *path)
{
	world_open(&r->world, path);
	if (bufio_device_open_memory(r->world.size, &r->dev))
		abort();
	memcpy(io_mem_data(r->dev), r->world.image, r->world.size);
	find_buckets(r);
	check(r->dev, false, NULL, &r->known[POOL]);
	memset(&r->known[HELD], 0, sizeof(r->known[HELD]));
	if (r->world.sb[POOL].held_root)
		check(r->dev, true, NULL, &r->known[HELD]);
	if (r->known[POOL].failure || r->known[HELD].failure || worst(&r->known[POOL]) > SEVERITY_LEAK) {
		fprintf(stderr, "corrupt: %s is not healthy\n", path);
		exit(99);
	}
}

static void close_image(struct run *r)
{
	bufio_device_close(r->dev);
	world_close(&r->world);
}

static uint64_t run_image(struct run *r, const char *path, uint64_t seed, uint64_t count)
{
	open_image(r, path);
	r->unexplained = 0;
	for (uint64_t i = 0; i < count; i++)
		run_case(r, seed + i);
	printf("%s: %" PRIu64 " corruptions, %" PRIu64 " unexplained\n", path, count, r->unexplained);
	close_image(r);
	return r->unexplained;
}

static void print_tallies(const struct run *r)
{
	for (unsigned i = 0; i < 2 * NR_THIN_ROLES; i++) {
		const uint64_t *of = r->tallies[i].of;

		if (of[MUST_BE_FOUND] + of[CANNOT_BE_KNOWN] + of[FREE_BLOCK])
			printf("# %s, %s: %" PRIu64 " found, %" PRIu64 " cannot be known, %" PRIu64 " free\n",
			       thin_role_name(i / 2), i % 2 ? "raw" : "resealed", of[MUST_BE_FOUND], of[CANNOT_BE_KNOWN],
			       of[FREE_BLOCK]);
	}
}

struct options {
	uint64_t seed, count;
	bool is_blind;
};

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "count", required_argument, NULL, 'c' },
		{ "blind", no_argument, NULL, 'b' },
		{ 0 },
	};
	int key;

	while ((key = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (key == 's')
			o->seed = strtoull(optarg, NULL, 0);
		else if (key == 'c')
			o->count = strtoull(optarg, NULL, 0);
		else if (key == 'b')
			o->is_blind = true;
		else
			return false;
	}
	return optind < argc;
}

int main(int argc, char **argv)
{
	struct options o = { .seed = 1, .count = 50 };
	struct run *r = calloc(1, sizeof(*r));
	uint64_t unexplained = 0;

	if (!r || !parse(argc, argv, &o)) {
		fprintf(stderr, "usage: corrupt [--seed S] [--count N] [--blind] IMAGE...\n");
		return 99;
	}
	r->is_blind = o.is_blind;
	r->buckets = calloc(UINT8_MAX + 1, sizeof(*r->buckets));
	r->tallies = calloc(2 * NR_THIN_ROLES, sizeof(*r->tallies));
	if (!r->buckets || !r->tallies)
		abort();
	for (int i = optind; i < argc; i++)
		unexplained += run_image(r, argv[i], o.seed + (uint64_t)(i - optind) * o.count, o.count);
	print_tallies(r);
	free(r->buckets);
	free(r->tallies);
	free(r);
	return unexplained ? 1 : 0;
}
