// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "meta/thin_delta.h"
#include "unit.h"

#define NR_BLOCKS 128
#define LEN(table) (sizeof(table) / sizeof(*(table)))

/* Roots, and the first of the leaves below them. */
enum { LEFT = 1, RIGHT = 2, LEFT_LEAVES = 10, RIGHT_LEAVES = 60, SHARED = 5 };

static struct thin_pool pool;

static void start(void)
{
	image_open(NR_BLOCKS, NR_BLOCKS, 2 * (PD_MAX_DEPTH + 1));
	pool = (struct thin_pool){ .reader = image.reader, .nr_data_blocks = THIN_UNKNOWN_SIZE };
}

/* --- trees --- */

struct run {
	uint64_t virtual, data, length;
	uint32_t time;
};

struct child {
	uint64_t key, block;
};

static void put_leaf(uint64_t block, const struct run *runs, size_t nr)
{
	unsigned n = 0;

	for (size_t r = 0; r < nr; r++)
		n += (unsigned)runs[r].length;
	image_node(block, 2, n, 252, 8);
	n = 0;
	for (size_t r = 0; r < nr; r++)
		for (uint64_t i = 0; i < runs[r].length; i++)
			image_entry(block, n++, runs[r].virtual + i, (runs[r].data + i) << 24 | runs[r].time, 8);
}

static void put_parent(uint64_t block, const struct child *children, size_t nr)
{
	image_node(block, 1, (uint32_t)nr, 252, 8);
	for (size_t i = 0; i < nr; i++)
		image_entry(block, (unsigned)i, children[i].key, children[i].block, 8);
}

#define ROWS(type, ...) (const type[]){ __VA_ARGS__ }, LEN(((const type[]){ __VA_ARGS__ }))
#define LEAF(block, ...) put_leaf(block, ROWS(struct run, __VA_ARGS__))
#define PARENT(block, ...) put_parent(block, ROWS(struct child, __VA_ARGS__))

static void damage(uint64_t block)
{
	image_at(block)[100] ^= 1;
}

/* --- comparing --- */

static struct {
	struct thin_delta delta;
	char text[1024];
	size_t len;
	unsigned calls, fail_at;
} notes;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	notes.len += (size_t)vsnprintf(notes.text + notes.len, sizeof(notes.text) - notes.len, format, args);
	va_end(args);
	CU_ASSERT_TRUE_FATAL(notes.len < sizeof(notes.text));
}

/* "=0..9" same, "!" different, "t" only the time, "<" left only, ">" right only, "?" unknown; by data "(left right)" */
static int note_range(struct thin_delta *delta, const struct thin_delta_range *r)
{
	note("%s%c%" PRIu64 "..", notes.len ? " " : "", "=!t<>?"[r->kind], r->begin);
	if (r->end == UINT64_MAX)
		note("end");
	else
		note("%" PRIu64, r->end - 1);
	if (delta->by_data && thin_delta_has_left(r->kind))
		note("(%" PRIu64, r->left.data);
	if (delta->by_data && thin_delta_has_right(r->kind))
		note("%s%" PRIu64, thin_delta_has_left(r->kind) ? " " : "(", r->right.data);
	if (delta->by_data && r->kind != DELTA_UNKNOWN)
		note(")");
	return ++notes.calls == notes.fail_at ? -ECANCELED : 0;
}

static int compare(struct thin_delta how)
{
	memset(notes.text, 0, sizeof(notes.text));
	notes.len = notes.calls = 0;
	notes.delta = how;
	notes.delta.left = (struct thin_delta_side){ &pool, 1, LEFT };
	notes.delta.right = (struct thin_delta_side){ &pool, 2, RIGHT };
	notes.delta.range = note_range;
	return thin_delta(&notes.delta);
}

static void gives(struct thin_delta how, const char *expected)
{
	notes.fail_at = 0;
	CU_ASSERT_EQUAL(compare(how), 0);
	CU_ASSERT_STRING_EQUAL(notes.text, expected);
	if (strcmp(notes.text, expected))
		printf("# found %s\n", notes.text);
}

static const struct thin_delta plain = { 0 }, by_data = { .by_data = true }, by_time = { .by_time = true };

/* --- cases --- */

