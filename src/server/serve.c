/* SPDX-License-Identifier: Apache-2.0 */
/* One request from first to last byte. */
#include "server/serve.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "http/fcgi_io.h"
#include "server/account.h"
#include "server/config.h"
#include "server/exchange.h"
#include "server/handle.h"
#include "server/route.h"
#include "stats/backend_clock.h"
#include "stats/scoreboard.h"
#include "ticket/ticket.h"
#include "ticket/ticket_dir.h"

struct serve_times {
    uint64_t took_us;    /* the whole request */
    uint64_t backend_us; /* of it, waiting for the backend */
};

/* The second segment, if it may be an image id. */
static int
take_id(struct exchange *x, struct error *err)
{
    const char *text = x->request.path.segment[1].text;
    const size_t length = x->request.path.segment[1].length;

    if (!path_is_id(text, length))
        return ticket_dir_unknown(err);
    memcpy(x->id, text, length);
    x->id[length] = '\0';
    return 0;
}

static int
find_ticket(struct exchange *x, struct error *err)
{
    const struct config *config = x->config;
    int is_idle;

    if (take_id(x, err) == -1 ||
        activity_begin(&x->activity, config->limits.run_dir, x->id, err) == -1)
        return -1;
    x->hold.fd = x->activity.fd;
    if (ticket_dir_find(&x->ticket, config->ticket_dir, x->id,
                        config->uri_schemes, err) == -1)
        return -1;
    is_idle = activity_is_idle(&x->activity, x->ticket, err);
    if (is_idle == 1) {
        char id[LOG_ID_SIZE];

        log_warning("ticket=%s refused=\"no request for %" PRIu64 " s\"",
                    log_id(id, x->id), x->ticket->idle_timeout_s);
        return ticket_dir_unknown(err);
    }
    return is_idle;
}

/* May who asks do this, or anything? */
static int
check_permission(const struct exchange *x, const struct route *route,
                 struct error *err)
{
    if ((route->flags & ROUTE_TOKEN) != 0 &&
        !ticket_accepts(x->ticket, request_token(&x->request)))
        return error_set(err, 401, "the ticket's bearer token is required");
    if ((route->flags & ROUTE_CHANGES) == 0)
        return 0;
    if (x->ticket->read_only)
        return error_set(err, 403, "image is read-only");
    if (!ticket_can_write(x->ticket))
        return error_set(err, 403, "the ticket does not allow writing");
    return 0;
}

/* The order of the checks is the order in which a request fails: a refused one
 * has disturbed nobody. */
static int
run(struct exchange *x, char allow[ROUTE_ALLOW_SIZE], struct error *err)
{
    const struct route *route;

    if (route_is_server_path(&x->request.path)) {
        if (route_find(&x->route, &x->request.path, x->request.method, allow,
                       err) == -1)
            return -1;
        return x->route->handle(x, err);
    }
    if (!route_is_image_path(&x->request.path))
        return error_set(err, 404, "not found");
    if (route_is_star(&x->request.path, x->request.method))
        return handle_options_server(x, err);
    if (find_ticket(x, err) == -1 ||
        route_find(&x->route, &x->request.path, x->request.method, allow,
                   err) == -1)
        return -1;
    route = x->route;
    if (check_permission(x, route, err) == -1)
        return -1;
    /* OPTIONS needs no token, but then does not keep the ticket either. */
    if ((route->flags & ROUTE_WATCHES) == 0 &&
        ticket_accepts(x->ticket, request_token(&x->request)) &&
        activity_count(&x->activity, x->ticket, err) == -1)
        return -1;
    if (route->not_files != NULL && x->ticket->image.backend == IMAGE_FILE)
        return error_set(err, 400, "%s", route->not_files);
    return route->handle(x, err);
}

/* Answers a failure before the head. */
static int
answer_error(struct exchange *x, const char *allow, const struct error *why,
             struct error *err)
{
    struct response response = {
        .status = why->status,
        .allow = why->status == 405 ? allow : NULL,
        .has_size = why->has_size,
        .size = why->size,
    };
    struct json *object = json_new_object();
    int rc;

