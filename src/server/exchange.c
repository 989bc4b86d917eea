/* SPDX-License-Identifier: Apache-2.0 */
/* What a request holds, and its answer. */
#include "server/exchange.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "server/config.h"
#include "stats/counters.h"
#include "ticket/ticket.h"

#define LOCK_TRIES 5 /* at a file that is being replaced again and again */

int
exchange_fail_conditions(struct error *err)
{
    return error_set(err, 412, "precondition failed");
}

static void
copy_cut(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);

    if (length > size - 1)
        length = size - 1;
    memcpy(to, from, length);
    to[length] = '\0';
}

/* A file, and an export that nobody may write, are what they were as long as
 * nothing tells that they changed; an export that can be written has no such
 * sign.  A server that is replaced, and a ticket that is written anew, may
 * stand for another image. */
static void
learn_validators(struct exchange *x)
{
    const struct image *image = x->image;
    const struct ticket *ticket = x->ticket;
    struct validators *ret = &x->validators;
    const int64_t now_s = clock_files_s();
    uint64_t version = image->version;

    *ret = (struct validators){
        .exists = !image->is_missing,
        .modified_s = image->modified_s,
        .is_date_strong = image->is_date_strong,
    };
    if (image->is_file) {
        ret->has_date = version != 0;
    } else if (ticket->image.backend == IMAGE_NBD &&
               (image->read_only || ticket->read_only)) {
        const int64_t ticket_s = (int64_t)(ticket->changed_ms / 1000);

        version = hash_bytes(version, x->id, strlen(x->id));
        version = hash_bytes(version, &ticket->image.version,
                             sizeof(ticket->image.version));
        ret->has_date = true;
        if (ret->modified_s < ticket_s)
            ret->modified_s = ticket_s;
    }
    if (ret->has_date)
        etag_format(ret->etag, version, image->size);
    /* A date to come is no Last-Modified (RFC 9110 8.8.2.1). */
    if (ret->modified_s > now_s)
        ret->has_date = false;
    ret->is_date_past = ret->modified_s < now_s;
}

int
exchange_open(struct exchange *x, enum image_use use, struct error *err)
{
    const bool changes = use == IMAGE_USE_WRITE || use == IMAGE_USE_FLUSH;

    if (image_open(&x->image, &x->ticket->image, use, &x->env, err) == -1)
        return -1;
    x->was_open = true;
    if (changes && x->image->read_only)
        return error_set(err, 403, "image is read-only");
    learn_validators(x);
    if (changes &&
        conditions_check(&x->request, &x->validators) != CONDITIONS_MET)
        return exchange_fail_conditions(err);
    return 0;
}

void
exchange_begin_transfer(struct exchange *x, enum transfer_operation operation)
{
    struct transfer *transfer = &x->transfer;

    *transfer = (struct transfer){
        .operation = operation,
        .is_file = x->ticket->image.backend == IMAGE_FILE,
        .id_hash = transfer_hash(x->id),
        .start_ms = clock_wall_ms(),
        .total = TRANSFER_UNKNOWN,
    };
    copy_cut(transfer->id, sizeof(transfer->id), x->id);
    copy_cut(transfer->request, sizeof(transfer->request), x->request_id);
    copy_cut(transfer->method, sizeof(transfer->method), x->request.method);
    copy_cut(transfer->client, sizeof(transfer->client), x->request.client);
    transfer_begin(x->slot, transfer);
    x->is_shown = true;
}

void
exchange_set_span(struct exchange *x, uint64_t offset, uint64_t total)
{
    x->transfer.offset = offset;
    x->transfer.total = total;
    if (x->is_shown)
        transfer_update(x->slot, &x->transfer);
}

void
exchange_set_done(struct exchange *x, uint64_t done)
{
    if (x->is_shown)
        transfer_progress(x->slot, done);
}

