// SPDX-License-Identifier: LGPL-2.1-or-later
/* bufio-copy --used, --pack, --unpack: what is in use of a pool's metadata. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/copy.h"
#include "ops/pack.h"

struct packing {
	struct copy_door *door;
	struct op_pack_args args;
	struct op_pack_plan plan;
	struct cli_device source, target;
	struct cli_output output;
};

static struct packing begin(struct copy_door *door)
{
	struct packing p = {
		.door = door,
		.args = {
			.program = door->program, .source = door->bulk.source, .target = door->bulk.target,
			.packed_fd = -1, .signature = door->bulk.signature, .json = door->json,
			.out_fd = door->quiet ? -1 : STDOUT_FILENO, .progress = &door->progress.counts,
		},
		.source = door->device, .target = door->device,
	};

	p.target.flags |= BUFIO_OPEN_WRITE;
	if (door->force_in_use)
		p.source.flags |= BUFIO_OPEN_SHARED;
	return p;
}

static enum cli_status end(struct packing *p, enum cli_status status)
{
	op_pack_plan_destroy(&p->plan);
	p->target.stats &= !p->source.client; /* of one cache, that which reads */
	cli_device_close(&p->target, p->door->program);
	cli_device_close(&p->source, p->door->program);
	return status;
}

static enum cli_status fail(const struct packing *p, enum cli_status status, const char *path, const char *why)
{
	cli_error(p->door->program, "%s: %s", path, why);
	return status;
}

/* What @ok says of an operation. */
static enum cli_status status_of(const struct packing *p, bool ok, const struct op_result *result)
{
	if (!ok)
		cli_error(p->door->program, "%s", result->reason);
	return cli_status_of(result);
}

/* --- from a pool --- */

static enum cli_status open_source(struct packing *p)
{
	enum cli_status status = cli_device_open(&p->source, p->door->program, p->args.source, PACK_HELD_BUFFERS);

	p->args.client = p->source.client;
	if (!status)
		p->args.memory_limit = bufio_get_memory_limit(p->source.client);
	return status;
}

static enum cli_status plan_used(struct packing *p)
{
	struct op_result result;

	return status_of(p, op_used_plan(&p->args, &p->plan, &result), &result);
}

/* --- onto a target --- */

static enum cli_status refuse_same(const struct packing *p)
{
	struct stat source, target;

	if (!stat(p->args.source, &source) && !stat(p->args.target, &target) &&
	    (cli_is_same_file(&source, p->args.target) || cli_is_same_file(&target, p->args.source)))
		return fail(p, CLI_REFUSED, p->args.target, "is SRC");
	return CLI_OK;
}

static enum cli_status make_target(struct packing *p)
{
	enum cli_status status = cli_make_target(p->door->program, p->args.target, p->plan.device_bytes);

	p->args.is_new = !status;
	return status;
}

static enum cli_status open_target(struct packing *p)
{
	enum cli_status status = cli_is_there(p->args.target) ? CLI_OK : make_target(p);
	struct op_result result;

	if (!status)
		status = cli_device_open(&p->target, p->door->program, p->args.target, 1);
	p->args.target_client = p->target.client;
	return status ? status : status_of(p, op_pack_target(&p->args, &p->plan, &result), &result);
}

/* A file that was made for this goes again, unless it is finished. */
static enum cli_status finish_target(struct packing *p, bool is_finished, enum cli_status status)
{
	enum cli_status finished = CLI_OK;

	if (p->args.is_new)
		finished = cli_finish_target(p->door->program, p->args.target, is_finished ? p->plan.device_bytes : 0);
	return status ? status : finished;
}

static enum cli_status fill_target(struct packing *p, bool (*fill)(const struct op_pack_args *, struct op_pack_plan *,
								    struct op_result *))
{
	enum cli_status status = open_target(p);
	struct op_result result = { .outcome = OP_DONE };
	bool ok = !status && fill(&p->args, &p->plan, &result);

