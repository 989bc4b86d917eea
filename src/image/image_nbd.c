/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nbd backend: what an export can do, over a connection from the pool.
 * Bytes go through nbd_read.c and nbd_write.c.  One thread an image.
 */
#include "image/image_nbd.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/readfile.h"
#include "base/span.h"
#include "image/image_root.h"
#include "image/nbd_map.h"
#include "image/nbd_pool.h"
#include "image/nbd_read.h"
#include "image/nbd_ring.h"
#include "image/nbd_write.h"

/* A zero command carries no data, but a server may have to write every byte
 * of it before it answers: small enough for --backend-timeout. */
#define ZERO_COMMAND_MAX ((uint64_t)128 << 20)
#define PAYLOAD_USUAL                                                     \
    ((int64_t)32 << 20)               /* NBD protocol, "Size constraints" \
                                       */
#define MORE_MIN ((uint64_t)64 << 20) /* a read worth a second connection */

struct image_nbd {
    struct image base;           /* first, and holds ->ops and ->size (bytes) */
    const struct image_ref *ref; /* lent by the ticket */
    struct image_env env;
    struct nbd_ring ring; /* ring.conn and ring.more are the pool's */
    bool with_dirty;      /* the bitmap was asked for */
};

static struct image_nbd *
from_base(struct image *im)
{
    return (struct image_nbd *)im;
}

/* Learns the export's size, abilities and limits. */
static int
examine(struct image_nbd *self, struct error *err)
{
    struct nbd_conn *conn = self->ring.conn;
    const int64_t size = nbd_get_size(conn->nbd);
    const int64_t block = nbd_get_block_size(conn->nbd, LIBNBD_SIZE_MINIMUM);
    const int64_t payload = nbd_get_block_size(conn->nbd, LIBNBD_SIZE_MAXIMUM);
    struct nbd_ring *ring = &self->ring;
    struct image *im = &self->base;

    if (size == -1 || block == -1 || payload == -1)
        return nbd_conn_error(conn, "examine", err);
    im->size = ring->size = (uint64_t)size;
    im->block = block > 0 ? (uint32_t)block : 1;
    ring->block = im->block;
    ring->payload = (size_t)(payload > 0 ? payload : PAYLOAD_USUAL);
    ring->chunk = (size_t)span_min(ring->chunk, ring->payload);
    ring->chunk -= ring->chunk % ring->block;
    /* The tail of such an export can be neither read nor written. */
    if (ring->chunk == 0 || im->size % im->block != 0)
        return error_set(err, 500,
                         "nbd %s: %" PRId64 " bytes in blocks of %" PRId64
                         ": the last one is not whole, or they are too large",
                         conn->server, size, block);
    im->read_only = nbd_is_read_only(conn->nbd) != 0;
    im->can_flush = nbd_can_flush(conn->nbd) == 1;
    im->can_zero = nbd_can_zero(conn->nbd) == 1;
    im->has_bitmap = self->with_dirty && conn->dirty_context != NULL &&
                     nbd_can_meta_context(conn->nbd, conn->dirty_context) == 1;
    return 0;
}

/* Whoever restarts a server binds another file to the same path. */
static uint64_t
server_version(const struct image_ref *ref, int64_t *since_s)
{
    struct stat st;

    *since_s = 0;
    if (ref->uri != NULL || image_root_stat(ref->socket, &st) == -1)
        return 0;
    *since_s = st.st_ctim.tv_sec;
    return readfile_version(&st);
}

/* The client may have been told which image it is, and must not be given the
 * bytes of another one.  (Of one that can be written it is told nothing.) */
static int
check_server(const struct image_nbd *self, struct error *err)
{
    int64_t since_s;

    if ((self->base.read_only || self->ref->is_constant) &&
        server_version(self->ref, &since_s) != self->base.version)
        return error_set(err, 500, "nbd %s: another server is there now",
                         image_ref_server(self->ref));
    return 0;
}

/* The connection was a kept one that had died: goes on with a new one, once.
 * Nothing of the request may have been answered yet. */
static int
revive(struct image_nbd *self, struct error *err)
{
    const struct image was = self->base;

    nbd_pool_give(self->ring.conn);
    self->ring.conn = NULL;
    nbd_ring_reset(&self->ring);
    if (nbd_pool_take_fresh(&self->ring.conn, self->ref, &self->env, err) ==
            -1 ||
        examine(self, err) == -1)
        return -1;
    /* What was decided by them must hold. */
    if (self->base.size != was.size || self->base.block != was.block ||
        self->base.read_only != was.read_only)
        return error_set(err, 500, "nbd %s: the export has changed",
                         image_ref_server(self->ref));
    return check_server(self, err);
}

/* Before what cannot be begun a second time: is a kept connection still good?
 * One block is read to find out. */
static int
prove(struct image_nbd *self, struct error *err)
{
    struct nbd_ring *ring = &self->ring;
    struct nbd_slot *slot = nbd_ring_slot(ring, 0);

    if (!ring->conn->is_kept || ring->conn->has_answered || ring->size == 0)
        return 0;
    slot->conn = ring->conn;
    if (nbd_slot_read(slot, slot->data, 0, ring->block, err) == 0 &&
        nbd_slot_wait(slot, "read", err) == 0)
        return 0;
    if (nbd_conn_is_stale(ring->conn))
        return revive(self, err);
    if (slot->state != NBD_SLOT_DONE)
        return -1;
    slot->state = NBD_SLOT_FREE; /* that block is bad, the connection is not */
    return 0;
}

