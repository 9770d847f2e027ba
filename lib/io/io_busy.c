// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Who uses a block device: what sysfs calls its holders, else where it is mounted; and a file: a loop device. And who it is
 * itself.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "io/io.h"

static void read_line(const char *path, char *line, int size)
{
	FILE *f = fopen(path, "re");

	*line = '\0';
	if (!f)
		return;
	if (fgets(line, size, f))
		line[strcspn(line, "\n")] = '\0';
	fclose(f);
}

struct holder {
	char node[64];     /* "dm-2" */
	char dm_name[128]; /* empty: it is not device-mapper's */
};

/* The first that is found. */
static bool find_holder(uint64_t rdev, struct holder *h)
{
	bool found = false;
	char path[512];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major(rdev), minor(rdev));
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(h->node, sizeof(h->node), "%.63s", e->d_name);
		snprintf(path, sizeof(path), "/sys/block/%s/dm/name", h->node);
		read_line(path, h->dm_name, sizeof(h->dm_name));
		found = true;
	}
	closedir(d);
	return found;
}

/* Fields of a mountinfo line: id, parent, major:minor, root, mount point ... (proc(5)). */
static void name_mount(unsigned major, unsigned minor, char *text, size_t size)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;

	if (!f)
		return;
	while (getline(&line, &room, f) > 0) {
		unsigned a, b;
		char where[256];

		if (sscanf(line, "%*d %*d %u:%u %*s %255s", &a, &b, where) == 3 && a == major && b == minor) {
			snprintf(text, size, "mounted on %s", where);
			break;
		}
	}
	free(line);
	fclose(f);
}

void io_name_user(uint64_t rdev, char *text, size_t size)
{
	struct holder h;

	*text = '\0';
	if (!find_holder(rdev, &h))
		name_mount(major(rdev), minor(rdev), text, size);
	else if (*h.dm_name)
		snprintf(text, size, "held by %s (%s)", h.node, h.dm_name);
	else
		snprintf(text, size, "held by %s", h.node);
}

/* @path: of a loop device's "backing_file". */
static bool is_backing_file(const char *path, const struct stat *file)
{
	char backing[4096];
	struct stat st;

	read_line(path, backing, sizeof(backing));
	return *backing && !stat(backing, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

static bool is_loop_of(const char *sys, const char *loop, const struct stat *file)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/block/%s/loop/backing_file", sys, loop);
	return is_backing_file(path, file);
}

bool io_name_loop(const char *sys, const struct stat *file, char *name, size_t size)
{
	bool found = false;
	char path[512];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/block", sys);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (e = readdir(d))) {
		if (strncmp(e->d_name, "loop", 4) != 0 || !is_loop_of(sys, e->d_name, file))
			continue;
		snprintf(name, size, "%s", e->d_name);
		found = true;
	}
	closedir(d);
	return found;
}

/* @path: of a device in sysfs. */
static bool is_device(const char *path, const struct stat *target)
{
	char file[600], number[64], wanted[64];

	snprintf(file, sizeof(file), "%s/dev", path);
	read_line(file, number, sizeof(number));
	snprintf(wanted, sizeof(wanted), "%u:%u", major(target->st_rdev), minor(target->st_rdev));
	return !strcmp(number, wanted);
}

bool io_is_on(const char *sys, uint64_t fs, const struct stat *target)
{
	static const char *const above[] = { "", "/.." }; /* a partition is in the folder of its device */

	if (S_ISBLK(target->st_mode) && target->st_rdev == fs)
		return true;
	for (size_t i = 0; i < sizeof(above) / sizeof(*above); i++) {
		char path[512], backing[600];

		snprintf(path, sizeof(path), "%s/dev/block/%u:%u%s", sys, major(fs), minor(fs), above[i]);
		snprintf(backing, sizeof(backing), "%s/loop/backing_file", path);
		if (S_ISBLK(target->st_mode) ? is_device(path, target) : is_backing_file(backing, target))
			return true;
	}
	return false;
}

bool io_name_dm_holder(uint64_t rdev, char *name, size_t size)
{
	struct holder h;

	if (!find_holder(rdev, &h) || !*h.dm_name)
		return false;
	snprintf(name, size, "%s", h.dm_name);
	return true;
}

/* --- identity --- */

/* What sysfs knows of a device and nobody else has, the best first. */
static void identify_device(uint64_t rdev, char text[IO_IDENTITY_MAX])
{
	static const char *const files[] = { "dm/uuid", "wwid", "device/wwid", "serial", "device/serial" };
	char path[128], line[IO_IDENTITY_MAX - 16];

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s", major(rdev), minor(rdev), files[i]);
		read_line(path, line, sizeof(line));
		if (*line) {
			snprintf(text, IO_IDENTITY_MAX, "device %s", line);
			return;
		}
	}
	snprintf(text, IO_IDENTITY_MAX, "device %u:%u", major(rdev), minor(rdev));
}

int io_identify(const char *path, char text[IO_IDENTITY_MAX])
{
	struct statx sx;

	if (statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_BTIME, &sx))
		return -errno;
	if (S_ISBLK(sx.stx_mode))
		identify_device(makedev(sx.stx_rdev_major, sx.stx_rdev_minor), text);
	else if (sx.stx_mask & STATX_BTIME)
		snprintf(text, IO_IDENTITY_MAX, "file %" PRIu64 " made %lld.%u", (uint64_t)sx.stx_ino,
			 (long long)sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec);
	else
		snprintf(text, IO_IDENTITY_MAX, "file %" PRIu64, (uint64_t)sx.stx_ino);
	return 0;
}
