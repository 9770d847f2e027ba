// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * pool-xml DEVICES MAPPINGS: a thin-pool as XML for thin_restore, the worst kind: no mapping goes on where the one before
 * ends, so that each of the MAPPINGS of every device is a line of its own. The same arguments give the same pool.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define DATA_BLOCK_SECTORS 128

/* A permutation of the numbers below 2^bits. */
static uint64_t scatter(uint64_t n, unsigned bits)
{
	uint64_t mask = (UINT64_C(1) << bits) - 1;

	for (int i = 0; i < 3; i++) {
		n = (n * UINT64_C(0x9E3779B97F4A7C15) + 12345) & mask;
		n ^= n >> (bits / 2);
		n = (n * UINT64_C(0xD1342543DE82EF95) + 1) & mask;
		n ^= n >> (bits / 3 + 1);
	}
	return n;
}

/* Room for a quarter more than is mapped. */
static unsigned data_bits(uint64_t mapped)
{
	unsigned bits = 20;

	while ((UINT64_C(1) << bits) < mapped + mapped / 4)
		bits++;
	return bits;
}

static void put_device(uint64_t dev_id, uint64_t mappings, unsigned bits, uint64_t *state)
{
	uint64_t origin = 0, first = (dev_id - 1) * mappings;

	printf("  <device dev_id=\"%" PRIu64 "\" mapped_blocks=\"%" PRIu64 "\" transaction=\"1\" creation_time=\"0\" "
	       "snap_time=\"1\">\n", dev_id, mappings);
	for (uint64_t i = 0; i < mappings; i++) {
		printf("    <single_mapping origin_block=\"%" PRIu64 "\" data_block=\"%" PRIu64 "\" time=\"%" PRIu64
		       "\"/>\n", origin, scatter(first + i, bits), random_below(state, 4));
		origin += random_below(state, 4) ? 1 : 2;
	}
	puts("  </device>");
}

int main(int argc, char **argv)
{
	uint64_t devices = argc == 3 ? strtoull(argv[1], NULL, 10) : 0, state = UINT64_C(88172645463325252);
	uint64_t mappings = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	unsigned bits;

	if (!devices || devices > 1 << 24 || !mappings || mappings > 1 << 30) {
		fputs("pool-xml DEVICES MAPPINGS\n", stderr);
		return 1;
	}
	bits = data_bits(devices * mappings);
	printf("<superblock uuid=\"\" time=\"3\" transaction=\"7\" flags=\"0\" version=\"2\" data_block_size=\"%d\" "
	       "nr_data_blocks=\"%" PRIu64 "\">\n", DATA_BLOCK_SECTORS, UINT64_C(1) << bits);
	for (uint64_t i = 1; i <= devices; i++)
		put_device(i, mappings, bits, &state);
	puts("</superblock>");
	return fflush(stdout) ? 1 : 0;
}
