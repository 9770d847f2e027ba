/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands for the kernel's linux/err.h, guard included: works before dm-bufio.h, and behind it changes nothing. */
#ifndef _LINUX_ERR_H
#define _LINUX_ERR_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_ERRNO 4095
#define ERR_PTR(error) ((void *)(intptr_t)(error))
#define PTR_ERR(ptr) ((long)(intptr_t)(ptr))
#define IS_ERR(ptr) ((uintptr_t)(ptr) >= (uintptr_t)-MAX_ERRNO)

#endif
