// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/thin_mend.h"

#include <errno.h>
#include <stdlib.h>

#include "meta/thin_disk.h"
#include "pdata/space_map_build.h"

/* --- what becomes of each kind of damage --- */

static const struct {
	const char *name, *text;
} mends[NR_MENDS] = {
	[MEND_DATA_LOW] = { "data-count-low", "counts of data blocks that were too low" },
	[MEND_DATA_HIGH] = { "data-count-high", "counts of data blocks that were too high" },
	[MEND_DATA_LEAKED] = { "data-leaked", "data blocks that were counted as used though nothing maps them" },
	[MEND_META_LOW] = { "metadata-count-low", "counts of metadata blocks that were too low" },
	[MEND_META_HIGH] = { "metadata-count-high", "counts of metadata blocks that were too high" },
	[MEND_META_LEAKED] = { "metadata-leaked", "metadata blocks that were counted as used though nothing leads to them" },
	[MEND_DATA_SM] = { "data-space-map", "blocks or entries of the data space map that could not be used" },
	[MEND_META_SM] = { "metadata-space-map", "blocks or entries of the metadata space map that could not be used" },
	[MEND_HINTS] = { "hints", "numbers in the space maps that hid free blocks, or said that there are more" },
	[MEND_DETAILS] = { "details", "blocks of the device details tree that could not be used" },
	[MEND_NO_DETAILS] = { "details-missing", "devices that had no details" },
	[MEND_ONLY_DETAILS] = { "details-dropped", "details of devices that are not there, and had no mappings" },
	[MEND_MAPPED_BLOCKS] = { "mapped-blocks", "devices whose mapped_blocks was wrong" },
	[MEND_DEVICE_TIMES] = { "device-times", "devices whose times were impossible" },
	[MEND_TIME] = { "time", "the superblock's time, which was behind that of a device or mapping" },
	[MEND_SNAPSHOT] = { "metadata-snapshot", "damage to the metadata snapshot, which is dropped" },
	[MEND_NEEDS_CHECK] = { "needs-check", "needs_check, which was set" },
};

const char *thin_mend_name(enum thin_mend_kind kind)
{
	return mends[kind].name;
}

const char *thin_mend_text(enum thin_mend_kind kind)
{
	return mends[kind].text;
}

/* What is not here is not mended. */
static const enum thin_mend_kind by_code[NR_PROBLEMS] = {
	[PROBLEM_BLOCK_UNREADABLE] = MEND_BY_WHERE,
	[PROBLEM_BLOCK_BEYOND] = MEND_BY_WHERE,
	[PROBLEM_BLOCK_ZEROED] = MEND_BY_WHERE,
	[PROBLEM_BLOCK_CHECKSUM] = MEND_BY_WHERE,
	[PROBLEM_BLOCK_KIND] = MEND_BY_WHERE,
	[PROBLEM_BLOCK_NUMBER] = MEND_BY_WHERE,
	[PROBLEM_NODE_FLAGS] = MEND_BY_WHERE,
	[PROBLEM_NODE_VALUE_SIZE] = MEND_BY_WHERE,
	[PROBLEM_NODE_MAX_ENTRIES] = MEND_BY_WHERE,
	[PROBLEM_NODE_NR_ENTRIES] = MEND_BY_WHERE,
	[PROBLEM_NODE_CHILDLESS] = MEND_BY_WHERE,
	[PROBLEM_NODE_EMPTY] = MEND_LET_BE,
	[PROBLEM_NODE_ROOM] = MEND_LET_BE,
	[PROBLEM_NODE_UNDERFULL] = MEND_LET_BE,
	[PROBLEM_NODE_KEY_ORDER] = MEND_BY_WHERE,
	[PROBLEM_NODE_KEY_RANGE] = MEND_BY_WHERE,
	[PROBLEM_NODE_LOOP] = MEND_BY_WHERE,
	[PROBLEM_TREE_DEPTH] = MEND_BY_WHERE,
	[PROBLEM_LEAF_DEPTH] = MEND_BY_WHERE,
	[PROBLEM_SB_MAGIC] = MEND_BY_WHERE, /* of the metadata snapshot */
	[PROBLEM_SB_FLAGS] = MEND_LET_BE,
	[PROBLEM_SB_META_BLOCKS] = MEND_LET_BE,
	[PROBLEM_SB_TIME] = MEND_TIME,
	[PROBLEM_SM_ALLOCATED] = MEND_HINTS,
	[PROBLEM_NEEDS_CHECK] = MEND_NEEDS_CHECK,
	[PROBLEM_DEVICE_DETAILS] = MEND_NO_DETAILS,
	[PROBLEM_DEVICE_MAPPINGS] = MEND_ONLY_DETAILS, /* but see judge_details() */
	[PROBLEM_DEVICE_TIMES] = MEND_DEVICE_TIMES,
	[PROBLEM_DEVICE_TRANSACTION] = MEND_LET_BE,
	[PROBLEM_MAPPED_BLOCKS] = MEND_MAPPED_BLOCKS,
	[PROBLEM_SM_INDEX] = MEND_BY_WHERE,
	[PROBLEM_SM_COUNT] = MEND_BY_WHERE,
	[PROBLEM_SM_STRAY] = MEND_LET_BE,
	[PROBLEM_SM_TAIL] = MEND_HINTS,
	[PROBLEM_SM_HINTS] = MEND_LET_BE,
	[PROBLEM_SM_STRANDED] = MEND_HINTS,
	[PROBLEM_SM_USED] = MEND_HINTS,
	[PROBLEM_COUNTS_UNKNOWN] = MEND_LET_BE,
	[PROBLEM_DATA_LEAKED] = MEND_DATA_LEAKED,
	[PROBLEM_META_LEAKED] = MEND_META_LEAKED,
	[PROBLEM_META_COUNT_LOW] = MEND_META_LOW,
	[PROBLEM_META_COUNT_HIGH] = MEND_META_HIGH,
	[PROBLEM_DATA_COUNT_LOW] = MEND_DATA_LOW,
	[PROBLEM_DATA_COUNT_HIGH] = MEND_DATA_HIGH,
};

