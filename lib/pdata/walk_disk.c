// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/walk_disk.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define WORD_BITS 64

/* So few blocks are read before another thread has begun. */
#define FEW 128

/* --- sets of blocks --- */

static uint64_t nr_words(uint64_t nr_blocks)
{
	return nr_blocks / WORD_BITS + 1;
}

/* True if it was not there before. */
static bool set_add(struct pd_block_set *s, uint64_t block)
{
	uint64_t bit = UINT64_C(1) << block % WORD_BITS;

	if (atomic_load_explicit(&s->words[block / WORD_BITS], memory_order_relaxed) & bit)
		return false;
	if (atomic_fetch_or_explicit(&s->words[block / WORD_BITS], bit, memory_order_relaxed) & bit)
		return false;
	atomic_fetch_add_explicit(&s->nr, 1, memory_order_relaxed);
	return true;
}

/* The first block from @from on that is in the set, or is not; @nr if there is none. */
static uint64_t set_find(const struct pd_block_set *s, uint64_t from, uint64_t nr, bool is_in)
{
	while (from < nr) {
		uint64_t word = s->words[from / WORD_BITS];

		word = (is_in ? word : ~word) >> from % WORD_BITS;
		if (word) {
			from += (unsigned)__builtin_ctzll(word);
			return from < nr ? from : nr;
		}
		from += WORD_BITS - from % WORD_BITS;
	}
	return nr;
}

/* --- a level --- */

struct level {
	struct pd_disk_walk *w;
	struct pd_block_set *set;
	int (*again)(void *context, const struct pd_node *leaf); /* for leaves that are known already; or NULL */
	uint64_t at;
};

static bool next_blocks(void *context, uint64_t *block, uint64_t *nr)
{
	struct level *l = context;
	uint64_t end = l->w->reader->nr_blocks;

	*block = set_find(l->set, l->at, end, true);
	l->at = set_find(l->set, *block, end, false);
	*nr = l->at - *block;
	return *nr;
}

/* Whoever goes through the nodes in key order afterwards finds them in the cache, if there is room. */
static void keep(const struct pd_disk_walk *w, uint64_t block)
{
	struct bufio_buffer *b;

	if (bufio_get(w->reader->client, block, &b))
		bufio_release(b);
}

static int see_leaf(struct pd_disk_walk *w, const struct pd_node *n)
{
	int r = w->leaf(w->context, n);

	set_add(&w->leaves, n->block);
	if (r > 0 && n->nr)
		pd_memo_set(w->memo, n->block, pd_key(n, 0), pd_key(n, n->nr - 1), n->nr, 1, false);
	return r < 0 ? r : 0;
}

static int see_node(struct pd_disk_walk *w, const struct pd_node *n)
{
	for (unsigned i = 0; i < n->nr; i++)
		pd_disk_walk_add(w, pd_value64(n, i));
	keep(w, n->block);
	return 0;
}

/* Whoever counted a leaf cannot go on without it: one that is not there any more is an error, not damage. */
static int see_again(const struct level *l, uint64_t block, const void *data, int error)
{
	struct problem p;
	struct pd_node n;
	int r;

	if (error)
		return error;
	if (!pd_node_decode(data, block, l->w->value_size, &n, &p) || !n.is_leaf)
		return -EIO;
	r = l->again(l->w->context, &n);
	return r < 0 ? r : 0;
}

static int see_block(void *context, uint64_t block, const void *data, int error)
{
	const struct level *l = context;
	struct pd_disk_walk *w = l->w;
	struct problem p;
	struct pd_node n;

	pd_advance(w->reader);
	if (l->again)
		return see_again(l, block, data, error);
	if (error)
		return error == -ENOMEM ? error : 0;
	if (!pd_is_block(data, PD_NODE, block) || !pd_node_decode(data, block, w->value_size, &n, &p))
		return 0;
	return n.is_leaf ? see_leaf(w, &n) : see_node(w, &n);
}

/* @threads: 0, as many as there are processors. */
static int scan(struct level *l, unsigned threads)
{
	struct bufio_scan scan = {
		.next = next_blocks, .block = see_block, .context = l, .threads = l->set->nr <= FEW ? 1 : threads,
	};

	return bufio_scan(l->w->reader->client, &scan);
}

/* --- all --- */

uint64_t pd_disk_walk_bytes(uint64_t nr_blocks)
{
	return 5 * nr_words(nr_blocks) * sizeof(uint64_t); /* and the level that is being read, and what is dropped */
}

static int set_create(const struct pd_disk_walk *w, struct pd_block_set *s)
{
	s->nr = 0;
	s->words = calloc(nr_words(w->reader->nr_blocks), sizeof(*s->words));
	return s->words ? 0 : -ENOMEM;
}

int pd_disk_walk_open(struct pd_disk_walk *w)
{
	w->reached = w->next = w->leaves = (struct pd_block_set){ 0 };
	if (set_create(w, &w->reached) || set_create(w, &w->next) || set_create(w, &w->leaves))
		return -ENOMEM;
	return 0;
}

void pd_disk_walk_add(struct pd_disk_walk *w, uint64_t block)
{
	if (block < w->reader->nr_blocks && set_add(&w->reached, block))
		set_add(&w->next, block);
}

int pd_disk_walk_run(struct pd_disk_walk *w)
{
	int r = 0;

	/* No cursor goes deeper; and a level that is one block of a long chain costs a look at the whole set. */
	for (unsigned depth = 0; depth < PD_MAX_DEPTH && w->next.nr && !r; depth++) {
		struct pd_block_set level = w->next;
		struct level l = { .w = w, .set = &level };

		r = set_create(w, &w->next);
		if (!r)
			r = scan(&l, 0);
		free(level.words);
	}
	return r;
}

int pd_disk_walk_leaves(struct pd_disk_walk *w)
{
	struct level l = { .w = w, .set = &w->leaves, .again = w->leaf };

	return scan(&l, 0);
}

bool pd_disk_walk_has_leaf(const struct pd_disk_walk *w, uint64_t block)
{
	return block < w->reader->nr_blocks && w->leaves.words[block / WORD_BITS] >> block % WORD_BITS & 1;
}

int pd_disk_walk_drop(struct pd_disk_walk *w, const uint64_t *accepted,
		      int (*drop)(void *context, const struct pd_node *leaf))
{
	struct pd_block_set dropped;
	struct level l = { .w = w, .set = &dropped, .again = drop };
	uint64_t nr = nr_words(w->reader->nr_blocks);
	int r = set_create(w, &dropped);

	for (uint64_t i = 0; i < nr && !r; i++) {
		dropped.words[i] = w->leaves.words[i] & ~accepted[i];
		dropped.nr += (unsigned)__builtin_popcountll(dropped.words[i]);
		w->leaves.words[i] &= accepted[i];
	}
	if (!r && dropped.nr)
		r = scan(&l, 1);
	free(dropped.words);
	return r;
}

void pd_disk_walk_close(struct pd_disk_walk *w)
{
	free(w->reached.words);
	free(w->next.words);
	free(w->leaves.words);
}
