/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and resolving byte ranges.  take() and take_number() step through a
 * value: they move *at only if what they want is there. */
#include "http/range.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/span.h"

#define WHITE " \t" /* OWS, RFC 9110 5.6.3 */

/* The text in any case, as only units have letters (RFC 9110 14.1). */
static bool
take(const char **at, const char *text)
{
    const size_t length = strlen(text);

    if (strncasecmp(*at, text, length) != 0)
        return false;
    *at += length;
    return true;
}

static bool
take_number(const char **at, uint64_t *ret)
{
    char *end;

    if (!isdigit((unsigned char)**at))
        return false;
    *ret = strtoull(*at, &end, 10); /* too large: ULLONG_MAX */
    *at = end;
    return true;
}

/* Nothing is left but white space. */
static bool
is_end(const char *at)
{
    return at[strspn(at, WHITE)] == '\0';
}

int
range_parse(struct range *ret, const char *value, struct error *err)
{
    const char *at = value + strspn(value, WHITE);
    struct range range = {0};
    bool ok = take(&at, "bytes=");

    range.is_suffix = !take_number(&at, &range.first);
    ok = ok && take(&at, "-");
    range.has_last = take_number(&at, &range.last);
    if (range.is_suffix)
        ok = ok && range.last > 0; /* neither "-" nor "-0" */
    if (!ok || !is_end(at))
        return error_set(err, 400, "invalid Range header");
    *ret = range;
    return 0;
}

int
range_resolve(const struct range *range, uint64_t size, uint64_t *offset,
              uint64_t *length, struct error *err)
{
    uint64_t first = range->first, last = size - 1;

    if (size == 0)
        return error_range(err, size);
    if (range->is_suffix)
        first = size - span_min(range->last, size);
    else if (range->has_last)
        last = span_min(range->last, last);
    if (first > last)
        return error_range(err, size);
    *offset = first;
    *length = last - first + 1;
    return 0;
}

int
content_range_parse(struct content_range *ret, const char *value,
                    struct error *err)
{
    const char *at = value + strspn(value, WHITE);
    struct content_range range = {0};
    uint64_t size = UINT64_MAX; /* "*" */
    bool ok =
        take(&at, "bytes ") && take_number(&at, &range.first) && take(&at, "-");

    range.has_last = take_number(&at, &range.last);
    if (range.has_last)
        ok = ok && take(&at, "/") &&
             (take_number(&at, &size) || take(&at, "*")) &&
             range.first <= range.last &&
             (range.last < size || size == UINT64_MAX);
    else
        ok = ok && take(&at, "*/*");
    if (!ok || !is_end(at))
        return error_set(err, 400, "invalid Content-Range header");
    *ret = range;
    return 0;
}
