/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stretch of bytes that lies in one place, and is to be found in another. */
#ifndef BASE_PIECE_H
#define BASE_PIECE_H

#include <stdint.h>

struct piece {
	uint64_t to, from; /* bytes: where it is found, and where it lies */
	uint64_t bytes;
};

#endif
