// SPDX-License-Identifier: LGPL-2.1-or-later
/* Operations on ranges and on the whole client. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "model.h"

static bool alone(void)
{
	return w.config.threads == 1 || w.resting;
}

static bool holds_any(const struct thread *t)
{
	return t->nr_hoard || t->holds_one;
}

/* Of a call that may return 0, the injected error, or @also. */
static void expect(const char *what, int r, int also)
{
	if (r && r != also)
		expect_injected(what, r);
}

/* --- ranges --- */

void op_prefetch(struct thread *t)
{
	uint64_t block = pick_block(t);

	if (pthread_rwlock_tryrdlock(&w.strangers))
		return;
	bufio_prefetch(w.c, block, 1 + roll(t, roll(t, 4) ? 8 : 2 * NR_BLOCKS));
	pthread_rwlock_unlock(&w.strangers);
}

void op_forget(struct thread *t)
{
	bufio_forget(w.c, pick_block(t));
}

void op_forget_range(struct thread *t)
{
	static const uint64_t many[] = { NR_BLOCKS, UINT64_MAX, 3, 16, 40 };

	bufio_forget_buffers(w.c, pick_block(t), many[roll(t, 5)]);
}

/* Writers' locks of up to @nr blocks; how many. */
static uint64_t lock_range(struct thread *t, uint64_t block, uint64_t nr, bool write)
{
	uint64_t n = 0;

	while (n < nr && block + n < NR_BLOCKS && lock_block(t, block + n, write))
		n++;
	return n;
}

static void unlock_range(struct thread *t, uint64_t block, uint64_t nr)
{
	while (nr--)
		unlock_block(t, block + nr);
}

static bool any_is_dirty(uint64_t block, uint64_t nr)
{
	while (nr--)
		if (!w.blocks[block + nr].doubtful && !is_on_device(block + nr))
			return true;
	return false;
}

static void discarded(uint64_t block)
{
	struct bufio_buffer *b;

	becomes_discarded(block);
	check_on_device(block);
	if (bufio_get(w.c, block, &b) || errno != ENOENT)
		fail("block %" PRIu64 " was discarded, and is cached", block);
}

/* The device was asked to, and has failed. */
static bool discard_fails(uint64_t count_before)
{
	const struct io_fault_plan *p = &w.plan;

	return p->kinds == IO_FAULT_DISCARD && p->count > count_before && p->fail_at &&
	       (p->count == p->fail_at || (p->sticky && p->count > p->fail_at));
}

static void discard(uint64_t block, uint64_t nr)
{
	bool dirty = w.exact && any_is_dirty(block, nr);
	uint64_t count = w.config.kinds ? w.plan.count : 0;
	int r = bufio_issue_discard(w.c, block, nr);

	if (w.config.kinds && discard_fails(count) != (r == -w.plan.error))
		fail("bufio_issue_discard: %s", strerror(-r));
	if (r == -EOPNOTSUPP && w.fd >= 0)
		return;
	expect("bufio_issue_discard", r, -EBUSY);
	if (r)
		return;
	if (dirty)
		fail("blocks from %" PRIu64 " on are dirty, and were discarded", block);
	for (uint64_t i = 0; i < nr; i++)
		discarded(block + i);
}

void op_discard(struct thread *t)
{
	uint64_t block = pick_block(t), nr = 1 + roll(t, 4);

	if (pthread_rwlock_trywrlock(&w.strangers))
		return;
	nr = lock_range(t, block, nr, true);
	if (nr)
		discard(block, nr);
	unlock_range(t, block, nr);
	pthread_rwlock_unlock(&w.strangers);
}

void op_discard_held(struct thread *t)
{
	uint64_t block = pick_block(t);
	struct held h;
	int r;

	if (!lock_block(t, block, true))
		return;
	if (take(block, &h)) {
		r = bufio_issue_discard(w.c, block, 1);
		if (r != -EBUSY)
			fail("bufio_issue_discard of a held block: %s", strerror(-r));
		check_cached(block, h.data);
		give_up(&h);
	}
	unlock_block(t, block);
}

