// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * check: the pool is checked, problems are kept, and put together to findings: problems of one cause, with all that
 * they touch. How bad the worst one is makes the verdict.
 */
#include "ops/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io_journal.h"
#include "meta/thin_check.h"
#include "meta/thin_disk.h"
#include "ops/check_memory.h"
#include "ops/journal.h"
#include "ops/target.h"
#include "text/emit.h"

/* Of the memory limit, for problems; and of these, for those of one kind. */
#define KEPT_SHARE 32
#define KIND_SHARE 4

/* Lines of what a finding touches, for people. */
#define MAX_TOUCHED 16

#define TEXT_MAX 640

struct check {
	struct problem_sink sink; /* first: a report finds its check by it */
	const struct op_check_args *args;
	struct op_result *result;
	struct text_out out, messages;
	struct thin_pool pool;
	struct thin_check checked;
	bool was_checked; /* more than the superblock */
	uint64_t limit;   /* of memory, for all */
	/* What was mended. */
	bool is_repaired, is_cleared;
	bool are_leaks_let_be; /* they do not count for the exit status */
	char journal[OP_JOURNAL_PATH_MAX];
	uint64_t nr_repaired; /* blocks */
	struct problem *kept;
	size_t nr_kept, max_kept;
	uint64_t found[NR_SEVERITIES]; /* problems, before any was mended */
	uint64_t nr_of[NR_PROBLEMS]; /* that are kept */
	uint64_t not_kept;
};

/* --- keeping --- */

static void report(struct problem_sink *sink, const struct problem *p)
{
	struct check *k = (struct check *)sink;

	if (!p->is_touch)
		k->result->problems[problem_severity(p)]++;
	if (k->nr_kept == k->max_kept || k->nr_of[p->code] == k->max_kept / KIND_SHARE) {
		k->not_kept += !p->is_touch;
		return;
	}
	k->nr_of[p->code]++;
	k->kept[k->nr_kept++] = *p;
}

static bool create_table(struct check *k)
{
	k->limit = bufio_get_memory_limit(k->args->client);
	k->max_kept = k->limit / KEPT_SHARE / sizeof(*k->kept);
	k->kept = malloc(k->max_kept * sizeof(*k->kept));
	if (!k->kept)
		op_fail(k->result, OP_INTERNAL, -ENOMEM, "out of memory");
	return k->kept;
}

/* --- memory --- */

/* @limit, for the cache @c and all else. */
static bool take_memory(struct check *k, struct bufio_client *c, uint64_t limit)
{
	struct check_memory m = {
		.pool = &k->pool, .image = k->args->image, .purpose = "check", .may_raise = k->args->may_raise_memory,
		.tables = k->max_kept * sizeof(*k->kept), .beside = k->limit - limit,
	};

	k->checked.memory = check_share_memory(&m, c, limit, k->result);
	return k->checked.memory;
}

/* --- checking --- */

static bool fail_errno(struct check *k, int error)
{
	op_fail_errno(k->result, k->args->image, error);
	return false;
}

static bool probe(struct check *k)
{
	char reason[OP_REASON_MAX];
	const struct meta_format *f;
	int error;

	f = target_probe(k->args->client, k->args->image, reason, sizeof(reason), &error);
	if (f && f->is_supported)
		return true;
	if (error)
		return fail_errno(k, error);
	if (f)
		op_fail(k->result, OP_NOT_METADATA, 0, "%s: %s, which this version cannot check", k->args->image, f->name);
	else
		op_fail(k->result, OP_NOT_METADATA, 0, "%s", reason);
	return false;
}

static bool use_snapshot(struct check *k)
{
	int r = thin_pool_use_snapshot(&k->pool, 0);

	if (r < 0)
		return fail_errno(k, r);
	if (!r && !k->pool.live.held_root)
		op_fail(k->result, OP_USAGE, 0, "%s: the pool has no metadata snapshot", k->args->image);
	return r;
}

static bool open_pool(struct check *k)
{
	const struct op_check_args *a = k->args;
	int r = thin_pool_open(&k->pool, a->client, &k->sink);

	if (r)
		return fail_errno(k, r);
	if (a->progress) {
		k->pool.reader.progress = &a->progress->blocks;
		a->progress->total = k->pool.live.metadata_sm.nr_allocated;
	}
	if (a->has_mapping_root)
		k->pool.sb.data_mapping_root = a->mapping_root;
	if (a->has_details_root)
		k->pool.sb.device_details_root = a->details_root;
	return true;
}