static void four_kinds(void)
{
	start();
	LEAF(LEFT, { 0, 100, 10, 0 }, { 20, 300, 5, 0 });
	LEAF(RIGHT, { 0, 100, 4, 0 }, { 4, 200, 2, 0 }, { 30, 400, 1, 0 });
	gives(plain, "=0..3 !4..5 <6..9 <20..24 >30..30");
	image_close();
}

static void nothing_mapped(void)
{
	start();
	put_leaf(LEFT, NULL, 0);
	put_leaf(RIGHT, NULL, 0);
	gives(plain, "");
	LEAF(LEFT, { 7, 1, 2, 0 });
	image_close();
	start();
	LEAF(LEFT, { 7, 1, 2, 0 });
	put_leaf(RIGHT, NULL, 0);
	gives(plain, "<7..8");
	image_close();
}

static void data_jumps(void)
{
	start();
	LEAF(LEFT, { 0, 100, 10, 0 }, { 20, 1, 4, 0 });
	LEAF(RIGHT, { 0, 200, 5, 0 }, { 5, 300, 5, 0 }, { 20, 1, 2, 0 }, { 22, 3, 2, 0 });
	gives(plain, "!0..9 =20..23");
	gives(by_data, "!0..4(100 200) !5..9(105 300) =20..23(1 1)");
	image_close();
}

static void data_falls(void)
{
	start();
	LEAF(LEFT, { 0, 11, 1, 0 }, { 1, 10, 1, 0 });
	put_leaf(RIGHT, NULL, 0);
	gives(plain, "<0..1");
	gives(by_data, "<0..0(11) <1..1(10)");
	image_close();
}

static void times(void)
{
	start();
	LEAF(LEFT, { 0, 100, 5, 1 }, { 5, 105, 5, 2 }, { 20, 7, 2, 1 }, { 22, 9, 2, 2 });
	LEAF(RIGHT, { 0, 100, 5, 1 }, { 5, 105, 5, 3 });
	gives(plain, "=0..9 <20..23");
	gives(by_time, "=0..4 t5..9 <20..21 <22..23");
	image_close();
}

static void only_differences(void)
{
	start();
	LEAF(SHARED, { 0, 50, 10, 0 });
	LEAF(LEFT_LEAVES, { 10, 1, 4, 0 });
	LEAF(RIGHT_LEAVES, { 10, 1, 2, 0 }, { 12, 9, 2, 0 });
	PARENT(LEFT, { 0, SHARED }, { 10, LEFT_LEAVES });
	PARENT(RIGHT, { 0, SHARED }, { 10, RIGHT_LEAVES });
	gives((struct thin_delta){ .skip_same = true }, "!12..13");
	image_close();
}

static void shared_leaves(void)
{
	start();
	LEAF(SHARED, { 10, 50, 10, 0 });
	LEAF(LEFT_LEAVES, { 0, 1, 10, 0 });
	LEAF(RIGHT_LEAVES, { 0, 1, 9, 0 });
	LEAF(SHARED + 1, { 20, 60, 2, 0 }, { 30, 9, 2, 0 });
	PARENT(LEFT, { 0, LEFT_LEAVES }, { 10, SHARED }, { 20, SHARED + 1 });
	PARENT(RIGHT, { 0, RIGHT_LEAVES }, { 10, SHARED }, { 20, SHARED + 1 });
	gives(plain, "=0..8 <9..9 =10..21 =30..31");
	gives(by_data, "=0..8(1 1) <9..9(10) =10..21(50 50) =30..31(9 9)");
	image_close();
}

static void leaves_cut_elsewhere(void)
{
	start();
	LEAF(LEFT_LEAVES, { 0, 0, 7, 0 });
	LEAF(LEFT_LEAVES + 1, { 7, 7, 23, 0 });
	LEAF(RIGHT_LEAVES, { 0, 0, 19, 0 });
	LEAF(RIGHT_LEAVES + 1, { 19, 19, 11, 0 });
	PARENT(LEFT, { 0, LEFT_LEAVES }, { 7, LEFT_LEAVES + 1 });
	PARENT(RIGHT, { 0, RIGHT_LEAVES }, { 19, RIGHT_LEAVES + 1 });
	gives(by_data, "=0..29(0 0)");
	image_close();
}

