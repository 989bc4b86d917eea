/* SPDX-License-Identifier: Apache-2.0 */
/* One connection to an NBD server. */
#include "image/nbd_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/span.h"
#include "base/wait.h"
#include "image/image.h"
#include "image/image_root.h"
#include "stats/backend_clock.h"

#define BITMAP_CONTEXT "qemu:dirty-bitmap:"
#define RETRY_MS 10 /* between two tries at a full accept queue */
/* Room for a whole write command: the server reads while we pull more. */
#define SOCKET_BUFFER_BYTES (1 << 20)

int
nbd_conn_error(const struct nbd_conn *conn, const char *action,
               struct error *err)
{
    const char *cause = nbd_get_error();

    return error_set(err, error_status_of_errno(nbd_get_errno()),
                     "%s nbd %s: %s", action, conn->server,
                     cause != NULL ? cause : "no cause given");
}

bool
nbd_conn_is_closed(const struct nbd_conn *conn)
{
    return nbd_aio_is_dead(conn->nbd) || nbd_aio_is_closed(conn->nbd);
}

int
nbd_conn_error_closed(const struct nbd_conn *conn, struct error *err)
{
    return error_set(err, 500, "nbd %s: the server closed the connection",
                     conn->server);
}

void
nbd_conn_began(struct nbd_conn *conn)
{
    if (conn->in_flight++ == 0)
        conn->progress_us = clock_us();
}

