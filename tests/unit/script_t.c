// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What good scripts become: structs, written down again as text that leaves nothing out. What is said of wrong ones is
 * tests/script/errors.txt; here is how it is shown.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/script.h"
#include "unit.h"

#define HEAD "bpatch 1\nblock-size 4KiB\ntarget T\nsource S\n"

static char error[SCRIPT_ERROR_MAX];

static int parse_bytes(const char *text, size_t size, struct script *s)
{
	char *copy = malloc(size ? size : 1);
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(copy);
	memcpy(copy, text, size);
	*error = '\0';
	r = text_script_parse("FILE", copy, size, s, error);
	free(copy); /* it was copied */
	return r;
}

static void must_parse(const char *text, struct script *s)
{
	int r = parse_bytes(text, strlen(text), s);

	if (r)
		fprintf(stderr, "%s\n", error);
	CU_ASSERT_EQUAL_FATAL(r, 0);
}

/* --- structs as text --- */

static char text[4096];
static size_t text_len;

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_len += (size_t)vsnprintf(text + text_len, sizeof(text) - text_len, format, args);
	va_end(args);
	CU_ASSERT_TRUE_FATAL(text_len < sizeof(text));
}

static const struct script *shown;

static void add_field(const struct script_field *f);

static void add_expr(const struct script_expr *e)
{
	static const char operators[] = { [EXPR_ADD] = '+', [EXPR_SUB] = '-', [EXPR_MUL] = '*' };

	if (e->kind == EXPR_NUMBER) {
		add("%" PRIu64, e->number);
	} else if (e->kind == EXPR_LET) {
		add("let %s", shown->lets[e->let]);
	} else if (e->kind == EXPR_FIELD) {
		add_field(e->field);
	} else {
		add("(");
		add_expr(e->left);
		add("%c", operators[e->kind]);
		add_expr(e->right);
		add(")");
	}
	add("%s", e->unit == SCRIPT_BYTES ? "B" : "");
}

static void add_part(const char *before, const struct script_expr *e, const char *behind)
{
	if (!e)
		return;
	add("%s", before);
	add_expr(e);
	add("%s", behind);
}

static void add_field(const struct script_field *f)
{
	add("%s", shown->volumes[f->volume].name);
	add_part("[", f->block, "]");
	for (unsigned i = 0; i < f->nr_steps; i++) {
		add(".%s", f->steps[i].name);
		add_part("(", f->steps[i].argument, ")");
		add_part("[", f->steps[i].index, "]");
	}
}

static void add_range(const char *name, const struct script_range *range)
{
	if (!range)
		return;
	add(" %s=%s", name, shown->volumes[range->volume].name);
	add_part("[", range->begin, "");
	add_part("..", range->end, "");
	add_part("..+", range->length, "");
	add("]");
	add_part("@", range->at, "");
}

static void add_bytes(const char *name, const struct script_bytes *b)
{
	if (!b->size)
		return;
	add(" %s=", name);
	for (uint32_t i = 0; i < b->size; i++)
		add("%02x", b->data[i]);
}

static void add_op(const struct script_op *op)
{
	add("%d/%d", op->verb, op->expectation);
	add_range("from", op->from);
	add_range("to", op->to);
	if (op->field) {
		add(" field=");
		add_field(op->field);
	}
	add_part(" value=", op->value, "");
	if (op->verb == SCRIPT_EXPECT && op->expectation == EXPECT_COMPARE)
		add(" compare=%d", op->compare);
	add_part(" value2=", op->value2, "");
	if (op->verb == SCRIPT_EXPECT && op->expectation == EXPECT_HASH)
		add(" hash=%d", op->hash);
	add_bytes("bytes", &op->bytes);
	add_bytes("was", &op->was);
	add(op->kind ? " kind=%s" : "", op->kind);
	add(op->text ? " text=%s" : "", op->text);
	add("%s%s", op->has_zero ? " zero" : "", op->is_override ? " override" : "");
}

static const char *show_op(const struct script *s, const struct script_op *op)
{
	shown = s;
	text_len = 0;
	add_op(op);
	return text;
}

/* --- statements --- */