static bool check_trees(struct check *k)
{
	const struct op_check_args *a = k->args;
	int r;

	if (a->superblock_only)
		return true;
	if (a->use_snapshot && !use_snapshot(k))
		return k->result->outcome == OP_DONE; /* its superblock is damaged, which was reported */
	k->checked = (struct thin_check){
		.skip_mappings = a->skip_mappings,
		.skip_space_maps = a->use_snapshot || a->has_mapping_root || a->has_details_root,
	};
	if (!take_memory(k, a->client, k->limit))
		return false;
	if (a->progress) /* as many passes over the leaves as counts of data will need */
		a->progress->total *= 1 + (thin_check_enough_memory(&k->pool) - 1) / k->checked.memory;
	r = thin_check(&k->pool, &k->checked);
	if (r)
		return fail_errno(k, r);
	k->was_checked = true;
	return true;
}

/* --- mending --- */

/* A round over the pool as the transaction has it: its problems are counted, not kept. */
struct round {
	struct problem_sink sink;
	uint64_t problems[NR_SEVERITIES];
};

static void count(struct problem_sink *sink, const struct problem *p)
{
	struct round *round = (struct round *)sink;

	if (!p->is_touch)
		round->problems[problem_severity(p)]++;
}

static bool is_worse_than(const uint64_t problems[NR_SEVERITIES], enum problem_severity s)
{
	for (unsigned i = s + 1; i < NR_SEVERITIES; i++)
		if (problems[i])
			return true;
	return false;
}

static int run_round(struct check *k, struct bufio_client *c, uint64_t limit, bool is_fixing, struct round *round)
{
	struct thin_pool pool;
	int r;

	*round = (struct round){ .sink = { count } };
	r = thin_pool_open(&pool, c, &round->sink);
	if (r)
		return r;
	if (!take_memory(k, c, limit))
		return -ENOMEM;
	k->checked.is_fixing = is_fixing;
	r = thin_check(&pool, &k->checked);
	if (!r)
		r = bufio_client_reset(c); /* writes what is dirty */
	if (!r)
		r = bufio_set_memory_limit(c, limit);
	return r;
}

static bool fail_repair(struct check *k, enum op_outcome outcome, int error, const char *why)
{
	op_fail(k->result, outcome, error, "%s: %s", k->args->image, why);
	return false;
}

/* The pool is mended in the transaction, and checked once more: only what is clean then is committed. */
static bool repair_in(struct check *k, struct bufio_device *journal, struct bufio_client *c, uint64_t limit)
{
	struct bufio_reason why = { .text = "" };
	struct bufio_stats stats;
	struct round round;
	int r = run_round(k, c, limit, true, &round);

	bufio_get_stats(c, &stats);
	if (!r && !is_worse_than(round.problems, SEVERITY_LEAK))
		r = run_round(k, c, limit, false, &round);
	if (r)
		return k->result->outcome == OP_DONE ? fail_errno(k, r) : false;
	if (is_worse_than(round.problems, SEVERITY_COSMETIC))
		return fail_repair(k, OP_INTERNAL, 0, "the leaks could not be mended; nothing was changed");
	r = io_journal_commit(journal, &why);
	if (r)
		return fail_repair(k, OP_PARTLY, r, why.text);
	k->nr_repaired = stats.blocks_written;
	return true;
}

static bool with_transaction(struct check *k, struct bufio_device *journal)
{
	uint64_t floor = bufio_get_memory_floor(k->args->client), limit = k->limit - floor;
	struct bufio_client *c = bufio_client_create(journal, PD_BLOCK_SIZE, CHECK_HELD_BUFFERS, 0, NULL, NULL);
	bool ok = c && !bufio_set_memory_limit(k->args->client, floor) && !bufio_set_memory_limit(c, limit);

	if (!ok)
		fail_repair(k, OP_INTERNAL, -ENOMEM, "out of memory");
	ok = ok && repair_in(k, journal, c, limit);
	bufio_client_destroy(c);
	bufio_client_reset(k->args->client); /* the device was changed behind its back */
	return ok;
}

