// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a new client learns from the machine and from the BUFIO_* variables. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/units.h"
#include "bufio/bufio_int.h"

/* --- memory --- */

static uint64_t physical_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

/* The first line of a file without its end; false when there is none. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *f = fopen(path, "re");
	bool got = f && fgets(line, (int)size, f);

	if (got)
		line[strcspn(line, "\n")] = 0;
	if (f)
		fclose(f);
	return got;
}

/* A limit in a control group's file lowers *@bytes; "max", or version 1's number near 2^63, does not. */
static void apply_limit(const char *directory, const char *file, uint64_t *bytes)
{
	char path[PATH_MAX], line[64], *end;
	uint64_t n;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, file) >= sizeof(path) ||
	    !read_line(path, line, sizeof(line)))
		return;
	errno = 0;
	n = strtoull(line, &end, 10);
	if (end != line && !*end && !errno && n < *bytes)
		*bytes = n;
}

/* A group is bound by every group above it too. @directory is cut down to @top on the way. */
static void apply_limits(char *directory, size_t top, const char *file, uint64_t *bytes)
{
	for (;;) {
		char *slash;

		apply_limit(directory, file, bytes);
		slash = strrchr(directory, '/');
		if (!slash || slash < directory + top)
			return;
		*slash = 0;
	}
}

/* A line of /proc/self/cgroup is ID:CONTROLLERS:PATH; see cgroups(7). Version 2 names no controllers. */
static void apply_group(const char *root, char *line, uint64_t *bytes)
{
	char directory[PATH_MAX], *controllers = strchr(line, ':'), *path;
	bool unified;
	int top;

	path = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!path)
		return;
	*path++ = 0;
	unified = !controllers[1];
	if (!unified && strcmp(controllers + 1, "memory"))
		return;
	top = snprintf(directory, sizeof(directory), "%s/sys/fs/cgroup%s", root, unified ? "" : "/memory");
	if (top < 0 || strlen(path) >= sizeof(directory) - (size_t)top)
		return;
	strcpy(directory + top, strcmp(path, "/") ? path : "");
	apply_limits(directory, (size_t)top, unified ? "memory.max" : "memory.limit_in_bytes", bytes);
}

uint64_t memory_available(const char *root)
{
	char path[PATH_MAX], line[PATH_MAX];
	uint64_t bytes = physical_memory();
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		apply_group(root, line, &bytes);
	}
	if (f)
		fclose(f);
	return bytes;
}

/* --- variables --- */

static int set_limit(struct bufio_client *c, uint64_t bytes)
{
	uint64_t floor = bufio_get_memory_floor(c);

	return memory_set_limit(c, bytes > floor ? bytes : floor);
}

static int set_percent(struct bufio_client *c, uint64_t percent)
{
	return bufio_set_dirty_percent(c, (unsigned)percent);
}

static int set_read_ahead(struct bufio_client *c, uint64_t bytes)
{
	bufio_set_read_ahead(c, bytes);
	return 0;
}

static const struct variable {
	const char *name, *expected;
	uint64_t lowest, highest;
	int (*apply)(struct bufio_client *c, uint64_t value);
} variables[] = {
	{ "BUFIO_MEMORY_LIMIT", "a size such as 64MiB", 1, UINT64_MAX, set_limit },
	{ "BUFIO_DIRTY_PERCENT", "a number from 1 to 100", 1, 100, set_percent },
	{ "BUFIO_READ_AHEAD", "a size such as 4MiB", 0, UINT64_MAX, set_read_ahead },
};

#define NR_VARIABLES (sizeof(variables) / sizeof(*variables))

/* 1: set, and a value; 0: not set; -EINVAL. */
static int get_variable(const struct variable *v, const char **text, uint64_t *value)
{
	*text = secure_getenv(v->name);
	if (!*text)
		return 0;
	if (units_parse_size(*text, 1, value) || *value < v->lowest || *value > v->highest)
		return -EINVAL;
	return 1;
}

int bufio_check_environment(struct bufio_reason *reason)
{
	for (size_t i = 0; i < NR_VARIABLES; i++) {
		const struct variable *v = &variables[i];
		const char *text;
		uint64_t value;

		if (get_variable(v, &text, &value) >= 0)
			continue;
		if (reason)
			snprintf(reason->text, sizeof(reason->text), "the environment variable %s is '%s', which is not %s",
				 v->name, text, v->expected);
		return -EINVAL;
	}
	return trace_check(reason);
}

int apply_environment(struct bufio_client *c)
{
	for (size_t i = 0; i < NR_VARIABLES; i++) {
		const char *text;
		uint64_t value;
		int r = get_variable(&variables[i], &text, &value);

		if (r > 0)
			r = variables[i].apply(c, value);
		if (r)
			return r;
	}
	return trace_attach(c);
}
