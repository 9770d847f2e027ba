// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who uses a block device: what sysfs calls its holders, else where it is mounted; and a file: a loop device. */
#include <dirent.h>
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

static bool is_backing_file(const char *sys, const char *loop, const struct stat *file)
{
	char path[512], backing[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/block/%s/loop/backing_file", sys, loop);
	read_line(path, backing, sizeof(backing));
	return *backing && !stat(backing, &st) && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
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
		if (strncmp(e->d_name, "loop", 4) != 0 || !is_backing_file(sys, e->d_name, file))
			continue;
		snprintf(name, size, "%s", e->d_name);
		found = true;
	}
	closedir(d);
	return found;
}

bool io_name_dm_holder(uint64_t rdev, char *name, size_t size)
{
	struct holder h;

	if (!find_holder(rdev, &h) || !*h.dm_name)
		return false;
	snprintf(name, size, "%s", h.dm_name);
	return true;
}
