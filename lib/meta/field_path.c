// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/field_path.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "meta/meta.h"
#include "meta/thin.h"
#include "meta/thin_disk.h"

#define FIELD_NAME_MAX 160 /* of a field, in a reason too */

/* What is left of a path, and who asks. */
struct path {
	struct bufio_client *client;
	const struct meta_step *steps;
	unsigned nr;
	char *reason;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct path *p, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(p->reason, META_PATH_REASON, format, args);
	va_end(args);
	return error;
}

/* What follows the first @from steps, as block_fields.h calls it. False: it is no name of a field. */
static bool field_name(const struct path *p, unsigned from, char name[FIELD_NAME_MAX])
{
	size_t used = 0;

	*name = '\0';
	for (unsigned i = from; i < p->nr && used < FIELD_NAME_MAX; i++) {
		const struct meta_step *s = &p->steps[i];

		if (s->has_argument)
			return false;
		used += (size_t)snprintf(name + used, FIELD_NAME_MAX - used, "%s%s", i > from ? "." : "", s->name);
		if (s->has_index && used < FIELD_NAME_MAX)
			used += (size_t)snprintf(name + used, FIELD_NAME_MAX - used, "[%" PRIu64 "]", s->index);
	}
	return used < FIELD_NAME_MAX;
}

/* --- what there can be --- */

static const enum pd_kind superblocks[] = { PD_THIN_SUPERBLOCK, PD_CACHE_SUPERBLOCK, PD_ERA_SUPERBLOCK };
static const enum pd_kind others[] = { PD_NODE, PD_BITMAP, PD_INDEX, PD_ARRAY };

#define NR(array) (sizeof(array) / sizeof(*(array)))

/* 0, -EINVAL: what is no number, -ENOENT, of the best of several kinds. */
static int check_kinds(const enum pd_kind *kinds, size_t nr, const char *name)
{
	int best = -ENOENT;

	for (size_t i = 0; i < nr && best; i++) {
		int r = meta_field_check(kinds[i], name);

		best = r == -ENOENT ? best : r;
	}
	return best;
}

static int check_name(const struct path *p, unsigned from, const enum pd_kind *kinds, size_t nr, bool and_others)
{
	char name[FIELD_NAME_MAX];
	int r;

	if (p->nr == from)
		return refuse(p, -EINVAL, "is not a field: a name of one follows, such as %s.blocknr", p->steps[0].name);
	if (!field_name(p, from, name))
		return refuse(p, -EINVAL, "fields of blocks have no arguments in parentheses");
	r = check_kinds(kinds, nr, name);
	if (r == -ENOENT && and_others)
		r = check_kinds(others, NR(others), name);
	if (r == -EINVAL)
		return refuse(p, r, "%s is not a number: patch its bytes instead", name);
	return r ? refuse(p, -EINVAL, "there is no field %s in such a block; bufio-dump block shows what there is", name) : 0;
}

static int check_nr_blocks(const struct path *p, bool *is_number)
{
	*is_number = true;
	return p->nr == 1 ? 0 : refuse(p, -EINVAL, "nr_blocks is a number, which has no fields");
}

static int check_sb(const struct path *p, bool *is_number)
{
	(void)is_number;
	return check_name(p, 1, superblocks, NR(superblocks), false);
}

static int check_block(const struct path *p, bool *is_number)
{
	(void)is_number;
	return check_name(p, 1, superblocks, NR(superblocks), true);
}

/* The rows say which kind a name stands for. */
static enum pd_kind kind_called(const char *name);

static int check_kind(const struct path *p, bool *is_number)
{
	enum pd_kind kind = kind_called(p->steps[0].name);

	(void)is_number;
	return check_name(p, 1, &kind, 1, false);
}

static const char *const details[] = { "mapped_blocks", "transaction_id", "creation_time", "snapshotted_time" };
static const char *const mapping_fields[] = { "data", "time" };
static const char *const mapping_numbers[] = { "node", "index" };

static bool is_one_of(const struct meta_step *s, const char *const *names, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(names[i], s->name) && !s->has_argument && !s->has_index)
			return true;
	return false;
}

static bool is_map(const struct path *p)
{
	return p->nr > 1 && !strcmp(p->steps[1].name, "map") && p->steps[1].has_argument && !p->steps[1].has_index;
}

static int check_thin(const struct path *p, bool *is_number)
{
	static const char *const root[] = { "root" };

	if (is_map(p) && p->nr == 3 && is_one_of(&p->steps[2], mapping_numbers, NR(mapping_numbers)))
		*is_number = true;
	else if (!(is_map(p) && p->nr == 3 && is_one_of(&p->steps[2], mapping_fields, NR(mapping_fields))) &&
		 !(p->nr == 2 && (is_one_of(&p->steps[1], details, NR(details)) || is_one_of(&p->steps[1], root, 1))))
		return refuse(p, -EINVAL, "a thin device has .root, .mapped_blocks, .transaction_id, .creation_time, "
			      ".snapshotted_time, and .map(BLOCK).data, .time, .node, .index");
	return 0;
}

