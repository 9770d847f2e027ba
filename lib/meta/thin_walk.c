// SPDX-License-Identifier: LGPL-2.1-or-later
/* Devices and mappings in key order, as records. */
#include "meta/thin_disk.h"
#include "meta/thin_int.h"
#include "meta/thin_sharing.h"

static struct pd_context context(enum problem_where where, uint64_t dev_id)
{
	return (struct pd_context){ .where = where, .dev_id = dev_id };
}

void thin_devices_open(struct thin_devices *d, struct thin_pool *pool)
{
	struct pd_context details = context(WHERE_DETAILS, PROBLEM_NO_DEVICE);
	struct pd_context top = context(WHERE_TOP, PROBLEM_NO_DEVICE);

	*d = (struct thin_devices){ .pool = pool };
	pd_cursor_open(&d->details, &pool->reader, &details, pool->sb.device_details_root,
		       sizeof(struct thin_details_disk));
	pd_cursor_open(&d->top, &pool->reader, &top, pool->sb.data_mapping_root, sizeof(le64));
	/* As if they had been walked. */
	d->details.started = pool->has_no_details;
	d->top.started = pool->has_no_top;
	if (pool->is_single)
		d->from_top = (struct thin_device){
			.id = pool->single_id, .has_root = true, .root = pool->single_root,
		};
}

void thin_devices_close(struct thin_devices *d)
{
	pd_cursor_close(&d->details);
	pd_cursor_close(&d->top);
}

void thin_device_decode(struct thin_device *d, const void *value)
{
	const struct thin_details_disk *disk = value;

	d->has_details = true;
	d->mapped_blocks = le64_get(disk->mapped_blocks);
	d->transaction_id = le64_get(disk->transaction_id);
	d->creation_time = le32_get(disk->creation_time);
	d->snapshotted_time = le32_get(disk->snapshotted_time);
}

bool thin_device_settle_times(struct thin_device *d, uint32_t now)
{
	if (d->has_details && d->creation_time <= d->snapshotted_time && d->snapshotted_time <= now)
		return false;
	if (!d->has_details || d->creation_time > now)
		d->creation_time = now;
	d->snapshotted_time = now;
	return true;
}

/* The entry for @key. 1, 0, -errno. */
static int look_up(const struct thin_pool *pool, enum problem_where where, uint64_t root, uint32_t value_size, uint64_t key,
		   struct pd_hop *entry)
{
	struct pd_context ctx = context(where, key);
	struct pd_lookup path;
	int r = pd_lookup(&pool->reader, &ctx, root, value_size, key, &path);

	if (r <= 0)
		return r;
	*entry = path.hops[path.nr - 1];
	return entry->is_leaf && entry->entry < entry->nr && entry->key == key;
}

int thin_device_find(const struct thin_pool *pool, uint64_t id, struct thin_device *d)
{
	struct pd_hop entry;
	int r = 0;

	*d = (struct thin_device){ .id = id };
	if (!pool->has_no_details)
		r = look_up(pool, WHERE_DETAILS, pool->sb.device_details_root, sizeof(struct thin_details_disk), id, &entry);
	if (r > 0)
		thin_device_decode(d, entry.value);
	if (r < 0 || pool->has_no_top)
		return r;
	r = look_up(pool, WHERE_TOP, pool->sb.data_mapping_root, sizeof(le64), id, &entry);
	if (r > 0) {
		d->has_root = true;
		d->root = le_load(entry.value, 8);
	}
	return r < 0 ? r : d->has_details || d->has_root;
}

static int fill_from_details(struct thin_devices *d)
{
	struct thin_device *t = &d->from_details;
	const uint8_t *value;
	int r;

	if (t->has_details)
		return 0;
	r = pd_cursor_next_entry(&d->details, &t->id, &value);
	if (r <= 0)
		return r;
	thin_device_decode(t, value);
	return 0;
}

