// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/units.h"
#include "cmd/cli.h"
#include "io/io.h"

enum { KEY_BLOCK_SIZE = 0x100, KEY_MEMORY_LIMIT, KEY_IO_ENGINE, KEY_DIRECT, KEY_STATS };

static const struct argp_option options[] = {
	{ NULL, 0, NULL, 0, "Device and cache:", 10 },
	{ "block-size", KEY_BLOCK_SIZE, "SIZE", 0, "Unit of reading and of block numbers (default 4KiB)", 0 },
	{ "memory-limit", KEY_MEMORY_LIMIT, "SIZE", 0,
	  "Most memory for cached blocks (default: a sixteenth of what there is, 8MiB to 256MiB)", 0 },
	{ "io-engine", KEY_IO_ENGINE, "NAME", 0, "How to do I/O: auto, uring, threads", 0 },
	{ "direct", KEY_DIRECT, "WHEN", 0, "Bypass the page cache: auto (block devices, and files from 64MiB on), on, off", 0 },
	{ "stats", KEY_STATS, NULL, 0, "Print what the cache did, to the standard error", 0 },
	{ 0 },
};

static void parse_size(struct argp_state *state, const char *option, const char *arg, uint64_t *value)
{
	if (units_parse_size(arg, 1, value))
		argp_error(state, "--%s: '%s' is not a size such as 4096, 64KiB or 1MiB", option, arg);
}

