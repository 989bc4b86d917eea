/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to an NBD server: connecting, waiting for the server and the
 * wire at once, noticing that either has gone or that the server is stuck.
 * The only includer of libnbd.h.  One thread.
 */
#ifndef IMAGE_NBD_CONN_H
#define IMAGE_NBD_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include <libnbd.h>

struct error;
struct image_env;
struct image_ref;

struct nbd_conn {
    struct nbd_handle *nbd;
    const char *socket;   /* for messages; lent by the ticket */
    int client_fd;        /* -1: none to watch */
    int timeout_ms;       /* longest time without progress */
    unsigned in_flight;   /* commands that the server owes an answer */
    bool is_greeting;     /* not ready: all of that counts as one answer */
    uint64_t progress_us; /* clock_us() when the server last moved */
};

#define NBD_CONTEXT_ZERO "base:allocation"

/* Connects and negotiates; with_map asks for NBD_CONTEXT_ZERO and, if
 * dirty_context is not NULL, for that too.  500: refused or failed; 504: no
 * progress for timeout_ms.  On failure there is nothing to close. */
int nbd_conn_open(struct nbd_conn *conn, const struct image_ref *ref,
                  const struct image_env *env, bool with_map,
                  const char *dirty_context, struct error *err);
/* Says goodbye if it can and closes; commands in flight are forgotten, and
 * their buffers are the caller's again. */
void nbd_conn_close(struct nbd_conn *conn);

/* A command was issued; its completion callback calls nbd_conn_ended(). */
void nbd_conn_began(struct nbd_conn *conn);
void nbd_conn_ended(struct nbd_conn *conn);

/* Waits until the server moved or wire_fd is ready for wire_events, and lets
 * libnbd work.  wire_fd -1: only the server (and client_fd's departure). */
int nbd_conn_step(struct nbd_conn *conn, int wire_fd, short wire_events,
                  struct error *err);

/* Sets err to action and the cause that libnbd gives. */
int nbd_conn_error(const struct nbd_conn *conn, const char *action,
                   struct error *err);

#endif
