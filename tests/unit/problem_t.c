// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>

#include "pdata/problem.h"
#include "unit.h"

#define LEN(table) (sizeof(table) / sizeof(*(table)))

static const struct {
	enum problem_where where;
	const char *name;
	enum problem_severity severity;
} wheres[] = {
	{ WHERE_SUPERBLOCK, "superblock", SEVERITY_LOSSY },
	{ WHERE_HELD, "metadata-snapshot", SEVERITY_REPAIRABLE },
	{ WHERE_DETAILS, "details", SEVERITY_REPAIRABLE },
	{ WHERE_TOP, "top-level", SEVERITY_LOSSY },
	{ WHERE_MAPPINGS, "mappings", SEVERITY_LOSSY },
	{ WHERE_DATA_SM, "data-space-map", SEVERITY_REPAIRABLE },
	{ WHERE_DATA_COUNTS, "data-reference-counts", SEVERITY_REPAIRABLE },
	{ WHERE_META_SM, "metadata-space-map", SEVERITY_REPAIRABLE },
	{ WHERE_META_COUNTS, "metadata-reference-counts", SEVERITY_REPAIRABLE },
	{ WHERE_HELD_TREES, "metadata-snapshot-trees", SEVERITY_REPAIRABLE },
	{ WHERE_UNUSED, "unused", SEVERITY_COSMETIC },
};

/* A name for scripts. */
static int is_stable_name(const char *name)
{
	return *name && strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name);
}

static void rows_complete(void)
{
	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		const struct problem_info *row = &problem_table[c];

		CU_ASSERT_PTR_NOT_NULL_FATAL(row->name);
		CU_ASSERT_PTR_NOT_NULL_FATAL(row->message);
		CU_ASSERT_PTR_NOT_NULL_FATAL(row->remedy);
		CU_ASSERT_TRUE(row->name[0] && row->message[0] && row->remedy[0]);
	}
}

static void names(void)
{
	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		CU_ASSERT_TRUE(is_stable_name(problem_table[c].name));
		for (unsigned other = 0; other < c; other++)
			CU_ASSERT_STRING_NOT_EQUAL(problem_table[c].name, problem_table[other].name);
	}
}

/* A few that scripts are likely to have in them. */
static void names_stay(void)
{
	CU_ASSERT_STRING_EQUAL(problem_table[PROBLEM_BLOCK_CHECKSUM].name, "block-checksum");
	CU_ASSERT_STRING_EQUAL(problem_table[PROBLEM_BLOCK_UNREADABLE].name, "block-unreadable");
	CU_ASSERT_STRING_EQUAL(problem_table[PROBLEM_MAPPED_BLOCKS].name, "mapped-blocks");
	CU_ASSERT_STRING_EQUAL(problem_table[PROBLEM_NEEDS_CHECK].name, "needs-check");
	CU_ASSERT_STRING_EQUAL(problem_table[PROBLEM_DATA_BEYOND].name, "mapping-beyond-data");
}

static int is_variable(const char *name, size_t len)
{
	static const char *const known[] = { "block", "expected", "found", "count", "error", "where",
					     "xexpected", "xfound", "kexpected", "kfound" };

	for (unsigned i = 0; i < LEN(known); i++)
		if (strlen(known[i]) == len && !memcmp(known[i], name, len))
			return 1;
	return 0;
}

static void variables(void)
{
	unsigned nr = 0;

	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		for (const char *p = problem_table[c].message; (p = strchr(p, '{')); nr++) {
			size_t len = strcspn(++p, "}");

			CU_ASSERT_EQUAL(p[len], '}');
			CU_ASSERT_TRUE(is_variable(p, len));
		}
	}
	CU_ASSERT_TRUE(nr > 20);
}

static void one_line(void)
{
	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		CU_ASSERT_PTR_NULL(strpbrk(problem_table[c].message, "\n\t"));
		CU_ASSERT_PTR_NULL(strpbrk(problem_table[c].remedy, "\n\t"));
		CU_ASSERT_PTR_NULL(strchr(problem_table[c].remedy, '{'));
	}
}

/* No other problem has the names that {kexpected} and {kfound} stand for. */
static void kinds_only_where_set(void)
{
	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		if (c == PROBLEM_BLOCK_KIND)
			continue;
		CU_ASSERT_PTR_NULL(strstr(problem_table[c].message, "{k"));
	}
}