static int begin(struct check *k, struct bufio_reason *why, struct bufio_device **journal)
{
	struct io_journal_args args = {
		.path = k->journal, .target = k->args->image, .stat = k->args->target_stat,
	};
	int r = 0;

	if (k->args->journal)
		snprintf(k->journal, sizeof(k->journal), "%s", k->args->journal);
	else
		r = op_journal_name("check", k->args->image, k->journal);
	if (r) {
		snprintf(why->text, sizeof(why->text), "%.4000s: %s", k->journal, strerror(-r));
		return r;
	}
	return io_journal_begin(bufio_get_device(k->args->client), &args, why, journal);
}

/* The result says why it was not done; or that was optional, and a message does. */
static void repair(struct check *k)
{
	struct bufio_reason why = { .text = "" };
	struct bufio_device *journal;
	int r = begin(k, &why, &journal);

	if (r && k->args->is_repair_optional) {
		text_printf(&k->messages, "%s: leaks are left as they are, because there can be no journal: %.4000s\n",
			    k->args->program, why.text);
		text_out_flush(&k->messages);
		k->are_leaks_let_be = true; /* it is safe to run with them */
		return;
	}
	if (r) {
		op_fail(k->result, OP_REFUSED, r, "%s: no journal: %.4000s; name another place with --journal", k->args->image,
			why.text);
		return;
	}
	k->is_repaired = with_transaction(k, journal);
	bufio_device_close(journal);
	if (k->is_repaired)
		k->result->problems[SEVERITY_LEAK] = 0;
}

/* One sector changes, and is written with its block at once: there is no state between. */
static void clear_needs_check(struct check *k)
{
	struct bufio_client *c = k->args->client;
	struct thin_superblock_disk *d;
	struct bufio_buffer *b;
	int r;

	d = bufio_read(c, 0, &b);
	if (!d) {
		fail_errno(k, -errno);
		return;
	}
	d->flags = le32_put(le32_get(d->flags) & ~THIN_FLAG_NEEDS_CHECK);
	pd_block_seal(d, PD_THIN_SUPERBLOCK, 0);
	r = bufio_mark_partial_buffer_dirty(b, 0, 512);
	bufio_release(b);
	if (!r)
		r = bufio_write_dirty_buffers(c);
	if (r)
		op_fail(k->result, OP_INPUT, r, "%s: needs_check could not be cleared: %s", k->args->image, strerror(-r));
	else
		k->is_cleared = true;
}

static bool has_flag(const struct check *k)
{
	return k->pool.live.flags & THIN_FLAG_NEEDS_CHECK;
}

/* Nothing is touched when anything is wrong that is worse than a leak. */
static void mend(struct check *k)
{
	const struct op_check_args *a = k->args;
	bool may_repair = (a->auto_repair || a->clear_needs_check) && k->was_checked && !a->skip_mappings;

	k->are_leaks_let_be = a->ignore_non_fatal;
	if (is_worse_than(k->result->problems, SEVERITY_LEAK))
		return;
	if (k->result->problems[SEVERITY_LEAK] && may_repair && !k->are_leaks_let_be)
		repair(k);
	if (k->result->problems[SEVERITY_LEAK] && !k->are_leaks_let_be)
		return;
	if (a->clear_needs_check && has_flag(k) && k->result->outcome == OP_DONE)
		clear_needs_check(k);
}

/* --- findings --- */

