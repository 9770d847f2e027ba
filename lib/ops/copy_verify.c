// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Comparing after writing: both ends are read again, or the target alone and hashes are compared.
 *
 * Each end is read through a pair of that one device with itself, so that the incomplete block at the end is read too. What
 * could not be read from the source is left out of both.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xxh3.h"
#include "io/io.h"
#include "ops/copy_int.h"

#define AHEAD (UINT64_C(8) << 20)
#define LEAST_BUFFERS 32 /* of a cache that reads ahead */

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* --- hashes --- */

struct copy_hash {
	XXH3_state_t state; /* first, for its alignment */
	uint64_t at;        /* everything before this is in it */
};

static struct copy_hash *create_hash(void)
{
	struct copy_hash *h = aligned_alloc(64, (sizeof(*h) + 63) / 64 * 64);

	if (h) {
		XXH3_64bits_reset(&h->state);
		h->at = 0;
	}
	return h;
}

static void add_to_hash(struct copy_hash *h, const void *data, uint64_t bytes)
{
	static const char zeroes[65536];
	uint64_t n;

	h->at += bytes;
	for (; bytes; bytes -= n) {
		n = data ? bytes : smaller(bytes, sizeof(zeroes));
		XXH3_64bits_update(&h->state, data ? data : zeroes, n);
	}
}

int copy_hash_begin(struct copy *c)
{
	c->hash = create_hash();
	return c->hash ? 0 : -ENOMEM;
}

void copy_hash_add(struct copy *c, uint64_t at, const void *data, uint64_t bytes)
{
	if (c->hash && c->hash->at == at)
		add_to_hash(c->hash, data, bytes);
	else
		copy_hash_end(c);
}

void copy_hash_end(struct copy *c)
{
	free(c->hash);
	c->hash = NULL;
}

/* --- one end, read again --- */

struct end {
	struct copy *c;
	const char *name;
	uint64_t base; /* of byte 0 of the copy */
	uint32_t unit;
	struct bufio_device *dev;
	struct bufio_client *client;
	/* what is compared with it */
	struct copy_hash *hash;
	struct end *other;
	uint64_t asked; /* blocks of the other that are on their way */
};

static bool fail_memory(struct copy *c)
{
	op_fail(c->result, OP_PARTLY, -ENOMEM, "%s: written, and not compared: not enough memory within the limit",
		c->args->target);
	return false;
}

