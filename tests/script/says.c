// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * says FILE: what the reader of scripts says of a file. Nothing, and status 0, of a good one; 1 of a wrong one; 98 if
 * something else was given back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/script.h"

int main(int argc, char **argv)
{
	char *source = malloc(SCRIPT_MAX_BYTES + 1), error[SCRIPT_ERROR_MAX];
	FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
	struct script script = { .nr_ops = 77 };
	size_t size;
	int r;

	if (!source || !file) {
		fputs("says FILE\n", stderr);
		return 99;
	}
	size = fread(source, 1, SCRIPT_MAX_BYTES + 1, file);
	fclose(file);
	r = text_script_parse(argv[1], source, size, &script, error);
	free(source);
	if (r) {
		puts(r == -EINVAL ? error : strerror(-r));
		return script.nr_ops == 77 && !script.source ? 1 : 98;
	}
	if (!script.source)
		return 98;
	text_script_free(&script);
	return 0;
}
