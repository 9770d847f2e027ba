// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What LVM's backup adds to a view: names beside device ids, and whether LVM and the pool fit together.
 *
 * What LVM does about other numbers than the pool's was measured with LVM 2.03: a pool that is one behind is taken,
 * as the change that LVM wrote down first may not have reached it; every other is refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "ops/dump_int.h"

static const char *name_device(void *context, uint64_t dev_id)
{
	return dump_device_name(context, dev_id);
}

const char *dump_device_name(const struct dump *d, uint64_t dev_id)
{
	const struct lvm_volume *v = d->lvm_pool ? text_lvm_volume(d->lvm, d->lvm_pool, dev_id) : NULL;

	return v ? v->name : NULL;
}

/* The one that was asked for, or is the only one. */
static bool take_pool(struct dump *d)
{
	const char *name = d->args->lvm_pool;

	if (!d->lvm->nr_pools) {
		op_fail(d->result, OP_USAGE, 0, "%s: volume group %s has no thin pool", d->args->lvm_backup,
			d->lvm->group);
		return false;
	}
	if (name)
		d->lvm_pool = text_lvm_pool(d->lvm, name);
	else if (d->lvm->nr_pools == 1)
		d->lvm_pool = d->lvm->pools;
	if (name && !d->lvm_pool)
		op_fail(d->result, OP_USAGE, 0, "%s: volume group %s has no thin pool %s", d->args->lvm_backup,
			d->lvm->group, name);
	return !name || d->lvm_pool;
}

bool dump_open_lvm(struct dump *d)
{
	char reason[LVM_REASON_MAX];

	if (!d->args->lvm_backup)
		return true;
	d->lvm = text_lvm_create(d->args->lvm_backup, reason);
	if (!d->lvm) {
		op_fail(d->result, errno == EINVAL ? OP_USAGE : errno == ENOMEM ? OP_INTERNAL : OP_INPUT, -errno, "%s",
			reason);
		return false;
	}
	d->names = (struct text_names){ name_device, d };
	return take_pool(d);
}

void dump_close_lvm(struct dump *d)
{
	text_lvm_destroy(d->lvm);
}

/* --- which pool --- */

/* Through the devices of the pool, without reports: views tell what is damaged themselves. */
struct walk {
	struct thin_pool pool;
	struct thin_devices devices;
};

static void walk_open(struct walk *w, const struct dump *d)
{
	w->pool = d->pool;
	w->pool.reader.sink = &problem_silent;
	w->pool.reader.observer = NULL;
	w->pool.reader.progress = NULL; /* what it reads is read again */
	thin_devices_open(&w->devices, &w->pool);
}

static int find_devices(struct dump *d)
{
	struct thin_device device;
	struct walk w;
	int r;

	walk_open(&w, d);
	while ((r = thin_devices_next(&w.devices, &device)) > 0) {
		d->nr_devices++;
		text_lvm_found(d->lvm, device.id);
	}
	d->devices_may_miss = w.devices.details.holes || w.devices.top.holes;
	thin_devices_close(&w.devices);
	return r;
}

static bool has_other_chunks(const struct dump *d, const struct lvm_pool *pool)
{
	return pool->chunk_sectors != LVM_UNKNOWN && pool->chunk_sectors != d->pool.live.data_block_size;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a < b ? b - a : a - b;
}

/* How badly a pool of the backup fits the metadata; the first that differs decides. */
struct misfit {
	uint64_t by[3];
};

static struct misfit misfit_of(const struct dump *d, const struct lvm_pool *pool)
{
	return (struct misfit){ {
		has_other_chunks(d, pool),
		d->nr_devices + pool->nr_volumes - 2 * (uint64_t)pool->nr_found,
		distance(pool->transaction, d->pool.live.trans_id),
	} };
}

static int compare_misfits(const struct misfit *a, const struct misfit *b)
{
	for (unsigned i = 0; i < sizeof(a->by) / sizeof(*a->by); i++)
		if (a->by[i] != b->by[i])
			return a->by[i] < b->by[i] ? -1 : 1;
	return 0;
}

