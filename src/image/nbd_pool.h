/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of this process to NBD servers: lent to one request at a
 * time, and kept for a while after it.  A kept one is lent again only for the
 * same server (a socket: the very file; or a URI), export, bitmap and state of
 * the ticket; it is closed when it was not used for the idle time, when its
 * ticket changes, when the server closes it, or when another request waits for
 * the server.  What it knows of the export is of its beginning: after ten times
 * the idle time it is not kept any longer, however often it is used.
 *
 * At most NBD_POOL_KEPT_MAX are kept, those that were used last.
 *
 * Kept is what came back clean, and only from servers that let connections see
 * each other's writes (NBD_FLAG_CAN_MULTI_CONN): with others the next request
 * could be shown old bytes, or a flush miss new ones.
 *
 * One pool a process; usable from every thread.
 */
#ifndef IMAGE_NBD_POOL_H
#define IMAGE_NBD_POOL_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct image_env;
struct image_ref;
struct nbd_conn;

#define NBD_POOL_KEPT_MAX 64 /* each is a descriptor, and a client's place */

/* Before any thread starts.  idle_s: seconds that a connection is kept; 0:
 * none is.  0, or -1 with errno. */
int nbd_pool_init(unsigned idle_s);

/* Readable when some connection's time is over, or its server has closed it:
 * call nbd_pool_tend(). */
int nbd_pool_fd(void);
void nbd_pool_tend(void);

/* Closes what is kept for the ticket owner (NULL: for all), and makes a new
 * epoch.  What is lent in an earlier one is closed when it comes back. */
void nbd_pool_forget(const char *owner);
uint64_t nbd_pool_epoch(void); /* never 0 */

/* A connection to ref's server, ready for commands, that the caller gives
 * back.  Errors as of nbd_conn_greet(). */
int nbd_pool_take(struct nbd_conn **ret, const struct image_ref *ref,
                  const struct image_env *env, struct error *err);

/* The same, but never one that was kept. */
int nbd_pool_take_fresh(struct nbd_conn **ret, const struct image_ref *ref,
                        const struct image_env *env, struct error *err);

/* One more connection to the same server for a long request, still greeting.
 * It is never kept: others need the place more.  NULL if it cannot be had. */
struct nbd_conn *nbd_pool_start_more(const struct image_ref *ref,
                                     const struct image_env *env);

/* Keeps or closes it; its commands must not be waited for any more. */
void nbd_pool_give(struct nbd_conn *conn); /* NULL is allowed */

/* Does another request of this process wait for that server? */
bool nbd_pool_is_wanted(const char *server);

#endif
