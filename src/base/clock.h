/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock.  Pure but for the clock itself. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Microseconds since some fixed moment; never goes back. */
static inline uint64_t
clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
