// SPDX-License-Identifier: LGPL-2.1-or-later
/* What is lost: of what device, and of which virtual blocks. */
#include <stdlib.h>

#include "base/table.h"
#include "meta/thin_disk.h"
#include "ops/repair_int.h"

/* --- keeping --- */

int repair_add_loss(struct op_repair *r, const struct loss *loss)
{
	if (table_grow(&r->losses, sizeof(*loss), r->nr_losses, &r->max_losses, &r->report_memory))
		r->not_kept++;
	else
		r->losses[r->nr_losses++] = *loss;
	return 0;
}

static uint64_t id_of(const void *device)
{
	return ((const struct thin_device *)device)->id;
}

size_t repair_index_of(const struct op_repair *r, uint64_t dev_id)
{
	return table_find(r->devices, sizeof(*r->devices), r->nr_devices, id_of, dev_id);
}

static struct device_report *report_of(struct op_repair *r, uint64_t dev_id)
{
	size_t i = repair_index_of(r, dev_id);

	return i < r->nr_devices && r->devices[i].id == dev_id ? &r->reports[i] : NULL;
}

static void keep_beyond(struct op_repair *r, const struct problem *p)
{
	struct device_report *report = report_of(r, p->dev_id);

	if (report)
		report->beyond += p->count;
	repair_add_loss(r, &(struct loss){
		.state = LOSS_LOST, .cause = CAUSE_BEYOND, .dev_id = p->dev_id, .begin = p->begin, .end = p->end,
		.block = p->block, .mappings = p->count, .data = p->found,
	});
}

void repair_report_problem(struct problem_sink *sink, const struct problem *p)
{
	struct op_repair *r = (struct op_repair *)sink;

	if (p->where != WHERE_MAPPINGS || p->is_touch)
		return;
	if (p->code == PROBLEM_DATA_BEYOND)
		keep_beyond(r, p);
	else if (problem_is_block_lost(p))
		repair_add_loss(r, &(struct loss){
			.state = LOSS_LOST, .cause = CAUSE_DEAD, .dev_id = p->dev_id, .begin = p->begin, .end = p->end,
			.block = p->block, .mappings = RECORD_UNKNOWN, .code = p->code,
		});
}

/* --- data blocks that are mapped at two places --- */

void repair_note_mapped(void *context, uint64_t dev_id, uint64_t virtual_block, uint64_t value)
{
	struct op_repair *r = context;

	if (r->nr_suspects < REPAIR_MAX_SUSPECTS)
		r->suspects[r->nr_suspects++] = (struct suspect){ dev_id, virtual_block, value >> THIN_TIME_BITS };
}

static int by_data(const void *a, const void *b)
{
	const struct suspect *x = a, *y = b;

	if (x->data != y->data)
		return x->data < y->data ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

/* Who shares a block has it at the same place; of those that have not one is wrong. */
static void find_twice(struct op_repair *r)
{
	const struct suspect *s = r->suspects;

	if (r->nr_suspects)
		qsort(r->suspects, r->nr_suspects, sizeof(*s), by_data);
	for (size_t i = 0, end; i < r->nr_suspects; i = end) {
		for (end = i + 1; end < r->nr_suspects && s[end].data == s[i].data; end++)
			;
		for (size_t k = i; k < end && s[end - 1].key != s[i].key; k++)
			repair_add_loss(r, &(struct loss){
				.state = LOSS_AMBIGUOUS, .cause = CAUSE_TWICE, .dev_id = s[k].dev_id, .begin = s[k].key,
				.end = s[k].key + 1, .block = PROBLEM_NO_BLOCK, .mappings = 1, .data = s[k].data,
			});
	}
}

/* --- summing up --- */

static uint64_t lost_of(const struct op_repair *r, size_t i)
{
	const struct thin_rescued *o = thin_rescue_origin(r->rescue, i);
	const struct device_report *d = &r->reports[i];

	if (d->stale || d->is_doubtful) /* what has changed since is not known */
		return RECORD_UNKNOWN;
	if (!d->has_holes && !d->beyond && (r->devices[i].has_root || !o->mapped))
		return 0;
	return o->mapped != RECORD_UNKNOWN && o->mapped >= d->kept ? o->mapped - d->kept : RECORD_UNKNOWN;
}

/* A device that has all that it should have lost nothing in its holes. */
static void drop_empty_losses(struct op_repair *r)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < r->nr_losses; i++) {
		const struct device_report *d = report_of(r, r->losses[i].dev_id);

		if (!d || d->lost || r->losses[i].state != LOSS_LOST)
			r->losses[kept++] = r->losses[i];
	}
	r->nr_losses = kept;
}

static void add_rootless(struct op_repair *r, size_t i)
{
	if (!r->devices[i].has_root && r->reports[i].lost)
		repair_add_loss(r, &(struct loss){
			.state = LOSS_LOST, .cause = CAUSE_NOTHING, .dev_id = r->devices[i].id, .end = UINT64_MAX,
			.block = PROBLEM_NO_BLOCK, .mappings = r->reports[i].lost,
		});
}

/* The kernel keeps no leaf, but a root, with fewer entries than a third. */
#define LEAST_LEAF 84

