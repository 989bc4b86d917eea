/* SPDX-License-Identifier: Apache-2.0 */
/* The wrappers around a backend's operations: bounds, abilities, fallbacks. */
#include "image/image.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/span.h"
#include "image/image_file.h"
#include "image/image_nbd.h"
#include "image/stream.h"

static ssize_t
zero_pull(struct source *source, void *data, size_t size, struct error *err)
{
    (void)source;
    (void)err;
    memset(data, 0, size);
    return (ssize_t)size;
}

uint64_t
image_key(const struct image_ref *ref)
{
    return ref->backend == IMAGE_NBD ? image_nbd_key(ref) : image_file_key(ref);
}

int
image_open(struct image **ret, const struct image_ref *ref, enum image_use use,
           const struct image_env *env, struct error *err)
{
    return ref->backend == IMAGE_NBD ? image_nbd_open(ret, ref, use, env, err)
                                     : image_file_open(ret, ref, use, env, err);
}

void
image_close(struct image *im)
{
    if (im != NULL)
        im->ops->close(im);
}

int
image_send(struct image *im, uint64_t offset, uint64_t length,
           struct sink *sink, struct error *err)
{
    assert(span_fits(offset, length, im->size));
    if (length == 0)
        return 0;
    return im->ops->send(im, offset, length, sink, err);
}

int
image_receive(struct image *im, uint64_t offset, uint64_t length,
              struct source *source, struct error *err)
{
    assert(!im->read_only && im->ops->receive != NULL);
    assert(span_fits(offset, length, im->size));
    if (length == 0)
        return 0;
    return im->ops->receive(im, offset, length, source, err);
}

int
image_zero(struct image *im, uint64_t offset, uint64_t length,
           struct error *err)
{
    struct source zeroes = {.pull = zero_pull, .fd = -1};
    uint64_t edge;

    assert(!im->read_only && span_fits(offset, length, im->size));
    if (im->ops->zero == NULL || !im->can_zero)
        return image_receive(im, offset, length, &zeroes, err);

    edge = span_min(length, (im->block - offset % im->block) % im->block);
    if (image_receive(im, offset, edge, &zeroes, err) == -1)
        return -1;
    offset += edge;
    length -= edge;
    edge = length % im->block;
    length -= edge;
    if (length > 0 && im->ops->zero(im, offset, length, err) == -1)
        return -1;
    return image_receive(im, offset + length, edge, &zeroes, err);
}

int
image_replace(struct image *im, uint64_t length, struct source *source,
              bool flush, struct error *err)
{
    assert(!im->read_only);
    if (im->ops->replace != NULL)
        return im->ops->replace(im, length, source, flush, err);
    if (length != im->size)
        return error_set(err, 400,
                         "Content-Length (%" PRIu64
                         ") must equal image size (%" PRIu64 ")",
                         length, im->size);
    if (image_receive(im, 0, length, source, err) == -1)
        return -1;
    return flush ? image_flush(im, err) : 0;
}

int
image_check_flush(const struct image *im, struct error *err)
{
    if (!im->can_flush)
        return error_set(err, 400, "flush not supported by this image");
    return 0;
}

int
image_flush(struct image *im, struct error *err)
{
    if (image_check_flush(im, err) == -1)
        return -1;
    return im->ops->flush(im, err);
}

int
image_extents(struct image *im, struct extents *x, struct error *err)
{
    assert(im->ops->extents != NULL);
    return im->ops->extents(im, x, err);
}
