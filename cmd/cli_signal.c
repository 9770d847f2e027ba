// SPDX-License-Identifier: LGPL-2.1-or-later
/* Signals that ask for a clean end. */
#include "cmd/cli.h"

volatile sig_atomic_t cli_stop;

/* The first asks for a clean end, the second is for one at once. */
static void on_signal(int number)
{
	cli_stop = number;
	signal(number, SIG_DFL);
}

void cli_catch_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction before;

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (!sigaction(signals[i], NULL, &before) && before.sa_handler != SIG_IGN)
			signal(signals[i], on_signal);
}
