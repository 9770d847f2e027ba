// SPDX-License-Identifier: LGPL-2.1-or-later
/* Which devices there are: the details and the top level, as far as they can be read, side by side. */
#include "meta/thin_rescue_int.h"

#include <errno.h>
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_disk.h"

/* --- nodes --- */

int rescue_read(const struct thin_rescue *r, uint64_t block, struct node_entries *n)
{
	return scavenge_read_node(&r->pool.reader, block, n);
}

static bool is_counted(const struct thin_rescue *r, uint64_t block)
{
	enum node_kind kind = block < r->s->nr ? node_kind(&r->s->nodes[block]) : NODE_NONE;

	return (kind != NODE_MAPPINGS && kind != NODE_TOP) || thin_missing_is_unknown(r->m, block) ||
	       thin_missing_of(r->m, block);
}

/* Another node of its height to which something led, with keys of its own range: a version of it, newer maybe. */
static bool has_other_version(struct thin_rescue *r, uint64_t block)
{
	const struct node *n = &r->s->nodes[block];

	for (uint64_t b = 1; b < r->s->nr && r->steps; b++) {
		const struct node *o = &r->s->nodes[b];

		r->steps--;
		if (b != block && node_kind(o) == node_kind(n) && o->level == n->level && o->first <= n->last &&
		    n->first <= o->last && thin_missing_of(r->m, b))
			return true;
	}
	return !r->steps;
}

int rescue_is_counted_below(struct thin_rescue *r, uint64_t block)
{
	uint64_t uncounted = PROBLEM_NO_BLOCK;
	struct node_entries *n;
	unsigned nr = 0;
	int e;

	if (r->s->nodes[block].level < 2 || thin_missing_found(r->m, block))
		return 1;
	n = malloc(sizeof(*n));
	e = n ? rescue_read(r, block, n) : -ENOMEM;
	for (unsigned i = 0; e > 0 && i < n->nr && nr < 2; i++)
		if (!is_counted(r, n->values[i])) {
			uncounted = n->values[i];
			nr++;
		}
	free(n);
	if (e <= 0 || !nr)
		return e;
	return nr == 1 && !has_other_version(r, block) && !has_other_version(r, uncounted);
}

/* --- roots that some top level has --- */

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_device(const void *a, const void *b)
{
	const struct known_root *x = a, *y = b;
	int c = compare(x->dev_id, y->dev_id);

	return c ? c : compare(x->root, y->root);
}

static int by_id_alone(const void *a, const void *b)
{
	return compare(((const struct known_root *)a)->dev_id, ((const struct known_root *)b)->dev_id);
}

static int add_known(struct thin_rescue *r, struct known_root **table, uint64_t *nr, uint64_t *max, uint64_t dev_id,
		    uint64_t root)
{
	int e;

	if (dev_id >= THIN_MAX_DEVICES || root >= r->s->nr)
		return 0;
	e = table_grow(table, sizeof(**table), *nr, max, &r->memory);
	if (!e)
		(*table)[(*nr)++] = (struct known_root){ (uint32_t)dev_id, (uint32_t)root };
	return e;
}

static void sort_known(struct known_root *table, uint64_t *nr)
{
	uint64_t kept = 0;

	if (*nr)
		qsort(table, *nr, sizeof(*table), by_device);
	for (uint64_t i = 0; i < *nr; i++)
		if (!kept || by_device(&table[kept - 1], &table[i]))
			table[kept++] = table[i];
	*nr = kept;
}

/* --- the top level --- */

/* Roots that were found, before they become devices. */
struct roots {
	struct thin_rescue *r;
	struct known_root *found;
	uint64_t nr, max;
};

static int note_root(void *context, uint64_t dev_id, uint64_t root)
{
	struct roots *t = context;

	return add_known(t->r, &t->found, &t->nr, &t->max, dev_id, root);
}

static int note_top_hole(void *context, const struct thin_place *place)
{
	struct thin_rescue *r = ((struct roots *)context)->r;
	int e = table_grow(&r->top_holes, sizeof(*place), r->nr_top_holes, &r->max_top_holes, &r->memory);

	if (!e)
		r->top_holes[r->nr_top_holes++] = *place;
	return e;
}

static bool is_within(const struct thin_place *p, const struct node *n)
{
	return n->first >= p->begin && n->last < p->end && (!p->height || n->level <= p->height);
}

