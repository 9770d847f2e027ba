// SPDX-License-Identifier: LGPL-2.1-or-later
/* What a command costs that reads a file which is not in the page cache. Its output is thrown away. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

/* Dirty pages stay, so they are written first. */
static void forget_pages(const char *path)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		die("%s: %s", path ? path : "--file", strerror(errno));
	if (fsync(fd))
		die("%s: fsync: %s", path, strerror(errno));
	check(-posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), "posix_fadvise");
	close(fd);
}

static pid_t start(char **command)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;

	check(-posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init");
	check(-posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0), "/dev/null");
	check(-posix_spawnp(&pid, command[0], &actions, NULL, command, environ), command[0]);
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* Returns the milliseconds that it took. */
static double run(const struct bench *args, struct rusage *usage)
{
	double begin;
	int status;
	pid_t pid;

	if (!args->command || !*args->command)
		die("no command: it goes behind --");
	forget_pages(args->file);
	begin = now();
	pid = start(args->command);
	if (wait4(pid, &status, 0, usage) != pid)
		die("wait4: %s", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		die("%s: %s %d", args->command[0], WIFEXITED(status) ? "exit status" : "signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	return (now() - begin) * 1000;
}

double bench_time(const struct bench *args)
{
	struct rusage usage;

	return run(args, &usage);
}

static double milliseconds(struct timeval t)
{
	return (double)t.tv_sec * 1000 + (double)t.tv_usec / 1000;
}

double bench_times(const struct bench *args)
{
	struct rusage usage;
	double wall = run(args, &usage);

	printf("%.3f\n", milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime));
	return wall;
}

double bench_memory(const struct bench *args)
{
	struct rusage usage;

	run(args, &usage);
	return (double)usage.ru_maxrss * 1024 - (double)args->limit;
}
