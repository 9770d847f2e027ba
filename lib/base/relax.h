/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a thread does in a short loop that waits for another: it tells the processor so. */
#ifndef BASE_RELAX_H
#define BASE_RELAX_H

#include <stdatomic.h>

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

#endif