/* The last line of a script behind HEAD, and what becomes of it: numbers are those of the enums, VERB/WHAT. */
struct row {
	const char *line;
	const char *op;
};


static void check_rows(const struct row *rows)
{
	char source[1024];
	struct script s;

	for (; rows->line; rows++) {
		snprintf(source, sizeof(source), HEAD "%s", rows->line);
		must_parse(source, &s);
		show_op(&s, &s.ops[s.nr_ops - 1]);
		if (strcmp(text, rows->op) != 0)
			fprintf(stderr, "%s\n  becomes  %s\n  expected %s\n", rows->line, text, rows->op);
		CU_ASSERT_STRING_EQUAL(text, rows->op);
		text_script_free(&s);
	}
}

static void ranges(void)
{
	static const struct row rows[] = {
		{ "fence T[7]", "0/0 to=T[7]" },
		{ "fence T[7..9]", "0/0 to=T[7..9]" },
		{ "fence T[7..+2]", "0/0 to=T[7..+2]" },
		{ "fence T", "0/0 to=T[0..T.nr_blocks]" },
		{ "fence\tT [ 7 .. + 2 ] # comment", "0/0 to=T[7..+2]" },
		{ "fence T[8KiB..16KiB]", "0/0 to=T[2..4]" },
		{ "fence T[0..8s]", "0/0 to=T[0..1]" },
		{ "fence T[2KiB*2..+2*4KiB]", "0/0 to=T[1..+2]" },
		{ "fence T[0..nr_blocks-1]", "0/0 to=T[0..(T.nr_blocks-1)]" },
		{ "fence T[T[3].blocknr]", "0/0 to=T[T[3].blocknr]" },
		{ "expect T[7]@16 zero", "1/3 from=T[7]@16B" },
		{ "expect T[7]@8+1KiB zero", "1/3 from=T[7]@1032B" },
		{ "expect T[7]@8*4 zero", "1/3 from=T[7]@32B" },
		{ "expect T[7]@T.sb.time*(4+1) zero", "1/3 from=T[7]@(T.sb.time*5)B" },
		{ "expect T[7..9]@8191 zero", "1/3 from=T[7..9]@8191B" },
		{ "expect T[7..nr_blocks]@999999 zero", "1/3 from=T[7..T.nr_blocks]@999999B" },
		{ NULL, NULL },
	};

	check_rows(rows);
}

static void expressions(void)
{
	static const struct row rows[] = {
		{ "let x = 5", "2/0 value=5" },
		{ "let x = 0xfF", "2/0 value=255" },
		{ "let x = 18446744073709551615", "2/0 value=18446744073709551615" },
		{ "let x = 4KiB", "2/0 value=4096B" },
		{ "let x = 1KB", "2/0 value=1000B" },
		{ "let x = 2s", "2/0 value=1024B" },
		{ "let x = 7B", "2/0 value=7B" },
		{ "let x = 1 + 2 * 3", "2/0 value=7" },
		{ "let x = (1 + 2) * 3", "2/0 value=9" },
		{ "let x = 10 - 3 - 2", "2/0 value=5" },
		{ "let x = 10 - (3 - 2)", "2/0 value=9" },
		{ "let x = 0 + 4KiB - 0", "2/0 value=4096B" },
		{ "let x = 3 * 4KiB", "2/0 value=12288B" },
		{ "let x = nr_blocks * 4KiB + 1B", "2/0 value=((T.nr_blocks*4096B)B+1B)B" },
		{ "let x = nr_blocks - 1 - 2", "2/0 value=((T.nr_blocks-1)-2)" },
		{ "let x = 2 * nr_blocks + 1 * 3", "2/0 value=((2*T.nr_blocks)+3)" },
		{ NULL, NULL },
	};

	check_rows(rows);
}

