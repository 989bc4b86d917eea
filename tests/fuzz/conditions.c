/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/conditions: the image in the first line ("VERSION SIZE TIME FLAGS"; of
 * FLAGS, 1 is no ETag, 2 no date, 4 a date that is not strong, 8 no image yet),
 * in the others variables as the web server gives them.
 */
#include "http/conditions.h"

#include <inttypes.h>

#include "fuzz.h"
#include "http/request.h"

#define LINES_MAX 16

/* The years 1000 to 9999: what an HTTP date can say. */
#define TIME_MIN INT64_C(-30610224000)
#define TIME_MAX INT64_C(253402300799)

/* --- once more, in another way -------------------------------------------- */

enum has { NO_TAGS, OTHER_TAGS, WEAK_TAG, STRONG_TAG };

/* What a list of tags has of ours, the best of it; *count says how many tags
 * are in front of what is none, and *is_all that nothing is. */
static enum has
look_through(const char *list, const char *etag, unsigned *count, bool *is_all)
{
    enum has best = NO_TAGS;
    bool is_in = false, is_weak = false;
    const char *start = NULL;

    *count = 0;
    *is_all = true;
    for (; *list != '\0'; list++) {
        if (is_in) {
            if (*list != '"')
                continue;
            is_in = false;
            ++*count;
            if (best == NO_TAGS)
                best = OTHER_TAGS;
            if (*etag != '\0' && (size_t)(list + 1 - start) == strlen(etag) &&
                memcmp(start, etag, strlen(etag)) == 0 &&
                (is_weak ? WEAK_TAG : STRONG_TAG) > best)
                best = is_weak ? WEAK_TAG : STRONG_TAG;
        } else if (*list == '"') {
            is_in = true;
            is_weak = false;
            start = list;
        } else if (list[0] == 'W' && list[1] == '/' && list[2] == '"') {
            is_in = true;
            is_weak = true;
            start = list + 2;
            list += 2;
        } else if (strchr(" \t,", *list) == NULL) {
            *is_all = false;
            return best;
        }
    }
    if (is_in)
        *is_all = false;
    return best;
}

static bool
is_star(const char *text)
{
    text += strspn(text, " \t");
    return *text == '*' && text[1 + strspn(text + 1, " \t")] == '\0';
}

/* Days since 1970 of a day of the Gregorian calendar, counted. */
static int64_t
days(int year, int month, int day)
{
    static const int before[] = {0,   31,  59,  90,  120, 151,
                                 181, 212, 243, 273, 304, 334};
    const int64_t past = year - 1;
    const bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return past * 365 + past / 4 - past / 100 + past / 400 - 719162 +
           before[month - 1] + (month > 2 && is_leap) + day - 1;
}

/* A date as we write them, to the letter.  false: it is not. */
static bool
read_date(const char *text, int64_t *time_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char again[HTTP_DATE_SIZE], month[4];
    const char *found;
    int day, year, hour, minute, second, end = 0;

    if (sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT%n", &day, month, &year,
               &hour, &minute, &second, &end) != 6 ||
        text[end] != '\0' || strlen(text) != 29 || year < 1 ||
        (found = strstr(months, month)) == NULL)
        return false;
    *time_s = days(year, (int)(found - months) / 3 + 1, day) * 86400 +
              hour * 3600 + minute * 60 + second;
    http_date_format(again, *time_s);
    return strcmp(again, text) == 0;
}

/* 1, 0; -1: it depends on a date in another form. */
static int
is_changed_since(const struct validators *v, const char *text, bool unknown)
{
    int64_t time_s;

    if (!v->has_date)
        return unknown;
    if (text[strcspn(text, "0123456789")] == '\0')
        return unknown; /* no date without a digit */
    return read_date(text, &time_s) ? v->modified_s > time_s : -1;
}