/* Where a leaf could have been; or everywhere, if these would not have had room for what is missing. */
static bool has_room_in_wide_ones(const struct op_repair *r, const struct thin_crack *c, size_t nr, size_t device)
{
	uint64_t mapped = thin_rescue_origin(r->rescue, device)->mapped, room = 0;

	for (size_t i = 0; i < nr; i++)
		if (c[i].device == device && c[i].end - c[i].begin >= LEAST_LEAF)
			room += c[i].end - c[i].begin;
	return mapped != RECORD_UNKNOWN && room >= mapped - r->reports[device].kept;
}

/* They come device by device. */
static void add_cracks(struct op_repair *r)
{
	const struct thin_crack *c;
	size_t nr = thin_rescue_cracks(r->rescue, &c);
	bool is_wide = false;

	for (size_t i = 0; i < nr; i++) {
		if (!i || c[i].device != c[i - 1].device)
			is_wide = has_room_in_wide_ones(r, c, nr, c[i].device);
		if (is_wide && c[i].end - c[i].begin < LEAST_LEAF)
			continue;
		r->reports[c[i].device].has_holes = true;
		repair_add_loss(r, &(struct loss){
			.state = LOSS_LOST, .cause = CAUSE_BELOW, .dev_id = r->devices[c[i].device].id, .begin = c[i].begin,
			.end = c[i].end, .block = c[i].block, .mappings = RECORD_UNKNOWN,
		});
	}
}

static void add_doubts(struct op_repair *r)
{
	const struct thin_doubt *d;
	size_t nr = thin_rescue_doubts(r->rescue, &d);

	for (size_t i = 0; i < nr; i++)
		repair_add_loss(r, &(struct loss){
			.state = LOSS_AMBIGUOUS, .cause = CAUSE_UNPLACED, .dev_id = d[i].dev_id, .end = UINT64_MAX,
			.block = d[i].block, .mappings = d[i].mappings,
		});
}

static void add_past(struct op_repair *r)
{
	static const struct {
		enum loss_state state;
		enum loss_cause cause;
	} kinds[] = {
		[PAST_STALE] = { LOSS_STALE, CAUSE_OLDER },
		[PAST_REUSED] = { LOSS_LOST, CAUSE_REUSED },
		[PAST_DOUBTFUL] = { LOSS_AMBIGUOUS, CAUSE_MIXED },
		[PAST_UNDECIDED] = { LOSS_AMBIGUOUS, CAUSE_UNDECIDED },
		[PAST_UNPROVED] = { LOSS_AMBIGUOUS, CAUSE_UNPROVED },
	};
	const struct thin_past *p;
	size_t nr = thin_rescue_past(r->rescue, &p);

	for (size_t i = 0; i < nr; i++) {
		r->reports[p[i].device].has_holes |= p[i].kind == PAST_REUSED;
		r->reports[p[i].device].is_doubtful |= p[i].kind == PAST_UNPROVED || p[i].kind == PAST_DOUBTFUL;
		if (p[i].kind == PAST_STALE && r->args->stale == REPAIR_STALE_USE) {
			r->totals.stale += p[i].mappings;
			r->reports[p[i].device].stale += p[i].mappings;
		}
		repair_add_loss(r, &(struct loss){
			.state = kinds[p[i].kind].state, .cause = kinds[p[i].kind].cause, .dev_id = r->devices[p[i].device].id,
			.begin = p[i].begin, .end = p[i].end, .block = PROBLEM_NO_BLOCK,
			.mappings = p[i].kind == PAST_UNDECIDED ? RECORD_UNKNOWN : p[i].mappings,
			.pieces = p[i].mappings, .data = p[i].generation,
		});
	}
}

/* Of an older generation than the last one nobody knows what has changed since. */
static void add_guess(struct op_repair *r)
{
	for (size_t i = 0; r->is_guess && i < r->nr_devices; i++)
		repair_add_loss(r, &(struct loss){
			.state = LOSS_AMBIGUOUS, .cause = CAUSE_OLDER_GENERATION, .dev_id = r->devices[i].id, .end = UINT64_MAX,
			.block = PROBLEM_NO_BLOCK, .mappings = r->reports[i].kept, .data = r->generation,
		});
}

static int by_place(const void *a, const void *b)
{
	const struct loss *x = a, *y = b;

	if (x->dev_id != y->dev_id)
		return x->dev_id < y->dev_id ? -1 : 1;
	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->state < y->state ? -1 : x->state > y->state;
}

void repair_sum_up(struct op_repair *r)
{
	add_cracks(r);
	add_past(r);
	for (size_t i = 0; i < r->nr_devices; i++) {
		struct device_report *d = &r->reports[i];

		d->kept -= d->beyond < d->kept ? d->beyond : d->kept;
		d->lost = lost_of(r, i);
		r->totals.mappings += d->kept;
		if (d->lost == RECORD_UNKNOWN && d->is_doubtful)
			r->totals.is_doubtful = true;
		else if (d->lost == RECORD_UNKNOWN)
			r->totals.is_lost_unknown = true;
		else
			r->totals.lost += d->lost;
		add_rootless(r, i);
	}
	drop_empty_losses(r);
	find_twice(r);
	add_doubts(r);
	add_guess(r);
	if (r->nr_losses)
		qsort(r->losses, r->nr_losses, sizeof(*r->losses), by_place);
}

bool repair_has_lost(const struct op_repair *r)
{
	return r->is_guess || r->totals.is_doubtful || r->totals.lost || r->totals.is_lost_unknown || r->nr_losses || r->not_kept ||
	       thin_rescue_has_unknown_devices(r->rescue);
}
