/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door of bench: what its options are read into, and what it does, each a file bench_WHAT.c. */
#ifndef CMD_BENCH_H
#define CMD_BENCH_H

#include "cmd/cli.h"
#include "ops/bench.h"
#include "ops/bench_compare.h"

enum bench_sweep { SWEEP_NONE, SWEEP_BLOCK_SIZE, SWEEP_DEPTH, SWEEP_THREADS };

#define BENCH_MAX_SWEEP 16 /* runs: twice 256 processors are the tenth power of two */
#define BENCH_NAME_MAX_LENGTH 96
#define BENCH_MAX_THREADS 256
#define BENCH_DEFAULT_TOLERANCE 0.1

struct bench_door {
	struct op_bench_args args;
	struct op_bench_compare_args compare; /* its files are all words that are no options */
	const char **files;
	bool is_comparison, is_trace_stats;
	struct bench_run_args run; /* that others are made from, with --sweep */
	struct cli_device device;
	struct cli_output svg;
	const char *region;
	enum bench_sweep sweep;
	bool is_run; /* something says what is asked for */
	bool is_raw, may_write, has_read_percent, has_time, has_speed, is_quiet;
	struct bench_run_args runs[BENCH_MAX_SWEEP];
	char names[BENCH_MAX_SWEEP][BENCH_NAME_MAX_LENGTH];
};

/* --- bench_values.c: what options say; what cannot be is an error of usage --- */

uint64_t bench_parse_bounded(struct argp_state *state, const char *option, const char *arg, uint64_t least, uint64_t most);
uint64_t bench_parse_time(struct argp_state *state, const char *option, const char *arg);
void bench_parse_warm_up(struct argp_state *state, struct bench_run_args *run, const char *arg);
void bench_parse_pattern(struct argp_state *state, struct workload *w, const char *arg);
void bench_parse_rate(struct argp_state *state, struct bench_run_args *run, const char *arg);
void bench_parse_arrival(struct argp_state *state, struct bench_run_args *run, const char *arg);
void bench_parse_speed(struct argp_state *state, struct bench_run_args *run, const char *arg);
enum bench_sweep bench_parse_sweep(struct argp_state *state, const char *arg);
double bench_parse_tolerance(struct argp_state *state, const char *arg);

/* In blocks, whose size is that of the run. */
void bench_parse_region(struct argp_state *state, struct bench_run_args *run, const char *arg);

/* --- bench_runs.c: the runs that they come to --- */

void bench_make_runs(struct argp_state *state, struct bench_door *door);

/* --- bench_measure.c --- */

enum cli_status bench_measure(struct bench_door *door);

/* --- bench_files.c: what is saved, looked at again: results, and traces --- */

void bench_check_comparison(struct argp_state *state, struct bench_door *door);
enum cli_status bench_compare(const struct bench_door *door);
void bench_check_trace_stats(struct argp_state *state, const struct bench_door *door);
enum cli_status bench_show_trace(const struct bench_door *door);

#endif