static void fields(void)
{
	static const struct row rows[] = {
		{ "let x = sb.trans_id", "2/0 value=T.sb.trans_id" },
		{ "let x = T.sb.trans_id", "2/0 value=T.sb.trans_id" },
		{ "let x = S.sb.trans_id", "2/0 value=S.sb.trans_id" },
		{ "let x = T[9].nr_entries", "2/0 value=T[9].nr_entries" },
		{ "let x = S[8KiB].value[3].nr_free", "2/0 value=S[2].value[3].nr_free" },
		{ "let x = node(7).value[3].data", "2/0 value=T.node(7).value[3].data" },
		{ "let x = thin(2).map(50).data", "2/0 value=T.thin(2).map(50).data" },
		{ "let x = bitmap(3)[4]", "2/0 value=T.bitmap(3)[4]" },
		{ "let x = node(T[3].value[1 + 1]).flags", "2/0 value=T.node(T[3].value[2]).flags" },
		{ "let x = a.b.c.d.e.f.g.h", "2/0 value=T.a.b.c.d.e.f.g.h" },
		{ "let x = a2345678901234567890123456789012", "2/0 value=T.a2345678901234567890123456789012" },
		{ "let x = T.value", "2/0 value=T.value" },
		{ "let x = node(7) . value [ 3 ]", "2/0 value=T.node(7).value[3]" },
		{ NULL, NULL },
	};

	check_rows(rows);
}

static void lets(void)
{
	static const struct row rows[] = {
		{ "let a = 5\nlet b = a * 2", "2/0 value=10" },
		{ "let a = 4KiB\nfence T[a]", "0/0 to=T[1]" },
		{ "let a = 7\npatch T[0] u8 a", "4/0 to=T[0] bytes=07" },
		{ "let a = sb.time\nlet b = a + 1", "2/0 value=(let a+1)" },
		{ "let a = sb.time * 1KiB\nlet b = a", "2/0 value=let aB" },
		{ "let sb = 5\nlet b = sb", "2/0 value=5" },
		{ "let sb = 5\nlet b = sb.time", "2/0 value=T.sb.time" },
		{ "let node = 5\nlet b = node(node).flags", "2/0 value=T.node(5).flags" },
		{ "let a = 5\nlet b = T.a", "2/0 value=T.a" },
		{ "let a = 5\nfence T[a..9]", "0/0 to=T[5..9]" },
		{ "let a = a", "2/0 value=T.a" },
		{ NULL, NULL },
	};
	struct script s;

	check_rows(rows);
	must_parse(HEAD "let a = 1\nlet b = 2\n", &s);
	CU_ASSERT_EQUAL(s.nr_lets, 2);
	CU_ASSERT_STRING_EQUAL(s.lets[1], "b");
	CU_ASSERT_EQUAL(s.ops[1].let, 1);
	text_script_free(&s);
}

static void expectations(void)
{
	static const struct row rows[] = {
		{ "expect T[0].csum ok", "1/0 from=T[0]" },
		{ "expect T[0..4] csum ok", "1/0 from=T[0..4]" },
		{ "expect S[0 + 1] . csum bad", "1/1 from=S[1]" },
		{ "expect T[7]@0x10 hex \"02 0aFF\"", "1/2 from=T[7]@16B bytes=020aff" },
		{ "expect T[7] text \"a\\\"\\\\\\n\\x7F\\0#\"", "1/2 from=T[7] bytes=61225c0a7f0023" },
		{ "expect T[7] u8 255", "1/2 from=T[7] bytes=ff" },
		{ "expect T[7] u16 0x102", "1/2 from=T[7] bytes=0201" },
		{ "expect T[7] u32 4KiB", "1/2 from=T[7] bytes=00100000" },
		{ "expect T[7] u64 1 + 1", "1/2 from=T[7] bytes=0200000000000000" },
		{ "expect T[7]@4KiB-8 u64 1", "1/2 from=T[7]@4088B bytes=0100000000000000" },
		{ "expect T zero", "1/3 from=T[0..T.nr_blocks]" },
		{ "expect T[1..3] = S[5..+2]", "1/4 from=T[1..3] to=S[5..+2]" },
		{ "expect T[1] hash xxh3:0123456789abcdEF", "1/5 from=T[1] hash=0 bytes=0123456789abcdef" },
		{ "expect T[1] hash sha256:00000000000000000000000000000000000000000000000000000000000000ff",
		  "1/5 from=T[1] hash=1 bytes=00000000000000000000000000000000000000000000000000000000000000ff" },
		{ "expect T[1] kind btree-node", "1/6 from=T[1] kind=btree-node" },
		{ "expect T[1] type any", "1/6 from=T[1] kind=any" },
		{ "expect nr_blocks = 5", "1/7 value=T.nr_blocks compare=0 value2=5" },
		{ "expect T[0].csum != 5", "1/7 value=T[0].csum compare=1 value2=5" },
		{ "expect T[0].csum = okay", "1/7 value=T[0].csum compare=0 value2=T.okay" },
		{ "expect 1 < T.sb.flags + 2", "1/7 value=1 compare=2 value2=(T.sb.flags+2)" },
		{ "expect S[1].nr_entries <= 3", "1/7 value=S[1].nr_entries compare=3 value2=3" },
		{ "expect sb.time > 0", "1/7 value=T.sb.time compare=4 value2=0" },
		{ "expect sb.time * 1KiB >= 0", "1/7 value=(T.sb.time*1024B)B compare=5 value2=0" },
		{ NULL, NULL },
	};

	CU_ASSERT_EQUAL(SCRIPT_EXPECT, 1);
	CU_ASSERT_EQUAL(EXPECT_COMPARE, 7);
	check_rows(rows);
}

