// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/radix_sort.h"

#include <stdint.h>
#include <string.h>

#define NR_BYTES 8
#define NR_VALUES 256

static uint64_t key_of(const char *element)
{
	uint64_t key;

	memcpy(&key, element, sizeof(key));
	return key;
}

static void count_values(const char *elements, size_t nr, size_t size, size_t counts[NR_BYTES][NR_VALUES])
{
	memset(counts, 0, NR_BYTES * sizeof(*counts));
	for (size_t i = 0; i < nr; i++) {
		uint64_t key = key_of(elements + i * size);

		for (unsigned b = 0; b < NR_BYTES; b++)
			counts[b][key >> 8 * b & 0xFF]++;
	}
}

/* Where the elements of each value go. */
static void make_places(const size_t counts[NR_VALUES], char *to, size_t size, char *places[NR_VALUES])
{
	for (unsigned v = 0; v < NR_VALUES; v++) {
		places[v] = to;
		to += counts[v] * size;
	}
}

static void deal(const char *from, size_t nr, size_t size, unsigned byte, char *places[NR_VALUES])
{
	for (size_t i = 0; i < nr; i++, from += size) {
		char **place = &places[key_of(from) >> 8 * byte & 0xFF];

		memcpy(*place, from, size);
		*place += size;
	}
}

void radix_sort(void *elements, void *spare, size_t nr, size_t size)
{
	size_t counts[NR_BYTES][NR_VALUES];
	char *places[NR_VALUES], *from = elements, *to = spare;

	if (!nr)
		return;
	count_values(from, nr, size, counts);
	for (unsigned b = 0; b < NR_BYTES; b++) {
		char *other = from;

		if (counts[b][key_of(from) >> 8 * b & 0xFF] == nr)
			continue;
		make_places(counts[b], to, size, places);
		deal(from, nr, size, b, places);
		from = to;
		to = other;
	}
	if (from != elements)
		memcpy(elements, from, nr * size);
}
