// SPDX-License-Identifier: LGPL-2.1-or-later
#include <stdio.h>
#include <string.h>

#include "cmd/cli.h"
#include "unit.h"

#define SECONDS(n) ((uint64_t)(n) * 1000000000)

static void line(uint64_t blocks, uint64_t total, uint64_t ns, const char *expected)
{
	char text[CLI_PROGRESS_MAX];

	cli_progress_format(blocks, total, ns, text);
	CU_ASSERT_STRING_EQUAL(text, expected);
	if (strcmp(text, expected))
		fprintf(stderr, "# %s\n", text);
}

static void rate_and_time_left(void)
{
	line(64000, 256000, SECONDS(1), "read 64000 of 256000 blocks (25 %), 250 MiB/s, 3 s left");
	line(1000, 1000, SECONDS(10), "read 1000 of 1000 blocks (100 %), 400 KiB/s, 0 s left");
	line(256, 256 * 126, SECONDS(1), "read 256 of 32256 blocks (1 %), 1 MiB/s, 2 min 05 s left");
	line(256, 256 * 7261, SECONDS(1), "read 256 of 1858816 blocks (0 %), 1 MiB/s, 2 h 01 min left");
}

static void more_than_expected(void)
{
	line(512, 0, SECONDS(2), "read 512 blocks, 1 MiB/s");
	line(512, 511, SECONDS(2), "read 512 blocks, 1 MiB/s");
}

static void without_a_rate(void)
{
	line(0, 100, SECONDS(1), "read 0 of 100 blocks (0 %), 0 B/s");
	line(5, 100, 0, "read 5 of 100 blocks (5 %), 0 B/s");
	line(0, 0, 0, "read 0 blocks, 0 B/s");
}

static void any_numbers(void)
{
	static const uint64_t values[] = { 0, 1, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX };
	char text[CLI_PROGRESS_MAX];

	for (unsigned i = 0; i < 6 * 6 * 6; i++) {
		cli_progress_format(values[i / 36], values[i / 6 % 6], values[i % 6], text);
		CU_ASSERT_TRUE(strlen(text) < CLI_PROGRESS_MAX - 1 && !strncmp(text, "read ", 5));
	}
}

static const struct unit_case cases[] = {
	{ "progress has a share, a rate, and the time that is left", rate_and_time_left },
	{ "what was read more than once, or has no known end, has a rate only", more_than_expected },
	{ "without a rate no time is left to tell", without_a_rate },
	{ "any numbers make one line that is not cut off", any_numbers },
	{ NULL, NULL },
};

const struct unit_suite cli_progress_suite = { "cli_progress", cases };
