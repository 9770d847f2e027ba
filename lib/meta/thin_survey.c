// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The survey: the walks of the pool, with an observer that writes down what is entered and a sink that writes down what
 * is damaged. Pointers are counted where they are, in their nodes: so it is the same with a memo, which hides that a
 * subtree is reached again, and without.
 */
#include "meta/thin_survey.h"

#include <string.h>

#include "meta/thin_disk.h"

static const struct {
	const char *name, *text;
} roles[NR_THIN_ROLES] = {
	[ROLE_FREE] = { "free", "free" },
	[ROLE_ORPHAN] = { "orphan", "orphan (sound, nothing leads to it)" },
	[ROLE_UNREACHED] = { "unreached", "unreached (counted, not found)" },
	[ROLE_SUPERBLOCK] = { "superblock", "superblock" },
	[ROLE_HELD] = { "metadata-snapshot", "superblock of the metadata snapshot" },
	[ROLE_DETAILS] = { "details", "device details tree" },
	[ROLE_TOP] = { "top-level", "top level of the mapping tree" },
	[ROLE_MAPPINGS] = { "mappings", "mapping tree" },
	[ROLE_DATA_INDEX] = { "data-space-map-index", "index of the data space map" },
	[ROLE_DATA_BITMAP] = { "data-space-map-bitmap", "bitmap of the data space map" },
	[ROLE_DATA_COUNTS] = { "data-reference-counts", "data reference count tree" },
	[ROLE_META_INDEX] = { "metadata-space-map-index", "index of the metadata space map" },
	[ROLE_META_BITMAP] = { "metadata-space-map-bitmap", "bitmap of the metadata space map" },
	[ROLE_META_COUNTS] = { "metadata-reference-counts", "metadata reference count tree" },
	[ROLE_BEYOND] = { "beyond", "beyond the end of the metadata" },
};

_Static_assert(NR_THIN_ROLES <= SURVEY_ROLE + 1, "a role fits");

#define SURVEY_POINTED 0x10 /* during the walks alone: one pointer was counted */

const char *thin_role_name(enum thin_role role)
{
	return roles[role].name;
}

const char *thin_role_text(enum thin_role role)
{
	return roles[role].text;
}

struct survey {
	struct pd_observer observer; /* first: what is entered finds its survey by it */
	struct problem_sink sink;
	struct problem_sink *below;
	struct thin_survey *s;
	struct thin_pool pool; /* reads by way of observer and sink */
	uint64_t nr;           /* blocks that are both in s and in the metadata */
	bool in_held;          /* the walk is that of the metadata snapshot */
};

static bool has_role(const struct survey *v, uint64_t block)
{
	return (v->s->blocks[block] & SURVEY_ROLE) > ROLE_UNREACHED;
}

static void set_role(struct survey *v, uint64_t block, enum thin_role role)
{
	uint8_t *b = &v->s->blocks[block];

	*b = (uint8_t)((*b & ~SURVEY_ROLE) | role);
}

static void point_to(struct survey *v, uint64_t block)
{
	if (block < v->nr)
		v->s->blocks[block] |= v->s->blocks[block] & SURVEY_POINTED ? SURVEY_SHARED : SURVEY_POINTED;
}

/* Index and bitmaps of a space map are one structure to the walks. */
static enum thin_role role_of(const struct survey *v, enum problem_where where, uint64_t block, bool is_index)
{
	static const uint8_t of[NR_WHERES] = {
		[WHERE_SUPERBLOCK] = ROLE_SUPERBLOCK, [WHERE_HELD] = ROLE_HELD, [WHERE_DETAILS] = ROLE_DETAILS,
		[WHERE_TOP] = ROLE_TOP, [WHERE_MAPPINGS] = ROLE_MAPPINGS, [WHERE_DATA_SM] = ROLE_DATA_BITMAP,
		[WHERE_DATA_COUNTS] = ROLE_DATA_COUNTS, [WHERE_META_SM] = ROLE_META_BITMAP,
		[WHERE_META_COUNTS] = ROLE_META_COUNTS,
	};

	if (where == WHERE_DATA_SM && (is_index || block == v->pool.live.data_sm.bitmap_root))
		return ROLE_DATA_INDEX;
	if (where == WHERE_META_SM && block == v->pool.live.metadata_sm.bitmap_root)
		return ROLE_META_INDEX;
	return of[where];
}

