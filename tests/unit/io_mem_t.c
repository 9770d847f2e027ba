// SPDX-License-Identifier: LGPL-2.1-or-later
/* The memory engine, and with it what every engine promises. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "io/io.h"
#include "unit.h"

#define SECTOR 512
#define NR_ITEMS 256
#define SIZE ((uint64_t)NR_ITEMS * SECTOR)
#define NR_THREADS 4

/* One request, its memory, and how often it came back. */
struct item {
	struct io_request request; /* first, so that a request is its item */
	struct iovec iov;
	unsigned char data[SECTOR];
	atomic_uint seen;
};

static struct item items[NR_ITEMS];

static struct bufio_device *open_device(void)
{
	struct bufio_device *dev = NULL;

	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(SIZE, &dev), 0);
	return dev;
}

static int transfer_iov(struct bufio_device *dev, enum io_direction direction, uint64_t offset, struct iovec *iov,
			unsigned nr, bool wait_follows)
{
	struct io_request r = { .direction = direction, .offset = offset, .iov = iov, .nr_iov = nr, .result = 1,
				.wait_follows = wait_follows };
	struct io_request *p = &r, *done[2] = { NULL, NULL };

	dev->ops->submit(dev, &p, 1);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, done, 2), 1);
	CU_ASSERT_PTR_EQUAL(done[0], &r);
	return r.result;
}

static int transfer(struct bufio_device *dev, enum io_direction direction, uint64_t offset, void *data, size_t len)
{
	struct iovec iov = { data, len };

	return transfer_iov(dev, direction, offset, &iov, 1, false);
}

static void prepare_items(enum io_direction direction)
{
	for (unsigned i = 0; i < NR_ITEMS; i++) {
		struct item *t = items + i;

		memset(t->data, direction == IO_WRITE ? (int)(i * 7 + 1) : 0, SECTOR);
		t->iov = (struct iovec){ t->data, SECTOR };
		t->request = (struct io_request){ .direction = direction, .offset = (uint64_t)i * SECTOR,
						  .iov = &t->iov, .nr_iov = 1, .result = 1 };
		atomic_store(&t->seen, 0);
	}
}

/* How many items did not come back exactly once, with success and the right data. */
static unsigned count_bad_items(void)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < NR_ITEMS; i++)
		bad += atomic_load(&items[i].seen) != 1 || items[i].request.result ||
		       items[i].data[0] != (unsigned char)(i * 7 + 1) || items[i].data[SECTOR - 1] != items[i].data[0];
	return bad;
}

static void take_all(struct bufio_device *dev, unsigned max)
{
	struct io_request *done[NR_ITEMS];
	unsigned nr;

	while ((nr = dev->ops->wait(dev, done, max)))
		for (unsigned i = 0; i < nr; i++)
			atomic_fetch_add(&((struct item *)done[i])->seen, 1);
}

static void submit_items(struct bufio_device *dev, unsigned first, unsigned nr)
{
	struct io_request *batch[NR_ITEMS];

	for (unsigned i = 0; i < nr; i++)
		batch[i] = &items[first + i].request;
	dev->ops->submit(dev, batch, nr);
}

static void describes_itself(void)
{
	struct bufio_device *dev = open_device();
	const struct bufio_device_info *info = bufio_device_describe(dev);

	CU_ASSERT_EQUAL(info->size, SIZE);
	CU_ASSERT_STRING_EQUAL(info->engine, "memory");
	CU_ASSERT_FALSE(info->read_only);
	CU_ASSERT_FALSE(info->block_device);
	CU_ASSERT_TRUE(info->alignment >= 1);
	CU_ASSERT_EQUAL(bufio_device_close(dev), 0);
}

static void close_null(void)
{
	CU_ASSERT_EQUAL(bufio_device_close(NULL), 0);
}

