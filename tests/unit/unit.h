/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Unit tests: CUnit does the asserting, main.c runs every suite and prints TAP.
 *
 * NAME_t.c tests lib/ROOM/NAME.c. Each entry of its table is a sentence that the code promises and the function
 * that would fail if it did not hold, so the tables of all files read as the specification.
 */
#ifndef UNIT_H
#define UNIT_H

#include <CUnit/CUnit.h>

struct unit_case {
	const char *sentence;
	void (*run)(void);
};

struct unit_suite {
	const char *name;
	const struct unit_case *cases; /* ends with a NULL sentence */
};

/* One line in main.c's table for each. */
extern const struct unit_suite units_suite, crc32c_suite, le_suite, list_suite;
extern const struct unit_suite io_engine_suite, io_mem_suite, io_threads_suite, io_uring_suite;
extern const struct unit_suite io_extent_suite, io_pair_suite, map_file_suite, copy_suite;
extern const struct unit_suite io_fault_suite, io_open_suite, io_journal_suite, io_journal_crash_suite;
extern const struct unit_suite client_suite, hold_suite, memory_suite, writeback_suite, transfer_suite;
extern const struct unit_suite allocation_suite, discard_suite, environment_suite, evict_suite, forget_suite;
extern const struct unit_suite index_suite, misuse_suite, partial_suite, prefetch_suite, rows_suite, scan_suite;
extern const struct unit_suite scan_beside_suite, stall_suite;
extern const struct unit_suite bench_compare_suite, bench_picture_suite, bench_replay_suite, chart_suite, trace_suite, trace_read_suite, dm_bufio_suite, dm_bufio_60000_suite;
extern const struct unit_suite block_suite, btree_suite, space_map_suite, problem_suite, thin_suite, emit_suite;
extern const struct unit_suite lvm_backup_suite, cli_progress_suite, thin_delta_suite, block_diff_suite;
extern const struct unit_suite thin_survey_suite, svg_suite, range_set_suite, radix_sort_suite, table_suite, huge_page_suite;
extern const struct unit_suite range_list_suite;
extern const struct unit_suite thin_rmap_suite, thin_sharing_suite, thin_share_suite, thin_scavenge_suite;
extern const struct unit_suite ref_counts_suite, string_set_suite, btree_build_suite, xml_read_suite, thin_build_suite;
extern const struct unit_suite tally_suite, walk_disk_suite, space_map_check_suite, thin_check_suite, journal_suite;
extern const struct unit_suite script_suite, bytes_suite, block_fields_suite, field_path_suite, patch_suite;
extern const struct unit_suite thin_claims_suite, thin_used_suite, pack_file_suite, pack_suite, extent_list_suite, io_pieces_suite;
extern const struct unit_suite histogram_suite, workload_suite, statistics_suite, stack_distance_suite;
extern const struct unit_suite bench_policy_suite, bench_curve_suite, bench_suite;

#endif
