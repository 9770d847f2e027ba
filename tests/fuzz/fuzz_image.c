// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fuzz_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/io.h"
#include "meta/thin.h"
#include "ops/check.h"

#define CHECK_MEMORY (4 << 20)

struct fuzz_image fuzz_image_load(const char *path)
{
	struct fuzz_image im;
	FILE *f = fopen(path, "rb");
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) <= 0)
		abort();
	rewind(f);
	im.size = (size_t)size;
	im.data = malloc(im.size);
	if (!im.data || fread(im.data, 1, im.size, f) != im.size)
		abort();
	fclose(f);
	return im;
}

struct fuzz_image *fuzz_images_load(char **paths, unsigned nr)
{
	struct fuzz_image *images = calloc(nr, sizeof(*images));

	if (!images)
		abort();
	for (unsigned i = 0; i < nr; i++)
		images[i] = fuzz_image_load(paths[i]);
	return images;
}

void fuzz_images_free(struct fuzz_image *images, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		free(images[i].data);
	free(images);
}

void fuzz_fail(const char *what, const struct op_result *result)
{
	printf("%s: outcome %d, %s\n", what, result ? result->outcome : 0, result ? result->reason : "");
	fflush(stdout);
	abort();
}

struct bufio_device *fuzz_device(const void *data, size_t size)
{
	struct bufio_device *dev;

	if (bufio_device_open_memory(size, &dev))
		abort();
	memcpy(io_mem_data(dev), data, size);
	return dev;
}

struct bufio_client *fuzz_client(struct bufio_device *dev, unsigned held_buffers, uint64_t limit)
{
	struct bufio_client *client = bufio_client_create(dev, 4096, held_buffers, 0, NULL, NULL);

	if (!client || bufio_set_memory_limit(client, limit))
		abort();
	return client;
}

void fuzz_client_destroy(struct bufio_client *client)
{
	if (bufio_client_destroy(client))
		abort();
}

struct summer {
	struct meta_visitor visitor; /* first */
	struct fuzz_sum sum;
};

static int ignore(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	(void)v, (void)kind, (void)record;
	return 0;
}

static void add(struct fuzz_sum *s, uint64_t dev_id, uint64_t origin, uint64_t data, uint64_t time)
{
	uint64_t fields[] = { dev_id, origin, data, time };

	s->nr++;
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		s->value = (s->value ^ fields[i]) * UINT64_C(0x100000001b3);
}

static int add_all(struct meta_visitor *v, enum record_kind kind, const void *record)
{
	const struct record_mapping *m = record;

	(void)kind;
	for (uint64_t i = 0; i < m->length; i++)
		add(&((struct summer *)v)->sum, m->dev_id, m->origin_begin + i, m->data_begin + i, m->time);
	return 0;
}

struct fuzz_sum fuzz_sum_mappings(struct bufio_device *dev)
{
	struct summer s = { .visitor = { ignore, add_all, ignore, NULL } };
	struct thin_walk walk = { .only_device = PROBLEM_NO_DEVICE };
	struct bufio_client *c = fuzz_client(dev, CHECK_HELD_BUFFERS, CHECK_MEMORY);
	struct thin_pool pool;

	if (!thin_pool_open(&pool, c, &problem_silent))
		thin_walk(&pool, &walk, &s.visitor);
	fuzz_client_destroy(c);
	return s.sum;
}

bool fuzz_is_clean(struct bufio_device *dev)
{
	struct op_check_args args = {
		.image = "image", .program = "fuzz", .out_fd = -1, .info_fd = -1, .message_fd = -1,
		.client = fuzz_client(dev, CHECK_HELD_BUFFERS, CHECK_MEMORY), .may_raise_memory = true,
	};
	struct op_result result;
	uint64_t nr = 0;

	op_check(&args, &result);
	fuzz_client_destroy(args.client);
	for (int s = SEVERITY_COSMETIC + 1; s < NR_SEVERITIES; s++)
		nr += result.problems[s];
	return result.outcome == OP_DONE && !nr;
}