static int reattach_top_node(struct thin_rescue *r, const struct thin_missing_walk *walk, uint64_t block, uint64_t nr_holes)
{
	struct thin_place place = { .parent = PROBLEM_NO_BLOCK, .block = block };
	int e = rescue_is_counted_below(r, block);

	if (e <= 0)
		return e;
	e = 0;
	for (uint64_t h = 0; h < nr_holes && !e; h++)
		if (is_within(&r->top_holes[h], &r->s->nodes[block]) && thin_missing_of(r->m, block))
			e = thin_missing_follow(walk, &place);
	return e;
}

/* Nodes of the top level whose parent is dead, the highest first: what is below them is found on the way. */
static int reattach_top(struct thin_rescue *r, const struct thin_missing_walk *walk)
{
	uint64_t nr_holes = r->nr_top_holes;
	int e = 0;

	for (unsigned level = 2 * PD_MAX_DEPTH; nr_holes && level && !e; level--)
		for (uint64_t b = 1; b < r->s->nr && !e; b++) {
			const struct node *n = &r->s->nodes[b];

			if (n->level == level && node_kind(n) == NODE_TOP && !thin_missing_is_unknown(r->m, b) &&
			    thin_missing_of(r->m, b))
				e = reattach_top_node(r, walk, b, nr_holes);
		}
	return e;
}

static int note_details_hole(void *context, const struct thin_place *place)
{
	struct thin_rescue *r = context;

	(void)place;
	r->has_details_holes = true;
	return 0;
}

/* So that what is cut off is told from what is not. */
static int follow_details(struct thin_rescue *r)
{
	struct thin_missing_walk walk = { .m = r->m, .tree = TREE_OF_DETAILS, .hole = note_details_hole, .context = r };
	struct thin_place place = {
		.parent = PROBLEM_NO_BLOCK, .block = r->pool.sb.device_details_root, .end = UINT64_MAX,
	};

	return thin_missing_follow(&walk, &place);
}

/* The pool's own trees come first: what they share with the metadata snapshot is theirs. */
static int read_top(struct thin_rescue *r, struct roots *t)
{
	struct thin_missing_walk walk = {
		.m = r->m, .tree = TREE_OF_DEVICES, .hole = note_top_hole, .device = note_root, .context = t,
	};
	struct thin_place place = {
		.parent = PROBLEM_NO_BLOCK, .block = r->pool.sb.data_mapping_root, .end = UINT64_MAX,
	};
	int e = r->pool.has_no_top ? 0 : thin_missing_follow(&walk, &place);

	if (!e && !r->pool.has_no_details)
		e = follow_details(r);
	if (!e)
		e = rescue_walk_held(r);
	if (!e && !r->pool.has_no_top)
		e = reattach_top(r, &walk);
	sort_known(t->found, &t->nr);
	return e;
}

/* --- devices --- */

static int add_device(struct thin_rescue *r, const struct thin_device *d)
{
	int e = table_grow(&r->devices, sizeof(*d), r->nr, &r->max, &r->memory);

	if (!e)
		e = table_grow(&r->origins, sizeof(*r->origins), r->nr, &r->max_origins, &r->memory);
	if (e)
		return e;
	r->devices[r->nr] = *d;
	r->origins[r->nr++] = (struct thin_rescued){
		.root = d->has_root ? ROOT_OF_TREE : ROOT_LOST,
		.details = d->has_details ? DETAILS_KEPT : DETAILS_REBUILT,
		.mapped = d->has_details ? d->mapped_blocks : RECORD_UNKNOWN,
	};
	return 0;
}

/* Details that were found. */
struct details {
	struct thin_device *found;
	uint64_t nr, max;
};

static int by_id(const void *a, const void *b)
{
	return compare(((const struct thin_device *)a)->id, ((const struct thin_device *)b)->id);
}

/* All that the tree says, or the piece of one. */
static int read_details(struct thin_rescue *r, struct details *t, uint64_t root, bool *has_holes)
{
	struct pd_context ctx = { .where = WHERE_DETAILS, .dev_id = PROBLEM_NO_DEVICE };
	struct thin_device d = { .id = 0 };
	const uint8_t *value;
	struct pd_cursor c;
	int e = 0;

	pd_cursor_open(&c, &r->pool.reader, &ctx, root, sizeof(struct thin_details_disk));
	while (e >= 0 && (e = pd_cursor_next_entry(&c, &d.id, &value)) > 0) {
		if (d.id >= THIN_MAX_DEVICES)
			continue;
		thin_device_decode(&d, value);
		e = table_grow(&t->found, sizeof(d), t->nr, &t->max, &r->memory);
		if (!e)
			t->found[t->nr++] = d;
	}
	*has_holes = c.holes;
	pd_cursor_close(&c);
	return e < 0 ? e : 0;
}

