/* SPDX-License-Identifier: Apache-2.0 */
/* GET of /status and of /images/{id}/status: what runs now, as JSON. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "stats/counters.h"
#include "stats/scoreboard.h"
#include "ticket/ticket.h"

#define NO_STORE "Cache-Control: no-store"

/* Transfers go into the array; those of one ticket, or all. */
struct view {
    struct json *transfers;
    const char *id; /* the whole one; NULL: all */
    uint64_t id_hash;
};

static const char *
backend_name(bool is_file)
{
    return counters_backends[is_file ? COUNTERS_FILE : COUNTERS_NBD];
}

static bool
add_transfer(void *opaque, const struct transfer *transfer)
{
    const struct view *view = opaque;
    struct json *item;

    if (view->id != NULL && transfer->id_hash != view->id_hash)
        return true;
    item = json_new_object();
    json_add_string(item, "id", transfer->id);
    json_add_string(item, "request", transfer->request);
    json_add_string(item, "method", transfer->method);
    json_add_string(item, "operation",
                    transfer_operations[transfer->operation]);
    json_add_string(item, "backend", backend_name(transfer->is_file));
    json_add_number(item, "offset", transfer->offset);
    if (transfer->total == TRANSFER_UNKNOWN)
        json_add_null(item, "total");
    else
        json_add_number(item, "total", transfer->total);
    json_add_number(item, "done", transfer->done);
    json_add_number(item, "rate", transfer->rate);
    json_add_number(item, "start_ms", transfer->start_ms);
    json_add_string(item, "client", transfer->client);
    json_append(view->transfers, item);
    return true;
}

static struct json *
limits_object(const struct limits *limits)
{
    struct json *object = json_new_object();

    json_add_string(object, "scope", limits->per_image ? "image" : "server");
    json_add_number(object, "max_readers", limits->max_readers);
    json_add_number(object, "max_writers", limits->max_writers);
    return object;
}

static int
answer(struct exchange *x, struct json *object, struct error *err)
{
    struct response response = {.status = 200, .extra = NO_STORE};
    const int rc = exchange_answer(x, &response, json_text(object), err);

    json_free(object);
    return rc;
}

int
handle_status(struct exchange *x, struct error *err)
{
    struct json *object = json_new_object(), *transfers = json_new_array();
    struct view view = {.transfers = transfers};
    struct scoreboard_summary summary;

    scoreboard_look(scoreboard_own(), &summary, add_transfer, &view);
    json_add_string(object, "version", IMAGEIO_VERSION);
    json_add_number(object, "now_ms", clock_wall_ms());
    json_add_number(object, "started_ms", summary.started_ms);
    json_add_number(object, "processes", summary.processes);
    json_add(object, "limits", limits_object(&x->config->limits));
    json_add_number(object, "readers", summary.readers);
    json_add_number(object, "writers", summary.writers);
    json_add(object, "transfers", transfers);
    return answer(x, object, err);
}

int
handle_image_status(struct exchange *x, struct error *err)
{
    struct json *object = json_new_object(), *transfers = json_new_array();
    struct view view = {
        .transfers = transfers, .id = x->id, .id_hash = transfer_hash(x->id)};
    struct scoreboard_summary summary;
    char id[TRANSFER_ID_CHARS + 1] = "";

    memcpy(id, x->id, strnlen(x->id, TRANSFER_ID_CHARS));
    scoreboard_look(scoreboard_own(), &summary, add_transfer, &view);
    json_add_string(object, "id", id);
    json_add_string(object, "backend",
                    backend_name(x->ticket->image.backend == IMAGE_FILE));
    json_add(object, "transfers", transfers);
    return answer(x, object, err);
}
