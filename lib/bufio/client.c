// SPDX-License-Identifier: LGPL-2.1-or-later
/* Creating, destroying, and asking about a client. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bufio/bufio_int.h"

#define MAX_BLOCK_SIZE (1u << 30)
#define MAX_AUX_SIZE (1u << 16)
#define MAX_MINIMUM_BUFFERS (1u << 24)
#define DEFAULT_DIRTY_PERCENT 75
#define DEFAULT_READ_AHEAD (UINT64_C(8) << 20)

static uint64_t default_limit(const struct bufio_client *c)
{
	uint64_t bytes = memory_available("") / 16;

	if (bytes < UINT64_C(8) << 20)
		bytes = UINT64_C(8) << 20;
	if (bytes > UINT64_C(256) << 20)
		bytes = UINT64_C(256) << 20;
	return bytes > bufio_get_memory_floor(c) ? bytes : bufio_get_memory_floor(c);
}

static bool is_valid_size(const struct bufio_device *dev, unsigned block_size, unsigned reserved, unsigned aux_size)
{
	return block_size && block_size % 512 == 0 && block_size % dev->info.alignment == 0 &&
	       block_size <= MAX_BLOCK_SIZE && reserved && reserved <= 1u << 20 && aux_size <= MAX_AUX_SIZE;
}

static void init_transfers(struct bufio_client *c)
{
	for (unsigned i = 0; i < NR_TRANSFERS; i++) {
		c->transfers[i].next = c->free_transfers;
		c->free_transfers = &c->transfers[i];
	}
}

static void init_lists(struct bufio_client *c)
{
	list_init(&c->cold);
	list_init(&c->hot);
	list_init(&c->dirty);
	list_init(&c->writing);
	list_init(&c->batch);
	list_init(&c->unused);
}

static void free_client(struct bufio_client *c)
{
	memory_release_all(c);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* Zeroed, and on a cache line of its own. */
static struct bufio_client *alloc_client(void)
{
	struct bufio_client *c = aligned_alloc(alignof(struct bufio_client), sizeof(*c));

	if (c)
		memset(c, 0, sizeof(*c));
	return c;
}

struct bufio_client *bufio_client_create(struct bufio_device *dev, unsigned block_size, unsigned reserved_buffers,
					 unsigned aux_size, void (*alloc_callback)(struct bufio_buffer *),
					 void (*write_callback)(struct bufio_buffer *))
{
	struct bufio_client *c;
	int r;

	if (!is_valid_size(dev, block_size, reserved_buffers, aux_size)) {
		errno = EINVAL;
		return NULL;
	}
	c = alloc_client();
	if (!c)
		return NULL;
	c->dev = dev;
	c->block_size = block_size;
	c->reserved = reserved_buffers;
	c->aux_size = aux_size;
	c->nr_blocks = dev->info.size / block_size;
	c->alloc_callback = alloc_callback;
	c->write_callback = write_callback;
	c->dirty_percent = DEFAULT_DIRTY_PERCENT;
	c->read_ahead = DEFAULT_READ_AHEAD;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	init_lists(c);
	init_transfers(c);
	r = memory_set_limit(c, default_limit(c));
	if (!r)
		r = apply_environment(c);
	if (r) {
		free_client(c);
		errno = -r;
		return NULL;
	}
	return c;
}

static unsigned report_leaks(struct bufio_client *c, struct list *queue)
{
	unsigned n = 0;

	for (struct list *l = queue->next; l != queue; l = l->next) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (!is_held(b))
			continue;
		n++;
		if (c->report)
			c->report(c->report_context, BUFIO_REPORT_LEAKED_HOLD, block_of(b), 0);
	}
	return n;
}

/* Reads that were started and that nobody waited for. */
static void wait_for_reads(struct bufio_client *c)
{
	while (c->nr_inflight)
		wait_event(c);
}

int bufio_client_destroy(struct bufio_client *c)
{
	unsigned leaks;
	int r;

	if (!c)
		return 0;
	r = bufio_write_dirty_buffers(c);
	pthread_mutex_lock(&c->lock);
	wait_for_reads(c);
	leaks = report_leaks(c, &c->cold) + report_leaks(c, &c->hot) + report_leaks(c, &c->dirty);
	pthread_mutex_unlock(&c->lock);
	trace_detach(c);
	free_client(c);
	return r ? r : leaks ? -EBUSY : 0;
}

/* With the client locked. */
static int change_limit(struct bufio_client *c, uint64_t bytes)
{
	int r = memory_set_limit(c, bytes);

	if (r)
		return r;
	if (c->over_limit) {
		r = evict_surplus(c);
		/* It was kept large enough for those that had to go; if this fails it stays so. */
		if (!c->over_limit)
			index_resize(c, c->nr_max);
	}
	memory_trim(c);
	signal_event(c); /* there may be room now for who waits for some */
	return r;
}

