/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Damaged copies of text, for programs that are called
 *
 *	NAME TARGET SEED COUNT|SECONDSs FILE...
 *
 * as fuzz_loop() has it.
 */
#ifndef TESTS_FUZZ_FUZZ_TEXT_H
#define TESTS_FUZZ_FUZZ_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define FUZZ_TEXT_MAX (64 << 10) /* bytes of a case */

struct fuzz_text {
	const char *name;
	const char *const *targets; /* names */
	unsigned nr_targets;
	const char *const *pieces; /* what is put in here and there */
	unsigned nr_pieces;
	/* @targets: a bit for each. A zero byte is behind the data. */
	void (*run)(const uint8_t *data, size_t size, unsigned targets);
};

/* Returns the status to exit with. */
int fuzz_text_main(const struct fuzz_text *t, int argc, char **argv);

#endif
