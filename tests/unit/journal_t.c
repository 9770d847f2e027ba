// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/journal.h"
#include "unit.h"

static char home[256], folder[sizeof(home) + 16], *old_home;
static char path[OP_JOURNAL_PATH_MAX];

/* A new folder for $XDG_STATE_HOME, in $TMPDIR. */
static void start(void)
{
	const char *tmp = getenv("TMPDIR");

	old_home = getenv("XDG_STATE_HOME");
	old_home = old_home ? strdup(old_home) : NULL;
	snprintf(home, sizeof(home), "%s/journal-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(home));
	snprintf(folder, sizeof(folder), "%s/bufio", home);
	CU_ASSERT_EQUAL(setenv("XDG_STATE_HOME", home, 1), 0);
}

static void finish(void)
{
	if (old_home)
		setenv("XDG_STATE_HOME", old_home, 1);
	else
		unsetenv("XDG_STATE_HOME");
	free(old_home);
	rmdir(folder);
	CU_ASSERT_EQUAL(rmdir(home), 0);
}

static void make_file(const char *name)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);

	CU_ASSERT_TRUE_FATAL(fd >= 0);
	close(fd);
}

static bool has_folder(void)
{
	struct stat s;

	return !stat(folder, &s) && S_ISDIR(s.st_mode);
}

static void name(const char *image, const char *part)
{
	char begin[sizeof(folder) + 300];

	snprintf(begin, sizeof(begin), "%s/repair-%s-", folder, part);
	CU_ASSERT_EQUAL(op_journal_name("repair", image, path), 0);
	CU_ASSERT_EQUAL(strncmp(path, begin, strlen(begin)), 0);
	CU_ASSERT_STRING_EQUAL(path + strlen(path) - strlen(".journal"), ".journal");
	CU_ASSERT_EQUAL(access(path, F_OK), -1);
}

static void names(void)
{
	char image[1000];

	start();
	name("pool.img", "pool.img");
	name("/dev/mapper/vg-pool_tmeta", "vg-pool_tmeta");
	name("./a/b", "b");
	memset(image, 'x', sizeof(image));
	image[sizeof(image) - 1] = '\0';
	CU_ASSERT_EQUAL(op_journal_name("repair", image, path), 0);
	CU_ASSERT_TRUE(strlen(strrchr(path, '/') + 1) < 256); /* as long as a name can be */
	finish();
}

static void makes_folder(void)
{
	struct stat s;

	start();
	CU_ASSERT_FALSE(has_folder());
	name("pool.img", "pool.img");
	CU_ASSERT_TRUE(has_folder());
	CU_ASSERT_EQUAL(stat(folder, &s), 0);
	CU_ASSERT_EQUAL(s.st_mode & 077, 0);
	name("pool.img", "pool.img");
	finish();
}

static void not_there_yet(void)
{
	enum { NR = 20 };
	static char made[NR][OP_JOURNAL_PATH_MAX];

	start();
	for (unsigned i = 0; i < NR; i++) {
		name("pool.img", "pool.img");
		memcpy(made[i], path, sizeof(path));
		make_file(path);
	}
	for (unsigned i = 0; i < NR; i++)
		CU_ASSERT_EQUAL(unlink(made[i]), 0);
	finish();
}

static void no_folder(void)
{
	char missing[sizeof(home) + 16];

	start();
	snprintf(missing, sizeof(missing), "%s/none", home);
	setenv("XDG_STATE_HOME", missing, 1);
	memset(path, 0, sizeof(path));
	CU_ASSERT_EQUAL(op_journal_name("repair", "pool.img", path), -ENOENT);
	CU_ASSERT_EQUAL(strncmp(path, missing, strlen(missing)), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(path, "/none/bufio/repair-pool.img-"));
	finish();
}

static void file_in_its_place(void)
{
	start();
	make_file(folder);
	CU_ASSERT_EQUAL(op_journal_name("repair", "pool.img", path), -ENOTDIR);
	CU_ASSERT_EQUAL(strncmp(path, folder, strlen(folder)), 0);
	CU_ASSERT_EQUAL(unlink(folder), 0);
	finish();
}

