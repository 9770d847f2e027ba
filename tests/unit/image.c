// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <string.h>

#include "image.h"
#include "meta/thin_disk.h"
#include "unit.h"

struct image image;

static void listen(struct problem_sink *sink, const struct problem *p)
{
	(void)sink;
	if (image.told.nr < IMAGE_MAX_TOLD)
		image.told.p[image.told.nr] = *p;
	image.told.last = *p;
	image.told.nr++;
}

void image_open(uint64_t nr_blocks, uint64_t nr_device_blocks, unsigned reserved_buffers)
{
	memset(&image, 0, sizeof(image));
	image.told.sink.report = listen;
	image.plan = (struct io_fault_plan){ .kinds = IO_FAULT_READ, .error = EIO };
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(nr_device_blocks * PD_BLOCK_SIZE, &image.memory), 0);
	CU_ASSERT_EQUAL_FATAL(io_fault_open(image.memory, &image.plan, &image.dev), 0);
	image.reader.client = bufio_client_create(image.dev, PD_BLOCK_SIZE, reserved_buffers, 0, NULL, NULL);
	image.reader.nr_blocks = nr_blocks;
	image.reader.sink = &image.told.sink;
	CU_ASSERT_PTR_NOT_NULL_FATAL(image.reader.client);
}

/* 0 from destroy says that no hold was left. */
void image_close(void)
{
	CU_ASSERT_EQUAL(bufio_client_destroy(image.reader.client), 0);
	CU_ASSERT_EQUAL(bufio_device_close(image.dev), 0);
}

uint64_t image_blocks_read(void)
{
	struct bufio_stats s;

	bufio_get_stats(image.reader.client, &s);
	return s.blocks_read;
}

uint8_t *image_at(uint64_t block)
{
	return (uint8_t *)io_mem_data(image.memory) + block * PD_BLOCK_SIZE;
}

void image_header(uint8_t *b, uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size)
{
	memset(b, 0, PD_BLOCK_SIZE);
	le_store(b + 4, 4, flags);
	le_store(b + 16, 4, nr);
	le_store(b + 20, 4, max);
	le_store(b + 24, 4, value_size);
}

void image_node(uint64_t block, uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size)
{
	image_header(image_at(block), flags, nr, max, value_size);
	pd_block_seal(image_at(block), PD_NODE, block);
}

void image_entry(uint64_t block, unsigned i, uint64_t key, uint64_t value, unsigned size)
{
	uint8_t *b = image_at(block);
	uint32_t max = (uint32_t)le_load(b + 20, 4), value_size = (uint32_t)le_load(b + 24, 4);

	le_store(b + 32 + 8 * i, 8, key);
	le_store(b + 32 + 8 * max + value_size * i, size, value);
	pd_block_seal(b, PD_NODE, block);
}

void image_set(uint64_t block, unsigned offset, unsigned size, uint64_t value)
{
	le_store(image_at(block) + offset, size, value);
	pd_block_seal(image_at(block), PD_THIN_SUPERBLOCK, block);
}

void image_superblock(uint64_t block, uint64_t top, uint64_t details, uint64_t nr_blocks)
{
	image_set(block, 32, 8, THIN_MAGIC);
	image_set(block, 40, 4, 2);
	image_set(block, 320, 8, top);
	image_set(block, 328, 8, details);
	image_set(block, 336, 4, 128);
	image_set(block, 340, 4, 8);
	image_set(block, 344, 8, nr_blocks);
}

void image_space_map(unsigned offset, uint64_t nr, uint64_t used, uint64_t bitmap_root, uint64_t count_root)
{
	image_set(0, offset, 8, nr);
	image_set(0, offset + 8, 8, used);
	image_set(0, offset + 16, 8, bitmap_root);
	image_set(0, offset + 24, 8, count_root);
}
