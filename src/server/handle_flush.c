/* SPDX-License-Identifier: Apache-2.0 */
/* POST …/flush, and PATCH's flush: what was written becomes durable. */
#include "base/error.h"
#include "server/exchange.h"
#include "server/handle.h"

int
handle_flush(struct exchange *x, struct error *err)
{
    if (exchange_lock_shared(x, err) == -1)
        return -1;
    exchange_begin_transfer(x, TRANSFER_FLUSH);
    if (exchange_open(x, IMAGE_USE_FLUSH, err) == -1 ||
        image_flush(x->image, err) == -1)
        return -1;
    return exchange_answer_ok(x, err);
}