static const enum thin_mend_kind by_where[NR_WHERES] = {
	[WHERE_HELD] = MEND_SNAPSHOT,
	[WHERE_HELD_TREES] = MEND_SNAPSHOT,
	[WHERE_DETAILS] = MEND_DETAILS,
	[WHERE_DATA_SM] = MEND_DATA_SM,
	[WHERE_DATA_COUNTS] = MEND_DATA_SM,
	[WHERE_META_SM] = MEND_META_SM,
	[WHERE_META_COUNTS] = MEND_META_SM,
};

/* What a device does not give now it may give later, or to who copies it; of a space map nothing is missed. */
static bool may_come_back(const struct problem *p)
{
	return p->code == PROBLEM_BLOCK_UNREADABLE && by_where[p->where] != MEND_DATA_SM && by_where[p->where] != MEND_META_SM;
}

static enum thin_mend_kind kind_of(const struct problem *p)
{
	enum thin_mend_kind kind = by_code[p->code];

	if (may_come_back(p))
		return MEND_NOT;
	return kind == MEND_BY_WHERE ? by_where[p->where] : kind;
}

bool thin_mend_can(const struct problem *p)
{
	return kind_of(p) != MEND_NOT;
}

static void refuse(struct thin_mend *m, const struct problem *p)
{
	if (!m->is_refused || problem_severity(p) > problem_severity(&m->why))
		m->why = *p;
	m->is_refused = true;
}

static void mark(uint64_t *bits, uint64_t nr, uint64_t block)
{
	if (block < nr)
		bits[block / 64] |= UINT64_C(1) << block % 64;
}

static void report(struct problem_sink *sink, const struct problem *p)
{
	struct thin_mend *m = (struct thin_mend *)sink;
	enum thin_mend_kind kind = kind_of(p);

	if (p->is_touch)
		return;
	m->nr[kind] += p->count ? p->count : 1;
	if (kind == MEND_NOT)
		refuse(m, p);
	if (p->code == PROBLEM_BLOCK_UNREADABLE)
		mark(m->bad, m->nr_blocks, p->block);
	if (p->code == PROBLEM_MAPPED_BLOCKS && p->found > p->expected && !m->is_missing) {
		m->is_missing = true;
		m->missing = *p;
	}
}

/* --- data blocks that are mapped twice --- */

/* Where two blocks want the same place, the later one has it. */
#define NR_PLACES 8192

