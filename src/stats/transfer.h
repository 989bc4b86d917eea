/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running transfer, as others see it: a request that reads, writes, zeroes,
 * flushes or maps an image.  It lives in a slot of the scoreboard that one
 * worker writes and anybody reads, in this process or another, without a lock:
 * a reader that met a change tries again.
 */
#ifndef STATS_TRANSFER_H
#define STATS_TRANSFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TRANSFER_ID_CHARS 8 /* of a ticket's id, which is as good as a password */
#define TRANSFER_REQUEST_SIZE 72
#define TRANSFER_CLIENT_SIZE 48 /* the longest address in text, and more */
#define TRANSFER_UNKNOWN UINT64_MAX /* total, as long as it is not known */

enum transfer_operation {
    TRANSFER_NONE,
    TRANSFER_READ,
    TRANSFER_WRITE,
    TRANSFER_ZERO,
    TRANSFER_FLUSH,
    TRANSFER_EXTENTS,
    TRANSFER_OPERATIONS,
};
extern const char *const transfer_operations[TRANSFER_OPERATIONS];

/* Strings are cut to their room. */
struct transfer {
    uint64_t id_hash;       /* transfer_hash() of the whole id */
    uint64_t start_ms;      /* Unix time */
    uint64_t offset, total; /* bytes of the image */
    uint64_t done;          /* bytes, of total */
    uint64_t rate; /* bytes a second, lately; 0: nothing has moved for two
                      seconds */
    enum transfer_operation operation;
    char id[TRANSFER_ID_CHARS + 1];
    char request[TRANSFER_REQUEST_SIZE];
    char method[16];
    char client[TRANSFER_CLIENT_SIZE]; /* its address, as the web server says */
    bool is_file;                      /* else nbd */
};

uint64_t transfer_hash(const char *id);

#define TRANSFER_WORDS ((sizeof(struct transfer) + 7) / 8)

/* Zeroes: free. */
struct transfer_slot {
    _Atomic uint64_t version; /* odd while it is being changed */
    _Atomic uint64_t done, done_us; /* how much, and since when (clock_us()) */
    /* What was done, and when (clock_us()): one to two seconds ago, and zero to
     * one. */
    _Atomic uint64_t older_us, older_done, newer_us, newer_done;
    _Atomic uint64_t words[TRANSFER_WORDS]; /* a struct transfer */
};

/* The worker's side.  slot may be NULL: nothing is shown. */
void transfer_begin(struct transfer_slot *slot, const struct transfer *transfer);
/* Changes what it is about; what was done stays. */
void transfer_update(struct transfer_slot *slot,
                     const struct transfer *transfer);
void transfer_progress(struct transfer_slot *slot, uint64_t done);
void transfer_end(struct transfer_slot *slot);

/* The reader's side.  false: the slot is free, or changes all the time. */
bool transfer_read(struct transfer *ret, const struct transfer_slot *slot);

#endif
