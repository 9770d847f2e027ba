// SPDX-License-Identifier: LGPL-2.1-or-later
/* Creating, destroying, and asking about a client. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "bufio/bufio_int.h"

#define MAX_BLOCK_SIZE (1u << 30)
#define MAX_AUX_SIZE (1u << 16)

static uint64_t default_limit(const struct bufio_client *c)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 16 : 0;

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

static void free_client(struct bufio_client *c)
{
	memory_release_all(c);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
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
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->dev = dev;
	c->block_size = block_size;
	c->reserved = reserved_buffers;
	c->aux_size = aux_size;
	c->nr_blocks = dev->info.size / block_size;
	c->alloc_callback = alloc_callback;
	c->write_callback = write_callback;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	list_init(&c->clean);
	list_init(&c->dirty);
	list_init(&c->unused);
	init_transfers(c);
	r = memory_set_limit(c, default_limit(c));
	if (r) {
		free_client(c);
		errno = -r;
		return NULL;
	}
	return c;
}

static unsigned report_leaks(struct bufio_client *c, struct list *lru)
{
	unsigned n = 0;

	for (struct list *l = lru->next; l != lru; l = l->next) {
		struct bufio_buffer *b = list_entry(l, struct bufio_buffer, lru);

		if (!b->hold_count)
			continue;
		n++;
		if (c->report)
			c->report(c->report_context, BUFIO_REPORT_LEAKED_HOLD, b->block, 0);
	}
	return n;
}

int bufio_client_destroy(struct bufio_client *c)
{
	unsigned leaks;
	int r;

	if (!c)
		return 0;
	r = bufio_write_dirty_buffers(c);
	leaks = report_leaks(c, &c->clean) + report_leaks(c, &c->dirty);
	free_client(c);
	return r ? r : leaks ? -EBUSY : 0;
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
	while (c->batch_busy) /* its list is about to be replaced */
		wait_event(c);
	r = memory_set_limit(c, bytes);
	if (!r) {
		r = evict_surplus(c);
		memory_trim(c);
	}
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
	return b->block;
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

void bufio_get_stats(struct bufio_client *c, struct bufio_stats *stats)
{
	pthread_mutex_lock(&c->lock);
	*stats = c->stats;
	stats->dirty = c->nr_dirty;
	pthread_mutex_unlock(&c->lock);
}