/* --- what is entered --- */

/* The bitmap at @block has the counts from @first on: who has one, though nothing led there so far? */
static void mark_counted(struct survey *v, uint64_t block, uint64_t first)
{
	const struct pd_bitmap_disk *bitmap;
	struct bufio_buffer *b;

	bitmap = bufio_get(v->pool.reader.client, block, &b);
	if (!bitmap)
		return;
	for (unsigned i = 0; i < PD_BITMAP_ENTRIES && first + i < v->nr; i++)
		if (!has_role(v, first + i) && pd_bitmap_count(bitmap, i))
			set_role(v, first + i, ROLE_UNREACHED);
	bufio_release(b);
}

/* A root, and a bitmap, is entered once for each pointer to it; other nodes are counted by their parents. */
static void entered_block(struct survey *v, const struct pd_context *ctx, uint64_t block)
{
	enum thin_role role = role_of(v, ctx->where, block, false);

	if (has_role(v, block))
		v->s->blocks[block] |= SURVEY_SHARED;
	else
		set_role(v, block, role);
	if (role == ROLE_META_BITMAP)
		mark_counted(v, block, ctx->begin);
}

static void entered_node(struct survey *v, const struct pd_context *ctx, const struct pd_node *n)
{
	uint8_t *b = &v->s->blocks[n->block];
	enum thin_role role = role_of(v, ctx->where, n->block, true);
	bool is_new = n->is_leaf ? !has_role(v, n->block) : !(*b & SURVEY_INTERNAL);

	if (!has_role(v, n->block))
		set_role(v, n->block, role);
	if (!n->is_leaf)
		*b |= SURVEY_INTERNAL;
	for (unsigned i = 0; is_new && (!n->is_leaf || role == ROLE_TOP) && i < n->nr; i++)
		point_to(v, pd_value64(n, i));
}

static void entered(struct pd_observer *o, const struct pd_context *ctx, uint64_t block, struct pd_cursor *c,
		    const struct pd_node *n)
{
	struct survey *v = (struct survey *)o;

	(void)c;
	if (block >= v->nr)
		return;
	if (n)
		entered_node(v, ctx, n);
	else
		entered_block(v, ctx, block);
}

/* --- what is damaged --- */

/* True if this is the first that is heard of it. */
static bool mark_bad(struct survey *v, const struct problem *p)
{
	bool is_index = p->end - p->begin > PD_BITMAP_ENTRIES; /* the counts of several bitmaps are lost */
	uint8_t *b = &v->s->blocks[p->block];

	if (*b & SURVEY_BAD)
		return false;
	*b |= SURVEY_BAD;
	if (!has_role(v, p->block))
		set_role(v, p->block, role_of(v, p->where, p->block, is_index));
	return true;
}

/*
 * Of the metadata snapshot only what is its own and cannot be used is news: contents, counts and what it shares were
 * judged in the live pool, and the pool itself loses nothing.
 */
static void report(struct problem_sink *sink, const struct problem *p)
{
	struct survey *v = (struct survey *)((char *)sink - offsetof(struct survey, sink));
	bool spoils = problem_is_block_lost(p) && p->block < v->nr;
	bool is_news = spoils ? mark_bad(v, p) : p->code == PROBLEM_BLOCK_BEYOND;
	struct problem held = *p;

	if (v->in_held && !is_news)
		return;
	if (v->in_held && p->where != WHERE_HELD)
		held.where = WHERE_HELD_TREES;
	v->below->report(v->below, &held);
}

/* --- the walks --- */

static void survey_superblock(struct survey *v)
{
	const struct thin_superblock *sb = &v->pool.live;

	set_role(v, 0, ROLE_SUPERBLOCK);
	if (sb->csum != sb->csum_expected || sb->blocknr || sb->magic != THIN_MAGIC)
		v->s->blocks[0] |= SURVEY_BAD;
}

