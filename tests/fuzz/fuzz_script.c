// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Fuzz targets: scripts, any bytes. Nothing may crash, hang, leak or read past anything.
 *
 *	read      what was read points nowhere else, and what was not has a reason that can be shown
 *	twice     lines that end with CR LF are the same lines
 *	memory    allocations fail, one after the other, and all of it is given back
 *
 * As LLVMFuzzerTestOneInput for libFuzzer (compile with -fsanitize=fuzzer -DLIBFUZZER; the first two), and as the program
 * fuzz-script read|twice|memory (fuzz_text.h).
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz_text.h"
#include "text/script.h"

#define SECONDS_A_CASE 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz-script: %s\n", what);
	abort();
}

static void need(bool condition, const char *what)
{
	if (!condition)
		fail(what);
}

/* --- what was read --- */

static void check_place(const struct script *s, const struct script_place *p)
{
	need(p->line && p->column && p->length, "a place that is none");
	need(p->line <= s->size + 1 && p->column <= s->size + 1, "a place that is not in the text");
}

static void check_field(const struct script *s, const struct script_field *f);

/* Not deeper than who computes it can go down. */
static void check_expr(const struct script *s, const struct script_expr *e, unsigned depth)
{
	if (!e)
		return;
	need(depth <= 2 * SCRIPT_MAX_NESTING + 2, "an expression that is too deep");
	check_place(s, &e->place);
	if (e->kind == EXPR_LET)
		need(e->let < s->nr_lets, "a let that was not bound");
	if (e->kind == EXPR_FIELD)
		check_field(s, e->field);
	if (e->kind < EXPR_ADD)
		return;
	need(e->left && e->right, "an operator without a side");
	need(e->left->kind != EXPR_NUMBER || e->right->kind != EXPR_NUMBER, "constants that were not computed");
	check_expr(s, e->left, depth + 1);
	check_expr(s, e->right, depth + 1);
}

static void check_field(const struct script *s, const struct script_field *f)
{
	need(f->volume < s->nr_volumes && f->nr_steps && f->nr_steps <= SCRIPT_MAX_STEPS, "a path that is none");
	check_place(s, &f->place);
	check_expr(s, f->block, 0);
	for (unsigned i = 0; i < f->nr_steps; i++) {
		need(*f->steps[i].name, "a step without a name");
		check_place(s, &f->steps[i].place);
		check_expr(s, f->steps[i].argument, 0);
		check_expr(s, f->steps[i].index, 0);
	}
}

static void check_range(const struct script *s, const struct script_range *r, bool is_written)
{
	const struct script_expr *const blocks[] = { r->begin, r->end, r->length };

	need(r->volume < s->nr_volumes, "a range of nothing");
	need(!is_written || s->volumes[r->volume].is_target, "a source is written");
	need(r->begin && !(r->end && r->length), "a range with two ends, or without a begin");
	check_place(s, &r->place);
	for (unsigned i = 0; i < 3; i++) {
		need(!blocks[i] || blocks[i]->unit == SCRIPT_PLAIN, "bytes where blocks are meant");
		check_expr(s, blocks[i], 0);
	}
	need(!r->at || r->at->unit == SCRIPT_BYTES, "blocks behind an @");
	check_expr(s, r->at, 0);
}

static unsigned checksum(const void *data, size_t size)
{
	unsigned sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += ((const uint8_t *)data)[i];
	return sum;
}

static volatile unsigned sums; /* so that all is read */

static void check_op(const struct script *s, const struct script_op *op)
{
	bool is_read = op->verb == SCRIPT_EXPECT;

	check_place(s, &op->place);
	if (op->from)
		check_range(s, op->from, op->verb == SCRIPT_MOVE);
	if (op->to)
		check_range(s, op->to, !is_read);
	if (op->field)
		check_field(s, op->field);
	check_expr(s, op->value, 0);
	check_expr(s, op->value2, 0);
	need(!op->was.size || op->was.size == op->bytes.size, "other bytes than there were");
	sums += checksum(op->bytes.data, op->bytes.size) + checksum(op->was.data, op->was.size);
	if (op->kind)
		check_place(s, &op->kind_place);
	need((!op->kind || *op->kind) && (!op->text || *op->text), "an empty word");
	need(op->verb != SCRIPT_LET || op->let < s->nr_lets, "a let without a name");
}

static void check_volume(const struct script *s, const struct script_volume *v)
{
	need(*v->name && strlen(v->name) <= SCRIPT_MAX_NAME, "a volume without a name");
	check_place(s, &v->place);
	need(v->has_hash == (v->digest.size != 0), "a hash without a digest");
	sums += checksum(v->digest.data, v->digest.size);
	for (unsigned i = 0; i < v->nr_where; i++)
		check_op(s, &v->where[i]);
}

static void check_script(const struct script *s)
{
	need(s->block_size && s->block_size % 512 == 0 && s->nr_volumes, "a script without a head");
	for (unsigned i = 0; i < s->nr_volumes; i++)
		check_volume(s, &s->volumes[i]);
	for (unsigned i = 0; i < s->nr_ops; i++)
		check_op(s, &s->ops[i]);
	for (unsigned i = 0; i < s->nr_lets; i++)
		need(*s->lets[i], "a let without a name");
}

