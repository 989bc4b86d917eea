/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tickets have requests that run, and when the last one ended, over all
 * threads and processes that share a run directory: bytes of its lock file
 * (lock_file.h), and run-dir/stamps, a table of times.  A ticket has its time
 * by a hash: where two share one, either lives as long as the other is used.
 */
#ifndef TICKET_ACTIVITY_H
#define TICKET_ACTIVITY_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct ticket;

/* One request.  One thread. */
struct activity {
    const char *run_dir; /* lent */
    int fd;              /* of the lock file; -1: not begun */
    bool is_counted;     /* activity_count() */
    uint64_t transfer;   /* hash of the ticket's id */
};

/* A request for id begins, before its ticket is looked for: whoever removes the
 * ticket can then wait for all that saw it.  500 if the lock file fails. */
int activity_begin(struct activity *activity, const char *run_dir,
                   const char *id, struct error *err);

/* Has the ticket gone without a request for longer than it allows?  1, 0, or
 * -1: 500. */
int activity_is_idle(const struct activity *activity,
                     const struct ticket *ticket, struct error *err);

/* The request was let in, and keeps the ticket from being idle. */
int activity_count(struct activity *activity, const struct ticket *ticket,
                   struct error *err);
void activity_end(struct activity *activity); /* may not have begun */

/* For who hands out tickets: does a request for id run?  Has the ticket been
 * idle for too long?  1, 0 (also where no server ever ran), -1: 500. */
int activity_has_requests(const char *run_dir, const char *id,
                          struct error *err);
int activity_has_lapsed(const char *run_dir, const struct ticket *ticket,
                        struct error *err);

#endif
