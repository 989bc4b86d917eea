/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of worker threads: each takes a connection from the listener,
 * serves the request on it, and takes the next.  With fcgi_io.c the only user
 * of libfcgi.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

struct config;
struct pool;

/* Starts config->workers threads for listen_fd, which is made non-blocking and
 * may be shared with other processes; both are lent.  0, or -1 with errno. */
int pool_start(struct pool **ret, const struct config *config, int listen_fd);

/* They serve from now on.  0, or -1 with errno. */
int pool_serve(struct pool *pool);

/* Readable once the last worker has ended. */
int pool_done_fd(const struct pool *pool);

/* No new request is taken; those running go on.  Returns at once. */
void pool_stop(struct pool *pool);

/* After pool_done_fd() is readable. */
void pool_free(struct pool *pool);

#endif