/* --- writing --- */

/* A failed flush is final, and comes after the error of a write. Sets r to what is left to explain. */
static int without_flush_error(const char *what, int r)
{
	bool dead = w.config.kinds == IO_FAULT_FLUSH && w.plan.fail_at && w.plan.count >= w.plan.fail_at;

	if (dead && r != -w.plan.error)
		fail("%s: %s, after a failed flush", what, strerror(-r));
	return dead ? 0 : r;
}

struct sample {
	uint64_t block, generation;
	bool known;
};

#define NR_SAMPLES 8

static void look_at(struct thread *t, struct sample *s)
{
	struct block *b = &w.blocks[s->block];

	s->known = lock_block(t, s->block, false);
	if (!s->known)
		return;
	pthread_mutex_lock(&b->content);
	s->known = !b->doubtful;
	pthread_mutex_unlock(&b->content);
	s->generation = b->generation;
	unlock_block(t, s->block);
}

/* What nobody has changed since must be on the device. */
static void look_again(struct thread *t, const struct sample *s)
{
	if (!s->known || !lock_block(t, s->block, false))
		return;
	if (w.blocks[s->block].generation == s->generation)
		check_on_device(s->block);
	unlock_block(t, s->block);
}

void op_write_dirty(struct thread *t)
{
	unsigned reports = atomic_load(&w.reports);
	struct sample samples[NR_SAMPLES];
	int r;

	for (unsigned i = 0; i < NR_SAMPLES; i++) {
		samples[i].block = pick_block(t);
		look_at(t, &samples[i]);
	}
	r = bufio_write_dirty_buffers(w.c);
	r = without_flush_error("bufio_write_dirty_buffers", r);
	if (r)
		expect_injected("bufio_write_dirty_buffers", r);
	if (r && alone() && atomic_load(&w.reports) == reports)
		fail("bufio_write_dirty_buffers: %s, and no block was reported", strerror(-r));
	for (unsigned i = 0; !r && i < NR_SAMPLES; i++)
		look_again(t, &samples[i]);
	if (!r && alone())
		check_device();
}

void op_write_async(struct thread *t)
{
	(void)t;
	bufio_write_dirty_buffers_async(w.c);
}

void op_flush(struct thread *t)
{
	int r = without_flush_error("bufio_issue_flush", bufio_issue_flush(w.c));

	(void)t;
	if (r)
		fail("bufio_issue_flush: %s", strerror(-r));
}

void op_percent(struct thread *t)
{
	unsigned percent = (unsigned)(1 + roll(t, 100));

	if (bufio_set_dirty_percent(w.c, percent) || (alone() && bufio_get_dirty_percent(w.c) != percent))
		fail("bufio_set_dirty_percent %u", percent);
	if (bufio_set_dirty_percent(w.c, 0) != -EINVAL || bufio_set_dirty_percent(w.c, 101) != -EINVAL)
		fail("bufio_set_dirty_percent takes anything");
}

/* --- memory --- */

/* Without holds and other threads nothing is an excuse. */
static void check_current(const struct thread *t, uint64_t limit)
{
	struct bufio_stats s;

	bufio_get_stats(w.c, &s);
	if (alone() && !holds_any(t) && s.current_bytes > limit)
		fail("%" PRIu64 " bytes in use, the limit is %" PRIu64, s.current_bytes, limit);
}

void op_limit(struct thread *t)
{
	uint64_t floor = bufio_get_memory_floor(w.c), bytes = floor;
	int r;

	if (roll(t, 3))
		bytes += roll(t, 1 + roll(t, 48) * (w.config.block_size + 100));
	note_limit(bytes);
	r = bufio_set_memory_limit(w.c, bytes);
	expect("bufio_set_memory_limit", r, alone() ? 0 : -EINVAL); /* the floor may have risen */
	if (!r)
		check_current(t, bytes);
	if (!alone())
		return;
	if (bufio_get_memory_limit(w.c) != bytes)
		fail("the limit is not what was set");
	if (bufio_set_memory_limit(w.c, floor - 1) != -EINVAL)
		fail("a limit below the floor was taken");
}

