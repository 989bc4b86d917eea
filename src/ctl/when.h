/* SPDX-License-Identifier: Apache-2.0 */
/* Moments and spans of time, as people write them.  Pure but for the clock. */
#ifndef CTL_WHEN_H
#define CTL_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#define WHEN_MAX_S UINT64_C(253402300799) /* the last second of year 9999 */

/* Unix seconds; "+N" from now, N in s (also without a letter), m, h or d; or
 * UTC, "YYYY-MM-DDTHH:MM:SSZ".  *ret is Unix time.  false: none of them. */
bool when_parse(uint64_t *ret_s, const char *text);

/* A number of seconds from min to max: digits only. */
bool when_parse_seconds(uint64_t *ret_s, const char *text, uint64_t min,
                        uint64_t max);

#define WHEN_SPAN_SIZE 24
/* "59 s", "1 m", "23 h", "2 d": in the largest unit, rounded down.  Returns
 * dst. */
const char *when_format_span(char dst[WHEN_SPAN_SIZE], uint64_t span_s);

#endif
