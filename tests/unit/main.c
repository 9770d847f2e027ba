// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Runs every suite, or those named on the command line or in UNIT_SUITES, and prints TAP: one line a case. --list only
 * names them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

static const struct unit_suite *const suites[] = {
#ifdef UNIT_RELEASE
	&hold_suite, &misuse_suite,
#else
	&units_suite, &crc32c_suite, &le_suite, &list_suite, &range_set_suite, &radix_sort_suite, &table_suite, &huge_page_suite,
	&io_engine_suite, &io_mem_suite, &io_threads_suite, &io_uring_suite, &io_fault_suite, &io_open_suite,
	&io_journal_suite, &io_journal_crash_suite, &io_extent_suite, &io_pair_suite,
	&client_suite, &hold_suite, &memory_suite, &writeback_suite, &transfer_suite,
	&allocation_suite, &discard_suite, &environment_suite, &evict_suite, &forget_suite, &index_suite, &misuse_suite,
	&partial_suite, &prefetch_suite, &rows_suite, &scan_suite, &scan_beside_suite, &stall_suite,
	&trace_suite, &dm_bufio_suite, &dm_bufio_60000_suite,
	&block_suite, &btree_suite, &space_map_suite, &problem_suite, &thin_suite, &emit_suite, &lvm_backup_suite,
	&cli_progress_suite, &thin_delta_suite, &block_diff_suite, &svg_suite, &thin_survey_suite, &thin_rmap_suite,
	&range_list_suite, &thin_sharing_suite, &thin_share_suite, &thin_scavenge_suite,
	&string_set_suite, &ref_counts_suite, &btree_build_suite, &xml_read_suite, &trace_read_suite, &thin_build_suite,
	&tally_suite, &walk_disk_suite, &space_map_check_suite, &thin_check_suite, &journal_suite, &script_suite,
	&map_file_suite, &copy_suite, &thin_claims_suite, &thin_used_suite, &pack_file_suite, &pack_suite, &extent_list_suite,
	&io_pieces_suite,
	&bench_compare_suite, &bench_picture_suite, &bench_replay_suite, &chart_suite,
	&bytes_suite, &block_fields_suite, &field_path_suite, &patch_suite,
	&histogram_suite, &workload_suite, &statistics_suite, &stack_distance_suite,
	&bench_suite, &bench_policy_suite, &bench_curve_suite,
#endif
};

#define NR_SUITES (sizeof(suites) / sizeof(*suites))

static unsigned nr_done;
static unsigned nr_failed;

/* Names with blanks between them; NULL has all. */
static int has_name(const char *names, const char *name)
{
	size_t len = strlen(name);

	if (!names)
		return 1;
	for (const char *at = names; (at = strstr(at, name)); at += len)
		if ((at == names || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return 1;
	return 0;
}

static int is_wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strcmp(name, argv[i]))
			return 1;
	return argc < 2 && has_name(getenv("UNIT_SUITES"), name);
}

static void add(const struct unit_suite *suite)
{
	CU_pSuite s = CU_add_suite(suite->name, NULL, NULL);

	for (const struct unit_case *c = suite->cases; s && c->sentence; c++)
		if (!CU_add_test(s, c->sentence, c->run))
			exit(99);
	if (!s)
		exit(99);
}

static void on_done(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
	printf("%sok %u - %s: %s\n", failure ? "not " : "", ++nr_done, suite->pName, test->pName);
	nr_failed += failure != NULL;
	for (CU_pFailureRecord f = failure; f; f = f->pNext)
		printf("# %s:%u: %s\n", f->strFileName, f->uiLineNumber, f->strCondition);
	fflush(stdout);
}

static void list(void)
{
	for (size_t i = 0; i < NR_SUITES; i++)
		for (const struct unit_case *c = suites[i]->cases; c->sentence; c++)
			printf("%s: %s\n", suites[i]->name, c->sentence);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		list();
		return 0;
	}
	if (CU_initialize_registry() != CUE_SUCCESS)
		return 99;
	for (size_t i = 0; i < NR_SUITES; i++)
		if (is_wanted(suites[i]->name, argc, argv))
			add(suites[i]);
	printf("1..%u\n", CU_get_registry()->uiNumberOfTests);
	CU_set_test_complete_handler(on_done);
	CU_run_all_tests();
	CU_cleanup_registry();
	return nr_failed != 0;
}
