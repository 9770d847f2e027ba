/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every door shares: exit statuses, the options for devices and for output, and messages. */
#ifndef CMD_CLI_H
#define CMD_CLI_H

#include <argp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "bufio/bufio.h"
#include "ops/op.h"

/* The suite's exit statuses: frozen, the same in every tool and in every manual page. */
enum cli_status {
	CLI_OK = 0,            /* done, clean */
	CLI_FINDING = 1,       /* something found that is safe to run with */
	CLI_USAGE = 2,         /* wrong options, or a script error */
	CLI_REFUSED = 3,       /* refused by a safety rule */
	CLI_IO = 4,            /* I/O error or unreadable input; the target is unchanged */
	CLI_PARTLY = 5,        /* the target is partly written; the journal waits for resume or undo */
	CLI_EXPECT = 6,        /* an expectation failed; nothing was written */
	CLI_VERIFY = 7,        /* wrong after writing */
	CLI_INTERNAL = 8,      /* out of memory, or a fault of the program */
	CLI_LOST = 9,          /* mappings lost or unreachable */
	CLI_NOT_METADATA = 10, /* no metadata of a known kind */
	CLI_REPAIRABLE = 11,   /* damage that loses nothing, but is not safe to activate with */
};

/* The name that the program was called by, without its folder: "bufio-dump", "thin_dump". */
const char *cli_program(const char *argv0);

/* "PROGRAM: text" and a newline, to the standard error. */
__attribute__((format(printf, 2, 3))) void cli_error(const char *program, const char *format, ...);

/*
 * First in every main: descriptors 0 to 2 are there, so that no file that is opened later becomes one of them and gets
 * messages; argp's exit status and version are the suite's.
 */
void cli_init(void);

/* The value of an option that is a number; anything else ends the program with a word. */
uint64_t cli_parse_number(struct argp_state *state, const char *option, const char *arg);

/* The same for the size of a data block, in sectors or with a unit; and for how many there are. */
uint64_t cli_parse_data_block_size(struct argp_state *state, const char *arg);
uint64_t cli_parse_nr_data_blocks(struct argp_state *state, const char *arg);

/* From now on nothing reaches the standard error. */
void cli_be_quiet(void);

enum cli_status cli_status_of(const struct op_result *result);

/* The version of the suite, as argp wants it. */
void cli_print_version(FILE *stream, struct argp_state *state);

/* --- cli_device.c: --block-size, --memory-limit, --io-engine, --direct, --stats --- */

struct cli_device {
	uint64_t block_size;   /* preset by the door */
	uint64_t default_block_size; /* the same, for --help; 0: 4096 */
	uint64_t memory_limit; /* 0: the library's default */
	const char *engine;
	unsigned flags; /* BUFIO_OPEN_*, preset by the door */
	bool prefers_direct; /* where --direct leaves it open: files of any size */
	bool stats;
	const char *trace_option; /* of the door, where that is what BUFIO_TRACE comes from; or NULL */
	/* after cli_device_open() */
	struct bufio_device *device;
	struct bufio_client *client;
};

extern const struct argp cli_device_argp; /* its input is a struct cli_device */

/* Opens @path and a cache of it. On failure the reason was printed; CLI_OK otherwise. */
enum cli_status cli_device_open(struct cli_device *d, const char *program, const char *path, unsigned held_buffers);

/* Opens @path alone, without a cache. On failure the reason was printed. */
enum cli_status cli_device_open_bare(struct cli_device *d, const char *program, const char *path);

/* The limit that a client will have, where there is no device to open yet. */
enum cli_status cli_default_memory_limit(struct cli_device *d, const char *program, uint64_t *bytes);

/* What a cache did, as a line. */
void cli_print_stats(const char *program, const struct bufio_stats *s, uint64_t memory_limit);

/* Prints the statistics if they were asked for, and closes both. */
void cli_device_close(struct cli_device *d, const char *program);

/*
 * After @path was refused: if device-mapper holds it, and so it may be the metadata of an active pool, says how to look
 * at a metadata snapshot of that.
 */
void cli_advise_snapshot(const char *program, const char *path);

