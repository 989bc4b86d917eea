/* SPDX-License-Identifier: Apache-2.0 */
/* GET, HEAD and PUT of an image. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "http/fcgi_io.h"
#include "http/query.h"
#include "http/range.h"
#include "server/body.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "ticket/ticket.h"

#define LONG_ANSWER ((uint64_t)1 << 20) /* bytes; worth a system call more */

/* Can the web server be trusted to understand the range as we do?  It reads
 * the header again, in signed numbers. */
static bool
is_plain(const struct range *range)
{
    return range->first <= INT64_MAX &&
           (!range->has_last || range->last <= INT64_MAX);
}

static int
answer_not_modified(struct exchange *x, struct error *err)
{
    const struct response head = {.status = 304, .validators = &x->validators};

    exchange_release(x);
    return exchange_send_head(x, &head, err);
}

int
handle_get(struct exchange *x, struct error *err)
{
    const struct request *request = &x->request;
    const bool is_head = request_is_head(request);
    struct response head = {.status = 200, .type = RESPONSE_BINARY};
    struct range range = {.has_last = false};
    char handoff[HANDOFF_LINE_SIZE];
    struct body_out body;
    uint64_t offset = 0, length;

    if (request->range != NULL &&
        range_parse(&range, request->range, err) == -1)
        return -1;
    if (!is_head && exchange_take_reader(x, err) == -1)
        return -1;
    if (exchange_open(x, is_head ? IMAGE_USE_PROBE : IMAGE_USE_READ, err) == -1)
        return -1;
    switch (conditions_check(request, &x->validators)) {
    case CONDITIONS_MET:
        break;
    case CONDITIONS_NOT_MODIFIED:
        return answer_not_modified(x, err);
    case CONDITIONS_FAILED:
        return exchange_fail_conditions(err);
    }
    head.validators = &x->validators;
    length = x->image->size;
    if (request->range != NULL &&
        conditions_want_range(request, &x->validators)) {
        if (range_resolve(&range, x->image->size, &offset, &length, err) == -1)
            return -1;
        head.status = 206;
        head.first = offset;
        head.size = x->image->size;
    }
    head.has_length = true;
    head.length = length;
    exchange_set_span(x, offset, length);
    if (is_head || length == 0) {
        exchange_release(x);
        return exchange_send_head(x, &head, err);
    }
    /* The web server would apply conditions once more, and by its own lights.
     */
    if (x->image->is_file && is_plain(&range) &&
        !conditions_are_there(request) &&
        x->ticket->idle_timeout_s == TICKET_FOREVER &&
        handoff_format(handoff, &x->config->handoff, x->ticket->image.file,
                       offset, length)) {
        head.extra = handoff;
        head.omits_ranges = x->config->handoff.kind == HANDOFF_NGINX;
        exchange_release(x);
        return exchange_send_head(x, &head, err);
    }
    if (length >= LONG_ANSWER)
        fcgi_io_set_room(x->io, x->ticket->image.backend == IMAGE_NBD);
    body_out_init(&body, x, &head);
    return image_send(x->image, offset, length, &body.sink, err);
}

static int
parse_flush(const struct request *request, bool *ret, struct error *err)
{
    char value[8] = "n";

    query_get(request->query, "flush", value, sizeof(value));
    *ret = strcmp(value, "y") == 0;
    if (!*ret && strcmp(value, "n") != 0)
        return error_set(err, 400, "invalid flush value; use y or n");
    return 0;
}

/* Writes the body into the part that Content-Range names. */
static int
put_part(struct exchange *x, const struct content_range *range, uint64_t length,
         struct error *err)
{
    struct body_in body;

    if (range->first >= x->image->size ||
        length > x->image->size - range->first)
        return error_range(err, x->image->size);
    if (exchange_own_blocks(x, range->first, length, err) == -1)
        return -1;
    exchange_set_span(x, range->first, length);
    body_in_init(&body, x, length);
    return image_receive(x->image, range->first, length, &body.source, err);
}

static int
put_whole(struct exchange *x, uint64_t length, bool flush, struct error *err)
{
    struct body_in body;

    exchange_set_span(x, 0, length);
    body_in_init(&body, x, length);
    return image_replace(x->image, length, &body.source, flush, err);
}

/* The length of the part: what the range says, and the body must agree. */
static int
check_part(const struct content_range *range, uint64_t length,
           struct error *err)
{
    const uint64_t last_index = range->last - range->first;

    if (length == 0)
        return error_set(err, 400, "Content-Length must be positive");
    if (range->has_last && length - 1 != last_index)
        return error_set(err, 400,
                         "Content-Length (%" PRIu64
                         ") must equal range length (%" PRIu64 ")",
                         length, span_min(last_index, UINT64_MAX - 1) + 1);
    return 0;
}

static int
answer_written(struct exchange *x, bool flushed, struct error *err)
{
    struct json *object = json_new_object();

    json_add_bool(object, "ok", true);
    json_add_number(object, "bytes_written", x->bytes);
    json_add_bool(object, "flushed", flushed);
    return exchange_answer_json(x, object, err);
}

int
handle_put(struct exchange *x, struct error *err)
{
    const struct request *request = &x->request;
    const bool is_part = request->content_range != NULL;
    struct content_range range;
    uint64_t length;
    bool flush;

    if (is_part && x->ticket->image.backend == IMAGE_FILE)
        return error_set(err, 400,
                         "Content-Range PUT not supported for file backend; "
                         "use full PUT");
    if (request->range != NULL)
        return error_set(err, 400,
                         "Range header not supported for PUT; "
                         "use Content-Range or PATCH");
    if (request_length(request, &length, err) == -1 ||
        parse_flush(request, &flush, err) == -1)
        return -1;
    if (is_part &&
        (content_range_parse(&range, request->content_range, err) == -1 ||
         check_part(&range, length, err) == -1))
        return -1;
    if (is_part) {
        if (exchange_begin_part(x, err) == -1)
            return -1;
    } else if (exchange_lock_exclusive(x, err) == -1 ||
               exchange_open(x, IMAGE_USE_WRITE, err) == -1) {
        return -1;
    }
    if (flush && image_check_flush(x->image, err) == -1)
        return -1;
    if (is_part) {
        if (put_part(x, &range, length, err) == -1)
            return -1;
        if (flush && image_flush(x->image, err) == -1)
            return -1;
    } else if (put_whole(x, length, flush, err) == -1) {
        return -1;
    }
    return answer_written(x, flush, err);
}