static void note_mapping(void *context, uint64_t dev_id, uint64_t virtual_block, uint64_t value)
{
	struct thin_mend *m = context;
	struct thin_mend_place here = { dev_id, virtual_block, value };
	struct thin_mend_place *place = &m->places[(value >> THIN_TIME_BITS) % NR_PLACES];
	bool is_known = place->value >> THIN_TIME_BITS == value >> THIN_TIME_BITS && place->dev_id != PROBLEM_NO_DEVICE;

	if (is_known && !m->is_double && (place->virtual_block != virtual_block || place->value != value)) {
		m->is_double = m->is_refused = true;
		m->place[0] = *place;
		m->place[1] = here;
	}
	*place = here;
}

static int create_places(struct thin_mend *m)
{
	m->places = malloc(NR_PLACES * sizeof(*m->places));
	for (size_t i = 0; m->places && i < NR_PLACES; i++)
		m->places[i].dev_id = PROBLEM_NO_DEVICE;
	return m->places ? 0 : -ENOMEM;
}

/* --- creating --- */

static uint64_t nr_words(uint64_t nr_blocks)
{
	return nr_blocks / 64 + 1;
}

/* No pool has more, however large the device is. */
static uint64_t possible(uint64_t nr_blocks)
{
	return nr_blocks < PD_MAX_METADATA_BLOCKS ? nr_blocks : PD_MAX_METADATA_BLOCKS;
}

uint64_t thin_mend_bytes(uint64_t nr_blocks)
{
	return 2 * nr_words(possible(nr_blocks)) * sizeof(uint64_t) + 4 * sizeof(struct pd_build) +
	       NR_PLACES * sizeof(struct thin_mend_place);
}

int thin_mend_create(struct thin_mend *m, uint64_t nr_blocks)
{
	*m = (struct thin_mend){ .sink = { report }, .nr_blocks = possible(nr_blocks) };
	m->bad = calloc(nr_words(m->nr_blocks), sizeof(*m->bad));
	return m->bad ? create_places(m) : -ENOMEM;
}

void thin_mend_destroy(struct thin_mend *m)
{
	free(m->places);
	free(m->bad);
}

/* --- judging --- */

static bool is_any(const struct thin_mend *m, enum thin_mend_kind first, enum thin_mend_kind last)
{
	for (unsigned kind = first; kind <= last; kind++)
		if (m->nr[kind])
			return true;
	return false;
}

/* Of a device that has no mappings only the details can go: if these say that there were any, they may be somewhere. */
static int judge_details(struct thin_mend *m, const struct thin_pool *pool)
{
	struct thin_pool quiet = *pool;
	struct thin_devices devices;
	struct thin_device d;
	int r;

	quiet.reader.sink = &problem_silent;
	thin_devices_open(&devices, &quiet);
	while ((r = thin_devices_next(&devices, &d)) > 0)
		if (!d.has_root && d.mapped_blocks)
			refuse(m, &(struct problem){ .code = PROBLEM_DEVICE_MAPPINGS, .where = WHERE_MAPPINGS,
						     .block = PROBLEM_NO_BLOCK, .dev_id = d.id, .end = UINT64_MAX });
	thin_devices_close(&devices);
	return r;
}

/*
 * Without the snapshot's references nobody can say whether mappings are missing that are missed by counts of data alone;
 * see PROBLEM_MAPPINGS_GONE.
 */
static void judge_missing(struct thin_mend *m)
{
	if (m->drops_snapshot && m->is_missing)
		refuse(m, &m->missing);
}

static void decide(struct thin_mend *m)
{
	m->drops_snapshot |= m->nr[MEND_SNAPSHOT] != 0;
	m->needs_details |= is_any(m, MEND_DETAILS, MEND_TIME);
	m->needs_maps |= m->drops_snapshot || m->needs_details || is_any(m, MEND_DATA_LOW, MEND_HINTS);
}

int thin_mend_judge(struct thin_mend *m, struct thin_pool *pool, uint64_t memory)
{
	struct thin_check check = { .memory = memory, .mapped = note_mapping, .context = m };
	int r = m->is_refused ? 0 : thin_check(pool, &check);

	m->nr_devices = check.nr_devices;
	m->nr_mappings = check.nr_mappings;
	decide(m);
	judge_missing(m);
	return r || m->is_refused || !m->needs_details ? r : judge_details(m, pool);
}