/* Leaves of ten from 0 to 39 on both sides. */
static void four_leaves(void)
{
	start();
	for (unsigned i = 0; i < 4; i++) {
		LEAF(LEFT_LEAVES + i, { 10 * i, 10 * i, 10, 0 });
		LEAF(RIGHT_LEAVES + i, { 10 * i, 10 * i, 10, 0 });
	}
	PARENT(LEFT, { 0, LEFT_LEAVES }, { 10, LEFT_LEAVES + 1 }, { 20, LEFT_LEAVES + 2 }, { 30, LEFT_LEAVES + 3 });
	PARENT(RIGHT, { 0, RIGHT_LEAVES }, { 10, RIGHT_LEAVES + 1 }, { 20, RIGHT_LEAVES + 2 }, { 30, RIGHT_LEAVES + 3 });
}

static void lost_on_one_side(void)
{
	four_leaves();
	damage(LEFT_LEAVES + 1);
	gives(plain, "=0..9 ?10..19 =20..39");
	CU_ASSERT_EQUAL(image.told.nr, 1);
	CU_ASSERT_EQUAL(image.told.p[0].dev_id, 1);
	image_close();
	four_leaves();
	damage(RIGHT_LEAVES + 1);
	gives(plain, "=0..9 ?10..19 =20..39");
	CU_ASSERT_EQUAL(image.told.p[0].dev_id, 2);
	image_close();
}

static void lost_on_both_sides(void)
{
	four_leaves();
	damage(LEFT_LEAVES);
	damage(RIGHT_LEAVES);
	damage(RIGHT_LEAVES + 1);
	gives(plain, "?0..19 =20..39");
	CU_ASSERT_EQUAL(image.told.nr, 3);
	image_close();
}

static void hole_over_leaves(void)
{
	four_leaves();
	PARENT(LEFT, { 0, LEFT_LEAVES }, { 5, LEFT_LEAVES + 1 }, { 25, LEFT_LEAVES + 2 });
	LEAF(LEFT_LEAVES, { 0, 0, 5, 0 });
	LEAF(LEFT_LEAVES + 2, { 30, 30, 10, 0 });
	damage(LEFT_LEAVES + 1);
	gives(plain, "=0..4 ?5..24 >25..29 =30..39");
	image_close();
}

static void lost_to_the_end(void)
{
	four_leaves();
	damage(LEFT_LEAVES + 3);
	gives(plain, "=0..29 ?30..end");
	image_close();
}

static void lost_root(void)
{
	four_leaves();
	damage(RIGHT);
	gives(plain, "?0..end");
	image_close();
}

static void caller_stops(void)
{
	four_leaves();
	damage(LEFT_LEAVES + 1);
	for (notes.fail_at = 1; notes.fail_at <= 3; notes.fail_at++) {
		CU_ASSERT_EQUAL(compare(plain), -ECANCELED);
		CU_ASSERT_EQUAL(notes.calls, notes.fail_at);
	}
	image_close();
}

/* --- against a model that knows each block --- */

#define NR_VIRTUAL 200

enum { UNMAPPED = 0, LOST = 1 }; /* values of the model; others are data << 24 | time */

struct model {
	uint64_t left[NR_VIRTUAL], right[NR_VIRTUAL];
	uint64_t next;           /* what was not told yet */
	struct thin_delta_range last;
};

static struct model model;

static uint64_t pick(unsigned nr)
{
	return (uint64_t)rand() % nr;
}

static void make_values(uint64_t *values, const uint64_t *like)
{
	uint64_t data = pick(50) + 1;

	for (unsigned k = 0; k < NR_VIRTUAL; k++) {
		if (!pick(4))
			data = pick(50) + 1;
		values[k] = like && pick(3) ? like[k] : pick(5) ? data << 24 | pick(2) : UNMAPPED;
		data++;
	}
}

/* A tree of leaves of any size; now and then one is damaged, and what it may have held is lost. */
static void make_tree(uint64_t root, uint64_t leaves, uint64_t *values)
{
	struct child children[40];
	size_t nr = 0;

	for (unsigned k = 0, end; k < NR_VIRTUAL; k = end, nr++) {
		unsigned n = 0;

		end = k + 6 + (unsigned)pick(30);
		end = end < NR_VIRTUAL ? end : NR_VIRTUAL;
		children[nr] = (struct child){ k, leaves + nr };
		for (unsigned i = k; i < end; i++)
			n += values[i] != UNMAPPED;
		image_node(leaves + nr, 2, n, 252, 8);
		n = 0;
		for (unsigned i = k; i < end; i++)
			if (values[i] != UNMAPPED)
				image_entry(leaves + nr, n++, i, values[i], 8);
		if (pick(8))
			continue;
		damage(leaves + nr);
		for (unsigned i = k; i < end; i++)
			values[i] = LOST;
	}
	put_parent(root, children, nr);
}

