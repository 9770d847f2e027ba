// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The reader goes down one function a level of the grammar, and knows by the path of names above a key what the key is:
 * GROUP/logical_volumes/VOLUME/SEGMENT. Words stay where they are in the text; those that are kept end with a zero once
 * all was read, in the place of whatever stood behind them.
 */
#include "text/lvm_backup.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

#define MAX_SIZE (UINT64_C(64) << 20)
#define MAX_DEPTH 16
#define MAX_NAME 127 /* LVM's */

/* Sections above a key. */
enum { IN_GROUP = 1, IN_LIST, IN_VOLUME, IN_SEGMENT };

struct word {
	const char *at;
	size_t len;
};

enum value_kind { VALUE_NUMBER, VALUE_STRING, VALUE_LIST };

/* The volume that is being read: what its segments say. A thin pool and a thin volume have one. */
struct draft {
	struct word name, type, thin_pool;
	uint64_t dev_id, transaction, chunk_sectors;
};

/* A volume's pool is known when all was read. */
struct kept_volume {
	struct word name, pool;
	uint64_t dev_id;
};

struct reader {
	const char *path; /* of the file */
	char *reason;
	const char *p, *end;
	uint64_t line;
	struct word sections[MAX_DEPTH];
	unsigned depth;
	bool is_group; /* contents = "Text Format Volume Group" */
	struct word group;
	struct draft draft;
	struct draft *pools;
	size_t nr_pools, room_pools;
	struct kept_volume *volumes;
	size_t nr_volumes, room_volumes;
};

__attribute__((format(printf, 2, 3))) static bool fail(struct reader *r, const char *format, ...)
{
	int n = snprintf(r->reason, LVM_REASON_MAX, "%s:%" PRIu64 ": ", r->path, r->line);
	va_list args;

	errno = EINVAL;
	va_start(args, format);
	if (n > 0 && n < LVM_REASON_MAX)
		vsnprintf(r->reason + n, (size_t)(LVM_REASON_MAX - n), format, args);
	va_end(args);
	return false;
}

static bool no_memory(char *reason)
{
	snprintf(reason, LVM_REASON_MAX, "out of memory");
	errno = ENOMEM;
	return false;
}

/* --- words --- */

static bool is_word(struct word w, const char *text)
{
	return w.len == strlen(text) && !memcmp(w.at, text, w.len);
}

/* To the next character that counts; zero at the end. */
static char look(struct reader *r)
{
	for (; r->p < r->end; r->p++) {
		if (*r->p == '#')
			while (r->p + 1 < r->end && r->p[1] != '\n')
				r->p++;
		else if (!isspace((unsigned char)*r->p))
			return *r->p;
		else
			r->line += *r->p == '\n';
	}
	return '\0';
}

static bool take(struct reader *r, char c)
{
	if (look(r) != c || r->p == r->end)
		return false;
	r->p++;
	return true;
}

/* Between quotes; a backslash keeps the character behind it, and stays. None of the names that count has one. */
static bool read_quoted(struct reader *r, char quote, struct word *w)
{
	uint64_t begin = r->line;

	w->at = ++r->p;
	for (; r->p < r->end && *r->p != quote; r->p++) {
		if (*r->p == '\\' && quote == '"' && r->p + 1 < r->end)
			r->p++;
		r->line += *r->p == '\n';
	}
	if (r->p == r->end) {
		r->line = begin;
		return fail(r, "a string does not end");
	}
	w->len = (size_t)(r->p++ - w->at);
	return true;
}

static bool is_bare(char c)
{
	return isgraph((unsigned char)c) && !strchr("#={}[],\"'", c);
}

static bool read_word(struct reader *r, const char *what, struct word *w)
{
	char c = look(r);

	if (r->p < r->end && (c == '"' || c == '\''))
		return read_quoted(r, c, w);
	w->at = r->p;
	while (r->p < r->end && is_bare(*r->p))
		r->p++;
	w->len = (size_t)(r->p - w->at);
	return w->len || fail(r, "%s expected", what);
}

static bool number_of(struct word w, uint64_t *value)
{
	char digits[24];

	if (w.len >= sizeof(digits))
		return false;
	memcpy(digits, w.at, w.len);
	digits[w.len] = '\0';
	return !units_parse_number(digits, value);
}

