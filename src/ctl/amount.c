/* SPDX-License-Identifier: Apache-2.0 */
/* From numbers to a few characters. */
#include "ctl/amount.h"

#include <stdio.h>

#define MINUTE_S 60
#define HOUR_S (60 * MINUTE_S)
#define DAY_S (24 * HOUR_S)
#define LONGEST_S (100 * UINT64_C(86400) - 1)

static const char *
format_unknown(char dst[AMOUNT_SIZE])
{
    snprintf(dst, AMOUNT_SIZE, "-");
    return dst;
}

static void
format(char dst[AMOUNT_SIZE], uint64_t bytes, const char *tail)
{
    static const char *const units[] = {"B",   "KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    unsigned part = 0; /* of the unit, in 1024ths */

    for (; bytes >= 1024; bytes /= 1024) {
        part = bytes % 1024;
        unit++;
    }
    if (unit > 0 && bytes < 10)
        snprintf(dst, AMOUNT_SIZE, "%u.%02u %s%s", (unsigned)bytes,
                 part * 100 / 1024, units[unit], tail);
    else if (unit > 0 && bytes < 100)
        snprintf(dst, AMOUNT_SIZE, "%u.%u %s%s", (unsigned)bytes,
                 part * 10 / 1024, units[unit], tail);
    else
        snprintf(dst, AMOUNT_SIZE, "%u %s%s", (unsigned)bytes, units[unit],
                 tail);
}

const char *
amount_format(char dst[AMOUNT_SIZE], uint64_t bytes)
{
    if (bytes == AMOUNT_UNKNOWN)
        return format_unknown(dst);
    format(dst, bytes, "");
    return dst;
}

const char *
amount_format_rate(char dst[AMOUNT_SIZE], uint64_t bytes_a_second)
{
    if (bytes_a_second == AMOUNT_UNKNOWN)
        return format_unknown(dst);
    format(dst, bytes_a_second, "/s");
    return dst;
}

const char *
amount_format_span(char dst[AMOUNT_SIZE], uint64_t span_s)
{
    const unsigned s = (unsigned)span_s;

    if (span_s > LONGEST_S)
        return format_unknown(dst);
    if (s < HOUR_S)
        snprintf(dst, AMOUNT_SIZE, "%u:%02u", s / MINUTE_S, s % MINUTE_S);
    else if (s < DAY_S)
        snprintf(dst, AMOUNT_SIZE, "%uh%02um", s / HOUR_S,
                 s % HOUR_S / MINUTE_S);
    else
        snprintf(dst, AMOUNT_SIZE, "%ud%02uh", s / DAY_S, s % DAY_S / HOUR_S);
    return dst;
}

uint64_t
amount_percent(uint64_t done, uint64_t total)
{
    uint64_t percent;

    if (total == AMOUNT_UNKNOWN)
        return AMOUNT_UNKNOWN;
    if (done >= total)
        return 100;
    percent = (uint64_t)((double)done / (double)total * 100);
    return percent < 100 ? percent : 99; /* a double has 53 bits */
}

uint64_t
amount_left_s(uint64_t done, uint64_t total, uint64_t rate)
{
    uint64_t left_s;

    if (total == AMOUNT_UNKNOWN)
        return AMOUNT_UNKNOWN;
    if (done >= total)
        return 0;
    if (rate == 0)
        return AMOUNT_UNKNOWN;
    left_s = (total - done - 1) / rate + 1;
    return left_s <= LONGEST_S ? left_s : AMOUNT_UNKNOWN;
}
