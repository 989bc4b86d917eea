/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a ticket directory, and what has to go.  Root sees it as the
 * server's user does (server_user.h).  One thread.
 */
#ifndef CTL_TICKET_ENTRY_H
#define CTL_TICKET_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct ticket;
struct ticket_store;

enum ticket_state {
    TICKET_VALID,
    TICKET_EXPIRED,
    TICKET_IDLE, /* for longer than it allows */
    TICKET_NONE, /* a file that is no ticket */
};

struct ticket_entry {
    char *id;              /* the file's name */
    struct ticket *ticket; /* NULL: none */
    enum ticket_state state;
    struct error why; /* TICKET_NONE: why it is none */
};

/* Looks at a file.  1: *ret is set; 0: it is not there; -1: nothing can be told
 * of it. */
int ticket_entry_load(struct ticket_entry *ret,
                      const struct ticket_store *store, const char *id,
                      struct error *err);
void ticket_entry_done(struct ticket_entry *entry);

/* All of them, by name, but for hidden files: *ret is the caller's, all of it
 * (ticket_entry_free_all). */
int ticket_entry_list(struct ticket_entry **ret, size_t *count,
                      const struct ticket_store *store, struct error *err);
void ticket_entry_free_all(struct ticket_entry *entries, size_t count);

/* Removes tickets that have expired or were idle for too long, each with a
 * line in the log. */
int ticket_entry_sweep(const struct ticket_store *store, struct error *err);

/* How many are TICKET_VALID. */
int ticket_entry_count(size_t *valid, const struct ticket_store *store,
                       struct error *err);

#endif