/* Names reach terminals and commands, so they are held to what LVM allows. */
static bool check_name(struct reader *r, struct word w)
{
	bool good = w.len && w.len <= MAX_NAME && *w.at != '-';

	for (size_t i = 0; i < w.len && good; i++)
		good = isalnum((unsigned char)w.at[i]) || (w.at[i] && strchr("+_.-", w.at[i]));
	return good || fail(r, "not a name that LVM allows");
}

/* --- what is kept --- */

/* Room for one element more in a growing table. */
static void *grow(void *table, size_t size, size_t nr, size_t *room)
{
	size_t wanted = *room ? 2 * *room : 64;

	if (nr < *room)
		return table;
	table = realloc(table, wanted * size);
	if (table)
		*room = wanted;
	return table;
}

static bool keep_pool(struct reader *r)
{
	struct draft *pools = grow(r->pools, sizeof(*pools), r->nr_pools, &r->room_pools);

	if (!pools)
		return no_memory(r->reason);
	r->pools = pools;
	pools[r->nr_pools++] = r->draft;
	return true;
}

static bool keep_volume(struct reader *r)
{
	struct kept_volume *volumes;

	if (!r->draft.thin_pool.len)
		return fail(r, "a thin volume without thin_pool");
	if (r->draft.dev_id == LVM_UNKNOWN)
		return fail(r, "a thin volume without device_id");
	volumes = grow(r->volumes, sizeof(*volumes), r->nr_volumes, &r->room_volumes);
	if (!volumes)
		return no_memory(r->reason);
	r->volumes = volumes;
	volumes[r->nr_volumes++] = (struct kept_volume){ r->draft.name, r->draft.thin_pool, r->draft.dev_id };
	return true;
}

static bool is_in_volumes(const struct reader *r)
{
	return r->depth >= IN_LIST && is_word(r->sections[IN_LIST - 1], "logical_volumes");
}

/* The section on top was entered. The group is the one of the outermost sections that has volumes. */
static bool enter(struct reader *r)
{
	struct word name = r->sections[r->depth - 1];

	if (!is_in_volumes(r))
		return true;
	if (r->depth == IN_LIST && r->group.len)
		return fail(r, "a second list of logical volumes");
	if (r->depth == IN_LIST)
		r->group = r->sections[0];
	if (r->depth == IN_VOLUME)
		r->draft = (struct draft){ .name = name, .dev_id = LVM_UNKNOWN, .transaction = LVM_UNKNOWN,
					   .chunk_sectors = LVM_UNKNOWN };
	return r->depth > IN_VOLUME || check_name(r, r->depth == IN_LIST ? r->group : name);
}

/* A type may carry flags: "thin-pool+CROP_METADATA". */
static bool leave(struct reader *r)
{
	const char *plus = memchr(r->draft.type.at ? r->draft.type.at : "", '+', r->draft.type.len);

	if (r->depth != IN_VOLUME || !is_in_volumes(r))
		return true;
	if (plus)
		r->draft.type.len = (size_t)(plus - r->draft.type.at);
	if (is_word(r->draft.type, "thin-pool"))
		return keep_pool(r);
	return !is_word(r->draft.type, "thin") || keep_volume(r);
}

/* Keys of a segment. */
static const struct {
	const char *name;
	enum value_kind kind;
	size_t offset; /* in struct draft */
} keys[] = {
	{ "type", VALUE_STRING, offsetof(struct draft, type) },
	{ "thin_pool", VALUE_STRING, offsetof(struct draft, thin_pool) },
	{ "device_id", VALUE_NUMBER, offsetof(struct draft, dev_id) },
	{ "transaction_id", VALUE_NUMBER, offsetof(struct draft, transaction) },
	{ "chunk_size", VALUE_NUMBER, offsetof(struct draft, chunk_sectors) },
};

static bool set_key(struct reader *r, unsigned i, enum value_kind kind, struct word w)
{
	void *member = (char *)&r->draft + keys[i].offset;

	if (kind != keys[i].kind)
		return fail(r, "%s is no %s", keys[i].name, keys[i].kind == VALUE_NUMBER ? "number" : "string");
	if (kind == VALUE_NUMBER)
		return number_of(w, member) || fail(r, "%s is no number", keys[i].name);
	*(struct word *)member = w;
	return !strcmp(keys[i].name, "type") || check_name(r, w);
}

