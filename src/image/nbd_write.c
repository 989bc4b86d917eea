/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slot of the ring after the other is filled from the source and written;
 * a write of half a block reads the other half first.
 */
#include "image/nbd_write.h"

#include <poll.h>

#include "base/error.h"
#include "base/span.h"
#include "image/nbd_ring.h"
#include "image/stream.h"

/* Fills [from, to) of the slot's buffer; commands in flight go on meanwhile. */
static int
slot_fill(struct nbd_ring *ring, struct nbd_slot *slot, size_t from, size_t to,
          struct source *source, struct error *err)
{
    while (from < to) {
        const ssize_t got =
            source->pull(source, slot->data + from, to - from, err);

        if (got == -1)
            return -1;
        from += (size_t)got;
        if (got > 0)
            continue;
        if (nbd_ring_step(ring,
                          &(struct nbd_wire){
                              .fd = source->fd,
                              .events = POLLIN,
                              .most_ms = source_patience_ms(source),
                          },
                          err) == -1 ||
            nbd_ring_check(ring, "write", err) == -1)
            return -1;
    }
    return 0;
}

/* Reads the server's block at offset into its place in the slot's buffer, for
 * a write that covers only a part of it. */
static int
slot_read_edge(struct nbd_slot *slot, uint64_t start, uint64_t offset,
               uint64_t block, struct error *err)
{
    if (nbd_slot_read(slot, slot->data + (offset - start), offset, block,
                      err) == -1)
        return -1;
    return nbd_slot_wait(slot, "read", err);
}

int
nbd_write(struct nbd_ring *ring, uint64_t offset, uint64_t length,
          struct source *source, struct error *err)
{
    const uint64_t end = offset + length, block = ring->block;
    uint64_t start = nbd_ring_round_down(ring, offset);

    for (unsigned tail = 0; start < end; tail++) {
        struct nbd_slot *slot = nbd_ring_slot(ring, tail);
        const uint64_t stop =
            nbd_ring_command_end(ring, ring->chunk, start, end);
        const uint64_t from = start < offset ? offset : start;
        const uint64_t to = span_min(stop, end);

        if (nbd_slot_wait(slot, "write", err) == -1)
            return -1;
        slot->conn = ring->conn;
        /* cppcheck-suppress knownConditionTrueFalse ; start is rounded down */
        if (from > start &&
            slot_read_edge(slot, start, start, block, err) == -1)
            return -1;
        if (to < stop &&
            slot_read_edge(slot, start, stop - block, block, err) == -1)
            return -1;
        if (slot_fill(ring, slot, (size_t)(from - start), (size_t)(to - start),
                      source, err) == -1)
            return -1;
        if (nbd_slot_write(slot, start, stop - start, err) == -1)
            return -1;
        start = stop;
    }
    return nbd_ring_drain(ring, "write", err);
}
