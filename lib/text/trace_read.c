// SPDX-License-Identifier: LGPL-2.1-or-later
#include "text/trace_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/table.h"

#define LINE_MAX_BYTES 8191
#define MAX_WORDS 16
#define MAX_FILES 65536
#define SECTOR 512

#define NS_PER_US 1000
#define NS_PER_S UINT64_C(1000000000)

struct reader;

/* A kind of trace: by its first line, or by how each looks. */
struct format {
	const char *name, *first_line; /* NULL: there is none of its own */
	int (*take)(struct reader *r);
};

struct reader {
	FILE *file;
	struct text_trace *trace;
	struct text_trace_info *info;
	const struct format *format;
	uint64_t memory; /* that is left */
	uint64_t ns;     /* of the last record; of fio 2, the sum of all waits */
	uint64_t counts[3]; /* of blkparse: lines of each kind */
	bool is_over;    /* what follows is no part of the trace */
	char *words[MAX_WORDS];
	unsigned nr_words; /* those that are too many are counted, and not kept */
	char line[LINE_MAX_BYTES + 1];
};

static int refuse(struct reader *r, const char *expected)
{
	r->info->expected = expected;
	return -EINVAL;
}

/* --- lines --- */

/* 1, or 0 at the end. A last line without a newline was cut off: what is read of its numbers may be less than they were. */
static int next_line(struct reader *r)
{
	size_t len = 0;
	int c;

	r->info->line++;
	errno = 0;
	while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
		if (!c || len == LINE_MAX_BYTES)
			return refuse(r, "text in lines of at most 8191 characters");
		r->line[len++] = (char)c;
	}
	if (c == EOF && ferror(r->file))
		return errno ? -errno : -EIO;
	if (c == EOF && len)
		return refuse(r, "a newline: the trace is cut off");
	r->line[len] = 0;
	return c != EOF;
}

static void split(struct reader *r)
{
	char *rest = NULL;

	r->nr_words = 0;
	for (char *word = strtok_r(r->line, " \t\r", &rest); word; word = strtok_r(NULL, " \t\r", &rest)) {
		if (r->nr_words < MAX_WORDS)
			r->words[r->nr_words] = word;
		r->nr_words++;
	}
}

/* Decimal digits, up to the first that is none. */
static bool scan_digits(const char **text, uint64_t *value)
{
	const char *p = *text;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++)
		if (!checked_mul(v, 10, &v) || !checked_add(v, (uint64_t)(*p - '0'), &v))
			return false;
	*text = p;
	*value = v;
	return true;
}

static bool parse_number(const char *word, uint64_t *value)
{
	return scan_digits(&word, value) && !*word;
}

/* --- what they become --- */

/* The file of that name, which is a new one if it has to be. */
static int find_file(struct reader *r, const char *name, uint32_t *file)
{
	struct text_trace *t = r->trace;
	uint32_t number = string_set_find(&t->names, name);
	int e;

	if (number) {
		*file = number - 1;
		return 0;
	}
	if (t->nr_files == MAX_FILES)
		return -E2BIG;
	e = table_grow(&t->files, sizeof(*t->files), t->nr_files, &t->max_files, &r->memory);
	if (!e)
		e = string_set_add(&t->names, name);
	if (e)
		return e;
	*file = (uint32_t)t->nr_files;
	t->files[t->nr_files++] = (struct text_trace_file){ 0 };
	return 0;
}

static int add(struct reader *r, const struct text_trace_record *record)
{
	struct text_trace *t = r->trace;
	int e = table_grow(&t->records, sizeof(*t->records), t->nr, &t->max, &r->memory);

	if (e)
		return e;
	if (record->ns > r->ns)
		r->ns = record->ns;
	t->records[t->nr] = *record;
	t->records[t->nr++].ns = r->ns;
	return 0;
}

/* What an operation of a name is, and whether it has bytes. */
struct word {
	const char *name;
	enum text_trace_op op;
	bool is_of_all;
};

static const struct word *find_word(const struct word *words, const char *name)
{
	while (words->name && strcmp(words->name, name) != 0)
		words++;
	return words->name ? words : NULL;
}

/* --- ours --- */

static const char bufio_line[] =
	"nanoseconds, what was asked, block, number of blocks, and a client's number if it is not 1";
