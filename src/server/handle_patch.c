/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH of an image: bytes at a range, zero, flush. */
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "http/range.h"
#include "server/body.h"
#include "server/exchange.h"
#include "server/handle.h"

#define JSON_MAX_BYTES 65536
#define JSON_MAX_DEPTH 16

static_assert(JSON_MAX_BYTES <= EXCHANGE_TEXT_SIZE, "a command fits");

static int
patch_bytes(struct exchange *x, struct error *err)
{
    struct json *object;
    struct body_in body;
    struct range range;
    struct error why;
    uint64_t length, offset, span;

    if (range_parse(&range, x->request.range, &why) == -1)
        return error_set(err, why.status,
                         "%s: use bytes=FIRST-LAST, FIRST- or -COUNT",
                         why.text);
    if (request_length(&x->request, &length, err) == -1)
        return -1;
    if (length == 0)
        return error_set(err, 400, "Content-Length must be positive");
    if (exchange_lock_exclusive(x, err) == -1 ||
        exchange_open(x, IMAGE_USE_WRITE, err) == -1 ||
        range_resolve(&range, x->image->size, &offset, &span, err) == -1)
        return -1;
    if (length != span)
        return error_set(err, 400,
                         "Content-Length (%" PRIu64
                         ") must equal range length (%" PRIu64 ")",
                         length, span);
    x->offset = offset;
    body_in_init(&body, x, length);
    if (image_receive(x->image, offset, length, &body.source, err) == -1)
        return -1;
    object = json_new_object();
    json_add_bool(object, "ok", true);
    json_add_number(object, "bytes_written", length);
    return exchange_answer_json(x, object, err);
}

struct zero_command {
    uint64_t offset, length; /* bytes */
    bool flush;
};

static int
parse_zero(struct zero_command *ret, const struct json *object,
           struct error *err)
{
    bool is_negative = false;

    *ret = (struct zero_command){.offset = 0};
    if (json_get_number(object, "size", &ret->length, &is_negative) !=
        JSON_FOUND)
        return error_set(err, 400, "missing or invalid \"size\"");
    if (is_negative || ret->length == 0)
        return error_set(err, 400, "\"size\" must be positive");
    switch (json_get_number(object, "offset", &ret->offset, &is_negative)) {
    case JSON_FOUND:
        if (is_negative)
            return error_set(err, 400, "\"offset\" must be non-negative");
        break;
    case JSON_ABSENT:
        break;
    default:
        return error_set(err, 400, "invalid \"offset\"");
    }
    switch (json_get_bool(object, "flush", &ret->flush)) {
    case JSON_FOUND:
    case JSON_ABSENT:
        return 0;
    default:
        return error_set(err, 400, "\"flush\" must be a boolean");
    }
}

static int
patch_zero(struct exchange *x, const struct json *object, struct error *err)
{
    struct zero_command zero;

    if (parse_zero(&zero, object, err) == -1 ||
        exchange_lock_exclusive(x, err) == -1 ||
        exchange_open(x, IMAGE_USE_WRITE, err) == -1)
        return -1;
    if (zero.flush && image_check_flush(x->image, err) == -1)
        return -1;
    if (zero.offset >= x->image->size)
        return error_set(err, 400, "offset must be less than image size");
    zero.length = span_min(zero.length, x->image->size - zero.offset);
    x->offset = zero.offset;
    if (image_zero(x->image, zero.offset, zero.length, err) == -1)
        return -1;
    x->bytes = zero.length;
    if (zero.flush && image_flush(x->image, err) == -1)
        return -1;
    return exchange_answer_ok(x, err);
}

/* Reads the whole command into x->text. */
static int
read_command(struct exchange *x, size_t *length, struct error *err)
{
    struct body_in body;
    struct error why;
    uint64_t announced;

    if (request_length(&x->request, &announced, &why) == -1 || announced == 0 ||
        announced > JSON_MAX_BYTES)
        return error_set(err, 400, "Invalid Content-Length");
    *length = 0;
    body_in_init(&body, x, announced);
    while (body.left > 0) {
        const ssize_t got = source_pull_some(&body.source, x->text + *length,
                                             (size_t)body.left, err);

        if (got == -1)
            return -1;
        *length += (size_t)got;
    }
    x->bytes = 0; /* they are no image's */
    return 0;
}

static int
patch_json(struct exchange *x, struct error *err)
{
    struct json *object = NULL;
    const char *op = "";
    size_t length;
    int rc = -1;

    if (read_command(x, &length, err) == -1 ||
        json_parse(&object, x->text, length, JSON_MAX_DEPTH, err) == -1)
        goto out;
    if (!json_is_object(object)) {
        error_set(err, 400, "body must be a JSON object");
        goto out;
    }
    json_get_string(object, "op", &op);
    if (strcmp(op, "zero") == 0)
        rc = patch_zero(x, object, err);
    else if (strcmp(op, "flush") == 0)
        rc = handle_flush(x, err);
    else
        error_set(err, 400,
                  "unsupported op; only \"zero\" and \"flush\" are supported");
out:
    json_free(object);
    return rc;
}

int
handle_patch(struct exchange *x, struct error *err)
{
    if (request_has_type(&x->request, "application/json"))
        return patch_json(x, err);
    if (x->request.range != NULL)
        return patch_bytes(x, err);
    return error_set(err, 415,
                     "PATCH requires Content-Type: application/json "
                     "(for zero/flush) or Range with binary body");
}
