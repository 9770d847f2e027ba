/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XXH3 of libxxhash, from its header alone: nothing is linked. */
#ifndef BASE_XXH3_H
#define BASE_XXH3_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#endif