/* A name that would be cut off is none. */
static void too_long(void)
{
	static char deep[OP_JOURNAL_PATH_MAX + 100];

	start();
	for (size_t length = OP_JOURNAL_PATH_MAX - 40; length < sizeof(deep); length += 30) {
		size_t at = (size_t)snprintf(deep, sizeof(deep), "%s", home);

		while (at < length - 2) /* /./././. */
			at += (size_t)snprintf(deep + at, sizeof(deep) - at, "/.");
		setenv("XDG_STATE_HOME", deep, 1);
		CU_ASSERT_EQUAL(op_journal_name("repair", "pool.img", path), -ENAMETOOLONG);
		CU_ASSERT_TRUE(memchr(path, 0, sizeof(path)) != NULL);
	}
	finish();
}

/* What cannot be opened was not written by. */
static void cannot_be_opened(void)
{
	static char deep[OP_JOURNAL_PATH_MAX + 100];
	struct io_journal_status status;
	struct bufio_device *target;
	struct bufio_client *client;
	struct op_result result;

	start();
	snprintf(deep, sizeof(deep), "%s/loop", home);
	CU_ASSERT_EQUAL(symlink("loop", deep), 0);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(1 << 20, &target), 0);
	client = bufio_client_create(target, 4096, 1, 0, NULL, NULL);
	for (unsigned i = 0; i < 4; i++) {
		const char *names[] = { "/none/journal", "/dev/null/journal", deep, memset(path, 'x', sizeof(path) - 1) };

		if (i == 3)
			path[sizeof(path) - 1] = '\0';
		CU_ASSERT_FALSE(op_journal_read(names[i], &status, &result));
		CU_ASSERT_EQUAL(result.outcome, OP_INPUT);
		op_journal_replay(client, "target", names[i], false, &result);
		CU_ASSERT_EQUAL(result.outcome, OP_INPUT);
	}
	CU_ASSERT_FALSE(op_journal_read("/proc/self/mem", &status, &result)); /* -EIO, as nothing is mapped at 0 */
	CU_ASSERT_EQUAL(result.outcome, OP_INPUT);
	CU_ASSERT_FALSE(op_journal_read("/dev/null", &status, &result));
	CU_ASSERT_EQUAL(result.outcome, OP_REFUSED);
	bufio_client_destroy(client);
	bufio_device_close(target);
	unlink(deep);
	finish();
}

static void shown_nowhere(void)
{
	struct bufio_device *target, *journal;
	struct io_journal_args args = { .target = "target" };
	struct op_result result;

	start();
	args.path = path;
	CU_ASSERT_EQUAL(op_journal_name("repair", "pool.img", path), 0);
	CU_ASSERT_EQUAL_FATAL(bufio_device_open_memory(1 << 20, &target), 0);
	CU_ASSERT_EQUAL_FATAL(io_journal_begin(target, &args, NULL, &journal), 0);
	op_journal_show("unit", path, -1, false, &result);
	CU_ASSERT_EQUAL(result.outcome, OP_DONE);
	op_journal_show("unit", path, -1, true, &result);
	CU_ASSERT_EQUAL(result.outcome, OP_DONE);
	bufio_device_close(journal);
	bufio_device_close(target);
	finish();
}

static const struct unit_case cases[] = {
	{ "a journal has the name of its verb and of the image's last part, which is cut where it is too long", names },
	{ "the last folder is made, for its owner alone", makes_folder },
	{ "what a name is given for is not there yet, however many there are", not_there_yet },
	{ "a folder that cannot be made is an error, and says which it would be", no_folder },
	{ "so is a file in its place", file_in_its_place },
	{ "so is a name that is too long", too_long },
	{ "a journal that cannot be opened has written nothing", cannot_be_opened },
	{ "what a journal says of itself may go nowhere", shown_nowhere },
	{ NULL, NULL },
};

const struct unit_suite journal_suite = { "journal", cases };
