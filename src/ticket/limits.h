/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader and writer slots, and image locks, over all threads and processes
 * that share a run directory: bytes of its lock file (lock_file.h).
 *
 * Who has to wait (queue_timeout_s) does so at the gate of what it waits for:
 * one at a time has the gate and tries, and who comes later cannot pass it.
 * Order: image, slot, blocks from the first on; a gate is never kept while
 * another one is waited for.
 */
#ifndef TICKET_LIMITS_H
#define TICKET_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct error;

#define LIMITS_SLOTS_MAX 65536

struct limits {
    const char *run_dir; /* lent */
    unsigned max_readers, max_writers;
    bool per_image;           /* that many for each image, not over all */
    unsigned queue_timeout_s; /* longest wait of a request; 0: refuse at once */
    unsigned block_timeout_s; /* the same for a block that others write to */
};

/* Makes the run directory (0755, but not its parents) and the file in it if
 * they are missing, and tries a lock.  500 if that cannot be. */
int limits_prepare(const struct limits *limits, struct error *err);

/* What one request holds.  One thread. */
struct limits_hold {
    int fd;               /* of the lock file, the request's own; lent */
    bool is_locked;       /* something may be held */
    int client_fd;        /* its POLLRDHUP ends a wait; -1: none */
    uint64_t deadline_us; /* clock_us() when waiting ends; 0: not begun */
};

/* Each adds to what hold has; image_key is image_key()'s.  409 "image busy" for
 * the image; 503 "too many parallel reads" or "… writes" for a slot, if it
 * cannot be had in time; ERROR_CLIENT_GONE; 500 if the file fails. */
int limits_lock_image(struct limits_hold *hold, const struct limits *limits,
                      uint64_t image_key, bool shared, struct error *err);
int limits_take_reader(struct limits_hold *hold, const struct limits *limits,
                       uint64_t image_key, struct error *err);
int limits_take_writer(struct limits_hold *hold, const struct limits *limits,
                       uint64_t image_key, struct error *err);

/* Blocks first to last of the image, for a writer that shares it: one that writes
 * an end of its part into half a block has that block for itself, as it reads it
 * first.  Waits, in any case, for as long as a backend may take; then 409. */
struct limits_blocks {
    uint64_t first, last; /* inclusive */
    bool half_first, half_last;
};
int limits_lock_blocks(struct limits_hold *hold, const struct limits *limits,
                       uint64_t image_key, const struct limits_blocks *blocks,
                       struct error *err);

void limits_release(struct limits_hold *hold); /* all of it; may hold nothing */

#endif