static int
nbd_send(struct image *im, uint64_t offset, uint64_t length, struct sink *sink,
         struct error *err)
{
    struct image_nbd *self = from_base(im);
    struct nbd_ring *ring = &self->ring;
    uint64_t pushed = 0;
    int rc;

    rc = nbd_ring_warm_up(ring, offset, length, err);
    if (rc == -1)
        return -1;
    if (length >= MORE_MIN && nbd_can_multi_conn(ring->conn->nbd) == 1)
        ring->more = nbd_pool_start_more(self->ref, &self->env);
    rc = nbd_read(ring, offset, length, sink, &pushed, err);
    if (rc == -1 && pushed == 0 && nbd_conn_is_stale(ring->conn)) {
        nbd_pool_give(ring->more);
        ring->more = NULL;
        if (revive(self, err) == 0)
            rc = nbd_read(ring, offset, length, sink, &pushed, err);
    }
    return rc;
}

static int
nbd_receive(struct image *im, uint64_t offset, uint64_t length,
            struct source *source, struct error *err)
{
    struct image_nbd *self = from_base(im);

    if (prove(self, err) == -1 ||
        nbd_ring_warm_up(&self->ring, offset, length, err) == -1)
        return -1;
    return nbd_write(&self->ring, offset, length, source, err);
}

static int
nbd_zero_range(struct image *im, uint64_t offset, uint64_t length,
               struct error *err)
{
    struct image_nbd *self = from_base(im);

    if (prove(self, err) == -1)
        return -1;
    for (unsigned tail = 0; length > 0; tail++) {
        struct nbd_slot *slot = nbd_ring_slot(&self->ring, tail);
        const uint64_t count = span_min(length, ZERO_COMMAND_MAX);
        nbd_completion_callback done;

        if (nbd_slot_wait(slot, "zero", err) == -1)
            return -1;
        slot->conn = self->ring.conn;
        done = nbd_slot_begin(slot, COMMAND_ZERO, offset, count);
        if (nbd_slot_issued(
                slot, nbd_aio_zero(slot->conn->nbd, count, offset, done, 0),
                "zero", err) == -1)
            return -1;
        offset += count;
        length -= count;
    }
    return nbd_ring_drain(&self->ring, "zero", err);
}

static int
nbd_flush_all(struct image *im, struct error *err)
{
    struct image_nbd *self = from_base(im);
    struct nbd_slot *slot = nbd_ring_slot(&self->ring, 0);
    nbd_completion_callback done;

    if (prove(self, err) == -1)
        return -1;
    slot->conn = self->ring.conn;
    done = nbd_slot_begin(slot, COMMAND_FLUSH, 0, 0);
    if (nbd_slot_issued(slot, nbd_aio_flush(slot->conn->nbd, done, 0), "flush",
                        err) == -1)
        return -1;
    return nbd_slot_wait(slot, "flush", err);
}

static int
nbd_extents(struct image *im, struct extents *x, struct error *err)
{
    struct image_nbd *self = from_base(im);
    struct nbd_slot *slot = nbd_ring_slot(&self->ring, 0);
    struct nbd_map map = {
        .buffer = self->env.buffer,
        .buffer_size = self->env.buffer_size,
    };

    if (prove(self, err) == -1)
        return -1;
    slot->conn = self->ring.conn;
    if (im->has_bitmap)
        map.dirty_context = slot->conn->dirty_context;
    return nbd_map_step(&map, slot, x, err);
}

static void
nbd_close_image(struct image *im)
{
    struct image_nbd *self = from_base(im);

    /* The second one first: a server of a single client is waiting to greet
     * it. */
    nbd_pool_give(self->ring.more);
    nbd_pool_give(self->ring.conn);
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

int
image_nbd_open(struct image **ret, const struct image_ref *ref,
               enum image_use use, const struct image_env *env,
               struct error *err)
{
    struct image_nbd *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return error_errno(err, 500, "open nbd %s", image_ref_server(ref));
    self->base.ops = &nbd_ops;
    self->ref = ref;
    self->env = *env;
    self->with_dirty = use == IMAGE_USE_MAP_DIRTY;
    self->base.version = server_version(ref, &self->base.modified_s);
    self->base.is_date_strong = true;
    nbd_ring_init(&self->ring, env);
    if (nbd_pool_take(&self->ring.conn, ref, &self->env, err) == -1 ||
        examine(self, err) == -1 || check_server(self, err) == -1) {
        nbd_close_image(&self->base);
        return -1;
    }
    *ret = &self->base;
    return 0;
}

uint64_t
image_nbd_key(const struct image_ref *ref)
{
    const char *server = image_ref_server(ref);
    char *real = ref->uri == NULL ? realpath(server, NULL) : NULL;
    const char *export = ref->export != NULL ? ref->export : "";
    uint64_t hash = hash_bytes(HASH_START, "nbd", sizeof("nbd"));

    if (real != NULL)
        server = real;
    hash = hash_bytes(hash, server, strlen(server) + 1);
    hash = hash_bytes(hash, export, strlen(export) + 1);
    free(real);
    return hash;
}
