/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader and writer slots, and image locks, over all threads and processes
 * that share a run directory: byte ranges of run-dir/locks under open file
 * description locks, each holder with a description of its own.  The kernel
 * frees them when the holder's descriptor goes, whatever way the holder ends.
 *
 *     byte 0 …          reader slots
 *     byte 2^31 …       writer slots
 *     byte 2^32 + hash  one for each image: exclusive for a writer, shared for
 *                       flush and extents
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
};

/* Makes the run directory (0755, but not its parents) and the file in it if
 * they are missing, and tries a lock.  500 if that cannot be. */
int limits_prepare(const struct limits *limits, struct error *err);

/* What one request holds.  One thread. */
struct limits_hold {
    int fd; /* -1: nothing */
};
#define LIMITS_HOLD_NONE {.fd = -1}

/* Each adds to what hold has.  409 "image busy" for the image; 503 "too many
 * parallel reads" or "… writes" for a slot; 500 if the file fails. */
int limits_lock_image(struct limits_hold *hold, const struct limits *limits,
                      uint64_t image_key, bool shared, struct error *err);
int limits_take_reader(struct limits_hold *hold, const struct limits *limits,
                       struct error *err);
int limits_take_writer(struct limits_hold *hold, const struct limits *limits,
                       struct error *err);

void limits_release(struct limits_hold *hold); /* all of it; may hold nothing */

#endif