bool thin_mend_is_needed(const struct thin_mend *m)
{
	return is_any(m, MEND_DATA_LOW, NR_MENDS - 1);
}

/* --- mending --- */

struct mending {
	struct thin_check check; /* first: the call finds the rest by it */
	struct thin_mend *m;
	struct problem_sink sink;
	bool is_other; /* there is something wrong that was not judged */
	struct pd_writer w;
	struct pd_sm_root data_sm, metadata_sm;
	uint64_t details; /* root */
};

/* What was known is no news. A snapshot may turn out to be dead. */
static void hear(struct problem_sink *sink, const struct problem *p)
{
	struct mending *g = (struct mending *)((char *)sink - offsetof(struct mending, sink));
	enum thin_mend_kind kind = kind_of(p);

	if (p->is_touch)
		return;
	g->is_other |= kind == MEND_NOT;
	if (kind == MEND_SNAPSHOT && !g->m->drops_snapshot)
		g->m->nr[MEND_SNAPSHOT]++;
}

/* --- details --- */

/* Blocks of the old tree stay as they are while it is read. */
struct keeper {
	struct pd_observer observer; /* first */
	struct mending *g;
	uint64_t *kept;
};

static void keep(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c)
{
	struct keeper *k = (struct keeper *)o;

	(void)c;
	if (ctx->where == WHERE_DETAILS)
		mark(k->kept, k->g->w.nr_blocks, block);
}

static void ignore(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
		   const struct pd_node *n)
{
	(void)o, (void)ctx, (void)block, (void)c, (void)n;
}

/* The pool as it was before the details were left out. */
static struct thin_pool with_details(struct mending *g, const struct thin_counted *n)
{
	struct thin_pool pool = *n->pool;

	pool.has_no_details = false;
	pool.reader.sink = &g->sink;
	return pool;
}

static int keep_details(struct mending *g, const struct thin_counted *n, uint64_t *kept)
{
	struct keeper k = { .observer = { keep, ignore }, .g = g, .kept = kept };
	struct thin_pool pool = with_details(g, n);
	struct thin_devices devices;
	struct thin_device d;
	int r;

	pool.reader.observer = &k.observer;
	thin_devices_open(&devices, &pool);
	while ((r = thin_devices_next(&devices, &d)) > 0)
		;
	thin_devices_close(&devices);
	return r || !g->is_other ? r : -EUCLEAN;
}

static int add_device(struct mending *g, const struct thin_counted *n, struct pd_build *tree, struct thin_device *d)
{
	struct thin_details_disk value;
	struct thin_count count = { 0 };
	int r;

	if (!d->has_root)
		return 0;
	r = thin_walk_mappings(n->pool, d, n->memo, NULL, &count);
	if (r || count.holes)
		return r ? r : -EUCLEAN;
	if (!d->has_details)
		d->transaction_id = n->pool->live.trans_id;
	g->m->nr_new_details += thin_device_settle_times(d, g->m->time);
	value = (struct thin_details_disk){
		.mapped_blocks = le64_put(count.mappings),
		.transaction_id = le64_put(d->transaction_id),
		.creation_time = le32_put(d->creation_time),
		.snapshotted_time = le32_put(d->snapshotted_time),
	};
	return pd_build_add(tree, d->id, &value);
}

static int build_details(struct mending *g, const struct thin_counted *n, struct pd_build *tree)
{
	struct thin_pool pool = with_details(g, n);
	struct thin_devices devices;
	struct thin_device d;
	int r;

	pd_build_open(tree, &g->w, sizeof(struct thin_details_disk));
	thin_devices_open(&devices, &pool);
	while ((r = thin_devices_next(&devices, &d)) > 0) {
		r = add_device(g, n, tree, &d);
		if (r)
			break;
	}
	thin_devices_close(&devices);
	if (!r && g->is_other)
		r = -EUCLEAN;
	return r ? r : pd_build_finish_root(tree, &g->details);
}

/* --- the superblock --- */

static void put_root(uint8_t place[128], const struct pd_sm_root *root)
{
	struct pd_sm_root_disk d = pd_sm_root_encode(root);

	memcpy(place, &d, sizeof(d)); /* what is behind it stays */
}

