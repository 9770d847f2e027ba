// SPDX-License-Identifier: LGPL-2.1-or-later
/* The same promises at the other level, and those of the calls that it adds. */
#define DM_BUFIO_API 60000
#include "dm_bufio_t.c"
