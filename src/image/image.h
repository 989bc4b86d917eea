/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image, open for one request: what every backend can do, behind wrappers
 * that own bounds and fallbacks.  Callers never touch ->ops.  One thread.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image_ref.h"

struct error;
struct extents;
struct image;
struct sink;
struct source;

/* What a request means to do; it decides how the image is opened. */
enum image_use {
    IMAGE_USE_PROBE, /* read size and abilities; HEAD and OPTIONS */
    IMAGE_USE_READ,
    IMAGE_USE_WRITE,
    IMAGE_USE_FLUSH,
    IMAGE_USE_MAP,       /* extents */
    IMAGE_USE_MAP_DIRTY, /* and the dirty bitmap, if the ticket names one */
};

/* What a worker lends to the images that it opens. */
struct image_env {
    unsigned char *buffer; /* not shared with anyone while the image is open */
    size_t buffer_size;    /* bytes, IMAGE_BUFFER_SIZE */
    int timeout_ms;        /* longest time without progress of a backend */
    int client_fd;         /* its POLLRDHUP ends a wait for the backend; -1 */
};
/* Four pieces of 1 MiB, and room for an NBD server's block status. */
#define IMAGE_BUFFER_SIZE (((size_t)4 << 20) + ((size_t)64 << 10))

struct image_ops {
    /* [offset, offset + length) goes to sink, in order. */
    int (*send)(struct image *im, uint64_t offset, uint64_t length,
                struct sink *sink, struct error *err);

    /* length bytes of source are written at offset.  NULL: the backend has no
     * range writes. */
    int (*receive)(struct image *im, uint64_t offset, uint64_t length,
                   struct source *source, struct error *err);

    /* The image becomes length bytes of source, all or nothing.  NULL: it has
     * a fixed size, and image_replace() uses receive. */
    int (*replace)(struct image *im, uint64_t length, struct source *source,
                   bool flush, struct error *err);

    /* NULL, or im->can_zero false: image_zero() writes zeroes instead. */
    int (*zero)(struct image *im, uint64_t offset, uint64_t length,
                struct error *err);

    int (*flush)(struct image *im, struct error *err);

    /* Feeds x with what one answer of the server brings from x->position on.
     * NULL: the backend knows no extents. */
    int (*extents)(struct image *im, struct extents *x, struct error *err);

    void (*close)(struct image *im); /* frees im; does not flush */
};

struct image {
    const struct image_ops *ops;
    uint64_t size;   /* bytes */
    bool read_only;  /* the backend's word; the ticket may say so too */
    bool can_flush;
    bool can_zero;
    /* Bytes; ops->zero takes multiples of it only, and a write of half a one
     * reads the other half first. */
    uint32_t block;
    bool has_bitmap; /* the dirty bitmap that was asked for is there */
    bool is_file;    /* a regular one, which others could send as well */
    bool is_missing; /* a file that is still to be made */
    /* Another number for each content that a regular file has had, or for each
     * server that an export has had; 0: not known. */
    uint64_t version;
    int64_t modified_s; /* Unix time: a file's last change, or the server's
                           beginning */
    bool is_date_strong; /* nothing but its content has changed since */
};

/* The number that stands for the image in locks: equal for two references to
 * one image, different for two images but for a hash collision.  It may change
 * when a file is replaced or made: compare it again once a lock is held. */
uint64_t image_key(const struct image_ref *ref);

/* *ret is the caller's to close.  500: cannot be reached or opened; 504: it
 * made no progress for env->timeout_ms. */
int image_open(struct image **ret, const struct image_ref *ref,
               enum image_use use, const struct image_env *env,
               struct error *err);
void image_close(struct image *im); /* NULL is allowed */

/* Bytes of the image, which must lie within its size. */
int image_send(struct image *im, uint64_t offset, uint64_t length,
               struct sink *sink, struct error *err);
int image_receive(struct image *im, uint64_t offset, uint64_t length,
                  struct source *source, struct error *err);
int image_zero(struct image *im, uint64_t offset, uint64_t length,
               struct error *err);

/* The whole image becomes length bytes; 400 if it has a fixed size that is
 * another.  flush: durable before it returns. */
int image_replace(struct image *im, uint64_t length, struct source *source,
                  bool flush, struct error *err);

/* 400 if the image cannot be flushed; nothing is done then. */
int image_check_flush(const struct image *im, struct error *err);
int image_flush(struct image *im, struct error *err);

/* One step from x->position, which is below size; the caller goes on until it
 * is there.  A server that knows no extents has one, of data. */
int image_extents(struct image *im, struct extents *x, struct error *err);

#endif