static bool is_cut_off(const struct thin_rescue *r, uint64_t block, enum node_kind kind)
{
	return node_kind(&r->s->nodes[block]) == kind && !thin_missing_is_unknown(r->m, block) &&
	       thin_missing_of(r->m, block);
}

/* Pieces of the tree that the space map counts. Those of the device's top level do not count as found here. */
static int reattach_details(struct thin_rescue *r, struct details *t)
{
	bool has_holes;
	int e = 0;

	for (uint64_t b = 1; b < r->s->nr && !e; b++)
		if (is_cut_off(r, b, NODE_DETAILS))
			e = read_details(r, t, b, &has_holes);
	return e;
}

/* Of the same id the first: what the tree itself says comes before pieces. */
static void sort_details(struct details *t)
{
	uint64_t kept = 0;

	if (t->nr)
		qsort(t->found, t->nr, sizeof(*t->found), by_id);
	for (uint64_t i = 0; i < t->nr; i++)
		if (!kept || t->found[kept - 1].id != t->found[i].id)
			t->found[kept++] = t->found[i];
	t->nr = kept;
}

static int collect_details(struct thin_rescue *r, struct details *t)
{
	uint64_t exact = PROBLEM_NO_BLOCK;
	bool has_holes = r->pool.has_no_details;
	int e = has_holes ? 0 : read_details(r, t, r->pool.sb.device_details_root, &has_holes);

	r->has_details_holes |= has_holes;
	if (e || !r->has_details_holes)
		return e;
	e = reattach_details(r, t);
	if (!e && !t->nr)
		exact = thin_scavenge_details(r->s, r->pool.sb.data_mapping_root);
	if (!e && exact != PROBLEM_NO_BLOCK)
		e = read_details(r, t, exact, &r->has_details_holes);
	sort_details(t);
	return e;
}

/* Both are sorted; of the same id the first root. */
static int merge(struct thin_rescue *r, const struct details *details, const struct roots *roots)
{
	uint64_t i = 0, j = 0;
	int e = 0;

	r->nr = 0;
	while ((i < details->nr || j < roots->nr) && !e) {
		struct thin_device d = { .id = j < roots->nr ? roots->found[j].dev_id : UINT64_MAX };

		if (i < details->nr && details->found[i].id <= d.id)
			d = details->found[i++];
		if (j < roots->nr && roots->found[j].dev_id == d.id) {
			d.has_root = true;
			d.root = roots->found[j].root;
		}
		while (j < roots->nr && roots->found[j].dev_id == d.id)
			j++;
		e = add_device(r, &d);
	}
	return e;
}

static int list_devices(struct thin_rescue *r)
{
	struct roots roots = { .r = r };
	struct details details = { .nr = 0 };
	int e = read_top(r, &roots);

	if (!e)
		e = collect_details(r, &details);
	if (!e)
		e = merge(r, &details, &roots);
	r->has_unknown_devices = (r->nr_top_holes || r->pool.has_no_top) && r->has_details_holes;
	/* What belongs to a device that is not known may fit another; and without a superblock counts are a guess. */
	r->is_doubtful |= r->has_unknown_devices || r->pool.is_lost;
	free(roots.found);
	free(details.found);
	return e;
}

/* --- what was asked for --- */

/* Those of another tree. */
static int find_details(const struct thin_rescue *r, uint64_t root, struct thin_device *d)
{
	struct thin_pool pool = r->pool;
	struct thin_device found;
	int e;

	thin_pool_set_roots(&pool, PROBLEM_NO_BLOCK, root);
	e = thin_device_find(&pool, d->id, &found);
	if (e <= 0)
		return e;
	found.has_root = d->has_root;
	found.root = d->root;
	*d = found;
	return 0;
}

