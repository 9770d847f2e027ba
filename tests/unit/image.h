/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A metadata image in memory, and the reader that the code under test is given for it.
 *
 * There is one, since cases run one after the other. Blocks are written straight into the memory, past the client:
 * before their first read.
 */
#ifndef UNIT_IMAGE_H
#define UNIT_IMAGE_H

#include <stdint.h>

#include "io/io.h"
#include "pdata/block.h"

#define IMAGE_MAX_TOLD 16

struct image {
	struct bufio_device *memory, *dev; /* dev is memory with the plan's faults */
	struct io_fault_plan plan;	   /* counts reads; none fails until fail_at is set */
	struct pd_reader reader;
	struct {
		struct problem_sink sink;
		unsigned nr; /* all of them; the first ones are in p */
		struct problem p[IMAGE_MAX_TOLD], last;
	} told;
};

extern struct image image;

/* Zeroed. The device has @nr_device_blocks, of which the metadata is said to have @nr_blocks. */
void image_open(uint64_t nr_blocks, uint64_t nr_device_blocks, unsigned reserved_buffers);

/* Asserts that no buffer is still held. What was told stays until the next image_open. */
void image_close(void);

uint8_t *image_at(uint64_t block);

/* So far; a block that is read twice counts twice. */
uint64_t image_blocks_read(void);

/* The header of a node, from the format's description; all else is zeroed. Flags: 1 internal, 2 leaf. */
void image_header(uint8_t *b, uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size);

/* The same at @block, with number and checksum. */
void image_node(uint64_t block, uint32_t flags, uint32_t nr, uint32_t max, uint32_t value_size);

/* A number in the superblock at @block, or in a copy of one: with the checksum made right. */
void image_set(uint64_t block, unsigned offset, unsigned size, uint64_t value);

/* A thin pool's superblock, version 2 with data blocks of 64 KiB; and what it has at @offset of one of its space maps. */
void image_superblock(uint64_t block, uint64_t top, uint64_t details, uint64_t nr_blocks);
void image_space_map(unsigned offset, uint64_t nr, uint64_t used, uint64_t bitmap_root, uint64_t count_root);

/* Key @i of the node at @block and the first @size bytes of its value. */
void image_entry(uint64_t block, unsigned i, uint64_t key, uint64_t value, unsigned size);

#endif