/* --- cli_replay.c: --undo and --resume of a repair --- */

struct cli_replay {
	const char *journal; /* NULL: neither */
	bool is_forward;
};

/* Takes the repair back, or finishes it, and says so. */
enum cli_status cli_replay(const struct cli_replay *r, const char *program, struct bufio_client *client, const char *image,
			   bool quiet);

/* --- cli_progress.c: --progress --- */

struct cli_progress {
	enum { PROGRESS_AUTO, PROGRESS_NEVER, PROGRESS_ALWAYS } when;
	struct op_progress counts; /* for the verb */
	/* after cli_progress_start() */
	const char *program;
	uint64_t start_ns;
	bool is_running;
	_Atomic bool is_over;
	pthread_t thread;
	pthread_mutex_t lock;
	/* under the lock */
	bool on_terminal; /* the line that is kept up to date */
	bool is_drawn;    /* and it can be seen now */
	bool output_on_terminal;
};

extern const struct argp cli_progress_argp; /* its input is a struct cli_progress */

/*
 * Before anything has threads: SIGUSR1, which asks for a line of status, waits for the thread that cli_progress_start()
 * makes, and never ends the program.
 */
void cli_progress_init(void);

/*
 * Shows how far the work is until cli_progress_stop(): on a terminal a line that comes after the first second, is kept up
 * to date, and is erased in the end, or when output begins on a terminal; @output is where that goes.
 */
void cli_progress_start(struct cli_progress *p, const char *program, int output);
void cli_progress_stop(struct cli_progress *p);

/* "read 12345 of 67890 blocks (18 %), 250 MiB/s, 12 s left"; @total may be 0, not known. Blocks of 4096 bytes. */
#define CLI_PROGRESS_MAX 160
void cli_progress_format(uint64_t blocks, uint64_t total, uint64_t ns, char text[CLI_PROGRESS_MAX]);

/* --- cli_signal.c --- */

/* Has SIGINT, SIGTERM and SIGHUP ask for a clean end, but for those that whoever started this has turned off, as nohup(1) does. */
void cli_catch_signals(void);

/* The signal that came; 0: none. */
extern volatile sig_atomic_t cli_stop;

/* --- cli_output.c: --output, -o, --quiet --- */

struct cli_output {
	const char *path; /* NULL: the standard output */
	const char *letter; /* what -o said: the door says what it means, mostly path */
	bool quiet;
	const char *input2; /* refused as output like the input, or NULL; preset by the door */
	/* after cli_output_open() */
	int fd;
	char *place;     /* what path leads to */
	char *temporary; /* beside it; NULL: written in place */
};

extern const struct argp cli_output_argp; /* its input is a struct cli_output */

/*
 * Opens the output. A regular file is written beside its place and moved there by cli_output_commit(), so that a run
 * that fails leaves an old file as it was. @input: refused as output.
 */
enum cli_status cli_output_open(struct cli_output *o, const char *program, const char *input);
enum cli_status cli_output_commit(struct cli_output *o, const char *program);
void cli_output_abort(struct cli_output *o);

/* Whether a file may be made at @path, which is not there: not under /dev, nor through a link. If not the reason was printed. */
enum cli_status cli_may_be_made(const char *program, const char *path);

/*
 * Has the file at @path, which was made for this, removed when a signal ends the program; NULL: not any more. Signals that
 * are ignored stay so.
 */
void cli_remove_if_stopped(const char *path);

/*
 * A file of @bytes for a result, made at @path, which goes again if a signal ends the program; and its end: it is cut off
 * behind @bytes and on stable media, or goes, with 0. The reason was printed unless CLI_OK is returned.
 */
enum cli_status cli_make_target(const char *program, const char *path, uint64_t bytes);
enum cli_status cli_finish_target(const char *program, const char *path, uint64_t bytes);

/* Whether an open file is the one at @path, or what a loop device there shows. */
bool cli_is_same_file(const struct stat *st, const char *path);

/* One file, or one block device by whatever name. */
bool cli_is_same(const struct stat *a, const struct stat *b);

/* Or it may be, and cannot be looked at. */
bool cli_is_there(const char *path);

#endif
