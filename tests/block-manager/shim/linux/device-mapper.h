/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SHIM_LINUX_DEVICE_MAPPER_H
#define SHIM_LINUX_DEVICE_MAPPER_H

#include <stdio.h>

#define DMERR(format, ...) fprintf(stderr, DM_MSG_PREFIX ": " format "\n", __VA_ARGS__)

#endif
