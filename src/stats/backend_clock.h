/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long this thread has waited for backends: in calls that read, write or
 * flush a file, and for an NBD server while there was nothing to do for the
 * client.  A request lives in one thread, so it takes the difference.
 */
#ifndef STATS_BACKEND_CLOCK_H
#define STATS_BACKEND_CLOCK_H

#include <stdint.h>

uint64_t backend_clock_us(void); /* microseconds since the thread began */

/* It waited from start_us (clock_us()) until now. */
void backend_clock_add(uint64_t start_us);

#endif