static int fill_from_top(struct thin_devices *d)
{
	struct thin_device *t = &d->from_top;
	const uint8_t *value;
	int r;

	if (t->has_root)
		return 0;
	r = pd_cursor_next_entry(&d->top, &t->id, &value);
	if (r <= 0)
		return r;
	t->has_root = true;
	t->root = le_load(value, 8);
	return 0;
}

/* A half that is missing is news only if the tree that lacks it could be read: else the hole was reported already. */
static void judge_device(struct thin_devices *d, const struct thin_device *t)
{
	const struct pd_reader *r = &d->pool->reader;
	struct pd_context details = context(WHERE_DETAILS, t->id), mappings = context(WHERE_MAPPINGS, t->id);

	if (t->id >= THIN_MAX_DEVICES)
		pd_report(r, &details, PROBLEM_DEVICE_ID, PROBLEM_NO_BLOCK,
			  (struct problem){ .expected = THIN_MAX_DEVICES, .found = t->id });
	if (!t->has_details && !d->details.holes && !d->pool->has_no_details)
		pd_report(r, &details, PROBLEM_DEVICE_DETAILS, PROBLEM_NO_BLOCK, (struct problem){ 0 });
	if (!t->has_root && !d->top.holes && !d->pool->has_no_top)
		pd_report(r, &mappings, PROBLEM_DEVICE_MAPPINGS, PROBLEM_NO_BLOCK,
			  (struct problem){ .begin = 0, .end = UINT64_MAX });
}

static int next_of_list(struct thin_devices *d, struct thin_device *device)
{
	if (d->next == d->pool->nr_list)
		return 0;
	*device = d->pool->list[d->next++];
	return 1;
}

int thin_devices_next(struct thin_devices *d, struct thin_device *device)
{
	struct thin_device *a = &d->from_details, *b = &d->from_top;
	bool use_a, use_b;
	int r;

	if (d->pool->list)
		return next_of_list(d, device);
	r = fill_from_details(d);
	if (!r)
		r = fill_from_top(d);
	if (r)
		return r;
	use_a = a->has_details && (!b->has_root || a->id <= b->id);
	use_b = b->has_root && (!a->has_details || b->id <= a->id);
	if (!use_a && !use_b)
		return 0;
	*device = use_a ? *a : (struct thin_device){ .id = b->id };
	if (use_b) {
		device->has_root = true;
		device->root = b->root;
		b->has_root = false;
	}
	if (use_a)
		a->has_details = false;
	judge_device(d, device);
	return 1;
}

int thin_run_flush(struct thin_run *run)
{
	struct record_mapping *m = &run->m;
	enum record_kind kind = m->length == 1 ? RECORD_SINGLE : RECORD_RANGE;
	int r;

	if (!m->length)
		return 0;
	m->origin_last = m->origin_begin + m->length - 1;
	m->data_last = m->data_begin + m->length - 1;
	r = run->v->record(run->v, kind, m);
	m->length = 0;
	return r;
}

static int add_to_run(struct thin_run *run, uint64_t origin, uint64_t data, uint32_t time)
{
	struct record_mapping *m = &run->m;
	int r;

	if (m->length && origin == m->origin_begin + m->length && data == m->data_begin + m->length && time == m->time) {
		m->length++;
		return 0;
	}
	r = thin_run_flush(run);
	m->origin_begin = origin;
	m->data_begin = data;
	m->length = 1;
	m->time = time;
	return r;
}

/* How many entries from @i on go on from each other: the next key, the next data block, the same time. */
static unsigned length_of_run(const struct pd_node *leaf, unsigned i)
{
	uint64_t key = pd_key(leaf, i), value = pd_value64(leaf, i);
	uint64_t room = THIN_MAX_DATA_BLOCKS - (value >> THIN_TIME_BITS); /* behind that, blocks would begin anew from 0 */
	unsigned end = i;

	while (++end < leaf->nr && pd_key(leaf, end) == ++key && pd_value64(leaf, end) == (value += 1 << THIN_TIME_BITS))
		;
	return end - i < room ? end - i : (unsigned)room;
}

