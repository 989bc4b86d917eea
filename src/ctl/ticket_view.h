/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets as an administrator sees them, never with their tokens.  Writes to
 * stdout. */
#ifndef CTL_TICKET_VIEW_H
#define CTL_TICKET_VIEW_H

struct error;
struct ticket_store;

/* One line each: id, backend, where, export, state, with tabs between and "-"
 * for what it has not. */
int ticket_view_list(const struct ticket_store *store, struct error *err);

/* Its JSON, and a line with its state. */
int ticket_view_show(const struct ticket_store *store, const char *id,
                     struct error *err);

#endif
