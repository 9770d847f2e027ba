// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>

#include "ops/dump_int.h"

int dump_ls(struct dump *d)
{
	(void)d;
	return -ENOSYS;
}