void op_minimum(struct thread *t)
{
	int r;


	note_limit(w.most_minimum_limit);
	r = bufio_set_minimum_buffers(w.c, (unsigned)roll(t, MAX_MINIMUM + 1));
	if (r)
		fail("bufio_set_minimum_buffers: %s", strerror(-r));
	if (alone() && bufio_get_memory_limit(w.c) < bufio_get_memory_floor(w.c))
		fail("the limit is below the floor");
}

void op_reset(struct thread *t)
{
	int r = bufio_client_reset(w.c);
	struct bufio_buffer *b;

	r = without_flush_error("bufio_client_reset", r);
	if (!r && alone() && holds_any(t) && w.config.kinds != IO_FAULT_FLUSH)
		fail("bufio_client_reset does not say that buffers are held");
	expect("bufio_client_reset", r, alone() && !holds_any(t) ? 0 : -EBUSY);
	if (r || !alone() || holds_any(t))
		return;
	check_device();
	for (uint64_t i = 0; i < NR_BLOCKS; i++)
		if (bufio_get(w.c, i, &b) || errno != ENOENT)
			fail("block %" PRIu64 " is cached after bufio_client_reset", i);
}

/* The first fifteen are counters, which do not go back. */
void op_stats(struct thread *t)
{
	struct bufio_stats s;
	const uint64_t *now = (const uint64_t *)&s, *before = (const uint64_t *)&t->last;

	bufio_get_stats(w.c, &s);
	for (unsigned i = 0; i < 15; i++)
		if (now[i] < before[i])
			fail("counter %u of the statistics went back from %" PRIu64 " to %" PRIu64, i, before[i],
			     now[i]);
	if (s.peak_bytes > atomic_load(&w.max_limit))
		fail("%" PRIu64 " bytes were used, the highest limit was %" PRIu64, s.peak_bytes,
		     (uint64_t)atomic_load(&w.max_limit));
	if (s.dirty > NR_BLOCKS)
		fail("%" PRIu64 " dirty buffers", s.dirty);
	t->last = s;
}

void op_past_end(struct thread *t)
{
	uint64_t block = roll(t, 2) ? NR_BLOCKS : UINT64_MAX - roll(t, 3);
	struct bufio_buffer *b;

	if (bufio_get_device_size(w.c) != NR_BLOCKS)
		fail("the device has %" PRIu64 " blocks", bufio_get_device_size(w.c));
	if (bufio_read(w.c, block, &b) || errno != EINVAL || bufio_get(w.c, block, &b) || errno != EINVAL ||
	    bufio_new(w.c, block, &b) || errno != EINVAL)
		fail("block %" PRIu64 " can be had", block);
	if (bufio_issue_discard(w.c, block, 1) != -EINVAL || bufio_issue_discard(w.c, NR_BLOCKS - 1, 2) != -EINVAL)
		fail("block %" PRIu64 " can be discarded", block);
	bufio_prefetch(w.c, block, UINT64_MAX);
	bufio_forget_buffers(w.c, block, UINT64_MAX);
}

/* --- scanning --- */

/* Two ranges with a gap of one block between them, each of which may be empty; or, with gap == nr, all. */
struct scanned {
	uint64_t first, nr, gap;
	unsigned nr_asked;
	uint64_t expected; /* next, if in order */
	bool in_order, looks, reads;
	uint64_t stop_at;
	atomic_uint seen[NR_BLOCKS];
};

#define STOPPED 4711

