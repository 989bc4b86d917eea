/* SPDX-License-Identifier: Apache-2.0 */
/* The ring that reads and writes have in common. */
#include "image/nbd_ring.h"

#include "base/error.h"
#include "base/span.h"
#include "image/image.h"

/* glibc's allocator, as qemu-nbd uses it, maps and unmaps fresh memory for
 * every buffer of a request until one as large as this was freed: that costs it
 * half its speed.  One read cures the process for good. */
#define WARM_UP_BYTES ((size_t)4 << 20)
#define WARM_UP_MIN ((uint64_t)256 << 20) /* a longer transfer repays it */

void
nbd_ring_init(struct nbd_ring *ring, const struct image_env *env)
{
    const size_t room = env->buffer_size - NBD_RING_MAP_BYTES;

    *ring = (struct nbd_ring){
        .map_buffer = env->buffer + room,
        .chunk = room / NBD_RING_SLOTS,
    };
    for (unsigned i = 0; i < NBD_RING_SLOTS; i++)
        ring->slots[i].data = env->buffer + i * ring->chunk;
}

void
nbd_ring_reset(struct nbd_ring *ring)
{
    for (unsigned i = 0; i < NBD_RING_SLOTS; i++)
        ring->slots[i].state = NBD_SLOT_FREE;
}

struct nbd_slot *
nbd_ring_slot(struct nbd_ring *ring, unsigned index)
{
    return &ring->slots[index % NBD_RING_SLOTS];
}

struct nbd_conn *
nbd_ring_conn(struct nbd_ring *ring, unsigned index)
{
    if (ring->more != NULL && !ring->more->is_greeting && index % 2 == 1)
        return ring->more;
    return ring->conn;
}

uint64_t
nbd_ring_round_down(const struct nbd_ring *ring, uint64_t offset)
{
    return offset - offset % ring->block;
}

uint64_t
nbd_ring_command_end(const struct nbd_ring *ring, size_t chunk, uint64_t start,
                     uint64_t end)
{
    const uint64_t last = nbd_ring_round_down(ring, end - 1) + ring->block;

    return span_min(ring->size, span_min(start + chunk, last));
}

int
nbd_ring_step(struct nbd_ring *ring, const struct nbd_wire *wire,
              struct error *err)
{
    struct nbd_conn *more = ring->more;

    if (more != NULL && more->is_greeting)
        more = NULL;
    return nbd_conn_step(ring->conn, more, wire, err);
}

int
nbd_ring_check(struct nbd_ring *ring, const char *action, struct error *err)
{
    for (unsigned i = 0; i < NBD_RING_SLOTS; i++)
        if (nbd_slot_check(&ring->slots[i], action, err) == -1)
            return -1;
    return 0;
}

int
nbd_ring_drain(struct nbd_ring *ring, const char *action, struct error *err)
{
    for (unsigned i = 0; i < NBD_RING_SLOTS; i++)
        if (nbd_slot_wait(&ring->slots[i], action, err) == -1)
            return -1;
    return 0;
}

int
nbd_ring_warm_up(struct nbd_ring *ring, uint64_t offset, uint64_t length,
                 struct error *err)
{
    struct nbd_slot *slot = nbd_ring_slot(ring, 0);
    const uint64_t start = nbd_ring_round_down(ring, offset);

    if (ring->conn->is_kept || length < WARM_UP_MIN ||
        ring->payload < WARM_UP_BYTES ||
        ring->chunk * NBD_RING_SLOTS < WARM_UP_BYTES ||
        WARM_UP_BYTES % ring->block != 0 ||
        !span_fits(start, WARM_UP_BYTES, ring->size))
        return 0;
    slot->conn = ring->conn;
    if (nbd_slot_read(slot, slot->data, start, WARM_UP_BYTES, err) == -1)
        return -1;
    while (slot->state == NBD_SLOT_BUSY)
        if (nbd_conn_step(ring->conn, NULL, NULL, err) == -1)
            return -1;
    slot->state = NBD_SLOT_FREE; /* an error will come again where it matters */
    return 0;
}
