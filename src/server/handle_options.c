/* SPDX-License-Identifier: Apache-2.0 */
/* OPTIONS of an image: what it allows. */
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/span.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "ticket/ticket.h"

/* A server that serves one client at a time lets us wait as long as that one
 * stays; who only asks for the options must not, some give up after 5 s. */
#define PROBE_TIMEOUT_MS 3000
#define FEATURES_MAX 3

struct offer {
    const char *methods;
    const char *features[FEATURES_MAX];
    size_t count;
    unsigned max_writers;
};

static struct offer
offer_file(bool read_only)
{
    if (read_only)
        return (struct offer){"GET, HEAD, OPTIONS", {0}, 0, 0};
    return (struct offer){"GET, HEAD, PUT, POST, OPTIONS", {"flush"}, 1, 1};
}

static struct offer
offer_nbd(bool read_only, bool can_flush, unsigned max_writers)
{
    if (read_only)
        return (struct offer){"GET, HEAD, OPTIONS", {"extents"}, 1, 0};
    return (struct offer){"GET, HEAD, PUT, PATCH, POST, OPTIONS",
                          {"extents", "zero", "flush"},
                          can_flush ? 3 : 2,
                          max_writers};
}

/* An export that cannot be reached now is told as the ticket lets one think:
 * the client finds out when it uses it. */
static struct offer
probe_nbd(struct exchange *x)
{
    const unsigned max_writers = x->config->limits.max_writers;
    const bool read_only = !ticket_can_write(x->ticket);
    struct error err;

    x->env.timeout_ms =
        (int)span_min((uint64_t)x->env.timeout_ms, PROBE_TIMEOUT_MS);
    if (exchange_open(x, IMAGE_USE_PROBE, &err) == -1) {
        char id[LOG_ID_SIZE], cause[sizeof(err.text)];

        log_warning("OPTIONS ticket=%s unreachable=\"%s\"", log_id(id, x->id),
                    log_escape(cause, sizeof(cause), err.text));
        return offer_nbd(read_only, true, max_writers);
    }
    return offer_nbd(read_only || x->image->read_only, x->image->can_flush,
                     max_writers);
}

static int
answer(struct exchange *x, struct offer offer, struct error *err)
{
    const struct config *config = x->config;
    struct response response = {
        .status = 200,
        .methods = offer.methods,
        .allow = offer.methods,
    };
    struct json *object = json_new_object();
    int rc;

    if (config->unix_socket != NULL)
        json_add_string(object, "unix_socket", config->unix_socket);
    else
        json_add_null(object, "unix_socket");
    json_add_strings(object, "features", offer.features, offer.count);
    json_add_number(object, "max_readers", config->limits.max_readers);
    json_add_number(object, "max_writers", offer.max_writers);
    rc = exchange_answer(x, &response, json_text(object), err);
    json_free(object);
    return rc;
}

int
handle_options(struct exchange *x, struct error *err)
{
    if (x->ticket->image.backend == IMAGE_FILE)
        return answer(x, offer_file(!ticket_can_write(x->ticket)), err);
    return answer(x, probe_nbd(x), err);
}

int
handle_options_server(struct exchange *x, struct error *err)
{
    return answer(x, offer_nbd(false, true, x->config->limits.max_writers),
                  err);
}