static const char bufio_client_line[] = "'client N block-size BYTES device-size BYTES offset BYTES'";
static const char bufio_fits[] = "blocks whose bytes can be counted";

static const struct word bufio_words[] = {
	{ "read", TEXT_TRACE_READ, false },
	{ "get", TEXT_TRACE_GET, false },
	{ "new", TEXT_TRACE_NEW, false },
	{ "prefetch", TEXT_TRACE_PREFETCH, false },
	{ "scan", TEXT_TRACE_SCAN, false },
	{ "dirty", TEXT_TRACE_DIRTY, false },
	{ "move", TEXT_TRACE_MOVE, false },
	{ "write", TEXT_TRACE_START, true },
	{ "flush", TEXT_TRACE_FLUSH, true },
	{ "barrier", TEXT_TRACE_BARRIER, true },
	{ "discard", TEXT_TRACE_DISCARD, false },
	{ "forget", TEXT_TRACE_FORGET, false },
	{ NULL, 0, false },
};

/* Of the words of a client's line: the number behind the one of that name. */
static bool number_of(const struct reader *r, unsigned at, const char *name, uint64_t *value)
{
	return !strcmp(r->words[at], name) && parse_number(r->words[at + 1], value);
}

static int take_client(struct reader *r)
{
	uint64_t number, block_size, size, begin;
	uint32_t file;
	int e;

	if (r->nr_words != 8 || !number_of(r, 0, "client", &number) || !number ||
	    !number_of(r, 2, "block-size", &block_size) || !block_size || block_size > UINT32_MAX ||
	    !number_of(r, 4, "device-size", &size) || !number_of(r, 6, "offset", &begin))
		return refuse(r, bufio_client_line);
	e = find_file(r, r->words[1], &file);
	if (!e)
		r->trace->files[file] =
			(struct text_trace_file){ .block_size = (uint32_t)block_size, .size = size, .begin = begin };
	return e;
}

static bool to_bytes(const struct text_trace_file *f, uint64_t block, uint64_t nr, struct text_trace_record *record)
{
	uint64_t end;

	return checked_mul(block, f->block_size, &record->offset) &&
	       checked_add(record->offset, f->begin, &record->offset) &&
	       checked_mul(nr, f->block_size, &record->bytes) && checked_add(record->offset, record->bytes, &end);
}

static int take_bufio(struct reader *r)
{
	struct text_trace_record record = { 0 };
	const struct word *word;
	uint64_t block, nr;
	uint32_t number;

	split(r);
	if (r->nr_words && !strcmp(r->words[0], "client"))
		return take_client(r);
	if (r->nr_words < 4 || r->nr_words > 5 || !parse_number(r->words[0], &record.ns) ||
	    !(word = find_word(bufio_words, r->words[1])) || !parse_number(r->words[2], &block) ||
	    !parse_number(r->words[3], &nr) || (!nr && !word->is_of_all))
		return refuse(r, bufio_line);
	number = string_set_find(&r->trace->names, r->nr_words == 5 ? r->words[4] : "1");
	if (!number)
		return refuse(r, "a line of that client before");
	record.file = number - 1;
	record.op = word->op;
	if (!word->is_of_all && !to_bytes(&r->trace->files[record.file], block, nr, &record))
		return refuse(r, bufio_fits);
	return add(r, &record);
}

/* --- fio's --- */

static const char fio_line[] = "a file, what was done, offset, and length, as fio writes them";
static const char fio3_line[] = "microseconds, a file, what was done, offset, and length, as fio writes them";
static const char fio_fits[] = "bytes whose end can be counted";

static const struct word fio_words[] = {
	{ "read", TEXT_TRACE_READ, false },
	{ "write", TEXT_TRACE_WRITE, false },
	{ "trim", TEXT_TRACE_DISCARD, false },
	{ "sync", TEXT_TRACE_FLUSH, true },
	{ "datasync", TEXT_TRACE_FLUSH, true },
	{ NULL, 0, false },
};

static bool is_file_management(const char *word)
{
	return !strcmp(word, "add") || !strcmp(word, "open") || !strcmp(word, "close");
}