/* Those of devices from @at on are one more now. */
static void move_numbers(struct thin_rescue *r, size_t at)
{
	for (uint64_t i = 0; i < r->nr_holes; i++)
		r->holes[i].device += r->holes[i].device >= at;
	for (uint64_t i = 0; i < r->nr_gaps; i++)
		r->gaps[i].place.device += r->gaps[i].place.device >= at;
	for (uint64_t i = 0; i < r->nr_past; i++)
		r->past[i].device += r->past[i].device >= at;
}

/* A new device goes to its place. */
static int insert_device(struct thin_rescue *r, uint64_t id, size_t *at)
{
	struct thin_device d = { .id = id };
	struct thin_device *found = r->nr ? bsearch(&d, r->devices, r->nr, sizeof(d), by_id) : NULL;
	size_t i;
	int e;

	if (found) {
		*at = (size_t)(found - r->devices);
		return 0;
	}
	e = add_device(r, &d);
	for (i = r->nr - !e; !e && i && r->devices[i - 1].id > id; i--) {
		struct thin_device device = r->devices[i - 1];
		struct thin_rescued origin = r->origins[i - 1];

		r->devices[i - 1] = r->devices[i];
		r->origins[i - 1] = r->origins[i];
		r->devices[i] = device;
		r->origins[i] = origin;
	}
	if (!e)
		move_numbers(r, i);
	*at = i;
	return e;
}

static int choose(struct thin_rescue *r, const struct thin_rescue_choice *c)
{
	bool is_assigned = c->generation == PROBLEM_NO_BLOCK;
	struct thin_device *d;
	size_t i;
	int e = insert_device(r, c->dev_id, &i);

	if (e)
		return e;
	d = &r->devices[i];
	if (!is_assigned)
		d->has_details = false;
	d->has_root = true;
	d->root = c->root;
	if (!d->has_details)
		e = find_details(r, c->details, d);
	r->origins[i] = (struct thin_rescued){
		.root = is_assigned ? ROOT_ASSIGNED : ROOT_OF_ANOTHER,
		.details = d->has_details ? DETAILS_KEPT : DETAILS_REBUILT,
		.generation = c->generation,
		.mapped = d->has_details ? d->mapped_blocks : RECORD_UNKNOWN,
	};
	return e;
}

static bool is_in_top_hole(const struct thin_rescue *r, uint64_t id)
{
	for (uint64_t h = 0; h < r->nr_top_holes; h++)
		if (id >= r->top_holes[h].begin && id < r->top_holes[h].end)
			return true;
	return false;
}

bool rescue_has_device(const struct thin_rescue *r, uint64_t dev_id)
{
	struct thin_device d = { .id = dev_id };

	return r->nr && bsearch(&d, r->devices, r->nr, sizeof(d), by_id);
}

int rescue_adopt(struct thin_rescue *r, uint64_t dev_id, uint64_t root)
{
	size_t i;
	int e = insert_device(r, dev_id, &i);

	if (e || r->devices[i].has_root)
		return e;
	r->devices[i].has_root = true;
	r->devices[i].root = root;
	r->origins[i].root = ROOT_REATTACHED;
	return rescue_walk(r, i);
}

/* Among the first @nr. */
static const struct known_root *find_known(const struct thin_rescue *r, uint64_t nr, uint64_t id)
{
	struct known_root key = { (uint32_t)id, 0 };

	return nr ? bsearch(&key, r->last_known, nr, sizeof(key), by_id_alone) : NULL;
}

uint64_t rescue_last_known_root(const struct thin_rescue *r, uint64_t dev_id)
{
	const struct known_root *known = find_known(r, r->nr_last_known, dev_id);

	return known ? known->root : PROBLEM_NO_BLOCK;
}

/* The devices of one generation, as far as no newer one has them. */
static int learn_generation(struct thin_rescue *r, uint64_t root)
{
	struct pd_context ctx = { .where = WHERE_TOP, .dev_id = PROBLEM_NO_DEVICE };
	uint64_t nr = r->nr_last_known, id;
	const uint8_t *value;
	struct pd_cursor c;
	int e = 0;

	pd_cursor_open(&c, &r->pool.reader, &ctx, root, sizeof(le64));
	while (e >= 0 && (e = pd_cursor_next_entry(&c, &id, &value)) > 0)
		if (id < THIN_MAX_DEVICES && !find_known(r, nr, id))
			e = add_known(r, &r->last_known, &r->nr_last_known, &r->max_last_known, id, le_load(value, 8));
	pd_cursor_close(&c);
	if (r->nr_last_known)
		qsort(r->last_known, r->nr_last_known, sizeof(*r->last_known), by_device);
	return e < 0 ? e : 0;
}

