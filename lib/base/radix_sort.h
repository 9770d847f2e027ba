/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef BASE_RADIX_SORT_H
#define BASE_RADIX_SORT_H

#include <stddef.h>

/*
 * Sorts @nr elements of @size bytes by the uint64_t that each begins with; equal ones stay in their order. @spare has
 * room for as many. Takes a pass for each byte in which the numbers differ.
 */
void radix_sort(void *elements, void *spare, size_t nr, size_t size);

#endif
