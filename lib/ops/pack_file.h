/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A packed pool: blocks of metadata in a file, compressed and checksummed. Written in one go, so to a pipe as well; read
 * as often as wanted, and whatever its bytes are. The layout is in pack_disk.h.
 */
#ifndef OPS_PACK_FILE_H
#define OPS_PACK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the file says of the original. */
struct pack_info {
	uint64_t device_bytes;
	uint64_t transaction;
	bool is_damaged, by_contents; /* as in struct thin_used */
	unsigned chunk_blocks;        /* 1 to 1024: how much is compressed together */
};

struct pack_totals {
	uint64_t blocks;     /* that are in the file */
	uint64_t unreadable; /* that ought to be */
	uint64_t end;        /* behind the last of both */
	uint64_t bytes;      /* of the file */
	uint32_t csum;       /* of all its headers, and so of all checksums: two files with the same are the same */
};

/* Bytes that a writer and a reader take for chunks of so many blocks. */
uint64_t pack_writer_bytes(unsigned chunk_blocks);
uint64_t pack_reader_bytes(unsigned chunk_blocks);

/* The largest chunks that a writer can have in so much memory; 0: it is too little for any. */
unsigned pack_chunk_blocks(uint64_t memory);

/* --- writing --- */

struct pack_writer;

/* Writes the header at the place of @fd, which stays the caller's. 0 or -errno; to be destroyed in either case. */
int pack_writer_create(int fd, const struct pack_info *info, struct pack_writer **w);

/*
 * Blocks in rising order, the first of them 0; @data of NULL: it could not be read. Returns 0 or -errno; after an error
 * there is no more to be done.
 */
int pack_write(struct pack_writer *w, uint64_t block, const void *data);

/* Writes what is left, and the trailer. */
int pack_writer_finish(struct pack_writer *w, struct pack_totals *totals);
void pack_writer_destroy(struct pack_writer *w); /* NULL is allowed */

/* --- reading --- */

struct pack_reader_args {
	int fd;          /* a regular file, or a block device; its place does not matter */
	uint64_t memory; /* bytes that may be used */
	/*
	 * Every block in rising order, block 0 first; @data of NULL: it could not be read. Only of chunks that are sound.
	 * What is not 0 ends the reading. NULL: the file is only verified.
	 */
	int (*block)(void *context, uint64_t block, const void *data);
	void *context;
	_Atomic uint64_t *progress; /* or NULL: goes up by the blocks that were read */
};

struct pack_error {
	uint64_t offset;  /* in the file */
	uint64_t needed;  /* bytes, of -E2BIG */
	char reason[160]; /* of -EINVAL and -EPROTONOSUPPORT */
};

/*
 * Reads and verifies the whole file. Outputs are untouched on failure, but for *@e.
 * Errors: -EINVAL           it is no packed pool, or not as it was written
 *         -EPROTONOSUPPORT  it is of a later version
 *         -E2BIG            its chunks take more memory than may be used
 *         -ENOMEM, -EIO ... the world's, or what block() returned
 */
int pack_read(const struct pack_reader_args *args, struct pack_info *info, struct pack_totals *totals,
	      struct pack_error *e);

/* Whether these first bytes are a packed pool's, of any version. */
bool pack_is_packed(const void *data, size_t size);

#endif
