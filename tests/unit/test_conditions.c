/* SPDX-License-Identifier: Apache-2.0 */
/* http/conditions: what RFC 9110 13 says of each header. */
#include "http/conditions.h"

#include <stdio.h>

#include "http/request.h"
#include "unit.h"

#define MET CONDITIONS_MET
#define SAME CONDITIONS_NOT_MODIFIED
#define FAILED CONDITIONS_FAILED

/* 784111777 */
#define DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"
#define LATER "Sun, 06 Nov 1994 08:49:38 GMT"

static const struct validators file = {.exists = true,
                                       .etag = "\"a-1\"",
                                       .has_date = true,
                                       .modified_s = 784111777,
                                       .is_date_strong = true};
static const struct validators touched = {.exists = true,
                                          .etag = "\"a-1\"",
                                          .has_date = true,
                                          .modified_s = 784111777};
static const struct validators writable = {.exists = true};
static const struct validators missing = {.exists = false};

static void
conditions_are_met_or_not(void **state)
{
    static const struct {
        const struct validators *image;
        struct request request;
        enum conditions_result get, put;
    } rows[] = {
        {&file, {.if_match = NULL}, MET, MET},
        {&file, {.if_match = "\"a-1\""}, MET, MET},
        {&file, {.if_match = "\"x\", \"a-1\""}, MET, MET},
        {&file, {.if_match = "\"x\",\"a-1\",\"y\""}, MET, MET},
        {&file, {.if_match = " \"a,b\" , \"a-1\" "}, MET, MET},
        {&file, {.if_match = "*"}, MET, MET},
        {&file, {.if_match = " * "}, MET, MET},
        {&file, {.if_match = "\"a-2\""}, FAILED, FAILED},
        {&file, {.if_match = "\"a-1"}, FAILED, FAILED},
        {&file, {.if_match = "a-1"}, FAILED, FAILED},
        {&file, {.if_match = "W/\"a-1\""}, FAILED, FAILED},
        {&file, {.if_match = ""}, FAILED, FAILED},
        {&file, {.if_match = ", "}, FAILED, FAILED},
        {&writable, {.if_match = "\"a-1\""}, FAILED, FAILED},
        {&writable, {.if_match = "\"\""}, FAILED, FAILED},
        {&writable, {.if_match = "*"}, MET, MET},
        {&missing, {.if_match = "*"}, FAILED, FAILED},

        {&file, {.if_none_match = "\"a-1\""}, SAME, FAILED},
        {&file, {.if_none_match = "W/\"a-1\""}, SAME, FAILED},
        {&file, {.if_none_match = "\"x\", W/\"a-1\""}, SAME, FAILED},
        {&file, {.if_none_match = "*"}, SAME, FAILED},
        {&file, {.if_none_match = "\"a-2\""}, MET, MET},
        {&file, {.if_none_match = "a-1"}, MET, FAILED},
        {&file, {.if_none_match = ", "}, MET, FAILED},
        {&writable, {.if_none_match = "\"a-1\""}, MET, MET},
        {&writable, {.if_none_match = "*"}, SAME, FAILED},
        {&missing, {.if_none_match = "*"}, MET, MET},

        {&file, {.if_modified_since = DATE}, SAME, MET},
        {&file, {.if_modified_since = LATER}, SAME, MET},
        {&file, {.if_modified_since = EARLIER}, MET, MET},
        {&file,
         {.if_modified_since = "Sunday, 06-Nov-94 08:49:37 GMT"},
         SAME,
         MET},
        {&file, {.if_modified_since = "Sun Nov  6 08:49:37 1994"}, SAME, MET},
        {&file, {.if_modified_since = "yesterday"}, MET, MET},
        {&file, {.if_modified_since = DATE " x"}, MET, MET},
        {&file, {.if_modified_since = ""}, MET, MET},
        {&writable, {.if_modified_since = LATER}, MET, MET},
        /* the tag has the word */
        {&file,
         {.if_none_match = "\"a-2\"", .if_modified_since = DATE},
         MET,
         MET},

        {&file, {.if_unmodified_since = DATE}, MET, MET},
        {&file, {.if_unmodified_since = LATER}, MET, MET},
        {&file, {.if_unmodified_since = EARLIER}, FAILED, FAILED},
        {&file, {.if_unmodified_since = "never"}, MET, MET},
        {&writable, {.if_unmodified_since = EARLIER}, MET, MET},
        {&file,
         {.if_match = "\"a-1\"", .if_unmodified_since = EARLIER},
         MET,
         MET},
        /* both of a kind */
        {&file,
         {.if_match = "\"a-1\"", .if_none_match = "\"a-1\""},
         SAME,
         FAILED},
        {&file,
         {.if_match = "\"x\"", .if_none_match = "\"a-1\""},
         FAILED,
         FAILED},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct request request = rows[i].request;
        char row[16];

        snprintf(row, sizeof(row), "row %zu", i);
        request.method = "GET";
        assert_row(conditions_check(&request, rows[i].image) == rows[i].get,
                   row);
        request.method = "HEAD";
        assert_row(conditions_check(&request, rows[i].image) == rows[i].get,
                   row);
        request.method = "PUT";
        assert_row(conditions_check(&request, rows[i].image) == rows[i].put,
                   row);
        assert_row(conditions_are_there(&request) == (i > 0), row);
    }
}

