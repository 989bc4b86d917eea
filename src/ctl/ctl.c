/* SPDX-License-Identifier: Apache-2.0 */
/* imageio-fcgi-ctl: the commands, and how each ends. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "ctl/agent.h"
#include "ctl/agent_socket.h"
#include "ctl/invocation.h"
#include "ctl/plain.h"
#include "ctl/ticket_form.h"
#include "ctl/ticket_store.h"
#include "ctl/ticket_view.h"
#include "ctl/watch.h"
#include "ctl/when.h"
#include "ticket/activity.h"
#include "ticket/lock_file.h"

#define EXIT_USAGE 2
#define PATIENCE_MS 10000     /* for another writer */
#define SERVE_PATIENCE_MS 100 /* several clients may have to wait in turn */
#define SERVE_IDLE_S 600
#define WAIT_MS 20 /* between two looks at whether requests run */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct ticket_store
store_of(const struct invocation *invocation)
{
    return (struct ticket_store){
        .dir = invocation->values[OPTION_TICKET_DIR],
        .run_dir = invocation->values[OPTION_RUN_DIR],
        .patience_ms = PATIENCE_MS,
        .fd = -1,
    };
}

static int
run_add(const struct invocation *invocation, struct error *err)
{
    struct ticket_store store = store_of(invocation);
    struct json *ticket;
    int rc = -1;

    if (ticket_form_fill(&ticket, invocation, err) == -1)
        return -1;
    if (ticket_store_open(&store, err) == 0) {
        rc =
            ticket_store_write(&store, invocation->id, ticket,
                               invocation_has(invocation, OPTION_REPLACE), err);
        ticket_store_close(&store);
    }
    json_free(ticket);
    return rc;
}

static int
run_list(const struct invocation *invocation, struct error *err)
{
    struct ticket_store store = store_of(invocation);
    int rc;

    if (ticket_store_open(&store, err) == -1)
        return -1;
    rc = ticket_view_list(&store, err);
    ticket_store_close(&store);
    return rc;
}

static int
run_show(const struct invocation *invocation, struct error *err)
{
    struct ticket_store store = store_of(invocation);
    int rc;

    if (ticket_store_open(&store, err) == -1)
        return -1;
    rc = ticket_view_show(&store, invocation->id, err);
    ticket_store_close(&store);
    return rc;
}

/* A request makes itself known before it reads its ticket: none begins with
 * one that is gone. */
static int
wait_for_requests(const char *run_dir, const char *id, struct error *err)
{
    int running;

    while ((running = activity_has_requests(run_dir, id, err)) == 1)
        usleep(WAIT_MS * 1000);
    return running;
}

/* Who waits has to know which requests run: a directory that no server has used
 * is the wrong one. */
static int
check_run_dir(const char *run_dir, struct error *err)
{
    const int fd = lock_file_find(run_dir, err);

    if (fd != -1)
        close(fd);
    return fd != -1 ? 0 : -1;
}

static int
run_remove(const struct invocation *invocation, struct error *err)
{
    struct ticket_store store = store_of(invocation);
    int rc;

    if (invocation_has(invocation, OPTION_WAIT) &&
        check_run_dir(store.run_dir, err) == -1)
        return -1;
    if (ticket_store_open(&store, err) == -1)
        return -1;
    rc = ticket_store_remove(&store, invocation->id, err);
    ticket_store_close(&store);
    if (rc == 0)
        return error_set(err, 500, "there is no such ticket in %s", store.dir);
    if (rc == 1 && invocation_has(invocation, OPTION_WAIT))
        return wait_for_requests(store.run_dir, invocation->id, err);
    return rc == 1 ? 0 : -1;
}

