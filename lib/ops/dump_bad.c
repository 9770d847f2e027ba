// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What cannot be used, block by block, and what each costs. Everything that the pool consists of is walked; problems
 * are kept, sorted by block, and shown.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/dump_int.h"
#include "pdata/btree.h"

#define MAX_FOUND 1000000
#define TEXT_MAX 640

struct found {
	struct problem p;
	bool is_snapshot;
};

struct bad {
	struct dump *d;
	struct found *table;
	size_t nr, max;
	size_t nr_known; /* of them, sorted: what the walks found */
	uint64_t not_shown;
	bool is_snapshot;      /* whose trees are walked */
	struct thin_pool held; /* the metadata snapshot, if that is beside the pool */
};

/* --- finding --- */

static void report(struct problem_sink *sink, const struct problem *p)
{
	struct dump *d = (struct dump *)sink;
	struct bad *b = d->view;

	if (p->block == PROBLEM_NO_BLOCK) {
		dump_report_later(sink, p);
		return;
	}
	dump_count_problem(d, p);
	if (b->nr < b->max)
		b->table[b->nr++] = (struct found){ *p, b->is_snapshot };
	else
		b->not_shown++;
}

static int find_held(struct bad *b, uint64_t only, struct pd_memo *memo)
{
	int r;

	b->held = b->d->pool;
	if (!b->held.live.held_root || b->d->args->use_snapshot || b->d->args->use_root)
		return 0;
	b->is_snapshot = true;
	r = thin_pool_use_snapshot(&b->held, 0);
	return r > 0 ? thin_verify_devices(&b->held, only, memo) : r;
}

static int find_all(struct bad *b)
{
	struct dump *d = b->d;
	uint64_t only = d->args->only_device ? d->args->dev_id : PROBLEM_NO_DEVICE;
	struct pd_memo memo;
	int r;

	b->is_snapshot = d->args->use_snapshot;
	dump_make_memo(d, &memo);
	memo.retell = MAX_FOUND;
	dump_stream(d);
	r = thin_verify_devices(&d->pool, only, &memo);
	if (!r && !d->args->only_device && !d->args->use_snapshot) /* else they change meanwhile */
		r = thin_verify_space_maps(&d->pool);
	if (!r)
		r = find_held(b, only, &memo);
	free(memo.entries);
	return r;
}

static int compare(const void *x, const void *y)
{
	const struct found *a = x, *b = y;

	if (a->p.block != b->p.block)
		return a->p.block < b->p.block ? -1 : 1;
	if (a->p.code != b->p.code)
		return a->p.code < b->p.code ? -1 : 1;
	if (a->is_snapshot != b->is_snapshot)
		return a->is_snapshot - b->is_snapshot;
	if (a->p.dev_id != b->p.dev_id)
		return a->p.dev_id < b->p.dev_id ? -1 : 1;
	return a->p.begin < b->p.begin ? -1 : a->p.begin > b->p.begin;
}

static bool is_known(const struct bad *b, uint64_t block)
{
	size_t low = 0, high = b->nr_known;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (b->table[middle].p.block < block)
			low = middle + 1;
		else
			high = middle;
	}
	return low < b->nr_known && b->table[low].p.block == block;
}

/* Of the whole device: the walks did not come to all of it. */
static int note_unreadable(void *context, uint64_t block, const void *data, int error)
{
	static const struct pd_context unused = { .where = WHERE_UNUSED, .dev_id = PROBLEM_NO_DEVICE };
	struct bad *b = context;

	dump_advance(b->d, 1);
	if (!data && !is_known(b, block))
		pd_report(&b->d->pool.reader, &unused, PROBLEM_BLOCK_UNREADABLE, block, (struct problem){ .error = -error });
	return 0;
}

static int scan_rest(struct bad *b)
{
	struct bufio_client *c = b->d->args->client;
	struct bufio_scan scan = {
		.block = note_unreadable, .context = b, .nr_blocks = bufio_get_device_size(c), .in_order = true,
	};

	if (b->d->args->only_device)
		return 0;
	qsort(b->table, b->nr, sizeof(*b->table), compare);
	b->nr_known = b->nr;
	dump_expect(b->d, scan.nr_blocks);
	return bufio_scan(c, &scan);
}

/* --- showing --- */

