/* SPDX-License-Identifier: Apache-2.0 */
/* Block status of an NBD export, one command at a time.  One thread. */
#ifndef IMAGE_NBD_MAP_H
#define IMAGE_NBD_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct extents;
struct nbd_slot;

struct nbd_map {
    const char *dirty_context; /* NULL: not asked for or not granted; lent */
    void *buffer;              /* for the answer; lent */
    size_t buffer_size;        /* bytes */
};

/* Asks the slot's connection for the status from x->position on and feeds x
 * with the answer.  If it grants no context at all, the rest is one extent of
 * data. */
int nbd_map_step(const struct nbd_map *map, struct nbd_slot *slot,
                 struct extents *x, struct error *err);

#endif