int thin_run_add_leaf(struct thin_run *run, const struct pd_node *leaf)
{
	int r = 0;

	for (unsigned i = 0, length; i < leaf->nr && !r; i += length) {
		uint64_t v = pd_value64(leaf, i);

		length = length_of_run(leaf, i);
		r = add_to_run(run, pd_key(leaf, i), v >> THIN_TIME_BITS, (uint32_t)(v & THIN_TIME_MASK));
		run->m.length += length - 1;
	}
	return r;
}

/* In a loop without branches, as nearly all leaves are good. */
static bool is_leaf_beyond(const struct pd_node *leaf, uint64_t nr_data_blocks)
{
	bool is = false;

	for (unsigned i = 0; i < leaf->nr; i++)
		is |= pd_value64(leaf, i) >> THIN_TIME_BITS >= nr_data_blocks;
	return is;
}

void thin_judge_leaf(const struct thin_pool *pool, struct pd_cursor *c, const struct pd_node *leaf)
{
	struct problem p = { .expected = pool->nr_data_blocks };

	if (!is_leaf_beyond(leaf, pool->nr_data_blocks))
		return;
	for (unsigned i = 0; i < leaf->nr; i++) {
		uint64_t data = pd_value64(leaf, i) >> THIN_TIME_BITS;

		if (data < pool->nr_data_blocks)
			continue;
		if (!p.count++) {
			p.found = data;
			p.begin = pd_key(leaf, i);
		}
		p.end = pd_key(leaf, i) + 1;
	}
	pd_report(&pool->reader, &c->ctx, PROBLEM_DATA_BEYOND, leaf->block, p);
	pd_cursor_flaw(c, leaf);
}

void thin_judge_mapped(const struct thin_pool *pool, const struct thin_device *device, uint64_t mappings)
{
	struct pd_context ctx = context(WHERE_DETAILS, device->id);

	if (device->has_details && mappings != device->mapped_blocks)
		pd_report(&pool->reader, &ctx, PROBLEM_MAPPED_BLOCKS, PROBLEM_NO_BLOCK,
			  (struct problem){ .expected = mappings, .found = device->mapped_blocks });
}

int thin_walk_mappings(struct thin_pool *pool, const struct thin_device *device, struct pd_memo *memo,
		       struct meta_visitor *v, struct thin_count *count)
{
	struct pd_context ctx = context(WHERE_MAPPINGS, device->id);
	struct thin_run run = { .m = { .dev_id = device->id }, .v = v };
	const struct pd_node *leaf;
	uint64_t visited = 0;
	struct pd_cursor c;
	int r;

	pd_cursor_open(&c, &pool->reader, &ctx, device->root, sizeof(le64));
	c.memo = memo;
	while ((r = pd_cursor_next(&c, &leaf)) > 0) {
		thin_judge_leaf(pool, &c, leaf);
		visited += leaf->nr;
		r = v ? thin_run_add_leaf(&run, leaf) : 0;
		if (r)
			break;
	}
	pd_cursor_close(&c);
	if (!r && v)
		r = thin_run_flush(&run);
	if (r)
		return r;
	if (!c.holes)
		thin_judge_mapped(pool, device, c.entries);
	count->mappings = c.entries;
	count->visited = visited;
	count->highest = c.last_key;
	count->holes = c.holes;
	count->flaws = c.flaws;
	return 0;
}

/*
 * Details for a device that lost its own. Blocks written before the last snapshot must count as shared, and a mapping
 * is taken as shared when its time is below the device's snap_time: the pool's time is the highest there can be.
 */
