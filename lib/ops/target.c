// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/target.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How far block 0's neighbours are looked at when it says nothing: enough to tell lost metadata from anything else. */
#define SAMPLE_BLOCKS 4096

/* "ext4 file system", "LVM2_member" ...; false if libblkid does not know either. */
static bool name_signature(const char *path, char *name, size_t size)
{
	const char *type = NULL, *usage = NULL, *table = NULL;
	blkid_probe probe = blkid_new_probe_from_filename(path);

	if (!probe)
		return false;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	if (!blkid_do_safeprobe(probe)) {
		blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
		blkid_probe_lookup_value(probe, "USAGE", &usage, NULL);
		blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL);
	}
	if (type && usage && !strcmp(usage, "filesystem"))
		snprintf(name, size, "%s file system", type);
	else if (type)
		snprintf(name, size, "%s signature", type);
	else if (table)
		snprintf(name, size, "%s partition table", table);
	blkid_free_probe(probe);
	return type || table;
}

static int count_if_metadata(void *context, uint64_t block, const void *data, int error)
{
	uint64_t *found = context;
	enum pd_kind kind = error ? PD_UNKNOWN : pd_block_kind(data);

	*found += kind != PD_UNKNOWN && kind != PD_ZEROES && pd_stored_number(data, kind) == block;
	return 0;
}

/* Blocks among the first that carry a metadata checksum and their own number. */
static uint64_t count_metadata_blocks(struct bufio_client *client, uint64_t *sampled)
{
	uint64_t nr = bufio_get_device_size(client), found = 0;
	struct bufio_scan scan = { .block = count_if_metadata, .context = &found, .threads = 1 };

	*sampled = scan.nr_blocks = nr < SAMPLE_BLOCKS ? nr : SAMPLE_BLOCKS;
	bufio_scan(client, &scan);
	return found;
}

static int stop_at_metadata(void *context, uint64_t block, const void *data, int error)
{
	uint64_t found = 0;

	count_if_metadata(&found, block, data, error);
	(void)context;
	return found != 0;
}

bool target_has_metadata(struct bufio_client *client)
{
	uint64_t nr = bufio_get_device_size(client);
	struct bufio_scan scan = {
		.block = stop_at_metadata, .nr_blocks = nr < PD_MAX_METADATA_BLOCKS ? nr : PD_MAX_METADATA_BLOCKS,
	};

	return bufio_scan(client, &scan) > 0;
}

static void explain(struct bufio_client *client, const char *path, const char *start, bool is_zero, char *reason,
		    size_t size)
{
	uint64_t sampled, found = count_metadata_blocks(client, &sampled);
	char name[128];

	if (found)
		snprintf(reason, size,
			 "%s: the superblock is lost (block 0 %s), but %" PRIu64 " of the first %" PRIu64
			 " blocks are device-mapper metadata; do not activate it: the kernel %s; repair it",
			 path, is_zero ? "is all zeroes" : "is not one", found, sampled,
			 is_zero ? "would format an empty pool over it" : "refuses it");
	else if (name_signature(path, name, sizeof(name)))
		snprintf(reason, size, "%s: no device-mapper metadata, but a %s; is this the right device?", path, name);
	else if (!strncmp(start, "<superblock", 11) || !strncmp(start, "<?xml", 5))
		snprintf(reason, size, "%s: is XML text, not binary metadata; restore it to a device first", path);
	else
		snprintf(reason, size, "%s: no device-mapper metadata: block 0 %s; is this the right device?", path,
			 is_zero ? "is all zeroes" : "has no known magic number or checksum");
}

const struct meta_format *target_probe(struct bufio_client *client, const char *path, char *reason, size_t size,
				       int *error)
{
	const struct meta_format *format;
	struct bufio_buffer *b;
	char start[16] = "";
	const void *data;
	bool is_zero;

	*error = 0;
	if (!bufio_get_device_size(client)) {
		snprintf(reason, size, "%s: is %s, and metadata has blocks of %d bytes", path,
			 bufio_device_describe(bufio_get_device(client))->size ? "smaller than a block" : "empty",
			 PD_BLOCK_SIZE);
		return NULL;
	}
	data = bufio_read(client, 0, &b);
	if (!data) {
		*error = -errno;
		snprintf(reason, size, "%s: block 0 cannot be read: %s", path, strerror(errno));
		return NULL;
	}
	format = meta_probe(data);
	is_zero = pd_block_kind(data) == PD_ZEROES;
	memcpy(start, data, sizeof(start) - 1);
	bufio_release(b);
	if (!format)
		explain(client, path, start, is_zero, reason, size);
	return format;
}
