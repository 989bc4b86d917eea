/* SPDX-License-Identifier: Apache-2.0 */
/* Tags and dates, and what requests ask of them. */
#include "http/conditions.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/request.h"

#define WHITE " \t"
#define TM_YEAR_BASE 1900

void
etag_format(char etag[ETAG_SIZE], uint64_t version, uint64_t size)
{
    snprintf(etag, ETAG_SIZE, "\"%016" PRIx64 "-%" PRIx64 "\"", version, size);
}

void
http_date_format(char date[HTTP_DATE_SIZE], int64_t time_s)
{
    const time_t time = (time_t)time_s;
    struct tm tm;

    /* A year has four digits; strftime(3) writes what there are.  The locale is
     * C: the program sets none. */
    if (gmtime_r(&time, &tm) == NULL || tm.tm_year < 1000 - TM_YEAR_BASE ||
        tm.tm_year > 9999 - TM_YEAR_BASE ||
        strftime(date, HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
        date[0] = '\0';
}

/* All of text, in one of the three forms that RFC 9110 5.6.7 wants read. */
static bool
parse_date(const char *text, int64_t *ret)
{
    static const char *const forms[] = {
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %d %H:%M:%S %Y",
    };

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct tm tm = {.tm_sec = 0};
        const char *end = strptime(text, forms[i], &tm);

        if (end != NULL && end[strspn(end, WHITE)] == '\0') {
            *ret = (int64_t)timegm(&tm);
            return true;
        }
    }
    return false;
}

/* Takes one tag off the list.  NULL: there is none (any more). */
static const char *
next_tag(const char **list, size_t *length, bool *is_weak)
{
    const char *start = *list + strspn(*list, WHITE ",");
    const char *end;

    *is_weak = strncmp(start, "W/", 2) == 0;
    if (*is_weak)
        start += 2;
    if (*start != '"' || (end = strchr(start + 1, '"')) == NULL)
        return NULL;
    *length = (size_t)(end + 1 - start);
    *list = end + 1;
    return start;
}

/* weakly: a weak tag counts as well (RFC 9110 8.8.3.2); ours is strong. */
static bool
has_tag(const char *list, const struct validators *validators, bool weakly)
{
    const char *tag;
    size_t length;
    bool is_weak;

    if (validators->etag[0] == '\0')
        return false;
    while ((tag = next_tag(&list, &length, &is_weak)) != NULL)
        if ((weakly || !is_weak) && strlen(validators->etag) == length &&
            memcmp(validators->etag, tag, length) == 0)
            return true;
    return false;
}

static bool
is_star(const char *list)
{
    list += strspn(list, WHITE);
    return *list == '*' && list[1 + strspn(list + 1, WHITE)] == '\0';
}

/* One tag and no more, and a strong one. */
static bool
is_only_tag(const char *text, const struct validators *validators)
{
    size_t length;
    bool is_weak;
    const char *rest = text;

    return text[strspn(text, WHITE)] != ',' &&
           next_tag(&rest, &length, &is_weak) != NULL &&
           rest[strspn(rest, WHITE)] == '\0' &&
           has_tag(text, validators, false);
}

/* Neither a star nor a tag: it cannot be told what is meant. */
static bool
is_garbled(const char *list)
{
    size_t length;
    bool is_weak;

    return !is_star(list) && next_tag(&list, &length, &is_weak) == NULL;
}

/* Of an If-Match or If-None-Match. */
static bool
matches(const char *list, const struct validators *validators, bool weakly)
{
    if (is_star(list))
        return validators->exists;
    return has_tag(list, validators, weakly);
}

/* Was it changed after the date?  A date that is none, and an image that has
 * none, say nothing. */
static bool
is_newer(const struct validators *validators, const char *text, bool unknown)
{
    int64_t since_s;

    if (!validators->has_date || !parse_date(text, &since_s))
        return unknown;
    return validators->modified_s > since_s;
}

enum conditions_result
conditions_check(const struct request *request,
                 const struct validators *validators)
{
    const bool reads = request_is_get_or_head(request);

    if (request->if_match != NULL) {
        if (!matches(request->if_match, validators, false))
            return CONDITIONS_FAILED;
    } else if (request->if_unmodified_since != NULL) {
        if (is_newer(validators, request->if_unmodified_since, false))
            return CONDITIONS_FAILED;
    }
    if (request->if_none_match != NULL) {
        if (!reads && is_garbled(request->if_none_match))
            return CONDITIONS_FAILED;
        if (matches(request->if_none_match, validators, true))
            return reads ? CONDITIONS_NOT_MODIFIED : CONDITIONS_FAILED;
    } else if (request->if_modified_since != NULL && reads) {
        if (!is_newer(validators, request->if_modified_since, true))
            return CONDITIONS_NOT_MODIFIED;
    }
    return CONDITIONS_MET;
}

bool
conditions_want_range(const struct request *request,
                      const struct validators *validators)
{
    const char *text = request->if_range;
    int64_t date_s;

    if (text == NULL)
        return true;
    if (strchr(text, '"') != NULL)
        return is_only_tag(text, validators);
    /* The very date (RFC 9110 8.8.2.2). */
    return validators->has_date && validators->is_date_strong &&
           parse_date(text, &date_s) && date_s == validators->modified_s;
}

bool
conditions_are_there(const struct request *request)
{
    return request->if_match != NULL || request->if_none_match != NULL ||
           request->if_modified_since != NULL ||
           request->if_unmodified_since != NULL || request->if_range != NULL;
}
