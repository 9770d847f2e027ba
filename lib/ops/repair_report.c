// SPDX-License-Identifier: LGPL-2.1-or-later
/* What came back, and what is lost, for people and as JSON. */
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
#define TEXT_MAX 320

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
	if (repair_has_bad_superblock(r))
		n += snprintf(text + n, size - (size_t)n, "note: the superblock's checksum is wrong, so that transaction %" PRIu64
			      " and data blocks of %" PRIu32 " sectors may be: --transaction-id and --data-block-size set them\n",
			      r->pool.sb.trans_id, r->pool.sb.data_block_size);
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
	char heading[TEXT_MAX], notes[6 * TEXT_MAX], written[OP_REASON_MAX], state[TEXT_MAX];
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