/*
 * Where no details tell which devices were in a hole, the last generation does that knew them: if the space map counts the
 * root that it has for one, it has not been changed since. An older root may be a snapshot's by now.
 */
static int adopt_last_known(struct thin_rescue *r)
{
	bool is_needed = r->nr_top_holes || r->pool.has_no_top;
	int e = 0;

	for (size_t g = 0; is_needed && g < thin_scavenge_nr_generations(r->s) && !e; g++)
		if (thin_scavenge_generation(r->s, g)->state != STATE_LOST)
			e = learn_generation(r, thin_scavenge_generation(r->s, g)->root);
	for (uint64_t i = 0; r->has_unknown_devices && i < r->nr_last_known && !e; i++) {
		const struct known_root *h = &r->last_known[i];

		if (is_in_top_hole(r, h->dev_id) && is_cut_off(r, h->root, NODE_MAPPINGS))
			e = rescue_adopt(r, h->dev_id, h->root);
	}
	return e || !r->has_unknown_devices ? e : rescue_unknown(r);
}

/* --- all --- */

static void raise_time(uint32_t *time, uint64_t other)
{
	if (other > *time && other <= THIN_TIME_MASK)
		*time = (uint32_t)other;
}

/* Of mappings in all that the devices have. */
static uint32_t newest_mapping(const struct thin_rescue *r)
{
	const struct thin_claims *c = &r->claims;
	uint32_t newest = 0;

	for (size_t i = 0; i < r->nr; i++)
		if (r->devices[i].has_root && r->devices[i].root < r->s->nr)
			raise_time(&newest, r->s->nodes[r->devices[i].root].time);
	for (uint64_t i = 0; i < r->nr_pieces; i++)
		raise_time(&newest, r->s->nodes[r->pieces[i].block].time);
	for (uint64_t i = 0; r->args.use_stale && i < c->nr; i++)
		if (!c->table[i].is_rejected)
			raise_time(&newest, c->table[i].value & THIN_TIME_MASK);
	return newest;
}

static bool has_assigned(const struct thin_rescue *r)
{
	for (size_t i = 0; i < r->nr; i++)
		if (r->origins[i].root == ROOT_ASSIGNED)
			return true;
	return false;
}

/*
 * The pool's own, where it is known, but for devices of other generations. Where it is behind a mapping's, or not known,
 * nobody knows whether there was a snapshot since.
 */
static uint32_t find_time(const struct thin_rescue *r)
{
	uint32_t time = 0, newest = newest_mapping(r);

	raise_time(&time, r->pool.sb.time);
	for (size_t i = 0; i < r->nr; i++)
		if (r->devices[i].has_details && (!r->args.is_time_known || r->origins[i].root == ROOT_OF_ANOTHER))
			raise_time(&time, r->devices[i].snapshotted_time);
	if (newest <= time && r->args.is_time_known)
		return time;
	raise_time(&newest, time);
	raise_time(&newest, (uint64_t)newest + 1);
	return newest;
}

/*
 * Nobody knows what a tree that was assigned shares with others: so it is as if a snapshot of each device had just been
 * taken.
 */
static void settle_times(struct thin_rescue *r)
{
	bool is_all_shared = has_assigned(r);
	uint32_t time = find_time(r);

	r->time = time;
	if (is_all_shared)
		raise_time(&r->time, (uint64_t)r->time + 1);
	for (size_t i = 0; i < r->nr; i++) {
		struct thin_device *d = &r->devices[i];

		if (!d->has_details)
			d->transaction_id = r->pool.sb.trans_id;
		thin_device_settle_times(d, time);
		if (is_all_shared)
			d->snapshotted_time = r->time;
		d->has_details = true;
	}
}

uint32_t thin_rescue_time(const struct thin_rescue *r)
{
	return r->time;
}

uint32_t thin_rescue_raise_time(struct thin_rescue *r, uint64_t newest)
{
	uint32_t before = r->time;

	raise_time(&r->time, newest);
	raise_time(&r->time, newest + 1);
	for (size_t i = 0; i < r->nr; i++)
		if (r->devices[i].snapshotted_time == before)
			r->devices[i].snapshotted_time = r->time;
	return r->time;
}