/* Where direct I/O cannot be had the page cache is emptied, so that it is the disk which is read. */
static void drop_cached(const char *path, const struct bufio_device *dev)
{
	int fd = dev->info.direct ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

static bool open_end(struct end *e, struct bufio_device *dev, uint64_t limit)
{
	struct io_pair_args pair = {
		.source = dev, .target = dev, .from = e->base, .to = e->base, .bytes = e->c->bytes, .unit = e->unit,
	};

	drop_cached(e->name, dev);
	if (io_pair_open(&pair, &e->dev))
		return fail_memory(e->c);
	if (!copy_make_client(e->dev, e->unit, limit, &e->client))
		return true;
	bufio_device_close(e->dev);
	e->dev = NULL;
	return fail_memory(e->c);
}

static void close_end(struct end *e)
{
	if (e->client)
		copy_add_stats(e->c, e->client);
	bufio_client_destroy(e->client);
	bufio_device_close(e->dev);
}

static int fail_end(const struct end *e, uint64_t at, uint64_t end, const char *what)
{
	op_fail(e->c->result, OP_DIFFERS, 0, "%s: bytes %" PRIu64 "..%" PRIu64 " %s", e->name, e->base + at, e->base + end,
		what);
	return 1;
}

static int fail_read(const struct end *e, uint64_t at, uint64_t end, int error)
{
	char what[128];

	snprintf(what, sizeof(what), "cannot be read again, so they are not verified: %s", strerror(error));
	return fail_end(e, at, end, what);
}

/* --- blocks --- */

static const void *read_other(struct end *o, uint64_t block, struct bufio_buffer **b)
{
	uint64_t ahead = AHEAD / o->unit;

	if (o->asked < block + ahead / 2) {
		o->asked = o->asked < block ? block : o->asked;
		bufio_prefetch(o->client, o->asked, ahead);
		o->asked += ahead;
	}
	return bufio_read(o->client, block, b);
}

/* Bytes @begin to @end - 1 of the copy are in @block of @e, at @data, and are in both. */
static int compare(struct end *e, uint64_t block, const char *data, uint64_t begin, uint64_t end)
{
	uint64_t first = block * e->unit;
	struct bufio_buffer *b;
	const char *other;
	int r = 0;

	if (e->hash) {
		add_to_hash(e->hash, data + (begin - first), end - begin);
		return 0;
	}
	other = read_other(e->other, block, &b);
	if (!other)
		return fail_read(e->other, begin, end, errno);
	if (memcmp(data + (begin - first), other + (begin - first), end - begin))
		r = fail_end(e, begin, end, "are not what was to be written");
	bufio_release(b);
	return r;
}

/* For bufio_scan(). */
static int on_block(void *context, uint64_t block, const void *data, int error)
{
	struct end *e = context;
	struct copy *c = e->c;
	uint64_t at = block * e->unit, end = smaller(at + e->unit, c->bytes);
	const struct text_map_piece *m;
	int r = 0;

	if (copy_is_stopped(c)) {
		op_fail(c->result, OP_PARTLY, 0, "%s: written; stopped by a signal while it was compared", c->args->target);
		return 1;
	}
	if (c->args->progress)
		c->args->progress->blocks += (end - at) / 4096;
	while (!r && at < end && (m = text_map_find(&c->map, c->args->begin + at, COPY_HAVE))) {
		uint64_t from = m->begin > c->args->begin + at ? m->begin - c->args->begin : at;
		uint64_t to = smaller(m->end - c->args->begin, end);

		if (from >= end)
			break;
		r = error ? fail_read(e, from, to, -error) : compare(e, block, data, from, to);
		at = to;
	}
	return r;
}

/* False: result says why. */
static bool scan(struct end *e)
{
	struct bufio_scan scan = {
		.block = on_block, .context = e, .in_order = true, .window = AHEAD,
		.nr_blocks = bufio_get_device_size(e->client),
	};
	int r = bufio_scan(e->client, &scan);

	return r < 0 ? fail_memory(e->c) : !r;
}

/* --- what is asked for --- */

/*
 * What is bad costs its sector alone, as it did when it was copied. Else blocks are as large as when it was copied, or as
 * there is memory for.
 */
static uint32_t choose_unit(const struct copy *c, uint64_t limit)
{
	uint32_t sector = copy_sector(c), unit = c->args->block_size;

	if (text_map_count(&c->map, COPY_UNREAD))
		return sector;
	while (LEAST_BUFFERS * (uint64_t)unit > limit && unit / 2 % sector == 0)
		unit /= 2;
	return unit;
}

/* @limit: the memory for it. */
static struct end make_end(struct copy *c, bool is_target, uint64_t limit)
{
	const struct op_copy_args *a = c->args;

	return (struct end){
		.c = c, .name = is_target ? a->target : a->source, .base = is_target ? a->to : a->begin,
		.unit = choose_unit(c, limit),
	};
}

static bool read_back(struct copy *c)
{
	uint64_t half = c->args->memory_limit / 2;
	struct end source = make_end(c, false, half), target = make_end(c, true, half);
	bool ok;

	target.other = &source;
	ok = open_end(&source, c->args->source_device, half) && open_end(&target, c->args->target_device, half) &&
	     scan(&target);
	close_end(&source);
	close_end(&target);
	return ok;
}

static bool hash_end(struct copy *c, bool is_target, uint64_t *hash)
{
	const struct op_copy_args *a = c->args;
	struct end e = make_end(c, is_target, a->memory_limit);
	bool ok;

	e.hash = create_hash();
	ok = e.hash ? open_end(&e, is_target ? a->target_device : a->source_device, a->memory_limit) && scan(&e)
		    : fail_memory(c);
	if (ok)
		*hash = XXH3_64bits_digest(&e.hash->state);
	close_end(&e);
	free(e.hash);
	return ok;
}

/* What was read in one go was hashed on the way; else the source is read again. */
static bool hash_source(struct copy *c, uint64_t *hash)
{
	if (!c->hash || c->hash->at != c->bytes)
		return hash_end(c, false, hash);
	*hash = XXH3_64bits_digest(&c->hash->state);
	return true;
}

static bool compare_hashes(struct copy *c)
{
	uint64_t source, target;

	if (!hash_source(c, &source) || !hash_end(c, true, &target))
		return false;
	snprintf(c->digest, sizeof(c->digest), "%016" PRIx64, source);
	if (source == target)
		return true;
	op_fail(c->result, OP_DIFFERS, 0,
		"%s: its hash is %016" PRIx64 ", that of %s is %016" PRIx64 "; what was read back is not what was to be written",
		c->args->target, target, c->args->source, source);
	return false;
}

bool copy_verify(struct copy *c)
{
	static bool (*const ways[])(struct copy *) = {
		[COPY_VERIFY_READBACK] = read_back, [COPY_VERIFY_HASH] = compare_hashes,
	};

	return c->args->verify == COPY_VERIFY_NONE || ways[c->args->verify](c);
}
