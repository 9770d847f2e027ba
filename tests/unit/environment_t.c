// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a client learns from the machine and from the BUFIO_* variables. */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bufio/bufio_int.h"
#include "rig.h"

#define BLOCK 4096
#define NR_BLOCKS 64
#define LIMIT "BUFIO_MEMORY_LIMIT"
#define PERCENT "BUFIO_DIRTY_PERCENT"
#define AHEAD "BUFIO_READ_AHEAD"

static const char *const names[] = { LIMIT, PERCENT, AHEAD };

/* What is set outside is none of the tests' business. */
static void clear_environment(void)
{
	for (unsigned i = 0; i < 3; i++)
		unsetenv(names[i]);
}

static void setup(void)
{
	clear_environment();
	rig_open(BLOCK, NR_BLOCKS);
}

static void finish(void)
{
	rig_close_device();
	clear_environment();
}

static struct bufio_client *create(void)
{
	struct bufio_client *c = bufio_client_create(rig.dev, BLOCK, 1, 0, NULL, NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	return c;
}

/* --- variables --- */

static void without_variables(void)
{
	struct bufio_reason why = { "untouched" };
	struct bufio_client *c;

	setup();
	CU_ASSERT_EQUAL(bufio_check_environment(&why), 0);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
	CU_ASSERT_STRING_EQUAL(why.text, "untouched");
	c = create();
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(c), 75);
	CU_ASSERT_EQUAL(bufio_get_read_ahead(c), 8 * MIB);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	finish();
}

static void honoured(void)
{
	struct bufio_client *c;

	setup();
	setenv(LIMIT, "33MiB", 1);
	setenv(PERCENT, "12", 1);
	setenv(AHEAD, "3M", 1);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
	c = create();
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), 33 * MIB);
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(c), 12);
	CU_ASSERT_EQUAL(bufio_get_read_ahead(c), 3 * MIB);
	/* A client made before keeps what it has, and may change it. */
	setenv(LIMIT, "55MiB", 1);
	CU_ASSERT_EQUAL(bufio_set_dirty_percent(c, 40), 0);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), 33 * MIB);
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(c), 40);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	finish();
}

static void extremes(void)
{
	struct bufio_client *c;

	setup();
	setenv(PERCENT, "1", 1);
	setenv(AHEAD, "0", 1);
	setenv(LIMIT, "6GiB", 1);
	c = create();
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(c), 1);
	CU_ASSERT_EQUAL(bufio_get_read_ahead(c), 0);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), UINT64_C(6) << 30);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	setenv(PERCENT, "100", 1);
	c = create();
	CU_ASSERT_EQUAL(bufio_get_dirty_percent(c), 100);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	finish();
}

/* A limit from outside says how much there may be, not how much is needed. */
static void not_below_the_floor(void)
{
	static const char *const limits[] = { "1", "4096", "10KiB" };

	setup();
	for (unsigned i = 0; i < 3; i++) {
		setenv(LIMIT, limits[i], 1);
		CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
		rig_create(20, 0, NULL, NULL);
		CU_ASSERT_EQUAL(bufio_get_memory_limit(rig.c), bufio_get_memory_floor(rig.c));
		rig_read_all(0, NR_BLOCKS);
		CU_ASSERT_EQUAL(bufio_client_destroy(rig.c), 0);
	}
	finish();
}

static void refused(const char *name, const char *value)
{
	struct bufio_reason why = { "" };

	setenv(name, value, 1);
	CU_ASSERT_EQUAL(bufio_check_environment(&why), -EINVAL);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, name));
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, value));
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, strcmp(name, PERCENT) ? "MiB" : "1 to 100"));
	CU_ASSERT_PTR_NULL(strchr(why.text, '\n'));
	errno = 0;
	CU_ASSERT_PTR_NULL(bufio_client_create(rig.dev, BLOCK, 1, 0, NULL, NULL));
	CU_ASSERT_EQUAL(errno, EINVAL);
	unsetenv(name);
	CU_ASSERT_EQUAL(bufio_check_environment(NULL), 0);
}