static void parse_direct(struct argp_state *state, struct cli_device *d, const char *arg)
{
	d->flags &= ~(BUFIO_OPEN_DIRECT | BUFIO_OPEN_BUFFERED);
	if (!strcmp(arg, "on"))
		d->flags |= BUFIO_OPEN_DIRECT;
	else if (!strcmp(arg, "off"))
		d->flags |= BUFIO_OPEN_BUFFERED;
	else if (strcmp(arg, "auto"))
		argp_error(state, "--direct: '%s' is none of auto, on, off", arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct cli_device *d = state->input;

	switch (key) {
	case KEY_BLOCK_SIZE:
		parse_size(state, "block-size", arg, &d->block_size);
		if (!d->block_size || d->block_size % 512 || d->block_size > UINT32_C(1) << 30)
			argp_error(state, "--block-size: %s is not a multiple of 512 bytes up to 1GiB", arg);
		return 0;
	case KEY_MEMORY_LIMIT:
		parse_size(state, "memory-limit", arg, &d->memory_limit);
		if (!d->memory_limit)
			argp_error(state, "--memory-limit: nothing works in 0 bytes");
		return 0;
	case KEY_IO_ENGINE:
		d->engine = arg;
		return 0;
	case KEY_DIRECT:
		parse_direct(state, d, arg);
		return 0;
	case KEY_STATS:
		d->stats = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* --help says the default of this door. */
static char *filter_help(int key, const char *text, void *input)
{
	const struct cli_device *d = input;
	char size[UNITS_SIZE_MAX], *help;

	if (key != KEY_BLOCK_SIZE || !d || !d->default_block_size)
		return (char *)text;
	if (asprintf(&help, "Unit of reading and of block numbers (default %s)",
		     units_format_whole_size(d->default_block_size, size)) < 0)
		return (char *)text;
	return help;
}

const struct argp cli_device_argp = { .options = options, .parser = parse, .help_filter = filter_help };

static enum cli_status open_client(struct cli_device *d, const char *program, const char *path, unsigned held_buffers)
{
	int r;

	d->client = bufio_client_create(d->device, (unsigned)d->block_size, held_buffers, 0, NULL, NULL);
	if (!d->client && errno == EINVAL) {
		cli_error(program, "%s: blocks of %" PRIu64 " bytes do not fit its alignment of %" PRIu32 " bytes", path,
			  d->block_size, bufio_device_describe(d->device)->alignment);
		return CLI_USAGE;
	}
	if (!d->client) {
		cli_error(program, "out of memory");
		return CLI_INTERNAL;
	}
	r = d->memory_limit ? bufio_set_memory_limit(d->client, d->memory_limit) : 0;
	if (r == -EINVAL) {
		cli_error(program, "--memory-limit: %" PRIu64 " bytes are the least that works here",
			  bufio_get_memory_floor(d->client));
		return CLI_USAGE;
	}
	if (r) {
		cli_error(program, "--memory-limit: %s", strerror(-r));
		return CLI_INTERNAL;
	}
	return CLI_OK;
}

/* From so many bytes on, to copy through the page cache costs more than it is likely to save. */
#define LARGE_FILE ((off_t)64 << 20)

static bool is_large_file(const struct cli_device *d, const char *path)
{
	struct stat st;

	return !(d->flags & (BUFIO_OPEN_DIRECT | BUFIO_OPEN_BUFFERED)) && d->block_size % 4096 == 0 && !stat(path, &st) &&
	       S_ISREG(st.st_mode) && (st.st_size >= LARGE_FILE || d->prefers_direct);
}

/* Not every file system can go direct. */
static int open_device(struct cli_device *d, const char *path, struct bufio_reason *reason)
{
	int r = is_large_file(d, path) ?
		bufio_device_open(path, d->flags | BUFIO_OPEN_DIRECT, d->engine, reason, &d->device) : -EINVAL;

	return r == -EINVAL ? bufio_device_open(path, d->flags, d->engine, reason, &d->device) : r;
}

/* What a variable is blamed for may have been said by an option. */
static void print_reason(const struct cli_device *d, const char *program, const struct bufio_reason *reason)
{
	static const char variable[] = "the environment variable BUFIO_TRACE";
	size_t n = sizeof(variable) - 1;

	if (d->trace_option && !strncmp(reason->text, variable, n))
		cli_error(program, "%s%s", d->trace_option, reason->text + n);
	else
		cli_error(program, "%s", reason->text);
}

enum cli_status cli_device_open_bare(struct cli_device *d, const char *program, const char *path)
{
	struct bufio_reason reason;
	int r = bufio_check_environment(&reason);

	if (!r)
		r = open_device(d, path, &reason);
	if (!r)
		return CLI_OK;
	print_reason(d, program, &reason);
	return r == -EBUSY || r == -EROFS ? CLI_REFUSED : r == -EINVAL ? CLI_USAGE : CLI_IO;
}

enum cli_status cli_device_open(struct cli_device *d, const char *program, const char *path, unsigned held_buffers)
{
	enum cli_status status = cli_device_open_bare(d, program, path);

	if (status)
		return status;
	status = open_client(d, program, path, held_buffers);
	if (status) {
		d->stats = false;
		cli_device_close(d, program);
	}
	return status;
}

enum cli_status cli_default_memory_limit(struct cli_device *d, const char *program, uint64_t *bytes)
{
	struct cli_device memory = { .block_size = d->block_size, .memory_limit = d->memory_limit };
	struct bufio_reason reason;
	enum cli_status status;

	if (bufio_check_environment(&reason)) {
		cli_error(program, "%s", reason.text);
		return CLI_USAGE;
	}
	if (bufio_device_open_memory(d->block_size, &memory.device)) {
		cli_error(program, "out of memory");
		return CLI_INTERNAL;
	}
	status = open_client(&memory, program, "memory", 1);
	if (!status)
		*bytes = bufio_get_memory_limit(memory.client);
	cli_device_close(&memory, program);
	return status;
}

void cli_advise_snapshot(const char *program, const char *path)
{
	char pool[128];
	struct stat st;

	if (stat(path, &st) || !S_ISBLK(st.st_mode) || !io_name_dm_holder(st.st_rdev, pool, sizeof(pool)))
		return;
	cli_error(program, "if %s is an active pool, look at a metadata snapshot of it:", pool);
	fprintf(stderr,
		"    dmsetup message %s 0 reserve_metadata_snap\n"
		"    %s --metadata-snap %s\n"
		"    dmsetup message %s 0 release_metadata_snap\n", pool, program, path, pool);
}

void cli_print_stats(const char *program, const struct bufio_stats *s, uint64_t memory_limit)
{
	cli_error(program,
		  "hits %" PRIu64 ", misses %" PRIu64 ", evictions %" PRIu64 ", read %" PRIu64 " blocks in %" PRIu64
		  " requests, wrote %" PRIu64 " in %" PRIu64 ", errors %" PRIu64 ", peak memory %" PRIu64 " of %" PRIu64
		  " bytes",
		  s->hits, s->misses, s->evictions, s->blocks_read, s->read_requests, s->blocks_written, s->write_requests,
		  s->read_errors + s->write_errors, s->peak_bytes, memory_limit);
}

static void print_stats(const struct cli_device *d, const char *program)
{
	struct bufio_stats s;

	bufio_get_stats(d->client, &s);
	cli_print_stats(program, &s, bufio_get_memory_limit(d->client));
}

void cli_device_close(struct cli_device *d, const char *program)
{
	struct bufio_reason reason;

	if (d->stats && d->client)
		print_stats(d, program);
	bufio_client_destroy(d->client);
	/* A trace may not be complete; the work is done all the same. */
	if (d->device && bufio_check_environment(&reason))
		print_reason(d, program, &reason);
	bufio_device_close(d->device);
	d->client = NULL;
	d->device = NULL;
}
