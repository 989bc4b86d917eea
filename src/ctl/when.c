/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing times. */
#include "ctl/when.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define UTC "%Y-%m-%dT%H:%M:%SZ"
#define DIGITS "0123456789"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    char letter;
    uint64_t seconds;
} units[] = {
    {'d', 86400},
    {'h', 3600},
    {'m', 60},
    {'s', 1}, /* last: what has no letter */
};

/* The digits at *text, which goes on to what follows them. */
static bool
parse_digits(uint64_t *ret, const char **text)
{
    const size_t length = strspn(*text, DIGITS);
    char *end;

    if (length == 0)
        return false;
    *ret = strtoull(*text, &end, 10); /* too large: ULLONG_MAX */
    *text = end;
    return *ret <= WHEN_MAX_S;
}

static bool
parse_span(uint64_t *ret_s, const char *text)
{
    uint64_t number;
    size_t i = 0;

    if (!parse_digits(&number, &text))
        return false;
    while (i < COUNT(units) - 1 && units[i].letter != *text)
        i++;
    text += *text == units[i].letter;
    *ret_s = number * units[i].seconds; /* below 2^38 * 2^17 */
    return *text == '\0' && *ret_s <= WHEN_MAX_S;
}

/* strptime(3) takes much more, and timegm(3) the 31st of February: what is
 * meant is what would be written. */
static bool
parse_utc(uint64_t *ret_s, const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, UTC, &tm);
    char again[32];
    time_t time;

    if (end == NULL || *end != '\0')
        return false;
    time = timegm(&tm);
    if (time < 0 || gmtime_r(&time, &tm) == NULL ||
        strftime(again, sizeof(again), UTC, &tm) == 0)
        return false;
    *ret_s = (uint64_t)time;
    return strcmp(again, text) == 0;
}

bool
when_parse(uint64_t *ret_s, const char *text)
{
    if (*text == '+') {
        if (!parse_span(ret_s, text + 1))
            return false;
        *ret_s += clock_wall_ms() / 1000;
        return true;
    }
    return when_parse_seconds(ret_s, text, 0, WHEN_MAX_S) ||
           parse_utc(ret_s, text);
}

bool
when_parse_seconds(uint64_t *ret_s, const char *text, uint64_t min,
                   uint64_t max)
{
    return parse_digits(ret_s, &text) && *text == '\0' && *ret_s >= min &&
           *ret_s <= max;
}

const char *
when_format_span(char dst[WHEN_SPAN_SIZE], uint64_t span_s)
{
    size_t i = 0;

    while (i < COUNT(units) - 1 && span_s < units[i].seconds)
        i++;
    snprintf(dst, WHEN_SPAN_SIZE, "%" PRIu64 " %c", span_s / units[i].seconds,
             units[i].letter);
    return dst;
}
