/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and removing tickets.  Whoever does so through here has the ticket
 * directory for itself meanwhile (flock(2) on it), and a reader sees a ticket
 * whole or not at all.  Errors never hold an id or a token.  One thread.
 */
#ifndef CTL_TICKET_STORE_H
#define CTL_TICKET_STORE_H

#include <stdbool.h>

struct error;
struct json;

struct ticket_store {
    const char *dir, *run_dir; /* lent */
    unsigned patience_ms;      /* longest wait for another writer */
    int fd;                    /* of dir */
};

/* Sets store->fd; the other members are the caller's. */
int ticket_store_open(struct ticket_store *store, struct error *err);
void ticket_store_close(struct ticket_store *store);

/* Nobody else writes or removes between these two. */
int ticket_store_lock(const struct ticket_store *store, struct error *err);
void ticket_store_unlock(const struct ticket_store *store);

/* Writes a ticket of the id (path_is_id) that lasts: for the directory's group
 * to read (0640), and if root writes it, of the directory's owner.  Refuses
 * what is no ticket, one that has expired, and without can_replace an id that
 * is there. */
int ticket_store_write(const struct ticket_store *store, const char *id,
                       struct json *ticket, bool can_replace,
                       struct error *err);

/* 1: it is gone; 0: there was none; -1. */
int ticket_store_remove(const struct ticket_store *store, const char *id,
                        struct error *err);

/* The same, by who has the lock and makes the removal last. */
int ticket_store_unlink(const struct ticket_store *store, const char *id,
                        struct error *err);
int ticket_store_flush(const struct ticket_store *store, struct error *err);

#endif
