/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http/range: the size of an image in the first line, a header's value in the
 * rest.  It is read as Range and as Content-Range, by the module and once more
 * in the plainest way.
 */
#include "http/range.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/error.h"
#include "fuzz.h"

/* A header's value, cut at each '-', '/' and ' ' behind the unit. */
struct parts {
    char unit[8];
    bool has[3];
    uint64_t number[3];
    char star[3];  /* '*' in place of the number */
    char after[3]; /* what follows it: "-/" and then NUL */
};

static void
trim(char *text)
{
    size_t length = strlen(text);
    size_t blank = 0;

    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        text[--length] = '\0';
    while (text[blank] == ' ' || text[blank] == '\t')
        blank++;
    memmove(text, text + blank, length + 1 - (blank < length ? blank : length));
}

/* Digit by digit; all too large a number is UINT64_MAX. */
static uint64_t
number(const char *text, size_t length)
{
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++) {
        const unsigned digit = (unsigned)(text[i] - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return UINT64_MAX;
        value = value * 10 + digit;
    }
    return value;
}

static void
cut(struct parts *parts, const char *value)
{
    char *text = input_copy((const uint8_t *)value, strlen(value));
    size_t at = 6; /* behind "bytes=" */

    *parts = (struct parts){.unit = ""};
    trim(text);
    for (size_t i = 0; i < 6 && text[i] != '\0'; i++)
        parts->unit[i] =
            (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    for (unsigned i = 0; i < 3 && strlen(text) >= at; i++) {
        size_t digits = 0;

        while (text[at + digits] >= '0' && text[at + digits] <= '9')
            digits++;
        parts->has[i] = digits > 0;
        parts->number[i] = number(text + at, digits);
        at += digits;
        if (digits == 0 && text[at] == '*')
            parts->star[i] = text[at++];
        parts->after[i] = text[at];
        if (text[at] == '\0')
            break;
        at++;
    }
    free(text);
}

static bool
is_range(const struct parts *p)
{
    return strcmp(p->unit, "bytes=") == 0 && p->after[0] == '-' &&
           p->after[1] == '\0' && p->star[0] == '\0' && p->star[1] == '\0' &&
           (p->has[0] || (p->has[1] && p->number[1] > 0));
}

static bool
is_content_range(const struct parts *p)
{
    if (strcmp(p->unit, "bytes ") != 0 || !p->has[0] || p->after[0] != '-' ||
        p->after[1] != '/' || p->after[2] != '\0')
        return false;
    if (p->star[1] != '\0')
        return p->star[2] != '\0';
    if (!p->has[1] || p->number[1] < p->number[0])
        return false;
    if (p->star[2] != '\0')
        return true;
    /* A size beyond 64 bits may be anything. */
    return p->has[2] &&
           (p->number[1] < p->number[2] || p->number[2] == UINT64_MAX);
}

/* Is the byte at this place meant? */
static bool
covers(const struct parts *p, uint64_t size, uint64_t place)
{
    if (place >= size)
        return false;
    if (!p->has[0]) /* the last so many */
        return size - place <= p->number[1];
    return place >= p->number[0] && (!p->has[1] || place <= p->number[1]);
}

/* Where the answer could change. */
static void
check_places(const struct parts *p, uint64_t size, bool found, uint64_t offset,
             uint64_t length)
{
    const uint64_t around[] = {0,
                               size,
                               offset,
                               offset + length,
                               p->number[0],
                               p->number[1],
                               size - p->number[1]};

    for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++)
        for (uint64_t place = around[i] - 2; place != around[i] + 3; place++)
            check(covers(p, size, place) ==
                  (found && place >= offset && place - offset < length));
}

static void
check_range(const char *value, const struct parts *parts, uint64_t size)
{
    struct range range = {.first = 7, .last = 7}, again;
    struct error err = {.status = 0};
    uint64_t offset = 0, length = 0, offset_again, length_again;
    char text[64];
    bool found;

    if (range_parse(&range, value, &err) == -1) {
        check(!is_range(parts));
        check(err.status == 400 &&
              strcmp(err.text, "invalid Range header") == 0);
        check(range.first == 7 && range.last == 7); /* untouched */
        return;
    }
    check(is_range(parts));
    found = range_resolve(&range, size, &offset, &length, &err) == 0;
    check_places(parts, size, found, offset, length);
    if (!found) {
        check(err.status == 416 && err.has_size && err.size == size);
        return;
    }
    check(length > 0 && offset < size && length <= size - offset);
    /* What was found, asked for again, is the same. */
    snprintf(text, sizeof(text), "bytes=%" PRIu64 "-%" PRIu64, offset,
             offset + length - 1);
    check(range_parse(&again, text, &err) == 0);
    check(range_resolve(&again, size, &offset_again, &length_again, &err) == 0);
    check(offset_again == offset && length_again == length);
}

static void
check_content_range(const char *value, const struct parts *parts)
{
    struct content_range range = {.first = 7}, again;
    struct error err = {.status = 0};
    char text[64];

    if (content_range_parse(&range, value, &err) == -1) {
        check(!is_content_range(parts));
        check(err.status == 400 &&
              strcmp(err.text, "invalid Content-Range header") == 0);
        check(range.first == 7);
        return;
    }
    check(is_content_range(parts));
    check(range.first == parts->number[0] && range.has_last == parts->has[1]);
    if (!range.has_last)
        return;
    check(range.last == parts->number[1] && range.first <= range.last);
    snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/*", range.first,
             range.last);
    check(content_range_parse(&again, text, &err) == 0);
    check(again.has_last && again.first == range.first &&
          again.last == range.last);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    char *first = input_text(&input, '\n');
    char *value = input_copy(input.data, input.size);
    const uint64_t image_size = number(first, strspn(first, "0123456789"));
    struct parts parts;

    cut(&parts, value);
    check_range(value, &parts, image_size);
    check_content_range(value, &parts);
    free(value);
    free(first);
    return 0;
}
