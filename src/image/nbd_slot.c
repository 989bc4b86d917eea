/* SPDX-License-Identifier: Apache-2.0 */
/* One asynchronous command at a time. */
#include "image/nbd_slot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/error.h"

/* Completion callback.  Returns 1: libnbd retires the command itself. */
static int
slot_done(void *opaque, int *error)
{
    struct nbd_slot *slot = opaque;

    slot->state = NBD_SLOT_DONE;
    slot->error = *error;
    counters_command(slot->command, clock_us() - slot->began_us);
    nbd_conn_ended(slot->conn, *error);
    return 1;
}

/* 0 when the slot's command succeeded, else -1 and why it did not. */
int
nbd_slot_check(const struct nbd_slot *slot, const char *action,
               struct error *err)
{
    if (slot->state != NBD_SLOT_DONE || slot->error == 0)
        return 0;
    errno = slot->error;
    return error_errno(err, error_status_of_errno(slot->error),
                       "%s %" PRIu64 " bytes at %" PRIu64 " of nbd %s", action,
                       slot->length, slot->offset, slot->conn->server);
}

/* Waits until the slot has no command, and fails if its last one did. */
int
nbd_slot_wait(struct nbd_slot *slot, const char *action, struct error *err)
{
    while (slot->state == NBD_SLOT_BUSY)
        if (nbd_conn_step(slot->conn, NULL, NULL, err) == -1)
            return -1;
    if (nbd_slot_check(slot, action, err) == -1)
        return -1;
    slot->state = NBD_SLOT_FREE;
    return 0;
}

/* Notes what the slot's next command is about. */
nbd_completion_callback
nbd_slot_begin(struct nbd_slot *slot, enum counters_command command,
               uint64_t offset, uint64_t length)
{
    assert(slot->state == NBD_SLOT_FREE);
    slot->offset = offset;
    slot->length = length;
    slot->state = NBD_SLOT_BUSY;
    slot->is_zero = false;
    slot->error = 0;
    slot->command = command;
    slot->began_us = clock_us();
    nbd_conn_began(slot->conn);
    return (nbd_completion_callback){.callback = slot_done, .user_data = slot};
}

int
nbd_slot_issued(const struct nbd_slot *slot, int64_t cookie, const char *action,
                struct error *err)
{
    if (cookie != -1)
        return 0;
    /* All that libnbd says then is that it cannot. */
    if (nbd_conn_is_closed(slot->conn))
        return nbd_conn_error_closed(slot->conn, err);
    return nbd_conn_error(slot->conn, action, err);
}

int
nbd_slot_read(struct nbd_slot *slot, unsigned char *data, uint64_t offset,
              uint64_t length, struct error *err)
{
    const nbd_completion_callback done =
        nbd_slot_begin(slot, COMMAND_READ, offset, length);

    return nbd_slot_issued(
        slot,
        nbd_aio_pread(slot->conn->nbd, data, (size_t)length, offset, done, 0),
        "read from", err);
}

int
nbd_slot_write(struct nbd_slot *slot, uint64_t offset, uint64_t length,
               struct error *err)
{
    const nbd_completion_callback done =
        nbd_slot_begin(slot, COMMAND_WRITE, offset, length);

    return nbd_slot_issued(slot,
                           nbd_aio_pwrite(slot->conn->nbd, slot->data,
                                          (size_t)length, offset, done, 0),
                           "write to", err);
}
