/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What libbufio's own replacement does with a row of accesses: they are replayed on a client over a device that has
 * nothing and is as large as can be. No disk is touched, and no data: a buffer costs its header and its place in the
 * index, some 200 bytes, whatever its block size.
 */
#ifndef OPS_BENCH_POLICY_H
#define OPS_BENCH_POLICY_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/workload.h"

/* The same accesses as often as they are asked for. Whether they read or write is not looked at. */
struct bench_accesses {
	const uint64_t *blocks;          /* @nr, or NULL: */
	const struct workload *workload; /* the first @nr of its only thread, as settled */
	uint64_t nr;
	uint64_t warm_up; /* so many of these come first and are not counted */
};

struct bench_access_row {
	const struct bench_accesses *accesses;
	struct workload_source *source;
	uint64_t at;
};

/* Errors of opening: -ENOMEM. There are accesses->nr blocks; who asks for more gets anything. */
int bench_access_open(const struct bench_accesses *accesses, struct bench_access_row *row);
uint64_t bench_access_next(struct bench_access_row *row);
void bench_access_close(struct bench_access_row *row);

/*
 * The part of the counted accesses that hit in a client with exactly @buffers, from 8 to BENCH_POLICY_MAX.
 * @stop, which may be NULL: not 0, and it ends.
 * Errors: -EINVAL a block that no device has; -EINTR stopped; -ENOMEM.
 */
#define BENCH_POLICY_MAX (1u << 24)
int bench_policy_hits(const struct bench_accesses *accesses, unsigned buffers, const volatile sig_atomic_t *stop,
		      double *hits);

/*
 * What a memory limit means for clients of @block_size: the least limit with so many buffers (1 or more; a client has
 * 8), and the most buffers in a limit. Everything is in it: data, headers, index. Above BENCH_POLICY_MAX buffers it is
 * in proportion.
 * Errors: -EINVAL no block size of a client; -ENOMEM.
 */
int bench_policy_limit(unsigned block_size, uint64_t buffers, uint64_t *limit);
int bench_policy_buffers(unsigned block_size, uint64_t limit, uint64_t *buffers);

#endif
