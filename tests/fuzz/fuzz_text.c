// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fuzz_text.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_loop.h"

static uint8_t text[FUZZ_TEXT_MAX + 1];
static size_t len;

/* @nr bytes at @at become the @size bytes at @with. */
static void replace(size_t at, size_t nr, const void *with, size_t size)
{
	if (len - nr + size > FUZZ_TEXT_MAX)
		return;
	memmove(text + at + size, text + at + nr, len - at - nr);
	memmove(text + at, with, size);
	len += size - nr;
}

static size_t line_at(size_t at)
{
	while (at && text[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_length(size_t at)
{
	const uint8_t *end = memchr(text + at, '\n', len - at);

	return end ? (size_t)(end - (text + at)) + 1 : len - at;
}

static void damage(const struct fuzz_text *t, struct rng *r)
{
	size_t at = rng_below(r, len + 1), from = line_at(at), to = line_at(rng_below(r, len + 1));
	const char *piece = t->pieces[rng_below(r, t->nr_pieces)];
	uint8_t line[512];
	size_t n = line_length(from);

	switch (rng_below(r, 9)) {
	case 0: /* a byte */
		if (at < len)
			text[at] = (uint8_t)rng_next(r);
		break;
	case 1: replace(at, 0, piece, strlen(piece)); break;
	case 2: replace(from, 0, piece, strlen(piece)); break;
	case 3: replace(at, rng_below(r, len - at + 1) % 40, "", 0); break;
	case 4: replace(from, n, "", 0); break;
	case 5: /* a line in another place */
	case 6:
		n = n < sizeof(line) ? n : sizeof(line);
		memcpy(line, text + from, n);
		replace(to, 0, line, n);
		break;
	case 7: /* a digit */
		while (at < len && (text[at] < '0' || text[at] > '9'))
			at++;
		if (at < len)
			text[at] = (uint8_t)('0' + rng_below(r, 10));
		break;
	default:
		if (!rng_below(r, 8))
			len = at;
	}
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, FUZZ_TEXT_MAX);

	if (n < 0) {
		perror(path);
		exit(99);
	}
	len = (size_t)n;
	close(fd);
}

struct text_run {
	const struct fuzz_text *text;
	unsigned target;
	char **files;
	uint64_t nr_files;
};

static void make_case(struct rng *r, void *context)
{
	const struct text_run *run = context;

	load(run->files[rng_below(r, run->nr_files)]);
	for (uint64_t i = 1 + rng_below(r, 6); i; i--)
		damage(run->text, r);
	text[len] = '\0';
	run->text->run(text, len, 1u << run->target);
}

static int usage(const struct fuzz_text *t)
{
	fprintf(stderr, "%s ", t->name);
	for (unsigned i = 0; i < t->nr_targets; i++)
		fprintf(stderr, "%s%s", i ? "|" : "", t->targets[i]);
	fputs(" SEED COUNT|SECONDSs FILE...\n", stderr);
	return 99;
}

int fuzz_text_main(const struct fuzz_text *t, int argc, char **argv)
{
	struct text_run run = { .text = t, .files = argv + 4, .nr_files = (uint64_t)argc - 4 };

	while (argc > 1 && run.target < t->nr_targets && strcmp(argv[1], t->targets[run.target]) != 0)
		run.target++;
	if (argc < 5 || run.target == t->nr_targets || !fuzz_loop(argv[2], argv[3], make_case, &run))
		return usage(t);
	return 0;
}