/* --- what is said --- */

/* One line, or three; nothing that controls a terminal. */
static void check_error(const char *error)
{
	unsigned nr_newlines = 0;

	need(!strncmp(error, "fuzz:", 5), "a reason without a place");
	need(strlen(error) < SCRIPT_ERROR_MAX, "a reason that does not end");
	for (const char *p = error; *p; p++) {
		nr_newlines += *p == '\n';
		need((unsigned char)*p >= ' ' || *p == '\n' || *p == '\t', "a control character in a reason");
	}
	need(nr_newlines == 0 || nr_newlines == 2, "a reason that is not one or three lines");
}

/* --- one case --- */

static char reason[SCRIPT_ERROR_MAX], reason_twice[SCRIPT_ERROR_MAX];

static int parse(const void *data, size_t size, char *error)
{
	struct script s;
	int r = text_script_parse("fuzz", data, size, &s, error);

	if (r)
		return r;
	check_script(&s);
	text_script_free(&s);
	return 0;
}

static int read_once(const uint8_t *data, size_t size)
{
	int r = parse(data, size, reason);

	need(!r || r == -EINVAL, "neither read nor refused");
	if (r)
		check_error(reason);
	return r;
}

/* But a carriage return elsewhere is an error, and what is long enough to be one is another matter. */
static void read_twice(const uint8_t *data, size_t size)
{
	char *twice;
	size_t len = 0;
	int r = read_once(data, size);

	if (memchr(data, '\r', size) || size > FUZZ_TEXT_MAX / 2)
		return;
	twice = malloc(2 * size + 1);
	need(twice, "no memory");
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\n')
			twice[len++] = '\r';
		twice[len++] = (char)data[i];
	}
	need(parse(twice, len, reason_twice) == r, "CR LF makes a difference");
	need(!r || !strcmp(reason, reason_twice), "CR LF makes a difference in what is said");
	free(twice);
}

/* --- memory --- */

#ifndef LIBFUZZER

static unsigned allocations_left; /* 0: as many as are wanted */

static bool is_refused(void)
{
	return allocations_left && !--allocations_left;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t nr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t nr, size_t size);

void *__wrap_malloc(size_t size)
{
	return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return is_refused() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return is_refused() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t nr, size_t size)
{
	return is_refused() ? NULL : __real_reallocarray(p, nr, size);
}

/* Until there was enough. */
static void read_without_memory(const uint8_t *data, size_t size)
{
	bool was_refused;
	int r;

	for (unsigned n = 1;; n++) {
		allocations_left = n;
		r = parse(data, size, reason);
		was_refused = !allocations_left;
		allocations_left = 0;
		if (!was_refused)
			break;
		need(r == -ENOMEM, "no memory, and nobody said so");
	}
	need(r != -ENOMEM, "memory was said to be short, and was not");
}

enum { READ = 1, TWICE = 2, MEMORY = 4 };

static void run_case(const uint8_t *data, size_t size, unsigned targets)
{
	alarm(SECONDS_A_CASE);
	if (targets & READ)
		read_once(data, size);
	if (targets & TWICE)
		read_twice(data, size);
	if (targets & MEMORY)
		read_without_memory(data, size);
	alarm(0);
}

static const char *const pieces[] = {
	"bpatch 1\n", "block-size 4KiB\n", "block-size 512\n", "target T\n", "source S\n", "\r\n", "\n", "\r", "\t", " ", "#", "\"",
	"\\", "\\x", "(", ")", "[", "]", "..", "..+", ".", ",", "@", "+", "-", "*", "->", "=", "==", "!=", "<", "<=", ">", "0", "1",
	"7", "4KiB", "8s", "0x", "0xffffffffffffffff", "18446744073709551615", "18446744073709551616", "T", "S", "T[7]", "T[7..9]",
	"S[0..+2]", "T[", "T.", "nr_blocks", "sb.flags", "node(", "node(7).value[3]", "csum", "csum ok", "zero", "hash xxh3:",
	"kind any", "hex \"00\"", "text \"x\"", "u8 1", "u64 5", "was", "override", "then zero", "byte 7", "random seed=1",
	"as btree-node", "value 5", "where", "where sb.time = 1", "let a = 5\n", "let b = a * nr_blocks\n", "a", "b",
	"fence T\n", "expect T[1] zero\n", "set sb.flags = a\n", "checksum keep\n", "\xC3\xA4", "\xE2\x80\xAE", "\xFF", "\xC3",
	"((((((((((((((((((((", "a[a[a[a[a[a[a[a[a[a[", "-1-1-1-1-1-1-1-1-1-1-1", "*a+a*a+a*a+a*a+a*a+a",
};

int main(int argc, char **argv)
{
	static const char *const targets[] = { "read", "twice", "memory" };
	static const struct fuzz_text fuzz = {
		.name = "fuzz-script",
		.targets = targets, .nr_targets = sizeof(targets) / sizeof(*targets),
		.pieces = pieces, .nr_pieces = sizeof(pieces) / sizeof(*pieces),
		.run = run_case,
	};

	return fuzz_text_main(&fuzz, argc, argv);
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_twice(data, size);
	return 0;
}
