// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/string_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"

void string_set_init(struct string_set *s, uint64_t memory)
{
	*s = (struct string_set){ .memory = memory };
}

void string_set_destroy(struct string_set *s)
{
	free(s->text);
	free(s->strings);
	free(s->slots);
	*s = (struct string_set){ 0 };
}

/* FNV-1a. */
static size_t hash(const char *string)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *string; string++)
		h = (h ^ (unsigned char)*string) * UINT64_C(1099511628211);
	return (size_t)(h ^ h >> 32);
}

/* The slot that has it, or the empty one where it belongs. */
static uint32_t *slot_of(const struct string_set *s, const char *string)
{
	size_t i = hash(string) & (s->nr_slots - 1);

	while (s->slots[i] && strcmp(s->text + s->strings[s->slots[i] - 1], string) != 0)
		i = (i + 1) & (s->nr_slots - 1);
	return &s->slots[i];
}

uint32_t string_set_find(const struct string_set *s, const char *string)
{
	return s->nr_slots ? *slot_of(s, string) : 0;
}

static int take(struct string_set *s, uint64_t bytes)
{
	if (bytes > s->memory)
		return -E2BIG;
	s->memory -= bytes;
	return 0;
}

static int grow_text(struct string_set *s, size_t len)
{
	size_t max = s->text_max ? s->text_max : 4096;
	char *text;

	while (max < s->text_len + len)
		max *= 2;
	if (max == s->text_max)
		return 0;
	if (take(s, max - s->text_max))
		return -E2BIG;
	text = realloc(s->text, max);
	if (!text)
		return -ENOMEM;
	s->text = text;
	s->text_max = max;
	return 0;
}

/* At most half of the slots are full. */
static int grow_slots(struct string_set *s)
{
	size_t nr = s->nr_slots ? 2 * s->nr_slots : 128;
	uint32_t *slots;

	if (2 * (s->nr + 1) <= s->nr_slots)
		return 0;
	if (take(s, (nr - s->nr_slots) * sizeof(*slots)))
		return -E2BIG;
	slots = calloc(nr, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(s->slots);
	s->slots = slots;
	s->nr_slots = nr;
	for (size_t i = 0; i < s->nr; i++)
		*slot_of(s, s->text + s->strings[i]) = (uint32_t)(i + 1);
	return 0;
}

int string_set_add(struct string_set *s, const char *string)
{
	size_t len = strlen(string) + 1;
	int r = s->nr < UINT32_MAX ? grow_slots(s) : -E2BIG;

	if (!r)
		r = table_grow(&s->strings, sizeof(*s->strings), s->nr, &s->max, &s->memory);
	if (!r)
		r = grow_text(s, len);
	if (r)
		return r;
	*slot_of(s, string) = (uint32_t)(s->nr + 1);
	s->strings[s->nr++] = s->text_len;
	memcpy(s->text + s->text_len, string, len);
	s->text_len += len;
	return 0;
}