static void changes(void)
{
	static const struct row rows[] = {
		{ "set sb.flags = 0", "3/0 field=T.sb.flags value=0" },
		{ "set T[9].value[3] = T[9].value[2] + 1", "3/0 field=T[9].value[3] value=(T[9].value[2]+1)" },
		{ "set sb.flags = 1 + 1 override", "3/0 field=T.sb.flags value=2 override" },
		{ "patch T[9]@128 hex \"01\"", "4/0 to=T[9]@128B bytes=01" },
		{ "patch T[9]@128 hex \"01\" was u8 2", "4/0 to=T[9]@128B bytes=01 was=02" },
		{ "patch T[9] u16 1 was text \"ab\" override", "4/0 to=T[9] bytes=0100 was=6162 override" },
		{ "patch T[9] u8 1 override", "4/0 to=T[9] bytes=01 override" },
		{ "copy S[1..3] -> T[7]", "5/0 from=S[1..3] to=T[7]" },
		{ "copy S[1..3] -> T[7..9] override", "5/0 from=S[1..3] to=T[7] override" },
		{ "copy S[1..3] -> T[7..+2]", "5/0 from=S[1..3] to=T[7]" },
		{ "copy S -> T", "5/0 from=S[0..S.nr_blocks] to=T[0]" },
		{ "copy S[5-3] -> T[1]", "5/0 from=S[2] to=T[1]" },
		{ "copy S[nr_blocks-3] -> T[1]", "5/0 from=S[(T.nr_blocks-3)] to=T[1]" },
		{ "move T[1..3] -> T[2]", "6/0 from=T[1..3] to=T[2]" },
		{ "move T[1..3] -> T[2] then zero", "6/0 from=T[1..3] to=T[2] zero" },
		{ "move T[1..3] -> T[2] then zero override", "6/0 from=T[1..3] to=T[2] zero override" },
		{ "fill T[1] zero", "7/0 to=T[1]" },
		{ "fill T[1] byte 0xAA override", "7/1 to=T[1] value=170 override" },
		{ "fill T[1] discard", "7/2 to=T[1]" },
		{ "fill T[1] random seed=7", "7/3 to=T[1] value=7" },
		{ NULL, NULL },
	};

	CU_ASSERT_EQUAL(SCRIPT_SET, 3);
	CU_ASSERT_EQUAL(SCRIPT_FILL, 7);
	CU_ASSERT_EQUAL(FILL_RANDOM, 3);
	check_rows(rows);
}

