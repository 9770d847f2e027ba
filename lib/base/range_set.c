// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/range_set.h"

#include <errno.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->begin > y->begin) - (x->begin < y->begin);
}

void range_set_settle(struct range_set *s)
{
	size_t nr = 0;

	if (s->nr)
		qsort(s->ranges, s->nr, sizeof(*s->ranges), compare);
	for (size_t i = 0; i < s->nr; i++) {
		struct range *r = &s->ranges[i], *last = nr ? &s->ranges[nr - 1] : NULL;

		if (!last || r->begin > last->end)
			s->ranges[nr++] = *r;
		else if (r->end > last->end)
			last->end = r->end;
	}
	s->nr = nr;
}

/*
 * Room for one more. Where there would be too many they are settled; if that does not take away half of them they are
 * refused, or every one that is added would have them settled again.
 */
static int make_room(struct range_set *s)
{
	size_t room = s->room ? 2 * s->room : 16;
	struct range *larger;

	if (s->nr < s->room)
		return 0;
	if (room > 2 * RANGE_SET_MAX) {
		range_set_settle(s);
		return s->nr <= RANGE_SET_MAX ? 0 : -E2BIG;
	}
	larger = realloc(s->ranges, room * sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	s->ranges = larger;
	s->room = room;
	return 0;
}

int range_set_add(struct range_set *s, uint64_t begin, uint64_t end)
{
	struct range *last = s->nr ? &s->ranges[s->nr - 1] : NULL;
	int r;

	if (begin >= end)
		return 0;
	if (last && last->end == begin) {
		last->end = end;
		return 0;
	}
	r = make_room(s);
	if (r)
		return r;
	s->ranges[s->nr++] = (struct range){ begin, end };
	return 0;
}

int range_set_add_bytes(struct range_set *s, uint64_t begin, uint64_t end, uint64_t block_bytes)
{
	return begin < end ? range_set_add(s, begin / block_bytes, (end - 1) / block_bytes + 1) : 0;
}

size_t range_find(const struct range *ranges, size_t nr, uint64_t number)
{
	size_t low = 0, high = nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges[middle].end > number)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void range_set_cut(struct range_set *s, uint64_t end)
{
	size_t i = range_find(s->ranges, s->nr, end);

	if (i < s->nr && s->ranges[i].begin < end)
		s->ranges[i++].end = end;
	s->nr = i;
}

bool range_set_has(const struct range_set *s, uint64_t number)
{
	size_t i = range_find(s->ranges, s->nr, number);

	return i < s->nr && s->ranges[i].begin <= number;
}

void range_set_destroy(struct range_set *s)
{
	free(s->ranges);
	*s = (struct range_set){ 0 };
}