void
nbd_conn_ended(struct nbd_conn *conn, int error)
{
    conn->in_flight--;
    if (error == 0)
        conn->has_answered = true;
    else
        conn->has_failed = true;
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
stuck(const struct nbd_conn *conn, struct error *err)
{
    return error_set(err, 504, "nbd %s: no progress for %d s", conn->server,
                     conn->timeout_ms / 1000);
}

static int
client_gone(struct error *err)
{
    return error_set(err, ERROR_CLIENT_GONE, "the client has gone");
}

/* The shorter one of two times for wait_fds(). */
static int
sooner_ms(int a, int b)
{
    if (a == WAIT_FOREVER || b == WAIT_FOREVER)
        return a == WAIT_FOREVER ? b : a;
    return a < b ? a : b;
}

static struct pollfd
wanted(const struct nbd_conn *conn)
{
    const unsigned direction = nbd_aio_get_direction(conn->nbd);
    struct pollfd fd = {.fd = nbd_aio_get_fd(conn->nbd)};

    if (direction & LIBNBD_AIO_DIRECTION_READ)
        fd.events |= POLLIN;
    if (direction & LIBNBD_AIO_DIRECTION_WRITE)
        fd.events |= POLLOUT;
    return fd;
}

/* Lets libnbd do what revents allow. */
static int
move(struct nbd_conn *conn, short revents, struct error *err)
{
    int rc = 0;

    if (revents & (POLLIN | POLLHUP | POLLERR))
        rc = nbd_aio_notify_read(conn->nbd);
    else if (revents & POLLOUT)
        rc = nbd_aio_notify_write(conn->nbd);
    if (rc == -1)
        return nbd_conn_error(conn, "talk to", err);
    if (revents != 0 && !conn->is_greeting)
        conn->progress_us = clock_us();
    return nbd_conn_is_closed(conn) ? nbd_conn_error_closed(conn, err) : 0;
}

int
nbd_conn_step(struct nbd_conn *conn, struct nbd_conn *other,
              const struct nbd_wire *wire, struct error *err)
{
    const struct nbd_wire none = {.fd = -1, .most_ms = WAIT_FOREVER};
    struct pollfd fds[] = {
        wanted(conn),
        other != NULL ? wanted(other) : (struct pollfd){.fd = -1},
        {.fd = conn->client_fd},
    };
    int limit_ms = patience_ms(conn);
    uint64_t start_us;
    int ready;

    if (wire == NULL)
        wire = &none;
    if (wire->fd != -1)
        fds[2].fd = wire->fd;
    if (other != NULL)
        limit_ms = sooner_ms(limit_ms, patience_ms(other));
    /* A half-closed wire is a client that left (FastCGI servers never
     * half-close a live one), unless we are about to read from it: then the
     * reader finds out, after what is still buffered. */
    fds[2].events = wire->events;
    if ((wire->events & POLLIN) == 0)
        fds[2].events |= POLLRDHUP;
    else
        fds[2].events = POLLIN;

    start_us = clock_us();
    ready = wait_fds(fds, 3, sooner_ms(limit_ms, wire->most_ms), err);
    if (wire->events == 0)
        backend_clock_add(start_us);
    if (ready == -1)
        return -1;
    if (ready == 0 && patience_ms(conn) == 0)
        return stuck(conn, err);
    if (ready == 0 && other != NULL && patience_ms(other) == 0)
        return stuck(other, err);
    if (move(conn, fds[0].revents, err) == -1 ||
        (other != NULL && move(other, fds[1].revents, err) == -1))
        return -1;
    if (!(wire->events & POLLIN) &&
        fds[2].revents & (POLLRDHUP | POLLHUP | POLLERR))
        return client_gone(err);
    return 0;
}

static int
open_socket(const struct nbd_conn *conn, struct error *err)
{
    const int buffer = SOCKET_BUFFER_BYTES;
    const int fd =
        socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd == -1)
        return error_errno(err, 500, "socket for nbd %s", conn->server);
    /* Beyond the system's limit where we may; a smaller buffer than asked for
     * only costs speed. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) ==
        -1)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    return fd;
}

/* connect(2) to the socket at path.  With --image-root it is found first, and
 * then connected to by the descriptor: what was checked is what is used. */
static int
connect_path(int fd, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int found = image_root_is_set() ? image_root_open(path, O_PATH) : -1;
    int length, rc, errnum;

    if (image_root_is_set() && found == -1)
        return -1;
    length = found != -1 ? snprintf(address.sun_path, sizeof(address.sun_path),
                                    "/proc/self/fd/%d", found)
                         : snprintf(address.sun_path, sizeof(address.sun_path),
                                    "%s", path);
    errno = ENAMETOOLONG;
    rc = (size_t)length < sizeof(address.sun_path)
             ? connect(fd, (struct sockaddr *)&address, sizeof(address))
             : -1;
    errnum = errno;
    if (found != -1)
        close(found);
    errno = errnum;
    return rc;
}

/* Tries once to connect; a full accept queue is waited for, for at most
 * most_ms, like a slow answer. */
static int
connect_socket(struct nbd_conn *conn, int most_ms, struct error *err)
{
    struct pollfd client = {.fd = conn->client_fd, .events = POLLRDHUP};
    const int fd = conn->connecting_fd;
    uint64_t start_us;
    int gone;

    if (connect_path(fd, conn->server) == 0) {
        conn->connecting_fd = -1;
        if (nbd_aio_connect_socket(conn->nbd, fd) == -1) /* owns fd now */
            return nbd_conn_error(conn, "greet", err);
        return 0;
    }
    if (errno == ENOENT || errno == ECONNREFUSED)
        return error_set(err, 500,
                         "connect to nbd %s: %m: is the NBD server running?",
                         conn->server);
    if (errno != EAGAIN)
        return image_root_error(err, "connect to nbd", conn->server);
    if (patience_ms(conn) == 0)
        return error_set(err, 504, "nbd %s: no connection for %d s",
                         conn->server, conn->timeout_ms / 1000);
    start_us = clock_us();
    gone = wait_fds(&client, 1, sooner_ms(RETRY_MS, most_ms), err);
    backend_clock_add(start_us);
    if (gone > 0)
        return client_gone(err);
    return gone;
}

static int
configure(struct nbd_conn *conn, const struct image_ref *ref)
{
    if (nbd_set_export_name(conn->nbd, ref->export ? ref->export : "") == -1)
        return -1;
    /* Every buffer is handed on only after its command succeeded. */
    if (nbd_set_pread_initialize(conn->nbd, false) == -1 ||
        nbd_add_meta_context(conn->nbd, NBD_CONTEXT_ZERO) == -1)
        return -1;
    if (conn->dirty_context == NULL)
        return 0;
    return nbd_add_meta_context(conn->nbd, conn->dirty_context);
}

/* A URI is libnbd's to connect to: it may name a host, TLS and its files. (Only
 * a name that has to be looked up makes us wait here.) */
static int
begin_connecting(struct nbd_conn *conn, const struct image_ref *ref,
                 struct error *err)
{
    if (ref->uri == NULL) {
        conn->connecting_fd = open_socket(conn, err);
        return conn->connecting_fd == -1 ? -1 : 0;
    }
    /* The files that it may name are libnbd's to open, wherever they are. */
    if (nbd_set_uri_allow_local_file(conn->nbd, !image_root_is_set()) == -1 ||
        nbd_aio_connect_uri(conn->nbd, ref->uri) == -1)
        return nbd_conn_error(conn, "connect to", err);
    return 0;
}

int
nbd_conn_start(struct nbd_conn *conn, const struct image_ref *ref,
               const struct image_env *env, struct error *err)
{
    *conn = (struct nbd_conn){
        .server = strdup(image_ref_server(ref)),
        .connecting_fd = -1,
        .is_greeting = true,
    };
    nbd_conn_lend(conn, env);
    if (conn->server == NULL ||
        (ref->bitmap != NULL &&
         asprintf(&conn->dirty_context, BITMAP_CONTEXT "%s", ref->bitmap) ==
             -1)) {
        conn->dirty_context = NULL;
        error_errno(err, 500, "open nbd %s", image_ref_server(ref));
        goto fail;
    }
    conn->nbd = nbd_create();
    if (conn->nbd == NULL || configure(conn, ref) == -1) {
        nbd_conn_error(conn, "prepare", err);
        goto fail;
    }
    if (begin_connecting(conn, ref, err) == -1)
        goto fail;
    nbd_conn_began(conn);
    return 0;
fail:
    nbd_conn_close(conn);
    return -1;
}

int
nbd_conn_greet(struct nbd_conn *conn, int most_ms, struct error *err)
{
    const uint64_t start_us = clock_us();

    while (conn->is_greeting) {
        const uint64_t spent_ms = (clock_us() - start_us) / 1000;
        const int left_ms =
            most_ms == WAIT_FOREVER
                ? WAIT_FOREVER
                : most_ms - (int)span_min(spent_ms, (uint64_t)most_ms);

        if (conn->connecting_fd != -1) {
            if (connect_socket(conn, left_ms, err) == -1)
                return -1;
        } else if (nbd_aio_is_ready(conn->nbd)) {
            nbd_conn_ended(conn, 0);
            conn->is_greeting = false;
            break;
        } else if (nbd_conn_is_closed(conn)) {
            return nbd_conn_error(conn, "greet", err);
        } else {
            const struct nbd_wire none = {.fd = -1, .most_ms = left_ms};

            if (nbd_conn_step(conn, NULL, &none, err) == -1)
                return -1;
        }
        if (left_ms == 0 && !nbd_aio_is_ready(conn->nbd))
            return 0;
    }
    return 1;
}

void
nbd_conn_close(struct nbd_conn *conn)
{
    /* Only tells the server that this was no accident: nothing is in flight
     * that anybody relies on, so there is nothing to wait for. */
    if (conn->nbd != NULL && conn->in_flight == 0 &&
        nbd_aio_is_ready(conn->nbd))
        nbd_aio_disconnect(conn->nbd, 0);
    if (conn->connecting_fd != -1)
        close(conn->connecting_fd);
    nbd_close(conn->nbd);
    free(conn->server);
    free(conn->dirty_context);
    *conn = (struct nbd_conn){.connecting_fd = -1};
}

void
nbd_conn_lend(struct nbd_conn *conn, const struct image_env *env)
{
    conn->client_fd = env->client_fd;
    conn->timeout_ms = env->timeout_ms;
    conn->has_answered = false;
}

bool
nbd_conn_is_clean(const struct nbd_conn *conn)
{
    return !conn->is_greeting && !conn->has_failed && conn->in_flight == 0 &&
           nbd_aio_is_ready(conn->nbd);
}

bool
nbd_conn_is_stale(const struct nbd_conn *conn)
{
    return conn->is_kept && !conn->has_answered && nbd_conn_is_closed(conn);
}

bool
nbd_conn_is_alive(const struct nbd_conn *conn)
{
    /* A server has nothing to say that it was not asked for: what can be read
     * is the end. */
    struct pollfd fd = {
        .fd = nbd_aio_get_fd(conn->nbd),
        .events = POLLIN | POLLRDHUP,
    };

    return poll(&fd, 1, 0) == 0;
}
