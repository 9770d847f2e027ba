// SPDX-License-Identifier: LGPL-2.1-or-later
#include "block_manager.h"

#include <linux/device-mapper.h>
#include <linux/dm-bufio.h>
#include <linux/err.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/slab.h>

#include <string.h>

#define DM_MSG_PREFIX "block manager"

struct dm_block_manager {
	struct dm_bufio_client *bufio;
	struct mutex validating; /* one check at a time, so that a block has one validator */
};

/* In each buffer. */
struct block_aux {
	struct dm_block_validator *validator;
	bool write_locked;
	struct rw_semaphore lock;
};

/* A block is its buffer, by another name. */
static struct dm_buffer *to_buffer(struct dm_block *b)
{
	return (struct dm_buffer *)b;
}

static struct dm_block *to_block(struct dm_buffer *buf)
{
	return (struct dm_block *)buf;
}

static void prepare_aux(struct dm_buffer *buf)
{
	struct block_aux *aux = dm_bufio_get_aux_data(buf);

	aux->validator = NULL;
	aux->write_locked = false;
	init_rwsem(&aux->lock);
}

static void prepare_for_write(struct dm_buffer *buf)
{
	struct block_aux *aux = dm_bufio_get_aux_data(buf);
	struct dm_block_validator *v = aux->validator;

	if (v)
		v->prepare_for_write(v, to_block(buf), dm_bufio_get_block_size(dm_bufio_get_client(buf)));
}

struct dm_block_manager *dm_block_manager_create(struct block_device *bdev, unsigned block_size,
						 unsigned max_held_per_thread)
{
	struct dm_block_manager *bm = kmalloc(sizeof(*bm), GFP_KERNEL);
	long r;

	if (!bm)
		return ERR_PTR(-ENOMEM);
#if DM_BUFIO_API >= 60000
	bm->bufio = dm_bufio_client_create(bdev, block_size, max_held_per_thread, sizeof(struct block_aux), prepare_aux,
					   prepare_for_write, 0);
#else
	bm->bufio = dm_bufio_client_create(bdev, block_size, max_held_per_thread, sizeof(struct block_aux), prepare_aux,
					   prepare_for_write);
#endif
	if (IS_ERR(bm->bufio)) {
		r = PTR_ERR(bm->bufio);
		kfree(bm);
		return ERR_PTR(r);
	}
	mutex_init(&bm->validating);
	return bm;
}

void dm_block_manager_destroy(struct dm_block_manager *bm)
{
	dm_bufio_client_destroy(bm->bufio);
	mutex_destroy(&bm->validating);
	kfree(bm);
}

dm_block_t dm_bm_nr_blocks(struct dm_block_manager *bm)
{
	return dm_bufio_get_device_size(bm->bufio);
}

dm_block_t dm_block_location(struct dm_block *b)
{
	return dm_bufio_get_block_number(to_buffer(b));
}

void *dm_block_data(struct dm_block *b)
{
	return dm_bufio_get_block_data(to_buffer(b));
}

static void lock_block(struct block_aux *aux, bool write)
{
	if (write)
		down_write(&aux->lock);
	else
		down_read(&aux->lock);
	if (write)
		aux->write_locked = true;
}

static void unlock_block(struct block_aux *aux)
{
	if (!aux->write_locked) {
		up_read(&aux->lock);
		return;
	}
	aux->write_locked = false;
	up_write(&aux->lock);
}

/* The block gets its validator, if it has none and passes; else it has to be the one that it has. */
static int validate(struct dm_block_manager *bm, struct dm_buffer *buf, struct dm_block_validator *v, bool check)
{
	struct block_aux *aux = dm_bufio_get_aux_data(buf);
	int r = 0;

	mutex_lock(&bm->validating);
	if (aux->validator != v) {
		if (aux->validator)
			r = -EINVAL;
		else if (check)
			r = v->check(v, to_block(buf), dm_bufio_get_block_size(bm->bufio));
		if (!r)
			aux->validator = v;
	}
	mutex_unlock(&bm->validating);
	if (r)
		DMERR("block %llu is no valid %s: %s", dm_bufio_get_block_number(buf), v ? v->name : "plain block",
		      strerror(-r));
	return r;
}

/* Makes a held buffer a locked block, or gives the hold up. */
static int finish_lock(struct dm_block_manager *bm, struct dm_buffer *buf, struct dm_block_validator *v, bool write,
		       bool check, struct dm_block **result)
{
	struct block_aux *aux = dm_bufio_get_aux_data(buf);
	int r;

	lock_block(aux, write);
	r = validate(bm, buf, v, check);
	if (r) {
		unlock_block(aux);
		dm_bufio_release(buf);
		return r;
	}
	*result = to_block(buf);
	return 0;
}

static int read_and_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v, bool write,
			 struct dm_block **result)
{
	struct dm_buffer *buf;
	void *data = dm_bufio_read(bm->bufio, block, &buf);

	if (IS_ERR(data))
		return PTR_ERR(data);
	return finish_lock(bm, buf, v, write, true, result);
}

int dm_bm_read_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
		    struct dm_block **result)
{
	return read_and_lock(bm, block, v, false, result);
}

int dm_bm_write_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
		     struct dm_block **result)
{
	return read_and_lock(bm, block, v, true, result);
}

int dm_bm_read_try_lock(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
			struct dm_block **result)
{
	struct dm_buffer *buf;
	void *data = dm_bufio_get(bm->bufio, block, &buf);

	if (IS_ERR(data))
		return PTR_ERR(data);
	if (!data)
		return -EWOULDBLOCK;
	return finish_lock(bm, buf, v, false, true, result);
}

int dm_bm_write_lock_zero(struct dm_block_manager *bm, dm_block_t block, struct dm_block_validator *v,
			  struct dm_block **result)
{
	struct dm_buffer *buf;
	void *data = dm_bufio_new(bm->bufio, block, &buf);
	int r;

	if (IS_ERR(data))
		return PTR_ERR(data);
	r = finish_lock(bm, buf, v, true, false, result);
	if (!r)
		memset(data, 0, dm_bufio_get_block_size(bm->bufio));
	return r;
}

/* Marked when its holder is done with it, so that what is written is consistent. */
void dm_bm_unlock(struct dm_block *b)
{
	struct dm_buffer *buf = to_buffer(b);
	struct block_aux *aux = dm_bufio_get_aux_data(buf);

	if (aux->write_locked)
		dm_bufio_mark_buffer_dirty(buf);
	unlock_block(aux);
	dm_bufio_release(buf);
}

int dm_bm_flush(struct dm_block_manager *bm)
{
	return dm_bufio_write_dirty_buffers(bm->bufio);
}

void dm_bm_prefetch(struct dm_block_manager *bm, dm_block_t block)
{
#if DM_BUFIO_API >= 60000
	dm_bufio_prefetch(bm->bufio, block, 1);
#else
	(void)bm;
	(void)block;
#endif
}