static int order_of(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Those of little weight, and those that come by the thousand, are one finding, whatever their numbers are. */
static bool is_one_of_many(const struct problem *p)
{
	return (problem_severity(p) == SEVERITY_COSMETIC && p->code != PROBLEM_NEEDS_CHECK) || p->code == PROBLEM_SM_COUNT;
}

static bool is_alike(const struct problem *a, const struct problem *b)
{
	if (a->code != b->code || a->where != b->where)
		return false;
	if (is_one_of_many(a))
		return true;
	return a->block == b->block && a->expected == b->expected && a->found == b->found;
}

/* The worst first; what is alike is together, in the order of its devices. */
static int compare(const void *x, const void *y)
{
	const struct problem *a = x, *b = y;
	const uint64_t keys[][2] = {
		{ problem_severity(b), problem_severity(a) }, { a->code, b->code }, { a->where, b->where },
		{ a->block, b->block }, { a->expected, b->expected }, { a->found, b->found }, { a->is_touch, b->is_touch },
		{ a->dev_id, b->dev_id }, { a->begin, b->begin },
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && !r; i++)
		r = order_of(keys[i][0], keys[i][1]);
	return r;
}

static void format_touched(const struct problem *p, const char *keys, char text[TEXT_MAX])
{
	int n = 0;

	if (p->dev_id != PROBLEM_NO_DEVICE)
		n = snprintf(text, TEXT_MAX, "device %" PRIu64 "%s", p->dev_id, keys ? ", " : "");
	if (!keys)
		return;
	if (p->end == UINT64_MAX)
		snprintf(text + n, TEXT_MAX - (size_t)n, "%s from %" PRIu64 " on", keys, p->begin);
	else if (p->end - p->begin == 1)
		snprintf(text + n, TEXT_MAX - (size_t)n, "%s %" PRIu64, keys, p->begin);
	else
		snprintf(text + n, TEXT_MAX - (size_t)n, "%s %" PRIu64 "..%" PRIu64, keys, p->begin, p->end - 1);
}

/* What the range of a problem is of; NULL: it has none. */
static const char *keys_of(const struct problem *p)
{
	bool is_virtual = p->dev_id != PROBLEM_NO_DEVICE && (p->is_touch || p->where == WHERE_HELD_TREES);
	const char *keys = problem_where_keys(is_virtual ? WHERE_MAPPINGS : p->where);

	return p->begin != p->end && *keys ? keys : NULL;
}

static bool touches_something(const struct problem *p)
{
	return p->dev_id != PROBLEM_NO_DEVICE || keys_of(p);
}

static int show_touched(struct meta_visitor *v, const struct problem *p)
{
	const char *keys = keys_of(p);
	char text[TEXT_MAX];
	struct record_touched record = {
		.dev_id = p->dev_id, /* PROBLEM_NO_DEVICE is RECORD_UNKNOWN */
		.keys = keys,
		.begin = keys ? p->begin : RECORD_UNKNOWN,
		.end = keys ? p->end : RECORD_UNKNOWN,
		.text = text,
	};

	format_touched(p, keys, text);
	return v->record(v, RECORD_TOUCHED, &record);
}

static int show_all_touched(const struct check *k, struct meta_visitor *v, const struct problem *p, size_t nr)
{
	struct record_touched_more more = { 0 };
	uint64_t shown = 0;
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++) {
		if (!touches_something(&p[i]))
			continue;
		if (k->args->json || shown < MAX_TOUCHED)
			r = show_touched(v, &p[i]);
		else
			more.count++;
		shown++;
	}
	return r || !more.count ? r : v->record(v, RECORD_TOUCHED_MORE, &more);
}

/* "block 110 of the mapping tree: ...", "data space map: ..." */
static void format_finding(const struct problem *p, const char *message, uint64_t alike, char *text, size_t size)
{
	const char *where = problem_where_text(p->where);
	char more[64] = "";

	if (alike > 1)
		snprintf(more, sizeof(more), " (and %" PRIu64 " more like this)", alike - 1);
	if (p->block != PROBLEM_NO_BLOCK && (p->block || problem_is_block_lost(p)))
		snprintf(text, size, "block %" PRIu64 " (%s): %s%s", p->block, where, message, more);
	else
		snprintf(text, size, "%s: %s%s", where, message, more);
}

static uint64_t count_problems(const struct problem *p, size_t nr)
{
	uint64_t problems = 0;

	for (size_t i = 0; i < nr; i++)
		problems += !p[i].is_touch;
	return problems;
}

/* Leaks are counted by the block, all others by the problem. */
static uint64_t add_up(const struct problem *p, size_t nr)
{
	uint64_t sum = 0, problems = count_problems(p, nr);

	for (size_t i = 0; i < nr; i++)
		sum += p[i].is_touch ? 0 : p[i].count;
	return sum ? sum : problems ? problems : nr;
}