static void others(void)
{
	static const struct row rows[] = {
		{ "save T[0..8] \"before\\x2e.bin\"", "8/0 from=T[0..8] text=before..bin" },
		{ "save S[1]@512 \"rest of it\"", "8/0 from=S[1]@512B text=rest of it" },
		{ "checksum auto", "9/0" },
		{ "checksum keep", "9/1" },
		{ "checksum T[9..11] as btree-node", "9/2 to=T[9..11] kind=btree-node" },
		{ "checksum T[9] as index override", "9/2 to=T[9] kind=index override" },
		{ "checksum T[9] value 7 override", "9/3 to=T[9] value=7 override" },
		{ "checksum T[9] value 0xffffffff", "9/3 to=T[9] value=4294967295" },
		{ "checksum T[9] value T[8].csum", "9/3 to=T[9] value=T[8].csum" },
		{ "verify T[0..16] type any", "10/0 to=T[0..16] kind=any" },
		{ "verify T kind bitmap", "10/0 to=T[0..T.nr_blocks] kind=bitmap" },
		{ NULL, NULL },
	};

	CU_ASSERT_EQUAL(SCRIPT_VERIFY, 10);
	CU_ASSERT_EQUAL(SEAL_VALUE, 3);
	check_rows(rows);
}

/* --- volumes --- */

static void volumes(void)
{
	struct script s;

	must_parse("bpatch 1\nblock-size 512\n"
		   "target T kind=thin-metadata blocks=64KiB where sb.trans_id = 5, T.sb.flags != nr_blocks\n"
		   "source S xxh3=0123456789abcdef blocks=7\ntarget _u2\n", &s);
	CU_ASSERT_EQUAL(s.block_size, 512);
	CU_ASSERT_EQUAL_FATAL(s.nr_volumes, 3);
	CU_ASSERT_STRING_EQUAL(s.volumes[0].name, "T");
	CU_ASSERT_TRUE(s.volumes[0].is_target && s.volumes[0].has_blocks && !s.volumes[0].has_hash);
	CU_ASSERT_STRING_EQUAL(s.volumes[0].kind, "thin-metadata");
	CU_ASSERT_EQUAL(s.volumes[0].kind_place.column, 15);
	CU_ASSERT_EQUAL(s.volumes[0].kind_place.length, 13);
	CU_ASSERT_EQUAL(s.volumes[0].blocks, 128);
	CU_ASSERT_EQUAL_FATAL(s.volumes[0].nr_where, 2);
	CU_ASSERT_STRING_EQUAL(show_op(&s, &s.volumes[0].where[0]), "1/7 value=T.sb.trans_id compare=0 value2=5");
	CU_ASSERT_STRING_EQUAL(show_op(&s, &s.volumes[0].where[1]), "1/7 value=T.sb.flags compare=1 value2=T.nr_blocks");
	CU_ASSERT_FALSE(s.volumes[1].is_target);
	CU_ASSERT_TRUE(s.volumes[1].has_hash);
	CU_ASSERT_EQUAL(s.volumes[1].hash, HASH_XXH3);
	CU_ASSERT_EQUAL(s.volumes[1].digest.size, 8);
	CU_ASSERT_EQUAL(s.volumes[1].blocks, 7);
	CU_ASSERT_STRING_EQUAL(s.volumes[2].name, "_u2");
	CU_ASSERT_PTR_NULL(s.volumes[2].kind);
	text_script_free(&s);
}

/* A second target's where speaks of it, and so does a source's. */
static void own_where(void)
{
	struct script s;

	must_parse("bpatch 1\nblock-size 4096\ntarget T\ntarget U where sb.time = 1\nsource S where nr_blocks = 2\n", &s);
	CU_ASSERT_STRING_EQUAL(show_op(&s, s.volumes[1].where), "1/7 value=U.sb.time compare=0 value2=1");
	CU_ASSERT_STRING_EQUAL(show_op(&s, s.volumes[2].where), "1/7 value=S.nr_blocks compare=0 value2=2");
	text_script_free(&s);
}

/* --- places --- */

static void check_place(const struct script_place *p, uint32_t line, uint32_t column, uint32_t length)
{
	CU_ASSERT_EQUAL(p->line, line);
	CU_ASSERT_EQUAL(p->column, column);
	CU_ASSERT_EQUAL(p->length, length);
}

