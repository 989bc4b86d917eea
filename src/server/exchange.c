/* SPDX-License-Identifier: Apache-2.0 */
/* What a request holds, and its answer. */
#include "server/exchange.h"

#include "base/error.h"
#include "base/json.h"
#include "server/config.h"
#include "ticket/ticket.h"

#define LOCK_TRIES 5 /* at a file that is being replaced again and again */

int
exchange_open(struct exchange *x, enum image_use use, struct error *err)
{
    const bool changes = use == IMAGE_USE_WRITE || use == IMAGE_USE_FLUSH;

    if (image_open(&x->image, &x->ticket->image, use, &x->env, err) == -1)
        return -1;
    if (changes && x->image->read_only)
        return error_set(err, 403, "image is read-only");
    return 0;
}

static int
lock(struct exchange *x, bool shared, struct error *err)
{
    const struct limits *limits = &x->config->limits;

    for (int i = 0; i < LOCK_TRIES; i++) {
        const uint64_t key = image_key(&x->ticket->image);

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
    return lock(x, true, err);
}

int
exchange_lock_exclusive(struct exchange *x, struct error *err)
{
    if (lock(x, false, err) == -1)
        return -1;
    return limits_take_writer(&x->hold, &x->config->limits, err);
}

void
exchange_release(struct exchange *x)
{
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

int
exchange_answer(struct exchange *x, struct response *response, const char *json,
                struct error *err)
{
    exchange_release(x);
    x->head_sent = true;
    x->status = response->status;
    return response_send_json(x->io, response, json,
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