static int
run_serve(const struct invocation *invocation, struct error *err)
{
    const char *idle = invocation->values[OPTION_IDLE];
    struct agent agent = {.store = store_of(invocation),
                          .idle_s = SERVE_IDLE_S};

    agent.store.patience_ms = SERVE_PATIENCE_MS;
    if (!invocation_has(invocation, OPTION_SOCKET))
        return error_set(err, 400, "serve: --socket is needed");
    if (idle != NULL && !when_parse_seconds(&agent.idle_s, idle, 1, WHEN_MAX_S))
        return error_set(err, 400, "--idle: \"%s\" is not a valid SECONDS",
                         idle);
    return agent_socket_serve(&agent, invocation->values[OPTION_SOCKET], err);
}

static int
run_watch(const struct invocation *invocation, struct error *err)
{
    const struct watch_target target = {
        .run_dir = invocation->values[OPTION_RUN_DIR],
        .id = invocation->id,
    };

    return invocation_has(invocation, OPTION_ONCE) ? watch_once(&target, err)
                                                   : watch_go_on(&target, err);
}

static const struct command commands[] = {
    {"add",
     " ID (--nbd SOCKET [--export NAME] | --uri URI | --file PATH)\n"
     "      [--bitmap NAME] [--read-only] [--token-file FILE]\n"
     "      [--expires WHEN] [--idle SECONDS] [--replace]",
     "writes a ticket", COMMAND_ID,
     OPTION_BIT(OPTION_NBD) | OPTION_BIT(OPTION_EXPORT) |
         OPTION_BIT(OPTION_URI) | OPTION_BIT(OPTION_FILE) |
         OPTION_BIT(OPTION_BITMAP) | OPTION_BIT(OPTION_READ_ONLY) |
         OPTION_BIT(OPTION_TOKEN_FILE) | OPTION_BIT(OPTION_EXPIRES) |
         OPTION_BIT(OPTION_IDLE) | OPTION_BIT(OPTION_REPLACE),
     run_add},
    {"list", "", "lists tickets: id, backend, where, export, state",
     COMMAND_NO_ID, 0, run_list},
    {"show", " ID", "shows a ticket, but not its token", COMMAND_ID, 0,
     run_show},
    {"remove", " ID [--wait]", "removes a ticket; requests that run go on",
     COMMAND_ID, OPTION_BIT(OPTION_WAIT), run_remove},
    {"serve", " --socket PATH [--idle SECONDS]",
     "writes and removes tickets for an agent, and removes what has ended",
     COMMAND_NO_ID, OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_IDLE),
     run_serve},
    {"watch", " [ID] [--once]",
     "shows what runs, all or for one ticket, until it has ended",
     COMMAND_MAYBE_ID, OPTION_BIT(OPTION_ONCE), run_watch},
};

static int
fail(const struct invocation *invocation, const struct error *err)
{
    const bool is_usage = err->status == 400;

    fputs(INVOCATION_PROGRAM ": ", stderr);
    if (invocation->id != NULL && !is_usage) {
        plain_print(stderr, invocation->id);
        fputs(": ", stderr);
    }
    plain_print(stderr, err->text);
    fputc('\n', stderr);
    return is_usage ? EXIT_USAGE : EXIT_FAILURE;
}

/* No message may end up in a ticket. */
static int
fill_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) == -1)
            return -1;
    return 0;
}

int
main(int argc, char **argv)
{
    struct invocation invocation;
    struct error err;

    if (fill_standard_fds() == -1)
        return EXIT_FAILURE;
    switch (
        invocation_parse(&invocation, commands, COUNT(commands), argc, argv)) {
    case INVOCATION_USAGE:
        return EXIT_USAGE;
    case INVOCATION_EXIT:
        return EXIT_SUCCESS;
    case INVOCATION_RUN:
        break;
    }
    if (invocation.command->run(&invocation, &err) == -1)
        return fail(&invocation, &err);
    if (fflush(stdout) == EOF) {
        error_errno(&err, 500, "write to standard output");
        return fail(&invocation, &err);
    }
    return EXIT_SUCCESS;
}