/* --- where it is --- */

static int read_block(const struct path *p, uint64_t block, uint8_t copy[PD_BLOCK_SIZE])
{
	struct bufio_buffer *b;
	const void *data;

	if (block >= bufio_get_device_size(p->client))
		return refuse(p, -ENOENT, "there is no block %" PRIu64 " among the %" PRIu64 " that there are", block,
			      bufio_get_device_size(p->client));
	data = bufio_read(p->client, block, &b);
	if (!data)
		return refuse(p, -errno, "block %" PRIu64 " cannot be read: %s", block, strerror(errno));
	memcpy(copy, data, PD_BLOCK_SIZE);
	bufio_release(b);
	return 0;
}

static int find_field(const struct path *p, const uint8_t *data, uint64_t block, enum pd_kind kind, const char *name,
		      struct meta_place *place)
{
	struct meta_place found = { .block = block, .kind = kind };
	int r = meta_field_find(data, kind, name, &found.field);

	if (r == -ERANGE)
		return refuse(p, -ENOENT, "block %" PRIu64 ", a %s, has no %s: it has fewer entries", block, pd_kind_name(kind),
			      name);
	if (r == -EBADMSG)
		return refuse(p, -ENOENT, "block %" PRIu64 " is no sound %s: where %s would be cannot be known", block,
			      pd_kind_name(kind), name);
	if (r)
		return refuse(p, -ENOENT, "block %" PRIu64 ", a %s, has no field %s", block, pd_kind_name(kind), name);
	*place = found;
	return 0;
}

static int find_in_block(const struct path *p, uint64_t block, enum pd_kind kind, struct meta_place *place)
{
	uint8_t data[PD_BLOCK_SIZE];
	char name[FIELD_NAME_MAX];
	int r = read_block(p, block, data);

	field_name(p, 1, name);
	return r ? r : find_field(p, data, block, kind, name, place);
}

static int find_nr_blocks(const struct path *p, struct meta_place *place)
{
	*place = (struct meta_place){ .is_number = true, .number = bufio_get_device_size(p->client) };
	return 0;
}

static int find_sb(const struct path *p, struct meta_place *place)
{
	const struct meta_format *format;
	uint8_t data[PD_BLOCK_SIZE];
	int r = read_block(p, 0, data);

	if (r)
		return r;
	format = meta_probe(data);
	if (!format)
		return refuse(p, -ENOENT, "block 0 is no superblock: it has no known magic number or checksum");
	return find_in_block(p, 0, format->superblock, place);
}

static int find_block(const struct path *p, struct meta_place *place)
{
	uint64_t block = p->steps[0].argument;
	uint8_t data[PD_BLOCK_SIZE];
	int r = read_block(p, block, data);
	enum pd_kind kind = r ? PD_UNKNOWN : pd_block_kind(data);

	if (r)
		return r;
	if (kind == PD_UNKNOWN || kind == PD_ZEROES)
		return refuse(p, -ENOENT, "block %" PRIu64 " is of no known kind (%s), so its fields have no names: say what "
			      "it is to be taken for, such as node(%" PRIu64 ")", block, pd_kind_name(kind), block);
	return find_in_block(p, block, kind, place);
}

static int find_kind(const struct path *p, struct meta_place *place)
{
	return find_in_block(p, p->steps[0].argument, kind_called(p->steps[0].name), place);
}

/* A device's leaf and entry in one of the two trees of devices, or a virtual block's in the device's own. */
struct entry {
	uint64_t leaf, value;
	unsigned at;
};

static int look_up(const struct path *p, uint64_t root, uint32_t value_size, uint64_t key, const char *what,
		   struct entry *e)
{
	struct pd_reader reader = {
		.client = p->client, .nr_blocks = bufio_get_device_size(p->client), .sink = &problem_silent,
	};
	struct pd_context ctx = { .where = WHERE_MAPPINGS, .dev_id = PROBLEM_NO_DEVICE };
	const struct pd_hop *h;
	struct pd_lookup l;
	int r = pd_lookup(&reader, &ctx, root, value_size, key, &l);

	if (r < 0)
		return refuse(p, r, "%s: %s", what, strerror(-r));
	h = &l.hops[l.nr - 1];
	if (!r)
		return refuse(p, -ENOENT, "%s: damage is in the way, in block %" PRIu64, what, h->block);
	if (!h->is_leaf || h->entry >= h->nr || h->key != key)
		return refuse(p, -ENOENT, "%s is not there", what);
	*e = (struct entry){ h->block, le_load(h->value, sizeof(uint64_t)), h->entry };
	return 0;
}