static enum thin_delta_kind model_kind(const struct thin_delta *delta, unsigned k)
{
	uint64_t l = model.left[k], r = model.right[k];

	if (l == LOST || r == LOST)
		return DELTA_UNKNOWN;
	if (!l || !r)
		return l ? DELTA_LEFT_ONLY : DELTA_RIGHT_ONLY;
	if (l >> 24 != r >> 24)
		return DELTA_DIFFERENT;
	return l != r && delta->by_time ? DELTA_TIME : DELTA_SAME;
}

static void expect_value(const struct thin_delta *delta, const struct thin_delta_value *first, uint64_t distance,
			 uint64_t value)
{
	if (delta->by_data || !distance)
		CU_ASSERT_EQUAL(first->data + distance, value >> 24);
	if (delta->by_time || !distance)
		CU_ASSERT_EQUAL(first->time, value & 0xFFFFFF);
}

static int check_range(struct thin_delta *delta, const struct thin_delta_range *r)
{
	uint64_t end = r->end < NR_VIRTUAL ? r->end : NR_VIRTUAL;

	for (; model.next < r->begin; model.next++)
		CU_ASSERT_TRUE(!model.left[model.next] && !model.right[model.next]);
	CU_ASSERT_EQUAL_FATAL(model.next, r->begin);
	for (; model.next < end; model.next++) {
		CU_ASSERT_EQUAL(model_kind(delta, (unsigned)model.next), r->kind);
		if (thin_delta_has_left(r->kind))
			expect_value(delta, &r->left, model.next - r->begin, model.left[model.next]);
		if (thin_delta_has_right(r->kind))
			expect_value(delta, &r->right, model.next - r->begin, model.right[model.next]);
	}
	if (!delta->by_data && !delta->by_time && model.last.end == r->begin && r->begin)
		CU_ASSERT_NOT_EQUAL(model.last.kind, r->kind);
	model.last = *r;
	return 0;
}

static void as_the_model(void)
{
	srand(1);
	for (unsigned i = 0; i < 300; i++) {
		struct thin_delta delta = {
			.left = { &pool, 1, LEFT }, .right = { &pool, 2, RIGHT },
			.by_data = i & 1, .by_time = i & 2, .range = check_range,
		};

		start();
		memset(&model, 0, sizeof(model));
		make_values(model.left, NULL);
		make_values(model.right, model.left);
		make_tree(LEFT, LEFT_LEAVES, model.left);
		make_tree(RIGHT, RIGHT_LEAVES, model.right);
		CU_ASSERT_EQUAL(thin_delta(&delta), 0);
		for (; model.next < NR_VIRTUAL; model.next++)
			CU_ASSERT_TRUE(!model.left[model.next] && !model.right[model.next]);
		image_close();
	}
}

static const struct unit_case cases[] = {
	{ "blocks are the same, different, or mapped on one side", four_kinds },
	{ "trees may be empty", nothing_mapped },
	{ "by data, a range ends where the data of either side jumps", data_jumps },
	{ "by data, falling data blocks are no range", data_falls },
	{ "times count only if they are asked for", times },
	{ "what is the same may be left out", only_differences },
	{ "leaves that both trees share are the same", shared_leaves },
	{ "ranges go on across leaves, wherever each side has them cut", leaves_cut_elsewhere },
	{ "what one side lost is unknown, and that side's device is named", lost_on_one_side },
	{ "what both sides lost is one range where it touches", lost_on_both_sides },
	{ "a lost leaf makes unknown all that the other side has there", hole_over_leaves },
	{ "behind a lost last leaf all is unknown, to the end", lost_to_the_end },
	{ "behind a lost root all is unknown", lost_root },
	{ "the caller's error ends the comparison and is returned", caller_stops },
	{ "any two trees are compared as their blocks are, one by one", as_the_model },
	{ NULL, NULL },
};

const struct unit_suite thin_delta_suite = { "thin_delta", cases };