static bool assign(struct reader *r, struct word key, enum value_kind kind, struct word w)
{
	if (!r->depth && is_word(key, "contents"))
		r->is_group = is_word(w, "Text Format Volume Group");
	if (r->depth != IN_SEGMENT || !is_in_volumes(r))
		return true;
	for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (is_word(key, keys[i].name))
			return set_key(r, i, kind, w);
	return true;
}

/* --- the grammar --- */

static bool read_scalar(struct reader *r, enum value_kind *kind, struct word *w)
{
	char c = look(r);

	*kind = r->p < r->end && isdigit((unsigned char)c) ? VALUE_NUMBER : VALUE_STRING;
	return read_word(r, "a value", w);
}

static bool read_list(struct reader *r)
{
	enum value_kind kind;
	struct word w;

	while (!take(r, ']')) {
		if (!read_scalar(r, &kind, &w))
			return false;
		if (!take(r, ',') && look(r) != ']')
			return fail(r, "',' or ']' expected");
	}
	return true;
}

static bool read_value(struct reader *r, struct word key)
{
	enum value_kind kind = VALUE_LIST;
	struct word w = { "", 0 };

	if (take(r, '[') ? !read_list(r) : !read_scalar(r, &kind, &w))
		return false;
	return assign(r, key, kind, w);
}

static bool read_entries(struct reader *r);

static bool read_section(struct reader *r, struct word name)
{
	if (r->depth == MAX_DEPTH)
		return fail(r, "sections more than %d deep", MAX_DEPTH);
	r->sections[r->depth++] = name;
	if (!enter(r) || !read_entries(r))
		return false;
	if (!take(r, '}'))
		return fail(r, "'}' expected");
	if (!leave(r))
		return false;
	r->depth--;
	return true;
}

static bool read_entries(struct reader *r)
{
	struct word name;

	while (look(r) != '}' && r->p < r->end) {
		if (!read_word(r, "a name", &name))
			return false;
		if (take(r, '{')) {
			if (!read_section(r, name))
				return false;
		} else if (!take(r, '=')) {
			return fail(r, "'=' or '{' expected");
		} else if (!read_value(r, name)) {
			return false;
		}
	}
	return true;
}

static bool read_file(struct reader *r)
{
	if (!read_entries(r))
		return false;
	if (r->p < r->end)
		return fail(r, "'}' without a section");
	if (!r->is_group || !r->group.len)
		return fail(r, "no backup of a volume group, as vgcfgbackup writes it");
	return true;
}

/* --- what was read, as a backup --- */

static int compare_pools(const void *a, const void *b)
{
	return strcmp(((const struct lvm_pool *)a)->name, ((const struct lvm_pool *)b)->name);
}

static int compare_volumes(const void *a, const void *b)
{
	const struct lvm_volume *v = a, *w = b;

	return v->dev_id != w->dev_id ? (v->dev_id > w->dev_id) - (v->dev_id < w->dev_id) :
	       v->pool != w->pool     ? (v->pool > w->pool) - (v->pool < w->pool) :
					strcmp(v->name, w->name);
}

/* Ends a word with a zero in the text. */
static const char *end_word(char *text, struct word w)
{
	size_t at = (size_t)(w.at - text);

	text[at + w.len] = '\0';
	return text + at;
}

static void fill_pools(struct lvm_backup *b, const struct reader *r)
{
	b->nr_pools = r->nr_pools;
	for (size_t i = 0; i < b->nr_pools; i++)
		b->pools[i] = (struct lvm_pool){
			.name = end_word(b->text, r->pools[i].name),
			.transaction = r->pools[i].transaction,
			.chunk_sectors = r->pools[i].chunk_sectors,
		};
	qsort(b->pools, b->nr_pools, sizeof(*b->pools), compare_pools);
}