/* False: two fit equally well. */
static bool take_best_pool(struct dump *d)
{
	struct lvm_pool *best = d->lvm->pools, *other = NULL;
	struct misfit least = misfit_of(d, best);

	for (size_t i = 1; i < d->lvm->nr_pools; i++) {
		struct misfit m = misfit_of(d, &d->lvm->pools[i]);
		int c = compare_misfits(&m, &least);

		if (c < 0) {
			best = &d->lvm->pools[i];
			least = m;
		}
		if (c <= 0)
			other = c ? NULL : &d->lvm->pools[i];
	}
	if (other)
		op_fail(d->result, OP_USAGE, 0, "%s: the thin pools %s and %s fit equally well: name one with --lvm-pool",
			d->args->lvm_backup, best->name, other->name);
	else
		d->lvm_pool = best;
	return !other;
}

/* --- whether they fit together --- */

enum lvm_state { LVM_EQUAL, LVM_SILENT, LVM_ONE_AHEAD, LVM_AHEAD, LVM_BEHIND, LVM_OTHER_CHUNKS };

static const struct {
	const char *name, *text;
	bool refuses;
} states[] = {
	[LVM_EQUAL] = { "equal", "as the pool", false },
	[LVM_SILENT] = { "unknown", "not in the backup", false },
	[LVM_ONE_AHEAD] = { "lvm-one-ahead", "one ahead of the pool, which LVM takes", false },
	[LVM_AHEAD] = { "lvm-ahead", "newer than the pool: LVM refuses to activate it", true },
	[LVM_BEHIND] = { "lvm-behind", "older than the pool: LVM refuses to activate it", true },
	[LVM_OTHER_CHUNKS] = { "other-chunk-size", "with other chunks than the pool: it cannot be activated", true },
};

static enum lvm_state lvm_state(const struct dump *d)
{
	uint64_t lvm = d->lvm_pool->transaction, pool = d->pool.live.trans_id;

	if (has_other_chunks(d, d->lvm_pool))
		return LVM_OTHER_CHUNKS;
	if (lvm == LVM_UNKNOWN)
		return LVM_SILENT;
	if (lvm == pool)
		return LVM_EQUAL;
	return lvm < pool ? LVM_BEHIND : lvm == pool + 1 ? LVM_ONE_AHEAD : LVM_AHEAD;
}

/* Why LVM refuses, and what to do; empty if it does not. */
static void advise(const struct dump *d, char text[LVM_REASON_MAX])
{
	const char *group = d->lvm->group, *name = d->lvm_pool->name;
	uint64_t lvm = d->lvm_pool->transaction, pool = d->pool.live.trans_id;
	char lvm_size[UNITS_SIZE_MAX], pool_size[UNITS_SIZE_MAX];

	*text = '\0';
	switch (lvm_state(d)) {
	case LVM_BEHIND:
		snprintf(text, LVM_REASON_MAX,
			 "LVM refuses to activate %s/%s: it expects transaction %" PRIu64 ", the pool is at %" PRIu64
			 "; restore a newer backup of the group, one with transaction_id = %" PRIu64
			 " for %s: vgcfgrestore --force -f FILE %s; or a copy of this one with that number, where devices "
			 "that LVM does not know stay without a volume", group, name, lvm, pool, pool, name, group);
		break;
	case LVM_AHEAD:
		snprintf(text, LVM_REASON_MAX,
			 "LVM refuses to activate %s/%s: it expects transaction %" PRIu64 ", the pool is at %" PRIu64
			 "; if the pool was repaired from an older root, restore a copy of the backup with transaction_id = %"
			 PRIu64 " for %s: vgcfgrestore --force -f FILE %s; or dump with --transaction-id=%" PRIu64
			 " and restore that", group, name, lvm, pool, pool, name, group, lvm);
		break;
	case LVM_OTHER_CHUNKS:
		snprintf(text, LVM_REASON_MAX,
			 "%s/%s cannot be activated: LVM has chunks of %s, the pool has %s; is this the backup of another "
			 "pool? Else find out which is right before anything is written", group, name,
			 units_format_size(d->lvm_pool->chunk_sectors * 512, lvm_size),
			 units_format_size((uint64_t)d->pool.live.data_block_size * 512, pool_size));
		break;
	case LVM_EQUAL: case LVM_SILENT: case LVM_ONE_AHEAD:
		break;
	}
}