/* The bytes of a block may still tell what it was, even if its checksum does not. */
static void look(struct dump *d, uint64_t block, char text[TEXT_MAX])
{
	struct problem p = { 0 };
	struct bufio_buffer *b;
	struct pd_node n;
	const void *data;
	enum pd_kind kind;

	data = block < bufio_get_device_size(d->args->client) ? bufio_read(d->args->client, block, &b) : NULL;
	if (!data) {
		snprintf(text, TEXT_MAX, "nothing, it cannot be read");
		return;
	}
	kind = pd_block_kind(data);
	if (kind != PD_UNKNOWN)
		snprintf(text, TEXT_MAX, "%s", pd_kind_name(kind));
	else if (pd_node_decode(data, block, 0, &n, &p) && n.nr)
		snprintf(text, TEXT_MAX, "btree %s, %u entries of %" PRIu32 " bytes, keys %" PRIu64 "..%" PRIu64,
			 n.is_leaf ? "leaf" : "node", n.nr, n.value_size, pd_key(&n, 0), pd_key(&n, n.nr - 1));
	else
		snprintf(text, TEXT_MAX, "nothing known");
	bufio_release(b);
}

static int show_cost(struct bad *b, const struct found *f)
{
	struct dump_need need = {
		.block = f->p.block,
		.dev_id = f->p.dev_id,
		.begin = f->p.begin,
		.end = f->p.end,
		.where = f->p.where,
		.is_snapshot = f->is_snapshot,
		.kind_of_device = RECORD_COST,
		.kind_of_pool = RECORD_COST_POOL,
	};

	if (f->p.begin == f->p.end || !*problem_where_keys(f->p.where))
		return 0;
	return dump_show_need(b->d, f->is_snapshot && !b->d->args->use_snapshot ? &b->held : &b->d->pool, &need);
}

/* One kind of damage of one block, and all that it costs. */
static int show_block(struct bad *b, const struct found *f, size_t nr)
{
	struct meta_visitor *v = &b->d->emitter->visitor;
	const struct problem *p = &f->p;
	char looks[TEXT_MAX], message[TEXT_MAX], text[2 * TEXT_MAX];
	struct record_bad record = {
		.block = p->block,
		.name = problem_table[p->code].name,
		.severity = problem_severity_name(problem_severity(p)),
		.where = problem_where_name(p->where),
		.looks = looks,
		.message = message,
		.remedy = problem_table[p->code].remedy,
		.text = text,
	};
	int r;

	look(b->d, p->block, looks);
	text_message(p, message, sizeof(message));
	snprintf(text, sizeof(text), "%s, %s", problem_where_text(p->where), message);
	r = v->begin(v, RECORD_BAD, &record);
	for (size_t i = 0; i < nr && !r; i++)
		r = show_cost(b, &f[i]);
	return r ? r : v->end(v, RECORD_BAD, &record);
}

static bool is_same(const struct found *a, const struct found *b)
{
	return a->p.block == b->p.block && a->p.code == b->p.code;
}

static int show_end(const struct bad *b, uint64_t blocks)
{
	struct meta_visitor *v = &b->d->emitter->visitor;
	char text[TEXT_MAX];
	struct record_bad_end record = { .blocks = blocks, .not_shown = b->not_shown, .text = text };

	if (b->not_shown)
		snprintf(text, sizeof(text), "%" PRIu64 " blocks with damage, and %" PRIu64 " problems more that are not "
			 "shown; a larger --memory-limit shows them.", blocks, b->not_shown);
	else if (blocks)
		snprintf(text, sizeof(text), "%" PRIu64 " block%s with damage.", blocks, blocks == 1 ? "" : "s");
	else
		snprintf(text, sizeof(text), "No block with damage found (reference counts were not compared).");
	return v->record(v, RECORD_BAD_END, &record);
}

static int show_all(struct bad *b)
{
	uint64_t blocks = 0;
	int r = 0;

	qsort(b->table, b->nr, sizeof(*b->table), compare);
	for (size_t i = 0, next; i < b->nr && !r; i = next) {
		for (next = i + 1; next < b->nr && is_same(&b->table[i], &b->table[next]); next++)
			;
		blocks += !i || b->table[i].p.block != b->table[i - 1].p.block;
		r = show_block(b, &b->table[i], next - i);
	}
	if (!r)
		r = dump_emit_kept(b->d);
	return r ? r : show_end(b, blocks);
}

/* --- all --- */

int dump_bad(struct dump *d)
{
	struct bad b = { .d = d };
	uint64_t max = bufio_get_memory_limit(d->args->client) / 4 / sizeof(*b.table);
	int r;

	b.max = max < MAX_FOUND ? (size_t)max : MAX_FOUND;
	if (!dump_take_memory(d, b.max * sizeof(*b.table)))
		return -ENOMEM;
	b.table = malloc(b.max * sizeof(*b.table));
	if (!b.table)
		return -ENOMEM;
	d->view = &b;
	d->sink.report = report;
	r = dump_open_pool(d) ? find_all(&b) : 0;
	if (!r && d->result->outcome == OP_DONE)
		r = scan_rest(&b);
	if (!r && d->result->outcome == OP_DONE)
		r = show_all(&b);
	free(b.table);
	return r;
}
