/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a source to an NBD export, with several writes in flight.  One thread.
 */
#ifndef IMAGE_NBD_WRITE_H
#define IMAGE_NBD_WRITE_H

#include <stdint.h>

struct error;
struct nbd_ring;
struct source;

/* Writes length bytes of source at offset, and waits until the server has
 * answered for all of them. */
int nbd_write(struct nbd_ring *ring, uint64_t offset, uint64_t length,
              struct source *source, struct error *err);

#endif
