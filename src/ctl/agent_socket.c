/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the control socket, and the loop around them. */
#include "ctl/agent_socket.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "ctl/agent.h"
#include "ctl/listen_path.h"

#define CLIENTS_MAX 64
#define LINE_MAX_BYTES 65536 /* a ticket has 4096 at most */
#define DRAIN_MAX 8          /* reads: more than a socket's buffer holds */
#define LINE_SECONDS 5       /* for a client to send its line */
#define SWEEP_SECONDS 1
#define US_A_SECOND UINT64_C(1000000)
#define NOBODY (-1)

struct client {
    int fd; /* NOBODY: the place is free */
    uint64_t deadline_us;
    size_t used;
    char line[LINE_MAX_BYTES];
};

struct server {
    struct agent *agent;
    struct listen_path listener;
    int signal_fd;
    uint64_t sweep_us; /* when it is due */
    struct client clients[CLIENTS_MAX];
};

/* What it has sent beyond its line is taken in: it would be told otherwise that
 * the connection was reset. */
static void
dismiss(struct client *client)
{
    for (int i = 0; i < DRAIN_MAX; i++)
        if (recv(client->fd, client->line, sizeof(client->line), 0) <= 0)
            break;
    close(client->fd);
    client->fd = NOBODY;
}

/* Sends the answer, which it frees, and closes. */
static void
answer(struct client *client, struct json *json)
{
    const char *text = json_text(json);
    char *line = NULL;
    const int length = asprintf(&line, "%s\n", text);

    if (length == -1 ||
        send(client->fd, line, (size_t)length, 0) != (ssize_t)length)
        log_debug("a client did not take its answer");
    free(line);
    json_free(json);
    dismiss(client);
}

static void
refuse(struct client *client, const char *why)
{
    log_warning("request ticket=- refused=\"%s\"", why);
    answer(client, agent_refusal(why));
}

/* Reads what has come; answers once the line is whole: with its newline, or
 * because the client will not send more. */
static void
hear(struct server *server, struct client *client)
{
    const ssize_t got = recv(client->fd, client->line + client->used,
                             sizeof(client->line) - client->used, 0);
    const char *end;

    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got == -1 || (got == 0 && client->used == 0)) {
        dismiss(client);
        return;
    }
    end = memchr(client->line + client->used, '\n', (size_t)got);
    client->used += (size_t)got;
    if (end == NULL && got == 0)
        end = client->line + client->used;
    if (end != NULL)
        answer(client, agent_answer(server->agent, client->line,
                                    (size_t)(end - client->line)));
    else if (client->used == sizeof(client->line))
        refuse(client, "the line is longer than 65536 bytes");
}

/* A place for a new client: a free one, or that of who came first. */
static struct client *
find_place(struct server *server)
{
    struct client *oldest = &server->clients[0];

    for (size_t i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &server->clients[i];

        if (client->fd == NOBODY)
            return client;
        if (client->deadline_us < oldest->deadline_us)
            oldest = client;
    }
    refuse(oldest, "too many others wait");
    return oldest;
}

/* One at a time: who has sent its line already is heard between two. */
static void
welcome(struct server *server)
{
    const int fd =
        accept4(server->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client;

    if (fd == -1) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_warning("accept: %m");
            usleep(100000); /* no descriptor is free: it will go on so */
        }
        return;
    }
    client = find_place(server);
    client->fd = fd;
    client->used = 0;
    client->deadline_us = clock_us() + LINE_SECONDS * US_A_SECOND;
    hear(server, client);
}

/* Who is late goes; and the sweep, if it is due. */
static void
tend(struct server *server)
{
    const uint64_t now_us = clock_us();

    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (server->clients[i].fd != NOBODY &&
            server->clients[i].deadline_us <= now_us)
            refuse(&server->clients[i], "no line came within 5 s");
    if (server->sweep_us <= now_us) {
        agent_tend(server->agent);
        server->sweep_us = clock_us() + SWEEP_SECONDS * US_A_SECOND;
    }
}

static int
ms_until(uint64_t moment_us)
{
    const uint64_t now_us = clock_us();

    return moment_us > now_us ? (int)((moment_us - now_us) / 1000) + 1 : 0;
}

/* Until a signal comes. */
static void
loop(struct server *server)
{
    struct pollfd fds[CLIENTS_MAX + 2];

    for (;;) {
        for (size_t i = 0; i < CLIENTS_MAX; i++) /* poll() skips NOBODY */
            fds[i] =
                (struct pollfd){.fd = server->clients[i].fd, .events = POLLIN};
        fds[CLIENTS_MAX] =
            (struct pollfd){.fd = server->listener.fd, .events = POLLIN};
        fds[CLIENTS_MAX + 1] =
            (struct pollfd){.fd = server->signal_fd, .events = POLLIN};
        if (poll(fds, CLIENTS_MAX + 2, ms_until(server->sweep_us)) == -1)
            continue;
        if (fds[CLIENTS_MAX + 1].revents != 0)
            return;
        for (size_t i = 0; i < CLIENTS_MAX; i++)
            if (fds[i].revents != 0)
                hear(server, &server->clients[i]);
        if (fds[CLIENTS_MAX].revents != 0)
            welcome(server);
        tend(server);
    }
}

static int
open_signals(struct error *err)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    fd = sigprocmask(SIG_BLOCK, &set, NULL) == 0 &&
                 signal(SIGPIPE, SIG_IGN) != SIG_ERR
             ? signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)
             : -1;
    if (fd == -1)
        return error_errno(err, 500, "prepare signals");
    return fd;
}

static int
serve(struct server *server, const char *path, struct error *err)
{
    size_t active;

    log_init(LOG_LEVEL_INFO, false);
    if (agent_begin(server->agent, &active, err) == -1 ||
        listen_path_open(&server->listener, path, err) == -1)
        return -1;
    log_info("ready version=%s active=%zu", IMAGEIO_VERSION, active);
    loop(server);
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        if (server->clients[i].fd != NOBODY)
            close(server->clients[i].fd);
    listen_path_close(&server->listener);
    log_info("stopped");
    return 0;
}

int
agent_socket_serve(struct agent *agent, const char *path, struct error *err)
{
    struct server *server = calloc(1, sizeof(*server)); /* 4 MiB */
    int rc = -1;

    if (server == NULL)
        return error_errno(err, 500, "memory for clients");
    server->agent = agent;
    server->sweep_us = clock_us() + SWEEP_SECONDS * US_A_SECOND;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        server->clients[i].fd = NOBODY;
    server->signal_fd = open_signals(err);
    if (server->signal_fd != -1) {
        rc = serve(server, path, err);
        close(server->signal_fd);
    }
    free(server);
    return rc;
}
