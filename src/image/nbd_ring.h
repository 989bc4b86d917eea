/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of asynchronous commands over the worker's buffer, so that the NBD
 * server, its socket and the wire work at the same time while bytes stay in
 * order.  Reads may use a second connection.  One thread.
 */
#ifndef IMAGE_NBD_RING_H
#define IMAGE_NBD_RING_H

#include <stddef.h>
#include <stdint.h>

#include "image/nbd_slot.h"

struct error;
struct image_env;
struct sink;
struct source;

#define NBD_RING_SLOTS 4
/* The end of the worker's buffer, for the answers of block status. */
#define NBD_RING_MAP_BYTES ((size_t)64 << 10)

struct nbd_ring {
    struct nbd_conn *conn; /* lent */
    struct nbd_conn *more; /* second one, perhaps still greeting; or NULL */
    struct nbd_slot slots[NBD_RING_SLOTS];
    unsigned char *map_buffer; /* NBD_RING_MAP_BYTES, lent */
    uint64_t size;             /* of the export, bytes */
    uint64_t block;            /* bytes; commands are multiples of it */
    size_t chunk;              /* longest command with data, bytes */
    size_t payload;            /* longest that the server takes, bytes */
};

/* Lends it env's buffer; conn, size and limits are the caller's to set. */
void nbd_ring_init(struct nbd_ring *ring, const struct image_env *env);

/* All slots free, whatever their commands: their connections are gone. */
void nbd_ring_reset(struct nbd_ring *ring);

struct nbd_slot *nbd_ring_slot(struct nbd_ring *ring, unsigned index);

/* The connection that the command of slot index should use. */
struct nbd_conn *nbd_ring_conn(struct nbd_ring *ring, unsigned index);

uint64_t nbd_ring_round_down(const struct nbd_ring *ring, uint64_t offset);

/* The end of the command from start on: chunk bytes, or the last block that
 * [.., end) touches. */
uint64_t nbd_ring_command_end(const struct nbd_ring *ring, size_t chunk,
                              uint64_t start, uint64_t end);

/* Waits as nbd_conn_step() does, for both connections. */
int nbd_ring_step(struct nbd_ring *ring, const struct nbd_wire *wire,
                  struct error *err);

/* Has any command failed so far?  Noticed before more is done for it. */
int nbd_ring_check(struct nbd_ring *ring, const char *action,
                   struct error *err);

/* Waits for all commands. */
int nbd_ring_drain(struct nbd_ring *ring, const char *action,
                   struct error *err);

/* Makes a qemu-nbd that was just started fast, ahead of a transfer of length
 * bytes from offset on, if that is long enough to be worth it.  Fails only if
 * the connection does. */
int nbd_ring_warm_up(struct nbd_ring *ring, uint64_t offset, uint64_t length,
                     struct error *err);

#endif