	if (!status)
		status = status_of(p, ok, &result);
	return finish_target(p, ok || result.keeps_target, status);
}

enum cli_status copy_used(struct copy_door *door)
{
	struct packing p = begin(door);
	enum cli_status status = refuse_same(&p);

	if (!status && !cli_is_there(p.args.target))
		status = cli_may_be_made(door->program, p.args.target);
	if (!status)
		status = open_source(&p);
	if (status)
		return end(&p, status);
	cli_progress_start(&door->progress, door->program, p.args.out_fd);
	status = plan_used(&p);
	if (!status)
		status = fill_target(&p, op_used_copy);
	cli_progress_stop(&door->progress);
	return end(&p, status);
}

/* --- into a file --- */

static enum cli_status open_output(struct packing *p)
{
	const char *program = p->door->program;
	enum cli_status status;

	p->output.path = strcmp(p->args.target, "-") ? p->args.target : NULL;
	if (!p->output.path && isatty(STDOUT_FILENO))
		return fail(p, CLI_USAGE, p->args.target, "a packed pool is nothing for a terminal; name a file");
	status = cli_output_open(&p->output, program, p->args.source);
	if (status)
		return status;
	if (!p->output.path) {
		p->args.target = "standard output";
		p->args.out_fd = p->args.out_fd < 0 ? -1 : STDERR_FILENO;
	}
	p->args.packed_fd = p->output.fd;
	cli_remove_if_stopped(p->output.temporary);
	return CLI_OK;
}

static enum cli_status write_packed(struct packing *p)
{
	struct op_result result = { .outcome = OP_DONE };
	enum cli_status status = plan_used(p), committed;
	bool ok = !status && op_pack(&p->args, &p->plan, &result);

	if (!status)
		status = status_of(p, ok, &result);
	cli_remove_if_stopped(NULL);
	if (!ok && !result.keeps_target) {
		cli_output_abort(&p->output);
		return status;
	}
	committed = cli_output_commit(&p->output, p->door->program);
	return committed ? committed : status;
}

enum cli_status copy_pack(struct copy_door *door)
{
	struct packing p = begin(door);
	enum cli_status status = open_source(&p);

	if (!status)
		status = open_output(&p);
	if (status)
		return end(&p, status);
	cli_progress_start(&door->progress, door->program, p.args.out_fd);
	status = write_packed(&p);
	cli_progress_stop(&door->progress);
	return end(&p, status);
}

/* --- and back --- */

static enum cli_status open_packed(struct packing *p)
{
	struct stat st;

	if (!strcmp(p->args.source, "-")) {
		p->args.source = "standard input";
		p->args.packed_fd = dup(STDIN_FILENO);
	} else {
		p->args.packed_fd = open(p->args.source, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	}
	if (p->args.packed_fd < 0)
		return fail(p, CLI_IO, p->args.source, strerror(errno));
	if (!fstat(p->args.packed_fd, &st) && S_ISDIR(st.st_mode))
		return fail(p, CLI_IO, p->args.source, "is a directory; name a packed pool");
	return cli_default_memory_limit(&p->target, p->door->program, &p->args.memory_limit);
}

static enum cli_status verify_packed(struct packing *p)
{
	struct op_result result;

	return status_of(p, op_unpack_plan(&p->args, &p->plan, &result), &result);
}

enum cli_status copy_unpack(struct copy_door *door)
{
	struct packing p = begin(door);
	enum cli_status status = refuse_same(&p);

	if (!status && !cli_is_there(p.args.target))
		status = cli_may_be_made(door->program, p.args.target);
	if (!status)
		status = open_packed(&p);
	if (!status) {
		cli_progress_start(&door->progress, door->program, p.args.out_fd);
		status = verify_packed(&p);
		if (!status)
			status = fill_target(&p, op_unpack);
		cli_progress_stop(&door->progress);
	}
	if (p.args.packed_fd >= 0)
		close(p.args.packed_fd);
	return end(&p, status);
}
