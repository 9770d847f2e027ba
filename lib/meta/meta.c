// SPDX-License-Identifier: LGPL-2.1-or-later
#include "meta/meta.h"

#include "base/le.h"
#include "meta/thin_disk.h"

/* Magic numbers lie at the same place in all three: dm-thin-metadata.c, dm-cache-metadata.c, dm-era-target.c. */
#define MAGIC_OFFSET 32
#define CACHE_MAGIC 06142003
#define ERA_MAGIC 2126579579

static const struct meta_format formats[] = {
	{ "thin-pool metadata", PD_THIN_SUPERBLOCK, THIN_MAGIC, true },
	{ "dm-cache metadata", PD_CACHE_SUPERBLOCK, CACHE_MAGIC, false },
	{ "dm-era metadata", PD_ERA_SUPERBLOCK, ERA_MAGIC, false },
};

const struct meta_format *meta_probe(const void *block)
{
	uint64_t magic = le_load((const uint8_t *)block + MAGIC_OFFSET, 8);
	enum pd_kind kind = pd_block_kind(block);

	for (unsigned i = 0; i < sizeof(formats) / sizeof(*formats); i++)
		if (formats[i].superblock == kind || formats[i].magic == magic)
			return &formats[i];
	return NULL;
}
