/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to an NBD server: connecting, waiting for the server and the
 * wire at once, noticing that either has gone or that the server is stuck.
 * The only includer of libnbd.h.  One thread at a time; nbd_pool.c keeps
 * connections between requests.
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
    char *server;         /* its socket's path or its URI, for messages too */
    char *dirty_context;  /* that was asked for; NULL: none */
    int connecting_fd;    /* not connected yet; -1: it is libnbd's */
    int client_fd;        /* -1: none to watch */
    int timeout_ms;       /* longest time without progress */
    unsigned in_flight;   /* commands that the server owes an answer */
    bool is_greeting;     /* not ready: all of that counts as one answer */
    bool is_kept;         /* from an earlier request: may have died since */
    bool has_answered;    /* some command, since it was lent */
    bool has_failed;      /* some command, ever */
    uint64_t progress_us; /* clock_us() when the server last moved */
};

#define NBD_CONTEXT_ZERO "base:allocation"

/* Begins to connect, and to ask for NBD_CONTEXT_ZERO and for the bitmap that
 * ref names.  Does not wait.  On failure there is nothing to close. */
int nbd_conn_start(struct nbd_conn *conn, const struct image_ref *ref,
                   const struct image_env *env, struct error *err);

/* Goes on with that for at most most_ms milliseconds (WAIT_FOREVER: while the
 * server makes progress).  1: ready for commands; 0: not yet; -1: 500, refused
 * or failed, or 504, no progress for env->timeout_ms. */
int nbd_conn_greet(struct nbd_conn *conn, int most_ms, struct error *err);

/* Says goodbye if it can and closes; commands in flight are forgotten, and
 * their buffers are the caller's again. */
void nbd_conn_close(struct nbd_conn *conn);

/* From here on it serves the request of env. */
void nbd_conn_lend(struct nbd_conn *conn, const struct image_env *env);

/* May another request go on with it?  All was answered, and well. */
bool nbd_conn_is_clean(const struct nbd_conn *conn);

/* false if the server has closed it, as far as can be seen without asking. */
bool nbd_conn_is_alive(const struct nbd_conn *conn);

/* Had it died before it was lent, as far as can be told afterwards?  Then all
 * that was asked of it may be asked again of a new one. */
bool nbd_conn_is_stale(const struct nbd_conn *conn);

/* Does libnbd know that the server has closed it? */
bool nbd_conn_is_closed(const struct nbd_conn *conn);

/* A command was issued; its completion callback calls nbd_conn_ended(). */
void nbd_conn_began(struct nbd_conn *conn);
void nbd_conn_ended(struct nbd_conn *conn, int error);

/* What is waited for beside the server. */
struct nbd_wire {
    int fd;
    short events;
    int most_ms; /* how long; WAIT_FOREVER: as long as the server may take */
};

/* Waits until the server moved, the wire is ready or its time is over, and lets
 * libnbd work.  wire NULL: only the server (and client_fd's departure).
 * other: a second connection, whose server moving counts as well; or NULL. */
int nbd_conn_step(struct nbd_conn *conn, struct nbd_conn *other,
                  const struct nbd_wire *wire, struct error *err);

/* Sets err to action and the cause that libnbd gives. */
int nbd_conn_error(const struct nbd_conn *conn, const char *action,
                   struct error *err);

/* The same for one that is closed.  Returns -1. */
int nbd_conn_error_closed(const struct nbd_conn *conn, struct error *err);

#endif
