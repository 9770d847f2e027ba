// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/dump_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "meta/block_fields.h"
#include "ops/target.h"

/* Messages of one run, for people. */
#define MAX_TOLD 1000

uint64_t dump_nr_problems(const struct op_result *r)
{
	uint64_t n = 0;

	for (unsigned s = 0; s < NR_SEVERITIES; s++)
		n += r->problems[s];
	return n;
}

static void ignore(struct problem_sink *sink, const struct problem *p)
{
	(void)sink;
	(void)p;
}

struct problem_sink dump_silent = { ignore };

static void count(struct dump *d, const struct problem *p)
{
	d->result->problems[problem_severity(p)]++;
}

static void report_now(struct problem_sink *sink, const struct problem *p)
{
	struct dump *d = (struct dump *)sink;

	count(d, p);
	/* A hostile pool has millions; a program that reads JSON wants them all the same. */
	if (d->args->format == DUMP_JSON || dump_nr_problems(d->result) <= MAX_TOLD)
		d->emitter->visitor.problem(&d->emitter->visitor, p);
}

void dump_report_later(struct problem_sink *sink, const struct problem *p)
{
	struct dump *d = (struct dump *)sink;

	count(d, p);
	if (d->nr_kept < MAX_KEPT)
		d->kept[d->nr_kept++] = *p;
}

static void fail_errno(struct dump *d, int error)
{
	if (d->out.error && error == d->out.error)
		op_fail(d->result, OP_OUTPUT, error, "output: %s", strerror(-error));
	else if (error == -ENOMEM || error == -EDEADLK)
		op_fail(d->result, OP_INTERNAL, error, "%s: not enough memory within the limit", d->args->image);
	else
		op_fail(d->result, OP_INPUT, error, "%s: %s", d->args->image, strerror(-error));
}

/* What a view that was given up would have shown, and what was left out of one that was not. */
static void tell_rest(struct dump *d)
{
	uint64_t nr = dump_nr_problems(d->result);

	for (size_t i = 0; d->result->outcome != OP_DONE && i < d->nr_kept; i++)
		text_put_problem(&d->messages, d->args->program, &d->kept[i]);
	if (d->sink.report == report_now && d->args->format != DUMP_JSON && nr > MAX_TOLD)
		text_printf(&d->messages, "%s: ... and %" PRIu64 " problems more\n", d->args->program, nr - MAX_TOLD);
	if (d->result->unreadable > d->nr_kept)
		text_printf(&d->messages, "%s: ... and %" PRIu64 " more blocks that cannot be read\n", d->args->program,
			    d->result->unreadable - d->nr_kept);
	text_out_flush(&d->messages);
}

int dump_emit_kept(struct dump *d)
{
	int r = 0;

	for (size_t i = 0; i < d->nr_kept && !r; i++)
		r = d->emitter->visitor.problem(&d->emitter->visitor, &d->kept[i]);
	return r;
}

/* --- the pool --- */

static bool open_format(struct dump *d)
{
	const struct meta_format *format;
	char reason[OP_REASON_MAX];
	int error;

	format = target_probe(d->args->client, d->args->image, reason, sizeof(reason), &error);
	if (!format) {
		op_fail(d->result, error ? OP_INPUT : OP_NOT_METADATA, error, "%s", reason);
		return false;
	}
	if (!format->is_supported) {
		op_fail(d->result, OP_NOT_METADATA, 0,
			"%s: is %s, which this version only shows block by block: try the view 'block'", d->args->image,
			format->name);
		return false;
	}
	return true;
}

static bool open_snapshot(struct dump *d)
{
	int r = thin_pool_use_snapshot(&d->pool, d->args->snapshot);

	if (r < 0)
		fail_errno(d, r);
	else if (!r && !d->args->snapshot && !d->pool.sb.held_root)
		op_fail(d->result, OP_USAGE, 0,
			"%s: has no metadata snapshot; for an active pool take one with: dmsetup message POOL 0 "
			"reserve_metadata_snap", d->args->image);
	else if (!r)
		op_fail(d->result, OP_INPUT, 0, "%s: the metadata snapshot at block %" PRIu64 " cannot be used",
			d->args->image, d->args->snapshot ? d->args->snapshot : d->pool.sb.held_root);
	return r > 0;
}

/* Every device is visited until the one that was asked for comes; *@holes are nodes in which it may have been. */
static int find_device(struct thin_pool *pool, uint64_t dev_id, bool *found, uint64_t *holes)
{
	struct thin_device device;
	struct thin_devices devices;
	int r = 0;

	*found = false;
	thin_devices_open(&devices, pool);
	while (!*found && (r = thin_devices_next(&devices, &device)) > 0)
		*found = device.id == dev_id;
	*holes = devices.details.holes + devices.top.holes;
	thin_devices_close(&devices);
	return *found ? 0 : r;
}

