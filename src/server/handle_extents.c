/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET and HEAD of …/extents: the list is written as it is found.  A short one
 * goes out whole, with its length; a long or slow one piece by piece.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "http/fcgi_io.h"
#include "http/query.h"
#include "image/extents.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "ticket/ticket.h"

#define EXTENT_MAX_BYTES 128 /* the longest in JSON has 96 */
#define PIECE_US 500000      /* a client hears from us that often */

struct listing {
    struct exchange *x;
    bool with_dirty;
    size_t used;           /* bytes of x->text that are not sent */
    const char *separator; /* what to write before the next extent */
    uint64_t sent_us;      /* when a piece went out last */
};

/* Opens the list, if that was not done. */
static void
begin(struct listing *listing)
{
    if (*listing->separator != '[')
        return;
    listing->x->text[listing->used++] = '[';
    listing->separator = "";
}

/* Sends what there is; the first piece is preceded by the head. */
static int
send_piece(struct listing *listing, struct error *err)
{
    const struct response head = {.status = 200, .type = RESPONSE_JSON};
    struct exchange *x = listing->x;
    const size_t length = listing->used;

    listing->sent_us = clock_us();
    listing->used = 0;
    if (!x->head_sent)
        exchange_begin(x, &head);
    return fcgi_io_send(x->io, x->text, length, err);
}

static const char *
word(bool value)
{
    return value ? "true" : "false";
}

static int
emit(void *opaque, const struct extent *extent, struct error *err)
{
    struct listing *listing = opaque;
    char *at = listing->x->text + listing->used;
    const size_t room = EXCHANGE_TEXT_SIZE - listing->used;
    int length;

    length = snprintf(at, room, "%s{\"start\":%" PRIu64 ",\"length\":%" PRIu64,
                      listing->separator, extent->start, extent->length);
    if (listing->with_dirty)
        length += snprintf(at + length, room - (size_t)length, ",\"dirty\":%s",
                           word(extent->dirty));
    length += snprintf(at + length, room - (size_t)length, ",\"zero\":%s}",
                       word(extent->zero));
    listing->used += (size_t)length;
    listing->separator = ",";
    if (EXCHANGE_TEXT_SIZE - listing->used < EXTENT_MAX_BYTES)
        return send_piece(listing, err);
    return 0;
}

/* Ends the list.  If nothing was sent yet, it goes out with its length. */
static int
finish(struct listing *listing, struct error *err)
{
    struct exchange *x = listing->x;
    struct response whole = {.status = 200};

    begin(listing);
    memcpy(x->text + listing->used, "]", sizeof("]"));
    listing->used++;
    if (!x->head_sent)
        return exchange_answer(x, &whole, x->text, err);
    exchange_release(x);
    return send_piece(listing, err);
}

static bool
wants_dirty(const struct request *request)
{
    char context[8];

    return query_get(request->query, "context", context, sizeof(context)) &&
           strcmp(context, "dirty") == 0;
}

int
handle_extents(struct exchange *x, struct error *err)
{
    struct listing listing = {
        .x = x,
        .with_dirty = wants_dirty(&x->request),
        .separator = "[",
        .sent_us = clock_us(),
    };
    struct extents extents;
    char id[LOG_ID_SIZE];

    if (exchange_lock_shared(x, err) == -1)
        return -1;
    exchange_begin_transfer(x, TRANSFER_EXTENTS);
    if (exchange_open(x,
                      listing.with_dirty ? IMAGE_USE_MAP_DIRTY : IMAGE_USE_MAP,
                      err) == -1)
        return -1;
    if (listing.with_dirty && !x->image->has_bitmap)
        log_warning("extents ticket=%s no dirty bitmap: all is dirty",
                    log_id(id, x->id));
    exchange_set_span(x, 0, x->image->size);
    extents_init(&extents, x->image->size, emit, &listing);
    while (extents.position < x->image->size) {
        if (image_extents(x->image, &extents, err) == -1)
            return -1;
        exchange_set_done(x, extents.position);
        if (request_is_head(&x->request)) {
            const struct response head = {.status = 200, .type = RESPONSE_JSON};

            exchange_release(x);
            return exchange_send_head(x, &head, err);
        }
        if (clock_us() - listing.sent_us < PIECE_US)
            continue;
        begin(&listing); /* not one extent may be complete by now */
        if (listing.used > 0 && send_piece(&listing, err) == -1)
            return -1;
    }
    if (extents_end(&extents, err) == -1)
        return -1;
    return finish(&listing, err);
}
