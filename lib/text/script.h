/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scripts, "bpatch 1": text to a list of operations. The language is described in bufio-script(5).
 *
 * Reading a script opens nothing and knows no format: all of it is parsed, names are bound, and units are checked, or the
 * first error is given with its place. What a path like sb.trans_id or node(7).value[3] leads to is the business of who
 * runs the script, and what is wrong with one is said by text_script_error() too.
 */
#ifndef TEXT_SCRIPT_H
#define TEXT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Both count from 1; columns in characters, a tab is one. */
struct script_place {
	uint32_t line, column;
	uint32_t length; /* characters that a caret underlines; 1 at least */
};

/* Literal bytes: hex "de ad", text "..", u8 u16 u32 u64 (little-endian). */
struct script_bytes {
	uint8_t *data;
	uint32_t size;
};

enum script_unit {
	SCRIPT_PLAIN, /* a number, blocks where blocks are meant */
	SCRIPT_BYTES, /* something in it had a unit */
};

enum script_expr_kind {
	EXPR_NUMBER,
	EXPR_LET,   /* a name that a let before it bound; where the value is constant, it is EXPR_NUMBER instead */
	EXPR_FIELD,
	EXPR_ADD,
	EXPR_SUB,
	EXPR_MUL,
};

struct script_expr {
	enum script_expr_kind kind;
	enum script_unit unit;
	struct script_place place;
	uint64_t number;                  /* EXPR_NUMBER */
	unsigned let;                     /* EXPR_LET: of script.lets */
	struct script_field *field;       /* EXPR_FIELD */
	struct script_expr *left, *right; /* the rest */
};

/* One part of a path: NAME, NAME(ARGUMENT), NAME[INDEX], NAME(ARGUMENT)[INDEX]. */
struct script_step {
	const char *name;
	struct script_place place;
	struct script_expr *argument, *index; /* or NULL */
};

/* T.sb.trans_id, T[9].nr_entries, node(leaf).value[3].block, thin(2).map(50).data, nr_blocks */
struct script_field {
	struct script_place place;
	unsigned volume;           /* of script.volumes; the only target where none is named */
	struct script_expr *block; /* T[EXPR].NAME..; NULL: the path begins with a name */
	struct script_step *steps;
	unsigned nr_steps; /* at least 1 */
};

/* T[7], T[7..9], T[7..+2], and behind each of them @BYTES */
struct script_range {
	struct script_place place;
	unsigned volume;
	struct script_expr *begin;
	struct script_expr *end;    /* or NULL */
	struct script_expr *length; /* or NULL; without both it is one block */
	struct script_expr *at;     /* bytes behind the begin, or NULL; only in EXPECT_BYTES, _ZERO, _HASH, patch, save */
};

enum script_verb {
	SCRIPT_FENCE,     /* to: no operation may write outside of all fences of a volume */
	SCRIPT_EXPECT,    /* see enum script_expectation */
	SCRIPT_LET,       /* lets[let] = value */
	SCRIPT_SET,       /* field = value */
	SCRIPT_PATCH,     /* to, bytes; was */
	SCRIPT_COPY,      /* from -> to; to has a begin alone */
	SCRIPT_MOVE,      /* the same; has_zero: zeroes the source blocks that are not in the target */
	SCRIPT_FILL,      /* to; see enum script_filling */
	SCRIPT_SAVE,      /* from, text: name of a file */
	SCRIPT_CHECKSUM,  /* see enum script_sealing */
	SCRIPT_VERIFY,    /* to, kind: after it was applied */
};

enum script_expectation {
	EXPECT_CSUM_OK, /* from */
	EXPECT_CSUM_BAD,
	EXPECT_BYTES,   /* from (with at, or block begin's first byte), bytes */
	EXPECT_ZERO,    /* from */
	EXPECT_SAME,    /* from, to: as long as from, both without at */
	EXPECT_HASH,    /* from, hash, bytes: the digest */
	EXPECT_KIND,    /* from, kind */
	EXPECT_COMPARE, /* value, compare, value2 */
};

enum script_compare { COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE };

enum script_filling { FILL_ZERO, FILL_BYTE /* value */, FILL_DISCARD, FILL_RANDOM /* value: the seed */ };

enum script_sealing {
	SEAL_AUTO, /* from here on: blocks of a known kind that are touched get their checksum */
	SEAL_KEEP, /* from here on: they do not */
	SEAL_AS,   /* to: these blocks, as kind */
	SEAL_VALUE, /* to: one block; value is its checksum, right or wrong */
};

/* Digests are as people write them, the highest byte first: 8 bytes, and 32. */
enum script_hash { HASH_XXH3, HASH_SHA256 };

struct script_op {
	enum script_verb verb;
	struct script_place place; /* of the verb */
	union {
		enum script_expectation expectation;
		enum script_filling filling;
		enum script_sealing sealing;
	};
	bool is_override; /* may write what another operation wrote */
	bool has_zero;
	struct script_range *from, *to;
	struct script_field *field;
	struct script_expr *value, *value2;
	enum script_compare compare;
	enum script_hash hash;
	struct script_bytes bytes, was; /* was.size 0: not said */
	const char *kind;               /* a word that who runs the script must know, "btree-node", "any"; its place: */
	struct script_place kind_place;
	const char *text;
	unsigned let;
};

/* target NAME or source NAME, and what it must be. */
struct script_volume {
	const char *name;
	struct script_place place;
	bool is_target;
	const char *kind; /* or NULL */
	struct script_place kind_place;
	bool has_blocks, has_hash;
	uint64_t blocks;
	enum script_hash hash;
	struct script_bytes digest; /* of all of it */
	/* where VALUE = VALUE, ...: EXPECT_COMPARE each, checked before anything else; fields belong to this volume. */
	struct script_op *where;
	unsigned nr_where;
};

struct script {
	const char *name; /* of the file */
	uint32_t block_size;
	struct script_place block_size_place;
	struct script_volume *volumes;
	unsigned nr_volumes;
	struct script_op *ops; /* in their order */
	unsigned nr_ops;
	const char **lets; /* names */
	unsigned nr_lets;
	const char *source; /* the text, for text_script_error() */
	size_t size;
	struct script_memory *memory; /* of all that it points to */
};

/* "FILE:LINE:COLUMN: what is wrong", the line, and under it a caret; no newline at the end. */
#define SCRIPT_ERROR_MAX 2048

/* Bounds: what is larger is an error with its place. */
#define SCRIPT_MAX_BYTES (16 << 20)
#define SCRIPT_MAX_OPS 1000000
#define SCRIPT_MAX_VOLUMES 64
#define SCRIPT_MAX_NAME 32    /* characters */
#define SCRIPT_MAX_NESTING 64 /* of brackets; operators in a statement: so no tree of expressions is deeper than both */
#define SCRIPT_MAX_STEPS 8

/*
 * Parses the @size bytes at @source, called @name in messages. Both are copied. The script is the caller's, to be freed.
 * Errors: -EINVAL  @error says what is wrong and where
 *         -ENOMEM
 */
int text_script_parse(const char *name, const char *source, size_t size, struct script *script,
		      char error[SCRIPT_ERROR_MAX]);
void text_script_free(struct script *script);

/* The same text for what is found wrong later. */
__attribute__((format(printf, 4, 5))) void text_script_error(const struct script *script,
							     const struct script_place *place,
							     char error[SCRIPT_ERROR_MAX], const char *format, ...);

#endif