static int survey_devices(struct survey *v)
{
	struct thin_pool *p = &v->pool;
	struct thin_devices devices;
	struct thin_device device;
	struct thin_count count;
	int r;

	point_to(v, p->sb.device_details_root);
	point_to(v, p->sb.data_mapping_root);
	thin_devices_open(&devices, p);
	while ((r = thin_devices_next(&devices, &device)) > 0) {
		r = device.has_root ? thin_walk_mappings(p, &device, v->s->memo, NULL, &count) : 0;
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

static int survey_held(struct survey *v)
{
	uint64_t block = v->pool.live.held_root;
	int r;

	if (!block)
		return 0;
	v->in_held = true;
	if (v->s->memo)
		v->s->memo->retell = 0;
	r = thin_pool_use_snapshot(&v->pool, block);
	if (r > 0) {
		if (block < v->nr && !has_role(v, block))
			set_role(v, block, ROLE_HELD);
		r = survey_devices(v);
	}
	v->in_held = false;
	return r;
}

/*
 * A size that was called impossible already is not believed here either. The metadata's comes last: its bitmaps are
 * compared with what has a role by then.
 */
static int survey_space_maps(struct survey *v)
{
	const struct thin_superblock *sb = &v->pool.live;
	int r = 0;

	if (sb->data_sm.nr_blocks <= THIN_MAX_DATA_BLOCKS)
		r = pd_sm_verify(&v->pool.reader, &sb->data_sm, false);
	if (!r && sb->metadata_sm.nr_blocks <= PD_MAX_METADATA_BLOCKS)
		r = pd_sm_verify(&v->pool.reader, &sb->metadata_sm, true);
	return r;
}

/* --- what nothing leads to --- */

struct rest {
	struct survey *v;
	uint64_t next;
};

static bool next_rest(void *context, uint64_t *block, uint64_t *nr)
{
	struct rest *rest = context;
	uint64_t end;

	while (rest->next < rest->v->nr && has_role(rest->v, rest->next))
		rest->next++;
	for (end = rest->next; end < rest->v->nr && !has_role(rest->v, end); end++)
		;
	*block = rest->next;
	*nr = end - rest->next;
	rest->next = end;
	return *nr;
}

static int look_at_rest(void *context, uint64_t block, const void *data, int error)
{
	static const struct pd_context unused = { .where = WHERE_UNUSED, .dev_id = PROBLEM_NO_DEVICE };
	struct survey *v = ((struct rest *)context)->v;
	enum pd_kind kind;

	pd_advance(&v->pool.reader);
	if (error) {
		v->s->blocks[block] |= SURVEY_BAD;
		pd_report(&v->pool.reader, &unused, PROBLEM_BLOCK_UNREADABLE, block,
			  (struct problem){ .error = -error });
		return 0;
	}
	if ((v->s->blocks[block] & SURVEY_ROLE) != ROLE_FREE)
		return 0;
	kind = pd_block_kind(data);
	if (kind != PD_UNKNOWN && kind != PD_ZEROES && pd_stored_number(data, kind) == block)
		set_role(v, block, ROLE_ORPHAN);
	return 0;
}

static int scan_rest(struct survey *v)
{
	struct rest rest = { .v = v };
	struct bufio_scan scan = { .next = next_rest, .block = look_at_rest, .context = &rest, .in_order = true };

	return bufio_scan(v->pool.reader.client, &scan);
}

static void add_up(struct thin_survey *s)
{
	for (uint64_t i = 0; i < s->nr; i++) {
		s->blocks[i] &= (uint8_t)~SURVEY_POINTED;
		s->count[s->blocks[i] & SURVEY_ROLE]++;
		s->bad += !!(s->blocks[i] & SURVEY_BAD);
		s->shared += !!(s->blocks[i] & SURVEY_SHARED);
	}
}

uint64_t thin_survey_size(const struct thin_pool *pool)
{
	uint64_t nr = pool->reader.nr_blocks;

	return nr < PD_MAX_METADATA_BLOCKS ? nr : PD_MAX_METADATA_BLOCKS;
}

int thin_survey(struct thin_pool *pool, struct thin_survey *s, bool scan)
{
	uint64_t size = thin_survey_size(pool);
	struct survey v = {
		.observer = { .entered = entered }, .sink = { report }, .below = pool->reader.sink, .s = s, .pool = *pool,
		.nr = s->nr < size ? s->nr : size,
	};
	int r;

	v.pool.reader.observer = &v.observer;
	v.pool.reader.sink = &v.sink;
	survey_superblock(&v);
	r = survey_devices(&v);
	if (!r)
		r = survey_held(&v);
	if (!r)
		r = survey_space_maps(&v);
	if (!r && scan)
		r = scan_rest(&v);
	if (r)
		return r;
	memset(s->blocks + v.nr, ROLE_BEYOND, s->nr - v.nr);
	add_up(s);
	return 0;
}
