/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the script reader share: script.c has memory and the text of errors, script_lex.c lines and words,
 * script_expr.c expressions, fields and ranges, script_op.c what is behind a verb, script_parse.c statements.
 *
 * Each line is a statement, read from left to right. Calls that return a bool or a pointer give false or NULL when
 * something is wrong, which was said by then: all that is left to do is to return. script_take() and the calls named is_
 * just answer, and so do script_nearest(), _range_length(), and the _find_ ones.
 */
#ifndef TEXT_SCRIPT_INT_H
#define TEXT_SCRIPT_INT_H

#include <stdarg.h>

#include "base/string_set.h"
#include "text/script.h"

/* What a script may take, its own text included. */
#define SCRIPT_MAX_MEMORY (UINT64_C(512) << 20)
#define SCRIPT_MAX_LINE (64 << 10)

#define NR(table) (sizeof(table) / sizeof(*(table)))

struct script_let {
	struct script_expr *value;
	uint32_t line;
};

struct script_reader {
	struct script s;
	char *error;
	int result;      /* 0, or why nothing more is read */
	uint64_t memory; /* bytes that may be used, and are left */

	const char *next_line;
	const char *line, *end; /* the line; the end is before its comment once that was seen */
	const char *at;         /* what is read next */
	const char *token_end;  /* of what was read last */
	const char *mark;       /* somewhere in the line, for counting from there */
	uint32_t mark_column, line_nr;

	unsigned nesting, operators; /* in this statement */
	bool is_offset;              /* behind an @: bare numbers are bytes, and mix with others */
	const struct script_volume *own; /* while its where is read */

	struct string_set let_names;
	struct script_let *let_values;
	uint64_t room_volumes, room_ops, room_lets, room_values;
	uint32_t version_line, first_op_line; /* 0: there was none */
	struct script_place last;             /* behind the last statement */
};

/* --- script.c --- */

/* Whether memory could be had; if not, @error is -E2BIG or -ENOMEM. */
bool script_has_memory(struct script_reader *r, int error);
/* Zeroed, and freed with the script. */
void *script_alloc(struct script_reader *r, size_t size);
/* With a zero byte behind it. */
char *script_copy(struct script_reader *r, const char *text, size_t size);
/* As table_grow(). */
bool script_grow(struct script_reader *r, void *table, size_t size, uint64_t nr, uint64_t *room);

__attribute__((format(printf, 3, 4))) bool script_fail(struct script_reader *r, const struct script_place *place,
							const char *format, ...);

/* --- script_lex.c --- */

/* Bytes of the character at @p, 1 at least; *@code is UINT32_MAX where there is none. */
unsigned script_character(const char *p, const char *end, uint32_t *code);

/* 1: the next line, which is not empty; 0: there is none. < 0: something is wrong. */
int script_next_line(struct script_reader *r);

/* Of the next token; of all from @start to the end of the last one. */
struct script_place script_here(struct script_reader *r);
struct script_place script_since(struct script_reader *r, struct script_place start);

bool script_is_end(struct script_reader *r);
/* Letters, digits, underscores. */
bool script_is_word_character(char c);
/* The next token is a name, or a number. */
bool script_is_name(struct script_reader *r);
bool script_is_number(struct script_reader *r);

/* Bytes of the next token; 0 at the end of the line. */
size_t script_token_length(struct script_reader *r);
/* Whether the next token is @token; which script_take() passes then. */
bool script_is_next(struct script_reader *r, const char *token);
bool script_take(struct script_reader *r, const char *token);
/* What was to come next, and what is there instead. Returns false. */
bool script_expected(struct script_reader *r, const char *what);
bool script_need(struct script_reader *r, const char *token);
/* What may be there instead is said in @expected. */
bool script_need_end(struct script_reader *r, const char *expected);

