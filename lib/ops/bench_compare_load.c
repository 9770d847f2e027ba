// SPDX-License-Identifier: LGPL-2.1-or-later
/* A saved result: what is in it is what a comparison expects there, or it is none. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ops/bench_compare_int.h"

#define SCHEMA "bufio.bench/1"

/* Of the longest path: .runs[N].repeats[N].samples[N].misses */
#define PATH_SIZE 160

/* In range of what is done with it later. */
static bool is_amount(const json_t *v)
{
	return json_is_number(v) && json_number_value(v) >= 0 && json_number_value(v) <= 0x1p63;
}

static bool is_string(const json_t *v)
{
	return json_is_string(v);
}

static bool is_boolean(const json_t *v)
{
	return json_is_boolean(v);
}

static bool is_object(const json_t *v)
{
	return json_is_object(v);
}

static bool is_array(const json_t *v)
{
	return json_is_array(v);
}

enum shape { AMOUNT, STRING, BOOLEAN, OBJECT, ARRAY };

static const struct {
	bool (*fits)(const json_t *v);
	const char *name;
} shapes[] = {
	[AMOUNT] = { is_amount, "a number from 0 to 2^63" },
	[STRING] = { is_string, "a string" },
	[BOOLEAN] = { is_boolean, "true or false" },
	[OBJECT] = { is_object, "an object" },
	[ARRAY] = { is_array, "an array" },
};

/* What a comparison looks at. The rest may be anything. */
struct member {
	const char *key; /* NULL: the end of a table */
	enum shape shape;
	bool must_be;
	const struct member *members; /* of an object, or of those that an array has */
};

static const struct member device[] = {
	{ "size", AMOUNT, false, NULL },
	{ "logical_block_size", AMOUNT, false, NULL },
	{ "physical_block_size", AMOUNT, false, NULL },
	{ "rotational", BOOLEAN, false, NULL },
	{ "direct", BOOLEAN, false, NULL },
	{ "engine", STRING, false, NULL },
	{ "model", STRING, false, NULL },
	{ NULL, AMOUNT, false, NULL },
};

static const struct member times[] = {
	{ "p50", AMOUNT, false, NULL },
	{ "p99", AMOUNT, false, NULL },
	{ NULL, AMOUNT, false, NULL },
};

static const struct member sample[] = {
	{ "ns", AMOUNT, false, NULL },
	{ "ops", AMOUNT, false, NULL },
	{ "bytes", AMOUNT, false, NULL },
	{ "p50", AMOUNT, false, NULL },
	{ "p99", AMOUNT, false, NULL },
	{ "hits", AMOUNT, false, NULL },
	{ "misses", AMOUNT, false, NULL },
	{ NULL, AMOUNT, false, NULL },
};

static const struct member repeat[] = {
	{ "ns", AMOUNT, false, NULL },
	{ "ops", AMOUNT, false, NULL },
	{ "bytes", AMOUNT, false, NULL },
	{ "hits", AMOUNT, false, NULL },
	{ "misses", AMOUNT, false, NULL },
	{ "cpu_ns_per_op", AMOUNT, false, NULL },
	{ "service_ns", OBJECT, false, times },
	{ "response_ns", OBJECT, false, times },
	{ "samples", ARRAY, false, sample },
	{ NULL, AMOUNT, false, NULL },
};

static const struct member run[] = {
	{ "name", STRING, true, NULL },
	{ "pattern", STRING, false, NULL },
	{ "stride", AMOUNT, false, NULL },
	{ "theta", AMOUNT, false, NULL },
	{ "shape", AMOUNT, false, NULL },
	{ "deviation", AMOUNT, false, NULL },
	{ "hot_accesses", AMOUNT, false, NULL },
	{ "hot_blocks", AMOUNT, false, NULL },
	{ "trace", STRING, false, NULL },
	{ "speed", AMOUNT, false, NULL },
	{ "is_cached", BOOLEAN, false, NULL },
	{ "block_size", AMOUNT, false, NULL },
	{ "depth", AMOUNT, false, NULL },
	{ "threads", AMOUNT, false, NULL },
	{ "read_percent", AMOUNT, false, NULL },
	{ "region_begin", AMOUNT, false, NULL },
	{ "region_end", AMOUNT, false, NULL },
	{ "rate", AMOUNT, false, NULL },
	{ "arrival", STRING, false, NULL },
	{ "flush_every", AMOUNT, false, NULL },
	{ "memory_limit", AMOUNT, false, NULL },
	{ "repeats", ARRAY, true, repeat },
	{ NULL, AMOUNT, false, NULL },
};

static const struct member result_members[] = {
	{ "image", STRING, false, NULL },
	{ "partial", BOOLEAN, false, NULL },
	{ "clock_ns", AMOUNT, false, NULL },
	{ "device", OBJECT, true, device },
	{ "runs", ARRAY, true, run },
	{ NULL, AMOUNT, false, NULL },
};

struct check {
	const char *file;
	struct op_result *result;
	char path[PATH_SIZE]; /* of what is looked at, as jq(1) takes it */
};

static bool check_members(struct check *c, const json_t *object, const struct member *members);

static bool check_shape(struct check *c, const json_t *v, enum shape shape)
{
	if (shapes[shape].fits(v))
		return true;
	op_fail(c->result, OP_INPUT, -EINVAL, "%s: %s is not %s: it is no result that bufio-bench --json has written",
		c->file, c->path, shapes[shape].name);
	return false;
}

static bool check_elements(struct check *c, const json_t *array, const struct member *members)
{
	size_t n = strlen(c->path), i;
	const json_t *v;

	json_array_foreach (array, i, v) {
		snprintf(c->path + n, PATH_SIZE - n, "[%zu]", i);
		if (!check_shape(c, v, OBJECT) || !check_members(c, v, members))
			return false;
	}
	c->path[n] = 0;
	return true;
}

/* What is there, and what must be. */
static bool check_members(struct check *c, const json_t *object, const struct member *members)
{
	size_t n = strlen(c->path);

	for (const struct member *m = members; m->key; m++) {
		const json_t *v = json_object_get(object, m->key);

		snprintf(c->path + n, PATH_SIZE - n, ".%s", m->key);
		if ((v || m->must_be) && !check_shape(c, v, m->shape))
			return false;
		if (v && m->members && !(m->shape == ARRAY ? check_elements : check_members)(c, v, m->members))
			return false;
	}
	c->path[n] = 0;
	return true;
}

static bool has_schema(const json_t *saved)
{
	const char *schema = json_string_value(json_object_get(saved, "schema"));

	return schema && !strcmp(schema, SCHEMA);
}

static bool check(const char *file, const json_t *saved, struct op_result *result)
{
	struct check c = { file, result, "" };

	if (has_schema(saved))
		return check_members(&c, saved, result_members);
	op_fail(result, OP_INPUT, -EINVAL, "%s: is no result that bufio-bench --json has written", file);
	return false;
}

json_t *bench_compare_load(const char *file, struct op_result *result)
{
	json_error_t error;
	FILE *f = fopen(file, "re");
	json_t *saved;

	if (!f) {
		op_fail_errno(result, file, -errno);
		return NULL;
	}
	saved = json_loadf(f, JSON_REJECT_DUPLICATES, &error);
	fclose(f);
	if (!saved)
		op_fail(result, OP_INPUT, -EINVAL, "%s:%d:%d: is no JSON: %s", file, error.line, error.column, error.text);
	else if (check(file, saved, result))
		return saved;
	json_decref(saved);
	return NULL;
}
