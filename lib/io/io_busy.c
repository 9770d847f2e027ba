// SPDX-License-Identifier: LGPL-2.1-or-later
/* Who uses a block device: what sysfs calls its holders, else where it is mounted. */
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

static bool name_holder(unsigned major, unsigned minor, char *text, size_t size)
{
	char path[512], dm_name[128];
	bool found = false;
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major, minor);
	d = opendir(path);
	if (!d)
		return false;
	while (!found && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/block/%.200s/dm/name", e->d_name);
		read_line(path, dm_name, sizeof(dm_name));
		if (*dm_name)
			snprintf(text, size, "held by %.64s (%s)", e->d_name, dm_name);
		else
			snprintf(text, size, "held by %.64s", e->d_name);
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
	*text = '\0';
	if (!name_holder(major(rdev), minor(rdev), text, size))
		name_mount(major(rdev), minor(rdev), text, size);
}