static void
a_range_applies_if_the_image_is_still_the_same(void **state)
{
    static const struct {
        const struct validators *image;
        const char *if_range;
        bool applies;
    } rows[] = {
        {&file, NULL, true},         {&file, "\"a-1\"", true},
        {&file, "W/\"a-1\"", false}, {&file, "\"a-2\"", false},
        {&file, "\"a-1", false},     {&file, "a-1", false},
        {&file, "\"a-1\" ", true},   {&file, "\"a-1\", \"a-2\"", false},
        {&file, "\"a-1\" x", false}, {&touched, "\"a-1\"", true},
        {&touched, DATE, false},     {&file, "*", false},
        {&file, "", false},          {&file, DATE, true},
        {&file, LATER, false},       {&file, EARLIER, false},
        {&writable, NULL, true},     {&writable, "\"a-1\"", false},
        {&writable, DATE, false},    {&file, ",\"a-1\"", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct request request = {.if_range = rows[i].if_range};

        assert_row(conditions_want_range(&request, rows[i].image) ==
                       rows[i].applies,
                   rows[i].if_range != NULL ? rows[i].if_range : "none");
    }
}

static void
tags_and_dates_are_written_as_they_are_read(void **state)
{
    char etag[ETAG_SIZE], date[HTTP_DATE_SIZE];

    (void)state;
    etag_format(etag, UINT64_MAX, UINT64_MAX);
    assert_string_equal(etag, "\"ffffffffffffffff-ffffffffffffffff\"");
    etag_format(etag, 10, 0);
    assert_string_equal(etag, "\"000000000000000a-0\"");
    http_date_format(date, 784111777);
    assert_string_equal(date, DATE);
    http_date_format(date, 0);
    assert_string_equal(date, "Thu, 01 Jan 1970 00:00:00 GMT");
    /* The first and the last that have a year of four digits. */
    http_date_format(date, INT64_C(-30610224000));
    assert_string_equal(date, "Wed, 01 Jan 1000 00:00:00 GMT");
    http_date_format(date, INT64_C(-30610224001));
    assert_string_equal(date, "");
    http_date_format(date, INT64_C(253402300799));
    assert_string_equal(date, "Fri, 31 Dec 9999 23:59:59 GMT");
    http_date_format(date, INT64_C(253402300800));
    assert_string_equal(date, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_are_met_or_not),
        cmocka_unit_test(a_range_applies_if_the_image_is_still_the_same),
        cmocka_unit_test(tags_and_dates_are_written_as_they_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
