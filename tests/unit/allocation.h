/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Allocations that fail: the program is linked so that those of the library pass through allocation_t.c. */
#ifndef UNIT_ALLOCATION_H
#define UNIT_ALLOCATION_H

#include <stdbool.h>

/* The nth allocation from now on fails, and with @sticky all that follow; 0: none does, but they are counted. */
void allocation_fail_at(unsigned n, bool sticky);

/* Everything may be had again. How many allocations there were. */
unsigned allocation_relent(void);

/* Bytes that were mapped at once beyond those that are mapped now, since this was asked before. */
long allocation_most_mapped(void);

#endif