/* The words from @words on are a file, what was done, offset and length; syncs may lack the last two. */
static int take_fio_action(struct reader *r, char **words, unsigned nr, uint64_t ns, const char *expected)
{
	struct text_trace_record record = { .ns = ns };
	const struct word *word = nr >= 2 ? find_word(fio_words, words[1]) : NULL;
	uint64_t end;
	int e;

	if (nr == 2 && is_file_management(words[1]))
		return find_file(r, words[0], &record.file);
	if (!word || (nr != 4 && !(nr == 2 && word->is_of_all)))
		return refuse(r, expected);
	if (nr == 4 && (!parse_number(words[2], &record.offset) || !parse_number(words[3], &record.bytes)))
		return refuse(r, expected);
	if (!checked_add(record.offset, record.bytes, &end))
		return refuse(r, fio_fits);
	if (word->is_of_all)
		record.offset = record.bytes = 0;
	else if (!record.bytes)
		return 0;
	record.op = word->op;
	e = find_file(r, words[0], &record.file);
	return e ? e : add(r, &record);
}

/* Times are those of waits, from one to the next. */
static int take_fio2(struct reader *r)
{
	uint64_t us;

	split(r);
	if (r->nr_words == 4 && !strcmp(r->words[1], "wait")) {
		if (!parse_number(r->words[2], &us) || !checked_mul(us, NS_PER_US, &us) || !checked_add(r->ns, us, &r->ns))
			return refuse(r, fio_line);
		return 0;
	}
	return take_fio_action(r, r->words, r->nr_words, r->ns, fio_line);
}

static int take_fio3(struct reader *r)
{
	uint64_t ns;

	split(r);
	if (!r->nr_words || !parse_number(r->words[0], &ns) || !checked_mul(ns, NS_PER_US, &ns))
		return refuse(r, fio3_line);
	return take_fio_action(r, r->words + 1, r->nr_words - 1, ns, fio3_line);
}

/* --- blkparse's --- */

static const char blkparse_line[] =
	"a line as blkparse prints them by default: device, processor, number, seconds, process, action, kind, "
	"sector + sectors";
static const char kinds[] = "QDC"; /* of lines, in the order in which they are preferred */
#define KIND_SHIFT 8 /* of a record's operation, until all are read and it is known which counts */

/* "8,16" */
static bool is_device(const char *word)
{
	uint64_t n;

	return scan_digits(&word, &n) && *word++ == ',' && scan_digits(&word, &n) && !*word;
}

/* "12.000345678": nine digits behind the point. */
static bool parse_seconds(const char *word, uint64_t *ns)
{
	const char *p = word, *point;
	uint64_t s, fraction;

	if (!scan_digits(&p, &s) || *p != '.')
		return false;
	point = p++;
	return scan_digits(&p, &fraction) && !*p && p - point == 10 && checked_mul(s, NS_PER_S, &s) &&
	       checked_add(s, fraction, ns);
}

/*
 * Letters that say what it is, among others: R, W, D for discard, F for a flush, which may go before a write. Commands, and
 * what has no sectors and is no flush, are false.
 */
static bool find_op(const char *letters, bool has_sectors, uint32_t *op)
{
	static const struct {
		char letter;
		enum text_trace_op op;
	} meanings[] = { { 'D', TEXT_TRACE_DISCARD }, { 'W', TEXT_TRACE_WRITE }, { 'R', TEXT_TRACE_READ } };

	*op = TEXT_TRACE_FLUSH;
	for (unsigned i = 0; i < 3 && has_sectors; i++)
		if (strchr(letters, meanings[i].letter)) {
			*op = meanings[i].op;
			return true;
		}
	return strchr(letters, 'F');
}

static bool parse_sectors(const struct reader *r, struct text_trace_record *record)
{
	uint64_t end;

	return record->op == TEXT_TRACE_FLUSH ||
	       (parse_number(r->words[7], &record->offset) && parse_number(r->words[9], &record->bytes) &&
		checked_mul(record->offset, SECTOR, &record->offset) &&
		checked_mul(record->bytes, SECTOR, &record->bytes) &&
		checked_add(record->offset, record->bytes, &end) && record->bytes);
}