static int find_value(const struct path *p, const struct entry *e, const char *suffix, struct meta_place *place)
{
	uint8_t data[PD_BLOCK_SIZE];
	char name[FIELD_NAME_MAX];
	int r = read_block(p, e->leaf, data);

	snprintf(name, sizeof(name), "value[%u]%s%s", e->at, *suffix ? "." : "", suffix);
	return r ? r : find_field(p, data, e->leaf, PD_NODE, name, place);
}

static int find_mapping(const struct path *p, uint64_t root, struct meta_place *place)
{
	const char *field = p->steps[2].name;
	char what[FIELD_NAME_MAX];
	struct entry e;
	int r;

	snprintf(what, sizeof(what), "a mapping of block %" PRIu64 " of device %" PRIu64, p->steps[1].argument,
		 p->steps[0].argument);
	r = look_up(p, root, sizeof(le64), p->steps[1].argument, what, &e);
	if (r || is_one_of(&p->steps[2], mapping_fields, NR(mapping_fields)))
		return r ? r : find_value(p, &e, field, place);
	*place = (struct meta_place){ .is_number = true, .number = !strcmp(field, "node") ? e.leaf : e.at };
	return 0;
}

static int find_thin(const struct path *p, struct meta_place *place)
{
	bool is_detail = p->nr == 2 && is_one_of(&p->steps[1], details, NR(details));
	struct thin_superblock sb;
	uint8_t data[PD_BLOCK_SIZE];
	const struct meta_format *format;
	char what[FIELD_NAME_MAX];
	struct entry e;
	int r = read_block(p, 0, data);

	if (r)
		return r;
	format = meta_probe(data);
	if (!format || format->superblock != PD_THIN_SUPERBLOCK)
		return refuse(p, -ENOENT, "block 0 is not the superblock of a thin pool, so there are no devices to be found");
	thin_superblock_decode(data, &sb);
	snprintf(what, sizeof(what), "device %" PRIu64, p->steps[0].argument);
	if (is_detail)
		r = look_up(p, sb.device_details_root, sizeof(struct thin_details_disk), p->steps[0].argument, what, &e);
	else
		r = look_up(p, sb.data_mapping_root, sizeof(le64), p->steps[0].argument, what, &e);
	if (r)
		return r;
	if (is_map(p))
		return find_mapping(p, e.value, place);
	return find_value(p, &e, is_detail ? p->steps[1].name : "", place);
}

/* --- the names that a path begins with --- */

static const struct start {
	const char *name;
	bool has_argument;
	enum pd_kind kind; /* of the rows with check_kind() */
	int (*check)(const struct path *p, bool *is_number);
	int (*find)(const struct path *p, struct meta_place *place);
} starts[] = {
	{ "nr_blocks", false, PD_UNKNOWN, check_nr_blocks, find_nr_blocks },
	{ "sb", false, PD_UNKNOWN, check_sb, find_sb },
	{ "block", true, PD_UNKNOWN, check_block, find_block },
	{ "node", true, PD_NODE, check_kind, find_kind },
	{ "bitmap", true, PD_BITMAP, check_kind, find_kind },
	{ "index", true, PD_INDEX, check_kind, find_kind },
	{ "array", true, PD_ARRAY, check_kind, find_kind },
	{ "thin", true, PD_UNKNOWN, check_thin, find_thin },
};

static const struct start *start_called(const char *name)
{
	for (size_t i = 0; i < NR(starts); i++)
		if (!strcmp(starts[i].name, name))
			return &starts[i];
	return NULL;
}

static enum pd_kind kind_called(const char *name)
{
	return start_called(name)->kind;
}

int meta_path_check(const struct meta_step *steps, unsigned nr, bool *is_number, char reason[META_PATH_REASON])
{
	struct path p = { NULL, steps, nr, reason };
	const struct start *start = start_called(steps[0].name);
	bool found = false;
	int r;

	if (!start)
		return refuse(&p, -EINVAL, "'%.32s' is nothing that a path can begin with: sb, node(N), bitmap(N), index(N), "
			      "array(N), thin(ID), nr_blocks", steps[0].name);
	if (steps[0].has_index || steps[0].has_argument != start->has_argument)
		return refuse(&p, -EINVAL, start->has_argument ? "which %s? its number follows in parentheses: %s(7)" :
			      "%s has no number: %s", start->name, start->name);
	r = start->check(&p, &found);
	if (!r)
		*is_number = found;
	return r;
}

int meta_path_find(struct bufio_client *client, const struct meta_step *steps, unsigned nr, struct meta_place *place,
		   char reason[META_PATH_REASON])
{
	struct path p = { client, steps, nr, reason };

	return start_called(steps[0].name)->find(&p, place);
}
