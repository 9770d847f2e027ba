// SPDX-License-Identifier: LGPL-2.1-or-later
/* Looking at a pool through a block that may be the root of anything. */
#include <errno.h>

#include "meta/thin.h"
#include "meta/thin_disk.h"

/* 1: a sound node in *@node, held by *@b; 0: there is none; -errno. */
static int read_node(const struct thin_pool *pool, uint64_t block, struct pd_node *node, struct bufio_buffer **b)
{
	struct pd_context ctx = { .where = WHERE_NONE, .dev_id = PROBLEM_NO_DEVICE };
	struct pd_reader quiet = pool->reader;
	const void *data;
	struct problem p;
	int r;

	quiet.sink = &problem_silent;
	quiet.progress = NULL;
	r = pd_read(&quiet, &ctx, block, PD_NODE, &data, b);
	if (r > 0 && !pd_node_decode(data, block, 0, node, &p)) {
		bufio_release(*b);
		return 0;
	}
	return r;
}

static unsigned count_blocks(const struct thin_pool *pool, const struct pd_node *leaf)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < leaf->nr; i++)
		nr += pd_value64(leaf, i) < pool->reader.nr_blocks;
	return nr;
}

/*
 * Numbers of blocks could be mappings of data block 0, too: which a device has once at most, with a time that is no
 * higher than the pool's. They have to lead to a node that can be in a device's tree.
 */
static int judge_numbers(const struct thin_pool *pool, const struct pd_node *leaf, enum thin_root *root)
{
	bool is_top = false;
	int r = 0;

	*root = ROOT_DEVICE;
	if (leaf->nr == 1 && !pool->is_lost && pd_value64(leaf, 0) <= pool->live.time)
		return 0;
	for (unsigned i = 0; i < leaf->nr && r >= 0 && !is_top; i++) {
		struct bufio_buffer *b;
		struct pd_node n;

		r = read_node(pool, pd_value64(leaf, i), &n, &b);
		is_top = r > 0 && n.value_size == sizeof(le64);
		if (r > 0)
			bufio_release(b);
	}
	if (is_top)
		*root = ROOT_TOP;
	else if (leaf->nr > 1)
		*root = ROOT_NONE;
	return r < 0 ? r : 0;
}

static int judge_leaf(const struct thin_pool *pool, const struct pd_node *leaf, bool is_named, enum thin_root *root)
{
	if (leaf->value_size == sizeof(struct thin_details_disk))
		*root = ROOT_DETAILS;
	else if (leaf->value_size != sizeof(le64))
		*root = ROOT_NONE;
	else if (!leaf->nr)
		*root = ROOT_EMPTY;
	else if (is_named && count_blocks(pool, leaf))
		*root = ROOT_TOP; /* with a wild pointer, maybe */
	else if (count_blocks(pool, leaf) < leaf->nr)
		*root = ROOT_DEVICE;
	else
		return judge_numbers(pool, leaf, root);
	return 0;
}

/* The first child that is a sound node. */
static int descend(const struct thin_pool *pool, struct pd_node *node, struct bufio_buffer **b)
{
	struct bufio_buffer *parent = *b;
	struct pd_node n = *node;
	int r = 0;

	for (unsigned i = 0; i < n.nr && !r; i++)
		r = read_node(pool, pd_value64(&n, i), node, b);
	bufio_release(parent);
	return r;
}

static int identify_node(const struct thin_pool *pool, uint64_t block, enum thin_root *root)
{
	bool is_named = !pool->is_lost && block == pool->live.data_mapping_root;
	struct bufio_buffer *b;
	struct pd_node n;
	int r = read_node(pool, block, &n, &b);

	*root = ROOT_NONE;
	for (unsigned depth = 0; r > 0 && !n.is_leaf && depth < PD_MAX_DEPTH; depth++)
		r = descend(pool, &n, &b);
	if (r <= 0)
		return r;
	r = n.is_leaf ? judge_leaf(pool, &n, is_named, root) : 0;
	bufio_release(b);
	return r;
}

/* Of a superblock: 1, 0, -errno. */
static int read_copy(const struct thin_pool *pool, uint64_t block)
{
	struct thin_pool quiet = *pool;

	quiet.reader.sink = &problem_silent;
	return thin_pool_use_snapshot(&quiet, block);
}

int thin_root_identify(const struct thin_pool *pool, uint64_t block, enum thin_root *root)
{
	int r;

	*root = ROOT_SUPERBLOCK;
	if (!block)
		return 0;
	r = read_copy(pool, block);
	return r < 0 ? r : r ? 0 : identify_node(pool, block, root);
}

/* Whether details and top level of the pool know the same devices; there may be none. */
static int have_same_devices(const struct thin_pool *pool, bool *same)
{
	struct thin_pool quiet = *pool;
	struct thin_devices devices;
	struct thin_device device;
	int r = 0;

	*same = true;
	quiet.reader.sink = &problem_silent;
	thin_devices_open(&devices, &quiet);
	while (*same && (r = thin_devices_next(&devices, &device)) > 0)
		*same = device.has_details && device.has_root;
	*same = *same && !devices.details.holes;
	thin_devices_close(&devices);
	return r < 0 ? r : 0;
}

static int use_trees(struct thin_pool *pool, uint64_t top, uint64_t details, enum thin_root root)
{
	struct thin_pool both = *pool;
	bool same = false;
	int r = 0;

	thin_pool_set_roots(&both, top, details);
	if (!pool->is_lost)
		r = have_same_devices(&both, &same);
	thin_pool_set_roots(pool, same || root == ROOT_TOP ? top : PROBLEM_NO_BLOCK,
			    same || root == ROOT_DETAILS ? details : PROBLEM_NO_BLOCK);
	return r < 0 ? r : 1;
}

static int use_superblock(struct thin_pool *pool, uint64_t block)
{
	struct pd_sm_root data_sm = pool->sb.data_sm, metadata_sm = pool->sb.metadata_sm;
	int r;

	if (!block)
		return !pool->is_lost;
	r = thin_pool_use_snapshot(pool, block);
	if (r > 0) {
		pool->sb.data_sm = data_sm;
		pool->sb.metadata_sm = metadata_sm;
	}
	return r;
}

int thin_pool_use_root(struct thin_pool *pool, uint64_t block, uint64_t dev_id, enum thin_root *result)
{
	enum thin_root root;
	int r = thin_root_identify(pool, block, &root);

	if (!r && result)
		*result = root;
	if (r || root == ROOT_NONE)
		return r;
	if (root == ROOT_SUPERBLOCK)
		return use_superblock(pool, block);
	if (root == ROOT_TOP)
		return use_trees(pool, block, pool->sb.device_details_root, root);
	if (root == ROOT_DETAILS)
		return use_trees(pool, pool->sb.data_mapping_root, block, root);
	thin_pool_set_roots(pool, PROBLEM_NO_BLOCK, PROBLEM_NO_BLOCK);
	pool->is_single = true;
	pool->single_id = dev_id;
	pool->single_root = block;
	return 1;
}
