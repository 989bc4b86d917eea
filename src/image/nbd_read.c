/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads are issued at the ring's tail and pushed from its head.  Ahead of them
 * goes a map of the holes in a window, for transfers that are long enough.
 */
#include "image/nbd_read.h"

#include <poll.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/span.h"
#include "base/wait.h"
#include "image/extents.h"
#include "image/image.h"
#include "image/nbd_map.h"
#include "image/nbd_pool.h"
#include "image/nbd_ring.h"
#include "image/stream.h"

/* Longest read: four of them stay in a core's cache on their way to the wire.
 * (Writes go best by whole pieces of the buffer.) */
#define READ_BYTES ((size_t)512 << 10)

/* How far ahead holes are asked for: what is written there meanwhile by others
 * is not seen. */
#define WINDOW_BYTES ((size_t)128 << 20)
#define HOLE_MIN ((uint64_t)256 << 10) /* a smaller one is read as it is */
#define HOLES_MAX 256                  /* in a window; the others are read */
/* Answers of a server that make a window, each a round trip.  One that says so
 * little that they come to less than this is not asked again. */
#define ANSWERS_MAX 64
#define ANSWERS_MIN_BYTES ((uint64_t)16 << 20)
#define ZEROES_BYTES ((size_t)256 << 10)

/* Never written: all its pages are the system's one page of zeroes. */
static const unsigned char zeroes[ZEROES_BYTES];

struct hole {
    uint64_t start, end; /* bytes, multiples of the block size */
};

struct reading {
    struct nbd_ring *ring;
    size_t chunk; /* longest read, bytes */
    uint64_t ask; /* next byte to read */
    uint64_t end;
    unsigned head, tail; /* slots, counted on and on */
    bool is_yielding;    /* the second connection gets no more commands */

    bool knows_holes;    /* asking has sense */
    uint64_t window_end; /* what is mapped ends here */
    struct hole holes[HOLES_MAX];
    size_t hole_count, next_hole;
};

/* extents_emit: notes a hole that is worth it. */
static int
note_hole(void *opaque, const struct extent *extent, struct error *err)
{
    struct reading *r = opaque;
    const uint64_t block = r->ring->block;
    struct hole hole;

    (void)err;
    if (!extent->zero || extent->length < HOLE_MIN + 2 * block ||
        r->hole_count == HOLES_MAX)
        return 0;
    hole.start = nbd_ring_round_down(r->ring, extent->start + block - 1);
    hole.end = nbd_ring_round_down(r->ring, extent->start + extent->length);
    r->holes[r->hole_count++] = hole;
    return 0;
}

/* Nothing more can be asked of it. */
static bool
is_over(const struct nbd_conn *conn)
{
    return nbd_aio_is_dead(conn->nbd) || nbd_aio_is_closed(conn->nbd);
}

/* Maps the next window.  Where the server cannot, all of it is read. */
static int
map_window(struct reading *r, struct error *err)
{
    const struct nbd_map map = {
        .buffer = r->ring->map_buffer,
        .buffer_size = NBD_RING_MAP_BYTES,
    };
    struct nbd_slot slot = {.conn = r->ring->conn};
    struct extents x;

    r->hole_count = r->next_hole = 0;
    r->window_end = nbd_ring_command_end(r->ring, WINDOW_BYTES, r->ask, r->end);
    if (!r->knows_holes)
        return 0;
    extents_init(&x, r->window_end, note_hole, r);
    x.position = r->ask;
    for (unsigned i = 0; i < ANSWERS_MAX && x.position < x.size; i++) {
        if (nbd_map_step(&map, &slot, &x, err) == -1) {
            r->knows_holes = false;
            r->hole_count = 0;
            return slot.state == NBD_SLOT_BUSY || is_over(slot.conn)
                       ? -1
                       : 0; /* it says no */
        }
    }
    r->knows_holes =
        x.position == x.size || x.position - r->ask >= ANSWERS_MIN_BYTES;
    r->window_end = x.size = x.position;
    return extents_end(&x, err);
}

/* Does any slot still refer to the connection? */
static bool
is_in_use(const struct nbd_ring *ring, const struct nbd_conn *conn)
{
    for (unsigned i = 0; i < NBD_RING_SLOTS; i++)
        if (ring->slots[i].state != NBD_SLOT_FREE &&
            ring->slots[i].conn == conn)
            return true;
    return false;
}

/* Goes on with the second connection's greeting; gives it up if it cannot be
 * had, or if another request waits for this server. */