static void places(void)
{
	struct script s;
	struct script_op *op;

	must_parse(HEAD "\n# comment\n\tpatch T[7..9]@(2+T.sb.time) text \"äöü\" was text \"abcdef\"\n"
		   "let a = (T.x + 1) * node(3).y[4]\n", &s);
	check_place(&s.block_size_place, 2, 12, 4);
	check_place(&s.volumes[1].place, 4, 8, 1);
	op = &s.ops[0];
	check_place(&op->place, 7, 2, 5);
	check_place(&op->to->place, 7, 8, 21);
	check_place(&op->to->begin->place, 7, 10, 1);
	check_place(&op->to->at->place, 7, 16, 13);
	check_place(&op->to->at->right->place, 7, 19, 9);
	CU_ASSERT_EQUAL(op->bytes.size, 6);
	op = &s.ops[1];
	check_place(&op->value->place, 8, 9, 24);
	check_place(&op->value->left->place, 8, 9, 9);
	check_place(&op->value->right->field->place, 8, 21, 12);
	check_place(&op->value->right->field->steps[1].place, 8, 29, 4);
	text_script_free(&s);
}

/* What becomes of the script is its own: the text that was given may go. */
static void later_errors(void)
{
	struct script s;

	must_parse(HEAD "set sb.flags = 0\nset sb.nothing = 5", &s);
	text_script_error(&s, &s.ops[1].field->place, error, "there is no field %s", "nothing");
	CU_ASSERT_STRING_EQUAL(error, "FILE:6:5: there is no field nothing\n    set sb.nothing = 5\n        ^~~~~~~~~~");
	text_script_free(&s);
}

/* --- how it is said --- */

static void says(const char *line, const char *expected)
{
	static const struct script nothing = { .nr_ops = 77 };
	struct script s = nothing;
	char source[4096];

	snprintf(source, sizeof(source), HEAD "%s", line);
	CU_ASSERT_EQUAL(parse_bytes(source, strlen(source), &s), -EINVAL);
	if (strcmp(error, expected) != 0)
		fprintf(stderr, "says     %s\nexpected %s\n", error, expected);
	CU_ASSERT_STRING_EQUAL(error, expected);
	CU_ASSERT_EQUAL(s.nr_ops, 77);
}

static void parses(const char *line)
{
	char source[4096];
	struct script s;

	snprintf(source, sizeof(source), HEAD "%s", line);
	must_parse(source, &s);
	text_script_free(&s);
}

static void says_bytes(const char *source, size_t size, const char *expected)
{
	struct script s;

	CU_ASSERT_EQUAL(parse_bytes(source, size, &s), -EINVAL);
	CU_ASSERT_STRING_EQUAL(error, expected);
}

static void tabs(void)
{
	says("\tfill\tT[1]\tones\t",
	     "FILE:5:12: expected zero, byte, discard or random, found 'ones'\n"
	     "    \tfill\tT[1]\tones\t\n    \t    \t    \t^~~~");
}

static void other_letters(void)
{
	says("expect T[0] text \"äöü\" ß",
	     "FILE:5:24: expected the end of the line, found 'ß'\n"
	     "    expect T[0] text \"äöü\" ß\n                           ^");
	says("let ä = 5", "FILE:5:5: expected a name, found 'ä'\n    let ä = 5\n        ^");
}

static void no_text(void)
{
	says_bytes("", 0, "FILE:1:1: expected 'bpatch 1', found the end of the script");
	says_bytes("\n\n", 2, "FILE:1:1: expected 'bpatch 1', found the end of the script");
	says_bytes("bpatch 1\0", 9, "FILE:1:9: a control character: 0x00\n    bpatch 1?\n            ^");
	says("# \xC3", "FILE:5:3: this is not UTF-8: byte 0xc3\n    # ?\n      ^");
	says("# a\xC0\xAF", "FILE:5:4: this is not UTF-8: byte 0xc0\n    # a??\n       ^");
	says("# \xED\xA0\x80", "FILE:5:3: this is not UTF-8: byte 0xed\n    # ???\n      ^");
	says("# \xF4\x90\x80\x80", "FILE:5:3: this is not UTF-8: byte 0xf4\n    # ????\n      ^");
	says("# \xFF", "FILE:5:3: this is not UTF-8: byte 0xff\n    # ?\n      ^");
	says("fence\rT", "FILE:5:6: a control character: 0x0d\n    fence?T\n         ^");
	says("# \033[31m", "FILE:5:3: a control character: 0x1b\n    # ?[31m\n      ^");
	says("# \x7F", "FILE:5:3: a control character: 0x7f\n    # ?\n      ^");
	says("# \xC2\x9F", "FILE:5:3: a control character: 0x9f\n    # ?\n      ^");
	parses("# ~\xC2\xA0\xF4\x8F\xBF\xBF");
	says("# \xC2\x9B", "FILE:5:3: a control character: 0x9b\n    # ?\n      ^");
}