static int patch_superblock(const struct mending *g, struct bufio_client *client)
{
	struct thin_superblock_disk *d;
	struct bufio_buffer *b;
	int r;

	d = bufio_read(client, 0, &b);
	if (!d)
		return -errno;
	d->flags = le32_put(le32_get(d->flags) & ~THIN_FLAG_NEEDS_CHECK);
	d->time = le32_put(g->m->time);
	if (g->m->drops_snapshot)
		d->held_root = le64_put(0);
	if (g->m->needs_details)
		d->device_details_root = le64_put(g->details);
	if (g->m->needs_maps) {
		put_root(d->data_space_map_root, &g->data_sm);
		put_root(d->metadata_space_map_root, &g->metadata_sm);
	}
	pd_block_seal(d, PD_THIN_SUPERBLOCK, 0);
	r = bufio_mark_buffer_dirty(b);
	bufio_release(b);
	return r;
}

/* Behind that of all mappings, as nobody knows whether there was a snapshot since; but no mapping has room for a later one. */
static int settle_time(struct thin_mend *m, uint64_t found, uint64_t newest)
{
	uint64_t time = newest > found ? newest : found;

	if (m->nr[MEND_TIME])
		time++;
	m->time = (uint32_t)time;
	return time > THIN_TIME_MASK ? -ERANGE : 0;
}

/* --- all --- */

static int write_details(struct mending *g, const struct thin_counted *n)
{
	uint64_t words = nr_words(g->w.nr_blocks);
	uint64_t *kept = malloc(words * sizeof(*kept));
	struct pd_build *tree = malloc(sizeof(*tree));
	int r = kept && tree ? 0 : -ENOMEM;

	if (!r) {
		memcpy(kept, g->m->bad, words * sizeof(*kept));
		r = keep_details(g, n, kept);
	}
	g->w.kept = kept;
	if (!r)
		r = build_details(g, n, tree);
	g->w.kept = g->m->bad;
	g->w.next = 1; /* the old tree's blocks are free now */
	free(tree);
	free(kept);
	return r;
}

static int write_all(struct mending *g, const struct thin_counted *n)
{
	int r = g->m->needs_details ? write_details(g, n) : 0;

	if (!r)
		r = pd_sm_write_data(&g->w, n->data, n->recount, n->context, &g->data_sm);
	if (!r)
		r = pd_sm_write_metadata(&g->w, &g->metadata_sm);
	return r ? r : patch_superblock(g, g->w.client);
}

/* The counts are the writer's while it writes. */
static int counted(struct thin_check *c, const struct thin_counted *n)
{
	struct mending *g = (struct mending *)c;
	int r;

	if (g->is_other || !pd_counts_has_all(n->pointers) || n->pointers->nr_blocks > g->m->nr_blocks)
		return -EUCLEAN;
	if (g->m->nr[MEND_SNAPSHOT] && !g->m->drops_snapshot)
		return -EAGAIN;
	r = settle_time(g->m, n->pool->live.time, n->newest);
	if (r)
		return r;
	g->w = (struct pd_writer){
		.client = n->pool->reader.client, .next = 1, .nr_blocks = n->pointers->nr_blocks, .counts = *n->pointers,
		.is_inhabited = true, .kept = g->m->bad,
	};
	r = write_all(g, n);
	*n->pointers = g->w.counts;
	return r;
}

static int mend_maps(struct mending *g, const struct thin_pool *as_is)
{
	struct thin_pool pool = *as_is;

	g->is_other = false;
	pool.reader.sink = &g->sink;
	pool.has_no_details = g->m->needs_details;
	if (g->m->drops_snapshot)
		pool.sb.held_root = pool.live.held_root = 0;
	return thin_check(&pool, &g->check);
}

int thin_mend(struct thin_mend *m, struct thin_pool *pool, uint64_t memory)
{
	struct mending *g = calloc(1, sizeof(*g));
	int r;

	if (!g)
		return -ENOMEM;
	g->m = m;
	g->sink.report = hear;
	g->check = (struct thin_check){ .counted = counted, .memory = memory };
	if (m->needs_maps) {
		r = mend_maps(g, pool);
		if (r == -EAGAIN) { /* what is damaged is the snapshot's too, which was not seen beside the pool's */
			decide(m);
			judge_missing(m);
			r = m->is_refused ? -EUCLEAN : mend_maps(g, pool);
		}
		m->passes = g->check.passes;
	} else {
		m->time = pool->live.time;
		r = patch_superblock(g, pool->reader.client);
	}
	free(g);
	return r;
}
