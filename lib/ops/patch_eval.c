// SPDX-License-Identifier: LGPL-2.1-or-later
/* What expressions, ranges and paths stand for, in the volumes as they are at that point of the script. */
#include "ops/patch_int.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"

/* --- numbers --- */

static bool load_field(struct patch *p, const struct script_field *f, uint64_t *value)
{
	struct patch_volume *v;
	struct bufio_buffer *b;
	struct meta_place place;
	const void *data;

	if (!patch_place(p, f, &v, &place))
		return false;
	if (place.is_number) {
		*value = place.number;
		return true;
	}
	data = bufio_read(v->client, place.block, &b);
	if (!data)
		return patch_fail_block(p, v, place.block);
	*value = meta_field_load(data, &place.field);
	bufio_release(b);
	return true;
}

static bool calculate(struct patch *p, const struct script_expr *e, uint64_t *value)
{
	uint64_t a, b;
	bool fits;

	if (!patch_number(p, e->left, &a) || !patch_number(p, e->right, &b))
		return false;
	if (e->kind == EXPR_ADD)
		fits = checked_add(a, b, value);
	else if (e->kind == EXPR_MUL)
		fits = checked_mul(a, b, value);
	else if ((fits = a >= b))
		*value = a - b;
	return fits || patch_fail(p, OP_EXPECT, &e->place, "%" PRIu64 " %c %" PRIu64 " is %s", a,
				  e->kind == EXPR_ADD ? '+' : e->kind == EXPR_MUL ? '*' : '-', b,
				  e->kind == EXPR_SUB ? "below 0" : "more than 64 bits hold");
}

bool patch_number(struct patch *p, const struct script_expr *e, uint64_t *value)
{
	switch (e->kind) {
	case EXPR_NUMBER: *value = e->number; return true;
	case EXPR_LET: *value = p->lets[e->let]; return true;
	case EXPR_FIELD: return load_field(p, e->field, value);
	default: return calculate(p, e, value);
	}
}

/* --- paths --- */

static bool take_step(struct patch *p, const struct script_step *s, struct meta_step *to)
{
	*to = (struct meta_step){ .name = s->name, .has_argument = s->argument, .has_index = s->index };
	return (!s->argument || patch_number(p, s->argument, &to->argument)) &&
	       (!s->index || patch_number(p, s->index, &to->index));
}

/* T[9].NAME is block(9).NAME. */
bool patch_place(struct patch *p, const struct script_field *f, struct patch_volume **volume, struct meta_place *place)
{
	struct meta_step steps[SCRIPT_MAX_STEPS + 1];
	char reason[META_PATH_REASON];
	unsigned nr = 0;
	int r;

	if (f->block) {
		steps[nr] = (struct meta_step){ .name = "block", .has_argument = true };
		if (!patch_number(p, f->block, &steps[nr++].argument))
			return false;
	}
	for (unsigned i = 0; i < f->nr_steps; i++)
		if (!take_step(p, &f->steps[i], &steps[nr++]))
			return false;
	*volume = &p->volumes[f->volume];
	r = meta_path_find((*volume)->client, steps, nr, place, reason);
	if (r)
		patch_fail(p, r == -ENOENT ? OP_EXPECT : r == -ENOMEM || r == -EDEADLK ? OP_INTERNAL : OP_INPUT, &f->place, "%s: %s",
			   (*volume)->path, reason);
	return !r;
}

/* --- ranges --- */

static bool find_end(struct patch *p, const struct script_range *r, uint64_t begin, uint64_t *end)
{
	uint64_t length = 1;

	if (r->end)
		return patch_number(p, r->end, end);
	if (r->length && !patch_number(p, r->length, &length))
		return false;
	return checked_add(begin, length, end) || patch_fail(p, OP_EXPECT, &r->place, "ends behind the last number there is");
}

static bool judge_range(struct patch *p, const struct script_range *r, const struct patch_volume *v, uint64_t begin,
			uint64_t end)
{
	if (begin >= end)
		return patch_fail(p, OP_EXPECT, &r->place, "%" PRIu64 "..%" PRIu64 " is no range", begin, end);
	if (end > v->nr_blocks)
		return patch_fail(p, OP_EXPECT, &r->place, "%s has %" PRIu64 " blocks, and this goes to block %" PRIu64, v->path,
				  v->nr_blocks, end - 1);
	return true;
}

bool patch_extent(struct patch *p, const struct script_range *r, struct patch_extent *x)
{
	struct patch_volume *v = &p->volumes[r->volume];
	uint64_t begin, end, at = 0;

	if (!patch_number(p, r->begin, &begin) || !find_end(p, r, begin, &end) || !judge_range(p, r, v, begin, end))
		return false;
	if (r->at && !patch_number(p, r->at, &at))
		return false;
	if (at >= (end - begin) * p->block_size)
		return patch_fail(p, OP_EXPECT, &r->at->place, "byte %" PRIu64 " lies behind these %" PRIu64 " bytes", at,
				  (end - begin) * p->block_size);
	*x = (struct patch_extent){
		.volume = v, .first = begin, .nr = end - begin, .begin = begin * p->block_size + at,
		.end = end * p->block_size, .has_at = r->at,
	};
	return true;
}
