/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to an NBD server. */
#include "image/nbd_conn.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/wait.h"
#include "image/image.h"

#define RETRY_MS 10 /* between two tries at a full accept queue */
/* Room for a whole write command: the server reads while we pull more. */
#define SOCKET_BUFFER_BYTES (1 << 20)

int
nbd_conn_error(const struct nbd_conn *conn, const char *action,
               struct error *err)
{
    const char *cause = nbd_get_error();

    return error_set(err, error_status_of_errno(nbd_get_errno()),
                     "%s nbd %s: %s", action, conn->socket,
                     cause != NULL ? cause : "no cause given");
}

void
nbd_conn_began(struct nbd_conn *conn)
{
    if (conn->in_flight++ == 0)
        conn->progress_us = clock_us();
}

void
nbd_conn_ended(struct nbd_conn *conn)
{
    conn->in_flight--;
}

/* Milliseconds until the server counts as stuck. */
static int
patience_ms(const struct nbd_conn *conn)
{
    const uint64_t idle_ms = (clock_us() - conn->progress_us) / 1000;

    if (conn->in_flight == 0)
        return WAIT_FOREVER;
    if (idle_ms >= (uint64_t)conn->timeout_ms)
        return 0;
    return conn->timeout_ms - (int)idle_ms;
}

static int
client_gone(struct error *err)
{
    return error_set(err, ERROR_CLIENT_GONE, "the client has gone");
}

int
nbd_conn_step(struct nbd_conn *conn, int wire_fd, short wire_events,
              struct error *err)
{
    const unsigned direction = nbd_aio_get_direction(conn->nbd);
    struct pollfd fds[] = {
        {.fd = nbd_aio_get_fd(conn->nbd)},
        {.fd = wire_fd != -1 ? wire_fd : conn->client_fd},
    };
    int rc = 0;
    int ready;

    if (direction & LIBNBD_AIO_DIRECTION_READ)
        fds[0].events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        fds[0].events |= POLLOUT;
    /* A half-closed wire is a client that left (FastCGI servers never
     * half-close a live one), unless we are about to read from it: then the
     * reader finds out, after what is still buffered. */
    fds[1].events = wire_events & POLLIN ? POLLIN : wire_events | POLLRDHUP;

    ready = wait_fds(fds, 2, patience_ms(conn), err);
    if (ready == -1)
        return -1;
    if (ready == 0)
        return error_set(err, 504, "nbd %s: no progress for %d s", conn->socket,
                         conn->timeout_ms / 1000);
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
        rc = nbd_aio_notify_read(conn->nbd);
    else if (fds[0].revents & POLLOUT)
        rc = nbd_aio_notify_write(conn->nbd);
    if (rc == -1)
        return nbd_conn_error(conn, "talk to", err);
    if (fds[0].revents != 0 && !conn->is_greeting)
        conn->progress_us = clock_us();
    if (nbd_aio_is_dead(conn->nbd) || nbd_aio_is_closed(conn->nbd))
        return error_set(err, 500, "nbd %s: the server closed the connection",
                         conn->socket);
    if (!(wire_events & POLLIN) &&
        fds[1].revents & (POLLRDHUP | POLLHUP | POLLERR))
        return client_gone(err);
    return 0;
}

/* A connected socket; a full accept queue is waited for like a slow answer. */
static int
connect_socket(const struct nbd_conn *conn, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int buffer = SOCKET_BUFFER_BYTES;
    const size_t length = strlen(conn->socket);
    int fd = -1;

    if (length >= sizeof(address.sun_path))
        return error_set(err, 500, "nbd %s: path too long", conn->socket);
    memcpy(address.sun_path, conn->socket, length);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        return error_errno(err, 500, "socket for nbd %s", conn->socket);
    /* Beyond the system's limit where we may; a smaller buffer than asked for
     * only costs speed. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) ==
        -1)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));

    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) == -1) {
        struct pollfd client = {.fd = conn->client_fd, .events = POLLRDHUP};
        int gone;

        if (errno != EAGAIN) {
            error_errno(err, 500, "connect to nbd %s", conn->socket);
            goto fail;
        }
        if (patience_ms(conn) == 0) {
            error_set(err, 504, "nbd %s: no connection for %d s", conn->socket,
                      conn->timeout_ms / 1000);
            goto fail;
        }
        gone = wait_fds(&client, 1, RETRY_MS, err);
        if (gone == -1)
            goto fail;
        if (gone > 0) {
            client_gone(err);
            goto fail;
        }
    }
    return fd;
fail:
    close(fd);
    return -1;
}

static int
configure(struct nbd_conn *conn, const struct image_ref *ref, bool with_map,
          const char *dirty_context)
{
    if (nbd_set_export_name(conn->nbd, ref->export ? ref->export : "") == -1)
        return -1;
    /* Every buffer is handed on only after its command succeeded. */
    if (nbd_set_pread_initialize(conn->nbd, false) == -1)
        return -1;
    if (!with_map)
        return 0;
    if (nbd_add_meta_context(conn->nbd, NBD_CONTEXT_ZERO) == -1)
        return -1;
    if (dirty_context == NULL)
        return 0;
    return nbd_add_meta_context(conn->nbd, dirty_context);
}

int
nbd_conn_open(struct nbd_conn *conn, const struct image_ref *ref,
              const struct image_env *env, bool with_map,
              const char *dirty_context, struct error *err)
{
    int fd = -1;

    *conn = (struct nbd_conn){
        .socket = ref->socket,
        .client_fd = env->client_fd,
        .timeout_ms = env->timeout_ms,
    };
    conn->nbd = nbd_create();
    if (conn->nbd == NULL)
        return nbd_conn_error(conn, "prepare", err);
    if (configure(conn, ref, with_map, dirty_context) == -1) {
        nbd_conn_error(conn, "prepare", err);
        goto fail;
    }
    conn->is_greeting = true;
    nbd_conn_began(conn);
    fd = connect_socket(conn, err);
    if (fd == -1)
        goto fail;
    if (nbd_aio_connect_socket(conn->nbd, fd) == -1) { /* owns fd from here */
        nbd_conn_error(conn, "greet", err);
        goto fail;
    }
    while (!nbd_aio_is_ready(conn->nbd)) {
        if (nbd_aio_is_dead(conn->nbd) || nbd_aio_is_closed(conn->nbd)) {
            nbd_conn_error(conn, "greet", err);
            goto fail;
        }
        if (nbd_conn_step(conn, -1, 0, err) == -1)
            goto fail;
    }
    nbd_conn_ended(conn);
    conn->is_greeting = false;
    return 0;
fail:
    nbd_close(conn->nbd);
    conn->nbd = NULL;
    return -1;
}

void
nbd_conn_close(struct nbd_conn *conn)
{
    /* Only tells the server that this was no accident: nothing is in flight
     * that anybody relies on, so there is nothing to wait for. */
    if (conn->in_flight == 0 && nbd_aio_is_ready(conn->nbd))
        nbd_aio_disconnect(conn->nbd, 0);
    nbd_close(conn->nbd);
    conn->nbd = NULL;
}
