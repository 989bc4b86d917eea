/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one file whose bytes are locks: run-dir/locks, shared by all threads and
 * processes of a server.  A holder has an open file description of its own
 * (OFD locks, fcntl(2)): those of one description do not exclude each other,
 * and the kernel frees them when its descriptor goes, whatever way the holder
 * ends.  Keeps nothing; usable from every thread.
 */
#ifndef TICKET_LOCK_FILE_H
#define TICKET_LOCK_FILE_H

#include <stdbool.h>
#include <stdint.h>

struct error;

/* What the bytes stand for; areas do not overlap.  Where the index is a hash, a
 * collision costs a needless wait or refusal, never a missing one. */
enum lock_area {
    LOCK_READERS,     /* server's reader slots; index: slot */
    LOCK_WRITERS,     /* its writer slots; index: slot */
    LOCK_IMAGES,      /* index: image_key() */
    LOCK_IMAGE_SLOTS, /* slots of one image; index: hash of image and kind, and
                         the slot added */
    LOCK_BLOCKS,      /* blocks of an image; index: hash of the image, halved,
                         and the block added */
    LOCK_GATES,       /* whose turn it is to wait; index: byte waited for */
    LOCK_REQUESTS,    /* requests that run; index: hash of the ticket's id */
    LOCK_TRANSFERS,   /* those that were let in; index: the same */
    LOCK_PROBE,       /* to try whether locks work */
};

/* The byte of an index, which is taken modulo the area's size. */
uint64_t lock_byte(enum lock_area area, uint64_t index);

/* A new description of the file, which is made (0600) if it is missing; the
 * caller's to close.  -1: 500. */
int lock_file_open(const char *run_dir, struct error *err);

/* The same, but where it is missing it is not made: -1 with errno ENOENT. */
int lock_file_find(const char *run_dir, struct error *err);

/* Locks a byte without waiting.  1: it is ours (again); 0: somebody else has
 * it; -1: 500. */
int lock_try(int fd, uint64_t byte, bool shared, struct error *err);
int lock_try_range(int fd, uint64_t byte, uint64_t count, bool shared,
                   struct error *err); /* all of them, or none */
void lock_drop(int fd, uint64_t byte);

/* Gives back all of this description, but for those of LOCK_REQUESTS and
 * LOCK_TRANSFERS. */
void lock_drop_limits(int fd);

/* Has another description the byte, shared or not?  1, 0, or -1: 500. */
int lock_is_held(int fd, uint64_t byte, struct error *err);

#endif
