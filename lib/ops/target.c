// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ops/target.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "meta/thin.h"
#include "meta/thin_build.h"

/* How far block 0's neighbours are looked at when it says nothing: enough to tell lost metadata from anything else. */
#define SAMPLE_BLOCKS 4096

/* What libblkid finds. Several that contradict each other are one of type "ambiguous". */
struct signature {
	char type[64]; /* "ext4", "LVM2_member", "gpt" */
	char name[128]; /* "ext4 file system" */
};

static void take_signature(blkid_probe probe, struct signature *s)
{
	const char *type = NULL, *usage = NULL, *table = NULL;

	blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
	blkid_probe_lookup_value(probe, "USAGE", &usage, NULL);
	blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL);
	snprintf(s->type, sizeof(s->type), "%s", type ? type : table ? table : "unknown");
	if (type && usage && !strcmp(usage, "filesystem"))
		snprintf(s->name, sizeof(s->name), "%s file system", type);
	else if (type)
		snprintf(s->name, sizeof(s->name), "%s signature", type);
	else
		snprintf(s->name, sizeof(s->name), "%s partition table", s->type);
}

/* False if there is none that libblkid knows. */
static bool find_signature(const char *path, struct signature *s)
{
	blkid_probe probe = blkid_new_probe_from_filename(path);
	int r;

	if (!probe)
		return false;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | BLKID_SUBLKS_BADCSUM);
	blkid_probe_enable_partitions(probe, 1);
	r = blkid_do_safeprobe(probe);
	if (!r)
		take_signature(probe, s);
	else if (r == -2)
		*s = (struct signature){ "ambiguous", "mixture of several signatures" };
	blkid_free_probe(probe);
	return !r || r == -2;
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

static bool is_unfinished(struct bufio_client *client)
{
	struct bufio_buffer *b;
	const void *data = bufio_read(client, 0, &b);
	bool is = data && thin_build_is_unfinished(data);

	if (data)
		bufio_release(b);
	return is;
}

bool target_has_metadata(struct bufio_client *client)
{
	uint64_t nr = bufio_get_device_size(client);
	struct bufio_scan scan = {
		.block = stop_at_metadata, .nr_blocks = nr < PD_MAX_METADATA_BLOCKS ? nr : PD_MAX_METADATA_BLOCKS,
	};

	return !is_unfinished(client) && bufio_scan(client, &scan) > 0;
}

/* Of a whole block; there may be a byte order mark and blanks in front. */
static bool is_xml(const char *block)
{
	static const char *const starts[] = { "<superblock", "<?xml", "<!--" };
	const char *end = block + PD_BLOCK_SIZE - 16;

	if (!memcmp(block, "\xEF\xBB\xBF", 3))
		block += 3;
	while (block < end && strchr(" \t\r\n", *block) && *block)
		block++;
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
		if (!strncmp(block, starts[i], strlen(starts[i])))
			return true;
	return false;
}

static void explain(struct bufio_client *client, const char *path, const char *start, bool is_zero, char *reason,
		    size_t size)
{
	uint64_t sampled, found = count_metadata_blocks(client, &sampled);
	struct signature signature;

	if (thin_build_is_unfinished(start))
		snprintf(reason, size, "%s: thin-pool metadata that was not finished: the run that wrote it was interrupted, "
			 "or failed; nothing of it can be used, write it again", path);
	else if (found)
		snprintf(reason, size,
			 "%s: the superblock is lost (block 0 %s), but %" PRIu64 " of the first %" PRIu64
			 " blocks are device-mapper metadata; do not activate it: the kernel %s; repair it",
			 path, is_zero ? "is all zeroes" : "is not one", found, sampled,
			 is_zero ? "would format an empty pool over it" : "refuses it");
	else if (find_signature(path, &signature))
		snprintf(reason, size, "%s: no device-mapper metadata, but a %s; is this the right device?", path, signature.name);
	else if (is_xml(start))
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
	char start[PD_BLOCK_SIZE];
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
	memcpy(start, data, sizeof(start));
	bufio_release(b);
	if (!format)
		explain(client, path, start, is_zero, reason, size);
	return format;
}

static void describe_block(const void *block, struct target_contents *c)
{
	const struct meta_format *format = meta_probe(block);
	struct thin_superblock sb;

	if (thin_build_is_unfinished(block)) {
		snprintf(c->what, sizeof(c->what), "thin-pool metadata that was not finished");
		snprintf(c->type, sizeof(c->type), "thin-pool");
		c->is_unfinished = true;
	} else if (format && format->superblock == PD_THIN_SUPERBLOCK) {
		thin_superblock_decode(block, &sb);
		snprintf(c->what, sizeof(c->what), "%s, transaction %" PRIu64, format->name, sb.trans_id);
		snprintf(c->type, sizeof(c->type), "thin-pool");
	} else if (format) {
		snprintf(c->what, sizeof(c->what), "%s", format->name);
		snprintf(c->foreign, sizeof(c->foreign), "%.*s", (int)strcspn(format->name, " "), format->name);
	} else if (is_xml(block)) {
		snprintf(c->what, sizeof(c->what), "XML text");
		snprintf(c->foreign, sizeof(c->foreign), "xml");
	}
}

/* Whatever the size of blocks; zeroes where there is nothing, or it cannot be read. */
static void read_start(struct bufio_client *client, uint8_t start[PD_BLOCK_SIZE])
{
	uint64_t nr = bufio_get_device_size(client);
	size_t size = bufio_get_block_size(client), room;

	memset(start, 0, PD_BLOCK_SIZE);
	for (uint64_t i = 0; i < nr && i * size < PD_BLOCK_SIZE; i++) {
		struct bufio_buffer *b;
		const void *data = bufio_read(client, i, &b);

		if (!data)
			continue;
		room = PD_BLOCK_SIZE - i * size;
		memcpy(start + i * size, data, size < room ? size : room);
		bufio_release(b);
	}
}

void target_look(struct bufio_client *client, const char *path, struct target_contents *c)
{
	struct signature signature;
	uint8_t start[PD_BLOCK_SIZE];

	*c = (struct target_contents){ 0 };
	read_start(client, start);
	describe_block(start, c);
	if (!c->what[0] && find_signature(path, &signature)) {
		snprintf(c->what, sizeof(c->what), "%s", signature.name);
		snprintf(c->foreign, sizeof(c->foreign), "%s", signature.type);
	}
	if (!c->type[0])
		snprintf(c->type, sizeof(c->type), "%s", c->foreign);
}

bool target_may_be_lost(const struct target_contents *c, const char *type, const char *path, const char *signature,
			struct op_result *result)
{
	if (!type[0] || (signature && !strcmp(signature, type)))
		return true;
	op_fail(result, OP_REFUSED, 0,
		"%s: holds what would be lost: %s; is this the right target? --force-signature=%s overwrites it", path, c->what,
		type);
	return false;
}

int target_make_file(const char *path, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), e = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size))
		e = errno;
	if (close(fd) && !e)
		e = errno;
	if (e)
		unlink(path);
	return -e;
}

/* It is in its folder. */
int target_flush_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, e = fd < 0 ? errno : 0;

	if (fd >= 0 && fsync(fd) && errno != EINVAL) /* EINVAL: folders need not be flushed here */
		e = errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return -e;
}

int target_finish_file(const char *path, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), e = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) || fsync(fd))
		e = errno;
	if (close(fd) && !e)
		e = errno;
	return e ? -e : target_flush_folder(path);
}