/* A line of one of the three kinds. */
static int take_blkparse_action(struct reader *r, unsigned kind)
{
	bool has_sectors = r->nr_words >= 10 && !strcmp(r->words[8], "+");
	struct text_trace_record record = { 0 };
	int e;

	if (!find_op(r->words[6], has_sectors, &record.op)) {
		r->trace->nr_left_out++;
		return 0;
	}
	if (!parse_seconds(r->words[3], &record.ns) || !parse_sectors(r, &record))
		return refuse(r, blkparse_line);
	record.op |= kind << KIND_SHIFT;
	r->counts[kind]++;
	e = find_file(r, r->words[0], &record.file);
	return e ? e : add(r, &record);
}

static int take_blkparse(struct reader *r)
{
	const char *kind;
	uint64_t n;

	if (r->is_over)
		return 0;
	if (!strncmp(r->line, "CPU", 3) || !strncmp(r->line, "Total", 5)) {
		r->is_over = true; /* the sums */
		return 0;
	}
	split(r);
	if (!r->nr_words)
		return 0;
	if (r->nr_words < 6 || !is_device(r->words[0]) || !parse_number(r->words[1], &n) || !parse_number(r->words[2], &n))
		return refuse(r, blkparse_line);
	kind = r->words[5][1] ? NULL : strchr(kinds, r->words[5][0]);
	if (kind && r->nr_words >= 7)
		return take_blkparse_action(r, (unsigned)(kind - kinds));
	r->trace->nr_left_out++;
	return 0;
}

/* Of the kinds of lines the best that there is stays. */
static void keep_best_kind(struct reader *r)
{
	struct text_trace *t = r->trace;
	unsigned best = 0;
	uint64_t nr = 0;

	while (best < 2 && !r->counts[best])
		best++;
	for (uint64_t i = 0; i < t->nr; i++) {
		if (t->records[i].op >> KIND_SHIFT != best)
			continue;
		t->records[nr] = t->records[i];
		t->records[nr++].op ^= best << KIND_SHIFT;
	}
	t->nr_left_out += t->nr - nr;
	t->nr = nr;
}

/* --- all --- */

static const struct format formats[] = {
	{ "bufio", "bufio trace 1", take_bufio },
	{ "fio", "fio version 2 iolog", take_fio2 },
	{ "fio", "fio version 3 iolog", take_fio3 },
};

static const struct format blkparse = { "blkparse", NULL, take_blkparse };

/* The first line says which it is, or is one of blkparse's. */
static int take_first(struct reader *r)
{
	r->line[strcspn(r->line, "\r")] = 0;
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats) && !r->format; i++)
		if (!strcmp(r->line, formats[i].first_line))
			r->format = &formats[i];
	if (r->format) {
		r->trace->format = r->format->name;
		return 0;
	}
	if (!isdigit((unsigned char)r->line[strspn(r->line, " ")]))
		return refuse(r, "'bufio trace 1', 'fio version 2 iolog', 'fio version 3 iolog', or a line of blkparse");
	r->format = &blkparse;
	r->trace->format = blkparse.name;
	return take_blkparse(r);
}

static int read_all(struct reader *r)
{
	int e;

	while ((e = next_line(r)) > 0) {
		e = r->format ? r->format->take(r) : take_first(r);
		if (e)
			return e;
	}
	if (!e && !r->format)
		return refuse(r, "a trace: this is empty");
	if (!e && r->format == &blkparse)
		keep_best_kind(r);
	return e;
}

int text_trace_read(FILE *file, uint64_t memory, struct text_trace *trace, struct text_trace_info *info)
{
	struct reader *r = calloc(1, sizeof(*r));
	int e;

	*info = (struct text_trace_info){ 0 };
	string_set_init(&trace->names, memory / 8);
	if (!r)
		return -ENOMEM;
	r->file = file;
	r->trace = trace;
	r->info = info;
	r->memory = memory - memory / 8;
	e = read_all(r);
	free(r);
	return e;
}

void text_trace_destroy(struct text_trace *trace)
{
	free(trace->records);
	free(trace->files);
	string_set_destroy(&trace->names);
	*trace = (struct text_trace){ 0 };
}

const char *text_trace_name(const struct text_trace *trace, uint32_t file)
{
	return trace->names.text + trace->names.strings[file];
}
