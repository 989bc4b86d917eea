/* SPDX-License-Identifier: Apache-2.0 */
/* The time that a thread has waited for backends. */
#include "stats/backend_clock.h"

#include "base/clock.h"

static _Thread_local uint64_t waited_us;

uint64_t
backend_clock_us(void)
{
    return waited_us;
}

void
backend_clock_add(uint64_t start_us)
{
    waited_us += clock_us() - start_us;
}