static void by_where(void)
{
	for (unsigned i = 0; i < LEN(wheres); i++) {
		struct problem p = { .code = PROBLEM_BLOCK_ZEROED, .where = wheres[i].where };

		CU_ASSERT_EQUAL(problem_table[p.code].severity, SEVERITY_BY_WHERE);
		CU_ASSERT_EQUAL(problem_severity(&p), wheres[i].severity);
	}
}

static void follows_the_row(void)
{
	unsigned nr_by_where = 0;

	for (unsigned c = 0; c < NR_PROBLEMS; c++) {
		for (unsigned w = 0; w < NR_WHERES; w++) {
			struct problem same = { .code = PROBLEM_BLOCK_ZEROED, .where = w };
			struct problem p = { .code = c, .where = w };
			enum problem_severity s = problem_table[c].severity;

			nr_by_where += s == SEVERITY_BY_WHERE;
			CU_ASSERT_EQUAL(problem_severity(&p),
					s == SEVERITY_BY_WHERE ? problem_severity(&same) : s);
		}
	}
	CU_ASSERT_TRUE(nr_by_where > NR_WHERES);
}

static void no_leak(void)
{
	for (unsigned c = 0; c < NR_PROBLEMS; c++)
		for (unsigned w = 0; w < NR_WHERES; w++) {
			struct problem p = { .code = c, .where = w };

			CU_ASSERT_TRUE(problem_severity(&p) < NR_SEVERITIES);
		}
}

static void severity_names(void)
{
	CU_ASSERT_STRING_EQUAL(problem_severity_name(SEVERITY_COSMETIC), "cosmetic");
	CU_ASSERT_STRING_EQUAL(problem_severity_name(SEVERITY_LEAK), "leak");
	CU_ASSERT_STRING_EQUAL(problem_severity_name(SEVERITY_REPAIRABLE), "repairable");
	CU_ASSERT_STRING_EQUAL(problem_severity_name(SEVERITY_LOSSY), "lossy");
	CU_ASSERT_STRING_EQUAL(problem_severity_name(SEVERITY_FATAL), "fatal");
}

static void severities_rise(void)
{
	CU_ASSERT_TRUE(SEVERITY_COSMETIC < SEVERITY_LEAK);
	CU_ASSERT_TRUE(SEVERITY_LEAK < SEVERITY_REPAIRABLE);
	CU_ASSERT_TRUE(SEVERITY_REPAIRABLE < SEVERITY_LOSSY);
	CU_ASSERT_TRUE(SEVERITY_LOSSY < SEVERITY_FATAL);
}

static void where_names(void)
{
	CU_ASSERT_EQUAL(LEN(wheres), NR_WHERES - 1);
	for (unsigned i = 0; i < LEN(wheres); i++) {
		CU_ASSERT_STRING_EQUAL(problem_where_name(wheres[i].where), wheres[i].name);
		CU_ASSERT_TRUE(is_stable_name(problem_where_name(wheres[i].where)));
		CU_ASSERT_NOT_EQUAL(strlen(problem_where_text(wheres[i].where)), 0);
		for (unsigned other = 0; other < i; other++)
			CU_ASSERT_STRING_NOT_EQUAL(problem_where_text(wheres[i].where),
						   problem_where_text(wheres[other].where));
	}
	CU_ASSERT_STRING_EQUAL(problem_where_text(WHERE_MAPPINGS), "mapping tree");
}

static void nowhere(void)
{
	CU_ASSERT_STRING_EQUAL(problem_where_name(WHERE_NONE), "");
	CU_ASSERT_STRING_EQUAL(problem_where_text(WHERE_NONE), "");
}

static const struct unit_case cases[] = {
	{ "every problem has a name, a message and a remedy", rows_complete },
	{ "names are lower-case words with hyphens, each used once", names },
	{ "names that scripts match stay what they are", names_stay },
	{ "messages name variables that exist", variables },
	{ "messages and remedies are one line, and remedies have no variables", one_line },
	{ "only a wrong kind speaks of kinds", kinds_only_where_set },
	{ "a lost block is as bad as the structure that it belonged to", by_where },
	{ "every other problem is as bad as its row says, wherever it is", follows_the_row },
	{ "no problem has a severity that is for the table only", no_leak },
	{ "every severity has its name", severity_names },
	{ "severities rise from cosmetic to fatal", severities_rise },
	{ "every structure has a name for scripts and one for people", where_names },
	{ "nowhere has empty names", nowhere },
	{ NULL, NULL },
};

const struct unit_suite problem_suite = { "problem", cases };