static int run(struct thin_rescue *r)
{
	int e = thin_missing_create(r->s, r->args.pool, r->args.is_current, &r->m);

	if (!e)
		e = list_devices(r);
	for (size_t i = 0; i < r->args.nr_choices && !e; i++)
		e = choose(r, &r->args.choices[i]);
	for (size_t i = 0; i < r->nr && !e; i++)
		e = r->devices[i].has_root && r->origins[i].root != ROOT_OF_ANOTHER ? rescue_walk(r, i) : 0;
	if (!e)
		e = rescue_walk_held_devices(r);
	if (!e)
		e = thin_missing_guess(r->m);
	if (!e)
		e = adopt_last_known(r);
	if (!e)
		e = rescue_roots(r);
	if (!e)
		e = rescue_fill(r);
	if (!e)
		e = rescue_past(r);
	if (!e)
		settle_times(r);
	return e;
}

int thin_rescue_create(const struct thin_rescue_args *args, struct thin_rescue **rescue)
{
	struct thin_rescue *r = calloc(1, sizeof(*r));
	int e;

	if (!r)
		return -ENOMEM;
	r->args = *args;
	r->s = args->s;
	r->memory = args->memory;
	r->steps = MAX_STEPS;
	r->below_of = PROBLEM_NO_DEVICE;
	r->pool = *args->pool;
	r->pool.reader.sink = &problem_silent;
	r->pool.reader.observer = NULL;
	r->living = scavenge_alloc(r->s, r->s->nr / 64 + 1, sizeof(*r->living));
	e = r->living ? run(r) : -ENOMEM;
	if (e)
		thin_rescue_destroy(r);
	else
		*rescue = r;
	return e;
}

void thin_rescue_destroy(struct thin_rescue *r)
{
	if (!r)
		return;
	thin_missing_destroy(r->m);
	free(r->devices);
	free(r->origins);
	free(r->holes);
	free(r->gaps);
	free(r->hole_at);
	free(r->pieces);
	free(r->last_known);
	free(r->doubts);
	free(r->loose);
	free(r->cracks);
	free(r->living);
	free(r->held);
	free(r->past);
	thin_claims_free(&r->claims);
	free(r->top_holes);
	free(r->below);
	free(r);
}

const struct thin_device *thin_rescue_devices(const struct thin_rescue *r, size_t *nr)
{
	*nr = r->nr;
	return r->devices;
}

const struct thin_rescued *thin_rescue_origin(const struct thin_rescue *r, size_t i)
{
	return &r->origins[i];
}

size_t thin_rescue_doubts(const struct thin_rescue *r, const struct thin_doubt **doubts)
{
	*doubts = r->doubts;
	return r->nr_doubts;
}

size_t thin_rescue_cracks(const struct thin_rescue *r, const struct thin_crack **cracks)
{
	*cracks = r->cracks;
	return r->nr_cracks;
}

bool thin_rescue_has_unknown_devices(const struct thin_rescue *r)
{
	return r->has_unknown_devices;
}

uint64_t thin_rescue_mappings_of_pieces(const struct thin_rescue *r)
{
	uint64_t mappings = 0;

	for (uint64_t i = 0; i < r->nr_pieces; i++)
		mappings += r->s->nodes[r->pieces[i].block].count;
	return mappings;
}

size_t thin_rescue_past(const struct thin_rescue *r, const struct thin_past **past)
{
	*past = r->past;
	return r->nr_past;
}

bool thin_rescue_has_newer_nodes(const struct thin_rescue *r, uint64_t block)
{
	bool has_begun_again = r->s->highest >= r->s->nr - r->s->nr / 64 - 1;

	if (has_begun_again)
		return true;
	for (uint64_t b = block + 1; b < r->s->nr; b++) {
		enum node_kind kind = node_kind(&r->s->nodes[b]);

		if ((kind == NODE_MAPPINGS || kind == NODE_TOP || kind == NODE_DETAILS) && !thin_missing_found(r->m, b))
			return true;
	}
	return false;
}

bool thin_rescue_has_pieces(const struct thin_rescue *r)
{
	for (uint64_t i = 0; i < r->nr_past; i++)
		if (r->past[i].kind == PAST_REUSED || (r->past[i].kind == PAST_STALE && r->args.use_stale))
			return true;
	return r->nr_pieces;
}
