/* SPDX-License-Identifier: Apache-2.0 */
/* PATCH of an image: bytes at a range, zero, flush. */
#include <assert.h>
#include <inttypes.h>

#include "base/error.h"
#include "base/json.h"
#include "base/span.h"
#include "http/range.h"
#include "server/body.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "server/patch_command.h"

#define ZERO_STEP ((uint64_t)256 << 20)

static_assert(PATCH_COMMAND_MAX_BYTES <= EXCHANGE_TEXT_SIZE, "it fits");

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
    if (exchange_begin_part(x, err) == -1 ||
        range_resolve(&range, x->image->size, &offset, &span, err) == -1)
        return -1;
    if (length != span)
        return error_set(err, 400,
                         "Content-Length (%" PRIu64
                         ") must equal range length (%" PRIu64 ")",
                         length, span);
    if (exchange_own_blocks(x, offset, length, err) == -1)
        return -1;
    exchange_set_span(x, offset, length);
    body_in_init(&body, x, length);
    if (image_receive(x->image, offset, length, &body.source, err) == -1)
        return -1;
    object = json_new_object();
    json_add_bool(object, "ok", true);
    json_add_number(object, "bytes_written", length);
    return exchange_answer_json(x, object, err);
}

/* In steps, so that others can see how far it is.  Steps end at multiples of
 * ZERO_STEP, which are those of any block as well. */
static int
zero_range(struct exchange *x, uint64_t offset, uint64_t length,
           struct error *err)
{
    uint64_t done = 0;

    while (done < length) {
        const uint64_t room = ZERO_STEP - (offset + done) % ZERO_STEP;
        const uint64_t count = span_min(length - done, room);

        if (image_zero(x->image, offset + done, count, err) == -1)
            return -1;
        done += count;
        exchange_set_done(x, done);
    }
    return 0;
}

static int
patch_zero(struct exchange *x, const struct patch_command *zero,
           struct error *err)
{
    uint64_t length;

    if (exchange_begin_part(x, err) == -1)
        return -1;
    if (zero->flush && image_check_flush(x->image, err) == -1)
        return -1;
    if (zero->offset >= x->image->size)
        return error_set(err, 400, "offset must be less than image size");
    length = span_min(zero->length, x->image->size - zero->offset);
    if (exchange_own_blocks(x, zero->offset, length, err) == -1)
        return -1;
    x->transfer.operation = TRANSFER_ZERO;
    exchange_set_span(x, zero->offset, length);
    if (zero_range(x, zero->offset, length, err) == -1)
        return -1;
    x->bytes = length; /* none of them came from the client */
    if (zero->flush && image_flush(x->image, err) == -1)
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
        announced > PATCH_COMMAND_MAX_BYTES)
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
    struct patch_command command;
    size_t length;

    if (read_command(x, &length, err) == -1 ||
        patch_command_parse(&command, x->text, length, err) == -1)
        return -1;
    if (command.op == PATCH_FLUSH)
        return handle_flush(x, err);
    return patch_zero(x, &command, err);
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