/* Before anything is written: a device that does not exist is a mistake, and no empty pool. */
static bool has_device(struct dump *d)
{
	struct thin_pool quiet = d->pool;
	uint64_t dev_id = d->args->dev_id, holes;
	bool found;
	int r;

	quiet.reader.sink = &dump_silent;
	r = find_device(&quiet, dev_id, &found, &holes);
	if (!r && !found && holes) {
		r = find_device(&d->pool, dev_id, &found, &holes); /* once more, with reports */
		op_fail(d->result, OP_LOST, 0,
			"%s: device %" PRIu64 " was not found, but the trees of devices are damaged: it may be there",
			d->args->image, dev_id);
	} else if (!r && !found) {
		op_fail(d->result, OP_USAGE, 0, "%s: has no device %" PRIu64, d->args->image, dev_id);
	}
	if (r)
		fail_errno(d, r);
	return !r && found;
}

bool dump_open_pool(struct dump *d)
{
	int r;

	if (!open_format(d))
		return false;
	r = thin_pool_open(&d->pool, d->args->client, &d->sink);
	if (r) {
		fail_errno(d, r);
		return false;
	}
	if (d->args->use_snapshot && !open_snapshot(d))
		return false;
	return !d->args->only_device || has_device(d);
}

/* --- mappings --- */

static int dump_mappings(struct dump *d)
{
	struct thin_walk walk = {
		.only_device = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE,
		.skip_mappings = d->args->skip_mappings,
	};

	d->sink.report = report_now;
	return dump_open_pool(d) ? thin_walk(&d->pool, &walk, &d->emitter->visitor) : 0;
}

/* --- block --- */

/* One bad sector does not hide the rest. */
static int note_unreadable(struct dump *d, uint64_t block, int error)
{
	struct problem p = {
		.code = PROBLEM_BLOCK_UNREADABLE, .block = block, .dev_id = PROBLEM_NO_DEVICE, .error = error,
	};

	if (error == ENOMEM || error == EDEADLK)
		return -error;
	d->result->unreadable++;
	if (d->nr_kept < MAX_KEPT)
		d->kept[d->nr_kept++] = p;
	return 0;
}

static int dump_block(void *context, uint64_t block, const void *data, int error)
{
	struct dump *d = context;

	if (!data)
		return note_unreadable(d, block, -error);
	return meta_visit_block(data, bufio_get_block_size(d->args->client), block, &d->emitter->visitor);
}

static int dump_blocks(struct dump *d)
{
	struct bufio_client *c = d->args->client;
	uint64_t nr = bufio_get_device_size(c);
	struct bufio_scan scan = {
		.block = dump_block,
		.context = d,
		.first_block = d->args->begin,
		.nr_blocks = d->args->end - d->args->begin,
		.in_order = true,
	};
	int r;

	if (d->args->end > nr) {
		op_fail(d->result, OP_USAGE, 0, "%s: has no block %" PRIu64 ", only %" PRIu64 " blocks of %u bytes",
			d->args->image, d->args->end - 1, nr, bufio_get_block_size(c));
		return 0;
	}
	r = bufio_scan(c, &scan);
	return r ? r : dump_emit_kept(d);
}

/* --- all --- */

static const struct {
	int (*run)(struct dump *d);
	const char *schema;
	enum text_format json;
} views[] = {
	[DUMP_SUMMARY] = { dump_summary, "bufio.summary/1", TEXT_JSON },
	[DUMP_MAPPINGS] = { dump_mappings, "bufio.mappings/1", TEXT_JSON_LINES },
	[DUMP_BLOCK] = { dump_blocks, "bufio.block/1", TEXT_JSON },
};

static enum text_format text_format(const struct op_dump_args *args)
{
	switch (args->format) {
	case DUMP_XML: return TEXT_XML;
	case DUMP_JSON: return views[args->view].json;
	case DUMP_HUMAN: break;
	}
	return TEXT_HUMAN;
}

static struct text_emitter *create_emitter(struct dump *d)
{
	bool is_screen = d->args->view == DUMP_SUMMARY && d->args->format == DUMP_HUMAN;
	struct text_emit_args e = {
		.format = text_format(d->args),
		.out = &d->out,
		.messages = is_screen ? &d->out : &d->messages,
		.program = is_screen ? NULL : d->args->program,
		.schema = views[d->args->view].schema,
		.image = d->args->image,
	};

	text_out_init(&d->out, d->args->out_fd);
	text_out_init(&d->messages, d->args->message_fd);
	return text_emit_create(&e);
}

void op_dump(const struct op_dump_args *args, struct op_result *result)
{
	struct dump *d = calloc(1, sizeof(*d));
	int r = -ENOMEM;

	*result = (struct op_result){ .outcome = OP_DONE };
	if (d) {
		d->args = args;
		d->result = result;
		d->emitter = create_emitter(d);
	}
	if (!d || !d->emitter) {
		op_fail(result, OP_INTERNAL, r, "out of memory");
		free(d);
		return;
	}
	r = views[args->view].run(d);
	if (!r && result->outcome == OP_DONE)
		r = text_emit_finish(d->emitter);
	if (!r)
		r = text_out_flush(&d->out);
	if (r)
		fail_errno(d, r);
	tell_rest(d);
	text_emit_destroy(d->emitter);
	free(d);
}