/* In views that have no place for it. */
static void tell(struct dump *d, bool was_chosen)
{
	const char *program = d->args->program;
	char text[LVM_REASON_MAX];

	if (d->args->view == DUMP_SUMMARY)
		return;
	if (was_chosen)
		text_printf(&d->messages, "%s: names are those of thin pool %s/%s, which fits best\n", program,
			    d->lvm->group, d->lvm_pool->name);
	advise(d, text);
	if (*text) {
		text_printf(&d->messages, "%s: ", program);
		text_puts(&d->messages, text);
		text_put(&d->messages, "\n", 1);
	}
	text_out_flush(&d->messages);
}

bool dump_choose_lvm_pool(struct dump *d)
{
	bool was_chosen = !d->lvm_pool;
	int r;

	if (!d->lvm)
		return true;
	r = find_devices(d);
	if (r)
		dump_fail_errno(d, r);
	if (r || (was_chosen && !take_best_pool(d)))
		return false;
	d->result->lvm_refuses = states[lvm_state(d)].refuses;
	tell(d, was_chosen);
	return true;
}

/* --- in the summary --- */

void dump_fill_lvm(const struct dump *d, struct dump_lvm_texts *lvm, struct record_summary *s)
{
	const struct lvm_pool *pool = d->lvm_pool;
	uint64_t transaction = pool ? pool->transaction : RECORD_UNKNOWN;
	char number[24] = "";

	*lvm = (struct dump_lvm_texts){ 0 };
	s->lvm_transaction = transaction;
	s->lvm_line = lvm->line;
	s->lvm_ending = lvm->ending;
	s->lvm_heading = "";
	if (!pool)
		return;
	if (transaction != LVM_UNKNOWN)
		snprintf(number, sizeof(number), "%" PRIu64 ", ", transaction);
	snprintf(lvm->line, sizeof(lvm->line), "lvm             %s/%s, transaction %s%s\n", d->lvm->group, pool->name,
		 number, states[lvm_state(d)].text);
	advise(d, lvm->advice);
	if (*lvm->advice)
		snprintf(lvm->ending, sizeof(lvm->ending), "%.*s.\n", LVM_REASON_MAX - 3, lvm->advice);
	s->lvm_heading = "          name";
	s->lvm_group = d->lvm->group;
	s->lvm_pool = pool->name;
	s->lvm_state = states[lvm_state(d)].name;
	s->lvm_advice = *lvm->advice ? lvm->advice : NULL;
}

/* With a blank line in front of the first. */
static int emit_stray(struct dump *d, enum record_kind kind, uint64_t dev_id, const char *message, bool *is_first)
{
	struct record_stray stray = { .dev_id = dev_id, .message = message, .lead = *is_first ? "\n" : "" };
	struct meta_visitor *v = &d->emitter->visitor;

	if (d->args->only_device && dev_id != d->args->dev_id)
		return 0;
	*is_first = false;
	return v->record(v, kind, &stray);
}

static int emit_devices(struct dump *d, bool *is_first)
{
	struct thin_device device;
	struct walk w;
	int r;

	walk_open(&w, d);
	while ((r = thin_devices_next(&w.devices, &device)) > 0) {
		if (dump_device_name(d, device.id))
			continue;
		r = emit_stray(d, RECORD_NOT_IN_LVM, device.id,
			       "not known to LVM; it was removed there, but not from the pool, or the backup is older", is_first);
		if (r)
			break;
	}
	thin_devices_close(&w.devices);
	return r;
}

int dump_emit_strays(struct dump *d)
{
	const char *message = d->devices_may_miss ?
		"not found in the pool; the trees of devices are damaged, so it may be there" :
		"not in the pool; its mappings are gone, or the backup is newer";
	bool is_first = true;
	int r = 0;

	if (!d->lvm_pool)
		return 0;
	for (size_t i = 0; i < d->lvm->nr_volumes && !r; i++)
		if (d->lvm->volumes[i].pool == d->lvm_pool && !d->lvm->volumes[i].found)
			r = emit_stray(d, RECORD_NOT_IN_POOL, d->lvm->volumes[i].dev_id, message, &is_first);
	return r ? r : emit_devices(d, &is_first);
}
