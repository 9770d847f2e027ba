/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef SHIM_LINUX_CRC32C_H
#define SHIM_LINUX_CRC32C_H

#include "base/crc32c.h"

static inline uint32_t crc32c(uint32_t seed, const void *data, size_t length)
{
	return crc32c_raw(seed, data, length);
}

#endif