static void starts_zeroed(void)
{
	struct bufio_device *dev = open_device();
	unsigned char data[SECTOR];
	unsigned nonzero = 0;

	for (uint64_t at = 0; at < SIZE; at += SECTOR) {
		memset(data, 0xee, SECTOR);
		CU_ASSERT_EQUAL(transfer(dev, IO_READ, at, data, SECTOR), 0);
		for (unsigned i = 0; i < SECTOR; i++)
			nonzero += data[i] != 0;
	}
	CU_ASSERT_EQUAL(nonzero, 0);
	bufio_device_close(dev);
}

static void vectored(void)
{
	struct bufio_device *dev = open_device();
	unsigned char out[3 * SECTOR], in[3 * SECTOR];
	struct iovec write[] = { { out, SECTOR }, { out + SECTOR, 2 * SECTOR } };
	struct iovec read[] = { { in, 2 * SECTOR }, { in + 2 * SECTOR, SECTOR } };
	unsigned char *memory = io_mem_data(dev);

	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 3 + i / SECTOR);
	CU_ASSERT_EQUAL(transfer_iov(dev, IO_WRITE, SECTOR, write, 2, false), 0);
	CU_ASSERT_EQUAL(transfer_iov(dev, IO_READ, SECTOR, read, 2, false), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(memcmp(memory + SECTOR, out, sizeof(out)), 0);
	CU_ASSERT_EQUAL(memory[SECTOR - 1] | memory[4 * SECTOR], 0);
	bufio_device_close(dev);
}

static void wait_follows(void)
{
	struct bufio_device *dev = open_device();
	unsigned char out[SECTOR], in[SECTOR] = { 0 };
	struct iovec write = { out, SECTOR }, read = { in, SECTOR };

	memset(out, 9, SECTOR);
	CU_ASSERT_EQUAL(transfer_iov(dev, IO_WRITE, 0, &write, 1, true), 0);
	CU_ASSERT_EQUAL(transfer_iov(dev, IO_READ, 0, &read, 1, true), 0);
	CU_ASSERT_EQUAL(memcmp(in, out, SECTOR), 0);
	bufio_device_close(dev);
}

static void past_the_end(void)
{
	static const uint64_t offsets[] = { SIZE - SECTOR, SIZE, SIZE + SECTOR, UINT64_MAX - SECTOR + 1,
					    UINT64_MAX - 2 * SECTOR + 1 };
	struct bufio_device *dev = open_device();
	unsigned char data[2 * SECTOR];

	memset(data, 0x77, sizeof(data));
	for (unsigned i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		CU_ASSERT_TRUE(transfer(dev, IO_READ, offsets[i], data, sizeof(data)) < 0);
		CU_ASSERT_TRUE(transfer(dev, IO_WRITE, offsets[i], data, sizeof(data)) < 0);
	}
	CU_ASSERT_EQUAL(transfer(dev, IO_READ, SIZE - sizeof(data), data, sizeof(data)), 0);
	bufio_device_close(dev);
}

static void nothing_outstanding(void)
{
	struct bufio_device *dev = open_device();
	struct io_request *done = NULL;
	unsigned char data[SECTOR];

	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	transfer(dev, IO_READ, 0, data, SECTOR);
	CU_ASSERT_EQUAL(dev->ops->wait(dev, &done, 1), 0);
	CU_ASSERT_PTR_NULL(done);
	bufio_device_close(dev);
}

static void batch_once(void)
{
	struct bufio_device *dev = open_device();

	for (unsigned max = 1; max <= NR_ITEMS; max = max * 3 + 1) {
		prepare_items(IO_WRITE);
		submit_items(dev, 0, NR_ITEMS);
		take_all(dev, max);
		CU_ASSERT_EQUAL(count_bad_items(), 0);
		prepare_items(IO_READ);
		submit_items(dev, 0, NR_ITEMS);
		take_all(dev, max);
		CU_ASSERT_EQUAL(count_bad_items(), 0);
	}
	bufio_device_close(dev);
}

