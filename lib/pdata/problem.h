/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Damage, as news: who finds it fills a struct problem and reports it sideways; walking goes on.
 * Names, severities, messages and remedies are rows of problem.def.
 *
 * What the world does (EIO of the program's own files, ENOMEM) is not a problem in this sense: that is a -errno and
 * travels up by return value.
 */
#ifndef PDATA_PROBLEM_H
#define PDATA_PROBLEM_H

#include <stdbool.h>
#include <stdint.h>

enum problem_severity {
	SEVERITY_COSMETIC,   /* safe to run with, and nothing need be done */
	SEVERITY_LEAK,       /* safe to run with, but space is lost until something is done */
	SEVERITY_REPAIRABLE, /* no mapping is lost by it, but the pool is not safe to activate, or is refused */
	SEVERITY_LOSSY,      /* mappings cannot be reached */
	SEVERITY_FATAL,      /* data is at risk when the pool is used */
	NR_SEVERITIES,
	SEVERITY_BY_WHERE    /* in the table only */
};

enum problem_where {
	WHERE_NONE,
#define WHERE(symbol, name, text, severity, keys, meaning) WHERE_##symbol,
#include "pdata/problem.def"
	NR_WHERES
};

enum problem_code {
#define PROBLEM(symbol, name, severity, message, meaning, remedy) PROBLEM_##symbol,
#include "pdata/problem.def"
	NR_PROBLEMS
};

#define PROBLEM_NO_BLOCK UINT64_MAX
#define PROBLEM_NO_DEVICE UINT64_MAX

struct problem {
	enum problem_code code;
	enum problem_where where;
	uint64_t block;      /* metadata block, or PROBLEM_NO_BLOCK */
	uint64_t dev_id;     /* of the device whose tree this is, or PROBLEM_NO_DEVICE */
	uint64_t begin, end; /* keys that it concerns: virtual blocks, device ids; begin == end: none */
	uint64_t expected, found, count;
	const char *expected_kind, *found_kind; /* of BLOCK_KIND: static names */
	bool is_touch; /* no problem more, but a device and virtual blocks that one touches which was reported */
	bool is_leaf;  /* of a node that cannot be used: nothing was below it but what its keys say */
	int error; /* positive errno of BLOCK_UNREADABLE */
};

struct problem_info {
	const char *name;
	enum problem_severity severity; /* may be SEVERITY_BY_WHERE */
	const char *message, *meaning, *remedy; /* meaning: empty if the structure's counts */
};

extern const struct problem_info problem_table[NR_PROBLEMS];

/* Of one problem: the table's, or its structure's. */
enum problem_severity problem_severity(const struct problem *p);

const char *problem_severity_name(enum problem_severity s);

/* The block is not used where it was found; all other problems are about contents, or about no block. */
bool problem_is_block_lost(const struct problem *p);

/* What it means to who uses the pool. */
const char *problem_meaning(const struct problem *p);

/* "mappings", for JSON; "mapping tree", for people. Empty for WHERE_NONE. */
const char *problem_where_name(enum problem_where w);
const char *problem_where_text(enum problem_where w);

/* What the keys of the structure are, and so what is lost with a piece of it: "virtual blocks". May be empty. */
const char *problem_where_keys(enum problem_where w);

/* Who is told. Embedded in what a listener needs. */
struct problem_sink {
	void (*report)(struct problem_sink *sink, const struct problem *p);
};

/* For a second look at what was reported already. */
extern struct problem_sink problem_silent;

#endif
