/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an NBD export to a sink, in order, with several reads in flight.  Areas
 * that the server knows to read as zeroes are not read.  One thread.
 */
#ifndef IMAGE_NBD_READ_H
#define IMAGE_NBD_READ_H

#include <stdint.h>

struct error;
struct nbd_ring;
struct sink;

/* Pushes [offset, offset + length).  *pushed, which starts at 0, tells how many
 * bytes went out, also on failure. */
int nbd_read(struct nbd_ring *ring, uint64_t offset, uint64_t length,
             struct sink *sink, uint64_t *pushed, struct error *err);

#endif