static void not_understood(void)
{
	setup();
	refused(LIMIT, "much");
	refused(LIMIT, "64 MiB");
	refused(LIMIT, "64MiBs");
	refused(LIMIT, "-1");
	refused(LIMIT, "0");
	refused(LIMIT, "99999999999999999999");
	refused(LIMIT, "17000000TiB");
	refused(PERCENT, "0");
	refused(PERCENT, "101");
	refused(PERCENT, "50%");
	refused(PERCENT, "half");
	refused(PERCENT, "4294967346"); /* 50 in 32 bits */
	refused(AHEAD, "4XB");
	refused(AHEAD, "1.5MiB");
	refused(AHEAD, "-4");
	finish();
}

/* A text of any length still is a reason. */
static void long_value(void)
{
	char value[20000];
	struct bufio_reason why = { "" };

	setup();
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = 0;
	setenv(AHEAD, value, 1);
	CU_ASSERT_EQUAL(bufio_check_environment(&why), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(why.text, AHEAD));
	CU_ASSERT_TRUE(strlen(why.text) < sizeof(why.text));
	finish();
}

/* --- the machine --- */

static char root[512];

static void make_root(void)
{
	const char *dir = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/unitXXXXXX", dir ? dir : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_root(void)
{
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A file below the root, and the directories on the way. */
static void put(const char *name, const char *text)
{
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = 0;
		mkdir(path, 0700);
	}
	f = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	fputs(text, f);
	fclose(f);
}

#define V1 "sys/fs/cgroup/memory"
#define V2 "sys/fs/cgroup"
#define GROUPS_V1 "12:cpuset:/a\n7:memory:/a/b\n3:cpu,cpuacct:/c\n1:name=systemd:/d\n0::/e\n"

static uint64_t machine(void)
{
	return memory_available("/dev/null/nowhere");
}

static void without_groups(void)
{
	make_root();
	CU_ASSERT_TRUE(machine() >= MIB);
	CU_ASSERT_EQUAL(memory_available(root), machine());
	put("proc/self/cgroup", "");
	CU_ASSERT_EQUAL(memory_available(root), machine());
	put("proc/self/cgroup", "0::/\n");
	CU_ASSERT_EQUAL(memory_available(root), machine());
	remove_root();
}

static void version_2(void)
{
	make_root();
	put("proc/self/cgroup", "0::/a/b\n");
	put(V2 "/a/b/memory.max", "9000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 9000000);
	put(V2 "/a/b/memory.max", "max\n");
	CU_ASSERT_EQUAL(memory_available(root), machine());
	put(V2 "/a/b/memory.max", "9000000"); /* without an end of line */
	CU_ASSERT_EQUAL(memory_available(root), 9000000);
	remove_root();
}

static void groups_above(void)
{
	make_root();
	put("proc/self/cgroup", "0::/a/b/c\n");
	put(V2 "/a/b/c/memory.max", "9000000\n");
	put(V2 "/a/b/memory.max", "max\n");
	put(V2 "/a/memory.max", "7000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 7000000);
	put(V2 "/a/b/c/memory.max", "max\n");
	CU_ASSERT_EQUAL(memory_available(root), 7000000);
	/* In a container its group is the topmost. */
	put(V2 "/memory.max", "5000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 5000000);
	put("proc/self/cgroup", "0::/\n");
	CU_ASSERT_EQUAL(memory_available(root), 5000000);
	/* Nor does it matter that the group's own directory cannot be seen from there. */
	put("proc/self/cgroup", "0::/../x/y\n");
	CU_ASSERT_EQUAL(memory_available(root), 5000000);
	remove_root();
}

static void version_1(void)
{
	make_root();
	put("proc/self/cgroup", GROUPS_V1);
	put(V1 "/a/b/memory.limit_in_bytes", "8000000\n");
	put(V1 "/memory.limit_in_bytes", "9223372036854771712\n");
	put(V2 "/cpuset/a/memory.limit_in_bytes", "1\n");
	put(V1 "/e/memory.limit_in_bytes", "1\n");
	CU_ASSERT_EQUAL(memory_available(root), 8000000);
	put(V1 "/a/memory.limit_in_bytes", "6000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 6000000);
	put(V1 "/a/b/memory.limit_in_bytes", "9223372036854771712\n");
	put(V1 "/a/memory.limit_in_bytes", "9223372036854771712\n");
	CU_ASSERT_EQUAL(memory_available(root), machine());
	put(V1 "/memory.limit_in_bytes", "4000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 4000000);
	remove_root();
}

/* Both versions at once, as some systems have them. */
static void both_versions(void)
{
	make_root();
	put("proc/self/cgroup", "7:memory:/a\n0::/b\n");
	put(V1 "/a/memory.limit_in_bytes", "8000000\n");
	put(V2 "/b/memory.max", "9000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 8000000);
	put(V2 "/b/memory.max", "7000000\n");
	CU_ASSERT_EQUAL(memory_available(root), 7000000);
	remove_root();
}

/* Whatever is not a number is no limit. */
static void garbage(void)
{
	static const char *const limits[] = { "", "\n", "lots\n", "12 34\n", "0x100000\n", "99999999999999999999999\n",
					      "-5\n", "5MiB\n" };
	static const char *const groups[] = { "", "\n", ":\n", "::\n", "0\n", "0:\n", "0:memory\n", "x:memory:\n",
					      "memory:/a\n", "0::a\n", "::::::\n", "7:memory:\n" };

	make_root();
	put("proc/self/cgroup", "0::/a\n7:memory:/a\n");
	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		put(V2 "/a/memory.max", limits[i]);
		put(V1 "/a/memory.limit_in_bytes", limits[i]);
		CU_ASSERT_EQUAL(memory_available(root), machine());
	}
	for (unsigned i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		put("proc/self/cgroup", groups[i]);
		CU_ASSERT_EQUAL(memory_available(root), machine());
	}
	remove_root();
}

/* Longer than any buffer that it is read into. */
static void long_path(void)
{
	static char line[3 * PATH_MAX];

	make_root();
	put(V2 "/a/memory.max", "9000000\n");
	for (size_t length = PATH_MAX - 64; length < sizeof(line) - 16; length += 61) {
		memset(line, 'x', length);
		memcpy(line, "0::/", 4);
		strcpy(line + length, "\n0::/a\n");
		put("proc/self/cgroup", line);
		CU_ASSERT_EQUAL(memory_available(root), 9000000);
	}
	remove_root();
}

static void no_more_than_the_machine(void)
{
	char text[32];

	make_root();
	put("proc/self/cgroup", "0::/a\n");
	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)machine() + 1);
	put(V2 "/a/memory.max", text);
	CU_ASSERT_EQUAL(memory_available(root), machine());
	put(V2 "/a/memory.max", "0\n");
	CU_ASSERT_EQUAL(memory_available(root), 0);
	remove_root();
}

/* What a client makes of it is tested with what this machine really has. */
static void default_limit(void)
{
	uint64_t want = memory_available("") / 16, floor;
	struct bufio_client *c;

	setup();
	want = want < 8 * MIB ? 8 * MIB : want > 256 * MIB ? 256 * MIB : want;
	c = create();
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), want);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	c = bufio_client_create(rig.dev, 1 << 20, 1000, 0, NULL, NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(c);
	floor = bufio_get_memory_floor(c);
	CU_ASSERT_TRUE(floor > 1000 * MIB);
	CU_ASSERT_EQUAL(bufio_get_memory_limit(c), floor);
	CU_ASSERT_EQUAL(bufio_client_destroy(c), 0);
	finish();
}

static const struct unit_case cases[] = {
	{ "without variables the environment is understood, and everything is as at first", without_variables },
	{ "each variable is honoured when a client is made, and not later", honoured },
	{ "the smallest and largest values are honoured", extremes },
	{ "a limit below the floor becomes the floor", not_below_the_floor },
	{ "what is not understood is refused, by a reason with variable, value and what is expected", not_understood },
	{ "a reason fits, however long the value", long_value },
	{ "without control groups it is the machine's memory", without_groups },
	{ "a limit of a group of version 2 is obeyed, and max is none", version_2 },
	{ "the lowest limit of all groups above counts", groups_above },
	{ "limits of version 1 are those of the group of the memory controller", version_1 },
	{ "of both versions the lower one counts", both_versions },
	{ "what is no number is no limit, and what is no line of groups is none", garbage },
	{ "a group's path of any length does no harm", long_path },
	{ "a limit above the machine's memory is none, and 0 is one", no_more_than_the_machine },
	{ "a client starts with a sixteenth of it, 8 to 256 MiB, and not below its floor", default_limit },
	{ NULL, NULL },
};

const struct unit_suite environment_suite = { "environment", cases };
