// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * bench VERB [--NAME VALUE]... [-- COMMAND...]: measures one thing of libbufio or of a command once and prints one
 * number.
 *
 * bench/run and bench/dump-run take the rounds, their medians, and the comparison with others.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "bench.h"

static const struct verb {
	const char *name, *help;
	double (*run)(const struct bench *args);
} verbs[] = {
	{ "hits", "read and release of cached blocks per second: --order (random, sequential, same) --blocks --ops",
	  bench_hits },
	{ "pair", "the same, two threads on halves of one client or on a client each: --clients (1, 2) --blocks --ops",
	  bench_pair },
	{ "overhead", "percent of memory beside the data of cached blocks: --blocks", bench_overhead },
	{ "fill", "makes a file of random bytes; its size: --file --size", bench_fill },
	{ "open", "opens a file and looks; bytes to work on: --file --size --engine", bench_open },
	{ "scan", "bytes per second by bufio_scan(): --file --size --engine --order --ops --threads --window --limit",
	  bench_scan },
	{ "prefetch", "bytes per second by bufio_prefetch() and bufio_read(): as scan, without --threads",
	  bench_prefetch },
	{ "write", "bytes per second of bufio_write_dirty_buffers(), with its flush: --file --size --engine",
	  bench_write },
	{ "rss", "bytes of memory above the limit after a scan: --file --size --engine --limit", bench_rss },
	{ "time", "milliseconds of a command, the file not in the page cache before: --file -- COMMAND...", bench_time },
	{ "times", "a line with the milliseconds of processor time of a command, and then as time", bench_times },
	{ "floor", "reads a pool, makes checksums and counts; mappings: --file --size", bench_floor },
	{ "memory", "bytes that the command has resident above its limit: --file --limit -- COMMAND...", bench_memory },
};

static const struct bench defaults = {
	.engine = "auto",
	.order = "sequential",
	.blocks = 100000,
	.ops = 3000000,
	.size = UINT64_C(2) << 30,
	.limit = UINT64_C(64) << 20,
	.window = UINT64_C(4) << 20,
	.threads = 1,
	.clients = 1,
};

static const struct option {
	const char *name, *help;
	size_t at;
	bool is_text;
} options[] = {
	{ "--file", "file or block device to work on; write overwrites it", offsetof(struct bench, file), true },
	{ "--engine", "of I/O (auto)", offsetof(struct bench, engine), true },
	{ "--order", "of blocks: sequential, random; for hits also same (sequential)", offsetof(struct bench, order), true },
	{ "--blocks", "of 4 KiB that are cached (100000)", offsetof(struct bench, blocks), false },
	{ "--ops", "reads: of each thread in hits, pair; in all of random order (3000000)",
	  offsetof(struct bench, ops), false },
	{ "--size", "bytes of the file that are used (2GiB)", offsetof(struct bench, size), false },
	{ "--limit", "memory limit (64MiB)", offsetof(struct bench, limit), false },
	{ "--window", "bytes that are read ahead; 0: the library's choice, scan only (4MiB)",
	  offsetof(struct bench, window), false },
	{ "--threads", "of bufio_scan() (1)", offsetof(struct bench, threads), false },
	{ "--clients", "of pair (1)", offsetof(struct bench, clients), false },
};

#define NR(array) (sizeof(array) / sizeof((array)[0]))

static int help(void)
{
	puts("bench VERB [--NAME VALUE]... [-- COMMAND...]: measures one thing once, and prints one number.\n");
	for (size_t i = 0; i < NR(verbs); i++)
		printf("  %-10s %s\n", verbs[i].name, verbs[i].help);
	putchar('\n');
	for (size_t i = 0; i < NR(options); i++)
		printf("  %-10s %s\n", options[i].name, options[i].help);
	return 0;
}

static void parse_option(struct bench *args, const char *name, const char *value)
{
	for (size_t i = 0; i < NR(options); i++) {
		void *field = (char *)args + options[i].at;

		if (strcmp(options[i].name, name))
			continue;
		if (!value)
			die("%s wants a value", name);
		if (options[i].is_text)
			*(const char **)field = value;
		else
			check(units_parse_size(value, 1, field), value);
		return;
	}
	die("what is %s? See bench --help", name);
}

static void parse_arguments(struct bench *args, char **words)
{
	for (; *words && strcmp(*words, "--"); words += 2)
		parse_option(args, words[0], words[1]);
	if (*words)
		args->command = words + 1;
}

int main(int argc, char **argv)
{
	struct bench args = defaults;
	double value;

	if (argc < 2 || !strcmp(argv[1], "--help"))
		return help();
	parse_arguments(&args, argv + 2);
	for (size_t i = 0; i < NR(verbs); i++) {
		if (strcmp(verbs[i].name, argv[1]))
			continue;
		value = verbs[i].run(&args);
		printf("%.*f\n", value < 1000 ? 3 : 0, value);
		return fflush(stdout) ? 1 : 0;
	}
	die("what is %s? See bench --help", argv[1]);
}