static void measure_device(struct bufio_client *c)
{
	uint64_t size = c->dev->info.size;

	c->nr_blocks = size > c->offset ? (size - c->offset) / c->block_size : 0;
}

int bufio_client_reset(struct bufio_client *c)
{
	int r = bufio_write_dirty_buffers(c), refresh_error;
	uint64_t left;

	pthread_mutex_lock(&c->lock);
	wait_for_reads(c);
	left = forget_range(c, 0, UINT64_MAX);
	refresh_error = c->dev->ops->refresh(c->dev);
	measure_device(c);
	if (!refresh_error)
		refresh_error = change_limit(c, c->limit); /* there may be more blocks to have buffers for */
	pthread_mutex_unlock(&c->lock);
	return r ? r : refresh_error ? refresh_error : left ? -EBUSY : 0;
}

int bufio_set_sector_offset(struct bufio_client *c, uint64_t sectors)
{
	int r = 0;

	if (sectors > UINT64_MAX / 512 || sectors * 512 % c->dev->info.alignment)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	wait_for_reads(c);
	if (forget_range(c, 0, UINT64_MAX)) {
		r = -EBUSY;
	} else {
		c->offset = sectors * 512;
		measure_device(c);
		trace_moved(c);
	}
	pthread_mutex_unlock(&c->lock);
	return r;
}

void bufio_set_report(struct bufio_client *c,
		      void (*report)(void *context, enum bufio_report what, uint64_t block, int error), void *context)
{
	pthread_mutex_lock(&c->lock);
	c->report = report;
	c->report_context = context;
	pthread_mutex_unlock(&c->lock);
}

int bufio_set_memory_limit(struct bufio_client *c, uint64_t bytes)
{
	int r;

	pthread_mutex_lock(&c->lock);
	r = change_limit(c, bytes);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int bufio_set_minimum_buffers(struct bufio_client *c, unsigned nr)
{
	unsigned before;
	int r = 0;

	if (nr > MAX_MINIMUM_BUFFERS)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	before = c->minimum;
	c->minimum = nr;
	if (c->limit < bufio_get_memory_floor(c))
		r = memory_set_limit(c, bufio_get_memory_floor(c));
	if (r)
		c->minimum = before;
	signal_event(c); /* there may be room now for who waits for some */
	pthread_mutex_unlock(&c->lock);
	return r;
}

uint64_t bufio_get_memory_limit(const struct bufio_client *c)
{
	struct bufio_client *w = (struct bufio_client *)c;
	uint64_t bytes;

	pthread_mutex_lock(&w->lock);
	bytes = c->limit;
	pthread_mutex_unlock(&w->lock);
	return bytes;
}

uint64_t bufio_get_memory_floor(const struct bufio_client *c)
{
	return memory_for(c, memory_floor_buffers(c));
}

unsigned bufio_get_block_size(const struct bufio_client *c)
{
	return c->block_size;
}

uint64_t bufio_get_device_size(const struct bufio_client *c)
{
	return c->nr_blocks;
}

struct bufio_device *bufio_get_device(const struct bufio_client *c)
{
	return c->dev;
}

uint64_t bufio_get_block_number(const struct bufio_buffer *b)
{
	return block_of(b);
}

void *bufio_get_block_data(const struct bufio_buffer *b)
{
	return b->data;
}

void *bufio_get_aux_data(struct bufio_buffer *b)
{
	return b->aux;
}

struct bufio_client *bufio_get_client(const struct bufio_buffer *b)
{
	return b->c;
}

static void add_hits(struct list *queue, uint64_t *hits)
{
	for (struct list *l = queue->next; l != queue; l = l->next) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		lock_buffer(b);
		*hits += b->hits;
		unlock_buffer(b);
	}
}

void bufio_get_stats(struct bufio_client *c, struct bufio_stats *stats)
{
	pthread_mutex_lock(&c->lock);
	*stats = c->stats;
	stats->dirty = c->nr_dirty;
	stats->hits += c->more_hits;
	add_hits(&c->cold, &stats->hits);
	add_hits(&c->hot, &stats->hits);
	add_hits(&c->dirty, &stats->hits);
	add_hits(&c->batch, &stats->hits);
	add_hits(&c->writing, &stats->hits);
	pthread_mutex_unlock(&c->lock);
}

void bufio_reset_peak(struct bufio_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->stats.peak_bytes = c->stats.current_bytes;
	pthread_mutex_unlock(&c->lock);
}
