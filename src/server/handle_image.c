/* SPDX-License-Identifier: Apache-2.0 */
/* GET, HEAD and PUT of an image. */
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "http/query.h"
#include "http/range.h"
#include "server/body.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "ticket/ticket.h"

int
handle_get(struct exchange *x, struct error *err)
{
    const struct request *request = &x->request;
    const bool is_head = request_is_head(request);
    struct response head = {.status = 200, .type = RESPONSE_BINARY};
    struct range range;
    struct body_out body;
    uint64_t offset = 0, length;

    if (request->range != NULL &&
        range_parse(&range, request->range, err) == -1)
        return -1;
    if (!is_head && limits_take_reader(&x->hold, &x->config->limits, err) == -1)
        return -1;
    if (exchange_open(x, is_head ? IMAGE_USE_PROBE : IMAGE_USE_READ, err) == -1)
        return -1;
    length = x->image->size;
    if (request->range != NULL) {
        if (range_resolve(&range, x->image->size, &offset, &length, err) == -1)
            return -1;
        head.status = 206;
        head.first = offset;
        head.size = x->image->size;
    }
    head.has_length = true;
    head.length = length;
    x->offset = offset;
    if (is_head || length == 0) {
        exchange_release(x);
        return exchange_send_head(x, &head, err);
    }
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
    x->offset = range->first;
    body_in_init(&body, x, length);
    return image_receive(x->image, range->first, length, &body.source, err);
}

static int
put_whole(struct exchange *x, uint64_t length, bool flush, struct error *err)
{
    struct body_in body;

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
    if (exchange_lock_exclusive(x, err) == -1 ||
        exchange_open(x, IMAGE_USE_WRITE, err) == -1)
        return -1;
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