/* -1: not known. */
static int
model(const struct request *r, const struct validators *v)
{
    const bool reads =
        strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
    unsigned count;
    bool is_all;
    enum has has;

    if (r->if_match != NULL) {
        has = look_through(r->if_match, v->etag, &count, &is_all);
        if (is_star(r->if_match) ? !v->exists : has != STRONG_TAG)
            return CONDITIONS_FAILED;
    } else if (r->if_unmodified_since != NULL) {
        const int changed = is_changed_since(v, r->if_unmodified_since, false);

        if (changed != 0)
            return changed == -1 ? -1 : CONDITIONS_FAILED;
    }
    if (r->if_none_match != NULL) {
        has = look_through(r->if_none_match, v->etag, &count, &is_all);
        if (is_star(r->if_none_match) ? v->exists : has >= WEAK_TAG)
            return reads ? CONDITIONS_NOT_MODIFIED : CONDITIONS_FAILED;
        if (!reads && has == NO_TAGS && !is_star(r->if_none_match))
            return CONDITIONS_FAILED;
    } else if (r->if_modified_since != NULL && reads) {
        const int changed = is_changed_since(v, r->if_modified_since, true);

        if (changed != 1)
            return changed == -1 ? -1 : CONDITIONS_NOT_MODIFIED;
    }
    return CONDITIONS_MET;
}

static int
model_range(const struct request *r, const struct validators *v)
{
    unsigned count;
    bool is_all;
    int64_t time_s;

    if (r->if_range == NULL)
        return true;
    if (strchr(r->if_range, '"') != NULL)
        return look_through(r->if_range, v->etag, &count, &is_all) ==
                   STRONG_TAG &&
               count == 1 && is_all && strchr(r->if_range, ',') == NULL;
    if (!v->has_date || !v->is_date_strong)
        return false;
    return read_date(r->if_range, &time_s) ? time_s == v->modified_s : -1;
}

/* --- checks ----------------------------------------------------------------
 */

static void
check_all(const struct request *request, const struct validators *v)
{
    const int result = (int)conditions_check(request, v);
    const int expected = model(request, v);
    const int expected_range = model_range(request, v);

    check(expected == -1 || result == expected);
    check(expected_range == -1 ||
          conditions_want_range(request, v) == expected_range);
    check(result == CONDITIONS_MET || conditions_are_there(request));
    check(result != CONDITIONS_NOT_MODIFIED || request_is_get_or_head(request));
}

/* What we told a client it may tell us, and is understood. */
static void
check_our_own(const struct request *request, const struct validators *v)
{
    struct request own = *request;
    char date[HTTP_DATE_SIZE], weak[ETAG_SIZE + 2];
    int64_t time_s;

    snprintf(weak, sizeof(weak), "W/%s", v->etag);
    http_date_format(date, v->modified_s);
    if (v->modified_s < TIME_MIN || v->modified_s > TIME_MAX) {
        check(*date == '\0');
        return;
    }
    check(read_date(date, &time_s) && time_s == v->modified_s);
    own.if_match = own.if_none_match = own.if_modified_since = NULL;
    own.if_unmodified_since = own.if_range = NULL;
    check(!conditions_are_there(&own));
    check_all(&own, v);
    own.if_match = own.if_range = v->etag;
    check_all(&own, v);
    own.if_match = own.if_none_match = own.if_range = weak;
    check_all(&own, v);
    own.if_match = own.if_none_match = NULL;
    own.if_unmodified_since = own.if_modified_since = own.if_range = date;
    check_all(&own, v);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    char *first = input_text(&input, '\n');
    char *variables[LINES_MAX + 1] = {NULL};
    struct validators v = {.exists = true, .has_date = true};
    uint64_t version = 0, image_size = 0;
    unsigned flags = 0;
    struct request request;

    sscanf(first, "%" SCNu64 " %" SCNu64 " %" SCNd64 " %u", &version,
           &image_size, &v.modified_s, &flags);
    etag_format(v.etag, version, image_size);
    check(strlen(v.etag) < ETAG_SIZE - 1 && strchr(v.etag + 1, '"')[1] == '\0');
    if ((flags & 1) != 0)
        v.etag[0] = '\0';
    v.has_date = (flags & 2) == 0;
    v.is_date_strong = (flags & 4) == 0;
    v.exists = (flags & 8) == 0;
    for (size_t i = 0; input.size > 0 && i < LINES_MAX; i++)
        variables[i] = input_text(&input, '\n');
    request_init(&request, variables);
    check_all(&request, &v);
    check_our_own(&request, &v);
    for (size_t i = 0; i < LINES_MAX; i++)
        free(variables[i]);
    free(first);
    return 0;
}
