/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies as source and sink. */
#include "server/body.h"

#include <assert.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/span.h"
#include "http/fcgi_io.h"
#include "server/config.h"
#include "server/exchange.h"

#define TAIL_BYTES 4096

static ssize_t
push(struct sink *sink, const void *data, size_t size, struct error *err)
{
    struct body_out *out = (struct body_out *)sink;
    struct exchange *x = out->x;
    ssize_t taken;

    if (!x->head_sent)
        exchange_begin(x, &out->head);
    /* The slot is held as long as a slow client can keep us, and given back
     * before it can see the end: the tail fits any socket. */
    if (out->left <= TAIL_BYTES)
        limits_release(&x->hold);
    else
        size = (size_t)span_min(size, out->left - TAIL_BYTES);
    taken = fcgi_io_push(x->io, data, size, err);
    if (taken > 0) {
        out->left -= (uint64_t)taken;
        exchange_moved(x, (uint64_t)taken);
    }
    return taken;
}

static ssize_t
push_file(struct sink *sink, int file_fd, uint64_t offset, size_t size,
          bool *is_stuck, struct error *err)
{
    struct body_out *out = (struct body_out *)sink;
    struct exchange *x = out->x;
    ssize_t taken;

    assert(size + TAIL_BYTES <= out->left);
    if (!x->head_sent)
        exchange_begin(x, &out->head);
    taken = fcgi_io_push_file(x->io, file_fd, offset, size, is_stuck, err);
    if (taken > 0) {
        out->left -= (uint64_t)taken;
        exchange_moved(x, (uint64_t)taken);
    }
    return taken;
}

void
body_out_init(struct body_out *out, struct exchange *x,
              const struct response *head)
{
    *out = (struct body_out){
        .sink = {.push = push,
                 .push_file = fcgi_io_likes_files(x->io) ? push_file : NULL,
                 .fd = x->io->fd},
        .x = x,
        .head = *head,
        .left = head->length,
    };
}

static uint64_t
patience_us(const struct exchange *x)
{
    return x->config->client_timeout_s * UINT64_C(1000000);
}

static ssize_t
pull(struct source *source, void *data, size_t size, struct error *err)
{
    struct body_in *in = (struct body_in *)source;
    struct exchange *x = in->x;
    const size_t room = (size_t)span_min(size, in->left);
    const ssize_t got = fcgi_io_pull(x->io, data, room, err);
    const uint64_t now_us = clock_us();

    /* RFC 9110 15.5.9.  What had come by then was pulled before. */
    if (got == 0 && !x->io->in_ended && now_us >= source->deadline_us)
        return error_set(err, 408,
                         "no byte of the request body for %u s, at %" PRIu64
                         " bytes",
                         x->config->client_timeout_s, x->bytes);
    if (got == 0 && x->io->in_ended)
        return error_set(err, 400,
                         "request body ended early at %" PRIu64 " bytes",
                         x->bytes);
    if (got > 0) {
        source->deadline_us = now_us + patience_us(x);
        in->left -= (uint64_t)got;
        exchange_moved(x, (uint64_t)got);
    }
    return got;
}

void
body_in_init(struct body_in *in, struct exchange *x, uint64_t length)
{
    *in = (struct body_in){
        .source = {.pull = pull,
                   .fd = x->io->fd,
                   .deadline_us = clock_us() + patience_us(x)},
        .x = x,
        .left = length,
    };
}
