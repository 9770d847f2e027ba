/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared by the two drawings of the map: characters and picture. */
#ifndef OPS_DUMP_MAP_INT_H
#define OPS_DUMP_MAP_INT_H

#include "ops/dump_int.h"

/* Roles that belong together have one colour. */
enum map_colour {
	MAP_PAPER, /* of the picture: the ground, text, text that matters less */
	MAP_INK,
	MAP_FAINT,
	MAP_FREE,
	MAP_ORPHAN,
	MAP_UNREACHED,
	MAP_MAPPINGS,
	MAP_DATA_SM,
	MAP_META_SM,
	MAP_DEVICES,
	MAP_SUPERBLOCK,
	MAP_BAD,
	NR_MAP_COLOURS
};

/* How a role is shown; in the order of the legend. */
struct map_look {
	uint8_t role; /* enum thin_role */
	uint8_t colour;
	char symbol;
};

extern const struct map_look map_looks[NR_THIN_ROLES];

/* What is in some neighbouring blocks. */
struct map_tally {
	uint32_t count[NR_THIN_ROLES], bad;
};

void map_tally(const struct thin_survey *s, uint64_t begin, uint64_t end, struct map_tally *t);

/* What is there at all, in the order of map_looks, and before it what is bad. */
struct map_legend {
	struct map_legend_row {
		enum map_colour colour;
		char symbol;
		const char *text;
		uint64_t blocks;
	} rows[NR_THIN_ROLES + 1];
	unsigned nr;
};

void map_fill_legend(const struct thin_survey *s, struct map_legend *legend);

/* The smallest power of two that makes @nr_blocks at most @max_cells. */
uint64_t map_blocks_per_cell(uint64_t nr_blocks, uint64_t max_cells);

/* The picture, to args->svg_fd. 0 or -errno; what it could not write it says in the result. */
int map_draw_picture(struct dump *d, const struct thin_survey *s, const struct record_map *m);

#endif
