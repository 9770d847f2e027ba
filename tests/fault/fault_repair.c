// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * fault-repair [--in-place] IMAGE: the repair of a leaking pool by check, or of any by repair in place, with read, write or
 * flush number n failing, for n = 1, 2, ... until the repair needs no more of them.
 *
 * Whatever fails, the pool is as it was, or the journal brings it back bit for bit, or finishes the repair.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/io.h"
#include "ops/check.h"
#include "ops/journal.h"
#include "ops/repair.h"

#define MEMORY_LIMIT (4 << 20)

static struct {
	uint8_t *old, *repaired;
	size_t size;
	char journal[4096];
	bool in_place;
} test;

static void die(const char *what)
{
	fprintf(stderr, "fault-repair: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void load(const char *path)
{
	FILE *f = fopen(path, "rb");

	if (!f || fseek(f, 0, SEEK_END))
		die(path);
	test.size = (size_t)ftell(f);
	rewind(f);
	test.old = malloc(test.size);
	test.repaired = malloc(test.size);
	if (!test.old || !test.repaired || fread(test.old, 1, test.size, f) != test.size)
		die(path);
	fclose(f);
}

static struct bufio_client *create_client(struct bufio_device *dev)
{
	struct bufio_client *c = bufio_client_create(dev, 4096, CHECK_HELD_BUFFERS, 0, NULL, NULL);

	if (!c || bufio_set_memory_limit(c, MEMORY_LIMIT))
		die("client");
	return c;
}

static void check(struct bufio_client *client, struct op_result *result)
{
	struct op_check_args args = {
		.image = "image", .program = "fault-repair", .out_fd = -1, .info_fd = -1, .message_fd = -1,
		.auto_repair = true, .journal = test.journal, .client = client,
	};

	op_check(&args, result);
}

static void repair_in_place(struct bufio_client *client, struct op_result *result)
{
	struct op_repair_args args = {
		.input = "image", .program = "fault-repair", .out_fd = -1, .message_fd = -1, .journal = test.journal,
		.client = client,
	};

	op_repair_in_place(&args, result);
}

/* One run on @memory; *@plan says what fails, and counts. *@dev is the filter, which closes the memory too. */
static struct op_result repair(struct bufio_device *memory, struct io_fault_plan *plan, struct bufio_device **dev)
{
	struct bufio_client *client;
	struct op_result result;

	unlink(test.journal);
	if (io_fault_open(memory, plan, dev))
		die("io_fault_open");
	client = create_client(*dev);
	(test.in_place ? repair_in_place : check)(client, &result);
	bufio_client_destroy(client);
	return result;
}

static bool replay(struct bufio_device *memory, bool forward, const uint8_t *want)
{
	struct bufio_client *c = create_client(memory);
	struct op_result result;

	op_journal_replay(c, "image", test.journal, forward, &result);
	bufio_client_destroy(c);
	if (result.outcome != OP_DONE)
		printf("# %s\n", result.reason);
	return result.outcome == OP_DONE && !memcmp(io_mem_data(memory), want, test.size);
}

static bool is_any_above(const struct op_result *r, int severity)
{
	uint64_t n = 0;

	for (int s = severity + 1; s < NR_SEVERITIES; s++)
		n += r->problems[s];
	return n;
}

static bool has_problems(const struct op_result *r)
{
	return is_any_above(r, -1);
}

/* Without anything that fails. */
static bool is_healthy(struct bufio_device *memory)
{
	struct op_check_args args = {
		.image = "image", .program = "fault-repair", .out_fd = -1, .info_fd = -1, .message_fd = -1,
		.client = create_client(memory),
	};
	struct op_result result;

	op_check(&args, &result);
	bufio_client_destroy(args.client);
	return result.outcome == OP_DONE && !is_any_above(&result, SEVERITY_COSMETIC);
}

/* Old, and something is said about it; or new, when it mattered to nobody; or between, with what it takes to go either way. */
static bool is_safe(struct bufio_device *memory, const struct op_result *result)
{
	bool is_old = !memcmp(io_mem_data(memory), test.old, test.size);
	bool is_new = !memcmp(io_mem_data(memory), test.repaired, test.size);

	if (result->outcome == OP_DONE && test.in_place)
		return is_new || is_healthy(memory); /* what could not be read was built anew elsewhere */
	if (result->outcome == OP_DONE)
		return is_new || (is_old && has_problems(result));
	if (result->outcome != OP_PARTLY)
		return is_old;
	if (access(test.journal, F_OK))
		return is_old;
	return replay(memory, false, test.old) && replay(memory, true, test.repaired) && replay(memory, false, test.old);
}

/* How many were tried; 0: one of them went wrong, or there was none. */
static uint64_t fail_each(unsigned kind, bool sticky)
{
	for (uint64_t n = 1;; n++) {
		struct io_fault_plan plan = { .kinds = kind, .fail_at = n, .sticky = sticky, .error = EIO };
		struct bufio_device *memory, *dev;
		struct op_result result;
		bool is_over, ok;

		if (bufio_device_open_memory(test.size, &memory))
			die("memory");
		memcpy(io_mem_data(memory), test.old, test.size);
		result = repair(memory, &plan, &dev);
		is_over = plan.count < n;
		ok = is_over ? !memcmp(io_mem_data(memory), test.repaired, test.size) : is_safe(memory, &result);
		bufio_device_close(dev);
		if (!ok)
			printf("# %" PRIu64 ": outcome %d, %s\n", n, result.outcome, result.reason);
		if (!ok || is_over)
			return ok ? n - 1 : 0;
	}
}

static void repair_once(void)
{
	struct io_fault_plan none = { 0 };
	struct bufio_device *memory, *dev;
	struct op_result result;

	if (bufio_device_open_memory(test.size, &memory))
		die("memory");
	memcpy(io_mem_data(memory), test.old, test.size);
	result = repair(memory, &none, &dev);
	if (result.outcome != OP_DONE)
		die(result.reason);
	memcpy(test.repaired, io_mem_data(memory), test.size);
	bufio_device_close(dev);
}

int main(int argc, char **argv)
{
	static const struct {
		unsigned kind;
		const char *name;
	} kinds[] = { { IO_FAULT_READ, "reads" }, { IO_FAULT_WRITE, "writes" }, { IO_FAULT_FLUSH, "flushes" } };
	unsigned nr = 0;
	bool failed = false;

	test.in_place = argc == 3 && !strcmp(argv[1], "--in-place");
	if (argc != 2 + test.in_place)
		die("usage: fault-repair [--in-place] IMAGE");
	snprintf(test.journal, sizeof(test.journal), "%s/fault-repair.%ld.journal", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
		 (long)getpid());
	load(argv[argc - 1]);
	repair_once();
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		for (unsigned sticky = 0; sticky < 2; sticky++) {
			uint64_t n = fail_each(kinds[k].kind, sticky);

			printf("%sok %u - repair%s: each of %" PRIu64 " %s failing%s: the pool is as it was, or can be so\n",
			       n ? "" : "not ", ++nr, test.in_place ? " in place" : "", n, kinds[k].name, sticky ? ", and all later ones" : "");
			failed |= !n;
		}
	printf("1..%u\n", nr);
	unlink(test.journal);
	free(test.old);
	free(test.repaired);
	return failed;
}