/* Nothing that turns the direction of a line, or that nobody sees, reaches a terminal. */
static void hidden_characters(void)
{
	says("fence X \xE2\x80\xAE\xEF\xBB\xBF", "FILE:5:7: 'X' is not declared: there are T, S\n    fence X ??\n"
	     "          ^");
	says("fence \xE2\x80\xAE", "FILE:5:7: expected blocks, like T[7..9], found '?'\n    fence ?\n          ^");
}

static void long_lines(void)
{
	char line[1000], expected[2000], blanks[201], xs[201];

	memset(blanks, ' ', 200);
	memset(xs, 'x', 200);
	blanks[200] = xs[200] = '\0';
	snprintf(line, sizeof(line), "fence T %s9 # %s", blanks, xs);
	snprintf(expected, sizeof(expected),
		 "FILE:5:209: expected the end of the line, found '9'\n    ...%.60s9 # %.36s...\n       %.60s^", blanks,
		 xs, blanks);
	says(line, expected);
	snprintf(line, sizeof(line), "fence %s", xs);
	memset(blanks, '~', 93);
	snprintf(expected, sizeof(expected),
		 "FILE:5:7: '%.40s' is not declared: there are T, S\n    fence %.94s...\n          ^%.93s", xs, xs, blanks);
	says(line, expected);
}

static void long_names(void)
{
	char name[3000], expected[400];
	struct script s;

	memset(name, 'n', sizeof(name));
	memcpy(name + sizeof(name) - 5, "\n.bp", 5);
	CU_ASSERT_EQUAL(text_script_parse(name, "", 0, &s, error), -EINVAL);
	snprintf(expected, sizeof(expected), "...%.251s?.bp:1:1: expected 'bpatch 1', found the end of the script", name);
	CU_ASSERT_STRING_EQUAL(error, expected);
}

/* --- bounds --- */

/* The message alone. */
static void says_first(const char *line, const char *expected)
{
	char source[4096];
	struct script s;

	snprintf(source, sizeof(source), HEAD "%s", line);
	CU_ASSERT_EQUAL(parse_bytes(source, strlen(source), &s), -EINVAL);
	error[strcspn(error, "\n")] = '\0';
	CU_ASSERT_STRING_EQUAL(error, expected);
}

static char *repeat(char *at, const char *piece, unsigned nr)
{
	while (nr--)
		at = stpcpy(at, piece);
	return at;
}

static void deep_brackets(void)
{
	char line[2000], *p = stpcpy(line, "let x = ");

	repeat(stpcpy(repeat(p, "(", SCRIPT_MAX_NESTING), "1"), ")", SCRIPT_MAX_NESTING);
	parses(line);
	stpcpy(repeat(p, "(", SCRIPT_MAX_NESTING + 1), "1");
	says_first(line, "FILE:5:74: brackets are more than 64 deep");
	stpcpy(repeat(p, "node(", SCRIPT_MAX_NESTING + 1), "1");
	says_first(line, "FILE:5:334: brackets are more than 64 deep");
	stpcpy(repeat(p, "a[T[(", SCRIPT_MAX_NESTING), "1");
	says_first(line, "FILE:5:118: brackets are more than 64 deep");
}

static void many_operators(void)
{
	char line[2000], *p = stpcpy(line, "let x = T.a");

	p = repeat(p, "+b", SCRIPT_MAX_NESTING);
	parses(line);
	stpcpy(p, "*c");
	says_first(line, "FILE:5:9: more than 64 operators in a line");
	repeat(stpcpy(line, "set a[1+2].b = "), "1-", 80);
	says_first(line, "FILE:5:16: goes below 0: 0 - 1");
}

