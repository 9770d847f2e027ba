/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables that grow as entries come, inside a budget of memory; and finding in those that are sorted. */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Makes room for one entry behind the @nr that there are. @table: address of the pointer to the first one, which may
 * change, and is to be freed; @max: entries that there is room for; @memory: bytes that may be used, and are left.
 * Errors: -E2BIG  no more memory may be used
 *         -ENOMEM
 */
int table_grow(void *table, size_t size, uint64_t nr, uint64_t *max, uint64_t *memory);

/* Of @nr entries of @size bytes, in rising order of what @key_of gives for each: the first that is not below @key, or @nr. */
uint64_t table_find(const void *table, size_t size, uint64_t nr, uint64_t (*key_of)(const void *entry), uint64_t key);

#endif