static int show_finding(const struct check *k, struct meta_visitor *v, const struct problem *p, size_t nr)
{
	char message[TEXT_MAX], text[2 * TEXT_MAX];
	struct problem first = *p;
	bool is_many = is_one_of_many(p);
	struct record_finding record = {
		.name = problem_table[p->code].name,
		.severity = problem_severity_name(problem_severity(p)),
		.where = problem_where_name(p->where),
		.block = p->block,
		.message = message,
		.meaning = problem_meaning(p),
		.remedy = problem_table[p->code].remedy,
		.count = is_many ? nr : add_up(p, nr),
		.text = text,
	};
	int r;

	if (!is_many && p->code != PROBLEM_DATA_BEYOND)
		first.count = record.count;
	text_message(&first, message, sizeof(message));
	format_finding(p, message, is_many ? nr : 1, text, sizeof(text));
	r = v->begin(v, RECORD_FINDING, &record);
	if (!r)
		r = show_all_touched(k, v, p, nr);
	return r ? r : v->end(v, RECORD_FINDING, &record);
}

static size_t length_of_finding(const struct check *k, size_t i)
{
	size_t end = i + 1;

	while (end < k->nr_kept && is_alike(&k->kept[i], &k->kept[end]))
		end++;
	return end - i;
}

static bool is_shown(const struct check *k, uint64_t nr_shown)
{
	return !k->args->max_problems || nr_shown < k->args->max_problems;
}

static int show_findings(const struct check *k, struct meta_visitor *v)
{
	uint64_t nr = 0;
	int r = 0;

	for (size_t i = 0, length; i < k->nr_kept && !r; i += length) {
		length = length_of_finding(k, i);
		if (is_shown(k, nr++))
			r = show_finding(k, v, &k->kept[i], length);
	}
	return r;
}

static uint64_t count_not_shown(const struct check *k)
{
	uint64_t nr = 0, hidden = k->not_kept;

	for (size_t i = 0, length; i < k->nr_kept; i += length) {
		length = length_of_finding(k, i);
		if (!is_shown(k, nr++))
			hidden += count_problems(&k->kept[i], length);
	}
	return hidden;
}

/* --- the verdict --- */

enum verdict { CLEAN, LEAKS, REPAIRABLE, LOST };

static const struct {
	const char *word, *state;
	const char *next; /* before and behind the image; NULL: nothing */
	const char *behind;
} verdicts[] = {
	[CLEAN] = { "clean", "Clean: nothing is wrong with this pool.", NULL, NULL },
	[LEAKS] = { "leaks", "Leaks: safe to run with; some space is lost until it is repaired.",
		    "bufio-check --auto-repair ", "" },
	[REPAIRABLE] = { "repairable", "Repairable: no mapping is lost, but the pool is not safe to activate.",
			 "bufio-dump --repair --format=xml ", " | bufio-restore --count-mapped-blocks -i - -o NEW" },
	[LOST] = { "lost", "Mappings lost: copy the metadata first, then repair the copy.",
		   "bufio-dump --repair --format=xml ", " | bufio-restore --count-mapped-blocks -i - -o NEW" },
};

static enum verdict verdict_of(const struct op_result *r)
{
	if (r->problems[SEVERITY_LOSSY])
		return LOST;
	if (r->problems[SEVERITY_FATAL] || r->problems[SEVERITY_REPAIRABLE])
		return REPAIRABLE;
	return r->problems[SEVERITY_LEAK] ? LEAKS : CLEAN;
}

static const char *state_of(const struct check *k, enum verdict v)
{
	const struct op_check_args *a = k->args;

	if (v != CLEAN)
		return verdicts[v].state;
	if (a->superblock_only)
		return "Nothing is wrong with the superblock (nothing else was looked at).";
	if (a->skip_mappings)
		return "Nothing is wrong with the superblock and the devices (mappings and space maps were not looked at).";
	if (k->checked.skip_space_maps)
		return "Nothing is wrong with these trees (space maps were not compared with them).";
	if (k->found[SEVERITY_COSMETIC])
		return "Clean: nothing that matters is wrong with this pool.";
	return verdicts[v].state;
}

static bool needs_check(const struct check *k)
{
	return has_flag(k) && !k->is_cleared;
}

/* New metadata cannot be made by a command without more knowledge; what is lost can be shown. */
static bool wants_a_look(const struct check *k)
{
	return k->nr_of[PROBLEM_DATA_BEYOND] || k->nr_of[PROBLEM_SB_VERSION] || k->nr_of[PROBLEM_SB_DATA_BLOCK_SIZE] ||
	       (k->nr_of[PROBLEM_DEVICE_SMALL] && k->found[SEVERITY_LOSSY]);
}

