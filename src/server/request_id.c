/* SPDX-License-Identifier: Apache-2.0 */
/* Names of requests. */
#include "server/request_id.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"

#define GOOD "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."

/* Another one each time, and in each process; no secret. */
static uint64_t
make(void)
{
    static _Atomic uint64_t count;
    const uint64_t seed[] = {
        atomic_fetch_add_explicit(&count, 1, memory_order_relaxed),
        clock_us(),
        (uint64_t)getpid(),
    };

    return hash_bytes(HASH_START, seed, sizeof(seed));
}

void
request_id_init(char ret[REQUEST_ID_SIZE], const char *given)
{
    const size_t length = given != NULL ? strlen(given) : 0;

    if (length > 0 && length < REQUEST_ID_SIZE &&
        given[strspn(given, GOOD)] == '\0')
        memcpy(ret, given, length + 1);
    else
        snprintf(ret, REQUEST_ID_SIZE, "%016" PRIx64, make());
}
