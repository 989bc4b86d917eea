/* SPDX-License-Identifier: Apache-2.0 */
/* From how a request ended to the counters. */
#include "server/account.h"

#include <stddef.h>

#include "base/error.h"
#include "server/exchange.h"
#include "server/route.h"
#include "stats/counters.h"

/* A status of which clients are told to come again, or to ask otherwise. */
static void
count_refusal(const struct exchange *x, int status)
{
    const bool changes =
        x->route != NULL && (x->route->flags & ROUTE_CHANGES) != 0;
    static const struct {
        int status;
        enum counters_refusal refusal;
    } rows[] = {
        {401, REFUSED_TOKEN},
        {403, REFUSED_FORBIDDEN},
        {409, REFUSED_BUSY},
    };

    if (status == 503)
        counters_refused(changes ? REFUSED_WRITERS : REFUSED_READERS);
    /* Not a path that no image has. */
    if (status == 404 && x->ticket == NULL && x->request.path.count > 1)
        counters_refused(REFUSED_UNKNOWN);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (status == rows[i].status)
            counters_refused(rows[i].refusal);
}

static enum counters_failure
failure_of(const struct exchange *x, int status)
{
    static const enum counters_failure of_operation[TRANSFER_OPERATIONS] = {
        [TRANSFER_NONE] = FAILED_CONNECT, [TRANSFER_READ] = FAILED_READ,
        [TRANSFER_WRITE] = FAILED_WRITE,  [TRANSFER_ZERO] = FAILED_ZERO,
        [TRANSFER_FLUSH] = FAILED_FLUSH,  [TRANSFER_EXTENTS] = FAILED_EXTENTS,
    };

    if (x->route == NULL)
        return FAILED_SERVER;
    if (status == 504)
        return FAILED_TIMEOUT;
    if (status == 507)
        return FAILED_NO_SPACE;
    return x->was_open ? of_operation[x->transfer.operation] : FAILED_CONNECT;
}

void
account_request(const struct exchange *x, const struct error *why,
                uint64_t took_us)
{
    counters_request(x->request.method, x->status, took_us);
    if (why == NULL)
        return;
    if (why->status == 503 || why->status < 500)
        count_refusal(x, why->status);
    else
        counters_failed(failure_of(x, why->status));
    /* A client that leaves is no fault of ours. */
    if (x->head_sent && x->status < 400 && why->status != ERROR_CLIENT_GONE)
        counters_cut();
}
