/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slot: one asynchronous command on an NBD connection at a time, with a
 * piece of buffer for its data.  One thread.
 */
#ifndef IMAGE_NBD_SLOT_H
#define IMAGE_NBD_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/nbd_conn.h"
#include "stats/counters.h"

struct error;

enum nbd_slot_state {
    NBD_SLOT_FREE,
    NBD_SLOT_BUSY, /* its command is in flight: the data is libnbd's */
    NBD_SLOT_DONE, /* answered; error tells how */
};

struct nbd_slot {
    struct nbd_conn *conn; /* of its command; lent */
    unsigned char *data;   /* lent */
    enum nbd_slot_state state;
    bool is_zero;    /* no command was needed: all of it is zeroes */
    int error;       /* errno value of the server's answer; 0: success */
    uint64_t offset; /* of the command, bytes */
    uint64_t length; /* of the command, bytes */
    enum counters_command command;
    uint64_t began_us; /* clock_us() when it was issued */
};

/* Makes a free slot busy with a command on [offset, offset + length); the
 * result goes to the libnbd call that issues it, and what that returns to
 * nbd_slot_issued(), which fails if it failed. */
nbd_completion_callback nbd_slot_begin(struct nbd_slot *slot,
                                       enum counters_command command,
                                       uint64_t offset, uint64_t length);
int nbd_slot_issued(const struct nbd_slot *slot, int64_t cookie,
                    const char *action, struct error *err);

/* -1 if the slot's command was answered with an error; action, a verb, is for
 * the message. */
int nbd_slot_check(const struct nbd_slot *slot, const char *action,
                   struct error *err);

/* Waits until the slot has no command, frees it, and fails if its last command
 * did. */
int nbd_slot_wait(struct nbd_slot *slot, const char *action, struct error *err);

/* Issue a read into data, which lies in the slot's, or a write of the slot's
 * data. */
int nbd_slot_read(struct nbd_slot *slot, unsigned char *data, uint64_t offset,
                  uint64_t length, struct error *err);
int nbd_slot_write(struct nbd_slot *slot, uint64_t offset, uint64_t length,
                   struct error *err);

#endif
