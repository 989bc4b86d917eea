/* SPDX-License-Identifier: Apache-2.0 */
/* http/range: Range and Content-Range, parsed and resolved. */
#include "http/range.h"

#include <string.h>

#include "base/error.h"
#include "unit.h"

#define MAX UINT64_MAX
#define TOO_LARGE "18446744073709551616" /* 2^64 */

static void
a_range_names_an_offset_and_a_length(void **state)
{
    static const struct {
        const char *value;
        uint64_t size, offset, length;
    } rows[] = {
        {"bytes=0-0", 10, 0, 1},
        {"bytes=0-9", 10, 0, 10},
        {"bytes=3-5", 10, 3, 3},
        {"bytes=9-9", 10, 9, 1},
        {"bytes=0-", 10, 0, 10},
        {"bytes=9-", 10, 9, 1},
        {"bytes=-1", 10, 9, 1},
        {"bytes=-10", 10, 0, 10},
        {"bytes=-007", 10, 3, 7},
        {"bytes=0003-0005", 10, 3, 3},
        {"BYTES=3-5", 10, 3, 3},
        {"ByTeS=3-", 10, 3, 7},
        {" bytes=3-5", 10, 3, 3},
        {"\t bytes=3-5 \t", 10, 3, 3},
        /* the end is cut */
        {"bytes=3-10", 10, 3, 7},
        {"bytes=3-" TOO_LARGE, 10, 3, 7},
        {"bytes=-11", 10, 0, 10},
        {"bytes=-" TOO_LARGE, 10, 0, 10},
        /* as large as it gets */
        {"bytes=0-", MAX, 0, MAX},
        {"bytes=0-" TOO_LARGE, MAX, 0, MAX},
        {"bytes=-18446744073709551615", MAX, 0, MAX},
        {"bytes=18446744073709551614-", MAX, MAX - 1, 1},
        {"bytes=9223372036854775807-9223372036854775807", MAX / 2 + 1, MAX / 2,
         1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct range range;
        struct error err;
        uint64_t offset, length;

        assert_row(range_parse(&range, rows[i].value, &err) == 0,
                   rows[i].value);
        assert_row(
            range_resolve(&range, rows[i].size, &offset, &length, &err) == 0,
            rows[i].value);
        assert_row(offset == rows[i].offset, rows[i].value);
        assert_row(length == rows[i].length, rows[i].value);
    }
}

static void
a_range_outside_the_image_is_416_and_tells_the_size(void **state)
{
    static const struct {
        const char *value;
        uint64_t size;
    } rows[] = {
        {"bytes=10-", 10},
        {"bytes=10-20", 10},
        {"bytes=11-11", 10},
        {"bytes=5-4", 10},
        {"bytes=" TOO_LARGE "-", 10},
        {"bytes=" TOO_LARGE "-" TOO_LARGE, 10},
        {"bytes=" TOO_LARGE "-", MAX},
        {"bytes=0-", 0},
        {"bytes=0-0", 0},
        {"bytes=-1", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct range range;
        struct error err;
        uint64_t offset, length;

        assert_row(range_parse(&range, rows[i].value, &err) == 0,
                   rows[i].value);
        assert_row(
            range_resolve(&range, rows[i].size, &offset, &length, &err) == -1,
            rows[i].value);
        assert_row(err.status == 416, rows[i].value);
        assert_row(err.has_size && err.size == rows[i].size, rows[i].value);
    }
}

static void
a_malformed_range_is_400(void **state)
{
    static const char *const rows[] = {
        "",
        " ",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=-0",
        "bytes=-00",
        "bytes=--1",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=1-2,4-5",
        "bytes=1-2,",
        "bytes=,1-2",
        "bytes=-1,-2",
        "bytes=+1-2",
        "bytes=1-+2",
        "bytes=-+2",
        "bytes=1--2",
        "bytes= 1-2",
        "bytes=1 -2",
        "bytes=1- 2",
        "bytes =1-2",
        "bytes 1-2",
        "bytes=1-2x",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=1_0-20",
        "bytes=1.0-2",
        "bytes=*-2",
        "bytes=1-*",
        "byte=1-2",
        "bytess=1-2",
        "items=1-2",
        "1-2",
        "=1-2",
        "bytes=1-2\n",
        "bytes=1-2/10",
        "\xa0 bytes=1-2",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct range range;
        struct error err;

        assert_row(range_parse(&range, rows[i], &err) == -1, rows[i]);
        assert_row(err.status == 400, rows[i]);
        assert_string_equal(err.text, "invalid Range header");
    }
}

static void
a_content_range_names_the_first_byte_and_perhaps_the_last(void **state)
{
    static const struct {
        const char *value;
        uint64_t first;
        bool has_last;
        uint64_t last;
    } rows[] = {
        {"bytes 0-0/*", 0, true, 0},
        {"bytes 3-5/*", 3, true, 5},
        {"bytes 3-5/6", 3, true, 5},
        {"bytes 3-5/" TOO_LARGE, 3, true, 5},
        {"Bytes 3-5/*", 3, true, 5},
        {"\t bytes 3-5/* ", 3, true, 5},
        {"bytes 0-18446744073709551614/*", 0, true, MAX - 1},
        {"bytes 7-18446744073709551615/*", 7, true, MAX},
        {"bytes 7-" TOO_LARGE "/*", 7, true, MAX},
        {"bytes 0-*/*", 0, false, 0},
        {"bytes 3-*/*", 3, false, 0},
        {"bytes " TOO_LARGE "-*/*", MAX, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct content_range range;
        struct error err;

        assert_row(content_range_parse(&range, rows[i].value, &err) == 0,
                   rows[i].value);
        assert_row(range.first == rows[i].first, rows[i].value);
        assert_row(range.has_last == rows[i].has_last, rows[i].value);
        if (range.has_last)
            assert_row(range.last == rows[i].last, rows[i].value);
    }
}

static void
a_malformed_content_range_is_400(void **state)
{
    static const char *const rows[] = {
        "",
        "bytes",
        "bytes ",
        "bytes */*",
        "bytes */10",
        "bytes *-5/*",
        "bytes -5/*",
        "bytes 3-/*",
        "bytes 3/*",
        "bytes 3-5",
        "bytes 3-5/",
        "bytes 3-*",
        "bytes 3-*/",
        "bytes 3-*/10",
        "bytes 3-5/*/",
        "bytes 3-5/10x",
        "bytes 3-5/**",
        "bytes=3-5/*",
        "bytes  3-5/*",
        "bytes\t3-5/*",
        "bytes 3 -5/*",
        "bytes 3-5 /*",
        "bytes 3-5/ *",
        "bytes +3-5/*",
        "bytes 3-+5/*",
        "bytes 3--5/*",
        "bytes 3-5/-1",
        "bytes 3-5/*,7-8/*",
        "items 3-5/*",
        "3-5/*",
        /* the last byte before the first, or not within the size */
        "bytes 5-4/*",
        "bytes 3-5/5",
        "bytes 0-0/0",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct content_range range;
        struct error err;

        assert_row(content_range_parse(&range, rows[i], &err) == -1, rows[i]);
        assert_row(err.status == 400, rows[i]);
        assert_string_equal(err.text, "invalid Content-Range header");
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_names_an_offset_and_a_length),
        cmocka_unit_test(a_range_outside_the_image_is_416_and_tells_the_size),
        cmocka_unit_test(a_malformed_range_is_400),
        cmocka_unit_test(
            a_content_range_names_the_first_byte_and_perhaps_the_last),
        cmocka_unit_test(a_malformed_content_range_is_400),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