/* A token, or a word that may have dashes in it, kept. */
char *script_read_token(struct script_reader *r);
char *script_read_dashed(struct script_reader *r, const char *what);
bool script_read_number(struct script_reader *r, uint64_t *value, enum script_unit *unit);
/* "..", with @is_hex as pairs of digits; not empty. A zero byte is behind it, which is not counted. */
bool script_read_string(struct script_reader *r, bool is_hex, struct script_bytes *bytes);
/* The @size bytes of a digest. */
bool script_read_digest(struct script_reader *r, uint32_t size, struct script_bytes *bytes);

/*
 * The name that @word probably meant, or NULL. Each of the @nr rows of the @table has @stride bytes, and begins with a
 * pointer to a name.
 */
const char *script_nearest(const char *word, const void *table, size_t stride, size_t nr);

/*
 * The row of such a table whose name is the next token, which is passed; or -1. Need says what was @expected then, and
 * what was probably meant.
 */
int script_take_row(struct script_reader *r, const void *table, size_t stride, size_t nr);
int script_need_row(struct script_reader *r, const char *expected, const void *table, size_t stride, size_t nr);

#define SCRIPT_TAKE_ROW(r, table) script_take_row(r, table, sizeof(*(table)), NR(table))
#define SCRIPT_NEED_ROW(r, expected, table) script_need_row(r, expected, table, sizeof(*(table)), NR(table))

/* --- script_expr.c --- */

/* Number of script.volumes or .lets, or -1. */
int script_find_volume(const struct script_reader *r, const char *name, size_t len);
long script_find_let(const struct script_reader *r, const char *name, size_t len);

struct script_expr *script_read_expr(struct script_reader *r);
/* A number that is known now; blocks, or bytes that are blocks. */
bool script_read_constant(struct script_reader *r, struct script_expr **e);
bool script_read_blocks(struct script_reader *r, struct script_expr **e);
struct script_field *script_read_field(struct script_reader *r);

/* What a range may be. */
enum {
	RANGE_BYTES = 1,  /* with an @ */
	RANGE_TARGET = 2, /* of a target: it is written */
	RANGE_BEGIN = 4,  /* a place: a volume alone is its first block */
};

struct script_range *script_read_range(struct script_reader *r, unsigned flags);
/* The next token is the name of a volume. */
bool script_is_volume(struct script_reader *r);
/* Whether a range comes next, rather than a field of one block. */
bool script_is_range(struct script_reader *r);
/* How many blocks it has, where that is known. */
bool script_range_length(const struct script_range *range, uint64_t *blocks);

/* --- script_op.c --- */

bool script_read_fence(struct script_reader *r, struct script_op *op);
bool script_read_expect(struct script_reader *r, struct script_op *op);
bool script_read_let(struct script_reader *r, struct script_op *op);
bool script_read_set(struct script_reader *r, struct script_op *op);
bool script_read_patch(struct script_reader *r, struct script_op *op);
bool script_read_copy(struct script_reader *r, struct script_op *op);
bool script_read_move(struct script_reader *r, struct script_op *op);
bool script_read_fill(struct script_reader *r, struct script_op *op);
bool script_read_save(struct script_reader *r, struct script_op *op);
bool script_read_checksum(struct script_reader *r, struct script_op *op);
bool script_read_verify(struct script_reader *r, struct script_op *op);
/* EXPRESSION = EXPRESSION; what is behind it is left. */
bool script_read_compare(struct script_reader *r, struct script_op *op);
bool script_read_kind(struct script_reader *r, const char **kind, struct script_place *kind_place);
/* The digits of a digest. */
bool script_read_hash(struct script_reader *r, enum script_hash hash, struct script_bytes *digest);

/* --- script_parse.c --- */

/* Of a volume or a let; nothing else is called so. */
bool script_read_new_name(struct script_reader *r, const char *what, const char **name);

/* The next token is a word of the language: nothing else is called so. */
bool script_is_keyword(struct script_reader *r);
/* The statement of the line. */
bool script_read_statement(struct script_reader *r);
/* Whether all is there once all was read. */
bool script_read_end(struct script_reader *r);

#endif