static int invent_details(const struct thin_pool *pool, struct thin_device *device, struct pd_memo *memo)
{
	struct thin_pool quiet = *pool;
	struct thin_count count = { 0 };
	int r = 0;

	quiet.reader.sink = &problem_silent;
	if (device->has_root)
		r = thin_walk_mappings(&quiet, device, memo, NULL, &count);
	device->mapped_blocks = count.mappings;
	device->transaction_id = pool->sb.trans_id;
	device->creation_time = device->snapshotted_time = pool->sb.time;
	return r;
}

static int walk_device(struct thin_pool *pool, const struct thin_walk *walk, struct thin_device *device,
		       struct meta_visitor *v)
{
	struct record_device record;
	struct thin_count count;
	int r = device->has_details ? 0 : invent_details(pool, device, walk->memo);

	if (r)
		return r;
	record = (struct record_device){
		.dev_id = device->id,
		.mapped_blocks = device->mapped_blocks,
		.transaction = device->transaction_id,
		.creation_time = device->creation_time,
		.snap_time = device->snapshotted_time,
	};
	r = v->begin(v, RECORD_DEVICE, &record);
	if (!r && device->has_root && walk->sharing)
		r = thin_sharing_walk(walk->sharing, device, v);
	else if (!r && device->has_root && !walk->skip_mappings)
		r = thin_walk_mappings(pool, device, NULL, v, &count);
	return r ? r : v->end(v, RECORD_DEVICE, &record);
}

static int walk_devices(struct thin_pool *pool, const struct thin_walk *walk, struct meta_visitor *v)
{
	struct thin_device device;
	struct thin_devices d;
	int r;

	thin_devices_open(&d, pool);
	while ((r = thin_devices_next(&d, &device)) > 0) {
		if (walk->only_device != PROBLEM_NO_DEVICE && walk->only_device != device.id)
			continue;
		r = walk_device(pool, walk, &device, v);
		if (r)
			break;
	}
	thin_devices_close(&d);
	return r;
}

int thin_walk(struct thin_pool *pool, const struct thin_walk *walk, struct meta_visitor *v)
{
	char uuid[THIN_UUID_MAX];
	struct record_superblock record = {
		.uuid = thin_uuid_text(&pool->sb, uuid),
		.time = pool->sb.time,
		.transaction = pool->sb.trans_id,
		.flags = pool->sb.flags,
		.version = pool->sb.version,
		.data_block_size = pool->sb.data_block_size,
		.nr_data_blocks = pool->sb.data_sm.nr_blocks,
	};
	int r;

	r = v->begin(v, RECORD_SUPERBLOCK, &record);
	if (!r && walk->sharing)
		r = thin_sharing_define(walk->sharing, v);
	if (!r)
		r = walk_devices(pool, walk, v);
	return r ? r : v->end(v, RECORD_SUPERBLOCK, &record);
}

int thin_verify_devices(struct thin_pool *pool, uint64_t only_device, struct pd_memo *memo)
{
	struct thin_devices devices;
	struct thin_device device;
	struct thin_count count;
	int r;

	thin_devices_open(&devices, pool);
	while ((r = thin_devices_next(&devices, &device)) > 0) {
		if (!device.has_root || (only_device != PROBLEM_NO_DEVICE && only_device != device.id))
			continue;
		r = thin_walk_mappings(pool, &device, memo, NULL, &count);
		if (r)
			break;
	}
	thin_devices_close(&devices);
	return r;
}

/* A size that was called impossible already is not believed here either. */
int thin_verify_space_maps(const struct thin_pool *pool)
{
	const struct pd_sm_root *meta = &pool->live.metadata_sm, *data = &pool->live.data_sm;
	int r = 0;

	if (pool->is_lost)
		return 0;
	if (meta->nr_blocks <= PD_MAX_METADATA_BLOCKS)
		r = pd_sm_verify(&pool->reader, meta, true);
	if (!r && data->nr_blocks <= THIN_MAX_DATA_BLOCKS && !pool->overrides.nr_data_blocks)
		r = pd_sm_verify(&pool->reader, data, false);
	return r;
}
