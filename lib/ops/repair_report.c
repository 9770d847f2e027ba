// SPDX-License-Identifier: LGPL-2.1-or-later
/* What is lost, and how that is said. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "meta/thin_disk.h"
#include "ops/repair_int.h"
#include "text/emit.h"

/* A screen for people; a program gets all. */
#define MAX_SHOWN 40
#define LOSSES_SHARE 32 /* of the memory limit */
#define TEXT_MAX 320

/* --- keeping --- */

static bool grow(void *table, size_t size, uint64_t nr, uint64_t *max, uint64_t most)
{
	uint64_t more = *max ? 2 * *max : 64;
	void **t = table, *p;

	if (nr < *max)
		return true;
	p = more > most ? NULL : realloc(*t, more * size);
	if (p) {
		*t = p;
		*max = more;
	}
	return p;
}

int repair_add_loss(struct op_repair *r, const struct loss *loss)
{
	if (!grow(&r->losses, sizeof(*loss), r->nr_losses, &r->max_losses, r->limit / LOSSES_SHARE / sizeof(*loss)))
		r->not_kept++;
	else
		r->losses[r->nr_losses++] = *loss;
	return 0;
}

static size_t index_of(const struct op_repair *r, uint64_t dev_id)
{
	size_t begin = 0, end = r->nr_devices;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (r->devices[middle].id < dev_id)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

static struct device_report *report_of(struct op_repair *r, uint64_t dev_id)
{
	size_t i = index_of(r, dev_id);

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

/* --- saying --- */

static const char *const state_names[NR_LOSS_STATES] = {
	[LOSS_LOST] = "lost", [LOSS_STALE] = "stale", [LOSS_AMBIGUOUS] = "ambiguous",
};

static const char *const root_names[] = {
	[ROOT_OF_TREE] = "current", [ROOT_REATTACHED] = "reattached", [ROOT_ASSIGNED] = "assigned",
	[ROOT_OF_ANOTHER] = "generation", [ROOT_LOST] = "lost",
};

static const char *plural(uint64_t nr)
{
	return nr == 1 ? "" : "s";
}

static void format_cause(const struct loss *l, char *text, size_t size)
{
	switch (l->cause) {
	case CAUSE_DEAD:
		snprintf(text, size, "block %" PRIu64 " cannot be used [%s]", l->block, problem_table[l->code].name);
		break;
	case CAUSE_NOTHING: snprintf(text, size, "nothing was found that leads there"); break;
	case CAUSE_BELOW:
		snprintf(text, size, "between what was found of a dead node");
		break;
	case CAUSE_BEYOND:
		snprintf(text, size, "mapped beyond the data device, to block %" PRIu64, l->data);
		break;
	case CAUSE_TWICE:
		snprintf(text, size, "data block %" PRIu64 " is mapped here and elsewhere: one of the two is wrong", l->data);
		break;
	case CAUSE_UNPLACED:
		snprintf(text, size, "the tree at block %" PRIu64 ", with %" PRIu64 " mapping%s, may be this device's or "
			 "another's: it is left out", l->block, l->mappings, plural(l->mappings));
		break;
	case CAUSE_REUSED: snprintf(text, size, "the data blocks are used by others now"); break;
	case CAUSE_OLDER:
		if (l->data == PROBLEM_NO_BLOCK)
			snprintf(text, size, "%" PRIu64 " mapping%s of an older node, or a snapshot's, whose data blocks nobody "
				 "has elsewhere", l->mappings, plural(l->mappings));
		else
			snprintf(text, size, "%" PRIu64 " mapping%s of generation %" PRIu64 ", whose data blocks nobody has "
				 "elsewhere", l->mappings, plural(l->mappings), l->data);
		break;
	case CAUSE_OLDER_GENERATION:
		snprintf(text, size, "as it was in generation %" PRIu64 "; what was changed since is not known", l->data);
		break;
	case CAUSE_UNDECIDED:
		snprintf(text, size, "%" PRIu64 " part%s of trees fit here, and elsewhere, or may be older versions: left out",
			 l->pieces, plural(l->pieces));
		break;
	case CAUSE_UNPROVED:
		snprintf(text, size, "%" PRIu64 " mapping%s, as many as there should be; but nothing else proves that this is "
			 "the device's last version", l->mappings, plural(l->mappings));
		break;
	case CAUSE_MIXED:
		snprintf(text, size, "%" PRIu64 " mappings, which is not what its details say: blocks of its tree were used again",
			 l->mappings);
		break;
	}
}

static void format_range(const struct loss *l, char *text, size_t size)
{
	int n = l->dev_id == PROBLEM_NO_DEVICE ? snprintf(text, size, "some device") :
						 snprintf(text, size, "device %" PRIu64, l->dev_id);

	if (l->end == UINT64_MAX)
		snprintf(text + n, size - (size_t)n, ", virtual blocks from %" PRIu64 " on", l->begin);
	else if (l->end - l->begin == 1)
		snprintf(text + n, size - (size_t)n, ", virtual block %" PRIu64, l->begin);
	else
		snprintf(text + n, size - (size_t)n, ", virtual blocks %" PRIu64 "..%" PRIu64, l->begin, l->end - 1);
}

static int show_loss(struct meta_visitor *v, const struct loss *l, bool is_used)
{
	char cause[TEXT_MAX], range[TEXT_MAX], line[3 * TEXT_MAX], option[64] = "";
	struct record_loss record = {
		.dev_id = l->dev_id, .begin = l->begin, .end = l->end, .state = state_names[l->state],
		.mappings = l->mappings, .block = l->block, .text = cause, .line = line,
	};

	format_cause(l, cause, sizeof(cause));
	format_range(l, range, sizeof(range));
	if (l->cause == CAUSE_OLDER && !is_used)
		snprintf(option, sizeof(option), "--stale=use");
	else if (l->cause == CAUSE_UNPLACED)
		snprintf(option, sizeof(option), "--assign=DEV=%" PRIu64, l->block);
	record.option = option[0] ? option : NULL;
	snprintf(line, sizeof(line), "%s: %s: %s%s%s\n", state_names[l->state], range, cause, option[0] ? "; " : "", option);
	return v->record(v, RECORD_LOSS, &record);
}

static int show_more(struct meta_visitor *v, const char *what, uint64_t nr)
{
	char line[TEXT_MAX];

	snprintf(line, sizeof(line), "... and %" PRIu64 " more %s: --json lists all\n", nr, what);
	return v->record(v, RECORD_REPAIR_MORE, &(struct record_repair_more){ line });
}

static int show_losses(const struct op_repair *r, struct meta_visitor *v)
{
	int e = 0;

	for (uint64_t i = 0; i < r->nr_losses && !e && (r->args->json || i < MAX_SHOWN); i++)
		e = show_loss(v, &r->losses[i], r->args->stale == REPAIR_STALE_USE);
	return e || r->args->json || r->nr_losses <= MAX_SHOWN ? e : show_more(v, "ranges", r->nr_losses - MAX_SHOWN);
}

static void format_device(const struct op_repair *r, size_t i, char *text, size_t size)
{
	const struct thin_rescued *o = thin_rescue_origin(r->rescue, i);
	const struct device_report *d = &r->reports[i];
	int n;

	*text = '\0';
	if (!d->lost && o->root == ROOT_OF_TREE && o->details == DETAILS_KEPT)
		return;
	n = snprintf(text, size, "device %" PRIu64 ": %" PRIu64 " mapping%s", r->devices[i].id, d->kept, plural(d->kept));
	if (d->is_doubtful)
		n += snprintf(text + n, size - (size_t)n, ", not proved");
	else if (d->stale)
		n += snprintf(text + n, size - (size_t)n, ", %" PRIu64 " of them stale", d->stale);
	else if (d->lost == RECORD_UNKNOWN)
		n += snprintf(text + n, size - (size_t)n, ", some lost");
	else if (d->lost)
		n += snprintf(text + n, size - (size_t)n, ", %" PRIu64 " lost", d->lost);
	if (o->root == ROOT_REATTACHED)
		n += snprintf(text + n, size - (size_t)n, "; its tree was found again");
	else if (o->root == ROOT_ASSIGNED)
		n += snprintf(text + n, size - (size_t)n, "; its tree was assigned");
	else if (o->root == ROOT_OF_ANOTHER)
		n += snprintf(text + n, size - (size_t)n, "; of generation %" PRIu64, o->generation);
	if (o->details == DETAILS_REBUILT)
		n += snprintf(text + n, size - (size_t)n, "; its details are new, every block counts as shared");
	snprintf(text + n, size - (size_t)n, "\n");
}

static int show_device(const struct op_repair *r, struct meta_visitor *v, size_t i, const char *text)
{
	const struct thin_rescued *o = thin_rescue_origin(r->rescue, i);
	char source[64];
	struct record_repair_device record = {
		.dev_id = r->devices[i].id, .mappings = r->reports[i].kept, .mappings_lost = r->reports[i].lost,
		.root = r->devices[i].has_root ? r->devices[i].root : RECORD_UNKNOWN,
		.details = o->details == DETAILS_KEPT ? "kept" : "rebuilt", .source = source, .text = text,
	};

	if (o->root == ROOT_OF_ANOTHER)
		snprintf(source, sizeof(source), "generation %" PRIu64, o->generation);
	else
		snprintf(source, sizeof(source), "%s", root_names[o->root]);
	return v->record(v, RECORD_REPAIR_DEVICE, &record);
}

static int show_devices(const struct op_repair *r, struct meta_visitor *v)
{
	uint64_t shown = 0, more = 0;
	int e = 0;

	for (size_t i = 0; i < r->nr_devices && !e; i++) {
		char text[TEXT_MAX];

		format_device(r, i, text, sizeof(text));
		if (r->args->json || (text[0] && shown++ < MAX_SHOWN))
			e = show_device(r, v, i, text);
		else
			more += text[0] != '\0';
	}
	return e || !more ? e : show_more(v, "devices", more);
}

static int show_unowned(const struct op_repair *r, struct meta_visitor *v)
{
	int e = 0;

	for (uint64_t i = 0; r->args->json && i < r->nr_unowned && !e; i++)
		e = v->record(v, RECORD_UNOWNED_RANGE, &(struct record_unowned_range){
			.begin = r->unowned[i].begin, .end = r->unowned[i].end, .line = "",
		});
	return e;
}

static void format_notes(const struct op_repair *r, char *text, size_t size)
{
	int n = 0;

	*text = '\0';
	if (!r->pool.is_lost && r->pool.live.metadata_sm.nr_blocks > bufio_get_device_size(r->args->client))
		n += snprintf(text + n, size - (size_t)n, "note: the superblock says that there are %" PRIu64 " blocks of "
			      "metadata, and there are %" PRIu64 "; if the image was cut off, copy it again\n",
			      r->pool.live.metadata_sm.nr_blocks, bufio_get_device_size(r->args->client));
	if (r->why[0])
		n += snprintf(text + n, size - (size_t)n, "note: %s\n", r->why);
	if (r->nr_corrected == 1)
		n += snprintf(text + n, size - (size_t)n, "corrected: one wrong byte of block %" PRIu64 ", by its checksum\n",
			      r->corrected[0].block);
	else if (r->nr_corrected)
		n += snprintf(text + n, size - (size_t)n, "corrected: one wrong byte each of %" PRIu64 " blocks, by their "
			      "checksums\n", r->nr_corrected);
	if (r->is_superblock_made)
		n += snprintf(text + n, size - (size_t)n, "note: the superblock is new: transaction %" PRIu64 "%s, time %" PRIu32
			      ", %" PRIu64 " data blocks%s\n", r->pool.sb.trans_id,
			      r->chosen.is_exact || r->args->overrides.has_transaction ? "" : " or higher", r->pool.sb.time,
			      r->pool.nr_data_blocks, r->args->overrides.nr_data_blocks ? "" : " or more");
	if (r->is_data_size_wrong)
		n += snprintf(text + n, size - (size_t)n, "note: the size of the data device that the superblock says is wrong: "
			      "%" PRIu64 " blocks, or more; --nr-data-blocks sets it\n", r->pool.nr_data_blocks);
	if (thin_rescue_has_unknown_devices(r->rescue))
		snprintf(text + n, size - (size_t)n, "note: there may have been more devices: neither the top level nor the "
			 "details are whole; --list shows trees that are left, --assign=DEV=BLOCK takes one\n");
}

static void format_written(const struct op_repair *r, char *text, size_t size)
{
	if (r->is_written)
		snprintf(text, size, "written to %s: %" PRIu64 " of %" PRIu64 " blocks of 4 KiB used; checked, and clean%s%s\n",
			 r->args->target, r->metadata_used, r->metadata_total, r->replaced[0] ? "; replaced " : "",
			 r->replaced);
	else
		snprintf(text, size, "nothing was written\n");
}

static uint64_t count_losses(const struct op_repair *r, enum loss_state state)
{
	uint64_t nr = 0;

	for (uint64_t i = 0; i < r->nr_losses; i++)
		nr += r->losses[i].state == state;
	return nr;
}

/* "Lost: 248 mappings. Stale: 3. Ambiguous: 2." */
static void format_state(const struct op_repair *r, char *text, size_t size)
{
	uint64_t ambiguous = count_losses(r, LOSS_AMBIGUOUS);
	bool is_unknown = r->totals.is_lost_unknown || thin_rescue_has_unknown_devices(r->rescue);
	int n = 0;

	if (!repair_has_lost(r)) {
		snprintf(text, size, "Nothing is lost.");
		return;
	}
	*text = '\0';
	if (r->is_guess)
		n += snprintf(text + n, size - (size_t)n, "Lost: what was changed since this generation, which is not known.");
	else if (is_unknown && !r->totals.lost && !r->totals.stale)
		n += snprintf(text + n, size - (size_t)n, "Lost: mappings, and it is not known how many.");
	else if (r->totals.lost)
		n += snprintf(text + n, size - (size_t)n, "Lost: %" PRIu64 " mapping%s%s.", r->totals.lost,
			      plural(r->totals.lost), is_unknown ? " and more" : "");
	if (r->totals.stale)
		n += snprintf(text + n, size - (size_t)n, "%sStale: %" PRIu64 " mapping%s.", n ? " " : "", r->totals.stale,
			      plural(r->totals.stale));
	if (ambiguous)
		n += snprintf(text + n, size - (size_t)n, "%sAmbiguous: %" PRIu64 " place%s.", n ? " " : "", ambiguous,
			      plural(ambiguous));
	if (r->totals.is_unowned_known && r->totals.unowned)
		n += snprintf(text + n, size - (size_t)n, " Data blocks that nobody has now: %" PRIu64 ".", r->totals.unowned);
	if (r->args->accept_loss)
		snprintf(text + n, size - (size_t)n, " This is accepted.");
}

static int show(const struct op_repair *r, struct text_emitter *e)
{
	struct meta_visitor *v = &e->visitor;
	char heading[TEXT_MAX], notes[4 * TEXT_MAX], written[OP_REASON_MAX], state[TEXT_MAX];
	struct record_repair record = {
		.input = r->args->input,
		.target = r->is_written ? r->args->target : NULL,
		.verdict = repair_has_lost(r) ? "lost" : "complete",
		.generation = r->chosen.root == PROBLEM_NO_BLOCK ? RECORD_UNKNOWN : r->generation,
		.root = r->chosen.root,
		.details = r->chosen.details,
		.source = thin_source_name(r->chosen.source),
		.transaction = r->pool.sb.trans_id,
		.time = r->pool.sb.time,
		.devices = r->nr_devices,
		.mappings = r->totals.mappings,
		.mappings_lost = r->totals.is_lost_unknown || r->totals.is_doubtful || r->is_guess ||
				 thin_rescue_has_unknown_devices(r->rescue) ? RECORD_UNKNOWN : r->totals.lost,
		.mappings_stale = r->totals.stale,
		.unowned = r->totals.is_unowned_known ? r->totals.unowned : RECORD_UNKNOWN,
		.corrected = r->nr_corrected,
		.metadata_used = r->is_written ? r->metadata_used : RECORD_UNKNOWN,
		.metadata_total = r->is_written ? r->metadata_total : RECORD_UNKNOWN,
		.replaced = r->replaced[0] ? r->replaced : NULL,
		.heading = heading, .notes = notes, .written = written, .state = state,
	};
	int error;

	snprintf(heading, sizeof(heading), "thin-pool metadata, transaction %" PRIu64 ", %zu device%s, %" PRIu64 " mapping%s",
		 r->pool.sb.trans_id, r->nr_devices, plural(r->nr_devices), r->totals.mappings, plural(r->totals.mappings));
	format_notes(r, notes, sizeof(notes));
	format_written(r, written, sizeof(written));
	format_state(r, state, sizeof(state));
	error = v->begin(v, RECORD_REPAIR, &record);
	if (!error)
		error = show_devices(r, v);
	if (!error)
		error = show_losses(r, v);
	if (!error)
		error = show_unowned(r, v);
	if (!error)
		error = v->end(v, RECORD_REPAIR, &record);
	return error ? error : text_emit_finish(e);
}

void op_repair_show(struct op_repair *r, struct op_result *result)
{
	struct text_emit_args args = {
		.format = r->args->json ? TEXT_JSON : TEXT_HUMAN, .out = &r->out, .messages = &r->out,
		.schema = "bufio.repair/1", .image = r->args->input,
	};
	struct text_emitter *e;
	int error;

	if (repair_has_lost(r) && !r->args->accept_loss)
		result->problems[SEVERITY_LOSSY]++;
	if (r->args->out_fd < 0)
		return;
	e = text_emit_create(&args);
	error = e ? show(r, e) : -ENOMEM;
	if (!error)
		error = text_out_flush(&r->out);
	if (error)
		op_fail(result, OP_OUTPUT, error, "output: %s", strerror(-error));
	text_emit_destroy(e);
}
