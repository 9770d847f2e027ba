/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands for the kernel's linux/types.h; system headers that want their own file of that name get it too. */
#ifndef SHIM_LINUX_TYPES_H
#define SHIM_LINUX_TYPES_H

#include_next <linux/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef __u32 u32;
typedef __u64 u64;

typedef u64 sector_t;
#define DM_BUFIO_HAVE_SECTOR_T

#endif