static void
settle_more(struct reading *r)
{
    struct nbd_ring *ring = r->ring;
    struct nbd_conn *more = ring->more;
    struct error ignored;
    bool is_lost;

    if (more == NULL)
        return;
    is_lost = more->is_greeting && nbd_conn_greet(more, 0, &ignored) == -1;
    r->is_yielding = r->is_yielding || nbd_pool_is_wanted(more->server);
    if (is_lost || (r->is_yielding && !is_in_use(ring, more))) {
        nbd_pool_give(more);
        ring->more = NULL;
    }
}

/* Fills the slot at the tail: with a hole, or with a read up to the next one.
 */
static int
issue(struct reading *r, struct error *err)
{
    struct nbd_ring *ring = r->ring;
    struct nbd_slot *slot = nbd_ring_slot(ring, r->tail);
    uint64_t stop = r->end;

    if (r->ask >= r->window_end && map_window(r, err) == -1)
        return -1;
    while (r->next_hole < r->hole_count && r->holes[r->next_hole].end <= r->ask)
        r->next_hole++;
    stop = span_min(stop, r->window_end);
    if (r->next_hole < r->hole_count) {
        const struct hole *hole = &r->holes[r->next_hole];

        if (hole->start <= r->ask) {
            slot->state = NBD_SLOT_DONE;
            slot->is_zero = true;
            slot->conn = ring->conn;
            slot->error = 0;
            slot->offset = r->ask;
            slot->length = span_min(hole->end, r->end) - r->ask;
            r->ask += slot->length;
            r->tail++;
            return 0;
        }
        stop = span_min(stop, hole->start);
    }
    stop = nbd_ring_command_end(ring, r->chunk, r->ask, stop);
    slot->conn = r->is_yielding ? ring->conn : nbd_ring_conn(ring, r->tail);
    if (nbd_slot_read(slot, slot->data, r->ask, stop - r->ask, err) == -1)
        return -1;
    r->ask = stop;
    r->tail++;
    return 0;
}

/* Pushes what is left of the slot at the head, of which at is the next byte.
 * Returns how much went out, or -1.  *is_blocked: the wire takes no more. */
static ssize_t
push(struct reading *r, uint64_t at, struct sink *sink, bool *is_blocked,
     struct error *err)
{
    struct nbd_slot *slot = nbd_ring_slot(r->ring, r->head);
    const uint64_t stop = span_min(slot->offset + slot->length, r->end);
    uint64_t size = stop - at;
    ssize_t taken;

    if (nbd_slot_check(slot, "read", err) == -1)
        return -1;
    if (slot->is_zero)
        size = span_min(size, ZEROES_BYTES);
    taken = sink->push(
        sink, slot->is_zero ? zeroes : slot->data + (at - slot->offset),
        (size_t)size, err);
    if (taken == -1)
        return -1;
    *is_blocked = (uint64_t)taken < size;
    if (at + (uint64_t)taken == stop) {
        slot->state = NBD_SLOT_FREE;
        r->head++;
    }
    return taken;
}

static size_t
read_chunk(const struct nbd_ring *ring)
{
    const uint64_t chunk = nbd_ring_round_down(ring, READ_BYTES);

    return chunk == 0 ? ring->chunk : (size_t)span_min(chunk, ring->chunk);
}

int
nbd_read(struct nbd_ring *ring, uint64_t offset, uint64_t length,
         struct sink *sink, uint64_t *pushed, struct error *err)
{
    /* Reads are widened to the server's block size; only what was asked for is
     * pushed. */
    struct reading r = {
        .ring = ring,
        .chunk = read_chunk(ring),
        .ask = nbd_ring_round_down(ring, offset),
        .end = offset + length,
        .knows_holes =
            length > ring->chunk &&
            nbd_can_meta_context(ring->conn->nbd, NBD_CONTEXT_ZERO) == 1,
    };

    while (*pushed < length) {
        bool is_blocked = false;

        if (r.ask < r.end &&
            nbd_ring_slot(ring, r.tail)->state == NBD_SLOT_FREE) {
            settle_more(&r);
            if (issue(&r, err) == -1)
                return -1;
            continue;
        }
        if (nbd_ring_slot(ring, r.head)->state == NBD_SLOT_DONE) {
            const ssize_t taken =
                push(&r, offset + *pushed, sink, &is_blocked, err);

            if (taken == -1)
                return -1;
            *pushed += (uint64_t)taken;
            if (!is_blocked)
                continue;
        }
        if (nbd_ring_step(ring,
                          &(struct nbd_wire){
                              .fd = sink->fd,
                              .events = is_blocked ? POLLOUT : 0,
                              .most_ms = WAIT_FOREVER,
                          },
                          err) == -1)
            return -1;
    }
    return 0;
}
