/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies as source and sink. */
#include "server/body.h"

#include <inttypes.h>

#include "base/error.h"
#include "base/span.h"
#include "http/fcgi_io.h"
#include "server/exchange.h"

#define TAIL_BYTES 4096

static ssize_t
push(struct sink *sink, const void *data, size_t size, struct error *err)
{
    struct body_out *out = (struct body_out *)sink;
    struct exchange *x = out->x;
    ssize_t taken;

    if (!x->head_sent && exchange_send_head(x, &out->head, err) == -1)
        return -1;
    /* The slot is held as long as a slow client can keep us, and given back
     * before it can see the end: the tail fits any socket. */
    if (out->left <= TAIL_BYTES)
        limits_release(&x->hold);
    else
        size = (size_t)span_min(size, out->left - TAIL_BYTES);
    taken = fcgi_io_push(x->io, data, size, err);
    if (taken > 0) {
        out->left -= (uint64_t)taken;
        x->bytes += (uint64_t)taken;
    }
    return taken;
}

void
body_out_init(struct body_out *out, struct exchange *x,
              const struct response *head)
{
    *out = (struct body_out){
        .sink = {.push = push, .fd = x->io->fd},
        .x = x,
        .head = *head,
        .left = head->length,
    };
}

static ssize_t
pull(struct source *source, void *data, size_t size, struct error *err)
{
    struct body_in *in = (struct body_in *)source;
    struct exchange *x = in->x;
    const size_t room = (size_t)span_min(size, in->left);
    const ssize_t got = fcgi_io_pull(x->io, data, room, err);

    if (got == 0 && x->io->in_ended)
        return error_set(err, 400,
                         "request body ended early at %" PRIu64 " bytes",
                         x->bytes);
    if (got > 0) {
        in->left -= (uint64_t)got;
        x->bytes += (uint64_t)got;
    }
    return got;
}

void
body_in_init(struct body_in *in, struct exchange *x, uint64_t length)
{
    *in = (struct body_in){
        .source = {.pull = pull, .fd = x->io->fd},
        .x = x,
        .left = length,
    };
}