static void at_most_max(void)
{
	struct bufio_device *dev = open_device();
	struct io_request *done[NR_ITEMS];
	unsigned nr, sum = 0;

	prepare_items(IO_WRITE);
	submit_items(dev, 0, 50);
	while ((nr = dev->ops->wait(dev, done, 7))) {
		CU_ASSERT_TRUE(nr <= 7);
		sum += nr;
	}
	CU_ASSERT_EQUAL(sum, 50);
	bufio_device_close(dev);
}

struct worker {
	pthread_t thread;
	struct bufio_device *dev;
	unsigned first;
};

static void *submit_and_take(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < NR_ITEMS / NR_THREADS; i += 4) {
		submit_items(w->dev, w->first + i, 4);
		take_all(w->dev, 3);
	}
	return NULL;
}

static void run_workers(struct bufio_device *dev)
{
	struct worker w[NR_THREADS];

	for (unsigned i = 0; i < NR_THREADS; i++) {
		w[i] = (struct worker){ .dev = dev, .first = i * (NR_ITEMS / NR_THREADS) };
		pthread_create(&w[i].thread, NULL, submit_and_take, w + i);
	}
	for (unsigned i = 0; i < NR_THREADS; i++)
		pthread_join(w[i].thread, NULL);
}

static void many_threads(void)
{
	struct bufio_device *dev = open_device();

	for (unsigned round = 0; round < 30; round++) {
		prepare_items(round % 2 ? IO_READ : IO_WRITE);
		run_workers(dev);
		take_all(dev, 1);
		CU_ASSERT_EQUAL(count_bad_items(), 0);
	}
	bufio_device_close(dev);
}

static void flush(void)
{
	struct bufio_device *dev = open_device();

	CU_ASSERT_EQUAL(dev->ops->flush(dev), 0);
	bufio_device_close(dev);
}

static void discard(void)
{
	struct bufio_device *dev = open_device();
	unsigned char *memory = io_mem_data(dev);
	unsigned changed = 0;
	int r;

	memset(memory, 0x55, SIZE);
	r = dev->ops->discard(dev, 4 * SECTOR, 2 * SECTOR);
	CU_ASSERT_TRUE(r == 0 || r == -EOPNOTSUPP);
	for (unsigned i = 0; i < SIZE; i++)
		changed += memory[i] != 0x55 && i / SECTOR != 4 && i / SECTOR != 5;
	CU_ASSERT_EQUAL(changed, 0);
	bufio_device_close(dev);
}

static void no_memory(void)
{
/* The sanitizers' allocators end the process instead of failing. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	struct bufio_device *dev = (void *)&items;

	CU_ASSERT_EQUAL(bufio_device_open_memory(UINT64_MAX / 2, &dev), -ENOMEM);
	CU_ASSERT_PTR_EQUAL(dev, (void *)&items);
	CU_ASSERT_EQUAL(bufio_device_open_memory(UINT64_MAX, &dev), -ENOMEM);
#endif
}

static const struct unit_case cases[] = {
	{ "a memory device describes itself", describes_itself },
	{ "no device may be closed", close_null },
	{ "memory starts as zeroes", starts_zeroed },
	{ "vectors are written and read in order, and nothing beside them", vectored },
	{ "a request may leave the work to the wait that follows", wait_follows },
	{ "a request that passes the end is an error, not a short success", past_the_end },
	{ "wait gives 0 when nothing is outstanding", nothing_outstanding },
	{ "every request of a batch comes back exactly once", batch_once },
	{ "wait gives at most as many as asked for", at_most_max },
	{ "several threads submit and wait at once", many_threads },
	{ "flush succeeds", flush },
	{ "a discard leaves the neighbours alone", discard },
	{ "more memory than there is is refused", no_memory },
	{ NULL, NULL },
};

const struct unit_suite io_mem_suite = { "io_mem", cases };
