/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging block status into one exact list: from 0 to the image's size, no gap,
 * no overlap, neighbours differ, whatever an NBD server answers.  What no
 * answer covers is dirty and not zero.  Pure: no I/O, no allocation.
 */
#ifndef IMAGE_EXTENTS_H
#define IMAGE_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct extent {
    uint64_t start;  /* bytes */
    uint64_t length; /* bytes, never 0 */
    bool zero;       /* reads as zeroes */
    bool dirty;      /* always true where dirty areas are not asked for */
};

/* Gets each finished extent, in order.  0, or -1 with err set, which ends the
 * walk. */
typedef int extents_emit(void *opaque, const struct extent *extent,
                         struct error *err);

/* One descriptor of a block status reply (NBD protocol, "Metadata querying"):
 * the flags are those of its context. */
struct extents_entry {
    uint64_t length; /* bytes */
    uint64_t flags;
};
#define EXTENTS_FLAG_ZERO 2u  /* base:allocation: NBD_STATE_ZERO; a hole (1)
                                 without it is data */
#define EXTENTS_FLAG_DIRTY 1u /* qemu:dirty-bitmap: NBD_STATE_DIRTY */

/* What one context said from the current position on; count 0: nothing. */
struct extents_reply {
    const struct extents_entry *entries; /* lent */
    size_t count;
};

struct extents {
    uint64_t size;     /* of the image, bytes */
    uint64_t position; /* all before is merged; ask the server from here */
    bool has_pending;
    struct extent pending; /* not emitted: its neighbour may be equal */
    extents_emit *emit;
    void *opaque;
};

void extents_init(struct extents *x, uint64_t size, extents_emit *emit,
                  void *opaque);

/* Takes the replies for x->position; a NULL reply is a context that was not
 * granted: not zero, or dirty.  A context that said nothing (count 0) while the
 * other did is unknown there.  Advances position by what all contexts that said
 * something cover, cut to size; an entry past what was asked counts as far as
 * the image goes.  Zero-length entries are passed over.  Fails with 500 if
 * nothing was covered, so that a walk always ends. */
int extents_add(struct extents *x, const struct extents_reply *zero,
                const struct extents_reply *dirty, struct error *err);

/* Adds length bytes (at most what is left) of one kind from position on. */
int extents_add_run(struct extents *x, uint64_t length, bool zero, bool dirty,
                    struct error *err);

/* Emits what is pending; position must be size. */
int extents_end(struct extents *x, struct error *err);

#endif