static bool format_next(const struct check *k, enum verdict v, char *text, size_t size)
{
	const struct op_check_args *a = k->args;
	char image[OP_REASON_MAX];

	op_quote(a->image, image, sizeof(image));
	if (a->use_snapshot || a->has_mapping_root || a->has_details_root)
		return false;
	if (v == CLEAN && needs_check(k) && k->was_checked)
		snprintf(text, size, "bufio-check --clear-needs-check-flag %s", image);
	else if (v > LEAKS && wants_a_look(k))
		snprintf(text, size, "bufio-dump bad %s", image);
	else if (verdicts[v].next)
		snprintf(text, size, "%s%s%s", verdicts[v].next, image, verdicts[v].behind);
	else
		return false;
	return true;
}

static void format_mended(const struct check *k, char *text, size_t size)
{
	int n = 0;

	*text = '\0';
	if (k->is_repaired)
		n = snprintf(text, size, "Repaired: %" PRIu64 " block%s changed; to take that back: bufio-check --undo=%s %s\n",
			     k->nr_repaired, k->nr_repaired == 1 ? "" : "s", k->journal, k->args->image);
	if (k->is_cleared && n >= 0 && (size_t)n < size)
		snprintf(text + n, size - (size_t)n, "Cleared: needs_check is not set any more.\n");
}

static void format_heading(const struct check *k, const struct record_check *r, char *text, size_t size)
{
	int n = snprintf(text, size, "thin-pool metadata%s, transaction %" PRIu64, k->args->use_snapshot ? " snapshot" : "",
			 r->transaction);

	if (r->devices != RECORD_UNKNOWN)
		n += snprintf(text + n, size - (size_t)n, ", %" PRIu64 " device%s", r->devices, r->devices == 1 ? "" : "s");
	if (r->mappings != RECORD_UNKNOWN)
		n += snprintf(text + n, size - (size_t)n, ", %" PRIu64 " mapping%s", r->mappings,
			      r->mappings == 1 ? "" : "s");
	if (r->passes > 1)
		snprintf(text + n, size - (size_t)n, ", read in %" PRIu64 " passes to stay within the memory limit",
			 r->passes);
}

/* "3 problems: 1 lossy, 2 leak". */
static void format_totals(const struct check *k, const struct record_check *r, char *text, size_t size)
{
	uint64_t all = 0;
	int n;

	for (unsigned s = 0; s < NR_SEVERITIES; s++)
		all += k->found[s];
	*text = '\0';
	if (!all)
		return;
	n = snprintf(text, size, "%" PRIu64 " problem%s:", all, all == 1 ? "" : "s");
	for (unsigned s = NR_SEVERITIES, nr = 0; s-- > 0;)
		if (k->found[s])
			n += snprintf(text + n, size - (size_t)n, "%s %" PRIu64 " %s", nr++ ? "," : "", k->found[s],
				      problem_severity_name(s));
	if (r->not_shown)
		n += snprintf(text + n, size - (size_t)n, "; %" PRIu64 " not shown", r->not_shown);
	snprintf(text + n, size - (size_t)n, "\n");
}

static void fill_record(const struct check *k, struct record_check *r)
{
	const uint64_t *problems = k->found;
	bool has_maps = k->was_checked && !k->checked.skip_mappings && !k->checked.skip_space_maps;
	enum verdict v = verdict_of(k->result);

	*r = (struct record_check){
		.image = k->args->image,
		.verdict = verdicts[v].word,
		.state = state_of(k, v),
		.is_complete = has_maps,
		.is_safe = has_maps && v <= LEAKS,
		.transaction = k->pool.sb.trans_id,
		.devices = k->was_checked ? k->checked.nr_devices : RECORD_UNKNOWN,
		.mappings = k->was_checked && !k->checked.skip_mappings ? k->checked.nr_mappings : RECORD_UNKNOWN,
		.metadata_used = has_maps ? k->checked.metadata_used : RECORD_UNKNOWN,
		.metadata_total = has_maps ? k->pool.live.metadata_sm.nr_blocks : RECORD_UNKNOWN,
		.data_used = has_maps ? k->checked.data_used : RECORD_UNKNOWN,
		.data_total = has_maps ? k->pool.live.data_sm.nr_blocks : RECORD_UNKNOWN,
		.passes = k->checked.passes,
		.fatal = problems[SEVERITY_FATAL], .lossy = problems[SEVERITY_LOSSY],
		.repairable = problems[SEVERITY_REPAIRABLE], .leak = problems[SEVERITY_LEAK],
		.cosmetic = problems[SEVERITY_COSMETIC],
		.not_shown = count_not_shown(k),
		.journal = k->is_repaired ? k->journal : NULL,
		.is_cleared = k->is_cleared,
	};
}

