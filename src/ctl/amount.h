/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Amounts of data and of time, short enough for a column.  All is cut, not
 * rounded: what is not yet done never looks so.  Pure.
 */
#ifndef CTL_AMOUNT_H
#define CTL_AMOUNT_H

#include <stdint.h>

#define AMOUNT_SIZE 16

/* At most 8 characters, three digits or four: "1023 B", "1.00 KiB", "10.5 GiB",
 * "105 TiB".  Returns dst, as all here do. */
const char *amount_format(char dst[AMOUNT_SIZE], uint64_t bytes);

/* At most 10: "105 MiB/s". */
const char *amount_format_rate(char dst[AMOUNT_SIZE], uint64_t bytes_a_second);

#define AMOUNT_UNKNOWN UINT64_MAX /* of any of these; shown as "-" */

/* At most 6: "0:59", "59:59", "1h00m", "23h59m", "1d00h", "99d23h". */
const char *amount_format_span(char dst[AMOUNT_SIZE], uint64_t span_s);

/* 0 to 99, and 100 when all is done. */
uint64_t amount_percent(uint64_t done, uint64_t total);

/* Seconds until all is done, rounded up; AMOUNT_UNKNOWN if nothing moves, or
 * for more than 99 days. */
uint64_t amount_left_s(uint64_t done, uint64_t total, uint64_t rate);

#endif