void
exchange_moved(struct exchange *x, uint64_t bytes)
{
    x->bytes += bytes;
    if (x->transfer.operation == TRANSFER_NONE)
        return;
    counters_bytes(x->transfer.is_file ? COUNTERS_FILE : COUNTERS_NBD,
                   x->transfer.operation == TRANSFER_READ ? COUNTERS_READ
                                                          : COUNTERS_WRITTEN,
                   bytes);
    exchange_set_done(x, x->bytes);
}

int
exchange_take_reader(struct exchange *x, struct error *err)
{
    const struct limits *limits = &x->config->limits;
    const uint64_t key = limits->per_image ? image_key(&x->ticket->image) : 0;

    if (limits_take_reader(&x->hold, limits, key, err) == -1)
        return -1;
    exchange_begin_transfer(x, TRANSFER_READ);
    return 0;
}

static int
lock(struct exchange *x, bool shared, uint64_t *ret, struct error *err)
{
    const struct limits *limits = &x->config->limits;

    x->is_shared = shared;
    for (int i = 0; i < LOCK_TRIES; i++) {
        const uint64_t key = image_key(&x->ticket->image);

        *ret = key;

        if (limits_lock_image(&x->hold, limits, key, shared, err) == -1)
            return -1;
        /* A file that was replaced meanwhile is another image: its new one
         * may be locked by somebody else. */
        if (image_key(&x->ticket->image) == key)
            return 0;
        limits_release(&x->hold);
    }
    return error_set(err, 409, "image busy");
}

int
exchange_lock_shared(struct exchange *x, struct error *err)
{
    uint64_t key;

    return lock(x, true, &key, err);
}

static int
lock_writer(struct exchange *x, bool shared, struct error *err)
{
    uint64_t key;

    if (lock(x, shared, &key, err) == -1)
        return -1;
    if (limits_take_writer(&x->hold, &x->config->limits, key, err) == -1)
        return -1;
    exchange_begin_transfer(x, TRANSFER_WRITE);
    return 0;
}

int
exchange_lock_exclusive(struct exchange *x, struct error *err)
{
    return lock_writer(x, false, err);
}

int
exchange_begin_part(struct exchange *x, struct error *err)
{
    const bool shared = x->config->limits.max_writers > 1;

    if (lock_writer(x, shared, err) == -1)
        return -1;
    return exchange_open(x, IMAGE_USE_WRITE, err);
}

int
exchange_own_blocks(struct exchange *x, uint64_t offset, uint64_t length,
                    struct error *err)
{
    const uint64_t block = x->image->block;
    const struct limits_blocks blocks = {
        .first = offset / block,
        .last = (offset + length - 1) / block,
        .half_first = offset % block != 0,
        .half_last = (offset + length) % block != 0,
    };

    if (!x->is_shared || block == 1 || length == 0)
        return 0;
    return limits_lock_blocks(&x->hold, &x->config->limits,
                              image_key(&x->ticket->image), &blocks, err);
}

void
exchange_release(struct exchange *x)
{
    if (x->is_shown)
        transfer_end(x->slot);
    x->is_shown = false;
    image_close(x->image);
    x->image = NULL;
    limits_release(&x->hold);
}

int
exchange_send_head(struct exchange *x, const struct response *response,
                   struct error *err)
{
    x->head_sent = true;
    x->status = response->status;
    return response_send_head(x->io, response, err);
}

void
exchange_begin(struct exchange *x, const struct response *response)
{
    x->head_sent = true;
    x->status = response->status;
    response_hold_head(x->io, response);
}

int
exchange_answer(struct exchange *x, struct response *response, const char *text,
                struct error *err)
{
    exchange_release(x);
    x->head_sent = true;
    x->status = response->status;
    return response_send_text(x->io, response, text,
                              request_is_head(&x->request), err);
}

int
exchange_answer_json(struct exchange *x, struct json *object, struct error *err)
{
    struct response response = {.status = 200};
    const int rc = exchange_answer(x, &response, json_text(object), err);

    json_free(object);
    return rc;
}

int
exchange_answer_ok(struct exchange *x, struct error *err)
{
    struct json *object = json_new_object();

    json_add_bool(object, "ok", true);
    return exchange_answer_json(x, object, err);
}
