/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What takes the place of the kernel's file: the installed header, which the block manager does not know of. */
#include <dm-bufio.h>
