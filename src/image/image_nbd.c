/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nbd backend.  Reads and writes go through a ring of asynchronous
 * commands over the worker's buffer, so that the server, the socket and the
 * wire work at the same time; bytes stay in order.  One thread an image.
 */
#include "image/image_nbd.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/span.h"
#include "image/nbd_map.h"
#include "image/nbd_slot.h"
#include "image/stream.h"

#define RING_SLOTS 4
/* A zero command carries no data, but a server may have to write every byte
 * of it before it answers: small enough for --backend-timeout. */
#define ZERO_COMMAND_MAX ((uint64_t)128 << 20)
#define BITMAP_CONTEXT "qemu:dirty-bitmap:"

struct image_nbd {
    struct image base; /* first, and holds ->ops and ->size (bytes) */
    struct nbd_conn conn;
    struct nbd_slot slots[RING_SLOTS];
    size_t chunk; /* longest command with data, bytes */
    unsigned char *buffer;
    size_t buffer_size;
    char *dirty_context; /* NULL: no bitmap was asked for or granted */
};

static struct image_nbd *
from_base(struct image *im)
{
    return (struct image_nbd *)im;
}

static struct nbd_slot *
ring_slot(struct image_nbd *self, unsigned index)
{
    return &self->slots[index % RING_SLOTS];
}

/* Has any command failed so far?  Noticed before more is read for it. */
static int
ring_check(struct image_nbd *self, const char *action, struct error *err)
{
    for (unsigned i = 0; i < RING_SLOTS; i++)
        if (nbd_slot_check(&self->slots[i], action, err) == -1)
            return -1;
    return 0;
}

static int
ring_drain(struct image_nbd *self, const char *action, struct error *err)
{
    for (unsigned i = 0; i < RING_SLOTS; i++)
        if (nbd_slot_wait(&self->slots[i], action, err) == -1)
            return -1;
    return 0;
}

static uint64_t
round_down(uint64_t value, uint64_t block)
{
    return value - value % block;
}

/* The end of the command from start on: one chunk, or the last block that
 * [.., end) touches. */
static uint64_t
command_end(const struct image_nbd *self, uint64_t start, uint64_t end)
{
    const uint64_t block = self->base.block;
    const uint64_t last = round_down(end - 1, block) + block;

    return span_min(self->base.size, span_min(start + self->chunk, last));
}

/* Reads are widened to the server's block size; only what was asked for is
 * pushed. */
static int
nbd_send(struct image *im, uint64_t offset, uint64_t length, struct sink *sink,
         struct error *err)
{
    struct image_nbd *self = from_base(im);
    const uint64_t end = offset + length;
    uint64_t ask = round_down(offset, im->block); /* next to read */
    uint64_t at = offset;                         /* next to push */
    unsigned head = 0, tail = 0;

    while (at < end) {
        struct nbd_slot *slot = ring_slot(self, tail);
        short blocked = 0;

        if (ask < end && slot->state == NBD_SLOT_FREE) {
            const uint64_t stop = command_end(self, ask, end);

            if (nbd_slot_read(slot, slot->data, ask, stop - ask, err) == -1)
                return -1;
            ask = stop;
            tail++;
            continue;
        }
        slot = ring_slot(self, head);
        if (slot->state == NBD_SLOT_DONE) {
            const uint64_t stop = span_min(slot->offset + slot->length, end);
            ssize_t taken;

            if (nbd_slot_check(slot, "read", err) == -1)
                return -1;
            taken = sink->push(sink, slot->data + (at - slot->offset),
                               (size_t)(stop - at), err);
            if (taken == -1)
                return -1;
            at += (uint64_t)taken;
            if (at == stop) {
                slot->state = NBD_SLOT_FREE;
                head++;
                continue;
            }
            blocked = POLLOUT;
        }
        if (nbd_conn_step(&self->conn, sink->fd, blocked, err) == -1)
            return -1;
    }
    return 0;
}