static bool fill_volumes(struct lvm_backup *b, struct reader *r)
{
	for (size_t i = 0; i < r->nr_volumes; i++) {
		const char *name = end_word(b->text, r->volumes[i].name), *of = end_word(b->text, r->volumes[i].pool);
		struct lvm_pool *pool = text_lvm_pool(b, of);

		if (!pool)
			return fail(r, "volume %s is in thin pool %s, which is not in the file", name, of);
		pool->nr_volumes++;
		b->volumes[b->nr_volumes++] = (struct lvm_volume){ name, pool, r->volumes[i].dev_id, false };
	}
	qsort(b->volumes, b->nr_volumes, sizeof(*b->volumes), compare_volumes);
	return true;
}

/* One element more, as calloc(0) may be NULL. */
static bool fill_backup(struct lvm_backup *b, struct reader *r)
{
	b->pools = calloc(r->nr_pools + 1, sizeof(*b->pools));
	b->volumes = calloc(r->nr_volumes + 1, sizeof(*b->volumes));
	if (!b->pools || !b->volumes)
		return no_memory(r->reason);
	b->group = end_word(b->text, r->group);
	fill_pools(b, r);
	return fill_volumes(b, r);
}

struct lvm_backup *text_lvm_parse(char *text, size_t size, const char *path, char reason[LVM_REASON_MAX])
{
	struct reader r = { .path = path, .reason = reason, .p = text, .end = text + size, .line = 1 };
	struct lvm_backup *b = calloc(1, sizeof(*b));
	bool ok = b || no_memory(reason);
	int e;

	if (b)
		b->text = text;
	else
		free(text);
	ok = ok && read_file(&r) && fill_backup(b, &r);
	e = errno;
	free(r.pools);
	free(r.volumes);
	if (ok)
		return b;
	text_lvm_destroy(b);
	errno = e;
	return NULL;
}

void text_lvm_destroy(struct lvm_backup *b)
{
	if (!b)
		return;
	free(b->volumes);
	free(b->pools);
	free(b->text);
	free(b);
}

/* --- the file --- */

static char *read_all(FILE *f, size_t *size)
{
	size_t room = 0, n;
	char *text = NULL;

	*size = 0;
	do {
		char *more = *size < MAX_SIZE ? realloc(text, room = room ? 2 * room : 65536) : NULL;

		if (!more) {
			free(text);
			errno = *size < MAX_SIZE ? ENOMEM : EFBIG;
			return NULL;
		}
		text = more;
		n = fread(text + *size, 1, room - *size, f);
		*size += n;
	} while (*size == room);
	if (!ferror(f))
		return text;
	free(text);
	return NULL;
}

struct lvm_backup *text_lvm_create(const char *path, char reason[LVM_REASON_MAX])
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t size;
	int e;

	if (f)
		text = read_all(f, &size);
	e = errno;
	if (f)
		fclose(f);
	if (text)
		return text_lvm_parse(text, size, path, reason);
	snprintf(reason, LVM_REASON_MAX, "%s: %s", path, strerror(e));
	errno = e;
	return NULL;
}

/* --- asking --- */

struct lvm_pool *text_lvm_pool(const struct lvm_backup *b, const char *name)
{
	struct lvm_pool key = { .name = name };

	return bsearch(&key, b->pools, b->nr_pools, sizeof(*b->pools), compare_pools);
}

/* The first volume whose device is not below @dev_id. */
static size_t first_volume(const struct lvm_backup *b, uint64_t dev_id)
{
	size_t low = 0, high = b->nr_volumes;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (b->volumes[middle].dev_id < dev_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct lvm_volume *text_lvm_volume(const struct lvm_backup *b, const struct lvm_pool *pool, uint64_t dev_id)
{
	for (size_t i = first_volume(b, dev_id); i < b->nr_volumes && b->volumes[i].dev_id == dev_id; i++)
		if (b->volumes[i].pool == pool)
			return &b->volumes[i];
	return NULL;
}

void text_lvm_found(struct lvm_backup *b, uint64_t dev_id)
{
	for (size_t i = first_volume(b, dev_id); i < b->nr_volumes && b->volumes[i].dev_id == dev_id; i++) {
		struct lvm_volume *v = &b->volumes[i];

		b->pools[v->pool - b->pools].nr_found += !v->found;
		v->found = true;
	}
}