static int show(struct check *k, struct text_emitter *e)
{
	struct meta_visitor *v = &e->visitor;
	char heading[256], totals[256], mended[3 * OP_REASON_MAX];
	char next[OP_REASON_MAX + 128], next_text[OP_REASON_MAX + 144] = "";
	struct record_check record;
	int r;

	qsort(k->kept, k->nr_kept, sizeof(*k->kept), compare);
	fill_record(k, &record);
	format_heading(k, &record, heading, sizeof(heading));
	format_totals(k, &record, totals, sizeof(totals));
	format_mended(k, mended, sizeof(mended));
	record.heading = heading;
	record.totals = totals;
	record.mended = mended;
	if (format_next(k, verdict_of(k->result), next, sizeof(next))) {
		record.next = next;
		snprintf(next_text, sizeof(next_text), "Next: %s\n", next);
	}
	record.next_text = next_text;
	r = v->begin(v, RECORD_CHECK, &record);
	if (!r)
		r = show_findings(k, v);
	if (!r)
		r = v->end(v, RECORD_CHECK, &record);
	if (!r)
		r = text_emit_finish(e);
	return r ? r : text_out_flush(&k->out);
}

static void show_report(struct check *k)
{
	struct text_emit_args args = {
		.format = k->args->json ? TEXT_JSON : TEXT_HUMAN, .out = &k->out, .messages = &k->out,
		.schema = "bufio.check/1", .image = k->args->image,
	};
	struct text_emitter *e;
	int r;

	if (k->args->out_fd < 0)
		return;
	e = text_emit_create(&args);
	r = e ? show(k, e) : -ENOMEM;
	if (r)
		op_fail(k->result, OP_OUTPUT, r, "output: %s", strerror(-r));
	text_emit_destroy(e);
}

/* The lines that scripts around thin_check look for. */
static void show_info(struct check *k)
{
	const struct thin_superblock *sb = &k->pool.live;
	uint64_t nr = sb->metadata_sm.nr_blocks, used = sb->metadata_sm.nr_allocated;
	struct text_out out;
	int r;

	if (k->args->info_fd < 0)
		return;
	text_out_init(&out, k->args->info_fd);
	text_printf(&out, "TRANSACTION_ID=%" PRIu64 "\nMETADATA_FREE_BLOCKS=%" PRIu64 "\n", sb->trans_id,
		    nr > used ? nr - used : 0);
	r = text_out_flush(&out);
	if (r)
		op_fail(k->result, OP_OUTPUT, r, "output: %s", strerror(-r));
}

/* --- all --- */

static void run(struct check *k)
{
	if (!create_table(k) || !probe(k) || !open_pool(k))
		return;
	show_info(k);
	if (!check_trees(k))
		return;
	memcpy(k->found, k->result->problems, sizeof(k->found));
	mend(k);
	if (k->result->outcome != OP_DONE)
		return;
	show_report(k);
	if (k->are_leaks_let_be)
		k->result->problems[SEVERITY_LEAK] = 0;
}

void op_check(const struct op_check_args *args, struct op_result *result)
{
	struct check *k = calloc(1, sizeof(*k));

	*result = (struct op_result){ .outcome = OP_DONE };
	if (!k) {
		op_fail(result, OP_INTERNAL, -ENOMEM, "out of memory");
		return;
	}
	k->sink.report = report;
	k->args = args;
	k->result = result;
	op_open_outputs(args->progress, &k->out, args->out_fd, &k->messages, args->message_fd);
	run(k);
	free(k->kept);
	free(k);
}
