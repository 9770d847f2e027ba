// SPDX-License-Identifier: LGPL-2.1-or-later
#include "pdata/problem.h"

const struct problem_info problem_table[NR_PROBLEMS] = {
#define PROBLEM(symbol, name, severity, message, meaning, remedy) \
	[PROBLEM_##symbol] = { name, SEVERITY_##severity, message, meaning, remedy },
#include "pdata/problem.def"
};

static const struct {
	const char *name, *text, *keys, *meaning;
	enum problem_severity severity;
} wheres[NR_WHERES] = {
	[WHERE_NONE] = { "", "", "", "", SEVERITY_FATAL },
#define WHERE(symbol, name, text, severity, keys, meaning) \
	[WHERE_##symbol] = { name, text, keys, meaning, SEVERITY_##severity },
#include "pdata/problem.def"
};

static const char *const severity_names[NR_SEVERITIES] = {
	[SEVERITY_COSMETIC] = "cosmetic",
	[SEVERITY_LEAK] = "leak",
	[SEVERITY_REPAIRABLE] = "repairable",
	[SEVERITY_LOSSY] = "lossy",
	[SEVERITY_FATAL] = "fatal",
};

enum problem_severity problem_severity(const struct problem *p)
{
	enum problem_severity s = problem_table[p->code].severity;

	return s == SEVERITY_BY_WHERE ? wheres[p->where].severity : s;
}

bool problem_is_block_lost(const struct problem *p)
{
	return problem_table[p->code].severity == SEVERITY_BY_WHERE;
}

const char *problem_severity_name(enum problem_severity s)
{
	return severity_names[s];
}

const char *problem_meaning(const struct problem *p)
{
	const char *meaning = problem_table[p->code].meaning;

	return *meaning ? meaning : wheres[p->where].meaning;
}

const char *problem_where_name(enum problem_where w)
{
	return wheres[w].name;
}

const char *problem_where_text(enum problem_where w)
{
	return wheres[w].text;
}

const char *problem_where_keys(enum problem_where w)
{
	return wheres[w].keys;
}

static void ignore(struct problem_sink *sink, const struct problem *p)
{
	(void)sink;
	(void)p;
}

struct problem_sink problem_silent = { ignore };
