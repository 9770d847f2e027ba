/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that is asked for in huge pages: one piece of physical memory where else there are 512. What is hit at random
 * misses the TLB less, and a request of a MiB is one piece to the device and not 256, which some split.
 */
#ifndef BASE_HUGE_PAGE_H
#define BASE_HUGE_PAGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE (UINT64_C(2) << 20)

/* At least @bytes, not zeroed, for free(); or NULL. Pages that are not touched cost nothing, those that are cost 2 MiB. */
static inline void *huge_page_alloc(size_t bytes)
{
	size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
	void *p = whole < bytes ? NULL : aligned_alloc(HUGE_PAGE, whole);

	if (p)
		madvise(p, whole, MADV_HUGEPAGE); /* where there are none these are as good */
	return p;
}

#endif
