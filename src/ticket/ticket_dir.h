/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an image id to its ticket: the safe way into the ticket directory.
 * There is no cache: reading and parsing a ticket takes some 20 µs, and no
 * copy can then be older than its file.  Keeps nothing; usable from every
 * thread.
 */
#ifndef TICKET_TICKET_DIR_H
#define TICKET_TICKET_DIR_H

#include <stddef.h>

struct error;
struct ticket;

/* The ticket in file id (a valid one: path_is_id) of folder dir, opened below
 * the folder's descriptor, never through a link: it must be a regular file of
 * at most TICKET_MAX_BYTES, owned by root or by this process's user, and not
 * writable by others, and not expired; a URI in it must have one of
 * uri_schemes (nbd_uri.h), a path must be below --image-root (image_root.h).
 * *ret is the caller's, and borrows id.  Every failure is 404 "unknown
 * image_id"; any but a missing file has its cause logged. */
int ticket_dir_find(struct ticket **ret, const char *dir, const char *id,
                    unsigned uri_schemes, struct error *err);

/* The same ticket, by the descriptor of its folder, expired or not.  1: *ret is
 * set; 0: there is no such file; -1: the cause is in err. */
int ticket_dir_load(struct ticket **ret, int dir_fd, const char *id,
                    unsigned uri_schemes, struct error *err);

/* Sets that very error, for an id that is not even looked for.  Returns -1. */
int ticket_dir_unknown(struct error *err);

#endif