static bool next_range(void *context, uint64_t *block, uint64_t *nr)
{
	struct scanned *s = context;

	*block = s->nr_asked ? s->first + s->gap + 1 : s->first;
	*nr = s->nr_asked ? s->nr - s->gap - 1 : s->gap;
	return s->nr_asked++ < 2;
}

/* Another block, whose contents may be anybody's. */
static void read_meanwhile(uint64_t block)
{
	struct bufio_buffer *b;

	if (!bufio_read(w.c, (block + NR_BLOCKS / 2) % NR_BLOCKS, &b))
		expect_injected("bufio_read in a scan", -errno);
	else if (bufio_release(b))
		fail("bufio_release in a scan");
}

static int scan_block(void *context, uint64_t block, const void *data, int error)
{
	struct scanned *s = context;

	if (block < s->first || block >= s->first + s->nr || block == s->first + s->gap)
		fail("bufio_scan brings block %" PRIu64 " unasked", block);
	if (atomic_fetch_add(&s->seen[block], 1))
		fail("bufio_scan brings block %" PRIu64 " twice", block);
	if (s->in_order && block < s->expected)
		fail("bufio_scan brings block %" PRIu64 " too late", block);
	if (s->in_order)
		s->expected = block + 1;
	if (!error != !!data)
		fail("bufio_scan brings data and error %d", error);
	if (error)
		expect_injected("bufio_scan", error);
	else if (s->looks)
		check_cached(block, data);
	if (s->reads)
		read_meanwhile(block);
	return block == s->stop_at ? STOPPED : 0;
}

static void check_scan(const struct scanned *s, int r)
{
	bool stops = s->stop_at >= s->first && s->stop_at < s->first + s->nr && s->stop_at != s->first + s->gap;

	expect("bufio_scan", r, stops ? STOPPED : 0);
	for (uint64_t i = 0; !r && i < s->nr; i++)
		if (atomic_load(&s->seen[s->first + i]) != (i != s->gap))
			fail("bufio_scan did not bring block %" PRIu64, s->first + i);
	if (!r && stops)
		fail("bufio_scan was stopped, and does not say so");
}

static void scan(struct thread *t, uint64_t first, uint64_t nr, bool looks)
{
	struct scanned s = { .first = first, .nr = nr, .gap = nr, .looks = looks };
	struct bufio_scan what = { .block = scan_block, .context = &s, .first_block = first, .nr_blocks = nr };

	if (roll(t, 4)) {
		what.next = next_range;
		s.gap = roll(t, nr);
	}
	s.in_order = what.in_order = roll(t, 2);
	what.threads = alone() || what.in_order ? 1 : (unsigned)roll(t, 3);
	what.window = roll(t, 2) ? roll(t, 32) * w.config.block_size : 0;
	s.stop_at = roll(t, 4) ? UINT64_MAX : first + roll(t, nr);
	/* One at a time: under a lowered limit, callbacks that all want another buffer would wait for each other. */
	s.reads = !looks && roll(t, 2) && !atomic_exchange(&w.scan_reads, true);
	check_scan(&s, bufio_scan(w.c, &what));
	if (s.reads)
		atomic_store(&w.scan_reads, false);
}

void op_scan(struct thread *t)
{
	uint64_t block = pick_block(t), nr = 1 + roll(t, 24);

	nr = lock_range(t, block, nr, false);
	if (nr)
		scan(t, block, nr, true);
	unlock_range(t, block, nr);
}

/* Among those who change the blocks, so without looking. */
void op_blind_scan(struct thread *t)
{
	uint64_t block = roll(t, NR_BLOCKS), nr = 1 + roll(t, NR_BLOCKS - block);

	if (pthread_rwlock_tryrdlock(&w.strangers))
		return;
	bufio_set_read_ahead(w.c, roll(t, 2) ? roll(t, 64) * w.config.block_size : UINT64_C(8) << 20);
	scan(t, block, nr, false);
	pthread_rwlock_unlock(&w.strangers);
}