/* Zeroes before a number do not matter, up to here. */
static void long_numbers(void)
{
	char line[100], *p = repeat(stpcpy(line, "let x = "), "0", 63);

	stpcpy(p, "7");
	parses(line);
	stpcpy(p, "07");
	says_first(line, "FILE:5:9: '0000000000000000000000000000000000000000000000000000000000000000' is no number, nor a size "
			 "like 4KiB, 64M or 8s");
}

static void long_bytes(void)
{
	static char source[SCRIPT_MAX_BYTES + 1];
	struct script s;

	memset(source, '\n', sizeof(source));
	says_bytes(source, SCRIPT_MAX_BYTES + 1, "FILE:1:1: more than 16 MiB are no script");
	memcpy(source, HEAD, sizeof(HEAD) - 1);
	CU_ASSERT_EQUAL(parse_bytes(source, SCRIPT_MAX_BYTES, &s), 0);
	text_script_free(&s);
	memset(source + sizeof(HEAD) - 1, '#', 64 << 10);
	CU_ASSERT_EQUAL(parse_bytes(source, sizeof(HEAD) + (64 << 10), &s), 0);
	text_script_free(&s);
	source[sizeof(HEAD) - 1 + (64 << 10)] = '#';
	CU_ASSERT_EQUAL(parse_bytes(source, sizeof(HEAD) + (64 << 10) + 1, &s), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "FILE:5:1: a line of more than 65536 bytes\n"));
}

/* Ends anywhere, and a byte anywhere is another: it is read or refused. */
static void damaged_text(void)
{
	static const char good[] = HEAD "target U blocks=4KiB where U.x<1\nexpect T[1..+2]@4 text \"\\x00\" # ä\n"
				   "set T.a = (1+2)*U.b\n";
	static const char bytes[] = "[](){}.=\"\\@#\n0a-+<\xC3\t";
	char damaged[sizeof(good)];
	struct script s;

	CU_ASSERT_EQUAL(parse_bytes(good, sizeof(good) - 1, &s), 0);
	text_script_free(&s);
	for (size_t n = 0; n < sizeof(good) - 1; n++)
		if (!parse_bytes(good, n, &s))
			text_script_free(&s);
	for (size_t i = 0; i < sizeof(good) - 1; i++)
		for (size_t k = 0; k < sizeof(bytes); k++) {
			memcpy(damaged, good, sizeof(good));
			damaged[i] = bytes[k];
			if (!parse_bytes(damaged, sizeof(good) - 1, &s))
				text_script_free(&s);
			else
				CU_ASSERT_TRUE(!strncmp(error, "FILE:", 5));
		}
}

static const struct unit_case cases[] = {
	{ "ranges: blocks, half open or with a length, all of a volume, bytes behind the begin", ranges },
	{ "expressions: what is constant is a number, and what had a unit is bytes", expressions },
	{ "fields: of a volume, of a block, or of the only target", fields },
	{ "a let is one bare name, and a number where its value is one", lets },
	{ "expect: each kind of expectation", expectations },
	{ "set, patch, copy, move, fill: each with what may be behind it", changes },
	{ "save, checksum, verify", others },
	{ "target and source lines say what must hold", volumes },
	{ "where speaks of its own volume", own_where },
	{ "places are columns of characters, and cover what they are of", places },
	{ "errors found later are shown in the same way", later_errors },
	{ "tabs of a line are kept under it", tabs },
	{ "letters count once, however many bytes they are", other_letters },
	{ "what is not UTF-8, or controls a terminal, is refused in its place", no_text },
	{ "what a terminal hides is shown as a question mark", hidden_characters },
	{ "of a long line there is what is around the place", long_lines },
	{ "of a long name of a file there is the end", long_names },
	{ "brackets nest 64 deep, and no deeper", deep_brackets },
	{ "a line has 64 operators, and no more", many_operators },
	{ "a number has 64 characters, and no more", long_numbers },
	{ "16 MiB, and lines of 64 KiB, are the most", long_bytes },
	{ "whatever the bytes are, reading ends, with a reason when it fails", damaged_text },
	{ NULL, NULL },
};

const struct unit_suite script_suite = { "script", cases };