/* Fills [from, to) of the slot's buffer; commands in flight go on meanwhile. */
static int
slot_fill(struct image_nbd *self, struct nbd_slot *slot, size_t from, size_t to,
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
        if (nbd_conn_step(&self->conn, source->fd, POLLIN, err) == -1 ||
            ring_check(self, "write", err) == -1)
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

static int
nbd_receive(struct image *im, uint64_t offset, uint64_t length,
            struct source *source, struct error *err)
{
    struct image_nbd *self = from_base(im);
    const uint64_t end = offset + length;
    uint64_t start = round_down(offset, im->block);

    for (unsigned tail = 0; start < end; tail++) {
        struct nbd_slot *slot = ring_slot(self, tail);
        const uint64_t stop = command_end(self, start, end);
        const uint64_t from = start < offset ? offset : start;
        const uint64_t to = span_min(stop, end);

        if (nbd_slot_wait(slot, "write", err) == -1)
            return -1;
        if (from > start &&
            slot_read_edge(slot, start, start, im->block, err) == -1)
            return -1;
        if (to < stop &&
            slot_read_edge(slot, start, stop - im->block, im->block, err) == -1)
            return -1;
        if (slot_fill(self, slot, (size_t)(from - start), (size_t)(to - start),
                      source, err) == -1)
            return -1;
        if (nbd_slot_write(slot, start, stop - start, err) == -1)
            return -1;
        start = stop;
    }
    return ring_drain(self, "write", err);
}

static int
nbd_zero_range(struct image *im, uint64_t offset, uint64_t length,
               struct error *err)
{
    struct image_nbd *self = from_base(im);

    for (unsigned tail = 0; length > 0; tail++) {
        struct nbd_slot *slot = ring_slot(self, tail);
        const uint64_t count = span_min(length, ZERO_COMMAND_MAX);
        nbd_completion_callback done;

        if (nbd_slot_wait(slot, "zero", err) == -1)
            return -1;
        done = nbd_slot_begin(slot, offset, count);
        if (nbd_slot_issued(
                slot, nbd_aio_zero(self->conn.nbd, count, offset, done, 0),
                "zero", err) == -1)
            return -1;
        offset += count;
        length -= count;
    }
    return ring_drain(self, "zero", err);
}

static int
nbd_flush_all(struct image *im, struct error *err)
{
    struct image_nbd *self = from_base(im);
    struct nbd_slot *slot = ring_slot(self, 0);
    const nbd_completion_callback done = nbd_slot_begin(slot, 0, 0);

    if (nbd_slot_issued(slot, nbd_aio_flush(self->conn.nbd, done, 0), "flush",
                        err) == -1)
        return -1;
    return nbd_slot_wait(slot, "flush", err);
}

static int
nbd_extents(struct image *im, struct extents *x, struct error *err)
{
    struct image_nbd *self = from_base(im);
    const struct nbd_map map = {
        .dirty_context = im->has_bitmap ? self->dirty_context : NULL,
        .buffer = self->buffer,
        .buffer_size = self->buffer_size,
    };

    return nbd_map_step(&map, ring_slot(self, 0), x, err);
}

static void
nbd_close_image(struct image *im)
{
    struct image_nbd *self = from_base(im);

    if (self->conn.nbd != NULL)
        nbd_conn_close(&self->conn);
    free(self->dirty_context);
    free(self);
}

static const struct image_ops nbd_ops = {
    .send = nbd_send,
    .receive = nbd_receive,
    .zero = nbd_zero_range,
    .flush = nbd_flush_all,
    .extents = nbd_extents,
    .close = nbd_close_image,
};

/* Learns the export's size, abilities and limits. */
static int
examine(struct image_nbd *self, struct error *err)
{
    struct nbd_handle *nbd = self->conn.nbd;
    const int64_t size = nbd_get_size(nbd);
    const int64_t block = nbd_get_block_size(nbd, LIBNBD_SIZE_MINIMUM);
    const int64_t payload = nbd_get_block_size(nbd, LIBNBD_SIZE_MAXIMUM);

    if (size == -1 || block == -1 || payload == -1)
        return nbd_conn_error(&self->conn, "examine", err);
    self->base.size = (uint64_t)size;
    self->base.block = block > 0 ? (uint32_t)block : 1;
    self->chunk = self->buffer_size / RING_SLOTS;
    if (payload > 0)
        self->chunk = (size_t)span_min(self->chunk, (uint64_t)payload);
    self->chunk -= self->chunk % self->base.block;
    /* The tail of such an export can be neither read nor written. */
    if (self->chunk == 0 || self->base.size % self->base.block != 0)
        return error_set(err, 500,
                         "nbd %s: %" PRId64 " bytes in blocks of %" PRId64,
                         self->conn.socket, size, block);
    self->base.read_only = nbd_is_read_only(nbd) != 0;
    self->base.can_flush = nbd_can_flush(nbd) == 1;
    self->base.can_zero = nbd_can_zero(nbd) == 1;
    self->base.has_bitmap = self->dirty_context != NULL &&
                            nbd_can_meta_context(nbd, self->dirty_context) == 1;
    return 0;
}

int
image_nbd_open(struct image **ret, const struct image_ref *ref,
               enum image_use use, const struct image_env *env,
               struct error *err)
{
    const bool with_dirty = use == IMAGE_USE_MAP_DIRTY;
    const bool with_map = with_dirty || use == IMAGE_USE_MAP;
    struct image_nbd *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return error_errno(err, 500, "open nbd %s", ref->socket);
    self->base.ops = &nbd_ops;
    self->buffer = env->buffer;
    self->buffer_size = env->buffer_size;
    for (unsigned i = 0; i < RING_SLOTS; i++) {
        self->slots[i].conn = &self->conn;
        self->slots[i].data = env->buffer + i * (env->buffer_size / RING_SLOTS);
    }
    if (with_dirty && ref->bitmap != NULL &&
        asprintf(&self->dirty_context, BITMAP_CONTEXT "%s", ref->bitmap) ==
            -1) {
        self->dirty_context = NULL;
        error_errno(err, 500, "open nbd %s", ref->socket);
        goto fail;
    }
    if (nbd_conn_open(&self->conn, ref, env, with_map, self->dirty_context,
                      err) == -1 ||
        examine(self, err) == -1)
        goto fail;
    *ret = &self->base;
    return 0;
fail:
    nbd_close_image(&self->base);
    return -1;
}

uint64_t
image_nbd_key(const struct image_ref *ref)
{
    char *real = realpath(ref->socket, NULL);
    const char *socket = real != NULL ? real : ref->socket;
    const char *export = ref->export != NULL ? ref->export : "";
    uint64_t hash = hash_bytes(HASH_START, "nbd", sizeof("nbd"));

    hash = hash_bytes(hash, socket, strlen(socket) + 1);
    hash = hash_bytes(hash, export, strlen(export) + 1);
    free(real);
    return hash;
}
