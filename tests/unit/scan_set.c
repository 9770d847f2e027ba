// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>

#include "scan_set.h"

const unsigned some_threads[NR_THREAD_COUNTS] = { 1, 2, 5, 0 };

struct set set;

bool set_next(void *context, uint64_t *block, uint64_t *nr)
{
	struct set *s = context;
	bool more = s->at < s->nr_ranges;

	s->nr_wrong += atomic_fetch_add(&s->nr_inside_next, 1) != 0;
	if (more) {
		*block = s->ranges[s->at].block;
		*nr = s->ranges[s->at].nr;
		s->at++;
	}
	atomic_fetch_sub(&s->nr_inside_next, 1);
	return more;
}

int set_take(void *context, uint64_t block, const void *data, int error)
{
	struct set *s = context;
	unsigned call = atomic_fetch_add(&s->nr_calls, 1);

	if (call < 2 * NR_BLOCKS)
		s->order[call] = block;
	if (block < NR_BLOCKS) {
		s->seen[block]++;
		s->failed[block] = error;
	}
	if (error) {
		s->nr_wrong += data != NULL;
		s->nr_errors++;
		s->error = error;
	} else {
		s->nr_wrong += !s->also && rig_value_of(data, BLOCK) != rig_pattern(block);
	}
	if (s->also && s->also(s, block))
		s->nr_wrong++;
	return s->end_at && call + 1 >= s->end_at ? s->value : 0;
}

void set_add(uint64_t block, uint64_t nr)
{
	CU_ASSERT_TRUE_FATAL(set.nr_ranges < MAX_RANGES);
	set.ranges[set.nr_ranges].block = block;
	set.ranges[set.nr_ranges++].nr = nr;
}

void set_clear(void)
{
	memset(&set, 0, sizeof(set));
}

int set_scan_with(struct set *s, unsigned threads, bool in_order, uint64_t window)
{
	struct bufio_scan what = { .next = set_next, .block = set_take, .context = s, .threads = threads,
				   .in_order = in_order, .window = window };

	s->caller = pthread_self();
	return bufio_scan(rig.c, &what);
}

int set_scan(unsigned threads)
{
	return set_scan_with(&set, threads, false, 0);
}

void set_setup(void)
{
	rig_setup(BLOCK, NR_BLOCKS);
	set_clear();
}

void set_setup_everything(unsigned buffers)
{
	set_setup();
	rig_set_buffers(buffers);
	set_add(0, NR_BLOCKS);
}

void set_expect(void)
{
	unsigned want[NR_BLOCKS] = { 0 }, nr = 0, wrong = 0;

	for (unsigned i = 0; i < set.nr_ranges; i++)
		for (uint64_t n = 0; n < set.ranges[i].nr; n++)
			want[set.ranges[i].block + n]++;
	for (unsigned i = 0; i < NR_BLOCKS; i++) {
		wrong += set.seen[i] != want[i];
		nr += want[i];
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(set.nr_calls, nr);
	CU_ASSERT_EQUAL(set.nr_wrong, 0);
}