    json_add_string(object, "error", error_reply(why));
    rc = exchange_answer(x, &response, json_text(object), err);
    json_free(object);
    return rc;
}

/* The part of the image, as a Range header says it. */
static const char *
format_range(char ret[48], const struct transfer *transfer)
{
    if (transfer->total == 0 || transfer->total == TRANSFER_UNKNOWN)
        return "-";
    snprintf(ret, 48, "%" PRIu64 "-%" PRIu64, transfer->offset,
             transfer->offset + transfer->total - 1);
    return ret;
}

/* Who watches asks every second, and would fill the log. */
static enum log_level
level_of(const struct exchange *x, const struct error *why)
{
    if (why != NULL)
        return why->status >= 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
    return x->route != NULL && (x->route->flags & ROUTE_WATCHES) != 0
               ? LOG_LEVEL_DEBUG
               : LOG_LEVEL_INFO;
}

/* The one line of a request. */
static void
log_request(const struct exchange *x, const struct error *why,
            const struct serve_times *times, unsigned worker)
{
    char method[64], id[LOG_ID_SIZE], cause[sizeof(why->text) + 32];
    char escaped[sizeof(why->text)], client[128], range[48];
    const char *resource = x->route != NULL ? x->route->resource : "-";

    cause[0] = '\0';
    if (why != NULL)
        snprintf(cause, sizeof(cause), " error=\"%s\"",
                 log_escape(escaped, sizeof(escaped), why->text));
    log_line(
        level_of(x, why),
        "method=%s ticket=%s status=%d resource=%s range=%s bytes=%" PRIu64
        " took_us=%" PRIu64 " backend_us=%" PRIu64
        " client=%s request=%s worker=%u%s",
        log_word(method, sizeof(method), x->request.method), log_id(id, x->id),
        x->status, resource != NULL ? resource : "image",
        format_range(range, &x->transfer), x->bytes, times->took_us,
        times->backend_us, log_word(client, sizeof(client), x->request.client),
        x->request_id, worker, cause);
}

/* Answers a failure if that can still be done. */
static enum serve_result
end_failed(struct exchange *x, const char *allow, const struct error *why)
{
    struct error late;

    if (why->status != ERROR_CLIENT_GONE && !x->head_sent &&
        answer_error(x, allow, why, &late) == 0)
        return SERVE_DONE;
    if (!x->head_sent)
        x->status = why->status;
    if (why->status == ERROR_CLIENT_GONE)
        return SERVE_GONE;
    return SERVE_CUT;
}

enum serve_result
serve(const struct serve_env *env, struct fcgi_io *io, char **variables)
{
    const uint64_t start_us = clock_us(), backend_us = backend_clock_us();
    struct serve_times times;
    struct exchange x = {
        .config = env->config,
        .io = io,
        .env = {.buffer = env->buffer,
                .buffer_size = IMAGE_BUFFER_SIZE,
                .timeout_ms = (int)env->config->backend_timeout_s * 1000,
                .client_fd = io->fd},
        .text = env->text,
        .slot = scoreboard_slot(env->worker),
        .activity = {.fd = -1},
        .hold = {.fd = -1, .client_fd = io->fd},
    };
    enum serve_result result = SERVE_DONE;
    char allow[ROUTE_ALLOW_SIZE];
    struct error why;
    bool failed;

    request_init(&x.request, variables);
    request_id_init(x.request_id, x.request.id);
    failed = run(&x, allow, &why) == -1;
    exchange_release(&x);
    if (failed)
        result = end_failed(&x, allow, &why);
    activity_end(&x.activity);
    times.took_us = clock_us() - start_us;
    times.backend_us = backend_clock_us() - backend_us;
    account_request(&x, failed ? &why : NULL, times.took_us);
    log_request(&x, failed ? &why : NULL, &times, env->worker);
    if (result == SERVE_CUT)
        fcgi_io_cut(io); /* may wait for a slow client */
    ticket_free(x.ticket);
    return result;
}
